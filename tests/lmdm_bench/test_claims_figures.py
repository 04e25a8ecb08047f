"""The figures of a claims run, by what is drawn in them and by a golden image each.

The golden images are renewed, after a look at the new ones, with
``LMDM_RENEW_GOLDEN=1 pytest tests/lmdm_bench/test_claims_figures.py -k golden``.
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

import claims_records
from claims_drawn import every_example, only, rendered, words
from lmdm_bench import format as shown
from lmdm_bench.canvas import drawing_style, to_png, to_svg
from lmdm_bench.claims import judge
from lmdm_bench.claims_figures import CLAIMS_FIGURES, draw_all
from lmdm_bench.claims_record import ClaimsRecord

GOLDEN = Path(__file__).parents[1] / "golden"
GOLDEN_DPI = 60
GOLDEN_COLOURS = 128  # for small files
# Of root mean square difference, on a scale of 0 to 1: other fonts, not other data.
GOLDEN_TOLERANCE = 0.012
# Which record shows most of each figure.
GOLDEN_RECORDS = {"claims_table": "violated", "ratios": "launches"}
every_figure = pytest.mark.parametrize("draw", CLAIMS_FIGURES.values(), ids=CLAIMS_FIGURES)


def with_machine(record: ClaimsRecord, name: str) -> ClaimsRecord:
    return dataclasses.replace(record, machine=dataclasses.replace(record.machine, name=name))


@every_example
@every_figure
def test_every_figure_names_its_machine_dtype_and_n_and_no_word_leaves_it(draw, name):
    record = claims_records.EXAMPLES[name]()
    figure = rendered(draw(record))
    text = words(figure)
    for told in (record.machine.name, "bfloat16", "n = ", "codec left out", "2026-11-21"):
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
    record = claims_records.agreeing()
    once = to_png(draw(record)), to_svg(draw(record))
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": "x"}):
        assert (to_png(draw(record)), to_svg(draw(record))) == once
    assert "<dc:date>" not in once[1] and "Matplotlib v" not in once[1]


@every_figure
def test_names_and_reasons_that_would_trip_the_font_or_the_mathematics_are_drawn(draw):
    nasty = "机器 $x_1 \\frac{ & <b>\n" * 20
    record = claims_records.one_oom()
    points = tuple(
        one if one.reason is None else dataclasses.replace(one, reason=nasty)
        for one in record.points
    )
    record = with_machine(dataclasses.replace(record, points=points), nasty)
    rendered(draw(record))  # a letter that the font has not would be a warning


@pytest.mark.parametrize("scheme", claims_records.SCHEMES)
@every_figure
def test_a_scheme_that_was_not_measured_at_all_is_left_out(draw, scheme):
    record = claims_records.agreeing()
    memory = tuple(one for one in record.memory if one.workload.scheme != scheme)
    record = dataclasses.replace(record, memory=memory)
    rendered(draw(only(record, lambda one: one.workload.scheme != scheme)))
    rendered(draw(claims_records.without(claims_records.agreeing(), scheme)))


@every_figure
def test_a_record_of_nothing_says_so(draw):
    record = dataclasses.replace(claims_records.agreeing(), points=(), memory=())
    figure = rendered(draw(record))
    assert "n = 0" in words(figure)
    assert "not" in words(figure) or "no " in words(figure)


@every_figure
def test_sweeps_of_one_size_or_of_the_same_size_twice_are_drawn(draw):
    record = claims_records.agreeing()
    one_size = only(record, lambda one: one.workload.context_frames == 192 and one.sweeps != ())
    shorter = tuple(one for one in one_size.points if "paper" in one.sweeps)
    twice = tuple(
        dataclasses.replace(one, workload=dataclasses.replace(one.workload, guidance_scale=7.0))
        for one in record.points
    )
    for points in (shorter, record.points + twice):
        rendered(draw(dataclasses.replace(record, points=points)))


@pytest.mark.parametrize("name", CLAIMS_FIGURES)
def test_golden_image(name):
    record = claims_records.EXAMPLES[GOLDEN_RECORDS.get(name, "agreeing")]()
    content = io.BytesIO()
    with drawing_style():
        CLAIMS_FIGURES[name](record).savefig(
            content, format="png", dpi=GOLDEN_DPI, metadata={"Software": None}
        )
    path = GOLDEN / f"{name}.png"
    now = Image.open(content).convert("RGB")
    if os.environ.get("LMDM_RENEW_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        now.quantize(GOLDEN_COLOURS).save(path, optimize=True)
    golden = Image.open(path).convert("RGB")
    assert now.size == golden.size
    difference = (np.asarray(now, float) - np.asarray(golden, float)) / 255
    assert math.sqrt(float((difference**2).mean())) < GOLDEN_TOLERANCE


def test_all_figures_can_be_drawn_for_verdicts_that_are_there_already():
    record = claims_records.violated()
    figures = draw_all(record, judge(record))
    assert list(figures) == list(CLAIMS_FIGURES)
    assert "CONTRADICTED" in words(figures["claims_table"])
    assert words(figures["memory"]) == words(CLAIMS_FIGURES["memory"](record))
