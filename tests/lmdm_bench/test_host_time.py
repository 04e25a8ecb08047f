"""Host time is what lies between operators and is not waiting, by stage and by line."""

from dataclasses import replace

import pytest

from lmdm_bench.host_time import BETWEEN_STAGES, Moment, Seen, Span, host_lines, host_time

MS = 1_000_000


def span(name: str, begin: float, end: float) -> Span:
    return Span(name, round(begin * MS), round(end * MS))


def moment(at: float, where: str | None, until: float | None = None, waits: bool = False) -> Moment:
    return Moment(round(at * MS), round((at if until is None else until) * MS), where, "f", waits)


# Two blocks of 10 ms. In the first: a stage from 1 to 9 with operators from 2 to 4 and 5 to 8.
SEEN = Seen(
    blocks=[span("block", 0, 10), span("block", 100, 110)],
    stages=[span("step", 1, 9), span("step", 102, 103)],
    operators=[span("mm", 2, 4), span("add", 5, 8), span("outside", 50, 60)],
    moments=[],
)


def test_each_stage_is_operators_and_host() -> None:
    found = host_time(SEEN)
    assert found.num_blocks == 2 and found.block_ms == 10.0
    assert (found.operators_ms, found.waiting_ms, found.host_ms) == (2.5, 0.0, 7.5)
    told = {
        one.name: (one.total_ms, one.operators_ms, one.waiting_ms, one.host_ms)
        for one in found.stages
    }
    assert told == {"step": (4.5, 2.5, 0.0, 2.0), BETWEEN_STAGES: (5.5, 0.0, 0.0, 5.5)}
    assert [one.name for one in found.stages][-1] == BETWEEN_STAGES


def test_waiting_is_no_work_of_the_host() -> None:
    # Since the operator's end at 8, half a millisecond of it in the stage that ends at 9.
    waits = moment(8.5, "lmdm_bench/clock.py:9", waits=True)
    found = host_time(replace(SEEN, moments=[waits]))
    assert (found.waiting_ms, found.host_ms) == (0.25, 7.25)
    (step,) = (one for one in found.stages if one.name == "step")
    assert step.waiting_ms == 0.25 and step.host_ms == 1.75


def test_lines_share_the_host_time_of_the_undisturbed_blocks() -> None:
    moments = [
        moment(1.0, "a:1", until=1.5),  # 1 ms since the block began
        moment(2.0, "b:2"),  # 0.5 ms since watching the last one was over
        moment(3.0, "b:2"),  # in an operator: nothing
        moment(4.5, "a:1", until=5.0),  # 0.5 ms since the operator's end
    ]
    found = host_time(SEEN)
    first, second = host_lines(replace(SEEN, moments=moments), found)
    assert (first.where, second.where) == ("a:1", "b:2")
    assert first.host_ms == pytest.approx(7.5 * 1.5 / 2.0)
    assert second.host_ms == pytest.approx(7.5 * 0.5 / 2.0)
    assert first.share == pytest.approx(first.host_ms / 10.0)
    assert (first.num_visits, second.num_visits) == (1.0, 0.5)
    assert first.stages == (BETWEEN_STAGES, "step") and second.stages == ("step",)


def test_moments_outside_blocks_without_a_line_or_while_waiting_are_of_no_line() -> None:
    moments = [
        moment(1.0, None),
        moment(1.2, "a:1", waits=True),
        moment(1.4, "a:1"),
        moment(30.0, "b:2"),
    ]
    (line,) = host_lines(replace(SEEN, moments=moments), host_time(SEEN))
    assert line.where == "a:1" and line.num_visits == 0.5


def test_a_block_begins_with_nothing_of_what_was_before_it() -> None:
    moments = [moment(101.0, "a:1"), moment(102.0, "b:2")]
    lines = host_lines(replace(SEEN, moments=moments), host_time(SEEN))
    assert [one.host_ms for one in lines] == pytest.approx([3.75, 3.75])


def test_nothing_seen_gives_no_lines_and_no_blocks_are_refused() -> None:
    assert host_lines(SEEN, host_time(SEEN)) == ()
    with pytest.raises(ValueError, match="no block was profiled"):
        host_time(replace(SEEN, blocks=[]))
