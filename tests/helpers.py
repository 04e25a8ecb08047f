"""What the model's tests share: tiny models, the two numeric bars, and the contract of a stream.

``check_stream`` is the contract: it is called for every scheme, with the scheme's oracle.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lmdm_ref.arena import Span
from lmdm_ref.block_causal import BlockCausal
from lmdm_ref.cache import KVCache
from lmdm_ref.conditioning import Conditioning
from lmdm_ref.decoder import DiffusionDecoder, random_decoder
from lmdm_ref.encoder_decoder import EncoderDecoder
from lmdm_ref.geometry import Geometry
from lmdm_ref.layers import Pass
from lmdm_ref.oracle import BlockCausalOracle, EncoderDecoderOracle, Oracle, OutpaintOracle
from lmdm_ref.outpaint import Outpaint
from lmdm_ref.presets import TINY, DecoderConfig
from lmdm_ref.sampler import Sampler, euler_sampler, pingpong_plus_sampler, pingpong_sampler
from lmdm_ref.schedule import linear_sigmas, logsnr_sigmas
from lmdm_ref.stream import DiffusionStream, PromptPolicy, block_noise, stream_blocks

# Two ways of computing the same thing in float64 differ by no more than this share of the largest.
FLOAT64_IDENTITY = 1e-10

# 4 blocks of context, and a block: 12 + 3 frames.
WINDOW = Geometry(sample_rate_hz=44_100, samples_per_frame=64, context_frames=12, block_frames=3)

# Beside TINY (QK norm, grouped cross-attention): no QK norm, every query head its own key head.
PLAIN = replace(TINY, qk_norm="none", cross_width=TINY.width, rotary_dims=TINY.head_dim)

SAMPLERS = {
    "euler in 1 step": euler_sampler(linear_sigmas(1)),
    "euler in 3 steps": euler_sampler(linear_sigmas(3)),
    "guided euler": euler_sampler(linear_sigmas(3), 7.0),
    "pingpong in 1 step": pingpong_sampler(logsnr_sigmas(1)),
    "pingpong in 3 steps": pingpong_sampler(logsnr_sigmas(3)),
    "guided pingpong": pingpong_sampler(logsnr_sigmas(3), 3.0),
    "pingpong++": pingpong_plus_sampler(logsnr_sigmas(3), 0.7),
}
ONE_STEP, EULER, GUIDED = (SAMPLERS[name] for name in list(SAMPLERS)[:3])
PINGPONG, PINGPONG_PLUS = SAMPLERS["pingpong in 3 steps"], SAMPLERS["pingpong++"]


class HostIsWatched(TorchDispatchMode):
    """Lists the operations that touch the host while a stream runs on another device."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        out = func(*args, **(kwargs or {}))
        tensors = [one for one in tree_leaves((args, kwargs, out)) if isinstance(one, Tensor)]
        if any(one.device.type == "cpu" for one in tensors):
            self.seen.append(str(func))
        return out


# --- Tiny models -----------------------------------------------------------------------------


def tiny_decoder(
    config: DecoderConfig = TINY, dtype: torch.dtype = torch.float64
) -> DiffusionDecoder:
    return random_decoder(config, seed=0, dtype=dtype)


def tiny_latents(batch: int, frames: int, seed: int = 0) -> Tensor:
    return seeded(seed, batch, frames, TINY.latent_channels)


def tiny_conditioning(batch: int, seed: int = 0) -> Conditioning:
    text = seeded(seed, batch, TINY.text_tokens, TINY.text_width)
    return Conditioning(text, seeded(seed + 1, batch, TINY.seconds_width))


