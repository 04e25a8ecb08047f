"""LMM-style decoding with an encoder, as Magenta RealTime 1: encode the context, then 50 frames.

For each block the encoder hears 10 s of context tokens and the style; then, frame by frame, one
temporal step with cross-attention to the encoding and one depth step for each RVQ level. Paper,
section 4.1: E(1:s) + Σ D(t). The temporal cache starts anew with each block.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lmdm_ref.arena import Span
from lmdm_ref.attention import Attend, attend
from lmdm_ref.cache import KVCache
from lmdm_ref.depth_decoder import DepthDecoder, LevelHead, Row
from lmdm_ref.execute import Execute, execute
from lmdm_ref.geometry import TokenGeometry
from lmdm_ref.lmm_presets import EncoderDecoderLMMConfig, StackConfig
from lmdm_ref.lmm_weights import randomised
from lmdm_ref.plan import full_plan, plan_row
from lmdm_ref.token_layers import (
    NORM_EPSILON,
    Hidden,
    RelativeBias,
    RMSNorm,
    T5CrossAttention,
    T5FeedForward,
    T5SelfAttention,
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

# The reserved tokens: begin of sequence, and what stands for a style that is not given.
BEGIN, MASK = 0, 1
SINUSOID_BASE = 10_000.0

Style = Int[Tensor, "batch style_tokens"]
TokenIds = Int[Tensor, "encoder_batch tokens"]


class T5Layer(nn.Module):
    """A layer of the encoder or the depth decoder."""

    def __init__(self, stack: StackConfig) -> None:
        super().__init__()
        self.attention = T5SelfAttention(stack)
        self.feed_forward = T5FeedForward(stack)

    def forward(self, hidden: Hidden, index: int, run: TokenPass, attend: Attend) -> Hidden:
        out: Tensor = self.feed_forward(self.attention(hidden, index, run, attend))
        return out


class T5TemporalLayer(nn.Module):
    """A layer of the temporal decoder: it also sees the encoding."""

    def __init__(self, stack: StackConfig) -> None:
        super().__init__()
        self.attention = T5SelfAttention(stack)
        self.cross_attention = T5CrossAttention(stack)
        self.feed_forward = T5FeedForward(stack)

    def forward(
        self, hidden: Hidden, index: int, run: TokenPass, source: KVCache, attend: Attend
    ) -> Hidden:
        hidden = self.attention(hidden, index, run, attend)
        hidden = self.cross_attention(hidden, index, source, attend)
        out: Tensor = self.feed_forward(hidden)
        return out


class EncoderDecoderLMM(nn.Module):
    """The weights, and their three parts as functions of rows."""

    # Parts of the names of linear layers that see more than one row at a time: see ``linear.py``.
    MANY_ROWS = ("encoder_layers", "cross_attention.key_value")

    def __init__(self, config: EncoderDecoderLMMConfig, attend: Attend = attend) -> None:
        super().__init__()
        width = config.encoder.width
        self.config = config
        self.attend = attend
        self.embedding = nn.Embedding(config.vocabulary, width)
        self.encoder_layers = nn.ModuleList(
            T5Layer(config.encoder) for _ in range(config.encoder.depth)
        )
        self.encoder_norm = RMSNorm(width, eps=NORM_EPSILON)
        self.temporal_layers = nn.ModuleList(
            T5TemporalLayer(config.temporal) for _ in range(config.temporal.depth)
        )
        self.temporal_bias = RelativeBias(config.temporal_buckets, config.temporal.num_heads)
        self.depth_decoder = DepthDecoder(
            config.depth_decoder,
            [T5Layer(config.depth_decoder) for _ in range(config.depth_decoder.depth)],
            RMSNorm(config.depth_decoder.width, eps=NORM_EPSILON),
            LevelHead(
                config.depth_decoder.width,
                config.vocabulary,
                config.codebook_size,
                config.num_levels,
                has_bias=False,
            ),
            RelativeBias(config.depth_buckets, config.depth_decoder.num_heads),
            logit_cap=None,
        )

    @property
    def dtype(self) -> torch.dtype:
        return self.embedding.weight.dtype

    def token_ids(self, codes: Int[Tensor, "*shape levels"]) -> Int[Tensor, "*shape levels"]:
        """Places in the vocabulary of codes whose last axis is the level, from 0."""
        config = self.config
        levels = torch.arange(codes.shape[-1], device=codes.device)
        return codes + config.reserved_tokens + config.codebook_size * levels

    def encode(self, ids: TokenIds) -> Hidden:
        """The encoder over tokens that all see each other, sinusoids added to their embeddings."""
        hidden = self.embedding(ids)
        hidden = hidden + sinusoids(ids.shape[1], hidden.shape[-1], hidden.device).to(hidden)
        run = TokenPass(cache=None, places=None, plan=full_plan(ids.shape[1]))
        for index, layer in enumerate(self.encoder_layers):
            hidden = layer(hidden, index, run, self.attend)
        encoded: Tensor = self.encoder_norm(hidden)
        return encoded

    def write_source(self, encoded: Hidden, source: KVCache) -> None:
        """Each temporal layer's keys and values of the encoding."""
        for index, layer in enumerate(self.temporal_layers):
            assert isinstance(layer, T5TemporalLayer)
            layer.cross_attention.write_source(encoded, index, source)

    def temporal_row(self, hidden: Hidden, run: TokenPass, source: KVCache) -> Hidden:
        """One frame's row through the temporal decoder."""
        for index, layer in enumerate(self.temporal_layers):
            hidden = layer(hidden, index, run, source, self.attend)
        return hidden

    def allocate_cache(self, places: int, rows: int) -> KVCache:
        stack = self.config.temporal
        like = self.embedding.weight.detach()
        return KVCache.allocate(places, stack.depth, rows, stack.num_heads, stack.head_dim, like)


