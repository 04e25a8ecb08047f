"""Files that belong together are written all or none."""

from collections.abc import Mapping
from pathlib import Path

from lmdm_bench.record import write_whole


def write_together(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write each file whole under its name; an error or Ctrl-C leaves none of them."""
    tried = []
    try:
        for name, content in contents.items():
            tried.append(folder / name)
            write_whole(folder / name, content)
    except BaseException:
        for path in tried:
            path.unlink(missing_ok=True)
        raise
