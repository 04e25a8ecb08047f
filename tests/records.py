"""Example records with realistic figures, for the tests of everything that reads a record."""

import dataclasses
import functools
import random
from collections.abc import Callable

from lmdm_bench.estimates import summarise
from lmdm_bench.record import (
    SCHEMA_VERSION,
    Audio,
    Block,
    Ceiling,
    Cell,
    Check,
    Choice,
    CodecCost,
    Cost,
    Footprint,
    Gpu,
    Machine,
    Memory,
    Record,
    Settings,
    Status,
    Tool,
    Workload,
)

SCHEMES = ("outpaint", "encoder-decoder", "block-causal")
LMM_SCHEMES = ("lmm-encoder-decoder", "lmm-frame-wise")
BLOCK_SECONDS = 48 * 2048 / 44100
LMM_BLOCK_SECONDS = 50 * 1920 / 48000

# scheme: context encode, first step, later step (of an LMM: each frame).
CPU_MS = {
    "outpaint": (0.0, 330.0, 330.0),
    "encoder-decoder": (270.0, 100.0, 100.0),
    "block-causal": (0.0, 160.0, 100.0),
    "lmm-encoder-decoder": (1600.0, 58.0, 58.0),
    "lmm-frame-wise": (0.0, 26.0, 26.0),
}
CPU_CODEC_MS = 1000.0
CUDA_MS = {
    "outpaint": (0.0, 5.1, 5.0),
    "encoder-decoder": (4.4, 4.2, 4.1),
    "block-causal": (0.0, 4.6, 4.1),
}
CUDA_CODEC_MS = 6.5
CPU_CEILING = Ceiling("bfloat16", 5.2e11, 1.8e10)
CUDA_CEILING = Ceiling("bfloat16", 7.2e14, 4.1e12)


@functools.cache
def all_ok(num_blocks: int = 9) -> Record:
    """Three schemes on two cores of a server CPU, all OK."""
    return _record(tuple(cell(scheme, num_blocks=num_blocks) for scheme in SCHEMES))


@functools.cache
def one_oom() -> Record:
    """The first scheme ran out of memory; the other two are OK."""
    cells = all_ok().cells
    failed = fail(cells[0], "OOM", "outpaint needs 14.1 GiB more than the 3.9 GiB that are free")
    return _record((failed, *cells[1:]))


@functools.cache
def interrupted() -> Record:
    """Stopped by hand: one cell whole, one cut short, one never begun."""
    first, second, third = all_ok().cells
    cut = dataclasses.replace(
        fail(second, "INTERRUPTED", "stopped by the user after 3 of 9 blocks"),
        blocks=second.blocks[:5],
    )
    never = dataclasses.replace(
        fail(third, "INTERRUPTED", "stopped by the user before the first block"), blocks=()
    )
    record = _record((first, cut, never))
    return dataclasses.replace(
        record, settings=dataclasses.replace(record.settings, is_interrupted=True)
    )


@functools.cache
def one_block() -> Record:
    """n = 1: there is a figure, and no interval."""
    return all_ok(num_blocks=1)


@functools.cache
def cuda() -> Record:
    """Three schemes on a data-centre GPU, with enough blocks for a p95."""
    cells = tuple(
        cell(
            scheme,
            num_blocks=80,
            stage_ms=CUDA_MS[scheme],
            codec_ms=CUDA_CODEC_MS,
            ceiling=CUDA_CEILING,
            memory=_cuda_memory(),
        )
        for scheme in SCHEMES
    )
    record = _record(cells, ceiling=CUDA_CEILING)
    gpu = Gpu("NVIDIA H200", "9.0", 150_754_820_096, 132, "575.57.08", 700.0)
    machine = dataclasses.replace(
        record.machine,
        name="NVIDIA H200, AMD EPYC, 16 cores, 128 GiB, Linux",
        gpus=(gpu,),
        num_logical_cores=16,
        num_threads=16,
    )
    settings = dataclasses.replace(
        record.settings, device=Choice("cuda:0", "asked for"), blocks_asked=80
    )
    return dataclasses.replace(record, machine=machine, settings=settings)


@functools.cache
def five_schemes() -> Record:
    """Diffusion and LMMs on a CPU: two kinds, three models, blocks of two lengths, all OK."""
    record = _record((*all_ok().cells, *(lmm_cell(scheme) for scheme in LMM_SCHEMES)))
    settings = dataclasses.replace(record.settings, order=(*SCHEMES, *LMM_SCHEMES))
    return dataclasses.replace(record, settings=settings)


