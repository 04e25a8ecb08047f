"""The verdicts and the exit code: of examples, of each rule, and of simulated experiments.

The experiments go as the live suite does: two processes of pairs, and new ones for what is flagged
or cannot be told. Blocks have a threshold of 3 %.
"""

import dataclasses
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from scipy import stats

import compare_records
from compare_records import side_of_cell, steady_cell
from lmdm_bench.compare_record import CellSide, Misses, Override
from lmdm_bench.compare_verdicts import (
    DROPOUTS,
    EXIT_INCONCLUSIVE,
    EXIT_REGRESSION,
    EXIT_SAME,
    FALSE_SHARE,
    MEMORY,
    P99,
    STAGE,
    TIME,
    VERDICTS,
    Judgement,
    flagged,
    judge,
    untold,
)

BROKEN_SIDE = CellSide("INCORRECT", "error 0.3 against its oracle", 0.3, 0.02, {}, None)
MIB = 2**20


def judged(*cells, **settings):
    return judge(compare_records.record(cells, **settings))


def row_of(judgement: Judgement, quantity=TIME, cell=None):
    (found,) = [
        one
        for one in judgement.rows
        if one.quantity == quantity and (cell is None or one.cell == cell)
    ]
    return found


def with_sides(cell, a=None, b=None):
    return dataclasses.replace(cell, a=a or cell.a, b=b or cell.b)


# --- examples ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "exit_code", "times"),
    [
        ("same", EXIT_SAME, ["SAME"] * 4),
        ("slower", EXIT_REGRESSION, ["SAME", "SLOWER"]),
        ("faster", EXIT_SAME, ["FASTER"]),
        ("drifting", EXIT_INCONCLUSIVE, ["AMBIGUOUS"]),
        ("broken", EXIT_REGRESSION, ["SAME", "BROKEN"]),
        ("side by side", EXIT_INCONCLUSIVE, ["ALONE"]),
    ],
)
def test_examples(name, exit_code, times):
    found = judge(compare_records.EXAMPLES[name]())
    assert [one.verdict for one in found.rows if one.quantity == TIME] == times
    assert found.exit_code == exit_code
    assert all(one.reasons and all(one.reasons) for one in found.rows)
    assert {one.verdict for one in found.rows} <= set(VERDICTS)


def test_a_slower_cell_names_the_stage_that_carries_it():
    time = row_of(judge(compare_records.slower()), cell="block-causal · sao-small")
    assert 1.15 < time.effect.value < 1.18
    assert time.confirming.ci95[0] < time.effect.value < time.confirming.ci95[1]
    (carrier,) = [one for one in time.reasons if "of the difference" in one]
    assert carrier.startswith("Its first step (+29.")
    assert "later steps" not in " ".join(time.reasons)


def test_rows_of_a_cell_stand_in_order():
    quantities = [one.quantity for one in judge(compare_records.slower()).rows][5:]
    assert quantities == [
        TIME,
        STAGE + "first_step",
        STAGE + "later_steps",
        P99,
        MEMORY + "peak_allocated",
    ]


def test_a_stage_is_a_regression_though_the_whole_is_not():
    stages = {"commit": (10.0, 1.1), "rest": (90.0, 1.0)}
    found = judged(steady_cell(1.01, again=1.01, stages=stages))
    assert row_of(found).verdict == "SAME"
    assert row_of(found, STAGE + "commit").verdict == "SLOWER"
    assert found.exit_code == EXIT_REGRESSION


def test_what_was_flagged_is_what_is_measured_again():
    cells = [
        steady_cell(1.0, name="same"),
        steady_cell(1.1, name="slower"),
        steady_cell(0.9, name="faster"),
        steady_cell(1.0, name="stage", stages={"x": (50.0, 1.2), "y": (50.0, 0.8)}),
        steady_cell(1.1, name="drifted", controls={"copy": 1.1}),
        steady_cell(1.1, name="clock", controls={"canary": 1.1}),
        with_sides(steady_cell(1.1, name="broken"), b=BROKEN_SIDE),
        steady_cell(1.1, name="p99 alone", num_pairs=124),
    ]
    record = compare_records.record(cells)
    assert flagged(record) == ("slower", "faster", "stage", "p99 alone")
    elsewhere = dataclasses.replace(record.settings, is_same_machine=False)
    assert flagged(dataclasses.replace(record, settings=elsewhere)) == ()


