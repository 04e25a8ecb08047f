"""Notes of torch's profiler are left out of standard error; everything else comes through."""

import os

import pytest

from lmdm_bench.profiler_notes import NOTES, STDERR, without_profiler_notes


def test_only_the_notes_are_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    with without_profiler_notes():
        os.write(STDERR, b"before\n")
        for note in NOTES:
            os.write(STDERR, b"[W] " + note + b" and more\n")
        os.write(STDERR, b"no end of line")
        assert capfd.readouterr().err == ""
    assert capfd.readouterr().err == "before\nno end of line"


def test_what_was_held_back_is_told_after_an_error_too(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), without_profiler_notes():
        os.write(STDERR, b"a warning\n")
        raise KeyboardInterrupt
    assert capfd.readouterr().err == "a warning\n"
    os.write(STDERR, b"afterwards\n")
    assert capfd.readouterr().err == "afterwards\n"
