"""Whether service times stay as they are: a change point, cold against steady, and warm enough.

The change point is the best single step. It is looked for in the ranks of the service times (which
are those of their logarithms too), so that a stall weighs no more than any slow block. How good a
step chance makes is seen by putting runs of blocks into a random order: runs, since times that
remember their neighbours wander, and a wander looks like a step.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from lmdm_bench import estimates
from lmdm_bench.check_record import Cause, CheckCell
from lmdm_bench.record import Estimate

COLD_SECONDS = 30.0
MIN_COLD_BLOCKS = 3
STEADY_PART = 3
SIGNIFICANT = 0.05

MIN_BLOCKS_FOR_CHANGE = 20
MIN_BLOCKS_ASIDE = 5
ORDERS = 199
# Runs that change places are this many times as long as times remember their neighbours, and at
# most so large a part of all blocks. Of simulated runs of 269 blocks without a step, one was found
# in 3 to 5 % where blocks are independent, in 11 % where neighbours correlate by 0.5 and in 10 to
# 19 % where by 0.8 to 0.95; shorter runs that remember have one more often, and it means less.
MEMORIES_PER_RUN = 3.0
LONGEST_RUN_PART = 6
LONGEST_MEMORY_PART = 4

MIN_BLOCKS_FOR_TREND = 4

RATIO_METHOD = "steady ÷ cold, their intervals' widths added as independent"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Steadiness:
    """Cold: the blocks of the first 30 s, at least three. Steady: the last third of all blocks.

    ``change_block`` is the first block after the step, None where chance makes as good a one in
    more than 5 % of the cases (``change_p``; 1 for fewer than 20 blocks). The ``rtf`` are service
    seconds ÷ audio seconds. ``steady_p99`` is that ratio's 99th percentile over single blocks, of
    all blocks where the last third is too short. ``thermal_ratio`` is steady ÷ cold.
    """

    change_block: int | None
    change_p: float
    cold_rtf: Estimate
    steady_rtf: Estimate
    steady_p99: Estimate
    thermal_ratio: Estimate


def steadiness(cell: CheckCell, seed: int = 0) -> Steadiness:
    """The figures of a cell's blocks; None with reasons where there are too few."""
    seconds = np.array(cell.service_ms) / estimates.MILLISECONDS_PER_SECOND
    block_seconds = cell.workload.block_seconds
    num_cold = max(MIN_COLD_BLOCKS, math.ceil(COLD_SECONDS / block_seconds))
    num_steady = math.ceil(seconds.size / STEADY_PART)
    steady = seconds[seconds.size - num_steady :]
    cold_rtf = _rtf(seconds[:num_cold], block_seconds, seed)
    steady_rtf = _rtf(steady, block_seconds, seed)
    p99 = estimates.quantile((steady / block_seconds).tolist(), 0.99)
    if p99.value is None:
        p99 = estimates.quantile((seconds / block_seconds).tolist(), 0.99)
    change_block, change_p = change_point(seconds, seed)
    return Steadiness(
        change_block=change_block if change_p <= SIGNIFICANT else None,
        change_p=change_p,
        cold_rtf=cold_rtf,
        steady_rtf=steady_rtf,
        steady_p99=p99,
        thermal_ratio=_thermal_ratio(steady_rtf, cold_rtf, num_cold, seconds.size),
    )


def change_point(times: Sequence[float] | Floats, seed: int = 0) -> tuple[int, float]:
    """(the first block after the best step, how often chance makes as good a step).

    (0, 1.0) for fewer than 20 blocks, or where all times are equal.
    """
    values = np.asarray(times, dtype=np.float64)
    if values.size < MIN_BLOCKS_FOR_CHANGE or values.min() == values.max():
        return 0, 1.0
    ranks = stats.rankdata(values) / values.size
    strength, first = _best_step(ranks)
    run = _run_blocks(np.concatenate([half - half.mean() for half in np.split(ranks, [first])]))
    rng = np.random.default_rng(seed)
    chance = [_best_step(_reordered(ranks, run, rng))[0] for _ in range(ORDERS)]
    return first, (1 + sum(one >= strength for one in chance)) / (1 + ORDERS)


