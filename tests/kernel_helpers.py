"""What the kernels' tests share: heads, plans, both attends on them, and memory between guards."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from helpers import assert_within_budget, seeded
from lmdm_kernels.interval_attention import interval_attention
from lmdm_kernels.launch import Launch
from lmdm_kernels.tables import plan_table
from lmdm_kernels.tiles import flat_plan
from lmdm_ref.arena import Span
from lmdm_ref.attention import attend as reference_attend
from lmdm_ref.attention import attend_dense
from lmdm_ref.plan import Plan, plan_row

# Compiled where there is a GPU, interpreted where there is none (conftest.py).
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
SMALL = Launch(block_q=16, block_k=16, splits=1, num_warps=4, num_stages=2)
GUARD_ELEMENTS = 256

Heads = tuple[Tensor, Tensor, Tensor]


def heads_for(
    plan: Plan,
    places: int,
    dtype: torch.dtype = torch.float32,
    *,
    batch: int = 1,
    heads: int = 2,
    key_heads: int | None = None,
    head_dim: int = 32,
    seed: int = 0,
) -> Heads:
    """Query, key and value of a plan's queries and so many places."""
    shared = heads if key_heads is None else key_heads
    query = seeded(seed, batch, heads, plan[-1].queries.stop, head_dim)
    key = seeded(seed + 1, batch, shared, places, head_dim)
    value = seeded(seed + 2, batch, shared, places, head_dim)
    return query.to(DEVICE, dtype), key.to(DEVICE, dtype), value.to(DEVICE, dtype)


def plan_of(*rows: tuple[int, Sequence[tuple[int, int]]]) -> Plan:
    """Rows (number of queries, key spans), one after the other."""
    made = []
    start = 0
    for queries, spans in rows:
        keys = [Span(*span) for span in spans]
        made.append(plan_row(Span(start, start + queries), keys))
        start += queries
    return tuple(made)


# Rows of many kinds: shorter and longer than a tile, one span and two, ragged and whole, shared.
MIXED = plan_of(
    (17, [(0, 3), (20, 61)]), (16, [(5, 100)]), (5, [(64, 128)]), (1, [(0, 16), (32, 33)])
)
MIXED_PLACES = 130


def kernel(heads: Heads, plan: Plan, launch: Launch = SMALL) -> tuple[Tensor, Tensor]:
    """The kernel itself: (out, lse)."""
    query = heads[0]
    table = plan_table(flat_plan(plan), launch.block_q, query.device)
    return interval_attention(*heads, table, query.shape[3] ** -0.5, launch)


def truth(heads: Heads, plan: Plan) -> Tensor:
    query, key, value = heads
    return attend_dense(query.double(), key.double(), value.double(), plan)


def assert_attends(out: Tensor, heads: Heads, plan: Plan) -> None:
    """Within the kernels' budget of error."""
    assert_within_budget(out, reference_attend(*heads, plan), truth(heads, plan))


class GuardedMemory(TorchDispatchMode):
    """Every new tensor is NaN and stands between NaN guards, which must be there in the end."""

    def __init__(self) -> None:
        super().__init__()
        self._buffers: list[Tensor] = []

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = operation(*args, **(kwargs or {}))
        is_new = operation.overloadpacket.__name__ in ("empty", "new_empty", "empty_like")
        if is_new and out.is_floating_point() and out.numel():
            return self._between_guards(out)
        return out

    def given(self, tensor: Tensor) -> Tensor:
        """The tensor's numbers between guards, in the same order in memory."""
        return self._between_guards(tensor).copy_(tensor)

    def check(self) -> None:
        assert self._buffers
        for buffer in self._buffers:
            assert buffer[:GUARD_ELEMENTS].isnan().all()
            assert buffer[-GUARD_ELEMENTS:].isnan().all()

    def _between_guards(self, like: Tensor) -> Tensor:
        size = like.numel() + 2 * GUARD_ELEMENTS
        buffer = torch.full((size,), torch.nan, dtype=like.dtype, device=like.device)
        self._buffers.append(buffer)
        return buffer.as_strided(like.shape, like.stride(), GUARD_ELEMENTS)
