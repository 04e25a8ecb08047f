"""The stream without work, and what the harness is seen to add to it."""

from lmdm_bench.check_session import measure_harness
from lmdm_bench.clock import Stopwatch
from lmdm_bench.estimates import needed_blocks
from lmdm_bench.no_work import NUM_BLOCKS, PERIOD_MS, make_no_work
from lmdm_bench.supervisor import Watching


def test_its_blocks_have_one_step_and_no_samples() -> None:
    subject = make_no_work().subject
    assert subject.check().is_within_budget
    subject.prefill()
    subject.change_prompt(1)
    subject.hear_input()
    watch = Stopwatch(lambda: None)
    assert subject.make_block(watch) is None
    assert list(watch.stages_ms) == ["step"]
    assert subject.workload.block_seconds * 1000 == PERIOD_MS


def test_there_are_enough_blocks_for_a_99th_percentile() -> None:
    assert needed_blocks(0.99) <= NUM_BLOCKS


def test_the_harness_measures_itself_with_it() -> None:
    harness, is_interrupted = measure_harness(Watching(lambda words: None, lambda *counts: None))
    assert (harness.reason, is_interrupted) == (None, False)
    assert len(harness.lateness_ms) == len(harness.wake_error_ms) == NUM_BLOCKS
    for lateness, waking in zip(harness.lateness_ms, harness.wake_error_ms, strict=True):
        assert 0 <= waking <= lateness
