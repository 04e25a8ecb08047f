import dataclasses

import pytest
from rich.console import Console

import compare_records
import compare_rows
from compare_rows import first_step, judgement, memory, row, slower, untold
from lmdm_bench import format as shown
from lmdm_bench.compare_record import CompareRecord
from lmdm_bench.compare_terminal import COLUMNS, compare_table
from lmdm_bench.compare_verdicts import Judgement, judge


def printed(record: CompareRecord, found: Judgement, columns: int = COLUMNS) -> str:
    console = Console(width=columns, force_terminal=False, highlight=False)
    with console.capture() as capture:
        console.print(compare_table(record, found))
    return capture.get()


def planted(*rows, **settings) -> str:
    record = compare_records.record([], **settings)
    return printed(record, judgement(*rows)).replace(shown.NBSP, " ")


def one_line(text: str) -> str:
    return " ".join(text.split())


def line_of(text: str, beginning: str) -> str:
    return next(one for one in text.splitlines() if one.startswith(beginning))


@pytest.mark.parametrize("columns", [60, COLUMNS, 200])
@pytest.mark.parametrize("name", compare_records.EXAMPLES)
def test_every_cell_is_there_whole_and_the_answer_last(name, columns):
    record = compare_records.EXAMPLES[name]()
    found = judge(record)
    text = printed(record, found, columns)
    assert max(map(len, text.splitlines())) <= columns and "…" not in text
    for one in found.rows:
        if one.quantity == "time":
            assert one.verdict in text and one.cell.split(" · ")[0] in text
    assert one_line(text).endswith(".") and f"Exit code {found.exit_code}" in one_line(text)


def test_lines_of_words_are_not_longer_than_can_be_read():
    text = printed(compare_records.drifting(), judge(compare_records.drifting()), 200)
    assert max(map(len, text.splitlines())) <= 100


def test_a_row_has_its_verdict_times_and_change_and_stages_are_indented():
    text = planted(row("encoder-decoder"), slower("one"), first_step("one"))
    words = " ".join(line_of(text, "▲ SLOWER  one").split())
    assert words == "▲ SLOWER one 300 349 +16.4 % [+15.1, +17.8]"
    assert line_of(text, "▲ SLOWER    first step").split()[4:6] == ["166", "214"]
    assert line_of(text, "= SAME").split()[2:5] == ["encoder-decoder", "300", "301"]
    assert "Pairs in each process, and processes: 16 × 3." in text


def test_pairs_have_a_column_where_they_vary():
    text = planted(row("one"), row("two", num_pairs=36))
    assert line_of(text, "= SAME   one").endswith("16 × 3")
    assert line_of(text, "= SAME   two").endswith("12 × 3")
    assert "Pairs in each process" not in text


def test_in_a_narrow_terminal_intervals_have_a_line_of_their_own():
    text = printed(compare_records.record([]), judgement(slower("one")), 60)
    lines = text.replace(shown.NBSP, " ").splitlines()
    at = lines.index(line_of(text.replace(shown.NBSP, " "), "▲ SLOWER"))
    assert lines[at].split()[-2:] == ["+16.4", "%"]
    assert lines[at + 1].strip() == "[+15.1, +17.8]"


def test_other_units_stand_beside_milliseconds():
    text = planted(row("one"), memory(-(2**24), "one"))
    assert one_line(line_of(text, "▼ LESS")).endswith("118 MiB 102 MiB −16.0 MiB, −13.6 %")


def test_what_is_not_shown_is_counted():
    text = planted(row("one"), row("one", "stage host"), untold("one", quantity="p99"), memory(0))
    assert "Not shown of stages, tails and memory: 2 SAME, 1 AMBIGUOUS." in text
    assert "stage host" not in text


def test_reasons_are_told_once_for_rows_that_share_them():
    text = planted(untold("one"), untold("one", quantity="stage first_step"), untold("two"))
    assert one_line(text).count("about 98 pairs would probably tell.") == 2 + 2  # and the answer
    assert "  time, first step  The interval reaches across" in text
    assert "Confirmed" not in planted(row("one"))


def test_drift_and_differences_between_the_sides_are_told():
    text = one_line(planted(row()))
    assert "moved by at most +0.2 % [−0.4, +0.8]." in text
    assert "Machine and packages are the same on both sides." in text
    text = one_line(planted(row(), differing={"governor": "powersave against performance"}))
    assert "The sides differ in governor: powersave against performance." in text


def test_two_machines_are_named_and_have_no_drift():
    text = printed(compare_records.side_by_side(), judge(compare_records.side_by_side()))
    assert line_of(text, "a  main").endswith("AMD EPYC, 2 cores, 23 GiB, Linux")
    assert "Drift control" not in text


def test_nothing_from_outside_is_markup_or_breaks_the_table():
    record, found = compare_rows.nasty()
    found = dataclasses.replace(
        found, rows=(*found.rows, row("[red]x[/red]\n" * 9, reasons=("[bold]y",)))
    )
    text = printed(record, found)
    assert "[red]x[/red]" in text
    assert max(map(len, text.splitlines())) <= COLUMNS


def test_nothing_is_told_of_nothing():
    text = one_line(planted())
    assert "Nothing was compared. " in text and "verdict" not in text
