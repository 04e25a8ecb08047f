"""Fixed work, done now and then in the stream's pauses: how long it takes is the effective clock.

Counters of clocks can be missing, or stand still while a machine slows down; the same work that
takes longer cannot.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from lmdm_bench.check_record import Canary

# Does the work once and gives its milliseconds.
Work = Callable[[], float]

MS_PER_NS = 1e-6

PERIOD_MS = 30_000.0
# In a shorter pause the next block would wait for the canary.
MIN_SLACK_MS = 5.0
# So many times in a row, and the shortest counts: a pause has let the caches and clocks go.
NUM_TRIES = 3
# A pause should be so many times as long as the work lately took.
SLACK_SHARE = 2.0

# Three float32 matrices of 9 KiB stay in a core's own cache, and a product this small no BLAS
# divides among threads.
MATRIX_SIZE = 48
NUM_PRODUCTS = 400

# 17 GFLOP in float32: 0.3 ms on a large GPU, 2 ms on a small laptop's.
CUDA_MATRIX_SIZE = 2048


class CanaryWatch:
    """Does ``work`` at most every 30 s, and only in a pause that is long enough.

    ``now_ms`` is the cell's clock. The work is done once on making this, untimed: what it loads
    and compiles belongs to no pause.
    """

    def __init__(self, now_ms: Callable[[], float], work: Work | None = None) -> None:
        self._now_ms = now_ms
        self._work = work or cpu_work()
        self._next_ms = -math.inf
        self._times_ms: list[float] = []
        self._work_ms: list[float] = []
        self._reason = "no pause between blocks was long enough"
        self._needed_ms = MIN_SLACK_MS
        self._try()

    def maybe(self, slack_ms: float) -> None:
        """Do it now if it is time and the next ``slack_ms`` belong to nobody."""
        now_ms = self._now_ms()
        if now_ms < self._next_ms or slack_ms < self._needed_ms:
            return
        found = self._try()
        if found is not None:
            self._times_ms.append(now_ms)
            self._work_ms.append(found)
            self._next_ms = now_ms + PERIOD_MS

    def result(self) -> Canary:
        """What was found; the reason where nothing was."""
        reason = None if self._times_ms else self._reason
        return Canary(tuple(self._times_ms), tuple(self._work_ms), reason)

    def _try(self) -> float | None:
        """The shortest of the tries; None, and never again, where the device fails at it."""
        try:
            tries = [self._work() for _ in range(NUM_TRIES)]
        # The stream's own work will fail on such a device, and say so.
        except RuntimeError as error:
            self._next_ms = math.inf
            self._reason = f"the device failed at it: {type(error).__name__}"
            return None
        self._needed_ms = max(MIN_SLACK_MS, SLACK_SHARE * sum(tries))
        return min(tries)


def cpu_work() -> Work:
    """Float32 products within one core's cache, on one thread."""
    rng = np.random.default_rng(0)
    left, right = rng.standard_normal((2, MATRIX_SIZE, MATRIX_SIZE), dtype=np.float32)
    product = np.empty_like(left)

    def work() -> float:
        began_ns = time.perf_counter_ns()
        for _ in range(NUM_PRODUCTS):
            np.matmul(left, right, out=product)
        return (time.perf_counter_ns() - began_ns) * MS_PER_NS

    return work


def cuda_work(torch: Any, device: str) -> Work:
    """One float32 product on a CUDA device, timed by its events: launching it is not counted."""
    left = torch.ones(CUDA_MATRIX_SIZE, CUDA_MATRIX_SIZE, device=device)
    product = torch.empty_like(left)
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    stream = torch.cuda.current_stream(device)

    def work() -> float:
        began.record(stream)
        torch.matmul(left, left, out=product)
        ended.record(stream)
        ended.synchronize()
        return float(began.elapsed_time(ended))

    return work
