"""A run in an 80-column terminal: what arithmetic expects, and what was measured.

Nothing here prints: each function returns what a rich ``Console`` prints. Colour repeats what the
words say, so nothing is lost without it.
"""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from lmdm_bench import format as shown
from lmdm_bench.record import Ceiling, Cell, Cost, Estimate, Machine, Record, Workload

COLUMNS = 80

Item = TypeVar("Item")

_MOST_COLUMNS = 3
_DIM = "dim"
_ABSENT = "-"
_GAP = 2
_NAME = len("encoder-decoder")
_RESULTS_HEADS = (
    "service p50\n95 % interval\nof a block",
    "p95, ms\np99, ms",
    "rtf\n95 % interval\nrtf_model\n95 % interval",
    f"memory\npredicted\n{shown.TIMES} bound",
)


def cost_card(cells: Sequence[tuple[Workload, Cost]], ceiling: Ceiling | None) -> RenderableType:
    """What one block of each cell takes at least, before anything is measured."""
    names = shown.names_beside_models([workload for workload, _ in cells])
    tables: list[RenderableType] = []
    for group in _groups(list(zip(names, cells, strict=True))):
        table = _card("arithmetic, per block", [(name, one[0].scheme) for name, one in group])
        for label, value in _cost_rows(ceiling):
            table.add_row(label, *(Text(value(*one)) for _, one in group))
        tables.append(table)
    return Group(*_apart(tables), _note(ceiling_sentence(ceiling)))


def results_table(record: Record) -> RenderableType:
    """One row of a few lines for each cell; a cell that did not end OK has its reason below."""
    workloads = [one.workload for one in record.cells]
    names = shown.names_beside_models(workloads)
    models = [shown.model(one.workload, one.cost) for one in record.cells]
    rows = [list(_figures_of(cell)) for cell in record.cells]
    room = max(_NAME, COLUMNS - _width([_RESULTS_HEADS, *rows]))
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 1, 0), header_style="")
    table.add_column(Text("scheme\nmodel\nstatus", style=_DIM), min_width=_NAME, overflow="fold")
    for head in _RESULTS_HEADS:
        words = Text(head, style=_DIM, justify="right")
        table.add_column(words, justify="right", no_wrap=True)
    for name, model, cell, row in zip(names, models, record.cells, rows, strict=True):
        first = Text(_folded(name, room), style=_style(cell.workload.scheme))
        first.append(f"\n{_folded(model, room)}", style=_DIM)
        first.append(f"\n{cell.status}", style="bold" if cell.summary is None else _DIM)
        table.add_row(first, *map(Text, row))
    return Group(table, *map(_note, _reasons(record)), _note(_about(record)))


def stages_table(record: Record) -> RenderableType:
    """Each stage's median, and its part of all service time."""
    names = shown.names([one.workload for one in record.cells])
    tables: list[RenderableType] = []
    for group in _groups(list(zip(names, record.cells, strict=True))):
        table = _card("stage, median ms", [(name, one.workload.scheme) for name, one in group])
        for stage, label in shown.STAGES.items():
            table.add_row(label, *(Text(_stage(cell, stage)) for _, cell in group))
        tables.append(table)
    are_lmms = any(shown.is_lmm(one.workload) for one in record.cells)
    return Group(
        *_apart(tables), *([_note("A step of an lmm scheme is one frame.")] if are_lmms else [])
    )


def doctor_table(machine: Machine, abilities: Sequence[tuple[str, bool, str]]) -> RenderableType:
    """The machine, and what can be measured on it, with the reason for whatever cannot."""
    facts = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    facts.add_column(style=_DIM, min_width=14, no_wrap=True)
    facts.add_column(overflow="fold")
    for label, value in shown.machine_facts(machine):
        facts.add_row(label, Text(value))
    can = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=_DIM)
    can.add_column("can measure", overflow="fold", max_width=30)
    can.add_column("", no_wrap=True)
    can.add_column("why", overflow="fold")
    for name, is_able, reason in abilities:
        answer = Text("yes" if is_able else "no", style="green" if is_able else "bold red")
        can.add_row(Text(shown.plain(name)), answer, Text(shown.plain(reason)))
    return Group(facts, Text(), can)


