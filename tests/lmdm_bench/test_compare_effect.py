"""Effects and intervals by hand, against brute force, and as often right as they say."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import compare_records
from lmdm_bench.compare_effect import (
    NO_TIME,
    PAIRED_METHOD,
    PRIOR_PROCESS_SD,
    PRIOR_RECORD_SD,
    PRIOR_WEIGHT,
    TOO_FEW,
    UNPAIRED_METHOD,
    Effect,
    effect,
    p99_effect,
)
from lmdm_bench.compare_record import Times

OWN_SD = 0.02


def steady(ratio, num_pairs=8, a_ms=100.0):
    """Pairs that all have this ratio."""
    return Times((a_ms,) * num_pairs, (a_ms * ratio,) * num_pairs)


def pairs(rng, num_pairs, ratio=1.0, own_sd=OWN_SD):
    return Times(*(by * rng.lognormal(5, own_sd, num_pairs) for by in (1.0, ratio)))


def interval(centre, standard_error, dof):
    width = stats.t.ppf(0.975, dof) * standard_error
    return math.exp(centre - width), math.exp(centre + width)


# --- by hand ---------------------------------------------------------------------


def test_processes_without_noise_within_them_have_a_moderated_interval():
    logs = np.array([0.01, 0.03, 0.05])
    found = effect([steady(math.exp(one)) for one in logs], is_paired=True)
    dof = PRIOR_WEIGHT + 2
    variance = (PRIOR_WEIGHT * PRIOR_PROCESS_SD**2 + 2 * 0.02**2) / dof
    assert found.ratio == pytest.approx(math.exp(0.03))
    assert found.standard_error == pytest.approx(math.sqrt(variance / 3))
    assert found.ci95 == pytest.approx(interval(0.03, found.standard_error, dof))
    assert (found.dof, found.pairs_variance) == (dof, pytest.approx(0.0, abs=1e-20))
    assert (found.num_pairs, found.num_processes, found.method) == (24, 3, PAIRED_METHOD)


def test_one_process_has_the_interval_of_the_prior():
    found = effect([steady(1.1)], is_paired=True)
    assert found.ci95 == pytest.approx(interval(math.log(1.1), PRIOR_PROCESS_SD, PRIOR_WEIGHT))


def test_unpaired_sides_have_processes_of_their_own():
    a, b = [100.0, 104.0], [110.0]
    runs = [Times((a[0],) * 8, (b[0],) * 10), Times((a[1],) * 6, ())]
    found = effect(runs, is_paired=False)
    centre = math.log(110) - (math.log(100) + math.log(104)) / 2
    variance = (PRIOR_WEIGHT * PRIOR_RECORD_SD**2 / 2 + math.log(1.04) ** 2 / 2) / 5
    error = math.sqrt(variance * (1 + 1 / 2))
    assert found.ratio == pytest.approx(math.exp(centre))
    assert found.ci95 == pytest.approx(interval(centre, error, 5))
    assert (found.num_pairs, found.num_processes, found.method) == (10, 1, UNPAIRED_METHOD)


def test_the_median_of_pairs_is_resampled_as_by_brute_force():
    for size in (25, 64):
        rng = np.random.default_rng(size)
        times = pairs(rng, size)
        ratios = np.log(times.b_ms) - np.log(times.a_ms)
        drawn = np.median(rng.choice(ratios, (4000, size)), axis=1)
        low, high = np.quantile(drawn, [stats.norm.cdf(-1), stats.norm.cdf(1)])
        # Neighbours that happen to be alike may add to it.
        found = math.sqrt(effect([times], is_paired=True).pairs_variance) / ((high - low) / 2)
        assert 0.9 < found < 1.35


def test_neighbours_that_are_alike_count_for_less():
    ordered = np.sort(np.random.default_rng(0).lognormal(0, OWN_SD, 64))
    shuffled = np.random.default_rng(1).permutation(ordered)
    wide, narrow = (
        effect([Times(tuple(np.ones(64)), tuple(one))], is_paired=True).pairs_variance
        for one in (ordered, shuffled)
    )
    assert 5 * narrow < wide


def test_a_spike_does_not_make_the_interval_its_own():
    times = pairs(np.random.default_rng(0), 16)
    spiked = dataclasses.replace(times, b_ms=(*times.b_ms[:-1], 3 * times.b_ms[-1]))
    calm, hit = (effect([one] * 3, is_paired=True) for one in (times, spiked))
    assert hit.ratio == pytest.approx(calm.ratio, rel=0.01)
    assert hit.standard_error < 1.3 * calm.standard_error


@given(st.integers(0, 999), st.floats(0.1, 10.0), st.integers(1, 4), st.booleans())
def test_sides_units_and_processes_have_no_favourites(seed, unit, num_processes, is_paired):
    rng = np.random.default_rng(seed)
    drawn = [pairs(rng, 12, ratio=1.1) for _ in range(num_processes)]
    found = effect(drawn, is_paired)
    assert found.ci95[0] < found.ratio < found.ci95[1]
    scaled = [Times(*(tuple(unit * ms for ms in side) for side in (x.a_ms, x.b_ms))) for x in drawn]
    swapped = effect([Times(one.b_ms, one.a_ms) for one in reversed(scaled)], is_paired)
    low, high = swapped.ci95
    assert (1 / swapped.ratio, 1 / high, 1 / low) == pytest.approx((found.ratio, *found.ci95))


# --- what cannot be told ----------------------------------------------------------


def test_five_samples_in_a_process_are_too_few():
    assert effect([], is_paired=True) == TOO_FEW
    assert effect([steady(1.1, num_pairs=5)] * 9, is_paired=True) == TOO_FEW
    assert isinstance(effect([steady(1.1, num_pairs=6)], is_paired=True), Effect)
    assert effect([Times((1.0,) * 6, (1.0,) * 5)], is_paired=False) == TOO_FEW


def test_a_process_that_was_cut_short_does_not_count():
    found = effect([steady(1.1), steady(1.1), steady(7.0, num_pairs=5)], is_paired=True)
    assert found == effect([steady(1.1), steady(1.1)], is_paired=True)


@pytest.mark.parametrize("is_paired", [True, False])
def test_a_time_of_nothing_has_no_ratio(is_paired):
    for times in (Times((0.0,) * 8, (1.0,) * 8), Times((1.0,) * 8, (-1.0,) + (1.0,) * 7)):
        assert effect([steady(1.1), times], is_paired) == NO_TIME
        assert p99_effect([steady(1.1), times], is_paired) == NO_TIME


# --- how sure ---------------------------------------------------------------------


def test_p_is_of_the_side_on_which_the_effect_is():
    found = Effect(1.05, 0.01, 6.0, 0.0, 48, 3, PAIRED_METHOD)
    beyond = (math.log(1.05) - math.log(1.03)) / 0.01
    assert found.p_beyond(0.03, is_slower=True) == pytest.approx(stats.t.sf(beyond, 6))
    assert found.p_beyond(0.03, is_slower=False) > 0.999
    turned = dataclasses.replace(found, ratio=1 / 1.05)
    assert turned.p_beyond(0.03, is_slower=False) == pytest.approx(stats.t.sf(beyond, 6))


def test_p_and_the_interval_agree_on_the_border():
    error = (math.log(1.05) - math.log(1.03)) / stats.t.ppf(0.975, 6)
    found = Effect(1.05, error, 6.0, 0.0, 48, 3, PAIRED_METHOD)
    assert found.ci95[0] == pytest.approx(1.03)
    assert found.p_beyond(0.03, is_slower=True) == pytest.approx(0.025)


@pytest.mark.parametrize("ratio", [1.0, 1.01, 1.05, 0.95])
def test_with_the_needed_pairs_the_border_is_as_far_as_it_has_to_be(ratio):
    found = Effect(ratio, 0.01, 6.0, 0.9e-4, 48, 3, PAIRED_METHOD)
    needed = found.needed_pairs(0.03)
    error = math.sqrt(0.1e-4 + 0.9e-4 * 48 / needed)
    distance = abs(abs(math.log(ratio)) - math.log(1.03))
    margin = stats.t.ppf(0.975, 6) + stats.t.ppf(0.8, 6)
    assert needed > 48
    assert distance == pytest.approx(margin * error, rel=0.02)


def test_pairs_do_not_help_where_processes_differ_or_the_border_is_hit():
    assert Effect(1.02, 0.01, 6.0, 1e-6, 48, 3, PAIRED_METHOD).needed_pairs(0.03) is None
    assert Effect(1.03, 0.01, 6.0, 1e-4, 48, 3, PAIRED_METHOD).needed_pairs(0.03) is None


# --- tails ------------------------------------------------------------------------


def test_a_percentile_needs_368_samples_of_all_processes():
    rng = np.random.default_rng(0)
    found = p99_effect([pairs(rng, 122) for _ in range(3)], is_paired=True)
    assert found == "needs 368 samples on each side, has 366"
    assert isinstance(p99_effect([pairs(rng, 123) for _ in range(3)], is_paired=True), Effect)


def test_a_tail_that_grew_is_found_where_the_median_stands_still():
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(3):
        times = pairs(rng, 200)
        slow = np.where(rng.random(200) < 0.03, 1.5, 1.0)
        drawn.append(Times(times.a_ms, tuple(times.b_ms * slow)))
    assert p99_effect(drawn, is_paired=True).ci95[0] > 1.1
    low, high = effect(drawn, is_paired=True).ci95
    assert low < 1 < high


def test_a_percentile_is_no_surer_than_the_processes_are():
    runs = [steady(ratio, 400) for ratio in (0.9, 1.0, 1.1)]
    median, tail = effect(runs, is_paired=True), p99_effect(runs, is_paired=True)
    assert tail.standard_error >= median.standard_error


# --- as often right as it says ------------------------------------------------------


def coverage(draw, times):
    """Of experiments in which nothing changed, the share whose interval has 1 in it."""
    held = 0
    for seed in range(times):
        low, high = effect(draw(np.random.default_rng(seed)), is_paired=True).ci95
        held += low < 1 < high
    return held / times


def drawn_from(rng, num_processes, num_pairs, process_sd, own_sd):
    return [
        pairs(rng, num_pairs, math.exp(rng.normal(0, process_sd)), own_sd)
        for _ in range(num_processes)
    ]


@pytest.mark.parametrize(
    ("num_processes", "num_pairs"), [(1, 16), (2, 16), (3, 16), (3, 64), (5, 200)]
)
def test_where_processes_differ_as_the_prior_says_it_holds_in_95_percent(num_processes, num_pairs):
    def draw(rng):
        sd = PRIOR_PROCESS_SD * math.sqrt(PRIOR_WEIGHT / rng.chisquare(PRIOR_WEIGHT))
        return drawn_from(rng, num_processes, num_pairs, sd, own_sd=0.005)

    assert 0.93 <= coverage(draw, times=1000) <= 0.975


@pytest.mark.parametrize(
    ("times_the_prior", "num_processes", "least", "most"),
    [
        (0.0, 3, 0.985, 1.0),  # processes that do not differ: wider than it need be
        (1.0, 3, 0.96, 0.995),
        (2.0, 3, 0.85, 0.95),  # processes that differ more than the prior says: too narrow,
        (4.0, 3, 0.70, 0.90),
        (4.0, 1, 0.45, 0.75),  # and with one process nothing else is known of them
    ],
)
def test_the_interval_is_as_good_as_its_prior(times_the_prior, num_processes, least, most):
    def draw(rng):
        return drawn_from(rng, num_processes, 64, times_the_prior * PRIOR_PROCESS_SD, own_sd=0.01)

    assert least <= coverage(draw, times=500) <= most


@pytest.mark.parametrize("noise", compare_records.NOISES)
def test_what_the_machine_does_to_both_sides_does_not_spoil_it(noise):
    def draw(rng):
        return [compare_records.process(300, 16, rng, noise=noise).service for _ in range(3)]

    assert coverage(draw, times=200) >= 0.95


@pytest.mark.parametrize("alike", [0.3, 0.6])
def test_pairs_that_are_like_their_neighbours_do_not_spoil_it(alike):
    def draw(rng):
        found = []
        for _ in range(3):
            logs = np.zeros(64)
            for at in range(64):
                logs[at] = alike * logs[at - 1] + rng.normal(0, 0.02)
            logs += rng.normal(0, PRIOR_PROCESS_SD)
            found.append(Times((100.0,) * 64, tuple(100 * np.exp(logs))))
        return found

    assert coverage(draw, times=400) >= 0.93


@pytest.mark.parametrize("shape", ["normal", "skewed", "spiked"])
def test_a_percentile_holds_in_95_percent_too(shape):
    def side(rng):
        own = rng.lognormal(5 + rng.normal(0, PRIOR_PROCESS_SD), 0.02, 130)
        if shape == "skewed":
            return tuple(own * (1 + rng.gamma(0.5, 0.05, 130)))
        return tuple(own * np.where(rng.random(130) < 0.04 * (shape == "spiked"), 1.6, 1.0))

    held = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        low, high = p99_effect([Times(side(rng), side(rng)) for _ in range(3)], is_paired=True).ci95
        held += low <= 1 <= high
    assert held / 300 >= 0.93


@pytest.mark.parametrize(("num_a", "num_b"), [(1, 1), (3, 3), (3, 1)])
def test_records_that_differ_as_their_prior_says_are_held_in_95_percent(num_a, num_b):
    def runs(rng, sd):
        return tuple(rng.lognormal(5 + rng.normal(0, sd), 0.005, 50))

    held = 0
    for seed in range(600):
        rng = np.random.default_rng(seed)
        sd = PRIOR_RECORD_SD / math.sqrt(2) * math.sqrt(PRIOR_WEIGHT / rng.chisquare(PRIOR_WEIGHT))
        a, b = ([runs(rng, sd) for _ in range(num)] for num in (num_a, num_b))
        both = [Times(x, y) for x, y in itertools.zip_longest(a, b, fillvalue=())]
        low, high = effect(both, is_paired=False).ci95
        held += low < 1 < high
    assert 0.93 <= held / 600 <= 0.975
