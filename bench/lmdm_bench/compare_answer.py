"""A comparison in one plain paragraph: did the change make it faster, and how sure is that?"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from lmdm_bench import format as shown
from lmdm_bench.compare_record import CompareRecord
from lmdm_bench.compare_verdicts import (
    EXIT_INCONCLUSIVE,
    EXIT_REGRESSION,
    EXIT_SAME,
    STAGE,
    TIME,
    Judgement,
    Row,
    Verdict,
)
from lmdm_bench.compare_words import (
    amount,
    effect_words,
    full_name,
    overall,
    quantity_words,
    time_rows,
)
from lmdm_bench.ratio_change import change, change_and_interval
from lmdm_bench.record import Estimate

EXIT_WORDS = {
    EXIT_SAME: "no regression",
    EXIT_REGRESSION: "a confirmed regression",
    EXIT_INCONCLUSIVE: "inconclusive",
}

_HEADLINES: dict[Verdict, str] = {
    "BROKEN": "Broken",
    "SLOWER": "Slower",
    "MORE": "More",
    "AMBIGUOUS": "Cannot be told",
    "ALONE": "Nothing to compare with",
    "FASTER": "Faster",
    "LESS": "Less",
    "SAME": "No difference",
}
_MOVED = ("SLOWER", "FASTER", "MORE", "LESS")
_MOST_NAMED = 2


def headline(record: CompareRecord, judgement: Judgement) -> str:
    """The answer in a few words, for a title."""
    times, verdict = time_rows(judgement), overall(judgement)
    if not times:
        return "Nothing was compared"
    if not record.settings.is_same_machine:
        return "Two machines, side by side"
    counted = Counter(row.verdict for row in times)
    if verdict == "SLOWER" and counted["SLOWER"] and counted["FASTER"]:
        faster, slower = counted["FASTER"], counted["SLOWER"]
        return f"Faster in {faster} and slower in {slower} of {len(times)} cells"
    if verdict == "SAME" and counted["AMBIGUOUS"]:
        return f"Nothing is slower in {len(times)} cells"
    found = [row for row in times if row.verdict == verdict]
    if verdict == "AMBIGUOUS":
        found = _perhaps_slower(found)
    found = found or [row for row in judgement.rows if row.verdict == verdict]
    if not found:
        return "Not all was compared"
    word = _HEADLINES[verdict]
    if len(found) == 1:
        moved = f", {effect_words(found[0])}" if verdict in _MOVED else ""
        return f"{word}: {full_name(found[0])}{moved}"
    if found[0].quantity != TIME:
        return f"{word}: {len(found)} parts of cells"
    if len(found) == len(times) == 2:
        return f"{word}: both cells"
    among = "all" if len(found) == len(times) else f"{len(found)} of"
    return f"{word}: {among} {len(times)} cells"


def compare_answer(record: CompareRecord, judgement: Judgement) -> str:
    """Did the change make it faster, what carries it, what cannot be told, is it still right."""
    return " ".join(compare_sentences(record, judgement))


def compare_sentences(record: CompareRecord, judgement: Judgement) -> tuple[str, ...]:
    """The paragraph's sentences, of which the first is the answer."""
    return (
        *_opening(record, judgement),
        *_carriers(judgement),
        *_unchanged(judgement),
        *_beside_time(judgement),
        *_untold(judgement),
        *_checks(record),
        *_missing(record),
        _ending(record, judgement),
    )


# --- the paragraph ---------------------------------------------------------


def _opening(record: CompareRecord, judgement: Judgement) -> Iterator[str]:
    times = time_rows(judgement)
    if not times:
        yield "Nothing was compared."
        return
    if not record.settings.is_same_machine:
        both = f"{shown.plain(record.a.machine)} and {shown.plain(record.b.machine)}"
        yield f"{both} are two machines: their times stand side by side, and no side is faster."
        return
    broken, slower, faster, same, untold = (
        _of(times, one) for one in ("BROKEN", "SLOWER", "FASTER", "SAME", "AMBIGUOUS")
    )
    for row in broken[:_MOST_NAMED]:
        yield f"No: {shown.plain(row.cell)} is broken. {_first_reason(row)}"
    if slower and faster:
        yield f"{'' if broken else 'Partly. '}Faster: {_moved(faster, times)}."
        yield f"Slower: {_moved(slower, times)}."
    elif slower:
        yield f"{'Slower' if broken else 'No, it is slower'}: {_moved(slower, times)}."
    elif faster:
        yield f"{'Faster' if broken else 'Yes, it is faster'}: {_moved(faster, times)}."
    elif any(row.can_be_slower for row in untold):
        yield f"This run cannot tell{_in_so_many(_perhaps_slower(untold), times)}."
    elif untold:
        yield "Nothing is slower."
    elif same and not broken:
        yield f"No difference in time: {_as_before(same)}"
    elif not broken:
        yield f"Nothing could be compared. {_first_reason(times[0])}"


