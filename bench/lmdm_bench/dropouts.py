"""Dropouts: runs of blocks that were not there in time, how often and how long, with intervals.

A *miss* is a block that was ready after it was due; a *dropout* is a run of misses without a block
in time between them, which a listener hears as one disturbance.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from lmdm_bench.check_record import CheckCell, Policy
from lmdm_bench.record import Estimate
from lmdm_bench.ring import Played

CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2

MINUTES_PER_HOUR = 60.0
MILLISECONDS_PER_MINUTE = 60_000.0
MILLISECONDS_PER_HOUR = 3_600_000.0

RATE_METHOD = "Clopper-Pearson, of fewer draws where misses cluster"
AFTER_A_MISS_METHOD = "Clopper-Pearson"
PER_HOUR_METHOD = "exact Poisson"
NOTHING_DUE = "no block was due"

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Dropouts:
    """What was missed of the blocks that were due, those after the prebuffer.

    ``bursts`` are the misses in each dropout and ``silence_ms`` its silence, in order.
    ``longest_gap_ms`` is the longest silence without a sound in it. ``playing_hours`` is how long
    the blocks that were due played, their silences included; where it is 0, ``per_hour_upper`` is
    infinite and ``gap_ms_per_minute`` None. ``per_hour`` has a two-sided interval;
    ``per_hour_upper`` and ``per_hour_lower`` are the ends of one-sided ones, each of 95 %.
    """

    num_blocks: int
    num_misses: int
    bursts: tuple[int, ...]
    silence_ms: tuple[float, ...]
    longest_gap_ms: float
    gap_ms_per_minute: float | None
    playing_hours: float
    miss_rate: Estimate
    p_miss_given_miss: Estimate
    per_hour: Estimate
    per_hour_upper: float
    per_hour_lower: float

    @property
    def num_dropouts(self) -> int:
        return len(self.bursts)


def dropouts(played: Played) -> Dropouts:
    """The dropouts of a trace that was replayed through a ring."""
    ring = played.ring
    return _count(
        played.lateness_ms, played.skipped, ring.prebuffer_blocks, ring.block_ms, ring.policy
    )


def measured_dropouts(cell: CheckCell, prebuffer_blocks: int, policy: Policy) -> Dropouts:
    """The dropouts that a check saw, by the instants it measured."""
    lateness = np.array([one.lateness_ms for one in cell.blocks], dtype=np.float64)
    skipped = np.zeros(lateness.size, dtype=np.int64)
    if policy == "skip" and lateness.size:
        # Deadlines stand on a grid of whole blocks; a place that has none was not made.
        steps = np.diff([one.deadline_ms for one in cell.blocks]) / cell.block_ms
        skipped[1:] = np.maximum(0, np.rint(steps).astype(np.int64) - 1)
    return _count(lateness, skipped, prebuffer_blocks, cell.block_ms, policy)


def minutes_to_prove(target_per_hour: float, num_dropouts: int) -> float:
    """How many minutes of playing, in all, bring the one-sided upper bound down to the target when
    there are this many dropouts in them. Raises ValueError on a target that is not above 0."""
    if not target_per_hour > 0:
        raise ValueError(f"the target should be above 0 dropouts per hour, got {target_per_hour}")
    return _most_events(num_dropouts, CONFIDENCE) / target_per_hour * MINUTES_PER_HOUR


def _count(
    lateness_ms: Floats,
    skipped: npt.NDArray[np.int64],
    prebuffer_blocks: int,
    block_ms: float,
    policy: Policy,
) -> Dropouts:
    late = np.maximum(lateness_ms, 0.0)
    if policy != "stall":
        late = np.minimum(late, block_ms)
    # One entry for each block's place in the music; a block that was not made is all silence.
    places = np.arange(late.size) + np.cumsum(skipped)
    silence = np.full(late.size + int(skipped.sum()), block_ms)
    silence[places] = late
    due = silence[prebuffer_blocks:]
    is_miss = due > 0
    played_ms = due.size * block_ms + (math.fsum(due) if policy == "stall" else 0.0)
    starts, ends = _runs(is_miss)
    hours = played_ms / MILLISECONDS_PER_HOUR
    return Dropouts(
        num_blocks=due.size,
        num_misses=int(is_miss.sum()),
        bursts=tuple((ends - starts).tolist()),
        silence_ms=tuple(
            math.fsum(due[start:end]) for start, end in zip(starts, ends, strict=True)
        ),
        longest_gap_ms=_longest_gap_ms(due, math.inf if policy == "stall" else block_ms),
        gap_ms_per_minute=(
            math.fsum(due) / (played_ms / MILLISECONDS_PER_MINUTE) if due.size else None
        ),
        playing_hours=hours,
        miss_rate=_miss_rate(is_miss),
        p_miss_given_miss=_after_a_miss(is_miss),
        per_hour=_per_hour(starts.size, hours, due.size),
        per_hour_upper=_most_events(starts.size, CONFIDENCE) / hours if hours else math.inf,
        per_hour_lower=_fewest_events(starts.size, CONFIDENCE) / hours if hours else 0.0,
    )


def _runs(is_miss: Bools) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Where each run of misses starts, and where it has ended."""
    edges = np.diff(np.concatenate([[0], is_miss.astype(np.int8), [0]]))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def _longest_gap_ms(silence_ms: Floats, whole_ms: float) -> float:
    """Silence is at the start of a block's time, so it goes on from the block before only where
    that was silent for the whole of its time."""
    if not silence_ms.size:
        return 0.0
    group = np.concatenate([[0], np.cumsum(silence_ms[:-1] < whole_ms)])
    return float(np.bincount(group, silence_ms).max())


