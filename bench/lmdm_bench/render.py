"""A record as a report: the same sections as Markdown and as one HTML page.

Everything said here is worked out from the record alone. Text that came from outside (paths,
reasons, names) is escaped where it is written, not where it is read.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from lmdm_bench import format as shown
from lmdm_bench.canvas import FAINT, INK, MUTED, PAPER, to_png, to_svg
from lmdm_bench.figures import FIGURES
from lmdm_bench.record import (
    Cell,
    Cost,
    Estimate,
    Machine,
    Memory,
    Record,
    Summary,
    Tool,
    write_whole,
)

Verdict = Literal["keeps up", "model alone keeps up", "does not keep up", "cannot tell"]

CAPTIONS = {
    "waterfall": "Every block's stages against the deadline.",
    "service_time": "Every measured block, with the codec and without it.",
    "arithmetic": "What was measured beside what arithmetic says it takes at least.",
}
TEMPLATE = "report.html.jinja"

# What Markdown would read as markup inside a line. A lone "<" or "_" inside a word is none.
_MARKDOWN_SIGNS = re.compile(r"([\\`*|~]|(?<!\w)_|_(?!\w)|\](?=[(\[:])|<(?=[A-Za-z/!?]))")
_PAGE_COLOURS = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    FAINT: "var(--faint)",
    PAPER: "var(--paper)",
}
_COMMIT_LETTERS = 10
_MOST_OF_ORDER = 12


@dataclass(frozen=True)
class Table:
    """Rows of words; every column after the first ``num_texts`` holds figures."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_texts: int = 1
    kind: Literal["table"] = "table"


@dataclass(frozen=True)
class Words:
    """A paragraph."""

    text: str
    kind: Literal["words"] = "words"


@dataclass(frozen=True)
class Picture:
    """One of the figures, by name."""

    name: str
    kind: Literal["picture"] = "picture"


@dataclass(frozen=True)
class Code:
    """Lines to type."""

    text: str
    kind: Literal["code"] = "code"


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    parts: tuple[Table | Words | Picture | Code, ...]


class Measured(Protocol):
    """What a record of any kind says of when, with what and where it was measured."""

    @property
    def created(self) -> str: ...

    @property
    def tool(self) -> Tool: ...

    @property
    def machine(self) -> Machine: ...


def verdict(summary: Summary) -> Verdict:
    """Whether a scheme keeps up: told only where the whole interval is on one side of 1.

    Where no codec was run it is told of the model alone: a codec could only add to its work.
    """
    told = _deciding(summary)
    if told.ci95 is None:
        return "cannot tell"
    low, high = told.ci95
    if high < 1:
        return "keeps up" if told is summary.rtf else "model alone keeps up"
    return "does not keep up" if low >= 1 else "cannot tell"


def answer(record: Record) -> str:
    """The run in one paragraph of plain language, for the terminal too."""
    names = map(shown.spoken, shown.names([one.workload for one in record.cells]))
    said = [_said(name, cell) for name, cell in zip(names, record.cells, strict=True)]
    if record.settings.is_interrupted:
        said.append("The run was interrupted before its end.")
    counts = sorted({cell.summary.rtf_model.n for cell in record.cells if cell.summary})
    measured = " or ".join(map(shown.blocks, counts)) or shown.blocks(0)
    turns = ", the schemes taking turns" if len(record.cells) > 1 else ""
    said.append(
        f"Measured: {measured} of each scheme, made back to back{turns}, each block as soon as the "
        "one before was done. That is not a live run: nothing was played, so this does not "
        "tell how often a block would be late."
    )
    return " ".join(said)


def markdown(record: Record, figure_folder: str = "") -> str:
    """``report.md``; its figures are PNG files in ``figure_folder``, beside it unless told."""
    lines = [f"# {escaped(_title(record))}", "", escaped(subtitle(record)), ""]
    lines += [escaped(answer(record)), ""]
    for section in _sections(record):
        lines += [f"## {escaped(section.title)}", ""]
        for part in section.parts:
            lines += [*markdown_part(part, CAPTIONS, figure_folder), ""]
    return "\n".join(lines).rstrip() + "\n"


def html(record: Record) -> str:
    """One page that needs nothing else: its style and its figures are inside."""
    names = shown.names_beside_models([one.workload for one in record.cells])
    return (
        environment()
        .get_template(TEMPLATE)
        .render(
            title=_title(record),
            subtitle=subtitle(record),
            answer=answer(record),
            gauges=[_gauge(*one) for one in zip(names, record.cells, strict=True)],
            sections=_sections(record),
            captions=CAPTIONS,
            pictures={
                name: inline_svg(to_svg(draw(record)), name, CAPTIONS[name])
                for name, draw in FIGURES.items()
            },
        )
    )


