"""The figures of a kernels run, by what all of them have and by a golden image each.

The golden images are renewed, after a look at the new ones, with
``LMDM_RENEW_GOLDEN=1 pytest tests/lmdm_bench/test_kernels_figures.py -k golden``.
"""

import dataclasses
import io
import math
import os
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

import kernels_records
from claims_drawn import rendered, words
from lmdm_bench import format as shown
from lmdm_bench.canvas import drawing_style, to_png, to_svg
from lmdm_bench.kernels_figures import KERNELS_FIGURES

GOLDEN = Path(__file__).parents[1] / "golden"
GOLDEN_DPI = 60
GOLDEN_COLOURS = 128  # for small files
# Of root mean square difference, on a scale of 0 to 1: other fonts, not other data.
GOLDEN_TOLERANCE = 0.012
GOLDEN_RECORDS = {"times_beside": "on_cuda", "roofline": "on_cpu"}
every_figure = pytest.mark.parametrize("draw", KERNELS_FIGURES.values(), ids=KERNELS_FIGURES)


@pytest.mark.parametrize("name", ["on_cuda", "few_rounds", "short", "nothing"])
@every_figure
def test_every_figure_names_its_machine_dtype_and_n_and_no_word_leaves_it(draw, name):
    record = kernels_records.EXAMPLES[name]()
    figure = rendered(draw(record))
    text = words(figure)
    for told in (record.machine.name, "bfloat16", "n = ", "2026-11-21"):
        assert told in text
    assert ("interrupted" in text) == record.settings.is_interrupted
    for one in figure.findobj(Text):
        box, whole = one.get_window_extent(), figure.bbox
        is_shown = one.get_visible() and one.get_text().strip()
        is_tick = one.get_text().strip("−").replace(".", "").replace(shown.NBSP, "").isdigit()
        if is_shown and not is_tick:  # matplotlib keeps ticks beyond the axes and hides them
            assert box.x0 >= -1 and box.x1 <= whole.x1 + 1 and box.y0 >= -1, one.get_text()


@every_figure
def test_the_same_record_gives_the_same_bytes_whatever_the_users_settings(draw):
    record = kernels_records.short()
    once = to_png(draw(record)), to_svg(draw(record))
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": "x"}):
        assert (to_png(draw(record)), to_svg(draw(record))) == once


@every_figure
def test_names_that_would_trip_the_font_or_the_mathematics_are_drawn(draw):
    nasty = "机器 $x_1 \\frac{ & <b>\n" * 20
    record = kernels_records.short()
    machine = dataclasses.replace(record.machine, name=nasty)
    cells = tuple(
        dataclasses.replace(cell, case=dataclasses.replace(cell.case, model=nasty))
        for cell in record.kernel_cells
    )
    rendered(draw(dataclasses.replace(record, machine=machine, kernel_cells=cells)))


@every_figure
def test_a_record_without_cells_is_drawn(draw):
    figure = rendered(draw(dataclasses.replace(kernels_records.nothing(), kernel_cells=())))
    assert "n = 0" in words(figure)


@pytest.mark.parametrize("name", KERNELS_FIGURES)
def test_golden_image(name):
    record = kernels_records.EXAMPLES[GOLDEN_RECORDS[name]]()
    content = io.BytesIO()
    with drawing_style():
        KERNELS_FIGURES[name](record).savefig(
            content, format="png", dpi=GOLDEN_DPI, metadata={"Software": None}
        )
    path = GOLDEN / f"kernels_{name}.png"
    now = Image.open(content).convert("RGB")
    if os.environ.get("LMDM_RENEW_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        now.quantize(GOLDEN_COLOURS).save(path, optimize=True)
    golden = Image.open(path).convert("RGB")
    assert now.size == golden.size
    difference = (np.asarray(now, float) - np.asarray(golden, float)) / 255
    assert math.sqrt(float((difference**2).mean())) < GOLDEN_TOLERANCE
