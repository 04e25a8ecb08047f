"""Conditions that arrive while a stream plays, at instants drawn beforehand."""

import random
from collections.abc import Iterator, Sequence
from typing import Literal

from lmdm_bench.check_record import Control

Kind = Literal["prompt", "input"]
KINDS: tuple[Kind, ...] = ("prompt", "input")
# On average one in so many seconds or blocks, whichever is longer; each gap is between half and one
# and a half of that, so that all phases of a block come up.
MEAN_GAP_SECONDS = 5.0
MEAN_GAP_BLOCKS = 2.5


class Conditions:
    """What arrives, and when it is heard: the first sample of the first block begun with it.

    Arrivals are counted from the start of playback, in the milliseconds of the stream's clock.
    """

    def __init__(self, kinds: Sequence[Kind], block_ms: float, seed: int) -> None:
        """``kinds`` take turns; with none, nothing arrives."""
        self._block_ms = block_ms
        self._arrivals = self._drawn(tuple(kinds), random.Random(seed))
        self._next: Control | None = None
        self._playback_ms: float | None = None
        self._carried: list[Control] = []

    def start(self, playback_ms: float) -> None:
        """Playback begins, and with it the arrivals."""
        self._playback_ms = playback_ms
        self._next = next(self._arrivals, None)

    def due(self, now_ms: float, block_index: int) -> list[Control]:
        """What has arrived by now and is carried by the block that is begun."""
        found = []
        while self._next is not None and self._next.arrived_ms <= now_ms:
            one = self._next
            found.append(Control(one.kind, one.arrived_ms, block_index, None))
            self._next = next(self._arrivals, None)
        self._carried += found
        return found

    def heard(self, ready_ms: float, deadline_ms: float) -> list[Control]:
        """A block went into the ring: what is heard with it.

        A block that comes a whole block late is not heard at all where deadlines stand; what it
        carried is heard with the next one.
        """
        if not self._carried or ready_ms >= deadline_ms + self._block_ms:
            return []
        at_ms = max(ready_ms, deadline_ms)
        told = [Control(one.kind, one.arrived_ms, one.block_index, at_ms) for one in self._carried]
        self._carried = []
        return told

    def unheard(self, now_ms: float) -> list[Control]:
        """What arrived and was not heard by the end."""
        waiting = []
        while self._next is not None and self._next.arrived_ms <= now_ms:
            waiting.append(self._next)
            self._next = next(self._arrivals, None)
        return [*self._carried, *waiting]

    def _drawn(self, kinds: tuple[Kind, ...], chance: random.Random) -> Iterator[Control]:
        mean_ms = max(MEAN_GAP_SECONDS * 1000.0, MEAN_GAP_BLOCKS * self._block_ms)
        at_ms, index = 0.0, 0
        while kinds:
            at_ms += mean_ms * chance.uniform(0.5, 1.5)
            assert self._playback_ms is not None
            yield Control(kinds[index % len(kinds)], self._playback_ms + at_ms, None, None)
            index += 1
