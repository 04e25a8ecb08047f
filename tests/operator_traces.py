"""Small traces as torch.profiler exports them, with times that can be added up by hand."""

from typing import Any

import records
from lmdm_bench.operator_profile import OperatorProfile, reduce_trace
from lmdm_bench.operator_record import TorchProfile
from lmdm_bench.profile_record import PROFILE_SCHEMA_VERSION, ProfileFacts
from lmdm_bench.record import Ceiling, Check, Choice
from lmdm_bench.trace_spans import BLOCK, PLACE, STAGE_PREFIX

Event = dict[str, Any]

PID, THREAD = 7, 8
# A product of [2, 3] and [3, 4] is 48 FLOPs: 0.048 ms. Bytes never bind.
CEILING = Ceiling("float32", 1e6, 1e12)


def event(name: str, start: float, end: float, category: str, **args: Any) -> Event:
    """A slice of the thread that makes the blocks, in microseconds."""
    return {
        "ph": "X",
        "cat": category,
        "name": name,
        "pid": PID,
        "tid": THREAD,
        "ts": start,
        "dur": end - start,
        "args": args,
    }


def stage(name: str, start: float, end: float) -> Event:
    return event(name if name == BLOCK else f"{STAGE_PREFIX}{name}", start, end, "user_annotation")


def op(name: str, start: float, end: float, *dims: list[int], place: str | None = None) -> Event:
    shapes = {"Input Dims": list(dims), "Input type": ["float"] * len(dims), "Concrete Inputs": []}
    placed = {} if place is None else {PLACE: place}
    return event(name, start, end, "cpu_op", **shapes, **placed)


def launch(number: int, at: float, name: str = "cudaLaunchKernel") -> Event:
    return event(name, at, at + 1, "cuda_runtime", correlation=number)


def kernel(number: int, start: float, end: float, name: str = "a_gemm_kernel") -> Event:
    return {**event(name, start, end, "kernel", correlation=number), "pid": 0, "tid": 7}


def trace(*events: Event) -> dict[str, Any]:
    return {"schemaVersion": 1, "displayTimeUnit": "ms", "traceEvents": list(events)}


def cpu_events(start: float = 0.0) -> list[Event]:
    """A block of 1,000 µs: a step of 500, a codec of 300, and the rest.

    In the step a linear layer (200, of which its product computes 150), a copy (100) and a gap of
    200. In the codec one operator of 300. Between the two, noise (50).
    """
    at = start
    return [
        stage(BLOCK, at, at + 1000),
        op("aten::normal_", at + 20, at + 70, [4], place="lmdm_ref/stream.py:165"),
        stage("step 0", at + 100, at + 600),
        op("aten::linear", at + 150, at + 350, [2, 3], [4, 3], place="lmdm_ref/layers.py:94"),
        op("aten::t", at + 160, at + 180, [4, 3]),
        op("aten::mm", at + 190, at + 340, [2, 3], [3, 4]),
        op("aten::contiguous", at + 400, at + 500, [8], place="lmdm_ref/rotary.py:47"),
        op("aten::copy_", at + 410, at + 490, [8], [8]),
        stage("codec_decode", at + 650, at + 950),
        op("aten::sin", at + 650, at + 950, [8], place="lmdm_ref/codec.py:241"),
    ]


def cuda_events() -> list[Event]:
    """A block of 1,000 µs whose step is a product (300 on the device), attention (100), and a
    replayed graph (200), with 200 of idleness in the step and all of the rest idle."""
    attention = "lmdm_ref/attention.py:112"
    return [
        stage(BLOCK, 0, 1000),
        stage("step 0", 100, 900),
        op("aten::mm", 110, 130, [2, 3], [3, 4], place="lmdm_ref/layers.py:94"),
        launch(1, 120),
        kernel(1, 200, 500),
        op("aten::add", 140, 160, [8], [8], place=attention),
        launch(2, 150),
        kernel(2, 500, 600, "an_elementwise_kernel"),
        launch(3, 170, "cudaGraphLaunch"),
        kernel(3, 700, 900, "interval_attention_kernel"),
    ]


def cpu_profile(num_blocks: int = 2) -> OperatorProfile:
    events = [one for block in range(num_blocks) for one in cpu_events(2000.0 * block)]
    return reduce_trace(trace(*events), CEILING)


def cuda_profile() -> OperatorProfile:
    return reduce_trace(trace(*cuda_events()), CEILING)


def torch_profile(profile: OperatorProfile | None = None, scheme: str = "outpaint") -> TorchProfile:
    """A profile's record, on a machine of the example records."""
    example = records.all_ok()
    is_lmm = scheme in records.LMM_SCHEMES
    whole = cpu_profile() if profile is None else profile
    return TorchProfile(
        schema_version=PROFILE_SCHEMA_VERSION,
        facts=ProfileFacts(
            created="2026-01-01T00:00:00+00:00",
            command=f"lmdm-bench profile {scheme}",
            tool=example.tool,
            machine=example.machine,
            ceiling=CEILING,
            device=Choice("cpu", "asked for"),
            dtype=Choice("float32", "asked for"),
            linear=Choice("packed", "weights laid out once"),
            weights="random, seed 0",
            workload=records.lmm_workload(scheme) if is_lmm else records.workload(scheme),
            check=Check("an oracle", 2, 2, 1e-7, 1e-7, 3e-7, is_within_budget=True),
            cost=records.lmm_cost(scheme) if is_lmm else records.cost(scheme),
            plain_ms=0.8,
            profiled_ms=1.0,
        ),
        trace_stages=4,
        num_stages=4,
        profile=whole,
    )
