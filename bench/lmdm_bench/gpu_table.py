"""What is printed of GPUs that are not here: their table, and finding one by the name it goes by.

Peaks are dense, of half-precision products that are summed in float32. A laptop's GPU is sold with
a range of power limits, and its clock with it: such figures are (at the lowest limit, at the
highest). Each row has its sources; ``test_gpu_table.py`` holds the rows to what physics says.
"""

import difflib
import functools
import json
import re
from dataclasses import dataclass, replace
from importlib import resources
from typing import Literal

from lmdm_bench.errors import InputError
from lmdm_bench.record import RecordError, decode

Family = Literal["nvidia", "amd", "intel", "apple"]

# At the lowest and at the highest power limit, or of the smaller and the larger kind of a chip.
Span = tuple[float, float]

MOST_NAMES_TOLD = 4


@dataclass(frozen=True)
class GpuSpec:
    """One row. ``num_units`` are multiprocessors, compute units or Apple's cores.

    ``matrix_tflops`` are of half-precision products: tensor cores, or plain units where there are
    none. None is what no source prints: a clock, an L2 cache (AMD's Infinity Cache left out), a
    power limit.
    """

    name: str
    chip: str
    family: Family
    is_laptop: bool
    num_units: int
    flops_per_clock_per_unit: int | None
    boost_mhz: Span | None
    matrix_tflops: Span
    fp32_tflops: Span
    has_bfloat16: bool
    bandwidth_gb_per_second: Span
    memory_gib: Span
    cache_mib: float | None
    power_watts: Span | None
    sources: tuple[str, ...]
    note: str | None

    @property
    def dtype(self) -> str:
        """The half precision to run in: bfloat16 where the chip has it."""
        return "bfloat16" if self.has_bfloat16 else "float16"

    def flops_per_second(self, dtype: str) -> Span:
        """The printed peak in a dtype."""
        low, high = self.fp32_tflops if dtype == "float32" else self.matrix_tflops
        return low * 1e12, high * 1e12

    def at_power(self, watts: float) -> "GpuSpec":
        """The laptop's GPU at one power limit: its clock, and all that goes with it, lie as far
        between their ends as the limit does.

        Raises InputError where no range is printed, or the limit is outside of it.
        """
        if self.power_watts is None or self.power_watts[0] == self.power_watts[1]:
            raise InputError(f"the table has no range of power limits for {self.name}")
        low, high = self.power_watts
        if not low <= watts <= high:
            raise InputError(f"{self.name} is sold with {low:g} to {high:g} W, got {watts:g} W")
        part = (watts - low) / (high - low)

        def at(span: Span) -> Span:
            value = span[0] + part * (span[1] - span[0])
            return value, value

        return replace(
            self,
            boost_mhz=None if self.boost_mhz is None else at(self.boost_mhz),
            matrix_tflops=at(self.matrix_tflops),
            fp32_tflops=at(self.fp32_tflops),
            bandwidth_gb_per_second=at(self.bandwidth_gb_per_second),
            power_watts=(watts, watts),
        )


@functools.cache
def gpu_table() -> tuple[GpuSpec, ...]:
    """All rows, in the order of the file."""
    text = resources.files("lmdm_bench").joinpath("gpus.json").read_text(encoding="utf-8")
    try:
        rows: tuple[GpuSpec, ...] = decode(tuple[GpuSpec, ...], json.loads(text), "gpus.json")
    except (json.JSONDecodeError, RecordError) as error:
        raise RuntimeError(f"the GPU table was damaged: {error}") from error
    return rows


def find_gpu(name: str) -> GpuSpec:
    """The row that a user, a shop or a driver calls so.

    Makers, "laptop" or "mobile", spaces and case do not matter; neither does a size of memory that
    tells nothing apart. Raises InputError where no row or several have the name, with the nearest.
    """
    asked = _words(name)
    sizes = {
        row: len(_told_apart_by(row) - asked) for row in gpu_table() if asked <= _words(row.name)
    }
    if not asked or not sizes:
        raise InputError(f"no GPU {name!r} in the table; {_nearest(name)}")
    least = min(sizes.values())
    found = [row for row, size in sizes.items() if size == least]
    if len(found) > 1:
        names = ", ".join(row.name for row in found[:MOST_NAMES_TOLD])
        raise InputError(f"the GPU {name!r} could be any of {names}")
    return found[0]


# Words that tell no row from another, other words for "mobile", and series that people leave out.
_MAKERS = ("nvidia", "geforce", "tesla", "quadro", "amd", "radeon", "intel", "apple")
_CASES = ("macbook", "mac", "air", "mini", "imac", "studio")
_OTHERS = ("gpu", "graphics", "card", "generation", "with", "hbm2", "hbm3", "gddr6", "gddr7")
_MUTE = frozenset((*_MAKERS, *_CASES, *_OTHERS))
_MOBILE = frozenset({"laptop", "notebook", "maxq"})
_SERIES = frozenset({"rtx", "gtx", "rx"})
_MEMORY = re.compile(r"\d+gb")
# "rtx4060ti" is three words and "m2max" two; "m4", "l40s", "a2000" and "b580" are one.
_PARTS = re.compile(
    r"rtx|gtx|rx|\d+gb|ti|super|xtx|xt|m\d(?=pro|max|ultra)|[a-z]+\d+[a-z]?(?![a-z])|\d+|[a-z]+"
)


def _words(name: str) -> frozenset[str]:
    """What a name says, whoever writes it."""
    joined = re.sub(r"(\d+)[\s_-]*(?:gb|gib)\b", r"\1gb", name.lower().replace("max-q", "maxq"))
    words = set()
    for chunk in re.findall(r"[a-z0-9]+", joined):
        words.update(_PARTS.findall(chunk))
    words = {"mobile" if one in _MOBILE else one for one in words}
    return frozenset(words - _MUTE)


def _told_apart_by(row: GpuSpec) -> frozenset[str]:
    """A row's words without those that people leave out: its series, and its memory's size."""
    words = _words(row.name) - _SERIES
    return frozenset(one for one in words if not _MEMORY.fullmatch(one))


def _nearest(name: str) -> str:
    """The rows of the same number, else of the same words, those with the most letters first."""
    asked = _words(name)
    numbers = {one for one in asked if any(map(str.isdigit, one)) and not _MEMORY.fullmatch(one)}

    def likeness(row: GpuSpec) -> float:
        return difflib.SequenceMatcher(None, name.lower(), row.name.lower()).ratio()

    near = [row for row in gpu_table() if numbers & _words(row.name)]
    near = near or [row for row in gpu_table() if asked & _words(row.name)]
    if not near:
        return "lmdm-bench predict --all shows what is there"
    near = sorted(near, key=likeness, reverse=True)[:MOST_NAMES_TOLD]
    return f"the nearest are {', '.join(row.name for row in near)}"
