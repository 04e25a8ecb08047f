import dataclasses

import pytest

import compare_records
import compare_rows
from compare_rows import (
    broken,
    faster,
    first_step,
    judgement,
    memory,
    ratio,
    row,
    slower,
    untold,
)
from lmdm_bench import format as shown
from lmdm_bench.compare_answer import compare_answer, compare_sentences, headline
from lmdm_bench.compare_verdicts import judge

every_example = pytest.mark.parametrize("name", compare_records.EXAMPLES)


def answer(*rows, exit_code=None, record=None) -> str:
    record = record or compare_records.same()
    return compare_answer(record, judgement(*rows, exit_code=exit_code)).replace(shown.NBSP, " ")


def title(*rows, exit_code=None, **settings) -> str:
    record = compare_records.record([], **settings)
    return headline(record, judgement(*rows, exit_code=exit_code)).replace(shown.NBSP, " ")


@every_example
def test_an_answer_is_short_and_plain(name):
    record = compare_records.EXAMPLES[name]()
    found = judge(record)
    text = compare_answer(record, found)
    assert 40 < len(text) < 1000 and text.endswith(".") and ".." not in text
    assert f"Exit code {found.exit_code}" in text and "\n" not in text
    assert not [word for word in ("None", "nan", "regression.") if word in text.split()[:-1]]


def test_slower_says_by_how_much_that_it_was_confirmed_and_which_stage_carries_it():
    text = answer(row("encoder-decoder"), slower(), first_step())
    assert text.startswith(
        "No, it is slower: block-causal · sao-small takes 16.4 % [15.1, 17.8] more time "
        "(300 → 349 ms; measured again: +17.0 % [+15.0, +19.0]). What carries it: first step "
        "+29.0 % [+27.6, +30.5], 98 % of the difference. encoder-decoder takes as long as before, "
        "within 3 %. The results are right: at most 20 % of the error budget is used. "
    )
    assert text.endswith("Exit code 1: a confirmed regression.")


def test_faster_says_so_and_its_interval_reads_from_less_to_more():
    text = answer(faster(confirming=None))
    assert text.startswith(
        "Yes, it is faster: block-causal · sao-small takes 15.0 % [13.9, 16.0] less time "
        "(300 → 255 ms). The results are right"
    )
    assert text.endswith("Exit code 0: no regression.")


def test_of_many_cells_the_one_that_moved_most_is_named():
    text = answer(slower("one"), slower("two", effect=ratio(1.5, 1.4, 1.6)), row("three"))
    assert "2 of 3 cells, most of all two takes 50.0 % [40.0, 60.0] more time" in text
    text = answer(slower("one"), faster(cell="two"))
    assert text.startswith("Partly. Faster: two takes") and " Slower: one takes" in text


def test_the_same_says_within_what():
    text = answer(row("one"), row("two", threshold=0.02))
    assert text.startswith("No difference in time: 2 cells take as long as before, within 2 to 3 %")


def test_what_cannot_be_told_says_what_would_tell_it():
    text = answer(untold(cell="one"), row("two"))
    assert text.startswith("This run cannot tell in 1 of 2 cells. two takes as long as before")
    assert "one cannot be told, +2.0 % [−1.0, +5.0]." in text
    assert "about 98 pairs would probably tell." in text
    assert text.endswith("Exit code 3: inconclusive.")
    many = answer(*(untold(cell=f"{at}") for at in range(5)))
    assert "Nor can 3 more." in many


def test_what_is_not_slower_is_told_from_what_may_be():
    not_slower = {"effect": ratio(0.97, 0.95, 0.99), "can_be_slower": False}
    text = answer(untold("one", **not_slower), row("two"))
    assert text.startswith("Nothing is slower. two takes as long as before")
    assert "one is not slower; whether faster cannot be told." in text
    both = answer(untold("one", **not_slower), untold("two"), row("three"))
    assert both.startswith("This run cannot tell in 1 of 3 cells.")
    assert "one is not slower" in both and "two cannot be told" in both


def test_broken_comes_first_and_is_no_yes():
    text = answer(broken(cell="one"), faster(cell="two"))
    assert text.startswith("No: one is broken. Side a ended well, side b did not (INCORRECT")
    assert "Yes" not in text and "Faster: two takes" in text


def test_a_stage_that_differs_in_a_whole_that_does_not_is_told():
    text = answer(untold(), first_step())
    assert "A stage differs in block-causal · sao-small: first step +29.0 %" in text
    assert "its whole is AMBIGUOUS." in text and "of the difference" not in text


