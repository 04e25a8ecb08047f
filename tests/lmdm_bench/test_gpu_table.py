"""The table obeys physics, and a row is found by the names that people use."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmdm_bench.errors import InputError
from lmdm_bench.gpu_table import GpuSpec, find_gpu, gpu_table

ROWS = {row.name: row for row in gpu_table()}
every_row = pytest.mark.parametrize("row", gpu_table(), ids=list(ROWS))
ranged = [row for row in gpu_table() if row.power_watts and row.power_watts[0] < row.power_watts[1]]

# Vendors print these peaks at a lower clock than the highest: H100 at 1830 and 1620 MHz, L4 and
# L40S a little below; the others are the product of their clock, units and rate.
PRINTED_LOWER = {
    "H100 PCIe 80 GB": 0.085,
    "H100 SXM5 80 GB": 0.085,
    "H200 SXM 141 GB": 0.085,
    "L40S": 0.013,
}
# bits of the bus, and Gbit/s of a pin: bandwidth is their product ÷ 8.
BUSES = {
    "GeForce RTX 2060": (192, 14),
    "GeForce RTX 3060 12 GB": (192, 15),
    "GeForce RTX 3070": (256, 14),
    "GeForce RTX 3080": (320, 19),
    "GeForce RTX 3090": (384, 19.5),
    "GeForce RTX 4060": (128, 17),
    "GeForce RTX 4060 Mobile": (128, 16),
    "GeForce RTX 4060 Ti 16 GB": (128, 18),
    "GeForce RTX 4070": (192, 21),
    "GeForce RTX 4080": (256, 22.4),
    "GeForce RTX 4080 Mobile": (192, 18),
    "GeForce RTX 4090": (384, 21),
    "GeForce RTX 4090 Mobile": (256, 18),
    "GeForce RTX 5060": (128, 28),
    "GeForce RTX 5070": (192, 28),
    "GeForce RTX 5080": (256, 30),
    "GeForce RTX 5090": (512, 28),
    "GeForce RTX 5090 Mobile": (256, 28),
    "Radeon RX 7900 XTX": (384, 20),
    "Radeon RX 9070 XT": (256, 20),
    "Arc B580": (192, 19),
    "Tesla T4": (256, 10),
    "L4": (192, 12.5),
    "L40S": (384, 18),
    "Apple M1": (128, 4.266),
    "Apple M1 Pro": (256, 6.4),
    "Apple M2": (128, 6.4),
    "Apple M2 Max": (512, 6.4),
    "Apple M3 Pro": (192, 6.4),
    "Apple M4": (128, 7.5),
    "Apple M4 Pro": (256, 8.533),
    "Apple M4 Max": (512, 8.533),
    "Apple M5": (128, 9.6),
    "Apple M5 Pro": (256, 9.6),
    "Apple M5 Max": (512, 9.6),
}
APPLE_FLOPS_PER_CLOCK = 256
# A multiply and an add in each of 64 or 128 lanes; AMD's paired instructions count twice.
FLOAT32_RATES = {"nvidia": (128, 256), "intel": (256,), "amd": (256, 512)}


def test_there_are_the_rows_that_the_issue_asks_for() -> None:
    assert len(ROWS) == len(gpu_table()) >= 58 + 13
    assert {row.family for row in gpu_table()} == {"nvidia", "amd", "intel", "apple"}
    assert {f"Apple M{n} {kind}".strip() for n in (1, 2, 3, 4) for kind in ("", "Pro", "Max")} <= {
        *ROWS
    }


@every_row
def test_a_row_has_sources_and_ends_in_order(row: GpuSpec) -> None:
    assert row.sources and all(one.startswith("https://") for one in row.sources)
    spans = (
        row.boost_mhz,
        row.matrix_tflops,
        row.fp32_tflops,
        row.bandwidth_gb_per_second,
        row.memory_gib,
        row.power_watts,
    )
    for span in spans:
        assert span is None or 0 < span[0] <= span[1]
    assert row.cache_mib is None or 0.5 <= row.cache_mib <= 128
    assert row.note is None or row.note.strip()


@every_row
def test_a_peak_is_its_units_times_their_clock_and_rate(row: GpuSpec) -> None:
    if row.flops_per_clock_per_unit is None or row.boost_mhz is None:
        assert row.family == "apple" or "GTX 16" in row.name
        return
    for peak, clock in zip(row.matrix_tflops, row.boost_mhz, strict=True):
        product = row.num_units * row.flops_per_clock_per_unit * clock / 1e6
        off = product / peak - 1
        assert -0.004 < off < PRINTED_LOWER.get(row.name, 0.004), f"{product} against {peak}"


@every_row
def test_a_float32_peak_is_its_lanes_times_their_clock(row: GpuSpec) -> None:
    if row.family == "apple":
        clocks = [peak * 1e6 / row.num_units / APPLE_FLOPS_PER_CLOCK for peak in row.fp32_tflops]
        assert all(1200 < clock < 1800 for clock in clocks), clocks
        return
    assert row.boost_mhz is not None
    rate = row.fp32_tflops[0] * 1e6 / row.boost_mhz[0] / row.num_units
    assert any(rate == pytest.approx(one, rel=0.02) for one in FLOAT32_RATES[row.family]), rate


@pytest.mark.parametrize("name", BUSES)
def test_bandwidth_is_the_bus_times_its_rate(name: str) -> None:
    bits, rate = BUSES[name]
    assert ROWS[name].bandwidth_gb_per_second[1] == pytest.approx(bits * rate / 8, rel=0.011)


@every_row
def test_bandwidth_is_what_memory_of_its_time_can_do(row: GpuSpec) -> None:
    """For a bus of some whole number of chips, a pin's rate lies in what was ever sold."""
    least, most = (4, 10) if row.family == "apple" else (4.5, 32)
    for bandwidth in row.bandwidth_gb_per_second:
        buses = [*range(64, 1025, 32), *range(2048, 8193, 1024)]
        rates = [bandwidth * 8 / bits for bits in buses]
        assert any(least <= rate <= most for rate in rates)


