"""Other settings with which a stream would have played: tried on its own measured trace.

A larger or smaller prebuffer, and fewer steps, are replayed from what was measured. Other block
lengths, dtypes and schemes are too, with the measured times scaled by the ratio of their bounds in
the cost model: those are not measured.
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from lmdm_bench import format as shown
from lmdm_bench.check_conditions import (
    CONTROL_QUANTILE,
    LEAST_MEMORY_MARGIN,
    MOST_RTF_P99,
    Case,
)
from lmdm_bench.check_record import Alternative, CheckCell
from lmdm_bench.check_summary import MOST_PREBUFFER_BLOCKS, CheckSummary
from lmdm_bench.estimates import MILLISECONDS_PER_SECOND, model_ms, quantile
from lmdm_bench.record import Workload
from lmdm_bench.replay import control_to_sound_ms, quantile_of_waits
from lmdm_bench.ring import Played, Ring, play

What = Literal["prebuffer", "steps", "block_frames", "dtype", "scheme", "mains"]

# From the strictest: a quantile that is above the limit takes those after it along.
HEADROOM_QUANTILES = (0.99, 0.95, 0.5)
# A trace whose blocks are mostly made before playback proves nothing about a prebuffer.
TRACE_PER_PREBUFFER = 4
# What a laptop may gain by being plugged in: no promise is made beyond it.
MOST_RTF_ON_BATTERY = 2.0

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Remedy:
    """What to change, to which value. ``is_measured``: replayed from the trace, nothing scaled."""

    what: What
    value: str
    is_measured: bool
    words: str


@dataclass(frozen=True)
class Trial:
    """A trace as it would have been, the ring that it is played through, and bytes it adds."""

    service_ms: Floats
    ring: Ring
    num_bytes: int = 0


def find_remedies(case: Case, wanting: Set[str]) -> tuple[Remedy, ...]:
    """Each single change of the settings that would do, what is measured first.

    ``wanting`` names the conditions that do not hold.
    """
    groups = (_prebuffer(case, wanting), _steps(case), _alternatives(case), _mains(case, wanting))
    return tuple(remedy for group in groups for remedy in group)


def is_on_battery(case: Case) -> bool:
    """Whether the machine ran on its battery, at any time of the run as far as it is known."""
    readings = case.cell.telemetry.columns.get("is_on_mains", ())
    if known := [one for one in readings if one is not None]:
        return min(known) == 0
    return case.record.machine.is_on_mains is False


def largest_told(times: Floats) -> tuple[float, float] | None:
    """(probability, value) of the strictest headroom quantile that the times can tell."""
    for probability in HEADROOM_QUANTILES:
        value = quantile(tuple(times), probability).value
        if value is not None:
            return probability, value
    return None


def _would_do(case: Case, trial: Trial) -> bool:
    """No block late, at a pace that can be kept for hours, heard in time, within the memory."""
    played = play(trial.service_ms, trial.ring)
    steady = trial.service_ms[-max(1, trial.service_ms.size // 3) :]
    return (
        not played.is_miss.any()
        and bool(steady.mean() < trial.ring.block_ms)
        and _is_heard_in_time(case, played)
        and _fits(case.cell, trial.num_bytes)
    )


def _has_headroom(trial: Trial) -> bool:
    told = largest_told(trial.service_ms / trial.ring.block_ms)
    return told is None or told[1] < MOST_RTF_P99


def _is_heard_in_time(case: Case, played: Played) -> bool:
    budget, count = case.record.settings.control_budget_seconds, case.cell.device_count
    if budget is None:
        return True
    output_ms = (count.output_latency_ms or 0.0) if count else 0.0
    p95_ms = quantile_of_waits(control_to_sound_ms(played), CONTROL_QUANTILE)
    return p95_ms is not None and p95_ms + output_ms <= budget * MILLISECONDS_PER_SECOND


def _fits(cell: CheckCell, more_bytes: int) -> bool:
    used, limit = cell.memory_used_bytes, cell.memory_limit_bytes
    if used is None or not limit:
        return True
    return used + more_bytes <= (1 - LEAST_MEMORY_MARGIN) * limit


def _ring(case: Case, block_ms: float, blocks: int | None = None) -> Ring:
    settings = case.record.settings
    return Ring(blocks or settings.prebuffer_blocks, block_ms, settings.policy)


def _prebuffer(case: Case, wanting: Set[str]) -> Iterator[Remedy]:
    """The fewest blocks without a miss: more where blocks were late, fewer to be heard sooner."""
    cell, blocks = case.cell, case.summary.smallest_prebuffer
    own = case.record.settings.prebuffer_blocks
    most = min(MOST_PREBUFFER_BLOCKS, len(cell.blocks) // TRACE_PER_PREBUFFER)
    if blocks is None or blocks > most:
        return
    is_wanted = ("dropouts" in wanting and blocks > own) or ("control" in wanting and blocks < own)
    trial = Trial(np.array(cell.service_ms), _ring(case, cell.block_ms, blocks))
    if is_wanted and _would_do(case, trial):
        price = _price(case.summary, (blocks - own) * cell.workload.block_seconds)
        words = f"a prebuffer of {shown.blocks(blocks)} instead of {own} ({price})"
        yield Remedy("prebuffer", f"{blocks}", is_measured=True, words=words)


def _price(summary: CheckSummary, more_seconds: float) -> str:
    """What another prebuffer does to control_to_sound: each block in it is waited for."""
    told = summary.control_to_sound_seconds.p50.value
    way = "later" if more_seconds > 0 else "sooner"
    moved = f"{shown.number(abs(more_seconds), 1)}{shown.NBSP}s"
    if told is None:
        return f"changes then heard {moved} {way}"
    after = f"{shown.number(told + more_seconds, 1)}{shown.NBSP}s"
    return f"changes then heard after {after}, {moved} {way}"


def _steps(case: Case) -> Iterator[Remedy]:
    """The most steps with which it would do: the measured times without those of the last ones."""
    cell, asked = case.cell, case.cell.workload.steps
    counts = {len(one.block.steps_ms) for one in cell.blocks}
    if asked is None or len(counts) != 1 or max(counts) % asked:
        return  # an LMM's steps are its frames
    steps = np.array([one.block.steps_ms for one in cell.blocks])
    evaluations = steps.shape[1] // asked
    for kept in range(asked - 1, 0, -1):
        times = np.array(cell.service_ms) - steps[:, kept * evaluations :].sum(axis=1)
        trial = Trial(times, _ring(case, cell.block_ms))
        if _has_headroom(trial) and _would_do(case, trial):
            words = f"{kept} {'step' if kept == 1 else 'steps'} instead of {asked}"
            yield Remedy("steps", f"{kept}", is_measured=True, words=words)
            return


def _alternatives(case: Case) -> Iterator[Remedy]:
    for one in case.cell.alternatives:
        trial = _scaled(case, one)
        if trial is not None and _has_headroom(trial) and _would_do(case, trial):
            words = _words(case.cell.workload, one)
            yield Remedy(one.what, _value(one), is_measured=False, words=words)


def _scaled(case: Case, one: Alternative) -> Trial | None:
    """The measured trace with the model's and the codec's part each scaled by its bound."""
    own, other = case.cell.cost, one.cost
    if (own.codec is None) != (other.codec is None) or own.bound_ms <= 0:
        return None
    codec_ratio = other.codec.bound_ms / own.codec.bound_ms if own.codec and other.codec else 0.0
    blocks = [block.block for block in case.cell.blocks]
    model = np.array([model_ms(block) for block in blocks])
    codec = np.array([block.codec_decode_ms or 0.0 for block in blocks])
    return Trial(
        model * other.bound_ms / own.bound_ms + codec * codec_ratio,
        _ring(case, one.workload.block_seconds * MILLISECONDS_PER_SECOND),
        other.footprint.peak_bytes - own.footprint.peak_bytes,
    )


def _value(one: Alternative) -> str:
    match one.what:
        case "block_frames":
            return f"{one.workload.block_frames}"
        case "dtype":
            return shown.plain(one.workload.dtype)
        case "scheme":
            return shown.plain(one.workload.scheme)


def _words(own: Workload, one: Alternative) -> str:
    other = one.workload
    match one.what:
        case "block_frames":
            length = shown.seconds(other.block_seconds)
            return f"blocks of {other.block_frames} frames ({length}) instead of {own.block_frames}"
        case "dtype":
            return f"{shown.plain(other.dtype)} instead of {shown.plain(own.dtype)}"
        case "scheme":
            return f"the scheme {shown.plain(other.scheme)} instead of {shown.plain(own.scheme)}"


def _mains(case: Case, wanting: Set[str]) -> Iterator[Remedy]:
    """Plugging in, where nothing but speed is wanting, and not too much of it."""
    steady = case.summary.steadiness.steady_rtf.value
    is_near = steady is not None and steady < MOST_RTF_ON_BATTERY
    if is_on_battery(case) and is_near and wanting <= {"pace", "dropouts", "headroom"}:
        yield Remedy("mains", "mains", is_measured=False, words="mains instead of the battery")
