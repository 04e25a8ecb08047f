"""What the LMMs' tests share: tiny models, recorded logits, and the contract of a token stream.

``check_token_stream`` is the contract: it is called for both schemes, with the scheme's oracle.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from helpers import assert_identity, assert_no_identity, assert_within_budget
from lmdm_ref.arena import Span
from lmdm_ref.geometry import TokenGeometry
from lmdm_ref.lmm_encoder_decoder import LMMEncoderDecoder, random_encoder_decoder_lmm
from lmdm_ref.lmm_frame_wise import FrameConditions, LMMFrameWise, random_frame_wise_lmm
from lmdm_ref.lmm_oracle import LMMEncoderDecoderOracle, LMMFrameWiseOracle, LMMOracle
from lmdm_ref.lmm_presets import (
    MRT1_TINY,
    MRT2_TINY,
    EncoderDecoderLMMConfig,
    FrameWiseLMMConfig,
    LMMConfig,
)
from lmdm_ref.stream import stream_blocks
from lmdm_ref.token_sampler import TokenSampler
from lmdm_ref.token_stream import TokenStream, token_noise

PLAIN_SAMPLER = TokenSampler(temperature=1.1, top_k=8)
GUIDED_SAMPLER = TokenSampler(temperature=1.1, top_k=8, guidance_scale=6.0)


# --- Tiny models -----------------------------------------------------------------------------


SomeStream = TypeVar("SomeStream", bound=TokenStream[Any])


@dataclass(frozen=True)
class TokenScheme(Generic[SomeStream]):
    """A stream, the oracle of its logits, and the oracle's sums done in the stream's own dtype."""

    stream: SomeStream
    oracle: Any
    same_dtype_oracle: Any


def tiny_lmm_encoder_decoder(
    sampler: TokenSampler = PLAIN_SAMPLER,
    config: EncoderDecoderLMMConfig = MRT1_TINY,
    dtype: torch.dtype = torch.float64,
    geometry: TokenGeometry | None = None,
) -> TokenScheme[LMMEncoderDecoder]:
    geometry = geometry or config.geometry
    model = random_encoder_decoder_lmm(config, seed=0, dtype=dtype)
    return TokenScheme(
        LMMEncoderDecoder(model, geometry, sampler),
        LMMEncoderDecoderOracle(model, geometry, sampler),
        LMMEncoderDecoderOracle(model, geometry, sampler, dtype),
    )


def tiny_lmm_frame_wise(
    sampler: TokenSampler = PLAIN_SAMPLER,
    config: FrameWiseLMMConfig = MRT2_TINY,
    dtype: torch.dtype = torch.float64,
    geometry: TokenGeometry | None = None,
) -> TokenScheme[LMMFrameWise]:
    geometry = geometry or config.geometry
    model = random_frame_wise_lmm(config, seed=0, dtype=dtype)
    return TokenScheme(
        LMMFrameWise(model, geometry, sampler),
        LMMFrameWiseOracle(model, geometry, sampler),
        LMMFrameWiseOracle(model, geometry, sampler, dtype),
    )


TINY_TOKEN_SCHEMES: dict[str, Callable[..., TokenScheme[Any]]] = {
    "lmm-encoder-decoder": tiny_lmm_encoder_decoder,
    "lmm-frame-wise": tiny_lmm_frame_wise,
}


def random_codes(sizes: list[int], *shape: int, seed: int = 0) -> Tensor:
    """Codes [*shape, columns], each below its column's size."""
    generator = torch.Generator().manual_seed(seed)
    columns = [torch.randint(size, shape, generator=generator) for size in sizes]
    return torch.stack(columns, dim=-1)


def tiny_tokens(stream: TokenStream[Any], batch: int, frames: int, seed: int = 0) -> Tensor:
    sizes = [stream.codebook_size] * stream.geometry.num_levels
    return random_codes(sizes, batch, frames, seed=seed)


