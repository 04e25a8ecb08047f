"""What is to be run, in the user's words."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Request:
    """Nothing is checked here; ``subjects.validate`` refuses what does not make sense.

    The frames, the sampler and the steps are the diffusion schemes'. The LMMs have their own
    (``lmm_…``; None is what their preset has); ``lmm_models`` are presets, at most one for each of
    the two LMM schemes.
    """

    schemes: tuple[str, ...]
    model: str
    context_frames: int
    block_frames: int
    steps: int
    sampler: str
    guidance_scale: float
    lmm_models: tuple[str, ...]
    lmm_context_frames: int | None
    lmm_block_frames: int | None
    lmm_levels: int | None
    dtype: str
    device: str
    attention: str
    is_graphed: bool
    checkpoint: Path | None
    seed: int
