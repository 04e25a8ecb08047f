"""Planted growth is found again, intervals cover it, and what cannot be told has a reason."""

import math

import numpy as np
import pytest
from scipy import stats

from lmdm_bench import fits
from lmdm_bench.fits import (
    Fitted,
    claim_model,
    floor_power_law,
    line,
    local_exponents,
    over_rounds,
)

LINE_SIZES = (1, 2, 3, 4, 6, 8)
FLOOR_SIZES = (64, 128, 256, 512, 1024, 2048)
FLOOR_SECONDS = 0.35e-3

# Points of a made-up experiment: context frames, block frames, steps.
POINTS = np.array([(c, b, k) for c in (48, 96, 192, 384) for b in (24, 48) for k in (1, 2, 4)])
CONTEXT, BLOCK, STEPS = POINTS.T.astype(float)
TERMS = {
    "c0": np.ones(len(POINTS)),
    "cE": CONTEXT,
    "cD": STEPS * BLOCK,
    "cA": CONTEXT**2 + STEPS * BLOCK * (CONTEXT + BLOCK),
    "cS": STEPS,
}


def noisy(rng, means, rounds, noise=0.02, drift=0.02):
    """Times about their means: each its own noise, each round a drift that it shares."""
    own = noise * rng.standard_normal((rounds, len(means)))
    return np.asarray(means) * np.exp(own + drift * rng.standard_normal((rounds, 1)))


def straight(sizes, intercept=10e-3, slope=2e-3):
    return intercept + slope * np.asarray(sizes, dtype=float)


def floored(sizes, factor=2e-8, exponent=2.0, floor=FLOOR_SECONDS):
    return floor + factor * np.asarray(sizes, dtype=float) ** exponent


def costs(**coefficients):
    return sum(coefficient * TERMS[name] for name, coefficient in coefficients.items())


def coverage(figures, truth, confidence=0.95):
    intervals = [figure.interval(confidence) for figure in figures]
    return np.mean([low <= truth <= high for low, high in intervals])


def assert_covers(figure, truth, confidence=0.95):
    low, high = figure.interval(confidence)
    assert low <= truth <= high


def assert_right_coverage(figures, truth):
    assert 0.93 <= coverage(figures, truth) <= 0.97
    assert coverage(figures, truth, 0.5) == pytest.approx(0.5, abs=0.08)
    assert coverage(figures, truth, 0.999) >= 0.99


# One figure.


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_the_interval_of_a_mean_is_that_of_students_t_test(confidence):
    values = [3.0, 4.0, 8.0, 5.0]
    expected = stats.ttest_1samp(values, 0).confidence_interval(confidence)
    assert over_rounds(values, is_positive=False).interval(confidence) == pytest.approx(expected)
    logarithms = over_rounds(np.log(values), is_positive=False).interval(confidence)
    positive = over_rounds(values, is_positive=True)
    assert positive.value == pytest.approx(stats.gmean(values))
    assert positive.interval(confidence) == pytest.approx(np.exp(logarithms))


@pytest.mark.parametrize("rounds", [2, 4, 8])
def test_means_over_rounds_are_covered_as_often_as_said(rounds):
    rng = np.random.default_rng(rounds)
    values = np.exp(0.05 * rng.standard_normal((800, rounds)))
    assert_right_coverage([over_rounds(row, is_positive=True) for row in values], 1.0)
    assert_right_coverage([over_rounds(row - 1, is_positive=False) for row in values], 0.00125)


def test_the_ratio_of_a_thing_to_itself_covers_1():
    rng = np.random.default_rng(0)
    pairs = [noisy(rng, [1e-3, 1e-3], 6) for _ in range(400)]
    ratios = [over_rounds(pair[:, 0] / pair[:, 1], is_positive=True) for pair in pairs]
    assert_right_coverage(ratios, 1.0)


def test_one_round_gives_a_value_and_no_interval():
    found = over_rounds([2.0], is_positive=True)
    assert found.value == 2.0
    with pytest.raises(ValueError, match="an interval needs 2 rounds, got 1"):
        found.interval()
    estimate = found.estimate()
    assert (estimate.value, estimate.ci95, estimate.n) == (2.0, None, 1)
    assert estimate.reason == "an interval needs 2 rounds"


