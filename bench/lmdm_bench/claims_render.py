"""A claims record as a report: the same sections as Markdown and as one HTML page.

Everything said here is worked out from the record alone, as in ``render.py``, whose page and
tables these are.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from lmdm_bench import format as shown
from lmdm_bench.canvas import to_png, to_svg
from lmdm_bench.claim_tests import (
    FAMILY_RISK,
    SWEEP_WORDS,
    Finding,
    Verdict,
    View,
    axis_value,
    is_measured,
    region_words,
)
from lmdm_bench.claims import (
    DIFFUSION_SCHEMES,
    LAPTOP_VRAM_GB,
    LMM_SCHEMES,
    MS_PER_SECOND,
    RATIO_TOLERANCE,
    Judgement,
    MemoryRow,
    fit_claim_model,
    fitted_points,
    judge,
    memory_rows,
    ratio_rows,
)
from lmdm_bench.claims_audio_figure import paper_rows
from lmdm_bench.claims_curves import Growth, growths, line_through
from lmdm_bench.claims_figures import CLAIMS_FIGURES, draw_all
from lmdm_bench.claims_memory_figure import STAGES_OF_MEMORY
from lmdm_bench.claims_panels import SCHEMES
from lmdm_bench.claims_record import ClaimsRecord, Point, Sweep, Visit
from lmdm_bench.claims_terminal import answer
from lmdm_bench.claims_words import (
    VERDICT_SIGNS,
    interval_words,
    key_finding,
    told_with_interval,
)
from lmdm_bench.fits import ClaimModel, Fitted, over_rounds
from lmdm_bench.record import Estimate, write_whole
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
    "claims_table": "Each claim, its verdict, and the number that decides it.",
    "steps": "Time of a block against steps or tokens, and what is left at 0.",
    "context": "Time of a block against context, with the parts that grow with it.",
    "exponents": "Local exponents between neighbouring context sizes.",
    "ratios": "Measured ratios of times against those of FLOPs and of bounds.",
    "audio_seconds": "Seconds of compute for one second of audio at the paper's settings.",
    "memory": "Predicted and measured memory under that of laptop GPUs.",
}
# Of one block: what a coefficient of the claim model is multiplied by, its unit, and its scale.
TERMS = {
    "c0": ("1", "ms", MS_PER_SECOND),
    "cE": ("rows of passes that only fill a cache", "ms a row", MS_PER_SECOND),
    "cD": ("rows of all steps", "ms a row", MS_PER_SECOND),
    "cA": ("attention pairs of a head, over layers", "ns a pair", 1e9),
    "cS": ("passes that must follow each other", "ms a pass", MS_PER_SECOND),
}
_NOT_TOLD = "not told"
_MOST_MODELS = 6
_MOST_RESIDUALS = 6


def claims_markdown(record: ClaimsRecord, figure_folder: str = "") -> str:
    """``claims.md``; its figures are PNG files in ``figure_folder``, beside it unless told."""
    return _markdown(record, judge(record), figure_folder)


def claims_html(record: ClaimsRecord) -> str:
    """One page that needs nothing else: its style and its figures are inside."""
    judgements = judge(record)
    svgs = {name: to_svg(one) for name, one in draw_all(record, judgements).items()}
    return _html(record, judgements, svgs)


def claims_pngs(record: ClaimsRecord) -> dict[str, bytes]:
    """The figures that a report shows, by name."""
    return {name: to_png(draw(record)) for name, draw in CLAIMS_FIGURES.items()}


def write_claims_report(record: ClaimsRecord, folder: Path) -> list[Path]:
    """Write the report and its figures into the folder, each file whole; returns their paths."""
    judgements = judge(record)
    figures = draw_all(record, judgements)
    svgs = {name: to_svg(one) for name, one in figures.items()}
    contents = {
        "claims.md": _markdown(record, judgements, "").encode(),
        "claims.html": _html(record, judgements, svgs).encode(),
    }
    for name, figure in figures.items():
        contents |= {f"{name}.png": to_png(figure), f"{name}.svg": svgs[name].encode()}
    for name, content in contents.items():
        write_whole(folder / name, content)
    return [folder / name for name in contents]


def full_answer(record: ClaimsRecord, judgements: Sequence[Judgement]) -> str:
    """The run in one paragraph: the verdicts, and what decides those that are no support."""
    said = [answer(record, judgements)]
    for one in judgements:
        if one.verdict != "SUPPORTED":
            finding = key_finding(one)
            why = "nothing was measured for it" if finding is None else _why(finding)
            said.append(f"{one.claim.number} ({one.claim.title}) is {one.verdict}: {why}.")
    said.append("Codecs are left out: the claims are about the models.")
    return " ".join(said)


# --- how it is written -----------------------------------------------------


def _markdown(record: ClaimsRecord, judgements: Sequence[Judgement], figure_folder: str) -> str:
    lines = [f"# {escaped(_title(record))}", ""]
    lines += [escaped(subtitle(record)), ""]
    lines += [escaped(full_answer(record, judgements)), ""]
    for section in _sections(record, judgements):
        lines += [f"## {escaped(section.title)}", ""]
        for part in section.parts:
            lines += [*markdown_part(part, CAPTIONS, figure_folder), ""]
    return "\n".join(lines).rstrip() + "\n"


def _html(record: ClaimsRecord, judgements: Sequence[Judgement], svgs: dict[str, str]) -> str:
    return (
        environment()
        .get_template(TEMPLATE)
        .render(
            title=_title(record),
            subtitle=subtitle(record),
            answer=full_answer(record, judgements),
            gauges=[_card(one) for one in judgements],
            sections=_sections(record, judgements),
            captions=CAPTIONS,
            pictures={name: inline_svg(svg, name, CAPTIONS[name]) for name, svg in svgs.items()},
        )
    )


def _card(one: Judgement) -> dict[str, object]:
    """A claim at a glance, in the place where a run's report has its gauges."""
    finding = key_finding(one)
    return {
        "name": f"{one.claim.number}. {one.claim.title}",
        "colour": VERDICT_SIGNS[one.verdict][1],
        "word": _signed(one.verdict),
        "model": "" if finding is None else finding.what,
        "figure": "" if finding is None else _value(finding),
        "value": None,
    }


