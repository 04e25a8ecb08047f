import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from helpers import assert_identity, seeded
from lmdm_ref.checkpoint import (
    codec_state,
    decoder_state,
    ignored_names,
    load_state_dict,
    seconds_state,
)
from lmdm_ref.codec import Codec, random_codec
from lmdm_ref.conditioning import SecondsEmbedding
from lmdm_ref.decoder import DiffusionDecoder
from lmdm_ref.presets import OOBLECK, PRESETS, SAO_SMALL, TINY, TINY_OOBLECK, DecoderConfig

SECONDS = "conditioner.conditioners.seconds_total.embedder.embedding."
DECODER_PREFIXES = ["model.model.", "model.", ""]

State = dict[str, Tensor]


# Checkpoints, written down from the published files' names and sizes.


def decoder_checkpoint(config: DecoderConfig, prefix: str = "model.model.") -> State:
    """A base model's tensors, every one different, on the meta device beyond the tiny preset."""
    width, channels, cross = config.width, config.latent_channels, config.cross_width
    shapes: dict[str, tuple[int, ...]] = {
        "preprocess_conv.weight": (channels, channels, 1),
        "postprocess_conv.weight": (channels, channels, 1),
        "timestep_features.weight": (config.sigma_features // 2, 1),
        "to_timestep_embed.0.weight": (width, config.sigma_features),
        "to_timestep_embed.0.bias": (width,),
        "to_timestep_embed.2.weight": (width, width),
        "to_timestep_embed.2.bias": (width,),
        "to_cond_embed.0.weight": (cross, config.text_width),
        "to_cond_embed.2.weight": (cross, cross),
        "to_global_embed.0.weight": (width, config.seconds_width),
        "to_global_embed.2.weight": (width, width),
        "transformer.project_in.weight": (width, channels),
        "transformer.project_out.weight": (channels, width),
        "transformer.rotary_pos_emb.inv_freq": (config.rotary_dims // 2,),
    }
    for layer in range(config.depth):
        at = f"transformer.layers.{layer}"
        for norm in ("pre_norm", "cross_attend_norm", "ff_norm"):
            shapes[f"{at}.{norm}.gamma"] = (width,)
            shapes[f"{at}.{norm}.beta"] = (width,)
        shapes[f"{at}.self_attn.to_qkv.weight"] = (3 * width, width)
        shapes[f"{at}.cross_attn.to_q.weight"] = (width, width)
        shapes[f"{at}.cross_attn.to_kv.weight"] = (2 * cross, cross)
        for attention in ("self_attn", "cross_attn"):
            shapes[f"{at}.{attention}.to_out.weight"] = (width, width)
            if config.qk_norm == "layer":
                for norm in ("q_norm", "k_norm"):
                    shapes[f"{at}.{attention}.{norm}.weight"] = (config.head_dim,)
                    shapes[f"{at}.{attention}.{norm}.bias"] = (config.head_dim,)
        shapes[f"{at}.ff.ff.0.proj.weight"] = (2 * config.feed_forward_width, width)
        shapes[f"{at}.ff.ff.0.proj.bias"] = (2 * config.feed_forward_width,)
        shapes[f"{at}.ff.ff.2.weight"] = (width, config.feed_forward_width)
        shapes[f"{at}.ff.ff.2.bias"] = (width,)
    if config != TINY:
        return {prefix + name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    state = {}
    for seed, (name, shape) in enumerate(shapes.items()):
        state[prefix + name] = seeded(seed, *shape).float()
        if name.endswith(".beta"):
            state[prefix + name].zero_()
    return state


def without_betas(state: State) -> State:
    """Tensors without data cannot show that they are zero."""
    return {name: tensor for name, tensor in state.items() if not name.endswith(".beta")}


def codec_checkpoint(prefix: str = "pretransform.model.", spelling: str = "old") -> State:
    """A tiny codec's tensors with weight norm, by their numbered names."""
    wide, narrow, latent = 8, 4, TINY_OOBLECK.latent_channels
    convolutions: dict[str, tuple[int, int, int]] = {
        "encoder.layers.0": (narrow, 2, 7),
        "encoder.layers.4": (2 * latent, wide, 3),
        "encoder.layers.1.layers.4": (narrow, narrow, 16),
        "encoder.layers.2.layers.4": (wide, narrow, 16),
        "decoder.layers.0": (wide, latent, 7),
        "decoder.layers.4": (2, narrow, 7),
    }
    transposed = {
        "decoder.layers.1.layers.1": (wide, narrow, 16),
        "decoder.layers.2.layers.1": (narrow, narrow, 16),
    }
    snakes = {
        "encoder.layers.1.layers.3": narrow,
        "encoder.layers.2.layers.3": narrow,
        "encoder.layers.3": wide,
        "decoder.layers.1.layers.0": wide,
        "decoder.layers.2.layers.0": narrow,
        "decoder.layers.3": narrow,
    }
    for side, first in (("encoder", 0), ("decoder", 2)):
        for block in (1, 2):
            for unit in range(first, first + 3):
                at = f"{side}.layers.{block}.layers.{unit}.layers"
                snakes[f"{at}.0"] = snakes[f"{at}.2"] = narrow
                convolutions[f"{at}.1"] = (narrow, narrow, 7)
                convolutions[f"{at}.3"] = (narrow, narrow, 1)
    gain, direction = {
        "old": ("weight_g", "weight_v"),
        "new": ("parametrizations.weight.original0", "parametrizations.weight.original1"),
    }[spelling]
    state = {}
    for seed, (name, shape) in enumerate((convolutions | transposed).items()):
        state[f"{name}.{gain}"] = 1 + seeded(seed, shape[0], 1, 1).square()
        state[f"{name}.{direction}"] = seeded(100 + seed, *shape)
        if name != "decoder.layers.4":
            channels_out = shape[1] if name in transposed else shape[0]
            state[f"{name}.bias"] = seeded(200 + seed, channels_out)
    for seed, (name, channels) in enumerate(snakes.items()):
        state[f"{name}.alpha"] = seeded(300 + seed, channels)
        state[f"{name}.beta"] = seeded(400 + seed, channels)
    return {prefix + name: tensor for name, tensor in state.items()}


def seconds_checkpoint() -> State:
    return {
        SECONDS + "0.weights": seeded(0, 128).float(),
        SECONDS + "1.weight": seeded(1, 768, 257).float(),
        SECONDS + "1.bias": seeded(2, 768).float(),
    }


# Files.


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt", ".pt"])
def test_a_file_gives_back_its_tensors(tmp_path: Path, suffix: str) -> None:
    path, state = tmp_path / f"model{suffix}", seconds_checkpoint()
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    loaded = load_state_dict(path)
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state)


def test_a_training_checkpoint_is_unwrapped_and_keeps_only_tensors(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    state = {"weight": torch.ones(2), "step": 3}
    torch.save({"state_dict": state, "epoch": 7}, path)
    assert list(load_state_dict(path)) == ["weight"]


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.ckpt", tmp_path):
        with pytest.raises(ValueError, match="is not a file"):
            load_state_dict(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt", ".pt"])
def test_an_empty_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    path.touch()
    with pytest.raises(ValueError, match="is empty"):
        load_state_dict(path)


@pytest.mark.parametrize(
    "content", [b"<!DOCTYPE html>\n<html>", b"\x80", b"PK\x03\x04 cut off", bytes(4096)]
)
@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_a_file_of_other_bytes_is_refused_in_one_line(
    tmp_path: Path, suffix: str, content: bytes
) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not a") as refusal:
        load_state_dict(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_cut_off_file_is_refused(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    save_file(seconds_checkpoint(), whole)
    cut.write_bytes(whole.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is not a safetensors file"):
        load_state_dict(cut)


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("is_archive", [True, False])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path, is_archive: bool) -> None:
    path, sprung = tmp_path / "model.ckpt", tmp_path / "sprung"
    content = {"state_dict": {"weight": torch.ones(1)}, "trap": Trap(sprung)}
    if is_archive:
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match="not a checkpoint of tensors alone"):
        load_state_dict(path)
    assert not sprung.exists()


@pytest.mark.parametrize("content", [{}, {"step": 3}, [torch.ones(1)], torch.ones(1)])
def test_a_file_without_named_tensors_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "model.pt"
    torch.save(content, path)
    with pytest.raises(ValueError, match="holds no named tensors"):
        load_state_dict(path)


def test_other_file_types_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"onnx")
    with pytest.raises(ValueError, match=r"neither .safetensors nor .ckpt nor .pt"):
        load_state_dict(path)


# The decoder.


@pytest.mark.parametrize("prefix", DECODER_PREFIXES)
def test_decoder_tensors_get_the_names_and_shapes_of_our_decoder(prefix: str) -> None:
    state = decoder_state(decoder_checkpoint(TINY, prefix), TINY)
    with torch.device("meta"):
        expected = DiffusionDecoder(TINY).state_dict()
    assert {name: one.shape for name, one in state.items()} == {
        name: one.shape for name, one in expected.items()
    }


@pytest.mark.parametrize("name", ["sao-small", "sao-1.0"])
def test_published_sizes_get_the_names_and_shapes_of_our_decoder(name: str) -> None:
    config = PRESETS[name].decoder
    state = decoder_state(without_betas(decoder_checkpoint(config)), config)
    with torch.device("meta"):
        expected = DiffusionDecoder(config).state_dict()
    assert {name: one.shape for name, one in state.items()} == {
        name: one.shape for name, one in expected.items()
    }


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("transformer.project_in.weight", "input_noisy.weight"),
        ("transformer.project_out.weight", "output.weight"),
        ("timestep_features.weight", "sigma_features.weight"),
        ("to_timestep_embed.0.bias", "sigma_in.bias"),
        ("to_timestep_embed.2.weight", "sigma_out.weight"),
        ("to_cond_embed.2.weight", "text_out.weight"),
        ("to_global_embed.0.weight", "seconds_in.weight"),
        ("transformer.layers.1.pre_norm.gamma", "layers.1.self_norm.weight"),
        ("transformer.layers.1.cross_attend_norm.gamma", "layers.1.cross_norm.weight"),
        ("transformer.layers.1.ff_norm.gamma", "layers.1.feed_forward_norm.weight"),
        ("transformer.layers.0.self_attn.to_qkv.weight", "layers.0.self_attention.qkv.weight"),
        ("transformer.layers.0.self_attn.to_out.weight", "layers.0.self_attention.out.weight"),
        ("transformer.layers.0.self_attn.q_norm.bias", "layers.0.self_attention.query_norm.bias"),
        ("transformer.layers.0.cross_attn.to_q.weight", "layers.0.cross_attention.query.weight"),
        ("transformer.layers.0.cross_attn.to_out.weight", "layers.0.cross_attention.out.weight"),
        (
            "transformer.layers.0.cross_attn.k_norm.weight",
            "layers.0.cross_attention.key_norm.weight",
        ),
        ("transformer.layers.0.ff.ff.0.proj.weight", "layers.0.feed_forward.gate_up.weight"),
        ("transformer.layers.0.ff.ff.2.bias", "layers.0.feed_forward.down.bias"),
    ],
)
def test_each_decoder_tensor_lands_where_it_belongs(theirs: str, ours: str) -> None:
    checkpoint = decoder_checkpoint(TINY)
    assert torch.equal(decoder_state(checkpoint, TINY)[ours], checkpoint[f"model.model.{theirs}"])


def test_pointwise_convolutions_become_matrices() -> None:
    checkpoint = decoder_checkpoint(TINY)
    state = decoder_state(checkpoint, TINY)
    before, after = "input_residual.weight", "output_residual.weight"
    assert torch.equal(state[before], checkpoint["model.model.preprocess_conv.weight"][..., 0])
    assert torch.equal(state[after], checkpoint["model.model.postprocess_conv.weight"][..., 0])


def test_rotary_frequencies_of_the_file_are_kept_in_float64() -> None:
    checkpoint = decoder_checkpoint(TINY)
    frequencies = decoder_state(checkpoint, TINY)["inverse_frequencies"]
    stored = checkpoint["model.model.transformer.rotary_pos_emb.inv_freq"]
    assert frequencies.dtype == torch.float64
    assert torch.equal(frequencies, stored.double())


def test_a_base_model_has_a_zero_map_for_clean_frames() -> None:
    clean = decoder_state(decoder_checkpoint(TINY), TINY)["input_clean.weight"]
    assert clean.shape == (TINY.width, 1 + TINY.latent_channels)
    assert not clean.any()


@pytest.mark.parametrize("prefix", DECODER_PREFIXES)
def test_a_fine_tune_brings_its_map_for_clean_frames(prefix: str) -> None:
    checkpoint = decoder_checkpoint(TINY, prefix)
    clean = seeded(0, TINY.width, 1 + TINY.latent_channels)
    checkpoint[f"{prefix}to_input_add_embed.weight"] = clean
    assert torch.equal(decoder_state(checkpoint, TINY)["input_clean.weight"], clean)


def test_a_norm_that_shifts_is_refused() -> None:
    checkpoint = decoder_checkpoint(TINY)
    checkpoint["model.model.transformer.layers.1.ff_norm.beta"][3] = 0.1
    with pytest.raises(ValueError, match=r"layers\.1\.ff_norm\.beta is not zero"):
        decoder_state(checkpoint, TINY)


def test_other_sizes_are_refused_with_the_preset_that_fits() -> None:
    large = without_betas(decoder_checkpoint(PRESETS["sao-1.0"].decoder))
    with pytest.raises(ValueError, match=r"it fits sao-1.0$") as refusal:
        decoder_state(large, SAO_SMALL)
    message = str(refusal.value)
    assert message.startswith("the checkpoint does not fit sao-small: ")
    assert "input_noisy.weight is [1536, 64], expected [1024, 64]" in message
    assert " more; it fits" in message


def test_no_preset_is_named_where_none_fits() -> None:
    odd = replace(TINY, feed_forward_width=48, depth=1)
    with pytest.raises(ValueError, match=r"does not fit tiny: layers\.0\.feed_forward") as refusal:
        decoder_state(without_betas(decoder_checkpoint(odd)), TINY)
    assert "it fits" not in str(refusal.value)


def test_a_missing_tensor_is_named() -> None:
    checkpoint = decoder_checkpoint(TINY)
    del checkpoint["model.model.transformer.layers.1.cross_attn.to_kv.weight"]
    missing = r"tiny: layers\.1\.cross_attention\.key_value\.weight \[32, 16\] is missing$"
    with pytest.raises(ValueError, match=missing):
        decoder_state(checkpoint, TINY)


@pytest.mark.parametrize("prefix", DECODER_PREFIXES)
def test_a_surplus_tensor_is_named(prefix: str) -> None:
    checkpoint = decoder_checkpoint(TINY, prefix)
    checkpoint[f"{prefix}transformer.memory_tokens"] = torch.zeros(1)
    with pytest.raises(ValueError, match=r"transformer\.memory_tokens is unexpected$"):
        decoder_state(checkpoint, TINY)


def test_a_file_without_a_decoder_is_refused() -> None:
    with pytest.raises(ValueError, match="has no diffusion transformer"):
        decoder_state(codec_checkpoint(), TINY)


# The codec.


def test_codec_tensors_fit_our_codec() -> None:
    state = codec_state(codec_checkpoint(), TINY_OOBLECK)
    assert state is not None
    codec = Codec(TINY_OOBLECK).double()
    assert codec.load_state_dict(state).missing_keys == []


@pytest.mark.parametrize("spelling", ["old", "new"])
def test_weight_norm_is_folded_as_torch_folds_it(spelling: str) -> None:
    state = codec_state(codec_checkpoint(spelling=spelling), TINY_OOBLECK)
    checkpoint = codec_checkpoint(spelling="old")
    at = "pretransform.model.encoder.layers.1.layers.2.layers.1"
    layer = parametrizations.weight_norm(nn.Conv1d(4, 4, 7).double())
    layer.parametrizations.weight.original0.data = checkpoint[f"{at}.weight_g"]
    layer.parametrizations.weight.original1.data = checkpoint[f"{at}.weight_v"]
    assert state is not None
    assert_identity(state["encoder.blocks.0.units.2.wide.weight"], layer.weight)
    assert torch.equal(state["encoder.blocks.0.units.2.wide.bias"], checkpoint[f"{at}.bias"])


def test_a_folded_transposed_kernel_is_normed_over_its_input_channel() -> None:
    checkpoint = codec_checkpoint()
    state = codec_state(checkpoint, TINY_OOBLECK)
    assert state is not None
    at = "pretransform.model.decoder.layers.1.layers.1"
    gain, direction = checkpoint[f"{at}.weight_g"], checkpoint[f"{at}.weight_v"]
    rows = state["decoder.blocks.0.upsample.weight"]
    for channel_in, channel_out, tap in ((0, 0, 0), (7, 3, 15), (2, 1, 9)):
        half, place = divmod(tap, 8)
        one = direction[channel_in, channel_out, tap] / direction[channel_in].norm()
        row = rows[(half * 4 + channel_out) * 8 + place, channel_in]
        assert_identity(row, gain[channel_in, 0, 0] * one)


def test_weights_that_are_already_folded_are_taken_as_they_are() -> None:
    folded = codec_state(codec_checkpoint(), TINY_OOBLECK)
    assert folded is not None
    checkpoint = codec_checkpoint()
    at = "pretransform.model.decoder.layers.0"
    del checkpoint[f"{at}.weight_g"], checkpoint[f"{at}.weight_v"]
    checkpoint[f"{at}.weight"] = folded["decoder.input.weight"]
    again = codec_state(checkpoint, TINY_OOBLECK)
    assert again is not None
    assert all(torch.equal(again[name], folded[name]) for name in folded)


def test_half_precision_weights_are_folded_in_float32() -> None:
    whole = codec_checkpoint()
    half = codec_state({name: one.half() for name, one in whole.items()}, TINY_OOBLECK)
    rounded = {name: one.half().float() for name, one in whole.items()}
    expected = codec_state(rounded, TINY_OOBLECK)
    assert half is not None and expected is not None
    assert all(torch.equal(half[name], expected[name].half()) for name in expected)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("encoder.layers.3.alpha", "encoder.activation.alpha"),
        ("encoder.layers.2.layers.3.beta", "encoder.blocks.1.activation.beta"),
        (
            "encoder.layers.2.layers.0.layers.2.alpha",
            "encoder.blocks.1.units.0.point_activation.alpha",
        ),
        ("decoder.layers.1.layers.0.beta", "decoder.blocks.0.activation.beta"),
        (
            "decoder.layers.2.layers.4.layers.0.alpha",
            "decoder.blocks.1.units.2.wide_activation.alpha",
        ),
        ("decoder.layers.2.layers.3.layers.3.bias", "decoder.blocks.1.units.1.point.bias"),
        ("decoder.layers.1.layers.1.bias", "decoder.blocks.0.upsample.bias"),
        ("encoder.layers.4.bias", "encoder.output.bias"),
    ],
)
def test_each_codec_tensor_lands_where_it_belongs(theirs: str, ours: str) -> None:
    checkpoint = codec_checkpoint(prefix="")
    state = codec_state(checkpoint, TINY_OOBLECK)
    assert state is not None
    assert torch.equal(state[ours], checkpoint[theirs])


