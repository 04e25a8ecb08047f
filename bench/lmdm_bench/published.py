"""What the repository publishes agrees with its records: ``python -m lmdm_bench.published``.

Each ``reports/data/*.json`` is rendered to the page of the same name, and all of them to five
tables in the README, of checks, runs, claims, kernels and comparisons; each
``reports/peer/*.json`` to a table of the peer's figures there, and the four traces to one of
theirs. With ``--write`` that is done; without, a difference is shown and fails. The pages' figures
have to be there, but their bytes are not compared: they vary with the drawing library.
"""

import argparse
import difflib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from lmdm_bench import check_render, kernels_render, peer, render
from lmdm_bench import format as shown
from lmdm_bench.any_record import AnyRecord, load_any
from lmdm_bench.any_report import report_of
from lmdm_bench.check_record import CheckRecord
from lmdm_bench.claims import judge
from lmdm_bench.claims_record import ClaimsRecord
from lmdm_bench.claims_words import VERDICT_SIGNS, key_finding, told_with_interval
from lmdm_bench.compare_answer import headline
from lmdm_bench.compare_record import CompareRecord
from lmdm_bench.compare_verdicts import judge as judge_compare
from lmdm_bench.compare_words import side_words
from lmdm_bench.four_traces import HEADER as HEADER_OF_TRACES
from lmdm_bench.four_traces import trace_rows
from lmdm_bench.kernels_record import KernelsRecord
from lmdm_bench.record import Record, RecordError, parse, read_text, write_whole
from lmdm_bench.verdict import judge_check

NOTHING = "Nothing has been measured yet."
HEADER = ("scheme", "model", "machine", "dtype", *render.RESULTS_HEADER, "report")

CLAIMS_HEADER = ("", "claim", "verdict", "decided by", "machine", "dtype", "report")

CHECK_HEADER = ("scheme", *check_render.RESULTS_HEADER, "machine", "dtype", "report")

COMPARED_HEADER = ("a", "b", "verdict", "cells", "machine", "dtype", "report")

GOALS_HEADER = (*kernels_render.GOALS_HEADER, "machine", "dtype", "report")

_NUM_TEXTS = 4
_NUM_CLAIMS_TEXTS = len(CLAIMS_HEADER)
_NUM_CHECK_TEXTS = 2
_NUM_PEER_TEXTS = 2
_PAGE_MARK = "<!-- Rendered from data/"


class PublishedError(Exception):
    """Something that cannot be rendered at all, in a sentence."""


@dataclass(frozen=True)
class Published:
    """One record, and the name that its page and its figures have."""

    stem: str
    record: AnyRecord

    @property
    def figures(self) -> tuple[str, ...]:
        """The names of its figures."""
        return report_of(self.record).figures

    def pngs(self) -> dict[str, bytes]:
        return report_of(self.record).pngs(self.record)

    def markdown(self) -> str:
        return report_of(self.record).markdown(self.record, f"figures/{self.stem}")


@dataclass(frozen=True)
class Place:
    """A part of the README that is rendered: what stands between its two marks."""

    name: str
    text: str

    @property
    def begin(self) -> str:
        return f"<!-- {self.name}:begin -->"

    @property
    def end(self) -> str:
        return f"<!-- {self.name}:end -->"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, or write. Returns 0 where all agrees, else 1 with sentences on standard error."""
    parser = argparse.ArgumentParser(prog="python -m lmdm_bench.published", description=__doc__)
    parser.add_argument("root", nargs="?", type=Path, default=Path(), help="the repository")
    parser.add_argument("--write", action="store_true", help="render instead of comparing")
    asked = parser.parse_args(arguments)
    try:
        published = records(asked.root)
        if asked.write:
            write(asked.root, published)
        complaints = differences(asked.root, published)
    except (PublishedError, RecordError, OSError) as error:
        complaints = [str(error)]
    for complaint in complaints:
        sys.stderr.write(f"{complaint}\n")
    return 1 if complaints else 0


def records(root: Path) -> list[Published]:
    """All records, by name. Raises RecordError on one that cannot be read."""
    paths = sorted((root / "reports" / "data").glob("*.json"))
    return [Published(path.stem, load_any(path)) for path in paths]


def page(one: Published) -> str:
    """The page of one record."""
    mark = f"{_PAGE_MARK}{one.stem}.json by lmdm_bench.published: do not edit. -->"
    return f"{mark}\n\n{one.markdown()}"


def results(published: Sequence[Published]) -> str:
    """The README's table: a row for each cell of each run."""
    rows = [
        row
        for one in published
        if isinstance(one.record, Record)
        for row in _rows(one.stem, one.record)
    ]
    return "\n".join(render.markdown_rows(HEADER, rows, _NUM_TEXTS)) if rows else NOTHING


