"""What is counted while one block is made, in the process that makes it.

Of torch and Triton only what is loaded already is asked: to import them here would cost more than
what is measured.
"""

import gc
import sys
import time
from typing import Any, NamedTuple

from lmdm_bench.check_record import Counters

MS_PER_NS = 1e-6


class _Seen(NamedTuple):
    """The counters since the process began."""

    num_graphs: int
    num_allocs: int | None
    num_preemptions: int | None
    num_major_faults: int | None


class BlockCounters:
    """``start`` before a block and ``stop`` after it; between the two it is hooked into Python's
    garbage collector and Triton's compiler, and at no other time.

    Costs some microseconds a block on a CPU, and on CUDA two readings of the allocator's figures.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._is_counting = False
        self._gc_ns = 0
        self._gc_began_ns: int | None = None
        self._num_kernels = 0
        self._runtime: Any = None
        self._hook_before: Any = None
        self._before = _Seen(0, None, None, None)

    def start(self) -> None:
        """Count anew; a block that was begun before, and failed, is forgotten."""
        self._release()
        self._gc_ns = 0
        self._gc_began_ns = None
        self._num_kernels = 0
        self._hook()
        self._before = self._seen()

    def stop(self) -> Counters:
        """What was counted since ``start``. Raises RuntimeError without one."""
        if not self._is_counting:
            raise RuntimeError("the counters were not started")
        seen, before = self._seen(), self._before
        self._release()
        return Counters(
            gc_ms=self._gc_ns * MS_PER_NS,
            num_compiles=max(0, seen.num_graphs - before.num_graphs) + self._num_kernels,
            num_allocs=_grown(seen.num_allocs, before.num_allocs),
            num_preemptions=_grown(seen.num_preemptions, before.num_preemptions),
            num_major_faults=_grown(seen.num_major_faults, before.num_major_faults),
        )

    def _seen(self) -> _Seen:
        num_preemptions, num_major_faults = _usage()
        return _Seen(
            num_graphs=_num_graphs(),
            num_allocs=_num_allocs(self._device),
            num_preemptions=num_preemptions,
            num_major_faults=num_major_faults,
        )

    def _hook(self) -> None:
        self._is_counting = True
        gc.callbacks.append(self._collecting)
        # In its interpreter, and in old versions, there is no such place.
        knobs = getattr(sys.modules.get("triton"), "knobs", None)
        self._runtime = getattr(knobs, "runtime", None)
        if self._runtime is not None:
            self._hook_before = self._runtime.jit_post_compile_hook
            self._runtime.jit_post_compile_hook = self._compiled

    def _release(self) -> None:
        if not self._is_counting:
            return
        self._is_counting = False
        gc.callbacks.remove(self._collecting)
        if self._runtime is not None:
            self._runtime.jit_post_compile_hook = self._hook_before

    def _collecting(self, phase: str, info: dict[str, int]) -> None:
        """The collector's callback: any generation, in any thread; it never runs twice at once."""
        now_ns = time.perf_counter_ns()
        if phase == "start":
            self._gc_began_ns = now_ns
        elif self._gc_began_ns is not None:
            self._gc_ns += now_ns - self._gc_began_ns
            self._gc_began_ns = None

    def _compiled(self, **what: Any) -> Any:
        """Triton's hook after each kernel that it compiles; another's stays in its place."""
        self._num_kernels += 1
        return None if self._hook_before is None else self._hook_before(**what)


def _num_graphs() -> int:
    counters = getattr(sys.modules.get("torch._dynamo.utils"), "counters", None)
    return 0 if counters is None else int(counters["stats"]["unique_graphs"])


def _num_allocs(device: str) -> int | None:
    """How often the allocator asked the driver for memory, or tried again after freeing some."""
    torch = sys.modules.get("torch")
    if torch is None or device.partition(":")[0] != "cuda":
        return None
    # ``memory_stats`` gives the same, sorted into one level, at several times the cost.
    figures = torch.cuda.memory_stats_as_nested_dict(device)
    return int(figures.get("num_device_alloc", 0)) + int(figures.get("num_alloc_retries", 0))


def _usage() -> tuple[int | None, int | None]:
    """Involuntary context switches and major page faults of all threads."""
    if sys.platform == "win32":
        return None, None  # it counts all switches, and all faults, together
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_nivcsw, used.ru_majflt


def _grown(after: int | None, before: int | None) -> int | None:
    return None if after is None or before is None else after - before
