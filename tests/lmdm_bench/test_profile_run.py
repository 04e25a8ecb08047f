"""A real profile of each scheme is written whole, valid and without a word about the machine."""

import getpass
import json
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import operator_traces as traces
from lmdm_bench import profile_run, profiled_stream, subjects
from lmdm_bench.chrome_trace import check_chrome_trace
from lmdm_bench.errors import UnsupportedError
from lmdm_bench.operator_profile import UNKNOWN_PLACE
from lmdm_bench.operator_record import profile_from_json
from lmdm_bench.operator_words import closing_of, parts_of
from lmdm_bench.profile_run import TRACE_NAME, run_profile_torch
from lmdm_bench.profile_words import Fractions
from lmdm_bench.profiled_stream import ProfileAsked
from lmdm_bench.record import Choice
from lmdm_bench.trace_spans import PLACE, STAGE_PREFIX
from tiny_run import FIVE, HEARD

FILES = {"trace.json", "profile.json", "profile.md"}


@pytest.fixture(autouse=True)
def _quick_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiled_stream, "ceiling_for", lambda request: traces.CEILING)


def asked(scheme: str, num_blocks: int = 2) -> ProfileAsked:
    lmm_models = tuple(one for one in FIVE.lmm_models if subjects.scheme_of(one) == scheme)
    return ProfileAsked(
        request=replace(FIVE, schemes=(scheme,), lmm_models=lmm_models),
        scheme=scheme,
        num_blocks=num_blocks,
        device=Choice("cpu", "asked for"),
        dtype=Choice("float32", "asked for"),
        input_samples=HEARD,
        command=f"lmdm-bench profile {scheme}",
    )


def no_words(words: str) -> None:
    """Nobody listens."""


@pytest.mark.parametrize("scheme", subjects.SCHEMES)
def test_each_scheme_leaves_a_trace_numbers_and_words(scheme: str, tmp_path: Path) -> None:
    record = run_profile_torch(asked(scheme), tmp_path, no_words)
    assert {one.name for one in tmp_path.iterdir()} == FILES
    assert profile_from_json((tmp_path / "profile.json").read_text()) == record
    page = (tmp_path / "profile.md").read_text()
    assert page.rstrip().endswith(closing_of(record))
    trace = json.loads((tmp_path / TRACE_NAME).read_text())
    assert check_chrome_trace(trace) == []
    profile = record.profile
    assert profile.num_blocks == 2 and not profile.is_of_device
    assert profile.stages[-1].name == "host"
    assert all(one.num_launches > 0 for one in profile.stages if one.name.startswith("step"))
    # Operators are called from the project's lines, and the fractions are of all of the time.
    assert all(one.where != UNKNOWN_PLACE for one in profile.call_sites)
    fractions = parts_of(record).fractions
    told = [getattr(fractions, name).value for name in Fractions.__dataclass_fields__]
    assert sum(told) == pytest.approx(1.0)
    assert (fractions.codec.value == 0.0) == (scheme in subjects.LMM_SCHEMES)


def test_the_trace_has_the_harness_stages_as_ranges_and_each_call_its_line(tmp_path: Path) -> None:
    run_profile_torch(asked("encoder-decoder", 1), tmp_path, no_words)
    events = json.loads((tmp_path / TRACE_NAME).read_text())["traceEvents"]
    ranges = [one for one in events if one.get("cat") == "user_annotation"]
    names = [one["name"].removeprefix(STAGE_PREFIX) for one in ranges]
    for name in ("block", "context_encode", "step 0", "step 2", "commit", "codec_decode"):
        assert names.count(name) == 1
    (block,) = [one for one in ranges if one["name"] == "block"]
    for one in ranges:
        assert block["ts"] <= one["ts"] <= one["ts"] + one["dur"] <= block["ts"] + block["dur"]
    placed = [one["args"][PLACE] for one in events if PLACE in one.get("args", {})]
    assert any(where.startswith("lmdm_ref/attention.py:") for where in placed)


def test_nothing_written_names_a_user_a_host_or_a_folder(tmp_path: Path) -> None:
    run_profile_torch(asked("outpaint", 1), tmp_path, no_words)
    for path in tmp_path.iterdir():
        text = path.read_text()
        for word in (
            "host_name",
            "traceName",
            str(Path.cwd()),
            str(tmp_path),
            str(Path.home()) + "/",
        ):
            assert word not in text
        assert f'"{socket.gethostname()}"' not in text
        assert f"/{getpass.getuser()}/" not in text


def test_no_record_of_a_run_is_written(tmp_path: Path) -> None:
    run_profile_torch(asked("outpaint", 1), tmp_path, no_words)
    assert not (tmp_path / "record.json").exists()


def raising(error: BaseException) -> Callable[..., object]:
    def fail(*_: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("the disk is full")])
@pytest.mark.parametrize("at", ["traced", "reduce_trace", "chrome_trace_bytes", "profile_page"])
def test_what_ends_early_leaves_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, at: str, error: BaseException
) -> None:
    monkeypatch.setattr(profile_run, at, raising(error))
    with pytest.raises(type(error)):
        run_profile_torch(asked("outpaint", 1), tmp_path, no_words)
    assert list(tmp_path.iterdir()) == []


def test_a_trace_that_is_too_large_is_cut_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(profile_run, "MOST_TRACE_BYTES", 300_000)
    said: list[str] = []
    record = run_profile_torch(asked("outpaint", 2), tmp_path, said.append)
    assert record.trace_stages < record.num_stages
    assert (tmp_path / TRACE_NAME).stat().st_size <= 300_000
    assert check_chrome_trace(json.loads((tmp_path / TRACE_NAME).read_text())) == []
    assert any(f"the first {record.trace_stages} of" in one for one in said)
    assert "or it would be too large" in (tmp_path / "profile.md").read_text()
    # The figures are of all blocks nonetheless.
    assert record.profile.num_blocks == 2


def test_blocks_of_very_many_calls_are_fewer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(profile_run, "MOST_CALLS", 10)
    said: list[str] = []
    record = run_profile_torch(asked("outpaint", 2), tmp_path, said.append)
    assert record.profile.num_blocks == 1
    assert any("1 of them can be traced" in one for one in said)


def test_a_device_that_the_profiler_does_not_see_is_refused(tmp_path: Path) -> None:
    one = asked("outpaint")
    one = replace(one, request=replace(one.request, device="mps"))
    with pytest.raises(UnsupportedError, match="does not see what an Apple GPU does"):
        run_profile_torch(one, tmp_path, no_words)
