import matplotlib
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from lmdm_bench.canvas import (
    WIDTH_INCHES,
    canvas,
    drawing_style,
    margins,
    mixed,
    safe,
    save_png,
    tick_decimals,
    to_png,
    to_svg,
)


def example() -> Figure:
    with drawing_style():
        return canvas("A title", "and more", "a machine", 2.0)


def test_a_canvas_has_its_title_above_and_its_footer_below():
    figure = example()
    assert figure.get_size_inches().tolist() == [WIDTH_INCHES, 2.0]
    heights = {one.get_text(): one.get_position()[1] for one in figure.findobj(Text)}
    assert heights["A title"] > heights["and more"] > heights["a machine"]


def test_the_same_figure_gives_the_same_files_whatever_the_users_settings():
    once = to_png(example()), to_svg(example())
    with matplotlib.rc_context({"font.size": 30, "svg.hashsalt": "x", "figure.facecolor": "red"}):
        assert (to_png(example()), to_svg(example())) == once
        assert matplotlib.rcParams["font.size"] == 30
    assert once[0].startswith(b"\x89PNG")
    assert "<dc:date>" not in once[1] and "Matplotlib v" not in once[1]


def test_a_png_is_saved_whole(tmp_path):
    path = tmp_path / "one.png"
    save_png(example(), path)
    assert path.read_bytes() == to_png(example()) and list(tmp_path.iterdir()) == [path]


def test_margins_are_parts_of_the_figure():
    found = margins(Figure(figsize=(10, 5)), left=1, right=2, top=0.5, bottom=1)
    assert found == {"left": 0.1, "right": 0.8, "top": 0.9, "bottom": 0.2}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("one\n two", "one two"),
        ("机器 × −1", "?? × −1"),
        ("a b c d e f g h", "a b c d..."),
    ],
)
def test_text_is_made_safe(text, told):
    assert safe(text, 10) == told


def test_colours_are_mixed_by_part():
    assert mixed("#000000", "#ffffff", 0.0) == "#000000"
    assert mixed("#ff0000", "#0000ff", 1.0) == "#0000ff"


@pytest.mark.parametrize(("value", "decimals"), [(0, 0), (200, 0), (0.5, 1), (0.025, 3)])
def test_a_tick_has_as_few_decimals_as_tell_it(value, decimals):
    assert tick_decimals(value) == decimals
