"""What the figures of a check are put together from: a part for each cell, panels, marks, keys."""

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from lmdm_bench import format as shown
from lmdm_bench.canvas import INK, MUTED, ON_PAPER, WIDTH_INCHES, canvas, drawing_style, safe
from lmdm_bench.check_record import CAUSES, Cause, CheckCell, CheckRecord, CheckSettings, PacedBlock
from lmdm_bench.claims_panels import empty_panel, say
from lmdm_bench.dropouts import Dropouts

MOST_CELLS = 5
# More marks than this in one panel are thinned out.
MOST_MARKS = 1200
MS_PER_SECOND = 1000.0
MS_PER_MINUTE = 60_000.0

DEADLINE_DASHES = (0, (5, 2.5))
CAUSE_MARKS: dict[Cause, str] = {
    "first": "p",
    "compile": "s",
    "alloc": "P",
    "gc": "^",
    "throttle": "v",
    "preempt": "D",
    "spill": "X",
    "suspend": "*",
    "unknown": "o",
}
CAUSE_WORDS: dict[Cause, str] = {
    "first": "first block",
    "compile": "compiling",
    "alloc": "allocating",
    "gc": "collecting garbage",
    "throttle": "throttled",
    "preempt": "preempted",
    "spill": "memory spilled",
    "suspend": "machine slept",
    "unknown": "cause unknown",
}

_ABOVE_INCHES, _BELOW_INCHES = 0.78, 0.42
_HEADING_INCHES = 0.42
_EMPTY_INCHES = 1.15
_MOST_MINUTES_IN_SECONDS = 3.0
# A deadline further off than so many times the largest value is named, not drawn.
_FARTHEST_DEADLINE = 3.0
# So many times what is usual is drawn in its place, more at the panel's edge.
_FARTHEST_VALUE = 6.0
_FACTS_LETTERS, _FOOTER_LETTERS = 134, 136
_MODE_WORDS = {"paced": "paced", "sustain": "paced until steady", "device": "paced by"}

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Indexes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Part:
    """A cell's part of a figure, which begins so many inches from the figure's top."""

    figure: Figure
    down: float

    def panel(self, left: float, down: float, width: float, height: float, **kwargs: Any) -> Axes:
        """A panel, placed in inches from the figure's left and from this part's top."""
        wide, high = self.figure.get_size_inches()
        top = self.down + down
        place = (left / wide, 1 - (top + height) / high, width / wide, height / high)
        return self.figure.add_axes(place, **kwargs)


@dataclass(frozen=True)
class Sheet:
    """What a figure of cells is: its words, how high a cell's part is, and what is in it.

    ``draw`` gives what is to be said under the cell's name. It is not asked to draw a cell without
    blocks, which says why it has none.
    """

    title: str
    subtitle: str
    inches: float
    draw: Callable[[Part, CheckCell], Iterable[str]]


def figure_of_cells(record: CheckRecord, sheet: Sheet) -> Figure:
    """One part under the other for each of the first cells."""
    cells = record.check_cells[:MOST_CELLS]
    heights = [_HEADING_INCHES + sheet.inches if one.blocks else _EMPTY_INCHES for one in cells]
    total = _ABOVE_INCHES + (sum(heights) or _EMPTY_INCHES) + _BELOW_INCHES
    names = shown.names([one.workload for one in cells])
    with drawing_style():
        figure = check_canvas(record, sheet.title, sheet.subtitle, total)
        down = _ABOVE_INCHES
        if not cells:
            _say_empty(Part(figure, down), "no cell was run")
        for name, cell, height in zip(names, cells, heights, strict=True):
            part = Part(figure, down + _HEADING_INCHES)
            draw = sheet.draw if cell.blocks else _say_no_block
            _heading(Part(figure, down), safe(name, 60), cell, draw(part, cell))
            down += height
        return figure


