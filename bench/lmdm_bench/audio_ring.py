"""The ring of sound between a generator and an audio callback: frames and counts in shared memory.

One process writes, one reads, and each word has a single writer: nobody ever waits for a lock. All
positions are frames since the ring was made, and never wrap. Here a frame is a sound card's, one
sample of each channel. Instants are ``time.monotonic_ns``, which all processes share.
"""

import time
from dataclasses import dataclass
from multiprocessing import shared_memory
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from lmdm_bench.check_record import Policy
from lmdm_bench.shared_pages import shared_pages

Frames = npt.NDArray[np.float32]

NUM_CHANNELS = 2
NS_PER_SECOND = 1_000_000_000
# A callback comes every few milliseconds; one that stays away for so long has gone.
GONE_SECONDS = 2.0
GAP_STEP_MS = 0.1
# The last bin has all gaps of 50 ms and more.
NUM_GAPS = 501
# Unsupported: it could not be opened. Lost: it was there and went away. Closed: as it was asked to.
State = Literal["open", "unsupported", "lost", "closed"]

_NS_PER_GAP = round(GAP_STEP_MS * 1_000_000)
_UNKNOWN = -1
_WORD_BYTES, _SAMPLE_BYTES, _TEXT_BYTES = 8, 4, 256
# A snapshot is taken again when a callback came in between, but not for ever: a reader that was
# killed within its callback leaves the words as they are.
_MOST_LOOKS = 1000
_STATES: tuple[State, ...] = ("open", "unsupported", "lost", "closed")

(
    # Written once, by who makes the ring.
    _CAPACITY,
    _RATE,
    _IS_STALLING,
    # Written by the generator.
    _WRITTEN,
    _IS_PLAYING,
    # Written in the callback. SEQUENCE is odd while it writes.
    _SEQUENCE,
    _READ,
    _ASKED,
    _ASKED_NS,
    _LAST_NS,
    _FRAMES_PER_CALLBACK,
    _CALLBACKS_SEEN,
    _FIRST_PLAYED_NS,
    _LAST_PLAYED_NS,
    _FRAMES_DELIVERED,
    _FRAMES_MISSING,
    _IS_DRY,
    _RING_UNDERRUNS,
    _LARGEST_GAP_NS,
    # Written by the process of the callback, outside it.
    _XRUNS,
    _OUTPUT_LATENCY_NS,
    _STATE,
    _NUM_WORDS,
) = range(23)

# After the words come the gaps' bins, two texts and the frames.
_GAPS_AT = _NUM_WORDS * _WORD_BYTES
_DEVICE_AT = _GAPS_AT + NUM_GAPS * _WORD_BYTES
_REASON_AT = _DEVICE_AT + _TEXT_BYTES
_FRAMES_AT = _REASON_AT + _TEXT_BYTES


@dataclass(frozen=True)
class Position:
    """Where the callback is. ``num_callbacks`` counts all, also those before playback.

    At ``asked_ns`` it asked for the frames up to ``asked_frames``. Under ``stall`` that stands
    still while the ring is dry, as ``read_frames`` does; ``last_ns`` goes on.
    """

    num_callbacks: int
    read_frames: int
    asked_frames: int
    asked_ns: int
    last_ns: int
    frames_per_callback: int
    frames_missing: int
    sample_rate_hz: int

    @property
    def callback_ns(self) -> float:
        """How long a callback's frames play."""
        return self.frames_per_callback * NS_PER_SECOND / self.sample_rate_hz

    @property
    def is_waiting(self) -> bool:
        """Whether the reader waits for frames that it asked for: not where it never waits."""
        return self.asked_frames > self.read_frames

    def asked_at_ns(self, frame: int) -> float:
        """When the callback that first asks for a frame comes, or came.

        In the past it holds back to the last silence, which the reader may have waited for.
        """
        if self.is_waiting and frame >= self.asked_frames:
            return self.begins_at_ns(frame)
        callbacks = 1 + (frame - self.asked_frames) // self.frames_per_callback
        return self.asked_ns + callbacks * self.callback_ns

    def begins_at_ns(self, frame: int) -> float:
        """When a frame leaves the ring, or left it: not when it is asked for, if it came late.

        For a frame to come: if all before it are there by the next callback.
        """
        if self.is_waiting and frame >= self.read_frames:
            callbacks = 1 + (frame - self.read_frames) // self.frames_per_callback
            return self.last_ns + callbacks * self.callback_ns
        return self.asked_at_ns(frame)


@dataclass(frozen=True)
class Counts:
    """What the callback counted while it was meant to play; None is what nobody told it."""

    frames_per_callback: int
    callbacks_seen: int
    first_ns: int
    last_ns: int
    frames_delivered: int
    frames_missing: int
    ring_underruns: int
    gap_counts: tuple[int, ...]
    largest_gap_ms: float
    xruns: int | None
    output_latency_ms: float | None


