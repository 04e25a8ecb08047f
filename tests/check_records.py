"""Example checks with realistic figures, for the tests of everything that reads one.

``cell`` plays any row of service times through the ring, so that a test plants what it looks for.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

import records
from lmdm_bench.check_record import (
    CHECK_SCHEMA_VERSION,
    Alternative,
    Canary,
    CheckCell,
    CheckRecord,
    CheckSettings,
    Control,
    Counters,
    DeviceCount,
    Harness,
    PacedBlock,
    Policy,
    Telemetry,
)
from lmdm_bench.record import Block, Choice
from lmdm_bench.ring import Ring, play

NUM_STEPS = 8
CODEC_SHARE = 0.45
NUM_WARMUP = 6
SECONDS_BETWEEN_CONTROLS = 20.0


def steady(num_blocks: int = 269, milliseconds: float = 1500.0, seed: int = 0) -> list[float]:
    """Service times of a machine that keeps up: 3 % of spread around the middle."""
    return list(milliseconds * np.random.default_rng(seed).lognormal(0, 0.03, num_blocks))


def stalls(num_blocks: int = 269) -> list[float]:
    """As ``steady``, with three long blocks."""
    times = steady(num_blocks)
    for index in (60, 61, 200):
        times[index % num_blocks] += 3500.0
    return times


def heat(num_blocks: int = 269) -> list[float]:
    """Keeps up when cold, and no longer after some minutes."""
    times = np.array(steady(num_blocks, 1900.0))
    growth = np.clip((np.arange(num_blocks) - num_blocks / 3) / (num_blocks / 6), 0, 1)
    return list(times * (1 + 0.35 * growth))


def spikes(num_blocks: int = 269) -> list[float]:
    """A long block every 24 blocks."""
    times = steady(num_blocks)
    return [time * (1.6 if index % 24 == 23 else 1) for index, time in enumerate(times)]


def cell(
    service_ms: Sequence[float],
    scheme: str = "block-causal",
    *,
    prebuffer_blocks: int = 2,
    policy: Policy = "zero-pad",
    **changes: Any,
) -> CheckCell:
    """A cell whose blocks took these times; ``changes`` are fields of it."""
    plain = records.cell(scheme)
    block_ms = plain.workload.block_seconds * 1000
    played = play(service_ms, Ring(prebuffer_blocks, block_ms, policy))
    blocks = tuple(
        PacedBlock(
            block=_block(index, float(time)),
            room_ms=float(played.room_ms[index]),
            started_ms=float(played.started_ms[index]) + 0.05,
            ready_ms=float(played.ready_ms[index]) + 0.05,
            deadline_ms=float(played.deadline_ms[index]),
            wake_error_ms=0.05,
            control_ms=0.0,
            rms=0.1,
            counters=Counters(0.0, 0, None, 3, 0),
        )
        for index, time in enumerate(service_ms)
    )
    end_ms = blocks[-1].ready_ms
    seconds = np.arange(0.0, end_ms / 1000, 0.5)
    whole = CheckCell(
        workload=plain.workload,
        status="OK",
        reason=None,
        check=plain.check,
        cost=plain.cost,
        linear=Choice("packed", "oneDNN packs bfloat16 weights"),
        weights="random, seed 0",
        memory=plain.memory,
        memory_limit_bytes=24 << 30,
        memory_used_bytes=5 << 30,
        warmup=tuple(
            dataclasses.replace(_block(index, service_ms[0]), is_warmup=True)
            for index in range(NUM_WARMUP)
        ),
        warm_words="no trend in the last 6 blocks",
        blocks=blocks,
        controls=_controls(blocks),
        incidents=(),
        canary=Canary(
            tuple(map(float, range(0, int(end_ms), 30_000))),
            (1.0,) * (1 + (int(end_ms) - 1) // 30_000),
            None,
        ),
        telemetry=Telemetry(
            period_ms=500.0,
            times_ms=tuple(seconds * 1000),
            columns={
                "cpu_frequency_mhz": (2600.0,) * len(seconds),
                "cpu_load_share": (0.8,) * len(seconds),
                "other_load_share": (0.02,) * len(seconds),
                "rss_bytes": (3.0e9,) * len(seconds),
            },
            unavailable={"gpu": "this build of torch has no CUDA"},
            ended=None,
        ),
        device_count=None,
        alternatives=_alternatives(plain),
    )
    return dataclasses.replace(whole, **changes)


def record(*cells: CheckCell, **settings: Any) -> CheckRecord:
    """A check of these cells; ``settings`` are fields of its settings."""
    base = records.all_ok()
    lateness = 0.05 + np.random.default_rng(1).exponential(0.02, 400)
    asked = CheckSettings(
        command="lmdm-bench check block-causal",
        seed=0,
        mode="paced",
        minutes=10.0,
        prebuffer_blocks=2,
        policy="zero-pad",
        target_dropouts_per_hour=1.0,
        control_budget_seconds=None,
        stress="none",
        device=Choice("cpu", "this build of torch has no CUDA"),
        dtype=Choice("bfloat16", "the processor has avx512_bf16"),
        attention="range",
        input="built-in phrase",
        gc="frozen",
        audio=None,
    )
    return CheckRecord(
        schema_version=CHECK_SCHEMA_VERSION,
        created=base.created,
        tool=base.tool,
        machine=base.machine,
        ceiling=base.ceiling,
        settings=dataclasses.replace(asked, **settings),
        harness=Harness(10.0, tuple(lateness), tuple(lateness - 0.01), None),
        is_interrupted=False,
        check_cells=cells,
    )


@functools.cache
def likely() -> CheckRecord:
    return record(cell(steady()))


@functools.cache
def with_stalls() -> CheckRecord:
    return record(cell(stalls()))


@functools.cache
def with_heat() -> CheckRecord:
    return record(cell(heat()))


@functools.cache
def with_spikes() -> CheckRecord:
    return record(cell(spikes(), prebuffer_blocks=1), prebuffer_blocks=1)


@functools.cache
def too_slow() -> CheckRecord:
    return record(cell(steady(40, 4000.0), "outpaint"), minutes=1.0)


@functools.cache
def short() -> CheckRecord:
    """One minute: too short for any tail."""
    return record(cell(steady(27)), minutes=1.0)


@functools.cache
def failed() -> CheckRecord:
    """One cell could not be built, one was stopped by Ctrl-C after some blocks."""
    never = dataclasses.replace(
        cell(steady(3), "outpaint"),
        status="OOM",
        reason="MemoryError: not enough memory",
        check=None,
        memory=None,
        warmup=(),
        blocks=(),
        controls=(),
        canary=Canary((), (), "no block was made"),
        telemetry=Telemetry(500.0, (), {}, {}, "nothing was run"),
    )
    cut = cell(steady(20), status="INTERRUPTED", reason="stopped by Ctrl-C after 20 blocks")
    return dataclasses.replace(record(never, cut), is_interrupted=True)


@functools.cache
def on_a_sound_card() -> CheckRecord:
    """Against a sound card's clock, where a sixth of the time was silence."""
    count = DeviceCount(
        backend="jack-dummy",
        device="system",
        sample_rate_hz=44100,
        frames_per_callback=256,
        callbacks_due=10336,
        callbacks_seen=10330,
        frames_due=2_646_000,
        frames_delivered=2_205_000,
        frames_missing=441_000,
        ring_underruns=22,
        xruns=1,
        output_latency_ms=11.6,
        gap_step_ms=0.1,
        gap_counts=(*(0,) * 56, 3000, 4000, 3000, 200, 100, 29, *(0,) * 30, 1),
        largest_gap_ms=9.2,
        unavailable={},
    )
    times = steady(28, 1.2 * records.BLOCK_SECONDS * 1000)
    one = cell(times, policy="stall", device_count=count)
    return record(one, mode="device", policy="stall", audio="jack-dummy", minutes=1.0)


