"""From which relative change on a difference matters: the defaults, or a file ``gate.toml``.

::

    schema = 1

    [thresholds]
    block = 0.03
    kernel = 0.02
    codec = 0.03
    memory = 0.0

    [[cell]]
    name = "outpaint*"
    time = 0.05
    memory = 0.01

Everything but the schema may be left out. Of a cell's overrides that match its name, the last one
with a time (a memory) threshold wins.
"""

import tomllib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from lmdm_bench.compare_record import CompareCell, Gate, Override
from lmdm_bench.errors import InputError

DEFAULT_GATE = Gate(block=0.03, kernel=0.02, codec=0.03, memory=0.0, overrides=())
GATE_SCHEMA = 1


def load_gate(path: Path | None) -> Gate:
    """The gate that a file describes, or the default one. Raises InputError in one sentence."""
    if path is None:
        return DEFAULT_GATE
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not TOML: {error}") from error
    try:
        return _gate(found)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def thresholds_of(gate: Gate, cell: CompareCell) -> tuple[float, float]:
    """The relative changes of a cell's time, and of its memory, from which on they matter."""
    time = {"block": gate.block, "kernel": gate.kernel, "codec": gate.codec}[cell.kind]
    memory = gate.memory
    for override in gate.overrides:
        if fnmatchcase(cell.name, override.cell):
            time = time if override.time is None else override.time
            memory = memory if override.memory is None else override.memory
    return time, memory


def _gate(found: Mapping[str, Any]) -> Gate:
    _only({"schema", "thresholds", "cell"}, found, "")
    schema = found.get("schema")
    if schema != GATE_SCHEMA or isinstance(schema, bool):
        raise InputError(f"schema should be {GATE_SCHEMA}, got {schema!r}")
    thresholds = found.get("thresholds", {})
    if not isinstance(thresholds, dict):
        raise InputError("thresholds should be a table, [thresholds]")
    _only({"block", "kernel", "codec", "memory"}, thresholds, "thresholds.")
    cells = found.get("cell", [])
    if not (isinstance(cells, list) and all(isinstance(one, dict) for one in cells)):
        raise InputError("cell should be an array of tables, [[cell]]")
    overrides = tuple(_override(one) for one in cells)
    names = [one.cell for one in overrides]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"cell {name!r} is there twice")

    def of(key: str, default: float) -> float:
        read = _threshold(thresholds, key, "thresholds.")
        return default if read is None else read

    return Gate(
        block=of("block", DEFAULT_GATE.block),
        kernel=of("kernel", DEFAULT_GATE.kernel),
        codec=of("codec", DEFAULT_GATE.codec),
        memory=of("memory", DEFAULT_GATE.memory),
        overrides=overrides,
    )


def _override(found: Mapping[str, Any]) -> Override:
    _only({"name", "time", "memory"}, found, "cell.")
    name = found.get("name")
    if not (isinstance(name, str) and name):
        raise InputError(f"cell.name should be the name of cells, got {name!r}")
    time = _threshold(found, "time", "cell.")
    memory = _threshold(found, "memory", "cell.")
    if time is None and memory is None:
        raise InputError(f"cell {name!r} should have a threshold: time, memory or both")
    return Override(name, time, memory)


def _threshold(found: Mapping[str, Any], key: str, place: str) -> float | None:
    """A number below 1; above 0, but for memory, of which any byte may matter."""
    value = found.get(key)
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and (0 < value < 1 or (key == "memory" and value == 0)):
        return float(value)
    least = "0 or more" if key == "memory" else "more than 0"
    raise InputError(f"{place}{key} should be {least} and less than 1, got {value!r}")


def _only(known: set[str], found: Mapping[str, Any], place: str) -> None:
    unknown = sorted(found.keys() - known)
    if unknown:
        raise InputError(f"{place}{unknown[0]} is not known; known are {', '.join(sorted(known))}")
