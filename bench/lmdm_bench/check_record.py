"""The frozen record of a check: streams that were made against a clock, block by block.

As with ``record.py``, only what was seen is kept; dropouts, tails, prebuffers and verdicts are
arithmetic on it. Every instant is in milliseconds of one monotonic clock, from the moment at which
the cell's first block was begun. A counter that cannot be had is None with its reason.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lmdm_bench.record import (
    Block,
    Ceiling,
    Check,
    Choice,
    Cost,
    Machine,
    Memory,
    RecordError,
    Status,
    Tool,
    Workload,
    parse,
    read_text,
    to_json,
    write_whole,
)

CHECK_SCHEMA_VERSION = 1

# Whose clock the blocks are made against: this process's, the same until the machine is steady, or
# a sound card's.
Mode = Literal["paced", "sustain", "device"]
# What a player does when a block is not there in time: see ``ring.py``.
Policy = Literal["zero-pad", "stall", "skip"]
# Why a block was slow, as far as counters tell; in ``Block.labels``.
Cause = Literal[
    "first", "compile", "alloc", "gc", "throttle", "preempt", "spill", "suspend", "unknown"
]
CAUSES: tuple[Cause, ...] = (
    "first",
    "compile",
    "alloc",
    "gc",
    "throttle",
    "preempt",
    "spill",
    "suspend",
    "unknown",
)


@dataclass(frozen=True)
class CheckSettings:
    """What holds for every cell. ``minutes`` of playing were asked for, for each cell.

    ``control_budget_seconds`` is None where control_to_sound is only shown, not judged. ``gc`` and
    ``stress`` are what the run did about collections and what load it made beside itself.
    """

    command: str
    seed: int
    mode: Mode
    minutes: float
    prebuffer_blocks: int
    policy: Policy
    target_dropouts_per_hour: float
    control_budget_seconds: float | None
    stress: str
    device: Choice
    dtype: Choice
    attention: str
    input: str
    gc: str
    audio: str | None


@dataclass(frozen=True)
class Harness:
    """What the harness itself adds, measured by a stream of ``period_ms`` that does no work.

    ``lateness_ms`` is each block's ready instant after the instant at which it could start;
    ``wake_error_ms`` is the part of it before the block began.
    """

    period_ms: float
    lateness_ms: tuple[float, ...]
    wake_error_ms: tuple[float, ...]
    reason: str | None


@dataclass(frozen=True)
class Counters:
    """What was counted while one block was made, in the generator's process.

    ``num_preemptions`` are involuntary context switches of its threads, ``num_major_faults`` page
    faults that had to read a disk, ``num_allocs`` times the device's allocator had to ask the
    driver. None where the system does not count it.
    """

    gc_ms: float
    num_compiles: int
    num_allocs: int | None
    num_preemptions: int | None
    num_major_faults: int | None


@dataclass(frozen=True)
class PacedBlock:
    """One block against the clock.

    ``block`` has its stages and, as labels, the causes, which ``counters`` are evidence for.
    ``room_ms``: from when the ring could take it; ``started_ms``: when it was begun;
    ``wake_error_ms``: how much of the time between is the harness waking late; ``ready_ms``: its
    samples are there; ``deadline_ms``: its first sample is due. ``control_ms`` is the part of the
    service time, and of the block's ``host_ms``, that went into conditions that had arrived.
    ``rms`` is its samples' level, 1 full scale; None where it is tokens.
    """

    block: Block
    room_ms: float
    started_ms: float
    ready_ms: float
    deadline_ms: float
    wake_error_ms: float
    control_ms: float
    rms: float | None
    counters: Counters

    @property
    def lateness_ms(self) -> float:
        """Above 0: a miss."""
        return self.ready_ms - self.deadline_ms


@dataclass(frozen=True)
class Control:
    """A condition that arrived while the stream played.

    ``kind``: another prompt, or a block of input audio that the stream has to hear.
    ``block_index`` is the first block that was begun with it, ``heard_ms`` when that block's first
    sample left the ring; both None where the run ended before.
    """

    kind: Literal["prompt", "input"]
    arrived_ms: float
    block_index: int | None
    heard_ms: float | None


@dataclass(frozen=True)
class Telemetry:
    """What a process of its own read beside the run: one value of each column at each instant.

    ``columns`` are named with their units; a None in a column is a reading that failed. A counter
    that was never there is in ``unavailable`` with its reason and has no column. ``ended`` is None
    where the process read until the end, else how it ended before.
    """

    period_ms: float
    times_ms: tuple[float, ...]
    columns: dict[str, tuple[float | None, ...]]
    unavailable: dict[str, str]
    ended: str | None


@dataclass(frozen=True)
class Canary:
    """Fixed work, done now and then while the stream waited: the effective clock.

    ``reason`` is None unless there was none.
    """

    times_ms: tuple[float, ...]
    work_ms: tuple[float, ...]
    reason: str | None


@dataclass(frozen=True)
class DeviceCount:
    """What the audio callback counted, in a process of its own.

    Frames here are the sound card's: one sample per channel. ``frames_due`` by the clock between
    the first and the last callback that was meant to play; ``frames_delivered`` came from blocks,
    ``frames_missing`` were silence since the ring was dry (``ring_underruns`` times). ``xruns`` are
    the sound server's own, another thing. ``gap_counts[i]`` callbacks came ``i`` times
    ``gap_step_ms`` after the one before, the last bin has all longer ones.
    """

    backend: str
    device: str
    sample_rate_hz: int
    frames_per_callback: int
    callbacks_due: int
    callbacks_seen: int
    frames_due: int
    frames_delivered: int
    frames_missing: int
    ring_underruns: int
    xruns: int | None
    output_latency_ms: float | None
    gap_step_ms: float
    gap_counts: tuple[int, ...]
    largest_gap_ms: float
    unavailable: dict[str, str]


@dataclass(frozen=True)
class Incident:
    """Something that befell the run itself: a suspend, a clock that jumped, a server that went."""

    at_ms: float
    kind: Literal["suspend", "clock jump", "audio lost", "telemetry lost", "stalled", "killed"]
    words: str


@dataclass(frozen=True)
class Alternative:
    """Other settings for the same stream, and what arithmetic says of their cost."""

    what: Literal["block_frames", "dtype", "scheme"]
    workload: Workload
    cost: Cost


@dataclass(frozen=True)
class CheckCell:
    """One stream and how it went.

    ``status`` other than OK has its ``reason``; the blocks that were finished are there all the
    same. ``warmup`` blocks were made back to back before; ``warm_words`` says when that was enough.
    The first ``prebuffer_blocks`` of ``blocks`` were made before playback began. ``weights`` and
    ``linear`` are None where nothing was built. ``memory_limit_bytes`` is the device's memory, and
    ``memory_used_bytes`` the most of it that was seen in use.
    """

    workload: Workload
    status: Status
    reason: str | None
    check: Check | None
    cost: Cost
    linear: Choice | None
    weights: str | None
    memory: Memory | None
    memory_limit_bytes: int | None
    memory_used_bytes: int | None
    warmup: tuple[Block, ...]
    warm_words: str
    blocks: tuple[PacedBlock, ...]
    controls: tuple[Control, ...]
    incidents: tuple[Incident, ...]
    canary: Canary
    telemetry: Telemetry
    device_count: DeviceCount | None
    alternatives: tuple[Alternative, ...]

    def __post_init__(self) -> None:
        if (self.status == "OK") != (self.reason is None):
            raise RecordError(f"status {self.status} and reason do not go together")

    @property
    def block_ms(self) -> float:
        """How long a block plays."""
        return self.workload.block_seconds * 1000.0

    @property
    def service_ms(self) -> tuple[float, ...]:
        """Every block's service time, in order."""
        return tuple(one.block.service_ms for one in self.blocks)


@dataclass(frozen=True)
class CheckRecord:
    """One check: see the module's docstring."""

    schema_version: int
    created: str
    tool: Tool
    machine: Machine
    ceiling: Ceiling
    settings: CheckSettings
    harness: Harness
    is_interrupted: bool
    check_cells: tuple[CheckCell, ...]


def save_check(record: CheckRecord, path: Path) -> None:
    """Write the record, whole or not at all."""
    write_whole(path, to_json(record).encode("utf-8"))


def load_check(path: Path) -> CheckRecord:
    """Read a check's file. Raises RecordError in one sentence, whatever is wrong with it."""
    return check_from_json(read_text(path), str(path))


def check_from_json(text: str, name: str = "record") -> CheckRecord:
    """The record that ``to_json`` wrote. Raises RecordError naming the file and the field."""
    record: CheckRecord = parse(CheckRecord, CHECK_SCHEMA_VERSION, text, name)
    return record


def is_check(path: Path) -> bool:
    """Whether a file holds a check's record. Raises RecordError as ``load_check``."""
    try:
        data = json.loads(read_text(path))
    except json.JSONDecodeError:
        return False  # whoever reads it next says what is wrong
    return isinstance(data, dict) and "check_cells" in data
