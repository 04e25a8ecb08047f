"""Launches for the GPU at hand, by measuring: for each row of the table the fastest candidate.

A row is measured on a few of the cases that it is for, on a cold cache and as graphs, as streams
meet them. All candidates have one turn, the best of them the rest of the time, beside the launch
that is shipped; that one stays unless another is faster beyond doubt.
"""

import math
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from lmdm_bench import kernel_timer
from lmdm_bench.attention_backends import BACKENDS, Inputs, Setting, random_inputs
from lmdm_bench.attention_cases import Case
from lmdm_bench.attention_check import Truth, truth_of
from lmdm_bench.errors import UnsupportedError
from lmdm_bench.estimates import needed_blocks, quantile
from lmdm_bench.kernel_run import SECONDS_PER_MINUTE, KernelsAsked, current
from lmdm_bench.kernel_timer import Timed
from lmdm_bench.memory import free_bytes
from lmdm_bench.record import Estimate
from lmdm_kernels import (
    LAUNCHES,
    Card,
    Launch,
    LaunchKey,
    LaunchTable,
    card_of,
    save_launches,
    tuning_candidates,
)
from lmdm_kernels.tiles import flat_plan, longest_row

CASES_OF_A_ROW = 4
FINALISTS = 5
MIN_ROUNDS = needed_blocks(0.5)
MOST_ROUNDS = 40
FREE_MEMORY_SHARE = 0.25


@dataclass(frozen=True)
class Tuned:
    """What came of one row: the launch that it has now, and its time ÷ the shipped one's.

    ``num_refused`` candidates could not be compiled, were wrong or ran out of something.
    """

    key: LaunchKey
    launch: Launch
    shipped: Launch
    ratio: Estimate
    num_candidates: int
    num_refused: int

    @property
    def is_changed(self) -> bool:
        return self.launch != self.shipped


@dataclass
class _Lane:
    """One candidate while it is measured: a graph for each case, and their times by round."""

    launch: Launch
    graphs: list[Timed]
    rounds: list[float] = field(default_factory=list)

    def visit(self) -> None:
        """The geometric mean over the cases, so that each of them counts alike."""
        times = [one.sample() for one in self.graphs]
        self.rounds.append(math.exp(statistics.fmean(map(math.log, times))))


def tune(asked: KernelsAsked, path: Path, say: Callable[[str], None]) -> list[Tuned]:
    """Measure every row that the cases need, and write the table after each.

    Raises UnsupportedError where there is no GPU to tune for, or none of the cases' heads fit it.
    """
    device = torch.device(asked.device.value)
    dtype: torch.dtype = getattr(torch, asked.dtype.value)
    if device.type != "cuda":
        raise UnsupportedError(f"launches are tuned by measuring on a CUDA device, got {device}")
    card = card_of(device)
    rows = rows_of(asked.cases, card, dtype)
    if not rows:
        raise UnsupportedError(f"the launch table has no row for these heads on {card.arch}")
    deadline = time.monotonic() + asked.budget_minutes * SECONDS_PER_MINUTE
    table: dict[LaunchKey, Launch] = {}
    done: list[Tuned] = []
    shuffle = random.Random(asked.seed)
    for at, (key, of) in enumerate(rows.items()):
        slot = (deadline - time.monotonic()) / (len(rows) - at)
        with torch.inference_mode(), current(device):
            pools = [_pool(case, device, dtype, asked.seed) for case in of]
            one = _tuned(key, of, pools, card, slot, shuffle)
        table[key] = one.launch
        save_launches(table, path)
        done.append(one)
        say(f"{at + 1:>3}/{len(rows)}  {words_of(one)}")
    return done


def rows_of(
    cases: Sequence[Case], card: Card, dtype: torch.dtype, table: LaunchTable = LAUNCHES
) -> dict[LaunchKey, list[Case]]:
    """The rows of the shipped table that cases need, each with the first few that need it."""
    kind = "float32" if dtype is torch.float32 else "half"
    found: dict[LaunchKey, list[Case]] = {}
    for case in cases:
        queries, _ = longest_row(flat_plan(case.plan))
        keys = [
            key
            for key in table
            if key[:3] == (card.arch, kind, case.facts.head_dim) and key.min_queries <= queries
        ]
        if keys:
            of = found.setdefault(max(keys), [])
            if len(of) < CASES_OF_A_ROW:
                of.append(case)
    return found


