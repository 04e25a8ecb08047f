import dataclasses
import math

import pytest

import histories
from histories import CELL, EPYC, H200, KERNEL
from lmdm_bench.errors import InputError
from lmdm_bench.gate import DEFAULT_GATE
from lmdm_bench.history import LEAST_CHANGE, history


def numbers(series):
    """Which of ``histories.commit`` the points are of."""
    known = {histories.commit(number): number for number in range(200)}
    return [known[one.entry.git_commit] for one in series.points]


def test_changes_are_where_they_were_planted():
    epyc, h200 = history(histories.stepping(), CELL)
    assert (epyc.machine, h200.machine) == (EPYC, H200)
    up, down = epyc.changes
    # Record 8 has no time, so it is no point.
    assert numbers(epyc)[up.point] == 6 and numbers(epyc)[down.point] == 12
    assert up.before_ms == pytest.approx(312, rel=0.02)
    assert up.after_ms == pytest.approx(344, rel=0.02)
    low, high = up.effect.ci95
    assert low < 344 / 312 < high and up.effect.value == pytest.approx(up.after_ms / up.before_ms)
    assert (up.num_before, up.num_after, up.effect.n) == (6, 5, 11)
    assert (down.num_before, down.num_after) == (5, 6)
    assert down.effect.value < 1
    assert h200.changes == () and len(h200.plateaus) == 1


def test_a_record_without_a_time_is_kept_with_its_reason():
    epyc, _ = history(histories.stepping(), CELL)
    (missing,) = epyc.missing
    assert missing.entry.git_commit == histories.commit(8)
    assert missing.reason.startswith("OOM: needs 14.1 GiB")
    (nothing,) = history(histories.nothing_timed(), CELL)
    assert (nothing.points, nothing.plateaus, nothing.changes) == ((), (), ())
    assert [one.reason for one in nothing.missing] == ["needs 6 blocks", "OOM: too big"]


DIFFERENCES = {
    "machine": lambda entry: dataclasses.replace(entry, machine="Apple M4 Pro"),
    "device": lambda entry: dataclasses.replace(entry, device="mps"),
    "dtype": lambda entry: dataclasses.replace(entry, dtype="float32"),
    "kind of record": lambda entry: dataclasses.replace(entry, kind="claims"),
    "axes": lambda entry: dataclasses.replace(
        entry, indexed_cells=(dataclasses.replace(entry.indexed_cells[0], axes={"steps": "2"}),)
    ),
    "kind of cell": lambda entry: dataclasses.replace(
        entry, indexed_cells=(dataclasses.replace(entry.indexed_cells[0], kind="codec"),)
    ),
}


@pytest.mark.parametrize("differ", DIFFERENCES.values(), ids=DIFFERENCES)
def test_what_differs_is_never_joined(differ):
    """A tenfold step lies between them, and it is no change."""
    before = [histories.entry(at, histories.cell(histories.median(100.0))) for at in range(4)]
    after = [
        differ(histories.entry(at, histories.cell(histories.median(1000.0)))) for at in range(4, 8)
    ]
    found = history(histories.index(*before, *after), CELL)
    assert sorted(numbers(one) for one in found) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert all(not one.changes for one in found)
    (joined,) = history(histories.index(*before, *before), CELL)
    assert len(joined.points) == 8


def test_records_are_ordered_by_their_dates_where_commits_have_no_order():
    index = histories.many()
    backwards = dataclasses.replace(index, entries=index.entries[::-1])
    (series,) = history(backwards, CELL)
    assert numbers(series) == list(range(100)) and not series.is_by_commit


def test_records_are_ordered_by_commits_where_their_order_is_known():
    """An old commit that was measured late stands where it belongs."""
    index = histories.many()
    ranks = {histories.commit(number): (number + 50) % 100 for number in range(100)}
    (series,) = history(index, CELL, ranks)
    assert numbers(series) == [*range(50, 100), *range(50)] and series.is_by_commit
    del ranks[histories.commit(7)]
    (series,) = history(index, CELL, ranks)
    assert numbers(series) == list(range(100)) and not series.is_by_commit


def test_a_record_without_a_commit_is_ordered_by_date():
    entries = list(histories.one_point().entries)
    entries.append(dataclasses.replace(entries[0], git_commit=None, git_is_dirty=None))
    ranks = {histories.commit(0): 0}
    (series,) = history(histories.index(*entries), CELL, ranks)
    assert len(series.points) == 2 and not series.is_by_commit


def test_names_may_have_stars_and_question_marks():
    index = histories.index(*histories.one_point().entries, *histories.kernels().entries)
    assert {one.cell for one in history(index, "*")} == {CELL, KERNEL}
    assert {one.cell for one in history(index, "range*")} == {KERNEL}
    assert {one.cell for one in history(index, "block?causal · *")} == {CELL}
    assert {one.cell for one in history(index, CELL)} == {CELL}


def test_a_name_with_brackets_is_found_by_itself():
    name = "a cell [of sorts]"
    entry = histories.entry(0, histories.cell(histories.median(1.0), name))
    (series,) = history(histories.index(entry), name)
    assert series.cell == name


def test_an_unknown_cell_is_told_the_nearest_names():
    index = histories.index(*histories.one_point().entries, *histories.kernels().entries)
    with pytest.raises(InputError, match="the nearest of 2 names: 'block-causal · sao-small'"):
        history(index, "block-casual · sao-smal")
    with pytest.raises(InputError, match="some of 2 names"):
        history(index, "#")
    with pytest.raises(InputError, match="no record has cells"):
        history(histories.index(), CELL)


def test_a_point_s_error_is_as_wide_as_its_interval():
    (series,) = history(histories.one_point(), CELL)
    assert series.points[0].standard_error == pytest.approx(histories.OWN_ERROR, rel=1e-4)


def test_a_change_has_to_matter_and_kernels_matter_sooner():
    assert LEAST_CHANGE == {"block": 0.03, "kernel": 0.02, "codec": 0.03}
    assert LEAST_CHANGE["kernel"] == DEFAULT_GATE.kernel
    for kind, num_levels in (("block", 1), ("kernel", 2)):
        entries = [
            histories.entry(
                at, histories.cell(histories.median(100 * (1.025 if at >= 30 else 1)), kind=kind)
            )
            for at in range(60)
        ]
        (series,) = history(histories.index(*entries), CELL)
        assert len(series.plateaus) == num_levels
        assert math.exp(series.plateaus[0].value) == pytest.approx(100, rel=0.013)


def test_a_cell_s_longest_series_is_first_then_runs_then_other_kinds():
    def entry(at, kind, steps):
        told = histories.cell(histories.median(1.0), steps=steps)
        return histories.entry(at, told, kind=kind)

    entries = [entry(0, "claims", "1"), entry(1, "check", "1"), entry(2, "run", "1")]
    longest = [entry(at, "claims", "2") for at in (3, 4)]
    found = history(histories.index(*entries, *longest), CELL)
    assert [(one.record_kind, len(one.points)) for one in found] == [
        ("claims", 2),
        ("run", 1),
        ("check", 1),
        ("claims", 1),
    ]
