"""The order of a checkout's commits, as git tells it."""

import subprocess
from pathlib import Path

GIT_TIMEOUT_SECONDS = 20


def commit_ranks(folder: Path) -> dict[str, int]:
    """Each commit that the folder's checkout is at or after, by its place: the oldest has 0.

    Empty where there is no checkout or no git, and then records are ordered otherwise.
    """
    command = ["git", "--no-optional-locks", "-C", str(folder)]
    try:
        done = subprocess.run(
            [*command, "rev-list", "--topo-order", "--reverse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return {commit: rank for rank, commit in enumerate(done.stdout.split())}
