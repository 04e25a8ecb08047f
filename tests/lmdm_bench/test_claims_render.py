import dataclasses
import re
from collections import Counter
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

import claims_records
from lmdm_bench import claims_render
from lmdm_bench import format as shown
from lmdm_bench.claim_tests import View
from lmdm_bench.claims import judge, memory_rows
from lmdm_bench.claims_curves import line_through
from lmdm_bench.claims_figures import CLAIMS_FIGURES
from lmdm_bench.claims_record import ClaimsRecord
from lmdm_bench.fits import MIN_ROUNDS_FOR_INTERVAL

NASTY = "a|b\n<script>alert('x')</script> [click](javascript:x) `code` *bold* &lt;"

every_example = pytest.mark.parametrize("name", claims_records.EXAMPLES)


def nasty() -> ClaimsRecord:
    """Text from outside wherever a record has any."""
    record = claims_records.one_oom()
    points = tuple(
        one if one.reason is None else dataclasses.replace(one, reason=NASTY)
        for one in record.points
    )
    memory = tuple(
        one if one.reason is None else dataclasses.replace(one, reason=NASTY)
        for one in record.memory
    )
    machine = dataclasses.replace(
        record.machine, name=NASTY, cpu=NASTY, unavailable={"is_on_mains": NASTY}
    )
    settings = dataclasses.replace(record.settings, grid=NASTY, command=f"run '{NASTY}' ```")
    return dataclasses.replace(
        record, points=points, memory=memory, machine=machine, settings=settings
    )


