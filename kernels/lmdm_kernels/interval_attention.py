"""Attention over a plan: one kernel for full, encoder-decoder and block-causal plans (Triton).

Each program takes one tile of queries (``tiles.py``) and walks over its row's one or two spans of
keys. It is FlashAttention's online softmax (Dao et al. 2022) over spans instead of a mask: what is
invisible is never in a loop's bounds. With few queries there are too few tiles for the GPU's
multiprocessors; several programs then share a tile's keys, and ``split_merge.py`` joins what they
make. No length and no number of splits is compiled in.

Q  query tile [BLOCK_Q, HEAD_DIM]        K, V  key and value tiles [BLOCK_K, HEAD_DIM]
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from lmdm_kernels.launch import MAX_REGISTERS, Launch
from lmdm_kernels.softmax import narrow, update
from lmdm_kernels.split_merge import merge_splits

LOG2_E = 1.4426950408889634


@triton.jit(do_not_specialize=["stride_lse", "heads", "key_heads"])
def attend_tiles(
    queries,
    keys,
    values,
    out,
    lse,
    table,
    scale,
    stride_qb, stride_qh, stride_qr,
    stride_kb, stride_kh, stride_kr,
    stride_vb, stride_vh, stride_vr,
    stride_os, stride_ob, stride_oh, stride_or,
    stride_lse,
    heads,
    key_heads,
    HEAD_DIM: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PRECISION: tl.constexpr,
    WIDEN: tl.constexpr,
):  # fmt: skip
    """Program (tile, batch · heads + head, split).

    ``lse`` [splits, batch · heads, rows] gets the base-2 logarithm of each softmax sum; ``out`` the
    split's part of the result, normalised by its own sum.
    """
    row = table + tl.program_id(0) * 6
    query_start = tl.load(row)
    query_stop = tl.load(row + 1)
    first_start = tl.load(row + 2)
    first_stop = tl.load(row + 3)
    second_start = tl.load(row + 4)
    second_stop = tl.load(row + 5)
    batch_head = tl.program_id(1)
    split = tl.program_id(2)
    # Strides times these may pass 2³¹; within a head the caller has seen to it that none does.
    batch = (batch_head // heads).to(tl.int64)
    head = (batch_head % heads).to(tl.int64)
    key_head = head // (heads // key_heads)
    head_keys = keys + batch * stride_kb + key_head * stride_kh
    head_values = values + batch * stride_vb + key_head * stride_vh

    rows = query_start + tl.arange(0, BLOCK_Q)
    dims = tl.arange(0, HEAD_DIM)
    is_row = rows < query_stop
    query_at = queries + batch * stride_qb + head * stride_qh + rows[:, None] * stride_qr
    Q = tl.load(query_at + dims[None, :], mask=is_row[:, None], other=0.0)
    if WIDEN:
        Q = Q.to(tl.float32)
    top = tl.full([BLOCK_Q], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_Q], tl.float32)
    accumulated = tl.zeros([BLOCK_Q, HEAD_DIM], tl.float32)

    # The row's key tiles in one order: the whole ones of both spans, then the ragged ends. Splits
    # share them out evenly; one may get none.
    first_whole = (first_stop - first_start) // BLOCK_K
    second_whole = (second_stop - second_start) // BLOCK_K
    first_end = first_start + first_whole * BLOCK_K
    second_end = second_start + second_whole * BLOCK_K
    first_ragged = (first_end < first_stop).to(tl.int32)
    second_ragged = (second_end < second_stop).to(tl.int32)
    num_whole = first_whole + second_whole
    num_tiles = num_whole + first_ragged + second_ragged
    splits = tl.num_programs(2)
    begin = split * num_tiles // splits
    end = (split + 1) * num_tiles // splits
    for tile in range(begin, tl.minimum(end, num_whole)):
        is_first = tile < first_whole
        start = tl.where(is_first, first_start, second_start - first_whole * BLOCK_K)
        start += tile * BLOCK_K
        accumulated, top, total = update(
            accumulated, top, total, Q, head_keys, head_values, start, start, stride_kr, stride_vr,
            scale, BLOCK_K, HEAD_DIM, PRECISION, WIDEN, False,
        )  # fmt: skip
    for tile in tl.range(tl.maximum(begin, num_whole), end, num_stages=1):
        is_first = tile < num_whole + first_ragged
        start = tl.where(is_first, first_end, second_end)
        stop = tl.where(is_first, first_stop, second_stop)
        accumulated, top, total = update(
            accumulated, top, total, Q, head_keys, head_values, start, stop, stride_kr, stride_vr,
            scale, BLOCK_K, HEAD_DIM, PRECISION, WIDEN, True,
        )  # fmt: skip
    # Only a split without keys has no sum: it weighs nothing when the splits are merged.
    is_empty = total == 0.0
    divisor = tl.where(is_empty, 1.0, total)
    accumulated = accumulated * (1.0 / divisor)[:, None]
    log_sum = tl.where(is_empty, float("-inf"), top + tl.log2(divisor))
    lse_at = lse + (split * tl.num_programs(1) + batch_head).to(tl.int64) * stride_lse + rows
    tl.store(lse_at, log_sum, mask=is_row)
    out_at = out + split.to(tl.int64) * stride_os + batch * stride_ob + head * stride_oh
    out_at += rows[:, None] * stride_or + dims[None, :]
    dtype: tl.constexpr = out.dtype.element_ty
    IS_CUT_OFF: tl.constexpr = WIDEN and dtype == tl.bfloat16
    tl.store(out_at, narrow(accumulated, dtype, IS_CUT_OFF), mask=is_row[:, None])


INTERPRETED = not isinstance(attend_tiles, triton.JITFunction)


def interval_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    table: Tensor,
    scale: float,
    launch: Launch,
) -> tuple[Tensor, Tensor]:
    """(out [batch, heads, rows, head_dim], lse [batch, heads, rows] in base 2).

    ``table`` [tiles, 6] holds the plan's tiles of ``launch.block_q`` queries. Nothing is checked
    here. Out lies in memory as [batch, rows, heads, head_dim], as the next projection reads it.
    """
    batch, heads, rows, head_dim = query.shape
    splits = launch.splits
    out = query.new_empty(batch, rows, heads, head_dim).transpose(1, 2)
    lse = query.new_empty(batch, heads, rows, dtype=torch.float32)
    part, part_lse = out[None], lse[None]
    if splits > 1:
        part = query.new_empty(splits, batch, heads, rows, head_dim, dtype=torch.float32)
        part_lse = query.new_empty(splits, batch, heads, rows, dtype=torch.float32)
    attend_tiles[(table.shape[0], batch * heads, splits)](
        query, key, value, part, part_lse, table, scale * LOG2_E,
        *query.stride()[:3], *key.stride()[:3], *value.stride()[:3], *part.stride()[:4],
        rows,
        heads,
        key.shape[1],
        HEAD_DIM=head_dim,
        BLOCK_Q=launch.block_q,
        BLOCK_K=launch.block_k,
        PRECISION=launch.precision,
        WIDEN=INTERPRETED and query.dtype is torch.bfloat16,
        num_warps=launch.num_warps,
        num_stages=launch.num_stages,
        maxnreg=MAX_REGISTERS,
        enable_fp_fusion=True,
    )  # fmt: skip
    if splits > 1:
        merge_splits(part, part_lse, out, lse)
    return out, lse
