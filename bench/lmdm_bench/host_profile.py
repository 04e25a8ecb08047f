"""A profile of the host from request to files: pyinstrument's pages, the numbers, their words.

Blocks are made twice. First pyinstrument samples the stack for its pages, and torch's profiler
tells when operators ran: Python calls many by a sign (``a @ b``), which no sampler sees. Then a few
more are made with every call and return looked at, for the lines. What is profiled is never timed:
nothing here writes a run's record, and no report reads what it writes.
"""

import statistics
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pyinstrument import Profiler
from pyinstrument.frame_info import (
    ATTRIBUTE_MARKER_LINE_NUMBER,
    ATTRIBUTES_SEP,
    parse_frame_info,
)
from pyinstrument.renderers import HTMLRenderer, SpeedscopeRenderer
from pyinstrument.session import Session
from torch._C._profiler import RecordScope, _EventType
from torch.profiler import ProfilerActivity, profile, record_function

from lmdm_bench import format as shown
from lmdm_bench.clock import CALL_ONLY
from lmdm_bench.code_places import SITE_PACKAGES, STANDARD_LIBRARY, is_own, told_path
from lmdm_bench.host_profile_words import host_closing, host_markdown
from lmdm_bench.host_time import Moment, Seen, Span, host_lines, host_time
from lmdm_bench.line_trace import WAITING, lines_traced
from lmdm_bench.out_folder import PROFILE_NAME
from lmdm_bench.profile_facts import facts_of
from lmdm_bench.profile_record import (
    PROFILE_SCHEMA_VERSION,
    WORDS_NAME,
    HostProfile,
)
from lmdm_bench.profile_stages import told_stage
from lmdm_bench.profiled_stream import BLOCK_RANGE, ProfileAsked, ProfiledStream
from lmdm_bench.profiler_notes import without_profiler_notes
from lmdm_bench.record import Workload, to_json
from lmdm_bench.stream_run import frozen_garbage
from lmdm_bench.whole_files import write_together

HTML_NAME, SPEEDSCOPE_NAME = "profile.html", "profile.speedscope.json"

# A sample itself takes about a tenth of this, which falls on the code that is sampled.
INTERVAL_SECONDS = 0.0002

NS_PER_SECOND = 1e9
MS_PER_SECOND = 1e3
# Looking at every call makes a block several times as long.
MOST_TRACED_BLOCKS = 3
# The harness's function that makes a block: what lies below it in a stack is of one stage.
MAKING = "make_block"


@dataclass(frozen=True)
class Watched:
    """What the two profilers saw of the same blocks, and how long each block took."""

    session: Session
    session_begin_ns: int
    seen: Seen
    times_ms: tuple[float, ...]


def run_profile_host(asked: ProfileAsked, folder: Path, say: Callable[[str], None]) -> HostProfile:
    """Profile a stream's blocks and write four files into the folder: a page for a browser, the
    same for speedscope, the numbers, and their words. All of them or none.

    Raises InputError and UnsupportedError as ``ProfiledStream`` does.
    """
    stream = ProfiledStream(asked, say)
    say("warming up")
    stream.warm_up()
    say(f"sampling {shown.blocks(asked.num_blocks)}")
    watched = sampled(stream, asked.num_blocks)
    num_traced = min(asked.num_blocks, MOST_TRACED_BLOCKS)
    say(f"tracing the lines of {shown.blocks(num_traced)}")
    found = host_time(watched.seen)
    lines = host_lines(traced(stream, num_traced), found)
    facts = facts_of(asked, stream, statistics.median(watched.times_ms))
    whole = HostProfile(
        schema_version=PROFILE_SCHEMA_VERSION,
        facts=facts,
        interval_ms=INTERVAL_SECONDS * MS_PER_SECOND,
        num_samples=watched.session.sample_count,
        num_traced_blocks=num_traced,
        host=found,
        lines=lines,
        closing=host_closing(facts, found, lines),
    )
    session = told_session(watched, f"{asked.scheme}, {shown.blocks(asked.num_blocks)}")
    write_together(
        folder,
        {
            HTML_NAME: HTMLRenderer().render(session).encode(),
            SPEEDSCOPE_NAME: SpeedscopeRenderer().render(session).encode(),
            PROFILE_NAME: to_json(whole).encode(),
            WORDS_NAME: host_markdown(whole).encode(),
        },
    )
    return whole


def sampled(stream: ProfiledStream, num_blocks: int) -> Watched:
    """Make blocks of a warm stream under pyinstrument and torch's profiler."""
    # The first start also measures what reading the clock takes, between our two beginnings.
    with Profiler(INTERVAL_SECONDS, "disabled"):
        pass
    sampler = Profiler(INTERVAL_SECONDS, "disabled")
    times = []
    with operators_seen() as watched:
        sampler.start()
        begin_ns = time.time_ns()
        try:
            for _ in range(num_blocks):
                times.append(stream.make_block(stream.watch(record_function)))
        finally:
            session = sampler.stop()
    moments = list(_moments(session, begin_ns))
    return Watched(session, begin_ns, _seen(watched, moments, stream.workload), tuple(times))


