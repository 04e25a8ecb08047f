"""The slow truth of the LMMs: a block's logits from one teacher-forced pass without a cache.

Written with explicit matrices and boolean masks, and independent of ``token_layers.py``,
``depth_decoder.py``, plans, caches and streams: it shares the weights by name and nothing else. All
frames and levels go through at once, each hearing the tokens that it is given, so a stream's logits
must equal these for the stream's own tokens. The dtype is an argument: float64 is the truth, a
lower one is the error that plain PyTorch makes in it.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lmdm_ref.geometry import TokenGeometry
from lmdm_ref.lmm_encoder_decoder import EncoderDecoderLMM
from lmdm_ref.lmm_frame_wise import FrameConditions, FrameWiseLMM
from lmdm_ref.lmm_presets import StackConfig
from lmdm_ref.token_sampler import TokenSampler

Block = Int[Tensor, "batch frames levels"]
History = Int[Tensor, "batch heard_frames levels"]
Style = Int[Tensor, "batch style_tokens"]
BlockLogits = Float[Tensor, "frames levels rows codebook"]
Hidden = Float[Tensor, "batch rows width"]
Mask = Bool[Tensor, "queries keys"]

NORM_EPSILON = 1e-6
BEGIN_TOKEN, MASKED_STYLE = 0, 1
LONGEST_WAVE = 10_000.0


class LMMOracle:
    """What both truths share; weights are read from the model as they are needed."""

    def __init__(
        self,
        model: EncoderDecoderLMM | FrameWiseLMM,
        geometry: TokenGeometry,
        sampler: TokenSampler,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.geometry = geometry
        self.sampler = sampler
        self.dtype = dtype
        self._weights = {name: one.detach() for name, one in model.named_parameters()}
        self._codes = model.config

    def weight(self, name: str) -> Tensor:
        return self._weights[name].to(self.dtype)

    def embedded(self, name: str, ids: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape width"]:
        return self._weights[name][ids].to(self.dtype)

    def ids(self, tokens: Int[Tensor, "*shape levels"]) -> Int[Tensor, "*shape levels"]:
        """Where the codes of each level stand in the vocabulary."""
        level = torch.arange(tokens.shape[-1], device=tokens.device)
        return self._codes.reserved_tokens + level * self._codes.codebook_size + tokens

    def mapped(self, rows: Tensor, name: str) -> Tensor:
        return rows @ self.weight(f"{name}.weight").mT

    def norm(self, rows: Tensor, name: str) -> Tensor:
        size = (rows.square().mean(-1, keepdim=True) + NORM_EPSILON).sqrt()
        return rows / size * self.weight(f"{name}.weight")

    def layer_norm(self, rows: Tensor, name: str) -> Tensor:
        centred = rows - rows.mean(-1, keepdim=True)
        return self.norm(centred, name) + self.weight(f"{name}.bias")

    def level_logits(
        self, hidden: Float[Tensor, "frame_rows levels width"], rows: int
    ) -> Float[Tensor, "frames levels rows codebook"]:
        """Each level by its own rows of the head; ``hidden`` holds rows × frames of them."""
        head = "depth_decoder.head.levels"
        each = [
            self.mapped(hidden[:, level], f"{head}.{level}") for level in range(hidden.shape[1])
        ]
        if f"{head}.0.bias" in self._weights:
            each = [one + self.weight(f"{head}.{level}.bias") for level, one in enumerate(each)]
        return torch.stack(each, dim=1).unflatten(0, (rows, -1)).permute(1, 2, 0, 3)


class LMMEncoderDecoderOracle(LMMOracle):
    """The newest context through the encoder, then every frame and level of the block at once."""

    name = "one uncached pass over the context and the block, teacher-forced"

    def __init__(
        self,
        model: EncoderDecoderLMM,
        geometry: TokenGeometry,
        sampler: TokenSampler,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__(model, geometry, sampler, dtype)
        self.config = model.config

    def logits(self, tokens: Block, history: History, conditioning: Style) -> BlockLogits:
        """The logits that made ``tokens``, the block that follows ``history``."""
        encoded = self.encoded(history[:, -self.geometry.context_frames :], conditioning)
        tokens = tokens.repeat(self.sampler.copies, 1, 1)
        embedded = self.embedded("embedding.weight", self.ids(tokens))

        begin = torch.full((tokens.shape[0], 1), BEGIN_TOKEN, device=tokens.device)
        heard = embedded.mean(2)[:, :-1]
        hidden = torch.cat([self.embedded("embedding.weight", begin), heard], dim=1)
        stack, frames = self.config.temporal, tokens.shape[1]
        bias = self.relative_bias("temporal_bias.weight", frames)
        for index in range(stack.depth):
            layer = f"temporal_layers.{index}"
            hidden = self._self_attention(hidden, f"{layer}.attention", stack, bias)
            hidden = self._cross_attention(hidden, encoded, f"{layer}.cross_attention", stack)
            hidden = self._feed_forward(hidden, f"{layer}.feed_forward")

        hidden = torch.cat([hidden[:, :, None], embedded[:, :, :-1]], dim=2).flatten(0, 1)
        stack = self.config.depth_decoder
        bias = self.relative_bias("depth_decoder.bias.weight", hidden.shape[1])
        for index in range(stack.depth):
            layer = f"depth_decoder.layers.{index}"
            hidden = self._self_attention(hidden, f"{layer}.attention", stack, bias)
            hidden = self._feed_forward(hidden, f"{layer}.feed_forward")
        return self.level_logits(self.norm(hidden, "depth_decoder.norm"), tokens.shape[0])

    def encoded(
        self, context: History, style: Style
    ) -> Float[Tensor, "encoder_batch tokens width"]:
        """The encoder's rows: coarse levels, then the style; under guidance again without it."""
        config = self.config
        coarse = self.ids(context[..., : config.context_levels]).flatten(1)
        level = torch.arange(config.style_tokens, device=style.device)
        told = config.style_offset + level * config.codebook_size + style
        ids = torch.cat([coarse, told], dim=1)
        if self.sampler.copies == 2:
            untold = torch.cat([coarse, torch.full_like(told, MASKED_STYLE)], dim=1)
            ids = torch.cat([ids, untold])
        hidden = self.embedded("embedding.weight", ids)
        hidden = hidden + self._positions(ids.shape[1], hidden.shape[-1]).to(hidden)
        for index in range(config.encoder.depth):
            layer = f"encoder_layers.{index}"
            hidden = self._self_attention(hidden, f"{layer}.attention", config.encoder, None)
            hidden = self._feed_forward(hidden, f"{layer}.feed_forward")
        return self.norm(hidden, "encoder_norm")

    def relative_bias(self, name: str, count: int) -> Float[Tensor, "heads count count"]:
        """T5's bias on ``count`` rows, minus infinity on keys that come later."""
        table = self.weight(name)
        buckets = table.shape[0]
        bias = table.new_full((table.shape[1], count, count), -torch.inf)
        for query in range(count):
            for key in range(query + 1):
                bias[:, query, key] = table[t5_bucket(query - key, buckets)]
        return bias

    def _positions(self, count: int, width: int) -> Tensor:
        half = width // 2
        waves = torch.arange(half).double() * (-math.log(LONGEST_WAVE) / max(1, half - 1))
        turns = torch.outer(torch.arange(count).double(), waves.exp())
        return torch.cat([turns.sin(), turns.cos()], dim=1)

    def _self_attention(
        self, hidden: Hidden, name: str, stack: StackConfig, bias: Tensor | None
    ) -> Hidden:
        query, key, value = self.mapped(self.norm(hidden, f"{name}.norm"), f"{name}.qkv").chunk(
            3, -1
        )
        seen = _attention(query, key, value, stack.num_heads, bias)
        return hidden + self.mapped(seen, f"{name}.out")

    def _cross_attention(
        self, hidden: Hidden, encoded: Tensor, name: str, stack: StackConfig
    ) -> Hidden:
        query = self.mapped(self.norm(hidden, f"{name}.norm"), f"{name}.query")
        key, value = self.mapped(encoded, f"{name}.key_value").chunk(2, -1)
        seen = _attention(query, key, value, stack.num_heads, None)
        return hidden + self.mapped(seen, f"{name}.out")

    def _feed_forward(self, hidden: Hidden, name: str) -> Hidden:
        gate, up = self.mapped(self.norm(hidden, f"{name}.norm"), f"{name}.gate_up").chunk(2, -1)
        return hidden + self.mapped(_gelu(gate) * up, f"{name}.down")


