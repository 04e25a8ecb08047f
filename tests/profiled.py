"""Tiny streams to be profiled in tests, without measuring what the machine can do."""

from dataclasses import replace

import pytest

from lmdm_bench import profiled_stream, subjects
from lmdm_bench.profiled_stream import ProfileAsked
from lmdm_bench.record import Ceiling, Choice
from tiny_run import FIVE, HEARD

CEILING = Ceiling("float32", 1e11, 1e10)


@pytest.fixture(autouse=True)
def quick_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test file that imports this has it in each of its tests."""
    monkeypatch.setattr(profiled_stream, "ceiling_for", lambda request: CEILING)


def asked(scheme: str, num_blocks: int = 2, **changed: object) -> ProfileAsked:
    """One of the five tiny streams in float32."""
    lmm_models = tuple(one for one in FIVE.lmm_models if subjects.scheme_of(one) == scheme)
    request = replace(FIVE, schemes=(scheme,), lmm_models=lmm_models, **changed)  # type: ignore[arg-type]
    return ProfileAsked(
        request=request,
        scheme=scheme,
        num_blocks=num_blocks,
        device=Choice("cpu", "asked for"),
        dtype=Choice("float32", "asked for"),
        input_samples=HEARD,
        command="lmdm-bench profile",
    )


def no_words(words: str) -> None:
    """Nobody listens."""
