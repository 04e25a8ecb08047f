"""What a listener hears of the four traces under each policy, in whole blocks."""

from dataclasses import dataclass

from lmdm_bench.check_record import Policy
from lmdm_bench.four_traces import (
    BLOCK_MS,
    NUM_BLOCKS,
    PREBUFFER_BLOCKS,
    TRACES,
    heat,
    periodic,
    stalls,
    steady,
)

__all__ = [
    "BLOCK_MS",
    "HEARD",
    "NUM_BLOCKS",
    "PREBUFFER_BLOCKS",
    "TRACES",
    "Heard",
    "heat",
    "periodic",
    "stalls",
    "steady",
]


@dataclass(frozen=True)
class Heard:
    """Misses (the blocks that were not made among them), dropouts, and the most misses in a row."""

    misses: int
    dropouts: int
    longest: int


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
