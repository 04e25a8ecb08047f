"""The tool names its versions and its commit, or says why it has none."""

import platform
import shutil
import subprocess

import pytest
import torch

from lmdm_bench import tool
from lmdm_bench.tool import describe_tool


def commit(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout of a project of this name, from which an installed wheel is run."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    folder = tmp_path / "checkout"
    (folder / "bench").mkdir(parents=True)
    (folder / "pyproject.toml").write_text('[project]\nname = "lmdm-bench"\n')
    (folder / "bench" / "run.py").write_text("")
    commit(folder, "init", "-q")
    commit(folder, "add", ".")
    commit(folder, "commit", "-q", "-m", "one")
    monkeypatch.setattr(tool, "__file__", str(tmp_path / "site-packages" / "tool.py"))
    monkeypatch.chdir(folder)
    return folder


def test_the_tool_has_versions_for_all_packages_present_or_not():
    found = describe_tool()
    assert found.python.endswith(platform.python_version())
    assert found.packages["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert set(found.packages) == set(tool.PACKAGES)
    assert (found.git_commit is None) == (found.git_reason is not None)


def test_a_wheel_run_in_a_checkout_has_its_commit(checkout):
    found = describe_tool()
    assert len(found.git_commit) == 40
    assert (found.git_is_dirty, found.git_reason) == (False, None)


@pytest.mark.parametrize(
    ("name", "is_dirty"),
    [("bench/run.py", True), ("bench/new.py", True), ("README.md", False), ("run.json", False)],
)
def test_only_what_takes_part_in_measuring_makes_a_checkout_dirty(checkout, name, is_dirty):
    (checkout / name).write_text("changed")
    assert describe_tool().git_is_dirty is is_dirty


def test_a_checkout_of_something_else_is_not_the_tools(checkout):
    (checkout / "pyproject.toml").write_text('[project]\nname = "my-music"\n')
    found = describe_tool()
    assert (found.git_commit, found.git_is_dirty) == (None, None)
    assert found.git_reason == "not run from a git checkout"
    (checkout / "pyproject.toml").write_text("not = [toml")
    assert describe_tool().git_reason == "not run from a git checkout"


def test_a_checkout_without_a_commit_and_a_machine_without_git_have_reasons(checkout, monkeypatch):
    shutil.rmtree(checkout / ".git")
    commit(checkout, "init", "-q")
    assert describe_tool().git_reason == "git cannot read the checkout's commit"
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert describe_tool().git_reason == "git is not installed"
