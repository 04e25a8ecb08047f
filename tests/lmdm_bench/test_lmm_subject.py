"""An LMM that is measured makes the reference's own tokens, checked and staged."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import lmdm_ref
import records
from helpers import captured_again
from lmdm_bench import model_parts
from lmdm_bench.clock import Stopwatch
from lmdm_bench.errors import InputError
from lmdm_bench.lmm_subject import (
    LMM_MODELS,
    LMM_SCHEMES,
    LMMModel,
    LMMSubject,
    check_lmm_models,
    level_range,
    lmm_cost,
    lmm_geometry,
    lmm_preset,
    lmm_workload,
    scheme_of,
)
from lmdm_bench.request import Request
from lmdm_ref import token_layers
from tiny_run import LMM_REQUEST

ENCODER_DECODER, FRAME_WISE = LMM_SCHEMES
TINY_GEOMETRY = {
    ENCODER_DECODER: lmdm_ref.LMM_PRESETS["mrt1-tiny"].geometry,
    FRAME_WISE: lmdm_ref.LMM_PRESETS["mrt2-tiny"].geometry,
}
PUBLISHED = replace(LMM_REQUEST, lmm_models=())


def subject(request: Request, scheme: str) -> LMMSubject:
    return LMMModel(request, scheme).subject(request, records.lmm_cost(scheme))


def quiet() -> Stopwatch:
    return Stopwatch(lambda: None)


def made_blocks(one: LMMSubject, count: int) -> list[torch.Tensor]:
    """The blocks that ``make_block`` commits to its stream."""
    blocks: list[torch.Tensor] = []
    commit = one._stream.commit

    def recording(block: torch.Tensor, state: Any) -> Any:
        blocks.append(block.clone())
        return commit(block, state)

    one._stream.commit = recording  # type: ignore[method-assign]
    one.prefill()
    for _ in range(count):
        one.make_block(quiet())
    return blocks


# --- Right, and how a wrong one shows --------------------------------------------------------


@pytest.mark.parametrize("scheme", LMM_SCHEMES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("guidance_scale", [1.0, 6.0])
def test_each_scheme_is_within_its_budget(scheme: str, dtype: str, guidance_scale: float) -> None:
    request = replace(LMM_REQUEST, dtype=dtype, guidance_scale=guidance_scale)
    check = subject(request, scheme).check()
    assert check.is_within_budget, check
    assert 0 < check.reference_error < check.budget


@pytest.mark.parametrize("scheme", LMM_SCHEMES)
@pytest.mark.parametrize(
    "lengths",
    [
        {"lmm_context_frames": 9},
        {"lmm_block_frames": 1},
        {"lmm_levels": 3},
        {"lmm_context_frames": 2, "lmm_block_frames": 7},
    ],
    ids=str,
)
def test_other_lengths_are_within_their_budget(scheme: str, lengths: dict[str, int]) -> None:
    assert subject(replace(LMM_REQUEST, **lengths), scheme).check().is_within_budget


@pytest.mark.parametrize("scheme", LMM_SCHEMES)
def test_a_wrong_attention_fails_the_check(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def sharp(query: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        # A factor on the result would not show: a norm follows in a frame-wise LMM.
        return lmdm_ref.attend(1.01 * query, *rest)

    kernels = model_parts.KERNELS["range"]._replace(attend=sharp)
    monkeypatch.setitem(model_parts.KERNELS, "range", kernels)
    check = subject(LMM_REQUEST, scheme).check()
    assert not check.is_within_budget
    assert check.error > check.budget


def test_a_wrong_biased_attention_fails_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """T5's self-attention does not go through ``--attention``."""
    attend_biased = token_layers.attend_biased
    monkeypatch.setattr(token_layers, "attend_biased", lambda *given: 1.01 * attend_biased(*given))
    assert not subject(LMM_REQUEST, ENCODER_DECODER).check().is_within_budget


