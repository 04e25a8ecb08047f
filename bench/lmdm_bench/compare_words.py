"""How parts of a comparison are told: verdicts, names, changes, amounts, sides (no torch)."""

import math

from lmdm_bench import format as shown
from lmdm_bench.compare_record import CompareRecord, Side
from lmdm_bench.compare_verdicts import (
    EXIT_INCONCLUSIVE,
    MEMORY,
    STAGE,
    TIME,
    Judgement,
    Row,
    Unit,
    Verdict,
)
from lmdm_bench.ratio_change import change, change_and_interval
from lmdm_bench.record import Estimate

# The sign says whether it takes more or less, or is broken, the same or not known; colour repeats
# it. Red, green and amber are those of the other verdicts of the suite.
VERDICT_SIGNS: dict[Verdict, tuple[str, str]] = {
    "BROKEN": ("✘", "#8C2A1B"),
    "SLOWER": ("▲", "#D1442F"),
    "MORE": ("▲", "#D1442F"),
    "AMBIGUOUS": ("?", "#B7791F"),
    "ALONE": ("–", "#8A93A0"),
    "FASTER": ("▼", "#1E8E5A"),
    "LESS": ("▼", "#1E8E5A"),
    "SAME": ("=", "#5F6B7A"),
}
_MOVED = ("SLOWER", "FASTER", "MORE", "LESS")
_COMMIT_LETTERS = 7
_BYTE_UNITS = ("bytes", "KiB", "MiB", "GiB")
_STEP_OF_UNITS = 1024.0


def signed(verdict: Verdict) -> str:
    """``▲ SLOWER``, on one line."""
    return f"{VERDICT_SIGNS[verdict][0]} {verdict}".replace(" ", shown.NBSP)


def overall(judgement: Judgement) -> Verdict:
    """The verdict that stands for all rows: the one that the exit code rests on."""
    if judgement.exit_code == EXIT_INCONCLUSIVE:
        times = {row.verdict for row in time_rows(judgement)}
        return "ALONE" if times == {"ALONE"} else "AMBIGUOUS"
    found = {row.verdict for row in judgement.rows}
    gravest: tuple[Verdict, ...] = ("BROKEN", "SLOWER", "MORE", "FASTER", "LESS")
    return next((one for one in gravest if one in found), "SAME")


def quantity_words(row: Row) -> str:
    """``time``, ``first step``, ``memory: peak allocated``: what a row is of."""
    if row.quantity.startswith(STAGE):
        return shown.plain(row.quantity.removeprefix(STAGE)).replace("_", " ")
    if row.quantity.startswith(MEMORY):
        return f"memory: {shown.plain(row.quantity.removeprefix(MEMORY)).replace('_', ' ')}"
    return shown.plain(row.quantity)


def full_name(row: Row) -> str:
    """``block-causal · sao-small``, and for a part of it ``…, first step``."""
    cell = shown.plain(row.cell)
    return cell if row.quantity == TIME else f"{cell}, {quantity_words(row)}"


def threshold_words(row: Row) -> str:
    """``±3 %``; of memory that may not change at all, ``exact``."""
    return "exact" if row.threshold == 0 else f"±{100 * row.threshold:g}{shown.NBSP}%"


def amount(value: float | None, unit: Unit) -> str:
    """``300 ms``, ``118 MiB``, ``3.20 an hour``; ``n/a`` for None."""
    if value is None:
        return shown.NOT_AVAILABLE
    if unit == "bytes":
        return bytes_words(value)
    words = {"ms": "ms", "per hour": "an hour"}[unit]
    return f"{shown.number(value)} {words}".replace(" ", shown.NBSP)


def bytes_words(value: float) -> str:
    """``118 MiB``, in the unit in which it has one to four digits before the point."""
    unit = _BYTE_UNITS[0]
    for larger in _BYTE_UNITS[1:]:
        if abs(value) < _STEP_OF_UNITS:
            break
        value, unit = value / _STEP_OF_UNITS, larger
    told = shown.count(int(value)) if unit == "bytes" else shown.number(value)
    return f"{told}{shown.NBSP}{unit}"


def effect_words(row: Row) -> str:
    """A row's change: in percent with its interval, of memory in bytes too, since it is exact."""
    if row.unit != "bytes" or row.a is None or row.b is None:
        return change(row.effect)
    more = row.b - row.a
    if more == 0:
        return "the same"
    sign = "+" if more > 0 else "−"
    told = f"{sign}{bytes_words(abs(more))}"
    return told if row.effect.value is None else f"{told}, {change_and_interval(row.effect)[0]}"


def pairs_words(row: Row) -> str:
    """``16 × 3``: samples of each side in a process, and processes; ``47 in 3`` where they vary."""
    if not row.num_pairs or not row.num_processes:
        return ""
    each, rest = divmod(row.num_pairs, row.num_processes)
    told = f"{row.num_pairs} in {row.num_processes}"
    if rest == 0:
        told = f"{each} {shown.TIMES} {row.num_processes}"
    return told.replace(" ", shown.NBSP)


def side_words(side: Side) -> str:
    """``main (0123456)``: what a side is called, and its commit."""
    if side.git_commit is None:
        return shown.plain(side.name)
    changed = ", with changes" if side.git_is_dirty else ""
    return f"{shown.plain(side.name)} ({shown.plain(side.git_commit)[:_COMMIT_LETTERS]}{changed})"


def differences(record: CompareRecord) -> list[tuple[str, str]]:
    """What differs between the sides beside their code: each fact, and ``x against y``."""
    found = {shown.plain(one): shown.plain(both) for one, both in record.settings.differing.items()}
    for of_a, of_b in (
        (record.a.machine_facts, record.b.machine_facts),
        (record.a.packages, record.b.packages),
    ):
        for name in sorted({*of_a, *of_b}):
            a, b = of_a.get(name, "none"), of_b.get(name, "none")
            if a != b:
                found.setdefault(shown.plain(name), f"{shown.plain(a)} against {shown.plain(b)}")
    return list(found.items())


def worst_drift(judgement: Judgement) -> Estimate | None:
    """Of all rows' drift controls, the one that moved most."""
    found = [row.drift for row in judgement.rows if row.drift is not None and row.drift.value]
    return max(found, key=lambda one: abs(math.log(one.value or 1.0)), default=None)


def drift_words(judgement: Judgement) -> str:
    """How far fixed work, the same on both sides, seemed to move between them."""
    worst = worst_drift(judgement)
    if worst is None:
        return "No drift control was measured, so a drift of the machine cannot be told from b."
    return f"Drift control: work that is the same on both sides moved by at most {change(worst)}."


def telling_rows(judgement: Judgement) -> list[Row]:
    """Every cell's time, the stages of a time that is not the same, and what else differs."""
    odd = {row.cell for row in time_rows(judgement) if row.verdict not in ("SAME", "ALONE")}
    return [
        row
        for row in judgement.rows
        if row.quantity == TIME
        or row.verdict in _MOVED
        or (row.quantity.startswith(STAGE) and row.cell in odd)
    ]


def time_rows(judgement: Judgement) -> list[Row]:
    """The row of each cell's whole time."""
    return [row for row in judgement.rows if row.quantity == TIME]
