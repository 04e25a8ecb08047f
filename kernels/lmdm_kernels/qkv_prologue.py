"""From the packed QKV projection to attention in one pass over memory (Triton).

Queries and keys of each head are normalised and turned to their positions; keys and values go into
the arena at places that are read from the device, so that a captured graph may write elsewhere each
time it is replayed. A pair's other element is loaded a second time, by the same program: from the
cache, it is meant, and without an exchange between threads.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from lmdm_kernels.launch import MAX_REGISTERS
from lmdm_kernels.softmax import narrow

# Elements of query, key and value each that a program takes: 16 bytes a thread in half precision.
BLOCK_ELEMENTS = 512
NUM_WARPS = 2


@triton.jit
def turned(
    heads,
    partners,
    weight,
    bias,
    cos,
    sin,
    dims,
    partner_dims,
    epsilon,
    HEAD_DIM: tl.constexpr,
    NORM: tl.constexpr,
):
    """Rows of one head [BLOCK_R, HEAD_DIM] in float32, normalised and rotated."""
    if NORM == "layer":
        mean = (tl.sum(heads, 1) / HEAD_DIM)[:, None]
        heads -= mean
        partners -= mean
    if NORM != "none":
        factor = tl.rsqrt(tl.sum(heads * heads, 1) / HEAD_DIM + epsilon)[:, None]
        heads *= factor
        partners *= factor
        if weight is not None:
            heads *= tl.load(weight + dims).to(tl.float32)[None, :]
            partners *= tl.load(weight + partner_dims).to(tl.float32)[None, :]
        if bias is not None:
            heads += tl.load(bias + dims).to(tl.float32)[None, :]
            partners += tl.load(bias + partner_dims).to(tl.float32)[None, :]
    return heads * cos + partners * sin


@triton.jit(do_not_specialize=["rows"])
def prepare_rows(
    qkv,
    query_weight,
    query_bias,
    key_weight,
    key_bias,
    cos,
    sin,
    places,
    queries,
    keys,
    values,
    epsilon,
    rows,
    stride_xb, stride_xr,
    stride_cos, stride_sin,
    stride_qb, stride_qh, stride_qr,
    stride_kb, stride_kh, stride_kr,
    stride_vb, stride_vh, stride_vr,
    HEAD_DIM: tl.constexpr,
    HALF: tl.constexpr,
    NORM: tl.constexpr,
    BLOCK_R: tl.constexpr,
    WIDEN: tl.constexpr,
):  # fmt: skip
    """Program (rows' tile, head, batch): its query, key and value."""
    at = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    head = tl.program_id(1)
    batch = tl.program_id(2).to(tl.int64)
    width = tl.num_programs(1) * HEAD_DIM
    dims = tl.arange(0, HEAD_DIM)
    is_row = (at < rows)[:, None]

    # (x₁, x₂) → (x₁c − x₂s, x₂c + x₁s): x itself times c, and its partner times ∓s. Dims past
    # the rotated ones have c = 1, s = 0 and no partner.
    is_turned = is_row & (dims < 2 * HALF)[None, :]
    partner_dims = (dims + HALF) % (2 * HALF)
    angles = (dims % HALF)[None, :]
    row_cos = tl.load(cos + at[:, None] * stride_cos + angles, mask=is_turned, other=1.0)
    row_sin = tl.load(sin + at[:, None] * stride_sin + angles, mask=is_turned, other=0.0)
    row_sin = tl.where((dims < HALF)[None, :], -row_sin, row_sin)

    row = qkv + batch * stride_xb + at[:, None] * stride_xr + head * HEAD_DIM
    query = tl.load(row + dims[None, :], mask=is_row, other=0.0).to(tl.float32)
    key = tl.load(row + width + dims[None, :], mask=is_row, other=0.0).to(tl.float32)
    value = tl.load(row + 2 * width + dims[None, :], mask=is_row, other=0.0)
    row += partner_dims[None, :]
    query_partner = tl.load(row, mask=is_turned, other=0.0).to(tl.float32)
    key_partner = tl.load(row + width, mask=is_turned, other=0.0).to(tl.float32)
    place = tl.load(places + at, mask=at < rows, other=0)[:, None]

    query = turned(
        query, query_partner, query_weight, query_bias, row_cos, row_sin, dims, partner_dims,
        epsilon, HEAD_DIM, NORM,
    )  # fmt: skip
    key = turned(
        key, key_partner, key_weight, key_bias, row_cos, row_sin, dims, partner_dims,
        epsilon, HEAD_DIM, NORM,
    )  # fmt: skip
    query_at = queries + batch * stride_qb + head * stride_qh + at[:, None] * stride_qr
    key_at = keys + batch * stride_kb + head * stride_kh + place * stride_kr
    value_at = values + batch * stride_vb + head * stride_vh + place * stride_vr
    dtype: tl.constexpr = qkv.dtype.element_ty
    tl.store(query_at + dims[None, :], narrow(query, dtype, WIDEN), mask=is_row)
    tl.store(key_at + dims[None, :], narrow(key, dtype, WIDEN), mask=is_row)
    tl.store(value_at + dims[None, :], value, mask=is_row)


INTERPRETED = not isinstance(prepare_rows, triton.JITFunction)


def qkv_prologue(
    qkv: Tensor,
    norm: str,
    query_weight: Tensor | None,
    query_bias: Tensor | None,
    key_weight: Tensor | None,
    key_bias: Tensor | None,
    epsilon: float,
    cos: Tensor,
    sin: Tensor,
    keys: Tensor,
    values: Tensor,
    places: Tensor,
) -> Tensor:
    """Queries [batch, heads, rows, head_dim]; keys and values are written into their places.

    ``qkv`` [batch, rows, 3 · heads · head_dim]; ``norm`` over head_dim is "layer", "rms" or "none",
    with weights and biases [head_dim]; ``cos`` and ``sin`` [rows, half] in float32 turn the first
    2 · half dims, in halves; ``keys`` and ``values`` [batch, heads, all places, head_dim];
    ``places`` [rows]. Nothing is checked here.
    """
    batch, rows, _ = qkv.shape
    _, heads, _, head_dim = keys.shape
    query = qkv.new_empty(batch, heads, rows, head_dim)
    block = BLOCK_ELEMENTS // head_dim
    prepare_rows[(triton.cdiv(rows, block), heads, batch)](
        qkv, query_weight, query_bias, key_weight, key_bias, cos, sin, places,
        query, keys, values,
        epsilon,
        rows,
        *qkv.stride()[:2], cos.stride(0), sin.stride(0),
        *query.stride()[:3], *keys.stride()[:3], *values.stride()[:3],
        HEAD_DIM=head_dim,
        HALF=cos.shape[1],
        NORM=norm,
        BLOCK_R=block,
        WIDEN=INTERPRETED and qkv.dtype is torch.bfloat16,
        num_warps=NUM_WARPS,
        maxnreg=MAX_REGISTERS,
        enable_fp_fusion=True,
    )  # fmt: skip
    return query
