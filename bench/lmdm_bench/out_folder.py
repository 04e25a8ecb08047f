"""The folder a run writes to: claimed before anything is measured, never left half made."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from lmdm_bench.errors import InputError

RECORD_NAME = "record.json"
CLAIMS_NAME = "claims.json"
KERNELS_NAME = "kernels.json"
CHECK_NAME = "check.json"
COMPARE_NAME = "compare.json"
LAUNCHES_NAME = "launches.json"
PROFILE_NAME = "profile.json"
_CLAIM_NAME = ".claimed-by"


@contextmanager
def claimed(folder: Path, *, is_resumed: bool = False) -> Iterator[Path]:
    """A folder that can be written to and that no other run is using.

    Raises InputError where it cannot be had, or where it holds a record already: results are not
    overwritten, except by the run that goes on from them. After a failure the files that came
    meanwhile are removed again (but not a record), and so are folders that were made for it if they
    stay empty.
    """
    names = (
        RECORD_NAME,
        CLAIMS_NAME,
        KERNELS_NAME,
        CHECK_NAME,
        COMPARE_NAME,
        LAUNCHES_NAME,
        PROFILE_NAME,
    )
    records = [folder / name for name in names]
    if not is_resumed and any(record.exists() for record in records):
        raise InputError(f"{folder} already holds a record; name another folder with --out")
    made = _make(folder)
    claim = folder / _CLAIM_NAME
    try:
        _claim(claim)
        before = set(folder.iterdir())
        # Written as their runs go on, so they are whole whenever those end.
        kept = {folder / name for name in names if name not in (RECORD_NAME, PROFILE_NAME)}
        try:
            yield folder
        except BaseException:
            for path in set(folder.iterdir()) - before - kept:
                path.unlink()
            raise
        finally:
            claim.unlink(missing_ok=True)
    finally:
        for path in made:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()


def _make(folder: Path) -> list[Path]:
    """Make the folder; returns the folders that were not there before, innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from error
    return missing


def _claim(claim: Path) -> None:
    """Leave a file with this process's number, which also proves that files can be written."""
    try:
        _release_if_dead(claim)
        with claim.open("x") as file:
            file.write(str(os.getpid()))
    except FileExistsError:
        raise InputError(f"another run is writing to {claim.parent}") from None
    except OSError as error:
        raise InputError(f"cannot write to {claim.parent}: {error.strerror}") from error


def _release_if_dead(claim: Path) -> None:
    if not claim.exists():
        return
    owner = claim.read_text()
    if not owner.isdigit() or not psutil.pid_exists(int(owner)):
        claim.unlink(missing_ok=True)
