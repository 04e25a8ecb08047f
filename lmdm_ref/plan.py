"""Who may see whom: rows of a query span and at most two key spans (no torch).

A plan is data, never a tensor mask: kernels loop over its spans, FLOPs are counted from it, and the
dense mask that tests draw comes from it. Paper, section 4.1: the encoder-decoder and block-causal
attention patterns; ``reports/decisions/0001`` for the number of visible blocks.
"""

from collections.abc import Iterable
from typing import NamedTuple

from lmdm_ref.arena import Arena, Span
from lmdm_ref.geometry import Geometry


class Row(NamedTuple):
    """The queries of one span see the keys of one or two spans, in ascending order."""

    queries: Span
    keys: tuple[Span, ...]


Plan = tuple[Row, ...]


def plan_row(queries: Span, keys: Iterable[Span]) -> Row:
    """One row, with adjoining key spans joined and empty ones dropped.

    Raises ValueError for no queries, no keys, overlapping keys or more than two key spans.
    """
    joined: list[Span] = []
    for span in sorted(span for span in keys if span.size > 0):
        if joined and span.start < joined[-1].stop:
            raise ValueError(f"key spans {joined[-1]} and {span} overlap")
        if joined and span.start == joined[-1].stop:
            joined[-1] = Span(joined[-1].start, span.stop)
        else:
            joined.append(span)
    if queries.size < 1 or not joined or len(joined) > 2:
        raise ValueError(f"a row needs queries and one or two key spans, got {queries}: {joined}")
    return Row(queries, tuple(joined))


def full_plan(rows: int) -> Plan:
    """Everyone sees everyone: the base model, and outpainting."""
    return (plan_row(Span(0, rows), [Span(0, rows)]),)


def encoder_decoder_plan(geometry: Geometry) -> Plan:
    """One pass over the window: context sees context; target and token see everything."""
    context = Span(0, geometry.context_frames)
    everything = Span(0, geometry.window_frames + 1)
    return (
        plan_row(context, [context]),
        plan_row(Span(context.stop, everything.stop), [everything]),
    )


def block_causal_plan(num_blocks: int, block_frames: int, visible_blocks: int) -> Plan:
    """One pass over a history of blocks: each sees itself and ``visible_blocks`` before it."""
    return tuple(
        plan_row(
            Span(index * block_frames, (index + 1) * block_frames),
            [Span(max(0, index - visible_blocks) * block_frames, (index + 1) * block_frames)],
        )
        for index in range(num_blocks)
    )


def with_token(plan: Plan) -> Plan:
    """The plan with one row more at the end, which sees and is seen by the last row's queries."""
    *before, last = plan
    stop = last.queries.stop + 1
    return (
        *before,
        plan_row(Span(last.queries.start, stop), [*last.keys, Span(stop - 1, stop)]),
    )


def slot_step_plan(arena: Arena, num_valid_slots: int) -> Plan:
    """A step whose target stands in the arena's target places: it sees all valid slots too."""
    seen = Span(0, arena.slots(num_valid_slots).stop)
    return (plan_row(Span(0, arena.target.size), [seen]),)


def ring_step_plan(arena: Arena, num_valid_slots: int) -> Plan:
    """A step whose target stands in one of the valid slots: target and token see those slots."""
    keys = [Span(0, arena.prefix), arena.token, arena.slots(num_valid_slots)]
    return (plan_row(Span(0, arena.target.size), keys),)


def ring_encode_plan(arena: Arena, num_blocks: int, visible_blocks: int) -> Plan:
    """The first blocks of a stream, encoded in one pass: block i stands in slot i."""
    banded = block_causal_plan(num_blocks, arena.slot_frames, visible_blocks)
    offset = arena.target.stop
    return tuple(
        plan_row(
            row.queries,
            [Span(0, arena.prefix), *(Span(a + offset, b + offset) for a, b in row.keys)],
        )
        for row in banded
    )


def ring_commit_plan(arena: Arena, num_valid_slots: int) -> Plan:
    """One clean block, already written into its slot, sees the valid slots and never the target."""
    keys = [Span(0, arena.prefix), arena.slots(num_valid_slots)]
    return (plan_row(Span(0, arena.slot_frames), keys),)


def fused_commit_plan(arena: Arena, num_valid_slots: int, evicted_slot: int | None) -> Plan:
    """A clean block's commit and the next block's first step in one pass.

    The clean rows see the valid slots; the target, in the arena's target places, sees them too
    except ``evicted_slot``: the oldest block, still in sight of the clean block, not of the target.
    """
    (clean,) = ring_commit_plan(arena, num_valid_slots)
    stop = arena.slots(num_valid_slots).stop
    if evicted_slot is None:
        keys = [Span(0, stop)]
    else:
        evicted = arena.slot(evicted_slot)
        keys = [Span(0, evicted.start), Span(evicted.stop, stop)]
    target = Span(clean.queries.stop, clean.queries.stop + arena.target.size)
    return (clean, plan_row(target, keys))


def crop_plan(plan: Plan, outputs: Span) -> Plan:
    """The plan of ``outputs``' queries alone, counted from 0; empty where no query is left."""
    cropped = (
        (Span(max(row.queries.start, outputs.start), min(row.queries.stop, outputs.stop)), row.keys)
        for row in plan
    )
    return tuple(
        Row(Span(queries.start - outputs.start, queries.stop - outputs.start), keys)
        for queries, keys in cropped
        if queries.size > 0
    )


def num_queries(plan: Plan) -> int:
    return sum(row.queries.size for row in plan)


def num_pairs(plan: Plan) -> int:
    """How many (query, key) pairs are visible: the area of the mask."""
    return sum(row.queries.size * sum(span.size for span in row.keys) for row in plan)
