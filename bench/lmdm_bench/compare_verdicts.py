"""What a comparison says: a verdict for each quantity of each cell, with its reasons in words.

All is arithmetic on the record. A row is judged by its own cell first (``compare_timed.py``,
``compare_dropouts.py``), then beside all others: of many rows, some differ by chance.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from scipy import stats

from lmdm_bench import format as shown
from lmdm_bench.compare_dropouts import dropout_test
from lmdm_bench.compare_effect import Effect
from lmdm_bench.compare_record import CompareCell, CompareRecord, CompareSettings, Kind, Misses
from lmdm_bench.compare_timed import (
    P99,
    STAGE,
    TIME,
    Timed,
    can_be_slower,
    first_run,
    has_doubts,
    judged,
    timed,
)
from lmdm_bench.gate import thresholds_of
from lmdm_bench.ratio_change import change
from lmdm_bench.record import Estimate

# FASTER, SLOWER and SAME are of times; MORE, LESS and SAME of exact memory and of dropouts. BROKEN:
# b no longer ends OK, and a did. ALONE: there is nothing to compare with, or not on this machine.
Verdict = Literal["SAME", "FASTER", "SLOWER", "AMBIGUOUS", "MORE", "LESS", "BROKEN", "ALONE"]
VERDICTS: tuple[Verdict, ...] = (
    "BROKEN",
    "SLOWER",
    "MORE",
    "AMBIGUOUS",
    "SAME",
    "LESS",
    "FASTER",
    "ALONE",
)
# What ``a`` and ``b`` of a row count in.
Unit = Literal["ms", "bytes", "per hour"]

DROPOUTS = "dropouts"
MEMORY = "memory "  # and the figure's name

EXIT_SAME = 0
EXIT_REGRESSION = 1
EXIT_INCONCLUSIVE = 3

# Of all differences that a table calls, so many may be chance (Benjamini and Hochberg 1995).
FALSE_SHARE = 0.05
# Of a difference's carriers, those that make up so much of it are named.
CARRYING_SHARE = 0.2
NOT_CONFIRMED = "Not confirmed: dropouts are not measured again."


@dataclass(frozen=True)
class Row:
    """One quantity of one cell, judged.

    ``quantity`` is "time", "stage NAME", "p99", "dropouts" or "memory NAME". ``a`` and ``b`` are
    medians of the first run's samples (p99: the percentiles; dropouts: how many in a playing hour;
    memory: the figures), in ``unit``. ``effect`` is b ÷ a in the first run, with its interval; its
    value is None, with the reason, where it cannot be told. ``confirming`` is the same of the
    processes that measured again. ``cycles`` is the effect with each pair's canary divided out,
    ``drift`` that of the control which moved most. ``q`` is the least share of false alarms at
    which the table would still call this a difference (Benjamini and Hochberg). ``share`` is a
    stage's part of the cell's time on side a, ``contribution_ms`` what the stage adds to a sample's
    time: a's median × (effect − 1). ``reasons`` are sentences, at least one. ``can_be_slower``: of
    an AMBIGUOUS time, whether b may be slower by more than the threshold; if not, it is as fast or
    faster, and only which of them cannot be told.
    """

    cell: str
    kind: Kind
    quantity: str
    unit: Unit
    verdict: Verdict
    a: float | None
    b: float | None
    effect: Estimate
    threshold: float
    reasons: tuple[str, ...]
    num_pairs: int = 0
    num_processes: int = 0
    confirming: Estimate | None = None
    cycles: Estimate | None = None
    drift: Estimate | None = None
    q: float | None = None
    share: float | None = None
    contribution_ms: float | None = None
    can_be_slower: bool = False

    @property
    def is_regression(self) -> bool:
        """Whether b is worse, beyond the threshold and confirmed."""
        return self.verdict in ("SLOWER", "MORE", "BROKEN")


@dataclass(frozen=True)
class Judgement:
    """The verdict on a whole comparison.

    ``rows`` are grouped by cell in the record's order; a cell's time comes first, then its stages
    by what they contribute, then tails and memory. A BROKEN or ALONE cell has its time alone.
    """

    rows: tuple[Row, ...]
    exit_code: int


def judge(record: CompareRecord) -> Judgement:
    """Every row of the comparison, and the exit code.

    1 where any row is a regression; else 3 (inconclusive) where any cell's time is AMBIGUOUS and
    may be slower, or is ALONE, where side a has cells that b has not, the run was interrupted, or
    nothing was compared; else 0. Stages and tails that are AMBIGUOUS do not make it 3: their cell's
    time has its own verdict.
    """
    tested = [one for cell in record.compared_cells for one in _tested(cell, record.settings)]
    rows = _with_carriers(_beyond_chance(tested))
    return Judgement(tuple(rows), _exit_code(rows, record.settings))


def flagged(record: CompareRecord) -> tuple[str, ...]:
    """Names of the cells that should be measured again: those whose time, or one of whose stages,
    the first run alone finds SLOWER or FASTER, where neither drift nor clock casts doubt on it.
    """
    return tuple(
        cell.name
        for cell in record.compared_cells
        if _whole_verdict(cell, record.settings) is None
        and any(
            one.is_found and one.quantity != P99 and not has_doubts(one)
            for one in timed(cell, record.settings)
        )
    )


def untold(record: CompareRecord) -> tuple[str, ...]:
    """Names of the cells that are not flagged, and whose time is AMBIGUOUS: more of it may tell."""
    found = flagged(record)
    return tuple(
        cell.name
        for cell in record.compared_cells
        if cell.name not in found
        and _whole_verdict(cell, record.settings) is None
        and judged(timed(cell, record.settings)[0], record.settings.source)[0] == "AMBIGUOUS"
    )


class _Tested(NamedTuple):
    """A row, and the chance of its difference if there were none; None where nothing is tested."""

    row: Row
    p: float | None


def _tested(cell: CompareCell, settings: CompareSettings) -> Iterator[_Tested]:
    """All rows of a cell, before the rest of the table is known."""
    whole = _whole_verdict(cell, settings)
    if whole is not None:
        yield _Tested(_whole_row(cell, settings, *whole), None)
        return
    for one in timed(cell, settings):
        yield _Tested(_time_row(cell, settings, one), one.p)
    if cell.a.misses is not None and cell.b.misses is not None:
        yield _dropouts(cell, settings, cell.a.misses, cell.b.misses)
    for name in {**cell.a.memory_bytes, **cell.b.memory_bytes}:
        yield _Tested(_memory_row(cell, settings, name), None)


def _whole_verdict(
    cell: CompareCell, settings: CompareSettings
) -> tuple[Literal["BROKEN", "ALONE"], str] | None:
    """The verdict on a cell of which nothing can be compared, and why."""
    if not settings.is_same_machine:
        return "ALONE", "The sides ran on different machines, so neither is the faster code."
    a, b = (f"{side.status}, {side.reason}" for side in (cell.a, cell.b))
    if cell.a.status != "OK":
        return "ALONE", f"Side a did not end well ({a}): there is nothing to compare with."
    if cell.b.status == "INTERRUPTED":
        return "ALONE", f"Side b was interrupted ({b})."
    if cell.b.status != "OK":
        return "BROKEN", f"Side a ended well, side b did not ({b})."
    return None


# --- rows ----------------------------------------------------------------------


def _whole_row(cell: CompareCell, settings: CompareSettings, verdict: Verdict, reason: str) -> Row:
    """The medians side by side, as far as there are any."""
    time = timed(cell, settings)[0]
    return Row(
        cell=cell.name,
        kind=cell.kind,
        quantity=TIME,
        unit="ms",
        verdict=verdict,
        a=time.a_ms,
        b=time.b_ms,
        effect=Estimate(None, None, time.num_pairs, "none", "nothing to compare"),
        threshold=time.threshold,
        reasons=(reason,),
        num_pairs=time.num_pairs,
        num_processes=time.num_processes,
    )


def _time_row(cell: CompareCell, settings: CompareSettings, one: Timed) -> Row:
    verdict, reasons = judged(one, settings.source)
    return Row(
        cell=cell.name,
        kind=cell.kind,
        quantity=one.quantity,
        unit="ms",
        verdict=verdict,
        a=one.a_ms,
        b=one.b_ms,
        effect=_estimate(one.first, one.num_pairs),
        threshold=one.threshold,
        reasons=reasons,
        num_pairs=one.num_pairs,
        num_processes=one.num_processes,
        confirming=None if one.confirming is None else _estimate(one.confirming, 0),
        cycles=None if one.cycles is None else _estimate(one.cycles, 0),
        drift=None if one.drift is None else one.drift[1].estimate,
        share=one.share,
        contribution_ms=one.contribution_ms if one.quantity.startswith(STAGE) else None,
        can_be_slower=verdict == "AMBIGUOUS" and can_be_slower(one),
    )


def _estimate(found: Effect | str, num_pairs: int) -> Estimate:
    if isinstance(found, str):
        return Estimate(None, None, num_pairs, "none", found)
    return found.estimate


def _dropouts(cell: CompareCell, settings: CompareSettings, a: Misses, b: Misses) -> _Tested:
    test = dropout_test(a, b)
    is_unconfirmed = test.verdict in ("MORE", "LESS") and settings.source == "revisions"
    row = Row(
        cell=cell.name,
        kind=cell.kind,
        quantity=DROPOUTS,
        unit="per hour",
        verdict="AMBIGUOUS" if is_unconfirmed else test.verdict,
        a=test.a_per_hour,
        b=test.b_per_hour,
        effect=test.ratio,
        threshold=0.0,
        reasons=(*test.reasons, *([NOT_CONFIRMED] if is_unconfirmed else [])),
        num_pairs=min(a.num_due, b.num_due),
        num_processes=len(first_run(cell)),
    )
    return _Tested(row, test.p)


def _memory_row(cell: CompareCell, settings: CompareSettings, name: str) -> Row:
    """Bytes are exact: any difference beyond the threshold, which is 0 unless set, is one."""
    threshold = thresholds_of(settings.gate, cell)[1]
    a, b = (side.memory_bytes.get(name) for side in (cell.a, cell.b))
    verdict: Verdict
    if a is None or b is None:
        verdict, reason = "ALONE", f"Only side {'a' if b is None else 'b'} has this figure."
    else:
        verdict = "SAME"
        if b > a * (1 + threshold):
            verdict = "MORE"
        elif b < a / (1 + threshold):
            verdict = "LESS"
        reason = f"Exactly {shown.count(a)} bytes on side a, {shown.count(b)} on side b."
    ratio = b / a if a and b is not None else None
    return Row(
        cell=cell.name,
        kind=cell.kind,
        quantity=MEMORY + name,
        unit="bytes",
        verdict=verdict,
        a=a,
        b=b,
        effect=Estimate(ratio, None, 1, "exact", "no ratio" if ratio is None else "exact"),
        threshold=threshold,
        reasons=(reason,),
    )


# --- the whole table -------------------------------------------------------------


def _beyond_chance(tested: Sequence[_Tested]) -> list[Row]:
    """The rows, times and tails each held to their false share: what may be chance is AMBIGUOUS."""
    rows = [one.row for one in tested]
    for are_tails in (False, True):
        places = [
            place
            for place, (row, p) in enumerate(tested)
            if p is not None and (row.quantity in (P99, DROPOUTS)) == are_tails
        ]
        if places:
            adjusted = stats.false_discovery_control([tested[place].p for place in places])
            for place, q in zip(places, adjusted, strict=True):
                rows[place] = _held_to(rows[place], float(q), len(places))
    return rows


def _held_to(row: Row, q: float, num_rows: int) -> Row:
    if row.verdict in ("SAME", "AMBIGUOUS") or q <= FALSE_SHARE:
        return replace(row, q=q)
    doubt = (
        f"It may be chance: {num_rows} rows were tested together, and of those that stand out like "
        f"this {shown.share(q)} would be no difference."
    )
    is_slower = row.verdict == "SLOWER"
    reasons = (*row.reasons, doubt)
    return replace(row, q=q, verdict="AMBIGUOUS", reasons=reasons, can_be_slower=is_slower)


def _with_carriers(rows: Sequence[Row]) -> list[Row]:
    """The rows; a time that is SLOWER or FASTER has the stages that make it so as a reason."""
    return [replace(row, reasons=(*row.reasons, *_carriers(row, rows))) for row in rows]


def _carriers(time: Row, rows: Sequence[Row]) -> Iterator[str]:
    if time.quantity != TIME or time.verdict not in ("SLOWER", "FASTER"):
        return
    difference_ms = (time.a or 0.0) * ((time.effect.value or 1.0) - 1)
    for row in rows:
        if row.cell != time.cell or row.contribution_ms is None:
            continue
        part = row.contribution_ms / difference_ms
        if part >= CARRYING_SHARE:
            name = row.quantity.removeprefix(STAGE).replace("_", " ")
            yield f"Its {name} ({change(row.effect)}) is {shown.share(part)} of the difference."


def _exit_code(rows: Sequence[Row], settings: CompareSettings) -> int:
    if any(row.is_regression for row in rows):
        return EXIT_REGRESSION
    is_untold = any(
        row.quantity == TIME and (row.can_be_slower or row.verdict == "ALONE") for row in rows
    )
    if is_untold or settings.only_a or settings.is_interrupted or not rows:
        return EXIT_INCONCLUSIVE
    return EXIT_SAME
