"""All that differs between two evaluations of a network lies in their tensors and plans."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from helpers import (
    EULER,
    GUIDED,
    WINDOW,
    HostIsWatched,
    Scheme,
    tiny_block_causal,
    tiny_conditioning,
    tiny_encoder_decoder,
    tiny_latents,
    tiny_outpaint,
)
from lmdm_ref.block_causal import BlockCausal
from lmdm_ref.conditioning import Conditioning
from lmdm_ref.decoder import random_decoder
from lmdm_ref.encoder_decoder import EncoderDecoder
from lmdm_ref.evaluation import Evaluation
from lmdm_ref.execute import Network, execute
from lmdm_ref.outpaint import Outpaint
from lmdm_ref.presets import TINY
from lmdm_ref.sampler import Sampler
from lmdm_ref.stream import DiffusionStream, block_noise

SCHEMES: dict[str, Callable[[Sampler], Scheme[Any]]] = {
    "outpaint": tiny_outpaint,
    "encoder-decoder": tiny_encoder_decoder,
    "block-causal": tiny_block_causal,
}
STREAMS: tuple[type[DiffusionStream[Any]], ...] = (Outpaint, EncoderDecoder, BlockCausal)
BLOCKS = 6


def blocks_of(stream: DiffusionStream[Any]) -> Tensor:
    state = stream.prefill(tiny_latents(2, WINDOW.context_frames), tiny_conditioning(2))
    generator, made = torch.Generator().manual_seed(5), []
    for _ in range(BLOCKS):
        made.append(stream.generate(block_noise(stream, 2, generator, torch.float64), state))
        state = stream.commit(made[-1], state)
    return torch.cat(made, dim=1)


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("sampler", [EULER, GUIDED], ids=["plain", "guided"])
def test_all_that_a_block_computes_goes_through_execute(name: str, sampler: Sampler) -> None:
    """Steps and context encode: whoever passes an ``execute`` in gets each of them, and no other
    pass goes through the layers."""
    scheme = SCHEMES[name](sampler)
    expected = blocks_of(scheme.stream)
    seen: list[int] = []
    stream = type(scheme.stream)(
        scheme.stream.decoder,
        WINDOW,
        sampler,
        execute=lambda network, evaluation: (
            seen.append(evaluation.run.places.numel()) or execute(network, evaluation)
        ),
    )
    assert torch.equal(blocks_of(stream), expected)
    step, fused = WINDOW.block_frames + 1, 2 * WINDOW.block_frames + 1
    block = {
        "outpaint": [WINDOW.window_frames + 1] * 3,
        "encoder-decoder": [WINDOW.context_frames, step, step, step],
        "block-causal": [fused, step, step],
    }[name]
    assert seen == block * BLOCKS


@pytest.mark.parametrize("name", SCHEMES)
def test_an_evaluation_gives_the_same_rows_again(name: str) -> None:
    """Nothing moves between two runs of a network on the same evaluation: what it writes into the
    cache is what stands there already."""
    scheme = SCHEMES[name](EULER)

    def twice(network: Network, evaluation: Evaluation) -> Tensor:
        once = network(evaluation)
        assert torch.equal(network(evaluation), once)
        return once

    stream = type(scheme.stream)(scheme.stream.decoder, WINDOW, EULER, execute=twice)
    assert torch.equal(blocks_of(stream), blocks_of(scheme.stream))


def on_meta(stream_type: type[DiffusionStream[Any]]) -> tuple[DiffusionStream[Any], Any]:
    """A stream whose tensors have no numbers: reading one raises, as it would wait on a GPU."""
    decoder = random_decoder(TINY, seed=0, device="meta")
    stream = stream_type(decoder, WINDOW, GUIDED)
    prompt = tiny_conditioning(1)
    prompt = Conditioning(prompt.text.to("meta"), prompt.seconds.to("meta"))
    context = torch.empty(1, WINDOW.context_frames, TINY.latent_channels, device="meta")
    return stream, stream.prefill(context, prompt)


@pytest.mark.parametrize("stream_type", STREAMS)
def test_blocks_are_made_without_a_word_to_the_host(
    stream_type: type[DiffusionStream[Any]],
) -> None:
    """No tensor comes from the host and none is read there, the ring's turns included."""
    stream, state = on_meta(stream_type)
    shape = (1, 1, stream.noise_frames, TINY.latent_channels)
    with HostIsWatched() as watch:
        for _ in range(BLOCKS):
            block = stream.generate(torch.empty(shape, device="meta"), state)
            state = stream.commit(block, state)
    assert watch.seen == []


def test_the_watch_sees_what_comes_from_the_host() -> None:
    with HostIsWatched() as watch:
        torch.arange(3).to("meta")
    assert watch.seen
    with pytest.raises(RuntimeError):
        torch.empty(1, device="meta").item()
