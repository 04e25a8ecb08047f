"""What a run does with subjects that are right, wrong, failing, slow to warm up or interrupted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest
import torch

import records
from lmdm_bench.clock import Stopwatch
from lmdm_bench.record import Check, Cost, Workload
from lmdm_bench.stream_run import (
    MAX_WARMUP_BLOCKS,
    MIN_WARMUP_BLOCKS,
    Finished,
    Progress,
    run_streams,
    status_of,
)

SAMPLES = np.full((2, 8), 0.5, np.float32)
RIGHT = Check("an oracle", 2, 2, 1e-7, 1e-7, 3e-7, is_within_budget=True)
WRONG = Check("an oracle", 2, 2, 1e-2, 1e-7, 3e-7, is_within_budget=False)


@dataclass
class Fake:
    """A subject whose blocks do what ``act`` says, counted from 0."""

    workload: Workload
    act: Callable[[int], npt.NDArray[np.float32] | None] = lambda index: SAMPLES
    checked: Check = RIGHT
    cost: Cost = field(default_factory=lambda: records.cost("outpaint"))
    calls: list[str] = field(default_factory=list)

    def check(self) -> Check:
        self.calls.append("check")
        return self.checked

    def prefill(self) -> None:
        self.calls.append("prefill")

    def make_block(self, watch: Stopwatch) -> npt.NDArray[np.float32] | None:
        with watch.stage("context_encode"):
            pass
        for _ in range(2):
            with watch.stage("step"):
                pass
        with watch.stage("codec_decode"):
            made = self.act(self.calls.count("block"))
        self.calls.append("block")
        return made


class FakeOfTokens(Fake):
    """Frames as steps, and neither codec nor samples."""

    def make_block(self, watch: Stopwatch) -> None:
        for _ in range(3):
            with watch.stage("step"):
                self.act(self.calls.count("block"))
        self.calls.append("block")


def fakes(count: int = 3) -> list[Fake]:
    return [Fake(records.workload(scheme)) for scheme in records.SCHEMES[:count]]


def run(subjects: Sequence[Fake], num_blocks: int = 6, seed: int = 0) -> Finished:
    quiet = Progress(say=lambda words: None, advance=lambda workload: None)
    return run_streams(subjects, num_blocks, seed, "cpu", 0, quiet)


def raising(at: int, error: BaseException) -> Callable[[int], npt.NDArray[np.float32]]:
    def act(index: int) -> npt.NDArray[np.float32]:
        if index == at:
            raise error
        return SAMPLES

    return act


def test_everything_is_checked_before_anything_is_made() -> None:
    subjects = fakes()
    run(subjects)
    assert all(one.calls[:2] == ["check", "prefill"] for one in subjects)


def test_blocks_are_in_order_with_warm_up_first_and_stages_that_sum_to_the_whole() -> None:
    finished = run(fakes(1), num_blocks=7)
    (cell,) = finished.cells
    warm = [block.is_warmup for block in cell.blocks]
    assert warm == sorted(warm, reverse=True)
    assert warm.count(False) == 7
    assert MIN_WARMUP_BLOCKS <= warm.count(True) <= MAX_WARMUP_BLOCKS
    assert [block.block_index for block in cell.blocks] == list(range(len(warm)))
    assert cell.blocks[0].labels[0] == "first"
    for block in cell.blocks:
        stages = (block.context_encode_ms or 0) + sum(block.steps_ms) + block.codec_decode_ms
        assert len(block.steps_ms) == 2
        assert block.commit_ms is None
        assert block.host_ms >= 0
        assert stages + block.host_ms == pytest.approx(block.service_ms)


def test_schemes_take_turns_in_an_order_that_the_seed_decides() -> None:
    first, again, other = (run(fakes(), seed=seed).order for seed in (0, 0, 1))
    assert first == again != other
    for start in range(0, len(first), 3):
        assert sorted(first[start : start + 3]) == sorted(records.SCHEMES)


def test_a_scheme_that_fails_its_check_is_not_timed() -> None:
    subjects = fakes(2)
    subjects[0].checked = WRONG
    wrong, right = run(subjects).cells
    assert (wrong.status, wrong.summary, wrong.blocks) == ("INCORRECT", None, ())
    assert wrong.reason is not None and "nothing was timed" in wrong.reason
    assert "block" not in subjects[0].calls
    assert right.status == "OK"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MemoryError(), "OOM"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "OOM"),
        (torch.OutOfMemoryError("CUDA out of memory"), "OOM"),
        (RuntimeError("a shape is off"), "FAILED"),
        (ValueError("a length is off"), "FAILED"),
    ],
)
@pytest.mark.parametrize("at", [0, 1, 4])
def test_a_failing_cell_is_a_row_with_its_status_and_the_others_go_on(
    error: Exception, status: str, at: int
) -> None:
    subjects = fakes()
    subjects[1].act = raising(at, error)
    first, failed, last = run(subjects).cells
    assert (first.status, failed.status, last.status) == ("OK", status, "OK")
    assert failed.summary is None and failed.reason
    assert len(failed.blocks) == at
    for cell in (first, last):
        assert sum(not block.is_warmup for block in cell.blocks) == 6


def test_a_block_of_nan_is_a_failure_and_not_a_figure() -> None:
    subjects = fakes(1)
    subjects[0].act = lambda index: np.full_like(SAMPLES, np.nan)
    (cell,) = run(subjects).cells
    assert cell.status == "FAILED"
    assert cell.reason is not None and "not finite" in cell.reason


def test_ctrl_c_keeps_what_is_finished() -> None:
    subjects = fakes()
    subjects[0].act = raising(MAX_WARMUP_BLOCKS + 3, KeyboardInterrupt())
    finished = run(subjects, num_blocks=9)
    assert finished.is_interrupted
    assert {cell.status for cell in finished.cells} == {"OK"}
    assert all(cell.summary is not None for cell in finished.cells)
    assert sum(len(cell.blocks) for cell in finished.cells) == sum(
        one.calls.count("block") for one in subjects
    )


def test_ctrl_c_before_the_first_measured_block_says_so() -> None:
    subjects = fakes()
    subjects[2].act = raising(0, KeyboardInterrupt())
    finished = run(subjects)
    assert finished.is_interrupted
    assert {cell.status for cell in finished.cells} == {"INTERRUPTED"}
    assert all(cell.reason for cell in finished.cells)


def test_samples_are_those_of_the_finished_blocks() -> None:
    finished = run(fakes(1))
    assert len(finished.samples[0]) == len(finished.cells[0].blocks)


def test_blocks_of_tokens_are_measured_without_codec_and_leave_no_samples() -> None:
    lmm = FakeOfTokens(records.lmm_workload("lmm-frame-wise"))
    finished = run([*fakes(1), lmm])
    other, cell = finished.cells
    assert (other.status, cell.status) == ("OK", "OK")
    assert len(finished.samples[0]) == len(other.blocks) and finished.samples[1] == ()
    assert sum(not block.is_warmup for block in cell.blocks) == 6
    for block in cell.blocks:
        assert block.codec_decode_ms is None and len(block.steps_ms) == 3
        assert sum(block.steps_ms) + block.host_ms == pytest.approx(block.service_ms)
    assert cell.summary is not None
    assert cell.summary.rtf.value is None and cell.summary.rtf.reason is not None
    assert cell.summary.rtf_model.value is not None


def test_a_token_that_cannot_be_one_is_the_subjects_to_refuse() -> None:
    error = ValueError("token 1030 of a codebook of 1024")
    (cell,) = run([FakeOfTokens(records.lmm_workload("lmm-frame-wise"), raising(3, error))]).cells
    assert (cell.status, len(cell.blocks)) == ("FAILED", 3)
    assert cell.reason is not None and "token 1030" in cell.reason


def test_memory_is_watched_in_warm_up_and_has_a_figure_or_a_reason() -> None:
    (cell,) = run(fakes(1)).cells
    assert cell.memory is not None
    assert cell.memory.rss_peak_bytes or cell.memory.unavailable["rss_peak_bytes"]


def test_progress_hears_of_every_block() -> None:
    heard: list[str] = []
    said: list[str] = []
    subjects = fakes(2)
    progress = Progress(said.append, lambda workload: heard.append(workload.scheme))
    run_streams(subjects, 3, 0, "cpu", 0, progress)
    assert len(heard) == sum(one.calls.count("block") for one in subjects)
    assert said[-1] == "measuring"


def test_a_status_has_one_line() -> None:
    assert status_of(RuntimeError("first\nsecond")) == ("FAILED", "RuntimeError: first")
    assert status_of(MemoryError()) == ("OOM", "MemoryError: no message")
