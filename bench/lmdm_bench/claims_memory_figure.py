"""The figure of the memory that each scheme holds, under that of laptop GPUs."""

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lmdm_bench import format as shown
from lmdm_bench.canvas import INK, MUTED, PAPER, drawing_style, margins, mixed, safe
from lmdm_bench.claim_tests import View
from lmdm_bench.claims import BYTES_PER_GB, LAPTOP_VRAM_GB, MemoryRow, memory_rows
from lmdm_bench.claims_panels import (
    claims_canvas,
    draw_dot,
    empty_panel,
    hollow_mark,
    number_axis,
    panel,
    say,
)
from lmdm_bench.claims_record import ClaimsRecord
from lmdm_bench.record import Footprint

STAGES_OF_MEMORY: dict[str, Callable[[Footprint], int]] = {
    "weights": lambda held: held.weight_bytes,
    "cache": lambda held: held.cache_bytes,
    "activations": lambda held: held.activation_bytes,
    "workspace": lambda held: held.workspace_bytes,
}


def memory(record: ClaimsRecord) -> Figure:
    """What each scheme holds, predicted and measured, under the memory of laptop GPUs."""
    rows = sorted(memory_rows(View(record)), key=lambda one: one.predicted.peak_bytes)
    counts = {len(one.grown_bytes) for one in record.memory if one.status == "OK"}
    told = " to ".join(f"{one}" for one in sorted({min(counts), max(counts)})) if counts else "0"
    with drawing_style():
        figure = claims_canvas(
            record,
            "Memory",
            "Bars are what arithmetic predicts, diamonds the measured peak; right, the same under "
            "what laptop GPUs are sold with.",
            height_inches=5.9,
            times=f"n = {told} processes each",
        )
        left, right = figure.subplots(
            1,
            2,
            gridspec_kw=margins(figure, left=1.15, right=0.62, top=1.05, bottom=2.35)
            | {"wspace": 0.13, "width_ratios": (3.4, 1)},
        )
        if not rows:
            right.set_axis_off()
            empty_panel(left, "no scheme was probed or costed")
            return figure
        _staircase(left, rows, _highest(rows) * 1.28, diamond=7)
        _staircase(right, rows, max(1.06 * max(LAPTOP_VRAM_GB), 1.1 * _highest(rows)), diamond=3.5)
        panel(left, "predicted and measured peak", "", "GB (10⁹ bytes)")
        panel(right, "laptop VRAM, GB", "", "")
        right.set_xticks([])
        right.set_yticks([])
        _memory_table(left, rows)
        return figure


def _highest(rows: Sequence[MemoryRow]) -> float:
    peaks = [one.predicted.peak_bytes for one in rows]
    peaks += [round(one.measured.value) for one in rows if one.measured is not None]
    return max(peaks) / BYTES_PER_GB


def _memory_style(stage: str, scheme: str) -> dict[str, Any]:
    colour = shown.scheme_colour(scheme)
    return {
        "weights": {"facecolor": colour},
        "cache": {"facecolor": mixed(colour, "#000000", 0.42)},
        "activations": {"facecolor": mixed(colour, "#ffffff", 0.5)},
        "workspace": {"facecolor": PAPER, "edgecolor": colour, "hatch": "////"},
    }[stage]


def _staircase(axes: Axes, rows: Sequence[MemoryRow], top: float, diamond: float) -> None:
    for size in LAPTOP_VRAM_GB:
        if size <= top:
            axes.axhline(size, color=INK, linewidth=1.0, linestyle=(0, (5, 2.5)), zorder=1)
            say(axes, f"{size} GB", (1, size), (3, 0), axes.get_yaxis_transform())
    for column, row in enumerate(rows):
        bottom = 0.0
        for stage, part in STAGES_OF_MEMORY.items():
            height = part(row.predicted) / BYTES_PER_GB
            axes.bar(
                column,
                height,
                0.62,
                bottom=bottom,
                linewidth=0.6,
                zorder=2,
                **({"edgecolor": PAPER} | _memory_style(stage, row.scheme)),
            )
            bottom += height
        if row.measured is not None:
            look = hollow_mark(row.scheme) | {"marker": "D", "markersize": diamond}
            look |= {"markeredgecolor": INK, "markeredgewidth": 0.2 * diamond}
            draw_dot(axes, (column, row.measured.value / BYTES_PER_GB), None, look)
    axes.set_xlim(-0.6, len(rows) - 0.4)
    axes.set_ylim(0, top)
    axes.set_xticks([])
    number_axis(axes, "y")
    axes.grid(axis="y")


def _memory_table(axes: Axes, rows: Sequence[MemoryRow]) -> None:
    """Under each bar its numbers, which name the parts of the bar at the left."""
    step = 12.2
    down = -8.0

    def put(column: float, at: float, words: str, **kwargs: Any) -> None:
        where = ("data", "axes fraction")
        say(axes, words, (column, 0), (0, at), where, **({"va": "top", "ha": "center"} | kwargs))

    for column, row in enumerate(rows):
        put(column, down, textwrap.fill(row.scheme, 13), fontweight="bold", linespacing=1.05)
        model = f"{safe(row.model, 14)}\n{shown.millions(row.parameters)}"
        put(column, down - 2 * step, model, color=MUTED, fontsize=8)
    down -= 4.2 * step
    edge = -0.72
    for stage, part in (*STAGES_OF_MEMORY.items(), ("predicted", None)):
        is_sum = part is None
        weight = "bold" if is_sum else "normal"
        put(edge, down, f"{stage}, GB" if is_sum else stage, ha="right", fontweight=weight)
        for column, row in enumerate(rows):
            told = row.predicted.peak_bytes if part is None else part(row.predicted)
            put(column, down, _gb(told), fontweight=weight)
            if not is_sum:
                _swatch(axes, column, down, _memory_style(stage, row.scheme))
        down -= step
    put(edge, down, "◇ measured", ha="right", fontweight="bold")
    for column, row in enumerate(rows):
        words = "not measured" if row.measured is None else _gb(row.measured.value)
        put(column, down, words, fontweight="bold" if row.measured is not None else "normal")
    down -= step
    put(edge, down, "fits into", ha="right")
    for column, row in enumerate(rows):
        enough = next((f"{size} GB" for size, fits in row.fits.items() if fits), "none of these")
        put(column, down, enough)


def _swatch(axes: Axes, column: int, down: float, style: dict[str, Any]) -> None:
    """A small square before a number, looking as the part of the bar that it tells."""
    figure = axes.figure
    box = axes.get_position()
    assert isinstance(figure, Figure)
    width, height = figure.get_size_inches() * 72 * np.array([box.width, box.height])
    low, high = axes.get_xlim()
    middle = (column - low) / (high - low)
    look: dict[str, Any] = {"linewidth": 0.6, "edgecolor": "none", "clip_on": False}
    corner = (middle - 27 / width, (down - 7.4) / height)
    transform = axes.transAxes
    axes.add_patch(Rectangle(corner, 7 / width, 7 / height, transform=transform, **(look | style)))


def _gb(held: float) -> str:
    """Gigabytes with as few digits as tell one scheme from the other."""
    value = held / BYTES_PER_GB
    if value == 0:
        return "0"
    return "<0.001" if value < 0.001 else shown.number(value, 3 if value < 10 else 1)
