"""Rotary position angles, and nothing about attention.

Only the first ``rotary_dims`` of a head are rotated, in halves (x₁, x₂) → (x₁c − x₂s, x₂c + x₁s).
Angles are formed in float64, whatever the model's dtype: a stream may run for hours, and float32
positions would lose the fractions of a turn that tell neighbours apart.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Rotary(NamedTuple):
    """Cosines and sines of a run of rows, in the dtype in which rows are rotated."""

    cos: Float[Tensor, "rows half"]
    sin: Float[Tensor, "rows half"]


def inverse_frequencies(rotary_dims: int, base: float) -> Float[Tensor, " half"]:
    """Radians per position of each rotated pair, in float64."""
    exponents = torch.arange(0, rotary_dims, 2, dtype=torch.float64) / rotary_dims
    return base**-exponents


def rotary_angles(
    positions: Int[Tensor, " rows"], inverse_frequencies: Float[Tensor, " half"], dtype: torch.dtype
) -> Rotary:
    """The rotation of each row, for heads of ``dtype`` (half precisions rotate in float32)."""
    turns = positions.to(torch.float64)[:, None] * inverse_frequencies.to(torch.float64)
    wide = torch.promote_types(dtype, torch.float32)
    return Rotary(turns.cos().to(wide), turns.sin().to(wide))


def rotate(
    heads: Float[Tensor, "batch rows heads head_dim"], rotary: Rotary
) -> Float[Tensor, "batch rows heads head_dim"]:
    """Each row's heads turned to its position; dims past the rotated ones stay."""
    half = rotary.cos.shape[-1]
    cos, sin = rotary.cos[:, None, :], rotary.sin[:, None, :]
    first = heads[..., :half].to(cos.dtype)
    second = heads[..., half : 2 * half].to(cos.dtype)
    turned = torch.empty_like(heads)
    turned[..., :half] = first * cos - second * sin
    turned[..., half : 2 * half] = second * cos + first * sin
    turned[..., 2 * half :] = heads[..., 2 * half :]
    return turned
