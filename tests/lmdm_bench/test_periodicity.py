"""Periods are found with their length and height, and are not found in noise, drift or stalls."""

import math

import numpy as np
import pytest
from scipy.signal import lfilter

import check_records
import golden_traces
from lmdm_bench.periodicity import MIN_BLOCKS, dominant_period


def noise(n, seed=0):
    return np.random.default_rng(seed).standard_normal(n)


def spikes(n, period, height):
    return height * (np.arange(n) % period < 1)


def remembering(rng, n, correlation):
    draws = rng.standard_normal(n + 100) * math.sqrt(1 - correlation**2)
    return lfilter([1], [1, -correlation], draws)[100:]


def found_share(draw, times=100):
    draws = (draw(np.random.default_rng(seed)) for seed in range(times))
    return np.mean([dominant_period(row, 1.0, seed).p <= 0.05 for seed, row in enumerate(draws)])


@pytest.mark.parametrize(
    ("n", "period", "height"),
    [(269, 3, 3), (269, 5, 3), (269, 12, 5), (269, 24, 20), (1500, 24, 5)],
)
def test_a_block_that_is_slow_every_so_often_is_found_with_its_height(n, period, height):
    found = dominant_period(100 + noise(n) + spikes(n, period, height), 0.5)
    assert found.blocks == pytest.approx(period, rel=0.02)
    assert found.seconds == found.blocks * 0.5
    assert found.amplitude_ms == pytest.approx(height, rel=0.3)
    assert found.p == 1 / 200


@pytest.mark.parametrize("period", [2.1, 3.3, 17.7, 50.0])
def test_a_wave_of_any_length_is_found_and_no_multiple_of_it(period):
    wave = 2 * np.sin(2 * math.pi * np.arange(600) / period)
    found = dominant_period(wave + noise(600), 1.0)
    assert found.blocks == pytest.approx(period, rel=0.02)
    assert found.p == 1 / 200


def test_the_golden_trace_has_its_period_and_the_others_have_none():
    found = dominant_period(golden_traces.periodic(), 0.04)
    assert found.blocks == pytest.approx(25, rel=1e-3) and found.seconds == pytest.approx(1.0)
    assert found.amplitude_ms == pytest.approx(25, rel=0.05) and found.p == 1 / 200
    for name in ("steady", "stalls", "heat"):
        assert dominant_period(golden_traces.TRACES[name](), 0.04).p > 0.05


def test_the_example_with_spikes_has_their_period():
    found = dominant_period(check_records.spikes(), 2.229)
    assert found.blocks == pytest.approx(24, rel=0.01) and found.p == 1 / 200
    assert found.amplitude_ms == pytest.approx(0.6 * 1500, rel=0.1)


def test_a_period_is_found_in_spite_of_a_stall_and_of_heat():
    times = 100 + noise(269) + spikes(269, 5, 3) + np.linspace(0, 30, 269)
    times[100] += 1000
    found = dominant_period(times, 1.0)
    assert found.blocks == pytest.approx(5, rel=0.01) and found.p == 1 / 200


def test_times_without_any_noise_have_their_period():
    found = dominant_period([30.0, 31.0] * 40, 1.0)
    assert found.blocks == pytest.approx(2, rel=1e-3)
    assert (found.amplitude_ms, found.p) == (0.5, 1 / 200)


@pytest.mark.parametrize("n", [MIN_BLOCKS, 100, 269])
def test_periods_are_seldom_found_in_noise(n):
    assert found_share(lambda rng: rng.standard_normal(n)) <= 0.12
    assert found_share(lambda rng: rng.exponential(size=n)) <= 0.12


@pytest.mark.parametrize(
    "drift",
    [
        lambda n: 10 * np.arange(n) / n,
        lambda n: 8.0 * (np.arange(n) > n / 2),
        lambda n: 10 * np.clip(np.arange(n) / n * 3 - 1, 0, 1),
    ],
    ids=["slope", "step", "ramp"],
)
def test_drift_is_no_period(drift):
    assert found_share(lambda rng: rng.standard_normal(269) + drift(269)) <= 0.14


def test_blocks_that_remember_have_no_period():
    assert found_share(lambda rng: remembering(rng, 269, 0.5)) <= 0.16
    assert found_share(lambda rng: remembering(rng, 269, 0.9)) <= 0.16


def test_stalls_at_random_have_no_period():
    assert found_share(lambda rng: rng.standard_normal(269) + 50 * (rng.random(269) < 0.02)) <= 0.12


def test_the_same_seed_gives_the_same_and_another_nearly_the_same_odds():
    times = noise(100) + spikes(100, 7, 1)
    first = dominant_period(times, 1.0, 1)
    assert first == dominant_period(times, 1.0, 1)
    assert dominant_period(times, 1.0, 2).p == pytest.approx(first.p, abs=0.15)


@pytest.mark.parametrize("times", [[], [1.0] * (MIN_BLOCKS - 1), [5.0] * 100])
def test_too_few_or_equal_blocks_have_no_period(times):
    assert dominant_period(times, 1.0) is None


def test_from_the_fewest_blocks_on_there_is_one():
    assert dominant_period(noise(MIN_BLOCKS - 1), 1.0) is None
    assert dominant_period(noise(MIN_BLOCKS), 1.0) is not None


def test_four_cycles_are_the_fewest():
    assert dominant_period(noise(400), 1.0).blocks <= 101
