"""Sums over a block's passes, and the time that they need at the least."""

from dataclasses import MISSING, fields

import pytest

from lmdm_ref.pass_cost import BlockCost, PassCost, StreamBytes

# An encode that computing bounds, and three steps that reading bounds (at 1 FLOP and 1 byte a
# second).
ENCODE = PassCost(
    count=1,
    encode_rows=40,
    step_rows=0,
    pairs=100,
    flops_projections=1000,
    flops_attention=200,
    flops_head=0,
    bytes_weights=500,
    bytes_cache_read=0,
    bytes_cache_written=60,
)
STEP = PassCost(
    count=3,
    encode_rows=0,
    step_rows=7,
    pairs=11,
    flops_projections=100,
    flops_attention=20,
    flops_head=3,
    bytes_weights=500,
    bytes_cache_read=40,
    bytes_cache_written=5,
)
BLOCK = BlockCost(evaluations=3, frames=58, passes=(ENCODE, STEP))


def test_a_pass_has_three_parts_of_flops_and_three_of_bytes() -> None:
    assert ENCODE.flops == 1200
    assert ENCODE.num_bytes == 560
    assert STEP.flops == 123
    assert STEP.num_bytes == 545


def test_a_pass_takes_as_long_as_the_slower_of_computing_and_reading() -> None:
    assert ENCODE.seconds_at_least(1.0, 1.0) == 1200
    assert ENCODE.seconds_at_least(10.0, 1.0) == 560
    assert STEP.seconds_at_least(1.0, 1.0) == 3 * 545
    assert STEP.seconds_at_least(0.1, 1.0) == pytest.approx(3 * 1230)


def test_a_block_s_bound_is_of_pass_after_pass_and_not_of_the_sums() -> None:
    assert BLOCK.seconds_at_least(1.0, 1.0) == 1200 + 3 * 545
    sums = max(BLOCK.total("flops"), BLOCK.total("num_bytes"))
    assert BLOCK.seconds_at_least(1.0, 1.0) > sums


@pytest.mark.parametrize(
    ("name", "total"),
    [
        ("encode_rows", 40),
        ("step_rows", 21),
        ("pairs", 133),
        ("flops_projections", 1300),
        ("flops_attention", 260),
        ("flops_head", 9),
        ("flops", 1569),
        ("bytes_weights", 2000),
        ("bytes_cache_read", 120),
        ("bytes_cache_written", 75),
        ("num_bytes", 2195),
    ],
)
def test_a_total_counts_each_pass_as_often_as_it_runs(name: str, total: int) -> None:
    assert BLOCK.total(name) == total


def test_each_run_of_a_pass_is_a_sequential_step() -> None:
    assert BLOCK.sequential_steps == 4


@pytest.mark.parametrize("kind", [PassCost, BlockCost, StreamBytes])
def test_no_figure_of_a_cost_has_a_default(kind: type) -> None:
    assert all(one.default is MISSING and one.default_factory is MISSING for one in fields(kind))
