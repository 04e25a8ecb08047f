"""Example claims records whose cost law is planted, for the tests of everything that reads one."""

import dataclasses
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lmdm_bench.claims_record import (
    CLAIMS_SCHEMA_VERSION,
    ClaimsRecord,
    ClaimsSettings,
    MemoryProbe,
    Point,
    Sweep,
    Visit,
)
from lmdm_bench.record import (
    Ceiling,
    Check,
    Choice,
    Cost,
    Footprint,
    Machine,
    Tool,
    Workload,
)

DIFFUSION = ("outpaint", "encoder-decoder", "block-causal")
CACHED = ("encoder-decoder", "block-causal")
SCHEMES = (*DIFFUSION, "lmm-encoder-decoder", "lmm-frame-wise")

# What every round shares is this part of the noise of one visit.
SHARED_NOISE = 0.5
MEMORY_NOISE = 0.003
MEMORY_REPEATS = 3
BYTES_PER_NUMBER = 2
GUIDANCE_ROWS = 2
MS_PER_SECOND = 1e3


@dataclass(frozen=True)
class Model:
    """As much of a preset as its cost needs. ``parts`` are weights, of a token LMM's stacks."""

    parameters: int
    width: int
    depth: int
    encoder: int = 0
    temporal: int = 0
    depth_decoder: int = 0


MODELS = {
    "sao-small": Model(340_900_000, 1024, 16),
    "sao-1.0": Model(1_057_000_000, 1536, 24),
    "mrt1-large": Model(761_600_000, 1024, 20, 308_000_000, 341_000_000, 51_000_000),
    "mrt1-base": Model(348_000_000, 768, 20, 85_000_000, 192_000_000, 29_000_000),
    "mrt2-small": Model(229_730_000, 1024, 12, 0, 182_640_000, 24_410_000),
}


@dataclass(frozen=True)
class Law:
    """The planted truth: figures near those of two cores, then what contradicts a claim.

    The latter are without effect at 0, or at 1 where they are factors, powers and shares of one.
    """

    block_seconds: float = 1e-3
    encode_row_seconds: float = 1.7e-3
    step_row_seconds: float = 1.9e-3
    pair_seconds: float = 3e-8
    pass_seconds: float = 4e-3
    lmm_encode_row_seconds: float = 1.5e-3
    temporal_seconds: float = 14e-3
    level_seconds: float = 3e-3
    frame_wise_level_seconds: float = 1.2e-3
    flops_per_second: float = 5.2e11
    bytes_per_second: float = 6.0e10

    # Each step costs this share more than the one before it.
    outpaint_step_creep: float = 0.0
    # Untimed work ahead of the steps, in steps.
    outpaint_intercept_steps: float = 0.0
    # Rows of a pass grow as window to this power.
    outpaint_window_power: float = 1.0
    encoder_decoder_step_creep: float = 0.0
    # Work ahead of the steps that is no context encode, as a share of it.
    encoder_decoder_hidden_encode: float = 0.0
    encode_context_power: float = 1.0
    # Context frames that go through each step's layers as well, as a share.
    encoder_decoder_step_context: float = 0.0
    block_causal_step_context: float = 0.0
    block_causal_factor: float = 1.0
    lmm_step_creep: float = 0.0
    lmm_hidden_encode: float = 0.0
    lmm_factor: float = 1.0
    frame_wise_step_creep: float = 0.0
    frame_wise_intercept_frames: float = 0.0
    frame_wise_factor: float = 1.0
    block_causal_flops_factor: float = 1.0
    # Measured ÷ predicted memory of all schemes; then the LMM's, in both alike.
    memory_factor: float = 1.0
    lmm_memory_share: float = 1.0
    # As if in float32: at the same width of numbers it is smaller than the diffusion model.
    frame_wise_memory_share: float = 2.0
    # Nothing that is compared differs: see ``AA``.
    is_aa: bool = False


