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
    assert_identity,
    assert_no_identity,
    check_stream,
    check_stream_within_budget,
    recorded_passes,
    seeded,
    tiny_conditioning,
    tiny_encoder_decoder,
    tiny_latents,
    tiny_outpaint,
)
from lmdm_ref.presets import TINY
from lmdm_ref.rotary import rotary_angles
from lmdm_ref.sampler import Sampler

BLOCK, CONTEXT, WHOLE = WINDOW.block_frames, WINDOW.context_frames, WINDOW.window_frames


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_outpainting_keeps_the_contract(sampler: Sampler) -> None:
    scheme = tiny_outpaint(sampler)
    check_stream(scheme.stream, scheme.oracle)


def test_outpainting_keeps_the_contract_without_qk_norm_and_grouping() -> None:
    scheme = tiny_outpaint(EULER, PLAIN)
    check_stream(scheme.stream, scheme.oracle)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sampler", [EULER, PINGPONG], ids=["euler", "pingpong"])
def test_outpainting_in_a_lower_precision_errs_no_more_than_plain_torch(
    sampler: Sampler, dtype: torch.dtype
) -> None:
    check_stream_within_budget(tiny_outpaint(sampler, dtype=dtype))


def noise_of(draws: int, batch: int = 2, seed: int = 1) -> Tensor:
    return seeded(seed, draws, batch, WHOLE, TINY.latent_channels)


@pytest.mark.parametrize("sampler", [EULER, PINGPONG], ids=["euler", "pingpong"])
def test_context_rows_add_both_maps_at_every_step(sampler: Sampler) -> None:
    """A(clean noised to this level, always by the same noise) + B(clean); target rows: A alone."""
    stream = tiny_outpaint(sampler).stream
    decoder, clean, noise = stream.decoder, tiny_latents(2, CONTEXT), noise_of(sampler.draws)
    with recorded_passes(decoder) as passes:
        stream.generate(noise, stream.prefill(clean, tiny_conditioning(2)))
    for (hidden, _), sigma in zip(passes, sampler.sigmas, strict=False):
        noised = (1 - sigma) * clean + sigma * noise[0, :, :CONTEXT]
        both = decoder.noisy_rows(noised) + decoder.clean_rows(clean)
        assert_identity(hidden[:, :CONTEXT], both)
    first, *_ = passes
    assert_identity(first[0][:, CONTEXT:WHOLE], decoder.noisy_rows(noise[0, :, CONTEXT:]))


def test_everyone_sees_everyone_and_the_token_stands_at_position_0() -> None:
    stream = tiny_outpaint().stream
    with recorded_passes(stream.decoder) as passes:
        state = stream.prefill(tiny_latents(2, CONTEXT), tiny_conditioning(2))
        stream.generate(noise_of(1), state)
    positions = torch.tensor([*range(1, WHOLE + 1), 0])
    expected = rotary_angles(positions, stream.decoder.inverse_frequencies, torch.float64)
    for _, run in passes:
        ((queries, keys),) = run.plan
        assert queries == (0, WHOLE + 1) and keys == ((0, WHOLE + 1),)
        assert torch.equal(run.rotary.cos, expected.cos)
        assert torch.equal(run.rotary.sin, expected.sin)
        assert run.rotary.cos[-1].eq(1).all() and run.rotary.sin[-1].eq(0).all()


@pytest.mark.parametrize("sampler", [ONE_STEP, EULER, GUIDED], ids=["1", "3", "guided"])
def test_every_step_computes_the_whole_window(sampler: Sampler) -> None:
    stream = tiny_outpaint(sampler).stream
    state = stream.prefill(tiny_latents(2, CONTEXT), tiny_conditioning(2))
    with recorded_passes(stream.decoder) as passes:
        for _ in range(2):
            state = stream.commit(stream.generate(noise_of(sampler.draws), state), state)
    rows = (2 * sampler.copies, WHOLE + 1, TINY.width)
    assert [hidden.shape for hidden, _ in passes] == [rows] * sampler.num_steps * 2


def test_context_s_noise_matters_to_the_target() -> None:
    """The old way's context depends on the noise level: this is why nothing can be cached."""
    stream, noise = tiny_outpaint().stream, noise_of(1)
    state = stream.prefill(tiny_latents(2, CONTEXT), tiny_conditioning(2))
    block = stream.generate(noise, state)
    noise[:, :, :CONTEXT] = 0
    assert_no_identity(stream.generate(noise, state), block)


def test_outpainting_is_another_function_than_the_routed_schemes() -> None:
    routed, old = tiny_encoder_decoder().stream, tiny_outpaint().stream
    clean, prompt, noise = tiny_latents(2, CONTEXT), tiny_conditioning(2), noise_of(1)
    block = old.generate(noise, old.prefill(clean, prompt))
    other = routed.generate(routed.target_noise(noise), routed.prefill(clean, prompt))
    assert_no_identity(block, other)


@pytest.mark.parametrize("frames", [BLOCK, CONTEXT + BLOCK])
def test_context_must_be_the_window_s(frames: int) -> None:
    stream = tiny_outpaint().stream
    with pytest.raises(ValueError, match=rf"expected latents \[2, {CONTEXT}, .* \[2, {frames}, "):
        stream.prefill(tiny_latents(2, frames), tiny_conditioning(2))
