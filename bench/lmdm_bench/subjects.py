"""The one door to the models: names and numbers become streams that can be run.

Nothing else in ``lmdm_bench`` imports ``lmdm_ref`` or ``lmdm_kernels``.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import lmdm_kernels
import lmdm_ref
from lmdm_bench.clock import Stopwatch
from lmdm_bench.errors import InputError, UnsupportedError
from lmdm_bench.record import Ceiling, Check, Choice, Cost, Workload

Samples = npt.NDArray[np.float32]

# The correctness check runs the real geometry at this depth, for this many steps and blocks: the
# second block of a block-causal stream is the first to evict one.
CHECK_DEPTH = 2
CHECK_STEPS = 2
CHECK_BLOCKS = 2
# A block may differ from the truth by twice what plain PyTorch in the same dtype differs, and by
# one rounding of the largest value (the rule of flash-attention's tests).
BUDGET_FACTOR = 2.0

MS_PER_SECOND = 1e3


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be run, in the user's words; ``validate`` refuses what does not make sense."""

    schemes: tuple[str, ...]
    model: str
    context_frames: int
    block_frames: int
    steps: int
    sampler: str
    guidance_scale: float
    dtype: str
    device: str
    attention: str
    checkpoint: Path | None
    seed: int


@dataclass(frozen=True)
class _Scheme:
    stream: type[Any]
    oracle: type[Any]
    # The stages that it has besides steps and codec; the others are part of a step, or nothing.
    own_stages: frozenset[str]


_SCHEMES = {
    "outpaint": _Scheme(lmdm_ref.Outpaint, lmdm_ref.OutpaintOracle, frozenset({"commit"})),
    "encoder-decoder": _Scheme(
        lmdm_ref.EncoderDecoder,
        lmdm_ref.EncoderDecoderOracle,
        frozenset({"context_encode", "commit"}),
    ),
    "block-causal": _Scheme(lmdm_ref.BlockCausal, lmdm_ref.BlockCausalOracle, frozenset()),
}
_ATTENTIONS: dict[str, lmdm_ref.Attend] = {
    "range": lmdm_ref.attend,
    "dense": lmdm_ref.attend_dense,
}
SCHEMES = tuple(_SCHEMES)
MODELS = tuple(lmdm_ref.PRESETS)
ATTENTIONS = (*_ATTENTIONS, "triton")
SAMPLERS = ("pingpong", "euler", "pingpong++")


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
    _known("attention", request.attention, ATTENTIONS)
    if request.attention == "triton" and (reason := lmdm_kernels.why_unavailable()):
        raise UnsupportedError(f"attention 'triton' cannot run: {reason}")
    if not np.isfinite(request.guidance_scale):
        raise InputError(f"guidance must be a finite number, got {request.guidance_scale}")
    if request.seed < 0:
        raise InputError(f"seed must not be negative, got {request.seed}")
    try:
        geometry_of(request)
        _sampler(request)
    except ValueError as error:
        raise InputError(str(error)) from error


def geometry_of(request: Request) -> lmdm_ref.Geometry:
    """The window that is asked for, in the model's frames."""
    codec = lmdm_ref.PRESETS[request.model].codec
    return lmdm_ref.Geometry(
        sample_rate_hz=codec.sample_rate_hz,
        samples_per_frame=codec.samples_per_frame,
        context_frames=request.context_frames,
        block_frames=request.block_frames,
    )


def workload_of(request: Request, scheme: str) -> Workload:
    """One cell's axes."""
    geometry = geometry_of(request)
    return Workload(
        scheme=scheme,
        model=request.model,
        context_frames=geometry.context_frames,
        block_frames=geometry.block_frames,
        visible_blocks=geometry.context_blocks if scheme == "block-causal" else None,
        steps=request.steps,
        sampler=request.sampler,
        guidance_scale=request.guidance_scale,
        batch=1,
        dtype=request.dtype,
        attention=request.attention,
        sample_rate_hz=geometry.sample_rate_hz,
        samples_per_frame=geometry.samples_per_frame,
        block_seconds=geometry.block_seconds,
    )


