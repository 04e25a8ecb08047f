"""The command ``compare``: its refusals, what it leaves, and the exit code that answers."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import compare_records
import records
from lmdm_bench import cli, compare_session
from lmdm_bench.cli_shared import BAD_INPUT, INTERRUPTED
from lmdm_bench.compare_record import CompareRecord, load_compare, save_compare
from lmdm_bench.compare_session import CompareAsked
from lmdm_bench.record import save

FILES = {"compare.json", "compare.md", "compare.html", "forest.png", "forest.svg", "verdicts.json"}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No gate.toml of the project's own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[[CompareRecord], list[CompareAsked]]:
    """Makes every comparison find this; the list gets what was asked."""
    asked: list[CompareAsked] = []

    def finds(record: CompareRecord) -> list[CompareAsked]:
        def run(one: CompareAsked, path: Path, say: Callable[[str], None]) -> CompareRecord:
            asked.append(one)
            save_compare(record, path)
            return record

        monkeypatch.setattr(compare_session, "run_compare", run)
        return asked

    return finds


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, ["compare", *map(str, arguments)])


@pytest.mark.parametrize(
    ("name", "code"),
    [("same", 0), ("slower", 1), ("faster", 0), ("broken", 1), ("drifting", 3)],
)
def test_the_exit_code_is_the_answer(
    name: str, code: int, found: Callable[[CompareRecord], list[CompareAsked]], tmp_path: Path
) -> None:
    record = compare_records.EXAMPLES[name]()
    found(record)
    result = call("--base", "main", "--out", tmp_path / "out")
    assert result.exit_code == code, result.output
    assert {one.name for one in (tmp_path / "out").iterdir()} == FILES
    assert load_compare(tmp_path / "out" / "compare.json") == record
    assert max(map(len, result.output.splitlines())) <= 80


def test_what_was_stopped_says_so(
    found: Callable[[CompareRecord], list[CompareAsked]], tmp_path: Path
) -> None:
    record = compare_records.same()
    settings = dataclasses.replace(record.settings, is_interrupted=True)
    found(dataclasses.replace(record, settings=settings))
    assert call("--base", "main", "--out", tmp_path / "out").exit_code == INTERRUPTED


def test_json_is_the_verdicts_and_nothing_else_on_standard_output(
    found: Callable[[CompareRecord], list[CompareAsked]], tmp_path: Path
) -> None:
    found(compare_records.slower())
    result = call("a", "b", "--json", "--out", tmp_path / "out")
    told = json.loads(result.stdout)
    assert told["exit_code"] == result.exit_code == 1
    assert (tmp_path / "out" / "verdicts.json").read_text() == result.stdout


def test_thresholds_come_from_the_gate_here_or_the_one_named(
    found: Callable[[CompareRecord], list[CompareAsked]], tmp_path: Path
) -> None:
    asked = found(compare_records.same())
    (tmp_path / "gate.toml").write_text("schema = 1\n[thresholds]\nblock = 0.07\n")
    (tmp_path / "other.toml").write_text("schema = 1\n[thresholds]\nblock = 0.09\n")
    call("main", "topic", "--cell", "range*,codec*", "--out", tmp_path / "one")
    call("main", "topic", "--gate", "other.toml", "--out", tmp_path / "two")
    assert [one.gate.block for one in asked] == [0.07, 0.09]
    assert asked[0].cells == ("range*", "codec*")
    assert asked[0].sides == ("main", "topic")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name two records, folders or revisions"),
        (["main"], "name two records, folders or revisions"),
        (["main", "topic", "--base", "x"], "name two sides, or --base"),
        (["a.json", "main"], "there is no file main"),
        (["a.json", "empty.json"], "empty.json"),
        (["a.json", "other.json"], "cannot compare"),
        (["main", "topic", "--minutes", "0"], "some minutes"),
        (["main", "topic", "--gate", "none.toml"], "none.toml"),
        (["main", "topic", "--gate", "typo.toml"], "blok is not known"),
        (["main", "topic", "--dtype", "fp64"], "unknown dtype"),
        (["main", "topic"], "git checkout of lmdm-bench"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(
    arguments: list[str], words: str, tmp_path: Path
) -> None:
    save(records.all_ok(), tmp_path / "a.json")
    other = records.all_ok()
    cells = tuple(
        dataclasses.replace(cell, workload=dataclasses.replace(cell.workload, steps=3))
        for cell in other.cells
    )
    save(dataclasses.replace(other, cells=cells), tmp_path / "other.json")
    (tmp_path / "empty.json").touch()
    (tmp_path / "typo.toml").write_text("schema = 1\n[thresholds]\nblok = 0.03\n")
    result = call(*arguments, "--out", tmp_path / "out")
    assert result.exit_code == BAD_INPUT, result.output
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("lmdm-bench: ") and words in line
    assert not (tmp_path / "out").exists()


def test_two_records_of_one_machine_are_compared(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(records.all_ok(), tmp_path / f"{name}.json")
    result = call("a.json", "b.json", "--out", "out")
    assert result.exit_code in (0, 3), result.output
    assert "block-causal" in result.output
    again = CliRunner().invoke(cli.app, ["report", "out/compare.json", "--out", "again"])
    assert again.exit_code == 0, again.output
    for name in ("compare.md", "forest.png"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
