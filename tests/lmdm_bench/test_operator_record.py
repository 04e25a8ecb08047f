"""The record of an operator profile comes back equal, and is strict."""

import json

import pytest

import operator_traces as traces
from lmdm_bench.operator_record import profile_from_json
from lmdm_bench.record import RecordError, to_json

EXAMPLES = (
    traces.torch_profile(),
    traces.torch_profile(traces.cuda_profile()),
    traces.torch_profile(scheme="lmm-frame-wise"),
)


@pytest.mark.parametrize("record", EXAMPLES)
def test_it_comes_back_equal(record) -> None:
    assert profile_from_json(to_json(record)) == record


def test_the_profilers_own_cost_is_a_ratio_to_plain_blocks() -> None:
    assert traces.torch_profile().profiler_ratio == pytest.approx(1.0 / 0.8)


def test_other_versions_and_fields_are_refused_by_name() -> None:
    data = json.loads(to_json(traces.torch_profile()))
    with pytest.raises(RecordError, match="schema_version 9"):
        profile_from_json(json.dumps({**data, "schema_version": 9}))
    with pytest.raises(RecordError, match=r"record\.extra is not a field"):
        profile_from_json(json.dumps({**data, "extra": 1}))
    del data["profile"]["totals"]["codec_ms"]
    with pytest.raises(RecordError, match=r"record\.profile\.totals\.codec_ms is missing"):
        profile_from_json(json.dumps(data))
    with pytest.raises(RecordError, match="cut off"):
        profile_from_json(to_json(traces.torch_profile())[:-100])
