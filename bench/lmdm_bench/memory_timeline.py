"""The memory that a block holds over its time, from every allocation and release, in order.

Sums alone: what was allocated is known to the byte, beyond what was held when the block began.
No torch.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MS_PER_NS = 1e-6
# Of an allocation of which no line of the project's code is known.
UNKNOWN_PLACE = "unknown"
NUM_HELD = 12

# Operators whose result holds what is held already, in another order, place or dtype.
COPYING = frozenset(
    f"aten::{name}"
    for name in (
        "_to_copy",
        "cat",
        "clone",
        "constant_pad_nd",
        "contiguous",
        "repeat",
        "repeat_interleave",
        "stack",
    )
)


@dataclass(frozen=True)
class Change:
    """An allocation, or with ``num_bytes`` below 0 a release, of the memory at an address.

    ``operators`` are those around it from the innermost outwards, ``where`` the file and line that
    called the outermost; both are empty for a release.
    """

    at_ns: int
    num_bytes: int
    address: int
    operators: tuple[str, ...] = ()
    where: str | None = None


@dataclass(frozen=True)
class Range:
    """The block or a stage of it."""

    name: str
    begin_ns: int
    end_ns: int


@dataclass(frozen=True)
class StageMemory:
    """A stage from begin to end in ms of the block, the most that was held in it and when, and
    what was held at its end; in bytes beyond what was held when the block began."""

    name: str
    begin_ms: float
    end_ms: float
    peak_bytes: int
    peak_ms: float
    end_bytes: int


@dataclass(frozen=True)
class Held:
    """What one line's calls of one operator held at the peak of the block or of a stage.

    ``is_copy``: a copying operator holds it, so the same numbers are held elsewhere too.
    """

    where: str
    operator: str
    num_bytes: int
    num_allocations: int
    is_copy: bool


@dataclass(frozen=True)
class MemoryTimeline:
    """One block. ``allocated_bytes[i]`` is held from ``times_ms[i]`` on, beyond what was held when
    the block began; a time is that since then under the profiler.

    ``held``: what is held at the peak, the largest first, at most ``NUM_HELD`` of them;
    ``held_bytes`` is the sum of all.
    """

    block_index: int
    block_ms: float
    times_ms: tuple[float, ...]
    allocated_bytes: tuple[int, ...]
    num_allocations: int
    allocated_sum_bytes: int
    peak_bytes: int
    peak_ms: float
    end_bytes: int
    stages: tuple[StageMemory, ...]
    held: tuple[Held, ...]
    held_bytes: int


def memory_timeline(
    changes: Sequence[Change], block: Range, stages: Iterable[Range], block_index: int
) -> MemoryTimeline:
    """The timeline of the block from all changes in it, in order."""
    levels = _levels(changes, block)
    peak_at = max(range(len(levels)), key=lambda at: levels[at][1])
    held = _held(changes[:peak_at])
    return MemoryTimeline(
        block_index=block_index,
        block_ms=_ms(block.end_ns, block),
        times_ms=tuple(_ms(at_ns, block) for at_ns, _ in levels),
        allocated_bytes=tuple(held_bytes for _, held_bytes in levels),
        num_allocations=sum(one.num_bytes > 0 for one in changes),
        allocated_sum_bytes=sum(max(0, one.num_bytes) for one in changes),
        peak_bytes=levels[peak_at][1],
        peak_ms=_ms(levels[peak_at][0], block),
        end_bytes=levels[-1][1],
        stages=tuple(_stage(levels, one, block) for one in stages),
        held=held[:NUM_HELD],
        held_bytes=sum(one.num_bytes for one in held),
    )


def stage_peaks(timeline: MemoryTimeline) -> dict[str, StageMemory]:
    """Of each name, in order, the stage with the highest peak: the later steps are many."""
    found: dict[str, StageMemory] = {}
    for stage in timeline.stages:
        if stage.name not in found or stage.peak_bytes > found[stage.name].peak_bytes:
            found[stage.name] = stage
    return found


def _levels(changes: Sequence[Change], block: Range) -> list[tuple[int, int]]:
    """When the level changed and what it was from then on; the first is the block's begin."""
    levels = [(block.begin_ns, 0)]
    for change in changes:
        levels.append((change.at_ns, levels[-1][1] + change.num_bytes))
    return levels


def _stage(levels: Sequence[tuple[int, int]], stage: Range, block: Range) -> StageMemory:
    before = [one for one in levels if one[0] <= stage.begin_ns][-1][1]
    inside = [(stage.begin_ns, before)]
    inside += [one for one in levels if stage.begin_ns < one[0] <= stage.end_ns]
    peak_ns, peak_bytes = max(inside, key=lambda one: one[1])
    return StageMemory(
        name=stage.name,
        begin_ms=_ms(stage.begin_ns, block),
        end_ms=_ms(stage.end_ns, block),
        peak_bytes=peak_bytes,
        peak_ms=_ms(peak_ns, block),
        end_bytes=inside[-1][1],
    )


def _held(changes: Iterable[Change]) -> tuple[Held, ...]:
    """What is left of the changes, by line and operator."""
    alive: dict[int, Change] = {}
    for change in changes:
        if change.num_bytes > 0:
            alive[change.address] = change
        else:
            alive.pop(change.address, None)
    groups: defaultdict[tuple[str, str, bool], list[int]] = defaultdict(list)
    for change in alive.values():
        operator = change.operators[-1] if change.operators else UNKNOWN_PLACE
        is_copy = not COPYING.isdisjoint(change.operators)
        groups[change.where or UNKNOWN_PLACE, operator, is_copy].append(change.num_bytes)
    held = [
        Held(where, operator, sum(sizes), len(sizes), is_copy)
        for (where, operator, is_copy), sizes in groups.items()
    ]
    return tuple(sorted(held, key=lambda one: (-one.num_bytes, one.where, one.operator)))


def _ms(at_ns: int, block: Range) -> float:
    return (at_ns - block.begin_ns) * MS_PER_NS
