"""How long things are: sample rate, frames, context and block (no torch)."""

from dataclasses import dataclass


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
        for name in ("sample_rate_hz", "samples_per_frame", "context_frames", "block_frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
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
