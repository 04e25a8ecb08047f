"""The index of a folder to which records are only added: ``python -m lmdm_bench.history_index``.

It holds what a history needs of each record, and the record's checksum, so that a record that was
changed or removed after it was indexed is noticed. It can be rebuilt: it is a function of the
records alone. Without ``--write`` it is compared with them, and a difference fails; with it, new
records are added, and nothing is written where one that was indexed is not what it was.

The index of ``reports/data`` is ``reports/data.index.json``, beside the folder: in the folder it
would be among ``*.json``, which are records to everything that reads them all.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from lmdm_bench import estimates
from lmdm_bench.any_record import AnyRecord, load_any
from lmdm_bench.check_record import CheckRecord
from lmdm_bench.claims_record import ClaimsRecord
from lmdm_bench.compare_cells import recorded
from lmdm_bench.compare_record import (
    CellSide,
    CompareCell,
    CompareRecord,
    Kind,
)
from lmdm_bench.errors import InputError
from lmdm_bench.kernels_record import KernelsRecord
from lmdm_bench.record import Estimate, RecordError, parse, read_text, write_whole

INDEX_SCHEMA_VERSION = 1
INDEX_ENDING = ".index.json"

RecordKind = Literal["run", "check", "claims", "kernels", "compare"]
SideName = Literal["a", "b"]
SIDES: tuple[SideName, ...] = ("a", "b")

# What a machine cannot do has no history there.
UNSUPPORTED = "UNSUPPORTED"
# Further digits of a median mean nothing, and may differ from one version of NumPy to the next.
SIGNIFICANT_DIGITS = 6


@dataclass(frozen=True)
class IndexedCell:
    """A cell of a record: its ``median_ms`` is of one block or call, or None with the reason.

    A cell that the machine does not support is none of the index's.
    """

    name: str
    kind: Kind
    axes: dict[str, str]
    median_ms: Estimate


@dataclass(frozen=True)
class Entry:
    """What one record measured of one revision.

    A comparison has an entry for each of its sides, any other record one, whose ``side`` is None.
    A comparison of records measured nothing itself, so its sides have no cells.
    """

    file: str
    sha256: str
    kind: RecordKind
    side: SideName | None
    created: str
    git_commit: str | None
    git_is_dirty: bool | None
    machine: str
    device: str
    dtype: str
    indexed_cells: tuple[IndexedCell, ...]


@dataclass(frozen=True)
class Index:
    """All entries, by their files' names and sides."""

    schema_version: int
    entries: tuple[Entry, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, or write. Returns 0 where all agrees, else 1 with sentences on standard error."""
    parser = argparse.ArgumentParser(prog="python -m lmdm_bench.history_index", description=__doc__)
    parser.add_argument("root", nargs="?", type=Path, default=Path(), help="the repository")
    parser.add_argument("--write", action="store_true", help="add entries instead of comparing")
    asked = parser.parse_args(arguments)
    folder = asked.root / "reports" / "data"
    try:
        complaints = update_index(folder) if asked.write else _complaints(folder)
    except (RecordError, InputError, OSError) as error:
        complaints = [str(error)]
    for complaint in complaints:
        sys.stderr.write(f"{complaint}\n")
    return 1 if complaints else 0


def index_path(folder: Path) -> Path:
    """Where the index of a folder of records is: beside it."""
    whole = folder.resolve()
    return whole.with_name(f"{whole.name}{INDEX_ENDING}")


def rebuild(folder: Path) -> Index:
    """The index of the records that are there. Raises RecordError on one that cannot be read."""
    entries = [one for path in _paths(folder) for one in _entries(path)]
    return Index(INDEX_SCHEMA_VERSION, tuple(entries))


def check_index(index: Index, folder: Path) -> list[str]:
    """A sentence for each way in which the index is not that of the records; none where it is.

    Raises RecordError as ``rebuild``, and only where no record was changed or removed.
    """
    found = _broken(index, folder)
    if found:
        return found
    indexed = {one.file for one in index.entries}
    new = [path.name for path in _paths(folder) if path.name not in indexed]
    if new:
        return [f"{name} is not indexed yet; --write adds it." for name in new]
    if index != rebuild(folder):
        return [f"{index_path(folder).name} is not what its records give; --write rebuilds it."]
    return []


def update_index(folder: Path) -> list[str]:
    """Write the index of what is there now, or nothing and a sentence for each broken record.

    Raises RecordError as ``rebuild`` and ``load_index``.
    """
    path = index_path(folder)
    if path.exists():
        broken = _broken(load_index(path), folder)
        if broken:
            return broken
    save_index(rebuild(folder), path)
    return []


def fresh_index(folder: Path) -> tuple[Index, str | None]:
    """The folder's index: as it was written if it is of these records, else rebuilt, and why.

    Raises InputError where the folder has no records, RecordError as ``rebuild``.
    """
    if not _paths(folder):
        raise InputError(f"{folder} holds no records (*.json)")
    path = index_path(folder)
    try:
        index = load_index(path)
    except RecordError:
        there = "cannot be read" if path.exists() else "is not there"
        return rebuild(folder), f"{path.name} {there}: the records are read instead."
    if {one.file: one.sha256 for one in index.entries} == _checksums(folder):
        return index, None
    return rebuild(folder), f"{path.name} is not of these records: they are read instead."


def load_index(path: Path) -> Index:
    """Read an index. Raises RecordError in one sentence, whatever is wrong with it."""
    index: Index = parse(Index, INDEX_SCHEMA_VERSION, read_text(path), str(path))
    return index


def save_index(index: Index, path: Path) -> None:
    """Write the index, whole or not at all."""
    write_whole(path, _text(index).encode("utf-8"))


def _complaints(folder: Path) -> list[str]:
    path = index_path(folder)
    if not path.exists():
        return [f"{path.name} is missing; --write makes it."]
    return check_index(load_index(path), folder)


def _paths(folder: Path) -> list[Path]:
    """The folder's records; an index of one of its own folders is none."""
    return sorted(one for one in folder.glob("*.json") if not one.name.endswith(INDEX_ENDING))


def _checksums(folder: Path) -> dict[str, str]:
    return {path.name: _sha256(path) for path in _paths(folder)}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _broken(index: Index, folder: Path) -> list[str]:
    """The records that were indexed and are not what they were."""
    now = _checksums(folder)
    found = []
    for file, sha256 in {one.file: one.sha256 for one in index.entries}.items():
        if file not in now:
            found.append(f"{file} was indexed and is gone; records are only ever added.")
        elif now[file] != sha256:
            found.append(f"{file} was changed after it was indexed; records are only ever added.")
    return found


def _text(index: Index) -> str:
    """JSON with a line for each cell, so that a difference shows which cells are new."""
    entries = ",\n".join(map(_entry_text, index.entries))
    return f'{{\n "schema_version": {index.schema_version},\n "entries": [\n{entries}\n ]\n}}\n'


def _entry_text(entry: Entry) -> str:
    fields = asdict(entry)
    cells = ",\n".join(f"    {_line(one)}" for one in fields.pop("indexed_cells"))
    lines = [f"   {json.dumps(name)}: {_line(value)}" for name, value in fields.items()]
    lines.append(f'   "indexed_cells": [\n{cells}\n   ]' if cells else '   "indexed_cells": []')
    return "  {\n" + ",\n".join(lines) + "\n  }"


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _entries(path: Path) -> Iterator[Entry]:
    """Raises RecordError that names the file."""
    record = load_any(path)
    if isinstance(record, CompareRecord):
        yield from _compare_entries(path, record)
        return
    try:
        found = recorded(record, path.name)
    except RecordError as error:
        raise RecordError(f"{path}: {error}") from error
    cells = [
        IndexedCell(one.name, one.kind, one.axes, _median(one.service_ms, one.outcome))
        for one in found.cells
        if one.outcome.status != UNSUPPORTED
    ]
    yield Entry(
        file=path.name,
        sha256=_sha256(path),
        kind=_kind(record),
        side=None,
        created=record.created,
        git_commit=record.tool.git_commit,
        git_is_dirty=record.tool.git_is_dirty,
        machine=record.machine.name,
        device=record.settings.device.value,
        dtype=record.settings.dtype.value,
        indexed_cells=_in_order(cells),
    )


def _compare_entries(path: Path, record: CompareRecord) -> Iterator[Entry]:
    is_measured = record.settings.source == "revisions"
    for name, side in zip(SIDES, (record.a, record.b), strict=True):
        compared = record.compared_cells if is_measured else ()
        cells = [cell for one in compared if (cell := _compare_cell(one, name)) is not None]
        yield Entry(
            file=path.name,
            sha256=_sha256(path),
            kind="compare",
            side=name,
            created=record.created,
            git_commit=side.git_commit,
            git_is_dirty=side.git_is_dirty,
            machine=side.machine,
            device=record.settings.device,
            dtype=record.settings.dtype,
            indexed_cells=_in_order(cells),
        )


def _compare_cell(cell: CompareCell, side: SideName) -> IndexedCell | None:
    """One side of a compared cell, the samples of all its processes together."""
    is_a = side == "a"
    outcome = cell.a if is_a else cell.b
    if outcome.status == UNSUPPORTED:
        return None
    both = [process.service for process in cell.processes]
    times_ms = [ms for times in both for ms in (times.a_ms if is_a else times.b_ms)]
    return IndexedCell(cell.name, cell.kind, cell.axes, _median(times_ms, outcome))


def _in_order(cells: Iterable[IndexedCell]) -> tuple[IndexedCell, ...]:
    return tuple(sorted(cells, key=lambda one: (one.name, sorted(one.axes.items()))))


def _kind(record: AnyRecord) -> RecordKind:
    if isinstance(record, CheckRecord):
        return "check"
    if isinstance(record, ClaimsRecord):
        return "claims"
    return "kernels" if isinstance(record, KernelsRecord) else "run"


def _median(times_ms: Sequence[float], outcome: CellSide) -> Estimate:
    """With an interval, or None and why: the cell's own end, or too few samples."""
    n, needed = len(times_ms), estimates.needed_blocks(0.5)
    if outcome.status != "OK":
        reason = f"{outcome.status}: {outcome.reason}"
        return Estimate(None, None, 0, estimates.QUANTILE_METHOD, reason)
    if n < needed:
        return Estimate(None, None, n, estimates.QUANTILE_METHOD, f"needs {needed} samples")
    found = estimates.quantile(times_ms, 0.5)
    assert found.value is not None and found.ci95 is not None, "there are enough samples"
    low, high = found.ci95
    return replace(found, value=_rounded(found.value), ci95=(_rounded(low), _rounded(high)))


def _rounded(value: float) -> float:
    return float(f"{value:.{SIGNIFICANT_DIGITS - 1}e}")


if __name__ == "__main__":
    sys.exit(main())
