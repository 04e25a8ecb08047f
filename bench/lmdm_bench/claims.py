"""The paper's claims about cost: text, formula and test of each; a new claim is one entry.

``judge`` turns a record into verdicts. Symbols are the paper's: s frames of context, o frames of a
block, K steps; E and D are the cost of frames through an encoder and through a decoder. How a
number becomes a verdict is in ``claim_tests.py``.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Literal

import numpy as np

from lmdm_bench import format
from lmdm_bench.claim_tests import (
    FLOOR_FACTOR,
    Evidence,
    Finding,
    Floats,
    NotIdentifiable,
    Region,
    Swept,
    Verdict,
    View,
    above_bound,
    bend,
    decide,
    encode_of,
    evidence,
    flatness,
    growth,
    intercept_in_encodes,
    intercept_in_units,
    is_measured,
    measured_bytes,
    overall,
    paired_ratio,
    quotient,
    sentence,
    swept,
    verdict_confidence,
)
from lmdm_bench.claims_record import ClaimsRecord, Point, Sweep
from lmdm_bench.fits import (
    ClaimModel,
    Fitted,
    claim_model,
    floor_power_law,
    local_exponents,
    over_rounds,
)
from lmdm_bench.record import Footprint, Workload

DIFFUSION_SCHEMES = ("outpaint", "encoder-decoder", "block-causal")
LMM_SCHEMES = ("lmm-encoder-decoder", "lmm-frame-wise")

# --- Where a claim holds: what would still be called so in practice ---------------------------

# A quadratic cost bends by 4 and more over 16 times the steps; caches and clocks make up a tenth.
STRAIGHT: Region = (1 / 1.2, 1.2)
# Levels span little, so their halves lie near: a quadratic cost bends by 2 there.
STRAIGHT_OVER_LEVELS: Region = (1 / 1.5, 1.5)
# Nobody would name an intercept of half a step: a block has at least 2 of them.
NO_INTERCEPT: Region = (-0.5, 0.5)
# Nor one of a frame: the shortest block of an LMM that is measured has six.
NO_INTERCEPT_IN_FRAMES: Region = (-1.0, 1.0)
# Beside the encode, the intercept holds the commit and the harness: a quarter of it at most.
ONE_ENCODE: Region = (0.75, 1.25)
# Linear is 1 and flat 0. A floor may still hide a part of the growth at the sizes measured.
GROWS: Region = (0.25, None)
# Context rows in a step would make it several times dearer; longer caches displace a little.
IS_FLAT: Region = (None, 1.2)
IS_LOWER: Region = (None, 1.0)
# FLOPs know nothing of how well a size suits the machine.
RATIO_TOLERANCE = 1.15
AGREES: Region = (1 / RATIO_TOLERANCE, RATIO_TOLERANCE)
# The issue's own figure.
MEMORY_AGREES: Region = (0.9, 1.1)

# The paper's step counts after and before its post-training (Table 1).
PAPER_STEPS = 8
LONG_STEPS = 50

# What laptop GPUs are sold with, in units of 10⁹ bytes: the difference to 2³⁰ is about what driver
# and screen hold.
LAPTOP_VRAM_GB = (4, 6, 8, 12, 16)
BYTES_PER_GB = 1e9
BYTES_PER_MB = 1e6
# In GB less than this has no figure among the first two decimals.
_LEAST_TOLD_IN_GB = 0.01 * BYTES_PER_GB

MS_PER_SECOND = 1e3
NS_PER_SECOND = 1e9


@dataclass(frozen=True)
class Claim:
    """One claim: ``test`` finds the numbers it rests on, ``explain`` tells more in sentences."""

    number: int
    title: str
    text: str
    formula: str
    source: str
    test: Callable[[View], tuple[Evidence, ...]]
    explain: Callable[[View], tuple[str, ...]] = lambda view: ()


@dataclass(frozen=True)
class Judgement:
    """What a record says of one claim. ``confidence`` is that of the findings' bounds."""

    claim: Claim
    verdict: Verdict
    findings: tuple[Finding, ...]
    confidence: float
    view: View = field(repr=False, compare=False)

    @cached_property
    def explanation(self) -> tuple[str, ...]:
        """Plain sentences: each finding, then what explains them. Made when first asked for."""
        return (*(sentence(one) for one in self.findings), *self.claim.explain(self.view))