def cost_of(request: Request, scheme: str, ceiling: Ceiling) -> Cost:
    """What arithmetic says of one steady block, and what the machine's ceiling makes of it."""
    preset, geometry = lmdm_ref.PRESETS[request.model], geometry_of(request)
    bytes_per_number = _dtype(request).itemsize
    block = lmdm_ref.block_cost(
        preset.decoder,
        lmdm_ref.block_passes(scheme, geometry, request.steps),
        batch=_sampler(request).copies,
        bytes_per_number=bytes_per_number,
    )
    codec_flops = lmdm_ref.decode_flops(preset.codec, geometry.block_frames)
    codec_parameters = lmdm_ref.codec_parameters(preset.codec)
    codec_seconds = max(
        codec_flops / ceiling.flops_per_second,
        codec_parameters * bytes_per_number / ceiling.bytes_per_second,
    )
    bound = block.seconds_at_least(ceiling.flops_per_second, ceiling.bytes_per_second)
    return Cost(
        parameters=lmdm_ref.num_parameters(preset.decoder),
        evaluations=block.evaluations,
        frames_per_block=block.frames,
        flops_per_block=block.total("flops"),
        flops_projections=block.total("flops_projections"),
        flops_attention=block.total("flops_attention"),
        flops_head=block.total("flops_head"),
        bytes_per_block=block.total("num_bytes"),
        bytes_weights=block.total("bytes_weights"),
        bytes_cache_read=block.total("bytes_cache_read"),
        bytes_cache_written=block.total("bytes_cache_written"),
        codec_parameters=codec_parameters,
        codec_flops_per_block=codec_flops,
        bound_ms=bound * MS_PER_SECOND,
        codec_bound_ms=codec_seconds * MS_PER_SECOND,
    )


def products(request: Request) -> tuple[Callable[..., Callable[[], None]], ...]:
    """The matrix products, besides torch's own, that a run's linear layers use."""
    weight = torch.empty(1, 1, dtype=_dtype(request), device=request.device)
    return (_packed_product,) if lmdm_ref.why_not_packed(weight) is None else ()


