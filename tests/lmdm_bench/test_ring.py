"""The ring's arithmetic against a player and a generator that live through the events one by one,
and the closed forms against the ring."""

import heapq
import itertools
import math
from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import golden_traces
from lmdm_bench.ring import (
    Ring,
    Timeline,
    backlog_ms,
    play,
    smallest_prebuffer,
    startup_delay_ms,
)

POLICIES = ("zero-pad", "stall", "skip")
BLOCK_MS = 10.0

# Whole milliseconds, so that a tie is a tie in every order of adding.
traces = st.lists(st.integers(0, 45).map(float), min_size=1, max_size=60)
prebuffers = st.integers(1, 6)
policies = st.sampled_from(POLICIES)

FINISHES, PLAYS = 0, 1  # at the same instant, a block that is ready is in time


class Listener:
    """Plays a trace by events: what happens when a block is finished, and when one begins to play.

    ``is_miss`` has a verdict for each block's place in the music that was due.
    """

    def __init__(self, service_ms, ring):
        self.trace = deque(service_ms)
        self.ring = ring
        self.events = []
        self.is_miss = []
        self.ready = set()
        self.playback_ms = math.inf
        self.place = 0  # the next to be begun
        self.newest_allowed = ring.prebuffer_blocks - 1
        self.is_busy = False
        self.is_waiting = False
        self.begin(0.0)
        while self.events:
            now, kind, place = heapq.heappop(self.events)
            self.finishes(now, place) if kind == FINISHES else self.plays(now, place)
        del self.is_miss[self.place :]  # of music that was never to be made

    def begin(self, now):
        if self.is_busy or not self.trace or self.place > self.newest_allowed:
            return
        if self.ring.policy == "skip":
            while self.playback_ms + (self.place + 1) * self.ring.block_ms < now:
                self.place += 1
        self.is_busy = True
        heapq.heappush(self.events, (now + self.trace.popleft(), FINISHES, self.place))
        self.place += 1

    def finishes(self, now, place):
        self.is_busy = False
        self.ready.add(place)
        if place == self.ring.prebuffer_blocks - 1:
            self.playback_ms = now
            heapq.heappush(self.events, (now, PLAYS, 0))
        if self.is_waiting:
            self.is_waiting = False
            self.sounds(now, place)
        self.begin(now)

    def plays(self, now, place):
        if not self.trace and not self.is_busy and place >= self.place:
            return  # the music is over
        self.is_miss.append(place not in self.ready)
        if self.ring.policy == "stall" and self.is_miss[-1]:
            self.is_waiting = True
        else:
            self.sounds(now, place)
        self.begin(now)

    def sounds(self, now, place):
        """From now on, block ``place`` or its silence is played."""
        self.newest_allowed = place + self.ring.prebuffer_blocks
        due = now if self.ring.policy == "stall" else self.playback_ms + place * self.ring.block_ms
        heapq.heappush(self.events, (due + self.ring.block_ms, PLAYS, place + 1))


def heard(is_miss):
    runs = [sum(1 for _ in run) for missed, run in itertools.groupby(is_miss) if missed]
    return golden_traces.Heard(int(sum(is_miss)), len(runs), max(runs, default=0))


@pytest.mark.parametrize(("name", "policy"), golden_traces.HEARD)
def test_the_golden_traces_are_heard_as_written_by_a_listener_and_by_the_ring(name, policy):
    trace = golden_traces.TRACES[name]()
    ring = Ring(golden_traces.PREBUFFER_BLOCKS, golden_traces.BLOCK_MS, policy)
    expected = golden_traces.HEARD[name, policy]
    assert heard(Listener(trace.tolist(), ring).is_miss) == expected
    assert heard(play(trace, ring).is_miss) == expected


