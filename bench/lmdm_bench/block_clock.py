"""The clock that blocks are made against: one protocol, and two of its three clocks.

All three give the same events: when the ring had room, when the block was begun, when it was ready,
when it was due. ``VirtualClock`` is a discrete simulation, ``WallClock`` real time without a sound
card; the third, against a sound card's callback, is in ``device_clock.py``.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lmdm_bench.ring import Ring, Timeline

Samples = npt.NDArray[np.float32]

MS_PER_NS = 1e-6
# Sleeping ends late by some tens of microseconds and now and then by more; the last stretch before
# an instant is spent looking at the clock.
SPIN_MS = 1.0


@dataclass(frozen=True)
class Room:
    """From when the ring could take the next block, and how late the waiting ended."""

    room_ms: float
    wake_error_ms: float


@dataclass(frozen=True)
class Handed:
    """A block is in the ring. ``deadline_ms`` is NaN while the prebuffer fills."""

    ready_ms: float
    deadline_ms: float
    missing_ms: float


class BlockClock(Protocol):
    """Asked in this order for each block: wait, begin, hand over. Milliseconds since its origin."""

    def now_ms(self) -> float:
        """The instant it is."""

    def wait_for_room(self) -> Room:
        """Come back when the ring has room for a block."""

    def begin(self) -> float:
        """The block is begun: at this instant."""

    def hand_over(self, samples: Samples | None) -> Handed:
        """The block is made: [audio_channels, samples], or None for one that has no samples."""

    def idle_ms(self) -> float:
        """How long until the ring has room for the next block; 0 or less where it has."""

    def close(self) -> None:
        """The stream is over: no further block comes."""


class VirtualClock:
    """Time that passes when it is told to: the same events in no time, and always the same."""

    def __init__(self, ring: Ring) -> None:
        self._timeline = Timeline(ring)
        self._now_ms = 0.0

    def spend(self, milliseconds: float) -> None:
        """Let time pass."""
        self._now_ms += milliseconds

    def now_ms(self) -> float:
        return self._now_ms

    def wait_for_room(self) -> Room:
        room = self._timeline.room_ms()
        self._now_ms = max(self._now_ms, room)
        return Room(self._now_ms if math.isinf(room) else room, 0.0)

    def begin(self) -> float:
        self._timeline.begin(self._now_ms)
        return self._now_ms

    def hand_over(self, samples: Samples | None) -> Handed:
        deadline, missing = self._timeline.finish(self._now_ms)
        return Handed(self._now_ms, deadline, missing)

    def idle_ms(self) -> float:
        return self._timeline.room_ms() - self._now_ms

    def close(self) -> None:
        """Nothing plays on."""


class WallClock:
    """Real time: every instant is counted from one origin, so that no error adds up."""

    def __init__(
        self,
        ring: Ring,
        now_ns: Callable[[], int] = time.perf_counter_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._timeline = Timeline(ring)
        self._now_ns = now_ns
        self._sleep = sleep
        self._origin_ns = now_ns()

    def now_ms(self) -> float:
        return (self._now_ns() - self._origin_ns) * MS_PER_NS

    def wait_for_room(self) -> Room:
        room = self._timeline.room_ms()
        now = self.now_ms()
        if room <= now:
            return Room(now if math.isinf(room) else room, 0.0)
        if room - now > SPIN_MS:
            self._sleep((room - now - SPIN_MS) / 1000.0)
        while (now := self.now_ms()) < room:
            pass
        return Room(room, now - room)

    def begin(self) -> float:
        now = self.now_ms()
        self._timeline.begin(now)
        return now

    def hand_over(self, samples: Samples | None) -> Handed:
        now = self.now_ms()
        deadline, missing = self._timeline.finish(now)
        return Handed(now, deadline, missing)

    def idle_ms(self) -> float:
        return self._timeline.room_ms() - self.now_ms()

    def close(self) -> None:
        """Nothing plays on."""
