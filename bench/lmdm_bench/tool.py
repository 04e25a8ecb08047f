"""What measures: the versions of its packages, with the commit that they were built from."""

import importlib.metadata
import platform
import shutil
import tomllib
from pathlib import Path

import lmdm_bench
from lmdm_bench.errors import InputError
from lmdm_bench.git import git
from lmdm_bench.record import Tool

PROJECT_NAME = "lmdm-bench"
PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "einops",
    "safetensors",
    "soundfile",
    "psutil",
    "py-cpuinfo",
    "nvidia-ml-py",
    "triton",
    "triton-windows",
)
# The paths whose state decides what ran; a README or a record written meanwhile does not.
MEASURING_PATHS = ("lmdm_ref", "kernels", "bench", "pyproject.toml")


def describe_tool() -> Tool:
    """The versions that measure, with the commit of the checkout that they were built from.

    A wheel does not know its commit. Where it is run inside a checkout of this project, as tox
    does, that checkout's commit is taken for the wheel's. Dirty means that a file which takes part
    in measuring differs from the commit, or is not in it.
    """
    commit, is_dirty, reason = _git_state()
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            packages[name] = "not installed"
    return Tool(
        version=lmdm_bench.__version__,
        git_commit=commit,
        git_is_dirty=is_dirty,
        git_reason=reason,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        packages=packages,
    )


def _git_state() -> tuple[str | None, bool | None, str | None]:
    """The commit, whether measuring files differ from it, or else why there is no commit."""
    if shutil.which("git") is None:
        return None, None, "git is not installed"
    for start in (Path(__file__).parent, Path.cwd()):
        root = _root(start)
        if root is None or not is_this_project(root):
            continue
        try:
            commit = git(root, "rev-parse", "HEAD")
            changes = git(root, "status", "--porcelain", "--", *MEASURING_PATHS)
        except InputError:
            return None, None, "git cannot read the checkout's commit"
        return commit, bool(changes), None
    return None, None, "not run from a git checkout"


def _root(start: Path) -> Path | None:
    try:
        return Path(git(start, "rev-parse", "--show-toplevel"))
    except InputError:
        return None


def is_this_project(root: Path) -> bool:
    """Whether a folder is the root of this project's files."""
    try:
        declared = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    name: object = declared.get("project", {}).get("name")
    return name == PROJECT_NAME