class Model:
    """The weights that all cells of a run share: decoder, codec and prompt."""

    def __init__(self, request: Request) -> None:
        """Raises InputError for a checkpoint that does not fit."""
        self._request = request
        self._preset = lmdm_ref.PRESETS[request.model]
        self._loaded = _load_checkpoint(request)
        self.weights = f"random, seed {request.seed}"
        if self._loaded is not None and request.checkpoint is not None:
            self.weights = f"checkpoint {request.checkpoint.name}"
        with torch.inference_mode():
            self._decoder = self._make_decoder(self._preset.decoder.depth)
            self.linear = _pack(self._decoder)
            self._codec = self._make_codec()
            self._conditioning = self._make_conditioning()
        self._context: Tensor | None = None

    def encode(self, samples: Samples) -> None:
        """Make the first context of every stream from samples [audio_channels, samples]."""
        with torch.inference_mode():
            wide = torch.from_numpy(samples)[None].to(self._request.device, _dtype(self._request))
            self._context = self._codec.encode(wide).float()

    def subject(self, scheme: str, cost: Cost) -> "DiffusionSubject":
        assert self._context is not None, "encode comes first"
        stream = self._stream(scheme, self._decoder, _sampler(self._request))
        return DiffusionSubject(
            workload_of(self._request, scheme),
            cost,
            stream,
            self._codec,
            self._context,
            self._conditioning,
            self._request.seed,
            lambda: self._check(scheme),
        )

    def _check(self, scheme: str) -> Check:
        """Stream a few blocks at small depth and compare each with the scheme's oracle."""
        assert self._context is not None
        request, oracle_type = self._request, _SCHEMES[scheme].oracle
        sampler = _sampler(replace(request, steps=min(request.steps, CHECK_STEPS)))
        geometry, dtype = geometry_of(request), _dtype(request)
        with torch.inference_mode():
            decoder = self._make_decoder(CHECK_DEPTH)
            # On the host, since not every device has float64.
            plain = self._make_decoder(CHECK_DEPTH, device="cpu")
            truth = oracle_type(plain, geometry, sampler)
            same_dtype = oracle_type(plain, geometry, sampler, dtype)
            _pack(decoder)
            stream = self._stream(scheme, decoder, sampler)
            generator = torch.Generator(request.device).manual_seed(request.seed)
            state = stream.prefill(self._context, self._conditioning)
            history, prompt = self._context.cpu(), _to_host(self._conditioning)
            error = reference_error = 0.0
            for _ in range(CHECK_BLOCKS):
                noise = lmdm_ref.block_noise(stream, 1, generator)
                block = stream.denoise(noise, state)
                state = stream.commit(block, state)
                block, noise = block.cpu(), noise.cpu()
                expected = truth.block(noise, history, prompt)
                reference = same_dtype.block(noise, history, prompt)
                error = max(error, _relative_error(block, expected))
                reference_error = max(reference_error, _relative_error(reference, expected))
                history = torch.cat([history, block], dim=1)
        budget = BUDGET_FACTOR * reference_error + torch.finfo(dtype).eps
        return Check(
            oracle=oracle_type.name,
            depth=CHECK_DEPTH,
            num_blocks=CHECK_BLOCKS,
            error=error,
            reference_error=reference_error,
            budget=budget,
            is_within_budget=error <= budget,
        )

    def _stream(
        self, scheme: str, decoder: lmdm_ref.DiffusionDecoder, sampler: lmdm_ref.Sampler
    ) -> lmdm_ref.DiffusionStream[Any]:
        stream: lmdm_ref.DiffusionStream[Any] = _SCHEMES[scheme].stream(
            decoder, geometry_of(self._request), sampler
        )
        return stream

    def _make_decoder(self, depth: int, device: str | None = None) -> lmdm_ref.DiffusionDecoder:
        request = self._request
        config = replace(self._preset.decoder, depth=depth)
        dtype, where = _dtype(request), device or request.device
        attend = _ATTENTIONS[request.attention]
        if self._loaded is None:
            return lmdm_ref.random_decoder(config, request.seed, dtype, where, attend)
        return self._loaded.decoder(dtype, where, attend, depth)

    def _make_codec(self) -> lmdm_ref.Codec:
        request, config = self._request, self._preset.codec
        if self._loaded is None or self._loaded.codec_weights is None:
            return lmdm_ref.random_codec(config, request.seed, _dtype(request), request.device)
        return self._loaded.codec(_dtype(request), request.device)

    def _make_conditioning(self) -> lmdm_ref.Conditioning:
        """There is no text encoder here: with a checkpoint no text, else random tokens."""
        if self._loaded is not None and self._loaded.seconds_weights is not None:
            window = geometry_of(self._request)
            seconds = window.window_frames / window.frame_rate_hz
            prompt = self._loaded.conditioning(seconds)
            return lmdm_ref.Conditioning(
                prompt.text.to(self._request.device), prompt.seconds.to(self._request.device)
            )
        config, device = self._preset.decoder, self._request.device
        generator = torch.Generator().manual_seed(self._request.seed)
        text = torch.randn(1, config.text_tokens, config.text_width, generator=generator)
        length = torch.randn(1, config.seconds_width, generator=generator)
        return lmdm_ref.Conditioning(text.to(device), length.to(device))


