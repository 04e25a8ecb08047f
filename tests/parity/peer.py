"""stable-audio-tools' own networks, randomised: what our decoder and codec must equal.

That package imports, on its way to a convolution, training loops, audio loaders and samplers with
dozens of pinned dependencies. None of it is run here. Its packages are entered without their
``__init__``, and modules that the networks only import stand empty while they are loaded;
afterwards the interpreter is as before. Installed with ``--no-deps``, it needs torch, einops,
numpy, packaging and safetensors.
"""

import contextlib
import functools
import importlib
import importlib.util
import io
import os
import sys
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn

from lmdm_ref.presets import CodecConfig, DecoderConfig

PACKAGE = "stable_audio_tools"
NEEDED = ("blocks", "transformer", "dit", "autoencoders")
ENTERED = (PACKAGE, f"{PACKAGE}.models")

# Imported by the codec's module for autoencoders that are not ours.
EMPTY = (
    "torchaudio",
    "alias_free_torch",
    f"{PACKAGE}.inference",
    f"{PACKAGE}.inference.sampling",
    f"{PACKAGE}.inference.utils",
    f"{PACKAGE}.models.diffusion",
    f"{PACKAGE}.models.factory",
    f"{PACKAGE}.models.pretransforms",
)
# With it the peer would attend in half precision, whatever the model's dtype.
ABSENT = ("flash_attn",)

# Standard deviation of a layer's output for inputs of unit variance.
GAIN = 0.7
SPREAD = 0.1


def is_installed() -> bool:
    return importlib.util.find_spec(PACKAGE) is not None


def oobleck_encoder(config: CodecConfig) -> nn.Module:
    """Samples to means and scales, both channels first."""
    with _contained():
        encoder = _peer()["autoencoders"].OobleckEncoder(
            in_channels=config.audio_channels,
            latent_dim=2 * config.latent_channels,
            **_oobleck_sizes(config),
        )
    return _for_inference(encoder)


def oobleck_decoder(config: CodecConfig) -> nn.Module:
    """Latents, channels first, to samples."""
    with _contained():
        decoder = _peer()["autoencoders"].OobleckDecoder(
            out_channels=config.audio_channels,
            latent_dim=config.latent_channels,
            final_tanh=False,
            **_oobleck_sizes(config),
        )
    return _for_inference(decoder)


def diffusion_transformer(config: DecoderConfig) -> nn.Module:
    """The network behind a ``DecoderConfig``.

    Called as ``model(x, t, cross_attn_cond=, global_embed=, use_checkpointing=False)`` with x
    [batch, channels, frames], t [batch], cross_attn_cond [batch, tokens, text_width] and
    global_embed [batch, seconds_width]; its output has the shape of x.
    """
    has_wide_text = config.cross_width == config.width
    with _contained():
        model = _peer()["dit"].DiffusionTransformer(
            io_channels=config.latent_channels,
            embed_dim=config.width,
            depth=config.depth,
            num_heads=config.num_heads,
            cond_token_dim=config.text_width if has_wide_text else config.cross_width,
            project_cond_tokens=has_wide_text,
            global_cond_dim=config.seconds_width,
            project_global_cond=config.seconds_width != config.width,
            attn_kwargs={"qk_norm": "ln" if config.qk_norm == "layer" else "none"},
            ff_kwargs={"mult": config.feed_forward_width / config.width},
        )
        # Sizes that the peer has no option for, and that only our smaller presets change.
        if not has_wide_text:
            model.to_cond_embed[0] = nn.Linear(config.text_width, config.cross_width, bias=False)
        model.timestep_features = _peer()["blocks"].FourierFeatures(1, config.sigma_features)
        model.to_timestep_embed[0] = nn.Linear(config.sigma_features, config.width)
        model.transformer.rotary_pos_emb = _peer()["transformer"].RotaryEmbedding(
            config.rotary_dims, base=config.rotary_base
        )
    return _for_inference(model)


def randomise(module: nn.Module, seed: int) -> nn.Module:
    """Fills every parameter with seeded values, none zero, that keep activations near one."""
    generator = torch.Generator().manual_seed(seed)
    # the gains of weight norm last: they are drawn around the norms of their directions
    by_need = sorted(module.named_parameters(), key=lambda item: item[0].endswith("weight_g"))
    with torch.no_grad():
        for name, parameter in by_need:
            owner, _, kind = name.rpartition(".")
            noise = torch.randn(parameter.shape, generator=generator)
            if kind == "weight_g":
                noise = _norms(module.get_parameter(f"{owner}.weight_v")) * (1 + SPREAD * noise)
            elif noise.ndim > 1:
                noise *= GAIN * _num_terms(module.get_submodule(owner), parameter) ** -0.5
            elif kind in ("gamma", "weight"):
                noise = 1 + SPREAD * noise
            else:
                noise *= SPREAD
            parameter.copy_(noise)
    return module


def _norms(direction: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(direction, dim=(1, 2), keepdim=True)


def _num_terms(owner: nn.Module, weight: torch.Tensor) -> int:
    """How many products one output adds up."""
    if isinstance(owner, nn.ConvTranspose1d):
        return weight.shape[0] * weight.shape[2] // owner.stride[0]
    return weight[0].numel()


def _oobleck_sizes(config: CodecConfig) -> dict[str, Any]:
    return {
        "channels": config.base_channels,
        "c_mults": list(config.channel_multiples),
        "strides": list(config.strides),
        "use_snake": True,
    }


def _for_inference(module: nn.Module) -> nn.Module:
    return module.requires_grad_(False).eval()


@functools.cache
def _peer() -> dict[str, Any]:
    """The peer's modules by name, loaded without the packages around them."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{PACKAGE} is not installed: see `tox -e parity`")
    roots = [Path(root) for root in spec.submodule_search_locations]
    stand_ins: dict[str, Any] = {name: _EmptyModule(name) for name in EMPTY}
    for name in ENTERED:
        stand_ins[name] = types.ModuleType(name)
        stand_ins[name].__path__ = [str(root.joinpath(*name.split(".")[1:])) for root in roots]
    stand_ins |= dict.fromkeys(ABSENT)  # None makes an import fail

    # not mock.patch.dict: it would also forget what torch itself imports meanwhile
    before = {name: sys.modules[name] for name in stand_ins if name in sys.modules}
    sys.modules.update(stand_ins)
    try:
        with _contained():
            return {name: importlib.import_module(f"{PACKAGE}.models.{name}") for name in NEEDED}
    finally:
        for name in list(sys.modules):
            if name in stand_ins or name.split(".")[0] == PACKAGE:
                del sys.modules[name]
        sys.modules.update(before)


class _EmptyModule(types.ModuleType):
    """Whatever is imported from it is a class that cannot be made."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (_NotLoaded,), {})


class _NotLoaded:
    def __init__(self, *args: object, **kwargs: object) -> None:
        raise NotImplementedError(f"{type(self).__name__} stands empty in the parity tests")


@contextlib.contextmanager
def _contained() -> Iterator[None]:
    """Keeps the peer's prints, warnings and settings of torch to itself."""
    from torch._dynamo import config

    kept = {name: getattr(config, name) for name in ("cache_size_limit", "suppress_errors")}
    with (
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
        mock.patch.dict(os.environ, {"ENABLE_TORCH_COMPILE": "0"}),
        config.patch(kept),
    ):
        warnings.simplefilter("ignore")
        yield
