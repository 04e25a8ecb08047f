"""Streams whose blocks take the times they are told to, for whatever plays them.

The factories stand at module level, since a generator's process has to find them by name.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

import check_records
from lmdm_bench.clock import Stopwatch
from lmdm_bench.generator import GeneratorAsked, Made
from lmdm_bench.journal import Journal
from lmdm_bench.no_work import NoWork
from lmdm_bench.record import Check, Choice
from lmdm_bench.ring import Ring

BLOCK_MS = 20.0
BLOCK_SAMPLES = 960
WRONG = Check("an oracle", 2, 2, 1e-2, 1e-7, 3e-7, is_within_budget=False)


class Scripted(NoWork):
    """Block i takes ``service_ms[i]`` (the last for all after); ``act`` may do something else."""

    def __init__(
        self,
        service_ms: Sequence[float],
        spend: Callable[[float], None] = lambda ms: time.sleep(ms / 1000),
        act: Callable[[int], None] = lambda index: None,
    ) -> None:
        self.workload = replace(
            NoWork.workload,
            samples_per_frame=BLOCK_SAMPLES,
            block_seconds=BLOCK_MS / 1000,
        )
        self._service_ms = list(service_ms)
        self._spend = spend
        self._act = act
        self.calls: list[str] = []

    def make_block(self, watch: Stopwatch) -> npt.NDArray[np.float32]:
        index = self.calls.count("block")
        self.calls.append("block")
        self._act(index)
        with watch.stage("step"):
            self._spend(self._service_ms[min(index, len(self._service_ms) - 1)])
        return np.full((2, BLOCK_SAMPLES), 0.25, np.float32)

    def change_prompt(self, number: int) -> None:
        self.calls.append(f"prompt {number}")

    def hear_input(self) -> None:
        self.calls.append("input")


def make_scripted(service_ms: Sequence[float], fault: str = "none", at: int = 0) -> Made:
    """A stream with one fault, in the block ``at``."""
    faults = {
        "none": lambda: None,
        "hangs": lambda: time.sleep(3600),
        "is killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "raises": _raise,
        "leaves": lambda: os._exit(7),
    }

    def act(index: int) -> None:
        if index == at:
            faults[fault]()

    if fault == "cannot be built":
        raise MemoryError("not enough memory")
    subject = Scripted(service_ms, act=act)
    if fault == "is wrong":
        subject.check = lambda: WRONG  # type: ignore[method-assign]
    return Made(subject, Choice("plain", "scripted"), "none")


def asked(*arguments: Any, num_blocks: int = 20, **changes: Any) -> GeneratorAsked:
    """A generator of ``make_scripted(*arguments)``, unproved; ``changes`` are its fields."""
    plain = GeneratorAsked(
        make=make_scripted,
        arguments=arguments,
        ring=Ring(2, BLOCK_MS),
        num_blocks=num_blocks,
        most_steps=1,
        condition_kinds=(),
        seed=0,
        device="cpu",
        is_sustained=False,
        audio_ring=None,
        is_proved=False,
    )
    return replace(plain, **changes)


def write_one_block(name: str, most_blocks: int, most_steps: int) -> None:
    """Into a journal that another process made, once that asked for an end."""
    journal = Journal(most_blocks, most_steps, name)
    assert journal.must_stop
    journal.add_block(check_records.cell(check_records.steady(3)).blocks[2])
    journal.close()


def _raise() -> None:
    raise RuntimeError("the model broke")
