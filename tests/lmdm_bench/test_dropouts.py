"""Dropouts are counted as a listener counts them, and their intervals hold as often as they say."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import check_records
import golden_traces
from lmdm_bench.dropouts import Dropouts, dropouts, measured_dropouts, minutes_to_prove
from lmdm_bench.ring import Played, Ring, play

POLICIES = ("zero-pad", "stall", "skip")
BLOCK_MS = 10.0
HOUR_MS = 3_600_000.0

traces = st.lists(st.integers(0, 45).map(float), min_size=1, max_size=60)
prebuffers = st.integers(1, 6)
policies = st.sampled_from(POLICIES)


def of_misses(is_miss, block_ms=BLOCK_MS):
    """Dropouts of a row of blocks of which these are late, by 4 ms, after a prebuffer of one."""
    late = np.where(np.concatenate([[False], is_miss]), 4.0, 0.0)
    zeros = np.zeros(late.size)
    none = np.zeros(late.size, dtype=np.int64)
    return dropouts(Played(Ring(1, block_ms), zeros, zeros, late, zeros, late, none))


def bursts_of(rng, n, rate, mean_burst):
    """Misses in runs of random length, time between runs at random, from the middle of it all."""
    is_miss = np.zeros(0, dtype=bool)
    while is_miss.size < 2 * n + 100:
        good = rng.geometric(rate / (mean_burst * (1 - rate)))
        bad = rng.geometric(1 / mean_burst)
        is_miss = np.concatenate([is_miss, np.zeros(good, bool), np.ones(bad, bool)])
    return is_miss[n : 2 * n]


def coverage(draw, read, truth, times):
    held = 0
    for seed in range(times):
        low, high = read(of_misses(draw(np.random.default_rng(seed))))
        held += low <= truth <= high
    return held / times


def silence_by_steps(played):
    """Half milliseconds of the time after the prebuffer, each silent or not."""
    ring, step = played.ring, 0.5
    is_late_whole = ring.policy == "stall"
    pieces = []
    for late, skipped in zip(played.lateness_ms, played.skipped, strict=True):
        pieces += [True] * round(skipped * ring.block_ms / step)
        missing = max(0.0, late) if is_late_whole else min(max(0.0, late), ring.block_ms)
        sound = ring.block_ms if is_late_whole else ring.block_ms - missing
        pieces += [True] * round(missing / step) + [False] * round(sound / step)
    return pieces[round(ring.prebuffer_blocks * ring.block_ms / step) :], step


@pytest.mark.parametrize(("name", "policy"), golden_traces.HEARD)
def test_the_golden_traces_have_the_dropouts_that_are_written(name, policy):
    ring = Ring(golden_traces.PREBUFFER_BLOCKS, golden_traces.BLOCK_MS, policy)
    found = dropouts(play(golden_traces.TRACES[name](), ring))
    heard = golden_traces.Heard(found.num_misses, found.num_dropouts, max(found.bursts, default=0))
    assert heard == golden_traces.HEARD[name, policy]


def test_a_stall_of_five_blocks_by_hand():
    trace = [5.0, 5.0, 5.0, 55.0, 5.0, 5.0, 5.0]
    zero_pad, stall, skip = (dropouts(play(trace, Ring(2, 10.0, one))) for one in POLICIES)
    assert [one.num_blocks for one in (zero_pad, stall, skip)] == [5, 5, 7]
    assert [one.bursts for one in (zero_pad, stall, skip)] == [(4,), (1,), (5,)]
    assert [one.silence_ms for one in (zero_pad, stall, skip)] == [(40.0,), (35.0,), (45.0,)]
    # Skipping: one late for all its time, two not made, one late for all and one for half of it.
    assert [one.longest_gap_ms for one in (zero_pad, stall, skip)] == [40.0, 35.0, 45.0]
    assert [one.playing_hours * HOUR_MS for one in (zero_pad, stall, skip)] == [50, 85, 70]
    assert zero_pad.gap_ms_per_minute == pytest.approx(40 / 50 * 60_000)


@given(traces, prebuffers, policies)
def test_silences_are_those_of_every_half_millisecond(trace, blocks, policy):
    played = play(trace, Ring(blocks, BLOCK_MS, policy))
    found = dropouts(played)
    is_silent, step = silence_by_steps(played)
    assert math.fsum(found.silence_ms) == sum(is_silent) * step
    runs = [sum(1 for _ in run) for silent, run in itertools.groupby(is_silent) if silent]
    assert found.longest_gap_ms == max(runs, default=0) * step
    assert found.playing_hours * HOUR_MS == pytest.approx(len(is_silent) * step)


@given(traces, prebuffers, policies)
def test_the_counts_agree_with_each_other(trace, blocks, policy):
    found = dropouts(play(trace, Ring(blocks, BLOCK_MS, policy)))
    assert sum(found.bursts) == found.num_misses <= found.num_blocks
    assert len(found.silence_ms) == len(found.bursts) == found.num_dropouts
    assert found.longest_gap_ms <= max(found.silence_ms, default=0.0)
    if found.num_blocks:
        low, high = found.miss_rate.ci95
        assert low <= found.miss_rate.value <= high
        low, high = found.per_hour.ci95
        assert low <= found.per_hour_lower <= found.per_hour.value <= found.per_hour_upper <= high


def test_blocks_of_the_prebuffer_are_not_due():
    found = dropouts(play([25.0, 25.0, 5.0], Ring(2, 10.0)))
    assert found.num_blocks == 1
    assert found.playing_hours * HOUR_MS == 10


@pytest.mark.parametrize("num_blocks", [1, 2])
def test_where_nothing_was_due_there_are_reasons_and_no_figures(num_blocks):
    found = dropouts(play([5.0] * num_blocks, Ring(2, 10.0)))
    assert found.num_blocks == found.num_dropouts == found.playing_hours == 0
    for one in (found.miss_rate, found.per_hour, found.p_miss_given_miss):
        assert one.value is None and one.ci95 is None and one.reason
    assert found.gap_ms_per_minute is None
    assert (found.per_hour_lower, found.per_hour_upper) == (0.0, math.inf)


def test_no_miss_in_ten_minutes_leaves_eighteen_dropouts_per_hour_possible():
    found = dropouts(play(golden_traces.steady(), Ring(3, 40.0)))
    assert found.per_hour.value == found.per_hour_lower == 0
    assert found.per_hour_upper == pytest.approx(17.98, abs=0.01)
    assert found.miss_rate.ci95 == (0, pytest.approx(1 - 0.025 ** (1 / 14997)))


@pytest.mark.parametrize("num_dropouts", [0, 1, 2, 20])
@pytest.mark.parametrize("target", [0.1, 1.0, 30.0])
def test_minutes_to_prove_are_those_at_which_the_bound_falls_to_the_target(num_dropouts, target):
    mean = minutes_to_prove(target, num_dropouts) / 60 * target
    # With so many expected, no more than those seen come in 5 % of the cases.
    assert stats.poisson.cdf(num_dropouts, mean) == pytest.approx(0.05)


def test_an_hour_without_a_dropout_is_proved_in_three_hours():
    assert minutes_to_prove(1.0, 0) == pytest.approx(60 * -math.log(0.05))
    with pytest.raises(ValueError, match="above 0"):
        minutes_to_prove(0.0, 0)


def test_the_bounds_are_the_exact_poisson_ones():
    found = of_misses(np.arange(300) % 50 == 7)
    hours, events = 3000 / HOUR_MS, 6
    assert found.num_dropouts == events
    for rate, tail in ((found.per_hour.ci95[1], 0.025), (found.per_hour_upper, 0.05)):
        assert stats.poisson.cdf(events, rate * hours) == pytest.approx(tail)
    for rate, tail in ((found.per_hour.ci95[0], 0.025), (found.per_hour_lower, 0.05)):
        assert stats.poisson.sf(events - 1, rate * hours) == pytest.approx(tail)


def test_what_follows_a_miss_is_counted_after_each_miss_but_the_last_block():
    found = of_misses(np.array([1, 1, 0, 1, 0, 0, 1], bool))
    assert (found.p_miss_given_miss.value, found.p_miss_given_miss.n) == (1 / 3, 3)
    assert of_misses(np.array([0, 0, 1], bool)).p_miss_given_miss.value is None


def test_misses_that_do_not_cluster_have_the_interval_of_clopper_and_pearson():
    found = of_misses(np.arange(300) % 50 == 7).miss_rate
    exact = stats.binomtest(6, 300).proportion_ci(method="exact")
    assert found.ci95 == pytest.approx((exact.low, exact.high))


@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_the_interval_is_never_narrower_than_clopper_and_pearson(misses):
    found = of_misses(np.array(misses)).miss_rate
    exact = stats.binomtest(sum(misses), len(misses)).proportion_ci(method="exact")
    assert found.ci95[0] <= exact.low + 1e-12 and found.ci95[1] >= exact.high - 1e-12


@pytest.mark.parametrize(("n", "rate"), [(269, 0.1), (269, 0.5), (1500, 0.02)])
def test_the_interval_of_the_miss_rate_holds_for_independent_misses(n, rate):
    held = coverage(lambda rng: rng.random(n) < rate, lambda one: one.miss_rate.ci95, rate, 400)
    assert 0.93 <= held <= 0.995  # it is exact, so never too narrow


@pytest.mark.parametrize(("n", "rate", "burst"), [(1500, 0.1, 2), (1500, 0.1, 8), (269, 0.1, 2)])
def test_the_interval_of_the_miss_rate_holds_where_misses_come_in_bursts(n, rate, burst):
    held = coverage(
        lambda rng: bursts_of(rng, n, rate, burst), lambda one: one.miss_rate.ci95, rate, 300
    )
    assert held >= 0.92


def test_an_interval_that_took_misses_in_bursts_as_independent_would_not_hold():
    """Which is why there is more to it than Clopper and Pearson."""
    held = 0
    for seed in range(200):
        misses = int(bursts_of(np.random.default_rng(seed), 1500, 0.1, 8).sum())
        exact = stats.binomtest(misses, 1500).proportion_ci(method="exact")
        held += exact.low <= 0.1 <= exact.high
    assert held / 200 < 0.6


@pytest.mark.parametrize("burst", [2, 8])
def test_the_interval_of_dropouts_per_hour_holds_where_misses_come_in_bursts(burst):
    n, rate = 1500, 0.05
    truth = rate / burst / (BLOCK_MS / HOUR_MS)
    held = coverage(
        lambda rng: bursts_of(rng, n, rate, burst), lambda one: one.per_hour.ci95, truth, 300
    )
    assert held >= 0.93


def test_one_long_dropout_tells_next_to_nothing_about_the_rate():
    low, high = dropouts(play(golden_traces.heat(), Ring(3, 40.0))).miss_rate.ci95
    assert low < 0.1 and high > 0.9


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", ["steady", "stalls", "heat", "spikes"])
def test_what_a_check_measured_is_what_its_trace_replays_to(name, policy):
    times = getattr(check_records, name)()
    cell = check_records.cell(times, policy=policy)
    # The examples' harness adds 0.05 ms to each block, of which a replay knows nothing.
    exact = dataclasses.replace(
        cell,
        blocks=tuple(dataclasses.replace(one, ready_ms=one.ready_ms - 0.05) for one in cell.blocks),
    )
    measured = measured_dropouts(exact, 2, policy)
    replayed = dropouts(play(times, Ring(2, cell.block_ms, policy)))
    assert measured.bursts == replayed.bursts
    assert measured.num_blocks == replayed.num_blocks
    assert measured.silence_ms == pytest.approx(replayed.silence_ms)


def test_a_check_without_blocks_has_no_dropouts():
    (never, _) = check_records.failed().check_cells
    found = measured_dropouts(never, 2, "skip")
    assert isinstance(found, Dropouts) and found.num_blocks == 0 and found.per_hour.value is None
