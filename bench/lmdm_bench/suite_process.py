"""A side's worker as seen from the one who compares: started, asked, and always got rid of."""

import contextlib
import json
import subprocess
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lmdm_bench.compare_record import CellSide, Kind
from lmdm_bench.errors import InputError
from lmdm_bench.interrupts import ignored_interrupts
from lmdm_bench.record import RecordError, decode
from lmdm_bench.suite_sample import Calls, WorkerSample, middle_half
from lmdm_bench.suite_worker import PROTOCOL

MODULE = "lmdm_bench.suite_worker"
END_SECONDS = 5.0
# Nothing that the suite asks for takes a tenth of it, on two cores.
PATIENCE_SECONDS = 300.0
# What makes one process of the same code like another; what the user has set stands.
# After a pause the system may wake two threads on one core, where they wait for each other by
# spinning: samples of 5 ms then spread by 60 % instead of 3 %. So each is bound to a core.
BOUND_THREADS = {"OMP_PROC_BIND": "true", "OMP_PLACES": "cores"}
# On small pages a time goes by which ones a process was given: two differed by 1.3 to 2.0 % (one
# standard deviation), on large pages by 0.5 to 1.0 %. The first asks torch for them, for what is
# 2 MiB or more, the other glibc, which is to keep all else in one heap, to let it grow by so much
# that large pages fit in, and not to give it back.
LARGE_PAGES = {
    "THP_MEM_ALLOC_ENABLE": "1",
    "GLIBC_TUNABLES": ":".join(
        f"glibc.malloc.{name}={value}"
        for name, value in {
            "hugetlb": 1,
            "mmap_threshold": 1 << 30,
            "top_pad": 1 << 29,
            "trim_threshold": 1 << 32,
        }.items()
    ),
}


class WorkerLost(RuntimeError):
    """The worker ended, or said something that is no answer; the message says how."""


@dataclass(frozen=True)
class WorkerCell:
    """A cell that the worker offers."""

    name: str
    kind: Kind
    axes: dict[str, str]
    block_seconds: float | None


class SuiteProcess:
    """``with SuiteProcess(…) as worker``: a worker that starts; ``greet`` waits until it has."""

    def __init__(
        self,
        python: Path,
        environ: Mapping[str, str],
        folder: Path,
        device: str,
        dtype: str,
        seed: int,
    ) -> None:
        self._command = [str(python), "-P", "-m", MODULE, device, dtype, str(seed)]
        self._environ = BOUND_THREADS | LARGE_PAGES | dict(environ)
        self._folder = folder
        self._is_given_up = False
        self.cells: dict[str, WorkerCell] = {}

    def __enter__(self) -> Self:
        self._errors = tempfile.TemporaryFile()
        with ignored_interrupts():
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                cwd=self._folder,
                env=self._environ,
                text=True,
                encoding="utf-8",
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def greet(self) -> None:
        """Wait until it has said what it can measure, in ``cells``.

        Raises WorkerLost, and InputError where it speaks another protocol.
        """
        hello = self._read()
        if hello.get("protocol") != PROTOCOL:
            raise InputError(
                f"this revision's suite speaks protocol {hello.get('protocol')!r}, and the one "
                f"that compares speaks {PROTOCOL}: compare from a checkout between the two"
            )
        try:
            cells = decode(tuple[WorkerCell, ...], hello.get("cells"), "hello")
        except RecordError as error:
            raise WorkerLost(f"it said what it cannot mean: {error}") from error
        self.cells = {one.name: one for one in cells}

    def open(self, name: str, *, is_first: bool) -> CellSide:
        """Build and warm up a cell, and if it is the first time, check it and count its memory.

        Raises WorkerLost.
        """
        self._ask({"do": "open", "cell": name, "is_first": is_first})
        side: CellSide = self._answer(CellSide, "side")
        return side

    def sample(self, name: str, least_ms: float) -> WorkerSample:
        """One sample of an open cell, of calls that fill so much time. Raises WorkerLost."""
        self._ask({"do": "sample", "cell": name, "least_ms": least_ms})
        calls: Calls = self._answer(Calls, None)
        try:
            return middle_half(calls)
        except ValueError as error:
            raise WorkerLost(f"it answered what is none: {error}") from error

    def _ask(self, request: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended; reading says how
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()

    def _answer(self, kind: type, field: str | None) -> Any:
        answer = self._read()
        try:
            return decode(kind, answer if field is None else answer.get(field), "answer")
        except RecordError as error:
            raise WorkerLost(f"it answered what is none: {error}") from error

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        # Whoever hangs is stopped, which ends the reading.
        patience = threading.Timer(PATIENCE_SECONDS, self._give_up)
        patience.daemon = True  # not even if Ctrl-C comes right here is it waited for
        patience.start()
        try:
            line = self._process.stdout.readline()
        finally:
            patience.cancel()
        if self._is_given_up:
            raise WorkerLost(f"it was stopped, as it gave no answer for {PATIENCE_SECONDS:g} s")
        try:
            answer = json.loads(line)
        except json.JSONDecodeError:
            raise WorkerLost(self._how_it_ended()) from None
        if not isinstance(answer, dict):
            raise WorkerLost(f"it answered what is none: {line.strip()[:80]}")
        return answer

    def _give_up(self) -> None:
        self._is_given_up = True
        self._process.kill()

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return "it answered what is none"
        self._errors.seek(0)
        words = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        how = f"was stopped by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"it {how}: {words[-1]}" if words else f"it {how}"

    def _end(self) -> None:
        """Stopped at once: what it holds is nobody's."""
        with ignored_interrupts():
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            self._process.kill()
            self._process.wait()
            self._errors.close()