def judge(record: ClaimsRecord, claims: tuple[Claim, ...] | None = None) -> tuple[Judgement, ...]:
    """Each claim's verdict; the findings of all of them share the risk of a false one."""
    view = View(record)
    tested = [(claim, claim.test(view)) for claim in (CLAIMS if claims is None else claims)]
    count = sum(one.fitted is not None for _, found in tested for one in found)
    confidence = verdict_confidence(count)
    judgements = []
    for claim, found in tested:
        findings = tuple(decide(one, confidence) for one in found)
        judgements.append(Judgement(claim, overall(findings), findings, confidence, view))
    return tuple(judgements)


# --- 1: outpainting ---------------------------------------------------------------------------


def window_frames(point: Point) -> float:
    """Context and block."""
    return float(point.workload.context_frames + point.workload.block_frames)


def context_frames(point: Point) -> float:
    return float(point.workload.context_frames)


def _test_outpaint(view: View) -> tuple[Evidence, ...]:
    return (
        bend(view, "outpaint", "steps", STRAIGHT),
        intercept_in_units(view, "outpaint", "steps", NO_INTERCEPT, "steps"),
        growth(
            view,
            "outpaint",
            GROWS,
            size_of=window_frames,
            seconds_of=_block_seconds,
            what="exponent of time in context + block, at the largest",
        ),
    )


def _explain_outpaint(view: View) -> tuple[str, ...]:
    return _growth_words(
        view, "outpaint", "frames of context + block", window_frames, _block_seconds
    )


# --- 2: encoder-decoder -----------------------------------------------------------------------


def _test_encoder_decoder(view: View) -> tuple[Evidence, ...]:
    scheme = "encoder-decoder"
    return (
        bend(view, scheme, "steps", STRAIGHT),
        intercept_in_encodes(view, scheme, "steps", ONE_ENCODE),
        _encode_growth(view, scheme),
        flatness(view, scheme, IS_FLAT, _encoder_decoder_step),
    )


def _encoder_decoder_step(given: Swept) -> Floats:
    """Seconds of one step without its attention: what is left of a block after its encode."""
    return (given.after_encode - given.attention) / _steps_of(given)


def _explain_encoder_decoder(view: View) -> tuple[str, ...]:
    return _growth_words(
        view, "encoder-decoder", "context frames, of the encode", context_frames, encode_of
    )


# --- 3: block-causal --------------------------------------------------------------------------


def _test_block_causal(view: View) -> tuple[Evidence, ...]:
    pairs = {
        one.workload.steps: (one, _twin(view, one, "encoder-decoder"))
        for one in view.points_of("block-causal", "steps")
    }
    steps = sorted({PAPER_STEPS, LONG_STEPS, *(one for one in pairs if one is not None)})

    def ratio(count: int) -> Fitted:
        pair = pairs.get(count)
        if pair is None:
            raise NotIdentifiable(
                f"not measured at {steps_words(count)}; {view.why_missing('block-causal', 'steps')}"
            )
        if pair[1] is None:
            raise NotIdentifiable(
                f"encoder-decoder was not measured at {steps_words(count)}; "
                f"{view.why_missing('encoder-decoder', 'steps')}"
            )
        return paired_ratio(view, pair[0], pair[1])

    return (
        flatness(view, "block-causal", IS_FLAT, _block_causal_step),
        *(
            evidence(
                f"block-causal ÷ encoder-decoder, time at {steps_words(count)}",
                "",
                IS_LOWER,
                partial(ratio, count),
            )
            for count in steps
        ),
    )


def _block_causal_step(given: Swept) -> Floats:
    """Seconds of one step without attention, the first step's second block of rows shared out:
    they are as many at each context."""
    return (given.seconds - given.attention) / _steps_of(given)


def _explain_block_causal(view: View) -> tuple[str, ...]:
    told = list(
        _growth_words(view, "block-causal", "context frames", context_frames, _block_seconds)
    )
    try:
        given = swept(view, "block-causal", "context")
        share = given.attention / given.seconds
    except NotIdentifiable:
        return tuple(told)
    if not np.isnan(share).any():
        first, last = np.median(share, axis=0)[[0, -1]]
        told.append(
            f"Attention is {format.share(float(first))} of block-causal's time at "
            f"{given.sizes[0]:g} context frames and {format.share(float(last))} at "
            f"{given.sizes[-1]:g}."
        )
    return tuple(told)