class LMMFrameWiseOracle(LMMOracle):
    """The whole history since the stream's start and the block, each frame under its band."""

    name = "one uncached pass over the whole history, banded by frames, teacher-forced"

    def __init__(
        self,
        model: FrameWiseLMM,
        geometry: TokenGeometry,
        sampler: TokenSampler,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__(model, geometry, sampler, dtype)
        self.config = model.config

    def logits(self, tokens: Block, history: History, conditioning: FrameConditions) -> BlockLogits:
        """The logits that made ``tokens``, the block that follows the whole ``history``, under
        conditions that never changed."""
        frames = history.shape[1] + tokens.shape[1]
        return self.logits_as_told(tokens, history, [conditioning] * frames)

    def logits_as_told(
        self, tokens: Block, history: History, told: Sequence[FrameConditions]
    ) -> BlockLogits:
        """As ``logits``, with the conditions of each frame since the stream's start."""
        everything, stack = torch.cat([history, tokens], dim=1), self.config.temporal
        frames, heard = everything.shape[1], history.shape[1]
        begin = torch.full((tokens.shape[0], 1), BEGIN_TOKEN, device=tokens.device)
        rows = [self._scaled(begin), self._scaled(self.ids(everything)).mean(2)[:, :-1]]
        hidden = torch.cat(rows, dim=1)
        conditions = self._conditions(told)
        mask = self.band(frames).to(hidden.device)
        for index in range(stack.depth):
            layer = f"temporal_layers.{index}"
            sinks = self.weight(f"{layer}.sinks")
            hidden = self._self_attention(hidden, f"{layer}.attention", mask, sinks[0])
            hidden = self._cross_attention(
                hidden, conditions, f"{layer}.cross_attention", mask, sinks[1]
            )
            hidden = self._feed_forward(hidden, f"{layer}.feed_forward")

        levels = self._scaled(self.ids(tokens))[:, :, :-1]
        hidden = torch.cat([hidden[:, heard:, None], levels], dim=2).flatten(0, 1)
        hidden, stack = self.mapped(hidden, "depth_in"), self.config.depth_decoder
        mask = torch.ones(2 * [hidden.shape[1]], dtype=torch.bool, device=mask.device).tril()
        for index in range(stack.depth):
            layer = f"depth_decoder.layers.{index}"
            hidden = self._self_attention(hidden, f"{layer}.attention", mask, None)
            hidden = self._feed_forward(hidden, f"{layer}.feed_forward")
        hidden = self.layer_norm(hidden, "depth_decoder.norm")
        cap = self.config.logit_cap
        return cap * torch.tanh(self.level_logits(hidden, tokens.shape[0]) / cap)

    def band(self, frames: int) -> Mask:
        """Who sees whom; the first key is the sink, which everyone sees."""
        age = torch.arange(frames)[:, None] - torch.arange(frames)
        seen = (age >= 0) & (age <= self.geometry.context_frames)
        return torch.cat([torch.ones(frames, 1, dtype=torch.bool), seen], dim=1)

    def _scaled(self, ids: Tensor) -> Tensor:
        return self.embedded("embedding.weight", ids) * math.sqrt(self.config.temporal.width)

    def _conditions(self, told: Sequence[FrameConditions]) -> Float[Tensor, "batch frames width"]:
        config = self.config
        style = torch.stack([one.style for one in told], dim=1)
        style = style + torch.arange(config.style_tokens, device=style.device) * config.style_codes
        summed = self.embedded("conditions.style_embedding.weight", style).sum(2)
        offsets = [sum(config.condition_codes[:at]) for at in range(len(config.condition_codes))]
        others = torch.stack([one.others for one in told], dim=1)
        others = others + torch.tensor(offsets, device=others.device)
        mean = self.embedded("conditions.others_embedding.weight", others).mean(2)
        both = (self.mapped(summed, "conditions.style_in") + mean) / 2
        return self.layer_norm(both, "conditions.norm")

    def _self_attention(self, hidden: Hidden, name: str, mask: Mask, sink: Tensor | None) -> Hidden:
        rows = self.mapped(self.norm(hidden, f"{name}.norm"), f"{name}.qkv")
        query, key, value = rows.chunk(3, -1)
        if sink is not None:
            key, value = _with_sink(key, sink[0]), _with_sink(value, sink[1])
        return hidden + self._seen(query, (key, value), name, mask)

    def _cross_attention(
        self, hidden: Hidden, conditions: Tensor, name: str, mask: Mask, sink: Tensor
    ) -> Hidden:
        query = self.mapped(self.norm(hidden, f"{name}.norm"), f"{name}.query")
        key, value = self.mapped(conditions, f"{name}.key_value").chunk(2, -1)
        seen = (_with_sink(key, sink[0]), _with_sink(value, sink[1]))
        return hidden + self._seen(query, seen, name, mask)

    def _seen(self, query: Hidden, seen: tuple[Tensor, Tensor], name: str, mask: Mask) -> Hidden:
        """Keys and values through the mask, projected, normalised. Each dimension of a head's query
        has a learned factor log2(1 + e^w), which is 1 for w = 0."""
        factor = torch.log1p(self.weight(f"{name}.scale.weight").exp()) / math.log(2)
        heads = query.shape[-1] // factor.shape[0]
        blocked = torch.zeros(mask.shape, dtype=self.dtype, device=mask.device)
        blocked = blocked.masked_fill(~mask, -torch.inf)
        rows = _attention(query * factor.repeat(heads), *seen, heads, blocked)
        return self.norm(self.mapped(rows, f"{name}.out"), f"{name}.out_norm")

    def _feed_forward(self, hidden: Hidden, name: str) -> Hidden:
        inner = self.mapped(self.norm(hidden, f"{name}.norm"), f"{name}.up")
        inner = _gelu(inner + self.weight(f"{name}.up.bias"))
        outer = self.mapped(inner, f"{name}.down") + self.weight(f"{name}.down.bias")
        return hidden + self.norm(outer, f"{name}.out_norm")


def t5_bucket(distance: int, buckets: int) -> int:
    """T5's bucket of a distance into the past, in whole numbers.

    With e = half of the buckets B: distances below e stand alone; bucket e + j begins at
    e · (B ÷ e)^(j ÷ (B − e)); the last one takes all that is farther.
    """
    exact = buckets // 2
    if distance < exact:
        return distance
    coarse = buckets - exact
    step = 0
    while step < coarse - 1 and (
        distance**coarse * exact ** (step + 1) >= exact**coarse * buckets ** (step + 1)
    ):
        step += 1
    return exact + step


def _attention(
    query: Tensor, key: Tensor, value: Tensor, heads: int, bias: Tensor | None
) -> Float[Tensor, "batch rows width"]:
    """Heads side by side in the last axis; ``bias`` is added to the scores of all or each head."""
    query, key, value = (
        rows.unflatten(-1, (heads, -1)).transpose(1, 2) for rows in (query, key, value)
    )
    scores = query @ key.mT / query.shape[-1] ** 0.5
    if bias is not None:
        scores = scores + bias
    seen: Tensor = scores.softmax(-1) @ value
    return seen.transpose(1, 2).flatten(2)


def _with_sink(rows: Hidden, sink: Float[Tensor, "heads head_dim"]) -> Float[Tensor, "b r width"]:
    return torch.cat([sink.flatten().expand(rows.shape[0], 1, -1), rows], dim=1)


def _gelu(rows: Tensor) -> Tensor:
    """GELU by its tanh formula."""
    inner = math.sqrt(2 / math.pi) * (rows + 0.044715 * rows**3)
    return 0.5 * rows * (1 + torch.tanh(inner))
