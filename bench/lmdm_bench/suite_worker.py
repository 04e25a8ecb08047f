"""One side of a comparison, in a process of its own: it opens cells and samples them when told.

    python -P -m lmdm_bench.suite_worker DEVICE DTYPE SEED

One JSON object a line, in both directions; whatever else is written to standard output goes to
standard error. It says ``hello`` first, then answers each request, and ends when its input does:

    {"open": NAME}    {"side": {…}}                        a CellSide's fields
    {"sample": NAME}  {"service_ms", "stages", "controls"} one sample, and what the machine does
    {"close": NAME}   {}                                   lets go of the cell
"""

import dataclasses
import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable
from typing import Any, TextIO

# A worker of another revision is only understood if it speaks the same.
PROTOCOL = 1

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
        ((verb, name),) = request.items()
        return {"open": self._open, "sample": self._sample, "close": self._close}[verb](name)

    def _open(self, name: str) -> Answer:
        opened = self._cells[name].open()
        if opened.sample is not None:
            self._samples[name] = opened.sample
        # What is alive now is left out of later collections, which would else fall into samples.
        gc.collect()
        gc.freeze()
        return {"side": dataclasses.asdict(opened.side)}

    def _sample(self, name: str) -> Answer:
        controls = self._controls.sample()
        sample = self._samples[name]()
        return dataclasses.asdict(sample) | {"controls": controls}

    def _close(self, name: str) -> Answer:
        self._samples.pop(name, None)
        return {}


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