def traced(stream: ProfiledStream, num_blocks: int) -> Seen:
    """Make blocks with every call and return looked at."""
    with operators_seen() as watched, lines_traced() as trace:
        for _ in range(num_blocks):
            stream.make_block(stream.watch(record_function))
    return _seen(watched, list(trace.moments()), stream.workload)


@contextmanager
def operators_seen() -> Iterator[profile]:
    """Torch's profiler watches operators and ranges, and no garbage is collected."""
    watched = profile(activities=[ProfilerActivity.CPU], acc_events=True)
    with frozen_garbage(), without_profiler_notes(), watched:
        yield watched


def told_session(watched: Watched, title: str) -> Session:
    """The session to be shown: with each stage as a frame, and nothing of the machine's folders."""
    session, moments = watched.session, watched.seen.moments
    records = [
        ([_told(frame) for frame in _staged(stack, _stage_at(watched.seen, one.at_ns))], seconds)
        for one, (stack, seconds) in zip(moments, session.frame_records, strict=True)
    ]
    return Session(
        frame_records=records,
        start_time=session.start_time,
        duration=session.duration,
        min_interval=session.min_interval,
        max_interval=session.max_interval,
        sample_count=session.sample_count,
        start_call_stack=[_told(frame) for frame in session.start_call_stack],
        target_description=title,
        cpu_time=session.cpu_time,
        sys_path=[],
        sys_prefixes=[SITE_PACKAGES, STANDARD_LIBRARY],
    )


def _moments(session: Session, begin_ns: int) -> Iterator[Moment]:
    """Each sample with the innermost line of this project's code."""
    at_seconds = 0.0
    for stack, seconds in session.frame_records:
        at_seconds += seconds
        at_ns = begin_ns + round(at_seconds * NS_PER_SECOND)
        where, function, is_waiting = None, "", False
        for name, path, line in map(_parts, stack):
            told = told_path(path)
            if is_own(told):
                where, function, is_waiting = f"{told}:{line}", name, False
            is_waiting = is_waiting or name == WAITING
        yield Moment(at_ns, at_ns, where, function, is_waiting)


def _seen(watched: profile, moments: Sequence[Moment], workload: Workload) -> Seen:
    whole = watched.profiler
    assert whole is not None and whole.kineto_results is not None, "the profiler has not run"
    events = sorted(
        _spans(whole.kineto_results.experimental_event_tree()), key=lambda one: one[1].begin_ns
    )
    ranges = [one for is_range, one in events if is_range and not one.name.endswith(CALL_ONLY)]
    return Seen(
        blocks=[one for one in ranges if one.name == BLOCK_RANGE],
        stages=[
            replace(one, name=told_stage(one.name, workload))
            for one in ranges
            if one.name != BLOCK_RANGE
        ],
        operators=[one for is_range, one in events if not is_range],
        moments=moments,
    )


def _spans(events: Iterable[Any]) -> Iterator[tuple[bool, Span]]:
    """Ranges (True) and, inside them, the outermost operators (False) of torch's event tree."""
    for event in events:
        is_operator = event.tag == _EventType.TorchOp
        if is_operator:
            is_range = event.extra_fields.scope == RecordScope.USER_SCOPE
            yield is_range, Span(event.name, event.start_time_ns, event.end_time_ns)
        if not is_operator or is_range:
            yield from _spans(event.children)


def _stage_at(seen: Seen, at_ns: int) -> str | None:
    index = bisect_right(seen.stages, at_ns, key=lambda one: one.begin_ns) - 1
    if index < 0 or seen.stages[index].end_ns < at_ns:
        return None
    return seen.stages[index].name


def _staged(stack: Sequence[str], stage: str | None) -> list[str]:
    """The stack with the stage's name as a frame around what is done in it."""
    making = [at for at, frame in enumerate(stack) if _parts(frame)[0] == MAKING]
    if stage is None or not making:
        return list(stack)
    inside = making[-1] + 1
    return [*stack[:inside], f"{stage}\0<stage>\00", *stack[inside:]]


def _parts(frame: str) -> tuple[str, str, int]:
    """The function, the file and the line of one of pyinstrument's frames."""
    identifier, attributes = parse_frame_info(frame)
    name, path, first_line = identifier.split("\0")
    lines = [int(one[1:]) for one in attributes if one.startswith(ATTRIBUTE_MARKER_LINE_NUMBER)]
    return name, path, lines[0] if lines else int(first_line)


def _told(frame: str) -> str:
    """The frame without the machine's folders and numbers."""
    identifier, mark, attributes = frame.partition(ATTRIBUTES_SEP)
    name, path, first_line = identifier.split("\0")
    line = "0" if path.startswith("<") else first_line
    return f"{name}\0{told_path(path)}\0{line}{mark}{attributes}"