class DiffusionSubject:
    """One scheme with its state, as ``stream_run.Subject``."""

    def __init__(
        self,
        workload: Workload,
        cost: Cost,
        stream: lmdm_ref.DiffusionStream[Any],
        codec: lmdm_ref.Codec,
        context: Tensor,
        conditioning: lmdm_ref.Conditioning,
        seed: int,
        check: Callable[[], Check],
    ) -> None:
        self.workload = workload
        self.cost = cost
        self.check = check
        self._stream = stream
        self._codec = codec
        self._context = context
        self._conditioning = conditioning
        self._generator = torch.Generator(context.device).manual_seed(seed)
        self._state: Any = None

    @torch.inference_mode()
    def prefill(self) -> None:
        self._state = self._stream.prefill(self._context, self._conditioning)

    @torch.inference_mode()
    def make_block(self, watch: Stopwatch) -> Samples:
        stream, state = self._stream, self._state
        noise = lmdm_ref.block_noise(stream, self.workload.batch, self._generator)
        with self._stage(watch, "context_encode"):
            stream.encode_context(state)
        velocity = stream.velocity(noise, state)

        def timed(noisy: Tensor, sigma: float) -> Tensor:
            with watch.stage("step"):
                return velocity(noisy, sigma)

        block = stream.sampler.sample(timed, stream.target_noise(noise))
        with self._stage(watch, "commit"):
            self._state = stream.commit(block, state)
        with watch.stage("codec_decode"):
            samples = self._codec.decode(block.to(_dtype_of(self._codec)))
            return np.asarray(samples[0].float().cpu().numpy())

    def _stage(self, watch: Stopwatch, name: str) -> AbstractContextManager[None]:
        is_own = name in _SCHEMES[self.workload.scheme].own_stages
        return watch.stage(name) if is_own else nullcontext()


def _packed_product(width: int, dtype: torch.dtype, device: torch.device) -> Callable[[], None]:
    with torch.inference_mode():
        linear = torch.nn.Linear(width, width, bias=False, device=device, dtype=dtype)
        packed, rows = lmdm_ref.PackedLinear(linear), torch.rand(width, width).to(device, dtype)

    @torch.inference_mode()
    def multiply() -> None:
        packed(rows)

    return multiply


def _pack(decoder: lmdm_ref.DiffusionDecoder) -> Choice:
    reason = lmdm_ref.why_not_packed(decoder.input_noisy.weight)
    if reason is not None:
        return Choice("plain", reason)
    count = lmdm_ref.pack_linears(decoder)
    return Choice("packed", f"{count} weights laid out once for oneDNN's matrix product")


def _load_checkpoint(request: Request) -> lmdm_ref.StableAudio | None:
    if request.checkpoint is None:
        return None
    try:
        return lmdm_ref.load_stable_audio(request.checkpoint, request.model)
    except ValueError as error:
        raise InputError(str(error)) from error


def _sampler(request: Request) -> lmdm_ref.Sampler:
    if request.sampler == "euler":
        sigmas = lmdm_ref.linear_sigmas(request.steps)
        window = request.context_frames + request.block_frames
        shifted = lmdm_ref.shift_sigmas(sigmas, window)
        return lmdm_ref.euler_sampler(shifted, request.guidance_scale)
    sigmas = lmdm_ref.logsnr_sigmas(request.steps)
    if request.sampler == "pingpong++":
        return lmdm_ref.pingpong_plus_sampler(sigmas, request.guidance_scale)
    return lmdm_ref.pingpong_sampler(sigmas, request.guidance_scale)


def _dtype(request: Request) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, request.dtype)
    return dtype


def _dtype_of(module: torch.nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype


def _to_host(conditioning: lmdm_ref.Conditioning) -> lmdm_ref.Conditioning:
    return lmdm_ref.Conditioning(conditioning.text.cpu(), conditioning.seconds.cpu())


def _relative_error(actual: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest expected value."""
    return float((actual.double() - expected.double()).abs().max() / expected.double().abs().max())


def _known(kind: str, name: str, names: tuple[str, ...]) -> None:
    if name not in names:
        raise InputError(f"unknown {kind} {name!r}; there are {', '.join(names)}")
