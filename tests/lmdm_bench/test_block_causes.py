"""A planted cause is found at its block and at no other; a slow block without one is unknown."""

import dataclasses
import math

import numpy as np
import pytest

import check_records
from lmdm_bench.block_causes import label
from lmdm_bench.check_record import Incident, Telemetry
from lmdm_bench.telemetry import (
    GPU_IDLE,
    HARDWARE_SLOWDOWN,
    HARDWARE_THERMAL,
    POWER_BRAKE,
    POWER_CAP,
    SOFTWARE_THERMAL,
)

NUM_BLOCKS = 40
SLOW_BLOCK = 20
USUAL_MS, SLOW_MS = 1500.0, 2100.0
PERIOD_MS = 200.0
GIBIBYTE = 1 << 30


def stream(slow_ms=SLOW_MS, usual_ms=USUAL_MS, num_blocks=NUM_BLOCKS, **counted):
    """A cell in which one block takes longer, with these counters; none misses its deadline."""
    times = [usual_ms] * num_blocks
    times[SLOW_BLOCK % num_blocks] = slow_ms
    return with_counters(check_records.cell(times), SLOW_BLOCK % num_blocks, **counted)


def with_counters(cell, index, **counted):
    blocks = list(cell.blocks)
    one = blocks[index]
    counters = dataclasses.replace(one.counters, **counted)
    blocks[index] = dataclasses.replace(one, counters=counters)
    return dataclasses.replace(cell, blocks=tuple(blocks))


def read(cell, **columns):
    """Telemetry of these columns: functions of the instant, and of whether a block was made."""
    times_ms = np.arange(0.0, cell.blocks[-1].ready_ms + 2 * PERIOD_MS, PERIOD_MS)
    return Telemetry(
        period_ms=PERIOD_MS,
        times_ms=tuple(times_ms),
        columns={
            name: tuple(value(at_ms, busy_with(cell, at_ms)) for at_ms in times_ms)
            for name, value in columns.items()
        },
        unavailable={},
        ended=None,
    )


def busy_with(cell, at_ms):
    """The block that is made at this instant; None between two."""
    for index, one in enumerate(cell.blocks):
        if one.started_ms <= at_ms <= one.ready_ms:
            return index
    return None


def labelled(cell, telemetry=None, incidents=(), memory_limit_bytes=None):
    found = label(
        cell.blocks,
        cell.block_ms,
        telemetry or read(cell),
        incidents,
        memory_limit_bytes,
    )
    assert len(found) == len(cell.blocks)
    return found


def of_slow_block(cell, telemetry=None, incidents=(), memory_limit_bytes=None):
    """The slow block's causes, after a look that no other block has any but the first."""
    found = labelled(cell, telemetry, incidents, memory_limit_bytes)
    others = [causes for index, causes in enumerate(found) if index != SLOW_BLOCK]
    assert others == [("first",)] + [()] * (len(found) - 2)
    return found[SLOW_BLOCK]


def test_a_slow_block_without_a_cause_is_unknown():
    assert of_slow_block(stream()) == ("unknown",)


def test_a_steady_stream_has_no_causes_but_the_first():
    cell = check_records.cell(check_records.steady())
    assert labelled(cell) == (("first",), *[()] * (len(cell.blocks) - 1))


def test_slow_is_a_quarter_above_the_neighbours():
    assert of_slow_block(stream(1.26 * USUAL_MS)) == ("unknown",)
    assert of_slow_block(stream(1.24 * USUAL_MS)) == ()


@pytest.mark.parametrize("num_blocks", [0, 1, 2, 3])
def test_the_shortest_streams_are_labelled_too(num_blocks):
    cell = check_records.cell([USUAL_MS] * max(1, num_blocks))
    cell = dataclasses.replace(cell, blocks=cell.blocks[:num_blocks])
    found = label(cell.blocks, cell.block_ms, read(stream()), ())
    assert found == (("first",), (), ())[:num_blocks]


def test_a_slow_first_block_is_that_and_not_unknown():
    cell = check_records.cell([4000.0] + [USUAL_MS] * 20)
    assert labelled(cell)[0] == ("first",)


@pytest.mark.parametrize(
    ("counted", "causes"),
    [
        ({"num_compiles": 1}, ("compile",)),
        ({"num_allocs": 2}, ("alloc",)),
        ({"num_allocs": 0}, ("unknown",)),
        ({"gc_ms": 0.011 * SLOW_MS}, ("gc",)),
        ({"gc_ms": 0.009 * SLOW_MS}, ("unknown",)),
        ({"num_compiles": 1, "num_allocs": 1, "gc_ms": 50.0}, ("compile", "alloc", "gc")),
        ({"num_preemptions": 80}, ("preempt",)),
        ({"num_preemptions": 60}, ("unknown",)),
        ({"num_preemptions": None}, ("unknown",)),
        ({"num_major_faults": 300}, ("spill",)),
        ({"num_major_faults": 100}, ("unknown",)),
        ({"num_major_faults": None}, ("unknown",)),
        ({"num_preemptions": 90, "num_major_faults": 300}, ("preempt", "spill")),
    ],
)
def test_a_slow_block_has_the_causes_that_were_counted(counted, causes):
    assert of_slow_block(stream(**counted)) == causes


