"""What has to hold for a stream to play live: each condition kept, broken or not told by a run.

- pace: the real-time factor of the last third is below 1, its whole interval too;
- dropouts: their one-sided 95 % upper bound per hour is within the target; broken where the lower
  bound is above it;
- headroom: 99 of 100 blocks take less than 0.9 of the time they play; broken too where a lower
  quantile takes that long already;
- memory: at least 5 % of the device's memory is left, and no block waited for it;
- control: where a budget is given, 95 of 100 changes are heard within it;
- codec: named where the suite has none for the model: its work is not in the times.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from scipy import stats

from lmdm_bench import format as shown
from lmdm_bench.check_record import CheckCell, CheckRecord
from lmdm_bench.check_summary import CheckSummary
from lmdm_bench.estimates import MILLISECONDS_PER_SECOND, ratio
from lmdm_bench.record import Estimate

Name = Literal["pace", "dropouts", "headroom", "memory", "control", "codec"]
State = Literal["kept", "broken", "not told"]

# An interval of the real-time factor needs so many.
MIN_BLOCKS = 3
MOST_RTF_P99 = 0.9
LEAST_MEMORY_MARGIN = 0.05
CONTROL_QUANTILE = 0.95
# How often chance may take a kept budget for a broken one.
RISK = 0.05

MINUTES_PER_HOUR = 60.0
MILLISECONDS_PER_MINUTE = 60_000.0
# Minutes are told whole from here on.
WHOLE_MINUTES = 100.0


@dataclass(frozen=True)
class Condition:
    """One of the things that have to hold: what was asked for, and what was found."""

    name: Name
    asked: str
    found: str
    state: State


@dataclass(frozen=True)
class Case:
    """What is judged: a cell of a record, and its summary."""

    record: CheckRecord
    cell: CheckCell
    summary: CheckSummary

    @property
    def target(self) -> float:
        return self.record.settings.target_dropouts_per_hour

    @property
    def played_minutes(self) -> float:
        return self.summary.dropouts.playing_hours * MINUTES_PER_HOUR


def conditions(case: Case) -> Iterator[Condition]:
    yield _pace(case)
    yield _dropouts(case)
    yield _headroom(case)
    yield _memory(case)
    if case.record.settings.control_budget_seconds is not None:
        yield _control(case, case.record.settings.control_budget_seconds)
    if case.cell.blocks and not case.summary.has_codec:
        found = "none in the suite for this model: the times are the model's alone"
        yield Condition("codec", "its work is in the times", found, "not told")


def is_wanting(one: Condition, case: Case) -> bool:
    has_dropouts = one.name == "dropouts" and case.summary.dropouts.num_dropouts > 0
    return one.state == "broken" or (has_dropouts and one.state != "kept")


def _pace(case: Case) -> Condition:
    told = pace(case)
    asked = "steady rtf below 1"
    if told.ci95 is None:
        return Condition("pace", asked, shown.rtf(told), "not told")
    state: State = "kept" if told.ci95[1] < 1 else "not told"
    return Condition("pace", asked, shown.rtf(told), "broken" if falls_behind(case) else state)


def pace(case: Case) -> Estimate:
    """The steady real-time factor; of all blocks, where a third of them has no interval."""
    steady = case.summary.steadiness.steady_rtf
    if steady.ci95 is not None or len(case.cell.blocks) < MIN_BLOCKS:
        return steady
    seconds = [one / MILLISECONDS_PER_SECOND for one in case.cell.service_ms]
    return ratio(seconds, case.cell.workload.block_seconds, case.record.settings.seed)


def falls_behind(case: Case) -> bool:
    """Whether it is slower than real time in the end, so that no prebuffer is enough for long."""
    told = pace(case)
    return told.ci95 is not None and told.ci95[0] >= 1


def _dropouts(case: Case) -> Condition:
    found, target = case.summary.dropouts, case.target
    asked = f"at most {target:g} an hour"
    if not found.num_blocks:
        return Condition("dropouts", asked, "no block was due", "not told")
    if found.per_hour_upper <= target:
        state: State = "kept"
    else:
        state = "broken" if found.per_hour_lower > target else "not told"
    return Condition("dropouts", asked, _dropouts_words(case), state)


def _dropouts_words(case: Case) -> str:
    found = case.summary.dropouts
    played, upper = minutes_words(case.played_minutes), shown.number(found.per_hour_upper)
    if not found.num_dropouts:
        return f"none in {played}: at most {upper} an hour"
    silent = shown.share((found.gap_ms_per_minute or 0.0) / MILLISECONDS_PER_MINUTE)
    lower = shown.number(found.per_hour_lower)
    return f"{found.num_dropouts} in {played}, {silent} silent: {lower} to {upper} an hour"


def _headroom(case: Case) -> Condition:
    asked = f"p99 of rtf below {MOST_RTF_P99:g}"
    p99 = case.summary.steadiness.steady_p99
    if p99.value is not None:
        state: State = "kept" if p99.value < MOST_RTF_P99 else "broken"
        return Condition("headroom", asked, f"p99 {shown.estimate(p99)}", state)
    needs = f"p99 {shown.NOT_AVAILABLE} ({shown.plain(p99.reason or 'no reason given')})"
    service = case.summary.service_ms
    for name, one in (("p95", service.p95), ("p50", service.p50)):
        if one.value is not None:
            value = one.value / case.cell.block_ms
            state = "broken" if value >= MOST_RTF_P99 else "not told"
            return Condition("headroom", asked, f"{name} {shown.number(value)}, {needs}", state)
    return Condition("headroom", asked, needs, "not told")


def _memory(case: Case) -> Condition:
    asked = f"{shown.share(LEAST_MEMORY_MARGIN)} left, no paging"
    margin = case.summary.memory_margin
    spilled = sum("spill" in one.block.labels for one in case.cell.blocks)
    left = "not known" if margin is None else f"{margin * 100:.1f}{shown.NBSP}% left"
    if spilled:
        found = f"{left}; {shown.blocks(spilled)} waited for memory"
        return Condition("memory", asked, found, "broken")
    if margin is None:
        return Condition("memory", asked, left, "not told")
    state: State = "kept" if margin >= LEAST_MEMORY_MARGIN else "broken"
    return Condition("memory", asked, left, state)


def _control(case: Case, budget: float) -> Condition:
    told = case.summary.control_to_sound_seconds
    asked = f"p95 of control_to_sound at most {shown.seconds(budget)}"
    if told.p95.value is not None:
        state: State = "kept" if told.p95.value <= budget else "broken"
        return Condition("control", asked, f"p95 {shown.estimate(told.p95, 's')}", state)
    if told.largest_seconds is None:
        return Condition("control", asked, "no change was heard", "not told")
    over = _num_later(case, budget)
    # So many over the budget would be rarer than the risk if its p95 were within.
    is_over = stats.binom.sf(over - 1, told.n, 1 - CONTROL_QUANTILE) < RISK
    found = f"{over} of {told.n} changes were heard later; p95 {shown.estimate(told.p95)}"
    return Condition("control", asked, found, "broken" if is_over else "not told")


def _num_later(case: Case, budget: float) -> int:
    """How many of the changes that were heard were heard later than that."""
    cell, kind = case.cell, case.summary.control_to_sound_seconds.kind
    output_ms = (cell.device_count.output_latency_ms or 0.0) if cell.device_count else 0.0
    waits = [
        one.heard_ms - one.arrived_ms + output_ms
        for one in cell.controls
        if one.kind == kind and one.heard_ms is not None
    ]
    return sum(wait > budget * MILLISECONDS_PER_SECOND for wait in waits)


def reason(one: Condition) -> str:
    """A condition as a reason: what was found, beside what was asked for."""
    return f"{one.name}: {one.found}; asked for: {one.asked}"


def minutes_words(value: float) -> str:
    """``9.9 min``, ``180 min``."""
    return f"{shown.number(value, 1 if value < WHOLE_MINUTES else 0)}{shown.NBSP}min"