def test_what_cannot_be_told_is_what_more_is_measured_of():
    cells = [
        steady_cell(1.0, name="same"),
        steady_cell(1.03, name="at the threshold"),
        steady_cell(1.1, name="slower"),
        steady_cell(1.0, name="drifted", controls={"copy": 1.1}),
        steady_cell(1.1, name="slower and drifted", controls={"copy": 1.1}),
        with_sides(steady_cell(1.03, name="broken"), b=BROKEN_SIDE),
    ]
    record = compare_records.record(cells)
    assert untold(record) == ("at the threshold", "drifted", "slower and drifted")


# --- what cannot be compared ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "verdict", "exit_code"),
    [
        ("OK", "INCORRECT", "BROKEN", EXIT_REGRESSION),
        ("OK", "OOM", "BROKEN", EXIT_REGRESSION),
        ("OK", "UNSUPPORTED", "BROKEN", EXIT_REGRESSION),
        ("OK", "INTERRUPTED", "ALONE", EXIT_INCONCLUSIVE),
        ("FAILED", "OK", "ALONE", EXIT_INCONCLUSIVE),
        ("FAILED", "FAILED", "ALONE", EXIT_INCONCLUSIVE),
    ],
)
def test_a_side_that_did_not_end_well(a, b, verdict, exit_code):
    sides = [
        side_of_cell() if status == "OK" else CellSide(status, "so", None, None, {}, None)
        for status in (a, b)
    ]
    found = judged(dataclasses.replace(with_sides(steady_cell(1.0), *sides), processes=()))
    assert [one.verdict for one in found.rows] == [verdict]
    assert found.exit_code == exit_code
    assert (found.rows[0].a, found.rows[0].effect.value) == (None, None)


def test_other_machines_stand_side_by_side_without_an_effect():
    (row,) = judge(compare_records.side_by_side()).rows
    assert (row.verdict, row.effect.value, row.effect.ci95) == ("ALONE", None, None)
    assert 250 < row.a < 350 > row.b > 250


def test_a_cell_without_times_is_not_the_same():
    found = judged(dataclasses.replace(steady_cell(1.0), processes=()))
    assert row_of(found).verdict == "AMBIGUOUS"
    assert found.exit_code == EXIT_INCONCLUSIVE


@pytest.mark.parametrize(
    ("settings", "exit_code"),
    [
        ({}, EXIT_SAME),
        ({"only_b": ("new",)}, EXIT_SAME),
        ({"only_a": ("gone",)}, EXIT_INCONCLUSIVE),
        ({"is_interrupted": True}, EXIT_INCONCLUSIVE),
    ],
)
def test_what_is_left_out_makes_it_inconclusive(settings, exit_code):
    assert judged(steady_cell(1.0), **settings).exit_code == exit_code


def test_nothing_compared_is_inconclusive_and_a_regression_outranks_all():
    assert judged().exit_code == EXIT_INCONCLUSIVE
    found = judged(steady_cell(1.2, again=1.2), only_a=("gone",), is_interrupted=True)
    assert found.exit_code == EXIT_REGRESSION


def test_a_stage_that_cannot_be_told_does_not_make_it_inconclusive():
    found = judged(steady_cell(1.0, stages={"x": (50.0, 1.03)}))
    assert row_of(found, STAGE + "x").verdict == "AMBIGUOUS"
    assert row_of(found, P99).verdict == "AMBIGUOUS"
    assert found.exit_code == EXIT_SAME


