"""Latents to samples and back: the Oobleck autoencoder of Stable Audio Open.

What is computed is the published autoencoder's encoder and decoder, for the variant with SnakeBeta
activations and no final tanh (``tests/parity/test_codec_parity.py`` holds it to that package). How
it is computed differs in three exact rewrites:

- weight norm is folded into the weights when a checkpoint is read (``checkpoint.py``);
- a transposed convolution whose kernel is two strides long is one matrix product, after which each
  frame adds its second half to the next frame's first half;
- on a CPU an activation and the convolution after it walk the samples in tiles. Half of decoding
  happens at the full sample rate, where a tensor for two seconds of audio takes 50 MB in float32:
  temporaries of that size fall out of the last cache, and the allocator maps and clears fresh pages
  for each one.

Everything here is inference: parameters take no gradient, and hidden states are updated in place.
"""

from collections.abc import Iterator

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lmdm_ref.presets import (
    OOBLECK_ENDS_KERNEL,
    OOBLECK_LATENT_KERNEL,
    OOBLECK_UNIT_DILATIONS,
    OOBLECK_UNIT_KERNEL,
    CodecConfig,
)

SNAKE_EPSILON = 1e-9

# 4 MiB of float32: a tile and its temporaries stay in a last cache, and a tile is still long enough
# that starting the threads for it is not felt. Decoding 48 frames on a 2-core EPYC (32 MiB cache)
# took the same time from 2**19 to 2**21 elements, and 20 % longer in float32 at 2**23.
TILE_ELEMENTS = 2**20


class Codec(nn.Module):
    """The two directions between samples and latents; see ``random_codec`` and ``checkpoint.py``.

    The weights are unset memory until a state is loaded. Strides must be even (ValueError): only
    then does a frame cover the same number of samples wherever it lies.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        for stride in config.strides:
            if stride < 2 or stride % 2:
                raise ValueError(f"codec strides must be even, one is {stride}")
        self.config = config
        self.encoder = OobleckEncoder(config)
        self.decoder = OobleckDecoder(config)

    @torch.no_grad()
    def encode(
        self, samples: Float[Tensor, "batch audio_channels samples"]
    ) -> Float[Tensor, "batch frames channels"]:
        """The latents of audio at ``config.sample_rate_hz``, full scale ±1.

        Returns the mean of the autoencoder's posterior, so equal audio gives equal latents; the
        published training and inpainting code draws around that mean instead. ValueError if the
        audio is not a whole number of frames.
        """
        _, audio_channels, num_samples = samples.shape
        if audio_channels != self.config.audio_channels:
            raise ValueError(
                f"audio has {audio_channels} channels, the codec {self.config.audio_channels}"
            )
        if num_samples == 0 or num_samples % self.config.samples_per_frame:
            raise ValueError(
                f"{num_samples} samples are not a whole number of frames of "
                f"{self.config.samples_per_frame} samples"
            )
        mean, _ = self.encoder(samples).chunk(2, dim=1)
        return rearrange(mean, "batch channels frames -> batch frames channels")

    @torch.no_grad()
    def decode(
        self, latents: Float[Tensor, "batch frames channels"]
    ) -> Float[Tensor, "batch audio_channels samples"]:
        """The audio of latents, ``samples_per_frame`` samples a frame, full scale ±1, not clipped.

        ValueError if there is no frame or the number of channels is not the codec's.
        """
        _, num_frames, latent_channels = latents.shape
        if num_frames == 0 or latent_channels != self.config.latent_channels:
            raise ValueError(
                f"latents of {num_frames} frames and {latent_channels} channels cannot be decoded, "
                f"expected at least one frame and {self.config.latent_channels} channels"
            )
        return self.decoder(rearrange(latents, "batch frames channels -> batch channels frames"))


def random_codec(config: CodecConfig, seed: int, dtype: torch.dtype, device: str) -> Codec:
    """A codec with seeded random weights: what it says is noise, what it costs is real.

    Gains are chosen so that unit-variance latents decode to audio of rms near 0.1, and audio of
    that level encodes to latents of variance near one. The draw is always float32 on the CPU, so a
    seed names the same codec on every device.
    """
    with torch.device("meta"):
        codec = Codec(config)
    generator = torch.Generator("cpu").manual_seed(seed)
    state = {
        name: _drawn(name, parameter.shape, config, generator).to(device=device, dtype=dtype)
        for name, parameter in codec.named_parameters()
    }
    codec.load_state_dict(state, assign=True)
    return codec.eval()


class OobleckEncoder(nn.Module):
    """Samples to the posterior of their latents: means in the first half of channels, then scales.

    The second half is the scale before its softplus, as the published encoder leaves it.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        widths = config.widths
        self.input = Convolution(config.audio_channels, widths[0], OOBLECK_ENDS_KERNEL)
        self.blocks = nn.Sequential(
            *(
                EncoderBlock(narrow, wide, stride)
                for narrow, wide, stride in zip(
                    widths[:-1], widths[1:], config.strides, strict=True
                )
            )
        )
        self.activation = SnakeBeta(widths[-1])
        self.output = Convolution(widths[-1], 2 * config.latent_channels, OOBLECK_LATENT_KERNEL)

    def forward(
        self, samples: Float[Tensor, "batch audio_channels samples"]
    ) -> Float[Tensor, "batch means_and_scales frames"]:
        hidden = self.blocks(self.input(samples))
        return self.output.after(self.activation, hidden)