# --- what is said ----------------------------------------------------------


def _title(record: ClaimsRecord) -> str:
    return f"What live music models cost, claimed and measured on {record.machine.name}"


def _sections(record: ClaimsRecord, judgements: Sequence[Judgement]) -> tuple[Section, ...]:
    view = View(record)
    return (
        Section(
            "Claims and verdicts",
            (
                _verdicts(judgements),
                Words(_rule(judgements)),
            ),
        ),
        *(_claim(one) for one in judgements),
        Section("Time against steps and tokens", (_lines(view), *_line_words(), Picture("steps"))),
        Section(
            "Time against context",
            (_growths(view), *_growth_words(), Picture("context"), Picture("exponents")),
        ),
        Section("The claim model", _claim_model(view)),
        Section("Ratios between the diffusion schemes", _ratios(view)),
        Section("One second of audio", (_audio(view), Picture("audio_seconds"))),
        Section("Are the LMMs implemented fairly?", _fairness(view)),
        Section("Memory", _memory(view)),
        Section("All points", _points(record)),
        Section("Settings", (_settings(record),)),
        Section("Machine", (machine_table(record),)),
        Section(
            "How to repeat this",
            (Code(record.settings.command), Words(repeating(record))),
        ),
        Section("What is timed and what is not", tuple(map(Words, _notes(record)))),
    )


def _signed(verdict: Verdict) -> str:
    return f"{VERDICT_SIGNS[verdict][0]} {verdict}".replace(" ", shown.NBSP)


def _value(finding: Finding) -> str:
    return told_with_interval(finding) if finding.fitted is not None else _NOT_TOLD


def _corrected(finding: Finding) -> str:
    return "" if finding.bounds is None else interval_words(finding.bounds)


def _region(finding: Finding) -> str:
    return region_words(finding.accepted).replace("-", "−").replace(" ", shown.NBSP)


def _why(finding: Finding) -> str:
    if finding.fitted is None:
        return f"{finding.what}: {finding.why_not}"
    wider = f", corrected {_corrected(finding)}" if finding.bounds else ""
    why = f" ({finding.why_not})" if finding.why_not else ""
    return f"{finding.what} is {_value(finding)}{wider}, and should be {_region(finding)}{why}"


