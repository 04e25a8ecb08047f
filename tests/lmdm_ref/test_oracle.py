"""The oracles against the paper's formulas and against one another."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from helpers import (
    EULER,
    GUIDED,
    PINGPONG,
    TINY_SCHEMES,
    WINDOW,
    assert_identity,
    assert_no_identity,
    seeded,
    tiny_block_causal,
    tiny_conditioning,
    tiny_decoder,
    tiny_encoder_decoder,
    tiny_latents,
    tiny_outpaint,
)
from lmdm_ref.conditioning import Conditioning
from lmdm_ref.oracle import (
    BlockCausalOracle,
    EncoderDecoderOracle,
    Oracle,
    OutpaintOracle,
    Sequence,
)
from lmdm_ref.presets import TINY
from lmdm_ref.sampler import euler_sampler
from lmdm_ref.schedule import linear_sigmas

BLOCK, CONTEXT, WHOLE = WINDOW.block_frames, WINDOW.context_frames, WINDOW.window_frames
SHALLOW = replace(TINY, depth=1)
EACH_SCHEME = pytest.mark.parametrize("scheme", TINY_SCHEMES)


def noise_of(oracle: Oracle, seed: int = 1) -> Tensor:
    return seeded(seed, oracle.sampler.draws, 2, WHOLE, TINY.latent_channels)


def rows_of(oracle: Oracle, history: Tensor, sigma: float = 0.3) -> tuple[Sequence, Tensor, Tensor]:
    """The scheme's rows, and the noisy target and the noise that they were made from."""
    noise = noise_of(oracle)[0]
    noisy = seeded(3, 2, BLOCK, TINY.latent_channels)
    return oracle.rows(noisy, sigma, history, noise), noisy, noise


def test_outpainting_oracle_adds_noised_and_clean_context_and_masks_nobody() -> None:
    oracle, history = tiny_outpaint().oracle, tiny_latents(2, CONTEXT)
    rows, noisy, noise = rows_of(oracle, history)
    noised = 0.7 * history + 0.3 * noise[:, :CONTEXT]
    both = oracle.noisy_rows(noised) + oracle.clean_rows(history)
    assert_identity(rows.hidden[:, :CONTEXT], both)
    assert torch.equal(rows.hidden[:, CONTEXT:], oracle.noisy_rows(noisy))
    assert rows.positions.tolist() == [*range(1, WHOLE + 1), 0]
    assert rows.mask.shape == (WHOLE + 1, WHOLE + 1) and rows.mask.all()


def test_encoder_decoder_oracle_routes_and_masks_as_the_paper_says() -> None:
    oracle, history = tiny_encoder_decoder().oracle, tiny_latents(2, CONTEXT)
    rows, noisy, _ = rows_of(oracle, history)
    assert torch.equal(rows.hidden[:, :CONTEXT], oracle.clean_rows(history))
    assert torch.equal(rows.hidden[:, CONTEXT:], oracle.noisy_rows(noisy))
    assert rows.positions.tolist() == [*range(1, WHOLE + 1), 0]
    for q in range(WHOLE + 1):  # a3.4, rows from 1: M[q, p] = 1 if p ≤ s or q > s
        expected = [p + 1 <= CONTEXT or q + 1 > CONTEXT for p in range(WHOLE + 1)]
        assert rows.mask[q].tolist() == expected


