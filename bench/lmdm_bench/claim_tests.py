"""How a claim about cost is tested: points to look at, numbers to rest on, the verdict's rule.

A claim rests on findings. Each is one number with an interval and a region in which the claim
holds. An interval inside the region supports, one wholly outside contradicts, and any other tells
nothing. The intervals of all findings of all claims share one risk: see ``verdict_confidence``.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from lmdm_bench import format
from lmdm_bench.claims_record import ClaimsRecord, MemoryProbe, Point, Sweep, Visit
from lmdm_bench.fits import (
    MIN_ROUNDS_FOR_INTERVAL,
    Fitted,
    line,
    local_exponents,
    over_rounds,
)

Floats = npt.NDArray[np.float64]
Verdict = Literal["SUPPORTED", "CONTRADICTED", "NOT IDENTIFIABLE"]
Region = tuple[float | None, float | None]

SUPPORTED: Verdict = "SUPPORTED"
CONTRADICTED: Verdict = "CONTRADICTED"
NOT_IDENTIFIABLE: Verdict = "NOT IDENTIFIABLE"

# The risk that any finding of a run contradicts what is true, or supports what is not.
FAMILY_RISK = 0.05
# Fewer rounds say nothing of their spread.
MIN_ROUNDS = 3
# A line through fewer sizes, or over a shorter range, cannot show that it bends.
MIN_SIZES = 3
MIN_SIZE_SPAN = 3.0
# What is linear without a floor grows as its sizes do. Where times hardly grow, a floor makes up
# nearly all of them, and neither slope nor intercept tells of the work.
MIN_TIME_SPAN = 1.5
# Work runs within this factor of what arithmetic and memory bandwidth need at least. Beyond it,
# launches (or anything else that is no work) make up most of the time.
FLOOR_FACTOR = 3.0
# Flatness tells something where context rows, if there were any, would at least double the time.
CONTROL_GROWTH = 2.0
# A peak repeats no better than this: allocators round up, and pages come and go.
MEMORY_ERROR = 0.01
MIN_MEMORY_REPEATS = 2

# Ends of intervals beyond it are told as powers of ten.
FAR_OUT = 1e6

MS_PER_SECOND = 1e3


class NotIdentifiable(Exception):
    """Why a number cannot be told from this record, in words that can stand in a sentence."""


@dataclass(frozen=True)
class Evidence:
    """One number before its verdict.

    ``fitted`` is None exactly when ``why_not`` says why. ``excuse`` says why an interval outside
    the region would tell nothing of the claim either (a launch-bound machine), or is None.
    """

    what: str
    unit: str
    accepted: Region
    fitted: Fitted | None
    why_not: str | None
    excuse: str | None = None


@dataclass(frozen=True)
class Finding:
    """One number that a claim rests on, with its verdict.

    ``accepted`` is the region in which the claim holds (None: open on that side), ``bounds`` the
    interval at the confidence of verdicts, wider than the 95 % of ``fitted.estimate()``.
    ``why_not`` is there exactly when the verdict is NOT IDENTIFIABLE.
    """

    what: str
    unit: str
    accepted: Region
    fitted: Fitted | None
    bounds: tuple[float, float] | None
    verdict: Verdict
    why_not: str | None


@dataclass(frozen=True)
class View:
    """The record's points by scheme and axis, and their times as matrices [rounds, points].

    A matrix has one row for each round that visited all the points asked for, so that rows of two
    matrices of the same points belong together, and ratios within a row are paired.
    """

    record: ClaimsRecord

    @cached_property
    def main_models(self) -> dict[str, str]:
        """Each scheme's most measured model: the one that all sweeps but ``size`` hold fast."""
        schemes = dict.fromkeys(point.workload.scheme for point in self.record.points)
        counts = {
            scheme: Counter(
                point.workload.model
                for point in self.record.points
                if point.workload.scheme == scheme
            )
            for scheme in schemes
        }
        return {scheme: count.most_common(1)[0][0] for scheme, count in counts.items()}

    def points_of(self, scheme: str, sweep: Sweep, model: str | None = None) -> tuple[Point, ...]:
        """The scheme's points of a sweep that were measured, sorted by ``axis_value``.

        Without a model: those of the scheme's main model, or of all models for ``size``.
        """
        return tuple(
            sorted(
                (one for one in self._asked(scheme, sweep, model) if is_measured(one)),
                key=lambda one: axis_value(one, sweep),
            )
        )

    def paper_point(self, scheme: str, steps: int | None = None) -> Point | None:
        """The measured point at the paper's setting; ``steps`` picks one where there are more."""
        points = [
            one
            for one in self.points_of(scheme, "paper")
            if steps is None or one.workload.steps == steps
        ]
        return points[0] if points else None

    def why_missing(self, scheme: str, sweep: Sweep) -> str:
        """Why a sweep lacks points, in words: how its points ended, or that there are none."""
        asked = [one for one in self._asked(scheme, sweep, None) if not is_measured(one)]
        if not asked:
            return f"{scheme} was not measured over {SWEEP_WORDS[sweep]}"
        first = asked[0]
        why = first.reason or "no round reached it"
        return (
            f"{len(asked)} of {scheme}'s points over {SWEEP_WORDS[sweep]} were not measured "
            f"({first.status}: {why})"
        )

    def rounds(self, points: Sequence[Point]) -> tuple[int, ...]:
        """The rounds that visited all these points, in order."""
        if not points:
            return ()
        visited = [{visit.round_index for visit in point.visits} for point in points]
        return tuple(sorted(set.intersection(*visited)))

    def service_seconds(self, points: Sequence[Point]) -> Floats:
        """[rounds, points]: seconds of one block."""
        return self._seconds(points, lambda visit: visit.service_ms)

    def encode_seconds(self, points: Sequence[Point]) -> Floats:
        """[rounds, points]: seconds of the context's encoding, NaN where there is none."""
        return self._seconds(points, lambda visit: visit.context_encode_ms)

    def attention_seconds(self, points: Sequence[Point]) -> Floats:
        """[rounds, points]: seconds of all steps' self-attention, NaN where not timed."""
        return self._seconds(points, lambda visit: visit.attention_ms)

    def compute_seconds_per_audio_second(self, points: Sequence[Point]) -> Floats:
        """[rounds, points]: service time ÷ the audio that a block makes; the codec left out."""
        audio_seconds = [point.workload.block_seconds for point in points]
        return self.service_seconds(points) / np.array(audio_seconds, dtype=np.float64)

    def probe_of(self, scheme: str) -> MemoryProbe | None:
        """The scheme's memory probe: of its main model where that one succeeded, else any."""
        probes = [one for one in self.record.memory if one.workload.scheme == scheme]
        main = self.main_models.get(scheme)
        probes.sort(key=lambda one: (one.status != "OK", one.workload.model != main))
        return probes[0] if probes else None

    def _asked(self, scheme: str, sweep: Sweep, model: str | None) -> list[Point]:
        if model is None and sweep != "size":
            model = self.main_models.get(scheme)
        return [
            one
            for one in self.record.points
            if one.workload.scheme == scheme
            and sweep in one.sweeps
            and model in (None, one.workload.model)
        ]

    def _seconds(self, points: Sequence[Point], ms_of: Callable[[Visit], float | None]) -> Floats:
        rounds = self.rounds(points)
        columns = []
        for point in points:
            ms = {visit.round_index: ms_of(visit) for visit in point.visits}
            columns.append([ms[index] for index in rounds])
        matrix: Floats = np.array(columns, dtype=np.float64)  # None becomes NaN
        seconds: Floats = matrix.T.reshape(len(rounds), len(points)) / MS_PER_SECOND
        return seconds


