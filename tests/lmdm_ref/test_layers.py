from dataclasses import replace
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn

from helpers import PLAIN, assert_identity, assert_no_identity, seeded
from lmdm_ref.arena import Arena, Span
from lmdm_ref.attention import attend
from lmdm_ref.cache import KVCache
from lmdm_ref.layers import CrossAttention, DecoderLayer, FeedForward, Kernels, Pass, SelfAttention
from lmdm_ref.plan import Plan, block_causal_plan, crop_plan, full_plan
from lmdm_ref.presets import TINY, DecoderConfig
from lmdm_ref.prologue import prologue
from lmdm_ref.rotary import Rotary, inverse_frequencies, rotary_angles, rotate

Module = TypeVar("Module", bound=nn.Module)
ROWS, BATCH = 6, 2
CONFIGS = pytest.mark.parametrize("config", [TINY, PLAIN], ids=["QK norm, grouped", "plain"])
BANDED = block_causal_plan(3, 2, 1)
READABLE = Kernels(attend, prologue)


def filled(module: Module) -> Module:
    module.double()
    for index, parameter in enumerate(module.parameters()):
        parameter.copy_(seeded(index, *parameter.shape) / parameter.shape[-1] ** 0.5)
    return module


def hidden_rows(seed: int = 0) -> Tensor:
    return seeded(seed, BATCH, ROWS, TINY.width)


def rotary(config: DecoderConfig = TINY) -> Rotary:
    frequencies = inverse_frequencies(config.rotary_dims, config.rotary_base)
    return rotary_angles(torch.arange(1, ROWS + 1), frequencies, torch.float64)


def plain_pass(plan: Plan, config: DecoderConfig = TINY) -> Pass:
    return Pass(rotary(config), plan, plan, Span(0, ROWS), None, torch.arange(ROWS))


def text_for(layer: DecoderLayer, config: DecoderConfig = TINY) -> tuple[Tensor, Tensor]:
    text = seeded(5, BATCH, config.text_tokens, config.cross_width)
    return layer.cross_attention.encode_text(text)


def normalised(heads: Tensor, norm: Any, config: DecoderConfig) -> Tensor:
    """LayerNorm of each head, written out."""
    if config.qk_norm == "none":
        return heads
    mean = heads.mean(-1, keepdim=True)
    variance = (heads - mean).pow(2).mean(-1, keepdim=True)
    scaled: Tensor = (heads - mean) / (variance + 1e-6).sqrt() * norm.weight + norm.bias
    return scaled


