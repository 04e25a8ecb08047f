"""A block's memory from request to files: its timeline, what it is made of, figure and words.

Every allocation that torch makes is known to the byte, with the line that asked for it. What is
profiled is never timed: nothing here writes a run's record, and no report reads what it writes.
"""

import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch._C._profiler import RecordScope, _EventType
from torch.overrides import TorchFunctionMode
from torch.profiler import record_function

from lmdm_bench import format as shown
from lmdm_bench.allocated_memory import AllocationsSeen, allocations_seen, garbage_kept
from lmdm_bench.canvas import to_png
from lmdm_bench.clock import CALL_ONLY
from lmdm_bench.code_places import is_own, told_path
from lmdm_bench.errors import UnsupportedError
from lmdm_bench.memory import baseline
from lmdm_bench.memory_profile_words import (
    CODEC_ACTIVATIONS,
    MODEL_ACTIVATIONS,
    RESIDENT,
    memory_closing,
    memory_markdown,
)
from lmdm_bench.memory_timeline import Change, MemoryTimeline, Range, memory_timeline
from lmdm_bench.memory_timeline_figure import memory_figure
from lmdm_bench.out_folder import PROFILE_NAME
from lmdm_bench.profile_facts import facts_of
from lmdm_bench.profile_record import (
    PROFILE_SCHEMA_VERSION,
    WORDS_NAME,
    Compared,
    MemoryProfile,
)
from lmdm_bench.profile_stages import told_stage
from lmdm_bench.profiled_stream import BLOCK_RANGE, ProfileAsked, ProfiledStream
from lmdm_bench.profiler_notes import without_profiler_notes
from lmdm_bench.record import Cost, Workload, to_json
from lmdm_bench.stage_cost import BYTES_PER_NUMBER, codec_bytes
from lmdm_bench.whole_files import write_together

FIGURE_NAME = "memory.png"

# A range around each call of torch: what comes after this in its name is the line of the call.
AT = "at "


def run_profile_memory(
    asked: ProfileAsked, folder: Path, say: Callable[[str], None]
) -> MemoryProfile:
    """Profile a stream's blocks and write three files into the folder: the numbers, their words and
    their figure. All of them or none.

    Raises UnsupportedError where torch does not tell its allocations, or where they are none of a
    block's (a graph's memory is allocated when it is captured), and else as ``ProfiledStream``.
    """
    kind = asked.request.device.partition(":")[0]
    if kind not in ("cpu", "cuda"):
        raise UnsupportedError(f"torch does not tell its allocations on {asked.request.device}")
    if asked.request.is_graphed:
        raise UnsupportedError(
            "a replayed graph allocates nothing: its memory is set aside when it is captured; "
            "profile without --graph"
        )
    before_bytes = _held_bytes(asked.request.device)
    stream = ProfiledStream(asked, say)
    say("warming up")
    stream.warm_up()
    grown_bytes = _held_bytes(asked.request.device) - before_bytes
    say(f"profiling the memory of {shown.blocks(asked.num_blocks)}")
    timelines = [watched_block(stream, kind, at) for at in range(asked.num_blocks)]
    highest = max(timelines, key=lambda one: one.peak_bytes)
    facts = facts_of(asked, stream, statistics.median(one.block_ms for one in timelines))
    compared = compare(highest, stream.cost, stream.workload, grown_bytes)
    whole = MemoryProfile(
        schema_version=PROFILE_SCHEMA_VERSION,
        facts=facts,
        peaks_bytes=tuple(one.peak_bytes for one in timelines),
        resident_bytes=resident_bytes(stream.cost, stream.workload),
        timeline=highest,
        compared=compared,
        closing=memory_closing(facts, highest, compared),
    )
    write_together(
        folder,
        {
            FIGURE_NAME: to_png(memory_figure(whole)),
            PROFILE_NAME: to_json(whole).encode(),
            WORDS_NAME: memory_markdown(whole, FIGURE_NAME).encode(),
        },
    )
    return whole


