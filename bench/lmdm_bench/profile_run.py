"""A profile by torch.profiler from request to files: the trace, its numbers, and their words.

What is profiled is never timed: nothing here writes a run's record, and no report reads what it
writes.
"""

import json
import statistics
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from lmdm_bench.chrome_trace import (
    chrome_trace_bytes,
    cleaned_trace,
    fitting_trace,
    trace_until,
)
from lmdm_bench.errors import UnsupportedError
from lmdm_bench.operator_profile import reduce_trace
from lmdm_bench.operator_record import TorchProfile
from lmdm_bench.operator_words import profile_page, trace_words
from lmdm_bench.out_folder import PROFILE_NAME
from lmdm_bench.profile_facts import facts_of
from lmdm_bench.profile_record import PROFILE_SCHEMA_VERSION, WORDS_NAME
from lmdm_bench.profiled_stream import BLOCK_RANGE, ProfileAsked, ProfiledStream
from lmdm_bench.profiler_notes import without_profiler_notes
from lmdm_bench.record import to_json
from lmdm_bench.stream_run import frozen_garbage
from lmdm_bench.trace_spans import BLOCK, STAGE_PREFIX, stage_ends
from lmdm_bench.whole_files import write_together

TRACE_NAME = "trace.json"

# A trace larger than this takes Perfetto minutes to open: what does not fit is cut off by stages.
MOST_TRACE_BYTES = 48 << 20
# The profiler's own export takes about three kilobytes a call, and several times that once read.
MOST_CALLS = 200_000


def run_profile_torch(
    asked: ProfileAsked, folder: Path, say: Callable[[str], None]
) -> TorchProfile:
    """Profile ``asked.num_blocks`` blocks, or as many as ``MOST_CALLS`` allow, and write a trace,
    the numbers and their words into the folder: all of the files or none.

    Raises UnsupportedError for a device that the profiler does not see, InputError and
    UnsupportedError as ``ProfiledStream`` does.
    """
    if asked.request.device.partition(":")[0] == "mps":
        raise UnsupportedError(
            "torch.profiler does not see what an Apple GPU does; use --device cpu"
        )
    from lmdm_bench.call_sites import call_sites, name_places

    stream = ProfiledStream(asked, say)
    say("warming up")
    stream.warm_up()
    sites = call_sites(stream)
    num_calls = max(sum(map(len, block.values())) for block in sites)
    num_blocks = max(1, min(asked.num_blocks, MOST_CALLS // max(1, num_calls)))
    if num_blocks < asked.num_blocks:
        say(f"a block makes {num_calls} calls of operators: {num_blocks} of them can be traced")
    say(f"profiling operators, blocks: {num_blocks}")
    trace, times_ms = traced(stream, num_blocks)
    say("reading the trace")
    name_places(trace, sites)
    profile = reduce_trace(trace, stream.ceiling)
    clean = cleaned_trace(trace)
    ends = stage_ends(clean["traceEvents"])
    trace_stages = fitting_trace(clean, MOST_TRACE_BYTES, ends)
    if trace_stages < len(ends):
        clean = trace_until(clean, ends[trace_stages - 1])
    record = TorchProfile(
        schema_version=PROFILE_SCHEMA_VERSION,
        facts=facts_of(asked, stream, statistics.median(times_ms)),
        trace_stages=trace_stages,
        num_stages=len(ends),
        profile=profile,
    )
    if trace_stages < len(ends):
        say(trace_words(record))
    write_together(
        folder,
        {
            TRACE_NAME: chrome_trace_bytes(clean),
            PROFILE_NAME: to_json(record).encode("utf-8"),
            WORDS_NAME: profile_page(record).encode("utf-8"),
        },
    )
    return record


def traced(stream: ProfiledStream, num_blocks: int) -> tuple[dict[str, Any], list[float]]:
    """Make blocks of a warm stream under torch.profiler: its export, and the blocks' times in ms.

    Without stacks: they name the line in which a function begins, and prolong every Python call.
    """
    import torch
    from torch.profiler import ProfilerActivity, profile, record_function

    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)

    def open_range(name: str) -> AbstractContextManager[object]:
        return record_function(BLOCK if name == BLOCK_RANGE else f"{STAGE_PREFIX}{name}")

    watched = profile(activities=activities, record_shapes=True)
    with frozen_garbage(), without_profiler_notes(), watched:
        times_ms = [stream.make_block(stream.watch(open_range)) for _ in range(num_blocks)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / TRACE_NAME
        watched.export_chrome_trace(str(path))
        trace: dict[str, Any] = json.loads(path.read_bytes())
    return trace, times_ms
