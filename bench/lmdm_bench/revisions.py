"""A revision of this project: what a name stands for in a git checkout."""

from dataclasses import dataclass
from pathlib import Path

from lmdm_bench.errors import InputError
from lmdm_bench.git import GitError, git
from lmdm_bench.tool import MEASURING_PATHS, is_this_project

WORKING_TREE = "working tree"
NUM_NAMES_SHOWN = 8


@dataclass(frozen=True)
class Revision:
    """What was asked for, and the commit that it is.

    ``name`` is as it was asked for. Of the working tree, ``commit`` is HEAD's, and ``is_dirty``
    says whether files that take part in measuring differ from it, or are not in it.
    """

    name: str
    commit: str
    is_working_tree: bool
    is_dirty: bool

    def __str__(self) -> str:
        changes = " with changes" if self.is_dirty else ""
        return f"{self.name}, {self.commit[:8]}{changes}"


def project_root(start: Path) -> Path:
    """The checkout of this project that ``start`` is in. Raises InputError where it is in none."""
    needed = "comparing revisions needs a git checkout of lmdm-bench"
    try:
        root = Path(git(start, "rev-parse", "--show-toplevel"))
    except GitError as error:
        raise InputError(f"{needed}, and git finds none at {start}: {error}") from error
    if not is_this_project(root):
        raise InputError(f"{needed}, and {root} is one of something else")
    return root


def resolve(root: Path, name: str) -> Revision:
    """The commit that git knows by that name. Raises InputError where it knows none."""
    commit = _commit(root, name)
    if commit is None:
        raise InputError(f"git knows no commit by the name {name!r}{_names(root)}")
    return Revision(name, commit, is_working_tree=False, is_dirty=False)


def working_tree(root: Path) -> Revision:
    """The checkout as it is now. Raises InputError where nothing was ever committed to it."""
    head = _head(root)
    changes = git(root, "status", "--porcelain", "--untracked-files=all", "--", *MEASURING_PATHS)
    return Revision(WORKING_TREE, head, is_working_tree=True, is_dirty=bool(changes))


def merge_base(root: Path, name: str) -> Revision:
    """The newest commit that HEAD and ``name`` both come from.

    A branch that was never checked out here is found by its remote's name, origin's first. Raises
    InputError where there is no such name, or no such commit.
    """
    other = _commit(root, name) or _remote_commit(root, name)
    if other is None:
        raise InputError(f"git knows no branch or commit by the name {name!r}{_names(root)}")
    try:
        commit = git(root, "merge-base", _head(root), other)
    except GitError as error:
        raise InputError(f"HEAD and {name} have no commit in common{_shallow(root)}") from error
    return Revision(f"merge base with {name}", commit, is_working_tree=False, is_dirty=False)


def _head(root: Path) -> str:
    commit = _commit(root, "HEAD")
    if commit is None:
        raise InputError("nothing has been committed to this checkout yet")
    return commit


def _commit(root: Path, name: str) -> str | None:
    # No revision looks like an option, and none holds what cannot be printed.
    if not name.isprintable() or name.startswith("-"):
        return None
    try:
        found = git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    except GitError:
        return None
    # "^main" is all but main: git answers it with a sign before the commit.
    return found if found.isalnum() else None


def _remote_commit(root: Path, branch: str) -> str | None:
    refs = git(root, "for-each-ref", "--format=%(refname)", "refs/remotes").splitlines()
    found = [ref for ref in refs if ref.split("/", 3)[3:] == [branch]]
    found.sort(key=lambda ref: ref != f"refs/remotes/origin/{branch}")
    return _commit(root, found[0]) if found else None


def _names(root: Path) -> str:
    """Which names there are, as the end of a sentence."""
    listed = git(
        root, "for-each-ref", "--sort=-committerdate", "--format=%(refname:short)",
        "refs/heads", "refs/remotes",
    ).splitlines()  # fmt: skip
    more = f" and {len(listed) - NUM_NAMES_SHOWN} more" if len(listed) > NUM_NAMES_SHOWN else ""
    shown = ", ".join(listed[:NUM_NAMES_SHOWN]) + more
    return (f"; branches here are {shown}" if listed else "; no branches are here") + _shallow(root)


def _shallow(root: Path) -> str:
    if git(root, "rev-parse", "--is-shallow-repository") != "true":
        return ""
    return "; this clone is shallow, and git fetch --unshallow brings the rest of its history"
