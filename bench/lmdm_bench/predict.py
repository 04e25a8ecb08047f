"""Will it keep up on a machine that is not here? Every answer is an interval with its tier.

Best known first: measured on this machine, measured on its like, predicted from a calibration of
its like, predicted from its specification alone; what does not fit into its memory is refused. A
measured interval is at 95 %, a calibrated one conformal at 90 %; one from a specification reaches
from everything slow at once to everything fast at once, and is no statement of probability.

The verdict is about the average alone: a real-time factor below 1. How steady a machine is, and so
whether blocks are late now and then, is not predicted: that is what ``lmdm-bench check`` is for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lmdm_bench.calibration_fit import Calibration, HeldOut, Kind
from lmdm_bench.evidence import Evidence, Measured, are_alike
from lmdm_bench.gpu_table import GpuSpec
from lmdm_bench.record import Ceiling, Workload
from lmdm_bench.roofline import Limit, Rates, Stage, limit, stage_seconds, table
from lmdm_bench.specification import Range, gpu_rates, probed_rates

Tier = Literal[
    "measured here",
    "measured on the same kind of machine",
    "calibrated",
    "from specification only",
]
TIERS: tuple[Tier, ...] = (
    "measured here",
    "measured on the same kind of machine",
    "calibrated",
    "from specification only",
)
MEASURED_TIERS = TIERS[:2]

Verdict = Literal["plays", "does not play", "cannot tell", "does not fit"]
Leaning = Literal["likely", "unlikely"]

DEADLINE_RTF = 1.0

# Left to the driver, the screen and what the allocator has not given back, of a GPU's own memory;
# to the system and other programs, of a computer's.
GPU_RESERVE_BYTES = 1 << 30
SYSTEM_RESERVE_BYTES = 2 << 30
# What macOS gives a GPU of the memory that it shares: 10.67 of 16 GiB, and more of larger ones.
# https://github.com/exo-explore/exo/pull/1672
SHARED_PART = 2 / 3


@dataclass(frozen=True)
class Interval:
    """The likeliest, between the least and the most."""

    low: float
    value: float
    high: float


@dataclass(frozen=True)
class Asked:
    """One workload, what it holds in memory (codec included), and what its stages have to do."""

    workload: Workload
    memory_bytes: int
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class Target:
    """A machine to predict for.

    ``kind`` is what it would be measured as; ``is_here``: it is the one at hand. ``gpu`` is its
    row, if it is in the table; ``memory_gib`` is that of the smallest and of the largest kind sold;
    ``ceiling`` what was measured of it at best, where nothing else is known.
    """

    name: str
    kind: Kind
    is_here: bool
    gpu: GpuSpec | None
    memory_gib: tuple[float, float]
    ceiling: Ceiling | None


@dataclass(frozen=True)
class Prediction:
    """One machine and one workload.

    ``rtf`` is None where nothing is known or the memory is too small. ``stage_ms`` are of a block,
    without any where the whole was measured; ``limit`` says what takes the most of the time.
    ``held_out`` is the error of the calibration it rests on, None where it was measured; of a
    prediction from a specification it is that of the calibration whose parts were taken over.
    ``basis`` is where it comes from, in words.
    """

    target: Target
    workload: Workload
    tier: Tier | None
    rtf: Interval | None
    stage_ms: tuple[tuple[str, Interval], ...]
    limit: Limit | None
    has_codec: bool
    held_out: HeldOut | None
    needed_bytes: int
    basis: str
    verdict: Verdict
    leaning: Leaning | None


def predict(asked: Asked, target: Target, own: Evidence, shipped: Evidence) -> Prediction:
    """The best that can be told; ``own`` is the user's evidence, ``shipped`` the package's."""
    measured = _measured(asked, target, own, shipped)
    if measured is not None:
        return measured
    why_not = why_too_large(asked, target)
    if why_not is not None:
        return _prediction(asked, target, basis=why_not, verdict="does not fit")
    calibrations = (*own.calibrations, *shipped.calibrations)
    calibrated = _calibrated(asked, target, calibrations)
    if calibrated is not None:
        return calibrated
    found = _specified(asked, target, calibrations) or _prediction(
        asked,
        target,
        basis="nothing is known of it: a run of lmdm-bench claims there measures enough",
        verdict="cannot tell",
    )
    too_few = [words for words in own.left_out if target.is_here and target.kind.name in words]
    return replace(found, basis="; ".join([found.basis, *too_few]))


def why_too_large(asked: Asked, target: Target) -> str | None:
    """None where it fits the target's largest kind, else what it needs and what is there."""
    most = usable_bytes(target, target.memory_gib[1])
    if asked.memory_bytes <= most:
        return None
    return (
        f"needs {asked.memory_bytes / 2**30:.1f} GiB, and {most / 2**30:.1f} of its "
        f"{target.memory_gib[1]:g} GiB are for models"
    )


def usable_bytes(target: Target, memory_gib: float) -> float:
    """What is left for models of so much memory."""
    whole = memory_gib * 2**30
    if target.kind.device == "mps":
        return whole * SHARED_PART
    return whole - (GPU_RESERVE_BYTES if target.kind.device == "cuda" else SYSTEM_RESERVE_BYTES)


def judge(rtf: Interval) -> tuple[Verdict, Leaning | None]:
    """Below the deadline as a whole, above it as a whole, or on the side that is likelier."""
    if rtf.high < DEADLINE_RTF:
        return "plays", None
    if rtf.low >= DEADLINE_RTF:
        return "does not play", None
    return "cannot tell", "likely" if rtf.value < DEADLINE_RTF else "unlikely"


