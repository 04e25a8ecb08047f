"""The work is done when there is time for it and it is due, and never when it could do harm."""

import math

import numpy as np
import pytest
import torch

from lmdm_bench import canary
from lmdm_bench.canary import MIN_SLACK_MS, NUM_TRIES, PERIOD_MS, CanaryWatch, cpu_work, cuda_work


class Work:
    """Takes the next of these milliseconds each time, and the last ones on and on."""

    def __init__(self, *milliseconds):
        self.left = list(milliseconds)
        self.num_done = 0

    def __call__(self):
        self.num_done += 1
        took_ms = self.left.pop(0) if len(self.left) > 1 else self.left[0]
        if isinstance(took_ms, Exception):
            raise took_ms
        return took_ms


class Clock:
    now_ms = 100.0

    def __call__(self):
        return self.now_ms


def watched(*milliseconds):
    work, clock = Work(*milliseconds), Clock()
    watch = CanaryWatch(clock, work)
    assert work.num_done == NUM_TRIES  # on making it, for the caches
    return watch, work, clock


def test_it_is_done_at_the_first_pause_and_then_every_half_minute():
    watch, work, clock = watched(1.0)
    for now_ms in (100.0, 101.0, 30_099.0, 30_100.0, 45_000.0, 90_000.0, 119_999.0):
        clock.now_ms = now_ms
        watch.maybe(1000.0)
    assert watch.result() == canary.Canary((100.0, 30_100.0, 90_000.0), (1.0, 1.0, 1.0), None)
    assert work.num_done == NUM_TRIES * 4
    assert PERIOD_MS == 30_000.0


def test_it_is_left_out_where_the_pause_is_short_and_made_up_for_at_the_next():
    watch, work, clock = watched(0.1)
    for slack_ms in (-50.0, 0.0, math.nextafter(MIN_SLACK_MS, 0)):
        watch.maybe(slack_ms)
    assert work.num_done == NUM_TRIES
    clock.now_ms = 777.0
    watch.maybe(MIN_SLACK_MS)
    assert watch.result().times_ms == (777.0,)


def test_the_shortest_of_the_tries_counts():
    watch, _, clock = watched(9.0, 9.0, 9.0, 1.5, 1.2, 1.9, 1.4, 1.3, 1.6)
    watch.maybe(1000.0)
    clock.now_ms += PERIOD_MS
    watch.maybe(1000.0)
    assert watch.result().work_ms == (1.2, 1.3)


def test_a_slow_machine_needs_a_longer_pause():
    """Three times 4 ms would not fit into 5 ms."""
    watch, work, _ = watched(4.0)
    watch.maybe(2 * 3 * 4.0 - 0.1)
    assert work.num_done == NUM_TRIES
    watch.maybe(2 * 3 * 4.0)
    assert watch.result().work_ms == (4.0,)


def test_a_run_without_a_long_enough_pause_has_a_reason():
    watch, _, _ = watched(1.0)
    watch.maybe(1.0)
    assert watch.result() == canary.Canary((), (), "no pause between blocks was long enough")


@pytest.mark.parametrize("num_good", [0, 3])
def test_a_device_that_fails_is_not_tried_again_and_what_there_was_is_kept(num_good):
    work, clock = Work(*[1.0] * (NUM_TRIES * num_good), RuntimeError("device lost")), Clock()
    watch = CanaryWatch(clock, work)
    for _ in range(5):
        watch.maybe(1000.0)
        clock.now_ms += PERIOD_MS
    assert work.num_done == NUM_TRIES * num_good + 1
    found = watch.result()
    assert len(found.work_ms) == max(0, num_good - 1)
    assert found.reason == (None if num_good else "the device failed at it: RuntimeError")


def test_the_processor_s_work_is_the_same_each_time(monkeypatch):
    done = []
    matmul = np.matmul

    def recording(left, right, out):
        done.append(float(matmul(left, right, out=out).sum(dtype=np.float64)))
        assert left.dtype == right.dtype == out.dtype == np.float32
        return out

    monkeypatch.setattr(np, "matmul", recording)
    work = cpu_work()
    assert work() > 0
    assert work() > 0
    assert cpu_work()() > 0
    assert len(done) == 3 * canary.NUM_PRODUCTS
    assert len(set(done)) == 1


def test_the_processor_s_work_is_done_unless_other_work_is_given():
    watch = CanaryWatch(Clock())
    watch.maybe(1e9)
    (work_ms,) = watch.result().work_ms
    assert work_ms > 0


class FakeCuda:
    """torch with a device whose events are 2 ms apart."""

    def __init__(self):
        self.calls = []
        self.cuda = self

    def __getattr__(self, name):
        def call(*given, **named):
            self.calls.append((name, given, named))
            return {"elapsed_time": 2.0}.get(name, self)

        return call


def test_a_gpu_s_work_is_timed_by_the_device_itself():
    fake = FakeCuda()
    work = cuda_work(fake, "cuda:1")
    assert ("current_stream", ("cuda:1",), {}) in fake.calls
    fake.calls.clear()
    assert work() == 2.0
    names = [name for name, _, _ in fake.calls]
    assert names == ["record", "matmul", "record", "synchronize", "elapsed_time"]


@pytest.mark.gpu
def test_a_real_gpu_does_its_work():
    watch = CanaryWatch(Clock(), cuda_work(torch, "cuda"))
    watch.maybe(1e9)
    assert watch.result().work_ms[0] > 0
