import math

import numpy as np
import pytest

import claims_records
from claims_drawn import geometric_mean_seconds
from lmdm_bench.claim_tests import View
from lmdm_bench.claims_curves import (
    growths,
    line_through,
    mean_seconds,
    service_ms,
    sweep_encode_ms,
)


def test_outpainting_grows_with_context_and_block_together():
    (grown,) = growths(View(claims_records.agreeing()), "outpaint")
    assert grown.seconds[0] == pytest.approx((48 + 48) * 2048 / 44100)
    assert [round(one.value, 2) for one in grown.exponents] == [1.0, 1.03, 1.07, 1.12, 1.23]


def test_a_time_is_the_geometric_mean_over_rounds_or_nothing():
    point = claims_records.agreeing().points[0]
    told = mean_seconds(point, service_ms)
    assert told is not None and told.value == pytest.approx(geometric_mean_seconds(point))
    assert mean_seconds(point, lambda visit: None) is None


def test_a_line_needs_two_sizes():
    view = View(claims_records.agreeing())
    assert not isinstance(line_through(view, "outpaint", "steps"), str)
    assert "lmm-frame-wise" in str(line_through(view, "lmm-frame-wise", "context"))


def test_the_encode_over_a_sweep_is_told_only_where_there_is_one():
    view = View(claims_records.agreeing())
    points = view.points_of("encoder-decoder", "steps")
    known = [visit.context_encode_ms for point in points for visit in point.visits]
    told = sweep_encode_ms(view, "encoder-decoder", "steps")
    assert told is not None and math.isclose(told.value, float(np.mean(known)), rel_tol=0.01)
    assert sweep_encode_ms(view, "outpaint", "steps") is None
