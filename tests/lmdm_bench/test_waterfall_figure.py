import dataclasses

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

import check_records
from claims_drawn import words
from lmdm_bench.canvas import INK
from lmdm_bench.check_record import CheckCell, Policy
from lmdm_bench.waterfall_figure import (
    NUM_WINDOWS,
    ring_level_ms,
    stages_of,
    waterfall,
    worst_windows,
)

STEP_MS = 10.0


def bars(axes: Axes, row: int) -> list[Rectangle]:
    """The stages of a row from the left to the right."""
    found = [
        one
        for one in axes.patches
        if one.get_height() == pytest.approx(0.62)
        and one.get_y() + one.get_height() / 2 == pytest.approx(row)
    ]
    return sorted(found, key=lambda one: one.get_x())


def windows(record) -> list[tuple[int, range]]:
    (cell,) = record.check_cells
    return list(worst_windows(cell, record.settings))


def test_a_row_is_a_block_from_when_it_was_begun_to_when_it_was_ready():
    record = check_records.with_stalls()
    (cell,) = record.check_cells
    for axes, (_, blocks) in zip(waterfall(record).axes[::2], windows(record), strict=True):
        origin = cell.blocks[blocks[0]].started_ms
        for row, at in enumerate(blocks):
            one, found = cell.blocks[at], bars(axes, row)
            assert len(found) == 4  # first step, later steps, codec, host
            assert 1000 * found[0].get_x() == pytest.approx(one.started_ms - origin)
            assert 1000 * sum(bar.get_width() for bar in found) == pytest.approx(
                one.block.service_ms
            )
            ticks = [line.get_xdata()[0] * 1000 for line in axes.lines]
            assert any(tick == pytest.approx(one.deadline_ms - origin) for tick in ticks)


def test_lateness_is_a_dark_bar_from_the_deadline_to_when_it_was_ready():
    record = check_records.with_stalls()
    (cell,) = record.check_cells
    axes, (_, blocks) = waterfall(record).axes[0], windows(record)[0]
    dark = [one for one in axes.patches if one.get_height() == pytest.approx(0.14)]
    late = [cell.blocks[at].lateness_ms for at in blocks if cell.blocks[at].lateness_ms > 0]
    assert [1000 * one.get_width() for one in dark] == pytest.approx(late)


def test_the_worst_of_each_dropout_come_first_and_no_block_twice():
    record = check_records.with_stalls()
    assert [at for at, _ in windows(record)] == [61, 200, 64]
    text = words(waterfall(record))
    for told in ("block 61 at 2:17: 3.24 s late", "block 200 at 7:24: 512 ms late"):
        assert told in text
    assert "the latest of each dropout" in text


def test_one_long_dropout_is_shown_where_it_is_worst_and_where_it_began():
    record = check_records.with_heat()
    (cell,) = record.check_cells
    began = next(at for at, one in enumerate(cell.blocks) if one.lateness_ms > 0)
    assert [at for at, _ in windows(record)][:2] == [268, began]
    assert "due 46.1 s earlier" in words(waterfall(record))


def test_without_a_miss_the_slowest_are_shown():
    record = check_records.likely()
    (cell,) = record.check_cells
    slowest = sorted(range(269), key=lambda at: -cell.service_ms[at])
    assert [at for at, _ in windows(record)] == slowest[:NUM_WINDOWS]
    assert "the slowest, with their neighbours" in words(waterfall(record))


@pytest.mark.parametrize("num_blocks", [1, 2, 4, 5, 6, 20])
def test_windows_are_whole_as_far_as_there_are_blocks(num_blocks):
    record = check_records.record(check_records.cell(check_records.steady(num_blocks)))
    for worst, blocks in windows(record):
        assert worst in blocks and len(blocks) == min(5, num_blocks)
        assert blocks[0] >= 0 and blocks[-1] < num_blocks
    assert 1 <= len(windows(record)) <= min(NUM_WINDOWS, num_blocks)


