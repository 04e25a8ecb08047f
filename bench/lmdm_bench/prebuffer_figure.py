"""The figure of what other prebuffers would have done to the same service times."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from lmdm_bench import format as shown
from lmdm_bench.canvas import FAINT, INK, MUTED, PAPER, mixed
from lmdm_bench.check_panels import (
    MS_PER_SECOND,
    Part,
    Sheet,
    figure_of_cells,
    share_words,
    small_axes,
    span_words,
)
from lmdm_bench.check_record import CheckCell, CheckRecord, CheckSettings
from lmdm_bench.claims_panels import empty_panel, say
from lmdm_bench.dropouts import Dropouts
from lmdm_bench.record import Estimate
from lmdm_bench.replay import ReplayRow, replay_rows
from lmdm_bench.ring import smallest_prebuffer

_LEFT, _WIDTH, _HEIGHT = 1.75, 7.05, 1.35
_ABOVE = 0.36
_LINE_POINTS = 12.5
_TABLE, _BETWEEN = 1.32, 0.16
_NOT_HEARD = "not heard"
# What is said of each prebuffer under its column. A change is heard after so long in 95 % of cases.
_LINES = (
    "blocks ahead",
    "seconds ahead",
    "dropouts an hour",
    "at most (95 %)",
    "longest gap, s",
    "silence, % of time",
    "change heard after, s",
)
_NO_FIGURES = ("0", shown.NOT_AVAILABLE, _NOT_HEARD)
_NEAR = (1, 2, 3, 4, 5, 6, 7, 8)
_FAR = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


def prebuffer(record: CheckRecord) -> Figure:
    """The part of blocks that would have been late with each prebuffer, and what it costs."""
    return figure_of_cells(
        record,
        Sheet(
            "How many blocks ahead does it need?",
            "The measured times, played again: more blocks ahead, fewer gaps, but changes are "
            "heard later. Bars: 95 % intervals.",
            _ABOVE + _HEIGHT + _TABLE + _BETWEEN,
            partial(_draw, record.settings),
        ),
    )


@dataclass(frozen=True)
class _Column:
    """What one prebuffer would have done, with its dropouts."""

    row: ReplayRow
    found: Dropouts

    def told(self, block_seconds: float) -> tuple[str, ...]:
        """Its figures, in the order of ``_LINES``."""
        silence, heard = self.row.silence_share, self.row.control_p95_seconds
        return (
            f"{self.row.prebuffer_blocks}",
            _figure(self.row.prebuffer_blocks * block_seconds),
            _figure(self.found.per_hour.value),
            _figure(self.found.per_hour_upper),
            _figure(self.found.longest_gap_ms / MS_PER_SECOND),
            _figure(None if silence is None else 100 * silence),
            _NOT_HEARD if heard is None else _figure(heard),
        )


def shown_prebuffers(cell: CheckCell, settings: CheckSettings) -> tuple[int, ...]:
    """Which prebuffers a cell is replayed with: the smallest ones, the run's own and enough.

    Only those that leave blocks to be judged.
    """
    own, enough = settings.prebuffer_blocks, smallest_prebuffer(cell.service_ms, cell.block_ms)
    some = _NEAR if max(own, enough) <= _NEAR[-1] else _FAR
    wanted = {*some, own, *((enough,) if enough <= _FAR[-1] else ())}
    return tuple(one for one in sorted(wanted) if one < len(cell.blocks))


def _draw(settings: CheckSettings, part: Part, cell: CheckCell) -> Iterator[str]:
    axes = part.panel(_LEFT, _ABOVE, _WIDTH, _HEIGHT)
    rows = replay_rows(cell, shown_prebuffers(cell, settings), settings.policy)
    columns = [_Column(row, row.dropouts) for row in rows if row.dropouts is not None]
    if not columns:
        empty_panel(axes, "a replay needs two blocks and more")
        return _facts(cell)
    low = _lowest(len(cell.blocks))
    _share_axis(axes, low)
    axes.set_xlim(-0.6, len(columns) - 0.4)
    axes.set_xticks([])
    marks = _marks(columns, settings)
    for at, column in enumerate(columns):
        if "this run" in marks[at]:
            _shade(axes, at)
        _draw_rate(axes, at, column.found.miss_rate, low, shown.scheme_colour(cell.workload.scheme))
        above: dict[str, Any] = {"where": ("data", "axes fraction"), "va": "bottom"}
        words = "\n".join(marks[at])
        say(axes, words, (at, 1), (0, 3), ha="center", fontweight="bold", **above)
    _draw_table(axes, cell, columns)
    return _facts(cell)


def _facts(cell: CheckCell) -> Iterator[str]:
    yield f"{shown.blocks(len(cell.blocks))} of {span_words(cell.block_ms)}"
    enough = smallest_prebuffer(cell.service_ms, cell.block_ms)
    if _is_slower_in_the_end(cell):
        yield "slower than real time in the end: no prebuffer is enough for long"
    elif enough > _FAR[-1]:
        yield f"no prebuffer up to {_FAR[-1]} would have been enough"
    else:
        yield f"{shown.blocks(enough)} ahead would have been enough for these times"


def _is_slower_in_the_end(cell: CheckCell) -> bool:
    times = cell.service_ms[-math.ceil(len(cell.blocks) / 3) :]
    return math.fsum(times) >= len(times) * cell.block_ms


def _lowest(num_blocks: int) -> float:
    """The place of "none" on the logarithmic axis, below the least share that can be seen."""
    return 0.2 * 10.0 ** math.floor(math.log10(1 / num_blocks))


def _share_axis(axes: Axes, low: float) -> None:
    small_axes(axes, up="blocks late")
    axes.set_yscale("log")
    axes.set_ylim(low / 1.5, 1.5)
    decades = [10.0**-power for power in range(9) if 10.0**-power > 2 * low]
    axes.yaxis.set_major_locator(FixedLocator([low, *decades]))
    axes.yaxis.set_minor_locator(NullLocator())
    words = FuncFormatter(lambda at, _: "none" if at < 1.5 * low else share_words(at))
    axes.yaxis.set_major_formatter(words)


def _draw_rate(axes: Axes, at: int, rate: Estimate, low: float, colour: str) -> None:
    """The part of blocks that were late as a dot in the bar of its interval."""
    if rate.value is None:
        return
    bottom, top = (max(one, low) for one in rate.ci95 or (rate.value, rate.value))
    pale = mixed(colour, PAPER, 0.6)
    axes.bar(at, top - bottom, 0.34, bottom, color=pale, linewidth=0, zorder=2)
    dot: dict[str, Any] = {"marker": "o", "markersize": 7.0, "markeredgewidth": 1.6, "zorder": 3}
    dot |= {"markerfacecolor": colour if rate.value else PAPER, "markeredgecolor": colour}
    axes.plot([at], [max(rate.value, low)], **dot)


def _shade(axes: Axes, at: int) -> None:
    """A column's background, down to the end of the table."""
    look: dict[str, Any] = {"facecolor": FAINT, "alpha": 0.45, "linewidth": 0, "zorder": 0}
    height = 1 + _TABLE / _HEIGHT
    place = axes.get_xaxis_transform()
    corner = (at - 0.5, 1 - height)
    axes.add_patch(Rectangle(corner, 1, height, transform=place, clip_on=False, **look))


