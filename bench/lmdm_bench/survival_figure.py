"""The figure of how rare slow and late blocks are, with the fitted tail beyond what was seen."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from lmdm_bench import format as shown
from lmdm_bench.canvas import INK, MUTED, ON_PAPER, mixed, tick_decimals
from lmdm_bench.check_panels import (
    DEADLINE_DASHES,
    Floats,
    Indexes,
    Part,
    Sheet,
    figure_of_cells,
    late_words,
    lateness_ms,
    share_words,
    small_axes,
    span_words,
)
from lmdm_bench.check_record import CheckCell, CheckRecord, CheckSettings
from lmdm_bench.claims_panels import empty_panel, number_axis, say
from lmdm_bench.dropouts import measured_dropouts
from lmdm_bench.tail import (
    FARTHEST,
    MAX_INFERENCE_PROBABILITY,
    Tail,
    exceedance,
    fit_tail,
    qq_points,
    tail_quantile,
)

_LEFT, _WIDTH, _BETWEEN, _HEIGHT = 1.08, 2.62, 0.36, 2.0
_QQ_LEFT, _QQ_WIDTH = 7.36, 1.48
_ABOVE, _BELOW = 0.42, 0.52
# A tail and its band are drawn through so many places.
_NUM_PLACES = 48
# The rarest values are all drawn; of the others so many, evenly on the logarithmic axis.
_NUM_RAREST, _NUM_OTHERS = 60, 300
_FARTHEST_DEADLINE = 3.0
_REASON_LETTERS = 40
_SECONDS_PER_HOUR = 3600.0


def survival(record: CheckRecord) -> Figure:
    """The share of blocks above each service time and each lateness, and what a tail says."""
    return figure_of_cells(
        record,
        Sheet(
            "How rare are slow blocks, and late ones?",
            "The lower a curve meets the dashed line, the rarer a miss. Where the dots end, a "
            "fitted tail goes on, with its 95 % band.",
            _ABOVE + _HEIGHT + _BELOW,
            partial(_draw, record.settings),
        ),
    )


@dataclass(frozen=True)
class _Row:
    """One row of values in ms with their tail, the value beyond which it is too much, and words."""

    values: Floats
    tail: Tail
    deadline: float
    title: str
    across: str
    at_deadline: str
    far_off: str


def _rows(settings: CheckSettings, cell: CheckCell) -> tuple[_Row, _Row]:
    times, late = np.array(cell.service_ms), lateness_ms(cell, settings)
    length = shown.milliseconds(cell.block_ms)
    spare = span_words(-float(late.max())) if late.size else "nothing"
    return (
        _Row(
            times,
            fit_tail(times),
            cell.block_ms,
            "how long blocks took",
            "service time, ms",
            "its length",
            f"{length}, its length,\nis far to the right",
        ),
        _Row(
            late,
            fit_tail(late),
            0.0,
            "how late they were",
            "ready after it was due, ms",
            "due",
            f"0 is far to the right:\n{spare} to spare at least",
        ),
    )


def _draw(settings: CheckSettings, part: Part, cell: CheckCell) -> Iterator[str]:
    rows = _rows(settings, cell)
    allowed = settings.target_dropouts_per_hour * cell.workload.block_seconds / _SECONDS_PER_HOUR
    lowest = min(allowed, 1 / (FARTHEST * len(cell.blocks))) / 1.6
    panels = [
        part.panel(_LEFT + at * (_WIDTH + _BETWEEN), _ABOVE, _WIDTH, _HEIGHT) for at in (0, 1)
    ]
    for axes, row in zip(panels, rows, strict=True):
        axes.set_title(row.title, loc="left", fontsize=9, fontweight="bold", pad=15)
        small_axes(axes, row.across)
        if not row.values.size:
            empty_panel(axes, "no block was due: all of them are in the prebuffer", 30)
            continue
        _share_axis(axes, lowest)
        _draw_row(axes, row, shown.scheme_colour(cell.workload.scheme))
    panels[0].set_ylabel("part of the blocks", fontsize=8.5)
    panels[1].tick_params(labelleft=False)
    if rows[1].values.size:
        _draw_allowed(panels[1], allowed, settings.target_dropouts_per_hour)
    _draw_fit(part.panel(_QQ_LEFT, _ABOVE, _QQ_WIDTH, _QQ_WIDTH), rows)
    return _facts(settings, cell, rows[0].tail, rows[1].tail)


def _facts(settings: CheckSettings, cell: CheckCell, slow: Tail, late: Tail) -> Iterator[str]:
    yield f"{shown.blocks(len(cell.blocks))} of {span_words(cell.block_ms)}"
    yield late_words(measured_dropouts(cell, settings.prebuffer_blocks, settings.policy))
    told = exceedance(late, 0.0)
    if told.value is not None:
        is_floor = told.value <= 1 / (FARTHEST * late.num_values)
        yield f"tail: {'fewer than ' if is_floor else ''}{share_words(told.value)} late"
    most = tail_quantile(slow, MAX_INFERENCE_PROBABILITY)
    yield f"max_inference_time {shown.estimate(most, 'ms')}"


def _share_axis(axes: Axes, lowest: float) -> None:
    axes.set_yscale("log")
    axes.set_ylim(lowest, 1.4)
    decades = [10.0**-power for power in range(9) if 10.0**-power > lowest]
    axes.yaxis.set_major_locator(FixedLocator(decades))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: share_words(share)))


def _draw_row(axes: Axes, row: _Row, colour: str) -> None:
    """What was seen as dots, the tail as a line, the deadline as a dashed one."""
    values = np.sort(row.values)
    shares = np.arange(values.size, 0, -1) / values.size
    low, high, is_near = _limits(row)
    axes.set_xlim(low, high)
    number_axis(axes, "x", 4)
    axes.grid(axis="x")
    if is_near:
        line: dict[str, Any] = {"color": INK, "linewidth": 1.3, "linestyle": DEADLINE_DASHES}
        axes.axvline(row.deadline, zorder=2, **line)
        top: dict[str, Any] = {"where": ("data", "axes fraction"), "ha": "center", "va": "bottom"}
        say(axes, row.at_deadline, (row.deadline, 1), (0, 1), fontweight="bold", fontsize=8, **top)
    else:
        # The lower left is empty under any such curve.
        corner: dict[str, Any] = {"where": "axes fraction", "va": "bottom", "bbox": ON_PAPER}
        say(axes, row.far_off, (0.03, 0.2), fontweight="bold", fontsize=8, zorder=6, **corner)
    _draw_tail(axes, row, high, mixed(colour, "#000000", 0.42))
    kept = _kept(values.size)
    dot: dict[str, Any] = {
        "marker": "o",
        "markersize": 3.2,
        "linestyle": "none",
        "markeredgewidth": 0,
    }
    axes.plot(values[kept], shares[kept], color=colour, zorder=4, **dot)


def _limits(row: _Row) -> tuple[float, float, bool]:
    """The horizontal axis' ends, and whether the deadline lies between them.

    The tail is followed until it is as rare as may be told, but not so far that it flattens the
    rest.
    """
    low, most = float(row.values.min()), float(row.values.max())
    span = max(most - low, 0.02 * max(abs(most), abs(low)), 1e-3)
    rarest = _rarest(row.tail)
    high = most if rarest is None else max(most, min(rarest, most + 1.2 * span))
    is_near = row.deadline <= max(most, high) + _FARTHEST_DEADLINE * span
    if is_near:
        high, low = max(high, row.deadline), min(low, row.deadline)
    margin = max(0.05 * (high - low), 0.1 * span)
    return low - margin, high + margin, is_near


def _draw_tail(axes: Axes, row: _Row, farthest: float, colour: str) -> None:
    tail = row.tail
    if tail.reason is not None:
        words = textwrap.fill(f"no tail: {tail.reason}", _REASON_LETTERS)
        corner: dict[str, Any] = {"where": "axes fraction", "va": "bottom", "bbox": ON_PAPER}
        say(axes, words, (0.03, 0.02), fontsize=8, color=MUTED, **corner)
        return
    floor, rarest = 1 / (FARTHEST * tail.num_values), _rarest(tail)
    # Closer to each other where the tail bends most; the line ends where no more can be told.
    steps = np.linspace(0, 1, _NUM_PLACES) ** 2
    places = tail.threshold_ms + steps * (farthest - tail.threshold_ms)
    if rarest is not None and tail.threshold_ms < rarest < farthest:
        places = np.sort(np.append(places, rarest))
    told = [exceedance(tail, float(place)) for place in places]
    shares = np.array([one.value for one in told], dtype=np.float64)
    ends = np.array([one.ci95 or (np.nan, np.nan) for one in told], dtype=np.float64).T
    band: dict[str, Any] = {"color": colour, "alpha": 0.18, "linewidth": 0, "zorder": 1}
    axes.fill_between(places, *ends.clip(min=floor), **band)
    is_told = places <= (farthest if rarest is None else rarest)
    axes.plot(places[is_told], shares[is_told], color=colour, linewidth=1.4, zorder=3)


def _rarest(tail: Tail) -> float | None:
    """The rarest value that the tail may tell of."""
    rounding = 1 + 1e-9
    return tail_quantile(tail, rounding / (FARTHEST * tail.num_values)).value


def _draw_allowed(axes: Axes, allowed: float, per_hour: float) -> None:
    """The share of late blocks that makes the target, if each of them is a dropout."""
    axes.axhline(allowed, color=MUTED, linewidth=1.1, linestyle=(0, (1.5, 1.5)), zorder=1)
    words = f"{shown.number(per_hour, tick_decimals(per_hour))} an hour"
    place: dict[str, Any] = {"ha": "right", "color": MUTED, "bbox": ON_PAPER, "fontsize": 8}
    say(axes, words, (1, allowed), (-2, 6), axes.get_yaxis_transform(), **place)


def _draw_fit(axes: Axes, rows: tuple[_Row, _Row]) -> None:
    """What was seen beyond the thresholds against what the tails say, both in the tail's scale."""
    axes.set_title("does the tail fit?", loc="left", fontsize=9, fontweight="bold", pad=15)
    looks: tuple[dict[str, Any], ...] = (
        {"color": MUTED, "marker": "o", "label": "slow"},
        {"color": INK, "marker": "+", "label": "late"},
    )
    most = 0.0
    for row, look in zip(rows, looks, strict=True):
        said, seen = (one - row.tail.threshold_ms for one in qq_points(row.tail, row.values))
        if not said.size:
            continue
        said, seen = said / row.tail.scale_ms, seen / row.tail.scale_ms
        kept = _kept(said.size)
        axes.plot(said[kept], seen[kept], linestyle="none", markersize=3.6, zorder=3, **look)
        most = max(most, float(said.max()), float(seen.max()))
    if not most:
        empty_panel(axes, next(row.tail.reason for row in rows) or "nothing is beyond it", 20)
        return
    axes.plot([0, most], [0, most], color=INK, linewidth=0.9, zorder=2)
    small_axes(axes, "the tail says ÷ its scale", "seen ÷ the same")
    number_axis(axes, "x", 4)
    number_axis(axes, "y", 4)
    axes.legend(frameon=False, fontsize=8, handletextpad=0.1, borderpad=0.1, loc="upper left")


def _kept(num: int) -> Indexes:
    """Of values in order which ones are drawn: all of the rarest, and evenly of the others."""
    if num <= _NUM_RAREST + _NUM_OTHERS:
        return np.arange(num)
    ranks = np.geomspace(_NUM_RAREST, num, _NUM_OTHERS).round().astype(np.int64)
    return np.unique(np.concatenate([num - ranks, np.arange(num - _NUM_RAREST, num)]))
