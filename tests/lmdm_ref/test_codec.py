from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from helpers import assert_identity, assert_within_budget, seeded
from lmdm_ref import codec as codec_module
from lmdm_ref.codec import (
    Codec,
    Convolution,
    OobleckDecoder,
    OobleckEncoder,
    SnakeBeta,
    Upsampling,
    random_codec,
)
from lmdm_ref.presets import OOBLECK, TINY_OOBLECK, CodecConfig

HOP = TINY_OOBLECK.samples_per_frame
# A sixteenth of the width, all of the depth.
NARROW_OOBLECK = replace(OOBLECK, base_channels=8, latent_channels=4)


@pytest.fixture
def codec() -> Codec:
    return random_codec(TINY_OOBLECK, seed=0, dtype=torch.float64, device="cpu")


def latents(batch: int, frames: int, seed: int = 1) -> Tensor:
    return seeded(seed, batch, frames, TINY_OOBLECK.latent_channels)


def audio(batch: int, frames: int, seed: int = 2) -> Tensor:
    return 0.1 * seeded(seed, batch, TINY_OOBLECK.audio_channels, frames * HOP)


@contextmanager
def nan_in_unset_memory() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)  # also fills what torch.empty returns
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


# The whole computation once more, by the definitions: sums over taps, no tiles, nothing in place.


def plain_snake(snake: SnakeBeta, signal: Tensor) -> Tensor:
    alpha, beta = snake.alpha.exp()[:, None], snake.beta.exp()[:, None]
    return signal + (signal * alpha).sin() ** 2 / (beta + 1e-9)


def plain_convolution(convolution: Convolution, signal: Tensor, dilation: int = 1) -> Tensor:
    """out[t] = bias + Σ weight[tap] · signal[stride·t + dilation·tap − padding]."""
    kernel, stride = convolution.weight.shape[-1], convolution.stride
    padding = stride // 2 if stride > 1 else dilation * (kernel - 1) // 2
    num_out = signal.shape[-1] // stride
    out = torch.zeros(signal.shape[0], convolution.weight.shape[0], num_out, dtype=signal.dtype)
    for step in range(num_out):
        for tap in range(kernel):
            source = stride * step + dilation * tap - padding
            if 0 <= source < signal.shape[-1]:
                out[..., step] += signal[..., source] @ convolution.weight[..., tap].T
    return out if convolution.bias is None else out + convolution.bias[:, None]


