from dataclasses import replace

import pytest
import torch
from torch import Tensor

from helpers import (
    EULER,
    GUIDED,
    ONE_STEP,
    PINGPONG,
    PLAIN,
    SAMPLERS,
    WINDOW,
    ArenaReaders,
    assert_identity,
    assert_no_identity,
    assert_within_budget,
    check_stream,
    check_stream_within_budget,
    recorded_passes,
    seeded,
    tiny_block_causal,
    tiny_conditioning,
    tiny_encoder_decoder,
    tiny_latents,
)
from lmdm_ref.block_causal import BlockCausal, BlockCausalState
from lmdm_ref.presets import TINY
from lmdm_ref.rotary import Rotary, rotary_angles
from lmdm_ref.sampler import Sampler
from lmdm_ref.stream import PromptPolicy

BLOCK, CONTEXT, WHOLE = WINDOW.block_frames, WINDOW.context_frames, WINDOW.window_frames
SHALLOW = replace(TINY, depth=1)


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
def test_block_causal_keeps_the_contract(sampler: Sampler) -> None:
    scheme = tiny_block_causal(sampler)
    check_stream(scheme.stream, scheme.oracle)


@pytest.mark.parametrize("visible_blocks", [1, 3, 4, 6])
def test_block_causal_keeps_the_contract_whatever_the_blocks_in_sight(visible_blocks: int) -> None:
    """3 as the released code trains, 4 as the context has; 1 and 6 for what lies on either side."""
    scheme = tiny_block_causal(EULER, visible_blocks=visible_blocks)
    check_stream(scheme.stream, scheme.oracle)


def test_block_causal_keeps_the_contract_without_qk_norm_and_grouping() -> None:
    scheme = tiny_block_causal(GUIDED, PLAIN, visible_blocks=3)
    check_stream(scheme.stream, scheme.oracle)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sampler", [EULER, PINGPONG], ids=["euler", "pingpong"])
def test_block_causal_in_a_lower_precision_errs_no_more_than_plain_torch(
    sampler: Sampler, dtype: torch.dtype
) -> None:
    check_stream_within_budget(tiny_block_causal(sampler, dtype=dtype))


def noise_of(draws: int, batch: int = 2, seed: int = 1) -> Tensor:
    return seeded(seed, draws, batch, BLOCK, TINY.latent_channels)


def heard(stream: BlockCausal, history: Tensor, prompt_seed: int = 0) -> BlockCausalState:
    return stream.prefill(history, tiny_conditioning(history.shape[0], prompt_seed))


def test_blocks_in_sight_are_the_context_s_unless_said_otherwise() -> None:
    assert tiny_block_causal().stream.visible_blocks == WINDOW.context_blocks == 4
    stream = tiny_block_causal(visible_blocks=3).stream
    assert (stream.visible_blocks, stream.arena.num_slots) == (3, 4)


@pytest.mark.parametrize("visible_blocks", [3, 4])
@pytest.mark.parametrize("num_blocks", range(1, 13))
def test_context_of_any_number_of_blocks_equals_one_shot(
    visible_blocks: int, num_blocks: int
) -> None:
    scheme = tiny_block_causal(ONE_STEP, visible_blocks=visible_blocks)
    history, prompt = tiny_latents(2, num_blocks * BLOCK), tiny_conditioning(2)
    block = scheme.stream.generate(noise_of(1), scheme.stream.prefill(history, prompt))
    assert_identity(block, scheme.oracle.block(noise_of(1), history, prompt))


@pytest.mark.parametrize("frames", [0, 1, BLOCK - 1, BLOCK + 1, CONTEXT + 1])
def test_context_with_part_of_a_block_is_refused_in_a_sentence(frames: int) -> None:
    stream = tiny_block_causal().stream
    with pytest.raises(ValueError, match=rf"whole number of 3-frame blocks, got {frames} frames"):
        heard(stream, tiny_latents(2, frames))


# --- Who is computed when ---------------------------------------------------------------------


@pytest.mark.parametrize("sampler", [ONE_STEP, EULER, GUIDED], ids=["1", "3", "guided"])
def test_a_block_takes_as_many_passes_as_steps_and_not_one_more(sampler: Sampler) -> None:
    """The first pass carries the finished block too: 2 · block rows and the token."""
    stream = tiny_block_causal(sampler).stream
    state = heard(stream, tiny_latents(2, CONTEXT))
    with recorded_passes(stream.decoder) as passes:
        for _ in range(7):
            state = stream.commit(stream.generate(noise_of(1), state), state)
    batch = 2 * sampler.copies
    later = [(batch, BLOCK + 1, TINY.width)] * (sampler.num_steps - 1)
    block = [(batch, 2 * BLOCK + 1, TINY.width), *later]
    assert [hidden.shape for hidden, _ in passes] == block * 7