# --- memory -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("threshold", "a", "b", "verdict"),
    [
        (0.0, 1000, 1000, "SAME"),
        (0.0, 1000, 1001, "MORE"),
        (0.0, 1000, 999, "LESS"),
        (0.01, 1000, 1010, "SAME"),
        (0.01, 1000, 1011, "MORE"),
        (0.01, 1010, 1000, "SAME"),
        (0.01, 1011, 1000, "LESS"),
        (0.01, 0, 0, "SAME"),
        (0.01, 0, 1, "MORE"),
        (0.0, 5, 0, "LESS"),
        (0.0, None, 5, "ALONE"),
        (0.0, 5, None, "ALONE"),
    ],
)
def test_each_border_of_memory(threshold, a, b, verdict):
    sides = [side_of_cell({} if held is None else {"arena": held}) for held in (a, b)]
    gate = compare_records.DEFAULT_GATE
    gate = dataclasses.replace(gate, overrides=(Override("*", None, threshold),))
    found = judged(with_sides(steady_cell(1.0), *sides), gate=gate)
    row = row_of(found, MEMORY + "arena")
    assert (row.verdict, row.a, row.b) == (verdict, a, b)
    assert row.is_regression == (verdict == "MORE")
    assert found.exit_code == (EXIT_REGRESSION if verdict == "MORE" else EXIT_SAME)
    assert row.effect.value == (b / a if a and b is not None else None)


# --- tails ------------------------------------------------------------------------------------


def with_dropouts(cell, a, b):
    sides = [side_of_cell(misses=Misses(1600, num, num, 1.0)) for num in (a, b)]
    return with_sides(cell, *sides)


@pytest.mark.parametrize(
    ("source", "verdict", "exit_code"),
    [("records", "MORE", EXIT_REGRESSION), ("revisions", "AMBIGUOUS", EXIT_SAME)],
)
def test_dropouts_are_called_more_only_where_nothing_can_be_measured_again(
    source, verdict, exit_code
):
    found = judged(with_dropouts(steady_cell(1.0), 2, 30), source=source)
    row = row_of(found, DROPOUTS)
    assert (row.verdict, row.a, row.b, row.unit) == (verdict, 2.0, 30.0, "per hour")
    assert row.effect.value == pytest.approx(15.0)
    assert found.exit_code == exit_code


def test_one_side_without_misses_has_no_dropouts_row():
    cell = with_dropouts(steady_cell(1.0), 2, 30)
    found = judged(with_sides(cell, b=side_of_cell()))
    assert DROPOUTS not in [one.quantity for one in found.rows]


def test_tails_are_held_to_a_false_share_of_their_own():
    """Of 20 cells one has p = 0.03: among so many that is chance, whatever the times are."""
    alike = [with_dropouts(steady_cell(1.0, name=f"{at}"), 5, 5) for at in range(19)]
    odd = with_dropouts(steady_cell(1.0, name="odd"), 0, 6)
    alone, among = (
        row_of(judged(*cells, source="records"), DROPOUTS, "odd")
        for cells in ([odd], [odd, *alike])
    )
    assert (alone.verdict, among.verdict) == ("MORE", "AMBIGUOUS")
    assert among.q > FALSE_SHARE > alone.q
    assert "It may be chance" in among.reasons[-1]


# --- the whole table --------------------------------------------------------------------------


def test_q_is_that_of_benjamini_and_hochberg():
    ratios = [0.95, 1.0, 1.02, 1.035, 1.04, 1.045, 1.05]
    found = judged(*(steady_cell(one, name=f"{one}") for one in ratios))
    rows = [row_of(found, cell=f"{one}") for one in ratios]
    error, dof = rows[0].effect, 6
    error = np.log(error.ci95[1] / error.value) / stats.t.ppf(0.975, dof)
    p = stats.t.sf((np.abs(np.log(ratios)) - np.log(1.03)) / error, dof)
    assert [one.q for one in rows] == pytest.approx(stats.false_discovery_control(p).tolist())


def test_one_difference_among_many_rows_has_to_be_clearer():
    odd = steady_cell(1.044, again=1.031, name="odd")
    alike = [steady_cell(1.0, name=f"{at}") for at in range(60)]
    assert row_of(judged(odd), cell="odd").verdict == "SLOWER"
    among = row_of(judged(odd, *alike), cell="odd")
    assert (among.verdict, among.is_regression) == ("AMBIGUOUS", False)
    assert among.q > FALSE_SHARE
    assert "61 rows were tested together" in among.reasons[-1]


