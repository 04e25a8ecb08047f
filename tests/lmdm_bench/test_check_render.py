import dataclasses
from collections import Counter
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

import check_records
from lmdm_bench import check_render
from lmdm_bench import format as shown
from lmdm_bench.check_conditions import Case
from lmdm_bench.check_evidence import evidence
from lmdm_bench.check_figures import CHECK_FIGURES
from lmdm_bench.check_record import CheckRecord, Incident
from lmdm_bench.check_words import plain_paragraph, signed
from lmdm_bench.verdict import judge_check

NASTY = "a|b\n<script>alert('x')</script> [click](javascript:x) `code` *bold* &lt;"

every_example = pytest.mark.parametrize("name", check_records.EXAMPLES)


def nasty() -> CheckRecord:
    """Text from outside wherever a record has any."""
    record = check_records.failed()
    cells = tuple(
        dataclasses.replace(
            one,
            reason=NASTY,
            warm_words=NASTY,
            weights=NASTY,
            workload=dataclasses.replace(one.workload, model=NASTY, dtype=NASTY, sampler=NASTY),
            incidents=(Incident(1.0, "killed", NASTY),),
            telemetry=dataclasses.replace(
                one.telemetry, unavailable={NASTY: NASTY}, columns={NASTY: (1.0,)}, ended=NASTY
            ),
        )
        for one in record.check_cells
    )
    settings = dataclasses.replace(record.settings, input=NASTY, command=f"check '{NASTY}' ```")
    machine = dataclasses.replace(record.machine, name=NASTY, unavailable={"is_on_mains": NASTY})
    harness = dataclasses.replace(record.harness, lateness_ms=(), reason=NASTY)
    return dataclasses.replace(
        record, check_cells=cells, settings=settings, machine=machine, harness=harness
    )


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