def test_causes_stand_over_their_block():
    record = check_records.with_stalls()
    (cell,) = record.check_cells
    blocks = list(cell.blocks)
    slow = blocks[61]
    labelled = dataclasses.replace(slow.block, labels=("preempt", "throttle"))
    blocks[61] = dataclasses.replace(slow, block=labelled)
    cell = dataclasses.replace(cell, blocks=tuple(blocks))
    text = words(waterfall(dataclasses.replace(record, check_cells=(cell,))))
    assert "throttled, preempted" in text and text.count("no cause was counted") == 2


def test_every_stage_that_a_block_has_is_told_in_its_order():
    (cell,) = check_records.short().check_cells
    plain = cell.blocks[0].block
    assert [name for name, _ in stages_of(plain)] == [
        "first step",
        "later steps",
        "codec decode",
        "host",
    ]
    whole = dataclasses.replace(plain, context_encode_ms=7.0, commit_ms=3.0)
    assert dict(stages_of(whole))["context encode"] == 7.0
    assert sum(took_ms for _, took_ms in stages_of(whole)) == pytest.approx(plain.service_ms + 10.0)


def test_a_model_of_tokens_has_frames_in_place_of_steps():
    (cell,) = check_records.short().check_cells
    cell = dataclasses.replace(cell, workload=dataclasses.replace(cell.workload, steps=None))
    text = words(waterfall(check_records.record(cell)))
    assert "first frame" in text and "later frames" in text and "step" not in text


def level_by_steps(cell: CheckCell, policy: Policy, end_ms: float) -> np.ndarray:
    """What a player holds, one small step after the other: by what it does, not by arithmetic."""
    block = round(cell.block_ms / STEP_MS)
    ready = [one.ready_ms for one in cell.blocks]
    begins = cell.blocks[0].deadline_ms
    position, level = 0, []
    for step in range(round(end_ms / STEP_MS)):
        now = step * STEP_MS
        level.append(
            STEP_MS
            * sum(
                1
                for place in range(position, position + 9 * block)
                if place // block < len(ready) and ready[place // block] <= now
            )
        )
        if now >= begins and position // block < len(ready):
            is_there = ready[position // block] <= now
            position += 1 if is_there or policy != "stall" else 0
    return np.array(level)


@pytest.mark.parametrize("policy", ["zero-pad", "stall"])
def test_the_ring_level_is_what_a_player_holds(policy):
    times = [150.0, 150.0, 150.0, 700.0, 90.0, 150.0, 400.0, 150.0, 150.0, 150.0]
    cell = check_records.cell(times, policy=policy)
    # Blocks of 200 ms, so that there are few steps.
    work = dataclasses.replace(cell.workload, block_seconds=0.2)
    played = check_records.play(times, check_records.Ring(2, 200.0, policy))
    blocks = tuple(
        dataclasses.replace(one, ready_ms=float(ready), deadline_ms=float(deadline))
        for one, ready, deadline in zip(
            cell.blocks, played.ready_ms, played.deadline_ms, strict=True
        )
    )
    cell = dataclasses.replace(cell, workload=work, blocks=blocks)
    expected = level_by_steps(cell, policy, 2500.0)
    at = np.arange(expected.size) * STEP_MS
    level = ring_level_ms(cell.blocks, 200.0, policy, at)
    assert np.abs(level - expected).max() <= STEP_MS
    assert (level == 0).any() and level.max() > 200


def test_a_dry_ring_is_dark():
    dry, full = waterfall(check_records.too_slow()), waterfall(check_records.likely())
    for figure, is_dry in ((dry, True), (full, False)):
        silence = figure.axes[1].collections[1]
        assert bool(silence.get_paths()) == is_dry
        assert tuple(silence.get_facecolor()[0][:3]) == tuple(
            int(INK[at : at + 2], 16) / 255 for at in (1, 3, 5)
        )
