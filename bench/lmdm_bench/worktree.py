"""A revision's files laid out on disk, and always taken away again."""

import os
import re
import secrets
import shutil
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from lmdm_bench.build_error import step
from lmdm_bench.errors import InputError
from lmdm_bench.git import git
from lmdm_bench.interrupts import ignored_interrupts
from lmdm_bench.revisions import Revision
from lmdm_bench.tool import MEASURING_PATHS

# The number is the owner's process: where it is no more, the next run takes the place away.
_PLACE = re.compile(r"lmdm-bench-side-(\d{1,9})-[0-9a-f]{8}")
_SOURCES = "sources"
_ENVIRONMENT = "environment"
# Files as they were committed: all of them, none that a server still keeps, no other repositories.
_PLAIN_CHECKOUT = (
    "-c", "core.sparseCheckout=false",
    "-c", "submodule.recurse=false",
    "-c", "filter.lfs.smudge=", "-c", "filter.lfs.process=", "-c", "filter.lfs.required=false",
)  # fmt: skip
# Besides Ctrl-C: what ends a process from outside, and a terminal that is closed.
_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@dataclass(frozen=True)
class LaidOut:
    """A side's files in ``folder``. ``environment`` is free for what is built for them."""

    root: Path
    side: str
    revision: Revision
    folder: Path
    environment: Path


@contextmanager
def laid_out(root: Path, revision: Revision, side: str, parent: Path) -> Iterator[LaidOut]:
    """The files of a revision in a new folder under ``parent``, until the end of the block.

    A commit is checked out into a worktree. The working tree is copied, so that edits while it is
    measured change nothing: all tracked files as they are now, and those untracked and not ignored
    that take part in measuring. Both folders are removed however the block ends: Ctrl-C, pressed
    again too, SIGTERM and SIGHUP (which raise SystemExit inside) included. What earlier runs left
    that were killed is removed first. Raises BuildError.
    """
    place = parent.resolve() / f"lmdm-bench-side-{os.getpid()}-{secrets.token_hex(4)}"
    laid = LaidOut(root, side, revision, place / _SOURCES, place / _ENVIRONMENT)
    with _signals(_ENDING, _exit):
        try:
            with step("worktree", side, revision):
                _remove_leftovers(root, place.parent)
                place.mkdir()
                (_copy if revision.is_working_tree else _check_out)(laid)
            yield laid
        finally:
            with _undisturbed():
                _remove(root, place)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """For moments in which an end would leave something half done. Git inherits the deafness."""
    with ignored_interrupts(), _signals(_ENDING, signal.SIG_IGN):
        yield


@contextmanager
def _signals(numbers: tuple[int, ...], handler: Callable[..., Any] | int) -> Iterator[None]:
    """These signals are handled so inside, except where they are ignored, as under nohup."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = {number: signal.getsignal(number) for number in numbers}
    before = {n: old for n, old in before.items() if old not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _exit(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _check_out(laid: LaidOut) -> None:
    # In two steps: git registers a worktree in a moment, in which an end would leave half an entry;
    # the files take longer, and may be left half written.
    with _undisturbed():
        git(
            laid.root, *_PLAIN_CHECKOUT, "worktree", "add", "--detach", "--no-checkout",
            str(laid.folder), laid.revision.commit,
        )  # fmt: skip
    git(laid.folder, *_PLAIN_CHECKOUT, "reset", "--hard", "--quiet")


def _copy(laid: LaidOut) -> None:
    tracked = git(laid.root, "ls-files", "-z", "--cached")
    untracked = git(
        laid.root, "ls-files", "-z", "--others", "--exclude-standard", "--", *MEASURING_PATHS
    )
    laid.folder.mkdir()
    for name in {*tracked.split("\0"), *untracked.split("\0")} - {""}:
        copied = laid.folder / name
        # Not what was deleted, nor the folder of another repository.
        if _is_file(laid.root / name):
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(laid.root / name, copied, follow_symlinks=False)


def _is_file(path: Path) -> bool:
    with suppress(FileNotFoundError, NotADirectoryError):
        mode = path.lstat().st_mode
        return stat.S_ISREG(mode) or stat.S_ISLNK(mode)
    return False


def _remove_leftovers(root: Path, parent: Path) -> None:
    """What runs left whose process is no more: worktrees wherever they are, folders in parent."""
    lines = git(root, "worktree", "list", "--porcelain").splitlines()
    listed = {
        Path(line.removeprefix("worktree ")) for line in lines if line.startswith("worktree ")
    }
    places = {path.parent for path in listed if path.name == _SOURCES} | set(parent.glob("*"))
    for place in places:
        owner = _PLACE.fullmatch(place.name)
        if owner and not psutil.pid_exists(int(owner[1])):
            _remove(root, place)


def _remove(root: Path, place: Path) -> None:
    """Take a place away, whatever of it there is.

    Only its own worktree: ``git worktree prune`` would also forget other people's whose disk is
    not mounted now.
    """
    with suppress(InputError):  # was not a worktree, or not yet
        git(root, "worktree", "remove", "--force", "--force", str(place / _SOURCES))
    shutil.rmtree(place, ignore_errors=True)