@given(traces, prebuffers, policies)
def test_the_ring_misses_what_a_listener_misses(trace, blocks, policy):
    ring = Ring(blocks, BLOCK_MS, policy)
    listened = Listener(trace, ring).is_miss
    played = play(trace, ring).is_miss.tolist()
    if len(trace) < blocks:  # playback never began
        assert not listened and not any(played)
    else:
        assert played == listened


@given(traces, prebuffers, policies)
def test_silence_is_what_was_late_and_at_most_a_block_where_the_clock_goes_on(
    trace, blocks, policy
):
    played = play(trace, Ring(blocks, BLOCK_MS, policy))
    late = np.maximum(played.lateness_ms, 0)
    longest = math.inf if policy == "stall" else BLOCK_MS
    assert played.missing_ms.tolist() == np.minimum(late, longest).tolist()


@given(traces, prebuffers, policies)
def test_a_block_is_begun_when_there_is_room_and_the_one_before_is_ready(trace, blocks, policy):
    played = play(trace, Ring(blocks, BLOCK_MS, policy))
    free = np.concatenate([[0.0], played.ready_ms[:-1]])
    assert played.started_ms.tolist() == np.maximum(free, played.room_ms).tolist()
    assert played.ready_ms.tolist() == (played.started_ms + trace).tolist()


@given(traces, prebuffers)
def test_stalling_moves_all_deadlines_by_the_silence_before_them(trace, blocks):
    played = play(trace, Ring(blocks, BLOCK_MS, "stall"))
    before = np.concatenate([[0.0], np.cumsum(played.missing_ms)[:-1]])
    grid = played.deadline_ms[0] + np.arange(len(trace)) * BLOCK_MS
    assert played.deadline_ms.tolist() == (grid + before).tolist()
    assert not played.skipped.any()


@given(traces, prebuffers)
def test_skipping_leaves_deadlines_on_the_grid_and_skips_no_block_that_can_be_heard(trace, blocks):
    played = play(trace, Ring(blocks, BLOCK_MS, "skip"))
    places = np.arange(len(trace)) + np.cumsum(played.skipped)
    assert played.deadline_ms.tolist() == (played.deadline_ms[0] + places * BLOCK_MS).tolist()
    ends = played.deadline_ms + BLOCK_MS
    for index in np.flatnonzero(played.skipped):
        start = played.started_ms[index]
        assert start <= ends[index] and start > ends[index] - BLOCK_MS


@given(traces, prebuffers)
def test_all_policies_agree_until_the_first_miss(trace, blocks):
    misses = [play(trace, Ring(blocks, BLOCK_MS, policy)).is_miss for policy in POLICIES]
    firsts = {int(row.argmax()) if row.any() else None for row in misses}
    assert len(firsts) == 1


@given(traces)
def test_playback_after_the_startup_delay_is_exactly_in_time_with_an_endless_ring(trace):
    ready, grid = np.cumsum(trace), np.arange(len(trace)) * BLOCK_MS
    delay = startup_delay_ms(trace, BLOCK_MS)
    assert (ready <= delay + grid).all()
    assert (ready > delay - 0.5 + grid).any()


@given(traces)
def test_the_smallest_prebuffer_is_the_smallest_without_a_miss(trace):
    found = smallest_prebuffer(trace, BLOCK_MS)
    assert not play(trace, Ring(found, BLOCK_MS)).is_miss.any()
    for fewer in range(1, found):
        assert play(trace, Ring(fewer, BLOCK_MS)).is_miss.any()


@given(traces, prebuffers)
def test_more_prebuffer_makes_no_block_later(trace, blocks):
    fewer, more = (play(trace, Ring(size, BLOCK_MS)) for size in (blocks, blocks + 1))
    assert (more.lateness_ms <= fewer.lateness_ms).all()
    assert (more.is_miss <= fewer.is_miss).all()


@given(traces, prebuffers)
def test_lateness_in_closed_form_is_the_backlog_less_the_ring(trace, blocks):
    ring = Ring(blocks, BLOCK_MS)
    late = play(trace, ring).lateness_ms[blocks:]
    assert late.tolist() == (backlog_ms(trace, ring)[blocks:] - blocks * BLOCK_MS).tolist()
    assert not backlog_ms(trace, ring)[:blocks].any()


