"""The worker: one answer a line, in order, and nothing else on its standard output."""

import gc
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from lmdm_bench import suite
from lmdm_bench.compare_record import CellSide
from lmdm_bench.suite import Opened, Sample, SuiteCell
from lmdm_bench.suite_worker import PROTOCOL, Worker, calls, serve


def cell(name: str, opened: Opened) -> SuiteCell:
    return SuiteCell(name, "block", {"steps": "2"}, 2.0, lambda is_first: opened)


@pytest.fixture(autouse=True)
def _thawed() -> Iterator[None]:
    """What a worker freezes stays so until its process ends, which here it does not."""
    yield
    gc.unfreeze()


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Opened(
        CellSide("OK", None, 0.1, 0.2, {"allocated": 5}, None), lambda: Sample(3.0, {"host": 3.0})
    )
    found = (cell("right", right), cell("wrong", suite.failed("INCORRECT", "it is off")))
    monkeypatch.setattr(suite, "suite", lambda device, dtype, seed: found)


def opening(name: str) -> dict[str, object]:
    return {"do": "open", "cell": name, "is_first": True}


def sampling(name: str, least_ms: float = 0.0) -> dict[str, object]:
    return {"do": "sample", "cell": name, "least_ms": least_ms}


def answers(*requests: dict[str, object]) -> list[dict[str, object]]:
    written = io.StringIO()
    serve(Worker("cpu", "float32", 0), [json.dumps(one) for one in requests], written)
    return [json.loads(line) for line in written.getvalue().splitlines()]


@pytest.mark.usefixtures("cells")
def test_it_says_what_it_can_measure_then_answers_in_order() -> None:
    hello, opened, sampled, wrong = answers(opening("right"), sampling("right"), opening("wrong"))
    assert hello["protocol"] == PROTOCOL
    assert [one["name"] for one in hello["cells"]] == ["right", "wrong"]  # type: ignore[attr-defined]
    assert opened["side"]["memory_bytes"] == {"allocated": 5}  # type: ignore[index]
    assert sampled["service_ms"] == [3.0]
    assert sampled["stages"] == {"host": [3.0]}
    assert set(sampled["controls"]) == {"product", "copy", "canary"}  # type: ignore[call-overload]
    assert wrong["side"]["reason"] == "it is off"  # type: ignore[index]


@pytest.mark.usefixtures("cells")
@pytest.mark.parametrize(
    "request_",
    [sampling("wrong"), opening("none"), {"do": "dance", "cell": "right"}],
)
def test_what_it_cannot_do_ends_it(request_: dict[str, object]) -> None:
    with pytest.raises(KeyError):
        answers(opening("wrong"), request_)


def test_calls_fill_the_time_that_is_asked_for_and_are_one_at_least() -> None:
    taken = iter([9.0, 2.0, 4.0, 6.0])

    def take() -> Sample:
        time.sleep(0.004)
        service_ms = next(taken)
        return Sample(service_ms, {"first_step": 0.75 * service_ms, "host": 0.25 * service_ms})

    found = calls(take, 13.0, {"copy": 4.0})
    assert found.service_ms == (9.0, 2.0, 4.0, 6.0)
    assert found.stages == {"first_step": (6.75, 1.5, 3.0, 4.5), "host": (2.25, 0.5, 1.0, 1.5)}
    assert found.controls == {"copy": 4.0}
    taken = iter([9.0])
    assert calls(take, 0.0, {}).service_ms == (9.0,)


def test_a_stage_that_comes_and_goes_is_left_out() -> None:
    taken = iter([Sample(3.0, {"host": 1.0, "commit": 2.0}), Sample(1.0, {"host": 1.0})])

    def take() -> Sample:
        time.sleep(0.004)
        return next(taken)

    assert calls(take, 5.0, {}).stages == {"host": (1.0, 1.0)}


def test_only_answers_come_on_its_standard_output() -> None:
    code = (
        "import sys; from lmdm_bench import suite, suite_worker\n"
        "suite.suite = lambda *a: print('noise') or ()\n"
        "suite_worker.main(['cpu', 'float32', '0'])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        input="",
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {"protocol": PROTOCOL, "cells": []}
    assert "noise" in done.stderr
