"""What each stage of a scheme's block has to do, counted from the same plans that the schemes run.

The FLOPs and bytes are ``lmdm_ref``'s own cost arithmetic. Added here is what a device's time
depends on besides: how many operations the host launches, the shapes of the products, and how much
is read again while a cache may still hold it.
"""

from collections.abc import Sequence
from typing import Any

import lmdm_ref
from lmdm_bench.record import Workload
from lmdm_bench.roofline import PassWork, Stage

ENCODE, STEPS, CODEC = "context_encode", "denoise", "codec_decode"

BYTES_PER_NUMBER = {"float32": 4, "bfloat16": 2, "float16": 2}

# Operations that PyTorch dispatches in these models, views left out; ``test_stage_cost.py`` counts
# them. Per layer and per pass; the sampler is among a pass's.
DECODER_LAYER_LAUNCHES = 39
DECODER_PASS_LAUNCHES = 24
T5_LAYER_LAUNCHES = {"encoder": 21, "temporal": 34, "depth": 24}
PLAIN_LAYER_LAUNCHES = {"temporal": 47, "depth": 29}
FRAME_LAUNCHES = 18
LEVEL_LAUNCHES = 16
# Of a whole decode, and of the Oobleck's 24 million activations of 48 frames: how often each is
# read or written by an operation, where no tile of them stays in a cache.
CODEC_LAUNCHES = 585
CODEC_ACTIVATION_MOVES = 120


def stages_of(workload: Workload, device_kind: str) -> tuple[Stage, ...]:
    """The stages of one steady block: what fills a cache, all steps, and the codec's decode.

    ``device_kind`` is "cpu", "cuda" or "mps": on a CPU the codec's activations stay in the cache.
    Raises ValueError for lengths that the scheme cannot have, KeyError for an unknown model.
    """
    if workload.steps is None:
        return _lmm_stages(workload)
    return (*_diffusion_stages(workload), _codec_stage(workload, device_kind))


def codec_bytes(workload: Workload) -> int:
    """What the codec holds while it decodes: its weights, and its widest tensors alive together.

    0 for an LMM, whose codec is not in the suite.
    """
    if workload.steps is None:
        return 0
    codec = lmdm_ref.PRESETS[workload.model].codec
    samples = workload.block_frames * workload.samples_per_frame
    # A residual unit at the full rate: what goes in, its sine, its product and what comes out.
    widest = 4 * samples * codec.widths[0]
    return _bytes_per_number(workload) * (lmdm_ref.codec_parameters(codec) + widest)


def _diffusion_stages(workload: Workload) -> tuple[Stage, ...]:
    config = lmdm_ref.PRESETS[workload.model].decoder
    geometry = lmdm_ref.Geometry(
        sample_rate_hz=workload.sample_rate_hz,
        samples_per_frame=workload.samples_per_frame,
        context_frames=workload.context_frames,
        block_frames=workload.block_frames,
    )
    assert workload.steps is not None, "a diffusion scheme has steps"
    shapes = lmdm_ref.block_passes(
        workload.scheme, geometry, workload.steps, workload.visible_blocks
    )
    cost = lmdm_ref.block_cost(
        config, shapes, workload.batch * _copies(workload), _bytes_per_number(workload)
    )
    width, feed_forward = config.width, config.feed_forward_width
    products = _products(
        [
            (3 * width, width),
            *[(width, width)] * 3,
            (2 * feed_forward, width),
            (width, feed_forward),
        ]
    )
    launches = DECODER_LAYER_LAUNCHES * config.depth + DECODER_PASS_LAUNCHES
    # All passes read the same weights, one pass after the other.
    works = [
        _work(one, launches, products, one.bytes_weights, one.bytes_weights) for one in cost.passes
    ]
    return _stages(cost.passes, works)


def _lmm_stages(workload: Workload) -> tuple[Stage, ...]:
    config = lmdm_ref.LMM_PRESETS[workload.model]
    assert workload.num_levels is not None, "an LMM has levels"
    geometry = lmdm_ref.TokenGeometry(
        sample_rate_hz=workload.sample_rate_hz,
        samples_per_frame=workload.samples_per_frame,
        context_frames=workload.context_frames,
        block_frames=workload.block_frames,
        num_levels=workload.num_levels,
    )
    cost = lmdm_ref.lmm_block_cost(
        config, geometry, workload.batch * _copies(workload), _bytes_per_number(workload)
    )
    return _stages(cost.passes, _lmm_works(config, cost.passes))


