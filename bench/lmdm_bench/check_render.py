"""A check's record as a report: the same sections as Markdown and as one HTML page.

Everything said here is worked out from the record alone, as in ``render.py``, whose page and
tables these are.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lmdm_bench import format as shown
from lmdm_bench.canvas import to_png, to_svg
from lmdm_bench.check_conditions import Case, falls_behind, pace
from lmdm_bench.check_evidence import evidence
from lmdm_bench.check_figures import CHECK_FIGURES, draw_all
from lmdm_bench.check_record import CheckCell, CheckRecord
from lmdm_bench.check_words import (
    STATE_SIGNS,
    VERDICT_SIGNS,
    option,
    plain_sentences,
    signed,
)
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
    machine_table,
    markdown_part,
    repeating,
    subtitle,
)
from lmdm_bench.replay import replay_rows
from lmdm_bench.replay_table import HEADER as REPLAY_HEADER
from lmdm_bench.replay_table import HEARD_MEANS, POLICY_MEANS, replay_cells
from lmdm_bench.verdict import Judgement, judge_check

CAPTIONS = {
    "service_time": "How long each block took, against its deadline, over the minutes.",
    "survival": "How rare slow and late blocks are, and what a fitted tail says beyond them.",
    "prebuffer": "What another prebuffer would have done to this run.",
    "jitter": "How late blocks were, and how late the harness is by itself.",
    "waterfall": "The three worst blocks and their neighbours, stage by stage.",
}
RESULTS_HEADER = (
    "verdict",
    "dropouts an hour, at most",
    "steady rtf",
    "prebuffer without a miss",
    "control_to_sound p50",
    "minutes",
)
REPLAYED_PREBUFFERS = (1, 2, 3, 4, 6, 8)
_COMMAND_HEADER = ("scheme", "this would do", "by", "to try it")


def check_markdown(record: CheckRecord, figure_folder: str = "") -> str:
    """``check.md``; its figures are PNG files in ``figure_folder``, beside it unless told."""
    return _markdown(_Judged(record), figure_folder)


def check_html(record: CheckRecord) -> str:
    """One page that needs nothing else: its style and its figures are inside."""
    return _html(_Judged(record), _svgs(draw_all(record)))


def check_pngs(record: CheckRecord) -> dict[str, bytes]:
    """The figures that a report shows, by name."""
    return {name: to_png(draw(record)) for name, draw in CHECK_FIGURES.items()}


def write_check_report(record: CheckRecord, folder: Path) -> list[Path]:
    """Write the report and its figures into the folder, each file whole; returns their paths."""
    judged, figures = _Judged(record), draw_all(record)
    svgs = _svgs(figures)
    contents = {
        "check.md": _markdown(judged, "").encode(),
        "check.html": _html(judged, svgs).encode(),
    }
    for name, figure in figures.items():
        contents |= {f"{name}.png": to_png(figure), f"{name}.svg": svgs[name].encode()}
    for name, content in contents.items():
        write_whole(folder / name, content)
    return [folder / name for name in contents]


def results_cells(record: CheckRecord, cell: CheckCell, judgement: Judgement) -> tuple[str, ...]:
    """What any table of results shows of a cell, as in ``RESULTS_HEADER``."""
    told = judgement.summary
    verdict = signed(judgement.verdict)
    if not told.dropouts.num_blocks:
        return (verdict, *("",) * (len(RESULTS_HEADER) - 1))
    case, smallest = Case(record, cell, told), told.smallest_prebuffer
    prebuffer = shown.NOT_AVAILABLE if smallest is None else shown.blocks(smallest)
    return (
        verdict,
        shown.number(told.dropouts.per_hour_upper),
        shown.rtf(pace(case)),
        "none is enough" if falls_behind(case) else prebuffer,
        shown.estimate(told.control_to_sound_seconds.p50, "s"),
        shown.number(told.dropouts.playing_hours * 60.0, 1),
    )


class _Judged:
    """A record, its verdicts and the names of its cells, each worked out once."""

    def __init__(self, record: CheckRecord) -> None:
        self.record = record
        self.judgements = judge_check(record)
        self.names = shown.names([one.workload for one in record.check_cells])

    def __iter__(self) -> Iterator[tuple[str, CheckCell, Judgement]]:
        return zip(self.names, self.record.check_cells, self.judgements, strict=True)

    @property
    def answer(self) -> str:
        """The whole paragraph of one stream; of several, the answer on each."""
        most = None if len(self.names) == 1 else 1
        return " ".join(
            " ".join((f"{signed(one.verdict)}:", *self.sentences(cell, one)[:most]))
            for _, cell, one in self
        )

    def sentences(self, cell: CheckCell, judgement: Judgement) -> tuple[str, ...]:
        return plain_sentences(self.record, cell, judgement)

    def case(self, cell: CheckCell, judgement: Judgement) -> Case:
        return Case(self.record, cell, judgement.summary)


# --- how it is written -----------------------------------------------------


def _markdown(judged: _Judged, figure_folder: str) -> str:
    lines = [f"# {escaped(_title(judged.record))}", "", escaped(subtitle(judged.record)), ""]
    lines += [escaped(judged.answer), ""]
    for section in _sections(judged):
        lines += [f"## {escaped(section.title)}", ""]
        for part in section.parts:
            lines += [*markdown_part(part, CAPTIONS, figure_folder), ""]
    return "\n".join(lines).rstrip() + "\n"


def _html(judged: _Judged, svgs: dict[str, str]) -> str:
    return (
        environment()
        .get_template(TEMPLATE)
        .render(
            title=_title(judged.record),
            subtitle=subtitle(judged.record),
            answer=judged.answer,
            gauges=[_gauge(judged, *one) for one in judged],
            sections=_sections(judged),
            captions=CAPTIONS,
            pictures={name: inline_svg(svg, name, CAPTIONS[name]) for name, svg in svgs.items()},
        )
    )


def _svgs(figures: dict[str, Figure]) -> dict[str, str]:
    return {name: to_svg(one) for name, one in figures.items()}


def _gauge(judged: _Judged, name: str, cell: CheckCell, one: Judgement) -> dict[str, object]:
    """A verdict at a glance, with the steady rtf on a line from 0 and a mark at 1."""
    told = pace(judged.case(cell, one))
    ends = [1.0, told.value or 0.0, *(told.ci95 or ())]
    whole = max(ends) * 1.25
    return {
        "name": name,
        "colour": VERDICT_SIGNS[one.verdict][1],
        "word": signed(one.verdict),
        "model": shown.model(cell.workload, cell.cost),
        "figure": f"steady rtf {shown.rtf(told)}"
        if cell.blocks
        else shown.plain(cell.reason or ""),
        "value": None if told.value is None else 100 * told.value / whole,
        "low": None if told.ci95 is None else 100 * told.ci95[0] / whole,
        "width": None if told.ci95 is None else 100 * (told.ci95[1] - told.ci95[0]) / whole,
        "one": 100 / whole,
    }


# --- what is said ----------------------------------------------------------


def _title(record: CheckRecord) -> str:
    return f"Will it play live on {record.machine.name}?"


def _sections(judged: _Judged) -> tuple[Section, ...]:
    record = judged.record
    return (
        *_in_words(judged),
        Section("What was asked for, and what was found", (_conditions(judged),)),
        *_remedies(judged),
        Section("Over the minutes", (Picture("service_time"),)),
        Section("Evidence", (_evidence(judged), *map(Words, _EVIDENCE_MEANS))),
        Section("How rare are slow and late blocks?", (Picture("survival"),)),
        Section("The worst blocks", (Picture("waterfall"),)),
        Section("With another prebuffer", (*_prebuffers(judged), Picture("prebuffer"))),
        Section(
            "How evenly blocks come, and the harness by itself",
            (Words(_harness(record)), Picture("jitter")),
        ),
        *_incidents(judged),
        *_telemetry(judged),
        Section("Correctness", _correctness(judged)),
        Section("Workloads", (_workloads(judged),)),
        Section("Settings", (_settings(record),)),
        Section("Machine", (machine_table(record),)),
        Section("How to repeat this", (Code(record.settings.command), Words(repeating(record)))),
        Section("How a verdict comes about", tuple(map(Words, _notes(record)))),
    )


def _in_words(judged: _Judged) -> Iterator[Section]:
    """Where the page's beginning has no room for it."""
    if len(judged.names) > 1:
        words = (Words(" ".join(judged.sentences(cell, one))) for _, cell, one in judged)
        yield Section("In words", tuple(words))


