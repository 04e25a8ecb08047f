"""Steps are found where they are, seldom where they are not, and rates have their intervals."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats
from scipy.signal import lfilter

import check_records
import golden_traces
from lmdm_bench import estimates
from lmdm_bench.steadiness import change_point, is_steady, steadiness, without_first

BLOCK_SECONDS = 48 * 2048 / 44100
COLD_BLOCKS = math.ceil(30 / BLOCK_SECONDS)


def remembering(rng, n, correlation):
    noise = rng.standard_normal(n + 100) * math.sqrt(1 - correlation**2)
    return lfilter([1], [1, -correlation], noise)[100:]


def found_share(draw, times=100):
    """In how many of the drawn rows a step is found."""
    draws = (draw(np.random.default_rng(seed)) for seed in range(times))
    return np.mean([change_point(np.exp(0.03 * row))[1] <= 0.05 for row in draws])


def test_a_step_is_found_where_it_is():
    times = 100 + np.random.default_rng(0).normal(size=269)
    times[180:] += 3
    first, p = change_point(times)
    assert abs(first - 180) <= 2 and p == 1 / 200


def test_a_step_is_found_among_stalls():
    times = 100 + np.random.default_rng(0).normal(size=269)
    times[180:] += 3
    times[::40] += 500
    first, p = change_point(times)
    assert abs(first - 180) <= 3 and p == 1 / 200


def test_heat_is_found_in_the_golden_trace_and_in_no_other():
    first, p = change_point(golden_traces.heat())
    assert p == 1 / 200 and 180 < first * 0.04 < 330
    for name in ("steady", "periodic", "stalls"):
        assert change_point(golden_traces.TRACES[name]())[1] > 0.05


def test_two_lengths_without_any_noise_are_a_step():
    first, p = change_point([1.0] * 30 + [2.0] * 30)
    assert first == 30 and p <= 0.05


@pytest.mark.parametrize("times", [[], [1.0] * 19 + [2.0], [3.0] * 100])
def test_too_few_blocks_or_equal_ones_have_no_step(times):
    assert change_point(times[:19] if len(times) == 20 else times) == (0, 1.0)


@pytest.mark.parametrize("n", [40, 269])
def test_steps_are_seldom_found_in_independent_blocks(n):
    assert found_share(lambda rng: rng.standard_normal(n)) <= 0.08


def test_steps_are_seldom_found_among_stalls_or_in_a_period():
    assert found_share(lambda rng: rng.standard_normal(269) + 50 * (rng.random(269) < 0.02)) <= 0.08
    spikes = 5.0 * (np.arange(269) % 24 == 7)
    assert found_share(lambda rng: rng.standard_normal(269) + spikes) <= 0.08


def test_steps_are_not_often_found_in_blocks_that_remember():
    assert found_share(lambda rng: remembering(rng, 269, 0.5)) <= 0.16
    assert found_share(lambda rng: remembering(rng, 1500, 0.8), 60) <= 0.16


def test_a_small_step_is_found_in_most_runs():
    step = 1.0 * (np.arange(269) > 160)
    assert found_share(lambda rng: rng.standard_normal(269) + step, 60) >= 0.95


def test_cold_is_the_first_half_minute_and_steady_the_last_third():
    times = check_records.heat()
    found = steadiness(check_records.cell(times))
    seconds = [time / 1000 for time in times]
    assert found.cold_rtf == estimates.ratio(seconds[:COLD_BLOCKS], BLOCK_SECONDS, 0)
    assert found.steady_rtf == estimates.ratio(seconds[-90:], BLOCK_SECONDS, 0)
    assert found.thermal_ratio.value == found.steady_rtf.value / found.cold_rtf.value
    low, high = found.thermal_ratio.ci95
    assert low < 1.35 < high and low > 1.25
    assert 90 <= found.change_block <= 150


def test_the_seed_of_the_settings_is_used():
    cell = check_records.cell(check_records.steady())
    assert steadiness(cell, 1).cold_rtf != steadiness(cell, 2).cold_rtf


def test_a_steady_run_has_no_change_and_its_p_says_so():
    found = steadiness(check_records.cell(check_records.steady()))
    assert found.change_block is None and found.change_p > 0.05
    low, high = found.thermal_ratio.ci95
    assert low < 1 < high


@pytest.mark.parametrize(("num_blocks", "n"), [(1200, 400), (400, 400), (360, None)])
def test_the_99th_percentile_is_that_of_the_last_third_if_that_is_enough(num_blocks, n):
    times = np.random.default_rng(0).gamma(3, 300, num_blocks)
    found = steadiness(check_records.cell(times.tolist())).steady_p99
    if n is None:
        assert found.value is None and found.reason == "needs 368 blocks"
    else:
        assert found.n == n
        part = times[-n:] / 1000 / BLOCK_SECONDS
        assert found.value == pytest.approx(np.quantile(part, 0.99))


@pytest.mark.parametrize("num_blocks", [1, 2, COLD_BLOCKS, 20])
def test_a_short_run_has_rates_but_no_ratio_of_a_block_to_itself(num_blocks):
    found = steadiness(check_records.cell(check_records.steady(num_blocks)))
    assert found.cold_rtf.value is not None and found.steady_rtf.value is not None
    assert found.thermal_ratio.value is None
    assert found.thermal_ratio.reason.startswith("needs 21 blocks")
    assert (found.change_block, found.change_p) == (None, 1.0) or num_blocks == 20


def test_with_enough_blocks_cold_and_steady_are_different_ones():
    assert COLD_BLOCKS + math.ceil(21 / 3) == 21
    assert steadiness(check_records.cell(check_records.steady(21))).thermal_ratio.ci95 is not None


def test_a_cell_without_blocks_has_reasons():
    (never, _) = check_records.failed().check_cells
    found = steadiness(never)
    estimates_of = (found.cold_rtf, found.steady_rtf, found.steady_p99, found.thermal_ratio)
    assert all(one.value is None and one.reason for one in estimates_of)


def test_the_interval_of_the_thermal_ratio_holds_as_often_as_it_says():
    held = 0
    for seed in range(120):
        times = 1500 * np.random.default_rng(seed).lognormal(0, 0.1, 120)
        times[80:] *= 1.1
        low, high = steadiness(check_records.cell(times.tolist())).thermal_ratio.ci95
        held += low <= 1.1 <= high
    assert 0.91 <= held / 120 <= 0.995


def test_what_was_first_or_compiled_can_be_left_out():
    cell = check_records.cell(check_records.steady(9))
    compiled = dataclasses.replace(
        cell.blocks[4], block=dataclasses.replace(cell.blocks[4].block, labels=("compile",))
    )
    slow = dataclasses.replace(
        cell.blocks[5], block=dataclasses.replace(cell.blocks[5].block, labels=("gc",))
    )
    cell = dataclasses.replace(cell, blocks=(*cell.blocks[:4], compiled, slow, *cell.blocks[6:]))
    kept = [one.block.block_index for one in without_first(cell).blocks]
    assert kept == [1, 2, 3, 5, 6, 7, 8]  # the first one is labelled so


def test_a_machine_that_still_gets_faster_is_not_steady():
    assert not is_steady([10.0, 9.0, 8.0, 7.0, 6.0, 5.0])
    assert is_steady([5.0, 6.0, 7.0, 8.0, 9.0, 10.0])  # slower is heat, not warming up
    assert is_steady([7.0, 8.0, 7.5, 8.1, 7.2, 7.9])
    assert is_steady([7.0, 7.0, 7.0, 7.0])


def test_four_falling_blocks_are_a_trend_and_three_tell_nothing():
    assert not is_steady([4.0, 3.0, 2.0, 1.0])  # one order of 24
    assert not is_steady([1.0, 1.0, 1.0]) and not is_steady([])


@pytest.mark.parametrize("n", [5, 8, 10, 30])
def test_a_steady_machine_is_seldom_taken_for_one_that_warms_up(n):
    rng = np.random.default_rng(0)
    share = np.mean([is_steady(rng.random(n).tolist()) for _ in range(400)])
    assert share >= 0.93


@pytest.mark.parametrize("n", [5, 7])
def test_the_test_of_trend_counts_all_orders(n):
    """The exact p-value: the share of orders with at most so few rising pairs."""
    order = np.random.default_rng(n).permutation(n).astype(float).tolist()
    found = stats.kendalltau(range(n), order, alternative="less").pvalue
    rises = count_rises(order)
    orders = [count_rises(one) for one in all_orders(n)]
    assert found == pytest.approx(np.mean([one <= rises for one in orders]))
    assert is_steady(order) == (found >= 0.05)


def count_rises(order):
    return sum(a < b for index, a in enumerate(order) for b in order[index + 1 :])


def all_orders(n):
    if n == 0:
        return [[]]
    return [[*one[:place], n - 1, *one[place:]] for one in all_orders(n - 1) for place in range(n)]
