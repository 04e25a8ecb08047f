"""The diffusion schemes as something to be run: weights that cells share, and one stream each."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import lmdm_ref
from lmdm_bench.clock import CALL_ONLY, Stopwatch
from lmdm_bench.errors import InputError
from lmdm_bench.graphs import cuda_capture
from lmdm_bench.model_parts import (
    CHECK_DEPTH,
    KERNELS,
    executor,
    judged,
    pack,
    relative_error,
    torch_dtype,
)
from lmdm_bench.record import Ceiling, Check, CodecCost, Cost, Workload
from lmdm_bench.request import Request

Samples = npt.NDArray[np.float32]

# The check streams this many blocks of this many steps: the second block of a block-causal stream
# is the first to evict one.
CHECK_STEPS = 2
CHECK_BLOCKS = 2

MS_PER_SECOND = 1e3

# Input audio in a paced run is noise at this level, 1 full scale.
INPUT_LEVEL = 0.1


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
DIFFUSION_SCHEMES = tuple(_SCHEMES)
MODELS = tuple(lmdm_ref.PRESETS)
SAMPLERS = ("pingpong", "euler", "pingpong++")


def geometry_of(request: Request) -> lmdm_ref.Geometry:
    """The window that is asked for, in the model's frames. Raises ValueError as Geometry does."""
    codec = lmdm_ref.PRESETS[request.model].codec
    return lmdm_ref.Geometry(
        sample_rate_hz=codec.sample_rate_hz,
        samples_per_frame=codec.samples_per_frame,
        context_frames=request.context_frames,
        block_frames=request.block_frames,
    )


def sampler_of(request: Request) -> lmdm_ref.Sampler:
    """The sampler that is asked for. Raises ValueError for impossible steps."""
    if request.sampler == "euler":
        sigmas = lmdm_ref.linear_sigmas(request.steps)
        window = request.context_frames + request.block_frames
        shifted = lmdm_ref.shift_sigmas(sigmas, window)
        return lmdm_ref.euler_sampler(shifted, request.guidance_scale)
    sigmas = lmdm_ref.logsnr_sigmas(request.steps)
    if request.sampler == "pingpong++":
        return lmdm_ref.pingpong_plus_sampler(sigmas, request.guidance_scale)
    return lmdm_ref.pingpong_sampler(sigmas, request.guidance_scale)


def diffusion_workload(request: Request, scheme: str) -> Workload:
    """One cell's axes."""
    geometry = geometry_of(request)
    return Workload(
        scheme=scheme,
        model=request.model,
        context_frames=geometry.context_frames,
        block_frames=geometry.block_frames,
        visible_blocks=geometry.context_blocks if scheme == "block-causal" else None,
        num_levels=None,
        steps=request.steps,
        sampler=request.sampler,
        guidance_scale=request.guidance_scale,
        batch=1,
        dtype=request.dtype,
        attention=request.attention,
        is_graphed=request.is_graphed,
        sample_rate_hz=geometry.sample_rate_hz,
        samples_per_frame=geometry.samples_per_frame,
        block_seconds=geometry.block_seconds,
    )


def diffusion_cost(
    request: Request, scheme: str
) -> tuple[lmdm_ref.BlockCost, lmdm_ref.StreamBytes, int]:
    """A steady block, the memory of its stream, and the decoder's parameters."""
    config, geometry = lmdm_ref.PRESETS[request.model].decoder, geometry_of(request)
    passes = lmdm_ref.block_passes(scheme, geometry, request.steps)
    batch, bytes_per_number = sampler_of(request).copies, torch_dtype(request).itemsize
    return (
        lmdm_ref.block_cost(config, passes, batch, bytes_per_number),
        lmdm_ref.stream_bytes(scheme, config, geometry, passes, batch, bytes_per_number),
        lmdm_ref.num_parameters(config),
    )


def codec_cost(request: Request, ceiling: Ceiling) -> CodecCost:
    """What decoding a block adds."""
    codec = lmdm_ref.PRESETS[request.model].codec
    flops = lmdm_ref.decode_flops(codec, request.block_frames)
    parameters = lmdm_ref.codec_parameters(codec)
    num_bytes = parameters * torch_dtype(request).itemsize
    seconds = max(flops / ceiling.flops_per_second, num_bytes / ceiling.bytes_per_second)
    return CodecCost(parameters, flops, seconds * MS_PER_SECOND)


