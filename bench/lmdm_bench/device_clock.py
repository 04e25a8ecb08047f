"""The clock of a sound card: blocks go into the ring that its callback empties.

As ``WallClock`` it tells of each block when there was room, when it was begun, ready and due; but
nothing is computed from a timeline. A block is due when the callback asks for its first frame, and
there is room for block i when block i − prebuffer_blocks leaves the ring.
"""

import math
import time

import numpy as np

from lmdm_bench.audio_ring import (
    GONE_SECONDS,
    NS_PER_SECOND,
    NUM_CHANNELS,
    AudioRing,
    Frames,
    Position,
)
from lmdm_bench.block_clock import MS_PER_NS, Handed, Room, Samples
from lmdm_bench.ring import Ring

# Random weights make noise, and whoever tests may wear headphones: −20 dB.
VOLUME = 0.1

# Waiting is cut into pieces, so that an end of the audio is noticed. The callback that makes room
# comes when it comes: after the instant at which it should have, look again and again.
LONGEST_SLEEP_SECONDS = 0.05
SHORTEST_SLEEP_SECONDS = 0.0005


class AudioLost(RuntimeError):
    """The audio's process, its server or its sound card went away. The message says which."""


class DeviceClock:
    """A ``BlockClock`` over an ``AudioRing``: see the module's docstring. Its origin is its making.

    Playback begins when ``prebuffer_blocks`` blocks have been handed over. The clock ends with the
    stream, by ``close``, or nobody would tell the end of the music from a dropout.
    """

    def __init__(self, audio: AudioRing, ring: Ring) -> None:
        """Raises ValueError where the audio's ring has another policy, or too little room."""
        self._audio = audio
        self._ring = ring
        self._block_frames = round(ring.block_ms * audio.sample_rate_hz / 1000.0)
        needed = (ring.prebuffer_blocks + 1) * self._block_frames
        if audio.capacity_frames < needed:
            raise ValueError(f"the ring has {audio.capacity_frames} frames, it needs {needed}")
        if audio.policy != ring.policy:
            raise ValueError(f"the audio's policy is {audio.policy}, the ring's {ring.policy}")
        self._num_blocks = 0
        self._frames_missing = 0
        # When each of the newest ``prebuffer_blocks`` blocks leaves the ring, or left it.
        self._begins_ns: list[float] = []
        self.origin_ns = time.monotonic_ns()

    def now_ms(self) -> float:
        return self._ms(time.monotonic_ns())

    def wait_for_room(self) -> Room:
        """Raises AudioLost where there will be none."""
        if self._audio.state != "open":
            raise AudioLost(f"the audio ended: {self._audio.reason}")
        frame = self._leaving_frame
        if frame < 0:
            return Room(self.now_ms(), 0.0)
        position = self._audio.position()
        if position.read_frames > frame:
            return Room(min(self._ms(self._begins_ns[0]), self.now_ms()), 0.0)
        position = self._wait_until_read(frame, position)
        room = self._ms(position.begins_at_ns(frame))
        return Room(room, max(0.0, self.now_ms() - room))

    def begin(self) -> float:
        return self.now_ms()

    def hand_over(self, samples: Samples | None) -> Handed:
        """Raises ValueError for samples that are not a block of this ring."""
        frames = self._frames(samples)
        before = self._audio.position()
        self._audio.write(frames)
        ready = self.now_ms()
        first_frame = self._num_blocks * self._block_frames
        self._num_blocks += 1
        if self._num_blocks <= self._ring.prebuffer_blocks:
            self._prime(before)
            return Handed(ready, math.nan, 0.0)
        self._begins_ns = [*self._begins_ns[1:], before.begins_at_ns(first_frame)]
        missing = before.frames_missing - self._frames_missing
        self._frames_missing = before.frames_missing
        deadline = self._ms(before.asked_at_ns(first_frame))
        return Handed(ready, deadline, 1000.0 * missing / before.sample_rate_hz)

    def idle_ms(self) -> float:
        frame = self._leaving_frame
        if frame < 0:
            return -math.inf
        position = self._audio.position()
        is_read = position.read_frames > frame
        room_ns = self._begins_ns[0] if is_read else position.begins_at_ns(frame)
        return self._ms(room_ns) - self.now_ms()

    def close(self) -> None:
        """The stream is over: from here on, silence is not missing sound."""
        self._audio.pause()

    @property
    def _leaving_frame(self) -> int:
        """When this frame leaves the ring there is room for a block; below 0: there is."""
        return (self._num_blocks - self._ring.prebuffer_blocks) * self._block_frames

    def _prime(self, position: Position) -> None:
        """A block more in the prebuffer; with the last one, playback begins."""
        blocks = range(self._ring.prebuffer_blocks)
        if self._num_blocks == len(blocks):
            self._audio.play()
            self._begins_ns = [
                position.begins_at_ns(index * self._block_frames) for index in blocks
            ]

    def _wait_until_read(self, frame: int, position: Position) -> Position:
        quiet_seconds = 0.0
        while position.read_frames <= frame:
            seconds = (position.begins_at_ns(frame) - time.monotonic_ns()) / NS_PER_SECOND
            seconds = min(max(seconds, SHORTEST_SLEEP_SECONDS), LONGEST_SLEEP_SECONDS)
            time.sleep(seconds)
            if self._audio.state != "open":
                raise AudioLost(f"the audio ended: {self._audio.reason}")
            seen, position = position.num_callbacks, self._audio.position()
            quiet_seconds = quiet_seconds + seconds if position.num_callbacks == seen else 0.0
            if quiet_seconds > GONE_SECONDS:
                raise AudioLost(f"no audio callback came for {GONE_SECONDS:.0f} s")
        return position

    def _frames(self, samples: Samples | None) -> Frames:
        """[audio_channels, samples] as frames of the ring, quiet and within full scale."""
        if samples is None:
            return np.zeros((self._block_frames, NUM_CHANNELS), np.float32)
        if samples.ndim != 2 or samples.shape[1] != self._block_frames:
            wanted = f"[channels, {self._block_frames}]"
            raise ValueError(f"a block of samples {wanted} was due, got {list(samples.shape)}")
        frames = np.empty((self._block_frames, NUM_CHANNELS), np.float32)
        np.clip(VOLUME * samples[:NUM_CHANNELS].T, -1.0, 1.0, out=frames)
        np.nan_to_num(frames, copy=False)
        return frames

    def _ms(self, at_ns: float) -> float:
        return (at_ns - self.origin_ns) * MS_PER_NS
