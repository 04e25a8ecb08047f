"""A trace's blocks hold their stages, what lies between them, operators and kernels."""

import pytest

import operator_traces as traces
from lmdm_bench.trace_spans import HOST, blocks_of, gaps_ms, stage_ends


def test_a_block_is_its_stages_and_the_pieces_between() -> None:
    (spans,) = blocks_of(traces.cpu_events())
    assert [span.name for span in spans] == ["step 0", "codec_decode", HOST]
    assert [span.wall_ms for span in spans] == pytest.approx([0.5, 0.3, 0.2])
    assert spans[-1].pieces == [(0, 100), (600, 650), (950, 1000)]


def test_operators_lie_in_the_spans_and_in_each_other() -> None:
    (spans,) = blocks_of(traces.cpu_events())
    step, codec, host = spans
    assert [one.name for one in step.ops] == ["aten::linear", "aten::contiguous"]
    assert [one.name for one in step.ops[0].walk()] == ["aten::linear", "aten::t", "aten::mm"]
    assert step.ops[0].ms == pytest.approx(0.2)
    assert step.ops[0].own_ms == pytest.approx(0.03)
    assert [one.name for one in codec.ops] == ["aten::sin"]
    assert [one.name for one in host.ops] == ["aten::normal_"]


def test_gaps_are_before_between_and_after() -> None:
    (spans,) = blocks_of(traces.cpu_events())
    assert gaps_ms(spans[0], spans[0].ops) == pytest.approx([0.05, 0.05, 0.1])
    assert gaps_ms(spans[1], spans[1].ops) == pytest.approx([0.0, 0.0])
    # Three pieces, of which the first is begun by an operator's 20 µs of waiting.
    assert sum(gaps_ms(spans[2], spans[2].ops)) == pytest.approx(0.15)


def test_kernels_that_overlap_leave_no_gap_twice() -> None:
    events = [
        traces.stage("block", 0, 1000),
        traces.stage("step 0", 0, 1000),
        traces.kernel(1, 100, 500),
        traces.kernel(2, 200, 300),
        traces.kernel(3, 450, 600),
    ]
    (spans,) = blocks_of(events)
    assert sum(gaps_ms(spans[0], spans[0].kernels)) == pytest.approx(0.5)
    # Nothing of the block is outside of the stage.
    assert spans[1].pieces == [] and spans[1].wall_ms == 0.0


def test_a_kernel_belongs_to_the_operator_that_launched_it_or_to_none() -> None:
    (spans,) = blocks_of(traces.cuda_events())
    step = spans[0]
    assert [[one.name for one in op.kernels] for op in step.ops] == [
        ["a_gemm_kernel"],
        ["an_elementwise_kernel"],
    ]
    assert [one.launched_by for one in step.strays] == ["cudaGraphLaunch"]
    assert len(step.kernels) == 3


def test_other_threads_and_what_is_outside_of_blocks_is_left_out() -> None:
    events = traces.cpu_events()
    before = len(next(iter(blocks_of(events)))[0].ops)
    events.append({**traces.op("aten::mm", 110, 120), "tid": traces.THREAD + 1})
    events.append(traces.op("aten::mm", 5000, 5100))
    (spans,) = blocks_of(events)
    assert len(spans[0].ops) == before
    assert sum(len(span.ops) for span in spans) == 4


def test_each_block_has_its_own() -> None:
    blocks = list(blocks_of([*traces.cpu_events(2000.0), *traces.cpu_events()]))
    assert [block[0].pieces[0][0] for block in blocks] == [100, 2100]
    assert [len(block[0].ops) for block in blocks] == [2, 2]


def test_stages_end_in_order() -> None:
    events = [*traces.cpu_events(2000.0), *traces.cpu_events()]
    assert stage_ends(events) == [600, 950, 2600, 2950]