def test_an_estimate_holds_the_interval_of_95_percent():
    found = over_rounds([2.0, 3.0, 2.5], is_positive=True)
    estimate = found.estimate()
    assert (estimate.value, estimate.ci95) == (found.value, found.interval(0.95))
    assert (estimate.n, estimate.reason) == (3, None)
    assert estimate.method == "Student's t over rounds"


def test_rounds_that_differ_by_orders_of_magnitude_have_a_reason_in_place_of_an_interval():
    found = over_rounds([1e-100, 1e100], is_positive=True)
    assert found.interval(0.95) == (0.0, math.inf)
    estimate = found.estimate()
    assert (estimate.value, estimate.ci95) == (pytest.approx(1.0), None)
    assert estimate.reason == "the rounds differ too much for an interval"


def test_equal_rounds_give_an_interval_without_width():
    assert over_rounds([3.0, 3.0, 3.0], is_positive=False).interval(0.999) == (3.0, 3.0)


@pytest.mark.parametrize("confidence", [0.0, 1.0, -1.0, math.nan])
def test_a_confidence_outside_0_and_1_is_refused(confidence):
    with pytest.raises(ValueError, match="between 0 and 1"):
        over_rounds([1.0, 2.0], is_positive=True).interval(confidence)


@pytest.mark.parametrize(
    ("values", "is_positive", "message"),
    [
        ([], False, r"one number per round, got shape \(0,\)"),
        ([[1.0]], False, "one number per round"),
        ([1.0, math.nan], False, "finite"),
        ([1.0, math.inf], True, "finite"),
        ([1.0, 0.0], True, "above 0, got 0"),
    ],
)
def test_values_without_a_mean_are_refused(values, is_positive, message):
    with pytest.raises(ValueError, match=message):
        over_rounds(values, is_positive=is_positive)


# A line.


def test_a_line_without_noise_is_found_exactly():
    found = line(LINE_SIZES, [straight(LINE_SIZES)] * 3)
    assert found.intercept.value == pytest.approx(10e-3)
    assert found.slope.value == pytest.approx(2e-3)
    assert found.bend.value == pytest.approx(1.0)


def test_a_line_of_one_round_is_that_of_weighted_polyfit():
    seconds = noisy(np.random.default_rng(1), straight(LINE_SIZES), 1)
    slope, intercept = np.polyfit(LINE_SIZES, seconds[0], 1, w=1 / seconds[0])
    found = line(LINE_SIZES, seconds)
    assert (found.slope.value, found.intercept.value) == pytest.approx((slope, intercept))
    assert found.slope.estimate().ci95 is None
    assert found.bend.estimate().ci95 is None


@pytest.mark.parametrize("rounds", [4, 8])
def test_slope_intercept_and_bend_are_covered_as_often_as_said(rounds):
    rng = np.random.default_rng(10 + rounds)
    lines = [line(LINE_SIZES, noisy(rng, straight(LINE_SIZES), rounds)) for _ in range(500)]
    assert_right_coverage([found.slope for found in lines], 2e-3)
    assert_right_coverage([found.intercept for found in lines], 10e-3)
    assert_right_coverage([found.bend for found in lines], 1.0)


@pytest.mark.parametrize("sizes", [(1, 2, 3, 4), (1, 2, 3, 4, 5)])
def test_the_bend_of_two_straight_halves_is_the_ratio_of_their_slopes(sizes):
    knee = 3.0 if len(sizes) % 2 else 2.5
    at = np.array(sizes, dtype=float)
    times = 1.0 + at + np.maximum(0.0, at - knee)
    assert line(sizes, [times]).bend.value == pytest.approx(2.0)


def test_a_square_bends_up_and_saturation_bends_down():
    rng = np.random.default_rng(2)
    sizes = np.arange(1.0, 9.0)
    assert line(sizes, noisy(rng, 1 + sizes**2, 6)).bend.interval(0.999)[0] > 1.5
    assert line(sizes, noisy(rng, sizes**0.5, 6)).bend.interval(0.99)[1] < 0.95


