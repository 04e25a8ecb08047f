"""One cell of a check, summed up: all figures that its verdict and its report need."""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lmdm_bench.check_record import (
    Canary,
    CheckCell,
    CheckSettings,
    Control,
    Harness,
    PacedBlock,
)
from lmdm_bench.dropouts import Dropouts, dropouts, measured_dropouts, minutes_to_prove
from lmdm_bench.estimates import MILLISECONDS_PER_SECOND, quantile
from lmdm_bench.periodicity import Period, dominant_period
from lmdm_bench.record import Estimate, ServiceTimes
from lmdm_bench.ring import Ring, play, smallest_prebuffer, startup_delay_ms
from lmdm_bench.steadiness import Steadiness, steadiness
from lmdm_bench.tail import (
    FARTHEST,
    MAX_INFERENCE_PROBABILITY,
    Tail,
    exceedance,
    fit_tail,
    tail_quantile,
)

MOST_PREBUFFER_BLOCKS = 32
NUM_WORST = 3
MIN_CANARIES = 3
SECONDS_PER_HOUR = 3600.0
SECONDS_PER_MINUTE = 60.0

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ControlToSound:
    """From a condition's arrival to the first sample that can carry it, in seconds.

    ``kind`` is "prompt", or "input" where no prompt arrived; None where nothing did. ``n`` were
    heard; ``num_unheard`` are those for which the run ended before. What the sound card adds is
    in it where the card tells.
    """

    kind: str | None
    p50: Estimate
    p95: Estimate
    n: int
    largest_seconds: float | None
    num_unheard: int


@dataclass(frozen=True)
class CheckSummary:
    """Arithmetic on one cell. A figure that cannot be told is None, or an Estimate that says why.

    ``smallest_prebuffer`` would have had no miss in this trace; ``safe_prebuffer`` is the smallest
    with which the upper bound of the dropouts per hour is within the target, None where the run is
    too short for that or none of up to 32 blocks is enough. Slack is minus the lateness, that of
    the prebuffer's blocks left out.
    ``ready_jitter_ms`` is p99 − p50 of the time from block to block. ``memory_margin`` is the
    unused share of the device's memory, ``canary_drift`` the growth of the canary's work from the
    first third of the run to the last. ``has_codec`` is False where service times lack the codec.
    """

    dropouts: Dropouts
    steadiness: Steadiness
    period: Period | None
    service_ms: ServiceTimes
    service_tail: Tail
    lateness_tail: Tail
    modelled_dropouts_per_hour: Estimate
    max_inference_time_ms: Estimate
    startup_delay_ms: float | None
    smallest_prebuffer: int | None
    smallest_prebuffer_simulated: int | None
    safe_prebuffer: int | None
    min_slack_ms: float | None
    slack_p1: Estimate
    control_to_sound_seconds: ControlToSound
    ready_jitter_ms: Estimate
    worst: tuple[PacedBlock, ...]
    memory_margin: float | None
    canary_drift: float | None
    harness_p99_ms: Estimate
    has_codec: bool


def summarise_check(cell: CheckCell, settings: CheckSettings, harness: Harness) -> CheckSummary:
    """The summary of a cell, also of one that has no blocks."""
    times = cell.service_ms
    due = cell.blocks[settings.prebuffer_blocks :]
    lateness = [one.lateness_ms for one in due]
    slack = [-late for late in lateness]
    service_tail, lateness_tail = fit_tail(times), fit_tail(lateness)
    smallest = smallest_prebuffer(times, cell.block_ms) if times else None
    return CheckSummary(
        dropouts=measured_dropouts(cell, settings.prebuffer_blocks, settings.policy),
        steadiness=steadiness(cell, settings.seed),
        period=dominant_period(times, cell.workload.block_seconds, settings.seed),
        service_ms=ServiceTimes(*(quantile(times, share) for share in (0.5, 0.95, 0.99))),
        service_tail=service_tail,
        lateness_tail=lateness_tail,
        modelled_dropouts_per_hour=_modelled_dropouts(lateness_tail, cell.workload.block_seconds),
        max_inference_time_ms=tail_quantile(service_tail, MAX_INFERENCE_PROBABILITY),
        startup_delay_ms=startup_delay_ms(times, cell.block_ms) if times else None,
        smallest_prebuffer=smallest,
        smallest_prebuffer_simulated=(
            _simulated_prebuffer(times, cell.block_ms, smallest) if smallest else None
        ),
        safe_prebuffer=_safe_prebuffer(cell, settings) if times else None,
        min_slack_ms=min(slack, default=None),
        slack_p1=quantile(slack, 0.01),
        control_to_sound_seconds=_control_to_sound(cell),
        ready_jitter_ms=_jitter([one.ready_ms for one in cell.blocks]),
        worst=_worst(cell.blocks, due),
        memory_margin=_memory_margin(cell),
        canary_drift=_canary_drift(cell.canary),
        harness_p99_ms=_harness_p99(harness),
        has_codec=any(one.block.codec_decode_ms is not None for one in cell.blocks),
    )


