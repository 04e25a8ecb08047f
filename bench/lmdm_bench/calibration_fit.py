"""A device's rates, fitted to measured stages, with the error on what was left out (no torch).

The model is ``roofline.py``'s. Launch time and what is not hidden belong to the device; the rates
of products and of memory are fitted for each dtype, as parts of what the device was measured to do
at best. Attention and codec reach parts of the products' rate, the same in each dtype. What is
fitted are logarithms, with a loss that a few odd stages do not bend.

What it is worth is told by leaving out: each workload in turn is predicted from a fit to all
others, and the interval is conformal (Vovk et al. 2005): its factor is the one that so many of the
left-out stages stayed within. Leaving out whole schemes says the same for a scheme never seen.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import optimize

from lmdm_bench.errors import InputError
from lmdm_bench.record import Ceiling, Workload
from lmdm_bench.roofline import CACHE_SPEEDUP, Floats, Rates, Stage, stage_seconds, table

MIN_POINTS = 10
CONFIDENCE = 0.90

# Relative errors above this one are odd, and count for less.
SOFT_ERROR = 0.05

# The fit's start, its least and its greatest value. Parts of a ceiling end at 1, but for memory's:
# on a shared host the ceiling itself was seen to differ by 1.75 from run to run.
_LAUNCH = (1e-5, 1e-8, 1e-2)
_UNHIDDEN = ((0.1, 0.9), 0.0, 1.0)
_MATRIX = (0.7, 0.01, 1.0)
_MEMORY = (0.6, 0.01, 2.0)
_ATTENTION = (0.3, 0.01, 1.0)
_CODEC = (0.6, 0.01, 1.0)

MS_PER_SECOND = 1e3


@dataclass(frozen=True)
class Observation:
    """One stage of one workload, the median of its blocks; ``record`` says where it was measured.

    ``group`` is what is left out together: all that was measured of the workload.
    """

    workload: Workload
    stage: Stage
    milliseconds: float
    record: str
    group: Hashable


@dataclass(frozen=True)
class Kind:
    """What machines have to share to be alike: a CPU's machine as it names itself, or a GPU by its
    driver's name with its power limit.

    ``device`` is "cpu", "cuda" or "mps". ``is_graphed``: launches are replayed as captured graphs.
    """

    name: str
    device: str
    power_watts: float | None
    is_graphed: bool


@dataclass(frozen=True)
class Device:
    """What was measured on: its kind, and what is known of it beside the stages.

    ``ceilings`` are those of all records, in their order. The nominal rates are as printed; without
    any where the device is in no table.
    """

    kind: Kind
    memory_bytes: int
    num_units: int
    cache_bytes: float
    ceilings: tuple[Ceiling, ...]
    nominal_flops_per_second: dict[str, float]
    nominal_bytes_per_second: float | None


@dataclass(frozen=True)
class HeldOut:
    """How well what was left out was predicted.

    ``mean_error`` and ``worst_error`` are of |predicted ÷ measured − 1|. ``factor``: a prediction's
    90 % interval is from it divided to it multiplied by this; ``coverage`` is the part of left-out
    stages that such an interval, made without their group, holds.
    """

    left_out: str
    num_points: int
    num_groups: int
    mean_error: float
    worst_error: float
    factor: float
    coverage: float


@dataclass(frozen=True)
class DtypeFit:
    """One dtype's ceilings, and the parts of them that the models reach.

    ``of_nominal_…`` are the same rates as parts of what is printed of the device, None where it is
    in no table.
    """

    dtype: str
    flops_per_second: float
    bytes_per_second: float
    matrix_efficiency: float
    memory_efficiency: float
    of_nominal_flops: float | None
    of_nominal_bytes: float | None


@dataclass(frozen=True)
class Calibration:
    """One kind of device as fitted: see the module's docstring.

    ``known`` are the schemes with their models that it was fitted to. ``attention_share`` and
    ``codec_share`` are their rates as parts of the matrix products'; the codec's is None where none
    was measured. ``schemes_out`` is None where there was one scheme.
    """

    kind: Kind
    memory_bytes: int
    num_units: int
    cache_bytes: float
    records: tuple[str, ...]
    num_points: int
    known: tuple[str, ...]
    launch_seconds: float
    unhidden: float
    attention_share: float
    codec_share: float | None
    dtypes: tuple[DtypeFit, ...]
    workloads_out: HeldOut
    schemes_out: HeldOut | None

    def of_dtype(self, dtype: str) -> DtypeFit | None:
        """The fit of one dtype, None where none was measured in it."""
        return next((one for one in self.dtypes if one.dtype == dtype), None)

    def rates(self, dtype: str) -> Rates:
        """The device in one dtype. Raises KeyError where none was measured in it."""
        fitted = self.of_dtype(dtype)
        if fitted is None:
            raise KeyError(dtype)
        matrix = fitted.flops_per_second * fitted.matrix_efficiency
        memory = fitted.bytes_per_second * fitted.memory_efficiency
        return Rates(
            launch_seconds=self.launch_seconds,
            matrix_flops_per_second=matrix,
            attention_flops_per_second=matrix * self.attention_share,
            codec_flops_per_second=matrix * (self.codec_share or 1.0),
            memory_bytes_per_second=memory,
            cache_bytes=self.cache_bytes,
            cache_bytes_per_second=memory * CACHE_SPEEDUP,
            num_units=self.num_units,
            unhidden=self.unhidden,
        )

    def held_out(self, workload: Workload) -> HeldOut | None:
        """The error to expect of a workload: more where its scheme or model was never seen, and
        none where a single scheme was measured, so that nothing is known of others."""
        return self.workloads_out if name_of(workload) in self.known else self.schemes_out


def name_of(workload: Workload) -> str:
    """A scheme with its model."""
    return f"{workload.scheme}, {workload.model}"


def num_designed(observations: Sequence[Observation]) -> int:
    """The points that differ: the same stage of the same workload counts once."""
    return len({(one.group, one.workload.dtype, one.stage.name) for one in observations})


def calibrate(device: Device, observations: Sequence[Observation]) -> Calibration:
    """Fit the device's rates. Raises InputError for fewer than 10 designed points."""
    num_points = num_designed(observations)
    if num_points < MIN_POINTS:
        raise InputError(
            f"a calibration of {device.kind.name} needs {MIN_POINTS} designed points, there are "
            f"{num_points}"
        )
    problem = _Problem(device, tuple(observations))
    fitted = problem.best(np.ones(len(observations), dtype=bool))
    are_several = len({one.workload.scheme for one in observations}) > 1
    return replace(
        problem.calibration(fitted),
        workloads_out=_held_out("workloads", _left_out(problem, fitted, group_of)),
        schemes_out=(
            _held_out("schemes", _left_out(problem, fitted, scheme_of)) if are_several else None
        ),
    )


