"""Small sides of a comparison, and changed example records, for the tests of what reads them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import records
from lmdm_bench.compare_measured import Recorded, Sampled
from lmdm_bench.compare_record import CellSide, Misses, Side
from lmdm_bench.record import Block, Record, Status

FACTS = {"cpu": "AMD EPYC", "logical cores": "2", "memory": "23 GiB", "os": "Linux 6.8"}
AXES = {"scheme": "block-causal", "model": "sao-small", "steps": "8", "dtype": "bfloat16"}
COMMIT = "c" * 40


def outcome(
    status: Status = "OK",
    error: float = 0.004,
    memory_bytes: Mapping[str, int] | None = None,
    misses: Misses | None = None,
) -> CellSide:
    reason = None if status == "OK" else f"it ended {status}"
    return CellSide(status, reason, error, 0.02, dict(memory_bytes or {}), misses)


def sampled(
    *service_ms: float,
    name: str = "block-causal · sao-small",
    axes: Mapping[str, str] | None = None,
    ended: CellSide | None = None,
    **changes: Any,
) -> Sampled:
    """One process's cell with these times; ``axes`` are added to, or put in place of, the plain
    ones."""
    ended = ended or outcome()
    is_ok = ended.status == "OK"
    plain = Sampled(
        name=name,
        kind="block",
        axes={**AXES, **(axes or {})},
        block_seconds=2.2,
        outcome=ended,
        service_ms=(service_ms or (300.0, 310.0, 305.0)) if is_ok else (),
        stages={},
        controls={"product": (5.0,)} if is_ok else {},
    )
    return dataclasses.replace(plain, **changes)


def origin(
    name: str = "record.json",
    *,
    facts: Mapping[str, str] | None = None,
    git_commit: str | None = COMMIT,
    created: str = "2026-11-21T10:00:00+00:00",
    **changes: Any,
) -> Side:
    plain = Side(
        name=name,
        git_commit=git_commit,
        git_is_dirty=None if git_commit is None else False,
        machine="AMD EPYC, 2 cores, 23 GiB, Linux",
        machine_facts={**FACTS, **(facts or {})},
        packages={"torch": "2.13.0"},
        created=created,
        unavailable={} if git_commit else {"git_commit": "not run from a git checkout"},
    )
    return dataclasses.replace(plain, **changes)


def recorded(*cells: Sampled, **of: Any) -> Recorded:
    """A record of these cells; ``of`` are its origin's."""
    return Recorded(origin(**of), cells)


def run(factor: float = 1.0, created: str = "2026-11-21T10:00:00+00:00", **axes: Any) -> Record:
    """The three schemes on a CPU, so many times as slow; ``axes`` are put into each workload."""
    plain = records.all_ok()
    cells = tuple(
        dataclasses.replace(
            cell,
            workload=dataclasses.replace(cell.workload, **axes),
            blocks=tuple(_slower(block, factor) for block in cell.blocks),
        )
        for cell in plain.cells
    )
    return dataclasses.replace(plain, cells=cells, created=created)


def _slower(block: Block, factor: float) -> Block:
    return dataclasses.replace(
        block,
        service_ms=block.service_ms * factor,
        steps_ms=tuple(step * factor for step in block.steps_ms),
        host_ms=block.host_ms * factor,
    )