def test_a_flat_line_has_a_slope_about_0_and_no_bend():
    found = line(LINE_SIZES, noisy(np.random.default_rng(3), np.full(6, 5e-3), 6))
    assert_covers(found.slope, 0.0)
    assert_covers(found.intercept, 5e-3)
    assert found.bend is None
    assert found.why_no_bend == "the slope over the lower half of the sizes is not clear of 0"


def test_two_sizes_make_a_line_without_a_bend():
    found = line([1, 3], [[2.0, 6.0]])
    assert (found.intercept.value, found.slope.value) == pytest.approx((0.0, 2.0))
    assert (found.bend, found.why_no_bend) == (None, "a bend needs 3 sizes, has 2")


def test_a_drift_that_rounds_share_widens_the_line_and_not_the_bend():
    calm, drifting = (
        line(LINE_SIZES, noisy(np.random.default_rng(4), straight(LINE_SIZES), 8, drift=drift))
        for drift in (0.0, 0.2)
    )
    assert drifting.slope.standard_error > 2 * calm.slope.standard_error
    assert drifting.bend.standard_error < 1.5 * calm.bend.standard_error


def test_stalls_widen_and_do_not_mislead():
    rng = np.random.default_rng(5)
    truth = straight(LINE_SIZES)
    power = floored(FLOOR_SIZES)
    for stalled in range(6):
        seconds, laws = noisy(rng, truth, 6), noisy(rng, power, 6)
        seconds[2, stalled] *= 1.5
        laws[2, stalled] *= 1.5
        found, law = line(LINE_SIZES, seconds), floor_power_law(FLOOR_SIZES, laws, seed=0)
        assert found.slope.value == pytest.approx(2e-3, rel=0.25)
        assert_covers(found.slope, 2e-3, 0.99)
        assert_covers(found.intercept, 10e-3, 0.99)
        assert_covers(found.bend, 1.0, 0.99)
        assert law.exponent.value == pytest.approx(2.0, abs=0.1)
        assert_covers(law.exponent, 2.0, 0.99)


# Local exponents.


def test_local_exponents_of_a_power_are_that_power():
    found = local_exponents((1, 2, 5, 7), [3 * np.array([1, 2, 5, 7]) ** 1.5] * 2)
    assert [figure.value for figure in found] == pytest.approx([1.5] * 3)


def test_local_exponents_rise_above_a_floor_and_cover_those_of_the_truth():
    truth = floored(FLOOR_SIZES, factor=2e-9)
    found = local_exponents(FLOOR_SIZES, noisy(np.random.default_rng(6), truth, 6, drift=0.3))
    expected = np.diff(np.log(truth)) / np.log(2)
    assert expected[0] < 0.1 and expected[-1] > 1.7
    for figure, exponent in zip(found, expected, strict=True):
        assert_covers(figure, exponent, 0.99)
        assert figure.standard_error < 0.05


# A power law above a floor.


def test_a_floor_law_without_noise_is_found_exactly():
    found = floor_power_law(FLOOR_SIZES, [floored(FLOOR_SIZES)] * 2, seed=0)
    assert found.floor.value == pytest.approx(FLOOR_SECONDS)
    assert found.factor.value == pytest.approx(2e-8)
    assert found.exponent.value == pytest.approx(2.0)
    assert found.relative_residuals == pytest.approx([0.0] * 6, abs=1e-9)


def test_one_slope_says_0_783_where_the_square_above_its_floor_is_found():
    sizes = 64 * 2.0 ** np.arange(7)
    times = floored(sizes, factor=5.96e-10)
    rng = np.random.default_rng(7)
    assert np.polyfit(np.log(sizes), np.log(times), 1)[0] == pytest.approx(0.783, abs=0.002)
    found = floor_power_law(sizes, noisy(rng, times, 6, noise=0.01), seed=0)
    assert found.exponent.value == pytest.approx(2.0, abs=0.05)
    assert_covers(found.exponent, 2.0)
    assert found.exponent.interval()[0] > 1.9
    assert_covers(found.floor, FLOOR_SECONDS)


