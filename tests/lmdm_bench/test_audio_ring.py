"""The ring gives back what was put in, counts what was missing, and knows when it was asked."""

import errno
import os
import pickle
from multiprocessing import shared_memory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmdm_bench import audio_ring
from lmdm_bench.audio_ring import NUM_GAPS, AudioRing
from lmdm_bench.errors import UnsupportedError

RATE_HZ = 1000
MS = 1_000_000
FRAMES = 8
CALLBACK_NS = FRAMES * MS


@pytest.fixture
def ring():
    ring = AudioRing.create(32, RATE_HZ, "stall")
    yield ring
    ring.close()


def numbered(start, num_frames):
    """Frames that hold their own number, the second channel its negative."""
    numbers = np.arange(start, start + num_frames, dtype=np.float32)
    return np.stack([numbers, -numbers], axis=1)


def call(ring, now_ns=0, num_frames=FRAMES):
    out = np.full((num_frames, 2), np.nan, np.float32)
    ring.read_into(out, now_ns)
    return out


def test_its_room_is_the_next_power_of_two():
    for least, capacity in ((1, 1), (2, 2), (3, 4), (64, 64), (65, 128)):
        ring = AudioRing.create(least, RATE_HZ, "stall")
        assert ring.capacity_frames == capacity
        ring.close()


@pytest.mark.parametrize(
    ("least", "rate", "policy", "words"),
    [
        (4, RATE_HZ, "skip", "not skip"),
        (0, RATE_HZ, "stall", "no ring of 0 frames"),
        (4, 0, "stall", "at 0 Hz"),
    ],
)
def test_what_a_ring_cannot_be_is_refused(least, rate, policy, words):
    with pytest.raises(ValueError, match=words):
        AudioRing.create(least, rate, policy)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system takes pages at once")
