"""The virtual and the wall clock give the events that the ring's arithmetic says."""

import math

import numpy as np
import pytest

from lmdm_bench.block_clock import BlockClock, VirtualClock, WallClock
from lmdm_bench.ring import Ring, play

TIMES = [30.0, 50.0, 35.0, 30.0, 90.0, 30.0, 30.0, 45.0, 20.0, 20.0, 20.0, 20.0]


class FakeTime:
    """Nanoseconds that pass while someone sleeps, and a little with every look."""

    def __init__(self, oversleeps_ms: float = 0.0) -> None:
        self.now = 5_000_000_000
        self.oversleeps_ms = oversleeps_ms

    def look(self) -> int:
        self.now += 1000
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.spend(seconds * 1000 + self.oversleeps_ms)

    def spend(self, milliseconds: float) -> None:
        self.now += round(milliseconds * 1e6)


def events(clock: BlockClock, spend, times: list[float]) -> np.ndarray:
    rows = []
    for time in times:
        room = clock.wait_for_room()
        started = clock.begin()
        spend(time)
        handed = clock.hand_over(None)
        row = (room.room_ms, started, handed.ready_ms, handed.deadline_ms, handed.missing_ms)
        rows.append((*row, room.wake_error_ms))
    return np.array(rows).T


@pytest.mark.parametrize("policy", ["zero-pad", "stall"])
@pytest.mark.parametrize("prebuffer_blocks", [1, 2, 3])
def test_both_clocks_play_what_the_arithmetic_says(policy, prebuffer_blocks: int) -> None:
    ring = Ring(prebuffer_blocks, 40.0, policy)
    played = play(TIMES, ring)
    virtual = VirtualClock(ring)
    fake = FakeTime()
    wall = WallClock(ring, fake.look, fake.sleep)
    for found, within in (
        (events(virtual, virtual.spend, TIMES), 1e-9),
        (events(wall, fake.spend, TIMES), 0.1),
    ):
        room, started, ready, deadline, missing, _ = found
        live = slice(prebuffer_blocks, None)
        assert np.isnan(deadline[:prebuffer_blocks]).all()
        np.testing.assert_allclose(deadline[live], played.deadline_ms[live], atol=within)
        np.testing.assert_allclose(room, played.room_ms, atol=within)
        np.testing.assert_allclose(started, played.started_ms, atol=within)
        np.testing.assert_allclose(ready, played.ready_ms, atol=within)
        np.testing.assert_allclose(missing, played.missing_ms, atol=within)


def test_no_error_adds_up_and_waking_late_is_the_harness_s_own() -> None:
    ring = Ring(1, 10.0)
    fake = FakeTime(oversleeps_ms=3.0)
    clock = WallClock(ring, fake.look, fake.sleep)
    room, started, _, deadline, _, error = events(clock, fake.spend, [1.0] * 200)
    assert error[2:] == pytest.approx(2.0, abs=0.1)
    assert started[-1] - room[-1] == pytest.approx(2.0, abs=0.1)
    assert deadline[-1] - deadline[1] == pytest.approx(198 * 10.0)


def test_the_wall_clock_waits_on_this_machine() -> None:
    clock = WallClock(Ring(1, 5.0))
    room, started, ready, deadline, _, error = events(clock, lambda ms: None, [0.0] * 20)
    assert (started >= room).all() and (ready >= started).all() and (error >= 0).all()
    assert np.diff(deadline[1:]) == pytest.approx(5.0)


def test_idle_time_is_until_the_next_room() -> None:
    clock = VirtualClock(Ring(1, 40.0))
    assert clock.idle_ms() == -math.inf
    events(clock, clock.spend, [30.0, 10.0])
    assert clock.idle_ms() == pytest.approx(30.0)
    fake = FakeTime()
    wall = WallClock(Ring(1, 40.0), fake.look, fake.sleep)
    events(wall, fake.spend, [30.0, 10.0])
    assert wall.idle_ms() == pytest.approx(30.0, abs=0.1)