def test_floor_factor_and_exponent_are_covered_as_often_as_said():
    rng = np.random.default_rng(21)
    found = []
    for rounds, quirk in ((4, 0.0), (4, 0.02), (8, 0.0), (8, 0.02)):
        some = []
        for seed in range(250):
            means = floored(FLOOR_SIZES) * np.exp(quirk * rng.standard_normal(6))
            some.append(floor_power_law(FLOOR_SIZES, noisy(rng, means, rounds), seed))
        # A quirk is never taken for less than none, so a law without any is covered a bit more.
        assert 0.90 <= coverage([fit.exponent for fit in some], 2.0) <= 0.99
        found += some
    assert {fit.why_not for fit in found} == {None}
    assert_right_coverage([fit.exponent for fit in found], 2.0)
    assert 0.93 <= coverage([fit.floor for fit in found], FLOOR_SECONDS) <= 0.98
    assert 0.93 <= coverage([fit.factor for fit in found], 2e-8) <= 0.98


def test_rounds_alone_would_not_cover_an_exponent_where_sizes_have_quirks():
    rng = np.random.default_rng(8)
    quirks = np.exp(0.03 * rng.standard_normal((60, 6)))
    hits = {"all": 0, "rounds": 0}
    for seed, quirk in enumerate(quirks):
        seconds = noisy(rng, floored(FLOOR_SIZES) * quirk, 8, noise=0.01)
        per_round = [floor_power_law(FLOOR_SIZES, row[None], 0).exponent.value for row in seconds]
        figures = {
            "all": floor_power_law(FLOOR_SIZES, seconds, seed).exponent,
            "rounds": over_rounds(per_round, is_positive=False),
        }
        for name, figure in figures.items():
            hits[name] += coverage([figure], 2.0)
    assert hits["all"] / len(quirks) >= 0.9
    assert hits["rounds"] / len(quirks) <= 0.5


def test_the_bootstrap_of_an_exponent_spreads_as_its_refits_by_round_do():
    rng = np.random.default_rng(9)
    seconds = noisy(rng, floored(FLOOR_SIZES), 4, noise=0.01)
    # Without any misfit: the mean over rounds is moved onto the law.
    seconds *= floored(FLOOR_SIZES) / stats.gmean(seconds)
    per_round = [floor_power_law(FLOOR_SIZES, row[None], 0).exponent.value for row in seconds]
    expected = over_rounds(per_round, is_positive=False)
    found = floor_power_law(FLOOR_SIZES, seconds, seed=0).exponent
    assert found.standard_error == pytest.approx(expected.standard_error, rel=0.08)
    assert found.degrees_of_freedom == expected.degrees_of_freedom == 3


def test_a_misfit_found_from_three_spare_sizes_leaves_three_degrees_of_freedom_at_most():
    rng = np.random.default_rng(22)
    degrees = []
    for seed in range(20):
        seconds = noisy(rng, floored(FLOOR_SIZES), 12)
        degrees.append(floor_power_law(FLOOR_SIZES, seconds, seed).exponent.degrees_of_freedom)
    assert set(degrees) == {3.0, 11.0}


def test_a_power_without_a_floor_has_a_floor_that_covers_0():
    sizes = 64 * 2.0 ** np.arange(8)
    rng = np.random.default_rng(10)
    found = floor_power_law(sizes, noisy(rng, floored(sizes, 1e-6, 1.0, floor=0.0), 6), seed=0)
    assert found.floor.value >= 0
    assert_covers(found.floor, 0.0)
    assert_covers(found.exponent, 1.0)


def test_a_floor_of_0_is_no_surer_than_one_just_above():
    sizes = 64 * 2.0 ** np.arange(8)
    errors = []
    for floor in (0.0, 5e-6):
        rng = np.random.default_rng(23)
        times = floored(sizes, 1e-6, 1.0, floor)
        laws = [floor_power_law(sizes, noisy(rng, times, 6), seed) for seed in range(20)]
        errors.append(np.mean([law.floor.standard_error for law in laws]))
    assert errors[0] == pytest.approx(errors[1], rel=0.2)


def test_residuals_show_the_size_that_leaves_the_law():
    times = floored(FLOOR_SIZES)
    times[3] *= 1.3
    found = floor_power_law(FLOOR_SIZES, noisy(np.random.default_rng(11), times, 4), seed=0)
    assert np.argmax(found.relative_residuals) == 3
    assert found.relative_residuals[3] > 0.1


