from dataclasses import replace

import pytest
import torch
from torch import Tensor

from helpers import (
    PLAIN,
    assert_identity,
    assert_no_identity,
    seeded,
    tiny_conditioning,
    tiny_decoder,
    tiny_latents,
)
from lmdm_ref.arena import Span
from lmdm_ref.attention import attend, attend_dense
from lmdm_ref.decoder import DiffusionDecoder, decoder_from_state, random_decoder
from lmdm_ref.layers import Pass
from lmdm_ref.plan import Plan, block_causal_plan, full_plan
from lmdm_ref.presets import PRESETS, TINY
from lmdm_ref.prologue import prologue
from lmdm_ref.rotary import rotary_angles

CONTEXT, TARGET = 4, 2
ROWS = CONTEXT + TARGET


def a_map(decoder: DiffusionDecoder, noisy: Tensor) -> Tensor:
    """A: x + R·x, then the base model's input projection."""
    residual = torch.einsum("oc,bfc->bfo", decoder.input_residual.weight, noisy)
    return torch.einsum("wc,bfc->bfw", decoder.input_noisy.weight, noisy + residual)


def b_map(decoder: DiffusionDecoder, mask: Tensor, clean: Tensor) -> Tensor:
    """B: one map of the mask's channel and the clean channels together."""
    channels = torch.cat([mask[None, :, None].expand(clean.shape[0], -1, 1), clean], dim=-1)
    return torch.einsum("wc,bfc->bfw", decoder.input_clean.weight, channels)


def test_first_hidden_state_is_routed_as_in_the_paper() -> None:
    """r·A(noisy) + (1 − r)·B(mask, clean), with r = 0 on context frames and 1 on the target's."""
    decoder = tiny_decoder()
    window, noisy = tiny_latents(2, ROWS), tiny_latents(2, ROWS, seed=1)
    r = torch.tensor([0.0] * CONTEXT + [1.0] * TARGET, dtype=torch.float64)
    routed = r[:, None] * a_map(decoder, noisy)
    routed = routed + (1 - r)[:, None] * b_map(decoder, 1 - r, window)
    rows = [decoder.clean_rows(window[:, :CONTEXT]), decoder.noisy_rows(noisy[:, CONTEXT:])]
    assert_identity(torch.cat(rows, dim=1), routed)


def test_context_rows_are_a_function_of_clean_frames_alone() -> None:
    decoder, clean = tiny_decoder(), tiny_latents(2, CONTEXT)
    expected = decoder.clean_rows(clean)
    for name, parameter in decoder.named_parameters():
        if name != "input_clean.weight":
            parameter.fill_(torch.nan)
    assert torch.equal(decoder.clean_rows(clean), expected)


def test_target_rows_get_nothing_from_b() -> None:
    decoder, noisy = tiny_decoder(), tiny_latents(2, TARGET)
    expected = decoder.noisy_rows(noisy)
    decoder.input_clean.weight.fill_(torch.nan)
    assert torch.equal(decoder.noisy_rows(noisy), expected)


def test_b_is_one_map_without_bias_whose_first_channel_is_the_mask() -> None:
    decoder = tiny_decoder()
    assert decoder.input_clean.bias is None
    assert decoder.input_clean.weight.shape == (TINY.width, 1 + TINY.latent_channels)
    silence = torch.zeros(1, 3, TINY.latent_channels, dtype=torch.float64)
    mask_alone = decoder.input_clean.weight[:, 0].expand(1, 3, -1)
    assert_identity(decoder.clean_rows(silence), mask_alone)


def test_token_is_the_embedded_noise_level_plus_the_embedded_seconds() -> None:
    decoder, prompt, sigma = tiny_decoder(), tiny_conditioning(2), 0.3
    turns = 2 * torch.pi * sigma * decoder.sigma_features.weight[:, 0]
    features = torch.cat([turns.cos(), turns.sin()])

    def silu(rows: Tensor) -> Tensor:
        return rows / (1 + (-rows).exp())

    level = silu(decoder.sigma_in.weight @ features + decoder.sigma_in.bias)
    level = decoder.sigma_out.weight @ level + decoder.sigma_out.bias
    seconds = silu(prompt.seconds @ decoder.seconds_in.weight.mT) @ decoder.seconds_out.weight.mT
    token = decoder.token_row(decoder.noise_level(sigma), decoder.encode_conditioning(prompt))
    assert_identity(token, (seconds + level)[:, None])


def test_token_knows_noise_level_and_seconds_but_not_the_text() -> None:
    decoder, prompt = tiny_decoder(), tiny_conditioning(2)

    def token(sigma: float, **changes: Tensor) -> Tensor:
        encoded = decoder.encode_conditioning(replace(prompt, **changes))
        return decoder.token_row(decoder.noise_level(sigma), encoded)

    expected = token(0.5)
    assert_no_identity(token(0.5 + 2**-12), expected)
    assert_no_identity(token(0.5, seconds=2 * prompt.seconds), expected)
    assert torch.equal(token(0.5, text=2 * prompt.text), expected)


def test_bfloat16_token_tells_noise_levels_apart_that_bfloat16_cannot() -> None:
    decoder = tiny_decoder(dtype=torch.bfloat16)
    prompt = decoder.encode_conditioning(tiny_conditioning(1))
    near, far = (decoder.token_row(decoder.noise_level(sigma), prompt) for sigma in (0.897, 0.9))
    assert not torch.equal(near, far)


