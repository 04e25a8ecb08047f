import subprocess

from lmdm_bench import commit_order
from lmdm_bench.commit_order import commit_ranks

AUTHOR = ("-c", "user.name=someone", "-c", "user.email=someone@example.org")


def git(folder, *arguments):
    done = subprocess.run(
        ["git", *AUTHOR, "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_commits_are_ranked_from_the_oldest(tmp_path):
    git(tmp_path, "init", "--quiet")
    made = []
    for number in range(3):
        git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", f"commit {number}")
        made.append(git(tmp_path, "rev-parse", "HEAD"))
    inner = tmp_path / "inner"
    inner.mkdir()
    assert commit_ranks(inner) == {commit: rank for rank, commit in enumerate(made)}


def test_no_checkout_and_no_git_have_no_order(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    outside = tmp_path / "outside"
    outside.mkdir()
    assert commit_ranks(outside) == {}
    assert commit_ranks(tmp_path / "nowhere") == {}

    def no_git(*_, **__):
        raise FileNotFoundError("git")

    monkeypatch.setattr(commit_order.subprocess, "run", no_git)
    assert commit_ranks(outside) == {}
