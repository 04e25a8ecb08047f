"""A check in an 80-column terminal: the evidence on each stream first, the verdicts in words last.

Nothing here prints: what comes back is for a rich ``Console``. Colour repeats what the words say.
"""

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lmdm_bench import format as shown
from lmdm_bench.check_conditions import Case
from lmdm_bench.check_evidence import evidence
from lmdm_bench.check_record import CheckCell, CheckRecord
from lmdm_bench.check_words import STATE_SIGNS, VERDICT_SIGNS, option, plain_paragraph, signed
from lmdm_bench.verdict import Judgement, judge_check

_DIM = "dim"
_LABEL = 20


def check_table(record: CheckRecord) -> RenderableType:
    """For each stream its verdict, conditions, remedies and evidence; then what they mean."""
    judgements = judge_check(record)
    names = shown.names([one.workload for one in record.check_cells])
    judged = list(zip(names, record.check_cells, judgements, strict=True))
    cards = [_card(record, *one) for one in judged]
    answers = [_answer(record, cell, judgement) for _, cell, judgement in judged]
    return Group(*cards, *answers)


def _card(record: CheckRecord, name: str, cell: CheckCell, judgement: Judgement) -> RenderableType:
    head = Text(name, style=f"bold {shown.scheme_colour(cell.workload.scheme)}")
    head.append("  ")
    head.append(signed(judgement.verdict), style=_style(judgement))
    about = Text(_about(record, cell), style=_DIM)
    parts: list[RenderableType] = [head, about, Text()]
    if cell.blocks:
        parts += [_conditions(judgement), Text()]
        parts += [_evidence(Case(record, cell, judgement.summary)), Text()]
    if judgement.remedies:
        parts += [_remedies(judgement), Text()]
    return Group(*parts)


def _about(record: CheckRecord, cell: CheckCell) -> str:
    work, settings = cell.workload, record.settings
    steps = () if work.steps is None else (f"{work.steps} steps",)
    parts = (
        shown.model(work, cell.cost),
        *steps,
        f"{shown.plain(work.dtype)} on {shown.plain(settings.device.value)}",
        shown.plain(record.machine.name),
    )
    return ", ".join(parts)


def _conditions(judgement: Judgement) -> Table:
    table = _plain_table(header=True)
    table.add_column("", no_wrap=True)
    table.add_column("condition", no_wrap=True)
    table.add_column("asked for", overflow="fold")
    table.add_column("found", overflow="fold")
    for one in judgement.conditions:
        sign, colour = STATE_SIGNS[one.state]
        table.add_row(
            Text(sign, style=f"bold {colour}"),
            one.name,
            Text(one.asked, style=_DIM),
            Text(one.found),
        )
    return table


def _remedies(judgement: Judgement) -> Table:
    table = _plain_table(header=True)
    table.add_column("this would do", overflow="fold")
    table.add_column("by", no_wrap=True)
    table.add_column("to try it", no_wrap=True)
    for one in judgement.remedies:
        how = "replay" if one.is_measured else "arithmetic"
        table.add_row(Text(one.words), Text(how, style=_DIM), Text(option(one), style="bold"))
    return table


def _evidence(case: Case) -> Table:
    table = _plain_table(header=False)
    table.add_column(style=_DIM, min_width=_LABEL, no_wrap=True)
    table.add_column(overflow="fold")
    for label, found in evidence(case):
        table.add_row(label, Text(found))
    return table


def _answer(record: CheckRecord, cell: CheckCell, judgement: Judgement) -> RenderableType:
    words = Text(f"{signed(judgement.verdict)}  ", style=_style(judgement))
    words.append(plain_paragraph(record, cell, judgement), style="not bold default")
    return Padding(words, (0, 0, 1, 0))


def _plain_table(header: bool) -> Table:
    return Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=header, header_style=_DIM
    )


def _style(judgement: Judgement) -> str:
    return f"bold {VERDICT_SIGNS[judgement.verdict][1]}"
