import dataclasses
import re
from collections import Counter
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

import records
from lmdm_bench import figures, render
from lmdm_bench import format as shown
from lmdm_bench.canvas import FAINT, INK, MUTED, PAPER
from lmdm_bench.record import Estimate, Record

NASTY = "a|b\n<script>alert('x')</script> [click](javascript:x) `code` *bold* &lt;"


def rtf(value: float, ci95: tuple[float, float] | None) -> Estimate:
    return Estimate(value, ci95, 9, "a method", None if ci95 else "an interval needs 3 blocks")


def nasty() -> Record:
    """Text from outside wherever a record has any."""
    record = records.all_ok()
    failed = records.fail(record.cells[0], "FAILED", NASTY)
    spoken = dataclasses.replace(
        record.cells[1], audio=dataclasses.replace(record.cells[1].audio, path=NASTY)
    )
    return dataclasses.replace(
        record,
        machine=dataclasses.replace(
            record.machine, name=NASTY, cpu=NASTY, unavailable={"is_on_mains": NASTY}
        ),
        settings=dataclasses.replace(record.settings, input=NASTY, command=f"run '{NASTY}' ```"),
        cells=(failed, spoken, record.cells[2]),
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


def tables(markdown: str) -> list[list[str]]:
    """Each table's lines."""
    found, before = [], ""
    for line in markdown.splitlines():
        if line.startswith("|"):
            if not before.startswith("|"):
                found.append([])
            found[-1].append(line)
        before = line
    return found


@pytest.mark.parametrize(
    ("ci95", "word"),
    [
        ((0.80, 0.9999), "keeps up"),
        ((0.80, 1.0), "cannot tell"),
        ((0.99, 1.01), "cannot tell"),
        ((1.0, 1.2), "does not keep up"),
        ((1.01, 1.2), "does not keep up"),
        (None, "cannot tell"),
    ],
)
def test_a_verdict_needs_the_whole_interval_on_one_side_of_the_deadline(ci95, word):
    summary = records.all_ok().cells[0].summary
    told = dataclasses.replace(summary, rtf=rtf(0.5, ci95), rtf_model=rtf(0.1, (0.1, 0.1)))
    assert render.verdict(told) == word


@pytest.mark.parametrize(
    ("ci95", "word", "sentence"),
    [
        ((0.80, 0.9999), "model alone keeps up", "(mrt2-small) keeps up without a codec (no codec"),
        ((0.80, 1.0), "cannot tell", "cannot tell whether lmm-frame-wise (mrt2-small) keeps up w"),
        ((1.0, 1.2), "does not keep up", "(mrt2-small) does not keep up, even without a codec (no"),
        (None, "cannot tell", "for this model) (an interval needs 3 blocks): the tokens of a sec"),
    ],
)
def test_without_a_codec_the_verdict_is_of_the_model_alone(ci95, word, sentence):
    record = records.five_schemes()
    *others, cell = record.cells
    summary = dataclasses.replace(cell.summary, rtf_model=rtf(0.9, ci95))
    changed = (*others, dataclasses.replace(cell, summary=summary))
    assert render.verdict(summary) == word
    assert sentence in render.answer(dataclasses.replace(record, cells=changed))
    page = render.html(dataclasses.replace(record, cells=changed))
    assert f"<b>{word}</b>\n<span>rtf_model 0.9" in page


@pytest.mark.parametrize("name", records.EXAMPLES)
def test_the_answer_never_passes_for_a_live_run(name):
    text = render.answer(records.EXAMPLES[name]())
    assert "back to back" in text and "not a live run" in text


def test_the_answer_says_for_each_scheme_what_its_interval_allows():
    record = records.with_rtf(records.all_ok(), 1, 0.99, (0.95, 1.03))
    text = render.answer(record)
    assert "outpaint does not keep up: a second of audio took 1.71" in text
    assert "cannot tell whether encoder-decoder keeps up (the interval has 1 in it)" in text
    assert "block-causal keeps up: " in text
    assert "encoder-decoder keeps up:" not in text


def test_the_answer_of_one_block_cannot_tell_and_says_why():
    text = render.answer(records.one_block())
    assert text.count("(an interval needs 3 blocks)") == 3
    assert " keeps up:" not in text and "does not keep up" not in text


def test_the_answer_of_an_interrupted_run_says_so():
    assert "The run was interrupted" in render.answer(records.interrupted())


@pytest.mark.parametrize("name", records.EXAMPLES)
def test_markdown_tables_have_as_many_cells_in_every_row(name):
    found = tables(render.markdown(records.EXAMPLES[name]()))
    assert len(found) >= 7
    for lines in found:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_markdown_holds_what_a_reader_needs_to_judge_the_run():
    record = records.all_ok()
    text = render.markdown(record)
    for words in (
        record.machine.name,
        "n/a (needs 72 blocks)",
        "n/a (needs 368 blocks)",
        "this machine reports no power supply",
        record.settings.dtype.reason,
        record.settings.command,
        record.tool.git_commit,
        "one pass over the whole history",
        "the run is on a CPU",
        "2.13.0",
        "order statistics",
        record.cells[0].summary.rtf.method,
        "Not timed: ",
    ):
        assert words in text
    for name in figures.FIGURES:
        assert f"]({name}.png)" in text


def test_figures_may_lie_in_a_folder_whose_name_needs_quoting():
    text = render.markdown(records.all_ok(), "figures/a b")
    assert "](figures/a%20b/waterfall.png)" in text


def test_a_cell_that_failed_has_a_status_and_no_figure_in_the_results():
    text = render.markdown(records.one_oom())
    (row,) = [line for line in tables(text)[0] if line.startswith("| outpaint")]
    name, model, *rest = row.removeprefix("| ").split(" | ")
    assert (name, shown.plain(model)) == ("outpaint", "sao-small, 340.9 M")
    assert "OOM" in rest and not re.search(r"\d", "".join(rest))
    assert "OOM: outpaint needs 14.1 GiB more than the 3.9 GiB that are free" in text


@pytest.mark.parametrize("name", records.EXAMPLES)
def test_every_cell_states_its_model_and_how_many_parameters_it_has(name):
    record = records.EXAMPLES[name]()
    text = shown.plain(render.markdown(record))
    for cell in record.cells:
        assert f"{cell.workload.model}, {cell.cost.parameters / 1e6:.1f} M" in text


def test_costs_have_rows_for_both_kinds_and_memory_predicted_beside_measured():
    (costs,) = [
        one for one in tables(render.markdown(records.five_schemes())) if "per block" in one[0]
    ]
    rows = {
        shown.plain(row[0]): [shown.plain(one) for one in row[1:]]
        for row in (line.strip("| ").split(" | ") for line in costs)
    }
    assert rows["model"] == ["sao-small"] * 3 + ["mrt1-large", "mrt2-small"]
    assert rows["parameters"] == ["340.9 M"] * 3 + ["761.6 M", "229.7 M"]
    assert rows["block"] == ["2.23 s"] * 3 + ["2.00 s"] * 2
    assert rows["sequential steps"] == ["8", "9", "8", "851", "650"]
    assert rows["rows that only fill a cache"] == ["0", "192", "48", "1 006", "0"]
    assert rows["codec took (median)"][3:] == ["none"] * 2
    assert rows["peak memory, predicted"][0] == "0.720 GiB"
    assert rows["peak memory, measured"] == ["1.40 GiB"] * 5
    labels = list(rows)
    predicted = labels.index("peak memory, predicted")
    assert labels[predicted + 1] == "peak memory, measured"


def test_blocks_of_different_length_are_told_and_only_then():
    assert "The blocks differ in length" in render.markdown(records.five_schemes())
    assert "The blocks differ in length" not in render.markdown(records.all_ok())


def test_what_makes_tokens_has_no_sound_and_the_report_says_why():
    text = render.markdown(records.five_schemes())
    (sound,) = [one for one in tables(text) if "gain applied" in one[0]]
    assert len(sound) == 2 + 3
    assert "No sound of lmm-encoder-decoder (mrt1-large) and lmm-frame-wise (mrt2-small)" in text
    assert "No sound" not in render.markdown(records.all_ok())


def test_text_from_outside_cannot_break_markdown():
    tokens = MarkdownIt("commonmark").enable("table").parse(render.markdown(nasty()))
    inline = [child.type for token in tokens for child in token.children or ()]
    blocks = Counter(token.type for token in tokens)
    assert inline.count("image") == len(figures.FIGURES)
    assert set(inline) <= {"text", "text_special", "image"}, "no link, code, emphasis or HTML"
    assert blocks["fence"] == 1 and blocks["html_block"] == 0
    (code,) = [token.content for token in tokens if token.type == "fence"]
    assert code == nasty().settings.command + "\n"
    title = next(one for one in tokens if one.type == "inline")
    assert "".join(one.content for one in title.children).endswith(render.shown.plain(NASTY))
    for lines in tables(render.markdown(nasty())):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("p99 < 1 % of rtf_model [0.43, 0.47]", "p99 < 1 % of rtf_model [0.43, 0.47]"),
        ("a|b", r"a\|b"),
        ("_a_ *b* `c`", r"\_a\_ \*b\* \`c\`"),
        ("<b>", r"\<b>"),
        ("&lt;", "&amp;lt;"),
        ("[a](b)", r"[a\](b)"),
        ("two\nlines", "two lines"),
    ],
)
def test_only_what_markdown_would_read_is_escaped(text, escaped):
    assert render.escaped(text) == escaped