def _heading(part: Part, name: str, cell: CheckCell, facts: Iterable[str]) -> None:
    """The cell's name beside its scheme's colour, and one line of facts under it."""
    figure = part.figure
    wide, high = figure.get_size_inches()
    top = 1 - (part.down + 0.02) / high
    figure.text(0.03, top, name, fontsize=10.5, fontweight="bold", va="top")
    colour = shown.scheme_colour(cell.workload.scheme)
    corner, size = (0.018, top - 0.34 / high), (0.055 / wide, 0.35 / high)
    figure.add_artist(Rectangle(corner, *size, facecolor=colour, linewidth=0))
    ended = () if cell.reason is None else (f"{cell.status}: {cell.reason}",)
    words = safe("  ·  ".join((*ended, *facts)), _FACTS_LETTERS)
    figure.text(0.03, top - 0.2 / high, words, fontsize=8.5, color=MUTED, va="top")


def _say_no_block(part: Part, cell: CheckCell) -> Iterable[str]:
    _say_empty(part, "no block was made, so there is nothing to draw")
    return ()


def _say_empty(part: Part, why: str) -> None:
    empty_panel(part.panel(0.3, 0.08, WIDTH_INCHES - 0.6, 0.5), why, 100)


def check_canvas(record: CheckRecord, title: str, subtitle: str, height_inches: float) -> Figure:
    """An empty figure with its title above, and below the machine, n and how it was played."""
    settings, cells = record.settings, record.check_cells
    audio = safe(settings.audio or "a sound card", 24) if settings.mode == "device" else ""
    told = [
        safe(record.machine.name, 60),
        safe(f"{settings.device.value}, {settings.dtype.value}", 24),
        n_words(record),
        f"{_MODE_WORDS[settings.mode]} {audio}".rstrip(),
        f"prebuffer {settings.prebuffer_blocks}, {settings.policy}",
        *([f"load: {safe(settings.stress, 12)}"] if settings.stress != "none" else []),
        *([f"first {MOST_CELLS} of {len(cells)} cells"] if len(cells) > MOST_CELLS else []),
        *(["interrupted"] if record.is_interrupted else []),
        record.created[:10],
    ]
    footer = textwrap.fill(" · ".join(told), _FOOTER_LETTERS, break_long_words=False)
    return canvas(title, subtitle, footer, height_inches)


def n_words(record: CheckRecord) -> str:
    """``n = 269 blocks``, or from the least to the most that a cell has."""
    counts = [len(one.blocks) for one in record.check_cells] or [0]
    low, high = min(counts), max(counts)
    told = shown.count(low) if low == high else f"{shown.count(low)} to {shown.count(high)}"
    return f"n = {told} block{'' if high == 1 else 's'}"


def small_axes(axes: Axes, across: str = "", up: str = "") -> None:
    """The look of a panel of a check: small ticks, horizontal grid, its axes named."""
    axes.tick_params(labelsize=8)
    axes.grid(axis="y")
    axes.set_xlabel(across, fontsize=8.5, labelpad=2)
    axes.set_ylabel(up, fontsize=8.5)


def is_in_seconds(cells: Sequence[CheckCell]) -> bool:
    """Whether the longest of the cells is so short that its time is better told in seconds."""
    ends = [cell.blocks[-1].ready_ms for cell in cells if cell.blocks]
    return max(ends, default=0.0) < _MOST_MINUTES_IN_SECONDS * MS_PER_MINUTE


