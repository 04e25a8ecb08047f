"""What one cell's times say about a change, quantity by quantity, and what casts doubt on it.

By the interval of its effect (``compare_effect.py``) alone, a quantity is SLOWER above the
threshold, FASTER below it, SAME within, else AMBIGUOUS. It is doubtful where the machine was not
the same for both sides, where the clock explains it, and where it was not found again.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lmdm_bench.compare_effect import (
    P99_PROBABILITY,
    PRIOR_RECORD_SD,
    Effect,
    effect,
    p99_effect,
)
from lmdm_bench.compare_record import (
    CANARY,
    DRIFT_CONTROLS,
    CompareCell,
    CompareSettings,
    Process,
    Source,
    Times,
)
from lmdm_bench.estimates import CONFIDENCE, needed_blocks
from lmdm_bench.format import NBSP
from lmdm_bench.gate import thresholds_of
from lmdm_bench.ratio_change import change, percent_more

TimeVerdict = Literal["SAME", "FASTER", "SLOWER", "AMBIGUOUS"]

TIME = "time"
STAGE = "stage "  # and the stage's name
P99 = "p99"

# A stage is judged that takes such a share of a's time, or adds (or saves) such a share of it.
LEAST_SHARE = 0.05
LEAST_CONTRIBUTION = 0.01
# Of all intervals, so many lie above the truth.
TAIL = (1 - CONFIDENCE) / 2


@dataclass(frozen=True)
class Timed:
    """One quantity: "time", "stage NAME" or "p99".

    ``a_ms`` and ``b_ms`` are the first run's medians (or percentiles; None where there are too few
    samples). Where an effect cannot be told, the reason stands in its place. ``confirming`` is None
    where nothing was measured again, ``cycles`` where there is no canary; ``drift`` is the control
    that moved most, and its name. ``share`` is the part of the cell's time on side a.
    """

    quantity: str
    a_ms: float | None
    b_ms: float | None
    threshold: float
    first: Effect | str
    confirming: Effect | str | None
    cycles: Effect | str | None
    drift: tuple[str, Effect] | None
    share: float | None
    num_pairs: int
    num_processes: int

    @property
    def verdict(self) -> TimeVerdict:
        """By the first run's interval alone."""
        return _verdict(self.first, self.threshold)

    @property
    def is_found(self) -> bool:
        """Whether the first run's interval shows a difference."""
        return self.verdict in ("SLOWER", "FASTER")

    @property
    def contribution_ms(self) -> float | None:
        """What it adds to a sample's time: a's median × (effect − 1)."""
        if self.a_ms is None or self.b_ms is None:
            return None
        if isinstance(self.first, str):
            return self.b_ms - self.a_ms
        return self.a_ms * (self.first.ratio - 1)

    @property
    def p(self) -> float | None:
        """The chance to come this far beyond the threshold from within it.

        Of a difference that was measured again, the chance that it was found at all, and then found
        again as clearly.
        """
        if isinstance(self.first, str):
            return None
        is_slower = self.first.ratio > 1
        if self.is_found and isinstance(self.confirming, Effect):
            return TAIL * self.confirming.p_beyond(self.threshold, is_slower=is_slower)
        return self.first.p_beyond(self.threshold, is_slower=is_slower)


def timed(cell: CompareCell, settings: CompareSettings) -> tuple[Timed, ...]:
    """A cell's time, those of its stages that matter (what adds most comes first), and its p99."""
    drift = _drift(cell, settings)
    whole = _timed(cell, TIME, settings, drift)
    stages = [
        _timed(cell, STAGE + name, settings, drift)
        for name in dict.fromkeys(name for one in first_run(cell) for name in one.stages)
    ]
    stages = [one for one in stages if _matters(one, whole)]
    stages.sort(key=lambda one: -abs(one.contribution_ms or 0.0))
    return (whole, *stages, _timed(cell, P99, settings, drift))


def first_run(cell: CompareCell) -> list[Process]:
    """The processes that measured the cell before anything was known of it."""
    return [one for one in cell.processes if not one.is_confirming]


def confirming_run(cell: CompareCell) -> list[Process]:
    """The processes that measured it again, since the first had found a difference."""
    return [one for one in cell.processes if one.is_confirming]


def has_doubts(one: Timed) -> bool:
    """Whether measuring again would not help: the drift or the clock would stay in doubt."""
    return any((_drift_doubt(one), _clock_doubt(one)))


