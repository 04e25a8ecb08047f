"""The arithmetic of an LMM's block against what torch counts, and against its own modules."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lmdm_ref.cache import KVCache
from lmdm_ref.geometry import TokenGeometry
from lmdm_ref.lmm_cost import lmm_block_cost, lmm_num_parameters, lmm_stream_bytes
from lmdm_ref.lmm_encoder_decoder import EncoderDecoderLMM, LMMEncoderDecoder
from lmdm_ref.lmm_frame_wise import FrameConditions, FrameWiseLMM, LMMFrameWise
from lmdm_ref.lmm_presets import (
    LMM_PRESETS,
    MRT1_BASE,
    MRT1_LARGE,
    MRT1_TINY,
    MRT2_BASE,
    MRT2_SMALL,
    MRT2_TINY,
    EncoderDecoderLMMConfig,
    FrameWiseLMMConfig,
    LMMConfig,
)
from lmdm_ref.token_sampler import TokenSampler
from lmdm_ref.token_stream import TokenStream

GUIDANCE = 6.0


def shorter(config: LMMConfig, **lengths: int) -> TokenGeometry:
    return replace(config.geometry, **lengths)


def meta_model(config: LMMConfig) -> Any:
    with torch.device("meta"):
        if isinstance(config, EncoderDecoderLMMConfig):
            return EncoderDecoderLMM(config)
        return FrameWiseLMM(config)


def steady_stream(
    config: LMMConfig, geometry: TokenGeometry, listeners: int, guidance_scale: float
) -> tuple[TokenStream[Any], Any]:
    """A stream on meta tensors, and a state whose caches are as full as they get."""

    def codes(*shape: int) -> Tensor:
        return torch.empty(listeners, *shape, dtype=torch.long)

    model, sampler = meta_model(config), TokenSampler(1.0, 8, guidance_scale)
    with torch.device("meta"):
        style = codes(config.style_tokens)
        if isinstance(config, EncoderDecoderLMMConfig):
            stream = LMMEncoderDecoder(model, geometry, sampler)
            context = codes(geometry.context_frames, geometry.num_levels)
            return stream, stream.prefill(context, style)
        rings = LMMFrameWise(model, geometry, sampler)
        others = codes(len(config.condition_codes))
        state = rings.prefill(codes(0, geometry.num_levels), FrameConditions(style, others))
        newest = codes(geometry.num_levels)
        return rings, replace(state, num_heard=rings.ring_frames, newest=newest)


def counted_flops(
    config: LMMConfig, geometry: TokenGeometry, listeners: int = 1, guidance_scale: float = 1.0
) -> int:
    """FLOPs of one steady block as torch counts them while the stream runs."""
    stream, state = steady_stream(config, geometry, listeners, guidance_scale)
    shape = (geometry.block_frames, geometry.num_levels, listeners, config.codebook_size)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        stream.generate(torch.empty(shape), state)
    return counter.get_total_flops()


def flops(config: LMMConfig, geometry: TokenGeometry, rows: int = 1) -> int:
    return lmm_block_cost(config, geometry, rows, 4).total("flops")


def matrices(*modules: torch.nn.Module, but: str = "no part") -> int:
    """Weights of all linear layers whose name does not hold ``but``."""
    return sum(
        part.weight.numel()
        for module in modules
        for name, part in module.named_modules()
        if isinstance(part, torch.nn.Linear) and but not in name
    )


def num_bytes(*caches: KVCache) -> int:
    return sum(cache.num_bytes for cache in caches)


@pytest.mark.parametrize("name", LMM_PRESETS)
def test_flops_equal_what_torch_counts_to_the_last_digit(name: str) -> None:
    config = LMM_PRESETS[name]
    geometry = shorter(config, block_frames=2)
    assert flops(config, geometry) == counted_flops(config, geometry)


@pytest.mark.parametrize("config", [MRT1_TINY, MRT2_TINY])
@pytest.mark.parametrize("listeners", [1, 2])
@pytest.mark.parametrize(
    "lengths",
    [
        {},
        {"context_frames": 1},
        {"context_frames": 23},
        {"block_frames": 1},
        {"block_frames": 9},
        {"num_levels": 2},
        {"context_frames": 300, "block_frames": 3, "num_levels": 3},
    ],
    ids=str,
)
def test_flops_are_torch_s_for_other_lengths_too(
    config: LMMConfig, listeners: int, lengths: dict[str, int]
) -> None:
    geometry = shorter(config, **lengths)
    assert flops(config, geometry, listeners) == counted_flops(config, geometry, listeners)


@pytest.mark.parametrize("config", [MRT1_TINY, MRT1_BASE])
@pytest.mark.parametrize("listeners", [1, 2])
def test_guidance_is_a_doubled_batch_for_torch_too(
    config: EncoderDecoderLMMConfig, listeners: int
) -> None:
    geometry = shorter(config, block_frames=1)
    counted = counted_flops(config, geometry, listeners, GUIDANCE)
    assert flops(config, geometry, 2 * listeners) == counted


@pytest.mark.parametrize("name", LMM_PRESETS)
def test_parameters_equal_the_module_s(name: str) -> None:
    config = LMM_PRESETS[name]
    expected = sum(one.numel() for one in meta_model(config).parameters())
    assert lmm_num_parameters(config) == expected


@pytest.mark.parametrize(
    ("config", "millions"),
    [(MRT1_LARGE, 761.6), (MRT1_BASE, 348.0), (MRT2_SMALL, 229.73), (MRT2_BASE, 2406.70)],
)
def test_presets_have_the_published_sizes(config: LMMConfig, millions: float) -> None:
    assert lmm_num_parameters(config) / 1e6 == pytest.approx(millions, rel=0.005)


@pytest.mark.parametrize(
    ("config", "evaluations", "steps", "encode_rows"),
    [
        (MRT1_LARGE, 800, 1 + 50 + 800, 1006),
        (MRT1_BASE, 800, 1 + 50 + 800, 1006),
        (MRT2_SMALL, 600, 50 + 600, 0),
        (MRT2_BASE, 600, 50 + 600, 0),
    ],
)
def test_every_frame_and_every_level_waits_for_the_one_before_it(
    config: LMMConfig, evaluations: int, steps: int, encode_rows: int
) -> None:
    cost = lmm_block_cost(config, config.geometry, 1, 2)
    assert cost.evaluations == evaluations
    assert cost.sequential_steps == steps
    assert cost.total("encode_rows") == encode_rows
    assert cost.total("step_rows") == 50 + evaluations
    assert cost.frames == encode_rows + 50 + evaluations


@pytest.mark.parametrize("config", [MRT1_LARGE, MRT2_SMALL, MRT1_TINY, MRT2_TINY])
def test_a_second_row_doubles_all_but_the_weights_that_are_read(config: LMMConfig) -> None:
    alone, doubled = (lmm_block_cost(config, config.geometry, rows, 2) for rows in (1, 2))
    for name in (
        "flops_projections",
        "flops_attention",
        "flops_head",
        "encode_rows",
        "step_rows",
        "pairs",
        "bytes_cache_read",
        "bytes_cache_written",
    ):
        assert doubled.total(name) == 2 * alone.total(name)
    assert doubled.total("bytes_weights") == alone.total("bytes_weights")
    assert (doubled.evaluations, doubled.frames) == (alone.evaluations, alone.frames)


@pytest.mark.parametrize("config", [MRT1_LARGE, MRT1_TINY])
def test_an_encoder_decoder_reads_each_matrix_once_a_pass(config: EncoderDecoderLMMConfig) -> None:
    model, geometry = meta_model(config), config.geometry
    source = matrices(model.temporal_layers) - matrices(
        model.temporal_layers, but="cross_attention.key_value"
    )
    encode = matrices(model.encoder_layers) + source
    step = matrices(model.temporal_layers) - source
    layers, head = matrices(model.depth_decoder.layers), matrices(model.depth_decoder.head.levels)
    frames = geometry.block_frames
    numbers = encode + frames * (step + geometry.num_levels * layers + head)
    cost = lmm_block_cost(config, geometry, 1, 2)
    assert cost.total("bytes_weights") == 2 * numbers


@pytest.mark.parametrize("config", [MRT2_SMALL, MRT2_TINY])
def test_a_frame_wise_lmm_reads_each_matrix_once_a_pass(config: FrameWiseLMMConfig) -> None:
    model, geometry = meta_model(config), config.geometry
    step = matrices(model.temporal_layers, model.conditions)
    layers, head = matrices(model.depth_decoder.layers), matrices(model.depth_decoder.head.levels)
    adapter = model.depth_in.weight.numel()
    frame = step + geometry.num_levels * (adapter + layers) + head
    cost = lmm_block_cost(config, geometry, 1, 2)
    assert cost.total("bytes_weights") == 2 * geometry.block_frames * frame


@pytest.mark.parametrize("config", [MRT1_LARGE, MRT1_TINY])
def test_an_encoder_decoder_s_cache_grows_from_frame_to_frame(
    config: EncoderDecoderLMMConfig,
) -> None:
    """Pairs are self-attention's alone; bytes are all keys and values that a pass touches."""
    geometry, temporal, depth = config.geometry, config.temporal, config.depth_decoder
    heard = config.encoder_tokens(geometry.context_frames)
    pairs, read = config.encoder.depth * heard * heard, 0
    written = temporal.depth * temporal.width * heard
    for frame in range(geometry.block_frames):
        pairs += temporal.depth * (frame + 1)
        read += temporal.depth * temporal.width * (frame + 1 + heard)
        written += temporal.depth * temporal.width
        for level in range(geometry.num_levels):
            pairs += depth.depth * (level + 1)
            read += depth.depth * depth.width * (level + 1)
            written += depth.depth * depth.width
    cost = lmm_block_cost(config, geometry, 1, 2)
    assert cost.total("pairs") == pairs
    assert cost.total("bytes_cache_read") == 2 * 2 * read
    assert cost.total("bytes_cache_written") == 2 * 2 * written


