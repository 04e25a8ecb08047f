"""A claims record comes back as it was written, and nothing else is read."""

import dataclasses
import json
from pathlib import Path

import pytest

import claims_records
import records
from lmdm_bench.claims_record import (
    CLAIMS_SCHEMA_VERSION,
    ClaimsRecord,
    is_claims,
    load_claims,
    save_claims,
)
from lmdm_bench.record import RecordError, save


@pytest.fixture
def record() -> ClaimsRecord:
    return claims_records.agreeing()


@pytest.fixture
def saved(record: ClaimsRecord, tmp_path: Path) -> Path:
    path = tmp_path / "claims.json"
    save_claims(record, path)
    return path


def test_a_record_loads_back_equal(record: ClaimsRecord, saved: Path) -> None:
    assert load_claims(saved) == record


def test_a_point_that_failed_keeps_its_status_and_what_it_had(
    record: ClaimsRecord, tmp_path: Path
) -> None:
    first, *others = record.points
    failed = dataclasses.replace(first, status="OOM", reason="MemoryError: no room", check=None)
    changed = dataclasses.replace(record, points=(failed, *others))
    save_claims(changed, tmp_path / "claims.json")
    found = load_claims(tmp_path / "claims.json").points[0]
    assert (found.status, found.reason, found.check) == ("OOM", "MemoryError: no room", None)
    assert found.visits == first.visits


@pytest.mark.parametrize(("status", "reason"), [("OK", "why"), ("FAILED", None)])
def test_a_reason_goes_with_every_status_but_ok(
    record: ClaimsRecord, status: str, reason: str | None
) -> None:
    with pytest.raises(RecordError, match="do not go together"):
        dataclasses.replace(record.points[0], status=status, reason=reason)  # type: ignore[arg-type]


def test_a_file_is_known_by_what_it_holds(saved: Path, tmp_path: Path) -> None:
    assert is_claims(saved)
    save(records.all_ok(), tmp_path / "record.json")
    assert not is_claims(tmp_path / "record.json")
    for content in ("[1, 2]", '"points"', '{"points": ', ""):
        (tmp_path / "other.json").write_text(content)
        assert not is_claims(tmp_path / "other.json")
    with pytest.raises(RecordError, match="cannot read"):
        is_claims(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema_version": 99}, f"schema_version 99; this version reads {CLAIMS_SCHEMA_VERSION}"),
        ({"rounds": 3}, "record.rounds is not a field"),
        ({"points": None}, "record.points should be a list"),
        ({"memory": [{}]}, r"record.memory\[0\].workload is missing"),
    ],
    ids=str,
)
def test_a_record_of_another_shape_is_refused_by_file_and_field(
    saved: Path, change: dict[str, object], words: str
) -> None:
    saved.write_text(json.dumps({**json.loads(saved.read_text()), **change}))
    with pytest.raises(RecordError, match=words) as caught:
        load_claims(saved)
    assert str(saved) in str(caught.value)


def test_an_unknown_sweep_is_refused(saved: Path) -> None:
    data = json.loads(saved.read_text())
    data["points"][0]["sweeps"] = ["tempo"]
    saved.write_text(json.dumps(data))
    with pytest.raises(RecordError, match=r"points\[0\].sweeps\[0\] is 'tempo'"):
        load_claims(saved)


def test_a_record_that_is_cut_off_says_so(saved: Path) -> None:
    text = saved.read_text()
    saved.write_text(text[: len(text) // 2])
    with pytest.raises(RecordError, match="cut off"):
        load_claims(saved)


def test_a_run_s_record_is_no_claims_record(tmp_path: Path) -> None:
    save(records.all_ok(), tmp_path / "record.json")
    with pytest.raises(RecordError):
        load_claims(tmp_path / "record.json")


def test_a_record_that_cannot_be_written_leaves_the_older_one(
    record: ClaimsRecord, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_claims(dataclasses.replace(record, points=()), saved)
    assert saved.read_bytes() == before
    assert [one.name for one in saved.parent.iterdir()] == ["claims.json"]
