"""Where a row of log times changes for good: the segmentation that costs least.

Between two changes lies a plateau, whose values share one level. Each lies off it by its own error
and by what one record differs from the next, both known beforehand. A segmentation costs the
squared distances from its levels in units of those errors, and a fixed price for each change. The
cheapest is found by dynamic programming over the last change, so it is the optimum and not a guess.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import stats

from lmdm_bench.compare_effect import PRIOR_RECORD_SD

# By how much (log, one standard deviation) the medians of two records of the same code differ on
# the same machine beyond what their own intervals say: other pages, another boost, others' load.
# The same allowance as where two records are compared.
RECORD_SPREAD = PRIOR_RECORD_SD
# From so many values on a machine that spreads its records more than that is believed.
LEAST_FOR_SPREAD = 8
# How often a row without any change may be said to have one.
FALSE_CHANGES = 0.05

# The median distance of a normal value from its mean, in standard deviations.
_NORMAL_MEDIAN_DISTANCE = 0.6745

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Plateau:
    """Values ``begin`` up to ``end`` (not with it) that share a level: it is ``value``, a log."""

    begin: int
    end: int
    value: float
    standard_error: float

    @property
    def num_values(self) -> int:
        return self.end - self.begin


def find_plateaus(
    values: Sequence[float], standard_errors: Sequence[float], least_jump: float
) -> tuple[Plateau, ...]:
    """The plateaus of a row of logs, in order; one where nothing changes, none of no values.

    ``standard_errors`` are the values' own. Two neighbouring plateaus are at least ``least_jump``
    (log) apart: those that are nearer are one. Raises ValueError on unequal lengths, on what is not
    finite, or on a negative error or jump.
    """
    row, own = np.asarray(values, dtype=np.float64), np.asarray(standard_errors, dtype=np.float64)
    if row.ndim != 1 or row.shape != own.shape:
        raise ValueError(f"each value should have an error: got {row.shape} and {own.shape}")
    if not (np.isfinite(row).all() and np.isfinite(own).all() and (own >= 0).all()):
        raise ValueError("values should be finite, and errors finite and not negative")
    if least_jump < 0:
        raise ValueError(f"the least jump should not be negative, got {least_jump}")
    if not row.size:
        return ()
    weights = 1 / (own**2 + _spread(row, own) ** 2)
    begins = _cheapest(row, weights, price(row.size))
    found = _plateaus(row, weights, begins)
    while len(found) > 1:
        jumps = [abs(one.value - other.value) for one, other in pairwise(found)]
        smallest = int(np.argmin(jumps))
        if jumps[smallest] >= least_jump:
            break
        begins = [one.begin for one in found if one is not found[smallest + 1]]
        found = _plateaus(row, weights, begins)
    return found


def price(num_values: int) -> float:
    """What a change costs: what the best of all places gains by chance in 5 % of even rows.

    Splitting an even row at a given place gains a chi-squared of one degree of freedom; that the
    best place counts is paid for as if all places were independent (Bonferroni).
    """
    num_places = max(1, num_values - 1)
    return float(stats.chi2.isf(FALSE_CHANGES / num_places, 1))


def _spread(row: Floats, own: Floats) -> float:
    """What records differ by beyond their own errors: as named above, or more where more shows.

    The median distance of neighbours is not moved by a few changes.
    """
    if row.size < LEAST_FOR_SPREAD:
        return RECORD_SPREAD
    apart = float(np.median(np.abs(np.diff(row)))) / (_NORMAL_MEDIAN_DISTANCE * math.sqrt(2))
    beyond = apart**2 - float(np.median(own**2))
    return max(RECORD_SPREAD, math.sqrt(max(0.0, beyond)))


def _cheapest(row: Floats, weights: Floats, change_price: float) -> list[int]:
    """Where the segments of the cheapest segmentation begin."""
    centred = row - row[0]
    sums = [np.concatenate([[0.0], np.cumsum(weights * centred**power)]) for power in range(3)]
    least = np.zeros(row.size + 1)
    least[0] = -change_price
    last_begin = np.zeros(row.size + 1, dtype=int)
    for end in range(1, row.size + 1):
        total, first, second = (one[end] - one[:end] for one in sums)
        costs = least[:end] + second - first**2 / total + change_price
        last_begin[end] = int(np.argmin(costs))
        least[end] = costs[last_begin[end]]
    begins, end = [], row.size
    while end > 0:
        end = int(last_begin[end])
        begins.append(end)
    return begins[::-1]


def _plateaus(row: Floats, weights: Floats, begins: Sequence[int]) -> tuple[Plateau, ...]:
    ends = [*begins[1:], row.size]
    return tuple(
        Plateau(
            begin,
            end,
            float(np.average(row[begin:end], weights=weights[begin:end])),
            float(1 / math.sqrt(weights[begin:end].sum())),
        )
        for begin, end in zip(begins, ends, strict=True)
    )
