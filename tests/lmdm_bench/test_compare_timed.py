"""Each border of each rule by which a cell's times are judged, on times without noise."""

import dataclasses
import math

import numpy as np
import pytest

import compare_records
from compare_records import steady_cell
from lmdm_bench.compare_effect import PRIOR_RECORD_SD, Effect
from lmdm_bench.compare_record import Override, Times
from lmdm_bench.compare_timed import STAGE, TAIL, has_doubts, judged, timed

SETTINGS = compare_records.record([]).settings
RECORDS = dataclasses.replace(SETTINGS, source="records", is_paired=False)
THRESHOLD = 0.03
HAIR = 1e-6
# The half width of the interval of three processes without noise, on the scale of logarithms.
WIDTH = math.log(timed(steady_cell(1.0), SETTINGS)[0].first.ci95[1])

SAME_CONTROLS = {"product": 1.0, "copy": 1.0, "canary": 1.0}


def time_of(cell, settings=SETTINGS):
    return timed(cell, settings)[0]


def verdict_of(cell, settings=SETTINGS):
    one = time_of(cell, settings)
    return judged(one, settings.source)


# --- by the interval alone ----------------------------------------------------------


@pytest.mark.parametrize(
    ("log_ratio", "verdict"),
    [
        (math.log1p(THRESHOLD) + WIDTH + HAIR, "SLOWER"),
        (math.log1p(THRESHOLD) + WIDTH - HAIR, "AMBIGUOUS"),
        (math.log1p(THRESHOLD) - WIDTH + HAIR, "AMBIGUOUS"),
        (math.log1p(THRESHOLD) - WIDTH - HAIR, "SAME"),
        (-math.log1p(THRESHOLD) + WIDTH + HAIR, "SAME"),
        (-math.log1p(THRESHOLD) + WIDTH - HAIR, "AMBIGUOUS"),
        (-math.log1p(THRESHOLD) - WIDTH + HAIR, "AMBIGUOUS"),
        (-math.log1p(THRESHOLD) - WIDTH - HAIR, "FASTER"),
    ],
)
def test_each_border_of_the_interval(log_ratio, verdict):
    one = time_of(steady_cell(math.exp(log_ratio)))
    assert one.verdict == verdict
    assert one.is_found == (verdict in ("SLOWER", "FASTER"))


@pytest.mark.parametrize(
    ("ratio", "sentence"),
    [
        (1.1, "The whole interval is above +3.0"),
        (0.9, "The whole interval is below −2.9"),
        (1.0, "The whole interval is within −2.9"),
        (1.032, "The interval reaches across +3.0"),
        (0.969, "The interval reaches across −2.9"),
    ],
)
def test_the_first_reason_says_where_the_interval_lies(ratio, sentence):
    assert verdict_of(steady_cell(ratio, again=ratio))[1][0].startswith(sentence)


def test_what_is_ambiguous_says_what_would_tell():
    noisy = compare_records.paired_cell(num_processes=2, num_pairs=8, seed=3)
    assert "pairs would probably tell" in verdict_of(noisy)[1][0]
    # Pairs without noise do not become clearer.
    assert "more processes might tell, more pairs hardly" in verdict_of(steady_cell(1.03))[1][0]


def test_too_few_pairs_are_no_answer():
    verdict, reasons = verdict_of(steady_cell(1.5, num_pairs=4))
    assert verdict == "AMBIGUOUS"
    assert reasons == ("It cannot be told: needs 6 samples of each side in one process.",)
    assert time_of(steady_cell(1.5, num_pairs=4)).p is None


def test_a_cell_has_its_own_threshold():
    gate = dataclasses.replace(SETTINGS.gate, overrides=(Override("wide*", 0.2, None),))
    settings = dataclasses.replace(SETTINGS, gate=gate)
    assert verdict_of(steady_cell(1.1, name="wide one"), settings)[0] == "SAME"
    assert verdict_of(steady_cell(1.1, again=1.1, name="other"), settings)[0] == "SLOWER"


# --- drift ----------------------------------------------------------------------------


@pytest.mark.parametrize("control", ["product", "copy"])
@pytest.mark.parametrize("ratio", [1.0, 1.1])
@pytest.mark.parametrize(("moved_by", "is_doubtful"), [(-HAIR, False), (HAIR, True)])
@pytest.mark.parametrize("direction", [1, -1])
def test_a_control_that_moved_by_half_the_threshold_puts_all_in_doubt(
    control, ratio, moved_by, is_doubtful, direction
):
    moved = math.exp(direction * (math.log1p(THRESHOLD) / 2 + moved_by))
    cell = steady_cell(ratio, again=ratio, controls={**SAME_CONTROLS, control: moved})
    verdict, reasons = verdict_of(cell)
    assert (verdict == "AMBIGUOUS") == is_doubtful
    assert any(f"the {control}, fixed work" in one for one in reasons) == is_doubtful
    assert has_doubts(time_of(cell)) == is_doubtful
    assert time_of(cell).drift[0] == control


