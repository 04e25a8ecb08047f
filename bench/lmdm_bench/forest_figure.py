"""The figure of a comparison: a line for each quantity, its interval beside what is no difference.

Colour is the verdict, and so is the mark's shape, so that grey tells it too. Across is b ÷ a in
percent on a logarithmic axis: half as long and twice as long are equally far from the middle.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import Transform, blended_transform_factory

from lmdm_bench import format as shown
from lmdm_bench.canvas import (
    INK,
    MUTED,
    ON_PAPER,
    PAPER,
    WIDTH_INCHES,
    canvas,
    drawing_style,
    margins,
    safe,
)
from lmdm_bench.claims_panels import empty_panel, say
from lmdm_bench.compare_answer import headline
from lmdm_bench.compare_record import CompareRecord
from lmdm_bench.compare_verdicts import STAGE, TIME, Judgement, Row, Verdict
from lmdm_bench.compare_words import (
    VERDICT_SIGNS,
    amount,
    effect_words,
    full_name,
    quantity_words,
    side_words,
    telling_rows,
)
from lmdm_bench.ratio_change import change
from lmdm_bench.record import Estimate

MARKERS: dict[Verdict, str] = {
    "BROKEN": "X",
    "SLOWER": ">",
    "MORE": ">",
    "AMBIGUOUS": "D",
    "ALONE": "d",
    "FASTER": "<",
    "LESS": "<",
    "SAME": "o",
}
MOST_ROWS = 40

_CONTROL_MARKER = "s"
_MOST_CONTROLS = 4
_CELL_INCHES, _PART_INCHES, _GAP_INCHES = 0.27, 0.215, 0.1
_ABOVE_INCHES, _BELOW_INCHES, _FOOTER_INCHES = 1.04, 0.98, 0.5
# From the figure's left edge: where names begin, the panel's ends, and where figures end.
_NAME_AT, _PART_AT, _PANEL_FROM, _PANEL_TO, _MEDIANS_AT, _CHANGE_AT = 0.16, 0.3, 2.6, 6.0, 7.2, 8.84
# Without a panel: where the medians of a and of b end.
_A_AT, _B_AT = 5.0, 6.6
_NAME_LETTERS, _MOST_LETTERS, _PART_LETTERS, _WHY_LETTERS = 32, 40, 43, 92
_CELL_SIZE, _PART_SIZE = 8.8, 7.8
# The panel reaches at least so far from its middle, as far as this if anything does, and farther
# only where many lines do; what lies beyond ends in an arrow, and is told at the right.
_NEAREST, _FAR, _FARTHEST = math.log(1.045), math.log(1.5), math.log(4.0)
_MANY = 0.75
_TICK_STEPS = (1, 2, 5, 10, 20, 25)
_TICK_PART = 0.135
_DOUBLES = (-75, -50, 0, 100, 300)
_BAND_ALPHA = 0.16
# Of the way from the middle to the edge.
_ARROW_PART = 0.12
# Parts of a line's height: how far up the first interval moves for the confirming one below it.
_UP, _DOWN = 0.14, 0.26


@dataclass(frozen=True)
class Line:
    """One line of the figure: its place and height are in inches down from the panel's top.

    ``row`` is None for a drift control, and for a heading, whose effect is None too.
    """

    name: str
    row: Row | None
    effect: Estimate | None
    threshold: float
    down: float
    height: float
    is_part: bool

    @property
    def colour(self) -> str:
        return MUTED if self.row is None else VERDICT_SIGNS[self.row.verdict][1]


def forest(record: CompareRecord, judgement: Judgement) -> Figure:
    """Every quantity's change from a to b with its interval, against its threshold.

    Of two machines the medians alone, side by side.
    """
    rows = forest_rows(judgement)
    lines = _lines(record, judgement, rows)
    inches = lines[-1].down + lines[-1].height / 2 + 0.05 if lines else 1.2
    below = _BELOW_INCHES if record.settings.is_same_machine else _FOOTER_INCHES
    with drawing_style():
        figure = canvas(
            safe(headline(record, judgement), 76),
            _subtitle(record),
            _footer(record, rows),
            inches + _ABOVE_INCHES + below,
        )
        right = WIDTH_INCHES - _PANEL_TO
        axes = figure.subplots(
            gridspec_kw=margins(figure, _PANEL_FROM, right, _ABOVE_INCHES, below)
        )
        axes.set_ylim(inches, 0)
        if not rows:
            empty_panel(axes, "nothing was compared")
        elif record.settings.is_same_machine:
            _panel(axes, lines)
            _key(figure, lines)
        else:
            _side_by_side(axes, lines)
        return figure


def forest_rows(judgement: Judgement, most: int = MOST_ROWS) -> list[Row]:
    """Times and stages, and what else differs; of too many those that tell most, in their order."""
    rows = [
        row
        for row in judgement.rows
        if row.quantity == TIME
        or row.quantity.startswith(STAGE)
        or row.verdict not in ("SAME", "AMBIGUOUS", "ALONE")
    ]
    telling = {id(row) for row in telling_rows(judgement) if row.verdict not in ("SAME", "ALONE")}

    def rank(at: int) -> tuple[bool, bool, int]:
        return id(rows[at]) not in telling, rows[at].quantity != TIME, at

    return [rows[at] for at in sorted(sorted(range(len(rows)), key=rank)[:most])]


def _lines(record: CompareRecord, judgement: Judgement, rows: Sequence[Row]) -> list[Line]:
    lines: list[Line] = []
    down, cell = 0.0, ""

    def add(name: str, row: Row | None, effect: Estimate | None, threshold: float) -> None:
        nonlocal down
        is_part = row is None or (row.quantity != TIME and row.cell == cell)
        height = _PART_INCHES if is_part else _CELL_INCHES
        lines.append(Line(name, row, effect, threshold, down + height / 2, height, is_part))
        down += height

    for row in rows:
        down += _GAP_INCHES if lines and row.cell != cell else 0.0
        name = quantity_words(row) if row.cell == cell else full_name(row)
        add(name, row, row.effect, row.threshold)
        cell = row.cell
    left_out = Counter(row.verdict for row in forest_rows(judgement, len(judgement.rows)))
    left_out.subtract(row.verdict for row in rows)
    told = [f"{number} {verdict}" for verdict, number in left_out.items() if number > 0]
    if told:
        which = f", all {next(iter(+left_out))}" if len(told) == 1 else f": {', '.join(told)}"
        add(f"and {left_out.total()} more rows{which}", None, None, 0.0)
    controls = list(_controls(judgement)) if record.settings.is_same_machine else []
    if controls:
        down += 2 * _GAP_INCHES
        add("drift control: the same work on both sides", None, None, 0.0)
    for control in controls:
        add(control[0], None, *control[1:])
    return lines


def _controls(judgement: Judgement) -> Iterator[tuple[str, Estimate, float]]:
    """The drift controls that moved most, one of a cell, each with what it may move by."""
    found = [
        (row, row.drift, abs(math.log(row.drift.value)))
        for row in judgement.rows
        if row.quantity == TIME and row.drift is not None and row.drift.value is not None
    ]
    found.sort(key=lambda one: -one[2])
    for row, drift, _ in found[:_MOST_CONTROLS]:
        yield f"beside {row.cell}", drift, row.threshold / 2


# --- the panel -------------------------------------------------------------


def _panel(axes: Axes, lines: Sequence[Line]) -> None:
    low, high = _limits(lines)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator([1 + one / 100 for one in _ticks(low, high)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(_tick))
    axes.tick_params(axis="x", labelsize=8)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(True, axis="x")
    axes.axvline(1, color=INK, linewidth=1.0, zorder=2)
    for line in lines:
        _say_name(axes, line)
        if line.effect is not None and line.effect.value is not None:
            _draw(axes, line, line.effect)
            _say_figures(axes, line, line.effect)
        elif line.row is not None:
            _say_why(axes, line, line.row)
    _say_heads(axes, {_MEDIANS_AT: "medians, a → b", _CHANGE_AT: "b against a [95 %]"})
    below = {"where": ("data", "axes fraction"), "fontsize": 8, "color": MUTED}
    say(axes, "← less time", (1, 0), (-6, -25), ha="right", **below)
    say(axes, "more time →", (1, 0), (6, -25), ha="left", **below)


def _draw(axes: Axes, line: Line, effect: Estimate) -> None:
    """The band in which a difference does not matter, the interval, and below it the second one."""
    edge = 1 + line.threshold
    top = line.down - line.height / 2
    band = Rectangle((1 / edge, top), edge - 1 / edge, line.height, linewidth=0)
    band.set(color=MUTED, alpha=_BAND_ALPHA, zorder=1)
    axes.add_patch(band)
    look: dict[str, Any] = {
        "marker": _CONTROL_MARKER if line.row is None else MARKERS[line.row.verdict],
        "markersize": 4.4 if line.is_part else 6.4,
        "color": line.colour,
        "linewidth": 1.3 if line.is_part else 2.0,
    }
    again = None if line.row is None else line.row.confirming
    if again is None or again.value is None:
        _draw_interval(axes, effect, line.down, look)
        return
    _draw_interval(axes, effect, line.down - _UP * line.height, look)
    _draw_interval(axes, again, line.down + _DOWN * line.height, look | _again(look))


def _again(look: dict[str, Any]) -> dict[str, Any]:
    """How what was measured again is drawn."""
    return {"markerfacecolor": PAPER, "linewidth": 0.9, "markersize": look["markersize"] - 1}


def _draw_interval(axes: Axes, effect: Estimate, down: float, look: dict[str, Any]) -> None:
    """An interval and its mark; beyond the panel both become an arrow at its edge."""
    assert effect.value is not None
    low, high = axes.get_xlim()
    at = min(max(effect.value, low), high)
    ends = [min(max(end, low), high) for end in effect.ci95 or (at, at)]
    if at != effect.value:
        ends[0] = math.exp((1 - _ARROW_PART) * math.log(at))
    axes.plot(ends, [down] * 2, color=look["color"], linewidth=look["linewidth"], zorder=4)
    mark: dict[str, Any] = {"markeredgewidth": 1.0, "clip_on": False, "linestyle": "none"}
    axes.plot([at], [down], zorder=5, **(look | mark))


def _side_by_side(axes: Axes, lines: Sequence[Line]) -> None:
    """Each side's medians in a column of its own, and nothing between them."""
    axes.set_axis_off()
    for line in lines:
        _say_name(axes, line)
        if line.row is not None:
            for at, value in ((_A_AT, line.row.a), (_B_AT, line.row.b)):
                _say_at(axes, at, line, amount(value, line.row.unit), ha="right", color=INK)
    _say_heads(axes, {_A_AT: "a, median", _B_AT: "b, median"})


