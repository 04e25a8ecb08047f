"""How times grow with sizes: fits whose every figure carries its uncertainty.

Data come as ``seconds[rounds, points]``: each round visited every point once, so rounds are the
replicates, and what a whole round shares (a slow clock) is seen as such. Noise is taken as relative
to the time; no round is left out.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from lmdm_bench.record import Estimate

CONFIDENCE = 0.95
MIN_ROUNDS_FOR_INTERVAL = 2
RESAMPLES = 1000

MIN_SIZES_FOR_BEND = 3
# Nearer to 0 than this many standard errors, a slope has no logarithm worth its name.
CLEAR_SLOPE_ERRORS = 3.0

# From here on a floor and a power are told apart (measuring.md 7.4).
MIN_SIZES_FOR_FLOOR = 6
MIN_SPAN_FOR_FLOOR = 32.0
MIN_SIZES_ABOVE_FLOOR = 2
FLOORS_TO_BE_ABOVE = 3.0
# An exponent is looked for between these; attention's is 2, a matrix product's 3.
LEAST_EXPONENT = 0.1
GREATEST_EXPONENT = 6.0
# Starts of the search: exponents, and floors as shares of the power's part at the largest size.
START_EXPONENTS = np.linspace(LEAST_EXPONENT, GREATEST_EXPONENT, 60)
START_FLOORS = np.concatenate([[0.0], np.logspace(-5.0, 3.0, 33)])
SEARCH_TOLERANCE = 1e-12
REFIT_STEPS = 4
# A resample's floor may be below 0, or the spread about a floor of 0 would be halved. It stays
# above this share of the power's part at the smallest size, so that each time stays positive.
LEAST_RESAMPLED_FLOOR = -0.5

MAX_TERMS = 8
# Beyond the terms: one for the residuals' variance, one of AICc's own, one left to divide by.
SPARE_POINTS = 3
# At this condition number 1 % of noise becomes up to 100 % of a coefficient.
CONDITION_LIMIT = 100.0
# Relative residuals below this are rounding: a larger model does not win by them, and columns that
# differ by less are the same.
ROUNDING = 1e-12

# Half the distance between these quantiles of a normal variable is its standard error. Unlike a
# standard deviation it forgives a few resamples that ran away.
_ONE_ERROR_QUANTILES = (float(stats.norm.cdf(-1.0)), float(stats.norm.cdf(1.0)))

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """One figure with its uncertainty, from which intervals of any confidence come.

    ``standard_error`` is that of the value, or of its natural logarithm where ``is_positive``; it
    is infinite with 0 degrees of freedom where one round cannot tell it. ``n`` counts rounds.
    """

    value: float
    standard_error: float
    degrees_of_freedom: float
    n: int
    method: str
    is_positive: bool

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """The two-sided interval by Student's t, on the logarithmic scale where ``is_positive``.

        Raises ValueError on fewer than two rounds, or on a confidence outside (0, 1).
        """
        if not 0.0 < confidence < 1.0:
            raise ValueError(f"confidence should be between 0 and 1, got {confidence}")
        if self.n < MIN_ROUNDS_FOR_INTERVAL:
            raise ValueError(f"{_NO_INTERVAL}, got {self.n}")
        width = float(stats.t.isf((1 - confidence) / 2, self.degrees_of_freedom))
        width *= self.standard_error
        if not self.is_positive:
            return self.value - width, self.value + width
        if width > math.log(np.finfo(np.float64).max / max(self.value, 1.0)):
            return 0.0, math.inf
        return self.value * math.exp(-width), self.value * math.exp(width)

    def estimate(self) -> Estimate:
        """The value with its 95 % interval, or with the reason why it has none."""
        if self.n < MIN_ROUNDS_FOR_INTERVAL:
            return Estimate(self.value, None, self.n, self.method, _NO_INTERVAL)
        low, high = self.interval()
        if not (math.isfinite(low) and math.isfinite(high)):
            reason = "the rounds differ too much for an interval"
            return Estimate(self.value, None, self.n, self.method, reason)
        return Estimate(self.value, (low, high), self.n, self.method, None)


_NO_INTERVAL = f"an interval needs {MIN_ROUNDS_FOR_INTERVAL} rounds"


def over_rounds(values: Sequence[float], *, is_positive: bool) -> Fitted:
    """The mean of one value per round, the geometric mean where ``is_positive``; Student's t.

    Raises ValueError on no value, on NaN or infinity, and on a value that is not above 0 where all
    should be.
    """
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 1 or given.size == 0:
        raise ValueError(f"values should be one number per round, got shape {given.shape}")
    if not np.isfinite(given).all():
        raise ValueError("values should be finite, got NaN or infinity")
    if is_positive and given.min() <= 0:
        raise ValueError(f"values should be above 0, got {given.min()}")
    scaled = np.log(given) if is_positive else given
    mean = float(scaled.mean())
    value = math.exp(mean) if is_positive else mean
    return _from_deviations(value, scaled - mean, is_positive=is_positive)


@dataclass(frozen=True)
class Line:
    """A straight line through the times: t = intercept + slope · size.

    ``intercept`` is in seconds, ``slope`` in seconds per unit of size. ``bend`` is the slope over
    the upper half of the sizes ÷ the slope over the lower half, 1 where the line is straight; it is
    None with the reason in ``why_no_bend`` where a half has no slope that is clear of 0.
    """

    intercept: Fitted
    slope: Fitted
    bend: Fitted | None
    why_no_bend: str | None


def line(sizes: Sequence[float], seconds: npt.ArrayLike) -> Line:
    """The line through the times by least squares of the relative errors, per round.

    The weights are 1/t² of the mean over rounds, the same in each round, so the mean of the rounds'
    figures is the figure of their mean. The intervals say how the line through these very sizes
    repeats; that it is a line is for ``bend`` to say. Its halves share the middle size where the
    number of sizes is odd and nothing where it is even. Raises ValueError on fewer than two sizes,
    or on sizes or seconds that do not fit each other.
    """
    at = _sizes(sizes)
    times = _seconds(seconds, at.size)
    per_round = times @ _line_weights(at, times.mean(axis=0)).T
    intercept, slope = (over_rounds(column, is_positive=False) for column in per_round.T)
    bend, why_no_bend = _bend(at, times)
    return Line(intercept, slope, bend, why_no_bend)


def local_exponents(sizes: Sequence[float], seconds: npt.ArrayLike) -> tuple[Fitted, ...]:
    """d log t / d log n between neighbouring sizes, smallest first: one fewer than sizes.

    Where they rise from 0, a floor hides the growth. Raises ValueError on fewer than two sizes, or
    on sizes or seconds that do not fit each other.
    """
    at = _sizes(sizes)
    times = _seconds(seconds, at.size)
    per_round = np.diff(np.log(times), axis=1) / np.diff(np.log(at))
    return tuple(over_rounds(column, is_positive=False) for column in per_round.T)


@dataclass(frozen=True)
class FloorFit:
    """A power law above a floor: t = floor + factor · size^exponent.

    ``floor`` is in seconds, ``factor`` in seconds at size 1. An interval of the floor may reach
    below 0: then there may be none. The three are None with the reason in ``why_not`` where the
    times cannot tell them apart. ``relative_residuals`` are, per size, (geometric mean over rounds
    − fit) ÷ fit; there are none where the sizes are too few for a fit.
    """

    floor: Fitted | None
    factor: Fitted | None
    exponent: Fitted | None
    relative_residuals: tuple[float, ...]
    why_not: str | None


def floor_power_law(sizes: Sequence[float], seconds: npt.ArrayLike, seed: int) -> FloorFit:
    """The power law above a floor, by least squares of the logarithms of the times.

    The intervals come from a bootstrap of the rounds and of the sizes' departures from the law (see
    ``_Noise``). Told apart are floor and power from 6 sizes that span a factor of 32, two of which
    have a power's part of more than three floors. Raises ValueError on fewer than two sizes, or on
    sizes or seconds that do not fit each other.
    """
    at = _sizes(sizes)
    logs = np.log(_seconds(seconds, at.size))
    span = at[-1] / at[0]
    if at.size < MIN_SIZES_FOR_FLOOR or span < MIN_SPAN_FOR_FLOOR:
        needed = f"needs {MIN_SIZES_FOR_FLOOR} sizes spanning {MIN_SPAN_FOR_FLOOR:g}x"
        return FloorFit(None, None, None, (), f"{needed}, has {at.size} spanning {span:g}x")
    shares = at / at[-1]
    mean = logs.mean(axis=0)
    law = _search_law(shares, mean)
    residuals = mean - _log_law(shares, law)
    relative = tuple(float(residual) for residual in np.expm1(residuals))
    why_not = _why_no_exponent(shares, law)
    if why_not is not None:
        return FloorFit(None, None, None, relative, why_not)
    noise = _Noise.of(logs - mean, residuals, _law_jacobian(shares, law))
    refits = _refit_law(shares, mean - residuals + noise.draws(seed), law)
    floor, factor, exponent = _law_figures(at, law, noise, refits)
    return FloorFit(floor, factor, exponent, relative, None)


@dataclass(frozen=True)
class ClaimModel:
    """Times as a sum of terms, each a known count times an unknown cost that is not negative.

    ``names`` are all terms that were offered, ``chosen`` those of the model with the lowest AICc,
    and ``coefficients`` their costs in seconds per unit; the intervals take the choice as given.
    ``compared`` holds each model's terms and AICc, best first. Per point: ``predicted`` seconds,
    and ``relative_residuals``, (mean over rounds − predicted) ÷ predicted. All are empty, with the
    reason in ``why_not``, where the points cannot tell the terms apart.
    """

    names: tuple[str, ...]
    coefficients: dict[str, Fitted]
    chosen: tuple[str, ...]
    compared: tuple[tuple[tuple[str, ...], float], ...]
    relative_residuals: tuple[float, ...]
    predicted: tuple[float, ...]
    why_not: str | None


def claim_model(
    terms: Mapping[str, Sequence[float]], seconds: npt.ArrayLike, seed: int
) -> ClaimModel:
    """The sum of terms that tells the times best, by least squares of the relative errors.

    ``terms`` holds each term's count at each point; a constant is a term of ones. All models of one
    term or more are compared by AICc on the means over rounds, with the points as the sample. The
    coefficients' intervals come from a bootstrap of the rounds and of the points' departures from
    the model (see ``_Noise``). Raises ValueError on no terms or too many, on a negative count, or
    on terms and seconds that do not fit each other.
    """
    names = tuple(terms)
    counts = _counts(terms)
    times = _seconds(seconds, counts.shape[0])
    mean = times.mean(axis=0)
    design = counts / mean[:, None]
    why_not = _why_no_terms(names, design)
    models = [] if why_not else _models(design)
    if not models:
        reason = why_not or "each sum of terms is 0 at some point"
        return ClaimModel(names, {}, (), (), (), (), reason)
    compared = tuple((tuple(names[index] for index in chosen), aicc) for chosen, aicc in models)
    best = list(models[0][0])
    jacobian = design[:, best]
    weights = _inverse(jacobian)
    coefficients = weights.sum(axis=1)
    fitted = jacobian @ coefficients
    noise = _Noise.of(times / mean - 1.0, 1.0 - fitted, jacobian)
    draws = (fitted + noise.draws(seed)) @ weights.T
    return ClaimModel(
        names=names,
        coefficients={
            names[index]: noise.fitted(float(value), draw, weight, is_positive=False)
            for index, value, draw, weight in zip(best, coefficients, draws.T, weights, strict=True)
        },
        chosen=compared[0][0],
        compared=compared,
        relative_residuals=tuple(float(residual) for residual in 1.0 / fitted - 1.0),
        predicted=tuple(float(time) for time in fitted * mean),
        why_not=None,
    )


@dataclass(frozen=True)
class _Noise:
    """What blurs the means over rounds, of which there is one per point.

    ``deviations[rounds, points]`` are the rounds' departures from the mean. ``misfit_variance`` is
    a point's own departure from the model, which no number of rounds averages out: the residuals'
    variance less the part that the rounds' noise explains, told by ``num_spare_points`` degrees of
    freedom. Rounds alone would give intervals that are too narrow as soon as the model is only
    nearly right.
    """

    deviations: Floats
    misfit_variance: float
    num_spare_points: int

    @staticmethod
    def of(deviations: Floats, residuals: Floats, jacobian: Floats) -> "_Noise":
        """The noise about a fit whose residuals and derivatives [points, parameters] are given."""
        num_rounds, num_points = deviations.shape
        num_spare_points = num_points - jacobian.shape[1]
        if num_rounds < MIN_ROUNDS_FOR_INTERVAL:
            return _Noise(deviations, math.inf, num_spare_points)
        # What a round's own fit takes up, a shared slow clock above all, is not in the residuals.
        own = deviations - deviations @ _inverse(jacobian).T @ jacobian.T
        of_rounds = float((own**2).sum()) / (num_rounds - 1) / num_rounds
        misfit = (float((residuals**2).sum()) - of_rounds) / num_spare_points
        return _Noise(deviations, max(0.0, misfit), num_spare_points)

    def draws(self, seed: int) -> Floats:
        """Resampled errors [resamples, points] of the means.

        Rounds get random normal weights in place of random counts: the covariance of the points is
        the same, few rounds give no lumps, and its divisor is that of an unbiased variance.
        """
        num_rounds, num_points = self.deviations.shape
        if num_rounds < MIN_ROUNDS_FOR_INTERVAL:
            return np.zeros((RESAMPLES, num_points))
        rng = np.random.default_rng(seed)
        weights = rng.standard_normal((RESAMPLES, num_rounds))
        weights /= math.sqrt(num_rounds * (num_rounds - 1))
        own = rng.standard_normal((RESAMPLES, num_points)) * math.sqrt(self.misfit_variance)
        return weights @ self.deviations + own

    def fitted(self, value: float, draws: Floats, weights: Floats, *, is_positive: bool) -> Fitted:
        """The figure with its resamples' spread; ``weights`` are its derivatives by the points.

        The resamples of a positive figure are those of its logarithm.
        """
        num_rounds = self.deviations.shape[0]
        if num_rounds < MIN_ROUNDS_FOR_INTERVAL:
            return Fitted(value, math.inf, 0.0, num_rounds, _BOOTSTRAP, is_positive)
        low, high = np.quantile(draws, _ONE_ERROR_QUANTILES)
        degrees = self._degrees_of_freedom(weights)
        return Fitted(value, float(high - low) / 2, degrees, num_rounds, _BOOTSTRAP, is_positive)

    def _degrees_of_freedom(self, weights: Floats) -> float:
        """Those of a sum of two variances, each with its own (Satterthwaite 1946).

        A misfit that is found by chance too small would also count for too little here, and the
        interval would miss twice over; so the sum never has more than the misfit's own.
        """
        num_rounds = len(self.deviations)
        of_rounds = float(((self.deviations @ weights) ** 2).sum()) / (num_rounds - 1) / num_rounds
        of_misfit = self.misfit_variance * float(weights @ weights)
        if of_misfit == 0:
            return num_rounds - 1.0
        share = of_misfit / (of_rounds + of_misfit)
        both = 1 / ((1 - share) ** 2 / (num_rounds - 1) + share**2 / self.num_spare_points)
        return min(both, float(self.num_spare_points))


_BOOTSTRAP = f"bootstrap of rounds and residuals, {RESAMPLES} resamples, Student's t"


def _from_deviations(value: float, deviations: Floats, *, is_positive: bool) -> Fitted:
    """The figure whose rounds deviate so from their mean, on its own scale."""
    n = deviations.size
    method = "Student's t over rounds"
    if n < MIN_ROUNDS_FOR_INTERVAL:
        return Fitted(value, math.inf, 0.0, n, method, is_positive)
    error = math.sqrt(float(deviations @ deviations) / (n - 1) / n)
    return Fitted(value, error, n - 1.0, n, method, is_positive)


def _inverse(jacobian: Floats) -> Floats:
    """The matrix [parameters, points] of least squares, whatever the parameters' units."""
    units = np.linalg.norm(jacobian, axis=0)
    inverse: Floats = np.linalg.pinv(jacobian / units) / units[:, None]
    return inverse


