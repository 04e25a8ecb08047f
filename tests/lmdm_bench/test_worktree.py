"""A revision's files are laid out as they were, and nothing is left of them, however it ends."""

import errno
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from child_helpers import LONG_SECONDS
from lmdm_bench import worktree
from lmdm_bench.build_error import BuildError
from lmdm_bench.git import GitError
from lmdm_bench.revisions import resolve, working_tree
from lmdm_bench.worktree import laid_out
from throwaway_project import commit, ended, git, new_project, started, state, write

has_signals = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")

# Opens the revision that its third argument names, says so, and waits.
OPEN = """
import sys, time
from pathlib import Path
from lmdm_bench.revisions import resolve, working_tree
from lmdm_bench.worktree import laid_out
root, parent, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
revision = resolve(root, name) if name else working_tree(root)
with laid_out(root, revision, "a", parent) as laid:
    print(laid.folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return new_project(tmp_path / "the project")


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    folder = tmp_path / "a parent, é"
    folder.mkdir()
    return folder


def names(folder: Path) -> set[str]:
    files = (path for path in folder.rglob("*") if not path.is_dir())
    return {path.relative_to(folder).as_posix() for path in files} - {".git"}


def committed(root: Path) -> set[str]:
    return set(git(root, "ls-tree", "-r", "--name-only", "HEAD").splitlines())


def test_a_commit_is_laid_out_whole_and_taken_away(root: Path, parent: Path) -> None:
    write(root, **{"lmdm_ref/__init__.py": "SPEED = 2\n", "lmdm_ref/new.py": ""})
    before = state(root)
    with laid_out(root, resolve(root, "main"), "a", parent) as laid:
        assert names(laid.folder) == committed(root)
        assert (laid.folder / "lmdm_ref" / "__init__.py").read_text() == "SPEED = 1\n"
        assert git(laid.folder, "rev-parse", "HEAD") == git(root, "rev-parse", "HEAD")
        assert git(laid.folder, "status", "--porcelain") == ""
        assert laid.environment.parent == laid.folder.parent
        laid.environment.mkdir()
        (laid.environment / "built").write_text("")
    assert state(root) == before
    assert not list(parent.iterdir())


def test_the_working_tree_is_copied_as_it_is_without_what_is_ignored(
    root: Path, parent: Path
) -> None:
    write(
        root,
        **{
            "lmdm_ref/__init__.py": "SPEED = 2\n",
            "lmdm_ref/new file.py": "",
            "kernels/lmdm_kernels/é\n.py": "",
            "bench/run.log": "ignored",
            "recording.wav": "not in git, and takes no part",
            "README.md": None,
        },
    )
    git(root, "add", "-N", "lmdm_ref/new file.py")
    git(root, "init", "-q", "bench/another")
    write(root, **{"bench/another/repository.py": ""})
    before = state(root)
    with laid_out(root, working_tree(root), "b", parent) as laid:
        new = {"lmdm_ref/new file.py", "kernels/lmdm_kernels/é\n.py"}
        assert names(laid.folder) == (committed(root) | new) - {"README.md"}
        write(root, **{"lmdm_ref/__init__.py": "SPEED = 3\n"})
        assert (laid.folder / "lmdm_ref" / "__init__.py").read_text() == "SPEED = 2\n"
    assert state(root) == before
    assert not list(parent.iterdir())


@has_signals
def test_links_stay_links_and_what_is_no_file_is_left_out(root: Path, parent: Path) -> None:
    (root / "lmdm_ref" / "link.py").symlink_to("__init__.py")
    commit(root)
    (root / "README.md").unlink()
    os.mkfifo(root / "README.md")
    with laid_out(root, working_tree(root), "b", parent) as laid:
        assert (laid.folder / "lmdm_ref" / "link.py").readlink() == Path("__init__.py")
        assert not (laid.folder / "README.md").exists()


def test_the_checkouts_hooks_filters_and_sparseness_do_not_matter(
    root: Path, parent: Path, tmp_path: Path
) -> None:
    commit(root, **{".gitattributes": "*.md filter=lfs\n"})
    for hook in ("post-checkout", "reference-transaction", "post-index-change"):
        path = root / ".git" / "hooks" / hook
        path.write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran'\nexit 1\n")
        path.chmod(0o755)
    for name, value in {
        "filter.lfs.smudge": "false",
        "filter.lfs.required": "true",
        "core.sparseCheckout": "true",
    }.items():
        git(root, "config", name, value)
    (root / ".git" / "info" / "sparse-checkout").write_text("/README.md\n")
    with laid_out(root, resolve(root, "main"), "a", parent) as laid:
        assert names(laid.folder) == committed(root)
    assert not (tmp_path / "ran").exists()


def test_two_sides_stand_side_by_side_also_of_one_commit(root: Path, parent: Path) -> None:
    before, main = state(root), resolve(root, "main")
    with laid_out(root, main, "a", parent) as a, laid_out(root, main, "b", parent) as b:
        assert names(a.folder) == names(b.folder) == committed(root)
        assert a.folder != b.folder
    assert state(root) == before


@pytest.mark.parametrize("raised", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("name", ["main", None])
def test_it_is_taken_away_after_any_exception(
    root: Path, parent: Path, raised: type[BaseException], name: str | None
) -> None:
    before = state(root)
    revision = resolve(root, name) if name else working_tree(root)
    with pytest.raises(raised), laid_out(root, revision, "a", parent):
        raise raised
    assert state(root) == before
    assert not list(parent.iterdir())


def test_ctrl_c_while_it_is_taken_away_changes_nothing(
    root: Path, parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(remove: Callable[..., Any]) -> Callable[..., Any]:
        def work(*arguments: Any, **options: Any) -> Any:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.raise_signal(number)
            return remove(*arguments, **options)

        return work

    before = state(root)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt), laid_out(root, resolve(root, "main"), "a", parent):
        monkeypatch.setattr(shutil, "rmtree", interrupted(shutil.rmtree))
        monkeypatch.setattr(worktree, "git", interrupted(worktree.git))
        signal.raise_signal(signal.SIGINT)
    assert state(root) == before
    assert not list(parent.iterdir())
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


@has_signals
@pytest.mark.parametrize("name", ["main", ""])
@pytest.mark.parametrize(
    ("number", "end"),
    [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_a_process_that_is_ended_takes_it_away(
    root: Path, parent: Path, name: str, number: int, end: int
) -> None:
    before = state(root)
    process = started(OPEN, root, parent, name)
    assert process.stdout is not None
    assert Path(process.stdout.readline().strip()).is_dir()
    os.killpg(process.pid, number)
    assert ended(process)[0] == end
    assert state(root) == before
    assert not list(parent.iterdir())


@has_signals
@pytest.mark.parametrize("when", ["worktree add", "worktree remove"])
def test_ctrl_c_for_all_processes_does_not_reach_git_at_its_register(
    root: Path, parent: Path, tmp_path: Path, when: str
) -> None:
    # A git that sends Ctrl-C to its whole group, as a terminal does, at just that moment.
    fake = tmp_path / "bin" / "git"
    write(
        tmp_path,
        **{
            "bin/git": f'#!/bin/sh\ncase "$*" in *"{when}"*) kill -INT 0; touch "$0.was" ;; esac\n'
            f'exec "{shutil.which("git")}" "$@"\n'
        },
    )
    fake.chmod(0o755)
    before = state(root)
    path = f"{fake.parent}{os.pathsep}{os.environ['PATH']}"
    process = started(OPEN.replace("600", "0"), root, parent, "main", PATH=path)
    assert ended(process) == (0, "")
    assert (tmp_path / "bin" / "git.was").exists()
    assert state(root) == before
    assert not list(parent.iterdir())


@has_signals
@pytest.mark.parametrize("name", ["main", ""])
def test_what_a_killed_run_left_the_next_one_takes_away(
    root: Path, parent: Path, name: str
) -> None:
    before = state(root)
    process = started(OPEN, root, parent, name)
    assert process.stdout is not None
    left = Path(process.stdout.readline().strip())
    with laid_out(root, resolve(root, "main"), "b", parent):
        assert left.is_dir()  # its owner is alive
    process.kill()
    ended(process)
    assert left.is_dir()
    with laid_out(root, resolve(root, "main"), "b", parent):
        assert not left.parent.exists()
    assert state(root) == before


@has_signals
def test_a_leftover_elsewhere_is_known_from_gits_own_list(
    root: Path, parent: Path, tmp_path: Path
) -> None:
    before = state(root)
    process = started(OPEN, root, parent, "main")
    assert process.stdout is not None
    left = Path(process.stdout.readline().strip())
    process.kill()
    ended(process)
    shutil.rmtree(left.parent)  # as after a restart of the machine
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with laid_out(root, resolve(root, "main"), "b", elsewhere):
        assert str(left) not in git(root, "worktree", "list")
    assert state(root) == before


def test_other_peoples_worktrees_and_folders_stay(
    root: Path, parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "pid_exists", lambda number: number == os.getpid())
    git(root, "worktree", "add", "-q", "--detach", str(tmp_path / "theirs"))
    git(root, "worktree", "add", "-q", "--detach", str(tmp_path / "unmounted"))
    shutil.rmtree(tmp_path / "unmounted")
    for name in ("lmdm-bench", "lmdm-bench-side-1", "lmdm-bench-side-1-my-notes", "other"):
        (parent / name).mkdir()
    git(root, "worktree", "add", "-q", "--detach", str(parent / "other" / "sources"))
    before = state(root)
    with laid_out(root, resolve(root, "main"), "a", parent):
        pass
    assert state(root) == before
    assert len(list(parent.iterdir())) == 4


def test_where_nothing_can_be_written_it_is_one_sentence(
    root: Path, parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, main = state(root), resolve(root, "main")
    start = rf"^side a \(main, {main.commit[:8]}\) could not be built: step worktree: "
    nowhere = laid_out(root, main, "a", parent / "nowhere")
    with pytest.raises(BuildError, match=f"{start}.*No such file"), nowhere:
        pass

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "x.py")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copy2", full)
        with (
            pytest.raises(BuildError, match=r"step worktree: x\.py: No space left on device$"),
            laid_out(root, working_tree(root), "b", parent),
        ):
            pass

    def refuses(folder: Path, *arguments: str) -> str:
        if "reset" in arguments:
            raise GitError("unable to write file lmdm_ref/__init__.py")
        return ask(folder, *arguments)

    ask = worktree.git
    monkeypatch.setattr(worktree, "git", refuses)
    with (
        pytest.raises(BuildError, match=f"{start}unable to write file"),
        laid_out(root, main, "a", parent),
    ):
        pass
    assert state(root) == before
    assert not list(parent.iterdir())


def test_an_error_inside_is_not_taken_for_one_of_laying_out(root: Path, parent: Path) -> None:
    with pytest.raises(OSError, match="mine"), laid_out(root, working_tree(root), "a", parent):
        raise OSError("mine")


@has_signals
def test_a_hangup_that_is_ignored_stays_ignored(root: Path, parent: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with laid_out(root, working_tree(root), "a", parent):
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_thread_may_lay_out_too(root: Path, parent: Path) -> None:
    found: list[set[str]] = []

    def work() -> None:
        with laid_out(root, resolve(root, "main"), "a", parent) as laid:
            found.append(names(laid.folder))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(LONG_SECONDS)
    assert found == [committed(root)]
    assert not list(parent.iterdir())


def test_it_works_from_a_worktree_of_the_users_own(
    root: Path, parent: Path, tmp_path: Path
) -> None:
    git(root, "worktree", "add", "-q", "-b", "mine", str(tmp_path / "mine"))
    before = git(root, "worktree", "list")
    with laid_out(tmp_path / "mine", resolve(tmp_path / "mine", "main"), "a", parent) as laid:
        assert names(laid.folder) == committed(root)
    assert git(root, "worktree", "list") == before


def test_submodules_are_left_alone(root: Path, parent: Path, tmp_path: Path) -> None:
    new_project(tmp_path / "other")
    git(root, "-c", "protocol.file.allow=always", "submodule", "-q", "add", str(tmp_path / "other"))
    commit(root)
    git(root, "config", "submodule.recurse", "true")
    before = state(root)
    for revision in (resolve(root, "main"), working_tree(root)):
        with laid_out(root, revision, "a", parent) as laid:
            assert not [name for name in names(laid.folder) if name.startswith("other/")]
    assert state(root) == before
    assert not list(parent.iterdir())
