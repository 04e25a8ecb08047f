"""The three figures of a run, drawn from its record alone.

Blocks need not be of one length: what stands side by side is told of one second of audio. Colour
is the scheme and grey is the codec, in every figure; darker and lighter shades are the stages of
the model. A cell that did not end OK is an empty place that says why. The same record gives the
same picture, byte for byte: no clock, no chance and no personal settings come in.
"""

import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lmdm_bench import format as shown
from lmdm_bench.canvas import (
    FAINT,
    INK,
    MUTED,
    ON_PAPER,
    PAPER,
    WIDTH_INCHES,
    canvas,
    drawing_style,
    margins,
    mixed,
    safe,
    tick_decimals,
)
from lmdm_bench.estimates import model_ms
from lmdm_bench.record import Block, Cell, Estimate, Record

# Beyond so many blocks or steps a bar is too thin for the lines between its steps.
_MOST_DELIMITED_BLOCKS = 60
_MOST_DELIMITED_STEPS = 20
# A deadline further off than this would flatten what was measured: it is named, not drawn.
_FARTHEST_DEADLINE = 3.0
MS_PER_SECOND = 1000.0
_LONGEST_LABEL = len("encoder-decoder")
# How many letters of a dot's label go across its panel.
_LETTERS_ACROSS = 52
_JITTER = (math.sqrt(5) - 1) / 2


def waterfall(record: Record) -> Figure:
    """Every block of every cell in order of making, its stages stacked against the deadline.

    Each panel is as high as so many blocks are long, so all have their deadline at one height.
    """
    with drawing_style():
        panels = len(record.cells)
        figure = canvas(
            "Where each block's time goes",
            "Coloured: the model. Grey: the codec. Pale and hatched: warm-up, left out of all "
            "figures.",
            footer=_footer(record),
            height_inches=1.45 + 2.0 * panels,
        )
        slowest = _slowest(record)
        highest = max(slowest, 1.0 if _is_deadline_near(record) else 0.0) * 1.12
        grid = figure.subplots(
            panels,
            1,
            squeeze=False,
            gridspec_kw=margins(figure, left=0.75, right=2.45, top=0.98, bottom=0.82)
            | {"hspace": 0.42},
        )
        names = shown.names([one.workload for one in record.cells])
        for axes, cell, name in zip(grid[:, 0], record.cells, names, strict=True):
            _panel_title(axes, name, cell, record)
            if cell.summary is None:
                _empty_place(axes, cell)
            else:
                _stacked_blocks(axes, cell, highest, _is_deadline_near(record))
                is_last = cell is _ok(record)[-1]
                axes.set_xlabel("block, in order of making" if is_last else "")
        return figure


def service_time(record: Record) -> Figure:
    """Every measured block as a dot, by its audio's length: all its work, and the model's alone."""
    with drawing_style():
        rows = len(record.cells)
        figure = canvas(
            "Work for one second of audio",
            "Dots: measured blocks. Tick and band: real-time factor, 95 % interval. "
            "In ms: the median block. Left of the deadline: in time.",
            footer=_footer(record),
            height_inches=1.95 + 0.78 * rows,
        )
        both = figure.subplots(
            1,
            2,
            sharex=True,
            gridspec_kw=margins(figure, left=1.55, right=0.3, top=1.15, bottom=0.82)
            | {"wspace": 0.12},
        )
        titles = ("with the codec: rtf", "model alone: rtf_model")
        for axes, title in zip(both, titles, strict=True):
            axes.set_title(title, loc="left", fontsize=9.5, fontweight="bold", pad=22)
            axes.set_xlabel("seconds of work for one second of audio")
        longest = max(_slowest(record), 1.0 if _is_deadline_near(record) else 0.0) * 1.12
        for axes in both:
            _time_axis(axes, longest)
        for row, cell in enumerate(record.cells):
            if cell.summary is None:
                for axes in both:
                    _empty_row(axes, row, cell)
                continue
            measured = _measured(cell)
            block_ms = _block_ms(cell)
            whole = [one.service_ms / block_ms for one in measured]
            model = [model_ms(one) / block_ms for one in measured]
            p50 = cell.summary.service_ms.p50
            if cell.summary.rtf.value is None:
                _empty_row(both[0], row, cell)
            else:
                _dots(both[0], row, cell, whole, (cell.summary.rtf, p50))
            _dots(both[1], row, cell, model, (cell.summary.rtf_model, shown.model_ms(cell)))
        for axes in both:
            _rows(axes, record, rows)
            _deadline(axes, _is_deadline_near(record))
        both[1].tick_params(labelleft=False)
        return figure


