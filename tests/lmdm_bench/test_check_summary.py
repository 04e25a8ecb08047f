"""A cell's summary holds what its parts say, for long runs, short ones and none."""

import dataclasses
import math

import numpy as np
import pytest

import check_records
from lmdm_bench import check_summary, estimates
from lmdm_bench.check_record import Canary, Control, DeviceCount
from lmdm_bench.check_summary import summarise_check
from lmdm_bench.dropouts import dropouts, measured_dropouts, minutes_to_prove
from lmdm_bench.periodicity import dominant_period
from lmdm_bench.record import Estimate
from lmdm_bench.ring import Ring, play
from lmdm_bench.steadiness import steadiness
from lmdm_bench.tail import exceedance, fit_tail, max_inference_time_ms

BLOCK_MS = 48 * 2048 / 44100 * 1000


def summary_of(record, index=0):
    return summarise_check(record.check_cells[index], record.settings, record.harness)


def summary(service_ms, prebuffer_blocks=2, **settings):
    cell = check_records.cell(service_ms, prebuffer_blocks=prebuffer_blocks)
    return summary_of(check_records.record(cell, prebuffer_blocks=prebuffer_blocks, **settings))


def with_cell(**changes):
    record = check_records.likely()
    (cell,) = record.check_cells
    return dataclasses.replace(record, check_cells=(dataclasses.replace(cell, **changes),))


def is_told(estimate):
    assert (estimate.reason is None) == (estimate.ci95 is not None)
    return estimate.value is not None


@pytest.mark.parametrize("name", check_records.EXAMPLES)
def test_a_summary_is_made_of_the_cells_parts(name):
    record = check_records.EXAMPLES[name]()
    settings = record.settings
    for index, cell in enumerate(record.check_cells):
        found = summary_of(record, index)
        late = [one.lateness_ms for one in cell.blocks[settings.prebuffer_blocks :]]
        assert found.dropouts == measured_dropouts(cell, settings.prebuffer_blocks, settings.policy)
        assert found.steadiness == steadiness(cell, settings.seed)
        assert found.period == dominant_period(
            cell.service_ms, cell.workload.block_seconds, settings.seed
        )
        assert repr(found.service_tail) == repr(fit_tail(cell.service_ms))
        assert repr(found.lateness_tail) == repr(fit_tail(late))
        assert found.max_inference_time_ms == max_inference_time_ms(cell.service_ms)
        assert found.service_ms.p50 == estimates.quantile(cell.service_ms, 0.5)
        assert found.min_slack_ms == (-max(late) if late else None)


@pytest.mark.parametrize("num_blocks", [1, 2, 3])
def test_the_shortest_runs_have_a_summary_and_reasons(num_blocks):
    found = summary(check_records.steady(num_blocks))
    assert found.period is None
    for one in (
        found.service_ms.p50,
        found.slack_p1,
        found.ready_jitter_ms,
        found.max_inference_time_ms,
        found.modelled_dropouts_per_hour,
    ):
        assert not is_told(one)
    assert found.dropouts.num_blocks == max(0, num_blocks - 2)
    assert (found.min_slack_ms is None) == (num_blocks < 3)
    assert len(found.worst) == num_blocks
    assert found.smallest_prebuffer == found.smallest_prebuffer_simulated == 1


def test_a_cell_without_blocks_has_no_figure_but_reasons():
    found = summary_of(check_records.failed())
    for name in (
        "period",
        "startup_delay_ms",
        "smallest_prebuffer",
        "smallest_prebuffer_simulated",
        "safe_prebuffer",
        "min_slack_ms",
        "canary_drift",
    ):
        assert getattr(found, name) is None
    assert found.worst == () and not found.has_codec
    told = [one for one in vars(found).values() if isinstance(one, Estimate)]
    assert len(told) == 5
    assert [is_told(one) for one in told] == [False] * 4 + [True]  # the harness was measured


@pytest.mark.parametrize("name", ["steady", "stalls", "heat", "spikes"])
def test_the_smallest_prebuffer_is_the_same_in_closed_form_and_by_replay(name):
    times = getattr(check_records, name)()
    found = summary(times)
    blocks = found.smallest_prebuffer
    assert found.smallest_prebuffer_simulated == blocks
    assert not play(times, Ring(blocks, BLOCK_MS)).is_miss.any()
    assert blocks == 1 or play(times, Ring(blocks - 1, BLOCK_MS)).is_miss.any()


