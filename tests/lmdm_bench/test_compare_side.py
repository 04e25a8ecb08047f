"""Records of one machine and one state of the code make a side; whatever else is refused."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmdm_bench.compare_side import side_of
from lmdm_bench.errors import InputError
from measured_sides import COMMIT, outcome, recorded, sampled


def test_one_record_is_a_side():
    record = recorded(sampled(300.0))
    side = side_of([record], "before")
    assert side.side == dataclasses.replace(record.origin, name="before")
    (cell,) = side.cells
    assert (cell.name, cell.axes) == ("block-causal · sao-small", record.cells[0].axes)
    assert cell.processes == record.cells


def test_records_of_one_cell_are_processes_the_oldest_first():
    days = {day: recorded(sampled(day), created=f"2026-11-{day}T10:00:00") for day in (12, 10, 11)}
    side = side_of([*days.values()], "before")
    (cell,) = side.cells
    assert [one.service_ms for one in cell.processes] == [(10,), (11,), (12,)]
    assert side.side.created == "2026-11-12T10:00:00"


def test_cells_of_other_axes_or_names_are_other_cells():
    cells = (
        sampled(1.0, axes={"steps": "4"}),
        sampled(2.0, axes={"steps": "8"}),
        sampled(3.0, name="outpaint · sao-small"),
    )
    side = side_of([recorded(*cells), recorded(sampled(4.0, axes={"steps": "4"}))], "x")
    assert [(cell.name, cell.axes["steps"], len(cell.processes)) for cell in side.cells] == [
        ("block-causal · sao-small", "4", 2),
        ("block-causal · sao-small", "8", 1),
        ("outpaint · sao-small", "8", 1),
    ]


def test_a_process_that_does_not_know_an_axis_joins_the_cell_that_it_agrees_with():
    failed = sampled(ended=outcome("OOM"))
    whole = sampled(2.0, axes={"codec": "run"})
    other = sampled(3.0, axes={"codec": "run", "steps": "4"})
    side = side_of([recorded(failed), recorded(other), recorded(whole)], "x")
    assert [(one.axes["steps"], one.axes["codec"], one.processes) for one in side.cells] == [
        ("8", "run", (failed, whole)),
        ("4", "run", (other,)),
    ]


@given(st.permutations(range(4)))
def test_the_order_of_the_files_does_not_matter(order):
    records = [
        recorded(sampled(1.0 + at, axes={"steps": str(at % 2)}), created=f"2026-11-0{at + 1}")
        for at in range(4)
    ]
    assert side_of([records[at] for at in order], "x") == side_of(records, "x")


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"cpu": "Apple M4"}, "cpu AMD EPYC against Apple M4"),
        ({"memory": "7 GiB"}, "memory 23 GiB against 7 GiB"),
    ],
)
def test_two_machines_are_no_side(facts, words):
    records = [recorded(sampled(1.0), name="x.json"), recorded(name="y.json", facts=facts)]
    with pytest.raises(InputError) as refused:
        side_of(records, "runs")
    assert str(refused.value) == (
        f"runs has records of two machines, {words} (x.json, y.json): a side is of one machine"
    )


def test_what_may_differ_on_one_machine_is_joined():
    records = [
        recorded(sampled(1.0), facts={"os": "Linux 6.8"}),
        recorded(sampled(2.0), facts={"os": "Linux 6.9", "driver": "580.1"}),
        recorded(sampled(3.0), facts={"os": "Linux 6.8"}),
    ]
    facts = side_of(records, "runs").side.machine_facts
    assert (facts["os"], facts["driver"]) == ("Linux 6.8 and Linux 6.9", "580.1")


def test_one_cell_at_two_commits_is_refused():
    records = [recorded(sampled(1.0)), recorded(sampled(2.0), git_commit="d" * 40)]
    with pytest.raises(InputError) as refused:
        side_of(records, "runs")
    assert str(refused.value) == (
        "runs has block-causal · sao-small at two commits, ccccccc and ddddddd: "
        "a side is of one state of the code"
    )


def test_other_cells_may_be_of_other_commits_and_the_side_then_has_none():
    other = sampled(2.0, name="outpaint · sao-small")
    records = [
        recorded(sampled(1.0), created="2026-11-01"),
        recorded(other, git_commit="d" * 40, created="2026-11-02"),
    ]
    side = side_of(records, "runs").side
    assert (side.git_commit, side.git_is_dirty) == (None, None)
    assert side.unavailable["git_commit"] == (
        "its records are of several commits: ccccccc, ddddddd"
    )


def test_a_record_without_a_commit_makes_the_sides_unknown():
    records = [
        recorded(sampled(1.0), created="2026-11-01"),
        recorded(sampled(2.0), git_commit=None, created="2026-11-02"),
    ]
    side = side_of(records, "runs")
    assert len(side.cells[0].processes) == 2
    assert side.side.git_commit is None
    assert "ccccccc, unknown" in side.side.unavailable["git_commit"]


def test_one_dirty_record_makes_a_dirty_side():
    records = [recorded(sampled(1.0)), recorded(sampled(2.0), git_is_dirty=True)]
    side = side_of(records, "runs").side
    assert (side.git_commit, side.git_is_dirty) == (COMMIT, True)


def test_a_copy_is_no_second_process():
    records = [recorded(sampled(1.0, 2.0), name=name) for name in ("x.json", "y.json")]
    with pytest.raises(InputError) as refused:
        side_of(records, "runs")
    assert str(refused.value) == (
        "x.json and y.json of runs hold the same times of block-causal · sao-small: "
        "one is a copy of the other"
    )


def test_two_processes_that_failed_are_no_copies():
    records = [recorded(sampled(ended=outcome("OOM")), name=name) for name in ("x", "y")]
    assert len(side_of(records, "runs").cells[0].processes) == 2


def test_files_that_are_no_records_are_named():
    side = side_of([recorded(sampled(1.0))], "runs", ["notes.json", "launches.json"]).side
    assert side.unavailable == {"files": "no records, and left out: notes.json, launches.json"}
