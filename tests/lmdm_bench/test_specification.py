"""Rates from a specification: every part has a source, ends are in order, and nothing is tuned."""

import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmdm_bench.gpu_table import find_gpu, gpu_table
from lmdm_bench.record import Ceiling
from lmdm_bench.roofline import Stage, stage_seconds, table
from lmdm_bench.specification import (
    LAUNCHED_MICROSECONDS,
    MEMORY,
    PRODUCTS,
    REPLAYED_MICROSECONDS,
    WIDENED,
    Range,
    gpu_rates,
    launches_band,
    memory_band,
    probed_rates,
    products_band,
)
from predictions import CODEC_WORK, GIGA, calibration, work

FAMILIES = ("nvidia", "apple", "amd", "intel")
STAGES = [Stage("denoise", (work(count=8), work(rows=1), CODEC_WORK))]
LAPTOP = find_gpu("RTX 4060 Mobile")


def took(rates: Range) -> tuple[float, float, float]:
    """Seconds at the fast end, at the likeliest, at the slow end."""
    passes = table(STAGES)
    fast, likely, slow = (
        float(stage_seconds(passes, one)[0]) for one in (rates.fast, rates.likely, rates.slow)
    )
    return fast, likely, slow


@pytest.mark.parametrize("published", [*MEMORY.values(), *PRODUCTS.values()])
def test_published_parts_have_a_source_and_are_parts(published) -> None:
    for one in published:
        assert one.source.startswith("https://") and one.what
        assert 0.3 < one.part <= 1.0


def test_published_launches_have_a_source() -> None:
    for known in REPLAYED_MICROSECONDS.values():
        assert all(0.5 < one < 10 and source.startswith("https://") for one, source in known)
    for one, source in LAUNCHED_MICROSECONDS.values():
        assert 1 < one < 10 and source.startswith("https://")


def test_printed_figures_beside_published_ones_are_the_table_s() -> None:
    """What a published figure is a part of, where the table has the same device."""
    bandwidth = {
        "A100 80 GB, Llama 2 7B in bfloat16": "A100 SXM4 80 GB",
        "RTX 4090, a copy": "RTX 4090",
        "RTX 3090, a copy": "RTX 3090",
        "RTX 4070 SUPER, a copy": "RTX 4070 SUPER",
        "T4, a copy": "T4",
        "M4 Pro, Llama 7B in float16": "M4 Pro",
        "M2 Max, Llama 7B in float16": "M2 Max",
        "RX 7900 XTX, a copy": "RX 7900 XTX",
    }
    printed = {one.what: one.printed for known in MEMORY.values() for one in known}
    for what, name in bandwidth.items():
        assert printed[what] == pytest.approx(find_gpu(name).bandwidth_gb_per_second[1], rel=0.002)


@pytest.mark.parametrize("family", FAMILIES)
def test_bands_are_the_least_the_median_and_the_most(family) -> None:
    band = memory_band(family)
    parts = [one.part for one in MEMORY[family]]
    assert (band.slow, band.fast) == (min(parts), max(parts))
    assert band.likely == statistics.median(parts)
    for one in (
        products_band(family),
        launches_band(family, is_graphed=True, host=calibration()),
        launches_band(family, is_graphed=False, host=calibration()),
    ):
        assert 0 < one.slow <= one.likely <= one.fast


def test_a_maker_without_figures_has_those_of_all() -> None:
    everyone = [one.part for known in PRODUCTS.values() for one in known]
    assert products_band("intel").slow == min(everyone)
    assert launches_band("amd", is_graphed=True, host=calibration()).slow == pytest.approx(
        1e6 / 5.16
    )


def test_launched_one_by_one_the_host_decides() -> None:
    host = calibration()
    band = launches_band("nvidia", is_graphed=False, host=host)
    assert band.likely == pytest.approx(1 / host.launch_seconds)
    assert band.slow == pytest.approx(band.likely / WIDENED)
    slow_host = replace(host, launch_seconds=10 * host.launch_seconds)
    assert launches_band("nvidia", is_graphed=False, host=slow_host).likely < band.likely
    replayed = launches_band("nvidia", is_graphed=True, host=slow_host)
    assert replayed == launches_band("nvidia", is_graphed=True, host=host)


