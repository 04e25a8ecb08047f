"""A check from request to record: the harness's own cost first, then one stream after another."""

import dataclasses
import datetime
import math
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from lmdm_bench import session, subjects
from lmdm_bench.audio_process import AudioProcess
from lmdm_bench.check_options import CheckOptions
from lmdm_bench.check_record import (
    CHECK_SCHEMA_VERSION,
    Alternative,
    Canary,
    CheckCell,
    CheckRecord,
    CheckSettings,
    DeviceCount,
    Harness,
    Telemetry,
)
from lmdm_bench.choices import pick_dtype
from lmdm_bench.errors import InputError, UnsupportedError
from lmdm_bench.generator import MOST_TIMES_LONGER, GeneratorAsked, Made
from lmdm_bench.interrupts import ignored_interrupts
from lmdm_bench.kept_place import KeptPlace
from lmdm_bench.machine import describe_machine
from lmdm_bench.no_work import NUM_BLOCKS, PERIOD_MS, PREBUFFER_BLOCKS, make_no_work
from lmdm_bench.record import Ceiling, Choice, Machine, to_json
from lmdm_bench.request import Request
from lmdm_bench.ring import Ring
from lmdm_bench.session import GC_POLICY
from lmdm_bench.stress import stress
from lmdm_bench.supervisor import Outcome, Watching, supervise
from lmdm_bench.tool import describe_tool

Samples = npt.NDArray[np.float32]

# The audio ring holds the prebuffer, the block that is written and one more.
SPARE_BLOCKS = 2

# Of a record's text: more than they were ever seen to take.
BYTES_OF_A_CELL = 3 << 20
BYTES_OF_A_BLOCK = 1500
BYTES_OF_A_STEP = 40
# Eleven hours of 40 ms blocks, and a record of two gigabytes.
MOST_BLOCKS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class CheckAsked:
    """A valid request with what surrounds it."""

    request: Request
    options: CheckOptions
    device: Choice
    dtype: Choice
    input_name: str
    input_samples: Samples
    command: str


def run_check(asked: CheckAsked, path: Path, watching: Watching) -> CheckRecord:
    """Play each scheme for its minutes; the record is saved after each. Ctrl-C keeps what is there.

    Raises UnsupportedError where not even a first block can be asked for: no memory, no sound card;
    InputError for more blocks than can be recorded.
    """
    _check_length(asked)
    watching.say("measuring what this machine can do at best")
    ceilings = _ceilings(asked.request)
    machine = describe_machine(asked.request.device)
    watching.say(f"measuring the harness itself: {NUM_BLOCKS} blocks without work")
    harness, is_interrupted = measure_harness(watching)
    place = KeptPlace(path, _most_bytes(asked), watching.say)
    cells: list[CheckCell] = []
    record = _record(asked, machine, ceilings, harness, cells, is_interrupted)
    with closing(place), stress(asked.options.stress):
        for scheme in asked.request.schemes:
            if record.is_interrupted:
                outcome = Outcome("INTERRUPTED", "stopped by Ctrl-C before it was begun")
                count = None
            else:
                watching.say(f"{scheme}: starting")
                outcome, count = _played(
                    asked, scheme, ceilings, _vram_bytes(asked.request.device, machine), watching
                )
            with ignored_interrupts():
                cells.append(_cell(asked, scheme, ceilings, machine, outcome, count))
                is_interrupted = record.is_interrupted or outcome.is_interrupted
                record = _record(asked, machine, ceilings, harness, cells, is_interrupted)
                is_last = len(cells) == len(asked.request.schemes)
                place.save(to_json(record).encode("utf-8"), is_last=is_last)
    return record


def measure_harness(watching: Watching) -> tuple[Harness, bool]:
    """The lateness of a stream without work, and whether Ctrl-C cut it short."""
    asked = GeneratorAsked(
        make=make_no_work,
        arguments=(),
        ring=Ring(PREBUFFER_BLOCKS, PERIOD_MS),
        num_blocks=NUM_BLOCKS + PREBUFFER_BLOCKS,
        most_steps=1,
        condition_kinds=(),
        seed=0,
        device="cpu",
        is_sustained=False,
        audio_ring=None,
        is_proved=False,
    )
    quiet = Watching(say=lambda words: None, played=lambda blocks, misses: None)
    outcome = supervise(asked, quiet)
    live = outcome.blocks[PREBUFFER_BLOCKS:]
    reason = None if outcome.status == "OK" else outcome.reason
    return Harness(
        period_ms=PERIOD_MS,
        lateness_ms=tuple(one.ready_ms - one.room_ms for one in live),
        wake_error_ms=tuple(one.wake_error_ms for one in live),
        reason=reason,
    ), outcome.is_interrupted


