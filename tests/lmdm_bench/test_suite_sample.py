"""What calls in a row come to: the middle of them, and stages that still add up."""

import pytest

from lmdm_bench.suite_sample import Calls, middle_half


def calls(*service_ms: float) -> Calls:
    stages = {
        "first_step": tuple(0.75 * one for one in service_ms),
        "host": tuple(0.25 * one for one in service_ms),
    }
    return Calls(service_ms, stages, {"copy": 4.0})


def test_one_call_is_the_sample() -> None:
    sample = middle_half(calls(7.0))
    assert sample.service_ms == 7.0
    assert sample.controls == {"copy": 4.0}


@pytest.mark.parametrize(
    ("service_ms", "expected"),
    [
        ((90.0, 5.0), 5.0),
        ((90.0, 4.0, 6.0), 5.0),
        ((90.0, 1.0, 4.0, 6.0, 70.0), 5.0),
        ((0.1, 70.0, 2.0, 4.0, 3.0, 6.0, 5.0, 1.0, 80.0), 4.5),
    ],
)
def test_the_first_and_both_outer_quarters_are_left_out(
    service_ms: tuple[float, ...], expected: float
) -> None:
    sample = middle_half(calls(*service_ms))
    assert sample.service_ms == pytest.approx(expected)
    assert sample.stages == pytest.approx({"first_step": 0.75 * expected, "host": 0.25 * expected})


def test_stages_are_of_the_calls_that_were_kept_by_their_whole_length() -> None:
    found = middle_half(Calls((9.0, 5.0, 1.0, 5.0, 8.0), {"host": (9.0, 0.5, 1.0, 4.5, 0.1)}, {}))
    assert found.service_ms == 5.0
    assert found.stages == {"host": 2.5}


def test_what_is_no_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="0 calls"):
        middle_half(calls())
    with pytest.raises(ValueError, match="2 calls, and not as many of each stage"):
        middle_half(Calls((1.0, 2.0), {"host": (1.0,)}, {}))
