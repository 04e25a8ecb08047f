"""The figure of a history, by what is drawn in it and by a golden image.

The golden image is renewed, after a look at the new one, with
``LMDM_RENEW_GOLDEN=1 pytest tests/lmdm_bench/test_history_figure.py -k golden``.
"""

import dataclasses
import io
import math
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

import histories
from claims_drawn import plain, rendered, words
from histories import CELL
from lmdm_bench.canvas import PAPER, drawing_style, to_png, to_svg
from lmdm_bench.history import history
from lmdm_bench.history_figure import MOST_PANELS, history_figure

GOLDEN = Path(__file__).parents[1] / "golden" / "history.png"
GOLDEN_DPI = 60
GOLDEN_COLOURS = 128  # for small files
# Of root mean square difference, on a scale of 0 to 1: other fonts, not other data.
GOLDEN_TOLERANCE = 0.012


def drawn(name, cell="*"):
    found = history(histories.EXAMPLES[name](), cell)
    return found, rendered(history_figure(found[0].cell, found))


def dots(axes):
    return [
        (float(one.get_xdata()[0]), float(one.get_ydata()[0]), one.get_markerfacecolor() == PAPER)
        for one in axes.lines
        if one.get_marker() == "o"
    ]


@pytest.mark.parametrize("name", histories.EXAMPLES)
def test_every_series_has_a_panel_and_every_point_a_dot(name):
    found, figure = drawn(name)
    assert len(figure.axes) == len(found)
    for series, axes in zip(found, figure.axes, strict=True):
        assert dots(axes) == [
            (at, one.milliseconds, bool(one.entry.git_is_dirty))
            for at, one in enumerate(series.points)
        ]
        assert series.machine in words(figure)
        for one in series.points:
            low, high = axes.get_ylim()
            assert low < one.ci95[0] and one.ci95[1] < high


@pytest.mark.parametrize("name", histories.EXAMPLES)
def test_all_words_are_in_the_picture(name):
    _, figure = drawn(name)
    for one in figure.findobj(Text):
        if one.get_visible() and one.get_text():
            box = one.get_window_extent()
            assert box.x0 >= 0 and box.x1 <= figure.bbox.x1, one.get_text()
            assert box.y0 >= 0 and box.y1 <= figure.bbox.y1, one.get_text()


@pytest.mark.parametrize("name", ["stepping", "many", "kernels"])
def test_changes_are_marked_with_how_much_from_what_to_what_and_where(name):
    found, figure = drawn(name)
    text = plain(words(figure))
    for series, axes in zip(found, figure.axes, strict=True):
        marked = [
            float(one.get_xdata()[0]) for one in axes.lines if one.get_transform() != axes.transData
        ]
        assert marked == [one.point - 0.5 for one in series.changes]
        for change in series.changes:
            commit = series.points[change.point].entry.git_commit[:8]
            assert f"% at {commit}" in text
    assert text.count("→") == sum(len(one.changes) for one in found) > 0


def test_plateaus_are_lines_over_their_records_and_one_record_has_none():
    (series,), figure = drawn("kernels")
    (axes,) = figure.axes
    lines = [
        tuple(map(float, (*one.get_xdata(), one.get_ydata()[0])))
        for one in axes.lines
        if one.get_linewidth() == 1.6
    ]
    assert lines == [
        (one.begin - 0.5, one.end - 0.5, pytest.approx(math.exp(one.value)))
        for one in series.plateaus
    ]
    _, figure = drawn("one point")
    assert not any(one.get_linewidth() == 1.6 for one in figure.axes[0].lines)


def test_labels_of_neighbouring_changes_do_not_overlap():
    """Every third of a hundred records begins a plateau."""
    entries = [
        histories.entry(at, histories.cell(histories.median(100.0 * (1 + at // 3 % 2))))
        for at in range(100)
    ]
    found = history(histories.index(*entries), CELL)
    assert len(found[0].changes) == 33
    figure = rendered(history_figure(CELL, found))
    boxes = [
        one.get_window_extent() for one in figure.findobj(Text) if "% at" in plain(one.get_text())
    ]
    assert len(boxes) == 33
    for index, one in enumerate(boxes):
        assert not any(one.overlaps(other) for other in boxes[index + 1 :])


def test_ticks_of_many_records_do_not_overlap():
    _, figure = drawn("many")
    (axes,) = figure.axes
    boxes = [one.get_window_extent() for one in axes.get_xticklabels()]
    assert len(boxes) > 4
    assert not any(one.overlaps(other) for one, other in pairwise(boxes))


def test_nothing_timed_and_no_series_are_said():
    _, figure = drawn("nothing timed")
    assert "no time: needs 6 blocks" in words(figure)
    assert "0 records" in plain(words(rendered(history_figure("nothing", ()))))


def test_a_record_without_a_time_is_counted_beside_the_others():
    _, figure = drawn("stepping")
    assert "1 record without a time" in plain(words(figure))


def test_cells_are_named_where_there_are_several_and_only_so_many_are_drawn():
    entries = [
        histories.entry(0, histories.cell(histories.median(1.0), f"cell {at}")) for at in range(20)
    ]
    found = history(histories.index(*entries), "cell *")
    figure = rendered(history_figure("cell *", found))
    assert len(figure.axes) == MOST_PANELS
    text = words(figure)
    assert "cell 0 · AMD EPYC" in text and "12 of 20 series" in text


def test_nothing_from_outside_breaks_it():
    nasty = "机器 $x_1 \\frac{ & <b>\n" * 20
    entry = histories.entry(0, histories.cell(histories.median(1.0), nasty, nasty=nasty))
    entry = dataclasses.replace(entry, machine=nasty, git_commit=nasty, created=nasty)
    found = history(histories.index(entry), nasty)
    assert to_png(history_figure(nasty, found)).startswith(b"\x89PNG")


def test_the_same_history_gives_the_same_files():
    found = history(histories.stepping(), CELL)
    assert to_png(history_figure(CELL, found)) == to_png(history_figure(CELL, found))
    assert to_svg(history_figure(CELL, found)) == to_svg(history_figure(CELL, found))


def test_drawing_needs_neither_torch_nor_pyplot():
    code = (
        "import sys, lmdm_bench.history_report;"
        "assert not {'torch', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_golden_image():
    found = history(histories.stepping(), CELL)
    content = io.BytesIO()
    with drawing_style():
        history_figure(CELL, found).savefig(
            content, format="png", dpi=GOLDEN_DPI, metadata={"Software": None}
        )
    now = Image.open(content).convert("RGB")
    if os.environ.get("LMDM_RENEW_GOLDEN"):
        now.quantize(GOLDEN_COLOURS).save(GOLDEN, optimize=True)
    golden = Image.open(GOLDEN).convert("RGB")
    assert now.size == golden.size
    difference = (np.asarray(now, float) - np.asarray(golden, float)) / 255
    assert math.sqrt(float((difference**2).mean())) < GOLDEN_TOLERANCE