def make_stream(request: Request, scheme: str, ceiling: Ceiling, samples: Samples) -> Made:
    """The stream of one scheme; in the generator's process."""
    alone = dataclasses.replace(request, schemes=(scheme,))
    model = subjects.Model(alone)
    if scheme in subjects.DIFFUSION_SCHEMES:
        model.encode(samples)
    subject = model.subject(scheme, subjects.cost_of(alone, scheme, ceiling))
    return Made(subject, model.linear, model.weights)


def _played(
    asked: CheckAsked,
    scheme: str,
    ceilings: dict[str, Ceiling],
    vram_bytes: int | None,
    watching: Watching,
) -> tuple[Outcome, DeviceCount | None]:
    """One stream against its clock; with a sound card, that is opened before and closed after."""
    request, options = asked.request, asked.options
    workload = subjects.workload_of(request, scheme)
    ring = Ring(options.prebuffer_blocks, workload.block_seconds * 1000.0, options.policy)
    live_blocks = math.ceil(options.minutes * 60.0 / workload.block_seconds)
    with ExitStack() as stack:
        audio = None
        if options.audio is not None:
            block_samples = workload.block_frames * workload.samples_per_frame
            frames = block_samples * (options.prebuffer_blocks + SPARE_BLOCKS)
            audio = AudioProcess(options.audio, workload.sample_rate_hz, frames, options.policy)
            stack.enter_context(audio)
        generator = GeneratorAsked(
            make=make_stream,
            arguments=(request, scheme, ceilings[request.dtype], asked.input_samples),
            ring=ring,
            num_blocks=options.prebuffer_blocks + live_blocks,
            most_steps=max(workload.block_frames, 2 * (workload.steps or 0)),
            condition_kinds=options.condition_kinds,
            seed=request.seed,
            device=request.device,
            is_sustained=options.mode == "sustain",
            audio_ring=None if audio is None else audio.ring,
            is_proved=True,
        )
        own_pids = () if audio is None or audio.pid is None else (audio.pid,)
        outcome = supervise(generator, watching, own_pids, vram_bytes)
        return outcome, None if audio is None else audio.stop()


def _cell(
    asked: CheckAsked,
    scheme: str,
    ceilings: dict[str, Ceiling],
    machine: Machine,
    outcome: Outcome,
    count: DeviceCount | None,
) -> CheckCell:
    request = asked.request
    written = outcome.written
    nothing = Canary((), (), "nothing was played")
    no_telemetry = Telemetry(0.0, (), {}, {}, "nothing was played")
    return CheckCell(
        workload=subjects.workload_of(request, scheme),
        status=outcome.status,
        reason=outcome.reason,
        check=outcome.check,
        cost=subjects.cost_of(request, scheme, ceilings[request.dtype]),
        linear=outcome.linear,
        weights=outcome.weights,
        memory=outcome.memory,
        memory_limit_bytes=_vram_bytes(request.device, machine) or machine.ram_bytes,
        memory_used_bytes=_memory_used(request.device, outcome),
        warmup=outcome.warmup,
        warm_words=outcome.warm_words,
        blocks=outcome.blocks,
        controls=() if written is None else written.controls,
        incidents=tuple(outcome.incidents),
        canary=nothing if written is None else written.canary,
        telemetry=outcome.telemetry or no_telemetry,
        device_count=count,
        alternatives=_alternatives(request, scheme, ceilings),
    )


def _record(
    asked: CheckAsked,
    machine: Machine,
    ceilings: dict[str, Ceiling],
    harness: Harness,
    cells: list[CheckCell],
    is_interrupted: bool,
) -> CheckRecord:
    options = asked.options
    return CheckRecord(
        schema_version=CHECK_SCHEMA_VERSION,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        tool=describe_tool(),
        machine=machine,
        ceiling=ceilings[asked.request.dtype],
        settings=CheckSettings(
            command=asked.command,
            seed=asked.request.seed,
            mode=options.mode,
            minutes=options.minutes,
            prebuffer_blocks=options.prebuffer_blocks,
            policy=options.policy,
            target_dropouts_per_hour=options.target_dropouts_per_hour,
            control_budget_seconds=options.control_budget_seconds,
            stress=options.stress,
            device=asked.device,
            dtype=asked.dtype,
            attention=asked.request.attention,
            input=asked.input_name,
            gc=GC_POLICY,
            audio=options.audio,
        ),
        harness=harness,
        is_interrupted=is_interrupted,
        check_cells=tuple(cells),
    )


