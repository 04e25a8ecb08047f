"""Two sides in turns: what is paired, in which order, what is lost, and what is measured again."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import compare_records
from lmdm_bench import paired_run
from lmdm_bench.compare_record import CellSide, CompareRecord, load_compare
from lmdm_bench.errors import InputError
from lmdm_bench.paired_run import LEAST_SAMPLE_MS, MIN_PAIRS, NUM_AGAIN, PairedAsked, PairedRun
from lmdm_bench.suite_process import WorkerCell, WorkerLost
from lmdm_bench.suite_sample import WorkerSample

OK = CellSide("OK", None, 0.1, 0.2, {"allocated": 100}, None)
NAMES = ("block-causal · tiny", "outpaint · tiny", "range · full")


@dataclass
class FakeWorker:
    """A worker that needs no process: ``times`` gives a cell's milliseconds."""

    side: str
    log: list[tuple[str, str, str]]
    times: Callable[[str], float]
    cells: dict[str, WorkerCell]
    sides: dict[str, CellSide] = field(default_factory=dict)
    lost_in: str = ""
    refusal: Exception | None = None
    on_start: Callable[[], object] = lambda: None

    def __enter__(self) -> "FakeWorker":
        self.on_start()
        self.log.append((self.side, "start", ""))
        return self

    def greet(self) -> None:
        if self.refusal is not None:
            raise self.refusal

    def __exit__(self, *_: object) -> None:
        self.log.append((self.side, "end", ""))

    def open(self, name: str, *, is_first: bool) -> CellSide:
        self.log.append((self.side, "open and check" if is_first else "open", name))
        return self.sides.get(name, OK)

    def sample(self, name: str, least_ms: float) -> WorkerSample:
        assert least_ms == LEAST_SAMPLE_MS
        self.log.append((self.side, "sample", name))
        if name == self.lost_in:
            raise WorkerLost("it was stopped by signal 11")
        service_ms = self.times(name)
        stages = {"first_step": 0.6 * service_ms, "host": 0.4 * service_ms}
        return WorkerSample(service_ms, stages, {"product": 5.0, "copy": 4.0, "canary": 1.0})


@dataclass
class Case:
    """A run of fake workers; ``log`` has what they were asked, in order."""

    folder: Path
    log: list[tuple[str, str, str]] = field(default_factory=list)
    workers: dict[str, dict[str, Any]] = field(default_factory=lambda: {"a": {}, "b": {}})
    said: list[str] = field(default_factory=list)
    num_processes: int = 2

    def run(self, **changes: object) -> CompareRecord:
        rng = random.Random(0)

        def worker(side: str) -> FakeWorker:
            cells = {name: WorkerCell(name, "block", {"steps": "2"}, 2.0) for name in NAMES}
            given: dict[str, Any] = {"cells": cells, "times": lambda _: rng.lognormvariate(0, 0.01)}
            return FakeWorker(side, self.log, **(given | self.workers[side]))

        asked = PairedAsked(
            a=compare_records.side("main", "a" * 40),
            b=compare_records.side("working tree", "b" * 40),
            start_a=lambda: worker("a"),  # type: ignore[arg-type, return-value]
            start_b=lambda: worker("b"),  # type: ignore[arg-type, return-value]
            is_wanted=lambda name: True,
            minutes=1e-9,
            num_processes=self.num_processes,
            seed=0,
            device="cpu",
            dtype="float32",
            gate=compare_records.DEFAULT_GATE,
            command="lmdm-bench compare --base main",
        )
        path = self.folder / "compare.json"
        record = PairedRun(replace(asked, **changes), path, self.said.append).run()  # type: ignore[arg-type]
        assert load_compare(path) == record
        return record


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setattr(paired_run, "SETTLE_SECONDS", 0.0)
    return Case(tmp_path)


def test_pairs_are_adjacent_and_their_order_is_drawn(case: Case) -> None:
    record = case.run()
    samples = [one for one in case.log if one[1] == "sample"]
    for first, second in zip(samples[::2], samples[1::2], strict=True):
        assert first[2] == second[2]
        assert {first[0], second[0]} == {"a", "b"}
    num_kept = sum(len(p.b_first) for cell in record.compared_cells for p in cell.processes)
    # The first pair of each cell of each process is not kept.
    assert len(samples) == 2 * (num_kept + len(NAMES) * case.num_processes)
    for cell in record.compared_cells:
        assert [one.is_confirming for one in cell.processes] == [False, False]
        for process in cell.processes:
            assert len(process.b_first) >= MIN_PAIRS
            assert set(process.controls) == {"product", "copy", "canary"}
    orders = [one for cell in record.compared_cells for p in cell.processes for one in p.b_first]
    assert set(orders) == {True, False}
    rounds = [name for _, _, name in samples[::2]]
    assert len({tuple(dict.fromkeys(rounds[at:])) for at in range(0, len(rounds), 3)}) > 1


