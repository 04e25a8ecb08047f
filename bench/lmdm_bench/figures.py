"""The three figures of a run, drawn from its record alone.

Colour is the scheme and grey is the codec, in every figure; darker and lighter shades are the
stages of the model. A cell that did not end OK is an empty place that says why. The same record
gives the same picture, byte for byte: no clock, no chance and no personal settings come in.
"""

import io
import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lmdm_bench import format as shown
from lmdm_bench.record import Block, Cell, Estimate, Record, write_whole

# The SVG's readers may recolour these four for a dark page.
INK = "#1b2028"
MUTED = "#6d7683"
FAINT = "#d5d9df"
PAPER = "#ffffff"

_WIDTH_INCHES = 9.0
_PNG_DPI = 160
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

# Beyond this many blocks a bar is too thin for the lines between its steps.
_MOST_DELIMITED_BLOCKS = 60
# A deadline further off than this would flatten what was measured: it is named, not drawn.
_FARTHEST_DEADLINE = 3.0
_ON_PAPER = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
_JITTER = (math.sqrt(5) - 1) / 2


def waterfall(record: Record) -> Figure:
    """Every block of every cell in order of making, its stages stacked against the deadline."""
    with _style():
        panels = len(record.cells)
        figure = _canvas(
            record,
            "Where each block's time goes",
            "Coloured: the model. Grey: the codec. Pale and hatched: warm-up, left out of all "
            "figures.",
            height_inches=1.45 + 2.0 * panels,
        )
        highest = _slowest_ms(record)
        grid = figure.subplots(
            panels,
            1,
            squeeze=False,
            sharey=True,
            gridspec_kw=_margins(figure, left=0.75, right=2.45, top=0.98, bottom=0.82)
            | {"hspace": 0.42},
        )
        names = shown.names([one.workload for one in record.cells])
        for axes, cell, name in zip(grid[:, 0], record.cells, names, strict=True):
            _panel_title(axes, name, cell)
            if cell.summary is None:
                _empty_place(axes, cell)
            else:
                _stacked_blocks(axes, cell, highest)
                is_last = cell is _ok(record)[-1]
                axes.set_xlabel("block, in order of making" if is_last else "")
        return figure


def service_time(record: Record) -> Figure:
    """Every measured block as a dot: the whole service time, and the model's part alone."""
    with _style():
        rows = len(record.cells)
        figure = _canvas(
            record,
            "Service time of one block",
            "Dots: measured blocks. Tick and band: the figure and its 95 % interval. "
            "Left of the deadline: made in time.",
            height_inches=1.95 + 0.78 * rows,
        )
        both = figure.subplots(
            1,
            2,
            sharex=True,
            gridspec_kw=_margins(figure, left=1.5, right=0.3, top=1.15, bottom=0.82)
            | {"wspace": 0.12},
        )
        for axes, title in zip(
            both, ("with the codec (median)", "model alone (median)"), strict=True
        ):
            axes.set_title(title, loc="left", fontsize=9.5, fontweight="bold", pad=22)
            axes.set_xlabel("service time of one block, ms")
        longest_ms = max([_slowest_ms(record), *_near_deadlines_ms(record)]) * 1.12
        for row, cell in enumerate(record.cells):
            if cell.summary is None:
                for axes in both:
                    _empty_row(axes, row, cell)
                continue
            measured = _measured(cell)
            whole = [one.service_ms for one in measured]
            model = [one.service_ms - one.codec_decode_ms for one in measured]
            colour = shown.scheme_colour(cell.workload.scheme)
            _dots(both[0], row, whole, cell.summary.service_ms.p50, colour, longest_ms)
            _dots(both[1], row, model, shown.model_ms(cell), colour, longest_ms)
        for axes in both:
            _rows(axes, record, rows)
            _time_axis(axes, longest_ms)
            _deadlines(axes, record)
        both[1].tick_params(labelleft=False)
        return figure