SWEEP_WORDS: dict[Sweep, str] = {
    "steps": "steps",
    "context": "context frames",
    "block": "block frames",
    "tokens": "tokens",
    "levels": "RVQ levels",
    "size": "parameters",
    "paper": "the paper's settings",
}


def axis_value(point: Point, sweep: Sweep) -> float:
    """Where a point lies on a sweep's axis, in the unit of ``SWEEP_WORDS``.

    ``tokens`` are an LMM's evaluations; the paper's settings are ordered by their evaluations too.
    """
    workload, cost = point.workload, point.cost
    return float(
        {
            "steps": workload.steps or 0,
            "context": workload.context_frames,
            "block": workload.block_frames,
            "tokens": cost.evaluations,
            "levels": workload.num_levels or 0,
            "size": cost.parameters,
            "paper": cost.evaluations,
        }[sweep]
    )


@dataclass(frozen=True)
class Swept:
    """A sweep of one scheme as numbers: ascending sizes, and the times at them.

    ``seconds`` is [rounds, sizes] of whole blocks, ``encode`` and ``attention`` are as in ``View``.
    """

    points: tuple[Point, ...]
    sizes: tuple[float, ...]
    seconds: Floats
    encode: Floats
    attention: Floats

    @property
    def after_encode(self) -> Floats:
        """Seconds of the block without the context's encoding, where there is one."""
        return self.seconds - np.nan_to_num(self.encode)


