"""A host profile of a tiny stream: its files are whole, and nothing in them names the machine."""

import getpass
import json
import os
import platform
import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from pyinstrument.session import Session

from lmdm_bench import host_profile
from lmdm_bench.errors import UnsupportedError
from lmdm_bench.host_profile import (
    HTML_NAME,
    SPEEDSCOPE_NAME,
    Watched,
    run_profile_host,
    sampled,
    told_session,
    traced,
)
from lmdm_bench.host_time import BETWEEN_STAGES, Moment, Seen, Span, host_time
from lmdm_bench.out_folder import PROFILE_NAME
from lmdm_bench.profile_record import (
    PROFILE_SCHEMA_VERSION,
    WORDS_NAME,
    HostProfile,
)
from lmdm_bench.profiled_stream import ProfiledStream
from lmdm_bench.record import parse
from profiled import asked, no_words, quick_ceiling

__all__ = ["quick_ceiling"]

NUM_BLOCKS = 4
OWN = host_profile.__file__


def profiled(folder: Path, scheme: str = "encoder-decoder") -> HostProfile:
    return run_profile_host(asked(scheme, NUM_BLOCKS), folder, no_words)


def test_a_profile_is_four_whole_files(tmp_path: Path) -> None:
    profile = profiled(tmp_path)
    names = {HTML_NAME, SPEEDSCOPE_NAME, PROFILE_NAME, WORDS_NAME}
    assert {one.name for one in tmp_path.iterdir()} == names
    text = (tmp_path / PROFILE_NAME).read_text(encoding="utf-8")
    assert parse(HostProfile, PROFILE_SCHEMA_VERSION, text, PROFILE_NAME) == profile
    assert profile.closing in (tmp_path / WORDS_NAME).read_text(encoding="utf-8")
    host = profile.host
    assert host.num_blocks == NUM_BLOCKS and profile.num_samples > 0
    assert [one.name for one in host.stages] == [
        *("context encode", "first step", "later steps", "commit", "codec decode"),
        BETWEEN_STAGES,
    ]
    assert host.operators_ms > 0 and host.host_ms > 0 and host.waiting_ms == 0
    assert host.block_ms == pytest.approx(host.operators_ms + host.host_ms)
    assert sum(one.host_ms for one in profile.lines) == pytest.approx(host.host_ms)
    assert any(one.where.startswith("lmdm_ref/") for one in profile.lines)
    _nothing_names_the_machine(tmp_path)
    _opens_without_a_network(tmp_path / HTML_NAME)
    _is_a_speedscope_file(tmp_path / SPEEDSCOPE_NAME)


def _nothing_names_the_machine(folder: Path) -> None:
    words = {platform.node(), str(Path.home()), sys.prefix, sys.base_prefix, str(Path.cwd())}
    words |= {str(Path(host_profile.__file__).parent.parent), str(folder)}
    for path in folder.iterdir():
        text = path.read_text(encoding="utf-8")
        for word in words - {"", "/"}:
            assert not re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text), (path.name, word)
        # A user's name may be a word of the page; as a folder it may not.
        assert f"{os.sep}{getpass.getuser()}{os.sep}" not in text