@pytest.mark.parametrize(("rise", "num_above"), [(0.0, None), (0.3, 0), (2.0, 0), (6.0, 1)])
def test_a_launch_bound_exponent_is_not_identifiable(rise, num_above):
    rng = np.random.default_rng(12)
    factor = rise * FLOOR_SECONDS / FLOOR_SIZES[-1] ** 2
    for seed in range(5):
        seconds = noisy(rng, floored(FLOOR_SIZES, factor), 6, noise=0.01)
        found = floor_power_law(FLOOR_SIZES, seconds, seed)
        why = "flat or launch-bound; exponent not identifiable: b*n^p exceeds 3a"
        assert found.why_not.startswith(why)
        if num_above is not None:
            assert found.why_not.endswith(f"at {num_above} of the needed 2 sizes")
        assert (found.floor, found.factor, found.exponent) == (None, None, None)
        assert len(found.relative_residuals) == 6


@pytest.mark.parametrize(
    ("sizes", "has"),
    [
        ((64, 128, 256, 512), "has 4 spanning 8x"),
        ((1, 2, 4, 8, 32), "has 5 spanning 32x"),
        ((1, 2, 3, 4, 5, 31), "has 6 spanning 31x"),
    ],
)
def test_too_few_sizes_or_too_small_a_span_give_no_exponent(sizes, has):
    found = floor_power_law(sizes, [floored(sizes, factor=1.0)] * 3, seed=0)
    assert found.why_not == f"needs 6 sizes spanning 32x, {has}"
    assert (found.exponent, found.relative_residuals) == (None, ())


@pytest.mark.parametrize(("exponent", "edge"), [(0.099, "0.1"), (6.1, "6")])
def test_an_exponent_at_the_edge_of_the_search_is_not_one(exponent, edge):
    times = floored(FLOOR_SIZES, 1.0, exponent, floor=0.0)
    found = floor_power_law(FLOOR_SIZES, [times] * 2, seed=0)
    assert (found.floor, found.factor, found.exponent) == (None, None, None)
    expected = f"exponent not identifiable: it ended at {edge}, the edge of the search"
    assert found.why_not == expected


def test_a_floor_law_of_one_round_has_values_without_intervals():
    found = floor_power_law(FLOOR_SIZES, [floored(FLOOR_SIZES)], seed=0)
    for figure in (found.floor, found.factor, found.exponent):
        assert figure.estimate().value is not None
        assert figure.estimate().reason == "an interval needs 2 rounds"


def test_units_of_size_and_time_do_not_matter_to_the_exponent():
    seconds = noisy(np.random.default_rng(13), floored(FLOOR_SIZES), 4)
    found = floor_power_law(FLOOR_SIZES, seconds, seed=0)
    scaled = floor_power_law([1e6 * size for size in FLOOR_SIZES], 1e3 * seconds, seed=0)
    assert scaled.exponent.interval() == pytest.approx(found.exponent.interval())
    assert scaled.floor.interval() == pytest.approx([1e3 * e for e in found.floor.interval()])


def test_the_same_seed_gives_the_same_interval():
    seconds = noisy(np.random.default_rng(14), floored(FLOOR_SIZES), 4)
    first, again, other = (floor_power_law(FLOOR_SIZES, seconds, seed) for seed in (3, 3, 4))
    assert first == again
    assert first.exponent.value == other.exponent.value
    assert first.exponent.interval() != other.exponent.interval()
    assert other.exponent.standard_error == pytest.approx(first.exponent.standard_error, rel=0.15)


# A sum of terms.


def test_a_claim_model_without_noise_is_found_exactly():
    truth = {"c0": 1e-3, "cE": 2e-5, "cS": 1e-3}
    found = claim_model(TERMS, [costs(**truth)] * 2, seed=0)
    assert found.names == tuple(TERMS)
    assert found.chosen == ("c0", "cE", "cS")
    assert {name: c.value for name, c in found.coefficients.items()} == pytest.approx(truth)
    assert found.predicted == pytest.approx(costs(**truth))
    assert found.relative_residuals == pytest.approx([0.0] * len(POINTS), abs=1e-9)


