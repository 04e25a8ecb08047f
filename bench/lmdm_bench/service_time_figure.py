"""The figure of every block's service time over the minutes, with what it left to spare and why."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import ndimage

from lmdm_bench import format as shown
from lmdm_bench.block_causes import THROTTLE_BITS
from lmdm_bench.canvas import FAINT, INK, MUTED, ON_PAPER, mixed
from lmdm_bench.check_panels import (
    CAUSE_WORDS,
    DEADLINE_DASHES,
    MS_PER_MINUTE,
    MS_PER_SECOND,
    Bools,
    Floats,
    Indexes,
    Key,
    Part,
    Sheet,
    axis_end,
    cause_look,
    causes_of,
    draw_key,
    figure_of_cells,
    is_in_seconds,
    is_late,
    late_words,
    lateness_ms,
    ranges,
    say_beyond,
    small_axes,
    span_words,
    thinned,
)
from lmdm_bench.check_record import CAUSES, Cause, CheckCell, CheckRecord, CheckSettings, Telemetry
from lmdm_bench.claims_panels import empty_panel, number_axis, say
from lmdm_bench.dropouts import measured_dropouts
from lmdm_bench.periodicity import TOLD_BELOW, dominant_period
from lmdm_bench.steadiness import Steadiness, steadiness

_LEFT, _WIDTH = 0.78, 6.0
_TIMES, _SLACK, _CLOCKS, _GAP = 1.6, 0.62, 0.62, 0.13
_BELOW = 0.46
# The running median is over so many seconds of playing, but not over more than a part of the run.
_MEDIAN_SECONDS = 30.0
_MEDIAN_SHARE = 0.1
_LEAST_MEDIAN_BLOCKS = 5
_MOST_CAUSES = 5
# A period that moves the service time by less than this part of a block is not worth a word.
_LEAST_PERIOD = 0.05
# Where in the panel's height stands what is beyond it.
_EDGE = 0.975

# Clocks, the first of them that was read.
_CLOCKS_MHZ = {"gpu_sm_clock_mhz": "GPU clock", "cpu_frequency_mhz": "CPU clock"}
_MOST_PERCENT = 118.0
_TEMPERATURES_C = ("gpu_temperature_c", "cpu_temperature_c")


def service_time(record: CheckRecord) -> Figure:
    """Each block's service time beside its length, what was to spare, and the machine's clocks."""
    return figure_of_cells(
        record,
        Sheet(
            "Does it keep up, minute after minute?",
            "Dots under the dashed line were made faster than they play. The ring lends time: a "
            "block is late only once nothing is to spare.",
            _TIMES + _SLACK + _CLOCKS + 2 * _GAP + _BELOW,
            partial(_draw, record.settings, is_in_seconds(record.check_cells)),
        ),
    )


def _draw(settings: CheckSettings, in_seconds: bool, part: Part, cell: CheckCell) -> Iterator[str]:
    told = steadiness(cell, settings.seed)
    unit_ms = MS_PER_SECOND if in_seconds else MS_PER_MINUTE
    at = np.array([one.ready_ms for one in cell.blocks]) / unit_ms
    times = part.panel(_LEFT, 0, _WIDTH, _TIMES)
    slack = part.panel(_LEFT, _TIMES + _GAP, _WIDTH, _SLACK, sharex=times)
    clocks = part.panel(_LEFT, _TIMES + _SLACK + 2 * _GAP, _WIDTH, _CLOCKS, sharex=times)
    times.set_xlim(0, at[-1] * 1.012)
    _draw_times(times, cell, at, is_late(cell, settings))
    _draw_slack(slack, cell, at, -lateness_ms(cell, settings))
    _draw_clocks(clocks, cell, unit_ms)
    _draw_events((times, slack, clocks), _events(cell, at, unit_ms, told))
    for axes in (times, slack):
        axes.tick_params(labelbottom=False)
    number_axis(clocks, "x", 10)
    unit = "seconds" if in_seconds else "minutes"
    clocks.set_xlabel(f"{unit} since the first block was begun", fontsize=8.5, labelpad=2)
    return _facts(settings, cell, told)


def _facts(settings: CheckSettings, cell: CheckCell, told: Steadiness) -> Iterator[str]:
    yield f"{shown.blocks(len(cell.blocks))} of {span_words(cell.block_ms)}"
    yield late_words(measured_dropouts(cell, settings.prebuffer_blocks, settings.policy))
    cold, steady = (shown.rtf_and_interval(one)[0] for one in (told.cold_rtf, told.steady_rtf))
    yield f"rtf {cold} cold, {steady} steady"
    period = dominant_period(cell.service_ms, cell.workload.block_seconds, settings.seed)
    least_ms = _LEAST_PERIOD * cell.block_ms
    if period is not None and period.p <= TOLD_BELOW and period.amplitude_ms >= least_ms:
        every = f"{shown.number(period.blocks)} blocks ({shown.seconds(period.seconds)})"
        yield f"slows by {span_words(period.amplitude_ms)} every {every}"


# --- service times -----------------------------------------------------------


def _draw_times(axes: Axes, cell: CheckCell, at: Floats, late: Bools) -> None:
    small_axes(axes, up="service time, ms")
    colour = shown.scheme_colour(cell.workload.scheme)
    times = np.array(cell.service_ms)
    top, is_near = axis_end(times, cell.block_ms)
    axes.set_ylim(0, top)
    edge = _EDGE * top
    number_axis(axes, "y", 4)
    deadline: dict[str, Any] = {"color": INK, "linewidth": 1.3, "linestyle": DEADLINE_DASHES}
    if is_near:
        axes.axhline(cell.block_ms, zorder=2, **deadline)
    keys = [
        Key(f"plays for {shown.milliseconds(cell.block_ms)}", deadline, is_bold=True),
        *([] if is_near else [Key("(far above)", {"color": "none"}, is_bold=True)]),
    ]
    dot: dict[str, Any] = {
        "marker": "o",
        "markersize": 3.4,
        "linestyle": "none",
        "markeredgewidth": 0,
    }
    marks = (
        ("in time", ~late, dot | {"color": colour, "alpha": 0.75}),
        ("late", late, dot | {"color": INK, "marker": "X", "markersize": 4.6}),
    )
    for words, which, look in marks:
        kept = thinned(times[which])
        axes.plot(at[which][kept], times[which][kept].clip(max=edge), zorder=3, **look)
        num = int(which.sum())
        drawn = f" ({shown.count(kept.size)} drawn)" if kept.size < num else ""
        keys.append(Key(f"{words}: {shown.count(num)}{drawn}", look))
    say_beyond(axes, times, "ms")
    middle = list(_draw_median(axes, cell, at))
    draw_key(axes, [*keys, *middle, *_draw_causes(axes, cell, at, edge)])


def _draw_median(axes: Axes, cell: CheckCell, at: Floats) -> Iterator[Key]:
    num_blocks = _median_blocks(cell)
    if num_blocks > len(cell.blocks):
        return
    middle = ndimage.median_filter(np.array(cell.service_ms), num_blocks, mode="reflect")
    colour = mixed(shown.scheme_colour(cell.workload.scheme), "#000000", 0.42)
    line: dict[str, Any] = {"color": colour, "linewidth": 1.5}
    kept = thinned(middle)
    axes.plot(at[kept], middle[kept], zorder=4, **line)
    yield Key(f"median of {num_blocks} blocks", line)


def _median_blocks(cell: CheckCell) -> int:
    """Over how many blocks the running median is taken: odd, so that it is one of them."""
    in_seconds = _MEDIAN_SECONDS / cell.workload.block_seconds
    wanted = int(min(in_seconds, _MEDIAN_SHARE * len(cell.blocks)))
    return max(_LEAST_MEDIAN_BLOCKS, wanted) | 1


def _draw_causes(axes: Axes, cell: CheckCell, at: Floats, edge: float) -> list[Key]:
    """A sign around each block that has a cause, by its first one; their key, most common first."""
    found: dict[Cause, list[int]] = {cause: [] for cause in CAUSES}
    for index, one in enumerate(cell.blocks):
        for cause in causes_of(one)[:1]:
            found[cause].append(index)
    times = np.array(cell.service_ms).clip(max=edge)
    present = sorted((one for one in CAUSES if found[one]), key=lambda one: -len(found[one]))
    keys = []
    for cause in present[:_MOST_CAUSES]:
        indexes: Indexes = np.array(found[cause])
        chosen = indexes[thinned(times[indexes], 300)]
        axes.plot(at[chosen], times[chosen], zorder=5, clip_on=False, **cause_look(cause))
        keys.append(Key(f"{CAUSE_WORDS[cause]}: {shown.count(indexes.size)}", cause_look(cause)))
    return keys


def _events(
    cell: CheckCell, at: Floats, unit_ms: float, told: Steadiness
) -> Iterator[tuple[float, str]]:
    """What befell the run, and where its speed changed: when, and in a word or two."""
    for one in cell.incidents:
        yield one.at_ms / unit_ms, one.kind
    if told.change_block is None:
        return
    before, after = np.split(np.array(cell.service_ms), [told.change_block])
    ratio = float(np.median(after) / np.median(before))
    words = "slower" if ratio > 1 else "faster"
    yield float(at[told.change_block]), f"{words} from here, {shown.ratio(ratio)} the time"


def _draw_events(panels: Sequence[Axes], events: Iterable[tuple[float, str]]) -> None:
    """Lines through all panels, named in the first of them, each name above the one before."""
    for row, (across, words) in enumerate(events):
        for axes in panels:
            look: dict[str, Any] = {"color": MUTED, "linewidth": 1.1, "linestyle": (0, (1.5, 1.5))}
            axes.axvline(across, zorder=1, **look)
        is_right = across > 0.7 * panels[0].get_xlim()[1]
        say(
            panels[0],
            words,
            (across, 0),
            (-4 if is_right else 4, 7 + 11 * row),
            ("data", "axes fraction"),
            ha="right" if is_right else "left",
            fontsize=8,
            bbox=ON_PAPER,
            zorder=6,
        )


# --- slack -------------------------------------------------------------------


def _draw_slack(axes: Axes, cell: CheckCell, at: Floats, spare_ms: Floats) -> None:
    """What was left before each block was due: above 0 it was in time, below there was silence."""
    if not spare_ms.size:
        empty_panel(axes, "no block was due: all of them are in the prebuffer", 90)
        return
    block = cell.block_ms
    unit_ms, unit = (1.0, "ms") if block < MS_PER_SECOND else (MS_PER_SECOND, "s")
    most, least = float(spare_ms.max()), float(spare_ms.min())
    high = 1.12 * max(most, 0.3 * block)
    # From a block's length downwards, all of the block was silence.
    low = max(-1.15 * block, 1.25 * least) if least < 0 else -0.06 * high
    small_axes(axes, up=f"to spare, {unit}")
    axes.set_ylim(low / unit_ms, high / unit_ms)
    number_axis(axes, "y", 3)
    middle, lows, highs = ranges(spare_ms)
    across = at[-spare_ms.size :][middle]
    colour = shown.scheme_colour(cell.workload.scheme)
    pale, full = mixed(colour, "#ffffff", 0.7), mixed(colour, "#ffffff", 0.3)
    # Where many blocks share a place, pale goes up to the most and full to the least of them.
    for shade, up in ((pale, highs.clip(min=0)), (full, lows.clip(min=0)), (INK, lows.clip(max=0))):
        look: dict[str, Any] = {"color": shade, "step": "mid", "linewidth": 0.6}
        axes.fill_between(across, up / unit_ms, **look)
    axes.axhline(0, color=INK, linewidth=1.0)
    keys = [Key("to spare when ready", {"color": full, "linewidth": 4.0})]
    if least < 0:
        keys.append(Key("late: silence", {"color": INK, "linewidth": 4.0}))
    words = f"latest: by {span_words(-least)}" if least < 0 else f"least: {span_words(least)}"
    draw_key(axes, [*keys, Key(words, {"color": "none"}, is_bold=True)])


# --- clocks ------------------------------------------------------------------


def _draw_clocks(axes: Axes, cell: CheckCell, unit_ms: float) -> None:
    """The machine's clocks as parts of their highest, and what other programs took of it."""
    small_axes(axes, up="clocks, %")
    axes.set_ylim(0, _MOST_PERCENT)
    axes.set_yticks([0, 50, 100])
    keys = [
        *_draw_throttle(axes, cell.telemetry, unit_ms),
        *_draw_load(axes, cell.telemetry, unit_ms),
        *_draw_clock(axes, cell.telemetry, unit_ms),
        *_draw_canary(axes, cell, unit_ms),
    ]
    if not keys:
        reasons = [*cell.telemetry.unavailable.values(), cell.telemetry.ended, cell.canary.reason]
        empty_panel(axes, f"no clock was read: {next(filter(None, reasons), 'no reading')}", 90)
        return
    words = _temperature_words(cell.telemetry)
    if words:
        keys.append(Key(words, {"color": "none"}))
    draw_key(axes, keys)


