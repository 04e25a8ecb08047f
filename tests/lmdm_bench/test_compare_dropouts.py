"""Dropouts of two sides are told apart when chance would hardly do it, and only then."""

import math

import numpy as np
import pytest
from scipy import stats

from lmdm_bench.compare_dropouts import dropout_test
from lmdm_bench.compare_record import Misses


def misses(num_dropouts, hours=1.0, num_misses=None, num_due=1600):
    return Misses(num_due, num_dropouts if num_misses is None else num_misses, num_dropouts, hours)


@pytest.mark.parametrize(
    ("a", "b", "verdict", "p"),
    [
        # Of n dropouts all on one side: 2 ÷ 2ⁿ.
        (0, 5, "AMBIGUOUS", 2 / 2**5),
        (0, 6, "MORE", 2 / 2**6),
        (6, 0, "LESS", 2 / 2**6),
        (7, 7, "AMBIGUOUS", 1.0),
    ],
)
def test_p_is_what_coins_say(a, b, verdict, p):
    found = dropout_test(misses(a), misses(b))
    assert found.verdict == verdict
    assert found.p == pytest.approx(p)
    assert (found.a_per_hour, found.b_per_hour) == (a, b)


def test_rates_count_not_numbers():
    found = dropout_test(misses(5, hours=0.5), misses(20, hours=2.0))
    assert found.verdict == "AMBIGUOUS"
    assert found.ratio.value == pytest.approx(1.0)
    assert dropout_test(misses(5, hours=0.5), misses(5, hours=8.0)).verdict == "LESS"


def test_the_ratio_has_the_interval_of_its_share():
    found = dropout_test(misses(4, hours=2.0), misses(12, hours=1.0)).ratio
    low, high = (stats.beta.ppf(at, k, 17 - k) for at, k in ((0.025, 12), (0.975, 13)))
    assert found.value == pytest.approx(6.0)
    assert found.ci95 == pytest.approx((2 * low / (1 - low), 2 * high / (1 - high)))
    assert dropout_test(misses(0), misses(9)).ratio.reason == "side a had no dropouts"
    assert dropout_test(misses(9), misses(0)).ratio.value == 0.0


def test_without_dropouts_it_says_how_many_there_can_be():
    found = dropout_test(misses(0, hours=2.0), misses(0, hours=0.5))
    assert (found.verdict, found.p) == ("SAME", None)
    assert f"fewer than {-math.log(0.05) / 0.5:.2g} an hour" in found.reasons[0]


def test_nothing_played_is_not_sameness():
    found = dropout_test(misses(0, hours=0.0, num_due=0), misses(3))
    assert (found.verdict, found.a_per_hour, found.ratio.value) == ("AMBIGUOUS", None, None)


def test_misses_are_told_with_their_own_test():
    a, b = misses(2, num_misses=5, num_due=1000), misses(2, num_misses=40, num_due=1000)
    p = stats.fisher_exact([[5, 995], [40, 960]]).pvalue
    found = dropout_test(a, b)
    assert found.verdict == "AMBIGUOUS"
    assert f"p = {p:.2g}" in found.reasons[1]


def test_alike_sides_are_rarely_told_apart():
    rng = np.random.default_rng(0)
    told = [dropout_test(misses(a), misses(b)).verdict for a, b in rng.poisson(8.0, (500, 2))]
    assert 1 <= sum(one in ("MORE", "LESS") for one in told) <= 0.05 * 500
