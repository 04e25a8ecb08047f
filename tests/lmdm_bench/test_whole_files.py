"""Files that belong together are there all or none."""

from pathlib import Path

import pytest

from lmdm_bench import whole_files
from lmdm_bench.record import write_whole
from lmdm_bench.whole_files import write_together


def test_each_file_is_written_under_its_name(tmp_path: Path) -> None:
    write_together(tmp_path, {"one": b"1", "two": b"2"})
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == {"one": b"1", "two": b"2"}


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_what_is_stopped_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]
) -> None:
    def write_one(path: Path, content: bytes) -> None:
        if path.name == "two":
            raise stop
        write_whole(path, content)

    (tmp_path / "other").write_text("stays")
    monkeypatch.setattr(whole_files, "write_whole", write_one)
    with pytest.raises(stop):
        write_together(tmp_path, {"one": b"1", "two": b"2", "three": b"3"})
    assert [one.name for one in tmp_path.iterdir()] == ["other"]
