"""How the verdicts of a check are told: their signs, and a paragraph for a musician."""

from collections.abc import Iterator

from lmdm_bench import format as shown
from lmdm_bench.check_conditions import MIN_BLOCKS, Case, Name, State, falls_behind, pace, reason
from lmdm_bench.check_record import CheckCell, CheckRecord
from lmdm_bench.remedies import Remedy, What, is_on_battery
from lmdm_bench.verdict import Judgement, Verdict, is_throttled, judge_check, slow_down

# What a verdict looks like beside its word; none is the colour of a scheme.
VERDICT_SIGNS: dict[Verdict, tuple[str, str]] = {
    "REAL-TIME": ("✔", "#1E8E5A"),
    "LIKELY": ("✔", "#4C8F2F"),
    "MARGINAL": ("≈", "#B7791F"),
    "NOT REAL-TIME": ("✘", "#D1442F"),
    "INCONCLUSIVE": ("?", "#8A93A0"),
}
STATE_SIGNS: dict[State, tuple[str, str]] = {
    "kept": VERDICT_SIGNS["REAL-TIME"],
    "broken": VERDICT_SIGNS["NOT REAL-TIME"],
    "not told": VERDICT_SIGNS["INCONCLUSIVE"],
}
# How a remedy is typed.
OPTIONS: dict[What, str] = {
    "prebuffer": "--prebuffer {}",
    "steps": "--steps {}",
    "block_frames": "--block-frames {}",
    "dtype": "--dtype {}",
    "scheme": "check {}",
    "mains": "",
}
DTYPE_OPTIONS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}

# From here on silence is told by its share: single dropouts can no longer be told apart.
MUCH_SILENCE = 0.05
MILLISECONDS_PER_SECOND = 1000.0
MILLISECONDS_PER_MINUTE = 60_000.0
MINUTES_PER_HOUR = 60.0
MANY_MINUTES = 120.0


def signed(verdict: Verdict) -> str:
    """``✔ LIKELY``, on one line."""
    return f"{VERDICT_SIGNS[verdict][0]} {verdict}".replace(" ", shown.NBSP)


def option(remedy: Remedy) -> str:
    """What to type for it; empty where it is nothing to type."""
    return OPTIONS[remedy.what].format(DTYPE_OPTIONS.get(remedy.value, remedy.value))


def minutes(value: float) -> str:
    """``56 seconds``, ``9.9 minutes``, ``10 minutes``, ``3.0 hours``."""
    if value >= MANY_MINUTES:
        return f"{shown.number(value / MINUTES_PER_HOUR, 1)}{shown.NBSP}hours"
    if value < 1:
        return f"{shown.number(value * 60, 0)}{shown.NBSP}seconds"
    told = shown.number(value, 0 if round(value, 1) >= 10 else 1).removesuffix(".0")
    return f"{told}{shown.NBSP}minute{'' if told == '1' else 's'}"


def an_hour(per_hour: float) -> str:
    """``1 dropout an hour``."""
    return f"{per_hour:g} dropout{'' if per_hour == 1 else 's'} an hour"


def check_answer(record: CheckRecord) -> str:
    """Every cell's paragraph, one after the other."""
    judged = zip(record.check_cells, judge_check(record), strict=True)
    return " ".join(plain_paragraph(record, cell, one) for cell, one in judged)


def plain_paragraph(record: CheckRecord, cell: CheckCell, judgement: Judgement) -> str:
    """What plays or not, how sure that is, and what to do next."""
    return " ".join(plain_sentences(record, cell, judgement))


def plain_sentences(record: CheckRecord, cell: CheckCell, judgement: Judgement) -> tuple[str, ...]:
    """The paragraph's sentences, of which the first is the answer."""
    cells = record.check_cells
    index = next(at for at, one in enumerate(cells) if one is cell)
    name = shown.spoken(shown.names([one.workload for one in cells])[index])
    case = Case(record, cell, judgement.summary)
    tell = {
        "REAL-TIME": _real_time,
        "LIKELY": _likely,
        "MARGINAL": _marginal,
        "NOT REAL-TIME": _not_real_time,
        "INCONCLUSIVE": _inconclusive,
    }[judgement.verdict]
    return (*tell(name, case, judgement), *_circumstances(case, judgement))


