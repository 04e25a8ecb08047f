"""A real trace is valid and tells nothing of the machine's user; planted faults are refused."""

import copy
import json
import math
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile, record_function

import operator_traces as traces
from lmdm_bench.chrome_trace import (
    check_chrome_trace,
    chrome_trace_bytes,
    cleaned_trace,
    fitting_trace,
    trace_until,
)
from lmdm_bench.profiler_notes import without_profiler_notes

BASE = {"pid": 1, "tid": 2, "ts": 5.0}
FLOW = {**BASE, "name": "flow", "cat": "ac2g", "id": 3}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What torch.profiler writes, with stacks, which are full of folders."""
    path = tmp_path_factory.mktemp("exported") / "trace.json"
    with (
        without_profiler_notes(),
        profile(activities=[ProfilerActivity.CPU], record_shapes=True, with_stack=True) as watched,
        record_function("stage:step 0"),
    ):
        torch.nn.functional.layer_norm(torch.ones(3, 4), (4,))
    watched.export_chrome_trace(str(path))
    loaded: dict[str, Any] = json.loads(path.read_bytes())
    return loaded


def valid() -> dict[str, Any]:
    return traces.trace(*traces.cuda_events())


def test_a_real_trace_is_valid_and_stays_so(exported: dict[str, Any]) -> None:
    clean = cleaned_trace(exported)
    # torch's stacks can cross its ranges: nothing else may be wrong before they are nested.
    assert all("ends after" in one for one in check_chrome_trace(exported))
    assert check_chrome_trace(clean) == []
    assert check_chrome_trace(json.loads(chrome_trace_bytes(clean))) == []
    assert len(clean["traceEvents"]) == len(exported["traceEvents"])
    assert any(one["name"] == "stage:step 0" for one in clean["traceEvents"])


def test_a_cleaned_trace_names_no_host_user_or_folder(exported: dict[str, Any]) -> None:
    # They are there to be found, or this test could not fail.
    whole = json.dumps(exported)
    assert "host_name" in whole and "/" in exported["traceName"]
    planted = copy.deepcopy(exported)
    planted["username"] = "somebody"
    home = Path.home() / "work" / "lmdm_ref" / "layers.py"
    for path in (str(home), "/home/somebody/main.py", r"C:\Users\somebody\torch\nn\modules.py"):
        planted["traceEvents"].append(
            {"ph": "X", "dur": 1.0, "name": f"{path}(7): forward", **BASE, "args": {"at": [path]}}
        )
    text = chrome_trace_bytes(cleaned_trace(planted)).decode()
    for word in ("host_name", "somebody", "Users", "/home/", str(Path.home()) + "/", "traceName"):
        assert word not in text
    assert f'"{socket.gethostname()}"' not in text
    names = [one["name"] for one in json.loads(text)["traceEvents"]]
    assert names[-3:] == [
        "lmdm_ref/layers.py(7): forward",
        "main.py(7): forward",
        r"torch\nn\modules.py(7): forward",
    ]


def test_slices_are_made_to_nest() -> None:
    whole = traces.trace(
        {"ph": "X", "name": "outer", **BASE, "dur": 10},
        {"ph": "X", "name": "inner", **BASE, "ts": 9, "dur": 10},
        {"ph": "X", "name": "apart", **BASE, "ts": 30, "dur": 10},
    )
    assert check_chrome_trace(whole) != []
    clean = cleaned_trace(whole)
    assert check_chrome_trace(clean) == []
    assert [one["dur"] for one in clean["traceEvents"]] == [10, 6, 10]
    # The trace that is measured is not the one that is shown.
    assert whole["traceEvents"][1]["dur"] == 10


def test_what_is_no_path_stays() -> None:
    for name in ("aten::mul", "void kernel<float, 4>(int*, 1/2)", "lmdm_ref/layers.py:94", "a / b"):
        trace = traces.trace({"ph": "X", "dur": 1.0, "name": name, **BASE, "args": {}})
        assert cleaned_trace(trace)["traceEvents"][0]["name"] == name


def test_an_empty_trace_and_each_phase_is_valid() -> None:
    events: list[dict[str, Any]] = [
        {"ph": "B", "name": "a", **BASE},
        {"ph": "E", **{**BASE, "ts": 6}},
        {"ph": "i", "name": "moment", "s": "g", **BASE},
        {"ph": "C", "name": "memory", "pid": 1, "ts": 5, "args": {"bytes": 3}},
        {"ph": "M", "name": "process_name", "pid": "Spans", "args": {"name": "python"}},
        {"ph": "M", "name": "thread_sort_index", **BASE, "args": {"sort_index": 3}},
        {"ph": "s", **FLOW},
        {"ph": "f", "bp": "e", **FLOW},
        {"ph": "b", **FLOW},
        {"ph": "e", **FLOW},
    ]
    assert check_chrome_trace({"traceEvents": []}) == []
    assert check_chrome_trace({"traceEvents": events}) == []
    assert check_chrome_trace(valid()) == []


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ("not an object", "is no object"),
        ({"ph": "Z", "name": "a", **BASE}, "ph is 'Z'"),
        ({"ph": "", "name": "a", **BASE}, "ph is ''"),
        ({"name": "a", **BASE}, "ph is None"),
        ({"ph": "X", "dur": 1, **BASE}, "name is None"),
        ({"ph": "X", "dur": 1, "name": 5, **BASE}, "name is 5"),
        ({"ph": "X", "name": "a", **BASE}, "dur is None"),
        ({"ph": "X", "name": "a", "dur": -1, **BASE}, "dur is -1"),
        ({"ph": "X", "name": "a", "dur": math.nan, **BASE}, "dur is nan"),
        ({"ph": "X", "name": "a", "dur": 1, **BASE, "ts": "5"}, "ts is '5'"),
        ({"ph": "X", "name": "a", "dur": 1, **BASE, "ts": math.inf}, "ts is inf"),
        ({"ph": "X", "name": "a", "dur": 1, **BASE, "ts": True}, "ts is True"),
        ({"ph": "X", "name": "a", "dur": 1, **BASE, "pid": None}, "pid is None"),
        ({"ph": "X", "name": "a", "dur": 1, "pid": 1, "ts": 5}, "tid is None"),
        ({"ph": "X", "name": "a", "dur": 1, **BASE, "args": 3}, "args is no object"),
        (
            {"ph": "X", "name": "a", "dur": 1, **BASE, "args": {"a": [math.nan]}},
            "args is no object",
        ),
        ({"ph": "i", "name": "a", "s": "x", **BASE}, "the scope s is 'x'"),
        ({"ph": "C", "name": "a", **BASE, "args": {"a": "many"}}, "counter's args"),
        ({"ph": "C", "name": "a", **BASE}, "counter's args"),
        ({"ph": "M", "name": "process_name", **BASE, "args": {}}, "process_name has no str 'name'"),
        ({"ph": "M", "name": "thread_sort_index", **BASE}, "has no int 'sort_index'"),
        ({"ph": "s", "name": "a", **BASE}, "id is None"),
        ({"ph": "f", **FLOW}, "never started"),
        ({"ph": "b", **FLOW}, "not as many b as e"),
        ({"ph": "B", "name": "a", **BASE}, "the B of 'a' has no E"),
        ({"ph": "E", "name": "a", **BASE}, "ends nothing"),
    ],
)
def test_a_planted_fault_is_found(event: Any, words: str) -> None:
    whole = valid()
    whole["traceEvents"].append(event)
    faults = check_chrome_trace(whole)
    assert len(faults) == 1
    assert words in faults[0]
    with pytest.raises(ValueError, match="the trace is not a Chrome trace"):
        chrome_trace_bytes(whole)


def test_ends_that_cross_are_found() -> None:
    crossing = [
        {"ph": "B", "name": "a", **BASE},
        {"ph": "B", "name": "b", **BASE, "ts": 6},
        {"ph": "E", "name": "a", **BASE, "ts": 7},
        {"ph": "E", "name": "b", **BASE, "ts": 8},
    ]
    assert any("ends another" in one for one in check_chrome_trace({"traceEvents": crossing}))
    slices = [
        {"ph": "X", "name": "a", **BASE, "dur": 10},
        {"ph": "X", "name": "b", **BASE, "ts": 9, "dur": 10},
    ]
    (fault,) = check_chrome_trace({"traceEvents": slices})
    assert "'b' at 9 ends after what it began in" in fault
    # On two threads they do not meet.
    slices[1]["tid"] = 3
    assert check_chrome_trace({"traceEvents": slices}) == []


@pytest.mark.parametrize("whole", [[], None, {}, {"traceEvents": {}}, "traceEvents"])
def test_what_is_no_trace_is_refused(whole: Any) -> None:
    assert check_chrome_trace(whole) == ["expected an object with a list traceEvents"]


def test_facts_beside_the_events_are_checked() -> None:
    assert "displayTimeUnit" in check_chrome_trace({"traceEvents": [], "displayTimeUnit": "s"})[0]
    assert "not a finite" in check_chrome_trace({"traceEvents": [], "a": {"b": [math.inf]}})[0]


def test_so_many_faults_are_told_and_no_more() -> None:
    assert len(check_chrome_trace({"traceEvents": [None] * 1000})) == 20


def test_a_trace_is_cut_where_it_fits() -> None:
    whole = traces.trace(
        {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "python"}},
        *traces.cpu_events(),
        *traces.cpu_events(2000.0),
    )
    ends = [600.0, 950.0, 2600.0, 2950.0]
    size = len(chrome_trace_bytes(whole))
    assert fitting_trace(whole, 2 * size, ends) == 4
    assert fitting_trace(whole, 10, ends) == 1
    kept = fitting_trace(whole, size // 2 + 200, ends)
    assert kept == 2
    cut = trace_until(whole, ends[kept - 1])
    assert check_chrome_trace(cut) == []
    assert len(chrome_trace_bytes(cut)) < size
    # What names the processes stays, and nothing of the second block does.
    assert cut["traceEvents"] == whole["traceEvents"][: 1 + len(traces.cpu_events())]


def test_a_flow_loses_its_end_with_its_start() -> None:
    whole = traces.trace({"ph": "s", **FLOW, "ts": 20}, {"ph": "f", **FLOW, "ts": 10})
    assert trace_until(whole, 15.0)["traceEvents"] == []
    assert len(trace_until(whole, 25.0)["traceEvents"]) == 2