def rows(text: str) -> list[list[str]]:
    """The rows of a section's tables, header and rule left out."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[one.strip() for one in line.strip("|").split(" | ")] for line in lines[2:]]


@every_example
def test_verdicts_and_all_that_they_rest_on_are_in_the_report(name):
    record = check_records.EXAMPLES[name]()
    text = check_render.check_markdown(record)
    judgements = judge_check(record)
    found = rows(section(text, "What was asked for, and what was found"))
    kept = [one for cell, one in zip(record.check_cells, judgements, strict=True) if cell.blocks]
    assert len(found) == sum(len(one.conditions) for one in kept)
    for cell, one in zip(record.check_cells, judgements, strict=True):
        assert f"{signed(one.verdict)}:".replace(shown.NBSP, " ") in text
        assert plain_paragraph(record, cell, one).replace(shown.NBSP, " ") in text
        told = section(text, "Evidence").replace("\\", "")
        for _, line in evidence(Case(record, cell, one.summary)):
            assert line.replace(shown.NBSP, " ") in told
    assert ("## What would do" in text) == any(one.remedies for one in judgements)


def test_a_remedy_says_how_it_is_known_and_how_to_try_it():
    found = rows(section(check_render.check_markdown(check_records.with_stalls()), "What would do"))
    assert [row[2:] for row in found] == [
        ["replay of the measured times", "--prebuffer 4"],
        ["replay of the measured times", "--steps 3"],
    ]


def test_other_prebuffers_are_replayed_under_the_run_s_own_policy():
    text = section(check_render.check_markdown(check_records.with_stalls()), "With another")
    found = {row[1]: row[2:4] for row in rows(text)}
    assert found["2"] == ["7", "2"] and found["4"] == ["0", "0"]
    assert "zero-pad: late blocks lose" in text
    text = section(check_render.check_markdown(check_records.on_a_sound_card()), "With another")
    assert "stall: late blocks are played whole" in text


def test_telemetry_has_its_spread_and_its_reasons():
    record = check_records.likely()
    cell = record.check_cells[0]
    columns = {"gpu_temperature_c": (None, None), "rss_bytes": (1.0, 3.0, None, 2.0)}
    telemetry = dataclasses.replace(cell.telemetry, columns=columns, ended="it was killed")
    record = dataclasses.replace(
        record, check_cells=(dataclasses.replace(cell, telemetry=telemetry),)
    )
    text = section(check_render.check_markdown(record), "Telemetry: block-causal")
    assert rows(text) == [
        ["gpu_temperature_c", "n/a", "n/a", "n/a", "0"],
        ["rss_bytes", "1.00", "2.00", "3.00", "3"],
    ]
    assert "gpu: this build of torch has no CUDA" in text and "it was killed" in text


def test_incidents_have_a_section_of_their_own():
    record = check_records.likely()
    cell = dataclasses.replace(
        record.check_cells[0], incidents=(Incident(90_000.0, "suspend", "nothing ran for 30 s"),)
    )
    with_one = dataclasses.replace(record, check_cells=(cell,))
    found = rows(section(check_render.check_markdown(with_one), "What befell the run"))
    assert found == [["block-causal", "suspend", "1.5 min in", "nothing ran for 30 s"]]
    assert "What befell" not in check_render.check_markdown(record)


def test_a_harness_that_was_not_measured_says_why():
    record = check_records.likely()
    harness = dataclasses.replace(record.harness, lateness_ms=(), reason="it was stopped")
    text = check_render.check_markdown(dataclasses.replace(record, harness=harness))
    assert "It was not measured: it was stopped." in section(text, "How evenly blocks come")


@pytest.mark.parametrize("name", ["stalls", "failed", "sound card"])
def test_the_page_is_whole_and_needs_nothing_else(name):
    record = check_records.EXAMPLES[name]()
    page = check_render.check_html(record)
    found = Elements(page)
    assert not found.open and found.tags["svg"] == len(CHECK_FIGURES)
    assert all(link.startswith("#") for link in found.links)
    for one in judge_check(record):
        assert f"<b>{signed(one.verdict)}</b>" in page


def test_text_from_outside_is_no_markup():
    record = nasty()
    found = Elements(check_render.check_html(record))
    assert not found.open and not found.tags["script"]
    page = MarkdownIt("commonmark").enable("table").render(check_render.check_markdown(record))
    assert "<script" not in page and 'href="javascript' not in page and "<em>bold" not in page


def test_writing_leaves_the_report_and_its_figures(tmp_path):
    record = check_records.short()
    written = check_render.write_check_report(record, tmp_path)
    names = {"check.md", "check.html"}
    names |= {f"{name}.{kind}" for name in CHECK_FIGURES for kind in ("png", "svg")}
    assert {one.name for one in written} == {one.name for one in tmp_path.iterdir()} == names
    assert (tmp_path / "check.html").read_text() == check_render.check_html(record)
    assert (tmp_path / "check.md").read_text() == check_render.check_markdown(record)


def test_figures_are_where_the_folder_says():
    text = check_render.check_markdown(check_records.short(), "figures/some run")
    for name in CHECK_FIGURES:
        assert f"](figures/some%20run/{name}.png)" in text
    assert set(check_render.CAPTIONS) == set(CHECK_FIGURES)
    pngs = check_render.check_pngs(check_records.short())
    assert set(pngs) == set(CHECK_FIGURES)
    assert all(one.startswith(b"\x89PNG") for one in pngs.values())


def test_a_row_of_results_is_blank_where_nothing_was_played():
    record = check_records.failed()
    never, cut = (
        check_render.results_cells(record, cell, one)
        for cell, one in zip(record.check_cells, judge_check(record), strict=True)
    )
    assert len(never) == len(cut) == len(check_render.RESULTS_HEADER)
    assert never == (signed("INCONCLUSIVE"), "", "", "", "", "")
    assert cut[3].replace(shown.NBSP, " ") == "1 block" and all(cut)


def test_where_a_stream_falls_behind_no_prebuffer_is_told():
    record = check_records.with_heat()
    told = check_render.results_cells(record, record.check_cells[0], judge_check(record)[0])
    assert told[3] == "none is enough"