def _conditions(judged: _Judged) -> Table:
    rows = tuple(
        (name, f"{STATE_SIGNS[one.state][0]} {one.state}", one.name, one.asked, one.found)
        for name, cell, judgement in judged
        for one in (judgement.conditions if cell.blocks else ())
    )
    return Table(("scheme", "", "condition", "asked for", "found"), rows, num_texts=5)


def _remedies(judged: _Judged) -> Iterator[Section]:
    rows = tuple(
        (
            name,
            one.words,
            "replay of the measured times" if one.is_measured else "arithmetic, not measured",
            option(one),
        )
        for name, _, judgement in judged
        for one in judgement.remedies
    )
    if rows:
        yield Section("What would do", (Table(_COMMAND_HEADER, rows, num_texts=4), Words(_TRIED)))


_TRIED = (
    "Each is one change, all else as it was: the measured blocks, with the times they would then "
    "have taken, played through the ring again. It is told where no block would have been late, at "
    "a pace that can be kept, within every other limit. Fewer steps leave out the last steps' "
    "measured times; other blocks, dtypes and schemes scale the times by what the cost model says "
    "of both."
)


def _evidence(judged: _Judged) -> Table:
    columns = [_lines(judged.case(cell, one)) for _, cell, one in judged]
    labels = list(dict.fromkeys(label for column in columns for label in column))
    rows = tuple((label, *(column.get(label, "") for column in columns)) for label in labels)
    return Table(("", *judged.names), rows, num_texts=1 + len(judged.names))


