"""From logits to tokens: guidance, temperature, top-k, and a Gumbel draw that comes in as noise."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

Logits = Float[Tensor, "rows codebook"]
Gumbel = Float[Tensor, "batch codebook"]
Tokens = Int[Tensor, " batch"]

# What chooses a token: the seam between an LMM and its sampling.
Choose = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class TokenSampler:
    """Choose by temperature among the ``top_k`` likeliest, complete.

    With guidance (1 = none) logits come for a doubled batch, with the style and then without it:
    logits(∅) + scale · (logits(style) − logits(∅)). Magenta RealTime 1 runs at temperature 1.1,
    top-k 40 and a scale of 1 + 5, the second version at 1.3 and 40.

    Raises ValueError for a temperature or top-k that leaves nothing to choose.
    """

    temperature: float
    top_k: int
    guidance_scale: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")
        if self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {self.top_k}")

    @property
    def copies(self) -> int:
        """Batch rows for each listener."""
        return 1 if self.guidance_scale == 1 else 2

    def __call__(self, logits: Logits, gumbel: Gumbel) -> Tokens:
        """One token for each listener. The largest of logits ÷ temperature + Gumbel noise is a
        draw from their softmax."""
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if self.copies == 2:
            with_style, without = wide.chunk(2)
            wide = without + self.guidance_scale * (with_style - without)
        likeliest, codes = wide.topk(min(self.top_k, wide.shape[-1]), dim=-1)
        drawn = likeliest / self.temperature + gumbel.gather(-1, codes)
        return codes.gather(-1, drawn.argmax(-1, keepdim=True))[:, 0]


def gumbel_noise(
    shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Gumbel noise on the generator's device: −log of an exponential draw."""
    drawn = torch.empty(shape, dtype=dtype, device=generator.device)
    return drawn.exponential_(generator=generator).log_().neg_()
