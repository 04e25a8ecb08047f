"""Samplers against transcriptions for single numbers, and against fields whose answer is known."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from helpers import SAMPLERS, assert_identity, assert_no_identity, seeded
from lmdm_ref.sampler import (
    Sampler,
    Velocity,
    VelocityPair,
    euler,
    euler_sampler,
    guided,
    paired,
    pingpong,
    pingpong_plus,
    pingpong_plus_sampler,
    pingpong_sampler,
)
from lmdm_ref.schedule import Sigmas, linear_sigmas, logsnr_sigmas

SHAPE = (2, 3, 4)
steps = st.integers(1, 9)
schedules = st.sampled_from([linear_sigmas, logsnr_sigmas])
Schedule = Callable[[int], Sigmas]
scales = st.floats(-2.0, 9.0)


def noise_for(sigmas: Sigmas) -> Tensor:
    return seeded(0, len(sigmas), *SHAPE)


def conditional(noisy: Tensor, sigma: float) -> Tensor:
    return noisy.sin() + sigma


def unconditional(noisy: Tensor, sigma: float) -> Tensor:
    return 0.5 * noisy - sigma


def pair(noisy: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    return conditional(noisy, sigma), unconditional(noisy, sigma)


def towards(clean: Tensor) -> Velocity:
    """The velocity noise − clean of a model that knows the answer: x(σ) = (1−σ)·clean + σ·noise."""

    def velocity(noisy: Tensor, sigma: float) -> Tensor:
        noise = (noisy - (1 - sigma) * clean) / sigma
        return noise - clean

    return velocity


def recorded(velocity: Velocity, calls: list[tuple[Tensor, float]]) -> Velocity:
    def recording(noisy: Tensor, sigma: float) -> Tensor:
        calls.append((noisy, sigma))
        return velocity(noisy, sigma)

    return recording


@given(schedules, steps)
def test_euler_is_x_plus_the_fall_in_sigma_times_velocity(
    schedule: Schedule, num_steps: int
) -> None:
    sigmas = schedule(num_steps)
    x = noise_for(sigmas)[0]
    for i in range(num_steps):
        x = x - (sigmas[i] - sigmas[i + 1]) * conditional(x, sigmas[i])
    assert_identity(euler(conditional, noise_for(sigmas), sigmas), x)


@given(schedules, steps)
def test_pingpong_is_the_paper_s(schedule: Schedule, num_steps: int) -> None:
    # a3.7: x̂0 = x − k_i·v; x ← (1−k_{i+1})·x̂0 + k_{i+1}·ε'. The last level is 0: x = x̂0.
    k, noise = schedule(num_steps), noise_for(schedule(num_steps))
    x = noise[0]
    for i in range(num_steps):
        x0 = x - k[i] * conditional(x, k[i])
        x = (1 - k[i + 1]) * x0 + k[i + 1] * noise[i + 1]
    assert_identity(pingpong(conditional, noise, k), x)


@given(schedules, steps, scales)
def test_pingpong_plus_is_the_paper_s(schedule: Schedule, num_steps: int, scale: float) -> None:
    # a3.7: x ← x̂0^λ + k_{i+1}·(ε' − x̂0^∅), v^λ = v^∅ + λ(v^c − v^∅).
    k, noise = schedule(num_steps), noise_for(schedule(num_steps))
    x = noise[0]
    for i in range(num_steps):
        with_text, without = pair(x, k[i])
        x0_guided = x - k[i] * (without + scale * (with_text - without))
        x0_unconditional = x - k[i] * without
        x = x0_guided + k[i + 1] * (noise[i + 1] - x0_unconditional)
    assert_identity(pingpong_plus(pair, noise, k, scale), x)


@pytest.mark.parametrize("method", [euler, pingpong])
@given(schedule=schedules, num_steps=steps)
def test_model_that_knows_the_answer_is_led_to_it_on_the_straight_path(
    method: Callable[[Velocity, Tensor, Sigmas], Tensor], schedule: Schedule, num_steps: int
) -> None:
    """Every evaluation stands at (1−σ)·clean + σ·noise; ping-pong's noise is fresh each time."""
    sigmas, clean = schedule(num_steps), seeded(1, *SHAPE)
    noise, calls = noise_for(sigmas), list[tuple[Tensor, float]]()
    assert_identity(method(recorded(towards(clean), calls), noise, sigmas), clean)
    for step, (noisy, sigma) in enumerate(calls):
        fresh = noise[step if method is pingpong else 0]
        assert_identity(noisy, (1 - sigma) * clean + sigma * fresh)


@given(schedules, steps)
def test_euler_under_a_constant_velocity_goes_noise_minus_velocity(
    schedule: Schedule, num_steps: int
) -> None:
    sigmas, constant = schedule(num_steps), seeded(1, *SHAPE)
    noise = noise_for(sigmas)
    assert_identity(euler(lambda noisy, sigma: constant, noise, sigmas), noise[0] - constant)


def test_all_methods_agree_in_one_step() -> None:
    sigmas, noise = linear_sigmas(1), noise_for(linear_sigmas(1))
    expected = noise[0] - conditional(noise[0], 1.0)
    assert torch.equal(euler(conditional, noise, sigmas), expected)
    assert torch.equal(pingpong(conditional, noise, sigmas), expected)
    assert_identity(pingpong_plus(pair, noise, sigmas, 1.0), expected)


