"""The tail of a row of times: a generalized Pareto distribution above a threshold.

Large times come in clusters, so clusters are counted, not values: exceedances of the threshold
without a value below it between them are one cluster, and the distribution is fitted to the
clusters' largest values (peaks over threshold, Davison and Smith 1990). What the model says is
never taken further than ten times the run: a probability below 1 / (10 n) is told as that.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

from lmdm_bench.record import Estimate

METHOD = "model-based: generalized Pareto tail, profile likelihood"
CONFIDENCE = 0.95
FARTHEST = 10
MAX_INFERENCE_PROBABILITY = 1e-4

# With 20 clusters likelihood intervals of what is rarer than one in n held in 88 % of simulated
# runs instead of 95 %, Bayesian ones in fewer. 200 values have 25 unless they cluster strongly.
MIN_CLUSTERS = 25
MIN_VALUES = 200
# Likelihood intervals of few clusters are too narrow. With the deviance that they may reach grown
# by 1 + 15 / clusters, they held in 90 to 97 % of simulated runs of 269 blocks.
SMALL_SAMPLE_CLUSTERS = 15.0

# The lowest threshold that is tried has this many times √n exceedances, but at most this share of
# the values; each further one has fewer by this factor.
EXCEEDANCES_PER_ROOT = 4.0
MOST_EXCEEDANCES_SHARE = 0.25
FEWER_EXCEEDANCES = 0.75

# A tail is refused where the mean excess over some higher threshold is farther from what it says
# than this many standard errors, or where its largest value would be seen in 1 run of 100.
CLEAR_ERRORS = 2.5
MEAN_EXCESS_QUANTILES = (0.0, 0.25, 0.5, 0.75)
MIN_EXCESSES_FOR_MEAN = 10
UNLIKELY_LARGEST = 0.01

# Likelihood is regular above −1/2; a tail without a mean, from 1 on, is no tail of times.
LEAST_SHAPE, GREATEST_SHAPE = -0.5, 0.9
# Parameters are looked for up to so many standard errors around the best.
GRID_ERRORS = np.linspace(-5.0, 5.0, 61)
# Nearer to 0 a shape is an exponential tail to all digits that matter.
LEAST_BEND = 1e-6

_TOO_FEW = f"needs {MIN_VALUES} blocks"
_EQUAL = "all values are equal"
_TOO_CLUSTERED = f"the largest values come in fewer than {MIN_CLUSTERS} clusters"
_NOT_ONE_TAIL = "the largest values do not follow one tail"
_BELOW = "so common that it is to be counted, not modelled"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tail:
    """P(value − threshold > x | value > threshold) = (1 + shape · x / scale)^(−1/shape).

    ``num_exceedances`` of ``num_values`` are above the threshold, in clusters of
    1 / ``extremal_index`` values on average; ``excesses_ms`` are the clusters' largest values less
    the threshold. Where no tail can be fitted, ``reason`` says why and the parameters are NaN.
    """

    threshold_ms: float
    shape: float
    scale_ms: float
    num_exceedances: int
    num_values: int
    extremal_index: float
    excesses_ms: tuple[float, ...]
    reason: str | None


def fit_tail(values_ms: Sequence[float] | Floats) -> Tail:
    """The tail of values, in the order in which they came, by maximum likelihood.

    The threshold is the lowest from which on the mean excess goes as the fitted tail says. Raises
    ValueError on NaN or infinity.
    """
    values = np.asarray(values_ms, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(f"expected a row of finite times, got shape {list(values.shape)}")
    n = values.size
    if n < MIN_VALUES:
        return _no_tail(n, _TOO_FEW)
    if values.min() == values.max():
        return _no_tail(n, _EQUAL)
    reason = _TOO_CLUSTERED
    for threshold in _thresholds(values):
        excesses = _cluster_excesses(values, threshold)
        if excesses.size < MIN_CLUSTERS:
            continue
        shape, scale = _most_likely(excesses)
        if _is_believable(excesses, shape, scale):
            above = int((values > threshold).sum())
            index = excesses.size / above
            found = tuple(excesses.tolist())
            return Tail(threshold, shape, scale, above, n, index, found, None)
        reason = _NOT_ONE_TAIL
    return _no_tail(n, reason)


def exceedance(tail: Tail, limit_ms: float) -> Estimate:
    """P(one value > limit), not below 1 / (10 n); None for a limit below the threshold.

    The interval's lower end is 0 where it would be below 1 / (10 n).
    """
    n, excess = tail.num_values, limit_ms - tail.threshold_ms
    if tail.reason is not None or excess < 0:
        return Estimate(None, None, n, METHOD, tail.reason or _BELOW)
    share, region = tail.num_exceedances / n, _region(tail)
    value = share * float(stats.genpareto.sf(excess, tail.shape, scale=tail.scale_ms))
    beyond = share * stats.genpareto.sf(excess, region.shape, scale=region.scale_ms)
    low, high = float((beyond * region.fewest).min()), float((beyond * region.most).max())
    floor = 1 / (FARTHEST * n)
    interval = (low if low >= floor else 0.0, min(1.0, max(high, floor)))
    return Estimate(max(value, floor), interval, n, METHOD, None)


def tail_quantile(tail: Tail, probability: float) -> Estimate:
    """The value that one value exceeds with this probability, in ms; None where that is below
    1 / (10 n), or the value below the threshold. Raises ValueError on a probability outside (0, 1).
    """
    if not 0.0 < probability < 1.0:
        raise ValueError(f"probability should be between 0 and 1, got {probability}")
    n = tail.num_values
    # Rounded, or 1 / (10 · 1e-4) would need one block more than 1000.
    needed = max(MIN_VALUES, math.ceil(round(1 / (FARTHEST * probability), 6)))
    if n < needed:
        return Estimate(None, None, n, METHOD, f"needs {needed} blocks")
    if tail.reason is not None or probability * n > tail.num_exceedances:
        return Estimate(None, None, n, METHOD, tail.reason or _BELOW)
    odds, region = probability * n / tail.num_exceedances, _region(tail)
    isf = functools.partial(stats.genpareto.isf, loc=tail.threshold_ms)
    value = float(isf(odds, tail.shape, scale=tail.scale_ms))
    low, high = (
        isf(np.minimum(1.0, odds / factor), region.shape, scale=region.scale_ms)
        for factor in (region.fewest, region.most)
    )
    return Estimate(value, (float(low.min()), float(high.max())), n, METHOD, None)


def max_inference_time_ms(service_ms: Sequence[float] | Floats) -> Estimate:
    """The service time that one block in 10 000 exceeds, to be typed into a plug-in's host."""
    return tail_quantile(fit_tail(service_ms), MAX_INFERENCE_PROBABILITY)


