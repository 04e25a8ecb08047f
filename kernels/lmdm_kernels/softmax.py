"""Softmax over keys that arrive a tile at a time, in base 2 (Triton).

The largest score so far and the sum of powers beside it are kept in float32; ``exp2`` is one
instruction of the hardware, so that scores are scaled by log2(e) once.

Q  query tile [BLOCK_Q, HEAD_DIM]        K, V  key and value tiles [BLOCK_K, HEAD_DIM]
"""

import triton
import triton.language as tl


@triton.jit
def update(
    accumulated,
    top,
    total,
    Q,
    keys,
    values,
    start,
    stop,
    stride_key,
    stride_value,
    scale,
    BLOCK_K: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDEN: tl.constexpr,
    IS_RAGGED: tl.constexpr,
):
    """One key tile from place ``start``; ``stop`` cuts it short where ``IS_RAGGED``.

    ``WIDEN`` computes in float32: Triton's interpreter multiplies bfloat16 wrongly.
    """
    places = start + tl.arange(0, BLOCK_K)
    dims = tl.arange(0, HEAD_DIM)
    key_at = keys + places[None, :] * stride_key + dims[:, None]
    value_at = values + places[:, None] * stride_value + dims[None, :]
    if IS_RAGGED:
        K = tl.load(key_at, mask=places[None, :] < stop, other=0.0)  # [HEAD_DIM, BLOCK_K]
        V = tl.load(value_at, mask=places[:, None] < stop, other=0.0)
    else:
        K = tl.load(key_at)
        V = tl.load(value_at)
    if WIDEN:
        K = K.to(tl.float32)
        V = V.to(tl.float32)
    scores = tl.dot(Q, K, input_precision=PRECISION)  # [BLOCK_Q, BLOCK_K]
    if IS_RAGGED:
        scores = tl.where(places[None, :] < stop, scores, float("-inf"))
    # ``scale`` is positive, so that it may be applied to the largest score, and to the others in
    # one instruction with the subtraction.
    new_top = tl.maximum(top, tl.max(scores, 1) * scale)
    powers = tl.exp2(scores * scale - new_top[:, None])
    fading = tl.exp2(top - new_top)
    total = total * fading + tl.sum(powers, 1)
    accumulated = accumulated * fading[:, None]
    if WIDEN:
        # Weights enter the product in the values' dtype, here as on the GPU.
        powers = narrow(powers, values.dtype.element_ty, True).to(tl.float32)
    accumulated = tl.dot(powers.to(V.dtype), V, accumulated, input_precision=PRECISION)
    return accumulated, new_top, total


@triton.jit
def narrow(wide, dtype: tl.constexpr, WIDEN: tl.constexpr):
    """Float32 numbers as they are stored, rounded to nearest even.

    Triton's interpreter cuts bfloat16 off instead (``WIDEN``): there the bits are rounded by hand.
    """
    if WIDEN:
        bits = wide.to(tl.uint32, bitcast=True)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        return tl.where(wide == wide, rounded, 0x7FC0).to(tl.uint16).to(dtype, bitcast=True)
    else:
        return wide.to(dtype)
