"""A result is right where it is as near to float64 as plain attention may be twice over."""

import pytest
import torch

from helpers import seeded
from lmdm_bench.attention_backends import BACKENDS, Inputs, Setting
from lmdm_bench.attention_check import Truth, poison, truth_of
from lmdm_bench.model_parts import BUDGET_FACTOR
from lmdm_ref import attend_dense
from lmdm_ref.plan import full_plan

PLAN = full_plan(9)


def inputs(dtype: torch.dtype) -> Inputs:
    return Inputs(*(seeded(at, 1, 2, 9, 16).to(dtype) for at in range(3)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_truth_is_the_dense_oracle_of_the_rounded_inputs(dtype: torch.dtype) -> None:
    given = inputs(dtype)
    truth = truth_of(given, PLAN)
    assert truth.exact.dtype is torch.float64
    exact = attend_dense(*(one.double() for one in given), PLAN)
    assert torch.equal(truth.exact, exact)
    plain = BACKENDS["reference"](Setting(PLAN, given))(given)
    check = truth.check(plain)
    assert check.error == check.reference_error == truth.reference_error > 0
    assert check.budget == BUDGET_FACTOR * truth.reference_error + torch.finfo(dtype).eps
    assert check.is_within_budget


def test_the_worst_of_several_results_counts() -> None:
    exact = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    truth = Truth(exact, 0.0, torch.float32)
    check = truth.check(exact.float(), (1 + 1e-3) * exact.float())
    assert check.error == pytest.approx(1e-3, rel=1e-3)
    assert not check.is_within_budget
    assert truth.check(exact.float()).is_within_budget


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_a_number_that_is_none_is_no_result(number: float) -> None:
    exact = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    wrong = exact.float()
    wrong[0, 0, 1, 1] = number
    with pytest.raises(FloatingPointError, match="not finite"):
        Truth(exact, 0.0, torch.float32).check(wrong)


def test_another_shape_is_no_result() -> None:
    exact = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"should have the shape \(1, 1, 2, 2\), got \(1, 2, 2\)"):
        Truth(exact, 0.0, torch.float32).check(exact[0].float())


def test_poison_is_nan_of_the_same_size(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    full_like = torch.full_like
    monkeypatch.setattr(
        torch, "full_like", lambda *given: made.append(full_like(*given)) or made[-1]
    )
    poison(torch.zeros(3, 4))
    assert made and all(one.shape == (3, 4) and one.isnan().all() for one in made)
