import pytest
import torch
from torch import Tensor

from helpers import assert_identity, assert_within_budget, seeded
from lmdm_ref.arena import Span
from lmdm_ref.attention import attend
from lmdm_ref.depth_decoder import DepthDecoder, LevelHead
from lmm_helpers import TINY_TOKEN_SCHEMES, tiny_lmm_encoder_decoder, tiny_lmm_frame_wise

LEVELS, CODEBOOK = 4, 16
EACH_SCHEME = pytest.mark.parametrize("scheme", TINY_TOKEN_SCHEMES)


def filled_head(has_bias: bool, vocabulary: int = 80) -> LevelHead:
    head = LevelHead(12, vocabulary, CODEBOOK, LEVELS, has_bias).double()
    for seed, parameter in enumerate(head.parameters()):
        parameter.copy_(seeded(seed, *parameter.shape))
    return head


def whole_vocabulary(head: LevelHead, reserved: int) -> torch.nn.Linear:
    """The published head: reserved tokens, the levels' codebooks in order, the unused rest."""
    has_bias = head.levels[0].bias is not None
    rest, width = head.rest, head.levels[0].weight.shape[1]
    rows = [rest[:reserved, :width], *(one.weight for one in head.levels), rest[reserved:, :width]]
    linear = torch.nn.Linear(width, sum(len(one) for one in rows), has_bias, dtype=torch.float64)
    linear.weight.copy_(torch.cat(rows))
    if has_bias:
        biases = [rest[:reserved, -1], *(one.bias for one in head.levels), rest[reserved:, -1]]
        linear.bias.copy_(torch.cat(biases))
    return linear


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("reserved", [2, 6])
def test_level_head_chooses_as_the_masked_head_over_the_whole_vocabulary(
    has_bias: bool, reserved: int
) -> None:
    head, hidden = filled_head(has_bias), seeded(9, 200, 1, 12)
    whole = whole_vocabulary(head, reserved)
    assert whole.weight.shape == (80, 12)
    everything = whole(hidden)[:, 0]
    for level in range(LEVELS):
        start = reserved + level * CODEBOOK
        allowed = torch.zeros(80, dtype=torch.bool)
        allowed[start : start + CODEBOOK] = True
        masked = everything.masked_fill(~allowed, -torch.inf)
        logits = head(hidden, level)
        assert_identity(logits, everything[:, allowed])
        assert torch.equal(logits.argmax(-1) + start, masked.argmax(-1))
        probabilities = masked.softmax(-1)
        assert_identity(logits.softmax(-1), probabilities[:, allowed])
        assert not probabilities[:, ~allowed].any()


@pytest.mark.parametrize("has_bias", [True, False])
def test_level_head_has_the_parameters_of_the_whole_head(has_bias: bool) -> None:
    count = sum(one.numel() for one in filled_head(has_bias).parameters())
    assert count == 80 * 12 + 80 * has_bias


def test_vocabulary_without_a_rest_is_possible() -> None:
    head = filled_head(False, vocabulary=LEVELS * CODEBOOK)
    assert head.rest.numel() == 0
    assert head(seeded(9, 2, 1, 12), 3).shape == (2, CODEBOOK)


def test_rest_of_the_head_is_never_read() -> None:
    for make in (tiny_lmm_encoder_decoder, tiny_lmm_frame_wise):
        head = make().stream.model.depth_decoder.head
        hidden = seeded(9, 2, 1, head.levels[0].in_features)
        before = [head(hidden, level) for level in range(LEVELS)]
        head.rest.fill_(torch.nan)
        after = [head(hidden, level) for level in range(LEVELS)]
        assert torch.equal(torch.stack(before), torch.stack(after))


def decoder_of(scheme: str, dtype: torch.dtype = torch.float64) -> DepthDecoder:
    decoder: DepthDecoder = TINY_TOKEN_SCHEMES[scheme](dtype=dtype).stream.model.depth_decoder
    return decoder


