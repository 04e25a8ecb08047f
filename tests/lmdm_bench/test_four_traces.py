"""The four traces are what they say, and averages tell none of it."""

import numpy as np
import pytest

from lmdm_bench.four_traces import BLOCK_MS, FIRST_BLOCKS, HEADER, NUM_BLOCKS, TRACES, trace_rows


@pytest.mark.parametrize("name", TRACES)
def test_each_is_ten_minutes_faster_than_real_time_on_average(name: str) -> None:
    times = TRACES[name]()
    assert times.size == NUM_BLOCKS and NUM_BLOCKS * BLOCK_MS == 600_000
    assert 0.7 < times.mean() / BLOCK_MS < 1
    assert times[:FIRST_BLOCKS].mean() / BLOCK_MS < 0.91
    assert np.array_equal(times, TRACES[name]())


def test_the_rows_tell_what_is_heard_beside_the_averages() -> None:
    rows = trace_rows()
    assert all(len(row) == len(HEADER) for row in rows)
    assert [row[-2].replace("\N{NO-BREAK SPACE}", " ") for row in rows] == [
        "0.0 %",
        "1.0 %",
        "1.1 %",
        "54.0 %",
    ]
    assert [row[-1] for row in rows] == ["0", "144", "20", "1"]
