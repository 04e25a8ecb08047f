"""What a generator leaves behind while it plays, row by row, in memory that outlives it.

One process writes, another reads; a row counts once it is whole. So a generator may be killed at
any moment, and every block that it had finished is there. Nothing is allocated while it plays.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing import shared_memory
from typing import Any

import numpy as np
import numpy.typing as npt

from lmdm_bench.check_record import Canary, Control, Counters, Incident, PacedBlock
from lmdm_bench.record import Block
from lmdm_bench.shared_pages import shared_pages

FLOAT_BYTES = 8
MAX_CONTROLS = 4096
MAX_CANARIES = 4096
MAX_INCIDENTS = 256

_BLOCK_COLUMNS = (
    "service_ms",
    "context_encode_ms",
    "commit_ms",
    "codec_decode_ms",
    "host_ms",
    "room_ms",
    "started_ms",
    "ready_ms",
    "deadline_ms",
    "wake_error_ms",
    "control_ms",
    "rms",
    "gc_ms",
    "num_compiles",
    "num_allocs",
    "num_preemptions",
    "num_major_faults",
    "num_steps",
)
_KINDS = ("prompt", "input")
_INCIDENTS = ("suspend", "clock jump")
_MUST_STOP, _NUM_HEADER = 0, 1


@dataclass(frozen=True)
class Written:
    """All that has been written so far; blocks have no labels yet."""

    blocks: tuple[PacedBlock, ...]
    controls: tuple[Control, ...]
    canary: Canary
    incidents: tuple[Incident, ...]


class Journal:
    """``most_blocks`` blocks of at most ``most_steps`` steps. Who makes it also removes it.

    Raises UnsupportedError where there is not so much memory to share.
    """

    def __init__(self, most_blocks: int, most_steps: int, name: str | None = None) -> None:
        """``name``: of a journal that another process made."""
        self.most_blocks, self.most_steps = most_blocks, most_steps
        shapes = (
            (most_blocks, len(_BLOCK_COLUMNS) + most_steps),
            (MAX_CONTROLS, 4),
            (MAX_CANARIES, 2),
            (MAX_INCIDENTS, 3),
        )
        # Before the rows of each table comes their number, and before all tables the header.
        size = _NUM_HEADER + sum(1 + rows * columns for rows, columns in shapes)
        self._is_owner = name is None
        num_bytes = size * FLOAT_BYTES
        self._memory = shared_pages(num_bytes) if name is None else shared_memory.SharedMemory(name)
        numbers = np.ndarray((size,), np.float64, self._memory.buf)
        if self._is_owner:
            numbers.fill(0.0)
        self._header = numbers[:_NUM_HEADER]
        self._tables = []
        at = _NUM_HEADER
        for rows, columns in shapes:
            end = at + 1 + rows * columns
            table = numbers[at + 1 : end].reshape(rows, columns)
            self._tables.append(_Table(numbers[at : at + 1], table))
            at = end
        self._blocks, self._controls, self._canaries, self._incidents = self._tables

    @property
    def name(self) -> str:
        return self._memory.name

    @property
    def num_blocks(self) -> int:
        return self._blocks.num_rows

    def service_ms(self) -> list[float]:
        """Every block's service time so far."""
        (times,) = self._columns("service_ms")
        told: list[float] = times.tolist()
        return told

    def slowest_ms(self) -> float:
        """The longest service time so far, 0 before the first."""
        (times,) = self._columns("service_ms")
        return float(times.max(initial=0.0))

    def num_misses(self) -> int:
        """How many blocks so far were late."""
        ready, deadline = self._columns("ready_ms", "deadline_ms")
        return int(np.count_nonzero(ready > deadline))

    @property
    def must_stop(self) -> bool:
        """Whether the reader wants no more blocks."""
        return bool(self._header[_MUST_STOP])

    def stop(self) -> None:
        """Ask the writer to make no further block."""
        self._header[_MUST_STOP] = 1.0

    def add_block(self, one: PacedBlock) -> None:
        """Raises ValueError for more steps than there is room for; drops what comes too late."""
        block, counters = one.block, one.counters
        if len(block.steps_ms) > self.most_steps:
            raise ValueError(f"a block of {len(block.steps_ms)} steps, at most {self.most_steps}")
        values = (
            block.service_ms,
            block.context_encode_ms,
            block.commit_ms,
            block.codec_decode_ms,
            block.host_ms,
            one.room_ms,
            one.started_ms,
            one.ready_ms,
            one.deadline_ms,
            one.wake_error_ms,
            one.control_ms,
            one.rms,
            counters.gc_ms,
            counters.num_compiles,
            counters.num_allocs,
            counters.num_preemptions,
            counters.num_major_faults,
            len(block.steps_ms),
            *block.steps_ms,
        )
        self._blocks.add(values)

    def add_control(self, one: Control) -> None:
        index = math.nan if one.block_index is None else one.block_index
        heard = math.nan if one.heard_ms is None else one.heard_ms
        self._controls.add((_KINDS.index(one.kind), one.arrived_ms, index, heard))

    def add_canary(self, at_ms: float, work_ms: float) -> None:
        self._canaries.add((at_ms, work_ms))

    def add_incident(self, at_ms: float, kind: str, milliseconds: float) -> None:
        self._incidents.add((at_ms, _INCIDENTS.index(kind), milliseconds))

    def read(self, block_ms: float) -> Written:
        """``block_ms`` gives the blocks of the prebuffer their deadlines."""
        rows = self._blocks.rows()
        canaries = self._canaries.rows()
        return Written(
            blocks=_with_deadlines([_block(*one) for one in enumerate(rows)], block_ms),
            controls=tuple(_control(row) for row in self._controls.rows()),
            canary=Canary(
                tuple(canaries[:, 0].tolist()),
                tuple(canaries[:, 1].tolist()),
                None if len(canaries) else "there was no wait long enough for it",
            ),
            incidents=tuple(_incident(row) for row in self._incidents.rows()),
        )

    def close(self) -> None:
        """Let go of the memory, and remove it if this side made it."""
        del self._header, self._tables
        del self._blocks, self._controls, self._canaries, self._incidents
        self._memory.close()
        if self._is_owner:
            self._memory.unlink()

    def _columns(self, *names: str) -> tuple[npt.NDArray[np.float64], ...]:
        """Of the same rows, while the writer goes on."""
        rows = self._blocks.values()
        return tuple(rows[:, _BLOCK_COLUMNS.index(name)] for name in names)


