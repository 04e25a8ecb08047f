"""A session's record holds what was asked, what was found, and what went wrong."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

import records
from lmdm_bench import session, subjects
from lmdm_bench.errors import UnsupportedError
from lmdm_bench.record import Choice, from_json, to_json
from lmdm_bench.session import Asked, context_samples, measure, predict, with_audio
from lmdm_bench.stream_run import Progress
from lmdm_bench.subjects import DIFFUSION_SCHEMES, LMM_SCHEMES, SCHEMES
from tiny_run import FIVE, HEARD, LMM_REQUEST, REQUEST

ASKED = Asked(
    request=REQUEST,
    num_blocks=6,
    device=Choice("cpu", "asked for"),
    dtype=Choice("float32", "asked for"),
    input_name="built-in phrase",
    input_samples=HEARD,
    command="lmdm-bench run --model tiny",
)
QUIET = Progress(say=lambda words: None, advance=lambda workload: None)


def test_the_context_takes_as_many_samples_as_its_frames() -> None:
    assert context_samples(REQUEST) == HEARD.shape[1]


def test_a_record_has_every_cell_and_loads_back_equal() -> None:
    record, generated = measure(ASKED, records.CPU_CEILING, QUIET)
    assert [cell.workload.scheme for cell in record.cells] == list(DIFFUSION_SCHEMES)
    assert {cell.status for cell in record.cells} == {"OK"}
    assert [cell.cost for cell in record.cells] == [
        cost for _, cost in predict(REQUEST, records.CPU_CEILING)
    ]
    assert record.settings.context_encode_ms is not None
    assert record.settings.input_seconds == HEARD.shape[1] / 44_100
    assert len(record.settings.order) == 3 * 6
    assert from_json(to_json(record)) == record
    for cell, samples in zip(record.cells, generated, strict=True):
        assert samples.shape == (2, len(cell.blocks) * 3 * 64)


def test_five_schemes_are_measured_back_to_back_and_three_of_them_make_audio(
    tmp_path: Path,
) -> None:
    record, generated = measure(replace(ASKED, request=FIVE), records.CPU_CEILING, QUIET)
    assert [cell.workload.scheme for cell in record.cells] == list(SCHEMES)
    assert {cell.status for cell in record.cells} == {"OK"}
    assert [cell.workload.model for cell in record.cells] == ["tiny"] * 3 + [
        "mrt1-tiny",
        "mrt2-tiny",
    ]
    assert from_json(to_json(record)) == record
    record = with_audio(record, HEARD, generated, tmp_path)
    for cell in record.cells:
        is_lmm = cell.workload.scheme in LMM_SCHEMES
        assert (cell.audio is None) == is_lmm == (cell.cost.codec is None)
        assert all((block.codec_decode_ms is None) == is_lmm for block in cell.blocks)
        assert cell.summary is not None
        assert cell.summary.rtf_model.value is not None
        assert (cell.summary.rtf.value is None) == is_lmm
    assert {one.stem for one in tmp_path.iterdir()} == set(DIFFUSION_SCHEMES)
    # Each round visits each scheme once.
    order = record.settings.order
    assert len(order) == 5 * 6
    for start in range(0, len(order), 5):
        assert sorted(order[start : start + 5]) == sorted(SCHEMES)


def test_lmms_alone_need_no_diffusion_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a diffusion model was built")

    monkeypatch.setattr(subjects, "DiffusionModel", refuse)
    record, generated = measure(replace(ASKED, request=LMM_REQUEST), records.CPU_CEILING, QUIET)
    assert [cell.workload.scheme for cell in record.cells] == list(LMM_SCHEMES)
    assert {cell.status for cell in record.cells} == {"OK"}
    assert all(not samples.size for samples in generated)
    assert from_json(to_json(record)) == record


def test_audio_is_the_context_and_then_the_blocks(tmp_path: Path) -> None:
    record, generated = measure(ASKED, records.CPU_CEILING, QUIET)
    record = with_audio(record, HEARD, generated, tmp_path)
    for cell, samples in zip(record.cells, generated, strict=True):
        assert cell.audio is not None
        written, rate = soundfile.read(tmp_path / cell.audio.path)
        assert rate == 44_100
        assert written.shape == (HEARD.shape[1] + samples.shape[1], 2)
        assert cell.audio.seconds == pytest.approx(written.shape[0] / rate)
        gain = 10 ** (cell.audio.gain_db / 20)
        assert np.allclose(written[: HEARD.shape[1]].T, HEARD * gain, atol=1e-4)


def test_a_cell_without_samples_has_no_audio(tmp_path: Path) -> None:
    record = records.interrupted()
    empty = np.empty((2, 0), np.float32)
    kept = with_audio(record, HEARD, [empty] * 3, tmp_path)
    assert kept == record
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_does_not_fit_the_memory_ends_every_cell_as_oom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 99 bytes")

    monkeypatch.setattr(session, "Model", refuse)
    record, generated = measure(ASKED, records.CPU_CEILING, QUIET)
    assert {cell.status for cell in record.cells} == {"OOM"}
    assert all("can't allocate memory" in str(cell.reason) for cell in record.cells)
    assert all(not samples.size for samples in generated)
    assert from_json(to_json(record)) == record


def test_a_machine_without_memory_for_the_ceiling_is_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(session, "measure_ceiling", refuse)
    with pytest.raises(UnsupportedError, match="too little memory to measure anything"):
        session.ceiling_for(REQUEST)


def test_one_scheme_out_of_memory_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    make_block = subjects.DiffusionSubject.make_block

    def scarce(self: subjects.DiffusionSubject, watch: object) -> object:
        if self.workload.scheme == "outpaint":
            raise MemoryError("no room for the window")
        return make_block(self, watch)  # type: ignore[arg-type]

    monkeypatch.setattr(subjects.DiffusionSubject, "make_block", scarce)
    record, _ = measure(ASKED, records.CPU_CEILING, QUIET)
    assert [cell.status for cell in record.cells] == ["OOM", "OK", "OK"]


def test_an_lmm_whose_keys_are_not_finite_is_a_row_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_block = subjects.LMMSubject.make_block

    def spoilt(self: subjects.LMMSubject, watch: object) -> None:
        if self.workload.scheme == "lmm-frame-wise":
            raise FloatingPointError("the block's last frame has keys that are not finite")
        make_block(self, watch)  # type: ignore[arg-type]

    monkeypatch.setattr(subjects.LMMSubject, "make_block", spoilt)
    record, _ = measure(replace(ASKED, request=FIVE), records.CPU_CEILING, QUIET)
    assert [cell.status for cell in record.cells] == ["OK"] * 4 + ["FAILED"]
    assert "not finite" in str(record.cells[-1].reason)


def test_guidance_is_part_of_the_cost() -> None:
    """As a doubled batch, but for the frame-wise LMM, which hears it as tokens."""
    guided = replace(FIVE, guidance_scale=7.0)
    for (work, alone), (_, doubled) in zip(
        predict(FIVE, records.CPU_CEILING), predict(guided, records.CPU_CEILING), strict=True
    ):
        factor = 1 if work.scheme == "lmm-frame-wise" else 2
        assert doubled.flops_attention == factor * alone.flops_attention
