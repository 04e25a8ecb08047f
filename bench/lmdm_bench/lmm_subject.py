"""The LMM schemes as something to be run: one preset's weights, and streams of tokens over them.

There is no codec for their tokens in the suite (they are SpectroStream's), so blocks make no audio.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

import lmdm_ref
from lmdm_bench.clock import Stopwatch
from lmdm_bench.errors import InputError
from lmdm_bench.model_parts import (
    CHECK_DEPTH,
    KERNELS,
    executor,
    judged,
    pack,
    relative_error,
    torch_dtype,
)
from lmdm_bench.record import Check, Cost, Workload
from lmdm_bench.request import Request

# The check's block, in frames: every level of each, over a context that fills the window.
CHECK_FRAMES = 3

TOP_K = 40

# What counts as the relative error of a graph that chooses other tokens: over every budget.
OTHER_TOKENS_ERROR = 1.0


@dataclass(frozen=True)
class _Scheme:
    preset: str
    temperature: float
    config: type[Any]
    model: Callable[..., Any]
    stream: type[Any]
    oracle: type[Any]


_SCHEMES = {
    "lmm-encoder-decoder": _Scheme(
        "mrt1-large",
        1.1,
        lmdm_ref.EncoderDecoderLMMConfig,
        lmdm_ref.random_encoder_decoder_lmm,
        lmdm_ref.LMMEncoderDecoder,
        lmdm_ref.LMMEncoderDecoderOracle,
    ),
    "lmm-frame-wise": _Scheme(
        "mrt2-small",
        1.3,
        lmdm_ref.FrameWiseLMMConfig,
        lmdm_ref.random_frame_wise_lmm,
        lmdm_ref.LMMFrameWise,
        lmdm_ref.LMMFrameWiseOracle,
    ),
}
LMM_SCHEMES = tuple(_SCHEMES)
LMM_MODELS = tuple(lmdm_ref.LMM_PRESETS)


def check_lmm_models(request: Request) -> None:
    """Raises InputError for presets that are unknown, and for presets and lengths that no scheme of
    the request runs."""
    for name in request.lmm_models:
        if name not in LMM_MODELS:
            raise InputError(f"unknown LMM model {name!r}; there are {', '.join(LMM_MODELS)}")
    schemes = [scheme_of(name) for name in request.lmm_models]
    for name, scheme in zip(request.lmm_models, schemes, strict=True):
        if scheme not in request.schemes:
            raise InputError(f"{name} is a model of {scheme}, which is not among the schemes")
        if schemes.count(scheme) > 1:
            raise InputError(f"{scheme} runs one model, got {', '.join(request.lmm_models)}")
    lengths = (request.lmm_context_frames, request.lmm_block_frames, request.lmm_levels)
    is_lmm_run = any(scheme in LMM_SCHEMES for scheme in request.schemes)
    if not is_lmm_run and any(length is not None for length in lengths):
        raise InputError("an LMM's frames or levels are given, but no LMM scheme is to be run")


def scheme_of(preset: str) -> str:
    """The scheme whose preset this is."""
    config = lmdm_ref.LMM_PRESETS[preset]
    return next(name for name, one in _SCHEMES.items() if isinstance(config, one.config))


def lmm_preset(request: Request, scheme: str) -> str:
    """The preset that a scheme runs: the one asked for, or its own."""
    asked = [name for name in request.lmm_models if scheme_of(name) == scheme]
    return asked[0] if asked else _SCHEMES[scheme].preset


def lmm_geometry(request: Request, scheme: str) -> lmdm_ref.TokenGeometry:
    """The preset's lengths, or those asked for. Raises ValueError as TokenGeometry does, and for
    levels that the preset has not."""
    config = lmdm_ref.LMM_PRESETS[lmm_preset(request, scheme)]
    asked = {
        "context_frames": request.lmm_context_frames,
        "block_frames": request.lmm_block_frames,
        "num_levels": request.lmm_levels,
    }
    geometry = replace(
        config.geometry, **{name: value for name, value in asked.items() if value is not None}
    )
    least, most = level_range(request, scheme)
    if not least <= geometry.num_levels <= most:
        raise ValueError(
            f"{lmm_preset(request, scheme)} takes {least} to {most} levels, "
            f"got {geometry.num_levels}"
        )
    return geometry


def lmm_head_dims(request: Request, scheme: str) -> tuple[int, ...]:
    """The sizes of a head in each stack of the model that an LMM scheme runs."""
    config = lmdm_ref.LMM_PRESETS[lmm_preset(request, scheme)]
    stacks = [config.temporal, config.depth_decoder]
    if isinstance(config, lmdm_ref.EncoderDecoderLMMConfig):
        stacks.append(config.encoder)
    return tuple(dict.fromkeys(stack.head_dim for stack in stacks))


def level_range(request: Request, scheme: str) -> tuple[int, int]:
    """The fewest and the most levels of a frame: an encoder hears some of them."""
    config = lmdm_ref.LMM_PRESETS[lmm_preset(request, scheme)]
    return getattr(config, "context_levels", 1), config.num_levels


def lmm_workload(request: Request, scheme: str) -> Workload:
    """One cell's axes."""
    geometry = lmm_geometry(request, scheme)
    return Workload(
        scheme=scheme,
        model=lmm_preset(request, scheme),
        context_frames=geometry.context_frames,
        block_frames=geometry.block_frames,
        visible_blocks=None,
        num_levels=geometry.num_levels,
        steps=None,
        sampler=f"top-{TOP_K} at temperature {_SCHEMES[scheme].temperature:g}",
        guidance_scale=request.guidance_scale,
        batch=1,
        dtype=request.dtype,
        attention=request.attention,
        is_graphed=request.is_graphed,
        sample_rate_hz=geometry.sample_rate_hz,
        samples_per_frame=geometry.samples_per_frame,
        block_seconds=geometry.block_seconds,
    )


