"""The forest plot of a comparison, by what is drawn in it and by a golden image.

The golden image is renewed, after a look at the new one, with
``LMDM_RENEW_GOLDEN=1 pytest tests/lmdm_bench/test_forest_figure.py -k golden``.
"""

import dataclasses
import io
import math
import os
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image

import compare_records
import compare_rows
from claims_drawn import rendered, words
from compare_rows import broken, faster, first_step, judgement, memory, ratio, row, slower, untold
from lmdm_bench.canvas import INK, PAPER, drawing_style, to_png, to_svg
from lmdm_bench.compare_verdicts import VERDICTS, judge
from lmdm_bench.compare_words import VERDICT_SIGNS
from lmdm_bench.forest_figure import MARKERS, MOST_ROWS, forest, forest_rows

GOLDEN = Path(__file__).parents[1] / "golden" / "forest.png"
GOLDEN_DPI = 60
GOLDEN_COLOURS = 128  # for small files
# Of root mean square difference, on a scale of 0 to 1: other fonts, not other data.
GOLDEN_TOLERANCE = 0.012

every_example = pytest.mark.parametrize("name", compare_records.EXAMPLES)


def drawn(*rows, **settings) -> Figure:
    return rendered(forest(compare_records.record([], **settings), judgement(*rows)))


def marks(axes: Axes, marker: str, *, is_hollow: bool = False) -> list[tuple[float, float]]:
    """Where the panel has marks of this shape."""
    return [
        (float(one.get_xdata()[0]), float(one.get_ydata()[0]))
        for one in axes.lines
        if one.get_marker() == marker and (one.get_markerfacecolor() == PAPER) == is_hollow
    ]


def intervals(axes: Axes) -> list[tuple[float, float]]:
    return [
        (float(one.get_xdata()[0]), float(one.get_xdata()[1]))
        for one in axes.lines
        if len(one.get_xdata()) == 2 and one.get_color() != INK
    ]


def bands(axes: Axes) -> list[tuple[float, float]]:
    return [
        (one.get_x(), one.get_x() + one.get_width())
        for one in axes.patches
        if isinstance(one, Rectangle)
    ]


@every_example
def test_the_figure_names_its_machine_dtype_sides_and_n_and_no_word_leaves_it(name):
    record = compare_records.EXAMPLES[name]()
    figure = rendered(forest(record, judge(record)))
    text = words(figure)
    fewest = min(row.num_pairs for row in judge(record).rows if row.num_pairs)
    facts = (record.b.machine, "bfloat16", f"n = {fewest}", "2026-11-21")
    for told in (*facts, "main (aaaaaaa)", "bbbbbbb"):
        assert told in text
    for one in figure.findobj(Text):
        box, whole = one.get_window_extent(), figure.bbox
        if one.get_visible() and one.get_text().strip():
            assert box.x0 >= -1 and box.x1 <= whole.x1 + 1, one.get_text()
            assert box.y0 >= -1 and box.y1 <= whole.y1 + 1, one.get_text()


def test_marks_and_intervals_are_where_the_effects_are():
    figure = drawn(slower("one"), row("two"))
    (axes,) = figure.axes
    ((at, up),) = marks(axes, MARKERS["SLOWER"])
    ((again, below),) = marks(axes, MARKERS["SLOWER"], is_hollow=True)
    assert (at, again) == (1.164, 1.17) and below > up  # further down
    assert {(1.151, 1.178), (1.15, 1.19), (0.995, 1.012)} <= set(intervals(axes))
    assert marks(axes, MARKERS["SAME"])[0][0] == 1.003
    assert axes.get_xscale() == "log" and axes.get_xlim()[0] < 1 < 1.19 < axes.get_xlim()[1]
    text = words(figure)
    assert "300 → 349 ms" in text and "+16.4 % [+15.1, +17.8]" in text
    assert "measured again" in text


def test_each_row_has_its_own_threshold_and_a_drift_control_half_of_it():
    (axes,) = drawn(row("one"), row("two", threshold=0.02)).axes
    found = bands(axes)
    for threshold in (0.03, 0.02, 0.015, 0.01):
        assert any(
            low == pytest.approx(1 / (1 + threshold)) and high == pytest.approx(1 + threshold)
            for low, high in found
        )
    assert len(found) == 4 and len(marks(axes, "s")) == 2


def test_verdicts_are_told_apart_without_colour():
    assert set(MARKERS) == set(VERDICTS)
    times = [MARKERS[one] for one in ("BROKEN", "SLOWER", "AMBIGUOUS", "FASTER", "SAME", "ALONE")]
    assert len(set(times)) == len(times)
    for verdict in VERDICTS:
        (axes,) = drawn(row(verdict=verdict)).axes
        (mark,) = (one for one in axes.lines if one.get_marker() == MARKERS[verdict])
        assert mark.get_color() == VERDICT_SIGNS[verdict][1]


def test_stages_are_indented_and_smaller():
    figure = drawn(slower("one"), first_step("one"))
    texts = {one.get_text(): one for one in figure.findobj(Text)}
    cell, stage = texts["one"], texts["first step"]
    assert stage.get_window_extent().x0 > cell.get_window_extent().x0
    assert stage.get_fontsize() < cell.get_fontsize()


def test_what_has_no_interval_says_why_and_has_no_band():
    figure = drawn(broken("one"))
    (axes,) = figure.axes
    assert "BROKEN: Side a ended well, side b did not (INCORRECT, error 0.3)." in words(figure)
    assert not bands(axes)


