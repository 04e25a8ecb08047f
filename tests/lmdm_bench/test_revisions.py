"""A name becomes one commit of this project, or a sentence that says why not."""

from pathlib import Path

import pytest

from lmdm_bench import git as git_module
from lmdm_bench.errors import InputError
from lmdm_bench.revisions import (
    NUM_NAMES_SHOWN,
    Revision,
    merge_base,
    project_root,
    resolve,
    working_tree,
)
from throwaway_project import commit, git, new_project, write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return new_project(tmp_path / "the project")


def test_the_root_is_found_from_inside(root: Path) -> None:
    assert project_root(root / "bench" / "lmdm_bench") == root


def test_a_checkout_of_something_else_and_none_at_all_are_refused(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    for start in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="needs a git checkout of lmdm-bench, and git finds"):
            project_root(start)
    for content in ('[project]\nname = "music"\n', "not = [toml", None):
        write(root, **{"pyproject.toml": content})
        with pytest.raises(InputError, match="is one of something else"):
            project_root(root)


def test_without_git_it_says_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(root))
    for ask in (project_root, working_tree, lambda path: resolve(path, "main")):
        with pytest.raises(InputError, match="git is not installed"):
            ask(root)


@pytest.mark.parametrize("name", ["main", "HEAD", "HEAD^{/a change}", "v1", "ä/ö"])
def test_every_kind_of_name_is_its_commit(root: Path, name: str) -> None:
    first = git(root, "rev-parse", "HEAD")
    git(root, "tag", "-a", "v1", "-m", "a tag is an object of its own")
    git(root, "branch", "ä/ö")
    assert resolve(root, name) == Revision(name, first, is_working_tree=False, is_dirty=False)
    assert resolve(root, first[:7]).commit == first


def test_one_before_the_last(root: Path) -> None:
    first = git(root, "rev-parse", "HEAD")
    commit(root, **{"README.md": "More words.\n"})
    assert resolve(root, "HEAD~1").commit == first
    assert str(resolve(root, "HEAD~1")) == f"HEAD~1, {first[:8]}"


@pytest.mark.parametrize(
    "name",
    ["nothing", "", "-h", "--all", "^main", "main..HEAD", "HEAD~9", "a b", "HEAD:README.md",
     "main\nmain", "main\0", "$(touch x)", "main; x", "\udce9", "0" * 40],
)  # fmt: skip
def test_what_is_no_commit_is_one_sentence_with_the_names_there_are(root: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve(root, name)
    expected = f"git knows no commit by the name {name!r}; branches here are main"
    assert str(caught.value) == expected
    with pytest.raises(InputError, match="git knows no branch or commit"):
        merge_base(root, name)


def test_of_many_branches_the_newest_are_named(root: Path) -> None:
    for number in range(NUM_NAMES_SHOWN + 2):
        git(root, "branch", f"branch{number}")
    with pytest.raises(InputError, match=r"branch0, .* and 3 more$"):
        resolve(root, "nothing")


@pytest.mark.parametrize(
    ("name", "is_dirty"),
    [("lmdm_ref/__init__.py", True), ("bench/new.py", True), ("pyproject.toml", True),
     ("README.md", False), ("bench/run.log", False), ("new.py", False)],
)  # fmt: skip
def test_the_working_tree_is_dirty_by_what_takes_part_in_measuring(
    root: Path, name: str, is_dirty: bool
) -> None:
    git(root, "config", "status.showUntrackedFiles", "no")
    head = git(root, "rev-parse", "HEAD")
    clean = Revision("working tree", head, is_working_tree=True, is_dirty=False)
    assert working_tree(root) == clean
    write(root, **{name: '[project]\nname = "lmdm-bench"\n'})
    assert working_tree(root).is_dirty is is_dirty
    assert str(working_tree(root)).endswith(" with changes") is is_dirty


def test_before_the_first_commit_there_is_nothing_to_compare(tmp_path: Path) -> None:
    new_project(tmp_path / "other")
    git(tmp_path, "init", "-q")
    with pytest.raises(InputError, match="nothing has been committed"):
        working_tree(tmp_path)
    with pytest.raises(InputError, match="no branches are here"):
        resolve(tmp_path, "HEAD")


def test_the_merge_base_is_where_two_branches_part(root: Path) -> None:
    common = git(root, "rev-parse", "HEAD")
    git(root, "checkout", "-q", "-b", "mine")
    commit(root, **{"README.md": "Mine.\n"})
    git(root, "checkout", "-q", "main")
    commit(root, **{"README.md": "Theirs.\n"})
    git(root, "checkout", "-q", "mine")
    expected = Revision("merge base with main", common, is_working_tree=False, is_dirty=False)
    assert merge_base(root, "main") == expected
    git(root, "checkout", "-q", "--detach")
    assert merge_base(root, "main") == expected


def test_on_the_branch_itself_the_merge_base_is_its_newest_commit(root: Path) -> None:
    assert merge_base(root, "main").commit == git(root, "rev-parse", "HEAD")


def test_a_branch_that_only_remotes_have_is_found_and_origins_goes_first(root: Path) -> None:
    common = git(root, "rev-parse", "HEAD")
    older = commit(root).commit
    git(root, "update-ref", "refs/remotes/another/team/main", common)
    assert merge_base(root, "team/main").commit == common
    git(root, "update-ref", "refs/remotes/origin/team/main", older)
    assert merge_base(root, "team/main").commit == older
    with pytest.raises(InputError, match="another/team/main"):
        merge_base(root, "team")


def test_without_a_common_commit_it_says_so(root: Path) -> None:
    git(root, "checkout", "-q", "--orphan", "other")
    commit(root, **{"README.md": "Another beginning.\n"})
    with pytest.raises(InputError, match=r"^HEAD and main have no commit in common$"):
        merge_base(root, "main")


def test_a_shallow_clone_says_how_to_get_the_rest(root: Path, tmp_path: Path) -> None:
    commit(root)
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{root}", "clone")
    with pytest.raises(InputError, match=r"'HEAD~1'.*git fetch --unshallow"):
        resolve(tmp_path / "clone", "HEAD~1")


def test_a_checkout_that_git_does_not_trust_says_why(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> str:
        raise git_module.GitError("detected dubious ownership in repository")

    monkeypatch.setattr("lmdm_bench.revisions.git", refuses)
    with pytest.raises(InputError, match="dubious ownership"):
        project_root(root)
