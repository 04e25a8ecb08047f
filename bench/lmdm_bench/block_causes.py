"""Why blocks were slow, as far as the counters and the telemetry tell.

A cause is evidence that stood beside a block, no proof. What was counted within its own making
(compile, alloc, gc) is named for any block; what was read of the machine meanwhile is only named
for a slow one, since the others were not hurt by it.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lmdm_bench.check_record import CAUSES, Cause, Incident, PacedBlock, Telemetry
from lmdm_bench.telemetry import HARDWARE_THERMAL, POWER_BRAKE, SOFTWARE_THERMAL

Floats = npt.NDArray[np.float64]

# A block's service time stands out from so many times the median of its neighbours on.
SLOW = 1.25
NUM_NEIGHBOURS = 61

# What took less of the block than this is not worth naming.
WORTH_NAMING = 0.01
# A page that has to be read again, from an SSD, takes about so long.
PAGE_MS = 0.1
PAGE_BYTES = 4096

# The reasons that mean too hot or too much current by themselves. The others count by the drop of
# the clock that they lead to: at its power limit a GPU works as it should, and a hardware slowdown
# is told at every change of clocks too.
THROTTLE_BITS = SOFTWARE_THERMAL | HARDWARE_THERMAL | POWER_BRAKE
# A clock has dropped below this share of what the best tenth of the readings under load had.
KEPT_CLOCK = 0.9
BEST_READINGS = 0.9

# Preemptions stand out at so many times what the run's usual rate makes of a block this long, where
# they also took this share of it. Each lasts about a time slice of Linux' scheduler.
PREEMPTIONS_FACTOR = 3.0
PREEMPTED_SHARE = 0.1
PREEMPTION_MS = 3.0
# Others' load that a block feels, as a share of all cores.
FOREIGN_LOAD = 0.25

# A device's memory is full at this share of it: the driver keeps a little for itself.
FULL_MEMORY = 0.98


def label(
    blocks: Sequence[PacedBlock],
    block_ms: float,
    telemetry: Telemetry,
    incidents: Sequence[Incident],
    memory_limit_bytes: int | None = None,
) -> tuple[tuple[Cause, ...], ...]:
    """The causes of each block, in the order of ``CAUSES``; ``blocks`` are a cell's, in order.

    Slow is a block whose service time stands out among its neighbours', one that took longer than
    the ``block_ms`` it plays, and one that missed its deadline. Only the first is ``unknown`` where
    nothing is found: a miss that comes of the block before, or of a machine that takes this long
    for every block, has no cause of its own. ``memory_limit_bytes`` is the device's memory, None
    where the blocks are made in the system's.
    """
    if not blocks:
        return ()
    evidence = _Evidence(blocks, telemetry, incidents, memory_limit_bytes)
    service_ms = np.array([one.block.service_ms for one in blocks])
    stands_out = service_ms > SLOW * ndimage.median_filter(service_ms, NUM_NEIGHBOURS)
    found = []
    for index, one in enumerate(blocks):
        causes = _counted(one)
        if index == 0:
            causes.add("first")
        if stands_out[index] or service_ms[index] > block_ms or one.lateness_ms > 0:
            causes |= evidence.causes(index)
        if stands_out[index] and not causes:
            causes.add("unknown")
        found.append(tuple(cause for cause in CAUSES if cause in causes))
    return tuple(found)


def _counted(one: PacedBlock) -> set[Cause]:
    """What the block's own counters say."""
    causes: set[Cause] = set()
    if one.counters.num_compiles:
        causes.add("compile")
    if one.counters.num_allocs:
        causes.add("alloc")
    if one.counters.gc_ms >= WORTH_NAMING * one.block.service_ms:
        causes.add("gc")
    return causes


