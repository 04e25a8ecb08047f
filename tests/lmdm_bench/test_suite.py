"""The suite: what is in it, that a cell is checked before it is timed, and that stages add up."""

from types import MappingProxyType

import pytest

from lmdm_bench import suite
from lmdm_bench.attention_backends import BACKENDS
from lmdm_bench.attention_cases import PLANS
from lmdm_bench.errors import UnsupportedError
from lmdm_bench.record import Check
from lmdm_bench.subjects import DIFFUSION_SCHEMES, SCHEMES


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "SCHEMES_AT", MappingProxyType({"tiny": SCHEMES}))
    monkeypatch.setattr(suite, "CONTEXT_FRAMES", 12)
    monkeypatch.setattr(suite, "BLOCK_FRAMES", 3)
    monkeypatch.setattr(suite, "WINDOW", "48+12")
    monkeypatch.setattr(suite, "KERNEL_MODEL", "tiny")
    monkeypatch.setattr(suite, "CODEC_MODEL", "tiny")
    monkeypatch.setattr(suite, "CODEC_FRAMES", 3)


def cells() -> dict[str, suite.SuiteCell]:
    return {one.name: one for one in suite.suite("cpu", "float32", 0)}


def test_it_has_the_schemes_at_two_sizes_range_attention_and_the_codec() -> None:
    names = list(cells())
    assert len(set(names)) == len(suite.suite("cpu", "float32", 0))
    for scheme in DIFFUSION_SCHEMES:
        assert f"{scheme} · tiny" in names
        assert f"{scheme} · sao-small" in names
    assert {"lmm-encoder-decoder · mrt1-tiny", "lmm-frame-wise · mrt2-tiny"} <= set(names)
    assert [one for one in names if one.startswith("range · ")]
    assert "codec decode · sao-small" in names


def test_kernels_come_from_the_registry() -> None:
    assert set(suite.KERNEL_PLANS) <= set(PLANS)
    for backends in suite.KERNEL_BACKENDS.values():
        assert set(backends) <= set(BACKENDS)


def test_axes_say_what_was_asked_for() -> None:
    found = cells()
    for cell in found.values():
        assert cell.axes["dtype"] == "float32"
    assert found["block-causal · sao-small"].axes["steps"] == "2"
    assert found["range · full"].axes["plan"] == "full"
    assert {one.kind for one in found.values()} == {"block", "kernel", "codec"}


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    "name",
    [
        *(f"{scheme} · tiny" for scheme in DIFFUSION_SCHEMES),
        "lmm-encoder-decoder · mrt1-tiny",
        "lmm-frame-wise · mrt2-tiny",
        "range · block-causal-fused-step",
        "codec decode · tiny",
    ],
)
def test_a_cell_opens_checked_and_gives_samples(name: str) -> None:
    opened = cells()[name].open(True)
    assert opened.side.status == "OK", opened.side
    assert opened.side.error is not None
    assert opened.side.budget is not None
    assert opened.side.error <= opened.side.budget
    assert all(value > 0 for value in opened.side.memory_bytes.values())
    assert opened.side.memory_bytes
    assert opened.sample is not None
    sample = opened.sample()
    assert sample.service_ms > 0
    if sample.stages:
        assert sum(sample.stages.values()) == pytest.approx(sample.service_ms)


@pytest.mark.usefixtures("tiny")
def test_every_scheme_names_its_stages() -> None:
    stages = {}
    for scheme in DIFFUSION_SCHEMES:
        sample = cells()[f"{scheme} · tiny"].open(True).sample
        assert sample is not None
        stages[scheme] = set(sample().stages)
    # Block-causal's commit is part of its first step; what calling it takes is told too.
    assert all({"first_step", "later_steps", "commit", "host"} <= one for one in stages.values())
    assert "context_encode" in stages["encoder-decoder"]


@pytest.mark.usefixtures("tiny")
def test_memory_is_the_same_each_time() -> None:
    first, second = (cells()["block-causal · tiny"].open(True).side for _ in range(2))
    assert first.memory_bytes == second.memory_bytes


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", ["outpaint · tiny", "range · full", "codec decode · tiny"])
def test_only_the_first_time_it_is_checked_and_what_it_allocates_is_counted(name: str) -> None:
    opened = cells()[name].open(False)
    assert (opened.side.status, opened.side.error, opened.side.budget) == ("OK", None, None)
    assert not [one for one in opened.side.memory_bytes if "allocated" in one]
    assert opened.sample is not None
    assert opened.sample().service_ms > 0


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", ["outpaint · tiny", "range · full", "codec decode · tiny"])
def test_a_device_whose_memory_is_not_counted_is_timed_all_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise UnsupportedError("torch does not count each allocation here")

    monkeypatch.setattr(suite, "peak_allocated_bytes", refuse)
    opened = cells()[name].open(True)
    assert opened.side.status == "OK"
    assert not [one for one in opened.side.memory_bytes if "allocated" in one]


@pytest.mark.usefixtures("tiny")
def test_what_is_wrong_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    from lmdm_bench.diffusion_subject import DiffusionModel

    def wrong(self: DiffusionModel, *_: object) -> Check:
        return Check("an oracle", 2, 2, 0.5, 0.1, 0.2, is_within_budget=False)

    monkeypatch.setattr(DiffusionModel, "_check", wrong)
    opened = cells()["outpaint · tiny"].open(True)
    assert opened.sample is None
    assert opened.side.status == "INCORRECT"
    assert opened.side.reason == "error 0.5 is over the budget of 0.2; nothing was timed"


@pytest.mark.usefixtures("tiny")
def test_what_fails_is_a_status(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError("no room for the weights")

    monkeypatch.setattr("lmdm_bench.subjects.Model", fail)
    opened = cells()["outpaint · tiny"].open(True)
    assert opened.sample is None
    assert opened.side.status == "OOM"


def test_triton_is_taken_where_it_runs_and_range_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert cells()["outpaint · tiny"].axes["attention"] == "range"
    monkeypatch.setattr("lmdm_bench.subjects.validate", lambda request: None)
    assert cells()["outpaint · tiny"].axes["attention"] == "triton"
