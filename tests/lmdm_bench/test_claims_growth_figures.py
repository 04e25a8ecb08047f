import itertools
import math

import numpy as np
import pytest
from matplotlib.patches import Rectangle

import claims_records
from claims_drawn import curves, geometric_mean_seconds, marks, plain, words
from lmdm_bench import format as shown
from lmdm_bench.claim_tests import View
from lmdm_bench.claims_curves import context_seconds, growths
from lmdm_bench.claims_growth_figures import context, exponents
from lmdm_bench.fits import local_exponents


def test_context_curves_are_whole_blocks_encodes_and_attention():
    record = claims_records.agreeing()
    diffusion, lmms = context(record).axes
    view = View(record)
    for axes, scheme, parts in (
        (diffusion, "outpaint", 1),
        (diffusion, "encoder-decoder", 3),
        (diffusion, "block-causal", 2),
        (lmms, "lmm-encoder-decoder", 2),
    ):
        points = view.points_of(scheme, "context")
        found = curves(axes, scheme)
        assert len(found) == parts
        across, up = found[0]
        assert across.tolist() == pytest.approx([context_seconds(one) for one in points])
        assert up.tolist() == pytest.approx([geometric_mean_seconds(one) for one in points])
    points = view.points_of("block-causal", "context")
    attention = [math.exp(np.mean([math.log(v.attention_ms) for v in p.visits])) for p in points]
    assert curves(diffusion, "block-causal")[1][1].tolist() == pytest.approx(
        [one / 1000 for one in attention]
    )
    frames = [one.get_text().split("\n")[1] for one in lmms.get_xticklabels()]
    assert frames == ["50", "100", "250", "500"]
    text = words(context(record))
    assert "2.23 s" in text and "0.400 s" in text
    assert "lmm-frame-wise was not measured over context frames" in text


def test_exponents_are_drawn_between_their_sizes_and_p_as_a_band():
    record = claims_records.agreeing()
    figure = exponents(record)
    view = View(record)
    points = view.points_of("block-causal", "context")
    frames = [one.workload.context_frames for one in points]
    expected = [one.value for one in local_exponents(frames, view.service_seconds(points))]
    axes = figure.axes[2]
    assert [up for _, up in marks(axes, "D")] == pytest.approx(expected)
    seconds = [context_seconds(one) for one in points]
    bars = curves(axes, "block-causal")
    assert [tuple(across) for across, _ in bars] == [
        pytest.approx(pair) for pair in itertools.pairwise(seconds)
    ]
    assert not axes.patches[1:]  # the rule under its title alone: no p, no band
    block, encode = growths(view, "encoder-decoder")
    bands = [one for one in figure.axes[1].patches[1:] if isinstance(one, Rectangle)]
    for band, one in zip(bands, (block, encode), strict=True):
        low, high = one.floor.exponent.interval()
        assert (band.get_y(), band.get_height()) == pytest.approx((low, high - low))
    text = words(figure)
    told = shown.estimate(encode.floor.exponent.estimate())
    assert f"encode: p = {plain(told)}" in text
    assert "p not told (needs 6 sizes spanning 32x, has 6 spanning 16.5x)" in text
    assert [one.get_text() for one in figure.axes[0].get_yticklabels()] == [
        "flat  0",
        "linear  1",
        "quadratic  2",
    ]