# The name of each violation: the claims that it contradicts, and how it is planted. Claim 5 is
# contradicted wherever a ratio between diffusion schemes moves and its FLOPs do not.
VIOLATIONS: dict[str, tuple[set[int], dict[str, Any]]] = {
    "outpaint quadratic in steps": ({1, 5}, {"outpaint_step_creep": 0.2}),
    "outpaint with an intercept": ({1, 5}, {"outpaint_intercept_steps": 3.0}),
    "outpaint flat in context": ({1, 5}, {"outpaint_window_power": 0.0}),
    "encoder-decoder quadratic in steps": ({2, 5}, {"encoder_decoder_step_creep": 0.1}),
    "encoder-decoder with an intercept": ({2, 5}, {"encoder_decoder_hidden_encode": 1.0}),
    "encode flat in context": ({2, 5}, {"encode_context_power": 0.0}),
    "encoder-decoder's steps grow": ({2}, {"encoder_decoder_step_context": 0.05}),
    "block-causal's steps grow": ({3, 5}, {"block_causal_step_context": 0.05}),
    "block-causal slower": ({3, 5}, {"block_causal_factor": 1.6}),
    "lmm quadratic in tokens": ({4}, {"lmm_step_creep": 0.02}),
    "lmm with two encodes": ({4}, {"lmm_hidden_encode": 1.0}),
    "frame-wise with an intercept": ({4}, {"frame_wise_intercept_frames": 5.0}),
    "frame-wise quadratic": ({4}, {"frame_wise_step_creep": 0.05}),
    "ratios off": ({5}, {"block_causal_flops_factor": 0.5}),
    "lmm cheaper": ({6}, {"lmm_factor": 0.1}),
    "lmm smaller": ({6}, {"lmm_memory_share": 0.25}),
    "memory off": ({7}, {"memory_factor": 1.3}),
    "frame-wise cheaper": ({8}, {"frame_wise_factor": 0.1}),
    "frame-wise smaller": ({8}, {"frame_wise_memory_share": 1.0}),
}

# Each pass costs the same whatever it does, as on a large GPU.
LAUNCH_BOUND: dict[str, float] = {
    "block_seconds": 1e-4,
    "encode_row_seconds": 0.0,
    "step_row_seconds": 0.0,
    "pair_seconds": 0.0,
    "pass_seconds": 9e-3,
    "lmm_encode_row_seconds": 0.0,
    "temporal_seconds": 9e-3,
    "level_seconds": 2e-3,
    "frame_wise_level_seconds": 1e-3,
    "flops_per_second": 7.2e14,
    "bytes_per_second": 4.1e12,
}
# Passes with a large constant beside their rows, so that ratios shrink.
LAUNCHES: dict[str, float] = {"pass_seconds": 0.15}
# Block-causal made as dear as encoder-decoder, the LMMs as dear as both, in time and in memory,
# and FLOPs in proportion: each number lies where its claim just is not wrong.
AA: dict[str, bool] = {"is_aa": True}


def planted(rounds: int = 6, noise: float = 0.02, seed: int = 0, **changes: Any) -> ClaimsRecord:
    """All schemes over all sweeps; ``noise`` is the relative spread of one part of one visit."""
    law = Law(**changes)
    rng = np.random.default_rng(seed)
    truths = _truths(law)
    own = rng.normal(0.0, noise, (rounds, len(truths), 4))
    shared = rng.normal(0.0, SHARED_NOISE * noise, (rounds, 1, 1))
    parts_ms = np.array([truth.parts for truth in truths]) * MS_PER_SECOND * np.exp(own + shared)
    points = tuple(_point(truth, parts_ms[:, index].tolist()) for index, truth in enumerate(truths))
    return ClaimsRecord(
        schema_version=CLAIMS_SCHEMA_VERSION,
        created="2026-11-21T12:00:00Z",
        tool=Tool("0.1.0", "0" * 40, False, None, "3.11.9", {"numpy": "2.3.0", "torch": "2.13.0"}),
        machine=_MACHINE,
        ceiling=Ceiling("bfloat16", law.flops_per_second, law.bytes_per_second),
        settings=ClaimsSettings(
            command="lmdm-bench claims --budget-minutes 10",
            seed=seed,
            budget_minutes=10.0,
            grid="all sweeps whole: 10 minutes hold 6 rounds",
            device=Choice("cpu", "no CUDA device"),
            dtype=Choice("bfloat16", "the processor has it"),
            linear=Choice("packed", "fastest here"),
            attention="reference",
            is_interrupted=False,
        ),
        points=points,
        memory=_memory(law, rng),
    )


