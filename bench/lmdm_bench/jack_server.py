"""A JACK server without a sound card, under a name of its own, for as long as a ``with`` lasts.

``python -m lmdm_bench.jack_server NAME`` waits until the server of that name answers: in a process
of its own, since JACK's library writes to the terminal and waits for ever on a server that hangs.
"""

import importlib.util
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lmdm_bench.errors import UnsupportedError

FRAMES_PER_CALLBACK = 256
START_SECONDS = 10.0
STOP_SECONDS = 1.5
# No question to the desktop whether the sound card is free, no server that starts by itself.
ENVIRONMENT = {"JACK_NO_AUDIO_RESERVATION": "1", "JACK_NO_START_SERVER": "1"}
# JACK has places for eight servers, and one that was killed keeps its place until the next of that
# name: with ever new names there would soon be none left, for nobody.
NAMES = tuple(f"lmdm-bench-{number}" for number in range(6))
# Where JACK keeps its memory, sockets and semaphores on Linux; elsewhere there is no such folder.
JACK_FOLDER = Path("/dev/shm")
# What it takes there with so many ports. Without the room, jackd takes all that is free, and then
# whoever touches shared memory is killed.
MOST_PORTS, SERVER_BYTES = 64, 48 << 20

Server = subprocess.Popen[bytes]

_POLL_SECONDS = 0.02
# Linux ends the server with this process, however this one ends. 1 is PR_SET_PDEATHSIG, 9 SIGKILL:
# https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
_ENDS_WITH_ITS_PARENT = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"
)


@contextmanager
def jack_server(sample_rate_hz: int) -> Iterator[str]:
    """Start ``jackd`` on its dummy driver and give the server's name.

    It has a session of its own, so that Ctrl-C in a terminal is not its end before ours. Raises
    UnsupportedError where it is not installed or does not start.
    """
    path = find_jackd()
    with tempfile.TemporaryFile() as said:
        name, server = _start(path, sample_rate_hz, said)
        try:
            yield name
        finally:
            end_process(server)
            _tidy(name)


def find_jackd() -> str:
    """Where it is. Raises UnsupportedError where it is not, or could not run."""
    path = shutil.which("jackd")
    if path is None:
        raise UnsupportedError("jackd is not installed (Debian and Ubuntu: apt install jackd2)")
    if importlib.util.find_spec("jack") is None:
        raise UnsupportedError("JACK-Client is not installed (pip install 'lmdm-bench[audio]')")
    free_bytes = shutil.disk_usage(JACK_FOLDER).free if JACK_FOLDER.is_dir() else SERVER_BYTES
    if free_bytes < SERVER_BYTES:
        raise UnsupportedError(
            f"jackd needs {SERVER_BYTES >> 20} MiB in {JACK_FOLDER}, {free_bytes >> 20} are free"
        )
    return path


def end_process(process: Server) -> None:
    """Ask it to end; after a while, end it."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _start(path: str, sample_rate_hz: int, said: IO[bytes]) -> tuple[str, Server]:
    """A server that answers. Another name is tried where one does not come up: it may be taken."""
    for name in random.sample(NAMES, len(NAMES)):
        server = subprocess.Popen(
            _command(path, name, sample_rate_hz),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            env={**os.environ, **ENVIRONMENT},
            start_new_session=True,
        )
        try:
            is_up = _answers(server, name)
        except BaseException:
            end_process(server)
            raise
        if is_up:
            return name, server
        if server.poll() is None:
            end_process(server)
            raise UnsupportedError(f"jackd does not answer: {_last_words(said)}")
    raise UnsupportedError(f"jackd did not start: {_last_words(said)}")


def _command(path: str, name: str, sample_rate_hz: int) -> list[str]:
    # -R: a callback that waits its turn behind other work comes too late. Without the right to it
    # jackd says so and goes on.
    jackd = [path, "-R", "-p", str(MOST_PORTS), "-n", name, "-d", "dummy"]
    jackd += ["-r", str(sample_rate_hz), "-p", str(FRAMES_PER_CALLBACK)]
    if sys.platform == "linux":
        return [sys.executable, "-I", "-S", "-c", _ENDS_WITH_ITS_PARENT, *jackd]
    return jackd


def _answers(server: Server, name: str) -> bool:
    """Wait until it does, or has ended, or has had its time."""
    asking = subprocess.Popen(
        [sys.executable, "-m", "lmdm_bench.jack_server", name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + START_SECONDS
    try:
        while asking.poll() is None and server.poll() is None and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
    finally:
        end_process(asking)
    return asking.returncode == 0 and server.poll() is None


def _tidy(name: str) -> None:
    """What a server that was killed leaves behind under its name; its memory the next one frees."""
    for path in JACK_FOLDER.glob(f"jack_*{name}_*"):
        path.unlink(missing_ok=True)


def _last_words(said: IO[bytes]) -> str:
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    return "; ".join(lines[-2:]) or "it said nothing"


def _ask(name: str) -> None:
    """Come back once the server answers; an error where it never does."""
    import jack

    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            client = jack.Client("lmdm-bench", no_start_server=True, servername=name)
        except jack.JackOpenError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
        else:
            client.close()
            return


if __name__ == "__main__":
    _ask(sys.argv[1])
