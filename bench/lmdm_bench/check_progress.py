"""What is said while a check plays: a line that is rewritten, or one a minute off a terminal."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from lmdm_bench.supervisor import Watching

QUIET_SECONDS = 60.0


@contextmanager
def told_on(console: Console) -> Iterator[Watching]:
    """How a check tells what happens, for as long as the ``with`` is open."""
    if console.is_terminal:
        with console.status("preparing", refresh_per_second=1) as status:

            def say(words: str) -> None:
                console.print(words)
                status.update(words)

            def played(blocks: int, misses: int) -> None:
                status.update(f"playing: {_counted(blocks, misses)}")

            yield Watching(say, played)
        return
    newest_seconds = time.monotonic()

    def tell(blocks: int, misses: int) -> None:
        nonlocal newest_seconds
        if time.monotonic() - newest_seconds >= QUIET_SECONDS:
            newest_seconds = time.monotonic()
            console.print(f"  {_counted(blocks, misses)}")

    yield Watching(console.print, tell)


def _counted(blocks: int, misses: int) -> str:
    late = "none late" if not misses else f"{misses} late"
    return f"{blocks} blocks, {late}"
