"""One scheme, proved and warm, whose blocks a profiler may watch: each stage is a named range.

What a profiler costs is told beside what it shows: plain blocks are timed right before.
"""

import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from lmdm_bench import subjects
from lmdm_bench.clock import Stopwatch, Synchronise, synchroniser
from lmdm_bench.errors import UnsupportedError
from lmdm_bench.record import Ceiling, Check, Choice, Cost, Workload
from lmdm_bench.request import Request
from lmdm_bench.session import Samples, ceiling_for
from lmdm_bench.stream_run import (
    MAX_WARMUP_BLOCKS,
    MIN_WARMUP_BLOCKS,
    WARM_SHARE,
    status_of,
    why_incorrect,
)

# The range around a whole block; those of its stages lie within it and bear the stages' names.
BLOCK_RANGE = "block"
# A stage that comes several times in a block: its ranges are numbered.
STEP_STAGE = "step"

# So many plain blocks say how long one takes unwatched.
NUM_PLAIN_BLOCKS = 3

# Opens a range of a profiler by its name.
OpenRange = Callable[[str], AbstractContextManager[object]]


class RangedStopwatch(Stopwatch):
    """A stopwatch whose block and stages are also ranges that a profiler sees.

    The names are "block", "context_encode", "step 0", "step 1" and on, "commit", "codec_decode".
    """

    def __init__(self, synchronise: Synchronise, open_range: OpenRange) -> None:
        super().__init__(synchronise)
        self._open_range = open_range

    @contextmanager
    def block(self) -> Iterator[None]:
        """Around the whole block."""
        with self._open_range(BLOCK_RANGE), super().block():
            yield

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Around one stage of the block."""
        number = len(self.stages_ms.get(name, ()))
        range_name = f"{name} {number}" if name == STEP_STAGE else name
        with self._open_range(range_name), super().stage(name):
            yield


@dataclass(frozen=True, kw_only=True)
class ProfileAsked:
    """One scheme of a valid request, with what surrounds it.

    ``num_blocks`` are profiled. ``input_samples`` [audio_channels, samples] are the audio that a
    diffusion stream continues; None: a random context.
    """

    request: Request
    scheme: str
    num_blocks: int
    device: Choice
    dtype: Choice
    input_samples: Samples | None
    command: str


class ProfiledStream:
    """A stream built as a run builds it, and its cost against what the machine can do at best."""

    def __init__(self, asked: ProfileAsked, say: Callable[[str], None]) -> None:
        """Build it and prove it: what was not checked is not profiled.

        Raises UnsupportedError where it is not right or does not fit the memory, InputError for a
        checkpoint that does not fit.
        """
        request = asked.request
        self._synchronise = synchroniser(request.device)
        self.ceiling: Ceiling = ceiling_for(request)
        self.workload: Workload = subjects.workload_of(request, asked.scheme)
        self.cost: Cost = subjects.cost_of(request, asked.scheme, self.ceiling)
        self.plain_ms: float | None = None
        with _refusing_out_of_memory(asked.scheme):
            say("building the model")
            model = subjects.Model(request)
            self.linear, self.weights = model.linear, model.weights
            if asked.input_samples is not None:
                model.encode(asked.input_samples)
            self._subject = model.subject(asked.scheme, self.cost)
            say(f"checking {asked.scheme} against its oracle")
            self.check: Check = self._subject.check()
        if not self.check.is_within_budget:
            raise UnsupportedError(f"{asked.scheme} is not right here: {why_incorrect(self.check)}")

    def warm_up(self) -> float:
        """Hear the context, then make blocks until they get no faster; returns, and keeps as
        ``plain_ms``, the median service time in ms of the plain blocks made after those."""
        self._subject.prefill()
        times: list[float] = []
        while len(times) < MIN_WARMUP_BLOCKS or (
            len(times) < MAX_WARMUP_BLOCKS and times[-1] > WARM_SHARE * min(times)
        ):
            times.append(self.make_block(self.watch()))
        plain = [self.make_block(self.watch()) for _ in range(NUM_PLAIN_BLOCKS)]
        self.plain_ms = statistics.median(plain)
        return self.plain_ms

    def watch(self, open_range: OpenRange | None = None) -> Stopwatch:
        """A stopwatch for one block on the stream's device, with ranges if any can be opened."""
        if open_range is None:
            return Stopwatch(self._synchronise)
        return RangedStopwatch(self._synchronise, open_range)

    def make_block(self, watch: Stopwatch) -> float:
        """Make the next block under the watch; returns its service time in ms."""
        with watch.block():
            self._subject.make_block(watch)
        return watch.total_ms


@contextmanager
def _refusing_out_of_memory(scheme: str) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        status, reason = status_of(error)
        if status != "OOM":
            raise
        raise UnsupportedError(f"too little memory to profile {scheme}: {reason}") from error
