"""The ring of finished blocks between a generator and a player, as arithmetic on service times.

The ring holds ``prebuffer_blocks`` blocks, and as many are made before playback begins. Block i may
be begun once block i − prebuffer_blocks has begun to play, and should be ready when block i is due.
What happens when it is not is the policy:

- ``zero-pad``: the clock never stops. Deadlines stand; until the block is ready there is silence,
  and the part of it whose time has passed is lost.
- ``stall``: a sound card's first-in first-out ring. The silence is as long, but the block is then
  played whole, and everything after it comes later by that much.
- ``skip``: as ``zero-pad``, and a block whose time has wholly passed before it could be begun is
  not made; the generator goes on with the next one that can still be heard.
"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lmdm_bench.check_record import Policy

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ring:
    """Its size in blocks, how long a block plays, and what happens when one is missing."""

    prebuffer_blocks: int
    block_ms: float
    policy: Policy = "zero-pad"

    def __post_init__(self) -> None:
        if self.prebuffer_blocks < 1:
            raise ValueError(f"a ring holds at least one block, got {self.prebuffer_blocks}")
        if not (math.isfinite(self.block_ms) and self.block_ms > 0):
            raise ValueError(f"a block should play for more than 0 ms, got {self.block_ms}")
        if self.policy not in ("zero-pad", "stall", "skip"):
            raise ValueError(f"the policy {self.policy!r} is not zero-pad, stall or skip")


@dataclass(frozen=True)
class Played:
    """A trace against the ring: one entry for each block that was made, in ms from the first start.

    ``missing_ms`` is the silence before and within the block's time that was its fault;
    ``skipped`` counts the blocks before it that were not made at all (policy ``skip``), each a
    silence of its own length that ``missing_ms`` does not count.
    """

    ring: Ring
    room_ms: Floats
    started_ms: Floats
    ready_ms: Floats
    deadline_ms: Floats
    missing_ms: Floats
    skipped: npt.NDArray[np.int64]

    @property
    def lateness_ms(self) -> Floats:
        return self.ready_ms - self.deadline_ms

    @property
    def is_miss(self) -> npt.NDArray[np.bool_]:
        """One entry for each block that was due: the skipped ones are misses too."""
        made = self.lateness_ms > 0
        if not self.skipped.any():
            return made
        places = np.arange(made.size) + np.cumsum(self.skipped)
        misses = np.ones(made.size + int(self.skipped.sum()), dtype=np.bool_)
        misses[places] = made
        return misses


class Timeline:
    """Room and deadlines of a ring while it plays, block after block; what every clock stands on.

    ``begin`` is asked once for each block in order, then ``finish``.
    """

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self.playback_ms = math.inf
        self._slot = -1
        self._delay_ms = 0.0
        # When each of the newest ``prebuffer_blocks`` blocks began to play.
        self._begun: list[float] = []

    def room_ms(self) -> float:
        """From when the next block may be begun; −inf while the prebuffer fills."""
        ring = self.ring
        if self._slot + 1 < ring.prebuffer_blocks:
            return -math.inf
        if ring.policy == "stall":
            return self._begun[0]
        return self.playback_ms + (self._slot + 1 - ring.prebuffer_blocks) * ring.block_ms

    def begin(self, started_ms: float) -> int:
        """A block is begun now: how many were skipped before it."""
        self._slot += 1
        if self.ring.policy != "skip" or math.isinf(self.playback_ms):
            return 0
        over = self.playback_ms + (self._slot + 1) * self.ring.block_ms
        skipped = max(0, math.ceil((started_ms - over) / self.ring.block_ms))
        self._slot += skipped
        return skipped

    def finish(self, ready_ms: float) -> tuple[float, float]:
        """The block is ready: its deadline, and how long silence was played for its sake.

        While the prebuffer fills, deadlines are not known yet and NaN is given: they are
        ``playback_ms`` + block_index × block_ms, once the last of those blocks is ready.
        """
        ring = self.ring
        if self._slot < ring.prebuffer_blocks:
            if self._slot == ring.prebuffer_blocks - 1:
                self.playback_ms = ready_ms
                times = range(ring.prebuffer_blocks)
                self._begun = [ready_ms + index * ring.block_ms for index in times]
            return math.nan, 0.0
        deadline = self.playback_ms + self._slot * ring.block_ms + self._delay_ms
        late = max(0.0, ready_ms - deadline)
        if ring.policy == "stall":
            self._delay_ms += late
            self._begun = [*self._begun[1:], deadline + late]
            return deadline, late
        return deadline, min(late, ring.block_ms)


def play(service_ms: Sequence[float] | Floats, ring: Ring) -> Played:
    """What would have happened to blocks of these service times.

    Raises ValueError for no blocks, or for a time that is negative or not finite.
    """
    times = _checked(service_ms)
    n = times.size
    room, started, ready, deadline, missing = (np.empty(n) for _ in range(5))
    skipped = np.zeros(n, dtype=np.int64)
    timeline = Timeline(ring)
    now = 0.0
    for index in range(n):
        room[index] = timeline.room_ms()
        now = max(now, room[index])
        started[index] = now
        skipped[index] = timeline.begin(now)
        now += times[index]
        ready[index] = now
        deadline[index], missing[index] = timeline.finish(now)
    first = min(ring.prebuffer_blocks, n)
    playback = ready[first - 1]
    room[:first] = started[:first]
    deadline[:first] = playback + np.arange(first) * ring.block_ms
    return Played(ring, room, started, ready, deadline, missing, skipped)


def backlog_ms(service_ms: Sequence[float] | Floats, ring: Ring) -> Floats:
    """For each block, from when its run of busy work could be begun to when the block is ready,
    less the blocks that were to be made in between: ``zero-pad``'s lateness is this − K · T.

    In closed form for the blocks after the prebuffer: b_i = max over a ≤ i of
    Σ_{j=a..i} s_j − (i − a) · T. The prebuffer's own entries are 0.
    """
    times = _checked(service_ms)
    backlog = np.zeros(times.size)
    live = times[ring.prebuffer_blocks :]
    if live.size:
        excess = np.cumsum(live - ring.block_ms)
        before = np.minimum.accumulate(np.concatenate([[0.0], excess[:-1]]))
        backlog[ring.prebuffer_blocks :] = excess - before + ring.block_ms
    return backlog


def smallest_prebuffer(service_ms: Sequence[float] | Floats, block_ms: float) -> int:
    """The fewest blocks of prebuffer with which this trace would have had no miss (``zero-pad``).

    In closed form: the smallest K with K · T ≥ max_i b_i of ``backlog_ms``, whose maximum itself
    shrinks as more of the trace's beginning is in the prebuffer.
    """
    times = _checked(service_ms)

    def is_enough(blocks: int) -> bool:
        return bool(backlog_ms(times, Ring(blocks, block_ms)).max() <= blocks * block_ms)

    # What is enough stays enough when more is given, and all blocks of the trace always are.
    return 1 + bisect.bisect_left(range(1, times.size), True, key=is_enough)


def startup_delay_ms(service_ms: Sequence[float] | Floats, block_ms: float) -> float:
    """D*: how long after the first start playback has to begin so that no block is late, when the
    ring is endless: max_i (Σ_{j≤i} s_j − i · T). Zero misses exactly where the delay is not less.
    """
    times = _checked(service_ms)
    return float(np.max(np.cumsum(times) - np.arange(times.size) * block_ms))


def _checked(service_ms: Sequence[float] | Floats) -> Floats:
    times = np.asarray(service_ms, dtype=np.float64)
    if times.ndim != 1 or not times.size:
        raise ValueError(f"expected one row of service times, got shape {list(times.shape)}")
    if not np.isfinite(times).all() or times.min() < 0:
        raise ValueError("service times should be finite and not negative")
    return times