def swept(
    view: View, scheme: str, sweep: Sweep, size_of: Callable[[Point], float] | None = None
) -> Swept:
    """The sweep over ``size_of`` (the sweep's own axis unless told).

    Raises NotIdentifiable where sizes or rounds are too few.
    """
    points = view.points_of(scheme, sweep)
    sizes = tuple(size_of(one) if size_of else axis_value(one, sweep) for one in points)
    words = SWEEP_WORDS[sweep]
    if len(sizes) < MIN_SIZES:
        raise NotIdentifiable(
            f"{len(sizes)} of the needed {MIN_SIZES} sizes; {view.why_missing(scheme, sweep)}"
        )
    if len(set(sizes)) < len(sizes):
        raise NotIdentifiable(f"two points of {scheme} over {words} have the same size")
    if max(sizes) < MIN_SIZE_SPAN * min(sizes):
        raise NotIdentifiable(
            f"{scheme}'s {words} span {max(sizes) / min(sizes):.3g}x; it takes {MIN_SIZE_SPAN:g}x"
        )
    need_rounds(view, points)
    seconds, encode = view.service_seconds(points), view.encode_seconds(points)
    return Swept(points, sizes, seconds, encode, view.attention_seconds(points))


def need_rounds(view: View, points: Sequence[Point]) -> None:
    """Raises NotIdentifiable where too few rounds visited all the points."""
    count = len(view.rounds(points))
    if count < MIN_ROUNDS:
        raise NotIdentifiable(f"{count} of the needed {MIN_ROUNDS} complete rounds")


def evidence(
    what: str,
    unit: str,
    accepted: Region,
    measure: Callable[[], Fitted],
    excuse: str | None = None,
) -> Evidence:
    """The number that ``measure`` finds, or the reason that it raises as NotIdentifiable."""
    try:
        return Evidence(what, unit, accepted, measure(), None, excuse)
    except NotIdentifiable as reason:
        return Evidence(what, unit, accepted, None, str(reason))


# --- Numbers that claims rest on -------------------------------------------------------------


def bend(view: View, scheme: str, sweep: Sweep, accepted: Region) -> Evidence:
    """How straight the time is: slope over the upper sizes ÷ slope over the lower ones.

    The context's encoding is taken off first: it is the same at all sizes, and its noise is not.
    """

    def measure() -> Fitted:
        given = swept(view, scheme, sweep)
        seconds = given.after_encode
        mean = seconds.mean(axis=0)
        if mean[-1] < MIN_TIME_SPAN * mean[0]:
            raise NotIdentifiable(
                f"a floor makes up the time: over {given.sizes[-1] / given.sizes[0]:.3g}x the "
                f"{SWEEP_WORDS[sweep]} it grew {mean[-1] / mean[0]:.3g}x"
            )
        through = line(given.sizes, seconds)
        if through.bend is None:
            raise NotIdentifiable(through.why_no_bend or "no bend")
        return through.bend

    what = f"{scheme}: slope at more {SWEEP_WORDS[sweep]} ÷ slope at fewer"
    return evidence(what, "", accepted, measure, launch_excuse(view, scheme, sweep))


def intercept_in_units(
    view: View, scheme: str, sweep: Sweep, accepted: Region, unit: str, per_unit: float = 1.0
) -> Evidence:
    """The line's time at size 0 ÷ its slope: in how many units of size it would be.

    ``per_unit`` is how many of the sweep's units make one of ``unit``.
    """

    def measure() -> Fitted:
        given = swept(view, scheme, sweep)
        slope = line(given.sizes, given.seconds).slope.value
        if slope <= 0:
            raise NotIdentifiable(f"the time does not grow with {SWEEP_WORDS[sweep]}")
        return line(given.sizes, given.seconds / (slope * per_unit)).intercept

    what = f"{scheme}: intercept over {SWEEP_WORDS[sweep]}"
    return evidence(what, unit, accepted, measure, launch_excuse(view, scheme, sweep))


def intercept_in_encodes(view: View, scheme: str, sweep: Sweep, accepted: Region) -> Evidence:
    """The line's time at size 0 ÷ the context encode that was timed in the same round.

    The line goes through what is left after the encode, so that the encode's own noise, which is
    in each block's time and in what it is divided by, does not count twice.
    """

    def measure() -> Fitted:
        given = swept(view, scheme, sweep)
        encode = encode_of(given).mean(axis=1, keepdims=True)
        left = line(given.sizes, given.after_encode / encode).intercept
        return replace(left, value=1.0 + left.value)

    what = f"{scheme}: intercept over {SWEEP_WORDS[sweep]} ÷ context encode"
    return evidence(what, "", accepted, measure, launch_excuse(view, scheme, sweep))


