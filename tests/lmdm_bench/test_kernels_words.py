import dataclasses

import pytest

import kernels_records
from lmdm_bench import format as shown
from lmdm_bench.kernels_words import (
    BACKEND_COLOURS,
    BACKEND_MEANS,
    OTHER_COLOUR,
    backend_colour,
    backends,
    case_words,
    ended,
    heads,
    num_measured,
    plans,
    rounds_words,
    times,
    window,
)
from lmdm_bench.record import Estimate

CASE = kernels_records.on_cpu().kernel_cells[0].case


def test_a_case_is_told_by_its_axes():
    plain = case_words(CASE).replace(shown.NBSP, " ")
    assert plain == "full, 192 + 48, sao-small, batch 1"
    assert window(CASE).replace(shown.NBSP, " ") == "192 + 48"
    assert heads(CASE).replace(shown.NBSP, " ") == "8 × 128, batch 1"


def test_every_backend_has_a_colour_of_its_own_and_a_meaning():
    names = kernels_records.BACKENDS
    assert len({backend_colour(one) for one in names} | {OTHER_COLOUR}) == len(names) + 1
    assert backend_colour("abacus") == OTHER_COLOUR
    assert set(BACKEND_MEANS) == set(BACKEND_COLOURS) == set(names)


def test_backends_and_plans_keep_their_order():
    record = kernels_records.on_cuda()
    cells = tuple(
        dataclasses.replace(cell, rows=tuple(reversed(cell.rows))) for cell in record.kernel_cells
    )
    assert backends(dataclasses.replace(record, kernel_cells=cells)) == list(
        kernels_records.BACKENDS
    )
    assert plans(record)[0] == "full" and len(plans(record)) == 5


@pytest.mark.parametrize(
    ("name", "rounds", "measured"),
    [
        ("on_cuda", "n = 12 rounds", 80),
        ("short", "n = 2 to 12 rounds", 3),
        ("nothing", "n = 0 rounds", 0),
    ],
)
def test_rounds_and_cases_are_those_with_times(name, rounds, measured):
    record = kernels_records.EXAMPLES[name]()
    assert (rounds_words(record), num_measured(record)) == (rounds, measured)


def test_what_has_no_times_is_listed_with_its_reason():
    found = list(ended(kernels_records.short()))
    assert {one[1] for one in found} == {"UNSUPPORTED", "INCORRECT", "OOM", "LEFT OUT"}
    assert ("masked", "OOM", "RuntimeError: can't allocate memory") in {one[:3] for one in found}
    assert all(reason and where for _, _, reason, where in found)


def test_a_regime_that_failed_is_listed_with_its_case():
    record = kernels_records.on_cpu()
    first = record.kernel_cells[0]
    warm, *others = first.rows[1].timings
    failed = dataclasses.replace(warm, status="FAILED", reason="a bug", round_ms=())
    mine = dataclasses.replace(first.rows[1], timings=(failed, *others))
    cell = dataclasses.replace(first, rows=(mine,))
    (found,) = ended(dataclasses.replace(record, kernel_cells=(cell,)))
    assert found[:3] == ("range", "FAILED", "a bug") and found[3].endswith("alone, warm cache")


def test_a_ratio_that_is_not_there_is_not_zero():
    assert times(None) == shown.NOT_AVAILABLE
    untold = Estimate(None, None, 3, "order statistics", "needs 6 blocks")
    assert times(untold) == "n/a (needs 6 blocks)"
