"""A worker seen from outside: what it says, how it is lost, and that it is got rid of."""

import os
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from lmdm_bench import suite_process
from lmdm_bench.errors import InputError
from lmdm_bench.suite_process import SuiteProcess, WorkerLost
from lmdm_bench.suite_worker import PROTOCOL

CELL = {"name": "one", "kind": "block", "axes": {"steps": "2"}, "block_seconds": 2.0}
SAMPLE = {
    "service_ms": [9.0, 2.0, 4.0],
    "stages": {"host": [9.0, 1.0, 2.0]},
    "controls": {"copy": 1.0},
}
ANSWERS = """
    import json, os, sys
    def say(one): print(json.dumps(one), flush=True)
    say({{"protocol": {protocol}, "cells": [{cell}]}})
    for line in sys.stdin:
        request = json.loads(line)
        {answer}
"""


def worker(folder: Path, answer: str = f"say({SAMPLE})", protocol: int = PROTOCOL) -> SuiteProcess:
    """A worker whose module is this, in a package of the same name."""
    return started(folder, ANSWERS.format(protocol=protocol, cell=CELL, answer=answer))


def started(folder: Path, code: str) -> SuiteProcess:
    package = folder / "lmdm_bench"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "suite_worker.py").write_text(textwrap.dedent(code), encoding="utf-8")
    environ = os.environ | {"PYTHONPATH": str(folder)}
    return SuiteProcess(Path(sys.executable), environ, folder, "cpu", "float32", 0)


def children() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if "suite_worker" in "".join(one.cmdline())]


def test_it_says_what_there_is_and_gives_samples(tmp_path: Path) -> None:
    with worker(tmp_path) as one:
        one.greet()
        assert one.cells["one"].axes == {"steps": "2"}
        sample = one.sample("one", 5.0)
        assert (sample.service_ms, sample.stages) == (3.0, {"host": 1.5})
        assert len(children()) == 1
    assert not children()


def test_a_cell_is_opened_with_how_it_went(tmp_path: Path) -> None:
    side = {
        "status": "OOM",
        "reason": "no memory",
        "error": None,
        "budget": None,
        "memory_bytes": {},
        "misses": None,
    }
    with worker(tmp_path, f"say({{'side': {side}}})") as one:
        one.greet()
        assert one.open("one", is_first=True).status == "OOM"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("os.kill(os.getpid(), 9)", "stopped by signal 9"),
        ("sys.exit('the graph has a hole')", "exit code 1: the graph has a hole"),
        ("raise MemoryError('nothing left')", "MemoryError: nothing left"),
        ("say(7)", "answered what is none"),
        ("say({})", "answer.service_ms is missing"),
        ("say({'service_ms': ['fast'], 'stages': {}, 'controls': {}})", "should be float"),
        ("say({'service_ms': [], 'stages': {}, 'controls': {}})", "answered what is none: 0 calls"),
    ],
)
def test_a_lost_worker_says_how_it_was_lost(tmp_path: Path, answer: str, words: str) -> None:
    with worker(tmp_path, answer) as one:
        one.greet()
        with pytest.raises(WorkerLost, match=words):
            one.sample("one", 5.0)
    assert not children()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise ImportError('no torch here')", "no torch here"),
        (f"print('{{\"protocol\": {PROTOCOL}}}')", "hello should be a list"),
        ("print('good morning')", "ended with exit code 0"),
    ],
)
def test_a_worker_that_does_not_come_to_begin_is_lost(
    tmp_path: Path, code: str, words: str
) -> None:
    with started(tmp_path, code) as one, pytest.raises(WorkerLost, match=words):
        one.greet()
    assert not children()


def test_another_protocol_is_refused(tmp_path: Path) -> None:
    with (
        worker(tmp_path, protocol=PROTOCOL + 1) as one,
        pytest.raises(InputError, match=f"protocol {PROTOCOL + 1}"),
    ):
        one.greet()
    assert not children()


@pytest.mark.parametrize(
    ("name", "ours", "theirs"),
    [
        ("OMP_PROC_BIND", "true", "spread"),
        ("OMP_PLACES", "cores", "threads"),
        ("THP_MEM_ALLOC_ENABLE", "1", "0"),
        ("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1:.*top_pad=536870912:.*", "glibc.rtld.nns=4"),
    ],
)
def test_workers_are_made_alike_unless_the_user_has_said_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, ours: str, theirs: str
) -> None:
    monkeypatch.delenv(name, raising=False)
    for folder, words in (("as it is", ours), ("as set", theirs)):
        (tmp_path / folder).mkdir()
        with (
            started(tmp_path / folder, f"import os, sys; sys.exit(os.environ['{name}'])") as one,
            pytest.raises(WorkerLost, match=f"exit code 1: {words}$"),
        ):
            one.greet()
        monkeypatch.setenv(name, theirs)


def test_a_worker_that_hangs_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with worker(tmp_path, "import time; time.sleep(99)") as one:
        one.greet()
        monkeypatch.setattr(suite_process, "PATIENCE_SECONDS", 0.5)
        with pytest.raises(WorkerLost, match=r"it was stopped, as it gave no answer for 0.5 s"):
            one.sample("one", 5.0)
    assert not children()


def test_it_is_stopped_whatever_it_is_doing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), worker(tmp_path, "import time; time.sleep(99)"):
        raise KeyboardInterrupt
    assert not children()
