"""Tails of known distributions are found again, and what is no tail is refused."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.signal import lfilter

import check_records
import golden_traces
from lmdm_bench.tail import (
    MIN_CLUSTERS,
    MIN_VALUES,
    exceedance,
    fit_tail,
    max_inference_time_ms,
    mean_excess,
    qq_points,
    tail_quantile,
)


def pareto(n, shape=0.2, seed=0):
    return stats.genpareto.rvs(shape, size=n, random_state=np.random.default_rng(seed))


def remembering(rng, n, correlation):
    noise = rng.standard_normal(n + 100) * math.sqrt(1 - correlation**2)
    return lfilter([1], [1, -correlation], noise)[100:]


def held(draw, n, probability, times):
    """How often the interval of the odds of what has this probability holds it."""
    sample, truth = draw
    tails = [fit_tail(sample(np.random.default_rng(seed), n)) for seed in range(times)]
    told = [exceedance(tail, truth.isf(probability)).ci95 for tail in tails]
    intervals = [one for one in told if one is not None]
    assert len(intervals) > 0.9 * times
    return np.mean([low <= probability <= high for low, high in intervals])


DRAWS = {
    "exponential": (lambda rng, n: rng.exponential(size=n), stats.expon),
    "heavy": (
        lambda rng, n: stats.genpareto.rvs(0.3, size=n, random_state=rng),
        stats.genpareto(0.3),
    ),
    "normal": (lambda rng, n: rng.standard_normal(n), stats.norm),
    "remembering": (lambda rng, n: remembering(rng, n, 0.5), stats.norm),
}


@pytest.mark.parametrize("shape", [-0.2, 0.0, 0.3])
def test_the_parameters_of_a_pareto_tail_are_found(shape):
    found = fit_tail(10 + 3 * pareto(20_000, shape))
    assert found.reason is None and found.num_values == 20_000
    assert found.shape == pytest.approx(shape, abs=0.15)
    # Above another threshold the same tail has a scale that is larger by shape · distance.
    assert found.scale_ms == pytest.approx(3 + shape * (found.threshold_ms - 10), rel=0.2)


def test_the_fit_is_that_of_scipy():
    found = fit_tail(pareto(5000))
    excesses = np.array(found.excesses_ms)
    shape, _, scale = stats.genpareto.fit(excesses, floc=0)
    assert (found.shape, found.scale_ms) == (
        pytest.approx(shape, abs=2e-3),
        pytest.approx(scale, rel=2e-3),
    )


def test_exceedances_and_clusters_are_counted():
    found = fit_tail(pareto(5000))
    above = pareto(5000) > found.threshold_ms
    assert found.num_exceedances == above.sum()
    clusters = int((above & ~np.concatenate([[False], above[:-1]])).sum())
    assert len(found.excesses_ms) == clusters
    assert found.extremal_index == clusters / found.num_exceedances
    assert max(found.excesses_ms) == pareto(5000).max() - found.threshold_ms
    assert min(found.excesses_ms) > 0


def test_the_first_value_may_be_the_largest():
    values = pareto(1000)
    values[0] = values.max() + 1
    found = fit_tail(values)
    assert found.excesses_ms[0] == max(found.excesses_ms) == values[0] - found.threshold_ms


def test_each_value_four_times_in_a_row_is_one_cluster_of_four():
    once, repeated = fit_tail(pareto(4000)), fit_tail(np.repeat(pareto(1000), 4))
    assert repeated.extremal_index < 0.3 < 0.8 < once.extremal_index


@pytest.mark.parametrize("name", DRAWS)
def test_the_interval_of_rare_values_holds_in_a_ten_minute_run_of_long_blocks(name):
    assert held(DRAWS[name], 269, 1 / 807, 150) >= 0.88


@pytest.mark.parametrize("name", ["exponential", "heavy"])
def test_the_interval_of_rare_values_holds_in_long_runs(name):
    assert 0.91 <= held(DRAWS[name], 3000, 1 / 6000, 120) <= 0.995


def test_the_interval_of_a_rare_quantile_holds():
    times, truth = 120, stats.expon.isf(1e-4)
    intervals = [
        max_inference_time_ms(np.random.default_rng(seed).exponential(size=3000)).ci95
        for seed in range(times)
    ]
    assert 0.9 <= np.mean([low <= truth <= high for low, high in intervals]) <= 0.99


def test_the_quantile_and_the_probability_are_each_other_s_inverse():
    tail = fit_tail(pareto(5000))
    for probability in (1e-2, 1e-3, 1e-4):
        limit = tail_quantile(tail, probability).value
        assert exceedance(tail, limit).value == pytest.approx(probability)


def test_so_are_the_ends_of_their_intervals():
    tail = fit_tail(pareto(5000))
    low, high = tail_quantile(tail, 1e-3).ci95
    assert exceedance(tail, low).ci95[0] == pytest.approx(1e-3)
    assert exceedance(tail, high).ci95[1] == pytest.approx(1e-3)


@given(st.floats(0, 60))
@settings(max_examples=50, deadline=None)
def test_a_probability_lies_in_its_interval_and_falls_as_the_limit_rises(distance):
    tail = fit_tail(pareto(3000))
    near, far = (
        exceedance(tail, tail.threshold_ms + one) for one in (distance, distance * 1.5 + 0.01)
    )
    for one in (near, far):
        assert 0 <= one.ci95[0] <= one.value <= one.ci95[1] <= 1
        assert one.ci95[0] == 0 or one.ci95[0] >= 1 / 30_000
    assert far.value <= near.value and far.ci95[1] <= near.ci95[1]


def test_nothing_is_said_to_be_rarer_than_one_in_ten_times_the_run():
    tail = fit_tail(pareto(1000, -0.3))
    found = exceedance(tail, 1e9)
    assert found.value == found.ci95[1] == 1 / 10_000
    assert found.ci95[0] == 0
    assert "model-based" in found.method
    assert tail_quantile(tail, 1e-4).value is not None
    assert tail_quantile(tail, 0.9e-4).reason == "needs 1112 blocks"


@pytest.mark.parametrize(("n", "is_told"), [(999, False), (1000, True)])
def test_the_inference_time_for_a_plug_in_needs_a_thousand_blocks(n, is_told):
    found = max_inference_time_ms(pareto(n))
    assert (found.value is not None, found.reason) == (
        is_told,
        None if is_told else "needs 1000 blocks",
    )


def test_what_is_not_rare_is_not_modelled():
    tail = fit_tail(pareto(1000))
    assert "counted" in exceedance(tail, tail.threshold_ms - 0.01).reason
    assert "counted" in tail_quantile(tail, 0.5).reason
    assert exceedance(tail, tail.threshold_ms).value == pytest.approx(
        tail.num_exceedances / tail.num_values
    )


@pytest.mark.parametrize("values", [[], [5.0], pareto(MIN_VALUES - 1).tolist()])
def test_too_few_values_have_no_tail(values):
    found = fit_tail(values)
    assert found.reason == f"needs {MIN_VALUES} blocks"
    assert math.isnan(found.shape) and found.excesses_ms == ()
    for one in (exceedance(found, 1.0), tail_quantile(found, 0.01)):
        assert one.value is None and one.ci95 is None and one.reason == found.reason


def test_the_fewest_values_have_enough_clusters():
    assert fit_tail(pareto(MIN_VALUES)).reason is None
    assert len(fit_tail(pareto(MIN_VALUES)).excesses_ms) >= MIN_CLUSTERS


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.full(300, 7.0), "equal"),
        (golden_traces.stalls(), "do not follow one tail"),
        (np.array(check_records.stalls()), "do not follow one tail"),
        (np.array(check_records.spikes()), "do not follow one tail"),
        (np.arange(300.0), "fewer than 25 clusters"),
        (np.r_[np.random.default_rng(0).normal(30, 0.5, 1499), 60.0], "do not follow one tail"),
    ],
)
def test_what_has_no_tail_is_refused_with_the_reason(values, words):
    assert words in fit_tail(values).reason


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        fit_tail([1.0] * 300 + [bad])
    with pytest.raises(ValueError, match="between 0 and 1"):
        tail_quantile(fit_tail(pareto(300)), 0.0)


def test_a_tail_moves_with_its_values_and_stretches_with_their_unit():
    plain, moved = fit_tail(pareto(2000)), fit_tail(pareto(2000) * 1000 - 500)
    assert moved.threshold_ms == pytest.approx(plain.threshold_ms * 1000 - 500)
    assert moved.shape == pytest.approx(plain.shape, abs=1e-3)
    near, far = exceedance(plain, 8.0), exceedance(moved, 7500.0)
    assert near.value == pytest.approx(far.value, rel=1e-2)
    assert near.ci95 == pytest.approx(far.ci95, rel=2e-2)


def test_the_mean_excess_is_the_mean_of_what_is_above():
    values = [3.0, 1.0, 2.0, 2.0, 10.0]
    thresholds, means = mean_excess(values)
    assert thresholds.tolist() == [1.0, 2.0, 3.0]
    for threshold, mean in zip(thresholds, means, strict=True):
        above = [value - threshold for value in values if value > threshold]
        assert mean == pytest.approx(sum(above) / len(above))
    assert [one.size for one in mean_excess([1.0])] == [0, 0]


def test_the_tail_s_own_quantiles_lie_on_the_line_and_others_do_not():
    values = pareto(5000)
    tail = fit_tail(values)
    said, seen = qq_points(tail, values)
    assert seen.tolist() == sorted(tail.threshold_ms + one for one in tail.excesses_ms)
    middle = slice(0, int(0.9 * said.size))
    assert np.allclose(said[middle], seen[middle], rtol=0.1)
    said, seen = qq_points(tail, values * 2)
    upper = slice(said.size // 2, int(0.9 * said.size))
    assert (seen[upper] > 1.1 * said[upper]).all()


def test_without_a_tail_there_are_no_points():
    assert [one.size for one in qq_points(fit_tail([1.0]), [1.0])] == [0, 0]