def write_report(record: Record, folder: Path) -> list[Path]:
    """Write the report and its figures into the folder, each file whole; returns their paths."""
    contents = {"report.md": markdown(record).encode(), "report.html": html(record).encode()}
    contents |= {f"{name}.png": content for name, content in pngs(record).items()}
    for name, content in contents.items():
        write_whole(folder / name, content)
    return [folder / name for name in contents]


def pngs(record: Record) -> dict[str, bytes]:
    """The figures that a report shows, by name."""
    return {name: to_png(draw(record)) for name, draw in FIGURES.items()}


def results_cells(cell: Cell) -> tuple[str, ...]:
    """What any results table shows of a cell, as in ``RESULTS_HEADER``; blank unless it is OK."""
    told = cell.summary
    if told is None:
        return ("",) * len(RESULTS_HEADER)
    return (
        shown.seconds(cell.workload.block_seconds),
        shown.estimate(told.service_ms.p50, "ms"),
        shown.estimate(told.service_ms.p95, "ms"),
        shown.estimate(told.service_ms.p99, "ms"),
        shown.rtf(told.rtf),
        shown.rtf(told.rtf_model),
        shown.peak_memory(cell.memory),
    )


RESULTS_HEADER = ("block", "service p50", "p95", "p99", "rtf", "rtf_model", "peak memory")


def markdown_table(table: Table) -> list[str]:
    """The lines of a table, whose cells may hold anything."""
    header, *rows = (tuple(map(escaped, row)) for row in (table.header, *table.rows))
    return markdown_rows(header, rows, table.num_texts)


def markdown_rows(
    header: Sequence[str], rows: Sequence[Sequence[str]], num_texts: int
) -> list[str]:
    """The lines of a table whose cells are Markdown already."""
    rule = ["---" if at < num_texts else "---:" for at in range(len(header))]
    return [f"| {' | '.join(row)} |" for row in (header, rule, *rows)]


def escaped(text: str) -> str:
    """Text as one line of Markdown that reads as it is: no markup, no table edge, no HTML."""
    return _MARKDOWN_SIGNS.sub(r"\\\1", shown.plain(text).replace("&", "&amp;"))


def subtitle(record: Measured) -> str:
    """When and with what it was measured."""
    tool = record.tool
    if tool.git_commit is None:
        built = f"commit {shown.NOT_AVAILABLE}: {tool.git_reason or 'no reason given'}"
    else:
        state = {True: ", with changes", False: "", None: ", perhaps with changes"}
        built = f"commit {tool.git_commit[:_COMMIT_LETTERS]}{state[tool.git_is_dirty]}"
    return f"Measured {record.created} with lmdm-bench {tool.version} ({built})."


def machine_table(record: Measured) -> Table:
    """What is known of the machine, and what it ran."""
    tool = record.tool
    rows = [*shown.machine_facts(record.machine), ("python", tool.python)]
    rows += sorted(tool.packages.items())
    return Table(("what", "value"), tuple(rows), 2)


def repeating(record: Measured) -> str:
    """With what the same can be measured again."""
    tool = record.tool
    at = "" if tool.git_commit is None else f" at commit {tool.git_commit}"
    return (
        f"With lmdm-bench {tool.version}{at}. Noise, prompts and random weights come from the "
        "seed; the times are this machine's."
    )


def markdown_part(
    part: Table | Words | Picture | Code, captions: Mapping[str, str], figure_folder: str
) -> list[str]:
    """The lines of one part of a section; its pictures are PNG files in the folder."""
    match part:
        case Table():
            return markdown_table(part)
        case Words():
            return [escaped(part.text)]
        case Picture():
            folder = f"{quote(figure_folder)}/" if figure_folder else ""
            return [f"![{captions[part.name]}]({folder}{part.name}.png)"]
        case Code():
            longest = max((len(run) for run in re.findall("`+", part.text)), default=0)
            fence = "`" * max(3, longest + 1)
            return [f"{fence}sh", part.text, fence]


