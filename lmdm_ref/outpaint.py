"""Scheme 1, outpainting: the whole window is recomputed in every step.

Paper, section 3: before each evaluation the context's frames are set to the clean audio noised to
the current level, and the clean audio enters once more through B; no step leaves anything to the
next.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lmdm_ref.arena import Span
from lmdm_ref.conditioning import Conditioning
from lmdm_ref.decoder import DiffusionDecoder, EncodedConditioning
from lmdm_ref.evaluation import Evaluation
from lmdm_ref.execute import Execute, execute
from lmdm_ref.geometry import Geometry
from lmdm_ref.plan import full_plan
from lmdm_ref.sampler import Sampler, Velocity
from lmdm_ref.stream import DiffusionStream, PromptPolicy

Frames = Float[Tensor, "batch frames channels"]
Noise = Float[Tensor, "draws batch noise_frames channels"]


@dataclass
class OutpaintState:
    """The newest ``context_frames`` clean frames, and the prompt."""

    context: Frames
    conditioning: EncodedConditioning

    def clone(self) -> "OutpaintState":
        return OutpaintState(self.context.clone(), self.conditioning)


class Outpaint(DiffusionStream[OutpaintState]):
    """The window [context | target], then the token, seen whole by everyone."""

    def __init__(
        self,
        decoder: DiffusionDecoder,
        geometry: Geometry,
        sampler: Sampler,
        *,
        execute: Execute = execute,
    ) -> None:
        super().__init__(decoder, geometry, sampler, execute=execute)
        window = geometry.window_frames
        self._pass = decoder.plan_pass(
            positions=(range(1, window + 1), range(1)),
            plan=full_plan(window + 1),
            outputs=Span(geometry.context_frames, window),
            cache=None,
            places=(Span(0, window + 1),),
        )

    @property
    def noise_frames(self) -> int:
        return self.geometry.window_frames

    def prefill(self, context: Frames, conditioning: Conditioning) -> OutpaintState:
        """The context must be exactly ``context_frames`` long."""
        self.check(context, conditioning.batch, self.geometry.context_frames)
        return OutpaintState(context, self.encode_prompt(conditioning))

    def encode_context(self, state: OutpaintState) -> None:
        """Nothing: the context is a part of every step."""

    def velocity(self, noise: Noise, state: OutpaintState) -> Velocity:
        clean = self.for_each_copy(state.context)
        context_noise = self.for_each_copy(noise[0, :, : self.geometry.context_frames])

        def evaluate(noisy: Tensor, sigma: float) -> Tensor:
            window = Evaluation(
                noisy=torch.cat([context_noise, noisy], dim=1),
                sigma=self.decoder.noise_level(sigma),
                clean=clean,
                run=self._pass,
                conditioning=state.conditioning,
            )
            return self.execute(self._step, window)

        return evaluate

    def _step(self, window: Evaluation) -> Tensor:
        """The context's noise is blended with its clean frames to the level of the target."""
        noisy, sigma, clean = window.noisy, window.sigma, window.clean
        assert noisy is not None and sigma is not None and clean is not None
        decoder, split = self.decoder, clean.shape[1]
        level = sigma.to(clean.dtype)
        context = (1 - sigma).to(clean.dtype) * clean + level * noisy[:, :split]
        hidden = decoder.noisy_rows(torch.cat([context, noisy[:, split:]], dim=1))
        hidden[:, :split] += decoder.clean_rows(clean)
        hidden = torch.cat([hidden, decoder.token_row(sigma, window.conditioning)], dim=1)
        outputs = decoder.run(hidden, window.run, window.conditioning)
        return decoder.velocity(outputs, noisy[:, split:])

    def commit(self, block: Frames, state: OutpaintState) -> OutpaintState:
        self.check(block, state.context.shape[0], self.geometry.block_frames)
        context = torch.cat([state.context[:, block.shape[1] :], block], dim=1)
        return OutpaintState(context, state.conditioning)

    def change_prompt(
        self, state: OutpaintState, conditioning: Conditioning, policy: PromptPolicy
    ) -> OutpaintState:
        """Either policy: nothing is encoded ahead, so the new prompt reaches everything."""
        return OutpaintState(state.context, self.encode_prompt(conditioning))