def plain_upsampling(upsampling: Upsampling, signal: Tensor) -> Tensor:
    """out[stride·t + tap − stride/2] += kernel[tap] · signal[t]."""
    stride, channels_out = upsampling.stride, upsampling.bias.shape[0]
    num_out = signal.shape[-1] * stride
    halves = upsampling.weight.reshape(2, channels_out, stride, -1)
    out = upsampling.bias[:, None].repeat(signal.shape[0], 1, num_out)
    for step in range(signal.shape[-1]):
        for tap in range(2 * stride):
            place = stride * step + tap - stride // 2
            if 0 <= place < num_out:
                out[..., place] += signal[..., step] @ halves[tap // stride, :, tap % stride].T
    return out


def plain_units(units: nn.Sequential, signal: Tensor) -> Tensor:
    unit: Any
    for unit, dilation in zip(units, (1, 3, 9), strict=True):
        inner = plain_convolution(unit.wide, plain_snake(unit.wide_activation, signal), dilation)
        signal = signal + plain_convolution(unit.point, plain_snake(unit.point_activation, inner))
    return signal


def plain_encode(encoder: OobleckEncoder, samples: Tensor) -> Tensor:
    signal = plain_convolution(encoder.input, samples)
    block: Any
    for block in encoder.blocks:
        signal = plain_units(block.units, signal)
        signal = plain_convolution(block.downsample, plain_snake(block.activation, signal))
    return plain_convolution(encoder.output, plain_snake(encoder.activation, signal))


def plain_decode(decoder: OobleckDecoder, latents: Tensor) -> Tensor:
    signal = plain_convolution(decoder.input, latents)
    block: Any
    for block in decoder.blocks:
        signal = plain_upsampling(block.upsample, plain_snake(block.activation, signal))
        signal = plain_units(block.units, signal)
    return plain_convolution(decoder.output, plain_snake(decoder.activation, signal))


def test_decode_is_the_sum_over_taps_of_every_layer(codec: Codec) -> None:
    frames = latents(2, 3)
    assert_identity(codec.decode(frames), plain_decode(codec.decoder, frames.mT))


def test_encode_is_the_first_half_of_the_sum_over_taps_of_every_layer(codec: Codec) -> None:
    samples = audio(2, 3)
    means = plain_encode(codec.encoder, samples)[:, : TINY_OOBLECK.latent_channels]
    assert_identity(codec.encode(samples), means.mT)


def test_the_encoder_gives_means_and_scales(codec: Codec) -> None:
    samples = audio(1, 2)
    posterior = codec.encoder(samples)
    assert posterior.shape == (1, 2 * TINY_OOBLECK.latent_channels, 2)
    assert_identity(posterior, plain_encode(codec.encoder, samples))
    assert torch.equal(codec.encode(samples), posterior.chunk(2, dim=1)[0].mT)


@pytest.mark.parametrize("stride", [2, 4, 8])
@pytest.mark.parametrize("steps", [1, 5])
def test_upsampling_is_a_transposed_convolution(stride: int, steps: int) -> None:
    upsampling, snake = Upsampling(3, 5, stride), SnakeBeta(3)
    kernel, bias = seeded(1, 3, 5, 2 * stride), seeded(2, 5)
    snake.alpha.data, snake.beta.data = seeded(3, 3), seeded(4, 3)
    rows = kernel.reshape(3, 5, 2, stride).permute(2, 1, 3, 0)
    upsampling.weight.data, upsampling.bias.data = rows.reshape(-1, 3), bias
    signal = seeded(5, 2, 3, steps)
    expected = functional.conv_transpose1d(
        plain_snake(snake, signal), kernel, bias, stride=stride, padding=stride // 2
    )
    assert_identity(upsampling.after(snake, signal), expected)


@pytest.mark.parametrize("tile_elements", [1, 40, 1000])
def test_tiles_of_any_size_give_what_one_tile_gives(
    codec: Codec, monkeypatch: pytest.MonkeyPatch, tile_elements: int
) -> None:
    frames, samples = latents(2, 3), audio(2, 3)
    decoded, encoded = codec.decode(frames), codec.encode(samples)
    monkeypatch.setattr(codec_module, "TILE_ELEMENTS", tile_elements)
    assert_identity(codec.decode(frames), decoded)
    assert_identity(codec.encode(samples), encoded)


@pytest.mark.parametrize("tile_elements", [40, codec_module.TILE_ELEMENTS])
def test_unset_memory_is_never_read(
    codec: Codec, monkeypatch: pytest.MonkeyPatch, tile_elements: int
) -> None:
    monkeypatch.setattr(codec_module, "TILE_ELEMENTS", tile_elements)
    with nan_in_unset_memory():
        assert torch.empty(1).isnan().all()
        assert codec.decode(latents(1, 2)).isfinite().all()
        assert codec.encode(audio(1, 2)).isfinite().all()


def test_rows_of_a_batch_do_not_influence_each_other(codec: Codec) -> None:
    frames, samples = latents(3, 2), audio(3, 2)
    decoded, encoded = codec.decode(frames), codec.encode(samples)
    frames[1], samples[1] = torch.nan, torch.nan
    others = [0, 2]
    assert_identity(codec.decode(frames)[others], decoded[others])
    assert_identity(codec.encode(samples)[others], encoded[others])


def test_what_is_passed_in_is_not_changed(codec: Codec) -> None:
    frames, samples = latents(1, 2), audio(1, 2)
    frames_before, samples_before = frames.clone(), samples.clone()
    codec.decode(frames)
    codec.encode(samples)
    assert torch.equal(frames, frames_before)
    assert torch.equal(samples, samples_before)


def test_lengths_go_by_samples_per_frame(codec: Codec) -> None:
    assert HOP == 64
    assert codec.decode(latents(2, 5)).shape == (2, 2, 5 * HOP)
    assert codec.encode(audio(2, 5)).shape == (2, 5, TINY_OOBLECK.latent_channels)


def test_inference_mode_and_enabled_gradients_give_the_same(codec: Codec) -> None:
    frames = latents(1, 2)
    expected = codec.decode(frames)
    with torch.inference_mode():
        assert torch.equal(codec.decode(frames), expected)
    with torch.enable_grad():
        decoded = codec.decode(frames.clone().requires_grad_())
    assert torch.equal(decoded, expected)
    assert not decoded.requires_grad
    assert not any(parameter.requires_grad for parameter in codec.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_lower_precision_errs_no_more_than_plain_layers(dtype: torch.dtype) -> None:
    low = random_codec(TINY_OOBLECK, seed=0, dtype=dtype, device="cpu")
    truth = random_codec(TINY_OOBLECK, seed=0, dtype=dtype, device="cpu").double()
    frames, samples = latents(1, 3).to(dtype), audio(1, 3).to(dtype)
    assert_within_budget(
        low.decode(frames),
        plain_decode(low.decoder, frames.mT),
        plain_decode(truth.decoder, frames.mT.double()),
    )
    assert_within_budget(
        low.encoder(samples),
        plain_encode(low.encoder, samples),
        plain_encode(truth.encoder, samples.double()),
    )


@pytest.mark.parametrize("num_samples", [0, 1, HOP - 1, 2 * HOP + 1])
def test_audio_that_is_no_whole_number_of_frames_is_refused(codec: Codec, num_samples: int) -> None:
    with pytest.raises(ValueError, match=f"{num_samples} samples are not a whole number of frames"):
        codec.encode(torch.zeros(1, 2, num_samples, dtype=torch.float64))


def test_wrong_channels_are_refused(codec: Codec) -> None:
    with pytest.raises(ValueError, match="audio has 1 channels, the codec 2"):
        codec.encode(torch.zeros(1, 1, HOP, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"3 frames and 7 channels .* at least one frame and 8"):
        codec.decode(torch.zeros(1, 3, 7, dtype=torch.float64))


def test_no_frames_cannot_be_decoded(codec: Codec) -> None:
    with pytest.raises(ValueError, match="latents of 0 frames"):
        codec.decode(latents(1, 0))


@pytest.mark.parametrize("stride", [1, 3])
def test_odd_strides_are_refused(stride: int) -> None:
    with pytest.raises(ValueError, match=f"strides must be even, one is {stride}"):
        Codec(replace(TINY_OOBLECK, strides=(8, stride)))


@pytest.mark.parametrize("config", [TINY_OOBLECK, NARROW_OOBLECK], ids=["tiny", "narrow"])
def test_random_codec_makes_audible_audio_and_ordinary_latents(config: CodecConfig) -> None:
    codec = random_codec(config, seed=3, dtype=torch.float32, device="cpu")
    frames = seeded(1, 1, 24, config.latent_channels).float()
    decoded = codec.decode(frames)
    assert decoded.isfinite().all()
    assert 0.05 <= decoded.square().mean().sqrt() <= 0.3
    noise = 0.1 * seeded(2, 1, config.audio_channels, 24 * config.samples_per_frame).float()
    assert 0.3 <= codec.encode(noise).std() <= 3


def test_a_seed_names_one_codec() -> None:
    one, same, other = (
        random_codec(TINY_OOBLECK, seed, torch.float64, "cpu").state_dict() for seed in (0, 0, 1)
    )
    assert all(torch.equal(one[name], same[name]) for name in one)
    drawn = [name for name in one if not name.endswith("bias")]
    assert not any(torch.equal(one[name], other[name]) for name in drawn)


def test_a_seed_names_the_same_codec_in_every_dtype() -> None:
    wide = random_codec(TINY_OOBLECK, 0, torch.float32, "cpu").state_dict()
    half = random_codec(TINY_OOBLECK, 0, torch.bfloat16, "cpu").state_dict()
    assert all(torch.equal(half[name], wide[name].bfloat16()) for name in wide)


@pytest.mark.gpu
def test_a_gpu_decodes_what_the_cpu_decodes() -> None:
    frames, samples = latents(2, 3), audio(2, 3)
    here = random_codec(TINY_OOBLECK, 0, torch.float64, "cpu")
    there = random_codec(TINY_OOBLECK, 0, torch.float64, "cuda")
    assert_identity(there.decode(frames.cuda()).cpu(), here.decode(frames))
    assert_identity(there.encode(samples.cuda()).cpu(), here.encode(samples))