def _line_weights(sizes: Floats, means: Floats) -> Floats:
    """The matrix [2, sizes] that turns times into intercept and slope."""
    weights: Floats = _inverse(np.stack([1 / means, sizes / means], axis=1)) / means
    return weights


def _bend(sizes: Floats, times: Floats) -> tuple[Fitted | None, str | None]:
    """The ratio of the halves' mean slopes; the rounds' own ratios would be noisier."""
    if sizes.size < MIN_SIZES_FOR_BEND:
        return None, f"a bend needs {MIN_SIZES_FOR_BEND} sizes, has {sizes.size}"
    half = (sizes.size + 1) // 2
    slopes = {}
    for name, part in (("lower", slice(half)), ("upper", slice(-half, None))):
        weights = _line_weights(sizes[part], times[:, part].mean(axis=0))
        slopes[name] = times[:, part] @ weights[1]
        slope = over_rounds(slopes[name], is_positive=False)
        error = slope.standard_error if slope.n >= MIN_ROUNDS_FOR_INTERVAL else 0.0
        if slope.value <= CLEAR_SLOPE_ERRORS * error:
            return None, f"the slope over the {name} half of the sizes is not clear of 0"
    lower, upper = slopes["lower"], slopes["upper"]
    value = float(upper.mean() / lower.mean())
    deviations = upper / upper.mean() - lower / lower.mean()
    return _from_deviations(value, deviations, is_positive=True), None


