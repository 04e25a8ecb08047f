"""The one door to the models: names and numbers become streams that can be run.

Behind it stand ``diffusion_subject.py``, ``lmm_subject.py`` and what the two share; nothing else in
``lmdm_bench`` imports ``lmdm_ref`` or ``lmdm_kernels``.
"""

import math
from collections.abc import Callable

import torch

import lmdm_kernels
import lmdm_ref
from lmdm_bench import diffusion_subject, lmm_subject
from lmdm_bench.diffusion_subject import (
    DIFFUSION_SCHEMES,
    MODELS,
    MS_PER_SECOND,
    SAMPLERS,
    DiffusionModel,
    DiffusionSubject,
    Samples,
    geometry_of,
)
from lmdm_bench.errors import InputError, UnsupportedError
from lmdm_bench.lmm_subject import (
    LMM_MODELS,
    LMM_SCHEMES,
    LMMModel,
    LMMSubject,
    level_range,
    scheme_of,
)
from lmdm_bench.model_parts import KERNELS, packed_product, torch_dtype
from lmdm_bench.record import Ceiling, Choice, Cost, Footprint, Workload
from lmdm_bench.request import Request

__all__ = [
    "DIFFUSION_SCHEMES",
    "LMM_MODELS",
    "LMM_SCHEMES",
    "MODELS",
    "SCHEMES",
    "Model",
    "SomeSubject",
    "cost_of",
    "geometry_of",
    "level_range",
    "preset_of",
    "products",
    "scheme_of",
    "validate",
    "workload_of",
]

SCHEMES = (*DIFFUSION_SCHEMES, *LMM_SCHEMES)

SomeSubject = DiffusionSubject | LMMSubject

# What torch and its libraries hold beside a stream once it runs, by device: code that was not
# touched before, threads, scratch memory. Measured on a CPU with tiny models; on CUDA it is the
# documented workspace of cuBLAS on Hopper (8 MiB before), and unproved.
WORKSPACE_BYTES = {"cpu": 24 << 20, "cuda": 32 << 20, "mps": 0}


def validate(request: Request) -> None:
    """Raises InputError or UnsupportedError with one sentence; builds nothing."""
    if not request.schemes:
        raise InputError(f"no scheme to run; there are {', '.join(SCHEMES)}")
    for scheme in request.schemes:
        _known("scheme", scheme, SCHEMES)
    if len(set(request.schemes)) < len(request.schemes):
        raise InputError(f"a scheme is named twice: {', '.join(request.schemes)}")
    _known("model", request.model, MODELS)
    _known("sampler", request.sampler, SAMPLERS)
    _known("attention", request.attention, tuple(KERNELS))
    if request.attention == "triton":
        _check_kernels(request)
    if request.is_graphed:
        _check_graphs(request)
    if not math.isfinite(request.guidance_scale):
        raise InputError(f"guidance must be a finite number, got {request.guidance_scale}")
    if request.seed < 0:
        raise InputError(f"seed must not be negative, got {request.seed}")
    lmm_subject.check_lmm_models(request)
    is_diffusion_run = any(scheme in DIFFUSION_SCHEMES for scheme in request.schemes)
    if request.checkpoint is not None and not is_diffusion_run:
        raise InputError(
            f"{request.checkpoint.name} is given, but no diffusion scheme is to be run"
        )
    try:
        geometry_of(request)
        diffusion_subject.sampler_of(request)
        for scheme in LMM_SCHEMES:
            if scheme in request.schemes:
                lmm_subject.lmm_geometry(request, scheme)
    except ValueError as error:
        raise InputError(str(error)) from error


def preset_of(request: Request, scheme: str) -> str:
    """The model that a scheme runs."""
    return lmm_subject.lmm_preset(request, scheme) if scheme in LMM_SCHEMES else request.model


def workload_of(request: Request, scheme: str) -> Workload:
    """One cell's axes."""
    if scheme in LMM_SCHEMES:
        return lmm_subject.lmm_workload(request, scheme)
    return diffusion_subject.diffusion_workload(request, scheme)


