"""Scheme 3, block-causal: each finished block is encoded once and kept in a ring.

Paper, section 4.1: a block sees itself and the ``visible_blocks`` before it, so a committed block's
keys and values never change. The commit is fused with the first step of the next block: one pass of
2 · block rows, K passes for a block and not K + 1.

What is cached was computed when still older blocks were in sight, so a stream equals one pass over
its *whole* history under the banded plan, and not a re-encoding of the newest window.

Positions count from 1 at the start of the stream and grow; keys are stored rotated by them. The
noise-level token stands where position 0 of the newest window is (reports/decisions/0003), so that
the target keeps the distance to it with which the model was trained.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from lmdm_ref.arena import Arena, Span
from lmdm_ref.cache import KVCache
from lmdm_ref.conditioning import Conditioning
from lmdm_ref.decoder import DiffusionDecoder, EncodedConditioning, NoiseLevel
from lmdm_ref.evaluation import Evaluation
from lmdm_ref.execute import Execute, execute
from lmdm_ref.geometry import Geometry
from lmdm_ref.plan import (
    Plan,
    fused_commit_plan,
    ring_commit_plan,
    ring_encode_plan,
    ring_step_plan,
)
from lmdm_ref.sampler import Sampler, Velocity
from lmdm_ref.stream import DiffusionStream, PromptPolicy

Frames = Float[Tensor, "batch frames channels"]
Noise = Float[Tensor, "draws batch noise_frames channels"]


@dataclass
class BlockCausalState:
    """The ring, and what it has not heard yet.

    ``num_encoded`` blocks of the stream have been encoded into the ring; ``pending`` is the block
    after them, committed but not encoded. ``recent`` are the newest clean frames, kept so that a
    change of prompt can encode them again.
    """

    cache: KVCache
    conditioning: EncodedConditioning
    num_encoded: int
    pending: Frames | None
    recent: Float[Tensor, "batch recent_frames channels"]

    @property
    def target_index(self) -> int:
        """The index of the block that comes next, counted from the start of the stream."""
        return self.num_encoded + (self.pending is not None)

    def clone(self) -> "BlockCausalState":
        pending = None if self.pending is None else self.pending.clone()
        return replace(self, cache=self.cache.clone(), pending=pending, recent=self.recent.clone())


class BlockCausal(DiffusionStream[BlockCausalState]):
    """A ring of ``visible_blocks`` + 1 slots: block i stands in slot i mod that number."""

    def __init__(
        self,
        decoder: DiffusionDecoder,
        geometry: Geometry,
        sampler: Sampler,
        visible_blocks: int | None = None,
        *,
        execute: Execute = execute,
    ) -> None:
        """``visible_blocks`` None: as many as the context has (decision 0001)."""
        super().__init__(decoder, geometry, sampler, execute=execute)
        self.visible_blocks = visible_blocks or geometry.context_blocks
        self.arena = Arena(
            prefix=0,
            target_frames=geometry.block_frames,
            slot_frames=geometry.block_frames,
            num_slots=self.visible_blocks + 1,
        )

    def prefill(self, context: Frames, conditioning: Conditioning) -> BlockCausalState:
        """The context may be any whole number of blocks, one at least."""
        self.check(context, conditioning.batch, None)
        block = self.geometry.block_frames
        if context.shape[1] < block or context.shape[1] % block:
            raise ValueError(
                f"the context must be a whole number of {block}-frame blocks, "
                f"got {context.shape[1]} frames"
            )
        prompt = self.encode_prompt(conditioning)
        cache = self.decoder.allocate_cache(self.arena, prompt.batch)
        state = BlockCausalState(cache, prompt, 0, None, self._newest(context))
        *earlier, last = context.split(block, dim=1)
        self._encode_first(state, earlier[: self.arena.num_slots])
        for one in earlier[self.arena.num_slots :]:
            self._encode_next(state, one)
        state.pending = last
        return state

    def encode_context(self, state: BlockCausalState) -> None:
        """Nothing: the pending block is encoded within the first step's pass."""

    def velocity(self, noise: Noise, state: BlockCausalState) -> Velocity:
        target_index = state.target_index
        step = self.decoder.plan_pass(
            positions=self._target_positions(target_index),
            plan=ring_step_plan(self.arena, self._valid_slots(target_index)),
            outputs=Span(0, self.geometry.block_frames),
            cache=state.cache,
            places=(self._slot(target_index), self.arena.token),
        )

        def evaluate(noisy: Tensor, sigma: float) -> Tensor:
            level = self.decoder.noise_level(sigma)
            if state.pending is not None:
                return self._fused_step(noisy, level, state)
            target = Evaluation(noisy, level, None, step, state.conditioning)
            return self.execute(self.denoise_target, target)

        return evaluate

    def commit(self, block: Frames, state: BlockCausalState) -> BlockCausalState:
        """Lazy: the block is encoded in the next block's first step, or here if one is owed."""
        self.check(block, state.recent.shape[0], self.geometry.block_frames)
        if state.pending is not None:
            self._encode_next(state, state.pending)
        recent = self._newest(torch.cat([state.recent, block], dim=1))
        return replace(state, pending=block, recent=recent)

    def change_prompt(
        self, state: BlockCausalState, conditioning: Conditioning, policy: PromptPolicy
    ) -> BlockCausalState:
        """KEEP: cached blocks stay as they were heard. RE_ENCODE: ``recent`` is prefilled anew."""
        if policy is PromptPolicy.RE_ENCODE:
            return self.prefill(state.recent, conditioning)
        return replace(state, conditioning=self.encode_prompt(conditioning))

    def _fused_step(self, noisy: Tensor, level: NoiseLevel, state: BlockCausalState) -> Tensor:
        """The pending block's commit and the target's first step, 2 · block + 1 rows at once."""
        assert state.pending is not None
        pending_index, target_index = state.num_encoded, state.target_index
        block = self.geometry.block_frames
        slots = self._valid_slots(pending_index)
        oldest = pending_index - self.visible_blocks
        evicted = oldest % self.arena.num_slots if oldest >= 0 else None
        fused = self.decoder.plan_pass(
            positions=(
                self._block_positions(pending_index),
                *self._target_positions(target_index),
            ),
            plan=fused_commit_plan(self.arena, slots, evicted),
            outputs=Span(block, 2 * block),
            cache=state.cache,
            places=(self._slot(pending_index), self.arena.target),
        )
        both = Evaluation(
            noisy=noisy,
            sigma=level,
            clean=self.for_each_copy(state.pending),
            run=fused,
            conditioning=state.conditioning,
        )
        velocity = self.execute(self.denoise_target, both)
        state.num_encoded, state.pending = pending_index + 1, None
        return velocity

    def _encode_first(self, state: BlockCausalState, blocks: list[Tensor]) -> None:
        """The first blocks of a stream, in one pass: none of them has to leave the ring yet."""
        if blocks:
            count, block = len(blocks), self.geometry.block_frames
            plan = ring_encode_plan(self.arena, count, self.visible_blocks)
            positions = range(1, count * block + 1)
            self._encode(state, torch.cat(blocks, dim=1), positions, plan, self.arena.slots(count))
            state.num_encoded = count

    def _encode_next(self, state: BlockCausalState, block: Frames) -> None:
        """One block alone, where no step follows with which its commit could be fused."""
        index = state.num_encoded
        plan = ring_commit_plan(self.arena, self._valid_slots(index))
        self._encode(state, block, self._block_positions(index), plan, self._slot(index))
        state.num_encoded, state.pending = index + 1, None

    def _encode(
        self, state: BlockCausalState, clean: Frames, positions: range, plan: Plan, places: Span
    ) -> None:
        encode = self.decoder.plan_pass((positions,), plan, Span(0, 0), state.cache, (places,))
        rows = self.for_each_copy(clean)
        self.encode_clean(Evaluation(None, None, rows, encode, state.conditioning))

    def _slot(self, block_index: int) -> Span:
        return self.arena.slot(block_index % self.arena.num_slots)

    def _valid_slots(self, newest_index: int) -> int:
        return min(newest_index + 1, self.arena.num_slots)

    def _block_positions(self, block_index: int) -> range:
        first = 1 + block_index * self.geometry.block_frames
        return range(first, first + self.geometry.block_frames)

    def _target_positions(self, target_index: int) -> tuple[range, range]:
        """The target's positions, then the token's: position 0 of the window that ends with it."""
        frames = self._block_positions(target_index)
        token = max(0, frames.start - 1 - self.geometry.context_frames)
        return frames, range(token, token + 1)

    def _newest(self, clean: Frames) -> Float[Tensor, "batch recent_frames channels"]:
        """As many of the newest frames as the ring can hold."""
        return clean[:, -self.arena.num_slots * self.geometry.block_frames :]