def _draw_throttle(axes: Axes, read: Telemetry, unit_ms: float) -> Iterator[Key]:
    """Where the GPU itself says that it was slowed."""
    bits = _column(read, "gpu_throttle_bits")
    if bits is None:
        return
    is_slowed = np.nan_to_num(bits).astype(np.int64) & THROTTLE_BITS != 0
    if not is_slowed.any():
        return
    look: dict[str, Any] = {"facecolor": "none", "edgecolor": MUTED, "hatch": "////"}
    height = np.where(is_slowed, _MOST_PERCENT, 0.0)
    kept = thinned(height)
    at = _times(read, unit_ms)[kept]
    axes.fill_between(at, height[kept], step="mid", linewidth=0, zorder=1, **look)
    words = f"throttled, {100 * is_slowed.mean():.0f} % of the time"
    yield Key(words, {"color": MUTED, "linewidth": 5.0, "linestyle": (0, (0.25, 0.25))})


def _draw_clock(axes: Axes, read: Telemetry, unit_ms: float) -> Iterator[Key]:
    columns = ((words, _column(read, name)) for name, words in _CLOCKS_MHZ.items())
    words, clock = next((one for one in columns if one[1] is not None), ("", None))
    if clock is None:
        return
    most = float(np.nanmax(clock))
    kept = thinned(np.nan_to_num(clock, nan=-1.0))  # a failed reading stays a gap
    look: dict[str, Any] = {"color": INK, "linewidth": 1.2}
    axes.plot(_times(read, unit_ms)[kept], 100 * clock[kept] / most, **look)
    yield Key(f"{words}, of {shown.number(most, 0)} MHz", look)


