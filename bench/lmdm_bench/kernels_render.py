"""A kernels record as a report: the same sections as Markdown and as one HTML page.

Everything said here is worked out from the record alone, as in ``render.py``, whose page and
tables these are.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from lmdm_bench import format as shown
from lmdm_bench.canvas import to_png, to_svg
from lmdm_bench.kernel_verdicts import (
    MOST_BEHIND,
    SPEED_UP_PLAN,
    TOLERANCE,
    WORDS,
    Goal,
    Standing,
    counted,
    goals,
    is_cuda,
    judged_regimes,
    median_ms,
    middle,
    rates,
    speed_ups,
    standings,
    subject_of,
    timing_of,
    worst,
)
from lmdm_bench.kernels_figures import KERNELS_FIGURES
from lmdm_bench.kernels_record import AttentionCase, KernelRow, KernelsRecord, Regime, Timing
from lmdm_bench.kernels_terminal import kernels_answer
from lmdm_bench.kernels_words import (
    BACKEND_MEANS,
    REGIME_WORDS,
    STATE_SIGNS,
    backends,
    case_words,
    ended,
    heads,
    plans,
    times,
    window,
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

CAPTIONS = {
    "times_beside": "Each other backend's time beside the one that is judged, case by case.",
    "roofline": "FLOP/s on the plan's true area, under what the device was measured to do.",
}
GOALS_HEADER = ("", "goal", "decided by")
KERNELS_HEADER = ("plan", "regime", "cells", *WORDS, "not told", "largest ratio", "there against")
_MOST_PLACES = 2


def kernels_markdown(record: KernelsRecord, figure_folder: str = "") -> str:
    """``kernels.md``; its figures are PNG files in ``figure_folder``, beside it unless told."""
    lines = [f"# {escaped(_title(record))}", "", escaped(subtitle(record)), ""]
    lines += [escaped(kernels_answer(record)), ""]
    for section in _sections(record):
        lines += [f"## {escaped(section.title)}", ""]
        for part in section.parts:
            lines += [*markdown_part(part, CAPTIONS, figure_folder), ""]
    return "\n".join(lines).rstrip() + "\n"


def kernels_html(record: KernelsRecord) -> str:
    """One page that needs nothing else: its style and its figures are inside."""
    svgs = {name: to_svg(draw(record)) for name, draw in KERNELS_FIGURES.items()}
    return _html(record, svgs)


def kernels_pngs(record: KernelsRecord) -> dict[str, bytes]:
    """The figures that a report shows, by name."""
    return {name: to_png(draw(record)) for name, draw in KERNELS_FIGURES.items()}


def write_kernels_report(record: KernelsRecord, folder: Path) -> list[Path]:
    """Write the report and its figures into the folder, each file whole; returns their paths."""
    figures = {name: draw(record) for name, draw in KERNELS_FIGURES.items()}
    svgs = {name: to_svg(one) for name, one in figures.items()}
    contents = {
        "kernels.md": kernels_markdown(record).encode(),
        "kernels.html": _html(record, svgs).encode(),
    }
    for name, figure in figures.items():
        contents |= {f"{name}.png": to_png(figure), f"{name}.svg": svgs[name].encode()}
    for name, content in contents.items():
        write_whole(folder / name, content)
    return [folder / name for name in contents]


def goal_rows(record: KernelsRecord) -> list[tuple[str, ...]]:
    """A row for each goal, as in ``GOALS_HEADER``."""
    return [
        (f"{STATE_SIGNS[one.state][0]} {one.state}".replace(" ", shown.NBSP), one.text, one.why)
        for one in goals(record)
    ]


def standing_rows(record: KernelsRecord) -> list[tuple[str, ...]]:
    """A row for each plan and regime that counts, as in ``KERNELS_HEADER``."""
    found = standings(record)
    return [
        _standing_row(plan, regime, [one for one in found if _is_of(one, plan, regime)])
        for plan in plans(record)
        for regime in judged_regimes(record)
    ]


def _html(record: KernelsRecord, svgs: dict[str, str]) -> str:
    return (
        environment()
        .get_template(TEMPLATE)
        .render(
            title=_title(record),
            subtitle=subtitle(record),
            answer=kernels_answer(record),
            gauges=[_card(one) for one in goals(record)],
            sections=_sections(record),
            captions=CAPTIONS,
            pictures={name: inline_svg(svg, name, CAPTIONS[name]) for name, svg in svgs.items()},
        )
    )


def _card(one: Goal) -> dict[str, object]:
    """A goal at a glance, in the place where a run's report has its gauges."""
    sign, colour = STATE_SIGNS[one.state]
    return {
        "name": one.text,
        "colour": colour,
        "word": f"{sign} {one.state}",
        "model": "",
        "figure": one.why,
        "value": None,
    }


