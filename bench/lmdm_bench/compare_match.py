"""Two sides' cells matched by name and axes, as the record of a comparison.

Cells of one name whose workload, precision or policy differ are refused; another machine is not.
"""

import dataclasses
import datetime
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path

from lmdm_bench.compare_cells import axis_words
from lmdm_bench.compare_machines import is_same_machine, machine_differences
from lmdm_bench.compare_measured import Measured, MeasuredCell, Sampled, known_differences
from lmdm_bench.compare_record import (
    COMPARE_SCHEMA_VERSION,
    CellSide,
    CompareCell,
    CompareRecord,
    CompareSettings,
    Gate,
    Misses,
    Process,
    Side,
    Times,
)
from lmdm_bench.compare_sources import load_side
from lmdm_bench.errors import InputError
from lmdm_bench.record import Status
from lmdm_bench.tool import describe_tool

# What another machine changes by itself.
MACHINE_AXES = ("device", "threads", "linear")
# The worst first.
NOT_OK: tuple[Status, ...] = ("INCORRECT", "FAILED", "OOM", "UNSUPPORTED", "INTERRUPTED")
UNKNOWN = "unknown"
MOST_NAMES = 6
LETTERS_OF_A_DATE = 16

Pair = tuple[str, MeasuredCell, MeasuredCell]


def compare_records(a: Path, b: Path, gate: Gate, command: str) -> CompareRecord:
    """What was measured before at two paths, as a comparison; see ``match``."""
    return match(load_side(a), load_side(b), gate, command)


def match(a: Measured, b: Measured, gate: Gate, command: str) -> CompareRecord:
    """The comparison of two sides that were measured before.

    Raises InputError where a cell of one name is not the same work on both sides, naming the axes
    that differ, and where the sides have no cell in common.
    """
    pairs, only_a, only_b = _matched(a, b)
    if not pairs:
        raise InputError(_nothing_in_common(a, b))
    facts = a.side.machine_facts, b.side.machine_facts
    is_same = is_same_machine(*facts)
    _refuse_differing(pairs, allowed=() if is_same else MACHINE_AXES)
    differing = machine_differences(*facts)
    differing |= known_differences(a.side.packages, b.side.packages)
    for _, cell_a, cell_b in pairs:
        differing |= known_differences(cell_a.axes, cell_b.axes)
    return CompareRecord(
        schema_version=COMPARE_SCHEMA_VERSION,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        tool=describe_tool(),
        a=_named(a.side, b.side),
        b=_named(b.side, a.side),
        settings=CompareSettings(
            command=command,
            source="records",
            seed=0,
            minutes=None,
            is_paired=False,
            is_same_machine=is_same,
            differing=differing,
            only_a=only_a,
            only_b=only_b,
            device=_values("device", pairs),
            dtype=_values("dtype", pairs),
            gate=gate,
            is_interrupted=False,
        ),
        compared_cells=tuple(_compared(*pair) for pair in pairs),
    )


def _matched(a: Measured, b: Measured) -> tuple[list[Pair], tuple[str, ...], tuple[str, ...]]:
    """The cells that both sides have, and the names of the others.

    What is unsupported on one machine, and on the other too or not asked of it, is left out.
    """
    pairs: list[Pair] = []
    only_a: list[str] = []
    only_b: list[str] = []
    for cells_a, cells_b in _of_one_name(a, b):
        telling = _telling_axes(cells_a, cells_b)
        by_name_a = {_full_name(cell, telling): cell for cell in cells_a}
        by_name_b = {_full_name(cell, telling): cell for cell in cells_b}
        for name in dict.fromkeys((*by_name_a, *by_name_b)):
            cell_a, cell_b = by_name_a.get(name), by_name_b.get(name)
            if all(cell is None or _is_unsupported(cell) for cell in (cell_a, cell_b)):
                continue
            if cell_a and cell_b:
                pairs.append((name, cell_a, cell_b))
            else:
                (only_a if cell_a else only_b).append(name)
    return pairs, tuple(only_a), tuple(only_b)


def _of_one_name(
    a: Measured, b: Measured
) -> Iterable[tuple[list[MeasuredCell], list[MeasuredCell]]]:
    """Both sides' cells of each short name, in order."""
    found: dict[str, tuple[list[MeasuredCell], list[MeasuredCell]]] = {}
    for index, side in enumerate((a, b)):
        for cell in side.cells:
            found.setdefault(cell.name, ([], []))[index].append(cell)
    return found.values()


def _telling_axes(*sides: Sequence[MeasuredCell]) -> list[str]:
    """As few axes as tell the cells of each side apart; none where a side has but one."""
    telling: list[str] = []
    for axis in dict.fromkeys(axis for cells in sides for cell in cells for axis in cell.axes):
        more = [*telling, axis]
        if any(_num_told(cells, more) > _num_told(cells, telling) for cells in sides):
            telling = more
    return telling