EXAMPLES = {
    "likely": likely,
    "stalls": with_stalls,
    "heat": with_heat,
    "spikes": with_spikes,
    "too slow": too_slow,
    "short": short,
    "failed": failed,
    "sound card": on_a_sound_card,
}


def _block(index: int, service_ms: float) -> Block:
    codec = CODEC_SHARE * service_ms
    step = (service_ms - codec) * 0.99 / NUM_STEPS
    return Block(
        block_index=index,
        service_ms=service_ms,
        context_encode_ms=None,
        steps_ms=(step,) * NUM_STEPS,
        commit_ms=None,
        codec_decode_ms=codec,
        host_ms=service_ms - codec - step * NUM_STEPS,
        is_warmup=False,
        labels=("first",) if index == 0 else (),
    )


def _controls(blocks: Sequence[PacedBlock]) -> tuple[Control, ...]:
    """A prompt now and then: the first block begun after it carries it."""
    found = []
    end_ms = blocks[-1].ready_ms
    for arrived in np.arange(7000.0, end_ms, SECONDS_BETWEEN_CONTROLS * 1000):
        carrier = next((one for one in blocks if one.started_ms >= arrived), None)
        index = None if carrier is None else carrier.block.block_index
        heard = None if carrier is None else max(carrier.deadline_ms, carrier.ready_ms)
        found.append(Control("prompt", float(arrived), index, heard))
    return tuple(found)


def _alternatives(plain: Any) -> tuple[Alternative, ...]:
    half = dataclasses.replace(
        plain.workload, block_frames=24, block_seconds=plain.workload.block_seconds / 2
    )
    cost = dataclasses.replace(plain.cost, bound_ms=plain.cost.bound_ms * 0.6)
    return (Alternative("block_frames", half, cost),)