def test_zeroed_text_has_neither_keys_nor_values_where_there_is_no_norm() -> None:
    decoder = tiny_decoder(PLAIN)
    prompt = decoder.encode_conditioning(tiny_conditioning(1).with_unconditional())
    assert prompt.batch == 2
    for key, value in prompt.text:
        assert key[0].any() and value[0].any()
        assert not key[1].any() and not value[1].any()


def plain_pass(decoder: DiffusionDecoder, plan: Plan, outputs: Span) -> Pass:
    return decoder.plan_pass((range(1, ROWS + 1),), plan, outputs, None, (Span(0, ROWS),))


def test_only_the_rows_that_are_read_leave_the_last_layer() -> None:
    decoder = tiny_decoder()
    plan = block_causal_plan(3, 2, 1)
    prompt = decoder.encode_conditioning(tiny_conditioning(2))
    hidden = seeded(0, 2, ROWS, TINY.width)
    whole = decoder.run(hidden, plain_pass(decoder, plan, Span(0, ROWS)), prompt)
    for outputs in (Span(0, 1), Span(3, 6), Span(2, 4)):
        some = decoder.run(hidden, plain_pass(decoder, plan, outputs), prompt)
        assert_identity(some, whole[:, outputs.start : outputs.stop])


def test_attention_is_an_argument_and_is_asked_for_everything() -> None:
    calls = []

    def recording(query: Tensor, key: Tensor, value: Tensor, plan: Plan) -> Tensor:
        calls.append((query.shape, key.shape))
        return attend_dense(query, key, value, plan)

    dense = random_decoder(TINY, seed=0, dtype=torch.float64, attend=recording)
    plain = tiny_decoder()
    hidden = seeded(0, 2, ROWS, TINY.width)
    rows = []
    for decoder in (dense, plain):
        prompt = decoder.encode_conditioning(tiny_conditioning(2))
        run = plain_pass(decoder, full_plan(ROWS), Span(0, ROWS))
        rows.append(decoder.run(hidden, run, prompt))
    assert_identity(*rows)
    own = (2, TINY.num_heads, ROWS, TINY.head_dim)
    text = (2, TINY.num_cross_heads, TINY.text_tokens, TINY.head_dim)
    assert calls == [(own, own), (own, text)] * TINY.depth
    assert plain.kernels == (attend, prologue)


def test_velocity_comes_back_in_the_dtype_of_the_latents() -> None:
    decoder = tiny_decoder(dtype=torch.bfloat16)
    hidden = seeded(0, 1, 2, TINY.width).bfloat16()
    like = torch.empty(1, 2, TINY.latent_channels)
    velocity = decoder.velocity(hidden, like)
    assert velocity.dtype == torch.float32
    assert velocity.shape == like.shape


def test_velocity_is_the_output_map_and_its_residual() -> None:
    decoder, hidden = tiny_decoder(), seeded(0, 2, 3, TINY.width)
    latent = hidden @ decoder.output.weight.mT
    expected = latent + torch.einsum("oc,bfc->bfo", decoder.output_residual.weight, latent)
    assert_identity(decoder.velocity(hidden, latent), expected)


def test_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    one, same = tiny_decoder(), tiny_decoder()
    other = random_decoder(TINY, seed=1, dtype=torch.float64)
    for name, parameter in one.named_parameters():
        assert torch.equal(same.get_parameter(name), parameter)
        assert not torch.equal(other.get_parameter(name), parameter)
        assert parameter.all() and not parameter.requires_grad


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_weights_have_the_dtype_asked_for_and_rotary_frequencies_float64(
    dtype: torch.dtype,
) -> None:
    decoder = tiny_decoder(dtype=dtype)
    assert {parameter.dtype for parameter in decoder.parameters()} == {dtype}
    assert decoder.dtype == dtype
    assert decoder.device.type == "cpu"
    assert decoder.inverse_frequencies.dtype == torch.float64


def test_lower_precision_weights_are_the_same_weights_rounded() -> None:
    narrow = dict(tiny_decoder(dtype=torch.bfloat16).named_parameters())
    for name, parameter in tiny_decoder(dtype=torch.float32).named_parameters():
        assert torch.equal(narrow[name], parameter.bfloat16())


def test_decoder_from_its_own_state_is_the_same_decoder() -> None:
    one = tiny_decoder()
    again = decoder_from_state(TINY, one.state_dict(), torch.float64)
    assert again.state_dict().keys() == one.state_dict().keys()
    for name, tensor in one.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    assert again.inverse_frequencies.dtype == torch.float64


def test_given_rotary_frequencies_win_over_the_formula() -> None:
    state = tiny_decoder().state_dict()
    state["inverse_frequencies"] = 2 * state["inverse_frequencies"]
    decoder = decoder_from_state(TINY, state, torch.float64)
    expected = rotary_angles(torch.tensor([2]), tiny_decoder().inverse_frequencies, torch.float64)
    assert_identity(decoder.rotary(range(1, 2)).cos, expected.cos)


@pytest.mark.parametrize(("preset", "millions"), [("sao-small", 340.9), ("sao-1.0", 1056.9)])
def test_parameters_are_as_many_as_the_published_models_have(preset: str, millions: float) -> None:
    """With B or without it: its 65 channels do not show in the published digits."""
    with torch.device("meta"):
        decoder = DiffusionDecoder(PRESETS[preset].decoder)
    total = sum(parameter.numel() for parameter in decoder.parameters())
    base = total - decoder.input_clean.weight.numel()
    assert round(total / 1e6, 1) == millions
    assert round(base / 1e6, 1) in (millions, round(millions - 0.1, 1))
