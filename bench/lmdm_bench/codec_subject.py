"""The codec alone as something to be run: frames decoded to samples, checked against float64."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

import lmdm_ref
from lmdm_bench.model_parts import relative_error

# In float64 a frame takes thirty times as long.
CHECK_FRAMES = 1
# Of one rounding for each layer, were they independent. Each layer's sums are rounded too: in
# float32 the error was 2.6 times that, in bfloat16, where sums are exact beside it, 0.6 times.
BUDGET_FACTOR = 6.0


def codec_decode(
    model: str, num_frames: int, dtype: str, device: str, seed: int
) -> tuple[Callable[[], Tensor], float, float]:
    """(decode, its relative error against float64, the budget of that) of a preset's codec."""
    config = lmdm_ref.PRESETS[model].codec
    codec = lmdm_ref.random_codec(config, seed, getattr(torch, dtype), device)
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(1, num_frames, config.latent_channels, generator=generator)
    latents = latents.to(device, getattr(torch, dtype))
    with torch.inference_mode():
        few = latents[:, :CHECK_FRAMES]
        plain = lmdm_ref.random_codec(config, seed, getattr(torch, dtype), "cpu").double()
        error = relative_error(codec.decode(few).cpu(), plain.decode(few.cpu().double()))

    @torch.inference_mode()
    def decode() -> Tensor:
        return codec.decode(latents)

    depth = sum(1 for _, weight in codec.decoder.named_parameters() if weight.ndim > 1)
    return decode, error, BUDGET_FACTOR * math.sqrt(depth) * torch.finfo(getattr(torch, dtype)).eps
