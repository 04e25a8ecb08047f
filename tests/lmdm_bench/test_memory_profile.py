"""A memory profile of a tiny stream: exact, placed by line, and written whole or not at all."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import records
from lmdm_bench import memory_profile
from lmdm_bench.allocated_memory import allocations_seen, peak_allocated_bytes
from lmdm_bench.errors import UnsupportedError
from lmdm_bench.memory_profile import (
    FIGURE_NAME,
    CallsPlaced,
    compare,
    resident_bytes,
    run_profile_memory,
    watched_block,
)
from lmdm_bench.memory_profile_words import CODEC_ACTIVATIONS, MODEL_ACTIVATIONS, RESIDENT
from lmdm_bench.memory_timeline import UNKNOWN_PLACE
from lmdm_bench.out_folder import PROFILE_NAME
from lmdm_bench.profile_record import (
    PROFILE_SCHEMA_VERSION,
    WORDS_NAME,
    MemoryProfile,
)
from lmdm_bench.profiled_stream import ProfiledStream
from lmdm_bench.profiler_notes import without_profiler_notes
from lmdm_bench.record import parse
from profiled import asked, no_words, quick_ceiling

__all__ = ["quick_ceiling"]


def warm_stream(scheme: str) -> ProfiledStream:
    stream = ProfiledStream(asked(scheme), no_words)
    stream.warm_up()
    return stream


def test_a_profile_is_three_whole_files(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    profile = run_profile_memory(asked("encoder-decoder"), tmp_path, no_words)
    assert {one.name for one in tmp_path.iterdir()} == {FIGURE_NAME, PROFILE_NAME, WORDS_NAME}
    text = (tmp_path / PROFILE_NAME).read_text(encoding="utf-8")
    assert parse(MemoryProfile, PROFILE_SCHEMA_VERSION, text, PROFILE_NAME) == profile
    assert (tmp_path / FIGURE_NAME).read_bytes().startswith(b"\x89PNG")
    assert FIGURE_NAME in (tmp_path / WORDS_NAME).read_text(encoding="utf-8")
    timeline = profile.timeline
    assert [one.name for one in timeline.stages] == [
        *("context encode", "first step", "later steps", "later steps", "commit", "codec decode")
    ]
    assert len(profile.peaks_bytes) == 2 and max(profile.peaks_bytes) == timeline.peak_bytes
    # Everything that is held was asked for on a line of the models or of the harness.
    assert timeline.held_bytes == timeline.peak_bytes > 0
    assert all(one.where != UNKNOWN_PLACE for one in timeline.held)
    assert any(one.where.startswith("lmdm_ref/") for one in timeline.held)
    assert [one.name for one in profile.compared] == [
        RESIDENT,
        MODEL_ACTIVATIONS,
        CODEC_ACTIVATIONS,
    ]
    assert str(Path.home()) + "/" not in text and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("scheme", ["outpaint", "encoder-decoder", "lmm-encoder-decoder"])
def test_placing_the_calls_changes_no_allocation(scheme: str) -> None:
    stream = warm_stream(scheme)
    plain = peak_allocated_bytes(lambda: stream.make_block(stream.watch()))
    assert watched_block(stream, "cpu", 0).peak_bytes == plain


def test_stages_do_not_overlap_and_lie_in_the_block() -> None:
    timeline = watched_block(warm_stream("block-causal"), "cpu", 3)
    borders = [ms for one in timeline.stages for ms in (one.begin_ms, one.end_ms)]
    assert borders == sorted(borders) and borders[0] >= 0 and borders[-1] <= timeline.block_ms
    assert timeline.block_index == 3
    assert all(0 <= ms <= timeline.block_ms for ms in timeline.times_ms)
    assert max(one.peak_bytes for one in timeline.stages) == timeline.peak_bytes


def test_calls_by_name_by_method_and_by_sign_are_all_placed() -> None:
    rows = torch.rand(4, 4)
    with without_profiler_notes(), allocations_seen() as seen, CallsPlaced():
        made = [torch.exp(rows), rows.cos(), rows @ rows]
    assert len(made) == 3
    names = []
    for one in seen.changes():
        event = one.event.parent
        while event is not None and not event.name.startswith(memory_profile.AT):
            event = event.parent
        names.append(None if event is None else event.name)
    # No frame of a test is the project's own, so the range is there and names no line.
    assert names == [memory_profile.AT] * 3


def test_what_is_resident_is_weights_cache_and_the_codecs_weights() -> None:
    cost, workload = records.cost("outpaint"), records.workload("outpaint")
    assert cost.codec is not None
    held = cost.footprint.weight_bytes + cost.footprint.cache_bytes
    assert resident_bytes(cost, workload) == held + 2 * cost.codec.parameters
    assert resident_bytes(replace(cost, codec=None), workload) == held


def test_parts_are_compared_and_what_did_not_grow_has_a_reason() -> None:
    timeline = watched_block(warm_stream("encoder-decoder"), "cpu", 0)
    cost, workload = records.cost("encoder-decoder"), records.workload("encoder-decoder")
    resident, model, codec = compare(timeline, cost, workload, 1000)
    assert resident.measured_bytes == 1000
    assert resident.predicted_bytes == resident_bytes(cost, workload) + (
        cost.footprint.workspace_bytes
    )
    by_name = {one.name: one.peak_bytes for one in timeline.stages}
    assert model.measured_bytes == max(
        peak for name, peak in by_name.items() if name != "codec decode"
    )
    assert codec.measured_bytes == by_name["codec decode"]
    assert codec.predicted_bytes is not None and codec.predicted_bytes > 0
    nothing, *_ = compare(timeline, cost, workload, 0)
    assert nothing.measured_bytes is None and nothing.reason is not None


def test_what_has_no_account_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    for changed, words in (({"device": "mps"}, "on mps"), ({"is_graphed": True}, "--graph")):
        with pytest.raises(UnsupportedError, match=words):
            run_profile_memory(asked("outpaint", **changed), tmp_path, no_words)
    assert list(tmp_path.iterdir()) == []


def test_what_is_stopped_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(memory_profile, "memory_markdown", stop)
    with pytest.raises(KeyboardInterrupt):
        run_profile_memory(asked("outpaint", 1), tmp_path, no_words)
    assert list(tmp_path.iterdir()) == []