def measured_against_arithmetic(record: Record) -> Figure:
    """What was measured beside what arithmetic says it takes at least, and relative cost."""
    with drawing_style():
        rows = len(record.cells)
        ceiling = record.ceiling
        figure = canvas(
            "Measured against arithmetic",
            f"At least: the greater of FLOPs ÷ {shown.gigaflop(ceiling.flops_per_second)}/s and "
            f"bytes ÷ {shown.gigabytes(ceiling.bytes_per_second)}/s, both measured here.",
            footer=_footer(record),
            height_inches=2.6 + 1.22 * rows,
        )
        grid = figure.add_gridspec(
            2,
            2,
            **margins(figure, left=1.55, right=0.3, top=1.02, bottom=0.82),
            hspace=(1.0 / (0.61 * rows)),
            wspace=0.14,
        )
        model = figure.add_subplot(grid[0, :])
        codec = figure.add_subplot(grid[1, 0])
        relative = figure.add_subplot(grid[1, 1])
        _against_bound(model, record, _model_bars)
        model.set_title("model (median)", loc="left", fontsize=9.5, fontweight="bold")
        model.set_xlabel("work for one second of audio, ms")
        _against_bound(codec, record, _codec_bars)
        codec.set_title("codec (median)", loc="left", fontsize=9.5, fontweight="bold")
        codec.set_xlabel("work for one second of audio, ms")
        _relative_cost(relative, record)
        return figure


FIGURES: dict[str, Callable[[Record], Figure]] = {
    "waterfall": waterfall,
    "service_time": service_time,
    "arithmetic": measured_against_arithmetic,
}


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
    machine = safe(record.machine.name, 60)
    return f"{machine}  ·  {safe(dtypes, 30)}  ·  {told}  ·  back to back  ·  {record.created[:10]}"


def _from_to(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low} to {high}"


def _ok(record: Record) -> list[Cell]:
    return [cell for cell in record.cells if cell.summary is not None]


def _measured(cell: Cell) -> list[Block]:
    return [one for one in cell.blocks if not one.is_warmup]


def _block_ms(cell: Cell) -> float:
    """The block's own length in audio, which is its deadline."""
    return cell.workload.block_seconds * MS_PER_SECOND


def _slowest(record: Record) -> float:
    """Service time ÷ block length of the slowest measured block; warm-up blocks may be slower."""
    times = [one.service_ms / _block_ms(cell) for cell in _ok(record) for one in _measured(cell)]
    return max(times, default=1.0)


def _is_deadline_near(record: Record) -> bool:
    return _FARTHEST_DEADLINE * _slowest(record) >= 1.0


# --- waterfall -------------------------------------------------------------


def _panel_title(axes: Axes, name: str, cell: Cell, record: Record) -> None:
    axes.set_title(safe(name, 60), loc="left", fontsize=10.5, fontweight="bold")
    _mark(axes, (-0.012, 1.045), (0.006, 0.135), cell)
    if len({one.workload.block_seconds for one in record.cells}) > 1:
        length = f"ms per block of {shown.seconds(cell.workload.block_seconds)}"
        axes.set_ylabel(length, fontsize=8.5)
    else:
        axes.set_ylabel("ms per block")


