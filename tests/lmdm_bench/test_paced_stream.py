"""A stream against the virtual clock: blocks, conditions, canaries and incidents in the journal."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from lmdm_bench.block_clock import VirtualClock
from lmdm_bench.block_counters import BlockCounters
from lmdm_bench.canary import CanaryWatch
from lmdm_bench.conditions import Conditions
from lmdm_bench.journal import Journal
from lmdm_bench.lost_time import Lost
from lmdm_bench.paced_stream import Playing, play_stream
from lmdm_bench.ring import Ring, play
from scripted import BLOCK_MS, Scripted

RING = Ring(2, BLOCK_MS)
TIMES = [12.0, 14.0, 18.0, 70.0, 12.0, 12.0, 25.0, 12.0, 12.0, 12.0]


class NothingLost:
    def since_last(self, wake_error_ms: float) -> Lost | None:
        return None


@pytest.fixture
def journal() -> Iterator[Journal]:
    one = Journal(most_blocks=2000, most_steps=1)
    yield one
    one.close()


def play_scripted(
    journal: Journal,
    times: list[float],
    num_blocks: int,
    *,
    kinds: tuple[str, ...] = (),
    ring: Ring = RING,
    **changes: Any,
) -> Scripted:
    clock = VirtualClock(ring)
    subject = Scripted(times, clock.spend, changes.pop("act", lambda index: None))
    plain = {
        "journal": journal,
        "block_ms": BLOCK_MS,
        "conditions": Conditions(kinds, BLOCK_MS, 0),
        "counters": BlockCounters("cpu"),
        "canary": CanaryWatch(clock.now_ms, lambda: 1.0),
        "lost_time": NothingLost(),
        "synchronise": lambda: None,
        "is_over": lambda count, now_ms: count >= num_blocks,
    }
    play_stream(subject, clock, Playing(**{**plain, **changes}))
    return subject


@pytest.mark.parametrize("policy", ["zero-pad", "stall"])
def test_blocks_are_played_as_the_ring_s_arithmetic_says(journal: Journal, policy) -> None:
    ring = Ring(2, BLOCK_MS, policy)
    play_scripted(journal, TIMES, len(TIMES), ring=ring)
    found = journal.read(BLOCK_MS).blocks
    expected = play(TIMES, ring)
    for name in ("room_ms", "started_ms", "ready_ms", "deadline_ms"):
        told = [getattr(one, name) for one in found]
        np.testing.assert_allclose(told, getattr(expected, name), atol=1e-9)
    assert [one.block.service_ms for one in found] == pytest.approx(TIMES)
    assert [one.block.steps_ms[0] for one in found] == pytest.approx(TIMES)
    assert all(one.block.host_ms == pytest.approx(0.0) for one in found)
    assert all(one.rms == pytest.approx(0.25) for one in found)


def test_conditions_come_while_it_plays_and_control_to_sound_is_measured(journal: Journal) -> None:
    subject = play_scripted(journal, [12.0], 1500, kinds=("prompt", "input"))
    written = journal.read(BLOCK_MS)
    assert [one.kind for one in written.controls[:3]] == ["prompt", "input", "prompt"]
    assert [one for one in subject.calls if one != "block"][:3] == ["prompt 1", "input", "prompt 2"]
    for one in written.controls:
        assert one.block_index is not None and one.heard_ms is not None
        carrier = written.blocks[one.block_index]
        assert carrier.started_ms >= one.arrived_ms
        assert one.heard_ms == carrier.deadline_ms
        # Begun when the ring has room, two blocks before it is heard; at most a block's wait.
        assert 2 * BLOCK_MS <= one.heard_ms - one.arrived_ms <= 3 * BLOCK_MS


def test_a_prompt_s_own_time_is_part_of_the_block_and_told(journal: Journal) -> None:
    clock = VirtualClock(RING)

    class Slow(Scripted):
        def change_prompt(self, number: int) -> None:
            clock.spend(3.0)

    playing = Playing(
        journal,
        BLOCK_MS,
        Conditions(("prompt",), BLOCK_MS, 0),
        BlockCounters("cpu"),
        CanaryWatch(clock.now_ms, lambda: 1.0),
        NothingLost(),  # type: ignore[arg-type]
        lambda: None,
        lambda count, now_ms: count >= 600,
    )
    play_stream(Slow([12.0], clock.spend), clock, playing)
    found = journal.read(BLOCK_MS)
    carriers = {one.block_index for one in found.controls}
    assert carriers
    for one in found.blocks:
        expected = 3.0 if one.block.block_index in carriers else 0.0
        assert one.control_ms == pytest.approx(expected)
        assert one.block.service_ms == pytest.approx(12.0 + expected)
        assert one.block.host_ms == pytest.approx(expected)


def test_canaries_are_written_as_they_are_done(journal: Journal) -> None:
    play_scripted(journal, [5.0], 2000)
    canary = journal.read(BLOCK_MS).canary
    assert canary.reason is None
    assert len(canary.times_ms) == 2
    assert canary.times_ms[1] - canary.times_ms[0] >= 30_000


def test_a_suspend_is_an_incident_and_the_run_goes_on(journal: Journal) -> None:
    class Slept:
        looks = 0

        def since_last(self, wake_error_ms: float) -> Lost | None:
            self.looks += 1
            return Lost("suspend", 30_000.0) if self.looks == 4 else None

    play_scripted(journal, [12.0], 10, lost_time=Slept())
    found = journal.read(BLOCK_MS)
    assert [one.kind for one in found.incidents] == ["suspend"]
    assert len(found.blocks) == 10


def test_it_ends_when_it_is_told_to_and_keeps_every_finished_block(journal: Journal) -> None:
    def act(index: int) -> None:
        if index == 6:
            journal.stop()

    play_scripted(journal, [12.0], 100, act=act)
    assert journal.num_blocks == 7


def test_what_goes_wrong_goes_upwards_with_the_blocks_before_it_kept(journal: Journal) -> None:
    def act(index: int) -> None:
        if index == 5:
            raise RuntimeError("the model broke")

    with pytest.raises(RuntimeError, match="the model broke"):
        play_scripted(journal, [12.0], 100, act=act)
    assert journal.num_blocks == 5


def test_samples_must_be_numbers(journal: Journal) -> None:
    class Broken(Scripted):
        def make_block(self, watch):
            return np.full((2, 8), np.nan, np.float32)

    clock = VirtualClock(RING)
    playing = Playing(
        journal,
        BLOCK_MS,
        Conditions((), BLOCK_MS, 0),
        BlockCounters("cpu"),
        CanaryWatch(clock.now_ms, lambda: 1.0),
        NothingLost(),  # type: ignore[arg-type]
        lambda: None,
        lambda count, now_ms: count >= 3,
    )
    with pytest.raises(FloatingPointError, match="not finite"):
        play_stream(Broken([1.0], clock.spend), clock, playing)
