import dataclasses

import pytest

import check_records
from lmdm_bench import format as shown
from lmdm_bench.check_conditions import (
    Case,
    Condition,
    conditions,
    is_wanting,
    minutes_words,
    pace,
    reason,
)
from lmdm_bench.check_record import CheckRecord
from lmdm_bench.check_summary import summarise_check
from lmdm_bench.record import Estimate


def case(record: CheckRecord, **figures) -> Case:
    """The first cell, with planted figures of its summary."""
    cell = record.check_cells[0]
    summary = summarise_check(cell, record.settings, record.harness)
    return Case(record, cell, dataclasses.replace(summary, **figures))


def found(record: CheckRecord, **figures) -> dict[str, Condition]:
    return {one.name: one for one in conditions(case(record, **figures))}


@pytest.mark.parametrize(
    ("name", "states"),
    [
        ("likely", ["kept", "not told", "not told", "kept"]),
        ("stalls", ["kept", "broken", "not told", "kept"]),
        ("heat", ["broken", "not told", "broken", "kept"]),
        ("spikes", ["kept", "broken", "not told", "kept"]),
        ("too slow", ["broken", "broken", "broken", "kept"]),
        ("short", ["kept", "not told", "not told", "kept"]),
        ("failed", ["not told", "not told", "not told", "kept"]),
    ],
)
def test_the_examples(name, states):
    told = found(check_records.EXAMPLES[name]())
    assert list(told) == ["pace", "dropouts", "headroom", "memory"]
    assert [one.state for one in told.values()] == states


def test_what_was_found_stands_beside_what_was_asked_for():
    told = {
        name: one.found.replace(shown.NBSP, " ")
        for name, one in found(check_records.with_stalls()).items()
    }
    assert told["dropouts"] == "2 in 9.9 min, 1 % silent: 2.15 to 38.1 an hour"
    assert told["headroom"] == "p95 0.709, p99 n/a (needs 368 blocks)"
    assert told["memory"] == "79.2 % left"
    likely = found(check_records.likely())["dropouts"]
    words = "dropouts: none in 9.9 min: at most 18.1 an hour; asked for: at most 1 an hour"
    assert reason(likely).replace(shown.NBSP, " ") == words


def test_budget_and_codec_are_conditions_only_where_they_matter():
    record = check_records.likely()
    assert not {"control", "codec"} & set(found(record))
    settings = dataclasses.replace(record.settings, control_budget_seconds=2.0)
    told = found(dataclasses.replace(record, settings=settings), has_codec=False)
    assert list(told)[-2:] == ["control", "codec"]
    assert told["control"].state == "broken" and told["codec"].state == "not told"
    assert "30 of 30 changes were heard later" in told["control"].found


@pytest.mark.parametrize(("num_blocks", "is_told"), [(2, False), (3, True), (6, True)])
def test_the_pace_of_a_few_blocks_is_that_of_all(num_blocks, is_told):
    record = check_records.record(check_records.cell(check_records.steady(num_blocks, 9000.0)))
    told = pace(case(record))
    assert (told.ci95 is not None) == is_told
    if is_told:
        assert told.n == num_blocks and told.ci95[0] > 1


def test_the_pace_of_many_blocks_is_that_of_the_last_third():
    record = check_records.with_heat()
    assert pace(case(record)) == case(record).summary.steadiness.steady_rtf


@pytest.mark.parametrize(
    ("state", "num_dropouts", "expected"),
    [
        ("kept", 0, False),
        ("kept", 1, False),
        ("not told", 0, False),
        ("not told", 1, True),
        ("broken", 1, True),
    ],
)
def test_a_dropout_that_was_heard_is_wanting_until_it_is_allowed(state, num_dropouts, expected):
    one = case(check_records.likely())
    dropouts = dataclasses.replace(one.summary.dropouts, bursts=(1,) * num_dropouts)
    one = dataclasses.replace(one, summary=dataclasses.replace(one.summary, dropouts=dropouts))
    assert is_wanting(Condition("dropouts", "", "", state), one) == expected
    # Of what is no dropout only what is broken is wanting.
    assert is_wanting(Condition("memory", "", "", state), one) == (state == "broken")


def test_headroom_without_any_quantile_is_not_told():
    record = check_records.record(check_records.cell(check_records.steady(5)))
    one = found(record)["headroom"]
    assert one.state == "not told" and one.found == "p99 n/a (needs 368 blocks)"


def test_the_95th_percentile_of_control_is_shown_where_it_can_be_told():
    record = check_records.likely()
    settings = dataclasses.replace(record.settings, control_budget_seconds=2.0)
    record = dataclasses.replace(record, settings=settings)
    told = case(record).summary.control_to_sound_seconds
    p95 = Estimate(1.9, (1.8, 2.1), 80, "planted", None)
    one = found(record, control_to_sound_seconds=dataclasses.replace(told, p95=p95))["control"]
    assert one.state == "kept" and one.found.startswith("p95 1.90 [1.80,")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.93, "0.9 min"), (9.96, "10.0 min"), (99.9, "99.9 min"), (180.0, "180 min")],
)
def test_minutes_are_told_with_a_digit_that_means_something(value, expected):
    assert minutes_words(value).replace(shown.NBSP, " ") == expected