def without_first(cell: CheckCell) -> CheckCell:
    """The cell without the blocks labelled ``first`` or ``compile``, for a second summary of its
    service times."""
    left_out: set[Cause] = {"first", "compile"}
    kept = tuple(one for one in cell.blocks if not left_out & set(one.block.labels))
    return dataclasses.replace(cell, blocks=kept)


def is_steady(service_ms: Sequence[float]) -> bool:
    """Whether Mann and Kendall's test finds no downward trend, so that a machine is warm.

    False for fewer than four blocks, of which it can tell nothing.
    """
    if len(service_ms) < MIN_BLOCKS_FOR_TREND:
        return False
    if min(service_ms) == max(service_ms):
        return True
    trend = stats.kendalltau(range(len(service_ms)), service_ms, alternative="less")
    return bool(trend.pvalue >= SIGNIFICANT)


def _rtf(seconds: Floats, block_seconds: float, seed: int) -> Estimate:
    if not seconds.size:
        return Estimate(None, None, 0, "sum", "no block was made")
    return estimates.ratio(seconds.tolist(), block_seconds, seed)


def _thermal_ratio(steady: Estimate, cold: Estimate, num_cold: int, n: int) -> Estimate:
    needed = math.ceil(num_cold * STEADY_PART / (STEADY_PART - 1))
    if n < needed or not steady.value or not cold.value:
        reason = f"needs {needed} blocks, or cold and steady are the same ones"
        return Estimate(None, None, n, RATIO_METHOD, reason)
    value = steady.value / cold.value
    if steady.ci95 is None or cold.ci95 is None:
        return Estimate(value, None, n, RATIO_METHOD, steady.reason or cold.reason)
    # Both intervals are as wide upwards as downwards on a logarithmic scale.
    factor = math.exp(
        math.hypot(
            math.log(steady.ci95[1] / steady.value),
            math.log(cold.ci95[1] / cold.value),
        )
    )
    return Estimate(value, (value / factor, value * factor), n, RATIO_METHOD, None)


def _best_step(values: Floats) -> tuple[float, int]:
    """(likelihood-ratio statistic, first index after it) of the step that fits best."""
    n = values.size
    before = np.arange(1, n)
    drift = np.abs(np.cumsum(values - values.mean())[:-1]) * np.sqrt(n / (before * (n - before)))
    inner = drift[MIN_BLOCKS_ASIDE - 1 : n - MIN_BLOCKS_ASIDE]
    best = int(inner.argmax())
    return float(inner[best]), best + MIN_BLOCKS_ASIDE


def _run_blocks(residual: Floats) -> int:
    """How long the runs have to be that change places: see ``MEMORIES_PER_RUN``.

    The memory is 1 + 2 · Σ of the autocorrelations up to the first that is no more than chance.
    """
    n = residual.size
    if not residual.any():
        return min(math.ceil(n ** (1 / 3)), n // LONGEST_RUN_PART)
    spectrum = np.abs(np.fft.rfft(residual, 2 * n)) ** 2
    correlation = np.fft.irfft(spectrum)[: n // LONGEST_MEMORY_PART]
    correlation /= correlation[0]
    is_chance = correlation < 2 / math.sqrt(n)
    lags = int(is_chance.argmax()) if is_chance.any() else is_chance.size
    memory = 2 * float(correlation[:lags].sum()) - 1
    run = max(n ** (1 / 3), MEMORIES_PER_RUN * memory)
    return min(math.ceil(run), n // LONGEST_RUN_PART)


def _reordered(values: Floats, run: int, rng: np.random.Generator) -> Floats:
    """Runs of the values, taken as a circle and cut at a random place, in a random order."""
    turned = np.roll(values, rng.integers(values.size))
    whole = values.size // run * run
    runs = rng.permutation(turned[:whole].reshape(-1, run))
    return np.concatenate([runs.ravel(), turned[whole:]])