class OobleckDecoder(nn.Module):
    """Latents, channels first, to samples."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        widths = config.widths[::-1]
        self.input = Convolution(config.latent_channels, widths[0], OOBLECK_ENDS_KERNEL)
        self.blocks = nn.Sequential(
            *(
                DecoderBlock(wide, narrow, stride)
                for wide, narrow, stride in zip(
                    widths[:-1], widths[1:], config.strides[::-1], strict=True
                )
            )
        )
        self.activation = SnakeBeta(widths[-1])
        self.output = Convolution(
            widths[-1], config.audio_channels, OOBLECK_ENDS_KERNEL, has_bias=False
        )

    def forward(
        self, latents: Float[Tensor, "batch channels frames"]
    ) -> Float[Tensor, "batch audio_channels samples"]:
        hidden = self.blocks(self.input(latents))
        return self.output.after(self.activation, hidden)


class EncoderBlock(nn.Module):
    """Three residual units, then ``stride`` times fewer and wider steps."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.units = nn.Sequential(*(ResidualUnit(channels_in, d) for d in OOBLECK_UNIT_DILATIONS))
        self.activation = SnakeBeta(channels_in)
        self.downsample = Convolution(channels_in, channels_out, 2 * stride, stride=stride)

    def forward(
        self, hidden: Float[Tensor, "batch channels_in long"]
    ) -> Float[Tensor, "batch channels_out short"]:
        return self.downsample.after(self.activation, self.units(hidden))


class DecoderBlock(nn.Module):
    """``stride`` times more and narrower steps, then three residual units."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.activation = SnakeBeta(channels_in)
        self.upsample = Upsampling(channels_in, channels_out, stride)
        self.units = nn.Sequential(*(ResidualUnit(channels_out, d) for d in OOBLECK_UNIT_DILATIONS))

    def forward(
        self, hidden: Float[Tensor, "batch channels_in short"]
    ) -> Float[Tensor, "batch channels_out long"]:
        return self.units(self.upsample.after(self.activation, hidden))


class ResidualUnit(nn.Module):
    """A wide and a pointwise convolution, each after an activation, added to the input in place."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.wide_activation = SnakeBeta(channels)
        self.wide = Convolution(channels, channels, OOBLECK_UNIT_KERNEL, dilation=dilation)
        self.point_activation = SnakeBeta(channels)
        self.point = Convolution(channels, channels, 1)

    def forward(
        self, hidden: Float[Tensor, "batch channels length"]
    ) -> Float[Tensor, "batch channels length"]:
        for start, stop, padded in _activated_tiles(self.wide_activation, hidden, self.wide):
            change = self.point.apply_to(self.point_activation(self.wide.apply_to(padded)))
            hidden[..., start:stop] += change
        return hidden


