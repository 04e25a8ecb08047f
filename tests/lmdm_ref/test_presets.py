from dataclasses import MISSING, FrozenInstanceError, fields, replace
from typing import Any

import pytest

from lmdm_ref.presets import (
    OOBLECK,
    PRESETS,
    SAO_1_0,
    SAO_SMALL,
    TINY,
    TINY_OOBLECK,
    CodecConfig,
    DecoderConfig,
)


def test_stable_audio_open_small_has_the_sizes_it_is_published_with() -> None:
    assert (SAO_SMALL.width, SAO_SMALL.depth) == (1024, 16)
    assert (SAO_SMALL.num_heads, SAO_SMALL.head_dim, SAO_SMALL.num_cross_heads) == (8, 128, 8)
    assert (SAO_SMALL.qk_norm, SAO_SMALL.rotary_dims) == ("layer", 64)
    assert (SAO_SMALL.text_tokens, SAO_SMALL.text_width) == (65, 768)


def test_stable_audio_open_1_0_has_grouped_cross_attention_and_no_qk_norm() -> None:
    assert (SAO_1_0.width, SAO_1_0.depth) == (1536, 24)
    assert (SAO_1_0.num_heads, SAO_1_0.head_dim, SAO_1_0.num_cross_heads) == (24, 64, 12)
    assert (SAO_1_0.qk_norm, SAO_1_0.rotary_dims) == ("none", 32)
    assert (SAO_1_0.text_tokens, SAO_1_0.seconds_width) == (130, 1536)


def test_codec_makes_one_frame_of_64_channels_from_2048_stereo_samples() -> None:
    assert OOBLECK.samples_per_frame == 2048
    assert OOBLECK.strides == (2, 4, 4, 8, 8)
    assert (OOBLECK.sample_rate_hz, OOBLECK.audio_channels) == (44_100, 2)


@pytest.mark.parametrize("name", PRESETS)
def test_decoder_and_codec_of_a_preset_agree_on_channels(name: str) -> None:
    preset = PRESETS[name]
    assert preset.decoder.latent_channels == preset.codec.latent_channels


def test_presets_are_named_as_the_design_names_them() -> None:
    assert set(PRESETS) == {"sao-small", "sao-1.0", "tiny"}


def test_tiny_is_small_and_keeps_what_is_special() -> None:
    assert TINY.depth >= 2
    assert TINY.num_cross_heads < TINY.num_heads
    assert TINY.rotary_dims < TINY.head_dim
    assert TINY.qk_norm == SAO_SMALL.qk_norm
    assert TINY_OOBLECK.samples_per_frame == 64


@pytest.mark.parametrize("config", [DecoderConfig, CodecConfig])
def test_nothing_that_defines_a_model_has_a_default(config: type) -> None:
    assert all(field.default is MISSING for field in fields(config))
    assert all(field.default_factory is MISSING for field in fields(config))


def test_config_cannot_change_under_a_model() -> None:
    with pytest.raises(FrozenInstanceError):
        TINY.depth = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_heads": 3}, "width 32 is not a whole number of 3 heads"),
        ({"cross_width": 24}, "cross_width 24 gives no whole group of heads of 16"),
        ({"cross_width": 48}, "cross_width 48 gives no whole group of heads of 16"),
        ({"rotary_dims": 7}, "rotary_dims 7 is not an even part of head_dim 16"),
        ({"rotary_dims": 18}, "rotary_dims 18 is not an even part of head_dim 16"),
        ({"rotary_dims": 0}, "rotary_dims 0 is not an even part of head_dim 16"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_in_a_sentence(
    changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        replace(TINY, **changes)


def test_cross_width_below_one_head_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="cross_width 8 gives no whole group of heads of 16"):
        replace(TINY, cross_width=8)


def test_stride_without_a_channel_multiple_is_refused() -> None:
    with pytest.raises(ValueError, match="5 channel multiples for 4 strides"):
        replace(OOBLECK, strides=(2, 4, 4, 8))
