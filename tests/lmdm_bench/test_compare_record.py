"""The record of a comparison: it comes back as it was, and what cannot be is refused."""

import dataclasses
import json
from pathlib import Path

import pytest

import compare_records
from lmdm_bench.compare_record import (
    CellSide,
    Times,
    is_compare,
    load_compare,
    save_compare,
)
from lmdm_bench.record import RecordError


@pytest.mark.parametrize("name", compare_records.EXAMPLES)
def test_a_record_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    record = compare_records.EXAMPLES[name]()
    path = tmp_path / "compare.json"
    save_compare(record, path)
    assert is_compare(path)
    assert load_compare(path) == record


@pytest.mark.parametrize("text", ["{", "[]", '{"cells": []}'])
def test_other_files_are_no_comparison(text: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    assert not is_compare(path)
    with pytest.raises(RecordError, match=r"other\.json"):
        load_compare(path)


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("settings", "gate", "block"), "3 %", "gate.block should be float"),
        (("settings", "source"), "rumours", "source is 'rumours'"),
        (("compared_cells", 0, "a", "status"), "FINE", "status is 'FINE'"),
        (("compared_cells", 0, "processes", 0, "service", "a_ms"), [1.0], "40 samples on both"),
        (("compared_cells", 0, "processes", 0, "controls", "copy", "b_ms"), [], "copy should have"),
        (("b",), None, "b should be"),
    ],
)
def test_what_is_off_is_named(
    place: tuple[str | int, ...], value: object, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "compare.json"
    save_compare(compare_records.same(), path)
    data = json.loads(path.read_text())
    inner = data
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path.write_text(json.dumps(data))
    with pytest.raises(RecordError, match=words):
        load_compare(path)


def test_a_side_says_why_it_did_not_end_well() -> None:
    with pytest.raises(RecordError, match="do not go together"):
        CellSide("OOM", None, None, None, {}, None)
    with pytest.raises(RecordError, match="do not go together"):
        CellSide("OK", "no memory", None, None, {}, None)


def test_samples_that_are_not_paired_may_differ_in_number() -> None:
    drawn = compare_records.same().compared_cells[0].processes[0]
    unpaired = dataclasses.replace(drawn, b_first=(), service=Times((1.0,), (1.0, 2.0)))
    assert unpaired.service.b_ms == (1.0, 2.0)
    with pytest.raises(RecordError, match="service should have 40 samples on both sides"):
        dataclasses.replace(drawn, service=Times((1.0,), (1.0, 2.0)))