@pytest.mark.parametrize(
    "truth",
    [
        {"c0": 1e-3, "cE": 2e-5, "cD": 5e-5, "cS": 1e-3},
        {"c0": 1e-3, "cD": 5e-5, "cA": 3e-7},
        {"cD": 5e-5},
    ],
)
def test_planted_terms_are_chosen_and_covered_and_others_dropped(truth):
    rng = np.random.default_rng(15)
    found = [claim_model(TERMS, noisy(rng, costs(**truth), 6), seed) for seed in range(300)]
    right = [model for model in found if set(model.chosen) == set(truth)]
    # AICc lets in a needless term now and then; it never loses one that is as large as these.
    assert all(set(truth) <= set(model.chosen) for model in found)
    assert len(right) >= 0.8 * len(found)
    for name, cost in truth.items():
        assert 0.92 <= coverage([model.coefficients[name] for model in right], cost) <= 0.98


def test_coefficients_are_covered_where_points_have_quirks():
    rng = np.random.default_rng(16)
    figures = []
    for seed in range(300):
        means = costs(c0=1e-3, cD=5e-5) * np.exp(0.02 * rng.standard_normal(len(POINTS)))
        two_terms = {name: TERMS[name] for name in ("c0", "cD")}
        figures.append(claim_model(two_terms, noisy(rng, means, 6), seed).coefficients["cD"])
    assert 0.92 <= coverage(figures, 5e-5) <= 0.975


def test_of_models_that_leave_only_rounding_over_the_smaller_is_better():
    assert math.isfinite(fits._aicc(0.0, 24, 2))
    assert fits._aicc(1e-31, 24, 2) < fits._aicc(0.0, 24, 3)


def test_models_are_compared_by_aicc_as_the_closed_form_says():
    seconds = noisy(np.random.default_rng(17), costs(c0=1e-3, cD=5e-5), 4)
    two_terms = {name: TERMS[name] for name in ("c0", "cD")}
    found = claim_model(two_terms, seconds, seed=0)
    assert [set(terms) for terms, _ in found.compared] == [{"c0", "cD"}, {"cD"}, {"c0"}]
    mean, n = seconds.mean(axis=0), len(POINTS)
    for terms, aicc in found.compared:
        design = np.stack([TERMS[name] / mean for name in terms], axis=1)
        squares = np.linalg.lstsq(design, np.ones(n))[1][0]
        k = len(terms) + 1
        expected = n * math.log(squares / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1)
        assert aicc == pytest.approx(expected)


def test_residuals_are_relative_to_the_prediction():
    seconds = noisy(np.random.default_rng(18), costs(c0=1e-3, cD=5e-5), 4)
    found = claim_model(TERMS, seconds, seed=0)
    predicted = np.array(found.predicted)
    expected = (seconds.mean(axis=0) - predicted) / predicted
    assert found.relative_residuals == pytest.approx(expected)
    fitted = sum(cost.value * TERMS[name] for name, cost in found.coefficients.items())
    assert found.predicted == pytest.approx(fitted)


def test_no_cost_is_negative():
    times = 5e-3 - 1e-5 * CONTEXT
    found = claim_model(TERMS, noisy(np.random.default_rng(19), times, 4), seed=0)
    assert "cE" not in found.chosen
    assert all(cost.value >= 0 for cost in found.coefficients.values())


def test_a_claim_model_of_one_round_has_values_without_intervals():
    found = claim_model(TERMS, [costs(c0=1e-3, cE=2e-5)], seed=0)
    assert {cost.estimate().ci95 for cost in found.coefficients.values()} == {None}


def test_collinear_terms_are_named():
    terms = {**TERMS, "cX": 3 * TERMS["cD"]}
    found = claim_model(terms, [costs(c0=1e-3, cD=5e-5)] * 3, seed=0)
    assert found.why_not.startswith("collinear terms: cD, cX cannot be told apart")
    assert (found.coefficients, found.chosen, found.compared) == ({}, (), ())


def test_a_sum_of_two_terms_is_collinear_with_both():
    terms = {**TERMS, "cX": 10 * TERMS["cS"] + TERMS["cE"]}
    found = claim_model(terms, [costs(c0=1e-3)] * 3, seed=0)
    assert found.why_not.startswith("collinear terms: cE, cS, cX")


