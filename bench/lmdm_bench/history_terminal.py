"""A cell's history in an 80-column terminal: record by record, and where it changed.

Nothing here prints: what comes back is for a rich ``Console``.
"""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lmdm_bench import format as shown
from lmdm_bench.compare_words import change
from lmdm_bench.history import Series
from lmdm_bench.history_words import (
    DIRTY_SIGN,
    answer,
    commit_words,
    detail_words,
    from_to_words,
    series_words,
    unit_words,
)
from lmdm_bench.record import Estimate

_DIM = "dim"


def history_table(found: Sequence[Series]) -> RenderableType:
    """For each series its machine, a row for each record, and how long the cell takes now."""
    parts: list[RenderableType] = []
    for one in found:
        parts += [*_head(one, found), *([_rows(one)] if one.points else [])]
        parts += [Text(f"{shown.plain(why)}", style=_DIM) for why in _missing(one)]
        parts += [Text(answer(one)), Text()]
    if any(point.entry.git_is_dirty for one in found for point in one.points):
        parts.append(Text(f"{DIRTY_SIGN}: files beside the commit were changed", style=_DIM))
    return Group(*parts)


def _head(series: Series, among: Sequence[Series]) -> Iterator[Text]:
    yield Text(shown.plain(series.cell), style="bold")
    yield Text(series_words(series))
    details = detail_words(series, among)
    if details:
        yield Text(details, style=_DIM)


def _rows(series: Series) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=_DIM)
    table.add_column("commit", no_wrap=True)
    table.add_column("date", no_wrap=True)
    table.add_column(f"{unit_words(series)} [95 %]", no_wrap=True)
    table.add_column("change", overflow="fold")
    changes = {one.point: one for one in series.changes}
    for at, point in enumerate(series.points):
        told = Estimate(point.milliseconds, point.ci95, point.n, "", None)
        here = changes.get(at)
        said = Text()
        if here is not None:
            said = Text(change(here.effect), style="bold")
            said.append(f"\n{from_to_words(here)}", style="not bold")
        table.add_row(
            commit_words(point.entry),
            Text(shown.plain(point.entry.created)[:10]),
            Text(" ".join(shown.value_and_interval(told))),
            said,
        )
    return table


def _missing(series: Series) -> Iterator[str]:
    """The records in which the cell has no time, those of one reason together."""
    files: dict[str, list[str]] = {}
    for one in series.missing:
        files.setdefault(one.reason, []).append(one.entry.file)
    for reason, names in files.items():
        yield f"no time in {', '.join(names)}: {reason}"
