"""Records become evidence: ``python -m lmdm_bench.calibration`` shows it, ``--write`` ships it.

Runs and claims runs are fitted, one calibration for each kind of machine and way of launching; a
paced check's blocks wait in between and are no part of a fit. Runs and checks are also kept as what
was measured. Without ``--write`` the shipped file is compared with what ``reports/data`` gives, and
a difference fails.
"""

import argparse
import math
import sys
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lmdm_bench import estimates
from lmdm_bench.any_record import AnyRecord, load_any
from lmdm_bench.calibration_fit import (
    Calibration,
    Device,
    HeldOut,
    Kind,
    Observation,
    calibrate,
    group_of,
    left_out_errors,
    scheme_of,
)
from lmdm_bench.check_record import CheckRecord
from lmdm_bench.claims_record import ClaimsRecord, Point
from lmdm_bench.errors import InputError
from lmdm_bench.evidence import (
    EVIDENCE_NAME,
    EVIDENCE_SCHEMA_VERSION,
    Evidence,
    Measured,
    evidence_from_json,
    gpu_of,
    kind_of,
    row_of,
)
from lmdm_bench.record import (
    Block,
    Cell,
    Record,
    RecordError,
    Workload,
    read_text,
    to_json,
    write_whole,
)
from lmdm_bench.stage_cost import CODEC, ENCODE, STEPS, stages_of

# Figures that a search finds differ by a little from machine to machine.
SIGNIFICANT_DIGITS = 6
TOLERANCE = 0.01

MS_PER_SECOND = 1e3

# A record with the name it goes by, and those that are fitted.
Named = tuple[str, AnyRecord]
Run = Record | ClaimsRecord