def test_a_file_without_a_codec_has_none() -> None:
    assert codec_state(decoder_checkpoint(TINY), TINY_OOBLECK) is None


def test_a_codec_of_other_sizes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"does not fit the codec's sizes: .*; \d+ more"):
        codec_state(codec_checkpoint(), OOBLECK)


def test_codec_tensors_that_are_missing_or_surplus_are_named() -> None:
    checkpoint = codec_checkpoint()
    del checkpoint["pretransform.model.decoder.layers.4.weight_g"]
    checkpoint["pretransform.model.encoder.layers.9.bias"] = torch.zeros(1)
    with pytest.raises(ValueError, match="does not fit") as refusal:
        codec_state(checkpoint, TINY_OOBLECK)
    assert "decoder.output.weight [2, 4, 7] is missing" in str(refusal.value)
    assert "decoder.layers.4.weight_v is unexpected" in str(refusal.value)
    assert "encoder.layers.9.bias is unexpected" in str(refusal.value)


def test_a_random_codec_survives_being_written_as_a_checkpoint() -> None:
    """From our names to theirs by hand, for the one tensor whose layout changes, and back."""
    codec = random_codec(TINY_OOBLECK, 0, torch.float64, "cpu")
    rows = codec.get_parameter("decoder.blocks.0.upsample.weight")
    kernel = rows.reshape(2, 4, 8, 8).permute(3, 1, 0, 2).reshape(8, 4, 16)
    checkpoint = codec_checkpoint()
    at = "pretransform.model.decoder.layers.1.layers.1"
    checkpoint[f"{at}.weight_v"] = kernel
    checkpoint[f"{at}.weight_g"] = torch.linalg.vector_norm(kernel, dim=(1, 2), keepdim=True)
    state = codec_state(checkpoint, TINY_OOBLECK)
    assert state is not None
    assert_identity(state["decoder.blocks.0.upsample.weight"], rows)