# --- one verdict each ------------------------------------------------------


def _real_time(name: str, case: Case, judgement: Judgement) -> Iterator[str]:
    upper = shown.number(case.summary.dropouts.per_hour_upper, 1)
    yield f"{name} plays live here."
    yield f"{_heard(case)}."
    yield f"That proves, at 95 % confidence, no more than {upper} dropouts an hour."
    yield from _control(case)


def _likely(name: str, case: Case, judgement: Judgement) -> Iterator[str]:
    yield f"{name} will most likely play live here."
    yield f"{_heard(case)}."
    more = judgement.minutes_needed
    if more is not None:
        what = f"no more than {an_hour(case.target)}"
        if case.summary.dropouts.per_hour_upper <= case.target:
            what = "it for its slowest blocks and changes too"
        yield (
            f"That is too short to prove {what}: it would have to go on like this for another "
            f"{minutes(more)}."
        )
    yield from (
        f"How much memory is left is {one.found}."
        for one in judgement.conditions
        if one.name == "memory" and one.state == "not told"
    )
    yield from _control(case)


def _marginal(name: str, case: Case, judgement: Judgement) -> Iterator[str]:
    broken = [one.name for one in judgement.conditions if one.state == "broken"]
    has_dropouts = case.summary.dropouts.num_dropouts > 0
    if has_dropouts or "pace" in broken:
        yield f"{name} does not play live here as it is set."
        yield f"{_heard(case)}."
        yield from _change(case)
    else:
        yield f"{name} plays here, but not as it should."
        yield f"{_heard(case)}."
        yield f"But {' and '.join(_BROKEN_WORDS[one] for one in broken)}."
    what = "would have had no dropout" if has_dropouts else "would have been as it should be"
    yield from _remedies(judgement, what)
    if all(one.what != "prebuffer" for one in judgement.remedies):
        yield from _control(case)


_BROKEN_WORDS: dict[Name, str] = {
    "pace": "it falls behind",
    "dropouts": "there are too many dropouts",
    "headroom": "its slowest blocks take about as long to make as they play",
    "memory": "there is too little memory",
    "control": "changes are heard later than was asked for",
}


def _remedies(judgement: Judgement, what: str) -> Iterator[str]:
    replayed = [one.words for one in judgement.remedies if one.is_measured]
    others = [one.words for one in judgement.remedies if not one.is_measured]
    if replayed:
        yield f"With {', or with '.join(replayed)}, this very run {what}."
    if others:
        also = "also " if replayed else ""
        yield f"It should {also}do with {', or with '.join(others)}; that was not measured."
    if judgement.remedies:
        which = "that" if len(judgement.remedies) == 1 else "one of these"
        yield f"Try {which} and check again."
    else:
        yield "Nothing that could be tried on this run's times would change that."


def _not_real_time(name: str, case: Case, judgement: Judgement) -> Iterator[str]:
    yield f"{name} does not play live here."
    if falls_behind(case):
        figure = shown.rtf_and_interval(pace(case))[0]
        yield f"A second of audio takes {figure} seconds to make: no prebuffer is enough for that."
    if case.summary.dropouts.num_dropouts:
        yield f"{_heard(case)}."
    else:
        yield f"The prebuffer still carried it for these {minutes(case.played_minutes)}."
    yield from _change(case)
    yield (
        "Nothing that could be tried on this run's times would be enough, such as fewer steps or "
        "other blocks: it takes a faster machine or a smaller model."
    )


