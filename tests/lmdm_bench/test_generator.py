"""A generator's life, in this process: what it tells and what it leaves, whatever happens."""

from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import pytest

from lmdm_bench.generator import Began, Built, Checked, Ended, Say, Warmed, generate
from lmdm_bench.journal import Journal
from scripted import BLOCK_MS, asked


@pytest.fixture
def ends() -> Iterator[tuple[Connection, Connection]]:
    ours, theirs = Pipe()
    yield ours, theirs
    ours.close()
    theirs.close()


def life(ends: tuple[Connection, Connection], one: Any) -> tuple[list[Any], int]:
    """What it told, and how many blocks it left."""
    ours, theirs = ends
    journal = Journal(one.most_blocks, one.most_steps)
    try:
        generate(theirs, one, journal.name)
        told = []
        while ours.poll(0):
            told.append(ours.recv())
        return told, journal.num_blocks
    finally:
        journal.close()


def test_it_builds_proves_warms_up_and_plays(ends) -> None:
    told, num_blocks = life(ends, asked([4.0], num_blocks=10, is_proved=True))
    kinds = [type(one) for one in told]
    assert kinds == [Say, Built, Say, Checked, Say, Warmed, Began, Ended]
    assert told[-1] == Ended("OK", None)
    assert num_blocks == 10


def test_unproved_it_plays_at_once(ends) -> None:
    told, num_blocks = life(ends, asked([4.0], num_blocks=5))
    assert [type(one) for one in told] == [Say, Built, Began, Ended]
    assert num_blocks == 5


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        ("raises", "FAILED", "RuntimeError: the model broke"),
        ("cannot be built", "OOM", "MemoryError: not enough memory"),
    ],
)
def test_a_failure_is_told_as_a_status(ends, fault: str, status: str, words: str) -> None:
    told, num_blocks = life(ends, asked([4.0], fault, 3))
    assert told[-1] == Ended(status, words)
    assert num_blocks == (3 if fault == "raises" else 0)


def test_what_is_wrong_is_not_played(ends) -> None:
    told, num_blocks = life(ends, asked([4.0], "is wrong", is_proved=True))
    assert told[-1].status == "INCORRECT"
    assert num_blocks == 0


def test_a_stream_that_does_not_keep_up_ends_by_the_clock(ends) -> None:
    told, num_blocks = life(ends, asked([5 * BLOCK_MS], num_blocks=40))
    assert told[-1].status == "OK"
    assert 6 <= num_blocks <= 10


def test_one_that_is_hopeless_still_makes_a_few(ends) -> None:
    _, num_blocks = life(ends, asked([10 * BLOCK_MS], num_blocks=6))
    assert num_blocks == 5


def test_it_ends_when_its_parent_asks(ends) -> None:
    ours, _ = ends
    ours.send(None)
    told, num_blocks = life(ends, asked([4.0], num_blocks=1000))
    assert isinstance(told[-1], Ended)
    assert num_blocks == 0


def test_it_ends_when_its_parent_is_gone() -> None:
    ours, theirs = Pipe()
    ours.close()
    one = asked([4.0], num_blocks=1000)
    journal = Journal(one.most_blocks, one.most_steps)
    try:
        generate(theirs, one, journal.name)
        assert journal.num_blocks == 0
    finally:
        journal.close()
        theirs.close()