@given(schedules, steps)
def test_velocity_is_evaluated_once_at_every_noise_level_but_the_last(
    schedule: Schedule, num_steps: int
) -> None:
    sigmas = schedule(num_steps)
    for method in (euler, pingpong):
        calls: list[tuple[Tensor, float]] = []
        method(recorded(conditional, calls), noise_for(sigmas), sigmas)
        assert [sigma for _, sigma in calls] == list(sigmas[:-1])


@given(schedules, steps)
def test_pingpong_plus_without_a_prompt_s_pull_is_pingpong(
    schedule: Schedule, num_steps: int
) -> None:
    """Where text makes no difference, and where its scale is 0."""
    sigmas = schedule(num_steps)
    noise = noise_for(sigmas)
    expected = pingpong(unconditional, noise, sigmas)

    def same(noisy: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        return unconditional(noisy, sigma), unconditional(noisy, sigma)

    assert_identity(pingpong_plus(same, noise, sigmas, 7.0), expected)
    assert_identity(pingpong_plus(pair, noise, sigmas, 0.0), expected)


def test_guidance_scale_1_is_the_text_and_0_is_without_it() -> None:
    noisy = seeded(0, *SHAPE)
    assert_identity(guided(pair, 1.0)(noisy, 0.3), conditional(noisy, 0.3))
    assert torch.equal(guided(pair, 0.0)(noisy, 0.3), unconditional(noisy, 0.3))


@given(scales)
def test_guidance_goes_from_without_text_towards_the_text_by_its_scale(scale: float) -> None:
    noisy = seeded(0, *SHAPE)
    expected = (1 - scale) * unconditional(noisy, 0.3) + scale * conditional(noisy, 0.3)
    assert_identity(guided(pair, scale)(noisy, 0.3), expected)


def batched(noisy: Tensor, sigma: float) -> Tensor:
    """A model's velocity over a doubled batch: with the text, then without."""
    first, second = noisy.chunk(2)
    return torch.cat([conditional(first, sigma), unconditional(second, sigma)])


def test_pair_is_one_evaluation_of_the_batch_twice() -> None:
    calls: list[tuple[Tensor, float]] = []
    velocities: VelocityPair = paired(recorded(batched, calls))
    noisy = seeded(0, *SHAPE)
    for actual, expected in zip(velocities(noisy, 0.3), pair(noisy, 0.3), strict=True):
        assert torch.equal(actual, expected)
    ((seen, sigma),) = calls
    assert torch.equal(seen, torch.cat([noisy, noisy])) and sigma == 0.3


@pytest.mark.parametrize("make", [euler_sampler, pingpong_sampler])
def test_unguided_sampler_needs_one_copy_and_equals_its_method(
    make: Callable[..., Sampler],
) -> None:
    sigmas = linear_sigmas(3)
    sampler, method = make(sigmas), {euler_sampler: euler, pingpong_sampler: pingpong}[make]
    assert (sampler.copies, sampler.guidance_scale, sampler.num_steps) == (1, 1.0, 3)
    noise = noise_for(sigmas)
    assert torch.equal(sampler.sample(conditional, noise), method(conditional, noise, sigmas))


@pytest.mark.parametrize("make", [euler_sampler, pingpong_sampler])
@pytest.mark.parametrize("scale", [0.0, 0.5, 7.0])
def test_guided_sampler_needs_two_copies_and_equals_its_method_guided(
    make: Callable[..., Sampler], scale: float
) -> None:
    sigmas = logsnr_sigmas(3)
    sampler, method = make(sigmas, scale), {euler_sampler: euler, pingpong_sampler: pingpong}[make]
    assert (sampler.copies, sampler.guidance_scale) == (2, scale)
    noise = noise_for(sigmas)
    expected = method(guided(pair, scale), noise, sigmas)
    assert torch.equal(sampler.sample(batched, noise), expected)


def test_pingpong_plus_sampler_equals_its_method_on_two_copies() -> None:
    sigmas = logsnr_sigmas(3)
    sampler = pingpong_plus_sampler(sigmas, 0.7)
    assert (sampler.name, sampler.copies, sampler.draws) == ("pingpong++", 2, 3)
    noise = noise_for(sigmas)
    expected = pingpong_plus(pair, noise, sigmas, 0.7)
    assert torch.equal(sampler.sample(batched, noise), expected)


@pytest.mark.parametrize("name", SAMPLERS)
def test_sampler_uses_every_draw_it_asks_for_and_no_more(name: str) -> None:
    sampler = SAMPLERS[name]
    velocity = batched if sampler.copies == 2 else conditional
    noise = seeded(0, sampler.draws, *SHAPE)
    block = sampler.sample(velocity, noise)
    assert block.shape == SHAPE
    for draw in range(sampler.draws):
        other = noise.clone()
        other[draw] += 1
        assert_no_identity(sampler.sample(velocity, other), block)


@pytest.mark.parametrize("name", SAMPLERS)
def test_sampler_leaves_the_noise_as_it_was(name: str) -> None:
    sampler = SAMPLERS[name]
    noise = seeded(0, sampler.draws, *SHAPE)
    sampler.sample(batched if sampler.copies == 2 else conditional, noise)
    assert torch.equal(noise, seeded(0, sampler.draws, *SHAPE))
