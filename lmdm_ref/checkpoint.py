"""Reading stable-audio-tools checkpoints: files to tensors, and their names to ours.

A checkpoint of that package (version 0.0.19) holds the diffusion transformer under
``model.model.``, the codec under ``pretransform.model.`` and the seconds conditioner under
``conditioner.``; fine-tunes and exports drop some of the prefix. Nothing is guessed: a tensor that
is missing, surplus or of another shape is refused, in one sentence that names it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lmdm_ref.codec import Codec
from lmdm_ref.presets import OOBLECK_UNIT_DILATIONS, PRESETS, CodecConfig, DecoderConfig

State = dict[str, Tensor]

PICKLE_SUFFIXES = (".ckpt", ".pt")
DECODER_PREFIXES = ("model.model.", "model.", "")
CODEC_PREFIXES = ("pretransform.model.", "")
SECONDS_PREFIX = "conditioner.conditioners.seconds_total.embedder.embedding."

# What a checkpoint is recognised by: tensors that every diffusion transformer and codec has.
DECODER_MARK = "transformer.project_in.weight"
CODEC_MARK = "decoder.layers."

# Told from other tensors by these first words where no prefix does.
DECODER_ROOTS = (
    "transformer",
    "preprocess_conv",
    "postprocess_conv",
    "timestep_features",
    "to_timestep_embed",
    "to_cond_embed",
    "to_global_embed",
    "to_prepend_embed",
    "to_input_add_embed",
)
CODEC_ROOTS = ("encoder", "decoder")

INPUT_CLEAN = "input_clean.weight"
INVERSE_FREQUENCIES = "inverse_frequencies"
NAMED_PROBLEMS = 3


class Entry(NamedTuple):
    """One tensor: the checkpoint's name for it, ours, and our shape."""

    theirs: str
    ours: str
    shape: tuple[int, ...]