def mean_excess(values_ms: Sequence[float] | Floats) -> tuple[Floats, Floats]:
    """(thresholds, the mean of what is above each, less the threshold), both in ms.

    A straight line from some threshold on is what a generalized Pareto tail looks like.
    """
    ordered = np.unique(np.asarray(values_ms, dtype=np.float64))
    if ordered.size < 2:
        return np.empty(0), np.empty(0)
    values = np.sort(np.asarray(values_ms, dtype=np.float64))
    first = np.searchsorted(values, ordered[:-1], side="right")
    sums = np.cumsum(values[::-1])[::-1]
    return ordered[:-1], sums[first] / (values.size - first) - ordered[:-1]


def qq_points(tail: Tail, values_ms: Sequence[float] | Floats) -> tuple[Floats, Floats]:
    """(what the tail says, what was seen): the largest values of the clusters in order, in ms.

    The values may be those it was fitted to, or others that it should hold for.
    """
    values = np.asarray(values_ms, dtype=np.float64)
    seen = np.sort(_cluster_excesses(values, tail.threshold_ms))
    places = (np.arange(seen.size) + 0.5) / max(1, seen.size)
    said = stats.genpareto.ppf(places, tail.shape, tail.threshold_ms, tail.scale_ms)
    return said, tail.threshold_ms + seen


def _no_tail(num_values: int, reason: str) -> Tail:
    return Tail(math.nan, math.nan, math.nan, 0, num_values, math.nan, (), reason)


def _thresholds(values: Floats) -> list[float]:
    """From low to high; as many values as there are exceedances wanted are above each."""
    ordered = np.sort(values)
    count = min(EXCEEDANCES_PER_ROOT * math.sqrt(values.size), MOST_EXCEEDANCES_SHARE * values.size)
    found = []
    while count >= MIN_CLUSTERS:
        found.append(float(ordered[-int(count) - 1]))
        count *= FEWER_EXCEEDANCES
    return found


