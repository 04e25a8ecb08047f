"""The figure of the worst blocks and their neighbours: stages, deadlines and what the ring held."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lmdm_bench import format as shown
from lmdm_bench.canvas import INK, MUTED, ON_PAPER, PAPER, mixed
from lmdm_bench.check_panels import (
    CAUSE_WORDS,
    MS_PER_SECOND,
    Floats,
    Part,
    Sheet,
    causes_of,
    clock_words,
    figure_of_cells,
    is_late,
    late_words,
    small_axes,
    span_words,
)
from lmdm_bench.check_record import CheckCell, CheckRecord, CheckSettings, PacedBlock, Policy
from lmdm_bench.claims_panels import number_axis, say
from lmdm_bench.dropouts import measured_dropouts
from lmdm_bench.record import Block

NUM_WINDOWS = 3
# So many blocks on each side of a worst one.
NUM_NEIGHBOURS = 2

_LEFT, _WIDTH, _BETWEEN = 0.72, 2.42, 0.45
_TITLE, _BLOCKS, _GAP, _RING = 0.42, 1.3, 0.1, 0.5
_BELOW = 0.84
_ROW = 0.62
# Deadlines further off than so many blocks' lengths are told in words.
_FARTHEST_BLOCKS = 3.0
_NUM_PLACES = 300
# The words of a deadline take this part of a panel's width.
_ROOM_FOR_WORDS = 0.38

Window = tuple[int, range]


def waterfall(record: CheckRecord) -> Figure:
    """Up to three worst blocks of each cell, each with its neighbours against their deadlines."""
    return figure_of_cells(
        record,
        Sheet(
            "What happened at the worst moments?",
            "A row is a block, from when it was begun to when it was ready; the tick is when it "
            "was due. Below: sound left to play.",
            _TITLE + _BLOCKS + _GAP + _RING + _BELOW,
            partial(_draw, record.settings),
        ),
    )


def worst_windows(cell: CheckCell, settings: CheckSettings) -> tuple[Window, ...]:
    """Up to three worst blocks, each with the range of its neighbours.

    They are the latest block of each dropout, worst first, then the one with which the worst
    dropout began, then other late ones; the slowest where none was late. A block that is already
    shown as a neighbour is passed over.
    """
    num = len(cell.blocks)
    windows: list[Window] = []
    for at in _worst_first(cell, settings):
        if all(at not in blocks for _, blocks in windows):
            begin = max(0, min(at - NUM_NEIGHBOURS, num - 2 * NUM_NEIGHBOURS - 1))
            windows.append((at, range(begin, min(num, begin + 2 * NUM_NEIGHBOURS + 1))))
        if len(windows) == NUM_WINDOWS:
            break
    return tuple(windows)


def _worst_first(cell: CheckCell, settings: CheckSettings) -> list[int]:
    lateness = np.array([one.lateness_ms for one in cell.blocks])
    late = np.flatnonzero(is_late(cell, settings))
    if not late.size:
        return np.argsort(-np.array(cell.service_ms), kind="stable").tolist()
    runs = np.split(late, np.flatnonzero(np.diff(late) > 1) + 1)
    runs.sort(key=lambda run: -lateness[run].max())
    latest = [int(run[lateness[run].argmax()]) for run in runs]
    return [*latest, int(runs[0][0]), *late[np.argsort(-lateness[late], kind="stable")].tolist()]


def ring_level_ms(
    blocks: Sequence[PacedBlock], block_ms: float, policy: Policy, at: Floats
) -> Floats:
    """How much of the blocks that were ready was still to be played, at each instant.

    Both in ms from the first start. A block that comes late is played from its middle on or, with
    ``stall``, whole.
    """
    ready = np.array([one.ready_ms for one in blocks])[:, None]
    begin = np.array([one.deadline_ms for one in blocks])[:, None]
    if policy == "stall":
        begin = np.maximum(begin, ready)
    left = np.clip(begin + block_ms - np.maximum(at, begin), 0.0, block_ms)
    level: Floats = np.where(ready <= at, left, 0.0).sum(axis=0)
    return level


def _draw(settings: CheckSettings, part: Part, cell: CheckCell) -> Iterator[str]:
    windows = worst_windows(cell, settings)
    for column, (worst, blocks) in enumerate(windows):
        left = _LEFT + column * (_WIDTH + _BETWEEN)
        above = part.panel(left, _TITLE, _WIDTH, _BLOCKS)
        below = part.panel(left, _TITLE + _BLOCKS + _GAP, _WIDTH, _RING, sharex=above)
        _draw_window(above, cell, worst, blocks)
        _draw_ring(below, cell, settings.policy, cell.blocks[blocks[0]].started_ms)
        if column == 0:
            above.set_ylabel("block", fontsize=8.5)
            below.set_ylabel(f"ring, {_ring_unit(cell)[1]}", fontsize=8.5)
    _draw_key(part, cell)
    return _facts(settings, cell)


def _facts(settings: CheckSettings, cell: CheckCell) -> Iterator[str]:
    found = measured_dropouts(cell, settings.prebuffer_blocks, settings.policy)
    yield f"{shown.blocks(len(cell.blocks))} of {span_words(cell.block_ms)}"
    yield late_words(found)
    if found.num_misses:
        yield "shown: the latest of each dropout, and where the worst one began"
    else:
        yield "shown: the slowest, with their neighbours"


# --- blocks ------------------------------------------------------------------


def _draw_window(axes: Axes, cell: CheckCell, worst: int, window: range) -> None:
    """A row for each block: its stages one after the other, and the instant at which it was due."""
    origin_ms = cell.blocks[window[0]].started_ms
    shown_blocks = [cell.blocks[at] for at in window]
    end_ms = max(one.ready_ms for one in shown_blocks)
    far_ms = _FARTHEST_BLOCKS * cell.block_ms
    near = [
        one.deadline_ms
        for one in shown_blocks
        if origin_ms - far_ms <= one.deadline_ms <= end_ms + far_ms
    ]
    ends = min([origin_ms, *near]), max([end_ms, *near])
    margin = 0.04 * (ends[1] - ends[0])
    _title(axes, cell.blocks[worst])
    small_axes(axes)
    axes.grid(False)
    unit_ms = MS_PER_SECOND
    axes.set_xlim(*((one - origin_ms) / unit_ms for one in (ends[0] - margin, ends[1] + margin)))
    axes.set_ylim(2 * NUM_NEIGHBOURS + 0.5, -0.5)
    axes.set_yticks(range(len(window)), [str(one.block.block_index) for one in shown_blocks])
    axes.get_yticklabels()[worst - window[0]].set_fontweight("bold")
    axes.tick_params(axis="y", length=0)
    axes.tick_params(labelbottom=False)
    for row, one in enumerate(shown_blocks):
        begin = (one.started_ms - origin_ms) / unit_ms
        for stage, took_ms in stages_of(one.block):
            axes.barh(row, took_ms / unit_ms, _ROW, left=begin, **_look(stage, cell))
            begin += took_ms / unit_ms
        _draw_deadline(axes, row, one, origin_ms)


def _title(axes: Axes, worst: PacedBlock) -> None:
    late = worst.lateness_ms
    how = f"{span_words(late)} late" if late > 0 else f"took {span_words(worst.block.service_ms)}"
    words = f"block {worst.block.block_index} at {clock_words(worst.started_ms)}: {how}"
    axes.set_title(words, loc="left", fontsize=9, fontweight="bold", pad=15)
    causes = ", ".join(CAUSE_WORDS[one] for one in causes_of(worst)) or "no cause was counted"
    say(axes, causes, (0, 1), (0, 7), "axes fraction", fontsize=8, color=MUTED)


def _draw_deadline(axes: Axes, row: int, one: PacedBlock, origin_ms: float) -> None:
    """A tick at the instant, and from there on how late the block was; words if it is far off."""
    low, high = axes.get_xlim()
    begin, ready, due = (
        (at - origin_ms) / MS_PER_SECOND for at in (one.started_ms, one.ready_ms, one.deadline_ms)
    )
    half = _ROW / 2 + 0.12
    if low <= due <= high:
        axes.plot([due, due], [row - half, row + half], color=INK, linewidth=1.8, zorder=4)
        if one.lateness_ms > 0:
            axes.barh(row + half - 0.07, ready - due, 0.14, left=due, color=INK, zorder=4)
        return
    words = f"due {span_words(abs(one.lateness_ms))} {'earlier' if due < low else 'later'}"
    # Beside the bar, where there is more room; on it, where there is little on both sides.
    room = max(begin - low, high - ready) / (high - low)
    is_left = begin + ready < low + high
    at, points, side = (ready, 4, "left") if is_left else (begin, -4, "right")
    if room < _ROOM_FOR_WORDS:
        at, points, side = (begin + ready) / 2, 0, "center"
    say(axes, words, (at, row), (points, 0), ha=side, fontsize=7.5, bbox=ON_PAPER)


def stages_of(block: Block) -> Iterator[tuple[str, float]]:
    """The block's stages in the order in which they are done, each with its ms; those it has."""
    stages = (
        ("context encode", block.context_encode_ms),
        ("first step", sum(block.steps_ms[:1])),
        ("later steps", sum(block.steps_ms[1:])),
        ("commit", block.commit_ms),
        ("codec decode", block.codec_decode_ms),
        ("host", block.host_ms),
    )
    return ((name, took_ms) for name, took_ms in stages if took_ms)


