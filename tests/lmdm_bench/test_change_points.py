import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmdm_bench.change_points import (
    FALSE_CHANGES,
    RECORD_SPREAD,
    find_plateaus,
    price,
)

LEAST_JUMP = math.log(1.03)
SIMULATIONS = 1000
OWN = 0.005


def drawn(jumps, seed, *, own=OWN, spread=RECORD_SPREAD):
    """So many rows of logs about these true ones, each with records' spread and its own error."""
    rng = np.random.default_rng(seed)
    truth = np.asarray(jumps, float)
    noise = rng.normal(0, np.hypot(own, spread), (SIMULATIONS, truth.size))
    return truth + noise


def begins(plateaus):
    return [one.begin for one in plateaus]


@pytest.mark.parametrize("num_values", [2, 3, 5, 10, 30])
def test_an_even_row_is_hardly_ever_said_to_change(num_values):
    """Of 30 values, in less than 5 %; no jump is too small, so that chance is alone."""
    rows = drawn(np.zeros(num_values), seed=num_values)
    own = np.full(num_values, OWN)
    share = np.mean([len(find_plateaus(row, own, 0.0)) > 1 for row in rows])
    # For a few values the bound is reached, so that simulations lie on both sides of it.
    assert share < (FALSE_CHANGES if num_values == 30 else 1.5 * FALSE_CHANGES)


def test_a_machine_that_spreads_its_records_more_is_allowed_for():
    rows = drawn(np.zeros(30), seed=1, spread=4 * RECORD_SPREAD)
    share = np.mean([len(find_plateaus(row, np.full(30, OWN), LEAST_JUMP)) > 1 for row in rows])
    assert share < 0.2


def test_a_step_of_ten_percent_with_five_values_on_each_side_is_found():
    rows = drawn([0.0] * 5 + [math.log(1.1)] * 5, seed=2)
    found = [begins(find_plateaus(row, np.full(10, OWN), LEAST_JUMP)) for row in rows]
    assert np.mean([len(one) == 2 for one in found]) > 0.9
    assert np.mean([one == [0, 5] for one in found]) > 0.9


def test_the_plateaus_are_where_they_were_planted():
    values = [1.0, 1.01, 1.0, 1.3, 1.31, 1.3, 1.29, 0.9, 0.9]
    plateaus = find_plateaus(values, [0.001] * 9, LEAST_JUMP)
    assert [(one.begin, one.end, one.num_values) for one in plateaus] == [
        (0, 3, 3),
        (3, 7, 4),
        (7, 9, 2),
    ]
    assert [one.value for one in plateaus] == pytest.approx([1.00333, 1.3, 0.9], abs=1e-4)
    error = math.hypot(0.001, RECORD_SPREAD)
    assert plateaus[0].standard_error == pytest.approx(error / math.sqrt(3))


def test_values_with_large_errors_weigh_less():
    (plateau,) = find_plateaus([0.0, 0.0, 1.0], [0.0, 0.0, 10.0], LEAST_JUMP)
    assert 0 < plateau.value < 0.01


def test_a_step_that_is_well_known_but_too_small_is_none():
    jump = 0.9 * LEAST_JUMP
    values = [0.0] * 50 + [jump] * 50
    assert len(find_plateaus(values, [0.0] * 100, 0.0)) == 2
    (plateau,) = find_plateaus(values, [0.0] * 100, LEAST_JUMP)
    assert plateau.value == pytest.approx(jump / 2)


def test_small_steps_that_add_up_are_a_change():
    values = [0.0] * 40 + [0.9 * LEAST_JUMP] * 40 + [1.8 * LEAST_JUMP] * 40
    plateaus = find_plateaus(values, [0.0] * 120, LEAST_JUMP)
    assert len(plateaus) == 2
    assert plateaus[1].value - plateaus[0].value >= LEAST_JUMP


def test_two_records_that_differ_much_are_a_change_and_that_differ_little_none():
    assert len(find_plateaus([0.0, 0.3], [0.01, 0.01], LEAST_JUMP)) == 2
    assert len(find_plateaus([0.0, 0.05], [0.01, 0.01], LEAST_JUMP)) == 1


def test_no_value_has_no_plateau_and_one_value_one():
    assert find_plateaus([], [], LEAST_JUMP) == ()
    (plateau,) = find_plateaus([5.0], [0.1], LEAST_JUMP)
    assert (plateau.begin, plateau.end, plateau.value) == (0, 1, 5.0)


@given(
    st.lists(st.floats(-3, 3), min_size=1, max_size=7),
    st.floats(0.0, 0.2),
)
def test_no_other_segmentation_costs_less(values, own):
    """Against all of them, by brute force."""
    row = np.asarray(values)
    weight = 1 / (own**2 + RECORD_SPREAD**2)

    def cost(bounds):
        parts = [row[one:other] for one, other in pairwise(bounds)]
        apart = sum(float(((part - part.mean()) ** 2).sum()) for part in parts)
        return weight * apart + price(row.size) * (len(parts) - 1)

    inner = range(1, row.size)
    every = [
        [0, *(at for at in inner if mask >> at & 1), row.size] for mask in range(0, 2**row.size, 2)
    ]
    found = find_plateaus(values, [own] * row.size, 0.0)
    least = min(map(cost, every))
    assert cost([*begins(found), row.size]) == pytest.approx(least, rel=1e-6, abs=1e-6)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=40), st.floats(-5, 5))
def test_plateaus_cover_the_row_and_do_not_depend_on_its_unit(values, shift):
    errors = [0.01] * len(values)
    plateaus = find_plateaus(values, errors, LEAST_JUMP)
    assert begins(plateaus) == [0, *(one.end for one in plateaus[:-1])]
    assert plateaus[-1].end == len(values)
    for one, other in pairwise(plateaus):
        assert abs(one.value - other.value) >= LEAST_JUMP
    moved = find_plateaus([one + shift for one in values], errors, LEAST_JUMP)
    assert sum(one.value * one.num_values for one in moved) == pytest.approx(
        sum((one.value + shift) * one.num_values for one in plateaus), abs=1e-6
    )


@pytest.mark.parametrize(
    ("values", "errors", "least_jump"),
    [
        ([0.0, 1.0], [0.1], 0.0),
        ([math.nan], [0.1], 0.0),
        ([0.0], [math.inf], 0.0),
        ([0.0], [-0.1], 0.0),
        ([0.0], [0.1], -0.1),
    ],
)
def test_what_is_no_row_is_refused(values, errors, least_jump):
    with pytest.raises(ValueError, match="should"):
        find_plateaus(values, errors, least_jump)
