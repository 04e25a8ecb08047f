from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from lmdm_ref.lmm_encoder_decoder import random_encoder_decoder_lmm
from lmdm_ref.lmm_frame_wise import random_frame_wise_lmm
from lmdm_ref.lmm_presets import MRT1_LARGE, MRT1_TINY, MRT2_BASE, MRT2_TINY
from lmdm_ref.token_stream import token_noise
from lmm_helpers import (
    make_blocks,
    tiny_control,
    tiny_lmm_encoder_decoder,
    tiny_lmm_frame_wise,
    tiny_tokens,
)

# The tiny ones, as deep as the published ones.
DEEP_MRT1 = replace(
    MRT1_TINY,
    encoder=replace(MRT1_TINY.encoder, depth=MRT1_LARGE.encoder.depth),
    temporal=replace(MRT1_TINY.temporal, depth=MRT1_LARGE.temporal.depth),
    depth_decoder=replace(MRT1_TINY.depth_decoder, depth=MRT1_LARGE.depth_decoder.depth),
)
DEEP_MRT2 = replace(
    MRT2_TINY,
    temporal=replace(MRT2_TINY.temporal, depth=MRT2_BASE.temporal.depth),
    depth_decoder=replace(MRT2_TINY.depth_decoder, depth=MRT2_BASE.depth_decoder.depth),
)


def models(seed: int, dtype: torch.dtype = torch.float32) -> list[nn.Module]:
    return [
        random_encoder_decoder_lmm(MRT1_TINY, seed, dtype),
        random_frame_wise_lmm(MRT2_TINY, seed, dtype),
    ]


def test_seed_decides_every_weight() -> None:
    for one, same, other in zip(models(3), models(3), models(4), strict=True):
        for (name, weight), again, different in zip(
            one.named_parameters(), same.parameters(), other.parameters(), strict=True
        ):
            assert torch.equal(weight, again), name
            assert weight.numel() == 0 or not torch.equal(weight, different), name


def test_lower_precision_is_the_same_draw_rounded() -> None:
    for wide, narrow in zip(models(3), models(3, torch.bfloat16), strict=True):
        for weight, rounded in zip(wide.parameters(), narrow.parameters(), strict=True):
            assert torch.equal(weight.bfloat16(), rounded)


def test_model_is_for_inference() -> None:
    for model in models(0):
        assert not model.training
        assert not any(one.requires_grad or one.is_meta for one in model.parameters())


def test_norms_are_near_1_tables_normal_and_matrices_keep_the_variance() -> None:
    for model in models(0):
        for name, weight in model.named_parameters():
            if name.endswith("norm.weight"):
                assert (weight - 1).abs().max() <= 0.1, name
            elif weight.ndim == 1:
                assert weight.abs().max() <= 0.1, name
            elif weight.numel() > 500:
                is_table = "embedding" in name
                variance = 1.0 if is_table else 1 / weight.shape[-1]
                assert weight.var().item() == pytest.approx(variance, rel=0.2), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scheme", ["lmm-encoder-decoder", "lmm-frame-wise"])
def test_activations_stay_ordinary_at_the_published_depth(scheme: str, dtype: torch.dtype) -> None:
    stream = (
        tiny_lmm_encoder_decoder(config=DEEP_MRT1, dtype=dtype).stream
        if scheme == "lmm-encoder-decoder"
        else tiny_lmm_frame_wise(config=DEEP_MRT2, dtype=dtype).stream
    )
    config = stream.model.config
    context = tiny_tokens(stream, 1, stream.geometry.context_frames)
    state = stream.prefill(context, tiny_control(config, 1))
    noise = token_noise(stream, 1, torch.Generator().manual_seed(0))
    largest: list[Tensor] = []
    for module in stream.model.modules():
        module.register_forward_hook(lambda _, __, out: largest.append(out.abs().max().float()))
    made = make_blocks(stream, state, [noise])
    assert torch.stack(largest).max() < 1000
    assert 0.3 < made.logits.float().std() < 3
