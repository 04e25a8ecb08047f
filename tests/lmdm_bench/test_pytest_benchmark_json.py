"""pytest-benchmark's JSON is read with its samples, and nothing of the host is taken over."""

import copy
import json
import os
import subprocess
import sys

import pytest

from lmdm_bench.compare_machines import IDENTITY, machine_facts
from lmdm_bench.compare_measured import known_differences
from lmdm_bench.machine import describe_machine
from lmdm_bench.pytest_benchmark_json import is_pytest_benchmark, recorded_benchmarks
from lmdm_bench.record import RecordError, to_json

BENCHMARK = {
    "group": None,
    "name": "test_attention[range-full]",
    "fullname": "tests/benchmarks/test_attention.py::test_attention[range-full]",
    "params": {
        "backend": "range",
        "rows": 4,
        "is_fast": True,
        "dtype": "UNSERIALIZABLE[torch.float32]",
        "make": "UNSERIALIZABLE[<function <lambda> at 0x7f00>]",
        "window": [192, 48],
    },
    "param": "range-full",
    "extra_info": {"device": "cpu", "median_ms": 2.5, "rounds": 3, "ci": [1, 2], "is_right": True},
    "options": {
        "disable_gc": True,
        "timer": "<lmdm_bench.SampleClock object at 0x7f01>",
        "min_rounds": 5,
        "warmup": False,
    },
    "stats": {"median": 0.002, "rounds": 3, "data": [0.002, 0.003, 0.0025], "iterations": 1},
}
DATA = {
    "machine_info": {
        "node": "somebodys-laptop",
        "machine": "x86_64",
        "python_implementation": "CPython",
        "python_version": "3.11.7",
        "system": "Linux",
        "release": "6.8.0-somebodys-build",
        "cpu": {"brand_raw": "AMD  EPYC", "count": 2},
    },
    "commit_info": {"id": "d" * 40, "dirty": True, "branch": "secret-branch"},
    "benchmarks": [BENCHMARK],
    "datetime": "2026-11-21T15:49:25.069192+00:00",
    "version": "5.3.1",
}

TIMED = """
import pytest

@pytest.mark.parametrize("count", [10, 20])
def test_sum(benchmark, count):
    benchmark.pedantic(sum, (range(count),), rounds=7)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny test that was timed: its JSON, and one that was saved without samples."""
    folder = tmp_path_factory.mktemp("timed")
    (folder / "test_timed.py").write_text(TIMED)
    asked = ["--benchmark-json=timed.json", "--benchmark-save=saved", "--benchmark-storage=saved"]
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir=.", *asked, "."],
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=120,
    )
    return folder


def changed(**changes):
    return {**copy.deepcopy(DATA), **changes}


def test_a_real_file_is_read_on_this_machine(folder):
    data = json.loads((folder / "timed.json").read_text())
    assert is_pytest_benchmark(data)
    found = recorded_benchmarks(data, "timed.json")
    assert [cell.name for cell in found.cells] == ["test_sum[10]", "test_sum[20]"]
    for cell, benchmark in zip(found.cells, data["benchmarks"], strict=True):
        assert len(cell.service_ms) == 7
        assert cell.service_ms == pytest.approx(
            [1000 * one for one in benchmark["stats"]["data"]], rel=1e-12
        )
        assert cell.axes["test"] == "test_timed.py::test_sum"
        assert cell.axes["count"] == cell.name.partition("[")[2][:-1]
        assert cell.axes["disable_gc"] == "false"
    differing = known_differences(found.origin.machine_facts, machine_facts(describe_machine()))
    assert not differing.keys() & set(IDENTITY)
    assert found.origin.created == data["datetime"]


def test_a_real_file_without_its_samples_is_refused_with_the_options_that_keep_them(folder):
    (path,) = (folder / "saved").glob("*/*.json")
    with pytest.raises(RecordError, match=r"without its data: use --benchmark-json or --benchm"):
        recorded_benchmarks(json.loads(path.read_text()), "saved.json")


def test_a_benchmark_is_a_kernel_in_milliseconds():
    (cell,) = recorded_benchmarks(DATA, "x.json").cells
    assert cell.name == "test_attention[range-full]"
    assert (cell.kind, cell.block_seconds) == ("kernel", None)
    assert cell.service_ms == (2.0, 3.0, 2.5)
    assert (cell.stages, cell.controls) == ({}, {})
    assert cell.outcome.status == "OK"