def test_a_control_has_not_moved_where_its_interval_holds_1():
    gate = dataclasses.replace(SETTINGS.gate, block=0.004)
    settings = dataclasses.replace(SETTINGS, gate=gate)
    for moved, is_doubtful in ((WIDTH - HAIR, False), (WIDTH + HAIR, True)):
        cell = steady_cell(1.1, again=1.1, controls={"product": math.exp(moved)})
        assert has_doubts(time_of(cell, settings)) == is_doubtful


def test_a_drift_while_it_is_measured_again_counts_too():
    cell = steady_cell(1.1)
    again = [
        compare_records.steady_process(1.1, controls={"copy": 1.05}, is_confirming=True),
    ] * 2
    cell = dataclasses.replace(cell, processes=(*cell.processes, *again))
    assert verdict_of(cell)[0] == "AMBIGUOUS"


# --- the clock ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log_ratio", "log_cycles", "verdict"),
    [
        (0.1, WIDTH + HAIR, "SLOWER"),
        (0.1, WIDTH - HAIR, "AMBIGUOUS"),
        (0.1, -0.1, "AMBIGUOUS"),
        (-0.1, -WIDTH - HAIR, "FASTER"),
        (-0.1, -WIDTH + HAIR, "AMBIGUOUS"),
        (0.0, math.log1p(THRESHOLD) + WIDTH - HAIR, "SAME"),
        (0.0, math.log1p(THRESHOLD) + WIDTH + HAIR, "AMBIGUOUS"),
        (0.0, -math.log1p(THRESHOLD) - WIDTH - HAIR, "AMBIGUOUS"),
    ],
)
def test_a_difference_is_there_in_cycles_too_and_sameness_hides_none(
    log_ratio, log_cycles, verdict
):
    controls = {"canary": math.exp(log_ratio - log_cycles)}
    ratio = math.exp(log_ratio)
    cell = steady_cell(ratio, again=ratio, controls=controls)
    assert time_of(cell).cycles.ratio == pytest.approx(math.exp(log_cycles))
    found, reasons = verdict_of(cell)
    assert found == verdict
    assert any("canary" in one for one in reasons) == (verdict == "AMBIGUOUS")


def test_without_a_canary_there_are_no_cycles():
    assert time_of(steady_cell(1.1, controls={"product": 1.0})).cycles is None
    stopped = steady_cell(1.1)
    stopped = dataclasses.replace(
        stopped,
        processes=tuple(
            dataclasses.replace(one, controls={"canary": Times((0.0,) * 8, (1.0,) * 8)})
            for one in stopped.processes
        ),
    )
    assert time_of(stopped).cycles is None


def test_records_have_a_canary_now_and_then_whose_median_counts():
    process = compare_records.steady_process(1.2)
    canary = Times((1.0, 1.0, 9.0), (1.2, 1.2))
    process = dataclasses.replace(process, b_first=(), controls={"canary": canary})
    cell = dataclasses.replace(steady_cell(1.2), processes=(process,))
    one = time_of(cell, RECORDS)
    assert (one.first.ratio, one.cycles.ratio) == pytest.approx((1.2, 1.0))
    assert verdict_of(cell, RECORDS)[0] == "AMBIGUOUS"


# --- measured again -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "again", "verdict"),
    [
        (1.1, 1 + THRESHOLD + HAIR, "SLOWER"),
        (1.1, 1 + THRESHOLD - HAIR, "AMBIGUOUS"),
        (1.1, 0.9, "AMBIGUOUS"),
        (1.1, None, "AMBIGUOUS"),
        (0.9, 1 / (1 + THRESHOLD) - HAIR, "FASTER"),
        (0.9, 1 / (1 + THRESHOLD) + HAIR, "AMBIGUOUS"),
        (0.9, 1.1, "AMBIGUOUS"),
        (0.9, None, "AMBIGUOUS"),
    ],
)
def test_a_difference_has_to_be_found_again(ratio, again, verdict):
    found, reasons = verdict_of(steady_cell(ratio, again=again))
    assert found == verdict
    expected = "Confirmed: measured again" if verdict != "AMBIGUOUS" else "Not confirmed:"
    assert reasons[-1].startswith(expected)


def test_what_is_found_again_is_no_matter_of_one_process():
    """Above the threshold in the middle, but the interval of the second measurement has 1 in it."""
    cell = steady_cell(1.1)
    again = [compare_records.steady_process(ratio, is_confirming=True) for ratio in (0.9, 1.2)]
    cell = dataclasses.replace(cell, processes=(*cell.processes, *again))
    assert time_of(cell).confirming.ratio > 1 + THRESHOLD
    assert verdict_of(cell)[0] == "AMBIGUOUS"


