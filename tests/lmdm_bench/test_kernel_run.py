"""A kernels run over backends that are right, wrong, failing or interrupted, by a planted clock.

Attention is really computed, tiny; only the times are the test's.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import records
from lmdm_bench import kernel_run
from lmdm_bench.attention_backends import BACKENDS, LAUNCHES, Call, Inputs, Setting
from lmdm_bench.attention_cases import PLANS, Case, cases
from lmdm_bench.errors import InputError, UnsupportedError
from lmdm_bench.kernel_run import (
    MIN_ROUNDS,
    MOST_ROUNDS,
    KernelRun,
    KernelsAsked,
    bytes_per_number,
    check_backends,
    has_failed,
)
from lmdm_bench.kernel_timer import Timed
from lmdm_bench.kernels_record import KernelRow, KernelsRecord, load_kernels
from lmdm_bench.record import Choice

NAMES = ("range", "masked", "reference")


@dataclass
class World:
    """The clock, what each backend does and costs, and what was seen to happen."""

    seconds: float = 0.0
    ms: dict[str, float] = field(default_factory=lambda: dict.fromkeys(BACKENDS, 1.0))
    compile_seconds: dict[str, float] = field(default_factory=dict)
    act: Callable[[str, int], None] = lambda backend, number: None
    change: Callable[[str, int, Tensor], Tensor] = lambda backend, number, result: result
    refuse: dict[str, str] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    sampled: list[str] = field(default_factory=list)
    forgotten: int = 0
    compiled: int = 0
    saved: list[int] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def backend(self, name: str) -> Callable[[Setting], Call]:
        def make(setting: Setting) -> Call:
            if name in self.refuse:
                raise UnsupportedError(self.refuse[name])
            plain = BACKENDS["reference"](setting)
            is_new = [True]

            def call(inputs: Inputs) -> Tensor:
                number = self.calls[name]
                self.calls[name] += 1
                self.act(name, number)
                if is_new.pop() if is_new else False:
                    seconds = self.compile_seconds.get(name, 0.0)
                    self.seconds += seconds
                    self.compiled += bool(seconds)
                return self.change(name, number, plain(inputs))

            return call

        return make

    def eager(self, calls: Sequence[Callable[[], Tensor]], device: torch.device) -> Timed:
        """As the real timer, but the time is planted: that of the backend for each call."""
        before = self.calls.copy()

        def run() -> Tensor:
            for call in calls:
                result = call()
            return result

        run()
        (backend,) = (self.calls - before).keys()

        def sample() -> float:
            self.sampled.append(backend)
            self.act(f"sample {backend}", len(self.sampled))
            ms = self.ms[backend] * len(calls)
            self.seconds += ms / 1e3
            return ms

        return Timed(run, sample)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    one = World()

    @contextmanager
    def counting() -> Iterator[Any]:
        class Count:
            @property
            def now(self) -> int:
                return one.compiled

        yield Count()

    def forget() -> None:
        one.forgotten += 1

    def save(record: KernelsRecord, path: Path) -> None:
        one.saved.append(len(record.kernel_cells))

    example = records.all_ok()
    monkeypatch.setattr(kernel_run, "BACKENDS", {name: one.backend(name) for name in BACKENDS})
    monkeypatch.setattr(kernel_run.kernel_timer, "eager", one.eager)
    monkeypatch.setattr(
        kernel_run.kernel_timer, "cache_bytes", lambda _: (3000, Choice("3 kB", "a fake"))
    )
    monkeypatch.setattr(kernel_run, "time", SimpleNamespace(monotonic=lambda: one.seconds))
    monkeypatch.setattr(kernel_run, "counting", counting)
    monkeypatch.setattr(kernel_run.attention_backends, "forget_graphs", forget)
    monkeypatch.setattr(kernel_run, "describe_machine", lambda _: example.machine)
    monkeypatch.setattr(kernel_run, "describe_tool", lambda: example.tool)
    monkeypatch.setattr(kernel_run, "save_kernels", save)
    return one


def some(plans: Sequence[str] = ("full", "encoder-decoder"), **axes: Any) -> list[Case]:
    whole = {"windows": ("12+3",), "models": ("tiny",), "batches": (1,)} | axes
    return cases(plans, **whole, bytes_per_number=4)


def made(
    world: World,
    of: Sequence[Case],
    backends: tuple[str, ...] = NAMES,
    minutes: float = 100.0,
    seed: int = 0,
) -> KernelsRecord:
    asked = KernelsAsked(
        cases=of,
        backends=backends,
        seed=seed,
        budget_minutes=minutes,
        device=Choice("cpu", "a test"),
        dtype=Choice("float32", "a test"),
        launches=LAUNCHES,
        launches_from=Choice("shipped", "a test"),
        command="lmdm-bench kernels",
    )
    return KernelRun(asked, records.CPU_CEILING, Path("kernels.json"), world.said.append).run()


def rows(record: KernelsRecord) -> dict[tuple[str, str], KernelRow]:
    return {(case.plan, row.backend): row for case, row in record.rows()}


def test_every_backend_is_checked_and_timed_in_every_regime(world: World) -> None:
    world.ms |= {"range": 1.0, "masked": 2.0}
    record = made(world, some())
    assert len(record.kernel_cells) == 2
    for (_, backend), row in rows(record).items():
        assert row.status == "OK" and row.check is not None and row.check.is_within_budget
        assert [one.regime for one in row.timings] == ["warm", "cold", "stack"]
        warm, cold, stack = row.timings
        layers = 2
        assert set(warm.round_ms) == set(cold.round_ms) == {world.ms[backend]}
        assert set(stack.round_ms) == {layers * world.ms[backend]}
        assert (warm.calls, stack.calls) == (1, layers)
        assert cold.touched_bytes > 5 * 3000 > warm.touched_bytes
        assert row.launches is None and "CUDA" in row.unavailable["launches"]
    assert record.settings.absent.keys() == {"eager", "stack graph"}
    assert "2 of 2 cases were measured" in record.settings.grid
    assert world.saved[-1] == 2 and len(world.said) == 2


def test_rounds_are_interleaved_and_shuffled_by_the_seed(world: World) -> None:
    made(world, some(("full",)))
    first = list(world.sampled)
    in_threes = [tuple(first[at : at + 3]) for at in range(0, len(first), 3)]
    assert all(set(three) == set(NAMES) for three in in_threes)
    assert len(set(in_threes)) > 1
    world.sampled.clear()
    made(world, some(("full",)))
    assert world.sampled == first
    world.sampled.clear()
    made(world, some(("full",)), seed=1)
    assert world.sampled != first


def test_time_picks_the_number_of_rounds(world: World) -> None:
    def rounds(minutes: float) -> int:
        (cell,) = made(world, some(("full",)), minutes=minutes).kernel_cells
        return len(cell.rows[0].timings[0].round_ms)

    assert rounds(100.0) == MOST_ROUNDS
    assert rounds(1e-6) == MIN_ROUNDS
    world.ms = dict.fromkeys(BACKENDS, 100.0)
    per_round = 3 * 0.1 * (1 + 2) + rounds_of_cold(world) * 3 * 0.1
    assert MIN_ROUNDS < rounds(15 * per_round / 60) <= 15


def rounds_of_cold(world: World) -> int:
    (cell,) = made(world, some(("full",)), minutes=1e-6).kernel_cells
    return cell.rows[0].timings[1].calls


def test_cases_that_do_not_fit_are_rows_that_say_so(world: World) -> None:
    world.ms = dict.fromkeys(BACKENDS, 1000.0)
    record = made(world, some(tuple(PLANS)), minutes=1e-3)
    first, *others = record.kernel_cells
    assert {row.status for row in first.rows} == {"OK"}
    for cell in others:
        assert [row.backend for row in cell.rows] == list(NAMES)
        for row in cell.rows:
            assert row.status == "LEFT OUT" and not row.timings
            assert "6 rounds would take about" in (row.reason or "")
    assert "1 of 5 cases were measured" in record.settings.grid
    assert "left out: encoder-decoder, 12+3, tiny, batch 1; " in record.settings.grid
    assert not has_failed(record)


def test_what_is_wrong_has_no_times(world: World) -> None:
    world.change = lambda name, number, result: 1.1 * result if name == "masked" else result
    record = made(world, some(("full",)))
    row = rows(record)["full", "masked"]
    assert row.status == "INCORRECT" and not row.timings
    assert row.check is not None and row.check.error == pytest.approx(0.1, rel=0.01)
    assert "against float64 is over the budget" in (row.reason or "")
    assert "masked" not in world.sampled
    assert rows(record)["full", "range"].status == "OK"
    assert has_failed(record)


def test_what_goes_wrong_while_it_is_timed_loses_its_times(world: World) -> None:
    """The check after the last round looks again."""

    def change(name: str, number: int, result: Tensor) -> Tensor:
        return result + (name == "masked" and len(world.sampled) > 12)

    world.change = change
    row = rows(made(world, some(("full",))))["full", "masked"]
    assert row.status == "INCORRECT" and not row.timings
    assert row.check is not None and row.check.error > 0.1


def test_a_result_that_is_not_finite_is_wrong(world: World) -> None:
    world.change = lambda name, number, result: result * torch.nan if name == "range" else result
    row = rows(made(world, some(("full",))))["full", "range"]
    assert (row.status, row.check) == ("INCORRECT", None)
    assert "not finite" in (row.reason or "")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "OOM"),
        (RuntimeError("[enforce fail] can't allocate memory: you tried"), "OOM"),
        (RuntimeError("something else"), "FAILED"),
        (ValueError("bad strides"), "FAILED"),
    ],
    ids=["cuda-oom", "cpu-oom", "failed", "value"],
)
def test_a_failure_is_a_row_and_the_others_go_on(
    world: World, error: Exception, status: str
) -> None:
    def act(name: str, number: int) -> None:
        if name == "masked":
            raise error

    world.act = act
    record = made(world, some(("full",)))
    row = rows(record)["full", "masked"]
    assert row.status == status and str(error) in (row.reason or "")
    assert rows(record)["full", "reference"].status == "OK"
    assert has_failed(record)


def test_a_regime_that_fails_leaves_the_others_their_times(world: World) -> None:
    calls = Counter[str]()

    def act(name: str, number: int) -> None:
        calls[name] += 1
        if calls["sample masked"] == 5:
            calls["sample masked"] += 1
            raise MemoryError

    world.act = act
    row = rows(made(world, some(("full",))))["full", "masked"]
    assert row.status == "OK"
    statuses = Counter(one.status for one in row.timings)
    assert statuses == {"OK": 2, "OOM": 1}
    (failed,) = (one for one in row.timings if one.status != "OK")
    assert len(failed.round_ms) == 1


def test_a_backend_that_cannot_run_is_a_row_with_its_reason(world: World) -> None:
    world.refuse["masked"] = "it needs a GPU"
    record = made(world, some(("full",)))
    row = rows(record)["full", "masked"]
    assert (row.status, row.reason) == ("UNSUPPORTED", "it needs a GPU")
    assert row.unavailable["compiles"] == "it did not run"
    assert not has_failed(record)


def test_memory_that_is_too_small_for_a_case_ends_all_its_rows(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = kernel_run.truth_of

    def refuse(inputs: Inputs, plan: object) -> Any:
        if inputs.query.shape[0] == 2:
            raise RuntimeError("not enough memory: you tried to allocate")
        return truth(inputs, plan)  # type: ignore[arg-type]

    monkeypatch.setattr(kernel_run, "truth_of", refuse)
    small, large = made(world, some(("full",), batches=(1, 2))).kernel_cells
    assert {row.status for row in small.rows} == {"OK"}
    assert {row.status for row in large.rows} == {"OOM"}


def test_a_stack_that_does_not_fit_is_not_a_shorter_stack(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_run, "free_bytes", lambda device: 0)
    record = made(world, some(("full",), models=("sao-small",)))
    for row in rows(record).values():
        warm, cold, stack = row.timings
        assert (warm.status, cold.status, stack.status) == ("OK", "OK", "OOM")
        assert cold.calls == 2 and "16 layers" in (stack.reason or "")


def test_compiling_is_counted_and_no_part_of_any_time(world: World) -> None:
    world.compile_seconds["flex"] = 9.0
    record = made(world, some(("full",)), backends=("range", "flex"))
    row = rows(record)["full", "flex"]
    assert (row.compiles, row.recompiles, row.compile_seconds) == (1, 0, 9.0)
    assert set(row.timings[0].round_ms) == {1.0}
    other = rows(record)["full", "range"]
    assert (other.compiles, other.compile_seconds) == (0, None)
    assert other.unavailable["compile_seconds"] == "nothing was compiled"


def test_what_compiles_again_while_timed_is_counted_as_its_own(world: World) -> None:
    def act(name: str, number: int) -> None:
        if name == "sample flex":
            world.compiled += 1

    world.act = act
    found = rows(made(world, some(("full",)), backends=("range", "flex")))
    assert (found["full", "flex"].recompiles or 0) > 0
    assert found["full", "range"].recompiles == 0


def test_graphs_are_forgotten_between_groups_of_one_size(world: World) -> None:
    made(world, some(("full", "block-causal"), batches=(1, 2)))
    assert world.forgotten == 2


def test_ctrl_c_keeps_what_is_finished(world: World) -> None:
    """The second case is cut in its second round, the third never begun."""

    def act(name: str, number: int) -> None:
        if name.startswith("sample") and len(world.said) == 1 and number % 7 == 0:
            raise KeyboardInterrupt

    world.act = act
    record = made(world, some(("full", "encoder-decoder", "block-causal")))
    first, second, third = record.kernel_cells
    assert record.settings.is_interrupted
    assert all(len(row.timings[0].round_ms) == MOST_ROUNDS for row in first.rows)
    assert {row.status for row in second.rows} <= {"OK", "INTERRUPTED"}
    assert all(len(one.round_ms) <= 2 for row in second.rows for one in row.timings)
    assert {(row.status, row.reason) for row in third.rows} == {
        ("INTERRUPTED", "stopped before this case")
    }
    assert world.saved[-1] == 3


def test_ctrl_c_before_the_first_round_leaves_only_words(world: World) -> None:
    def act(name: str, number: int) -> None:
        raise KeyboardInterrupt

    world.act = act
    record = made(world, some(("full",)))
    assert {row.status for row in rows(record).values()} == {"INTERRUPTED"}
    assert "none of 1 cases" in record.settings.grid


def test_a_run_on_this_machine_is_a_record_on_disk(tmp_path: Path) -> None:
    """Nothing is planted but that no time is left."""
    asked = KernelsAsked(
        cases=some(("encoder-decoder", "block-causal-fused-step")),
        backends=("interval", "range", "masked", "cudnn"),
        seed=0,
        budget_minutes=1e-3,
        device=Choice("cpu", "a test"),
        dtype=Choice("bfloat16", "a test"),
        launches=LAUNCHES,
        launches_from=Choice("shipped", "a test"),
        command="lmdm-bench kernels",
    )
    path = tmp_path / "kernels.json"
    record = KernelRun(asked, records.CPU_CEILING, path, lambda _: None).run()
    assert load_kernels(path) == record
    statuses = [(row.backend, row.status) for row in record.kernel_cells[0].rows]
    assert statuses == [
        ("interval", "UNSUPPORTED"),
        ("range", "OK"),
        ("masked", "OK"),
        ("cudnn", "UNSUPPORTED"),
    ]
    for _, row in record.rows():
        for _, of in groupby(row.timings, key=lambda one: one.regime):
            assert all(ms > 0 for one in of for ms in one.round_ms)


@pytest.mark.gpu
def test_a_gpu_runs_every_regime_and_the_kernel_never_recompiles(tmp_path: Path) -> None:
    asked = KernelsAsked(
        cases=some(tuple(PLANS), windows=("48+16",), models=("sao-small",)),
        backends=("interval", "range", "masked"),
        seed=0,
        budget_minutes=0.2,
        device=Choice("cuda", "a test"),
        dtype=Choice("bfloat16", "a test"),
        launches=LAUNCHES,
        launches_from=Choice("shipped", "a test"),
        command="lmdm-bench kernels",
    )
    record = KernelRun(asked, records.CUDA_CEILING, tmp_path / "kernels.json", lambda _: None).run()
    for row in rows(record).values():
        if row.status == "LEFT OUT":
            continue
        assert row.status == "OK", row.reason
        assert [one.status for one in row.timings] == ["OK"] * 5
        assert row.launches is not None and row.launches >= 1
        assert row.recompiles == 0


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((), "no backend to compare; there are interval, range"),
        (("rnage",), "unknown backend 'rnage'; there are interval"),
        (("range", "range"), "a backend is named twice: range, range"),
    ],
)
def test_backends_that_are_none_are_one_sentence(names: tuple[str, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_backends(names)


def test_numbers_have_their_dtype_s_bytes() -> None:
    assert (bytes_per_number("float32"), bytes_per_number("bfloat16")) == (4, 2)