def test_pending_rows_are_clean_alone_and_target_rows_get_nothing_of_b() -> None:
    stream = tiny_block_causal().stream
    decoder, clean, noise = stream.decoder, tiny_latents(2, CONTEXT), noise_of(1)
    state = heard(stream, clean)
    with recorded_passes(decoder) as passes:
        stream.generate(noise, state)
    ones = torch.ones(2, BLOCK, 1, dtype=torch.float64)
    pending = torch.cat([ones, clean[:, -BLOCK:]], -1) @ decoder.input_clean.weight.mT
    residual = noise[0] @ decoder.input_residual.weight.mT
    target = (noise[0] + residual) @ decoder.input_noisy.weight.mT
    assert_identity(passes[0][0][:, : 2 * BLOCK], torch.cat([pending, target], dim=1))
    for (hidden, _), sigma in zip(passes, stream.sampler.sigmas, strict=False):
        token = decoder.token_row(decoder.noise_level(sigma), state.conditioning)
        assert torch.equal(hidden[:, -1:], token)


@pytest.mark.parametrize("num_blocks", [1, 3, 4, 5, 9])
def test_token_stands_at_position_0_of_the_window_that_ends_with_the_target(
    num_blocks: int,
) -> None:
    """Frames count on from the stream's start; early on, the window's start is the stream's."""
    stream = tiny_block_causal().stream
    state = heard(stream, tiny_latents(2, num_blocks * BLOCK))
    with recorded_passes(stream.decoder) as passes:
        stream.generate(noise_of(1), state)
    first = num_blocks * BLOCK + 1
    target = [*range(first, first + BLOCK), max(0, first + BLOCK - 1 - WHOLE)]
    pending = list(range(first - BLOCK, first))

    def assert_positions(rotary: Rotary, positions: list[int]) -> None:
        frequencies = stream.decoder.inverse_frequencies
        expected = rotary_angles(torch.tensor(positions), frequencies, torch.float64)
        assert torch.equal(rotary.cos, expected.cos) and torch.equal(rotary.sin, expected.sin)

    assert_positions(passes[0][1].rotary, pending + target)
    for _, run in passes[1:]:
        assert_positions(run.rotary, target)


def test_finished_block_never_sees_the_target_that_is_begun_with_it() -> None:
    """Its places keep their bits whatever the noise, also NaN, and whatever the seconds."""
    stream = tiny_block_causal().stream
    history = tiny_latents(2, 7 * BLOCK)
    slots = stream.arena.slots(stream.arena.num_slots)
    state = heard(stream, history)
    pending, target = (stream.arena.slot(index % 5) for index in (6, 7))
    one, other = state.clone(), state.clone()
    stream.velocity(noise_of(1), one)(noise_of(1)[0], 1.0)
    nan = torch.full_like(noise_of(1)[0], torch.nan)
    assert stream.velocity(noise_of(1), other)(nan, 0.2).isnan().all()
    assert one.cache.is_equal(other.cache, slots)
    assert not one.cache.is_equal(state.cache, pending)
    assert one.cache.is_equal(state.cache, target)


def test_target_never_sees_the_block_that_leaves_with_the_fused_step() -> None:
    """In one layer keys do not depend on what their rows saw: NaN can stand in the evicted slot."""
    stream = tiny_block_causal(EULER, SHALLOW).stream
    for num_blocks in range(5, 11):
        state = heard(stream, tiny_latents(2, num_blocks * BLOCK))
        expected = stream.generate(noise_of(1), state.clone())
        evicted = stream.arena.slot((num_blocks - 5) % 5)
        state.cache.fill(evicted, torch.nan)
        assert torch.equal(stream.generate(noise_of(1), state), expected)


def test_every_block_still_in_sight_matters_to_the_target() -> None:
    """The counterpart: NaN in any other slot reaches the target at once."""
    stream = tiny_block_causal(EULER, SHALLOW).stream
    for num_blocks in range(5, 11):
        state = heard(stream, tiny_latents(2, num_blocks * BLOCK))
        for index in range(num_blocks - 4, num_blocks - 1):
            spoilt = state.clone()
            spoilt.cache.fill(stream.arena.slot(index % 5), torch.nan)
            assert stream.generate(noise_of(1), spoilt).isnan().all()


