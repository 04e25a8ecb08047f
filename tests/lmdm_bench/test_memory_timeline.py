"""A timeline is the sum of what was allocated and released, by stage and by line."""

import dataclasses

import host_and_memory_profiles as profiles
from host_and_memory_profiles import MIB
from lmdm_bench.memory_timeline import (
    NUM_HELD,
    UNKNOWN_PLACE,
    Change,
    Held,
    Range,
    memory_timeline,
    stage_peaks,
)

BLOCK = Range("block", 0, 100_000_000)


def test_the_level_is_the_sum_so_far() -> None:
    timeline = profiles.memory_profile().timeline
    assert timeline.times_ms == (0, 1, 12, 20, 25, 28, 60, 70, 75, 80, 90, 95)
    levels = [one / MIB for one in timeline.allocated_bytes]
    assert levels == [0, 1, 5, 11, 5, 1, 13, 18, 21, 9, 4, 1]
    assert timeline.block_ms == 100.0 and timeline.block_index == 1
    assert (timeline.num_allocations, timeline.allocated_sum_bytes) == (6, 31 * MIB)
    assert (timeline.peak_bytes, timeline.peak_ms, timeline.end_bytes) == (21 * MIB, 75.0, MIB)


def test_each_stage_has_its_peak_and_what_it_leaves() -> None:
    first, later, codec = profiles.memory_profile().timeline.stages
    assert (first.begin_ms, first.end_ms) == (10.0, 30.0)
    assert (first.peak_bytes, first.peak_ms, first.end_bytes) == (11 * MIB, 20.0, MIB)
    # Nothing changes in it: what was held before is its peak, from its begin on.
    assert (later.peak_bytes, later.peak_ms, later.end_bytes) == (MIB, 30.0, MIB)
    assert (codec.peak_bytes, codec.peak_ms, codec.end_bytes) == (21 * MIB, 75.0, MIB)


def test_what_is_held_at_the_peak_is_told_by_line_and_operator() -> None:
    timeline = profiles.memory_profile().timeline
    assert timeline.held == (
        Held("lmdm_ref/codec.py:282", "aten::conv1d", 12 * MIB, 1, is_copy=False),
        Held("lmdm_ref/codec.py:239", "aten::cat", 5 * MIB, 1, is_copy=True),
        Held(UNKNOWN_PLACE, "aten::sin_", 3 * MIB, 1, is_copy=False),
        Held("lmdm_ref/stream.py:165", "aten::randn", MIB, 1, is_copy=False),
    )
    assert timeline.held_bytes == timeline.peak_bytes


def test_allocations_of_one_line_are_added_and_small_ones_are_left_to_the_sum() -> None:
    changes = [Change(at, 100, at, ("aten::add",), "a:1") for at in (1, 2)]
    changes += [Change(10 + at, 1, 10 + at, ("aten::add",), f"b:{at}") for at in range(20)]
    timeline = memory_timeline(changes, BLOCK, [], 0)
    assert timeline.held[0] == Held("a:1", "aten::add", 200, 2, is_copy=False)
    assert len(timeline.held) == NUM_HELD and timeline.held_bytes == 220


def test_an_address_is_used_again_and_what_was_there_before_may_be_released() -> None:
    changes = [
        Change(1, 10, 7),
        Change(2, -10, 7),
        Change(3, 30, 7),
        Change(4, -50, 99),  # allocated before the block, as CUDA tells
    ]
    timeline = memory_timeline(changes, BLOCK, [Range("step", 0, 10)], 0)
    assert timeline.allocated_bytes == (0, 10, 0, 30, -20)
    assert timeline.peak_bytes == 30 and timeline.end_bytes == -20
    assert [one.num_bytes for one in timeline.held] == [30]


def test_a_block_without_allocations_holds_nothing() -> None:
    timeline = memory_timeline([], BLOCK, [Range("step", 0, 10)], 0)
    assert timeline.peak_bytes == timeline.end_bytes == 0 and timeline.held == ()
    assert timeline.times_ms == (0.0,) and timeline.stages[0].peak_bytes == 0


def test_of_many_stages_of_a_name_the_highest_is_told() -> None:
    timeline = profiles.memory_profile().timeline
    first = timeline.stages[0]
    higher = dataclasses.replace(timeline.stages[1], peak_bytes=2 * MIB)
    lower = dataclasses.replace(higher, peak_bytes=1)
    whole = dataclasses.replace(timeline, stages=(first, higher, lower))
    assert stage_peaks(whole) == {"first step": first, "later steps": higher}
