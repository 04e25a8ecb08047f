"""A suspend and a jump of the day's clock are told apart, and small corrections are neither."""

from dataclasses import dataclass

import pytest

from lmdm_bench.lost_time import LostTime


@dataclass
class Clocks:
    running: float = 100.0
    with_sleep: float = 150.0
    day: float = 1e9

    def watch(self, *, counts_sleep: bool) -> LostTime:
        return LostTime(
            lambda: self.running,
            (lambda: self.with_sleep) if counts_sleep else None,
            lambda: self.day,
        )

    def run(self, seconds: float) -> None:
        self.running += seconds
        self.with_sleep += seconds
        self.day += seconds

    def sleep(self, seconds: float) -> None:
        self.with_sleep += seconds
        self.day += seconds


def test_time_that_only_runs_is_not_lost() -> None:
    clocks = Clocks()
    watch = clocks.watch(counts_sleep=True)
    for _ in range(3):
        clocks.run(600.0)
        assert watch.since_last(0.2) is None


def test_a_suspend_is_told_once() -> None:
    clocks = Clocks()
    watch = clocks.watch(counts_sleep=True)
    clocks.run(1.0)
    clocks.sleep(30.0)
    found = watch.since_last(0.0)
    assert found is not None
    assert (found.kind, round(found.milliseconds)) == ("suspend", 30_000)
    clocks.run(1.0)
    assert watch.since_last(0.0) is None


def test_a_wait_that_ended_far_too_late_is_a_suspend_too() -> None:
    watch = Clocks().watch(counts_sleep=True)
    assert watch.since_last(30_000.0) == ("suspend", 30_000.0)
    assert watch.since_last(999.0) is None


@pytest.mark.parametrize("seconds", [-3600.0, 2.0])
def test_the_time_of_day_may_jump(seconds: float) -> None:
    clocks = Clocks()
    watch = clocks.watch(counts_sleep=True)
    clocks.run(1.0)
    clocks.day += seconds
    found = watch.since_last(0.0)
    assert found is not None and found.kind == "clock jump"
    assert found.milliseconds == pytest.approx(seconds * 1000)
    clocks.day += 0.3
    assert watch.since_last(0.0) is None


def test_this_machine_has_its_clocks() -> None:
    assert LostTime().since_last(0.0) is None