def test_a_term_that_is_always_0_is_named():
    found = claim_model({**TERMS, "cX": 0 * CONTEXT}, [costs(c0=1e-3)] * 3, seed=0)
    assert found.why_not == "cX is 0 at every point"


def test_too_few_points_for_the_terms_say_how_many_they_need():
    few = {name: counts[:7] for name, counts in TERMS.items()}
    found = claim_model(few, [costs(c0=1e-3)[:7]] * 3, seed=0)
    assert found.why_not == "5 terms need 8 points, there are 7"


def test_a_point_that_no_term_reaches_is_not_told():
    found = claim_model({"cX": [0, 1, 2, 3]}, [[1.0, 1.0, 2.0, 3.0]] * 2, seed=0)
    assert found.why_not == "each sum of terms is 0 at some point"


# What is refused.


def fit_line(sizes, seconds):
    return line(sizes, seconds)


def fit_exponents(sizes, seconds):
    return local_exponents(sizes, seconds)


def fit_floor(sizes, seconds):
    return floor_power_law(sizes, seconds, seed=0)


@pytest.mark.parametrize("fit", [fit_line, fit_exponents, fit_floor])
@pytest.mark.parametrize(
    ("sizes", "seconds", "message"),
    [
        ([1], [[1.0]], "at least 2 numbers"),
        ([[1, 2]], [[1.0, 2.0]], "a row of at least 2 numbers"),
        ([2, 1], [[1.0, 2.0]], "positive and ascend"),
        ([1, 1], [[1.0, 2.0]], "positive and ascend"),
        ([0, 1], [[1.0, 2.0]], "positive and ascend"),
        ([1, math.inf], [[1.0, 2.0]], "positive and ascend"),
        ([1, math.nan], [[1.0, 2.0]], "positive and ascend"),
        ([1, 2], [[1.0, 2.0, 3.0]], r"\[rounds, 2\], got shape \(1, 3\)"),
        ([1, 2], [1.0, 2.0], r"\[rounds, 2\], got shape \(2,\)"),
        ([1, 2], np.ones((0, 2)), r"\[rounds, 2\], got shape \(0, 2\)"),
        ([1, 2], [[1.0, 2.0], [1.0]], "equally many"),
        ([1, 2], [[1.0, None]], "finite|equally many"),
        ([1, 2], [[1.0, math.nan]], "finite and above 0"),
        ([1, 2], [[1.0, math.inf]], "finite and above 0"),
        ([1, 2], [[1.0, 0.0]], "finite and above 0"),
        ([1, 2], [[1.0, -1.0]], "finite and above 0"),
    ],
)
def test_sizes_and_seconds_that_do_not_fit_are_refused(fit, sizes, seconds, message):
    with pytest.raises(ValueError, match=message):
        fit(sizes, seconds)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({}, "offered 1 to 8 terms, got 0"),
        ({str(index): [1.0] * 4 for index in range(9)}, "offered 1 to 8 terms, got 9"),
        ({"a": [1.0] * 4, "b": [1.0] * 3}, "one count per point each"),
        ({"a": [[1.0]] * 4}, "rows of numbers"),
        ({"a": [1.0, 2.0, 3.0, -1.0]}, "not negative"),
        ({"a": [1.0, 2.0, 3.0, math.nan]}, "finite"),
        ({"a": [1.0] * 3}, r"\[rounds, 3\], got shape \(2, 4\)"),
    ],
)
def test_terms_that_are_no_model_are_refused(terms, message):
    with pytest.raises(ValueError, match=message):
        claim_model(terms, [[1.0] * 4] * 2, seed=0)


def test_steps_of_the_refit_are_enough_that_one_more_changes_nothing(monkeypatch):
    seconds = noisy(np.random.default_rng(20), floored(FLOOR_SIZES), 4, noise=0.05)
    found = floor_power_law(FLOOR_SIZES, seconds, seed=0).exponent
    monkeypatch.setattr(fits, "REFIT_STEPS", fits.REFIT_STEPS + 1)
    longer = floor_power_law(FLOOR_SIZES, seconds, seed=0).exponent
    assert isinstance(found, Fitted)
    assert longer.standard_error == pytest.approx(found.standard_error, rel=1e-3)
