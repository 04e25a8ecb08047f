import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from helpers import seeded
from lmdm_ref.token_sampler import TokenSampler, gumbel_noise

CODEBOOK = 12
DRAWS = 20_000
LOGITS = seeded(0, 1, CODEBOOK)


def draws_of(sampler: TokenSampler, logits: Tensor = LOGITS, seed: int = 0) -> Tensor:
    """Many listeners with the same logits."""
    rows = logits.repeat_interleave(DRAWS, dim=0)
    noise = gumbel_noise((DRAWS, CODEBOOK), torch.Generator().manual_seed(seed), torch.float64)
    return sampler(rows, noise)


def chance_of_so_far_off(tokens: Tensor, probabilities: Tensor) -> float:
    """The chi-square test's p-value, over the tokens that can be drawn."""
    counts = torch.bincount(tokens, minlength=CODEBOOK)
    possible = probabilities > 0
    assert not counts[~possible].any()
    expected = (probabilities[possible] * DRAWS).numpy()
    return float(stats.chisquare(counts[possible].numpy(), expected).pvalue)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.3])
def test_draws_follow_the_softmax_at_the_temperature(temperature: float) -> None:
    tokens = draws_of(TokenSampler(temperature, CODEBOOK))
    assert chance_of_so_far_off(tokens, (LOGITS[0] / temperature).softmax(-1)) > 0.01
    # The test has teeth: a temperature a tenth off is found out.
    assert chance_of_so_far_off(tokens, (LOGITS[0] / (1.1 * temperature)).softmax(-1)) < 1e-6


@pytest.mark.parametrize("top_k", [2, 5])
def test_draws_follow_the_softmax_of_the_k_likeliest(top_k: int) -> None:
    kept = LOGITS[0].masked_fill(LOGITS[0] < LOGITS[0].sort().values[-top_k], -torch.inf)
    tokens = draws_of(TokenSampler(1.1, top_k))
    assert set(tokens.tolist()) == set(LOGITS[0].topk(top_k).indices.tolist())
    assert chance_of_so_far_off(tokens, (kept / 1.1).softmax(-1)) > 0.01


def test_draws_follow_the_guided_softmax() -> None:
    with_style, without = seeded(1, 1, CODEBOOK), seeded(2, 1, CODEBOOK)
    tokens = draws_of(TokenSampler(1.1, CODEBOOK, 2.0), torch.cat([with_style, without]))
    guided = 2.0 * with_style - without
    assert chance_of_so_far_off(tokens, (guided[0] / 1.1).softmax(-1)) > 0.01


def test_top_1_is_the_likeliest_whatever_the_noise() -> None:
    logits, noise = seeded(1, 50, CODEBOOK), 100 * seeded(2, 50, CODEBOOK)
    assert torch.equal(TokenSampler(1.3, 1)(logits, noise), logits.argmax(-1))


def test_top_k_beyond_the_codebook_is_all_of_it() -> None:
    logits, noise = seeded(1, 50, CODEBOOK), seeded(2, 50, CODEBOOK)
    whole = TokenSampler(1.3, CODEBOOK)(logits, noise)
    assert torch.equal(TokenSampler(1.3, 1000)(logits, noise), whole)
    assert torch.equal(whole, (logits / 1.3 + noise).argmax(-1))


@pytest.mark.parametrize("scale", [0.0, 0.5, 6.0, -1.0])
def test_guidance_adds_a_scaled_difference_to_the_logits_without_style(scale: float) -> None:
    with_style, without, noise = (seeded(seed, 50, CODEBOOK) for seed in range(3))
    sampler = TokenSampler(1.3, CODEBOOK, scale)
    assert sampler.copies == 2
    guided = without + scale * (with_style - without)
    expected = (guided / 1.3 + noise).argmax(-1)
    assert torch.equal(sampler(torch.cat([with_style, without]), noise), expected)


def test_no_guidance_is_a_scale_of_1_and_one_copy() -> None:
    assert TokenSampler(1.1, 40).copies == 1
    assert TokenSampler(1.1, 40).guidance_scale == 1


def test_published_scale_of_1_plus_5_weighs_6_to_5() -> None:
    """Magenta RealTime 1 writes (1 + w) · with − w · without, at w = 5."""
    with_style, without, noise = (seeded(seed, 50, CODEBOOK) for seed in range(3))
    tokens = TokenSampler(1.1, CODEBOOK, 1.0 + 5.0)(torch.cat([with_style, without]), noise)
    assert torch.equal(tokens, ((6 * with_style - 5 * without) / 1.1 + noise).argmax(-1))


def test_each_listener_has_its_own_noise() -> None:
    logits, noise = LOGITS.expand(3, -1), gumbel(3)
    tokens = TokenSampler(1.1, CODEBOOK)(logits, noise)
    for row in range(3):
        one = slice(row, row + 1)
        assert torch.equal(TokenSampler(1.1, CODEBOOK)(logits[one], noise[one]), tokens[one])


def gumbel(rows: int, seed: int = 0) -> Tensor:
    return gumbel_noise((rows, CODEBOOK), torch.Generator().manual_seed(seed))


def test_low_precision_logits_are_guided_and_tempered_in_float32() -> None:
    logits, noise = (4 * seeded(1, 100, CODEBOOK)).bfloat16(), gumbel(50)
    for scale in (1.0, 6.0):
        sampler = TokenSampler(1.1, CODEBOOK, scale)
        rows = logits[: 50 * sampler.copies]
        assert torch.equal(sampler(rows, noise), sampler(rows.float(), noise))


def test_noise_is_gumbel_s_and_comes_from_the_generator_alone() -> None:
    first, again, other = (gumbel(5000, seed) for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.dtype == torch.float32 and first.isfinite().all()
    assert stats.kstest(first.flatten().numpy(), "gumbel_r").pvalue > 0.01
    assert first.mean().item() == pytest.approx(0.5772, abs=0.02)
    assert first.std().item() == pytest.approx(math.pi / 6**0.5, abs=0.02)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_temperature_that_leaves_nothing_is_refused(temperature: float) -> None:
    with pytest.raises(ValueError, match=f"temperature must be above 0, got {temperature}"):
        TokenSampler(temperature, 40)


@pytest.mark.parametrize("top_k", [0, -1])
def test_top_k_that_leaves_nothing_is_refused(top_k: int) -> None:
    with pytest.raises(ValueError, match=f"top_k must be at least 1, got {top_k}"):
        TokenSampler(1.1, top_k)
