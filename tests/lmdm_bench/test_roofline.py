"""The model's own arithmetic: by hand at its corners, and never slower for a faster device."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmdm_bench.roofline import Stage, limit, occupancy, stage_seconds, table
from predictions import GIGA, planted_rates, work

RATES = replace(
    planted_rates(),
    launch_seconds=1e-5,
    matrix_flops_per_second=1e11,
    attention_flops_per_second=1e10,
    memory_bytes_per_second=1e10,
    unhidden=0.25,
)


def seconds(rates, *works) -> float:
    return float(stage_seconds(table([Stage("denoise", works)]), rates)[0])


def test_a_pass_takes_its_launches_the_longer_part_and_what_is_not_hidden() -> None:
    one = work(launches=1000, flops_matrix=30 * GIGA, flops_attention=GIGA, num_bytes=2 * GIGA)
    computing, moving = 30 / 100 + 1 / 10, 2 / 10
    assert seconds(RATES, one) == pytest.approx(0.01 + computing + 0.25 * moving)
    assert seconds(replace(RATES, unhidden=0.0), one) == pytest.approx(0.01 + computing)
    heavy = replace(one, num_bytes=20 * GIGA)
    assert seconds(RATES, heavy) == pytest.approx(0.01 + 2.0 + 0.25 * computing)


def test_passes_add_up_and_stages_stand_apart() -> None:
    one, other = work(count=3), work(launches=0, rows=240)
    both = stage_seconds(table([Stage("a", (one, other)), Stage("b", (other,))]), RATES)
    assert both[0] == pytest.approx(3 * seconds(RATES, replace(one, count=1)) + both[1])


def test_what_the_cache_still_holds_moves_at_its_rate() -> None:
    rates = replace(RATES, cache_bytes=32e6, cache_bytes_per_second=4e10)
    kept = work(launches=0, flops_matrix=0.0, flops_attention=0.0, num_bytes=GIGA)
    kept = replace(kept, bytes_reread=0.8 * GIGA, bytes_between=32e6)
    assert seconds(rates, kept) == pytest.approx(0.2 / 10 + 0.8 / 40)
    assert seconds(rates, replace(kept, bytes_between=33e6)) == pytest.approx(0.1)
    assert seconds(RATES, kept) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("rows", "columns", "num_units", "expected"),
    [
        (64, 64, 1, 1.0),
        (64, 1024, 16, 1.0),
        (64, 1024, 17, 16 / 17),
        (64, 1024, 15, 16 / 30),
        (49, 1024, 16, 49 / 64),
        (65, 1024, 32, 65 / 128),
        (1, 1024, 128, 1.0),
        (49, 1024, 0, 1.0),
    ],
)
def test_idle_units_and_unfilled_tiles_are_time_lost(rows, columns, num_units, expected) -> None:
    assert occupancy(rows, columns, num_units) == pytest.approx(expected)


def test_a_product_of_idle_units_takes_longer() -> None:
    one = work(launches=0, rows=64, products=((1024, 1.0),), flops_attention=0.0, num_bytes=0.0)
    slow = seconds(replace(RATES, num_units=128), one)
    assert slow == pytest.approx(8 * seconds(RATES, one))


def test_the_limit_is_what_takes_the_most() -> None:
    stage = [Stage("denoise", (work(launches=0, num_bytes=0.0),))]
    assert limit(stage, RATES) == "computing"
    assert limit([Stage("denoise", (work(num_bytes=100 * GIGA),))], RATES) == "memory"
    assert limit([Stage("denoise", (work(launches=10**6),))], RATES) == "launches"


positive = st.floats(1e-3, 1e3)
WORKS = st.builds(
    work,
    launches=st.integers(0, 10_000),
    rows=st.sampled_from((1, 16, 49, 97, 241, 1006)),
    flops_matrix=st.floats(0, 1e12),
    flops_attention=st.floats(0, 1e11),
    num_bytes=st.floats(1e9, 1e11),
    bytes_reread=st.floats(0, 1e9),
    bytes_between=st.floats(0, 1e9),
)
SPEEDS = (
    "matrix_flops_per_second",
    "attention_flops_per_second",
    "codec_flops_per_second",
    "memory_bytes_per_second",
    "cache_bytes_per_second",
    "cache_bytes",
)


@given(WORKS, st.sampled_from(SPEEDS), st.floats(1.0, 100.0), st.floats(0.0, 1.0), st.booleans())
def test_more_of_anything_is_never_slower(one, speed, factor, unhidden, is_cached) -> None:
    rates = replace(
        RATES,
        unhidden=unhidden,
        cache_bytes=3e7 if is_cached else 0.0,
        cache_bytes_per_second=3.1e12,
        num_units=24,
    )
    faster = replace(rates, **{speed: getattr(rates, speed) * factor})
    assert seconds(faster, one) <= seconds(rates, one) * (1 + 1e-12)


@given(WORKS, st.integers(1, 200), st.integers(1, 200))
def test_more_units_of_the_same_kind_are_never_slower(one, few, more) -> None:
    per_unit = RATES.matrix_flops_per_second / 100

    def took(num_units: int) -> float:
        rates = replace(RATES, num_units=num_units, matrix_flops_per_second=per_unit * num_units)
        return seconds(rates, one)

    assert took(few + more) <= took(few) * (1 + 1e-12)


@given(WORKS, st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_a_slower_launch_and_less_overlap_are_never_faster(one, some, more) -> None:
    rates = replace(RATES, unhidden=min(some, more))
    worse = replace(RATES, unhidden=max(some, more), launch_seconds=2 * RATES.launch_seconds)
    assert seconds(rates, one) <= seconds(worse, one)
