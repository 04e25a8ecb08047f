import pytest
import torch
from torch import Tensor

from helpers import (
    EULER,
    GUIDED,
    ONE_STEP,
    PINGPONG,
    PLAIN,
    SAMPLERS,
    WINDOW,
    ArenaReaders,
    assert_identity,
    assert_no_identity,
    check_stream,
    check_stream_within_budget,
    recorded_passes,
    seeded,
    tiny_conditioning,
    tiny_encoder_decoder,
    tiny_latents,
)
from lmdm_ref.attention import dense_mask
from lmdm_ref.conditioning import Conditioning
from lmdm_ref.presets import TINY
from lmdm_ref.rotary import Rotary, rotary_angles
from lmdm_ref.sampler import Sampler
from lmdm_ref.stream import PromptPolicy

BLOCK, CONTEXT, WHOLE = WINDOW.block_frames, WINDOW.context_frames, WINDOW.window_frames


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_encoder_decoder_keeps_the_contract(sampler: Sampler) -> None:
    scheme = tiny_encoder_decoder(sampler)
    check_stream(scheme.stream, scheme.oracle)


def test_encoder_decoder_keeps_the_contract_without_qk_norm_and_grouping() -> None:
    scheme = tiny_encoder_decoder(EULER, PLAIN)
    check_stream(scheme.stream, scheme.oracle)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sampler", [EULER, PINGPONG], ids=["euler", "pingpong"])
def test_encoder_decoder_in_a_lower_precision_errs_no_more_than_plain_torch(
    sampler: Sampler, dtype: torch.dtype
) -> None:
    check_stream_within_budget(tiny_encoder_decoder(sampler, dtype=dtype))


def noise_of(draws: int, batch: int = 2, seed: int = 1) -> Tensor:
    return seeded(seed, draws, batch, BLOCK, TINY.latent_channels)


def test_context_rows_are_clean_alone_and_target_rows_get_nothing_of_b() -> None:
    stream = tiny_encoder_decoder().stream
    decoder, clean, noise = stream.decoder, tiny_latents(2, CONTEXT), noise_of(1)
    with recorded_passes(decoder) as passes:
        state = stream.prefill(clean, tiny_conditioning(2))
        stream.generate(noise, state)
    (context, _), (first, _), *_ = passes
    ones = torch.ones(2, CONTEXT, 1, dtype=torch.float64)
    assert_identity(context, torch.cat([ones, clean], -1) @ decoder.input_clean.weight.mT)
    residual = noise[0] @ decoder.input_residual.weight.mT
    expected = (noise[0] + residual) @ decoder.input_noisy.weight.mT
    assert_identity(first[:, :BLOCK], expected)
    for (hidden, _), sigma in zip(passes[1:], stream.sampler.sigmas, strict=False):
        token = decoder.token_row(decoder.noise_level(sigma), state.conditioning)
        assert torch.equal(hidden[:, BLOCK:], token)


def test_context_sees_context_and_target_sees_everything() -> None:
    stream = tiny_encoder_decoder().stream
    with recorded_passes(stream.decoder) as passes:
        state = stream.prefill(tiny_latents(2, CONTEXT), tiny_conditioning(2))
        stream.generate(noise_of(1), state)
    (_, encode), *steps = passes
    slot = stream.arena.slot(0)
    seen = dense_mask(encode.plan, stream.arena.size)
    assert seen[:, slot.start : slot.stop].all() and not seen[:, : slot.start].any()
    for _, step in steps:
        seen = dense_mask(step.plan, stream.arena.size)
        assert seen.shape == (BLOCK + 1, stream.arena.size) and seen.all()


def test_token_stands_at_position_0_and_frames_at_1_to_the_window() -> None:
    stream = tiny_encoder_decoder().stream
    with recorded_passes(stream.decoder) as passes:
        state = stream.prefill(tiny_latents(2, CONTEXT), tiny_conditioning(2))
        for _ in range(2):
            state = stream.commit(stream.generate(noise_of(1), state), state)

    def assert_positions(rotary: Rotary, positions: list[int]) -> None:
        frequencies = stream.decoder.inverse_frequencies
        expected = rotary_angles(torch.tensor(positions), frequencies, torch.float64)
        assert torch.equal(rotary.cos, expected.cos) and torch.equal(rotary.sin, expected.sin)

    for _, run in passes:
        if run.outputs.size:
            assert_positions(run.rotary, [*range(CONTEXT + 1, WHOLE + 1), 0])
        else:
            assert_positions(run.rotary, list(range(1, CONTEXT + 1)))


def test_context_never_sees_target_or_token() -> None:
    """Its cached places keep their bits whatever is denoised beside it, and at whatever level."""
    stream = tiny_encoder_decoder().stream
    clean, prompt = tiny_latents(2, CONTEXT), tiny_conditioning(2)
    state = stream.prefill(clean, prompt)
    stream.encode_context(state)
    fresh = state.clone()
    stream.generate(noise_of(1), state)
    assert state.cache.is_equal(fresh.cache, stream.arena.slot(0))
    velocity = stream.velocity(noise_of(1), state)
    velocity(torch.full((2, BLOCK, TINY.latent_channels), torch.nan, dtype=torch.float64), 0.2)
    assert state.cache.is_equal(fresh.cache, stream.arena.slot(0))

    seconds = Conditioning(prompt.text, 2 * prompt.seconds)
    other = stream.prefill(clean, seconds)
    stream.encode_context(other)
    assert other.cache.is_equal(fresh.cache, stream.arena.slot(0))


