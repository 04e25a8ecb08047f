"""The figure of every backend's time beside that of the kernel, case by case."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from lmdm_bench import format as shown
from lmdm_bench.canvas import FAINT, INK, MUTED, PAPER, canvas, drawing_style, margins, safe
from lmdm_bench.claims_panels import empty_panel, log_axis, say
from lmdm_bench.kernel_verdicts import (
    MOST_BEHIND,
    judged_regimes,
    ratio,
    subject_of,
    timing_of,
)
from lmdm_bench.kernels_record import AttentionCase, KernelsRecord, Regime
from lmdm_bench.kernels_words import (
    REGIME_WORDS,
    backend_colour,
    backends,
    plans,
    rounds_words,
    window,
)
from lmdm_bench.record import Estimate

MODEL_MARKERS = "osD^"
_LANE_INCHES = 0.29
_ABOVE_INCHES, _BELOW_INCHES, _GAP_INCHES = 1.16, 1.12, 0.3
_FARTHEST = 64.0
# A lane's height is shared by its windows.
_LANE_PART = 0.72

Dot = tuple[AttentionCase, Estimate]


def kernels_canvas(
    record: KernelsRecord, title: str, subtitle: str, height_inches: float
) -> Figure:
    """An empty figure with its title above, and the run's machine and n below."""
    told = [
        safe(record.machine.name, 60),
        safe(f"{record.settings.device.value}, {record.settings.dtype.value}", 30),
        f"{rounds_words(record)}, interleaved",
        *(["interrupted"] if record.settings.is_interrupted else []),
        record.created[:10],
    ]
    return canvas(title, subtitle, "  ·  ".join(told), height_inches)


def times_beside(record: KernelsRecord) -> Figure:
    """Each other backend's time ÷ the subject's: a row for each plan, a column for each regime."""
    subject = subject_of(record)
    regimes, names = judged_regimes(record), plans(record)
    dots = _dots(record)
    others = [one for one in backends(record) if any(name == one for _, _, name in dots)]
    lanes = max(1, len(others)) * _LANE_INCHES
    height = _ABOVE_INCHES + _BELOW_INCHES + len(names) * (lanes + _GAP_INCHES)
    with drawing_style():
        figure = kernels_canvas(
            record,
            f"The other backends' times beside {subject}",
            f"Time ÷ {subject}'s in the same round, a mark for each window, model and batch: right "
            f"of the line {subject} is the faster one.",
            max(height, 3.4),
        )
        if not others:
            axes = figure.subplots(gridspec_kw=margins(figure, 0.3, 0.3, 0.9, 0.6))
            empty_panel(axes, f"{subject} was not timed beside anything else")
            return figure
        grid = figure.subplots(
            len(names),
            len(regimes),
            squeeze=False,
            sharex=True,
            sharey=True,
            gridspec_kw=margins(
                figure, left=0.95, right=0.15, top=_ABOVE_INCHES, bottom=_BELOW_INCHES
            )
            | {"wspace": 0.06, "hspace": _GAP_INCHES / lanes},
        )
        _limits(grid[0][0], dots)
        for plan, row in zip(names, grid, strict=True):
            for regime, axes in zip(regimes, row, strict=True):
                here = {name: dots.get((plan, regime, name), []) for name in others}
                _panel(axes, record, here)
            row[0].set_title(plan, loc="left", fontsize=9.5, fontweight="bold")
        for regime, axes in zip(regimes, grid[0], strict=True):
            say(
                axes,
                REGIME_WORDS[regime],
                (0.5, 1),
                (0, 24),
                "axes fraction",
                ha="center",
                color=MUTED,
                fontsize=9,
            )
        for axes in grid[-1]:
            axes.set_xlabel(f"time ÷ {subject}'s", fontsize=9)
            axes.tick_params(axis="x", labelbottom=True)
        _key(figure, record)
        return figure


