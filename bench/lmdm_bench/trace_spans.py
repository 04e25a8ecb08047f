"""A trace of torch.profiler as blocks, the stages of each, and what ran in them (no torch).

The harness's blocks and stages are ranges in the trace. Operators are those of the thread that made
the blocks; what a device did has its own times, and the moment at which the host launched it.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MS_PER_US = 1e-3

# How the harness's ranges are called in a trace.
BLOCK = "block"
STAGE_PREFIX = "stage:"
# What is left of a block outside its stages, as in a record.
HOST = "host"

# What is added to an operator's arguments in the trace: the file and line that called it.
PLACE = "call site"

RANGE_CATEGORY = "user_annotation"
DEVICE_CATEGORIES = frozenset(("kernel", "gpu_memcpy", "gpu_memset"))
RUNTIME_CATEGORIES = frozenset(("cuda_runtime", "cuda_driver"))


@dataclass
class Op:
    """An operator call of the trace, with those that it made."""

    name: str
    start: float
    end: float
    args: MutableMapping[str, Any]
    parts: list["Op"] = field(default_factory=list)
    kernels: list["Kernel"] = field(default_factory=list)

    @property
    def ms(self) -> float:
        return (self.end - self.start) * MS_PER_US

    @property
    def own_ms(self) -> float:
        return max(0.0, self.ms - sum(one.ms for one in self.parts))

    def walk(self) -> Iterator["Op"]:
        yield self
        for part in self.parts:
            yield from part.walk()


@dataclass
class Kernel:
    """Work of a device, and the call on the host that launched it."""

    name: str
    start: float
    end: float
    launched_by: str

    @property
    def ms(self) -> float:
        return (self.end - self.start) * MS_PER_US


@dataclass
class Span:
    """A stage of one block; ``host`` is what lies between the others, in several pieces."""

    name: str
    pieces: list[tuple[float, float]]
    ops: list[Op] = field(default_factory=list)
    kernels: list[Kernel] = field(default_factory=list)
    # Kernels that no operator launched, such as a graph's.
    strays: list[Kernel] = field(default_factory=list)

    @property
    def wall_ms(self) -> float:
        return sum(end - start for start, end in self.pieces) * MS_PER_US


def blocks_of(events: Sequence[MutableMapping[str, Any]]) -> Iterator[list[Span]]:
    """The spans of each block, with their operators and kernels, from a trace's events."""
    whole = [one for one in events if one.get("ph") == "X"]
    ranges = [one for one in whole if one.get("cat") == RANGE_CATEGORY]
    roots = _roots([one for one in whole if one.get("cat") == "cpu_op"], ranges)
    kernels = _kernels(whole)
    for block in sorted((one for one in ranges if one["name"] == BLOCK), key=_start):
        start, end = _start(block), _end(block)
        inner = [
            one
            for one in ranges
            if str(one["name"]).startswith(STAGE_PREFIX) and start <= _start(one) < end
        ]
        spans = _spans(start, end, sorted(inner, key=_start))
        _fill(spans, roots, kernels)
        yield spans


def stage_ends(events: Sequence[Mapping[str, Any]]) -> list[float]:
    """The moments, in order and in the trace's microseconds, at which a block's stage ends."""
    return sorted(
        _end(one)
        for one in events
        if one.get("cat") == RANGE_CATEGORY and str(one["name"]).startswith(STAGE_PREFIX)
    )


def gaps_ms(span: Span, busy: Sequence[Op | Kernel]) -> list[float]:
    """The times in which nothing runs in each piece of a span: before, between and after."""
    gaps = []
    for start, end in span.pieces:
        reached = start
        for one in busy:
            if start <= one.start < end:
                gaps.append(max(0.0, one.start - reached) * MS_PER_US)
                reached = max(reached, min(one.end, end))
        gaps.append(max(0.0, end - reached) * MS_PER_US)
    return gaps


def _spans(start: float, end: float, stages: Sequence[MutableMapping[str, Any]]) -> list[Span]:
    """The stages of a block and, as one more, the pieces between them."""
    spans = [
        Span(str(one["name"]).removeprefix(STAGE_PREFIX), [(_start(one), _end(one))])
        for one in stages
    ]
    edges = [start, *(edge for span in spans for edge in span.pieces[0]), end]
    pieces = [one for one in zip(edges[::2], edges[1::2], strict=True) if one[0] < one[1]]
    return [*spans, Span(HOST, pieces)]


def _fill(
    spans: Sequence[Span], roots: Sequence[Op], kernels: Sequence[tuple[Kernel, float | None]]
) -> None:
    """Operators and kernels into the spans in which they begin; a kernel also to its operator."""
    pieces = [(*piece, span) for span in spans for piece in span.pieces]
    pieces.sort(key=lambda one: one[0])
    starts = [start for start, _, _ in pieces]

    def span_at(moment: float) -> Span | None:
        index = bisect_right(starts, moment) - 1
        return pieces[index][2] if index >= 0 and moment < pieces[index][1] else None

    for op in roots:
        span = span_at(op.start)
        if span is not None:
            span.ops.append(op)
    op_starts = [op.start for op in roots]
    for kernel, launched in kernels:
        span = span_at(kernel.start)
        if span is None:
            continue
        span.kernels.append(kernel)
        index = -1 if launched is None else bisect_right(op_starts, launched) - 1
        if index >= 0 and launched is not None and launched < roots[index].end:
            roots[index].kernels.append(kernel)
        else:
            span.strays.append(kernel)


def _roots(
    events: Sequence[MutableMapping[str, Any]], ranges: Sequence[Mapping[str, Any]]
) -> list[Op]:
    """The outermost operators of the thread that makes the blocks, in order."""
    threads = {one.get("tid") for one in ranges if one["name"] == BLOCK}
    mine = [one for one in events if one.get("tid") in threads]
    roots: list[Op] = []
    open_ops: list[Op] = []
    for event in sorted(mine, key=lambda one: (_start(one), -_end(one))):
        op = Op(str(event["name"]), _start(event), _end(event), event.setdefault("args", {}))
        while open_ops and op.start >= open_ops[-1].end:
            open_ops.pop()
        (open_ops[-1].parts if open_ops else roots).append(op)
        open_ops.append(op)
    return roots


def _kernels(events: Sequence[MutableMapping[str, Any]]) -> list[tuple[Kernel, float | None]]:
    """The device's work in order, each with the moment at which the host launched it."""
    launches = {
        one["args"]["correlation"]: one
        for one in events
        if one.get("cat") in RUNTIME_CATEGORIES and "correlation" in (one.get("args") or {})
    }
    found = []
    for event in sorted(events, key=_start):
        if event.get("cat") in DEVICE_CATEGORIES:
            launch = launches.get((event.get("args") or {}).get("correlation"))
            by = "" if launch is None else str(launch["name"])
            kernel = Kernel(str(event["name"]), _start(event), _end(event), by)
            found.append((kernel, None if launch is None else _start(launch)))
    return found


def _start(event: Mapping[str, Any]) -> float:
    return float(event["ts"])


def _end(event: Mapping[str, Any]) -> float:
    return float(event["ts"]) + float(event.get("dur", 0.0))
