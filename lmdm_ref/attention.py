"""Attention over a plan: ``attend`` in readable form, and the dense oracle it is tested against."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from lmdm_ref.arena import Span
from lmdm_ref.plan import Plan

# Where two plain products are faster than the library's attention on a CPU (reports/log.md): for a
# query or few over many keys, whose work it does not share out; and in bfloat16, as long as the
# scores are not so many that making room for them costs more than is gained.
FEW_QUERIES = 4
MANY_KEYS = 256
MANY_SCORES = 1 << 23

# ``attend(query, key, value, plan)``: query rows are the plan's queries in order, key and value
# rows the places that its key spans name; key heads may be fewer than query heads (grouped).
Attend = Callable[[Tensor, Tensor, Tensor, Plan], Tensor]


def attend(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch key_heads keys head_dim"],
    value: Float[Tensor, "batch key_heads keys head_dim"],
    plan: Plan,
) -> Float[Tensor, "batch heads queries head_dim"]:
    """Softmax attention, one mask-free call for each row of the plan.

    Keys are sliced: what is outside a row's spans is not read at all.
    """
    if len(plan) == 1:
        return _attend_row(query, key, value, plan[0].keys)
    rows = [
        _attend_row(query[:, :, row.queries.start : row.queries.stop], key, value, row.keys)
        for row in plan
    ]
    return torch.cat(rows, dim=2)


def attend_biased(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch heads keys head_dim"],
    value: Float[Tensor, "batch heads keys head_dim"],
    plan: Plan,
    bias: Float[Tensor, "heads queries seen"],
) -> Float[Tensor, "batch heads queries head_dim"]:
    """As ``attend``, with a bias on the scores of the keys that the plan's one row sees.

    Raises ValueError for a plan of more than one key span.
    """
    if len(plan) != 1 or len(plan[0].keys) != 1:
        raise ValueError(f"a bias goes with one key span, got {plan}")
    (span,) = plan[0].keys
    if query.device.type == "cpu":
        return _attend_by_products(query, key, value, span, _wide(query), bias)
    here = slice(span.start, span.stop)
    return functional.scaled_dot_product_attention(
        query, key[:, :, here], value[:, :, here], attn_mask=bias
    )


def attend_dense(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch key_heads keys head_dim"],
    value: Float[Tensor, "batch key_heads keys head_dim"],
    plan: Plan,
) -> Float[Tensor, "batch heads queries head_dim"]:
    """The oracle: softmax over all keys in float64, invisible pairs at minus infinity.

    Invisible values are zeroed before the product, since 0 · NaN would not be 0.
    """
    visible = dense_mask(plan, key.shape[2]).to(key.device)
    groups = query.shape[1] // key.shape[1]
    wide_key = key.double().repeat_interleave(groups, dim=1)
    wide_value = value.double().repeat_interleave(groups, dim=1)
    scores = query.double() @ wide_key.mT / query.shape[-1] ** 0.5
    weights = scores.masked_fill(~visible, -torch.inf).softmax(dim=-1)
    seen = visible.any(dim=0)[:, None]
    return (weights @ wide_value.masked_fill(~seen, 0.0)).to(query.dtype)


def dense_mask(plan: Plan, num_keys: int) -> Bool[Tensor, "queries keys"]:
    """True where the plan lets a query see a key."""
    mask = torch.zeros(max(row.queries.stop for row in plan), num_keys, dtype=torch.bool)
    for row in plan:
        for span in row.keys:
            mask[row.queries.start : row.queries.stop, span.start : span.stop] = True
    return mask


def _attend_row(query: Tensor, key: Tensor, value: Tensor, spans: tuple[Span, ...]) -> Tensor:
    if len(spans) > 1:
        # Copying the keys and values is cheaper than joining scores and adding two results, in
        # bfloat16 by a quarter to a half of all the row's time (reports/log.md).
        key, value = (
            torch.cat([one[:, :, span.start : span.stop] for span in spans], dim=2)
            for one in (key, value)
        )
        spans = (Span(0, key.shape[2]),)
    (span,) = spans
    if query.device.type == "cpu":
        is_few = query.shape[2] <= FEW_QUERIES
        if is_few and span.size >= MANY_KEYS:
            return _attend_by_products(query, key, value, span, _wide(query))
        num_scores = query.shape[:3].numel() * span.size
        if not is_few and query.dtype is torch.bfloat16 and num_scores <= MANY_SCORES:
            return _attend_by_products(query, key, value, span, query.dtype)
    return functional.scaled_dot_product_attention(
        query,
        key[:, :, span.start : span.stop],
        value[:, :, span.start : span.stop],
        enable_gqa=query.shape[1] != key.shape[1],
    )


def _attend_by_products(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    span: Span,
    dtype: torch.dtype,
    bias: Tensor | None = None,
) -> Tensor:
    """``dtype`` is that of the products: for single rows the CPU's bfloat16 ones are slower."""
    seen_key = _grouped(key[:, :, span.start : span.stop], query).to(dtype)
    seen_value = _grouped(value[:, :, span.start : span.stop], query).to(dtype)
    scores = (query.to(dtype) * query.shape[-1] ** -0.5) @ seen_key.mT
    if bias is not None:
        scores = scores + bias
    return (scores.softmax(dim=-1) @ seen_value).to(query.dtype)


def _wide(query: Tensor) -> torch.dtype:
    return torch.promote_types(query.dtype, torch.float32)


def _grouped(heads: Tensor, query: Tensor) -> Tensor:
    groups = query.shape[1] // heads.shape[1]
    return heads if groups == 1 else heads.repeat_interleave(groups, dim=1)
