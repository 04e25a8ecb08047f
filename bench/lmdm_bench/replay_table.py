"""Every stream of a record under other prebuffers, as a table in an 80-column terminal."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lmdm_bench import format as shown
from lmdm_bench.any_record import load_any
from lmdm_bench.check_record import CheckCell, CheckRecord, Policy
from lmdm_bench.errors import InputError
from lmdm_bench.record import Cell, Estimate, Record, RecordError
from lmdm_bench.replay import MILLISECONDS_PER_SECOND, ReplayRow, replay_rows, trace_of

HEADER = (
    "prebuffer",
    "misses",
    "dropouts",
    "an hour\n[95 %]",
    "longest\ngap",
    "silence",
    "heard\nafter",
)
HEARD_MEANS = "heard after: control_to_sound, p50 to p95 of changes that come at any time"
PACED = "made against a clock"
BACK_TO_BACK = "made back to back, not paced: a live run may be slower or faster"
POLICY_MEANS: dict[Policy, str] = {
    "zero-pad": "late blocks lose the part whose time has passed, the clock never stops",
    "stall": "late blocks are played whole, and everything after them comes later",
    "skip": "as zero-pad, and blocks that can no longer be heard are not made",
}
_DIM = "dim"


@dataclass(frozen=True)
class Replayed:
    """One stream under one policy, a row for each prebuffer; no rows where it has no blocks."""

    name: str
    num_blocks: int
    block_seconds: float
    is_paced: bool
    policy: Policy
    rows: tuple[ReplayRow, ...]


def traces_of(path: Path) -> CheckRecord | Record:
    """A record that has traces. Raises RecordError for any other."""
    record = load_any(path)
    if not isinstance(record, CheckRecord | Record):
        raise RecordError(f"{path} has no blocks in a row: expected the record of a check or a run")
    return record


def replayed(
    record: CheckRecord | Record, prebuffers: Sequence[int], policy: str
) -> tuple[Replayed, ...]:
    """Every stream of the record. Raises InputError for a prebuffer or a policy that is none."""
    chosen = next((one for one in get_args(Policy) if one == policy), None)
    if chosen is None:
        raise InputError(f"the policy {policy!r} is none of {', '.join(get_args(Policy))}")
    if not prebuffers or min(prebuffers) < 1:
        raise InputError(f"prebuffers are 1 block or more, got {list(prebuffers)}")
    cells: Sequence[CheckCell | Cell] = (
        record.check_cells if isinstance(record, CheckRecord) else record.cells
    )
    names = shown.names([one.workload for one in cells])
    found = []
    for name, cell in zip(names, cells, strict=True):
        trace, rows = trace_of(cell), replay_rows(cell, prebuffers, chosen)
        seconds = cell.workload.block_seconds
        found.append(Replayed(name, len(trace.service_ms), seconds, trace.is_paced, chosen, rows))
    return tuple(found)


def replay_table(found: Sequence[Replayed]) -> RenderableType:
    """A table for each stream."""
    return Group(*(part for one in found for part in _stream(one)))


def replay_cells(row: ReplayRow) -> tuple[str, ...]:
    """A row as in ``HEADER``, wherever such a table stands."""
    blocks, told = f"{row.prebuffer_blocks}", row.dropouts
    if told is None:
        return (blocks, *(shown.NOT_AVAILABLE,) * (len(HEADER) - 1))
    return (
        blocks,
        shown.count(told.num_misses),
        shown.count(told.num_dropouts),
        _per_hour(told.per_hour),
        _time(told.longest_gap_ms) if told.num_dropouts else "none",
        shown.share(row.silence_share),
        _heard(row),
    )


def _stream(one: Replayed) -> tuple[RenderableType, ...]:
    made = PACED if one.is_paced else BACK_TO_BACK
    length = shown.seconds(one.block_seconds)
    about = Text(f"{shown.blocks(one.num_blocks)} of {length}, {made}", style=_DIM)
    policy = Text(f"{one.policy}: {POLICY_MEANS[one.policy]}", style=_DIM)
    head = Text(one.name, style="bold")
    if not one.rows:
        return head, Text("no block was made", style=_DIM), Text()
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style=_DIM)
    for title in HEADER:
        table.add_column(title, justify="right", no_wrap=True)
    for row in one.rows:
        table.add_row(*map(Text, replay_cells(row)))
    return head, about, policy, table, Text(HEARD_MEANS, style=_DIM), Text()


def _per_hour(one: Estimate) -> str:
    """Each end with as many digits as it needs by itself: they differ by orders of magnitude."""
    if one.value is None or one.ci95 is None:
        return shown.NOT_AVAILABLE
    low, high = map(shown.number, one.ci95)
    return f"{shown.number(one.value)} [{low},{shown.NBSP}{high}]"


def _heard(row: ReplayRow) -> str:
    middle, most = row.control_p50_seconds, row.control_p95_seconds
    if middle is None:
        return "mostly never"
    if most is None:
        return f"{shown.number(middle, 1)}{shown.NBSP}s or never"
    return f"{shown.number(middle, 1)} to {shown.number(most, 1)}{shown.NBSP}s"


def _time(milliseconds: float) -> str:
    if milliseconds < MILLISECONDS_PER_SECOND:
        return shown.milliseconds(milliseconds)
    return shown.seconds(milliseconds / MILLISECONDS_PER_SECOND)
