"""The door to the kernels: what does not fit is a ValueError in one sentence before any launch.

``attend`` and ``prologue`` are what ``lmdm_ref``'s decoder takes in place of its own; nothing falls
back to another way of computing.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor

import lmdm_kernels.ops  # noqa: F401  (registers the operators)
from lmdm_kernels.launch import LAUNCHES, Launch, LaunchTable, Work, launch_for
from lmdm_kernels.support import card_of, dtype_name, supports
from lmdm_kernels.tables import MovingPlan
from lmdm_kernels.tiles import FlatPlan, PlanLike, flat_plan, longest_row, num_places, num_queries

# The kernels reckon places within a head in 32 bits, and a CUDA grid has so many programs a side.
MOST_OFFSET = 2**31 - 1
MOST_PROGRAMS = 65_535

# (kind, query weight, query bias, key weight, key bias, epsilon); (cos, sin); (keys, values).
NormLike = tuple[str, Tensor | None, Tensor | None, Tensor | None, Tensor | None, float]
PairLike = tuple[Tensor, Tensor]
Numbers = tuple[int, int, int, int, int, str]  # a Launch's
NORMS = ("layer", "rms", "none")


class Attend(Protocol):
    """What ``attend_with`` gives."""

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        plan: PlanLike,
        *,
        launch: Launch | None = None,
    ) -> Tensor:
        """See ``attend``."""


def attend_with(launches: LaunchTable) -> Attend:
    """``attend`` that takes its launches from this table."""

    @cache
    def chosen(device: torch.device, work: Work, numbers: Numbers | None) -> Numbers:
        dtype = getattr(torch, work.dtype)
        _check_support(device, dtype, work.head_dim)
        launch = Launch(*numbers) if numbers else launch_for(card_of(device), work, launches)
        _check_support(device, dtype, work.head_dim, launch)
        return _numbers(launch)

    # torch.compile runs this while it traces, and does not look inside.
    @torch.compiler.assume_constant_result
    def choice(device: torch.device, numbers: Numbers | None, *work: Any) -> Numbers:
        return chosen(device, Work(*work), numbers)

    def attend(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        plan: PlanLike,
        *,
        launch: Launch | None = None,
    ) -> Tensor:
        """Softmax attention over a plan, [batch, heads, rows, head_dim] as the query is.

        query [batch, heads, rows, head_dim], key and value [batch, key_heads, places, head_dim];
        the plan's key spans name places. ``launch``, if given, is taken as it is. Raises ValueError
        where these, or the device, do not fit.
        """
        moving = plan if isinstance(plan, MovingPlan) else None
        flat = flat_plan(plan) if moving is None else moving.made
        _check_heads(query, key, value)
        _check_plan(flat, query, key)
        given = None if launch is None else _numbers(launch)
        batch, heads, _, head_dim = query.shape
        capacity = key.shape[2] if moving is not None else longest_row(flat)[1]
        *numbers, precision = choice(
            query.device, given, dtype_name(query.dtype), head_dim, flat, batch * heads, capacity
        )
        table = None
        if moving is not None:
            _check_no_gradient("a moving plan", query, key, value)
            table = moving.table(numbers[0], query.device, key.shape[2])
        out, _ = torch.ops.lmdm.interval_attention(
            query, key, value, flat, table, head_dim**-0.5, numbers, precision
        )
        return out

    return attend


attend = attend_with(LAUNCHES)


def prologue(
    qkv: Tensor, norm: NormLike, rotary: PairLike, arena: PairLike, places: Tensor
) -> Tensor:
    """Normed and rotated queries; keys and values are written into the arena, in place.

    qkv [batch, rows, 3 · heads · head_dim]; ``norm`` is (kind, query weight, query bias, key
    weight, key bias, epsilon) with weights [head_dim] or None; rotary (cos, sin) [rows, half] in
    float32; arena (keys, values) [batch, heads, all places, head_dim]; ``places`` [rows] says, on
    the device, where each row goes. Returns [batch, heads, rows, head_dim]. Raises ValueError where
    these, or the device, do not fit; that each place is in the arena, the caller answers for.
    """
    kind, *weights, epsilon = norm
    _check_arena(qkv, *arena)
    heads, head_dim = arena[0].shape[1], arena[0].shape[3]
    _check_rows(qkv, places, *rotary, head_dim)
    _check_norm(kind, weights, epsilon, qkv, head_dim)
    _check_support(qkv.device, qkv.dtype, head_dim)
    _check_no_gradient("the prologue", qkv, *(one for one in weights if one is not None))
    _check_grid(qkv.shape[0], heads)
    return torch.ops.lmdm.qkv_prologue(qkv, kind, *weights, epsilon, *rotary, *arena, places)


def _check_heads(query: Tensor, key: Tensor, value: Tensor) -> None:
    tensors = {"query": query, "key": key, "value": value}
    for name, tensor in tensors.items():
        if tensor.ndim != 4 or 0 in tensor.shape:
            raise ValueError(
                f"{name} is [batch, heads, rows, head_dim] and not empty, got {_shape(tensor)}"
            )
        _check_like(name, tensor, "query", query)
        _check_strides(name, tensor)
    if key.shape != value.shape or key.shape[::3] != query.shape[::3]:
        raise ValueError(
            "key and value are shaped alike and have the query's batch and head_dim, got query "
            f"{_shape(query)}, key {_shape(key)}, value {_shape(value)}"
        )
    if query.shape[1] % key.shape[1]:
        raise ValueError(f"key heads divide the query's {query.shape[1]} heads, got {key.shape[1]}")
    _check_grid(query.shape[0], query.shape[1])


def _check_plan(plan: FlatPlan, query: Tensor, key: Tensor) -> None:
    if num_queries(plan) != query.shape[2]:
        raise ValueError(f"the plan is for {num_queries(plan)} queries, got {query.shape[2]}")
    if num_places(plan) > key.shape[2]:
        raise ValueError(
            f"the plan's keys end at place {num_places(plan)}, got keys of {key.shape[2]} places"
        )


def _check_arena(qkv: Tensor, keys: Tensor, values: Tensor) -> None:
    for name, tensor in (("arena keys", keys), ("arena values", values)):
        if tensor.ndim != 4 or 0 in tensor.shape:
            raise ValueError(
                f"{name} are [batch, heads, places, head_dim] and not empty, got {_shape(tensor)}"
            )
        _check_like(name, tensor, "qkv", qkv)
        _check_strides(name, tensor)
        if any(
            size > 1 and not stride
            for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
        ):
            raise ValueError(f"{name} have memory for every place, got strides {tensor.stride()}")
    if keys.shape != values.shape:
        raise ValueError(
            f"arena keys and values are shaped alike, got {_shape(keys)} and {_shape(values)}"
        )
    width = 3 * keys.shape[1] * keys.shape[3]
    if qkv.ndim != 3 or qkv.shape[0] != keys.shape[0] or qkv.shape[2] != width or 0 in qkv.shape:
        raise ValueError(
            f"qkv is [{keys.shape[0]}, rows, {width}] for an arena {_shape(keys)}, got "
            f"{_shape(qkv)}"
        )
    _check_strides("qkv", qkv)


def _check_rows(qkv: Tensor, places: Tensor, cos: Tensor, sin: Tensor, head_dim: int) -> None:
    rows = qkv.shape[1]
    if places.shape != (rows,) or places.dtype not in (torch.int32, torch.int64):
        raise ValueError(
            f"places are [{rows}] in int32 or int64, got {_shape(places)} in {places.dtype}"
        )
    for name, tensor in (("cos", cos), ("sin", sin)):
        is_fitting = tensor.ndim == 2 and tensor.shape[0] == rows and tensor.shape == cos.shape
        if not is_fitting or not 0 < 2 * tensor.shape[1] <= head_dim:
            raise ValueError(
                f"cos and sin are [{rows}, at most {head_dim // 2}], got {name} {_shape(tensor)}"
            )
        if tensor.dtype is not torch.float32:
            raise ValueError(f"cos and sin are in torch.float32, got {name} in {tensor.dtype}")
        _check_strides(name, tensor)
    for name, tensor in (("places", places), ("cos", cos), ("sin", sin)):
        if tensor.device != qkv.device:
            raise ValueError(f"{name} is on qkv's device {qkv.device}, got {tensor.device}")


def _check_norm(
    kind: str, weights: Sequence[Tensor | None], epsilon: float, qkv: Tensor, head_dim: int
) -> None:
    if kind not in NORMS:
        raise ValueError(f"the norm is one of {', '.join(NORMS)}, got {kind!r}")
    if not 0 <= epsilon < math.inf:
        raise ValueError(f"the norm's epsilon is finite and not negative, got {epsilon}")
    for weight in weights:
        if weight is None:
            continue
        if weight.shape != (head_dim,) or weight.stride(0) != 1:
            raise ValueError(
                f"a norm's weights are [{head_dim}] side by side, got {_shape(weight)}"
            )
        if not weight.is_floating_point():
            raise ValueError(f"a norm's weights are floating point, got {weight.dtype}")
        if weight.device != qkv.device:
            raise ValueError(f"a norm's weights are on {qkv.device}, got {weight.device}")


def _check_like(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    if tensor.dtype != other.dtype:
        raise ValueError(f"{name} is of {other_name}'s dtype {other.dtype}, got {tensor.dtype}")
    if tensor.device != other.device:
        raise ValueError(f"{name} is on {other_name}'s device {other.device}, got {tensor.device}")


def _check_strides(name: str, tensor: Tensor) -> None:
    """The last dim side by side, and no row farther into its head than 32 bits can say."""
    *_, rows, width = tensor.shape
    if tensor.stride(-1) != 1:
        raise ValueError(f"{name} has stride 1 in its last dim, got {tensor.stride(-1)}")
    farthest = rows * tensor.stride(-2) + width
    if farthest > MOST_OFFSET:
        raise ValueError(f"{name} spans {MOST_OFFSET} elements a head at most, got {farthest}")


def _check_grid(batch: int, heads: int) -> None:
    if batch * heads > MOST_PROGRAMS:
        raise ValueError(f"batch · heads is {MOST_PROGRAMS} at most, got {batch} · {heads}")


def _check_no_gradient(name: str, *tensors: Tensor) -> None:
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        raise ValueError(f"{name} has no gradient, got a tensor that needs one")


def _check_support(
    device: torch.device, dtype: torch.dtype, head_dim: int, launch: Launch | None = None
) -> None:
    if not (support := supports(device, dtype, head_dim, launch)):
        raise ValueError(f"the kernels cannot run: {support.reason}")


def _numbers(launch: Launch) -> Numbers:
    return (
        launch.block_q, launch.block_k, launch.splits, launch.num_warps, launch.num_stages,
        launch.precision,
    )  # fmt: skip


def _shape(tensor: Tensor) -> list[int]:
    return list(tensor.shape)
