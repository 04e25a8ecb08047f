import dataclasses
import json

import pytest

import check_records
import claims_records
import compare_records
import histories
import kernels_records
import records
from lmdm_bench import history_index
from lmdm_bench.check_record import save_check
from lmdm_bench.claims_record import save_claims
from lmdm_bench.compare_record import save_compare
from lmdm_bench.errors import InputError
from lmdm_bench.history_index import (
    INDEX_SCHEMA_VERSION,
    check_index,
    fresh_index,
    index_path,
    load_index,
    rebuild,
    save_index,
    update_index,
)
from lmdm_bench.kernels_record import save_kernels
from lmdm_bench.record import RecordError, save

CELL = "block-causal · sao-small"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Records of each kind."""
    data = tmp_path_factory.mktemp("data")
    save(records.all_ok(), data / "a_run.json")
    save_check(check_records.likely(), data / "b_check.json")
    save_claims(claims_records.agreeing(), data / "c_claims.json")
    save_kernels(kernels_records.on_cpu(), data / "d_kernels.json")
    save_compare(compare_records.slower(), data / "e_compare.json")
    return data


@pytest.fixture(scope="module")
def index(folder):
    return rebuild(folder)


@pytest.fixture
def runs(tmp_path):
    """Two runs, indexed."""
    data = tmp_path / "reports" / "data"
    data.mkdir(parents=True)
    save(records.all_ok(), data / "a.json")
    save(records.cuda(), data / "b.json")
    assert update_index(data) == []
    return data


def cells_of(index, file, side=None):
    (entry,) = (one for one in index.entries if (one.file, one.side) == (file, side))
    return {one.name: one for one in entry.indexed_cells}


def test_every_record_has_an_entry_with_what_it_is(index):
    assert [(one.file, one.kind, one.side) for one in index.entries] == [
        ("a_run.json", "run", None),
        ("b_check.json", "check", None),
        ("c_claims.json", "claims", None),
        ("d_kernels.json", "kernels", None),
        ("e_compare.json", "compare", "a"),
        ("e_compare.json", "compare", "b"),
    ]
    run = records.all_ok()
    entry = index.entries[0]
    assert entry.created == run.created and entry.git_commit == run.tool.git_commit
    assert entry.git_is_dirty == run.tool.git_is_dirty and entry.machine == run.machine.name
    assert (entry.device, entry.dtype) == ("cpu", "bfloat16")
    assert [one.git_commit for one in index.entries[-2:]] == ["a" * 40, "b" * 40]


def test_a_cell_has_the_median_of_what_was_measured_with_its_interval(index):
    (block,) = (one for one in records.all_ok().cells if one.workload.scheme == "block-causal")
    told = cells_of(index, "a_run.json")[CELL].median_ms
    wanted = block.summary.service_ms.p50
    assert told.n == wanted.n == 9
    assert (told.value, *told.ci95) == pytest.approx((wanted.value, *wanted.ci95), rel=1e-5)
    assert told.value == float(f"{told.value:.5e}")
    kernel = cells_of(index, "d_kernels.json")["range · full 192+48 · sao-small · batch 1 · warm"]
    assert kernel.kind == "kernel" and kernel.median_ms.n == kernels_records.ROUNDS


def test_each_side_of_a_comparison_has_all_samples_of_its_processes(index):
    before, after = (cells_of(index, "e_compare.json", side)[CELL].median_ms for side in "ab")
    assert before.n == after.n == 5 * 16
    assert after.value / before.value == pytest.approx(1.165, rel=0.02)


def test_a_comparison_of_records_measured_nothing(tmp_path):
    save_compare(compare_records.side_by_side(), tmp_path / "compare.json")
    assert [one.indexed_cells for one in rebuild(tmp_path).entries] == [(), ()]


def test_a_cell_without_a_time_has_its_reason(tmp_path):
    save(records.one_oom(), tmp_path / "oom.json")
    save(records.one_block(), tmp_path / "one.json")
    save_compare(compare_records.broken(), tmp_path / "compare.json")
    index = rebuild(tmp_path)
    oom = cells_of(index, "oom.json")["outpaint · sao-small"].median_ms
    assert oom.value is None and oom.reason.startswith("OOM: outpaint needs 14.1 GiB more")
    one = cells_of(index, "one.json")[CELL].median_ms
    assert (one.value, one.ci95, one.n, one.reason) == (None, None, 1, "needs 6 samples")
    broken = cells_of(index, "compare.json", "b")[CELL].median_ms
    assert broken.value is None and broken.reason.startswith("INCORRECT: error 0.3")


def test_what_a_machine_cannot_do_is_not_indexed(index):
    record = kernels_records.on_cpu()
    assert any(row.status == "UNSUPPORTED" for _, row in record.rows())
    cells = index.entries[3].indexed_cells
    assert {one.axes["backend"] for one in cells} == {"range", "masked", "flex", "reference"}


def test_rebuilding_is_a_function_of_the_records(folder, index, tmp_path):
    """Neither the order in which they came nor the folder's place matters."""
    for path in sorted(folder.iterdir(), reverse=True):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert rebuild(tmp_path) == index
    for entry in index.entries:
        keys = [(one.name, sorted(one.axes.items())) for one in entry.indexed_cells]
        assert keys == sorted(keys) and len({str(key) for key in keys}) == len(keys)


