import dataclasses

import pytest
from rich.console import Console

import histories
from claims_drawn import plain
from lmdm_bench.history import history
from lmdm_bench.history_terminal import history_table

COLUMNS = 80


def printed(index, cell="*"):
    console = Console(width=COLUMNS, force_terminal=False, highlight=False)
    with console.capture() as capture:
        console.print(history_table(history(index, cell)))
    return capture.get()


@pytest.mark.parametrize("name", histories.EXAMPLES)
def test_every_record_has_its_row_in_80_columns(name):
    index = histories.EXAMPLES[name]()
    text = printed(index)
    assert max(map(len, text.splitlines())) <= COLUMNS
    for entry in index.entries:
        (one,) = entry.indexed_cells
        if one.median_ms.value is None:
            assert f"no time in {entry.file}" in text
        else:
            rows = [line for line in text.splitlines() if line.startswith(entry.git_commit[:8])]
            assert any(line.split()[1] == entry.created[:10] for line in rows)
        assert entry.machine in text


def test_changes_stand_in_the_row_where_they_begin():
    text = printed(histories.stepping())
    (row,) = (one for one in text.splitlines() if "+10.2" in one)
    assert row.startswith(f"{histories.commit(6)[:8]} ") and "[+7.5," in row
    assert "312 → 344 ms" in plain(text)
    assert sum("→" in line for line in text.splitlines()) == 2


def test_changed_files_are_explained_where_there_are_any():
    text = printed(histories.stepping())
    assert f"{histories.commit(3)[:8]}+" in text
    assert "+: files beside the commit were changed" in text
    assert "files beside the commit" not in printed(histories.many())


def test_nothing_from_outside_is_markup_or_breaks_the_table():
    nasty = "[red]x[/red]\n" * 9
    entry = histories.entry(0, histories.cell(histories.untold(nasty), nasty))
    entry = dataclasses.replace(entry, machine=nasty, git_commit=nasty, created=nasty)
    timed = dataclasses.replace(
        entry, indexed_cells=(histories.cell(histories.median(1.0), nasty),), file=nasty
    )
    text = printed(histories.index(entry, timed))
    assert "[red]x[/red]" in text
    assert max(map(len, text.splitlines())) <= COLUMNS