# A law is three numbers: the logarithm of the power's part at the largest size, the floor as a
# share of that part, and the exponent. Sizes are shares of the largest. So a round that is slow as
# a whole moves the first number alone, and a floor of 0 is a number like others.


def _log_law(shares: Floats, law: Floats) -> Floats:
    logs: Floats = law[0] + np.log(law[1] + shares ** law[2])
    return logs


def _law_jacobian(shares: Floats, law: Floats) -> Floats:
    """Derivatives [..., sizes, 3] of the logarithms of the law's times; law is [..., 3]."""
    power = shares ** law[..., 2:]
    above = law[..., 1:2] + power
    return np.stack([np.ones_like(above), 1 / above, power * np.log(shares) / above], axis=-1)


def _search_law(shares: Floats, logs: Floats) -> Floats:
    """The law nearest to the logarithms of the times, from the best of many starts."""
    powers = shares ** START_EXPONENTS[:, None]
    scales = logs - np.log(START_FLOORS[:, None, None] + powers)
    floor_index, exponent_index = np.unravel_index(scales.var(axis=-1).argmin(), scales.shape[:-1])
    start = np.array(
        [
            scales[floor_index, exponent_index].mean(),
            START_FLOORS[floor_index],
            START_EXPONENTS[exponent_index],
        ]
    )
    found: Any = optimize.least_squares(
        lambda law: _log_law(shares, law) - logs,
        start,
        jac=lambda law: _law_jacobian(shares, law),
        bounds=([-np.inf, 0.0, LEAST_EXPONENT], [np.inf, np.inf, GREATEST_EXPONENT]),
        x_scale=(1.0, max(start[1], START_FLOORS[1]), 1.0),
        xtol=SEARCH_TOLERANCE,
        ftol=SEARCH_TOLERANCE,
        gtol=SEARCH_TOLERANCE,
    )
    return np.asarray(found.x, dtype=np.float64)


