"""One side of a comparison, in a process of its own: it opens cells and samples them when told.

    python -P -m lmdm_bench.suite_worker DEVICE DTYPE SEED

One JSON object a line, in both directions; whatever else is written to standard output goes to
standard error. It says ``hello`` first, then answers each request, and ends when its input does:

    {"do": "open", "cell": NAME, "is_first": BOOL}        → {"side": a CellSide's fields}
    {"do": "sample", "cell": NAME, "least_ms": NUMBER}    → {"service_ms", "stages", "controls"}

A sample is calls in a row, each one's times, until they fill that time; what they come to is for
the one who asks, who has to do the same with both sides'. Either request takes all the cores, so
one side alone is asked at a time.
"""

import dataclasses
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TextIO

from lmdm_bench.suite_sample import Calls

if TYPE_CHECKING:
    from lmdm_bench.suite import Sample

# A worker of another revision is only understood if it speaks the same.
PROTOCOL = 2

MS_PER_SECOND = 1e3

Answer = dict[str, Any]


class Worker:
    """Answers requests about the suite's cells."""

    def __init__(self, device: str, dtype: str, seed: int) -> None:
        # Whoever asks for help or reads the protocol's number needs no torch.
        from lmdm_bench import suite
        from lmdm_bench.drift_controls import DriftControls

        self._cells = {one.name: one for one in suite.suite(device, dtype, seed)}
        self._samples: dict[str, Callable[[], suite.Sample]] = {}
        self._controls = DriftControls(device)

    def hello(self) -> Answer:
        """What there is to be measured."""
        cells = [
            {
                "name": one.name,
                "kind": one.kind,
                "axes": one.axes,
                "block_seconds": one.block_seconds,
            }
            for one in self._cells.values()
        ]
        return {"protocol": PROTOCOL, "cells": cells}

    def answer(self, request: Answer) -> Answer:
        """Raises KeyError for a request or a cell that is not known."""
        verbs: dict[str, Callable[..., Answer]] = {"open": self._open, "sample": self._sample}
        return verbs[request["do"]](
            **{name: value for name, value in request.items() if name != "do"}
        )

    def _open(self, cell: str, is_first: bool) -> Answer:
        opened = self._cells[cell].open(is_first)
        if opened.sample is not None:
            self._samples[cell] = opened.sample
        # What is alive now is left out of later collections, which would else fall into samples.
        gc.collect()
        gc.freeze()
        return {"side": dataclasses.asdict(opened.side)}

    def _sample(self, cell: str, least_ms: float) -> Answer:
        controls = self._controls.sample()
        return dataclasses.asdict(calls(self._samples[cell], least_ms, controls))


def calls(take: Callable[[], "Sample"], least_ms: float, controls: dict[str, float]) -> Calls:
    """As many calls as fill that time, one at least, with the stages that each of them has."""
    began = time.perf_counter()
    taken = [take()]
    while (time.perf_counter() - began) * MS_PER_SECOND < least_ms:
        taken.append(take())
    common = [name for name in taken[0].stages if all(name in one.stages for one in taken)]
    return Calls(
        service_ms=tuple(one.service_ms for one in taken),
        stages={name: tuple(one.stages[name] for one in taken) for name in common},
        controls=controls,
    )


def serve(worker: Worker, requests: Iterable[str], answers: TextIO) -> None:
    """Answer each line until there are no more."""
    _say(worker.hello(), answers)
    for line in requests:
        _say(worker.answer(json.loads(line)), answers)


def main(arguments: list[str]) -> None:
    """The process: it minds no Ctrl-C, which is for the one who asks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    device, dtype, seed = arguments
    serve(Worker(device, dtype, int(seed)), sys.stdin, answers)


def _say(answer: Answer, answers: TextIO) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
