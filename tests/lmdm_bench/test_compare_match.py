"""Cells that are the same work meet, whatever else is refused by name or listed as one side's."""

import dataclasses
import json
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

import check_records
import claims_records
import compare_records
import kernels_records
import records
from lmdm_bench import compare_match
from lmdm_bench.check_record import save_check
from lmdm_bench.claims_record import save_claims
from lmdm_bench.compare_match import match
from lmdm_bench.compare_record import CompareRecord, Misses, load_compare, save_compare
from lmdm_bench.compare_side import side_of
from lmdm_bench.errors import InputError
from lmdm_bench.kernels_record import save_kernels
from lmdm_bench.record import save
from measured_sides import FACTS, outcome, recorded, run, sampled

GATE = compare_records.DEFAULT_GATE
NAME = "block-causal · sao-small"
TIMED = {
    "machine_info": {"cpu": {"brand_raw": "AMD EPYC"}},
    "benchmarks": [
        {"name": "test_sum", "stats": {"data": [0.002, 0.003]}, "params": {"n": 10}, "options": {}}
    ],
    "datetime": "2026-11-21T15:49:25+00:00",
}


@pytest.fixture(scope="module", autouse=True)
def _one_tool():
    """git is asked once."""
    tool = compare_match.describe_tool()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare_match, "describe_tool", lambda: tool)
        yield


def side(*cells, name="before", **of):
    return side_of([recorded(*cells, **of)], name)


def matched(a, b) -> CompareRecord:
    return match(a, b, GATE, "lmdm-bench compare before after")


def files(tmp_path, a, b, write=save):
    paths = tmp_path / "a.json", tmp_path / "b.json"
    for record, path in zip((a, b), paths, strict=True):
        write(record, path)
    return paths


def compared(tmp_path, a, b, write=save) -> CompareRecord:
    return compare_match.compare_records(*files(tmp_path, a, b, write), GATE, "lmdm-bench compare")


def refused(*sides) -> str:
    with pytest.raises(InputError) as found:
        matched(*sides)
    return str(found.value)


@pytest.mark.parametrize(
    ("write", "record"),
    [
        (save, records.five_schemes()),
        (save, records.one_oom()),
        (save_check, check_records.with_stalls()),
        (save_claims, claims_records.agreeing()),
        (save_kernels, kernels_records.behind()),
        (lambda one, path: path.write_text(json.dumps(one)), TIMED),
    ],
)
def test_a_record_beside_itself_is_the_same_in_every_sample(tmp_path, write, record):
    found = compared(tmp_path, record, record, write)
    assert found.compared_cells
    assert (found.settings.only_a, found.settings.only_b) == ((), ())
    assert (found.settings.is_same_machine, found.settings.differing) == (True, {})
    for cell in found.compared_cells:
        assert cell.a == cell.b
        for process in cell.processes:
            quantities = {"service": process.service, **process.stages, **process.controls}
            for times in quantities.values():
                assert times.a_ms
                assert times.a_ms == times.b_ms
    path = tmp_path / "compare.json"
    save_compare(found, path)
    assert load_compare(path) == found


def test_two_runs_are_compared_unpaired_with_nothing_changed_in_their_times(tmp_path):
    found = compared(tmp_path, run(), run(1.1, "2026-11-22T10:00:00+00:00"))
    assert found.settings.source == "records"
    assert not found.settings.is_paired
    assert (found.settings.device, found.settings.dtype) == ("cpu", "bfloat16")
    assert found.settings.command == "lmdm-bench compare"
    assert (found.a.name, found.b.name) == ("a.json", "b.json")
    cell = found.compared_cells[2]
    (process,) = cell.processes
    assert cell.name == NAME
    assert cell.axes["steps"] == "8"
    assert cell.block_seconds == records.BLOCK_SECONDS
    assert (process.b_first, process.is_confirming) == ((), False)
    steps = process.stages["later_steps"]
    assert statistics.median(steps.b_ms) == pytest.approx(1.1 * statistics.median(steps.a_ms))


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ({"steps": 4}, "steps 8 against 4"),
        ({"steps": 4, "dtype": "float32"}, "steps 8 against 4; dtype bfloat16 against float32"),
        ({"context_frames": 96}, "context frames 192 against 96"),
        (
            {"attention": "range", "is_graphed": True},
            "attention reference against range; graphed no against yes",
        ),
        ({"batch": 2, "guidance_scale": 3.0}, "guidance scale 1.0 against 3.0; batch 1 against 2"),
    ],
)
def test_another_workload_or_precision_is_refused_by_its_fields(tmp_path, axes, words):
    with pytest.raises(InputError) as found:
        compared(tmp_path, run(), run(**axes))
    assert str(found.value) == f"cannot compare outpaint · sao-small: {words} (and so for 2 more)"


