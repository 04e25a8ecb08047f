"""Estimates from service times: each figure has a 95 % interval or the reason why it has none."""

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from lmdm_bench.record import Block, Estimate, ServiceTimes, Summary

CONFIDENCE = 0.95
RESAMPLES = 2000
MIN_BLOCKS_FOR_RATIO_INTERVAL = 3

QUANTILE_METHOD = "order statistics"
NO_CODEC = "no codec in the suite for this model"
MILLISECONDS_PER_SECOND = 1000.0

# The stages' milliseconds come from the clock readings that also give the service time, so only
# rounding may lie between them.
STAGE_SUM_TOLERANCE = 1e-6

# Resamples are drawn in chunks of about this many numbers, so that an hour's run stays small.
CHUNK_NUMBERS = 1 << 22

Floats = npt.NDArray[np.float64]


def needed_blocks(probability: float, confidence: float = CONFIDENCE) -> int:
    """The fewest blocks from which a quantile's two-sided interval is finite on both sides.

    Both the smallest and the largest of n blocks must be on the far side of the quantile with at
    most half of ``1 - confidence``. Raises ValueError unless both arguments are inside (0, 1).
    """
    for name, value in (("probability", probability), ("confidence", confidence)):
        if not 0.0 < value < 1.0:
            raise ValueError(f"{name} should be between 0 and 1, got {value}")
    tail = (1.0 - confidence) / 2
    return math.ceil(math.log(tail) / math.log(max(probability, 1.0 - probability)))


def quantile(times: Sequence[float], probability: float) -> Estimate:
    """The quantile of the times, in their unit, with a distribution-free two-sided interval.

    The interval's ends are order statistics whose ranks the binomial distribution gives; it takes
    the blocks as independent of each other. Below ``needed_blocks`` there is no value either, since
    a percentile without an interval says more than was measured. Raises ValueError on NaN or
    infinity.
    """
    ordered = np.sort(_finite(times))
    n = ordered.size
    needed = needed_blocks(probability)
    if n < needed:
        return Estimate(None, None, n, QUANTILE_METHOD, f"needs {needed} blocks")
    tail = (1.0 - CONFIDENCE) / 2
    low = int(stats.binom.ppf(tail, n, probability)) - 1
    high = int(stats.binom.isf(tail, n, probability))
    interval = (float(ordered[low]), float(ordered[high]))
    value = float(np.quantile(ordered, probability))
    return Estimate(value, interval, n, QUANTILE_METHOD, None)


def ratio(service_seconds: Sequence[float], audio_seconds_per_block: float, seed: int) -> Estimate:
    """The real-time factor: Σ service seconds ÷ Σ audio seconds, in the order of the blocks.

    The interval comes from the stationary bootstrap (Politis and Romano 1994), which resamples runs
    of blocks of a random length, n^(1/3) on average, so that neighbours stay together. A resample's
    percentiles would be too narrow for few blocks. So the runs count as n^(2/3) draws: their spread
    is widened by that number's degrees of freedom and by Student's t, on a logarithmic scale since
    a factor is positive. Fewer than three blocks give a value without an interval. Raises
    ValueError on no blocks, on a time that is negative or not finite, or on a block without length.
    """
    if not (math.isfinite(audio_seconds_per_block) and audio_seconds_per_block > 0):
        raise ValueError(f"a block should last longer than 0 s, got {audio_seconds_per_block}")
    seconds = _finite(service_seconds)
    n = seconds.size
    if n == 0:
        raise ValueError("a ratio needs at least one block, got none")
    if seconds.min() < 0:
        raise ValueError(f"service seconds should not be negative, got {seconds.min()}")
    value = float(seconds.sum() / (n * audio_seconds_per_block))
    if n < MIN_BLOCKS_FOR_RATIO_INTERVAL:
        reason = f"an interval needs {MIN_BLOCKS_FOR_RATIO_INTERVAL} blocks"
        return Estimate(value, None, n, "sum", reason)
    run_blocks = n ** (1 / 3)
    method = f"stationary bootstrap, {RESAMPLES} resamples, runs of {run_blocks:.1f} blocks"
    if value == 0:
        return Estimate(0.0, (0.0, 0.0), n, method, None)
    means = _resampled_means(seconds, run_blocks, RESAMPLES, np.random.default_rng(seed))
    draws = n / run_blocks
    relative_error = float(means.std() / seconds.mean()) * math.sqrt(draws / (draws - 1))
    width = float(stats.t.ppf((1 + CONFIDENCE) / 2, draws - 1)) * relative_error
    # exp overflows where a few blocks differ by orders of magnitude; no bound is then known.
    if width > math.log(np.finfo(np.float64).max / max(value, 1.0)):
        return Estimate(value, None, n, method, "the blocks differ too much for an interval")
    return Estimate(value, (value * math.exp(-width), value * math.exp(width)), n, method, None)