def _verdicts(judgements: Sequence[Judgement]) -> Table:
    def row(one: Judgement) -> tuple[str, ...]:
        finding = key_finding(one)
        told = (
            ("", "", "") if finding is None else (finding.what, _value(finding), _region(finding))
        )
        return (_signed(one.verdict), f"{one.claim.number}. {one.claim.title}", *told)

    header = ("verdict", "claim", "decided by", "value [95 % interval]", "should be")
    return Table(header, tuple(map(row, judgements)), num_texts=3)


def _rule(judgements: Sequence[Judgement]) -> str:
    confidence = f"{100 * judgements[0].confidence:.2f} %" if judgements else ""
    return (
        "A claim rests on numbers, each with a region in which it holds. It is SUPPORTED where "
        "every number's interval lies inside its region, CONTRADICTED where one lies wholly "
        "outside, and NOT IDENTIFIABLE otherwise: this run cannot tell. Intervals in brackets are "
        f"at 95 %; verdicts rest on wider ones, at {confidence} each, so that the risk of any "
        f"false verdict in the whole run is {shown.share(FAMILY_RISK)}. The number shown is the "
        "first that has the claim's own verdict."
    )


def _claim(one: Judgement) -> Section:
    claim = one.claim
    has_whys = any(finding.why_not for finding in one.findings)

    def row(finding: Finding) -> tuple[str, ...]:
        why = (finding.why_not or "",) if has_whys else ()
        told = (_value(finding), _region(finding), _corrected(finding))
        return (_signed(finding.verdict), finding.what, *why, *told)

    header = (
        "verdict",
        "number",
        *(("why it is not told",) if has_whys else ()),
        "value [95 % interval]",
        "should be",
        "corrected interval",
    )
    table = Table(header, tuple(map(row, one.findings)), num_texts=3 if has_whys else 2)
    return Section(
        f"Claim {claim.number}, {claim.title}: {one.verdict}",
        (
            Words(claim.text),
            Words(f"Formula: {claim.formula}. Source: {claim.source}."),
            table,
            *map(Words, claim.explain(one.view)),
        ),
    )


# --- fits ------------------------------------------------------------------


def _scaled(one: Fitted, factor: float) -> Estimate:
    """The figure in another unit."""
    error = one.standard_error if one.is_positive else one.standard_error * factor
    return replace(one, value=one.value * factor, standard_error=error).estimate()


def _figure(one: Estimate) -> str:
    value, interval = shown.value_and_interval(one)
    return _with_minus(f"{value} {interval if one.ci95 else ''}".rstrip())


def _with_minus(text: str) -> str:
    """Figures with a minus sign in place of the hyphen."""
    return text.replace("-", "−")


def _lines(view: View) -> Table:
    rows = []
    of: tuple[tuple[Sequence[str], Sweep], ...] = (
        (DIFFUSION_SCHEMES, "steps"),
        (LMM_SCHEMES, "tokens"),
    )
    for schemes, sweep in of:
        rows += [_line_row(view, scheme, sweep) for scheme in schemes]
    header = ("scheme", "over", "sizes", "rounds", "ms for each one", "ms at 0", "bend")
    return Table(header, tuple(rows), num_texts=2)


def _line_row(view: View, scheme: str, sweep: Sweep) -> tuple[str, ...]:
    through = line_through(view, scheme, sweep)
    if isinstance(through, str):
        return (scheme, f"{SWEEP_WORDS[sweep]}: {through}", "", "", *(_NOT_TOLD,) * 3)
    points = view.points_of(scheme, sweep)
    sizes = ", ".join(f"{axis_value(one, sweep):g}" for one in points)
    bend = _NOT_TOLD if through.bend is None else _figure(through.bend.estimate())
    return (
        scheme,
        SWEEP_WORDS[sweep],
        sizes,
        f"{len(view.rounds(points))}",
        _figure(_scaled(through.slope, MS_PER_SECOND)),
        _figure(_scaled(through.intercept, MS_PER_SECOND)),
        bend,
    )


def _line_words() -> Iterator[Words]:
    yield Words(
        "Lines are least squares of the relative errors over the rounds that visited the whole "
        "sweep. The bend is the slope over the upper half of the sizes ÷ that over the lower half: "
        "1 where the line is straight."
    )


def _growths(view: View) -> Table:
    rows = []
    for scheme in SCHEMES:
        found = growths(view, scheme)
        rows += [_growth_row(scheme, one) for one in found]
        if not found:
            rows.append((scheme, view.why_missing(scheme, "context"), *("",) * 4))
    header = (
        "scheme",
        "time of",
        "local exponents, smallest first",
        "p",
        "floor a, ms",
        "largest residual",
    )
    return Table(header, tuple(rows), num_texts=2)


