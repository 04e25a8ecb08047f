"""The real kernel against the readable prologue, in Triton's interpreter where there is no GPU."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from helpers import assert_within_budget, seeded
from kernel_helpers import DEVICE, DTYPES, GuardedMemory
from lmdm_kernels.qkv_prologue import qkv_prologue
from lmdm_ref.prologue import HeadNorm, prologue
from lmdm_ref.rotary import Rotary, inverse_frequencies, rotary_angles

EPSILON = 1e-5


class Case(NamedTuple):
    """What a prologue takes; ``places`` are in no order, and not all that there are."""

    qkv: Tensor
    norm: HeadNorm
    rotary: Rotary
    arena: tuple[Tensor, Tensor]
    places: Tensor

    def to(self, dtype: torch.dtype) -> "Case":
        """In another dtype, with an arena of its own."""
        kind, *weights, epsilon = self.norm
        turns = torch.promote_types(dtype, torch.float32)
        return Case(
            self.qkv.to(dtype),
            HeadNorm(kind, *(one if one is None else one.to(dtype) for one in weights), epsilon),
            Rotary(*(one.to(turns) for one in self.rotary)),
            (self.arena[0].to(dtype, copy=True), self.arena[1].to(dtype, copy=True)),
            self.places,
        )


def case_for(
    dtype: torch.dtype = torch.float32,
    *,
    kind: str = "layer",
    is_weighted: bool = True,
    batch: int = 1,
    rows: int = 17,
    heads: int = 2,
    head_dim: int = 32,
    rotary_dims: int = 32,
    first_position: int = 1000,
) -> Case:
    positions = torch.arange(first_position, first_position + rows)
    angles = rotary_angles(positions, inverse_frequencies(rotary_dims, 10_000.0), torch.float32)
    weights = [1 + 0.3 * seeded(at, head_dim).to(DEVICE) for at in range(4)]
    num_places = 2 * rows + 3
    arena = torch.full((2, batch, heads, num_places, head_dim), torch.nan, dtype=torch.float64)
    order = torch.randperm(num_places, generator=torch.Generator().manual_seed(6))
    return Case(
        # Off zero, so that a mean that is not taken away shows.
        1 + 2 * seeded(5, batch, rows, 3 * heads * head_dim).to(DEVICE),
        HeadNorm(kind, *(weights if is_weighted else [None] * 4), EPSILON),
        Rotary(*(one.to(DEVICE) for one in angles)),
        (arena[0].to(DEVICE), arena[1].to(DEVICE)),
        order[:rows].to(DEVICE),
    ).to(dtype)


def kernels_query(case: Case) -> Tensor:
    qkv, norm, rotary, arena, places = case
    return qkv_prologue(qkv, *norm, *rotary, *arena, places)


def assert_prepares(case: Case) -> None:
    """Query, keys and values within the budget; every other place as it was."""
    dtype = case.qkv.dtype
    exact, plain, made = case.to(torch.float64), case.to(dtype), case.to(dtype)
    truth, reference = prologue(*exact), prologue(*plain)
    query = kernels_query(made)
    assert query.dtype == dtype and query.is_contiguous()
    assert_within_budget(query, reference, truth)
    keys, same_dtype_keys, exact_keys = (
        one.arena[0][:, :, case.places] for one in (made, plain, exact)
    )
    assert_within_budget(keys, same_dtype_keys, exact_keys)
    assert torch.equal(made.arena[1][:, :, case.places], plain.arena[1][:, :, case.places])
    is_other = torch.ones(case.arena[0].shape[2], dtype=torch.bool, device=DEVICE)
    is_other[case.places] = False
    for one in made.arena:
        assert one[:, :, is_other].isnan().all()


@pytest.mark.parametrize("kind", ["layer", "rms", "none"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_norm_is_within_the_budget(dtype: torch.dtype, kind: str) -> None:
    assert_prepares(case_for(dtype, kind=kind))
    assert_prepares(case_for(dtype, kind=kind, is_weighted=False, batch=2, rows=3))


@pytest.mark.parametrize("has", [(True, False, True, False), (False, True, True, False)])
@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_each_weight_and_bias_may_be_missing(kind: str, has: tuple[bool, ...]) -> None:
    case = case_for(kind=kind, rows=3)
    _, *weights, epsilon = case.norm
    left = [one if kept else None for one, kept in zip(weights, has, strict=True)]
    assert_prepares(case._replace(norm=HeadNorm(case.norm.kind, *left, epsilon)))


@pytest.mark.parametrize(
    ("head_dim", "rotary_dims"),
    [(16, 2), (16, 16), (32, 12), (64, 32), (64, 64), (128, 64), (128, 96), (128, 128)],
)
def test_any_even_number_of_dims_may_be_turned(head_dim: int, rotary_dims: int) -> None:
    for dtype in (torch.float32, torch.float16):
        assert_prepares(case_for(dtype, rows=5, head_dim=head_dim, rotary_dims=rotary_dims))


@pytest.mark.parametrize("rows", [1, 15, 16, 17, 48, 65])
def test_any_number_of_rows(rows: int) -> None:
    assert_prepares(case_for(torch.float16, rows=rows, heads=1))


def test_places_may_be_of_32_bits() -> None:
    case = case_for(torch.float16, rows=5)
    short = case.to(torch.float16)._replace(places=case.places.int())
    long = case.to(torch.float16)
    assert torch.equal(kernels_query(short), kernels_query(long))
    for one, other in zip(short.arena, long.arena, strict=True):
        assert torch.equal(one.nan_to_num(), other.nan_to_num())


def test_any_strides_will_do() -> None:
    """Rows of a wider projection, a layer's part of an arena, angles of a longer table."""
    case = case_for(torch.float16, batch=2, rows=5)
    expected_arena = case.to(torch.float16)
    expected = kernels_query(expected_arena)
    wide = torch.cat([case.qkv, torch.full_like(case.qkv, torch.nan)], dim=2)
    keys = torch.full_like(case.arena[0], torch.nan).transpose(1, 2).contiguous().transpose(1, 2)
    values = torch.full((3, *keys.shape), torch.nan, dtype=keys.dtype, device=keys.device)[1]
    strided = Case(
        wide[..., : case.qkv.shape[2]],
        case.norm,
        Rotary(*(torch.cat([one, one], dim=1)[:, : one.shape[1]] for one in case.rotary)),
        (keys, values),
        case.places,
    )
    assert torch.equal(kernels_query(strided), expected)
    for one, other in zip(strided.arena, expected_arena.arena, strict=True):
        assert torch.equal(one.nan_to_num(), other.nan_to_num())