def _mark(axes: Axes, corner: tuple[float, float], size: tuple[float, float], cell: Cell) -> None:
    """A bar in the scheme's colour, beside words that are in ink to be legible on any page."""
    axes.add_patch(
        Rectangle(
            corner,
            *size,
            transform=axes.transAxes,
            facecolor=shown.scheme_colour(cell.workload.scheme),
            linewidth=0,
            clip_on=False,
        )
    )


def _stacked_blocks(axes: Axes, cell: Cell, highest: float, is_near: bool) -> None:
    """Bars in milliseconds on an axis that is ``highest`` blocks' lengths high."""
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
    axes.yaxis.set_major_formatter(FuncFormatter(lambda ms, _: shown.number(ms, tick_decimals(ms))))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    axes.grid(axis="y")
    deadline_ms = _block_ms(cell)
    top = highest * deadline_ms
    axes.set_ylim(0, top)
    for at, block in enumerate(cell.blocks):
        if block.service_ms > top:
            words = f"\N{UPWARDS ARROW} {shown.number(block.service_ms)}"
            axes.text(at, top, words, ha="center", va="top", fontsize=8, bbox=ON_PAPER)
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
    dark, light = mixed(colour, "#000000", 0.42), mixed(colour, "#ffffff", 0.42)

    def median(stage: str) -> str:
        one = told.get(stage)
        return "" if one is None or one.value is None else shown.milliseconds(one.value)

    encode = [one.context_encode_ms or 0.0 for one in blocks]
    if any(encode):
        yield f"context encode {median('context_encode')}", dark, "", encode
    word = "frame" if shown.is_lmm(cell.workload) else "step"
    is_fused = word == "step" and any(one.commit_ms is None for one in blocks)
    first = f"first {word}{', with commit' if is_fused else ''}"
    yield f"{first} {median('first_step')}", colour, "", [one.steps_ms[0] for one in blocks]
    num_later = max(len(one.steps_ms) for one in blocks) - 1
    later = [list(one.steps_ms[1:]) + [0.0] * (num_later + 1 - len(one.steps_ms)) for one in blocks]
    each, words = median("later_step"), f"later {word}s"
    label = f"{words} {num_later} {shown.TIMES} {each}" if each else f"{num_later} {words}"
    if is_delimited and num_later <= _MOST_DELIMITED_STEPS:
        for step in range(num_later):
            yield label if step == 0 else "", light, "", [one[step] for one in later]
    elif num_later:
        yield label, light, "", [sum(one) for one in later]
    commit = [one.commit_ms or 0.0 for one in blocks]
    if any(commit):
        yield f"commit {median('commit')}", dark, "....", commit
    codec = [one.codec_decode_ms or 0.0 for one in blocks]
    if any(codec):
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
        safe(cell.reason or "", 90),
        transform=axes.transAxes,
        ha="center",
        fontsize=8.5,
        color=MUTED,
    )


# --- rows of cells ---------------------------------------------------------


def _rows(axes: Axes, record: Record, rows: int) -> None:
    """One row a cell, the first on top, named at the left beside its scheme's colour."""
    names = shown.names([one.workload for one in record.cells])
    axes.set_ylim(rows - 0.45, -0.6)
    axes.set_yticks(range(rows), [_folded(one) for one in names])
    axes.tick_params(axis="y", length=0, pad=11)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    width_inches = axes.get_position().width * WIDTH_INCHES
    left, right = -0.09 / width_inches, -0.045 / width_inches
    for label, (row, cell) in zip(axes.get_yticklabels(), enumerate(record.cells), strict=True):
        label.set(fontweight="bold")
        place = 1 - (row + 0.22 + 0.6) / (rows - 0.45 + 0.6)
        _mark(axes, (left, place), (right - left, 0.44 / (rows - 0.45 + 0.6)), cell)


def _folded(name: str) -> str:
    """A name on as many lines as it takes, broken between its parts and at hyphens."""
    parts = safe(name, 60).split(", ")
    return "\n".join(textwrap.fill(one, _LONGEST_LABEL) for one in parts)


