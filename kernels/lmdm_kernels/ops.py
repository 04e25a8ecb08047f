"""The kernels as operators of torch: shapes without data, gradients and FLOPs, for torch.compile.

Plans come as ``FlatPlan`` numbers, since an operator takes no tuples of tuples; a moving plan
brings its device table beside them. Arguments are trusted: ``api.py`` checks them.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from lmdm_kernels.launch import LAUNCHES, Launch, Work, launch_for
from lmdm_kernels.support import card_of, dtype_name
from lmdm_kernels.tables import plan_table
from lmdm_kernels.tiles import longest_row, num_pairs

# Products of a query tile and a key tile: scores and output; in the backward pass scores again,
# and the gradients of weights, queries, keys and values.
FORWARD_PRODUCTS = 2
BACKWARD_PRODUCTS = 5


@torch.library.custom_op("lmdm::interval_attention", mutates_args=())
def interval_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    plan: Sequence[int],
    table: Tensor | None,
    scale: float,
    launch: Sequence[int],
    precision: str,
) -> tuple[Tensor, Tensor]:
    """(out, base-2 lse). ``launch`` holds Launch's five integers, or nothing: the shipped table's,
    and then ``precision`` is the table's too."""
    from lmdm_kernels.interval_attention import interval_attention

    flat = tuple(plan)
    if launch:
        block_q, block_k, splits, num_warps, num_stages = launch
        chosen = Launch(block_q, block_k, splits, num_warps, num_stages, precision)
    else:
        work = Work(
            dtype=dtype_name(query.dtype),
            head_dim=query.shape[3],
            plan=flat,
            batch_heads=query.shape[0] * query.shape[1],
            capacity=longest_row(flat)[1] if table is None else key.shape[2],
        )
        chosen = launch_for(card_of(query.device), work, LAUNCHES)
    if table is None:
        table = plan_table(flat, chosen.block_q, query.device)
    return interval_attention(query, key, value, table, scale, chosen)


@interval_attention.register_fake
def _interval_attention_shapes(
    query: Tensor, key: Tensor, value: Tensor, *numbers: Any
) -> tuple[Tensor, Tensor]:
    batch, heads, rows, head_dim = query.shape
    out = query.new_empty(batch, rows, heads, head_dim).transpose(1, 2)
    return out, query.new_empty(batch, heads, rows, dtype=torch.float32)


@torch.library.custom_op("lmdm::interval_attention_backward", mutates_args=())
def interval_attention_backward(
    grad_out: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
    plan: Sequence[int],
    scale: float,
    precision: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value."""
    from lmdm_kernels.interval_backward import interval_backward

    return interval_backward(grad_out, query, key, value, out, lse, tuple(plan), scale, precision)


@interval_attention_backward.register_fake
def _interval_attention_backward_shapes(
    grad_out: Tensor, query: Tensor, key: Tensor, value: Tensor, *numbers: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, plan, _, scale, _, precision = inputs
    ctx.save_for_backward(query, key, value, *output)
    ctx.mark_non_differentiable(output[1])
    ctx.plan, ctx.scale, ctx.precision = plan, scale, precision


def _differentiate(ctx: Any, grad_out: Tensor, _: Any) -> tuple[Tensor | None, ...]:
    gradients = torch.ops.lmdm.interval_attention_backward(
        grad_out, *ctx.saved_tensors, ctx.plan, ctx.scale, ctx.precision
    )
    return (*gradients, None, None, None, None, None)


interval_attention.register_autograd(_differentiate, setup_context=_remember)


@torch.library.custom_op("lmdm::qkv_prologue", mutates_args=("keys", "values"))
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
    """The query; keys and values go into their places."""
    from lmdm_kernels.qkv_prologue import qkv_prologue

    return qkv_prologue(
        qkv, norm, query_weight, query_bias, key_weight, key_bias, epsilon, cos, sin, keys, values,
        places,
    )  # fmt: skip


@qkv_prologue.register_fake
def _qkv_prologue_shapes(qkv: Tensor, norm: str, *others: Any) -> Tensor:
    keys = others[-3]
    _, heads, _, head_dim = keys.shape
    return qkv.new_empty(qkv.shape[0], heads, qkv.shape[1], head_dim)


@register_flop_formula(torch.ops.lmdm.interval_attention)
def attention_flops(
    query_shape: Sequence[int],
    key_shape: Sequence[int],
    value_shape: Sequence[int],
    plan: Sequence[int],
    *others: Any,
    **options: Any,
) -> int:
    """Two for each multiplication of visible pairs: no tile is counted that a plan leaves out."""
    batch, heads, _, head_dim = query_shape
    return 2 * FORWARD_PRODUCTS * batch * heads * head_dim * num_pairs(tuple(plan))


@register_flop_formula(torch.ops.lmdm.interval_attention_backward)
def attention_backward_flops(
    grad_shape: Sequence[int],
    query_shape: Sequence[int],
    key_shape: Sequence[int],
    value_shape: Sequence[int],
    attended_shape: Sequence[int],
    lse_shape: Sequence[int],
    plan: Sequence[int],
    *others: Any,
    **options: Any,
) -> int:
    batch, heads, _, head_dim = query_shape
    return 2 * BACKWARD_PRODUCTS * batch * heads * head_dim * num_pairs(tuple(plan))
