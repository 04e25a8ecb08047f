"""The drift controls: what they are called, and that their work is fixed."""

import pytest
import torch

from lmdm_bench import drift_controls
from lmdm_bench.compare_record import CANARY, DRIFT_CONTROLS
from lmdm_bench.drift_controls import DriftControls


def test_each_control_has_a_time_by_the_name_that_records_use() -> None:
    found = DriftControls("cpu").sample()
    assert list(found) == [*DRIFT_CONTROLS, CANARY]
    assert all(milliseconds > 0 for milliseconds in found.values())


def test_the_middle_one_of_three_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = iter([5.0, 5.0, 5.0, 9.0, 1.0, 2.0])  # the first three on making it
    monkeypatch.setattr(drift_controls, "cpu_work", lambda: lambda: next(taken))
    assert DriftControls("cpu").sample()[CANARY] == 2.0


def test_the_random_numbers_of_what_is_measured_are_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    DriftControls("cpu").sample()
    assert torch.equal(torch.rand(2), expected)