def main(arguments: Sequence[str] | None = None) -> int:
    """Show, and compare or write. Returns 0 where all agrees, else 1."""
    parser = argparse.ArgumentParser(prog="python -m lmdm_bench.calibration", description=__doc__)
    parser.add_argument("root", nargs="?", type=Path, default=Path(), help="the repository")
    parser.add_argument("--write", action="store_true", help="write instead of comparing")
    asked = parser.parse_args(arguments)
    path = asked.root / "bench" / "lmdm_bench" / EVIDENCE_NAME
    try:
        records = [(one.stem, load_any(one)) for one in _paths(asked.root)]
        found = evidence_of(records)
        sys.stdout.write("\n".join(report(records)) + "\n")
        if asked.write:
            write_whole(path, to_json(found).encode())
        are_alike = agrees(evidence_from_json(read_text(path), str(path)), found)
    except (RecordError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if not are_alike:
        sys.stderr.write(f"{EVIDENCE_NAME} is not what the records give; --write writes it.\n")
    return 0 if are_alike else 1


def evidence_of(records: Iterable[Named]) -> Evidence:
    """All that the records tell; too few points of a kind of machine are said in ``left_out``."""
    found = list(records)
    calibrations, left_out = [], []
    for device, observations in _by_kind(found):
        try:
            calibrations.append(_rounded(calibrate(device, observations)))
        except InputError as error:
            left_out.append(str(error))
    measured = [one for name, record in found for one in _measured(name, record)]
    return Evidence(
        EVIDENCE_SCHEMA_VERSION,
        tuple(calibrations),
        tuple(_rounded(one) for one in measured),
        tuple(left_out),
    )


def observations_of(name: str, record: AnyRecord) -> list[Observation]:
    """Every stage of every workload of a run that ended OK: the median over its blocks."""
    timed: list[tuple[Workload, dict[str, float]]] = []
    if isinstance(record, Record):
        timed = [(one.workload, _cell_ms(one)) for one in record.cells if one.status == "OK"]
    elif isinstance(record, ClaimsRecord):
        points = [one for one in record.points if one.status == "OK" and one.visits]
        timed = [(one.workload, _point_ms(one)) for one in points]
    else:
        return []
    device_kind = record.settings.device.value.partition(":")[0]
    return [
        Observation(workload, stage, milliseconds[stage.name], name, _axes(workload))
        for workload, milliseconds in timed
        for stage in stages_of(workload, device_kind)
        if stage.name in milliseconds
    ]


def agrees(one: Any, other: Any) -> bool:
    """Whether two pieces of evidence say the same, figures to within a hundredth."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other or math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=1e-9)
    if type(one) is not type(other):
        return False
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(agrees, one, other))
    if hasattr(one, "__dataclass_fields__"):
        names = one.__dataclass_fields__
        return all(agrees(getattr(one, name), getattr(other, name)) for name in names)
    return bool(one == other)


def report(records: Sequence[Named]) -> list[str]:
    """What was fitted, and how well it predicts what was left out, as lines."""
    lines = []
    for device, observations in _by_kind(records):
        lines.append(f"{device.kind.name}, {device.kind.device}")
        try:
            found = calibrate(device, observations)
        except InputError as error:
            lines.append(f"  {error}")
            continue
        lines += [f"  {one}" for one in _figures(found)]
        for out, of in ((found.workloads_out, group_of), (found.schemes_out, scheme_of)):
            if out is not None:
                errors = left_out_errors(device, observations, of)
                lines += [f"  {one}" for one in _errors(out, observations, errors)]
    return lines


def _figures(found: Calibration) -> list[str]:
    codec = "" if found.codec_share is None else f", codec {found.codec_share:.2f}"
    return [
        f"{found.num_points} designed points from {', '.join(found.records)}",
        f"launch {found.launch_seconds * 1e6:.1f} us, unhidden {found.unhidden:.2f}, "
        f"of the products' rate: attention {found.attention_share:.2f}{codec}",
        *(
            f"{one.dtype}: products {one.matrix_efficiency:.2f} of "
            f"{one.flops_per_second / 1e9:.0f} GFLOP/s, memory {one.memory_efficiency:.2f} of "
            f"{one.bytes_per_second / 1e9:.1f} GB/s"
            for one in found.dtypes
        ),
    ]


def _errors(out: HeldOut, observations: Sequence[Observation], errors: Any) -> list[str]:
    """Over stages, over blocks, and over each scheme's stages."""
    relative = np.abs(np.expm1(errors))
    blocks: dict[Hashable, tuple[float, float]] = {}
    for one, error in zip(observations, errors, strict=True):
        key = (one.record, one.group)
        predicted, measured = blocks.get(key, (0.0, 0.0))
        milliseconds = one.milliseconds
        blocks[key] = predicted + milliseconds * math.exp(error), measured + milliseconds
    of_blocks = np.array([abs(predicted / measured - 1) for predicted, measured in blocks.values()])
    schemes = dict.fromkeys(one.workload.scheme for one in observations)
    of_schemes = [
        f"{scheme} {relative[[one.workload.scheme == scheme for one in observations]].mean():.1%}"
        for scheme in schemes
    ]
    return [
        f"whole {out.left_out} left out ({out.num_groups} groups): mean error of {out.num_points} "
        f"stages {out.mean_error:.1%}, worst {out.worst_error:.1%}; of {len(blocks)} blocks "
        f"{of_blocks.mean():.1%}, worst {of_blocks.max():.1%}",
        f"  90 % interval: divided and multiplied by {out.factor:.3f}, covers {out.coverage:.1%}",
        f"  {', '.join(of_schemes)}",
    ]


def _paths(root: Path) -> list[Path]:
    return sorted((root / "reports" / "data").glob("*.json"))


def _by_kind(records: Sequence[Named]) -> list[tuple[Device, list[Observation]]]:
    """Observations of each kind of machine and way of launching, with what is known of it."""
    found: dict[Kind, tuple[list[Run], list[Observation]]] = {}
    for name, record in records:
        if not isinstance(record, Record | ClaimsRecord):
            continue
        for one in observations_of(name, record):
            device = record.settings.device.value
            kind = kind_of(record.machine, device, is_graphed=one.workload.is_graphed)
            runs, observations = found.setdefault(kind, ([], []))
            observations.append(one)
            if record not in runs:
                runs.append(record)
    return [(_device(kind, runs), observations) for kind, (runs, observations) in found.items()]


def _device(kind: Kind, runs: Sequence[Run]) -> Device:
    machine, device = runs[0].machine, runs[0].settings.device.value
    dtypes = dict.fromkeys(one.ceiling.dtype for one in runs)
    memory_bytes, num_units = machine.ram_bytes, 0
    if kind.device == "cuda" and machine.gpus:
        gpu = gpu_of(machine, device)
        memory_bytes, num_units = gpu.memory_bytes, gpu.num_multiprocessors
    row = row_of(kind)
    return Device(
        kind=kind,
        memory_bytes=memory_bytes,
        num_units=num_units,
        cache_bytes=0.0 if row is None else (row.cache_mib or 0.0) * 2**20,
        ceilings=tuple(one.ceiling for one in runs),
        nominal_flops_per_second={one: row.flops_per_second(one)[1] for one in dtypes}
        if row
        else {},
        nominal_bytes_per_second=row.bandwidth_gb_per_second[1] * 1e9 if row else None,
    )


def _axes(workload: Workload) -> Hashable:
    """A workload without its dtype: the same in another dtype or record is left out with it."""
    return (
        workload.scheme,
        workload.model,
        workload.context_frames,
        workload.block_frames,
        workload.steps,
        workload.num_levels,
        workload.guidance_scale,
    )


def _cell_ms(cell: Cell) -> dict[str, float]:
    """Each stage's median over the measured blocks."""
    blocks = [one for one in cell.blocks if not one.is_warmup]
    return _medians(
        {
            ENCODE: [one.context_encode_ms for one in blocks],
            STEPS: [math.fsum(one.steps_ms) for one in blocks],
            CODEC: [one.codec_decode_ms for one in blocks],
        }
    )


def _point_ms(point: Point) -> dict[str, float]:
    """Each stage's median over the rounds; what is not the encode is the steps'."""
    visits = point.visits
    return _medians(
        {
            ENCODE: [one.context_encode_ms for one in visits],
            STEPS: [one.service_ms - (one.context_encode_ms or 0.0) for one in visits],
        }
    )


def _medians(times_ms: dict[str, list[float | None]]) -> dict[str, float]:
    """Of the stages that there are."""
    found = {name: [one for one in times if one is not None] for name, times in times_ms.items()}
    return {name: float(np.median(times)) for name, times in found.items() if times}


def _measured(name: str, record: AnyRecord) -> list[Measured]:
    """The real-time factor of every workload that was run or checked."""
    made: list[tuple[Workload, list[Block]]] = []
    if isinstance(record, Record):
        made = [
            (cell.workload, [one for one in cell.blocks if not one.is_warmup])
            for cell in record.cells
            if cell.status == "OK"
        ]
    elif isinstance(record, CheckRecord):
        cells = [one for one in record.check_cells if one.status == "OK"]
        made = [(cell.workload, [one.block for one in cell.blocks]) for cell in cells]
    else:
        return []
    device = record.settings.device.value
    found = []
    for workload, blocks in made:
        if not blocks:
            continue
        seconds = [one.service_ms / MS_PER_SECOND for one in blocks]
        rtf = estimates.ratio(seconds, workload.block_seconds, record.settings.seed)
        assert rtf.value is not None, "some blocks give a factor"
        found.append(
            Measured(
                kind=kind_of(record.machine, device, is_graphed=workload.is_graphed),
                workload=workload,
                rtf=rtf.value,
                rtf_ci95=rtf.ci95,
                has_codec=all(one.codec_decode_ms is not None for one in blocks),
                num_blocks=len(blocks),
                created=record.created,
                record=name,
            )
        )
    return found


def _rounded(value: Any) -> Any:
    """Every figure with as many digits as mean something."""
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT_DIGITS - 1}e}")
    if isinstance(value, tuple):
        return tuple(map(_rounded, value))
    if hasattr(value, "__dataclass_fields__"):
        names = value.__dataclass_fields__
        return replace(value, **{name: _rounded(getattr(value, name)) for name in names})
    return value


if __name__ == "__main__":
    sys.exit(main())
