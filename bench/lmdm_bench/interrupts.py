"""Ctrl-C where it must not strike: while a child starts, and while a run is brought home."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ignored_interrupts() -> Iterator[None]:
    """Ctrl-C does nothing inside; a process started inside ignores it from its first moment.

    Only the main thread can hear Ctrl-C; elsewhere this changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