def embed_with(table: Tensor, seen: list[int] | None = None):  # type: ignore[no-untyped-def]
    """Embeds tokens by a table [levels, codebook, width] and keeps the levels that it was asked."""

    def embed(tokens: Tensor, level: int) -> Tensor:
        if seen is not None:
            seen.append(level)
        return table[level][tokens]

    return embed


def likeliest(logits: Tensor, gumbel: Tensor) -> Tensor:
    return (logits + gumbel).argmax(-1)


@EACH_SCHEME
@pytest.mark.parametrize("levels", [1, 3, 4])
def test_as_many_levels_as_there_is_noise_for_each_hearing_the_last(
    scheme: str, levels: int
) -> None:
    decoder, width = decoder_of(scheme), decoder_of(scheme).stack.width
    temporal, table = seeded(1, 2, 1, width), seeded(2, LEVELS, CODEBOOK, width)
    noise, seen = seeded(3, levels, 2, CODEBOOK), []  # type: tuple[Tensor, list[int]]
    cache = decoder.allocate_cache(2, levels, temporal)
    embed = embed_with(table, seen)
    tokens = decoder.generate(temporal, embed, noise, likeliest, cache, attend)
    assert tokens.shape == (2, levels)
    assert seen == list(range(levels - 1))  # the last level's tokens are heard by nobody here

    # What is heard decides, and only what comes before.
    for level in range(levels):
        other = table.clone()
        other[level] += 1
        again = decoder.generate(temporal, embed_with(other), noise, likeliest, cache, attend)
        assert torch.equal(again[:, : level + 1], tokens[:, : level + 1])


@EACH_SCHEME
def test_frame_leaves_nothing_behind_in_the_cache(scheme: str) -> None:
    decoder, width = decoder_of(scheme), decoder_of(scheme).stack.width
    temporal, table = seeded(1, 2, 1, width), seeded(2, LEVELS, CODEBOOK, width)
    noise = seeded(3, LEVELS, 2, CODEBOOK)
    cache = decoder.allocate_cache(2, LEVELS, temporal)
    first, logits = [], []
    for _ in range(2):
        given: list[Tensor] = []

        def recording(one: Tensor, gumbel: Tensor, given: list[Tensor] = given) -> Tensor:
            given.append(one)
            return likeliest(one, gumbel)

        first.append(decoder.generate(temporal, embed_with(table), noise, recording, cache, attend))
        logits.append(torch.stack(given))
        cache.fill(Span(0, LEVELS), torch.nan)
    assert torch.equal(*first)
    assert torch.equal(*logits)


def test_capped_logits_stay_below_the_cap_and_keep_their_order() -> None:
    decoder = decoder_of("lmm-frame-wise")
    hidden = seeded(1, 50, 1, decoder.stack.width)
    plain = decoder.head(decoder.norm(hidden), 1)
    assert_identity(decoder.logits(hidden, 1), 30 * (plain / 30).tanh())
    decoder.norm.weight.mul_(1000)  # type: ignore[operator]
    capped = decoder.logits(hidden, 1)
    assert capped.abs().max() <= 30


def test_uncapped_logits_are_the_head_s() -> None:
    decoder = decoder_of("lmm-encoder-decoder")
    hidden = seeded(1, 50, 1, decoder.stack.width)
    assert decoder.logit_cap is None
    assert torch.equal(decoder.logits(hidden, 1), decoder.head(decoder.norm(hidden), 1))


def test_logits_are_capped_in_float32_at_least() -> None:
    decoder = decoder_of("lmm-frame-wise", torch.bfloat16)
    hidden = seeded(1, 50, 1, decoder.stack.width).bfloat16()
    logits = decoder.logits(hidden, 2)
    assert logits.dtype == torch.float32
    head = decoder.head(decoder.norm(hidden), 2)
    truth = 30 * (head.double() / 30).tanh()
    assert_within_budget(logits, 30 * (head.float() / 30).tanh(), truth)