class SnakeBeta(nn.Module):
    """x + sin²(x·e^alpha) / e^beta, with an alpha and a beta per channel (BigVGAN's activation)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = _unset(channels)
        self.beta = _unset(channels)

    def forward(
        self, hidden: Float[Tensor, "batch channels length"]
    ) -> Float[Tensor, "batch channels length"]:
        return self.write(hidden, torch.empty_like(hidden))

    def write(
        self,
        hidden: Float[Tensor, "batch channels length"],
        out: Float[Tensor, "batch channels length"],
    ) -> Float[Tensor, "batch channels length"]:
        """Writes the activation of ``hidden`` into ``out``, its only temporary, and returns it."""
        frequency = self.alpha.exp()[:, None]
        height = (self.beta.exp() + SNAKE_EPSILON).reciprocal()[:, None]
        torch.mul(hidden, frequency, out=out).sin_().square_()
        return torch.addcmul(hidden, height, out, out=out)


class Convolution(nn.Module):
    """A convolution that keeps the length, or divides it by ``stride``, by zeros at both ends."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        has_bias: bool = True,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.dilation = dilation
        # steps beyond a tile, on either side, that the tile's outputs depend on
        self.reach = (dilation * (kernel - 1) + 1 - stride) // 2
        self.weight = _unset(channels_out, channels_in, kernel)
        self.bias = _unset(channels_out) if has_bias else None

    def forward(
        self, hidden: Float[Tensor, "batch channels_in length"]
    ) -> Float[Tensor, "batch channels_out shorter"]:
        return self.apply_to(functional.pad(hidden, (self.reach, self.reach)))

    def after(
        self, activation: SnakeBeta, hidden: Float[Tensor, "batch channels_in length"]
    ) -> Float[Tensor, "batch channels_out shorter"]:
        """The convolution of the activation of ``hidden``, which it leaves alone."""
        tiles = _activated_tiles(activation, hidden, self)
        return torch.cat([self.apply_to(padded) for _, _, padded in tiles], dim=-1)

    def apply_to(
        self, padded: Float[Tensor, "batch channels_in padded_length"]
    ) -> Float[Tensor, "batch channels_out shorter"]:
        """The convolution where the kernel lies wholly inside: ``padded`` brings its own ends."""
        return functional.conv1d(
            padded, self.weight, self.bias, stride=self.stride, dilation=self.dilation
        )


