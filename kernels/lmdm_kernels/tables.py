"""Tile tables on the device: one for each plan, and those that move under a captured graph."""

from collections.abc import Iterable
from functools import cache

import torch
from torch import Tensor

from lmdm_kernels.tiles import (
    ROW_NUMBERS,
    FlatPlan,
    PlanLike,
    RowLike,
    flat_plan,
    num_places,
    query_tiles,
)


@cache
def plan_table(plan: FlatPlan, block_q: int, device: torch.device) -> Tensor:
    """The plan's query tiles [tiles, 6] in int32, made once for a plan, block and device.

    Kept for good: a captured graph knows no more of its table than the address.
    """
    with torch.inference_mode(False):
        return torch.tensor(query_tiles(plan, block_q), dtype=torch.int32, device=device)


class MovingPlan(tuple[RowLike, ...]):
    """A plan whose key spans may change while a captured graph keeps reading its tables.

    As a tuple it has the rows with which it was made; ``move`` puts others in force. Kernels that
    were launched with it read their tiles from tables of its own, whose addresses stay. The queries
    of each row must stay too: they set the number of tiles, hence the grid. It has no gradient.
    """

    made: FlatPlan
    _now: FlatPlan
    _places: int | None
    _tables: dict[tuple[int, torch.device], Tensor]

    def __new__(cls, plan: Iterable[RowLike]) -> "MovingPlan":
        one = super().__new__(cls, plan)
        one.made = one._now = flat_plan(one)
        one._places = None
        one._tables = {}
        return one

    # Under torch.compile too the table, not what it holds, is part of the graph.
    @torch.compiler.assume_constant_result
    def table(self, block_q: int, device: torch.device, places: int) -> Tensor:
        """This plan's own table for tiles of ``block_q`` queries over keys of so many places.

        Raises ValueError where the plan in force reaches past them; ``move`` does from then on.
        """
        _check_reach(self._now, places)
        self._places = places if self._places is None else min(places, self._places)
        at = (block_q, device)
        if at not in self._tables:
            with torch.inference_mode(False):
                self._tables[at] = plan_table(self._now, block_q, device).clone()
        return self._tables[at]

    def move(self, plan: PlanLike) -> None:
        """Let ``plan`` hold for all launches that come after, in stream order.

        Raises ValueError where its rows have other queries, or reach past keys it is used with.
        """
        now = flat_plan(plan)
        if now == self._now:
            return
        if _queries(now) != _queries(self._now):
            raise ValueError(
                f"a moving plan keeps its queries {_queries(self._now)}, got {_queries(now)}"
            )
        if self._places is not None:
            _check_reach(now, self._places)
        self._now = now
        for (block_q, device), table in self._tables.items():
            table.copy_(plan_table(now, block_q, device))


def _check_reach(plan: FlatPlan, places: int) -> None:
    if num_places(plan) > places:
        raise ValueError(f"a plan's keys end at place {places} or before, got {num_places(plan)}")


def _queries(plan: FlatPlan) -> list[tuple[int, int]]:
    return [(plan[at], plan[at + 1]) for at in range(0, len(plan), ROW_NUMBERS)]