# --- 4: LMMs ----------------------------------------------------------------------------------


def _test_lmm(view: View) -> tuple[Evidence, ...]:
    scheme = "lmm-encoder-decoder"
    found = [
        bend(view, scheme, "tokens", STRAIGHT),
        bend(view, scheme, "levels", STRAIGHT_OVER_LEVELS),
        intercept_in_encodes(view, scheme, "tokens", ONE_ENCODE),
        _encode_growth(view, scheme),
    ]
    frame_wise = "lmm-frame-wise"
    if frame_wise in view.main_models:  # not the paper's LMM: tested where it was asked for
        points = view.points_of(frame_wise, "tokens")
        tokens_per_frame = (points[0].workload.num_levels or 1) if points else 1
        found += [
            bend(view, frame_wise, "tokens", STRAIGHT),
            intercept_in_units(
                view, frame_wise, "tokens", NO_INTERCEPT_IN_FRAMES, "frames", tokens_per_frame
            ),
        ]
    return tuple(found)


def _explain_lmm(view: View) -> tuple[str, ...]:
    return _growth_words(
        view, "lmm-encoder-decoder", "context frames, of the encode", context_frames, encode_of
    )


# --- 5: ratios between schemes ----------------------------------------------------------------

# Of one block: what each coefficient of the claim model is multiplied by.
MODEL_TERMS: dict[str, Callable[[Point], float]] = {
    "c0": lambda one: 1.0,
    "cE": lambda one: float(one.cost.encode_rows),
    "cD": lambda one: float(one.cost.step_rows),
    "cA": lambda one: float(one.cost.attention_pairs),
    "cS": lambda one: float(one.cost.sequential_steps),
}
# What a pass costs whatever it does, and what a block costs beside its passes.
LAUNCH_TERMS = ("c0", "cS")

Cause = Literal["bandwidth", "launches", "compute", "nothing known"]
_CAUSE_WORDS: dict[Cause, str] = {
    "bandwidth": "the bound explains it: passes of few rows wait for their weights (bandwidth)",
    "launches": "what a pass costs whatever it does explains it (launches)",
    "compute": "the claim model explains it: rows or pairs of one scheme run at another rate than "
    "those of the other (compute)",
    "nothing known": "neither bound, launches nor claim model explains it",
}
_PAIRS = (
    ("encoder-decoder", "outpaint"),
    ("block-causal", "outpaint"),
    ("block-causal", "encoder-decoder"),
)


@dataclass(frozen=True)
class RatioRow:
    """Two diffusion schemes at one size: the measured ratio of their times and predicted ones.

    ``workload`` is that of ``scheme``. ``cause`` says what explains a measured ratio that is not
    that of the FLOPs within RATIO_TOLERANCE; it is None where they agree. ``model_ratio`` is that
    of the fitted claim model, None where it does not reach this point.
    """

    scheme: str
    other: str
    workload: Workload
    measured: Fitted
    flops_ratio: float
    bound_ratio: float
    model_ratio: float | None
    cause: Cause | None


def fitted_points(view: View) -> tuple[Point, ...]:
    """The points of the claim model: the diffusion schemes' main model over all its sweeps."""
    model, sweeps = _diffusion_model(view), _MODEL_SWEEPS
    points = [
        one
        for scheme in DIFFUSION_SCHEMES
        for sweep in sweeps
        for one in view.points_of(scheme, sweep, model)
    ]
    return tuple({one.workload: one for one in points}.values())


_MODEL_SWEEPS: tuple[Sweep, ...] = ("steps", "context", "block")


def fit_claim_model(view: View) -> ClaimModel | None:
    """t = c0 + cE·E + cD·K·D + cA·pairs + cS·steps over ``fitted_points``.

    None where no round visited them all; a term that is 0 at each of them is left out.
    """
    points = fitted_points(view)
    if not view.rounds(points):
        return None
    terms = {name: [count(one) for one in points] for name, count in MODEL_TERMS.items()}
    present = {name: counts for name, counts in terms.items() if any(counts)}
    return claim_model(present, view.service_seconds(points), view.record.settings.seed)


