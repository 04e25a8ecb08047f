"""The shipped calibration is what the repository's records give, and it reaches what it must."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import claims_records
import records
from lmdm_bench import calibration
from lmdm_bench.any_record import load_any
from lmdm_bench.calibration import agrees, evidence_of, main, observations_of, report
from lmdm_bench.calibration_fit import group_of, left_out_errors
from lmdm_bench.evidence import EVIDENCE_NAME, shipped
from lmdm_bench.record import to_json
from lmdm_bench.stage_cost import CODEC, ENCODE, STEPS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def committed() -> list[tuple[str, object]]:
    paths = sorted((ROOT / "reports" / "data").glob("*.json"))
    return [(path.stem, load_any(path)) for path in paths]


def test_the_shipped_file_is_what_the_records_give(committed) -> None:
    assert agrees(shipped(), evidence_of(committed)), f"--write {EVIDENCE_NAME}"


def test_the_calibration_reaches_the_issue_s_goal(committed) -> None:
    """Held-out mean error at most 20 %, and 90 % intervals that hold at least 85 %: with whole
    workloads left out, and with whole schemes."""
    found = [one for one in evidence_of(committed).calibrations if one.kind.device == "cpu"]
    assert found
    for one in found:
        for out in (one.workloads_out, one.schemes_out):
            assert out is not None and out.num_points >= 50
            assert out.mean_error <= 0.20
            assert out.coverage >= 0.85
        assert one.num_points >= 10


def test_blocks_as_wholes_are_within_the_goal_too(committed) -> None:
    (device, observations), *_ = calibration._by_kind(committed)
    errors = left_out_errors(device, observations, group_of)
    blocks: dict = {}
    for one, error in zip(observations, errors, strict=True):
        times = blocks.setdefault((one.record, one.group, one.workload.dtype), [0.0, 0.0])
        times[0] += one.milliseconds * np.exp(error)
        times[1] += one.milliseconds
    relative = [abs(predicted / measured - 1) for predicted, measured in blocks.values()]
    assert np.mean(relative) <= 0.20


def test_a_run_is_observed_stage_by_stage_and_what_failed_is_not() -> None:
    record = records.one_oom()
    found = observations_of("run", record)
    names = [(one.workload.scheme, one.stage.name) for one in found]
    assert names == [
        ("encoder-decoder", ENCODE),
        ("encoder-decoder", STEPS),
        ("encoder-decoder", CODEC),
        ("block-causal", STEPS),
        ("block-causal", CODEC),
    ]
    cell = record.cells[1]
    blocks = [one for one in cell.blocks if not one.is_warmup]
    assert found[0].milliseconds == np.median([one.context_encode_ms for one in blocks])
    assert found[1].milliseconds == pytest.approx(np.median([sum(one.steps_ms) for one in blocks]))
    assert found[2].milliseconds == np.median([one.codec_decode_ms for one in blocks])


def test_a_claims_run_is_observed_without_its_codec() -> None:
    record = claims_records.agreeing()
    found = observations_of("claims", record)
    assert {one.stage.name for one in found} == {ENCODE, STEPS}
    by_encode = [one for one in found if one.stage.name == ENCODE]
    assert {one.workload.scheme for one in by_encode} == {"encoder-decoder", "lmm-encoder-decoder"}
    point = next(one for one in record.points if one.workload == found[0].workload)
    services = [one.service_ms - (one.context_encode_ms or 0.0) for one in point.visits]
    assert found[0].milliseconds == pytest.approx(np.median(services))


def test_the_same_workload_in_another_dtype_is_left_out_with_it() -> None:
    record = records.all_ok()
    wide = replace(
        record,
        cells=tuple(
            replace(one, workload=replace(one.workload, dtype="float32")) for one in record.cells
        ),
    )
    pairs = zip(observations_of("a", record), observations_of("b", wide), strict=True)
    assert all(one.group == other.group for one, other in pairs)


def test_a_run_alone_is_too_little_to_calibrate_and_says_so() -> None:
    found = evidence_of([("run", records.all_ok())])
    assert found.calibrations == ()
    (words,) = found.left_out
    assert "needs 10 designed points, there are 7" in words
    assert [one.workload.scheme for one in found.measured] == list(records.SCHEMES)
    first, summary = found.measured[0], records.all_ok().cells[0].summary
    assert summary is not None and summary.rtf.value == pytest.approx(first.rtf, rel=1e-5)
    assert first.has_codec and first.num_blocks == 9 and first.record == "run"


def test_an_lmm_s_factor_has_no_codec_in_it() -> None:
    found = evidence_of([("run", records.five_schemes())])
    assert [one.has_codec for one in found.measured] == [True] * 3 + [False] * 2


def test_machines_are_fitted_apart() -> None:
    cuda = records.cuda()
    found = evidence_of([("cpu", records.all_ok()), ("cuda", cuda)])
    assert len(found.left_out) == 2
    assert {one.kind.device for one in found.measured} == {"cpu", "cuda"}


def test_a_gpu_is_told_with_its_units_its_cache_and_its_printed_peaks() -> None:
    ((device, _),) = calibration._by_kind([("cuda", records.cuda())])
    assert device.num_units == 132 and device.cache_bytes == 50 * 2**20
    assert device.nominal_flops_per_second == {"bfloat16": pytest.approx(989.5e12)}
    assert device.nominal_bytes_per_second == pytest.approx(4.8e12)
    assert device.memory_bytes == 150_754_820_096


def test_evidence_agrees_to_a_hundredth() -> None:
    known = evidence_of([("run", records.all_ok())])
    (first, *rest) = known.measured
    near = replace(known, measured=(replace(first, rtf=first.rtf * 1.001), *rest))
    far = replace(known, measured=(replace(first, rtf=first.rtf * 1.05), *rest))
    assert agrees(known, near) and not agrees(known, far)
    assert not agrees(known, replace(known, measured=tuple(rest)))
    assert not agrees(known, replace(known, left_out=()))


def test_it_is_shown_written_and_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "reports" / "data"
    data.mkdir(parents=True)
    (data / "a-run.json").write_text(to_json(records.all_ok()))
    shipped_path = tmp_path / "bench" / "lmdm_bench" / EVIDENCE_NAME
    shipped_path.parent.mkdir(parents=True)
    assert main([str(tmp_path)]) == 1
    assert "No such file" in capsys.readouterr().err or not shipped_path.exists()
    assert main([str(tmp_path), "--write"]) == 0
    assert "needs 10 designed points, there are 7" in capsys.readouterr().out
    assert main([str(tmp_path)]) == 0
    (data / "another.json").write_text(to_json(records.five_schemes()))
    assert main([str(tmp_path)]) == 1
    assert "--write writes it" in capsys.readouterr().err


def test_the_report_has_the_errors_of_both_ways_of_leaving_out(committed) -> None:
    text = "\n".join(report(committed))
    assert "designed points from claims-bf16" in text
    assert "whole workloads left out" in text and "whole schemes left out" in text
    assert text.count("90 % interval: divided and multiplied by") == 2
    assert max(map(len, text.splitlines())) < 200
