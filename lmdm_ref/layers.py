"""One layer of the decoder: norms, self-attention, cross-attention and gated feed-forward.

The shapes and the order of operations are those of stable-audio-tools' transformer (pre-norm, no
biases in attention, LayerNorm of queries and keys where the model has it, SwiGLU); ``tox -e
parity`` proves the equality.
"""

from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from lmdm_ref.arena import Span
from lmdm_ref.attention import Attend
from lmdm_ref.cache import KVCache
from lmdm_ref.plan import Plan, plan_row
from lmdm_ref.presets import DecoderConfig
from lmdm_ref.prologue import HeadNorm, Prologue
from lmdm_ref.rotary import Rotary

NORM_EPSILON = 1e-5
QK_NORM_EPSILON = 1e-6

Hidden = Float[Tensor, "batch rows width"]
Outputs = Float[Tensor, "batch outputs width"]


@dataclass(frozen=True)
class Pass:
    """One run of rows through the layers: where they stand, whom they see, what is kept of them.

    ``plan`` counts its queries from the first row and its keys over the cache's places, or over the
    rows themselves where there is no cache. ``outputs`` are the rows that anyone reads after the
    last layer: the others end there with their keys and values, and ``last_plan`` is the plan of
    those rows alone. ``places`` says where each row's key and value go.
    """

    rotary: Rotary
    plan: Plan
    last_plan: Plan
    outputs: Span
    cache: KVCache | None
    places: Int[Tensor, " rows"]


class Kernels(NamedTuple):
    """What a layer computes with: the two seams where a faster kernel is passed in."""

    attend: Attend
    prologue: Prologue


class SelfAttention(nn.Module):
    """Queries, keys and values of the rows themselves, and the way back."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.heads = config.num_heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.query_norm = _qk_norm(config)
        self.key_norm = _qk_norm(config)
        self.out = nn.Linear(config.width, config.width, bias=False)

    @property
    def head_norm(self) -> HeadNorm:
        """The norm of queries and keys as data, for a prologue."""
        query, key = self.query_norm, self.key_norm
        if not isinstance(query, nn.LayerNorm) or not isinstance(key, nn.LayerNorm):
            return HeadNorm("none", None, None, None, None, QK_NORM_EPSILON)
        return HeadNorm("layer", query.weight, query.bias, key.weight, key.bias, QK_NORM_EPSILON)


class CrossAttention(nn.Module):
    """Queries of the rows, keys and values of the text (fewer heads where the text is narrower)."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.heads = config.num_heads
        self.key_heads = config.num_cross_heads
        self.query = nn.Linear(config.width, config.width, bias=False)
        self.key_value = nn.Linear(config.cross_width, 2 * config.cross_width, bias=False)
        self.query_norm = _qk_norm(config)
        self.key_norm = _qk_norm(config)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def encode_text(self, text: Float[Tensor, "batch tokens cross_width"]) -> tuple[Tensor, Tensor]:
        """Keys and values [batch, key_heads, tokens, head_dim]: the same in every step."""
        key, value = self.key_value(text).unflatten(-1, (2, self.key_heads, -1)).unbind(2)
        return self.key_norm(key).transpose(1, 2), value.transpose(1, 2)

    def forward(self, hidden: Hidden, text: tuple[Tensor, Tensor], attend: Attend) -> Hidden:
        query = self.query_norm(self.query(hidden).unflatten(-1, (self.heads, -1)))
        key, value = text
        plan = (plan_row(Span(0, hidden.shape[1]), [Span(0, key.shape[2])]),)
        seen = attend(query.transpose(1, 2), key, value, plan)
        out: Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return out


class FeedForward(nn.Module):
    """SwiGLU: value · SiLU(gate), then down."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.gate_up = nn.Linear(config.width, 2 * config.feed_forward_width)
        self.down = nn.Linear(config.feed_forward_width, config.width)

    def forward(self, hidden: Hidden) -> Hidden:
        value, gate = self.gate_up(hidden).chunk(2, dim=-1)
        out: Tensor = self.down(value * functional.silu(gate))
        return out


class DecoderLayer(nn.Module):
    """Self-attention over the plan, cross-attention to the text, feed-forward."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.self_norm = nn.LayerNorm(config.width, eps=NORM_EPSILON, bias=False)
        self.self_attention = SelfAttention(config)
        self.cross_norm = nn.LayerNorm(config.width, eps=NORM_EPSILON, bias=False)
        self.cross_attention = CrossAttention(config)
        self.feed_forward_norm = nn.LayerNorm(config.width, eps=NORM_EPSILON, bias=False)
        self.feed_forward = FeedForward(config)

    def forward(
        self,
        hidden: Hidden,
        index: int,
        text: tuple[Tensor, Tensor],
        run: Pass,
        kernels: Kernels,
    ) -> Outputs:
        """The rows ``run.outputs`` after this layer; all rows' keys go into the arena."""
        block = self.self_attention
        qkv = block.qkv(self.self_norm(hidden))
        arena = _own_arena(qkv, block.heads) if run.cache is None else run.cache.layer(index)
        query = kernels.prologue(qkv, block.head_norm, run.rotary, arena, run.places)
        if not run.outputs.size:
            return hidden[:, :0]
        kept = slice(run.outputs.start, run.outputs.stop)
        query, hidden = query[:, :, kept], hidden[:, kept]
        seen = kernels.attend(query, *arena, run.plan)
        hidden = hidden + block.out(seen.transpose(1, 2).flatten(2))
        hidden = hidden + self.cross_attention(self.cross_norm(hidden), text, kernels.attend)
        return hidden + self.feed_forward(self.feed_forward_norm(hidden))


def _own_arena(qkv: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """Room for the keys and values of the rows themselves, where no step sees them again."""
    batch, rows, width = qkv.shape
    shape = (batch, heads, rows, width // (3 * heads))
    return qkv.new_empty(shape), qkv.new_empty(shape)


def _qk_norm(config: DecoderConfig) -> nn.Module:
    if config.qk_norm == "none":
        return nn.Identity()
    return nn.LayerNorm(config.head_dim, eps=QK_NORM_EPSILON)