def ratio_rows(view: View) -> tuple[RatioRow, ...]:
    """All pairs of diffusion schemes at each size that a round visited in both.

    Sorted by pair, then by model, context, block and steps.
    """
    model, main = fit_claim_model(view), _diffusion_model(view)
    rows = []
    for scheme, other in _PAIRS:
        for one, two in _twins(view, scheme, other):
            if view.rounds((one, two)):
                is_fitted = model is not None and one.workload.model == main
                rows.append(_ratio_row(view, one, two, model if is_fitted else None))
    return tuple(rows)


def _ratio_row(view: View, one: Point, two: Point, model: ClaimModel | None) -> RatioRow:
    seconds = view.service_seconds((one, two))
    measured = over_rounds((seconds[:, 0] / seconds[:, 1]).tolist(), is_positive=True)
    model_ratio = None
    if model is not None and model.coefficients:
        model_ratio = _model_seconds(model, one) / _model_seconds(model, two)
    return RatioRow(
        scheme=one.workload.scheme,
        other=two.workload.scheme,
        workload=one.workload,
        measured=measured,
        flops_ratio=_flops_ratio(one, two),
        bound_ratio=one.cost.bound_ms / two.cost.bound_ms,
        model_ratio=model_ratio,
        cause=_cause(measured.value, one, two, model),
    )


def _cause(measured: float, one: Point, two: Point, model: ClaimModel | None) -> Cause | None:
    """What explains a ratio: a bound only where the times are near it, then launches, then rates.

    Launches it is where the fitted ones make up most of either time, or where most of the way to
    the ratio of FLOPs is gone without them.
    """
    flops_ratio = _flops_ratio(one, two)
    if _agrees(measured, flops_ratio):
        return None
    is_near_bound = max(above_bound(one), above_bound(two)) <= FLOOR_FACTOR
    if is_near_bound and _agrees(measured, one.cost.bound_ms / two.cost.bound_ms):
        return "bandwidth"
    if model is None or not model.coefficients:
        passes = one.cost.sequential_steps / two.cost.sequential_steps
        return "launches" if not is_near_bound and _agrees(measured, passes) else "nothing known"
    whole = [_model_seconds(model, point) for point in (one, two)]
    if not _agrees(measured, whole[0] / whole[1]):
        return "nothing known"
    work = [_model_seconds(model, point, LAUNCH_TERMS) for point in (one, two)]
    if any(2 * part < all_of_it for part, all_of_it in zip(work, whole, strict=True)):
        return "launches"
    away, left = (abs(math.log(a / b / flops_ratio)) for a, b in (whole, work))
    return "launches" if left < away / 2 else "compute"


def _model_seconds(model: ClaimModel, point: Point, left_out: tuple[str, ...] = ()) -> float:
    return math.fsum(
        fitted.value * MODEL_TERMS[name](point)
        for name, fitted in model.coefficients.items()
        if name not in left_out
    )


def _agrees(one: float, other: float) -> bool:
    return 1 / RATIO_TOLERANCE <= one / other <= RATIO_TOLERANCE


def _flops_ratio(one: Point, two: Point) -> float:
    return one.cost.flops_per_block / two.cost.flops_per_block


def _test_ratios(view: View) -> tuple[Evidence, ...]:
    """The ends of the context sweep and the paper's setting; ``ratio_rows`` has all sizes."""
    model = _diffusion_model(view)
    found = []
    for scheme, other in _PAIRS:
        swept_pairs = [
            (one, _twin(view, one, other)) for one in view.points_of(scheme, "context", model)
        ]
        paper = view.paper_point(scheme, PAPER_STEPS)
        chosen: dict[str, tuple[Point, Point | None]] = {}
        if swept_pairs:
            chosen["smallest context"] = swept_pairs[0]
            chosen["largest context"] = swept_pairs[-1]
        if paper is not None:
            chosen["the paper's setting"] = (paper, _twin(view, paper, other))
        if not chosen:
            found.append(_not_measured(view, f"{scheme} ÷ {other}", scheme, "context", AGREES))
        for where, (one, two) in chosen.items():
            what = f"{scheme} ÷ {other} at {_size_words(one.workload)} ({where}): "
            what += "measured ratio ÷ ratio of FLOPs"
            if two is None:
                found.append(_not_measured(view, what, other, "context", AGREES))
            else:
                found.append(evidence(what, "", AGREES, partial(_over_flops, view, one, two)))
    return tuple(found)


def _over_flops(view: View, one: Point, two: Point) -> Fitted:
    return quotient(paired_ratio(view, one, two), _flops_ratio(one, two))


