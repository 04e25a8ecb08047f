"""What is said while a check plays."""

import io

import pytest
from rich.console import Console

from lmdm_bench import check_progress
from lmdm_bench.check_progress import told_on


def test_without_a_terminal_there_is_a_line_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(check_progress.time, "monotonic", lambda: now[0])
    written = io.StringIO()
    with told_on(Console(file=written, width=80)) as watching:
        watching.say("playing")
        for seconds in range(0, 130, 2):
            now[0] = float(seconds)
            watching.played(seconds // 2, seconds // 60)
    assert written.getvalue().splitlines() == [
        "playing",
        "  30 blocks, 1 late",
        "  60 blocks, 2 late",
    ]


def test_on_a_terminal_one_line_is_rewritten() -> None:
    written = io.StringIO()
    console = Console(file=written, width=80, force_terminal=True)
    with told_on(console) as watching:
        watching.say("warming up")
        watching.played(7, 0)
    assert "warming up" in written.getvalue()