@functools.cache
def agreeing() -> ClaimsRecord:
    """Every claim holds, and is measured well enough to say so."""
    return planted(noise=0.005)


@functools.cache
def launch_bound() -> ClaimsRecord:
    """On a large GPU: a pass costs the same whatever it does."""
    record = planted(noise=0.005, **LAUNCH_BOUND)
    settings = dataclasses.replace(record.settings, device=Choice("cuda:0", "asked for"))
    return dataclasses.replace(record, settings=settings)


@functools.cache
def launches() -> ClaimsRecord:
    """Each pass has a large constant: the ratios are not those of the FLOPs."""
    return planted(noise=0.005, **LAUNCHES)


@functools.cache
def few_rounds() -> ClaimsRecord:
    """Two rounds: figures, and nothing decided."""
    return planted(rounds=2)


@functools.cache
def one_round() -> ClaimsRecord:
    """n = 1: figures without intervals."""
    return planted(rounds=1)


@functools.cache
def one_oom() -> ClaimsRecord:
    """The token LMM ran out of memory, in time and in memory."""
    return without(agreeing(), "lmm-encoder-decoder")


@functools.cache
def interrupted() -> ClaimsRecord:
    """Stopped by hand in the third round: the last points have two visits, one never had any."""
    record = planted(rounds=3)
    late = len(record.points) // 2
    points = [
        dataclasses.replace(point, visits=point.visits[:2]) if index >= late else point
        for index, point in enumerate(record.points)
    ]
    points[-1] = dataclasses.replace(
        points[-1], status="INTERRUPTED", reason="stopped by the user", check=None, visits=()
    )
    return dataclasses.replace(
        record,
        points=tuple(points),
        memory=(),
        settings=dataclasses.replace(record.settings, is_interrupted=True),
    )


@functools.cache
def violated() -> ClaimsRecord:
    """Several claims are wrong at once, for a look at every verdict."""
    changes = VIOLATIONS["block-causal slower"][1] | VIOLATIONS["memory off"][1]
    return planted(noise=0.005, **changes)


EXAMPLES: dict[str, Callable[[], ClaimsRecord]] = {
    "agreeing": agreeing,
    "launch_bound": launch_bound,
    "launches": launches,
    "few_rounds": few_rounds,
    "one_round": one_round,
    "one_oom": one_oom,
    "interrupted": interrupted,
    "violated": violated,
}

OOM_REASON = "needs 14.1 GiB more than the 3.9 GiB that are free"


def without(record: ClaimsRecord, scheme: str) -> ClaimsRecord:
    """The record in which all of a scheme's points and probes ended OOM."""
    points = tuple(
        dataclasses.replace(point, status="OOM", reason=OOM_REASON, check=None, visits=())
        if point.workload.scheme == scheme
        else point
        for point in record.points
    )
    memory = tuple(
        dataclasses.replace(probe, status="OOM", reason=OOM_REASON, grown_bytes=())
        if probe.workload.scheme == scheme
        else probe
        for probe in record.memory
    )
    return dataclasses.replace(record, points=points, memory=memory)


# --- The grid --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Truth:
    """One point before its noise; ``parts`` are the seconds of: encode, steps, rest, attention."""

    workload: Workload
    sweeps: tuple[Sweep, ...]
    cost: Cost
    parts: tuple[float, float, float, float]