def load_state_dict(path: Path) -> State:
    """The tensors of a ``.safetensors``, ``.ckpt`` or ``.pt`` file, on the CPU, as they are stored.

    No code in a file is ever run. ValueError, in a sentence, for a file that is missing, empty, not
    a checkpoint, or a pickle of more than tensors and plain values.
    """
    if not path.is_file():
        raise ValueError(f"{path} is not a file")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f"{path} is not a safetensors file: {_first_line(error)}") from error
    if path.suffix not in PICKLE_SUFFIXES:
        raise ValueError(f"{path} is neither .safetensors nor {' nor '.join(PICKLE_SUFFIXES)}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # foreign bytes fail in as many ways as there are bytes
        raise ValueError(
            f"{path} is not a checkpoint of tensors alone, and nothing else is loaded: "
            f"{_first_line(error)}"
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    tensors = content.items() if isinstance(content, dict) else ()
    state = {name: tensor for name, tensor in tensors if isinstance(tensor, Tensor)}
    if not state:
        raise ValueError(f"{path} holds no named tensors")
    return state


def decoder_state(state: State, config: DecoderConfig) -> State:
    """The diffusion transformer's tensors under the names of ``DiffusionDecoder``.

    Base models have no B map (LMDM fine-tunes do): it is then zero. ValueError says what is
    missing, surplus or of another shape, and which preset would fit instead.
    """
    prefix = _decoder_prefix(state)
    if prefix is None:
        raise ValueError(f"the checkpoint has no diffusion transformer: no {DECODER_MARK}")
    found = _norms_without_beta(_decoder_part(state, prefix))
    entries = list(_decoder_entries(config))
    problems = _problems(found, entries)
    if problems:
        others = [
            name
            for name, preset in PRESETS.items()
            if not _problems(found, list(_decoder_entries(preset.decoder)))
        ]
        wanted = next((n for n, p in PRESETS.items() if p.decoder == config), "these decoder sizes")
        hint = f"; it fits {others[0]}" if others else ""
        raise ValueError(f"the checkpoint does not fit {wanted}: {_summary(problems)}{hint}")
    renamed = {
        entry.ours: _as_matrix(found[entry.theirs]) for entry in entries if entry.theirs in found
    }
    renamed[INVERSE_FREQUENCIES] = renamed[INVERSE_FREQUENCIES].to(torch.float64)
    if INPUT_CLEAN not in renamed:
        shape = next(entry.shape for entry in entries if entry.ours == INPUT_CLEAN)
        renamed[INPUT_CLEAN] = renamed["input_noisy.weight"].new_zeros(shape)
    return renamed


def codec_state(state: State, config: CodecConfig) -> State | None:
    """The codec's tensors under the names of ``Codec``, weight norm folded in; None if absent.

    ValueError says what is missing, surplus or of another shape.
    """
    prefix = _codec_prefix(state)
    if prefix is None:
        return None
    found = _without_weight_norm(_codec_part(state, prefix))
    entries = list(_codec_entries(config))
    problems = _problems(found, entries)
    if problems:
        raise ValueError(f"the checkpoint does not fit the codec's sizes: {_summary(problems)}")
    return {entry.ours: _as_codec_stores(entry.ours, found[entry.theirs]) for entry in entries}


def seconds_state(state: State) -> State | None:
    """The seconds conditioner's tensors under the names of ``SecondsEmbedding``; None if absent.

    ValueError if only some of its tensors are there.
    """
    names = {"0.weights": "frequencies", "1.weight": "out.weight", "1.bias": "out.bias"}
    found = {
        ours: state[SECONDS_PREFIX + theirs]
        for theirs, ours in names.items()
        if SECONDS_PREFIX + theirs in state
    }
    if found and len(found) < len(names):
        missing = sorted(set(names.values()) - set(found))
        raise ValueError(f"the checkpoint's seconds conditioner lacks {', '.join(missing)}")
    return found or None


def ignored_names(state: State) -> list[str]:
    """Names of tensors that nothing here reads: text encoders, averaged copies, optimisers."""
    taken = {name for name in state if name.startswith(SECONDS_PREFIX)}
    prefix = _decoder_prefix(state)
    if prefix is not None:
        taken |= {prefix + name for name in _decoder_part(state, prefix)}
    prefix = _codec_prefix(state)
    if prefix is not None:
        taken |= {prefix + name for name in _codec_part(state, prefix)}
    return sorted(set(state) - taken)


def _decoder_entries(config: DecoderConfig) -> Iterator[Entry]:
    width, channels, cross = config.width, config.latent_channels, config.cross_width
    features = config.sigma_features
    yield Entry("preprocess_conv.weight", "input_residual.weight", (channels, channels))
    yield Entry(DECODER_MARK, "input_noisy.weight", (width, channels))
    yield Entry("to_input_add_embed.weight", INPUT_CLEAN, (width, 1 + channels))
    yield Entry("transformer.project_out.weight", "output.weight", (channels, width))
    yield Entry("postprocess_conv.weight", "output_residual.weight", (channels, channels))
    yield Entry("timestep_features.weight", "sigma_features.weight", (features // 2, 1))
    yield Entry("to_timestep_embed.0.weight", "sigma_in.weight", (width, features))
    yield Entry("to_timestep_embed.0.bias", "sigma_in.bias", (width,))
    yield Entry("to_timestep_embed.2.weight", "sigma_out.weight", (width, width))
    yield Entry("to_timestep_embed.2.bias", "sigma_out.bias", (width,))
    yield Entry("to_cond_embed.0.weight", "text_in.weight", (cross, config.text_width))
    yield Entry("to_cond_embed.2.weight", "text_out.weight", (cross, cross))
    yield Entry("to_global_embed.0.weight", "seconds_in.weight", (width, config.seconds_width))
    yield Entry("to_global_embed.2.weight", "seconds_out.weight", (width, width))
    yield Entry(
        "transformer.rotary_pos_emb.inv_freq", INVERSE_FREQUENCIES, (config.rotary_dims // 2,)
    )
    for layer in range(config.depth):
        for theirs, ours, shape in _layer_entries(config):
            yield Entry(f"transformer.layers.{layer}.{theirs}", f"layers.{layer}.{ours}", shape)


def _layer_entries(config: DecoderConfig) -> Iterator[Entry]:
    width, cross, inner = config.width, config.cross_width, config.feed_forward_width
    yield Entry("pre_norm.gamma", "self_norm.weight", (width,))
    yield Entry("self_attn.to_qkv.weight", "self_attention.qkv.weight", (3 * width, width))
    yield Entry("self_attn.to_out.weight", "self_attention.out.weight", (width, width))
    yield Entry("cross_attend_norm.gamma", "cross_norm.weight", (width,))
    yield Entry("cross_attn.to_q.weight", "cross_attention.query.weight", (width, width))
    yield Entry("cross_attn.to_kv.weight", "cross_attention.key_value.weight", (2 * cross, cross))
    yield Entry("cross_attn.to_out.weight", "cross_attention.out.weight", (width, width))
    yield Entry("ff_norm.gamma", "feed_forward_norm.weight", (width,))
    yield Entry("ff.ff.0.proj.weight", "feed_forward.gate_up.weight", (2 * inner, width))
    yield Entry("ff.ff.0.proj.bias", "feed_forward.gate_up.bias", (2 * inner,))
    yield Entry("ff.ff.2.weight", "feed_forward.down.weight", (width, inner))
    yield Entry("ff.ff.2.bias", "feed_forward.down.bias", (width,))
    if config.qk_norm == "layer":
        for theirs, ours in (("self_attn", "self_attention"), ("cross_attn", "cross_attention")):
            for kind in ("weight", "bias"):
                yield Entry(f"{theirs}.q_norm.{kind}", f"{ours}.query_norm.{kind}", _head(config))
                yield Entry(f"{theirs}.k_norm.{kind}", f"{ours}.key_norm.{kind}", _head(config))


def _head(config: DecoderConfig) -> tuple[int]:
    return (config.head_dim,)


def _codec_entries(config: CodecConfig) -> Iterator[Entry]:
    """Every tensor of a codec in the checkpoint's layout, shapes read off a codec without data."""
    with torch.device("meta"):
        codec = Codec(config)
    theirs_of = dict(_codec_modules(len(config.strides)))
    for ours, tensor in codec.state_dict().items():
        module, kind = ours.rsplit(".", 1)
        shape = tuple(tensor.shape)
        if ours.endswith("upsample.weight"):
            (channels_out,) = codec.get_parameter(f"{module}.bias").shape
            shape = (shape[1], channels_out, shape[0] // channels_out)
        yield Entry(f"{theirs_of[module]}.{kind}", ours, shape)


def _codec_modules(num_blocks: int) -> Iterator[tuple[str, str]]:
    """(our module, theirs): they number what we name."""
    num_units = len(OOBLECK_UNIT_DILATIONS)
    block_parts = {
        "encoder": (0, {"activation": num_units, "downsample": num_units + 1}),
        "decoder": (2, {"activation": 0, "upsample": 1}),
    }
    unit_parts = ("wide_activation", "wide", "point_activation", "point")
    for side, (first_unit, parts) in block_parts.items():
        yield f"{side}.input", f"{side}.layers.0"
        yield f"{side}.activation", f"{side}.layers.{num_blocks + 1}"
        yield f"{side}.output", f"{side}.layers.{num_blocks + 2}"
        for block in range(num_blocks):
            theirs = f"{side}.layers.{block + 1}.layers"
            for part, place in parts.items():
                yield f"{side}.blocks.{block}.{part}", f"{theirs}.{place}"
            for unit in range(num_units):
                for place, part in enumerate(unit_parts):
                    yield (
                        f"{side}.blocks.{block}.units.{unit}.{part}",
                        f"{theirs}.{first_unit + unit}.layers.{place}",
                    )


def _decoder_prefix(state: State) -> str | None:
    return next((p for p in DECODER_PREFIXES if p + DECODER_MARK in state), None)


def _decoder_part(state: State, prefix: str) -> State:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix)
        and (prefix or name.removeprefix(prefix).split(".")[0] in DECODER_ROOTS)
    }


def _codec_prefix(state: State) -> str | None:
    marks = (p for p in CODEC_PREFIXES if any(name.startswith(p + CODEC_MARK) for name in state))
    return next(marks, None)


def _codec_part(state: State, prefix: str) -> State:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix) and name.removeprefix(prefix).split(".")[0] in CODEC_ROOTS
    }


def _norms_without_beta(found: State) -> State:
    """Drops the shifts of the layer norms, which are constant zeros in that package."""
    kept = {}
    for name, tensor in found.items():
        if name.startswith("transformer.layers.") and name.endswith("norm.beta"):
            if tensor.count_nonzero() > 0:
                raise ValueError(
                    f"the checkpoint's {name} is not zero: norms that shift are not supported"
                )
        else:
            kept[name] = tensor
    return kept


def _without_weight_norm(found: State) -> State:
    """Replaces each gain and direction, in either of torch's two spellings, by their weight."""
    spellings = (
        (".weight_g", ".weight_v"),
        (".parametrizations.weight.original0", ".parametrizations.weight.original1"),
    )
    plain = dict(found)
    for gain_name, direction_name in spellings:
        for name in found:
            module = name.removesuffix(gain_name)
            if module != name and module + direction_name in found:
                gain, direction = plain.pop(name), plain.pop(module + direction_name)
                plain[f"{module}.weight"] = _fold_weight_norm(gain, direction)
    return plain


def _fold_weight_norm(
    gain: Float[Tensor, "rows 1 1"], direction: Float[Tensor, "rows columns kernel"]
) -> Float[Tensor, "rows columns kernel"]:
    """gain · direction / ‖direction‖, normed over all but the first axis, in float32 at least."""
    wide = direction.to(torch.promote_types(direction.dtype, torch.float32))
    norm = torch.linalg.vector_norm(wide, dim=(1, 2), keepdim=True)
    return (wide * (gain / norm)).to(direction.dtype)


def _as_matrix(tensor: Tensor) -> Tensor:
    """A convolution of kernel one is a matrix."""
    return tensor[..., 0] if tensor.ndim == 3 and tensor.shape[-1] == 1 else tensor


def _as_codec_stores(ours: str, tensor: Tensor) -> Tensor:
    """The layout of ``Upsampling.weight``, and everything else as it is."""
    if not ours.endswith("upsample.weight"):
        return tensor
    halves = "channels_in channels_out (half stride) -> (half channels_out stride) channels_in"
    return rearrange(tensor, halves, half=2).contiguous()


def _problems(found: State, entries: Sequence[Entry]) -> list[str]:
    """What does not fit, a clause each: shapes, then missing, then surplus tensors."""
    shapes = [
        f"{entry.ours} is {list(shape)}, expected {list(entry.shape)}"
        for entry in entries
        if entry.theirs in found
        and (shape := tuple(found[entry.theirs].shape)) != entry.shape
        and not (shape == (*entry.shape, 1) and len(entry.shape) == 2)
    ]
    missing = [
        f"{entry.ours} {list(entry.shape)} is missing"
        for entry in entries
        if entry.theirs not in found and entry.ours != INPUT_CLEAN
    ]
    known = {entry.theirs for entry in entries}
    surplus = [f"{name} is unexpected" for name in found if name not in known]
    return shapes + missing + surplus


def _summary(problems: list[str]) -> str:
    rest = len(problems) - NAMED_PROBLEMS
    return ", ".join(problems[:NAMED_PROBLEMS]) + (f"; {rest} more" if rest > 0 else "")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