# --- Where keys lie ---------------------------------------------------------------------------


def readers_of(
    stream: BlockCausal, state: BlockCausalState, is_fused: bool, blocks: int
) -> set[str]:
    """Who reads the arenas in the fused first passes, or in all passes after them."""
    names: set[str] = set()
    for _ in range(blocks):
        velocity, noise = stream.velocity(noise_of(1), state), noise_of(1)[0]
        noise = torch.cat([noise] * stream.sampler.copies)
        with ArenaReaders(state.cache) as first:
            velocity(noise, 1.0)
        with ArenaReaders(state.cache) as later:
            velocity(noise, 0.5)
        names |= first.names if is_fused else later.names
        state = stream.commit(noise_of(1)[0], state)
    return names


@pytest.mark.parametrize("sampler", [EULER, GUIDED], ids=["euler", "guided"])
def test_cached_keys_are_read_by_attention_alone_after_the_first_step(sampler: Sampler) -> None:
    stream = tiny_block_causal(sampler).stream
    state = heard(stream, tiny_latents(2, CONTEXT))
    (name,) = readers_of(stream, state, is_fused=False, blocks=7)
    assert "scaled_dot_product" in name


@pytest.mark.parametrize("sampler", [EULER, GUIDED], ids=["euler", "guided"])
def test_the_fused_step_copies_the_keys_of_a_row_with_two_spans_and_no_others(
    sampler: Sampler,
) -> None:
    """Which is faster than two products and a joined softmax; the clean rows see one span."""
    stream = tiny_block_causal(sampler).stream
    state = heard(stream, tiny_latents(2, CONTEXT))
    names = readers_of(stream, state, is_fused=True, blocks=7)
    assert names == {"_scaled_dot_product_flash_attention_for_cpu", "cat"}


@pytest.mark.parametrize("sampler", [EULER, GUIDED], ids=["euler", "guided"])
def test_arenas_never_move(sampler: Sampler) -> None:
    stream = tiny_block_causal(sampler).stream
    state = heard(stream, tiny_latents(2, CONTEXT))
    addresses = [one.data_ptr() for one in state.cache.layer(1)]
    for _ in range(7):
        state = stream.commit(stream.generate(noise_of(1), state), state)
        assert [one.data_ptr() for one in state.cache.layer(1)] == addresses


def test_committed_block_s_keys_never_change_again() -> None:
    stream = tiny_block_causal().stream
    state = heard(stream, tiny_latents(2, BLOCK))
    stream.generate(noise_of(1), state)
    first, slot = state.clone().cache, stream.arena.slot(0)
    for seed in range(3):
        state = stream.commit(noise_of(1, seed=seed)[0], state)
        stream.generate(noise_of(1), state)
        assert state.cache.is_equal(first, slot)


# --- What a ring is, and is not -----------------------------------------------------------------


def next_block(stream: BlockCausal, history: Tensor) -> Tensor:
    return stream.generate(noise_of(1), heard(stream, history))


@pytest.mark.parametrize("visible_blocks", [3, 4])
def test_ring_is_not_a_re_encoding_of_the_newest_window(visible_blocks: int) -> None:
    """Cached features remember blocks that have left; in one layer there is nothing to remember."""
    history = tiny_latents(2, 9 * BLOCK)
    window = history[:, -CONTEXT:]
    deep = tiny_block_causal(visible_blocks=visible_blocks).stream
    assert_no_identity(next_block(deep, history), next_block(deep, window))
    shallow = tiny_block_causal(EULER, SHALLOW, visible_blocks=visible_blocks).stream
    assert_identity(next_block(shallow, history), next_block(shallow, window))


def test_depth_times_sight_is_how_far_back_the_target_hears() -> None:
    """Two layers that see one block: the target hears two blocks back, and no third."""
    stream = tiny_block_causal(visible_blocks=1).stream
    history = tiny_latents(2, 6 * BLOCK)
    expected = next_block(stream, history)
    for blocks_back in range(1, 7):
        other = history.clone()
        start = history.shape[1] - blocks_back * BLOCK
        other[:, start : start + BLOCK] += 1
        if blocks_back <= 2:
            assert_no_identity(next_block(stream, other), expected)
        else:
            assert torch.equal(next_block(stream, other), expected)


