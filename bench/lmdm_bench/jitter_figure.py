"""The figure of how evenly things came: wake-ups, blocks and callbacks, each as a histogram."""

import math
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from lmdm_bench import format as shown
from lmdm_bench.canvas import INK, MUTED
from lmdm_bench.check_panels import (
    DEADLINE_DASHES,
    MS_PER_SECOND,
    Floats,
    Indexes,
    Part,
    Sheet,
    figure_of_cells,
    lateness_ms,
    small_axes,
    span_words,
)
from lmdm_bench.check_record import CheckCell, CheckRecord, DeviceCount, Harness
from lmdm_bench.claims_panels import empty_panel, log_axis, number_axis, say
from lmdm_bench.estimates import needed_blocks, quantile

_LEFT, _WIDTH, _BETWEEN, _HEIGHT = 0.72, 2.34, 0.49, 1.55
_ABOVE, _BELOW = 0.4, 0.52
_NUM_BINS = 48
# What is due is drawn if the panel then holds no more than so many times what was seen.
_FARTHEST_DUE = 12.0
# A count of one has to be seen on a logarithmic axis.
_LEAST_COUNT = 0.6
# Wake-up errors below a microsecond are none.
_LEAST_ERROR_MS = 1e-3
_ON_TIME_MS = 1.0
# An axis whose ends differ by more than this factor has room for whole decades only.
_WIDE = 200.0


def jitter(record: CheckRecord) -> Figure:
    """Wake-up errors, times from block to block, and slack or, of a sound card, callback gaps."""
    return figure_of_cells(
        record,
        Sheet(
            "How evenly do blocks come?",
            "Counts are logarithmic, so that one among thousands is seen. Dashed: what was due; "
            "left, the most a harness may add.",
            _ABOVE + _HEIGHT + _BELOW,
            partial(_draw, record),
        ),
    )


def _draw(record: CheckRecord, part: Part, cell: CheckCell) -> Iterator[str]:
    first, second, third = (
        part.panel(_LEFT + at * (_WIDTH + _BETWEEN), _ABOVE, _WIDTH, _HEIGHT) for at in range(3)
    )
    colour = shown.scheme_colour(cell.workload.scheme)
    _draw_wake_ups(first, cell, record.harness, colour)
    between = np.diff([one.ready_ms for one in cell.blocks])
    words = "no two blocks were made"
    _draw_values(second, between, cell.block_ms, colour, ("from block to block", words))
    if cell.device_count is not None:
        _draw_gaps(third, cell.device_count, colour)
    else:
        words = "no block was due: all of them are in the prebuffer"
        late = lateness_ms(cell, record.settings)
        _draw_values(third, late, 0.0, colour, ("ready after it was due", words))
    first.set_ylabel("count", fontsize=8.5)
    return _facts(record.harness, cell)


def _facts(harness: Harness, cell: CheckCell) -> Iterator[str]:
    if cell.device_count is not None:
        yield from _device_words(cell.device_count)
    else:
        yield f"{shown.blocks(len(cell.blocks))} of {span_words(cell.block_ms)}"
        if len(cell.blocks) <= needed_blocks(0.99):
            yield f"a p99 needs {needed_blocks(0.99)}"
    if harness.reason is not None:
        yield f"the harness alone was not measured: {harness.reason}"
    elif harness.lateness_ms:
        p99 = quantile(harness.lateness_ms, 0.99)
        told = f"n/a ({p99.reason})" if p99.value is None else shown.milliseconds(p99.value)
        yield f"harness alone: p99 {told}"


def _device_words(count: DeviceCount) -> Iterator[str]:
    yield f"{shown.count(count.callbacks_seen)} of {shown.count(count.callbacks_due)} callbacks"
    missing = 100 * count.frames_missing / count.frames_due if count.frames_due else None
    told = shown.NOT_AVAILABLE if missing is None else f"{shown.number(missing, 1)} %"
    yield f"samples missing: {told}"
    yield f"ring underruns: {shown.count(count.ring_underruns)}"
    yield f"xruns: {shown.NOT_AVAILABLE if count.xruns is None else shown.count(count.xruns)}"


def _draw_wake_ups(axes: Axes, cell: CheckCell, harness: Harness, colour: str) -> None:
    """How late blocks were begun by the harness' fault, and all that it adds without any work."""
    own = np.array([one.wake_error_ms for one in cell.blocks])
    both = np.array([*own, *harness.lateness_ms]).clip(min=_LEAST_ERROR_MS)
    ends = (0.8 * float(both.min()), 1.25 * max(float(both.max()), _ON_TIME_MS))
    edges = np.geomspace(*ends, _NUM_BINS + 1)
    counts = np.histogram(both[: own.size], edges)[0]
    others = np.histogram(both[own.size :], edges)[0]
    log_axis(axes, "x")
    if ends[1] > _WIDE * ends[0]:
        axes.xaxis.set_major_locator(FixedLocator([10.0**power for power in range(-3, 6)]))
    _look(axes, "woken late by the harness", f"{_words(own)} ms", np.maximum(counts, others))
    axes.stairs(counts, edges, baseline=_LEAST_COUNT, color=colour, fill=True)
    if others.any():
        axes.stairs(others, edges, baseline=_LEAST_COUNT, color=INK, linewidth=1.0)
        words = f"ms (outline: the harness alone, n = {shown.count(int(others.sum()))})"
        axes.set_xlabel(words, fontsize=8.5, labelpad=2)
    axes.set_xlim(*ends)
    _mark(axes, _ON_TIME_MS)