@functools.cache
def _grid() -> tuple[tuple[Workload, tuple[Sweep, ...]], ...]:
    """Each workload once, with all the sweeps that it serves."""
    sweeps: dict[Workload, list[Sweep]] = {}

    def add(sweep: Sweep, one: Workload) -> None:
        sweeps.setdefault(one, []).append(sweep)

    for scheme in DIFFUSION:
        is_cached = scheme in CACHED
        for steps in (1, 2, 4, 8, 16, *((50,) if is_cached else ())):
            add("steps", diffusion(scheme, steps))
        for context in (48, 96, 192, 384, 768, 1536):
            add("context", diffusion(scheme, 2, context=context))
        for block in (12, 24, 48, 96):
            add("block", diffusion(scheme, 4, block=block))
        for model in ("sao-small", "sao-1.0"):
            add("size", diffusion(scheme, 2, model=model))
        for steps in (8, *((2,) if scheme == "block-causal" else ())):
            add("paper", diffusion(scheme, steps))
    for frames in (5, 10, 25, 50):
        add("tokens", token_lmm(frames))
    for levels in (4, 8, 16):
        add("levels", token_lmm(10, levels=levels))
    for context in (50, 100, 250, 500):
        add("context", token_lmm(10, context=context))
    for model in ("mrt1-large", "mrt1-base"):
        add("size", token_lmm(10, model=model))
    add("paper", token_lmm(50))
    for frames in (5, 12, 25, 50):
        add("tokens", frame_wise(frames))
    for levels in (3, 6, 12):
        add("levels", frame_wise(12, levels=levels))
    add("paper", frame_wise(50))
    return tuple((one, tuple(of)) for one, of in sweeps.items())


def diffusion(
    scheme: str, steps: int, *, context: int = 192, block: int = 48, model: str = "sao-small"
) -> Workload:
    """A workload of the three diffusion schemes."""
    return Workload(
        scheme=scheme,
        model=model,
        context_frames=context,
        block_frames=block,
        visible_blocks=context // block if scheme == "block-causal" else None,
        num_levels=None,
        steps=steps,
        sampler="pingpong",
        guidance_scale=1.0,
        batch=1,
        dtype="bfloat16",
        attention="reference",
        is_graphed=False,
        sample_rate_hz=44100,
        samples_per_frame=2048,
        block_seconds=block * 2048 / 44100,
    )


def token_lmm(
    frames: int, *, levels: int = 16, context: int = 250, model: str = "mrt1-large"
) -> Workload:
    """A workload of ``lmm-encoder-decoder``."""
    plain = _lmm("lmm-encoder-decoder", model, frames, levels)
    return dataclasses.replace(plain, context_frames=context, guidance_scale=5.0)


def frame_wise(frames: int, *, levels: int = 12) -> Workload:
    """A workload of ``lmm-frame-wise``."""
    return _lmm("lmm-frame-wise", "mrt2-small", frames, levels)


def _lmm(scheme: str, model: str, frames: int, levels: int) -> Workload:
    return dataclasses.replace(
        diffusion(scheme, 1, context=41, block=frames, model=model),
        steps=None,
        num_levels=levels,
        sampler="top-k",
        sample_rate_hz=48000,
        samples_per_frame=1920,
        block_seconds=frames * 1920 / 48000,
    )


# --- The truth -------------------------------------------------------------------------------


@functools.cache
def _truths(law: Law) -> tuple[_Truth, ...]:
    return tuple(_truth(law, workload, sweeps) for workload, sweeps in _grid())


def _truth(law: Law, workload: Workload, sweeps: tuple[Sweep, ...]) -> _Truth:
    parts = _parts(law, workload)
    cost = cost_of(law, workload)
    if law.is_aa:
        cost = dataclasses.replace(cost, flops_per_block=round(sum(parts[:3]) * 4e11))
    return _Truth(workload, sweeps, cost, parts)