def _growth_row(scheme: str, one: Growth) -> tuple[str, ...]:
    told = ", ".join(_figure(exponent.estimate()) for exponent in one.exponents)
    floor = one.floor
    residual = max(map(abs, floor.relative_residuals), default=None)
    if floor.exponent is None or floor.floor is None:
        return (scheme, f"{one.words}; p not told: {floor.why_not}", told, *(_NOT_TOLD,) * 2, "")
    return (
        scheme,
        one.words,
        told,
        _figure(floor.exponent.estimate()),
        _figure(_scaled(floor.floor, MS_PER_SECOND)),
        shown.share(residual),
    )


def _growth_words() -> Iterator[Words]:
    yield Words(
        "A local exponent is d log t ÷ d log n between two neighbouring sizes; where a floor hides "
        "the growth they rise from 0. The floor model is t = a + b·n^p. It is told from six sizes "
        "that span a factor of 32, two of them with a power's part of three floors."
    )


def _claim_model(view: View) -> tuple[Table | Words, ...]:
    model = fit_claim_model(view)
    about = Words(
        "t = c0 + cE·E + cD·K·D + cA·pairs + cS·steps over the diffusion schemes' points, by "
        "least squares with no negative cost. All models of these terms are compared by AICc; "
        "the intervals take the choice as given."
    )
    if model is None:
        return about, Words("It was not fitted: no round visited all its points.")
    if model.why_not is not None:
        return about, Words(f"It was not fitted: {model.why_not}.")
    best = model.compared[0][1]
    compared = tuple(
        (" + ".join(names), _with_minus(shown.number(aicc, 1)), shown.number(aicc - best, 1))
        for names, aicc in model.compared[:_MOST_MODELS]
    )
    header = ("model", "AICc", "above the best")
    return (
        about,
        Table(
            ("term", "multiplied by", "coefficient", "unit"),
            tuple(_term(model, name) for name in model.names),
            num_texts=2,
        ),
        Words(f"The best of {shown.count(len(model.compared))} models:"),
        Table(header, compared, num_texts=1),
        Words("The points that the model tells worst:"),
        _residuals(view, model),
    )


def _term(model: ClaimModel, name: str) -> tuple[str, ...]:
    counted, unit, scale = TERMS.get(name, (name, "s", 1.0))
    one = model.coefficients.get(name)
    told = "left out by AICc" if one is None else _figure(_scaled(one, scale))
    return (name, counted, told, unit)


def _residuals(view: View, model: ClaimModel) -> Table:
    rows = zip(fitted_points(view), model.predicted, model.relative_residuals, strict=True)
    worst = sorted(rows, key=lambda row: -abs(row[2]))[:_MOST_RESIDUALS]
    return Table(
        ("scheme", "size", "predicted ms", "measured ÷ predicted − 1"),
        tuple(
            (
                point.workload.scheme,
                f"{shown.window(point.workload)} frames, {point.workload.steps} steps",
                shown.number(predicted * MS_PER_SECOND),
                f"{100 * residual:+.1f} %".replace("-", "−"),
            )
            for point, predicted, residual in worst
        ),
        num_texts=2,
    )


def _ratios(view: View) -> tuple[Table | Words | Picture, ...]:
    rows = ratio_rows(view)
    if not rows:
        why = "No pair of diffusion schemes was measured at the same size in the same round."
        return Words(why), Picture("ratios")
    table = Table(
        (
            "ratio",
            "model",
            "context + block",
            "steps",
            "explained by",
            "measured [95 % interval]",
            "by FLOPs",
            "by bounds",
            "by the claim model",
        ),
        tuple(
            (
                f"{row.scheme} ÷ {row.other}",
                row.workload.model,
                shown.window(row.workload),
                f"{row.workload.steps}",
                row.cause or "FLOPs",
                _figure(row.measured.estimate()),
                shown.number(row.flops_ratio),
                shown.number(row.bound_ratio),
                _NOT_TOLD if row.model_ratio is None else shown.number(row.model_ratio),
            )
            for row in rows
        ),
        num_texts=5,
    )
    tolerance = shown.share(RATIO_TOLERANCE - 1)
    words = (
        f"Explained by FLOPs where measured and FLOPs agree within {tolerance}; by bandwidth where "
        "both times are near their bounds and these agree; by launches or compute where the claim "
        "model does."
    )
    return Picture("ratios"), table, Words(words)


