"""Every call and return is seen on the innermost line of the project's own code."""

import sys
from types import SimpleNamespace

import pytest
import torch

from lmdm_bench.format import count, plain
from lmdm_bench.line_trace import WAITING, LineTrace, lines_traced


def test_calls_of_the_project_are_placed_by_line() -> None:
    with lines_traced() as trace:
        plain("some words")
    moments = [one for one in trace.moments() if one.where is not None]
    assert moments
    assert {one.function for one in moments} >= {"plain", "<genexpr>"}
    for one in moments:
        path, _, line = str(one.where).rpartition(":")
        assert path in ("lmdm_bench/format.py", "lmdm_bench/line_trace.py") and int(line) > 0
        assert one.until_ns >= one.at_ns and not one.is_waiting
    times = [one.at_ns for one in trace.moments()]
    assert times == sorted(times)


def test_what_a_call_waits_for_is_told() -> None:
    def synchronize() -> None:
        len("")

    assert synchronize.__name__ == WAITING
    with lines_traced() as trace:
        synchronize()
    assert any(one.is_waiting for one in trace.moments())


def test_the_time_until_a_function_is_entered_is_its_callers() -> None:
    caller = SimpleNamespace(f_code=count.__code__, f_lineno=5, f_back=None)
    entered = SimpleNamespace(f_code=plain.__code__, f_lineno=121, f_back=caller)
    trace = LineTrace()
    trace.look(entered, "call", None)  # type: ignore[arg-type]
    trace.look(entered, "return", None)  # type: ignore[arg-type]
    first, second = trace.moments()
    assert first.where == "lmdm_bench/format.py:5" and first.function == "count"
    assert second.where == "lmdm_bench/format.py:121" and second.function == "plain"


def test_another_profile_function_is_set_again_after_an_error_too() -> None:
    def other(*_: object) -> None:
        """Sees and does nothing."""

    sys.setprofile(other)
    try:
        with pytest.raises(KeyboardInterrupt), lines_traced():
            raise KeyboardInterrupt
        assert sys.getprofile() is other
    finally:
        sys.setprofile(None)


def test_operators_themselves_are_not_disturbed() -> None:
    with lines_traced():
        assert torch.ones(3).sum().item() == 3.0
