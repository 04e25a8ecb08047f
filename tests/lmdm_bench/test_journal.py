"""What one process writes into a journal, another reads, whole rows only."""

import math
import multiprocessing
from collections.abc import Iterator
from dataclasses import replace

import pytest

import check_records
from lmdm_bench.check_record import Control, Counters, PacedBlock
from lmdm_bench.journal import MAX_CONTROLS, Journal
from scripted import write_one_block

BLOCK_MS = 1000.0


@pytest.fixture
def journal() -> Iterator[Journal]:
    one = Journal(most_blocks=30, most_steps=8)
    yield one
    one.close()


def blocks(count: int) -> list[PacedBlock]:
    """As a generator gives them: without labels, and the prebuffer without deadlines."""
    made = check_records.cell(check_records.steady(count)).blocks
    plain = [replace(one, block=replace(one.block, labels=())) for one in made]
    return [replace(one, deadline_ms=math.nan) for one in plain[:2]] + plain[2:]


def test_blocks_come_back_as_they_were_written(journal: Journal) -> None:
    written = blocks(12)
    sparse = replace(
        written[5],
        rms=None,
        counters=Counters(0.5, 1, None, None, None),
        block=replace(
            written[5].block, context_encode_ms=270.0, codec_decode_ms=None, steps_ms=(1.0, 2.0)
        ),
    )
    written[5] = sparse
    for one in written:
        journal.add_block(one)
    found = journal.read(BLOCK_MS).blocks
    assert list(found[2:]) == written[2:]
    assert journal.num_blocks == 12
    assert journal.service_ms() == [one.block.service_ms for one in written]
    assert journal.slowest_ms() == max(journal.service_ms())


def test_the_prebuffer_s_deadlines_are_told_once_playback_has_begun(journal: Journal) -> None:
    first, second, third = blocks(3)
    journal.add_block(first)
    (alone,) = journal.read(BLOCK_MS).blocks
    assert alone.deadline_ms == first.ready_ms
    journal.add_block(second)
    journal.add_block(third)
    told = [one.deadline_ms for one in journal.read(BLOCK_MS).blocks]
    assert told == [second.ready_ms, second.ready_ms + BLOCK_MS, third.deadline_ms]


def test_late_blocks_are_counted(journal: Journal) -> None:
    for index, one in enumerate(blocks(10)):
        late = replace(one, ready_ms=one.deadline_ms + 1.0) if index in (4, 7) else one
        journal.add_block(late)
    assert journal.num_misses() == 2


def test_a_block_that_comes_while_they_are_counted_is_not_half_counted(journal: Journal) -> None:
    late, *others = (replace(one, deadline_ms=one.ready_ms - 1.0) for one in blocks(10)[2:])
    journal.add_block(late)

    class Busy:
        """A table to which someone adds whenever it is looked at."""

        def __init__(self, table) -> None:
            self._table = table

        def values(self):
            seen = self._table.values()
            journal._blocks = self._table
            journal.add_block(others.pop())
            journal._blocks = self
            return seen

    journal._blocks = Busy(journal._blocks)  # type: ignore[assignment]
    assert [journal.num_misses() for _ in range(3)] == [1, 2, 3]
    assert journal.slowest_ms() > 0


def test_controls_canaries_and_incidents_come_back(journal: Journal) -> None:
    controls = (
        Control("prompt", 10.0, 3, 40.0),
        Control("input", 20.0, None, None),
    )
    for one in controls:
        journal.add_control(one)
    journal.add_canary(100.0, 1.5)
    journal.add_canary(200.0, 1.6)
    journal.add_incident(5.0, "suspend", 30_000.0)
    journal.add_incident(6.0, "clock jump", -3_600_000.0)
    found = journal.read(BLOCK_MS)
    assert found.controls == controls
    assert found.canary.times_ms == (100.0, 200.0) and found.canary.work_ms == (1.5, 1.6)
    assert found.canary.reason is None
    assert [one.kind for one in found.incidents] == ["suspend", "clock jump"]
    assert "30.0 s" in found.incidents[0].words and "-3600.0 s" in found.incidents[1].words


def test_an_empty_journal_says_so(journal: Journal) -> None:
    found = journal.read(BLOCK_MS)
    assert (found.blocks, found.controls, found.incidents) == ((), (), ())
    assert found.canary.reason is not None
    assert (journal.slowest_ms(), journal.num_misses()) == (0.0, 0)


def test_what_there_is_no_room_for_is_refused_or_dropped(journal: Journal) -> None:
    one = blocks(3)[2]
    too_many = replace(one, block=replace(one.block, steps_ms=(1.0,) * 9))
    with pytest.raises(ValueError, match="9 steps, at most 8"):
        journal.add_block(too_many)
    for _ in range(35):
        journal.add_block(one)
    for _ in range(MAX_CONTROLS + 1):
        journal.add_control(Control("prompt", 1.0, None, None))
    found = journal.read(BLOCK_MS)
    assert (len(found.blocks), len(found.controls)) == (30, MAX_CONTROLS)


def test_another_process_writes_and_hears_the_stop(journal: Journal) -> None:
    assert not journal.must_stop
    journal.stop()
    spawn = multiprocessing.get_context("spawn")
    writer = spawn.Process(target=write_one_block, args=(journal.name, 30, 8))
    writer.start()
    writer.join(60)
    assert writer.exitcode == 0
    assert journal.num_blocks == 1