# --- words beside the panel ------------------------------------------------


def _say_name(axes: Axes, line: Line) -> None:
    style: dict[str, Any] = (
        {"color": MUTED} if line.is_part else {"color": INK, "fontweight": "bold"}
    )
    is_heading = line.row is None and line.effect is None
    at = _PART_AT if line.is_part and not is_heading else _NAME_AT
    if len(line.name) > _NAME_LETTERS:
        style["fontsize"] = _PART_SIZE
    most = _PART_LETTERS if line.is_part else _MOST_LETTERS
    _say_at(axes, at, line, _shortened(line.name, most), **style)


def _shortened(text: str, most: int) -> str:
    """Names differ at their ends as often as in their beginnings."""
    told = safe(text, 1000)
    half = (most - 3) // 2
    return told if len(told) <= most else f"{told[:half].rstrip()}...{told[-half:].lstrip()}"


def _say_figures(axes: Axes, line: Line, effect: Estimate) -> None:
    row = line.row
    if row is None:
        _say_at(axes, _CHANGE_AT, line, change(effect), ha="right", color=MUTED)
        return
    grey = {"color": MUTED if line.is_part else INK}
    _say_at(axes, _MEDIANS_AT, line, _medians(row), ha="right", **grey)
    _say_at(axes, _CHANGE_AT, line, effect_words(row), ha="right", color=line.colour)