def watched_block(stream: ProfiledStream, kind: str, block_index: int) -> MemoryTimeline:
    """Make the next block of a warm stream with every allocation watched."""
    with (
        garbage_kept(),
        without_profiler_notes(),
        allocations_seen() as seen,
        CallsPlaced(),
    ):
        stream.make_block(stream.watch(record_function))
    ranges = sorted(_ranges(seen.roots()), key=lambda one: one.begin_ns)
    (block,) = (one for one in ranges if one.name == BLOCK_RANGE)
    stages = [
        Range(told_stage(one.name, stream.workload), one.begin_ns, one.end_ns)
        for one in ranges
        if one.name != BLOCK_RANGE and not one.name.endswith(CALL_ONLY)
    ]
    inside = [one for one in _changes(seen, kind) if block.begin_ns <= one.at_ns <= block.end_ns]
    return memory_timeline(inside, block, stages, block_index)


def resident_bytes(cost: Cost, workload: Workload) -> int:
    """What is held from block to block, by arithmetic: weights, cache, and the codec's weights."""
    held = cost.footprint.weight_bytes + cost.footprint.cache_bytes
    return held + _codec_weights(cost, workload)


def compare(
    timeline: MemoryTimeline, cost: Cost, workload: Workload, grown_bytes: int
) -> tuple[Compared, ...]:
    """What was measured beside ``cost.footprint``.

    ``grown_bytes``: the growth of the resident set (on CUDA, of what torch had allocated) from
    before the model was built until it was warm.
    """
    codec_name = shown.STAGES["codec_decode"]
    model = [one.peak_bytes for one in timeline.stages if one.name != codec_name]
    codec = [one.peak_bytes for one in timeline.stages if one.name == codec_name]
    found = [
        Compared(
            RESIDENT,
            grown_bytes if grown_bytes > 0 else None,
            resident_bytes(cost, workload) + cost.footprint.workspace_bytes,
            None if grown_bytes > 0 else "nothing grew: the memory was there before",
        ),
        Compared(
            MODEL_ACTIVATIONS,
            max(model, default=None),
            cost.footprint.activation_bytes,
            None if model else "the block has no stage",
        ),
    ]
    if codec:
        widest = codec_bytes(workload) - _codec_weights(cost, workload)
        found.append(Compared(CODEC_ACTIVATIONS, codec[0], widest, None))
    return tuple(found)


class CallsPlaced(TorchFunctionMode):
    """Puts a range around each call of torch that is named by the line which made it."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        # Attributes such as a tensor's shape are asked for all the time, and allocate nothing; the
        # harness's own ranges are calls too, which would be closed inside out.
        if func.__name__ == "__get__" or "_record_function" in func.__name__:
            return func(*args, **(kwargs or {}))
        with record_function(f"{AT}{_own_place()}"):
            return func(*args, **(kwargs or {}))


def _own_place() -> str:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        told = told_path(frame.f_code.co_filename)
        if is_own(told):
            return f"{told}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def _ranges(roots: Sequence[Any]) -> Iterator[Range]:
    """The harness's ranges, outermost first, from torch's tree of events."""
    for event in roots:
        is_range = event.tag == _EventType.TorchOp and not _is_operator(event)
        if is_range and not event.name.startswith(AT):
            yield Range(event.name, event.start_time_ns, event.end_time_ns)
            yield from _ranges(event.children)


def _changes(seen: AllocationsSeen, kind: str) -> Iterator[Change]:
    """Allocations with the operators around them, from the innermost outwards, and their line."""
    for one in seen.changes(kind):
        operators: list[str] = []
        where, event = None, one.event.parent
        while event is not None and where is None:
            if event.name.startswith(AT):
                where = event.name.removeprefix(AT)
            elif _is_operator(event):
                operators.append(event.name)
            event = event.parent
        if one.num_bytes < 0:
            operators, where = [], None
        address = one.event.extra_fields.ptr
        yield Change(one.at_ns, one.num_bytes, address, tuple(operators), where or None)


def _is_operator(event: Any) -> bool:
    if event.tag != _EventType.TorchOp:
        return False
    return bool(event.extra_fields.scope != RecordScope.USER_SCOPE)


def _held_bytes(device: str) -> int:
    resident = baseline(device)
    return torch.cuda.memory_allocated(device) if device.startswith("cuda") else resident


def _codec_weights(cost: Cost, workload: Workload) -> int:
    return 0 if cost.codec is None else cost.codec.parameters * BYTES_PER_NUMBER[workload.dtype]
