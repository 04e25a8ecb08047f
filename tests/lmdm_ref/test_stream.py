"""What the schemes share; each scheme's contract is in the test of its own file."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from helpers import (
    GUIDED,
    PINGPONG,
    TINY_SCHEMES,
    WINDOW,
    assert_identity,
    seeded,
    tiny_conditioning,
    tiny_encoder_decoder,
    tiny_latents,
    tiny_outpaint,
)
from lmdm_ref.conditioning import Conditioning
from lmdm_ref.presets import TINY
from lmdm_ref.stream import PromptPolicy, Stream, block_noise, stream_blocks
from lmdm_ref.token_stream import token_noise
from lmm_helpers import TINY_TOKEN_SCHEMES, tiny_control, tiny_tokens

EACH_SCHEME = pytest.mark.parametrize("scheme", TINY_SCHEMES)
BLOCK, CONTEXT, CHANNELS = WINDOW.block_frames, WINDOW.context_frames, TINY.latent_channels


class CountingStream:
    """A stream without a model: block n is full of n, and the state is what was heard."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def prefill(self, context: Tensor, conditioning: Conditioning) -> int:
        return 0

    def generate(self, noise: Tensor, state: int) -> Tensor:
        self.calls.append(f"generate {state}")
        return noise[0] + state

    def commit(self, block: Tensor, state: int) -> int:
        self.calls.append(f"commit {block.max():.0f}")
        return state + 1


def test_each_next_makes_and_commits_exactly_one_block() -> None:
    stream = CountingStream()
    noises = torch.zeros(3, 1, 1, BLOCK, CHANNELS)
    blocks = stream_blocks(stream, 0, noises.unbind())
    assert stream.calls == []
    assert next(blocks).max() == 0
    # The caller has block 0 and pulls again: only then is anything else made.
    assert stream.calls == ["generate 0", "commit 0"]
    assert next(blocks).max() == 1
    assert stream.calls == ["generate 0", "commit 0", "generate 1", "commit 1"]
    assert len(list(blocks)) == 1


def test_generator_takes_noise_only_when_it_needs_it() -> None:
    drawn: list[int] = []

    def noises() -> Iterator[Tensor]:
        while True:
            drawn.append(len(drawn))
            yield torch.zeros(1, 1, BLOCK, CHANNELS)

    blocks = stream_blocks(CountingStream(), 0, noises())
    next(blocks)
    next(blocks)
    assert drawn == [0, 1]


@EACH_SCHEME
def test_scheme_is_a_stream(scheme: str) -> None:
    assert isinstance(TINY_SCHEMES[scheme]().stream, Stream)


@EACH_SCHEME
def test_noise_has_a_draw_for_each_that_the_sampler_uses(scheme: str) -> None:
    stream = TINY_SCHEMES[scheme](PINGPONG).stream
    noise = block_noise(stream, 2, torch.Generator().manual_seed(0))
    assert noise.shape == (3, 2, stream.noise_frames, CHANNELS)
    assert noise.dtype == torch.float32
    again = block_noise(stream, 2, torch.Generator().manual_seed(0))
    assert torch.equal(again, noise)
    assert stream.target_noise(noise).shape == (3, 2, BLOCK, CHANNELS)
    assert torch.equal(stream.target_noise(noise), noise[:, :, -BLOCK:])


def test_only_outpainting_takes_noise_for_the_context() -> None:
    frames = {name: make().stream.noise_frames for name, make in TINY_SCHEMES.items()}
    assert frames == {"outpaint": CONTEXT + BLOCK, "encoder-decoder": BLOCK, "block-causal": BLOCK}


