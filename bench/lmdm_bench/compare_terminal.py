"""A comparison in an 80-column terminal: what differs, why, and what it means in words.

Nothing here prints: what comes back is for a rich ``Console``. Colour repeats what the words say.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.constrain import Constrain
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lmdm_bench import format as shown
from lmdm_bench.compare_answer import compare_answer
from lmdm_bench.compare_record import CompareRecord
from lmdm_bench.compare_verdicts import TIME, Judgement, Row
from lmdm_bench.compare_words import (
    VERDICT_SIGNS,
    amount,
    differences,
    drift_words,
    effect_words,
    overall,
    pairs_words,
    quantity_words,
    side_words,
    signed,
    telling_rows,
)

COLUMNS = 80

_DIM = "dim"
# Sentences are hard to read on longer lines.
_LONGEST_LINE = 100
_LONGEST_LABEL = 22


def compare_table(record: CompareRecord, judgement: Judgement) -> RenderableType:
    """The rows, what the sides are, the reasons of all that is not the same, and the answer."""
    rows = telling_rows(judgement)
    parts: list[RenderableType] = [*_sides(record), Text()]
    if rows:
        parts += [_Rows(rows), Text()]
    notes = [*_pairs(rows), *_left_out(judgement, rows), *_circumstances(record, judgement)]
    parts += [Text(one, style=_DIM) for one in notes]
    parts += _reasons([row for row in rows if row.verdict != "SAME"])
    return Constrain(Group(*parts, Text(), _answer(record, judgement)), _LONGEST_LINE)


def _sides(record: CompareRecord) -> Iterator[Text]:
    """Which side is which."""
    for letter, side in (("a", record.a), ("b", record.b)):
        words = Text(f"{letter}  ", style="bold")
        words.append(side_words(side), style="not bold")
        if not record.settings.is_same_machine:
            words.append(f", {shown.plain(side.machine)}", style="not bold")
        yield words


@dataclass(frozen=True)
class _Rows:
    """The table of rows; in a terminal of fewer columns, with intervals on a line of their own."""

    rows: Sequence[Row]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows, is_narrow = self.rows, options.max_width < COLUMNS
        has_pairs = len({pairs_words(row) for row in rows if row.num_pairs}) > 1
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=_DIM)
        table.add_column("verdict", no_wrap=True)
        table.add_column("cell", overflow="fold")
        table.add_column("a, ms", justify="right", no_wrap=True)
        table.add_column("b, ms", justify="right", no_wrap=True)
        table.add_column("b against a", justify="right", no_wrap=True)
        if has_pairs:
            table.add_column("pairs", justify="right", no_wrap=True)
        for row in rows:
            sign, colour = VERDICT_SIGNS[row.verdict]
            is_part = row.quantity != TIME
            effect = _effect(row)
            table.add_row(
                Text(f"{sign} {row.verdict}", style=colour if is_part else f"bold {colour}"),
                Padding(Text(_name(row)), (0, 0, 0, 2 if is_part else 0)),
                Text(_value(row.a, row)),
                Text(_value(row.b, row)),
                Text(effect.replace(" ", "\n") if is_narrow else effect),
                *([Text(pairs_words(row), style=_DIM)] if has_pairs else []),
            )
        yield table


def _name(row: Row) -> str:
    return shown.plain(row.cell) if row.quantity == TIME else quantity_words(row)


def _value(value: float | None, row: Row) -> str:
    if value is None:
        return "-"
    return shown.number(value) if row.unit == "ms" else amount(value, row.unit)


def _effect(row: Row) -> str:
    return effect_words(row) if row.effect.value is not None else "-"


def _pairs(rows: Sequence[Row]) -> Iterator[str]:
    """Where all rows have as many: then the table has no column of them."""
    found = {pairs_words(row) for row in rows if row.num_pairs}
    if len(found) == 1:
        yield f"Pairs in each process, and processes: {found.pop()}."


def _left_out(judgement: Judgement, rows: Sequence[Row]) -> Iterator[str]:
    """How many rows are not shown, and with which verdicts."""
    counted = Counter(row.verdict for row in judgement.rows)
    counted.subtract(row.verdict for row in rows)
    told = [f"{number} {verdict}" for verdict, number in counted.items() if number > 0]
    if told:
        yield f"Not shown of stages, tails and memory: {', '.join(told)}."


def _circumstances(record: CompareRecord, judgement: Judgement) -> Iterator[str]:
    if record.settings.is_same_machine:
        yield drift_words(judgement)
    found = differences(record)
    if found:
        yield f"The sides differ in {'; '.join(f'{name}: {both}' for name, both in found)}."
    else:
        yield "Machine and packages are the same on both sides."


def _reasons(rows: Sequence[Row]) -> Iterator[RenderableType]:
    """Why the rows of each cell have their verdicts; those that have the same reasons together."""
    for cell in dict.fromkeys(row.cell for row in rows):
        alike: dict[tuple[str, ...], list[str]] = {}
        for row in rows:
            if row.cell == cell:
                alike.setdefault(row.reasons, []).append(quantity_words(row))
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(style=_DIM, max_width=_LONGEST_LABEL)
        table.add_column()
        for reasons, quantities in alike.items():
            table.add_row(", ".join(quantities), Text(" ".join(map(shown.plain, reasons))))
        yield Text()
        yield Text(shown.plain(cell), style="bold")
        yield Padding(table, (0, 0, 0, 2))


def _answer(record: CompareRecord, judgement: Judgement) -> RenderableType:
    verdict = overall(judgement)
    words = Text(f"{signed(verdict)}  ", style=f"bold {VERDICT_SIGNS[verdict][1]}")
    words.append(compare_answer(record, judgement), style="not bold default")
    return words
