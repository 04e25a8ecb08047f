"""A child process that ends with its parent, minds no Ctrl-C, and is always got rid of."""

import contextlib
import signal
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from lmdm_bench.interrupts import ignored_interrupts

# Asked, then told, then killed: after each, so long until the next.
ASK_SECONDS = 2.0
TELL_SECONDS = 1.0
KILL_SECONDS = 2.0

# A fork would copy the parent's threads' locks and its CUDA context, which do not work there.
SPAWN = get_context("spawn")


class Child:
    """Runs ``work(parent, *arguments)`` in a new Python process.

    ``parent.poll(seconds)`` is how the work waits: it comes true when it is to end, since it was
    asked to or since the parent is no more. ``parent.send`` tells what ``received`` gives here: few
    and small things, since it waits where nobody reads. Ctrl-C, which a terminal sends to every
    process, is the parent's to handle.
    """

    def __init__(self, name: str, work: Callable[..., None], *arguments: Any) -> None:
        self._ours, self._theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(
            target=_run, args=(work, self._theirs, *arguments), name=name, daemon=True
        )
        self._received: list[Any] = []
        self._ended: str | None = None

    def start(self) -> None:
        """Raises OSError where the system gives no further process."""
        with ignored_interrupts():
            self._process.start()
            # While this end is open here too, the child's death does not show.
            self._theirs.close()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def wait_for_word(self, seconds: float) -> bool:
        """Whether something has been sent by then; false at once where the child has died."""
        try:
            if self._ours.poll(seconds):
                self._received.append(self._ours.recv())
                return True
        except (EOFError, OSError):
            pass
        return False

    def received(self) -> list[Any]:
        """All that was sent so far, in order."""
        while self.wait_for_word(0):
            pass
        return list(self._received)

    def stop(self, ask_seconds: float = ASK_SECONDS) -> str | None:
        """End it. None where it ended well, else how; the same answer if called again.

        It is asked first, and has ``ask_seconds`` to end by itself.
        """
        if self._ours.closed:
            return self._ended
        if self._process.pid is None:
            self._theirs.close()
            self._ours.close()
            self._ended = "was not started"
            return self._ended
        with contextlib.suppress(OSError):
            self._ours.send(None)
        self._process.join(ask_seconds)
        if self._process.is_alive():
            self._ended = "did not end when asked, and was stopped"
            self._process.terminate()
            self._process.join(TELL_SECONDS)
            self._process.kill()
            self._process.join(KILL_SECONDS)
        elif self._process.exitcode:
            self._ended = _ended(self._process.exitcode)
        self.received()
        self._ours.close()
        return self._ended


def _run(work: Callable[..., None], parent: Connection, *arguments: Any) -> None:
    """The child's beginning. It was born without Ctrl-C, except from a thread and under Windows."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    work(parent, *arguments)


def _ended(exit_code: int) -> str:
    if exit_code < 0:
        return f"was stopped by signal {-exit_code}"
    return f"ended with exit code {exit_code}"
