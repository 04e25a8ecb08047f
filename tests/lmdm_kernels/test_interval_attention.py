"""The real kernel, in Triton's interpreter where there is no GPU."""

import math
from dataclasses import replace

import pytest
import torch

from helpers import assert_within_budget
from kernel_helpers import (
    DEVICE,
    DTYPES,
    MIXED,
    MIXED_PLACES,
    SMALL,
    GuardedMemory,
    assert_attends,
    heads_for,
    kernel,
    plan_of,
    truth,
)
from lmdm_kernels.launch import LAUNCHES, Launch, LaunchKey
from lmdm_ref.attention import attend as reference_attend

WIDE = Launch(block_q=64, block_k=64, splits=1, num_warps=4, num_stages=2)


@pytest.mark.parametrize("head_dim", [32, 64, 128])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_kind_of_row_is_within_the_budget(dtype: torch.dtype, head_dim: int) -> None:
    heads = heads_for(MIXED, MIXED_PLACES, dtype, head_dim=head_dim)
    assert_attends(kernel(heads, MIXED)[0], heads, MIXED)


@pytest.mark.parametrize("prefix", [0, 1, 3])
@pytest.mark.parametrize("rows", [1, 15, 16, 17, 48, 64, 65])
def test_any_number_of_rows_and_of_prefix_rows(rows: int, prefix: int) -> None:
    """Two spans where there is a prefix; no span's keys are a multiple of the tile."""
    for dtype in (torch.float32, torch.float16):
        plan = plan_of((rows, [(0, prefix), (7, 84)]))
        heads = heads_for(plan, 90, dtype, heads=1)
        for launch in (SMALL, WIDE):
            assert_attends(kernel(heads, plan, launch)[0], heads, plan)


@pytest.mark.parametrize("dtype", DTYPES)
def test_splits_change_no_more_than_rounding_even_where_most_are_empty(dtype: torch.dtype) -> None:
    plan = plan_of((16, [(0, 3), (20, 61)]), (3, [(5, 9)]))
    heads = heads_for(plan, 70, dtype, heads=1)
    for splits in range(1, 9):
        launch = Launch(16, 16, splits, num_warps=4, num_stages=2)
        assert_attends(kernel(heads, plan, launch)[0], heads, plan)


def test_lse_is_the_logarithm_of_the_softmax_sum_in_base_2() -> None:
    plan = plan_of((17, [(0, 3), (20, 61)]))
    query, key, value = heads_for(plan, 70)
    seen = torch.cat([key[:, :, :3], key[:, :, 20:61]], dim=2).double()
    scores = query.double() @ seen.mT / query.shape[3] ** 0.5
    expected = scores.logsumexp(-1) / math.log(2)
    for splits in (1, 3):
        _, lse = kernel((query, key, value), plan, Launch(16, 16, splits, 4, 2))
        torch.testing.assert_close(lse.double(), expected, rtol=0, atol=1e-5)


def test_the_tile_sizes_change_no_more_than_rounding() -> None:
    heads = heads_for(MIXED, MIXED_PLACES)
    for block_q, block_k in ((16, 128), (32, 64), (64, 32), (128, 16)):
        out, _ = kernel(heads, MIXED, Launch(block_q, block_k, 1, 4, 2))
        assert_attends(out, heads, MIXED)


@pytest.mark.parametrize(
    "key", [key for key in LAUNCHES if key.arch == "sm_86"], ids=lambda key: "-".join(map(str, key))
)
def test_a_consumer_card_s_launches_are_right_wherever_they_run(key: LaunchKey) -> None:
    """A large GPU never takes them by itself; a mistake in them would show on laptops alone."""
    dtype = torch.float32 if key.dtype == "float32" else torch.float16
    heads = heads_for(MIXED, MIXED_PLACES, dtype, heads=1, head_dim=key.head_dim)
    for splits in (1, 2):
        launch = replace(LAUNCHES[key], splits=splits)
        assert_attends(kernel(heads, MIXED, launch)[0], heads, MIXED)


@pytest.mark.parametrize(("heads", "key_heads"), [(4, 1), (24, 12)])
def test_query_heads_may_share_key_heads(heads: int, key_heads: int) -> None:
    plan = plan_of((5, [(2, 20)]))
    some = heads_for(plan, 24, heads=heads, key_heads=key_heads)
    assert_attends(kernel(some, plan, Launch(16, 32, 1, 4, 2))[0], some, plan)


