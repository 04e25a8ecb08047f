"""What a revision's packages need, and whether this installation is the same to them."""

import importlib.metadata
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lmdm_bench.errors import InputError

PROJECT_FILE = "pyproject.toml"
CONSTRAINTS_FILE = "constraints.txt"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Requirements:
    """The declared dependencies and the lines of the constraints, without spaces or comments."""

    dependencies: frozenset[str]
    constraints: frozenset[str]


def requirements_of(folder: Path) -> Requirements:
    """Those of the revision in that folder. Raises InputError, OSError."""
    try:
        declared = tomllib.loads((folder / PROJECT_FILE).read_text(encoding="utf-8"))
        dependencies = declared.get("project", {}).get("dependencies", [])
    except ValueError as error:
        raise InputError(f"{PROJECT_FILE} cannot be read: {error}") from error
    constraints = folder / CONSTRAINTS_FILE
    lines = constraints.read_bytes().decode(errors="replace") if constraints.exists() else ""
    return Requirements(_bare(dependencies), _bare(lines.splitlines()))


def differing(wanted: Requirements, here: Requirements) -> tuple[str, ...]:
    """Packages that this installation, made for ``here``, may not have as they are wanted.

    A dependency that is only here is no matter, nor is another version of a package that nothing
    wanted takes in, as those for tests. Which package takes in which is read from what is
    installed.
    """
    taken_in = _taken_in(map(_package, wanted.dependencies))
    pins = {_package(line) for line in wanted.constraints ^ here.constraints}
    asked = {_package(line) for line in wanted.dependencies - here.dependencies}
    return tuple(sorted(asked | (pins & taken_in)))


def _bare(lines: Iterable[str]) -> frozenset[str]:
    bare = (re.sub(r"(^|\s)#.*", "", line) for line in lines)
    return frozenset("".join(line.split()) for line in bare) - {""}


def _package(line: str) -> str:
    """The package that a requirement is of, as installers compare names."""
    found = _NAME.match(line)
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else line


def _taken_in(names: Iterable[str]) -> set[str]:
    """These packages, those they need, and those that these need."""
    waiting, seen = list(names), set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            needed = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        waiting += [_package(line) for line in needed if "extra" not in line.partition(";")[2]]
    return seen