def test_axes_are_parameters_texts_and_options_and_never_a_measurement_or_an_address():
    (cell,) = recorded_benchmarks(DATA, "x.json").cells
    assert cell.axes == {
        "backend": "range",
        "rows": "4",
        "is_fast": "true",
        "dtype": "torch.float32",
        "window": "[192, 48]",
        "device": "cpu",
        "timer": "<lmdm_bench.SampleClock object>",
        "disable_gc": "true",
        "warmup": "false",
        "test": "tests/benchmarks/test_attention.py::test_attention",
    }


def test_the_machine_has_no_host_and_no_builder():
    found = recorded_benchmarks(DATA, "x.json")
    assert found.origin.machine == "AMD EPYC, 2 cores, Linux"
    assert found.origin.machine_facts == {
        "cpu": "AMD EPYC",
        "architecture": "x86_64",
        "logical cores": "2",
        "os": "Linux 6.8.0",
    }
    assert found.origin.packages == {"pytest-benchmark": "5.3.1", "python": "CPython 3.11.7"}
    assert "somebody" not in to_json(found)
    assert "secret" not in to_json(found)


def test_the_commit_is_kept_where_there_is_one():
    origin = recorded_benchmarks(DATA, "x.json").origin
    assert (origin.git_commit, origin.git_is_dirty) == ("d" * 40, True)
    for info in ({"id": "unversioned", "dirty": False}, {"id": None}, {}, None):
        nowhere = recorded_benchmarks(changed(commit_info=info), "x.json").origin
        assert (nowhere.git_commit, nowhere.git_is_dirty) == (None, None)
        assert "no commit" in nowhere.unavailable["git_commit"]


@pytest.mark.parametrize("info", [{}, {"cpu": None}, {"cpu": "AMD"}, {"cpu": {"brand_raw": None}}])
def test_a_machine_of_which_nothing_is_known_is_unknown(info):
    origin = recorded_benchmarks(changed(machine_info=info), "x.json").origin
    assert origin.machine == "unknown"
    assert origin.machine_facts == {}


@pytest.mark.parametrize("data", [[], {}, None, {"benchmarks": []}, {"machine_info": {}}])
def test_other_json_is_told_apart(data):
    assert is_pytest_benchmark(DATA)
    assert not is_pytest_benchmark(data)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stats": {**BENCHMARK["stats"], "data": [1.0, "2"]}}, r"benchmarks\[0\].stats.data\[1\]"),
        ({"stats": {**BENCHMARK["stats"], "data": [1.0, float("inf")]}}, "not a finite number"),
        ({"stats": {**BENCHMARK["stats"], "data": [1.0, 0.0]}}, "a sample took 0 ms"),
        ({"stats": {**BENCHMARK["stats"], "data": []}}, "was saved without its data"),
        ({"stats": {"median": 1.0}}, "was saved without its data"),
        ({"stats": []}, r"benchmarks\[0\].stats should be an object"),
        ({"stats": None}, "was saved without its data"),
        ({"name": None}, r"benchmarks\[0\].name should be str"),
        ({"params": [1]}, r"benchmarks\[0\].params should be an object"),
        ({"extra_info": 3}, r"benchmarks\[0\].extra_info should be an object"),
    ],
)
def test_what_is_wrong_with_a_benchmark_is_named(change, words):
    with pytest.raises(RecordError, match=words):
        recorded_benchmarks(changed(benchmarks=[{**BENCHMARK, **change}]), "x.json")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"benchmarks": {}}, "benchmarks should be a list"),
        ({"benchmarks": [3]}, r"benchmarks\[0\] should be an object"),
        ({"machine_info": 3}, "machine_info should be an object"),
        ({"commit_info": 3}, "commit_info should be an object"),
        ({"datetime": 3}, "datetime should be str"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(change, words):
    with pytest.raises(RecordError, match=words):
        recorded_benchmarks(changed(**change), "x.json")


def test_a_benchmark_without_parameters_has_none():
    plain = {**BENCHMARK, "params": None, "extra_info": {}, "options": {}, "fullname": None}
    (cell,) = recorded_benchmarks(changed(benchmarks=[plain]), "x.json").cells
    assert cell.axes == {}