def seeded(seed: int, *shape: int) -> Tensor:
    """Normal numbers in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


SomeStream = TypeVar("SomeStream", bound=DiffusionStream[Any])


@dataclass(frozen=True)
class Scheme(Generic[SomeStream]):
    """A stream, the oracle of its blocks, and the oracle's sums done in the stream's own dtype."""

    stream: SomeStream
    oracle: Oracle
    same_dtype_oracle: Oracle


def tiny_outpaint(
    sampler: Sampler = EULER,
    config: DecoderConfig = TINY,
    dtype: torch.dtype = torch.float64,
    geometry: Geometry = WINDOW,
) -> Scheme[Outpaint]:
    decoder = tiny_decoder(config, dtype)
    return Scheme(
        Outpaint(decoder, geometry, sampler),
        OutpaintOracle(decoder, geometry, sampler),
        OutpaintOracle(decoder, geometry, sampler, dtype),
    )


def tiny_encoder_decoder(
    sampler: Sampler = EULER,
    config: DecoderConfig = TINY,
    dtype: torch.dtype = torch.float64,
    geometry: Geometry = WINDOW,
) -> Scheme[EncoderDecoder]:
    decoder = tiny_decoder(config, dtype)
    return Scheme(
        EncoderDecoder(decoder, geometry, sampler),
        EncoderDecoderOracle(decoder, geometry, sampler),
        EncoderDecoderOracle(decoder, geometry, sampler, dtype),
    )


def tiny_block_causal(
    sampler: Sampler = EULER,
    config: DecoderConfig = TINY,
    dtype: torch.dtype = torch.float64,
    geometry: Geometry = WINDOW,
    visible_blocks: int | None = None,
) -> Scheme[BlockCausal]:
    decoder = tiny_decoder(config, dtype)
    return Scheme(
        BlockCausal(decoder, geometry, sampler, visible_blocks),
        BlockCausalOracle(decoder, geometry, sampler, visible_blocks=visible_blocks),
        BlockCausalOracle(decoder, geometry, sampler, dtype, visible_blocks),
    )


TINY_SCHEMES: dict[str, Callable[..., Scheme[Any]]] = {
    "outpaint": tiny_outpaint,
    "encoder-decoder": tiny_encoder_decoder,
    "block-causal": tiny_block_causal,
}


# --- The two numeric bars --------------------------------------------------------------------


def assert_identity(actual: Tensor, expected: Tensor) -> None:
    """Two float64 ways to the same thing."""
    assert actual.dtype == expected.dtype == torch.float64
    assert actual.shape == expected.shape
    error = relative_error(actual, expected)
    assert error <= FLOAT64_IDENTITY, f"they differ by {error:.1e} of the largest"


def assert_no_identity(actual: Tensor, other: Tensor) -> None:
    """Finite, and farther apart than rounding can explain."""
    assert actual.isfinite().all() and other.isfinite().all()
    assert actual.shape == other.shape
    assert relative_error(actual, other) > FLOAT64_IDENTITY


def assert_within_budget(
    actual: Tensor, same_dtype_reference: Tensor, float64_truth: Tensor
) -> None:
    """Error ≤ 2 × what plain PyTorch errs in the same dtype, and one rounding of the largest."""
    assert float64_truth.dtype == torch.float64
    assert actual.shape == same_dtype_reference.shape == float64_truth.shape
    error = (actual.double() - float64_truth).abs().max().item()
    reference_error = (same_dtype_reference.double() - float64_truth).abs().max().item()
    rounding = torch.finfo(same_dtype_reference.dtype).eps * float64_truth.abs().max().item()
    assert error <= 2 * reference_error + rounding, (
        f"error {error:.1e}, reference error {reference_error:.1e}, one rounding {rounding:.1e}"
    )


def relative_error(actual: Tensor, expected: Tensor) -> float:
    if torch.equal(actual, expected):
        return 0.0  # zeros too, of which no share can be taken
    return ((actual - expected).abs().max() / expected.abs().max()).item()


# --- Standing beside a running model ---------------------------------------------------------


@contextmanager
def recorded_passes(decoder: DiffusionDecoder) -> Iterator[list[tuple[Tensor, Pass]]]:
    """Every run of rows through the layers: the first hidden states and the pass."""
    passes: list[tuple[Tensor, Pass]] = []
    run = decoder.run

    def recording(hidden: Tensor, one: Pass, conditioning: Any) -> Tensor:
        passes.append((hidden.clone(), one))
        return run(hidden, one, conditioning)

    decoder.run = recording  # type: ignore[assignment,method-assign]
    try:
        yield passes
    finally:
        del decoder.run  # the method shows again


class ArenaReaders(TorchDispatchMode):
    """Names of the operations that read a cache's arenas into new memory; views do not count."""

    def __init__(self, cache: KVCache) -> None:
        super().__init__()
        self.names: set[str] = set()
        self._storages = {one.untyped_storage().data_ptr() for one in cache.layer(0)}

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = operation(*args, **(kwargs or {}))
        if self._reaches(args) and not self._reaches(out):
            self.names.add(operation.overloadpacket.__name__)
        return out

    def _reaches(self, some: Any) -> bool:
        if isinstance(some, Tensor):
            return some.untyped_storage().data_ptr() in self._storages
        return isinstance(some, (list, tuple)) and any(self._reaches(one) for one in some)


