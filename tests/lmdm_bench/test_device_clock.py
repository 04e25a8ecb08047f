"""The clock tells what a simulated card saw; on real back ends the counts are as theory says."""

import math
import os
import signal
import sys
from contextlib import ExitStack
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import audio_runs
from lmdm_bench import device_clock
from lmdm_bench.audio_backend import available_backends
from lmdm_bench.audio_ring import AudioRing
from lmdm_bench.device_clock import GONE_SECONDS, VOLUME, AudioLost, DeviceClock
from lmdm_bench.jack_server import jack_server
from lmdm_bench.ring import Ring, play

RATE_HZ = 1000
MS = 1_000_000
BLOCK_MS = 20
CALLBACK_MS = 2


class Card:
    """A sound card in a world where time passes only by sleeping; ``time`` for the clock.

    Each block is made of its own number, so that the card knows which it plays. ``asked_ms`` and
    ``heard_ms``: when a callback first wanted a block's first frame, and when it had it.
    """

    def __init__(self, monkeypatch, policy, prebuffer_blocks=2, callback_ms=CALLBACK_MS):
        self.audio = AudioRing.create((prebuffer_blocks + 1) * BLOCK_MS, RATE_HZ, policy)
        self.now_ns = 1_000_000 * MS
        self.is_calling = True
        self.played = []
        self.asked_ms, self.heard_ms = {}, {}
        self._callback_ms = callback_ms
        self._next_ns = self.now_ns
        self._num_made = 0
        self._is_waiting = policy == "stall"
        monkeypatch.setattr(
            device_clock,
            "time",
            SimpleNamespace(monotonic_ns=lambda: self.now_ns, sleep=self.sleep),
        )
        self._origin_ns = self.now_ns
        self.clock = DeviceClock(self.audio, Ring(prebuffer_blocks, BLOCK_MS, policy))
        self.sleep(0.0)

    def make(self, service_ms):
        room = self.clock.wait_for_room()
        started = self.clock.begin()
        self.sleep(service_ms / 1000)
        self._num_made += 1
        block = np.full((2, BLOCK_MS), self._num_made / 1000, np.float32)
        return room, started, self.clock.hand_over(block)

    def sleep(self, seconds):
        end_ns = self.now_ns + round(seconds * 1000 * MS)
        while self._next_ns <= end_ns:
            self.now_ns = self._next_ns
            self._next_ns += self._callback_ms * MS
            if self.is_calling:
                self._call()
        self.now_ns = end_ns

    def _call(self):
        out = np.empty((self._callback_ms, 2), np.float32)
        was_playing = self.audio.counts().callbacks_seen
        self.audio.read_into(out, self.now_ns)
        if self.audio.counts().callbacks_seen == was_playing:
            return
        now_ms = (self.now_ns - self._origin_ns) / MS
        for sample in out[:, 0].tolist():
            number = round(sample / VOLUME * 1000)
            if number:
                self.heard_ms.setdefault(number - 1, now_ms)
            # In silence, who waits asks for the next block, and who does not for the one whose
            # time it is.
            waits_for = len(self.heard_ms) if self._is_waiting else len(self.played) // BLOCK_MS
            self.asked_ms.setdefault(number - 1 if number else waits_for, now_ms)
            self.played.append(sample)


@pytest.fixture
def card(monkeypatch):
    made = []

    def make(policy="stall", prebuffer_blocks=2, callback_ms=CALLBACK_MS):
        made.append(Card(monkeypatch, policy, prebuffer_blocks, callback_ms))
        return made[-1]

    yield make
    for one in made:
        one.audio.close()


@given(
    policy=st.sampled_from(["stall", "zero-pad"]),
    prebuffer_blocks=st.integers(1, 4),
    callback_ms=st.sampled_from([1, 2, 3, 5, 7]),
    service_ms=st.lists(st.integers(1, 70).map(lambda one: one + 0.3137), min_size=5, max_size=15),
)
def test_it_tells_when_the_card_asked_and_when_there_was_room(
    policy, prebuffer_blocks, callback_ms, service_ms
):
    with pytest.MonkeyPatch.context() as patched:
        card = Card(patched, policy, prebuffer_blocks, callback_ms)
        blocks = [card.make(one) for one in service_ms]
        card.sleep(1.0)
        missing = card.audio.counts().frames_missing
        card.audio.close()
    for index, (room, started, handed) in enumerate(blocks):
        if index < prebuffer_blocks:
            assert math.isnan(handed.deadline_ms)
            continue
        assert handed.deadline_ms == pytest.approx(card.asked_ms[index])
        leaving = index - prebuffer_blocks
        begun = card.asked_ms if policy == "zero-pad" else card.heard_ms
        assert room.room_ms == pytest.approx(begun[leaving])
        assert started >= room.room_ms + room.wake_error_ms - 1e-6
        assert room.wake_error_ms <= 0.5
        is_late = handed.ready_ms > handed.deadline_ms
        assert (card.heard_ms.get(index) != card.asked_ms[index]) == is_late
        if policy == "stall":
            assert (handed.missing_ms > 0) == is_late
    told = sum(handed.missing_ms for *_, handed in blocks)
    assert told <= missing


