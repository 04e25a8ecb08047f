import dataclasses

import numpy as np
import pytest
from matplotlib.axes import Axes

import check_records
from claims_drawn import words
from lmdm_bench.canvas import INK, MUTED
from lmdm_bench.check_panels import lateness_ms
from lmdm_bench.survival_figure import survival
from lmdm_bench.tail import FARTHEST, exceedance, fit_tail, qq_points


def dots(axes: Axes) -> tuple[np.ndarray, np.ndarray]:
    (line,) = (one for one in axes.lines if one.get_marker() == "o")
    return np.asarray(line.get_xdata()), np.asarray(line.get_ydata())


def dashed(axes: Axes) -> list[float]:
    """Where the deadlines are; the target's line is dotted in another colour."""
    return [
        one.get_xdata()[0]
        for one in axes.lines
        if one.get_linestyle() == "--" and one.get_color() == INK
    ]


def test_a_dot_is_a_block_at_the_share_of_blocks_that_took_as_long():
    record = check_records.with_stalls()
    (cell,) = record.check_cells
    left, right, _ = survival(record).axes
    for axes, values in (
        (left, np.array(cell.service_ms)),
        (right, lateness_ms(cell, record.settings)),
    ):
        across, shares = dots(axes)
        assert across.tolist() == sorted(values)
        assert shares == pytest.approx([(values >= one).mean() for one in across])


def test_thousands_of_dots_are_thinned_but_the_rarest_are_all_there():
    times = np.random.default_rng(0).normal(1500, 50, 5000)
    left = survival(check_records.record(check_records.cell(list(times)))).axes[0]
    across, shares = dots(left)
    assert across.size < 400
    assert across[-60:].tolist() == sorted(times)[-60:]
    assert across[0] == times.min() and shares[0] == 1
    assert shares[-1] == pytest.approx(1 / 5000)


def test_the_deadline_is_a_dashed_line_or_told_in_words():
    record = check_records.with_stalls()
    left, right, _ = survival(record).axes
    assert dashed(left) == [record.check_cells[0].block_ms] and dashed(right) == [0.0]
    left, right, _ = survival(check_records.short()).axes
    assert dashed(left) == dashed(right) == []
    text = words(left.figure)
    assert "2 229 ms, its length, is far to the right" in text
    assert "0 is far to the right: 2.90 s to spare at least" in text


def test_the_line_beyond_the_dots_is_what_the_tail_says_as_far_as_may_be_told():
    record = check_records.likely()
    (cell,) = record.check_cells
    tail = fit_tail(cell.service_ms)
    assert tail.reason is None
    left = survival(record).axes[0]
    (line,) = (one for one in left.lines if one.get_marker() == "None" and not one.is_dashed())
    across, shares = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
    assert across[0] == tail.threshold_ms and (np.diff(shares) <= 0).all()
    assert shares[-1] == pytest.approx(1 / (FARTHEST * tail.num_values))
    for at in (0, 5, 11):
        assert shares[at] == exceedance(tail, across[at]).value
    (band,) = left.collections
    corners = band.get_paths()[0].vertices
    for at in (3, 12):
        for end in exceedance(tail, across[at]).ci95:
            height = max(end, 1 / (FARTHEST * tail.num_values))
            assert any(np.allclose(one, (across[at], height)) for one in corners)


def test_the_target_is_a_share_of_the_blocks():
    record = check_records.record(
        check_records.cell(check_records.steady(30)), target_dropouts_per_hour=2.5
    )
    (cell,) = record.check_cells
    right = survival(record).axes[1]
    (line,) = (one for one in right.lines if one.get_color() == MUTED)
    assert line.get_ydata()[0] == pytest.approx(2.5 * cell.workload.block_seconds / 3600)
    assert "2.5 an hour" in words(right.figure)


def test_without_a_tail_it_is_said_why():
    record = check_records.short()
    text = words(survival(record))
    reason = fit_tail(record.check_cells[0].service_ms).reason
    assert reason is not None and text.count(f"no tail: {reason}") == 2
    assert "max_inference_time n/a" in text and "late, in" not in text


def test_a_fit_is_seen_against_what_the_tail_says():
    record = check_records.likely()
    tail = fit_tail(record.check_cells[0].service_ms)
    fit = survival(record).axes[2]
    said, seen = qq_points(tail, record.check_cells[0].service_ms)
    across, up = dots(fit)
    assert across == pytest.approx((said - tail.threshold_ms) / tail.scale_ms)
    assert up == pytest.approx((seen - tail.threshold_ms) / tail.scale_ms)


def test_a_run_that_is_all_prebuffer_has_no_lateness():
    record = check_records.record(check_records.cell(check_records.steady(2)))
    assert "all of them are in the prebuffer" in words(survival(record))


def test_the_tail_of_lateness_is_told_in_blocks():
    record = check_records.likely()
    assert "tail: fewer than 1 in 2 670 late" in words(survival(record))
    longer = dataclasses.replace(record.settings, prebuffer_blocks=69)
    assert "1 in 2 000 late" in words(survival(dataclasses.replace(record, settings=longer)))
