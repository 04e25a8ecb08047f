import math
from dataclasses import FrozenInstanceError

import pytest
import torch

from helpers import assert_identity, assert_within_budget, seeded, tiny_conditioning
from lmdm_ref.conditioning import FourierFeatures, SecondsEmbedding


def test_unconditional_half_has_no_text_and_the_same_seconds() -> None:
    prompt = tiny_conditioning(2)
    both = prompt.with_unconditional()
    assert both.batch == 4
    assert torch.equal(both.text[:2], prompt.text)
    assert not both.text[2:].any()
    assert torch.equal(both.seconds, torch.cat([prompt.seconds, prompt.seconds]))


def test_prompt_is_left_as_it_was() -> None:
    prompt = tiny_conditioning(2)
    text = prompt.text.clone()
    prompt.with_unconditional()
    assert torch.equal(prompt.text, text)
    with pytest.raises(FrozenInstanceError):
        prompt.text = text  # type: ignore[misc]


def fourier_features(dtype: torch.dtype) -> FourierFeatures:
    features = FourierFeatures(16)
    features.weight.copy_(3 * seeded(0, 8, 1))
    return features.to(dtype)


def test_fourier_features_are_cosines_then_sines_of_whole_turns() -> None:
    features = fourier_features(torch.float64)
    sigmas = [0.0, 0.3, 1.0]
    frequencies = features.weight[:, 0].tolist()
    expected = torch.tensor(
        [
            [math.cos(2 * math.pi * f * sigma) for f in frequencies]
            + [math.sin(2 * math.pi * f * sigma) for f in frequencies]
            for sigma in sigmas
        ],
        dtype=torch.float64,
    )
    assert_identity(features(torch.tensor(sigmas, dtype=torch.float64)), expected)


def test_bfloat16_features_keep_float32_angles() -> None:
    """Only the result is rounded: rounded angles would be thousands of times farther off."""
    features = fourier_features(torch.bfloat16)
    sigmas = torch.linspace(0, 1, 97, dtype=torch.float64)
    turns = 2 * torch.pi * sigmas[:, None] @ features.weight.double().mT
    truth = torch.cat([turns.cos(), turns.sin()], dim=-1)
    assert_within_budget(features(sigmas), truth.bfloat16(), truth)

    narrow = 2 * torch.pi * sigmas.bfloat16()[:, None] @ features.weight.mT
    with pytest.raises(AssertionError):
        assert_within_budget(
            torch.cat([narrow.cos(), narrow.sin()], dim=-1), truth.bfloat16(), truth
        )


def test_noise_levels_that_bfloat16_cannot_tell_apart_still_differ() -> None:
    features = fourier_features(torch.bfloat16)
    near = torch.tensor([0.897, 0.9], dtype=torch.float64)
    assert near.bfloat16().unique().numel() == 1
    first, second = features(near)
    assert not torch.equal(first, second)


def seconds_embedding() -> SecondsEmbedding:
    embedding = SecondsEmbedding(width=6, features=8).double()
    embedding.frequencies.copy_(seeded(0, 4))
    embedding.out.weight.copy_(seeded(1, 6, 9))
    embedding.out.bias.copy_(seeded(2, 6))
    return embedding


def test_seconds_are_embedded_as_a_share_of_256_with_its_sines_and_cosines() -> None:
    embedding = seconds_embedding()
    seconds = [11.0, 200.0]
    rows = []
    for share in (one / 256 for one in seconds):
        turns = [2 * math.pi * share * f for f in embedding.frequencies.tolist()]
        rows.append([share, *map(math.sin, turns), *map(math.cos, turns)])
    features = torch.tensor(rows, dtype=torch.float64)
    expected = features @ embedding.out.weight.mT + embedding.out.bias
    assert_identity(embedding(torch.tensor(seconds, dtype=torch.float64)), expected)


def test_seconds_outside_the_trained_range_count_as_its_ends() -> None:
    embedding = seconds_embedding()
    outside, ends = torch.tensor([[-5.0, 1000.0], [0.0, 256.0]], dtype=torch.float64)
    assert torch.equal(embedding(outside), embedding(ends))