@pytest.mark.parametrize("policy", ["stall", "zero-pad"])
def test_its_blocks_are_late_as_the_rings_arithmetic_says(card, policy):
    service_ms = [9.3] * 8 + [47.3] + [9.3] * 10 + [23.3] * 12 + [11.3] * 12
    one = card(policy, prebuffer_blocks=2, callback_ms=1)
    late = [one.make(time) for time in service_ms][2:]
    expected = play(service_ms, Ring(2, BLOCK_MS, policy))
    lateness = [handed.ready_ms - handed.deadline_ms for *_, handed in late]
    # A late block begins with the next callback, 1 ms later at most; and so may all after it.
    assert lateness == pytest.approx(expected.lateness_ms[2:], abs=2.0)
    assert [one > 0 for one in lateness] == list(expected.is_miss[2:])


def test_playback_begins_when_the_prebuffer_is_full(card):
    one = card(prebuffer_blocks=2)
    _, _, first = one.make(5)
    _, _, second = one.make(5)
    assert (first.ready_ms, second.ready_ms) == (5.0, 10.0)
    assert one.clock.idle_ms() == CALLBACK_MS  # the first block begins with the next callback
    room, started, third = one.make(3)
    assert room.room_ms == 12.0
    assert started == pytest.approx(12.0, abs=0.6)
    assert third.deadline_ms == 12.0 + 2 * BLOCK_MS
    assert third.missing_ms == 0.0


def test_waiting_sleeps_rather_than_looks(card, monkeypatch):
    one = card(prebuffer_blocks=1)
    one.make(1)
    one.make(1)
    naps = []
    sleep = device_clock.time.sleep
    monkeypatch.setattr(device_clock.time, "sleep", lambda s: naps.append(s) or sleep(s))
    room, _, _ = one.make(1)
    assert room.wake_error_ms <= 0.5
    assert len(naps) <= 3


def test_it_is_lost_when_the_callback_comes_no_more(card):
    one = card()
    for _ in range(3):
        one.make(1)
    one.is_calling = False
    before = one.clock.now_ms()
    with pytest.raises(AudioLost, match="no audio callback came for 2 s"):
        one.make(1)
    assert one.clock.now_ms() - before == pytest.approx(GONE_SECONDS * 1000, rel=0.1)


def test_a_callback_that_stays_away_for_less_is_waited_for(card):
    one = card()
    for _ in range(3):
        one.make(1)
    one.is_calling = False
    one.sleep(30.0)  # a lid that was closed: no time in which anybody could have called
    one.is_calling = True
    room, started, _ = one.make(1)
    assert started - room.room_ms < 5


def test_it_is_lost_when_the_audios_process_says_so(card):
    one = card()
    one.make(1)
    one.audio.end("lost", "the JACK server ended")
    one.clock.hand_over(None)  # a block that is finished is not lost with it
    with pytest.raises(AudioLost, match="the JACK server ended"):
        one.clock.wait_for_room()


def test_when_the_stream_is_over_silence_is_not_missing(card):
    one = card(prebuffer_blocks=1)
    for _ in range(3):
        one.make(1)
    one.clock.close()
    one.sleep(1.0)
    assert one.audio.counts().frames_missing == 0


def test_samples_are_played_quietly_within_full_scale_and_as_numbers(card):
    one = card(prebuffer_blocks=1)
    samples = np.zeros((2, BLOCK_MS), np.float32)
    samples[0, :6] = [1.0, -0.5, 50.0, -np.inf, np.nan, 0.25]
    one.clock.wait_for_room()
    one.clock.begin()
    one.played.clear()
    one.clock.hand_over(samples)
    one.sleep(0.02)
    assert one.played[:6] == pytest.approx([0.1, -0.05, 1.0, -1.0, 0.0, 0.025])


