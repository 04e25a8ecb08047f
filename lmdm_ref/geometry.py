"""How long things are: sample rate, frames, context, block, and tokens of a frame (no torch)."""

from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """A streaming window: ``context_frames`` already heard, ``block_frames`` made next.

    A frame is ``samples_per_frame`` samples. Paper, section 5: 192 + 48 frames at
    44100 / 2048 = 21.533 Hz; the low-delay variant is 230 + 10.

    Raises ValueError where the context is not a whole number of blocks.
    """

    sample_rate_hz: int
    samples_per_frame: int
    context_frames: int
    block_frames: int

    def __post_init__(self) -> None:
        _at_least_one(self)
        if self.context_frames % self.block_frames:
            raise ValueError(
                f"a window of {self.context_frames} context + {self.block_frames} block frames "
                f"is not a whole number of {self.block_frames}-frame blocks"
            )

    @property
    def window_frames(self) -> int:
        return self.context_frames + self.block_frames

    @property
    def context_blocks(self) -> int:
        return self.context_frames // self.block_frames

    @property
    def frame_rate_hz(self) -> float:
        return self.sample_rate_hz / self.samples_per_frame

    @property
    def block_samples(self) -> int:
        return self.block_frames * self.samples_per_frame

    @property
    def context_samples(self) -> int:
        return self.context_frames * self.samples_per_frame

    @property
    def block_seconds(self) -> float:
        return self.block_samples / self.sample_rate_hz


@dataclass(frozen=True, kw_only=True)
class TokenGeometry:
    """An LMM's lengths: frames of ``num_levels`` RVQ tokens each.

    ``context_frames``: what the encoder hears of the past (``lmm-encoder-decoder``), or how many
    frames before itself each frame sees in each layer (``lmm-frame-wise``).

    Raises ValueError for anything below 1.
    """

    sample_rate_hz: int
    samples_per_frame: int
    context_frames: int
    block_frames: int
    num_levels: int

    def __post_init__(self) -> None:
        _at_least_one(self)

    @property
    def frame_rate_hz(self) -> float:
        return self.sample_rate_hz / self.samples_per_frame

    @property
    def block_tokens(self) -> int:
        return self.block_frames * self.num_levels

    @property
    def block_seconds(self) -> float:
        return self.block_frames * self.samples_per_frame / self.sample_rate_hz


def _at_least_one(lengths: Geometry | TokenGeometry) -> None:
    for field in fields(lengths):
        if getattr(lengths, field.name) < 1:
            raise ValueError(f"{field.name} must be at least 1, got {getattr(lengths, field.name)}")
