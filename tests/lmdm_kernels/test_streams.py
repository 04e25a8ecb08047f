"""The schemes through the kernels: a whole decoder streams, in Triton's interpreter."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import lmdm_kernels
import lmdm_ref
from helpers import (
    EULER,
    WINDOW,
    HostIsWatched,
    Scheme,
    assert_within_budget,
    captured_again,
    check_stream_within_budget,
    seeded,
    tiny_conditioning,
    tiny_latents,
)
from lmdm_bench.graphs import Graphs
from lmdm_kernels.support import INTERPRETER, Support
from lmdm_ref.arena import Span
from lmdm_ref.plan import block_causal_plan, encoder_decoder_plan, with_token
from lmdm_ref.presets import TINY

# The smallest decoder whose heads the kernels take: two of 32.
CONFIG = replace(TINY, width=64, cross_width=32, feed_forward_width=64)
INTERPRETED = pytest.mark.skipif(
    torch.cuda.is_available(),
    reason="in the interpreter; on a GPU test_graphs and the check of every run stream instead",
)
SCHEMES: dict[str, tuple[type[lmdm_ref.DiffusionStream[Any]], type[Any]]] = {
    "outpaint": (lmdm_ref.Outpaint, lmdm_ref.OutpaintOracle),
    "encoder-decoder": (lmdm_ref.EncoderDecoder, lmdm_ref.EncoderDecoderOracle),
    "block-causal": (lmdm_ref.BlockCausal, lmdm_ref.BlockCausalOracle),
}


def decoder(
    dtype: torch.dtype = torch.float32, device: str = "cpu", *, has_kernels: bool = True
) -> lmdm_ref.DiffusionDecoder:
    kernels = (lmdm_kernels.attend, lmdm_kernels.prologue) if has_kernels else ()
    return lmdm_ref.random_decoder(CONFIG, 0, dtype, device, *kernels)


def scheme_of(name: str, dtype: torch.dtype, execute: lmdm_ref.Execute) -> Scheme[Any]:
    stream, oracle = SCHEMES[name]
    plain = decoder(dtype, has_kernels=False)
    return Scheme(
        stream(decoder(dtype), WINDOW, EULER, execute=execute),
        oracle(plain, WINDOW, EULER),
        oracle(plain, WINDOW, EULER, dtype),
    )


@INTERPRETED
@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, torch.float32) for name in SCHEMES), ("block-causal", torch.float16)],
    ids=str,
)
def test_a_stream_through_the_kernels_equals_one_shot(name: str, dtype: torch.dtype) -> None:
    """Against its oracle in float64, which knows neither kernels nor caches; a ring evicts from the
    second block on."""
    check_stream_within_budget(scheme_of(name, dtype, lmdm_ref.execute), blocks_made=3)


def blocks_of(stream: lmdm_ref.DiffusionStream[Any], count: int) -> Tensor:
    """From one block on, for a ring, until it has turned."""
    is_ring = isinstance(stream, lmdm_ref.BlockCausal)
    heard = WINDOW.block_frames if is_ring else WINDOW.context_frames
    prompt = tiny_conditioning(1)
    prompt = lmdm_ref.Conditioning(prompt.text.float(), prompt.seconds.float())
    state = stream.prefill(tiny_latents(1, heard).float(), prompt)
    made = []
    for index in range(count):
        noise = seeded(index, 1, 1, stream.noise_frames, CONFIG.latent_channels).float()
        made.append(stream.generate(noise, state))
        state = stream.commit(made[-1], state)
    return torch.cat(made, dim=1)


@INTERPRETED
@pytest.mark.parametrize("name", SCHEMES)
def test_replays_of_one_graph_are_bit_equal_to_eager_launches(name: str) -> None:
    stream, _ = SCHEMES[name]
    graphs = Graphs(captured_again, has_moving_plans=True)
    one = decoder()
    eager = blocks_of(stream(one, WINDOW, EULER), 7)
    assert torch.equal(blocks_of(stream(one, WINDOW, EULER, execute=graphs), 7), eager)
    assert graphs.num_graphs == (1 if name == "outpaint" else 2)


@INTERPRETED
def test_cached_keys_give_what_recomputing_all_of_them_gives() -> None:
    """One pass of the kernels over everything, under the plans of both cached schemes, beside the
    cached steps of the kernels."""
    one, plain = decoder(), decoder(torch.float64, has_kernels=False)
    block, window = WINDOW.block_frames, WINDOW.window_frames
    plans = {
        "encoder-decoder": encoder_decoder_plan(WINDOW),
        "block-causal": with_token(block_causal_plan(5, block, 4)),
    }
    for name, plan in plans.items():
        stream, oracle = SCHEMES[name]
        scheme = stream(one, WINDOW, replace_steps(EULER))
        latents, prompt = tiny_latents(1, WINDOW.context_frames).float(), tiny_conditioning(1)
        noise = seeded(3, 1, 1, block, CONFIG.latent_channels).float()
        cached = scheme.generate(noise, scheme.prefill(latents, prompt))
        # One step goes from noise to noise − velocity; the same velocity, recomputed in one pass.
        conditioning = one.encode_conditioning(prompt)
        rows = [
            one.clean_rows(latents),
            one.noisy_rows(noise[0]),
            one.token_row(one.noise_level(1.0), conditioning),
        ]
        whole = one.plan_pass(
            positions=(range(1, window + 1), range(1)),
            plan=plan,
            outputs=Span(WINDOW.context_frames, window),
            cache=None,
            places=(Span(0, window + 1),),
        )
        outputs = one.run(torch.cat(rows, dim=1), whole, conditioning)
        recomputed = noise[0] - one.velocity(outputs, noise[0])
        truth = oracle(plain, WINDOW, replace_steps(EULER)).block(noise, latents, prompt)
        assert_within_budget(cached, recomputed, truth)
        assert_within_budget(recomputed, cached, truth)


def replace_steps(sampler: lmdm_ref.Sampler) -> lmdm_ref.Sampler:
    return lmdm_ref.euler_sampler(lmdm_ref.linear_sigmas(1), sampler.guidance_scale)


@pytest.fixture
def _meta_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors without numbers pass the door, as if they were a GPU's."""
    monkeypatch.setattr("lmdm_kernels.api.supports", lambda *_: Support())
    monkeypatch.setattr("lmdm_kernels.api.card_of", lambda _: INTERPRETER)
    monkeypatch.setattr("lmdm_kernels.ops.card_of", lambda _: INTERPRETER)


