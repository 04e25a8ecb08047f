"""Wall time of a block and of its stages, the device's work included."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Synchronise = Callable[[], None]

MS_PER_NS = 1e-6

# After a stage's name: its call was timed, but its work is part of another stage.
CALL_ONLY = " (call)"


class Stopwatch:
    """Times one block. A stage may come several times: ``stages_ms`` keeps each, in order.

    ``synchronise`` waits for the device before every reading, so that a stage's time is its own;
    what that costs is part of the figures (on a CPU, nothing).
    """

    def __init__(self, synchronise: Synchronise, now_ms: Callable[[], float] | None = None) -> None:
        """``now_ms`` is the clock to read; None: the process's finest."""
        self._synchronise = synchronise
        self._read_ms = _now_ms if now_ms is None else now_ms
        self.stages_ms: dict[str, list[float]] = {}
        self.total_ms = 0.0

    @contextmanager
    def block(self) -> Iterator[None]:
        """Around the whole block."""
        start = self._now()
        yield
        self.total_ms = self._now() - start

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Around one stage of the block."""
        start = self._now()
        yield
        self.stages_ms.setdefault(name, []).append(self._now() - start)

    def _now(self) -> float:
        self._synchronise()
        return self._read_ms()


def _now_ms() -> float:
    return time.perf_counter_ns() * MS_PER_NS


def synchroniser(device: str) -> Synchronise:
    """How to wait for a device: nothing to do on a CPU."""
    kind = device.partition(":")[0]
    if kind == "cuda":
        import torch

        return lambda: torch.cuda.synchronize(device)
    if kind == "mps":
        import torch

        return torch.mps.synchronize
    return lambda: None