# --- experiments ------------------------------------------------------------------------------


def experiment(seed, noise, num_pairs, **of_process):
    """What the live suite would say, which goes on with what it cannot tell."""
    cell = compare_records.paired_cell(
        num_processes=6, num_pairs=num_pairs, seed=seed, noise=noise, **of_process
    )

    def measured(num_first, num_again=0):
        again = cell.processes[num_first : num_first + num_again]
        again = [dataclasses.replace(one, is_confirming=True) for one in again]
        processes = (*cell.processes[:num_first], *again)
        return compare_records.record([dataclasses.replace(cell, processes=processes)])

    num_first = 4 if untold(measured(2)) else 2
    return judge(measured(num_first, 2 if flagged(measured(num_first)) else 0))


def experiments(number, *args, **of_process):
    return [experiment(seed, *args, **of_process) for seed in range(number)]


@pytest.mark.parametrize("num_pairs", [8, 16])
@pytest.mark.parametrize("noise", compare_records.NOISES)
def test_the_same_code_is_the_same_or_ambiguous(noise, num_pairs):
    found = experiments(100, noise, num_pairs)
    verdicts = Counter(row_of(one).verdict for one in found)
    assert verdicts["SAME"] + verdicts["AMBIGUOUS"] >= 97
    # A tool that never says anything would pass the line above.
    assert verdicts["SAME"] >= 80
    assert sum(one.exit_code == EXIT_REGRESSION for one in found) <= 3


@pytest.mark.parametrize("noise", compare_records.NOISES)
def test_5_percent_more_time_is_found_with_36_pairs_in_a_process(noise):
    found = experiments(100, noise, 36, effects={"": 1.05})
    assert sum(row_of(one).verdict == "SLOWER" for one in found) >= 90
    assert all(row_of(one).verdict in ("SLOWER", "AMBIGUOUS") for one in found)


def test_5_percent_less_time_is_found_too():
    found = experiments(100, "log-normal", 36, effects={"": 1 / 1.05})
    assert sum(row_of(one).verdict == "FASTER" for one in found) >= 90


def test_10_percent_in_one_stage_is_found_and_named():
    found = experiments(60, "log-normal", 16, effects={"first_step": 1.1})
    named = [
        any(one.startswith("Its first step") for one in row_of(judgement).reasons)
        for judgement in found
        if row_of(judgement).verdict == "SLOWER"
    ]
    assert len(named) >= 54
    assert all(named)


@pytest.mark.parametrize("b_drift", [0.02, 0.04, 0.12, -0.12])
@pytest.mark.parametrize("noise", compare_records.NOISES)
def test_a_drift_of_the_machine_is_never_a_difference(noise, b_drift):
    for one in experiments(25, noise, 16, b_drift=b_drift):
        assert {row.verdict for row in one.rows} <= {"AMBIGUOUS", "SAME"}
        assert one.exit_code != EXIT_REGRESSION


def test_processes_that_differ_far_more_than_is_allowed_for_are_no_regression(monkeypatch):
    """Four times the noise between processes: the first run errs, the second does not agree."""
    monkeypatch.setattr(compare_records, "PROCESS_NOISE", 0.016)
    found = experiments(100, "log-normal", 16)
    assert sum(row_of(one).verdict in ("SLOWER", "FASTER") for one in found) <= 3


def test_200_cells_of_1000_samples_fit_into_a_gibibyte():
    processes = [
        tuple(
            compare_records.process(300.0, 250, np.random.default_rng(seed), noise=noise)
            for _ in range(4)
        )
        for seed, noise in enumerate(compare_records.NOISES)
    ]
    cell = compare_records.paired_cell(num_processes=0)
    cells = [
        dataclasses.replace(cell, name=f"cell {at}", processes=processes[at % 4])
        for at in range(200)
    ]
    tracemalloc.start()
    found = judged(*cells)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert Counter(one.verdict for one in found.rows if one.quantity == TIME) == {"SAME": 200}
    # The record itself may have the rest of it.
    assert most_bytes < 64 * MIB
