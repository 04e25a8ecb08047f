"""Example profiles of the host and of memory, for the tests of everything that shows one."""

import dataclasses

import records
from lmdm_bench.host_time import BETWEEN_STAGES, HostLine, HostStage, HostTime
from lmdm_bench.memory_profile_words import (
    CODEC_ACTIVATIONS,
    MODEL_ACTIVATIONS,
    RESIDENT,
    memory_closing,
)
from lmdm_bench.memory_timeline import Change, Range, memory_timeline
from lmdm_bench.profile_record import (
    PROFILE_SCHEMA_VERSION,
    Compared,
    HostProfile,
    MemoryProfile,
    ProfileFacts,
)
from lmdm_bench.record import Choice

MIB = 2**20
NS_PER_MS = 1_000_000


def facts(device: str = "cpu") -> ProfileFacts:
    run = records.all_ok()
    cell = next(one for one in run.cells if one.workload.scheme == "encoder-decoder")
    assert cell.check is not None
    return ProfileFacts(
        created=run.created,
        command="lmdm-bench profile encoder-decoder",
        tool=run.tool,
        machine=run.machine,
        ceiling=run.ceiling,
        device=Choice(device, "asked for"),
        dtype=run.settings.dtype,
        linear=run.settings.linear,
        weights=run.settings.weights,
        workload=cell.workload,
        check=cell.check,
        cost=cell.cost,
        plain_ms=2000.0,
        profiled_ms=2400.0,
    )


def host_lines() -> tuple[HostLine, ...]:
    """The harness's own line first, then three of the models and one of the kernels."""
    places = (
        ("lmdm_bench/clock.py:44", "stage", 40.0),
        ("lmdm_ref/codec.py:282", "apply_to", 24.0),
        ("lmdm_ref/linear.py:43", "_product", 12.0),
        ("lmdm_kernels/launch.py:7", "a_function_with_a_name_of_many_words", 8.0),
        ("lmdm_ref/layers.py:94", "forward", 4.0),
    )
    return tuple(
        HostLine(where, function, ms, ms / 2400.0, 120.5, ("first step",))
        for where, function, ms in places
    )


def host_profile(device: str = "cpu") -> HostProfile:
    from lmdm_bench.host_profile_words import host_closing

    waiting = 0.0 if device == "cpu" else 300.0
    stages = (
        HostStage("first step", 600.0, 500.0 - waiting, waiting, 100.0),
        HostStage("codec decode", 1780.0, 1700.0, 0.0, 80.0),
        HostStage(BETWEEN_STAGES, 20.0, 4.0, 0.0, 16.0),
    )
    found = HostTime(5, 2400.0, 2204.0 - waiting, waiting, 196.0, stages)
    return HostProfile(
        schema_version=PROFILE_SCHEMA_VERSION,
        facts=facts(device),
        interval_ms=0.2,
        num_samples=12_345,
        num_traced_blocks=3,
        host=found,
        lines=host_lines(),
        closing=host_closing(facts(device), found, host_lines()),
    )


def memory_profile() -> MemoryProfile:
    """A block of 100 ms: a copy of 6 MiB in its first step, 20 MiB in the codec, 1 MiB kept."""
    changes = [
        _change(1, 1 * MIB, 1, ("aten::empty", "aten::randn"), "lmdm_ref/stream.py:165"),
        _change(12, 4 * MIB, 2, ("aten::mm", "aten::linear"), "lmdm_ref/linear.py:43"),
        _change(20, 6 * MIB, 3, ("aten::empty", "aten::clone"), "lmdm_ref/attention.py:131"),
        _change(25, -6 * MIB, 3),
        _change(28, -4 * MIB, 2),
        _change(60, 12 * MIB, 4, ("aten::conv1d",), "lmdm_ref/codec.py:282"),
        _change(70, 5 * MIB, 5, ("aten::cat",), "lmdm_ref/codec.py:239"),
        _change(75, 3 * MIB, 6, ("aten::sin_",), None),
        _change(80, -12 * MIB, 4),
        _change(90, -5 * MIB, 5),
        _change(95, -3 * MIB, 6),
    ]
    block = Range("block", 0, 100 * NS_PER_MS)
    stages = [_stage("first step", 10, 30), _stage("later steps", 30, 50)]
    stages += [_stage("codec decode", 55, 98)]
    timeline = memory_timeline(changes, block, stages, block_index=1)
    compared = (
        Compared(RESIDENT, 1045 * MIB, 991 * MIB, None),
        Compared(MODEL_ACTIVATIONS, 11 * MIB, 7 * MIB, None),
        Compared(CODEC_ACTIVATIONS, 21 * MIB, 96 * MIB, None),
    )
    return MemoryProfile(
        schema_version=PROFILE_SCHEMA_VERSION,
        facts=facts(),
        peaks_bytes=(20 * MIB, 21 * MIB),
        resident_bytes=967 * MIB,
        timeline=timeline,
        compared=compared,
        closing=memory_closing(facts(), timeline, compared),
    )


def without_resident() -> MemoryProfile:
    """The same where the resident set did not grow."""
    whole = memory_profile()
    compared = (
        Compared(RESIDENT, None, 991 * MIB, "nothing grew"),
        *whole.compared[1:],
    )
    closing = memory_closing(whole.facts, whole.timeline, compared)
    return dataclasses.replace(whole, compared=compared, closing=closing)


def _change(
    at_ms: int,
    num_bytes: int,
    address: int,
    operators: tuple[str, ...] = (),
    where: str | None = None,
) -> Change:
    return Change(at_ms * NS_PER_MS, num_bytes, address, operators, where)


def _stage(name: str, begin_ms: int, end_ms: int) -> Range:
    return Range(name, begin_ms * NS_PER_MS, end_ms * NS_PER_MS)