def _explain_ratios(view: View) -> tuple[str, ...]:
    rows = ratio_rows(view)
    if not rows:
        return ()
    told = [_model_words(fit_claim_model(view))]
    counts = Counter(row.cause for row in rows)
    agreeing = counts.pop(None, 0)
    told.append(
        f"{agreeing} of {len(rows)} ratios agree with the FLOPs within "
        f"{format.share(RATIO_TOLERANCE - 1)}."
    )
    for cause, count in counts.most_common():
        if cause is None:
            continue
        worst = max(
            (row for row in rows if row.cause == cause),
            key=lambda row: abs(math.log(row.measured.value / row.flops_ratio)),
        )
        told.append(
            f"For {count} {_CAUSE_WORDS[cause]}. Farthest off: {_row_words(worst)}; "
            f"{_bound_words(view, worst)}."
        )
    return tuple(told)


def _row_words(row: RatioRow) -> str:
    model = "no claim model" if row.model_ratio is None else format.number(row.model_ratio)
    return (
        f"{row.scheme} ÷ {row.other} at {_size_words(row.workload)} measured "
        f"{format.number(row.measured.value)}, by FLOPs {format.number(row.flops_ratio)}, "
        f"by bounds {format.number(row.bound_ratio)}, by the claim model {model}"
    )


def _bound_words(view: View, row: RatioRow) -> str:
    """What arithmetic and bandwidth would take of each of the two, beside what was measured."""
    ceiling = view.record.ceiling
    told = []
    for scheme in (row.scheme, row.other):
        point = _at(view, scheme, row.workload)
        if point is None:
            continue
        compute_ms = point.cost.flops_per_block / ceiling.flops_per_second * MS_PER_SECOND
        bandwidth_ms = point.cost.bytes_per_block / ceiling.bytes_per_second * MS_PER_SECOND
        measured_ms = float(np.median([visit.service_ms for visit in point.visits]))
        told.append(
            f"{scheme} needs {format.number(compute_ms)} ms of compute, "
            f"{format.number(bandwidth_ms)} ms of bandwidth and "
            f"{point.cost.sequential_steps} passes, and took {format.number(measured_ms)} ms"
        )
    return "; ".join(told)


def _model_words(model: ClaimModel | None) -> str:
    if model is None:
        return "No round visited all the points of the claim model."
    if model.why_not is not None:
        return f"The claim model cannot be fitted: {model.why_not}."
    terms = ", ".join(
        f"{name} = {format.estimate(_times(model.coefficients[name], factor).estimate(), unit)}"
        for name, (unit, factor) in _TERM_UNITS.items()
        if name in model.chosen
    )
    worst = max(abs(residual) for residual in model.relative_residuals)
    left_out = [name for name in model.names if name not in model.chosen]
    without = f"; AICc leaves out {', '.join(left_out)}" if left_out else ""
    return (
        f"Claim model over {len(model.predicted)} points: {terms}{without}; the largest residual "
        f"is {format.share(worst)}."
    )


_TERM_UNITS = {
    "c0": ("ms", MS_PER_SECOND),
    "cE": ("ms a row", MS_PER_SECOND),
    "cD": ("ms a row", MS_PER_SECOND),
    "cA": ("ns a pair", NS_PER_SECOND),
    "cS": ("ms a pass", MS_PER_SECOND),
}


def _times(one: Fitted, factor: float) -> Fitted:
    """A figure that is not on a logarithmic scale, in another unit."""
    return replace(one, value=one.value * factor, standard_error=one.standard_error * factor)


# --- 6 and 8: beside an LMM -------------------------------------------------------------------

_LMDM_SCHEMES = ("encoder-decoder", "block-causal")


def _test_beside(view: View, lmm: str) -> tuple[Evidence, ...]:
    found = []
    for scheme in _LMDM_SCHEMES:
        what = f"{scheme} ÷ {lmm}, compute per second of audio at {PAPER_STEPS} steps"
        found.append(evidence(what, "", IS_LOWER, partial(_audio_ratio, view, scheme, lmm)))
    for scheme in _LMDM_SCHEMES:
        what = f"{scheme} ÷ {lmm}, memory"
        found.append(evidence(what, "", IS_LOWER, partial(_memory_ratio, view, scheme, lmm)))
    return tuple(found)