def nearest(calibrations: Sequence[Calibration], kind: Kind) -> Calibration | None:
    """The calibration whose parts a device is likeliest to share: of its way of launching and of
    its device, if there is any, and of the most points."""

    def likeness(one: Calibration) -> tuple[bool, bool, int]:
        return (
            one.kind.is_graphed == kind.is_graphed,
            one.kind.device == kind.device,
            one.num_points,
        )

    return max(calibrations, key=likeness, default=None)


def _measured(asked: Asked, target: Target, own: Evidence, shipped: Evidence) -> Prediction | None:
    """What was measured of this workload, here before elsewhere, the newest first."""
    here = [one for one in own.measured if target.is_here and one.kind == target.kind]
    alike = [one for one in (*own.measured, *shipped.measured) if are_alike(one.kind, target.kind)]
    for tier, found in zip(MEASURED_TIERS, (here, alike), strict=True):
        same = [one for one in found if _is_same(one.workload, asked.workload)]
        if same:
            return _from_measured(asked, target, max(same, key=lambda one: one.created), tier)
    return None


def _from_measured(asked: Asked, target: Target, one: Measured, tier: Tier) -> Prediction:
    low, high = one.rtf_ci95 or (one.rtf, one.rtf)
    rtf = Interval(low, one.rtf, high)
    verdict, leaning = judge(rtf)
    return _prediction(
        asked,
        target,
        basis=f"{one.num_blocks} blocks, {one.created[:10]}, record {one.record}",
        verdict=verdict,
        leaning=leaning,
        tier=tier,
        rtf=rtf,
        has_codec=one.has_codec,
    )


def _calibrated(
    asked: Asked, target: Target, calibrations: Sequence[Calibration]
) -> Prediction | None:
    workload = asked.workload
    for one in calibrations:
        if not are_alike(one.kind, target.kind) or one.of_dtype(workload.dtype) is None:
            continue
        held_out = one.held_out(workload)
        if held_out is not None:
            rates = one.rates(workload.dtype)
            basis = f"{one.num_points} points of {one.kind.name}"
            return _computed(
                asked, target, Range(rates, rates, rates), "calibrated", held_out, basis
            )
    return None


def _specified(
    asked: Asked, target: Target, calibrations: Sequence[Calibration]
) -> Prediction | None:
    """From what is printed of a GPU, or from a probe of a machine that no table has."""
    host = nearest(calibrations, target.kind)
    if host is None:
        return None
    held_out = host.schemes_out or host.workloads_out
    graphed = target.kind.is_graphed
    if target.gpu is not None:
        found = gpu_rates(target.gpu, asked.workload.dtype, host, is_graphed=graphed)
        basis = (
            "what is printed of the GPU, published parts of that which such GPUs reach, and for "
            f"products, attention and codec the parts that {host.kind.name} reaches"
        )
    elif target.ceiling is not None:
        found = probed_rates(target.ceiling, host)
        basis = f"this machine's measured ceiling, and the parts that {host.kind.name} reaches"
    else:
        return None
    return _computed(asked, target, found, "from specification only", held_out, basis)


def _computed(
    asked: Asked, target: Target, rates: Range, tier: Tier, held_out: HeldOut, basis: str
) -> Prediction:
    """The stages at three rates; the ends are as far again apart as what was left out was off."""
    stages = table(asked.stages)

    def milliseconds(one: Rates) -> list[float]:
        return [float(seconds) * 1e3 for seconds in stage_seconds(stages, one)]

    fast, likely, slow = map(milliseconds, (rates.fast, rates.likely, rates.slow))
    factor = held_out.factor
    stage_ms = tuple(
        (stage.name, Interval(low / factor, value, high * factor))
        for stage, low, value, high in zip(asked.stages, fast, likely, slow, strict=True)
    )
    block_ms = asked.workload.block_seconds * 1e3
    rtf = Interval(
        sum(fast) / factor / block_ms, sum(likely) / block_ms, sum(slow) * factor / block_ms
    )
    verdict, leaning = judge(rtf)
    return _prediction(
        asked,
        target,
        basis=basis,
        verdict=verdict,
        leaning=leaning,
        tier=tier,
        rtf=rtf,
        stage_ms=stage_ms,
        limit=limit(asked.stages, rates.likely),
        has_codec=asked.workload.steps is not None,
        held_out=held_out,
    )


def _prediction(
    asked: Asked,
    target: Target,
    *,
    basis: str,
    verdict: Verdict,
    leaning: Leaning | None = None,
    tier: Tier | None = None,
    rtf: Interval | None = None,
    stage_ms: tuple[tuple[str, Interval], ...] = (),
    limit: Limit | None = None,
    has_codec: bool = False,
    held_out: HeldOut | None = None,
) -> Prediction:
    return Prediction(
        target=target,
        workload=asked.workload,
        tier=tier,
        rtf=rtf,
        stage_ms=stage_ms,
        limit=limit,
        has_codec=has_codec,
        held_out=held_out,
        needed_bytes=asked.memory_bytes,
        basis=basis,
        verdict=verdict,
        leaning=leaning,
    )


def _is_same(one: Workload, other: Workload) -> bool:
    """Whether two workloads cost the same: the sampler's name and the kernels' do not matter."""
    names = (
        "scheme",
        "model",
        "context_frames",
        "block_frames",
        "visible_blocks",
        "num_levels",
        "steps",
        "guidance_scale",
        "batch",
        "dtype",
        "is_graphed",
    )
    return all(getattr(one, name) == getattr(other, name) for name in names)
