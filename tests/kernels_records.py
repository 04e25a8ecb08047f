"""Example kernels records whose times are planted, for the tests of everything that reads one."""

import dataclasses
import functools
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import records
from lmdm_bench.attention_cases import BATCHES, MODELS, PLANS, WINDOWS, cases
from lmdm_bench.kernels_record import (
    KERNELS_SCHEMA_VERSION,
    AttentionCase,
    KernelCell,
    KernelCheck,
    KernelRow,
    KernelSettings,
    KernelsRecord,
    Regime,
    RowStatus,
    Timing,
)
from lmdm_bench.record import Choice

BACKENDS = ("interval", "range", "masked", "flex", "cudnn", "flash2", "flash4", "reference")
CPU_REGIMES: tuple[Regime, ...] = ("warm", "cold", "stack")
CUDA_REGIMES: tuple[Regime, ...] = ("warm", "cold", "eager", "stack", "stack graph")
STACKS = ("stack", "stack graph")
ROUNDS = 12
CHECK = KernelCheck(1.4e-3, 1.1e-3, 2 * 1.1e-3 + 7.8e-3, is_within_budget=True)
# Of the queries and keys of all rows together, as much as these compute.
DENSE = ("masked", "reference")

NO_GPU: dict[str, tuple[RowStatus, str]] = {
    "interval": (
        "UNSUPPORTED",
        "on cpu the kernel runs in Triton's interpreter only, whose times mean nothing",
    ),
    "cudnn": ("UNSUPPORTED", "cuDNN's attention needs a CUDA device"),
    "flash2": ("UNSUPPORTED", "flash-attn 2 needs a CUDA device"),
    "flash4": ("UNSUPPORTED", "flash-attn 4 needs a CUDA device"),
}


@dataclass(frozen=True)
class Law:
    """The planted truth: what a launch costs, and which part of the peak each backend reaches."""

    launch_ms: float
    efficiency: Mapping[str, float]
    graph_launch_ms: float
    noise: float = 0.01
    # Of the interval kernel, or of range attention where there is no GPU.
    subject_factor: float = 1.0


CPU_LAW = Law(
    launch_ms=0.02,
    efficiency={"range": 0.45, "masked": 0.42, "flex": 0.22, "reference": 0.15},
    graph_launch_ms=0.0,
)
CUDA_LAW = Law(
    launch_ms=0.006,
    efficiency={
        "interval": 0.45,
        "range": 0.38,
        "masked": 0.2,
        "flex": 0.4,
        "cudnn": 0.42,
        "flash2": 0.4,
        "reference": 0.06,
    },
    graph_launch_ms=0.0012,
)


@functools.cache
def on_cpu() -> KernelsRecord:
    """Two cores: what runs there, and the reasons of what does not."""
    return _record(CPU_LAW, is_cuda=False)


@functools.cache
def on_cuda() -> KernelsRecord:
    """A large GPU without flash-attn 4, where the interval kernel is mostly ahead."""
    return _record(CUDA_LAW, is_cuda=True)


@functools.cache
def behind() -> KernelsRecord:
    """The kernel at half the speed, on the first cases."""
    record = _record(dataclasses.replace(CUDA_LAW, subject_factor=2.0), is_cuda=True)
    return dataclasses.replace(record, kernel_cells=record.kernel_cells[:10])


@functools.cache
def few_rounds() -> KernelsRecord:
    """Too few rounds for any interval, on the first cases."""
    record = with_rounds(on_cuda(), 3)
    return dataclasses.replace(record, kernel_cells=record.kernel_cells[:10])


@functools.cache
def short() -> KernelsRecord:
    """A short and interrupted run on a CPU: one case cut, some left out, one wrong, one OOM."""
    record = on_cpu()
    first, second, third, *others = record.kernel_cells[:10]
    wrong = _ended(first.rows[3], "INCORRECT", "error 0.1 against float64 is over the budget of …")
    first = dataclasses.replace(first, rows=(*first.rows[:3], wrong, *first.rows[4:]))
    oom = _ended(second.rows[2], "OOM", "RuntimeError: can't allocate memory")
    second = dataclasses.replace(second, rows=(*second.rows[:2], oom, *second.rows[3:]))
    timings = tuple(
        dataclasses.replace(one, round_ms=one.round_ms[:2]) for one in third.rows[1].timings
    )
    cut = dataclasses.replace(third.rows[1], timings=timings)
    third = dataclasses.replace(third, rows=(third.rows[0], cut, *third.rows[2:]))
    left_out = tuple(
        dataclasses.replace(
            cell,
            rows=tuple(
                _ended(row, "LEFT OUT", "set-up and 6 rounds would take about 41 s, and 3 s …")
                for row in cell.rows
            ),
        )
        for cell in others
    )
    settings = dataclasses.replace(
        record.settings, is_interrupted=True, grid="3 of 10 cases were measured, in 2 to 12 rounds"
    )
    cells = (first, second, third, *left_out)
    return dataclasses.replace(record, settings=settings, kernel_cells=cells)


