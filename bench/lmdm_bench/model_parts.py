"""What all models have in common: dtype, packed weights, and how a check is judged."""

from collections.abc import Callable

import torch
from torch import Tensor

import lmdm_kernels
import lmdm_ref
from lmdm_bench.graphs import Graphs, cuda_capture
from lmdm_bench.record import Check, Choice
from lmdm_bench.request import Request

# The correctness check runs the real widths and lengths at this depth.
CHECK_DEPTH = 2
# What is measured may differ from the truth by twice what plain PyTorch in the same dtype differs,
# and by one rounding of the largest value (the rule of flash-attention's tests).
BUDGET_FACTOR = 2.0

# What each ``--attention`` computes with: the attention, and what comes before it.
KERNELS: dict[str, lmdm_ref.Kernels] = {
    "range": lmdm_ref.Kernels(lmdm_ref.attend, lmdm_ref.prologue),
    "dense": lmdm_ref.Kernels(lmdm_ref.attend_dense, lmdm_ref.prologue),
    "triton": lmdm_ref.Kernels(lmdm_kernels.attend, lmdm_kernels.prologue),
}


def torch_dtype(request: Request) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, request.dtype)
    return dtype


def executor(request: Request) -> lmdm_ref.Execute:
    """Who runs a stream's networks: at once, or as graphs of their own."""
    if not request.is_graphed:
        return lmdm_ref.execute
    return Graphs(cuda_capture, has_moving_plans=request.attention == "triton")


def pack(module: torch.nn.Module, weight: Tensor, many_rows: tuple[str, ...] = ("",)) -> Choice:
    """Lay a model's linear layers out for the CPU, where that can be done; ``weight`` is one."""
    reason = lmdm_ref.why_not_packed(weight)
    if reason is not None:
        return Choice("plain", reason)
    count = lmdm_ref.pack_linears(module, many_rows)
    return Choice("packed", f"{count} weights laid out once for oneDNN's matrix product")


def packed_product(width: int, dtype: torch.dtype, device: torch.device) -> Callable[[], None]:
    """A product of two square matrices by the packed layer, to be measured as a ceiling."""
    with torch.inference_mode():
        linear = torch.nn.Linear(width, width, bias=False, device=device, dtype=dtype)
        packed, rows = lmdm_ref.PackedLinear(linear), torch.rand(width, width).to(device, dtype)

    @torch.inference_mode()
    def multiply() -> None:
        packed(rows)

    return multiply


def judged(
    oracle: str, num_blocks: int, error: float, reference_error: float, dtype: torch.dtype
) -> Check:
    """A check from its two relative errors."""
    budget = BUDGET_FACTOR * reference_error + torch.finfo(dtype).eps
    return Check(
        oracle=oracle,
        depth=CHECK_DEPTH,
        num_blocks=num_blocks,
        error=error,
        reference_error=reference_error,
        budget=budget,
        is_within_budget=error <= budget,
    )


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest expected value."""
    return float((actual.double() - expected.double()).abs().max() / expected.double().abs().max())
