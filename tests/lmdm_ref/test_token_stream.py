"""What the LMMs share; each scheme's contract is in the test of its own file."""

from dataclasses import replace

import pytest
import torch

from lmdm_ref.lmm_presets import MRT1_TINY, MRT2_TINY
from lmdm_ref.token_stream import check_codes, token_noise
from lmm_helpers import (
    TINY_TOKEN_SCHEMES,
    random_codes,
    recorded_logits,
    tiny_control,
    tiny_lmm_encoder_decoder,
    tiny_lmm_frame_wise,
    tiny_tokens,
)

EACH_SCHEME = pytest.mark.parametrize("scheme", TINY_TOKEN_SCHEMES)
CODEBOOK = MRT1_TINY.codebook_size


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@EACH_SCHEME
def test_noise_has_a_number_for_each_code_that_could_be_chosen(scheme: str) -> None:
    stream = TINY_TOKEN_SCHEMES[scheme]().stream
    geometry = stream.geometry
    noise = token_noise(stream, 2, generator())
    assert noise.shape == (geometry.block_frames, geometry.num_levels, 2, CODEBOOK)
    assert noise.dtype == torch.float32
    assert torch.equal(token_noise(stream, 2, generator()), noise)
    assert not torch.equal(token_noise(stream, 2, generator(1)), noise)
    assert token_noise(stream, 2, generator(), torch.float64).dtype == torch.float64


def test_noise_follows_the_geometry_and_not_the_preset() -> None:
    geometry = replace(MRT2_TINY.geometry, block_frames=7, num_levels=2)
    stream = tiny_lmm_frame_wise(geometry=geometry).stream
    assert token_noise(stream, 1, generator()).shape == (7, 2, 1, CODEBOOK)


@EACH_SCHEME
def test_block_is_its_frames_made_one_at_a_time(scheme: str) -> None:
    stream = TINY_TOKEN_SCHEMES[scheme]().stream
    geometry = stream.geometry
    context = tiny_tokens(stream, 2, geometry.context_frames)
    state = stream.prefill(context, tiny_control(stream.model.config, 2))
    noise = token_noise(stream, 2, generator())
    block = stream.generate(noise, state.clone())
    assert block.shape == (2, geometry.block_frames, geometry.num_levels)
    assert int(block.min()) >= 0 and int(block.max()) < CODEBOOK

    stream.encode_context(state)
    with recorded_logits(stream) as given:
        frames = stream.frames(noise, state)
        assert not given
        for frame in range(geometry.block_frames):
            assert torch.equal(next(frames), block[:, frame])
            assert len(given) == (frame + 1) * geometry.num_levels
        assert not list(frames)


@EACH_SCHEME
def test_same_generator_makes_the_same_blocks_and_another_others(scheme: str) -> None:
    stream = TINY_TOKEN_SCHEMES[scheme]().stream
    context = tiny_tokens(stream, 1, stream.geometry.context_frames)
    control = tiny_control(stream.model.config, 1)
    blocks = [
        stream.generate(token_noise(stream, 1, generator(seed)), stream.prefill(context, control))
        for seed in (3, 3, 4)
    ]
    assert torch.equal(blocks[0], blocks[1])
    assert not torch.equal(blocks[0], blocks[2])


def test_check_lets_any_length_pass_where_none_is_named() -> None:
    stream = tiny_lmm_frame_wise().stream
    for frames in (0, 1, 9):
        stream.check(tiny_tokens(stream, 2, frames), 2, None)
    with pytest.raises(ValueError, match=r"expected tokens \[2, 9, 4\], got \[2, 8, 4\]"):
        stream.check(tiny_tokens(stream, 2, 8), 2, 9)
    with pytest.raises(ValueError, match=r"expected tokens \[1, 9, 4\], got \[2, 9, 4\]"):
        stream.check(tiny_tokens(stream, 2, 9), 1, None)


@pytest.mark.parametrize("wrong", [-1, CODEBOOK])
def test_check_refuses_codes_that_no_level_has(wrong: int) -> None:
    stream = tiny_lmm_encoder_decoder().stream
    tokens = tiny_tokens(stream, 2, 6)
    tokens[0, 1, 2] = wrong
    with pytest.raises(ValueError, match="tokens must be codes 0 … 15 of their level"):
        stream.check(tokens, 2, 6)


def test_tokens_without_storage_pass_by_their_shape() -> None:
    """Costs are counted on the meta device, where there are no numbers to look at."""
    stream = tiny_lmm_encoder_decoder().stream
    stream.check(tiny_tokens(stream, 2, 6).to("meta"), 2, 6)
    check_codes("style code", torch.empty(2, 3, dtype=torch.long, device="meta"), 2, (4, 4, 4))


def test_codes_are_checked_column_by_column() -> None:
    sizes = (4, 9, 2)
    codes = random_codes(list(sizes), 50)
    check_codes("style code", codes, 50, sizes)
    for column, size in enumerate(sizes):
        for wrong in (-1, size):
            bad = codes.clone()
            bad[7, column] = wrong
            expected = f"style code {column} must be 0 … {size - 1}, got {wrong}"
            with pytest.raises(ValueError, match=expected):
                check_codes("style code", bad, 50, sizes)
    with pytest.raises(ValueError, match=r"expected style codes \[50, 2\], got \[50, 3\]"):
        check_codes("style code", codes, 50, (4, 9))
