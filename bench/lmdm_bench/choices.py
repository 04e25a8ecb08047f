"""What a run computes on, in which dtype: picked for "auto", else checked, with the reason."""

from lmdm_bench.errors import UnsupportedError
from lmdm_bench.machine import why_no_cuda
from lmdm_bench.record import Choice

DEVICE_KINDS = ("cpu", "cuda", "mps")
DTYPES = ("float32", "bfloat16", "float16")

CUDA_BFLOAT16_CAPABILITY = (8, 0)
X86_BFLOAT16 = ("amx_bf16", "avx512_bf16")
X86_FLOAT16 = ("amx_fp16", "avx512_fp16")


def pick_device() -> Choice:
    """The device for "auto". MPS is only used where it is asked for."""
    reason = why_no_cuda()
    if reason is None:
        return Choice("cuda", "this machine has a CUDA device")
    return Choice("cpu", reason)


def check_device(device: str) -> None:
    """Raises UnsupportedError, in one sentence, unless torch can use the device here."""
    import torch

    try:
        asked = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise UnsupportedError(f"there is no device {device!r}; {_known_devices()}") from error
    if asked.type not in DEVICE_KINDS:
        raise UnsupportedError(f"the device {device!r} is not supported; {_known_devices()}")
    if asked.type == "cuda":
        reason = why_no_cuda()
        if reason is not None:
            raise UnsupportedError(f"{device} was asked for, but {reason}")
        count = torch.cuda.device_count()
        if (asked.index or 0) >= count:
            raise UnsupportedError(f"{device} was asked for, but CUDA devices here: {count}")
    if asked.type == "mps" and not torch.backends.mps.is_available():
        raise UnsupportedError(f"{device} was asked for, but this machine has no Apple GPU")
    if asked.type != "cuda" and (asked.index or 0) > 0:
        raise UnsupportedError(f"{device} was asked for, but there is only one {asked.type}")


def pick_dtype(device: str, cpu_isa: tuple[str, ...]) -> Choice:
    """The dtype for "auto": bfloat16 where the device computes in it, with the reason.

    ``device`` has passed ``check_device``.
    """
    kind = device.partition(":")[0]
    if kind == "cuda":
        capability = _capability(device)
        shown = "{}.{}".format(*capability)
        if capability >= CUDA_BFLOAT16_CAPABILITY:
            return Choice("bfloat16", f"the GPU's compute capability is {shown}, at least 8.0")
        return Choice("float16", f"the GPU's compute capability is {shown}, below 8.0")
    if kind == "mps":
        return Choice("float32", "float32 runs on each Apple GPU")
    for name in X86_BFLOAT16:
        if name in cpu_isa:
            return Choice("bfloat16", f"the processor has {name}")
    return Choice("float32", f"the processor has neither {' nor '.join(X86_BFLOAT16)}")


def check_dtype(dtype: str, device: str, cpu_isa: tuple[str, ...]) -> Choice:
    """The dtype that was asked for, with a note where the device emulates it and is slow.

    What runs slowly is allowed, what cannot run is refused: the operators of a network are tried
    once, tiny, on the device. Raises UnsupportedError in one sentence. ``device`` has passed
    ``check_device``.
    """
    if dtype not in DTYPES:
        raise UnsupportedError(f"the dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    try:
        _try_operators(dtype, device)
    except (RuntimeError, TypeError) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise UnsupportedError(f"{dtype} does not run on {device} here: {first_line}") from error
    slow = _why_slow(dtype, device, cpu_isa)
    return Choice(dtype, f"asked for; slow here: {slow}" if slow else "asked for")


def _known_devices() -> str:
    return f"known are {', '.join(DEVICE_KINDS)}"


def _capability(device: str) -> tuple[int, int]:
    import torch

    major, minor = torch.cuda.get_device_capability(torch.device(device))
    return major, minor


def _why_slow(dtype: str, device: str, cpu_isa: tuple[str, ...]) -> str | None:
    kind = device.partition(":")[0]
    if kind == "cuda" and dtype == "bfloat16" and _capability(device) < CUDA_BFLOAT16_CAPABILITY:
        return "the GPU has no bfloat16 units"
    if kind == "cpu":
        wanted = {"bfloat16": (*X86_BFLOAT16, "bf16"), "float16": X86_FLOAT16}.get(dtype, ())
        if wanted and not set(wanted) & set(cpu_isa):
            return f"the processor has no {dtype} instructions"
    return None


def _try_operators(dtype: str, device: str) -> None:
    """Run the operators of a decoder and a codec once, on as little as there is."""
    import torch
    import torch.nn.functional as F

    asked = getattr(torch, dtype)
    rows = torch.ones(1, 4, 8, dtype=asked, device=device)
    F.linear(rows, rows[0])
    F.silu(F.layer_norm(rows, (8,)))
    F.scaled_dot_product_attention(rows[None], rows[None], rows[None])
    F.conv1d(rows, rows[:, :, :2])
    total = F.conv_transpose1d(rows, rows[0, :, None, :2], stride=2).sum()
    # A GPU reports a missing kernel at the latest when its result is read.
    total.item()
