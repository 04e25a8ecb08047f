"""How a record of any kind is reported: its page, its figures, its files, and what a console shows.

The one list of what there is; whoever handles records of all kinds asks here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from lmdm_bench import (
    check_render,
    claims_render,
    compare_render,
    compare_terminal,
    figures,
    kernels_render,
    render,
    terminal,
)
from lmdm_bench.any_record import AnyRecord
from lmdm_bench.check_figures import CHECK_FIGURES
from lmdm_bench.check_record import CheckRecord
from lmdm_bench.check_terminal import check_table
from lmdm_bench.claims_figures import CLAIMS_FIGURES
from lmdm_bench.claims_record import ClaimsRecord
from lmdm_bench.claims_terminal import claims_answer, claims_table
from lmdm_bench.compare_record import CompareRecord
from lmdm_bench.compare_verdicts import judge
from lmdm_bench.kernels_figures import KERNELS_FIGURES
from lmdm_bench.kernels_record import KernelsRecord
from lmdm_bench.kernels_terminal import kernels_answer, kernels_table
from lmdm_bench.record import Record


@dataclass(frozen=True)
class Report:
    """One kind's functions of a record.

    ``figures`` are the names of ``pngs(record)``; ``markdown(record, figure_folder)`` is its page;
    ``write(record, folder)`` leaves the whole report and returns the files' paths; ``shown`` are
    the parts that a console prints.
    """

    figures: tuple[str, ...]
    pngs: Callable[[Any], dict[str, bytes]]
    markdown: Callable[[Any, str], str]
    write: Callable[[Any, Path], list[Path]]
    shown: Callable[[Any], Iterator[RenderableType]]


def report_of(record: AnyRecord) -> Report:
    """What reports a record of this kind."""
    return _REPORTS[type(record)]


def _run_shown(record: Record) -> Iterator[RenderableType]:
    yield terminal.results_table(record)
    yield terminal.stages_table(record)


def _claims_shown(record: ClaimsRecord) -> Iterator[RenderableType]:
    yield claims_table(record)
    yield Text(claims_answer(record))


def _kernels_shown(record: KernelsRecord) -> Iterator[RenderableType]:
    yield kernels_table(record)
    yield Text(kernels_answer(record))


def _check_shown(record: CheckRecord) -> Iterator[RenderableType]:
    yield check_table(record)


def _compare_shown(record: CompareRecord) -> Iterator[RenderableType]:
    yield compare_terminal.compare_table(record, judge(record))


_REPORTS: dict[type, Report] = {
    Record: Report(
        tuple(figures.FIGURES),
        lambda record: render.pngs(record),
        lambda record, folder: render.markdown(record, folder),
        lambda record, folder: render.write_report(record, folder),
        _run_shown,
    ),
    ClaimsRecord: Report(
        tuple(CLAIMS_FIGURES),
        lambda record: claims_render.claims_pngs(record),
        lambda record, folder: claims_render.claims_markdown(record, folder),
        lambda record, folder: claims_render.write_claims_report(record, folder),
        _claims_shown,
    ),
    KernelsRecord: Report(
        tuple(KERNELS_FIGURES),
        lambda record: kernels_render.kernels_pngs(record),
        lambda record, folder: kernels_render.kernels_markdown(record, folder),
        lambda record, folder: kernels_render.write_kernels_report(record, folder),
        _kernels_shown,
    ),
    CheckRecord: Report(
        tuple(CHECK_FIGURES),
        lambda record: check_render.check_pngs(record),
        lambda record, folder: check_render.check_markdown(record, folder),
        lambda record, folder: check_render.write_check_report(record, folder),
        _check_shown,
    ),
    CompareRecord: Report(
        compare_render.COMPARE_FIGURES,
        lambda record: compare_render.compare_pngs(record),
        lambda record, folder: compare_render.compare_markdown(record, folder),
        lambda record, folder: compare_render.write_compare_report(record, folder),
        _compare_shown,
    ),
}