def sinusoids(count: int, width: int, device: torch.device) -> Float[Tensor, "count width"]:
    """Fixed positions, sines before cosines, in float64."""
    half = width // 2
    steps = torch.arange(half, dtype=torch.float64, device=device) / max(1, half - 1)
    rows = torch.arange(count, dtype=torch.float64, device=device)
    angles = rows[:, None] * SINUSOID_BASE**-steps
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


@dataclass(frozen=True)
class SourceEvaluation:
    """What the encoder hears, and where each layer's keys and values of it go."""

    ids: TokenIds
    source: KVCache


@dataclass(frozen=True)
class FrameEvaluation:
    """All that making one frame reads; the first frame of a block hears none before it."""

    newest: FrameTokens | None
    gumbel: Float[Tensor, "levels batch codebook"]
    run: TokenPass
    source: KVCache
    depth: KVCache


@dataclass
class LMMEncoderDecoderState:
    """The newest context tokens, and the caches that the next block's encoding fills."""

    context: TokenFrames
    style: Style
    source: KVCache
    temporal: KVCache
    depth: KVCache
    is_encoded: bool

    def clone(self) -> "LMMEncoderDecoderState":
        return replace(
            self,
            source=self.source.clone(),
            temporal=self.temporal.clone(),
            depth=self.depth.clone(),
        )