def lmm_cost(request: Request, scheme: str) -> tuple[lmdm_ref.BlockCost, lmdm_ref.StreamBytes, int]:
    """A steady block, the memory of its stream, and the model's parameters."""
    config = lmdm_ref.LMM_PRESETS[lmm_preset(request, scheme)]
    geometry = lmm_geometry(request, scheme)
    batch, bytes_per_number = _sampler(request, scheme).copies, torch_dtype(request).itemsize
    return (
        lmdm_ref.lmm_block_cost(config, geometry, batch, bytes_per_number),
        lmdm_ref.lmm_stream_bytes(config, geometry, batch, bytes_per_number),
        lmdm_ref.lmm_num_parameters(config),
    )


class LMMModel:
    """One preset's weights; ``subject`` makes streams over them."""

    def __init__(self, request: Request, scheme: str) -> None:
        self._request = request
        self._scheme = scheme
        self._config = lmdm_ref.LMM_PRESETS[lmm_preset(request, scheme)]
        self.weights = f"random, seed {request.seed}"
        with torch.inference_mode():
            self._model = self._make_model(self._config, request.device)
            self.linear = pack(self._model, self._model.embedding.weight, self._model.MANY_ROWS)

    def subject(self, request: Request, cost: Cost) -> "LMMSubject":
        """A stream of its own over these weights: ``request`` may differ from the model's in
        lengths and guidance."""
        scheme = self._scheme
        geometry, sampler = lmm_geometry(request, scheme), _sampler(request, scheme)
        stream = _SCHEMES[scheme].stream(self._model, geometry, sampler, execute=executor(request))
        return LMMSubject(
            lmm_workload(request, scheme),
            cost,
            stream,
            self._context(geometry.context_frames + 1, geometry.num_levels),
            self._conditioning(request),
            request.seed,
            lambda: self._check(request),
        )

    def _check(self, request: Request) -> Check:
        """Stream a short block at small depth; its logits beside those of the oracle."""
        one, dtype = _SCHEMES[self._scheme], torch_dtype(request)
        geometry = lmm_geometry(request, self._scheme)
        geometry = replace(geometry, block_frames=min(CHECK_FRAMES, geometry.block_frames))
        sampler = _sampler(request, self._scheme)
        with torch.inference_mode():
            shallow = _shallow(self._config)
            model = self._make_model(shallow, request.device)
            # On the host, since not every device has float64.
            plain = self._make_model(shallow, "cpu")
            truth = one.oracle(plain, geometry, sampler)
            same_dtype = one.oracle(plain, geometry, sampler, dtype)
            pack(model, model.embedding.weight, model.MANY_ROWS)
            stream = one.stream(model, geometry, sampler)
            stream.sampler = recorder = _Recorder(sampler)
            context = self._context(geometry.context_frames + 1, geometry.num_levels)
            conditioning = self._conditioning(request)
            state = _prefilled(stream, context, conditioning)
            generator = torch.Generator(request.device).manual_seed(request.seed)
            noise = lmdm_ref.token_noise(stream, 1, generator)
            block = stream.generate(noise, state).cpu()
            shape = (geometry.block_frames, geometry.num_levels)
            logits = torch.stack(recorder.logits).unflatten(0, shape).cpu()
            history, told = context.cpu(), _to_host(conditioning)
            expected = truth.logits(block, history, told)
            reference = same_dtype.logits(block, history, told)
            error = relative_error(logits, expected)
            if request.is_graphed:
                # A replay records no logits; it must choose the very tokens that they gave.
                graphed = one.stream(model, geometry, sampler, execute=executor(request))
                state = _prefilled(graphed, context, conditioning)
                is_same = torch.equal(graphed.generate(noise, state).cpu(), block)
                error = error if is_same else max(error, OTHER_TOKENS_ERROR)
        return judged(one.oracle.name, 1, error, relative_error(reference, expected), dtype)

    def _make_model(self, config: Any, device: str) -> Any:
        request = self._request
        attend = KERNELS[request.attention].attend
        return _SCHEMES[self._scheme].model(
            config, request.seed, torch_dtype(request), device, attend
        )

    def _context(self, frames: int, levels: int) -> Tensor:
        codes = self._config.codebook_size
        generator = torch.Generator().manual_seed(self._request.seed)
        tokens = torch.randint(codes, (1, frames, levels), generator=generator)
        return tokens.to(self._request.device)

    def _conditioning(self, request: Request) -> Any:
        config, device = self._config, request.device
        generator = torch.Generator().manual_seed(request.seed)
        style = torch.randint(config.codebook_size, (1, config.style_tokens), generator=generator)
        if isinstance(config, lmdm_ref.EncoderDecoderLMMConfig):
            return style.to(device)
        # The last three conditions are the guidance scales of style, notes and drums.
        guidance = lmdm_ref.guidance_codes(request.guidance_scale, config.reserved_tokens)
        first = [config.reserved_tokens] * (len(config.condition_codes) - len(guidance))
        codes = [*first, *guidance][: len(config.condition_codes)]
        within = [min(*pair) for pair in zip(codes, _last_codes(config), strict=True)]
        return lmdm_ref.FrameConditions(style.to(device), torch.tensor([within], device=device))


