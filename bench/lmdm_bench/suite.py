"""The small suite by which revisions are compared: what a change can make slower, checked first.

Schemes at tiny and small size, range attention (on a GPU the interval kernel too) by the registry
of ``lmdm-bench kernels``, and a step of the codec. Each revision brings its own suite, so a cell
means what that revision says it means: cells of two revisions are compared where their axes agree.
"""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch

from lmdm_bench import attention_backends, kernel_timer, subjects
from lmdm_bench.allocated_memory import peak_allocated_bytes
from lmdm_bench.attention_cases import Case, cases
from lmdm_bench.attention_check import poison, truth_of
from lmdm_bench.clock import CALL_ONLY, Stopwatch, synchroniser
from lmdm_bench.codec_subject import CodecSubject
from lmdm_bench.compare_record import CellSide, Kind
from lmdm_bench.errors import UnsupportedError
from lmdm_bench.record import Ceiling, Status, Workload
from lmdm_bench.request import Request
from lmdm_bench.stream_run import status_of

CONTEXT_FRAMES = 192
BLOCK_FRAMES = 48
# Few steps: the more there are, the less of a block is its encoding and its commit.
STEPS = 2
SCHEMES_AT = {
    "tiny": subjects.SCHEMES,
    "sao-small": subjects.DIFFUSION_SCHEMES,
}
LMM_MODELS = ("mrt1-tiny", "mrt2-tiny")

KERNEL_PLANS = ("full", "encoder-decoder", "encoder-decoder-step", "block-causal-fused-step")
KERNEL_BACKENDS = {"cpu": ("range",), "cuda": ("interval", "range"), "mps": ("range",)}
WINDOW = f"{CONTEXT_FRAMES}+{BLOCK_FRAMES}"
KERNEL_MODEL = "sao-small"

CODEC_MODEL = "sao-small"
CODEC_FRAMES = 10

# The first pair of each process is a warm-up too.
WARMUP_SAMPLES = 1

# A cell's ceiling is none of its business here: the bound that it makes is not shown.
_NO_CEILING = Ceiling("none", 1.0, 1.0)


@dataclass(frozen=True)
class Sample:
    """One block or call: its milliseconds, and those of its stages, which sum to it."""

    service_ms: float
    stages: dict[str, float]


@dataclass(frozen=True)
class Opened:
    """A cell that was built, checked and warmed up; ``sample`` is None where it did not end OK."""

    side: CellSide
    sample: Callable[[], Sample] | None


@dataclass(frozen=True)
class SuiteCell:
    """A cell by its name, with its workload's ``axes``.

    ``open(is_first)`` builds it. The first time it is checked, and what it allocates is counted,
    which takes as long again: later processes of a side run the same code.
    """

    name: str
    kind: Kind
    axes: dict[str, str]
    block_seconds: float | None
    open: Callable[[bool], Opened]


def suite(device: str, dtype: str, seed: int) -> tuple[SuiteCell, ...]:
    """The cells, the cheapest first; nothing is built before a cell is opened."""
    found: list[SuiteCell] = []
    found += _kernel_cells(device, dtype, seed)
    for model, schemes in SCHEMES_AT.items():
        found += _scheme_cells(model, schemes, device, dtype, seed)
    return (*found, _codec_cell(device, dtype, seed))


def _scheme_cells(
    model: str, schemes: tuple[str, ...], device: str, dtype: str, seed: int
) -> list[SuiteCell]:
    request = _with_kernels(
        Request(
            schemes=schemes,
            model=model,
            context_frames=CONTEXT_FRAMES,
            block_frames=BLOCK_FRAMES,
            steps=STEPS,
            sampler="pingpong",
            guidance_scale=1.0,
            lmm_models=LMM_MODELS if schemes == subjects.SCHEMES else (),
            lmm_context_frames=None,
            lmm_block_frames=None,
            lmm_levels=None,
            dtype=dtype,
            device=device,
            attention="range",
            is_graphed=False,
            checkpoint=None,
            seed=seed,
        )
    )

    @functools.cache
    def built() -> subjects.Model:
        return subjects.Model(request, has_codec=False)

    def cell(scheme: str) -> SuiteCell:
        workload = subjects.workload_of(request, scheme)
        return SuiteCell(
            name=f"{scheme} · {workload.model}",
            kind="block",
            axes=_axes(workload),
            block_seconds=workload.block_seconds,
            open=lambda is_first: _guarded(
                lambda: _open_scheme(built(), request, scheme, is_first)
            ),
        )

    return [cell(scheme) for scheme in schemes]


def _with_kernels(request: Request) -> Request:
    """With the Triton kernels, where they can run."""
    faster = dataclasses.replace(request, attention="triton")
    try:
        subjects.validate(faster)
    except UnsupportedError:
        return request
    return faster


def _axes(workload: Workload) -> dict[str, str]:
    return {name: str(value) for name, value in dataclasses.asdict(workload).items()}