@pytest.mark.parametrize("visible_blocks", [3, 4])
@pytest.mark.parametrize("num_blocks", [1, 4, 7])
def test_block_causal_oracle_is_banded_over_the_whole_history(
    visible_blocks: int, num_blocks: int
) -> None:
    oracle = tiny_block_causal(visible_blocks=visible_blocks).oracle
    history = tiny_latents(2, num_blocks * BLOCK)
    rows, noisy, _ = rows_of(oracle, history)
    heard = history.shape[1]
    assert torch.equal(rows.hidden[:, :heard], oracle.clean_rows(history))
    assert torch.equal(rows.hidden[:, heard:], oracle.noisy_rows(noisy))
    frames = heard + BLOCK
    assert rows.positions.tolist() == [*range(1, frames + 1), max(0, frames - WHOLE)]
    for q in range(frames + 1):  # blk(p) ≤ blk(q) ≤ blk(p) + visible; the token is a target row
        block_q = min(q // BLOCK, num_blocks)
        for p in range(frames + 1):
            block_p = min(p // BLOCK, num_blocks)
            assert rows.mask[q, p] == (block_p <= block_q <= block_p + visible_blocks)


def test_first_rows_are_the_maps_written_out() -> None:
    decoder, oracle = tiny_decoder(), tiny_outpaint().oracle
    frame = tiny_latents(1, 1)
    x = frame[0, 0]
    clean = decoder.input_clean.weight @ torch.cat([torch.ones(1, dtype=x.dtype), x])
    noisy = decoder.input_noisy.weight @ (x + decoder.input_residual.weight @ x)
    assert_identity(oracle.clean_rows(frame)[0, 0], clean)
    assert_identity(oracle.noisy_rows(frame)[0, 0], noisy)


def test_window_of_two_blocks_makes_encoder_decoder_and_block_causal_one() -> None:
    geometry = replace(WINDOW, context_frames=BLOCK)
    history, prompt = tiny_latents(2, BLOCK), tiny_conditioning(2)
    noise = seeded(1, 3, 2, BLOCK, TINY.latent_channels)
    blocks = [
        make(PINGPONG, geometry=geometry).oracle.block(noise, history, prompt)
        for make in (tiny_encoder_decoder, tiny_block_causal)
    ]
    assert_identity(*blocks)


@pytest.mark.parametrize("scheme", ["outpaint", "encoder-decoder"])
def test_window_oracles_hear_the_newest_window_alone(scheme: str) -> None:
    oracle = TINY_SCHEMES[scheme]().oracle
    history, prompt, noise = tiny_latents(2, 7 * BLOCK), tiny_conditioning(2), noise_of(oracle)
    expected = oracle.block(noise, history[:, -CONTEXT:], prompt)
    assert torch.equal(oracle.block(noise, history, prompt), expected)
    nearer = history.clone()
    nearer[:, -CONTEXT] += 1
    assert_no_identity(oracle.block(noise, nearer, prompt), expected)


def test_block_causal_oracle_hears_beyond_its_sight_through_its_layers() -> None:
    history, prompt = tiny_latents(2, 7 * BLOCK), tiny_conditioning(2)
    other = history.clone()
    other[:, : 2 * BLOCK] += 1  # blocks 0 and 1; the target, block 7, sees 3 … 6
    for config, is_heard in ((TINY, True), (SHALLOW, False)):
        oracle = tiny_block_causal(EULER, config).oracle
        noise = noise_of(oracle)[:, :, -BLOCK:]
        blocks = [oracle.block(noise, one, prompt) for one in (history, other)]
        if is_heard:
            assert_no_identity(*blocks)
        else:
            assert torch.equal(*blocks)


@EACH_SCHEME
def test_guidance_scale_0_is_the_unguided_oracle_without_text(scheme: str) -> None:
    sigmas = linear_sigmas(2)
    history, prompt = tiny_latents(2, CONTEXT), tiny_conditioning(2)
    guided = TINY_SCHEMES[scheme](euler_sampler(sigmas, 0.0)).oracle
    plain = TINY_SCHEMES[scheme](euler_sampler(sigmas)).oracle
    noise = noise_of(plain)
    silent = Conditioning(torch.zeros_like(prompt.text), prompt.seconds)
    assert_identity(guided.block(noise, history, prompt), plain.block(noise, history, silent))


@EACH_SCHEME
def test_oracle_computes_in_the_dtype_asked_for(scheme: str) -> None:
    made = TINY_SCHEMES[scheme](GUIDED, dtype=torch.float32)
    history, prompt = tiny_latents(2, CONTEXT), tiny_conditioning(2)
    noise = noise_of(made.oracle)
    truth = made.oracle.block(noise, history, prompt)
    narrow = made.same_dtype_oracle.block(noise, history, prompt)
    assert (truth.dtype, narrow.dtype) == (torch.float64, torch.float32)
    assert_no_identity(narrow.double(), truth)


def test_oracles_say_which_pass_they_are() -> None:
    names = {one.name for one in (OutpaintOracle, EncoderDecoderOracle, BlockCausalOracle)}
    assert len(names) == 3
    assert "whole history" in BlockCausalOracle.name


def test_scheme_without_rows_is_no_oracle() -> None:
    oracle = Oracle(tiny_decoder(), WINDOW, EULER)
    with pytest.raises(NotImplementedError):
        oracle.block(noise_of(oracle), tiny_latents(2, CONTEXT), tiny_conditioning(2))