@given(traces, prebuffers, policies)
def test_where_the_generator_has_waited_the_past_is_forgotten(trace, blocks, policy):
    ring = Ring(blocks, BLOCK_MS, policy)
    whole = play(trace, ring)
    waited = np.flatnonzero(whole.started_ms[1:] > whole.ready_ms[:-1]) + 1
    if policy == "stall" or not waited.size:
        return  # a stalled ring's room depends on when its blocks began to play
    seam = int(waited[0])
    alone = play([0.0] * blocks + trace[seam:], ring)
    assert alone.lateness_ms[blocks:].tolist() == whole.lateness_ms[seam:].tolist()
    assert alone.skipped[blocks:].tolist() == whole.skipped[seam:].tolist()


@given(traces, prebuffers, policies)
def test_a_clock_that_asks_the_timeline_sees_what_was_played(trace, blocks, policy):
    ring = Ring(blocks, BLOCK_MS, policy)
    played, timeline, now = play(trace, ring), Timeline(ring), 0.0
    for index, service in enumerate(trace):
        room = timeline.room_ms()
        now = max(now, room)
        assert now == played.started_ms[index]
        assert timeline.begin(now) == played.skipped[index]
        now += service
        deadline, missing = timeline.finish(now)
        assert missing == played.missing_ms[index]
        if index < blocks:
            assert room == -math.inf and math.isnan(deadline)
        else:
            assert (room, deadline) == (played.room_ms[index], played.deadline_ms[index])
    if len(trace) >= blocks:
        assert timeline.playback_ms == played.deadline_ms[0]


def test_a_stall_of_five_blocks_by_hand():
    """Two blocks of prebuffer; the fourth block takes 5.5 blocks' time."""
    trace = [5.0, 5.0, 5.0, 55.0, 5.0, 5.0, 5.0]
    zero_pad = play(trace, Ring(2, 10.0, "zero-pad"))
    # Playback begins at 10; block 3 is begun at 20 and ready at 75, due at 40.
    assert zero_pad.lateness_ms.tolist() == [-5, -10, -15, 35, 30, 25, 20]
    assert zero_pad.missing_ms.tolist() == [0, 0, 0, 10, 10, 10, 10]
    stall = play(trace, Ring(2, 10.0, "stall"))
    assert stall.missing_ms.tolist() == [0, 0, 0, 35, 0, 0, 0]
    assert stall.deadline_ms.tolist() == [10, 20, 30, 40, 85, 95, 105]
    skip = play(trace, Ring(2, 10.0, "skip"))
    # At 75 the places of blocks 4 and 5, up to 70, have passed; the next is due at 70.
    assert skip.skipped.tolist() == [0, 0, 0, 0, 2, 0, 0]
    assert skip.lateness_ms.tolist() == [-5, -10, -15, 35, 10, 5, 0]
    assert skip.is_miss.tolist() == [*[False] * 3, *[True] * 5, False]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ((0, 10.0), "at least one block"),
        ((1, 0.0), "more than 0 ms"),
        ((1, math.inf), "more than 0 ms"),
        ((1, 10.0, "wait"), "'wait' is not zero-pad, stall or skip"),
    ],
)
def test_a_ring_that_cannot_be_is_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        Ring(*wrong)


@pytest.mark.parametrize("trace", [[], [[1.0]], [1.0, -1.0], [math.nan], [math.inf]])
def test_what_are_no_service_times_is_refused(trace):
    for read in (
        lambda: play(trace, Ring(1, 10.0)),
        lambda: backlog_ms(trace, Ring(1, 10.0)),
        lambda: smallest_prebuffer(trace, 10.0),
        lambda: startup_delay_ms(trace, 10.0),
    ):
        with pytest.raises(ValueError, match="service times"):
            read()
