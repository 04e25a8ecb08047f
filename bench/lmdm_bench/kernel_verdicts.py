"""What a kernels record says: rates, who is faster in each cell, and whether the goals are met.

A cell is a case in one regime. All is arithmetic on the rounds' times; ratios are taken within a
round, and every figure has its distribution-free 95 % interval or the reason why it has none.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lmdm_bench import format as shown
from lmdm_bench.estimates import quantile
from lmdm_bench.kernels_record import (
    AttentionCase,
    KernelCell,
    KernelRow,
    KernelsRecord,
    Regime,
    Timing,
)
from lmdm_bench.record import Ceiling, Estimate

Word = Literal["faster", "as fast", "slower", "cannot tell"]
State = Literal["met", "not met", "cannot tell"]

MS_PER_SECOND = 1e3
# Ratios nearer to 1 than this are no difference worth naming.
TOLERANCE = 0.02

WORDS: tuple[Word, ...] = ("faster", "as fast", "slower", "cannot tell")

# The goals of the kernels, and of the reference's attention on a CPU.
LEAST_SHARE = 0.9
MOST_BEHIND = 1.1
LEAST_SPEED_UP = 1.2
SPEED_UP_PLAN = "encoder-decoder"
SPEED_UP_WINDOW = (768, 256)


@dataclass(frozen=True)
class Rates:
    """What a median time means: of the plan's true area, and of what the device can do at best.

    ``of_roofline`` is max(FLOPs ÷ peak, bytes ÷ bandwidth) over the time. The bandwidth is that of
    the memory, so a warm cache can take it above 1.
    """

    tflops: float
    gigabytes_per_second: float
    of_roofline: float


@dataclass(frozen=True)
class Standing:
    """How the subject stands in one cell against the best of the others.

    ``ratio`` is the subject's time ÷ the other's. ``why_not`` is a reason instead, where one of
    them was not timed.
    """

    case: AttentionCase
    regime: Regime
    other: str | None
    ratio: Estimate | None
    word: Word
    why_not: str | None


@dataclass(frozen=True)
class Goal:
    """What had to be reached, whether it is, and by which figures."""

    text: str
    state: State
    why: str


def subject_of(record: KernelsRecord) -> str:
    """The backend that is held against all others: the kernel, or on no GPU the reference's."""
    return "interval" if is_cuda(record) else "range"


def is_cuda(record: KernelsRecord) -> bool:
    return record.settings.device.value.startswith("cuda")


def judged_regimes(record: KernelsRecord) -> tuple[Regime, ...]:
    """The regimes that count: with graphs where there are any, since that is how streams run."""
    regimes: tuple[Regime, ...] = ("warm", "cold", "stack graph" if is_cuda(record) else "stack")
    return tuple(one for one in regimes if one in record.settings.regimes)


def timing_of(row: KernelRow, regime: Regime) -> Timing | None:
    """A row's regime, where it was timed to its end."""
    found = (one for one in row.timings if one.regime == regime and one.status == "OK")
    return next(found, None) if row.status == "OK" else None


def median_ms(timing: Timing) -> Estimate:
    return quantile(timing.round_ms, 0.5)


def middle(values: Sequence[float]) -> float:
    """The median, whether or not there are enough values for an interval."""
    ordered = sorted(values)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return (low + high) / 2


def rates(case: AttentionCase, timing: Timing, ceiling: Ceiling) -> Rates:
    """Of the median, whether or not it has an interval; a stack does all its layers' work."""
    seconds = middle(timing.round_ms) / MS_PER_SECOND
    times = case.layers if timing.regime in ("stack", "stack graph") else 1
    flops, num_bytes = times * case.flops, times * case.num_bytes
    bound = max(flops / ceiling.flops_per_second, num_bytes / ceiling.bytes_per_second)
    return Rates(flops / seconds / 1e12, num_bytes / seconds / 1e9, bound / seconds)


def ratio(one: Timing, other: Timing) -> Estimate:
    """One's time ÷ the other's, paired by round."""
    pairs = zip(one.round_ms, other.round_ms, strict=False)
    return quantile([mine / its for mine, its in pairs], 0.5)


def standings(record: KernelsRecord) -> list[Standing]:
    """The subject in every cell that counts."""
    return [
        _standing(cell, regime, subject_of(record))
        for cell in record.kernel_cells
        for regime in judged_regimes(record)
    ]


def counted(found: Sequence[Standing]) -> Counter[Word]:
    """How many standings have each word, those without a ratio left out."""
    return Counter(one.word for one in found if one.why_not is None)


def worst(found: Sequence[Standing]) -> Standing | None:
    """The standing with the largest ratio."""
    told = [one for one in found if one.ratio is not None and one.ratio.value is not None]
    return max(told, key=_value, default=None)


def goals(record: KernelsRecord) -> tuple[Goal, ...]:
    """Each goal; those that are about another kind of device cannot be told on this one."""
    found = standings(record)
    return (_share_goal(record, found), _behind_goal(record, found), _speed_up_goal(record))


