import pytest

import claims_records
from claims_drawn import marks, words
from lmdm_bench import format as shown
from lmdm_bench.canvas import INK
from lmdm_bench.claim_tests import View
from lmdm_bench.claims import ratio_rows
from lmdm_bench.claims_ratio_figure import far_ratios, ratios


@pytest.mark.parametrize("name", ["agreeing", "launches", "violated"])
def test_every_ratio_is_two_marks_at_its_measured_height(name):
    record = claims_records.EXAMPLES[name]()
    rows = ratio_rows(View(record))
    figure = ratios(record)
    scatter = figure.axes[0]
    for hollow, at in ((False, "flops_ratio"), (True, "bound_ratio")):
        found = sorted(
            marks(scatter, "o", is_hollow=hollow) + marks(scatter, "s", is_hollow=hollow)
        )
        expected = sorted((getattr(row, at), row.measured.value) for row in rows)
        assert found == [pytest.approx(one) for one in expected]
    diagonal = [one for one in scatter.lines if one.get_color() == INK]
    assert any(list(one.get_xdata()) == list(one.get_ydata()) for one in diagonal)
    text = words(figure)
    agreeing = sum(row.cause is None for row in rows if row.other == "encoder-decoder")
    of_all = sum(row.other == "encoder-decoder" for row in rows)
    assert f"{agreeing} of {of_all} within 15 % of the ratio of FLOPs" in text
    for row in far_ratios(rows):
        assert row.cause in text and shown.number(row.flops_ratio) in text
