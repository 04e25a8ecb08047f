"""Whatever befalls a generator, its finished blocks come home, with a word on what happened."""

import itertools
import os
import signal
import threading
import time
from dataclasses import replace

import psutil
import pytest

from lmdm_bench import supervisor
from lmdm_bench.generator import LEAST_BLOCKS
from lmdm_bench.ring import Ring
from lmdm_bench.supervisor import Outcome, Watching, supervise
from scripted import BLOCK_MS, asked

SAID: list[str] = []
QUIET = Watching(say=SAID.append, played=lambda blocks, misses: None)


@pytest.fixture(autouse=True)
def nothing_left() -> None:
    yield
    SAID.clear()
    children = psutil.Process().children(recursive=True)
    names = [" ".join(one.cmdline()) for one in children if one.is_running()]
    assert not [name for name in names if "resource_tracker" not in name]


def run(*arguments, watching: Watching = QUIET, **changes) -> Outcome:
    return supervise(asked(*arguments, **changes), watching)


def test_a_whole_run_has_its_blocks_telemetry_and_origin() -> None:
    outcome = run([4.0], num_blocks=50)
    assert (outcome.status, outcome.reason) == ("OK", None)
    num_blocks = len(outcome.blocks)
    assert LEAST_BLOCKS < num_blocks <= 50  # fewer where a busy machine makes them too late
    assert outcome.weights == "none" and outcome.linear is not None
    assert outcome.telemetry is not None and outcome.telemetry.ended is None
    assert outcome.telemetry.times_ms and "rss_bytes" in outcome.telemetry.columns
    assert outcome.memory_used_bytes and not outcome.incidents
    # Deadlines stand exactly one block apart.
    due = [one.deadline_ms for one in outcome.blocks]
    assert [after - before for before, after in itertools.pairwise(due)] == pytest.approx(
        [BLOCK_MS] * (num_blocks - 1)
    )
    assert SAID[-1] == "playing"


def test_a_proved_run_is_checked_and_warmed_up_first() -> None:
    outcome = run([4.0], is_proved=True)
    assert outcome.status == "OK"
    assert outcome.check is not None and outcome.check.is_within_budget
    assert outcome.warmup and outcome.warm_words.startswith("no trend")
    assert outcome.memory is not None


def test_nothing_is_played_that_was_not_proved_right() -> None:
    outcome = run([4.0], "is wrong", is_proved=True)
    assert outcome.status == "INCORRECT" and "nothing was timed" in str(outcome.reason)
    assert not outcome.blocks


@pytest.mark.parametrize(
    ("fault", "status", "words", "incident"),
    [
        ("raises", "FAILED", "the model broke", None),
        ("is killed", "FAILED", "signal 9", "killed"),
        ("leaves", "FAILED", "exit code 7", "killed"),
    ],
)
def test_a_generator_that_ends_early_leaves_its_finished_blocks(
    fault: str, status: str, words: str, incident: str | None
) -> None:
    outcome = run([4.0], fault, 12, num_blocks=200)
    assert outcome.status == status and words in str(outcome.reason)
    assert len(outcome.blocks) == 12
    assert [one.kind for one in outcome.incidents] == ([incident] if incident else [])


def test_what_cannot_be_built_is_out_of_memory() -> None:
    outcome = run([4.0], "cannot be built")
    assert outcome.status == "OOM" and not outcome.blocks


def test_a_generator_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LEAST_STALL_SECONDS", 1.0)
    outcome = run([4.0], "hangs", 8, num_blocks=200)
    assert outcome.status == "FAILED" and "no block was finished for" in str(outcome.reason)
    assert len(outcome.blocks) == 8
    assert [one.kind for one in outcome.incidents] == ["stalled"]


def interrupt_at(count: int, seen: int) -> Watching:
    """Ctrl-C so many times once so many blocks are there."""
    left = [count]

    def played(blocks: int, misses: int) -> None:
        while left[0] and blocks >= seen:
            left[0] -= 1
            signal.raise_signal(signal.SIGINT)

    return Watching(say=SAID.append, played=played)