def test_one_channel_is_heard_on_both(card):
    one = card(prebuffer_blocks=1)
    one.clock.hand_over(np.full((1, BLOCK_MS), 0.5, np.float32))
    out = np.empty((4, 2), np.float32)
    one.audio.read_into(out, 0)
    assert out == pytest.approx(0.05)


def test_samples_that_are_not_a_block_are_refused(card):
    with pytest.raises(ValueError, match=r"\[channels, 20\] was due, got \[2, 19\]"):
        card().clock.hand_over(np.zeros((2, 19), np.float32))


def test_a_ring_that_does_not_fit_is_refused(card):
    audio = card(prebuffer_blocks=2).audio  # 64 frames
    with pytest.raises(ValueError, match="64 frames, it needs 80"):
        DeviceClock(audio, Ring(3, BLOCK_MS, "stall"))
    with pytest.raises(ValueError, match="the audio's policy is stall, the ring's zero-pad"):
        DeviceClock(audio, Ring(1, BLOCK_MS, "zero-pad"))


BACKENDS = ("silent", "jack", "portaudio")


@pytest.fixture(scope="module")
def runs():
    """Every back end too slow and fast enough, all at once: what each left, or why it cannot.

    All but the silent one play through one JACK server, since there is no sound card to count on.
    """
    with pytest.MonkeyPatch.context() as patched, ExitStack() as stack:
        if not audio_runs.why_not_jack():
            server = stack.enter_context(jack_server(audio_runs.RATE_HZ))
            patched.setenv("JACK_DEFAULT_SERVER", server)
        reasons = available_backends()
        there = [name for name in BACKENDS if not reasons[name]]
        # Too slow with a prebuffer of one, so that there is no time before the first silence.
        asked = {(name, 1.2): (name, 1.2, 17, 1) for name in there}
        asked |= {(name, 0.5): (name, 0.5, 20, 2) for name in there}
        return reasons, audio_runs.play_at_once(asked)


def run_of(runs, backend, rtf):
    reasons, done = runs
    if reasons[backend]:
        pytest.skip(reasons[backend])
    run = done[backend, rtf]
    assert run.lost is None
    count = run.count
    assert count.frames_delivered + count.frames_missing == 256 * count.callbacks_seen
    assert sum(count.gap_counts) == count.callbacks_seen - 1
    return run


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_stream_that_is_too_slow_by_a_fifth_lacks_a_sixth_of_its_samples(runs, backend):
    run = run_of(runs, backend, 1.2)
    # What is compared is the counting, not this machine: sleeping may take longer than was asked.
    rtf = np.mean(run.service_ms) / (1000 * audio_runs.BLOCK_SECONDS)
    assert rtf >= 1.2
    lacking = run.count.frames_due - run.count.frames_delivered
    assert lacking / run.count.frames_due == pytest.approx(1 - 1 / rtf, abs=0.02)
    assert run.count.ring_underruns == len(run.service_ms)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_stream_that_is_fast_enough_lacks_none(runs, backend):
    run = run_of(runs, backend, 0.5)
    assert (run.count.frames_missing, run.count.ring_underruns) == (0, 0)
    assert all(handed.missing_ms == 0 for handed in run.handed)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_a_consumer_that_is_killed_loses_no_count(monkeypatch):
    monkeypatch.setattr(device_clock, "GONE_SECONDS", 0.5)

    def kill(audio, index):
        if index == 4:
            os.kill(audio.pid, signal.SIGKILL)

    run = audio_runs.play("silent", 0.2, meanwhile=kill, policy="zero-pad")
    assert run.lost.startswith("no audio callback came")
    assert 4 <= len(run.handed) < 20
    assert run.count.frames_delivered > 0
    assert run.count.unavailable["end"] == "the audio process was stopped by signal 9"


def test_a_server_that_is_killed_loses_no_count():
    audio_runs.skip_without_jack()
    names = []

    def kill(audio, index):
        if index == 4:
            (server,) = audio_runs.jackds()
            names.append(audio_runs.name_of(server))
            server.kill()

    run = audio_runs.play("jack-dummy", 0.2, meanwhile=kill)
    assert run.lost == "the audio ended: the JACK server ended"
    assert run.count.frames_delivered > 0
    assert run.count.unavailable["end"] == "the JACK server ended"
    assert audio_runs.jackds() == []
    audio_runs.put_away(names[0])
