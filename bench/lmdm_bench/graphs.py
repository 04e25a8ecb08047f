"""Networks run as captured CUDA graphs: one for each kind of pass, replayed for every block.

An ``lmdm_ref.Execute``: what differs between two evaluations is copied into tensors of the graph's
own before a replay. A plan that moves is rewritten in the tables that the kernels read
(``lmdm_kernels.MovingPlan``); plain PyTorch's attention has its plan's spans in the graph itself,
so that each plan then takes a graph of its own. Nothing waits for the device.
"""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

import lmdm_kernels
import lmdm_ref

# A capture gives the function's result and the replay that brings it up to date.
Replay = Callable[[], None]
Capture = Callable[[Callable[[], Tensor]], tuple[Tensor, Replay]]

# Kernels are compiled and libraries choose their algorithms before anything is captured.
WARMUP_CALLS = 3


def cuda_capture(compute: Callable[[], Tensor]) -> tuple[Tensor, Replay]:
    """Capture ``compute`` on the current CUDA device, after running it as a graph needs it."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARMUP_CALLS):
            compute()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = compute()
    return result, graph.replay


class Graphs:
    """An ``lmdm_ref.Execute`` that captures a network when it first meets it.

    Networks, caches and the sizes of tensors say which graph it is, and plans where they are baked
    into it (``has_moving_plans`` False).
    """

    def __init__(self, capture: Capture, *, has_moving_plans: bool) -> None:
        self._capture = capture
        self._has_moving_plans = has_moving_plans
        self._graphs: dict[Hashable, _Graph] = {}

    def __call__(self, network: lmdm_ref.Network, evaluation: Any) -> Tensor:
        leaves = list(_leaves(evaluation))
        kind = tuple(_kind(one, self._has_moving_plans) for one in leaves)
        graph = self._graphs.get((network, kind))
        if graph is None:
            static = _copied(evaluation, self._has_moving_plans)
            result, replay = self._capture(lambda: network(static))
            graph = _Graph(static, leaves, result, replay)
            self._graphs[network, kind] = graph
        return graph.run(evaluation, leaves)

    @property
    def num_graphs(self) -> int:
        return len(self._graphs)


@dataclass
class _Graph:
    """A captured network: ``static`` is what it reads, ``seen`` whose contents that has."""

    static: Any
    seen: list[Any]
    result: Tensor
    replay: Replay

    def run(self, evaluation: Any, leaves: list[Any]) -> Tensor:
        new = {id(getattr(evaluation, field.name)) for field in fields(evaluation)}
        for own, seen, given in zip(_leaves(self.static), self.seen, leaves, strict=True):
            if isinstance(own, lmdm_kernels.MovingPlan):
                own.move(given)
            elif isinstance(own, Tensor) and (given is not seen or id(given) in new):
                own.copy_(given)
        self.seen = leaves
        self.replay()
        # The next replay overwrites the result; a sampler may look back at several.
        return self.result.clone()


def _leaves(some: Any) -> Iterator[Any]:
    """What an evaluation holds, in a fixed order: tensors, caches, plans, spans and numbers."""
    if is_dataclass(some):
        for field in fields(some):
            yield from _leaves(getattr(some, field.name))
    elif isinstance(some, tuple) and not _is_plan(some):
        for one in some:
            yield from _leaves(one)
    else:
        yield some


def _kind(leaf: Any, has_moving_plans: bool) -> Hashable:
    """What two evaluations must have in common to be the same graph."""
    if isinstance(leaf, Tensor):
        return leaf.shape, leaf.dtype
    if _is_plan(leaf) and has_moving_plans:
        return tuple(queries for queries, _ in leaf)
    known: Hashable = leaf
    return known


def _copied(some: Any, has_moving_plans: bool) -> Any:
    """The evaluation with tensors of its own; caches stay what they are."""
    if isinstance(some, Tensor):
        return some.clone()
    if _is_plan(some):
        # Without rows nothing is attended to.
        return lmdm_kernels.MovingPlan(some) if has_moving_plans and some else some
    if is_dataclass(some) and not isinstance(some, type):
        copies = {
            field.name: _copied(getattr(some, field.name), has_moving_plans)
            for field in fields(some)
        }
        return replace(some, **copies)
    if isinstance(some, tuple):
        copied = (_copied(one, has_moving_plans) for one in some)
        return type(some)(*copied) if hasattr(some, "_fields") else tuple(copied)
    return some


def _is_plan(some: Any) -> bool:
    return isinstance(some, tuple) and all(isinstance(row, lmdm_ref.Row) for row in some)
