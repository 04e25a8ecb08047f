"""Progress is plain lines where there is no terminal, and a bar where there is one."""

import io

from rich.console import Console

import records
from lmdm_bench.progress import shown_on


def heard(console: Console) -> str:
    with shown_on(console, num_schemes=3, num_blocks=2) as progress:
        progress.say("measuring")
        for scheme in records.SCHEMES * 2:
            progress.advance(records.workload(scheme))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_without_a_terminal_each_round_is_a_line() -> None:
    text = heard(Console(file=io.StringIO(), force_terminal=False))
    assert text.splitlines() == ["measuring", "  round 1", "  round 2"]


def test_on_a_terminal_a_bar_counts_the_blocks() -> None:
    text = heard(Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None))
    assert "measuring" in text
    assert "6/6" in text
