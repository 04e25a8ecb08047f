import copy

import pytest
import torch
from torch import nn

from helpers import WINDOW, assert_within_budget, seeded, tiny_conditioning, tiny_decoder
from helpers import tiny_latents as latents
from lmdm_ref import linear as lmdm_linear
from lmdm_ref.encoder_decoder import EncoderDecoder
from lmdm_ref.linear import LAYOUT_ROWS, PackedLinear, RowLinear, pack_linears, why_not_packed
from lmdm_ref.oracle import EncoderDecoderOracle
from lmdm_ref.sampler import euler_sampler
from lmdm_ref.schedule import linear_sigmas

needs_packing = pytest.mark.skipif(
    why_not_packed(torch.empty(1)) is not None, reason=f"{why_not_packed(torch.empty(1))}"
)


def linear(dtype: torch.dtype, bias: bool) -> nn.Linear:
    plain = nn.Linear(24, 40, bias=bias, dtype=dtype)
    for index, parameter in enumerate(plain.parameters()):
        parameter.copy_(seeded(index, *parameter.shape))
    return plain


@needs_packing
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 7, LAYOUT_ROWS, LAYOUT_ROWS + 1])
def test_packed_layer_is_as_exact_as_the_plain_one(
    dtype: torch.dtype, bias: bool, rows: int
) -> None:
    plain = linear(dtype, bias)
    hidden = seeded(9, 2, rows, 24).to(dtype)
    truth = hidden.double() @ plain.weight.double().mT
    if plain.bias is not None:
        truth = truth + plain.bias.double()
    packed = PackedLinear(plain)(hidden)
    assert packed.dtype == dtype
    assert_within_budget(packed, plain(hidden), truth)


@needs_packing
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 24), (1, 24), (24,), (2, 1, 24)])
def test_a_row_multiplied_with_its_twins_is_as_exact(
    dtype: torch.dtype, bias: bool, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lmdm_linear, "TWIN_WEIGHTS", 1)
    plain = linear(dtype, bias)
    row = seeded(9, *shape).to(dtype)
    truth = row.double() @ plain.weight.double().mT
    if plain.bias is not None:
        truth = truth + plain.bias.double()
    twinned = PackedLinear(plain)(row)
    assert twinned.dtype == dtype
    assert_within_budget(twinned, plain(row), truth)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("shape", [(1, 1, 24), (24,), (3, 24), (2, 2, 24)])
def test_row_layer_is_as_exact_for_one_row_and_for_more(
    bias: bool, threads: int, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 40 outputs, two threads share; three cannot."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    plain = linear(torch.float32, bias)
    rows = seeded(9, *shape).float()
    truth = rows.double() @ plain.weight.double().mT
    if plain.bias is not None:
        truth = truth + plain.bias.double()
    assert_within_budget(RowLinear(plain)(rows), plain(rows), truth)


@needs_packing
def test_layers_of_many_rows_are_told_apart_by_their_names() -> None:
    def built(dtype: torch.dtype) -> nn.Module:
        parts = {"encoder": linear(dtype, bias=False), "step": linear(dtype, bias=False)}
        return nn.ModuleDict({"model": nn.ModuleDict(parts)})

    wide, narrow = built(torch.float32), built(torch.bfloat16)
    assert pack_linears(wide, ("encoder",)) == pack_linears(narrow, ("encoder",)) == 2
    assert [type(one) for one in wide["model"].values()] == [PackedLinear, RowLinear]
    assert [type(one) for one in narrow["model"].values()] == [PackedLinear, PackedLinear]
    none = built(torch.float32)
    pack_linears(none, ())
    assert {type(one) for one in none["model"].values()} == {RowLinear}


@needs_packing
def test_packed_stream_stays_within_the_float32_budget() -> None:
    decoder = tiny_decoder(dtype=torch.float32)
    sampler = euler_sampler(linear_sigmas(2))
    truth = EncoderDecoderOracle(decoder, WINDOW, sampler)
    reference = EncoderDecoderOracle(decoder, WINDOW, sampler, torch.float32)
    packed = copy.deepcopy(decoder)
    pack_linears(packed)
    stream = EncoderDecoder(packed, WINDOW, sampler)
    history = latents(2, WINDOW.context_frames).float()
    noise = seeded(1, 1, 2, WINDOW.block_frames, decoder.config.latent_channels).float()
    prompt = tiny_conditioning(2)
    block = stream.generate(noise, stream.prefill(history, prompt))
    assert_within_budget(
        block, reference.block(noise, history, prompt), truth.block(noise, history, prompt)
    )


@needs_packing
def test_every_linear_layer_is_packed_and_counted() -> None:
    decoder = tiny_decoder(dtype=torch.float32)
    before = sum(isinstance(one, nn.Linear) for one in decoder.modules())
    assert pack_linears(decoder) == before > 0
    assert not any(isinstance(one, nn.Linear) for one in decoder.modules())
    assert sum(isinstance(one, PackedLinear) for one in decoder.modules()) == before
    assert pack_linears(decoder) == 0


def test_float64_and_half_are_refused_with_the_reason() -> None:
    for dtype in (torch.float64, torch.float16):
        with pytest.raises(ValueError, match=f"takes float32 and bfloat16, not {dtype}"):
            pack_linears(nn.Sequential(linear(dtype, bias=True)))


def test_weights_that_are_not_on_the_cpu_are_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match=r"weights are on meta; .* layout is for CPUs"):
        pack_linears(nn.Sequential(nn.Linear(2, 2, device="meta")))


def test_refused_layer_is_left_as_it_was() -> None:
    module = nn.Sequential(linear(torch.float64, bias=False))
    with pytest.raises(ValueError, match="cannot be packed"):
        pack_linears(module)
    assert isinstance(module[0], nn.Linear)


def test_other_processors_and_older_torches_say_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = torch.zeros(2, 2)
    with monkeypatch.context() as patch:
        patch.setattr("platform.machine", lambda: "arm64")
        assert why_not_packed(weight) == "oneDNN's layout was tried on x86 only"
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with monkeypatch.context() as patch:
        patch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
        assert why_not_packed(weight) == "this build of torch has no oneDNN"
