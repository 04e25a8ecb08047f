"""What steers besides context: text tokens, seconds and the noise level, as embeddings."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class Conditioning:
    """Text tokens as the text encoder gives them, and the embedded length of the piece.

    The text encoder (T5) is not part of this package: its output comes in.
    """

    text: Float[Tensor, "batch tokens text_width"]
    seconds: Float[Tensor, "batch seconds_width"]

    @property
    def batch(self) -> int:
        return self.text.shape[0]

    def with_unconditional(self) -> "Conditioning":
        """The batch twice: as it is, then with the text zeroed (classifier-free guidance)."""
        return Conditioning(
            torch.cat([self.text, torch.zeros_like(self.text)]),
            torch.cat([self.seconds, self.seconds]),
        )


class FourierFeatures(nn.Module):
    """A number as cosines and sines of learned frequencies."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(features // 2, 1))

    def forward(self, numbers: Float[Tensor, " batch"]) -> Float[Tensor, "batch features"]:
        # In float32 at least: bfloat16 tells only 256 noise levels apart.
        wide = torch.promote_types(self.weight.dtype, torch.float32)
        turns = 2 * math.pi * numbers.to(wide)[:, None] @ self.weight.to(wide).mT
        return torch.cat([turns.cos(), turns.sin()], dim=-1).to(self.weight.dtype)


class SecondsEmbedding(nn.Module):
    """The ``seconds_total`` conditioner of Stable Audio Open: a length as a vector and a token."""

    MAX_SECONDS = 256.0

    def __init__(self, width: int = 768, features: int = 256) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.empty(features // 2))
        self.out = nn.Linear(features + 1, width)

    def forward(self, seconds: Float[Tensor, " batch"]) -> Float[Tensor, "batch width"]:
        share = (seconds / self.MAX_SECONDS).clamp(0, 1)[:, None].to(self.frequencies.dtype)
        turns = 2 * math.pi * share * self.frequencies
        embedded: Tensor = self.out(torch.cat([share, turns.sin(), turns.cos()], dim=-1))
        return embedded