def _refit_law(shares: Floats, logs: Floats, law: Floats) -> Floats:
    """The laws [resamples, 3] of resampled logarithms [resamples, sizes], by Gauss and Newton."""
    laws = np.tile(law, (logs.shape[0], 1))
    for _ in range(REFIT_STEPS):
        power = shares ** laws[:, 2:]
        errors = logs - laws[:, :1] - np.log(laws[:, 1:2] + power)
        jacobian = _law_jacobian(shares, laws)
        units = np.linalg.norm(jacobian, axis=1)
        jacobian /= units[:, None, :]
        transposed = jacobian.transpose(0, 2, 1)
        steps = np.linalg.solve(transposed @ jacobian, transposed @ errors[..., None])
        laws += steps[..., 0] / units
        laws[:, 2] = laws[:, 2].clip(LEAST_EXPONENT, GREATEST_EXPONENT)
        laws[:, 1] = np.maximum(laws[:, 1], LEAST_RESAMPLED_FLOOR * shares[0] ** laws[:, 2])
    return laws


def _law_figures(
    sizes: Floats, law: Floats, noise: _Noise, refits: Floats
) -> tuple[Fitted, Fitted, Fitted]:
    """Floor, factor at size 1 and exponent, from the law and its refits [resamples, 3]."""
    scale, log_largest = math.exp(law[0]), math.log(sizes[-1])
    weights = _inverse(_law_jacobian(sizes / sizes[-1], law))
    floor = noise.fitted(
        scale * float(law[1]),
        np.exp(refits[:, 0]) * refits[:, 1],
        scale * (law[1] * weights[0] + weights[1]),
        is_positive=False,
    )
    factor = noise.fitted(
        math.exp(law[0] - law[2] * log_largest),
        refits[:, 0] - refits[:, 2] * log_largest,
        weights[0] - log_largest * weights[2],
        is_positive=True,
    )
    exponent = noise.fitted(float(law[2]), refits[:, 2], weights[2], is_positive=False)
    return floor, factor, exponent


