"""How verdicts, deciding numbers and rounds of a claims run are told, in every figure and text."""

from lmdm_bench import format as shown
from lmdm_bench.claim_tests import Finding, Verdict, is_measured, told_number
from lmdm_bench.claims import Judgement
from lmdm_bench.claims_record import ClaimsRecord
from lmdm_bench.fits import Fitted

# What a verdict looks like beside its word; none is the colour of a scheme.
VERDICT_SIGNS: dict[Verdict, tuple[str, str]] = {
    "SUPPORTED": ("✔", "#1E8E5A"),
    "CONTRADICTED": ("✘", "#D1442F"),
    "NOT IDENTIFIABLE": ("?", "#8A93A0"),
}


def key_finding(judgement: Judgement) -> Finding | None:
    """The first number that has the claim's own verdict: the one that decides it."""
    return next((one for one in judgement.findings if one.verdict == judgement.verdict), None)


def rounds_words(record: ClaimsRecord) -> str:
    """``n = 6 rounds``, of the points that were measured."""
    counts = [len(one.visits) for one in record.points if is_measured(one)]
    if not counts:
        return "n = 0 rounds"
    low, high = min(counts), max(counts)
    told = f"{low}" if low == high else f"{low} to {high}"
    return f"n = {told} round{'' if high == 1 else 's'}"


def told_words(told: Fitted) -> str:
    """``1.01 [0.99, 1.02]``, or the figure and that it has no interval."""
    one = told.estimate()
    value, interval = shown.value_and_interval(one)
    return f"{value} {interval if one.ci95 else '(no interval)'}".replace("-", "−")


def told_with_interval(finding: Finding) -> str:
    """``1.01 [0.998, 1.02] steps``, at 95 %; ``not told`` where there is no number."""
    if finding.fitted is None:
        return "not told"
    return f"{told_words(finding.fitted)}{f' {finding.unit}' if finding.unit else ''}"


def interval_words(ends: tuple[float, float]) -> str:
    """``[0.998, 1.02]``."""
    return f"[{told_number(ends[0])}, {told_number(ends[1])}]".replace("-", "−")
