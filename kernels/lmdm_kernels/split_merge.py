"""Partial results of one query over disjoint keys, joined into the whole (Triton)."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from lmdm_kernels.launch import MAX_REGISTERS, MAX_SPLITS
from lmdm_kernels.softmax import narrow

BLOCK_ROWS = 4
NUM_WARPS = 4


@triton.jit(do_not_specialize=["rows", "heads", "splits"])
def merge_rows(
    parts,
    part_lse,
    out,
    lse,
    rows,
    heads,
    splits,
    stride_ob, stride_oh, stride_or,
    HEAD_DIM: tl.constexpr,
    MAX_SPLITS: tl.constexpr,
    BLOCK_R: tl.constexpr,
    WIDEN: tl.constexpr,
):  # fmt: skip
    """Program (rows' tile, batch · heads + head): out = Σ 2^lseᵢ · partᵢ ÷ Σ 2^lseᵢ.

    A split without keys has lse −∞ and weighs nothing; at least one split has keys.
    """
    batch_head = tl.program_id(1).to(tl.int64)  # offsets may pass 2³¹
    num_heads = tl.num_programs(1)
    at = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    dims = tl.arange(0, HEAD_DIM)
    is_row = at < rows
    top = tl.full([BLOCK_R], float("-inf"), tl.float32)
    # Unrolled for the most splits there can be, so that all loads are under way at once.
    for split in tl.static_range(MAX_SPLITS):
        is_there = at < tl.where(split < splits, rows, 0)
        lse_at = part_lse + (split * num_heads + batch_head) * rows + at
        top = tl.maximum(top, tl.load(lse_at, mask=is_there, other=float("-inf")))
    top = tl.where(is_row, top, 0.0)
    total = tl.zeros([BLOCK_R], tl.float32)
    merged = tl.zeros([BLOCK_R, HEAD_DIM], tl.float32)
    for split in tl.static_range(MAX_SPLITS):
        is_there = at < tl.where(split < splits, rows, 0)
        row = (split * num_heads + batch_head) * rows + at
        weight = tl.exp2(tl.load(part_lse + row, mask=is_there, other=float("-inf")) - top)
        part_at = parts + row[:, None] * HEAD_DIM + dims[None, :]
        part = tl.load(part_at, mask=is_there[:, None], other=0.0)
        total += weight
        merged += weight[:, None] * part
    total = tl.where(is_row, total, 1.0)
    merged = merged * (1.0 / total)[:, None]
    tl.store(lse + batch_head * rows + at, top + tl.log2(total), mask=is_row)
    out_at = out + batch_head // heads * stride_ob + batch_head % heads * stride_oh
    out_at += at[:, None] * stride_or + dims[None, :]
    tl.store(out_at, narrow(merged, out.dtype.element_ty, WIDEN), mask=is_row[:, None])


INTERPRETED = not isinstance(merge_rows, triton.JITFunction)


def merge_splits(parts: Tensor, part_lse: Tensor, out: Tensor, lse: Tensor) -> None:
    """Write ``out`` [batch, heads, rows, head_dim] and ``lse`` [batch, heads, rows].

    ``parts`` [splits, batch, heads, rows, head_dim] and ``part_lse`` [splits, batch, heads, rows]
    are contiguous float32.
    """
    splits, batch, heads, rows, head_dim = parts.shape
    merge_rows[(triton.cdiv(rows, BLOCK_ROWS), batch * heads)](
        parts, part_lse, out, lse, rows, heads, splits,
        *out.stride()[:3],
        HEAD_DIM=head_dim,
        MAX_SPLITS=MAX_SPLITS,
        BLOCK_R=BLOCK_ROWS,
        WIDEN=INTERPRETED and out.dtype is torch.bfloat16,
        num_warps=NUM_WARPS,
        maxnreg=MAX_REGISTERS,
        enable_fp_fusion=True,
    )  # fmt: skip
