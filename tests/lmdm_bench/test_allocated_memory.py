"""Peaks are exact and the same each time, in another process too, whatever was freed before."""

import gc
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from lmdm_bench import subjects
from lmdm_bench.allocated_memory import allocations_seen, peak_allocated_bytes, peak_bytes
from lmdm_bench.clock import Stopwatch
from lmdm_bench.errors import UnsupportedError
from lmdm_bench.profiler_notes import without_profiler_notes
from lmdm_bench.record import Ceiling
from tiny_run import REQUEST

FLOAT = 4
BFLOAT16 = replace(REQUEST, dtype="bfloat16")
NUM_BLOCKS = 3


def peaks(scheme: str) -> list[int]:
    """Of a bfloat16 stream's blocks, one by one."""
    cost = subjects.cost_of(BFLOAT16, scheme, Ceiling("bfloat16", 1.0, 1.0))
    subject = subjects.Model(BFLOAT16).subject(scheme, cost)
    subject.prefill()
    return [
        peak_allocated_bytes(lambda: subject.make_block(Stopwatch(lambda: None)))
        for _ in range(NUM_BLOCKS)
    ]


def test_the_peak_is_the_most_that_is_held_at_once() -> None:
    def make() -> None:
        first = torch.empty(1000)
        second = torch.empty(500)
        del first
        third = torch.empty(700)
        del second, third

    assert peak_allocated_bytes(make) == (1000 + 500) * FLOAT


def test_what_an_operator_needs_inside_is_seen() -> None:
    rows = torch.rand(64, 1000)
    # The mean of the squares is taken of a temporary that no Python name ever holds.
    assert peak_allocated_bytes(lambda: (rows * rows).mean()) >= 64 * 1000 * FLOAT


def test_nothing_allocated_is_a_peak_of_nothing() -> None:
    kept = torch.zeros(8)
    assert peak_allocated_bytes(lambda: kept.zero_()) == 0


def test_what_is_kept_counts_and_what_was_freed_before_does_not() -> None:
    kept: list[torch.Tensor] = []
    for _ in range(3):
        # The second call frees what the first one allocated, which may then be had again at the
        # same address; torch's own books remember the first call's allocation.
        assert peak_allocated_bytes(lambda: kept.append(torch.empty(300))) == 300 * FLOAT
        kept.clear()


def test_older_memory_counts_as_held() -> None:
    old = [torch.empty(10_000)]

    def make() -> None:
        old.clear()
        torch.empty(100)

    assert peak_allocated_bytes(make) == 100 * FLOAT


def test_garbage_is_collected_before_and_not_meanwhile() -> None:
    def make() -> None:
        for _ in range(50):
            ring: list[object] = [torch.empty(100)]
            ring.append(ring)

    make()
    thresholds = gc.get_threshold()
    gc.set_threshold(1)
    try:
        assert peak_allocated_bytes(make) == 50 * 100 * FLOAT
    finally:
        gc.set_threshold(*thresholds)
    assert gc.isenabled()


def test_an_error_goes_through_and_collection_goes_on() -> None:
    def fail() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        peak_allocated_bytes(fail)
    assert gc.isenabled()
    assert peak_allocated_bytes(lambda: torch.empty(5)) == 5 * FLOAT


def test_a_device_without_an_account_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="does not count each allocation on mps"):
        peak_allocated_bytes(lambda: None, "mps:0")


def test_nothing_of_the_profiler_reaches_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    old = [torch.empty(10_000)]
    peak_allocated_bytes(old.clear)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("scheme", subjects.DIFFUSION_SCHEMES)
def test_a_streams_peaks_are_the_same_each_time(scheme: str) -> None:
    found = peaks(scheme)
    assert all(found)
    assert peaks(scheme) == found


def test_a_streams_peaks_are_the_same_in_another_process() -> None:
    code = (
        "import runpy, torch; torch.set_num_threads(1)\n"
        f"print(*runpy.run_path({__file__!r})['peaks']('block-causal'))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert ended.stdout.split() == [str(one) for one in peaks("block-causal")]


def test_changes_are_in_order_and_name_the_operator_around_them() -> None:
    rows = torch.rand(10, 10)
    with without_profiler_notes(), allocations_seen() as seen:
        rows @ rows
    changes = seen.changes()
    assert [one.num_bytes for one in changes] == [100 * FLOAT, -100 * FLOAT]
    assert changes[0].at_ns < changes[1].at_ns
    assert changes[0].event.parent.name == "aten::mm"
    assert peak_bytes(changes) == 100 * FLOAT
    assert seen.changes("cuda") == ()