def test_too_little_shared_memory_is_a_sentence_and_leaves_none(monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    names = []
    make = shared_memory.SharedMemory

    def remember(*arguments, **named):
        memory = make(*arguments, **named)
        names.append(memory.name)
        return memory

    monkeypatch.setattr(audio_ring.shared_memory, "SharedMemory", remember)
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(UnsupportedError, match=r"no 8\.0 MiB of shared memory: No space left"):
        AudioRing.create(1 << 20, RATE_HZ, "stall")
    with pytest.raises(FileNotFoundError):
        make(names[0])


def test_before_playback_there_is_silence_that_nobody_counts(ring):
    ring.write(numbered(1, 16))
    assert not call(ring).any()
    assert ring.counts().callbacks_seen == 0
    assert ring.num_callbacks == 1
    ring.play()
    np.testing.assert_array_equal(call(ring), numbered(1, 8))
    ring.pause()
    assert not call(ring).any()
    counts = ring.counts()
    assert (counts.callbacks_seen, counts.frames_delivered, counts.frames_missing) == (1, 8, 0)


def test_frames_for_which_there_is_no_room_are_refused(ring):
    ring.write(numbered(0, 30))
    with pytest.raises(ValueError, match="3 frames for a ring with room for 2"):
        ring.write(numbered(30, 3))
    assert ring.written_frames == 30


class Model:
    """The same ring as a list of numbers, frame by frame. None is silence."""

    def __init__(self, capacity, policy):
        self.capacity, self.policy = capacity, policy
        self.frames, self.written, self.read = {}, 0, 0
        self.delivered = self.missing = self.underruns = 0
        self.is_dry = False

    def write(self, num_frames):
        if self.written + num_frames - self.read > self.capacity:
            return False
        for frame in range(self.written, self.written + num_frames):
            if frame >= self.read:
                self.frames[frame] = float(frame)
        self.written += num_frames
        return True

    def call(self, num_frames):
        played = []
        for _ in range(num_frames):
            played.append(self.frames.pop(self.read, None))
            self.read += played[-1] is not None or self.policy == "zero-pad"
        silent = played.count(None)
        self.missing += silent
        self.delivered += num_frames - silent
        self.underruns += bool(silent) and not self.is_dry
        self.is_dry = bool(silent)
        return [0.0 if frame is None else frame for frame in played]


@given(
    policy=st.sampled_from(["stall", "zero-pad"]),
    steps=st.lists(st.tuples(st.booleans(), st.integers(1, 20)), max_size=60),
)
def test_any_order_of_writes_and_callbacks_plays_what_a_list_would(policy, steps):
    ring, model = AudioRing.create(32, RATE_HZ, policy), Model(32, policy)
    ring.play()
    for is_write, num_frames in steps:
        if not is_write:
            np.testing.assert_array_equal(
                call(ring, num_frames=num_frames)[:, 0], model.call(num_frames)
            )
        elif model.write(num_frames):
            ring.write(numbered(ring.written_frames, num_frames))
        else:
            with pytest.raises(ValueError, match="with room for"):
                ring.write(numbered(ring.written_frames, num_frames))
    counts = ring.counts()
    assert (counts.frames_delivered, counts.frames_missing) == (model.delivered, model.missing)
    assert counts.ring_underruns == model.underruns
    ring.close()


def test_a_frame_is_due_at_the_callback_that_asks_for_it(ring):
    ring.write(numbered(0, 20))
    call(ring, 100 * MS)
    ring.play()
    told = ring.position()
    assert told.asked_at_ns(0) == told.asked_at_ns(7) == 108 * MS
    assert told.asked_at_ns(8) == 116 * MS
    call(ring, 109 * MS)  # a little late: what follows is counted from there
    assert ring.position().asked_at_ns(0) == 109 * MS
    assert ring.position().asked_at_ns(8) == 117 * MS
    assert ring.position().asked_at_ns(20) == 125 * MS


def test_where_the_reader_waits_a_late_frame_stays_due_and_begins_at_the_next_callback(ring):
    ring.write(numbered(0, 12))
    ring.play()
    for index in range(5):  # the second lacks four frames, the next three all
        call(ring, index * CALLBACK_NS)
    told = ring.position()
    assert (told.read_frames, told.frames_missing) == (12, 4 + 3 * FRAMES)
    assert told.asked_at_ns(12) == CALLBACK_NS
    assert told.begins_at_ns(12) == 5 * CALLBACK_NS
    ring.write(numbered(12, 16))
    call(ring, 5 * CALLBACK_NS)
    assert ring.position().begins_at_ns(12) == 5 * CALLBACK_NS
    assert ring.position().begins_at_ns(20) == 6 * CALLBACK_NS
    assert ring.counts().ring_underruns == 1


def test_where_the_reader_never_waits_a_late_frame_is_gone():
    ring = AudioRing.create(32, RATE_HZ, "zero-pad")
    ring.write(numbered(0, 8))
    ring.play()
    for index in range(3):
        call(ring, index * CALLBACK_NS)
    ring.write(numbered(8, 24))  # 16 of them have passed
    np.testing.assert_array_equal(call(ring, 3 * CALLBACK_NS), numbered(24, 8))
    assert ring.position().asked_at_ns(8) == CALLBACK_NS
    assert ring.position().frames_missing == 16
    ring.close()


def test_a_reader_that_was_killed_within_its_callback_does_not_hold_the_writer_up(ring):
    ring._words[audio_ring._SEQUENCE] = 7
    assert ring.position().num_callbacks == 3


def test_gaps_are_counted_while_it_plays(ring):
    call(ring, 0)
    ring.play()
    for at_ms in (500.0, 505.0, 510.1, 510.1 + 49.9, 700.0):
        call(ring, round(at_ms * MS))
    counts = ring.counts()
    assert {index: number for index, number in enumerate(counts.gap_counts) if number} == {
        50: 1,
        51: 1,
        499: 1,
        NUM_GAPS - 1: 1,
    }
    assert counts.largest_gap_ms == pytest.approx(140.0)
    assert (counts.first_ns, counts.last_ns) == (500 * MS, 700 * MS)


def test_no_xruns_and_none_that_could_be_counted_are_two_things(ring):
    assert ring.counts().xruns is None
    ring.can_count_xruns()
    ring.count_xrun()
    assert ring.counts().xruns == 0  # it played nothing yet
    ring.play()
    ring.count_xrun()
    assert ring.counts().xruns == 1
    assert ring.counts().ring_underruns == 0


def test_what_it_plays_on_is_told_and_cut_at_a_whole_character(ring):
    assert (ring.device, ring.counts().output_latency_ms) == ("", None)
    ring.describe("x" + "é" * 200, 11.5)
    assert ring.device == "x" + "é" * 127
    assert ring.counts().output_latency_ms == 11.5


def test_sent_to_another_process_it_is_the_same_ring(ring):
    there = pickle.loads(pickle.dumps(ring))
    assert (there.capacity_frames, there.sample_rate_hz, there.policy) == (32, RATE_HZ, "stall")
    there.write(numbered(0, 8))
    there.play()
    np.testing.assert_array_equal(call(ring), numbered(0, 8))
    ring.end("lost", "the server ended")
    assert (there.state, there.reason) == ("lost", "the server ended")
    there.close()
    assert ring.state == "lost"  # closing there removed nothing


def test_who_made_it_removes_it_once():
    ring = AudioRing.create(4, RATE_HZ, "stall")
    ring.close()
    ring.close()
    with pytest.raises(FileNotFoundError):
        shared_memory.SharedMemory(ring.name)
