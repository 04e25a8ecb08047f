"""Each operator call is told with the line that made it, also where blocks differ by some calls."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

import lmdm_ref
import operator_traces as traces
from lmdm_bench import profiled_stream
from lmdm_bench.call_sites import NUM_BLOCKS, CallSites, call_sites, name_places
from lmdm_bench.operator_profile import UNKNOWN_PLACE
from lmdm_bench.profile_run import traced
from lmdm_bench.profiled_stream import ProfileAsked, ProfiledStream
from lmdm_bench.record import Choice
from lmdm_bench.trace_spans import HOST, PLACE, blocks_of
from lmdm_ref.layers import FeedForward
from tiny_run import FIVE


def tiny_stream(monkeypatch: pytest.MonkeyPatch, scheme: str) -> ProfiledStream:
    monkeypatch.setattr(profiled_stream, "ceiling_for", lambda request: traces.CEILING)
    asked = ProfileAsked(
        request=replace(FIVE, schemes=(scheme,), lmm_models=()),
        scheme=scheme,
        num_blocks=1,
        device=Choice("cpu", "asked for"),
        dtype=Choice("float32", "asked for"),
        input_samples=None,
        command="lmdm-bench profile",
    )
    stream = ProfiledStream(asked, lambda words: None)
    stream.warm_up()
    return stream


def line_of(function: Callable[..., object], words: str) -> int:
    """The number of the one line of a function that has these words."""
    source, first = inspect.getsourcelines(inspect.unwrap(function))
    (found,) = [first + index for index, line in enumerate(source) if words in line]
    return found


def places(trace: dict[str, Any]) -> list[str]:
    blocks = blocks_of(trace["traceEvents"])
    return [op.args[PLACE] for block in blocks for span in block for op in span.ops]


def test_a_call_is_told_by_the_line_that_runs_and_a_product_by_its_layers() -> None:
    layer = FeedForward(lmdm_ref.PRESETS["tiny"].decoder)
    if lmdm_ref.why_not_packed(layer.down.weight) is None:
        lmdm_ref.pack_linears(layer)
    sites, rows = CallSites(), torch.ones(1, 2, lmdm_ref.PRESETS["tiny"].decoder.width)
    with sites, torch.inference_mode():
        layer(rows)
    told = sites.stages[HOST]
    up = f"lmdm_ref/layers.py:{line_of(FeedForward.forward, 'self.gate_up(hidden)')}"
    down = f"lmdm_ref/layers.py:{line_of(FeedForward.forward, 'self.down(')}"
    assert ("aten::chunk", up) in told and ("aten::silu", down) in told
    products = [where for name, where in told if "linear" in name or name == "aten::bmm"]
    assert products == [up, down]
    assert {where for _, where in told} == {up, down}


def test_what_no_file_of_the_project_calls_is_unknown() -> None:
    sites = CallSites()
    with sites:
        torch.ones(2)
    assert dict(sites.stages) == {HOST: [("aten::ones", UNKNOWN_PLACE)]}


def test_calls_are_told_by_their_stage() -> None:
    sites = CallSites()
    with sites, sites.range("block"):
        torch.ones(2)
        with sites.range("step 0"):
            torch.zeros(2)
        torch.ones(2)
    assert [name for name, _ in sites.stages[HOST]] == ["aten::ones", "aten::ones"]
    assert [name for name, _ in sites.stages["step 0"]] == ["aten::zeros"]


@pytest.mark.parametrize("scheme", ["outpaint", "block-causal"])
def test_each_call_of_a_traced_block_finds_its_line(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    stream = tiny_stream(monkeypatch, scheme)
    sites = call_sites(stream)
    assert len(sites) == NUM_BLOCKS
    trace, _ = traced(stream, 2)
    name_places(trace, sites)
    told = places(trace)
    assert len(told) > 500
    assert told.count(UNKNOWN_PLACE) == 0
    assert {where.partition("/")[0] for where in told} <= {"lmdm_ref", "lmdm_bench"}
    assert all(where.rpartition(":")[2].isdigit() for where in told)


def test_a_block_that_makes_fewer_calls_is_laid_beside_the_longest() -> None:
    trace = traces.trace(
        traces.stage("block", 0, 1000),
        traces.stage("step 0", 0, 900),
        *(traces.op(name, 10 * at, 10 * at + 5) for at, name in enumerate("acde", start=1)),
    )
    short = [("a", "x.py:1")]
    long = [(name, f"x.py:{line}") for line, name in enumerate("abcd", start=1)]
    name_places(trace, [{"step 0": short}, {"step 0": long}])
    assert places(trace) == ["x.py:1", "x.py:3", "x.py:4", UNKNOWN_PLACE]


def test_a_stage_that_is_just_alike_is_preferred_to_a_longer_one() -> None:
    trace = traces.trace(
        traces.stage("block", 0, 1000), traces.stage("step 0", 0, 900), traces.op("a", 10, 20)
    )
    name_places(
        trace, [{"step 0": [("a", "x.py:1"), ("a", "x.py:2")]}, {"step 0": [("a", "y.py:9")]}]
    )
    assert places(trace) == ["y.py:9"]


def test_a_stage_that_was_not_heard_of_has_no_lines() -> None:
    trace = traces.trace(
        traces.stage("block", 0, 1000), traces.stage("commit", 0, 900), traces.op("a", 10, 20)
    )
    name_places(trace, [{}])
    assert places(trace) == [UNKNOWN_PLACE]
