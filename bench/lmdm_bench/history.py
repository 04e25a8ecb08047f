"""The history of a cell: its time in record after record, and where it changed.

A record's point stands beside others only where they are of the same machine, device, dtype, kind
of record and workload; each such row is a series of its own, and nothing joins two of them.
"""

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import get_args

from scipy import stats

from lmdm_bench.change_points import Plateau, find_plateaus
from lmdm_bench.compare_record import Kind
from lmdm_bench.errors import InputError
from lmdm_bench.estimates import CONFIDENCE
from lmdm_bench.gate import DEFAULT_GATE
from lmdm_bench.history_index import Entry, Index, IndexedCell, RecordKind
from lmdm_bench.record import Estimate

# A change that is smaller than this share does not matter, whatever is known of it.
LEAST_CHANGE: dict[Kind, float] = {
    "block": DEFAULT_GATE.block,
    "kernel": DEFAULT_GATE.kernel,
    "codec": DEFAULT_GATE.codec,
}

CHANGE_METHOD = "difference of plateaus"

_NUM_NEAREST = 5
# From how alike on (difflib's measure) a name is worth naming.
_ALIKE = 0.3
# Standard errors from an estimate to the end of its interval.
HALF_WIDTH = float(stats.norm.ppf((1 + CONFIDENCE) / 2))

Key = tuple[tuple[str, ...], tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class Point:
    """The cell in one record: the median in milliseconds with its interval, of ``n`` samples."""

    entry: Entry
    milliseconds: float
    ci95: tuple[float, float]
    n: int

    @property
    def standard_error(self) -> float:
        """Of the median's log, as wide as its interval is."""
        low, high = map(math.log, self.ci95)
        return (high - low) / (2 * HALF_WIDTH)


@dataclass(frozen=True)
class Missing:
    """A record in which the cell has no time, and why."""

    entry: Entry
    reason: str


@dataclass(frozen=True)
class Change:
    """From ``point`` on (its place in the series) the cell takes ``effect`` times as long.

    The effect's interval takes the place of the change for known. ``num_before`` and ``num_after``
    are the records at the two plateaus.
    """

    point: int
    before_ms: float
    after_ms: float
    effect: Estimate
    num_before: int
    num_after: int


@dataclass(frozen=True)
class Series:
    """One cell on one machine over records, oldest first, with the plateaus that its times keep to.

    ``is_by_commit``: ordered by the commits' history, else by when the records were made.
    """

    cell: str
    kind: str
    record_kind: RecordKind
    machine: str
    device: str
    dtype: str
    axes: dict[str, str]
    points: tuple[Point, ...]
    missing: tuple[Missing, ...]
    plateaus: tuple[Plateau, ...]
    is_by_commit: bool

    @property
    def changes(self) -> tuple[Change, ...]:
        return tuple(_change(before, after) for before, after in pairwise(self.plateaus))


def history(
    index: Index, cell: str, commit_ranks: Mapping[str, int] | None = None
) -> tuple[Series, ...]:
    """Every series of the cells that the name, in which * and ? may stand, fits; a cell's longest
    series is its first.

    ``commit_ranks`` are the commits' places in their history (``commit_order.py``): they order a
    series where they have each of its commits. Raises InputError, with the nearest names, where no
    cell fits.
    """
    names = {one.name for entry in index.entries for one in entry.indexed_cells}
    wanted = {one for one in names if one == cell or fnmatchcase(one, cell)}
    if not wanted:
        raise InputError(_unknown(cell, names))
    rows: dict[Key, list[tuple[Entry, IndexedCell]]] = {}
    for entry in index.entries:
        for one in entry.indexed_cells:
            if one.name in wanted:
                rows.setdefault(_key(entry, one), []).append((entry, one))
    found = [_series(rows[key], commit_ranks or {}) for key in sorted(rows)]
    kinds = get_args(RecordKind)
    return tuple(
        sorted(found, key=lambda one: (one.cell, -len(one.points), kinds.index(one.record_kind)))
    )


def _unknown(cell: str, names: set[str]) -> str:
    if not names:
        return f"no record has cells, so there is no history of {cell!r}"
    nearest = difflib.get_close_matches(cell, sorted(names), _NUM_NEAREST, _ALIKE)
    told = ", ".join(map(repr, nearest or sorted(names)[:_NUM_NEAREST]))
    word = "the nearest" if nearest else "some"
    return f"no cell is named {cell!r}; {word} of {len(names)} names: {told}"


def _key(entry: Entry, cell: IndexedCell) -> Key:
    """What two points have to share."""
    names = (cell.name, entry.machine, entry.device, entry.dtype, entry.kind, cell.kind)
    return names, tuple(sorted(cell.axes.items()))


def _series(found: Sequence[tuple[Entry, IndexedCell]], ranks: Mapping[str, int]) -> Series:
    is_by_commit = all(entry.git_commit in ranks for entry, _ in found)

    def place(one: tuple[Entry, IndexedCell]) -> tuple[int, str, str, str]:
        entry, _ = one
        rank = ranks[entry.git_commit] if is_by_commit and entry.git_commit else 0
        return rank, entry.created, entry.file, entry.side or ""

    ordered = sorted(found, key=place)
    points = tuple(_points(ordered))
    entry, cell = ordered[0]
    return Series(
        cell=cell.name,
        kind=cell.kind,
        record_kind=entry.kind,
        machine=entry.machine,
        device=entry.device,
        dtype=entry.dtype,
        axes=cell.axes,
        points=points,
        missing=tuple(
            Missing(entry, one.median_ms.reason or "no reason given")
            for entry, one in ordered
            if one.median_ms.ci95 is None
        ),
        plateaus=find_plateaus(
            [math.log(one.milliseconds) for one in points],
            [one.standard_error for one in points],
            math.log1p(LEAST_CHANGE[cell.kind]),
        ),
        is_by_commit=is_by_commit,
    )


def _points(found: Sequence[tuple[Entry, IndexedCell]]) -> Iterator[Point]:
    for entry, cell in found:
        told = cell.median_ms
        if told.value is not None and told.ci95 is not None:
            yield Point(entry, told.value, told.ci95, told.n)


def _change(before: Plateau, after: Plateau) -> Change:
    width = HALF_WIDTH * math.hypot(before.standard_error, after.standard_error)
    jump = after.value - before.value
    return Change(
        point=after.begin,
        before_ms=math.exp(before.value),
        after_ms=math.exp(after.value),
        effect=Estimate(
            value=math.exp(jump),
            ci95=(math.exp(jump - width), math.exp(jump + width)),
            n=before.num_values + after.num_values,
            method=CHANGE_METHOD,
            reason=None,
        ),
        num_before=before.num_values,
        num_after=after.num_values,
    )