@pytest.mark.parametrize("guess", [1, 3, 9])
def test_the_replay_does_not_believe_the_closed_form(monkeypatch, guess):
    monkeypatch.setattr(check_summary, "smallest_prebuffer", lambda times, block_ms: guess)
    found = summary(check_records.stalls())
    assert (found.smallest_prebuffer, found.smallest_prebuffer_simulated) == (guess, 4)


def test_no_prebuffer_is_safe_after_a_run_that_is_too_short_to_tell():
    times = check_records.steady()
    minutes = len(times) * BLOCK_MS / 60_000
    per_hour = minutes_to_prove(1.0, 0) / minutes
    assert summary(times, target_dropouts_per_hour=per_hour * 0.99).safe_prebuffer is None
    assert summary(times, target_dropouts_per_hour=per_hour * 1.02).safe_prebuffer == 1


def test_the_safe_prebuffer_is_the_smallest_within_the_target():
    times = np.array(check_records.steady(600))
    times[[100, 200, 300, 400]] += 3000.0
    times[500] += 9000.0
    found = summary(times.tolist(), target_dropouts_per_hour=15.0)
    bounds = [dropouts(play(times, Ring(size, BLOCK_MS))).per_hour_upper for size in range(1, 8)]
    assert found.safe_prebuffer == next(size for size, most in enumerate(bounds, 1) if most <= 15)
    assert 1 < found.safe_prebuffer < found.smallest_prebuffer


def test_a_prebuffer_with_which_the_silence_never_ends_is_not_safe():
    """One dropout in two hours is within the target, even if it lasts for half of them."""
    times = [1000.0] * 1500 + [2600.0] * 1500
    played = dropouts(play(times, Ring(3, BLOCK_MS)))
    assert played.num_dropouts == 1 and played.per_hour_upper < 4.0
    assert summary(times, target_dropouts_per_hour=4.0).safe_prebuffer is None


def test_modelled_dropouts_are_the_clusters_of_lateness_above_zero():
    times = 1500 * np.random.default_rng(0).lognormal(0, 0.15, 600)
    found = summary(times.tolist(), prebuffer_blocks=1)
    tail, blocks_per_hour = found.lateness_tail, 3_600_000 / BLOCK_MS
    late = exceedance(tail, 0.0)
    told = found.modelled_dropouts_per_hour
    assert told.value == pytest.approx(late.value * tail.extremal_index * blocks_per_hour)
    assert told.ci95 == pytest.approx(
        [one * tail.extremal_index * blocks_per_hour for one in late.ci95]
    )
    assert "model-based" in told.method


def test_modelled_dropouts_are_not_below_one_in_ten_times_the_run():
    found = summary_of(check_records.likely()).modelled_dropouts_per_hour
    hours = 267 * BLOCK_MS / 3_600_000
    assert found.value == found.ci95[1] == pytest.approx(1 / (10 * hours))
    assert found.ci95[0] == 0


def test_the_model_tells_how_often_blocks_that_vary_are_late():
    """Long runs of the same kind have about the modelled number of dropouts."""
    rng, mean_ms = np.random.default_rng(0), 1400
    truth = dropouts(play(mean_ms * rng.lognormal(0, 0.15, 100_000), Ring(1, BLOCK_MS))).per_hour
    held = 0
    for seed in range(30):
        times = mean_ms * np.random.default_rng(seed).lognormal(0, 0.15, 269)
        found = summary(times.tolist(), prebuffer_blocks=1).modelled_dropouts_per_hour
        held += found.ci95 is not None and found.ci95[0] <= truth.value <= found.ci95[1]
    assert held >= 0.85 * 30


def test_control_to_sound_is_from_the_arrival_to_the_first_sample():
    record = with_cell(
        controls=(
            Control("prompt", 1000.0, 3, 4000.0),
            Control("prompt", 5000.0, 5, 10_000.0),
            Control("input", 100.0, 3, 90_000.0),
            Control("prompt", 6000.0, None, None),
        )
    )
    found = summary_of(record).control_to_sound_seconds
    assert (found.kind, found.n, found.largest_seconds, found.num_unheard) == ("prompt", 2, 5.0, 1)
    assert found.p50.reason == "needs 6 changes that were heard"


def test_control_to_sound_has_quantiles_and_is_told_of_input_where_no_prompt_came():
    controls = tuple(
        Control("input", 1000.0 * one, one, 1000.0 * one + 100 * (one + 1)) for one in range(100)
    )
    found = summary_of(with_cell(controls=controls)).control_to_sound_seconds
    assert (found.kind, found.n, found.num_unheard) == ("input", 100, 0)
    assert found.p50.value == pytest.approx(5.05)
    assert found.p95.value == pytest.approx(9.505) and is_told(found.p95)
    none = summary_of(with_cell(controls=())).control_to_sound_seconds
    assert (none.kind, none.n, none.largest_seconds) == (None, 0, None)