def test_of_many_cells_with_stages_the_worst_are_told():
    rows = [
        one
        for at in range(4)
        for one in (
            slower(f"{at}"),
            first_step(cell=f"{at}", effect=ratio(1.2 + at / 10, 1.1, 1.9)),
        )
    ]
    text = answer(*rows)
    assert "What carries it in 3: first step +50.0 %" in text and "carries it in 2:" in text
    assert "carries it in 1:" not in text and "Stages of 2 more cells differ too." in text


def test_memory_and_tails_are_told_beside_time():
    dropouts = row(quantity="dropouts", unit="per hour", verdict="MORE", a=0.0, b=12.0)
    dropouts = dataclasses.replace(dropouts, effect=ratio(None))
    text = answer(row(), memory(), dropouts)
    assert "memory: peak allocated is MORE: 118 MiB → 118 MiB, +4.00 KiB, +0.003 %." in text
    assert "dropouts is MORE: 0 an hour → 12.0 an hour." in text
    assert "So are 1 more" in answer(row(), memory(), dropouts, memory(-1))


def test_whether_it_is_still_right_is_told_from_the_checks():
    record = compare_records.same()
    first, *others = record.compared_cells

    def with_first(**fields) -> str:
        cell = dataclasses.replace(first, b=dataclasses.replace(first.b, **fields))
        return answer(row(), record=dataclasses.replace(record, compared_cells=(cell, *others)))

    assert "right: at most 90 % of the error budget" in with_first(error=0.018)
    assert "The results are right in 3 of 4 cells" in with_first(error=None, budget=None)
    bare = compare_records.record([dataclasses.replace(first, b=dataclasses.replace(first.b))])
    cell = dataclasses.replace(first, b=dataclasses.replace(first.b, error=None))
    bare = dataclasses.replace(bare, compared_cells=(cell,))
    assert "Whether it is still right is not known" in answer(row(), record=bare)


def test_two_machines_are_no_comparison():
    text = answer(row(verdict="ALONE"), record=compare_records.side_by_side())
    assert "are two machines: their times stand side by side, and no side is faster." in text
    assert "exit code 3" in text.lower()


def test_what_is_missing_is_told():
    record = compare_records.record([], only_a=("x", "y", "z", "u"), only_b=("w",))
    text = answer(row(), exit_code=3, record=record)
    assert "Only main has x, y and 2 more: working tree has nothing to compare them with." in text
    assert "Only working tree has w: main has nothing to compare it with." in text
    record = compare_records.record([], is_interrupted=True)
    assert "interrupted before its end" in answer(row(), exit_code=3, record=record)
    assert answer(exit_code=3).startswith("Nothing was compared.")
    alone = row(verdict="ALONE", reasons=("Side a did not end well.",))
    assert answer(alone).startswith("Nothing could be compared. Side a did not end well.")
    assert "one could not be compared. No." in answer(
        row(), row("one", verdict="ALONE", reasons=("No.",))
    )


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([slower(), row("two")], "Slower: block-causal · sao-small, +16.4 % [+15.1, +17.8]"),
        ([slower("one"), faster(cell="two"), row()], "Faster in 1 and slower in 1 of 3 cells"),
        ([slower("one"), slower("two"), row()], "Slower: 2 of 3 cells"),
        ([faster(cell="one"), faster(cell="two")], "Faster: both cells"),
        ([row("one"), first_step(cell="one")], "Slower: one, first step, +29.0 % [+27.6, +30.5]"),
        (
            [row("one"), memory(cell="one")],
            "More: one, memory: peak allocated, +4.00 KiB, +0.003 %",
        ),
        ([row("one"), memory(), memory()], "More: 2 parts of cells"),
        ([broken(cell="one"), row()], "Broken: one"),
        ([untold(cell="one"), row()], "Cannot be told: one"),
        ([row("one")], "No difference: one"),
        ([], "Nothing was compared"),
    ],
)
def test_the_title_is_the_answer(rows, words):
    assert title(*rows) == words


def test_the_title_of_what_is_no_comparison():
    assert title(row(), exit_code=3, is_interrupted=True) == "Not all was compared"
    assert title(row(verdict="ALONE"), is_same_machine=False) == "Two machines, side by side"
    assert title(row("one", verdict="ALONE")) == "Nothing to compare with: one"


def test_text_from_outside_is_one_line():
    record, planted = compare_rows.nasty()
    assert not any("\n" in one for one in compare_sentences(record, planted))
    assert "\n" not in headline(record, planted)