def judged(one: Timed, source: Source) -> tuple[TimeVerdict, tuple[str, ...]]:
    """The verdict with all doubts of the cell itself, and its reasons: sentences, at least one."""
    doubts = [doubt for doubt in (_drift_doubt(one), _clock_doubt(one)) if doubt]
    notes = []
    if one.is_found and source == "records":
        notes = [_of_records(one)]
    elif one.is_found and not doubts:
        is_confirmed, note = _again(one)
        (notes if is_confirmed else doubts).append(note)
    verdict = "AMBIGUOUS" if doubts else one.verdict
    return verdict, (_words(one), *doubts, *notes)


def can_be_slower(one: Timed) -> bool:
    """Whether b may be slower by more than the threshold, for all that the first run tells.

    Not where the interval ends below it, and neither the drift nor the clock casts doubt on that.
    """
    if isinstance(one.first, str) or has_doubts(one):
        return True
    return one.first.ci95[1] > 1 + one.threshold


def _timed(
    cell: CompareCell,
    quantity: str,
    settings: CompareSettings,
    drift: tuple[str, Effect] | None,
) -> Timed:
    first, is_paired = first_run(cell), settings.is_paired
    times = _times(first, quantity)
    again = _times(confirming_run(cell), quantity)
    cycles = [] if quantity == P99 else _in_cycles(first, quantity, is_paired)
    find = p99_effect if quantity == P99 else effect
    a_ms, b_ms = ([ms for one in times for ms in side(one)] for side in (_a, _b))
    whole_ms = sum(sum(one.service.a_ms) for one in first)
    return Timed(
        quantity=quantity,
        a_ms=_centre(a_ms, quantity),
        b_ms=_centre(b_ms, quantity),
        threshold=thresholds_of(settings.gate, cell)[0],
        first=find(times, is_paired),
        confirming=find(again, is_paired) if again else None,
        cycles=effect(cycles, is_paired) if cycles else None,
        drift=drift,
        share=sum(a_ms) / whole_ms if quantity.startswith(STAGE) and whole_ms else None,
        num_pairs=min(len(a_ms), len(b_ms)),
        num_processes=min(sum(bool(side(one)) for one in times) for side in (_a, _b)),
    )


def _centre(times_ms: Sequence[float], quantity: str) -> float | None:
    probability = P99_PROBABILITY if quantity == P99 else 0.5
    if not times_ms or (quantity == P99 and len(times_ms) < needed_blocks(probability)):
        return None
    return float(np.quantile(times_ms, probability))


def _times(processes: Iterable[Process], quantity: str) -> list[Times]:
    """A quantity's times in each process that has it."""
    if not quantity.startswith(STAGE):
        return [one.service for one in processes]
    name = quantity.removeprefix(STAGE)
    return [one.stages[name] for one in processes if name in one.stages]


def _matters(stage: Timed, whole: Timed) -> bool:
    added_ms = abs(stage.contribution_ms or 0.0)
    is_much = added_ms >= LEAST_CONTRIBUTION * (whole.a_ms or math.inf)
    return is_much or (stage.share or 0.0) >= LEAST_SHARE


# --- the clock and the drift ---------------------------------------------------


def _in_cycles(processes: Sequence[Process], quantity: str, is_paired: bool) -> list[Times]:
    """A quantity's times in units of the canary beside them: of each pair's own, or of a median."""

    def cycles(times_ms: Sequence[float], canary_ms: Sequence[float]) -> tuple[float, ...]:
        clock = np.asarray(canary_ms) if is_paired else np.median(canary_ms)
        return tuple(np.asarray(times_ms) / clock)

    found = []
    for one in processes:
        canary = one.controls.get(CANARY)
        if canary is None or not all(side and min(side) > 0 for side in (canary.a_ms, canary.b_ms)):
            continue
        found += [
            Times(cycles(times.a_ms, canary.a_ms), cycles(times.b_ms, canary.b_ms))
            for times in _times([one], quantity)
        ]
    return found


def _drift(cell: CompareCell, settings: CompareSettings) -> tuple[str, Effect] | None:
    """The control that moved most, in the first run or when it was measured again."""
    threshold = thresholds_of(settings.gate, cell)[0]
    found = []
    for processes in (first_run(cell), confirming_run(cell)):
        for name in DRIFT_CONTROLS:
            times = [one.controls[name] for one in processes if name in one.controls]
            control = effect(times, settings.is_paired)
            if isinstance(control, Effect):
                found.append((name, control))

    def how_far(one: tuple[str, Effect]) -> tuple[bool, float]:
        return _has_moved(one[1], threshold), abs(math.log(one[1].ratio))

    return max(found, key=how_far, default=None)