# --- one second of audio, and fairness -------------------------------------


def _audio(view: View) -> Table:
    rows = tuple(
        (
            row.scheme,
            ", ".join((*row.details, *(() if row.why_not is None else (row.why_not,)))),
            _NOT_TOLD if row.told is None else shown.rtf(row.told.estimate()),
            _part(row.encode, row.told),
            _part(None if row.told is None else row.told.value - (row.encode or 0.0), row.told),
        )
        for row in paper_rows(view)
    )
    header = ("scheme", "model and setting", "compute s per audio s", "context encode", "the rest")
    return Table(header, rows, num_texts=2)


def _part(value: float | None, told: Fitted | None) -> str:
    if told is None:
        return _NOT_TOLD
    return "none" if value is None else shown.number(value)


def _fairness(view: View) -> tuple[Table | Words, ...]:
    bandwidth = view.record.ceiling.bytes_per_second
    rows = [row for scheme in LMM_SCHEMES for row in _fair_rows(view, scheme, bandwidth)]
    header = (
        "scheme",
        "of",
        "weights read",
        "reading them takes, ms",
        "measured, ms",
        "times the floor",
    )
    return (
        Words(
            "A token cannot be made faster than its weights are read. The floor is the bytes of "
            f"weights over {shown.gigabytes(bandwidth)}/s, which this machine was measured to read "
            "at best; below 1 some weights stayed in a cache. The rows of a frame and a token are "
            "slopes over the tokens sweep, so no encode is in them."
        ),
        Table(header, tuple(rows), num_texts=2),
    )


def _fair_rows(view: View, scheme: str, bandwidth: float) -> Iterator[tuple[str, ...]]:
    points = view.points_of(scheme, "tokens")
    paper = view.paper_point(scheme)
    if paper is None:
        yield (scheme, f"a block: {view.why_missing(scheme, 'paper')}", *(_NOT_TOLD,) * 4)
    else:
        seconds = over_rounds(
            [one.service_ms / MS_PER_SECOND for one in paper.visits], is_positive=True
        )
        words = f"a block of {shown.count(paper.cost.evaluations)} tokens, with its encode"
        yield _fair_row(scheme, words, paper.cost.bytes_weights, seconds, bandwidth)
    through = line_through(view, scheme, "tokens")
    levels = {one.workload.num_levels or 1 for one in points}
    if isinstance(through, str) or len(levels) != 1:
        why = through if isinstance(through, str) else f"{scheme}'s points differ in levels"
        yield (scheme, f"a frame: {why}", *(_NOT_TOLD,) * 4)
        return
    first, last = points[0], points[-1]
    tokens = last.cost.evaluations - first.cost.evaluations
    num_bytes = (last.cost.bytes_weights - first.cost.bytes_weights) / tokens
    (per_frame,) = levels
    for words, count in ((f"a frame of {per_frame} tokens", per_frame), ("a token", 1)):
        slope = replace(
            through.slope,
            value=through.slope.value * count,
            standard_error=through.slope.standard_error * count,
        )
        yield _fair_row(scheme, words, num_bytes * count, slope, bandwidth)


def _fair_row(
    scheme: str, words: str, num_bytes: float, seconds: Fitted, bandwidth: float
) -> tuple[str, ...]:
    floor = num_bytes / bandwidth
    return (
        scheme,
        words,
        shown.gigabytes(num_bytes),
        shown.number(floor * MS_PER_SECOND),
        _figure(_scaled(seconds, MS_PER_SECOND)),
        _figure(_scaled(seconds, 1 / floor)),
    )


# --- memory, points and the rest -------------------------------------------