# --- what is said ----------------------------------------------------------


def _title(record: KernelsRecord) -> str:
    return (
        f"Attention over plans, computed in {len(backends(record))} ways on {record.machine.name}"
    )


def _sections(record: KernelsRecord) -> tuple[Section, ...]:
    return (
        Section("Goals", (_goals(record),)),
        Section(
            f"Is {subject_of(record)} at least as fast as the best of the others?",
            (*_standings(record), Picture("times_beside")),
        ),
        Section("Against the roofline", (*_roofline(record), Picture("roofline"))),
        *_speed_ups(record),
        Section("Correctness", _correctness(record)),
        Section("What was compiled", _compiled(record)),
        Section("What has no times", _ended(record)),
        *(Section(f"All times: {plan}", _all_times(record, plan)) for plan in plans(record)),
        Section("Cases", (_cases(record),)),
        Section("Settings", (_settings(record),)),
        Section("Machine", (machine_table(record),)),
        Section(
            "How to repeat this",
            (Code(record.settings.command), Words(repeating(record))),
        ),
        Section("What is timed and what is not", tuple(map(Words, _notes(record)))),
    )


def _goals(record: KernelsRecord) -> Table:
    return Table(GOALS_HEADER, tuple(goal_rows(record)), num_texts=3)


def _standings(record: KernelsRecord) -> tuple[Table | Words, ...]:
    subject = subject_of(record)
    return (
        Table(KERNELS_HEADER, tuple(standing_rows(record)), num_texts=2),
        Words(
            f"A cell is a case in one regime. The ratio is {subject}'s time over that of the "
            "fastest of the others there, taken within each round; a cell's figure is its median "
            f"with a 95 % interval. {subject} is faster where the interval lies below 1, as fast "
            f"where it ends at {1 + TOLERANCE:g} or before, slower where it begins above that; "
            "otherwise this run cannot tell."
        ),
        *(Words(one) for one in _untold(record)),
    )


def _is_of(one: Standing, plan: str, regime: Regime) -> bool:
    return one.case.plan == plan and one.regime == regime


def _standing_row(plan: str, regime: Regime, found: Sequence[Standing]) -> tuple[str, ...]:
    count = counted(found)
    untold = sum(one.why_not is not None for one in found)
    far = worst(found)
    place = "" if far is None else f"{far.other}: {window(far.case)}, {heads(far.case)}"
    return (
        plan,
        REGIME_WORDS[regime],
        f"{len(found)}",
        *(f"{count[word]}" for word in WORDS),
        f"{untold}",
        times(None if far is None else far.ratio),
        place,
    )


def _untold(record: KernelsRecord) -> Iterator[str]:
    whys = Counter(one.why_not for one in standings(record) if one.why_not is not None)
    for why, count in whys.items():
        yield f"Not told in {count} {'cell' if count == 1 else 'cells'}: {shown.plain(why)}."


def _roofline(record: KernelsRecord) -> tuple[Table | Words, ...]:
    """The middle, least and largest share of the roofline of each backend in each regime."""

    def told(name: str, regime: Regime) -> str:
        found = [
            rates(case, timing, record.ceiling).of_roofline
            for case, row in record.rows()
            if row.backend == name and (timing := timing_of(row, regime)) is not None
        ]
        if not found:
            return "not timed"
        least, most = shown.share(min(found)), shown.share(max(found))
        return f"{shown.share(middle(found))} ({least} to {most})"

    regimes = record.settings.regimes
    rows = tuple(
        (name, BACKEND_MEANS.get(name, ""), *(told(name, one) for one in regimes))
        for name in backends(record)
    )
    ceiling = record.ceiling
    return (
        Table(("backend", "what it is", *(REGIME_WORDS[one] for one in regimes)), rows, 2),
        Words(
            "Percent of the roofline: what max(FLOPs ÷ "
            f"{shown.gigaflop(ceiling.flops_per_second)}/s, bytes ÷ "
            f"{shown.gigabytes(ceiling.bytes_per_second)}/s) allows over the median time, both "
            f"rates measured in {ceiling.dtype} in the same process; the median of the cases, in "
            "parentheses the least and the largest. FLOPs are of the pairs that see each other; "
            "bytes are queries and results once, and each visible key and value once. The "
            "bandwidth is the memory's: in a warm cache a byte-bound case can go above 100 %."
        ),
    )


