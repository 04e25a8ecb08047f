"""Git is asked in English, in the folder that is meant, and refuses with its own reason."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

import throwaway_project
from lmdm_bench import git as git_module
from lmdm_bench.errors import InputError
from lmdm_bench.git import GitError, git
from throwaway_project import new_project


def test_it_answers_without_the_newline(tmp_path: Path) -> None:
    root = new_project(tmp_path / "a folder with spaces")
    assert git(root, "symbolic-ref", "--short", "HEAD") == "main"


def test_a_refusal_has_gits_own_reason(tmp_path: Path) -> None:
    with pytest.raises(GitError, match=r"^not a git repository"):
        git(tmp_path, "rev-parse", "--git-dir")
    with pytest.raises(GitError, match=r"^git ended with exit code 1$"):
        git(new_project(tmp_path / "p"), "rev-parse", "--verify", "--quiet", "nothing")


def test_it_is_asked_in_english_and_asks_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def run(_: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        asked.update(options)
        return subprocess.CompletedProcess([], 0, "yes\n", "")

    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setattr(git_module.subprocess, "run", run)
    assert git(Path(), "status") == "yes"
    assert asked["env"]["LC_ALL"] == "C"
    assert asked["env"]["GIT_TERMINAL_PROMPT"] == "0"
    assert asked["stdin"] == subprocess.DEVNULL


def test_advice_that_follows_the_reason_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "Preparing\nfatal: dubious ownership\nTo add an exception:\n\n\tgit config\n"
    ended = subprocess.CompletedProcess([], 128, "", words)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: ended)
    with pytest.raises(GitError, match=r"^dubious ownership$"):
        git(Path(), "status")


def test_a_hooks_variables_do_not_lead_to_another_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, other = new_project(tmp_path / "root"), new_project(tmp_path / "other")
    throwaway_project.git(other, "checkout", "-q", "-b", "elsewhere")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert git(root, "symbolic-ref", "--short", "HEAD") == "main"


def test_reading_does_not_write_the_index(tmp_path: Path) -> None:
    root = new_project(tmp_path / "root")
    (root / "README.md").touch()  # would be looked at again, and noted in the index
    before = (root / ".git" / "index").stat().st_mtime_ns
    assert git(root, "status", "--porcelain") == ""
    assert (root / ".git" / "index").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (FileNotFoundError(), "git is not installed"),
        (PermissionError(13, "Permission denied"), "git cannot be started: Permission denied"),
        (subprocess.TimeoutExpired("git", 1), "git status took more than 300 seconds"),
    ],
)
def test_what_cannot_be_asked_says_why(
    raised: Exception, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(git_module.subprocess, "run", fails)
    with pytest.raises(InputError, match=words):
        git(Path(), "status")