def _memory(view: View) -> tuple[Table | Words | Picture, ...]:
    rows = memory_rows(view)

    def row(one: MemoryRow) -> tuple[str, ...]:
        held = one.predicted
        measured = over = _NOT_TOLD
        if one.measured is not None:
            measured = _figure(_scaled(one.measured, 1e-9))
            over = _figure(_scaled(one.measured, 1 / held.peak_bytes))
        return (
            one.scheme,
            f"{one.model}, {shown.millions(one.parameters)}",
            ", ".join(f"{size}" for size in LAPTOP_VRAM_GB if one.fits[size]) or "none of these",
            *(_gb(part(held)) for part in STAGES_OF_MEMORY.values()),
            _gb(held.peak_bytes),
            measured,
            over,
        )

    header = (
        "GB (10⁹ bytes)",
        "model",
        "fits into GB",
        *STAGES_OF_MEMORY,
        "predicted peak",
        "measured peak",
        "measured ÷ predicted",
    )
    words = (
        "Predicted is by arithmetic, measured is the peak of processes that did nothing else; the "
        "codec is in neither. Laptop GPUs are sold with "
        f"{', '.join(map(str, LAPTOP_VRAM_GB))} GB: what fits holds the larger of both."
    )
    whys = (f"{one.scheme}: {one.why_not}." for one in rows if one.why_not is not None)
    table = Table(header, tuple(map(row, rows)), num_texts=3)
    return table, Words(words), *map(Words, whys), Picture("memory")


def _gb(num_bytes: float) -> str:
    return shown.number(num_bytes / 1e9, 3)


_POINTS_MEAN = (
    "n counts rounds; times are geometric means over them with 95 % intervals. The error is the "
    "largest relative error against the named oracle in float64, and its budget, both proved in "
    "the process that timed the point."
)


def _points(record: ClaimsRecord) -> tuple[Table | Words, ...]:
    header = (
        "scheme",
        "model",
        "context + block",
        "steps or levels",
        "sweeps",
        "status",
        "n",
        "ms of a block",
        "encode, ms",
        "compute s per audio s",
        "times the bound",
        "error ÷ budget",
    )
    whys = Counter(
        (point.workload.scheme, point.status, point.reason)
        for point in record.points
        if point.reason is not None
    )
    return (
        Words(_POINTS_MEAN),
        *(
            Words(f"{scheme}, {count} {'point' if count == 1 else 'points'} {status}: {reason}.")
            for (scheme, status, reason), count in whys.items()
        ),
        Table(header, tuple(map(_point_row, record.points)), num_texts=6),
    )


def _point_row(point: Point) -> tuple[str, ...]:
    work, cost, check = point.workload, point.cost, point.check
    count = f"{work.num_levels} levels" if shown.is_lmm(work) else f"{work.steps} steps"
    named = (work.scheme, work.model, shown.window(work), count, ", ".join(point.sweeps))
    error = "not checked" if check is None else shown.number(check.error / check.budget, 2)
    service = _mean_ms(point, lambda visit: visit.service_ms)
    if not is_measured(point) or service is None:
        return (*named, point.status, f"{len(point.visits)}", *("",) * 4, error)
    encode = _mean_ms(point, lambda visit: visit.context_encode_ms)
    return (
        *named,
        point.status,
        f"{len(point.visits)}",
        _figure(service.estimate()),
        "none" if encode is None else shown.number(encode.value),
        shown.number(service.value / MS_PER_SECOND / work.block_seconds),
        shown.ratio(shown.over(service.value, cost.bound_ms)),
        error,
    )


def _mean_ms(point: Point, ms_of: Callable[[Visit], float | None]) -> Fitted | None:
    known = [one for one in map(ms_of, point.visits) if one is not None and one > 0]
    return over_rounds(known, is_positive=True) if known else None


def _settings(record: ClaimsRecord) -> Table:
    told = record.settings
    rows = (
        ("device", told.device.value, told.device.reason),
        ("dtype", told.dtype.value, told.dtype.reason),
        ("linear", told.linear.value, told.linear.reason),
        ("attention", told.attention, ""),
        ("budget", f"{told.budget_minutes:g} min", told.grid),
        ("seed", str(told.seed), "of weights, noise, the order of visits, and resampling"),
        ("interrupted", "yes" if told.is_interrupted else "no", ""),
    )
    return Table(("setting", "value", "why"), rows, 3)


def _notes(record: ClaimsRecord) -> Iterator[str]:
    ceiling = record.ceiling
    yield (
        "Timed: one block of each point in each round, from the context encode to the commit. "
        "Points take turns in an order that is shuffled anew each round, so drift falls on all "
        "alike; ratios are taken within a round."
    )
    yield ("Not timed: building or loading a model, warm-up, the codec. No visit is ever removed.")
    yield (
        f"Bounds rest on {shown.gigaflop(ceiling.flops_per_second)}/s and "
        f"{shown.gigabytes(ceiling.bytes_per_second)}/s, both measured here in {ceiling.dtype}."
    )
