"""The records of one side put together: one machine, and each cell with all its processes."""

from collections.abc import Iterable, Sequence

from lmdm_bench.compare_machines import IDENTITY
from lmdm_bench.compare_measured import (
    Measured,
    MeasuredCell,
    Recorded,
    Sampled,
    known_differences,
)
from lmdm_bench.compare_record import Side
from lmdm_bench.errors import InputError

COMMIT_LETTERS = 7
GIT_COMMIT = "git_commit"
FILES = "files"

# A process with the record that it is in.
Found = tuple[Side, Sampled]


def side_of(records: Sequence[Recorded], name: str, others: Sequence[str] = ()) -> Measured:
    """One side of at least one record; ``others`` are names of files that were no records.

    Raises InputError where the records are not of one machine, where one cell was measured at two
    commits, or where a process is there twice.
    """
    in_order = sorted(records, key=lambda one: one.origin.created or "")
    origins = [one.origin for one in in_order]
    _check_machine(name, origins)
    side = _merged(name, origins, others)
    processes = [(one.origin, sampled) for one in in_order for sampled in one.cells]
    return Measured(side, tuple(_cell(name, group) for group in _groups(processes)))


def _check_machine(name: str, origins: Sequence[Side]) -> None:
    for one in origins:
        for other in origins:
            differing = known_differences(one.machine_facts, other.machine_facts)
            for fact in IDENTITY:
                if fact in differing:
                    raise InputError(
                        f"{name} has records of two machines, {fact} {differing[fact]} "
                        f"({one.name}, {other.name}): a side is of one machine"
                    )


def _merged(name: str, origins: Sequence[Side], others: Sequence[str]) -> Side:
    unavailable = {key: why for one in origins for key, why in one.unavailable.items()}
    commits = tuple(dict.fromkeys(one.git_commit for one in origins))
    commit = commits[0] if len(commits) == 1 else None
    if len(commits) > 1:
        told = ", ".join(_short(one) for one in commits)
        unavailable[GIT_COMMIT] = f"its records are of several commits: {told}"
    if others:
        unavailable[FILES] = f"no records, and left out: {', '.join(others)}"
    return Side(
        name=name,
        git_commit=commit,
        git_is_dirty=None if commit is None else any(one.git_is_dirty for one in origins),
        machine=origins[0].machine,
        machine_facts=_joined(one.machine_facts for one in origins),
        packages=_joined(one.packages for one in origins),
        created=origins[-1].created,
        unavailable=unavailable,
    )


def _joined(tables: Iterable[dict[str, str]]) -> dict[str, str]:
    """What all of them tell; several values are joined, in order."""
    values: dict[str, list[str]] = {}
    for table in tables:
        for name, value in table.items():
            told = values.setdefault(name, [])
            if value not in told:
                told.append(value)
    return {name: " and ".join(told) for name, told in values.items()}


def _groups(processes: Sequence[Found]) -> list[list[Found]]:
    """The processes of each cell: of one name, and of axes that do not contradict each other."""
    groups: dict[str, list[tuple[dict[str, str], list[int]]]] = {}
    # Those that know the most axes come first, so that the others find where they belong.
    for index in sorted(range(len(processes)), key=lambda at: -len(processes[at][1].axes)):
        sampled = processes[index][1]
        of_name = groups.setdefault(sampled.name, [])
        agreeing = (one for one in of_name if not known_differences(one[0], sampled.axes))
        axes, members = next(agreeing, ({}, []))
        if not members:
            of_name.append((axes, members))
        axes.update(sampled.axes)
        members.append(index)
    in_order = sorted(sorted(members) for of_name in groups.values() for _, members in of_name)
    return [[processes[index] for index in members] for members in in_order]


def _cell(name: str, processes: Sequence[Found]) -> MeasuredCell:
    sampled = tuple(one for _, one in processes)
    cell = sampled[0].name
    commits = [one.git_commit for one, _ in processes if one.git_commit is not None]
    for commit in commits[1:]:
        if commit != commits[0]:
            raise InputError(
                f"{name} has {cell} at two commits, {_short(commits[0])} and {_short(commit)}: "
                "a side is of one state of the code"
            )
    first_with: dict[tuple[float, ...], str] = {}
    for origin, one in processes:
        if one.service_ms and first_with.setdefault(one.service_ms, origin.name) != origin.name:
            raise InputError(
                f"{first_with[one.service_ms]} and {origin.name} of {name} hold the same times of "
                f"{cell}: one is a copy of the other"
            )
    axes = {axis: value for one in sampled for axis, value in one.axes.items()}
    return MeasuredCell(cell, axes, sampled)


def _short(commit: str | None) -> str:
    return "unknown" if commit is None else commit[:COMMIT_LETTERS]