def _opens_without_a_network(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=", text)
    for words in (r"encoder-decoder, 4\u00a0blocks", "first step", "lmdm_ref/decoder.py"):
        assert words in text


def _is_a_speedscope_file(path: Path) -> None:
    """As its schema has it: frames by index, and what opens closes in order."""
    scope = json.loads(path.read_text(encoding="utf-8"))
    assert scope["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    num_frames = len(scope["shared"]["frames"])
    (profile,) = scope["profiles"]
    open_frames: list[int] = []
    last = profile["startValue"]
    for event in profile["events"]:
        assert 0 <= event["frame"] < num_frames and last <= event["at"] <= profile["endValue"]
        last = event["at"]
        if event["type"] == "O":
            open_frames.append(event["frame"])
        else:
            assert event["type"] == "C" and open_frames.pop() == event["frame"]
    assert not open_frames


def test_a_stream_of_tokens_is_profiled_too(tmp_path: Path) -> None:
    profile = profiled(tmp_path, "lmm-frame-wise")
    assert [one.name for one in profile.host.stages] == [
        "first frame",
        "later frames",
        "between stages",
    ]
    assert "no codec makes samples" in profile.closing


def test_what_is_stopped_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(stream: ProfiledStream, num_blocks: int) -> Seen:
        stream.make_block(stream.watch())
        raise KeyboardInterrupt

    monkeypatch.setattr(host_profile, "traced", stop)
    with pytest.raises(KeyboardInterrupt):
        profiled(tmp_path)
    assert list(tmp_path.iterdir()) == [] and sys.getprofile() is None


def test_a_block_that_fails_leaves_no_profiler_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = ProfiledStream(asked("outpaint"), no_words)
    stream.warm_up()

    def fail(watch: object) -> float:
        raise UnsupportedError("no block")

    monkeypatch.setattr(stream, "make_block", fail)
    for watch in (sampled, traced):
        with pytest.raises(UnsupportedError, match="no block"):
            watch(stream, 1)
        assert sys.getprofile() is None


def test_both_ways_see_the_same_operators() -> None:
    stream = ProfiledStream(asked("outpaint"), no_words)
    stream.warm_up()
    seen = sampled(stream, 2).seen, traced(stream, 2)
    assert [len(one.blocks) for one in seen] == [2, 2]
    names = [sorted(op.name for op in one.operators) for one in seen]
    assert names[0] == names[1] and "aten::cat" in names[0]
    for one in seen:
        assert all(before.end_ns <= after.begin_ns for before, after in pairwise(one.operators))
        assert host_time(one).host_ms > 0


def frame(name: str, path: str, line: int) -> str:
    """As pyinstrument writes one."""
    return f"{name}\0{path}\0{1}\x01l{line}"


def session(*stacks: list[str]) -> Session:
    """Samples half a second apart."""
    records = [(stack, 0.5) for stack in stacks]
    folders = (["/home/me/code"], ["/home/me"])
    return Session(records, 0.0, 1.0, 1e-3, 1e-3, 2, stacks[0][:1], "/home/me/x.py", 1.0, *folders)


def test_a_stage_is_a_frame_around_what_is_done_in_it() -> None:
    stack = [
        f"MainThread\0<thread>\0{140351}",
        frame("make_block", OWN, 2),
        frame("run", "/home/me/code/run.py", 7),
        frame("mm", "<built-in>", 0),
    ]
    moments = [Moment(at, at, None, "", False) for at in (500, 1000)]
    seen = Seen([Span("block", 0, 1000)], [Span("first step", 400, 600)], [], moments)
    told = told_session(Watched(session(stack, stack), 0, seen, (1.0,)), "a title")
    (inside, _), (outside, _) = told.frame_records
    assert [one.split("\0")[:2] for one in inside] == [
        ["MainThread", "<thread>"],
        ["make_block", "lmdm_bench/host_profile.py"],
        ["first step", "<stage>"],
        ["run", "run.py"],
        ["mm", "<built-in>"],
    ]
    assert inside[3].endswith("\x01l7") and "140351" not in inside[0]
    assert outside == [one for one in inside if "<stage>" not in one]
    assert told.target_description == "a title"
    assert "/home" not in json.dumps(told.to_json())


def test_a_sample_below_synchronize_waits() -> None:
    stack = [
        frame("make_block", OWN, 3),
        frame("synchronize", "/x/torch/cuda/__init__.py", 9),
        frame("_cuda_synchronize", "<built-in>", 0),
    ]
    first, second = host_profile._moments(session(stack, stack[:1]), 10)
    assert first.is_waiting and first.where == "lmdm_bench/host_profile.py:3"
    assert not second.is_waiting and second.at_ns == 10 + 1_000_000_000
