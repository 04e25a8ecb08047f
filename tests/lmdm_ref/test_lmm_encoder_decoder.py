import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from helpers import assert_identity
from lmdm_ref.attention import MANY_KEYS
from lmdm_ref.linear import pack_linears, why_not_packed
from lmdm_ref.lmm_encoder_decoder import (
    BEGIN,
    MASK,
    EncoderDecoderLMM,
    LMMEncoderDecoder,
    random_encoder_decoder_lmm,
    sinusoids,
)
from lmdm_ref.lmm_presets import MRT1_LARGE, MRT1_TINY
from lmdm_ref.token_sampler import TokenSampler
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
    recorded_logits,
    tiny_control,
    tiny_lmm_encoder_decoder,
    tiny_tokens,
)

GEOMETRY = MRT1_TINY.geometry
CONTEXT, BLOCK, LEVELS = GEOMETRY.context_frames, GEOMETRY.block_frames, GEOMETRY.num_levels
EACH_SAMPLER = pytest.mark.parametrize("sampler", [PLAIN_SAMPLER, GUIDED_SAMPLER], ids=str)


def noise_of(stream: LMMEncoderDecoder, batch: int = 2, seed: int = 1) -> Tensor:
    return token_noise(stream, batch, torch.Generator().manual_seed(seed), torch.float64)


@EACH_SAMPLER
def test_contract(sampler: TokenSampler) -> None:
    scheme = tiny_lmm_encoder_decoder(sampler)
    check_token_stream(scheme.stream, scheme.oracle)


@EACH_SAMPLER
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precisions_err_no_more_than_plain_torch(
    sampler: TokenSampler, dtype: torch.dtype
) -> None:
    check_token_stream_within_budget(tiny_lmm_encoder_decoder(sampler, dtype=dtype))


@EACH_SAMPLER
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packed_linears_stay_within_the_same_budget(
    dtype: torch.dtype, batch: int, sampler: TokenSampler
) -> None:
    reason = why_not_packed(torch.empty(1, dtype=dtype))
    if reason is not None:
        pytest.skip(reason)
    plain = tiny_lmm_encoder_decoder(sampler, dtype=dtype)
    for many_rows in (("",), EncoderDecoderLMM.MANY_ROWS):
        packed = copy.deepcopy(plain.stream.model)
        assert pack_linears(packed, many_rows) > 0
        stream = LMMEncoderDecoder(packed, GEOMETRY, sampler)
        scheme = TokenScheme(stream, plain.oracle, plain.same_dtype_oracle)
        check_token_stream_within_budget(scheme, batch)


@pytest.mark.parametrize(
    "lengths",
    [
        {"num_levels": 2},
        {"num_levels": 3, "context_frames": 1},
        {"context_frames": 11, "block_frames": 1},
        {"context_frames": 2, "block_frames": 11},  # beyond the exact buckets of the bias
    ],
    ids=str,
)
def test_lengths_other_than_the_preset_s(lengths: dict[str, int]) -> None:
    geometry = replace(GEOMETRY, **lengths)
    check_token_stream_equals_one_shot(tiny_lmm_encoder_decoder(GUIDED_SAMPLER, geometry=geometry))


def test_encoding_of_hundreds_of_tokens_is_seen_as_well() -> None:
    """So many keys for one query take another path through attention on a CPU."""
    geometry = replace(GEOMETRY, context_frames=MANY_KEYS, block_frames=2)
    scheme = tiny_lmm_encoder_decoder(GUIDED_SAMPLER, geometry=geometry)
    stream = scheme.stream
    history, style = tiny_tokens(stream, 2, MANY_KEYS), tiny_control(MRT1_TINY, 2)
    made = make_blocks(stream, stream.prefill(history, style), [noise_of(stream)])
    assert_identity(made.logits, scheme.oracle.logits(made.tokens, history, style))


def test_encoder_hears_1006_tokens_of_the_published_model() -> None:
    with torch.device("meta"):
        model = EncoderDecoderLMM(MRT1_LARGE)
    stream = LMMEncoderDecoder(model, MRT1_LARGE.geometry, TokenSampler(1.1, 40, 6.0))
    context = torch.full((1, 250, 16), 1023)
    with_style, without = stream.encoder_ids(context, torch.full((1, 6), 1023)).unbind()
    assert with_style.shape == (1006,)
    assert with_style[:4].tolist() == [2 + 1023 + 1024 * level for level in range(4)]
    assert with_style[-6:].tolist() == [2 + 17 * 1024 + 1023 + 1024 * n for n in range(6)]
    assert torch.equal(without[:-6], with_style[:-6])
    assert without[-6:].tolist() == [MASK] * 6
    assert int(with_style.max()) < MRT1_LARGE.vocabulary


