"""The effect of a change: how many times as long side b takes as side a, with its 95 % interval.

Pairs lie within processes. A process's effect is the median of its pairs' log ratios; where nothing
is paired, each side's processes have a median of logs of their own. The effect is the mean over
processes. Its interval has the two levels of a hierarchical bootstrap:

1. Pairs are resampled within a process. The median of such resamples is distributed as a Beta
   variable says, so nothing has to be drawn (Maritz and Jarrett 1978). Half the width of its
   central 68 % is the standard error: its variance would be that of the few resamples in which
   spikes prevail. Where neighbours resemble each other, pairs count for less.
2. Processes are too few to be resampled. Their variance is moderated (Smyth 2004): what the medians
   show, averaged with a prior that counts as so many degrees of freedom; the interval is Student's.

Where processes differ as the prior says, it holds the truth in 95 to 98 % of simulated experiments.
Where they differ twice as much it does in 87 to 95 %, with one process in 85 to 94 %: the prior has
to be measured, and is what ten comparisons of a suite with itself showed (reports/log.md). The same
record always has the same interval.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from lmdm_bench.compare_record import Times
from lmdm_bench.estimates import CONFIDENCE, needed_blocks
from lmdm_bench.record import Estimate

# By how much (log scale, standard deviation) the same code differs between two processes that took
# turns, and between two that ran at different times; and how many degrees of freedom that is worth.
PRIOR_PROCESS_SD = 0.007
PRIOR_RECORD_SD = 0.02
PRIOR_WEIGHT = 4.0

# Of fewer, a median has no finite interval.
MIN_SAMPLES = needed_blocks(0.5)
P99_PROBABILITY = 0.99

PAIRED_METHOD = "median of log ratios; pairs within processes"
UNPAIRED_METHOD = "difference of log medians; samples within processes"
P99_METHOD = "difference of log 99th percentiles"
TOO_FEW = f"needs {MIN_SAMPLES} samples of each side in one process"
NO_TIME = "a time of 0 ms has no ratio"

# The share of a bell curve that is less than its mean minus, and plus, one standard deviation.
ONE_DEVIATION = (float(special.ndtr(-1.0)), float(special.ndtr(1.0)))
# With what chance the pairs that are said to be needed shall be enough.
LIKELY = 0.8
# Nobody measures more than so many times as long to decide one question.
MOST_TIMES = 100

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Effect:
    """b's time ÷ a's.

    ``standard_error`` is of the ratio's logarithm, with ``dof`` degrees of freedom;
    ``pairs_variance`` is that part of its square which more pairs would make smaller. Where
    nothing is paired, ``num_pairs`` and ``num_processes`` are those of the side that has fewer.
    """

    ratio: float
    standard_error: float
    dof: float
    pairs_variance: float
    num_pairs: int
    num_processes: int
    method: str

    @property
    def ci95(self) -> tuple[float, float]:
        width = _student((1 + CONFIDENCE) / 2, self.dof) * self.standard_error
        return self.ratio * math.exp(-width), self.ratio * math.exp(width)

    @property
    def estimate(self) -> Estimate:
        return Estimate(self.ratio, self.ci95, self.num_pairs, self.method, None)

    def p_beyond(self, threshold: float, *, is_slower: bool) -> float:
        """The chance of an effect as far up (down, if not ``is_slower``) were b as much slower
        (faster) than a as the threshold allows.
        """
        towards = math.log(self.ratio) if is_slower else -math.log(self.ratio)
        beyond = towards - math.log1p(threshold)
        return float(special.stdtr(self.dof, -beyond / self.standard_error))

    def needed_pairs(self, threshold: float) -> int | None:
        """How many pairs, in as many processes, would probably tell on which side of the threshold
        the effect lies, if it is what it looks like. None where a hundred times as many would not.
        """
        distance = abs(abs(math.log(self.ratio)) - math.log1p(threshold))
        margin = _student((1 + CONFIDENCE) / 2, self.dof) + _student(LIKELY, self.dof)
        allowed = (distance / margin) ** 2 - (self.standard_error**2 - self.pairs_variance)
        if allowed * MOST_TIMES <= self.pairs_variance:
            return None
        return math.ceil(self.num_pairs * max(1.0, self.pairs_variance / allowed))


def effect(processes: Sequence[Times], is_paired: bool) -> Effect | str:
    """The effect over processes, or the reason why there is none.

    Processes (of a side, where nothing is paired) with fewer than six samples are not counted: a
    run that was interrupted ends with one.
    """
    if any(min(side, default=1.0) <= 0 for one in processes for side in (one.a_ms, one.b_ms)):
        return NO_TIME
    groups = _log_ratios(processes) if is_paired else _logs(processes)
    groups = [[one for one in group if one.size >= MIN_SAMPLES] for group in groups]
    if not all(groups):
        return TOO_FEW
    centres = [np.array([np.median(one) for one in group]) for group in groups]
    centre = float(centres[0].mean() - sum(one.mean() for one in centres[1:]))

    within = float(np.mean([_quantile_variance(one, 0.5) for group in groups for one in group]))
    scatter = sum(float(((one - one.mean()) ** 2).sum()) for one in centres)
    seen_dof = sum(one.size - 1 for one in centres)
    # Two runs differ by the prior of records, of which each side has half.
    prior = PRIOR_PROCESS_SD**2 if is_paired else PRIOR_RECORD_SD**2 / 2
    dof = PRIOR_WEIGHT + seen_dof
    variance = (PRIOR_WEIGHT * (prior + within) + scatter) / dof
    per_mean = sum(1 / one.size for one in centres)
    return Effect(
        ratio=math.exp(centre),
        standard_error=math.sqrt(variance * per_mean),
        dof=dof,
        pairs_variance=min(within, variance) * per_mean,
        num_pairs=min(sum(one.size for one in group) for group in groups),
        num_processes=min(len(group) for group in groups),
        method=PAIRED_METHOD if is_paired else UNPAIRED_METHOD,
    )


def p99_effect(processes: Sequence[Times], is_paired: bool) -> Effect | str:
    """b's 99th percentile ÷ a's, each of all processes together, or the reason why there is none.

    Each percentile is bootstrapped as the medians are; processes differ as much as their medians.
    """
    median = effect(processes, is_paired)
    if isinstance(median, str):
        return median
    sides = [np.concatenate(side) for side in _logs(processes)]
    needed = needed_blocks(P99_PROBABILITY)
    num_samples = min(side.size for side in sides)
    if num_samples < needed:
        return f"needs {needed} samples on each side, has {num_samples}"
    b, a = (float(np.quantile(side, P99_PROBABILITY)) for side in sides)
    pairs_variance = sum(_quantile_variance(side, P99_PROBABILITY) for side in sides)
    between = median.standard_error**2 - median.pairs_variance
    return Effect(
        ratio=math.exp(b - a),
        standard_error=math.sqrt(between + pairs_variance),
        dof=median.dof,
        pairs_variance=pairs_variance,
        num_pairs=num_samples,
        num_processes=median.num_processes,
        method=P99_METHOD,
    )


def _log_ratios(processes: Sequence[Times]) -> list[list[Floats]]:
    """One group: each process's log ratios."""
    return [[np.log(times.b_ms) - np.log(times.a_ms) for times in processes]]


