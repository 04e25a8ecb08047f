"""A record's place is kept while a run goes on, whatever becomes of the disk."""

import errno
import shutil
import tempfile
from pathlib import Path

import pytest

from lmdm_bench import kept_place
from lmdm_bench.kept_place import KeptPlace

SAID: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_said() -> None:
    SAID.clear()


def test_room_is_taken_before_and_given_up_for_the_record(tmp_path: Path) -> None:
    place = KeptPlace(tmp_path / "check.json", 3_000_000, SAID.append)
    (zeros,) = tmp_path.iterdir()
    assert zeros.stat().st_size == 3_000_000
    place.save(b"first", is_last=False)
    assert (tmp_path / "check.json").read_bytes() == b"first"
    assert zeros.stat().st_size == 3_000_000
    place.save(b"second", is_last=True)
    place.close()
    assert [one.name for one in tmp_path.iterdir()] == ["check.json"]
    assert (tmp_path / "check.json").read_bytes() == b"second"
    assert not SAID


def test_without_room_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(kept_place.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        KeptPlace(tmp_path / "check.json", 3_000_000, SAID.append)
    assert not list(tmp_path.iterdir())


def test_where_the_folder_has_gone_the_record_is_kept_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, elsewhere = tmp_path / "out", tmp_path / "tmp"
    folder.mkdir()
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    place = KeptPlace(folder / "check.json", 1000, SAID.append)
    shutil.rmtree(folder)
    place.save(b"blocks", is_last=True)
    (kept,) = elsewhere.glob("*/check.json")
    assert kept.read_bytes() == b"blocks"
    assert len(SAID) == 1 and str(kept) in SAID[0] and "cannot be written" in SAID[0]
    place.close()


def test_it_is_given_up_when_nothing_is_written(tmp_path: Path) -> None:
    KeptPlace(tmp_path / "check.json", 1000, SAID.append).close()
    assert not list(tmp_path.iterdir())
