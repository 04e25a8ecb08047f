"""The figure of a block's memory: what is held over time, by stage, and what its peak is made of.

The same profile gives the same picture, byte for byte. No torch.
"""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lmdm_bench import format as shown
from lmdm_bench.canvas import (
    FAINT,
    INK,
    MUTED,
    ON_PAPER,
    PAPER,
    canvas,
    drawing_style,
    margins,
    mixed,
    safe,
    tick_decimals,
)
from lmdm_bench.memory_profile_words import CODEC_ACTIVATIONS, MODEL_ACTIVATIONS, mebibytes
from lmdm_bench.memory_timeline import Held, MemoryTimeline, StageMemory, stage_peaks
from lmdm_bench.profile_record import MemoryProfile

MIB = 2**20
_MOST_HELD = 6
_HEIGHT_INCHES = 6.1
# In inches: the timeline's left edge, the first line of the key above the bottom, and a line.
_LEFT, _KEY, _KEY_LINE = 0.75, 2.36, 0.19
# A peak below this part of the highest is a dot without words; the key has them.
_LEAST_TOLD = 0.1
_DASHED: dict[str, Any] = {"color": INK, "linewidth": 1.3, "linestyle": (0, (4, 2))}


def memory_figure(profile: MemoryProfile) -> Figure:
    """The timeline of the block above, what is held at its peak below."""
    facts, timeline = profile.facts, profile.timeline
    with drawing_style():
        slower = shown.ratio(facts.profiled_ms / facts.plain_ms)
        figure = canvas(
            f"What a block of {safe(facts.workload.scheme, 30)} holds while it is made",
            f"Allocated by torch beyond the {mebibytes(profile.resident_bytes)} of weights and "
            f"cache. Times are the profiler's, {slower} those of a plain block.",
            footer=_footer(profile),
            height_inches=_HEIGHT_INCHES,
        )
        colour = shown.scheme_colour(facts.workload.scheme)
        above = figure.add_gridspec(
            1, 1, **margins(figure, left=_LEFT, right=0.35, top=0.86, bottom=2.92)
        )
        below = figure.add_gridspec(
            1, 1, **margins(figure, left=3.55, right=1.6, top=4.52, bottom=0.45)
        )
        over_time = figure.add_subplot(above[0])
        _draw_levels(over_time, timeline, colour)
        for _, num_bytes, begin_ms, end_ms in _predictions(profile):
            over_time.plot([begin_ms, end_ms], [num_bytes / MIB] * 2, zorder=4, **_DASHED)
        _draw_key(figure, profile, colour)
        _draw_held(figure.add_subplot(below[0]), timeline, colour)
        return figure


def _footer(profile: MemoryProfile) -> str:
    facts, timeline = profile.facts, profile.timeline
    of = f"block {timeline.block_index + 1} of {len(profile.peaks_bytes)} profiled"
    parts = (
        safe(facts.machine.name, 48),
        safe(facts.workload.model, 20),
        safe(facts.dtype.value, 20),
        of,
        facts.created[:10],
    )
    return "  ·  ".join(parts)


def _draw_levels(axes: Axes, timeline: MemoryTimeline, colour: str) -> None:
    """The level as steps over bands in the stages' colours, and the peak of each stage."""
    times = [*timeline.times_ms, timeline.block_ms]
    levels = [one / MIB for one in (*timeline.allocated_bytes, timeline.end_bytes)]
    # A prediction far above what was measured would flatten it, and stands in the key alone.
    top = 1.28 * max(timeline.peak_bytes, 1) / MIB
    axes.fill_between(times, levels, step="post", color=FAINT, linewidth=0)
    for stage in timeline.stages:
        look = _look(stage.name, colour)
        axes.axvspan(stage.begin_ms, stage.end_ms, **look, alpha=0.16, linewidth=0)
        first, last = (bisect_right(times, ms) for ms in (stage.begin_ms, stage.end_ms))
        part = [stage.begin_ms, *times[first:last], stage.end_ms]
        heights = [*levels[first - 1 : last], levels[last - 1]]
        axes.fill_between(part, heights, step="post", linewidth=0, **look)
    axes.step(times, levels, where="post", color=INK, linewidth=0.7)
    for stage in stage_peaks(timeline).values():
        _mark_peak(axes, stage, timeline)
    axes.set_xlim(0, timeline.block_ms)
    axes.set_ylim(0, top)
    axes.set_ylabel("allocated, MiB")
    axes.set_xlabel("ms since the block began")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(
            FuncFormatter(lambda one, _: shown.number(one, tick_decimals(one)))
        )
    axes.grid(axis="y")


