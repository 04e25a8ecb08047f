"""The codec alone as something to be run: frames decoded to samples, checked against float64."""

import math

import torch
from torch import Tensor

import lmdm_ref
from lmdm_bench.model_parts import relative_error

# In float64 a frame takes thirty times as long.
CHECK_FRAMES = 1
# Of one rounding for each layer, were they independent. Each layer's sums are rounded too: in
# float32 the error was 2.6 times that, in bfloat16, where sums are exact beside it, 0.6 times.
BUDGET_FACTOR = 6.0


class CodecSubject:
    """A preset's codec with random weights, and frames to decode."""

    def __init__(self, model: str, num_frames: int, dtype: str, device: str, seed: int) -> None:
        self._config, self._seed = lmdm_ref.PRESETS[model].codec, seed
        self._dtype = getattr(torch, dtype)
        self._codec = self._drawn(device)
        generator = torch.Generator().manual_seed(seed)
        latents = torch.randn(1, num_frames, self._config.latent_channels, generator=generator)
        self._latents = latents.to(device, self._dtype)

    @torch.inference_mode()
    def decode(self) -> Tensor:
        return self._codec.decode(self._latents)

    @torch.inference_mode()
    def check(self) -> tuple[float, float]:
        """(relative error against float64, the budget of that)."""
        few = self._latents[:, :CHECK_FRAMES]
        truth = self._drawn("cpu").double().decode(few.cpu().double())
        error = relative_error(self._codec.decode(few).cpu(), truth)
        parameters = self._codec.decoder.named_parameters()
        depth = sum(1 for _, weight in parameters if weight.ndim > 1)
        return error, BUDGET_FACTOR * math.sqrt(depth) * torch.finfo(self._dtype).eps

    def _drawn(self, device: str) -> lmdm_ref.Codec:
        return lmdm_ref.random_codec(self._config, self._seed, self._dtype, device)