def test_any_strides_will_do() -> None:
    """Rows before heads, as a projection writes them; one place in three; a batch for all."""
    plan = plan_of((18, [(0, 20), (25, 40)]))
    query, key, value = heads_for(plan, 40, batch=2)
    expected, lse = kernel((query, key, value), plan)
    query = query.transpose(1, 2).contiguous().transpose(1, 2)
    key = key.repeat_interleave(3, dim=2)[:, :, ::3]
    value = torch.cat([value, value], dim=3)[..., : value.shape[3]]
    for out, other in (kernel((query, key, value), plan), (expected, lse)):
        assert torch.equal(out, expected) and torch.equal(other, lse)
    shared = key[:1].expand(2, -1, -1, -1)
    assert_attends(kernel((query, shared, value), plan)[0], (query, shared, value), plan)


def test_out_lies_in_memory_as_the_next_projection_reads_it() -> None:
    heads = heads_for(MIXED, MIXED_PLACES, batch=2)
    for splits in (1, 2):
        out, _ = kernel(heads, MIXED, Launch(64, 64, splits, 4, 2))
        assert out.transpose(1, 2).is_contiguous()


@pytest.mark.parametrize("splits", [1, 5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_is_touched_around_any_buffer_and_all_is_written(
    dtype: torch.dtype, splits: int
) -> None:
    """Inputs, partial results and outputs stand between NaN; what nobody sees is NaN too."""
    plan = plan_of((17, [(1, 3), (20, 61)]), (16, [(5, 52)]))
    launch = Launch(16, 16, splits, 4, 2)
    query, key, value = heads_for(plan, 66, dtype, batch=2)
    expected = kernel((query, key, value), plan, launch)
    for one in (key, value):
        one[:, :, :1] = one[:, :, 3:5] = one[:, :, 61:] = torch.nan
    with GuardedMemory() as memory:
        given = (memory.given(query), memory.given(key), memory.given(value))
        got = kernel(given, plan, launch)
    memory.check()
    for one, other in zip(got, expected, strict=True):
        assert torch.equal(one, other)
    for one, other in zip(given, (query, key, value), strict=True):
        assert torch.equal(one.nan_to_num(7.0), other.nan_to_num(7.0))


@pytest.mark.filterwarnings("ignore:All-NaN slice", "ignore:invalid value")
@pytest.mark.parametrize("splits", [1, 3])
def test_a_spoilt_batch_row_leaves_the_others_bit_equal(splits: int) -> None:
    launch = Launch(16, 16, splits, 4, 2)
    heads = heads_for(MIXED, MIXED_PLACES, batch=3, heads=1)
    expected, expected_lse = kernel(heads, MIXED, launch)
    for one in heads:
        one[1] = torch.nan
    out, lse = kernel(heads, MIXED, launch)
    for got, sound in ((out, expected), (lse, expected_lse)):
        assert torch.equal(got[[0, 2]], sound[[0, 2]])
        assert got[1].isnan().all()


def test_a_batch_row_alone_has_the_same_bits() -> None:
    query, key, value = heads_for(MIXED, MIXED_PLACES, batch=2, heads=1)
    together, _ = kernel((query, key, value), MIXED)
    for at in (slice(0, 1), slice(1, 2)):
        alone, _ = kernel((query[at], key[at], value[at]), MIXED)
        assert torch.equal(alone, together[at])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_turned_ring_gives_the_same_within_rounding(dtype: torch.dtype) -> None:
    """Three prefix rows stay; the order of the slots behind them means nothing."""
    plan = plan_of((16, [(0, 3), (8, 72)]))
    query, key, value = heads_for(plan, 72, dtype)
    exact = truth((query, key, value), plan)
    reference = reference_attend(query, key, value, plan)
    for shift in (16, 37):
        turned = [
            torch.cat([one[:, :, :8], one[:, :, 8:].roll(shift, dims=2)], dim=2)
            for one in (key, value)
        ]
        assert_within_budget(kernel((query, *turned), plan)[0], reference, exact)


def test_large_scores_do_not_overflow() -> None:
    plan = plan_of((16, [(0, 40)]))
    query, key, value = heads_for(plan, 40)
    heads = (query * 60, key * 60, value)
    out, _ = kernel(heads, plan)
    assert out.isfinite().all()
    assert_attends(out, heads, plan)


def test_offsets_beyond_32_bits_are_reached() -> None:
    """The stride of the batch is 2³⁰: for row 2 that is 2³¹, in one sparse buffer of 4 GB.

    Only the pages that are touched take memory.
    """
    plan = plan_of((2, [(0, 3)]))
    query, key, value = heads_for(plan, 3, torch.float16, batch=3, heads=1)
    far = torch.empty(2**31 + 3 * 32, dtype=torch.float16, device=DEVICE)
    key_far = far.as_strided(key.shape, (2**30, 96, 32, 1)).copy_(key)
    expected, _ = kernel((query, key, value), plan)
    assert torch.equal(kernel((query, key_far, value), plan)[0], expected)
