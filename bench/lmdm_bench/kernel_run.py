"""A kernels run: case by case every backend is checked, then all take turns until time is over.

A case's backends are timed in interleaved rounds, in a seeded order of each round's own: regime by
regime, so that what is compared stands back to back. The record is written after each case; Ctrl-C
keeps what is finished. Cases that the time cannot hold are left out, in rows that say so.
"""

import datetime
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch

from lmdm_bench import attention_backends, kernel_timer
from lmdm_bench.attention_backends import (
    BACKENDS,
    Call,
    Inputs,
    LaunchTable,
    Setting,
    random_inputs,
)
from lmdm_bench.attention_cases import Case
from lmdm_bench.attention_check import Truth, poison, truth_of
from lmdm_bench.compile_count import CompileCount, counting
from lmdm_bench.errors import InputError, UnsupportedError
from lmdm_bench.estimates import needed_blocks
from lmdm_bench.kernel_timer import Timed
from lmdm_bench.kernels_record import (
    KERNELS_SCHEMA_VERSION,
    KernelCell,
    KernelCheck,
    KernelRow,
    KernelSettings,
    KernelsRecord,
    Regime,
    RowStatus,
    Timing,
    save_kernels,
)
from lmdm_bench.machine import describe_machine
from lmdm_bench.memory import free_bytes
from lmdm_bench.record import Ceiling, Choice
from lmdm_bench.stream_run import frozen_garbage, status_of
from lmdm_bench.tool import describe_tool

SECONDS_PER_MINUTE = 60.0
MS_PER_SECOND = 1e3

# Fewer rounds than these give a median without an interval; more than those tell little new.
MIN_ROUNDS = needed_blocks(0.5)
MOST_ROUNDS = 30
# Before anything is measured, a call is taken to need so many times its bound, and a case so long
# to be set up: checked, captured, and where FlexAttention is asked for compiled.
GUESSED_TIMES_BOUND = 4.0
GUESSED_SETUP_SECONDS = 1.0
GUESSED_COMPILE_SECONDS = 8.0
# All rotating buffers of a case together take no more than this part of the free memory.
FREE_MEMORY_SHARE = 0.25
# Cases of a run have seeds next to each other; those of runs with other seeds are far off.
SEEDS_APART = 1_000_003

# Rows that ended so make the command end with exit code 1.
FAILURES: tuple[RowStatus, ...] = ("OOM", "INCORRECT", "FAILED")

WARM_REGIMES: tuple[Regime, ...] = ("warm", "eager")
STACK_REGIMES: tuple[Regime, ...] = ("stack", "stack graph")
REGIMES: dict[str, tuple[Regime, ...]] = {
    "cuda": ("warm", "cold", "eager", "stack", "stack graph"),
    "other": ("warm", "cold", "stack"),
}
ABSENT = {
    "eager": "every regime is launched call by call here",
    "stack graph": "there is no CUDA graph without CUDA",
}

Failures = (MemoryError, RuntimeError, ValueError, ArithmeticError, UnsupportedError)


@dataclass(frozen=True, kw_only=True)
class KernelsAsked:
    """What is to be compared, with what surrounds it. ``launches`` is a table for the kernel."""

    cases: Sequence[Case]
    backends: tuple[str, ...]
    seed: int
    budget_minutes: float
    device: Choice
    dtype: Choice
    launches: LaunchTable
    launches_from: Choice
    command: str


@dataclass
class _Series:
    """One regime of one lane while it runs."""

    regime: Regime
    calls: int
    touched_bytes: int
    timed: Timed | None = None
    status: RowStatus = "OK"
    reason: str | None = None
    round_ms: list[float] = field(default_factory=list)

    def sample(self) -> None:
        assert self.timed is not None
        if self.regime in WARM_REGIMES:
            self.timed.run()
        calls = 1 if self.regime in STACK_REGIMES else self.calls
        self.round_ms.append(self.timed.sample() / calls)

    def timing(self) -> Timing:
        if self.status == "OK" and not self.round_ms:
            self.status, self.reason = "INTERRUPTED", "stopped before its first round"
        return Timing(
            regime=self.regime,
            status=self.status,
            reason=self.reason,
            calls=self.calls,
            touched_bytes=self.touched_bytes,
            round_ms=tuple(self.round_ms),
        )