def _ceilings(request: Request) -> dict[str, Ceiling]:
    """The run's dtype's, and those of the other dtypes that this device computes in at speed."""
    found = {request.dtype: session.ceiling_for(request)}
    picked = pick_dtype(request.device, describe_machine(request.device).cpu_isa).value
    for dtype in (picked, "float32"):
        if dtype not in found:
            found[dtype] = session.ceiling_for(dataclasses.replace(request, dtype=dtype))
    return found


def _alternatives(
    request: Request, scheme: str, ceilings: dict[str, Ceiling]
) -> tuple[Alternative, ...]:
    """Half and twice the block, the other dtypes, the other diffusion schemes: what each would cost
    here, as far as arithmetic knows."""
    found: list[Alternative] = []

    def add(what: Literal["block_frames", "dtype", "scheme"], other: Request, name: str) -> None:
        try:
            subjects.validate(other)
        except (InputError, UnsupportedError):
            return  # not every window can be halved, nor every checkpoint be heard by an LMM
        workload = subjects.workload_of(other, name)
        found.append(
            Alternative(what, workload, subjects.cost_of(other, name, ceilings[other.dtype]))
        )

    is_diffusion = scheme in subjects.DIFFUSION_SCHEMES
    lmm_models = () if is_diffusion else (subjects.preset_of(request, scheme),)
    alone = dataclasses.replace(request, schemes=(scheme,), lmm_models=lmm_models)
    if is_diffusion:
        for frames in (request.block_frames // 2, request.block_frames * 2):
            add("block_frames", dataclasses.replace(alone, block_frames=frames), scheme)
        for other in subjects.DIFFUSION_SCHEMES:
            if other != scheme:
                add("scheme", dataclasses.replace(alone, schemes=(other,)), other)
    for dtype in ceilings:
        if dtype != request.dtype:
            add("dtype", dataclasses.replace(alone, dtype=dtype), scheme)
    return tuple(found)


def _check_length(asked: CheckAsked) -> None:
    """Raises InputError for more blocks than memory and disk should be asked for."""
    for scheme in asked.request.schemes:
        num_blocks = _most_blocks(asked, scheme)
        if num_blocks > MOST_BLOCKS:
            raise InputError(
                f"{asked.options.minutes:g} minutes of {scheme} would be {num_blocks:.0f} blocks; "
                f"at most {MOST_BLOCKS} can be recorded"
            )


def _most_blocks(asked: CheckAsked, scheme: str) -> float:
    times = MOST_TIMES_LONGER if asked.options.mode == "sustain" else 1
    block_seconds = subjects.workload_of(asked.request, scheme).block_seconds
    return times * asked.options.minutes * 60.0 / block_seconds


def _most_bytes(asked: CheckAsked) -> int:
    """How long the record may become: its blocks, and what does not grow with them."""
    total = float(BYTES_OF_A_CELL)
    for scheme in asked.request.schemes:
        workload = subjects.workload_of(asked.request, scheme)
        num_blocks = _most_blocks(asked, scheme)
        num_steps = workload.steps or workload.block_frames
        total += BYTES_OF_A_CELL + num_blocks * (BYTES_OF_A_BLOCK + BYTES_OF_A_STEP * num_steps)
    return math.ceil(total)


def _vram_bytes(device: str, machine: Machine) -> int | None:
    """A GPU's own memory; None where the device computes in the system's."""
    kind, _, index = device.partition(":")
    return machine.gpus[int(index or 0)].memory_bytes if kind == "cuda" else None


def _memory_used(device: str, outcome: Outcome) -> int | None:
    """The most of the device's memory that was seen in use, by whomever."""
    if device.partition(":")[0] != "cuda":
        return outcome.memory_used_bytes
    columns = outcome.telemetry.columns if outcome.telemetry is not None else {}
    seen = [one for one in columns.get("gpu_memory_used_bytes", ()) if one is not None]
    return int(max(seen)) if seen else None