def _inconclusive(name: str, case: Case, judgement: Judgement) -> Iterator[str]:
    if not case.cell.blocks:
        yield f"{name} was not played: {'; '.join(judgement.reasons)}."
        return
    yield f"This run cannot tell whether {name} plays live here."
    found = case.summary.dropouts
    if found.num_blocks >= MIN_BLOCKS:
        yield f"{_heard(case)}."
    # The conditions stand in a table; in words, only what is not among them, and what is close.
    conditions = {reason(one) for one in judgement.conditions}
    others = [one for one in judgement.reasons if one not in conditions]
    told, more = pace(case), judgement.minutes_needed
    if others:
        yield f"But {'; '.join(others)}."
    elif told.ci95 is not None and told.ci95[0] < 1 <= told.ci95[1]:
        low, high = (shown.number(end, 2) for end in told.ci95)
        yield f"But a second of audio takes {low} to {high} seconds to make: too close to tell."
    elif found.num_dropouts:
        yield f"Whether that is more than {an_hour(case.target)}, only a longer run can tell."
    if more is not None:
        yield f"Let it play for {minutes(case.played_minutes + more)}."
    else:
        yield "Mend that and check again." if others else "A longer run may tell."


# --- what they are made of -------------------------------------------------


def _heard(case: Case) -> str:
    """``In 10 minutes there was no dropout, …``."""
    found, slack, count = case.summary.dropouts, case.summary.min_slack_ms, case.cell.device_count
    played = f"In {minutes(case.played_minutes)}"
    if not found.num_dropouts:
        early = "" if slack is None else f", and every block was at least {_time(slack)} early"
        return f"{played} there was no dropout{early}"
    silence = (found.gap_ms_per_minute or 0.0) / MILLISECONDS_PER_MINUTE
    if count is not None and count.frames_due:
        silence = count.frames_missing / count.frames_due
    if silence >= MUCH_SILENCE:
        return f"{played} {shown.share(silence)} of the time was silence"
    longest = _time(found.longest_gap_ms)
    if found.num_dropouts == 1:
        return f"{played} there was one dropout, of {longest}"
    return f"{played} there were {found.num_dropouts} dropouts, the longest of {longest}"


def _time(milliseconds: float) -> str:
    if milliseconds < MILLISECONDS_PER_SECOND:
        return shown.milliseconds(float(round(milliseconds, 1)))
    return f"{shown.number(milliseconds / MILLISECONDS_PER_SECOND, 1)}{shown.NBSP}s"


def _change(case: Case) -> Iterator[str]:
    slower = slow_down(case)
    if slower is not None:
        block, growth = slower
        at = minutes(block * case.cell.workload.block_seconds / 60.0)
        why = "since it was throttled" if is_throttled(case.cell) else "as machines do that get hot"
        yield f"After {at} it became {shown.share(growth)} slower, {why}."


def _control(case: Case) -> Iterator[str]:
    told = case.summary.control_to_sound_seconds
    if told.p50.value is None:
        return
    what = "A new prompt" if told.kind == "prompt" else "What comes in"
    p95 = told.p95.value
    most = "" if p95 is None else f", 95 times of 100 within {_time(p95 * MILLISECONDS_PER_SECOND)}"
    yield f"{what} is heard about {_time(told.p50.value * MILLISECONDS_PER_SECOND)} later{most}."


def _circumstances(case: Case, judgement: Judgement) -> Iterator[str]:
    """Under which conditions that holds."""
    record, cell, count = case.record, case.cell, case.cell.device_count
    if not cell.blocks:
        return
    why = shown.plain(cell.reason or "")
    if why and not any(why in one for one in judgement.reasons):
        yield f"It ended before its time ({cell.status}: {why}); the blocks until then count."
    if not case.summary.has_codec:
        yield "The suite has no codec for this model: its work would come on top."
    if is_on_battery(case):
        yield "It ran on battery."
    if record.settings.stress != "none":
        yield f"Another busy program ran beside it (--stress {record.settings.stress})."
    if count is not None and count.xruns:
        times = "once" if count.xruns == 1 else f"{count.xruns} times"
        yield f"The sound server itself stumbled {times} (xruns), whatever the stream did."
