"""A child ends when asked, when its parent dies, and when it does not want to; Ctrl-C never ends
it."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator

import pytest

from child_helpers import (
    LONG_SECONDS,
    answer,
    child_of_a_killed_parent,
    fail,
    hang,
    has_ended,
    wait_until,
)
from lmdm_bench import child_process
from lmdm_bench.child_process import Child

has_signals = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


@pytest.fixture(autouse=True)
def _nobody_stays() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []


def started(work, *arguments):
    child = Child("test", work, *arguments)
    child.start()
    return child


def test_a_child_says_what_it_has_to_say_and_ends_when_asked():
    child = started(answer, "one", "two")
    assert child.wait_for_word(LONG_SECONDS)
    assert child.is_alive
    assert child.pid != os.getpid()
    assert child.stop() is None
    assert not child.is_alive
    assert child.received() == ["one", "two"]
    assert child.stop() is None


def test_one_that_was_never_started_is_stopped_too():
    child = Child("test", answer)
    assert not child.is_alive
    assert child.stop() == child.stop() == "was not started"
    assert child.received() == []


def test_one_that_fails_says_with_what_and_what_it_said_before_is_kept():
    child = started(fail)
    assert child.wait_for_word(LONG_SECONDS)
    assert not child.wait_for_word(LONG_SECONDS)  # at once: its end of the pipe is closed
    assert child.stop() == "ended with exit code 3"
    assert child.received() == ["before"]


@has_signals
def test_one_that_is_killed_says_so():
    child = started(answer, "before")
    assert child.wait_for_word(LONG_SECONDS)
    os.kill(child.pid, signal.SIGKILL)
    assert not child.wait_for_word(LONG_SECONDS)
    assert child.stop() == "was stopped by signal 9"
    assert child.received() == ["before"]


def test_one_that_hangs_is_killed(monkeypatch):
    monkeypatch.setattr(child_process, "TELL_SECONDS", 0.1)
    child = started(hang)
    assert child.wait_for_word(LONG_SECONDS)
    assert child.stop(ask_seconds=0.1) == "did not end when asked, and was stopped"
    assert not child.is_alive


@has_signals
def test_ctrl_c_ends_no_child_not_even_one_that_is_still_loading():
    child = started(answer, "up")
    # At whatever it is doing: before Python runs in it, while it imports, and once it is up.
    while not child.wait_for_word(0.01):
        os.kill(child.pid, signal.SIGINT)
        assert child.is_alive
    os.kill(child.pid, signal.SIGINT)
    assert child.stop() is None


@has_signals
def test_ctrl_c_while_a_child_starts_strikes_neither_of_the_two(monkeypatch):
    kind = child_process.SPAWN.Process
    start = kind.start

    def interrupted(process):
        os.kill(os.getpid(), signal.SIGINT)
        start(process)
        os.kill(process.pid, signal.SIGINT)

    monkeypatch.setattr(kind, "start", interrupted)
    child = started(answer, "up")
    assert child.wait_for_word(LONG_SECONDS)
    assert child.is_alive
    assert child.stop() is None


@has_signals
def test_one_that_a_thread_started_minds_no_ctrl_c_once_it_is_up():
    children = []
    thread = threading.Thread(target=lambda: children.append(started(answer, "up")))
    thread.start()
    thread.join()
    (child,) = children
    assert child.wait_for_word(LONG_SECONDS)
    os.kill(child.pid, signal.SIGINT)
    assert child.stop() is None


@has_signals
def test_a_child_ends_with_its_parent():
    pid = child_of_a_killed_parent(
        """
        import child_helpers
        from lmdm_bench.child_process import Child
        child = Child("test", child_helpers.answer, "up")
        child.start()
        child.wait_for_word(child_helpers.LONG_SECONDS)
        print(child.pid, flush=True)
        """
    )
    wait_until(lambda: has_ended(pid))
