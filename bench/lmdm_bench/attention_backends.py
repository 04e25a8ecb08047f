"""Every way to compute the attention of a plan that a comparison knows, each under its name.

Beside ``subjects.py`` a second door to ``lmdm_ref`` and ``lmdm_kernels``: a plan goes in, and a
call on queries, keys and values comes out, or the reason why there is none here.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

import lmdm_kernels
import lmdm_ref
from lmdm_bench.errors import InputError, UnsupportedError
from lmdm_bench.kernels_record import AttentionCase
from lmdm_kernels import LAUNCHES, LaunchTable, load_launches
from lmdm_ref.attention import dense_mask
from lmdm_ref.plan import Plan

HALF_DTYPES = (torch.float16, torch.bfloat16)
FLASH2_CAPABILITY = (8, 0)


class Inputs(NamedTuple):
    """Query [batch, heads, queries, head_dim], key and value [batch, heads, places, head_dim]."""

    query: Tensor
    key: Tensor
    value: Tensor

    @property
    def num_bytes(self) -> int:
        return sum(one.numel() * one.element_size() for one in self)

    def copy(self) -> "Inputs":
        """The same numbers at places of their own."""
        return Inputs(*(one.clone() for one in self))


def random_inputs(
    case: AttentionCase, device: torch.device, dtype: torch.dtype, seed: int
) -> Inputs:
    """Normal numbers of a case's shapes."""
    generator = torch.Generator(device).manual_seed(seed)

    def numbers(rows: int) -> Tensor:
        shape = (case.batch, case.heads, rows, case.head_dim)
        return torch.randn(shape, generator=generator, device=device).to(dtype)

    return Inputs(numbers(case.queries), numbers(case.places), numbers(case.places))


Call = Callable[[Inputs], Tensor]


@dataclass(frozen=True)
class Setting:
    """Where a plan is to be computed.

    ``is_timed`` is False for a check alone, which Triton's interpreter may do too. ``launches`` is
    the table from which the interval kernel takes its tiles.
    """

    plan: Plan
    example: Inputs
    is_timed: bool = True
    launches: LaunchTable = field(default_factory=lambda: LAUNCHES)

    @property
    def device(self) -> torch.device:
        return self.example.query.device

    @property
    def dtype(self) -> torch.dtype:
        return self.example.query.dtype

    @property
    def num_places(self) -> int:
        return self.example.key.shape[2]


# ``backend(setting)`` gives the call; it raises UnsupportedError with the reason where it cannot
# run. What can only be known by running is raised by the first call.
Backend = Callable[[Setting], Call]


def _interval(setting: Setting) -> Call:
    if setting.is_timed and setting.device.type != "cuda":
        raise UnsupportedError(
            f"on {setting.device.type} the kernel runs in Triton's interpreter only, "
            "whose times mean nothing"
        )
    support = lmdm_kernels.supports(setting.device, setting.dtype, setting.example.query.shape[3])
    if support.reason is not None:
        raise UnsupportedError(support.reason)
    plan, attend = setting.plan, lmdm_kernels.attend_with(setting.launches)
    return lambda inputs: attend(*inputs, plan)


def _range(setting: Setting) -> Call:
    return lambda inputs: lmdm_ref.attend(*inputs, setting.plan)


def _masked(setting: Setting) -> Call:
    mask = dense_mask(setting.plan, setting.num_places).to(setting.device)
    return lambda inputs: functional.scaled_dot_product_attention(*inputs, attn_mask=mask)


def _flex(setting: Setting) -> Call:
    """The spans are data that the mask reads, so that one graph serves all plans of a shape."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    num_queries, device = setting.example.query.shape[2], setting.device
    first_start, first_stop, second_start, second_stop = _spans_of_queries(setting)

    def is_seen(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        in_first = (key >= first_start[query]) & (key < first_stop[query])
        return in_first | (key >= second_start[query]) & (key < second_stop[query])

    mask = create_block_mask(is_seen, None, None, num_queries, setting.num_places, device=device)
    compiled = torch.compile(flex_attention, dynamic=False, fullgraph=True)

    def call(inputs: Inputs) -> Tensor:
        try:
            result: Tensor = compiled(*inputs, block_mask=mask)
        except (TorchDynamoException, FailOnRecompileLimitHit) as error:
            cause = getattr(error, "inner_exception", error)
            words = (str(cause).strip() or type(cause).__name__).splitlines()[0]
            raise UnsupportedError(f"torch.compile cannot make it here: {words}") from error
        return result

    return call


def launch_table(path: Path | None) -> LaunchTable:
    """The kernel's launches, from a file if one is named. Raises InputError for no such table."""
    if path is None:
        return LAUNCHES
    try:
        return load_launches(path)
    except ValueError as error:
        raise InputError(f"the launch table cannot be used: {error}") from error


