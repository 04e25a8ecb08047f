"""A measured trace played again through another ring: what would have been late, when heard."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lmdm_bench.check_record import CheckCell, Policy
from lmdm_bench.dropouts import Dropouts, dropouts
from lmdm_bench.record import Cell
from lmdm_bench.ring import Played, Ring, play

MILLISECONDS_PER_SECOND = 1000.0
MILLISECONDS_PER_MINUTE = 60_000.0
# Conditions arrive this many times in each block's length, evenly.
ARRIVALS_PER_BLOCK = 20

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Trace:
    """The service times of one stream in order, and how long its blocks play.

    ``is_paced``: they were made against a clock, with the waits of a live run between them.
    """

    service_ms: tuple[float, ...]
    block_ms: float
    is_paced: bool


@dataclass(frozen=True)
class ReplayRow:
    """What one prebuffer would have done.

    ``silence_share`` is the part of the playing time that was silence. ``control_p50_seconds`` and
    ``control_p95_seconds`` are of conditions that arrive evenly over the playing time, None where
    so many were not heard before its end. All are None where no block comes after the prebuffer.
    """

    prebuffer_blocks: int
    dropouts: Dropouts | None
    silence_share: float | None
    control_p50_seconds: float | None
    control_p95_seconds: float | None


def trace_of(cell: CheckCell | Cell) -> Trace:
    """The trace of a check's cell, or of a plain run's, whose warm-up blocks are left out."""
    if isinstance(cell, CheckCell):
        return Trace(cell.service_ms, cell.block_ms, is_paced=True)
    times = tuple(one.service_ms for one in cell.blocks if not one.is_warmup)
    return Trace(times, cell.workload.block_seconds * MILLISECONDS_PER_SECOND, is_paced=False)


def replay_rows(
    cell: CheckCell | Cell, prebuffers: Sequence[int], policy: Policy
) -> tuple[ReplayRow, ...]:
    """One row for each number of blocks; none where the cell has no block.

    Raises ValueError for a prebuffer below one block.
    """
    trace = trace_of(cell)
    rings = [Ring(blocks, trace.block_ms, policy) for blocks in prebuffers]
    if not trace.service_ms:
        return ()
    return tuple(_row(play(trace.service_ms, ring)) for ring in rings)


def control_to_sound_ms(played: Played) -> Floats:
    """From arrival to sound, of conditions that arrive evenly from the start of playback on.

    A condition is carried by the first block that is begun after it came, and heard with that
    block's first sample; where that block's whole time had passed before it was ready, with the
    next one's. Infinite where it was not heard before the end; empty where no block was begun
    after playback.
    """
    block_ms = played.ring.block_ms
    first_ms, last_ms = played.deadline_ms[0], played.started_ms[-1]
    arrivals = np.arange(first_ms, last_ms, block_ms / ARRIVALS_PER_BLOCK)
    arrivals = arrivals[arrivals <= last_ms]  # rounding may take one past the end
    heard = np.maximum(played.ready_ms, played.deadline_ms)
    if played.ring.policy != "stall":
        heard = np.where(played.lateness_ms < block_ms, heard, np.inf)
    heard = np.minimum.accumulate(heard[::-1])[::-1]
    waits: Floats = heard[np.searchsorted(played.started_ms, arrivals)] - arrivals
    return waits


def quantile_of_waits(waits: Floats, probability: float) -> float | None:
    """Their quantile, in their unit; None where there are none, or where it was not heard."""
    if not waits.size:
        return None
    value = float(np.quantile(waits, probability, method="inverted_cdf"))
    return value if math.isfinite(value) else None


def _row(played: Played) -> ReplayRow:
    blocks, found = played.ring.prebuffer_blocks, dropouts(played)
    if not found.num_blocks:
        return ReplayRow(blocks, None, None, None, None)
    waits = control_to_sound_ms(played) / MILLISECONDS_PER_SECOND
    gap = found.gap_ms_per_minute
    return ReplayRow(
        prebuffer_blocks=blocks,
        dropouts=found,
        silence_share=None if gap is None else gap / MILLISECONDS_PER_MINUTE,
        control_p50_seconds=quantile_of_waits(waits, 0.5),
        control_p95_seconds=quantile_of_waits(waits, 0.95),
    )