def _audio_ratio(view: View, scheme: str, lmm: str) -> Fitted:
    one, two = view.paper_point(scheme, PAPER_STEPS), view.paper_point(lmm)
    if one is None:
        raise NotIdentifiable(view.why_missing(scheme, "paper"))
    if two is None:
        raise NotIdentifiable(view.why_missing(lmm, "paper"))
    return paired_ratio(view, one, two)


def _memory_ratio(view: View, scheme: str, lmm: str) -> Fitted:
    found = []
    for name in (scheme, lmm):
        try:
            found.append(measured_bytes(view.probe_of(name)))
        except NotIdentifiable as reason:
            raise NotIdentifiable(f"{name}: {reason}") from reason
    return quotient(found[0], found[1])


def _explain_beside(view: View, lmm: str) -> tuple[str, ...]:
    """Per second of audio: what each must read, and how many passes follow each other."""
    told = []
    for scheme in (*_LMDM_SCHEMES, lmm):
        point = view.paper_point(scheme, PAPER_STEPS if scheme in DIFFUSION_SCHEMES else None)
        if point is None:
            continue
        cost, audio_seconds = point.cost, point.workload.block_seconds
        compute_ms = cost.flops_per_block / view.record.ceiling.flops_per_second * MS_PER_SECOND
        bandwidth_ms = cost.bytes_per_block / view.record.ceiling.bytes_per_second * MS_PER_SECOND
        bound = "compute" if compute_ms > bandwidth_ms else "bandwidth"
        told.append(
            f"{scheme} ({point.workload.model}, {format.millions(cost.parameters)} parameters) per "
            f"second of audio: {format.gigaflop(cost.flops_per_block / audio_seconds)}, "
            f"{_bytes_words(cost.bytes_weights / audio_seconds)} of weights read, "
            f"{format.number(cost.sequential_steps / audio_seconds)} passes one after the other; "
            f"bound by {bound} ({format.number(compute_ms / audio_seconds)} ms of compute, "
            f"{format.number(bandwidth_ms / audio_seconds)} ms of bandwidth)."
        )
    return (*told, *_beside_bound_words(view, lmm))


def _beside_bound_words(view: View, lmm: str) -> tuple[str, ...]:
    """What would be left of the ratio if the LMM ran as fast as its bound allows."""
    point = view.paper_point(lmm)
    if point is None:
        return ()
    least = point.cost.bound_ms / MS_PER_SECOND / point.workload.block_seconds
    told = []
    for scheme in _LMDM_SCHEMES:
        ours = view.paper_point(scheme, PAPER_STEPS)
        if ours is not None and view.rounds([ours]):
            measured = float(view.compute_seconds_per_audio_second([ours]).mean())
            told.append(f"{format.number(measured / least, 2)} for {scheme}")
    if not told:
        return ()
    return (
        f"{lmm} was measured at {format.number(above_bound(point), 2)} times its bound; if it ran "
        f"at its bound ({format.number(least, 2)} seconds per second of audio), the ratio of "
        f"compute would be {' and '.join(told)}.",
    )


# --- 7: memory --------------------------------------------------------------------------------


@dataclass(frozen=True)
class MemoryRow:
    """What one scheme holds. ``fits`` says for each of LAPTOP_VRAM_GB whether it is enough.

    Enough is what holds both the predicted and, where there is one, the measured peak. The measured
    one is None with the reason in ``why_not``.
    """

    scheme: str
    model: str
    parameters: int
    predicted: Footprint
    measured: Fitted | None
    why_not: str | None
    fits: dict[int, bool]


def memory_rows(view: View) -> tuple[MemoryRow, ...]:
    """One row for each scheme that was probed, or at least costed."""
    rows = []
    for scheme in (*DIFFUSION_SCHEMES, *LMM_SCHEMES):
        probe = view.probe_of(scheme)
        costed = probe or next(
            (one for one in view.record.points if one.workload.scheme == scheme), None
        )
        if costed is None:
            continue
        measured, why_not = None, None
        try:
            measured = measured_bytes(probe)
        except NotIdentifiable as reason:
            why_not = str(reason)
        footprint = costed.cost.footprint
        peak = max(float(footprint.peak_bytes), measured.value if measured else 0.0)
        rows.append(
            MemoryRow(
                scheme=scheme,
                model=costed.workload.model,
                parameters=costed.cost.parameters,
                predicted=footprint,
                measured=measured,
                why_not=why_not,
                fits={size: peak <= size * BYTES_PER_GB for size in LAPTOP_VRAM_GB},
            )
        )
    return tuple(rows)


