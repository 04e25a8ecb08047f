import dataclasses

import pytest

import compare_records
import compare_rows
from compare_rows import broken, faster, first_step, judgement, memory, ratio, row, slower, untold
from lmdm_bench import format as shown
from lmdm_bench.compare_verdicts import VERDICTS
from lmdm_bench.compare_words import (
    VERDICT_SIGNS,
    amount,
    differences,
    drift_words,
    effect_words,
    full_name,
    overall,
    pairs_words,
    quantity_words,
    side_words,
    signed,
    telling_rows,
    threshold_words,
)


def told(text: str) -> str:
    return text.replace(shown.NBSP, " ")


def test_every_verdict_has_a_sign_and_worse_and_better_look_different():
    assert set(VERDICT_SIGNS) == set(VERDICTS)
    for worse, better in (("SLOWER", "FASTER"), ("MORE", "LESS"), ("BROKEN", "SAME")):
        (sign, colour), (other_sign, other_colour) = VERDICT_SIGNS[worse], VERDICT_SIGNS[better]
        assert sign != other_sign and colour != other_colour
    assert signed("SLOWER") == f"▲{shown.NBSP}SLOWER"


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (300.4, "ms", "300 ms"),
        (0.4, "ms", "0.400 ms"),
        (3.2, "per hour", "3.20 an hour"),
        (512, "bytes", "512 bytes"),
        (2048, "bytes", "2.00 KiB"),
        (123_456_789, "bytes", "118 MiB"),
        (5 * 2**40, "bytes", "5 120 GiB"),
        (None, "ms", "n/a"),
    ],
)
def test_an_amount_has_its_unit(value, unit, words):
    assert told(amount(value, unit)) == words


def test_memory_is_told_in_bytes_and_percent():
    assert told(effect_words(memory(4096))) == "+4.00 KiB, +0.003 %"
    assert told(effect_words(memory(-(2**24)))) == "−16.0 MiB, −13.6 %"
    assert effect_words(memory(0)) == "the same"
    new = memory(a=0.0, b=512.0, effect=ratio(None))
    assert told(effect_words(new)) == "+512 bytes"
    assert told(effect_words(slower())) == "+16.4 % [+15.1, +17.8]"
    assert effect_words(memory(b=None, effect=ratio(None))) == "n/a (needs 368 samples)"


def test_a_row_is_named_by_its_cell_and_its_part():
    assert full_name(row("one")) == "one"
    assert full_name(first_step(cell="one\n")) == "one, first step"
    assert quantity_words(memory()) == "memory: peak allocated"
    assert [quantity_words(row(quantity=one)) for one in ("time", "p99")] == ["time", "p99"]


def test_pairs_and_thresholds():
    assert told(pairs_words(row())) == "16 × 3"
    assert told(pairs_words(row(num_pairs=47))) == "47 in 3"
    assert pairs_words(broken()) == ""
    assert told(threshold_words(row(threshold=0.025))) == "±2.5 %"
    assert threshold_words(memory()) == "exact"


def test_a_side_has_its_commit_and_its_changes():
    side = compare_records.side("main", "0123456789")
    assert side_words(side) == "main (0123456)"
    dirty = dataclasses.replace(side, git_is_dirty=True)
    assert side_words(dirty) == "main (0123456, with changes)"
    assert side_words(compare_records.side("a\nrecord", None)) == "a record"


@pytest.mark.parametrize(
    ("rows", "exit_code", "verdict"),
    [
        ((row(), slower(), broken()), 1, "BROKEN"),
        ((faster(), slower(), memory()), 1, "SLOWER"),
        ((row(), memory()), 1, "MORE"),
        ((row(), faster()), 0, "FASTER"),
        ((row(), memory(-1)), 0, "LESS"),
        ((row(), untold(quantity="p99")), 0, "SAME"),
        ((faster(), untold()), 3, "AMBIGUOUS"),
        ((row(verdict="ALONE"), memory(0)), 3, "ALONE"),
        ((row(),), 3, "AMBIGUOUS"),
        ((), 3, "AMBIGUOUS"),
    ],
)
def test_one_verdict_stands_for_all(rows, exit_code, verdict):
    assert overall(judgement(*rows, exit_code=exit_code)) == verdict


def test_what_tells_nothing_is_left_out():
    kept = [slower("one"), first_step(cell="one"), row("one", "stage host"), row("two"), memory()]
    quiet = [
        row("two", "stage host"),
        untold(cell="two", quantity="stage host"),
        untold(cell="one", quantity="p99"),
        memory(0),
    ]
    assert telling_rows(judgement(*kept, *quiet)) == kept


def test_the_drift_that_moved_most_is_told():
    words = drift_words(judgement(row(), row("two", drift=ratio(0.9, 0.88, 0.92)), memory()))
    assert told(words).endswith("moved by at most −10.0 % [−12.0, −8.0].")
    assert "cannot be told" in drift_words(judgement(memory()))


def test_differences_are_facts_that_differ_once_each():
    record = compare_records.same()
    assert differences(record) == []
    b = dataclasses.replace(
        record.b, packages={"torch": "2.12.0", "triton": "3.6"}, machine_facts={"os": "Linux"}
    )
    settings = dataclasses.replace(record.settings, differing={"torch": "2.13 against 2.12"})
    found = dict(differences(dataclasses.replace(record, b=b, settings=settings)))
    assert found["torch"] == "2.13 against 2.12"
    assert found["triton"] == "none against 3.6" and found["numpy"] == "2.4.0 against none"
    assert found["cores"] == "2 against none" and "os" not in found


def test_text_from_outside_is_one_line():
    record, planted = compare_rows.nasty()
    texts = [side_words(record.b), *map(full_name, planted.rows)]
    texts += [part for one in differences(record) for part in one]
    assert all(one.isprintable() or shown.NBSP in one for one in texts)
    assert not any("\n" in one for one in texts)
