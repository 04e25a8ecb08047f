"""Our full pass beside stable-audio-tools' own: the record of an interleaved run, and its table.

``tests/parity/side_by_side.py`` measures; this file is the schema and pure functions of it.
"""

from dataclasses import dataclass

from lmdm_bench.estimates import quantile
from lmdm_bench.format import estimate, milliseconds
from lmdm_bench.record import Estimate, Machine, Tool

PEER_SCHEMA_VERSION = 1
HEADER = ("frames", "dtype", "stable-audio-tools, ms", "ours, ms", "ours ÷ theirs", "pairs")


@dataclass(frozen=True)
class PeerCell:
    """One bidirectional pass at full size: each pair was timed one right after the other."""

    model: str
    frames: int
    dtype: str
    linear: str
    relative_error: float
    theirs_ms: tuple[float, ...]
    ours_ms: tuple[float, ...]


@dataclass(frozen=True)
class PeerRecord:
    schema_version: int
    created: str
    command: str
    peer: str
    tool: Tool
    machine: Machine
    cells: tuple[PeerCell, ...]


def ratio(cell: PeerCell) -> Estimate:
    """The median of ours ÷ theirs over pairs; below 1 ours is faster."""
    pairs = zip(cell.ours_ms, cell.theirs_ms, strict=True)
    return quantile([ours / theirs for ours, theirs in pairs], 0.5)


def rows(record: PeerRecord) -> list[tuple[str, ...]]:
    """One row for each cell, under ``HEADER``."""
    return [
        (
            str(cell.frames),
            cell.dtype,
            milliseconds(quantile(cell.theirs_ms, 0.5).value),
            milliseconds(quantile(cell.ours_ms, 0.5).value),
            estimate(ratio(cell)),
            str(len(cell.ours_ms)),
        )
        for cell in record.cells
    ]