def _speed_ups(record: KernelsRecord) -> Iterator[Section]:
    found = speed_ups(record)
    if found and not is_cuda(record):
        rows = tuple(
            (case.model, f"{case.batch}", REGIME_WORDS[regime], times(one))
            for case, regime, one in found
        )
        header = ("model", "batch", "regime", "masked ÷ range [95 % interval]")
        title = f"How many times as fast as a boolean mask: {SPEED_UP_PLAN}, {window(found[0][0])}"
        yield Section(title, (Table(header, rows, num_texts=3),))


def _correctness(record: KernelsRecord) -> tuple[Table | Words, ...]:
    rows = []
    for name in backends(record):
        checks = [(case, row.check) for case, row in record.rows() if row.backend == name]
        held = [(case, one) for case, one in checks if one is not None]
        if not held:
            rows.append((name, "0", "0", *("",) * 4))
            continue
        case, far = max(held, key=lambda one: one[1].error / one[1].budget)
        rows.append(
            (
                name,
                f"{len(held)}",
                f"{sum(one.is_within_budget for _, one in held)}",
                case_words(case),
                shown.relative_error(far.error),
                shown.relative_error(far.reference_error),
                shown.relative_error(far.budget),
            )
        )
    header = (
        "backend",
        "checked",
        "right",
        "nearest to its budget",
        "error",
        "plain torch",
        "budget",
    )
    return (
        Words(
            "Every case of every backend was compared with a dense softmax in float64 in this "
            "process: before it was timed, with NaN where its result had to go; as it was timed, "
            "graphs included; and once more after the last round. The largest error, relative to "
            "the largest true value, has to stay within twice that of plain torch in the run's "
            "dtype, plus one rounding. What does not has no times."
        ),
        Table(header, tuple(rows), num_texts=4),
    )


def _compiled(record: KernelsRecord) -> tuple[Table | Words, ...]:
    rows = []
    for name in backends(record):
        found = [row for _, row in record.rows() if row.backend == name and row.check is not None]
        seconds = [row.compile_seconds for row in found if row.compile_seconds is not None]
        launches = [
            f"{row.launches * case.layers}"
            for case, row in record.rows()
            if row.backend == name and row.launches is not None
        ]
        rows.append(
            (
                name,
                f"{len(found)}",
                f"{sum(row.compiles or 0 for row in found)}",
                f"{sum(row.recompiles or 0 for row in found)}",
                f"{shown.number(sum(seconds))}{shown.NBSP}s" if seconds else "",
                _span(launches) or _why_no_launches(record),
            )
        )
    header = (
        "backend",
        "cases",
        "compiled until warm",
        "recompiled while timed",
        "compiling took",
        "launches per step, all layers",
    )
    return (
        Table(header, tuple(rows), num_texts=1),
        Words(
            "Compiled are graphs of torch.compile and kernels of Triton. FlexAttention is compiled "
            "with dynamic=False; a plan's spans are data to it, so that one graph serves all plans "
            "of a shape, and each new shape is compiled anew. Launches are those of one pass "
            "through all layers, by torch's profiler."
        ),
    )


def _why_no_launches(record: KernelsRecord) -> str:
    return "not timed" if is_cuda(record) else f"{shown.NOT_AVAILABLE} (no CUDA device)"


def _span(values: Sequence[str]) -> str:
    ordered = sorted(map(int, values))
    if not ordered:
        return ""
    low, high = ordered[0], ordered[-1]
    return f"{low}" if low == high else f"{low} to {high}"


