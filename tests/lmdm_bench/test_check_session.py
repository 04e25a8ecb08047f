"""A check of tiny models from request to record, with whatever ends it early."""

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lmdm_bench import check_session
from lmdm_bench.check_options import CheckOptions
from lmdm_bench.check_record import CheckRecord, Harness, load_check
from lmdm_bench.check_session import CheckAsked, run_check
from lmdm_bench.errors import InputError
from lmdm_bench.generator import LEAST_BLOCKS
from lmdm_bench.record import Choice
from lmdm_bench.supervisor import Outcome, Watching
from tiny_run import HEARD, REQUEST

# Blocks of 35 ms, which a tiny model makes in a few milliseconds.
LONG = replace(REQUEST, schemes=("block-causal",), context_frames=96, block_frames=24)
OPTIONS = CheckOptions(
    minutes=0.02,
    mode="paced",
    prebuffer_blocks=2,
    policy="zero-pad",
    target_dropouts_per_hour=1.0,
    control_budget_seconds=None,
    condition_kinds=("prompt",),
    stress="none",
    audio=None,
)
MOST_BLOCKS = OPTIONS.prebuffer_blocks + 35
FEWEST_BLOCKS = OPTIONS.prebuffer_blocks + LEAST_BLOCKS
PLAIN = Harness(10.0, (0.1,) * 400, (0.05,) * 400, None)


def asked(request=LONG, **changes: Any) -> CheckAsked:
    samples = HEARD.repeat(8, axis=1)[:, : request.context_frames * 64]
    return CheckAsked(
        request=request,
        options=replace(OPTIONS, **changes),
        device=Choice("cpu", "asked for"),
        dtype=Choice("float32", "asked for"),
        input_name="a test",
        input_samples=samples,
        command="lmdm-bench check",
    )


@pytest.fixture(autouse=True)
def quick_harness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_session, "measure_harness", lambda watching: (PLAIN, False))


def run(folder: Path, one: CheckAsked, say=lambda words: None) -> CheckRecord:
    return run_check(one, folder / "check.json", Watching(say, lambda blocks, misses: None))


def test_a_check_becomes_a_record_that_is_saved(tmp_path: Path) -> None:
    record = run(tmp_path, asked())
    assert load_check(tmp_path / "check.json") == record
    (cell,) = record.check_cells
    assert (cell.status, cell.reason) == ("OK", None)
    # All of them, or fewer where a busy machine makes them too late.
    assert FEWEST_BLOCKS <= len(cell.blocks) <= MOST_BLOCKS
    assert cell.check is not None and cell.check.is_within_budget
    assert cell.warmup and cell.memory is not None
    assert cell.memory_limit_bytes == record.machine.ram_bytes
    assert cell.weights == "random, seed 0"
    assert all(one.rms is not None and one.rms > 0 for one in cell.blocks)
    assert {one.what for one in cell.alternatives} == {"block_frames", "scheme", "dtype"}
    assert {one.workload.block_frames for one in cell.alternatives} == {12, 24, 48}
    assert record.harness == PLAIN and not record.is_interrupted
    assert record.settings.minutes == OPTIONS.minutes


def test_tokens_are_played_without_samples(tmp_path: Path) -> None:
    request = replace(REQUEST, schemes=("lmm-frame-wise",), lmm_models=("mrt2-tiny",))
    record = run(tmp_path, asked(request, condition_kinds=("prompt", "input")))
    (cell,) = record.check_cells
    assert cell.status == "OK" and cell.blocks
    assert all(one.rms is None for one in cell.blocks)
    assert {one.what for one in cell.alternatives} == {"dtype"}


@pytest.mark.parametrize(("mode", "minutes"), [("paced", 600.0), ("sustain", 200.0)])
def test_more_blocks_than_can_be_recorded_are_refused(
    tmp_path: Path, mode: str, minutes: float
) -> None:
    with pytest.raises(InputError, match="at most 1000000 can be recorded"):
        run(tmp_path, asked(minutes=minutes, mode=mode))
    assert not list(tmp_path.iterdir())


def test_against_a_sound_card_the_callback_s_counts_are_kept(tmp_path: Path) -> None:
    record = run(tmp_path, asked(mode="device", policy="stall", audio="silent"))
    (cell,) = record.check_cells
    assert cell.status == "OK", cell.reason
    count = cell.device_count
    assert count is not None and count.backend == "silent"
    assert count.frames_delivered > 0
    assert count.callbacks_seen > 0


def test_beside_another_busy_program(tmp_path: Path) -> None:
    record = run(tmp_path, asked(stress="cpu"))
    assert record.settings.stress == "cpu"
    assert record.check_cells[0].blocks


def test_ctrl_c_keeps_what_is_there_and_begins_nothing_more(tmp_path: Path) -> None:
    def say(words: str) -> None:
        if words == "playing":
            signal.raise_signal(signal.SIGINT)

    request = replace(LONG, schemes=("block-causal", "outpaint"))
    record = run(tmp_path, asked(request, minutes=5.0), say)
    assert record.is_interrupted
    first, second = record.check_cells
    assert first.status == second.status == "INTERRUPTED"
    assert "stopped by Ctrl-C" in str(first.reason)
    assert second.reason == "stopped by Ctrl-C before it was begun" and not second.blocks
    assert load_check(tmp_path / "check.json") == record


def test_a_finished_scheme_is_safe_whatever_comes_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = check_session.supervise

    def failing(generator, *rest) -> Outcome:
        if generator.arguments[1] == "outpaint":
            found = load_check(tmp_path / "check.json")
            assert [one.status for one in found.check_cells] == ["OK"]
            return Outcome("OOM", "MemoryError: not enough memory")
        return real(generator, *rest)

    monkeypatch.setattr(check_session, "supervise", failing)
    request = replace(LONG, schemes=("block-causal", "outpaint"))
    record = run(tmp_path, asked(request))
    assert [one.status for one in record.check_cells] == ["OK", "OOM"]
    assert load_check(tmp_path / "check.json") == record
