"""Two revisions measured in turns: both sides' workers are there at once, and one at a time works.

A run is a few processes of each side. In each, rounds go over the cells in a seeded random order; a
cell's pair is a sample of either side, in a random order. After some rounds each goes to the half
of the cells that is told worst. The rest of the time is for new processes: they measure again what
was found different, which has to be found twice, and go on with what cannot be told yet. So each
question is looked at twice, and what that does to an answer is in reports/log.md. The record is
written after each process; Ctrl-C keeps what is finished.
"""

import datetime
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lmdm_bench.compare_effect import ONE_DEVIATION
from lmdm_bench.compare_record import (
    COMPARE_SCHEMA_VERSION,
    CellSide,
    CompareCell,
    CompareRecord,
    CompareSettings,
    Gate,
    Process,
    Side,
    Times,
    save_compare,
)
from lmdm_bench.compare_verdicts import flagged, untold
from lmdm_bench.errors import InputError
from lmdm_bench.estimates import needed_blocks
from lmdm_bench.gate import thresholds_of
from lmdm_bench.suite_process import SuiteProcess, WorkerCell, WorkerLost
from lmdm_bench.suite_sample import WorkerSample
from lmdm_bench.tool import describe_tool

SECONDS_PER_MINUTE = 60.0

# The part of the time in which every cell is measured; the rest is for so many processes more, of
# those cells that need it.
FIRST_SHARE = 0.6
NUM_AGAIN = 2
# What is only found different then is measured again all the same, beyond the time that was asked.
CONFIRMING_SECONDS = 40.0
# Fewer pairs tell nothing of a process; more than those little new.
MIN_PAIRS = needed_blocks(0.5)
MOST_PAIRS = 100
# A sample of what is shorter is many calls in a row.
LEAST_SAMPLE_MS = 80.0
# After a sample a library's threads look for more work for a while before they sleep.
SETTLE_SECONDS = 0.01

NOT_YET = "stopped before it was measured"


@dataclass(frozen=True, kw_only=True)
class PairedAsked:
    """What is to be compared: ``start_a`` and ``start_b`` give a new worker of a side, and
    ``is_wanted`` says by its name whether a cell is to be measured."""

    a: Side
    b: Side
    start_a: Callable[[], SuiteProcess]
    start_b: Callable[[], SuiteProcess]
    is_wanted: Callable[[str], bool]
    minutes: float
    num_processes: int
    seed: int
    device: str
    dtype: str
    gate: Gate
    command: str


# (whether b came first, a's sample, b's sample)
Pair = tuple[bool, WorkerSample, WorkerSample]


@dataclass
class _Lane:
    """One cell while the run goes on."""

    cell: WorkerCell
    sides: dict[str, CellSide] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)
    is_open: bool = False

    @property
    def name(self) -> str:
        return self.cell.name

    @property
    def is_well(self) -> bool:
        return all(side.status == "OK" for side in self.sides.values())

    def saw(self, name: str, side: CellSide) -> None:
        """Keep the worst that was seen of a side, and the most memory."""
        before = self.sides.get(name, side)
        if side.status != "OK":
            self.sides[name] = side
            return
        worst = max((before, side), key=lambda one: one.error or 0.0)
        most = {
            key: max(before.memory_bytes.get(key, value), value)
            for key, value in side.memory_bytes.items()
        }
        self.sides[name] = replace(worst, memory_bytes=before.memory_bytes | most)

    def lose(self, name: str, reason: str) -> None:
        self.sides[name] = CellSide("FAILED", reason, None, None, {}, None)
        self.is_open = False

    def doubt(self, gate: Gate) -> float:
        """How far this process's median may be off: its standard error, in thresholds."""
        times_ms = [(a.service_ms, b.service_ms) for _, a, b in self.pairs]
        if min(map(min, times_ms)) <= 0:
            return 0.0  # it has no ratio, and more pairs change nothing
        ratios = [math.log(b_ms / a_ms) for a_ms, b_ms in times_ms]
        low, high = np.quantile(ratios, ONE_DEVIATION)
        threshold = thresholds_of(gate, self.finished())[0]
        return float(high - low) / math.sqrt(len(ratios)) / math.log1p(threshold)

    def end_process(self, *, is_confirming: bool) -> None:
        """What was paired since the last time becomes one process."""
        if self.pairs:
            self.processes.append(_process(self.pairs, is_confirming=is_confirming))
        self.pairs, self.is_open = [], False

    def finished(self) -> CompareCell:
        missing = CellSide("INTERRUPTED", NOT_YET, None, None, {}, None)
        a, b = (self.sides.get(name, missing) for name in "ab")
        is_well = a.status == b.status == "OK"
        if is_well and not self.processes:
            a, b, is_well = missing, missing, False
        return CompareCell(
            name=self.name,
            kind=self.cell.kind,
            axes=self.cell.axes,
            block_seconds=self.cell.block_seconds,
            a=a,
            b=b,
            processes=tuple(self.processes) if is_well else (),
        )


