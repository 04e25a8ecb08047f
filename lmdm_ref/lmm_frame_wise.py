"""Frame-wise LMM decoding, as Magenta RealTime 2: one frame after another, nothing encoded ahead.

In each temporal layer a frame sees itself, the ``context_frames`` before it and one learned sink,
then the conditions of the same frames and another sink; the depth decoder makes its tokens level by
level. There are no positions, so the order of keys means nothing. Guidance comes as tokens: there
is no doubled batch.

Older frames live on in cached features, so a stream equals one pass over its whole history under
the banded mask, and not a re-encoding of the newest window.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lmdm_ref.arena import Span
from lmdm_ref.attention import Attend, attend
from lmdm_ref.cache import KVCache
from lmdm_ref.depth_decoder import DepthDecoder, LevelHead
from lmdm_ref.execute import Execute, execute
from lmdm_ref.geometry import TokenGeometry
from lmdm_ref.lmm_presets import FrameWiseLMMConfig, StackConfig
from lmdm_ref.lmm_weights import randomised
from lmdm_ref.plan import plan_row
from lmdm_ref.token_layers import (
    NORM_EPSILON,
    FeedForward,
    Hidden,
    SelfAttention,
    StreamingCrossAttention,
    TokenPass,
)
from lmdm_ref.token_sampler import TokenSampler
from lmdm_ref.token_stream import (
    FrameTokens,
    TokenFrames,
    TokenNoise,
    TokenStream,
    check_codes,
)

BEGIN = 0

# Guidance scales 1 + −1.0 … 7.0 in steps of 0.2 (style, notes) and of 1.0 (drums), as codes.
GUIDANCE_LOWEST = -1.0
GUIDANCE_STEPS = (0.2, 0.2, 1.0)


@dataclass(frozen=True)
class FrameConditions:
    """What steers a frame: the style's codes, and one code for each other condition."""

    style: Int[Tensor, "batch style_tokens"]
    others: Int[Tensor, "batch conditions"]


class ConditionEmbedding(nn.Module):
    """The mean of the embedded style and of the mean of all other conditions, normalised."""

    def __init__(self, config: FrameWiseLMMConfig) -> None:
        super().__init__()
        self.config = config
        self.style_embedding = nn.Embedding(
            config.style_tokens * config.style_codes, config.style_width
        )
        self.style_in = nn.Linear(config.style_width, config.condition_width, bias=False)
        self.others_embedding = nn.Embedding(config.condition_rows, config.condition_width)
        self.norm = nn.LayerNorm(config.condition_width, eps=NORM_EPSILON)

    def forward(self, conditions: FrameConditions) -> Float[Tensor, "batch one condition_width"]:
        config, device = self.config, conditions.style.device
        levels = torch.arange(config.style_tokens, device=device)
        style = self.style_embedding(conditions.style + config.style_codes * levels).sum(dim=1)
        first = _first_rows(config.condition_codes, device)
        others = self.others_embedding(conditions.others + first).mean(dim=1)
        embedded: Tensor = self.norm((self.style_in(style) + others) / 2)
        return embedded[:, None]


@functools.cache
def _first_rows(codes: tuple[int, ...], device: torch.device) -> Int[Tensor, " conditions"]:
    """Each condition's first row in the embedding; copied to the device once."""
    return torch.tensor((0, *codes[:-1]), device=device).cumsum(0)


class DepthLayer(nn.Module):
    """A layer of the depth decoder."""

    def __init__(self, stack: StackConfig) -> None:
        super().__init__()
        self.attention = SelfAttention(stack)
        self.feed_forward = FeedForward(stack)

    def forward(self, hidden: Hidden, index: int, run: TokenPass, attend: Attend) -> Hidden:
        out: Tensor = self.feed_forward(self.attention(hidden, index, run, attend))
        return out


class TemporalLayer(nn.Module):
    """A layer of the temporal decoder, with a sink for each of its two attentions."""

    def __init__(self, stack: StackConfig, source_width: int) -> None:
        super().__init__()
        self.attention = SelfAttention(stack)
        self.cross_attention = StreamingCrossAttention(stack, source_width)
        self.feed_forward = FeedForward(stack)
        # Key and value of the self-attention's sink, then of the cross-attention's.
        self.sinks = nn.Parameter(torch.empty(2, 2, stack.num_heads, stack.head_dim))

    def forward(
        self,
        hidden: Hidden,
        conditions: Tensor,
        index: int,
        run: TokenPass,
        cross: TokenPass,
        attend: Attend,
    ) -> Hidden:
        hidden = self.attention(hidden, index, run, attend)
        hidden = self.cross_attention(hidden, conditions, index, cross, attend)
        out: Tensor = self.feed_forward(hidden)
        return out