class Elements(HTMLParser):
    """What a page opens, closes, names and refers to."""

    VOID = frozenset(("meta", "br", "img", "hr", "link"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: Counter[str] = Counter()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        self.open += [] if tag in self.VOID else [tag]
        for name, value in attributes:
            if name == "id":
                self.ids[value] += 1
            if name in ("href", "src", "xlink:href"):
                self.links.append(value)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def section(markdown: str, title: str) -> str:
    return markdown.split(f"## {title}", 1)[1].split("\n## ", 1)[0].replace(shown.NBSP, " ")


def cells(text: str) -> list[list[str]]:
    """The rows of a section's tables, header and rule left out."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    rows = [[one.strip() for one in line.strip("|").split(" | ")] for line in lines]
    rules = [at for at, row in enumerate(rows) if set("".join(row)) <= set("-: ")]
    return [row for at, row in enumerate(rows) if at not in rules and at + 1 not in rules]


@every_example
def test_the_answer_counts_the_verdicts_and_says_what_decides_against(name):
    record = claims_records.EXAMPLES[name]()
    judgements = judge(record)
    text = claims_render.full_answer(record, judgements)
    assert text.startswith("Of 8 claims ") and record.machine.name in text
    for one in judgements:
        is_told = f"{one.claim.number} ({one.claim.title}) is {one.verdict}" in text
        assert is_told == (one.verdict != "SUPPORTED")
    assert ("interrupted" in text) == record.settings.is_interrupted


def test_the_answer_of_an_agreeing_run_is_short():
    record = claims_records.agreeing()
    assert claims_render.full_answer(record, judge(record)) == (
        "Of 8 claims 8 are SUPPORTED on AMD EPYC, 2 cores, 16 GiB, Linux (bfloat16 on cpu, 60 of "
        "60 workloads, n = 6 rounds). Codecs are left out: the claims are about the models."
    )


@every_example
def test_each_claim_has_its_text_formula_findings_and_explanation(name):
    record = claims_records.EXAMPLES[name]()
    markdown = claims_render.claims_markdown(record)
    for one in judge(record):
        claim = one.claim
        text = section(markdown, f"Claim {claim.number}, {claim.title}: {one.verdict}\n")
        assert claim.text in text and claim.source in text
        rows = cells(text)
        assert len(rows) == len(one.findings)
        for row, finding in zip(rows, one.findings, strict=True):
            assert row[0].endswith(finding.verdict) and row[1] == finding.what
            assert finding.why_not is None or finding.why_not in row[2]
            assert (finding.bounds is None) == (row[-1] == "")
        for told in claim.explain(one.view):
            assert told.split(" (")[0].replace("*", "\\*")[:40].replace(shown.NBSP, " ") in text


@every_example
def test_markdown_tables_are_whole(name):
    tokens = (
        MarkdownIt("commonmark")
        .enable("table")
        .parse(claims_render.claims_markdown(claims_records.EXAMPLES[name]()))
    )
    widths: list[list[int]] = []
    for token in tokens:
        if token.type == "table_open":
            widths.append([])
        if token.type == "tr_open":
            widths[-1].append(0)
        if token.type in ("th_open", "td_open"):
            widths[-1][-1] += 1
    assert len(widths) > 12
    assert all(len(set(table)) == 1 for table in widths)


def test_lines_are_told_in_milliseconds_with_their_intervals():
    record = claims_records.agreeing()
    text = section(claims_render.claims_markdown(record), "Time against steps and tokens\n")
    view = View(record)
    rows = {row[0]: row for row in cells(text)}
    assert list(rows) == list(claims_records.SCHEMES)
    for scheme, row in rows.items():
        sweep = "tokens" if scheme.startswith("lmm") else "steps"
        through = line_through(view, scheme, sweep)
        assert row[1] == sweep and row[3] == "6"
        for told, fitted in ((row[4], through.slope), (row[5], through.intercept)):
            value = float(told.split(" [")[0].replace(" ", ""))
            assert value == pytest.approx(1000 * fitted.value, rel=0.01)
        assert "[" in row[4] and "[" in row[5] and "[" in row[6]


def test_the_claim_model_has_coefficients_comparison_and_residuals():
    text = section(claims_render.claims_markdown(claims_records.agreeing()), "The claim model\n")
    rows = cells(text)
    assert [row[0] for row in rows[:5]] == ["c0", "cE", "cD", "cA", "cS"]
    assert rows[2][2].startswith("1.90 [1.8") and rows[2][3] == "ms a row"
    assert rows[5][0] == "c0 + cE + cD + cA + cS" and rows[5][2] == "0.0"
    assert len(rows) == 5 + 6 + 6 and rows[-1][-1].endswith("%")


def test_without_a_common_round_there_is_no_claim_model():
    record = claims_records.agreeing()
    points = tuple(
        dataclasses.replace(one, visits=one.visits[at % 6 : at % 6 + 1])
        for at, one in enumerate(record.points)
    )
    text = claims_render.claims_markdown(dataclasses.replace(record, points=points))
    assert "It was not fitted: no round visited all its points" in text


def test_an_lmm_is_set_beside_reading_its_weights():
    record = claims_records.agreeing()
    text = section(claims_render.claims_markdown(record), "Are the LMMs implemented fairly?")
    rows = cells(text)
    assert [row[0] for row in rows] == ["lmm-encoder-decoder"] * 3 + ["lmm-frame-wise"] * 3
    bandwidth = record.ceiling.bytes_per_second
    view = View(record)
    for scheme, (block, frame, token) in (
        ("lmm-encoder-decoder", rows[:3]),
        ("lmm-frame-wise", rows[3:]),
    ):
        paper = view.paper_point(scheme)
        floor_ms = 1000 * paper.cost.bytes_weights / bandwidth
        assert block[3] == shown.number(floor_ms).replace(shown.NBSP, " ")
        first, last = (view.points_of(scheme, "tokens")[at].cost for at in (0, -1))
        per_token = (last.bytes_weights - first.bytes_weights) / (
            last.evaluations - first.evaluations
        )
        assert token[3] == shown.number(1000 * per_token / bandwidth)
        through = line_through(view, scheme, "tokens")
        assert token[4].startswith(shown.number(1000 * through.slope.value))
        quotient = through.slope.value * bandwidth / per_token
        assert token[5].startswith(shown.number(quotient)) and "[" in token[5]
        assert frame[5] == token[5]
        assert paper.workload.num_levels is not None
        assert frame[1] == f"a frame of {paper.workload.num_levels} tokens"


def test_memory_tells_what_fits():
    record = claims_records.agreeing()
    rows = cells(section(claims_render.claims_markdown(record), "Memory\n"))
    for row, one in zip(rows, memory_rows(View(record)), strict=True):
        assert row[0] == one.scheme
        assert row[2] == ", ".join(f"{size}" for size, fits in one.fits.items() if fits)
        assert float(row[7]) == pytest.approx(one.predicted.peak_bytes / 1e9, abs=6e-4)
    failed = section(claims_render.claims_markdown(claims_records.one_oom()), "Memory\n")
    assert "lmm-encoder-decoder: its memory was not measured (OOM" in failed


@every_example
def test_all_points_are_there_with_n_and_with_their_reason(name):
    record = claims_records.EXAMPLES[name]()
    text = section(claims_render.claims_markdown(record), "All points\n")
    rows = cells(text)
    assert len(rows) == len(record.points)
    for row, point in zip(rows, record.points, strict=True):
        assert row[0] == point.workload.scheme and row[5] == point.status
        assert row[6] == f"{len(point.visits)}"
        has_interval = len(point.visits) >= MIN_ROUNDS_FOR_INTERVAL
        assert ("[" in row[7]) == (point.status == "OK" and has_interval)
        assert point.reason is None or point.reason in text


@every_example
def test_the_page_is_whole_and_needs_nothing_else(name):
    page = claims_render.claims_html(claims_records.EXAMPLES[name]())
    elements = Elements(page)
    assert elements.open == []
    assert elements.tags["svg"] == len(CLAIMS_FIGURES) - 1  # the claims are a table already
    assert not elements.tags.keys() & {"script", "img", "link", "iframe"}
    assert max(elements.ids.values()) == 1
    names = {f"#{one}" for one in elements.ids}
    assert all(one in names for one in elements.links)
    assert set(re.findall(r"url\((#[^)]+)\)", page)) <= names
    text = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert "http" not in text.replace("http-equiv", "")
    assert "prefers-color-scheme: dark" in page and "var(--ink)" in page


def test_nothing_from_outside_becomes_markup():
    record = nasty()
    page = claims_render.claims_html(record)
    assert Elements(page).open == [] and "<script" not in page
    markdown = claims_render.claims_markdown(record)
    drawn = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    found = Elements(drawn)
    assert not found.tags["script"] and not found.tags["em"] and not found.tags["strong"]
    assert found.tags["code"] == 1  # the command
    assert not any(one.startswith("javascript") for one in found.links)


def test_a_record_of_nothing_is_still_a_report():
    record = dataclasses.replace(claims_records.agreeing(), points=(), memory=())
    assert "8 are NOT IDENTIFIABLE" in claims_render.claims_markdown(record)
    assert Elements(claims_render.claims_html(record)).open == []


def test_the_report_is_written_whole_with_each_figure_twice(tmp_path):
    record = claims_records.agreeing()
    paths = claims_render.write_claims_report(record, tmp_path)
    expected = {"claims.md", "claims.html"}
    expected |= {f"{name}.{kind}" for name in CLAIMS_FIGURES for kind in ("png", "svg")}
    assert {one.name for one in paths} == expected == {one.name for one in tmp_path.iterdir()}
    assert (tmp_path / "claims.md").read_text() == claims_render.claims_markdown(record)
    assert (tmp_path / "claims.html").read_text() == claims_render.claims_html(record)
    for name, content in claims_render.claims_pngs(record).items():
        assert (tmp_path / f"{name}.png").read_bytes() == content
        assert (tmp_path / f"{name}.svg").read_text().startswith("<?xml")
    pictures = re.findall(r"!\[.*\]\((.*)\)", (tmp_path / "claims.md").read_text())
    assert len(pictures) == len(CLAIMS_FIGURES) - 1
    assert all((tmp_path / one).is_file() for one in pictures)


def test_pictures_can_lie_in_a_folder_of_their_own():
    markdown = claims_render.claims_markdown(claims_records.agreeing(), "figures/a b")
    assert "](figures/a%20b/steps.png)" in markdown
