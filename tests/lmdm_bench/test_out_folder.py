"""A folder is claimed by one run, refused with a reason, and not left behind empty."""

import os
from pathlib import Path

import pytest

from lmdm_bench.errors import InputError
from lmdm_bench.out_folder import claimed

NO_PROCESS = str(2**22 + 1)  # above Linux's largest process number


def test_a_folder_is_made_with_its_parents_and_kept_if_something_is_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with claimed(folder) as given:
        (given / "record.json").write_text("{}")
    assert [one.name for one in folder.iterdir()] == ["record.json"]


def test_an_empty_folder_is_removed_again_with_its_parents(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), claimed(tmp_path / "a" / "b"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_after_a_failure_only_what_was_there_before_is_left(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RuntimeError), claimed(tmp_path):
        (tmp_path / "outpaint.wav").write_text("half a run")
        raise RuntimeError
    assert [one.name for one in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_that_was_there_stays_there(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    with claimed(folder):
        pass
    assert folder.is_dir()


def test_results_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text("precious")
    with pytest.raises(InputError, match="already holds a record"), claimed(tmp_path):
        pass
    assert (tmp_path / "record.json").read_text() == "precious"


@pytest.mark.parametrize("name", ["claims.json", "kernels.json", "launches.json"])
def test_other_records_and_launch_tables_are_results_too(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("precious")
    with pytest.raises(InputError, match="already holds a record"), claimed(tmp_path):
        pass
    assert (tmp_path / name).read_text() == "precious"


@pytest.mark.parametrize("name", ["kernels.json", "launches.json"])
def test_what_is_saved_as_it_goes_outlives_a_failure(tmp_path: Path, name: str) -> None:
    with pytest.raises(RuntimeError), claimed(tmp_path):
        (tmp_path / name).write_text("three cases")
        (tmp_path / "kernels.md").write_text("half a report")
        raise RuntimeError
    assert [one.name for one in tmp_path.iterdir()] == [name]


def test_a_run_that_goes_on_may_write_where_its_record_is(tmp_path: Path) -> None:
    (tmp_path / "claims.json").write_text("begun")
    with claimed(tmp_path, is_resumed=True) as folder:
        (folder / "claims.json").write_text("gone on")
    assert (tmp_path / "claims.json").read_text() == "gone on"


@pytest.mark.parametrize("is_resumed", [False, True])
def test_a_claims_record_outlives_a_failure_and_its_report_does_not(
    tmp_path: Path, is_resumed: bool
) -> None:
    """It is written after each round, so it is whole whenever a run ends."""
    if is_resumed:
        (tmp_path / "claims.json").write_text("begun")
    with pytest.raises(RuntimeError), claimed(tmp_path, is_resumed=is_resumed):
        (tmp_path / "claims.json").write_text("three rounds")
        (tmp_path / "claims.md").write_text("half a report")
        raise RuntimeError
    assert [one.name for one in tmp_path.iterdir()] == ["claims.json"]
    assert (tmp_path / "claims.json").read_text() == "three rounds"


def test_a_run_that_goes_on_shares_its_folder_with_none(tmp_path: Path) -> None:
    (tmp_path / "claims.json").write_text("begun")
    with (
        claimed(tmp_path, is_resumed=True),
        pytest.raises(InputError, match="another run is writing"),
        claimed(tmp_path, is_resumed=True),
    ):
        pass


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        claimed(tmp_path),
        pytest.raises(InputError, match="another run is writing"),
        claimed(tmp_path),
    ):
        pass


@pytest.mark.parametrize("owner", [NO_PROCESS, "not a number", ""])
def test_the_claim_of_a_dead_run_does_not_hold(tmp_path: Path, owner: str) -> None:
    (tmp_path / ".claimed-by").write_text(owner)
    with claimed(tmp_path):
        assert (tmp_path / ".claimed-by").read_text() == str(os.getpid())


def test_a_file_where_the_folder_should_be_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for folder in (file, file / "below"):
        with pytest.raises(InputError, match=f"cannot write to {folder}"), claimed(folder):
            pass


def test_a_folder_that_takes_no_files_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match="Permission denied"), claimed(tmp_path):
        pass
