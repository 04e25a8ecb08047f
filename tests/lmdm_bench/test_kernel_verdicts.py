"""Rates, ratios, words and goals by hand, and of records whose truth was planted."""

import dataclasses

import pytest

import kernels_records
from kernels_records import CHECK
from lmdm_bench import kernel_verdicts
from lmdm_bench.kernel_verdicts import (
    counted,
    goals,
    judged_regimes,
    median_ms,
    middle,
    rates,
    ratio,
    speed_ups,
    standings,
    subject_of,
    timing_of,
    worst,
)
from lmdm_bench.kernels_record import KernelCell, KernelRow, Timing
from lmdm_bench.record import Ceiling, Choice

CASE = kernels_records.on_cpu().kernel_cells[0].case
EVEN = tuple(1.0 + 0.001 * at for at in range(12))


def timing(round_ms, regime="warm"):
    return Timing(regime, "OK", None, 1, 1, tuple(round_ms))


def row(backend, round_ms, **changes):
    timings = tuple(timing(round_ms, regime) for regime in ("warm", "cold", "stack", "stack graph"))
    whole = KernelRow(backend, "OK", None, CHECK, 1, 0, 0, None, timings, {})
    return dataclasses.replace(whole, **changes)


def record_of(rows, device="cpu", case=CASE):
    record = kernels_records.on_cuda() if device == "cuda" else kernels_records.on_cpu()
    settings = dataclasses.replace(record.settings, device=Choice(device, "a test"))
    cells = (KernelCell(case, tuple(rows)),)
    return dataclasses.replace(record, settings=settings, kernel_cells=cells)


def test_rates_are_of_the_true_area_and_the_ideal_bytes():
    case = dataclasses.replace(CASE, flops=2_000_000_000, num_bytes=10_000_000, layers=16)
    ceiling = Ceiling("bfloat16", 1e12, 1e10)
    one = rates(case, timing([4.0] * 6), ceiling)
    assert one.tflops == pytest.approx(0.5)
    assert one.gigabytes_per_second == pytest.approx(2.5)
    assert one.of_roofline == pytest.approx(0.5)  # 2 ms of products, 1 ms of bytes
    stack = rates(case, timing([64.0] * 6, "stack"), ceiling)
    assert stack == one
    slow_memory = Ceiling("bfloat16", 1e12, 2.5e9)
    assert rates(case, timing([4.0] * 6), slow_memory).of_roofline == pytest.approx(1.0)


def test_a_median_has_an_interval_from_six_rounds_on():
    assert median_ms(timing([1, 2, 3, 4, 5, 60])).value == 3.5
    assert median_ms(timing([1, 2, 3, 4, 5, 60])).ci95 == (1, 60)
    assert median_ms(timing([1, 2, 3])).value is None
    assert (middle([3, 1, 2]), middle([4, 1, 2, 3])) == (2, 2.5)


def test_a_ratio_is_paired_by_round():
    """Drift that both share is no part of it."""
    drift = [1.5**at for at in range(8)]
    found = ratio(timing([2 * one for one in drift]), timing(drift))
    assert found.value == pytest.approx(2) and found.ci95 == pytest.approx((2, 2))
    cut = ratio(timing([2 * one for one in drift]), timing(drift[:7]))
    assert cut.n == 7


@pytest.mark.parametrize(
    ("factor", "word"),
    [(0.5, "faster"), (0.99, "faster"), (1.01, "as fast"), (1.05, "slower"), (3.0, "slower")],
)
def test_words_go_by_the_interval(factor, word):
    mine = [factor * one for one in EVEN]
    (one, *_) = standings(record_of([row("range", mine), row("masked", EVEN)]))
    assert (one.word, one.other, one.why_not) == (word, "masked", None)


def test_an_interval_on_both_sides_cannot_tell():
    noisy = [one * (0.7 if at % 2 else 1.4) for at, one in enumerate(EVEN)]
    (one, *_) = standings(record_of([row("range", noisy), row("masked", EVEN)]))
    assert one.word == "cannot tell" and one.why_not is None


def test_few_rounds_cannot_tell():
    (one, *_) = standings(record_of([row("range", EVEN[:3]), row("masked", EVEN[:3])]))
    assert one.word == "cannot tell" and one.ratio is not None and one.ratio.value is None


