"""Whether a stream plays live here: the verdict on each cell of a check, with its reasons.

It rests on the conditions of ``check_conditions.py``. The first row that fits decides:

| what was found | verdict |
| --- | --- |
| the run cannot be trusted, or has fewer than 3 blocks after the prebuffer | INCONCLUSIVE |
| a condition is broken, or dropouts were heard and not proven to be within the target: | |
| … and another setting would do (``remedies.py``) | MARGINAL |
| … and pace or dropouts are broken | NOT REAL-TIME |
| … and pace is not told, or a dropout was heard | INCONCLUSIVE |
| … and nothing but headroom, memory or control is broken | MARGINAL |
| the generator or the sound card was lost, or the stream had just become slower | INCONCLUSIVE |
| every condition is kept | REAL-TIME |
| pace is kept, and dropouts are, if only by the upper end of the tail's model | LIKELY |
| anything else | INCONCLUSIVE |

Not to be trusted: what was made was not proved right, the machine slept, other programs took more
than a quarter of the processor, fixed work became more than 10 % slower or faster without a sign of
throttling, the harness is later than the closest block was early or late, or the sound card ran dry
while all blocks were in time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from lmdm_bench import format as shown
from lmdm_bench.block_causes import KEPT_CLOCK, THROTTLE_BITS
from lmdm_bench.check_conditions import (
    CONTROL_QUANTILE,
    MIN_BLOCKS,
    MINUTES_PER_HOUR,
    Case,
    Condition,
    Name,
    State,
    conditions,
    is_wanting,
    minutes_words,
    reason,
)
from lmdm_bench.check_record import CheckCell, CheckRecord, Telemetry
from lmdm_bench.check_summary import CheckSummary, summarise_check
from lmdm_bench.dropouts import minutes_to_prove
from lmdm_bench.estimates import needed_blocks
from lmdm_bench.remedies import Remedy, find_remedies
from lmdm_bench.tail import FARTHEST, MIN_VALUES

Verdict = Literal["REAL-TIME", "LIKELY", "MARGINAL", "NOT REAL-TIME", "INCONCLUSIVE"]

# From the gravest, and what the command exits with.
EXIT_CODES: dict[Verdict, int] = {
    "NOT REAL-TIME": 2,
    "MARGINAL": 1,
    "INCONCLUSIVE": 3,
    "LIKELY": 0,
    "REAL-TIME": 0,
}
STRICT_EXIT_CODE = 3

MOST_OTHER_LOAD = 0.25
MOST_DRIFT = 0.1
# A run shorter than this says little of a machine that heats up for minutes.
LEAST_MINUTES = 10.0
SECONDS_PER_MINUTE = 60.0
LOST_KINDS = frozenset(("stalled", "killed", "audio lost"))
CLOCK_COLUMNS = ("gpu_sm_clock_mhz", "cpu_frequency_mhz")


@dataclass(frozen=True)
class Judgement:
    """One cell's verdict, and what it rests on.

    ``minutes_needed`` is how many more minutes of playing would tell more: prove it where it is
    LIKELY, decide it where it is INCONCLUSIVE; None where time alone would not.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    remedies: tuple[Remedy, ...]
    minutes_needed: float | None
    conditions: tuple[Condition, ...]
    summary: CheckSummary


def judge_check(record: CheckRecord) -> tuple[Judgement, ...]:
    """A verdict for each cell, in their order."""
    return tuple(
        judge_case(Case(record, cell, summarise_check(cell, record.settings, record.harness)))
        for cell in record.check_cells
    )


def exit_code(judgements: Sequence[Judgement], is_strict: bool) -> int:
    """What the gravest verdict exits with; a check of nothing is inconclusive."""
    order = list(EXIT_CODES)
    found = sorted((one.verdict for one in judgements), key=order.index)
    gravest: Verdict = found[0] if found else "INCONCLUSIVE"
    return STRICT_EXIT_CODE if is_strict and gravest == "LIKELY" else EXIT_CODES[gravest]


def judge_case(case: Case) -> Judgement:
    """The verdict by the table above."""
    found = tuple(conditions(case))
    ruling = _ruling(case, found)
    return Judgement(
        ruling.verdict,
        ruling.reasons,
        ruling.remedies,
        ruling.minutes_needed,
        found,
        case.summary,
    )


class _Ruling(NamedTuple):
    verdict: Verdict
    reasons: tuple[str, ...]
    remedies: tuple[Remedy, ...] = ()
    minutes_needed: float | None = None