def _test_memory(view: View) -> tuple[Evidence, ...]:
    def ratio(row: MemoryRow) -> Fitted:
        if row.measured is None:
            raise NotIdentifiable(row.why_not or "its memory was not measured")
        return quotient(row.measured, float(row.predicted.peak_bytes))

    rows = memory_rows(view)
    if not rows:
        what = "measured ÷ predicted peak memory"
        return (Evidence(what, "", MEMORY_AGREES, None, "no scheme was measured"),)
    return tuple(
        evidence(
            f"{row.scheme} ({row.model}): measured ÷ predicted peak memory",
            "",
            MEMORY_AGREES,
            partial(ratio, row),
        )
        for row in rows
    )


def _explain_memory(view: View) -> tuple[str, ...]:
    return tuple(_memory_words(row) for row in memory_rows(view))


def _memory_words(row: MemoryRow) -> str:
    one = row.predicted
    enough = [size for size, fits in row.fits.items() if fits]
    fits = f"fits into {enough[0]} GB" if enough else f"fits into none of {LAPTOP_VRAM_GB} GB"
    return (
        f"{row.scheme} ({row.model}) holds {_bytes_words(one.weight_bytes)} of weights, "
        f"{_bytes_words(one.cache_bytes)} of cache, "
        f"{_bytes_words(one.activation_bytes)} of activations and "
        f"{_bytes_words(one.workspace_bytes)} of workspace, and {fits}."
    )


# --- The list ---------------------------------------------------------------------------------

CLAIMS: tuple[Claim, ...] = (
    Claim(
        number=1,
        title="Outpainting",
        text="Outpainting's time is linear in steps with no intercept worth naming, and grows with "
        "context + block.",
        formula="O((E + D)(s + o) · K)",
        source="section 4.1; appendix, cost per block",
        test=_test_outpaint,
        explain=_explain_outpaint,
    ),
    Claim(
        number=2,
        title="Encoder-decoder",
        text="Encoder-decoder is linear in steps with an intercept that is the context encode and "
        "grows with context; its time per step does not grow with context beyond attention's "
        "share.",
        formula="O(E(s) + D(o) · K)",
        source="section 4.1; appendix, cost per block",
        test=_test_encoder_decoder,
        explain=_explain_encoder_decoder,
    ),
    Claim(
        number=3,
        title="Block-causal",
        text="Block-causal's time does not grow with context beyond attention's share, and lies "
        "below encoder-decoder's in wall-clock.",
        formula="O(E(o) + D(o) · K)",
        source="section 4.1; against Table 1",
        test=_test_block_causal,
        explain=_explain_block_causal,
    ),
    Claim(
        number=4,
        title="LMMs",
        text="LMM time is linear in the number of sequential tokens, plus one encode.",
        formula="O(E(s) + Σ D)",
        source="section 4.1; appendix, cost per block",
        test=_test_lmm,
        explain=_explain_lmm,
    ),
    Claim(
        number=5,
        title="Ratios",
        text="Measured ratios between the schemes agree with those of their FLOPs at each size.",
        formula="(E + D)(s + o) · K : E(s) + D(o) · K : E(o) + D(o) · K",
        source="section 4.1; appendix, cost per block",
        test=_test_ratios,
        explain=_explain_ratios,
    ),
    Claim(
        number=6,
        title="Beside the LMM",
        text="At equal seconds of audio both LMDM variants are cheaper than the LMM in time and "
        "memory.",
        formula="E(s) + D(o) · K < E(s) + Σ D",
        source="sections 1 and 6",
        test=partial(_test_beside, lmm="lmm-encoder-decoder"),
        explain=partial(_explain_beside, lmm="lmm-encoder-decoder"),
    ),
    Claim(
        number=7,
        title="Memory",
        text="Weights, cache, activations and workspace add up to the memory that each scheme "
        "takes; they say which fit into a laptop's 4, 6, 8, 12 or 16 GB.",
        formula="weights + cache + activations + workspace",
        source="not in the paper, which says that the LMM takes more than 40 GB",
        test=_test_memory,
        explain=_explain_memory,
    ),
    Claim(
        number=8,
        title="Beside the frame-wise LMM",
        text="At equal seconds of audio both LMDM variants are cheaper than the frame-wise LMM "
        "(Magenta RealTime 2) in time and memory.",
        formula="E(s) + D(o) · K < Σ D",
        source="not in the paper, which compares with Magenta RealTime 1 only",
        test=partial(_test_beside, lmm="lmm-frame-wise"),
        explain=partial(_explain_beside, lmm="lmm-frame-wise"),
    ),
)


