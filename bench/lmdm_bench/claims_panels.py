"""What the figures of a claims run are put together from: panels, axes, marks and labels."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from lmdm_bench import format as shown
from lmdm_bench.canvas import FAINT, INK, MUTED, ON_PAPER, PAPER, canvas, safe, tick_decimals
from lmdm_bench.claim_tests import View, is_measured
from lmdm_bench.claims import DIFFUSION_SCHEMES, LMM_SCHEMES
from lmdm_bench.claims_record import ClaimsRecord, Sweep
from lmdm_bench.claims_words import rounds_words
from lmdm_bench.fits import Fitted

SCHEMES = (*DIFFUSION_SCHEMES, *LMM_SCHEMES)
MARKERS = {
    "outpaint": "o",
    "encoder-decoder": "s",
    "block-causal": "D",
    "lmm-encoder-decoder": "^",
    "lmm-frame-wise": "v",
}
SMALL = 8.5
_TICKS = tuple(one * 10.0**power for power in range(-6, 7) for one in (1, 2, 5))
_LABEL_GAP_POINTS = 11.0
_NOTE_LETTERS = 62


def claims_canvas(
    record: ClaimsRecord, title: str, subtitle: str, height_inches: float, times: str = ""
) -> Figure:
    """An empty figure with its title above, and the run's machine and n below."""
    told = [
        safe(record.machine.name, 60),
        safe(f"{record.settings.device.value}, {record.settings.dtype.value}", 30),
        times or f"{rounds_words(record)}, interleaved",
        *(["interrupted"] if record.settings.is_interrupted else []),
        "codec left out",
        record.created[:10],
    ]
    return canvas(title, subtitle, "  ·  ".join(told), height_inches)


def panel(axes: Axes, title: str, across: str, up: str) -> None:
    axes.set_title(title, loc="left", fontsize=9.5, fontweight="bold")
    axes.set_xlabel(across, fontsize=9)
    axes.set_ylabel(up, fontsize=9)


def say(
    axes: Axes,
    words: str,
    at: tuple[float, float],
    points: tuple[float, float] = (0.0, 0.0),
    where: Any = "data",
    **style: Any,
) -> None:
    """Words so many points beside a place, inside the panel or out of it."""
    look: dict[str, Any] = {"fontsize": SMALL, "va": "center", "annotation_clip": False}
    axes.annotate(words, at, points, xycoords=where, textcoords="offset points", **(look | style))


def say_why(axes: Axes, why: str, width: int) -> None:
    """In the middle of a panel, why nothing else is there."""
    words = textwrap.fill(safe(why, 220), width)
    say(axes, words, (0.5, 0.5), where="axes fraction", ha="center", color=MUTED)


def empty_panel(axes: Axes, why: str, width: int = 44) -> None:
    """An empty panel that says why it is empty."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel("")
    axes.set_ylabel("")
    axes.set_facecolor("none")
    for spine in axes.spines.values():
        spine.set(visible=True, linestyle=(0, (3, 3)), color=FAINT)
    say_why(axes, why, width)


def note_lines(notes: Sequence[str]) -> str:
    """What a panel leaves out, and why, as the lines that stand under its axis."""
    return "\n".join(textwrap.fill(safe(one, 136), _NOTE_LETTERS) for one in notes)


def note_inches(words: str) -> float:
    return 0.14 * (words.count("\n") + 1) if words else 0.0


def say_below(axes: Axes, words: str, down: float = 36.0) -> None:
    say(axes, words, (0, 0), (0, -down), "axes fraction", fontsize=7.5, va="top", color=MUTED)


def why_missing(view: View, schemes: Sequence[str], sweep: Sweep) -> list[str]:
    """Why points of a sweep are not there, one sentence for each scheme that lacks any."""
    return [
        view.why_missing(scheme, sweep)
        for scheme in schemes
        if not view.points_of(scheme, sweep)
        or any(
            one.workload.scheme == scheme
            and one.workload.model == view.main_models.get(scheme)
            and sweep in one.sweeps
            and not is_measured(one)
            for one in view.record.points
        )
    ]


def block_words(view: View, schemes: Sequence[str], sweep: Sweep) -> str:
    """The vertical axis: of what the seconds are."""
    points = [one for scheme in schemes for one in view.points_of(scheme, sweep)]
    lengths = {round(one.workload.block_seconds, 2) for one in points}
    told = " or ".join(map(shown.seconds, sorted(lengths))) if len(lengths) in (1, 2) else ""
    return f"seconds per block{f' of {told}' if told else ''}"


def number_axis(axes: Axes, which: str, count: int = 5) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(nbins=count, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(_tick))


def log_axis(axes: Axes, which: str) -> None:
    """A logarithmic axis whose ticks are 1, 2 and 5 of each decade, as plain numbers."""
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(FixedLocator(_TICKS))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(_tick))


def _tick(value: float, _: int | None) -> str:
    return shown.number(value, tick_decimals(value)).replace("-", "−")


def ends_of(fitted: Fitted) -> tuple[float, float] | None:
    return fitted.estimate().ci95


def filled_mark(scheme: str) -> dict[str, Any]:
    """How a scheme's figures are marked."""
    return {
        "marker": MARKERS.get(scheme, "X"),
        "markersize": 5.5,
        "color": shown.scheme_colour(scheme),
        "markeredgecolor": PAPER,
        "markeredgewidth": 0.6,
        "linestyle": "none",
    }


