"""A comparison as a report: Markdown that fits a pull request, and one HTML page.

Everything said here is worked out from the record alone, as in ``render.py``, whose page and
tables these are. In Markdown all but the answer and its table is folded away.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lmdm_bench import format as shown
from lmdm_bench.canvas import to_png, to_svg
from lmdm_bench.compare_answer import compare_answer, headline
from lmdm_bench.compare_record import CellSide, CompareCell, CompareRecord, Side
from lmdm_bench.compare_verdicts import Judgement, Row, judge
from lmdm_bench.compare_words import (
    VERDICT_SIGNS,
    amount,
    differences,
    drift_words,
    effect_words,
    full_name,
    overall,
    pairs_words,
    quantity_words,
    side_words,
    signed,
    telling_rows,
    threshold_words,
    time_rows,
)
from lmdm_bench.forest_figure import forest
from lmdm_bench.judgement_json import judgement_json
from lmdm_bench.ratio_change import change
from lmdm_bench.record import write_whole
from lmdm_bench.render import (
    TEMPLATE,
    Code,
    Picture,
    Section,
    Table,
    Words,
    environment,
    escaped,
    inline_svg,
    markdown_part,
    markdown_table,
)

CAPTIONS = {"forest": "Side b against side a, one line for each quantity."}
COMPARE_HEADER = ("verdict", "cell", "a", "b", "b against a [95 %]", "pairs")
_MOST_CARDS = 8
_LEAST_CHANCE = 0.001
_NOTHING = "Nothing was compared."
_NUM_TEXTS = 2
COMPARE_FIGURES = ("forest",)


def compare_markdown(record: CompareRecord, figure_folder: str = "") -> str:
    """``compare.md``; its figure is a PNG file in ``figure_folder``, beside it unless told."""
    return _markdown(record, judge(record), figure_folder)


def compare_html(record: CompareRecord) -> str:
    """One page that needs nothing else: its style and its figure are inside."""
    judgement = judge(record)
    return _html(record, judgement, to_svg(forest(record, judgement)))


def compare_pngs(record: CompareRecord) -> dict[str, bytes]:
    """The figures that a report shows, by name."""
    (name,) = COMPARE_FIGURES
    return {name: to_png(forest(record, judge(record)))}


def write_compare_report(record: CompareRecord, folder: Path) -> list[Path]:
    """Write the report, its figure and the verdicts, each file whole; returns their paths."""
    judgement = judge(record)
    figure = forest(record, judgement)
    svg = to_svg(figure)
    contents = {
        "compare.md": _markdown(record, judgement, "").encode(),
        "compare.html": _html(record, judgement, svg).encode(),
        "verdicts.json": judgement_json(record, judgement).encode(),
        "forest.png": to_png(figure),
        "forest.svg": svg.encode(),
    }
    for name, content in contents.items():
        write_whole(folder / name, content)
    return [folder / name for name in contents]


def compare_cells(row: Row) -> tuple[str, ...]:
    """What any table of a comparison shows of a row, as in ``COMPARE_HEADER``."""
    return (
        signed(row.verdict),
        full_name(row),
        *(amount(value, row.unit) if value is not None else "" for value in (row.a, row.b)),
        effect_words(row) if row.effect.value is not None else "",
        pairs_words(row),
    )


# --- how it is written -----------------------------------------------------


def _markdown(record: CompareRecord, judgement: Judgement, figure_folder: str) -> str:
    sign = VERDICT_SIGNS[overall(judgement)][0]
    rows = tuple(compare_cells(row) for row in telling_rows(judgement))
    lines = [f"**{sign} {escaped(headline(record, judgement))}**", ""]
    lines += [escaped(compare_answer(record, judgement)), ""]
    if rows:
        lines += [*markdown_table(Table(COMPARE_HEADER, rows, _NUM_TEXTS)), ""]
    lines += [escaped(f"a: {side_words(record.a)}, b: {side_words(record.b)}."), ""]
    for section in _sections(record, judgement):
        lines += ["<details>", f"<summary>{escaped(section.title)}</summary>", ""]
        for part in section.parts:
            lines += [*markdown_part(part, CAPTIONS, figure_folder), ""]
        lines += ["</details>", ""]
    return "\n".join(lines).rstrip() + "\n"


def _html(record: CompareRecord, judgement: Judgement, svg: str) -> str:
    first = Section("Each cell", (_telling(judgement), *_drift(record, judgement)))
    return (
        environment()
        .get_template(TEMPLATE)
        .render(
            title=headline(record, judgement),
            subtitle=_subtitle(record),
            answer=compare_answer(record, judgement),
            gauges=_cards(judgement),
            sections=(first, *_sections(record, judgement)),
            captions=CAPTIONS,
            pictures={"forest": inline_svg(svg, "forest", CAPTIONS["forest"])},
        )
    )


def _cards(judgement: Judgement) -> list[dict[str, object]]:
    """Cells at a glance, those that differ first, where a run's report has its gauges."""
    rows = sorted(time_rows(judgement), key=lambda row: row.verdict == "SAME")
    return [
        {
            "name": shown.plain(row.cell),
            "colour": VERDICT_SIGNS[row.verdict][1],
            "word": signed(row.verdict),
            "model": "",
            "figure": change(row.effect) if row.effect.value is not None else row.reasons[0],
            "value": None,
        }
        for row in rows[:_MOST_CARDS]
    ]


