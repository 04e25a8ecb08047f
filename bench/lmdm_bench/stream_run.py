"""Back-to-back runs of streams: checked first, warmed up, interleaved, every block timed.

Streams are pulled one block at a time in rounds; each round visits every stream once in a seeded
random order, so that drift of the machine falls on all alike. What fails becomes a cell with a
status; the other cells go on. Ctrl-C ends the run with what is finished.
"""

import gc
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lmdm_bench.clock import Stopwatch, synchroniser
from lmdm_bench.estimates import summarise
from lmdm_bench.memory import RssPeak, peak_memory
from lmdm_bench.record import Block, Cell, Check, Cost, Memory, Status, Workload

Samples = npt.NDArray[np.float32]

# Warm-up ends for a stream when its newest block is within this of its fastest one so far …
WARM_SHARE = 1.05
# … after at least and at most so many blocks.
MIN_WARMUP_BLOCKS = 2
MAX_WARMUP_BLOCKS = 5

OLDEST_GENERATION = 2


class Subject(Protocol):
    """What can be run: made by ``subjects.py``, which alone knows the models."""

    workload: Workload
    cost: Cost

    def check(self) -> Check:
        """Prove the scheme against its oracle, in this process and dtype."""

    def prefill(self) -> None:
        """Hear the context."""

    def make_block(self, watch: Stopwatch) -> Samples | None:
        """The next block's samples [audio_channels, block_samples], each stage under the watch.

        None where the block is tokens and no codec makes samples of them: then the subject itself
        raises ArithmeticError or ValueError for a token that cannot be one.
        """


@dataclass
class Progress:
    """What a run tells while it goes on: called with a line, and after each block."""

    say: Callable[[str], None]
    advance: Callable[[Workload], None]


@dataclass
class Finished:
    """What a run leaves: a cell and its samples for each subject, in the subjects' order.

    The samples of a subject whose blocks are tokens are empty.
    """

    cells: tuple[Cell, ...]
    samples: tuple[tuple[Samples, ...], ...]
    order: tuple[str, ...]
    is_interrupted: bool


@dataclass
class _Lane:
    """One subject while it runs."""

    subject: Subject
    check: Check | None = None
    status: Status = "OK"
    reason: str | None = None
    blocks: list[Block] = field(default_factory=list)
    samples: list[Samples] = field(default_factory=list)
    memory: Memory | None = None

    @property
    def is_running(self) -> bool:
        return self.status == "OK"

    @property
    def measured(self) -> list[Block]:
        return [block for block in self.blocks if not block.is_warmup]

    @property
    def is_warm(self) -> bool:
        times = [block.service_ms for block in self.blocks]
        if len(times) < MIN_WARMUP_BLOCKS:
            return False
        return len(times) >= MAX_WARMUP_BLOCKS or times[-1] <= WARM_SHARE * min(times)


def run_streams(
    subjects: Sequence[Subject],
    num_blocks: int,
    seed: int,
    device: str,
    baseline_bytes: int,
    progress: Progress,
) -> Finished:
    """Check, warm up and measure ``num_blocks`` blocks of every subject."""
    lanes = [_Lane(subject) for subject in subjects]
    shuffle = random.Random(seed)
    order: list[str] = []
    is_interrupted = False
    try:
        for lane in lanes:
            progress.say(f"checking {lane.subject.workload.scheme} against its oracle")
            with _failures(lane):
                _check(lane)
        progress.say("warming up")
        for lane in lanes:
            with _failures(lane):
                lane.subject.prefill()
        while waiting := [lane for lane in lanes if lane.is_running and not lane.is_warm]:
            for lane in waiting:
                _warm_up(lane, device, baseline_bytes, progress)
        with frozen_garbage():
            progress.say("measuring")
            for _ in range(num_blocks):
                for lane in shuffle.sample(lanes, len(lanes)):
                    if lane.is_running:
                        order.append(lane.subject.workload.scheme)
                        with _failures(lane):
                            _make_block(lane, device, is_warmup=False)
                        progress.advance(lane.subject.workload)
    except KeyboardInterrupt:
        is_interrupted = True
        for lane in lanes:
            if lane.is_running and not lane.measured:
                lane.status, lane.reason = "INTERRUPTED", "stopped before its first measured block"
    return Finished(
        cells=tuple(_cell(lane, seed) for lane in lanes),
        samples=tuple(tuple(lane.samples) for lane in lanes),
        order=tuple(order),
        is_interrupted=is_interrupted,
    )