def conformal_factor(log_errors: Floats, confidence: float = CONFIDENCE) -> float:
    """What a prediction is divided and multiplied by to hold a new one with this confidence.

    Infinite where there are too few errors to say so.
    """
    n = log_errors.size
    rank = math.ceil((n + 1) * confidence)
    if rank > n:
        return math.inf
    return math.exp(float(np.sort(np.abs(log_errors))[rank - 1]))


def group_of(one: Observation) -> Hashable:
    """What is left out together: all of a workload, whatever it was measured in or for.

    A codec's decode is the same work in every scheme: a dtype of it is a group of its own.
    """
    return _codec_group(one) or one.group


def scheme_of(one: Observation) -> Hashable:
    """All of a scheme, as a group."""
    return _codec_group(one) or one.workload.scheme


def left_out_errors(
    device: Device, observations: Sequence[Observation], group: Callable[[Observation], Hashable]
) -> Floats:
    """log(predicted ÷ measured) of each observation, from a fit that its group had no part in."""
    problem = _Problem(device, tuple(observations))
    fitted = problem.best(np.ones(len(observations), dtype=bool))
    return _left_out(problem, fitted, group).log_errors


class _Problem:
    """Observations as arrays, and the search for the rates that explain them."""

    def __init__(self, device: Device, observations: tuple[Observation, ...]) -> None:
        self.device = device
        self.observations = observations
        self.dtypes = tuple(dict.fromkeys(one.workload.dtype for one in observations))
        self.has_codec = any(_is_codec(one) for one in observations)
        self._places = {
            dtype: np.flatnonzero([one.workload.dtype == dtype for one in observations])
            for dtype in self.dtypes
        }
        self._tables = {
            dtype: table([observations[place].stage for place in places])
            for dtype, places in self._places.items()
        }

    @cached_property
    def log_seconds(self) -> Floats:
        return np.log([one.milliseconds / MS_PER_SECOND for one in self.observations])

    def predicted(self, parameters: Floats) -> Floats:
        """The logarithm of each observation's seconds."""
        found = np.empty(len(self.observations))
        calibration = self.calibration(parameters)
        for dtype, places in self._places.items():
            seconds = stage_seconds(self._tables[dtype], calibration.rates(dtype))
            found[places] = np.log(seconds)
        return found

    def best(self, is_used: Any, start: Floats | None = None) -> Floats:
        """The parameters nearest to the observations used; from a start, or from several."""
        starts = self._starts if start is None else [start]
        low, high = self._bounds
        searches = [
            optimize.least_squares(
                lambda at: (self.predicted(at) - self.log_seconds)[is_used],
                np.clip(one, low + 1e-9, high - 1e-9),
                bounds=(low, high),
                loss="soft_l1",
                f_scale=SOFT_ERROR,
            )
            for one in starts
        ]
        found: Any = min(searches, key=lambda one: float(one.cost))
        return np.asarray(found.x, dtype=np.float64)

    def calibration(self, parameters: Floats) -> Calibration:
        """What the parameters say, its errors not yet known."""
        launch, attention = math.exp(parameters[0]), math.exp(parameters[2])
        of_dtypes = parameters[4 : 4 + 2 * len(self.dtypes)].reshape(-1, 2)
        device = self.device
        return Calibration(
            kind=device.kind,
            memory_bytes=device.memory_bytes,
            num_units=device.num_units,
            cache_bytes=device.cache_bytes,
            records=tuple(dict.fromkeys(one.record for one in self.observations)),
            num_points=num_designed(self.observations),
            known=tuple(dict.fromkeys(name_of(one.workload) for one in self.observations)),
            launch_seconds=launch,
            unhidden=float(parameters[1]),
            attention_share=attention,
            codec_share=math.exp(parameters[3]) if self.has_codec else None,
            dtypes=tuple(
                self._of_dtype(dtype, math.exp(matrix), math.exp(memory))
                for dtype, (matrix, memory) in zip(self.dtypes, of_dtypes, strict=True)
            ),
            workloads_out=_UNKNOWN,
            schemes_out=_UNKNOWN,
        )

    def _of_dtype(self, dtype: str, matrix: float, memory: float) -> DtypeFit:
        device = self.device
        flops, num_bytes = self._ceilings[dtype]
        nominal_flops = device.nominal_flops_per_second.get(dtype)
        nominal_bytes = device.nominal_bytes_per_second
        return DtypeFit(
            dtype=dtype,
            flops_per_second=flops,
            bytes_per_second=num_bytes,
            matrix_efficiency=matrix,
            memory_efficiency=memory,
            of_nominal_flops=flops * matrix / nominal_flops if nominal_flops else None,
            of_nominal_bytes=num_bytes * memory / nominal_bytes if nominal_bytes else None,
        )

    @cached_property
    def _ceilings(self) -> dict[str, tuple[float, float]]:
        """The medians: a ceiling is measured in a second, beside whatever else a host does then."""
        ceilings = self.device.ceilings
        num_bytes = float(np.median([one.bytes_per_second for one in ceilings]))
        return {
            dtype: (
                float(np.median([one.flops_per_second for one in ceilings if one.dtype == dtype])),
                num_bytes,
            )
            for dtype in self.dtypes
        }

    @cached_property
    def _starts(self) -> list[Floats]:
        shared = [(_LAUNCH[0], unhidden, _ATTENTION[0], _CODEC[0]) for unhidden in _UNHIDDEN[0]]
        return [
            np.array(
                [
                    math.log(launch),
                    unhidden,
                    math.log(attention),
                    math.log(codec),
                    *[math.log(_MATRIX[0]), math.log(_MEMORY[0])] * len(self.dtypes),
                ]
            )
            for launch, unhidden, attention, codec in shared
        ]

    @cached_property
    def _bounds(self) -> tuple[Floats, Floats]:
        ends = [_LAUNCH[1:], _UNHIDDEN[1:], _ATTENTION[1:], _CODEC[1:]]
        ends += [_MATRIX[1:], _MEMORY[1:]] * len(self.dtypes)
        low, high = np.array(ends).T
        is_log = np.arange(low.size) != 1
        return (
            np.where(is_log, np.log(np.where(is_log, low, 1.0)), low),
            np.where(is_log, np.log(high), high),
        )


