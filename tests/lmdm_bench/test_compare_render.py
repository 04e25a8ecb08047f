import dataclasses
import json
import re
from collections import Counter
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

import compare_records
import compare_rows
from compare_rows import first_step, judgement, row, slower, untold
from lmdm_bench import compare_render
from lmdm_bench import format as shown
from lmdm_bench.compare_answer import headline
from lmdm_bench.compare_record import CompareRecord, Override
from lmdm_bench.compare_verdicts import Judgement, judge
from lmdm_bench.compare_words import VERDICT_SIGNS, overall

every_example = pytest.mark.parametrize("name", compare_records.EXAMPLES)


class Elements(HTMLParser):
    """What a page opens, closes, names and refers to."""

    VOID = frozenset(("meta", "br", "img", "hr", "link"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        self.open += [] if tag in self.VOID else [tag]
        self.links += [value for name, value in attributes if name in ("href", "src", "xlink:href")]

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def planted(monkeypatch):
    """Makes the verdicts on any record these rows'."""

    def plant(*rows, found: Judgement | None = None) -> None:
        monkeypatch.setattr(compare_render, "judge", lambda record: found or judgement(*rows))

    return plant


def markdown(record: CompareRecord) -> str:
    return compare_render.compare_markdown(record).replace(shown.NBSP, " ")


def section(text: str, title: str) -> str:
    return text.split(f"<summary>{title}</summary>", 1)[1].split("</details>", 1)[0]


def cells(text: str) -> list[list[str]]:
    """The rows of a text's tables, header and rule left out."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[one.strip() for one in line.strip("|").split(" | ")] for line in lines[2:]]


@every_example
def test_the_first_line_is_the_verdict_and_the_rest_is_folded_away(name):
    record = compare_records.EXAMPLES[name]()
    text = markdown(record)
    first = text.splitlines()[0]
    title = headline(record, judge(record)).replace(shown.NBSP, " ")
    assert first == f"**{VERDICT_SIGNS[overall(judge(record))][0]} {title}**"
    shown_part, *folded = text.split("<details>")
    assert f"Exit code {judge(record).exit_code}" in shown_part
    assert len(folded) == text.count("</details>") == 9
    for one in judge(record).rows:
        if one.quantity == "time":
            assert f" {one.verdict} | {one.cell} |" in shown_part


def test_a_row_has_its_times_its_change_and_its_pairs(planted):
    planted(row("one"), slower("two"), first_step("two"))
    found = cells(markdown(compare_records.slower()).split("<details>")[0])
    assert found == [
        ["= SAME", "one", "300 ms", "301 ms", "+0.3 % [−0.5, +1.2]", "16 × 3"],
        ["▲ SLOWER", "two", "300 ms", "349 ms", "+16.4 % [+15.1, +17.8]", "16 × 3"],
        ["▲ SLOWER", "two, first step", "166 ms", "214 ms", "+29.0 % [+27.6, +30.5]", "16 × 3"],
    ]


def test_all_rows_have_what_was_measured_again_and_what_doubts_them(planted):
    doubted = untold("one", cycles=compare_rows.ratio(1.1, 1.0, 1.2), q=0.2)
    planted(slower("one", q=1e-9), doubted, row("two", "p99", effect=compare_rows.ratio(None)))
    first, second, third = cells(section(markdown(compare_records.slower()), "All rows"))
    assert first[5:7] == ["+17.0 % [+15.0, +19.0]", ""]
    assert first[7:] == ["+0.2 % [−0.4, +0.8]", "±3 %", "< 0.001", "16 × 3"]
    assert second[6] == "+10.0 % [0.0, +20.0]" and second[9] == "0.200"
    assert third[:2] == ["= SAME", "two, p99"] and third[4:7] == ["", "", ""]


def test_reasons_that_many_cells_share_are_told_once(planted):
    planted(slower("one"), *(untold(f"{at}", quantity="p99") for at in range(3)), row("two"))
    rows = cells(section(markdown(compare_records.slower()), "Reasons"))
    assert [one[:2] for one in rows] == [["▲ SLOWER", "one"], ["? AMBIGUOUS", "p99 of 3 cells"]]
    assert rows[0][2] == "The whole interval is above +3 %. Confirmed."
    planted(row("one"))
    assert "Every row is the same." in section(markdown(compare_records.same()), "Reasons")


def test_how_each_side_ended_and_its_error_is_told():
    rows = cells(section(markdown(compare_records.broken()), "Is it still right?"))
    assert rows[0] == ["encoder-decoder · sao-small", "OK", "OK", "4.0e-03", "4.0e-03", "2.0e-02"]
    assert rows[1][2] == "INCORRECT: error 0.3 against its oracle" and rows[1][4] == "3.0e-01"


def test_environment_and_thresholds_are_told():
    record = compare_records.slower()
    gate = dataclasses.replace(
        record.settings.gate,
        overrides=(Override("outpaint*", 0.05, None),),
    )
    settings = dataclasses.replace(record.settings, gate=gate, differing={"fan": "on against off"})
    b = dataclasses.replace(record.b, git_commit=None, unavailable={"git_commit": "no git"})
    text = markdown(dataclasses.replace(record, settings=settings, b=b))
    environment = section(text, "Environment")
    assert "The sides differ in fan: on against off." in environment
    assert ["commit", "a" * 40, "n/a (no git)"] in cells(environment)
    assert ["torch", "2.13.0", "2.13.0"] in cells(environment)
    assert cells(section(text, "Thresholds")) == [
        ["block", "3 %", "0 %"],
        ["kernel", "2 %", "0 %"],
        ["codec", "3 %", "0 %"],
        ["outpaint\\*", "5 %", "as its kind"],
    ]


def test_how_a_verdict_comes_about_fits_what_was_done():
    title = "How a verdict comes about"
    paired = section(markdown(compare_records.same()), title)
    assert "next to each other in time" in paired and "measured again" in paired
    settings = dataclasses.replace(
        compare_records.same().settings, source="records", is_paired=False
    )
    record = dataclasses.replace(compare_records.same(), settings=settings)
    apart = section(markdown(record), title)
    assert "at different times" in apart and "measured again" not in apart
    whole = markdown(compare_records.side_by_side())
    two = section(whole, title)
    assert "drift" not in whole.replace("drift control | threshold", "")
    assert "never judged" in two and "SLOWER" not in two


@every_example
def test_the_page_is_whole_and_needs_nothing_else(name):
    page = compare_render.compare_html(compare_records.EXAMPLES[name]())
    found = Elements(page)
    assert not found.open and found.tags["svg"] == 1
    assert all(link.startswith("#") for link in found.links)


def test_cells_that_differ_are_first_at_a_glance(planted):
    planted(*(row(f"same {at}") for at in range(9)), slower("two"))
    page = compare_render.compare_html(compare_records.slower())
    names = re.findall(r'<div class="gauge"[^>]*>\s*<span>([^<]*)', page)
    assert len(names) == 8 and names[:2] == ["two", "same 0"]


def test_text_from_outside_is_no_markup(planted):
    record, found = compare_rows.nasty()
    planted(found=found)
    elements = Elements(compare_render.compare_html(record))
    assert not elements.open and not elements.tags["script"]
    page = MarkdownIt("commonmark").enable("table").render(compare_render.compare_markdown(record))
    assert "<script" not in page and 'href="javascript' not in page and "<em>bold" not in page


def test_nothing_compared_is_a_report_too():
    record = compare_records.record([])
    assert markdown(record).startswith("**? Nothing was compared**\n\nNothing was compared. ")
    assert not Elements(compare_render.compare_html(record)).open


def test_writing_leaves_the_report_its_figure_and_the_verdicts(tmp_path):
    record = compare_records.slower()
    written = compare_render.write_compare_report(record, tmp_path)
    names = {"compare.md", "compare.html", "verdicts.json", "forest.png", "forest.svg"}
    assert {one.name for one in written} == {one.name for one in tmp_path.iterdir()} == names
    assert (tmp_path / "compare.html").read_text() == compare_render.compare_html(record)
    assert (tmp_path / "compare.md").read_text() == compare_render.compare_markdown(record)
    assert (tmp_path / "forest.png").read_bytes() == compare_render.compare_pngs(record)["forest"]
    assert json.loads((tmp_path / "verdicts.json").read_text())["exit_code"] == 1


def test_the_figure_is_where_the_folder_says():
    text = compare_render.compare_markdown(compare_records.slower(), "figures/some run")
    assert "](figures/some%20run/forest.png)" in text
