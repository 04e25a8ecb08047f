"""The oracles against their definitions, written out another way, and against one another."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from helpers import assert_identity, assert_no_identity, seeded
from lmdm_ref.lmm_frame_wise import FrameConditions
from lmdm_ref.lmm_oracle import (
    LMMEncoderDecoderOracle,
    LMMFrameWiseOracle,
    LMMOracle,
    t5_bucket,
)
from lmdm_ref.lmm_presets import MRT1_TINY, MRT2_TINY
from lmdm_ref.token_sampler import TokenSampler
from lmm_helpers import (
    GUIDED_SAMPLER,
    PLAIN_SAMPLER,
    TINY_TOKEN_SCHEMES,
    TokenScheme,
    tiny_control,
    tiny_lmm_encoder_decoder,
    tiny_lmm_frame_wise,
    tiny_tokens,
)

EACH_SCHEME = pytest.mark.parametrize("scheme", TINY_TOKEN_SCHEMES)
FRAMES, LEVELS = 5, 4


def given_to(scheme: TokenScheme[Any], heard_frames: int = 9) -> tuple[Tensor, Tensor, Any]:
    """A block, a history and conditioning of two listeners."""
    tokens = tiny_tokens(scheme.stream, 2, FRAMES, seed=1)
    history = tiny_tokens(scheme.stream, 2, heard_frames, seed=2)
    return tokens, history, tiny_control(scheme.stream.model.config, 2)


def bumped(tokens: Tensor, *place: int) -> Tensor:
    """Both listeners' token at one frame and level replaced by the next code."""
    other = tokens.clone()
    other[:, *place] = (other[:, *place] + 1) % 16
    return other


@EACH_SCHEME
def test_token_is_made_from_those_before_it_alone(scheme: str) -> None:
    made = TINY_TOKEN_SCHEMES[scheme]()
    tokens, history, control = given_to(made)
    expected = made.oracle.logits(tokens, history, control)
    assert expected.shape == (FRAMES, LEVELS, 2, 16)
    for frame in range(FRAMES):
        for level in range(LEVELS):
            logits = made.oracle.logits(bumped(tokens, frame, level), history, control)
            changed = (logits != expected).any(-1).any(-1)
            for f in range(FRAMES):
                for n in range(LEVELS):
                    # A level hears all lower ones of its frame; a frame all levels of the last.
                    hears = f > frame or (f == frame and n > level)
                    assert changed[f, n] == hears, (frame, level, f, n)


def test_frame_wise_block_hears_begin_only_where_there_is_no_history() -> None:
    made = tiny_lmm_frame_wise()
    tokens, history, control = given_to(made)
    begun = made.oracle.logits(tokens, history[:, :0], control)
    heard = made.oracle.logits(tokens, history[:, :1], control)
    assert_no_identity(begun[0], heard[0])
    # One pass over history and block is the pass over the block, told where it begins.
    whole = made.oracle.logits(torch.cat([history, tokens], 1), history[:, :0], control)
    assert_identity(whole[9:], made.oracle.logits(tokens, history, control))


def test_encoder_decoder_oracle_hears_the_newest_context_alone() -> None:
    made = tiny_lmm_encoder_decoder()
    tokens, history, style = given_to(made)
    context = MRT1_TINY.geometry.context_frames
    expected = made.oracle.logits(tokens, history[:, -context:], style)
    assert torch.equal(made.oracle.logits(tokens, history, style), expected)
    for level in range(LEVELS):
        logits = made.oracle.logits(tokens, bumped(history, -context, level), style)
        if level < MRT1_TINY.context_levels:
            assert_no_identity(logits, expected)
        else:
            assert torch.equal(logits, expected)


@pytest.mark.parametrize("context_frames", [1, 4])
@pytest.mark.parametrize("frames", [1, 4, 11])
def test_frame_wise_oracle_is_banded_with_a_sink_for_everyone(
    context_frames: int, frames: int
) -> None:
    geometry = replace(MRT2_TINY.geometry, context_frames=context_frames)
    band = tiny_lmm_frame_wise(geometry=geometry).oracle.band(frames)
    assert band.shape == (frames, 1 + frames)
    assert band[:, 0].all()
    for query in range(frames):
        for key in range(frames):
            assert band[query, 1 + key] == (query - context_frames <= key <= query)


def test_frame_wise_oracle_hears_beyond_its_sight_through_its_layers() -> None:
    shallow = replace(MRT2_TINY, temporal=replace(MRT2_TINY.temporal, depth=1))
    for config, is_heard in ((MRT2_TINY, True), (shallow, False)):
        made = tiny_lmm_frame_wise(config=config)
        tokens, history, control = given_to(made)
        expected = made.oracle.logits(tokens, history, control)[0]
        logits = made.oracle.logits(tokens, bumped(history, 2, 0), control)[0]
        if is_heard:
            assert_no_identity(logits, expected)
        else:
            assert torch.equal(logits, expected)


def test_conditions_that_never_change_are_told_to_each_frame() -> None:
    made = tiny_lmm_frame_wise()
    tokens, history, control = given_to(made)
    expected = made.oracle.logits(tokens, history, control)
    told = [control] * (9 + FRAMES)
    assert torch.equal(made.oracle.logits_as_told(tokens, history, told), expected)
    other = tiny_control(MRT2_TINY, 2, seed=5)
    late = made.oracle.logits_as_told(tokens, history, [*told[:-1], other])
    assert torch.equal(late[:-1], expected[:-1])
    assert_no_identity(late[-1], expected[-1])


