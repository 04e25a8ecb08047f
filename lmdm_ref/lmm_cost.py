"""What arithmetic says of one steady block of an LMM (no torch).

Paper, section 4.1: E(1:s) + Σ D(t). Every temporal step and every level of the depth decoder is a
pass of its own, since none can start before the one before it has ended.
"""

from lmdm_ref.geometry import TokenGeometry
from lmdm_ref.lmm_presets import (
    EncoderDecoderLMMConfig,
    FrameWiseLMMConfig,
    LMMConfig,
    StackConfig,
)
from lmdm_ref.pass_cost import BlockCost, PassCost, StreamBytes

BYTES_PER_TOKEN = 8
BYTES_PER_NOISE = 4


def lmm_block_cost(
    config: LMMConfig, geometry: TokenGeometry, batch: int, bytes_per_number: int
) -> BlockCost:
    """The cost of a block for ``batch`` rows (guidance counted in) of ``bytes_per_number``."""
    if isinstance(config, EncoderDecoderLMMConfig):
        passes = _encoder_decoder(config, geometry, batch, bytes_per_number)
    else:
        passes = _frame_wise(config, geometry, batch, bytes_per_number)
    return BlockCost(
        evaluations=geometry.block_tokens,
        frames=sum(one.count * (one.encode_rows + one.step_rows) for one in passes) // batch,
        passes=passes,
    )


def lmm_stream_bytes(
    config: LMMConfig, geometry: TokenGeometry, batch: int, bytes_per_number: int
) -> StreamBytes:
    """What a stream of ``batch`` rows holds while it makes a block."""
    depth = 2 * config.depth_decoder.depth * config.depth_decoder.width * geometry.num_levels
    temporal = 2 * config.temporal.depth * config.temporal.width
    noise = geometry.block_tokens * config.codebook_size * BYTES_PER_NOISE
    if isinstance(config, EncoderDecoderLMMConfig):
        rows = config.encoder_tokens(geometry.context_frames)
        cache = temporal * (rows + geometry.block_frames) + depth
        tokens = geometry.context_frames * geometry.num_levels * BYTES_PER_TOKEN
        stack = config.encoder
        # In the feed-forward: the hidden rows, their norm, gate and up, GELU(gate), the product.
        activations = rows * (2 * stack.width + 4 * stack.feed_forward_width)
    else:
        # Two rings (self, cross) and their copies that the block at hand writes into.
        cache = 4 * temporal * (geometry.context_frames + 2) + depth
        tokens = 0
        stack = config.temporal
        activations = 2 * (stack.width + stack.feed_forward_width)
    return StreamBytes(
        weights=lmm_num_parameters(config) * bytes_per_number,
        cache=batch * (cache * bytes_per_number + tokens),
        activations=batch * (activations * bytes_per_number + noise),
    )


def lmm_num_parameters(config: LMMConfig) -> int:
    """All of the LMM's weights."""
    temporal, depth = config.temporal, config.depth_decoder
    embedding = config.vocabulary * temporal.width
    if isinstance(config, EncoderDecoderLMMConfig):
        encoder = config.encoder
        biases = config.temporal_buckets * temporal.num_heads
        biases += config.depth_buckets * depth.num_heads
        return (
            embedding
            + encoder.depth * (_t5_matrices(encoder) + 2 * encoder.width)
            + temporal.depth * (_t5_matrices(temporal) + _cross_matrices(temporal, temporal.width))
            + temporal.depth * 3 * temporal.width
            + depth.depth * (_t5_matrices(depth) + 2 * depth.width)
            + biases
            + encoder.width
            + depth.width
            + config.vocabulary * depth.width
        )
    conditions = (
        config.style_tokens * config.style_codes * config.style_width
        + config.style_width * config.condition_width
        + (config.condition_rows + 2) * config.condition_width
    )
    own = 4 * temporal.width  # keys and values of two sinks
    cross = _cross_matrices(temporal, config.condition_width) + 2 * temporal.width
    return (
        embedding
        + conditions
        + temporal.depth * (_plain_layer(temporal) + cross + temporal.head_dim + own)
        + temporal.width * depth.width
        + depth.depth * _plain_layer(depth)
        + 2 * depth.width
        + config.vocabulary * (depth.width + 1)
    )