def _say_why(axes: Axes, line: Line, row: Row) -> None:
    """Where there is no interval, its verdict and why."""
    colour = VERDICT_SIGNS[row.verdict][1]
    edge = _PANEL_FROM + 0.1
    marker: dict[str, Any] = {"marker": MARKERS[row.verdict], "markersize": 5.5, "color": colour}
    axes.plot([_across(edge)], [line.down], transform=_beside(axes), clip_on=False, **marker)
    words = f"{row.verdict}: {row.reasons[0] if row.reasons else 'no reason given'}"
    _say_at(axes, edge + 0.12, line, safe(words, _WHY_LETTERS), color=colour, bbox=ON_PAPER)


def _say_heads(axes: Axes, heads: dict[float, str]) -> None:
    for at, words in heads.items():
        style: dict[str, Any] = {"where": _beside(axes), "fontsize": 8, "color": MUTED}
        say(axes, words, (_across(at), 0), (0, 7), ha="right", **style)


def _say_at(axes: Axes, inches: float, line: Line, words: str, **style: Any) -> None:
    size = _PART_SIZE if line.is_part else _CELL_SIZE
    look: dict[str, Any] = {"fontsize": size, "where": _beside(axes)}
    say(axes, words, (_across(inches), line.down), **(look | style))


def _across(inches: float) -> float:
    return inches / WIDTH_INCHES


def _beside(axes: Axes) -> Transform:
    """Across the whole figure, and the panel's own inches down."""
    return blended_transform_factory(axes.figure.transFigure, axes.transData)


def _medians(row: Row) -> str:
    """``300 → 349 ms``."""
    if row.unit == "ms" and row.a is not None and row.b is not None:
        return f"{shown.number(row.a)} → {shown.number(row.b)}{shown.NBSP}ms"
    return f"{amount(row.a, row.unit)} → {amount(row.b, row.unit)}"