def _panel(axes: Axes, record: KernelsRecord, dots: Mapping[str, Sequence[Dot]]) -> None:
    others = list(dots)
    axes.set_ylim(len(others) - 0.5, -0.5)
    axes.yaxis.set_major_locator(FixedLocator(range(len(others))))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_yticklabels(others, fontsize=8.5)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(True, axis="x")
    axes.axvspan(1 / MOST_BEHIND, 1, color=MUTED, alpha=0.16, linewidth=0)
    axes.axvline(1, color=INK, linewidth=1.0)
    for edge in range(1, len(others)):
        axes.axhline(edge - 0.5, color=FAINT, linewidth=0.6)
    for lane, (name, of) in enumerate(dots.items()):
        _lane(axes, record, lane, name, of)
        if not of:
            right = axes.get_xlim()[1]
            say(axes, "not timed", (right, lane), (-4, 0), ha="right", fontsize=7.5, color=MUTED)


def _lane(axes: Axes, record: KernelsRecord, lane: int, name: str, dots: Sequence[Dot]) -> None:
    """A backend's dots, those that look alike together, with their intervals."""
    colour, windows = backend_colour(name), _windows(record)
    step = _LANE_PART / max(1, len(windows))
    looks: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    intervals: list[tuple[float, float, float]] = []
    for case, found in dots:
        assert found.value is not None
        up = lane - _LANE_PART / 2 + (windows.index(window(case)) + 0.5) * step
        marker = MODEL_MARKERS[_models(record).index(case.model) % len(MODEL_MARKERS)]
        looks.setdefault((marker, case.batch > 1), []).append((found.value, up))
        if found.ci95 is not None:
            intervals.append((*found.ci95, up))
    if intervals:
        low, high, at = zip(*intervals, strict=True)
        axes.hlines(at, low, high, color=colour, linewidth=0.9, zorder=3)
    for (marker, is_hollow), places in looks.items():
        axes.plot(
            *zip(*places, strict=True),
            marker=marker,
            markersize=4.0,
            linestyle="none",
            markerfacecolor=PAPER if is_hollow else colour,
            markeredgecolor=colour,
            markeredgewidth=1.0,
            zorder=4,
        )


def _dots(record: KernelsRecord) -> dict[tuple[str, Regime, str], list[Dot]]:
    """The ratios that are told, with an interval or without, by plan, regime and backend."""
    found: dict[tuple[str, Regime, str], list[Dot]] = {}
    for cell, regime in product(record.kernel_cells, judged_regimes(record)):
        timings = {row.backend: timing_of(row, regime) for row in cell.rows}
        mine = timings.pop(subject_of(record), None)
        for name, its in timings.items():
            if mine is not None and its is not None:
                one = ratio(its, mine)
                if one.value is not None:
                    found.setdefault((cell.case.plan, regime, name), []).append((cell.case, one))
    return found


def _limits(axes: Axes, dots: Mapping[Any, Sequence[Dot]]) -> None:
    values = [
        end
        for of in dots.values()
        for _, one in of
        for end in (one.value, *(one.ci95 or ()))
        if end is not None
    ]
    log_axis(axes, "x")
    axes.set_xlim(min([0.8, *values]) / 1.12, min(_FARTHEST, max([1.5, *values]) * 1.12))


def _key(figure: Figure, record: KernelsRecord) -> None:
    """What marks and places mean, above the footer."""
    shapes = {"o": "circle", "s": "square", "D": "diamond", "^": "triangle"}
    models = [
        f"{shapes[MODEL_MARKERS[at % len(MODEL_MARKERS)]]}: {safe(one, 20)}"
        for at, one in enumerate(_models(record))
    ]
    windows = ", ".join(_windows(record))
    words = (
        f"{', '.join(models)}; filled: batch 1, hollow: more. In each lane from the top: {windows} "
        f"frames.\nGrey: the others are faster by no more than {shown.share(MOST_BEHIND - 1)}."
    )
    height = figure.get_size_inches()[1]
    figure.text(0.018, 0.3 / height, words, fontsize=8, color=MUTED, va="bottom")


def _models(record: KernelsRecord) -> list[str]:
    return list(dict.fromkeys(cell.case.model for cell in record.kernel_cells))


def _windows(record: KernelsRecord) -> list[str]:
    """From the shortest to the longest."""
    found = {
        (cell.case.context_frames + cell.case.block_frames, cell.case.block_frames): window(
            cell.case
        )
        for cell in record.kernel_cells
    }
    return [found[key] for key in sorted(found)]
