"""Memory is measured in a process of its own, whose every end is a status; it is as predicted."""

import dataclasses
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lmdm_bench import memory_probe
from lmdm_bench.claims_record import MemoryProbe
from lmdm_bench.memory_probe import (
    NUM_BLOCKS,
    Grown,
    measure,
    probe,
    request_from_json,
    request_to_json,
)
from lmdm_bench.record import RecordError
from lmdm_bench.request import Request
from lmdm_bench.subjects import (
    DIFFUSION_SCHEMES,
    LMM_SCHEMES,
    SCHEMES,
    DiffusionSubject,
    LMMSubject,
    Model,
    cost_of,
    workload_of,
)
from records import CPU_CEILING
from tiny_run import FIVE, REQUEST

# The bar: measured memory is within this share of the prediction.
TOLERANCE = 0.10


def alone(scheme: str, **changes: Any) -> Request:
    """One scheme of the tiny five, as a claims run asks for it."""
    model = {"lmm-encoder-decoder": ("mrt1-tiny",), "lmm-frame-wise": ("mrt2-tiny",)}
    request = replace(FIVE, schemes=(scheme,), lmm_models=model.get(scheme, ()))
    return replace(request, **changes)


def probed(request: Request, repeats: int = 1) -> MemoryProbe:
    (scheme,) = request.schemes
    workload, cost = workload_of(request, scheme), cost_of(request, scheme, CPU_CEILING)
    found = probe(request, workload, cost, repeats)
    assert (found.workload, found.cost) == (workload, cost)
    return found


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Grown]:
    """What the next processes answer, instead of being started."""
    given: list[Grown] = []

    def run(*_: Any, **__: Any) -> Any:
        text = json.dumps(dataclasses.asdict(given.pop(0)))
        return subprocess.CompletedProcess([], 0, text, "")

    monkeypatch.setattr(subprocess, "run", run)
    return given


# --- The request on its way ------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        REQUEST,
        FIVE,
        replace(FIVE, lmm_context_frames=9, lmm_block_frames=2, lmm_levels=3),
        replace(REQUEST, checkpoint=Path("a folder") / "weights.safetensors"),
        replace(REQUEST, guidance_scale=3.0, schemes=(), device="cuda:1"),
    ],
)
def test_a_request_comes_through_whole(request_: Request) -> None:
    assert request_from_json(request_to_json(request_)) == request_


@pytest.mark.parametrize(
    ("change", "words"),
    [({"steps": "8"}, "request.steps should be int"), ({"tempo": 1}, "request.tempo is not")],
)
def test_what_is_no_request_is_refused_by_field(change: dict[str, object], words: str) -> None:
    text = json.dumps({**json.loads(request_to_json(REQUEST)), **change})
    with pytest.raises(RecordError, match=words):
        request_from_json(text)


# --- What one process does -------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
def test_tiny_models_run_first_and_then_what_was_asked_for(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Request] = []
    monkeypatch.setattr(
        memory_probe, "_run", lambda request, scheme: ran.append(request) or 1000 * len(ran)
    )
    asked = alone(scheme, model="sao-1.0", lmm_block_frames=2, lmm_models=())
    assert measure(asked) == Grown("OK", None, 2000)
    first, second = ran
    assert second is asked
    assert first.model == "tiny"
    assert (first.schemes, first.dtype, first.device) == ((scheme,), asked.dtype, asked.device)
    assert workload_of(first, scheme).model.endswith("tiny")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_stream_lives_for_two_blocks_without_a_codec(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    kind = LMMSubject if scheme in LMM_SCHEMES else DiffusionSubject
    for name in ("prefill", "make_block"):
        original = getattr(kind, name)

        def recording(self: Any, *given: Any, name: str = name, original: Any = original) -> Any:
            calls.append(name)
            made = original(self, *given)
            assert made is None
            return made

        monkeypatch.setattr(kind, name, recording)
    memory_probe._run(alone(scheme), scheme)
    assert calls == ["prefill", *["make_block"] * NUM_BLOCKS]


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (MemoryError("no room"), "OOM", "MemoryError: no room"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "OOM", "can't allocate"),
        (ValueError("a length is off"), "FAILED", "ValueError: a length is off"),
        (FloatingPointError("not finite"), "FAILED", "not finite"),
    ],
)
def test_a_failure_is_an_answer_with_its_reason(
    error: Exception, status: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Model, "subject", refuse)
    found = measure(alone("outpaint"))
    assert (found.status, found.grown_bytes) == (status, None)
    assert found.reason is not None and words in found.reason


