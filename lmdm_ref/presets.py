"""How big the models are: decoder and codec sizes by name (no torch).

Figures: the configurations that Stable Audio Open Small, Stable Audio Open 1.0 and their Oobleck
codec are published with (``checkpoint.py`` maps the names of stable-audio-tools to ours).
"""

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """A diffusion transformer's sizes, complete: nothing has a default.

    ``text_width`` is the width of the text tokens as they come in, ``cross_width`` that of the
    cross-attention's keys and values (it sets their number of heads), ``seconds_width`` that of the
    global conditioning vector, ``sigma_features`` the size of the noise level's Fourier embedding.
    """

    latent_channels: int
    width: int
    depth: int
    num_heads: int
    rotary_dims: int
    rotary_base: float
    qk_norm: Literal["layer", "none"]
    text_tokens: int
    text_width: int
    cross_width: int
    seconds_width: int
    sigma_features: int
    feed_forward_width: int

    @property
    def head_dim(self) -> int:
        return self.width // self.num_heads

    @property
    def num_cross_heads(self) -> int:
        """Cross-attention's key and value heads; fewer than ``num_heads``: grouped queries."""
        return self.cross_width // self.head_dim

    def __post_init__(self) -> None:
        if self.width % self.num_heads:
            raise ValueError(f"width {self.width} is not a whole number of {self.num_heads} heads")
        if self.cross_width % self.head_dim or self.num_heads % self.num_cross_heads:
            raise ValueError(
                f"cross_width {self.cross_width} gives no whole group of heads of {self.head_dim}"
            )
        if self.rotary_dims % 2 or not 0 < self.rotary_dims <= self.head_dim:
            raise ValueError(
                f"rotary_dims {self.rotary_dims} is not an even part of head_dim {self.head_dim}"
            )


# What every Oobleck autoencoder has: the kernels of its ends, and the residual units of a block.
OOBLECK_ENDS_KERNEL = 7
OOBLECK_LATENT_KERNEL = 3
OOBLECK_UNIT_KERNEL = 7
OOBLECK_UNIT_DILATIONS = (1, 3, 9)


@dataclass(frozen=True, kw_only=True)
class CodecConfig:
    """An Oobleck autoencoder's sizes. ``strides`` go from the samples to the frames."""

    sample_rate_hz: int
    audio_channels: int
    latent_channels: int
    base_channels: int
    channel_multiples: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels before the first block, then after each, from the samples to the frames."""
        return tuple(self.base_channels * multiple for multiple in (1, *self.channel_multiples))

    @property
    def samples_per_frame(self) -> int:
        product = 1
        for stride in self.strides:
            product *= stride
        return product

    def __post_init__(self) -> None:
        if len(self.channel_multiples) != len(self.strides):
            raise ValueError(
                f"{len(self.channel_multiples)} channel multiples for {len(self.strides)} strides"
            )


SAO_SMALL = DecoderConfig(
    latent_channels=64,
    width=1024,
    depth=16,
    num_heads=8,
    rotary_dims=64,
    rotary_base=10_000.0,
    qk_norm="layer",
    text_tokens=65,
    text_width=768,
    cross_width=1024,
    seconds_width=768,
    sigma_features=256,
    feed_forward_width=4096,
)

SAO_1_0 = DecoderConfig(
    latent_channels=64,
    width=1536,
    depth=24,
    num_heads=24,
    rotary_dims=32,
    rotary_base=10_000.0,
    qk_norm="none",
    text_tokens=130,
    text_width=768,
    cross_width=768,
    seconds_width=1536,
    sigma_features=256,
    feed_forward_width=6144,
)

TINY = replace(
    SAO_SMALL,
    latent_channels=8,
    width=32,
    depth=2,
    num_heads=2,
    rotary_dims=8,
    text_tokens=5,
    text_width=24,
    cross_width=16,
    seconds_width=24,
    sigma_features=16,
    feed_forward_width=64,
)

OOBLECK = CodecConfig(
    sample_rate_hz=44_100,
    audio_channels=2,
    latent_channels=64,
    base_channels=128,
    channel_multiples=(1, 2, 4, 8, 16),
    strides=(2, 4, 4, 8, 8),
)

TINY_OOBLECK = replace(
    OOBLECK, latent_channels=8, base_channels=4, channel_multiples=(1, 2), strides=(8, 8)
)


@dataclass(frozen=True)
class Preset:
    """A decoder and the codec whose latents it denoises."""

    decoder: DecoderConfig
    codec: CodecConfig


PRESETS = {
    "sao-small": Preset(SAO_SMALL, OOBLECK),
    "sao-1.0": Preset(SAO_1_0, OOBLECK),
    "tiny": Preset(TINY, TINY_OOBLECK),
}
