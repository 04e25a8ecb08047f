"""The backward pass of attention over a plan, without atomics: the same bits every time (Triton).

Probabilities are computed again from the scores and the forward pass's ``lse`` (Dao et al. 2022).
One kernel takes tiles of queries and walks over their keys; the other takes tiles of keys that the
same queries see and walks over those queries. All tiles are masked: no stream waits for them.
As ``lse`` is in float32, probabilities lose digits where scores reach a hundred or more.

Q  query tile [BLOCK_Q, HEAD_DIM]        K, V  key and value tiles [BLOCK_K, HEAD_DIM]
G  gradient of the output's tile [BLOCK_Q, HEAD_DIM]
"""

from functools import cache
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from lmdm_kernels.launch import MAX_REGISTERS
from lmdm_kernels.softmax import narrow
from lmdm_kernels.tables import plan_table
from lmdm_kernels.tiles import FlatPlan, key_tiles

LOG2_E = 1.4426950408889634


class BackwardLaunch(NamedTuple):
    """How both kernels are launched."""

    block_q: int
    block_k: int
    num_warps: int
    num_stages: int


# The same on all GPUs: none of them spills these.
HALF = BackwardLaunch(block_q=32, block_k=32, num_warps=4, num_stages=2)
FLOAT32 = BackwardLaunch(block_q=16, block_k=16, num_warps=8, num_stages=2)


@triton.jit(do_not_specialize=["stride_sums"])
def query_gradients(
    queries,
    keys,
    values,
    out,
    grad_out,
    lse,
    delta,
    grad_queries,
    table,
    scale,
    grad_scale,
    stride_qb, stride_qh, stride_qr,
    stride_kb, stride_kh, stride_kr,
    stride_vb, stride_vh, stride_vr,
    stride_ob, stride_oh, stride_or,
    stride_gb, stride_gh, stride_gr,
    stride_dqb, stride_dqh, stride_dqr,
    stride_sums,
    heads,
    key_heads,
    HEAD_DIM: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDEN: tl.constexpr,
):  # fmt: skip
    """Program (tile, batch · heads + head). Also writes delta = Σ out · grad_out of each query."""
    row = table + tl.program_id(0) * 6
    query_start = tl.load(row)
    query_stop = tl.load(row + 1)
    batch_head = tl.program_id(1).to(tl.int64)
    batch = batch_head // heads
    head = batch_head % heads
    key_head = head // (heads // key_heads)
    head_keys = keys + batch * stride_kb + key_head * stride_kh
    head_values = values + batch * stride_vb + key_head * stride_vh

    rows = query_start + tl.arange(0, BLOCK_Q)
    dims = tl.arange(0, HEAD_DIM)
    is_row = rows < query_stop
    query_at = queries + batch * stride_qb + head * stride_qh + rows[:, None] * stride_qr
    out_at = out + batch * stride_ob + head * stride_oh + rows[:, None] * stride_or
    grad_at = grad_out + batch * stride_gb + head * stride_gh + rows[:, None] * stride_gr
    Q = tl.load(query_at + dims[None, :], mask=is_row[:, None], other=0.0)
    G = tl.load(grad_at + dims[None, :], mask=is_row[:, None], other=0.0)
    result = tl.load(out_at + dims[None, :], mask=is_row[:, None], other=0.0)
    row_delta = tl.sum(result.to(tl.float32) * G.to(tl.float32), 1)
    sums_at = batch_head * stride_sums + rows
    tl.store(delta + sums_at, row_delta, mask=is_row)
    row_lse = tl.load(lse + sums_at, mask=is_row, other=0.0)
    if WIDEN:
        Q = Q.to(tl.float32)
        G = G.to(tl.float32)
    accumulated = tl.zeros([BLOCK_Q, HEAD_DIM], tl.float32)
    for span in range(2):  # the second may be empty
        start = tl.load(row + 2 + 2 * span)
        stop = tl.load(row + 3 + 2 * span)
        for first in range(start, stop, BLOCK_K):
            places = first + tl.arange(0, BLOCK_K)
            is_key = places < stop
            key_at = head_keys + places[:, None] * stride_kr + dims[None, :]
            value_at = head_values + places[:, None] * stride_vr + dims[None, :]
            K = tl.load(key_at, mask=is_key[:, None], other=0.0)
            V = tl.load(value_at, mask=is_key[:, None], other=0.0)
            if WIDEN:
                K = K.to(tl.float32)
                V = V.to(tl.float32)
            scores = tl.dot(Q, tl.trans(K), input_precision=PRECISION) * scale
            scores = tl.where(is_key[None, :], scores, float("-inf"))
            probabilities = tl.exp2(scores - row_lse[:, None])
            slopes = tl.dot(G, tl.trans(V), input_precision=PRECISION) - row_delta[:, None]
            slopes *= probabilities
            if WIDEN:
                slopes = narrow(slopes, keys.dtype.element_ty, True).to(tl.float32)
            accumulated = tl.dot(slopes.to(K.dtype), K, accumulated, input_precision=PRECISION)
    result_at = grad_queries + batch * stride_dqb + head * stride_dqh
    result_at += rows[:, None] * stride_dqr + dims[None, :]
    narrowed = narrow(accumulated * grad_scale, grad_queries.dtype.element_ty, WIDEN)
    tl.store(result_at, narrowed, mask=is_row[:, None])


