"""Time that passed while nothing could run, told by clocks that go on and clocks that do not."""

import time
from collections.abc import Callable
from typing import NamedTuple

# What a busy machine may take away without having slept; a jump of the time of day below it is a
# correction that nobody hears.
LEAST_SUSPEND_SECONDS = 1.0
LEAST_JUMP_SECONDS = 1.0

Seconds = Callable[[], float]


class Lost(NamedTuple):
    """What happened, and by how many milliseconds."""

    kind: str
    milliseconds: float


class LostTime:
    """Compares the clock of the run with those of a machine that sleeps and of the day.

    Deadlines stand on a clock that never jumps. Where the system has a second one that counts sleep
    too (Linux), their difference grows when the machine was suspended; where the run's own clock
    counts sleep, a suspend is a wait that ended far too late.
    """

    def __init__(
        self,
        running: Seconds = time.monotonic,
        with_sleep: Seconds | None = None,
        time_of_day: Seconds = time.time,
    ) -> None:
        self._running = running
        self._with_sleep = with_sleep or _boot_clock()
        self._time_of_day = time_of_day
        self._slept, self._day = self._differences()

    def since_last(self, wake_error_ms: float) -> Lost | None:
        """What befell since it was last asked; ``wake_error_ms``: how late a wait ended."""
        slept, day = self._differences()
        suspended, jumped = slept - self._slept, day - self._day
        self._slept, self._day = slept, day
        if suspended >= LEAST_SUSPEND_SECONDS:
            return Lost("suspend", suspended * 1000.0)
        if wake_error_ms >= LEAST_SUSPEND_SECONDS * 1000.0:
            return Lost("suspend", wake_error_ms)
        if abs(jumped) >= LEAST_JUMP_SECONDS:
            return Lost("clock jump", jumped * 1000.0)
        return None

    def _differences(self) -> tuple[float, float]:
        running = self._running()
        slept = self._with_sleep() - running if self._with_sleep else 0.0
        return slept, self._time_of_day() - running - slept


def _boot_clock() -> Seconds | None:
    """Linux's clock that goes on in a suspend; elsewhere None."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return None if boot is None else lambda: time.clock_gettime(boot)
