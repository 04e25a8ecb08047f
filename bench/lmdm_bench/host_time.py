"""The time that Python takes between operators, by stage and by line, as sums over intervals.

Known on one clock are when torch's operators ran, when blocks and their stages began and ended, and
moments at which it was seen on which line Python is. Host time is what lies between operators and
is not waiting for a device. No torch.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

MS_PER_NS = 1e-6
# What of a block lies in none of its stages.
BETWEEN_STAGES = "between stages"


@dataclass(frozen=True)
class Moment:
    """Python was seen at ``at_ns``, and went on at ``until_ns``: the watcher took the time between.

    ``where`` is the innermost line of this project's code ("lmdm_ref/cache.py:12", None where there
    is none), ``function`` the one that it stands in.
    """

    at_ns: int
    until_ns: int
    where: str | None
    function: str
    is_waiting: bool


@dataclass(frozen=True)
class Span:
    """A block, a stage or an operator."""

    name: str
    begin_ns: int
    end_ns: int


@dataclass(frozen=True)
class HostStage:
    """One stage, in ms of a block: ``total_ms`` is the sum of the other three."""

    name: str
    total_ms: float
    operators_ms: float
    waiting_ms: float
    host_ms: float


@dataclass(frozen=True)
class HostLine:
    """What Python does between operators on one line, in ms of a block; ``share`` is of the block's
    time. ``num_visits``: how often it was seen there in a block."""

    where: str
    function: str
    host_ms: float
    share: float
    num_visits: float
    stages: tuple[str, ...]


@dataclass(frozen=True)
class HostTime:
    """Where the blocks' time went, in ms of a block; ``block_ms`` is the sum of the next three.

    ``waiting_ms`` is time in which Python waits for a device, 0 on a CPU.
    """

    num_blocks: int
    block_ms: float
    operators_ms: float
    waiting_ms: float
    host_ms: float
    stages: tuple[HostStage, ...]


@dataclass(frozen=True)
class Seen:
    """What was watched: blocks in order, stages in order, operators that do not overlap, and
    moments in order."""

    blocks: Sequence[Span]
    stages: Sequence[Span]
    operators: Sequence[Span]
    moments: Sequence[Moment]


def host_time(seen: Seen) -> HostTime:
    """The sums by stage; of the moments only those that are waiting count.

    Raises ValueError without a block.
    """
    if not seen.blocks:
        raise ValueError("no block was profiled")
    total: defaultdict[str, int] = defaultdict(int)
    operators: defaultdict[str, int] = defaultdict(int)
    waiting: defaultdict[str, int] = defaultdict(int)
    busy = _Busy(seen.operators)
    for name, sign, span in _parts(seen):
        total[name] += sign * (span.end_ns - span.begin_ns)
        operators[name] += sign * (busy.until_ns(span.end_ns) - busy.until_ns(span.begin_ns))
    for moment, stage, took_ns in _stretches(seen, busy):
        if moment.is_waiting:
            waiting[stage] += took_ns

    def ms(num_ns: int) -> float:
        return num_ns * MS_PER_NS / len(seen.blocks)

    stages = tuple(
        HostStage(
            name=name,
            total_ms=ms(total_ns),
            operators_ms=ms(operators[name]),
            waiting_ms=ms(waiting[name]),
            host_ms=ms(total_ns - operators[name] - waiting[name]),
        )
        for name, total_ns in total.items()
    )
    return HostTime(
        num_blocks=len(seen.blocks),
        block_ms=sum(one.total_ms for one in stages),
        operators_ms=sum(one.operators_ms for one in stages),
        waiting_ms=sum(one.waiting_ms for one in stages),
        host_ms=sum(one.host_ms for one in stages),
        stages=stages,
    )


def host_lines(seen: Seen, found: HostTime) -> tuple[HostLine, ...]:
    """The lines, longest first: they share ``found``'s host time as they share that of ``seen``,
    where each call and return is a moment and watching takes longer."""
    lines: defaultdict[tuple[str, str], _Line] = defaultdict(_Line)
    for moment, stage, took_ns in _stretches(seen, _Busy(seen.operators)):
        if moment.where is not None and not moment.is_waiting and took_ns > 0:
            line = lines[moment.where, moment.function]
            line.took_ns += took_ns
            line.num_visits += 1
            line.stages[stage] = None
    whole_ns = sum(one.took_ns for one in lines.values())
    told = [
        HostLine(
            where=where,
            function=function,
            host_ms=found.host_ms * one.took_ns / whole_ns,
            share=found.host_ms * one.took_ns / whole_ns / found.block_ms,
            num_visits=one.num_visits / len(seen.blocks),
            stages=tuple(one.stages),
        )
        for (where, function), one in lines.items()
    ]
    return tuple(sorted(told, key=lambda one: (-one.host_ms, one.where)))


@dataclass
class _Line:
    took_ns: int = 0
    num_visits: int = 0
    stages: dict[str, None] = field(default_factory=dict)


class _Busy:
    """When operators ran."""

    def __init__(self, operators: Iterable[Span]) -> None:
        spans = sorted(operators, key=lambda one: one.begin_ns)
        self._begins = [one.begin_ns for one in spans]
        self._ends = [one.end_ns for one in spans]
        self._before = [0]
        for one in spans:
            self._before.append(self._before[-1] + one.end_ns - one.begin_ns)

    def until_ns(self, at_ns: int) -> int:
        """How long operators had run by then."""
        begun = bisect_right(self._begins, at_ns)
        rest = max(0, self._ends[begun - 1] - at_ns) if begun else 0
        return self._before[begun] - rest

    def idle_since_ns(self, at_ns: int) -> int:
        """When the last operator had ended by then; that moment itself while one runs."""
        begun = bisect_left(self._begins, at_ns)
        return min(self._ends[begun - 1], at_ns) if begun else 0


def _parts(seen: Seen) -> Iterator[tuple[str, int, Span]]:
    """Each stage, and as the last name what is left of the blocks: the block less its stages."""
    inner = [one for one in seen.stages if _around(seen.blocks, one.begin_ns) is not None]
    for stage in inner:
        yield stage.name, 1, stage
    for block in seen.blocks:
        yield BETWEEN_STAGES, 1, block
    for stage in inner:
        yield BETWEEN_STAGES, -1, stage


def _stretches(seen: Seen, busy: _Busy) -> Iterator[tuple[Moment, str, int]]:
    """Each moment in a block with its stage and the time right before it in which no operator ran:
    since the last one, since the moment before, or since the block began."""
    before_ns = 0
    for moment in seen.moments:
        block = _around(seen.blocks, moment.at_ns)
        if block is not None:
            idle_ns = busy.idle_since_ns(moment.at_ns)
            begin_ns = max(before_ns, block.begin_ns, idle_ns)
            took_ns = max(0, moment.at_ns - begin_ns)
            stage = _around(seen.stages, moment.at_ns - took_ns // 2)
            yield moment, BETWEEN_STAGES if stage is None else stage.name, took_ns
        before_ns = moment.until_ns


def _around(spans: Sequence[Span], at_ns: int) -> Span | None:
    """The span that holds a moment; spans are in order and apart."""
    index = bisect_right(spans, at_ns, key=lambda one: one.begin_ns) - 1
    return spans[index] if index >= 0 and at_ns <= spans[index].end_ns else None
