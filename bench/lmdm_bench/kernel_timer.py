"""The time of a sequence of calls: eager or as a CUDA graph, on warm buffers or rotating ones.

A sample is one reading of the clock around whole passes over the sequence. On CUDA it is between
two events of the device, and several calls share it so that the clock's step and the gap before the
first of them weigh little.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lmdm_bench.clock import synchroniser
from lmdm_bench.record import Choice

MS_PER_NS = 1e-6
MS_PER_SECOND = 1e3

Calls = Sequence[Callable[[], Tensor]]

# A sample is at least about this long, in as many passes as that takes.
SAMPLE_MS = {"cuda": 1.0, "cpu": 4.0}
MOST_PASSES = 64
# Warm calls in one graph: the gap before a replay is shared by all of them.
GRAPHED_CALLS = 16

# Rotating buffers take more than this many times the cache, in all.
CACHE_TIMES = 5
# … unless they are so small that it would take more than so many.
MOST_BUFFERS = 1024
CACHE_FOLDER = Path("/sys/devices/system/cpu/cpu0/cache")
# Where a system does not tell its last cache: larger than that of most processors with few cores.
GUESSED_CACHE_BYTES = 64 << 20
UNIT_BYTES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True)
class Timed:
    """A sequence that can be timed again and again.

    ``run`` is one pass over it and gives the result of its last call, which a later pass may
    overwrite; ``sample`` gives the milliseconds of one pass.
    """

    run: Callable[[], Tensor]
    sample: Callable[[], float]


class SampleClock:
    """A clock for harnesses that read one before and after what they time: it stands still but for
    the seconds of each sample, so that they keep exactly those.
    """

    def __init__(self) -> None:
        self.__name__ = "sample_clock"
        self.seconds = 0.0
        self.sampled_ms: list[float] = []

    def __call__(self) -> float:
        return self.seconds

    def take(self, timed: Timed) -> None:
        """Take one sample, and move on by it."""
        self.sampled_ms.append(timed.sample())
        self.seconds += self.sampled_ms[-1] / MS_PER_SECOND


def eager(calls: Calls, device: torch.device) -> Timed:
    """Calls one after another from the host."""
    return _timed(calls, device)


def graphed(calls: Calls, device: torch.device) -> Timed:
    """The sequence captured as one CUDA graph and replayed; whatever it raises, capture did."""
    side = torch.cuda.Stream(device)
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side):
        _pass(calls)
    torch.cuda.current_stream(device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        last = _pass(calls)

    def replay() -> Tensor:
        graph.replay()
        return last

    return _timed([replay], device)


def cache_bytes(device: torch.device) -> tuple[int, Choice]:
    """The cache whose warmth matters: a GPU's L2, a processor's last one; with how it is known."""
    if device.type == "cuda":
        size = int(torch.cuda.get_device_properties(device).L2_cache_size)
        return size, _cache_choice(size, "L2, as the driver tells it")
    size = max(map(_size, CACHE_FOLDER.glob("index*/size")), default=0)
    if size:
        return size, _cache_choice(size, "the largest cache that the system lists")
    size = GUESSED_CACHE_BYTES
    return size, _cache_choice(size, "assumed: the system does not tell its caches")


def num_buffers(bytes_of_one: int, cache: int, free_bytes: int, least: int) -> int:
    """How many sets of buffers a cold sample rotates through: as many as ``CACHE_TIMES`` caches
    but at most ``MOST_BUFFERS``, at least ``least``, and no more than the free memory holds (two at
    the fewest).
    """
    wanted = max(least, min(MOST_BUFFERS, math.floor(CACHE_TIMES * cache / bytes_of_one) + 1))
    return max(2, min(wanted, free_bytes // bytes_of_one))


def launches_of(call: Callable[[], Tensor], device: torch.device) -> int:
    """Kernels, copies and fills that one call starts on a CUDA device, by torch's profiler."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    call()
    torch.cuda.synchronize(device)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        call()
        torch.cuda.synchronize(device)
    return sum(one.device_type == DeviceType.CUDA for one in found.events())


def _timed(calls: Calls, device: torch.device) -> Timed:
    read = _on_cuda if device.type == "cuda" else _on_host
    _pass(calls)
    passes = _passes(read(calls, 1, device), device)
    return Timed(lambda: _pass(calls), lambda: read(calls, passes, device))


def _pass(calls: Calls) -> Tensor:
    for call in calls:
        last = call()
    return last


def _passes(ms: float, device: torch.device) -> int:
    wanted = SAMPLE_MS.get(device.type, SAMPLE_MS["cpu"])
    return max(1, min(MOST_PASSES, math.ceil(wanted / max(ms, 1e-6))))


def _on_host(calls: Calls, passes: int, device: torch.device) -> float:
    synchronise = synchroniser(str(device))
    synchronise()
    start = time.perf_counter_ns()
    for _ in range(passes):
        for call in calls:
            call()
    synchronise()
    return (time.perf_counter_ns() - start) * MS_PER_NS / passes


def _on_cuda(calls: Calls, passes: int, device: torch.device) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(passes):
        for call in calls:
            call()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / passes


def _size(path: Path) -> int:
    """``32768K`` as bytes; 0 where it cannot be read."""
    try:
        text = path.read_text().strip()
        return int(text.rstrip("KMG")) * UNIT_BYTES.get(text[-1], 1)
    except (OSError, ValueError, IndexError):
        return 0


def _cache_choice(size: int, reason: str) -> Choice:
    return Choice(f"{size / (1 << 20):g} MiB", reason)
