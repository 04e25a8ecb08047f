"""Linear layers whose weights are laid out once for the CPU's matrix product.

A plain linear layer hands the library a row-major weight, which it reorders (or reads badly) in
every call; at the 48 to 241 rows of a denoising step that costs 5 to 40 % on x86 (reports/log.md).
oneDNN's blocked layout is made once here. The results differ from the plain layer's only in the
order of float additions.
"""

import platform

import torch
from jaxtyping import Float
from torch import Tensor, nn

# The layout is chosen for about this many rows; measured equal for 48 to 241.
LAYOUT_ROWS = 96

X86 = ("x86_64", "AMD64")


class PackedLinear(nn.Module):
    """``nn.Linear`` for inference with a weight in oneDNN's own layout; it cannot be trained."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.out_features = linear.out_features
        self._bias = None if linear.bias is None else linear.bias.detach()
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), LAYOUT_ROWS)

    def forward(self, rows: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch out"]:
        out: Tensor = torch.ops.mkldnn._linear_pointwise(
            rows, self._packed, self._bias, "none", [], ""
        )
        return out


def pack_linears(module: nn.Module) -> int:
    """Replace every linear layer below ``module`` by its packed form; returns how many.

    Raises ValueError with the reason where ``why_not_packed`` has one.
    """
    count = 0
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear):
                reason = why_not_packed(child.weight)
                if reason is not None:
                    raise ValueError(f"this linear layer cannot be packed: {reason}")
                setattr(parent, name, PackedLinear(child))
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
