"""Plans against boolean masks that are filled pair by pair from the paper's formulas."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lmdm_ref.arena import Arena, Span
from lmdm_ref.attention import dense_mask
from lmdm_ref.geometry import Geometry
from lmdm_ref.plan import (
    Plan,
    Row,
    block_causal_plan,
    crop_plan,
    encoder_decoder_plan,
    full_plan,
    fused_commit_plan,
    num_pairs,
    num_queries,
    plan_row,
    ring_commit_plan,
    ring_encode_plan,
    ring_step_plan,
    slot_step_plan,
    with_token,
)

small = st.integers(1, 4)
prefixes = st.integers(0, 2)


def mask_of(queries: int, keys: int, sees: Callable[[int, int], bool]) -> Tensor:
    """A mask, pair by pair."""
    return torch.tensor([[sees(q, k) for k in range(keys)] for q in range(queries)])


def assert_plan_is(plan: Plan, mask: Tensor) -> None:
    """Equal to the mask, queries in order and whole, one or two spans in every row."""
    assert torch.equal(dense_mask(plan, mask.shape[1]), mask)
    stop = 0
    for row in plan:
        assert row.queries.start == stop
        stop = row.queries.stop
        assert 1 <= len(row.keys) <= 2
        assert row.keys == tuple(sorted(row.keys))
        assert all(span.size > 0 for span in row.keys)
        assert len(row.keys) == 1 or row.keys[0].stop < row.keys[1].start
    assert stop == num_queries(plan) == mask.shape[0]
    assert num_pairs(plan) == mask.sum()


def one_shot_mask(num_blocks: int, block_frames: int, visible_blocks: int) -> Tensor:
    """The banded history, its last block the target, and the target's token as the last row."""
    last = num_blocks - 1
    rows = num_blocks * block_frames + 1

    def block_of(row: int) -> int:
        return min(row // block_frames, last)

    def sees(q: int, k: int) -> bool:
        is_token_hidden = k == rows - 1 and block_of(q) != last
        return 0 <= block_of(q) - block_of(k) <= visible_blocks and not is_token_hidden

    return mask_of(rows, rows, sees)


def through_ring(
    mask: Tensor, queries: list[int], place_of: dict[int, int], arena: Arena
) -> Tensor:
    """Rows ``queries`` of a one-shot mask, each visible key at its place; the prefix is for all."""
    moved = torch.zeros(len(queries), arena.size, dtype=torch.bool)
    moved[:, : arena.prefix] = True
    for row, query in enumerate(queries):
        for key in mask[query].nonzero()[:, 0].tolist():
            moved[row, place_of[key]] = True
    return moved


class Ring:
    """Where rows of the one-shot pass stand when block ``target_index`` is the target."""

    def __init__(self, prefix: int, block_frames: int, visible: int, target_index: int) -> None:
        self.arena = Arena(
            prefix=prefix,
            target_frames=block_frames,
            slot_frames=block_frames,
            num_slots=visible + 1,
        )
        self.block_frames = block_frames
        self.target_index = target_index
        self.mask = one_shot_mask(target_index + 1, block_frames, visible)
        self.token = self.mask.shape[0] - 1

    def rows(self, block_index: int) -> list[int]:
        start = block_index * self.block_frames
        return list(range(start, start + self.block_frames))

    def places(self, newest_index: int) -> dict[int, int]:
        """The newest ``num_slots`` blocks in their slots, and the token in its place."""
        places = {self.token: self.arena.token.start}
        for index in range(max(0, newest_index + 1 - self.arena.num_slots), newest_index + 1):
            start = self.arena.slot(index % self.arena.num_slots).start
            places |= {row: start + offset for offset, row in enumerate(self.rows(index))}
        return places

    def valid(self, newest_index: int) -> int:
        return min(newest_index + 1, self.arena.num_slots)


@given(small, small)
def test_base_model_lets_everyone_see_everyone(context: int, block: int) -> None:
    rows = context + block + 1
    assert_plan_is(full_plan(rows), mask_of(rows, rows, lambda q, k: True))


@given(small, small)
def test_encoder_decoder_plan_is_the_paper_s_mask_with_a_token(blocks: int, block: int) -> None:
    geometry = Geometry(
        sample_rate_hz=44_100,
        samples_per_frame=64,
        context_frames=blocks * block,
        block_frames=block,
    )
    s, rows = geometry.context_frames, geometry.window_frames + 1
    # a3.4, rows counted from 1: M = 1 if p ≤ s or q > s; the token is the row after the target's.
    mask = mask_of(rows, rows, lambda q, p: p + 1 <= s or q + 1 > s)
    assert_plan_is(encoder_decoder_plan(geometry), mask)


@given(st.integers(1, 9), small, small)
def test_block_causal_plan_is_the_paper_s_mask_with_a_band(
    num_blocks: int, block: int, visible: int
) -> None:
    rows = num_blocks * block

    def sees(q: int, p: int) -> bool:
        return p // block <= q // block and p // block >= q // block - visible

    plan = block_causal_plan(num_blocks, block, visible)
    assert_plan_is(plan, mask_of(rows, rows, sees))


@given(st.integers(1, 9), small, small)
def test_token_sees_and_is_seen_by_the_target_alone(
    num_blocks: int, block: int, visible: int
) -> None:
    plan = with_token(block_causal_plan(num_blocks, block, visible))
    assert_plan_is(plan, one_shot_mask(num_blocks, block, visible))


@given(prefixes, small, small, st.integers(1, 14))
def test_fused_plan_is_the_banded_one_shot_mask_through_the_slots(
    prefix: int, block: int, visible: int, target_index: int
) -> None:
    ring = Ring(prefix, block, visible, target_index)
    pending = target_index - 1
    place_of = ring.places(pending)
    target = ring.rows(target_index)
    place_of |= {row: ring.arena.target.start + offset for offset, row in enumerate(target)}
    evicted = (pending - visible) % ring.arena.num_slots if pending >= visible else None
    queries = [*ring.rows(pending), *target, ring.token]
    assert_plan_is(
        fused_commit_plan(ring.arena, ring.valid(pending), evicted),
        through_ring(ring.mask, queries, place_of, ring.arena),
    )


@given(prefixes, small, small, st.integers(0, 14))
def test_later_step_is_the_same_mask_with_the_target_in_its_own_slot(
    prefix: int, block: int, visible: int, target_index: int
) -> None:
    ring = Ring(prefix, block, visible, target_index)
    place_of = ring.places(target_index)
    queries = [*ring.rows(target_index), ring.token]
    assert_plan_is(
        ring_step_plan(ring.arena, ring.valid(target_index)),
        through_ring(ring.mask, queries, place_of, ring.arena),
    )


@given(prefixes, small, small, st.integers(0, 14))
def test_commit_alone_is_the_same_mask_for_the_clean_block(
    prefix: int, block: int, visible: int, block_index: int
) -> None:
    ring = Ring(prefix, block, visible, block_index + 1)
    assert_plan_is(
        ring_commit_plan(ring.arena, ring.valid(block_index)),
        through_ring(ring.mask, ring.rows(block_index), ring.places(block_index), ring.arena),
    )


@given(prefixes, small, small, st.data())
def test_first_blocks_in_one_pass_have_the_same_mask(
    prefix: int, block: int, visible: int, data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, visible + 1))
    ring = Ring(prefix, block, visible, count)
    queries = [row for index in range(count) for row in ring.rows(index)]
    assert_plan_is(
        ring_encode_plan(ring.arena, count, visible),
        through_ring(ring.mask, queries, ring.places(count - 1), ring.arena),
    )


