"""How big the LMMs are: Magenta RealTime 1 and 2 by name (no torch).

Figures: the configuration files of Magenta RealTime 1 (commit eef91d4^ of its repository) and the
modules of magenta-rt 2.0.3; reference page paper.md (c) has the counts.
"""

from dataclasses import dataclass, replace

from lmdm_ref.geometry import TokenGeometry


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """One transformer stack's sizes."""

    depth: int
    width: int
    num_heads: int
    feed_forward_width: int

    @property
    def head_dim(self) -> int:
        return self.width // self.num_heads

    def __post_init__(self) -> None:
        if self.width % self.num_heads:
            raise ValueError(f"width {self.width} is not a whole number of {self.num_heads} heads")


@dataclass(frozen=True, kw_only=True)
class EncoderDecoderLMMConfig:
    """Magenta RealTime 1: T5 layers (gated feed-forward, no biases, norms before only).

    One vocabulary of ``vocabulary`` tokens serves encoder and decoder: ``reserved_tokens``, then
    ``codebook_size`` for each RVQ level, then some unused, then the style's from ``style_offset``.
    """

    encoder: StackConfig
    temporal: StackConfig
    depth_decoder: StackConfig
    vocabulary: int
    reserved_tokens: int
    codebook_size: int
    num_levels: int
    context_levels: int
    style_offset: int
    style_tokens: int
    temporal_buckets: int
    depth_buckets: int
    geometry: TokenGeometry

    def encoder_tokens(self, context_frames: int) -> int:
        return context_frames * self.context_levels + self.style_tokens


@dataclass(frozen=True, kw_only=True)
class FrameWiseLMMConfig:
    """Magenta RealTime 2: norms before and after, plain feed-forward with biases, no positions.

    ``context_frames`` of the geometry is how far each temporal layer looks back, the frame itself
    not counted. Conditions of a frame: ``style_tokens`` of ``style_codes`` codes each, then one
    token for each entry of ``condition_codes`` (128 pitches, drums, guidance).
    """

    temporal: StackConfig
    depth_decoder: StackConfig
    reserved_tokens: int
    codebook_size: int
    num_levels: int
    logit_cap: float
    style_tokens: int
    style_codes: int
    style_width: int
    condition_codes: tuple[int, ...]
    condition_rows: int
    condition_width: int
    geometry: TokenGeometry

    @property
    def vocabulary(self) -> int:
        return self.reserved_tokens + self.num_levels * self.codebook_size


LMMConfig = EncoderDecoderLMMConfig | FrameWiseLMMConfig

MRT1_LARGE = EncoderDecoderLMMConfig(
    encoder=StackConfig(depth=24, width=1024, num_heads=16, feed_forward_width=2816),
    temporal=StackConfig(depth=20, width=1024, num_heads=16, feed_forward_width=2816),
    depth_decoder=StackConfig(depth=4, width=1024, num_heads=16, feed_forward_width=2816),
    vocabulary=29_824,  # 29 698, rounded up to a multiple of 128
    reserved_tokens=2,
    codebook_size=1024,
    num_levels=16,
    context_levels=4,
    style_offset=2 + 17 * 1024,
    style_tokens=6,
    temporal_buckets=128,
    depth_buckets=16,
    geometry=TokenGeometry(
        sample_rate_hz=48_000,
        samples_per_frame=1920,
        context_frames=250,
        block_frames=50,
        num_levels=16,
    ),
)

MRT1_BASE = replace(
    MRT1_LARGE,
    encoder=StackConfig(depth=12, width=768, num_heads=12, feed_forward_width=2048),
    temporal=StackConfig(depth=20, width=768, num_heads=12, feed_forward_width=2048),
    depth_decoder=StackConfig(depth=4, width=768, num_heads=12, feed_forward_width=2048),
)

# Codes of each condition with the reserved ones: 128 pitches of 4 + 6 + 1 for "masked", drums
# 2 + 6 + 1, two guidance scales of 41 + 6 (style, notes) and one of 9 + 6 (drums).
MRT2_CONDITION_CODES = (11,) * 128 + (9, 47, 47, 15)

MRT2_SMALL = FrameWiseLMMConfig(
    temporal=StackConfig(depth=12, width=1024, num_heads=8, feed_forward_width=4096),
    depth_decoder=StackConfig(depth=2, width=768, num_heads=6, feed_forward_width=3072),
    reserved_tokens=6,
    codebook_size=1024,
    num_levels=12,
    logit_cap=30.0,
    style_tokens=12,
    style_codes=1031,  # 1024 + 6 reserved + 1 for "masked"
    style_width=768,
    condition_codes=MRT2_CONDITION_CODES,
    condition_rows=1536,  # 1 526, rounded up to a multiple of 128
    condition_width=256,
    geometry=TokenGeometry(
        sample_rate_hz=48_000,
        samples_per_frame=1920,
        context_frames=41,
        block_frames=50,
        num_levels=12,
    ),
)

MRT2_BASE = replace(
    MRT2_SMALL,
    temporal=StackConfig(depth=20, width=3072, num_heads=24, feed_forward_width=8192),
    depth_decoder=StackConfig(depth=6, width=1024, num_heads=8, feed_forward_width=4096),
    condition_width=1024,
    geometry=replace(MRT2_SMALL.geometry, context_frames=25),
)

MRT1_TINY = EncoderDecoderLMMConfig(
    encoder=StackConfig(depth=2, width=32, num_heads=2, feed_forward_width=48),
    temporal=StackConfig(depth=2, width=32, num_heads=2, feed_forward_width=48),
    depth_decoder=StackConfig(depth=2, width=32, num_heads=2, feed_forward_width=48),
    vocabulary=128,
    reserved_tokens=2,
    codebook_size=16,
    num_levels=4,
    context_levels=2,
    style_offset=2 + 5 * 16,
    style_tokens=2,
    temporal_buckets=8,
    depth_buckets=4,
    geometry=TokenGeometry(
        sample_rate_hz=48_000,
        samples_per_frame=1920,
        context_frames=6,
        block_frames=5,
        num_levels=4,
    ),
)

MRT2_TINY = FrameWiseLMMConfig(
    temporal=StackConfig(depth=2, width=32, num_heads=2, feed_forward_width=48),
    depth_decoder=StackConfig(depth=2, width=24, num_heads=2, feed_forward_width=32),
    reserved_tokens=6,
    codebook_size=16,
    num_levels=4,
    logit_cap=30.0,
    style_tokens=3,
    style_codes=23,
    style_width=24,
    condition_codes=(11, 11, 9, 47),
    condition_rows=128,
    condition_width=16,
    geometry=TokenGeometry(
        sample_rate_hz=48_000,
        samples_per_frame=1920,
        context_frames=4,
        block_frames=3,
        num_levels=4,
    ),
)

LMM_PRESETS: dict[str, LMMConfig] = {
    "mrt1-large": MRT1_LARGE,
    "mrt1-base": MRT1_BASE,
    "mrt1-tiny": MRT1_TINY,
    "mrt2-small": MRT2_SMALL,
    "mrt2-base": MRT2_BASE,
    "mrt2-tiny": MRT2_TINY,
}
