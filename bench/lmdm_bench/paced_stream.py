"""A stream played against a clock: block after block, each begun when the ring has room for it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lmdm_bench.block_clock import BlockClock, Samples
from lmdm_bench.block_counters import BlockCounters
from lmdm_bench.canary import CanaryWatch
from lmdm_bench.check_record import Control, PacedBlock
from lmdm_bench.clock import Stopwatch, Synchronise
from lmdm_bench.conditions import Conditions
from lmdm_bench.journal import Journal
from lmdm_bench.lost_time import LostTime
from lmdm_bench.record import Check, Workload
from lmdm_bench.stream_run import block_of


class PacedSubject(Protocol):
    """What can be played: a ``stream_run.Subject`` to which conditions can come while it runs."""

    workload: Workload

    def check(self) -> Check:
        """Prove the scheme against its oracle, in this process and dtype."""

    def prefill(self) -> None:
        """Hear the context."""

    def make_block(self, watch: Stopwatch) -> Samples | None:
        """The next block's samples, each stage under the watch; None for one of tokens."""

    def change_prompt(self, number: int) -> None:
        """Another prompt, from the next block on."""

    def hear_input(self) -> None:
        """A block of input audio becomes the newest of what the stream has heard."""


@dataclass
class Playing:
    """What one run of a stream needs beside the stream and the clock.

    ``is_over(num_blocks, now_ms)`` is asked before each block.
    """

    journal: Journal
    block_ms: float
    conditions: Conditions
    counters: BlockCounters
    canary: CanaryWatch
    lost_time: LostTime
    synchronise: Synchronise
    is_over: Callable[[int, float], bool]


def play_stream(subject: PacedSubject, clock: BlockClock, playing: Playing) -> None:
    """Play until it is over or the journal says stop; every finished block is in the journal.

    Raises whatever the subject raises, and FloatingPointError for samples that are not finite.
    """
    journal, conditions = playing.journal, playing.conditions
    index, num_prompts, num_canaries, is_playing = 0, 0, 0, False
    while not journal.must_stop and not playing.is_over(index, clock.now_ms()):
        room = clock.wait_for_room()
        lost = playing.lost_time.since_last(room.wake_error_ms)
        if lost is not None:
            journal.add_incident(clock.now_ms(), lost.kind, lost.milliseconds)
        playing.counters.start()
        watch = Stopwatch(playing.synchronise, clock.now_ms)
        started_ms = clock.begin()
        for one in conditions.due(started_ms, index):
            num_prompts += one.kind == "prompt"
            _apply(subject, one, num_prompts)
        playing.synchronise()
        control_ms = clock.now_ms() - started_ms
        samples = subject.make_block(watch)
        playing.synchronise()
        handed = clock.hand_over(samples)
        counters = playing.counters.stop()
        block = block_of(index, watch, handed.ready_ms - started_ms)
        journal.add_block(
            PacedBlock(
                block=block,
                room_ms=room.room_ms,
                started_ms=started_ms,
                ready_ms=handed.ready_ms,
                deadline_ms=handed.deadline_ms,
                wake_error_ms=room.wake_error_ms,
                control_ms=control_ms,
                rms=_level(samples),
                counters=counters,
            )
        )
        if math.isnan(handed.deadline_ms):
            pass
        elif not is_playing:
            is_playing = True
            conditions.start(handed.deadline_ms - index * playing.block_ms)
        else:
            for one in conditions.heard(handed.ready_ms, handed.deadline_ms):
                journal.add_control(one)
        playing.canary.maybe(clock.idle_ms())
        num_canaries = _write_canaries(playing, num_canaries)
        index += 1
    for left in conditions.unheard(clock.now_ms()):
        journal.add_control(left)


def _apply(subject: PacedSubject, one: Control, number: int) -> None:
    if one.kind == "prompt":
        subject.change_prompt(number)
    else:
        subject.hear_input()


def _level(samples: Samples | None) -> float | None:
    """The block's root mean square. Raises FloatingPointError where there is none."""
    if samples is None:
        return None
    level = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    if not math.isfinite(level):
        raise FloatingPointError("the block has samples that are not finite numbers")
    return level


def _write_canaries(playing: Playing, num_written: int) -> int:
    done = playing.canary.result()
    for at_ms, work_ms in zip(done.times_ms[num_written:], done.work_ms[num_written:], strict=True):
        playing.journal.add_canary(at_ms, work_ms)
    return len(done.times_ms)