def _check(lane: _Lane) -> None:
    lane.check = lane.subject.check()
    if not lane.check.is_within_budget:
        lane.status = "INCORRECT"
        lane.reason = why_incorrect(lane.check)


def _warm_up(lane: _Lane, device: str, baseline_bytes: int, progress: Progress) -> None:
    peak = RssPeak()
    with _failures(lane), peak:
        _make_block(lane, device, is_warmup=True)
    memory = peak_memory(baseline_bytes, peak, device)
    if lane.memory is None or (memory.rss_peak_bytes or 0) > (lane.memory.rss_peak_bytes or 0):
        lane.memory = memory
    progress.advance(lane.subject.workload)


def _make_block(lane: _Lane, device: str, is_warmup: bool) -> None:
    watch = Stopwatch(synchroniser(device))
    labels = ["first"] if not lane.blocks else []
    with _garbage_label(labels), watch.block():
        samples = lane.subject.make_block(watch)
    if samples is not None:
        if not np.isfinite(samples).all():
            raise FloatingPointError("the block has samples that are not finite numbers")
        lane.samples.append(samples)
    block = block_of(
        len(lane.blocks), watch, watch.total_ms, is_warmup=is_warmup, labels=tuple(labels)
    )
    lane.blocks.append(block)


def block_of(
    index: int,
    watch: Stopwatch,
    service_ms: float,
    *,
    is_warmup: bool = False,
    labels: tuple[str, ...] = (),
) -> Block:
    """A block's stages under the watch, and what they leave over of its service time."""
    stages = watch.stages_ms
    context_encode = sum(stages["context_encode"]) if "context_encode" in stages else None
    steps = tuple(stages.get("step", []))
    commit = sum(stages["commit"]) if "commit" in stages else None
    decode = sum(stages["codec_decode"]) if "codec_decode" in stages else None
    named = (context_encode or 0.0) + sum(steps) + (commit or 0.0) + (decode or 0.0)
    return Block(
        block_index=index,
        service_ms=service_ms,
        context_encode_ms=context_encode,
        steps_ms=steps,
        commit_ms=commit,
        codec_decode_ms=decode,
        host_ms=service_ms - named,
        is_warmup=is_warmup,
        labels=labels,
    )


def _cell(lane: _Lane, seed: int) -> Cell:
    workload = lane.subject.workload
    summary = (
        summarise(lane.measured, workload.block_seconds, seed) if lane.status == "OK" else None
    )
    return Cell(
        workload=workload,
        status=lane.status,
        reason=lane.reason,
        check=lane.check,
        cost=lane.subject.cost,
        blocks=tuple(lane.blocks),
        summary=summary,
        memory=lane.memory,
        audio=None,
    )


@contextmanager
def _failures(lane: _Lane) -> Iterator[None]:
    """What goes wrong in a cell is that cell's status; only Ctrl-C goes on upwards."""
    try:
        yield
    except (MemoryError, RuntimeError, ValueError, ArithmeticError) as error:
        lane.status, lane.reason = status_of(error)


def why_incorrect(check: Check) -> str:
    """What a cell says whose check did not hold."""
    return (
        f"error {check.error:.2g} against its oracle ({check.oracle}) "
        f"is over the budget of {check.budget:.2g}; nothing was timed"
    )


def status_of(error: Exception) -> tuple[Status, str]:
    """How a cell ends that raised this, and why, in one line."""
    words = (str(error).strip() or "no message").splitlines()[0]
    return "OOM" if _is_out_of_memory(error) else "FAILED", f"{type(error).__name__}: {words}"


def _is_out_of_memory(error: Exception) -> bool:
    # torch.OutOfMemoryError is CUDA's; the CPU's allocator raises a plain RuntimeError.
    words = ("can't allocate memory", "out of memory", "not enough memory", "bad_alloc")
    is_named_so = type(error).__name__ == "OutOfMemoryError"
    return (
        isinstance(error, MemoryError)
        or is_named_so
        or any(word in str(error).lower() for word in words)
    )


@contextmanager
def frozen_garbage() -> Iterator[None]:
    """What is alive now is left out of later collections, which would else fall into blocks."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _garbage_label(labels: list[str]) -> Iterator[None]:
    """Adds "gc" to a block's labels if a full collection fell into it (small ones always do)."""

    def seen(phase: str, info: dict[str, Any]) -> None:
        if phase == "stop" and info["generation"] == OLDEST_GENERATION and "gc" not in labels:
            labels.append("gc")

    gc.callbacks.append(seen)
    try:
        yield
    finally:
        gc.callbacks.remove(seen)