# --- what is said ----------------------------------------------------------


def _subtitle(record: CompareRecord) -> str:
    where = "" if not record.settings.is_same_machine else f", {shown.plain(record.b.machine)}"
    return (
        f"a: {side_words(record.a)}, b: {side_words(record.b)}{where}. "
        f"Compared {record.created} with lmdm-bench {record.tool.version}."
    )


def _sections(record: CompareRecord, judgement: Judgement) -> tuple[Section, ...]:
    return (
        Section("Figure", (Picture("forest"),)),
        Section("Reasons", (_reasons(judgement),)),
        Section("All rows", (_all_rows(judgement), Words(_COLUMNS_MEAN))),
        Section("Is it still right?", (_checks(record),)),
        Section("Environment", tuple(_environment(record, judgement))),
        Section("Thresholds", (_thresholds(record),)),
        Section("Cells", (_cells(record),)),
        Section("How to repeat this", tuple(_repeating(record))),
        Section("How a verdict comes about", tuple(map(Words, _notes(record)))),
    )


def _telling(judgement: Judgement) -> Table | Words:
    rows = tuple(compare_cells(row) for row in telling_rows(judgement))
    return Table(COMPARE_HEADER, rows, _NUM_TEXTS) if rows else Words(_NOTHING)


def _reasons(judgement: Judgement) -> Table | Words:
    """Why rows are not the same; what is said of many cells alike is said once."""
    alike: dict[tuple[str, str, tuple[str, ...]], list[Row]] = {}
    for row in judgement.rows:
        if row.verdict != "SAME":
            alike.setdefault((row.quantity, signed(row.verdict), row.reasons), []).append(row)
    rows = tuple(
        (verdict, _names(found), " ".join(reasons))
        for (_, verdict, reasons), found in alike.items()
    )
    return Table(("verdict", "of", "why"), rows, 3) if rows else Words("Every row is the same.")


def _names(rows: Sequence[Row]) -> str:
    if len(rows) == 1:
        return full_name(rows[0])
    return f"{quantity_words(rows[0])} of {len(rows)} cells"


def _all_rows(judgement: Judgement) -> Table | Words:
    def told(row: Row) -> tuple[str, ...]:
        effects = (row.confirming, row.cycles, row.drift)
        return (
            *compare_cells(row)[:-1],
            *("" if one is None or one.value is None else change(one) for one in effects),
            threshold_words(row),
            "" if row.q is None else _chance(row.q),
            pairs_words(row),
        )

    *same, pairs = COMPARE_HEADER
    more = ("measured again", "in cycles", "drift control", "threshold", "q")
    rows = tuple(map(told, judgement.rows))
    return Table((*same, *more, pairs), rows, _NUM_TEXTS) if rows else Words(_NOTHING)


def _chance(q: float) -> str:
    return f"<{shown.NBSP}{_LEAST_CHANCE:g}" if q < _LEAST_CHANCE else shown.number(q, 3)


_COLUMNS_MEAN = (
    "a and b are medians, of memory the exact figures. Measured again: the same of processes of "
    "their own, which ran because the first ones had found a difference. In cycles: with the time "
    "of fixed work beside each sample divided out, which is the clock. Drift control: work that is "
    "the same on both sides. q: the least share of false alarms at which the table would still "
    "call it a difference. Pairs: those of a process × processes."
)