def cost_of(request: Request, scheme: str, ceiling: Ceiling) -> Cost:
    """What arithmetic says of one steady block, and what the machine's ceiling makes of it."""
    is_lmm = scheme in LMM_SCHEMES
    block, held, parameters = (
        lmm_subject.lmm_cost(request, scheme)
        if is_lmm
        else diffusion_subject.diffusion_cost(request, scheme)
    )
    bound = block.seconds_at_least(ceiling.flops_per_second, ceiling.bytes_per_second)
    return Cost(
        parameters=parameters,
        evaluations=block.evaluations,
        sequential_steps=block.sequential_steps,
        frames_per_block=block.frames,
        encode_rows=block.total("encode_rows"),
        step_rows=block.total("step_rows"),
        attention_pairs=block.total("pairs"),
        flops_per_block=block.total("flops"),
        flops_projections=block.total("flops_projections"),
        flops_attention=block.total("flops_attention"),
        flops_head=block.total("flops_head"),
        bytes_per_block=block.total("num_bytes"),
        bytes_weights=block.total("bytes_weights"),
        bytes_cache_read=block.total("bytes_cache_read"),
        bytes_cache_written=block.total("bytes_cache_written"),
        footprint=Footprint(
            weight_bytes=held.weights,
            cache_bytes=held.cache,
            activation_bytes=held.activations,
            workspace_bytes=WORKSPACE_BYTES[request.device.partition(":")[0]],
        ),
        bound_ms=bound * MS_PER_SECOND,
        codec=None if is_lmm else diffusion_subject.codec_cost(request, ceiling),
    )


def head_dims(request: Request, scheme: str) -> tuple[int, ...]:
    """The sizes of a head in the attention that a scheme runs."""
    if scheme in LMM_SCHEMES:
        return lmm_subject.lmm_head_dims(request, scheme)
    return (lmdm_ref.PRESETS[request.model].decoder.head_dim,)


def products(request: Request) -> tuple[Callable[..., Callable[[], None]], ...]:
    """The matrix products, besides torch's own, that a run's linear layers use."""
    weight = torch.empty(1, 1, dtype=torch_dtype(request), device=request.device)
    return (packed_product,) if lmdm_ref.why_not_packed(weight) is None else ()


class Model:
    """The weights that the cells of a run share: one diffusion model, and each LMM asked for."""

    def __init__(self, request: Request, *, has_codec: bool = True) -> None:
        """Raises InputError for a checkpoint that does not fit."""
        self._request = request
        self._diffusion: DiffusionModel | None = None
        if any(scheme in DIFFUSION_SCHEMES for scheme in request.schemes):
            self._diffusion = DiffusionModel(request, has_codec=has_codec)
        self._lmms = {
            scheme: LMMModel(request, scheme) for scheme in request.schemes if scheme in LMM_SCHEMES
        }

    @property
    def linear(self) -> Choice:
        return self._some.linear

    @property
    def weights(self) -> str:
        return self._some.weights

    def encode(self, samples: Samples) -> None:
        """Make the first context of every diffusion stream from samples [channels, samples]."""
        if self._diffusion is not None:
            self._diffusion.encode(samples)

    def subject(self, scheme: str, cost: Cost, request: Request | None = None) -> SomeSubject:
        """A stream of its own; ``request`` may differ from the model's in all but its weights."""
        asked = self._request if request is None else request
        if scheme in LMM_SCHEMES:
            return self._lmms[scheme].subject(asked, cost)
        assert self._diffusion is not None, "the request names no diffusion scheme"
        return self._diffusion.subject(asked, scheme, cost)

    @property
    def _some(self) -> DiffusionModel | LMMModel:
        return self._diffusion or next(iter(self._lmms.values()))


def _check_kernels(request: Request) -> None:
    """Raises UnsupportedError where the kernels cannot run what is asked for."""
    if request.device == "cpu":
        raise UnsupportedError(
            "attention 'triton' cannot run on a CPU, which has only Triton's interpreter, and that "
            "is for tests and never timed"
        )
    for scheme in request.schemes:
        for head_dim in head_dims(request, scheme):
            able = lmdm_kernels.supports(request.device, torch_dtype(request), head_dim)
            if not able:
                raise UnsupportedError(f"attention 'triton' cannot run {scheme}: {able.reason}")


def _check_graphs(request: Request) -> None:
    if request.device.partition(":")[0] != "cuda":
        raise UnsupportedError(f"--graph captures CUDA graphs, and the device is {request.device}")


def _known(kind: str, name: str, names: tuple[str, ...]) -> None:
    if name not in names:
        raise InputError(f"unknown {kind} {name!r}; there are {', '.join(names)}")
