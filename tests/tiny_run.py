"""Requests small enough for tests, and the samples that they continue."""

from dataclasses import replace

import numpy as np

from lmdm_bench.request import Request
from lmdm_bench.subjects import DIFFUSION_SCHEMES, LMM_SCHEMES, SCHEMES

REQUEST = Request(
    schemes=DIFFUSION_SCHEMES,
    model="tiny",
    context_frames=12,
    block_frames=3,
    steps=3,
    sampler="pingpong",
    guidance_scale=1.0,
    lmm_models=(),
    lmm_context_frames=None,
    lmm_block_frames=None,
    lmm_levels=None,
    dtype="float32",
    device="cpu",
    attention="range",
    is_graphed=False,
    checkpoint=None,
    seed=0,
)
# The LMMs alone, and all five together.
LMM_REQUEST = replace(REQUEST, schemes=LMM_SCHEMES, lmm_models=("mrt1-tiny", "mrt2-tiny"))
FIVE = replace(LMM_REQUEST, schemes=SCHEMES)

SAMPLES_PER_FRAME = 64
HEARD = np.random.default_rng(0).normal(0, 0.1, (2, 12 * SAMPLES_PER_FRAME)).astype(np.float32)
