"""Load beside a run, made on purpose: what a busy machine would do to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from lmdm_bench.child_process import Child
from lmdm_bench.errors import InputError

KINDS = ("none", "cpu")

START_SECONDS = 30.0
# So many additions, some 10 ms, between two looks at whether to end.
NUM_ADDITIONS = 200_000


@contextmanager
def stress(kind: str) -> Iterator[None]:
    """While this is open, "cpu" keeps one core busy with a process of its own; "none" does nothing.

    The load is there before the ``with`` is entered. Raises InputError for another kind, and
    RuntimeError where the process did not come up.
    """
    if kind not in KINDS:
        raise InputError(f"the stress {kind!r} is not one of {', '.join(KINDS)}")
    if kind == "none":
        yield
        return
    hog = Child("stress", _keep_busy)
    try:
        hog.start()
        if not hog.wait_for_word(START_SECONDS):
            raise RuntimeError("the process that makes load did not come up")
        yield
    finally:
        hog.stop()


def _keep_busy(parent: Connection) -> None:
    parent.send("busy")
    total = 0
    while not parent.poll():
        for number in range(NUM_ADDITIONS):
            total += number