def test_one_cell_that_differs_is_refused_alone(tmp_path):
    a = dataclasses.replace(run(), cells=run().cells[2:])
    with pytest.raises(InputError) as found:
        compared(tmp_path, a, run(steps=4))
    assert str(found.value) == f"cannot compare {NAME}: steps 8 against 4"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mode": "sustain"}, "mode paced against sustain"),
        ({"prebuffer_blocks": 3}, "prebuffer blocks 2 against 3"),
        ({"policy": "stall"}, "late blocks zero-pad against stall"),
        ({"gc": "on"}, "gc frozen against on"),
        ({"stress": "cpu"}, "stress none against cpu"),
    ],
)
def test_another_policy_is_refused_by_its_fields(tmp_path, change, words):
    a = check_records.short()
    b = check_records.record(*a.check_cells, **{"minutes": 1.0, **change})
    with pytest.raises(InputError) as found:
        compared(tmp_path, a, b, save_check)
    assert str(found.value) == f"cannot compare {NAME}: {words}"


def test_other_conditions_are_refused(tmp_path):
    (cell,) = check_records.short().check_cells
    b = check_records.record(dataclasses.replace(cell, controls=()))
    with pytest.raises(InputError, match=r"conditions prompt against none$"):
        compared(tmp_path, check_records.short(), b, save_check)


def test_back_to_back_and_paced_are_never_mixed(tmp_path):
    save(run(), tmp_path / "a.json")
    save_check(check_records.short(), tmp_path / "b.json")
    with pytest.raises(InputError) as found:
        compare_match.compare_records(tmp_path / "a.json", tmp_path / "b.json", GATE, "x")
    assert str(found.value) == f"cannot compare {NAME}: mode back to back against paced"


@pytest.mark.parametrize(("axis", "words"), [("threads", "threads"), ("linear", "linear")])
def test_on_one_machine_threads_and_packing_are_a_choice(axis, words):
    a, b = side(sampled(axes={axis: "1"})), side(sampled(axes={axis: "2"}))
    assert refused(a, b) == f"cannot compare {NAME}: {words} 1 against 2"


def test_a_benchmark_of_another_parameter_is_refused(tmp_path):
    (benchmark,) = TIMED["benchmarks"]
    b = {**TIMED, "benchmarks": [{**benchmark, "params": {"n": 20}}]}
    with pytest.raises(InputError, match=r"^cannot compare test_sum: n 10 against 20$"):
        compared(tmp_path, TIMED, b, lambda one, path: path.write_text(json.dumps(one)))


def test_cells_of_one_name_are_called_by_what_tells_them_apart():
    four, eight, single = (
        sampled(float(at), axes=axes)
        for at, axes in enumerate(
            ({"steps": "4"}, {"steps": "8"}, {"steps": "8", "dtype": "float32"}), start=1
        )
    )
    found = matched(side(four, eight, single), side(eight, four, name="after"))
    assert [one.name for one in found.compared_cells] == [
        f"{NAME} · steps 4 · dtype bfloat16",
        f"{NAME} · steps 8 · dtype bfloat16",
    ]
    assert found.settings.only_a == (f"{NAME} · steps 8 · dtype float32",)
    assert [one.processes[0].service.b_ms for one in found.compared_cells] == [(1.0,), (2.0,)]


def test_axes_that_go_together_are_told_by_the_first():
    wide, narrow = (
        sampled(axes={"context_frames": frames, "visible_blocks": blocks})
        for frames, blocks in (("192", "4"), ("96", "2"))
    )
    found = matched(side(wide, narrow), side(narrow, name="after"))
    assert [one.name for one in found.compared_cells] == [f"{NAME} · context frames 96"]
    assert found.settings.only_a == (f"{NAME} · context frames 192",)


