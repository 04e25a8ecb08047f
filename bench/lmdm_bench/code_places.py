"""Where a piece of code is, told without the folders of the machine that it ran on."""

import importlib.util
import sysconfig
from functools import cache
from pathlib import Path

OWN_PACKAGES = ("lmdm_ref", "lmdm_kernels", "lmdm_bench")
SITE_PACKAGES = "site-packages/"
STANDARD_LIBRARY = "python/"


@cache
def told_path(path: str) -> str:
    """``lmdm_ref/cache.py``, ``site-packages/torch/nn/functional.py``, ``python/contextlib.py``.

    Of any other file the name alone; what is no file (``<built-in>``) stays as it is.
    """
    if path.startswith("<"):
        return path
    for folder, told in _folders():
        if Path(path).is_relative_to(folder):
            return told + Path(path).relative_to(folder).as_posix()
    # Of another system too, whose separators these are not.
    return path.replace("\\", "/").rpartition("/")[2]


def is_own(told: str) -> bool:
    """Whether a told path is of this project's three packages."""
    return told.partition("/")[0] in OWN_PACKAGES


@cache
def _folders() -> tuple[tuple[Path, str], ...]:
    """The packages' folders before those in which they may lie installed."""
    found = []
    for name in OWN_PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            found.append((Path(spec.origin).parent, f"{name}/"))
    for key in ("purelib", "platlib"):
        found.append((Path(sysconfig.get_path(key)), SITE_PACKAGES))
    found.append((Path(sysconfig.get_path("stdlib")), STANDARD_LIBRARY))
    return tuple(found)
