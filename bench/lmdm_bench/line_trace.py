"""On which line of this project's code Python is, at every call and every return.

A sampler that looks at calls and returns alone sees too much of whatever follows a long one; this
sees all of them. Each look takes about as long as a call, so its own time is told too.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType

from lmdm_bench.code_places import is_own, told_path
from lmdm_bench.host_time import Moment

# The function of torch in which Python waits for a device.
WAITING = "synchronize"

_Look = tuple[int, int, CodeType | None, int, bool]


class LineTrace:
    """What was seen."""

    def __init__(self) -> None:
        self._looks: list[_Look] = []
        self._is_own: dict[CodeType, bool] = {}

    def moments(self) -> Iterator[Moment]:
        """In order, in nanoseconds of the system's clock."""
        for at_ns, until_ns, code, line, is_waiting in self._looks:
            if code is None:
                yield Moment(at_ns, until_ns, None, "", is_waiting)
            else:
                where = f"{told_path(code.co_filename)}:{line}"
                yield Moment(at_ns, until_ns, where, code.co_name, is_waiting)

    def look(self, frame: FrameType, event: str, arg: object) -> None:
        """For ``sys.setprofile``."""
        at_ns = time.time_ns()
        # On entering a function the time until now was its caller's.
        here = frame.f_back if event == "call" else frame
        is_waiting = False
        while here is not None and not self._owns(here.f_code):
            is_waiting = is_waiting or here.f_code.co_name == WAITING
            here = here.f_back
        code, line = (None, 0) if here is None else (here.f_code, here.f_lineno)
        self._looks.append((at_ns, time.time_ns(), code, line, is_waiting))

    def _owns(self, code: CodeType) -> bool:
        found = self._is_own.get(code)
        if found is None:
            found = self._is_own[code] = is_own(told_path(code.co_filename))
        return found


@contextmanager
def lines_traced() -> Iterator[LineTrace]:
    """Trace this thread; what else was set by ``sys.setprofile`` is set again afterwards."""
    trace = LineTrace()
    before = sys.getprofile()
    sys.setprofile(trace.look)
    try:
        yield trace
    finally:
        sys.setprofile(before)