def test_window_of_two_blocks_is_the_encoder_decoder() -> None:
    """One block heard, one made: both plans let context see context and target see all."""
    geometry = replace(WINDOW, context_frames=BLOCK)
    ring = tiny_block_causal(GUIDED, geometry=geometry).stream
    encoder_decoder = tiny_encoder_decoder(GUIDED, geometry=geometry).stream
    clean, prompt = tiny_latents(2, BLOCK), tiny_conditioning(2)
    cached = ring.generate(noise_of(1), ring.prefill(clean, prompt))
    encoded = encoder_decoder.generate(noise_of(1), encoder_decoder.prefill(clean, prompt))
    assert_identity(cached, encoded)


def test_stream_sounds_the_same_ten_thousand_rings_later() -> None:
    """One layer, so that nothing is remembered; 150 000 frames are almost two hours."""
    scheme = tiny_block_causal(EULER, SHALLOW, torch.float32)
    stream = scheme.stream
    history = tiny_latents(2, 12 * BLOCK).float()
    early, late = (heard(stream, history[:, :CONTEXT]) for _ in range(2))
    late.num_encoded += 10_000 * stream.arena.num_slots
    for block in history[:, CONTEXT:].split(BLOCK, dim=1):
        early, late = stream.commit(block, early), stream.commit(block, late)
    noise, prompt = noise_of(1).float(), tiny_conditioning(2)
    assert_within_budget(
        stream.generate(noise, late),
        stream.generate(noise, early),
        scheme.oracle.block(noise, history, prompt),
    )


# --- Prompts ------------------------------------------------------------------------------------


def test_kept_context_is_heard_under_the_old_prompt_and_the_target_under_the_new() -> None:
    """In one layer keys do not know the prompt, so that keeping and encoding anew are the same."""
    history, other = tiny_latents(2, 7 * BLOCK), tiny_conditioning(2, seed=2)
    blocks = {}
    for config in (TINY, SHALLOW):
        stream = tiny_block_causal(EULER, config).stream
        for policy in PromptPolicy:
            state = stream.change_prompt(heard(stream, history), other, policy)
            blocks[config.depth, policy] = stream.generate(noise_of(1), state)
    assert_no_identity(blocks[2, PromptPolicy.KEEP], blocks[2, PromptPolicy.RE_ENCODE])
    assert_identity(blocks[1, PromptPolicy.KEEP], blocks[1, PromptPolicy.RE_ENCODE])


@pytest.mark.parametrize("policy", PromptPolicy)
def test_prompt_may_change_while_a_block_is_made(policy: PromptPolicy) -> None:
    """After the fused step nothing is pending; the ring and the block's index must survive it."""
    stream = tiny_block_causal().stream
    history, other = tiny_latents(2, 7 * BLOCK), tiny_conditioning(2, seed=2)
    state = heard(stream, history)
    stream.generate(noise_of(1), state)
    midway = state.clone()
    changed = stream.change_prompt(state, other, policy)
    block = stream.generate(noise_of(1), changed)
    if policy is PromptPolicy.RE_ENCODE:
        fresh = stream.prefill(history[:, -5 * BLOCK :], other)
        assert torch.equal(block, stream.generate(noise_of(1), fresh))
    else:
        assert changed.target_index == midway.target_index == 7
        kept = [stream.arena.slot(index % 5) for index in range(3, 7)]
        assert all(changed.cache.is_equal(midway.cache, slot) for slot in kept)
        assert_no_identity(block, stream.generate(noise_of(1), midway))


def test_changing_the_prompt_to_itself_changes_nothing() -> None:
    stream = tiny_block_causal().stream
    history = tiny_latents(2, 4 * BLOCK)
    expected = next_block(stream, history)
    for policy in PromptPolicy:
        state = stream.change_prompt(heard(stream, history), tiny_conditioning(2), policy)
        assert torch.equal(stream.generate(noise_of(1), state), expected)


def test_only_as_many_frames_are_remembered_as_the_ring_can_hold() -> None:
    stream = tiny_block_causal().stream
    history = tiny_latents(2, 9 * BLOCK)
    assert torch.equal(heard(stream, history).recent, history[:, -5 * BLOCK :])
    state = heard(stream, history[:, : 2 * BLOCK])
    assert torch.equal(state.recent, history[:, : 2 * BLOCK])
    for block in history[:, 2 * BLOCK :].split(BLOCK, dim=1):
        state = stream.commit(block, state)
    assert torch.equal(state.recent, history[:, -5 * BLOCK :])