def _parts(law: Law, workload: Workload) -> tuple[float, float, float, float]:
    """Seconds of: context encode (0 where none), steps, what is neither, all steps' attention."""
    parts = _PARTS[workload.scheme](law, workload)
    if law.is_aa and workload.scheme == "block-causal":
        same = dataclasses.replace(workload, context_frames=192)
        rest = sum(_encoder_decoder_parts(law, same)[:3]) - sum(_block_causal_parts(law, same)[:3])
        return parts[0], parts[1], parts[2] + rest, parts[3]
    if law.is_aa and workload.scheme.startswith("lmm"):
        lmm = token_lmm(50) if workload.scheme == "lmm-encoder-decoder" else frame_wise(50)
        other = diffusion("encoder-decoder", 8)
        factor = sum(_encoder_decoder_parts(law, other)[:3]) / other.block_seconds
        factor *= lmm.block_seconds / sum(_PARTS[workload.scheme](law, lmm)[:3])
        return parts[0] * factor, parts[1] * factor, parts[2] * factor, 0.0
    return parts


def _outpaint_parts(law: Law, workload: Workload) -> tuple[float, float, float, float]:
    steps = workload.steps or 0
    window = workload.context_frames + workload.block_frames
    rows = 1 + 240 * (window / 240) ** law.outpaint_window_power
    step = _pass_seconds(law, workload, law.step_row_seconds * rows, rows * rows)
    rest = law.block_seconds + law.outpaint_intercept_steps * step
    return 0.0, _creeping(steps, law.outpaint_step_creep) * step, rest, 0.0


def _encoder_decoder_parts(law: Law, workload: Workload) -> tuple[float, float, float, float]:
    steps, context = workload.steps or 0, workload.context_frames
    rows = 192 * (context / 192) ** law.encode_context_power
    encode = _pass_seconds(law, workload, law.encode_row_seconds * rows, rows * rows)
    step, attention = _cached_step(law, workload, law.encoder_decoder_step_context)
    rest = law.block_seconds + law.encoder_decoder_hidden_encode * encode
    creeping = _creeping(steps, law.encoder_decoder_step_creep)
    return encode, creeping * step, rest, steps * attention


def _block_causal_parts(law: Law, workload: Workload) -> tuple[float, float, float, float]:
    steps, block = workload.steps or 0, workload.block_frames
    step, attention = _cached_step(law, workload, law.block_causal_step_context)
    # The first pass also carries the block before.
    fused = law.step_row_seconds * block * _scale(workload) + attention
    factor = law.block_causal_factor
    rest = law.block_seconds * factor
    return 0.0, (steps * step + fused) * factor, rest, (steps + 1) * attention * factor


def _token_lmm_parts(law: Law, workload: Workload) -> tuple[float, float, float, float]:
    rows = (4 * workload.context_frames + 6) * GUIDANCE_ROWS
    encode = law.pass_seconds + law.lmm_encode_row_seconds * rows * _scale(workload)
    encode += law.pair_seconds * 0.1 * rows * rows / GUIDANCE_ROWS
    frame = law.temporal_seconds + law.level_seconds * (workload.num_levels or 0)
    steps = _creeping(workload.block_frames, law.lmm_step_creep) * frame * _scale(workload)
    rest = law.block_seconds + law.lmm_hidden_encode * encode
    factor = law.lmm_factor
    return encode * factor, steps * factor, rest * factor, 0.0


def _frame_wise_parts(law: Law, workload: Workload) -> tuple[float, float, float, float]:
    frame = law.temporal_seconds + law.frame_wise_level_seconds * (workload.num_levels or 0)
    steps = _creeping(workload.block_frames, law.frame_wise_step_creep) * frame
    rest = law.block_seconds + law.frame_wise_intercept_frames * frame
    return 0.0, steps * law.frame_wise_factor, rest * law.frame_wise_factor, 0.0


_PARTS = {
    "outpaint": _outpaint_parts,
    "encoder-decoder": _encoder_decoder_parts,
    "block-causal": _block_causal_parts,
    "lmm-encoder-decoder": _token_lmm_parts,
    "lmm-frame-wise": _frame_wise_parts,
}