def _mark_peak(axes: Axes, stage: StageMemory, timeline: MemoryTimeline) -> None:
    peak = stage.peak_bytes / MIB
    axes.plot(stage.peak_ms, peak, "o", color=INK, markersize=3.5, zorder=5)
    if stage.peak_bytes < _LEAST_TOLD * timeline.peak_bytes:
        return
    share = stage.peak_ms / timeline.block_ms
    side = "left" if share < 0.1 else "right" if share > 0.9 else "center"
    axes.annotate(
        mebibytes(stage.peak_bytes),
        (stage.peak_ms, peak),
        (0, 4),
        textcoords="offset points",
        ha=side,
        fontsize=8,
        bbox=ON_PAPER,
        zorder=6,
    )


def _predictions(profile: MemoryProfile) -> Iterator[tuple[str, int, float, float]]:
    """What arithmetic says of activations, and from when to when it says it, in ms."""
    codec_name = shown.STAGES["codec_decode"]
    for one in profile.compared:
        is_codec = one.name == CODEC_ACTIVATIONS
        stages = [at for at in profile.timeline.stages if (at.name == codec_name) == is_codec]
        if one.name in (MODEL_ACTIVATIONS, CODEC_ACTIVATIONS) and stages and one.predicted_bytes:
            word = "codec" if is_codec else "model"
            yield word, one.predicted_bytes, stages[0].begin_ms, stages[-1].end_ms


def _draw_key(figure: Figure, profile: MemoryProfile, colour: str) -> None:
    """Under the timeline, what the colours and the dashes are."""
    wide, high = figure.get_size_inches()
    across, up = _LEFT, _KEY
    for stage in stage_peaks(profile.timeline).values():
        words = f"{stage.name} {mebibytes(stage.peak_bytes)}"
        needed = 0.42 + 0.068 * len(words)
        if across + needed > wide:
            across, up = _LEFT, up - _KEY_LINE
        corner = (across / wide, (up - 0.045) / high)
        look = {"edgecolor": PAPER, **_look(stage.name, colour)}
        figure.add_artist(Rectangle(corner, 0.16 / wide, 0.09 / high, linewidth=0, **look))
        figure.text((across + 0.22) / wide, up / high, words, fontsize=8.5, va="center")
        across += needed
    told = [f"{mebibytes(num)} of the {word}" for word, num, _, _ in _predictions(profile)]
    if told:
        up = (up - _KEY_LINE) / high
        figure.add_artist(Line2D([_LEFT / wide, (_LEFT + 0.26) / wide], [up, up], **_DASHED))
        words = f"activations by arithmetic: {', '.join(told)}"
        figure.text((_LEFT + 0.33) / wide, up, words, fontsize=8.5, va="center")


def _draw_held(axes: Axes, timeline: MemoryTimeline, colour: str) -> None:
    """A bar for each line that holds much at the peak."""
    held = timeline.held[:_MOST_HELD]
    title = f"held at the peak of {mebibytes(timeline.peak_bytes)}"
    axes.set_title(title, loc="left", fontsize=9.5, fontweight="bold")
    stages = [one.name for one in timeline.stages if one.peak_ms == timeline.peak_ms]
    look = _look(stages[0], colour) if stages else {"facecolor": MUTED}
    rest = timeline.held_bytes - sum(one.num_bytes for one in held)
    names = [_name(one) for one in held]
    sizes = [one.num_bytes for one in held]
    if rest > 0:
        names, sizes = [*names, "all others"], [*sizes, rest]
    for row, size in enumerate(sizes):
        is_copy = row < len(held) and held[row].is_copy
        axes.barh(
            row,
            size / MIB,
            0.66,
            facecolor=look["facecolor"] if row < len(held) else FAINT,
            edgecolor=PAPER,
            linewidth=0,
            hatch="//////" if is_copy else "",
        )
        words = f"{mebibytes(size)}{', a copy' if is_copy else ''}"
        axes.annotate(
            words,
            (size / MIB, row),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            annotation_clip=False,
        )
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(max(len(names), 2) - 0.4, -0.6)
    axes.tick_params(axis="both", length=0)
    axes.set_xticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _name(one: Held) -> str:
    return safe(f"{one.where}  {one.operator.removeprefix('aten::')}", 54)


def _look(stage: str, colour: str) -> dict[str, Any]:
    """Colours as in a run's waterfall: the model's in the scheme's colour, the codec in grey."""
    dark, light = mixed(colour, "#000000", 0.42), mixed(colour, PAPER, 0.42)
    looks: dict[str, dict[str, Any]] = {
        "context encode": {"facecolor": dark},
        "commit": {"facecolor": dark, "hatch": "...."},
        shown.STAGES["codec_decode"]: {"facecolor": shown.CODEC_COLOUR},
    }
    is_first = stage.startswith("first")
    return looks.get(stage, {"facecolor": colour if is_first else light})
