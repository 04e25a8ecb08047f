import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from helpers import assert_identity, assert_no_identity
from lmdm_ref.arena import Span
from lmdm_ref.linear import pack_linears, why_not_packed
from lmdm_ref.lmm_frame_wise import (
    BEGIN,
    ConditionEmbedding,
    FrameConditions,
    FrameWiseLMM,
    LMMFrameWise,
    guidance_codes,
    random_frame_wise_lmm,
)
from lmdm_ref.lmm_presets import MRT2_SMALL, MRT2_TINY
from lmdm_ref.token_stream import token_noise
from lmm_helpers import (
    GUIDED_SAMPLER,
    PLAIN_SAMPLER,
    TokenScheme,
    check_token_stream,
    check_token_stream_equals_one_shot,
    check_token_stream_within_budget,
    make_blocks,
    random_codes,
    tiny_control,
    tiny_lmm_frame_wise,
    tiny_tokens,
)

GEOMETRY = MRT2_TINY.geometry
CONTEXT, BLOCK, LEVELS = GEOMETRY.context_frames, GEOMETRY.block_frames, GEOMETRY.num_levels
SHALLOW = replace(MRT2_TINY, temporal=replace(MRT2_TINY.temporal, depth=1))


def noises_of(stream: LMMFrameWise, count: int = 1, batch: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [token_noise(stream, batch, generator, torch.float64) for _ in range(count)]


def test_contract() -> None:
    scheme = tiny_lmm_frame_wise()
    check_token_stream(scheme.stream, scheme.oracle)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precisions_err_no_more_than_plain_torch(dtype: torch.dtype) -> None:
    check_token_stream_within_budget(tiny_lmm_frame_wise(dtype=dtype))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packed_linears_stay_within_the_same_budget(dtype: torch.dtype, batch: int) -> None:
    reason = why_not_packed(torch.empty(1, dtype=dtype))
    if reason is not None:
        pytest.skip(reason)
    plain = tiny_lmm_frame_wise(dtype=dtype)
    for many_rows in (("",), FrameWiseLMM.MANY_ROWS):
        packed = copy.deepcopy(plain.stream.model)
        assert pack_linears(packed, many_rows) > 0
        stream = LMMFrameWise(packed, GEOMETRY, PLAIN_SAMPLER)
        scheme = TokenScheme(stream, plain.oracle, plain.same_dtype_oracle)
        check_token_stream_within_budget(scheme, batch)


@pytest.mark.parametrize(
    "lengths",
    [
        {"num_levels": 1},
        {"num_levels": 3, "context_frames": 1},
        {"context_frames": 7, "block_frames": 1},
        {"context_frames": 2, "block_frames": 8},  # a block longer than the ring
    ],
    ids=str,
)
def test_lengths_other_than_the_preset_s(lengths: dict[str, int]) -> None:
    geometry = replace(GEOMETRY, **lengths)
    check_token_stream_equals_one_shot(tiny_lmm_frame_wise(geometry=geometry))


def test_stream_starts_from_nothing_with_the_begin_token() -> None:
    stream = tiny_lmm_frame_wise().stream
    model = stream.model
    begin = model.embedding.weight[BEGIN] * MRT2_TINY.temporal.width**0.5
    row = model.begin_row(2, torch.device("cpu"))
    assert_identity(row, begin.expand(2, 1, -1))
    control = tiny_control(MRT2_TINY, 2)
    state = stream.prefill(tiny_tokens(stream, 2, 0), control)
    assert state.newest is None and state.num_heard == 0
    assert stream.generate(*noises_of(stream), state).shape == (2, BLOCK, LEVELS)


def test_frame_is_heard_as_the_mean_of_its_scaled_tokens() -> None:
    model = tiny_lmm_frame_wise().stream.model
    tokens = random_codes([16] * LEVELS, 2)
    for listener in range(2):
        ids = [6 + 16 * level + int(tokens[listener, level]) for level in range(LEVELS)]
        expected = model.embedding.weight[ids].mean(0) * 32**0.5
        assert_identity(model.frame_row(tokens)[listener, 0], expected)


def test_history_beyond_the_window_is_heard_through_layers_only() -> None:
    """Two layers see two windows: 2 × 4 frames before the frame itself."""
    for config, sight in ((SHALLOW, CONTEXT), (MRT2_TINY, 2 * CONTEXT)):
        stream = tiny_lmm_frame_wise(config=config).stream
        heard, control = tiny_tokens(stream, 2, 20), tiny_control(config, 2)
        noises = noises_of(stream)
        expected = make_blocks(stream, stream.prefill(heard, control), noises).logits[0]
        for age in (sight, sight + 1):
            # Frame i's row hears frame i − 1, so what is heard at a row is one frame older.
            other = heard.clone()
            other[:, -1 - age] = (other[:, -1 - age] + 1) % 16
            logits = make_blocks(stream, stream.prefill(other, control), noises).logits[0]
            if age == sight:
                assert_no_identity(logits, expected)
            else:
                assert torch.equal(logits, expected)


@pytest.mark.parametrize("sink", [0, 1], ids=["self-attention", "cross-attention"])
def test_every_frame_sees_both_sinks(sink: int) -> None:
    stream = tiny_lmm_frame_wise().stream
    heard, control = tiny_tokens(stream, 2, 20), tiny_control(MRT2_TINY, 2)
    noises = noises_of(stream)
    expected = make_blocks(stream, stream.prefill(heard, control), noises).logits
    stream.model.temporal_layers[1].sinks[sink, 1] += 1  # type: ignore[index,operator]
    other = make_blocks(stream, stream.prefill(heard, control), noises).logits
    assert_no_identity(other[0], expected[0])


def test_ring_keeps_its_addresses_and_its_sinks() -> None:
    stream = tiny_lmm_frame_wise().stream
    state = stream.prefill(tiny_tokens(stream, 2, 1), tiny_control(MRT2_TINY, 2))
    before = {one.layer(0)[0].data_ptr() for one in (*state.rings, *state.ahead)}
    sinks = [one.clone() for one in state.rings]
    for noise in noises_of(stream, 6):
        state = stream.commit(stream.generate(noise, state), state)
        assert {one.layer(0)[0].data_ptr() for one in (*state.rings, *state.ahead)} == before
        for ring, sink in zip(state.rings, sinks, strict=True):
            assert ring.is_equal(sink, Span(0, 1))


def test_committing_the_generated_block_computes_nothing() -> None:
    stream = tiny_lmm_frame_wise().stream
    state = stream.prefill(tiny_tokens(stream, 2, 1), tiny_control(MRT2_TINY, 2))
    block = stream.generate(*noises_of(stream), state)
    rows = []
    run = stream.model.temporal_row

    def recording(*arguments: object) -> Tensor:
        rows.append(arguments)
        return run(*arguments)  # type: ignore[arg-type]

    stream.model.temporal_row = recording  # type: ignore[method-assign]
    state = stream.commit(block, state)
    assert not rows and state.num_heard == 1 + BLOCK
    stream.commit(block, state)  # the same tokens again are another block
    assert len(rows) == BLOCK


def test_part_of_the_generated_block_can_be_committed() -> None:
    stream = tiny_lmm_frame_wise().stream
    heard, control = tiny_tokens(stream, 2, 5), tiny_control(MRT2_TINY, 2)
    first, *noises = noises_of(stream, 3)
    state = stream.prefill(heard, control)
    block = stream.generate(first, state)
    made = make_blocks(stream, stream.commit(block[:, :2], state), noises)
    fresh = stream.prefill(torch.cat([heard, block[:, :2]], dim=1), control)
    made.assert_same_bits(make_blocks(stream, fresh, noises))


def test_conditions_are_one_normalised_mean_of_style_and_others() -> None:
    model = tiny_lmm_frame_wise().stream.model
    embedding = model.conditions
    assert isinstance(embedding, ConditionEmbedding)
    control = tiny_control(MRT2_TINY, 2)
    starts = [0, 11, 22, 31]  # where the codes of each condition begin
    for listener in range(2):
        places = [23 * n + int(code) for n, code in enumerate(control.style[listener])]
        style = embedding.style_in.weight @ embedding.style_embedding.weight[places].sum(0)
        places = [a + int(code) for a, code in zip(starts, control.others[listener], strict=True)]
        both = (style + embedding.others_embedding.weight[places].mean(0)) / 2
        centred = both - both.mean()
        normed = centred / (centred.square().mean() + 1e-6).sqrt()
        expected = normed * embedding.norm.weight + embedding.norm.bias
        assert_identity(embedding(control)[listener, 0], expected)


def test_guidance_tokens_count_steps_above_the_lowest_scale() -> None:
    assert guidance_codes(1.0, 6) == (6 + 5, 6 + 5, 6 + 1)
    assert guidance_codes(4.0, 6) == (6 + 20, 6 + 20, 6 + 4)
    assert guidance_codes(-9.0, 6) == (6, 6, 6)
    assert guidance_codes(99.0, 6) == (6 + 40, 6 + 40, 6 + 8)
    sizes = MRT2_SMALL.condition_codes[-3:]
    assert all(code < size for code, size in zip(guidance_codes(99.0, 6), sizes, strict=True))


def test_guidance_by_a_doubled_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="guidance of a frame-wise LMM comes as tokens"):
        tiny_lmm_frame_wise(GUIDED_SAMPLER)


