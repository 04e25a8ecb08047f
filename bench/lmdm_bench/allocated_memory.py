"""What torch allocates during a call: every allocation in order, to the byte.

On a CPU torch's profiler reports each allocation and each release of torch's own allocator, scratch
memory that oneDNN is given included; what libraries allocate by themselves (oneDNN's packed
weights, a thread's stack) is not among them. The same call on the same state allocates the same.
"""

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch._C._profiler import _EventType
from torch.profiler import ProfilerActivity, profile

from lmdm_bench.errors import UnsupportedError
from lmdm_bench.profiler_notes import without_profiler_notes


@dataclass(frozen=True)
class Change:
    """One allocation (``num_bytes`` above 0) or release (below), in nanoseconds of the profiler.

    ``event`` is torch's own, whose parents are the operators and ranges around it.
    """

    at_ns: int
    num_bytes: int
    event: Any


def peak_allocated_bytes(make: Callable[[], object], device: str = "cpu") -> int:
    """The most that torch held during ``make()`` beyond what it held before.

    Exact, so two calls can be compared to the byte. On a CPU memory from before the call counts as
    held to its end, since torch does not tell of its release. A stream's blocks may differ from
    each other (a ring wraps around): compare blocks of one number. What only cyclic garbage holds
    is held. Raises UnsupportedError where torch does not count, and what ``make`` raises.
    """
    kind = device.partition(":")[0]
    if kind == "cuda":
        return _cuda_peak_bytes(make, device)
    if kind != "cpu":
        raise UnsupportedError(f"torch does not count each allocation on {device}")
    with garbage_kept(), without_profiler_notes(), allocations_seen() as seen:
        make()
    return peak_bytes(seen.changes())


class AllocationsSeen:
    """What the profiler saw, once it has stopped."""

    def __init__(self, profiler: profile) -> None:
        self._profiler = profiler

    def roots(self) -> list[Any]:
        """The outermost events, each with its ``children``: torch's own tree."""
        whole = self._profiler.profiler
        assert whole is not None and whole.kineto_results is not None, "the profiler has not run"
        return list(whole.kineto_results.experimental_event_tree())

    def changes(self, kind: str = "cpu") -> tuple[Change, ...]:
        """All allocations and releases on a kind of device, in order.

        On a CPU the releases are only those of what was allocated meanwhile: of older memory torch
        tells by chance, from what an earlier profile left in its books.
        """
        found = sorted(_changes(self.roots(), kind), key=lambda one: one.at_ns)
        return tuple(_of_their_own(found)) if kind == "cpu" else tuple(found)


@contextmanager
def allocations_seen() -> Iterator[AllocationsSeen]:
    """Watch this thread's allocations, and the operators and ranges around them."""
    activities = [ProfilerActivity.CPU]
    with profile(activities=activities, profile_memory=True, acc_events=True) as profiler:
        yield AllocationsSeen(profiler)


def peak_bytes(changes: Iterable[Change]) -> int:
    """The highest sum on the way; 0 where nothing is ever held."""
    held = most = 0
    for change in changes:
        held += change.num_bytes
        most = max(most, held)
    return most


@contextmanager
def garbage_kept() -> Iterator[None]:
    """No collection falls into the call: when it came would be chance."""
    gc.collect()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _cuda_peak_bytes(make: Callable[[], object], device: str) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    with garbage_kept():
        make()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _changes(roots: list[Any], kind: str) -> Iterator[Change]:
    waiting = list(roots)
    while waiting:
        event = waiting.pop()
        waiting.extend(event.children)
        if event.tag == _EventType.Allocation and event.extra_fields.device.type == kind:
            yield Change(event.start_time_ns, event.extra_fields.alloc_size, event)


def _of_their_own(changes: Iterable[Change]) -> Iterator[Change]:
    held: set[int] = set()
    for change in changes:
        address = change.event.extra_fields.ptr
        if change.num_bytes > 0:
            held.add(address)
        elif address not in held:
            continue
        else:
            held.remove(address)
        yield change