@pytest.mark.parametrize("row", gpu_table(), ids=[row.name for row in gpu_table()])
@pytest.mark.parametrize("is_graphed", [False, True])
def test_ends_are_in_order_for_every_row(row, is_graphed: bool) -> None:
    for dtype in (row.dtype, "float32"):
        fast, likely, slow = took(gpu_rates(row, dtype, calibration(), is_graphed=is_graphed))
        assert 0 < fast <= likely <= slow < 200 * fast


def test_rates_are_what_is_printed_times_the_parts() -> None:
    row, host = find_gpu("RTX 4090"), calibration()
    rates = gpu_rates(row, "bfloat16", host, is_graphed=True).likely
    (fitted,) = host.dtypes
    assert rates.memory_bytes_per_second == pytest.approx(1008e9 * memory_band("nvidia").likely)
    assert rates.matrix_flops_per_second == pytest.approx(
        165.2e12 * products_band("nvidia").likely * fitted.matrix_efficiency
    )
    assert rates.attention_flops_per_second == pytest.approx(
        rates.matrix_flops_per_second * host.attention_share
    )
    assert rates.num_units == 128 and rates.cache_bytes == 72 * 2**20
    assert rates.cache_bytes_per_second > 2 * rates.memory_bytes_per_second


def test_without_a_printed_cache_all_comes_from_memory() -> None:
    rates = gpu_rates(find_gpu("M4 Pro"), "bfloat16", calibration(), is_graphed=True)
    assert rates.likely.cache_bytes == rates.fast.cache_bytes == 0.0


watts = st.floats(35.0, 115.0)


@given(watts, watts)
def test_more_power_never_predicts_slower(some: float, other: float) -> None:
    less, more = (LAPTOP.at_power(one) for one in sorted((some, other)))
    slower = took(gpu_rates(less, "bfloat16", calibration(), is_graphed=True))
    faster = took(gpu_rates(more, "bfloat16", calibration(), is_graphed=True))
    assert all(one <= other * (1 + 1e-9) for one, other in zip(faster, slower, strict=True))


@given(watts)
def test_the_whole_range_of_power_holds_each_limit(limit: float) -> None:
    whole = took(gpu_rates(LAPTOP, "bfloat16", calibration(), is_graphed=True))
    fixed = took(gpu_rates(LAPTOP.at_power(limit), "bfloat16", calibration(), is_graphed=True))
    assert whole[0] <= fixed[0] * (1 + 1e-9) and fixed[2] <= whole[2] * (1 + 1e-9)


@given(
    st.sampled_from(("matrix_tflops", "bandwidth_gb_per_second")),
    st.floats(1.0, 8.0),
    st.sampled_from(gpu_table()),
)
def test_more_bandwidth_or_flops_never_predict_slower(name: str, factor: float, row) -> None:
    low, high = getattr(row, name)
    better = replace(row, **{name: (low * factor, high * factor)})
    before = took(gpu_rates(row, row.dtype, calibration(), is_graphed=False))
    after = took(gpu_rates(better, row.dtype, calibration(), is_graphed=False))
    assert all(one <= other * (1 + 1e-9) for one, other in zip(after, before, strict=True))


def test_a_probed_machine_has_the_calibrated_parts_of_its_own_ceiling() -> None:
    host = calibration()
    ceiling = Ceiling("bfloat16", 1e12, 8e10)
    rates = probed_rates(ceiling, host)
    known = host.rates("bfloat16")
    assert rates.likely.matrix_flops_per_second == pytest.approx(2 * known.matrix_flops_per_second)
    assert rates.likely.memory_bytes_per_second == pytest.approx(2 * known.memory_bytes_per_second)
    assert rates.likely.launch_seconds == pytest.approx(host.launch_seconds)
    fast, likely, slow = took(rates)
    assert fast < likely < slow
    other = took(probed_rates(replace(ceiling, dtype="float16"), host))
    assert other[1] == pytest.approx(likely), "the mean of the dtypes that were measured"


def test_the_interval_is_wider_than_any_single_doubt() -> None:
    fast, likely, slow = took(gpu_rates(LAPTOP, "bfloat16", calibration(), is_graphed=False))
    assert slow / fast > 115 / 35 / GIGA * GIGA
    assert likely / fast > 1.2 and slow / likely > 1.2