class LMMSubject:
    """One LMM scheme with its state, as ``stream_run.Subject``."""

    def __init__(
        self,
        workload: Workload,
        cost: Cost,
        stream: lmdm_ref.TokenStream[Any],
        context: Tensor,
        conditioning: Any,
        seed: int,
        check: Callable[[], Check],
    ) -> None:
        self.workload = workload
        self.cost = cost
        self.check = check
        self._stream = stream
        self._context = context
        self._conditioning = conditioning
        self._generator = torch.Generator(context.device).manual_seed(seed)
        # Of its own, so that what is heard does not change the noise of what is made.
        self._input_generator = torch.Generator(context.device).manual_seed(seed)
        self._seed = seed
        self._state: Any = None

    @torch.inference_mode()
    def prefill(self) -> None:
        self._state = _prefilled(self._stream, self._context, self._conditioning)

    @torch.inference_mode()
    def make_block(self, watch: Stopwatch) -> None:
        stream, state = self._stream, self._state
        noise = lmdm_ref.token_noise(stream, self.workload.batch, self._generator)
        if self.workload.scheme == "lmm-encoder-decoder":
            with watch.stage("context_encode"):
                stream.encode_context(state)
        frames = stream.frames(noise, state)
        made = []
        for _ in range(stream.geometry.block_frames):
            with watch.stage("step"):
                made.append(next(frames))
        # A frame-wise stream keeps what it has made once its generator has ended.
        next(frames, None)
        self._state = stream.commit(torch.stack(made, dim=1), state)
        # Tokens are always whole numbers: what went wrong on the way to them shows in the keys.
        if not self._state.depth.is_finite():
            raise FloatingPointError("the block's last frame has keys that are not finite")

    @torch.inference_mode()
    def change_prompt(self, number: int) -> None:
        """Another random style from the next block on; what was heard keeps the older one."""
        style = getattr(self._conditioning, "style", self._conditioning)
        generator = torch.Generator().manual_seed(self._seed + number)
        codes = torch.randint(self._stream.codebook_size, style.shape, generator=generator)
        other = codes.to(style.device)
        if style is not self._conditioning:
            other = replace(self._conditioning, style=other)
        self._state = self._stream.change_prompt(self._state, other)

    @torch.inference_mode()
    def hear_input(self) -> None:
        """A block of input as tokens, since the suite has no codec that would make them."""
        geometry = self._stream.geometry
        shape = (self.workload.batch, geometry.block_frames, geometry.num_levels)
        block = torch.randint(
            self._stream.codebook_size,
            shape,
            generator=self._input_generator,
            device=self._context.device,
        )
        self._state = self._stream.commit(block, self._state)

    def attention_alone(self) -> None:
        """Not measured: a token's attention is one row's."""