def test_a_cell_told_apart_may_still_differ_in_the_rest():
    a = side(sampled(axes={"steps": "4"}), sampled(axes={"steps": "8"}))
    b = side(sampled(axes={"steps": "8", "dtype": "float32"}))
    assert refused(a, b) == (f"cannot compare {NAME} · steps 8: dtype bfloat16 against float32")


def test_cells_of_one_side_are_listed():
    shared, first, second = (sampled(name=name) for name in ("shared", "first", "second"))
    settings = matched(side(first, shared), side(shared, second, name="after")).settings
    assert (settings.only_a, settings.only_b) == (("first",), ("second",))


def test_nothing_in_common_lists_both_sides():
    a = side(*(sampled(name=f"cell {index}") for index in range(8)))
    b = side(sampled(name="test_sum"), name="after")
    assert refused(a, b) == (
        "nothing to compare: before has cell 0, cell 1, cell 2, cell 3, cell 4, cell 5 and 2 more; "
        "after has test_sum"
    )
    assert refused(side(), b) == "nothing to compare: before has no cell; after has test_sum"


def test_another_machine_is_side_by_side():
    a = side(sampled(axes={"threads": "2", "device": "cpu", "linear": "packed"}))
    b = side(
        sampled(axes={"threads": "16", "device": "cuda", "linear": "plain"}),
        facts={"cpu": "AMD Ryzen", "logical cores": "16"},
    )
    found = matched(a, b)
    assert not found.settings.is_same_machine
    assert found.settings.differing == {
        "cpu": "AMD EPYC against AMD Ryzen",
        "logical cores": "2 against 16",
        "threads": "2 against 16",
        "device": "cpu against cuda",
        "linear": "packed against plain",
    }
    assert found.settings.device == "cpu and cuda"
    assert not {"threads", "device", "linear"} & found.compared_cells[0].axes.keys()


def test_another_machine_still_does_the_same_work():
    a = side(sampled())
    b = side(sampled(axes={"dtype": "float32", "threads": "16"}), facts={"cpu": "AMD Ryzen"})
    assert refused(a, b) == f"cannot compare {NAME}: dtype bfloat16 against float32"


def test_what_differs_on_one_machine_is_noted():
    a = side(sampled(), facts={"on mains": "yes"}, packages={"torch": "2.12.0", "numpy": "2.4"})
    b = side(sampled(), facts={"on mains": "no"}, packages={"torch": "2.13.0", "scipy": "1.17"})
    settings = matched(a, b).settings
    assert settings.is_same_machine
    assert settings.differing == {"on mains": "yes against no", "torch": "2.12.0 against 2.13.0"}


def test_a_machine_of_which_nothing_is_known_is_another():
    a = side(sampled())
    b = side_of([recorded(sampled(), machine_facts={})], "after")
    settings = matched(a, b).settings
    assert not settings.is_same_machine
    assert settings.differing == {"cpu": f"{FACTS['cpu']} against unknown"}


def test_processes_stand_side_by_side_and_the_shorter_side_is_filled_up():
    a = side_of(
        [
            recorded(sampled(at, stages={"host": (at,)}), created=f"2026-11-0{at:.0f}")
            for at in (1.0, 2.0)
        ],
        "before",
    )
    b = side(sampled(3.0, 4.0, stages={"commit": (5.0, 6.0)}), name="after")
    first, second = matched(a, b).compared_cells[0].processes
    assert (first.service.a_ms, first.service.b_ms) == ((1.0,), (3.0, 4.0))
    assert (second.service.a_ms, second.service.b_ms) == ((2.0,), ())
    assert (first.stages["host"].a_ms, first.stages["host"].b_ms) == ((1.0,), ())
    assert (first.stages["commit"].a_ms, first.stages["commit"].b_ms) == ((), (5.0, 6.0))
    assert second.stages.keys() == {"host"}
    assert (second.controls["product"].a_ms, second.controls["product"].b_ms) == ((5.0,), ())