def _encoder_decoder(
    config: EncoderDecoderLMMConfig, geometry: TokenGeometry, batch: int, bytes_per_number: int
) -> tuple[PassCost, ...]:
    encoder, temporal = config.encoder, config.temporal
    rows = config.encoder_tokens(geometry.context_frames)
    source = temporal.depth * 2 * temporal.width**2
    matrices = encoder.depth * _t5_matrices(encoder) + source
    encode = _pass(
        batch,
        bytes_per_number,
        rows=rows,
        is_encode=True,
        matrices=matrices,
        attended=encoder.depth * rows * rows * encoder.width,
        pairs=encoder.depth * rows * rows,
        written=2 * temporal.depth * temporal.width * rows,
    )
    step_matrices = temporal.depth * (
        _t5_matrices(temporal) + _cross_matrices(temporal, temporal.width) - 2 * temporal.width**2
    )
    steps = tuple(
        _pass(
            batch,
            bytes_per_number,
            matrices=step_matrices,
            attended=temporal.depth * (frame + 1 + rows) * temporal.width,
            pairs=temporal.depth * (frame + 1),
            read=2 * temporal.depth * temporal.width * (frame + 1 + rows),
            written=2 * temporal.depth * temporal.width,
        )
        for frame in range(geometry.block_frames)
    )
    depth = config.depth_decoder
    levels = _levels(
        config, geometry, depth.depth * _t5_matrices(depth), 0, batch, bytes_per_number
    )
    return (encode, *steps, *levels)


def _frame_wise(
    config: FrameWiseLMMConfig, geometry: TokenGeometry, batch: int, bytes_per_number: int
) -> tuple[PassCost, ...]:
    temporal, depth = config.temporal, config.depth_decoder
    seen = geometry.context_frames + 2  # the window, the frame itself and the sink
    layer = 4 * temporal.width**2 + 2 * temporal.width * temporal.feed_forward_width
    matrices = temporal.depth * (layer + _cross_matrices(temporal, config.condition_width))
    matrices += config.style_width * config.condition_width
    both = 2 * temporal.depth * seen
    step = _pass(
        batch,
        bytes_per_number,
        count=geometry.block_frames,
        matrices=matrices,
        attended=both * temporal.width,
        pairs=both,
        read=2 * both * temporal.width,
        written=4 * temporal.depth * temporal.width,
    )
    depth_layer = 4 * depth.width**2 + 2 * depth.width * depth.feed_forward_width
    adapter = temporal.width * depth.width
    levels = _levels(config, geometry, depth.depth * depth_layer, adapter, batch, bytes_per_number)
    return (step, *levels)


def _levels(
    config: LMMConfig,
    geometry: TokenGeometry,
    layers: int,
    adapter: int,
    batch: int,
    bytes_per_number: int,
) -> tuple[PassCost, ...]:
    """The depth decoder's passes, level by level, in every frame."""
    stack = config.depth_decoder
    return tuple(
        _pass(
            batch,
            bytes_per_number,
            count=geometry.block_frames,
            matrices=layers + adapter,
            head=config.codebook_size * stack.width,
            attended=stack.depth * (level + 1) * stack.width,
            pairs=stack.depth * (level + 1),
            read=2 * stack.depth * stack.width * (level + 1),
            written=2 * stack.depth * stack.width,
        )
        for level in range(geometry.num_levels)
    )


def _pass(
    batch: int,
    bytes_per_number: int,
    *,
    matrices: int,
    attended: int,
    pairs: int,
    count: int = 1,
    rows: int = 1,
    is_encode: bool = False,
    head: int = 0,
    read: int = 0,
    written: int = 0,
) -> PassCost:
    """One pass of ``rows`` rows: ``matrices`` and ``head`` are weights that each row meets,
    ``attended`` multiply-adds of scores, ``read`` and ``written`` numbers of caches, for one
    batch row."""
    return PassCost(
        count=count,
        encode_rows=batch * rows if is_encode else 0,
        step_rows=0 if is_encode else batch * rows,
        pairs=batch * pairs,
        flops_projections=2 * batch * rows * matrices,
        flops_attention=4 * batch * attended,
        flops_head=2 * batch * rows * head,
        bytes_weights=bytes_per_number * (matrices + head),
        bytes_cache_read=batch * bytes_per_number * read,
        bytes_cache_written=batch * bytes_per_number * written,
    )


def _t5_matrices(stack: StackConfig) -> int:
    return 4 * stack.width**2 + 3 * stack.width * stack.feed_forward_width


def _cross_matrices(stack: StackConfig, source_width: int) -> int:
    return 2 * stack.width**2 + 2 * source_width * stack.width


def _plain_layer(stack: StackConfig) -> int:
    """Self-attention and feed-forward with biases, norms and query scale."""
    matrices = 4 * stack.width**2 + 2 * stack.width * stack.feed_forward_width
    biases = stack.feed_forward_width + stack.width
    return matrices + biases + 4 * stack.width + stack.head_dim
