"""How a history is told: its commits, series and changes, in the figure and in the terminal."""

import math
from collections.abc import Sequence

from lmdm_bench import format as shown
from lmdm_bench.change_points import Plateau
from lmdm_bench.compare_cells import axis_words
from lmdm_bench.history import HALF_WIDTH, Change, Series
from lmdm_bench.history_index import Entry
from lmdm_bench.ratio_change import change_and_interval

COMMIT_LETTERS = 8
DIRTY_SIGN = "+"
NO_COMMIT = "no commit"

# Axes that a series' first words tell.
TOLD_AXES = ("dtype", "device")


def commit_words(entry: Entry) -> str:
    """``6b16195b``, with a plus sign where files were changed beside the commit."""
    if entry.git_commit is None:
        return NO_COMMIT
    sign = DIRTY_SIGN if entry.git_is_dirty else ""
    return f"{shown.plain(entry.git_commit)[:COMMIT_LETTERS]}{sign}"


def series_words(series: Series) -> str:
    """``AMD EPYC, 2 cores, 23 GiB, Linux · bfloat16 on cpu``."""
    return shown.plain(f"{series.machine} · {series.dtype} on {series.device}")


def detail_words(series: Series, among: Sequence[Series]) -> str:
    """What sets a series apart from others of its cell: the kind of record, and axes by name."""
    of_cell = [one for one in among if one.cell == series.cell]
    alike = [one for one in of_cell if one.record_kind == series.record_kind]
    words: list[str] = [series.record_kind] if len(alike) < len(of_cell) else []
    for name, value in series.axes.items():
        # An axis that only one kind of record has says nothing beside that kind.
        known = {one.axes[name] for one in of_cell if name in one.axes}
        values = {one.axes.get(name) for one in alike}
        if name not in TOLD_AXES and max(len(known), len(values)) > 1:
            words.append(f"{axis_words(name)} {value}")
    return shown.plain(" · ".join(words))


def unit_words(series: Series) -> str:
    """``ms per block``, or of what else a time is."""
    return f"ms per {'block' if series.kind == 'block' else 'call'}"


def percent_words(change: Change) -> str:
    """``+10.2 %``."""
    return change_and_interval(change.effect)[0]


def from_to_words(change: Change) -> str:
    """``312 → 344 ms``."""
    told = f"{shown.number(change.before_ms)} → {shown.number(change.after_ms)} ms"
    return told.replace(" ", shown.NBSP)


def plateau_ends(plateau: Plateau) -> tuple[float, float, float]:
    """A plateau in milliseconds, and the two ends of its 95 % interval."""
    width = HALF_WIDTH * plateau.standard_error
    middle, low, high = (math.exp(plateau.value + one) for one in (0.0, -width, width))
    return middle, low, high


def records_words(num: int) -> str:
    """``1 record``, ``9 records``."""
    return f"{shown.count(num)}{shown.NBSP}record{'' if num == 1 else 's'}"


def answer(series: Series) -> str:
    """How long the cell takes now, since when, and how often that changed."""
    if not series.points:
        return f"No time in {records_words(len(series.missing))}."
    now = series.plateaus[-1]
    first = series.points[now.begin].entry
    told = f"{shown.milliseconds(series.points[-1].milliseconds)} in the last record"
    if len(series.points) == 1:
        return f"{shown.milliseconds(series.points[0].milliseconds)} in the only record."
    if not series.changes:
        return f"{told}; no change over {records_words(len(series.points))}."
    last = series.changes[-1]
    alone = ", which one record says so far" if last.num_after == 1 else ""
    count = len(series.changes)
    return (
        f"{told}; {count} change{'' if count == 1 else 's'} over "
        f"{records_words(len(series.points))}, the last {percent_words(last)} at "
        f"{commit_words(first)} of {first.created[:10]}{alone}."
    )
