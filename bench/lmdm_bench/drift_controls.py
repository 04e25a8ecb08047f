"""Fixed work that no change to the models can touch: where its time moves, the machine has moved.

Three kinds, as ``compare_record.py`` names them: a product of two matrices by all cores (or the
GPU), a copy far larger than the cache, and the canary, one core's work within its own cache (or
the GPU's small product), which is the clock.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lmdm_bench.canary import Work, cpu_work, cuda_work
from lmdm_bench.clock import Synchronise, synchroniser
from lmdm_bench.compare_record import CANARY

MS_PER_NS = 1e-6

# 0.9 GFLOP and 128 MiB of traffic: 4 ms each on two cores, and still some microseconds on a GPU,
# where as many are done in a row as the numbers after them say.
PRODUCT_SIZE = 768
COPY_BYTES = 64 << 20
REPEATS = {"cpu": 1, "cuda": 8, "mps": 8}
# The middle one of so many counts: the first comes after a pause.
NUM_TRIES = 3


class DriftControls:
    """``sample()`` does each of them three times, and gives the middle milliseconds by its name."""

    def __init__(self, device: str) -> None:
        kind = device.partition(":")[0]
        self._synchronise = synchroniser(device)
        self._repeats = REPEATS[kind]
        generator = torch.Generator().manual_seed(0)
        square = torch.rand(PRODUCT_SIZE, PRODUCT_SIZE, generator=generator).to(device)
        product = torch.empty_like(square)
        source, copy = (_on_large_pages(COPY_BYTES).to(device) for _ in range(2))
        canary = cuda_work(torch, device) if kind == "cuda" else cpu_work()
        self._work: dict[str, Work] = {
            "product": self._timed(lambda: torch.mm(square, square, out=product)),
            "copy": self._timed(lambda: copy.copy_(source)),
            CANARY: canary,
        }
        self.sample()

    def sample(self) -> dict[str, float]:
        with torch.inference_mode():
            return {
                name: statistics.median(work() for _ in range(NUM_TRIES))
                for name, work in self._work.items()
            }

    def _timed(self, action: Callable[[], object]) -> Work:
        synchronise: Synchronise = self._synchronise

        def work() -> float:
            synchronise()
            began_ns = time.perf_counter_ns()
            for _ in range(self._repeats):
                action()
            synchronise()
            return (time.perf_counter_ns() - began_ns) * MS_PER_NS

        return work


def _on_large_pages(num_bytes: int) -> Tensor:
    """Memory for which NumPy asks for large pages, where a system has them: on small ones a copy's
    time goes by which pages a process was given, and two processes differed by up to 12 %.

    Written once: pages that never were are all one page, which the cache serves.
    """
    return torch.from_numpy(np.arange(num_bytes // 4, dtype=np.int32))