def hollow_mark(scheme: str) -> dict[str, Any]:
    """How parts of a scheme's figures are marked, and what is no measured figure."""
    return filled_mark(scheme) | {
        "markersize": 6.5,
        "markerfacecolor": PAPER,
        "markeredgecolor": shown.scheme_colour(scheme),
        "markeredgewidth": 1.5,
    }


def draw_dot(
    axes: Axes, at: tuple[float, float], ends: tuple[float, float] | None, look: dict[str, Any]
) -> None:
    """A mark with a vertical interval."""
    across, up = at
    if ends is not None:
        axes.plot([across, across], ends, color=INK, linewidth=1.1, zorder=4)
    axes.plot([across], [up], **({"zorder": 5} | look))


def _spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Places near the wanted ones and at least ``gap`` apart, in the same order."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    places = [wanted[index] for index in order]
    for _ in range(200):
        for at in range(1, len(places)):
            short = gap - (places[at] - places[at - 1])
            if short > 1e-9 * gap:
                places[at - 1] -= short / 2
                places[at] += short / 2
    found = [0.0] * len(wanted)
    for place, index in zip(places, order, strict=True):
        found[index] = place
    return found


@dataclass(frozen=True)
class Label:
    """Words at the right end of a curve; those of a part of a scheme are smaller."""

    at: tuple[float, float]
    words: str
    is_part: bool = False


def label_part(axes: Axes, labels: Sequence[Label]) -> float:
    """How much of the panel's width the labels at its right take."""
    figure = axes.figure
    assert isinstance(figure, Figure)
    inches = axes.get_position().width * figure.get_size_inches()[0]
    letters = max(len(one.words) * (0.062 if one.is_part else 0.079) for one in labels)
    return float(min(0.6, (letters + 0.14) / inches))


def draw_labels(axes: Axes, labels: Sequence[Label]) -> None:
    """Labels at the ends of their curves, moved up or down until they stand apart.

    The axes' limits have to be final.
    """
    box = axes.get_window_extent()
    figure = axes.figure
    assert isinstance(figure, Figure)
    gap = _LABEL_GAP_POINTS / 72 * figure.dpi / box.height
    ends = [axes.transData.transform(one.at) for one in labels]
    across = [(float(at) - box.x0) / box.width for at, _ in ends]
    wanted = [(float(up) - box.y0) / box.height for _, up in ends]
    for column in dict.fromkeys(round(one, 2) for one in across):
        together = [index for index, one in enumerate(across) if round(one, 2) == column]
        places = _spread([wanted[index] for index in together], gap)
        for index, place in zip(together, places, strict=True):
            one = labels[index]
            style = {"fontsize": 7.8, "color": MUTED} if one.is_part else {"fontweight": "bold"}
            at = (across[index], place)
            say(axes, one.words, at, (8, 0), "axes fraction", bbox=ON_PAPER, zorder=1.5, **style)