def _cluster_excesses(values: Floats, threshold: float) -> Floats:
    """The largest excess of each run of values above the threshold."""
    places = np.flatnonzero(values > threshold)
    if not places.size:
        return np.empty(0)
    starts = np.flatnonzero(np.diff(places, prepend=-2) > 1)
    return np.maximum.reduceat(values[places], starts) - threshold


def _most_likely(excesses: Floats) -> tuple[float, float]:
    """(shape, scale): ``scipy.stats.genpareto.fit``'s, within bounds and ten times as fast."""
    mean = float(excesses.mean())

    def loss(at: Floats) -> float:
        return -float(_log_likelihood(excesses / mean, at[:1], np.exp(at[1:]))[0])

    found = optimize.minimize(
        loss,
        [0.1, -0.1],
        method="Nelder-Mead",
        bounds=[(LEAST_SHAPE, GREATEST_SHAPE), (-5.0, 5.0)],
        options={"xatol": 1e-4, "fatol": 1e-5},
    )
    return float(found.x[0]), mean * math.exp(found.x[1])


def _log_likelihood(excesses: Floats, shape: Floats, scale: Floats) -> Floats:
    """One value for each pair of shape and scale; −inf where an excess is beyond the tail's end."""
    bend = np.where(np.abs(shape) < LEAST_BEND, LEAST_BEND, shape)
    inside = 1 + (bend / scale)[..., None] * excesses
    is_possible = (inside > 0).all(axis=-1)
    logs = np.log(np.maximum(inside, np.finfo(np.float64).tiny)).sum(axis=-1)
    total = -excesses.size * np.log(scale) - (1 + 1 / bend) * logs
    return np.where(is_possible, total, -np.inf)


def _is_believable(excesses: Floats, shape: float, scale: float) -> bool:
    """Whether mean excesses over higher thresholds, and the largest value, are this tail's."""
    largest = stats.genpareto.sf(excesses.max(), shape, scale=scale)
    if shape >= GREATEST_SHAPE or excesses.size * largest < UNLIKELY_LARGEST:
        return False
    for share in MEAN_EXCESS_QUANTILES:
        start = float(np.quantile(excesses, share)) if share else 0.0
        above = excesses[excesses > start] - start
        if above.size < MIN_EXCESSES_FOR_MEAN:
            break
        said = (scale + shape * start) / (1 - shape)
        error = above.std(ddof=1) / math.sqrt(above.size)
        if abs(above.mean() - said) > CLEAR_ERRORS * error:
            return False
    return True


@dataclass(frozen=True)
class _Region:
    """The parameters that the data do not contradict, in one row, and with each pair the fewest and
    the most clusters that it leaves believable, ÷ those that were seen."""

    shape: Floats
    scale_ms: Floats
    fewest: Floats
    most: Floats


@functools.lru_cache(maxsize=64)
def _region(tail: Tail) -> _Region:
    """Where the deviance from the best is within the limit; a profile likelihood interval of any
    figure is its range over this region. Clusters are taken as a Poisson number."""
    excesses = np.array(tail.excesses_ms)
    clusters = excesses.size
    shape, scale = _grid(tail)
    likelihood = _log_likelihood(excesses, shape, scale)
    limit = stats.chi2.ppf(CONFIDENCE, 1) / 2 * (1 + SMALL_SAMPLE_CLUSTERS / clusters)
    left = limit - (likelihood.max() - likelihood)
    is_in = left >= 0
    # clusters · (r − 1 − log r) = left has these two solutions r.
    at = -np.exp(-1 - left[is_in] / clusters)
    fewest, most = -special.lambertw(at, 0).real, -special.lambertw(at, -1).real
    return _Region(shape[is_in], scale[is_in], fewest, most)


def _grid(tail: Tail) -> tuple[Floats, Floats]:
    """Shapes and scales around the best, along the axes of their large-sample covariance."""
    root = math.sqrt(len(tail.excesses_ms))
    shape = tail.shape + GRID_ERRORS * (1 + tail.shape) / root
    shape = shape[shape >= LEAST_SHAPE][:, None]
    middle = math.log(tail.scale_ms) - (shape - tail.shape) / (1 + tail.shape)
    # √(1 + 2 · shape) is 0 at the least shape, where the covariance says nothing.
    across = max(0.5, math.sqrt(1 + 2 * max(LEAST_SHAPE, tail.shape))) / root
    scale = np.exp(middle + across * GRID_ERRORS)
    return np.broadcast_to(shape, scale.shape), scale
