"""The arithmetic of a block against what torch counts, and against the paper's own figures."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lmdm_ref.block_causal import BlockCausal
from lmdm_ref.conditioning import Conditioning
from lmdm_ref.cost import SCHEMES, block_cost, block_passes, num_parameters
from lmdm_ref.decoder import DiffusionDecoder
from lmdm_ref.encoder_decoder import EncoderDecoder
from lmdm_ref.geometry import Geometry
from lmdm_ref.outpaint import Outpaint
from lmdm_ref.presets import PRESETS, SAO_1_0, SAO_SMALL, TINY, DecoderConfig
from lmdm_ref.sampler import euler_sampler
from lmdm_ref.schedule import linear_sigmas

STREAMS = {"outpaint": Outpaint, "encoder-decoder": EncoderDecoder, "block-causal": BlockCausal}
PAPER = Geometry(sample_rate_hz=44_100, samples_per_frame=2048, context_frames=192, block_frames=48)
LOW_DELAY = Geometry(
    sample_rate_hz=44_100, samples_per_frame=2048, context_frames=230, block_frames=10
)
SMALL = Geometry(sample_rate_hz=44_100, samples_per_frame=64, context_frames=12, block_frames=3)


def counted_flops(
    scheme: str, config: DecoderConfig, geometry: Geometry, num_steps: int, batch: int
) -> int:
    """FLOPs of one steady block on meta tensors, as torch counts them while the stream runs."""
    with torch.device("meta"):
        decoder = DiffusionDecoder(config)
        stream = STREAMS[scheme](decoder, geometry, euler_sampler(linear_sigmas(num_steps)))
        prompt = Conditioning(
            torch.empty(batch, config.text_tokens, config.text_width),
            torch.empty(batch, config.seconds_width),
        )
        noise = torch.empty(1, batch, stream.noise_frames, config.latent_channels)
        context = torch.empty(batch, geometry.context_frames, config.latent_channels)
        state = stream.prefill(context, prompt)
        # A block-causal stream is steady once it has something to evict.
        for _ in range(2):
            state = stream.commit(stream.generate(noise, state), state)
        with FlopCounterMode(display=False) as counter:
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
