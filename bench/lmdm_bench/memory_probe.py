"""Peak memory of one workload in a process of its own: ``python -m lmdm_bench.memory_probe``.

A process that has run other cells holds their memory too, and what it frees it may keep. So each
figure comes from a fresh process: it runs a tiny model first (libraries load, compile and allocate
at the first use), then builds the weights and makes two blocks. The request comes as JSON on
standard input, the answer goes as JSON to standard output.
"""

import dataclasses
import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lmdm_bench.claims_record import MemoryProbe
from lmdm_bench.record import Ceiling, Cost, RecordError, Status, Workload, decode
from lmdm_bench.request import Request

NUM_BLOCKS = 2
# How a process ends that SIGKILL stopped, by number: not every system has the name.
KILLED = -9
TINY_CONTEXT_FRAMES, TINY_BLOCK_FRAMES = 12, 3
TINY_LMMS = ("mrt1-tiny", "mrt2-tiny")


@dataclass(frozen=True)
class Grown:
    """What one process found."""

    status: Status
    reason: str | None
    grown_bytes: int | None


def probe(request: Request, workload: Workload, cost: Cost, repeats: int) -> MemoryProbe:
    """Measure a one-scheme request ``repeats`` times, each in a new process."""
    grown: list[int] = []
    for _ in range(repeats):
        one = _in_new_process(request)
        if one.grown_bytes is None:
            return MemoryProbe(workload, cost, one.status, one.reason, ())
        grown.append(one.grown_bytes)
    return MemoryProbe(workload, cost, "OK", None, tuple(grown))


def main() -> None:
    """The new process."""
    request = request_from_json(sys.stdin.read())
    sys.stdout.write(json.dumps(dataclasses.asdict(measure(request))))


def request_to_json(request: Request) -> str:
    return json.dumps(dataclasses.asdict(request), default=str)


def request_from_json(text: str) -> Request:
    """Raises RecordError for what is not a request."""
    data = json.loads(text)
    checkpoint = data.get("checkpoint")
    made: Request = decode(Request, {**data, "checkpoint": None}, "request")
    return made if checkpoint is None else replace(made, checkpoint=Path(checkpoint))


def measure(request: Request) -> Grown:
    """The growth of this process, from before the weights to the peak over the blocks."""
    from lmdm_bench.stream_run import status_of

    (scheme,) = request.schemes
    try:
        _run(_tiny(request), scheme)
        grown = _run(request, scheme)
    except (MemoryError, RuntimeError, ValueError, ArithmeticError) as error:
        return Grown(*status_of(error), None)
    if grown is None:
        return Grown("FAILED", "the process did not grow beyond what it held before", None)
    return Grown("OK", None, grown)


def _run(request: Request, scheme: str) -> int | None:
    """Bytes that one stream's life added; None where nothing was."""
    from lmdm_bench.clock import Stopwatch, synchroniser
    from lmdm_bench.memory import RssPeak, baseline, peak_memory
    from lmdm_bench.subjects import Model, cost_of

    before = baseline(request.device)
    model = Model(request, has_codec=False)
    # The cost's bounds are not read here, so that no ceiling has to be measured.
    cost = cost_of(request, scheme, Ceiling(request.dtype, 1.0, 1.0))
    subject = model.subject(scheme, cost)
    baseline(request.device)  # what building has freed goes back before the peak is watched
    peak = RssPeak()
    with peak:
        subject.prefill()
        for _ in range(NUM_BLOCKS):
            watch = Stopwatch(synchroniser(request.device))
            with watch.block():
                subject.make_block(watch)
    memory = peak_memory(before, peak, request.device)
    return memory.vram_reserved_bytes or memory.rss_peak_bytes


def _tiny(request: Request) -> Request:
    return replace(
        request,
        model="tiny",
        checkpoint=None,
        context_frames=TINY_CONTEXT_FRAMES,
        block_frames=TINY_BLOCK_FRAMES,
        lmm_models=tuple(one for one in TINY_LMMS if _runs(request, one)),
        lmm_context_frames=None,
        lmm_block_frames=None,
        lmm_levels=None,
    )


def _runs(request: Request, preset: str) -> bool:
    from lmdm_bench.subjects import scheme_of

    return scheme_of(preset) in request.schemes


def _in_new_process(request: Request) -> Grown:
    ended = subprocess.run(
        [sys.executable, "-m", "lmdm_bench.memory_probe"],
        input=request_to_json(request),
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode == KILLED:
        # The system's memory killer leaves no words.
        return Grown("OOM", f"the process was stopped by signal {-ended.returncode}", None)
    try:
        found: Any = decode(Grown, json.loads(ended.stdout), "answer")
    except (json.JSONDecodeError, RecordError):
        words = (ended.stderr.strip().splitlines() or ["no words"])[-1]
        return Grown("FAILED", f"the process ended with {ended.returncode}: {words}", None)
    answer: Grown = found
    return answer


if __name__ == "__main__":
    main()
