"""The frozen record of a kernels run: every way to compute the attention, checked and timed.

As with ``record.py``, only what was measured is kept; every rate, ratio and verdict is arithmetic
on it. What could not run says why, and nothing has times without a check that held. All times are
milliseconds of one sample: one call, or one pass through the whole stack of layers.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lmdm_bench.record import (
    Ceiling,
    Choice,
    Machine,
    RecordError,
    Tool,
    parse,
    read_text,
    to_json,
    write_whole,
)

KERNELS_SCHEMA_VERSION = 1

# How a row of the comparison ended; LEFT OUT is what the time did not allow.
RowStatus = Literal["OK", "OOM", "INCORRECT", "UNSUPPORTED", "FAILED", "INTERRUPTED", "LEFT OUT"]
# One call on the same buffers, or on buffers that rotate through more than the cache holds; both as
# part of a CUDA graph where there is CUDA, and ``eager`` is then ``warm`` launched call by call. A
# stack is all layers one after another, each with keys and values of its own.
Regime = Literal["warm", "cold", "eager", "stack", "stack graph"]


@dataclass(frozen=True)
class AttentionCase:
    """What is computed: a plan at a window, batch and a model's heads.

    ``rows`` are the plan's; ``places`` are the keys that there are, ``pairs`` the (query, key)
    pairs that see each other, of one head. ``flops`` and ``num_bytes`` are of one layer: 4 FLOPs
    for each pair and number of the head; queries and results once, and the key and value of each
    place that anyone sees once.
    """

    plan: str
    model: str
    context_frames: int
    block_frames: int
    batch: int
    heads: int
    head_dim: int
    layers: int
    rows: int
    queries: int
    places: int
    pairs: int
    flops: int
    num_bytes: int


@dataclass(frozen=True)
class KernelCheck:
    """The largest error against float64, relative to the largest true value, in this process.

    ``error`` is the worst of eager and graphed calls, before and after the timing;
    ``reference_error`` is that of plain PyTorch in the same dtype. The check holds when
    ``error <= budget`` (twice the reference error, plus one rounding).
    """

    error: float
    reference_error: float
    budget: float
    is_within_budget: bool


@dataclass(frozen=True)
class Timing:
    """One regime of one row: ``round_ms[r]`` was measured in the case's round r.

    ``calls`` is how many calls a sample was averaged over (for a stack: how many layers it has),
    ``touched_bytes`` what those calls read and wrote before any of it came again.
    """

    regime: Regime
    status: RowStatus
    reason: str | None
    calls: int
    touched_bytes: int
    round_ms: tuple[float, ...]

    def __post_init__(self) -> None:
        if (self.status == "OK") != (self.reason is None):
            raise RecordError(f"status {self.status} and reason do not go together")
        if self.status == "OK" and not self.round_ms:
            raise RecordError("a timing that is OK has at least one round")


@dataclass(frozen=True)
class KernelRow:
    """One backend on one case.

    ``launches`` are kernels on the device for one call. ``compiles`` are the graphs and kernels
    that were compiled until the first result was there, in ``compile_seconds`` (with that result);
    ``recompiles`` those compiled later, while it was checked and timed. What is None has its reason
    in ``unavailable``, by the field's name.
    """

    backend: str
    status: RowStatus
    reason: str | None
    check: KernelCheck | None
    launches: int | None
    compiles: int | None
    recompiles: int | None
    compile_seconds: float | None
    timings: tuple[Timing, ...]
    unavailable: dict[str, str]

    def __post_init__(self) -> None:
        if (self.status == "OK") != (self.reason is None):
            raise RecordError(f"status {self.status} and reason do not go together")
        is_right = self.check is not None and self.check.is_within_budget
        if any(one.round_ms for one in self.timings) and not is_right:
            raise RecordError(f"{self.backend} has times without a check that held")
        if self.status == "OK" and not any(one.status == "OK" for one in self.timings):
            raise RecordError(f"{self.backend} is OK and nothing of it was timed")


@dataclass(frozen=True)
class KernelCell:
    """One case and its rows, one for each backend that was asked for."""

    case: AttentionCase
    rows: tuple[KernelRow, ...]


@dataclass(frozen=True)
class KernelSettings:
    """What holds for the whole run.

    ``grid`` says in words what was measured and what was left out. ``cache`` is the cache in bytes
    whose warmth is meant, and how that is known; ``absent`` says why a regime is not there.
    """

    command: str
    seed: int
    budget_minutes: float
    grid: str
    device: Choice
    dtype: Choice
    launches: Choice
    cache: Choice
    regimes: tuple[Regime, ...]
    absent: dict[str, str]
    is_interrupted: bool


@dataclass(frozen=True)
class KernelsRecord:
    """One kernels run: see the module's docstring."""

    schema_version: int
    created: str
    tool: Tool
    machine: Machine
    ceiling: Ceiling
    settings: KernelSettings
    kernel_cells: tuple[KernelCell, ...]

    def rows(self) -> Iterator[tuple[AttentionCase, KernelRow]]:
        """Every row with its case."""
        return ((cell.case, row) for cell in self.kernel_cells for row in cell.rows)


def load_kernels(path: Path) -> KernelsRecord:
    """Read a kernels record. Raises RecordError in one sentence, whatever is wrong with it."""
    record: KernelsRecord = parse(KernelsRecord, KERNELS_SCHEMA_VERSION, read_text(path), str(path))
    return record


def is_kernels(path: Path) -> bool:
    """Whether a file holds a kernels record. Raises RecordError as ``load_kernels``."""
    try:
        data = json.loads(read_text(path))
    except json.JSONDecodeError:
        return False  # whoever reads it next says what is wrong
    return isinstance(data, dict) and "kernel_cells" in data


def save_kernels(record: KernelsRecord, path: Path) -> None:
    """Write the record, whole or not at all."""
    write_whole(path, to_json(record).encode("utf-8"))