def _lmm_works(config: Any, passes: Sequence[Any]) -> list[PassWork]:
    """An encoder reads its weights once for each block, a temporal step once for each frame, and
    the levels of a frame the depth decoder's, one right after the other."""
    is_encoding = isinstance(config, lmdm_ref.EncoderDecoderLMMConfig)
    per_layer = T5_LAYER_LAUNCHES if is_encoding else PLAIN_LAYER_LAUNCHES
    of_block = sum(one.count * one.bytes_weights for one in passes)
    levels = [one for one in passes if one.flops_head]
    of_levels = sum(one.bytes_weights for one in levels)
    works = []
    for one in passes:
        if one.encode_rows:
            stack, kind, fixed, between = config.encoder, "encoder", FRAME_LAUNCHES, of_block
        elif not one.flops_head:
            stack, kind, fixed = config.temporal, "temporal", FRAME_LAUNCHES
            between = one.bytes_weights + of_levels
        else:
            stack, kind, fixed = config.depth_decoder, "depth", LEVEL_LAUNCHES
            between = of_block if one is levels[0] else one.bytes_weights
        width, feed_forward = stack.width, stack.feed_forward_width
        ups = 2 if is_encoding else 1
        products = _products(
            [*[(width, width)] * 4, *[(feed_forward, width)] * ups, (width, feed_forward)]
        )
        # Each level has a head of its own.
        head_share = one.flops_head / (one.flops_projections + one.flops_head)
        reread = one.bytes_weights * (1 - head_share)
        launches = per_layer[kind] * stack.depth + fixed
        works.append(_work(one, launches, products, reread, between))
    return works


def _codec_stage(workload: Workload, device_kind: str) -> Stage:
    """Decoding a block. A CPU's activations stay in its cache: the codec walks them in tiles."""
    codec = lmdm_ref.PRESETS[workload.model].codec
    steps, activations = workload.block_frames, 0
    for narrow, stride in zip(codec.widths[-2::-1], codec.strides[::-1], strict=True):
        steps *= stride
        activations += steps * narrow
    moved = 0 if device_kind == "cpu" else CODEC_ACTIVATION_MOVES * activations
    # Half of the parameters are the encoder's.
    weights = lmdm_ref.codec_parameters(codec) // 2
    work = PassWork(
        count=1,
        launches=CODEC_LAUNCHES,
        rows=steps,
        products=(),
        flops_matrix=0.0,
        flops_attention=0.0,
        flops_codec=float(lmdm_ref.decode_flops(codec, workload.block_frames)),
        num_bytes=float(_bytes_per_number(workload) * (weights + moved)),
        bytes_reread=0.0,
        bytes_between=0.0,
    )
    return Stage(CODEC, (work,))


def _stages(passes: Sequence[Any], works: Sequence[PassWork]) -> tuple[Stage, ...]:
    """Passes whose rows only fill a cache are timed apart from the steps."""
    pairs = list(zip(passes, works, strict=True))
    encode = tuple(work for one, work in pairs if not one.step_rows)
    steps = tuple(work for one, work in pairs if one.step_rows)
    stages = (Stage(ENCODE, encode), Stage(STEPS, steps))
    return tuple(stage for stage in stages if stage.passes)


def _work(
    one: Any,
    launches: int,
    products: tuple[tuple[int, float], ...],
    bytes_reread: float,
    bytes_between: float,
) -> PassWork:
    return PassWork(
        count=one.count,
        launches=launches,
        rows=one.encode_rows + one.step_rows,
        products=products,
        flops_matrix=float(one.flops_projections + one.flops_head),
        flops_attention=float(one.flops_attention),
        flops_codec=0.0,
        num_bytes=float(one.num_bytes),
        bytes_reread=float(bytes_reread),
        bytes_between=float(bytes_between),
    )


def _products(shapes: Sequence[tuple[int, int]]) -> tuple[tuple[int, float], ...]:
    """A layer's products, (columns of the result, columns summed over), as (columns, part)."""
    whole = sum(columns * summed for columns, summed in shapes)
    parts: dict[int, float] = {}
    for columns, summed in shapes:
        parts[columns] = parts.get(columns, 0.0) + columns * summed / whole
    return tuple(parts.items())


def _copies(workload: Workload) -> int:
    """How often guidance has the network evaluated; a frame-wise LMM hears it as tokens."""
    is_guided = workload.guidance_scale != 1.0 or workload.sampler == "pingpong++"
    return 2 if is_guided and workload.scheme != "lmm-frame-wise" else 1


def _bytes_per_number(workload: Workload) -> int:
    return BYTES_PER_NUMBER[workload.dtype]
