"""A call's least work is what its shapes say, counted by hand and by torch's own counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lmdm_bench.operator_bound import (
    IDLE,
    WRAPPERS,
    Call,
    Work,
    is_computing,
    stands_for_its_parts,
    work_of,
)
from lmdm_bench.record import Ceiling

CEILING = Ceiling("float32", 1e6, 1e3)


def call(name: str, *shapes: tuple[int, ...], dtype: str = "float", concrete=()) -> Call:
    return Call(name, shapes, (dtype,) * len(shapes), tuple(concrete))


@pytest.mark.parametrize(
    ("one", "flops", "num_bytes"),
    [
        (call("aten::mm", (2, 3), (3, 4)), 48, 4 * (6 + 12 + 8)),
        (call("aten::bmm", (5, 2, 3), (5, 3, 4)), 240, 4 * (30 + 60 + 40)),
        (call("aten::addmm", (4,), (2, 3), (3, 4)), 48, 4 * (6 + 12 + 8)),
        (call("aten::baddbmm", (1,), (5, 2, 3), (5, 3, 4)), 240, 4 * (30 + 60 + 40)),
        (call("aten::linear", (7, 2, 3), (4, 3)), 336, 4 * (42 + 12 + 56)),
        (call("mkldnn::_linear_pointwise", (2, 3), (4, 3)), 48, 4 * (6 + 12 + 8)),
        (call("mkldnn::_linear_pointwise", (2, 3), (4, 3), dtype="c10::BFloat16"), 48, 2 * 26),
        (
            call("aten::scaled_dot_product_attention", (1, 2, 5, 8), (1, 2, 7, 8), (1, 2, 7, 8)),
            2 * 2 * 5 * 7 * 16,
            4 * (80 + 112 + 112 + 80),
        ),
    ],
)
def test_products_by_hand(one: Call, flops: int, num_bytes: int) -> None:
    assert work_of(one) == Work(float(flops), float(num_bytes), is_product=True)


@pytest.mark.parametrize(
    ("is_transposed", "groups", "stride", "padding", "dilation"),
    [(False, 1, 1, 0, 1), (False, 1, 2, 3, 2), (False, 2, 1, 1, 1), (True, 1, 2, 1, 1)],
)
def test_a_convolution_is_counted_as_torch_counts_it(
    is_transposed: bool, groups: int, stride: int, padding: int, dilation: int
) -> None:
    rows, weight = torch.ones(3, 4, 20), torch.ones(6, 4 // groups, 5)
    if is_transposed:
        weight = torch.ones(4, 6, 5)
    arguments = ([stride], [padding], [dilation], is_transposed, [0], groups)
    with FlopCounterMode(display=False) as counter:
        out = torch.ops.aten.convolution(rows, weight, None, *arguments)
    one = Call(
        "aten::convolution",
        (tuple(rows.shape), tuple(weight.shape), *((),) * 7),
        ("float", "float", "", *("ScalarList",) * 3, "Scalar", "ScalarList", "Scalar"),
        ("", "", "", *map(str, arguments)),
    )
    work = work_of(one)
    assert work is not None and work.is_product
    assert work.flops == counter.get_total_flops()
    assert work.num_bytes == 4 * (rows.numel() + weight.numel() + out.numel())


@pytest.mark.parametrize(
    ("one", "num_bytes"),
    [
        # Both inputs and the broadcast result.
        (call("aten::mul", (2, 1), (1, 3)), 4 * (2 + 3 + 6)),
        (call("aten::add_", (2, 3), (2, 3)), 4 * 18),
        (call("aten::silu", (2, 3), dtype="c10::BFloat16"), 2 * 12),
        # What comes out of a sum is small.
        (call("aten::sum", (2, 3)), 4 * 6),
        # Only the rows that are written, not the whole cache; only those that are read.
        (
            Call(
                "aten::index_copy_",
                ((1, 2, 500, 4), (), (3,), (1, 2, 3, 4)),
                ("float", "Scalar", "long int", "float"),
            ),
            2 * 24 * 4,
        ),
        (
            Call(
                "aten::index_select",
                ((500, 4), (), (3,)),
                ("float", "Scalar", "long int"),
                ("", "0", ""),
            ),
            2 * 12 * 4,
        ),
        # Shapes that are no broadcast: as large as the largest.
        (call("aten::native_layer_norm", (2, 6), (6,), (5,)), 4 * (12 + 6 + 5 + 12)),
        (call("aten::arange"), 0),
    ],
)
def test_other_operators_move_their_numbers_once(one: Call, num_bytes: int) -> None:
    assert work_of(one) == Work(num_bytes=float(num_bytes))


@pytest.mark.parametrize("name", ["aten::copy_", "aten::cat", "aten::fill_", "aten::zero_"])
def test_moving_data_is_bound_by_nothing(name: str) -> None:
    work = work_of(call(name, (1000, 1000)))
    assert work is not None and work.is_movement
    assert work.bound_ms(CEILING) == 0.0


def test_the_bound_is_the_larger_of_computing_and_moving() -> None:
    assert Work(flops=2e6, num_bytes=1e3).bound_ms(CEILING) == 2000.0
    assert Work(flops=2e6, num_bytes=5e3).bound_ms(CEILING) == 5000.0


@pytest.mark.parametrize(
    "one",
    [
        call("lmdm::interval_attention", (1, 2, 3, 4)),
        # Arguments that another overload may have.
        call("aten::mm", (2, 3)),
        Call("aten::mm", ((2, 3), ()), ("float", "Scalar")),
        call("aten::convolution", (1, 2, 3), (2, 2, 1)),
    ],
)
def test_what_shapes_do_not_tell_is_not_claimed(one: Call) -> None:
    assert work_of(one) is None


def test_views_and_callers_of_others_compute_nothing() -> None:
    assert not IDLE & WRAPPERS
    for name in ("aten::view", "aten::empty", "aten::to", "aten::layer_norm", "aten::conv1d"):
        assert not is_computing(name)
    for name in ("aten::copy_", "aten::mm", "lmdm::interval_attention", "aten::an_unheard_of_one"):
        assert is_computing(name) and stands_for_its_parts(name)
    # These know their work better than what is inside them.
    assert not is_computing("aten::convolution") and stands_for_its_parts("aten::convolution")
    assert not stands_for_its_parts("aten::to")