def _lines(case: Case) -> dict[str, str]:
    """The evidence by its label; what has no label, or one that was there, follows on."""
    found: dict[str, str] = {}
    newest = ""
    for label, text in evidence(case):
        newest = label or newest
        found[newest] = f"{found[newest]}; {text}" if newest in found else text
    return found


_EVIDENCE_MEANS = (
    "In brackets: 95 % intervals. rtf is seconds of work for one second of audio; cold is of the "
    "first 30 s, steady of the last third. A dropout is a run of blocks that came too late. What "
    "is by a tail's model is fitted to the latest or slowest blocks, and never followed further "
    "than ten times the run.",
    "Without a miss: the fewest blocks of prebuffer with which no block of this run would have "
    "been late, by a formula and by playing the run again. Within the target: the fewest that this "
    "run proves to be enough. The start-up delay is how long an endless ring would have had to "
    "wait before playing. max_inference_time is what one block in 10 000 exceeds.",
)


def _prebuffers(judged: _Judged) -> Iterator[Table | Words]:
    policy = judged.record.settings.policy
    rows = tuple(
        (name, *replay_cells(row))
        for name, cell, _ in judged
        for row in replay_rows(cell, REPLAYED_PREBUFFERS, policy)
    )
    if rows:
        yield Table(("scheme", *REPLAY_HEADER), rows)
        yield Words(f"{policy}: {POLICY_MEANS[policy]}. {HEARD_MEANS[0].upper()}{HEARD_MEANS[1:]}.")


def _harness(record: CheckRecord) -> str:
    harness = record.harness
    if harness.reason is not None:
        return f"It was not measured: {harness.reason}."
    return (
        f"A stream that does no work, {shown.count(len(harness.lateness_ms))} blocks of "
        f"{shown.milliseconds(harness.period_ms)}, measured before the others: what it is late by "
        "is the harness's own doing, and in every other figure here too."
    )


def _incidents(judged: _Judged) -> Iterator[Section]:
    rows = tuple(
        (name, one.kind, f"{shown.number(one.at_ms / 60_000.0, 1)}{shown.NBSP}min in", one.words)
        for name, cell, _ in judged
        for one in cell.incidents
    )
    if rows:
        yield Section("What befell the run", (Table(("scheme", "what", "when", ""), rows, 4),))


def _telemetry(judged: _Judged) -> Iterator[Section]:
    for name, cell, _ in judged:
        told = cell.telemetry
        rows = tuple(
            (column, *_spread([one for one in values if one is not None]))
            for column, values in told.columns.items()
        )
        missing = "; ".join(f"{column}: {why}" for column, why in told.unavailable.items())
        parts: list[Table | Words] = []
        if rows:
            parts.append(Table(("", "least", "median", "most", "readings"), rows))
        if missing:
            parts.append(Words(f"Not there: {missing}."))
        if told.ended is not None:
            parts.append(Words(f"It ended before the run: {told.ended}."))
        yield Section(f"Telemetry: {name}", tuple(parts))


