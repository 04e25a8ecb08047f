"""Where keys stand: prefix, target and slots of one arena (no torch).

Each layer keeps its keys and values in one row of places, the arena::

    [ prefix | target frames, token | slot 0 | slot 1 | … ]

A slot holds a block (block-causal) or the whole context (encoder-decoder). Keys are stored rotated,
so the order of slots means nothing to the softmax, and evicting a block is overwriting its slot.
The target stands before the slots so that, while the slots fill and when all are valid, a denoising
step attends to one contiguous span (reports/decisions/0002).
"""

from dataclasses import dataclass
from typing import NamedTuple


class Span(NamedTuple):
    """Places ``start … stop − 1``."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, kw_only=True)
class Arena:
    """The places of one layer's keys. ``prefix`` rows are for condition tokens kept for good."""

    prefix: int
    target_frames: int
    slot_frames: int
    num_slots: int

    @property
    def target(self) -> Span:
        """The frames being denoised and, right after them, the noise-level token."""
        return Span(self.prefix, self.prefix + self.target_frames + 1)

    def slot(self, index: int) -> Span:
        start = self.target.stop + index * self.slot_frames
        return Span(start, start + self.slot_frames)

    def slots(self, count: int) -> Span:
        """The first ``count`` slots together."""
        return Span(self.target.stop, self.target.stop + count * self.slot_frames)

    @property
    def token(self) -> Span:
        return Span(self.target.stop - 1, self.target.stop)

    @property
    def size(self) -> int:
        return self.slots(self.num_slots).stop
