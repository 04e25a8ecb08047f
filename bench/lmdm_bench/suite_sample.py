"""One sample of a cell: what its calls in a row come to.

A call of some milliseconds is measured many times in a row, since single ones vary by 10 to 20 % on
two cores. The mean of those of middling length is what a sample counts as: one call that was
interrupted moves the mean of all (reports/log.md), and medians of stages would not add up.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# Left out at either end, by length.
OUTER_SHARE = 0.25


@dataclass(frozen=True)
class Calls:
    """Blocks or calls in a row: the milliseconds of each, those of each one's stages, which sum to
    it, and those of the drift controls just before the first.
    """

    service_ms: tuple[float, ...]
    stages: dict[str, tuple[float, ...]]
    controls: dict[str, float]


@dataclass(frozen=True)
class WorkerSample:
    """One sample's milliseconds, its stages', which sum to it, and its drift controls'."""

    service_ms: float
    stages: dict[str, float]
    controls: dict[str, float]


def middle_half(calls: Calls) -> WorkerSample:
    """The mean of the middle half by length, stage by stage over the same calls.

    Of several, the first is left out before: it comes after a pause, and after a copy that has
    taken the cache. Raises ValueError where there is none, or a stage is not in each.
    """
    count = len(calls.service_ms)
    if not count or any(len(times) != count for times in calls.stages.values()):
        raise ValueError(f"{count} calls, and not as many of each stage")
    later = range(1, count) if count > 1 else range(1)
    by_length = sorted(later, key=calls.service_ms.__getitem__)
    num_outer = int(OUTER_SHARE * len(by_length))
    kept = by_length[num_outer : len(by_length) - num_outer]

    def mean(times_ms: Sequence[float]) -> float:
        return statistics.fmean(times_ms[index] for index in kept)

    return WorkerSample(
        service_ms=mean(calls.service_ms),
        stages={name: mean(times_ms) for name, times_ms in calls.stages.items()},
        controls=calls.controls,
    )