@triton.jit(do_not_specialize=["stride_sums"])
def key_gradients(
    queries,
    keys,
    values,
    grad_out,
    lse,
    delta,
    grad_keys,
    grad_values,
    table,
    spans,
    scale,
    grad_scale,
    stride_qb, stride_qh, stride_qr,
    stride_kb, stride_kh, stride_kr,
    stride_vb, stride_vh, stride_vr,
    stride_gb, stride_gh, stride_gr,
    stride_dkb, stride_dkh, stride_dkr,
    stride_dvb, stride_dvh, stride_dvr,
    stride_sums,
    heads,
    key_heads,
    HEAD_DIM: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDEN: tl.constexpr,
):  # fmt: skip
    """Program (tile of keys, batch · key heads + key head), summing over the heads that share it.

    ``table`` [tiles, 4] and ``spans`` [spans, 2] are what ``tiles.key_tiles`` gives.
    """
    tile = table + tl.program_id(0) * 4
    key_start = tl.load(tile)
    key_stop = tl.load(tile + 1)
    first_span = tl.load(tile + 2)
    last_span = tl.load(tile + 3)
    batch_head = tl.program_id(1).to(tl.int64)
    batch = batch_head // key_heads
    key_head = batch_head % key_heads

    places = key_start + tl.arange(0, BLOCK_K)
    dims = tl.arange(0, HEAD_DIM)
    is_key = places < key_stop
    key_at = keys + batch * stride_kb + key_head * stride_kh + places[:, None] * stride_kr
    value_at = values + batch * stride_vb + key_head * stride_vh + places[:, None] * stride_vr
    K = tl.load(key_at + dims[None, :], mask=is_key[:, None], other=0.0)
    V = tl.load(value_at + dims[None, :], mask=is_key[:, None], other=0.0)
    if WIDEN:
        K = K.to(tl.float32)
        V = V.to(tl.float32)
    grad_K = tl.zeros([BLOCK_K, HEAD_DIM], tl.float32)
    grad_V = tl.zeros([BLOCK_K, HEAD_DIM], tl.float32)
    num_shared = heads // key_heads
    for shared in range(num_shared):
        head = key_head * num_shared + shared
        head_queries = queries + batch * stride_qb + head * stride_qh
        head_grads = grad_out + batch * stride_gb + head * stride_gh
        sums_at = (batch_head * num_shared + shared) * stride_sums
        for span in range(first_span, last_span):
            start = tl.load(spans + 2 * span)
            stop = tl.load(spans + 2 * span + 1)
            for first in range(start, stop, BLOCK_Q):
                rows = first + tl.arange(0, BLOCK_Q)
                is_row = rows < stop
                query_at = head_queries + rows[:, None] * stride_qr + dims[None, :]
                grad_at = head_grads + rows[:, None] * stride_gr + dims[None, :]
                Q = tl.load(query_at, mask=is_row[:, None], other=0.0)
                G = tl.load(grad_at, mask=is_row[:, None], other=0.0)
                if WIDEN:
                    Q = Q.to(tl.float32)
                    G = G.to(tl.float32)
                row_lse = tl.load(lse + sums_at + rows, mask=is_row, other=0.0)
                row_delta = tl.load(delta + sums_at + rows, mask=is_row, other=0.0)
                scores = tl.dot(K, tl.trans(Q), input_precision=PRECISION) * scale
                probabilities = tl.exp2(scores - row_lse[None, :])  # [BLOCK_K, BLOCK_Q]
                slopes = tl.dot(V, tl.trans(G), input_precision=PRECISION) - row_delta[None, :]
                slopes *= probabilities
                if WIDEN:
                    dtype: tl.constexpr = queries.dtype.element_ty
                    probabilities = narrow(probabilities, dtype, True).to(tl.float32)
                    slopes = narrow(slopes, dtype, True).to(tl.float32)
                grad_V = tl.dot(probabilities.to(G.dtype), G, grad_V, input_precision=PRECISION)
                grad_K = tl.dot(slopes.to(Q.dtype), Q, grad_K, input_precision=PRECISION)
    key_at = grad_keys + batch * stride_dkb + key_head * stride_dkh
    value_at = grad_values + batch * stride_dvb + key_head * stride_dvh
    key_at += places[:, None] * stride_dkr + dims[None, :]
    value_at += places[:, None] * stride_dvr + dims[None, :]
    grad_K = narrow(grad_K * grad_scale, grad_keys.dtype.element_ty, WIDEN)
    grad_V = narrow(grad_V, grad_values.dtype.element_ty, WIDEN)
    tl.store(key_at, grad_K, mask=is_key[:, None])
    tl.store(value_at, grad_V, mask=is_key[:, None])


