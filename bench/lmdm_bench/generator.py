"""The generator's process: builds a stream, proves it, warms it up and plays it.

It tells its parent what happens, and leaves every block in the journal. Ctrl-C is the parent's to
hear; it asks the generator to stop, or ends it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from lmdm_bench.block_clock import BlockClock, WallClock
from lmdm_bench.block_counters import BlockCounters
from lmdm_bench.canary import CanaryWatch, Work, cpu_work, cuda_work
from lmdm_bench.clock import synchroniser
from lmdm_bench.conditions import Conditions, Kind
from lmdm_bench.device_clock import AudioLost, DeviceClock
from lmdm_bench.journal import Journal
from lmdm_bench.lost_time import LostTime
from lmdm_bench.memory import baseline, peak_memory
from lmdm_bench.paced_stream import PacedSubject, Playing, play_stream
from lmdm_bench.record import Block, Check, Choice, Memory, Status
from lmdm_bench.ring import Ring
from lmdm_bench.steadiness import is_steady
from lmdm_bench.stream_run import frozen_garbage, status_of, why_incorrect
from lmdm_bench.warm_up import warm_up

# A sustained run goes on to at most so many times the blocks that were asked for, and looks for a
# trend so often in that many blocks.
MOST_TIMES_LONGER = 3
LOOKS = 20
# A stream that does not keep up makes so many blocks after the prebuffer, however long they take.
LEAST_BLOCKS = 3


class Made(NamedTuple):
    """A stream, and what its record says of its weights."""

    subject: PacedSubject
    linear: Choice | None
    weights: str | None


@dataclass(frozen=True)
class GeneratorAsked:
    """What to play and how. ``make(*arguments)`` is called in the generator's process.

    ``condition_kinds`` arrive while it plays. ``is_sustained``: the run goes on, to at most
    ``MOST_TIMES_LONGER`` times ``num_blocks``, until its last third has no trend. ``audio_ring`` is
    the shared ring of a sound card's process, None for the wall clock. ``is_proved``: the stream is
    checked against its oracle, and warmed up, before it plays.
    """

    make: Callable[..., Made]
    arguments: tuple[Any, ...]
    ring: Ring
    num_blocks: int
    most_steps: int
    condition_kinds: tuple[Kind, ...]
    seed: int
    device: str
    is_sustained: bool
    audio_ring: Any
    is_proved: bool

    @property
    def most_blocks(self) -> int:
        return self.num_blocks * (MOST_TIMES_LONGER if self.is_sustained else 1)


class Say(NamedTuple):
    """What is going on, in words."""

    words: str


class Built(NamedTuple):
    linear: Choice | None
    weights: str | None


class Checked(NamedTuple):
    check: Check


class Warmed(NamedTuple):
    blocks: tuple[Block, ...]
    words: str
    memory: Memory


class Began(NamedTuple):
    """Playing begins: the clock's origin, as ``time.monotonic_ns`` of the whole machine."""

    origin_ns: int


class Ended(NamedTuple):
    """``status`` OK, or why not; ``is_audio_lost``: the sound card's process went away."""

    status: Status
    reason: str | None
    is_audio_lost: bool = False


def generate(parent: Connection, asked: GeneratorAsked, journal_name: str) -> None:
    """The process's whole life, for ``Child``: it tells ``Ended``, unless it is ended before."""
    journal = Journal(asked.most_blocks, asked.most_steps, journal_name)
    try:
        parent.send(_played(asked, journal, parent))
    except OSError:
        pass  # nobody listens any more
    finally:
        journal.close()


def _played(asked: GeneratorAsked, journal: Journal, parent: Connection) -> Ended:
    synchronise = synchroniser(asked.device)
    counters = BlockCounters(asked.device)
    try:
        baseline_bytes = baseline(asked.device)
        parent.send(Say("building the model"))
        made = asked.make(*asked.arguments)
        subject = made.subject
        parent.send(Built(made.linear, made.weights))
        if asked.is_proved:
            parent.send(Say("checking it against its oracle"))
            check = subject.check()
            parent.send(Checked(check))
            if not check.is_within_budget:
                return Ended("INCORRECT", why_incorrect(check))
        subject.prefill()
        if asked.is_proved:
            parent.send(Say("warming up"))
            warm = warm_up(subject, counters, synchronise, lambda: _is_unwanted(journal, parent))
            memory = peak_memory(baseline_bytes, warm.peak, asked.device)
            parent.send(Warmed(warm.blocks, warm.words, memory))
        work = _canary_work(asked.device)
        with frozen_garbage():
            clock = _clock(asked)
            parent.send(Began(time.monotonic_ns()))
            playing = Playing(
                journal=journal,
                block_ms=asked.ring.block_ms,
                conditions=Conditions(asked.condition_kinds, asked.ring.block_ms, asked.seed),
                counters=counters,
                canary=CanaryWatch(clock.now_ms, work),
                lost_time=LostTime(),
                synchronise=synchronise,
                is_over=lambda *so_far: _is_over(asked, journal, parent, *so_far),
            )
            try:
                play_stream(subject, clock, playing)
            finally:
                clock.close()
    except AudioLost as error:
        return Ended("FAILED", str(error), is_audio_lost=True)
    except (MemoryError, RuntimeError, ValueError, ArithmeticError) as error:
        return Ended(*status_of(error))
    return Ended("OK", None)


def _is_unwanted(journal: Journal, parent: Connection) -> bool:
    """Whether the parent asked for an end, or is gone."""
    return journal.must_stop or parent.poll(0)


def _is_over(
    asked: GeneratorAsked, journal: Journal, parent: Connection, num_blocks: int, now_ms: float
) -> bool:
    """By its blocks, or by the clock where they do not keep up with it."""
    is_time_over = now_ms >= asked.most_blocks * asked.ring.block_ms
    has_some = num_blocks >= asked.ring.prebuffer_blocks + LEAST_BLOCKS
    if _is_unwanted(journal, parent) or num_blocks >= asked.most_blocks:
        return True
    if is_time_over and has_some:
        return True
    if num_blocks < asked.num_blocks or num_blocks % max(1, asked.num_blocks // LOOKS):
        return False
    times = journal.service_ms()
    newest = times[-len(times) // 3 :]
    # A trend upwards is one downwards of the times in reverse.
    return is_steady(newest) and is_steady(newest[::-1])


def _canary_work(device: str) -> Work:
    """On the device that makes the blocks; made before the clock, since it is tried first."""
    if device.partition(":")[0] != "cuda":
        return cpu_work()
    import torch

    return cuda_work(torch, device)


def _clock(asked: GeneratorAsked) -> BlockClock:
    if asked.audio_ring is None:
        return WallClock(asked.ring)
    return DeviceClock(asked.audio_ring, asked.ring)
