"""The real kernels against float64 autograd, in Triton's interpreter where there is no GPU."""

import pytest
import torch
from torch import Tensor

from helpers import WINDOW, assert_within_budget, seeded
from kernel_helpers import (
    DTYPES,
    MIXED,
    MIXED_PLACES,
    GuardedMemory,
    Heads,
    heads_for,
    kernel,
    plan_of,
)
from lmdm_kernels.interval_backward import interval_backward, key_tables
from lmdm_kernels.tiles import flat_plan
from lmdm_ref.arena import Arena
from lmdm_ref.attention import Attend, attend, attend_dense, dense_mask
from lmdm_ref.plan import (
    Plan,
    block_causal_plan,
    encoder_decoder_plan,
    full_plan,
    fused_commit_plan,
)

ARENA = Arena(prefix=3, target_frames=17, slot_frames=17, num_slots=4)
PLANS: dict[str, tuple[Plan, int]] = {
    "full": (full_plan(65), 65),
    "encoder-decoder": (encoder_decoder_plan(WINDOW), WINDOW.window_frames + 1),
    "block-causal": (block_causal_plan(4, 17, 2), 68),
    "a slot evicted in the middle": (fused_commit_plan(ARENA, 4, evicted_slot=2), ARENA.size),
}


def gradient_of(heads: Heads) -> Tensor:
    """Some gradient of the output."""
    query = heads[0]
    return seeded(9, *query.shape).to(query.device, query.dtype)


def kernels_gradients(heads: Heads, plan: Plan, grad_out: Tensor) -> Heads:
    out, lse = kernel(heads, plan)
    scale = heads[0].shape[3] ** -0.5
    return interval_backward(grad_out, *heads, out, lse, flat_plan(plan), scale, "ieee")


def autograd(attend: Attend, heads: Heads, plan: Plan, grad_out: Tensor) -> tuple[Tensor, ...]:
    leaves = [one.detach().requires_grad_() for one in heads]
    with torch.enable_grad():
        out = attend(*leaves, plan)
    return torch.autograd.grad(out, leaves, grad_out)


def assert_gradients(made: Heads, heads: Heads, plan: Plan, grad_out: Tensor) -> None:
    query, key, value = heads
    wide = query.double(), key.double(), value.double()
    truth = autograd(attend_dense, wide, plan, grad_out.double())
    reference = autograd(attend, heads, plan, grad_out)
    for one, same_dtype, exact, given in zip(made, reference, truth, heads, strict=True):
        assert one.dtype == given.dtype
        assert_within_budget(one, same_dtype, exact)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PLANS)
def test_gradients_are_within_the_budget(name: str, dtype: torch.dtype) -> None:
    plan, places = PLANS[name]
    heads = heads_for(plan, places, dtype, heads=1)
    grad_out = gradient_of(heads)
    assert_gradients(kernels_gradients(heads, plan, grad_out), heads, plan, grad_out)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("head_dim", [64, 128])
def test_wider_heads_are_within_the_budget(head_dim: int, dtype: torch.dtype) -> None:
    plan = plan_of((33, [(1, 40)]))
    heads = heads_for(plan, 41, dtype, heads=1, head_dim=head_dim)
    grad_out = gradient_of(heads)
    assert_gradients(kernels_gradients(heads, plan, grad_out), heads, plan, grad_out)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 17])
def test_few_rows_on_two_spans_are_within_the_budget(rows: int, dtype: torch.dtype) -> None:
    plan = plan_of((rows, [(0, 3), (7, 50)]))
    heads = heads_for(plan, 55, dtype, batch=2)
    grad_out = gradient_of(heads)
    assert_gradients(kernels_gradients(heads, plan, grad_out), heads, plan, grad_out)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("heads", "key_heads"), [(6, 3), (3, 1)])