class _Evidence:
    """What stood beside the blocks, asked for one that was slow."""

    def __init__(
        self,
        blocks: Sequence[PacedBlock],
        telemetry: Telemetry,
        incidents: Sequence[Incident],
        memory_limit_bytes: int | None,
    ) -> None:
        self._blocks = blocks
        self._period_ms = telemetry.period_ms
        self._times_ms = np.array(telemetry.times_ms, dtype=np.float64)
        # A reading that failed is NaN here.
        self._columns = {
            name: np.array(column, dtype=np.float64) for name, column in telemetry.columns.items()
        }
        self._suspends_ms = [one.at_ms for one in incidents if one.kind == "suspend"]
        self._memory_limit_bytes = memory_limit_bytes
        self._preemption_rate = _usual_rate(blocks)
        # The GPU's clock where there is one: then the processor's does not decide.
        name = "gpu_sm_clock_mhz" if "gpu_sm_clock_mhz" in self._columns else "cpu_frequency_mhz"
        self._clock = np.where(self._under_load(), self._column(name), np.nan)
        known = self._clock[np.isfinite(self._clock)]
        self._best_clock = float(np.quantile(known, BEST_READINGS)) if known.size else math.nan

    def causes(self, index: int) -> set[Cause]:
        found: set[Cause] = set()
        one = self._blocks[index]
        if self._is_throttled(one):
            found.add("throttle")
        if self._is_preempted(one):
            found.add("preempt")
        if self._is_spilled(one):
            found.add("spill")
        # It is noticed after the block before, at a wake-up or a reading of the clock.
        since_ms = self._blocks[index - 1].ready_ms if index else -math.inf
        if any(since_ms < at_ms <= one.ready_ms for at_ms in self._suspends_ms):
            found.add("suspend")
        return found

    def _is_throttled(self, one: PacedBlock) -> bool:
        bits = self._near(self._column("gpu_throttle_bits"), one)
        if any(int(value) & THROTTLE_BITS for value in bits):
            return True
        clocks = self._near(self._clock, one)
        return bool(clocks.size and np.median(clocks) < KEPT_CLOCK * self._best_clock)

    def _is_preempted(self, one: PacedBlock) -> bool:
        service_ms, count = one.block.service_ms, one.counters.num_preemptions or 0
        stands_out = count >= PREEMPTIONS_FACTOR * self._preemption_rate * service_ms
        if stands_out and count * PREEMPTION_MS >= PREEMPTED_SHARE * service_ms:
            return True
        # A share of the load is of the time up to its reading.
        loads = self._between(
            self._column("other_load_share"), one.started_ms, one.ready_ms + self._period_ms
        )
        return bool(loads.size and loads.mean() >= FOREIGN_LOAD)

    def _is_spilled(self, one: PacedBlock) -> bool:
        pages = (one.counters.num_major_faults or 0) + self._swapped_pages(one)
        if pages * PAGE_MS >= WORTH_NAMING * one.block.service_ms:
            return True
        used = self._near(self._column("gpu_memory_used_bytes"), one)
        if self._memory_limit_bytes is None or not used.size:
            return False
        return bool(used.max() >= FULL_MEMORY * self._memory_limit_bytes)

    def _swapped_pages(self, one: PacedBlock) -> float:
        """The whole system's, from the last reading before the block to the first after it."""
        column = self._column("swap_in_bytes")
        first = max(0, int(np.searchsorted(self._times_ms, one.started_ms, "right")) - 1)
        last = int(np.searchsorted(self._times_ms, one.ready_ms, "left"))
        values = column[first : last + 1]
        values = values[np.isfinite(values)]
        return float(values[-1] - values[0]) / PAGE_BYTES if values.size else 0.0

    def _under_load(self) -> npt.NDArray[np.bool_]:
        """Which readings fell into a block's making: between blocks clocks may well be low."""
        started_ms = np.array([one.started_ms for one in self._blocks])
        ready_ms = np.array([one.ready_ms for one in self._blocks])
        latest = np.searchsorted(started_ms, self._times_ms, "right") - 1
        return (latest >= 0) & (self._times_ms <= ready_ms[latest])

    def _near(self, column: Floats, one: PacedBlock) -> Floats:
        """Its values at instants within a period of the block, which may be shorter than that."""
        return self._between(
            column, one.started_ms - self._period_ms, one.ready_ms + self._period_ms
        )

    def _between(self, column: Floats, first_ms: float, last_ms: float) -> Floats:
        first, last = np.searchsorted(self._times_ms, [first_ms, last_ms], "right")
        values = column[first:last]
        return values[np.isfinite(values)]

    def _column(self, name: str) -> Floats:
        found = self._columns.get(name)
        return np.full(self._times_ms.size, np.nan) if found is None else found


def _usual_rate(blocks: Sequence[PacedBlock]) -> float:
    """The median of the blocks' preemptions per millisecond; 0 where they are not counted."""
    rates = [
        one.counters.num_preemptions / one.block.service_ms
        for one in blocks
        if one.counters.num_preemptions is not None and one.block.service_ms > 0
    ]
    return float(np.median(rates)) if rates else 0.0
