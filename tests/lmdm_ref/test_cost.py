"""The arithmetic of a block against what torch counts, and against the paper's own figures."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from lmdm_ref.attention import attend, dense_mask
from lmdm_ref.block_causal import BlockCausal
from lmdm_ref.conditioning import Conditioning
from lmdm_ref.cost import SCHEMES, block_cost, block_passes, num_parameters, stream_bytes
from lmdm_ref.decoder import DiffusionDecoder
from lmdm_ref.encoder_decoder import EncoderDecoder
from lmdm_ref.geometry import Geometry
from lmdm_ref.outpaint import Outpaint
from lmdm_ref.plan import Plan
from lmdm_ref.presets import PRESETS, SAO_1_0, SAO_SMALL, TINY, DecoderConfig
from lmdm_ref.sampler import euler_sampler
from lmdm_ref.schedule import linear_sigmas
from lmdm_ref.stream import DiffusionStream

STREAMS = {"outpaint": Outpaint, "encoder-decoder": EncoderDecoder, "block-causal": BlockCausal}
PAPER = Geometry(sample_rate_hz=44_100, samples_per_frame=2048, context_frames=192, block_frames=48)
LOW_DELAY = Geometry(
    sample_rate_hz=44_100, samples_per_frame=2048, context_frames=230, block_frames=10
)
SMALL = Geometry(sample_rate_hz=44_100, samples_per_frame=64, context_frames=12, block_frames=3)


@dataclass
class SelfAttentionSeen:
    """An ``attend`` that counts what self-attention sees: the area of dense masks, and keys."""

    text_tokens: int
    pairs: int = 0
    keys: int = 0

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, plan: Plan) -> Tensor:
        if key.shape[2] != self.text_tokens:
            with torch.device("cpu"):
                mask = dense_mask(plan, key.shape[2])
            assert mask.shape[0] == query.shape[2]
            self.pairs += query.shape[0] * int(mask.sum())
            self.keys += query.shape[0] * int(mask.any(dim=0).sum())
        return attend(query, key, value, plan)


def meta_stream(
    scheme: str,
    config: DecoderConfig,
    geometry: Geometry,
    num_steps: int,
    batch: int,
    guidance_scale: float = 1.0,
) -> tuple[DiffusionStream[Any], Any, Tensor]:
    """A stream on meta tensors, the state of a steady one, and a block's noise."""
    with torch.device("meta"):
        decoder = DiffusionDecoder(config)
        sampler = euler_sampler(linear_sigmas(num_steps), guidance_scale)
        stream = STREAMS[scheme](decoder, geometry, sampler)
        prompt = Conditioning(
            torch.empty(batch, config.text_tokens, config.text_width),
            torch.empty(batch, config.seconds_width),
        )
        noise = torch.empty(1, batch, stream.noise_frames, config.latent_channels)
        context = torch.empty(batch, geometry.context_frames, config.latent_channels)
        state = stream.prefill(context, prompt)
        # A block-causal stream is steady once it has something to evict, the others at once.
        for _ in range(2 if scheme == "block-causal" else 0):
            state = stream.commit(stream.generate(noise, state), state)
    return stream, state, noise


def counted_flops(
    scheme: str, config: DecoderConfig, geometry: Geometry, num_steps: int, batch: int
) -> int:
    """FLOPs of one steady block on meta tensors, as torch counts them while the stream runs."""
    stream, state, noise = meta_stream(scheme, config, geometry, num_steps, batch)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        stream.commit(stream.generate(noise, state), state)
    return counter.get_total_flops()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("config", "geometry", "num_steps", "batch"),
    [
        (TINY, SMALL, 1, 1),
        (TINY, SMALL, 8, 3),
        (SAO_SMALL, PAPER, 8, 1),
        (replace(SAO_SMALL, depth=2), LOW_DELAY, 2, 2),
        (replace(SAO_1_0, depth=2), PAPER, 2, 1),
    ],
    ids=["tiny-1", "tiny-8", "small-paper", "small-low-delay", "sao-1.0"],
)
def test_flops_equal_what_torch_counts_to_the_last_digit(
    scheme: str, config: DecoderConfig, geometry: Geometry, num_steps: int, batch: int
) -> None:
    cost = block_cost(config, block_passes(scheme, geometry, num_steps), batch, 4)
    assert cost.total("flops") == counted_flops(scheme, config, geometry, num_steps, batch)


@pytest.mark.parametrize(
    ("geometry", "num_steps", "frames"),
    [
        (PAPER, 8, (1920, 576, 432)),
        (PAPER, 50, (12_000, 2592, 2448)),
        (PAPER, 2, (480, 288, 144)),
        (LOW_DELAY, 8, (1920, 310, 90)),
    ],
)
def test_frames_per_block_are_the_paper_s(
    geometry: Geometry, num_steps: int, frames: tuple[int, ...]
) -> None:
    found = tuple(
        block_cost(SAO_SMALL, block_passes(scheme, geometry, num_steps), 1, 4).frames
        for scheme in SCHEMES
    )
    assert found == frames


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_evaluates_the_network_once_a_step(scheme: str) -> None:
    assert block_cost(TINY, block_passes(scheme, SMALL, 8), 1, 4).evaluations == 8