class LMMEncoderDecoder(TokenStream[LMMEncoderDecoderState]):
    """Encode the newest context, decode a block, let it become context.

    Raises ValueError for a geometry with fewer levels than the encoder hears, or more than there
    are heads for.
    """

    def __init__(
        self,
        model: EncoderDecoderLMM,
        geometry: TokenGeometry,
        sampler: TokenSampler,
        *,
        execute: Execute = execute,
    ) -> None:
        config = model.config
        super().__init__(geometry, sampler, config.codebook_size, execute)
        if not config.context_levels <= geometry.num_levels <= config.num_levels:
            raise ValueError(
                f"num_levels must be {config.context_levels} to {config.num_levels}, "
                f"got {geometry.num_levels}"
            )
        self.model = model
        self._bias = model.temporal_bias(geometry.block_frames)

    def prefill(self, context: TokenFrames, conditioning: Style) -> LMMEncoderDecoderState:
        """``conditioning`` are the style's codes, one for each of its levels."""
        geometry, config = self.geometry, self.model.config
        batch = conditioning.shape[0]
        self.check(context, batch, geometry.context_frames)
        self._check_style(conditioning, batch)
        rows = batch * self.sampler.copies
        like = self.model.embedding.weight.detach()
        return LMMEncoderDecoderState(
            context=context,
            style=conditioning,
            source=self.model.allocate_cache(config.encoder_tokens(geometry.context_frames), rows),
            temporal=self.model.allocate_cache(geometry.block_frames, rows),
            depth=self.model.depth_decoder.allocate_cache(rows, geometry.num_levels, like),
            is_encoded=False,
        )

    def encoder_ids(self, context: TokenFrames, style: Style) -> TokenIds:
        """What the encoder hears: the coarse levels frame by frame, then the style; under guidance
        a second time with the style masked."""
        config = self.model.config
        heard = self.model.token_ids(context[:, :, : config.context_levels]).flatten(1)
        levels = torch.arange(config.style_tokens, device=style.device)
        told = config.style_offset + style + config.codebook_size * levels
        ids = torch.cat([heard, told], dim=1)
        if self.sampler.copies == 1:
            return ids
        return torch.cat([ids, torch.cat([heard, torch.full_like(told, MASK)], dim=1)])

    def encode_context(self, state: LMMEncoderDecoderState) -> None:
        if not state.is_encoded:
            heard = self.encoder_ids(state.context, state.style)
            self.execute(self._encode, SourceEvaluation(heard, state.source))
            state.is_encoded = True

    def frames(self, noise: TokenNoise, state: LMMEncoderDecoderState) -> Iterator[FrameTokens]:
        newest: FrameTokens | None = None
        for frame, gumbel in enumerate(noise):
            run = TokenPass(
                cache=state.temporal,
                places=torch.arange(frame, frame + 1, device=gumbel.device),
                plan=(plan_row(Span(0, 1), [Span(0, frame + 1)]),),
                bias=self._bias[:, frame : frame + 1, : frame + 1],
            )
            one = FrameEvaluation(newest, gumbel, run, state.source, state.depth)
            newest = self.execute(self._frame, one)
            yield newest

    def _encode(self, heard: SourceEvaluation) -> Tensor:
        encoded = self.model.encode(heard.ids)
        self.model.write_source(encoded, heard.source)
        return encoded[:, :0]

    def _frame(self, one: FrameEvaluation) -> FrameTokens:
        """One temporal step, then one depth step for each level."""
        model, copies = self.model, self.sampler.copies

        def embed(tokens: FrameTokens, level: int) -> Row:
            ids = model.config.reserved_tokens + model.config.codebook_size * level + tokens
            row: Tensor = model.embedding(ids.repeat(copies, 1))
            return row

        if one.newest is None:
            rows = one.gumbel.shape[1] * copies
            hidden = model.embedding(torch.full((rows, 1), BEGIN, device=one.gumbel.device))
        else:
            ids = model.token_ids(one.newest).repeat(copies, 1)
            hidden = model.embedding(ids).mean(dim=1, keepdim=True)
        temporal = model.temporal_row(hidden, one.run, one.source)
        return model.depth_decoder.generate(
            temporal, embed, one.gumbel, self.sampler, one.depth, model.attend
        )

    def commit(self, block: TokenFrames, state: LMMEncoderDecoderState) -> LMMEncoderDecoderState:
        self.check(block, state.context.shape[0], None)
        newest = torch.cat([state.context, block], dim=1)[:, -self.geometry.context_frames :]
        return replace(state, context=newest, is_encoded=False)

    def change_prompt(
        self, state: LMMEncoderDecoderState, conditioning: Style
    ) -> LMMEncoderDecoderState:
        """The style from the next block on; the context is tokens, and knows no style."""
        self._check_style(conditioning, state.context.shape[0])
        return replace(state, style=conditioning, is_encoded=False)

    def _check_style(self, style: Style, batch: int) -> None:
        config = self.model.config
        check_codes("style code", style, batch, (config.codebook_size,) * config.style_tokens)


def random_encoder_decoder_lmm(
    config: EncoderDecoderLMMConfig,
    seed: int,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    attend: Attend = attend,
) -> EncoderDecoderLMM:
    """A model with seeded random weights."""
    with torch.device("meta"):
        model = EncoderDecoderLMM(config, attend)
    return randomised(model, seed, dtype, device)
