"""Names and numbers become streams whose blocks are the reference's own, checked and costed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import lmdm_ref
import records
from lmdm_bench import subjects
from lmdm_bench.clock import Stopwatch
from lmdm_bench.errors import InputError, UnsupportedError
from lmdm_bench.subjects import SCHEMES, Model, Request, validate
from tiny_run import HEARD, REQUEST


def built(request: Request) -> Model:
    model = Model(request)
    model.encode(HEARD)
    return model


def subject(request: Request, scheme: str) -> subjects.DiffusionSubject:
    return built(request).subject(scheme, records.cost(scheme))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("sampler", "guidance_scale"), [("pingpong", 1.0), ("euler", 3.0), ("pingpong++", 0.7)]
)
def test_each_scheme_is_within_its_budget(
    scheme: str, dtype: str, sampler: str, guidance_scale: float
) -> None:
    request = replace(REQUEST, dtype=dtype, sampler=sampler, guidance_scale=guidance_scale)
    check = subject(request, scheme).check()
    assert check.is_within_budget, check
    assert 0 < check.reference_error < check.budget


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_wrong_attention_fails_the_check(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def blind(query: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        return 1.01 * lmdm_ref.attend(query, *rest)

    monkeypatch.setitem(subjects._ATTENTIONS, "range", blind)
    check = subject(REQUEST, scheme).check()
    assert not check.is_within_budget
    assert check.error > check.budget


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_timed_block_is_the_stream_s_own_block(scheme: str) -> None:
    one = subject(REQUEST, scheme)
    one.prefill()
    watch = Stopwatch(lambda: None)
    timed = [one.make_block(watch) for _ in range(3)]

    again = subject(REQUEST, scheme)
    again.prefill()
    stream, state, codec = again._stream, again._state, again._codec
    generator = torch.Generator().manual_seed(REQUEST.seed)
    noises = (lmdm_ref.block_noise(stream, 1, generator) for _ in range(3))
    with torch.inference_mode():
        blocks = list(lmdm_ref.stream_blocks(stream, state, noises))
        for samples, block in zip(timed, blocks, strict=True):
            assert np.array_equal(samples, codec.decode(block)[0].numpy())


@pytest.mark.parametrize(
    ("scheme", "stages"),
    [
        ("outpaint", {"step": 3, "commit": 1, "codec_decode": 1}),
        ("encoder-decoder", {"context_encode": 1, "step": 3, "commit": 1, "codec_decode": 1}),
        ("block-causal", {"step": 3, "codec_decode": 1}),
    ],
)
def test_each_stage_is_under_the_watch_once_and_each_step_too(
    scheme: str, stages: dict[str, int]
) -> None:
    one = subject(REQUEST, scheme)
    one.prefill()
    watch = Stopwatch(lambda: None)
    samples = one.make_block(watch)
    assert {name: len(times) for name, times in watch.stages_ms.items()} == stages
    assert samples.shape == (2, 3 * 64)
    assert samples.dtype == np.float32


def test_the_ceiling_knows_the_product_that_the_layers_use() -> None:
    (make,) = subjects.products(REQUEST)
    assert make(16, torch.float32, torch.device("cpu"))() is None
    assert subjects.products(replace(REQUEST, dtype="float16")) == ()


def test_float32_weights_are_packed_and_float16_says_why_not() -> None:
    assert Model(REQUEST).linear.value == "packed"
    plain = Model(replace(REQUEST, dtype="float16")).linear
    assert plain.value == "plain"
    assert "float16" in plain.reason


def test_the_seed_decides_the_weights() -> None:
    first, again, other = (
        subject(replace(REQUEST, seed=seed), "outpaint")._codec.decode(torch.ones(1, 1, 8))
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_costs_are_the_paper_s_frames() -> None:
    paper = replace(REQUEST, model="sao-small", context_frames=192, block_frames=48, steps=8)
    ceiling = records.CPU_CEILING
    costs = [subjects.cost_of(paper, scheme, ceiling) for scheme in SCHEMES]
    assert [cost.frames_per_block for cost in costs] == [1920, 576, 432]
    assert {cost.evaluations for cost in costs} == {8}
    for cost in costs:
        parts = cost.flops_projections + cost.flops_attention + cost.flops_head
        assert parts == cost.flops_per_block
        parts = cost.bytes_weights + cost.bytes_cache_read + cost.bytes_cache_written
        assert parts == cost.bytes_per_block
        assert cost.bound_ms >= cost.flops_per_block / ceiling.flops_per_second * 1e3


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"schemes": ()}, InputError, "no scheme to run"),
        ({"schemes": ("causal",)}, InputError, "unknown scheme 'causal'; there are outpaint"),
        ({"schemes": ("outpaint", "outpaint")}, InputError, "named twice"),
        ({"model": "big"}, InputError, "unknown model 'big'; there are sao-small"),
        ({"sampler": "heun"}, InputError, "unknown sampler 'heun'; there are pingpong"),
        ({"attention": "flash"}, InputError, "unknown attention 'flash'; there are range"),
        ({"attention": "triton"}, UnsupportedError, "has no kernels yet"),
        ({"context_frames": 10}, InputError, "10 context . 3 block frames is not a whole number"),
        ({"context_frames": 0}, InputError, "context_frames must be at least 1, got 0"),
        ({"block_frames": 0}, InputError, "block_frames must be at least 1, got 0"),
        ({"steps": 0}, InputError, "steps must be at least 1, got 0"),
        ({"guidance_scale": float("nan")}, InputError, "guidance must be a finite number"),
        ({"seed": -1}, InputError, "seed must not be negative"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(
    change: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        validate(replace(REQUEST, **change))


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"model.model.transformer.project_in.weight": torch.zeros(3, 3)}, path)
    with pytest.raises(InputError, match=r"other.safetensors: .* does not fit tiny"):
        Model(replace(REQUEST, checkpoint=path))


@pytest.mark.gpu
@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_scheme_is_within_its_budget_on_a_gpu(scheme: str) -> None:
    request = replace(REQUEST, device="cuda", dtype="bfloat16")
    assert subject(request, scheme).check().is_within_budget