def unused_places(stream: DiffusionStream[Any], state: Any) -> list[Span]:
    """The places that the next step must write before it reads them, or never read."""
    if isinstance(stream, EncoderDecoder):
        return [stream.arena.target, *([] if state.is_encoded else [stream.arena.slot(0)])]
    if isinstance(stream, BlockCausal):
        # The next block to be written stands in the place of one that has left the ring, if any.
        arena = stream.arena
        kept = [
            state.num_encoded - age for age in range(1, arena.num_slots) if age <= state.num_encoded
        ]
        used = {index % arena.num_slots for index in kept}
        free = [arena.slot(index) for index in range(arena.num_slots) if index not in used]
        return [arena.target, *free]
    return []


def poison(stream: DiffusionStream[Any], state: Any) -> None:
    for places in unused_places(stream, state):
        state.cache.fill(places, torch.nan)


def captured_again(compute: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]:
    """A graph's replay, as far as it can be had without CUDA: the captured call once more, on the
    captured tensors alone."""
    result = compute()

    def replay() -> None:
        result.copy_(compute())

    return result, replay


# --- The contract ----------------------------------------------------------------------------


def check_stream_within_budget(scheme: Scheme[Any], blocks_made: int | None = None) -> None:
    """A stream in a lower dtype, given its own blocks back, against the truth in float64.

    Without a number, until nothing of the first context is in sight any more, twice over.
    """
    stream, geometry = scheme.stream, scheme.stream.geometry
    generator = torch.Generator().manual_seed(5)
    history = tiny_latents(2, geometry.context_frames).float()
    prompt = tiny_conditioning(2)
    state = stream.prefill(history, prompt)
    blocks, references, truths = [], [], []
    for _ in range(blocks_made or 2 * geometry.context_blocks):
        noise = block_noise(stream, 2, generator)
        blocks.append(stream.generate(noise, state))
        references.append(scheme.same_dtype_oracle.block(noise, history, prompt))
        truths.append(scheme.oracle.block(noise, history, prompt))
        state = stream.commit(blocks[-1], state)
        history = torch.cat([history, blocks[-1]], dim=1)
    assert_within_budget(torch.cat(blocks), torch.cat(references), torch.cat(truths))


def check_stream(stream: DiffusionStream[Any], oracle: Oracle) -> None:
    """Everything that must hold for a scheme, whatever its sampler and its decoder."""
    contract = _Contract(stream, oracle)
    contract.streamed_equals_one_shot()
    contract.copied_state_continues_identically()
    contract.denoising_twice_gives_the_same_block()
    contract.each_row_equals_the_row_streamed_alone()
    contract.a_spoilt_row_leaves_the_others_bit_equal()
    contract.unused_places_are_never_read()
    contract.prefill_equals_commits()
    contract.a_changed_prompt_obeys_its_policy()
    contract.generator_yields_what_the_three_verbs_make()