class AudioRing:
    """Made by ``create`` and found by ``attach``; who made it also removes it, by ``close``."""

    def __init__(self, memory: shared_memory.SharedMemory, capacity: int, is_owner: bool) -> None:
        """``create`` and ``attach`` are the ways in."""
        self.name = memory.name
        self.capacity_frames = capacity
        self._memory = memory
        self._is_owner = is_owner
        self._is_open = True
        # Plain integers: numpy would make an object of every word that a callback looks at.
        whole = memory.buf
        assert whole is not None, "it is open"
        self._words = whole[:_GAPS_AT].cast("q")
        self._gaps = whole[_GAPS_AT:_DEVICE_AT].cast("q")
        self._device = whole[_DEVICE_AT:_REASON_AT]
        self._reason = whole[_REASON_AT:_FRAMES_AT]
        shape = (capacity, NUM_CHANNELS)
        self._frames: Frames = np.ndarray(shape, np.float32, whole, _FRAMES_AT)

    @classmethod
    def create(cls, least_frames: int, sample_rate_hz: int, policy: Policy) -> Self:
        """A ring with room for at least so many frames, the next power of two.

        Raises ValueError for a policy that a callback cannot have: it does not know of blocks that
        were never made; UnsupportedError where there is too little shared memory.
        """
        if policy == "skip":
            raise ValueError("a sound card's ring has the policy stall or zero-pad, not skip")
        if least_frames < 1 or sample_rate_hz < 1:
            raise ValueError(f"no ring of {least_frames} frames at {sample_rate_hz} Hz")
        capacity = 1 << (least_frames - 1).bit_length()
        size = _FRAMES_AT + capacity * NUM_CHANNELS * _SAMPLE_BYTES
        ring = cls(shared_pages(size), capacity, is_owner=True)
        ring._words[_CAPACITY] = capacity
        ring._words[_RATE] = sample_rate_hz
        ring._words[_IS_STALLING] = policy == "stall"
        ring._words[_XRUNS] = ring._words[_OUTPUT_LATENCY_NS] = _UNKNOWN
        return ring

    @classmethod
    def attach(cls, name: str) -> Self:
        """The ring of that name, made by this process or one above it.

        Raises FileNotFoundError where there is none.
        """
        memory = shared_memory.SharedMemory(name)
        words = np.ndarray((_NUM_WORDS,), np.int64, memory.buf)
        return cls(memory, int(words[_CAPACITY]), is_owner=False)

    def __del__(self) -> None:
        self.close()

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Sent to another process, it is the same ring there."""
        return AudioRing.attach, (self.name,)

    @property
    def sample_rate_hz(self) -> int:
        return self._words[_RATE]

    @property
    def policy(self) -> Policy:
        return "stall" if self._words[_IS_STALLING] else "zero-pad"

    # The generator's side.

    @property
    def written_frames(self) -> int:
        return self._words[_WRITTEN]

    def write(self, frames: Frames) -> None:
        """Put frames [frames, 2] behind the last ones.

        Where the reader never waits (``zero-pad``), those whose time has passed are left out.
        Raises ValueError where there is no room.
        """
        words = self._words
        start = words[_WRITTEN]
        end, read = start + len(frames), words[_READ]
        if end - read > self.capacity_frames:
            room = self.capacity_frames - (start - read)
            raise ValueError(f"{len(frames)} frames for a ring with room for {room}")
        if start < read:
            passed = min(read - start, len(frames))
            frames, start = frames[passed:], start + passed
        at, before_end = self._place(start, len(frames))
        self._frames[at : at + before_end] = frames[:before_end]
        self._frames[: len(frames) - before_end] = frames[before_end:]
        # Last: from here on the callback may read them. Stores are seen in this order on x86; where
        # that is not promised, an interpreter's work lies between the two.
        words[_WRITTEN] = end

    def play(self) -> None:
        """From the next callback on, frames are due."""
        self._words[_IS_PLAYING] = 1

    def pause(self) -> None:
        """From the next callback on there is silence that nobody counts."""
        self._words[_IS_PLAYING] = 0

    def position(self) -> Position:
        """The callback's words, all of one moment."""
        words = self._words
        for _ in range(_MOST_LOOKS):
            sequence = words[_SEQUENCE]
            found = Position(
                num_callbacks=sequence // 2,
                read_frames=words[_READ],
                asked_frames=words[_ASKED],
                asked_ns=words[_ASKED_NS],
                last_ns=words[_LAST_NS],
                frames_per_callback=words[_FRAMES_PER_CALLBACK],
                frames_missing=words[_FRAMES_MISSING],
                sample_rate_hz=words[_RATE],
            )
            if sequence % 2 == 0 and words[_SEQUENCE] == sequence:
                break
            time.sleep(0)
        return found

    # The callback's side.

    def read_into(self, out: Frames, now_ns: int) -> None:
        """The callback: fill ``out`` [frames, 2] and count. It waits for nothing and nobody."""
        words = self._words
        words[_SEQUENCE] += 1
        words[_FRAMES_PER_CALLBACK] = len(out)
        if words[_IS_PLAYING]:
            self._count_gap(now_ns)
            self._deliver(out, now_ns)
        else:
            out.fill(0.0)
            words[_ASKED_NS] = now_ns
        words[_LAST_NS] = now_ns
        words[_SEQUENCE] += 1

    def _deliver(self, out: Frames, now_ns: int) -> None:
        words = self._words
        due, read = len(out), words[_READ]
        there = min(max(words[_WRITTEN] - read, 0), due)
        at, before_end = self._place(read, there)
        out[:before_end] = self._frames[at : at + before_end]
        out[before_end:there] = self._frames[: there - before_end]
        out[there:] = 0.0
        words[_FRAMES_DELIVERED] += there
        words[_FRAMES_MISSING] += due - there
        is_stalling, was_dry = words[_IS_STALLING], words[_IS_DRY]
        words[_READ] = read + (there if is_stalling else due)
        if there or not (is_stalling and was_dry):
            words[_ASKED] = read + due
            words[_ASKED_NS] = now_ns
        words[_IS_DRY] = there < due
        words[_RING_UNDERRUNS] += there < due and not was_dry

    def _count_gap(self, now_ns: int) -> None:
        words = self._words
        if words[_CALLBACKS_SEEN]:
            gap = now_ns - words[_LAST_PLAYED_NS]
            self._gaps[min(gap // _NS_PER_GAP, NUM_GAPS - 1)] += 1
            words[_LARGEST_GAP_NS] = max(words[_LARGEST_GAP_NS], gap)
        else:
            words[_FIRST_PLAYED_NS] = now_ns
        words[_LAST_PLAYED_NS] = now_ns
        words[_CALLBACKS_SEEN] += 1

    def _place(self, frame: int, num_frames: int) -> tuple[int, int]:
        """Where a frame lies, and how many of ``num_frames`` do before the ring's end."""
        at = frame & (self.capacity_frames - 1)
        return at, min(num_frames, self.capacity_frames - at)

    # The process around the callback.

    def describe(self, device: str, output_latency_ms: float | None) -> None:
        """What is being played on, once it is all set up; None where the latency is not known."""
        _put_text(self._device, device)
        if output_latency_ms is not None:
            self._words[_OUTPUT_LATENCY_NS] = round(output_latency_ms * 1e6)

    def can_count_xruns(self) -> None:
        """From here on, no xrun means none."""
        self._words[_XRUNS] = 0

    def count_xrun(self) -> None:
        """The sound server had one; before playback it does not count."""
        if self._words[_IS_PLAYING]:
            self._words[_XRUNS] += 1

    def end(self, state: State, reason: str) -> None:
        """There will be no further callback, for that reason."""
        _put_text(self._reason, reason)
        self._words[_STATE] = _STATES.index(state)

    # The process above both.

    @property
    def num_callbacks(self) -> int:
        """All, also those before playback: it stands still where nobody reads."""
        return self._words[_SEQUENCE] // 2

    @property
    def state(self) -> State:
        return _STATES[self._words[_STATE]]

    @property
    def reason(self) -> str:
        """Why it is not open; empty while it is."""
        return _text(self._reason)

    @property
    def device(self) -> str:
        """What is being played on; empty until it is open."""
        return _text(self._device)

    def counts(self) -> Counts:
        words = self._words
        xruns, latency = words[_XRUNS], words[_OUTPUT_LATENCY_NS]
        return Counts(
            frames_per_callback=words[_FRAMES_PER_CALLBACK],
            callbacks_seen=words[_CALLBACKS_SEEN],
            first_ns=words[_FIRST_PLAYED_NS],
            last_ns=words[_LAST_PLAYED_NS],
            frames_delivered=words[_FRAMES_DELIVERED],
            frames_missing=words[_FRAMES_MISSING],
            ring_underruns=words[_RING_UNDERRUNS],
            gap_counts=tuple(self._gaps),
            largest_gap_ms=words[_LARGEST_GAP_NS] / 1e6,
            xruns=None if xruns == _UNKNOWN else xruns,
            output_latency_ms=None if latency == _UNKNOWN else latency / 1e6,
        )

    def close(self) -> None:
        """Let go of the memory, and remove it if this side made it. A second time does nothing."""
        if not self._is_open:
            return
        self._is_open = False
        del self._frames
        for view in (self._words, self._gaps, self._device, self._reason):
            view.release()
        self._memory.close()
        if self._is_owner:
            self._memory.unlink()


def _put_text(place: memoryview, text: str) -> None:
    """As much of it as there is room for, whole characters."""
    told = text.encode()[:_TEXT_BYTES].decode(errors="ignore").encode()
    place[:] = told.ljust(_TEXT_BYTES, b"\0")


def _text(place: memoryview) -> str:
    return bytes(place).rstrip(b"\0").decode(errors="replace")
