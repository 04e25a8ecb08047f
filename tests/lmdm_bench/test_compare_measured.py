"""What was measured does not contradict itself, and what is not known differs from nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import measured_sides
from lmdm_bench.compare_measured import known_differences
from lmdm_bench.record import RecordError

facts = st.dictionaries(st.sampled_from("abcde"), st.sampled_from("xyz"))


def test_a_cell_has_times_exactly_where_it_is_ok():
    with pytest.raises(RecordError, match="times exactly where it is OK"):
        measured_sides.sampled(service_ms=())
    with pytest.raises(RecordError, match="times exactly where it is OK"):
        measured_sides.sampled(ended=measured_sides.outcome("OOM"), service_ms=(1.0,))


@pytest.mark.parametrize("wrong", [0.0, -2.0])
@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (lambda one: {"service_ms": (3.0, one)}, "sample"),
        (lambda one: {"stages": {"commit": (1.0, one)}}, "commit"),
        (lambda one: {"controls": {"copy": (one,)}}, "copy"),
    ],
)
def test_a_time_that_has_no_ratio_is_refused_by_its_name(changes, what, wrong):
    with pytest.raises(RecordError, match=f"block-causal · sao-small: a {what} took {wrong:g} ms"):
        measured_sides.sampled(**changes(wrong))


def test_only_what_both_know_differs():
    a = {"steps": "8", "dtype": "bfloat16", "codec": "run"}
    b = {"dtype": "float32", "steps": "4", "mode": "paced", "codec": "run"}
    assert list(known_differences(a, b).items()) == [
        ("steps", "8 against 4"),
        ("dtype", "bfloat16 against float32"),
    ]


@given(facts, facts)
def test_differences_are_the_same_from_both_sides(a, b):
    assert known_differences(a, b).keys() == known_differences(b, a).keys()
    assert known_differences(a, {**b, **a}) == {}