class _Table:
    """Rows of numbers; the count is written after the row, so that no reader sees half of one."""

    def __init__(self, count: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> None:
        self._count = count
        self._values = values

    @property
    def num_rows(self) -> int:
        return int(self._count[0])

    def add(self, values: Sequence[float | None]) -> None:
        at = self.num_rows
        if at < len(self._values):
            row = self._values[at]
            row[: len(values)] = [math.nan if value is None else value for value in values]
            self._count[0] = at + 1

    def values(self) -> npt.NDArray[np.float64]:
        """The rows where they stand: not to be kept."""
        return self._values[: self.num_rows]

    def rows(self) -> npt.NDArray[np.float64]:
        return self.values().copy()


def _block(index: int, row: npt.NDArray[np.float64]) -> PacedBlock:
    value = dict(zip(_BLOCK_COLUMNS, map(float, row), strict=False))
    first_step = len(_BLOCK_COLUMNS)
    steps = row[first_step : first_step + int(value["num_steps"])]
    return PacedBlock(
        block=Block(
            block_index=index,
            service_ms=value["service_ms"],
            context_encode_ms=_known(value["context_encode_ms"]),
            steps_ms=tuple(steps.tolist()),
            commit_ms=_known(value["commit_ms"]),
            codec_decode_ms=_known(value["codec_decode_ms"]),
            host_ms=value["host_ms"],
            is_warmup=False,
            labels=(),
        ),
        room_ms=value["room_ms"],
        started_ms=value["started_ms"],
        ready_ms=value["ready_ms"],
        deadline_ms=value["deadline_ms"],
        wake_error_ms=value["wake_error_ms"],
        control_ms=value["control_ms"],
        rms=_known(value["rms"]),
        counters=Counters(
            gc_ms=value["gc_ms"],
            num_compiles=int(value["num_compiles"]),
            num_allocs=_whole(value["num_allocs"]),
            num_preemptions=_whole(value["num_preemptions"]),
            num_major_faults=_whole(value["num_major_faults"]),
        ),
    )


def _with_deadlines(blocks: list[PacedBlock], block_ms: float) -> tuple[PacedBlock, ...]:
    """The prebuffer's deadlines, which were not known when its blocks were made."""
    primed = [one for one in blocks if math.isnan(one.deadline_ms)]
    if not primed:
        return tuple(blocks)
    playback_ms = primed[-1].ready_ms
    told = [
        replace(one, deadline_ms=playback_ms + index * block_ms) for index, one in enumerate(primed)
    ]
    return (*told, *blocks[len(primed) :])


def _control(row: npt.NDArray[np.float64]) -> Control:
    kind, arrived, index, heard = map(float, row)
    # The two are what the writer names; a checker cannot see that a row holds nothing else.
    name: Any = _KINDS[int(kind)]
    return Control(name, arrived, _whole(index), _known(heard))


def _incident(row: npt.NDArray[np.float64]) -> Incident:
    at, kind, milliseconds = map(float, row)
    seconds = f"{milliseconds / 1000:.1f} s"
    if _INCIDENTS[int(kind)] == "suspend":
        return Incident(at, "suspend", f"nothing ran for {seconds}")
    return Incident(at, "clock jump", f"the time of day jumped by {seconds}; no deadline did")


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _whole(value: float) -> int | None:
    return None if math.isnan(value) else int(value)
