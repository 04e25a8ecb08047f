"""The two rates: counted rightly, best of several, and never a clock's accident."""

import math
from types import SimpleNamespace

import pytest
import torch

from lmdm_bench import ceiling
from lmdm_bench.ceiling import measure_ceiling


class SteppingClock:
    """Each reading is later than the last by the next of the steps, then by one second."""

    def __init__(self, *steps):
        self.now = 0.0
        self.steps = list(steps)

    def perf_counter(self):
        self.now += self.steps.pop(0) if self.steps else 1.0
        return self.now


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(ceiling, "TRY_SECONDS", 0.004)
    monkeypatch.setattr(ceiling, "LONG_ENOUGH_SECONDS", 1e-9)
    monkeypatch.setattr(ceiling, "READ_BYTES", 1 << 20)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_both_rates_are_positive_and_finite(small, dtype):
    found = measure_ceiling(dtype, "cpu")
    assert found.dtype == dtype
    assert 0 < found.flops_per_second < math.inf
    assert 0 < found.bytes_per_second < math.inf


def test_a_multiply_and_an_add_count_as_two_and_a_read_byte_as_one(small, monkeypatch):
    monkeypatch.setattr(ceiling, "time", SteppingClock())
    found = measure_ceiling("float32", "cpu")
    assert found.flops_per_second == 2 * ceiling.SMALLEST_WIDTH**3
    assert found.bytes_per_second == 1 << 20


def test_products_grow_until_one_is_long_enough(small, monkeypatch):
    monkeypatch.setattr(ceiling, "LONG_ENOUGH_SECONDS", 1.0)
    # A width's readings: the limit's start, then a try's begin and end past the limit.
    monkeypatch.setattr(ceiling, "time", SteppingClock(1.0, 1.0, 0.5))
    flops = ceiling._flops_per_second(ceiling._product, torch.float32, torch.device("cpu"))
    assert flops == max(2 * 256**3 / 0.5, 2 * 512**3 / 1.0)


def test_products_stop_growing_at_the_largest_width(small, monkeypatch):
    monkeypatch.setattr(ceiling, "LONG_ENOUGH_SECONDS", math.inf)
    monkeypatch.setattr(ceiling, "LARGEST_CPU_WIDTH", 512)
    assert ceiling._flops_per_second(ceiling._product, torch.float32, torch.device("cpu")) > 0


def test_the_quickest_try_counts_and_there_is_at_least_one(monkeypatch):
    clock = SteppingClock(0.0, 0.0, 3.0, 0.0, 2.0, 0.0, 4.0)
    monkeypatch.setattr(ceiling, "time", SimpleNamespace(perf_counter=clock.perf_counter))
    calls = []
    tries = list(ceiling._tries(lambda: calls.append(1), torch.device("cpu"), 9.0))
    assert tries == [3.0, 2.0, 4.0] and len(calls) == 3
    assert len(list(ceiling._tries(lambda: None, torch.device("cpu"), 0.0))) == 1


def test_a_dtype_that_torch_has_not_is_refused():
    with pytest.raises(AttributeError):
        measure_ceiling("float12", "cpu")


def test_the_fastest_product_is_the_ceiling(small, monkeypatch):
    widths = []

    def instant(width, dtype, device):
        widths.append(width)
        return lambda: None

    plain = measure_ceiling("float32", "cpu").flops_per_second
    assert measure_ceiling("float32", "cpu", [instant]).flops_per_second > 10 * plain
    assert widths[0] == ceiling.SMALLEST_WIDTH
