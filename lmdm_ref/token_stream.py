"""A stream of tokens: the same three verbs as a diffusion stream, frame after frame inside.

``frames`` yields one frame of tokens at a time, so that whoever measures can stand between them.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lmdm_ref.execute import Execute
from lmdm_ref.geometry import TokenGeometry
from lmdm_ref.token_sampler import TokenSampler, gumbel_noise

TokenFrames = Int[Tensor, "batch frames levels"]
FrameTokens = Int[Tensor, "batch levels"]
TokenNoise = Float[Tensor, "frames levels batch codebook"]
State = TypeVar("State")


class TokenStream(ABC, Generic[State]):
    """What the LMMs share. Tokens are codes 0 … codebook_size − 1 of their level."""

    def __init__(
        self,
        geometry: TokenGeometry,
        sampler: TokenSampler,
        codebook_size: int,
        execute: Execute,
    ) -> None:
        """``execute`` runs the encoding and the frames: at once, or as captured graphs."""
        self.geometry = geometry
        self.sampler = sampler
        self.codebook_size = codebook_size
        self.execute = execute

    @abstractmethod
    def prefill(self, context: TokenFrames, conditioning: Any) -> State:
        """A state that has heard ``context``: see ``stream.Stream``."""

    @abstractmethod
    def encode_context(self, state: State) -> None:
        """Encode what every frame of the next block sees, where the state lacks it."""

    @abstractmethod
    def frames(self, noise: TokenNoise, state: State) -> Iterator[FrameTokens]:
        """The next block's frames, one by one; ``encode_context`` comes first."""

    @abstractmethod
    def commit(self, block: TokenFrames, state: State) -> State:
        """The state that has heard ``block`` too: see ``stream.Stream``."""

    @abstractmethod
    def change_prompt(self, state: State, conditioning: Any) -> State:
        """The state as it goes on under another prompt."""

    def generate(self, noise: TokenNoise, state: State) -> TokenFrames:
        """The next block, for noise as ``token_noise`` draws it. The state keeps its sense."""
        self.encode_context(state)
        return torch.stack(list(self.frames(noise, state)), dim=1)

    def check(self, tokens: TokenFrames, batch: int, frames: int | None) -> None:
        """Raises ValueError for tokens that are not of this model, batch or length."""
        frames = tokens.shape[1] if frames is None else frames
        expected = [batch, frames, self.geometry.num_levels]
        if list(tokens.shape) != expected:
            raise ValueError(f"expected tokens {expected}, got {list(tokens.shape)}")
        if tokens.is_meta or not tokens.numel():
            return
        if not 0 <= int(tokens.min()) <= int(tokens.max()) < self.codebook_size:
            raise ValueError(f"tokens must be codes 0 … {self.codebook_size - 1} of their level")


def check_codes(
    name: str, codes: Int[Tensor, "batch columns"], batch: int, sizes: tuple[int, ...]
) -> None:
    """Raises ValueError for another number of codes, or one that is not below its column's size."""
    expected = [batch, len(sizes)]
    if list(codes.shape) != expected:
        raise ValueError(f"expected {name}s {expected}, got {list(codes.shape)}")
    if codes.is_meta:
        return
    is_wrong = (codes < 0) | (codes >= torch.tensor(sizes, device=codes.device))
    if is_wrong.any():
        row, column = is_wrong.nonzero()[0].tolist()
        got = int(codes[row, column])
        raise ValueError(f"{name} {column} must be 0 … {sizes[column] - 1}, got {got}")


def token_noise(
    stream: TokenStream[State],
    batch: int,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
) -> TokenNoise:
    """The noise of one block for a batch of listeners, drawn on the generator's device."""
    geometry = stream.geometry
    shape = (geometry.block_frames, geometry.num_levels, batch, stream.codebook_size)
    return gumbel_noise(shape, generator, dtype)
