"""The frozen record of a claims run: times of many workloads in interleaved rounds, and memory.

As with ``record.py``, only what was measured is kept; every fit and verdict is arithmetic on it.
A point that did not end ``OK`` says why. All times are milliseconds of a monotonic clock, and leave
the codec out: claims are about the models.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lmdm_bench.record import (
    Ceiling,
    Check,
    Choice,
    Cost,
    Machine,
    RecordError,
    Status,
    Tool,
    Workload,
    parse,
    read_text,
    to_json,
    write_whole,
)

CLAIMS_SCHEMA_VERSION = 2

# What a point is measured for: the axis that it helps to span, or the paper's own setting.
Sweep = Literal["steps", "context", "block", "tokens", "levels", "size", "paper"]


@dataclass(frozen=True)
class Visit:
    """One block of one point, made in one round.

    ``context_encode_ms`` is None where nothing is encoded ahead of the steps. ``attention_ms`` is
    the self-attention of all layers in all of the block's steps, made alone right after it on keys
    of the same sizes (block-causal's first step has the commit's too); None where the point does
    not need it.
    """

    round_index: int
    service_ms: float
    context_encode_ms: float | None
    attention_ms: float | None


@dataclass(frozen=True)
class Point:
    """One workload and its visits, one for each round that reached it."""

    workload: Workload
    sweeps: tuple[Sweep, ...]
    cost: Cost
    status: Status
    reason: str | None
    check: Check | None
    visits: tuple[Visit, ...]

    def __post_init__(self) -> None:
        if (self.status == "OK") != (self.reason is None):
            raise RecordError(f"status {self.status} and reason do not go together")


@dataclass(frozen=True)
class MemoryProbe:
    """Peak memory of one workload, each figure from a process of its own.

    ``grown_bytes`` is the growth from before the weights were made to the peak over the blocks:
    the resident set, or on CUDA what the allocator had reserved. The codec is not built.
    """

    workload: Workload
    cost: Cost
    status: Status
    reason: str | None
    grown_bytes: tuple[int, ...]


@dataclass(frozen=True)
class ClaimsSettings:
    """What holds for the whole run. ``grid`` says in words what was picked, and why."""

    command: str
    seed: int
    budget_minutes: float
    grid: str
    device: Choice
    dtype: Choice
    linear: Choice
    attention: str
    is_interrupted: bool


@dataclass(frozen=True)
class ClaimsRecord:
    """One claims run: see the module's docstring."""

    schema_version: int
    created: str
    tool: Tool
    machine: Machine
    ceiling: Ceiling
    settings: ClaimsSettings
    points: tuple[Point, ...]
    memory: tuple[MemoryProbe, ...]


def load_claims(path: Path) -> ClaimsRecord:
    """Read a claims record. Raises RecordError in one sentence, whatever is wrong with it."""
    record: ClaimsRecord = parse(ClaimsRecord, CLAIMS_SCHEMA_VERSION, read_text(path), str(path))
    return record


def is_claims(path: Path) -> bool:
    """Whether a file holds a claims record rather than a run's. Raises RecordError as ``load``."""
    try:
        data = json.loads(read_text(path))
    except json.JSONDecodeError:
        return False  # whoever reads it next says what is wrong
    return isinstance(data, dict) and "points" in data


def save_claims(record: ClaimsRecord, path: Path) -> None:
    """Write the record, whole or not at all."""
    write_whole(path, to_json(record).encode("utf-8"))