class Upsampling(nn.Module):
    """A transposed convolution by ``stride``, its kernel two strides long, cut by half a stride.

    Rows of ``weight`` are ordered (half of the kernel, output channel, place in the stride).
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.weight = _unset(2 * channels_out * stride, channels_in)
        self.bias = _unset(channels_out)

    def after(
        self, activation: SnakeBeta, hidden: Float[Tensor, "batch channels_in short"]
    ) -> Float[Tensor, "batch channels_out long"]:
        """The upsampling of the activation of ``hidden``: a view, so rows are not contiguous."""
        batch, _, num_steps = hidden.shape
        channels_out = self.bias.shape[0]
        bias = self.bias[:, None, None]
        # one stride more than is returned, for the half strides that both ends are cut by
        grown = hidden.new_empty(batch, channels_out, num_steps + 1, self.stride)
        carried = hidden.new_zeros(batch, channels_out, self.stride)
        tile_steps = _tile_steps(hidden, batch * self.weight.shape[0], 1)
        for start in range(0, num_steps, tile_steps):
            stop = min(start + tile_steps, num_steps)
            halves = rearrange(
                self.weight @ activation(hidden[..., start:stop]),
                "batch (half channels stride) steps -> half batch channels stride steps",
                half=2,
                stride=self.stride,
            )
            first, second = halves
            first[..., 0] += carried
            first[..., 1:] += second[..., :-1]
            carried = second[..., -1]
            torch.add(first.transpose(-1, -2), bias, out=grown[:, :, start:stop])
        torch.add(carried, bias[..., 0], out=grown[:, :, -1])
        cut = self.stride // 2
        return grown.flatten(-2)[..., cut:-cut]


def _activated_tiles(
    activation: SnakeBeta, hidden: Float[Tensor, "batch channels length"], convolution: Convolution
) -> Iterator[tuple[int, int, Float[Tensor, "batch channels padded_length"]]]:
    """Spans of ``hidden`` in order, each with its activation and ``reach`` steps on either side.

    The consumer may overwrite a span of ``hidden`` once it has that span: what the next tile needs
    of it has been kept. A yielded tensor is valid until the next one is asked for.
    """
    batch, channels, length = hidden.shape
    reach = convolution.reach
    tile_steps = _tile_steps(hidden, batch * channels, convolution.stride)
    buffer = hidden.new_empty(batch, channels, min(tile_steps, length) + 2 * reach)
    _activate_span(activation, hidden, -reach, buffer[..., : 2 * reach])
    for start in range(0, length, tile_steps):
        stop = min(start + tile_steps, length)
        padded = buffer[..., : stop - start + 2 * reach]
        _activate_span(activation, hidden, start + reach, padded[..., 2 * reach :])
        yield start, stop, padded
        if stop < length:
            buffer[..., : 2 * reach] = padded[..., stop - start :].clone()


def _activate_span(
    activation: SnakeBeta,
    hidden: Float[Tensor, "batch channels length"],
    start: int,
    out: Float[Tensor, "batch channels span"],
) -> None:
    """Fills ``out`` with the activation of ``hidden`` from ``start`` on, zero beyond either end."""
    length, span = hidden.shape[-1], out.shape[-1]
    before = min(max(-start, 0), span)
    inside = min(max(length - start, before), span)
    out[..., :before].zero_()
    out[..., inside:].zero_()
    if inside > before:
        activation.write(hidden[..., start + before : start + inside], out[..., before:inside])


def _tile_steps(hidden: Tensor, elements_per_step: int, stride: int) -> int:
    """How many steps to take at once: all of them, except on a CPU, where caches decide."""
    if hidden.device.type != "cpu":
        return hidden.shape[-1]
    tile_steps = TILE_ELEMENTS // elements_per_step
    return max(tile_steps - tile_steps % stride, stride)


def _unset(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(*shape), requires_grad=False)


# What the activation does to the mean square of a unit-variance signal: 1 + E[sin⁴].
SNAKE_POWER = 1.31
AUDIO_RMS = 0.1
UNIT_GAIN = 0.3
SNAKE_SPREAD = 0.1


def _drawn(
    name: str, shape: torch.Size, config: CodecConfig, generator: torch.Generator
) -> Float[Tensor, "..."]:
    """A uniform draw whose spread keeps signals at unit variance between the two ends."""
    kind = name.rsplit(".", 1)[1]
    if kind == "bias":
        return torch.zeros(shape)
    if kind == "weight":
        # an output adds up every input channel: a convolution over its kernel, the matrix of an
        # upsampling for both halves of the kernel
        num_terms = shape[1] * (shape[2] if len(shape) == 3 else 2)
        spread = (num_terms * SNAKE_POWER) ** -0.5
        if name == "encoder.input.weight":
            spread = num_terms**-0.5 / AUDIO_RMS
        elif name == "decoder.input.weight":
            spread = num_terms**-0.5
        elif name == "decoder.output.weight":
            spread *= AUDIO_RMS
        elif name.endswith("point.weight"):
            spread *= UNIT_GAIN
    else:
        spread = SNAKE_SPREAD
    limit = spread * 3**0.5
    return torch.empty(shape).uniform_(-limit, limit, generator=generator)
