"""What ``profile.json`` holds of host time and of memory: strict JSON through ``record.to_json``.

No run's record: a profiler changes what it watches, so no report and no comparison reads these.
"""

from dataclasses import dataclass

from lmdm_bench.host_time import HostLine, HostTime
from lmdm_bench.memory_timeline import MemoryTimeline
from lmdm_bench.record import Ceiling, Check, Choice, Cost, Machine, Tool, Workload

PROFILE_SCHEMA_VERSION = 1
WORDS_NAME = "profile.md"


@dataclass(frozen=True)
class ProfileFacts:
    """What was profiled, on what. ``plain_ms``: the median service time of the blocks made right
    before without a profiler; ``profiled_ms``: that of those under it."""

    created: str
    command: str
    tool: Tool
    machine: Machine
    ceiling: Ceiling
    device: Choice
    dtype: Choice
    linear: Choice
    weights: str
    workload: Workload
    check: Check
    cost: Cost
    plain_ms: float
    profiled_ms: float


@dataclass(frozen=True)
class HostProfile:
    """Host time. pyinstrument took ``num_samples``, at least ``interval_ms`` apart, of ``host``'s
    blocks; ``lines`` are from every call and return of ``num_traced_blocks`` more."""

    schema_version: int
    facts: ProfileFacts
    interval_ms: float
    num_samples: int
    num_traced_blocks: int
    host: HostTime
    lines: tuple[HostLine, ...]
    closing: str


@dataclass(frozen=True)
class Compared:
    """A part of the memory beside what arithmetic says; None with its reason where not known."""

    name: str
    measured_bytes: int | None
    predicted_bytes: int | None
    reason: str | None


@dataclass(frozen=True)
class MemoryProfile:
    """What torch allocated in ``timeline``, the block with the highest peak of those profiled.

    ``peaks_bytes`` are those of all profiled blocks, each beyond what was held at its start.
    ``resident_bytes`` is what was held then, by arithmetic: weights, cache, the codec's weights.
    """

    schema_version: int
    facts: ProfileFacts
    peaks_bytes: tuple[int, ...]
    resident_bytes: int
    timeline: MemoryTimeline
    compared: tuple[Compared, ...]
    closing: str
