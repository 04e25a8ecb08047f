import dataclasses

import pytest

import kernels_records
from claims_drawn import plain, rendered, words
from lmdm_bench.canvas import PAPER
from lmdm_bench.kernels_ratio_figure import times_beside
from lmdm_bench.kernels_words import backend_colour


def dots(axes, colour):
    return [
        (float(at), float(up), one.get_marker())
        for one in axes.lines
        if one.get_marker() in ("o", "s") and one.get_markeredgecolor() == colour
        for at, up in zip(*one.get_data(), strict=True)
    ]


def test_every_plan_regime_and_backend_has_its_dots():
    figure = times_beside(kernels_records.on_cuda())
    assert len(figure.axes) == 5 * 3
    for axes in figure.axes:
        for name in ("range", "masked", "flex", "cudnn", "flash2", "reference"):
            assert len(dots(axes, backend_colour(name))) == 16
        assert not dots(axes, backend_colour("interval"))
    text = plain(words(figure))
    assert "beside interval" in text and "all layers, as a graph" in text
    assert "230 + 10, 192 + 48, 384 + 128, 768 + 256 frames" in text


def test_dots_are_where_the_ratios_are():
    """Both are planted: masked computes the whole square, in proportion."""
    record = kernels_records.on_cpu()
    cell = record.kernel_cells[0]
    rows = {row.backend: row for row in cell.rows}
    twice = tuple(
        dataclasses.replace(its, round_ms=tuple(2 * ms for ms in mine.round_ms))
        for mine, its in zip(rows["range"].timings, rows["masked"].timings, strict=True)
    )
    masked = dataclasses.replace(rows["masked"], timings=twice)
    cell = dataclasses.replace(cell, rows=(rows["range"], masked))
    figure = times_beside(dataclasses.replace(record, kernel_cells=(cell,)))
    for axes in figure.axes:
        ((at, _, marker),) = dots(axes, backend_colour("masked"))
        assert at == pytest.approx(2.0) and marker == "o"
        assert axes.get_xlim()[0] < 1 < at < axes.get_xlim()[1]


def test_batches_and_models_are_told_apart_without_colour():
    axes = times_beside(kernels_records.on_cpu()).axes[0]
    looks = {
        (one.get_marker(), one.get_markerfacecolor() == PAPER)
        for one in axes.lines
        if one.get_marker() in ("o", "s")
    }
    assert looks == {("o", True), ("o", False), ("s", True), ("s", False)}


def test_a_backend_that_is_missing_in_one_panel_is_said_to_be():
    record = kernels_records.on_cpu()
    cells = tuple(
        dataclasses.replace(
            cell,
            rows=tuple(
                row for row in cell.rows if row.backend != "flex" or cell.case.plan == "full"
            ),
        )
        for cell in record.kernel_cells
    )
    figure = rendered(times_beside(dataclasses.replace(record, kernel_cells=cells)))
    assert words(figure).count("not timed") == 4 * 3


@pytest.mark.parametrize("name", ["few_rounds", "nothing"])
def test_nothing_to_compare_is_said(name):
    text = plain(words(rendered(times_beside(kernels_records.EXAMPLES[name]()))))
    assert "was not timed beside anything else" in text