@dataclass
class _Lane:
    """One backend on one case while it runs."""

    backend: str
    status: RowStatus = "OK"
    reason: str | None = None
    call: Call | None = None
    check: KernelCheck | None = None
    launches: int | None = None
    compiles: int | None = None
    recompiles: int | None = None
    compile_seconds: float | None = None
    series: list[_Series] = field(default_factory=list)
    unavailable: dict[str, str] = field(default_factory=dict)

    @property
    def is_running(self) -> bool:
        return self.status == "OK" and self.call is not None

    def end(self, status: RowStatus, reason: str) -> None:
        self.status, self.reason, self.call = status, reason, None

    def row(self) -> KernelRow:
        timings = tuple(one.timing() for one in self.series)
        if self.status == "OK" and not any(one.status == "OK" for one in timings):
            worst = timings[0] if timings else None
            self.status = worst.status if worst else "INTERRUPTED"
            self.reason = worst.reason if worst else "stopped before its first round"
        for name in ("launches", "compiles", "recompiles", "compile_seconds"):
            if getattr(self, name) is None:
                self.unavailable.setdefault(name, "it did not run")
        return KernelRow(
            backend=self.backend,
            status=self.status,
            reason=self.reason,
            check=self.check,
            launches=self.launches,
            compiles=self.compiles,
            recompiles=self.recompiles,
            compile_seconds=self.compile_seconds,
            timings=() if self.status == "INCORRECT" else timings,
            unavailable=self.unavailable,
        )


