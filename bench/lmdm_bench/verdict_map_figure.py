"""The figure of machines beside schemes: what keeps up, measured or predicted.

A cell's shade is its verdict, its sign and its real-time factor stand in it. What was measured has
a heavy frame and bold figures, what is predicted a thin one, and what rests on a specification
alone is hatched: grey tells all of it.
"""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lmdm_bench import format as shown
from lmdm_bench.canvas import FAINT, INK, MUTED, PAPER, canvas, drawing_style, margins, mixed, safe
from lmdm_bench.predict import Leaning, Prediction, Verdict
from lmdm_bench.predict_words import SIGNS, figure, is_measured, sign_of

# Blue keeps up, orange does not, and surer is stronger; in grey what keeps up is the lighter one.
SHADES: dict[tuple[Verdict, Leaning | None], str] = {
    ("plays", None): "#86BCDD",
    ("cannot tell", "likely"): "#D3E7F3",
    ("cannot tell", "unlikely"): "#F5D0AE",
    ("does not play", None): "#CF6A32",
    ("does not fit", None): "#8F8F95",
    ("cannot tell", None): PAPER,
}
_ROW_INCHES = 0.235
_NAME_INCHES = 2.75
_LETTERS_ACROSS = 100
_ABOVE_INCHES = 0.9
_LINE_INCHES = 0.15
_BELOW_INCHES = 1.0
_SMALL = 8.0


@dataclass(frozen=True)
class Frame:
    """How cells of some tiers are drawn, and what that means."""

    words: str
    holds: Callable[[Prediction], bool]
    look: dict[str, Any]


def _is_hatched(one: Prediction) -> bool:
    return one.tier == "from specification only"


_PLAIN: dict[str, Any] = {"edgecolor": "none", "linewidth": 0.0}
FRAMES = (
    Frame("measured", is_measured, {"edgecolor": INK, "linewidth": 1.8}),
    Frame(
        "calibrated on its like",
        lambda one: one.tier == "calibrated",
        {"edgecolor": MUTED, "linewidth": 0.8},
    ),
    Frame(
        "from specification only",
        _is_hatched,
        {"edgecolor": MUTED, "linewidth": 0.0, "hatch": "////"},
    ),
)


def verdict_map(predictions: Sequence[Prediction]) -> Figure:
    """A row for each machine, a column for each scheme with its model."""
    rows = list(dict.fromkeys(one.target.name for one in predictions))
    columns = list(dict.fromkeys((one.workload.scheme, one.workload.model) for one in predictions))
    heads = _heads(columns)
    above = _ABOVE_INCHES + _LINE_INCHES * max(one.count("\n") for one in heads)
    with drawing_style():
        drawn = canvas(
            "What keeps up where",
            "Seconds of work for a second of audio; below 1 it keeps up on average. "
            "LMMs without their codec.",
            _footer(predictions),
            height_inches=above + _BELOW_INCHES + _ROW_INCHES * len(rows),
        )
        axes = drawn.subplots(gridspec_kw=margins(drawn, _NAME_INCHES, 0.2, above, _BELOW_INCHES))
        _frame(axes, rows, heads)
        for one in predictions:
            across = columns.index((one.workload.scheme, one.workload.model))
            _cell(axes, one, across, rows.index(one.target.name))
        _legend(drawn, predictions)
    return drawn


def _heads(columns: Sequence[tuple[str, str]]) -> list[str]:
    """Each column's scheme, on as many lines as it takes, and its model below."""
    width = _LETTERS_ACROSS // len(columns)
    return [
        "\n".join([*textwrap.wrap(safe(scheme, 40), width), safe(model, width)])
        for scheme, model in columns
    ]


def _frame(axes: Axes, rows: Sequence[str], heads: Sequence[str]) -> None:
    axes.set_xlim(0, len(heads))
    axes.set_ylim(len(rows), 0)
    axes.set_yticks([at + 0.5 for at in range(len(rows))], [safe(one, 40) for one in rows])
    axes.set_xticks([at + 0.5 for at in range(len(heads))], heads)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=_SMALL)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _cell(axes: Axes, one: Prediction, across: int, down: int) -> None:
    axes.add_patch(_patch(one, (across + 0.02, down + 0.07), 0.96, 0.86))
    rtf = "" if one.rtf is None else f"  {figure(one.rtf.value)}"
    axes.text(
        across + 0.5,
        down + 0.52,
        f"{sign_of(one)}{rtf}",
        ha="center",
        va="center",
        fontsize=_SMALL,
        fontweight="bold" if is_measured(one) else "normal",
        bbox=_label_box(one),
        zorder=4,
    )


def _patch(one: Prediction, at: tuple[float, float], width: float, height: float) -> Rectangle:
    shade = SHADES[one.verdict, one.leaning]
    look = next((frame.look for frame in FRAMES if frame.holds(one)), _PLAIN)
    if "hatch" in look:
        look = look | {"edgecolor": mixed(shade, INK, 0.28)}
    return Rectangle(at, width, height, facecolor=shade, zorder=2, **look)


def _label_box(one: Prediction) -> dict[str, Any] | None:
    """Figures stand clear of the hatching."""
    if not _is_hatched(one):
        return None
    shade = SHADES[one.verdict, one.leaning]
    return {"facecolor": shade, "edgecolor": "none", "pad": 0.6}


def _legend(drawn: Figure, predictions: Sequence[Prediction]) -> None:
    """The signs with their shades, then the frames with what they mean."""
    used = [key for key in SIGNS if any((one.verdict, one.leaning) == key for one in predictions)]
    shades = [(f"{SIGNS[key][0]}  {SIGNS[key][1]}", SHADES[key], _PLAIN) for key in used]
    frames = [(one.words, FAINT, one.look) for one in FRAMES if any(map(one.holds, predictions))]
    across_inches, up_inches = drawn.get_size_inches()
    for row, up in ((shades, 0.62), (frames, 0.37)):
        across = 0.16
        for words, shade, look in row:
            place = (across / across_inches, up / up_inches)
            size = (0.3 / across_inches, 0.15 / up_inches)
            drawn.add_artist(
                Rectangle(place, *size, transform=drawn.transFigure, facecolor=shade, **look)
            )
            beside = ((across + 0.37) / across_inches, (up + 0.07) / up_inches)
            drawn.text(*beside, words, fontsize=_SMALL, va="center")
            across += 0.62 + 0.078 * len(words)


def _footer(predictions: Sequence[Prediction]) -> str:
    """What the predictions rest on, and how they would be run."""
    errors = [one.held_out for one in predictions if one.tier == "calibrated" and one.held_out]
    told = [f"{sum(map(is_measured, predictions))} of {len(predictions)} cells measured"]
    if errors:
        share = shown.share(errors[0].mean_error)
        told.append(f"calibrated: off by {share} on what was left out")
    told.append(safe(", ".join(dict.fromkeys(one.workload.dtype for one in predictions)), 40))
    graphed = predictions[0].workload.is_graphed
    told.append("graphs replayed" if graphed else "operations launched one by one")
    return "  ·  ".join(told)
