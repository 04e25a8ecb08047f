"""The heat-map has a cell for each prediction, and grey tells measured from predicted."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from claims_drawn import rendered, words
from lmdm_bench.canvas import to_png
from lmdm_bench.gpu_table import gpu_table
from lmdm_bench.predict import predict
from lmdm_bench.predict_words import SIGNS, figure, is_measured, sign_of
from lmdm_bench.verdict_map_figure import SHADES, verdict_map
from predictions import asked, every_verdict, evidence, gpu_target, workload

EVERY = every_verdict()
GREY = np.array([0.2126, 0.7152, 0.0722])


def cells(drawn) -> list[Rectangle]:
    (axes,) = drawn.axes
    return [one for one in axes.patches if isinstance(one, Rectangle)]


def test_every_prediction_is_a_cell_with_its_sign_and_factor() -> None:
    drawn = rendered(verdict_map(EVERY))
    text = words(drawn)
    assert len(cells(drawn)) == len(EVERY)
    for one in EVERY:
        rtf = "" if one.rtf is None else f" {figure(one.rtf.value)}"
        assert f"{sign_of(one)}{rtf}" in text
        assert one.target.name in text and one.workload.model in text


def test_measured_cells_have_a_heavy_frame_and_guessed_ones_are_hatched() -> None:
    drawn = verdict_map(EVERY)
    for one, cell in zip(EVERY, cells(drawn), strict=True):
        assert (cell.get_linewidth() > 1.5) == is_measured(one)
        assert bool(cell.get_hatch()) == (one.tier == "from specification only")
    (axes,) = drawn.axes
    bold = [one.get_fontweight() == "bold" for one in axes.texts]
    assert bold == [is_measured(one) for one in EVERY]


def test_the_legend_has_what_is_drawn_and_nothing_else() -> None:
    text = words(verdict_map([EVERY[0], EVERY[2]]))
    assert "measured" in text and "from specification only" not in text
    assert SIGNS["plays", None][1] in text and SIGNS["does not fit", None][1] not in text
    assert "2 of 2 cells measured" in text
    full = words(verdict_map(EVERY))
    assert "calibrated on its like" in full and "calibrated: off by" in full


def test_shades_differ_in_grey_where_sides_differ() -> None:
    grey = {key: float(np.array(to_rgb(shade)) @ GREY) for key, shade in SHADES.items()}
    assert grey["plays", None] > grey["does not play", None] + 0.15
    assert grey["cannot tell", "likely"] > grey["cannot tell", "unlikely"] + 0.03
    # The figures in the cells are dark.
    assert min(grey.values()) > 0.3


def test_the_whole_table_is_legible() -> None:
    found = [
        predict(asked(workload(scheme)), gpu_target(row.name), evidence(), evidence())
        for row in gpu_table()
        for scheme in ("outpaint", "lmm-encoder-decoder")
    ]
    drawn = rendered(verdict_map(found))
    _, height = drawn.get_size_inches()
    assert height / len(gpu_table()) > 0.2
    assert len(cells(drawn)) == len(found)


def test_the_same_predictions_give_the_same_bytes() -> None:
    assert to_png(verdict_map(EVERY)) == to_png(verdict_map(EVERY))


@pytest.mark.parametrize("name", ["a\nb", "x" * 90, "名前 $x_1$"])
def test_names_from_outside_are_drawn_as_letters(name: str) -> None:
    odd = [replace(one, target=replace(one.target, name=name)) for one in EVERY[:2]]
    rendered(verdict_map(odd))
