"""What is asked of a prediction: workloads with their costs, and the machines that are meant."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from lmdm_bench import subjects
from lmdm_bench.any_record import load_any
from lmdm_bench.calibration import evidence_of
from lmdm_bench.calibration_fit import Kind
from lmdm_bench.errors import InputError
from lmdm_bench.evidence import (
    NO_EVIDENCE,
    Evidence,
    are_alike,
    gpu_of,
    kind_of,
    row_of,
    shipped,
)
from lmdm_bench.gpu_table import GpuSpec, find_gpu, gpu_table
from lmdm_bench.predict import Asked, Prediction, Target, predict
from lmdm_bench.record import Ceiling, Machine, RecordError
from lmdm_bench.request import Request
from lmdm_bench.stage_cost import codec_bytes, stages_of

# Where memory and launches are alike: Intel's cards have a device of their own in torch, which the
# suite does not run on yet.
DEVICE_OF_FAMILY = {"nvidia": "cuda", "amd": "cuda", "intel": "cuda", "apple": "mps"}
RECORD_NAMES = ("record.json", "claims.json", "check.json")

MeasureCeiling = Callable[[Request], Ceiling]


def predict_rows(
    request: Request,
    machine: Machine,
    *,
    gpu: str | None = None,
    power_watts: float | None = None,
    is_all: bool = False,
    dtype: str | None = None,
    records: Sequence[Path] = (),
    measure_ceiling: MeasureCeiling | None = None,
) -> tuple[Prediction, ...]:
    """A prediction for each machine and each scheme of the request, machines outermost.

    Without ``gpu`` or ``is_all`` it is this machine, ``machine``, as a run on ``request.device``
    uses it. ``dtype`` None is the request's here, and each GPU's own half precision elsewhere.
    ``records`` are the user's own; ``measure_ceiling`` is asked where nothing else is known of this
    machine. Raises InputError, UnsupportedError, or RecordError for a record that cannot be read.
    """
    if power_watts is not None and gpu is None:
        raise InputError("--power-watts is of a laptop's GPU: name it with --gpu")
    if gpu is not None and is_all:
        raise InputError("--gpu names one machine and --all means every one: give one of them")
    subjects.validate(replace(request, device="cpu", attention="range", is_graphed=False))
    own = evidence_of((path.stem, load_any(path)) for path in records) if records else NO_EVIDENCE
    if gpu is not None:
        targets = [target_of(find_gpu(gpu), request, power_watts)]
    else:
        targets = [target_here(machine, request, own, measure_ceiling)]
    if is_all:
        targets += _measured_elsewhere(targets[0], own)
        targets += [target_of(row, request) for row in gpu_table()]
    return tuple(
        predict(_asked_on(request, scheme, target, dtype), target, own, shipped())
        for target in targets
        for scheme in request.schemes
    )


def own_records(folder: Path) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """The records of a folder of runs, and why some cannot be read, a sentence for each."""
    readable, complaints = [], []
    paths = [path for name in RECORD_NAMES for path in sorted(folder.glob(f"*/{name}"))]
    for path in paths:
        try:
            load_any(path)
        except RecordError as error:
            complaints.append(str(error))
        else:
            readable.append(path)
    return tuple(readable), tuple(complaints)


@functools.lru_cache(maxsize=256)
def asked(request: Request, scheme: str) -> Asked:
    """One workload, its memory and its stages, by arithmetic."""
    workload = subjects.workload_of(request, scheme)
    # What is bound by a ceiling is not looked at.
    cost = subjects.cost_of(request, scheme, Ceiling(request.dtype, 1.0, 1.0))
    return Asked(
        workload=workload,
        memory_bytes=cost.footprint.peak_bytes + codec_bytes(workload),
        stages=stages_of(workload, request.device.partition(":")[0]),
    )


def target_of(row: GpuSpec, request: Request, power_watts: float | None = None) -> Target:
    """A GPU of the table, a laptop's at one power limit or over all that it is sold with.

    Raises InputError for a limit that it is not sold with.
    """
    kind = Kind(row.name, DEVICE_OF_FAMILY[row.family], power_watts, request.is_graphed)
    if power_watts is None:
        return Target(row.name, kind, False, row, row.memory_gib, None)
    name = f"{row.name} at {power_watts:g} W"
    return Target(name, kind, False, row.at_power(power_watts), row.memory_gib, None)


def target_here(
    machine: Machine,
    request: Request,
    own: Evidence = NO_EVIDENCE,
    measure_ceiling: MeasureCeiling | None = None,
) -> Target:
    """This machine, as a run on the request's device uses it."""
    kind = kind_of(machine, request.device, is_graphed=request.is_graphed)
    memory_gib = machine.ram_bytes / 2**30
    row = None
    if kind.device == "cuda" and machine.gpus:
        memory_gib = gpu_of(machine, request.device).memory_bytes / 2**30
    if kind.device != "cpu":
        row = row_of(replace(kind, name=machine.cpu) if kind.device == "mps" else kind)
    is_known = any(
        are_alike(one.kind, kind) and one.of_dtype(request.dtype)
        for one in (*own.calibrations, *shipped().calibrations)
    )
    ceiling = None
    if row is None and not is_known and measure_ceiling is not None:
        ceiling = measure_ceiling(request)
    return Target(kind.name, kind, True, row, (memory_gib, memory_gib), ceiling)


def _measured_elsewhere(here: Target, own: Evidence) -> list[Target]:
    """Machines that something was measured on, and that are neither here nor in the table."""
    found: dict[Kind, Target] = {}
    for one in (*own.calibrations, *shipped().calibrations):
        if not are_alike(one.kind, here.kind) and row_of(one.kind) is None:
            gib = one.memory_bytes / 2**30
            found[one.kind] = Target(one.kind.name, one.kind, False, None, (gib, gib), None)
    return list(found.values())


def _asked_on(request: Request, scheme: str, target: Target, dtype: str | None) -> Asked:
    """What is asked, as it would be run on the target."""
    device = request.device if target.is_here else target.kind.device
    own_dtype = request.dtype if target.is_here or target.gpu is None else target.gpu.dtype
    return asked(
        replace(
            request,
            schemes=(scheme,),
            lmm_models=tuple(
                one for one in request.lmm_models if subjects.scheme_of(one) == scheme
            ),
            device=device,
            dtype=dtype or own_dtype,
            is_graphed=target.kind.is_graphed,
        ),
        scheme,
    )
