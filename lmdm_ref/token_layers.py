"""The layers of the LMMs: T5's (Magenta RealTime 1) and those with norms on both sides (2).

Each part adds to what it is given; all rows of a pass go through at once, one row in a decoding
step. ``attend`` scales by 1 ÷ √head_dim: T5 has that factor in its query weights instead.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from lmdm_ref.arena import Span
from lmdm_ref.attention import Attend, attend_biased
from lmdm_ref.cache import KVCache
from lmdm_ref.lmm_presets import StackConfig
from lmdm_ref.plan import Plan, plan_row

NORM_EPSILON = 1e-6
LOG2_E = math.log2(math.e)

Hidden = Float[Tensor, "batch rows width"]


@dataclass(frozen=True)
class TokenPass:
    """Where one pass's keys go, and whom its rows see there.

    Without a cache the plan's keys are the rows themselves. ``bias`` [heads, rows, keys] is added
    to the scores of the plan's one key span.
    """

    cache: KVCache | None
    places: Int[Tensor, " rows"] | None
    plan: Plan
    bias: Tensor | None = None


class RMSNorm(nn.RMSNorm):
    """Rows over their root mean square.

    The library has no single operator for it on CPUs, as it has for LayerNorm: the variance of x
    and −x together is the mean square of x, and for one row the doubled one costs nothing.
    """

    def forward(self, rows: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        width = rows.shape[-1]
        if rows.numel() > width:
            out: Tensor = super().forward(rows)
            return out
        both = torch.cat([rows, -rows], dim=-1)
        normed = functional.layer_norm(both, (2 * width,), eps=self.eps or 0.0)
        return normed[..., :width] * self.weight


class QueryScale(nn.Module):
    """A learned factor for each dimension of a query; 1 where its weight is 0."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(head_dim))

    def forward(self, query: Tensor) -> Tensor:
        return query * (functional.softplus(self.weight) * LOG2_E)


class T5SelfAttention(nn.Module):
    """Self-attention behind a norm."""

    def __init__(self, stack: StackConfig) -> None:
        super().__init__()
        self.heads = stack.num_heads
        self.norm = RMSNorm(stack.width, eps=NORM_EPSILON)
        self.qkv = nn.Linear(stack.width, 3 * stack.width, bias=False)
        self.out = nn.Linear(stack.width, stack.width, bias=False)

    def forward(self, hidden: Hidden, index: int, run: TokenPass, attend: Attend) -> Hidden:
        """``index`` is the layer's in ``run.cache``."""
        query, key, value = _heads(self.qkv(self.norm(hidden)), 3, self.heads)
        seen = _seen(query, key, value, index, run, attend)
        return hidden + self.out(seen)


class T5CrossAttention(nn.Module):
    """Attention to what the encoder made, behind a norm."""

    def __init__(self, stack: StackConfig) -> None:
        super().__init__()
        self.heads = stack.num_heads
        self.norm = RMSNorm(stack.width, eps=NORM_EPSILON)
        self.query = nn.Linear(stack.width, stack.width, bias=False)
        self.key_value = nn.Linear(stack.width, 2 * stack.width, bias=False)
        self.out = nn.Linear(stack.width, stack.width, bias=False)

    def write_source(self, encoded: Hidden, index: int, source: KVCache) -> None:
        """Keys and values of the encoded tokens, once for a block."""
        key, value = _heads(self.key_value(encoded), 2, self.heads)
        source.write(index, key, value, torch.arange(encoded.shape[1], device=encoded.device))

    def forward(self, hidden: Hidden, index: int, source: KVCache, attend: Attend) -> Hidden:
        (query,) = _heads(self.query(self.norm(hidden)), 1, self.heads)
        key, value = source.layer(index)
        plan = (plan_row(Span(0, hidden.shape[1]), [Span(0, key.shape[2])]),)
        seen = attend(query.transpose(1, 2), key, value, plan)
        return hidden + self.out(seen.transpose(1, 2).flatten(2))


class T5FeedForward(nn.Module):
    """GELU(gate) · up, then down, behind a norm."""

    def __init__(self, stack: StackConfig) -> None:
        super().__init__()
        self.norm = RMSNorm(stack.width, eps=NORM_EPSILON)
        self.gate_up = nn.Linear(stack.width, 2 * stack.feed_forward_width, bias=False)
        self.down = nn.Linear(stack.feed_forward_width, stack.width, bias=False)

    def forward(self, hidden: Hidden) -> Hidden:
        gate, up = self.gate_up(self.norm(hidden)).chunk(2, dim=-1)
        return hidden + self.down(functional.gelu(gate, approximate="tanh") * up)


