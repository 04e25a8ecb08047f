"""Stages add up to the cost that records hold, and launches to what PyTorch dispatches."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import lmdm_ref
from lmdm_bench import subjects
from lmdm_bench.clock import Stopwatch, synchroniser
from lmdm_bench.record import Ceiling, Workload
from lmdm_bench.request import Request
from lmdm_bench.roofline import PassWork
from lmdm_bench.stage_cost import (
    CODEC,
    CODEC_ACTIVATION_MOVES,
    CODEC_LAUNCHES,
    ENCODE,
    STEPS,
    codec_bytes,
    stages_of,
)
from tiny_run import FIVE

CEILING = Ceiling("bfloat16", 1e12, 1e11)
PAPER = replace(
    FIVE,
    model="sao-small",
    context_frames=192,
    block_frames=48,
    steps=8,
    lmm_models=(),
    lmm_context_frames=None,
    lmm_block_frames=None,
    lmm_levels=None,
    dtype="bfloat16",
)
# Operations that only look at a tensor in another way launch nothing.
VIEWS = frozenset(
    (
        *("view", "transpose", "unsqueeze", "slice", "expand", "permute", "t", "select", "split"),
        *("alias", "detach", "_unsafe_view", "squeeze", "unbind", "as_strided", "chunk", "narrow"),
        *("split_with_sizes", "lift_fresh", "_reshape_alias", "empty", "empty_like", "new_empty"),
        "promote_types",
    )
)
# What the counted constants may be off by: the sampler, noise and a commit are not per layer.
LAUNCHES_TOLERANCE = 0.15


class Launches(TorchDispatchMode):
    """Counts operations, and the numbers that go into and come out of them."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # In inference mode an operation that is made of others comes as one.
        with self:
            result = func.decompose(*args, **(kwargs or {}))
        if result is not NotImplemented:
            return result
        result = func(*args, **(kwargs or {}))
        if func.name().partition("::")[2].partition(".")[0] not in VIEWS:
            self.count += 1
            leaves = torch.utils._pytree.tree_leaves((args, kwargs, result))
            self.numbers += sum(one.numel() for one in leaves if isinstance(one, torch.Tensor))
        return result


def works(workload: Workload, *names: str) -> list[PassWork]:
    return [
        one for stage in stages_of(workload, "cpu") if stage.name in names for one in stage.passes
    ]


def summed(all_works: list[PassWork], name: str) -> float:
    return sum(one.count * getattr(one, name) for one in all_works)


@pytest.mark.parametrize("scheme", subjects.SCHEMES)
@pytest.mark.parametrize(
    "change",
    [{}, {"guidance_scale": 3.0}, {"sampler": "pingpong++"}, {"dtype": "float32", "steps": 1}],
)
def test_stages_add_up_to_the_cost_of_a_block(scheme: str, change: dict[str, Any]) -> None:
    request = replace(PAPER, **change)
    workload = subjects.workload_of(request, scheme)
    cost = subjects.cost_of(request, scheme, replace(CEILING, dtype=request.dtype))
    model = works(workload, ENCODE, STEPS)
    flops = summed(model, "flops_matrix") + summed(model, "flops_attention")
    assert flops == pytest.approx(cost.flops_per_block)
    assert summed(model, "num_bytes") == pytest.approx(cost.bytes_per_block)
    assert sum(one.count for one in model) == cost.sequential_steps
    assert all(one.bytes_reread <= one.num_bytes for one in model)
    assert all(sum(part for _, part in one.products) == pytest.approx(1) for one in model)
    codec = works(workload, CODEC)
    assert [one.flops_codec for one in codec] == (
        [] if cost.codec is None else [float(cost.codec.flops_per_block)]
    )


@pytest.mark.parametrize(
    ("scheme", "names"),
    [
        ("outpaint", [STEPS, CODEC]),
        ("encoder-decoder", [ENCODE, STEPS, CODEC]),
        ("block-causal", [STEPS, CODEC]),
        ("lmm-encoder-decoder", [ENCODE, STEPS]),
        ("lmm-frame-wise", [STEPS]),
    ],
)
def test_stages_are_those_that_a_run_times(scheme: str, names: list[str]) -> None:
    found = stages_of(subjects.workload_of(PAPER, scheme), "cpu")
    assert [one.name for one in found] == names


