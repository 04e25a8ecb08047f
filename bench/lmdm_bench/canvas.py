"""What all figures stand on: their style, a canvas with title and footer, and their files.

The same figure gives the same file, byte for byte: no clock and no personal settings come in.
"""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from lmdm_bench import format as shown
from lmdm_bench.record import write_whole

# The SVG's readers may recolour these four for a dark page.
INK = "#1b2028"
MUTED = "#6d7683"
FAINT = "#d5d9df"
PAPER = "#ffffff"

WIDTH_INCHES = 9.0
# How words look that stand on what is drawn.
ON_PAPER = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.8, "alpha": 0.85}

_PNG_DPI = 160
# Beyond latin-1, the signs of our own sentences that the font has.
_DRAWABLE = frozenset("−∞÷×·Σ≤≥≈√→–—‘’“”…✔✘²³")
_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": FAINT,
    "axes.facecolor": PAPER,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
    "figure.facecolor": PAPER,
    "hatch.linewidth": 0.6,
    "svg.hashsalt": "lmdm-bench",
    "svg.fonttype": "path",
}


def canvas(title: str, subtitle: str, footer: str, height_inches: float) -> Figure:
    """An empty figure with its title above and its footer below."""
    figure = Figure(figsize=(WIDTH_INCHES, height_inches))

    def at(inches_down: float) -> float:
        return 1 - inches_down / height_inches

    figure.text(0.018, at(0.14), title, fontsize=13.5, fontweight="bold", va="top")
    figure.text(0.018, at(0.44), subtitle, fontsize=9, color=MUTED, va="top")
    figure.text(0.018, 0.1 / height_inches, footer, fontsize=8, color=MUTED, va="bottom")
    return figure


@contextmanager
def drawing_style() -> Iterator[None]:
    """Matplotlib's own defaults and ours on top, whatever the user's settings are."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


def margins(
    figure: Figure, left: float, right: float, top: float, bottom: float
) -> dict[str, float]:
    """Margins given in inches, as the parts of the figure that a grid wants."""
    width, height = figure.get_size_inches()
    return {
        "left": left / width,
        "right": 1 - right / width,
        "top": 1 - top / height,
        "bottom": bottom / height,
    }


def safe(text: str, width: int) -> str:
    """Text from anywhere, on one line and in letters that the font has."""
    letters = (one if ord(one) < 256 or one in _DRAWABLE else "?" for one in shown.plain(text))
    line = "".join(letters)
    return line if len(line) <= width else line[: width - 3].rstrip() + "..."


def mixed(colour: str, other: str, part: float) -> str:
    """The colour with a part of another one in it."""
    pairs = zip(to_rgb(colour), to_rgb(other), strict=True)
    red, green, blue = ((1 - part) * mine + part * its for mine, its in pairs)
    return to_hex((red, green, blue))


def tick_decimals(value: float) -> int:
    """As few decimals as tell a tick from its neighbours, which are 1, 2 or 5 of some decimal."""
    return next((at for at in range(6) if math.isclose(value, round(value, at))), 6)


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG, legible at 900 px, with nothing of the moment in it."""
    return _saved(figure, "png", {"Software": None})


def to_svg(figure: Figure) -> str:
    """The figure as a whole SVG document; its letters are outlines, so it needs no font."""
    unset = {"Date": None, "Creator": None, "Format": None, "Type": None}
    return _saved(figure, "svg", unset).decode("utf-8")


def save_png(figure: Figure, path: Path) -> None:
    """Write the figure as a PNG, whole or not at all."""
    write_whole(path, to_png(figure))


def _saved(figure: Figure, kind: str, metadata: dict[str, Any]) -> bytes:
    content = io.BytesIO()
    with drawing_style():
        figure.savefig(content, format=kind, dpi=_PNG_DPI, metadata=metadata)
    return content.getvalue()