def measured_against_arithmetic(record: Record) -> Figure:
    """What was measured beside what arithmetic says it takes at least, and relative cost."""
    with _style():
        rows = len(record.cells)
        ceiling = record.ceiling
        figure = _canvas(
            record,
            "Measured against arithmetic",
            f"At least: the greater of FLOPs ÷ {shown.gigaflop(ceiling.flops_per_second)}/s and "
            f"bytes ÷ {shown.gigabytes(ceiling.bytes_per_second)}/s, both measured here.",
            height_inches=2.6 + 1.22 * rows,
        )
        grid = figure.add_gridspec(
            2,
            2,
            **_margins(figure, left=1.5, right=0.3, top=1.02, bottom=0.82),
            hspace=(1.0 / (0.61 * rows)),
            wspace=0.14,
        )
        model = figure.add_subplot(grid[0, :])
        codec = figure.add_subplot(grid[1, 0])
        relative = figure.add_subplot(grid[1, 1])
        _against_bound(
            model,
            record,
            shown.model_ms,
            lambda cell: cell.cost.bound_ms,
            lambda cell: shown.scheme_colour(cell.workload.scheme),
        )
        model.set_title("model, per block (median)", loc="left", fontsize=9.5, fontweight="bold")
        model.set_xlabel("time of one block, ms")
        _against_bound(
            codec,
            record,
            lambda cell: cell.summary.stage_ms.get("codec_decode") if cell.summary else None,
            lambda cell: cell.cost.codec_bound_ms,
            lambda cell: shown.CODEC_COLOUR,
        )
        codec.set_title("codec, per block (median)", loc="left", fontsize=9.5, fontweight="bold")
        codec.set_xlabel("time of one block, ms")
        _relative_cost(relative, record)
        return figure


FIGURES: dict[str, Callable[[Record], Figure]] = {
    "waterfall": waterfall,
    "service_time": service_time,
    "arithmetic": measured_against_arithmetic,
}


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
    with _style():
        figure.savefig(content, format=kind, dpi=_PNG_DPI, metadata=metadata)
    return content.getvalue()


@contextmanager
def _style() -> Iterator[None]:
    """Matplotlib's own defaults and ours on top, whatever the user's settings are."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


def _canvas(record: Record, title: str, subtitle: str, height_inches: float) -> Figure:
    """An empty figure with its title above, and its machine and n below."""
    figure = Figure(figsize=(_WIDTH_INCHES, height_inches))

    def at(inches_down: float) -> float:
        return 1 - inches_down / height_inches

    figure.text(0.018, at(0.14), title, fontsize=13.5, fontweight="bold", va="top")
    figure.text(0.018, at(0.44), subtitle, fontsize=9, color=MUTED, va="top")
    figure.text(0.018, 0.1 / height_inches, _footer(record), fontsize=8, color=MUTED, va="bottom")
    return figure


def _footer(record: Record) -> str:
    counts = [len(_measured(cell)) for cell in _ok(record)]
    warmups = [len(cell.blocks) - len(_measured(cell)) for cell in _ok(record)]
    told = (
        f"n = {_from_to(counts)} {'block' if max(counts) == 1 else 'blocks'} each, "
        f"{_from_to(warmups)} warm-up apart"
        if counts
        else "n = 0 blocks"
    )
    dtypes = ", ".join(dict.fromkeys(cell.workload.dtype for cell in record.cells))
    machine = _safe(record.machine.name, 60)
    return (
        f"{machine}  ·  {_safe(dtypes, 30)}  ·  {told}  ·  back to back  ·  {record.created[:10]}"
    )


def _from_to(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low} to {high}"


def _margins(
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


def _ok(record: Record) -> list[Cell]:
    return [cell for cell in record.cells if cell.summary is not None]


def _measured(cell: Cell) -> list[Block]:
    return [one for one in cell.blocks if not one.is_warmup]


def _slowest_ms(record: Record) -> float:
    """The slowest measured block; warm-up blocks may be slower."""
    times = [one.service_ms for cell in _ok(record) for one in _measured(cell)]
    return max(times, default=1.0)


def _deadlines_ms(record: Record) -> list[float]:
    return sorted({cell.workload.block_seconds * 1000 for cell in record.cells})


def _near_deadlines_ms(record: Record) -> list[float]:
    farthest = _FARTHEST_DEADLINE * _slowest_ms(record)
    return [one for one in _deadlines_ms(record) if one <= farthest]


def _safe(text: str, width: int) -> str:
    """Someone else's text, on one line and in letters that the font has."""
    line = shown.plain(text).encode("latin-1", "replace").decode("latin-1")
    return line if len(line) <= width else line[: width - 3].rstrip() + "..."


def _mixed(colour: str, other: str, part: float) -> str:
    """The colour with a part of another one in it."""
    pairs = zip(to_rgb(colour), to_rgb(other), strict=True)
    red, green, blue = ((1 - part) * mine + part * its for mine, its in pairs)
    return to_hex((red, green, blue))


# --- waterfall -------------------------------------------------------------


def _panel_title(axes: Axes, name: str, cell: Cell) -> None:
    colour = shown.scheme_colour(cell.workload.scheme)
    axes.set_title(_safe(name, 60), loc="left", fontsize=10.5, fontweight="bold", color=colour)
    axes.set_ylabel("ms per block")


