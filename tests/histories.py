"""Example indexes whose plateaus are planted, for the tests of everything that shows a history."""

import hashlib
import math
from collections.abc import Sequence

import numpy as np

from lmdm_bench.compare_record import Kind
from lmdm_bench.history_index import (
    INDEX_SCHEMA_VERSION,
    Entry,
    Index,
    IndexedCell,
    RecordKind,
)
from lmdm_bench.record import Estimate

CELL = "block-causal · sao-small"
KERNEL = "range · encoder-decoder-step 192+48 · sao-small · batch 1 · warm"
EPYC = "AMD EPYC, 2 cores, 23 GiB, Linux"
H200 = "NVIDIA H200, AMD EPYC, 16 cores, 128 GiB, Linux"
# What the records' medians differ by, and each one's own error (log).
SPREAD = 0.012
OWN_ERROR = 0.008


def commit(number: int) -> str:
    """A commit's hash, the same in every test."""
    return hashlib.sha1(f"commit {number}".encode()).hexdigest()


def median(milliseconds: float, error: float = OWN_ERROR) -> Estimate:
    width = math.exp(1.96 * error)
    ends = (milliseconds / width, milliseconds * width)
    return Estimate(milliseconds, ends, 48, "order statistics", None)


def untold(reason: str) -> Estimate:
    return Estimate(None, None, 0, "order statistics", reason)


def cell(told: Estimate, name: str = CELL, kind: Kind = "block", **axes: str) -> IndexedCell:
    return IndexedCell(name, kind, {"steps": "8", "sampler": "pingpong"} | axes, told)


def entry(
    number: int,
    *cells: IndexedCell,
    machine: str = EPYC,
    device: str = "cpu",
    kind: RecordKind = "run",
    is_dirty: bool | None = False,
) -> Entry:
    """The record of the commit of this number, made on the day of that number."""
    file = f"schemes-bf16_{'h200' if machine == H200 else 'epyc'}_{number:03d}.json"
    return Entry(
        file=file,
        sha256=hashlib.sha256(file.encode()).hexdigest(),
        kind=kind,
        side=None,
        created=f"2026-{1 + number // 28:02d}-{1 + number % 28:02d}T12:00:00+00:00",
        git_commit=commit(number),
        git_is_dirty=is_dirty,
        machine=machine,
        device=device,
        dtype="bfloat16",
        indexed_cells=cells,
    )


def index(*entries: Entry) -> Index:
    return Index(INDEX_SCHEMA_VERSION, entries)


def around(plateaus: Sequence[float], num_records: int, seed: int = 0) -> list[float]:
    """Medians about these plateaus, so many records at each."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.asarray(plateaus, float), num_records)
    return [float(one) for one in truth * rng.lognormal(0, SPREAD, truth.size)]


def stepping() -> Index:
    """Two changes on one machine, none on the other; one record has no time, one was dirty."""
    epyc = [
        entry(at, cell(median(ms)), is_dirty=at == 3)
        for at, ms in enumerate(around((312.0, 344.0, 281.0), 6))
    ]
    epyc[8] = entry(8, cell(untold("OOM: needs 14.1 GiB more than the 3.9 GiB that are free")))
    h200 = [
        entry(at, cell(median(ms, 0.002)), machine=H200, device="cuda:0")
        for at, ms in zip((1, 4, 9, 12, 17), around((9.4,), 5, seed=1), strict=True)
    ]
    return index(*epyc, *h200)


def many() -> Index:
    """A hundred records with five changes."""
    times = around((300.0, 330.0, 310.0, 260.0, 305.0, 240.0), 17)[:100]
    return index(*(entry(at, cell(median(ms))) for at, ms in enumerate(times)))


def one_point() -> Index:
    return index(entry(0, cell(median(312.0))))


def nothing_timed() -> Index:
    return index(entry(0, cell(untold("needs 6 blocks"))), entry(1, cell(untold("OOM: too big"))))


def kernels() -> Index:
    """A kernel of a fraction of a millisecond that became faster once, and once much slower."""
    times = around((0.0421, 0.0402, 0.131), 5, seed=2)
    rows = [
        entry(at, cell(median(ms, 0.004), KERNEL, "kernel"), kind="kernels")
        for at, ms in enumerate(times)
    ]
    return index(*rows)


EXAMPLES = {
    "stepping": stepping,
    "many": many,
    "one point": one_point,
    "nothing timed": nothing_timed,
    "kernels": kernels,
}
