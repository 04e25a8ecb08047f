"""Whether the kernels can run somewhere, known before anything is launched."""

import importlib.util
from dataclasses import dataclass
from functools import cache

import torch

from lmdm_kernels.launch import ELEMENT_BYTES, HEAD_DIMS, Card, Launch, shared_bytes

# Triton's interpreter stands in for a GPU in tests: the smallest card's rows, on one processor.
INTERPRETER = Card(capability=(8, 6), num_multiprocessors=1, shared_bytes=101_376)
OLDEST_CAPABILITY = (8, 0)


@dataclass(frozen=True)
class Support:
    """True where the kernels can run; else ``reason`` says why not, to go behind a colon."""

    reason: str | None = None

    @property
    def is_supported(self) -> bool:
        return self.reason is None

    def __bool__(self) -> bool:
        return self.is_supported


def supports(
    device: torch.device | str, dtype: torch.dtype, head_dim: int, launch: Launch | None = None
) -> Support:
    """Whether the kernels take these heads on this device, and, if one is given, this launch."""
    if head_dim not in HEAD_DIMS:
        return Support(f"head_dim is one of {', '.join(map(str, HEAD_DIMS))}, got {head_dim}")
    name = dtype_name(dtype)
    if name not in ELEMENT_BYTES:
        return Support(f"the dtype is one of {', '.join(ELEMENT_BYTES)}, got {name}")
    reason = why_unavailable(device)
    if reason is None and launch is not None:
        card = card_of(torch.device(device))
        needed = shared_bytes(launch, card.capability, name, head_dim)
        if needed > card.shared_bytes:
            reason = (
                f"{launch} takes up to {needed} bytes of shared memory at head_dim {head_dim} in "
                f"{name}, and a program has {card.shared_bytes} on {device}"
            )
    return Support(reason)


def why_unavailable(device: torch.device | str) -> str | None:
    """Why no kernel can run on this device at all, or None where they can."""
    kind = torch.device(device).type
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed; `pip install lmdm-bench[kernels]` brings it"
    if kind == "cpu":
        if is_interpreted():
            return None
        return "a CPU has only Triton's interpreter, for tests, and TRITON_INTERPRET=1 is not set"
    if kind != "cuda" or torch.version.hip is not None:
        return f"the kernels are for NVIDIA GPUs, got device {str(device)!r}"
    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    if is_interpreted():
        return "TRITON_INTERPRET=1 is set, which would run the kernels on the CPU"
    card = card_of(torch.device(device))
    if card.capability < OLDEST_CAPABILITY:
        return (
            "a GPU of compute capability 8.0 or newer is needed (Triton has no tensor-core "
            "products for older ones, Turing included), got {}.{}".format(*card.capability)
        )
    return None


def is_interpreted() -> bool:
    """Whether Triton's interpreter took the kernels when they were imported."""
    from lmdm_kernels.interval_attention import INTERPRETED

    return INTERPRETED


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def card_of(device: torch.device) -> Card:
    """The GPU's numbers, asked once for a device; on a CPU those of the interpreter."""
    if device.type == "cpu":
        return INTERPRETER
    return _asked(torch.cuda.current_device() if device.index is None else device.index)


@cache
def _asked(index: int) -> Card:
    properties = torch.cuda.get_device_properties(index)
    return Card(
        capability=(properties.major, properties.minor),
        num_multiprocessors=properties.multi_processor_count,
        shared_bytes=properties.shared_memory_per_block_optin,  # type: ignore[attr-defined]
    )
