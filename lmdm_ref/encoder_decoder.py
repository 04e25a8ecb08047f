"""Scheme 2, encoder-decoder: the context is encoded once for each block.

Paper, section 4.1: context rows see only context, so their keys and values are the same in every
step; the K steps compute the target's rows alone against that cache.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from lmdm_ref.arena import Arena, Span
from lmdm_ref.cache import KVCache
from lmdm_ref.conditioning import Conditioning
from lmdm_ref.decoder import DiffusionDecoder, EncodedConditioning
from lmdm_ref.evaluation import Evaluation
from lmdm_ref.execute import Execute, execute
from lmdm_ref.geometry import Geometry
from lmdm_ref.plan import ring_commit_plan, slot_step_plan
from lmdm_ref.sampler import Sampler, Velocity
from lmdm_ref.stream import DiffusionStream, PromptPolicy

Frames = Float[Tensor, "batch frames channels"]
Noise = Float[Tensor, "draws batch noise_frames channels"]


@dataclass
class EncoderDecoderState:
    """The newest clean frames, their cache, and whether the cache holds them yet."""

    context: Frames
    conditioning: EncodedConditioning
    cache: KVCache
    is_encoded: bool

    def clone(self) -> "EncoderDecoderState":
        return replace(self, context=self.context.clone(), cache=self.cache.clone())


class EncoderDecoder(DiffusionStream[EncoderDecoderState]):
    """One slot holds the whole context; positions are 1 … window, the token's is 0."""

    def __init__(
        self,
        decoder: DiffusionDecoder,
        geometry: Geometry,
        sampler: Sampler,
        *,
        execute: Execute = execute,
    ) -> None:
        super().__init__(decoder, geometry, sampler, execute=execute)
        self.arena = Arena(
            prefix=0,
            target_frames=geometry.block_frames,
            slot_frames=geometry.context_frames,
            num_slots=1,
        )
        context, window = geometry.context_frames, geometry.window_frames
        self._encode_pass = decoder.plan_pass(
            positions=(range(1, context + 1),),
            plan=ring_commit_plan(self.arena, 1),
            outputs=Span(0, 0),
            cache=None,
            places=(self.arena.slot(0),),
        )
        self._step_pass = decoder.plan_pass(
            positions=(range(context + 1, window + 1), range(1)),
            plan=slot_step_plan(self.arena, 1),
            outputs=Span(0, geometry.block_frames),
            cache=None,
            places=(self.arena.target,),
        )

    def prefill(self, context: Frames, conditioning: Conditioning) -> EncoderDecoderState:
        """The context must be exactly ``context_frames`` long."""
        self.check(context, conditioning.batch, self.geometry.context_frames)
        prompt = self.encode_prompt(conditioning)
        cache = self.decoder.allocate_cache(self.arena, prompt.batch)
        return EncoderDecoderState(context, prompt, cache, is_encoded=False)

    def encode_context(self, state: EncoderDecoderState) -> None:
        """The whole context, once for each block: its frames' positions change with every block."""
        if not state.is_encoded:
            context = Evaluation(
                noisy=None,
                sigma=None,
                clean=self.for_each_copy(state.context),
                run=replace(self._encode_pass, cache=state.cache),
                conditioning=state.conditioning,
            )
            self.execute(self.encode_clean, context)
            state.is_encoded = True

    def velocity(self, noise: Noise, state: EncoderDecoderState) -> Velocity:
        step = replace(self._step_pass, cache=state.cache)

        def evaluate(noisy: Tensor, sigma: float) -> Tensor:
            level = self.decoder.noise_level(sigma)
            target = Evaluation(noisy, level, None, step, state.conditioning)
            return self.execute(self.denoise_target, target)

        return evaluate

    def commit(self, block: Frames, state: EncoderDecoderState) -> EncoderDecoderState:
        self.check(block, state.context.shape[0], self.geometry.block_frames)
        context = torch.cat([state.context[:, block.shape[1] :], block], dim=1)
        return replace(state, context=context, is_encoded=False)

    def change_prompt(
        self, state: EncoderDecoderState, conditioning: Conditioning, policy: PromptPolicy
    ) -> EncoderDecoderState:
        """KEEP lets an encoded context stand for the block at hand; the next encodes it anyway."""
        is_kept = state.is_encoded and policy is PromptPolicy.KEEP
        return replace(state, conditioning=self.encode_prompt(conditioning), is_encoded=is_kept)
