"""Made-up machines, workloads and their times, for the tests of everything that predicts."""

import dataclasses
import functools
import itertools
from collections.abc import Sequence

import numpy as np

import records
from lmdm_bench.calibration_fit import Calibration, Device, Kind, Observation, calibrate
from lmdm_bench.evidence import EVIDENCE_SCHEMA_VERSION, Evidence, Measured
from lmdm_bench.gpu_table import find_gpu
from lmdm_bench.predict import Asked, Prediction, Target, predict
from lmdm_bench.record import Ceiling, Workload
from lmdm_bench.roofline import PassWork, Rates, Stage, stage_seconds, table

CPU = Kind("A CPU, 2 cores, 16 GiB, Linux", "cpu", None, False)
CEILINGS = (Ceiling("bfloat16", 5e11, 4e10), Ceiling("float32", 2.5e11, 4e10))
DEVICE = Device(CPU, 16 << 30, 0, 0.0, CEILINGS, {}, None)

# What the made-up device reaches, as parts of its ceiling in bfloat16.
PLANTED = {"matrix": 0.8, "memory": 0.7, "attention": 0.4, "codec": 0.6, "unhidden": 0.5}
PLANTED_LAUNCH_SECONDS = 8e-6

GIGA = 1e9


def work(**changes) -> PassWork:
    """A pass of 49 rows: 30 GFLOP, 600 MB of weights, 640 launches."""
    plain = {
        "count": 1,
        "launches": 640,
        "rows": 49,
        "products": ((3072, 0.3), (1024, 0.7)),
        "flops_matrix": 30 * GIGA,
        "flops_attention": 0.6 * GIGA,
        "flops_codec": 0.0,
        "num_bytes": 0.6 * GIGA,
        "bytes_reread": 0.5 * GIGA,
        "bytes_between": 0.6 * GIGA,
    }
    return PassWork(**(plain | changes))


CODEC_WORK = work(launches=585, products=(), flops_matrix=0.0, flops_attention=0.0)
CODEC_WORK = dataclasses.replace(CODEC_WORK, flops_codec=200 * GIGA, num_bytes=0.2 * GIGA)


def workload(scheme: str = "block-causal", **changes) -> Workload:
    made = records.lmm_workload if scheme in records.LMM_SCHEMES else records.workload
    return dataclasses.replace(made(scheme), **changes)


@functools.cache
def designed() -> tuple[tuple[Workload, Stage], ...]:
    """Stages of few and of many rows, long and short contexts, with and without launches."""
    found = []
    sizes = itertools.product((1, 12, 49, 240), (1.0, 12.0), (0, 700))
    for index, (rows, attention, launches) in enumerate(sizes):
        scheme = records.SCHEMES[index % 3]
        stage = Stage(
            "denoise",
            (
                work(
                    count=1 + index % 4,
                    rows=rows,
                    launches=launches,
                    flops_matrix=0.6 * GIGA * rows,
                    flops_attention=0.01 * GIGA * rows * attention,
                    num_bytes=0.6 * GIGA * (1 + index % 3),
                ),
            ),
        )
        found.append((workload(scheme, context_frames=48 * (1 + index)), stage))
    decode = dataclasses.replace(CODEC_WORK, flops_codec=100 * GIGA)
    found.append((workload(block_frames=24), Stage("codec_decode", (decode,))))
    found.append((workload(), Stage("codec_decode", (CODEC_WORK,))))
    return tuple(found)


def planted_rates() -> Rates:
    peak, memory = CEILINGS[0].flops_per_second, CEILINGS[0].bytes_per_second
    matrix = peak * PLANTED["matrix"]
    return Rates(
        launch_seconds=PLANTED_LAUNCH_SECONDS,
        matrix_flops_per_second=matrix,
        attention_flops_per_second=matrix * PLANTED["attention"],
        codec_flops_per_second=matrix * PLANTED["codec"],
        memory_bytes_per_second=memory * PLANTED["memory"],
        cache_bytes=0.0,
        cache_bytes_per_second=1.0,
        num_units=0,
        unhidden=PLANTED["unhidden"],
    )


def observations(
    noise: float = 0.0, seed: int = 0, of: Sequence[tuple[Workload, Stage]] | None = None
) -> list[Observation]:
    """The made-up device's times, each with a noise of its own."""
    stages = designed() if of is None else of
    exact = stage_seconds(table([stage for _, stage in stages]), planted_rates())
    odd = np.exp(noise * np.random.default_rng(seed).standard_normal(len(stages)))
    return [
        Observation(one, stage, float(seconds) * 1e3, "made up", (one.scheme, one.context_frames))
        for (one, stage), seconds in zip(stages, exact * odd, strict=True)
    ]


@functools.cache
def calibration() -> Calibration:
    return calibrate(DEVICE, observations(noise=0.02))


def evidence(*measured: Measured, calibrations: Sequence[Calibration] | None = None) -> Evidence:
    fitted = (calibration(),) if calibrations is None else tuple(calibrations)
    return Evidence(EVIDENCE_SCHEMA_VERSION, fitted, measured, ())


def measured(rtf: float = 0.5, kind: Kind = CPU, **changes) -> Measured:
    plain = Measured(
        kind, workload(), rtf, (rtf * 0.9, rtf * 1.1), True, 9, "2026-11-21", "made up"
    )
    return dataclasses.replace(plain, **changes)


def asked(one: Workload | None = None, memory_gib: float = 1.0, **changes) -> Asked:
    """Eight steps and a codec's decode."""
    shaped = one or workload()
    steps = Stage("denoise", (work(count=8, **changes),))
    stages = (steps, Stage("codec_decode", (CODEC_WORK,))) if shaped.steps else (steps,)
    return Asked(shaped, round(memory_gib * 2**30), stages)


def target(kind: Kind = CPU, **changes) -> Target:
    plain = Target(kind.name, kind, False, None, (16.0, 16.0), None)
    return dataclasses.replace(plain, **changes)


def gpu_target(name: str, watts: float | None = None, *, is_graphed: bool = False) -> Target:
    row = find_gpu(name)
    device = "mps" if row.family == "apple" else "cuda"
    kind = Kind(row.name, device, watts, is_graphed)
    fixed = row if watts is None else row.at_power(watts)
    return Target(row.name, kind, False, fixed, row.memory_gib, None)


@functools.cache
def every_verdict() -> tuple[Prediction, ...]:
    """One prediction of each tier and each verdict, on four machines."""
    known = evidence(measured(rtf=0.5))
    lmm = workload("lmm-frame-wise")
    here = target(is_here=True)
    small = gpu_target("GTX 1650")
    near = asked(lmm, flops_matrix=30 * GIGA, launches=20_000)
    return (
        predict(asked(), here, known, known),
        predict(asked(workload("outpaint"), flops_matrix=200 * GIGA), here, known, known),
        predict(asked(), target(), known, evidence()),
        predict(asked(lmm, launches=100), target(), evidence(calibrations=()), known),
        predict(asked(), small, evidence(), evidence()),
        predict(near, small, evidence(), evidence()),
        predict(asked(lmm, memory_gib=9.0), small, evidence(), evidence()),
        predict(
            asked(), gpu_target("M4 Pro"), evidence(calibrations=()), evidence(calibrations=())
        ),
    )