def test_encoder_hears_frames_in_order_and_the_coarse_levels_only() -> None:
    stream = tiny_lmm_encoder_decoder().stream
    context = tiny_tokens(stream, 1, CONTEXT)
    style = tiny_control(MRT1_TINY, 1)
    (ids,) = stream.encoder_ids(context, style).tolist()
    coarse = [
        2 + 16 * level + int(context[0, f, level]) for f in range(CONTEXT) for level in (0, 1)
    ]
    told = [2 + 5 * 16 + 16 * level + int(style[0, level]) for level in (0, 1)]
    assert ids == coarse + told
    assert len(ids) == MRT1_TINY.encoder_tokens(CONTEXT)


def test_sinusoids_are_sines_then_cosines_of_slowing_waves() -> None:
    table = sinusoids(5, 8, torch.device("cpu"))
    assert torch.equal(table[0], torch.tensor([0.0, 0, 0, 0, 1, 1, 1, 1]).double())
    for place in range(5):
        for wave in range(4):
            turn = torch.tensor(place / 10_000 ** (wave / 3), dtype=torch.float64)
            assert_identity(table[place, wave], turn.sin())
            assert_identity(table[place, 4 + wave], turn.cos())


def test_context_is_encoded_once_for_each_block() -> None:
    stream = tiny_lmm_encoder_decoder().stream
    state = stream.prefill(tiny_tokens(stream, 2, CONTEXT), tiny_control(MRT1_TINY, 2))
    encoded = []
    encode = stream.model.encode

    def counting(ids: Tensor) -> Tensor:
        encoded.append(ids)
        return encode(ids)

    stream.model.encode = counting  # type: ignore[method-assign]
    for blocks in (1, 2, 3):
        stream.generate(noise_of(stream), state)
        stream.encode_context(state)
        state = stream.commit(stream.generate(noise_of(stream), state), state)
        assert len(encoded) == blocks


@pytest.mark.parametrize("scale", [0.0, 0.5, 6.0])
def test_guidance_chooses_by_its_formula_from_a_doubled_batch(scale: float) -> None:
    sampler = TokenSampler(temperature=1.3, top_k=1, guidance_scale=scale)
    stream = tiny_lmm_encoder_decoder(sampler).stream
    state = stream.prefill(tiny_tokens(stream, 2, CONTEXT), tiny_control(MRT1_TINY, 2))
    with recorded_logits(stream) as given:
        block = stream.generate(noise_of(stream), state)
    logits = torch.stack(given).unflatten(0, (BLOCK, LEVELS))
    assert logits.shape == (BLOCK, LEVELS, 4, MRT1_TINY.codebook_size)
    with_style, without = logits[:, :, :2], logits[:, :, 2:]
    guided = scale * with_style + (1 - scale) * without
    assert torch.equal(block, guided.argmax(-1).permute(2, 0, 1))


def test_guidance_scale_0_is_a_stream_without_a_style() -> None:
    """Each copy hears the tokens that were chosen for both."""
    made = []
    for scale, style_is_masked in ((0.0, False), (1.0, True)):
        stream = tiny_lmm_encoder_decoder(TokenSampler(1.0, 4, scale)).stream
        if style_is_masked:
            told = stream.encoder_ids

            def masked(context: Tensor, style: Tensor, told: object = told) -> Tensor:
                ids: Tensor = told(context, style)  # type: ignore[operator]
                ids[:, -MRT1_TINY.style_tokens :] = MASK
                return ids

            stream.encoder_ids = masked  # type: ignore[method-assign]
        state = stream.prefill(tiny_tokens(stream, 2, CONTEXT), tiny_control(MRT1_TINY, 2))
        made.append(stream.generate(noise_of(stream), state))
    assert torch.equal(*made)