@pytest.mark.parametrize(
    ("counted", "causes"),
    [
        ({"num_compiles": 1}, ("compile",)),
        ({"num_allocs": 1}, ("alloc",)),
        ({"gc_ms": 30.0}, ("gc",)),
        ({"num_preemptions": 500, "num_major_faults": 9000}, ()),
    ],
)
def test_a_block_that_is_not_slow_has_only_what_it_did_itself(counted, causes):
    assert of_slow_block(stream(USUAL_MS, **counted)) == causes


def test_preemptions_that_every_block_has_explain_no_single_one():
    """On a machine that is always shared; a longer block has more of them."""
    cell = stream()
    for index, one in enumerate(cell.blocks):
        cell = with_counters(cell, index, num_preemptions=round(one.block.service_ms / 5))
    for factor, causes in [(1.0, ("unknown",)), (2.9, ("unknown",)), (3.1, ("preempt",))]:
        cell = with_counters(cell, SLOW_BLOCK, num_preemptions=round(factor * SLOW_MS / 5))
        assert of_slow_block(cell) == causes


@pytest.mark.parametrize(
    ("load", "causes"), [(0.6, ("preempt",)), (0.2, ("unknown",)), (None, ("unknown",))]
)
def test_others_load_in_a_slow_block_s_time_preempts_it(load, causes):
    cell = stream()
    telemetry = read(
        cell, other_load_share=lambda at_ms, index: load if index == SLOW_BLOCK else 0.02
    )
    assert of_slow_block(cell, telemetry) == causes


def test_others_load_at_another_time_does_not():
    cell = stream()
    telemetry = read(
        cell,
        other_load_share=lambda at_ms, index: 0.0 if index in (None, SLOW_BLOCK) else 0.9,
    )
    assert of_slow_block(cell, telemetry) == ("unknown",)


def test_a_reading_tells_of_the_time_before_it():
    """Blocks of 30 ms, and the load of one of them is first read some time after it."""
    cell = stream(45.0, 30.0)
    one = cell.blocks[SLOW_BLOCK]
    for at_ms, causes in [
        (one.started_ms, ("unknown",)),
        (one.ready_ms + PERIOD_MS - 1, ("preempt",)),
        (one.ready_ms + PERIOD_MS + 1, ("unknown",)),
    ]:
        telemetry = Telemetry(PERIOD_MS, (at_ms,), {"other_load_share": (0.9,)}, {}, None)
        assert of_slow_block(cell, telemetry) == causes


@pytest.mark.parametrize(
    ("bits", "causes"),
    [
        (SOFTWARE_THERMAL, ("throttle",)),
        (HARDWARE_THERMAL | HARDWARE_SLOWDOWN, ("throttle",)),
        (POWER_BRAKE, ("throttle",)),
        (POWER_CAP, ("unknown",)),
        (HARDWARE_SLOWDOWN, ("unknown",)),
        (GPU_IDLE, ("unknown",)),
        (None, ("unknown",)),
    ],
)
def test_a_gpu_that_says_it_is_too_hot_is_throttled(bits, causes):
    cell = stream()
    telemetry = read(
        cell, gpu_throttle_bits=lambda at_ms, index: bits if index == SLOW_BLOCK else 0
    )
    assert of_slow_block(cell, telemetry) == causes


@pytest.mark.parametrize("name", ["gpu_sm_clock_mhz", "cpu_frequency_mhz"])
@pytest.mark.parametrize(
    ("dropped_mhz", "causes"),
    [(1590.0, ("throttle",)), (1640.0, ("unknown",)), (None, ("unknown",))],
)
def test_a_clock_that_drops_by_a_tenth_is_throttled(name, dropped_mhz, causes):
    """Clocks between blocks are lower still, and say nothing."""
    cell = stream()

    def clock(at_ms, index):
        if index is None:
            return 300.0
        return dropped_mhz if index == SLOW_BLOCK else 1800.0

    assert of_slow_block(cell, read(cell, **{name: clock})) == causes


def test_where_there_is_a_gpu_the_processor_s_clock_does_not_decide():
    cell = stream()
    telemetry = read(
        cell,
        gpu_sm_clock_mhz=lambda at_ms, index: 1800.0,
        cpu_frequency_mhz=lambda at_ms, index: 900.0 if index == SLOW_BLOCK else 3000.0,
    )
    assert of_slow_block(cell, telemetry) == ("unknown",)


@pytest.mark.parametrize(("num_bytes", "causes"), [(2 << 20, ("spill",)), (4096, ("unknown",))])
def test_pages_that_come_back_from_the_disk_are_a_spill(num_bytes, causes):
    cell = stream()
    middle_ms = cell.blocks[SLOW_BLOCK].started_ms + SLOW_MS / 2
    telemetry = read(cell, swap_in_bytes=lambda at_ms, index: 7.0 + num_bytes * (at_ms > middle_ms))
    assert of_slow_block(cell, telemetry) == causes


