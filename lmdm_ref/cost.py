"""What arithmetic says of one steady block of a diffusion scheme (no torch).

Counted from the same plans that the schemes run; tests hold the FLOPs equal to torch's own counter
to the last digit, and the memory to what a process is measured to hold. Paper, section 4.1 and
appendix: frames per block are (s + o)·K for outpainting, s + o·K for encoder-decoder, o + o·K for
block-causal.
"""

from dataclasses import dataclass

from lmdm_ref.arena import Arena, Span
from lmdm_ref.geometry import Geometry
from lmdm_ref.pass_cost import BlockCost, PassCost, StreamBytes
from lmdm_ref.plan import (
    Plan,
    crop_plan,
    full_plan,
    fused_commit_plan,
    num_pairs,
    ring_commit_plan,
    ring_step_plan,
    slot_step_plan,
)
from lmdm_ref.presets import DecoderConfig

SCHEMES = ("outpaint", "encoder-decoder", "block-causal")

# Latents stay in float32: the context, the noisy block, its noise and what the sampler makes of it.
BYTES_PER_LATENT = 4
LATENT_COPIES = 4


@dataclass(frozen=True, kw_only=True)
class PassShape:
    """One run of rows through the decoder, ``count`` times in a block.

    ``noisy_frames`` go through A and ``clean_frames`` through B (both, for outpainting's context);
    ``outputs`` is what the head reads; ``has_token`` says whether noise is estimated at all.
    """

    count: int
    frames: int
    noisy_frames: int
    clean_frames: int
    plan: Plan
    outputs: Span
    has_token: bool
    is_cached: bool

    @property
    def rows(self) -> int:
        return self.frames + self.has_token


def block_passes(
    scheme: str, geometry: Geometry, num_steps: int, visible_blocks: int | None = None
) -> tuple[PassShape, ...]:
    """The passes of one steady block. Raises ValueError for an unknown scheme."""
    context, block, window = (
        geometry.context_frames,
        geometry.block_frames,
        geometry.window_frames,
    )
    if scheme == "outpaint":
        return (
            PassShape(
                count=num_steps,
                frames=window,
                noisy_frames=window,
                clean_frames=context,
                plan=full_plan(window + 1),
                outputs=Span(context, window),
                has_token=True,
                is_cached=False,
            ),
        )
    if scheme == "encoder-decoder":
        arena = Arena(prefix=0, target_frames=block, slot_frames=context, num_slots=1)
        encode = PassShape(
            count=1,
            frames=context,
            noisy_frames=0,
            clean_frames=context,
            plan=ring_commit_plan(arena, 1),
            outputs=Span(0, 0),
            has_token=False,
            is_cached=True,
        )
        return (encode, _step(num_steps, block, slot_step_plan(arena, 1)))
    if scheme == "block-causal":
        visible = visible_blocks or geometry.context_blocks
        arena = Arena(prefix=0, target_frames=block, slot_frames=block, num_slots=visible + 1)
        fused = PassShape(
            count=1,
            frames=2 * block,
            noisy_frames=block,
            clean_frames=block,
            plan=fused_commit_plan(arena, visible + 1, 0),
            outputs=Span(block, 2 * block),
            has_token=True,
            is_cached=True,
        )
        step = _step(num_steps - 1, block, ring_step_plan(arena, visible + 1))
        return (fused, step) if num_steps > 1 else (fused,)
    raise ValueError(f"unknown scheme {scheme!r}; there are {', '.join(SCHEMES)}")


def block_cost(
    config: DecoderConfig, passes: tuple[PassShape, ...], batch: int, bytes_per_number: int
) -> BlockCost:
    """The cost of a block for ``batch`` rows (guidance counted in) of ``bytes_per_number``."""
    return BlockCost(
        evaluations=sum(one.count for one in passes if one.has_token),
        frames=sum(one.count * one.frames for one in passes),
        passes=tuple(_pass_cost(config, one, batch, bytes_per_number) for one in passes),
    )


def stream_bytes(
    scheme: str,
    config: DecoderConfig,
    geometry: Geometry,
    passes: tuple[PassShape, ...],
    batch: int,
    bytes_per_number: int,
) -> StreamBytes:
    """What a stream of ``batch`` rows (guidance counted in) holds while it makes a block."""
    places = {
        "outpaint": 0,
        "encoder-decoder": geometry.window_frames + 1,
        "block-causal": geometry.window_frames + 1 + geometry.block_frames,
    }[scheme]
    text_rows = 2 * config.depth * config.cross_width * config.text_tokens
    latents = LATENT_COPIES * geometry.window_frames * config.latent_channels * BYTES_PER_LATENT
    return StreamBytes(
        weights=num_parameters(config) * bytes_per_number,
        cache=batch * (2 * config.depth * config.width * places + text_rows) * bytes_per_number
        + batch * latents,
        activations=batch * max(_activations(config, one) for one in passes) * bytes_per_number,
    )