@functools.cache
def nothing() -> KernelsRecord:
    """Stopped before its first case."""
    record = on_cpu()
    cells = tuple(
        dataclasses.replace(
            cell,
            rows=tuple(_ended(row, "INTERRUPTED", "stopped before this case") for row in cell.rows),
        )
        for cell in record.kernel_cells[:5]
    )
    settings = dataclasses.replace(
        record.settings, is_interrupted=True, grid="none of 5 cases was measured"
    )
    return dataclasses.replace(record, settings=settings, kernel_cells=cells)


EXAMPLES: dict[str, Callable[[], KernelsRecord]] = {
    "on_cpu": on_cpu,
    "on_cuda": on_cuda,
    "behind": behind,
    "few_rounds": few_rounds,
    "short": short,
    "nothing": nothing,
}


def with_rounds(record: KernelsRecord, rounds: int) -> KernelsRecord:
    """The same with no more than so many rounds."""

    def cut(row: KernelRow) -> KernelRow:
        timings = tuple(
            dataclasses.replace(one, round_ms=one.round_ms[:rounds]) for one in row.timings
        )
        return dataclasses.replace(row, timings=timings)

    cells = tuple(
        dataclasses.replace(cell, rows=tuple(map(cut, cell.rows))) for cell in record.kernel_cells
    )
    return dataclasses.replace(record, kernel_cells=cells)


def _ended(row: KernelRow, status: RowStatus, reason: str) -> KernelRow:
    return KernelRow(
        backend=row.backend,
        status=status,
        reason=reason,
        check=None,
        launches=None,
        compiles=None,
        recompiles=None,
        compile_seconds=None,
        timings=(),
        unavailable={"launches": "it did not run"},
    )


def _record(law: Law, is_cuda: bool) -> KernelsRecord:
    base = records.cuda() if is_cuda else records.all_ok()
    ceiling = records.CUDA_CEILING if is_cuda else records.CPU_CEILING
    draw = random.Random(7)
    regimes = CUDA_REGIMES if is_cuda else CPU_REGIMES
    absent = {
        "eager": "every regime is launched call by call here",
        "stack graph": "there is no CUDA graph without CUDA",
    }

    def row(case: AttentionCase, backend: str) -> KernelRow:
        ended = (
            {"flash4": ("UNSUPPORTED", "flash-attn 4 is not installed")} if is_cuda else NO_GPU
        ).get(backend)
        if ended is not None:
            status, reason = ended
            return _ended(_empty(backend), status, reason)
        is_flex = backend == "flex"
        is_new = is_flex and case.plan in ("full", "encoder-decoder-step")
        return KernelRow(
            backend=backend,
            status="OK",
            reason=None,
            check=CHECK,
            launches=(1 if backend in ("interval", "flex") else case.rows) if is_cuda else None,
            compiles=int(is_new or (is_cuda and backend == "interval")),
            recompiles=0,
            compile_seconds=5.6 if is_new else None,
            timings=tuple(timing(case, backend, regime) for regime in regimes),
            unavailable={}
            if is_cuda
            else {"launches": "kernels are launched on a CUDA device only"},
        )

    def timing(case: AttentionCase, backend: str, regime: Regime) -> Timing:
        area = case.queries * case.places if backend in DENSE else case.pairs
        flops = case.flops * area / case.pairs
        rate = ceiling.flops_per_second * law.efficiency[backend]
        num_bytes = case.num_bytes * (1.0 if regime != "warm" else 0.3)
        seconds = max(flops / rate, num_bytes / (0.8 * ceiling.bytes_per_second))
        is_graph = is_cuda and regime in ("warm", "cold", "stack graph")
        launches = 1 if backend in ("interval", "flex", *DENSE) else case.rows
        launch_ms = launches * (law.graph_launch_ms if is_graph else law.launch_ms)
        ms = 1e3 * seconds + launch_ms
        if backend == ("interval" if is_cuda else "range"):
            ms *= law.subject_factor
        layers = case.layers if regime in STACKS else 1
        calls = case.layers if regime in STACKS else 16
        return Timing(
            regime=regime,
            status="OK",
            reason=None,
            calls=calls,
            touched_bytes=calls * case.num_bytes,
            round_ms=tuple(layers * ms * draw.lognormvariate(0, law.noise) for _ in range(ROUNDS)),
        )

    found = cases(tuple(PLANS), WINDOWS, MODELS, BATCHES, bytes_per_number=2)
    return KernelsRecord(
        schema_version=KERNELS_SCHEMA_VERSION,
        created="2026-11-21T09:00:00+00:00",
        tool=base.tool,
        machine=base.machine,
        ceiling=ceiling,
        settings=KernelSettings(
            command="lmdm-bench kernels",
            seed=0,
            budget_minutes=10.0,
            grid=f"80 of 80 cases were measured, in {ROUNDS} rounds",
            device=base.settings.device,
            dtype=base.settings.dtype,
            launches=Choice("shipped", "no other table was given"),
            cache=Choice("50 MiB", "L2, as the driver tells it")
            if is_cuda
            else Choice("32 MiB", "the largest cache that the system lists"),
            regimes=regimes,
            absent={name: why for name, why in absent.items() if name not in regimes},
            is_interrupted=False,
        ),
        kernel_cells=tuple(
            KernelCell(one.facts, tuple(row(one.facts, name) for name in BACKENDS)) for one in found
        ),
    )


def _empty(backend: str) -> KernelRow:
    return KernelRow(backend, "UNSUPPORTED", "x", None, None, None, None, None, (), {})