def _ruling(case: Case, found: Sequence[Condition]) -> _Ruling:
    if too_few := tuple(_too_few(case)):
        more = None if _has_failed(case.cell) else _minutes_to_tell(case, {})
        return _Ruling("INCONCLUSIVE", too_few, minutes_needed=more)
    if distrust := tuple(_distrust(case)):
        return _Ruling("INCONCLUSIVE", distrust)
    state = {one.name: one.state for one in found}
    if wanting := [one for one in found if is_wanting(one, case)]:
        return _where_wanting(case, wanting, state)
    if doubts := tuple(_doubts(case)):
        return _Ruling("INCONCLUSIVE", doubts, minutes_needed=_minutes_to_be_steady(case))
    untold = tuple(reason(one) for one in found if one.state == "not told")
    if not untold:
        return _Ruling("REAL-TIME", tuple(map(reason, found)))
    if _is_likely(case, state):
        return _Ruling("LIKELY", untold, minutes_needed=_minutes_to_prove(case, state))
    reasons = (*untold, *_modelled(case))
    return _Ruling("INCONCLUSIVE", reasons, minutes_needed=_minutes_to_tell(case, state))


def _where_wanting(case: Case, wanting: Sequence[Condition], state: dict[Name, State]) -> _Ruling:
    """Something does not hold: what else would, and whether it is hopeless."""
    names = frozenset(one.name for one in wanting)
    reasons = tuple(map(reason, wanting))
    remedies = find_remedies(case, names)
    if remedies:
        return _Ruling("MARGINAL", reasons, remedies)
    if "broken" in (state["pace"], state["dropouts"]):
        return _Ruling("NOT REAL-TIME", reasons)
    if state["pace"] == "not told" or "dropouts" in names:
        more = _minutes_to_prove(case, state)
        return _Ruling("INCONCLUSIVE", reasons, minutes_needed=more)
    return _Ruling("MARGINAL", reasons)


# --- whether the run can be judged -----------------------------------------


def _too_few(case: Case) -> Iterator[str]:
    cell, due = case.cell, case.summary.dropouts.num_blocks
    if due >= MIN_BLOCKS:
        return
    if cell.reason is not None:
        yield f"it ended {cell.status}: {shown.plain(cell.reason)}"
    if cell.blocks or cell.reason is None:
        came = f"only {shown.blocks(due)}" if due else "no block"
        yield f"{came} came after the prebuffer, and a verdict needs {MIN_BLOCKS}"


def _distrust(case: Case) -> Iterator[str]:
    cell, summary = case.cell, case.summary
    is_wrong = cell.check is not None and not cell.check.is_within_budget
    if cell.status == "INCORRECT" or is_wrong:
        yield "what it made was not proved right, so its times mean nothing"
    if any(one.kind == "suspend" for one in cell.incidents):
        yield "the machine slept in the middle of the run"
    shares = readings(cell.telemetry, "other_load_share")
    load = float(np.mean(shares)) if shares else None
    if case.record.settings.stress == "none" and load is not None and load > MOST_OTHER_LOAD:
        yield f"other programs took {shown.share(load)} of the processor"
    drift = summary.canary_drift
    if drift is not None and abs(drift) > MOST_DRIFT and not is_throttled(cell):
        way = "slower" if drift > 0 else "faster"
        yield f"fixed work became {shown.share(abs(drift))} {way} with no sign of throttling"
    harness, slack = summary.harness_p99_ms.value, summary.min_slack_ms
    if harness is not None and slack is not None and harness > abs(slack):
        yield (
            f"the harness itself is up to {shown.milliseconds(harness)} late, and the closest "
            f"block was only {shown.milliseconds(abs(slack))} {'early' if slack >= 0 else 'late'}"
        )
    count = cell.device_count
    if count is not None and count.ring_underruns and not summary.dropouts.num_dropouts:
        times = f"{count.ring_underruns} time{'' if count.ring_underruns == 1 else 's'}"
        yield f"the sound card ran dry {times} although every block was there in time"


def _has_failed(cell: CheckCell) -> bool:
    """Whether it ended by itself, and not by whoever asked for the run."""
    is_lost = any(one.kind in LOST_KINDS for one in cell.incidents)
    return is_lost or cell.status not in ("OK", "INTERRUPTED")


def is_throttled(cell: CheckCell) -> bool:
    """Whether the machine itself says that it was slowed: a cause, a GPU's bits, or a clock."""
    if any("throttle" in one.block.labels for one in cell.blocks):
        return True
    bits = map(int, readings(cell.telemetry, "gpu_throttle_bits"))
    clocks = (readings(cell.telemetry, name) for name in CLOCK_COLUMNS)
    return any(one & THROTTLE_BITS for one in bits) or any(map(_has_dropped, clocks))


