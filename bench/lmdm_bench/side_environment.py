"""The interpreter environment of one side: its own packages first, then what they depend on."""

import json
import os
import py_compile
import subprocess
import sys
import sysconfig
import venv
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmdm_bench.build_error import step
from lmdm_bench.errors import InputError
from lmdm_bench.side_requirements import CONSTRAINTS_FILE, Requirements, differing, requirements_of
from lmdm_bench.tool import PACKAGES
from lmdm_bench.worktree import LaidOut

# What a side must have of its own, and the folder that it is in.
OWN_PACKAGES = {"lmdm_ref": "", "lmdm_kernels": "kernels", "lmdm_bench": "bench"}
# What is started in a side; revisions that are older than comparisons do not have it.
WORKER_MODULE = "lmdm_bench.suite_worker"
SHARED = "shared with this installation: same requirements"
ANEW = "installed anew"
IMPORT_TIMEOUT_SECONDS = 600
# The interpreter itself is asked: looking pip up here would go through setuptools' import hook,
# which warns of modules that others have imported.
_NO_PIP = ": No module named pip"
# What would lead a side's interpreter to other modules, or pip to other versions.
_MISLEADING = (
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "PYTHONPLATLIBDIR",
    "PYTHONEXECUTABLE",
    "PYTHONINSPECT",
    "__PYVENV_LAUNCHER__",
    "PIP_CONSTRAINT",
    "PIP_REQUIREMENT",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_ROOT",
    "PIP_USER",
    "PIP_PYTHON",
)


@dataclass(frozen=True)
class SideEnvironment:
    """A side that can be run: ``python`` imports the packages in ``folder``.

    ``packages`` has the versions of what takes part in measuring, ``dependencies`` says where they
    come from.
    """

    folder: Path
    python: Path
    packages: dict[str, str]
    dependencies: str


def built(laid: LaidOut, say: Callable[[str], None]) -> SideEnvironment:
    """An environment for the files that were laid out, ready to measure in.

    The installed packages of the running interpreter are shared where the revision's requirements
    are those of the checkout, else they are installed anew. Raises BuildError, which names the step
    that failed.
    """
    with step("environment", laid.side, laid.revision):
        python = _make_environment(laid)
    with step("dependencies", laid.side, laid.revision):
        dependencies = _add_dependencies(laid, python, say)
    with step("compile", laid.side, laid.revision):
        _compile(laid.folder)
    with step("import", laid.side, laid.revision):
        packages = _imported(laid.folder, python)
    return SideEnvironment(laid.folder, python, packages, dependencies)


def clean_environ() -> dict[str, str]:
    """The variables for a process of a side: it sees its own modules, and those only.

    Neither the current folder nor a user's own packages are on its path, nor on its children's.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _MISLEADING}
    # Nothing is written beside the sources: they are removed while a worker may still be ending.
    own = {"PYTHONSAFEPATH": "1", "PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return {**kept, **own}


def _make_environment(laid: LaidOut) -> Path:
    """A virtual environment of the running interpreter whose path begins with the side's files."""
    try:
        venv.EnvBuilder(symlinks=os.name != "nt").create(laid.environment)
    except ValueError as error:  # a path that cannot be on a list of paths
        raise InputError(str(error)) from error
    _put_on_path(laid, "1-own", [str(laid.folder / name) for name in OWN_PACKAGES.values()])
    return _path_of(laid, "scripts") / ("python.exe" if os.name == "nt" else "python")


def _add_dependencies(laid: LaidOut, python: Path, say: Callable[[str], None]) -> str:
    wanted, here = requirements_of(laid.folder), requirements_of(laid.root)
    others = differing(wanted, here)
    if not others:
        # Python leaves the .pth files in these folders alone: the hook of an editable installation
        # would supply modules that the revision does not have.
        _put_on_path(laid, "2-shared", [path for path in sys.path if Path(path).is_absolute()])
        return SHARED
    say(f"side {laid.side} ({laid.revision}): dependencies are installed anew: {', '.join(others)}")
    _install(laid, python, wanted, others)
    return ANEW


def _put_on_path(laid: LaidOut, name: str, paths: list[str]) -> None:
    """Python adds such files' lines to its path, in the order of the files' names."""
    target = _path_of(laid, "purelib") / f"lmdm-bench-{name}.pth"
    target.write_text("".join(f"{path}\n" for path in paths))  # in the encoding it is read in


def _path_of(laid: LaidOut, kind: str) -> Path:
    base = str(laid.environment)
    return Path(sysconfig.get_path(kind, "venv", vars={"base": base, "platbase": base}))


def _install(laid: LaidOut, python: Path, wanted: Requirements, others: tuple[str, ...]) -> None:
    constraints = laid.folder / CONSTRAINTS_FILE
    if not constraints.exists():
        raise InputError(f"{CONSTRAINTS_FILE} is missing, and nothing is installed without it")
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check"]
    pinned = ["--constraint", str(constraints), *sorted(wanted.dependencies)]
    ended = subprocess.run(
        [*pip, "install", *quiet, *pinned],
        capture_output=True,
        text=True,
        errors="replace",
        env=clean_environ(),
        check=False,
    )
    if not ended.returncode:
        return
    reason = _reason(ended)
    if reason.endswith(_NO_PIP):
        raise InputError(
            f"other versions are needed of {', '.join(others)}, and this Python has no pip to "
            "install them with; python -m ensurepip brings it"
        )
    raise InputError(f"pip: {reason}")


def _compile(folder: Path) -> None:
    """Byte-compile the packages, so that a syntax error is told as one, and none is paid later."""
    for name, parent in OWN_PACKAGES.items():
        for path in sorted((folder / parent / name).rglob("*.py")):
            try:
                with warnings.catch_warnings(action="ignore"):
                    py_compile.compile(str(path), doraise=True)
            except py_compile.PyCompileError as error:
                place = path.relative_to(folder).as_posix()
                line = getattr(error.exc_value, "lineno", None)
                words = getattr(error.exc_value, "msg", error.exc_value)
                raise InputError(f"{place}{f', line {line}' if line else ''}: {words}") from error


def _imported(folder: Path, python: Path) -> dict[str, str]:
    """The versions that the side's interpreter has, once it was seen to import the side's files."""
    found = _probed(folder, python)
    for name, file in found["files"].items():
        if file is None or not Path(file).resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{name} is not the revision's own, but comes from {file}")
    if found["missing"] == WORKER_MODULE:
        raise InputError(
            f"it is older than comparisons of revisions, as it has no {WORKER_MODULE}; compare "
            "records of the two instead"
        )
    if found["failure"] is not None:
        raise InputError(found["failure"])
    versions: dict[str, str] = found["versions"]
    return versions


def _probed(folder: Path, python: Path) -> dict[str, Any]:
    asked = json.dumps([[*OWN_PACKAGES, WORKER_MODULE], PACKAGES])
    probe = Path(__file__).with_name("side_probe.py")
    try:
        ended = subprocess.run(
            [str(python), str(probe), str(folder), asked],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=clean_environ(),
            timeout=IMPORT_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"its packages take over {IMPORT_TIMEOUT_SECONDS} s to import") from None
    if ended.returncode:
        raise InputError(f"Python ended with {ended.returncode}: {_reason(ended)}")
    found: dict[str, Any] = json.loads(ended.stdout.strip().splitlines()[-1])
    return found


def _reason(ended: subprocess.CompletedProcess[str]) -> str:
    """The first error that pip tells, which others follow from, or else the last line."""
    lines = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return errors[0] if errors else (lines or ["no words"])[-1]
