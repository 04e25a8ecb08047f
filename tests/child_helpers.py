"""What children do in tests, where a new process finds it by its module's name; and their ends."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import psutil

# Nothing takes so long: what does, hangs.
LONG_SECONDS = 60.0


def answer(parent: Connection, *words: str) -> None:
    """Say each word, then wait for the end."""
    for word in words:
        parent.send(word)
    parent.poll(LONG_SECONDS)


def fail(parent: Connection) -> None:
    parent.send("before")
    raise SystemExit(3)


def hang(parent: Connection) -> None:
    """Not even SIGTERM ends it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent.send("hanging")
    time.sleep(LONG_SECONDS)


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG_SECONDS
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.005)


def has_ended(pid: int) -> bool:
    """Also where its parent, who has ended too, did not take leave of it."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def child_of_a_killed_parent(program: str) -> int:
    """The process that ``program`` starts: it prints its number and is then killed itself.

    It is written as the body of an ``if __name__ == "__main__"``.
    """
    body = textwrap.indent(textwrap.dedent(program), " " * 4)
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, signal, time\n"
            f"if __name__ == '__main__':\n{body}\n    os.kill(os.getpid(), signal.SIGKILL)\n",
        ],
        capture_output=True,
        text=True,
        timeout=LONG_SECONDS,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (ended.returncode, ended.stderr) == (-signal.SIGKILL, "")
    return int(ended.stdout)
