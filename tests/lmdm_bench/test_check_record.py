"""A check's file holds what was saved, names what is wrong with it, is told from other files."""

import dataclasses
import json
import math
import typing

import pytest

import check_records
import kernels_records
import records
from lmdm_bench.check_record import (
    CAUSES,
    CHECK_SCHEMA_VERSION,
    Cause,
    check_from_json,
    is_check,
    load_check,
    save_check,
)
from lmdm_bench.kernels_record import save_kernels
from lmdm_bench.record import RecordError, load, save, to_json


@pytest.mark.parametrize("name", check_records.EXAMPLES)
def test_what_is_saved_is_loaded(name, tmp_path):
    record = check_records.EXAMPLES[name]()
    save_check(record, tmp_path / "check.json")
    assert load_check(tmp_path / "check.json") == record
    assert is_check(tmp_path / "check.json")
    assert [path.name for path in tmp_path.iterdir()] == ["check.json"]


def test_a_record_that_could_not_be_written_leaves_the_one_before(tmp_path):
    path = tmp_path / "check.json"
    save_check(check_records.short(), path)
    whole = check_records.likely()
    wrong = dataclasses.replace(
        whole, settings=dataclasses.replace(whole.settings, minutes=math.nan)
    )
    with pytest.raises(ValueError):
        save_check(wrong, path)
    assert load_check(path) == check_records.short()


@pytest.mark.parametrize(
    ("status", "reason"), [("OK", "why"), ("OOM", None), ("INTERRUPTED", None)]
)
def test_a_cell_does_not_contradict_itself(status, reason):
    (cell,) = check_records.short().check_cells
    with pytest.raises(RecordError, match=f"status {status} and reason do not go together"):
        dataclasses.replace(cell, status=status, reason=reason)


def test_every_cause_is_in_the_list_of_causes_once():
    assert typing.get_args(Cause) == CAUSES
    assert len(set(CAUSES)) == len(CAUSES)


def test_service_times_are_those_of_the_blocks_in_order_without_the_warmup():
    (cell,) = check_records.record(check_records.cell([1500.0, 1400.0, 1600.0])).check_cells
    assert cell.service_ms == (1500.0, 1400.0, 1600.0)
    assert all(block.is_warmup for block in cell.warmup)


def test_a_block_plays_for_its_frames_at_the_sample_rate():
    (cell,) = check_records.short().check_cells
    assert cell.block_ms == pytest.approx(48 * 2048 / 44100 * 1000)


def test_lateness_is_from_the_deadline_on():
    (cell,) = check_records.short().check_cells
    one = dataclasses.replace(cell.blocks[0], ready_ms=2230.0, deadline_ms=2229.5)
    assert one.lateness_ms == 0.5
    assert dataclasses.replace(one, ready_ms=2000.0).lateness_ms == -229.5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data.update(schema_version=99), "schema_version 99"),
        (lambda data: data["settings"].update(mode="loud"), "'loud', not one of"),
        (lambda data: data["settings"].update(policy="wait"), "'wait', not one of"),
        (lambda data: data["settings"].pop("policy"), "policy"),
        (lambda data: data["check_cells"][0].update(colour="red"), "colour is not a field"),
        (lambda data: data["check_cells"][0]["blocks"][3].pop("ready_ms"), "ready_ms"),
        (lambda data: data["check_cells"][0]["canary"].update(work_ms="1"), "work_ms"),
        (lambda data: data["check_cells"][0].update(reason="why"), "status OK and reason"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(change, words):
    data = json.loads(to_json(check_records.short()))
    change(data)
    with pytest.raises(RecordError, match=words) as raised:
        check_from_json(json.dumps(data), "mine.json")
    assert "mine.json" in str(raised.value)


def test_an_earlier_kind_of_record_is_not_a_check(tmp_path):
    save(records.all_ok(), tmp_path / "record.json")
    save_kernels(kernels_records.short(), tmp_path / "kernels.json")
    for name in ("record.json", "kernels.json"):
        assert not is_check(tmp_path / name)
    save_check(check_records.short(), tmp_path / "check.json")
    with pytest.raises(RecordError):
        load(tmp_path / "check.json")


def test_a_file_that_was_cut_off_is_no_check_and_says_so(tmp_path):
    path = tmp_path / "cut.json"
    path.write_text(to_json(check_records.short())[:1000])
    assert not is_check(path)
    with pytest.raises(RecordError, match="cut off"):
        load_check(path)
    path.write_text("[1, 2]")
    assert not is_check(path)
    with pytest.raises(RecordError, match="cannot read the record"):
        is_check(tmp_path / "none.json")


def test_a_figure_that_is_not_finite_is_refused():
    text = to_json(check_records.short()).replace('"minutes": 1.0', '"minutes": NaN')
    assert "NaN" in text
    with pytest.raises(RecordError, match="NaN"):
        check_from_json(text)


def test_the_version_is_in_the_file():
    assert json.loads(to_json(check_records.short()))["schema_version"] == CHECK_SCHEMA_VERSION == 1
