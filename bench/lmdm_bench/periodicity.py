"""The dominant period of service times: whether every so many blocks one takes longer.

A peak of the spectrum is looked for above the spectrum around it, so that drift and noise that
remembers, whose spectra are smooth, are no period.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

MIN_BLOCKS = 32
MIN_CYCLES = 4
PERMUTATIONS = 199
# A period is told from this p on: at 0.05, noise that remembers and drift had one in up to a fifth
# of simulated runs.
TOLD_BELOW = 0.01

# A single stall must not drown the rest: beyond this many robust standard deviations, values are
# taken as lying there. A spike that comes back is still a spike.
CLIP_DEVIATIONS = 10.0
NORMAL_PER_MEDIAN_DEVIATION = 1.4826

# The level of the spectrum is its median over bands of at least so many frequencies, or of this
# share of the frequency, whichever is wider.
MIN_BAND = 9
BAND_SHARE = 0.5
# A peak is read off between the spectral lines, at this part of their distance.
FINE_LINES = 32
# A strongest peak is a harmonic of a longer period whose lines are all at least so strong.
HARMONIC_SHARE = 0.25
MOST_HARMONICS = 16
ROUNDING = 1e-12

# Random orders are looked at in chunks of about this many numbers.
CHUNK_NUMBERS = 1 << 20

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Period:
    """``amplitude_ms`` is how much longer than the middle block those at the period's slowest place
    take, by their median; ``p`` is how often blocks in a random order have as clear a period."""

    blocks: float
    seconds: float
    amplitude_ms: float
    p: float


def dominant_period(
    service_ms: Sequence[float] | Floats, block_seconds: float, seed: int = 0
) -> Period | None:
    """The clearest period with at least four cycles, significant or not: see its ``p``.

    None for fewer than 32 blocks, or where most service times are equal.
    """
    times = np.asarray(service_ms, dtype=np.float64)
    if times.size < MIN_BLOCKS:
        return None
    residual = _clipped(_without_drift(times))
    if residual is None:
        return None
    bands = _bands(times.size)
    strength, line = _peak(residual[None], bands)
    chance = _chance(residual, bands, seed)
    p = (1 + int((chance >= strength[0]).sum())) / (1 + PERMUTATIONS)
    frequency = _fundamental(residual, int(line[0]))
    blocks = 1 / frequency
    return Period(blocks, blocks * block_seconds, _amplitude_ms(times, frequency), p)


def _without_drift(times: Floats) -> Floats:
    """Less the running median over a third of the run, which follows a step as well as a slope."""
    width = times.size // 3 | 1
    return times - ndimage.median_filter(times, width, mode="nearest")


def _clipped(residual: Floats) -> Floats | None:
    middle = np.median(residual)
    spread = NORMAL_PER_MEDIAN_DEVIATION * float(np.median(np.abs(residual - middle)))
    if spread == 0:
        return None
    clipped = np.clip((residual - middle) / spread, -CLIP_DEVIATIONS, CLIP_DEVIATIONS)
    return clipped - clipped.mean()


def _bands(n: int) -> list[slice]:
    """The spectral lines from 1 on, in bands that grow wider with the frequency."""
    last = n // 2
    bands: list[slice] = []
    start = 1
    while start <= last:
        stop = start + max(MIN_BAND, int(BAND_SHARE * start))
        # What is left over is part of the last band.
        stop = stop if last - stop >= MIN_BAND else last + 1
        bands.append(slice(start, stop))
        start = stop
    return bands


def _peak(rows: Floats, bands: list[slice]) -> tuple[Floats, npt.NDArray[np.intp]]:
    """For each row: how far its clearest line is above the spectrum around it, and which it is."""
    power = np.abs(np.fft.rfft(rows)) ** 2
    # Without any noise most lines are 0, and have no logarithm.
    power += ROUNDING * power.max()
    centres = np.log([(band.start + band.stop - 1) / 2 for band in bands])
    medians = np.log(np.stack([np.median(power[:, band], axis=1) for band in bands], axis=1))
    lines = np.log(np.arange(MIN_CYCLES, power.shape[1]))
    level = np.stack([np.interp(lines, centres, row) for row in medians])
    clear = np.log(power[:, MIN_CYCLES:]) - level
    best = clear.argmax(axis=1)
    return np.take_along_axis(clear, best[:, None], axis=1)[:, 0], best + MIN_CYCLES


def _chance(residual: Floats, bands: list[slice], seed: int) -> Floats:
    """How far the clearest line stands out where the blocks are in a random order."""
    rng = np.random.default_rng(seed)
    rows = max(1, CHUNK_NUMBERS // residual.size)
    found = []
    for start in range(0, PERMUTATIONS, rows):
        copies = np.tile(residual, (min(rows, PERMUTATIONS - start), 1))
        found.append(_peak(rng.permuted(copies, axis=1), bands)[0])
    return np.concatenate(found)


def _fundamental(residual: Floats, line: int) -> float:
    """The lowest frequency of which the peak is a harmonic, all harmonics between being strong."""
    power = np.abs(np.fft.rfft(residual, residual.size * FINE_LINES)) ** 2

    def near(place: float) -> slice:
        return slice(max(0, round(place) - FINE_LINES // 2), round(place) + FINE_LINES // 2 + 1)

    around = near(line * FINE_LINES)
    peak = around.start + int(power[around].argmax())
    strong = HARMONIC_SHARE * power[peak]
    most = min(MOST_HARMONICS, peak // (MIN_CYCLES * FINE_LINES))
    harmonics = (
        harmonic
        for harmonic in range(most, 1, -1)
        if all(power[near(peak * one / harmonic)].max() >= strong for one in range(1, harmonic))
    )
    return _refined(power, peak / next(harmonics, 1)) / (residual.size * FINE_LINES)


def _refined(power: Floats, place: float) -> float:
    """The place nearby at which the lines at its multiples are strongest together: the higher ones
    tell it more exactly."""
    last = power.size - 1
    places = np.minimum(place + np.linspace(-0.5, 0.5, 8 * FINE_LINES + 1) * FINE_LINES, last)
    multiples = np.arange(1, min(MOST_HARMONICS, int(last / places[-1])) + 1)
    together = power[np.rint(np.outer(places, multiples)).astype(int)].sum(axis=1)
    return float(places[together.argmax()])


def _amplitude_ms(times: Floats, frequency: float) -> float:
    phases = max(2, round(1 / frequency))
    place = np.rint(np.arange(times.size) * frequency % 1 * phases).astype(int) % phases
    slowest = max(float(np.median(times[place == one])) for one in np.unique(place))
    return slowest - float(np.median(times))