def forget_graphs() -> None:
    """Drop what ``torch.compile`` made: with many shapes in its cache each call would take longer,
    and after a few it would give up.
    """
    torch._dynamo.reset()


def _spans_of_queries(setting: Setting) -> Tensor:
    """The two spans that each query sees [4, queries]; an absent second one is empty."""
    spans = torch.zeros(4, setting.example.query.shape[2], dtype=torch.int32)
    for row in setting.plan:
        numbers = [end for span in (*row.keys, (0, 0))[:2] for end in span]
        spans[:, row.queries.start : row.queries.stop] = torch.tensor(numbers)[:, None]
    return spans.to(setting.device)


def _cudnn(setting: Setting) -> Call:
    _need_cuda(setting, "cuDNN's attention")
    _need_half(setting, "cuDNN's attention")

    def attend_row(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(query, key, value)

    def call(inputs: Inputs) -> Tensor:
        try:
            with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
                return _row_by_row(setting.plan, inputs, attend_row)
        except RuntimeError as error:
            if "No available kernel" in str(error):
                raise UnsupportedError("cuDNN has no kernel for these shapes here") from error
            raise

    return call


def _flash2(setting: Setting) -> Call:
    _need_cuda(setting, "flash-attn 2")
    _need_half(setting, "flash-attn 2")
    capability = torch.cuda.get_device_capability(setting.device)
    if capability < FLASH2_CAPABILITY:
        shown = "{}.{}".format(*capability)
        raise UnsupportedError(f"flash-attn 2 needs compute capability 8.0, this GPU has {shown}")
    return _flash(setting, "flash_attn", "flash-attn 2")


def _flash4(setting: Setting) -> Call:
    _need_cuda(setting, "flash-attn 4")
    _need_half(setting, "flash-attn 4")
    return _flash(setting, "flash_attn.cute", "flash-attn 4")


def _flash(setting: Setting, module: str, title: str) -> Call:
    """Either version, whose tensors are [batch, rows, heads, head_dim]: turned views, no copies."""
    try:
        flash_attn_func = importlib.import_module(module).flash_attn_func
    except (ImportError, AttributeError) as error:
        raise UnsupportedError(f"{title} is not installed") from error

    def attend_row(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        found = flash_attn_func(*(one.transpose(1, 2) for one in (query, key, value)))
        result: Tensor = found[0] if isinstance(found, tuple) else found
        return result.transpose(1, 2)

    return lambda inputs: _row_by_row(setting.plan, inputs, attend_row)


def _reference(setting: Setting) -> Call:
    hidden = ~dense_mask(setting.plan, setting.num_places).to(setting.device)

    def call(inputs: Inputs) -> Tensor:
        query, key, value = inputs
        scores = (query * query.shape[-1] ** -0.5) @ key.mT
        return scores.masked_fill(hidden, -torch.inf).softmax(dim=-1) @ value

    return call


def _row_by_row(
    plan: Plan, inputs: Inputs, attend_row: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> Tensor:
    """One mask-free call for each row; a row's two spans are joined by a copy, as it has to be."""
    query, key, value = inputs
    rows = []
    for row in plan:
        seen = [
            torch.cat([one[:, :, span.start : span.stop] for span in row.keys], dim=2)
            if len(row.keys) > 1
            else one[:, :, row.keys[0].start : row.keys[0].stop]
            for one in (key, value)
        ]
        rows.append(attend_row(query[:, :, row.queries.start : row.queries.stop], *seen))
    return rows[0] if len(rows) == 1 else torch.cat(rows, dim=2)


def _need_cuda(setting: Setting, title: str) -> None:
    if setting.device.type != "cuda":
        raise UnsupportedError(f"{title} needs a CUDA device")


def _need_half(setting: Setting, title: str) -> None:
    if setting.dtype not in HALF_DTYPES:
        raise UnsupportedError(f"{title} takes float16 and bfloat16, not {_short(setting.dtype)}")


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


BACKENDS: dict[str, Backend] = {
    "interval": _interval,
    "range": _range,
    "masked": _masked,
    "flex": _flex,
    "cudnn": _cudnn,
    "flash2": _flash2,
    "flash4": _flash4,
    "reference": _reference,
}
