"""A cell's history as a report: the table on the console, the figure in a folder."""

from pathlib import Path

from rich.console import Console
from rich.text import Text

from lmdm_bench.canvas import to_png, to_svg
from lmdm_bench.commit_order import commit_ranks
from lmdm_bench.history import Series, history
from lmdm_bench.history_figure import history_figure
from lmdm_bench.history_index import fresh_index
from lmdm_bench.history_terminal import history_table
from lmdm_bench.record import write_whole

FIGURE_NAME = "history"


def show_history(records: Path, cell: str, console: Console) -> tuple[Series, ...]:
    """The cell's history in a folder of records, as a table on the console.

    Where the folder's index is not of these records, that is said and they are read instead.
    Raises InputError where there are no records or no such cell, RecordError on a record that
    cannot be read.
    """
    index, complaint = fresh_index(records)
    if complaint is not None:
        console.print(Text(complaint))
    found = history(index, cell, commit_ranks(records))
    console.print(history_table(found))
    return found


def write_history(records: Path, cell: str, out: Path, console: Console) -> list[Path]:
    """As ``show_history``, and its figure into the folder ``out``; returns the files' paths."""
    figure = history_figure(cell, show_history(records, cell, console))
    contents = {f"{FIGURE_NAME}.png": to_png(figure), f"{FIGURE_NAME}.svg": to_svg(figure).encode()}
    out.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        write_whole(out / name, content)
    return [out / name for name in contents]
