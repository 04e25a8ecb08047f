"""A whole checkpoint becomes models that run, and says in a sentence why it cannot."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from lmdm_ref.block_causal import BlockCausal
from lmdm_ref.checkpoint import SECONDS_PREFIX
from lmdm_ref.geometry import Geometry
from lmdm_ref.presets import PRESETS, SAO_SMALL, TINY
from lmdm_ref.sampler import pingpong_sampler
from lmdm_ref.schedule import logsnr_sigmas
from lmdm_ref.stable_audio import load_stable_audio
from lmdm_ref.stream import block_noise

GEOMETRY = Geometry(sample_rate_hz=44_100, samples_per_frame=64, context_frames=6, block_frames=3)


def layer_tensors(prefix: str) -> dict[str, Tensor]:
    """One layer of a tiny checkpoint, in stable-audio-tools' names."""
    width, cross, ff, head = TINY.width, TINY.cross_width, TINY.feed_forward_width, TINY.head_dim
    shapes = {
        "self_attn.to_qkv.weight": (3 * width, width),
        "self_attn.to_out.weight": (width, width),
        "cross_attn.to_q.weight": (width, width),
        "cross_attn.to_kv.weight": (2 * cross, cross),
        "cross_attn.to_out.weight": (width, width),
        "ff.ff.0.proj.weight": (2 * ff, width),
        "ff.ff.0.proj.bias": (2 * ff,),
        "ff.ff.2.weight": (width, ff),
        "ff.ff.2.bias": (width,),
        "pre_norm.gamma": (width,),
        "cross_attend_norm.gamma": (width,),
        "ff_norm.gamma": (width,),
    }
    shapes |= {
        f"{kind}_attn.{which}_norm.{part}": (head,)
        for kind in ("self", "cross")
        for which in ("q", "k")
        for part in ("weight", "bias")
    }
    tensors = {prefix + name: 0.1 * torch.randn(shape) for name, shape in shapes.items()}
    norms = ("pre_norm", "cross_attend_norm", "ff_norm")
    return tensors | {f"{prefix}{norm}.beta": torch.zeros(width) for norm in norms}


def tiny_checkpoint() -> dict[str, Tensor]:
    """A base model without B, as stable-audio-tools would store it."""
    width, channels = TINY.width, TINY.latent_channels
    root = "model.model."
    state = {
        "preprocess_conv.weight": torch.randn(channels, channels, 1),
        "postprocess_conv.weight": torch.randn(channels, channels, 1),
        "timestep_features.weight": torch.randn(TINY.sigma_features // 2, 1),
        "to_timestep_embed.0.weight": torch.randn(width, TINY.sigma_features),
        "to_timestep_embed.0.bias": torch.randn(width),
        "to_timestep_embed.2.weight": torch.randn(width, width),
        "to_timestep_embed.2.bias": torch.randn(width),
        "to_cond_embed.0.weight": torch.randn(TINY.cross_width, TINY.text_width),
        "to_cond_embed.2.weight": torch.randn(TINY.cross_width, TINY.cross_width),
        "to_global_embed.0.weight": torch.randn(width, TINY.seconds_width),
        "to_global_embed.2.weight": torch.randn(width, width),
        "transformer.project_in.weight": torch.randn(width, channels),
        "transformer.project_out.weight": torch.randn(channels, width),
        "transformer.rotary_pos_emb.inv_freq": 7.0 ** -torch.arange(TINY.rotary_dims // 2.0),
    }
    for index in range(TINY.depth):
        state |= layer_tensors(f"transformer.layers.{index}.")
    state = {root + name: tensor for name, tensor in state.items()}
    state["conditioner.conditioners.prompt.model.shared.weight"] = torch.zeros(2, 2)
    state[SECONDS_PREFIX + "0.weights"] = torch.randn(128)
    state[SECONDS_PREFIX + "1.weight"] = 0.1 * torch.randn(TINY.text_width, 257)
    state[SECONDS_PREFIX + "1.bias"] = torch.randn(TINY.text_width)
    return state


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.safetensors"
    save_file(tiny_checkpoint(), file)
    return file


def test_the_preset_that_fits_is_found(path: Path) -> None:
    assert load_stable_audio(path).name == "tiny"
    assert load_stable_audio(str(path), "tiny").preset == PRESETS["tiny"]


def test_b_is_zero_where_it_is_missing(path: Path) -> None:
    decoder = load_stable_audio(path).decoder()
    assert torch.equal(decoder.input_clean.weight, torch.zeros(TINY.width, 9))


def test_rotary_frequencies_are_the_checkpoint_s(path: Path) -> None:
    decoder = load_stable_audio(path).decoder(torch.bfloat16)
    expected = tiny_checkpoint()["model.model.transformer.rotary_pos_emb.inv_freq"].double()
    assert torch.equal(decoder.inverse_frequencies, expected)


def test_a_loaded_model_streams(path: Path) -> None:
    loaded = load_stable_audio(path)
    stream = BlockCausal(loaded.decoder(), GEOMETRY, pingpong_sampler(logsnr_sigmas(2)))
    state = stream.prefill(torch.randn(1, 6, 8), loaded.conditioning(12.0))
    noise = block_noise(stream, 1, torch.Generator().manual_seed(0))
    assert stream.generate(noise, state).isfinite().all()


def test_depth_keeps_the_first_layers(path: Path) -> None:
    whole = load_stable_audio(path).decoder()
    first = load_stable_audio(path).decoder(depth=1)
    assert len(first.layers) == 1
    wanted = whole.layers[0].state_dict()
    assert all(torch.equal(wanted[name], one) for name, one in first.layers[0].state_dict().items())


def test_the_seconds_are_the_last_text_token_and_the_global_vector(path: Path) -> None:
    prompt = load_stable_audio(path).conditioning(12.0)
    assert prompt.text.shape == (1, TINY.text_tokens, TINY.text_width)
    assert torch.equal(prompt.text[:, -1], prompt.seconds)
    assert not prompt.text[:, :-1].any()


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    state = {
        name: one for name, one in tiny_checkpoint().items() if not name.startswith("conditioner")
    }
    save_file(state, tmp_path / "bare.safetensors")
    loaded = load_stable_audio(tmp_path / "bare.safetensors")
    with pytest.raises(ValueError, match="no seconds conditioner"):
        loaded.conditioning(12.0)
    with pytest.raises(ValueError, match="no codec"):
        loaded.codec()


def test_another_model_s_name_is_refused_with_the_file_s(path: Path) -> None:
    with pytest.raises(ValueError, match=r"tiny.safetensors: .*does not fit sao-small.*fits tiny"):
        load_stable_audio(path, "sao-small")
    with pytest.raises(ValueError, match="unknown model 'huge'"):
        load_stable_audio(path, "huge")


def test_a_file_that_fits_nothing_is_refused_for_the_first_preset(tmp_path: Path) -> None:
    state = tiny_checkpoint()
    state["model.model.transformer.project_in.weight"] = torch.zeros(3, 3)
    save_file(state, tmp_path / "odd.safetensors")
    with pytest.raises(ValueError, match="does not fit sao-small"):
        load_stable_audio(tmp_path / "odd.safetensors")


def test_the_sizes_of_stable_audio_open_small_take_65_tokens() -> None:
    assert SAO_SMALL.text_tokens == 64 + 1
