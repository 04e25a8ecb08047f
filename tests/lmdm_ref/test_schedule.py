import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from helpers import assert_identity
from lmdm_ref.schedule import Sigmas, linear_sigmas, logsnr_sigmas, shift_sigmas

steps = st.integers(1, 60)
schedules = st.sampled_from([linear_sigmas, logsnr_sigmas])
Schedule = Callable[[int], Sigmas]


def as_tensor(sigmas: Sigmas) -> Tensor:
    return torch.tensor(sigmas, dtype=torch.float64)


@given(steps)
def test_logsnr_schedule_is_the_paper_s(num_steps: int) -> None:
    # a3.7: logSNR = linspace(−6, 2, K+1), k = sigmoid(−logSNR), first forced to 1, last to 0.
    expected = torch.linspace(-6, 2, num_steps + 1, dtype=torch.float64).neg().sigmoid()
    expected[0], expected[-1] = 1, 0
    assert_identity(as_tensor(logsnr_sigmas(num_steps)), expected)


@given(steps)
def test_linear_schedule_is_evenly_spaced(num_steps: int) -> None:
    expected = torch.linspace(1, 0, num_steps + 1, dtype=torch.float64)
    assert_identity(as_tensor(linear_sigmas(num_steps)), expected)


@given(schedules, steps)
def test_noise_levels_fall_from_exactly_one_to_exactly_zero(
    schedule: Schedule, num_steps: int
) -> None:
    sigmas = schedule(num_steps)
    assert (sigmas[0], sigmas[-1]) == (1.0, 0.0)
    assert all(sigma > following for sigma, following in pairwise(sigmas))


@given(steps)
def test_there_is_one_noise_level_more_than_steps(num_steps: int) -> None:
    assert len(linear_sigmas(num_steps)) == len(logsnr_sigmas(num_steps)) == num_steps + 1


@given(schedules, steps, st.integers(1, 5000))
def test_shift_is_the_base_model_s(schedule: Schedule, num_steps: int, frames: int) -> None:
    sigmas = schedule(num_steps)
    # The same map written with e^μ on the other side: σ' = e^μ / (e^μ + 1/σ − 1).
    weight = math.exp(0.5 + 0.65 * (frames - 256) / 3840)
    expected = [weight / (weight + 1 / sigma - 1) if sigma else 0.0 for sigma in sigmas]
    assert_identity(as_tensor(shift_sigmas(sigmas, frames)), as_tensor(tuple(expected)))


@given(schedules, steps, st.integers(256, 4000), st.integers(1, 96))
def test_longer_windows_are_moved_further_towards_noise(
    schedule: Schedule, num_steps: int, frames: int, more: int
) -> None:
    sigmas = schedule(num_steps)
    shifted, further = shift_sigmas(sigmas, frames), shift_sigmas(sigmas, frames + more)
    assert shifted[0] == further[0] == 1.0
    assert shifted[-1] == further[-1] == 0.0
    for before, after, later in list(zip(sigmas, shifted, further, strict=True))[1:-1]:
        assert before < after < later < 1


@pytest.mark.parametrize("schedule", [linear_sigmas, logsnr_sigmas])
@pytest.mark.parametrize("num_steps", [0, -3])
def test_fewer_than_one_step_is_refused(schedule: Schedule, num_steps: int) -> None:
    with pytest.raises(ValueError, match=f"steps must be at least 1, got {num_steps}"):
        schedule(num_steps)
