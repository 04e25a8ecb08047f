"""What a stream is, and the generator that pulls blocks from one.

A stream is prefill, generate, commit, with the state going in and coming out. For the diffusion
schemes generating is encoding what the state still owes (``encode_context``) and then denoising by
``velocity``; the two are named so that whoever measures can stand between them, and no timer has to
live in here. The LMMs keep the same three verbs (``token_stream.py``).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from lmdm_ref.conditioning import Conditioning
from lmdm_ref.decoder import DiffusionDecoder, EncodedConditioning
from lmdm_ref.evaluation import Evaluation
from lmdm_ref.execute import Execute, execute
from lmdm_ref.geometry import Geometry
from lmdm_ref.sampler import Sampler, Velocity

Frames = Float[Tensor, "batch frames channels"]
Noise = Float[Tensor, "draws batch noise_frames channels"]
TargetNoise = Float[Tensor, "draws batch frames channels"]
State = TypeVar("State")


class PromptPolicy(Enum):
    """What becomes of context that was encoded under an older prompt.

    Context rows attend to the text too, so cached context depends on the prompt of its day.
    """

    KEEP = "keep"
    RE_ENCODE = "re-encode"


@runtime_checkable
class Stream(Protocol[State]):
    """Anything that makes blocks. A state passed to ``commit`` is used up by it.

    Context and blocks are latents, or an LMM's tokens; randomness comes in as ``noise``.
    """

    def prefill(self, context: Tensor, conditioning: Any) -> State:
        """A state that has heard ``context`` (one row for each listener)."""

    def generate(self, noise: Tensor, state: State) -> Tensor:
        """The next block."""

    def commit(self, block: Tensor, state: State) -> State:
        """The state that has heard ``block`` too."""


class DiffusionStream(ABC, Generic[State]):
    """What the three diffusion schemes share; they differ in which rows are computed when."""

    def __init__(
        self,
        decoder: DiffusionDecoder,
        geometry: Geometry,
        sampler: Sampler,
        *,
        execute: Execute = execute,
    ) -> None:
        """``execute`` runs the evaluations of a block: at once, or as captured graphs."""
        self.decoder = decoder
        self.geometry = geometry
        self.sampler = sampler
        self.execute = execute

    @property
    def noise_frames(self) -> int:
        """How many frames of noise a block takes; the target's are the last of them."""
        return self.geometry.block_frames

    @abstractmethod
    def prefill(self, context: Frames, conditioning: Conditioning) -> State:
        """A state that has heard ``context``: see ``Stream``."""

    @abstractmethod
    def encode_context(self, state: State) -> None:
        """Encode the context that every step of the next block sees, where the state lacks it."""

    @abstractmethod
    def velocity(self, noise: Noise, state: State) -> Velocity:
        """The next block's velocity. It may write into the state's cache, not change its sense."""

    @abstractmethod
    def commit(self, block: Frames, state: State) -> State:
        """The state that has heard ``block`` too: see ``Stream``."""

    @abstractmethod
    def change_prompt(
        self, state: State, conditioning: Conditioning, policy: PromptPolicy
    ) -> State:
        """The state as it goes on under another prompt."""

    def generate(self, noise: Noise, state: State) -> Frames:
        """The next block, for noise as ``block_noise`` draws it."""
        self.encode_context(state)
        return self.sampler.sample(self.velocity(noise, state), self.target_noise(noise))

    def target_noise(self, noise: Noise) -> TargetNoise:
        """The part of a block's noise from which the target is made."""
        return noise[:, :, -self.geometry.block_frames :]

    def denoise_target(self, target: Evaluation) -> Tensor:
        """The velocity of the target's frames beside a cache: clean rows, if any, come first."""
        noisy, sigma = target.noisy, target.sigma
        assert noisy is not None and sigma is not None
        decoder = self.decoder
        rows = [] if target.clean is None else [decoder.clean_rows(target.clean)]
        rows += [decoder.noisy_rows(noisy), decoder.token_row(sigma, target.conditioning)]
        outputs = decoder.run(torch.cat(rows, dim=1), target.run, target.conditioning)
        return decoder.velocity(outputs, noisy)

    def encode_clean(self, context: Evaluation) -> Tensor:
        """Clean frames into the cache; gives no rows."""
        assert context.clean is not None
        rows = self.decoder.clean_rows(context.clean)
        return self.decoder.run(rows, context.run, context.conditioning)

    def encode_prompt(self, conditioning: Conditioning) -> EncodedConditioning:
        """The prompt as the sampler evaluates it: on a doubled batch under guidance."""
        is_guided = self.sampler.copies == 2
        return self.decoder.encode_conditioning(
            conditioning.with_unconditional() if is_guided else conditioning
        )

    def check(self, latents: Frames, batch: int, frames: int | None) -> None:
        """Raises ValueError for latents that are not of this model, batch or length."""
        channels = self.decoder.config.latent_channels
        expected = [batch, latents.shape[1] if frames is None else frames, channels]
        if list(latents.shape) != expected:
            raise ValueError(f"expected latents {expected}, got {list(latents.shape)}")

    def for_each_copy(self, clean: Frames) -> Float[Tensor, "rows frames channels"]:
        """Clean frames once for each batch row that the sampler evaluates."""
        return clean if self.sampler.copies == 1 else torch.cat([clean] * self.sampler.copies)


def stream_blocks(
    stream: Stream[State], state: State, noises: Iterable[Tensor]
) -> Iterator[Tensor]:
    """One block for each noise; each ``next()`` makes exactly one block and commits it."""
    for noise in noises:
        block = stream.generate(noise, state)
        state = stream.commit(block, state)
        yield block


def block_noise(
    stream: DiffusionStream[State],
    batch: int,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
) -> Noise:
    """The noise of one block for a batch of listeners, drawn on the generator's device."""
    channels = stream.decoder.config.latent_channels
    shape = (stream.sampler.draws, batch, stream.noise_frames, channels)
    return torch.randn(shape, generator=generator, device=generator.device, dtype=dtype)