def test_what_is_far_off_becomes_an_arrow_at_the_edge_and_keeps_its_figures():
    figure = drawn(slower("one", effect=ratio(9.0, 8.9, 9.1), confirming=None), row("two"))
    (axes,) = figure.axes
    ((at, _),) = marks(axes, MARKERS["SLOWER"])
    assert at == axes.get_xlim()[1] < 9
    (arrow,) = (one for one in intervals(axes) if at in one)
    assert 1 < arrow[0] < at
    assert "+800 % [+790, +810]" in words(figure)


@pytest.mark.parametrize("far", [1.0002, 1.01, 1.05, 1.2, 1.9, 3.9, 50.0])
def test_ticks_have_room_and_0_is_among_them(far):
    rows = [slower(f"{at}", effect=ratio(far, far, far * 1.0001), confirming=None) for at in (1, 2)]
    (axes,) = drawn(*rows).axes
    boxes = [
        one.get_window_extent()
        for one in axes.get_xticklabels()
        if one.get_text() and axes.bbox.x0 - 20 < one.get_window_extent().x0 < axes.bbox.x1
    ]
    assert len(boxes) >= 3
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    assert any(one.get_text().startswith("0") for one in axes.get_xticklabels())


def test_of_too_many_rows_the_most_telling_are_drawn_and_the_rest_is_counted():
    rows = [one for at in range(60) for one in (row(f"{at}"), row(f"{at}", "stage host"))]
    rows[100], rows[101] = slower("50"), first_step("50")
    found = forest_rows(judgement(*rows))
    assert len(found) == MOST_ROWS and rows[100] in found
    assert [one for one in found if one.quantity != "time"] == [rows[101]]
    assert sum(one.quantity == "time" for one in found) == MOST_ROWS - 1
    assert "and 80 more rows, all SAME" in words(drawn(*rows))
    mixed = [*rows, *(untold(f"{at}", quantity="stage x") for at in range(2))]
    assert "and 82 more rows: 80 SAME, 2 AMBIGUOUS" in words(drawn(*mixed))
    assert forest_rows(judgement(row(), memory(0), untold(quantity="p99"))) == [row()]


def test_memory_that_differs_is_a_mark_without_an_interval():
    figure = drawn(row("one"), memory(-(2**24), "one"))
    (axes,) = figure.axes
    ((at, _),) = marks(axes, MARKERS["LESS"])
    assert at == pytest.approx(1 - 2**24 / 123_456_789)
    assert "118 MiB → 102 MiB" in words(figure) and "−16.0 MiB, −13.6 %" in words(figure)


def test_two_machines_have_two_columns_and_no_axis():
    record = compare_records.side_by_side()
    figure = rendered(forest(record, judge(record)))
    (axes,) = figure.axes
    assert not axes.axison and not axes.lines and not bands(axes)
    text = words(figure)
    assert "a, median" in text and "b, median" in text and "%" not in text
    assert text.count(" ms") == 2


def test_nothing_to_draw_is_said():
    figure = drawn()
    assert "nothing was compared" in words(figure) and "n = 0" in words(figure)


def test_the_same_record_gives_the_same_bytes_whatever_the_users_settings():
    record, found = compare_records.slower(), judgement(faster("one"), untold("two"))
    once = to_png(forest(record, found)), to_svg(forest(record, found))
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": "x"}):
        assert (to_png(forest(record, found)), to_svg(forest(record, found))) == once


def test_names_that_would_trip_the_font_or_the_mathematics_are_drawn():
    record, found = compare_rows.nasty()
    nasty = "机器 $x_1 \\frac{ & <b>\n" * 20
    rows = (slower(nasty), first_step(nasty, quantity=f"stage {nasty}"), broken(f"{nasty}2"))
    figure = rendered(forest(record, judgement(*found.rows, *rows)))
    for one in figure.findobj(Text):
        assert one.get_window_extent().x1 <= figure.bbox.x1 + 1, one.get_text()


def test_golden_image():
    rows = (
        row("encoder-decoder · sao-small"),
        untold("encoder-decoder · sao-small", quantity="stage later_steps"),
        slower(),
        first_step(),
        memory(),
        faster("range · encoder-decoder-step", threshold=0.02),
        broken("outpaint · sao-small"),
    )
    figure = forest(compare_records.record([]), judgement(*rows))
    content = io.BytesIO()
    with drawing_style():
        figure.savefig(content, format="png", dpi=GOLDEN_DPI, metadata={"Software": None})
    now = Image.open(content).convert("RGB")
    if os.environ.get("LMDM_RENEW_GOLDEN"):
        now.quantize(GOLDEN_COLOURS).save(GOLDEN, optimize=True)
    golden = Image.open(GOLDEN).convert("RGB")
    assert now.size == golden.size
    difference = (np.asarray(now, float) - np.asarray(golden, float)) / 255
    assert math.sqrt(float((difference**2).mean())) < GOLDEN_TOLERANCE


def test_the_record_s_dates_and_interruption_are_below():
    text = words(drawn(row(), is_interrupted=True, is_paired=False))
    assert "interrupted" in text and "48 samples in 3 processes" in text
    one = dataclasses.replace(row(), num_processes=1)
    assert "48 pairs in 1 process " in words(drawn(one))
