"""The figures of growth with context: times on logarithmic axes, and their local exponents."""

import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator

from lmdm_bench import format as shown
from lmdm_bench.canvas import FAINT, MUTED, drawing_style, margins, safe
from lmdm_bench.claim_tests import View
from lmdm_bench.claims import DIFFUSION_SCHEMES, LMM_SCHEMES
from lmdm_bench.claims_curves import (
    Growth,
    attention_seconds,
    context_seconds,
    encode_ms,
    growths,
    mean_seconds,
    service_ms,
)
from lmdm_bench.claims_panels import (
    SCHEMES,
    Label,
    block_words,
    claims_canvas,
    draw_dot,
    draw_labels,
    empty_panel,
    ends_of,
    filled_mark,
    hollow_mark,
    label_part,
    log_axis,
    note_lines,
    panel,
    say,
    say_below,
    say_why,
    why_missing,
)
from lmdm_bench.claims_record import ClaimsRecord, Point
from lmdm_bench.fits import Fitted

# A logarithmic axis of one size is as wide as if it held two that differ so much.
_LEAST_SPAN = 1.5
# Between a panel of exponents and its title, for what is said of the floor model.
_HEAD_POINTS = 47.0
_HEAD_LETTERS = 44


def context(record: ClaimsRecord) -> Figure:
    """Time of a block against what it sees of the past, and the parts that grow with it."""
    view = View(record)
    with drawing_style():
        figure = claims_canvas(
            record,
            "Time against context",
            "Both axes are logarithmic: a flat line does not grow with context, and one that rises "
            "as the grey ones do is linear.",
            height_inches=4.9,
        )
        both = figure.subplots(
            1,
            2,
            gridspec_kw=margins(figure, left=0.72, right=0.2, top=1.05, bottom=1.1)
            | {"wspace": 0.18, "width_ratios": (1.25, 1)},
        )
        for axes, schemes, title, frames in zip(
            both,
            (DIFFUSION_SCHEMES, LMM_SCHEMES),
            ("Diffusion schemes", "LMMs"),
            ("latent frames", "token frames"),
            strict=True,
        ):
            words = block_words(view, schemes, "context")
            panel(axes, title, f"seconds of context (below: {frames})", words)
            _context_curves(axes, view, schemes)
        return figure


def _context_curves(axes: Axes, view: View, schemes: Sequence[str]) -> None:
    drawn = [one for one in schemes if view.points_of(one, "context")]
    missing = why_missing(view, schemes, "context")
    if not drawn:
        empty_panel(axes, "; ".join(missing), 38)
        return
    labels: list[Label] = []
    values: list[float] = []

    def curve(scheme: str, words: str, found: list[tuple[float, Fitted]], **style: Any) -> None:
        across, up = [at for at, _ in found], [told.value for _, told in found]
        values.extend(up)
        look: dict[str, Any] = {"color": shown.scheme_colour(scheme), "zorder": 3}
        if words != scheme:
            look |= hollow_mark(scheme) | {"markersize": 4, "markeredgewidth": 0.9}
        axes.plot(across, up, **(look | style))
        labels.append(Label((across[-1], up[-1]), words, is_part=words != scheme))

    for scheme in drawn:
        points = view.points_of(scheme, "context")
        whole = _told(points, lambda one: mean_seconds(one, service_ms))
        encode = _told(points, lambda one: mean_seconds(one, encode_ms))
        attention = _told(points, attention_seconds)
        curve(scheme, scheme, whole, linewidth=1.8)
        for at, told in whole:
            draw_dot(axes, (at, told.value), ends_of(told), filled_mark(scheme))
        if encode:
            curve(scheme, "its encode", encode, linewidth=1.1, linestyle=(0, (5, 2)))
        if attention:
            curve(scheme, "its attention", attention, linewidth=1.1, linestyle=(0, (1, 1.6)))
    log_axis(axes, "x")
    log_axis(axes, "y")
    most = max((view.points_of(one, "context") for one in drawn), key=len)
    first, last = context_seconds(most[0]), context_seconds(most[-1])
    low, high = min(values) / 1.5, max(values) * 1.5
    span = max(last / first, _LEAST_SPAN)
    axes.set_xlim(first / span**0.03, first * span ** (1 / (1 - label_part(axes, labels))))
    axes.set_ylim(low, high)
    axes.grid(axis="y")
    _linear_growth(axes, first, last, low, high)
    ticks = [f"{shown.number(context_seconds(one))}\n{one.workload.context_frames}" for one in most]
    axes.xaxis.set_major_locator(FixedLocator([context_seconds(one) for one in most]))
    axes.set_xticklabels(ticks, fontsize=8.5)
    draw_labels(axes, labels)
    say_below(axes, note_lines(missing), down=46.0)


def _told(
    points: Sequence[Point], of: Callable[[Point], Fitted | None]
) -> list[tuple[float, Fitted]]:
    found = [(context_seconds(one), of(one)) for one in points]
    return [(at, told) for at, told in found if told is not None]


def _linear_growth(axes: Axes, first: float, last: float, low: float, high: float) -> None:
    """Faint lines of linear growth, two to a decade."""
    start = math.log10(low / (last / first))
    for step in range(math.ceil(2 * (math.log10(high) - start)) + 1):
        at = 10 ** (start + step / 2)
        axes.plot([first, last], [at, at * last / first], color=FAINT, linewidth=0.7, zorder=1)


