"""Whoever runs a token stream's networks gets every one of them; diffusion: test_evaluation."""

from typing import Any

import pytest
import torch
from torch import Tensor

from helpers import HostIsWatched
from lmdm_ref.execute import Network, execute
from lmdm_ref.token_stream import TokenStream, token_noise
from lmm_helpers import TINY_TOKEN_SCHEMES, control_of, tiny_control, tiny_tokens

BLOCKS = 3


def blocks_of(stream: TokenStream[Any]) -> Tensor:
    context = tiny_tokens(stream, 2, stream.geometry.context_frames)
    state = stream.prefill(context, tiny_control(stream.model.config, 2))  # type: ignore[attr-defined]
    generator, made = torch.Generator().manual_seed(5), []
    for _ in range(BLOCKS):
        made.append(stream.generate(token_noise(stream, 2, generator, torch.float64), state))
        state = stream.commit(made[-1], state)
    return torch.cat(made, dim=1)


def test_execute_calls_the_network_with_the_evaluation() -> None:
    assert torch.equal(execute(lambda given: given + 1, torch.zeros(2)), torch.ones(2))


@pytest.mark.parametrize("name", TINY_TOKEN_SCHEMES)
def test_the_encoding_and_each_frame_go_through_execute(name: str) -> None:
    """And give the same tokens again when they are run twice, as before a graph is captured."""
    plain = TINY_TOKEN_SCHEMES[name]().stream
    calls: list[Network] = []

    def twice(network: Network, evaluation: Any) -> Tensor:
        calls.append(network)
        once = network(evaluation)
        assert torch.equal(network(evaluation), once)
        return once

    stream = type(plain)(plain.model, plain.geometry, plain.sampler, execute=twice)
    assert torch.equal(blocks_of(stream), blocks_of(plain))
    is_encoding = name == "lmm-encoder-decoder"
    assert len(calls) == BLOCKS * (is_encoding + plain.geometry.block_frames)


@pytest.mark.parametrize("name", TINY_TOKEN_SCHEMES)
def test_tokens_are_made_without_a_word_to_the_host(name: str) -> None:
    """On tensors without numbers, where reading one raises; what is copied to the device once for
    a model is there after the first block."""
    plain = TINY_TOKEN_SCHEMES[name]().stream
    stream = type(plain)(plain.model.to("meta"), plain.geometry, plain.sampler)
    with torch.device("meta"):
        context = torch.empty(2, stream.geometry.context_frames, stream.geometry.num_levels).long()
        control = control_of(tiny_control(stream.model.config, 2), lambda codes: codes.to("meta"))
        state = stream.prefill(context, control)
        shape = (stream.geometry.block_frames, stream.geometry.num_levels, 2, stream.codebook_size)
        noise = torch.empty(shape)
    stream.generate(noise, state)
    with HostIsWatched() as watch:
        stream.generate(noise, state)
    assert watch.seen == []
