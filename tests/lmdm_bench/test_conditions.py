"""Conditions arrive at drawn instants, are carried by the next block, and heard with its sound."""

import itertools

from lmdm_bench.conditions import Conditions

BLOCK_MS = 2000.0


def started(*kinds: str, seed: int = 0) -> Conditions:
    conditions = Conditions(kinds, BLOCK_MS, seed)
    conditions.start(4000.0)
    return conditions


def arrivals(conditions: Conditions, until_ms: float) -> list[float]:
    return [one.arrived_ms for one in conditions.due(until_ms, 0)]


def test_arrivals_are_spread_over_playback_and_repeat_with_their_seed() -> None:
    found = arrivals(started("prompt"), 604_000.0)
    assert found == arrivals(started("prompt"), 604_000.0)
    assert found != arrivals(started("prompt", seed=1), 604_000.0)
    assert found[0] > 4000.0
    gaps = [after - before for before, after in itertools.pairwise(found)]
    assert min(gaps) >= 2500.0 and max(gaps) <= 7500.0
    assert 100 < len(found) < 140
    # All phases of a block come up.
    phases = {int(at % BLOCK_MS // 500) for at in found}
    assert phases == {0, 1, 2, 3}


def test_long_blocks_have_longer_gaps() -> None:
    conditions = Conditions(("prompt",), 10_000.0, 0)
    conditions.start(0.0)
    assert len(conditions.due(250_000.0, 0)) <= 20


def test_kinds_take_turns_and_none_is_none() -> None:
    found = started("prompt", "input").due(100_000.0, 0)
    assert [one.kind for one in found[:4]] == ["prompt", "input", "prompt", "input"]
    assert not started().due(1e9, 0)


def test_nothing_arrives_before_playback() -> None:
    conditions = Conditions(("prompt",), BLOCK_MS, 0)
    assert not conditions.due(1e9, 0)
    assert not conditions.unheard(1e9)


def test_a_condition_is_heard_with_the_first_sample_of_its_block() -> None:
    conditions = started("prompt")
    (one,) = conditions.due(arrivals(started("prompt"), 100_000.0)[0], 3)
    assert one.block_index == 3 and one.heard_ms is None
    assert not conditions.due(one.arrived_ms, 4)
    (told,) = conditions.heard(ready_ms=20_000.0, deadline_ms=21_000.0)
    assert (told.block_index, told.heard_ms) == (3, 21_000.0)
    assert not conditions.heard(30_000.0, 31_000.0)


def test_a_late_block_is_heard_when_it_comes_and_a_lost_one_not_at_all() -> None:
    conditions = started("prompt")
    conditions.due(12_000.0, 3)
    assert not conditions.heard(ready_ms=25_000.0, deadline_ms=23_000.0)
    (told,) = conditions.heard(ready_ms=25_500.0, deadline_ms=25_000.0)
    assert (told.block_index, told.heard_ms) == (3, 25_500.0)


def test_what_was_not_heard_by_the_end_is_told() -> None:
    conditions = started("prompt")
    carried = conditions.due(12_000.0, 3)
    left = conditions.unheard(20_000.0)
    assert left[: len(carried)] == carried
    assert all(one.heard_ms is None for one in left)
    assert [one.block_index for one in left[len(carried) :]] == [None] * (len(left) - len(carried))
    assert len(left) > len(carried)
