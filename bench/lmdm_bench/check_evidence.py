"""What a verdict rests on, line by line: the same words in the terminal and in the report."""

from collections.abc import Callable, Iterator, Sequence

from lmdm_bench import format as shown
from lmdm_bench.check_conditions import Case, falls_behind, minutes_words, pace
from lmdm_bench.check_record import CheckCell, PacedBlock
from lmdm_bench.check_summary import CheckSummary
from lmdm_bench.estimates import ratio
from lmdm_bench.periodicity import TOLD_BELOW
from lmdm_bench.steadiness import without_first

MOST_BURSTS = 6
MILLISECONDS_PER_SECOND = 1000.0
MILLISECONDS_PER_MINUTE = 60_000.0
NONE = "none"

Line = tuple[str, str]


def evidence(case: Case) -> tuple[Line, ...]:
    """(what, what was found), from what is heard to what may explain it."""
    if not case.cell.blocks:
        return (("played", "nothing"),)
    groups: Sequence[Callable[[Case], Iterator[Line]]] = (
        _heard,
        _speed,
        _in_time,
        _prebuffers,
        _control,
        _causes,
        _machine,
    )
    return tuple(line for group in groups for line in group(case))


def _heard(case: Case) -> Iterator[Line]:
    found, settings = case.summary.dropouts, case.record.settings
    yield (
        "played",
        f"{shown.blocks(found.num_blocks)} of {_seconds(case.cell.block_ms)}, "
        f"{minutes_words(case.played_minutes)}, after a prebuffer of {settings.prebuffer_blocks}; "
        f"a late block: {settings.policy}",
    )
    if not found.num_blocks:
        yield "dropouts", f"{shown.NOT_AVAILABLE} (no block was due)"
        return
    upper = shown.number(found.per_hour_upper)
    yield (
        "dropouts",
        f"{shown.count(found.num_dropouts)}; {shown.estimate(found.per_hour, 'an hour')}, at 95 % "
        f"at most {upper}",
    )
    if found.num_dropouts:
        silence = sum(found.silence_ms)
        share = (found.gap_ms_per_minute or 0.0) / MILLISECONDS_PER_MINUTE
        yield (
            "silence",
            f"{_seconds(silence)}, {shown.share(share)} of the time; the longest gap "
            f"{_seconds(found.longest_gap_ms)}",
        )
        yield (
            "blocks missed",
            f"{shown.count(found.num_misses)}, in runs of {_bursts(found.bursts)}",
        )
        yield "missed after a miss", shown.estimate(found.p_miss_given_miss)
    modelled = case.summary.modelled_dropouts_per_hour
    yield "by the tail's model", f"{shown.estimate(modelled, 'an hour')}"
    yield from _device(case.cell)


def _device(cell: CheckCell) -> Iterator[Line]:
    count = cell.device_count
    if count is None:
        return
    share = count.frames_missing / count.frames_due if count.frames_due else None
    yield (
        "sound card",
        f"{shown.plain(count.backend)}: {_per_cent(share)} of {shown.count(count.frames_due)} "
        f"frames missing, ring underruns: {shown.count(count.ring_underruns)}, "
        f"xruns: {_number(count.xruns)}",
    )
    yield (
        "callbacks",
        f"{shown.count(count.callbacks_seen)} of {shown.count(count.callbacks_due)}, the longest "
        f"gap {shown.milliseconds(count.largest_gap_ms)}",
    )


def _speed(case: Case) -> Iterator[Line]:
    steadiness, service = case.summary.steadiness, case.summary.service_ms
    without = "" if case.summary.has_codec else ", without a codec"
    yield "steady rtf", f"{shown.rtf(pace(case))}{without}"
    yield "cold rtf", shown.rtf(steadiness.cold_rtf)
    yield "without first blocks", _without_first(case)
    yield "steady ÷ cold", shown.estimate(steadiness.thermal_ratio)
    yield "change point", _change(case)
    yield "service time p50", shown.estimate(service.p50, "ms")
    yield "service time p95", shown.estimate(service.p95, "ms")
    yield "service time p99", shown.estimate(service.p99, "ms")
    yield "max_inference_time", shown.estimate(case.summary.max_inference_time_ms, "ms")
    yield "period", _period(case.summary)


def _without_first(case: Case) -> str:
    """The factor of all blocks, and without those that are labelled first or compile."""
    cell, seed = case.cell, case.record.settings.seed
    kept = without_first(cell)
    left_out = len(cell.blocks) - len(kept.blocks)
    seconds = [one / MILLISECONDS_PER_SECOND for one in kept.service_ms]
    if not seconds:
        return f"{shown.NOT_AVAILABLE} (all are)"
    told = shown.rtf(ratio(seconds, cell.workload.block_seconds, seed))
    return f"rtf {told}, {shown.blocks(left_out)} left out (first, compile)"


def _change(case: Case) -> str:
    found = case.summary.steadiness
    p = f"p {_probability(found.change_p)}"
    if found.change_block is None:
        return f"{NONE} found ({p})"
    at = found.change_block * case.cell.workload.block_seconds / 60.0
    return f"from block {shown.count(found.change_block)} on, {minutes_words(at)} in ({p})"


def _period(summary: CheckSummary) -> str:
    found = summary.period
    if found is None:
        return f"{shown.NOT_AVAILABLE} (too few blocks, or all took the same)"
    p = f"p {_probability(found.p)}"
    if found.p > TOLD_BELOW:
        return f"{NONE} found ({p})"
    return (
        f"{shown.number(found.blocks)} blocks, {shown.seconds(found.seconds)}: "
        f"{shown.milliseconds(found.amplitude_ms)} apart ({p})"
    )


