"""Four traces of which averages tell the wrong story: 10 minutes of 40 ms blocks, a ring of 3.

Each is drawn from a seed of its own, so that it is the same wherever it is used. What a listener
hears of each under each policy stands beside it, in whole blocks.
"""

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lmdm_bench.check_record import Policy

NUM_BLOCKS = 15_000
BLOCK_MS = 40.0
PREBUFFER_BLOCKS = 3

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Heard:
    """Misses (the blocks that were not made among them), dropouts, and the most misses in a row."""

    misses: int
    dropouts: int
    longest: int


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
    return np.where(seconds < 180.0, 33.0, warm) + np.random.default_rng(0).normal(
        0.0, 0.9, NUM_BLOCKS
    )


TRACES = {"steady": steady, "periodic": periodic, "stalls": stalls, "heat": heat}

HEARD: dict[tuple[str, Policy], Heard] = {
    ("steady", "zero-pad"): Heard(0, 0, 0),
    ("steady", "stall"): Heard(0, 0, 0),
    ("steady", "skip"): Heard(0, 0, 0),
    ("periodic", "zero-pad"): Heard(150, 144, 2),
    ("periodic", "stall"): Heard(144, 144, 1),
    ("periodic", "skip"): Heard(150, 144, 2),
    ("stalls", "zero-pad"): Heard(160, 20, 8),
    ("stalls", "stall"): Heard(20, 20, 1),
    ("stalls", "skip"): Heard(111, 20, 6),
    ("heat", "zero-pad"): Heard(8094, 1, 8094),
    ("heat", "stall"): Heard(7878, 136, 1569),
    ("heat", "skip"): Heard(8593, 1, 8593),
}