def _cached_step(law: Law, workload: Workload, context_share: float) -> tuple[float, float]:
    """Seconds of one step on cached keys, and of its attention alone."""
    rows = workload.block_frames + 1
    pairs = rows * (workload.context_frames + rows)
    extra_rows = context_share * workload.context_frames
    attention = law.pair_seconds * pairs * MODELS[workload.model].depth
    rows_seconds = law.step_row_seconds * (rows + extra_rows)
    return _pass_seconds(law, workload, rows_seconds, pairs), attention


def _pass_seconds(law: Law, workload: Workload, rows_seconds: float, pairs: float) -> float:
    attention = law.pair_seconds * pairs * MODELS[workload.model].depth
    return law.pass_seconds + rows_seconds * _scale(workload) + attention


def _creeping(count: int, creep: float) -> float:
    """So many steps, each dearer than the one before."""
    return count + creep * count * (count - 1) / 2


def _scale(workload: Workload) -> float:
    """How much more a row costs than in the default model."""
    usual = "mrt1-large" if workload.scheme == "lmm-encoder-decoder" else "sao-small"
    if workload.scheme == "lmm-frame-wise":
        return 1.0
    return MODELS[workload.model].parameters / MODELS[usual].parameters


# --- Arithmetic near enough to the real one --------------------------------------------------


@dataclass(frozen=True)
class _Pass:
    """``count`` passes of so many rows; ``keys`` is what each row looks at."""

    count: int
    rows: int
    keys: int
    weights: int
    is_encode: bool = False


def _passes(workload: Workload) -> tuple[_Pass, ...]:
    model, block, context = MODELS[workload.model], workload.block_frames, workload.context_frames
    steps, levels, window = workload.steps or 0, workload.num_levels or 0, context + block
    weights = model.parameters * 15 // 16
    if workload.scheme == "outpaint":
        return (_Pass(steps, window + 1, window + 1, weights),)
    if workload.scheme == "encoder-decoder":
        encode = _Pass(1, context, context, weights, is_encode=True)
        return (encode, _Pass(steps, block + 1, window + 1, weights))
    if workload.scheme == "block-causal":
        fused = _Pass(1, 2 * block + 1, window + 1, weights)
        return (fused, _Pass(steps - 1, block + 1, window + 1, weights))
    rows = GUIDANCE_ROWS if workload.scheme == "lmm-encoder-decoder" else 1
    temporal = _Pass(block, rows, context, model.temporal)
    depth = _Pass(block * levels, rows, levels, model.depth_decoder)
    if workload.scheme == "lmm-frame-wise":
        return (temporal, depth)
    tokens = 4 * context + 6
    encode = _Pass(1, tokens * GUIDANCE_ROWS, tokens, model.encoder, is_encode=True)
    return (encode, temporal, depth)


@functools.cache
def cost_of(law: Law, workload: Workload) -> Cost:
    """What arithmetic says of one block, with the law's ceiling."""
    model, passes = MODELS[workload.model], _passes(workload)
    is_lmm = workload.steps is None
    factor = law.block_causal_flops_factor if workload.scheme == "block-causal" else 1.0
    projections = [round(factor * 2 * one.rows * one.weights) for one in passes]
    pairs = [one.rows * one.keys * model.depth for one in passes]
    attention = [round(factor * 4 * model.width * one) for one in pairs]
    weights = [BYTES_PER_NUMBER * one.weights for one in passes]
    row_bytes = 2 * model.width * model.depth * BYTES_PER_NUMBER
    read = [0 if workload.scheme == "outpaint" else one.keys * row_bytes for one in passes]
    written = [0 if workload.scheme == "outpaint" else one.rows * row_bytes for one in passes]
    counts = [one.count for one in passes]

    def total(values: list[int]) -> int:
        return sum(count * value for count, value in zip(counts, values, strict=True))

    bound_seconds = math.fsum(
        count * max((flops + pair_flops) / law.flops_per_second, num_bytes / law.bytes_per_second)
        for count, flops, pair_flops, num_bytes in zip(
            counts, projections, attention, weights, strict=True
        )
    )
    return Cost(
        parameters=model.parameters,
        evaluations=workload.block_frames * (workload.num_levels or 0)
        if is_lmm
        else workload.steps or 0,
        sequential_steps=sum(counts),
        frames_per_block=sum(one.count * one.rows for one in passes),
        encode_rows=sum(one.count * one.rows for one in passes if one.is_encode),
        step_rows=sum(one.count * one.rows for one in passes if not one.is_encode),
        attention_pairs=total(pairs),
        flops_per_block=total(projections) + total(attention),
        flops_projections=total(projections),
        flops_attention=total(attention),
        flops_head=0,
        bytes_per_block=total(weights) + total(read) + total(written),
        bytes_weights=total(weights),
        bytes_cache_read=total(read),
        bytes_cache_written=total(written),
        footprint=_footprint(law, workload),
        bound_ms=bound_seconds * MS_PER_SECOND,
        codec=None,
    )


