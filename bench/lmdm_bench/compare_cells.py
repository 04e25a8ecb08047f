"""What a record of any kind measured, as cells that can be compared.

A cell's axes are its workload, its precision, and the policy under which it was measured. Weights
and input are none: no time depends on their values. What was not measured (INTERRUPTED, LEFT OUT,
or no block at all) is no cell.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from lmdm_bench.check_record import CheckCell, CheckRecord
from lmdm_bench.claims_record import ClaimsRecord, Point
from lmdm_bench.compare_machines import machine_facts
from lmdm_bench.compare_measured import Recorded, Sampled
from lmdm_bench.compare_record import CANARY, CellSide, Misses, Side
from lmdm_bench.dropouts import measured_dropouts
from lmdm_bench.kernels_record import (
    AttentionCase,
    KernelCheck,
    KernelRow,
    KernelSettings,
    KernelsRecord,
    Timing,
)
from lmdm_bench.record import (
    Block,
    Ceiling,
    Cell,
    Check,
    Choice,
    Cost,
    Memory,
    Record,
    Status,
    Workload,
)

MS_PER_SECOND = 1e3
# The drift controls of a record: how long its own ceiling would take for so much work.
PRODUCT_FLOPS = 1e12
COPY_BYTES = 1e9

# What follows from other axes.
DERIVED_FIELDS = ("block_seconds", "rows", "flops", "num_bytes")
NOT_MEASURED = ("INTERRUPTED", "LEFT OUT")
# What a record says of a model that could not be built.
NOT_BUILT = "not built"

# The kinds whose times can be compared.
MeasuredRecord = Record | CheckRecord | ClaimsRecord | KernelsRecord

Times = tuple[float, ...]
Stages = dict[str, Times]
Sampling = dict[str, Sequence[float | None]]


def recorded(record: MeasuredRecord, name: str) -> Recorded:
    """A record's cells. ``name`` is the record's own. Raises RecordError where a time is not above
    0."""
    extra: dict[str, str] = {}
    if isinstance(record, Record):
        cells = _run_cells(record)
        extra["weights"] = record.settings.weights
    elif isinstance(record, CheckRecord):
        cells = _check_cells(record)
    elif isinstance(record, ClaimsRecord):
        cells = _claims_cells(record)
    else:
        cells = _kernel_cells(record)
        extra["launches"] = record.settings.launches.value
    return Recorded(_origin(record, name, extra), tuple(cells))


def axis_words(axis: str) -> str:
    """An axis as it is read: ``context_frames`` is "context frames"."""
    return axis.removeprefix("is_").removeprefix("num_").replace("_", " ")


def _origin(record: MeasuredRecord, name: str, extra: dict[str, str]) -> Side:
    tool = record.tool
    reason = tool.git_reason
    return Side(
        name=name,
        git_commit=tool.git_commit,
        git_is_dirty=tool.git_is_dirty,
        machine=record.machine.name,
        machine_facts=machine_facts(record.machine) | extra,
        packages={"lmdm-bench": tool.version, "python": tool.python, **tool.packages},
        created=record.created,
        unavailable={} if reason is None else {"git_commit": reason},
    )


def _run_cells(record: Record) -> Iterator[Sampled]:
    settings = record.settings
    policy = {
        "mode": "back to back",
        "linear": settings.linear.value,
        "gc": settings.gc,
        **_machine_axes(settings.device, record),
    }
    for cell in record.cells:
        blocks = [block for block in cell.blocks if not block.is_warmup]
        yield from _block_cell(
            cell,
            blocks,
            {**policy, **_codec_axis(blocks)},
            _memory_bytes(cell.cost, cell.memory),
            None,
            _controls(record.ceiling),
        )


def _check_cells(record: CheckRecord) -> Iterator[Sampled]:
    settings = record.settings
    policy = {
        "mode": settings.mode,
        "prebuffer_blocks": str(settings.prebuffer_blocks),
        "late_blocks": settings.policy,
        "stress": settings.stress,
        "audio": settings.audio or "none",
        "gc": settings.gc,
        **_machine_axes(settings.device, record),
    }
    for cell in record.check_cells:
        blocks = [one.block for one in cell.blocks]
        axes = {**policy, **_codec_axis(blocks)}
        if cell.linear is not None:
            axes["linear"] = cell.linear.value
        if cell.status == "OK":
            kinds = sorted({one.kind for one in cell.controls})
            axes["conditions"] = " and ".join(kinds) or "none"
        controls = _controls(record.ceiling)
        if cell.canary.work_ms:
            controls[CANARY] = cell.canary.work_ms
        yield from _block_cell(
            cell,
            blocks,
            axes,
            _memory_bytes(cell.cost, cell.memory),
            _misses(cell, record),
            controls,
        )


def _block_cell(
    cell: Cell | CheckCell,
    blocks: Sequence[Block],
    axes: dict[str, str],
    memory_bytes: dict[str, int],
    misses: Misses | None,
    controls: Stages,
) -> Iterator[Sampled]:
    outcome = _outcome(cell.status, cell.reason, cell.check, memory_bytes, misses)
    service_ms = tuple(block.service_ms for block in blocks)
    yield from _sampled(cell.workload, axes, outcome, service_ms, _stages(blocks), controls)


def _claims_cells(record: ClaimsRecord) -> Iterator[Sampled]:
    settings = record.settings
    axes = {
        "mode": "in rounds",
        "linear": settings.linear.value,
        "codec": "left out",
        **_machine_axes(settings.device, record),
    }
    for point in record.points:
        outcome = _outcome(
            point.status, point.reason, point.check, _memory_bytes(point.cost, None), None
        )
        service_ms = tuple(visit.service_ms for visit in point.visits)
        yield from _sampled(
            point.workload, axes, outcome, service_ms, _visited(point), _controls(record.ceiling)
        )


def _sampled(
    workload: Workload,
    axes: dict[str, str],
    outcome: CellSide,
    service_ms: Times,
    stages: Stages,
    controls: Stages,
) -> Iterator[Sampled]:
    """The cell, unless it was not measured."""
    is_ok = outcome.status == "OK"
    if outcome.status in NOT_MEASURED or (is_ok and not service_ms):
        return
    known = {axis: value for axis, value in axes.items() if value != NOT_BUILT}
    yield Sampled(
        name=f"{workload.scheme} · {workload.model}",
        kind="block",
        axes=_axes(workload) | known,
        block_seconds=workload.block_seconds,
        outcome=outcome,
        service_ms=service_ms if is_ok else (),
        stages=stages if is_ok else {},
        controls=controls if is_ok else {},
    )


def _kernel_cells(record: KernelsRecord) -> Iterator[Sampled]:
    settings = record.settings
    for case, row in record.rows():
        for timing in row.timings or _untimed(row, settings):
            sampled = _kernel_cell(case, row, timing, record)
            if sampled is not None:
                yield sampled


def _kernel_cell(
    case: AttentionCase, row: KernelRow, timing: Timing, record: KernelsRecord
) -> Sampled | None:
    if timing.status in NOT_MEASURED:
        return None
    settings = record.settings
    is_ok = timing.status == "OK"
    window = f"{case.context_frames}+{case.block_frames}"
    parts = (row.backend, f"{case.plan} {window}", case.model, f"batch {case.batch}", timing.regime)
    return Sampled(
        name=" · ".join(parts),
        kind="kernel",
        axes={
            "backend": row.backend,
            **_axes(case),
            "regime": timing.regime,
            "dtype": settings.dtype.value,
            **_machine_axes(settings.device, record),
        },
        block_seconds=None,
        outcome=_outcome(timing.status, timing.reason, row.check, {}, None),
        service_ms=timing.round_ms if is_ok else (),
        stages={},
        controls=_controls(record.ceiling) if is_ok else {},
    )


def _untimed(row: KernelRow, settings: KernelSettings) -> Iterable[Timing]:
    """A row that never came to be timed failed in every regime."""
    return (Timing(regime, row.status, row.reason, 0, 0, ()) for regime in settings.regimes)


def _axes(workload: Workload | AttentionCase) -> dict[str, str]:
    fields = dataclasses.asdict(workload)
    return {name: _value(value) for name, value in fields.items() if name not in DERIVED_FIELDS}


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _machine_axes(device: Choice, record: MeasuredRecord) -> dict[str, str]:
    return {
        "device": device.value.partition(":")[0],
        "threads": str(record.machine.num_threads),
    }


def _codec_axis(blocks: Sequence[Block]) -> dict[str, str]:
    if not blocks:
        return {}
    return {"codec": "not run" if blocks[0].codec_decode_ms is None else "run"}


def _stages(blocks: Sequence[Block]) -> Stages:
    found: Sampling = {
        "context_encode": [block.context_encode_ms for block in blocks],
        "first_step": [block.steps_ms[0] if block.steps_ms else None for block in blocks],
        "later_steps": [math.fsum(block.steps_ms[1:]) for block in blocks],
        "commit": [block.commit_ms for block in blocks],
        "codec_decode": [block.codec_decode_ms for block in blocks],
        "host": [block.host_ms for block in blocks],
    }
    return _comparable(found)


def _visited(point: Point) -> Stages:
    encode = [visit.context_encode_ms for visit in point.visits]
    steps = [visit.service_ms - (visit.context_encode_ms or 0.0) for visit in point.visits]
    return _comparable({"context_encode": encode, "steps": steps})


def _comparable(stages: Sampling) -> Stages:
    """Those that have a ratio: a time above 0 in every sample."""
    found: Stages = {}
    for name, times in stages.items():
        known = tuple(time for time in times if time is not None and time > 0)
        if known and len(known) == len(times):
            found[name] = known
    return found


def _controls(ceiling: Ceiling) -> Stages:
    rates = {
        "product": (PRODUCT_FLOPS, ceiling.flops_per_second),
        "copy": (COPY_BYTES, ceiling.bytes_per_second),
    }
    return {
        name: (work / rate * MS_PER_SECOND,) for name, (work, rate) in rates.items() if rate > 0
    }


def _outcome(
    status: str,
    reason: str | None,
    check: Check | KernelCheck | None,
    memory_bytes: dict[str, int],
    misses: Misses | None,
) -> CellSide:
    is_ok = status == "OK"
    return CellSide(
        # The one status that a kernel's row has besides is not measured, and is no cell.
        status=cast(Status, status),
        reason=reason,
        error=check.error if check else None,
        budget=check.budget if check else None,
        memory_bytes=memory_bytes if is_ok else {},
        misses=misses if is_ok else None,
    )


def _memory_bytes(cost: Cost, memory: Memory | None) -> dict[str, int]:
    """Only what is exact: a resident set is not."""
    held = cost.footprint
    found = {
        "weights": held.weight_bytes,
        "cache": held.cache_bytes,
        "activations": held.activation_bytes,
        "workspace": held.workspace_bytes,
    }
    if memory is not None and memory.vram_allocated_bytes is not None:
        found["peak_allocated"] = memory.vram_allocated_bytes
    return found


def _misses(cell: CheckCell, record: CheckRecord) -> Misses:
    found = measured_dropouts(cell, record.settings.prebuffer_blocks, record.settings.policy)
    return Misses(
        num_due=found.num_blocks,
        num_misses=found.num_misses,
        num_dropouts=found.num_dropouts,
        playing_hours=found.playing_hours,
    )