def _standing(cell: KernelCell, regime: Regime, subject: str) -> Standing:
    rows = {row.backend: row for row in cell.rows}

    def untold(why: str) -> Standing:
        return Standing(cell.case, regime, None, None, "cannot tell", why)

    if subject not in rows:
        return untold(f"{subject} was not asked for")
    mine = timing_of(rows[subject], regime)
    if mine is None:
        return untold(_why_not(rows[subject], regime))
    others = {
        name: timing
        for name, row in rows.items()
        if name != subject and (timing := timing_of(row, regime)) is not None
    }
    if not others:
        return untold("there is nothing to compare with")
    best = min(others, key=lambda name: middle(others[name].round_ms))
    found = ratio(mine, others[best])
    return Standing(cell.case, regime, best, found, _word(found), None)


def _why_not(row: KernelRow, regime: Regime) -> str:
    if row.status != "OK":
        return f"{row.backend} is {row.status}: {row.reason}"
    found = next((one for one in row.timings if one.regime == regime), None)
    if found is None:
        return f"{row.backend} was not timed in this regime"
    return f"{row.backend} is {found.status}: {found.reason}"


def _word(found: Estimate) -> Word:
    if found.ci95 is None:
        return "cannot tell"
    low, high = found.ci95
    if high < 1:
        return "faster"
    if high <= 1 + TOLERANCE:
        return "as fast"
    return "slower" if low > 1 + TOLERANCE else "cannot tell"


def _value(one: Standing) -> float:
    assert one.ratio is not None and one.ratio.value is not None
    return one.ratio.value


def _share_goal(record: KernelsRecord, found: Sequence[Standing]) -> Goal:
    text = (
        "The interval kernel is at least as fast as the best of the others in "
        f"{shown.share(LEAST_SHARE)} of the cells."
    )
    told = [one for one in found if one.why_not is None]
    if why := _why_untold(record, told):
        return Goal(text, "cannot tell", why)
    count = counted(told)
    least = count["faster"] + count["as fast"]
    most = len(told) - count["slower"]
    unsure = count["cannot tell"]
    said = f"{least} of {len(told)} cells{f', {unsure} more perhaps' if unsure else ''}"
    if least >= LEAST_SHARE * len(told):
        return Goal(text, "met", said)
    return Goal(text, "not met" if most < LEAST_SHARE * len(told) else "cannot tell", said)


def _behind_goal(record: KernelsRecord, found: Sequence[Standing]) -> Goal:
    text = f"It is never more than {shown.share(MOST_BEHIND - 1)} slower than the best one."
    told = [one for one in found if one.why_not is None]
    if why := _why_untold(record, told):
        return Goal(text, "cannot tell", why)
    ends = [one.ratio.ci95 for one in told if one.ratio is not None and one.ratio.ci95 is not None]
    behind = sum(low > MOST_BEHIND for low, _ in ends)
    if behind:
        return Goal(text, "not met", f"it is in {behind} of {len(told)} cells")
    unsure = len(told) - sum(high <= MOST_BEHIND for _, high in ends)
    if unsure:
        return Goal(text, "cannot tell", f"perhaps in {unsure} of {len(told)} cells")
    return Goal(text, "met", f"in none of {len(told)} cells")


def _why_untold(record: KernelsRecord, told: Sequence[Standing]) -> str | None:
    if not is_cuda(record):
        return f"no GPU: the kernel is not timed on {record.settings.device.value}"
    return None if told else "nothing could be compared"


def _speed_up_goal(record: KernelsRecord) -> Goal:
    context, block = SPEED_UP_WINDOW
    text = (
        f"On a CPU range attention is at least {LEAST_SPEED_UP:g} times as fast as boolean-mask "
        f"SDPA on the {SPEED_UP_PLAN} plan at {context} + {block}."
    )
    if is_cuda(record):
        return Goal(text, "cannot tell", "this run is on a GPU")
    found = [speed for _, _, speed in speed_ups(record)]
    told = [one for one in found if one.ci95 is not None]
    if not told:
        return Goal(text, "cannot tell", "no cell has enough rounds of both")
    lows = [one.ci95[0] for one in told if one.ci95 is not None]
    highs = [one.ci95[1] for one in told if one.ci95 is not None]
    values = [one.value for one in told if one.value is not None]
    said = f"{min(values):.2f} to {max(values):.2f} times in {len(found)} cells"
    if len(told) == len(found) and min(lows) >= LEAST_SPEED_UP:
        return Goal(text, "met", said)
    return Goal(text, "not met" if min(highs) < LEAST_SPEED_UP else "cannot tell", said)


def speed_ups(record: KernelsRecord) -> list[tuple[AttentionCase, Regime, Estimate]]:
    """How many times as fast range attention is as masked, in the cells of the CPU's goal."""
    found = []
    for cell in record.kernel_cells:
        case = cell.case
        is_asked = (case.context_frames, case.block_frames) == SPEED_UP_WINDOW
        rows = {row.backend: row for row in cell.rows}
        if case.plan != SPEED_UP_PLAN or not is_asked or not {"range", "masked"} <= set(rows):
            continue
        for regime in judged_regimes(record):
            mine, its = (timing_of(rows[name], regime) for name in ("range", "masked"))
            if mine is not None and its is not None:
                found.append((case, regime, ratio(its, mine)))
    return found