def _checks(record: CompareRecord) -> Table | Words:
    def error(one: CellSide) -> str:
        return shown.NOT_AVAILABLE if one.error is None else shown.relative_error(one.error)

    def told(cell: CompareCell) -> tuple[str, ...]:
        budget, sides = cell.b.budget, (cell.a, cell.b)
        return (
            shown.plain(cell.name),
            *(f"{one.status}: {one.reason}" if one.reason else one.status for one in sides),
            error(cell.a),
            error(cell.b),
            shown.NOT_AVAILABLE if budget is None else shown.relative_error(budget),
        )

    header = ("cell", "a ended", "b ended", "error of a", "error of b", "budget")
    rows = tuple(map(told, record.compared_cells))
    return Table(header, rows, 3) if rows else Words(_NOTHING)


def _environment(record: CompareRecord, judgement: Judgement) -> Iterator[Table | Words]:
    found = differences(record)
    if found:
        yield Words(f"The sides differ in {'; '.join(f'{what}: {both}' for what, both in found)}.")
    else:
        yield Words("Machine and packages are the same on both sides.")
    yield from _drift(record, judgement)
    facts = [_facts(record.a), _facts(record.b)]
    labels = dict.fromkeys((*facts[0], *facts[1]))
    rows = tuple((label, *(one.get(label, "none") for one in facts)) for label in labels)
    yield Table(("", "a", "b"), rows, 3)


def _drift(record: CompareRecord, judgement: Judgement) -> tuple[Words, ...]:
    return (Words(drift_words(judgement)),) if record.settings.is_same_machine else ()


def _facts(side: Side) -> dict[str, str]:
    def told(value: str | None, field: str) -> str:
        if value is not None:
            return value
        return f"{shown.NOT_AVAILABLE} ({side.unavailable.get(field, 'no reason given')})"

    dirty = {True: "yes", False: "no", None: shown.NOT_AVAILABLE}[side.git_is_dirty]
    return {
        "name": side.name,
        "commit": told(side.git_commit, "git_commit"),
        "uncommitted changes": dirty,
        "measured": side.created or "in this run",
        "machine": side.machine,
        **side.machine_facts,
        **side.packages,
    }


def _thresholds(record: CompareRecord) -> Table:
    gate = record.settings.gate

    def percent(value: float | None) -> str:
        return "as its kind" if value is None else f"{100 * value:g}{shown.NBSP}%"

    rows = [
        (kind, percent(value), percent(gate.memory))
        for kind, value in (("block", gate.block), ("kernel", gate.kernel), ("codec", gate.codec))
    ]
    rows += [(one.cell, percent(one.time), percent(one.memory)) for one in gate.overrides]
    return Table(("cells", "time", "memory"), tuple(rows))


def _cells(record: CompareRecord) -> Table | Words:
    axes = list(dict.fromkeys(axis for cell in record.compared_cells for axis in cell.axes))
    rows = tuple(
        (cell.name, cell.kind, *(cell.axes.get(axis, "") for axis in axes))
        for cell in record.compared_cells
    )
    return Table(("cell", "kind", *axes), rows, len(axes) + 2) if rows else Words("There are none.")


def _repeating(record: CompareRecord) -> Iterator[Code | Words]:
    yield Code(record.settings.command)
    yield Words(
        f"With lmdm-bench {record.tool.version} and seed {record.settings.seed}, from which the "
        "order of the sides comes; the times are this machine's."
    )


def _notes(record: CompareRecord) -> Iterator[str]:
    if not record.settings.is_same_machine:
        yield (
            "Times of two machines are shown beside each other and never judged: neither is "
            "faster for its code."
        )
        return
    turns = (
        "Each pair is one sample of a and one of b next to each other in time, in an order that "
        "was drawn; the effect is the median of the pairs' log ratios in a process, averaged over "
        "processes."
        if record.settings.is_paired
        else "The sides were measured at different times, so the effect is the difference of the "
        "medians of their logarithms, and its interval allows for what two runs of the same code "
        "differ by."
    )
    yield turns
    yield (
        "SLOWER and FASTER: the whole 95 % interval lies beyond the threshold, the row stands "
        "among all rows of the table (Benjamini and Hochberg, 5 %), and neither the drift control "
        "nor the clock explains it. SAME: the whole interval lies within the threshold. All else "
        "is AMBIGUOUS. Memory is exact: MORE or LESS where it differs at all, unless the threshold "
        "says otherwise."
    )
    if record.settings.source == "revisions":
        yield (
            "What is found is measured again in new processes, and called a regression only if "
            "they find it by themselves."
        )
