import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from helpers import assert_identity, assert_no_identity, seeded
from lmdm_ref.arena import Span
from lmdm_ref.attention import attend
from lmdm_ref.cache import KVCache
from lmdm_ref.lmm_presets import StackConfig
from lmdm_ref.plan import full_plan, plan_row
from lmdm_ref.token_layers import (
    FeedForward,
    QueryScale,
    RelativeBias,
    RMSNorm,
    SelfAttention,
    StreamingCrossAttention,
    T5CrossAttention,
    T5FeedForward,
    T5SelfAttention,
    TokenPass,
)

STACK = StackConfig(depth=1, width=12, num_heads=3, feed_forward_width=20)
BATCH, ROWS = 2, 5
ALONE = TokenPass(cache=None, places=None, plan=full_plan(ROWS))


def filled(module: nn.Module) -> nn.Module:
    """Weights that are normal numbers, norms too."""
    module.double()
    for seed, parameter in enumerate(module.parameters()):
        parameter.copy_(seeded(seed, *parameter.shape))
    return module


def rms(rows: Tensor, norm: nn.Module) -> Tensor:
    size = (rows.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    return rows / size * norm.weight


def softmax_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Rows of heads side by side, torch's own attention."""
    heads = (one.unflatten(-1, (3, 4)).transpose(1, 2) for one in (query, key, value))
    seen = functional.scaled_dot_product_attention(*heads, attn_mask=mask)
    return seen.transpose(1, 2).flatten(2)


def t5_bucket_by_search(distance: int, buckets: int) -> int:
    """T5's rule, told by where each bucket begins."""
    exact = buckets // 2
    if distance < exact:
        return distance
    begins = [
        exact * (buckets / exact) ** (step / (buckets - exact)) for step in range(buckets - exact)
    ]
    return exact + max(step for step, begin in enumerate(begins) if distance >= begin - 1e-9)


@pytest.mark.parametrize("buckets", [2, 4, 8, 9, 16, 32, 50, 128])
def test_buckets_are_those_of_t5_s_rule(buckets: int) -> None:
    distances = torch.arange(4 * buckets)
    found = RelativeBias(buckets, 1).bucket(distances).tolist()
    assert found == [t5_bucket_by_search(one, buckets) for one in distances.tolist()]
    assert found[: buckets // 2] == list(range(buckets // 2))
    assert found == sorted(found) and found[-1] == buckets - 1


def test_16_buckets_for_16_levels_are_these() -> None:
    found = RelativeBias(16, 1).bucket(torch.arange(16)).tolist()
    # 8 + floor(8 · log2(d ÷ 8)) from 8 on
    assert found == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]


def test_bias_depends_on_the_distance_into_the_past_alone() -> None:
    bias = filled(RelativeBias(8, 3))
    assert isinstance(bias, RelativeBias)
    table = bias(20)
    assert table.shape == (3, 20, 20) and table.is_contiguous()
    for query in range(20):
        for key in range(20):
            bucket = t5_bucket_by_search(max(0, query - key), 8)
            assert torch.equal(table[:, query, key], bias.weight[bucket])


def test_query_scale_is_1_at_weight_0_and_grows_with_it() -> None:
    scale = QueryScale(4).double()
    scale.weight.copy_(torch.tensor([0.0, -2.0, 2.0, 30.0]))
    factors = scale(torch.ones(1, 4, dtype=torch.float64))[0]
    assert factors[0].item() == pytest.approx(1.0, abs=1e-15)
    for weight, factor in zip([0.0, -2.0, 2.0, 30.0], factors.tolist(), strict=True):
        assert factor == pytest.approx(math.log2(1 + math.exp(weight)), rel=1e-12)


def test_t5_self_attention_is_softmax_behind_a_norm() -> None:
    layer, rows = filled(T5SelfAttention(STACK)), seeded(9, BATCH, ROWS, 12)
    query, key, value = (rms(rows, layer.norm) @ layer.qkv.weight.mT).chunk(3, -1)
    everyone = torch.ones(ROWS, ROWS, dtype=torch.bool)
    expected = rows + softmax_attention(query, key, value, everyone) @ layer.out.weight.mT
    assert_identity(layer(rows, 0, ALONE, attend), expected)


def test_bias_is_added_to_the_scores_and_zeros_change_nothing() -> None:
    layer, rows = filled(T5SelfAttention(STACK)), seeded(9, BATCH, ROWS, 12)
    bias = seeded(8, 3, ROWS, ROWS)
    query, key, value = (rms(rows, layer.norm) @ layer.qkv.weight.mT).chunk(3, -1)
    expected = rows + softmax_attention(query, key, value, bias) @ layer.out.weight.mT
    biased = TokenPass(cache=None, places=None, plan=full_plan(ROWS), bias=bias)
    assert_identity(layer(rows, 0, biased, attend), expected)
    without = TokenPass(cache=None, places=None, plan=full_plan(ROWS), bias=torch.zeros_like(bias))
    assert_identity(layer(rows, 0, without, attend), layer(rows, 0, ALONE, attend))


def test_self_attention_scales_its_queries_and_normalises_what_it_adds() -> None:
    layer, rows = filled(SelfAttention(STACK)), seeded(9, BATCH, ROWS, 12)
    query, key, value = (rms(rows, layer.norm) @ layer.qkv.weight.mT).chunk(3, -1)
    query = query * torch.log2(1 + layer.scale.weight.exp()).repeat(3)
    everyone = torch.ones(ROWS, ROWS, dtype=torch.bool)
    seen = softmax_attention(query, key, value, everyone) @ layer.out.weight.mT
    assert_identity(layer(rows, 0, ALONE, attend), rows + rms(seen, layer.out_norm))


@pytest.mark.parametrize("kind", [T5SelfAttention, SelfAttention])
def test_row_by_row_through_a_cache_equals_one_causal_pass(kind: type[nn.Module]) -> None:
    layer, rows = filled(kind(STACK)), seeded(9, BATCH, ROWS, 12)
    cache = KVCache.allocate(ROWS, 2, BATCH, 3, 4, rows)
    cache.fill(Span(0, ROWS), torch.nan)
    by_rows = [
        layer(
            rows[:, at : at + 1],
            1,
            TokenPass(cache, torch.tensor([at]), (plan_row(Span(0, 1), [Span(0, at + 1)]),)),
            attend,
        )
        for at in range(ROWS)
    ]
    plan = tuple(plan_row(Span(at, at + 1), [Span(0, at + 1)]) for at in range(ROWS))
    assert_identity(torch.cat(by_rows, 1), layer(rows, 0, TokenPass(None, None, plan), attend))


def test_t5_cross_attention_sees_all_that_was_written_for_its_layer() -> None:
    layer, rows = filled(T5CrossAttention(STACK)), seeded(9, BATCH, ROWS, 12)
    encoded = seeded(8, BATCH, 7, 12)
    source = KVCache.allocate(7, 3, BATCH, 3, 4, rows)
    source.fill(Span(0, 7), torch.nan)
    layer.write_source(encoded, 2, source)
    key, value = (encoded @ layer.key_value.weight.mT).chunk(2, -1)
    query = rms(rows, layer.norm) @ layer.query.weight.mT
    everyone = torch.ones(ROWS, 7, dtype=torch.bool)
    expected = rows + softmax_attention(query, key, value, everyone) @ layer.out.weight.mT
    assert_identity(layer(rows, 2, source, attend), expected)
    assert layer(rows, 1, source, attend).isnan().all()


def test_streaming_cross_attention_takes_keys_from_the_conditions() -> None:
    layer = filled(StreamingCrossAttention(STACK, 6))
    rows, conditions = seeded(9, BATCH, ROWS, 12), seeded(8, BATCH, ROWS, 6)
    key, value = (conditions @ layer.key_value.weight.mT).chunk(2, -1)
    query = rms(rows, layer.norm) @ layer.query.weight.mT
    query = query * torch.log2(1 + layer.scale.weight.exp()).repeat(3)
    everyone = torch.ones(ROWS, ROWS, dtype=torch.bool)
    seen = softmax_attention(query, key, value, everyone) @ layer.out.weight.mT
    expected = rows + rms(seen, layer.out_norm)
    assert_identity(layer(rows, conditions, 0, ALONE, attend), expected)


def test_t5_feed_forward_is_gated_without_biases() -> None:
    layer, rows = filled(T5FeedForward(STACK)), seeded(9, BATCH, ROWS, 12)
    gate, up = (rms(rows, layer.norm) @ layer.gate_up.weight.mT).split(20, -1)
    inner = functional.gelu(gate, approximate="tanh") * up
    assert_identity(layer(rows), rows + inner @ layer.down.weight.mT)
    assert layer.gate_up.bias is None and layer.down.bias is None


def test_feed_forward_has_biases_and_a_norm_behind_it() -> None:
    layer, rows = filled(FeedForward(STACK)), seeded(9, BATCH, ROWS, 12)
    inner = rms(rows, layer.norm) @ layer.up.weight.mT + layer.up.bias
    outer = functional.gelu(inner, approximate="tanh") @ layer.down.weight.mT + layer.down.bias
    assert_identity(layer(rows), rows + rms(outer, layer.out_norm))
    # The exact GELU is another function.
    exact = functional.gelu(inner) @ layer.down.weight.mT + layer.down.bias
    assert_no_identity(layer(rows), rows + rms(exact, layer.out_norm))


@pytest.mark.parametrize("shape", [(1, 1, 8), (8,), (2, 3, 8)])
def test_rms_norm_divides_by_the_root_mean_square(shape: tuple[int, ...]) -> None:
    norm = RMSNorm(8, eps=1e-6, dtype=torch.float64)
    norm.weight.data.copy_(seeded(1, 8))
    rows = 3 + seeded(2, *shape)  # with a mean, which LayerNorm alone would take away
    size = (rows.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    assert_identity(norm(rows), rows / size * norm.weight)