EXAMPLES: dict[str, Callable[[], Record]] = {
    "all_ok": all_ok,
    "one_oom": one_oom,
    "interrupted": interrupted,
    "one_block": one_block,
    "cuda": cuda,
    "five_schemes": five_schemes,
}


def fail(one: Cell, status: Status, reason: str) -> Cell:
    """The cell, ended otherwise than OK: what was summed up or written is gone."""
    return dataclasses.replace(
        one,
        status=status,
        reason=reason,
        summary=None,
        audio=None,
        blocks=() if status == "OOM" else one.blocks,
    )


def with_rtf(record: Record, index: int, value: float, ci95: tuple[float, float] | None) -> Record:
    """The record with another real-time factor for one cell."""
    one = record.cells[index]
    assert one.summary is not None
    told = dataclasses.replace(
        one.summary.rtf,
        value=value,
        ci95=ci95,
        reason=None if ci95 else "an interval needs 3 blocks",
    )
    changed = dataclasses.replace(one, summary=dataclasses.replace(one.summary, rtf=told))
    cells = list(record.cells)
    cells[index] = changed
    return dataclasses.replace(record, cells=tuple(cells))


def workload(scheme: str, **axes: object) -> Workload:
    """The paper's window, eight steps."""
    plain = Workload(
        scheme=scheme,
        model="sao-small",
        context_frames=192,
        block_frames=48,
        visible_blocks=4 if scheme == "block-causal" else None,
        num_levels=None,
        steps=8,
        sampler="pingpong",
        guidance_scale=1.0,
        batch=1,
        dtype="bfloat16",
        attention="reference",
        is_graphed=False,
        sample_rate_hz=44100,
        samples_per_frame=2048,
        block_seconds=BLOCK_SECONDS,
    )
    return dataclasses.replace(plain, **axes)  # type: ignore[arg-type]


def lmm_workload(scheme: str, **axes: object) -> Workload:
    """Ten seconds of context encoded at once, or 41 frames that each layer looks back."""
    is_frame_wise = scheme == "lmm-frame-wise"
    plain = Workload(
        scheme=scheme,
        model="mrt2-small" if is_frame_wise else "mrt1-large",
        context_frames=41 if is_frame_wise else 250,
        block_frames=50,
        visible_blocks=None,
        num_levels=12 if is_frame_wise else 16,
        steps=None,
        sampler="top-k 40, temperature 1.3",
        guidance_scale=1.0,
        batch=1,
        dtype="bfloat16",
        attention="reference",
        is_graphed=False,
        sample_rate_hz=48000,
        samples_per_frame=1920,
        block_seconds=LMM_BLOCK_SECONDS,
    )
    return dataclasses.replace(plain, **axes)  # type: ignore[arg-type]


def cost(scheme: str, ceiling: Ceiling = CPU_CEILING, steps: int = 8) -> Cost:
    """Arithmetic near enough to the real one for a picture."""
    frames = {
        "outpaint": 241 * steps,
        "encoder-decoder": 192 + 49 * steps,
        "block-causal": 48 + 49 * steps,
    }[scheme]
    evaluations = steps + (scheme == "encoder-decoder")
    projections = 2 * 318_000_000 * frames
    attention = 4 * 1024 * 240 * 16 * frames
    head = 2 * 1024 * 64 * frames
    flops = projections + attention + head
    weights = 2 * 318_000_000 * evaluations
    read = 0 if scheme == "outpaint" else 2 * 2 * 1024 * 192 * 16 * steps
    written = 0 if scheme == "outpaint" else 2 * 2 * 1024 * 192 * 16
    total = weights + read + written
    codec_flops = 330_000_000_000
    encode_rows = {"outpaint": 0, "encoder-decoder": 192, "block-causal": 48}[scheme]
    return Cost(
        parameters=340_900_000,
        evaluations=evaluations,
        sequential_steps=evaluations,
        frames_per_block=frames,
        encode_rows=encode_rows,
        step_rows=frames - encode_rows,
        attention_pairs=16 * 240 * frames,
        flops_per_block=flops,
        flops_projections=projections,
        flops_attention=attention,
        flops_head=head,
        bytes_per_block=total,
        bytes_weights=weights,
        bytes_cache_read=read,
        bytes_cache_written=written,
        footprint=Footprint(
            weight_bytes=2 * 340_900_000,
            cache_bytes=0 if scheme == "outpaint" else 2 * 2 * 1024 * 192 * 16,
            activation_bytes=24_000_000,
            workspace_bytes=67_108_864,
        ),
        bound_ms=1000 * max(flops / ceiling.flops_per_second, total / ceiling.bytes_per_second),
        codec=CodecCost(78_200_000, codec_flops, 1000 * codec_flops / ceiling.flops_per_second),
    )