class _Recorder:
    """A sampler that keeps the logits it was given."""

    def __init__(self, sampler: lmdm_ref.TokenSampler) -> None:
        self.copies = sampler.copies
        self.logits: list[Tensor] = []
        self._sampler = sampler

    def __call__(self, logits: Tensor, gumbel: Tensor) -> Tensor:
        self.logits.append(logits)
        return self._sampler(logits, gumbel)


def _sampler(request: Request, scheme: str) -> lmdm_ref.TokenSampler:
    temperature = _SCHEMES[scheme].temperature
    # A frame-wise LMM hears its guidance as tokens.
    is_guided = scheme == "lmm-encoder-decoder"
    return lmdm_ref.TokenSampler(temperature, TOP_K, request.guidance_scale if is_guided else 1.0)


def _prefilled(stream: lmdm_ref.TokenStream[Any], context: Tensor, conditioning: Any) -> Any:
    """An encoder hears exactly its context, a frame-wise stream all that there is."""
    if isinstance(stream, lmdm_ref.LMMEncoderDecoder):
        context = context[:, -stream.geometry.context_frames :]
    return stream.prefill(context, conditioning)


def _shallow(config: Any) -> Any:
    stacks = ("encoder", "temporal", "depth_decoder")
    return replace(
        config,
        **{
            name: replace(getattr(config, name), depth=CHECK_DEPTH)
            for name in stacks
            if hasattr(config, name)
        },
    )


def _last_codes(config: lmdm_ref.FrameWiseLMMConfig) -> list[int]:
    return [codes - 1 for codes in config.condition_codes]


def _to_host(conditioning: Any) -> Any:
    if isinstance(conditioning, lmdm_ref.FrameConditions):
        return lmdm_ref.FrameConditions(conditioning.style.cpu(), conditioning.others.cpu())
    return conditioning.cpu()
