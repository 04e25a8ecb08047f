"""What is known of machines: what was measured on them, and what was fitted to that (no torch).

The package ships the evidence of the repository's own records, ``calibrations.json``, which
``calibration.py`` makes; a user's own records make evidence of the same form.
"""

import functools
from dataclasses import dataclass
from importlib import resources

from lmdm_bench.calibration_fit import Calibration, Kind
from lmdm_bench.errors import InputError
from lmdm_bench.gpu_table import GpuSpec, find_gpu
from lmdm_bench.record import Gpu, Machine, Workload, parse

EVIDENCE_SCHEMA_VERSION = 1
EVIDENCE_NAME = "calibrations.json"

# A GPU's power limit may differ by this part, and its machine is still of the same kind.
POWER_TOLERANCE = 0.15
POWER_STEP_WATTS = 5


@dataclass(frozen=True)
class Measured:
    """One workload's real-time factor as measured, with its 95 % interval where there is one.

    ``has_codec``: the codec's time is in it.
    """

    kind: Kind
    workload: Workload
    rtf: float
    rtf_ci95: tuple[float, float] | None
    has_codec: bool
    num_blocks: int
    created: str
    record: str


@dataclass(frozen=True)
class Evidence:
    """All that is known, and ``left_out``: why some records made no calibration."""

    schema_version: int
    calibrations: tuple[Calibration, ...]
    measured: tuple[Measured, ...]
    left_out: tuple[str, ...]


NO_EVIDENCE = Evidence(EVIDENCE_SCHEMA_VERSION, (), (), ())


@functools.cache
def shipped() -> Evidence:
    """What the package knows."""
    text = resources.files("lmdm_bench").joinpath(EVIDENCE_NAME).read_text(encoding="utf-8")
    return evidence_from_json(text, EVIDENCE_NAME)


def evidence_from_json(text: str, name: str) -> Evidence:
    """Raises RecordError naming the file and the field."""
    found: Evidence = parse(Evidence, EVIDENCE_SCHEMA_VERSION, text, name)
    return found


def kind_of(machine: Machine, device: str, *, is_graphed: bool) -> Kind:
    """What a machine is alike with, as a run on ``device`` ("cuda:1") uses it."""
    family = device.partition(":")[0]
    if family == "cuda" and machine.gpus:
        gpu = gpu_of(machine, device)
        return Kind(gpu.name, family, _bucket(gpu.power_limit_watts), is_graphed)
    return Kind(machine.name, family, None, is_graphed)


def gpu_of(machine: Machine, device: str) -> Gpu:
    """The machine's GPU that "cuda" or "cuda:1" means; it has at least one."""
    index = int(device.partition(":")[2] or 0)
    return machine.gpus[min(index, len(machine.gpus) - 1)]


def are_alike(one: Kind, other: Kind) -> bool:
    """Whether what was measured on one may be told of the other."""
    if (one.device, one.is_graphed) != (other.device, other.is_graphed):
        return False
    if one.name != other.name:
        rows = row_of(one), row_of(other)
        if rows[0] is None or rows[0] != rows[1]:
            return False
    watts = one.power_watts, other.power_watts
    if watts[0] is None or watts[1] is None:
        return True
    return abs(watts[0] - watts[1]) <= POWER_TOLERANCE * max(watts[0], watts[1])


def row_of(kind: Kind) -> GpuSpec | None:
    """The GPU's row, since drivers, shops and the table write its name each in their own way."""
    if kind.device == "cpu":
        return None
    try:
        return find_gpu(kind.name)
    except InputError:
        return None


def _bucket(watts: float | None) -> float | None:
    """Limits that differ by a watt are the same."""
    return None if watts is None else float(round(watts / POWER_STEP_WATTS) * POWER_STEP_WATTS)