def _num_told(cells: Sequence[MeasuredCell], axes: Sequence[str]) -> int:
    return len({_full_name(cell, axes) for cell in cells})


def _full_name(cell: MeasuredCell, telling: Sequence[str]) -> str:
    values = [f"{axis_words(axis)} {cell.axes.get(axis, UNKNOWN)}" for axis in telling]
    return " · ".join((cell.name, *values))


def _refuse_differing(pairs: Sequence[Pair], allowed: Sequence[str]) -> None:
    refused = []
    for name, a, b in pairs:
        differing = known_differences(a.axes, b.axes)
        told = [
            f"{axis_words(axis)} {how}" for axis, how in differing.items() if axis not in allowed
        ]
        if told:
            refused.append(f"cannot compare {name}: {'; '.join(told)}")
    if refused:
        others = f" (and so for {len(refused) - 1} more)" if len(refused) > 1 else ""
        raise InputError(refused[0] + others)


def _nothing_in_common(a: Measured, b: Measured) -> str:
    told = [f"{one.side.name} has {_names(cell.name for cell in one.cells)}" for one in (a, b)]
    return f"nothing to compare: {'; '.join(told)}"


def _names(names: Iterable[str]) -> str:
    found = list(dict.fromkeys(names))
    more = len(found) - MOST_NAMES
    shown = ", ".join(found[:MOST_NAMES]) or "no cell"
    return f"{shown} and {more} more" if more > 0 else shown


def _compared(name: str, a: MeasuredCell, b: MeasuredCell) -> CompareCell:
    first = a.processes[0]
    differing = known_differences(a.axes, b.axes)
    return CompareCell(
        name=name,
        kind=first.kind,
        axes={axis: value for axis, value in (a.axes | b.axes).items() if axis not in differing},
        block_seconds=first.block_seconds,
        a=_outcome(a),
        b=_outcome(b),
        processes=_processes(_timed(a), _timed(b)),
    )


def _timed(cell: MeasuredCell) -> list[Sampled]:
    return [one for one in cell.processes if one.service_ms]


def _processes(a: Sequence[Sampled], b: Sequence[Sampled]) -> tuple[Process, ...]:
    """Side by side in the order in which they were measured; the shorter side is filled up with
    processes without samples."""
    return tuple(
        Process(
            is_confirming=False,
            b_first=(),
            service=Times(*(one.service_ms if one else () for one in pair)),
            stages=_times(*(one.stages if one else {} for one in pair)),
            controls=_times(*(one.controls if one else {} for one in pair)),
        )
        for pair in zip_longest(a, b)
    )


def _times(a: dict[str, tuple[float, ...]], b: dict[str, tuple[float, ...]]) -> dict[str, Times]:
    return {name: Times(a.get(name, ()), b.get(name, ())) for name in a | b}


def _outcome(cell: MeasuredCell) -> CellSide:
    """How the cell went in all processes: the worst of each thing that is told."""
    outcomes = [one.outcome for one in cell.processes]
    failed = [one for one in outcomes if one.status != "OK"]
    if failed:
        return min(failed, key=lambda one: NOT_OK.index(one.status))
    worst = max(outcomes, key=lambda one: one.error or 0.0)
    memory: dict[str, int] = {}
    for one in outcomes:
        memory |= {key: max(memory.get(key, 0), held) for key, held in one.memory_bytes.items()}
    missed = [one.misses for one in outcomes if one.misses is not None]
    return CellSide("OK", None, worst.error, worst.budget, memory, _sum(missed))


def _is_unsupported(cell: MeasuredCell) -> bool:
    return _outcome(cell).status == "UNSUPPORTED"


def _sum(missed: Sequence[Misses]) -> Misses | None:
    if not missed:
        return None
    return Misses(
        num_due=sum(one.num_due for one in missed),
        num_misses=sum(one.num_misses for one in missed),
        num_dropouts=sum(one.num_dropouts for one in missed),
        playing_hours=sum(one.playing_hours for one in missed),
    )


def _named(side: Side, other: Side) -> Side:
    """With its date, where both have one name."""
    if side.name != other.name or side.created is None:
        return side
    date = side.created[:LETTERS_OF_A_DATE].replace("T", " ")
    return dataclasses.replace(side, name=f"{side.name} of {date}")


def _values(axis: str, pairs: Sequence[Pair]) -> str:
    told = dict.fromkeys(cell.axes.get(axis, UNKNOWN) for _, *cells in pairs for cell in cells)
    return " and ".join(told)