def readings(telemetry: Telemetry, name: str) -> list[float]:
    """What a column has of the time from the first block on, where there is such a column."""
    pairs = zip(telemetry.times_ms, telemetry.columns.get(name, ()), strict=False)
    return [value for at_ms, value in pairs if at_ms >= 0 and value is not None]


def _has_dropped(clock_mhz: Sequence[float]) -> bool:
    third = len(clock_mhz) // 3
    if not third:
        return False
    return bool(np.median(clock_mhz[-third:]) < KEPT_CLOCK * np.median(clock_mhz[:third]))


def slow_down(case: Case) -> tuple[int, float] | None:
    """The block from which on blocks took longer, and by which share; None where none did."""
    times, change = case.cell.service_ms, case.summary.steadiness.change_block
    if change is None:
        return None
    growth = float(np.median(times[change:]) / np.median(times[:change])) - 1
    return (change, growth) if growth > MOST_DRIFT else None


def _doubts(case: Case) -> Iterator[str]:
    """Why what went well so far may not go on."""
    cell, slower = case.cell, slow_down(case)
    if _has_failed(cell):
        why = shown.plain(cell.reason or "no reason given")
        yield f"it went well only until it ended {cell.status}: {why}"
    if slower is not None and slower[0] > len(cell.blocks) * 2 / 3:
        at = minutes_words(slower[0] * cell.workload.block_seconds / SECONDS_PER_MINUTE)
        yield f"{at} into the run blocks began to take {shown.share(slower[1])} longer"


# --- whether it is likely, and how much longer it takes to know -------------


def _is_likely(case: Case, state: dict[Name, State]) -> bool:
    is_unheard = "control" in state and not case.summary.control_to_sound_seconds.n
    if state["pace"] != "kept" or is_unheard:
        return False
    upper = modelled_upper(case.summary)
    return state["dropouts"] == "kept" or (upper is not None and upper <= case.target)


def modelled_upper(summary: CheckSummary) -> float | None:
    """The most dropouts per hour by the tail's model, the upper end of its interval."""
    modelled = summary.modelled_dropouts_per_hour
    return modelled.value if modelled.ci95 is None else modelled.ci95[1]


def _modelled(case: Case) -> Iterator[str]:
    """What keeps the tail's model from promising the target."""
    upper, modelled = modelled_upper(case.summary), case.summary.modelled_dropouts_per_hour
    if upper is None:
        why = shown.plain(modelled.reason or "no reason given")
        yield f"its latest blocks do not tell how late others may be ({why})"
    elif upper > case.target:
        yield f"its latest blocks leave room for up to {shown.number(upper)} dropouts an hour"


def _minutes_to_prove(case: Case, state: dict[Name, State]) -> float | None:
    """More minutes until every bound could be finite and low enough, if all goes on as it did."""
    total = 0.0
    if state.get("dropouts") != "kept":
        total = minutes_to_prove(case.target, case.summary.dropouts.num_dropouts)
    if state.get("headroom") == "not told":
        blocks = needed_blocks(0.99)
        total = max(total, blocks * case.cell.workload.block_seconds / SECONDS_PER_MINUTE)
    heard = case.summary.control_to_sound_seconds.n
    if state.get("control") == "not told" and heard:
        total = max(total, case.played_minutes * needed_blocks(CONTROL_QUANTILE) / heard)
    return _more(case, total)


def _minutes_to_be_steady(case: Case) -> float | None:
    """More minutes until a step in the times would lie before the last third."""
    slower = None if _has_failed(case.cell) else slow_down(case)
    if slower is None:
        return None
    return _more(case, slower[0] * 1.5 * case.cell.workload.block_seconds / SECONDS_PER_MINUTE)


def _minutes_to_tell(case: Case, state: dict[Name, State]) -> float | None:
    """More minutes until the tail may say something; where it could already, until it is proven."""
    if case.played_minutes < _tail_minutes(case):
        return _more(case, max(LEAST_MINUTES, _tail_minutes(case)))
    return _minutes_to_prove(case, state)


def _tail_minutes(case: Case) -> float:
    """The run from which a tail can be told, and followed as far as to the target."""
    farthest = MINUTES_PER_HOUR / (FARTHEST * case.target)
    return max(farthest, MIN_VALUES * case.cell.workload.block_seconds / SECONDS_PER_MINUTE)


def _more(case: Case, total_minutes: float) -> float | None:
    more = total_minutes - case.played_minutes
    return more if more > 0 else None