def test_target_and_token_and_context_matter_to_the_target() -> None:
    stream = tiny_encoder_decoder().stream
    clean, prompt, noise = tiny_latents(2, CONTEXT), tiny_conditioning(2), noise_of(1)

    def velocity(clean: Tensor, prompt: Conditioning, noisy: Tensor, sigma: float) -> Tensor:
        state = stream.prefill(clean, prompt)
        stream.encode_context(state)
        return stream.velocity(noise, state)(noisy, sigma)[:, -1:]

    expected = velocity(clean, prompt, noise[0], 0.5)
    first_frame_moved = noise[0].clone()
    first_frame_moved[:, 0] += 1
    assert_no_identity(velocity(clean, prompt, first_frame_moved, 0.5), expected)
    assert_no_identity(velocity(clean, prompt, noise[0], 0.25), expected)
    seconds = Conditioning(prompt.text, 2 * prompt.seconds)
    assert_no_identity(velocity(clean, seconds, noise[0], 0.5), expected)
    clean = clean.clone()
    clean[:, 0] += 1
    assert_no_identity(velocity(clean, prompt, noise[0], 0.5), expected)


@pytest.mark.parametrize("sampler", [ONE_STEP, EULER, GUIDED], ids=["1", "3", "guided"])
def test_a_block_is_one_pass_of_context_and_one_of_the_target_for_each_step(
    sampler: Sampler,
) -> None:
    stream = tiny_encoder_decoder(sampler).stream
    state = stream.prefill(tiny_latents(2, CONTEXT), tiny_conditioning(2))
    with recorded_passes(stream.decoder) as passes:
        for _ in range(2):
            state = stream.commit(stream.generate(noise_of(1), state), state)
    batch = 2 * sampler.copies
    block = [(batch, CONTEXT, TINY.width)] + [(batch, BLOCK + 1, TINY.width)] * sampler.num_steps
    assert [hidden.shape for hidden, _ in passes] == block * 2


def test_context_is_encoded_once_however_often_the_block_is_denoised() -> None:
    stream = tiny_encoder_decoder().stream
    state = stream.prefill(tiny_latents(2, CONTEXT), tiny_conditioning(2))
    with recorded_passes(stream.decoder) as passes:
        for _ in range(3):
            stream.encode_context(state)
            stream.generate(noise_of(1), state)
    assert sum(hidden.shape[1] == CONTEXT for hidden, _ in passes) == 1


@pytest.mark.parametrize("sampler", [EULER, GUIDED], ids=["euler", "guided"])
@pytest.mark.parametrize("batch", [1, 2])
def test_cached_keys_are_read_by_attention_alone_and_never_copied(
    sampler: Sampler, batch: int
) -> None:
    stream = tiny_encoder_decoder(sampler).stream
    state = stream.prefill(tiny_latents(batch, CONTEXT), tiny_conditioning(batch))
    addresses = [one.data_ptr() for one in state.cache.layer(1)]
    with ArenaReaders(state.cache) as readers:
        for _ in range(3):
            state = stream.commit(stream.generate(noise_of(1, batch), state), state)
    assert len(readers.names) == 1
    assert "scaled_dot_product" in readers.names.pop()
    assert [one.data_ptr() for one in state.cache.layer(1)] == addresses


def test_prompt_kept_while_a_block_is_made_reaches_the_target_and_not_the_context() -> None:
    stream = tiny_encoder_decoder().stream
    clean, other = tiny_latents(2, CONTEXT), tiny_conditioning(2, seed=2)
    state = stream.prefill(clean, tiny_conditioning(2))
    before = stream.generate(noise_of(1), state)
    slot, cached = stream.arena.slot(0), state.clone().cache

    kept = stream.change_prompt(state.clone(), other, PromptPolicy.KEEP)
    block = stream.generate(noise_of(1), kept)
    assert kept.cache.is_equal(cached, slot)
    assert_no_identity(block, before)

    again = stream.change_prompt(state.clone(), other, PromptPolicy.RE_ENCODE)
    fresh = stream.generate(noise_of(1), stream.prefill(clean, other))
    assert torch.equal(stream.generate(noise_of(1), again), fresh)
    assert_no_identity(block, fresh)


@pytest.mark.parametrize("frames", [BLOCK, CONTEXT + BLOCK])
def test_context_must_be_the_window_s(frames: int) -> None:
    stream = tiny_encoder_decoder().stream
    with pytest.raises(ValueError, match=rf"expected latents \[2, {CONTEXT}, .* \[2, {frames}, "):
        stream.prefill(tiny_latents(2, frames), tiny_conditioning(2))
