"""The figure of time against steps or tokens: lines down to 0, and what is left there."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmdm_bench import format as shown
from lmdm_bench.canvas import FAINT, INK, MUTED, ON_PAPER, drawing_style, margins, mixed
from lmdm_bench.claim_tests import View, axis_value
from lmdm_bench.claims import DIFFUSION_SCHEMES, LMM_SCHEMES
from lmdm_bench.claims_curves import (
    in_ms,
    line_through,
    mean_seconds,
    service_ms,
    sizes_of,
    sweep_encode_ms,
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
    note_inches,
    note_lines,
    number_axis,
    panel,
    say,
    say_below,
    why_missing,
)
from lmdm_bench.claims_record import ClaimsRecord, Sweep
from lmdm_bench.claims_words import told_words
from lmdm_bench.fits import Line

_MOST_STEPS_NEAR_ZERO = 4.0


def steps(record: ClaimsRecord) -> Figure:
    """Time of a block against its steps or tokens, with lines down to 0 and their intercepts."""
    view = View(record)
    notes = _line_notes(view, DIFFUSION_SCHEMES, "steps"), _line_notes(view, LMM_SCHEMES, "tokens")
    room = max(map(note_inches, notes))
    with drawing_style():
        figure = claims_canvas(
            record,
            "Time against steps and tokens",
            "Lines are fitted and drawn down to 0, where what does not depend on steps is left: "
            "hollow, with its 95 % interval.",
            height_inches=7.1 + room,
        )
        grid = figure.subplots(
            2,
            2,
            gridspec_kw=margins(figure, left=0.72, right=0.35, top=1.05, bottom=0.92 + room)
            | {"hspace": 0.47, "wspace": 0.22, "width_ratios": (1.0, 1)},
        )
        (whole, near), (tokens, intercepts) = grid
        panel(whole, "Diffusion schemes", "steps", block_words(view, DIFFUSION_SCHEMES, "steps"))
        panel(near, "The same, near 0 steps", "steps", "")
        panel(tokens, "LMMs", "sequential tokens of a block", "seconds per block")
        _lines(whole, view, DIFFUSION_SCHEMES, "steps", is_near=False)
        _lines(near, view, DIFFUSION_SCHEMES, "steps", is_near=True)
        _lines(tokens, view, LMM_SCHEMES, "tokens", is_near=False)
        panel(intercepts, "At 0 steps or tokens", "ms (hollow: at 0, bar: context encode)", "")
        _intercepts(intercepts, view)
        return figure


def _line_notes(view: View, schemes: Sequence[str], sweep: Sweep) -> str:
    """What is missing from a panel of lines."""
    whys = [line_through(view, one, sweep) for one in schemes if view.points_of(one, sweep)]
    return note_lines(
        [*why_missing(view, schemes, sweep), *(one for one in whys if isinstance(one, str))]
    )


def _lines(axes: Axes, view: View, schemes: Sequence[str], sweep: Sweep, *, is_near: bool) -> None:
    """Each scheme's points and line down to 0; near 0, no more than the first few steps."""
    drawn = [one for one in schemes if view.points_of(one, sweep)]
    if not drawn:
        empty_panel(axes, "; ".join(why_missing(view, schemes, sweep)), 40)
        return
    longest = max(sizes_of(view.points_of(one, sweep), sweep)[-1] for one in drawn)
    end = min(_MOST_STEPS_NEAR_ZERO, longest) if is_near else longest
    highest, labels = 0.0, []
    for scheme in drawn:
        points = view.points_of(scheme, sweep)
        last = (0.0, 0.0)
        for point in points:
            size, told = axis_value(point, sweep), mean_seconds(point, service_ms)
            if told is not None and size <= end:
                draw_dot(axes, (size, told.value), ends_of(told), filled_mark(scheme))
                last = (size, told.value)
        through = line_through(view, scheme, sweep)
        if isinstance(through, Line):
            to = end if is_near else axis_value(points[-1], sweep)
            last = (to, _drawn_line(axes, through, to, scheme))
        highest = max(highest, last[1])
        labels.append(Label(last, scheme))
    axes.grid(axis="y")
    number_axis(axes, "x", 9)
    number_axis(axes, "y")
    axes.set_xlim(-0.035 * end, end / (1 - label_part(axes, labels)))
    axes.set_ylim(-0.05 * highest, highest * 1.12)
    axes.axhline(0, color=FAINT, linewidth=0.9, zorder=1)
    axes.axvline(0, color=FAINT, linewidth=0.9, zorder=1)
    axes.set_xticks([one for one in axes.get_xticks() if 0 <= one <= end * 1.001])
    draw_labels(axes, labels)
    if not is_near:
        say_below(axes, _line_notes(view, schemes, sweep))


def _drawn_line(axes: Axes, through: Line, to: float, scheme: str) -> float:
    """The line from 0 and its intercept; returns its height at the end."""
    start, slope = through.intercept.value, through.slope.value
    high = start + slope * to
    axes.plot([0, to], [start, high], color=shown.scheme_colour(scheme), linewidth=1.7, zorder=2)
    draw_dot(axes, (0, start), ends_of(through.intercept), hollow_mark(scheme))
    return high


def _intercepts(axes: Axes, view: View) -> None:
    """Each line's time at 0, in ms, beside the context encode as it was timed on its own."""
    values = [0.0]
    for row, scheme in enumerate(SCHEMES):
        sweep: Sweep = "tokens" if scheme in LMM_SCHEMES else "steps"
        through = line_through(view, scheme, sweep)
        if isinstance(through, str):
            words = "no line"
        else:
            told = in_ms(through.intercept)
            ends = ends_of(told)
            values += [told.value, *(ends or ())]
            if ends is not None:
                axes.plot(ends, [row + 0.1] * 2, color=INK, linewidth=1.2, zorder=4)
            draw_dot(axes, (told.value, row + 0.1), None, hollow_mark(scheme))
            words = told_words(told)
            encode = sweep_encode_ms(view, scheme, sweep)
            if encode is not None:
                values.append(encode.value)
                bar = {"marker": "|", "markersize": 15, "markeredgewidth": 2.2, "zorder": 3}
                shade = {"markeredgecolor": mixed(shown.scheme_colour(scheme), "#000000", 0.25)}
                draw_dot(axes, (encode.value, row + 0.1), None, filled_mark(scheme) | bar | shade)
                words += f", encode {shown.number(encode.value)}"
        beside, style = axes.get_yaxis_transform(), {"va": "bottom", "bbox": ON_PAPER}
        at = row - 0.22
        say(axes, scheme, (0, at), (2, 0), beside, fontweight="bold", **style)
        say(axes, words, (1, at), (0, 0), beside, fontsize=7.8, color=MUTED, ha="right", **style)
    axes.set_ylim(len(SCHEMES) - 0.55, -0.75)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    width = (max(values) - min(values)) or 1.0
    axes.set_xlim(min(values) - 0.06 * width, max(values) + 0.08 * width)
    axes.axvline(0, color=MUTED, linewidth=0.9, zorder=1)
    axes.grid(axis="x")
    number_axis(axes, "x")