def _look(stage: str, cell: CheckCell) -> dict[str, Any]:
    """Colours as in a run's waterfall: the model's in the scheme's colour, the codec in grey
    (and hatched, which is seen without colour too)."""
    colour = shown.scheme_colour(cell.workload.scheme)
    dark, light = mixed(colour, "#000000", 0.42), mixed(colour, PAPER, 0.42)
    looks: dict[str, dict[str, Any]] = {
        "context encode": {"facecolor": dark},
        "first step": {"facecolor": colour},
        "later steps": {"facecolor": light},
        "commit": {"facecolor": dark, "hatch": "...."},
        "codec decode": {"facecolor": shown.CODEC_COLOUR, "hatch": "//////"},
        "host": {"facecolor": INK},
    }
    return {"linewidth": 0, "edgecolor": PAPER, "zorder": 3} | looks[stage]


# --- the ring ----------------------------------------------------------------


def _draw_ring(axes: Axes, cell: CheckCell, policy: Policy, origin_ms: float) -> None:
    """The sound that was left to play, and where there was none."""
    low, high = axes.get_xlim()
    begin, end = origin_ms + low * MS_PER_SECOND, origin_ms + high * MS_PER_SECOND
    near = [
        one
        for one in cell.blocks
        if one.ready_ms <= end and max(one.deadline_ms, one.ready_ms) + cell.block_ms >= begin
    ]
    jumps = [one.ready_ms for one in near if begin < one.ready_ms]
    # Just before a block is ready and when it is, so that the level jumps there.
    at = np.sort([*np.linspace(begin, end, _NUM_PLACES), *jumps, *(one - 1e-3 for one in jumps)])
    level = ring_level_ms(near, cell.block_ms, policy, at) if near else np.zeros(at.size)
    last_ms = cell.blocks[-1].ready_ms
    seconds = (at - origin_ms) / MS_PER_SECOND
    colour = shown.scheme_colour(cell.workload.scheme)
    small_axes(axes, f"seconds after {clock_words(origin_ms)}")
    unit_ms = _ring_unit(cell)[0]
    axes.fill_between(seconds, level / unit_ms, color=mixed(colour, PAPER, 0.5), linewidth=0)
    top = 1.15 * max(float(level.max()), 0.5 * cell.block_ms) / unit_ms
    is_dry = (level <= 0) & (at >= cell.blocks[0].deadline_ms) & (at <= last_ms)
    silence = np.where(is_dry, 0.16 * top, 0.0)
    axes.fill_between(seconds, silence, where=is_dry.tolist(), color=INK, linewidth=0)
    axes.set_ylim(0, top)
    number_axis(axes, "x", 6)
    number_axis(axes, "y", 3)


def _ring_unit(cell: CheckCell) -> tuple[float, str]:
    return (1.0, "ms") if cell.block_ms < MS_PER_SECOND else (MS_PER_SECOND, "s")


def _draw_key(part: Part, cell: CheckCell) -> None:
    """Under the panels, what the parts of a bar are."""
    figure = part.figure
    wide, high = figure.get_size_inches()
    present = dict.fromkeys(name for one in cell.blocks for name, _ in stages_of(one.block))
    looks = [(name, (0.16, 0.09), _look(name, cell)) for name in present]
    looks.append(("due, and from then on how late", (0.03, 0.16), _look("host", cell)))
    up = 1 - (part.down + _TITLE + _BLOCKS + _GAP + _RING + 0.52) / high
    across = _LEFT / wide
    for stage, size, look in looks:
        name = stage.replace("step", "frame") if shown.is_lmm(cell.workload) else stage
        corner = (across, up - size[1] / 2 / high)
        figure.add_artist(Rectangle(corner, size[0] / wide, size[1] / high, **look))
        figure.text(across + (size[0] + 0.06) / wide, up, name, fontsize=8, va="center")
        across += (size[0] + 0.2 + 0.063 * len(name)) / wide
