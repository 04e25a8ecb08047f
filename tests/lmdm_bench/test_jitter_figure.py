import dataclasses

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.patches import StepPatch

import check_records
from claims_drawn import words
from lmdm_bench import format as shown
from lmdm_bench.canvas import INK
from lmdm_bench.check_panels import lateness_ms
from lmdm_bench.check_record import Harness
from lmdm_bench.jitter_figure import jitter


def histograms(axes: Axes) -> dict[tuple[str, bool], StepPatch]:
    """By colour, and whether it is filled."""
    return {
        (
            to_hex(one.get_facecolor() if one.get_fill() else one.get_edgecolor()),
            one.get_fill(),
        ): one
        for one in axes.patches
        if isinstance(one, StepPatch)
    }


def counts(axes: Axes, colour: str, is_filled: bool = True) -> np.ndarray:
    return np.asarray(histograms(axes)[colour.lower(), is_filled].get_data().values)


GREEN = shown.scheme_colour("block-causal")


def test_every_block_is_counted_in_each_panel():
    record = check_records.with_stalls()
    wakes, between, late = jitter(record).axes
    assert counts(wakes, GREEN).sum() == 269
    assert counts(wakes, INK, is_filled=False).sum() == 400
    assert counts(between, GREEN).sum() == 268
    assert counts(late, GREEN).sum() == 267


def test_late_blocks_are_dark_and_no_bin_is_on_both_sides_of_what_was_due():
    record = check_records.with_stalls()
    late = jitter(record).axes[2]
    values = lateness_ms(record.check_cells[0], record.settings)
    assert counts(late, INK).sum() == (values > 0).sum() == 7
    edges = histograms(late)[GREEN.lower(), True].get_data().edges
    assert np.abs(edges).min() == pytest.approx(0, abs=1e-6)
    assert edges[0] <= values.min() and values.max() <= edges[-1]


def test_what_was_due_is_a_dashed_line_or_told_in_words():
    record = check_records.with_stalls()
    wakes, between, late = jitter(record).axes
    found = [
        [one.get_xdata()[0] for one in axes.lines if one.get_linestyle() == "--"]
        for axes in (wakes, between, late)
    ]
    assert found == [[1.0], [record.check_cells[0].block_ms], [0.0]]
    late = jitter(check_records.record(check_records.cell(check_records.steady(30, 45.0)))).axes[2]
    assert not late.lines and "0 is far to the right" in late.get_xlabel()


def test_quantiles_are_told_only_where_they_can_be():
    text = words(jitter(check_records.likely()))
    assert "p50 −2 960 · p99 n/a · largest −2 814 ms" in text
    assert "a p99 needs 368" in text
    times = check_records.steady(600)
    long = words(jitter(check_records.record(check_records.cell(times))))
    assert "a p99 needs" not in long and "p99 −" in long


def test_a_sound_card_shows_its_callbacks_and_keeps_underruns_and_xruns_apart():
    record = check_records.on_a_sound_card()
    (cell,) = record.check_cells
    gaps = jitter(record).axes[2]
    assert counts(gaps, GREEN).tolist() == list(cell.device_count.gap_counts)
    (line,) = gaps.lines
    assert line.get_xdata()[0] == pytest.approx(1000 * 256 / 44100)
    text = words(gaps.figure)
    for told in (
        "10 330 of 10 336 callbacks",
        "samples missing: 16.7 %",
        "ring underruns: 22",
        "xruns: 1",
        "due every 5.80 · largest 9.20 ms",
    ):
        assert told in text


def test_a_sound_card_that_was_lost_says_so():
    record = check_records.on_a_sound_card()
    (cell,) = record.check_cells
    count = dataclasses.replace(
        cell.device_count,
        frames_due=0,
        frames_missing=0,
        xruns=None,
        gap_counts=(0, 0),
        unavailable={"gap_counts": "the audio process died"},
    )
    cell = dataclasses.replace(cell, device_count=count)
    text = words(jitter(dataclasses.replace(record, check_cells=(cell,))))
    assert "the audio process died" in text and "xruns: n/a" in text
    assert "samples missing: n/a" in text


def test_a_harness_that_was_not_measured_says_why():
    harness = Harness(10.0, (), (), "the clock is virtual")
    record = dataclasses.replace(check_records.short(), harness=harness)
    text = words(jitter(record))
    assert "the harness alone was not measured: the clock is virtual" in text
    assert "outline" not in text


def test_a_harness_that_is_never_late_has_no_error_and_few_ticks():
    record = check_records.short()
    (cell,) = record.check_cells
    blocks = tuple(dataclasses.replace(one, wake_error_ms=0.0) for one in cell.blocks)
    cell = dataclasses.replace(cell, blocks=blocks)
    wakes = jitter(dataclasses.replace(record, check_cells=(cell,))).axes[0]
    assert counts(wakes, GREEN).sum() == len(blocks)
    assert "largest 0 ms" in words(wakes.figure)
    low, high = wakes.get_xlim()
    assert sum(low <= one <= high for one in wakes.get_xticks()) == 4