def _marks(columns: Sequence[_Column], settings: CheckSettings) -> list[list[str]]:
    """What each column is, in words above it: the first that is proved, or without a gap."""
    target = settings.target_dropouts_per_hour
    marks: list[list[str]] = [[] for _ in columns]
    is_proved = [one.found.per_hour_upper <= target for one in columns]
    is_gapless = [one.found.num_misses == 0 for one in columns]
    for words, holds in (("proved", is_proved), ("no gap", is_gapless)):
        if any(holds):
            marks[holds.index(True)].append(words)
    for mark, one in zip(marks, columns, strict=True):
        if one.row.prebuffer_blocks == settings.prebuffer_blocks:
            mark.append("this run")
    return marks


def _draw_table(axes: Axes, cell: CheckCell, columns: Sequence[_Column]) -> None:
    """Under each column its figures."""
    style: dict[str, Any] = {"va": "top"}
    for line, name in enumerate(_LINES):
        down = -6 - line * _LINE_POINTS
        style["fontweight"] = "bold" if line == 0 else "normal"
        say(axes, name, (0, 0), (-8, down), "axes fraction", ha="right", **style)
        for at, column in enumerate(columns):
            told = column.told(cell.workload.block_seconds)[line]
            look = style | {"ha": "center", "color": MUTED if told in _NO_FIGURES else INK}
            look |= {"fontsize": 7.5} if told == _NOT_HEARD else {}
            say(axes, told, (at, 0), (0, down), ("data", "axes fraction"), **look)


def _figure(value: float | None) -> str:
    """Three significant digits, 0 as such, and n/a for what cannot be told."""
    if value is None or not math.isfinite(value):
        return shown.NOT_AVAILABLE
    return "0" if value == 0 else shown.number(value)