@pytest.mark.parametrize("name", records.EXAMPLES)
def test_the_page_is_whole_and_needs_nothing_else(name):
    text = render.html(records.EXAMPLES[name]())
    page = Elements(text)
    assert page.open == []
    assert page.tags["svg"] == len(figures.FIGURES)
    assert page.tags["script"] == page.tags["link"] == page.tags["img"] == 0
    assert all(link.startswith("#") for link in page.links)
    assert "@import" not in text and not re.search(r"url\((?!#)", text)


def test_ids_in_the_page_are_unique_and_every_reference_is_met():
    text = render.html(records.all_ok())
    page = Elements(text)
    wanted = {link[1:] for link in page.links} | set(re.findall(r"url\(#([^)]+)\)", text))
    assert max(page.ids.values()) == 1
    assert wanted and wanted <= set(page.ids)


def test_the_page_follows_the_readers_colours():
    text = render.html(records.all_ok())
    assert "prefers-color-scheme: dark" in text and "@media print" in text
    drawn = text[text.index("<svg") :]
    for colour in (INK, PAPER, MUTED, FAINT):
        assert colour not in drawn


def test_text_from_outside_cannot_break_the_page():
    text = render.html(nasty())
    page = Elements(text)
    assert page.open == [] and page.tags["script"] == 0
    assert "&lt;script&gt;" in text


def test_a_gauge_without_an_interval_has_no_band():
    assert render.html(records.one_block()).count('class="band"') == 0
    assert render.html(records.one_oom()).count('class="band"') == 2


def test_markdown_and_the_page_say_the_same_figures():
    record = records.cuda()
    markdown, page = render.markdown(record), render.html(record).replace(shown.NBSP, " ")
    for cell in record.cells:
        for figure in render.results_cells(cell):
            assert shown.plain(figure) in markdown and shown.plain(figure) in page


def test_a_report_is_five_whole_files(tmp_path):
    paths = render.write_report(records.one_oom(), tmp_path)
    names = ["report.md", "report.html", "waterfall.png", "service_time.png", "arithmetic.png"]
    assert [path.name for path in paths] == names
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert all(path.stat().st_size > 1000 for path in paths)


def test_the_same_record_is_rendered_the_same():
    assert render.markdown(records.one_oom()) == render.markdown(records.one_oom())
    assert render.html(records.one_oom()) == render.html(records.one_oom())
