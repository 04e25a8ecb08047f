"""Each sweep spans its axis, a workload is visited once, and time decides by rank what is left."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmdm_bench.subjects import DIFFUSION_SCHEMES, SCHEMES, level_range, validate
from lmdm_bench.sweep import (
    AFTER_ARC_STEPS,
    BLOCK_FRAMES,
    BLOCKS,
    CONTEXT_FRAMES,
    CONTEXT_STEPS,
    CONTEXTS,
    FRAME_WISE_BLOCKS,
    LMM_BLOCKS,
    LMM_CONTEXTS,
    LONG_STEPS,
    PAPER_STEPS,
    STEPS,
    Spot,
    _merged,
    candidates,
    within,
)
from tiny_run import FIVE, REQUEST

CACHED = DIFFUSION_SCHEMES[1:]
BASE = replace(FIVE, model="sao-small", lmm_models=())
LEVELS = {"lmm-encoder-decoder": (4, 16), "lmm-frame-wise": (1, 12)}


def spots_of(base: object = BASE, **wanted: object) -> list[Spot]:
    """The candidates whose scheme, rank or sweep is as wanted."""
    return [
        spot
        for spot in candidates(base, LEVELS.__getitem__)  # type: ignore[arg-type]
        if wanted.get("scheme", spot.scheme) == spot.scheme
        and wanted.get("rank", spot.rank) == spot.rank
        and wanted.get("sweep", spot.sweeps[0]) in spot.sweeps
    ]


def axis(spots: Sequence[Spot], name: str) -> list[int]:
    return sorted(getattr(spot.request, name) for spot in spots)


# --- What there is to visit ------------------------------------------------------------------


@pytest.mark.parametrize("schemes", [SCHEMES, ("outpaint",), ("lmm-frame-wise", "block-causal")])
def test_only_the_schemes_that_are_asked_for_are_visited(schemes: tuple[str, ...]) -> None:
    found = candidates(replace(BASE, schemes=schemes), LEVELS.__getitem__)
    assert {spot.scheme for spot in found} == set(schemes)


def test_levels_are_asked_of_the_schemes_that_have_some() -> None:
    asked: list[str] = []

    def levels(scheme: str) -> tuple[int, int]:
        asked.append(scheme)
        return 1, 4

    candidates(replace(BASE, schemes=DIFFUSION_SCHEMES), levels)
    assert asked == []
    candidates(BASE, levels)
    assert asked == ["lmm-encoder-decoder", "lmm-frame-wise"]


def test_a_workload_is_one_spot_with_all_that_it_is_for() -> None:
    found = candidates(BASE, LEVELS.__getitem__)
    assert max(Counter((spot.scheme, spot.request) for spot in found).values()) == 1
    for scheme in DIFFUSION_SCHEMES:
        (paper,) = [
            spot
            for spot in spots_of(scheme=scheme, sweep="steps")
            if spot.request.steps == PAPER_STEPS
        ]
        assert set(paper.sweeps) == {"steps", "paper"}
        assert paper.rank == 0
        # Both sweeps that meet there keep the better of their ranks.
        (shared,) = [
            spot
            for spot in spots_of(scheme=scheme, sweep="context")
            if spot.request.context_frames == CONTEXT_FRAMES
        ]
        assert set(shared.sweeps) >= {"steps", "context"}
        assert shared.rank == 0


@pytest.mark.parametrize("scheme", DIFFUSION_SCHEMES)
def test_each_diffusion_sweep_varies_its_axis_alone(scheme: str) -> None:
    steps = spots_of(scheme=scheme, sweep="steps")
    expected = STEPS if scheme == "outpaint" else (*STEPS, LONG_STEPS)
    assert axis(steps, "steps") == sorted(expected)
    assert {(s.request.context_frames, s.request.block_frames) for s in steps} == {
        (CONTEXT_FRAMES, BLOCK_FRAMES)
    }
    contexts = spots_of(scheme=scheme, sweep="context")
    assert axis(contexts, "context_frames") == sorted(CONTEXTS)
    assert {(s.request.block_frames, s.request.steps) for s in contexts} == {
        (BLOCK_FRAMES, CONTEXT_STEPS)
    }
    blocks = spots_of(scheme=scheme, sweep="block")
    assert axis(blocks, "block_frames") == sorted(BLOCKS)
    assert len({(s.request.context_frames, s.request.steps) for s in blocks}) == 1


@pytest.mark.parametrize("scheme", CACHED)
def test_what_claims_about_a_cached_scheme_need_is_never_left_out(scheme: str) -> None:
    needed = spots_of(scheme=scheme, rank=0)
    assert axis([s for s in needed if "steps" in s.sweeps], "steps") == [*STEPS, LONG_STEPS]
    assert axis([s for s in needed if "context" in s.sweeps], "context_frames") == list(CONTEXTS)
    assert {s.rank for s in spots_of(scheme=scheme) if "block" in s.sweeps} == {0, 1}


def test_of_outpainting_only_its_dearest_ends_may_be_left_out() -> None:
    left = [s for s in spots_of(scheme="outpaint") if s.rank and "block" not in s.sweeps]
    assert {(s.sweeps, s.request.steps, s.request.context_frames) for s in left} == {
        (("steps",), 16, CONTEXT_FRAMES),
        (("context",), CONTEXT_STEPS, 768),
        (("context",), CONTEXT_STEPS, 1536),
        (("size",), AFTER_ARC_STEPS, CONTEXT_FRAMES),
    }


def test_block_causal_is_also_visited_at_the_paper_s_two_steps() -> None:
    steps = {s.request.steps for s in spots_of(scheme="block-causal", sweep="paper")}
    assert steps == {PAPER_STEPS, AFTER_ARC_STEPS}


def test_an_encoder_decoder_lmm_is_swept_in_frames_levels_and_context() -> None:
    scheme = "lmm-encoder-decoder"
    tokens = spots_of(scheme=scheme, sweep="tokens")
    assert axis(tokens, "lmm_block_frames") == sorted(LMM_BLOCKS)
    assert {s.request.lmm_levels for s in tokens} == {16}
    assert axis(spots_of(scheme=scheme, sweep="levels"), "lmm_levels") == [4, 8, 16]
    contexts = spots_of(scheme=scheme, sweep="context")
    assert axis(contexts, "lmm_context_frames") == sorted(LMM_CONTEXTS)
    assert [s.rank for s in contexts] == [0, 0, 0, 1]
    (paper,) = spots_of(scheme=scheme, sweep="paper")
    lengths = (paper.request.lmm_context_frames, paper.request.lmm_block_frames)
    assert lengths == (None, None)
    assert (paper.request.lmm_levels, paper.rank) == (16, 0)


def test_a_frame_wise_lmm_is_swept_in_frames_and_levels() -> None:
    found = spots_of(scheme="lmm-frame-wise")
    assert {s.rank for s in found} == {0}
    tokens = spots_of(scheme="lmm-frame-wise", sweep="tokens")
    assert axis(tokens, "lmm_block_frames") == sorted(FRAME_WISE_BLOCKS)
    assert axis(spots_of(scheme="lmm-frame-wise", sweep="levels"), "lmm_levels") == [3, 6, 12]
    (paper,) = spots_of(scheme="lmm-frame-wise", sweep="paper")
    assert paper.request.lmm_block_frames == FRAME_WISE_BLOCKS[-1]


def test_few_levels_are_swept_once_each() -> None:
    found = candidates(replace(BASE, schemes=("lmm-encoder-decoder",)), lambda scheme: (2, 4))
    levels = [s.request.lmm_levels for s in found if "levels" in s.sweeps]
    assert sorted(one for one in levels if one) == [2, 4]


def test_other_sizes_come_last_and_only_beside_the_usual_ones() -> None:
    sizes = spots_of(sweep="size")
    assert {(s.scheme, s.request.model) for s in sizes if s.scheme in DIFFUSION_SCHEMES} == {
        (scheme, "sao-1.0") for scheme in DIFFUSION_SCHEMES
    }
    (lmm,) = [s for s in sizes if s.scheme == "lmm-encoder-decoder"]
    assert lmm.request.lmm_models == ("mrt1-base",)
    by_rank = sorted(spots_of(), key=lambda s: s.rank)
    assert by_rank[-len(sizes) :] == sorted(sizes, key=lambda s: s.rank)
    asked_for = replace(BASE, lmm_models=("mrt1-base",), model="sao-1.0")
    assert spots_of(asked_for, sweep="size") == []
    assert spots_of(FIVE, sweep="size") == []


@pytest.mark.parametrize("base", [BASE, FIVE, replace(BASE, lmm_models=("mrt2-base",))])
def test_each_spot_can_be_run(base: object) -> None:
    for spot in candidates(base, lambda scheme: level_range(base, scheme)):  # type: ignore[arg-type]
        models = tuple(
            name
            for name in spot.request.lmm_models
            if (spot.scheme == "lmm-encoder-decoder") == name.startswith("mrt1")
        )
        lmm = models if spot.scheme.startswith("lmm") else ()
        validate(replace(spot.request, schemes=(spot.scheme,), lmm_models=lmm))


def test_of_two_ranks_for_one_workload_the_better_counts() -> None:
    spots = [spot(2, 1), spot(1, 7), replace(spot(1, 1), sweeps=("paper",)), spot(3, 1)]
    assert _merged(spots) == [replace(spot(1, 1), sweeps=("steps", "paper")), spot(1, 7)]


# --- What fits -------------------------------------------------------------------------------


def spot(rank: int, name: int) -> Spot:
    return Spot("outpaint", replace(REQUEST, steps=name), ("steps",), rank)


def test_what_is_needed_stays_whatever_it_costs() -> None:
    spots = [spot(0, 1), spot(1, 2), spot(0, 3)]
    assert within(spots, lambda one: 10.0, 0.0) == [spots[0], spots[2]]
    assert within(spots, lambda one: 10.0, -5.0) == [spots[0], spots[2]]


def test_better_ranks_come_first_and_the_order_stays() -> None:
    spots = [spot(3, 1), spot(2, 2), spot(0, 3), spot(1, 4)]
    assert within(spots, lambda one: 1.0, 1.0) == [spots[2]]
    assert within(spots, lambda one: 1.0, 2.0) == [spots[2], spots[3]]
    assert within(spots, lambda one: 1.0, 3.0) == [spots[1], spots[2], spots[3]]
    assert within(spots, lambda one: 1.0, 4.0) == spots


def test_a_spot_that_is_too_dear_does_not_keep_out_a_cheaper_one() -> None:
    spots = [spot(1, 1), spot(1, 2), spot(2, 3)]
    seconds = {1: 1.0, 2: 100.0, 3: 2.0}
    assert within(spots, lambda one: seconds[one.request.steps], 3.0) == [spots[0], spots[2]]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.floats(0.01, 10)), max_size=20),
    st.floats(0, 60),
)
def test_what_is_not_needed_never_takes_more_than_there_is(
    drawn: list[tuple[int, float]], seconds: float
) -> None:
    spots = [spot(rank, index) for index, (rank, _) in enumerate(drawn)]
    costs = [cost for _, cost in drawn]
    kept = within(spots, lambda one: costs[one.request.steps], seconds)
    needed = [one for one in spots if one.rank == 0]
    assert [one for one in kept if one.rank == 0] == needed
    if len(kept) > len(needed):
        assert sum(costs[one.request.steps] for one in kept) <= seconds + 1e-9