def test_a_laptop_s_peak_is_below_the_desktop_s_of_its_chip() -> None:
    for laptop, desktop in (("4090", "4080"), ("4060", "4060"), ("5090", "5080"), ("3080", "3080")):
        assert (
            ROWS[f"GeForce RTX {laptop} Mobile"].matrix_tflops[0]
            < ROWS[f"GeForce RTX {desktop}"].matrix_tflops[0]
        )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("4060 laptop", "GeForce RTX 4060 Mobile"),
        ("RTX 4060 Mobile", "GeForce RTX 4060 Mobile"),
        ("geforce-rtx-4060-mobile", "GeForce RTX 4060 Mobile"),
        ("NVIDIA GeForce RTX 4060 Laptop GPU", "GeForce RTX 4060 Mobile"),
        ("NVIDIA GeForce GTX 1660 Ti with Max-Q Design", None),
        ("rtx4060", "GeForce RTX 4060"),
        ("4060", "GeForce RTX 4060"),
        ("4060ti", "GeForce RTX 4060 Ti 16 GB"),
        ("3060 12 GB", "GeForce RTX 3060 12 GB"),
        ("4070 super", "GeForce RTX 4070 SUPER"),
        ("RTX 3050 Ti Laptop GPU", "GeForce RTX 3050 Ti Mobile"),
        ("Quadro T4", "Tesla T4"),
        ("NVIDIA H200", "H200 SXM 141 GB"),
        ("NVIDIA A100-SXM4-80GB", "A100 SXM4 80 GB"),
        ("a100 40gb", "A100 PCIe 40 GB"),
        ("7900xtx", "Radeon RX 7900 XTX"),
        ("Intel Arc B580 Graphics", "Arc B580"),
        ("M4 Pro", "Apple M4 Pro"),
        ("m2max", "Apple M2 Max"),
        ("Apple M1", "Apple M1"),
        ("MacBook Air M3", "Apple M3"),
    ],
)
def test_a_row_goes_by_the_names_that_people_use(name: str, expected: str | None) -> None:
    if expected is None:
        with pytest.raises(InputError, match="GTX 1660 Ti Mobile"):
            find_gpu(name)
    else:
        assert find_gpu(name).name == expected


