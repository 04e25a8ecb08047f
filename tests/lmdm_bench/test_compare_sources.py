"""A path is one side: a file of any kind, or a folder of them, and nothing is left out silently."""

import dataclasses
import json
import tracemalloc

import pytest

import check_records
import claims_records
import compare_records
import kernels_records
import records
from lmdm_bench.check_record import save_check
from lmdm_bench.claims_record import save_claims
from lmdm_bench.compare_record import save_compare
from lmdm_bench.compare_sources import load_side
from lmdm_bench.errors import InputError
from lmdm_bench.kernels_record import save_kernels
from lmdm_bench.record import RecordError, save, to_json
from measured_sides import run

TIMED = {
    "machine_info": {"cpu": {"brand_raw": "AMD EPYC"}},
    "benchmarks": [
        {"name": "test_sum", "stats": {"data": [0.002, 0.003]}, "params": None, "options": {}}
    ],
    "datetime": "2026-11-21T15:49:25+00:00",
}


@pytest.mark.parametrize(
    ("write", "record", "cell"),
    [
        (save, records.all_ok(), "block-causal · sao-small"),
        (save_check, check_records.short(), "block-causal · sao-small"),
        (save_claims, claims_records.agreeing(), "outpaint · sao-small"),
        (
            save_kernels,
            kernels_records.on_cpu(),
            "range · encoder-decoder-step 192+48 · sao-small · batch 1 · warm",
        ),
        (lambda one, path: path.write_text(json.dumps(one)), TIMED, "test_sum"),
    ],
)
def test_a_file_of_each_kind_is_a_side(tmp_path, write, record, cell):
    path = tmp_path / "some.json"
    write(record, path)
    side = load_side(path)
    assert side.side.name == "some.json"
    assert cell in [one.name for one in side.cells]
    assert all(len(one.processes) == 1 for one in side.cells)


@pytest.mark.parametrize("write_text", [json.dumps, lambda one: json.dumps(one, sort_keys=True)])
def test_the_layout_of_the_json_does_not_matter(tmp_path, write_text):
    path = tmp_path / "some.json"
    save_check(check_records.short(), path)
    before = load_side(path)
    path.write_text(write_text(json.loads(path.read_text())))
    assert load_side(path) == before


def test_a_folder_is_its_records_and_those_of_its_folders(tmp_path):
    save(run(1.0, "2026-11-21T12:00:00+00:00"), tmp_path / "record.json")
    for name, factor in (("first", 1.1), ("second", 1.2)):
        (tmp_path / name).mkdir()
        save(run(factor, f"2026-11-21T11:00:0{factor}"), tmp_path / name / "record.json")
    deep = tmp_path / "first" / "deeper"
    deep.mkdir()
    (deep / "record.json").write_text("{")
    hidden = tmp_path / ".cache"
    hidden.mkdir()
    (hidden / "record.json").write_text("{")
    (tmp_path / "report.md").write_text("{")
    side = load_side(tmp_path)
    assert side.side.name == tmp_path.name
    assert side.side.created == "2026-11-21T12:00:00+00:00"
    for cell, plain in zip(side.cells, run().cells, strict=True):
        first = plain.blocks[2].steps_ms[0]
        assert [one.stages["first_step"][0] / first for one in cell.processes] == pytest.approx(
            [1.1, 1.2, 1.0]
        )


def test_kinds_mix_in_a_folder(tmp_path):
    save(records.all_ok(), tmp_path / "record.json")
    save_check(check_records.short(), tmp_path / "check.json")
    names = [(one.name, one.axes["mode"]) for one in load_side(tmp_path).cells]
    assert ("block-causal · sao-small", "back to back") in names
    assert ("block-causal · sao-small", "paced") in names


