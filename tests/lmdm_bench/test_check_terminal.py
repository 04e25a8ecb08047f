import dataclasses

import pytest
from rich.console import Console

import check_records
from lmdm_bench import check_terminal
from lmdm_bench import format as shown
from lmdm_bench.check_conditions import Case
from lmdm_bench.check_evidence import evidence
from lmdm_bench.check_record import CheckRecord
from lmdm_bench.check_words import plain_paragraph, signed
from lmdm_bench.verdict import judge_check

COLUMNS = 80

every_example = pytest.mark.parametrize("name", check_records.EXAMPLES)


def printed(record: CheckRecord, **look) -> str:
    console = Console(width=COLUMNS, force_terminal=False, highlight=False, **look)
    with console.capture() as capture:
        console.print(check_terminal.check_table(record))
    return capture.get()


def one_line(text: str) -> str:
    return " ".join(text.replace(shown.NBSP, " ").split())


@every_example
def test_it_fits_80_columns_and_cuts_nothing(name):
    text = printed(check_records.EXAMPLES[name]())
    assert max(map(len, text.splitlines())) <= COLUMNS
    assert "…" not in text


@every_example
def test_it_ends_with_the_verdicts_in_words(name):
    record = check_records.EXAMPLES[name]()
    end = " ".join(
        f"{signed(one.verdict)} {plain_paragraph(record, cell, one)}"
        for cell, one in zip(record.check_cells, judge_check(record), strict=True)
    )
    assert one_line(printed(record)).endswith(one_line(end))


@every_example
def test_every_condition_remedy_and_line_of_evidence_is_there(name):
    record = check_records.EXAMPLES[name]()
    text = one_line(printed(record))
    for cell, one in zip(record.check_cells, judge_check(record), strict=True):
        if not cell.blocks:
            continue
        for condition in one.conditions:
            assert f" {condition.name} " in text and one_line(condition.asked) in text
        for label, _ in evidence(Case(record, cell, one.summary)):
            assert label in text
    assert ("this would do" in text) == any(one.remedies for one in judge_check(record))


def test_a_remedy_can_be_typed():
    text = one_line(printed(check_records.with_stalls()))
    assert "replay --prebuffer 4" in text and "replay --steps 3" in text


def test_what_was_played_stands_at_the_top():
    top = printed(check_records.likely()).splitlines()[:2]
    assert one_line(top[0]) == "block-causal ✔ LIKELY"
    assert one_line(top[1]).startswith("sao-small, 340.9 M, 8 steps, bfloat16 on cpu")


def test_a_cell_without_blocks_has_no_empty_tables():
    text = printed(check_records.failed())
    assert text.count("condition") == 1 and text.count("service time p50") == 1


def test_colour_only_repeats_what_the_words_say():
    record = check_records.with_stalls()
    console = Console(width=COLUMNS, force_terminal=True, color_system="truecolor", highlight=False)
    with console.capture() as capture:
        console.print(check_terminal.check_table(record))
    plain = Console(width=COLUMNS, force_terminal=True, no_color=True, highlight=False)
    with plain.capture() as bare:
        plain.print(check_terminal.check_table(record))
    assert "\x1b[1;38;2;" in capture.get() and "38;2" not in bare.get()


def test_nothing_from_outside_is_markup_or_breaks_the_lines():
    record = check_records.failed()
    nasty = "[red]x[/red]\n" * 9
    cells = tuple(
        dataclasses.replace(
            one,
            reason=nasty,
            workload=dataclasses.replace(one.workload, model=nasty, dtype=nasty),
            telemetry=dataclasses.replace(one.telemetry, unavailable={nasty: nasty}),
        )
        for one in record.check_cells
    )
    machine = dataclasses.replace(record.machine, name=nasty, unavailable={"is_on_mains": nasty})
    text = printed(dataclasses.replace(record, check_cells=cells, machine=machine))
    assert "[red]x[/red]" in text
    assert max(map(len, text.splitlines())) <= COLUMNS


def test_a_check_of_nothing_prints_nothing():
    assert printed(check_records.record()).strip() == ""