# --- Shared by claims -------------------------------------------------------------------------


def _block_seconds(given: Swept) -> Floats:
    return given.seconds


def _steps_of(given: Swept) -> int:
    """The steps of a sweep that holds them fast. Raises NotIdentifiable where it does not."""
    steps = {point.workload.steps for point in given.points}
    if len(steps) != 1 or None in steps:
        raise NotIdentifiable("the sweep's points differ in steps")
    return steps.pop() or 0


def _encode_growth(view: View, scheme: str) -> Evidence:
    return growth(
        view,
        scheme,
        GROWS,
        size_of=context_frames,
        seconds_of=encode_of,
        what="exponent of the encode's time in context, at the largest",
    )


def _growth_words(
    view: View,
    scheme: str,
    words: str,
    size_of: Callable[[Point], float],
    seconds_of: Callable[[Swept], Floats],
) -> tuple[str, ...]:
    """The local exponents over the context sweep, and the power above a floor or why not."""
    try:
        given = swept(view, scheme, "context", size_of)
        seconds = seconds_of(given)
    except NotIdentifiable as reason:
        return (f"{scheme}'s growth with context cannot be told: {reason}.",)
    exponents = local_exponents(given.sizes, seconds)
    told = ", ".join(format.number(one.value, 2) for one in exponents)
    sizes = ", ".join(f"{size:g}" for size in given.sizes)
    growing = f"Local exponents of {scheme}'s time between {sizes} {words}: {told}."
    floor = floor_power_law(given.sizes, seconds, view.record.settings.seed)
    if floor.floor is None or floor.exponent is None:
        return (growing, f"Power above a floor: not told ({floor.why_not}).")
    return (
        growing,
        f"Power above a floor: exponent {format.estimate(floor.exponent.estimate())}, floor "
        f"{format.estimate(_times(floor.floor, MS_PER_SECOND).estimate(), 'ms')}.",
    )


def _diffusion_model(view: View) -> str | None:
    """The one model that the diffusion schemes are compared with: their most common main model."""
    models = Counter(
        view.main_models[scheme] for scheme in DIFFUSION_SCHEMES if scheme in view.main_models
    )
    return models.most_common(1)[0][0] if models else None


def _twins(view: View, scheme: str, other: str) -> list[tuple[Point, Point]]:
    pairs = [
        (one, _at(view, other, one.workload))
        for one in view.record.points
        if one.workload.scheme == scheme and is_measured(one)
    ]
    return sorted(
        ((one, two) for one, two in pairs if two is not None),
        key=lambda pair: _size_of(pair[0].workload),
    )


def _twin(view: View, point: Point, other: str) -> Point | None:
    """The other scheme's measured point of the same model and sizes."""
    return _at(view, other, point.workload)


def _at(view: View, scheme: str, workload: Workload) -> Point | None:
    for one in view.record.points:
        if (
            one.workload.scheme == scheme
            and is_measured(one)
            and _size_of(one.workload) == _size_of(workload)
        ):
            return one
    return None


def _size_of(workload: Workload) -> tuple[str, int, int, int]:
    return (
        workload.model,
        workload.context_frames,
        workload.block_frames,
        workload.steps or 0,
    )


def _size_words(workload: Workload) -> str:
    frames = f"{workload.context_frames} + {workload.block_frames} frames"
    return f"{frames} and {steps_words(workload.steps or 0)}"


def steps_words(count: int) -> str:
    """``1 step``, ``8 steps``."""
    return f"{count} step{'' if count == 1 else 's'}"


def _bytes_words(num_bytes: float) -> str:
    """``5.32 GB``, or ``3.1 MB`` where that reads better."""
    if 0 < num_bytes < _LEAST_TOLD_IN_GB:
        return f"{format.number(num_bytes / BYTES_PER_MB)}{format.NBSP}MB"
    return format.gigabytes(num_bytes)


def _not_measured(view: View, what: str, scheme: str, sweep: Sweep, accepted: Region) -> Evidence:
    return Evidence(what, "", accepted, None, view.why_missing(scheme, sweep))