def _draw_values(
    axes: Axes, values: Floats, due: float, colour: str, words: tuple[str, str]
) -> None:
    """A histogram with the value that is due as a dashed line."""
    name, why_not = words
    if not values.size:
        _say_empty(axes, name, why_not)
        return
    low, high = float(values.min()), float(values.max())
    least = max(1e-4 * max(abs(low), abs(high)), _LEAST_ERROR_MS)  # for values that are all alike
    span, near = max(high - low, least), max(high, due) - min(low, due)
    is_near = near <= _FARTHEST_DUE * span
    width = (max(near, span) if is_near else span) / _NUM_BINS
    # Edges are counted from what is due, so that no bin is on both sides of it.
    first, last = math.floor((low - due) / width), math.ceil((high - due) / width)
    edges = due + width * np.arange(first, max(last, first + 1) + 1)
    counts = np.histogram(values, edges)[0]
    _look(axes, name, f"{_words(values)} ms", counts)
    axes.stairs(counts, edges, baseline=_LEAST_COUNT, color=colour, fill=True)
    ends = [edges[0], edges[-1]]
    if is_near:
        ends = [min(ends[0], due), max(ends[1], due)]
        _mark(axes, due)
    else:
        side = "left" if due < low else "right"
        axes.set_xlabel(f"ms ({shown.number(due)} is far to the {side})", fontsize=8.5, labelpad=2)
    if due == 0:
        late = np.histogram(values[values > 0], edges)[0]
        axes.stairs(late, edges, baseline=_LEAST_COUNT, color=INK, fill=True)
    axes.set_xlim(ends[0] - 2 * width, ends[1] + 2 * width)
    number_axis(axes, "x", 4)


def _draw_gaps(axes: Axes, count: DeviceCount, colour: str) -> None:
    """The times between callbacks, which the sound card means to be equal; the last bin is open."""
    period = MS_PER_SECOND * count.frames_per_callback / count.sample_rate_hz
    counts = np.array(count.gap_counts)
    if not counts.any():
        why = "; ".join(count.unavailable.values()) or "no callback was counted"
        _say_empty(axes, "from callback to callback", why)
        return
    edges = count.gap_step_ms * np.arange(counts.size + 1)
    axes.stairs(counts, edges, baseline=_LEAST_COUNT, color=colour, fill=True)
    words = f"due every {shown.number(period)} · largest {shown.number(count.largest_gap_ms)} ms"
    _look(axes, "from callback to callback", words, counts)
    axes.set_xlim(0, 1.05 * max(edges[np.flatnonzero(counts)[-1] + 1], period))
    number_axis(axes, "x", 4)
    _mark(axes, period)


def _look(axes: Axes, name: str, words: str, counts: Indexes) -> None:
    _title(axes, name)
    small_axes(axes, "ms")
    say(axes, words, (0, 1), (0, 7), "axes fraction", fontsize=8, color=MUTED)
    axes.set_yscale("log")
    most = 2.0 * float(counts.max())
    axes.set_ylim(_LEAST_COUNT, most)
    decades = [10.0**power for power in range(9) if 10.0**power < most]
    axes.yaxis.set_major_locator(FixedLocator(decades))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda at, _: shown.count(round(at))))


def _say_empty(axes: Axes, name: str, why: str) -> None:
    _title(axes, name)
    empty_panel(axes, why, 30)


def _title(axes: Axes, name: str) -> None:
    axes.set_title(name, loc="left", fontsize=9, fontweight="bold", pad=15)


def _mark(axes: Axes, at: float) -> None:
    axes.axvline(at, color=INK, linewidth=1.2, linestyle=DEADLINE_DASHES, zorder=3)


def _words(values: Sequence[float] | Floats) -> str:
    """``p50 0.05 · p99 n/a · largest 0.21``."""
    told = []
    for name, probability in (("p50", 0.5), ("p99", 0.99)):
        one = quantile([float(value) for value in values], probability).value
        told.append(f"{name} {shown.NOT_AVAILABLE if one is None else shown.number(one)}")
    told.append(f"largest {shown.number(float(np.max(values)))}")
    return " · ".join(told).replace("-", "−")
