"""The budget of a check, and weights laid out once with the reason where they are not."""

from dataclasses import replace

import pytest
import torch

import lmdm_ref
from lmdm_bench.graphs import Graphs
from lmdm_bench.model_parts import (
    BUDGET_FACTOR,
    CHECK_DEPTH,
    executor,
    judged,
    pack,
    packed_product,
    relative_error,
    torch_dtype,
)
from tiny_run import REQUEST


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_dtype_is_torch_s_of_that_name(dtype: str) -> None:
    assert torch_dtype(replace(REQUEST, dtype=dtype)) is getattr(torch, dtype)


def test_networks_are_run_at_once_or_as_graphs_whose_plans_move_for_the_kernels() -> None:
    assert executor(REQUEST) is lmdm_ref.execute
    for attention, is_moving in (("range", False), ("triton", True)):
        graphs = executor(replace(REQUEST, is_graphed=True, attention=attention))
        assert isinstance(graphs, Graphs)
        assert graphs._has_moving_plans is is_moving


def test_the_budget_is_twice_the_plain_error_and_one_rounding() -> None:
    rounding = torch.finfo(torch.bfloat16).eps
    check = judged("an oracle", 3, 0.004, 0.003, torch.bfloat16)
    assert check.budget == BUDGET_FACTOR * 0.003 + rounding
    assert (check.oracle, check.depth, check.num_blocks) == ("an oracle", CHECK_DEPTH, 3)
    assert (check.error, check.reference_error) == (0.004, 0.003)


@pytest.mark.parametrize(
    ("error", "reference_error", "is_within"),
    [
        (0.0, 0.0, True),
        (1e-7, 0.0, True),  # less than one rounding of float32
        (2e-7, 0.0, False),
        (2e-3, 1e-3, True),
        (2.1e-3, 1e-3, False),
        (float("nan"), 1e-3, False),
        (1e-3, float("nan"), False),
    ],
)
def test_an_error_over_the_budget_is_none_within_it(
    error: float, reference_error: float, is_within: bool
) -> None:
    assert judged("o", 1, error, reference_error, torch.float32).is_within_budget is is_within


def test_an_error_is_relative_to_the_largest_expected_value() -> None:
    actual, expected = torch.tensor([1.0, -3.0, 0.5]), torch.tensor([1.0, -4.0, 0.0])
    assert relative_error(actual, expected) == 0.25
    assert relative_error(expected.bfloat16(), expected.double()) == 0.0


def test_packing_says_what_was_done_or_why_not() -> None:
    layers = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 4))
    rows = torch.randn(3, 8)
    expected = layers(rows)
    weight = torch.empty(1, 1)
    if lmdm_ref.why_not_packed(weight) is not None:
        pytest.skip("this machine packs nothing")
    done = pack(layers, weight)
    assert done.value == "packed"
    assert "2 weights" in done.reason
    assert not any(isinstance(one, torch.nn.Linear) for one in layers)
    torch.testing.assert_close(layers(rows), expected)


def test_what_cannot_be_packed_stays_as_it_is() -> None:
    layers = torch.nn.Sequential(torch.nn.Linear(8, 8, dtype=torch.float16))
    kept = pack(layers, torch.empty(1, 1, dtype=torch.float16))
    assert kept.value == "plain"
    assert "float16" in kept.reason
    assert isinstance(layers[0], torch.nn.Linear)


def test_the_product_of_a_ceiling_is_that_of_a_packed_layer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shapes: list[torch.Size] = []
    forward = lmdm_ref.PackedLinear.forward

    def recording(self: lmdm_ref.PackedLinear, rows: torch.Tensor) -> torch.Tensor:
        shapes.append(rows.shape)
        return forward(self, rows)

    monkeypatch.setattr(lmdm_ref.PackedLinear, "forward", recording)
    multiply = packed_product(16, torch.float32, torch.device("cpu"))
    assert shapes == []
    multiply()
    assert shapes == [(16, 16)]
