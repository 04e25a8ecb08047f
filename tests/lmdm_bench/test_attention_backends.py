"""Every way to compute the attention gives the dense oracle's result, or its reason."""

import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException
from torch.nn import functional

import lmdm_kernels
from helpers import FLOAT64_IDENTITY, seeded
from lmdm_bench import attention_backends
from lmdm_bench.attention_backends import (
    BACKENDS,
    Inputs,
    Setting,
    forget_graphs,
    launch_table,
    random_inputs,
)
from lmdm_bench.attention_cases import PLANS, cases
from lmdm_bench.errors import InputError, UnsupportedError
from lmdm_bench.model_parts import relative_error
from lmdm_ref import attend_dense
from lmdm_ref.plan import Plan

PLAIN = ("range", "masked", "reference")


def case(plan: str, window: str = "12+3") -> tuple[Plan, Inputs]:
    (one,) = cases((plan,), (window,), ("tiny",), (2,), bytes_per_number=8)
    facts = one.facts
    rows = (facts.queries, facts.places, facts.places)
    return one.plan, Inputs(*(seeded(at, 2, 2, n, 64) for at, n in enumerate(rows)))


def error(plan: Plan, inputs: Inputs, result: Tensor) -> float:
    return relative_error(result, attend_dense(*inputs, plan))


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("backend", PLAIN)
def test_a_backend_is_the_dense_oracle(backend: str, plan: str) -> None:
    rows, inputs = case(plan)
    result = BACKENDS[backend](Setting(rows, inputs))(inputs)
    assert error(rows, inputs, result) < FLOAT64_IDENTITY


@pytest.mark.parametrize("plan", ["block-causal", "block-causal-fused-step"])
def test_row_by_row_is_the_dense_oracle_with_one_span_and_two(plan: str) -> None:
    """As cuDNN and flash-attn are called, here with the CPU's own attention."""
    rows, inputs = case(plan)
    attend = functional.scaled_dot_product_attention
    result = attention_backends._row_by_row(rows, inputs, attend)
    assert error(rows, inputs, result) < FLOAT64_IDENTITY


@pytest.mark.parametrize("returns_pair", [False, True])
def test_flash_attn_gets_rows_before_heads(
    monkeypatch: pytest.MonkeyPatch, returns_pair: bool
) -> None:
    module: Any = ModuleType("flash_attn")

    def flash_attn_func(query: Tensor, key: Tensor, value: Tensor) -> object:
        turned = (one.transpose(1, 2) for one in (query, key, value))
        result = functional.scaled_dot_product_attention(*turned).transpose(1, 2)
        return (result, None) if returns_pair else result

    module.flash_attn_func = flash_attn_func
    monkeypatch.setitem(sys.modules, "flash_attn", module)
    rows, inputs = case("encoder-decoder")
    call = attention_backends._flash(Setting(rows, inputs), "flash_attn", "flash-attn 2")
    assert error(rows, inputs, call(inputs)) < FLOAT64_IDENTITY


@pytest.mark.parametrize("module", ["flash_attn", "flash_attn.cute"])
def test_what_is_not_installed_says_so(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    rows, inputs = case("full")
    with pytest.raises(UnsupportedError, match="flash-attn 9 is not installed"):
        attention_backends._flash(Setting(rows, inputs), module, "flash-attn 9")


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        ("interval", "on cpu the kernel runs in Triton's interpreter only"),
        ("cudnn", "cuDNN's attention needs a CUDA device"),
        ("flash2", "flash-attn 2 needs a CUDA device"),
        ("flash4", "flash-attn 4 needs a CUDA device"),
    ],
)
def test_what_needs_a_gpu_says_so_on_a_cpu(backend: str, words: str) -> None:
    rows, inputs = case("full")
    with pytest.raises(UnsupportedError, match=words):
        BACKENDS[backend](Setting(rows, inputs))


def test_the_kernel_is_not_asked_for_what_it_does_not_support() -> None:
    rows, inputs = case("full")
    support = lmdm_kernels.supports("cpu", torch.float64, 64)
    with pytest.raises(UnsupportedError) as raised:
        BACKENDS["interval"](Setting(rows, inputs, is_timed=False))
    assert str(raised.value) == support.reason


def test_float32_is_not_for_half_precision_kernels() -> None:
    rows, inputs = case("full")
    with pytest.raises(UnsupportedError, match="takes float16 and bfloat16, not float64"):
        attention_backends._need_half(Setting(rows, inputs), "cuDNN's attention")


def test_flex_knows_each_query_s_spans_as_numbers() -> None:
    rows, inputs = case("block-causal-fused-step")
    spans = attention_backends._spans_of_queries(Setting(rows, inputs))
    for row in rows:
        first, second = (*row.keys, (0, 0))[:2]
        for query in range(*row.queries):
            assert spans[:, query].tolist() == [*first, *second]


def test_what_cannot_be_compiled_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused(TorchDynamoException):
        inner_exception = RuntimeError("No working C++ compiler found\nand more")

    def refuse(*_: object, **__: object) -> None:
        raise Refused("backend='inductor' raised:\n…")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: refuse)
    rows, inputs = case("full")
    call = BACKENDS["flex"](Setting(rows, inputs))
    words = "torch.compile cannot make it here: No working C.. compiler found$"
    with pytest.raises(UnsupportedError, match=words):
        call(inputs)


def test_forgetting_graphs_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(torch._dynamo, "reset", lambda: calls.append("reset"))
    forget_graphs()
    assert calls == ["reset"]


def test_copies_are_equal_and_apart() -> None:
    _, inputs = case("full")
    copy = inputs.copy()
    for mine, its in zip(inputs, copy, strict=True):
        assert torch.equal(mine, its) and mine.data_ptr() != its.data_ptr()
    assert copy.num_bytes == 3 * 2 * 2 * 16 * 64 * 8


def test_random_inputs_are_those_of_their_seed() -> None:
    (one,) = cases(("encoder-decoder-step",), ("12+3",), ("tiny",), (2,), bytes_per_number=2)
    cpu = torch.device("cpu")
    first, again, other = (
        random_inputs(one.facts, cpu, torch.bfloat16, seed) for seed in (0, 0, 1)
    )
    assert first.query.shape == (2, 2, 4, 16) and first.key.shape == (2, 2, 16, 16)
    assert first.query.dtype is torch.bfloat16
    assert all(map(torch.equal, first, again)) and not torch.equal(first.key, other.key)
    assert not torch.equal(first.key, first.value)


def test_a_launch_table_is_read_or_refused_in_a_sentence(tmp_path: Any) -> None:
    assert launch_table(None) is lmdm_kernels.LAUNCHES
    path = tmp_path / "launches.json"
    lmdm_kernels.save_launches(lmdm_kernels.LAUNCHES, path)
    assert launch_table(path) == lmdm_kernels.LAUNCHES
    path.write_text("{}")
    with pytest.raises(InputError, match="the launch table cannot be used"):
        launch_table(path)
    with pytest.raises(InputError, match="the launch table cannot be used"):
        launch_table(tmp_path / "none.json")
