import dataclasses

import numpy as np
import pytest

import check_records
import records
from lmdm_bench.replay import control_to_sound_ms, quantile_of_waits, replay_rows, trace_of
from lmdm_bench.ring import Ring, play

BLOCK_MS = 100.0


def brute_force_ms(service_ms, prebuffer_blocks: int, arrived_ms: float) -> float:
    """When a condition is heard by a player whose clock never stops, step by step."""
    now, playback, started = 0.0, None, []
    for index, time in enumerate(service_ms):
        if playback is not None:
            now = max(now, playback + (index - prebuffer_blocks) * BLOCK_MS)
        started.append((now, now + time))
        now += time
        if index == prebuffer_blocks - 1:
            playback = now
    for index, (begun, ready) in enumerate(started):
        due = playback + index * BLOCK_MS
        if begun >= arrived_ms and ready < due + BLOCK_MS:
            return max(due, ready)
    return np.inf


@pytest.mark.parametrize("prebuffer_blocks", [1, 2, 5])
def test_conditions_are_heard_when_a_player_would_hear_them(prebuffer_blocks):
    times = np.random.default_rng(0).uniform(20, 190, 60)
    played = play(times, Ring(prebuffer_blocks, BLOCK_MS))
    waits = control_to_sound_ms(played)
    first = played.deadline_ms[0]
    for index, wait in enumerate(waits):
        arrived = first + index * BLOCK_MS / 20
        assert arrived + wait == pytest.approx(brute_force_ms(times, prebuffer_blocks, arrived))


def test_a_steady_stream_is_heard_after_its_prebuffer_and_up_to_a_block_more():
    waits = control_to_sound_ms(play([30.0] * 50, Ring(3, BLOCK_MS)))
    # Once playing, each block is begun just as the ring has room for it: 3 blocks before its time.
    assert quantile_of_waits(waits, 0.01) >= 3 * BLOCK_MS
    assert max(waits) <= 4 * BLOCK_MS
    assert quantile_of_waits(waits, 0.5) == pytest.approx(3.5 * BLOCK_MS, rel=0.05)


def test_what_is_not_heard_before_the_end_is_no_figure():
    played = play([400.0] * 30, Ring(1, BLOCK_MS))
    waits = control_to_sound_ms(played)
    assert np.isinf(waits).all() and quantile_of_waits(waits, 0.5) is None
    assert quantile_of_waits(np.empty(0), 0.5) is None


def test_a_stall_hears_every_block():
    played = play([400.0] * 30, Ring(1, BLOCK_MS, "stall"))
    assert np.isfinite(control_to_sound_ms(played)).all()


def test_rows_are_the_ring_s_own_arithmetic():
    cell = check_records.with_stalls().check_cells[0]
    rows = replay_rows(cell, (1, 2, 3, 4), "zero-pad")
    for row in rows:
        played = play(cell.service_ms, Ring(row.prebuffer_blocks, cell.block_ms))
        assert row.dropouts.num_misses == played.is_miss.sum()
        silence = played.missing_ms.sum() / (row.dropouts.num_blocks * cell.block_ms)
        assert row.silence_share == pytest.approx(silence)
    assert [row.dropouts.num_misses for row in rows][-1] == 0
    assert [row.control_p50_seconds for row in rows] == sorted(
        row.control_p50_seconds for row in rows
    )


def test_a_prebuffer_that_holds_the_whole_trace_says_nothing():
    cell = check_records.short().check_cells[0]
    (row,) = replay_rows(cell, (len(cell.blocks),), "zero-pad")
    assert row.dropouts is None and row.silence_share is None and row.control_p50_seconds is None


def test_a_cell_without_blocks_has_no_rows():
    assert replay_rows(check_records.failed().check_cells[0], (1, 2), "stall") == ()


@pytest.mark.parametrize("which", ["blocks", "none"])
def test_a_ring_that_is_none_is_refused(which):
    cell = check_records.failed().check_cells[0 if which == "none" else 1]
    with pytest.raises(ValueError, match="at least one block"):
        replay_rows(cell, (0,), "zero-pad")


def test_a_run_s_trace_leaves_out_the_warm_up():
    cell = records.all_ok().cells[0]
    trace = trace_of(cell)
    assert not trace.is_paced and len(trace.service_ms) == 9 < len(cell.blocks)
    assert trace.block_ms == pytest.approx(records.BLOCK_SECONDS * 1000)
    paced = trace_of(check_records.likely().check_cells[0])
    assert paced.is_paced and len(paced.service_ms) == 269


def test_more_prebuffer_never_adds_a_miss():
    cell = dataclasses.replace(check_records.cell(check_records.spikes(), prebuffer_blocks=1))
    rows = replay_rows(cell, range(1, 8), "zero-pad")
    misses = [row.dropouts.num_misses for row in rows]
    assert misses == sorted(misses, reverse=True) and misses[0] > 0
