"""A graph here is a stand-in that computes its captured function anew, from the captured tensors
alone: what a real replay does, so that whatever was baked in by mistake gives wrong blocks."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import lmdm_kernels
import lmdm_ref
from helpers import (
    EULER,
    GUIDED,
    PINGPONG_PLUS,
    WINDOW,
    captured_again,
    seeded,
    tiny_conditioning,
    tiny_latents,
)
from lmdm_bench.graphs import Graphs, Replay, cuda_capture
from lmdm_ref.attention import dense_mask
from lmdm_ref.presets import TINY
from lmdm_ref.sampler import Sampler
from lmm_helpers import TINY_TOKEN_SCHEMES, tiny_control, tiny_tokens

SCHEMES: tuple[type[lmdm_ref.DiffusionStream[Any]], ...] = (
    lmdm_ref.Outpaint,
    lmdm_ref.EncoderDecoder,
    lmdm_ref.BlockCausal,
)
# The ring of 5 slots is filled from one block, turns, and turns again.
BLOCKS = 13
TILE = 2


def attend_by_table(query: Tensor, key: Tensor, value: Tensor, plan: lmdm_ref.Plan) -> Tensor:
    """As the kernels read a plan that moves: from its table's numbers of this moment."""
    if not isinstance(plan, lmdm_kernels.MovingPlan):
        return lmdm_ref.attend(query, key, value, plan)
    visible = torch.zeros(query.shape[2], key.shape[2], dtype=torch.bool)
    for first, last, *spans in plan.table(TILE, query.device, key.shape[2]).tolist():
        for start, stop in (spans[:2], spans[2:]):
            visible[first:last, start:stop] = True
    attended = torch.nn.functional.scaled_dot_product_attention(
        query, key, value.nan_to_num(), visible, enable_gqa=query.shape[1] != key.shape[1]
    )
    return attended


def stream_of(
    scheme: type[lmdm_ref.DiffusionStream[Any]],
    sampler: Sampler,
    attend: lmdm_ref.Attend,
    execute: lmdm_ref.Execute = lmdm_ref.execute,
) -> lmdm_ref.DiffusionStream[Any]:
    decoder = lmdm_ref.random_decoder(TINY, 0, torch.float64, attend=attend)
    return scheme(decoder, WINDOW, sampler, execute=execute)


def started(stream: lmdm_ref.DiffusionStream[Any], seed: int = 0) -> Any:
    frames = WINDOW.block_frames if isinstance(stream, lmdm_ref.BlockCausal) else 12
    return stream.prefill(tiny_latents(2, frames, seed), tiny_conditioning(2))


def blocks_of(stream: lmdm_ref.DiffusionStream[Any], state: Any, count: int = BLOCKS) -> Tensor:
    made = []
    for index in range(count):
        shape = (stream.sampler.draws, 2, stream.noise_frames, TINY.latent_channels)
        made.append(stream.generate(seeded(index, *shape), state))
        state = stream.commit(made[-1], state)
    return torch.cat(made, dim=1)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("sampler", [EULER, GUIDED, PINGPONG_PLUS], ids=["1", "guided", "++"])
@pytest.mark.parametrize("has_moving_plans", [True, False])
def test_graphed_blocks_are_the_eager_ones_bit_for_bit(
    scheme: type[lmdm_ref.DiffusionStream[Any]], sampler: Sampler, has_moving_plans: bool
) -> None:
    attend = attend_by_table if has_moving_plans else lmdm_ref.attend
    eager = stream_of(scheme, sampler, attend)
    expected = blocks_of(eager, started(eager))
    graphs = Graphs(captured_again, has_moving_plans=has_moving_plans)
    graphed = stream_of(scheme, sampler, attend, graphs)
    made = blocks_of(graphed, started(graphed))
    if has_moving_plans:
        # The stand-in attends through a mask where eager calls slice the keys.
        assert (made - expected).abs().max() < 1e-12 * expected.abs().max()
    else:
        assert torch.equal(made, expected)