def _stacked_blocks(axes: Axes, cell: Cell, highest: float) -> None:
    colour = shown.scheme_colour(cell.workload.scheme)
    is_delimited = len(cell.blocks) <= _MOST_DELIMITED_BLOCKS
    bottoms = [0.0] * len(cell.blocks)
    legend: list[tuple[str, str, str]] = []
    for label, shade, hatch, heights in _stages(cell, colour, is_delimited):
        _stack(axes, cell.blocks, bottoms, heights, shade, hatch, is_delimited)
        bottoms = [low + high for low, high in zip(bottoms, heights, strict=True)]
        if label:
            legend.append((label, shade, hatch))
    axes.set_xlim(-0.7, len(cell.blocks) - 0.3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: _block_index(cell, at)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda ms, _: shown.number(ms, _places(ms))))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.grid(axis="y")
    deadline_ms = cell.workload.block_seconds * 1000
    is_near = deadline_ms <= _FARTHEST_DEADLINE * highest
    top = max(highest, deadline_ms if is_near else 0) * 1.12
    axes.set_ylim(0, top)
    for at, block in enumerate(cell.blocks):
        if block.service_ms > top:
            words = f"\N{UPWARDS ARROW} {shown.number(block.service_ms)}"
            axes.text(at, top, words, ha="center", va="top", fontsize=8, bbox=_ON_PAPER)
    if is_near:
        axes.axhline(deadline_ms, color=INK, linewidth=1.3, linestyle=(0, (5, 2.5)))
    _stage_legend(axes, legend, deadline_ms, is_near)


def _stages(
    cell: Cell, colour: str, is_delimited: bool
) -> Iterator[tuple[str, str, str, list[float]]]:
    """Each stage from the bottom up: its label (or none), shade, hatch, and each block's ms."""
    assert cell.summary is not None
    told = cell.summary.stage_ms
    blocks = cell.blocks
    dark, light = _mixed(colour, "#000000", 0.42), _mixed(colour, "#ffffff", 0.42)

    def median(stage: str) -> str:
        one = told.get(stage)
        return "" if one is None or one.value is None else shown.milliseconds(one.value)

    encode = [one.context_encode_ms or 0.0 for one in blocks]
    if any(encode):
        yield f"context encode {median('context_encode')}", dark, "", encode
    is_fused = any(one.commit_ms is None for one in blocks)
    first = "first step, with commit" if is_fused else "first step"
    yield f"{first} {median('first_step')}", colour, "", [one.steps_ms[0] for one in blocks]
    num_later = max(len(one.steps_ms) for one in blocks) - 1
    later = [list(one.steps_ms[1:]) + [0.0] * (num_later + 1 - len(one.steps_ms)) for one in blocks]
    each = median("later_step")
    label = f"later steps {num_later} {shown.TIMES} {each}" if each else f"{num_later} later steps"
    if is_delimited:
        for step in range(num_later):
            yield label if step == 0 else "", light, "", [one[step] for one in later]
    elif num_later:
        yield label, light, "", [sum(one) for one in later]
    commit = [one.commit_ms or 0.0 for one in blocks]
    if any(commit):
        yield f"commit {median('commit')}", dark, "....", commit
    codec = [one.codec_decode_ms for one in blocks]
    yield f"codec decode {median('codec_decode')}", shown.CODEC_COLOUR, "", codec
    yield f"host {median('host')}", INK, "", [one.host_ms for one in blocks]


def _stack(
    axes: Axes,
    blocks: Sequence[Block],
    bottoms: Sequence[float],
    heights: Sequence[float],
    shade: str,
    hatch: str,
    is_delimited: bool,
) -> None:
    half = 0.41 if is_delimited else 0.5
    for is_warmup in (False, True):
        corners = [
            [(at - half, low), (at + half, low), (at + half, low + high), (at - half, low + high)]
            for at, (block, low, high) in enumerate(zip(blocks, bottoms, heights, strict=True))
            if block.is_warmup == is_warmup and high > 0
        ]
        if not corners:
            continue
        axes.add_collection(
            PolyCollection(
                corners,
                facecolors=[(*to_rgb(shade), 0.3 if is_warmup else 1.0)],
                edgecolors=MUTED if is_warmup else PAPER,
                linewidths=(0.4 if is_warmup else 0.6) if is_delimited else 0.0,
                hatch="////" if is_warmup else hatch,
            ),
            autolim=False,
        )