def test_more_levels_than_there_are_heads_for_are_refused() -> None:
    with pytest.raises(ValueError, match="num_levels must be at most 4, got 5"):
        tiny_lmm_frame_wise(geometry=replace(GEOMETRY, num_levels=5))


def test_tokens_of_another_model_are_refused() -> None:
    stream = tiny_lmm_frame_wise().stream
    tokens, control = tiny_tokens(stream, 2, 5), tiny_control(MRT2_TINY, 2)
    with pytest.raises(ValueError, match=r"expected tokens \[2, 5, 4\], got \[2, 5, 3\]"):
        stream.prefill(tokens[:, :, :3], control)
    with pytest.raises(ValueError, match=r"expected tokens \[3, 5, 4\], got \[2, 5, 4\]"):
        stream.prefill(tokens, tiny_control(MRT2_TINY, 3))
    for wrong in (-1, MRT2_TINY.codebook_size):
        bad = tokens.clone()
        bad[1, 2, 3] = wrong
        for take in (
            lambda bad=bad: stream.prefill(bad, control),
            lambda bad=bad: stream.commit(bad, stream.prefill(tokens, control)),
        ):
            with pytest.raises(ValueError, match="tokens must be codes 0 … 15 of their level"):
                take()


def test_conditions_of_another_model_are_refused_at_both_doors() -> None:
    stream = tiny_lmm_frame_wise().stream
    tokens, control = tiny_tokens(stream, 2, 5), tiny_control(MRT2_TINY, 2)
    too_large, negative = control.others.clone(), control.style.clone()
    too_large[1, 2], negative[0, 1] = 9, -1
    for bad, reason in (
        (
            FrameConditions(control.style[:, :2], control.others),
            r"expected style codes \[2, 3\], got \[2, 2\]",
        ),
        (
            FrameConditions(control.style, control.others[:, :3]),
            r"expected condition codes \[2, 4\], got \[2, 3\]",
        ),
        (FrameConditions(negative, control.others), r"style code 1 must be 0 … 22, got -1"),
        (FrameConditions(control.style, too_large), r"condition code 2 must be 0 … 8, got 9"),
    ):
        with pytest.raises(ValueError, match=reason):
            stream.prefill(tokens, bad)
        with pytest.raises(ValueError, match=reason):
            stream.change_prompt(stream.prefill(tokens, control), bad)
    with pytest.raises(ValueError, match=r"expected style codes \[2, 3\], got \[1, 3\]"):
        stream.change_prompt(stream.prefill(tokens, control), tiny_control(MRT2_TINY, 1))


def test_random_model_has_the_dtype_asked_for() -> None:
    model = random_frame_wise_lmm(MRT2_TINY, seed=0, dtype=torch.bfloat16)
    assert model.dtype == torch.bfloat16
    assert {one.dtype for one in model.parameters()} == {torch.bfloat16}
