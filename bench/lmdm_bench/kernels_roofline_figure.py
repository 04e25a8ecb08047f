"""The figure of rates against what the device can do at best, by arithmetic intensity."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lmdm_bench import format as shown
from lmdm_bench.canvas import INK, MUTED, ON_PAPER, PAPER, drawing_style, margins
from lmdm_bench.claims_panels import empty_panel, log_axis, panel, say
from lmdm_bench.kernel_verdicts import judged_regimes, rates, timing_of
from lmdm_bench.kernels_ratio_figure import kernels_canvas
from lmdm_bench.kernels_record import AttentionCase, KernelsRecord, Regime
from lmdm_bench.kernels_words import REGIME_WORDS, backend_colour, backends, plans

PLAN_MARKERS = "osDv^XP*"
_COLD = 1

Place = tuple[AttentionCase, float]


def roofline(record: KernelsRecord) -> Figure:
    """TFLOP/s on the plan's true area against FLOPs for each byte, alone and cold, and stacked."""
    regimes = judged_regimes(record)[_COLD:]
    with drawing_style():
        figure = kernels_canvas(
            record,
            "Rates under the measured roofline",
            "FLOPs that the plan needs, per second; the roof is what this device was measured to "
            "do a moment before.",
            height_inches=5.4,
        )
        grid = figure.subplots(
            1,
            max(1, len(regimes)),
            squeeze=False,
            sharex=True,
            sharey=True,
            gridspec_kw=margins(figure, left=0.72, right=0.2, top=1.42, bottom=0.88)
            | {"wspace": 0.07},
        )[0]
        found = {
            regime: {name: _places(record, name, regime) for name in backends(record)}
            for regime in regimes
        }
        everything = [place for of in found.values() for one in of.values() for place in one]
        if not everything:
            for axes in grid:
                empty_panel(axes, "nothing was timed to its end")
            return figure
        _limits(grid[0], record, everything)
        for regime, axes in zip(regimes, grid, strict=True):
            _panel(axes, record, regime, found[regime])
        grid[0].set_ylabel("TFLOP/s on the plan's true area", fontsize=9)
        names = [name for name in backends(record) if any(of[name] for of in found.values())]
        _key(figure, names, plans(record))
        return figure


def intensity(case: AttentionCase) -> float:
    """FLOPs for each byte."""
    return case.flops / case.num_bytes


def _places(record: KernelsRecord, name: str, regime: Regime) -> list[Place]:
    return [
        (case, rates(case, timing, record.ceiling).tflops)
        for case, row in record.rows()
        if row.backend == name and (timing := timing_of(row, regime)) is not None
    ]


def _limits(axes: Axes, record: KernelsRecord, places: Sequence[Place]) -> None:
    log_axis(axes, "x")
    log_axis(axes, "y")
    across = [intensity(case) for case, _ in places]
    ups = [up for _, up in places]
    peak = record.ceiling.flops_per_second / 1e12
    axes.set_xlim(min(across) / 1.5, max(across) * 1.5)
    axes.set_ylim(min(ups) / 1.6, max([peak, *ups]) * 1.9)


def _panel(
    axes: Axes, record: KernelsRecord, regime: Regime, found: dict[str, list[Place]]
) -> None:
    panel(axes, REGIME_WORDS[regime], "FLOPs for each byte", "")
    axes.grid(True)
    peak = record.ceiling.flops_per_second
    bandwidth = record.ceiling.bytes_per_second
    ends = np.geomspace(*axes.get_xlim(), 200)
    axes.plot(ends, np.minimum(peak, ends * bandwidth) / 1e12, color=INK, linewidth=1.4, zorder=2)
    words = f"{shown.gigaflop(peak)}/s, {shown.gigabytes(bandwidth)}/s"
    right = axes.get_xlim()[1]
    say(axes, words, (right, peak / 1e12), (-3, 9), ha="right", fontsize=8, bbox=ON_PAPER)
    order = plans(record)
    # The first of the backends is the one that is judged: it lies on top.
    for name, places in reversed(found.items()):
        for plan in order:
            of = [(intensity(case), up) for case, up in places if case.plan == plan]
            axes.plot(
                [across for across, _ in of],
                [up for _, up in of],
                marker=PLAN_MARKERS[order.index(plan) % len(PLAN_MARKERS)],
                markersize=5.0,
                color=backend_colour(name),
                markeredgecolor=PAPER,
                markeredgewidth=0.5,
                linestyle="none",
                alpha=0.85,
                zorder=4,
            )
    if not any(found.values()):
        say(axes, "nothing was timed", (0.5, 0.5), where="axes fraction", ha="center", color=MUTED)


def _key(figure: Figure, names: Sequence[str], of_plans: Sequence[str]) -> None:
    """Two lines under the subtitle: colours are backends, marks are plans."""
    width, height = figure.get_size_inches()
    for down, labels in ((0.78, names), (1.0, of_plans)):
        across = 0.018
        for at, label in enumerate(labels):
            is_plan = labels is of_plans
            axes_at = across + 0.008
            marker = PLAN_MARKERS[at % len(PLAN_MARKERS)] if is_plan else "o"
            colour = MUTED if is_plan else backend_colour(label)
            place = ([axes_at], [1 - down / height])
            figure.add_artist(
                Line2D(*place, marker=marker, color=colour, markersize=6, linestyle="none")
            )
            figure.text(
                axes_at + 0.011, 1 - down / height, label, fontsize=8.5, va="center", color=INK
            )
            across = axes_at + 0.011 + (0.068 * len(label) + 0.16) / width