class FrameWiseLMM(nn.Module):
    """The weights, and their parts as functions of rows."""

    # No linear layer sees more than one row of a listener at a time: see ``linear.py``.
    MANY_ROWS = ()

    def __init__(self, config: FrameWiseLMMConfig, attend: Attend = attend) -> None:
        super().__init__()
        temporal, depth = config.temporal, config.depth_decoder
        self.config = config
        self.attend = attend
        self.embedding = nn.Embedding(config.vocabulary, temporal.width)
        self.conditions = ConditionEmbedding(config)
        self.temporal_layers = nn.ModuleList(
            TemporalLayer(temporal, config.condition_width) for _ in range(temporal.depth)
        )
        self.depth_in = nn.Linear(temporal.width, depth.width, bias=False)
        self.depth_decoder = DepthDecoder(
            depth,
            [DepthLayer(depth) for _ in range(depth.depth)],
            nn.LayerNorm(depth.width, eps=NORM_EPSILON),
            LevelHead(
                depth.width,
                config.vocabulary,
                config.codebook_size,
                config.num_levels,
                has_bias=True,
            ),
            bias=None,
            logit_cap=config.logit_cap,
        )

    @property
    def dtype(self) -> torch.dtype:
        return self.embedding.weight.dtype

    def token_rows(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens width"]:
        """Embedded tokens by their place in the vocabulary, scaled by √width."""
        rows: Tensor = self.embedding(ids) * self.config.temporal.width**0.5
        return rows

    def frame_row(self, tokens: FrameTokens) -> Hidden:
        """A frame as the temporal decoder hears it: the mean of its tokens."""
        config = self.config
        levels = torch.arange(tokens.shape[1], device=tokens.device)
        ids = config.reserved_tokens + config.codebook_size * levels + tokens
        return self.token_rows(ids).mean(dim=1, keepdim=True)

    def begin_row(self, batch: int, device: torch.device) -> Hidden:
        """What the first frame of a stream hears."""
        return self.token_rows(torch.full((batch, 1), BEGIN, device=device))

    def temporal_row(
        self, hidden: Hidden, conditions: Tensor, run: TokenPass, cross: TokenPass
    ) -> Hidden:
        """One frame's row through the temporal decoder."""
        for index, layer in enumerate(self.temporal_layers):
            hidden = layer(hidden, conditions, index, run, cross, self.attend)
        return hidden

    def allocate_caches(self, places: int, batch: int) -> tuple[KVCache, KVCache]:
        """The caches of self- and cross-attention, their sinks at place 0."""
        stack = self.config.temporal
        like = self.embedding.weight.detach()
        shape = (places, stack.depth, batch, stack.num_heads, stack.head_dim)
        caches = KVCache.allocate(*shape, like), KVCache.allocate(*shape, like)
        for index, layer in enumerate(self.temporal_layers):
            assert isinstance(layer, TemporalLayer)
            for cache, (key, value) in zip(caches, layer.sinks, strict=True):
                rows = (key.expand(batch, 1, -1, -1), value.expand(batch, 1, -1, -1))
                cache.write(index, *rows, torch.zeros(1, dtype=torch.long, device=like.device))
        return caches


@dataclass(frozen=True)
class FrameEvaluation:
    """All that making one frame reads; the first frame of a stream hears none before it."""

    newest: FrameTokens | None
    gumbel: Float[Tensor, "levels batch codebook"]
    run: TokenPass
    cross: TokenPass
    depth: KVCache
    conditions: FrameConditions


@dataclass
class LMMFrameWiseState:
    """Two rings of keys, and the newest frame, which the next one hears.

    ``num_heard`` frames' keys have gone into the rings. ``ahead`` are the rings as the newest
    generated block leaves them, and that block: if it is committed, they are copied, and nothing
    is computed again.
    """

    rings: tuple[KVCache, KVCache]
    ahead: tuple[KVCache, KVCache]
    depth: KVCache
    conditions: FrameConditions
    num_heard: int
    newest: FrameTokens | None
    generated: TokenFrames | None

    def clone(self) -> "LMMFrameWiseState":
        return replace(
            self,
            rings=(self.rings[0].clone(), self.rings[1].clone()),
            ahead=(self.ahead[0].clone(), self.ahead[1].clone()),
            depth=self.depth.clone(),
        )


class LMMFrameWise(TokenStream[LMMFrameWiseState]):
    """Rings of ``context_frames`` + 1 places behind the sink: frame i stands at i mod that number.

    Raises ValueError for more levels than there are heads for.
    """

    def __init__(
        self,
        model: FrameWiseLMM,
        geometry: TokenGeometry,
        sampler: TokenSampler,
        *,
        execute: Execute = execute,
    ) -> None:
        super().__init__(geometry, sampler, model.config.codebook_size, execute)
        if geometry.num_levels > model.config.num_levels:
            raise ValueError(
                f"num_levels must be at most {model.config.num_levels}, got {geometry.num_levels}"
            )
        if sampler.copies != 1:
            raise ValueError("guidance of a frame-wise LMM comes as tokens, not from the sampler")
        self.model = model
        self.ring_frames = geometry.context_frames + 1

    def prefill(self, context: TokenFrames, conditioning: FrameConditions) -> LMMFrameWiseState:
        """The context may be any number of frames, none too."""
        batch = conditioning.style.shape[0]
        self.check(context, batch, None)
        self._check_conditions(conditioning, batch)
        model, places = self.model, 1 + self.ring_frames
        like = model.embedding.weight.detach()
        state = LMMFrameWiseState(
            rings=model.allocate_caches(places, batch),
            ahead=model.allocate_caches(places, batch),
            depth=model.depth_decoder.allocate_cache(batch, self.geometry.num_levels, like),
            conditions=conditioning,
            num_heard=0,
            newest=None,
            generated=None,
        )
        return self._hear(context, state)

    def encode_context(self, state: LMMFrameWiseState) -> None:
        """Nothing: every frame was encoded when it was made."""

    def frames(self, noise: TokenNoise, state: LMMFrameWiseState) -> Iterator[FrameTokens]:
        state.generated = None  # a block that is begun and left leaves nothing to be committed
        for ring, ahead in zip(state.rings, state.ahead, strict=True):
            ahead.copy_from(ring)
        newest, made = state.newest, []
        for frame, gumbel in enumerate(noise):
            run, cross = self._passes(state.num_heard + frame, state.ahead, gumbel.device)
            one = FrameEvaluation(newest, gumbel, run, cross, state.depth, state.conditions)
            newest = self.execute(self._frame, one)
            made.append(newest)
            yield newest
        state.generated = torch.stack(made, dim=1)

    def _frame(self, one: FrameEvaluation) -> FrameTokens:
        """One temporal step, then one depth step for each level."""
        model = self.model

        def embed(tokens: FrameTokens, level: int) -> Hidden:
            ids = model.config.reserved_tokens + model.config.codebook_size * level + tokens
            row: Tensor = model.depth_in(model.token_rows(ids))
            return row

        temporal = self._temporal_row(one.newest, one.run, one.cross, one.conditions)
        return model.depth_decoder.generate(
            model.depth_in(temporal), embed, one.gumbel, self.sampler, one.depth, model.attend
        )

    def commit(self, block: TokenFrames, state: LMMFrameWiseState) -> LMMFrameWiseState:
        """Free for the block that was generated last; any other is heard frame by frame."""
        self.check(block, state.conditions.style.shape[0], None)
        if state.generated is not None and torch.equal(block, state.generated):
            for ring, ahead in zip(state.rings, state.ahead, strict=True):
                ring.copy_from(ahead)
            return replace(
                state,
                num_heard=state.num_heard + block.shape[1],
                newest=block[:, -1],
                generated=None,
            )
        return self._hear(block, replace(state, generated=None))

    def change_prompt(
        self, state: LMMFrameWiseState, conditioning: FrameConditions
    ) -> LMMFrameWiseState:
        """The conditions from the next frame on; older frames keep theirs."""
        self._check_conditions(conditioning, state.conditions.style.shape[0])
        return replace(state, conditions=conditioning, generated=None)

    def _check_conditions(self, conditions: FrameConditions, batch: int) -> None:
        config = self.model.config
        style_codes = (config.style_codes,) * config.style_tokens
        check_codes("style code", conditions.style, batch, style_codes)
        check_codes("condition code", conditions.others, batch, config.condition_codes)

    def _hear(self, tokens: TokenFrames, state: LMMFrameWiseState) -> LMMFrameWiseState:
        for frame in tokens.unbind(1):
            passes = self._passes(state.num_heard, state.rings, tokens.device)
            self._temporal_row(state.newest, *passes, state.conditions)
            state = replace(state, num_heard=state.num_heard + 1, newest=frame)
        return state

    def _passes(
        self, index: int, caches: tuple[KVCache, KVCache], device: torch.device
    ) -> tuple[TokenPass, TokenPass]:
        """Frame ``index`` through both attentions of the temporal layers."""
        place = 1 + index % self.ring_frames
        places = torch.arange(place, place + 1, device=device)
        plan = (plan_row(Span(0, 1), [Span(0, 1 + min(index + 1, self.ring_frames))]),)
        run, cross = (TokenPass(cache, places, plan) for cache in caches)
        return run, cross

    def _temporal_row(
        self,
        newest: FrameTokens | None,
        run: TokenPass,
        cross: TokenPass,
        conditions: FrameConditions,
    ) -> Hidden:
        """The row from which the pass's frame is made; its keys go into the caches."""
        model, style = self.model, conditions.style
        hidden = (
            model.begin_row(style.shape[0], style.device)
            if newest is None
            else model.frame_row(newest)
        )
        return model.temporal_row(hidden, model.conditions(conditions), run, cross)


def random_frame_wise_lmm(
    config: FrameWiseLMMConfig,
    seed: int,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    attend: Attend = attend,
) -> FrameWiseLMM:
    """A model with seeded random weights."""
    with torch.device("meta"):
        model = FrameWiseLMM(config, attend)
    return randomised(model, seed, dtype, device)


def guidance_codes(scale: float, reserved: int) -> tuple[int, ...]:
    """The three guidance tokens of a scale (1 = none): style, notes, drums.

    The model's own scales are what is added to 1; they are clipped to −1 … 7.
    """
    lowest, highest = GUIDANCE_LOWEST, 7.0
    own = min(max(scale - 1.0, lowest), highest)
    return tuple(reserved + round((own - lowest) / step) for step in GUIDANCE_STEPS)
