import dataclasses
import json

import pytest

import kernels_records
import records
from lmdm_bench.kernels_record import (
    KernelCheck,
    KernelRow,
    Timing,
    is_kernels,
    load_kernels,
    save_kernels,
)
from lmdm_bench.record import RecordError, save, to_json

RIGHT = KernelCheck(1e-7, 1e-7, 3e-7, is_within_budget=True)
WRONG = KernelCheck(1e-2, 1e-7, 3e-7, is_within_budget=False)
TIMING = Timing("warm", "OK", None, 1, 1000, (0.1, 0.2))


def row(**changes):
    whole = {
        "backend": "range",
        "status": "OK",
        "reason": None,
        "check": RIGHT,
        "launches": None,
        "compiles": 0,
        "recompiles": 0,
        "compile_seconds": None,
        "timings": (TIMING,),
        "unavailable": {"launches": "a reason"},
    }
    return KernelRow(**(whole | changes))


@pytest.mark.parametrize("name", kernels_records.EXAMPLES)
def test_what_is_saved_is_loaded(name, tmp_path):
    record = kernels_records.EXAMPLES[name]()
    save_kernels(record, tmp_path / "kernels.json")
    assert load_kernels(tmp_path / "kernels.json") == record
    assert is_kernels(tmp_path / "kernels.json")


def test_no_times_without_a_check_that_held():
    row()
    for check in (None, WRONG):
        with pytest.raises(RecordError, match="range has times without a check that held"):
            row(check=check)
    row(check=WRONG, status="INCORRECT", reason="an error", timings=())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"reason": "why"}, "status OK and reason do not go together"),
        ({"status": "OOM"}, "status OOM and reason do not go together"),
        ({"timings": ()}, "range is OK and nothing of it was timed"),
    ],
)
def test_a_row_does_not_contradict_itself(changes, words):
    with pytest.raises(RecordError, match=words):
        row(**changes)


def test_a_timing_does_not_contradict_itself():
    with pytest.raises(RecordError, match="at least one round"):
        dataclasses.replace(TIMING, round_ms=())
    with pytest.raises(RecordError, match="status FAILED and reason"):
        dataclasses.replace(TIMING, status="FAILED")


def test_an_unknown_field_a_regime_or_a_version_is_named(tmp_path):
    path = tmp_path / "kernels.json"
    save_kernels(kernels_records.short(), path)
    whole = json.loads(path.read_text())
    for change, words in (
        (lambda data: data["kernel_cells"][0].update(colour="red"), "colour is not a field"),
        (lambda data: data["settings"].update(regimes=["tepid"]), "'tepid', not one of"),
        (lambda data: data.update(schema_version=99), "schema_version 99"),
    ):
        data = json.loads(json.dumps(whole))
        change(data)
        path.write_text(json.dumps(data))
        with pytest.raises(RecordError, match=words):
            load_kernels(path)


def test_other_records_are_none_of_kernels(tmp_path):
    save(records.all_ok(), tmp_path / "record.json")
    assert not is_kernels(tmp_path / "record.json")
    (tmp_path / "cut.json").write_text(to_json(kernels_records.short())[:1000])
    assert not is_kernels(tmp_path / "cut.json")
    with pytest.raises(RecordError, match="cut off"):
        load_kernels(tmp_path / "cut.json")
    with pytest.raises(RecordError, match="cannot read the record"):
        is_kernels(tmp_path / "none.json")