def projected(
    attention: SelfAttention, hidden: Tensor, config: DecoderConfig = TINY
) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value [batch, heads, rows, head_dim], written out."""
    weights = attention.qkv.weight.unflatten(0, (3, config.num_heads, config.head_dim))
    query, key, value = torch.einsum("brw,thdw->tbrhd", hidden, weights)
    query = rotate(normalised(query, attention.query_norm, config), rotary(config))
    key = rotate(normalised(key, attention.key_norm, config), rotary(config))
    return query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)


@CONFIGS
def test_the_norm_of_heads_goes_to_the_prologue_as_data(config: DecoderConfig) -> None:
    attention = filled(SelfAttention(config))
    norm = attention.head_norm
    if config.qk_norm == "none":
        assert norm[:5] == ("none", None, None, None, None)
    else:
        assert norm.kind == "layer" and norm.epsilon == 1e-6
        assert norm.query_weight is attention.query_norm.weight
        assert norm.query_bias is attention.query_norm.bias
        assert norm.key_weight is attention.key_norm.weight
        assert norm.key_bias is attention.key_norm.bias


@CONFIGS
def test_cross_attention_is_softmax_over_the_text_head_by_head(config: DecoderConfig) -> None:
    attention = filled(CrossAttention(config))
    hidden, text = hidden_rows(), seeded(5, BATCH, 5, config.cross_width)
    width, group = config.head_dim, config.num_heads // config.num_cross_heads
    keys, values = (text @ attention.key_value.weight.mT).chunk(2, -1)
    seen = []
    for head in range(config.num_heads):
        mine = slice(head * width, (head + 1) * width)
        shared = slice(head // group * width, (head // group + 1) * width)
        query = (hidden @ attention.query.weight.mT)[..., mine]
        query = normalised(query, attention.query_norm, config)
        key = normalised(keys[..., shared], attention.key_norm, config)
        weights = (query @ key.mT / width**0.5).softmax(-1)
        seen.append(weights @ values[..., shared])
    expected = torch.cat(seen, -1) @ attention.out.weight.mT
    assert_identity(attention(hidden, attention.encode_text(text), attend), expected)


def test_feed_forward_is_value_times_silu_of_gate() -> None:
    feed_forward = filled(FeedForward(TINY))
    up, down, hidden = feed_forward.gate_up, feed_forward.down, hidden_rows()
    middle = TINY.feed_forward_width
    value = hidden @ up.weight[:middle].mT + up.bias[:middle]
    gate = hidden @ up.weight[middle:].mT + up.bias[middle:]
    expected = (value * gate / (1 + (-gate).exp())) @ down.weight.mT + down.bias
    assert_identity(feed_forward(hidden), expected)


@CONFIGS
def test_layer_adds_its_three_parts_one_after_the_other(config: DecoderConfig) -> None:
    layer = filled(DecoderLayer(config))
    text, hidden = text_for(layer, config), hidden_rows()
    run = plain_pass(BANDED, config)

    def normed(rows: Tensor, norm: nn.LayerNorm) -> Tensor:
        centred = rows - rows.mean(-1, keepdim=True)
        scale = (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
        scaled: Tensor = centred / scale * norm.weight
        return scaled

    rows = normed(hidden, layer.self_norm)
    seen = attend(*projected(layer.self_attention, rows, config), BANDED)
    expected = hidden + seen.transpose(1, 2).flatten(2) @ layer.self_attention.out.weight.mT
    rows = normed(expected, layer.cross_norm)
    expected = expected + layer.cross_attention(rows, text, attend)
    expected = expected + layer.feed_forward(normed(expected, layer.feed_forward_norm))
    assert_identity(layer(hidden, 0, text, run, READABLE), expected)


@pytest.mark.parametrize("outputs", [Span(0, 2), Span(3, 6), Span(1, 5), Span(0, 6)])
def test_rows_that_are_asked_for_are_the_same_without_the_others(outputs: Span) -> None:
    layer = filled(DecoderLayer(TINY))
    text, hidden, run = text_for(layer), hidden_rows(), plain_pass(BANDED)
    whole = layer(hidden, 0, text, run, READABLE)
    part = replace(run, outputs=outputs, plan=crop_plan(BANDED, outputs))
    kept = layer(hidden, 0, text, part, READABLE)
    assert_identity(kept, whole[:, outputs.start : outputs.stop])


def test_layer_asked_for_nothing_still_leaves_its_keys_behind() -> None:
    layer = filled(DecoderLayer(TINY))
    arena = Arena(prefix=0, target_frames=1, slot_frames=ROWS, num_slots=1)
    cache = KVCache.allocate(arena.size, 1, BATCH, TINY.num_heads, TINY.head_dim, hidden_rows())
    places = torch.arange(*arena.slot(0))
    run = Pass(rotary(), (), (), Span(0, 0), cache, places)

    def forbidden(*_: object) -> Tensor:
        raise AssertionError("nobody reads a row, so nothing is to be attended to")

    hidden = hidden_rows()
    out = layer(hidden, 0, text_for(layer), run, Kernels(forbidden, prologue))
    assert out.shape == (BATCH, 0, TINY.width)
    _, key, value = projected(layer.self_attention, layer.self_norm(hidden))
    seen_key, seen_value = cache.layer(0)
    assert_identity(seen_key[:, :, arena.slot(0).start :], key)
    assert_identity(seen_value[:, :, arena.slot(0).start :], value)


def test_rows_attend_through_the_cache_as_they_do_without_one() -> None:
    layer = filled(DecoderLayer(TINY))
    text, hidden = text_for(layer), hidden_rows()
    direct = layer(hidden, 0, text, plain_pass(full_plan(ROWS)), READABLE)
    arena = Arena(prefix=0, target_frames=ROWS - 1, slot_frames=1, num_slots=2)
    cache = KVCache.allocate(arena.size, 1, BATCH, TINY.num_heads, TINY.head_dim, hidden)
    cache.fill(Span(0, arena.size), torch.nan)
    run = replace(plain_pass(full_plan(ROWS)), cache=cache)
    assert torch.equal(layer(hidden, 0, text, run, READABLE), direct)


def test_text_matters_but_its_order_does_not() -> None:
    layer = filled(DecoderLayer(TINY))
    hidden, run = hidden_rows(), plain_pass(full_plan(ROWS))
    key, value = text_for(layer)
    one = layer(hidden, 0, (key, value), run, READABLE)
    assert_no_identity(layer(hidden, 0, (key.flip(-1), value), run, READABLE), one)
    assert_no_identity(layer(hidden, 0, (key, 2 * value), run, READABLE), one)
    order = [2, 0, 4, 3, 1]
    shuffled = (key[:, :, order], value[:, :, order])
    assert_identity(layer(hidden, 0, shuffled, run, READABLE), one)
