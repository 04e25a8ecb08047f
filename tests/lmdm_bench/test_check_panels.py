import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

import check_records
from claims_drawn import plain, words
from lmdm_bench.check_panels import (
    CAUSE_MARKS,
    CAUSE_WORDS,
    axis_end,
    causes_of,
    check_canvas,
    clock_words,
    is_in_seconds,
    is_late,
    late_words,
    lateness_ms,
    n_words,
    ranges,
    say_beyond,
    share_words,
    span_words,
    thinned,
)
from lmdm_bench.check_record import CAUSES
from lmdm_bench.dropouts import measured_dropouts

numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300).map(np.array)


@given(numbers, st.integers(3, 60))
def test_thinning_keeps_the_extremes_the_order_and_few(values, most):
    kept = thinned(values, most)
    assert (np.diff(kept) > 0).all()
    assert values[kept].min() == values.min() and values[kept].max() == values.max()
    assert len(kept) <= most
    if values.size <= most:
        assert kept.tolist() == list(range(values.size))


def test_thinning_keeps_the_extremes_of_every_part():
    values = np.zeros(9000)
    spikes = np.arange(100, 9000, 450)
    values[spikes] = 1 + np.arange(spikes.size)
    assert set(spikes) <= set(thinned(values, 600))


@given(numbers, st.integers(1, 60))
def test_ranges_hold_all_values(values, most):
    middle, least, greatest = ranges(values, most)
    assert least.min() == values.min() and greatest.max() == values.max()
    assert (least <= values[middle]).all() and (values[middle] <= greatest).all()
    assert len(middle) <= max(most, 1)


@pytest.mark.parametrize(
    ("values", "deadline", "is_near"),
    [([900.0, 1000.0], 2229.0, True), ([40.0, 50.0], 2229.0, False), ([5000.0], 2229.0, True)],
)
def test_a_deadline_that_would_flatten_the_rest_is_not_on_the_axis(values, deadline, is_near):
    end, is_on_it = axis_end(np.array(values), deadline)
    assert is_on_it == is_near == (end > deadline)
    assert end > max(values)


def test_a_value_that_would_flatten_the_rest_is_told_in_words():
    values = np.array([30.0] * 99 + [4000.0])
    end, _ = axis_end(values, 40.0)
    assert 40.0 < end < 400.0
    axes = Figure().subplots()
    axes.set_ylim(0, end)
    say_beyond(axes, values, "ms")
    assert plain(axes.texts[0].get_text()) == "↑ 1 beyond, up to 4 000 ms"


def test_nothing_is_said_where_nothing_is_beyond():
    axes = Figure().subplots()
    axes.set_ylim(0, 10)
    say_beyond(axes, np.array([9.0]), "ms")
    assert not axes.texts


def test_every_cause_has_words_and_a_mark_of_its_own():
    assert list(CAUSE_MARKS) == list(CAUSE_WORDS) == list(CAUSES)
    assert len(set(CAUSE_MARKS.values())) == len(set(CAUSE_WORDS.values())) == len(CAUSES)


def test_causes_come_in_their_order_and_other_labels_are_none():
    (one,) = check_records.cell(check_records.steady(1)).blocks
    block = dataclasses.replace(one.block, labels=("gc", "something else", "first"))
    assert causes_of(dataclasses.replace(one, block=block)) == ("first", "gc")


def test_blocks_of_the_prebuffer_are_never_late():
    record = check_records.with_spikes()
    (cell,) = record.check_cells
    assert cell.blocks[0].lateness_ms > 0  # the example's own rounding
    late = is_late(cell, record.settings)
    assert late.size == len(cell.blocks) and not late[0]
    assert late.sum() == (lateness_ms(cell, record.settings) > 0).sum() == 11
    found = measured_dropouts(cell, record.settings.prebuffer_blocks, record.settings.policy)
    assert late_words(found) == "11 late, in 11 dropouts"


def test_one_dropout_is_one():
    (cell,) = check_records.with_heat().check_cells
    assert late_words(measured_dropouts(cell, 2, "zero-pad")).endswith("late, in 1 dropout")
    (cell,) = check_records.likely().check_cells
    assert late_words(measured_dropouts(cell, 2, "zero-pad")) == "none late"


def test_times_shares_and_counts_in_words():
    assert [clock_words(at) for at in (0.0, 59_999.0, 134_200.0)] == ["0:00", "0:59", "2:14"]
    assert plain(span_words(48.2)) == "48.2 ms" and plain(span_words(-1310.0)) == "−1.31 s"
    assert [plain(share_words(one)) for one in (1.0, 0.1, 1 / 2690)] == [
        "all",
        "1 in 10",
        "1 in 2 690",
    ]
    assert n_words(check_records.failed()) == "n = 0 to 20 blocks"
    assert n_words(check_records.record(check_records.cell([1.0]))) == "n = 1 block"


def test_short_runs_are_told_in_seconds():
    assert is_in_seconds(check_records.short().check_cells)
    assert not is_in_seconds(check_records.likely().check_cells)
    assert is_in_seconds(())


def test_a_footer_tells_how_it_was_played_on_as_many_lines_as_it_takes():
    record = check_records.record(
        check_records.cell(check_records.steady(3)), mode="sustain", stress="cpu"
    )
    record = dataclasses.replace(record, is_interrupted=True)
    text = words(check_canvas(record, "A title", "a subtitle", 3.0))
    for told in ("paced until steady", "load: cpu", "interrupted", "n = 3 blocks"):
        assert told in text
    assert "load" not in words(check_canvas(check_records.short(), "A title", "", 3.0))
