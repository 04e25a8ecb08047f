import pytest

import claims_records
from claims_drawn import marks, words
from lmdm_bench.claim_tests import View
from lmdm_bench.claims import LAPTOP_VRAM_GB, memory_rows
from lmdm_bench.claims_memory_figure import memory


def test_memory_bars_stack_up_to_the_predicted_peak_below_the_laptops():
    record = claims_records.violated()
    left, right = memory(record).axes
    rows = sorted(memory_rows(View(record)), key=lambda one: one.predicted.peak_bytes)
    for axes in (left, right):
        bars = [one for one in axes.patches if one.get_width() == pytest.approx(0.62)]
        for column, row in enumerate(rows):
            heights = [one.get_height() for one in bars if abs(one.get_x() + 0.31 - column) < 0.01]
            assert sum(heights) == pytest.approx(row.predicted.peak_bytes / 1e9)
        measured = [(at, row.measured.value / 1e9) for at, row in enumerate(rows)]
        assert marks(axes, "D", is_hollow=True) == [pytest.approx(one) for one in measured]
    lines = [one.get_ydata()[0] for one in right.lines if one.get_linestyle() == "--"]
    assert lines == list(LAPTOP_VRAM_GB)
    assert "n = 3 processes each" in words(left.figure)


def test_memory_that_was_not_measured_is_said_and_has_no_mark():
    left, _ = memory(claims_records.interrupted()).axes
    assert not marks(left, "D", is_hollow=True)
    assert words(left.figure).count("not measured") == 5
