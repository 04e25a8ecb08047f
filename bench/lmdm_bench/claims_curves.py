"""What the sweeps of a claims run come to: times over sizes, their lines, and how they grow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lmdm_bench.claim_tests import View, axis_value
from lmdm_bench.claims import MS_PER_SECOND
from lmdm_bench.claims_record import Point, Sweep, Visit
from lmdm_bench.fits import (
    Fitted,
    FloorFit,
    Line,
    floor_power_law,
    line,
    local_exponents,
    over_rounds,
)

Floats = npt.NDArray[np.float64]


def mean_seconds(point: Point, ms_of: Callable[[Visit], float | None]) -> Fitted | None:
    """Seconds of one block, or of a part of it, over the rounds; None where it was not timed."""
    known = [one for one in map(ms_of, point.visits) if one is not None and one > 0]
    return over_rounds([one / MS_PER_SECOND for one in known], is_positive=True) if known else None


def service_ms(visit: Visit) -> float:
    return visit.service_ms


def encode_ms(visit: Visit) -> float | None:
    return visit.context_encode_ms


def sizes_of(points: Sequence[Point], sweep: Sweep) -> list[float]:
    return [axis_value(one, sweep) for one in points]


def line_through(view: View, scheme: str, sweep: Sweep) -> Line | str:
    """The line through all rounds that visited the whole sweep, or why there is none."""
    points = view.points_of(scheme, sweep)
    sizes = sizes_of(points, sweep)
    if not points:
        return view.why_missing(scheme, sweep)
    if len(sizes) < 2 or len(set(sizes)) < len(sizes) or sizes[0] <= 0:
        return f"{scheme} has no line: {len(set(sizes))} sizes were measured"
    if not view.rounds(points):
        return f"{scheme} has no line: no round visited all its points"
    return line(sizes, view.service_seconds(points))


def in_ms(seconds: Fitted) -> Fitted:
    """A figure that is not on a logarithmic scale, in milliseconds."""
    return replace(
        seconds,
        value=seconds.value * MS_PER_SECOND,
        standard_error=seconds.standard_error * MS_PER_SECOND,
    )


def sweep_encode_ms(view: View, scheme: str, sweep: Sweep) -> Fitted | None:
    """The context encode's ms over a sweep on which it is the same at all points."""
    points = view.points_of(scheme, sweep)
    encode = view.encode_seconds(points) if view.rounds(points) else np.empty((0, 0))
    if encode.size == 0 or np.isnan(encode).any():
        return None
    return over_rounds((encode.mean(axis=1) * MS_PER_SECOND).tolist(), is_positive=True)


def context_seconds(point: Point) -> float:
    """How much audio a block's passes see of the past."""
    return audio_seconds_of(point, point.workload.context_frames)


def audio_seconds_of(point: Point, frames: float) -> float:
    return frames * point.workload.samples_per_frame / point.workload.sample_rate_hz


def attention_seconds(point: Point) -> Fitted | None:
    """All attention of a block's steps."""
    return mean_seconds(point, lambda visit: visit.attention_ms)


@dataclass(frozen=True)
class Growth:
    """How one time grows over the context sweep. ``seconds`` are the sizes as audio."""

    words: str
    is_part: bool
    seconds: tuple[float, ...]
    exponents: tuple[Fitted, ...]
    floor: FloorFit


def growths(view: View, scheme: str) -> tuple[Growth, ...]:
    """The block's growth, and its encode's where there is one; none without two sizes.

    Outpainting runs context and block through the same layers, so its size is their sum.
    """
    points = view.points_of(scheme, "context")
    is_window = scheme == "outpaint"
    frames = [
        one.workload.context_frames + (one.workload.block_frames if is_window else 0)
        for one in points
    ]
    rounds = view.rounds(points)
    if len(points) < 2 or len(set(frames)) < len(frames) or frames[0] <= 0 or not rounds:
        return ()
    seconds = tuple(audio_seconds_of(one, size) for one, size in zip(points, frames, strict=True))
    words = "context + block" if is_window else "context"

    def growth(part: str, times: Floats, is_part: bool) -> Growth:
        floor = floor_power_law(frames, times, view.record.settings.seed)
        return Growth(part, is_part, seconds, local_exponents(frames, times), floor)

    found = [growth(f"block, by {words}", view.service_seconds(points), False)]
    encode = view.encode_seconds(points)
    if not np.isnan(encode).any() and encode.min() > 0:
        found.append(growth("encode alone", encode, True))
    return tuple(found)