class PairedRun:
    """One comparison from request to record; ``say`` takes a line for the user."""

    def __init__(self, asked: PairedAsked, path: Path, say: Callable[[str], None]) -> None:
        self._asked = asked
        self._path = path
        self._say = say
        self._shuffle = random.Random(asked.seed)
        self._tool = describe_tool()
        self._created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._lanes: dict[str, _Lane] = {}
        self._only: dict[str, tuple[str, ...]] = {"a": (), "b": ()}
        self._is_a_first = self._shuffle.random() < 0.5
        self._found: set[str] = set()
        self._is_interrupted = False

    def run(self) -> CompareRecord:
        """Measure, and again what differs or cannot be told; the record is on disk on return.

        Raises InputError where the two suites have nothing in common or mean different things by
        one name, and where a worker does not come to say what it can measure.
        """
        asked = self._asked
        start = time.monotonic()
        end = start + asked.minutes * SECONDS_PER_MINUTE
        middle = start + FIRST_SHARE * (end - start)
        try:
            for index in range(asked.num_processes):
                self._say(f"process {index + 1} of {asked.num_processes} on each side")
                self._process(None, start + (index + 1) / asked.num_processes * (middle - start))
            record = self._save()
            self._again(flagged(record), untold(record), middle, end)
            # What more processes have shown has not been found twice.
            late = [name for name in flagged(self._save()) if name not in self._found]
            now = time.monotonic()
            self._again(late, (), now, now + NUM_AGAIN * CONFIRMING_SECONDS)
        except KeyboardInterrupt:
            self._is_interrupted = True
        return self._save()

    def _again(
        self, found: Sequence[str], not_told: Sequence[str], start: float, end: float
    ) -> None:
        """New processes, for what was found different and for what cannot be told."""
        self._found.update(found)
        names = [*found, *not_told]
        for index in range(NUM_AGAIN if names else 0):
            said = [*found, *([f"{len(not_told)} that cannot be told yet"] if not_told else [])]
            self._say(f"again, {index + 1} of {NUM_AGAIN}: {', '.join(said)}")
            self._process(names, start + (index + 1) / NUM_AGAIN * (end - start))

    # --- one process of each side ------------------------------------------

    def _process(self, names: Sequence[str] | None, until: float) -> None:
        """Start both workers, let them take turns until then, and end them."""
        with ExitStack() as stack:
            a, b = self._started(stack)
            if not self._lanes:
                self._match(a, b)
            lanes = [lane for lane in self._lanes.values() if names is None or lane.name in names]
            try:
                for lane in lanes:
                    self._open(lane, a, b)
                self._take_turns([lane for lane in lanes if lane.is_open], a, b, until)
            except WorkerLost:
                pass  # the cell that it was lost in says so; the others go on in the next process
            finally:
                for lane in lanes:
                    lane.end_process(is_confirming=lane.name in self._found)
        self._save()

    def _started(self, stack: ExitStack) -> tuple[SuiteProcess, SuiteProcess]:
        """Both workers at once. Which comes first, and so to its memory, is b every other time."""
        asked = self._asked
        starts = {"a": asked.start_a, "b": asked.start_b}
        names = "ab" if self._is_a_first else "ba"
        self._is_a_first = not self._is_a_first
        workers = {name: stack.enter_context(starts[name]()) for name in names}
        for name, side in (("a", asked.a), ("b", asked.b)):
            try:
                workers[name].greet()
            except WorkerLost as error:
                raise InputError(f"side {name} ({side.name}) does not start: {error}") from error
        return workers["a"], workers["b"]

    def _match(self, a: SuiteProcess, b: SuiteProcess) -> None:
        wanted = {
            "a": [name for name in a.cells if self._asked.is_wanted(name)],
            "b": [name for name in b.cells if self._asked.is_wanted(name)],
        }
        common = [name for name in wanted["b"] if name in wanted["a"]]
        if not common:
            raise InputError(
                "no cell to compare that both sides have; there are "
                + ", ".join(dict.fromkeys([*a.cells, *b.cells]))
            )
        for name in common:
            refuse_differing(name, a.cells[name], b.cells[name])
        self._only = {
            side: tuple(name for name in wanted[side] if name not in common) for side in "ab"
        }
        self._lanes = {name: _Lane(b.cells[name]) for name in common}

    def _open(self, lane: _Lane, a: SuiteProcess, b: SuiteProcess) -> None:
        """Build the cell on both sides, one after the other, unless it has failed before."""
        if not lane.is_well:
            return
        is_first = not lane.sides
        for name, worker in (("a", a), ("b", b)):
            with _losses(lane, name):
                lane.saw(name, worker.open(lane.name, is_first=is_first))
        lane.is_open = lane.is_well
        if lane.is_open:
            # The first pair is a warm-up: not kept.
            self._pair(lane, a, b)
            lane.pairs.clear()

    def _take_turns(
        self, lanes: Sequence[_Lane], a: SuiteProcess, b: SuiteProcess, until: float
    ) -> None:
        for _ in range(MIN_PAIRS):
            for lane in self._shuffle.sample(lanes, len(lanes)):
                self._pair(lane, a, b)
        while chosen := self._told_worst(lanes):
            for lane in self._shuffle.sample(chosen, len(chosen)):
                if time.monotonic() > until:
                    return
                self._pair(lane, a, b)

    def _told_worst(self, lanes: Sequence[_Lane]) -> list[_Lane]:
        """Half of the cells, of those that do not have enough pairs."""
        left = [lane for lane in lanes if len(lane.pairs) < MOST_PAIRS]
        left.sort(key=lambda lane: -lane.doubt(self._asked.gate))
        return left[: math.ceil(len(left) / 2)]

    def _pair(self, lane: _Lane, a: SuiteProcess, b: SuiteProcess) -> None:
        b_first = self._shuffle.random() < 0.5
        found: dict[str, WorkerSample] = {}
        workers = (("a", a), ("b", b))
        for name, worker in reversed(workers) if b_first else workers:
            time.sleep(SETTLE_SECONDS)
            with _losses(lane, name):
                found[name] = worker.sample(lane.name, LEAST_SAMPLE_MS)
        lane.pairs.append((b_first, found["a"], found["b"]))

    # --- the record --------------------------------------------------------

    def _save(self) -> CompareRecord:
        asked = self._asked
        record = CompareRecord(
            schema_version=COMPARE_SCHEMA_VERSION,
            created=self._created,
            tool=self._tool,
            a=asked.a,
            b=asked.b,
            settings=CompareSettings(
                command=asked.command,
                source="revisions",
                seed=asked.seed,
                minutes=asked.minutes,
                is_paired=True,
                is_same_machine=True,
                differing=differing_packages(asked.a, asked.b),
                only_a=self._only["a"],
                only_b=self._only["b"],
                device=asked.device,
                dtype=asked.dtype,
                gate=asked.gate,
                is_interrupted=self._is_interrupted,
            ),
            compared_cells=tuple(lane.finished() for lane in self._lanes.values()),
        )
        save_compare(record, self._path)
        return record