def test_an_index_is_read_as_it_was_written_a_line_for_each_cell(index, tmp_path):
    path = tmp_path / "data.index.json"
    save_index(index, path)
    assert load_index(path) == index
    num_cells = sum(len(one.indexed_cells) for one in index.entries)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert sum('"median_ms"' in line for line in lines) == num_cells
    assert json.loads(path.read_text(encoding="utf-8"))["schema_version"] == INDEX_SCHEMA_VERSION
    empty = histories.index(histories.entry(0))
    save_index(empty, path)
    assert load_index(path) == empty
    save_index(histories.index(), path)
    assert load_index(path) == histories.index()


def test_the_index_is_beside_the_records_and_none_of_them(runs, monkeypatch):
    assert index_path(runs) == runs.parent / "data.index.json"
    assert sorted(path.name for path in runs.glob("*.json")) == ["a.json", "b.json"]
    monkeypatch.chdir(runs)
    assert index_path(type(runs)()) == runs.parent / "data.index.json"


def test_an_index_among_records_is_none_of_them(runs):
    index_path(runs).rename(runs / "other.index.json")
    assert check_index(load_index(runs / "other.index.json"), runs) == []


def test_an_index_that_cannot_be_read_says_why(tmp_path):
    path = tmp_path / "data.index.json"
    path.write_text('{"schema_version": 1, "entries": [')
    with pytest.raises(RecordError, match="not whole JSON"):
        load_index(path)
    path.write_text('{"schema_version": 2, "entries": []}')
    with pytest.raises(RecordError, match="schema_version 2; this version reads 1"):
        load_index(path)
    path.write_text('{"schema_version": 1, "entries": [], "more": 1}')
    with pytest.raises(RecordError, match="more is not a field"):
        load_index(path)


def test_an_index_of_its_records_has_no_complaint(folder, index):
    assert check_index(index, folder) == []


def test_complaints_name_what_is_new_changed_gone_or_not_what_it_should_be(runs):
    index = load_index(index_path(runs))
    save(records.five_schemes(), runs / "c.json")
    assert check_index(index, runs) == ["c.json is not indexed yet; --write adds it."]
    (runs / "c.json").unlink()
    first, second = index.entries
    tampered = dataclasses.replace(index, entries=(first, dataclasses.replace(second, dtype="x")))
    assert check_index(tampered, runs) == [
        "data.index.json is not what its records give; --write rebuilds it."
    ]
    (runs / "a.json").write_bytes((runs / "a.json").read_bytes() + b"\n")
    (runs / "b.json").unlink()
    assert check_index(index, runs) == [
        "a.json was changed after it was indexed; records are only ever added.",
        "b.json was indexed and is gone; records are only ever added.",
    ]


