"""Whether one side of a comparison drops out more often than the other, by exact tests.

A dropout is what a listener hears; its misses come in runs. So dropouts are judged, as events at
random instants of the hours played, and the test of the misses is told beside.
"""

import math
from dataclasses import dataclass
from typing import Literal

from scipy import stats

from lmdm_bench.compare_record import Misses
from lmdm_bench.estimates import CONFIDENCE
from lmdm_bench.record import Estimate

RATIO_METHOD = "exact, of a share of events"
# Where this many events are expected, none is seen in 5 % of cases.
EVENTS_OF_NONE = -math.log(1 - CONFIDENCE)


@dataclass(frozen=True)
class DropoutTest:
    """Dropouts in a playing hour on both sides, and b ÷ a with its exact interval.

    ``p`` is the chance of rates as far apart as these if both sides were alike; None where neither
    side had a dropout, or one did not play. ``reasons`` are sentences.
    """

    verdict: Literal["SAME", "MORE", "LESS", "AMBIGUOUS"]
    a_per_hour: float | None
    b_per_hour: float | None
    ratio: Estimate
    p: float | None
    reasons: tuple[str, ...]


def dropout_test(a: Misses, b: Misses) -> DropoutTest:
    """MORE or LESS where p is at most 0.05; SAME only where neither side had a dropout."""
    hours = min(a.playing_hours, b.playing_hours)
    if hours <= 0:
        reason = "On one of the sides no block was due."
        return DropoutTest("AMBIGUOUS", None, None, _ratio(a, b), None, (reason,))
    a_per_hour, b_per_hour = (one.num_dropouts / one.playing_hours for one in (a, b))
    if a.num_dropouts + b.num_dropouts == 0:
        most = f"{EVENTS_OF_NONE / hours:.2g}"
        reason = f"Neither side had a dropout: fewer than {most} an hour, with 95 % confidence."
        return DropoutTest("SAME", 0.0, 0.0, _ratio(a, b), None, (reason,))
    p = _p_of_dropouts(a, b)
    verdict: Literal["MORE", "LESS"] = "MORE" if b_per_hour > a_per_hour else "LESS"
    reasons = (
        f"{a.num_dropouts} dropouts in {a.playing_hours:.2g} h, {b.num_dropouts} in "
        f"{b.playing_hours:.2g} h: p = {p:.2g} if both sides are alike.",
        f"{a.num_misses} of {a.num_due} blocks missed, {b.num_misses} of {b.num_due}: "
        f"p = {_p_of_misses(a, b):.2g} if misses came one by one.",
    )
    is_clear = p <= 1 - CONFIDENCE
    return DropoutTest(
        verdict if is_clear else "AMBIGUOUS", a_per_hour, b_per_hour, _ratio(a, b), p, reasons
    )


def _p_of_dropouts(a: Misses, b: Misses) -> float:
    """If both sides are alike, each dropout falls on b with b's part of the hours."""
    part = b.playing_hours / (a.playing_hours + b.playing_hours)
    test = stats.binomtest(b.num_dropouts, a.num_dropouts + b.num_dropouts, part)
    return float(test.pvalue)


def _p_of_misses(a: Misses, b: Misses) -> float:
    """Fisher's exact test of the blocks that were late among those that were due."""
    table = [[one.num_misses, one.num_due - one.num_misses] for one in (a, b)]
    return float(stats.fisher_exact(table).pvalue)


def _ratio(a: Misses, b: Misses) -> Estimate:
    """b's rate ÷ a's: the odds of b's share of all dropouts, for the hours that each played."""
    num = a.num_dropouts + b.num_dropouts
    if a.num_dropouts == 0 or min(a.playing_hours, b.playing_hours) <= 0:
        return Estimate(None, None, num, RATIO_METHOD, "side a had no dropouts")
    share = stats.binomtest(b.num_dropouts, num).proportion_ci(CONFIDENCE, method="exact")
    value, low, high = (
        part / (1 - part) * a.playing_hours / b.playing_hours if part < 1 else math.inf
        for part in (b.num_dropouts / num, share.low, share.high)
    )
    return Estimate(value, (low, high), num, RATIO_METHOD, None)
