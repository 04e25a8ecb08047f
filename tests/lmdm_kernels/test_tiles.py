from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lmdm_kernels.tiles import (
    FlatPlan,
    PlanLike,
    flat_plan,
    key_tiles,
    longest_row,
    num_pairs,
    num_places,
    num_queries,
    num_tiles,
    query_tiles,
    rows_of,
)
from lmdm_ref.arena import Span
from lmdm_ref.attention import dense_mask
from lmdm_ref.plan import full_plan, plan_row

MOST_PLACES = 60


@st.composite
def plans(draw: st.DrawFn) -> PlanLike:
    """Up to five rows of up to 40 queries, each with one or two spans of keys."""
    rows: list[tuple[tuple[int, int], list[tuple[int, int]]]] = []
    start = 0
    for size in draw(st.lists(st.integers(1, 40), min_size=1, max_size=5)):
        count = draw(st.sampled_from([2, 4]))
        edges = sorted(
            draw(st.lists(st.integers(0, MOST_PLACES), min_size=count, max_size=count, unique=True))
        )
        rows.append(((start, start + size), [(a, b) for a, b in list(pairwise(edges))[::2]]))
        start += size
    return rows


def visible(plan: PlanLike) -> Tensor:
    mask = torch.zeros(plan[-1][0][1], MOST_PLACES, dtype=torch.bool)
    for (start, stop), spans in plan:
        for first, last in spans:
            mask[start:stop, first:last] = True
    return mask


@given(plans(), st.sampled_from([1, 16, 64]))
def test_query_tiles_are_the_plan_cut_up(plan: PlanLike, block: int) -> None:
    flat = flat_plan(plan)
    seen = torch.zeros_like(visible(plan), dtype=torch.int)
    tiles = query_tiles(flat, block)
    for tile in tiles:
        assert 0 < tile.query_stop - tile.query_start <= block
        queries = slice(tile.query_start, tile.query_stop)
        seen[queries, tile.first_start : tile.first_stop] += 1
        seen[queries, tile.second_start : tile.second_stop] += 1
    assert torch.equal(seen, visible(plan).int())
    assert len(tiles) == num_tiles(flat, block)
    assert [tile.num_keys for tile in tiles] == sorted((t.num_keys for t in tiles), reverse=True)


@given(plans(), st.sampled_from([1, 16, 64]))
def test_key_tiles_are_the_plan_seen_from_its_keys(plan: PlanLike, block: int) -> None:
    seen = torch.zeros_like(visible(plan), dtype=torch.int)
    tiles, spans = key_tiles(flat_plan(plan), block, MOST_PLACES)
    covered = [key for tile in tiles for key in range(tile.key_start, tile.key_stop)]
    assert covered == list(range(MOST_PLACES))
    for tile in tiles:
        assert tile.key_stop - tile.key_start <= block
        for start, stop in spans[tile.first : tile.last]:
            seen[start:stop, tile.key_start : tile.key_stop] += 1
    assert torch.equal(seen, visible(plan).int())


@given(plans())
def test_counts_are_those_of_the_mask(plan: PlanLike) -> None:
    flat, mask = flat_plan(plan), visible(plan)
    assert num_pairs(flat) == mask.sum()
    assert num_queries(flat) == len(mask)
    assert num_places(flat) == mask.any(dim=0).nonzero().max() + 1
    most_queries, most_keys = longest_row(flat)
    assert most_queries == max(stop - start for (start, stop), _ in plan)
    assert most_keys == mask.sum(dim=1).max()


def test_no_tile_straddles_two_rows() -> None:
    flat = flat_plan([((0, 17), [(0, 5)]), ((17, 20), [(0, 9)])])
    assert [tile[:2] for tile in query_tiles(flat, 16)] == [(17, 20), (0, 16), (16, 17)]


def test_a_plan_of_the_reference_says_the_same_in_both_places() -> None:
    """Its dense mask there, its tiles here."""
    plan = (
        plan_row(Span(0, 17), [Span(0, 3), Span(20, 61)]),
        plan_row(Span(17, 33), [Span(5, 40)]),
    )
    seen = torch.zeros(33, 61, dtype=torch.bool)
    for row in rows_of(flat_plan(plan)):
        queries = slice(row.query_start, row.query_stop)
        seen[queries, row.first_start : row.first_stop] = True
        seen[queries, row.second_start : row.second_stop] = True
    assert torch.equal(seen, dense_mask(plan, 61))
    assert flat_plan(full_plan(7)) == (0, 7, 0, 7, 0, 0)


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ([], "at least one row, got none"),
        ([((0, 4), [])], "one or two key spans, got 0"),
        ([((0, 4), [(0, 1), (2, 3), (4, 5)])], "one or two key spans, got 3"),
        ([((1, 4), [(0, 4)])], "from 0 without a gap, got (1, 4)"),
        ([((0, 4), [(0, 4)]), ((5, 6), [(0, 4)])], "without a gap, got (5, 6)"),
        ([((0, 0), [(0, 4)])], "without a gap, got (0, 0)"),
        ([((0, 4), [(3, 3)])], "at least one place, got (3, 3)"),
        ([((0, 4), [(-1, 3)])], "at least one place, got (-1, 3)"),
        ([((0, 4), [(5, 8), (0, 3)])], "in order and apart, got (5, 8) and (0, 3)"),
        ([((0, 4), [(0, 5), (4, 8)])], "in order and apart, got (0, 5) and (4, 8)"),
    ],
)
def test_what_is_no_plan_is_refused(plan: PlanLike, said: str) -> None:
    with pytest.raises(ValueError) as refused:
        flat_plan(plan)
    assert said in str(refused.value)


def test_a_flat_plan_is_made_of_plain_integers() -> None:
    flat: FlatPlan = flat_plan((plan_row(Span(0, 4), [Span(0, 4)]),))
    assert all(type(number) is int for number in flat)
