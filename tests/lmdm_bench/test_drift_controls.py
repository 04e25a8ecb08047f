"""The drift controls: what they are called, and that their work is fixed."""

import torch

from lmdm_bench.compare_record import CANARY, DRIFT_CONTROLS
from lmdm_bench.drift_controls import DriftControls


def test_each_control_has_a_time_by_the_name_that_records_use() -> None:
    found = DriftControls("cpu").sample()
    assert list(found) == [*DRIFT_CONTROLS, CANARY]
    assert all(milliseconds > 0 for milliseconds in found.values())


def test_the_random_numbers_of_what_is_measured_are_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    DriftControls("cpu").sample()
    assert torch.equal(torch.rand(2), expected)
