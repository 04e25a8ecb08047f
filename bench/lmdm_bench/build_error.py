"""The error of a side that could not be built: which side, which revision, which step."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from lmdm_bench.errors import InputError
from lmdm_bench.revisions import Revision

Step = Literal["worktree", "environment", "dependencies", "compile", "import"]


class BuildError(InputError):
    """One side could not be built. The message is one sentence that says where and why."""


@contextmanager
def step(name: Step, side: str, revision: Revision) -> Iterator[None]:
    """An InputError or OSError inside, as of a full disk, becomes the BuildError of this step."""
    try:
        yield
    except (InputError, OSError) as error:
        raise BuildError(
            f"side {side} ({revision}) could not be built: step {name}: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)