def test_shared_key_heads_sum_the_gradients_of_their_query_heads(
    heads: int, key_heads: int, dtype: torch.dtype
) -> None:
    plan = plan_of((5, [(2, 20)]), (7, [(0, 4), (6, 24)]))
    some = heads_for(plan, 24, dtype, heads=heads, key_heads=key_heads)
    grad_out = gradient_of(some)
    assert_gradients(kernels_gradients(some, plan, grad_out), some, plan, grad_out)


def test_unseen_keys_get_exactly_0_and_are_not_read() -> None:
    heads = query, key, value = heads_for(MIXED, MIXED_PLACES + 40, torch.float16, heads=1)
    grad_out = gradient_of(heads)
    expected = kernels_gradients(heads, MIXED, grad_out)
    unseen = ~dense_mask(MIXED, key.shape[2]).any(dim=0).to(key.device)
    assert unseen.any()
    for one in expected[1:]:
        assert (one[:, :, unseen] == 0).all()
        assert (one[:, :, ~unseen] != 0).any(dim=-1).all()
    spoilt = [one.masked_fill(unseen[:, None], torch.nan) for one in (key, value)]
    made = kernels_gradients((query, spoilt[0], spoilt[1]), MIXED, grad_out)
    for one, other in zip(made, expected, strict=True):
        assert torch.equal(one, other)


def test_nothing_outside_the_buffers_is_read_or_written() -> None:
    heads = heads_for(MIXED, MIXED_PLACES, torch.float16, heads=1)
    grad_out = gradient_of(heads)
    expected = kernels_gradients(heads, MIXED, grad_out)
    memory = GuardedMemory()
    query, key, value = (memory.given(one) for one in heads)
    with memory:
        made = kernels_gradients((query, key, value), MIXED, memory.given(grad_out))
    memory.check()
    for one, other in zip(made, expected, strict=True):
        assert torch.equal(one, other)


def test_any_strides_will_do() -> None:
    """Heads as the projection leaves them, places of a larger arena, one gradient for all."""
    plan = plan_of((5, [(0, 3), (6, 24)]))
    packed = heads_for(plan, 24, torch.float16, batch=2)
    grad_out = torch.ones_like(packed[0])
    expected = kernels_gradients(packed, plan, grad_out)
    query, key, value = packed
    query = query.transpose(1, 2).contiguous().transpose(1, 2)
    key = torch.cat([key, key], dim=3)[..., : key.shape[3]]
    value = torch.cat([value, value], dim=2)[:, :, : value.shape[2]]
    one = grad_out.new_ones(()).expand(query.shape)
    for made, other in zip(
        kernels_gradients((query, key, value), plan, one), expected, strict=True
    ):
        assert torch.equal(made, other)


def test_gradients_lie_in_memory_as_a_fake_of_them_says() -> None:
    plan = plan_of((5, [(0, 7)]))
    query, key, value = heads_for(plan, 7, torch.float16)
    query = query.transpose(1, 2).contiguous().transpose(1, 2)
    heads = query, key, value
    for made, one in zip(kernels_gradients(heads, plan, gradient_of(heads)), heads, strict=True):
        assert made.stride() == torch.empty_like(one).stride() == one.stride()


@pytest.mark.parametrize("dtype", DTYPES[1:])
def test_scores_whose_powers_overflow_are_within_the_budget(dtype: torch.dtype) -> None:
    """Not in float32: there the rounding of ``lse`` is more than the budget for such scores."""
    plan = plan_of((17, [(0, 3), (20, 61)]))
    query, key, value = heads_for(plan, 70, dtype)
    heads = 6 * query, 6 * key, value
    grad_out = gradient_of(heads)
    assert_gradients(kernels_gradients(heads, plan, grad_out), heads, plan, grad_out)


def test_key_tables_are_made_once() -> None:
    flat = flat_plan(MIXED)
    device = torch.device("cpu")
    tiles, spans = key_tables(flat, 32, MIXED_PLACES, device)
    assert tiles.dtype == spans.dtype == torch.int32
    assert tiles.shape[1:] == (4,) and spans.shape[1:] == (2,)
    assert key_tables(flat, 32, MIXED_PLACES, device)[0] is tiles