def clock_words(at_ms: float) -> str:
    """``2:14``: minutes and seconds from the first start."""
    seconds = int(at_ms // MS_PER_SECOND)
    return f"{seconds // 60}:{seconds % 60:02d}"


def span_words(span_ms: float) -> str:
    """``1.31 s``, or ``48.2 ms`` where that is shorter than a second."""
    is_short = abs(span_ms) < MS_PER_SECOND
    told = shown.milliseconds(span_ms) if is_short else shown.seconds(span_ms / MS_PER_SECOND)
    return told.replace("-", "−")


def lateness_ms(cell: CheckCell, settings: CheckSettings) -> Floats:
    """The lateness of every block that was due, those after the prebuffer; above 0: a miss."""
    return np.array([one.lateness_ms for one in cell.blocks[settings.prebuffer_blocks :]])


def is_late(cell: CheckCell, settings: CheckSettings) -> Bools:
    """Of every block whether it was a miss; the prebuffer's blocks are none."""
    late = np.zeros(len(cell.blocks), dtype=np.bool_)
    late[settings.prebuffer_blocks :] = lateness_ms(cell, settings) > 0
    return late


def share_words(share: float) -> str:
    """``all``, ``1 in 10``: a part of the blocks."""
    return "all" if share >= 1 else f"1 in {shown.count(round(1 / share))}"


def late_words(found: Dropouts) -> str:
    """``none late``, or ``7 late, in 2 dropouts``."""
    if not found.num_misses:
        return "none late"
    num = found.num_dropouts
    return f"{shown.count(found.num_misses)} late, in {shown.count(num)} dropout{'s'[: num > 1]}"


def causes_of(one: PacedBlock) -> tuple[Cause, ...]:
    """The block's causes, in the order of ``CAUSES``; other labels are not among them."""
    return tuple(cause for cause in CAUSES if cause in one.block.labels)


def thinned(values: Floats, most: int = MOST_MARKS) -> Indexes:
    """The indexes of about so many of the values, in order; all where there are no more.

    Of each run of neighbours the least, the greatest and the middle one are kept, so no extreme is
    hidden.
    """
    if values.size <= most:
        return np.arange(values.size)
    kept: set[int] = set()
    for run in np.array_split(np.arange(values.size), most // 3):
        here = values[run]
        kept |= {int(run[here.argmin()]), int(run[here.argmax()]), int(run[run.size // 2])}
    return np.array(sorted(kept))


def ranges(values: Floats, most: int = MOST_MARKS) -> tuple[Indexes, Floats, Floats]:
    """For about so many runs of neighbours: the middle one's index, the least and the greatest."""
    if values.size <= most:
        return np.arange(values.size), values, values
    runs = np.array_split(np.arange(values.size), most)
    middle = np.array([run[run.size // 2] for run in runs])
    least = np.array([values[run].min() for run in runs])
    return middle, least, np.array([values[run].max() for run in runs])


def axis_end(values: Floats, deadline: float) -> tuple[float, bool]:
    """How far an axis from 0 goes, and whether the deadline is near enough to be on it.

    A few values that are very far do not flatten the rest: ``say_beyond`` tells of them.
    """
    most = float(values.max())
    is_near = deadline <= _FARTHEST_DEADLINE * most
    usual = max(float(np.quantile(values, 0.95)), deadline if is_near else 0.0)
    return 1.12 * max(min(most, _FARTHEST_VALUE * usual), deadline if is_near else 0.0), is_near


def say_beyond(axes: Axes, values: Floats, unit: str) -> None:
    """At the top of a panel, how many values are above it and how far the farthest goes."""
    num = int((values > axes.get_ylim()[1]).sum())
    if num:
        words = f"\N{UPWARDS ARROW} {num} beyond, up to {shown.number(float(values.max()))} {unit}"
        place: dict[str, Any] = {"where": "axes fraction", "ha": "right", "bbox": ON_PAPER}
        say(axes, words, (0.995, 1), (0, -14), fontsize=8, **place)


@dataclass(frozen=True)
class Key:
    """One line of a key: how a thing is drawn, as ``Line2D`` takes it, and what it is."""

    words: str
    look: dict[str, Any]
    is_bold: bool = False


def draw_key(axes: Axes, keys: Sequence[Key]) -> None:
    """At the right of a panel, from its top down: what is drawn in it."""
    figure = axes.figure
    assert isinstance(figure, Figure)
    box = axes.get_position()
    wide, high = figure.get_size_inches()
    left, top = box.x1 + 0.12 / wide, box.y1 - 0.06 / high
    for at, key in enumerate(keys):
        up = top - at * 0.165 / high
        weight = "bold" if key.is_bold else "normal"
        place = (left + 0.3 / wide, up)
        figure.text(*place, key.words, fontsize=8, va="center", fontweight=weight)
        if key.look.get("linestyle") == "none":
            ends = [left + 0.11 / wide]
        else:
            ends = [left, left + 0.22 / wide]
        figure.add_artist(Line2D(ends, [up] * len(ends), **key.look))


def cause_look(cause: Cause) -> dict[str, Any]:
    """How a block with this cause is marked: a hollow sign in ink, of its own shape."""
    return {
        "marker": CAUSE_MARKS[cause],
        "markersize": 6.0,
        "markerfacecolor": "none",
        "markeredgecolor": INK,
        "markeredgewidth": 1.0,
        "linestyle": "none",
    }
