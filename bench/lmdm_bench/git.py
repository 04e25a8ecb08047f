"""Git, asked without a question to the user, and without a trace in the checkout it is asked in."""

import os
import subprocess
from pathlib import Path

from lmdm_bench.errors import InputError

# Nothing that is asked here takes so long: what does, hangs.
TIMEOUT_SECONDS = 300
# The checkout's hooks and its file monitor are for its user's own commands.
_SETTINGS = ("-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false")
# Git sets these for its hooks, and tests may run in one: they point it at another checkout.
_POINTERS = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
)


class GitError(InputError):
    """Git did not do what it was asked for. The message is its own reason."""


def git(folder: Path, *arguments: str) -> str:
    """What git answers in that folder, without the newline at the end.

    Raises GitError where it refuses, InputError where it cannot be run at all.
    """
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *_SETTINGS, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",  # a file's name is bytes
            env=_environ(),
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise GitError(f"git {arguments[0]} took more than {TIMEOUT_SECONDS} seconds") from None
    except FileNotFoundError:
        raise InputError("git is not installed, and revisions come from it") from None
    except OSError as error:
        raise InputError(f"git cannot be started: {error.strerror}") from error
    if done.returncode:
        raise GitError(_reason(done.stderr) or f"git ended with exit code {done.returncode}")
    return done.stdout.removesuffix("\n")


def _environ() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _POINTERS}
    # No lock for an index that is only read, no question for a password, messages in English.
    return {**kept, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


def _reason(words: str) -> str:
    """The line with git's reason: advice may follow it, progress go before."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal: ", "error: "))]
    return (fatal or lines or [""])[-1].removeprefix("fatal: ").removeprefix("error: ")
