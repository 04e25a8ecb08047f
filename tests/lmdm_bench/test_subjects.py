"""The one door: names are checked, costed and built, whichever kind of model is behind them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import lmdm_kernels
import records
from lmdm_bench import subjects
from lmdm_bench.diffusion_subject import DiffusionSubject
from lmdm_bench.errors import InputError, UnsupportedError
from lmdm_bench.lmm_subject import LMMSubject
from lmdm_bench.record import Ceiling
from lmdm_bench.request import Request
from lmdm_bench.subjects import (
    DIFFUSION_SCHEMES,
    LMM_SCHEMES,
    SCHEMES,
    WORKSPACE_BYTES,
    Model,
    cost_of,
    preset_of,
    scheme_of,
    validate,
    workload_of,
)
from tiny_run import FIVE, HEARD, LMM_REQUEST, REQUEST

CEILING = records.CPU_CEILING
# The paper's setting, and the published LMMs'.
PAPER = replace(
    FIVE,
    model="sao-small",
    context_frames=192,
    block_frames=48,
    steps=8,
    lmm_models=(),
    dtype="bfloat16",
)


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("this model was built")


# --- Validation ------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", [REQUEST, LMM_REQUEST, FIVE, PAPER])
def test_what_makes_sense_passes(request_: Request) -> None:
    validate(request_)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"schemes": ()}, InputError, "no scheme to run; there are outpaint, .*lmm-frame-wise"),
        ({"schemes": ("causal",)}, InputError, "unknown scheme 'causal'; there are outpaint"),
        ({"schemes": ("outpaint", "outpaint")}, InputError, "named twice"),
        ({"model": "big"}, InputError, "unknown model 'big'; there are sao-small"),
        ({"model": "mrt1-tiny"}, InputError, "unknown model 'mrt1-tiny'; there are sao-small"),
        ({"sampler": "heun"}, InputError, "unknown sampler 'heun'; there are pingpong"),
        ({"attention": "flash"}, InputError, "unknown attention 'flash'; there are range"),
        ({"attention": "triton"}, UnsupportedError, "attention 'triton' cannot run on a CPU"),
        ({"is_graphed": True}, UnsupportedError, "captures CUDA graphs, and the device is cpu"),
        ({"context_frames": 10}, InputError, "10 context . 3 block frames is not a whole number"),
        ({"context_frames": 0}, InputError, "context_frames must be at least 1, got 0"),
        ({"block_frames": 0}, InputError, "block_frames must be at least 1, got 0"),
        ({"steps": 0}, InputError, "steps must be at least 1, got 0"),
        ({"guidance_scale": float("nan")}, InputError, "guidance must be a finite number"),
        ({"seed": -1}, InputError, "seed must not be negative"),
        ({"lmm_models": ("mrt2",)}, InputError, "unknown LMM model 'mrt2'; there are mrt1-large"),
        ({"lmm_models": ("mrt1-base", "mrt1-tiny")}, InputError, "runs one model, got mrt1-base"),
        ({"lmm_levels": 5}, InputError, "mrt1-tiny takes 2 to 4 levels, got 5"),
        ({"lmm_levels": 1}, InputError, "mrt1-tiny takes 2 to 4 levels, got 1"),
        ({"lmm_context_frames": 0}, InputError, "context_frames must be at least 1, got 0"),
        ({"lmm_block_frames": -1}, InputError, "block_frames must be at least 1, got -1"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_in_a_sentence(
    change: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        validate(replace(FIVE, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (replace(REQUEST, lmm_models=("mrt2-tiny",)), "which is not among the schemes"),
        (replace(REQUEST, lmm_levels=3), "no LMM scheme is to be run"),
        (
            replace(LMM_REQUEST, checkpoint=Path("folder/weights.ckpt")),
            "weights.ckpt is given, but no diffusion scheme is to be run",
        ),
    ],
)
def test_what_would_be_ignored_is_refused(request_: Request, words: str) -> None:
    with pytest.raises(InputError, match=words):
        validate(request_)


def test_the_kernels_are_asked_about_every_head_of_every_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[object, ...]] = []

    def supports(*given: object) -> lmdm_kernels.Support:
        asked.append(given)
        return lmdm_kernels.Support()

    monkeypatch.setattr(lmdm_kernels, "supports", supports)
    request = replace(PAPER, device="cuda", attention="triton", is_graphed=True)
    validate(request)
    half = torch.bfloat16
    assert set(asked) == {("cuda", half, 128), ("cuda", half, 64)}
    monkeypatch.setattr(lmdm_kernels, "supports", lambda *_: lmdm_kernels.Support("it is old"))
    with pytest.raises(UnsupportedError, match="'triton' cannot run outpaint: it is old"):
        validate(request)


def test_levels_of_a_scheme_that_is_not_run_do_not_matter() -> None:
    only = replace(LMM_REQUEST, schemes=LMM_SCHEMES[1:], lmm_models=("mrt2-tiny",), lmm_levels=1)
    validate(only)


# --- Names, workloads and costs --------------------------------------------------------------


def test_each_scheme_runs_the_preset_of_its_kind() -> None:
    assert [preset_of(FIVE, scheme) for scheme in SCHEMES] == [
        "tiny",
        "tiny",
        "tiny",
        "mrt1-tiny",
        "mrt2-tiny",
    ]
    assert [preset_of(PAPER, scheme) for scheme in LMM_SCHEMES] == ["mrt1-large", "mrt2-small"]
    assert scheme_of("mrt2-base") == "lmm-frame-wise"


def test_a_workload_names_its_scheme_and_preset() -> None:
    for scheme in SCHEMES:
        work = workload_of(PAPER, scheme)
        assert (work.scheme, work.model) == (scheme, preset_of(PAPER, scheme))
        assert (work.steps is None) == (scheme in LMM_SCHEMES) == (work.num_levels is not None)


@pytest.mark.parametrize("request_", [PAPER, FIVE, replace(PAPER, guidance_scale=3.0)])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_cost_s_parts_sum_to_the_whole(request_: Request, scheme: str) -> None:
    cost = cost_of(request_, scheme, CEILING)
    parts = cost.flops_projections + cost.flops_attention + cost.flops_head
    assert parts == cost.flops_per_block
    parts = cost.bytes_weights + cost.bytes_cache_read + cost.bytes_cache_written
    assert parts == cost.bytes_per_block
    at_least = max(
        cost.flops_per_block / CEILING.flops_per_second,
        cost.bytes_per_block / CEILING.bytes_per_second,
    )
    assert cost.bound_ms >= 1e3 * at_least * (1 - 1e-12)
    assert cost.sequential_steps >= 1
    assert (cost.codec is None) == (scheme in LMM_SCHEMES)


def test_costs_are_the_paper_s() -> None:
    costs = [cost_of(PAPER, scheme, CEILING) for scheme in SCHEMES]
    assert [cost.evaluations for cost in costs] == [8, 8, 8, 800, 600]
    assert [cost.sequential_steps for cost in costs] == [8, 9, 8, 851, 650]
    assert [cost.frames_per_block for cost in costs] == [1920, 576, 432, 1856, 650]
    assert [cost.encode_rows for cost in costs] == [0, 192, 48, 1006, 0]
    millions = [round(cost.parameters / 1e6, 1) for cost in costs]
    assert millions[:3] == [340.9] * 3
    assert millions[3:] == [pytest.approx(761.6, rel=0.005), pytest.approx(229.73, rel=0.005)]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_footprint_is_weights_in_the_run_s_dtype_and_what_lives_beside_them(scheme: str) -> None:
    half, full = (
        cost_of(replace(PAPER, dtype=dtype), scheme, CEILING) for dtype in ("bfloat16", "float32")
    )
    assert half.footprint.weight_bytes == 2 * half.parameters
    assert full.footprint.weight_bytes == 4 * full.parameters
    assert half.footprint.cache_bytes < full.footprint.cache_bytes
    assert half.footprint.workspace_bytes == WORKSPACE_BYTES["cpu"]
    found = half.footprint
    parts = found.weight_bytes + found.cache_bytes + found.activation_bytes
    assert found.peak_bytes == parts + found.workspace_bytes


def test_a_device_s_index_does_not_change_its_workspace() -> None:
    second = cost_of(replace(REQUEST, device="cuda:1"), "outpaint", CEILING)
    assert second.footprint.workspace_bytes == WORKSPACE_BYTES["cuda"]


def test_a_faster_machine_has_a_lower_bound() -> None:
    faster = Ceiling(CEILING.dtype, 2 * CEILING.flops_per_second, 2 * CEILING.bytes_per_second)
    for scheme in SCHEMES:
        slow, fast = (cost_of(PAPER, scheme, one).bound_ms for one in (CEILING, faster))
        assert fast == pytest.approx(slow / 2)


def test_the_ceiling_knows_the_product_that_the_layers_use() -> None:
    (make,) = subjects.products(REQUEST)
    assert make(16, torch.float32, torch.device("cpu"))() is None
    assert subjects.products(replace(REQUEST, dtype="float16")) == ()


# --- Models ----------------------------------------------------------------------------------


def test_all_five_schemes_are_built_from_one_request_and_right() -> None:
    model = Model(FIVE)
    model.encode(HEARD)
    for scheme in SCHEMES:
        cost = cost_of(FIVE, scheme, CEILING)
        one = model.subject(scheme, cost)
        kind = LMMSubject if scheme in LMM_SCHEMES else DiffusionSubject
        assert isinstance(one, kind)
        assert one.workload == workload_of(FIVE, scheme)
        assert one.cost is cost
        assert one.check().is_within_budget


def test_without_diffusion_schemes_no_decoder_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subjects, "DiffusionModel", refuse)
    model = Model(LMM_REQUEST)
    model.encode(HEARD)  # heard by nobody
    assert model.weights == "random, seed 0"
    assert model.linear.value in ("packed", "plain")
    with pytest.raises(AssertionError, match="this model was built"):
        Model(FIVE)


def test_only_the_lmms_that_are_asked_for_are_built(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    original = subjects.LMMModel

    def recording(request: Request, scheme: str) -> object:
        built.append(scheme)
        return original(request, scheme)

    monkeypatch.setattr(subjects, "LMMModel", recording)
    Model(REQUEST, has_codec=False)
    assert built == []
    Model(FIVE, has_codec=False)
    assert built == list(LMM_SCHEMES)


@pytest.mark.parametrize("has_codec", [True, False])
def test_a_model_s_codec_is_built_where_it_is_wanted(
    has_codec: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(
        subjects, "DiffusionModel", lambda request, *, has_codec: asked.append(has_codec)
    )
    Model(REQUEST, has_codec=has_codec)
    assert asked == [has_codec]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_subject_s_own_request_may_differ_in_lengths(scheme: str) -> None:
    model = Model(FIVE, has_codec=False)
    other = replace(FIVE, context_frames=6, lmm_context_frames=3, lmm_block_frames=2)
    cost = cost_of(other, scheme, CEILING)
    one = model.subject(scheme, cost, other)
    assert one.workload == workload_of(other, scheme) != workload_of(FIVE, scheme)


@pytest.mark.parametrize("scheme", DIFFUSION_SCHEMES)
def test_diffusion_schemes_share_their_weights(scheme: str) -> None:
    model = Model(REQUEST, has_codec=False)
    decoders = [
        model.subject(one, cost_of(REQUEST, one, CEILING))._stream.decoder  # type: ignore[union-attr]
        for one in (scheme, "outpaint")
    ]
    assert decoders[0] is decoders[1]
