"""One side of a comparison from a path: a record of any kind, or a folder of them."""

import json
import re
from pathlib import Path
from typing import Any

from lmdm_bench.check_record import CHECK_SCHEMA_VERSION, CheckRecord
from lmdm_bench.claims_record import CLAIMS_SCHEMA_VERSION, ClaimsRecord
from lmdm_bench.compare_cells import MeasuredRecord, recorded
from lmdm_bench.compare_measured import Measured, Recorded
from lmdm_bench.compare_side import side_of
from lmdm_bench.errors import InputError
from lmdm_bench.kernels_record import KERNELS_SCHEMA_VERSION, KernelsRecord
from lmdm_bench.pytest_benchmark_json import is_pytest_benchmark, recorded_benchmarks
from lmdm_bench.record import SCHEMA_VERSION, Record, RecordError, parse, read_text

# The key of a record's cells, which tells its kind.
KINDS: dict[str, tuple[type, int]] = {
    "cells": (Record, SCHEMA_VERSION),
    "check_cells": (CheckRecord, CHECK_SCHEMA_VERSION),
    "points": (ClaimsRecord, CLAIMS_SCHEMA_VERSION),
    "kernel_cells": (KernelsRecord, KERNELS_SCHEMA_VERSION),
}
COMPARISON = "compared_cells"
# A record can be large: its text is searched for what it is, so that it is parsed once. The first
# of these keys is the record's own.
KIND_KEY = re.compile(rf'"({"|".join((*KINDS, COMPARISON))})"\s*:')
MARK = "schema_version"

COMPARABLE = "records of run, check, claims and kernels, and pytest-benchmark's JSON"


class NoRecordError(InputError):
    """A file that is whole, and holds nothing that could be compared."""


def load_side(path: Path) -> Measured:
    """Everything measured in a record, or in the ``*.json`` of a folder and of its own folders.

    Several records of one cell are several processes of the side. Files of a folder that hold
    nothing to compare are named in the side's ``unavailable``. Raises InputError where there is
    nothing to compare or the records make no side (see ``side_of``); RecordError where one cannot
    be read.
    """
    if not path.is_dir():
        return side_of([_load(path, path.name)], path.name)
    found, others = [], []
    for file in sorted((*path.glob("*.json"), *path.glob("*/*.json"))):
        inside = file.relative_to(path)
        if any(part.startswith(".") for part in inside.parts):
            continue
        try:
            found.append(_load(file, inside.as_posix()))
        except NoRecordError:
            others.append(file.name)
    if not found:
        raise InputError(f"no record in {path}: what can be compared are {COMPARABLE}")
    return side_of(found, path.name or str(path), others)


def _load(path: Path, name: str) -> Recorded:
    """One record. Raises RecordError; NoRecordError where the file is whole and none."""
    data = _record_or_data(path)
    try:
        if isinstance(data, dict):
            return recorded_benchmarks(data, name)
        return recorded(data, name)
    except RecordError as error:
        raise RecordError(f"{path}: {error}") from error


def _record_or_data(path: Path) -> MeasuredRecord | dict[str, Any]:
    """A record, or the data of pytest-benchmark's JSON."""
    text = read_text(path)
    found = KIND_KEY.search(text) if f'"{MARK}"' in text else None
    if found and found[1] == COMPARISON:
        raise NoRecordError(f"{path} is a comparison itself: lmdm-bench report shows it again")
    try:
        if found:
            record: MeasuredRecord = parse(*KINDS[found[1]], text, str(path))
            return record
        data = _data(text, path)
    except RecursionError:
        raise RecordError(f"{path} is nested too deeply to be a record") from None
    if not is_pytest_benchmark(data):
        raise _not_comparable(data, path)
    return data


def _data(text: str, path: Path) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise RecordError(
            f"{path} is not whole JSON (line {error.lineno}: {error.msg}); was it cut off?"
        ) from error
    except ValueError as error:  # NaN, or a number too long to be one
        raise RecordError(f"{path}: {error}") from error


def _refuse_constant(name: str) -> float:
    raise ValueError(f"holds {name}, which is not JSON")


def _not_comparable(data: object, path: Path) -> RecordError | NoRecordError:
    """A record of another kind may hold more than is known here; another file does not."""
    if isinstance(data, dict) and MARK in data:
        return RecordError(f"{path} is a record of another kind: {COMPARABLE} can be compared")
    return NoRecordError(f"{path} is no record: {COMPARABLE} can be compared")