def _spread(values: Sequence[float]) -> tuple[str, ...]:
    if not values:
        return (*(shown.NOT_AVAILABLE,) * 3, "0")
    three = (min(values), float(np.median(values)), max(values))
    return (*map(shown.number, three), shown.count(len(values)))


def _correctness(judged: _Judged) -> tuple[Table | Words, ...]:
    def row(name: str, cell: CheckCell) -> tuple[str, ...]:
        check = cell.check
        if check is None:
            return (name, f"not checked: {cell.reason or 'no reason given'}", "", "", "")
        return (
            name,
            check.oracle,
            "holds" if check.is_within_budget else "does not hold",
            shown.relative_error(check.error),
            shown.relative_error(check.budget),
        )

    header = ("scheme", "oracle", "check", "error", "budget")
    rows = tuple(row(name, cell) for name, cell, _ in judged)
    return (
        Words(
            "Each stream was compared with its oracle in float64, in the process that played it."
        ),
        Table(header, rows, num_texts=3),
    )


def _workloads(judged: _Judged) -> Table:
    def values(cell: CheckCell) -> tuple[str, ...]:
        work = cell.workload
        none = "none"
        return (
            shown.model(work, cell.cost),
            f"{shown.count(work.block_frames)} frames, {work.block_seconds:.3f} s",
            f"{shown.count(work.context_frames)} frames",
            none if work.steps is None else f"{work.steps}, {work.sampler}",
            none if work.num_levels is None else f"{work.num_levels}",
            f"{work.guidance_scale:g}",
            work.dtype,
            work.attention,
            cell.weights or "nothing was built",
            f"{shown.blocks(len(cell.warmup))}: {cell.warm_words}",
            shown.milliseconds(cell.cost.bound_ms),
        )

    labels = (
        "model",
        "block",
        "context",
        "steps",
        "levels",
        "guidance_scale",
        "dtype",
        "attention",
        "weights",
        "warm-up",
        "model takes at least",
    )
    columns = [values(cell) for _, cell, _ in judged]
    rows = tuple((label, *(column[at] for column in columns)) for at, label in enumerate(labels))
    return Table(("", *judged.names), rows, num_texts=1 + len(columns))


def _settings(record: CheckRecord) -> Table:
    told = record.settings
    budget = told.control_budget_seconds
    rows = (
        ("mode", told.mode, "" if told.audio is None else told.audio),
        ("minutes asked for", f"{told.minutes:g}", "of playing, for each scheme"),
        ("prebuffer", shown.blocks(told.prebuffer_blocks), "made before playback, and held"),
        ("a late block", told.policy, POLICY_MEANS[told.policy]),
        ("target", f"{told.target_dropouts_per_hour:g}", "dropouts an hour, at most"),
        ("control budget", "none" if budget is None else shown.seconds(budget), ""),
        ("load beside it", told.stress, ""),
        ("device", told.device.value, told.device.reason),
        ("dtype", told.dtype.value, told.dtype.reason),
        ("attention", told.attention, ""),
        ("input", told.input, ""),
        ("garbage collector", told.gc, ""),
        ("seed", str(told.seed), "of weights, noise, arrivals and resampling"),
        ("interrupted", "yes" if record.is_interrupted else "no", ""),
    )
    return Table(("setting", "value", "why"), rows, 3)


def _notes(record: CheckRecord) -> Iterator[str]:
    target = record.settings.target_dropouts_per_hour
    yield (
        "A block may be begun once the ring of finished blocks has room for it, and has to be "
        "ready when the one before has played. Its service time is all between: what has changed, "
        "every step, the commit, the codec, and the host's own work."
    )
    yield (
        f"REAL-TIME: proven at 95 % that there are at most {target:g} dropouts an hour, with a "
        "tenth of each block's time to spare in 99 of 100, and memory left. LIKELY: no dropout, "
        "and the tail of the latest blocks says the same, but the run is too short to prove it. "
        "MARGINAL: not as it is set, but with one change. NOT REAL-TIME: with none that could be "
        "tried. INCONCLUSIVE: this run cannot tell."
    )
    yield (
        "No block is ever removed: slow ones are labelled with what stood beside them. Labels are "
        "evidence, no proof."
    )
