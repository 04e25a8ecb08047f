"""The figure of measured ratios between diffusion schemes against those that are predicted."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmdm_bench import format as shown
from lmdm_bench.canvas import INK, MUTED, drawing_style, margins
from lmdm_bench.claim_tests import View
from lmdm_bench.claims import RATIO_TOLERANCE, RatioRow, ratio_rows
from lmdm_bench.claims_panels import (
    claims_canvas,
    draw_dot,
    empty_panel,
    ends_of,
    filled_mark,
    hollow_mark,
    log_axis,
    panel,
    say,
)
from lmdm_bench.claims_record import ClaimsRecord

_MOST_FAR_RATIOS = 6
# A ratio's colour is the scheme above the line, its marker the one below.
_RATIO_MARKERS = {"outpaint": "o", "encoder-decoder": "s"}
_SHORT = {"encoder-decoder": "enc-dec"}
_TOLERANCE_WORDS = shown.share(RATIO_TOLERANCE - 1)


def ratios(record: ClaimsRecord) -> Figure:
    """Measured ratios between diffusion schemes against those of FLOPs and of bounds."""
    view = View(record)
    with drawing_style():
        figure = claims_canvas(
            record,
            "Measured against predicted ratios",
            "On the diagonal times are as FLOPs are, in the band within "
            f"{_TOLERANCE_WORDS}; hollow: as the bounds of compute and bandwidth are.",
            height_inches=5.6,
        )
        axes, words = figure.subplots(
            1,
            2,
            gridspec_kw=margins(figure, left=0.72, right=0.2, top=0.85, bottom=0.88)
            | {"wspace": 0.06, "width_ratios": (1.1, 1)},
        )
        words.set_axis_off()
        rows = ratio_rows(view)
        if not rows:
            why = "no pair of diffusion schemes was measured at the same size in the same round"
            empty_panel(axes, why)
            return figure
        _ratio_scatter(axes, rows)
        _ratio_words(words, rows)
        return figure


def _ratio_scatter(axes: Axes, rows: Sequence[RatioRow]) -> None:
    values = [
        end
        for row in rows
        for end in (
            row.flops_ratio,
            row.bound_ratio,
            row.measured.value,
            *(ends_of(row.measured) or ()),
        )
        if 0 < end < math.inf
    ]
    low, high = min([0.8, *values]) / 1.25, max([1.0, *values]) * 1.25
    log_axis(axes, "x")
    log_axis(axes, "y")
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.grid(True)
    ends = np.array([low, high])
    axes.fill_between(
        ends, ends / RATIO_TOLERANCE, ends * RATIO_TOLERANCE, color=MUTED, alpha=0.16, linewidth=0
    )
    axes.plot(ends, ends, color=INK, linewidth=1.0)
    numbers = {id(row): at for at, row in enumerate(far_ratios(rows), start=1)}
    for row in rows:
        colour, marker = shown.scheme_colour(row.scheme), _RATIO_MARKERS.get(row.other, "X")
        value = row.measured.value
        axes.plot(
            [row.flops_ratio, row.bound_ratio], [value] * 2, color=colour, linewidth=0.8, alpha=0.6
        )
        mark = {"marker": marker, "markersize": 5.5, "markeredgewidth": 1.1, "zorder": 4}
        draw_dot(axes, (row.bound_ratio, value), None, hollow_mark(row.scheme) | mark)
        mark |= {"markeredgewidth": 0.5, "zorder": 6}
        at = (row.flops_ratio, value)
        draw_dot(axes, at, ends_of(row.measured), filled_mark(row.scheme) | mark)
        if id(row) in numbers:
            beside = (-6, 5) if value > row.flops_ratio else (6, -5)
            style = {"ha": "center", "fontsize": 7.5, "fontweight": "bold", "zorder": 7}
            say(axes, f"{numbers[id(row)]}", at, beside, **style)
    panel(axes, "", "predicted ratio of times", "measured ratio of times")


def far_ratios(rows: Sequence[RatioRow]) -> list[RatioRow]:
    """The ratios that FLOPs do not explain, the farthest off first."""
    far = [row for row in rows if row.cause is not None]
    far.sort(key=lambda row: -abs(math.log(row.measured.value / row.flops_ratio)))
    return far[:_MOST_FAR_RATIOS]


def _ratio_words(axes: Axes, rows: Sequence[RatioRow]) -> None:
    """Beside the points: which is which, how many agree, and what explains the farthest off."""
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    down = 0.97
    for pair in dict.fromkeys((row.scheme, row.other) for row in rows):
        of_pair = [row for row in rows if (row.scheme, row.other) == pair]
        agreeing = sum(row.cause is None for row in of_pair)
        look = {"marker": _RATIO_MARKERS.get(pair[1], "X"), "markersize": 7}
        draw_dot(axes, (0.07, down), None, filled_mark(pair[0]) | look)
        say(axes, f"{pair[0]} ÷ {pair[1]}", (0.12, down), fontweight="bold", fontsize=9)
        words = f"{agreeing} of {len(of_pair)} within {_TOLERANCE_WORDS} of the ratio of FLOPs"
        say(axes, words, (0.12, down - 0.045), fontsize=8, color=MUTED)
        down -= 0.115
    far = far_ratios(rows)
    if far:
        say(axes, "Farthest from the FLOPs, and why", (0.04, down), fontweight="bold", fontsize=9)
    for number, row in enumerate(far, start=1):
        down -= 0.058
        work = row.workload
        size = f"{work.context_frames} + {work.block_frames} frames, {work.steps} steps"
        pair_words = f"{_SHORT.get(row.scheme, row.scheme)} ÷ {_SHORT.get(row.other, row.other)}"
        say(axes, f"{number}", (0.07, down), fontweight="bold", ha="center", fontsize=8)
        say(axes, f"{pair_words}, {size}", (0.12, down), fontsize=8)
        down -= 0.04
        told = f"{shown.number(row.measured.value)} for {shown.number(row.flops_ratio)} by FLOPs"
        say(axes, f"{told}: {row.cause}", (0.12, down), fontsize=8, color=MUTED)