def test_first_frame_hears_begin_and_each_next_one_the_mean_of_the_last() -> None:
    stream = tiny_lmm_encoder_decoder(GUIDED_SAMPLER).stream
    model, rows = stream.model, []
    run = model.temporal_row

    def recording(hidden: Tensor, *others: object) -> Tensor:
        rows.append(hidden)
        return run(hidden, *others)  # type: ignore[arg-type]

    model.temporal_row = recording  # type: ignore[method-assign]
    state = stream.prefill(tiny_tokens(stream, 2, CONTEXT), tiny_control(MRT1_TINY, 2))
    block = stream.generate(noise_of(stream), state)
    table = model.embedding.weight
    assert torch.equal(rows[0], table[BEGIN].expand(4, 1, -1))
    for frame in range(1, BLOCK):
        for listener in range(2):
            ids = [2 + 16 * n + int(block[listener, frame - 1, n]) for n in range(LEVELS)]
            for row in (listener, 2 + listener):
                assert_identity(rows[frame][row, 0], table[ids].mean(0))


def test_commit_keeps_the_newest_context_alone() -> None:
    stream = tiny_lmm_encoder_decoder().stream
    heard = tiny_tokens(stream, 2, CONTEXT + BLOCK + 20)
    state = stream.prefill(heard[:, :CONTEXT], tiny_control(MRT1_TINY, 2))
    state = stream.commit(heard[:, CONTEXT : CONTEXT + BLOCK], state)
    assert torch.equal(state.context, heard[:, BLOCK : CONTEXT + BLOCK])
    state = stream.commit(heard[:, CONTEXT + BLOCK :], state)  # longer than the context
    assert torch.equal(state.context, heard[:, -CONTEXT:])


@pytest.mark.parametrize("levels", [1, 5])
def test_levels_that_the_model_lacks_are_refused(levels: int) -> None:
    with pytest.raises(ValueError, match=f"num_levels must be 2 to 4, got {levels}"):
        tiny_lmm_encoder_decoder(geometry=replace(GEOMETRY, num_levels=levels))


@pytest.mark.parametrize("frames", [0, CONTEXT - 1, CONTEXT + 1])
def test_context_of_another_length_is_refused(frames: int) -> None:
    stream = tiny_lmm_encoder_decoder().stream
    expected = rf"expected tokens \[2, {CONTEXT}, {LEVELS}\], got \[2, {frames}, {LEVELS}\]"
    with pytest.raises(ValueError, match=expected):
        stream.prefill(tiny_tokens(stream, 2, frames), tiny_control(MRT1_TINY, 2))


def test_tokens_of_another_model_are_refused() -> None:
    stream = tiny_lmm_encoder_decoder().stream
    tokens, style = tiny_tokens(stream, 2, CONTEXT), tiny_control(MRT1_TINY, 2)
    with pytest.raises(ValueError, match=r"expected tokens \[2, 6, 4\], got \[2, 6, 3\]"):
        stream.prefill(tokens[:, :, :3], style)
    with pytest.raises(ValueError, match=r"expected tokens \[2, 6, 4\], got \[1, 6, 4\]"):
        stream.commit(tokens[:1], stream.prefill(tokens, style))
    for wrong in (-1, MRT1_TINY.codebook_size):
        bad = tokens.clone()
        bad[1, 2, 3] = wrong
        with pytest.raises(ValueError, match="tokens must be codes 0 … 15 of their level"):
            stream.prefill(bad, style)
        with pytest.raises(ValueError, match="tokens must be codes 0 … 15 of their level"):
            stream.commit(bad, stream.prefill(tokens, style))


def test_style_of_another_model_is_refused_at_both_doors() -> None:
    stream = tiny_lmm_encoder_decoder().stream
    tokens, style = tiny_tokens(stream, 2, CONTEXT), tiny_control(MRT1_TINY, 2)
    too_many = random_codes([16] * 3, 2)
    too_large = style.clone()
    too_large[1, 1] = 16
    for bad, reason in (
        (too_many, r"expected style codes \[2, 2\], got \[2, 3\]"),
        (too_large, "style code 1 must be 0 … 15, got 16"),
    ):
        with pytest.raises(ValueError, match=reason):
            stream.prefill(tokens, bad)
        with pytest.raises(ValueError, match=reason):
            stream.change_prompt(stream.prefill(tokens, style), bad)
    with pytest.raises(ValueError, match=r"expected style codes \[2, 2\], got \[1, 2\]"):
        stream.change_prompt(stream.prefill(tokens, style), style[:1])


def test_random_model_has_the_dtype_asked_for() -> None:
    model = random_encoder_decoder_lmm(MRT1_TINY, seed=0, dtype=torch.bfloat16)
    assert model.dtype == torch.bfloat16
    assert {one.dtype for one in model.parameters()} == {torch.bfloat16}