def _open_scheme(model: subjects.Model, request: Request, scheme: str, is_first: bool) -> Opened:
    cost = subjects.cost_of(request, scheme, _NO_CEILING)
    subject = model.subject(scheme, cost)
    check = subject.check() if is_first else None
    if check is not None and not check.is_within_budget:
        return _wrong(check.error, check.budget)
    subject.prefill()

    def sample() -> Sample:
        watch = Stopwatch(synchroniser(request.device))
        with watch.block():
            subject.make_block(watch)
        return Sample(watch.total_ms, _stages(watch))

    memory = {"footprint by arithmetic": cost.footprint.peak_bytes}
    if is_first:
        memory |= _allocated(sample, request.device, "allocated in a block")
    return _warm(sample, None if check is None else (check.error, check.budget), memory)


def _stages(watch: Stopwatch) -> dict[str, float]:
    """The block's stages; a commit that is part of another pass is what calling it takes."""
    steps = watch.stages_ms.get("step", [])
    found = {"first_step": steps[0], "later_steps": sum(steps[1:])} if steps else {}
    for name in ("context_encode", "commit"):
        times = [*watch.stages_ms.get(name, ()), *watch.stages_ms.get(f"{name}{CALL_ONLY}", ())]
        if times:
            found[name] = sum(times)
    return found | {"host": watch.total_ms - sum(found.values())}


def _kernel_cells(device: str, dtype: str, seed: int) -> list[SuiteCell]:
    itemsize = getattr(torch, dtype).itemsize
    found = cases(KERNEL_PLANS, (WINDOW,), (KERNEL_MODEL,), (1,), itemsize)

    def cell(backend: str, case: Case, index: int) -> SuiteCell:
        facts = case.facts
        axes = {name: str(value) for name, value in dataclasses.asdict(facts).items()}
        return SuiteCell(
            name=f"{backend} · {facts.plan}",
            kind="kernel",
            axes=axes | {"backend": backend, "dtype": dtype, "regime": "warm"},
            block_seconds=None,
            open=lambda is_first: _guarded(
                lambda: _open_kernel(backend, case, device, dtype, seed + index, is_first)
            ),
        )

    return [
        cell(backend, case, index)
        for backend in KERNEL_BACKENDS[device.partition(":")[0]]
        for index, case in enumerate(found)
    ]


@torch.inference_mode()
def _open_kernel(
    backend: str, case: Case, device: str, dtype: str, seed: int, is_first: bool
) -> Opened:
    where = torch.device(device)
    inputs = attention_backends.random_inputs(case.facts, where, getattr(torch, dtype), seed)
    truth = truth_of(inputs, case.plan) if is_first else None
    call = attention_backends.BACKENDS[backend](attention_backends.Setting(case.plan, inputs))
    poison(inputs.query)
    check = None if truth is None else truth.check(call(inputs))
    if check is not None and not check.is_within_budget:
        return _wrong(check.error, check.budget)
    timed = kernel_timer.eager([lambda: call(inputs)], where)

    def sample() -> Sample:
        with torch.inference_mode():
            return Sample(timed.sample(), {})

    memory = _allocated(lambda: call(inputs), device) if is_first else {}
    return _warm(sample, None if check is None else (check.error, check.budget), memory)


def _codec_cell(device: str, dtype: str, seed: int) -> SuiteCell:
    def opened(is_first: bool) -> Opened:
        subject = CodecSubject(CODEC_MODEL, CODEC_FRAMES, dtype, device, seed)
        check = subject.check() if is_first else None
        if check is not None and check[0] > check[1]:
            return _wrong(*check)

        def sample() -> Sample:
            watch = Stopwatch(synchroniser(device))
            with watch.block():
                subject.decode()
            return Sample(watch.total_ms, {})

        memory = _allocated(subject.decode, device) if is_first else {}
        return _warm(sample, check, memory)

    return SuiteCell(
        name=f"codec decode · {CODEC_MODEL}",
        kind="codec",
        axes={"model": CODEC_MODEL, "frames": str(CODEC_FRAMES), "dtype": dtype},
        block_seconds=None,
        open=lambda is_first: _guarded(lambda: opened(is_first)),
    )


def _allocated(
    call: Callable[[], object], device: str, name: str = "allocated in a call"
) -> dict[str, int]:
    """Nothing where torch does not count it: a cell can be timed without."""
    try:
        return {name: peak_allocated_bytes(call, device)}
    except UnsupportedError:
        return {}


def _warm(
    sample: Callable[[], Sample],
    check: tuple[float, float] | None,
    memory_bytes: dict[str, int],
) -> Opened:
    """``check`` has the error and its budget, where there was one."""
    for _ in range(WARMUP_SAMPLES):
        sample()
    error, budget = check or (None, None)
    return Opened(CellSide("OK", None, error, budget, memory_bytes, None), sample)


def _wrong(error: float, budget: float) -> Opened:
    reason = f"error {error:.2g} is over the budget of {budget:.2g}; nothing was timed"
    return Opened(CellSide("INCORRECT", reason, error, budget, {}, None), None)


def _guarded(open_it: Callable[[], Opened]) -> Opened:
    """What goes wrong in a cell is that cell's status."""
    try:
        return open_it()
    except UnsupportedError as error:
        return failed("UNSUPPORTED", str(error))
    except (MemoryError, RuntimeError, ValueError, ArithmeticError) as error:
        return failed(*status_of(error))


def failed(status: Status, reason: str) -> Opened:
    """A cell that did not come to be timed."""
    return Opened(CellSide(status, reason, None, None, {}, None), None)