class RelativeBias(nn.Module):
    """T5's bias on scores: one number for each head and bucket of distances into the past.

    Half of the buckets hold one distance each, the other half logarithmic ranges up to as many
    distances as there are buckets.
    """

    def __init__(self, buckets: int, heads: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(buckets, heads))

    def forward(self, count: int) -> Float[Tensor, "heads count count"]:
        """The bias of ``count`` rows on keys up to themselves; later keys share bucket 0."""
        places = torch.arange(count, device=self.weight.device)
        buckets = self.bucket((places[:, None] - places).clamp(min=0))
        return self.weight[buckets].permute(2, 0, 1).contiguous()

    def bucket(self, distance: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
        buckets = self.weight.shape[0]
        exact = buckets // 2
        share = (distance.clamp(min=1) / exact).log() / math.log(buckets / exact)
        coarse = (exact + (share * (buckets - exact)).long()).clamp(max=buckets - 1)
        return torch.where(distance < exact, distance, coarse)


class SelfAttention(nn.Module):
    """Self-attention between two norms, with a learned query scale."""

    def __init__(self, stack: StackConfig) -> None:
        super().__init__()
        self.heads = stack.num_heads
        self.norm = RMSNorm(stack.width, eps=NORM_EPSILON)
        self.qkv = nn.Linear(stack.width, 3 * stack.width, bias=False)
        self.scale = QueryScale(stack.head_dim)
        self.out = nn.Linear(stack.width, stack.width, bias=False)
        self.out_norm = RMSNorm(stack.width, eps=NORM_EPSILON)

    def forward(self, hidden: Hidden, index: int, run: TokenPass, attend: Attend) -> Hidden:
        query, key, value = _heads(self.qkv(self.norm(hidden)), 3, self.heads)
        seen = _seen(self.scale(query), key, value, index, run, attend)
        return hidden + self.out_norm(self.out(seen))


class StreamingCrossAttention(nn.Module):
    """Attention to the conditions of the same frames that self-attention sees, between norms."""

    def __init__(self, stack: StackConfig, source_width: int) -> None:
        super().__init__()
        self.heads = stack.num_heads
        self.norm = RMSNorm(stack.width, eps=NORM_EPSILON)
        self.query = nn.Linear(stack.width, stack.width, bias=False)
        self.key_value = nn.Linear(source_width, 2 * stack.width, bias=False)
        self.scale = QueryScale(stack.head_dim)
        self.out = nn.Linear(stack.width, stack.width, bias=False)
        self.out_norm = RMSNorm(stack.width, eps=NORM_EPSILON)

    def forward(
        self,
        hidden: Hidden,
        source: Float[Tensor, "batch rows source_width"],
        index: int,
        run: TokenPass,
        attend: Attend,
    ) -> Hidden:
        """``source`` are the conditions of the pass's rows; older ones stand in ``run.cache``."""
        (query,) = _heads(self.query(self.norm(hidden)), 1, self.heads)
        key, value = _heads(self.key_value(source), 2, self.heads)
        seen = _seen(self.scale(query), key, value, index, run, attend)
        return hidden + self.out_norm(self.out(seen))


class FeedForward(nn.Module):
    """Up, GELU, down with biases, between two norms."""

    def __init__(self, stack: StackConfig) -> None:
        super().__init__()
        self.norm = RMSNorm(stack.width, eps=NORM_EPSILON)
        self.up = nn.Linear(stack.width, stack.feed_forward_width)
        self.down = nn.Linear(stack.feed_forward_width, stack.width)
        self.out_norm = RMSNorm(stack.width, eps=NORM_EPSILON)

    def forward(self, hidden: Hidden) -> Hidden:
        inner = functional.gelu(self.up(self.norm(hidden)), approximate="tanh")
        return hidden + self.out_norm(self.down(inner))


def _heads(rows: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """[batch, rows, parts · heads · head_dim] as parts of [batch, rows, heads, head_dim]."""
    return rows.unflatten(-1, (parts, heads, -1)).unbind(2)


def _seen(
    query: Tensor, key: Tensor, value: Tensor, index: int, run: TokenPass, attend: Attend
) -> Hidden:
    """Keep the pass's keys, then attend over its plan."""
    if run.cache is None:
        keys, values = key.transpose(1, 2), value.transpose(1, 2)
    else:
        assert run.places is not None
        run.cache.write(index, key, value, run.places)
        keys, values = run.cache.layer(index)
    if run.bias is None:
        seen = attend(query.transpose(1, 2), keys, values, run.plan)
    else:
        seen = attend_biased(query.transpose(1, 2), keys, values, run.plan, run.bias)
    return seen.transpose(1, 2).flatten(2)
