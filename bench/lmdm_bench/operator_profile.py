"""What a trace of operators says, in numbers: stages, launches, gaps, call sites, and fractions.

The trace is torch.profiler's, as a dictionary; the harness's blocks and stages are ranges in it.
Times are of the profiled blocks, means of one block. No torch.

On CUDA the device's kernels are timed, and a stage's gap is the time in which none runs. On a CPU
the operators are: *computing* is the time inside those that compute or move numbers, *dispatch* the
rest of the time inside operators (views, room for results, operators that call others), the *gap*
is the time in which no operator runs.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lmdm_bench.operator_bound import Call, Work, is_computing, stands_for_its_parts, work_of
from lmdm_bench.record import Ceiling
from lmdm_bench.trace_spans import PLACE, Kernel, Op, Span, blocks_of, gaps_ms

CODEC = "codec_decode"
UNKNOWN_PLACE = "unknown"
GRAPH_REPLAY = "graph replay"

# What belongs to attention, by the file of the call or by the name of an operator or a kernel, and
# which kernels are matrix products.
ATTENTION_FILE = "lmdm_ref/attention.py:"
_ATTENTION_WORDS = ("attention", "flash", "fmha")
_PRODUCT_WORDS = ("gemm", "gemv", "cutlass", "xmma")


@dataclass(frozen=True)
class OperatorRow:
    """An operator's own time (a kernel's on CUDA), without that of what it calls; ``share`` is of
    its stage."""

    name: str
    num_calls: float
    ms: float
    share: float


@dataclass(frozen=True)
class StageProfile:
    """One stage of a block; ``share`` is of the block.

    ``num_launches``: kernels, or on a CPU the operator calls that compute or move numbers.
    ``wall_ms`` is the sum of ``computing_ms``, ``dispatch_ms`` (None on CUDA, where it goes on
    beside the kernels) and ``gap_ms``. ``operators``: those that took longest first, all of them.
    """

    name: str
    wall_ms: float
    share: float
    num_launches: float
    computing_ms: float
    dispatch_ms: float | None
    gap_ms: float
    longest_gap_ms: float
    operators: tuple[OperatorRow, ...]


@dataclass(frozen=True)
class CallSite:
    """What one line's calls of one operator cost in a block, codec included.

    ``where``: file and line of the innermost frame in ``lmdm_ref``, ``lmdm_kernels`` or
    ``lmdm_bench``. ``ms`` has all that the operator calls in it. ``bound_ms``: the time that its
    FLOPs or bytes take at least, 0 for moving data; None where its shapes do not tell.
    """

    operator: str
    where: str
    num_calls: float
    ms: float
    bound_ms: float | None
    is_movement: bool
    stages: tuple[str, ...]

    @property
    def avoidable_ms(self) -> float | None:
        """The time beyond the bound."""
        return None if self.bound_ms is None else max(0.0, self.ms - self.bound_ms)


@dataclass(frozen=True)
class Totals:
    """A block's parts in ms, without its codec except for ``codec_ms``: see
    ``profile_words.Fractions``. ``products_ms`` are the matrix products with weights."""

    block_ms: float
    codec_ms: float
    overhead_ms: float
    attention_ms: float
    products_ms: float


@dataclass(frozen=True)
class OperatorProfile:
    """The reduced profile. ``is_of_device``: kernels of a device were timed, not operators."""

    num_blocks: int
    is_of_device: bool
    stages: tuple[StageProfile, ...]
    call_sites: tuple[CallSite, ...]
    totals: Totals


def reduce_trace(trace: Mapping[str, Any], ceiling: Ceiling) -> OperatorProfile:
    """A trace's profile. Operators whose line the trace does not tell (``trace_spans.PLACE``) stand
    under ``UNKNOWN_PLACE``.

    Raises ValueError for a trace without a block.
    """
    blocks = list(blocks_of(trace["traceEvents"]))
    if not blocks:
        raise ValueError("the trace has no range of a block")
    is_of_device = any(span.kernels for block in blocks for span in block)
    sums = _Sums(ceiling, is_of_device)
    for block in blocks:
        for span in block:
            sums.add(span)
    return sums.profile(len(blocks))


@dataclass
class _StageSum:
    wall_ms: float = 0.0
    num_launches: int = 0
    computing_ms: float = 0.0
    gap_ms: float = 0.0
    longest_gap_ms: float = 0.0
    calls: Counter[str] = field(default_factory=Counter)
    ms: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, name: str, ms: float, is_launch: bool) -> None:
        """One operator's or kernel's own time."""
        self.calls[name] += 1
        self.ms[name] += ms
        self.num_launches += is_launch


@dataclass
class _SiteSum:
    num_calls: int = 0
    ms: float = 0.0
    bound_ms: float = 0.0
    is_known: bool = True
    is_movement: bool = True
    stages: dict[str, None] = field(default_factory=dict)


class _Sums:
    """Spans of all blocks, added up."""

    def __init__(self, ceiling: Ceiling, is_of_device: bool) -> None:
        self._ceiling = ceiling
        self._is_of_device = is_of_device
        self._stages: dict[str, _StageSum] = {}
        self._sites: defaultdict[tuple[str, str], _SiteSum] = defaultdict(_SiteSum)
        self._attention_ms = self._products_ms = 0.0

    def add(self, span: Span) -> None:
        stage = self._stages.setdefault(span.name, _StageSum())
        stage.wall_ms += span.wall_ms
        gaps = gaps_ms(span, span.kernels if self._is_of_device else span.ops)
        stage.gap_ms += sum(gaps)
        stage.longest_gap_ms = max((stage.longest_gap_ms, *gaps))
        if self._is_of_device:
            stage.computing_ms += span.wall_ms - sum(gaps)
            for kernel in span.kernels:
                stage.add(kernel.name, kernel.ms, is_launch=True)
        else:
            for op in (one for root in span.ops for one in root.walk()):
                is_launch = is_computing(op.name)
                stage.computing_ms += op.own_ms if is_launch else 0.0
                stage.add(op.name, op.own_ms, is_launch)
        for op in span.ops:
            self._add_call(op, span.name)
        for kernel in span.strays:
            self._add_stray(kernel, span.name)

    def _add_call(self, op: Op, stage: str) -> None:
        where = str(op.args.get(PLACE, UNKNOWN_PLACE))
        ms = sum(one.ms for one in op.kernels) if self._is_of_device else op.ms
        works = list(_works(op))
        site = self._sites[op.name, where]
        site.num_calls += 1
        site.ms += ms
        site.is_known &= None not in works
        site.bound_ms += sum(one.bound_ms(self._ceiling) for one in works if one is not None)
        site.is_movement &= bool(works) and all(
            one is not None and one.is_movement for one in works
        )
        site.stages[stage] = None
        if stage == CODEC:
            return
        computing_ms = ms if self._is_of_device else _computing_ms(op)
        if where.startswith(ATTENTION_FILE) or _has_word(op.name, _ATTENTION_WORDS):
            self._attention_ms += computing_ms
        elif any(one is not None and one.is_product for one in works):
            self._products_ms += computing_ms

    def _add_stray(self, kernel: Kernel, stage: str) -> None:
        """A kernel that no operator of the trace launched: its line is not known."""
        is_replayed = "GraphLaunch" in kernel.launched_by
        site = self._sites[GRAPH_REPLAY if is_replayed else kernel.name, UNKNOWN_PLACE]
        site.num_calls += 1
        site.ms += kernel.ms
        site.is_known = site.is_movement = False
        site.stages[stage] = None
        if stage == CODEC:
            return
        if _has_word(kernel.name, _ATTENTION_WORDS):
            self._attention_ms += kernel.ms
        elif _has_word(kernel.name, _PRODUCT_WORDS):
            self._products_ms += kernel.ms

    def profile(self, num_blocks: int) -> OperatorProfile:
        block_ms = sum(one.wall_ms for one in self._stages.values()) / num_blocks
        return OperatorProfile(
            num_blocks=num_blocks,
            is_of_device=self._is_of_device,
            stages=tuple(
                self._stage(name, one, num_blocks, block_ms) for name, one in self._stages.items()
            ),
            call_sites=self._call_sites(num_blocks),
            totals=self._totals(num_blocks, block_ms),
        )

    def _stage(self, name: str, one: _StageSum, num_blocks: int, block_ms: float) -> StageProfile:
        dispatch_ms = None
        if not self._is_of_device:
            dispatch_ms = max(0.0, one.wall_ms - one.computing_ms - one.gap_ms) / num_blocks
        rows = sorted(one.ms.items(), key=lambda item: -item[1])
        return StageProfile(
            name=name,
            wall_ms=one.wall_ms / num_blocks,
            share=one.wall_ms / num_blocks / block_ms,
            num_launches=one.num_launches / num_blocks,
            computing_ms=one.computing_ms / num_blocks,
            dispatch_ms=dispatch_ms,
            gap_ms=one.gap_ms / num_blocks,
            longest_gap_ms=one.longest_gap_ms,
            operators=tuple(
                OperatorRow(
                    operator, one.calls[operator] / num_blocks, ms / num_blocks, ms / one.wall_ms
                )
                for operator, ms in rows
            ),
        )

    def _call_sites(self, num_blocks: int) -> tuple[CallSite, ...]:
        sites = [
            CallSite(
                operator=operator,
                where=where,
                num_calls=one.num_calls / num_blocks,
                ms=one.ms / num_blocks,
                bound_ms=one.bound_ms / num_blocks if one.is_known else None,
                is_movement=one.is_movement,
                stages=tuple(one.stages),
            )
            for (operator, where), one in self._sites.items()
        ]
        return tuple(sorted(sites, key=lambda one: -one.ms))

    def _totals(self, num_blocks: int, block_ms: float) -> Totals:
        others = [one for name, one in self._stages.items() if name != CODEC]
        codec = self._stages.get(CODEC, _StageSum())
        return Totals(
            block_ms=block_ms,
            codec_ms=codec.wall_ms / num_blocks,
            overhead_ms=sum(one.wall_ms - one.computing_ms for one in others) / num_blocks,
            attention_ms=self._attention_ms / num_blocks,
            products_ms=self._products_ms / num_blocks,
        )


def _works(op: Op) -> Iterator[Work | None]:
    """The least work of an operator's computing parts; None for one whose shapes do not tell."""
    if not stands_for_its_parts(op.name):
        for part in op.parts:
            yield from _works(part)
        return
    args = op.args
    yield work_of(
        Call(
            name=op.name,
            shapes=tuple(tuple(one) for one in args.get("Input Dims", ())),
            dtypes=tuple(args.get("Input type", ())),
            concrete=tuple(args.get("Concrete Inputs", ())),
        )
    )


def _computing_ms(op: Op) -> float:
    return sum(one.own_ms for one in op.walk() if is_computing(one.name))


def _has_word(name: str, words: Sequence[str]) -> bool:
    return any(word in name.lower() for word in words)
