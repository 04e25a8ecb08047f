"""A closing text tells bound, costs and fractions, and the reason of what it cannot tell."""

from dataclasses import replace

import pytest

from lmdm_bench import format as shown
from lmdm_bench.profile_words import (
    MOST_COSTS,
    AvoidableCost,
    Figure,
    Fractions,
    ProfileParts,
    closing_text,
    largest,
    no_fractions,
)

UNTOLD = Figure(None, "a sampler cannot tell")
COSTS = (
    AvoidableCost("lmdm_ref/codec.py:241", "sin_, 654 calls", 120.0, "ms", 0.12),
    AvoidableCost("lmdm_ref/layers.py:94", "linear, 4 calls", 40.0, "ms", 0.04),
    AvoidableCost("lmdm_ref/rotary.py:47", "mul, 2 calls", 2.0, "ms", 0.002),
)
PARTS = ProfileParts(
    scheme="block-causal",
    plain_ms=Figure(900.0),
    bound_ms=Figure(200.0),
    codec_bound_ms=Figure(100.0),
    profiler_ratio=Figure(1.1),
    costs=COSTS,
    costs_mean="Moving data counts whole.",
    fractions=Fractions(*(Figure(one) for one in (0.1, 0.2, 0.15, 0.05, 0.4, 0.1))),
    fractions_mean="Launch overhead is Python.",
)


def text_of(parts: ProfileParts) -> str:
    return closing_text(parts).replace(shown.NBSP, " ")


def test_all_is_told_in_order() -> None:
    text = text_of(PARTS)
    said = [
        "A block of block-causal took 900 ms without the profiler",
        "at least 200 ms for the model and 100 ms for the codec: 3.00× its bound.",
        "Under the profiler it took 1.10 times as long",
        "The three largest avoidable costs of a block:",
        "1. lmdm_ref/codec.py:241: 120 ms, 12 % of a block's time (sin_, 654 calls)",
        "3. lmdm_ref/rotary.py:47: 2.00 ms, < 1 % of a block's time (mul, 2 calls)",
        "Moving data counts whole.",
        "Of a block's time: launch overhead 10 %, weight reading 20 %, matrix products beyond it "
        "15 %, attention 5 %, codec 40 %, the rest 10 %. Launch overhead is Python.",
    ]
    places = [text.index(one) for one in said]
    assert places == sorted(places)


def test_a_model_without_codec_is_held_to_its_own_bound() -> None:
    text = text_of(replace(PARTS, codec_bound_ms=Figure(None, "none is run")))
    assert "at least 200 ms for the model (codec: none is run): 4.50× its bound." in text


def test_what_is_not_known_says_why() -> None:
    assert "its bound is not known (no ceiling)" in text_of(
        replace(PARTS, bound_ms=Figure(None, "no ceiling"))
    )
    assert "takes is not known (stopped)" in text_of(
        replace(PARTS, plain_ms=Figure(None, "stopped"))
    )
    assert "profiler it" not in text_of(replace(PARTS, profiler_ratio=UNTOLD))


def test_fractions_that_cannot_be_told_are_never_zero() -> None:
    text = text_of(replace(PARTS, fractions=replace(PARTS.fractions, attention=UNTOLD)))
    assert "attention n/a (a sampler cannot tell), codec 40 %" in text
    text = text_of(replace(PARTS, fractions=no_fractions("a sampler cannot tell")))
    assert text.endswith("What a block's time goes to is not told: a sampler cannot tell.")
    assert "0 %" not in text.rpartition("\n\n")[2]


@pytest.mark.parametrize(
    ("count", "words"), [(1, "The largest avoidable cost of"), (2, "The two largest"), (3, "three")]
)
def test_costs_are_counted_in_words(count: int, words: str) -> None:
    text = text_of(replace(PARTS, costs=COSTS[:count]))
    assert words in text
    assert text.count(" of a block's time (") == count


def test_without_costs_the_reason_stands_there() -> None:
    text = text_of(replace(PARTS, costs=(), costs_mean="Too few samples."))
    assert "Avoidable costs: none are told. Too few samples." in text


def test_memory_is_told_in_its_units_and_of_the_peak() -> None:
    held = [
        AvoidableCost("lmdm_ref/a.py:1", "cat", 3.0 * 2**20, "bytes", 0.3),
        AvoidableCost("lmdm_ref/a.py:2", "copy", 1.5 * 2**30, "bytes", 0.7),
    ]
    text = text_of(replace(PARTS, costs=largest(held)))
    assert "1. lmdm_ref/a.py:2: 1.50 GiB, 70 % of the peak (copy)" in text
    assert "2. lmdm_ref/a.py:1: 3.00 MiB, 30 % of the peak (cat)" in text


def test_the_largest_are_told_first_and_no_more_than_three() -> None:
    many = [replace(COSTS[0], size=float(size)) for size in (1, 5, 3, 4, 2)]
    assert [one.size for one in largest(many)] == [5, 4, 3]
    assert len(largest(many)) == MOST_COSTS
    assert text_of(replace(PARTS, costs=tuple(many))).count(" of a block's time (") == MOST_COSTS
