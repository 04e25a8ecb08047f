"""Stages, launches, gaps, call sites and totals of a trace, added up by hand."""

import pytest

import operator_traces as traces
from lmdm_bench.operator_profile import GRAPH_REPLAY, UNKNOWN_PLACE, reduce_trace


def test_a_stage_on_a_cpu_is_computing_dispatch_and_gaps() -> None:
    profile = traces.cpu_profile()
    assert profile.num_blocks == 2 and not profile.is_of_device
    step, codec, host = profile.stages
    assert (step.name, codec.name, host.name) == ("step 0", "codec_decode", "host")
    assert step.wall_ms == pytest.approx(0.5) and step.share == pytest.approx(0.5)
    # The product and the copy; not the view, nor those that call them.
    assert step.num_launches == 2
    assert step.computing_ms == pytest.approx(0.15 + 0.08)
    assert step.dispatch_ms == pytest.approx(0.03 + 0.02 + 0.02)
    assert step.gap_ms == pytest.approx(0.2) and step.longest_gap_ms == pytest.approx(0.1)
    assert codec.gap_ms == pytest.approx(0.0)


@pytest.mark.parametrize("profile", [traces.cpu_profile(), traces.cuda_profile()])
def test_a_stage_is_the_sum_of_its_parts_and_a_block_of_its_stages(profile) -> None:
    for one in profile.stages:
        parts = one.computing_ms + (one.dispatch_ms or 0.0) + one.gap_ms
        assert parts == pytest.approx(one.wall_ms)
        busy_ms = sum(row.ms for row in one.operators)
        assert busy_ms == pytest.approx(one.wall_ms - one.gap_ms)
    assert sum(one.share for one in profile.stages) == pytest.approx(1.0)
    assert sum(one.wall_ms for one in profile.stages) == pytest.approx(profile.totals.block_ms)


def test_operators_stand_by_their_own_time() -> None:
    step = traces.cpu_profile().stages[0]
    names = [row.name for row in step.operators]
    assert names[:3] == ["aten::mm", "aten::copy_", "aten::linear"]
    # These two took equally long.
    assert sorted(names[3:]) == ["aten::contiguous", "aten::t"]
    assert {row.num_calls for row in step.operators} == {1.0}
    assert step.operators[0].ms == pytest.approx(0.15)
    assert step.operators[0].share == pytest.approx(0.3)


def test_a_call_site_costs_what_is_beyond_its_bound() -> None:
    sites = {(one.operator, one.where): one for one in traces.cpu_profile().call_sites}
    linear = sites["aten::linear", "lmdm_ref/layers.py:94"]
    assert linear.ms == pytest.approx(0.2)
    assert linear.bound_ms == pytest.approx(0.048)
    assert linear.avoidable_ms == pytest.approx(0.152)
    assert linear.stages == ("step 0",) and not linear.is_movement
    copy = sites["aten::contiguous", "lmdm_ref/rotary.py:47"]
    assert copy.is_movement and copy.avoidable_ms == pytest.approx(copy.ms) == pytest.approx(0.1)


def test_a_call_faster_than_its_bound_avoids_nothing() -> None:
    events = [
        traces.stage("block", 0, 100),
        traces.op("aten::mm", 10, 20, [200, 300], [300, 400], place="lmdm_ref/layers.py:1"),
    ]
    (site,) = reduce_trace(traces.trace(*events), traces.CEILING).call_sites
    assert site.avoidable_ms == 0.0


def test_a_call_of_unknown_work_and_place_claims_no_bound() -> None:
    events = [traces.stage("block", 0, 100), traces.op("lmdm::interval_attention", 10, 20)]
    profile = reduce_trace(traces.trace(*events), traces.CEILING)
    (site,) = profile.call_sites
    assert site.where == UNKNOWN_PLACE
    assert site.bound_ms is site.avoidable_ms is None
    assert profile.totals.attention_ms == pytest.approx(0.01)


def test_totals_on_a_cpu_leave_the_codec_to_itself() -> None:
    totals = traces.cpu_profile().totals
    assert totals.block_ms == pytest.approx(1.0)
    assert totals.codec_ms == pytest.approx(0.3)
    assert totals.products_ms == pytest.approx(0.15)
    assert totals.attention_ms == 0.0
    # Step: 0.27; between the stages: 0.15 of 0.2.
    assert totals.overhead_ms == pytest.approx(0.27 + 0.15)


def test_what_attention_calls_is_attention_whatever_it_is() -> None:
    events = [
        traces.stage("block", 0, 1000),
        traces.op("aten::matmul", 10, 110, [2, 3], [3, 4], place="lmdm_ref/attention.py:131"),
        traces.op("aten::mm", 20, 100, [2, 3], [3, 4]),
        traces.op("aten::cat", 200, 250, [8], place="lmdm_ref/attention.py:100"),
    ]
    totals = reduce_trace(traces.trace(*events), traces.CEILING).totals
    assert totals.attention_ms == pytest.approx(0.08 + 0.05)
    assert totals.products_ms == 0.0


def test_on_a_device_its_kernels_are_timed() -> None:
    profile = traces.cuda_profile()
    assert profile.is_of_device
    step, host = profile.stages
    assert step.num_launches == 3 and host.num_launches == 0
    assert step.computing_ms == pytest.approx(0.6)
    assert step.dispatch_ms is None
    assert step.gap_ms == pytest.approx(0.2) and step.longest_gap_ms == pytest.approx(0.1)
    assert profile.totals.overhead_ms == pytest.approx(0.4)
    assert profile.totals.products_ms == pytest.approx(0.3)
    # By its line, and by the name of a kernel in a graph.
    assert profile.totals.attention_ms == pytest.approx(0.1 + 0.2)


def test_the_kernels_of_a_replayed_graph_have_no_line() -> None:
    sites = {one.operator: one for one in traces.cuda_profile().call_sites}
    assert sites["aten::mm"].where == "lmdm_ref/layers.py:94"
    assert sites["aten::mm"].ms == pytest.approx(0.3)
    assert sites[GRAPH_REPLAY].where == UNKNOWN_PLACE
    assert sites[GRAPH_REPLAY].avoidable_ms is None


def test_a_trace_without_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="no range of a block"):
        reduce_trace(traces.trace(traces.op("aten::mm", 0, 1)), traces.CEILING)