def summarise(blocks: Sequence[Block], block_seconds: float, seed: int) -> Summary:
    """The summary of one cell's measured blocks, warm-up blocks left out; times in milliseconds.

    A block's later step is the mean of its steps after the first: the first step and so many later
    ones make up each block's denoise. Without a codec there is no rtf, but a reason. Raises
    ValueError where no block was measured, where the codec was run in some blocks only, or where
    the stages do not add up to the service time.
    """
    measured = [block for block in blocks if not block.is_warmup]
    if not measured:
        raise ValueError(f"a summary needs a measured block, got {len(blocks)} warm-up blocks")
    service_ms = [block.service_ms for block in measured]
    rtf_model = ratio(_seconds(map(model_ms, measured)), block_seconds, seed)
    num_decoded = sum(block.codec_decode_ms is not None for block in measured)
    if num_decoded not in (0, len(measured)):
        raise ValueError(f"the codec was run in {num_decoded} of {len(measured)} blocks")
    rtf = (
        ratio(_seconds(service_ms), block_seconds, seed)
        if num_decoded
        else Estimate(None, None, len(measured), rtf_model.method, NO_CODEC)
    )
    return Summary(
        service_ms=ServiceTimes(
            p50=quantile(service_ms, 0.5),
            p95=quantile(service_ms, 0.95),
            p99=quantile(service_ms, 0.99),
        ),
        rtf=rtf,
        rtf_model=rtf_model,
        stage_ms={
            name: _stage_median([stage_of(block) for block in measured], absent)
            for name, (stage_of, absent) in _STAGES.items()
        },
        stage_share=_stage_share(measured),
    )


def model_ms(block: Block) -> float:
    """A block's service time without the codec's part of it, in milliseconds."""
    return block.service_ms - (block.codec_decode_ms or 0.0)


def _denoise_ms(block: Block) -> float:
    return math.fsum(block.steps_ms)


def _first_step_ms(block: Block) -> float | None:
    return block.steps_ms[0] if block.steps_ms else None


def _later_step_ms(block: Block) -> float | None:
    later = block.steps_ms[1:]
    return math.fsum(later) / len(later) if later else None


# Each stage's milliseconds in a block, and why a block may be without them.
_STAGES: dict[str, tuple[Callable[[Block], float | None], str]] = {
    "context_encode": (lambda block: block.context_encode_ms, "nothing is encoded ahead"),
    "first_step": (_first_step_ms, "no step was timed"),
    "later_step": (_later_step_ms, "one step makes a block"),
    "denoise": (_denoise_ms, "no step was timed"),
    "commit": (lambda block: block.commit_ms, "part of another pass"),
    "codec_decode": (lambda block: block.codec_decode_ms, NO_CODEC),
    "host": (lambda block: block.host_ms, "not timed"),
}
_SHARED_STAGES = ("context_encode", "denoise", "commit", "codec_decode", "host")


def _stage_median(times_ms: list[float | None], absent: str) -> Estimate:
    present = [time for time in times_ms if time is not None]
    if not present:
        return Estimate(None, None, len(times_ms), QUANTILE_METHOD, absent)
    return quantile(present, 0.5)


def _stage_share(measured: list[Block]) -> dict[str, float]:
    total_ms = math.fsum(block.service_ms for block in measured)
    if total_ms <= 0:
        raise ValueError(f"{len(measured)} blocks took {total_ms} ms in all; has the clock moved?")
    share = {
        name: math.fsum(_STAGES[name][0](block) or 0.0 for block in measured) / total_ms
        for name in _SHARED_STAGES
    }
    if abs(math.fsum(share.values()) - 1.0) > STAGE_SUM_TOLERANCE:
        raise ValueError(f"the stages add up to {math.fsum(share.values())} of the service time")
    return share


def _resampled_means(
    values: Floats, run_blocks: float, resamples: int, rng: np.random.Generator
) -> Floats:
    """The means of stationary resamples: at each place a new run starts with odds 1/run_blocks."""
    n = values.size
    place = np.arange(n)
    chunk = max(1, CHUNK_NUMBERS // n)
    means = np.empty(resamples)
    for start in range(0, resamples, chunk):
        shape = (min(chunk, resamples - start), n)
        is_new_run = rng.random(shape) < 1 / run_blocks
        is_new_run[:, 0] = True
        run_begin = np.maximum.accumulate(np.where(is_new_run, place, 0), axis=1)
        run_source = np.take_along_axis(rng.integers(0, n, shape), run_begin, axis=1)
        # The series is taken as a circle, so that its ends are drawn as often as its middle.
        means[start : start + shape[0]] = values[(run_source + place - run_begin) % n].mean(axis=1)
    return means


def _seconds(times_ms: Iterable[float]) -> list[float]:
    return [time / MILLISECONDS_PER_SECOND for time in times_ms]


def _finite(times: Sequence[float]) -> Floats:
    values = np.asarray(times, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"times should be one row of numbers, got shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("times should be finite, got NaN or infinity")
    return values
