from dataclasses import MISSING, FrozenInstanceError, fields, replace

import pytest
import torch
from torch import nn

from lmdm_ref.lmm_encoder_decoder import EncoderDecoderLMM
from lmdm_ref.lmm_frame_wise import FrameWiseLMM
from lmdm_ref.lmm_presets import (
    LMM_PRESETS,
    MRT1_BASE,
    MRT1_LARGE,
    MRT1_TINY,
    MRT2_BASE,
    MRT2_SMALL,
    MRT2_TINY,
    EncoderDecoderLMMConfig,
    FrameWiseLMMConfig,
    StackConfig,
)

TOTAL, PART = 0.005, 0.02


def millions(*modules: nn.Module) -> float:
    return sum(one.numel() for module in modules for one in module.parameters()) / 1e6


@pytest.mark.parametrize(("config", "published"), [(MRT1_LARGE, 761.6), (MRT1_BASE, 348.0)])
def test_magenta_rt_1_has_as_many_parameters_as_its_layer_figures_give(
    config: EncoderDecoderLMMConfig, published: float
) -> None:
    with torch.device("meta"):
        model = EncoderDecoderLMM(config)
    assert millions(model) == pytest.approx(published, rel=TOTAL)


def test_parts_of_magenta_rt_1_large_are_those_of_the_count() -> None:
    with torch.device("meta"):
        model = EncoderDecoderLMM(MRT1_LARGE)
    assert millions(model.encoder_layers) == pytest.approx(308, rel=PART)
    assert millions(model.temporal_layers) == pytest.approx(341, rel=PART)
    assert millions(model.depth_decoder.layers) == pytest.approx(51, rel=PART)
    assert millions(model.embedding) == pytest.approx(30.5, rel=PART)
    assert millions(model.depth_decoder.head) == pytest.approx(30.5, rel=PART)


@pytest.mark.parametrize(
    ("config", "total", "parts"),
    [
        (MRT2_SMALL, 229.73, (182.64, 24.41, 12.59, 10.09)),
        (MRT2_BASE, 2406.70, (2265.77, 91.30, 37.77, 11.86)),
    ],
)
def test_magenta_rt_2_has_the_parameters_of_the_published_modules(
    config: FrameWiseLMMConfig, total: float, parts: tuple[float, ...]
) -> None:
    with torch.device("meta"):
        model = FrameWiseLMM(config)
    temporal, depth, codes, conditions = parts
    assert millions(model) == pytest.approx(total, rel=TOTAL)
    assert millions(model.temporal_layers) == pytest.approx(temporal, rel=PART)
    assert millions(model.depth_decoder, model.depth_in) == pytest.approx(depth, rel=PART)
    assert millions(model.embedding) == pytest.approx(codes, rel=PART)
    assert millions(model.conditions) == pytest.approx(conditions, rel=PART)


def test_magenta_rt_1_hears_1006_tokens_and_makes_800() -> None:
    for config in (MRT1_LARGE, MRT1_BASE):
        assert config.encoder_tokens(config.geometry.context_frames) == 1006
        assert config.geometry.block_tokens == 800
        assert config.geometry.block_seconds == 2.0
        assert config.geometry.frame_rate_hz == 25.0
        assert config.style_offset + config.style_tokens * config.codebook_size <= config.vocabulary


def test_magenta_rt_2_looks_back_41_and_25_frames() -> None:
    assert MRT2_SMALL.geometry.context_frames == 41
    assert MRT2_BASE.geometry.context_frames == 25
    for config in (MRT2_SMALL, MRT2_BASE):
        assert config.geometry.num_levels == config.num_levels == 12
        assert config.geometry.frame_rate_hz == 25.0
        assert config.vocabulary == 6 + 12 * 1024
        assert len(config.condition_codes) == 128 + 1 + 3
        assert config.logit_cap == 30.0


@pytest.mark.parametrize("name", LMM_PRESETS)
def test_tables_have_a_row_for_every_code(name: str) -> None:
    config = LMM_PRESETS[name]
    assert config.reserved_tokens + config.num_levels * config.codebook_size <= config.vocabulary
    if isinstance(config, FrameWiseLMMConfig):
        assert sum(config.condition_codes) <= config.condition_rows
    else:
        told = config.style_tokens * config.codebook_size
        levels = config.reserved_tokens + config.num_levels * config.codebook_size
        assert levels <= config.style_offset
        assert config.style_offset + told <= config.vocabulary
        widths = {config.encoder.width, config.temporal.width, config.depth_decoder.width}
        assert len(widths) == 1  # one embedding serves all three


@pytest.mark.parametrize("name", LMM_PRESETS)
def test_preset_s_geometry_has_the_model_s_levels(name: str) -> None:
    assert LMM_PRESETS[name].geometry.num_levels == LMM_PRESETS[name].num_levels


def test_presets_are_named_as_the_issue_names_them() -> None:
    assert set(LMM_PRESETS) == {
        "mrt1-large", "mrt1-base", "mrt1-tiny", "mrt2-small", "mrt2-base", "mrt2-tiny"
    }  # fmt: skip


def test_tiny_ones_are_small_and_keep_what_is_special() -> None:
    assert MRT1_TINY.context_levels < MRT1_TINY.num_levels
    assert MRT1_TINY.geometry.context_frames % MRT1_TINY.geometry.block_frames
    assert MRT2_TINY.temporal.width != MRT2_TINY.depth_decoder.width
    assert len(set(MRT2_TINY.condition_codes)) > 1
    for config in (MRT1_TINY, MRT2_TINY):
        assert config.temporal.depth >= 2 and config.depth_decoder.depth >= 2


@pytest.mark.parametrize("config", [StackConfig, EncoderDecoderLMMConfig, FrameWiseLMMConfig])
def test_nothing_that_defines_a_model_has_a_default(config: type) -> None:
    assert all(field.default is MISSING for field in fields(config))
    assert all(field.default_factory is MISSING for field in fields(config))


def test_config_cannot_change_under_a_model() -> None:
    with pytest.raises(FrozenInstanceError):
        MRT1_TINY.num_levels = 3  # type: ignore[misc]


def test_width_that_is_no_whole_number_of_heads_is_refused() -> None:
    with pytest.raises(ValueError, match="width 32 is not a whole number of 3 heads"):
        replace(MRT1_TINY.temporal, num_heads=3)