@pytest.mark.parametrize("scheme", LMM_SCHEMES)
def test_a_stream_that_forgets_fails_the_check(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cached keys count: a stream that hears another context than it was given is wrong."""
    stream = {
        ENCODER_DECODER: lmdm_ref.LMMEncoderDecoder,
        FRAME_WISE: lmdm_ref.LMMFrameWise,
    }[scheme]
    prefill = stream.prefill
    monkeypatch.setattr(
        stream,
        "prefill",
        lambda self, context, conditioning: prefill(self, context.flip(1), conditioning),
    )
    assert not subject(LMM_REQUEST, scheme).check().is_within_budget


@pytest.mark.parametrize("scheme", LMM_SCHEMES)
def test_a_graph_must_choose_the_tokens_that_were_checked(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stand-in that computes the captured call anew, and with one that never does."""

    def stuck(compute: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]:
        return compute(), lambda: None

    graphed = subject(replace(LMM_REQUEST, is_graphed=True), scheme)
    monkeypatch.setattr(model_parts, "cuda_capture", captured_again)
    assert graphed.check().is_within_budget
    monkeypatch.setattr(model_parts, "cuda_capture", stuck)
    if scheme == FRAME_WISE:  # one graph for all frames; with an encoder each frame has its own
        assert not graphed.check().is_within_budget


# --- Blocks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", LMM_SCHEMES)
@pytest.mark.parametrize("guidance_scale", [1.0, 6.0])
def test_a_timed_block_is_the_stream_s_own_block(scheme: str, guidance_scale: float) -> None:
    request = replace(LMM_REQUEST, guidance_scale=guidance_scale)
    timed = made_blocks(subject(request, scheme), 3)

    again = subject(request, scheme)
    again.prefill()
    stream = again._stream
    generator = torch.Generator().manual_seed(request.seed)
    noises = (lmdm_ref.token_noise(stream, 1, generator) for _ in range(3))
    with torch.inference_mode():
        blocks = list(lmdm_ref.stream_blocks(stream, again._state, noises))
    assert all(torch.equal(*pair) for pair in zip(timed, blocks, strict=True))
    assert not torch.equal(blocks[0], blocks[1])


@pytest.mark.parametrize(
    ("scheme", "stages"),
    [(ENCODER_DECODER, {"context_encode": 1, "step": 5}), (FRAME_WISE, {"step": 3})],
)
def test_the_encode_is_under_the_watch_once_and_each_frame_too(
    scheme: str, stages: dict[str, int]
) -> None:
    one = subject(LMM_REQUEST, scheme)
    one.prefill()
    for _ in range(2):
        watch = quiet()
        one.make_block(watch)
        assert {name: len(times) for name, times in watch.stages_ms.items()} == stages


def test_a_generated_block_is_not_computed_again_when_it_is_committed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a frame-wise LMM would be timed at twice its work."""
    rows: list[int] = []
    passes = lmdm_ref.LMMFrameWise._passes

    def counting(self: Any, index: int, *rest: Any) -> Any:
        rows.append(index)
        return passes(self, index, *rest)

    one = subject(LMM_REQUEST, FRAME_WISE)
    one.prefill()
    monkeypatch.setattr(lmdm_ref.LMMFrameWise, "_passes", counting)
    one.make_block(quiet())
    one.make_block(quiet())
    first = TINY_GEOMETRY[FRAME_WISE].context_frames + 1
    assert rows == list(range(first, first + 6))


@pytest.mark.parametrize("change", ["change_prompt", "hear_input"])
@pytest.mark.parametrize("scheme", LMM_SCHEMES)
def test_a_condition_changes_what_comes_after_it_alone(scheme: str, change: str) -> None:
    plain, told = subject(LMM_REQUEST, scheme), subject(LMM_REQUEST, scheme)
    first = [made_blocks(one, 1)[0] for one in (plain, told)]
    assert torch.equal(*first)
    told.change_prompt(1) if change == "change_prompt" else told.hear_input()
    plain.make_block(quiet())
    told.make_block(quiet())
    newest = [one._state.depth.layer(0)[0] for one in (plain, told)]
    assert not torch.equal(*newest)


@pytest.mark.parametrize("scheme", LMM_SCHEMES)
@pytest.mark.parametrize("part", ["embedding", "depth_decoder.layers.0.attention.norm"])
def test_nan_on_the_way_to_the_tokens_is_a_failure(scheme: str, part: str) -> None:
    model = LMMModel(LMM_REQUEST, scheme)
    with torch.inference_mode():
        model._model.get_submodule(part).weight.fill_(torch.nan)
    one = model.subject(LMM_REQUEST, records.lmm_cost(scheme))
    one.prefill()
    with pytest.raises(FloatingPointError, match="keys that are not finite"):
        one.make_block(quiet())


@pytest.mark.parametrize("scheme", LMM_SCHEMES)
def test_one_model_s_weights_serve_other_lengths(scheme: str) -> None:
    other = replace(LMM_REQUEST, lmm_context_frames=9, lmm_block_frames=2, lmm_levels=3)
    cost = records.lmm_cost(scheme)
    shared = LMMModel(LMM_REQUEST, scheme).subject(other, cost)
    own = LMMModel(other, scheme).subject(other, cost)
    assert shared.workload == own.workload == lmm_workload(other, scheme)
    pairs = zip(made_blocks(shared, 2), made_blocks(own, 2), strict=True)
    for one, same in pairs:
        assert one.shape == (1, 2, 3)
        assert torch.equal(one, same)


@pytest.mark.parametrize("scheme", LMM_SCHEMES)
def test_the_seed_decides_weights_and_tokens(scheme: str) -> None:
    first, again, other = (
        made_blocks(subject(replace(LMM_REQUEST, seed=seed), scheme), 1)[0] for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_ring_is_full_before_anything_is_timed() -> None:
    one = subject(LMM_REQUEST, FRAME_WISE)
    one.prefill()
    assert isinstance(one._stream, lmdm_ref.LMMFrameWise)
    assert one._state.num_heard >= one._stream.ring_frames


@pytest.mark.parametrize("scheme", LMM_SCHEMES)
def test_attention_alone_is_not_measured(scheme: str) -> None:
    one = subject(LMM_REQUEST, scheme)
    assert one.attention_alone() is None  # type: ignore[func-returns-value]


# --- Guidance --------------------------------------------------------------------------------


@pytest.mark.parametrize(("guidance_scale", "rows"), [(1.0, 1), (6.0, 2)])
def test_guidance_of_an_encoder_decoder_is_a_doubled_batch(
    guidance_scale: float, rows: int
) -> None:
    one = subject(replace(LMM_REQUEST, guidance_scale=guidance_scale), ENCODER_DECODER)
    assert one._stream.sampler.copies == rows
    assert one._stream.sampler.guidance_scale == guidance_scale


def test_guidance_of_a_frame_wise_lmm_is_three_of_its_tokens() -> None:
    """The published model's three scales come last: style, notes, drums."""
    request = replace(LMM_REQUEST, lmm_models=("mrt2-small",), guidance_scale=4.0)
    plain = replace(request, guidance_scale=1.0)
    model = LMMModel(LMM_REQUEST, FRAME_WISE)
    model._config = lmdm_ref.LMM_PRESETS["mrt2-small"]
    without, guided = (model._conditioning(one).others[0].tolist() for one in (plain, request))
    assert without[:-3] == guided[:-3] == [6] * 129
    # Scales added to 1 go from -1 in steps of 0.2, 0.2 and 1.
    assert without[-3:] == [6 + 5, 6 + 5, 6 + 1]
    assert guided[-3:] == [6 + 20, 6 + 20, 6 + 4]

    one = subject(replace(LMM_REQUEST, guidance_scale=6.0), FRAME_WISE)
    assert one._stream.sampler.copies == 1


# --- Names and lengths -----------------------------------------------------------------------


def test_each_preset_belongs_to_one_scheme_and_each_scheme_has_its_own() -> None:
    assert {scheme_of(name) for name in LMM_MODELS} == set(LMM_SCHEMES)
    assert {scheme_of(f"mrt1-{size}") for size in ("large", "base", "tiny")} == {ENCODER_DECODER}
    assert {scheme_of(f"mrt2-{size}") for size in ("base", "small", "tiny")} == {FRAME_WISE}
    assert lmm_preset(PUBLISHED, ENCODER_DECODER) == "mrt1-large"
    assert lmm_preset(PUBLISHED, FRAME_WISE) == "mrt2-small"
    assert lmm_preset(replace(PUBLISHED, lmm_models=("mrt1-base",)), FRAME_WISE) == "mrt2-small"
    asked = replace(PUBLISHED, lmm_models=("mrt2-base", "mrt1-base"))
    assert [lmm_preset(asked, scheme) for scheme in LMM_SCHEMES] == ["mrt1-base", "mrt2-base"]


@pytest.mark.parametrize(
    ("scheme", "context", "levels", "words"),
    [
        (ENCODER_DECODER, 250, 16, "top-40 at temperature 1.1"),
        (FRAME_WISE, 41, 12, "top-40 at temperature 1.3"),
    ],
)
def test_a_workload_is_the_preset_s_in_token_frames(
    scheme: str, context: int, levels: int, words: str
) -> None:
    found = lmm_workload(PUBLISHED, scheme)
    assert (found.context_frames, found.block_frames, found.num_levels) == (context, 50, levels)
    assert found.sampler == words
    assert found.block_seconds == 2.0
    assert (found.steps, found.visible_blocks) == (None, None)


@pytest.mark.parametrize("scheme", LMM_SCHEMES)
def test_lengths_that_are_asked_for_replace_the_preset_s(scheme: str) -> None:
    asked = replace(PUBLISHED, lmm_context_frames=30, lmm_block_frames=7, lmm_levels=5)
    found = lmm_geometry(asked, scheme)
    assert (found.context_frames, found.block_frames, found.num_levels) == (30, 7, 5)
    only_block = lmm_geometry(replace(PUBLISHED, lmm_block_frames=7), scheme)
    assert only_block == replace(lmm_geometry(PUBLISHED, scheme), block_frames=7)


def test_levels_go_from_what_the_encoder_hears_to_what_there_are_heads_for() -> None:
    assert level_range(PUBLISHED, ENCODER_DECODER) == (4, 16)
    assert level_range(PUBLISHED, FRAME_WISE) == (1, 12)
    for scheme, wrong in ((ENCODER_DECODER, 3), (ENCODER_DECODER, 17), (FRAME_WISE, 13)):
        with pytest.raises(ValueError, match=f"levels, got {wrong}"):
            lmm_geometry(replace(PUBLISHED, lmm_levels=wrong), scheme)


@pytest.mark.parametrize(
    ("schemes", "models", "words"),
    [
        (LMM_SCHEMES, ("mrt3",), "unknown LMM model 'mrt3'; there are mrt1-large"),
        ((FRAME_WISE,), ("mrt1-base",), "a model of lmm-encoder-decoder, which is not among"),
        (("outpaint",), ("mrt2-small",), "a model of lmm-frame-wise, which is not among"),
        (LMM_SCHEMES, ("mrt1-base", "mrt1-large"), "runs one model, got mrt1-base, mrt1-large"),
        (LMM_SCHEMES, ("mrt2-base", "mrt2-base"), "runs one model, got mrt2-base, mrt2-base"),
    ],
)
def test_a_preset_that_cannot_be_meant_is_refused(
    schemes: tuple[str, ...], models: tuple[str, ...], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        check_lmm_models(replace(PUBLISHED, schemes=schemes, lmm_models=models))


@pytest.mark.parametrize("name", ["lmm_context_frames", "lmm_block_frames", "lmm_levels"])
def test_lengths_that_no_scheme_would_read_are_refused(name: str) -> None:
    asked = replace(PUBLISHED, **{name: 8})
    check_lmm_models(asked)
    with pytest.raises(InputError, match="no LMM scheme is to be run"):
        check_lmm_models(replace(asked, schemes=("outpaint",)))


# --- Cost ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "millions", "evaluations", "steps"),
    [(ENCODER_DECODER, 761.6, 800, 851), (FRAME_WISE, 229.73, 600, 650)],
)
def test_the_presets_cost_what_the_published_models_do(
    scheme: str, millions: float, evaluations: int, steps: int
) -> None:
    block, held, parameters = lmm_cost(replace(PUBLISHED, dtype="bfloat16"), scheme)
    assert parameters / 1e6 == pytest.approx(millions, rel=0.005)
    assert (block.evaluations, block.sequential_steps) == (evaluations, steps)
    assert held.weights == 2 * parameters


def test_guidance_doubles_the_rows_of_an_encoder_decoder_alone() -> None:
    for scheme, factor in ((ENCODER_DECODER, 2), (FRAME_WISE, 1)):
        alone, guided = (
            lmm_cost(replace(PUBLISHED, guidance_scale=scale), scheme)[0] for scale in (1.0, 6.0)
        )
        assert guided.total("flops") == factor * alone.total("flops")
        assert guided.total("bytes_weights") == alone.total("bytes_weights")


@pytest.mark.gpu
@pytest.mark.parametrize("scheme", LMM_SCHEMES)
def test_each_scheme_is_within_its_budget_on_a_gpu(scheme: str) -> None:
    request = replace(LMM_REQUEST, device="cuda", dtype="bfloat16")
    assert subject(request, scheme).check().is_within_budget
