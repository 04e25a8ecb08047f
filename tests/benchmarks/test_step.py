"""A denoising step beside a bare pass of the same rows: what cache and context attention cost.

    tox exec -e py -- pytest tests/benchmarks --benchmark-enable --benchmark-group-by=param:dtype

Without --benchmark-enable each runs once, tiny, to see that it runs.
"""

from collections.abc import Callable

import psutil
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from lmdm_ref.arena import Span
from lmdm_ref.conditioning import Conditioning
from lmdm_ref.decoder import random_decoder
from lmdm_ref.encoder_decoder import EncoderDecoder
from lmdm_ref.geometry import Geometry
from lmdm_ref.linear import pack_linears
from lmdm_ref.plan import full_plan
from lmdm_ref.presets import PRESETS
from lmdm_ref.sampler import pingpong_sampler
from lmdm_ref.schedule import logsnr_sigmas
from lmdm_ref.stream import block_noise

SIGMA = 0.5
ROUNDS = 25
WARMUP_ROUNDS = 3

Steps = dict[str, Callable[[], Tensor]]


def steps(preset: str, dtype: torch.dtype, context_frames: int, block_frames: int) -> Steps:
    """The same 48 frames and token: through the layers alone, and as a step of a stream."""
    sizes = PRESETS[preset]
    geometry = Geometry(
        sample_rate_hz=sizes.codec.sample_rate_hz,
        samples_per_frame=sizes.codec.samples_per_frame,
        context_frames=context_frames,
        block_frames=block_frames,
    )
    decoder = random_decoder(sizes.decoder, seed=0, dtype=dtype)
    pack_linears(decoder)
    stream = EncoderDecoder(decoder, geometry, pingpong_sampler(logsnr_sigmas(8)))
    prompt = Conditioning(
        torch.randn(1, sizes.decoder.text_tokens, sizes.decoder.text_width),
        torch.randn(1, sizes.decoder.seconds_width),
    )
    state = stream.prefill(torch.randn(1, context_frames, sizes.decoder.latent_channels), prompt)
    stream.encode_context(state)
    noise = block_noise(stream, 1, torch.Generator().manual_seed(0))
    velocity = stream.velocity(noise, state)
    rows = block_frames + 1
    alone = decoder.plan_pass(
        (range(rows),), full_plan(rows), Span(0, rows), None, (Span(0, rows),)
    )
    hidden = torch.randn(1, rows, sizes.decoder.width, dtype=dtype)
    return {
        "bare": lambda: decoder.run(hidden, alone, state.conditioning),
        "step": lambda: velocity(noise[0], SIGMA),
    }


@pytest.mark.benchmark
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("name", ["bare", "step"])
def test_a_step(
    benchmark: BenchmarkFixture, name: str, dtype: torch.dtype, request: pytest.FixtureRequest
) -> None:
    is_measured = request.config.getoption("benchmark_enable")
    if is_measured:
        torch.set_num_threads(psutil.cpu_count(logical=False) or 1)
    sizes = ("sao-small", dtype, 192, 48) if is_measured else ("tiny", dtype, 12, 3)
    with torch.inference_mode():
        act = steps(*sizes)[name]
        made = benchmark.pedantic(act, rounds=ROUNDS, warmup_rounds=WARMUP_ROUNDS)
    assert made.isfinite().all()
