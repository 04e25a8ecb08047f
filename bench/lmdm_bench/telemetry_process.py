"""Telemetry from a process of its own, at a steady pace, beside the generator's.

Every reading is written into memory that both processes hold, so that what was read is there
however the process ends. That memory has no name in the system: it goes with its last holder.
"""

import ctypes
import functools
import math
import operator
import os
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from statistics import fmean
from typing import Any

from lmdm_bench.check_record import Telemetry
from lmdm_bench.child_process import SPAWN, Child
from lmdm_bench.machine import nvml_device
from lmdm_bench.telemetry import COLUMNS, Readers

NS_PER_MS = 1_000_000
NS_PER_SECOND = 1_000_000_000
MS_PER_SECOND = 1000.0

# So that a record stays small: in a run of ten minutes or more a row stands for several readings.
MAX_ROWS = 3000
# What a reading is good for: shares to four places, times to a microsecond.
VALUE_DIGITS = 4
TIME_DIGITS = 3

# A row of the shared memory: when it was read, in nanoseconds, then the columns; NaN is no value.
WIDTH = 1 + len(COLUMNS)

Merge = Callable[[Sequence[float]], float]
# What one row says of several readings, where that is not their mean.
MERGES: dict[str, Merge] = {
    "gpu_throttle_bits": lambda values: float(functools.reduce(operator.or_, map(int, values))),
    "gpu_memory_used_bytes": max,
    "gpu_process_memory_bytes": max,
    "rss_bytes": max,
    "gpu_energy_joules": lambda values: values[-1],
    "swap_in_bytes": lambda values: values[-1],
    "is_on_mains": min,
}


class TelemetryProcess:
    """Reads the columns of ``telemetry.COLUMNS`` while the generator, process ``pid``, runs.

    There is room for ``seconds`` of readings. ``own_pids`` are processes of the run beside the
    generator, this one and the telemetry's; load that was made on purpose is not among them. It
    ends with this process, at the latest, and its own failures are never the run's.
    """

    def __init__(
        self,
        pid: int,
        device: str,
        seconds: float,
        period_ms: float = 200.0,
        own_pids: Sequence[int] = (),
    ) -> None:
        self._period_ms = period_ms
        num_rows = 1 + math.ceil(seconds * MS_PER_SECOND / period_ms)
        self._rows = SPAWN.RawArray(ctypes.c_double, num_rows * WIDTH)
        self._num_rows = SPAWN.RawValue(ctypes.c_longlong)
        self._child = Child(
            "telemetry",
            _read_on,
            self._rows,
            self._num_rows,
            round(period_ms * NS_PER_MS),
            (pid, os.getpid(), *own_pids),
            _bus_id(device),
        )
        self._why_not: str | None = "was not started"

    def start(self) -> None:
        """It reads from a moment later on. Where it cannot be started, ``stop`` says why."""
        try:
            self._child.start()
            self._why_not = None
        except OSError as error:
            self._why_not = f"could not be started: {error.strerror}"

    @property
    def pid(self) -> int | None:
        return self._child.pid

    @property
    def is_alive(self) -> bool:
        return self._why_not is None and self._child.is_alive

    @property
    def num_readings(self) -> int:
        return int(self._num_rows.value)

    def stop(self, origin_ns: int) -> Telemetry:
        """End it. What was read, at times from ``origin_ns`` of the monotonic clock on.

        The reading before the origin is the first: its shares of the load reach up to there.
        """
        ended = self._why_not or self._child.stop()
        reasons: dict[str, str] = {}
        for name, words in () if self._why_not else self._child.received():
            if name in COLUMNS:
                reasons[name] = words
            else:
                ended = words
        rows = _since(self._read_rows(), origin_ns - self._period_ms * NS_PER_MS)
        num_merged = max(1, math.ceil(len(rows) / MAX_ROWS))
        merged = [rows[start : start + num_merged] for start in range(0, len(rows), num_merged)]
        columns = {name: _column(merged, name) for name in COLUMNS}
        return Telemetry(
            period_ms=self._period_ms * num_merged,
            times_ms=tuple(
                round((some[-1][0] - origin_ns) / NS_PER_MS, TIME_DIGITS) for some in merged
            ),
            columns={name: column for name, column in columns.items() if _has_any(column)},
            unavailable={
                name: reasons.get(name, "no reading was finished")
                for name, column in columns.items()
                if not _has_any(column)
            },
            ended=ended,
        )

    def _read_rows(self) -> list[list[float]]:
        end = self.num_readings * WIDTH
        return [list(self._rows[start : start + WIDTH]) for start in range(0, end, WIDTH)]


def _has_any(column: Sequence[float | None]) -> bool:
    return any(value is not None for value in column)


def _since(rows: list[list[float]], first_ns: float) -> list[list[float]]:
    return [row for row in rows if row[0] >= first_ns]


def _column(merged: list[list[list[float]]], name: str) -> tuple[float | None, ...]:
    """One value for each group of rows: None where none of them has one."""
    place = 1 + COLUMNS.index(name)
    merge: Merge = MERGES.get(name, fmean)
    values = ([row[place] for row in some if not math.isnan(row[place])] for some in merged)
    return tuple(round(merge(some), VALUE_DIGITS) if some else None for some in values)


def _bus_id(device: str) -> tuple[str | None, str]:
    """The GPU's place on the PCI bus, by which a process without torch finds it; or why not."""
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return None, f"the run is on {device}, not on CUDA"
    try:
        nvml, handle = nvml_device(int(index or 0))
        bus_id = nvml.nvmlDeviceGetPciInfo(handle).busId
    except LookupError as error:
        return None, str(error)
    except Exception as error:  # as in nvml_device: half a driver fails in many ways
        return None, f"NVML: {error}"
    return bus_id.decode() if isinstance(bus_id, bytes) else str(bus_id), ""


def _read_on(
    parent: Connection,
    rows: Any,
    num_rows: Any,
    period_ns: int,
    pids: Sequence[int],
    place: tuple[str | None, str],
) -> None:
    """The process: a reading at each multiple of the period, until it is to end."""
    readers = Readers((*pids, os.getpid()), _gpu(*place))
    told: set[str] = set()
    due_ns = time.monotonic_ns() + period_ns
    while not parent.poll(max(0, due_ns - time.monotonic_ns()) / NS_PER_SECOND):
        start = num_rows.value * WIDTH
        if start == len(rows):
            parent.send(("", f"had room for {num_rows.value} readings"))
            return
        now_ns = time.monotonic_ns()
        values = readers.read()
        rows[start : start + WIDTH] = [now_ns, *(values.get(name, math.nan) for name in COLUMNS)]
        num_rows.value += 1
        for name in readers.reasons.keys() - told:
            parent.send((name, readers.reasons[name]))
            told.add(name)
        # What the machine slept through, or was too busy for, is not made up for.
        due_ns += period_ns * (1 + max(0, time.monotonic_ns() - due_ns) // period_ns)


def _gpu(bus_id: str | None, reason: str) -> tuple[Any, Any] | str:
    if bus_id is None:
        return reason
    try:
        import pynvml

        pynvml.nvmlInit()
        return pynvml, pynvml.nvmlDeviceGetHandleByPciBusId(bus_id)
    except Exception as error:  # as in _bus_id
        return f"NVML: {error}"
