"""Linear layers whose weights are laid out once for the CPU's matrix product.

A plain linear layer hands the library a row-major weight, which it reorders (or reads badly) in
every call; at the 48 to 241 rows of a denoising step that costs 5 to 40 % on x86, and at the single
row of a decoding step half of the memory's bandwidth (reports/log.md). oneDNN's blocked layout is
made once here. The results differ from the plain layer's only in the order of float additions.
"""

import platform

import torch
from jaxtyping import Float
from torch import Tensor, nn

# The layout is chosen for about this many rows; measured equal for 1 to 241.
LAYOUT_ROWS = 96
# One row is multiplied as so many equal ones where the weight is large: oneDNN's product of few
# rows then reads memory about a tenth faster than its product of one.
TWIN_ROWS = 4
TWIN_WEIGHTS = 2 << 20

X86 = ("x86_64", "AMD64")


class PackedLinear(nn.Module):
    """``nn.Linear`` for inference with a weight in oneDNN's own layout; it cannot be trained."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.out_features = linear.out_features
        self._in_features = linear.in_features
        self._has_twins = linear.weight.numel() >= TWIN_WEIGHTS
        self._bias = None if linear.bias is None else linear.bias.detach()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), LAYOUT_ROWS)

    def forward(self, rows: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch out"]:
        if self._has_twins and rows.numel() == self._in_features:
            twins = rows.reshape(1, -1).expand(TWIN_ROWS, -1)
            return self._product(twins)[:1].view(*rows.shape[:-1], self.out_features)
        return self._product(rows)

    def _product(self, rows: Tensor) -> Tensor:
        out: Tensor = torch.ops.mkldnn._linear_pointwise(
            rows, self._packed, self._bias, "none", [], ""
        )
        return out


class RowLinear(nn.Module):
    """``nn.Linear`` for inference on one row at a time in float32, split between the threads.

    MKL multiplies a matrix by one column at the memory's full speed, if each thread has a matrix of
    its own; oneDNN's packed product reaches about half of it.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.out_features = linear.out_features
        self._weight = linear.weight.detach()
        self._bias = None if linear.bias is None else linear.bias.detach()
        threads = torch.get_num_threads()
        self._parts = threads if linear.out_features % threads == 0 else 1
        self._split = self._weight.view(self._parts, -1, linear.in_features)

    def forward(self, rows: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch out"]:
        if rows.numel() != self._weight.shape[1]:
            return nn.functional.linear(rows, self._weight, self._bias)
        # As a transposed row: MKL takes a column whose strides are both 1 for a slow case.
        column = rows.reshape(1, -1).mT.expand(self._parts, -1, -1)
        out = torch.bmm(self._split, column).view(*rows.shape[:-1], self.out_features)
        return out if self._bias is None else out + self._bias


def pack_linears(module: nn.Module, many_rows: tuple[str, ...] = ("",)) -> int:
    """Replace every linear layer below ``module`` by the form that is fastest; returns how many.

    ``many_rows`` are parts of names: a layer whose name holds one is called with many rows at a
    time, the others mostly with one. Raises ValueError with the reason where ``why_not_packed`` has
    one.
    """
    count = 0
    for parent_name, parent in list(module.named_modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                reason = why_not_packed(child.weight)
                if reason is not None:
                    raise ValueError(f"this linear layer cannot be packed: {reason}")
                whole = f"{parent_name}.{name}"
                has_many_rows = any(part in whole for part in many_rows)
                is_wide = child.weight.dtype is torch.float32
                packed = RowLinear if is_wide and not has_many_rows else PackedLinear
                setattr(parent, name, packed(child))
                count += 1
    return count


def why_not_packed(weight: Tensor) -> str | None:
    """Why oneDNN's layout cannot be used for such a weight, or None where it can."""
    if weight.device.type != "cpu":
        return f"the weights are on {weight.device.type}; oneDNN's layout is for CPUs"
    if platform.machine() not in X86:
        return "oneDNN's layout was tried on x86 only"
    if not torch.backends.mkldnn.is_available():
        return "this build of torch has no oneDNN"
    if weight.dtype not in (torch.float32, torch.bfloat16):
        return f"oneDNN's packed product takes float32 and bfloat16, not {weight.dtype}"
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return "this version of torch does not offer oneDNN's packed product"
    if weight.dtype is torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return "this processor is too old for oneDNN's bfloat16"
    return None