def _harness_p99(harness: Harness) -> Estimate:
    found = quantile(harness.lateness_ms, 0.99)
    if found.value is None and harness.reason:
        return dataclasses.replace(found, reason=harness.reason)
    return found


def _modelled_dropouts(lateness: Tail, block_seconds: float) -> Estimate:
    """Clusters of lateness above 0 per hour of playing; as the tail itself, not below one in ten
    times the run."""
    late = exceedance(lateness, 0.0)
    if late.value is None or late.ci95 is None:
        return late
    blocks_per_hour = SECONDS_PER_HOUR / block_seconds
    least = blocks_per_hour / (FARTHEST * lateness.num_values)
    value, low, high = (
        one * lateness.extremal_index * blocks_per_hour for one in (late.value, *late.ci95)
    )
    return dataclasses.replace(late, value=max(value, least), ci95=(low, max(high, least)))


def _simulated_prebuffer(times: tuple[float, ...], block_ms: float, guess: int) -> int:
    """By replay alone: a guess only says where to begin, since more prebuffer adds no miss."""

    def has_miss(blocks: int) -> bool:
        return bool(play(times, Ring(blocks, block_ms)).is_miss.any())

    blocks = guess
    while has_miss(blocks):
        blocks += 1
    while blocks > 1 and not has_miss(blocks - 1):
        blocks -= 1
    return blocks


def _safe_prebuffer(cell: CheckCell, settings: CheckSettings) -> int | None:
    target, audio = settings.target_dropouts_per_hour, cell.workload.block_seconds
    if audio * len(cell.blocks) < minutes_to_prove(target, 0) * SECONDS_PER_MINUTE:
        return None  # not even a run without a dropout is long enough
    for blocks in range(1, MOST_PREBUFFER_BLOCKS + 1):
        played = play(cell.service_ms, Ring(blocks, cell.block_ms, settings.policy))
        # A run of misses that had not ended is one dropout by number, and no end to it was seen.
        if not played.is_miss[-1] and dropouts(played).per_hour_upper <= target:
            return blocks
    return None


def _control_to_sound(cell: CheckCell) -> ControlToSound:
    kinds = {one.kind for one in cell.controls}
    kind = next((name for name in ("prompt", "input") if name in kinds), None)
    arrived: list[Control] = [one for one in cell.controls if one.kind == kind]
    count = cell.device_count
    output_ms = (count.output_latency_ms or 0.0) if count else 0.0
    seconds = [
        (one.heard_ms - one.arrived_ms + output_ms) / MILLISECONDS_PER_SECOND
        for one in arrived
        if one.heard_ms is not None
    ]
    return ControlToSound(
        kind=kind,
        p50=_of_controls(quantile(seconds, 0.5)),
        p95=_of_controls(quantile(seconds, 0.95)),
        n=len(seconds),
        largest_seconds=max(seconds, default=None),
        num_unheard=len(arrived) - len(seconds),
    )


def _of_controls(found: Estimate) -> Estimate:
    reason = found.reason and found.reason.replace("blocks", "changes that were heard")
    return dataclasses.replace(found, reason=reason)


def _jitter(ready_ms: list[float]) -> Estimate:
    """p99 − p50, with an interval whose ends are each as far off as both quantiles' together."""
    between = np.diff(ready_ms).tolist()
    middle, high = quantile(between, 0.5), quantile(between, 0.99)
    if middle.ci95 is None or high.ci95 is None or middle.value is None or high.value is None:
        return high
    value = high.value - middle.value
    below = math.hypot(high.value - high.ci95[0], middle.ci95[1] - middle.value)
    above = math.hypot(high.ci95[1] - high.value, middle.value - middle.ci95[0])
    return dataclasses.replace(high, value=value, ci95=(value - below, value + above))


def _worst(blocks: tuple[PacedBlock, ...], due: tuple[PacedBlock, ...]) -> tuple[PacedBlock, ...]:
    """The latest blocks, worst first; where none is late, the slowest."""
    late = [one for one in due if one.lateness_ms > 0]
    if late:
        return tuple(sorted(late, key=lambda one: -one.lateness_ms)[:NUM_WORST])
    return tuple(sorted(blocks, key=lambda one: -one.block.service_ms)[:NUM_WORST])


def _memory_margin(cell: CheckCell) -> float | None:
    if not cell.memory_limit_bytes or cell.memory_used_bytes is None:
        return None
    return 1 - cell.memory_used_bytes / cell.memory_limit_bytes


def _canary_drift(canary: Canary) -> float | None:
    if len(canary.work_ms) < MIN_CANARIES:
        return None
    third = len(canary.work_ms) // 3
    first, last = np.median(canary.work_ms[:third]), np.median(canary.work_ms[-third:])
    return float(last / first) - 1