# --- the axis --------------------------------------------------------------


def _limits(lines: Sequence[Line]) -> tuple[float, float]:
    """As far as the intervals go, within reason; no side is much shorter than the other."""
    reach = [0.0]
    for line in lines:
        reach += [math.log1p(1.3 * line.threshold), -math.log1p(1.3 * line.threshold)]
        for one in (line.effect, line.row.confirming if line.row else None):
            if one is not None and one.value is not None:
                ends = one.ci95 or (one.value, one.value)
                reach += [math.log(end) for end in ends if 0 < end < math.inf]
    sizes = sorted(map(abs, reach))
    farthest = min(_FARTHEST, max(_FAR, 2 * sizes[int(_MANY * len(sizes))]))
    least = max(_NEAREST, min(farthest, sizes[-1]) / 4)
    below, above = (min(farthest, 1.08 * max(least, far)) for far in (-min(reach), max(reach)))
    return math.exp(-below), math.exp(above)


def _ticks(low: float, high: float) -> list[int]:
    """Whole percents, evenly apart where they have room, else halves and doubles."""
    room = _TICK_PART * math.log(high / low)
    for step in _TICK_STEPS:
        first, last = (math.trunc(100 * (end - 1) / step) for end in (low, high))
        found = [step * at for at in range(first, last + 1)]
        places = [math.log1p(one / 100) for one in found]
        if len(found) > 1 and all(b - a >= room for a, b in pairwise(places)):
            return found
    return [one for one in _DOUBLES if low <= 1 + one / 100 <= high]


def _tick(value: float, _: int | None) -> str:
    told = round(100 * (value - 1))
    sign = "+" if told > 0 else "−" if told < 0 else ""
    return f"{sign}{abs(told)}{shown.NBSP}%"


# --- the words round it ----------------------------------------------------


def _subtitle(record: CompareRecord) -> str:
    a, b = safe(side_words(record.a), 40), safe(side_words(record.b), 40)
    if not record.settings.is_same_machine:
        on_a, on_b = safe(record.a.machine, 40), safe(record.b.machine, 40)
        return f"a: {a} on {on_a},  b: {b} on {on_b}"
    return f"a: {a},  b: {b}.  Grey band: no difference that matters."


def _footer(record: CompareRecord, rows: Sequence[Row]) -> str:
    pairs = _span([row.num_pairs for row in rows if row.num_pairs])
    processes = _span([row.num_processes for row in rows if row.num_pairs])
    kind = "pairs" if record.settings.is_paired else "samples"
    parts = [
        *([safe(record.b.machine, 60)] if record.settings.is_same_machine else []),
        safe(f"{record.settings.device}, {record.settings.dtype}", 30),
        f"n = {pairs} {kind} in {processes} {'process' if processes == '1' else 'processes'}",
        *(["interrupted"] if record.settings.is_interrupted else []),
        record.created[:10],
    ]
    return "  ·  ".join(parts)


def _span(counts: Sequence[int]) -> str:
    """``48``, or ``36 to 48``."""
    ends = (min(counts, default=0), max(counts, default=0))
    return " to ".join(f"{one}" for one in dict.fromkeys(ends))


def _key(figure: Figure, lines: Sequence[Line]) -> None:
    """What marks mean, above the footer."""
    rows = [line.row for line in lines if line.row is not None]
    alike: dict[tuple[str, str], list[str]] = {}
    for verdict, marker in MARKERS.items():
        if any(row.verdict == verdict for row in rows):
            alike.setdefault((marker, VERDICT_SIGNS[verdict][1]), []).append(verdict)
    named: dict[str, dict[str, Any]] = {
        ", ".join(verdicts): {"marker": marker, "color": colour}
        for (marker, colour), verdicts in alike.items()
    }
    if any(row.confirming is not None for row in rows):
        named["measured again"] = {"marker": "o", "color": MUTED, "markerfacecolor": PAPER}
    if any(line.row is None and line.effect is not None for line in lines):
        named["drift control, with half the band"] = {"marker": _CONTROL_MARKER, "color": MUTED}
    handles = [
        Line2D([], [], linestyle="none", markersize=5.5, label=name, **look)
        for name, look in named.items()
    ]
    figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(_across(_NAME_AT), 0.32 / figure.get_size_inches()[1]),
        borderpad=0.0,
        borderaxespad=0.0,
        handlelength=0.9,
        ncols=len(handles),
        frameon=False,
        fontsize=8,
        labelcolor=MUTED,
        handletextpad=0.4,
        columnspacing=1.4,
    )
