import cmath

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from helpers import assert_identity, assert_no_identity, assert_within_budget, seeded
from lmdm_ref.rotary import Rotary, inverse_frequencies, rotary_angles, rotate

# Stable Audio Open Small's heads: 64 of 128 dims are rotated.
DIMS, HEAD_DIM, BASE = 64, 128, 10_000.0
# The paper's blocks of 48 frames: the target of block 4, and of the block six hours later.
CONTEXT, BLOCK = 192, 48
LATER_BLOCKS = 10_000


def turned(heads: Tensor, first_position: int, dtype: torch.dtype = torch.float64) -> Tensor:
    positions = torch.arange(first_position, first_position + heads.shape[1])
    rotary = rotary_angles(positions, inverse_frequencies(DIMS, BASE), dtype)
    return rotate(heads.to(dtype), rotary)


def logits(query: Tensor, key: Tensor) -> Tensor:
    return query.transpose(1, 2) @ key.transpose(1, 2).mT


def test_rotation_is_a_complex_turn_of_each_pair() -> None:
    dims, head_dim, position = 8, 10, 5
    heads = seeded(0, 1, 1, 2, head_dim)
    rotary = rotary_angles(torch.tensor([position]), inverse_frequencies(dims, BASE), torch.float64)
    expected = heads.clone()
    for head in range(2):
        for pair in range(dims // 2):
            turn = cmath.exp(1j * position * BASE ** (-2 * pair / dims))
            x, y = heads[0, 0, head, pair].item(), heads[0, 0, head, pair + dims // 2].item()
            rotated = complex(x, y) * turn
            expected[0, 0, head, pair] = rotated.real
            expected[0, 0, head, pair + dims // 2] = rotated.imag
    assert_identity(rotate(heads, rotary), expected)


def test_dims_past_the_rotated_ones_keep_their_bits() -> None:
    heads = seeded(0, 2, 3, 2, HEAD_DIM)
    assert torch.equal(turned(heads, 7)[..., DIMS:], heads[..., DIMS:])
    assert_no_identity(turned(heads, 7)[..., :DIMS], heads[..., :DIMS])


def test_position_zero_turns_nothing() -> None:
    heads = seeded(0, 2, 1, 2, HEAD_DIM)
    assert torch.equal(turned(heads, 0), heads)


def test_rotation_leaves_its_argument_alone() -> None:
    heads = seeded(0, 1, 2, 1, HEAD_DIM)
    before = heads.clone()
    turned(heads, 3)
    assert torch.equal(heads, before)


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 5000))
def test_logits_depend_on_distance_alone(query_at: int, key_at: int, shift: int) -> None:
    query, key = seeded(0, 1, 3, 2, HEAD_DIM), seeded(1, 1, 4, 2, HEAD_DIM)
    assert_identity(
        logits(turned(query, query_at + shift), turned(key, key_at + shift)),
        logits(turned(query, query_at), turned(key, key_at)),
    )


def test_target_sees_its_context_after_six_hours_as_it_did_at_block_four() -> None:
    query, key = seeded(0, 1, BLOCK, 1, HEAD_DIM), seeded(1, 1, CONTEXT, 1, HEAD_DIM)
    query, key = query.float().double(), key.float().double()
    truth = logits(turned(query, 1 + CONTEXT), turned(key, 1))

    def at(first: int) -> Tensor:
        heads = turned(query, first + CONTEXT, torch.float32), turned(key, first, torch.float32)
        return logits(*heads)

    assert_within_budget(at(1 + LATER_BLOCKS * BLOCK), at(1), truth)


def test_float32_angles_would_be_out_of_that_budget() -> None:
    """So the test above can fail: the same heads turned by angles formed in float32."""
    query, key = seeded(0, 1, BLOCK, 1, HEAD_DIM), seeded(1, 1, CONTEXT, 1, HEAD_DIM)
    query, key = query.float().double(), key.float().double()
    truth = logits(turned(query, 1 + CONTEXT), turned(key, 1))

    def narrow(heads: Tensor, first: int) -> Tensor:
        positions = torch.arange(first, first + heads.shape[1]).float()
        turns = positions[:, None] * inverse_frequencies(DIMS, BASE).float()
        return rotate(heads.float(), Rotary(turns.cos(), turns.sin()))

    first = 1 + LATER_BLOCKS * BLOCK
    late = logits(narrow(query, first + CONTEXT), narrow(key, first))
    early = logits(narrow(query, 1 + CONTEXT), narrow(key, 1))
    with pytest.raises(AssertionError):
        assert_within_budget(late, early, truth)


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_half_precisions_rotate_in_float32_and_come_back(
    dtype: torch.dtype, wide: torch.dtype
) -> None:
    rotary = rotary_angles(torch.arange(3), inverse_frequencies(DIMS, BASE), dtype)
    assert rotary.cos.dtype == rotary.sin.dtype == wide
    heads = seeded(0, 1, 3, 1, HEAD_DIM).to(dtype)
    assert rotate(heads, rotary).dtype == dtype
    assert torch.equal(rotate(heads, rotary), rotate(heads.to(wide), rotary).to(dtype))


def test_frequencies_fall_from_one_radian_towards_one_over_base() -> None:
    frequencies = inverse_frequencies(DIMS, BASE)
    assert frequencies.dtype == torch.float64
    assert frequencies.shape == (DIMS // 2,)
    assert frequencies[0] == 1
    assert (frequencies.diff() < 0).all()
    assert frequencies[-1] > 1 / BASE
