"""A tiny git checkout under the name of this project, for tests to make revisions in."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from child_helpers import LONG_SECONDS
from lmdm_bench.revisions import Revision, resolve

PYPROJECT = """
[project]
name = "lmdm-bench"
version = "0"
dependencies = []
"""
FILES = {
    "pyproject.toml": PYPROJECT,
    "constraints.txt": "torch==2.13.0\n",
    ".gitignore": "*.log\n__pycache__/\n",
    "README.md": "Words.\n",
    "lmdm_ref/__init__.py": "SPEED = 1\n",
    "kernels/lmdm_kernels/__init__.py": "",
    "bench/lmdm_bench/__init__.py": "",
    "bench/lmdm_bench/suite_worker.py": "from lmdm_ref import SPEED\n",
}


def git(root: Path, *arguments: str) -> str:
    """What git says as it is, with an author and without the settings of whoever runs the tests."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", "-C", str(root), *identity, *arguments],
        check=True,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_OPTIONAL_LOCKS": "0",  # the index is as the code under test leaves it
        },
    )
    return done.stdout.removesuffix("\n")


def new_project(root: Path) -> Path:
    """A checkout on ``main`` with one commit."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    root.mkdir(parents=True)
    git(root, "init", "-q", "-b", "main")
    commit(root, **FILES)
    return root


def write(root: Path, **contents: str | None) -> None:
    """Write files; None removes one."""
    for name, content in contents.items():
        path = root / name
        if content is None:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def commit(root: Path, **contents: str | None) -> Revision:
    write(root, **contents)
    git(root, "add", "--all")
    git(root, "commit", "-q", "--allow-empty", "-m", "a change")
    return resolve(root, "HEAD")


def state(root: Path) -> tuple[str | bytes, ...]:
    """What comparing must not change in a checkout: its worktrees, HEAD, index, refs, files."""
    return (
        git(root, "worktree", "list", "--porcelain"),
        git(root, "for-each-ref"),
        (root / ".git" / "HEAD").read_bytes(),
        (root / ".git" / "index").read_bytes(),
        " ".join(sorted(path.name for path in (root / ".git").iterdir())),
        git(root, "status", "--porcelain", "--ignored"),
    )


def started(program: str, *arguments: object, **environ: str) -> subprocess.Popen[str]:
    """A Python process of its own group, which a terminal would send Ctrl-C to as a whole."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environ},
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code and the last line of its errors."""
    _, errors = process.communicate(timeout=LONG_SECONDS)
    return process.returncode, (errors.strip().splitlines() or [""])[-1]
