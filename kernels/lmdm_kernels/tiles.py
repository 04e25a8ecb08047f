"""Plan rows as tiles: what one program of a kernel works on (no torch).

A plan arrives as rows ``((query start, stop), ((key start, stop), …))`` with one or two key spans,
as ``lmdm_ref.plan`` makes them. No tile straddles two rows, so that all queries of a tile see the
same keys and no element of the scores is ever masked but in the last, ragged tile of a span.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

SpanLike = tuple[int, int]
RowLike = tuple[SpanLike, Sequence[SpanLike]]
PlanLike = Sequence[RowLike]

# A plan as one flat tuple, six integers a row: query start, stop, first span, second span (0, 0
# where there is none). Operators take it in this form.
FlatPlan = tuple[int, ...]
ROW_NUMBERS = 6


class Tile(NamedTuple):
    """At most ``block`` queries of one row, and the row's key spans."""

    query_start: int
    query_stop: int
    first_start: int
    first_stop: int
    second_start: int
    second_stop: int

    @property
    def num_keys(self) -> int:
        return self.first_stop - self.first_start + self.second_stop - self.second_start


def flat_plan(plan: PlanLike) -> FlatPlan:
    """The plan's numbers. Raises ValueError, in one sentence, for what is no plan.

    Query spans must follow each other from 0 without a gap: every query is then written once.
    """
    numbers: list[int] = []
    for queries, keys in plan:
        if not 1 <= len(keys) <= 2:
            raise ValueError(f"a plan's row has one or two key spans, got {len(keys)}: {keys}")
        if queries[0] != (numbers[-5] if numbers else 0) or queries[1] <= queries[0]:
            raise ValueError(f"query spans follow each other from 0 without a gap, got {queries}")
        (first, second) = (*keys, (0, 0))[:2]
        for start, stop in keys:
            if start < 0 or stop <= start:
                raise ValueError(f"a key span holds at least one place, got {(start, stop)}")
        if len(keys) == 2 and second[0] < first[1]:
            raise ValueError(f"key spans are in order and apart, got {first} and {second}")
        numbers += [*queries, *first, *second]
    if not numbers:
        raise ValueError("a plan has at least one row, got none")
    return tuple(numbers)


def rows_of(plan: FlatPlan) -> list[Tile]:
    """The flat plan's rows, each as one tile."""
    return [Tile(*plan[at : at + ROW_NUMBERS]) for at in range(0, len(plan), ROW_NUMBERS)]


@lru_cache(maxsize=1024)
def query_tiles(plan: FlatPlan, block: int) -> tuple[Tile, ...]:
    """The plan cut into tiles of at most ``block`` queries, those with the most keys first."""
    tiles = (
        row._replace(query_start=start, query_stop=min(start + block, row.query_stop))
        for row in rows_of(plan)
        for start in range(row.query_start, row.query_stop, block)
    )
    return tuple(sorted(tiles, key=lambda tile: (-tile.num_keys, tile.query_start)))


class KeyTile(NamedTuple):
    """At most ``block`` keys that the same queries see: entries ``first … last − 1`` of the list
    of query spans that ``key_tiles`` gives beside the tiles."""

    key_start: int
    key_stop: int
    first: int
    last: int


@lru_cache(maxsize=1024)
def key_tiles(
    plan: FlatPlan, block: int, num_keys: int
) -> tuple[tuple[KeyTile, ...], tuple[SpanLike, ...]]:
    """The plan seen from its keys, for the backward pass: every key is in exactly one tile.

    Keys that nobody sees are in tiles with no query span.
    """
    rows = rows_of(plan)
    edges = {0, num_keys}
    for row in rows:
        edges |= {row.first_start, row.first_stop, row.second_start, row.second_stop}
    tiles: list[KeyTile] = []
    spans: list[SpanLike] = []
    for start, stop in pairwise(sorted(edges)):
        first = len(spans)
        for row in rows:
            if _is_seen(row, start):
                if len(spans) > first and spans[-1][1] == row.query_start:
                    spans[-1] = (spans[-1][0], row.query_stop)
                else:
                    spans.append((row.query_start, row.query_stop))
        tiles += (
            KeyTile(at, min(at + block, stop), first, len(spans))
            for at in range(start, stop, block)
        )
    return tuple(tiles), tuple(spans)


def num_queries(plan: FlatPlan) -> int:
    return plan[-ROW_NUMBERS + 1]


def num_tiles(plan: FlatPlan, block: int) -> int:
    """How many tiles of at most ``block`` queries the plan is cut into."""
    return sum(-(-(row.query_stop - row.query_start) // block) for row in rows_of(plan))


def num_places(plan: FlatPlan) -> int:
    """How many places the keys must have at least."""
    return max(max(row.first_stop, row.second_stop) for row in rows_of(plan))


def num_pairs(plan: FlatPlan) -> int:
    """How many (query, key) pairs are visible: the area of the mask."""
    return sum((row.query_stop - row.query_start) * row.num_keys for row in rows_of(plan))


def longest_row(plan: FlatPlan) -> tuple[int, int]:
    """The most queries of a row, and the most keys of a row."""
    rows = rows_of(plan)
    return max(row.query_stop - row.query_start for row in rows), max(r.num_keys for r in rows)


def _is_seen(row: Tile, key: int) -> bool:
    return row.first_start <= key < row.first_stop or row.second_start <= key < row.second_stop
