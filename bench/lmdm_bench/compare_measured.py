"""What was measured before, as cells that can be compared: of one record, and of one whole side."""

from dataclasses import dataclass

from lmdm_bench.compare_record import CellSide, Kind, Side
from lmdm_bench.record import RecordError


@dataclass(frozen=True)
class Sampled:
    """One cell as one process measured it.

    ``name`` is short (scheme · model); ``axes`` tell its workload, precision and policy, and leave
    out what this record does not know. Times are milliseconds of a sample, in order; ``stages``
    have as many as ``service_ms``, ``controls`` as many as there are. There are none unless the
    ``outcome`` is OK.
    """

    name: str
    kind: Kind
    axes: dict[str, str]
    block_seconds: float | None
    outcome: CellSide
    service_ms: tuple[float, ...]
    stages: dict[str, tuple[float, ...]]
    controls: dict[str, tuple[float, ...]]

    def __post_init__(self) -> None:
        if (self.outcome.status == "OK") != bool(self.service_ms):
            raise RecordError(f"{self.name}: a cell has times exactly where it is OK")
        for what, times in {"sample": self.service_ms, **self.stages, **self.controls}.items():
            if times and min(times) <= 0:
                raise RecordError(f"{self.name}: a {what} took {min(times):g} ms, not above 0")


@dataclass(frozen=True)
class Recorded:
    """One record: where it comes from, and its cells."""

    origin: Side
    cells: tuple[Sampled, ...]


@dataclass(frozen=True)
class MeasuredCell:
    """One cell of a side, with all processes that measured it, the oldest first.

    ``axes`` are what any of them knows.
    """

    name: str
    axes: dict[str, str]
    processes: tuple[Sampled, ...]


@dataclass(frozen=True)
class Measured:
    """One side: all records at a path, of one machine. Cells of one name have different axes."""

    side: Side
    cells: tuple[MeasuredCell, ...]


def known_differences(a: dict[str, str], b: dict[str, str]) -> dict[str, str]:
    """What both know and tell differently, as "a against b", in a's order."""
    return {
        key: f"{value} against {b[key]}" for key, value in a.items() if b.get(key, value) != value
    }