class KernelRun:
    """One run from request to record; ``say`` takes a line for the user."""

    def __init__(
        self, asked: KernelsAsked, ceiling: Ceiling, path: Path, say: Callable[[str], None]
    ) -> None:
        self._asked = asked
        self._ceiling = ceiling
        self._path = path
        self._say = say
        self._device = torch.device(asked.device.value)
        self._dtype: torch.dtype = getattr(torch, asked.dtype.value)
        self._machine = describe_machine(asked.device.value)
        self._tool = describe_tool()
        self._created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._regimes = REGIMES.get(self._device.type, REGIMES["other"])
        self._cache, self._cache_choice = kernel_timer.cache_bytes(self._device)
        self._lanes: dict[int, list[_Lane]] = {}
        self._rounds: dict[int, int] = {}
        self._setups: list[float] = []
        self._compile_seconds: list[float] = []
        self._compiled: set[tuple[object, ...]] = set()
        self._pace = [0.0, 0.0]
        self._is_interrupted = False
        self._deadline = time.monotonic() + asked.budget_minutes * SECONDS_PER_MINUTE

    def run(self) -> KernelsRecord:
        """Measure until the time is over or Ctrl-C; the record is on disk when this returns."""
        waiting = list(range(len(self._asked.cases)))
        group: tuple[object, ...] | None = None
        try:
            with torch.inference_mode(), current(self._device), counting() as count:
                while waiting:
                    index = waiting.pop(0)
                    case = self._asked.cases[index]
                    needed = self._seconds(case)
                    left = self._deadline - time.monotonic()
                    if self._rounds and needed > left:
                        self._leave_out(index, needed, left)
                        continue
                    if _group(case) != group:
                        group = _group(case)
                        attention_backends.forget_graphs()
                        self._compiled.clear()
                    rest = needed + sum(self._seconds(self._asked.cases[one]) for one in waiting)
                    self._measure(index, left * min(1.0, needed / rest), count)
                    self._save()
        except KeyboardInterrupt:
            self._is_interrupted = True
            for index in range(len(self._asked.cases)):
                if index not in self._lanes:
                    self._end_all(index, "INTERRUPTED", "stopped before this case")
                for lane in self._lanes[index]:
                    if lane.status == "OK" and not any(one.round_ms for one in lane.series):
                        lane.end("INTERRUPTED", "stopped before its first round")
        return self._save()

    # --- one case ----------------------------------------------------------

    def _measure(self, index: int, seconds: float, count: CompileCount) -> None:
        """Set the case up, and let its backends take turns for about so many seconds."""
        case = self._asked.cases[index]
        start = time.monotonic()
        self._lanes[index] = lanes = [_Lane(name) for name in self._asked.backends]
        try:
            pool = self._pool(case, index)
            truth = truth_of(pool[0], case.plan)
        except Failures as error:
            self._end_all(index, *status_of(error))
            return
        for lane in lanes:
            with _failures(lane):
                self._begin(lane, case, pool, truth, count)
        compiling = [one.compile_seconds for one in lanes if one.compile_seconds is not None]
        self._compile_seconds += compiling
        self._compiled.add(_shape(case))
        self._setups.append(time.monotonic() - start - sum(compiling))
        self._visit_rounds(index, start + seconds, count)
        for lane in lanes:
            with _failures(lane):
                self._finish(lane, pool, truth, count)
        self._say(
            f"{index + 1:>3}/{len(self._asked.cases)}  {words_of(case)}: "
            f"{self._rounds[index]} rounds, {time.monotonic() - start:.0f} s"
        )

    def _pool(self, case: Case, index: int) -> list[Inputs]:
        """Fresh inputs and copies of them: the first are the warm ones, the first so many are those
        of a stack's layers, and all of them rotate where the cache is to be cold.
        """
        seed = self._asked.seed * SEEDS_APART + index
        first = random_inputs(case.facts, self._device, self._dtype, seed)
        free = int(free_bytes(self._asked.device.value) * FREE_MEMORY_SHARE)
        size = kernel_timer.num_buffers(first.num_bytes, self._cache, free, case.facts.layers)
        return [first, *(first.copy() for _ in range(size - 1))]

    def _begin(
        self, lane: _Lane, case: Case, pool: Sequence[Inputs], truth: Truth, count: CompileCount
    ) -> None:
        """Compile and check, then make what will be timed, and check that too."""
        setting = Setting(case.plan, pool[0], launches=self._asked.launches)
        call = BACKENDS[lane.backend](setting)
        poison(truth.exact.to(self._dtype))
        before, start = count.now, time.monotonic()
        result = call(pool[0])
        self._synchronise()
        lane.compiles = count.now - before
        if lane.compiles:
            lane.compile_seconds = time.monotonic() - start
        else:
            lane.unavailable["compile_seconds"] = "nothing was compiled"
        self._judge(lane, truth, result)
        if lane.status != "OK":
            return
        lane.call = call
        if self._device.type == "cuda":
            lane.launches = kernel_timer.launches_of(lambda: call(pool[0]), self._device)
        else:
            lane.unavailable["launches"] = "kernels are launched on a CUDA device only"
        with _recompiles(lane, count):
            lane.series = [self._series(regime, call, pool, case) for regime in self._regimes]
            for one in lane.series:
                if one.timed is not None:
                    self._judge(lane, truth, one.timed.run())

    def _series(self, regime: Regime, call: Call, pool: Sequence[Inputs], case: Case) -> _Series:
        """The checked inputs always come last, so that their result is the one that is left."""
        is_stack = regime in STACK_REGIMES
        of: Sequence[Inputs] = pool[: case.facts.layers] if is_stack else pool
        if regime in WARM_REGIMES:
            of = pool[:1]
        is_graph = self._device.type == "cuda" and regime in ("warm", "cold", "stack graph")
        times = kernel_timer.GRAPHED_CALLS if is_graph and regime == "warm" else 1
        ordered = [*of[1:], of[0]] * times
        calls = [lambda one=one: call(one) for one in ordered]
        result_bytes = pool[0].query.numel() * pool[0].query.element_size()
        series = _Series(regime, len(calls), len(of) * (pool[0].num_bytes + result_bytes))
        if is_stack and len(of) < case.facts.layers:
            series.status = "OOM"
            series.reason = f"its {case.facts.layers} layers take too much of the free memory"
            return series
        try:
            make = kernel_timer.graphed if is_graph else kernel_timer.eager
            series.timed = make(calls, self._device)
        except Failures as error:
            series.status, series.reason = _ending(error)
        return series

    def _visit_rounds(self, index: int, until: float, count: CompileCount) -> None:
        lanes = self._lanes[index]
        shuffle = random.Random(f"{self._asked.seed}/{index}")
        work = self._work(self._asked.cases[index])
        longest = 0.0
        self._rounds[index] = 0
        with frozen_garbage():
            while self._rounds[index] < MOST_ROUNDS:
                start = time.monotonic()
                if self._rounds[index] >= MIN_ROUNDS and start + longest > until:
                    break
                for regime in shuffle.sample(self._regimes, len(self._regimes)):
                    for lane in shuffle.sample(lanes, len(lanes)):
                        with _recompiles(lane, count):
                            self._visit(lane, regime)
                self._rounds[index] += 1
                spent = time.monotonic() - start
                longest = max(longest, spent)
                self._pace = [self._pace[0] + spent, self._pace[1] + work]

    def _visit(self, lane: _Lane, regime: Regime) -> None:
        for series in lane.series:
            if lane.is_running and series.regime == regime and series.status == "OK":
                try:
                    series.sample()
                except Failures as error:
                    series.status, series.reason = _ending(error)

    def _finish(
        self, lane: _Lane, pool: Sequence[Inputs], truth: Truth, count: CompileCount
    ) -> None:
        """Check once more what was timed, and let go of it."""
        if not lane.is_running:
            return
        assert lane.call is not None
        poison(truth.exact.to(self._dtype))
        with _recompiles(lane, count):
            results = [lane.call(pool[0])]
            results += [one.timed.run() for one in lane.series if one.timed and one.status == "OK"]
        self._judge(lane, truth, *results)
        lane.call = None
        for one in lane.series:
            one.timed = None

    def _judge(self, lane: _Lane, truth: Truth, *results: torch.Tensor) -> None:
        try:
            check = truth.check(*results)
        except FloatingPointError as error:
            lane.check = None
            lane.end("INCORRECT", str(error))
            return
        if lane.check is None or check.error > lane.check.error:
            lane.check = check
        if not check.is_within_budget:
            lane.end(
                "INCORRECT",
                f"error {check.error:.2g} against float64 is over the budget of "
                f"{check.budget:.2g}; nothing of it is shown as timed",
            )

    def _synchronise(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    # --- what fits ---------------------------------------------------------

    def _seconds(self, case: Case) -> float:
        """What a case's set-up and the fewest rounds will take, by those that are done."""
        setup = GUESSED_SETUP_SECONDS
        if self._setups:
            setup = sum(self._setups) / len(self._setups)
        if "flex" in self._asked.backends and _shape(case) not in self._compiled:
            # The first one also makes what all later ones share.
            setup += min(self._compile_seconds, default=GUESSED_COMPILE_SECONDS)
        pace = self._pace[0] / self._pace[1] if self._pace[1] else 1.0
        return setup + MIN_ROUNDS * pace * self._work(case)

    def _work(self, case: Case) -> float:
        """Seconds of one round, were each call to take its guessed time."""
        facts, ceiling = case.facts, self._ceiling
        bound = max(
            facts.flops / ceiling.flops_per_second, facts.num_bytes / ceiling.bytes_per_second
        )
        one = GUESSED_TIMES_BOUND * bound
        least = kernel_timer.SAMPLE_MS.get(self._device.type, 1.0) / MS_PER_SECOND
        buffers = kernel_timer.CACHE_TIMES * self._cache / facts.num_bytes + facts.layers
        calls = {"cold": buffers, "stack": facts.layers, "stack graph": facts.layers}
        seconds = sum(max(least, calls.get(regime, 1) * one) for regime in self._regimes)
        return seconds * len(self._asked.backends)

    def _leave_out(self, index: int, needed: float, left: float) -> None:
        self._end_all(
            index,
            "LEFT OUT",
            f"set-up and {MIN_ROUNDS} rounds would take about {needed:.0f} s, "
            f"and {max(0.0, left):.0f} s of the time were left",
        )

    def _end_all(self, index: int, status: RowStatus, reason: str) -> None:
        self._lanes[index] = [
            _Lane(name, status=status, reason=reason) for name in self._asked.backends
        ]

    # --- the record --------------------------------------------------------

    def _grid(self) -> str:
        cases = self._asked.cases
        done = sorted(rounds for rounds in self._rounds.values() if rounds)
        if not done:
            return f"none of {len(cases)} cases was measured"
        rounds = f"{done[0]}" if done[0] == done[-1] else f"{done[0]} to {done[-1]}"
        words = f"{len(done)} of {len(cases)} cases were measured, in {rounds} rounds"
        left_out = [
            words_of(cases[index])
            for index, lanes in sorted(self._lanes.items())
            if any(lane.status == "LEFT OUT" for lane in lanes)
        ]
        return f"{words}; left out: {'; '.join(left_out)}" if left_out else words

    def _save(self) -> KernelsRecord:
        asked = self._asked
        record = KernelsRecord(
            schema_version=KERNELS_SCHEMA_VERSION,
            created=self._created,
            tool=self._tool,
            machine=self._machine,
            ceiling=self._ceiling,
            settings=KernelSettings(
                command=asked.command,
                seed=asked.seed,
                budget_minutes=asked.budget_minutes,
                grid=self._grid(),
                device=asked.device,
                dtype=asked.dtype,
                launches=asked.launches_from,
                cache=self._cache_choice,
                regimes=self._regimes,
                absent={name: ABSENT[name] for name in ABSENT if name not in self._regimes},
                is_interrupted=self._is_interrupted,
            ),
            kernel_cells=tuple(
                KernelCell(asked.cases[index].facts, tuple(lane.row() for lane in lanes))
                for index, lanes in sorted(self._lanes.items())
            ),
        )
        save_kernels(record, self._path)
        return record


def current(device: torch.device) -> AbstractContextManager[object]:
    """Events and graphs are those of the current GPU."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def check_backends(names: Sequence[str]) -> None:
    """Raises InputError for a backend that is not known, one named twice, or none."""
    if not names:
        raise InputError(f"no backend to compare; there are {', '.join(BACKENDS)}")
    for name in names:
        if name not in BACKENDS:
            raise InputError(f"unknown backend {name!r}; there are {', '.join(BACKENDS)}")
    if len(set(names)) < len(names):
        raise InputError(f"a backend is named twice: {', '.join(names)}")


def bytes_per_number(dtype: str) -> int:
    found: torch.dtype = getattr(torch, dtype)
    return found.itemsize


def has_failed(record: KernelsRecord) -> bool:
    """Whether anything that should run was wrong, failed or ran out of memory."""
    rows = [row for _, row in record.rows()]
    statuses = [row.status for row in rows] + [one.status for row in rows for one in row.timings]
    return any(status in FAILURES for status in statuses)


def words_of(case: Case) -> str:
    """``full, 192+48, sao-small, batch 1``: by the words of the command's options."""
    one = case.facts
    return f"{one.plan}, {one.context_frames}+{one.block_frames}, {one.model}, batch {one.batch}"


def _group(case: Case) -> tuple[object, ...]:
    """Cases that share compiled graphs: a window, a model and a batch."""
    one = case.facts
    return one.context_frames, one.block_frames, one.model, one.batch


def _shape(case: Case) -> tuple[object, ...]:
    """Cases of a group that have the same shape share one compiled graph."""
    return (*_group(case), case.facts.queries, case.facts.places)


def _ending(error: Exception) -> tuple[RowStatus, str]:
    if isinstance(error, UnsupportedError):
        return "UNSUPPORTED", str(error)
    return status_of(error)


@contextmanager
def _failures(lane: _Lane) -> Iterator[None]:
    """What goes wrong in a lane is that lane's status; only Ctrl-C goes on upwards."""
    try:
        yield
    except Failures as error:
        lane.end(*_ending(error))


@contextmanager
def _recompiles(lane: _Lane, count: CompileCount) -> Iterator[None]:
    """What is compiled meanwhile is counted as this lane's."""
    before = count.now
    try:
        yield
    finally:
        lane.recompiles = (lane.recompiles or 0) + count.now - before
