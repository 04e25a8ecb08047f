from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lmdm_ref.codec import Codec
from lmdm_ref.codec_cost import codec_parameters, decode_flops, encode_flops
from lmdm_ref.presets import OOBLECK, TINY_OOBLECK, CodecConfig

MONO = replace(
    OOBLECK, audio_channels=1, base_channels=6, channel_multiples=(2, 3), strides=(4, 10)
)
CONFIGS = {"oobleck": OOBLECK, "tiny": TINY_OOBLECK, "mono": MONO}

configs = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


def weightless_codec(config: CodecConfig) -> Codec:
    with torch.device("meta"):
        return Codec(config)


@configs
@pytest.mark.parametrize("frames", [1, 48])
def test_decode_flops_are_what_torch_counts(config: CodecConfig, frames: int) -> None:
    latents = torch.empty(1, frames, config.latent_channels, device="meta")
    with FlopCounterMode(display=False) as counter:
        weightless_codec(config).decode(latents)
    assert decode_flops(config, frames) == counter.get_total_flops()


@configs
@pytest.mark.parametrize("frames", [1, 48])
def test_encode_flops_are_what_torch_counts(config: CodecConfig, frames: int) -> None:
    num_samples = frames * config.samples_per_frame
    samples = torch.empty(1, config.audio_channels, num_samples, device="meta")
    with FlopCounterMode(display=False) as counter:
        weightless_codec(config).encode(samples)
    assert encode_flops(config, frames) == counter.get_total_flops()


def test_tiles_on_a_cpu_do_not_change_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = weightless_codec(TINY_OOBLECK).to_empty(device="cpu")
    monkeypatch.setattr("lmdm_ref.codec.TILE_ELEMENTS", 40)
    with FlopCounterMode(display=False) as counter:
        codec.decode(torch.zeros(1, 3, TINY_OOBLECK.latent_channels))
    assert decode_flops(TINY_OOBLECK, 3) == counter.get_total_flops()


@configs
def test_parameters_are_those_of_the_module(config: CodecConfig) -> None:
    codec = weightless_codec(config)
    assert codec_parameters(config) == sum(one.numel() for one in codec.parameters())


def test_flops_are_proportional_to_frames() -> None:
    assert decode_flops(OOBLECK, 48) == 48 * decode_flops(OOBLECK, 1)
    assert encode_flops(OOBLECK, 48) == 48 * encode_flops(OOBLECK, 1)


def test_a_block_of_48_frames_takes_242_gigaflops_each_way() -> None:
    assert decode_flops(OOBLECK, 48) / 1e9 == pytest.approx(242, abs=0.1)
    assert encode_flops(OOBLECK, 48) / 1e9 == pytest.approx(242, abs=0.1)


def test_the_published_codec_has_156_million_parameters() -> None:
    assert codec_parameters(OOBLECK) == 156_077_696