def num_parameters(config: DecoderConfig) -> int:
    """All of the decoder's weights, B among them."""
    width, channels = config.width, config.latent_channels
    conditioning = (
        config.text_width * config.cross_width
        + config.cross_width**2
        + config.seconds_width * width
        + width**2
    )
    sigma = _token_weights(config) + 2 * width
    ends = 2 * channels * width + 2 * channels**2 + (1 + channels) * width
    return conditioning + sigma + ends + config.depth * _layer_parameters(config)


def _step(count: int, block_frames: int, plan: Plan) -> PassShape:
    return PassShape(
        count=count,
        frames=block_frames,
        noisy_frames=block_frames,
        clean_frames=0,
        plan=plan,
        outputs=Span(0, block_frames),
        has_token=True,
        is_cached=True,
    )


def _pass_cost(
    config: DecoderConfig, shape: PassShape, batch: int, bytes_per_number: int
) -> PassCost:
    width, channels, depth = config.width, config.latent_channels, config.depth
    rows, outputs = shape.rows, shape.outputs.size
    last_plan = crop_plan(shape.plan, shape.outputs)
    # Summed over the layers: all rows make keys in each, only the outputs go on in the last.
    key_rows = depth * rows
    full_rows = (depth - 1) * rows + outputs
    pairs = (depth - 1) * num_pairs(shape.plan) + num_pairs(last_plan)
    seen_keys = (depth - 1) * _distinct_keys(shape.plan) + _distinct_keys(last_plan)

    noisy_weights = channels**2 + channels * width
    clean_weights = (1 + channels) * width
    head_weights = width * channels + channels**2
    # Sigma is the same for the whole batch: the token's embedding is computed once.
    token_macs = _token_weights(config) if shape.has_token else 0
    row_macs = (
        key_rows * _qkv_weights(config)
        + full_rows * _other_layer_weights(config)
        + shape.noisy_frames * noisy_weights
        + shape.clean_frames * clean_weights
    )
    weights_read = (
        depth * _qkv_weights(config)
        + (depth - (outputs == 0)) * _other_layer_weights(config)
        + (shape.noisy_frames > 0) * noisy_weights
        + (shape.clean_frames > 0) * clean_weights
        + (outputs > 0) * head_weights
        + token_macs
    )
    bytes_per_cache_row = 2 * width * bytes_per_number * batch if shape.is_cached else 0
    encode_rows = shape.clean_frames if shape.is_cached else 0
    return PassCost(
        count=shape.count,
        encode_rows=batch * encode_rows,
        step_rows=batch * (rows - encode_rows),
        pairs=batch * pairs,
        flops_projections=2 * (batch * row_macs + token_macs),
        flops_attention=4 * batch * width * (pairs + full_rows * config.text_tokens),
        flops_head=2 * batch * outputs * head_weights,
        bytes_weights=bytes_per_number * weights_read,
        bytes_cache_read=bytes_per_cache_row * seen_keys,
        bytes_cache_written=bytes_per_cache_row * key_rows,
    )


def _activations(config: DecoderConfig, shape: PassShape) -> int:
    """Numbers alive together in a layer's widest moment.

    In the feed-forward: the hidden rows, their norm, value and gate, SiLU(gate) and the product. In
    attention: the hidden rows, their norm, three projections and two rotated ones, and the result.
    """
    feed_forward = shape.rows * (2 * config.width + 4 * config.feed_forward_width)
    attention = shape.rows * 8 * config.width
    return max(feed_forward, attention)


def _distinct_keys(plan: Plan) -> int:
    """How many places of the arena a pass reads, each counted once."""
    return len({place for row in plan for span in row.keys for place in range(*span)})


def _qkv_weights(config: DecoderConfig) -> int:
    return 3 * config.width**2


def _other_layer_weights(config: DecoderConfig) -> int:
    """A layer's matrices after the keys are made; the text's keys are made once for a prompt."""
    self_out, cross_query, cross_out = (config.width**2,) * 3
    feed_forward = 3 * config.width * config.feed_forward_width
    return self_out + cross_query + cross_out + feed_forward


def _token_weights(config: DecoderConfig) -> int:
    frequencies = config.sigma_features // 2
    return frequencies + config.sigma_features * config.width + config.width**2


def _layer_parameters(config: DecoderConfig) -> int:
    text_keys = 2 * config.cross_width**2
    norms = 3 * config.width + (8 * config.head_dim if config.qk_norm == "layer" else 0)
    biases = 2 * config.feed_forward_width + config.width
    return _qkv_weights(config) + _other_layer_weights(config) + text_keys + norms + biases