def _empty_row(axes: Axes, row: int, cell: Cell) -> None:
    told = cell.summary.rtf if cell.summary else None
    axes.text(
        0.03,
        row,
        textwrap.fill(safe(shown.why_not(cell, told), 110), 42),
        transform=axes.get_yaxis_transform(),
        va="center",
        fontsize=8.5,
        color=MUTED,
        bbox=ON_PAPER,
    )


def _dots(
    axes: Axes, row: int, cell: Cell, times: list[float], told: tuple[Estimate, Estimate]
) -> None:
    """A cell's blocks by their length, its real-time factor, and its block's median in words."""
    factor, median_ms = told
    longest = axes.get_xlim()[1]
    colour = shown.scheme_colour(cell.workload.scheme)
    # A golden-ratio sequence: dots stand apart, and stand in the same place every time.
    across = [row + 0.34 * ((index * _JITTER) % 1 - 0.5) for index in range(len(times))]
    axes.scatter(
        times, across, s=26, color=colour, alpha=0.6, linewidths=0.5, edgecolors=PAPER, zorder=3
    )
    assert factor.value is not None
    if factor.ci95 is not None:
        low, high = factor.ci95
        axes.add_patch(
            Rectangle((low, row - 0.27), high - low, 0.54, facecolor=colour, alpha=0.28, zorder=2)
        )
    axes.plot([factor.value] * 2, [row - 0.27, row + 0.27], color=INK, linewidth=2, zorder=4)
    value, interval = shown.rtf_and_interval(factor)
    median = "" if median_ms.value is None else f", median {shown.milliseconds(median_ms.value)}"
    words = f"{value} {interval if factor.ci95 else '(no interval)'}{median}"
    # Over its tick, as far as it then stays inside the panel.
    half = 0.5 * len(words) / _LETTERS_ACROSS * longest
    axes.text(
        min(max(factor.value, half), longest - half),
        row - 0.34,
        words,
        ha="center",
        va="bottom",
        fontsize=8.5,
        zorder=5,
        bbox=ON_PAPER,
    )


def _time_axis(axes: Axes, longest: float) -> None:
    axes.set_xlim(0, longest)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: shown.number(at, tick_decimals(at))))


def _deadline(axes: Axes, is_near: bool) -> None:
    """The deadline of every cell as a line at 1, or in words where it is far off."""
    longest = axes.get_xlim()[1]
    at = 1.0 if is_near else longest
    if is_near:
        axes.axvline(at, color=INK, linewidth=1.3, linestyle=(0, (5, 2.5)), zorder=1)
    axes.text(
        at,
        -0.65,
        "deadline" if is_near else "deadline 1, far to the right",
        ha="left" if at / longest < 0.3 else "center" if at / longest < 0.7 else "right",
        va="bottom",
        fontsize=8.5,
        fontweight="bold",
    )


# --- measured against arithmetic -------------------------------------------


@dataclass(frozen=True)
class _Bars:
    """What a block took and what it takes at least, in milliseconds, each None if there is none."""

    took: Estimate | None
    bound_ms: float | None
    shade: str


def _model_bars(cell: Cell) -> _Bars:
    colour = shown.scheme_colour(cell.workload.scheme)
    return _Bars(shown.model_ms(cell), cell.cost.bound_ms, colour)


def _codec_bars(cell: Cell) -> _Bars:
    took = cell.summary.stage_ms.get("codec_decode") if cell.summary else None
    bound_ms = cell.cost.codec.bound_ms if cell.cost.codec else None
    return _Bars(took, bound_ms, shown.CODEC_COLOUR)


def _against_bound(axes: Axes, record: Record, bars: Callable[[Cell], _Bars]) -> None:
    """Each cell's two bars, drawn for one second of its audio."""
    longest = 0.0
    for row, cell in enumerate(record.cells):
        longest = max(longest, _pair(axes, row, cell, bars(cell)))
    _rows(axes, record, len(record.cells))
    _time_axis(axes, (longest or 1.0) * (1.45 if axes.get_position().width > 0.5 else 2.25))