def _logs(processes: Sequence[Times]) -> list[list[Floats]]:
    """Two groups: each process's logs on side b, and on side a."""
    return [
        [np.log(times.b_ms) for times in processes],
        [np.log(times.a_ms) for times in processes],
    ]


def _quantile_variance(values: Floats, probability: float) -> float:
    """The variance of a quantile over resamples of the values, which are in their order."""
    n = values.size
    ordered = np.sort(values)
    shape = probability * (n + 1), (1 - probability) * (n + 1)
    places = special.betaincinv(*shape, ONE_DEVIATION) * n - 0.5
    low, high = np.interp(places, np.arange(n), ordered)
    is_above = values > ordered[int(probability * (n - 1))]
    return float(((high - low) / 2) ** 2 * _values_per_draw(is_above))


def _values_per_draw(is_above: npt.NDArray[np.bool_]) -> float:
    """How many values count as one draw: more than 1 where neighbours are on the same side."""
    apart = is_above - is_above.mean()
    spread = float(apart @ apart)
    if spread == 0:
        return 1.0
    alike = float(apart[1:] @ apart[:-1]) / spread
    # A first-order process; no fewer than one draw in all.
    alike = min(max(alike, 0.0), 1 - 2 / apart.size)
    return (1 + alike) / (1 - alike)


def _student(probability: float, dof: float) -> float:
    return float(special.stdtrit(dof, probability))
