from matplotlib.figure import Figure
from matplotlib.text import Text

import claims_records
from claims_drawn import rendered, words
from lmdm_bench import format as shown
from lmdm_bench.canvas import WIDTH_INCHES, drawing_style
from lmdm_bench.claim_tests import View
from lmdm_bench.claims_panels import (
    MARKERS,
    SCHEMES,
    Label,
    block_words,
    claims_canvas,
    draw_labels,
    empty_panel,
    filled_mark,
    hollow_mark,
    log_axis,
    note_inches,
    note_lines,
    why_missing,
)


def test_every_scheme_has_a_marker_of_its_own_and_its_colour():
    assert set(MARKERS) == set(SCHEMES) == set(claims_records.SCHEMES)
    assert len(set(MARKERS.values())) == len(SCHEMES)
    for scheme in SCHEMES:
        assert filled_mark(scheme)["color"] == shown.scheme_colour(scheme)
        assert hollow_mark(scheme)["markerfacecolor"] != shown.scheme_colour(scheme)


def test_a_canvas_tells_the_run_and_what_was_counted_instead_of_rounds():
    record = claims_records.interrupted()
    figure = claims_canvas(record, "A title", "a subtitle", 3.0)
    assert figure.get_size_inches().tolist() == [WIDTH_INCHES, 3.0]
    text = words(figure)
    assert "A title" in text and "interleaved" in text and "interrupted" in text
    told = words(claims_canvas(record, "A title", "a subtitle", 3.0, times="n = 2 processes"))
    assert "n = 2 processes" in told and "interleaved" not in told


def test_labels_of_curves_that_end_together_stand_apart():
    with drawing_style():
        figure = Figure(figsize=(6, 3))
        axes = figure.subplots()
        axes.set_ylim(0, 1)
        draw_labels(axes, [Label((0.5, 0.5), "one"), Label((0.5, 0.5), "two", is_part=True)])
    boxes = {one.get_text(): one.get_window_extent() for one in rendered(figure).findobj(Text)}
    low, high = sorted((boxes["one"], boxes["two"]), key=lambda box: box.y0)
    assert low.y1 <= high.y0 + 3


def test_an_empty_panel_says_why_in_place_of_axes():
    figure = Figure()
    axes = figure.subplots()
    empty_panel(axes, "nothing was measured")
    assert "nothing was measured" in words(figure)
    assert not len(axes.get_xticks()) and axes.get_xlabel() == ""


def test_a_logarithmic_axis_has_plain_numbers():
    axes = Figure().subplots()
    log_axis(axes, "x")
    axes.set_xlim(0.1, 20)
    ticks = [at for at in axes.get_xticks() if 0.1 <= at <= 20]
    told = [axes.xaxis.get_major_formatter()(at, None) for at in ticks]
    assert told == ["0.1", "0.2", "0.5", "1", "2", "5", "10", "20"]


def test_notes_take_room_only_where_there_are_any():
    assert note_inches(note_lines([])) == 0
    assert note_inches(note_lines(["short"])) < note_inches(note_lines(["long " * 30]))


def test_what_is_missing_is_a_sentence_for_each_scheme():
    whole, failed = View(claims_records.agreeing()), View(claims_records.one_oom())
    assert why_missing(whole, SCHEMES[3:], "tokens") == []
    (why,) = why_missing(failed, SCHEMES[3:], "tokens")
    assert "OOM" in why
    assert block_words(whole, SCHEMES[:3], "steps").startswith("seconds per block of ")