def _pair(axes: Axes, row: int, cell: Cell, bars: _Bars) -> float:
    """One row of ``_against_bound``; returns how far it reaches."""
    if bars.bound_ms is None:
        _beside(axes, 0, row, safe(shown.why_not(cell, bars.took), 46), color=MUTED)
        return 0.0
    seconds = cell.workload.block_seconds
    bound = bars.bound_ms / seconds
    axes.barh(
        row + 0.2,
        bound,
        0.26,
        facecolor="none",
        edgecolor=bars.shade,
        hatch="\\\\\\\\",
        linewidth=1,
    )
    _beside(axes, bound, row + 0.2, f"at least {shown.milliseconds(bound)}", color=MUTED)
    if bars.took is None or bars.took.value is None:
        _beside(axes, 0, row - 0.14, safe(shown.why_not(cell, bars.took), 46), color=MUTED)
        return bound
    told = shown.per_second(bars.took, seconds)
    assert told.value is not None
    axes.barh(row - 0.14, told.value, 0.36, color=bars.shade)
    if told.ci95 is not None:
        axes.plot(told.ci95, [row - 0.14] * 2, color=INK, linewidth=1.6)
    value, interval = shown.value_and_interval(told)
    times = shown.ratio(shown.over(told.value, bound))
    words = f"{value} {interval if told.ci95 else '(no interval)'}  {times}"
    end = max(told.value, *(told.ci95 or (0.0,)))
    _beside(axes, end, row - 0.14, words, fontweight="bold")
    return max(bound, end)


def _beside(axes: Axes, at: float, row: float, text: str, **kwargs: Any) -> None:
    """Words just to the right of a bar's end."""
    axes.annotate(
        text,
        (at, row),
        (6, 0),
        textcoords="offset points",
        va="center",
        fontsize=8.5,
        bbox=ON_PAPER,
        annotation_clip=False,
        **kwargs,
    )


def _relative_cost(axes: Axes, record: Record) -> None:
    """Each cell's cost as a part of the first outpaint's, both for one second of audio."""
    cells = record.cells
    against = next((one for one in cells if one.workload.scheme == "outpaint"), cells[0])
    name = shown.names([one.workload for one in cells])[cells.index(against)]
    whole = shown.rtf_model(against).value
    most = 1.0
    for row, cell in enumerate(cells):
        colour = shown.scheme_colour(cell.workload.scheme)
        flops = _flops_per_second(cell) / _flops_per_second(against)
        time = shown.rtf_model(cell).value
        measured = None if time is None or not whole else time / whole
        words = f"{shown.number(flops, 2)} by FLOPs"
        if measured is not None:
            axes.plot([flops, measured], [row, row], color=colour, linewidth=2, alpha=0.5)
            axes.plot(measured, row, "o", color=colour, markersize=8, zorder=3)
            words += f", {shown.number(measured, 2)} measured"
        else:
            gone = cell if time is None else against
            words += f" ({gone.workload.scheme}: {safe(shown.rtf_model(gone).reason or '', 30)})"
        axes.plot(
            flops, row, "o", markerfacecolor=PAPER, markeredgecolor=colour, markersize=8, zorder=3
        )
        most = max(most, flops, measured or 0.0)
        axes.text(0.02, row - 0.2, words, va="bottom", fontsize=8.5, bbox=ON_PAPER)
    _rows(axes, record, len(cells))
    axes.tick_params(labelleft=False)
    axes.set_xlim(0, most * 1.1)
    axes.set_title(
        f"relative to {safe(name, 36)}",
        loc="left",
        fontsize=9.5,
        fontweight="bold",
    )
    axes.set_xlabel("ratio for 1 s of audio (hollow: FLOPs, full: rtf_model)", fontsize=9)


def _flops_per_second(cell: Cell) -> float:
    return cell.cost.flops_per_block / cell.workload.block_seconds