def test_only_a_depth_decoder_small_enough_stays_in_a_cache() -> None:
    small = works(subjects.workload_of(PAPER, "lmm-frame-wise"), STEPS)
    temporal, first, *later = small
    a_level = 12e6 * 2 * 1.5
    assert all(one.bytes_between < a_level for one in later)
    assert min(temporal.bytes_between, first.bytes_between) > 300e6
    assert all(one.bytes_reread < one.num_bytes for one in later), "each level has its own head"


def test_a_gpu_moves_the_codec_s_activations_and_a_cpu_does_not() -> None:
    workload = subjects.workload_of(PAPER, "outpaint")
    moved = {
        device: stages_of(workload, device)[-1].passes[0].num_bytes for device in ("cpu", "cuda")
    }
    assert moved["cuda"] > 20 * moved["cpu"] == pytest.approx(20 * 2 * 78.04e6, rel=1e-3)


def test_an_lmm_has_no_codec_to_hold() -> None:
    assert codec_bytes(subjects.workload_of(PAPER, "lmm-frame-wise")) == 0
    diffusion = subjects.workload_of(PAPER, "block-causal")
    assert (
        2 * 156_077_696
        < codec_bytes(diffusion)
        < 2 * codec_bytes(replace(diffusion, block_frames=24))
    )


@pytest.mark.parametrize("scheme", subjects.SCHEMES)
@pytest.mark.parametrize("depth", [2, 5])
def test_launches_are_what_pytorch_dispatches(
    monkeypatch: pytest.MonkeyPatch, scheme: str, depth: int
) -> None:
    request = _deepened(monkeypatch, replace(FIVE, steps=4), depth)
    workload = subjects.workload_of(request, scheme)
    subject = subjects.Model(request, has_codec=False).subject(
        scheme, subjects.cost_of(request, scheme, CEILING)
    )
    subject.prefill()
    counted = Launches()
    with counted:
        subject.make_block(Stopwatch(synchroniser("cpu")))
    predicted = summed(works(workload, ENCODE, STEPS), "launches")
    assert predicted == pytest.approx(counted.count, rel=LAUNCHES_TOLERANCE)


def test_the_codec_s_launches_and_moves_are_what_pytorch_dispatches() -> None:
    config = lmdm_ref.PRESETS["sao-small"].codec
    with torch.device("meta"):
        codec = lmdm_ref.codec.Codec(config)
    counted = Launches()
    with counted:
        codec.decode(torch.zeros(1, 12, config.latent_channels, device="meta"))
    steps, activations = 12, 0
    for narrow, stride in zip(config.widths[-2::-1], config.strides[::-1], strict=True):
        steps *= stride
        activations += steps * narrow
    weights = sum(one.numel() for one in codec.decoder.parameters())
    assert counted.count == pytest.approx(CODEC_LAUNCHES, rel=LAUNCHES_TOLERANCE)
    assert (counted.numbers - weights) / activations == pytest.approx(
        CODEC_ACTIVATION_MOVES, rel=LAUNCHES_TOLERANCE
    )


def _deepened(monkeypatch: pytest.MonkeyPatch, request: Request, depth: int) -> Request:
    """The tiny presets with so many layers in each stack."""
    preset = lmdm_ref.PRESETS["tiny"]
    deeper = replace(preset, decoder=replace(preset.decoder, depth=depth))
    monkeypatch.setitem(lmdm_ref.PRESETS, "tiny", deeper)
    for name in ("mrt1-tiny", "mrt2-tiny"):
        config = lmdm_ref.LMM_PRESETS[name]
        stacks = [one for one in ("encoder", "temporal", "depth_decoder") if hasattr(config, one)]
        changed = {one: replace(getattr(config, one), depth=depth) for one in stacks}
        monkeypatch.setitem(lmdm_ref.LMM_PRESETS, name, replace(config, **changed))
    return request