def test_a_process_that_did_not_grow_is_no_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_probe, "_run", lambda *_: None)
    found = measure(alone("outpaint"))
    assert (found.status, found.grown_bytes) == ("FAILED", None)
    assert found.reason is not None and "did not grow" in found.reason


# --- What becomes of it ----------------------------------------------------------------------


def test_a_new_process_answers_with_what_it_grew() -> None:
    found = probed(alone("lmm-encoder-decoder"))
    assert (found.status, found.reason) == ("OK", None)
    (grown,) = found.grown_bytes
    assert 0 < grown < 1 << 30


def test_a_request_that_fails_there_is_a_row_here() -> None:
    possible, impossible = (alone("lmm-frame-wise", lmm_levels=levels) for levels in (4, 99))
    workload = workload_of(possible, "lmm-frame-wise")
    cost = cost_of(possible, "lmm-frame-wise", CPU_CEILING)
    failed = probe(impossible, workload, cost, 3)
    assert (failed.status, failed.grown_bytes) == ("FAILED", ())
    assert failed.reason is not None and "takes 1 to 4 levels, got 99" in failed.reason


def test_each_repeat_is_a_process_of_its_own(answers: list[Grown]) -> None:
    answers += [Grown("OK", None, size) for size in (10, 30, 20)]
    found = probed(alone("outpaint"), repeats=3)
    assert (found.status, found.reason, found.grown_bytes) == ("OK", None, (10, 30, 20))
    assert answers == []


def test_one_repeat_that_fails_is_the_answer_of_all(answers: list[Grown]) -> None:
    answers += [Grown("OK", None, 10), Grown("OOM", "MemoryError: no room", None)]
    found = probed(alone("outpaint"), repeats=3)
    assert (found.status, found.reason, found.grown_bytes) == ("OOM", "MemoryError: no room", ())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows runs no shell scripts")
@pytest.mark.parametrize(
    ("script", "status", "words"),
    [
        ("kill -9 $$", "OOM", "stopped by signal 9"),
        ("echo nonsense", "FAILED", "the process ended with 0: no words"),
        ("echo '[1, 2]'", "FAILED", "the process ended with 0"),
        ("echo first >&2; echo ImportError: no torch >&2; exit 3", "FAILED", "3: ImportError: no"),
        ("""echo '{"status": "OK", "reason": null}'""", "FAILED", "the process ended with 0"),
    ],
)
def test_a_process_that_ends_otherwise_is_a_row_too(
    script: str, status: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))
    found = probed(alone("outpaint"))
    assert (found.status, found.grown_bytes) == (status, ())
    assert found.reason is not None and words in found.reason


# --- As predicted ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        replace(
            REQUEST,
            schemes=DIFFUSION_SCHEMES[1:2],
            model="sao-small",
            context_frames=192,
            block_frames=48,
            steps=1,
            dtype="bfloat16",
        ),
        replace(REQUEST, schemes=LMM_SCHEMES[1:], lmm_block_frames=2, dtype="bfloat16"),
    ],
    ids=["sao-small", "mrt2-small"],
)
def test_measured_memory_is_within_a_tenth_of_the_prediction(request_: Request) -> None:
    """At a size where weights matter: 0.7 and 0.5 GB, a few seconds each."""
    found = probed(request_)
    assert found.status == "OK", found.reason
    predicted = found.cost.footprint.peak_bytes
    assert found.grown_bytes[0] == pytest.approx(predicted, rel=TOLERANCE)