def test_nothing_outside_the_buffers_is_read_or_written() -> None:
    case = case_for(torch.float16, batch=2, rows=5, head_dim=64, rotary_dims=48)
    expected_case = case.to(torch.float16)
    expected = kernels_query(expected_case)
    memory = GuardedMemory()
    kind, *weights, epsilon = case.norm
    guarded = Case(
        memory.given(case.qkv),
        HeadNorm(kind, *(memory.given(one) for one in weights if one is not None), epsilon),
        Rotary(*(memory.given(one) for one in case.rotary)),
        (memory.given(case.arena[0]), memory.given(case.arena[1])),
        case.places,
    )
    with memory:
        query = kernels_query(guarded)
    memory.check()
    assert torch.equal(query, expected)
    for one, other in zip(guarded.arena, expected_case.arena, strict=True):
        assert torch.equal(one.isnan(), other.isnan())
        assert torch.equal(one.nan_to_num(), other.nan_to_num())


def test_a_spoilt_row_leaves_the_others_bit_equal() -> None:
    case = case_for(torch.float16, rows=5)
    expected = kernels_query(case.to(torch.float16))
    case.qkv[:, 2] = torch.nan
    query = kernels_query(case)
    others = [0, 1, 3, 4]
    assert torch.equal(query[:, :, others], expected[:, :, others])
    assert query[:, :, 2].isnan().all()


def test_without_a_norm_unturned_dims_and_values_are_copied_bit_for_bit() -> None:
    """A NaN among the turned dims stays with them."""
    case = case_for(torch.bfloat16, kind="none", rows=5, heads=1, rotary_dims=8)
    case.qkv[:, :, :2] = torch.nan
    query = kernels_query(case)
    assert torch.equal(query[0, 0, :, 8:], case.qkv[0, :, 8:32])
    assert torch.equal(case.arena[0][0, 0, case.places, 8:], case.qkv[0, :, 40:64])
    assert torch.equal(case.arena[1][0, 0, case.places], case.qkv[0, :, 64:])


def test_rows_are_written_where_the_places_say_at_that_moment() -> None:
    """As a replayed graph does: same tensors, other places."""
    case = case_for(torch.float16, rows=5)
    kernels_query(case)
    before = [one[:, :, case.places].clone() for one in case.arena]
    old = case.places.clone()
    case.places.copy_(torch.arange(5, device=DEVICE))
    for one in case.arena:
        one.fill_(torch.nan)
    kernels_query(case)
    for one, other in zip(case.arena, before, strict=True):
        assert torch.equal(one[:, :, :5], other)
        moved = [place for place in old.tolist() if place >= 5]
        assert one[:, :, moved].isnan().all()
