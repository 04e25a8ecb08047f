"""Blocks made back to back until nothing is compiled any more and they get no faster."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

from lmdm_bench.block_counters import BlockCounters
from lmdm_bench.clock import Stopwatch, Synchronise
from lmdm_bench.memory import RssPeak
from lmdm_bench.paced_stream import PacedSubject
from lmdm_bench.record import Block
from lmdm_bench.steadiness import is_steady
from lmdm_bench.stream_run import block_of

# So many blocks without a compilation, an allocation or a trend end it, or so many seconds.
QUIET_BLOCKS = 6
MOST_SECONDS = 120.0


# The resident set is sampled while these are made, which takes some of their time: they come first.
MEMORY_BLOCKS = 2


@dataclass(frozen=True)
class Warm:
    """The blocks, flagged, in words why they were enough, and the largest resident set."""

    blocks: tuple[Block, ...]
    words: str
    peak: RssPeak


def warm_up(
    subject: PacedSubject,
    counters: BlockCounters,
    synchronise: Synchronise,
    must_stop: Callable[[], bool],
    most_seconds: float = MOST_SECONDS,
) -> Warm:
    """Make blocks until the newest ``QUIET_BLOCKS`` are quiet. Their samples are dropped."""
    blocks: list[Block] = []
    events: list[int] = []
    peak = RssPeak()

    def warm(words: str) -> Warm:
        return Warm(tuple(blocks), words, peak)

    while not must_stop():
        counters.start()
        watch = Stopwatch(synchronise)
        looks = RssPeak() if len(blocks) < MEMORY_BLOCKS else nullcontext()
        with looks, watch.block():
            subject.make_block(watch)
        if isinstance(looks, RssPeak):
            peak.peak_bytes = max(peak.peak_bytes, looks.peak_bytes)
        counted = counters.stop()
        events.append(counted.num_compiles + (counted.num_allocs or 0))
        labels = () if blocks else ("first",)
        blocks.append(block_of(len(blocks), watch, watch.total_ms, is_warmup=True, labels=labels))
        newest = [one.service_ms for one in blocks[-QUIET_BLOCKS:]]
        if len(newest) == QUIET_BLOCKS and not sum(events[-QUIET_BLOCKS:]) and is_steady(newest):
            return warm(f"no trend or compilation in the last {QUIET_BLOCKS} blocks")
        if sum(one.service_ms for one in blocks) >= most_seconds * 1000.0:
            return warm(f"not quiet after {most_seconds:.0f} s; begun all the same")
    return warm("stopped")
