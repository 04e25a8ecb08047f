import pytest

import claims_records
from claims_drawn import geometric_mean_seconds, only, words
from lmdm_bench.claim_tests import View
from lmdm_bench.claims_audio_figure import audio_seconds, paper_rows


def test_audio_bars_are_as_long_as_their_seconds():
    record = claims_records.agreeing()
    (axes,) = audio_seconds(record).axes
    rows = tuple(paper_rows(View(record)))
    assert [row.scheme for row in rows] == [
        "outpaint",
        "encoder-decoder",
        "block-causal",
        "block-causal",
        "lmm-encoder-decoder",
        "lmm-frame-wise",
    ]
    paper = [one for one in record.points if "paper" in one.sweeps]
    for row in rows:
        assert any(
            row.told.value
            == pytest.approx(geometric_mean_seconds(one) / one.workload.block_seconds)
            for one in paper
        )
    for place, row in enumerate(rows):
        widths = [one.get_width() for one in axes.patches if abs(one.get_y() + 0.25 - place) < 0.01]
        assert sum(widths) == pytest.approx(row.told.value)
        assert len(widths) == (1 if row.encode is None else 2)
    text = words(axes.figure)
    assert "sao-small, 340.9 M" in text and "8 steps, block 2.23 s" in text
    assert "800 tokens, block 2.00 s" in text and "as fast as it plays" in text
    assert [list(one.get_xdata()) for one in axes.lines if one.get_linestyle() == "--"] == [[1, 1]]


def test_a_line_at_1_that_is_far_off_is_told_in_words():
    record = only(claims_records.launch_bound(), lambda one: one.workload.steps is not None)
    (axes,) = audio_seconds(record).axes
    assert axes.get_xlim()[1] < 1
    assert "far to the right" in words(axes.figure)
    assert "not measured at the paper's settings" in words(axes.figure)


def test_audio_of_a_point_that_failed_is_its_reason():
    text = words(audio_seconds(claims_records.one_oom()))
    assert f"OOM: {claims_records.OOM_REASON}" in text
