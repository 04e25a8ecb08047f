import dataclasses
import re
from collections import Counter
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

import kernels_records
from lmdm_bench import format as shown
from lmdm_bench import kernels_render
from lmdm_bench.kernel_verdicts import goals
from lmdm_bench.kernels_figures import KERNELS_FIGURES
from lmdm_bench.kernels_record import KernelsRecord

NASTY = "a|b\n<script>alert('x')</script> [click](javascript:x) `code` *bold* &lt;"

every_example = pytest.mark.parametrize("name", kernels_records.EXAMPLES)


def nasty() -> KernelsRecord:
    """Text from outside wherever a record has any."""
    record = kernels_records.short()
    cells = tuple(
        dataclasses.replace(
            cell,
            case=dataclasses.replace(cell.case, model=NASTY),
            rows=tuple(
                row if row.reason is None else dataclasses.replace(row, reason=NASTY)
                for row in cell.rows
            ),
        )
        for cell in record.kernel_cells
    )
    settings = dataclasses.replace(record.settings, grid=NASTY, command=f"run '{NASTY}' ```")
    machine = dataclasses.replace(record.machine, name=NASTY, unavailable={"is_on_mains": NASTY})
    return dataclasses.replace(record, machine=machine, settings=settings, kernel_cells=cells)


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


def section(markdown: str, title: str) -> str:
    return markdown.split(f"## {title}", 1)[1].split("\n## ", 1)[0].replace(shown.NBSP, " ")


def cells(text: str) -> list[list[str]]:
    """The rows of a section's tables, header and rule left out."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[one.strip() for one in line.strip("|").split(" | ")] for line in lines[2:]]


@every_example
def test_every_goal_and_every_time_is_in_the_report(name):
    record = kernels_records.EXAMPLES[name]()
    text = kernels_render.kernels_markdown(record)
    for one in goals(record):
        assert one.state in section(text, "Goals") and one.why in section(text, "Goals")
    timed = sum(
        one.status == "OK" for _, row in record.rows() for one in row.timings if row.status == "OK"
    )
    rows = [
        row
        for plan in ("full", "encoder-decoder", "block-causal", "encoder-decoder-step")
        for row in cells(section(text, f"All times: {plan}\n"))
    ] + cells(section(text, "All times: block-causal-fused-step"))
    assert len(rows) == timed


def test_a_row_has_everything_that_was_asked_for():
    text = kernels_render.kernels_markdown(kernels_records.on_cuda())
    header = next(
        line for line in section(text, "All times: full").splitlines() if line.startswith("| ")
    )
    for word in (
        "ms [95 % interval]",
        "TFLOP/s",
        "GB/s",
        "of roofline",
        "launches per step",
        "recompiles",
        "error",
    ):
        assert word in header
    first = cells(section(text, "All times: full"))[0]
    assert first[:4] == ["192 + 48", "8 × 128, batch 1", "alone, warm cache", "interval"]
    assert re.fullmatch(r"[\d.]+ \[[\d.]+, [\d.]+\]", first[4]) and first[5] == "12"
    assert first[8].endswith(" %") and first[9] == "16" and first[10] == "0"


def test_without_a_gpu_launches_are_no_zero():
    text = kernels_render.kernels_markdown(kernels_records.on_cpu())
    assert {row[9] for row in cells(section(text, "All times: full"))} == {"n/a"}
    assert "n/a (no CUDA device)" in section(text, "What was compiled")
    assert "no regime 'stack graph'" in section(text, "Settings")


def test_too_few_rounds_are_told_without_an_interval():
    text = kernels_render.kernels_markdown(kernels_records.few_rounds())
    assert "(needs 6 rounds)" in cells(section(text, "All times: full"))[0][4]


def test_what_has_no_times_is_told_once_with_its_count():
    rows = cells(section(kernels_render.kernels_markdown(kernels_records.on_cpu()), "What has no"))
    assert [row[0] for row in rows] == ["interval", "cudnn", "flash2", "flash4"]
    assert {row[4] for row in rows} == {"80"}
    rows = cells(section(kernels_render.kernels_markdown(kernels_records.short()), "What has no"))
    assert ["flex", "INCORRECT"] in [row[:2] for row in rows]
    whole = kernels_records.on_cuda()
    kept = tuple(
        dataclasses.replace(cell, rows=tuple(row for row in cell.rows if row.status == "OK"))
        for cell in whole.kernel_cells
    )
    text = kernels_render.kernels_markdown(dataclasses.replace(whole, kernel_cells=kept))
    assert "All that was asked for was timed." in section(text, "What has no times")


def test_flex_s_graphs_are_counted():
    rows = cells(
        section(kernels_render.kernels_markdown(kernels_records.on_cpu()), "What was compiled")
    )
    (flex,) = (row for row in rows if row[0] == "flex")
    assert flex[1:4] == ["80", "32", "0"] and flex[4] == "179 s"


def test_the_standings_count_every_cell():
    record = kernels_records.on_cpu()
    rows = kernels_render.standing_rows(record)
    assert len(rows) == 5 * 3
    for row in rows:
        assert int(row[2]) == sum(map(int, row[3:8])) == 16


@pytest.mark.parametrize("name", ["on_cpu", "short", "nothing"])
def test_the_page_is_whole_and_needs_nothing_else(name):
    page = kernels_render.kernels_html(kernels_records.EXAMPLES[name]())
    found = Elements(page)
    assert not found.open and found.tags["svg"] == len(KERNELS_FIGURES)
    assert all(link.startswith("#") for link in found.links)


def test_text_from_outside_is_no_markup():
    record = nasty()
    found = Elements(kernels_render.kernels_html(record))
    assert not found.open and not found.tags["script"]
    page = MarkdownIt("commonmark").enable("table").render(kernels_render.kernels_markdown(record))
    assert "<script" not in page and 'href="javascript' not in page and "<em>bold" not in page


def test_writing_leaves_the_report_and_its_figures(tmp_path):
    record = kernels_records.short()
    written = kernels_render.write_kernels_report(record, tmp_path)
    names = {"kernels.md", "kernels.html"}
    names |= {f"{name}.{kind}" for name in KERNELS_FIGURES for kind in ("png", "svg")}
    assert {one.name for one in written} == {one.name for one in tmp_path.iterdir()} == names
    assert (tmp_path / "kernels.html").read_text() == kernels_render.kernels_html(record)
    assert (tmp_path / "kernels.md").read_text() == kernels_render.kernels_markdown(record)


def test_figures_are_where_the_folder_says():
    text = kernels_render.kernels_markdown(kernels_records.short(), "figures/some run")
    for name in KERNELS_FIGURES:
        assert f"](figures/some%20run/{name}.png)" in text
    pngs = kernels_render.kernels_pngs(kernels_records.short())
    assert set(pngs) == set(KERNELS_FIGURES)
    assert all(one.startswith(b"\x89PNG") for one in pngs.values())
