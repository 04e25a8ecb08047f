"""What is compared: how it is told apart, refused, and measured from a checkout to a record."""

import dataclasses
import subprocess
from pathlib import Path

import pytest

import compare_records
import records
from lmdm_bench import compare_session
from lmdm_bench.compare_record import load_compare
from lmdm_bench.compare_session import CompareAsked, are_records, check_asked, is_wanted
from lmdm_bench.errors import InputError
from lmdm_bench.paired_run import MIN_PAIRS
from lmdm_bench.record import save

ASKED = CompareAsked(
    sides=(),
    base="HEAD",
    is_merge_base=False,
    cells=("outpaint · tiny",),
    minutes=0.001,
    num_processes=1,
    seed=0,
    device="cpu",
    dtype="float32",
    gate=compare_records.DEFAULT_GATE,
    command="lmdm-bench compare --base HEAD",
)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sides": ("a", "b")}, "name two sides, or --base"),
        ({"base": ""}, "name two records, folders or revisions"),
        ({"base": "", "sides": ("a",)}, "name two records, folders or revisions"),
        ({"base": "", "sides": ("a", "b", "c")}, "name two records, folders or revisions"),
        ({"base": "", "sides": ("a", "b"), "is_merge_base": True}, "--merge-base is of --base"),
        ({"minutes": 0.0}, "must be some minutes"),
        ({"minutes": float("nan")}, "must be some minutes"),
        ({"minutes": float("inf")}, "must be some minutes"),
        ({"num_processes": 0}, "processes must be 1 to"),
        ({"seed": -1}, "seed must not be negative"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, object], words: str) -> None:
    check_asked(ASKED)
    with pytest.raises(InputError, match=words):
        check_asked(dataclasses.replace(ASKED, **changes))  # type: ignore[arg-type]


def test_sides_are_files_or_revisions_not_one_of_each(tmp_path: Path) -> None:
    here = str(tmp_path)
    assert are_records((here, here))
    assert not are_records(("main", "HEAD"))
    assert not are_records(())
    for sides in ((here, "main"), ("main", here)):
        with pytest.raises(InputError, match="there is no file main"):
            are_records(sides)


def test_patterns_choose_cells_by_name() -> None:
    assert is_wanted("outpaint · tiny", ())
    assert is_wanted("outpaint · tiny", ("range*", "*tiny"))
    assert not is_wanted("outpaint · tiny", ("range*",))


def test_records_become_a_record_of_the_cells_that_are_wanted(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(records.all_ok(), tmp_path / f"{name}.json")
    sides = str(tmp_path / "a.json"), str(tmp_path / "b.json")
    asked = dataclasses.replace(ASKED, sides=sides, base="", cells=("block-causal*",))
    path = tmp_path / "compare.json"
    record = compare_session.run_compare(asked, path, print)
    assert load_compare(path) == record
    assert [one.name.split(" · ")[0] for one in record.compared_cells] == ["block-causal"]
    with pytest.raises(InputError, match="no cell is named so; there are"):
        compare_session.run_compare(dataclasses.replace(asked, cells=("x",)), path, print)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of this one's HEAD, in which a run may do what it likes."""
    source = Path(__file__).parents[2]
    if not (source / ".git").exists():
        pytest.skip("the tests are not run from a git checkout")
    root = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(source), str(root)], check=True)
    if not (root / "bench/lmdm_bench/suite_worker.py").exists():
        pytest.skip("HEAD is older than comparisons of revisions")
    monkeypatch.chdir(root)
    return root


def test_the_working_tree_is_measured_beside_a_revision(clone: Path, tmp_path: Path) -> None:
    said: list[str] = []
    record = compare_session.run_compare(ASKED, tmp_path / "compare.json", said.append)
    (cell,) = record.compared_cells
    assert (cell.a.status, cell.b.status) == ("OK", "OK")
    assert cell.a.memory_bytes == cell.b.memory_bytes
    assert all(len(one.b_first) >= MIN_PAIRS for one in cell.processes)
    assert (record.a.name, record.b.name) == ("HEAD", "working tree")
    assert record.a.git_commit == record.b.git_commit
    assert not record.settings.differing
    listed = subprocess.run(
        ["git", "worktree", "list"], capture_output=True, text=True, check=True, cwd=clone
    )
    assert len(listed.stdout.splitlines()) == 1
    assert any("side a" in words for words in said)


def test_a_base_that_does_not_build_names_the_step(clone: Path, tmp_path: Path) -> None:
    broken = clone / "lmdm_ref" / "plan.py"
    broken.write_text("def (:\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"side b .* step compile: lmdm_ref/plan.py, line 1"):
        compare_session.run_compare(ASKED, tmp_path / "compare.json", print)
    assert not (tmp_path / "compare.json").exists()