def ceiling_sentence(ceiling: Ceiling | None) -> str:
    """What the bounds rest on."""
    if ceiling is None:
        return "What this machine can do at best was not measured: there are no bounds in time."
    flops, moved = ceiling.flops_per_second, ceiling.bytes_per_second
    return (
        f"Measured on this machine in {ceiling.dtype}: {shown.gigaflop(flops)}/s, "
        f"{shown.gigabytes(moved)}/s. A deadline is the length of the block in audio."
    )


def _cost_rows(
    ceiling: Ceiling | None,
) -> Iterator[tuple[str, Callable[[Workload, Cost], str]]]:
    def in_time(value: Callable[[Cost], str]) -> Callable[[Workload, Cost], str]:
        return lambda _, cost: shown.NOT_AVAILABLE if ceiling is None else value(cost)

    yield "model", lambda work, _: shown.plain(work.model)
    yield "parameters", lambda _, cost: shown.millions(cost.parameters)
    yield "window, frames", lambda work, _: shown.window(work)
    yield shown.EVALUATIONS, lambda _, cost: shown.count(cost.evaluations)
    yield "sequential steps", lambda _, cost: shown.count(cost.sequential_steps)
    yield "encode rows", lambda _, cost: shown.count(cost.encode_rows)
    yield "step rows", lambda _, cost: shown.count(cost.step_rows)
    yield "computed", lambda _, cost: shown.gigaflop(cost.flops_per_block)
    yield "moved", lambda _, cost: shown.gigabytes(cost.bytes_per_block)
    yield "predicted memory", lambda _, cost: shown.gibibytes(cost.footprint.peak_bytes)
    yield "model takes at least", in_time(lambda cost: shown.milliseconds(cost.bound_ms))
    yield "which is bound by", lambda _, cost: shown.bound_by(cost, ceiling)
    yield "codec takes at least", in_time(shown.codec_bound)
    yield "deadline", lambda work, _: shown.milliseconds(work.block_seconds * 1000)
    yield "rtf_model at least", lambda work, cost: _rtf_at_least(work, cost, ceiling)


def _rtf_at_least(work: Workload, cost: Cost, ceiling: Ceiling | None) -> str:
    least = shown.over(cost.bound_ms / 1000, work.block_seconds)
    return shown.NOT_AVAILABLE if ceiling is None or least is None else shown.number(least, 2)


def _figures_of(cell: Cell) -> Iterator[str]:
    """The columns of a results row after its name, of two or three lines each."""
    told = cell.summary
    if told is None:
        yield from [f"{_ABSENT}\n{_ABSENT}"] * len(_RESULTS_HEADS)
        return
    block = f"of {shown.seconds(cell.workload.block_seconds)}"
    yield "\n".join([*shown.value_and_interval(told.service_ms.p50), block])
    yield f"{_percentile(told.service_ms.p95)}\n{_percentile(told.service_ms.p99)}"
    yield f"{_rtf(told.rtf)}\n{_rtf(told.rtf_model)}"
    against = shown.over(shown.model_ms(cell).value, cell.cost.bound_ms)
    predicted = shown.gibibytes(cell.cost.footprint.peak_bytes)
    yield f"{shown.peak_memory(cell.memory)}\n{predicted}\n{shown.ratio(against)}"


def _width(rows: Sequence[Sequence[str]]) -> int:
    """How wide the results' columns are beside the name."""
    widths = [
        max(len(line) for one in column for line in one.split("\n"))
        for column in zip(*rows, strict=True)
    ]
    return sum(_GAP + one for one in widths)