def _footprint(law: Law, workload: Workload) -> Footprint:
    if law.is_aa:
        return Footprint(700_000_000, 20_000_000, 30_000_000, 50_000_000)
    model, scheme = MODELS[workload.model], workload.scheme
    share = {
        "lmm-encoder-decoder": law.lmm_memory_share,
        "lmm-frame-wise": law.frame_wise_memory_share,
    }.get(scheme, 1.0)
    window = workload.context_frames + workload.block_frames
    row_bytes = 2 * model.width * model.depth * BYTES_PER_NUMBER
    rows = max(one.rows for one in _passes(workload))
    return Footprint(
        weight_bytes=round(share * model.parameters * BYTES_PER_NUMBER),
        cache_bytes=0 if scheme == "outpaint" else round(share * window * row_bytes),
        activation_bytes=round(share * rows * model.width * 14 * BYTES_PER_NUMBER),
        workspace_bytes=round(share * 50_000_000),
    )


# --- The record ------------------------------------------------------------------------------


def _point(truth: _Truth, parts_ms: list[list[float]]) -> Point:
    has_encode = truth.workload.scheme in ("encoder-decoder", "lmm-encoder-decoder")
    has_attention = truth.workload.scheme in CACHED and "context" in truth.sweeps
    visits = tuple(
        Visit(
            round_index=index,
            service_ms=encode + steps + rest,
            context_encode_ms=encode if has_encode else None,
            attention_ms=attention if has_attention else None,
        )
        for index, (encode, steps, rest, attention) in enumerate(parts_ms)
    )
    return Point(truth.workload, truth.sweeps, truth.cost, "OK", None, _CHECK, visits)


def _memory(law: Law, rng: np.random.Generator) -> tuple[MemoryProbe, ...]:
    workloads = [
        *(diffusion(scheme, 8) for scheme in DIFFUSION),
        token_lmm(50),
        frame_wise(50),
    ]
    probes = []
    for workload in workloads:
        cost = cost_of(law, workload)
        grown = cost.footprint.peak_bytes * law.memory_factor
        spread = np.exp(rng.normal(0.0, MEMORY_NOISE, MEMORY_REPEATS))
        grown_bytes = tuple(int(one) for one in grown * spread)
        probes.append(MemoryProbe(workload, cost, "OK", None, grown_bytes))
    return tuple(probes)


_CHECK = Check("one-shot pass", 2, 2, 2.1e-3, 1.9e-3, 3.9e-3, True)
_MACHINE = Machine(
    name="AMD EPYC, 2 cores, 16 GiB, Linux",
    os="Linux 6.8",
    cpu="AMD EPYC",
    cpu_architecture="x86_64",
    cpu_isa=("avx2", "avx512f", "avx512_bf16"),
    num_physical_cores=2,
    num_logical_cores=2,
    num_threads=2,
    ram_bytes=16 * 2**30,
    load_average_1min=0.1,
    is_on_mains=None,
    is_virtual=True,
    gpus=(),
    unavailable={"is_on_mains": "no battery"},
)
