"""How many graphs torch compiled, and how many kernels Triton did, since one began to count."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch._dynamo.utils import counters


class CompileCount:
    """Counts up; ``since`` tells what came after a mark. Made by ``counting``."""

    def __init__(self) -> None:
        self._kernels = 0

    @property
    def now(self) -> int:
        """Graphs of ``torch.compile`` and kernels of Triton's own compiler so far."""
        return int(counters["stats"]["unique_graphs"]) + self._kernels

    def add_kernel(self, **_: Any) -> None:
        """Triton's hook: called after each kernel that it compiles."""
        self._kernels += 1


@contextmanager
def counting() -> Iterator[CompileCount]:
    """Count while this is open. Where Triton is not installed, or interprets, it compiles none."""
    count = CompileCount()
    try:
        knobs = importlib.import_module("triton").knobs
    except (ImportError, AttributeError):
        yield count
        return
    before = knobs.runtime.jit_post_compile_hook
    knobs.runtime.jit_post_compile_hook = count.add_kernel
    try:
        yield count
    finally:
        knobs.runtime.jit_post_compile_hook = before
