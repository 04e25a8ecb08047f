import pytest
import torch
from torch import Tensor

from helpers import assert_identity, seeded
from lmdm_ref.prologue import HeadNorm, prologue
from lmdm_ref.rotary import Rotary, inverse_frequencies, rotary_angles, rotate

BATCH, ROWS, HEADS, HEAD_DIM, PLACES = 2, 5, 3, 8, 9
EPSILON = 1e-6
WHERE = torch.tensor([7, 0, 1, 8, 3])


def turns() -> Rotary:
    return rotary_angles(torch.arange(ROWS) + 1, inverse_frequencies(4, 10_000.0), torch.float64)


def weights(kind: str) -> HeadNorm:
    if kind == "none":
        return HeadNorm("none", None, None, None, None, EPSILON)
    scale = [seeded(seed, HEAD_DIM) for seed in range(4)]
    if kind == "rms":
        return HeadNorm("rms", scale[0], None, scale[2], None, EPSILON)
    return HeadNorm("layer", *scale, EPSILON)


def normed(heads: Tensor, norm: HeadNorm, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Written out."""
    if norm.kind == "none":
        return heads
    mean = heads.mean(-1, keepdim=True) if norm.kind == "layer" else 0.0
    spread = ((heads - mean).pow(2).mean(-1, keepdim=True) + norm.epsilon).sqrt()
    scaled: Tensor = (heads - mean) / spread * weight
    return scaled if bias is None else scaled + bias


def empty_arena() -> tuple[Tensor, Tensor]:
    shape = (BATCH, HEADS, PLACES, HEAD_DIM)
    nothing = torch.full(shape, torch.nan, dtype=torch.float64)
    return nothing, nothing.clone()


@pytest.mark.parametrize("kind", ["layer", "rms", "none"])
def test_query_and_key_are_normalised_then_rotated_and_value_is_neither(kind: str) -> None:
    qkv, norm, arena = seeded(9, BATCH, ROWS, 3 * HEADS * HEAD_DIM), weights(kind), empty_arena()
    query, key, value = qkv.unflatten(-1, (3, HEADS, HEAD_DIM)).unbind(2)
    query = rotate(normed(query, norm, norm.query_weight, norm.query_bias), turns())
    key = rotate(normed(key, norm, norm.key_weight, norm.key_bias), turns())
    assert_identity(prologue(qkv, norm, turns(), arena, WHERE), query.transpose(1, 2))
    assert_identity(arena[0][:, :, WHERE], key.transpose(1, 2))
    assert torch.equal(arena[1][:, :, WHERE], value.transpose(1, 2))


def test_each_row_goes_to_its_place_and_nothing_elsewhere() -> None:
    arena = empty_arena()
    prologue(seeded(9, BATCH, ROWS, 3 * HEADS * HEAD_DIM), weights("rms"), turns(), arena, WHERE)
    others = [place for place in range(PLACES) if place not in WHERE.tolist()]
    for places in arena:
        assert places[:, :, others].isnan().all()
        assert places[:, :, WHERE].isfinite().all()


def test_places_are_read_when_the_rows_are_written() -> None:
    """As a captured graph needs it: the same call with other places writes elsewhere."""
    qkv, places = seeded(9, BATCH, ROWS, 3 * HEADS * HEAD_DIM), WHERE.clone()
    first, second = empty_arena(), empty_arena()
    prologue(qkv, weights("none"), turns(), first, places)
    places.copy_(torch.arange(ROWS))
    prologue(qkv, weights("none"), turns(), second, places)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one[:, :, WHERE], other[:, :, :ROWS])


def test_an_rms_norm_may_have_a_bias_too() -> None:
    bias = seeded(3, HEAD_DIM)
    norm = weights("rms")._replace(query_bias=bias)
    qkv = seeded(9, BATCH, ROWS, 3 * HEADS * HEAD_DIM)
    standing = Rotary(torch.ones(ROWS, 2).double(), torch.zeros(ROWS, 2).double())
    with_bias = prologue(qkv, norm, standing, empty_arena(), WHERE)
    without = prologue(qkv, weights("rms"), standing, empty_arena(), WHERE)
    assert_identity(with_bias - bias, without)