def growth(
    view: View,
    scheme: str,
    accepted: Region,
    *,
    size_of: Callable[[Point], float],
    seconds_of: Callable[[Swept], Floats],
    what: str,
) -> Evidence:
    """The local exponent between the two largest sizes of the context sweep.

    0 is flat, 1 is linear. ``size_of`` and ``seconds_of`` say what grows with what.
    """

    def measure() -> Fitted:
        given = swept(view, scheme, "context", size_of)
        return local_exponents(given.sizes, seconds_of(given))[-1]

    excuse = launch_excuse(view, scheme, "context")
    return evidence(f"{scheme}: {what}", "", accepted, measure, excuse)


def flatness(
    view: View, scheme: str, accepted: Region, own_seconds: Callable[[Swept], Floats]
) -> Evidence:
    """A step's own time at the largest context ÷ at the smallest.

    ``own_seconds`` is [rounds, sizes] without attention. Flat is also what is launch-bound, so the
    finding takes a control: over the same sweep a scheme that does run its context through the
    layers must have been seen to grow.
    """

    def measure() -> Fitted:
        given = swept(view, scheme, "context")
        if np.isnan(given.attention).any():
            raise NotIdentifiable("attention alone was not timed")
        own = own_seconds(given)
        if own.min() <= 0:
            raise NotIdentifiable("attention alone took longer than the steps")
        need_control(view)
        return _ratio(own[:, -1], own[:, 0])

    what = f"{scheme}: step without attention, largest ÷ smallest context"
    return evidence(what, "", accepted, measure, launch_excuse(view, scheme, "context"))


def need_control(view: View) -> None:
    """Raises NotIdentifiable unless rows of context were seen to cost time on this machine."""
    grown = {}
    for scheme, seconds_of in _CONTROLS.items():
        try:
            seconds = seconds_of(swept(view, scheme, "context"))
        except NotIdentifiable:
            continue
        grown[scheme] = _ratio(seconds[:, -1], seconds[:, 0]).interval()[0]
    if not grown:
        raise NotIdentifiable(
            "no scheme that runs its whole context through the layers was measured beside it"
        )
    if max(grown.values()) < CONTROL_GROWTH:
        told = ", ".join(f"{scheme} {least:.3g}x" for scheme, least in grown.items())
        raise NotIdentifiable(
            "launch-bound: schemes that run their whole context through the layers did not grow "
            f"{CONTROL_GROWTH:g}x either (at least: {told})"
        )


def encode_of(given: Swept) -> Floats:
    """The encode's seconds [rounds, sizes]. Raises NotIdentifiable where it was not timed."""
    if np.isnan(given.encode).any():
        raise NotIdentifiable("the context's encoding was not timed")
    return given.encode


_CONTROLS: dict[str, Callable[[Swept], Floats]] = {
    "outpaint": lambda given: given.seconds,
    "encoder-decoder": encode_of,
}


def paired_ratio(view: View, first: Point, second: Point) -> Fitted:
    """Compute seconds per audio second of the first ÷ of the second, in the same rounds.

    For blocks of the same length that is the ratio of their times.
    """
    need_rounds(view, (first, second))
    seconds = view.compute_seconds_per_audio_second((first, second))
    return _ratio(seconds[:, 0], seconds[:, 1])


def _ratio(first: Floats, second: Floats) -> Fitted:
    return over_rounds((first / second).tolist(), is_positive=True)


def measured_bytes(probe: MemoryProbe | None) -> Fitted:
    """The peak over the probe's processes. Raises NotIdentifiable where there are too few.

    A peak is no random time: processes repeat it but for what allocators round up. So its error is
    the spread of one process, MEMORY_ERROR at least, taken as known.
    """
    if probe is None:
        raise NotIdentifiable("its memory was not measured")
    if probe.status != "OK":
        raise NotIdentifiable(f"its memory was not measured ({probe.status}: {probe.reason})")
    count = len(probe.grown_bytes)
    if count < MIN_MEMORY_REPEATS or min(probe.grown_bytes) <= 0:
        raise NotIdentifiable(
            f"{count} of the needed {MIN_MEMORY_REPEATS} processes told their memory"
        )
    logs = np.log(np.asarray(probe.grown_bytes, dtype=np.float64))
    spread = max(float(logs.std(ddof=1)), MEMORY_ERROR)
    method = f"spread over {count} processes, {MEMORY_ERROR:.0%} at least"
    return Fitted(math.exp(float(logs.mean())), spread, math.inf, count, method, True)