def checks(published: Sequence[Published]) -> str:
    """The README's table: a row for each stream of each check."""
    rows = [
        row
        for one in published
        if isinstance(one.record, CheckRecord)
        for row in _check_rows(one.stem, one.record)
    ]
    return (
        "\n".join(render.markdown_rows(CHECK_HEADER, rows, _NUM_CHECK_TEXTS)) if rows else NOTHING
    )


def verdicts(published: Sequence[Published]) -> str:
    """The README's table: a row for each claim of each claims run."""
    rows = [
        row
        for one in published
        if isinstance(one.record, ClaimsRecord)
        for row in _claims_rows(one.stem, one.record)
    ]
    if not rows:
        return NOTHING
    return "\n".join(render.markdown_rows(CLAIMS_HEADER, rows, _NUM_CLAIMS_TEXTS))


def comparisons(published: Sequence[Published]) -> str:
    """The README's table of kernels runs: what each says in a sentence, a row for each goal."""
    rows = [
        row
        for one in published
        if isinstance(one.record, KernelsRecord)
        for row in _kernels_rows(one.stem, one.record)
    ]
    if not rows:
        return NOTHING
    answers = [
        kernels_render.kernels_answer(one.record)
        for one in published
        if isinstance(one.record, KernelsRecord)
    ]
    table = render.markdown_rows(GOALS_HEADER, rows, len(GOALS_HEADER))
    return "\n".join([*table, "", *map(render.escaped, answers)])


def compared(published: Sequence[Published]) -> str:
    """The README's table: a row for each comparison of two revisions or records."""
    rows = [
        _compared_row(one.stem, one.record)
        for one in published
        if isinstance(one.record, CompareRecord)
    ]
    if not rows:
        return NOTHING
    return "\n".join(render.markdown_rows(COMPARED_HEADER, rows, len(COMPARED_HEADER)))


def four() -> str:
    """The README's table of the four traces that averages cannot tell apart."""
    return "\n".join(render.markdown_rows(HEADER_OF_TRACES, trace_rows(), 1))


def beside_peer(root: Path) -> str:
    """The README's tables of our full pass beside the peer's: one for each machine."""
    tables = [_peer_table(path) for path in sorted((root / "reports" / "peer").glob("*.json"))]
    return "\n\n".join(tables) or NOTHING


def readme(text: str, places: Sequence[Place]) -> str:
    """The README with each place filled. Raises PublishedError if its marks are not once each."""
    for place in places:
        begin, end = place.begin, place.end
        if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
            raise PublishedError(f"README.md should have {begin} and then {end}, once each")
        before, rest = text.split(begin)
        text = f"{before}{begin}\n{place.text}\n{end}{rest.split(end)[1]}"
    return text


def write(root: Path, published: Sequence[Published]) -> None:
    """Write every page, figure and the README's table, each file whole."""
    for path, text in _texts(root, published):
        write_whole(path, text.encode())
    for one in published:
        folder = root / "reports" / "figures" / one.stem
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in one.pngs().items():
            write_whole(folder / f"{name}.png", content)


def differences(root: Path, published: Sequence[Published]) -> list[str]:
    """A sentence, and a diff where there is one, for whatever on disk is not what it should be."""
    found: list[str] = []
    for path, wanted in _texts(root, published):
        name = path.relative_to(root).as_posix()
        actual = path.read_text(encoding="utf-8") if path.exists() else None
        if actual is None:
            found.append(f"{name} is missing; --write renders it.")
        elif actual != wanted:
            diff = difflib.unified_diff(
                actual.splitlines(), wanted.splitlines(), name, f"{name}, rendered", lineterm=""
            )
            found.append(
                "\n".join([f"{name} is not what its records render to; --write renders it.", *diff])
            )
    for one in published:
        folder = root / "reports" / "figures" / one.stem
        found += [
            f"{(folder / name).relative_to(root).as_posix()}.png is missing; --write renders it."
            for name in one.figures
            if not (folder / f"{name}.png").is_file()
        ]
    return found + _orphans(root, {one.stem for one in published})