def _has_moved(control: Effect, threshold: float) -> bool:
    low, high = control.ci95
    return abs(math.log(control.ratio)) > math.log1p(threshold) / 2 and not low <= 1 <= high


def _drift_doubt(one: Timed) -> str | None:
    if one.drift is None or not _has_moved(one.drift[1], one.threshold):
        return None
    name, control = one.drift
    return (
        f"The machine drifted: the {name}, fixed work that the change does not touch, "
        f"moved by {change(control.estimate)}."
    )


def _clock_doubt(one: Timed) -> str | None:
    """A difference has to be there in cycles too; sameness may not hide one."""
    if not isinstance(one.cycles, Effect):
        return None
    low, high = one.cycles.ci95
    told = f"in cycles of the canary it is {change(one.cycles.estimate)}."
    if (one.verdict == "SLOWER" and low <= 1) or (one.verdict == "FASTER" and high >= 1):
        return f"The clock may be the reason: {told}"
    if one.verdict == "SAME" and _verdict(one.cycles, one.threshold) in ("SLOWER", "FASTER"):
        return f"The clock may hide a difference: {told}"
    return None


# --- the interval, and what confirms it ----------------------------------------


def _verdict(found: Effect | str, threshold: float) -> TimeVerdict:
    if isinstance(found, str):
        return "AMBIGUOUS"
    low, high = found.ci95
    if low > 1 + threshold:
        return "SLOWER"
    if high < 1 / (1 + threshold):
        return "FASTER"
    is_within = 1 / (1 + threshold) <= low and high <= 1 + threshold
    return "SAME" if is_within else "AMBIGUOUS"


def _words(one: Timed) -> str:
    """What the interval says, in a sentence."""
    if isinstance(one.first, str):
        return f"It cannot be told: {one.first}."
    borders = 1 / (1 + one.threshold), 1 + one.threshold
    below, above = (f"{percent_more(border)}{NBSP}%" for border in borders)
    if one.verdict == "SLOWER":
        return f"The whole interval is above {above}."
    if one.verdict == "FASTER":
        return f"The whole interval is below {below}."
    if one.verdict == "SAME":
        return f"The whole interval is within {below} and {above}."
    low, high = one.first.ci95
    crossed = [
        told for told, border in zip((below, above), borders, strict=True) if low <= border <= high
    ]
    needed = one.first.needed_pairs(one.threshold)
    help_is = (
        "more processes might tell, more pairs hardly"
        if needed is None
        else f"about {needed} pairs would probably tell"
    )
    is_not_slower = ", so it is not slower;" if high <= 1 + one.threshold else ";"
    return f"The interval reaches across {' and '.join(crossed)}{is_not_slower} {help_is}."


def _again(one: Timed) -> tuple[bool, str]:
    """Whether the confirming run alone shows a difference that way, larger than the threshold."""
    if one.confirming is None:
        return False, "Not confirmed: it was not measured again."
    if isinstance(one.confirming, str):
        return False, f"Not confirmed: the second measurement {one.confirming}."
    low, high = one.confirming.ci95
    ratio, border = one.confirming.ratio, 1 + one.threshold
    if one.verdict == "SLOWER":
        is_confirmed = low > 1 and ratio > border
    else:
        is_confirmed = high < 1 and ratio < 1 / border
    word = "Confirmed" if is_confirmed else "Not confirmed"
    return is_confirmed, f"{word}: measured again, it is {change(one.confirming.estimate)}."


def _of_records(one: Timed) -> str:
    if one.num_processes > 1:
        rests = f"{one.num_processes} processes on each side, which confirm each other"
    else:
        allowance = f"{100 * PRIOR_RECORD_SD:g}{NBSP}%"
        rests = (
            "one process on each side, and takes it that two runs of the same code differ "
            f"by about {allowance}"
        )
    return f"Records cannot be measured again: the interval rests on {rests}."


def _a(times: Times) -> tuple[float, ...]:
    return times.a_ms


def _b(times: Times) -> tuple[float, ...]:
    return times.b_ms