def _miss_rate(is_miss: Bools) -> Estimate:
    n, misses = is_miss.size, int(is_miss.sum())
    if not n:
        return Estimate(None, None, 0, RATE_METHOD, NOTHING_DUE)
    interval = _share_interval(misses / n, n / _design_effect(is_miss))
    return Estimate(misses / n, interval, n, RATE_METHOD, None)


def _design_effect(is_miss: Bools) -> float:
    """How many blocks tell as much about the rate of misses as one independent block; at least 1.

    The larger of two: as the lengths of the dropouts say, and as the times from one dropout to the
    next say, which see dropouts that come in pairs and fail where there are few.
    """
    starts, ends = _runs(is_miss)
    bursts, rate = ends - starts, float(is_miss.mean())
    if not bursts.size or rate == 1.0:
        return 1.0
    by_length = float((bursts**2).sum() / bursts.sum()) * (1 - rate)
    if bursts.size == 1:
        return max(1.0, by_length)
    # From each dropout's start to the next one's, the row of blocks taken as a circle: how many
    # misses more than the rate.
    extra = bursts - rate * np.diff(starts, append=starts[0] + is_miss.size)
    variance = float((extra**2).sum()) * bursts.size / (bursts.size - 1)
    return max(1.0, by_length, variance / (is_miss.size * rate * (1 - rate)))


def _after_a_miss(is_miss: Bools) -> Estimate:
    """How often the block after a miss was a miss too."""
    followed = is_miss[1:][is_miss[:-1]]
    n = followed.size
    if not n:
        return Estimate(None, None, 0, AFTER_A_MISS_METHOD, "no block follows a miss")
    share = float(followed.mean())
    return Estimate(share, _share_interval(share, float(n)), n, AFTER_A_MISS_METHOD, None)


def _share_interval(share: float, draws: float) -> tuple[float, float]:
    """Clopper and Pearson's interval; the number of draws need not be whole."""
    hits, others = share * draws, (1 - share) * draws
    low = float(stats.beta.ppf(TAIL, hits, others + 1)) if hits > 0 else 0.0
    high = float(stats.beta.isf(TAIL, hits + 1, others)) if others > 0 else 1.0
    return low, high


def _per_hour(events: int, hours: float, num_blocks: int) -> Estimate:
    if not hours:
        return Estimate(None, None, num_blocks, PER_HOUR_METHOD, NOTHING_DUE)
    interval = (
        _fewest_events(events, 1 - TAIL) / hours,
        _most_events(events, 1 - TAIL) / hours,
    )
    return Estimate(events / hours, interval, num_blocks, PER_HOUR_METHOD, None)


def _most_events(seen: int, confidence: float) -> float:
    """The most events that are to be expected in a time in which so many were seen."""
    return float(stats.chi2.ppf(confidence, 2 * seen + 2)) / 2


def _fewest_events(seen: int, confidence: float) -> float:
    return float(stats.chi2.isf(confidence, 2 * seen)) / 2 if seen else 0.0