def lmm_cost(scheme: str, ceiling: Ceiling = CPU_CEILING) -> Cost:
    """As ``cost``: 50 frames, each a temporal step and one depth step a level."""
    is_frame_wise = scheme == "lmm-frame-wise"
    parameters, levels = (229_700_000, 12) if is_frame_wise else (761_600_000, 16)
    temporal, depth = (150_000_000, 60_000_000) if is_frame_wise else (290_000_000, 120_000_000)
    encode_rows = 0 if is_frame_wise else 1006
    tokens = 50 * levels
    projections = 2 * (temporal * 50 + depth * tokens + 290_000_000 * encode_rows)
    pairs = 50 * 41 * 12 if is_frame_wise else 24 * (1006 * 1006 + 50 * 1031)
    attention, head = 4 * 1024 * pairs, 2 * 1024 * 1024 * tokens
    weights = 2 * (50 * temporal + tokens * depth // levels + 290_000_000 * (not is_frame_wise))
    cache = 2 * 2 * 1024 * 24 * (41 if is_frame_wise else 1056)
    flops, total = projections + attention + head, weights + 51 * cache
    return Cost(
        parameters=parameters,
        evaluations=tokens,
        sequential_steps=50 + tokens + (not is_frame_wise),
        frames_per_block=encode_rows + 50 + tokens,
        encode_rows=encode_rows,
        step_rows=50 + tokens,
        attention_pairs=pairs,
        flops_per_block=flops,
        flops_projections=projections,
        flops_attention=attention,
        flops_head=head,
        bytes_per_block=total,
        bytes_weights=weights,
        bytes_cache_read=50 * cache,
        bytes_cache_written=cache,
        footprint=Footprint(
            weight_bytes=2 * parameters,
            cache_bytes=cache,
            activation_bytes=31_000_000,
            workspace_bytes=67_108_864,
        ),
        bound_ms=1000 * max(flops / ceiling.flops_per_second, total / ceiling.bytes_per_second),
        codec=None,
    )


def cell(
    scheme: str,
    num_blocks: int = 9,
    stage_ms: tuple[float, float, float] | None = None,
    codec_ms: float = CPU_CODEC_MS,
    ceiling: Ceiling = CPU_CEILING,
    memory: Memory | None = None,
    **axes: object,
) -> Cell:
    """One cell that ended OK: two warm-up blocks, then ``num_blocks`` measured ones."""
    work = workload(scheme, **axes)
    assert work.steps is not None
    blocks = _blocks(scheme, work.steps, num_blocks, stage_ms or CPU_MS[scheme], codec_ms)
    audio = Audio(f"{scheme}.wav", 33.4, 0.89, 0.12, -3.1)
    return _ok(work, cost(scheme, ceiling, work.steps), blocks, memory, audio)


def lmm_cell(scheme: str, num_blocks: int = 9, **axes: object) -> Cell:
    """As ``cell``, of tokens: no codec and no audio."""
    work = lmm_workload(scheme, **axes)
    blocks = _blocks(scheme, work.block_frames, num_blocks, CPU_MS[scheme], None)
    return _ok(work, lmm_cost(scheme), blocks, None, None)


def _ok(
    work: Workload,
    arithmetic: Cost,
    blocks: tuple[Block, ...],
    memory: Memory | None,
    audio: Audio | None,
) -> Cell:
    return Cell(
        workload=work,
        status="OK",
        reason=None,
        check=Check(
            oracle="one pass over the whole history"
            if work.scheme in ("block-causal", "lmm-frame-wise")
            else "one pass over the window",
            depth=2,
            num_blocks=6,
            error=0.0061,
            reference_error=0.0049,
            budget=0.0137,
            is_within_budget=True,
        ),
        cost=arithmetic,
        blocks=blocks,
        summary=summarise(blocks, work.block_seconds, seed=0),
        memory=memory or _cpu_memory(),
        audio=audio,
    )


def _blocks(
    scheme: str,
    steps: int,
    num_measured: int,
    stage_ms: tuple[float, float, float],
    codec_ms: float | None,
) -> tuple[Block, ...]:
    chance = random.Random(f"{scheme} {num_measured}")
    encode, first, later = stage_ms
    blocks = []
    for index in range(num_measured + 2):
        is_warmup = index < 2
        slower = (1.9, 1.15)[index] if is_warmup else 1.0

        def took(mean: float, slower: float = slower) -> float:
            return mean * slower * (1 + abs(chance.gauss(0, 0.05)))

        steps_ms = (took(first), *(took(later) for _ in range(steps - 1)))
        context_encode = took(encode)
        codec = None if codec_ms is None else took(codec_ms)
        host = took((codec_ms or CPU_CODEC_MS) / 500)
        commit = None if scheme in ("block-causal", *LMM_SCHEMES) else 0.0
        blocks.append(
            Block(
                block_index=index,
                service_ms=context_encode + sum(steps_ms) + (codec or 0.0) + host,
                context_encode_ms=context_encode or None,
                steps_ms=steps_ms,
                commit_ms=commit,
                codec_decode_ms=codec,
                host_ms=host,
                is_warmup=is_warmup,
                labels=("first",) if index == 0 else (),
            )
        )
    return tuple(blocks)


def _cpu_memory() -> Memory:
    why = "the run is on a CPU"
    return Memory(
        rss_peak_bytes=1_503_238_553,
        rss_baseline_bytes=429_496_729,
        vram_allocated_bytes=None,
        vram_reserved_bytes=None,
        vram_process_bytes=None,
        vram_device_bytes=None,
        unavailable={
            name: why
            for name in (
                "vram_allocated_bytes",
                "vram_reserved_bytes",
                "vram_process_bytes",
                "vram_device_bytes",
            )
        },
    )


def _cuda_memory() -> Memory:
    return Memory(
        rss_peak_bytes=3_221_225_472,
        rss_baseline_bytes=1_073_741_824,
        vram_allocated_bytes=1_181_116_006,
        vram_reserved_bytes=1_395_864_371,
        vram_process_bytes=None,
        vram_device_bytes=1_932_735_283,
        unavailable={"vram_process_bytes": "NVML hides processes inside this container"},
    )


def _record(cells: tuple[Cell, ...], ceiling: Ceiling = CPU_CEILING) -> Record:
    return Record(
        schema_version=SCHEMA_VERSION,
        created="2026-03-14T09:26:53Z",
        tool=Tool(
            version="0.1.0",
            git_commit="f40658808d2a3c9a8f6f1b5b3c3d7a0c9e1f2a3b",
            git_is_dirty=False,
            git_reason=None,
            python="3.11.13",
            packages={"torch": "2.13.0", "numpy": "2.3.5"},
        ),
        machine=Machine(
            name="AMD EPYC, 2 cores, 7 GiB, Linux",
            os="Linux 6.8.0 (glibc 2.39)",
            cpu="AMD EPYC",
            cpu_architecture="x86_64",
            cpu_isa=("avx2", "avx512f", "avx512_bf16"),
            num_physical_cores=2,
            num_logical_cores=2,
            num_threads=2,
            ram_bytes=8_223_203_328,
            load_average_1min=0.31,
            is_on_mains=None,
            is_virtual=True,
            gpus=(),
            unavailable={"is_on_mains": "this machine reports no power supply"},
        ),
        ceiling=ceiling,
        settings=Settings(
            command="lmdm-bench run mix.wav --out out",
            seed=0,
            blocks_asked=9,
            device=Choice("cpu", "no CUDA device was found"),
            dtype=Choice("bfloat16", "this CPU multiplies bfloat16 4.1 times as fast as float32"),
            linear=Choice("packed", "1.4 times as fast as plain on this machine"),
            attention="reference",
            weights="random, seed 0",
            input="mix.wav",
            input_seconds=31.2,
            order=SCHEMES,
            context_encode_ms=1834.0,
            gc="frozen",
            is_interrupted=False,
        ),
        cells=cells,
    )
