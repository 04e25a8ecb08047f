"""The frozen record of a comparison: two sides' raw times, pair by pair, and what each side is.

As with ``record.py``, only what was measured is kept; every effect, interval and verdict is
arithmetic on it. Side a is the base, side b what is compared with it. All times are milliseconds of
one sample: a block, a call, or a stage of it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lmdm_bench.record import RecordError, Status, Tool, parse, read_text, to_json, write_whole

COMPARE_SCHEMA_VERSION = 1

# What a cell is of, which decides its practical threshold.
Kind = Literal["block", "kernel", "codec"]
# Where the times come from: both revisions measured now, or records that were measured before.
Source = Literal["revisions", "records"]
# Fixed work in both sides' processes, which no change can touch: a product of two matrices by all
# cores (or the GPU), a copy far larger than the cache …
DRIFT_CONTROLS = ("product", "copy")
# … and work within one core's own cache, or on a GPU: as long as it takes is the clock.
CANARY = "canary"


@dataclass(frozen=True)
class Times:
    """One quantity on both sides. Of pairs, ``a_ms[i]`` and ``b_ms[i]`` are adjacent in time."""

    a_ms: tuple[float, ...]
    b_ms: tuple[float, ...]


@dataclass(frozen=True)
class Process:
    """What one process of each side measured of a cell, in order.

    ``b_first`` says of each pair whether b was measured before a (empty where nothing is paired).
    ``stages`` have as many samples as ``service``. So have ``controls``, by the names above, where
    samples are paired; else as many as there are. ``is_confirming``: measured again, since the
    others had found a difference.
    """

    is_confirming: bool
    b_first: tuple[bool, ...]
    service: Times
    stages: dict[str, Times]
    controls: dict[str, Times]

    def __post_init__(self) -> None:
        if not self.b_first:
            return
        num_pairs = len(self.b_first)
        for name, times in {"service": self.service, **self.stages, **self.controls}.items():
            if not len(times.a_ms) == len(times.b_ms) == num_pairs:
                raise RecordError(f"{name} should have {num_pairs} samples on both sides")


@dataclass(frozen=True)
class Misses:
    """What was late while a stream was played against the clock: see ``dropouts.py``."""

    num_due: int
    num_misses: int
    num_dropouts: int
    playing_hours: float


@dataclass(frozen=True)
class CellSide:
    """How a cell went on one side. ``reason`` is None exactly when the status is OK.

    ``error`` and ``budget`` are those of its check, the worst of all processes. ``memory_bytes``
    has figures that are exact, by their name: arithmetic, or what an allocator counted.
    """

    status: Status
    reason: str | None
    error: float | None
    budget: float | None
    memory_bytes: dict[str, int]
    misses: Misses | None

    def __post_init__(self) -> None:
        if (self.status == "OK") != (self.reason is None):
            raise RecordError(f"status {self.status} and reason do not go together")


@dataclass(frozen=True)
class CompareCell:
    """One thing that both sides did. ``axes`` are its workload, the same on both sides.

    ``block_seconds`` is None where a sample is no block.
    """

    name: str
    kind: Kind
    axes: dict[str, str]
    block_seconds: float | None
    a: CellSide
    b: CellSide
    processes: tuple[Process, ...]


@dataclass(frozen=True)
class Side:
    """What one side is: a revision, or a record. ``unavailable`` says why a field is None."""

    name: str
    git_commit: str | None
    git_is_dirty: bool | None
    machine: str
    machine_facts: dict[str, str]
    packages: dict[str, str]
    created: str | None
    unavailable: dict[str, str]


@dataclass(frozen=True)
class Override:
    """Thresholds of the cells whose names match ``cell`` (with * and ?); None: the default."""

    cell: str
    time: float | None
    memory: float | None


@dataclass(frozen=True)
class Gate:
    """From which relative change on a difference matters: 0.03 is 3 %."""

    block: float
    kernel: float
    codec: float
    memory: float
    overrides: tuple[Override, ...]


@dataclass(frozen=True)
class CompareSettings:
    """What holds for the whole comparison.

    ``is_paired``: a and b took turns, pair by pair. ``differing`` are facts that differ between the
    sides' machines and are no difference of the workload, as "a against b"; where
    ``is_same_machine`` is False nothing is judged. ``only_a`` and ``only_b`` are cells that the
    other side does not have.
    """

    command: str
    source: Source
    seed: int
    minutes: float | None
    is_paired: bool
    is_same_machine: bool
    differing: dict[str, str]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    device: str
    dtype: str
    gate: Gate
    is_interrupted: bool


@dataclass(frozen=True)
class CompareRecord:
    """One comparison: see the module's docstring."""

    schema_version: int
    created: str
    tool: Tool
    a: Side
    b: Side
    settings: CompareSettings
    compared_cells: tuple[CompareCell, ...]


def load_compare(path: Path) -> CompareRecord:
    """Read a comparison. Raises RecordError in one sentence, whatever is wrong with it."""
    record: CompareRecord = parse(CompareRecord, COMPARE_SCHEMA_VERSION, read_text(path), str(path))
    return record


def is_compare(path: Path) -> bool:
    """Whether a file holds a comparison. Raises RecordError as ``load_compare``."""
    try:
        data = json.loads(read_text(path))
    except json.JSONDecodeError:
        return False  # whoever reads it next says what is wrong
    return isinstance(data, dict) and "compared_cells" in data


def save_compare(record: CompareRecord, path: Path) -> None:
    """Write the record, whole or not at all."""
    write_whole(path, to_json(record).encode("utf-8"))
