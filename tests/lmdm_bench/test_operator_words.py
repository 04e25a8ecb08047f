"""An operator profile in words: fractions sum to 1, costs stand by line, later steps are one."""

from dataclasses import replace

import pytest

import operator_traces as traces
import records
from lmdm_bench import format as shown
from lmdm_bench.operator_profile import OperatorProfile, reduce_trace
from lmdm_bench.operator_record import TorchProfile
from lmdm_bench.operator_words import (
    OPERATOR_HEADS,
    STAGE_HEADS,
    closing_of,
    operator_row,
    parts_of,
    profile_page,
    shown_stages,
    stage_row,
)
from lmdm_bench.profile_words import Fractions

FRACTIONS = tuple(Fractions.__dataclass_fields__)


def of(profile: OperatorProfile, **facts: object) -> TorchProfile:
    record = traces.torch_profile(profile)
    return replace(record, facts=replace(record.facts, **facts))  # type: ignore[arg-type]


def shares(record: TorchProfile) -> dict[str, float]:
    fractions = parts_of(record).fractions
    return {name: getattr(fractions, name).value for name in FRACTIONS}


@pytest.mark.parametrize("profile", [traces.cpu_profile(), traces.cuda_profile()])
def test_the_fractions_sum_to_one(profile: OperatorProfile) -> None:
    found = shares(of(profile))
    assert sum(found.values()) == pytest.approx(1.0)
    assert all(0.0 <= one <= 1.0 for one in found.values())


def test_the_fractions_of_a_cpu_by_hand() -> None:
    cost = replace(records.cost("outpaint"), bytes_weights=10**8)
    # At 1e12 bytes a second, 0.1 ms; the product took 0.15.
    found = shares(of(traces.cpu_profile(), cost=cost))
    expected = (0.42, 0.1, 0.05, 0.0, 0.3, 0.13)
    assert list(found.values()) == pytest.approx(expected)


def test_weights_are_not_read_longer_than_their_products_took() -> None:
    cost = replace(records.cost("outpaint"), bytes_weights=10**12)
    found = shares(of(traces.cpu_profile(), cost=cost))
    assert found["weight_reading"] == pytest.approx(0.15)
    assert found["products"] == 0.0


def test_an_lmm_has_no_codec_and_says_so() -> None:
    record = traces.torch_profile(scheme="lmm-frame-wise")
    parts = parts_of(record)
    assert parts.codec_bound_ms.value is None and parts.codec_bound_ms.reason is not None
    assert "(codec: the suite has none for this model)" in closing_of(record)


def test_costs_are_those_of_a_line_all_its_operators_together() -> None:
    events = [
        traces.stage("block", 0, 1000),
        traces.op("aten::mul", 0, 100, [8], place="lmdm_ref/codec.py:241"),
        traces.op("aten::sin_", 100, 300, [8], place="lmdm_ref/codec.py:241"),
        traces.op("aten::cat", 400, 650, [8], place="lmdm_ref/cache.py:24"),
        traces.op("aten::add", 700, 710, [8], place="lmdm_ref/a.py:3"),
        traces.op("aten::add", 720, 725, [8], place="lmdm_ref/a.py:4"),
        traces.op("aten::add", 800, 990, [8]),
    ]
    record = of(reduce_trace(traces.trace(*events), traces.CEILING))
    costs = parts_of(record).costs
    assert [one.where for one in costs] == [
        "lmdm_ref/codec.py:241",
        "lmdm_ref/cache.py:24",
        "lmdm_ref/a.py:3",
    ]
    assert costs[0].size == pytest.approx(0.3, rel=1e-3)
    assert costs[0].share == pytest.approx(0.3, rel=1e-3)
    assert costs[0].what == "sin_ and mul, 2 calls"
    assert costs[1].what == "cat, 1 call, which moves data only"
    # What has no line is not called a cost, and not kept quiet about either.
    text = closing_of(record).replace(shown.NBSP, " ")
    assert "Left out is 19 % of the block" in text


def test_graphs_are_told_to_hide_their_lines() -> None:
    text = closing_of(of(traces.cuda_profile()))
    assert "profile without --graph" in text
    assert "the device runs nothing" in text
    text = closing_of(of(traces.cpu_profile()))
    assert "--graph" not in text and "no operator computes" in text


def steps(num: int, scheme: str = "outpaint") -> TorchProfile:
    events = [traces.stage("block", 0, 1000 * num)]
    for index in range(num):
        start = 1000.0 * index
        events.append(traces.stage(f"step {index}", start, start + 1000))
        events.append(traces.op("aten::mm", start, start + 100 * (index + 1), [2, 3], [3, 4]))
    return traces.torch_profile(reduce_trace(traces.trace(*events), traces.CEILING), scheme)


def test_later_steps_are_told_as_their_mean() -> None:
    first, later = shown_stages(steps(4))
    assert (first.name, later.name) == ("first step", "later step, each of 3")
    assert first.computing_ms == pytest.approx(0.1)
    assert later.computing_ms == pytest.approx(0.3)
    assert later.wall_ms == pytest.approx(1.0) and later.share == pytest.approx(0.25)
    assert later.longest_gap_ms == pytest.approx(0.8)
    (row,) = later.operators
    assert (row.num_calls, row.ms, row.share) == pytest.approx((1.0, 0.3, 0.3))
    assert [one.name for one in shown_stages(steps(2))] == ["first step", "later step"]
    assert [one.name for one in shown_stages(steps(1))] == ["first step"]


def test_the_steps_of_an_lmm_are_frames() -> None:
    names = [one.name for one in shown_stages(steps(3, "lmm-frame-wise"))]
    assert names == ["first frame", "later frame, each of 2"]


def test_a_stage_of_next_to_nothing_is_not_shown() -> None:
    events = [
        traces.stage("block", 0, 1000),
        traces.stage("step 0", 0, 990),
        traces.stage("commit (call)", 990, 1000),
    ]
    record = of(reduce_trace(traces.trace(*events), traces.CEILING))
    assert [one.name for one in shown_stages(record)] == ["first step"]


def test_rows_have_a_figure_under_each_head() -> None:
    for profile in (traces.cpu_profile(), traces.cuda_profile()):
        for stage in shown_stages(of(profile)):
            assert len(stage_row(stage)) == len(STAGE_HEADS)
            assert all(len(operator_row(one)) == len(OPERATOR_HEADS) for one in stage.operators)
    row = stage_row(shown_stages(of(traces.cuda_profile()))[0])
    assert row[STAGE_HEADS.index("dispatch")] == shown.NOT_AVAILABLE


def test_the_page_has_stages_operators_and_ends_with_the_text() -> None:
    record = traces.torch_profile()
    page = profile_page(record)
    assert page.startswith("# Operators of outpaint\n")
    assert page.rstrip().endswith(closing_of(record))
    for words in ("| first step |", "| codec decode |", "## codec decode", "| aten::sin |"):
        assert words in page
    assert "The trace file holds" not in page
    cut = profile_page(replace(record, trace_stages=3))
    assert f"holds the first 3 of {record.num_stages} stages" in cut
    # Each row of a table has as many cells as its head.
    for line in page.splitlines():
        if line.startswith("|"):
            assert line.count("|") in (len(STAGE_HEADS) + 1, len(OPERATOR_HEADS) + 1)
