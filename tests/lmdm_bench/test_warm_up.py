"""Warm-up ends when nothing is compiled and nothing gets faster, or when its time is over."""

import time

import pytest

from lmdm_bench.check_record import Counters
from lmdm_bench.warm_up import QUIET_BLOCKS, Warm, warm_up
from scripted import Scripted

QUIET = Counters(0.0, 0, None, 0, 0)


class Counted:
    """Counters with a compilation in some blocks."""

    def __init__(self, compiles: tuple[int, ...] = ()) -> None:
        self._compiles = list(compiles)

    def start(self) -> None:
        pass

    def stop(self) -> Counters:
        num = self._compiles.pop(0) if self._compiles else 0
        return Counters(0.0, num, None, 0, 0)


def warmed(
    monkeypatch: pytest.MonkeyPatch,
    times: list[float],
    compiles: tuple[int, ...] = (),
    stop_after: int = 1000,
    most_seconds: float = 100.0,
) -> Warm:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter_ns", lambda: round(now[0] * 1e6))

    def spend(milliseconds: float) -> None:
        now[0] += milliseconds

    subject = Scripted(times, spend)
    counters = Counted(compiles)
    return warm_up(
        subject,
        counters,  # type: ignore[arg-type]
        lambda: None,
        lambda: subject.calls.count("block") >= stop_after,
        most_seconds,
    )


def test_a_steady_stream_is_warm_after_the_fewest_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    warm = warmed(monkeypatch, [100.0, 101.0, 99.0, 100.5, 100.2, 100.7])
    assert len(warm.blocks) == QUIET_BLOCKS
    assert "no trend" in warm.words
    assert all(one.is_warmup for one in warm.blocks)
    assert [one.labels for one in warm.blocks] == [("first",)] + [()] * (QUIET_BLOCKS - 1)
    assert warm.peak.peak_bytes > 1 << 20


def test_blocks_that_get_faster_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    falling = [1000.0 / (1 + index) for index in range(10)]
    warm = warmed(monkeypatch, [*falling, *[100.0, 101.0] * 10])
    assert len(warm.blocks) > 10


def test_a_compilation_starts_the_wait_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    times = [100.0, 101.0] * 20
    warm = warmed(monkeypatch, times, compiles=(1, 0, 0, 0, 2))
    assert len(warm.blocks) == 5 + QUIET_BLOCKS


def test_it_does_not_go_on_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    warm = warmed(monkeypatch, [100.0], compiles=(1,) * 500, most_seconds=5.0)
    assert len(warm.blocks) == 50
    assert "not quiet after 5 s" in warm.words


def test_it_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    warm = warmed(monkeypatch, [100.0], compiles=(1,) * 500, stop_after=3)
    assert (len(warm.blocks), warm.words) == (3, "stopped")