def _moved(rows: Sequence[Row], times: Sequence[Row]) -> str:
    """The row that moved most, and how many others did so too."""
    far = max(rows, key=lambda row: abs(math.log(row.effect.value or 1.0)))
    count = "" if len(rows) == 1 else f"{len(rows)} of {len(times)} cells, most of all "
    amounts = f"{_number_of(far.a)} → {amount(far.b, far.unit)}"
    again = "" if far.confirming is None else f"; measured again: {change(far.confirming)}"
    return f"{count}{shown.plain(far.cell)} takes {_more(far.effect)} time ({amounts}{again})"


def _carriers(judgement: Judgement) -> Iterator[str]:
    """The stages that are told to differ, cell by cell, those that lost most first."""
    found = [row for row in judgement.rows if row.quantity.startswith(STAGE)]
    found = [row for row in found if row.verdict in ("SLOWER", "FASTER")]
    cells = list(dict.fromkeys(row.cell for row in sorted(found, key=_lost, reverse=True)))
    wholes = {row.cell: row for row in time_rows(judgement)}
    for cell in cells[:_MOST_NAMED]:
        whole = wholes.get(cell)
        stages = [row for row in found if row.cell == cell]
        stages.sort(key=lambda row: -abs(row.contribution_ms or 0.0))
        told = "; ".join(_stage_words(row, whole) for row in stages[:_MOST_NAMED])
        if whole is None or whole.verdict in ("SLOWER", "FASTER"):
            yield f"What carries it{_where(cell, cells)}: {told}."
        else:
            yield f"A stage differs in {shown.plain(cell)}: {told}; its whole is {whole.verdict}."
    if len(cells) > _MOST_NAMED:
        yield f"Stages of {len(cells) - _MOST_NAMED} more cells differ too."


def _lost(row: Row) -> float:
    return row.effect.value or 0.0


def _stage_words(row: Row, whole: Row | None) -> str:
    """``first step +29.1 % [+27.6, +30.7], 98 % of the difference``."""
    words = f"{quantity_words(row)} {change(row.effect)}"
    if whole is None or whole.verdict != row.verdict or row.contribution_ms is None:
        return words
    difference_ms = (whole.a or 0.0) * ((whole.effect.value or 1.0) - 1)
    if difference_ms == 0:
        return words
    return f"{words}, {shown.share(row.contribution_ms / difference_ms)} of the difference"


def _unchanged(judgement: Judgement) -> Iterator[str]:
    times = time_rows(judgement)
    same = _of(times, "SAME")
    if 0 < len(same) < len(times):
        yield _as_before(same)


def _as_before(rows: Sequence[Row]) -> str:
    take = "takes" if len(rows) == 1 else "take"
    return f"{_all_of(rows)} {take} as long as before, within {_within(rows)}."


def _beside_time(judgement: Judgement) -> Iterator[str]:
    """Memory, tails and dropouts that differ."""
    rows = [
        row
        for row in judgement.rows
        if row.quantity != TIME and not row.quantity.startswith(STAGE) and row.verdict in _MOVED
    ]
    for row in rows[:_MOST_NAMED]:
        moved = f"{amount(row.a, row.unit)} → {amount(row.b, row.unit)}"
        told = f", {effect_words(row)}" if row.effect.value is not None else ""
        yield f"{full_name(row)} is {row.verdict}: {moved}{told}."
    if len(rows) > _MOST_NAMED:
        yield f"So are {len(rows) - _MOST_NAMED} more figures of memory and tails."