@pytest.mark.parametrize(("scheme", "count"), list(zip(SCHEMES, (1, 2, 2), strict=True)))
def test_one_graph_of_each_kind_of_pass_serves_every_step_of_every_block(
    scheme: type[lmdm_ref.DiffusionStream[Any]], count: int
) -> None:
    """Outpainting: the step. Encoder-decoder: context encode and step. Block-causal: the first
    step, which also commits, and the later ones, while the ring fills and after it has turned."""
    captures = []

    def counting(compute: Callable[[], Tensor]) -> tuple[Tensor, Replay]:
        captures.append(compute)
        return captured_again(compute)

    graphs = Graphs(counting, has_moving_plans=True)
    stream = stream_of(scheme, EULER, attend_by_table, graphs)
    blocks_of(stream, started(stream))
    assert len(captures) == graphs.num_graphs == count


def test_a_plan_that_is_baked_into_the_graph_would_be_wrong() -> None:
    """The test above has teeth: with an attention that knows no moving plans, one graph for all
    blocks of a ring gives other blocks."""
    eager = stream_of(lmdm_ref.BlockCausal, EULER, lmdm_ref.attend)
    graphs = Graphs(captured_again, has_moving_plans=True)
    graphed = stream_of(lmdm_ref.BlockCausal, EULER, lmdm_ref.attend, graphs)
    wrong, right = blocks_of(graphed, started(graphed)), blocks_of(eager, started(eager))
    assert (wrong - right).abs().max() > 1e-3


def test_plain_attention_takes_a_graph_for_each_plan_and_no_more() -> None:
    graphs = Graphs(captured_again, has_moving_plans=False)
    stream = stream_of(lmdm_ref.BlockCausal, EULER, lmdm_ref.attend, graphs)
    state = started(stream)
    blocks_of(stream, state)
    # First steps: 4 while the ring fills, then one for each slot that can be evicted. Later steps:
    # one for each number of valid slots.
    assert graphs.num_graphs == (4 + 5) + 4


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_changed_prompt_reaches_the_graphs(
    scheme: type[lmdm_ref.DiffusionStream[Any]],
) -> None:
    made = []
    for execute in (lmdm_ref.execute, Graphs(captured_again, has_moving_plans=False)):
        stream = stream_of(scheme, EULER, lmdm_ref.attend, execute)
        state = started(stream)
        first = blocks_of(stream, state, 1)
        prompt = tiny_conditioning(2, seed=9)
        state = stream.change_prompt(started(stream), prompt, lmdm_ref.PromptPolicy.KEEP)
        made.append((first, blocks_of(stream, state, 2)))
    for eager, graphed in zip(*made, strict=True):
        assert torch.equal(eager, graphed)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_two_streams_of_one_model_do_not_meet_in_a_graph(
    scheme: type[lmdm_ref.DiffusionStream[Any]],
) -> None:
    """Each state's cache is its own; blocks that take turns are those made one after the other."""
    graphs = Graphs(captured_again, has_moving_plans=False)
    stream = stream_of(scheme, EULER, lmdm_ref.attend, graphs)
    eager = stream_of(scheme, EULER, lmdm_ref.attend)
    states = [started(stream, 0), started(stream, 7)]
    made: list[list[Tensor]] = [[], []]
    for index in range(3):
        noise = seeded(index, stream.sampler.draws, 2, stream.noise_frames, TINY.latent_channels)
        for which, state in enumerate(states):
            made[which].append(stream.generate(noise, state))
            states[which] = stream.commit(made[which][-1], state)
    for blocks, seed in zip(made, (0, 7), strict=True):
        assert torch.equal(torch.cat(blocks, dim=1), blocks_of(eager, started(eager, seed), 3))


def test_a_result_outlives_the_next_replay() -> None:
    stream = stream_of(
        lmdm_ref.Outpaint, EULER, lmdm_ref.attend, Graphs(captured_again, has_moving_plans=False)
    )
    velocity = stream.velocity(seeded(0, 1, 2, 15, TINY.latent_channels), started(stream))
    first = velocity(seeded(1, 2, 3, TINY.latent_channels), 1.0)
    kept = first.clone()
    velocity(seeded(2, 2, 3, TINY.latent_channels), 0.5)
    assert torch.equal(first, kept)