def test_an_update_adds_and_keeps(runs):
    before = load_index(index_path(runs))
    save(records.five_schemes(), runs / "c.json")
    assert update_index(runs) == []
    after = load_index(index_path(runs))
    assert after.entries[:2] == before.entries and after.entries[2].file == "c.json"


@pytest.mark.parametrize("harm", ["change", "remove"])
def test_an_update_writes_nothing_where_a_record_is_not_what_it_was(runs, harm):
    save(records.five_schemes(), runs / "c.json")
    if harm == "change":
        save(records.interrupted(), runs / "a.json")
    else:
        (runs / "a.json").unlink()
    before = index_path(runs).read_bytes()
    (complaint,) = update_index(runs)
    assert complaint.startswith("a.json was ")
    assert index_path(runs).read_bytes() == before


def test_the_command_compares_writes_and_refuses(runs, capsys):
    root = str(runs.parents[1])
    assert history_index.main([root]) == 0
    assert capsys.readouterr().err == ""
    save(records.five_schemes(), runs / "c.json")
    assert history_index.main([root]) == 1
    assert capsys.readouterr().err == "c.json is not indexed yet; --write adds it.\n"
    assert history_index.main([root, "--write"]) == 0 == history_index.main([root])
    (runs / "c.json").unlink()
    assert history_index.main([root, "--write"]) == 1
    assert "c.json was indexed and is gone" in capsys.readouterr().err


def test_the_command_says_what_is_missing_or_cannot_be_read(runs, capsys):
    root, path = str(runs.parents[1]), index_path(runs)
    path.unlink()
    assert history_index.main([root]) == 1
    assert capsys.readouterr().err == "data.index.json is missing; --write makes it.\n"
    (runs / "c.json").write_text("{")
    assert history_index.main([root, "--write"]) == 1
    assert "c.json is not whole JSON" in capsys.readouterr().err and not path.exists()
    path.write_text("{")
    assert history_index.main([root, "--write"]) == 1
    assert "data.index.json is not whole JSON" in capsys.readouterr().err


def test_an_index_of_these_records_is_taken_as_it_is(runs, monkeypatch):
    monkeypatch.setattr(history_index, "rebuild", None)
    index, complaint = fresh_index(runs)
    assert index == load_index(index_path(runs)) and complaint is None


def test_an_index_that_is_not_of_these_records_is_rebuilt_and_that_is_said(runs):
    save(records.five_schemes(), runs / "c.json")
    index, complaint = fresh_index(runs)
    assert index == rebuild(runs) and "is not of these records" in complaint
    index_path(runs).write_text("{")
    index, complaint = fresh_index(runs)
    assert index == rebuild(runs) and "cannot be read" in complaint
    index_path(runs).unlink()
    index, complaint = fresh_index(runs)
    assert index == rebuild(runs) and "is not there" in complaint


def test_a_folder_without_records_has_no_index(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="holds no records"):
            fresh_index(folder)


def test_a_bad_record_is_named(tmp_path):
    (tmp_path / "bad.json").write_text('{"schema_version": 3}')
    with pytest.raises(RecordError, match=r"bad\.json.*missing"):
        rebuild(tmp_path)
    run = records.all_ok()
    cell = run.cells[0]
    block = dataclasses.replace(cell.blocks[-1], service_ms=0.0)
    cell = dataclasses.replace(cell, blocks=(*cell.blocks[:-1], block))
    save(dataclasses.replace(run, cells=(cell,)), tmp_path / "bad.json")
    with pytest.raises(RecordError, match=r"bad\.json: outpaint .* took 0 ms, not above 0"):
        rebuild(tmp_path)