@cache
def environment() -> jinja2.Environment:
    """Where ``TEMPLATE`` is; what is put into a page is escaped there."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def inline_svg(svg: str, name: str, caption: str) -> Markup:
    """A figure as an element of the page: it takes the page's colours, and its ids are its own."""
    svg = svg[svg.index("<svg") :]
    for attribute in ("width", "height"):
        svg = re.sub(rf'(<svg[^>]*?) {attribute}="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    for colour, variable in _PAGE_COLOURS.items():
        svg = svg.replace(colour, variable)
    label = f'role="img" aria-label="{caption}"'
    return Markup(svg.replace("<svg ", f"<svg {label} ", 1))


# --- what is said ----------------------------------------------------------


def _title(record: Record) -> str:
    return f"Live music diffusion on {record.machine.name}"


def _said(name: str, cell: Cell) -> str:
    if cell.summary is None:
        return f"{name} was not measured ({shown.why_not(cell, None)})."
    told, model = _deciding(cell.summary), _figure(cell.summary.rtf_model)
    if told is cell.summary.rtf:
        without = ""
        took = f"a second of audio took {_figure(told)} seconds to make, {model} without the codec"
    else:
        without = f" without a codec ({shown.why_not(cell, cell.summary.rtf)})"
        took = f"the tokens of a second of audio took {model} seconds to make"
    match verdict(cell.summary):
        case "keeps up" | "model alone keeps up":
            return f"{name} keeps up{without}: {took}."
        case "does not keep up":
            even = f", even{without}" if without else ""
            return f"{name} does not keep up{even}: {took}."
        case "cannot tell":
            why = "the interval has 1 in it" if told.ci95 else told.reason or "there is no interval"
            return f"This run cannot tell whether {name} keeps up{without} ({why}): {took}."


def _deciding(summary: Summary) -> Estimate:
    """What keeping up is judged by: all the work, or the model's where no codec was run."""
    return summary.rtf_model if summary.rtf.value is None else summary.rtf


def _figure(rtf: Estimate) -> str:
    return shown.rtf(rtf) if rtf.ci95 else shown.rtf_and_interval(rtf)[0]


def _sections(record: Record) -> tuple[Section, ...]:
    names = shown.names([one.workload for one in record.cells])
    named = list(zip(names, record.cells, strict=True))
    return (
        Section(
            "Results",
            (
                _results(record),
                Words(
                    "In brackets: 95 % intervals. rtf is seconds of work for one second of audio, "
                    "codec included; rtf_model leaves the codec out. Against the bound: the "
                    "model's median time over what arithmetic says it takes at least. "
                    + shown.PEAK_MEMORY_MEANS
                ),
                *map(Words, _of_two_kinds(record)),
                *(Words(f"{name}: {shown.why_not(cell, None)}") for name, cell in _failed(named)),
                Picture("service_time"),
            ),
        ),
        Section(
            "Where the time goes",
            (_stages(named), *map(Words, _of_lmms(record)), Picture("waterfall")),
        ),
        Section(
            "Measured against arithmetic",
            (_costs(named, record), Words(_ceiling(record)), Picture("arithmetic")),
        ),
        Section("Correctness", _correctness(named)),
        Section("Memory", (_memory(named), Words(_PREDICTED_MEANS))),
        *_sound(named),
        Section("Workloads", (_workloads(named),)),
        Section("Settings", (_settings(record),)),
        Section("Machine", (machine_table(record),)),
        Section(
            "How to repeat this",
            (Code(record.settings.command), Words(repeating(record))),
        ),
        Section("What is timed and what is not", tuple(map(Words, _notes(record)))),
    )


Named = Sequence[tuple[str, Cell]]


def _failed(named: Named) -> Iterator[tuple[str, Cell]]:
    return ((name, cell) for name, cell in named if cell.summary is None)


def _of_two_kinds(record: Record) -> Iterator[str]:
    if len({one.workload.block_seconds for one in record.cells}) > 1:
        yield (
            "The blocks differ in length, so service times of one block are not of the same work: "
            "rtf_model is the figure to compare by."
        )


def _of_lmms(record: Record) -> Iterator[str]:
    if any(shown.is_lmm(one.workload) for one in record.cells):
        yield (
            "A step of an lmm scheme is one frame of audio: its temporal step, and a token at each "
            "of its levels."
        )


def _results(record: Record) -> Table:
    def row(name: str, cell: Cell) -> tuple[str, ...]:
        model = shown.model(cell.workload, cell.cost)
        if cell.summary is None:
            return (name, model, cell.status, "", *results_cells(cell), "")
        against = shown.over(shown.model_ms(cell).value, cell.cost.bound_ms)
        word = verdict(cell.summary)
        return (name, model, cell.status, word, *results_cells(cell), shown.ratio(against))

    names = shown.names_beside_models([one.workload for one in record.cells])
    header = ("scheme", "model", "status", "back to back", *RESULTS_HEADER, "against the bound")
    rows = tuple(row(*one) for one in zip(names, record.cells, strict=True))
    return Table(header, rows, num_texts=4)


def _stages(named: Named) -> Table:
    def row(stage: str, label: str) -> tuple[str, ...]:
        return (label, *(_stage(cell, stage) for _, cell in named))

    rows = tuple(row(*one) for one in shown.STAGES.items())
    return Table(("median ms, part of all", *(name for name, _ in named)), rows)


def _stage(cell: Cell, stage: str) -> str:
    if cell.summary is None:
        return cell.status
    told = cell.summary.stage_ms.get(stage)
    part = cell.summary.stage_share.get(stage)
    if told is not None and told.value == 0:
        return "none"
    value = shown.estimate(told) if told else shown.NOT_AVAILABLE
    return f"{value}, {shown.share(part)}" if part else value


def _costs(named: Named, record: Record) -> Table:
    rows: list[tuple[str, ...]] = []

    def add(label: str, values: Iterator[str]) -> None:
        rows.append((label, *values))

    costs = [cell.cost for _, cell in named]
    works = [cell.workload for _, cell in named]
    add("model", (shown.plain(one.model) for one in works))
    add("parameters", (shown.millions(one.parameters) for one in costs))
    add("block", (shown.seconds(one.block_seconds) for one in works))
    add("window: context + block, frames", (shown.window(one) for one in works))
    add(shown.EVALUATIONS, (shown.count(one.evaluations) for one in costs))
    add("sequential steps", (shown.count(one.sequential_steps) for one in costs))
    add("rows that only fill a cache", (shown.count(one.encode_rows) for one in costs))
    add("rows of all steps", (shown.count(one.step_rows) for one in costs))
    add("attention pairs of a head", (shown.count(one.attention_pairs) for one in costs))
    add("computed", (shown.gigaflop(one.flops_per_block) for one in costs))
    add("of it attention", (shown.gigaflop(one.flops_attention) for one in costs))
    add("moved", (shown.gigabytes(one.bytes_per_block) for one in costs))
    add("of it keys and values", (_cache_bytes(cell) for _, cell in named))
    add("model takes at least", (shown.milliseconds(one.bound_ms) for one in costs))
    add("which is bound by", (shown.bound_by(one, record.ceiling) for one in costs))
    add("model took (median)", (_took(cell, shown.model_ms(cell)) for _, cell in named))
    add("times the bound", (_times(shown.model_ms(cell), cell.cost.bound_ms) for _, cell in named))
    add("rtf_model at least", (shown.number(_rtf_at_least(cell), 2) for _, cell in named))
    add("rtf_model", (_rtf_model(cell) for _, cell in named))
    add("codec takes at least", (shown.codec_bound(one) for one in costs))
    add("codec took (median)", (_codec_took(cell) for _, cell in named))
    add("times the bound", (_times(_codec_ms(cell), _codec_bound_ms(cell)) for _, cell in named))
    add("peak memory, predicted", (_predicted(cell) for _, cell in named))
    add("peak memory, measured", (_measured_peak(cell) for _, cell in named))
    return Table(("per block", *(name for name, _ in named)), tuple(rows))


def _cache_bytes(cell: Cell) -> str:
    moved = cell.cost.bytes_cache_read + cell.cost.bytes_cache_written
    return shown.gigabytes(moved) if moved else "none"


def _codec_ms(cell: Cell) -> Estimate | None:
    return cell.summary.stage_ms.get("codec_decode") if cell.summary else None


def _took(cell: Cell, told: Estimate | None) -> str:
    return cell.status if cell.summary is None or told is None else shown.estimate(told, "ms")


def _codec_took(cell: Cell) -> str:
    return "none" if cell.cost.codec is None else _took(cell, _codec_ms(cell))


def _codec_bound_ms(cell: Cell) -> float | None:
    return cell.cost.codec.bound_ms if cell.cost.codec else None


def _rtf_at_least(cell: Cell) -> float:
    return cell.cost.bound_ms / 1000 / cell.workload.block_seconds


def _rtf_model(cell: Cell) -> str:
    return cell.status if cell.summary is None else shown.rtf(cell.summary.rtf_model)


def _predicted(cell: Cell) -> str:
    return shown.gibibytes(cell.cost.footprint.peak_bytes)


def _measured_peak(cell: Cell) -> str:
    return cell.status if cell.summary is None else shown.peak_memory(cell.memory)


def _times(told: Estimate | None, bound_ms: float | None) -> str:
    if bound_ms is None:
        return "none"
    return shown.ratio(shown.over(told.value if told else None, bound_ms))


def _ceiling(record: Record) -> str:
    ceiling = record.ceiling
    return (
        f"At least: the greater of FLOPs ÷ {shown.gigaflop(ceiling.flops_per_second)}/s and bytes "
        f"÷ {shown.gigabytes(ceiling.bytes_per_second)}/s in each pass. Both were "
        f"measured in {ceiling.dtype} in the same process: the fastest large matrix product, and "
        "reading a buffer far larger than the last cache. The FLOPs count a multiply and an add as "
        "two."
    )


def _correctness(named: Named) -> tuple[Table | Words, ...]:
    def row(name: str, cell: Cell) -> tuple[str, ...]:
        check = cell.check
        if check is None:
            return (name, f"not checked: {shown.why_not(cell, None)}", *("",) * 6)
        return (
            name,
            check.oracle,
            "holds" if check.is_within_budget else "does not hold",
            shown.count(check.depth),
            shown.count(check.num_blocks),
            shown.relative_error(check.error),
            shown.relative_error(check.reference_error),
            shown.relative_error(check.budget),
        )

    header = ("scheme", "oracle", "check", "layers", "blocks", "error", "plain pass", "budget")
    return (
        Words(
            "Each scheme was compared with its oracle in float64, in this process, before it was "
            "timed. The largest relative error has to stay within twice that of a plain pass in "
            "the run's dtype, plus one rounding band."
        ),
        Table(header, tuple(row(*one) for one in named), num_texts=3),
    )


_PREDICTED: dict[str, Callable[[Cost], int]] = {
    "predicted: weights": lambda cost: cost.footprint.weight_bytes,
    "predicted: caches": lambda cost: cost.footprint.cache_bytes,
    "predicted: activations": lambda cost: cost.footprint.activation_bytes,
    "predicted: workspace": lambda cost: cost.footprint.workspace_bytes,
    "predicted: peak": lambda cost: cost.footprint.peak_bytes,
}
_PREDICTED_MEANS = (
    "Predicted is by arithmetic, of the model alone. What was measured has the codec in it, and "
    "whatever else the process held by then, such as the weights that schemes share."
)
_MEMORY = {
    "rss_peak_bytes": "resident set, peak above the baseline",
    "rss_baseline_bytes": "resident set, baseline",
    "vram_allocated_bytes": "vram_allocated, peak",
    "vram_reserved_bytes": "vram_reserved, peak",
    "vram_process_bytes": "vram_process",
    "vram_device_bytes": "vram_device",
}


def _memory(named: Named) -> Table:
    def one(memory: Memory | None, field: str) -> str:
        if memory is None:
            return shown.NOT_AVAILABLE
        held: int | None = getattr(memory, field)
        reason = memory.unavailable.get(field, "no reason given")
        return f"{shown.NOT_AVAILABLE} ({reason})" if held is None else shown.gibibytes(held)

    rows = (
        *(
            (label, *(shown.gibibytes(part(cell.cost)) for _, cell in named))
            for label, part in _PREDICTED.items()
        ),
        *(
            (label, *(one(cell.memory, field) for _, cell in named))
            for field, label in _MEMORY.items()
        ),
    )
    return Table(("memory", *(name for name, _ in named)), rows)


def _sound(named: Named) -> Iterator[Section]:
    rows = tuple(
        (
            name,
            cell.audio.path,
            f"{shown.number(cell.audio.seconds)}{shown.NBSP}s",
            shown.number(cell.audio.peak),
            shown.number(cell.audio.rms),
            f"{cell.audio.gain_db:+.1f}{shown.NBSP}dB",
        )
        for name, cell in named
        if cell.audio is not None
    )
    silent = [
        shown.spoken(name) for name, cell in named if cell.summary and cell.cost.codec is None
    ]
    without = (
        [Words(f"No sound of {' and '.join(silent)}: tokens, and no codec in the suite for them.")]
        if silent
        else []
    )
    if rows:
        header = ("scheme", "file", "length", "peak", "rms", "gain applied")
        yield Section(
            "Sound",
            (
                Words("The context, then the blocks that were made."),
                Table(header, rows, 2),
                *without,
            ),
        )


def _workloads(named: Named) -> Table:
    def values(cell: Cell) -> dict[str, str]:
        work = cell.workload
        visible = work.visible_blocks
        return {
            "model": shown.model(work, cell.cost),
            "block": f"{shown.count(work.block_frames)} frames, {work.block_seconds:.3f} s",
            "context": f"{shown.count(work.context_frames)} frames",
            "visible blocks": _if_any(visible),
            "levels": _if_any(work.num_levels),
            "steps": _if_any(work.steps),
            "sampler": work.sampler,
            "guidance_scale": f"{work.guidance_scale:g}",
            "batch": shown.count(work.batch),
            "dtype": work.dtype,
            "attention": work.attention,
            "audio": f"{work.samples_per_frame} samples a frame, {work.sample_rate_hz} Hz",
        }

    columns = [values(cell) for _, cell in named]
    rows = tuple((label, *(column[label] for column in columns)) for label in columns[0])
    return Table(("workload", *(name for name, _ in named)), rows, 1 + len(named))


def _if_any(value: int | None) -> str:
    return "does not apply" if value is None else shown.count(value)


def _settings(record: Record) -> Table:
    told = record.settings
    context = told.context_encode_ms
    rows = (
        ("device", told.device.value, told.device.reason),
        ("dtype", told.dtype.value, told.dtype.reason),
        ("linear", told.linear.value, told.linear.reason),
        ("attention", told.attention, ""),
        ("weights", told.weights, "speed does not depend on their values"),
        ("input", told.input, f"{shown.number(told.input_seconds)} s"),
        ("blocks asked for", shown.count(told.blocks_asked), "for each scheme"),
        ("order", _order(told.order), "shuffled with the seed, so that drift falls on all alike"),
        ("seed", str(told.seed), ""),
        ("garbage collector", told.gc, ""),
        ("encoding the context's audio", shown.milliseconds(context), "once, before the blocks"),
    )
    return Table(("setting", "value", "why"), rows, 3)


def _order(order: Sequence[str]) -> str:
    rest = len(order) - _MOST_OF_ORDER
    more = f" and {shown.count(rest)} more" if rest > 0 else ""
    return ", ".join(order[:_MOST_OF_ORDER]) + more


def _notes(record: Record) -> Iterator[str]:
    is_without = any(one.cost.codec is None for one in record.cells)
    tokens = " (its tokens, where the suite has no codec for the model)" if is_without else ""
    yield (
        f"Timed: all that lies between asking for a block and having its samples{tokens} in the "
        "host's memory. That is the context encode, every step of the sampler, the commit, the "
        "codec's decode, and what the host does between them."
    )
    yield (
        "Not timed: building or loading the model, encoding the input's audio, the warm-up blocks, "
        "writing files. Warm-up blocks stay in the record and in the waterfall, and are left out "
        "of every figure. No measured block is ever removed."
    )
    yield (
        "The deadline is the block's own length in audio. Blocks were made back to back; a live "
        "run waits for its clock, shares the machine with the audio software, and warms up over "
        "minutes, none of which is in these times."
    )
    yield (
        "Intervals are at 95 %. Medians and percentiles: distribution-free, from order statistics, "
        "and a percentile is told only where both ends of its interval are finite. "
        f"rtf: {', '.join(_methods(record)) or 'no scheme was measured'}."
    )


def _methods(record: Record) -> list[str]:
    return list(dict.fromkeys(one.summary.rtf_model.method for one in record.cells if one.summary))


def _gauge(name: str, cell: Cell) -> dict[str, object]:
    """One scheme's rtf on a line from 0, with a mark at 1: places in per cent of the line."""
    told = _deciding(cell.summary) if cell.summary else None
    rtf = "rtf" if cell.summary and told is cell.summary.rtf else "rtf_model"
    ends = [1.0] if told is None else [1.0, told.value or 0.0, *(told.ci95 or ())]
    whole = max(ends) * 1.25
    interval = told.ci95 if told else None
    return {
        "name": name,
        "colour": shown.scheme_colour(cell.workload.scheme),
        "word": verdict(cell.summary) if cell.summary else cell.status,
        "model": shown.model(cell.workload, cell.cost),
        "figure": f"{rtf} {shown.rtf(told)}" if told else shown.plain(cell.reason or ""),
        "value": None if told is None or told.value is None else 100 * told.value / whole,
        "low": None if interval is None else 100 * interval[0] / whole,
        "width": None if interval is None else 100 * (interval[1] - interval[0]) / whole,
        "one": 100 / whole,
    }