@pytest.mark.parametrize(
    ("scheme", "encode_rows", "step_rows", "sequential_steps"),
    [
        ("outpaint", 0, 8 * 241, 8),
        ("encoder-decoder", 192, 8 * 49, 1 + 8),
        ("block-causal", 48, 8 * 49, 8),
    ],
)
def test_rows_that_fill_the_cache_are_told_from_those_of_steps(
    scheme: str, encode_rows: int, step_rows: int, sequential_steps: int
) -> None:
    """Block-causal's encode is part of its first step's pass."""
    cost = block_cost(SAO_SMALL, block_passes(scheme, PAPER, 8), 1, 2)
    assert cost.total("encode_rows") == encode_rows
    assert cost.total("step_rows") == step_rows
    assert cost.sequential_steps == sequential_steps


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("num_steps", "batch"), [(1, 1), (4, 2)])
def test_pairs_and_keys_are_those_that_a_stream_s_attention_sees(
    scheme: str, num_steps: int, batch: int
) -> None:
    config = replace(TINY, depth=3)
    stream, state, noise = meta_stream(scheme, config, SMALL, num_steps, batch)
    seen = SelfAttentionSeen(config.text_tokens)
    stream.decoder.kernels = stream.decoder.kernels._replace(attend=seen)
    with torch.device("meta"):
        block = stream.generate(noise, state)
    stream.commit(block, state)
    cost = block_cost(config, block_passes(scheme, SMALL, num_steps), batch, 4)
    assert cost.total("pairs") == seen.pairs > 0
    bytes_per_key = 0 if scheme == "outpaint" else 2 * config.width * 4
    assert cost.total("bytes_cache_read") == seen.keys * bytes_per_key


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("config", [TINY, replace(SAO_SMALL, depth=3)], ids=["tiny", "sao-small"])
@pytest.mark.parametrize(("batch", "guidance_scale"), [(1, 1.0), (2, 1.0), (1, 7.0)])
def test_a_stream_holds_its_cache_the_text_s_keys_and_four_windows_of_latents(
    scheme: str, config: DecoderConfig, batch: int, guidance_scale: float
) -> None:
    stream, state, _ = meta_stream(scheme, config, SMALL, 2, batch, guidance_scale)
    rows = batch * stream.sampler.copies
    text = sum(2 * key.numel() * 4 for key, _ in state.conditioning.text)
    cache = 0 if scheme == "outpaint" else state.cache.num_bytes
    latents = 4 * rows * SMALL.window_frames * config.latent_channels * 4
    held = stream_bytes(scheme, config, SMALL, block_passes(scheme, SMALL, 2), rows, 4)
    assert held.cache == cache + text + latents
    assert held.weights == 4 * num_parameters(config)


def test_activations_grow_with_the_widest_pass_s_rows() -> None:
    def activations(scheme: str, batch: int = 1) -> int:
        passes = block_passes(scheme, PAPER, 8)
        return stream_bytes(scheme, SAO_SMALL, PAPER, passes, batch, 2).activations

    rows = {"outpaint": 241, "encoder-decoder": 192, "block-causal": 97}
    per_row = {scheme: activations(scheme) / count for scheme, count in rows.items()}
    assert len(set(per_row.values())) == 1
    # Two rows of hidden states, and value, gate, SiLU(gate) and their product.
    assert per_row["outpaint"] == 2 * (2 * 1024 + 4 * 4096)
    assert activations("outpaint", batch=2) == 2 * activations("outpaint")


@pytest.mark.parametrize("name", PRESETS)
def test_parameters_equal_the_module_s(name: str) -> None:
    config = PRESETS[name].decoder
    with torch.device("meta"):
        module = DiffusionDecoder(config)
    assert num_parameters(config) == sum(one.numel() for one in module.parameters())


def test_presets_have_the_published_sizes() -> None:
    assert round(num_parameters(SAO_SMALL) / 1e6, 1) == 340.9
    assert round(num_parameters(SAO_1_0) / 1e9, 3) == 1.057


def test_a_step_reads_every_layer_matrix_once_and_the_text_s_never() -> None:
    step = block_cost(SAO_SMALL, block_passes("encoder-decoder", PAPER, 8), 1, 2).passes[1]
    matrices = 16 * (3 + 1 + 1 + 1 + 12) * 1024**2
    ends = 64**2 + 64 * 1024 + 1024 * 64 + 64**2
    token = 128 + 256 * 1024 + 1024**2
    assert step.bytes_weights == 2 * (matrices + ends + token)


def test_cache_bytes_are_keys_and_values_seen_and_made() -> None:
    _, step = block_cost(SAO_SMALL, block_passes("encoder-decoder", PAPER, 8), 1, 2).passes
    bytes_per_row = 2 * 1024 * 2
    assert step.bytes_cache_read == 16 * (192 + 48 + 1) * bytes_per_row
    assert step.bytes_cache_written == 16 * (48 + 1) * bytes_per_row


def test_outpainting_has_no_cache() -> None:
    cost = block_cost(SAO_SMALL, block_passes("outpaint", PAPER, 8), 1, 2)
    assert cost.total("bytes_cache_read") == cost.total("bytes_cache_written") == 0


def test_guidance_doubles_flops_but_not_weight_bytes() -> None:
    passes = block_passes("block-causal", PAPER, 8)
    alone, guided = (block_cost(SAO_SMALL, passes, batch, 2) for batch in (1, 2))
    assert guided.total("flops_attention") == 2 * alone.total("flops_attention")
    assert guided.total("flops_head") == 2 * alone.total("flops_head")
    assert guided.total("bytes_weights") == alone.total("bytes_weights")


def test_the_bound_is_the_slower_of_computing_and_reading_for_each_pass() -> None:
    cost = block_cost(SAO_SMALL, block_passes("encoder-decoder", PAPER, 8), 1, 2)
    encode, step = cost.passes
    only_compute = cost.seconds_at_least(1.0, float("inf"))
    only_reading = cost.seconds_at_least(float("inf"), 1.0)
    assert only_compute == encode.flops + 8 * step.flops
    assert only_reading == encode.num_bytes + 8 * step.num_bytes


def test_an_unknown_scheme_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown scheme 'causal'; there are outpaint"):
        block_passes("causal", PAPER, 8)
