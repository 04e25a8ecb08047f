"""A diffusion scheme that is measured makes the reference's own blocks, checked and staged."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import lmdm_ref
import records
from lmdm_bench import diffusion_subject, model_parts
from lmdm_bench.clock import Stopwatch
from lmdm_bench.diffusion_subject import (
    DIFFUSION_SCHEMES,
    SAMPLERS,
    DiffusionModel,
    DiffusionSubject,
    codec_cost,
    diffusion_cost,
    diffusion_workload,
    geometry_of,
    sampler_of,
)
from lmdm_bench.errors import InputError
from lmdm_bench.request import Request
from lmdm_ref.plan import Plan
from tiny_run import HEARD, REQUEST


def built(request: Request, has_codec: bool = True) -> DiffusionModel:
    model = DiffusionModel(request, has_codec=has_codec)
    if has_codec:
        model.encode(HEARD)
    return model


def subject(request: Request, scheme: str, has_codec: bool = True) -> DiffusionSubject:
    return built(request, has_codec).subject(request, scheme, records.cost(scheme))


def quiet() -> Stopwatch:
    return Stopwatch(lambda: None)


@pytest.mark.parametrize("scheme", DIFFUSION_SCHEMES)
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


@pytest.mark.parametrize("scheme", DIFFUSION_SCHEMES)
def test_a_wrong_attention_fails_the_check(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def blind(query: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        return 1.01 * lmdm_ref.attend(query, *rest)

    kernels = model_parts.KERNELS["range"]._replace(attend=blind)
    monkeypatch.setitem(model_parts.KERNELS, "range", kernels)
    check = subject(REQUEST, scheme).check()
    assert not check.is_within_budget
    assert check.error > check.budget


@pytest.mark.parametrize("scheme", DIFFUSION_SCHEMES)
def test_a_timed_block_is_the_stream_s_own_block(scheme: str) -> None:
    one = subject(REQUEST, scheme)
    one.prefill()
    timed = [one.make_block(quiet()) for _ in range(3)]

    again = subject(REQUEST, scheme)
    again.prefill()
    stream, state, codec = again._stream, again._state, again._codec
    generator = torch.Generator().manual_seed(REQUEST.seed)
    noises = (lmdm_ref.block_noise(stream, 1, generator) for _ in range(3))
    with torch.inference_mode():
        blocks = list(lmdm_ref.stream_blocks(stream, state, noises))
        for samples, block in zip(timed, blocks, strict=True):
            assert codec is not None and samples is not None
            assert np.array_equal(samples, codec.decode(block)[0].numpy())


@pytest.mark.parametrize(
    ("scheme", "stages"),
    [
        ("outpaint", {"step": 3, "commit": 1, "context_encode (call)": 1}),
        ("encoder-decoder", {"context_encode": 1, "step": 3, "commit": 1}),
        ("block-causal", {"step": 3, "context_encode (call)": 1, "commit (call)": 1}),
    ],
)
@pytest.mark.parametrize("has_codec", [True, False])
def test_each_stage_is_under_the_watch_once_and_each_step_too(
    scheme: str, stages: dict[str, int], has_codec: bool
) -> None:
    one = subject(REQUEST, scheme, has_codec)
    one.prefill()
    watch = quiet()
    samples = one.make_block(watch)
    found = {name: len(times) for name, times in watch.stages_ms.items()}
    if not has_codec:
        assert samples is None
        assert found == stages
        return
    assert found == stages | {"codec_decode": 1}
    assert samples is not None
    assert samples.shape == (2, 3 * 64)
    assert samples.dtype == np.float32


@pytest.mark.parametrize("change", ["change_prompt", "hear_input"])
@pytest.mark.parametrize("scheme", DIFFUSION_SCHEMES)
def test_a_condition_changes_what_comes_after_it_alone(scheme: str, change: str) -> None:
    plain, told = subject(REQUEST, scheme), subject(REQUEST, scheme)
    made: list[list[np.ndarray]] = [[], []]
    for one in (plain, told):
        one.prefill()
    for index in range(3):
        if index == 1:
            told.change_prompt(1) if change == "change_prompt" else told.hear_input()
        for one, blocks in zip((plain, told), made, strict=True):
            block = one.make_block(quiet())
            assert block is not None
            blocks.append(block)
    same = [np.array_equal(*pair) for pair in zip(*made, strict=True)]
    assert same == [True, False, False]


def test_every_prompt_is_another_one_and_repeats_with_its_number() -> None:
    found = []
    for number in (1, 2, 1):
        one = subject(REQUEST, "block-causal")
        one.prefill()
        one.change_prompt(number)
        found.append(one.make_block(quiet()))
    assert not np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


@pytest.mark.parametrize("scheme", DIFFUSION_SCHEMES)
def test_a_block_that_no_codec_reads_is_looked_at_for_nan(scheme: str) -> None:
    one = subject(REQUEST, scheme, has_codec=False)
    one._context = torch.full_like(one._context, torch.nan)
    one.prefill()
    with pytest.raises(FloatingPointError, match="not finite"):
        one.make_block(quiet())


def test_a_model_without_codec_builds_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a codec was built")

    monkeypatch.setattr(lmdm_ref, "random_codec", refuse)
    DiffusionModel(REQUEST, has_codec=False)
    with pytest.raises(AssertionError, match="a codec was built"):
        DiffusionModel(REQUEST, has_codec=True)


@pytest.mark.parametrize("scheme", DIFFUSION_SCHEMES)
def test_one_model_s_weights_serve_other_lengths_and_steps(scheme: str) -> None:
    """The block is what a model built for that request makes."""
    other = replace(REQUEST, context_frames=24, block_frames=6, steps=2, sampler="euler")
    shared = DiffusionModel(REQUEST, has_codec=True).subject(other, scheme, records.cost(scheme))
    own = DiffusionModel(other, has_codec=True).subject(other, scheme, records.cost(scheme))
    made = []
    for one in (shared, own):
        one.prefill()
        one.make_block(quiet())  # the second block-causal block has heard the first
        made.append(one.make_block(quiet()))
    assert np.array_equal(*made)
    assert made[0].shape == (2, 6 * 64)
    assert shared.workload == diffusion_workload(other, scheme)
    assert shared.check().is_within_budget


@pytest.mark.parametrize(
    ("scheme", "rows"), [("encoder-decoder", [4, 4, 4]), ("block-causal", [7, 4, 4])]
)
@pytest.mark.parametrize(("guidance_scale", "copies"), [(1.0, 1), (3.0, 2)])
def test_attention_alone_is_the_self_attention_of_all_steps_in_each_layer(
    scheme: str,
    rows: list[int],
    guidance_scale: float,
    copies: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows are the block and its token, and the pending block's in block-causal's first step."""
    seen: list[tuple[torch.Size, list[int]]] = []

    def recording(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, plan: Plan
    ) -> torch.Tensor:
        seen.append((query.shape, [sum(span.size for span in row.keys) for row in plan]))
        return lmdm_ref.attend(query, key, value, plan)

    kernels = model_parts.KERNELS["range"]._replace(attend=recording)
    monkeypatch.setitem(model_parts.KERNELS, "range", kernels)
    one = subject(replace(REQUEST, guidance_scale=guidance_scale), scheme)
    attend_all = one.attention_alone()
    assert attend_all is not None
    assert seen == []
    attend_all()
    alone = list(seen)
    assert [shape for shape, _ in alone[::2]] == [(copies, 2, count, 16) for count in rows]
    assert alone[::2] == alone[1::2]

    # Just what a steady block's steps do, but that their last layer goes on with the block alone.
    one.prefill()
    for _ in range(3):
        seen.clear()
        one.make_block(quiet())
    window, text = [12 + 3 + 1], [5]
    in_steps = [one for one in seen if one[1][-1:] == window]
    assert in_steps[::2] == alone[::2]
    assert in_steps[1::2] == [((copies, 2, 3, 16), window)] * 3
    assert {keys[0] for _, keys in seen} - {*window, *text} <= {12, 15}  # what only encodes