def _why_no_exponent(shares: Floats, law: Floats) -> str | None:
    num_above = int((shares ** law[2] > FLOORS_TO_BE_ABOVE * law[1]).sum())
    if num_above < MIN_SIZES_ABOVE_FLOOR:
        return (
            "flat or launch-bound; exponent not identifiable: b*n^p exceeds "
            f"{FLOORS_TO_BE_ABOVE:g}a at {num_above} of the needed {MIN_SIZES_ABOVE_FLOOR} sizes"
        )
    for edge in (LEAST_EXPONENT, GREATEST_EXPONENT):
        if math.isclose(law[2], edge, rel_tol=1 / RESAMPLES):
            return f"exponent not identifiable: it ended at {edge:g}, the edge of the search"
    return None


def _why_no_terms(names: tuple[str, ...], design: Floats) -> str | None:
    num_points, num_terms = design.shape
    if num_points < num_terms + SPARE_POINTS:
        return f"{num_terms} terms need {num_terms + SPARE_POINTS} points, there are {num_points}"
    norms = np.linalg.norm(design, axis=0)
    if not norms.all():
        return f"{names[int(norms.argmin())]} is 0 at every point"
    _, stretches, directions = np.linalg.svd(design / norms)
    if stretches[0] <= CONDITION_LIMIT * stretches[-1]:
        return None
    # The largest of these variance inflation factors is always above the bound.
    lengths = np.maximum(stretches, ROUNDING * stretches[0])
    inflations = ((directions / lengths[:, None]) ** 2).sum(axis=0)
    is_alike = inflations > (CONDITION_LIMIT / num_terms) ** 2
    alike = [names[index] for index in np.flatnonzero(is_alike)]
    return (
        f"collinear terms: {', '.join(alike)} cannot be told apart at these points "
        f"(condition number above {CONDITION_LIMIT:g})"
    )