def exponents(record: ClaimsRecord) -> Figure:
    """Local exponents over context: 0 is flat, 1 linear, 2 quadratic."""
    view = View(record)
    with drawing_style():
        figure = claims_canvas(
            record,
            "How fast time grows with context",
            "Each bar is d log time ÷ d log context between two neighbouring sizes, with its 95 % "
            "interval; a floor pulls it to 0.",
            height_inches=7.2,
        )
        grid = figure.subplots(
            2,
            3,
            sharey=True,
            gridspec_kw=margins(figure, left=1.0, right=0.15, top=1.55, bottom=0.88)
            | {"hspace": 0.85, "wspace": 0.08},
        )
        series = {scheme: growths(view, scheme) for scheme in SCHEMES}
        for axes, scheme in zip(grid.flat, SCHEMES, strict=False):
            _exponent_panel(axes, view, scheme, series[scheme])
        _exponent_key(grid.flat[len(SCHEMES)])
        values = [end for told in series.values() for one in told for end in _exponent_ends(one)]
        low, high = min([-0.25, *values]), max([2.15, *values])
        grid.flat[0].set_ylim(max(-1.5, low - 0.1), min(4.0, high + 0.1))
        return figure


def _exponent_panel(axes: Axes, view: View, scheme: str, told: Sequence[Growth]) -> None:
    axes.set_title(scheme, loc="left", fontsize=9.5, fontweight="bold", pad=_HEAD_POINTS)
    axes.add_patch(
        Rectangle(
            (0, 1.0),
            1.0,
            0.012,
            transform=axes.transAxes,
            facecolor=shown.scheme_colour(scheme),
            linewidth=0,
            clip_on=False,
        )
    )
    axes.yaxis.set_major_locator(FixedLocator([0, 1, 2]))
    axes.set_yticklabels(["flat  0", "linear  1", "quadratic  2"])
    axes.tick_params(axis="y", length=0)
    if not told:
        points = view.points_of(scheme, "context")
        why = view.why_missing(scheme, "context")
        if len(points) >= 2:
            why = "no round visited all its points over context frames"
        say_why(axes, why, 30)
        axes.spines["bottom"].set_visible(False)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="x", length=0, labelbottom=False)
        return
    axes.grid(axis="y")
    colour = shown.scheme_colour(scheme)
    for one in told:
        power = one.floor.exponent
        ends = None if power is None else ends_of(power)
        if ends is not None:
            axes.axhspan(*ends, color=colour, alpha=0.1 if one.is_part else 0.2, linewidth=0)
        middles = [math.sqrt(low * high) for low, high in pairwise(one.seconds)]
        for (low, high), middle, exponent in zip(
            pairwise(one.seconds), middles, one.exponents, strict=True
        ):
            dashes = (0, (3, 1.5)) if one.is_part else "-"
            width = 1.0 if one.is_part else 2.2
            value = exponent.value
            axes.plot([low, high], [value] * 2, color=colour, linewidth=width, linestyle=dashes)
            look = hollow_mark(scheme) if one.is_part else filled_mark(scheme)
            draw_dot(axes, (middle, exponent.value), ends_of(exponent), look | {"markersize": 5})
    log_axis(axes, "x")
    axes.set_xlim(told[0].seconds[0] / 1.25, told[0].seconds[-1] * 1.25)
    axes.set_xlabel(f"seconds of {told[0].words.removeprefix('block, by ')}", fontsize=9)
    above = (0.0, _HEAD_POINTS - 3)
    words = _floor_words(told)
    say(axes, words, (0, 1), above, "axes fraction", fontsize=7.8, color=MUTED, va="top")


def _floor_words(told: Sequence[Growth]) -> str:
    """The floor model's exponent of each growth, or once why there is none."""
    lines = []
    whys: dict[str, list[str]] = {}
    for one in told:
        part = "encode" if one.is_part else "block"
        if one.floor.exponent is not None:
            lines.append(f"{part}: p = {shown.estimate(one.floor.exponent.estimate())}")
        else:
            whys.setdefault(one.floor.why_not or "no reason given", []).append(part)
    for why, parts in whys.items():
        words = f"{', '.join(parts)}: p not told ({why})"
        lines.append(textwrap.fill(safe(words, 130), _HEAD_LETTERS))
    return "\n".join(lines)


def _exponent_key(axes: Axes) -> None:
    """How to read the other panels."""
    axes.set_axis_off()
    meanings = {
        "filled": "all of a block's time",
        "hollow": "its context encode alone",
        "p": "exponent of the floor model, time = a + b · sizeᵖ; its 95 % interval is a band "
        "where the times can tell it",
    }
    down = 0.9
    for head, meaning in meanings.items():
        words = textwrap.fill(meaning, 32)
        say(axes, head, (0.05, down), where="axes fraction", fontweight="bold", va="top")
        say(axes, words, (0.25, down), where="axes fraction", va="top")
        down -= 0.15


def _exponent_ends(one: Growth) -> Iterator[float]:
    for exponent in one.exponents:
        yield from ends_of(exponent) or (exponent.value,)
