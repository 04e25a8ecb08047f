"""The line of the project that made each operator call of a block, in order.

torch.profiler's own stacks name the line in which a function begins, not the one that runs, and
prolong a block's time by every Python call. So one block is made beside the profiled ones in which
each outermost operator is heard of as it is dispatched.
"""

import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import SequenceMatcher
from types import FrameType
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from lmdm_bench.operator_profile import UNKNOWN_PLACE
from lmdm_bench.profiled_stream import BLOCK_RANGE, ProfiledStream
from lmdm_bench.trace_spans import HOST, PLACE, Span, blocks_of

PACKAGES = frozenset(("lmdm_ref", "lmdm_kernels", "lmdm_bench"))
# A layer's product is told at the line of the layer, not in what stands for ``nn.Linear``.
TRANSPARENT = frozenset(("lmdm_ref.linear", __name__))


# A ring's context lies in one piece in some blocks and in two in the others, never in one twice.
NUM_BLOCKS = 2

# The outermost operator calls of a stage, in order: the name of each, and its file and line.
Sites = Sequence[tuple[str, str]]


class CallSites(TorchDispatchMode):
    """Hears each outermost operator: ``stages`` has, for each stage, (operator, file:line)."""

    def __init__(self) -> None:
        super().__init__()
        self.stages: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        self._stage = HOST

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.stages[self._stage].append((func._schema.name, _place(sys._getframe(1))))
        return func(*args, **(kwargs or {}))

    @contextmanager
    def range(self, name: str) -> Iterator[None]:
        """For a ``RangedStopwatch``: what is called meanwhile belongs to this stage."""
        before, self._stage = self._stage, HOST if name == BLOCK_RANGE else name
        yield
        self._stage = before


def call_sites(stream: ProfiledStream) -> list[dict[str, Sites]]:
    """Make ``NUM_BLOCKS`` blocks; of each, its stages' outermost operator calls and their lines."""
    found: list[dict[str, Sites]] = []
    for _ in range(NUM_BLOCKS):
        sites = CallSites()
        with sites:
            stream.make_block(stream.watch(sites.range))
        found.append(dict(sites.stages))
    return found


def name_places(trace: Mapping[str, Any], blocks: Sequence[Mapping[str, Sites]]) -> None:
    """Write into a trace which line made each of its outermost operator calls, by their order.

    ``blocks`` are made as the traced ones were, but may differ from one by a few calls (a ring's
    context lies in one piece or in two). A stage without its like among them is laid beside the
    longest of them where the two agree; a call without counterpart stays unknown.
    """
    for block in blocks_of(trace["traceEvents"]):
        for span in block:
            for op, where in zip(span.ops, _places(span, blocks), strict=True):
                op.args[PLACE] = where


def _places(span: Span, blocks: Sequence[Mapping[str, Sites]]) -> list[str]:
    names = [op.name for op in span.ops]
    candidates = [block.get(span.name, ()) for block in blocks]
    for sites in candidates:
        if [name for name, _ in sites] == names:
            return [where for _, where in sites]
    known = max(candidates, key=len)
    known_names = [name for name, _ in known]
    places = [UNKNOWN_PLACE] * len(names)
    matcher = SequenceMatcher(None, names, known_names, autojunk=False)
    for mine, other, size in matcher.get_matching_blocks():
        for offset in range(size):
            places[mine + offset] = known[other + offset][1]
    return places


def _place(frame: FrameType | None) -> str:
    """``lmdm_ref/layers.py:97`` of the innermost frame that is the project's."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] in PACKAGES and module not in TRANSPARENT:
            return f"{module.replace('.', '/')}.py:{frame.f_lineno}"
        frame = frame.f_back
    return UNKNOWN_PLACE
