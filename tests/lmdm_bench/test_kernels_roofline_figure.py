import dataclasses

import numpy as np
import pytest

import kernels_records
from claims_drawn import rendered, words
from lmdm_bench.canvas import INK
from lmdm_bench.kernel_verdicts import rates, timing_of
from lmdm_bench.kernels_roofline_figure import intensity, roofline
from lmdm_bench.kernels_words import backend_colour


def test_the_roof_is_what_was_measured():
    record = kernels_records.on_cpu()
    for axes in roofline(record).axes:
        (roof,) = (one for one in axes.lines if one.get_color() == INK)
        across, up = (np.asarray(one, float) for one in roof.get_data())
        peak, bandwidth = record.ceiling.flops_per_second, record.ceiling.bytes_per_second
        assert np.allclose(up, np.minimum(peak, across * bandwidth) / 1e12)
    assert "520 GFLOP/s, 18.0 GB/s" in words(roofline(record)).replace("\N{NO-BREAK SPACE}", " ")


def test_dots_are_rates_of_the_true_area():
    record = kernels_records.on_cuda()
    cell = record.kernel_cells[-1]
    only = dataclasses.replace(cell, rows=cell.rows[:1])
    figure = roofline(dataclasses.replace(record, kernel_cells=(only,)))
    for axes, regime in zip(figure.axes, ("cold", "stack graph"), strict=True):
        (dot,) = (
            one
            for one in axes.lines
            if one.get_color() == backend_colour("interval") and len(one.get_xdata())
        )
        timing = timing_of(cell.rows[0], regime)
        assert float(dot.get_xdata()[0]) == pytest.approx(intensity(cell.case))
        wanted = rates(cell.case, timing, record.ceiling).tflops
        assert float(dot.get_ydata()[0]) == pytest.approx(wanted)


def test_no_dot_of_an_honest_record_is_above_the_roof():
    for name in ("on_cpu", "on_cuda", "behind"):
        record = kernels_records.EXAMPLES[name]()
        peak, bandwidth = record.ceiling.flops_per_second, record.ceiling.bytes_per_second
        for axes in roofline(record).axes:
            for one in axes.lines:
                across, up = (np.asarray(ends, float) for ends in one.get_data())
                assert (up <= 1.001 * np.minimum(peak, across * bandwidth) / 1e12).all()


def test_every_backend_and_plan_is_in_the_key():
    text = words(roofline(kernels_records.on_cuda()))
    for name in (*kernels_records.BACKENDS[:6], "reference", "block-causal-fused-step"):
        assert name in text
    assert "flash4" not in text


def test_nothing_timed_is_said():
    assert "nothing was timed to its end" in words(rendered(roofline(kernels_records.nothing())))