def words_of(one: Tuned) -> str:
    """``half 128 from 64 queries: 64 × 64, 4 warps, 3 stages (36 tried)``, and what it gains."""
    key, launch = one.key, one.launch
    row = f"{key.dtype} {key.head_dim} from {key.min_queries} queries"
    tiles = f"{launch.block_q} × {launch.block_k}, {launch.num_warps} warps"
    refused = f", {one.num_refused} refused" if one.num_refused else ""
    tried = f"{one.num_candidates} tried{refused}"
    if not one.is_changed:
        return f"{row}: stays {tiles}, {launch.num_stages} stages ({tried})"
    told = "" if one.ratio.value is None else f", {one.ratio.value:.3f} of the shipped one's time"
    return f"{row}: {tiles}, {launch.num_stages} stages{told} ({tried})"


def _tuned(
    key: LaunchKey,
    cases: Sequence[Case],
    pools: Sequence[Sequence[Inputs]],
    card: Card,
    seconds: float,
    shuffle: random.Random,
) -> Tuned:
    over = time.monotonic() + seconds
    shipped = LAUNCHES[key]
    queries = max(longest_row(flat_plan(case.plan))[0] for case in cases)
    name = str(pools[0][0].query.dtype).removeprefix("torch.")
    others = [one for one in tuning_candidates(card, name, key.head_dim, queries) if one != shipped]
    truths = [truth_of(pool[0], case.plan) for case, pool in zip(cases, pools, strict=True)]
    lanes = list(_lanes(key, [shipped, *others], cases, pools, truths))
    if not lanes or lanes[0].launch != shipped:
        raise UnsupportedError(f"the shipped launch for {tuple(key)} does not run here")
    for lane in shuffle.sample(lanes, len(lanes)):
        lane.visit()
    finalists = [lanes[0], *sorted(lanes[1:], key=lambda lane: lane.rounds[0])[:FINALISTS]]
    for lane in finalists:
        lane.rounds.clear()
    rounds = 0
    while rounds < MIN_ROUNDS or (rounds < MOST_ROUNDS and time.monotonic() < over):
        for lane in shuffle.sample(finalists, len(finalists)):
            lane.visit()
        rounds += 1
    best = min(finalists, key=lambda lane: statistics.median(lane.rounds))
    pairs = zip(best.rounds, finalists[0].rounds, strict=True)
    found = quantile([mine / its for mine, its in pairs], 0.5)
    is_faster = found.ci95 is not None and found.ci95[1] < 1
    return Tuned(
        key=key,
        launch=best.launch if is_faster else shipped,
        shipped=shipped,
        ratio=found,
        num_candidates=len(others) + 1,
        num_refused=len(others) + 1 - len(lanes),
    )


def _pool(case: Case, device: torch.device, dtype: torch.dtype, seed: int) -> list[Inputs]:
    """Inputs and copies of them that rotate through more than the cache holds."""
    first = random_inputs(case.facts, device, dtype, seed)
    cache, _ = kernel_timer.cache_bytes(device)
    free = int(free_bytes(str(device)) * FREE_MEMORY_SHARE / CASES_OF_A_ROW)
    size = kernel_timer.num_buffers(first.num_bytes, cache, free, 2)
    return [first, *(first.copy() for _ in range(size - 1))]


def _lanes(
    key: LaunchKey,
    launches: Sequence[Launch],
    cases: Sequence[Case],
    pools: Sequence[Sequence[Inputs]],
    truths: Sequence[Truth],
) -> Iterator[_Lane]:
    """Those that compile and are right on every case, each as a graph over the rotating buffers."""
    for launch in launches:
        table = {**LAUNCHES, key: replace(launch, splits=1)}
        try:
            graphs = [
                _graph(case, pool, truth, table)
                for case, pool, truth in zip(cases, pools, truths, strict=True)
            ]
        except (MemoryError, RuntimeError, ValueError, ArithmeticError):
            continue
        yield _Lane(launch, graphs)


def _graph(
    case: Case, pool: Sequence[Inputs], truth: Truth, table: Mapping[LaunchKey, Launch]
) -> Timed:
    """Raises ValueError where the result is wrong."""
    call = BACKENDS["interval"](Setting(case.plan, pool[0], launches=table))
    check = truth.check(call(pool[0]))
    if not check.is_within_budget:
        raise ValueError(f"error {check.error:.2g} is over the budget of {check.budget:.2g}")
    calls = [lambda one=one: call(one) for one in pool]
    return kernel_timer.graphed(calls, pool[0].query.device)
