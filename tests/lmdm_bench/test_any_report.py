"""How any record is reported: each kind has its page, its figures, its files and its tables."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import check_records
import claims_records
import compare_records
import kernels_records
import records
from lmdm_bench import any_record
from lmdm_bench.any_report import report_of

KINDS: dict[str, Callable[[], Any]] = {
    "run": records.all_ok,
    "claims": claims_records.agreeing,
    "kernels": kernels_records.on_cuda,
    "check": check_records.likely,
    "compare": compare_records.slower,
}


def test_every_kind_of_record_that_can_be_read_is_here() -> None:
    kinds = any_record.AnyRecord.__args__  # type: ignore[attr-defined]
    assert {type(make()) for make in KINDS.values()} == set(kinds)


@pytest.mark.parametrize("kind", KINDS)
def test_its_page_shows_its_figures(kind: str) -> None:
    record = KINDS[kind]()
    report = report_of(record)
    page = report.markdown(record, "pictures")
    shown = set(re.findall(r"\]\(pictures/(\w+)\.png\)", page))
    assert shown
    assert shown <= set(report.figures)


@pytest.mark.parametrize("kind", KINDS)
def test_a_console_shows_it_in_80_columns(kind: str) -> None:
    record = KINDS[kind]()
    console = Console(width=80, record=True, force_terminal=False)
    with console.capture() as captured:
        console.print(*report_of(record).shown(record), sep="\n")
    lines = captured.get().splitlines()
    assert len(lines) > 3
    assert max(map(len, lines)) <= 80


def test_a_report_leaves_its_page_and_figures(tmp_path: Path) -> None:
    record = compare_records.same()
    report = report_of(record)
    written = report.write(record, tmp_path)
    names = {one.name for one in written}
    assert {f"{name}.png" for name in report.figures} <= names
    assert all(one.is_file() for one in written)
    assert report.pngs(record).keys() == set(report.figures)