class DiffusionModel:
    """The weights that diffusion cells share: decoder, prompt and, if asked for, the codec."""

    def __init__(self, request: Request, *, has_codec: bool) -> None:
        """Raises InputError for a checkpoint that does not fit."""
        self._request = request
        self._preset = lmdm_ref.PRESETS[request.model]
        self._loaded = _load_checkpoint(request)
        self.weights = f"random, seed {request.seed}"
        if self._loaded is not None and request.checkpoint is not None:
            self.weights = f"checkpoint {request.checkpoint.name}"
        with torch.inference_mode():
            self._decoder = self._make_decoder(self._preset.decoder.depth)
            self.linear = pack(self._decoder, self._decoder.input_noisy.weight)
            self._codec = self._make_codec() if has_codec else None
            self._conditioning = self._make_conditioning()
        self._context: Tensor | None = None

    def encode(self, samples: Samples) -> None:
        """Make the first context of every stream from samples [audio_channels, samples]."""
        assert self._codec is not None, "a model without codec takes no samples"
        with torch.inference_mode():
            wide = torch.from_numpy(samples)[None].to(
                self._request.device, torch_dtype(self._request)
            )
            self._context = self._codec.encode(wide).float()

    def subject(self, request: Request, scheme: str, cost: Cost) -> "DiffusionSubject":
        """A stream of its own over these weights: ``request`` may differ from the model's in
        lengths, steps and sampler. Without samples to continue its context is random."""
        context = self._random_context(request) if self._context is None else self._context
        stream = self._stream(request, scheme, self._decoder, sampler_of(request))
        return DiffusionSubject(
            diffusion_workload(request, scheme),
            cost,
            stream,
            self._codec,
            context,
            self._conditioning,
            request.seed,
            lambda: self._check(request, scheme, context),
        )

    def _check(self, request: Request, scheme: str, context: Tensor) -> Check:
        """Stream a few blocks at small depth and compare each with the scheme's oracle."""
        oracle_type = _SCHEMES[scheme].oracle
        sampler = sampler_of(replace(request, steps=min(request.steps, CHECK_STEPS)))
        geometry, dtype = geometry_of(request), torch_dtype(request)
        with torch.inference_mode():
            decoder = self._make_decoder(CHECK_DEPTH)
            # On the host, since not every device has float64.
            plain = self._make_decoder(CHECK_DEPTH, device="cpu")
            truth = oracle_type(plain, geometry, sampler)
            same_dtype = oracle_type(plain, geometry, sampler, dtype)
            pack(decoder, decoder.input_noisy.weight)
            stream = self._stream(request, scheme, decoder, sampler)
            generator = torch.Generator(request.device).manual_seed(request.seed)
            state = stream.prefill(context, self._conditioning)
            history, prompt = context.cpu(), _to_host(self._conditioning)
            error = reference_error = 0.0
            for _ in range(CHECK_BLOCKS):
                noise = lmdm_ref.block_noise(stream, 1, generator)
                block = stream.generate(noise, state)
                state = stream.commit(block, state)
                block, noise = block.cpu(), noise.cpu()
                expected = truth.block(noise, history, prompt)
                reference = same_dtype.block(noise, history, prompt)
                error = max(error, relative_error(block, expected))
                reference_error = max(reference_error, relative_error(reference, expected))
                history = torch.cat([history, block], dim=1)
        return judged(oracle_type.name, CHECK_BLOCKS, error, reference_error, dtype)

    def _random_context(self, request: Request) -> Tensor:
        channels = self._preset.decoder.latent_channels
        generator = torch.Generator().manual_seed(request.seed)
        context = torch.randn(1, request.context_frames, channels, generator=generator)
        return context.to(request.device)

    def _stream(
        self,
        request: Request,
        scheme: str,
        decoder: lmdm_ref.DiffusionDecoder,
        sampler: lmdm_ref.Sampler,
    ) -> lmdm_ref.DiffusionStream[Any]:
        stream: lmdm_ref.DiffusionStream[Any] = _SCHEMES[scheme].stream(
            decoder, geometry_of(request), sampler, execute=executor(request)
        )
        return stream

    def _make_decoder(self, depth: int, device: str | None = None) -> lmdm_ref.DiffusionDecoder:
        request = self._request
        config = replace(self._preset.decoder, depth=depth)
        dtype, where = torch_dtype(request), device or request.device
        attend, prologue = KERNELS[request.attention]
        if self._loaded is None:
            return lmdm_ref.random_decoder(config, request.seed, dtype, where, attend, prologue)
        return self._loaded.decoder(dtype, where, attend, depth, prologue)

    def _make_codec(self) -> lmdm_ref.Codec:
        request, config = self._request, self._preset.codec
        if self._loaded is None or self._loaded.codec_weights is None:
            return lmdm_ref.random_codec(config, request.seed, torch_dtype(request), request.device)
        return self._loaded.codec(torch_dtype(request), request.device)

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
        codec: lmdm_ref.Codec | None,
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
        # Of its own, so that what is heard does not change the noise of what is made.
        self._input_generator = torch.Generator(context.device).manual_seed(seed)
        self._seed = seed
        self._state: Any = None

    @torch.inference_mode()
    def prefill(self) -> None:
        self._state = self._stream.prefill(self._context, self._conditioning)

    @torch.inference_mode()
    def make_block(self, watch: Stopwatch) -> Samples | None:
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
        if self._codec is None:
            if not bool(block.isfinite().all()):
                raise FloatingPointError("the block has numbers that are not finite")
            return None
        with watch.stage("codec_decode"):
            samples = self._codec.decode(block.to(_dtype_of(self._codec)))
            return np.asarray(samples[0].float().cpu().numpy())

    @torch.inference_mode()
    def change_prompt(self, number: int) -> None:
        """Another random prompt from the next block on; what is cached keeps the older one."""
        generator = torch.Generator().manual_seed(self._seed + number)
        old = self._conditioning
        text = torch.randn(old.text.shape, generator=generator, dtype=old.text.dtype)
        prompt = lmdm_ref.Conditioning(text.to(old.text.device), old.seconds)
        keep = lmdm_ref.PromptPolicy.KEEP
        self._state = self._stream.change_prompt(self._state, prompt, keep)

    @torch.inference_mode()
    def hear_input(self) -> None:
        """A block of input audio, encoded by the codec: the stream takes it as the newest block."""
        assert self._codec is not None, "a model without codec takes no samples"
        shape = (1, 2, self._stream.geometry.block_samples)
        noise = torch.randn(shape, generator=self._input_generator, device=self._context.device)
        block = self._codec.encode((INPUT_LEVEL * noise).to(_dtype_of(self._codec))).float()
        self._state = self._stream.commit(block, self._state)

    def attention_alone(self) -> Callable[[], object] | None:
        """The self-attention of all layers in all steps of a block, to be timed by itself and run
        as the block is, eager or graphed; None where no step sees a cache."""
        if self.workload.scheme == "outpaint":
            return None
        stream, geometry = self._stream, self._stream.geometry
        config, batch = stream.decoder.config, stream.sampler.copies
        passes = lmdm_ref.block_passes(
            self.workload.scheme, geometry, stream.sampler.num_steps, self.workload.visible_blocks
        )
        plans = [one.plan for one in passes for _ in range(one.count) if one.has_token]
        places = max(span.stop for plan in plans for row in plan for span in row.keys)
        rows = max(row.queries.stop for plan in plans for row in plan)
        like = torch.full((1,), 0.5, device=self._context.device, dtype=stream.decoder.dtype)
        heads = (config.num_heads, config.head_dim)
        cache = lmdm_ref.KVCache.allocate(places, config.depth, batch, *heads, like)
        cache.fill(lmdm_ref.Span(0, places), 0.5)
        query = like.expand(batch, config.num_heads, rows, config.head_dim).contiguous()

        @torch.inference_mode()
        def attend_all() -> Tensor:
            for plan in plans:
                queries = query[:, :, : plan[-1].queries.stop]
                for layer in range(config.depth):
                    seen = stream.decoder.kernels.attend(queries, *cache.layer(layer), plan)
            return seen

        if not self.workload.is_graphed:
            return attend_all
        _, replay = cuda_capture(attend_all)
        return replay

    def _stage(self, watch: Stopwatch, name: str) -> AbstractContextManager[None]:
        """Its own name only where it is a stage of its own; what is left of it else is host's."""
        is_own = name in _SCHEMES[self.workload.scheme].own_stages
        return watch.stage(name if is_own else f"{name}{CALL_ONLY}")


def _load_checkpoint(request: Request) -> lmdm_ref.StableAudio | None:
    if request.checkpoint is None:
        return None
    try:
        return lmdm_ref.load_stable_audio(request.checkpoint, request.model)
    except ValueError as error:
        raise InputError(str(error)) from error


def _dtype_of(module: torch.nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype


def _to_host(conditioning: lmdm_ref.Conditioning) -> lmdm_ref.Conditioning:
    return lmdm_ref.Conditioning(conditioning.text.cpu(), conditioning.seconds.cpu())