def _draw_canary(axes: Axes, cell: CheckCell, unit_ms: float) -> Iterator[Key]:
    work = np.array(cell.canary.work_ms)
    if not work.size:
        return
    speed = 100 * np.median(work[: max(1, work.size // 3)]) / work
    look: dict[str, Any] = {
        "color": MUTED,
        "linewidth": 0.8,
        "marker": "D",
        "markersize": 3.2,
        "clip_on": False,
    }
    axes.plot(np.array(cell.canary.times_ms) / unit_ms, np.minimum(speed, _MOST_PERCENT), **look)
    yield Key(f"canary's speed, {speed.min():.0f} to {speed.max():.0f} %", look)


def _draw_load(axes: Axes, read: Telemetry, unit_ms: float) -> Iterator[Key]:
    load = _column(read, "other_load_share")
    if load is None:
        return
    kept = thinned(np.nan_to_num(load, nan=-1.0))
    at, percent = _times(read, unit_ms)[kept], 100 * load[kept]
    axes.fill_between(at, percent, color=FAINT, linewidth=0, zorder=1)
    words = f"others' load, {100 * np.nanmean(load):.0f} % on average"
    yield Key(words, {"color": FAINT, "linewidth": 5.0})


def _temperature_words(read: Telemetry) -> str:
    for name in _TEMPERATURES_C:
        column = _column(read, name)
        if column is not None:
            warm = column[np.isfinite(column)]
            return f"{warm[0]:.0f} to {warm.max():.0f} °C"
    return ""


def _column(read: Telemetry, name: str) -> Floats | None:
    """A column's readings, NaN where one failed; None where none was taken."""
    column = np.array(read.columns.get(name, ()), dtype=np.float64)
    return column if np.isfinite(column).any() else None


def _times(read: Telemetry, unit_ms: float) -> Floats:
    return np.array(read.times_ms) / unit_ms