def _stage_legend(
    axes: Axes, legend: list[tuple[str, str, str]], deadline_ms: float, is_near: bool
) -> None:
    """Beside the panel, in the order of the stack: what each shade is, and its median."""
    left, line = 1.02, 0.135
    top = 0.98
    axes.plot(
        [left, left + 0.03],
        [top, top],
        color=INK,
        linewidth=1.3,
        linestyle=(0, (2.6, 1.3)),
        transform=axes.transAxes,
        clip_on=False,
    )
    where = "" if is_near else ", far above"
    axes.text(
        left + 0.042,
        top,
        f"deadline {shown.milliseconds(deadline_ms)}{where}",
        transform=axes.transAxes,
        fontsize=8.5,
        va="center",
        fontweight="bold",
    )
    for index, (label, shade, hatch) in enumerate(reversed(legend), start=1):
        middle = top - index * line
        axes.add_patch(
            Rectangle(
                (left, middle - 0.04),
                0.03,
                0.08,
                transform=axes.transAxes,
                facecolor=shade,
                edgecolor=PAPER,
                hatch=hatch,
                linewidth=0,
                clip_on=False,
            )
        )
        axes.text(left + 0.042, middle, label, transform=axes.transAxes, fontsize=8.5, va="center")


def _block_index(cell: Cell, at: float) -> str:
    index = round(at)
    return f"{cell.blocks[index].block_index}" if 0 <= index < len(cell.blocks) else ""


def _empty_place(axes: Axes, cell: Cell) -> None:
    axes.set_xticks([])
    axes.tick_params(left=False, labelleft=False)
    axes.set_ylabel("")
    axes.set_facecolor("none")
    for spine in axes.spines.values():
        spine.set(visible=True, linestyle=(0, (3, 3)), color=FAINT)
    axes.text(0.5, 0.6, cell.status, transform=axes.transAxes, ha="center", fontweight="bold")
    axes.text(
        0.5,
        0.4,
        _safe(cell.reason or "", 90),
        transform=axes.transAxes,
        ha="center",
        fontsize=8.5,
        color=MUTED,
    )


# --- rows of cells ---------------------------------------------------------


def _rows(axes: Axes, record: Record, rows: int) -> None:
    """One row a cell, the first on top, named at the left in its scheme's colour."""
    names = shown.names([one.workload for one in record.cells])
    axes.set_ylim(rows - 0.45, -0.6)
    axes.set_yticks(range(rows), [_safe(one, 60).replace(", ", "\n") for one in names])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    for label, cell in zip(axes.get_yticklabels(), record.cells, strict=True):
        label.set(color=shown.scheme_colour(cell.workload.scheme), fontweight="bold")


def _empty_row(axes: Axes, row: int, cell: Cell) -> None:
    axes.text(
        0.03,
        row,
        textwrap.fill(f"{cell.status}: {_safe(cell.reason or '', 100)}", 42),
        transform=axes.get_yaxis_transform(),
        va="center",
        fontsize=8.5,
        color=MUTED,
        bbox=_ON_PAPER,
    )


def _dots(
    axes: Axes, row: int, times_ms: list[float], told: Estimate, colour: str, longest_ms: float
) -> None:
    # A golden-ratio sequence: dots stand apart, and stand in the same place every time.
    across = [row + 0.34 * ((index * _JITTER) % 1 - 0.5) for index in range(len(times_ms))]
    axes.scatter(
        times_ms, across, s=26, color=colour, alpha=0.6, linewidths=0.5, edgecolors=PAPER, zorder=3
    )
    if told.value is None:
        return
    if told.ci95 is not None:
        low, high = told.ci95
        axes.add_patch(
            Rectangle((low, row - 0.27), high - low, 0.54, facecolor=colour, alpha=0.28, zorder=2)
        )
    axes.plot([told.value] * 2, [row - 0.27, row + 0.27], color=INK, linewidth=2, zorder=4)
    value, interval = shown.value_and_interval(told)
    part = told.value / longest_ms
    axes.text(
        told.value,
        row - 0.34,
        f"{value} {interval if told.ci95 else '(no interval)'}",
        ha="left" if part < 0.3 else "right" if part > 0.7 else "center",
        va="bottom",
        fontsize=8.5,
        zorder=5,
        bbox=_ON_PAPER,
    )


def _time_axis(axes: Axes, longest_ms: float) -> None:
    axes.set_xlim(0, longest_ms)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda ms, _: shown.number(ms, _places(ms))))


def _places(value: float) -> int:
    return 0 if value == round(value) else 1 if value * 10 == round(value * 10) else 2