# Seconds, and the rest.


def test_the_seconds_conditioner_fits_our_embedding() -> None:
    checkpoint = seconds_checkpoint()
    state = seconds_state(checkpoint)
    assert state is not None
    SecondsEmbedding().load_state_dict(state)
    assert torch.equal(state["frequencies"], checkpoint[SECONDS + "0.weights"])


def test_a_file_without_seconds_has_none() -> None:
    assert seconds_state(codec_checkpoint()) is None


def test_half_a_seconds_conditioner_is_refused() -> None:
    checkpoint = seconds_checkpoint()
    del checkpoint[SECONDS + "1.bias"]
    with pytest.raises(ValueError, match=r"seconds conditioner lacks out\.bias"):
        seconds_state(checkpoint)


@pytest.mark.parametrize("prefix", DECODER_PREFIXES)
def test_what_nobody_reads_is_named_and_does_not_disturb(prefix: str) -> None:
    needed = decoder_checkpoint(TINY, prefix) | codec_checkpoint() | seconds_checkpoint()
    others = ["conditioner.conditioners.prompt.proj_out.weight", "model_ema.step", "epoch"]
    state = needed | dict.fromkeys(others, torch.zeros(1))
    assert ignored_names(state) == sorted(others)
    assert decoder_state(state, TINY).keys() == decoder_state(needed, TINY).keys()
    assert codec_state(state, TINY_OOBLECK) is not None
    assert seconds_state(state) is not None
