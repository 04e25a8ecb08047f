"""The figure of a cell's times over records: a panel for each machine, its changes marked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from lmdm_bench import format as shown
from lmdm_bench.canvas import (
    INK,
    MUTED,
    PAPER,
    WIDTH_INCHES,
    canvas,
    drawing_style,
    mixed,
    safe,
)
from lmdm_bench.claims_panels import empty_panel, number_axis, say
from lmdm_bench.history import Series
from lmdm_bench.history_index import Entry
from lmdm_bench.history_words import (
    DIRTY_SIGN,
    commit_words,
    detail_words,
    from_to_words,
    percent_words,
    plateau_ends,
    records_words,
    series_words,
    unit_words,
)
from lmdm_bench.kernels_words import BACKEND_COLOURS

MOST_PANELS = 12

_LEFT, _RIGHT, _ABOVE, _BELOW = 0.8, 0.25, 0.84, 0.22
_TITLE, _DETAILS, _LABEL_ROW = 0.3, 0.18, 0.34
_PANEL, _SMALL_PANEL, _UNDER = 1.45, 0.6, 0.66
_TITLE_LETTERS, _DETAIL_LETTERS = 100, 130
_WIDTH = WIDTH_INCHES - _LEFT - _RIGHT
_LETTER_INCHES, _LABEL_GAP = 0.068, 0.12
_POINTS_PER_INCH = 72
_MOST_TICKS = 9
# Times that hardly differ shall not look as if they did: a panel is at least so high, as a share.
_LEAST_HEIGHT = 0.12
_CHANGE_DASHES = (0, (2.5, 2))
# More than so many dots would hide each other at their full size.
_MANY = 40


@dataclass(frozen=True)
class _Label:
    """What is said of a change: where (inches across the panel), and in which row above it."""

    begin: int
    words: tuple[str, str]
    centre: float
    row: int


@dataclass(frozen=True)
class _Part:
    """A series with its labels, and the height in inches of all that is drawn of it."""

    series: Series
    details: str
    labels: tuple[_Label, ...]

    @property
    def above(self) -> float:
        rows = max((one.row + 1 for one in self.labels), default=0)
        has_line = bool(self.details or self.series.missing)
        return _TITLE + _DETAILS * has_line + _LABEL_ROW * rows

    @property
    def panel(self) -> float:
        return _PANEL if len(self.series.points) > 1 else _SMALL_PANEL

    @property
    def height(self) -> float:
        under = _UNDER if self.series.points else _UNDER / 2
        return self.above + self.panel + under


def history_figure(title: str, found: Sequence[Series]) -> Figure:
    """Every series in a panel of its own; of more than twelve, the first twelve."""
    parts = [_Part(one, detail_words(one, found), _labels(one)) for one in found[:MOST_PANELS]]
    height = _ABOVE + _BELOW + sum(one.height for one in parts)
    with drawing_style():
        figure = canvas(
            f"History of {safe(title, 70)}",
            "Dots: a record's median, with its 95 % interval. Lines: plateaus between changes, "
            "which are more than records vary by.",
            _footer(found),
            height,
        )
        top = _ABOVE
        for part in parts:
            down = top + part.above + part.panel
            place = (_LEFT, height - down, _WIDTH, part.panel)
            sizes = (WIDTH_INCHES, height) * 2
            left, bottom, width, tall = (one / of for one, of in zip(place, sizes, strict=True))
            axes = figure.add_axes((left, bottom, width, tall))
            _say_title(axes, part, found)
            if part.series.points:
                _draw(axes, part)
            else:
                empty_panel(axes, f"no time: {part.series.missing[0].reason}", 100)
            top += part.height
        return figure


def _footer(found: Sequence[Series]) -> str:
    entries = [one.entry for series in found for one in series.points]
    entries += [one.entry for series in found for one in series.missing]
    dates = sorted(map(_date, entries))
    told = [
        records_words(len({one.file for one in entries})),
        *([f"{dates[0]} to {dates[-1]}"] if dates and dates[0] < dates[-1] else dates[:1]),
    ]
    if found:
        are_by_commit = all(one.is_by_commit for one in found)
        told.append("in the order of commits" if are_by_commit else "by their dates")
    if any(one.git_is_dirty for one in entries):
        told.append(f"hollow and {DIRTY_SIGN}: files beside the commit were changed")
    if len(found) > MOST_PANELS:
        told.append(f"{MOST_PANELS} of {len(found)} series: the longest first")
    return "  ·  ".join(told)


def _say_title(axes: Axes, part: _Part, among: Sequence[Series]) -> None:
    """What the series is of, with its cell where there are several, and under it the details."""
    series = part.series
    up = (part.above - 0.12) * _POINTS_PER_INCH
    has_many = len({one.cell for one in among}) > 1
    words = f"{series.cell} · {series_words(series)}" if has_many else series_words(series)
    bold: dict[str, Any] = {"fontsize": 9.5, "fontweight": "bold"}
    say(axes, safe(words, _TITLE_LETTERS), (0, 1), (0, up), "axes fraction", **bold)
    under = [part.details] if part.details else []
    if series.missing and series.points:
        under.append(f"{records_words(len(series.missing))} without a time")
    if under:
        line = safe("  ·  ".join(under), _DETAIL_LETTERS)
        say(axes, line, (0, 1), (0, up - 13), "axes fraction", fontsize=8, color=MUTED)


def _draw(axes: Axes, part: _Part) -> None:
    series = part.series
    num = len(series.points)
    axes.set_xlim(-0.6, num - 0.4)
    axes.set_ylim(*_height(series))
    number_axis(axes, "y", 4 if num > 1 else 2)
    axes.set_ylabel(unit_words(series), fontsize=8.5 if num > 1 else 7.5)
    axes.tick_params(axis="both", labelsize=8)
    axes.grid(axis="y")
    if num > 1:
        _draw_plateaus(axes, series)
    _draw_points(axes, series)
    for label in part.labels:
        _draw_change(axes, label)
    _name_commits(axes, series)


def _height(series: Series) -> tuple[float, float]:
    """The ends of the vertical axis, in milliseconds."""
    low = min(one.ci95[0] for one in series.points)
    high = max(one.ci95[1] for one in series.points)
    middle = (low + high) / 2
    half = max(0.56 * (high - low), _LEAST_HEIGHT / 2 * middle)
    return max(0.0, middle - half), middle + half


def _draw_plateaus(axes: Axes, series: Series) -> None:
    """Each plateau as a line over its records, with its interval as a band."""
    colour = _colour(series)
    for plateau in series.plateaus:
        middle, low, high = plateau_ends(plateau)
        ends = (plateau.begin - 0.5, plateau.end - 0.5)
        axes.fill_between(ends, low, high, color=colour, alpha=0.16, linewidth=0, zorder=2)
        axes.plot(ends, (middle, middle), color=colour, linewidth=1.6, alpha=0.8, zorder=3)


def _draw_points(axes: Axes, series: Series) -> None:
    dark = mixed(_colour(series), "#000000", 0.35)
    size = 5.2 if len(series.points) <= _MANY else 3.4
    for at, one in enumerate(series.points):
        axes.plot([at, at], one.ci95, color=dark, linewidth=1.1, zorder=4)
        axes.plot(
            [at],
            [one.milliseconds],
            marker="o",
            markersize=size,
            linestyle="none",
            markerfacecolor=PAPER if one.entry.git_is_dirty else dark,
            markeredgecolor=dark,
            markeredgewidth=1.0,
            zorder=5,
        )


def _draw_change(axes: Axes, label: _Label) -> None:
    """A line between the two records, and above it what has changed by how much, and where."""
    across = axes.get_xaxis_transform()
    at = label.begin - 0.5
    axes.plot(
        [at, at],
        [0, 1 + (label.row * _LABEL_ROW + 0.05) / _PANEL],
        transform=across,
        color=INK,
        linewidth=0.9,
        linestyle=_CHANGE_DASHES,
        clip_on=False,
        zorder=1.5,
    )
    middle = label.centre / _WIDTH
    up = (label.row * _LABEL_ROW + 0.06) * _POINTS_PER_INCH
    style: dict[str, Any] = {"ha": "center", "va": "bottom", "where": "axes fraction"}
    bold, plain = label.words
    say(axes, bold, (middle, 1), (0, up + 10), fontsize=8.5, fontweight="bold", **style)
    say(axes, plain, (middle, 1), (0, up), fontsize=7.8, color=MUTED, **style)


def _labels(series: Series) -> tuple[_Label, ...]:
    """What is said of the changes, in as few rows as they need to stand apart."""
    found: list[_Label] = []
    # How far each row is filled, in inches.
    filled: list[float] = []
    span = len(series.points) + 0.2
    for change in series.changes:
        commit = safe(commit_words(series.points[change.point].entry), 12)
        words = (f"{percent_words(change)} at {commit}", from_to_words(change))
        half = max(map(len, words)) * _LETTER_INCHES / 2
        at = (change.point - 0.5 + 0.6) / span * _WIDTH
        centre = min(max(at, half), _WIDTH - half)
        row = next((row for row, end in enumerate(filled) if centre - half >= end), len(filled))
        filled += [0.0] * (row + 1 - len(filled))
        filled[row] = centre + half + _LABEL_GAP
        found.append(_Label(change.point, words, centre, row))
    return tuple(found)


def _name_commits(axes: Axes, series: Series) -> None:
    """Commits under the records, with their dates; of many, evenly chosen ones."""
    num = len(series.points)
    places = range(0, num, -(-num // _MOST_TICKS))
    entries = [series.points[at].entry for at in places]
    axes.xaxis.set_major_locator(FixedLocator(places))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels(
        [f"{safe(commit_words(one), 12)}\n{_date(one)}" for one in entries], fontsize=7.8
    )


def _colour(series: Series) -> str:
    name = series.cell.partition(" · ")[0]
    return BACKEND_COLOURS.get(name) or shown.scheme_colour(name)


def _date(entry: Entry) -> str:
    return safe(entry.created[:10], 10)