def _folded(name: str, room: int) -> str:
    """A name on as many lines as it takes, broken between its parts and at hyphens."""
    parts = name.split(", ")
    lines = [""]
    for part in parts:
        is_short = lines[-1] and len(f"{lines[-1]}, {part}") <= room
        if is_short:
            lines[-1] = f"{lines[-1]}, {part}"
        else:
            lines += textwrap.wrap(part, room)
    return "\n".join(one for one in lines if one)


def _percentile(one: Estimate) -> str:
    """``1 234``, or ``n/a (needs 72)``: an interval has no room here."""
    value, interval = shown.value_and_interval(one)
    return value if one.value is not None else f"{value} {interval.replace(' blocks)', ')')}"


def _reasons(record: Record) -> Iterator[str]:
    """Why cells have no figures, or no rtf."""
    names = map(shown.spoken, shown.names([one.workload for one in record.cells]))
    without: dict[str, list[str]] = {}
    for name, cell in zip(names, record.cells, strict=True):
        if cell.summary is None:
            yield f"{name} is {shown.why_not(cell, None)}"
        elif cell.summary.rtf.value is None:
            without.setdefault(shown.why_not(cell, cell.summary.rtf), []).append(name)
    for reason, alike in without.items():
        yield f"No rtf of {', '.join(alike)}: {reason}"


def _rtf(one: Estimate) -> str:
    """The figure, and below it its interval."""
    value, interval = shown.rtf_and_interval(one)
    if one.value is None:
        return f"{value}\n{_ABSENT}"
    return f"{value}\n{interval if one.ci95 else '[n/a]'}"


def _stage(cell: Cell, stage: str) -> str:
    if cell.summary is None:
        return cell.status if stage == next(iter(shown.STAGES)) else _ABSENT
    told = cell.summary.stage_ms.get(stage)
    part = cell.summary.stage_share.get(stage)
    if part == 0 or (told is not None and told.value == 0):
        # A stage that the scheme has not, or that is a part of another one.
        return _ABSENT
    value = shown.NOT_AVAILABLE if told is None or told.value is None else shown.number(told.value)
    return f"{value} {'' if part is None else shown.share(part):>5}"


def _about(record: Record) -> str:
    counts = sorted({one.summary.rtf_model.n for one in record.cells if one.summary})
    told = " or ".join(map(shown.blocks, counts)) or shown.blocks(0)
    deadlines = sorted({one.workload.block_seconds * 1000 for one in record.cells})
    differ = ": as blocks differ in length, compare by it" if len(deadlines) > 1 else ""
    return (
        f"{told} of each scheme measured, back to back. Deadline "
        f"{' or '.join(map(shown.milliseconds, deadlines))}: an rtf below 1 keeps up with it. "
        f"rtf has the codec in it, rtf_model has not{differ}. "
        f"{shown.TIMES} bound: the model's median time over what arithmetic says it takes at least."
    )


def _card(title: str, columns: Sequence[tuple[str, str]]) -> Table:
    """A table with a column for each cell, and with what is told at the left."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    table.add_column(Text(title, style=_DIM), min_width=20, no_wrap=True)
    for name, scheme in columns:
        head = Text(_folded(name, _NAME), style=_style(scheme), justify="right", overflow="fold")
        table.add_column(head, justify="right", min_width=15, max_width=18)
    return table


def _groups(items: list[Item]) -> Iterator[list[Item]]:
    """As many at a time as stand side by side in the terminal."""
    rest = iter(items)
    while group := list(islice(rest, _MOST_COLUMNS)):
        yield group


def _apart(tables: Sequence[RenderableType]) -> Iterator[RenderableType]:
    """The tables with an empty line between each two."""
    for index, table in enumerate(tables):
        if index:
            yield Text()
        yield table


def _note(text: str) -> RenderableType:
    return Padding(Text(text, style=_DIM), (1, 0, 0, 0))


def _style(scheme: str) -> str:
    return f"bold {shown.scheme_colour(scheme)}"