@every_row
def test_each_row_goes_by_its_own_name(row: GpuSpec) -> None:
    assert find_gpu(row.name) is row
    assert find_gpu(row.name.lower().replace(" ", "-")) is row


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("A100", "could be any of A100 PCIe 40 GB, A100 SXM4 80 GB"),
        ("H100", "could be any of H100 PCIe 80 GB, H100 SXM5 80 GB"),
        ("4090 ti", "no GPU '4090 ti' in the table; the nearest are .*RTX 4090"),
        ("RTX 4060 Ti 8 GB", "the nearest are GeForce RTX 4060 Ti 16 GB"),
        ("Voodoo 2", "lmdm-bench predict --all shows what is there"),
        ("", "lmdm-bench predict --all"),
        ("gpu", "lmdm-bench predict --all"),
    ],
)
def test_a_name_of_none_or_of_several_is_refused_with_the_nearest(name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        find_gpu(name)


@pytest.mark.parametrize(
    ("name", "watts", "mhz"),
    [
        ("3060 mobile", 80, 1425),
        ("3060 mobile", 100, 1605),
        ("3070 mobile", 115, 1560),
        ("3080 mobile", 115, 1545),
    ],
)
def test_a_clock_between_the_ends_is_near_what_was_printed_for_it(name, watts, mhz) -> None:
    clock = find_gpu(name).at_power(watts).boost_mhz
    assert clock is not None and clock[0] == clock[1] == pytest.approx(mhz, rel=0.05)


@pytest.mark.parametrize("row", ranged, ids=[row.name for row in ranged])
def test_a_laptop_at_its_ends_is_what_the_row_says(row: GpuSpec) -> None:
    assert row.power_watts is not None
    for end, watts in enumerate(row.power_watts):
        fixed = row.at_power(watts)
        for name in ("matrix_tflops", "fp32_tflops", "bandwidth_gb_per_second"):
            assert getattr(fixed, name) == (pytest.approx(getattr(row, name)[end]),) * 2
    assert row.at_power(row.power_watts[0]).name == row.name


@given(st.sampled_from(ranged), st.floats(0, 1), st.floats(0, 1))
def test_more_power_is_never_a_lower_peak(row: GpuSpec, some: float, other: float) -> None:
    assert row.power_watts is not None
    low, high = row.power_watts
    less, more = (row.at_power(low + part * (high - low)) for part in sorted((some, other)))
    for name in ("matrix_tflops", "fp32_tflops", "bandwidth_gb_per_second"):
        assert getattr(less, name)[0] <= getattr(more, name)[0] * (1 + 1e-12)
        for fixed, whole in itertools.product((less, more), [getattr(row, name)]):
            assert whole[0] * (1 - 1e-12) <= getattr(fixed, name)[0] <= whole[1] * (1 + 1e-12)


@pytest.mark.parametrize(
    ("name", "watts", "words"),
    [
        ("4060 mobile", 20, "GeForce RTX 4060 Mobile is sold with 35 to 115 W, got 20 W"),
        ("4060 mobile", 116, "35 to 115 W, got 116 W"),
        ("RTX 4090", 300, "no range of power limits for GeForce RTX 4090"),
        ("M4 Pro", 40, "no range of power limits for Apple M4 Pro"),
    ],
)
def test_a_power_limit_that_is_not_sold_is_refused(name: str, watts: float, words: str) -> None:
    with pytest.raises(InputError, match=words):
        find_gpu(name).at_power(watts)


def test_a_chip_without_bfloat16_runs_in_float16() -> None:
    assert find_gpu("RTX 2060").dtype == find_gpu("T4").dtype == "float16"
    assert find_gpu("RTX 3060").dtype == "bfloat16"
    row = find_gpu("RTX 4090")
    assert row.flops_per_second("bfloat16") == row.flops_per_second("float16")
    assert row.flops_per_second("float32")[1] == pytest.approx(82.6e12)