def test_each_process_is_a_new_one_of_each_side(case: Case) -> None:
    case.run()
    starts = [(side, verb) for side, verb, _ in case.log if verb in ("start", "end")]
    first, other = starts[0][0], starts[1][0]
    assert {first, other} == {"a", "b"}
    in_turn = [(first, "start"), (other, "start"), (other, "end"), (first, "end")]
    assert starts == in_turn + [("ab"["ab".index(one) - 1], verb) for one, verb in in_turn]


def test_a_cell_is_checked_and_its_memory_counted_once_on_both_sides(case: Case) -> None:
    case.run()
    opens = [one for one in case.log if one[1].startswith("open")]
    assert [verb for _, verb, _ in opens] == ["open and check"] * 6 + ["open"] * 6
    for one, other in zip(opens[::2], opens[1::2], strict=True):
        assert one[2] == other[2] and {one[0], other[0]} == {"a", "b"}


def test_what_differs_is_measured_again_and_only_that(case: Case) -> None:
    rng = random.Random(1)
    case.workers["b"]["times"] = lambda name: (
        rng.lognormvariate(0, 0.01) * (1.5 if name == NAMES[0] else 1.0)
    )
    record = case.run(num_processes=3)
    confirming = {
        cell.name: sum(one.is_confirming for one in cell.processes)
        for cell in record.compared_cells
    }
    assert confirming == {NAMES[0]: NUM_AGAIN, NAMES[1]: 0, NAMES[2]: 0}
    assert any(NAMES[0] in words for words in case.said)


def processes_of(record: CompareRecord) -> dict[str, list[bool]]:
    """Of each cell's processes, whether they confirm."""
    return {
        cell.name: [one.is_confirming for one in cell.processes] for cell in record.compared_cells
    }


def test_what_cannot_be_told_is_gone_on_with_and_not_confirmed(case: Case) -> None:
    rng = random.Random(1)
    case.workers["b"]["times"] = lambda name: (
        rng.lognormvariate(0, 0.01) * (1.03 if name == NAMES[0] else 1.0)
    )
    found = processes_of(case.run())
    assert found == {NAMES[0]: [False] * 4, NAMES[1]: [False] * 2, NAMES[2]: [False] * 2}
    assert case.said[-2:] == [
        f"again, {one} of 2: 1 that cannot be told yet" for one in range(1, 1 + NUM_AGAIN)
    ]


def test_what_more_processes_show_is_found_twice_too(case: Case) -> None:
    """The first two disagree; those that come after do not."""
    effects = iter([1.0, 1.16, *[1.16] * 4])
    effect = 1.0

    def starts() -> float:
        nonlocal effect
        effect = next(effects)
        return effect

    rng = random.Random(1)

    def times(name: str) -> float:
        return rng.lognormvariate(0, 0.001) * (effect if name == NAMES[0] else 1.0)

    case.workers["b"]["times"] = times
    case.workers["b"]["on_start"] = starts
    found = processes_of(case.run())
    assert found[NAMES[0]] == [False] * 4 + [True] * NUM_AGAIN
    assert found[NAMES[1]] == [False] * 2
    assert case.said[-1] == f"again, 2 of 2: {NAMES[0]}"