def test_a_side_went_as_the_worst_of_its_processes():
    endings = [
        outcome(error=0.001, memory_bytes={"cache": 5}, misses=Misses(10, 1, 1, 0.5)),
        outcome(error=0.003, memory_bytes={"cache": 4, "weights": 7}, misses=Misses(20, 3, 2, 1.0)),
    ]
    cells = [sampled(1.0 + at, ended=one) for at, one in enumerate(endings)]
    found = matched(side_of([recorded(one) for one in cells], "x"), side(cells[0]))
    whole = found.compared_cells[0].a
    assert whole.error == 0.003
    assert whole.memory_bytes == {"cache": 5, "weights": 7}
    assert whole.misses == Misses(30, 4, 3, 1.5)

    failed = [sampled(ended=outcome(status)) for status in ("OOM", "INCORRECT", "UNSUPPORTED")]
    b = side_of([recorded(one) for one in (cells[0], *failed)], "y")
    found = matched(side(cells[1]), b).compared_cells[0]
    assert found.a.status == "OK"
    assert (found.b.status, found.b.reason) == ("INCORRECT", "it ended INCORRECT")
    (process,) = found.processes
    assert (process.service.a_ms, process.service.b_ms) == ((2.0,), (1.0,))


def test_what_failed_does_not_have_to_know_its_axes():
    a = side(sampled(axes={"codec": "run"}))
    b = side(sampled(ended=outcome("OOM")))
    (cell,) = matched(a, b).compared_cells
    assert cell.axes["codec"] == "run"
    assert (cell.a.status, cell.b.status) == ("OK", "OOM")


def test_what_neither_side_supports_is_left_out():
    no = outcome("UNSUPPORTED")
    shared = sampled(name="shared")
    a = side(shared, sampled(name="flash", ended=no), sampled(name="old", ended=no))
    b = side(shared, sampled(name="flash", ended=no), sampled(name="new", ended=no))
    found = matched(a, b)
    assert [one.name for one in found.compared_cells] == ["shared"]
    assert (found.settings.only_a, found.settings.only_b) == ((), ())
    # What one of them can do is shown.
    b = side(shared, sampled(name="flash"))
    statuses = [(one.a.status, one.b.status) for one in matched(a, b).compared_cells]
    assert statuses == [("OK", "OK"), ("UNSUPPORTED", "OK")]


def test_two_sides_of_one_name_are_told_apart_by_their_dates():
    a = side(sampled(), name="record.json", created="2026-11-21T10:00:00+00:00")
    b = side(sampled(), name="record.json", created="2026-11-22T11:30:00+00:00")
    found = matched(a, b)
    assert (found.a.name, found.b.name) == (
        "record.json of 2026-11-21 10:00",
        "record.json of 2026-11-22 11:30",
    )


axes = st.fixed_dictionaries(
    {"steps": st.sampled_from("48"), "dtype": st.sampled_from(["float32", "bfloat16"])}
)
cells = st.lists(
    st.tuples(st.sampled_from(["outpaint", "block-causal"]), axes),
    max_size=6,
    unique_by=lambda one: (one[0], one[1]["steps"], one[1]["dtype"]),
)


@given(cells, cells)
def test_no_cell_is_lost_and_no_cell_meets_another(cells_a, cells_b):
    sides = [
        side(*(sampled(name=name, axes=one) for name, one in cells)) for cells in (cells_a, cells_b)
    ]
    try:
        found = matched(*sides)
    except InputError as error:
        is_shared = bool({name for name, _ in cells_a} & {name for name, _ in cells_b})
        assert is_shared or str(error).startswith("nothing to compare")
        return
    settings = found.settings
    names = [one.name for one in found.compared_cells]
    for of_side, only in ((cells_a, settings.only_a), (cells_b, settings.only_b)):
        assert len(names) + len(only) == len(of_side)
        assert len({*names, *only}) == len(of_side)
    for cell in found.compared_cells:
        same = {"steps": cell.axes["steps"], "dtype": cell.axes["dtype"]}
        name = cell.name.partition(" · ")[0]
        assert (name, same) in cells_a
        assert (name, same) in cells_b