def test_guidance_gives_the_model_each_listener_twice_with_and_without_text() -> None:
    stream = tiny_encoder_decoder(GUIDED).stream
    clean, prompt = tiny_latents(2, CONTEXT), tiny_conditioning(2)
    assert torch.equal(stream.for_each_copy(clean), torch.cat([clean, clean]))
    encoded = stream.encode_prompt(prompt)
    silent = Conditioning(torch.zeros_like(prompt.text), prompt.seconds)
    for copy, rows in ((prompt, slice(0, 2)), (silent, slice(2, 4))):
        expected = stream.decoder.encode_conditioning(copy)
        assert_identity(encoded.seconds[rows], expected.seconds)
        for (key, value), (only_key, only_value) in zip(encoded.text, expected.text, strict=True):
            assert_identity(key[rows], only_key)
            assert_identity(value[rows], only_value)


def test_without_guidance_nothing_is_doubled() -> None:
    stream = tiny_encoder_decoder().stream
    clean = tiny_latents(2, CONTEXT)
    assert stream.for_each_copy(clean) is clean
    assert stream.encode_prompt(tiny_conditioning(2)).batch == 2


@EACH_SCHEME
@pytest.mark.parametrize(
    ("shape", "prompts"),
    [
        ((2, CONTEXT, CHANNELS + 1), 2),
        ((2, CONTEXT, CHANNELS), 3),
        ((2, CONTEXT - 1, CHANNELS), 2),
        ((2, 0, CHANNELS), 2),
    ],
    ids=["channels", "batch", "partial block", "nothing"],
)
def test_context_that_does_not_fit_is_refused_in_a_sentence(
    scheme: str, shape: tuple[int, ...], prompts: int
) -> None:
    stream = TINY_SCHEMES[scheme]().stream
    reason = r"expected latents .* got|whole number of 3-frame blocks"
    with pytest.raises(ValueError, match=reason):
        stream.prefill(seeded(0, *shape), tiny_conditioning(prompts))


@EACH_SCHEME
@pytest.mark.parametrize(
    "shape",
    [
        (2, BLOCK, CHANNELS - 1),
        (1, BLOCK, CHANNELS),
        (2, BLOCK - 1, CHANNELS),
        (2, 2 * BLOCK, CHANNELS),
    ],
    ids=["channels", "batch", "part of a block", "two blocks"],
)
def test_block_that_does_not_fit_is_refused_in_a_sentence(
    scheme: str, shape: tuple[int, ...]
) -> None:
    stream = TINY_SCHEMES[scheme]().stream
    state = stream.prefill(tiny_latents(2, CONTEXT), tiny_conditioning(2))
    expected = rf"expected latents \[2, {BLOCK}, {CHANNELS}\], got \[{', '.join(map(str, shape))}\]"
    with pytest.raises(ValueError, match=expected):
        stream.commit(seeded(0, *shape), state)


def test_prompt_policies_have_the_names_that_records_use() -> None:
    assert {policy.value for policy in PromptPolicy} == {"keep", "re-encode"}


def test_generator_needs_no_more_than_the_three_verbs_of_a_real_stream() -> None:
    stream = tiny_outpaint().stream
    state = stream.prefill(tiny_latents(1, CONTEXT), tiny_conditioning(1))
    generator = torch.Generator().manual_seed(0)
    noises = (block_noise(stream, 1, generator, torch.float64) for _ in range(2))
    assert [block.shape for block in stream_blocks(stream, state, noises)] == [
        (1, BLOCK, CHANNELS)
    ] * 2


@pytest.mark.parametrize("scheme", TINY_TOKEN_SCHEMES)
def test_lmm_is_a_stream_too_and_its_blocks_are_tokens(scheme: str) -> None:
    stream = TINY_TOKEN_SCHEMES[scheme]().stream
    assert isinstance(stream, Stream)
    geometry = stream.geometry
    context = tiny_tokens(stream, 1, geometry.context_frames)
    state = stream.prefill(context, tiny_control(stream.model.config, 1))
    generator = torch.Generator().manual_seed(0)
    noises = (token_noise(stream, 1, generator) for _ in range(2))
    for block in stream_blocks(stream, state, noises):
        assert block.shape == (1, geometry.block_frames, geometry.num_levels)
        assert block.dtype == torch.int64