def test_files_that_are_no_records_are_left_out_and_named(tmp_path):
    save(records.all_ok(), tmp_path / "record.json")
    (tmp_path / "launches.json").write_text("[]")
    (tmp_path / "notes.json").write_text('{"benchmarks": []}')
    (tmp_path / "points.json").write_text('{"points": []}')
    save_compare(compare_records.same(), tmp_path / "compare.json")
    side = load_side(tmp_path)
    assert len(side.cells) == 3
    assert side.side.unavailable["files"] == (
        "no records, and left out: compare.json, launches.json, notes.json, points.json"
    )


@pytest.mark.parametrize("files", [{}, {"notes.json": "[1]"}, {"record.txt": "{}"}])
def test_a_folder_without_a_record_is_refused(tmp_path, files):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=f"^no record in {tmp_path}: what can be compared are"):
        load_side(tmp_path)


WHOLE = to_json(records.all_ok())
CORRUPT = {
    "empty": b"",
    "binary": bytes(range(256)),
    "cut": WHOLE[: len(WHOLE) // 2].encode(),
    "cut early": WHOLE[:40].encode(),
    "nan": WHOLE.replace('"seed": 0', '"seed": NaN').encode(),
    "nan elsewhere": b'{"benchmarks": [NaN], "machine_info": {}}',
    "infinite": WHOLE.replace('"service_ms": 3', '"service_ms": 1e999, "x": 3', 1).encode(),
    "missing": WHOLE.replace('"created"', '"creatod"').encode(),
    "old": WHOLE.replace('"schema_version": 3', '"schema_version": 1').encode(),
    "deep": b'{"schema_version": 3, "cells": ' + b"[" * 100_000,
    "deep elsewhere": b"[" * 100_000,
    "number": b"1" * 5000,
    "another kind": b'{"schema_version": 1, "calibrations": []}',
    "no data": json.dumps({**TIMED, "benchmarks": [{"name": "x", "stats": {}}]}).encode(),
}


@pytest.mark.parametrize("kind", CORRUPT)
@pytest.mark.parametrize("is_in_a_folder", [False, True])
def test_what_cannot_be_read_is_an_error_that_names_the_file(tmp_path, kind, is_in_a_folder):
    save(records.all_ok(), tmp_path / "a.json")
    path = tmp_path / "b.json"
    path.write_bytes(CORRUPT[kind])
    with pytest.raises(RecordError) as refused:
        load_side(tmp_path if is_in_a_folder else path)
    assert "b.json" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("cut", range(0, len(WHOLE), len(WHOLE) // 40))
def test_a_record_cut_anywhere_is_never_taken_for_none(tmp_path, cut):
    path = tmp_path / "record.json"
    path.write_text(WHOLE[:cut])
    with pytest.raises(RecordError, match=r"record\.json is not whole JSON .* was it cut off\?"):
        load_side(tmp_path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(RecordError, match=r"cannot read the record .*none\.json: No such file"):
        load_side(tmp_path / "none.json")


def test_a_comparison_is_not_compared_again(tmp_path):
    path = tmp_path / "compare.json"
    save_compare(compare_records.same(), path)
    with pytest.raises(InputError, match=r"compare\.json is a comparison itself: lmdm-bench rep"):
        load_side(path)


@pytest.mark.parametrize("text", ["[]", "{}", "3", '{"points": []}'])
def test_a_named_file_that_is_no_record_is_refused_with_what_can_be(tmp_path, text):
    path = tmp_path / "launches.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"launches\.json is no record: records of run, check"):
        load_side(path)


def test_a_large_side_fits_into_little_memory(tmp_path):
    whole = records.cell("block-causal", num_blocks=1000)
    cells = tuple(
        dataclasses.replace(whole, workload=dataclasses.replace(whole.workload, batch=batch))
        for batch in (1, 2, 3, 4)
    )
    path = tmp_path / "record.json"
    save(dataclasses.replace(records.all_ok(), cells=cells), path)
    tracemalloc.start()
    try:
        side = load_side(path)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [len(one.processes[0].service_ms) for one in side.cells] == [1000] * 4
    # Fifty times as many cells, and what of another side is kept, stay below 1 GiB.
    assert peak_bytes < 18 << 20
