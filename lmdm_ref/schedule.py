"""Noise levels: descending from 1 to 0, one more than there are steps (no torch)."""

import math

Sigmas = tuple[float, ...]

# stable-audio-tools' distribution shift for rectified-flow models (its inference/sampling.py).
SHIFT_MIN_FRAMES = 256
SHIFT_MAX_FRAMES = 4096
SHIFT_BASE = 0.5
SHIFT_MAX = 1.15


def linear_sigmas(num_steps: int) -> Sigmas:
    """Evenly spaced noise levels. Raises ValueError below one step."""
    _check_steps(num_steps)
    return (*(1 - step / num_steps for step in range(num_steps)), 0.0)


def logsnr_sigmas(num_steps: int, low: float = -6.0, high: float = 2.0) -> Sigmas:
    """Evenly spaced log-SNR, sigma = sigmoid(−logSNR), ends set to 1 and 0 (paper, a3.7)."""
    _check_steps(num_steps)
    inner = (low + (high - low) * step / num_steps for step in range(1, num_steps))
    return (1.0, *(1 / (1 + math.exp(logsnr)) for logsnr in inner), 0.0)


def shift_sigmas(sigmas: Sigmas, frames: int) -> Sigmas:
    """Move noise levels towards 1 for longer windows, as the base model was trained.

    sigma' = 1 − e^μ / (e^μ + 1 / (1 − sigma) − 1), μ linear in the window's frames.
    """
    share = (frames - SHIFT_MIN_FRAMES) / (SHIFT_MAX_FRAMES - SHIFT_MIN_FRAMES)
    weight = math.exp(-(SHIFT_BASE + (SHIFT_MAX - SHIFT_BASE) * share))
    return tuple(
        sigma if sigma in (0.0, 1.0) else 1 - weight / (weight + 1 / (1 - sigma) - 1)
        for sigma in sigmas
    )


def _check_steps(num_steps: int) -> None:
    if num_steps < 1:
        raise ValueError(f"steps must be at least 1, got {num_steps}")
