"""What is said while a run goes on: a bar on a terminal, plain lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from lmdm_bench.record import Workload
from lmdm_bench.stream_run import Progress


@contextmanager
def shown_on(console: Console, num_schemes: int, num_blocks: int) -> Iterator[Progress]:
    """Progress of a run of ``num_blocks`` measured blocks for each scheme."""
    if console.is_terminal:
        with _bar(console) as bar:
            task = bar.add_task("preparing", total=None)

            def say(words: str) -> None:
                total = num_schemes * num_blocks if words == "measuring" else None
                bar.reset(task, description=words, total=total)
                bar.refresh()

            def advance(workload: Workload) -> None:
                bar.update(task, advance=1, refresh=True)

            yield Progress(say, advance)
        return
    done = 0

    def say_line(words: str) -> None:
        nonlocal done
        done = 0
        console.print(words, highlight=False)

    def count(workload: Workload) -> None:
        nonlocal done
        done += 1
        if done % num_schemes == 0:
            console.print(f"  round {done // num_schemes}", highlight=False)

    yield Progress(say_line, count)


def _bar(console: Console) -> Bar:
    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        # A thread that redraws would take time from the blocks: it is drawn between them.
        auto_refresh=False,
    )
