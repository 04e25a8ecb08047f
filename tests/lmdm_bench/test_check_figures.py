"""The figures of a check, by what all of them have and by a golden image each.

The golden images are renewed, after a look at the new ones, with
``LMDM_RENEW_GOLDEN=1 pytest tests/lmdm_bench/test_check_figures.py -k golden``.
"""

import dataclasses
import io
import math
import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

import check_records
from claims_drawn import rendered, words
from lmdm_bench import format as shown
from lmdm_bench.canvas import drawing_style, to_png, to_svg
from lmdm_bench.check_figures import CHECK_FIGURES, draw_all
from lmdm_bench.check_record import CheckRecord, Incident

GOLDEN = Path(__file__).parents[1] / "golden"
GOLDEN_DPI = 60
GOLDEN_COLOURS = 128  # for small files
# Of root mean square difference, on a scale of 0 to 1: other fonts, not other data.
GOLDEN_TOLERANCE = 0.012
GOLDEN_RECORDS = {
    "service_time": "heat",
    "waterfall": "stalls",
    "prebuffer": "stalls",
    "survival": "likely",
    "jitter": "sound card",
}
NASTY = "机器 $x_1 \\frac{ & <b>\n" * 20

every_figure = pytest.mark.parametrize("draw", CHECK_FIGURES.values(), ids=CHECK_FIGURES)


def three_cells() -> CheckRecord:
    return check_records.record(
        check_records.cell(check_records.steady()),
        check_records.cell(check_records.stalls(), "encoder-decoder"),
        check_records.cell(check_records.steady(90, 2600.0), "outpaint"),
    )


def words_outside(figure: Figure) -> list[str]:
    """The words that are not wholly in the picture."""
    whole = figure.bbox
    found = []
    for one in figure.findobj(Text):
        box, text = one.get_window_extent(), one.get_text()
        is_tick = text.strip("−").replace(".", "").replace(shown.NBSP, "").isdigit()
        if not one.get_visible() or not text.strip() or is_tick:
            continue  # matplotlib keeps ticks beyond the axes and hides them
        if box.x0 < -1 or box.x1 > whole.x1 + 1 or box.y0 < -1 or box.y1 > whole.y1 + 1:
            found.append(text)
    return found


@pytest.mark.parametrize("name", check_records.EXAMPLES)
@every_figure
def test_every_figure_names_its_machine_n_units_and_play_and_no_word_leaves_it(draw, name):
    record = check_records.EXAMPLES[name]()
    figure = rendered(draw(record))
    text = words(figure)
    settings = record.settings
    for told in (record.machine.name, "cpu, bfloat16", "n = ", record.created[:10], " s"):
        assert told in text
    assert f"prebuffer {settings.prebuffer_blocks}, {settings.policy}" in text
    assert ("paced by jack-dummy" if settings.mode == "device" else "· paced ·") in text
    assert ("interrupted" in text) == record.is_interrupted
    assert not words_outside(figure)


@every_figure
def test_every_cell_has_its_part_under_the_one_before(draw):
    figure = rendered(draw(three_cells()))
    names = ("block-causal", "encoder-decoder", "outpaint")
    places = [
        one.get_window_extent().y1
        for name in names
        for one in figure.texts
        if one.get_text() == name
    ]
    assert len(places) == len(names) and places == sorted(places, reverse=True)
    assert not words_outside(figure)


@every_figure
def test_the_same_record_gives_the_same_bytes_whatever_the_users_settings(draw):
    record = check_records.short()
    once = to_png(draw(record)), to_svg(draw(record))
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": "x"}):
        assert (to_png(draw(record)), to_svg(draw(record))) == once


@every_figure
def test_names_that_would_trip_the_font_or_the_mathematics_are_drawn(draw):
    record = check_records.on_a_sound_card()
    cells = tuple(
        dataclasses.replace(
            one,
            status="FAILED",
            reason=NASTY,
            workload=dataclasses.replace(one.workload, model=NASTY, scheme=NASTY),
            incidents=(Incident(9000.0, "audio lost", NASTY),),
        )
        for one in record.check_cells
    )
    record = dataclasses.replace(
        record,
        machine=dataclasses.replace(record.machine, name=NASTY),
        settings=dataclasses.replace(record.settings, audio=NASTY, stress=NASTY),
        check_cells=cells,
    )
    assert not words_outside(rendered(draw(record)))


@every_figure
def test_a_cell_without_blocks_says_how_it_ended(draw):
    text = words(rendered(draw(check_records.failed())))
    assert "OOM: MemoryError: not enough memory" in text
    assert "no block was made" in text
    assert "INTERRUPTED: stopped by Ctrl-C after 20 blocks" in text
    assert "n = 0 to 20 blocks" in text


@every_figure
def test_a_record_without_cells_is_drawn(draw):
    text = words(rendered(draw(check_records.record())))
    assert "no cell was run" in text and "n = 0 blocks" in text


@pytest.mark.parametrize("num_blocks", [1, 2, 3])
@every_figure
def test_the_first_blocks_are_drawn(draw, num_blocks):
    record = check_records.record(check_records.cell(check_records.steady(num_blocks)))
    assert not words_outside(rendered(draw(record)))


@every_figure
def test_blocks_that_are_all_alike_are_drawn(draw):
    rendered(draw(check_records.record(check_records.cell([1000.0] * 30))))


@every_figure
def test_more_cells_than_there_is_room_for_are_counted(draw):
    cells = [check_records.cell(check_records.steady(3)) for _ in range(6)]
    text = words(rendered(draw(check_records.record(*cells))))
    assert "first 5 of 6 cells" in text
    assert "(cell 5)" in text and "(cell 6)" not in text


@every_figure
def test_thousands_of_blocks_are_a_file_of_bearable_size(draw):
    times = np.random.default_rng(0).normal(1500, 50, 6000)
    record = check_records.record(check_records.cell(list(times)))
    assert len(to_svg(draw(record))) < 900_000


def test_all_figures_are_drawn_by_their_names():
    assert list(draw_all(check_records.short())) == list(CHECK_FIGURES)


def test_drawing_needs_neither_torch_nor_pyplot():
    code = (
        "import sys, lmdm_bench.check_figures;"
        "assert not {'torch', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", CHECK_FIGURES)
def test_golden_image(name):
    record = check_records.EXAMPLES[GOLDEN_RECORDS[name]]()
    content = io.BytesIO()
    with drawing_style():
        CHECK_FIGURES[name](record).savefig(
            content, format="png", dpi=GOLDEN_DPI, metadata={"Software": None}
        )
    path = GOLDEN / f"check_{name}.png"
    now = Image.open(content).convert("RGB")
    if os.environ.get("LMDM_RENEW_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        now.quantize(GOLDEN_COLOURS).save(path, optimize=True)
    golden = Image.open(path).convert("RGB")
    assert now.size == golden.size
    difference = (np.asarray(now, float) - np.asarray(golden, float)) / 255
    assert math.sqrt(float((difference**2).mean())) < GOLDEN_TOLERANCE