def test_the_time_that_is_left_goes_to_the_half_that_is_told_worst(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock of which each sample takes a second, on either side."""
    rng, now = random.Random(1), 0.0
    spread = dict(zip(NAMES, (0.01, 0.001, 0.1), strict=True))

    def times(name: str) -> float:
        nonlocal now
        now += 1.0
        return rng.lognormvariate(0, spread[name])

    case.workers["a"]["times"] = case.workers["b"]["times"] = times
    clock = SimpleNamespace(monotonic=lambda: now, sleep=lambda seconds: None)
    monkeypatch.setattr(paired_run, "time", clock)
    record = case.run(minutes=4.0, num_processes=1)
    first = {cell.name: len(cell.processes[0].b_first) for cell in record.compared_cells}
    # 144 s: 42 for all, of which the first pairs are not kept, and 26 pairs for two of the three;
    # what begins in time is kept.
    assert first == {NAMES[0]: MIN_PAIRS + 26, NAMES[1]: MIN_PAIRS, NAMES[2]: MIN_PAIRS + 26}


def test_what_took_no_time_is_not_gone_on_with() -> None:
    lane = paired_run._Lane(WorkerCell("one", "block", {}, None))
    sample = WorkerSample(0.0, {}, {})
    lane.pairs.append((True, sample, sample))
    assert lane.doubt(compare_records.DEFAULT_GATE) == 0.0


def test_a_cell_that_is_wrong_on_one_side_is_not_timed(case: Case) -> None:
    wrong = CellSide("INCORRECT", "it is off", 0.9, 0.2, {}, None)
    case.workers["b"]["sides"] = {NAMES[1]: wrong}
    record = case.run()
    broken = next(one for one in record.compared_cells if one.name == NAMES[1])
    assert broken.b == wrong
    assert not broken.processes
    assert ("a", "sample", NAMES[1]) not in case.log
    # It is not built again in the next process.
    assert len([one for one in case.log if one[1].startswith("open") and one[2] == NAMES[1]]) == 2


def test_a_lost_worker_costs_its_cell_and_the_rest_of_that_process_alone(case: Case) -> None:
    case.workers["b"]["lost_in"] = NAMES[1]
    record = case.run(num_processes=3)
    by_name = {one.name: one for one in record.compared_cells}
    assert by_name[NAMES[1]].b.status == "FAILED"
    assert by_name[NAMES[1]].b.reason == "it was stopped by signal 11"
    assert not by_name[NAMES[1]].processes
    for name in (NAMES[0], NAMES[2]):
        assert by_name[name].b.status == "OK"
        assert len(by_name[name].processes) >= 2


def test_ctrl_c_keeps_what_is_finished(case: Case) -> None:
    count = iter(range(1000))

    def times(_: str) -> float:
        if next(count) == 24:
            raise KeyboardInterrupt
        return 1.0

    case.workers["b"]["times"] = times
    record = case.run()
    assert record.settings.is_interrupted
    assert {one[:2] for one in case.log[-2:]} == {("b", "end"), ("a", "end")}
    assert any(one.processes for one in record.compared_cells)


def test_ctrl_c_before_the_first_pair_says_so(case: Case) -> None:
    def times(_: str) -> float:
        raise KeyboardInterrupt

    case.workers["a"]["times"] = case.workers["b"]["times"] = times
    record = case.run()
    assert {one.b.status for one in record.compared_cells} == {"INTERRUPTED"}


def test_cells_that_one_side_has_alone_are_named(case: Case) -> None:
    cells = {name: WorkerCell(name, "block", {"steps": "2"}, 2.0) for name in (*NAMES[:1], "new")}
    case.workers["b"]["cells"] = cells
    record = case.run()
    assert record.settings.only_a == NAMES[1:]
    assert record.settings.only_b == ("new",)
    assert [one.name for one in record.compared_cells] == [NAMES[0]]


def test_only_what_is_wanted_is_measured(case: Case) -> None:
    record = case.run(is_wanted=lambda name: name.startswith("range"))
    assert [one.name for one in record.compared_cells] == [NAMES[2]]
    with pytest.raises(InputError, match="no cell to compare"):
        case.run(is_wanted=lambda name: False)


def test_one_name_for_different_work_is_refused_with_the_fields(case: Case) -> None:
    other = WorkerCell(NAMES[0], "block", {"steps": "4", "dtype": "float16"}, 2.0)
    case.workers["b"]["cells"] = {NAMES[0]: other}
    with pytest.raises(InputError, match="dtype none against float16; steps 2 against 4"):
        case.run()
    assert {one[:2] for one in case.log[-2:]} == {("b", "end"), ("a", "end")}


def test_a_side_that_does_not_start_is_named(case: Case) -> None:
    case.workers["b"]["refusal"] = WorkerLost("it ended with exit code 1")
    with pytest.raises(InputError, match=r"side b \(working tree\) does not start: it ended"):
        case.run()
    assert sorted(case.log) == [(one, verb, "") for one in "ab" for verb in ("end", "start")]


def test_memory_is_the_most_that_was_seen_and_the_error_the_worst(case: Case) -> None:
    seen = iter(
        [OK, replace(OK, error=0.15, memory_bytes={"allocated": 90}), replace(OK, memory_bytes={})]
    )
    lane = paired_run._Lane(WorkerCell("one", "block", {}, None))
    for side in seen:
        lane.saw("a", side)
    assert lane.sides["a"] == replace(OK, error=0.15)