def test_swapping_in_a_block_shorter_than_a_period_is_seen():
    cell = stream(45.0, 30.0)
    one = cell.blocks[SLOW_BLOCK]
    telemetry = Telemetry(
        PERIOD_MS,
        (one.started_ms - 100.0, one.ready_ms + 55.0),
        {"swap_in_bytes": (0.0, 1e6)},
        {},
        None,
    )
    assert of_slow_block(cell, telemetry) == ("spill",)


@pytest.mark.parametrize(
    ("used_gib", "limit_gib", "causes"),
    [(7.9, 8, ("spill",)), (7.0, 8, ("unknown",)), (7.9, None, ("unknown",))],
)
def test_a_gpu_without_free_memory_spills(used_gib, limit_gib, causes):
    cell = stream()
    telemetry = read(
        cell,
        gpu_memory_used_bytes=lambda at_ms, index: (
            (used_gib if index == SLOW_BLOCK else 5.0) * GIBIBYTE
        ),
    )
    limit_bytes = None if limit_gib is None else limit_gib * GIBIBYTE
    assert of_slow_block(cell, telemetry, memory_limit_bytes=limit_bytes) == causes


@pytest.mark.parametrize(
    ("kind", "place", "causes"),
    [
        ("suspend", "within", ("suspend",)),
        ("suspend", "in the pause before", ("suspend",)),
        ("suspend", "in the block before", ("unknown",)),
        ("suspend", "after", ("unknown",)),
        ("clock jump", "within", ("unknown",)),
    ],
)
def test_a_suspend_since_the_block_before_is_a_cause(kind, place, causes):
    cell = stream()
    one, before = cell.blocks[SLOW_BLOCK], cell.blocks[SLOW_BLOCK - 1]
    at_ms = {
        "within": one.started_ms + 5.0,
        "in the pause before": (before.ready_ms + one.started_ms) / 2,
        "in the block before": before.ready_ms - 5.0,
        "after": one.ready_ms + 5.0,
    }[place]
    incidents = [Incident(at_ms, kind, "the machine slept for 30 s")]
    assert of_slow_block(cell, incidents=incidents) == causes


def test_a_miss_gets_what_stood_beside_it_and_is_never_unknown():
    """A block of 8 s makes those after it late, at their usual speed."""
    cell = stream(8000.0)
    misses = [index for index, one in enumerate(cell.blocks) if one.lateness_ms > 0]
    assert len(misses) > 2 and misses[0] == SLOW_BLOCK
    found = labelled(cell)
    assert found[SLOW_BLOCK] == ("unknown",)
    assert {found[index] for index in misses[1:]} == {()}
    telemetry = read(cell, other_load_share=lambda at_ms, index: 0.5 if index in misses else 0.0)
    found = labelled(cell, telemetry)
    assert {found[index] for index in misses} == {("preempt",)}


def test_a_machine_that_is_always_too_slow_needs_no_cause():
    found = labelled(check_records.cell([4000.0] * 20))
    assert found == (("first",), *[()] * 19)


def test_a_block_longer_than_it_plays_is_slow_though_the_ring_bears_it():
    cell = check_records.cell([2000.0] * 80 + [2400.0] * 3, prebuffer_blocks=3)
    assert max(one.lateness_ms for one in cell.blocks) < 0
    assert labelled(cell)[80:] == ((),) * 3  # it does not stand out
    telemetry = read(
        cell,
        gpu_throttle_bits=lambda at_ms, index: SOFTWARE_THERMAL if (index or 0) >= 80 else 0,
    )
    assert labelled(cell, telemetry)[80:] == (("throttle",),) * 3


def test_a_blocks_deadline_may_be_unknown():
    """The run ended while the prebuffer was filled."""
    cell = stream(SLOW_MS, num_blocks=NUM_BLOCKS)
    blocks = tuple(dataclasses.replace(one, deadline_ms=math.nan) for one in cell.blocks)
    cell = dataclasses.replace(cell, blocks=blocks)
    assert of_slow_block(cell) == ("unknown",)


def test_without_telemetry_the_counters_are_left():
    nothing = Telemetry(PERIOD_MS, (), {}, {}, "could not be started")
    assert of_slow_block(stream(num_major_faults=300), nothing) == ("spill",)
    assert of_slow_block(stream(), nothing) == ("unknown",)


def test_telemetry_that_broke_off_says_nothing_of_what_came_after():
    cell = stream()
    whole = read(cell, other_load_share=lambda at_ms, index: 0.9 if index == SLOW_BLOCK else 0.0)
    num_kept = int(cell.blocks[SLOW_BLOCK].started_ms / PERIOD_MS)
    cut = dataclasses.replace(
        whole,
        times_ms=whole.times_ms[:num_kept],
        columns={name: column[:num_kept] for name, column in whole.columns.items()},
        ended="was stopped by signal 9",
    )
    assert of_slow_block(cell, whole) == ("preempt",)
    assert of_slow_block(cell, cut) == ("unknown",)