@pytest.mark.parametrize("name", TINY_TOKEN_SCHEMES)
@pytest.mark.parametrize("has_moving_plans", [True, False])
def test_graphed_tokens_are_the_eager_ones(name: str, has_moving_plans: bool) -> None:
    """A frame-wise LMM's ring takes one graph once it is full, and one more for the first frame of
    all; with an encoder there is one for the encoding, and one for each frame of a block."""
    attend = attend_by_table if has_moving_plans else lmdm_ref.attend
    plain = TINY_TOKEN_SCHEMES[name]().stream
    plain.model.attend = attend
    graphs = Graphs(captured_again, has_moving_plans=has_moving_plans)
    graphed = type(plain)(plain.model, plain.geometry, plain.sampler, execute=graphs)
    made = []
    for stream in (plain, graphed):
        context = tiny_tokens(stream, 2, stream.geometry.context_frames + 1)
        if name == "lmm-encoder-decoder":
            context = context[:, 1:]
        state = stream.prefill(context, tiny_control(stream.model.config, 2))
        generator, blocks = torch.Generator().manual_seed(5), []
        for _ in range(4):
            noise = lmdm_ref.token_noise(stream, 2, generator, torch.float64)
            blocks.append(stream.generate(noise, state))
            state = stream.commit(blocks[-1], state)
        made.append(torch.cat(blocks, dim=1))
    assert torch.equal(*made)
    frames = plain.geometry.block_frames
    assert graphs.num_graphs == (1 + frames if name == "lmm-encoder-decoder" else 1)


@pytest.mark.gpu
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("attention", ["range", "triton"])
def test_a_replay_is_bit_equal_to_eager_and_allocates_nothing(
    scheme: type[lmdm_ref.DiffusionStream[Any]], attention: str
) -> None:
    from lmdm_bench.model_parts import KERNELS

    config = lmdm_ref.DecoderConfig(**{**vars(TINY), "width": 128, "cross_width": 128})
    decoder = lmdm_ref.random_decoder(config, 0, torch.bfloat16, "cuda", *KERNELS[attention])
    graphs = Graphs(cuda_capture, has_moving_plans=attention == "triton")
    made = []
    for execute in (lmdm_ref.execute, graphs):
        stream = scheme(decoder, WINDOW, EULER, execute=execute)
        prompt = tiny_conditioning(2)
        prompt = lmdm_ref.Conditioning(prompt.text.cuda(), prompt.seconds.cuda())
        state = stream.prefill(tiny_latents(2, 12).cuda().float(), prompt)
        made.append([])
        for index in range(BLOCKS):
            noise = seeded(index, 1, 2, stream.noise_frames, TINY.latent_channels)
            block = stream.generate(noise.cuda().float(), state)
            state = stream.commit(block, state)
            made[-1].append(block)
    for eager, graphed in zip(*made, strict=True):
        assert torch.equal(eager, graphed)
    graph = next(iter(graphs._graphs.values()))
    torch.cuda.synchronize()
    before = torch.cuda.memory_stats()["allocation.all.allocated"]
    graph.replay()
    torch.cuda.synchronize()
    assert torch.cuda.memory_stats()["allocation.all.allocated"] == before


def test_the_captured_again_attention_is_the_plan_s_own() -> None:
    plan = (lmdm_ref.plan_row(lmdm_ref.Span(0, 3), [lmdm_ref.Span(0, 2), lmdm_ref.Span(4, 6)]),)
    query, key, value = seeded(0, 1, 2, 3, 8), seeded(1, 1, 2, 7, 8), seeded(2, 1, 2, 7, 8)
    expected = lmdm_ref.attend_dense(query, key, value, plan)
    moving = lmdm_kernels.MovingPlan(plan)
    assert (attend_by_table(query, key, value, moving) - expected).abs().max() < 1e-12
    assert dense_mask(plan, 7).sum() == 3 * 4