@given(prefixes, small, small, st.integers(1, 3))
def test_target_beside_the_slots_sees_prefix_target_and_valid_slots(
    prefix: int, block: int, slot: int, valid: int
) -> None:
    arena = Arena(prefix=prefix, target_frames=block, slot_frames=slot, num_slots=3)
    seen = prefix + block + 1 + valid * slot
    plan = slot_step_plan(arena, valid)
    assert_plan_is(plan, mask_of(block + 1, arena.size, lambda q, k: k < seen))
    assert len(plan[0].keys) == 1


def test_adjoining_spans_become_one_and_empty_ones_none() -> None:
    row = plan_row(Span(0, 2), [Span(5, 7), Span(0, 3), Span(3, 5), Span(4, 4)])
    assert row == Row(Span(0, 2), (Span(0, 7),))


@pytest.mark.parametrize(
    ("queries", "keys", "reason"),
    [
        (Span(0, 0), [Span(0, 1)], "a row needs queries"),
        (Span(0, 1), [], "one or two key spans"),
        (Span(0, 1), [Span(2, 2)], "one or two key spans"),
        (Span(0, 1), [Span(0, 1), Span(2, 3), Span(4, 5)], "one or two key spans"),
        (Span(0, 1), [Span(0, 3), Span(2, 4)], "overlap"),
        (Span(0, 1), [Span(0, 4), Span(1, 2)], "overlap"),
    ],
)
def test_row_that_no_kernel_could_run_is_refused(
    queries: Span, keys: list[Span], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        plan_row(queries, keys)


@given(st.integers(1, 6), small, small, st.data())
def test_cropped_plan_is_the_same_mask_s_rows(
    num_blocks: int, block: int, visible: int, data: st.DataObject
) -> None:
    plan = block_causal_plan(num_blocks, block, visible)
    rows = num_blocks * block
    start = data.draw(st.integers(0, rows - 1))
    stop = data.draw(st.integers(start + 1, rows))
    mask = dense_mask(plan, rows)[start:stop]
    assert_plan_is(crop_plan(plan, Span(start, stop)), mask)


def test_cropping_to_nothing_leaves_no_row() -> None:
    assert crop_plan(full_plan(4), Span(0, 0)) == ()
    assert num_queries(()) == num_pairs(()) == 0
