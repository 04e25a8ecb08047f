"""One run from request to record: describe, predict, build, measure, write."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lmdm_bench import audio, subjects
from lmdm_bench.ceiling import measure_ceiling
from lmdm_bench.clock import Stopwatch, synchroniser
from lmdm_bench.errors import UnsupportedError
from lmdm_bench.machine import describe_machine
from lmdm_bench.memory import baseline
from lmdm_bench.record import (
    SCHEMA_VERSION,
    Ceiling,
    Cell,
    Choice,
    Cost,
    Record,
    Settings,
    Workload,
)
from lmdm_bench.request import Request
from lmdm_bench.stream_run import Finished, Progress, Subject, run_streams, status_of
from lmdm_bench.subjects import Model
from lmdm_bench.tool import describe_tool

Samples = npt.NDArray[np.float32]

GC_POLICY = "frozen"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A valid request with what surrounds it."""

    request: Request
    num_blocks: int
    device: Choice
    dtype: Choice
    input_name: str
    input_samples: Samples
    command: str


def context_samples(request: Request) -> int:
    """How many samples the first context takes."""
    return subjects.geometry_of(request).context_samples


def sample_rate_hz(request: Request) -> int:
    return subjects.geometry_of(request).sample_rate_hz


def predict(request: Request, ceiling: Ceiling) -> list[tuple[Workload, Cost]]:
    """Each cell's workload and what arithmetic says of it."""
    return [
        (subjects.workload_of(request, scheme), subjects.cost_of(request, scheme, ceiling))
        for scheme in request.schemes
    ]


def ceiling_for(request: Request) -> Ceiling:
    """What the machine can do at best. Raises UnsupportedError where even that does not fit."""
    try:
        return measure_ceiling(request.dtype, request.device, subjects.products(request))
    except (MemoryError, RuntimeError) as error:
        status, reason = status_of(error)
        if status != "OOM":
            raise
        raise UnsupportedError(f"too little memory to measure anything here: {reason}") from error


def measure(asked: Asked, ceiling: Ceiling, progress: Progress) -> tuple[Record, list[Samples]]:
    """Run all cells; returns the record (without audio) and each cell's samples so far.

    A failure to build the model ends every cell with that status; a checkpoint that does not fit
    raises InputError. Ctrl-C while building goes through, afterwards it ends the run early.
    """
    request = asked.request
    machine = describe_machine(request.device)
    predicted = predict(request, ceiling)
    baseline_bytes = baseline(request.device)
    linear, weights = Choice("not built", "the model could not be built"), "none"
    encode_ms: float | None = None
    try:
        progress.say("building the model")
        model = Model(request)
        linear, weights = model.linear, model.weights
        progress.say("encoding the context")
        if any(scheme in subjects.DIFFUSION_SCHEMES for scheme in request.schemes):
            encode_ms = _encode(model, asked)
        cells: list[Subject] = [
            model.subject(workload.scheme, cost) for workload, cost in predicted
        ]
        finished = run_streams(
            cells, asked.num_blocks, request.seed, request.device, baseline_bytes, progress
        )
    except (MemoryError, RuntimeError) as error:
        finished = _nothing_built(predicted, error)
    record = Record(
        schema_version=SCHEMA_VERSION,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        tool=describe_tool(),
        machine=machine,
        ceiling=ceiling,
        settings=Settings(
            command=asked.command,
            seed=request.seed,
            blocks_asked=asked.num_blocks,
            device=asked.device,
            dtype=asked.dtype,
            linear=linear,
            attention=request.attention,
            weights=weights,
            input=asked.input_name,
            input_seconds=asked.input_samples.shape[1] / sample_rate_hz(request),
            order=finished.order,
            context_encode_ms=encode_ms,
            gc=GC_POLICY,
            is_interrupted=finished.is_interrupted,
        ),
        cells=finished.cells,
    )
    return record, [_joined(blocks) for blocks in finished.samples]


def with_audio(
    record: Record, heard: Samples, generated: Sequence[Samples], folder: Path
) -> Record:
    """Write each cell's WAV (the context, then what was generated) and name it in the record."""

    def add(cell: Cell, samples: Samples) -> Cell:
        if not samples.size:
            return cell
        path = folder / f"{cell.workload.scheme}.wav"
        whole = np.concatenate([heard, samples], axis=1)
        return replace(cell, audio=audio.write_wav(path, whole, cell.workload.sample_rate_hz))

    pairs = zip(record.cells, generated, strict=True)
    return replace(record, cells=tuple(add(cell, samples) for cell, samples in pairs))


def _encode(model: Model, asked: Asked) -> float:
    watch = Stopwatch(synchroniser(asked.request.device))
    with watch.block():
        model.encode(asked.input_samples)
    return watch.total_ms


def _nothing_built(predicted: Sequence[tuple[Workload, Cost]], error: Exception) -> Finished:
    status, reason = status_of(error)
    cells = tuple(
        Cell(
            workload=workload,
            status=status,
            reason=reason,
            check=None,
            cost=cost,
            blocks=(),
            summary=None,
            memory=None,
            audio=None,
        )
        for workload, cost in predicted
    )
    return Finished(cells, ((),) * len(cells), (), is_interrupted=False)


def _joined(blocks: Sequence[Samples]) -> Samples:
    return np.concatenate(blocks, axis=1) if blocks else np.empty((2, 0), np.float32)