def _ended(record: KernelsRecord) -> tuple[Table | Words, ...]:
    """Each backend, status and reason once, with how many rows it is of."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for backend, status, reason, where in ended(record):
        groups.setdefault((backend, status, reason), []).append(where)
    if not groups:
        return (Words("All that was asked for was timed."),)
    rows = tuple(
        (backend, status, reason, _where(places), f"{len(places)}")
        for (backend, status, reason), places in groups.items()
    )
    return (Table(("backend", "status", "why", "where", "rows"), rows, num_texts=4),)


def _where(places: Sequence[str]) -> str:
    rest = len(places) - _MOST_PLACES
    more = f"; and {rest} more" if rest > 0 else ""
    return "; ".join(places[:_MOST_PLACES]) + more


def _all_times(record: KernelsRecord, plan: str) -> tuple[Table | Words, ...]:
    rows = tuple(
        _time_row(record, case, row, timing)
        for case, row in record.rows()
        if case.plan == plan and row.status == "OK"
        for timing in row.timings
        if timing.status == "OK"
    )
    if not rows:
        return (Words("Nothing of it was timed to its end."),)
    header = (
        "window",
        "heads",
        "regime",
        "backend",
        "ms [95 % interval]",
        "n",
        "TFLOP/s",
        "GB/s",
        "of roofline",
        "launches per step",
        "recompiles",
        "error",
    )
    return (Table(header, rows, num_texts=4),)


def _time_row(
    record: KernelsRecord, case: AttentionCase, row: KernelRow, timing: Timing
) -> tuple[str, ...]:
    told = rates(case, timing, record.ceiling)
    assert row.check is not None
    launches = shown.NOT_AVAILABLE if row.launches is None else f"{row.launches * case.layers}"
    return (
        window(case),
        heads(case),
        REGIME_WORDS[timing.regime],
        row.backend,
        _median(timing),
        f"{len(timing.round_ms)}",
        shown.number(told.tflops),
        shown.number(told.gigabytes_per_second),
        shown.share(told.of_roofline),
        launches,
        f"{row.recompiles}",
        shown.relative_error(row.check.error),
    )


def _median(timing: Timing) -> str:
    """With its interval; below the rounds that one needs, the plain median and why."""
    found = median_ms(timing)
    if found.value is None:
        return f"{shown.number(middle(timing.round_ms))} ({found.reason})".replace(
            "blocks", "rounds"
        )
    return shown.estimate(found)


def _cases(record: KernelsRecord) -> Table:
    rows = tuple(
        (
            one.plan,
            window(one),
            one.model,
            f"{one.batch}",
            f"{one.heads} {shown.TIMES} {one.head_dim}",
            f"{one.layers}",
            f"{one.rows}",
            shown.count(one.queries),
            shown.count(one.places),
            shown.share(one.pairs / (one.queries * one.places)),
            shown.gigaflop(one.flops),
            shown.number(one.num_bytes / 1e6),
        )
        for one in (cell.case for cell in record.kernel_cells)
    )
    header = (
        "plan",
        "window",
        "model",
        "batch",
        "heads",
        "layers",
        "rows of the plan",
        "queries",
        "keys",
        "visible",
        "computed",
        "moved, MB",
    )
    return Table(header, rows, num_texts=5)


def _settings(record: KernelsRecord) -> Table:
    told = record.settings
    rows = (
        ("device", told.device.value, told.device.reason),
        ("dtype", told.dtype.value, told.dtype.reason),
        ("launch table", told.launches.value, told.launches.reason),
        ("cache", told.cache.value, told.cache.reason),
        ("budget", f"{told.budget_minutes:g} min", told.grid),
        *((f"no regime {name!r}", "absent", why) for name, why in told.absent.items()),
        ("seed", str(told.seed), "of inputs and of the order of turns"),
        ("interrupted", "yes" if told.is_interrupted else "no", ""),
    )
    return Table(("setting", "value", "why"), rows, 3)


def _notes(record: KernelsRecord) -> Iterator[str]:
    yield (
        "Timed: calls of the attention alone, from queries, keys and values that are there to a "
        "result in memory of its own. In each round every backend has its turn in each regime, in "
        "an order that is shuffled anew; a sample is an average over the calls of whole passes. "
        "No sample is ever removed."
    )
    if is_cuda(record):
        yield (
            "Alone, warm and cold, the calls are part of one CUDA graph, so that the host's "
            "launches are not in their times; launched call by call they are. Cold, the buffers "
            f"rotate through more than five times the cache ({record.settings.cache.value})."
        )
    else:
        yield (
            "Cold, the buffers rotate through more than five times the cache "
            f"({record.settings.cache.value}), or as much of it as the memory allows; every call "
            "is launched from the host, as all are here."
        )
    yield (
        "All layers: one call after another, each with queries, keys and values of its own, "
        "as in a step; where all of them fit into the cache they stay there from pass to pass, "
        "which in a model its weights would prevent."
    )
    yield (
        "Not timed: projections, norms, rotary embedding, compiling, capture, and building masks "
        f"and tables. {shown.share(MOST_BEHIND - 1)} is the goal's threshold and "
        f"{shown.share(TOLERANCE)} this report's own: neither is a property of the device."
    )