def test_the_best_of_the_others_is_the_one_to_beat():
    rows = [
        row("range", EVEN),
        row("masked", [2 * one for one in EVEN]),
        row("flex", [0.9 * one for one in EVEN]),
        row("reference", [5 * one for one in EVEN]),
    ]
    for one in standings(record_of(rows)):
        assert one.other == "flex"
        assert one.ratio is not None and one.ratio.value == pytest.approx(1 / 0.9)


def test_what_is_not_timed_is_no_standing():
    oom = dataclasses.replace(
        row("masked", EVEN), status="OOM", reason="no memory", timings=(), check=None
    )
    for rows, why in (
        ([row("masked", EVEN)], "range was not asked for"),
        ([row("range", EVEN)], "there is nothing to compare with"),
        ([row("range", EVEN), oom], "there is nothing to compare with"),
        ([dataclasses.replace(oom, backend="range")], "range is OOM: no memory"),
    ):
        found = standings(record_of(rows))
        assert {one.why_not for one in found} == {why}
        assert not counted(found) and worst(found) is None


def test_a_regime_that_failed_is_not_told():
    failed = dataclasses.replace(
        timing(EVEN, "cold"), status="FAILED", reason="a bug", round_ms=EVEN[:2]
    )
    mine = row("range", EVEN)
    mine = dataclasses.replace(mine, timings=(mine.timings[0], failed))
    found = {one.regime: one for one in standings(record_of([mine, row("masked", EVEN)]))}
    assert found["warm"].why_not is None
    assert found["cold"].why_not == "range is FAILED: a bug"
    assert found["stack"].why_not == "range was not timed in this regime"
    assert timing_of(mine, "cold") is None


def test_the_kernel_is_judged_on_a_gpu_and_the_reference_elsewhere():
    assert subject_of(kernels_records.on_cuda()) == "interval"
    assert subject_of(kernels_records.on_cpu()) == "range"
    assert judged_regimes(kernels_records.on_cuda()) == ("warm", "cold", "stack graph")
    assert judged_regimes(kernels_records.on_cpu()) == ("warm", "cold", "stack")


STATES = {
    "on_cpu": ("cannot tell", "cannot tell", "met"),
    "on_cuda": ("met", "met", "cannot tell"),
    "behind": ("not met", "not met", "cannot tell"),
    "few_rounds": ("cannot tell", "cannot tell", "cannot tell"),
    "short": ("cannot tell", "cannot tell", "cannot tell"),
    "nothing": ("cannot tell", "cannot tell", "cannot tell"),
}


@pytest.mark.parametrize("name", kernels_records.EXAMPLES)
def test_goals_are_met_where_that_was_planted(name):
    found = goals(kernels_records.EXAMPLES[name]())
    assert tuple(one.state for one in found) == STATES[name]
    assert all(one.why for one in found)


def test_one_cell_far_behind_is_enough():
    record = kernels_records.on_cuda()
    (first, *others) = record.kernel_cells
    slow = tuple(
        dataclasses.replace(one, round_ms=tuple(1.5 * ms for ms in one.round_ms))
        for one in first.rows[0].timings
    )
    first = dataclasses.replace(
        first, rows=(dataclasses.replace(first.rows[0], timings=slow), *first.rows[1:])
    )
    share, behind, _ = goals(dataclasses.replace(record, kernel_cells=(first, *others)))
    assert (share.state, behind.state) == ("met", "not met")
    assert behind.why == "it is in 3 of 240 cells"


@pytest.mark.parametrize(
    ("factor", "state"), [(1.3, "met"), (1.1, "not met"), (None, "cannot tell")]
)
def test_the_speed_up_counts_in_its_worst_cell(factor, state):
    case = dataclasses.replace(CASE, plan="encoder-decoder", context_frames=768, block_frames=256)
    masked = [one * (factor if factor else (1.0 if at % 2 else 1.5)) for at, one in enumerate(EVEN)]
    record = record_of([row("range", EVEN), row("masked", masked)], case=case)
    assert goals(record)[2].state == state
    assert len(speed_ups(record)) == 3
    assert not speed_ups(record_of([row("range", EVEN), row("masked", EVEN)]))


def test_the_thresholds_are_those_of_the_issue():
    assert kernel_verdicts.LEAST_SHARE == 0.9
    assert kernel_verdicts.MOST_BEHIND == 1.1
    assert kernel_verdicts.LEAST_SPEED_UP == 1.2
    assert kernel_verdicts.SPEED_UP_WINDOW == (768, 256)