def test_ctrl_c_ends_after_the_block_at_hand() -> None:
    outcome = run([4.0], num_blocks=5000, watching=interrupt_at(1, 10))
    assert outcome.is_interrupted and outcome.status == "INTERRUPTED"
    assert "stopped by Ctrl-C" in str(outcome.reason)
    assert 10 <= len(outcome.blocks) < 5000
    assert "stopping after this block; Ctrl-C again ends it at once" in SAID


def test_ctrl_c_twice_in_a_row_ends_even_one_that_hangs() -> None:
    def again() -> None:
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    def played(blocks: int, misses: int) -> None:
        if blocks == 9 and not threads:
            threads.append(threading.Thread(target=again))
            threads[0].start()
            signal.raise_signal(signal.SIGINT)

    threads: list[threading.Thread] = []
    outcome = run([4.0], "hangs", 9, num_blocks=200, watching=Watching(SAID.append, played))
    threads[0].join()
    assert outcome.status == "INTERRUPTED" and len(outcome.blocks) == 9


def test_ctrl_c_before_anything_plays_ends_at_once() -> None:
    def say(words: str) -> None:
        if words == "building the model":
            signal.raise_signal(signal.SIGINT)

    outcome = run([4.0], watching=Watching(say, lambda blocks, misses: None))
    assert outcome.is_interrupted and outcome.status == "INTERRUPTED"


def test_a_dead_telemetry_process_is_told_and_the_run_goes_on() -> None:
    def played(blocks: int, misses: int) -> None:
        if blocks >= 20 and not killed:
            for one in psutil.Process().children():
                if one.pid != generator_pid(one):
                    killed.append(one.pid)
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    def generator_pid(one: psutil.Process) -> int:
        # Telemetry is the younger of the two children that are not the resource tracker.
        young = [
            child
            for child in psutil.Process().children()
            if "resource_tracker" not in " ".join(child.cmdline())
        ]
        oldest = min(young, key=lambda child: child.create_time())
        is_other = "resource_tracker" in " ".join(one.cmdline())
        return one.pid if is_other else oldest.pid

    killed: list[int] = []
    outcome = run([4.0], num_blocks=150, watching=Watching(SAID.append, played))
    assert len(killed) == 1
    assert outcome.status == "OK" and 20 <= len(outcome.blocks) <= 150
    assert outcome.telemetry is not None and outcome.telemetry.ended
    assert [one.kind for one in outcome.incidents] == ["telemetry lost"]


def test_slow_blocks_have_a_cause() -> None:
    outcome = run([*[4.0] * 30, 70.0, 4.0], num_blocks=60)
    slow = outcome.blocks[30].block
    assert slow.service_ms > 60 and slow.labels
    assert outcome.blocks[30].lateness_ms > 0


def test_a_sustained_run_goes_on_until_it_is_steady() -> None:
    rising = [2.0 + 0.05 * index for index in range(60)]
    longer = run([*rising, 5.0], num_blocks=60, is_sustained=True, ring=Ring(2, BLOCK_MS))
    plain = run([*rising, 5.0], num_blocks=60)
    assert len(plain.blocks) <= 60 < len(longer.blocks) <= 180


def test_the_parent_s_end_is_the_generator_s(tmp_path) -> None:
    code = (
        "import sys; sys.path[:0] = {path!r}\n"
        "from lmdm_bench.supervisor import Watching, supervise\n"
        "from scripted import asked\n"
        "if __name__ == '__main__':\n"
        "    supervise(asked([4.0], num_blocks=100000),"
        " Watching(lambda words: print(words, flush=True), lambda blocks, misses: None))\n"
    )
    import subprocess
    import sys

    script = tmp_path / "parent.py"
    script.write_text(code.format(path=[one for one in sys.path if one]))
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        for line in parent.stdout:
            if line.startswith("playing"):
                break
        children = psutil.Process(parent.pid).children(recursive=True)
        parent.kill()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive


def test_an_outcome_without_a_journal_has_no_blocks() -> None:
    assert replace(Outcome()).blocks == ()