def _texts(root: Path, published: Sequence[Published]) -> list[tuple[Path, str]]:
    """Every text that is rendered, and where it belongs."""
    texts = [(root / "reports" / f"{one.stem}.md", page(one)) for one in published]
    path = root / "README.md"
    places = [
        Place("check", checks(published)),
        Place("results", results(published)),
        Place("claims", verdicts(published)),
        Place("kernels", comparisons(published)),
        Place("compare", compared(published)),
        Place("traces", four()),
        Place("peer", beside_peer(root)),
    ]
    return [*texts, (path, readme(path.read_text(encoding="utf-8"), places))]


def _orphans(root: Path, stems: set[str]) -> list[str]:
    """Pages whose record is gone: a figure without evidence."""
    return [
        f"{path.relative_to(root).as_posix()} was rendered from a record that is gone; remove it."
        for path in sorted((root / "reports").glob("*.md"))
        if path.stem not in stems and path.read_text(encoding="utf-8").startswith(_PAGE_MARK)
    ]


def _link(stem: str, created: str) -> str:
    return f"[{created[:10]}](reports/{quote(stem)}.md)"


def _check_rows(stem: str, record: CheckRecord) -> list[tuple[str, ...]]:
    names = shown.names([cell.workload for cell in record.check_cells])
    link = _link(stem, record.created)
    rows = []
    judged = zip(names, record.check_cells, judge_check(record), strict=True)
    for name, cell, judgement in judged:
        told = check_render.results_cells(record, cell, judgement)
        words = (name, *told, record.machine.name, cell.workload.dtype)
        rows.append((*map(render.escaped, words), link))
    return rows


def _claims_rows(stem: str, record: ClaimsRecord) -> list[tuple[str, ...]]:
    rows = []
    for one in judge(record):
        finding = key_finding(one)
        decided = "" if finding is None else f"{finding.what}: {told_with_interval(finding)}"
        words = (
            str(one.claim.number),
            one.claim.text,
            f"{VERDICT_SIGNS[one.verdict][0]} {one.verdict}",
            decided,
            record.machine.name,
            record.settings.dtype.value,
        )
        rows.append((*map(render.escaped, words), _link(stem, record.created)))
    return rows


def _compared_row(stem: str, record: CompareRecord) -> tuple[str, ...]:
    judgement = judge_compare(record)
    words = (
        side_words(record.a),
        side_words(record.b),
        headline(record, judgement),
        str(len(record.compared_cells)),
        record.b.machine,
        record.settings.dtype,
    )
    return (*map(render.escaped, words), _link(stem, record.created))


def _kernels_rows(stem: str, record: KernelsRecord) -> list[tuple[str, ...]]:
    names = (record.machine.name, record.settings.dtype.value)
    link = _link(stem, record.created)
    return [
        (*map(render.escaped, (*row, *names)), link) for row in kernels_render.goal_rows(record)
    ]


def _rows(stem: str, record: Record) -> list[tuple[str, ...]]:
    names = shown.names_beside_models([cell.workload for cell in record.cells])
    link = _link(stem, record.created)
    rows = []
    for name, cell in zip(names, record.cells, strict=True):
        told = render.results_cells(cell)
        model = shown.model(cell.workload, cell.cost)
        words = (name, model, record.machine.name, cell.workload.dtype)
        figures_told = told if cell.summary else (cell.status, *told[1:])
        rows.append((*map(render.escaped, (*words, *figures_told)), link))
    return rows


def _peer_table(path: Path) -> str:
    record: peer.PeerRecord = parse(
        peer.PeerRecord, peer.PEER_SCHEMA_VERSION, read_text(path), path.as_posix()
    )
    caption = (
        f"{record.peer} and this package on {record.machine.name}, {record.created[:10]}, "
        f"`{record.command}`:"
    )
    table = render.markdown_rows(peer.HEADER, peer.rows(record), _NUM_PEER_TEXTS)
    return "\n".join([caption, "", *table])


if __name__ == "__main__":
    sys.exit(main())
