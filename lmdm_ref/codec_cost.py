"""What the codec costs, by arithmetic: FLOPs of each direction, and parameters (no torch).

A FLOP count has the multiplications and additions of convolutions and matrix products, two for each
weight and position, those on zeros at the ends included; activations and biases are not counted.
That is what torch's ``FlopCounterMode`` counts, and the two are tested to agree exactly.
"""

from lmdm_ref.presets import (
    OOBLECK_ENDS_KERNEL,
    OOBLECK_LATENT_KERNEL,
    OOBLECK_UNIT_DILATIONS,
    OOBLECK_UNIT_KERNEL,
    CodecConfig,
)

UNITS_PER_BLOCK = len(OOBLECK_UNIT_DILATIONS)
MEAN_AND_SCALE = 2
STRIDES_PER_KERNEL = 2
ALPHA_AND_BETA = 2


def decode_flops(config: CodecConfig, frames: int) -> int:
    """FLOPs to decode ``frames`` frames of one batch element to samples."""
    widths = config.widths
    steps = frames
    products = steps * _weights(config.latent_channels, widths[-1], OOBLECK_ENDS_KERNEL)
    for narrow, wide, stride in reversed(_blocks(config)):
        products += steps * _weights(wide, narrow, STRIDES_PER_KERNEL * stride)
        steps *= stride
        products += steps * _unit_weights(narrow)
    products += steps * _weights(widths[0], config.audio_channels, OOBLECK_ENDS_KERNEL)
    return 2 * products


def encode_flops(config: CodecConfig, frames: int) -> int:
    """FLOPs to encode the samples of ``frames`` frames of one batch element.

    The scales of the posterior are counted: they are computed with the means, then left out.
    """
    widths = config.widths
    steps = frames * config.samples_per_frame
    products = steps * _weights(config.audio_channels, widths[0], OOBLECK_ENDS_KERNEL)
    for narrow, wide, stride in _blocks(config):
        products += steps * _unit_weights(narrow)
        steps //= stride
        products += steps * _weights(narrow, wide, STRIDES_PER_KERNEL * stride)
    posterior_channels = MEAN_AND_SCALE * config.latent_channels
    products += steps * _weights(widths[-1], posterior_channels, OOBLECK_LATENT_KERNEL)
    return 2 * products


def codec_parameters(config: CodecConfig) -> int:
    """Parameters of both directions: folded weights, biases, an alpha and a beta per activation."""
    widths = config.widths
    narrowest, widest = widths[0], widths[-1]
    posterior_channels = MEAN_AND_SCALE * config.latent_channels
    encoder_ends = (
        _weights(config.audio_channels, narrowest, OOBLECK_ENDS_KERNEL)
        + narrowest
        + ALPHA_AND_BETA * widest
        + _weights(widest, posterior_channels, OOBLECK_LATENT_KERNEL)
        + posterior_channels
    )
    decoder_ends = (
        _weights(config.latent_channels, widest, OOBLECK_ENDS_KERNEL)
        + widest
        + ALPHA_AND_BETA * narrowest
        + _weights(narrowest, config.audio_channels, OOBLECK_ENDS_KERNEL)
    )
    blocks = 0
    for narrow, wide, stride in _blocks(config):
        resampling = _weights(narrow, wide, STRIDES_PER_KERNEL * stride)
        biases = UNITS_PER_BLOCK * 2 * narrow
        activations = ALPHA_AND_BETA * UNITS_PER_BLOCK * 2 * narrow
        units = _unit_weights(narrow) + biases + activations
        encoder_block = units + ALPHA_AND_BETA * narrow + resampling + wide
        decoder_block = units + ALPHA_AND_BETA * wide + resampling + narrow
        blocks += encoder_block + decoder_block
    return encoder_ends + decoder_ends + blocks


def _weights(channels_in: int, channels_out: int, kernel: int) -> int:
    return channels_in * channels_out * kernel


def _unit_weights(channels: int) -> int:
    """Weights of the residual units of one block: a wide and a pointwise convolution each."""
    return UNITS_PER_BLOCK * (
        _weights(channels, channels, OOBLECK_UNIT_KERNEL) + _weights(channels, channels, 1)
    )


def _blocks(config: CodecConfig) -> list[tuple[int, int, int]]:
    """(narrow, wide, stride) of each block, from the samples to the frames."""
    widths = config.widths
    return list(zip(widths[:-1], widths[1:], config.strides, strict=True))