class _Contract:
    BATCH = 3

    def __init__(self, stream: DiffusionStream[Any], oracle: Oracle) -> None:
        assert oracle.sampler is stream.sampler and oracle.geometry is stream.geometry
        self.stream: Any = stream
        self.oracle = oracle
        self.geometry = stream.geometry
        self.prompt = tiny_conditioning(self.BATCH)
        self.other_prompt = tiny_conditioning(self.BATCH, seed=2)
        self.is_ring = isinstance(stream, BlockCausal)
        self.ring_blocks = stream.arena.num_slots if isinstance(stream, BlockCausal) else 1
        # A start from which the ring has been full and has wrapped.
        self.heard = tiny_latents(self.BATCH, 7 * self.geometry.block_frames, seed=4)

    def streamed_equals_one_shot(self) -> None:
        """From a full context and, for a ring, from one block until it has wrapped three times."""
        history = self.heard[:, : self.geometry.context_frames]
        if self.is_ring:
            history = history[:, : self.geometry.block_frames]
        state = self.stream.prefill(history, self.prompt)
        blocks = max(self.geometry.context_blocks, self.ring_blocks) * 3 + 1
        for noise in self._noises(blocks):
            block = self.stream.generate(noise, state)
            state = self.stream.commit(block, state)
            assert_identity(block, self.oracle.block(noise, history, self.prompt))
            history = torch.cat([history, block], dim=1)

    def copied_state_continues_identically(self) -> None:
        """Copied between two blocks, and copied while a block is being made."""
        first, *noises = self._noises(4)
        state = self._warm_state()
        copied = state.clone()
        blocks = self._blocks(state, [first, *noises])
        assert torch.equal(blocks, self._blocks(copied.clone(), [first, *noises]))

        block = self.stream.generate(first, copied)
        midway = copied.clone()
        again = self.stream.generate(first, midway.clone())
        after = self._blocks(self.stream.commit(block, copied), noises)
        assert torch.equal(self.stream.generate(first, midway), again)
        assert torch.equal(after, self._blocks(self.stream.commit(block, midway), noises))
        assert torch.equal(torch.cat([block, after], dim=1), blocks)

    def denoising_twice_gives_the_same_block(self) -> None:
        """And leaves a state of the same sense, though not always of the same bits."""
        first, *noises = self._noises(3)
        state = self._warm_state()
        expected = self._blocks(state.clone(), [first, *noises])
        once = self.stream.generate(first, state)
        twice = self.stream.generate(first, state)
        assert_identity(twice, once)
        after = self._blocks(self.stream.commit(twice, state), noises)
        assert_identity(torch.cat([twice, after], dim=1), expected)

    def each_row_equals_the_row_streamed_alone(self) -> None:
        noises = self._noises(3)
        together = self._blocks(self._warm_state(), noises)
        for row in range(self.BATCH):
            one = slice(row, row + 1)
            prompt = Conditioning(self.prompt.text[one], self.prompt.seconds[one])
            state = self._warm_state(self.heard[one], prompt)
            alone = self._blocks(state, [noise[:, one] for noise in noises])
            assert_identity(alone, together[one])

    def a_spoilt_row_leaves_the_others_bit_equal(self) -> None:
        """NaN in all that one listener brings: frames, noise, text and seconds."""

        def spoil(some: Tensor, dim: int) -> Tensor:
            return some.index_fill(dim, torch.tensor([1]), torch.nan)

        noises = self._noises(3)
        expected = self._blocks(self._warm_state(), noises)
        prompt = Conditioning(spoil(self.prompt.text, 0), spoil(self.prompt.seconds, 0))
        state = self._warm_state(spoil(self.heard, 0), prompt)
        blocks = self._blocks(state, [spoil(noise, 1) for noise in noises])
        assert torch.equal(blocks[[0, 2]], expected[[0, 2]])
        assert blocks[1].isnan().all()

    def unused_places_are_never_read(self) -> None:
        """NaN before every pass, from the first block until the ring has wrapped."""
        context = self.heard[:, : self._shortest_prefill()]
        noises = self._noises(2 * self.ring_blocks + 1)
        state = self.stream.prefill(context, self.prompt)
        expected = self._blocks(state.clone(), noises)
        blocks = []
        for noise in noises:
            block = self._poisoned_block(noise, state)
            poison(self.stream, state)
            state = self.stream.commit(block, state)
            blocks.append(block)
        assert torch.equal(torch.cat(blocks, dim=1), expected)

    def prefill_equals_commits(self) -> None:
        """All at once, from the shortest start, and with blocks made before and between."""
        noises = self._noises(2)
        span = slice(None) if self.is_ring else slice(-self.geometry.context_frames, None)
        expected = self._blocks(self.stream.prefill(self.heard[:, span], self.prompt), noises)

        started = self._shortest_prefill()
        state = self.stream.prefill(self.heard[:, :started], self.prompt)
        for block in self.heard[:, started:].split(self.geometry.block_frames, dim=1):
            state = self.stream.commit(block, state)
        assert_identity(self._blocks(state, noises), expected)

        state = self.stream.prefill(self.heard[:, :started], self.prompt)
        for block in self.heard[:, started:].split(self.geometry.block_frames, dim=1):
            self.stream.generate(noises[0], state)  # made, heard by nobody, replaced
            state = self.stream.commit(block, state)
        assert_identity(self._blocks(state, noises), expected)

    def a_changed_prompt_obeys_its_policy(self) -> None:
        noises = self._noises(3)
        stream, other = self.stream, self.other_prompt
        unchanged = self._blocks(self._warm_state(), noises)

        state = stream.change_prompt(self._warm_state(), other, PromptPolicy.RE_ENCODE)
        kept_frames = self.geometry.context_frames
        if self.is_ring:
            kept_frames = self.ring_blocks * self.geometry.block_frames
        fresh = self._blocks(stream.prefill(self.heard[:, -kept_frames:], other), noises)
        re_encoded = self._blocks(state, noises)
        assert torch.equal(re_encoded, fresh)
        assert_no_identity(re_encoded, unchanged)

        before = self._warm_state()
        state = stream.change_prompt(before.clone(), other, PromptPolicy.KEEP)
        if self.is_ring:
            assert state.cache.is_equal(before.cache, Span(0, stream.arena.size))
            kept = self._blocks(state, noises)
            block = self.geometry.block_frames
            assert_no_identity(kept[:, :block], unchanged[:, :block])
        else:
            assert torch.equal(self._blocks(state, noises), fresh)

    def generator_yields_what_the_three_verbs_make(self) -> None:
        noises = self._noises(3)
        expected = self._blocks(self._warm_state(), noises)
        yielded = list(stream_blocks(self.stream, self._warm_state(), iter(noises)))
        assert len(yielded) == len(noises)
        assert torch.equal(torch.cat(yielded, dim=1), expected)

    def _noises(self, count: int) -> list[Tensor]:
        generator = torch.Generator().manual_seed(5)
        return [
            block_noise(self.stream, self.BATCH, generator, torch.float64) for _ in range(count)
        ]

    def _shortest_prefill(self) -> int:
        return self.geometry.block_frames if self.is_ring else self.geometry.context_frames

    def _warm_state(self, heard: Tensor | None = None, prompt: Conditioning | None = None) -> Any:
        """A state that has heard more blocks than a ring holds, all but the first few committed."""
        heard = self.heard if heard is None else heard
        started = self.geometry.context_frames
        state = self.stream.prefill(heard[:, :started], prompt or self.prompt)
        for block in heard[:, started:].split(self.geometry.block_frames, dim=1):
            state = self.stream.commit(block, state)
        return state

    def _blocks(self, state: Any, noises: list[Tensor]) -> Tensor:
        """The blocks that follow, in one piece; the state is used up."""
        blocks = []
        for noise in noises:
            blocks.append(self.stream.generate(noise, state))
            state = self.stream.commit(blocks[-1], state)
        return torch.cat(blocks, dim=1)

    def _poisoned_block(self, noise: Tensor, state: Any) -> Tensor:
        """The next block, with NaN put into every unused place before each of its passes."""
        poison(self.stream, state)
        self.stream.encode_context(state)
        velocity = self.stream.velocity(noise, state)

        def poisoned(noisy: Tensor, sigma: float) -> Tensor:
            poison(self.stream, state)
            return velocity(noisy, sigma)

        return self.stream.sampler.sample(poisoned, self.stream.target_noise(noise))