@pytest.mark.usefixtures("_meta_is_a_gpu")
@pytest.mark.parametrize("name", SCHEMES)
def test_blocks_are_made_without_a_word_to_the_host(name: str) -> None:
    """Once every plan has its table, nothing is copied to the device and nothing is read from
    it."""
    stream = SCHEMES[name][0](decoder(device="meta"), WINDOW, EULER)
    prompt = tiny_conditioning(1)
    prompt = lmdm_ref.Conditioning(prompt.text.to("meta"), prompt.seconds.to("meta"))
    context = torch.empty(1, WINDOW.context_frames, CONFIG.latent_channels, device="meta")
    state = stream.prefill(context, prompt)
    noise = torch.empty(1, 1, stream.noise_frames, CONFIG.latent_channels, device="meta")
    watch = HostIsWatched()
    for index in range(12):
        if index == 6:
            watch.__enter__()
        state = stream.commit(stream.generate(noise, state), state)
    watch.__exit__(None, None, None)
    assert watch.seen == []


class OperationsAreCounted(TorchDispatchMode):
    """Counts operations that compute or copy; what gives a view of its argument does not."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        self.count += not (func.is_view or func.name() in ("aten::unflatten.int", "aten::mT"))
        return func(*args, **(kwargs or {}))


@pytest.mark.usefixtures("_meta_is_a_gpu")
def test_a_step_through_the_kernels_is_less_than_half_as_many_operations() -> None:
    """At the paper's size; each is a launch of the host's where no graph is captured."""
    counts: dict[bool, int] = {}
    for has_kernels in (True, False):

        def counted(network: lmdm_ref.Network, evaluation: Any) -> Tensor:
            with OperationsAreCounted() as operations:
                made: Tensor = network(evaluation)
            counts[has_kernels] = operations.count  # noqa: B023 - called within the loop
            return made

        kernels = (lmdm_kernels.attend, lmdm_kernels.prologue) if has_kernels else ()
        config = lmdm_ref.PRESETS["sao-small"].decoder
        whole = lmdm_ref.random_decoder(config, 0, torch.bfloat16, "meta", *kernels)
        paper = replace(WINDOW, samples_per_frame=2048, context_frames=192, block_frames=48)
        stream = lmdm_ref.BlockCausal(whole, paper, EULER, execute=counted)
        with torch.device("meta"), torch.inference_mode():
            prompt = lmdm_ref.Conditioning(torch.empty(1, 65, 768), torch.empty(1, 768))
            state = stream.prefill(torch.empty(1, 192, 64), prompt)
            stream.generate(torch.empty(1, 1, 48, 64), state)
    assert counts[True] < counts[False] / 2
    # Each of 16 layers has at least its six products, two attentions, prologue and three norms.
    assert counts[True] > 16 * 12
