"""What a result of attention is held to: float64, and the error of plain PyTorch in its dtype."""

from dataclasses import dataclass

import torch
from torch import Tensor

import lmdm_ref
from lmdm_bench.attention_backends import BACKENDS, Inputs, Setting
from lmdm_bench.kernels_record import KernelCheck
from lmdm_bench.model_parts import BUDGET_FACTOR, relative_error
from lmdm_ref.plan import Plan

# So many freed blocks of a result's size are left full of NaN for the next call to write into.
POISONED_BLOCKS = 3


@dataclass(frozen=True)
class Truth:
    """The result in float64, and how far plain attention in the inputs' dtype is from it."""

    exact: Tensor
    reference_error: float
    dtype: torch.dtype

    def check(self, *results: Tensor) -> KernelCheck:
        """The worst of the results against the budget. Raises ValueError for another shape.

        What is not finite has no error that could be stored: it raises FloatingPointError.
        """
        errors = []
        for result in (one.to(self.exact.device) for one in results):
            if result.shape != self.exact.shape:
                expected, got = tuple(self.exact.shape), tuple(result.shape)
                raise ValueError(f"the result should have the shape {expected}, got {got}")
            if not result.isfinite().all():
                raise FloatingPointError("the result has numbers that are not finite")
            errors.append(relative_error(result, self.exact))
        budget = BUDGET_FACTOR * self.reference_error + torch.finfo(self.dtype).eps
        error = max(errors)
        return KernelCheck(error, self.reference_error, budget, error <= budget)


def truth_of(inputs: Inputs, plan: Plan) -> Truth:
    """By the dense oracle of the reference; plain attention is the backend ``reference``."""
    device = inputs.query.device
    with_float64 = torch.device("cpu") if device.type == "mps" else device
    query, key, value = (one.to(with_float64).double() for one in inputs)
    exact = lmdm_ref.attend_dense(query, key, value, plan)
    plain = BACKENDS["reference"](Setting(plan, inputs))(inputs)
    return Truth(exact, relative_error(plain.to(with_float64), exact), inputs.query.dtype)


def poison(like: Tensor) -> None:
    """Leave NaN in the memory that the allocator gives away next, so that a result which is not
    written to its last number is seen.
    """
    blocks = [torch.full_like(like, torch.nan) for _ in range(POISONED_BLOCKS)]
    del blocks