@contextmanager
def _losses(lane: _Lane, name: str) -> Iterator[None]:
    """A worker that is lost here fails this cell, and goes on upwards: it is lost for all."""
    try:
        yield
    except WorkerLost as error:
        lane.lose(name, str(error))
        raise


def refuse_differing(name: str, a: WorkerCell, b: WorkerCell) -> None:
    """Raises InputError where two revisions mean different work by one cell's name."""
    fields = sorted({*a.axes, *b.axes})
    differing = [
        f"{one} {a.axes.get(one, 'none')} against {b.axes.get(one, 'none')}"
        for one in fields
        if a.axes.get(one) != b.axes.get(one)
    ]
    if a.kind != b.kind:
        differing.append(f"kind {a.kind} against {b.kind}")
    if differing:
        raise InputError(f"cannot compare {name}: {'; '.join(differing)}")


def differing_packages(a: Side, b: Side) -> dict[str, str]:
    """Packages whose versions differ, as the record's settings say it."""
    return {
        name: f"{a.packages.get(name, 'none')} against {b.packages.get(name, 'none')}"
        for name in sorted({*a.packages, *b.packages})
        if a.packages.get(name) != b.packages.get(name)
    }


def _process(pairs: Sequence[Pair], *, is_confirming: bool) -> Process:
    """Only what every sample has: a stage that comes and goes could not be paired."""

    def times(of: Callable[[WorkerSample], float]) -> Times:
        return Times(tuple(of(a) for _, a, _ in pairs), tuple(of(b) for _, _, b in pairs))

    def common(of: Callable[[WorkerSample], dict[str, float]]) -> list[str]:
        first = of(pairs[0][1])
        return [name for name in first if all(name in of(one) for _, *two in pairs for one in two)]

    return Process(
        is_confirming=is_confirming,
        b_first=tuple(b_first for b_first, _, _ in pairs),
        service=times(lambda one: one.service_ms),
        stages={
            name: times(lambda one, name=name: one.stages[name])  # type: ignore[misc]
            for name in common(lambda one: one.stages)
        },
        controls={
            name: times(lambda one, name=name: one.controls[name])  # type: ignore[misc]
            for name in common(lambda one: one.controls)
        },
    )
