"""Ctrl-C is ignored inside and heard outside, and only the main thread is asked."""

import signal
import threading

import pytest

from lmdm_bench.interrupts import ignored_interrupts


def test_ctrl_c_does_nothing_inside_and_works_again_after() -> None:
    before = signal.getsignal(signal.SIGINT)
    with ignored_interrupts():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_it_is_restored_after_an_error() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError), ignored_interrupts():
        raise RuntimeError
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_may_use_it_too() -> None:
    done = []

    def work() -> None:
        with ignored_interrupts():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done
