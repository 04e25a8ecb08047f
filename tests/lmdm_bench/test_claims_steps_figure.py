import numpy as np
import pytest

import claims_records
from claims_drawn import curves, geometric_mean_seconds, marks, words
from lmdm_bench.canvas import INK
from lmdm_bench.claim_tests import View, axis_value
from lmdm_bench.claims_curves import line_through
from lmdm_bench.claims_panels import MARKERS
from lmdm_bench.claims_steps_figure import steps


def test_lines_over_steps_go_through_their_intercepts_to_the_last_size():
    record = claims_records.agreeing()
    whole, near, tokens, _ = steps(record).axes
    view = View(record)
    panels = [(whole, one, "steps") for one in claims_records.DIFFUSION]
    panels += [(tokens, one, "tokens") for one in ("lmm-encoder-decoder", "lmm-frame-wise")]
    for axes, scheme, sweep in panels:
        through = line_through(view, scheme, sweep)
        points = view.points_of(scheme, sweep)
        last = axis_value(points[-1], sweep)
        start, slope = through.intercept.value, through.slope.value
        ((across, up),) = curves(axes, scheme)
        assert across.tolist() == [0, last]
        assert up.tolist() == pytest.approx([start, start + slope * last])
        assert marks(axes, MARKERS[scheme], is_hollow=True) == [(0, pytest.approx(start))]
        measured = marks(axes, MARKERS[scheme])
        expected = [(axis_value(one, sweep), geometric_mean_seconds(one)) for one in points]
        assert measured == [pytest.approx(one) for one in expected]
    for scheme in claims_records.DIFFUSION:
        ((across, _),) = curves(near, scheme)
        assert across.tolist() == [0, 4]
        assert {at for at, _ in marks(near, MARKERS[scheme])} == {1, 2, 4}


def test_intercepts_have_their_intervals_and_the_encode_beside_them():
    record = claims_records.agreeing()
    axes = steps(record).axes[3]
    view = View(record)
    told = line_through(view, "encoder-decoder", "steps").intercept
    low, high = (1000 * one for one in told.interval())
    assert [one for one, _ in marks(axes, "s", is_hollow=True)] == [
        pytest.approx(1000 * told.value)
    ]
    ends = [list(one.get_xdata()) for one in axes.lines if one.get_color() == INK]
    assert pytest.approx([low, high]) in ends
    bars = marks(axes, "|")
    points = view.points_of("encoder-decoder", "steps")
    encode = [visit.context_encode_ms for point in points for visit in point.visits]
    assert bars[0][0] == pytest.approx(np.mean(encode), rel=0.01)
    assert len(bars) == 2  # of the two schemes that encode


def test_one_round_has_points_and_lines_without_intervals():
    figure = steps(claims_records.one_round())
    assert "(no interval)" in words(figure)
    for axes in figure.axes[:3]:
        assert not [one for one in axes.lines if one.get_color() == INK]


def test_a_sweep_that_failed_says_why_under_its_panel():
    figure = steps(claims_records.one_oom())
    assert "4 of lmm-encoder-decoder's points over tokens were not measured (OOM" in words(figure)
    assert "no line" in words(figure)