def test_outpainting_has_no_step_that_sees_a_cache() -> None:
    assert subject(REQUEST, "outpaint", has_codec=False).attention_alone() is None


def test_the_seed_decides_the_weights() -> None:
    first, again, other = (
        subject(replace(REQUEST, seed=seed), "outpaint")._codec.decode(torch.ones(1, 1, 8))
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_float32_weights_are_packed_and_float16_says_why_not() -> None:
    assert DiffusionModel(REQUEST, has_codec=False).linear.value == "packed"
    plain = DiffusionModel(replace(REQUEST, dtype="float16"), has_codec=False).linear
    assert plain.value == "plain"
    assert "float16" in plain.reason


def test_weights_are_named_by_their_seed() -> None:
    assert DiffusionModel(replace(REQUEST, seed=7), has_codec=False).weights == "random, seed 7"


def test_a_workload_is_the_request_in_the_model_s_frames() -> None:
    paper = replace(REQUEST, model="sao-small", context_frames=192, block_frames=48, steps=8)
    found = diffusion_workload(paper, "encoder-decoder")
    assert (found.scheme, found.model, found.steps) == ("encoder-decoder", "sao-small", 8)
    assert (found.context_frames, found.block_frames) == (192, 48)
    assert (found.visible_blocks, found.num_levels) == (None, None)
    assert round(found.block_seconds, 3) == 2.229
    assert diffusion_workload(paper, "block-causal").visible_blocks == 4


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sampler_is_the_one_asked_for(sampler: str) -> None:
    found = sampler_of(replace(REQUEST, sampler=sampler, guidance_scale=2.0))
    assert found.name == sampler
    assert len(found.sigmas) == REQUEST.steps + 1
    assert found.copies == 2


def test_guidance_doubles_the_rows_that_a_cost_counts() -> None:
    guided = replace(REQUEST, guidance_scale=3.0)
    for scheme in DIFFUSION_SCHEMES:
        (alone, held, parameters), (doubled, held_doubled, same) = (
            diffusion_cost(one, scheme) for one in (REQUEST, guided)
        )
        assert doubled.total("step_rows") == 2 * alone.total("step_rows")
        assert held_doubled.activations == 2 * held.activations
        assert held_doubled.weights == held.weights == 4 * parameters
        assert same == parameters


def test_the_codec_s_bound_is_the_slower_of_computing_and_reading() -> None:
    paper = replace(REQUEST, model="sao-small", context_frames=192, block_frames=48)
    ceiling = records.CPU_CEILING
    fast_memory = replace(ceiling, bytes_per_second=1e30)
    fast_compute = replace(ceiling, flops_per_second=1e30)
    cost = codec_cost(paper, fast_memory)
    assert cost.bound_ms == pytest.approx(1e3 * cost.flops_per_block / ceiling.flops_per_second)
    by_reading = codec_cost(paper, fast_compute).bound_ms
    assert by_reading == pytest.approx(1e3 * 4 * cost.parameters / ceiling.bytes_per_second)


def test_a_window_is_in_the_codec_s_frames() -> None:
    assert geometry_of(REQUEST).samples_per_frame == 64
    assert geometry_of(replace(REQUEST, model="sao-small")).samples_per_frame == 2048


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"model.model.transformer.project_in.weight": torch.zeros(3, 3)}, path)
    with pytest.raises(InputError, match=r"other.safetensors: .* does not fit tiny"):
        DiffusionModel(replace(REQUEST, checkpoint=path), has_codec=True)


def test_each_scheme_has_a_stream_an_oracle_and_its_own_stages() -> None:
    """A stage is timed once, or it is part of another."""
    for one in diffusion_subject._SCHEMES.values():
        assert one.own_stages <= {"context_encode", "commit"}
        assert isinstance(one.oracle.name, str)


@pytest.mark.gpu
@pytest.mark.parametrize("scheme", DIFFUSION_SCHEMES)
def test_each_scheme_is_within_its_budget_on_a_gpu(scheme: str) -> None:
    request = replace(REQUEST, device="cuda", dtype="bfloat16")
    assert subject(request, scheme).check().is_within_budget