@pytest.mark.parametrize("column", range(4))
def test_each_condition_has_its_own_rows(column: int) -> None:
    made = tiny_lmm_frame_wise()
    tokens, history, control = given_to(made)
    others = control.others.clone()
    others[:, column] = (others[:, column] + 1) % 9
    expected = made.oracle.logits(tokens, history, control)
    other = FrameConditions(control.style, others)
    assert_no_identity(made.oracle.logits(tokens, history, other), expected)


def test_guided_rows_are_those_of_two_streams_with_style_and_without() -> None:
    plain, guided = tiny_lmm_encoder_decoder(), tiny_lmm_encoder_decoder(GUIDED_SAMPLER)
    tokens, history, style = given_to(plain)
    both = guided.oracle.logits(tokens, history, style)
    assert both.shape == (FRAMES, LEVELS, 4, 16)
    assert_identity(both[:, :, :2], plain.oracle.logits(tokens, history, style))
    other = guided.oracle.logits(tokens, history, tiny_control(MRT1_TINY, 2, seed=5))
    assert_no_identity(other[:, :, :2], both[:, :, :2])
    assert_identity(other[:, :, 2:], both[:, :, 2:])
    assert_no_identity(both[:, :, 2:], both[:, :, :2])


def test_frame_wise_logits_are_capped() -> None:
    made = tiny_lmm_frame_wise()
    tokens, history, control = given_to(made)
    logits = made.oracle.logits(tokens, history, control)
    weights = dict(made.stream.model.named_parameters())
    weights["depth_decoder.norm.weight"].mul_(100)
    assert logits.abs().max() < 10
    huge = made.oracle.logits(tokens, history, control)
    assert 29 < huge.abs().max() <= 30


@EACH_SCHEME
def test_oracle_computes_in_the_dtype_asked_for(scheme: str) -> None:
    made = TINY_TOKEN_SCHEMES[scheme](dtype=torch.float32)
    tokens, history, control = given_to(made)
    truth = made.oracle.logits(tokens, history, control)
    narrow = made.same_dtype_oracle.logits(tokens, history, control)
    assert (truth.dtype, narrow.dtype) == (torch.float64, torch.float32)
    assert_no_identity(narrow.double(), truth)
    assert (narrow.double() - truth).abs().max() < 1e-4


def t5_bucket_as_published(distance: int, buckets: int, max_distance: int) -> int:
    """Mesh TensorFlow's rule, its logarithm in float64."""
    max_exact = buckets // 2
    if distance < max_exact:
        return distance
    share = math.log(distance / max_exact) / math.log(max_distance / max_exact)
    return min(max_exact + int(share * (buckets - max_exact)), buckets - 1)


@pytest.mark.parametrize("buckets", [2, 4, 8, 16, 32, 128])
def test_bucket_in_whole_numbers_is_the_published_logarithm(buckets: int) -> None:
    for distance in range(4 * buckets):
        expected = t5_bucket_as_published(distance, buckets, buckets)
        assert t5_bucket(distance, buckets) == expected


def test_relative_bias_shuts_out_what_comes_later() -> None:
    made = tiny_lmm_encoder_decoder()
    bias = made.oracle.relative_bias("temporal_bias.weight", 20)
    table = made.stream.model.temporal_bias.weight
    for query in range(20):
        for key in range(20):
            if key > query:
                assert (bias[:, query, key] == -torch.inf).all()
            else:
                assert torch.equal(bias[:, query, key], table[t5_bucket(query - key, 8)])


def test_norms_are_torch_s() -> None:
    oracle: LMMOracle = tiny_lmm_frame_wise().oracle
    rows = seeded(0, 2, 3, 24)
    weights = oracle._weights
    gain, bias = weights["depth_decoder.norm.weight"], weights["depth_decoder.norm.bias"]
    expected = functional.layer_norm(rows, (24,), gain, bias, eps=1e-6)
    assert_identity(oracle.layer_norm(rows, "depth_decoder.norm"), expected)
    rms = nn.functional.rms_norm(rows, (24,), gain, eps=1e-6)
    assert_identity(oracle.norm(rows, "depth_decoder.norm"), rms)


def test_level_without_its_head_bias_would_be_found_out() -> None:
    made = tiny_lmm_frame_wise()
    tokens, history, control = given_to(made)
    expected = made.oracle.logits(tokens, history, control)
    made.stream.model.depth_decoder.head.levels[2].bias.add_(1)
    logits = made.oracle.logits(tokens, history, control)
    assert torch.equal(logits[:, [0, 1, 3]], expected[:, [0, 1, 3]])
    assert_no_identity(logits[:, 2], expected[:, 2])


def test_oracles_say_which_pass_they_are() -> None:
    assert "context" in LMMEncoderDecoderOracle.name
    assert "whole history" in LMMFrameWiseOracle.name


@EACH_SCHEME
def test_oracle_keeps_what_the_contract_compares(scheme: str) -> None:
    made = TINY_TOKEN_SCHEMES[scheme](TokenSampler(1.3, 4))
    assert made.oracle.sampler is made.stream.sampler
    assert made.oracle.geometry is made.stream.geometry
    assert made.oracle.dtype == torch.float64
    assert made.oracle.sampler != PLAIN_SAMPLER