def _in_time(case: Case) -> Iterator[Line]:
    slack = case.summary.min_slack_ms
    late = "" if slack is None or slack >= 0 else "none, "
    least = shown.NOT_AVAILABLE if slack is None else _when(-slack)
    p1 = shown.estimate(case.summary.slack_p1, "ms").replace("-", "−")
    yield "least slack", f"{late}{least}; p1 {p1}"
    yield "ready jitter", f"p99 − p50 {shown.estimate(case.summary.ready_jitter_ms, 'ms')}"


def _prebuffers(case: Case) -> Iterator[Line]:
    told = case.summary
    more = "; a longer run needs more" if falls_behind(case) else ""
    yield (
        "without a miss",
        f"prebuffer {_number(told.smallest_prebuffer)} (closed form), "
        f"{_number(told.smallest_prebuffer_simulated)} (replayed){more}",
    )
    safe = told.safe_prebuffer
    proven = f"prebuffer {safe}" if safe is not None else "not proven by this run"
    yield "within the target", proven
    delay = told.startup_delay_ms
    yield "start-up delay", shown.NOT_AVAILABLE if delay is None else _seconds(delay)


def _control(case: Case) -> Iterator[Line]:
    told = case.summary.control_to_sound_seconds
    if told.kind is None:
        yield "control_to_sound", f"{shown.NOT_AVAILABLE} (nothing was changed)"
        return
    unheard = f", {told.num_unheard} not heard" if told.num_unheard else ""
    longest = told.largest_seconds
    most = "" if longest is None else f", the longest after {shown.seconds(longest)}"
    yield "control_to_sound p50", shown.estimate(told.p50, "s")
    yield "control_to_sound p95", shown.estimate(told.p95, "s")
    yield "changes heard", f"{told.n} ({told.kind}){unheard}{most}"


def _causes(case: Case) -> Iterator[Line]:
    for index, one in enumerate(case.summary.worst):
        yield ("worst blocks" if not index else "", worst_words(one))


def worst_words(one: PacedBlock) -> str:
    """``block 60: 4 982 ms, 1 374 ms late (gc)``."""
    causes = ", ".join("cause unknown" if name == "unknown" else name for name in one.block.labels)
    why = f" ({shown.plain(causes)})" if causes else ""
    took = _seconds(one.block.service_ms)
    number = shown.count(one.block.block_index)
    return f"block {number}: took {took}, {_when(one.lateness_ms)}{why}"


def _machine(case: Case) -> Iterator[Line]:
    cell, summary = case.cell, case.summary
    limit = shown.gibibytes(cell.memory_limit_bytes)
    yield "memory left", f"{_per_cent(summary.memory_margin)} of {limit}"
    harness = case.record.harness
    if harness.reason is not None:
        yield "harness alone", f"{shown.NOT_AVAILABLE} ({shown.plain(harness.reason)})"
    else:
        yield "harness alone", f"late by p99 {shown.estimate(summary.harness_p99_ms, 'ms')}"
    yield "fixed work", _canary(case)
    yield "power", power_words(case)
    for one in cell.incidents:
        at = minutes_words(one.at_ms / MILLISECONDS_PER_MINUTE)
        yield "incident", f"{one.kind}, {at} in: {shown.plain(one.words)}"


def _canary(case: Case) -> str:
    drift, canary = case.summary.canary_drift, case.cell.canary
    if drift is None:
        return f"{shown.NOT_AVAILABLE} ({shown.plain(canary.reason or 'done too seldom')})"
    way = "slower" if drift > 0 else "faster"
    times = shown.count(len(canary.times_ms))
    return f"{_per_cent(abs(drift))} {way} at the end ({times} times in the waits)"


def power_words(case: Case) -> str:
    """Mains or battery, and the GPU's power limit where there is one."""
    machine, columns = case.record.machine, case.cell.telemetry.columns
    readings = [one for one in columns.get("is_on_mains", ()) if one is not None]
    if readings and min(readings) != max(readings):
        source = "mains and battery in turn"
    elif readings or machine.is_on_mains is not None:
        on_mains = bool(readings[0]) if readings else machine.is_on_mains
        source = "mains" if on_mains else "battery"
    else:
        why = machine.unavailable.get("is_on_mains", "no reason given")
        source = f"{shown.NOT_AVAILABLE} ({shown.plain(why)})"
    limits = [one.power_limit_watts for one in machine.gpus if one.power_limit_watts is not None]
    return source + "".join(f", GPU limited to {shown.number(one)}{shown.NBSP}W" for one in limits)


def _bursts(bursts: Sequence[int]) -> str:
    """The longest ones first, so that what is left out is short."""
    ordered = sorted(bursts, reverse=True)
    rest = len(ordered) - MOST_BURSTS
    more = f" and {rest} shorter" if rest > 0 else ""
    return ", ".join(map(shown.count, ordered[:MOST_BURSTS])) + more


def _number(value: int | None) -> str:
    return shown.NOT_AVAILABLE if value is None else shown.count(value)


def _per_cent(value: float | None) -> str:
    """``16.7 %``: one digit more than a share has."""
    return shown.NOT_AVAILABLE if value is None else f"{value * 100:.1f}{shown.NBSP}%"


def _probability(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {shown.number(p, 3)}"


def _when(lateness_ms: float) -> str:
    return f"{_seconds(abs(lateness_ms))} {'late' if lateness_ms > 0 else 'early'}"


def _seconds(milliseconds: float) -> str:
    """In milliseconds below a second."""
    if abs(milliseconds) < MILLISECONDS_PER_SECOND:
        return shown.milliseconds(milliseconds)
    return shown.seconds(milliseconds / MILLISECONDS_PER_SECOND)
