"""A generator's run as its parent sees it: told to stop, ended where it hangs, never waited for.

Whatever happens to the generator, its finished blocks are in the journal, and the run ends with
them and with a label that says what happened.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import psutil

from lmdm_bench.block_causes import label
from lmdm_bench.check_record import Incident, PacedBlock, Telemetry
from lmdm_bench.child_process import Child
from lmdm_bench.generator import (
    Began,
    Built,
    Checked,
    Ended,
    GeneratorAsked,
    Say,
    Warmed,
    generate,
)
from lmdm_bench.interrupts import ignored_interrupts
from lmdm_bench.journal import Journal, Written
from lmdm_bench.record import Block, Check, Choice, Memory, Status
from lmdm_bench.telemetry_process import TelemetryProcess

LOOK_SECONDS = 0.25
# Telemetry has room for building, proving and warming up besides the playing.
PREPARING_SECONDS = 900.0
TELEMETRY_PERIOD_MS = 200.0
# A generator that finishes no block for so long hangs: whichever of the three is the longest.
LEAST_STALL_SECONDS = 30.0
STALL_BLOCKS = 20.0
STALL_SERVICES = 10.0
# After Ctrl-C the block at hand may be finished, within reason.
STOP_SECONDS = 10.0
# A generator that has said that it ended, or was given up, has so long until it is ended.
END_SECONDS = 1.0


@dataclass
class Watching:
    """What is told while it goes on: words, and how many blocks there are with how many misses."""

    say: Callable[[str], None]
    played: Callable[[int, int], None]


@dataclass
class Outcome:
    """All that a generator left: see ``CheckCell``."""

    status: Status = "FAILED"
    reason: str | None = "the generator's process ended without a word"
    linear: Choice | None = None
    weights: str | None = None
    check: Check | None = None
    memory: Memory | None = None
    memory_used_bytes: int | None = None
    warmup: tuple[Block, ...] = ()
    warm_words: str = "not warmed up"
    written: Written | None = None
    incidents: list[Incident] = field(default_factory=list)
    telemetry: Telemetry | None = None
    origin_ns: int | None = None
    is_interrupted: bool = False

    @property
    def blocks(self) -> tuple[PacedBlock, ...]:
        return () if self.written is None else self.written.blocks


def supervise(
    asked: GeneratorAsked,
    watching: Watching,
    own_pids: Sequence[int] = (),
    device_memory_bytes: int | None = None,
) -> Outcome:
    """Run a generator to its end, or to the end that befalls it. Ctrl-C stops it, twice ends it.

    ``own_pids`` are further processes of the run; ``device_memory_bytes`` is a GPU's memory, past
    which it spills.
    """
    journal = Journal(asked.most_blocks, asked.most_steps)
    generator = Child("generator", generate, asked, journal.name)
    outcome = Outcome()
    try:
        with ignored_interrupts():
            generator.start()
            assert generator.pid is not None
            seconds = PREPARING_SECONDS + asked.most_blocks * asked.ring.block_ms / 1000.0
            telemetry = TelemetryProcess(
                generator.pid, asked.device, seconds, TELEMETRY_PERIOD_MS, own_pids
            )
            telemetry.start()
        try:
            _Watch(asked, journal, generator, outcome, watching).until_ended()
        finally:
            with ignored_interrupts():
                generator.stop(ask_seconds=END_SECONDS)
                outcome.telemetry = telemetry.stop(outcome.origin_ns or time.monotonic_ns())
        outcome.written = journal.read(asked.ring.block_ms)
    finally:
        journal.close()
    return _labelled(outcome, asked.ring.block_ms, device_memory_bytes)


class _Watch:
    """One generator under watch."""

    def __init__(
        self,
        asked: GeneratorAsked,
        journal: Journal,
        generator: Child,
        outcome: Outcome,
        watching: Watching,
    ) -> None:
        self._asked = asked
        self._journal = journal
        self._generator = generator
        self._num_heard = 0
        self._outcome = outcome
        self._watching = watching
        self._has_ended = False
        self._newest_seconds = time.monotonic()
        self._num_blocks = 0
        self._stop_by_seconds: float | None = None

    def until_ended(self) -> None:
        while not self._has_ended:
            try:
                self._look()
            except KeyboardInterrupt:
                self._interrupted()

    def _look(self) -> None:
        is_heard = self._generator.wait_for_word(LOOK_SECONDS)
        is_alive = is_heard or self._generator.is_alive
        words = self._generator.received()
        for told in words[self._num_heard :]:
            self._hear(told)
        self._num_heard = len(words)
        if self._has_ended:
            return
        if not is_alive:
            self._killed()
            return
        self._note_memory()
        self._note_blocks()
        now = time.monotonic()
        if self._stop_by_seconds is not None and now > self._stop_by_seconds:
            self._give_up("INTERRUPTED", "stopped by Ctrl-C; its last block was not waited for")
        elif self._outcome.origin_ns and now - self._newest_seconds > self._stall_seconds():
            self._stalled(now - self._newest_seconds)

    def _hear(self, told: Any) -> None:
        outcome = self._outcome
        match told:
            case Say(words):
                self._watching.say(words)
            case Built(linear, weights):
                outcome.linear, outcome.weights = linear, weights
            case Checked(check):
                outcome.check = check
            case Warmed(blocks, words, memory):
                outcome.warmup, outcome.warm_words, outcome.memory = blocks, words, memory
            case Began(origin_ns):
                outcome.origin_ns = origin_ns
                self._newest_seconds = time.monotonic()
                self._watching.say("playing")
            case Ended(status, reason, is_audio_lost):
                self._has_ended = True
                outcome.status, outcome.reason = status, reason
                if is_audio_lost:
                    self._add_incident("audio lost", reason or "")
                if outcome.is_interrupted and status == "OK":
                    self._give_up("INTERRUPTED", self._so_far("stopped by Ctrl-C"))

    def _interrupted(self) -> None:
        """Once: make no further block. Twice, or before anything plays: end it now."""
        again = self._outcome.is_interrupted
        self._outcome.is_interrupted = True
        self._journal.stop()
        if again or self._outcome.origin_ns is None:
            self._give_up("INTERRUPTED", self._so_far("stopped by Ctrl-C"))
        else:
            self._watching.say("stopping after this block; Ctrl-C again ends it at once")
            slowest = self._journal.slowest_ms() / 1000.0
            self._stop_by_seconds = time.monotonic() + STOP_SECONDS + 2 * slowest

    def _killed(self) -> None:
        words = f"the generator's process {self._generator.stop() or 'ended by itself'}"
        self._add_incident("killed", words)
        self._give_up("FAILED", self._so_far(words))

    def _stalled(self, seconds: float) -> None:
        words = f"no block was finished for {seconds:.0f} s, and the generator was ended"
        self._add_incident("stalled", words)
        self._give_up("FAILED", self._so_far(words))

    def _give_up(self, status: Status, reason: str) -> None:
        self._has_ended = True
        self._outcome.status, self._outcome.reason = status, reason

    def _so_far(self, words: str) -> str:
        return f"{words}, after {self._journal.num_blocks} blocks"

    def _add_incident(self, kind: Any, words: str) -> None:
        origin = self._outcome.origin_ns
        at_ms = 0.0 if origin is None else (time.monotonic_ns() - origin) / 1e6
        self._outcome.incidents.append(Incident(at_ms, kind, words))

    def _note_memory(self) -> None:
        memory = psutil.virtual_memory()
        used = int(memory.total - memory.available)
        self._outcome.memory_used_bytes = max(self._outcome.memory_used_bytes or 0, used)

    def _note_blocks(self) -> None:
        if self._journal.num_blocks != self._num_blocks:
            self._num_blocks = self._journal.num_blocks
            self._newest_seconds = time.monotonic()
            self._watching.played(self._num_blocks, self._journal.num_misses())

    def _stall_seconds(self) -> float:
        slowest = self._journal.slowest_ms() / 1000.0
        blocks = STALL_BLOCKS * self._asked.ring.block_ms / 1000.0
        return max(LEAST_STALL_SECONDS, blocks, STALL_SERVICES * slowest)


def _labelled(outcome: Outcome, block_ms: float, device_memory_bytes: int | None) -> Outcome:
    """With the causes of slow blocks, which only the whole run tells."""
    assert outcome.written is not None and outcome.telemetry is not None
    if outcome.telemetry.ended is not None:
        at_ms = outcome.telemetry.times_ms[-1] if outcome.telemetry.times_ms else 0.0
        words = f"the telemetry process {outcome.telemetry.ended}"
        outcome.incidents.append(Incident(at_ms, "telemetry lost", words))
    outcome.incidents = [*outcome.written.incidents, *outcome.incidents]
    blocks = outcome.written.blocks
    causes = label(blocks, block_ms, outcome.telemetry, outcome.incidents, device_memory_bytes)
    told = tuple(
        replace(one, block=replace(one.block, labels=tuple(why)))
        for one, why in zip(blocks, causes, strict=True)
    )
    outcome.written = replace(outcome.written, blocks=told)
    return outcome
