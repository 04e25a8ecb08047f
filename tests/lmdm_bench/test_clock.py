"""A stopwatch's stages lie within its block, and each reading waits for the device."""

from itertools import count

import pytest

from lmdm_bench import clock
from lmdm_bench.clock import Stopwatch, synchroniser


def test_stages_and_block_are_differences_of_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count(start=0, step=1_000_000)
    monkeypatch.setattr(clock.time, "perf_counter_ns", lambda: next(ticks))
    watch = Stopwatch(lambda: None)
    with watch.block():
        with watch.stage("step"):
            pass
        with watch.stage("step"):
            pass
    assert watch.stages_ms == {"step": [1.0, 1.0]}
    assert watch.total_ms == 5.0


def test_the_device_is_waited_for_before_every_reading() -> None:
    waits: list[None] = []
    watch = Stopwatch(lambda: waits.append(None))
    with watch.block(), watch.stage("step"):
        assert len(waits) == 2
    assert len(waits) == 4


def test_a_cpu_needs_no_waiting() -> None:
    assert synchroniser("cpu")() is None