def _untold(judgement: Judgement) -> Iterator[str]:
    """What cannot be told, and what would tell it."""
    untold = _of(time_rows(judgement), "AMBIGUOUS")
    rows = _perhaps_slower(untold)
    for row in rows[:_MOST_NAMED]:
        yield f"{shown.plain(row.cell)} cannot be told, {change(row.effect)}."
        yield from map(shown.plain, row.reasons)
    if len(rows) > _MOST_NAMED:
        yield f"Nor can {len(rows) - _MOST_NAMED} more."
    others = [row for row in untold if row not in rows]
    if others:
        are = "is" if len(others) == 1 else "are"
        yield f"{_all_of(others)} {are} not slower; whether faster cannot be told."
    alone = _of(time_rows(judgement), "ALONE")
    if 0 < len(alone) < len(time_rows(judgement)):
        yield f"{_all_of(alone)} could not be compared. {_first_reason(alone[0])}"


def _missing(record: CompareRecord) -> Iterator[str]:
    """Which cells only one side has."""
    for has, lacks, names in (
        (record.a, record.b, record.settings.only_a),
        (record.b, record.a, record.settings.only_b),
    ):
        if names:
            yield (
                f"Only {shown.plain(has.name)} has {_listed(names)}: {shown.plain(lacks.name)} has "
                f"nothing to compare {'it' if len(names) == 1 else 'them'} with."
            )


def _checks(record: CompareRecord) -> Iterator[str]:
    cells = record.compared_cells
    ended = [one.b for one in cells if one.b.status == "OK"]
    checked = [one for one in ended if one.error is not None and one.budget]
    if not checked:
        if ended:
            yield "Whether it is still right is not known: there are no checks."
        return
    most = max((one.error or 0.0) / (one.budget or math.inf) for one in checked)
    among = "" if len(checked) == len(cells) else f" in {len(checked)} of {len(cells)} cells"
    yield f"The results are right{among}: at most {shown.share(most)} of the error budget is used."


def _ending(record: CompareRecord, judgement: Judgement) -> str:
    """With which exit code the command ended, or would have if it had not been stopped."""
    told = f"xit code {judgement.exit_code}: {EXIT_WORDS[judgement.exit_code]}."
    if record.settings.is_interrupted:
        return f"It was interrupted before its end; what there is would be e{told}"
    return f"E{told}"


def _of(rows: Sequence[Row], verdict: str) -> list[Row]:
    return [row for row in rows if row.verdict == verdict]


def _perhaps_slower(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.can_be_slower]


def _all_of(rows: Sequence[Row]) -> str:
    return shown.plain(rows[0].cell) if len(rows) == 1 else f"{len(rows)} cells"


def _in_so_many(rows: Sequence[Row], of: Sequence[Row]) -> str:
    return f" in {len(rows)} of {len(of)} cells" if len(of) > 1 else ""


def _where(cell: str, cells: Sequence[str]) -> str:
    return f" in {shown.plain(cell)}" if len(cells) > 1 else ""


def _first_reason(row: Row) -> str:
    return shown.plain(row.reasons[0]) if row.reasons else ""


def _within(rows: Sequence[Row]) -> str:
    thresholds = sorted({row.threshold for row in rows})
    low, high = thresholds[0], thresholds[-1]
    told = f"{100 * low:g}" if low == high else f"{100 * low:g} to {100 * high:g}"
    return f"{told}{shown.NBSP}%"


def _more(effect: Estimate) -> str:
    """``5.2 % [4.1, 6.3] more``: a change whose direction is told, in a sentence."""
    if effect.value is None:
        return change(effect)
    if effect.value >= 1:
        return f"{change(effect).replace('+', '')} more"
    value, interval = change_and_interval(effect)
    low, _, high = interval.strip("[]").partition(f",{shown.NBSP}")
    turned = f"[{high},{shown.NBSP}{low}]" if effect.ci95 is not None else interval
    return f"{value} {turned}".replace("−", "").rstrip() + " less"


def _listed(names: Sequence[str]) -> str:
    told = [shown.plain(one) for one in names[:_MOST_NAMED]]
    rest = len(names) - _MOST_NAMED
    return _joined([*told, *([f"{rest} more"] if rest > 0 else [])])


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _number_of(value: float | None) -> str:
    return shown.NOT_AVAILABLE if value is None else shown.number(value)