def test_a_second_measurement_that_was_cut_short_confirms_nothing():
    cell = steady_cell(1.1)
    again = compare_records.steady_process(1.1, num_pairs=4, is_confirming=True)
    cell = dataclasses.replace(cell, processes=(*cell.processes, again))
    verdict, reasons = verdict_of(cell)
    assert verdict == "AMBIGUOUS"
    assert reasons[-1] == (
        "Not confirmed: the second measurement needs 6 samples of each side in one process."
    )


def test_p_of_a_confirmed_difference_is_that_of_both_measurements():
    first, both = (time_of(steady_cell(1.1, again=again)) for again in (None, 1.1))
    assert first.p == first.first.p_beyond(THRESHOLD, is_slower=True)
    assert both.p == TAIL * both.confirming.p_beyond(THRESHOLD, is_slower=True)
    # What was not flagged has the p of its first measurement, whatever else was measured.
    unflagged = time_of(steady_cell(1.01, again=1.1))
    assert unflagged.p == unflagged.first.p_beyond(THRESHOLD, is_slower=True) > TAIL


def test_p_of_a_flagged_pair_of_runs_is_as_rare_as_it_says():
    """Were b slower by the threshold exactly, p of 0.01 and below would come up in 1 %."""
    rng = np.random.default_rng(0)
    low = 0
    for _ in range(2000):
        ratios = np.exp(rng.normal(math.log1p(THRESHOLD), 0.005, 5))
        processes = [
            compare_records.steady_process(ratio, num_pairs=6, is_confirming=at >= 3)
            for at, ratio in enumerate(ratios)
        ]
        cell = dataclasses.replace(steady_cell(1.0), processes=tuple(processes))
        low += time_of(cell).p <= 0.01
    assert low <= 0.01 * 2000


@pytest.mark.parametrize(("num_processes", "rests_on"), [(1, "differ by about"), (3, "confirm")])
def test_records_stand_by_their_processes(num_processes, rests_on):
    cell = steady_cell(1.2)
    cell = dataclasses.replace(cell, processes=cell.processes[:num_processes])
    verdict, reasons = verdict_of(cell, RECORDS)
    assert verdict == "SLOWER"
    assert reasons[-1].startswith("Records cannot be measured again")
    assert rests_on in reasons[-1]
    # One record on each side: no difference is told that two runs of the same code may have.
    alone = dataclasses.replace(cell, processes=steady_cell(1 + 2 * PRIOR_RECORD_SD).processes[:1])
    assert verdict_of(alone, RECORDS)[0] == "AMBIGUOUS"


# --- stages and tails -------------------------------------------------------------------------


def test_stages_are_told_that_are_large_or_add_much():
    stages = {
        "large": (60.0, 1.0),
        "just large": (5.0, 1.0),
        "small": (4.99, 1.0),
        "small, adds 1 %": (2.0, 1.5 + HAIR),
        "small, saves 1 %": (2.0, 0.5 - HAIR),
        "small, adds less": (2.0, 1.49),
    }
    found = timed(steady_cell(1.1, stages=stages), SETTINGS)[1:-1]
    assert [one.quantity.removeprefix(STAGE) for one in found] == [
        "small, adds 1 %",
        "small, saves 1 %",
        "large",
        "just large",
    ]
    by_name = {one.quantity.removeprefix(STAGE): one for one in found}
    assert by_name["large"].share == pytest.approx(0.6)
    assert by_name["small, adds 1 %"].contribution_ms == pytest.approx(1.0, rel=1e-5)
    assert by_name["small, saves 1 %"].contribution_ms == pytest.approx(-1.0, rel=1e-5)


def test_a_stage_of_no_time_is_told_without_an_effect():
    assert len(timed(steady_cell(1.1, stages={"nothing": (0.0, 1.0)}), SETTINGS)) == 2
    cell = steady_cell(1.1)
    process = dataclasses.replace(cell.processes[0], stages={"new": Times((0.0,) * 8, (7.0,) * 8)})
    (stage,) = timed(dataclasses.replace(cell, processes=(process,)), SETTINGS)[1:-1]
    assert (stage.first, stage.contribution_ms) == ("a time of 0 ms has no ratio", 7.0)


def test_p99_is_there_where_it_can_be():
    few = timed(steady_cell(1.1), SETTINGS)[-1]
    assert (few.a_ms, few.first) == (None, "needs 368 samples on each side, has 24")
    many = timed(steady_cell(1.1, num_pairs=124), SETTINGS)[-1]
    assert isinstance(many.first, Effect)
    assert (many.a_ms, many.b_ms) == pytest.approx((100.0, 110.0))
    # 248 samples of the second measurement are too few for a percentile.
    again = timed(steady_cell(1.1, again=1.1, num_pairs=124), SETTINGS)[-1]
    assert judged(again, "revisions")[0] == "AMBIGUOUS"
    assert judged(again, "records")[0] == "SLOWER"