def _models(design: Floats) -> list[tuple[tuple[int, ...], float]]:
    """Each set of columns with its AICc, best first; sets that leave a point no time are out."""
    num_points, num_terms = design.shape
    norms = np.linalg.norm(design, axis=0)
    models = []
    for size in range(1, num_terms + 1):
        for chosen in itertools.combinations(range(num_terms), size):
            columns = design[:, chosen] / norms[list(chosen)]
            weights, distance = optimize.nnls(columns, np.ones(num_points))
            if (columns @ weights).min() > 0:
                models.append((chosen, _aicc(distance**2 / num_points, num_points, size + 1)))
    return sorted(models, key=lambda model: model[1])


def _aicc(variance: float, num_points: int, num_parameters: int) -> float:
    """Akaike's criterion, corrected for few points; the variance counts as a parameter."""
    penalty = 2 * num_parameters * num_points / (num_points - num_parameters - 1)
    return num_points * math.log(max(variance, ROUNDING**2)) + penalty


def _counts(terms: Mapping[str, Sequence[float]]) -> Floats:
    """The terms as a matrix [points, terms]."""
    if not 1 <= len(terms) <= MAX_TERMS:
        raise ValueError(f"a model should be offered 1 to {MAX_TERMS} terms, got {len(terms)}")
    lengths = {name: len(counts) for name, counts in terms.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"terms should have one count per point each, got lengths {lengths}")
    counts = np.array(list(terms.values()), dtype=np.float64).T
    if counts.ndim != 2:
        raise ValueError(f"terms should be rows of numbers, got shape {counts.T.shape}")
    if not (np.isfinite(counts).all() and (counts >= 0).all()):
        raise ValueError("counts should be finite and not negative")
    return counts


def _sizes(sizes: Sequence[float]) -> Floats:
    given = np.asarray(sizes, dtype=np.float64)
    if given.ndim != 1 or given.size < 2:
        raise ValueError(f"sizes should be a row of at least 2 numbers, got shape {given.shape}")
    if not (np.isfinite(given).all() and given[0] > 0 and (np.diff(given) > 0).all()):
        raise ValueError(f"sizes should be positive and ascend, got {given.tolist()}")
    return given


def _seconds(seconds: npt.ArrayLike, num_points: int) -> Floats:
    try:
        times = np.asarray(seconds, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError("seconds should be rounds of equally many numbers") from error
    if times.ndim != 2 or times.shape[0] == 0 or times.shape[1] != num_points:
        raise ValueError(f"seconds should be [rounds, {num_points}], got shape {times.shape}")
    if not (np.isfinite(times).all() and (times > 0).all()):
        raise ValueError("seconds should be finite and above 0")
    return times
