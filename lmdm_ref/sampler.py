"""From noise to a block: samplers as functions of a velocity.

A velocity takes (noisy, sigma) and gives noise − clean; samplers know nothing else of the model.
With x(σ) = (1 − σ)·clean + σ·noise, the clean estimate is ``noisy − sigma · velocity``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from lmdm_ref.schedule import Sigmas

Frames = Float[Tensor, "batch frames channels"]
Noise = Float[Tensor, "draws batch frames channels"]
Velocity = Callable[[Tensor, float], Tensor]
VelocityPair = Callable[[Tensor, float], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Sampler:
    """A way from noise to a block, complete: noise levels, guidance and method.

    ``draws`` noise tensors are needed for a block; the velocity is evaluated on ``copies`` batch
    rows for each listener (2 with guidance: with the text, then without).
    """

    name: str
    sigmas: Sigmas
    guidance_scale: float
    draws: int
    copies: int
    sample: Callable[[Velocity, Noise], Frames]

    @property
    def num_steps(self) -> int:
        return len(self.sigmas) - 1


def euler(velocity: Velocity, noise: Noise, sigmas: Sigmas) -> Frames:
    """Follow the velocity in straight pieces from noise to clean."""
    noisy = noise[0]
    for sigma, following in pairwise(sigmas):
        noisy = noisy + (following - sigma) * velocity(noisy, sigma)
    return noisy


def pingpong(velocity: Velocity, noise: Noise, sigmas: Sigmas) -> Frames:
    """Guess the clean block, then noise it afresh to the next level (paper, a3.7)."""
    noisy = noise[0]
    for step, (sigma, following) in enumerate(pairwise(sigmas), start=1):
        denoised = noisy - sigma * velocity(noisy, sigma)
        if not following:
            return denoised
        noisy = (1 - following) * denoised + following * noise[step]
    return noisy


def pingpong_plus(
    velocities: VelocityPair, noise: Noise, sigmas: Sigmas, guidance_scale: float
) -> Frames:
    """Ping-pong whose guided estimate is noised away from the unconditional one (paper, a3.7).

    x ← x̂(guided) + σ'·(ε' − x̂(unconditional)).
    """
    noisy = noise[0]
    for step, (sigma, following) in enumerate(pairwise(sigmas), start=1):
        conditional, unconditional = velocities(noisy, sigma)
        guided_velocity = unconditional + guidance_scale * (conditional - unconditional)
        denoised = noisy - sigma * guided_velocity
        if not following:
            return denoised
        noisy = denoised + following * (noise[step] - (noisy - sigma * unconditional))
    return noisy


def paired(velocity: Velocity) -> VelocityPair:
    """A velocity over a doubled batch as (with the text, without the text)."""

    def evaluate(noisy: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
        conditional, unconditional = velocity(torch.cat([noisy, noisy]), sigma).chunk(2)
        return conditional, unconditional

    return evaluate


def guided(velocities: VelocityPair, guidance_scale: float) -> Velocity:
    """Classifier-free guidance: v(∅) + scale · (v(text) − v(∅))."""

    def evaluate(noisy: Tensor, sigma: float) -> Tensor:
        conditional, unconditional = velocities(noisy, sigma)
        return unconditional + guidance_scale * (conditional - unconditional)

    return evaluate


def euler_sampler(sigmas: Sigmas, guidance_scale: float = 1.0) -> Sampler:
    return Sampler("euler", sigmas, guidance_scale, 1, *_guidable(euler, sigmas, guidance_scale))


def pingpong_sampler(sigmas: Sigmas, guidance_scale: float = 1.0) -> Sampler:
    draws = len(sigmas) - 1
    return Sampler(
        "pingpong", sigmas, guidance_scale, draws, *_guidable(pingpong, sigmas, guidance_scale)
    )


def pingpong_plus_sampler(sigmas: Sigmas, guidance_scale: float) -> Sampler:
    def sample(velocity: Velocity, noise: Noise) -> Frames:
        return pingpong_plus(paired(velocity), noise, sigmas, guidance_scale)

    return Sampler("pingpong++", sigmas, guidance_scale, len(sigmas) - 1, 2, sample)


def _guidable(
    method: Callable[[Velocity, Noise, Sigmas], Frames], sigmas: Sigmas, guidance_scale: float
) -> tuple[int, Callable[[Velocity, Noise], Frames]]:
    """(copies, sample): the doubled batch only where the scale asks for it."""
    if guidance_scale == 1:
        return 1, lambda velocity, noise: method(velocity, noise, sigmas)
    return 2, lambda velocity, noise: method(
        guided(paired(velocity), guidance_scale), noise, sigmas
    )