def tiny_control(config: LMMConfig, batch: int, seed: int = 0) -> Any:
    """What a scheme takes as conditioning: the style's codes, or a frame's conditions."""
    if isinstance(config, EncoderDecoderLMMConfig):
        return random_codes([config.codebook_size] * config.style_tokens, batch, seed=seed)
    return FrameConditions(
        random_codes([config.style_codes] * config.style_tokens, batch, seed=seed),
        random_codes(list(config.condition_codes), batch, seed=seed + 1),
    )


def control_of(conditioning: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The conditioning with ``change`` made to each of its tensors."""
    if isinstance(conditioning, Tensor):
        return change(conditioning)
    return FrameConditions(change(conditioning.style), change(conditioning.others))


# --- Standing beside a running model ---------------------------------------------------------


@dataclass(frozen=True)
class RecordingSampler(TokenSampler):
    """A sampler that keeps the logits given to it, and calls back after each choice."""

    given: list[Tensor] = field(default_factory=list)
    after_choice: Callable[[], None] = lambda: None

    def __call__(self, logits: Tensor, gumbel: Tensor) -> Tensor:
        self.given.append(logits.clone())
        chosen = super().__call__(logits, gumbel)
        self.after_choice()
        return chosen


@contextmanager
def recorded_logits(
    stream: TokenStream[Any], after_choice: Callable[[], None] = lambda: None
) -> Iterator[list[Tensor]]:
    """The logits that the stream's sampler gets, one [rows, codebook] for each token."""
    own, given = stream.sampler, []  # type: tuple[TokenSampler, list[Tensor]]
    stream.sampler = RecordingSampler(
        own.temperature, own.top_k, own.guidance_scale, given, after_choice
    )
    try:
        yield given
    finally:
        stream.sampler = own


@dataclass(frozen=True)
class Made:
    """Tokens [batch, frames, levels], and the logits [frames, levels, rows, codebook] they are
    from."""

    tokens: Tensor
    logits: Tensor

    def of_listener(self, row: int) -> "Made":
        """One listener's part; under guidance its logits are two rows."""
        rows = torch.arange(row, self.logits.shape[2], self.tokens.shape[0])
        return Made(self.tokens[row : row + 1], self.logits[:, :, rows])

    def assert_same_bits(self, other: "Made") -> None:
        assert torch.equal(self.tokens, other.tokens)
        assert torch.equal(self.logits, other.logits)

    def assert_identity(self, other: "Made") -> None:
        assert torch.equal(self.tokens, other.tokens)
        assert_identity(self.logits, other.logits)


def make_blocks(stream: TokenStream[Any], state: Any, noises: list[Tensor]) -> Made:
    """The blocks that follow, in one piece; the state is used up."""
    blocks = []
    with recorded_logits(stream) as given:
        for noise in noises:
            blocks.append(stream.generate(noise, state))
            state = stream.commit(blocks[-1], state)
    return _made(blocks, given)


def _made(blocks: list[Tensor], given: list[Tensor]) -> Made:
    tokens = torch.cat(blocks, dim=1)
    return Made(tokens, torch.stack(given).unflatten(0, tokens.shape[1:]))


def unused_places(stream: TokenStream[Any], num_heard: int) -> Span:
    """The places of a ring that the next frame must write before it reads them, or never reads."""
    assert isinstance(stream, LMMFrameWise)
    size = stream.ring_frames
    if num_heard < size:
        return Span(1 + num_heard, 1 + size)
    oldest = 1 + num_heard % size
    return Span(oldest, oldest + 1)


# --- The contract ----------------------------------------------------------------------------


def check_token_stream(stream: TokenStream[Any], oracle: LMMOracle) -> None:
    """Everything that must hold for a scheme, whatever its sampler and its geometry."""
    contract = _Contract(stream, oracle)
    contract.streamed_equals_one_shot()
    contract.copied_state_continues_identically()
    contract.generating_twice_gives_the_same_block()
    contract.a_block_left_half_way_leaves_the_state_as_it_was()
    contract.each_row_equals_the_row_streamed_alone()
    contract.a_spoilt_row_leaves_the_others_bit_equal()
    contract.unused_places_are_never_read()
    contract.prefill_equals_commits()
    contract.committing_what_was_generated_equals_hearing_it()
    contract.a_changed_prompt_is_obeyed()
    contract.generator_yields_what_the_three_verbs_make()
    contract.the_generator_s_seed_decides()


def check_token_stream_equals_one_shot(scheme: TokenScheme[Any]) -> None:
    """The contract's first clause alone, for lengths and sizes other than the preset's."""
    _Contract(scheme.stream, scheme.oracle).streamed_equals_one_shot()


def check_token_stream_within_budget(scheme: TokenScheme[Any], batch: int = 2) -> None:
    """A stream in a lower dtype, given its own tokens, against the truth in float64."""
    stream, geometry = scheme.stream, scheme.stream.geometry
    history = tiny_tokens(stream, batch, geometry.context_frames)
    control = tiny_control(stream.model.config, batch)
    generator = torch.Generator().manual_seed(5)
    noises = [token_noise(stream, batch, generator) for _ in range(3)]
    made = make_blocks(stream, stream.prefill(history, control), noises)
    references, truths = [], []
    for block in made.tokens.split(geometry.block_frames, dim=1):
        references.append(scheme.same_dtype_oracle.logits(block, history, control))
        truths.append(scheme.oracle.logits(block, history, control))
        history = torch.cat([history, block], dim=1)
    assert_within_budget(made.logits, torch.cat(references), torch.cat(truths))


class _Contract:
    BATCH = 3

    def __init__(self, stream: TokenStream[Any], oracle: LMMOracle) -> None:
        assert oracle.sampler is stream.sampler and oracle.geometry is stream.geometry
        self.stream: Any = stream
        self.oracle: Any = oracle
        self.geometry = stream.geometry
        self.is_frame_wise = isinstance(stream, LMMFrameWise)
        self.control = tiny_control(self.stream.model.config, self.BATCH)
        self.other_control = tiny_control(self.stream.model.config, self.BATCH, seed=7)
        # A start from which a ring has been full and has wrapped.
        block = self.geometry.block_frames
        self.blocks_heard = self.geometry.context_frames // block + 2
        started = self.geometry.context_frames
        self.heard = self._tokens(started + self.blocks_heard * block, seed=4)

    def streamed_equals_one_shot(self) -> None:
        """From a full context; for a ring from nothing, one frame and many, until it has wrapped
        three times."""
        context = self.geometry.context_frames
        starts = [0, 1, 3 * context + 2] if self.is_frame_wise else [context]
        rings = 3 if self.is_frame_wise else 1
        blocks = rings * (context + 1) // self.geometry.block_frames + 2
        for start in starts:
            history = self.heard[:, :0] if start == 0 else self.heard[:, -start:]
            made = self._blocks(self.stream.prefill(history, self.control), self._noises(blocks))
            tokens = made.tokens.split(self.geometry.block_frames, dim=1)
            logits = made.logits.split(self.geometry.block_frames)
            for block, one in zip(tokens, logits, strict=True):
                assert_identity(one, self.oracle.logits(block, history, self.control))
                history = torch.cat([history, block], dim=1)

    def copied_state_continues_identically(self) -> None:
        """Copied between two blocks, and copied when a block was made and not yet heard."""
        first, *noises = self._noises(3)
        state = self._warm_state()
        copied = state.clone()
        expected = self._blocks(state, [first, *noises])
        expected.assert_same_bits(self._blocks(copied.clone(), [first, *noises]))

        block = self.stream.generate(first, copied)
        midway, again = copied.clone(), copied.clone()
        after = self._blocks(self.stream.commit(block, copied), noises)
        after.assert_same_bits(self._blocks(self.stream.commit(block, midway), noises))
        assert torch.equal(self.stream.generate(first, again), block)
        assert torch.equal(torch.cat([block, after.tokens], dim=1), expected.tokens)

    def generating_twice_gives_the_same_block(self) -> None:
        """With another block made between: nothing is left of it."""
        first, other, *noises = self._noises(3)
        state = self._warm_state()
        expected = self._blocks(state.clone(), [first, *noises])
        block = self.stream.generate(first, state)
        assert not torch.equal(self.stream.generate(other, state), block)
        self._blocks(state, [first, *noises]).assert_same_bits(expected)

    def a_block_left_half_way_leaves_the_state_as_it_was(self) -> None:
        """And the block that was made before it can still be committed."""
        first, other, *noises = self._noises(3)
        state = self._warm_state()
        expected = self._blocks(state.clone(), [first, *noises])
        block = self.stream.generate(first, state)
        next(self.stream.frames(other, state))
        after = self._blocks(self.stream.commit(block, state), noises)
        assert torch.equal(torch.cat([block, after.tokens], dim=1), expected.tokens)
        assert_identity(after.logits, expected.logits[self.geometry.block_frames :])

    def each_row_equals_the_row_streamed_alone(self) -> None:
        noises = self._noises(2)
        together = self._blocks(self._warm_state(), noises)
        for row in range(self.BATCH):
            one = slice(row, row + 1)
            state = self._warm_state(
                self.heard[one], control_of(self.control, lambda codes, one=one: codes[one])
            )
            alone = self._blocks(state, [noise[:, :, one] for noise in noises])
            alone.assert_identity(together.of_listener(row))

    def a_spoilt_row_leaves_the_others_bit_equal(self) -> None:
        """NaN in one listener's noise, and other tokens and another prompt."""
        noises = self._noises(2)
        expected = self._blocks(self._warm_state(), noises)

        def spoilt(codes: Tensor) -> Tensor:
            return codes.index_fill(0, torch.tensor([1]), 1)

        state = self._warm_state(spoilt(self.heard), control_of(self.control, spoilt))
        bad = [noise.index_fill(2, torch.tensor([1]), torch.nan) for noise in noises]
        made = self._blocks(state, bad)
        for row in (0, 2):
            made.of_listener(row).assert_same_bits(expected.of_listener(row))
        assert not torch.equal(made.of_listener(1).logits, expected.of_listener(1).logits)

    def unused_places_are_never_read(self) -> None:
        """NaN before every temporal and every depth step, from the start until a ring wrapped."""
        start = 0 if self.is_frame_wise else self.geometry.context_frames
        noises = self._noises((self.geometry.context_frames + 1) // self.geometry.block_frames + 2)
        state = self.stream.prefill(self.heard[:, :start], self.control)
        expected = self._blocks(state.clone(), noises)
        blocks, logits = [], []
        for noise in noises:
            block, given = self._poisoned_block(noise, state)
            blocks.append(block)
            logits.extend(given)
            self._poison_frame(state, self.geometry.block_frames)
            state = self.stream.commit(block, state)
        _made(blocks, logits).assert_same_bits(expected)

    def prefill_equals_commits(self) -> None:
        """All at once, from the shortest start, and with other blocks made between."""
        noises = self._noises(2)
        newest = slice(None if self.is_frame_wise else -self.geometry.context_frames, None)
        expected = self._blocks(self.stream.prefill(self.heard[:, newest], self.control), noises)
        self._blocks(self._warm_state(), noises).assert_same_bits(expected)

        started = self.geometry.context_frames
        state = self.stream.prefill(self.heard[:, :started], self.control)
        for block in self.heard[:, started:].split(self.geometry.block_frames, dim=1):
            self.stream.generate(noises[0], state)  # made, heard by nobody, replaced
            state = self.stream.commit(block, state)
        self._blocks(state, noises).assert_same_bits(expected)

    def committing_what_was_generated_equals_hearing_it(self) -> None:
        first, *noises = self._noises(2)
        state = self._warm_state()
        block = self.stream.generate(first, state)
        heard = torch.cat([self.heard, block], dim=1)
        newest = slice(None if self.is_frame_wise else -self.geometry.context_frames, None)
        fresh = self.stream.prefill(heard[:, newest], self.control)
        committed = self._blocks(self.stream.commit(block, state), noises)
        committed.assert_same_bits(self._blocks(fresh, noises))

    def a_changed_prompt_is_obeyed(self) -> None:
        """A ring's older frames keep theirs; tokens know no prompt, so an encoder starts anew."""
        noises, stream, other = self._noises(2), self.stream, self.other_control
        unchanged = self._blocks(self._warm_state(), noises)
        state = self._warm_state()
        stream.generate(noises[0], state)  # under the old prompt, and heard by nobody
        made = self._blocks(stream.change_prompt(state, other), noises)
        newest = slice(None if self.is_frame_wise else -self.geometry.context_frames, None)
        fresh = self._blocks(stream.prefill(self.heard[:, newest], other), noises)
        assert_no_identity(made.logits[0], unchanged.logits[0])

        # A block that was made under the old prompt and is heard after the change.
        state = self._warm_state()
        block = stream.generate(noises[0], state)
        late = self._blocks(stream.commit(block, stream.change_prompt(state, other)), noises)
        never_made = stream.change_prompt(self._warm_state(), other)
        late.assert_same_bits(self._blocks(stream.commit(block, never_made), noises))
        if not self.is_frame_wise:
            made.assert_same_bits(fresh)
            return
        told = [self.control] * self.heard.shape[1] + [other] * made.tokens.shape[1]
        assert_identity(made.logits, self.oracle.logits_as_told(made.tokens, self.heard, told))
        assert_no_identity(made.logits[0], fresh.logits[0])

    def generator_yields_what_the_three_verbs_make(self) -> None:
        noises = self._noises(2)
        expected = self._blocks(self._warm_state(), noises)
        yielded = list(stream_blocks(self.stream, self._warm_state(), iter(noises)))
        assert len(yielded) == len(noises)
        assert torch.equal(torch.cat(yielded, dim=1), expected.tokens)

    def the_generator_s_seed_decides(self) -> None:
        first, again, other = (
            self._blocks(self._warm_state(), self._noises(2, seed)).tokens for seed in (5, 5, 6)
        )
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    def _tokens(self, frames: int, seed: int) -> Tensor:
        return tiny_tokens(self.stream, self.BATCH, frames, seed)

    def _noises(self, count: int, seed: int = 5) -> list[Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return [
            token_noise(self.stream, self.BATCH, generator, torch.float64) for _ in range(count)
        ]

    def _warm_state(self, heard: Tensor | None = None, control: Any = None) -> Any:
        """A state that has heard more frames than a ring holds, all but the first committed."""
        heard = self.heard if heard is None else heard
        control = self.control if control is None else control
        started = self.geometry.context_frames
        state = self.stream.prefill(heard[:, :started], control)
        for block in heard[:, started:].split(self.geometry.block_frames, dim=1):
            state = self.stream.commit(block, state)
        return state

    def _blocks(self, state: Any, noises: list[Tensor]) -> Made:
        return make_blocks(self.stream, state, noises)

    def _poisoned_block(self, noise: Tensor, state: Any) -> tuple[Tensor, list[Tensor]]:
        """The next block, with NaN put into every unused place before each of its steps."""
        levels, blocks = self.geometry.num_levels, []

        def poison_levels() -> None:
            level = len(given) % levels
            state.depth.fill(Span(level, levels), torch.nan)

        if self.is_frame_wise:
            for cache in state.ahead:
                cache.fill(Span(0, 1 + self.stream.ring_frames), torch.nan)
            for cache in state.rings:
                cache.fill(unused_places(self.stream, state.num_heard), torch.nan)
        elif not state.is_encoded:
            config, context = self.stream.model.config, self.geometry.context_frames
            state.source.fill(Span(0, config.encoder_tokens(context)), torch.nan)
        self.stream.encode_context(state)
        with recorded_logits(self.stream, poison_levels) as given:
            if not self.is_frame_wise:
                self._poison_frame(state, 0)
            poison_levels()
            for frame, tokens in enumerate(self.stream.frames(noise, state)):
                blocks.append(tokens)
                self._poison_frame(state, frame + 1)
        return torch.stack(blocks, dim=1), given

    def _poison_frame(self, state: Any, made_frames: int) -> None:
        """What the temporal step after ``made_frames`` of this block must not read."""
        if self.is_frame_wise:
            for cache in state.ahead:
                unused = unused_places(self.stream, state.num_heard + made_frames)
                cache.fill(unused, torch.nan)
        else:
            state.temporal.fill(Span(made_frames, self.geometry.block_frames), torch.nan)