def _deadlines(axes: Axes, record: Record) -> None:
    """Each different deadline as a line, or in words where it is far off."""
    near, every = _near_deadlines_ms(record), _deadlines_ms(record)
    for deadline_ms in near:
        axes.axvline(deadline_ms, color=INK, linewidth=1.3, linestyle=(0, (5, 2.5)), zorder=1)
    words = ", ".join(shown.milliseconds(one) for one in every)
    is_far = len(near) < len(every)
    longest_ms = axes.get_xlim()[1]
    at = near[0] if len(every) == 1 and near else longest_ms
    axes.text(
        at,
        -0.65,
        f"deadline {words}{', far to the right' if is_far else ''}",
        ha="center" if 0.3 < at / longest_ms < 0.7 else "right",
        va="bottom",
        fontsize=8.5,
        fontweight="bold",
    )


# --- measured against arithmetic -------------------------------------------


def _against_bound(
    axes: Axes,
    record: Record,
    measured: Callable[[Cell], Estimate | None],
    bound_ms: Callable[[Cell], float],
    colour: Callable[[Cell], str],
) -> None:
    longest = 0.0
    for row, cell in enumerate(record.cells):
        shade, told = colour(cell), measured(cell)
        axes.barh(
            row + 0.2,
            bound_ms(cell),
            0.26,
            facecolor="none",
            edgecolor=shade,
            hatch="\\\\\\\\",
            linewidth=1,
        )
        ends = [bound_ms(cell)]
        if told is None or told.value is None:
            _beside(axes, 0, row - 0.14, _safe(shown.why_not(cell, told), 46), color=MUTED)
        else:
            ends += [told.value, *(told.ci95 or ())]
            axes.barh(row - 0.14, told.value, 0.36, color=shade)
            if told.ci95 is not None:
                axes.plot(told.ci95, [row - 0.14] * 2, color=INK, linewidth=1.6)
        longest = max(longest, *ends)
        text = f"at least {shown.milliseconds(bound_ms(cell))}"
        _beside(axes, bound_ms(cell), row + 0.2, text, color=MUTED)
        if told is not None and told.value is not None:
            times = shown.ratio(shown.over(told.value, bound_ms(cell)))
            value, interval = shown.value_and_interval(told)
            words = f"{value} {interval if told.ci95 else '(no interval)'}  {times}"
            at = max(told.value, *(told.ci95 or (0.0,)))
            _beside(axes, at, row - 0.14, words, fontweight="bold")
    _rows(axes, record, len(record.cells))
    _time_axis(axes, (longest or 1.0) * (1.45 if axes.get_position().width > 0.5 else 2.25))


def _beside(axes: Axes, at: float, row: float, text: str, **kwargs: Any) -> None:
    """Words just to the right of a bar's end."""
    axes.annotate(
        text,
        (at, row),
        (6, 0),
        textcoords="offset points",
        va="center",
        fontsize=8.5,
        bbox=_ON_PAPER,
        annotation_clip=False,
        **kwargs,
    )


def _relative_cost(axes: Axes, record: Record) -> None:
    """Each cell's cost as a part of the first outpaint's: by FLOPs, and as measured."""
    cells = record.cells
    against = next((one for one in cells if one.workload.scheme == "outpaint"), cells[0])
    name = shown.names([one.workload for one in cells])[cells.index(against)]
    whole = shown.model_ms(against).value
    most = 1.0
    for row, cell in enumerate(cells):
        colour = shown.scheme_colour(cell.workload.scheme)
        flops = cell.cost.flops_per_block / against.cost.flops_per_block
        time = shown.model_ms(cell).value
        measured = None if time is None or not whole else time / whole
        words = f"{shown.number(flops, 2)} by FLOPs"
        if measured is not None:
            axes.plot([flops, measured], [row, row], color=colour, linewidth=2, alpha=0.5)
            axes.plot(measured, row, "o", color=colour, markersize=8, zorder=3)
            words += f", {shown.number(measured, 2)} measured"
        else:
            gone = cell if time is None else against
            words += f" ({gone.workload.scheme}: {_safe(shown.model_ms(gone).reason or '', 30)})"
        axes.plot(
            flops, row, "o", markerfacecolor=PAPER, markeredgecolor=colour, markersize=8, zorder=3
        )
        most = max(most, flops, measured or 0.0)
        axes.text(0.02, row - 0.2, words, va="bottom", fontsize=8.5, bbox=_ON_PAPER)
    _rows(axes, record, len(cells))
    axes.tick_params(labelleft=False)
    axes.set_xlim(0, most * 1.1)
    axes.set_title(
        f"relative to {_safe(name, 36)}",
        loc="left",
        fontsize=9.5,
        fontweight="bold",
    )
    axes.set_xlabel("ratio (hollow: FLOPs, full: model time)")
