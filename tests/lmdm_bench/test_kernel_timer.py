"""Samples are averages over whole passes of a planted clock; graphs are tested on a GPU."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lmdm_bench import kernel_timer
from lmdm_bench.kernel_timer import (
    CACHE_TIMES,
    GUESSED_CACHE_BYTES,
    MOST_BUFFERS,
    MOST_PASSES,
    SAMPLE_MS,
    SampleClock,
    Timed,
    cache_bytes,
    eager,
    graphed,
    launches_of,
    num_buffers,
)

CPU = torch.device("cpu")
NS_PER_MS = 1_000_000


class World:
    """A clock that only calls move."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.called: list[int] = []

    def perf_counter_ns(self) -> int:
        return self.now_ns

    def call(self, number: int, ms: float) -> Callable[[], Tensor]:
        def act() -> Tensor:
            self.now_ns += int(ms * NS_PER_MS)
            self.called.append(number)
            return torch.tensor(number)

        return act


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    one = World()
    monkeypatch.setattr(kernel_timer, "time", one)
    return one


def test_a_sample_is_the_time_of_one_pass(world: World) -> None:
    timed = eager([world.call(0, 30.0), world.call(1, 12.5)], CPU)
    assert timed.sample() == pytest.approx(42.5)
    assert int(timed.run()) == 1
    assert world.called == [0, 1] * 4  # warmed up, tried, sampled, run


def test_short_passes_share_a_sample(world: World) -> None:
    timed = eager([world.call(0, 0.5)], CPU)
    world.called.clear()
    assert timed.sample() == pytest.approx(0.5)
    assert len(world.called) == SAMPLE_MS["cpu"] / 0.5


def test_a_pass_of_no_time_has_a_limit(world: World) -> None:
    timed = eager([world.call(0, 0.0)], CPU)
    world.called.clear()
    assert timed.sample() == 0
    assert len(world.called) == MOST_PASSES


def test_a_sample_clock_moves_by_samples_alone() -> None:
    clock = SampleClock()
    samples = iter((2.0, 3.0))
    timed = Timed(lambda: torch.zeros(()), lambda: next(samples))
    readings = [clock()]
    for _ in range(2):
        clock.take(timed)
        readings.append(clock())
    assert readings == pytest.approx([0.0, 0.002, 0.005])
    assert clock.sampled_ms == [2.0, 3.0]


def test_buffers_rotate_through_more_than_five_caches() -> None:
    megabyte = 1 << 20
    found = num_buffers(megabyte, 32 * megabyte, 1 << 40, least=16)
    assert found * megabyte > CACHE_TIMES * 32 * megabyte
    assert num_buffers(1 << 30, 32 * megabyte, 1 << 40, least=16) == 16
    assert num_buffers(10, 32 * megabyte, 1 << 40, least=2) == MOST_BUFFERS
    assert num_buffers(megabyte, 32 * megabyte, 50 * megabyte, least=16) == 50
    assert num_buffers(megabyte, 32 * megabyte, 0, least=16) == 2


def test_the_cache_is_the_largest_that_the_system_lists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_timer, "CACHE_FOLDER", tmp_path)
    for at, text in enumerate(("32K\n", "1024K\n", "32768K\n", "rubbish\n", "")):
        (tmp_path / f"index{at}").mkdir()
        (tmp_path / f"index{at}" / "size").write_text(text)
    size, told = cache_bytes(CPU)
    assert size == 32 << 20
    assert (told.value, told.reason) == ("32 MiB", "the largest cache that the system lists")


def test_a_cache_that_is_not_listed_is_assumed_and_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_timer, "CACHE_FOLDER", tmp_path)
    size, told = cache_bytes(CPU)
    assert size == GUESSED_CACHE_BYTES
    assert "assumed" in told.reason


@pytest.mark.gpu
def test_a_graph_gives_the_eager_result_and_its_launches() -> None:
    device = torch.device("cuda")
    left, right = torch.randn(2, 64, 64, device=device)

    def call() -> Tensor:
        return left @ right + 1

    for make in (eager, graphed):
        timed = make([call] * 3, device)
        assert torch.equal(timed.run(), call())
        assert timed.sample() > 0
    assert launches_of(call, device) >= 2


@pytest.mark.gpu
def test_a_gpu_tells_its_cache() -> None:
    size, told = cache_bytes(torch.device("cuda"))
    assert size > 1 << 20 and "L2" in told.reason