_UNKNOWN = HeldOut("nothing", 0, 0, math.inf, math.inf, math.inf, 0.0)


@dataclass(frozen=True)
class _LeftOut:
    """Each observation's error when its group was left out, and whose group it is in."""

    log_errors: Floats
    group_index: Any

    @property
    def num_groups(self) -> int:
        return int(self.group_index.max()) + 1


def _left_out(
    problem: _Problem, fitted: Floats, group: Callable[[Observation], Hashable]
) -> _LeftOut:
    """Leave each group out in turn, and predict it from the others."""
    groups = [group(one) for one in problem.observations]
    # In the order in which they were measured: a set's would differ from process to process.
    distinct = list(dict.fromkeys(groups))
    index = np.array([distinct.index(one) for one in groups])
    errors = np.zeros(len(groups))
    for one in range(len(distinct)):
        parameters = problem.best(index != one, fitted)
        errors[index == one] = (problem.predicted(parameters) - problem.log_seconds)[index == one]
    return _LeftOut(errors, index)


def _held_out(what: str, out: _LeftOut) -> HeldOut:
    errors, index = out.log_errors, out.group_index
    is_inside = [
        abs(errors[index == one]) <= math.log(conformal_factor(errors[index != one]))
        for one in range(out.num_groups)
    ]
    relative = np.abs(np.expm1(errors))
    return HeldOut(
        left_out=what,
        num_points=errors.size,
        num_groups=out.num_groups,
        mean_error=float(relative.mean()),
        worst_error=float(relative.max()),
        factor=conformal_factor(errors),
        coverage=float(np.concatenate(is_inside).mean()),
    )


def _codec_group(one: Observation) -> Hashable | None:
    if not _is_codec(one):
        return None
    workload = one.workload
    return "codec", workload.model, workload.block_frames, workload.dtype


def _is_codec(one: Observation) -> bool:
    return any(work.flops_codec for work in one.stage.passes)
