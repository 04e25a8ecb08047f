"""Four traces of which averages tell the wrong story: 10 minutes of 40 ms blocks, a ring of 3.

Each is drawn from a seed of its own, so that it is the same wherever it is used.
"""

import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from lmdm_bench import format as shown
from lmdm_bench.dropouts import dropouts
from lmdm_bench.ring import Ring, play

NUM_BLOCKS = 15_000
BLOCK_MS = 40.0
PREBUFFER_BLOCKS = 3
# What a benchmark that measures for four seconds would have seen.
FIRST_BLOCKS = 100

HEADER = ("service times", "rtf, first 4 s", "rtf, 10 min", "p99", "late blocks", "dropouts")

Floats = npt.NDArray[np.float64]


@functools.cache
def steady() -> Floats:
    """36 ms, always."""
    return np.random.default_rng(0).normal(36.0, 0.9, NUM_BLOCKS)


@functools.cache
def periodic() -> Floats:
    """After 20 blocks of 30 ms come 5 of 55 ms."""
    noise = np.random.default_rng(0).normal(0.0, 2.9, NUM_BLOCKS)
    return np.tile([30.0] * 20 + [55.0] * 5, NUM_BLOCKS // 25) + noise


@functools.cache
def stalls() -> Floats:
    """28 ms, and about one block in a thousand takes 180 ms longer: 99 % take 29 ms at most."""
    rng = np.random.default_rng(0)
    return rng.normal(28.0, 0.4, NUM_BLOCKS) + 180.0 * (rng.random(NUM_BLOCKS) < 0.0012)


@functools.cache
def heat() -> Floats:
    """33 ms for three minutes, then towards 43 ms."""
    seconds = np.arange(NUM_BLOCKS) * BLOCK_MS / 1000
    warm = 43.0 - 10.0 * np.exp(-np.maximum(0.0, seconds - 180.0) / 70.0)
    noise = np.random.default_rng(0).normal(0.0, 0.9, NUM_BLOCKS)
    return np.where(seconds < 180.0, 33.0, warm) + noise


TRACES: dict[str, Callable[[], Floats]] = {
    "steady": steady,
    "periodic": periodic,
    "stalls": stalls,
    "heat": heat,
}
_WORDS = {
    "steady": "36 ms, steady",
    "periodic": "20 of 30 ms and 5 of 55 ms in turn",
    "stalls": "28 ms, and now and then 180 ms more",
    "heat": "33 ms for three minutes, then up to 43 ms (heat)",
}


def trace_rows() -> list[tuple[str, ...]]:
    """A row for each trace, as in ``HEADER``: what averages say, and what is heard."""
    return [_row(name) for name in TRACES]


def _row(name: str) -> tuple[str, ...]:
    times = TRACES[name]()
    found = dropouts(play(times, Ring(PREBUFFER_BLOCKS, BLOCK_MS)))
    return (
        _WORDS[name],
        f"{times[:FIRST_BLOCKS].mean() / BLOCK_MS:.2f}",
        f"{times.mean() / BLOCK_MS:.2f}",
        f"{np.quantile(times, 0.99):.0f}{shown.NBSP}ms",
        f"{100 * found.num_misses / found.num_blocks:.1f}{shown.NBSP}%",
        shown.count(found.num_dropouts),
    )