def quotient(first: Fitted, second: Fitted | float) -> Fitted:
    """First ÷ second of two positive figures that were measured apart, or of one and a constant."""
    if isinstance(second, float):
        return replace(first, value=first.value / second)
    return replace(
        first,
        value=first.value / second.value,
        standard_error=math.hypot(first.standard_error, second.standard_error),
        degrees_of_freedom=min(first.degrees_of_freedom, second.degrees_of_freedom),
        n=min(first.n, second.n),
    )


# --- The verdict's rule ----------------------------------------------------------------------


def verdict_confidence(num_findings: int) -> float:
    """The confidence of each interval, of so many, at which FAMILY_RISK is that of them all.

    The risk is shared out evenly (Bonferroni). A false verdict takes one end of the interval, so
    each end may err with a whole share.
    """
    return 1.0 - 2.0 * FAMILY_RISK / max(num_findings, 1)


def decide(one: Evidence, confidence: float) -> Finding:
    """The evidence with its verdict: inside the region, wholly outside, or neither."""

    def finding(
        verdict: Verdict, bounds: tuple[float, float] | None, why_not: str | None
    ) -> Finding:
        return Finding(one.what, one.unit, one.accepted, one.fitted, bounds, verdict, why_not)

    if one.fitted is None:
        return finding(NOT_IDENTIFIABLE, None, one.why_not or "not measured")
    if one.fitted.n < MIN_ROUNDS_FOR_INTERVAL:
        return finding(NOT_IDENTIFIABLE, None, "one round has no interval")
    low, high = bounds = one.fitted.interval(confidence)
    least = -math.inf if one.accepted[0] is None else one.accepted[0]
    most = math.inf if one.accepted[1] is None else one.accepted[1]
    if least <= low and high <= most:
        return finding(SUPPORTED, bounds, None)
    if high >= least and low <= most:
        return finding(NOT_IDENTIFIABLE, bounds, "its interval reaches over the region's edge")
    if one.excuse is not None:
        return finding(NOT_IDENTIFIABLE, bounds, one.excuse)
    return finding(CONTRADICTED, bounds, None)


def overall(findings: Sequence[Finding]) -> Verdict:
    """One contradiction is enough; support takes them all."""
    verdicts = {finding.verdict for finding in findings}
    if CONTRADICTED in verdicts:
        return CONTRADICTED
    return SUPPORTED if verdicts == {SUPPORTED} else NOT_IDENTIFIABLE


def sentence(finding: Finding) -> str:
    """The finding in words, with its interval, its region and its verdict."""
    if finding.fitted is None:
        return f"{finding.what}: {finding.verdict} ({finding.why_not})."
    unit = f" {finding.unit}" if finding.unit else ""
    told = f"{finding.what}: {told_number(finding.fitted.value)}{unit}"
    if finding.bounds is not None:
        told += f" [{', '.join(told_number(end) for end in finding.bounds)}]"
    why_not = f" ({finding.why_not})" if finding.why_not else ""
    return f"{told}, should be {region_words(finding.accepted)}: {finding.verdict}{why_not}."


def region_words(region: Region) -> str:
    """``below 1``, ``above 0.25`` or ``0.833 to 1.2``."""
    low, high = region
    if low is None:
        return "anything" if high is None else f"below {told_number(high)}"
    if high is None:
        return f"above {told_number(low)}"
    return f"{told_number(low)} to {told_number(high)}"


def told_number(value: float) -> str:
    """Three digits; ∞ as itself, and what is far out of any region as a power of ten."""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return format.number(value) if abs(value) < FAR_OUT else f"{value:.0e}"


def launch_excuse(view: View, scheme: str, sweep: Sweep) -> str | None:
    """Says so where even the point nearest to its bound is far above what its work needs."""
    points = view.points_of(scheme, sweep)
    if not points:
        return None
    excess = min(above_bound(point) for point in points)
    if excess <= FLOOR_FACTOR:
        return None
    return (
        f"launch-bound: {scheme} takes at least {excess:.3g} times what arithmetic and memory "
        "bandwidth need, so its times tell of launches and not of work"
    )


def above_bound(point: Point) -> float:
    """How many times a measured point's bound its median time is."""
    return float(np.median([visit.service_ms for visit in point.visits])) / point.cost.bound_ms


def is_measured(point: Point) -> bool:
    """Whether the point ended well and was visited."""
    return point.status == "OK" and bool(point.visits)
