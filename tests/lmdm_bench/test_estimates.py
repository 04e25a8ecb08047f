"""Intervals cover what they promise, and no figure stands without one or a reason."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lmdm_bench import estimates
from lmdm_bench.estimates import needed_blocks, quantile, ratio, summarise
from lmdm_bench.record import Block, Estimate

PROBABILITIES = (0.5, 0.95, 0.99)
times_lists = st.lists(st.floats(1e-3, 1e3), min_size=6, max_size=120)


def smallest_finite_by_binomial_sums(probability):
    """Count up until both outermost order statistics may bound the quantile, term by term."""
    n = 0
    while True:
        n += 1
        terms = [
            math.comb(n, k) * probability**k * (1 - probability) ** (n - k) for k in range(n + 1)
        ]
        is_low_possible = any(sum(terms[:rank]) <= 0.025 for rank in range(1, n + 1))
        is_high_possible = any(sum(terms[rank:]) <= 0.025 for rank in range(1, n + 1))
        if is_low_possible and is_high_possible:
            return n


def autocorrelated(rng, num_series, n, memory):
    noise = rng.standard_normal((num_series, n + 100))
    for index in range(1, n + 100):
        noise[:, index] += memory * noise[:, index - 1]
    return 10 + noise[:, 100:]


def coverage(intervals, truth):
    return np.mean([low <= truth <= high for low, high in intervals])


def make_block(
    index=0, *, steps_ms=(40.0, 10.0, 20.0), commit_ms=None, codec_ms=20.0, is_warmup=False
):
    service_ms = 5.0 + sum(steps_ms) + (commit_ms or 0.0) + (codec_ms or 0.0) + 5.0
    return Block(index, service_ms, 5.0, tuple(steps_ms), commit_ms, codec_ms, 5.0, is_warmup, ())


@pytest.mark.parametrize(("probability", "blocks"), [(0.5, 6), (0.95, 72), (0.99, 368)])
def test_needed_blocks_are_those_of_brute_force_binomial_sums(probability, blocks):
    assert needed_blocks(probability) == blocks
    if blocks < 100:
        assert smallest_finite_by_binomial_sums(probability) == blocks


def test_needed_blocks_for_the_99th_percentile_by_its_two_deciding_terms():
    assert 0.99**368 <= 0.025 < 0.99**367


@pytest.mark.parametrize(("probability", "confidence"), [(0, 0.95), (1, 0.95), (0.5, 1)])
def test_needed_blocks_refuse_what_is_no_inner_probability(probability, confidence):
    with pytest.raises(ValueError, match="between 0 and 1"):
        needed_blocks(probability, confidence)


@pytest.mark.parametrize("probability", PROBABILITIES)
def test_a_percentile_has_an_interval_from_exactly_the_needed_blocks(probability):
    needed = needed_blocks(probability)
    enough = quantile(range(needed), probability)
    assert enough.value is not None and enough.ci95 is not None and enough.reason is None
    short = quantile(range(needed - 1), probability)
    assert short == Estimate(None, None, needed - 1, "order statistics", f"needs {needed} blocks")


def test_no_times_need_as_many_blocks_as_ever():
    assert quantile([], 0.5).reason == "needs 6 blocks"


@pytest.mark.parametrize("probability", PROBABILITIES)
@pytest.mark.parametrize("extra", [0, 1, 13, 400])
def test_the_interval_is_that_of_the_quantile_test(probability, extra):
    times = np.random.default_rng(extra).gamma(3, size=needed_blocks(probability) + extra)
    test = stats.quantile_test(times, p=probability)
    interval = test.confidence_interval(confidence_level=0.95)
    assert quantile(times, probability).ci95 == (interval.low, interval.high)


@pytest.mark.parametrize(("probability", "n"), [(0.5, 30), (0.95, 200), (0.99, 500)])
def test_the_interval_of_a_percentile_covers_it_as_often_as_it_says(probability, n):
    rng = np.random.default_rng(1)
    intervals = [quantile(rng.exponential(size=n), probability).ci95 for _ in range(1000)]
    assert 0.94 <= coverage(intervals, stats.expon.ppf(probability)) <= 0.99


@given(times_lists)
def test_the_median_lies_in_its_interval_whose_ends_were_measured(times):
    found = quantile(times, 0.5)
    low, high = found.ci95
    assert low <= found.value <= high
    assert low in times and high in times


@given(times_lists, st.randoms())
def test_the_order_of_the_blocks_does_not_matter_to_a_percentile(times, random):
    shuffled = list(times)
    random.shuffle(shuffled)
    assert quantile(shuffled, 0.5) == quantile(times, 0.5)


@given(st.lists(st.floats(1e-3, 1e3), min_size=368, max_size=380))
@settings(max_examples=20)
def test_a_higher_percentile_is_never_lower(times):
    values = [quantile(times, probability).value for probability in PROBABILITIES]
    assert values == sorted(values)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_times_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        quantile([1.0] * 6 + [bad], 0.5)
    with pytest.raises(ValueError, match="finite"):
        ratio([1.0, 1.0, bad], 1.0, seed=0)


def test_the_ratio_is_all_service_over_all_audio():
    assert ratio([0.5, 1.5, 1.0, 3.0], 2.0, seed=0).value == 6.0 / 8.0


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_blocks_give_a_ratio_without_an_interval(n):
    found = ratio([1.0] * n, 2.0, seed=0)
    assert (found.value, found.ci95, found.n) == (0.5, None, n)
    assert found.reason == "an interval needs 3 blocks"


def test_equal_blocks_give_an_interval_without_width():
    assert ratio([1.0] * 20, 2.0, seed=0).ci95 == (0.5, 0.5)
    assert ratio([0.0] * 20, 2.0, seed=0).ci95 == (0.0, 0.0)


def test_blocks_that_differ_by_orders_of_magnitude_have_a_reason_in_place_of_an_interval():
    found = ratio([1e-9, 1e-9, 1e3], 1.0, seed=0)
    assert (found.ci95 is None) == (found.reason is not None)
    assert found.ci95 is None or all(math.isfinite(end) for end in found.ci95)


@pytest.mark.parametrize(
    ("seconds", "block_seconds", "message"),
    [([], 1.0, "at least one block"), ([1.0, -1.0], 1.0, "negative"), ([1.0], 0.0, "longer than")],
)
def test_a_ratio_without_meaning_is_refused(seconds, block_seconds, message):
    with pytest.raises(ValueError, match=message):
        ratio(seconds, block_seconds, seed=0)


@given(st.lists(st.floats(1e-3, 1e1), min_size=3, max_size=40), st.integers(0, 99))
@settings(max_examples=30)
def test_a_ratio_lies_in_its_interval_and_scales_with_the_times(times, seed):
    found = ratio(times, 1.0, seed)
    doubled = ratio([2 * time for time in times], 1.0, seed)
    assert doubled.value == 2 * found.value
    if found.ci95 is not None:
        assert 0 < found.ci95[0] <= found.value <= found.ci95[1]
        assert doubled.ci95 == pytest.approx([2 * end for end in found.ci95])


def test_the_same_seed_gives_the_same_interval():
    times = np.random.default_rng(0).gamma(5, size=40)
    assert ratio(times, 1.0, seed=3) == ratio(times, 1.0, seed=3)
    assert ratio(times, 1.0, seed=3).ci95 != ratio(times, 1.0, seed=4).ci95


def test_the_interval_of_a_ratio_covers_it_as_often_as_it_says():
    rng = np.random.default_rng(2)
    intervals = [ratio(rng.gamma(20, size=30), 20.0, seed).ci95 for seed in range(600)]
    assert 0.93 <= coverage(intervals, 1.0) <= 0.98


@pytest.mark.parametrize("n", [3, 6])
def test_the_interval_of_a_ratio_is_not_too_narrow_for_few_blocks(n):
    rng = np.random.default_rng(3)
    intervals = [ratio(rng.gamma(20, size=n), 20.0, seed).ci95 for seed in range(600)]
    assert coverage(intervals, 1.0) >= 0.95


def test_neighbours_that_resemble_each_other_widen_the_interval_of_a_ratio():
    series = autocorrelated(np.random.default_rng(4), 50, 200, memory=0.6)
    widths = []
    for order in (lambda times: times, np.random.default_rng(5).permutation):
        intervals = [ratio(order(times), 10.0, seed=6).ci95 for times in series]
        widths.append(np.mean([high - low for low, high in intervals]))
        if len(widths) == 1:
            assert coverage(intervals, 1.0) >= 0.84
    # The variance of such a mean is (1 + 0.6) / (1 - 0.6) = 4 times that of independent blocks.
    assert 1.5 < widths[0] / widths[1] < 2.0


def test_resampled_means_spread_as_the_closed_form_of_the_stationary_bootstrap_says():
    values = autocorrelated(np.random.default_rng(7), 1, 60, memory=0.7)[0]
    n, stop = values.size, 0.25
    deviation = values - values.mean()
    lags = [deviation @ np.roll(deviation, -lag) / n for lag in range(n)]
    weights = [1.0] + [2 * (1 - lag / n) * (1 - stop) ** lag for lag in range(1, n)]
    variance = float(np.dot(weights, lags)) / n
    rng = np.random.default_rng(8)
    means = estimates._resampled_means(values, 1 / stop, 40_000, rng)
    assert means.var() == pytest.approx(variance, rel=0.03)
    assert means.mean() == pytest.approx(values.mean(), abs=4 * math.sqrt(variance / 40_000))


def test_a_long_run_is_resampled_in_chunks(monkeypatch):
    monkeypatch.setattr(estimates, "CHUNK_NUMBERS", 1000)
    values = np.arange(300.0)
    means = estimates._resampled_means(values, 6.0, 50, np.random.default_rng(0))
    assert means.shape == (50,)
    assert (means > 0).all() and (means < 299).all()


def test_warm_up_blocks_count_for_nothing():
    measured = [make_block(index) for index in range(8)]
    warmup = make_block(99, steps_ms=(9e5,), is_warmup=True)
    assert summarise([warmup, *measured], 2.0, seed=0) == summarise(measured, 2.0, seed=0)


def test_a_summary_by_hand():
    summary = summarise([make_block(index) for index in range(8)], 2.0, seed=0)
    assert summary.service_ms.p50.value == 100.0
    assert summary.service_ms.p95.reason == "needs 72 blocks"
    assert summary.service_ms.p99.reason == "needs 368 blocks"
    assert summary.rtf.value == pytest.approx(0.05)
    assert summary.rtf_model.value == pytest.approx(0.04)
    medians = {name: found.value for name, found in summary.stage_ms.items()}
    assert medians == {
        "context_encode": 5.0,
        "first_step": 40.0,
        "later_step": 15.0,
        "denoise": 70.0,
        "commit": None,
        "codec_decode": 20.0,
        "host": 5.0,
    }
    assert summary.stage_share == pytest.approx(
        {"context_encode": 0.05, "denoise": 0.7, "commit": 0, "codec_decode": 0.2, "host": 0.05}
    )


def test_without_a_codec_there_is_no_rtf_but_a_reason_and_all_time_is_the_models():
    blocks = [make_block(index, codec_ms=None) for index in range(8)]
    summary = summarise(blocks, 2.0, seed=0)
    for one in (summary.rtf, summary.stage_ms["codec_decode"]):
        assert (one.value, one.ci95, one.n, one.reason) == (None, None, 8, estimates.NO_CODEC)
    assert summary.rtf_model.value == pytest.approx(0.04)
    assert (
        summary.rtf_model
        == summarise([make_block(index) for index in range(8)], 2.0, seed=0).rtf_model
    )
    assert summary.stage_share["codec_decode"] == 0
    assert sum(summary.stage_share.values()) == pytest.approx(1.0)


def test_a_codec_that_ran_in_some_blocks_only_is_refused():
    blocks = [make_block(0), make_block(1, codec_ms=None), make_block(2)]
    with pytest.raises(ValueError, match="the codec was run in 2 of 3 blocks"):
        summarise(blocks, 2.0, seed=0)


def test_a_codec_that_takes_no_time_is_still_a_codec():
    summary = summarise([make_block(index, codec_ms=0.0) for index in range(3)], 2.0, seed=0)
    assert summary.rtf.value is not None and summary.rtf == summary.rtf_model


def test_a_commit_that_is_never_apart_says_where_it_is():
    commit = summarise([make_block()], 2.0, seed=0).stage_ms["commit"]
    assert (commit.value, commit.n, commit.reason) == (None, 1, "part of another pass")


def test_a_commit_of_its_own_is_a_stage_like_others():
    summary = summarise([make_block(index, commit_ms=30.0) for index in range(6)], 2.0, seed=0)
    assert summary.stage_ms["commit"].value == 30.0
    assert summary.stage_share["commit"] == pytest.approx(30 / 130)


def test_a_block_of_one_step_has_no_later_step():
    summary = summarise([make_block(index, steps_ms=(7.0,)) for index in range(6)], 2.0, seed=0)
    assert summary.stage_ms["first_step"].value == 7.0
    assert summary.stage_ms["later_step"].reason == "one step makes a block"


@given(st.lists(st.lists(st.floats(0.1, 1e4), min_size=1, max_size=5), min_size=1, max_size=12))
@settings(max_examples=30)
def test_the_shares_of_the_stages_sum_to_one(steps):
    blocks = [make_block(index, steps_ms=one) for index, one in enumerate(steps)]
    assert sum(summarise(blocks, 2.0, seed=0).stage_share.values()) == pytest.approx(1.0)


def test_a_summary_of_warm_up_blocks_alone_is_refused():
    with pytest.raises(ValueError, match="needs a measured block, got 1 warm-up blocks"):
        summarise([make_block(is_warmup=True)], 2.0, seed=0)


def test_stages_that_do_not_make_up_the_service_time_are_refused():
    block = Block(0, 100.0, 5.0, (50.0,), None, 20.0, 5.0, False, ())
    with pytest.raises(ValueError, match=r"the stages add up to 0\.8"):
        summarise([block], 2.0, seed=0)


def test_blocks_that_took_no_time_are_refused():
    with pytest.raises(ValueError, match=r"took 0\.0 ms"):
        summarise([Block(0, 0.0, 0.0, (0.0,), None, 0.0, 0.0, False, ())], 2.0, seed=0)