def test_what_the_sound_card_adds_is_in_control_to_sound():
    record = check_records.on_a_sound_card()
    (cell,) = record.check_cells
    count = cell.device_count
    assert isinstance(count, DeviceCount)
    slow, silent = (
        dataclasses.replace(
            cell, device_count=dataclasses.replace(count, output_latency_ms=latency)
        )
        for latency in (count.output_latency_ms, None)
    )
    with_it, without = (
        summarise_check(one, record.settings, record.harness).control_to_sound_seconds
        for one in (slow, silent)
    )
    added = with_it.largest_seconds - without.largest_seconds
    assert added == pytest.approx(count.output_latency_ms / 1000)


def test_the_worst_blocks_are_the_latest_or_else_the_slowest():
    late = summary_of(check_records.with_stalls())
    (cell,) = check_records.with_stalls().check_cells
    latest = sorted((one.lateness_ms for one in cell.blocks[2:]), reverse=True)[:3]
    assert [one.lateness_ms for one in late.worst] == latest
    fine = summary_of(check_records.likely())
    (cell,) = check_records.likely().check_cells
    assert [one.block.service_ms for one in fine.worst] == sorted(cell.service_ms)[:-4:-1]


def test_jitter_is_between_the_median_and_the_99th_percentile_of_the_time_from_block_to_block():
    times = 1500 * np.random.default_rng(0).lognormal(0, 0.1, 800)
    record = check_records.record(check_records.cell(times.tolist()))
    found = summary_of(record).ready_jitter_ms
    ready = [one.ready_ms for one in record.check_cells[0].blocks]
    between = np.diff(ready)
    assert found.value == pytest.approx(np.quantile(between, 0.99) - np.median(between))
    low, high = found.ci95
    assert 0 < low < found.value < high and found.n == 799


def test_the_memory_margin_is_the_unused_share():
    assert summary_of(with_cell()).memory_margin == pytest.approx(1 - 5 / 24)
    assert summary_of(with_cell(memory_limit_bytes=None)).memory_margin is None
    assert summary_of(with_cell(memory_used_bytes=None)).memory_margin is None


@pytest.mark.parametrize(
    ("work_ms", "drift"),
    [
        ((1.0, 1.0, 9.0, 1.2, 1.2, 1.2), 0.2),
        ((1.0, 5.0, 0.9), -0.1),
        ((1.0, 1.1), None),
        ((), None),
    ],
)
def test_the_canary_drifts_from_the_first_third_to_the_last(work_ms, drift):
    canary = Canary(tuple(map(float, range(len(work_ms)))), work_ms, None if work_ms else "none")
    found = summary_of(with_cell(canary=canary)).canary_drift
    assert found == (None if drift is None else pytest.approx(drift))


def test_the_harness_own_lateness_is_told_or_why_not():
    record = check_records.likely()
    assert summary_of(record).harness_p99_ms == estimates.quantile(record.harness.lateness_ms, 0.99)
    none = dataclasses.replace(
        record.harness, lateness_ms=(), wake_error_ms=(), reason="it was not measured"
    )
    found = summarise_check(record.check_cells[0], record.settings, none).harness_p99_ms
    assert (found.value, found.reason) == (None, "it was not measured")


def test_slack_is_minus_the_lateness_of_the_blocks_that_were_due():
    times = 1500 * np.random.default_rng(0).lognormal(0, 0.1, 500)
    record = check_records.record(check_records.cell(times.tolist()))
    slack = [-one.lateness_ms for one in record.check_cells[0].blocks[2:]]
    found = summary_of(record)
    assert found.slack_p1.value == pytest.approx(np.quantile(slack, 0.01))
    assert found.min_slack_ms == min(slack) <= found.slack_p1.ci95[0]


def test_the_startup_delay_is_that_of_the_service_times():
    times = check_records.stalls()
    expected = max(math.fsum(times[: i + 1]) - i * BLOCK_MS for i in range(len(times)))
    assert summary(times).startup_delay_ms == pytest.approx(expected)


def test_a_stream_of_tokens_has_no_codec_in_its_service_times():
    (cell,) = check_records.likely().check_cells
    assert summary_of(check_records.likely()).has_codec
    tokens = tuple(
        dataclasses.replace(one, block=dataclasses.replace(one.block, codec_decode_ms=None))
        for one in cell.blocks
    )
    assert not summary_of(with_cell(blocks=tokens)).has_codec