@pytest.mark.parametrize("config", [MRT2_SMALL, MRT2_TINY])
def test_a_frame_wise_lmm_sees_two_full_rings_with_their_sinks(config: FrameWiseLMMConfig) -> None:
    geometry, temporal, depth = config.geometry, config.temporal, config.depth_decoder
    ring = 1 + geometry.context_frames + 1
    pairs = read = written = 0
    for _ in range(geometry.block_frames):
        pairs += 2 * temporal.depth * ring
        read += 2 * temporal.depth * temporal.width * ring
        written += 2 * temporal.depth * temporal.width
        for level in range(geometry.num_levels):
            pairs += depth.depth * (level + 1)
            read += depth.depth * depth.width * (level + 1)
            written += depth.depth * depth.width
    cost = lmm_block_cost(config, geometry, 1, 2)
    assert cost.total("pairs") == pairs
    assert cost.total("bytes_cache_read") == 2 * 2 * read
    assert cost.total("bytes_cache_written") == 2 * 2 * written


@pytest.mark.parametrize("config", [MRT1_TINY, MRT1_BASE])
@pytest.mark.parametrize(("listeners", "guidance_scale"), [(1, 1.0), (2, 1.0), (1, GUIDANCE)])
def test_an_encoder_decoder_holds_its_caches_and_the_tokens_it_heard(
    config: EncoderDecoderLMMConfig, listeners: int, guidance_scale: float
) -> None:
    stream, state = steady_stream(config, config.geometry, listeners, guidance_scale)
    rows = listeners * stream.sampler.copies
    tokens = 8 * rows * state.context[0].numel()
    found = lmm_stream_bytes(config, config.geometry, rows, 4)
    assert found.cache == num_bytes(state.source, state.temporal, state.depth) + tokens
    assert found.weights == 4 * lmm_num_parameters(config)


@pytest.mark.parametrize("config", [MRT2_TINY, MRT2_SMALL])
@pytest.mark.parametrize("listeners", [1, 2])
def test_a_frame_wise_lmm_holds_its_rings_twice(config: FrameWiseLMMConfig, listeners: int) -> None:
    _, state = steady_stream(config, config.geometry, listeners, 1.0)
    found = lmm_stream_bytes(config, config.geometry, listeners, 4)
    assert found.cache == num_bytes(*state.rings, *state.ahead, state.depth)
    assert found.weights == 4 * lmm_num_parameters(config)


def test_activations_are_those_of_the_encoder_s_rows_and_of_one_row_without_it() -> None:
    geometry = replace(MRT1_TINY.geometry, context_frames=600)
    short, long = (
        lmm_stream_bytes(MRT1_TINY, one, 1, 4).activations for one in (MRT1_TINY.geometry, geometry)
    )
    assert long > 10 * short
    geometry = replace(MRT2_TINY.geometry, context_frames=600)
    short, long = (
        lmm_stream_bytes(MRT2_TINY, one, 1, 4).activations for one in (MRT2_TINY.geometry, geometry)
    )
    assert long == short