INTERPRETED = not isinstance(query_gradients, triton.JITFunction)


@cache
def key_tables(
    plan: FlatPlan, block_k: int, num_keys: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """What ``key_tiles`` gives, in int32: tiles [tiles, 4] and query spans [spans, 2]."""
    tiles, spans = key_tiles(plan, block_k, num_keys)
    with torch.inference_mode(False):
        return (
            torch.tensor(tiles, dtype=torch.int32, device=device),
            torch.tensor(spans, dtype=torch.int32, device=device),
        )


def interval_backward(
    grad_out: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
    plan: FlatPlan,
    scale: float,
    precision: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value, with their shapes, dtypes and order in memory.

    ``out`` and ``lse`` are what ``interval_attention`` gave for the same inputs, plan and scale;
    ``precision`` is that of float32 products. Keys that nobody sees get exactly 0.
    """
    batch, heads, rows, head_dim = query.shape
    key_heads, num_keys = key.shape[1:3]
    if grad_out.stride(3) != 1:  # the gradient of a sum is one number, expanded
        grad_out = grad_out.contiguous()
    grad_query, grad_key, grad_value = (torch.empty_like(one) for one in (query, key, value))
    delta = torch.empty_like(lse)
    launch = FLOAT32 if query.dtype is torch.float32 else HALF
    tiles, spans = key_tables(plan, launch.block_k, num_keys, query.device)
    table = plan_table(plan, launch.block_q, query.device)
    options = {
        "HEAD_DIM": head_dim,
        "BLOCK_Q": launch.block_q,
        "BLOCK_K": launch.block_k,
        "PRECISION": precision,
        "WIDEN": INTERPRETED and query.dtype is torch.bfloat16,
        "num_warps": launch.num_warps,
        "num_stages": launch.num_stages,
        "maxnreg": MAX_REGISTERS,
        "enable_fp_fusion": True,
    }
    inputs = (*query.stride()[:3], *key.stride()[:3], *value.stride()[:3])
    query_gradients[(table.shape[0], batch * heads)](
        query, key, value, out, grad_out, lse, delta, grad_query, table,
        scale * LOG2_E, scale,
        *inputs, *out.stride()[:3], *grad_out.stride()[:3], *grad_query.stride()[:3],
        rows, heads, key_heads, **options,
    )  # fmt: skip
    key_gradients[(tiles.shape[0], batch * key_heads)](
        query, key, value, grad_out, lse, delta, grad_key, grad_value, tiles, spans,
        scale * LOG2_E, scale,
        *inputs, *grad_out.stride()[:3], *grad_key.stride()[:3], *grad_value.stride()[:3],
        rows, heads, key_heads, **options,
    )  # fmt: skip
    return grad_query, grad_key, grad_value
