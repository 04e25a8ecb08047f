import dataclasses

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.text import Annotation

import check_records
from claims_drawn import plain, words
from lmdm_bench.canvas import PAPER
from lmdm_bench.check_record import CheckRecord
from lmdm_bench.prebuffer_figure import prebuffer, shown_prebuffers
from lmdm_bench.replay import replay_rows


def panel_of(record: CheckRecord) -> Axes:
    (axes,) = prebuffer(record).axes
    return axes


def columns(axes: Axes) -> dict[int, list[str]]:
    """The words of each column, from above the panel downwards."""
    found: dict[int, list[tuple[float, str]]] = {}
    for one in axes.texts:
        assert isinstance(one, Annotation)
        if one.get_ha() == "center":
            place = (-one.xy[1], -one.xyann[1])
            found.setdefault(round(one.xy[0]), []).append((place, plain(one.get_text())))
    return {at: [words for _, words in sorted(told)] for at, told in found.items()}


def test_the_table_is_what_the_replay_says():
    record = check_records.with_stalls()
    (cell,) = record.check_cells
    told = columns(panel_of(record))
    rows = replay_rows(cell, range(1, 9), "zero-pad")
    assert len(told) == len(rows)
    for at, row in enumerate(rows):
        assert row.dropouts is not None
        _, blocks, seconds, per_hour, most, gap, silence, heard = told[at]
        assert int(blocks) == row.prebuffer_blocks
        for words_of, value in (
            (seconds, row.prebuffer_blocks * cell.workload.block_seconds),
            (per_hour, row.dropouts.per_hour.value),
            (most, row.dropouts.per_hour_upper),
            (gap, row.dropouts.longest_gap_ms / 1000),
            (silence, 100 * row.silence_share),
            (heard, row.control_p95_seconds),
        ):
            assert float(words_of.replace(" ", "")) == pytest.approx(value, rel=5e-3)
    assert told[1][0] == "this run" and told[3][0] == "no gap"
    assert all(told[at][0] == "" for at in (0, 2, 4, 5, 6, 7))


def test_a_dot_is_the_part_that_was_late_in_the_bar_of_its_interval():
    record = check_records.with_stalls()
    axes = panel_of(record)
    rows = replay_rows(record.check_cells[0], range(1, 9), "zero-pad")
    lowest = axes.get_yticks()[0]
    bars = [one for one in axes.patches if one.get_width() == pytest.approx(0.34)]
    for at, (row, bar) in enumerate(zip(rows, bars, strict=True)):
        assert row.dropouts is not None
        rate = row.dropouts.miss_rate
        (dot,) = (one for one in axes.lines if one.get_xdata()[0] == at)
        assert dot.get_ydata()[0] == pytest.approx(rate.value or lowest)
        assert (dot.get_markerfacecolor() == PAPER) == (rate.value == 0)
        low, high = rate.ci95
        assert bar.get_y() == pytest.approx(max(low, lowest))
        assert bar.get_y() + bar.get_height() == pytest.approx(high)
    labels = [one.get_text() for one in axes.get_yticklabels()]
    assert labels[:1] == ["none"] and "all" in labels


def test_the_runs_own_column_is_shaded():
    axes = panel_of(check_records.with_spikes())
    (shade,) = (one for one in axes.patches if isinstance(one, Rectangle) and one.get_width() == 1)
    assert shade.get_x() == -0.5
    assert columns(axes)[0][0] == "this run" and columns(axes)[1][0] == "no gap"


def test_a_bound_within_the_target_is_proved():
    record = check_records.record(
        check_records.cell(check_records.steady()), target_dropouts_per_hour=19.0
    )
    assert columns(panel_of(record))[0][0] == "proved no gap"


def test_what_is_replayed_holds_the_runs_own_prebuffer_and_the_one_that_is_enough():
    record = check_records.with_heat()
    (cell,) = record.check_cells
    assert shown_prebuffers(cell, record.settings) == (1, 2, 3, 4, 6, 8, 12, 16, 23, 24, 32)
    own = dataclasses.replace(record.settings, prebuffer_blocks=11)
    assert 11 in shown_prebuffers(cell, own)
    (cell,) = check_records.likely().check_cells
    assert shown_prebuffers(cell, record.settings) == tuple(range(1, 9))
    (cell,) = check_records.record(check_records.cell(check_records.steady(4))).check_cells
    assert shown_prebuffers(cell, record.settings) == (1, 2, 3)


def test_a_stream_that_is_slower_than_it_plays_is_not_promised_a_prebuffer():
    for record in (check_records.too_slow(), check_records.with_heat()):
        text = words(prebuffer(record))
        assert "no prebuffer is enough for long" in text and "would have been" not in text
    assert "4 blocks ahead would have been enough" in words(prebuffer(check_records.with_stalls()))


def test_a_jam_that_no_shown_prebuffer_covers_is_said():
    times = np.array(check_records.steady(400))
    times[100] += 200_000.0
    text = words(prebuffer(check_records.record(check_records.cell(list(times)))))
    assert "no prebuffer up to 32 would have been enough" in text and "no gap" not in text


def test_changes_that_were_not_heard_are_said():
    assert "not heard" in words(prebuffer(check_records.too_slow()))


def test_one_block_cannot_be_replayed():
    record = check_records.record(check_records.cell([1500.0]))
    assert "a replay needs two blocks" in words(prebuffer(record))
