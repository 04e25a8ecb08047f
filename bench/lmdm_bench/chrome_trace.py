"""A trace file that Perfetto opens: torch.profiler's export without what is nobody's business.

The format is the Trace Event Format, in its form with one object: a list ``traceEvents`` and facts
beside it. Times are microseconds. No torch.
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# Facts beside the events that are kept: none of them names a host, a user or a folder.
_KEPT_FACTS = ("schemaVersion", "deviceProperties", "displayTimeUnit", "traceEvents")
# Arguments that repeat others or are kept for the profiler's own use.
_DROPPED_ARGUMENTS = frozenset(
    (
        *("Input Strides", "Concrete Inputs", "Ev Idx", "External id", "Record function id"),
        *("Fwd thread id", "Sequence number", "Collective name"),
    )
)
# From a folder to a file: what is before the last folder that looks like a package goes.
_ABSOLUTE = re.compile(r"(?:[A-Za-z]:)?(?:[\\/][^\\/\s:'\"<>|*?(),;]+){2,}")
_PACKAGES = re.compile(r".*[\\/](?=(?:lmdm_ref|lmdm_kernels|lmdm_bench|torch|triton)[\\/])")
_FOLDERS = re.compile(r".*[\\/]")

_PHASES = frozenset("BEXiIMCbnestfSTFpPNODRcvV")
_NEEDS_NAME = frozenset("BXiIMCbnestf")
_FLOW_PHASES = frozenset("stf")
_GOING_ON = frozenset("tf")
_ASYNC_PHASES = frozenset("bne")
_SCOPES = frozenset("gpt")
_METADATA = {
    "process_name": ("name", str),
    "process_labels": ("labels", str),
    "process_sort_index": ("sort_index", int),
    "thread_name": ("name", str),
    "thread_sort_index": ("sort_index", int),
}
# A trace's times have so many decimals, that an end may lie this far past its parent's.
_ROUNDING_US = 0.01
_MOST_FAULTS = 20


def cleaned_trace(trace: Mapping[str, Any]) -> dict[str, Any]:
    """The trace without the host's name, and with every path shortened to its package's.

    What Perfetto does not show is left out too, since it is most of the file. A slice that ends
    after the one in which it began, by the profiler's delays, ends with it: slices have to nest.
    """
    kept = {name: trace[name] for name in _KEPT_FACTS if name in trace}
    kept["traceEvents"] = [_cleaned_event(one) for one in kept["traceEvents"]]
    _nest(kept["traceEvents"])
    whole = _without_folders(kept)
    assert isinstance(whole, dict)
    return whole


def chrome_trace_bytes(trace: Mapping[str, Any]) -> bytes:
    """The file's content. Raises ValueError for a trace that is not valid."""
    faults = check_chrome_trace(trace)
    if faults:
        raise ValueError(f"the trace is not a Chrome trace: {faults[0]}")
    return _compact(trace).encode("utf-8")


def fitting_trace(trace: Mapping[str, Any], most_bytes: int, ends: Sequence[float]) -> int:
    """How many of the moments ``ends`` (in order, microseconds) can be reached in so many bytes.

    At least the first: a trace of nothing would be none.
    """
    sized = sorted(
        (float(one.get("ts", -math.inf)), len(_compact(one)) + 1) for one in trace["traceEvents"]
    )
    reached, size, index = 0, 0, 0
    for number, end in enumerate(ends, start=1):
        while index < len(sized) and sized[index][0] < end:
            size += sized[index][1]
            index += 1
        if size > most_bytes:
            break
        reached = number
    return max(1, reached)


def trace_until(trace: Mapping[str, Any], moment: float) -> dict[str, Any]:
    """The trace without what began at that moment or later; flows without an end go too."""
    kept = [one for one in trace["traceEvents"] if float(one.get("ts", -math.inf)) < moment]
    started = {_flow_key(one) for one in kept if one.get("ph") == "s"}
    kept = [one for one in kept if one.get("ph") not in _GOING_ON or _flow_key(one) in started]
    return {**trace, "traceEvents": kept}


def check_chrome_trace(data: Any) -> list[str]:
    """What keeps ``data``, a parsed trace, from being one that Perfetto reads in full.

    A sentence for each fault, up to ``_MOST_FAULTS``; an empty list for a valid trace.
    """
    faults = []
    for fault in _faults(data):
        faults.append(fault)
        if len(faults) == _MOST_FAULTS:
            break
    return faults


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _cleaned_event(event: Mapping[str, Any]) -> dict[str, Any]:
    kept = dict(event)
    if isinstance(kept.get("args"), Mapping):
        kept["args"] = {
            name: value for name, value in kept["args"].items() if name not in _DROPPED_ARGUMENTS
        }
    return kept


def _nest(events: list[dict[str, Any]]) -> None:
    threads: defaultdict[tuple[Any, Any], list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        if event.get("ph") == "X":
            threads[event.get("pid"), event.get("tid")].append(event)
    for mine in threads.values():
        ends: list[float] = []
        for one in sorted(mine, key=_by_nesting):
            while ends and one["ts"] >= ends[-1]:
                ends.pop()
            if ends:
                one["dur"] = min(one["dur"], ends[-1] - one["ts"])
            ends.append(one["ts"] + one["dur"])


def _by_nesting(event: Mapping[str, Any]) -> tuple[float, float]:
    """What begins earlier comes first, of those that begin together the longest."""
    return event["ts"], -event["dur"]


def _without_folders(value: Any) -> Any:
    if isinstance(value, str):
        return _ABSOLUTE.sub(_shortened, value) if "/" in value or "\\" in value else value
    if isinstance(value, Mapping):
        return {_without_folders(name): _without_folders(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(one) for one in value]
    return value


def _shortened(found: re.Match[str]) -> str:
    path = found.group()
    in_package = _PACKAGES.sub("", path, count=1)
    return in_package if in_package != path else _FOLDERS.sub("", path)


def _faults(data: Any) -> Iterator[str]:
    if not isinstance(data, Mapping) or not isinstance(data.get("traceEvents"), list):
        yield "expected an object with a list traceEvents"
        return
    if data.get("displayTimeUnit", "ms") not in ("ms", "ns"):
        yield f"displayTimeUnit is {data['displayTimeUnit']!r}, not ms or ns"
    facts = {name: value for name, value in data.items() if name != "traceEvents"}
    if not _is_finite(facts):
        yield "a fact beside the events is not a finite number"
    events = data["traceEvents"]
    sound = []
    for index, event in enumerate(events):
        faults = list(_event_faults(event))
        yield from (f"event {index}: {one}" for one in faults)
        if not faults:
            sound.append(event)
    yield from _nesting_faults(sound)
    yield from _flow_faults(sound)
    yield from _async_faults(sound)


def _event_faults(event: Any) -> Iterator[str]:
    if not isinstance(event, Mapping):
        yield "is no object"
        return
    phase = event.get("ph")
    if not isinstance(phase, str) or phase not in _PHASES:
        yield f"ph is {phase!r}, which is not known"
        return
    if not isinstance(event.get("name", None if phase in _NEEDS_NAME else ""), str):
        yield f"name is {event.get('name')!r}, not a string"
    for key in ("pid", "tid"):
        # A counter belongs to a process.
        is_optional = key == "tid" and phase in "MC"
        if not _is_id(event.get(key)) and not (is_optional and key not in event):
            yield f"{key} is {event.get(key)!r}, neither a whole number nor a string"
    if not _is_number(event.get("ts")) and not (phase == "M" and "ts" not in event):
        yield f"ts is {event.get('ts')!r}, not a finite number"
    if phase == "X" and not (_is_number(event.get("dur")) and event["dur"] >= 0):
        yield f"dur is {event.get('dur')!r}, not a finite number from 0 on"
    if not isinstance(event.get("args", {}), Mapping) or not _is_finite(event.get("args")):
        yield "args is no object of finite values"
    if phase in _FLOW_PHASES | _ASYNC_PHASES and not _is_id(event.get("id")):
        yield f"id is {event.get('id')!r}, neither a whole number nor a string"
    if phase in "iI" and event.get("s", "t") not in _SCOPES:
        yield f"the scope s is {event['s']!r}, not g, p or t"
    if phase == "M":
        yield from _metadata_faults(event)
    if phase == "C" and not all(map(_is_number, (event.get("args") or {"": None}).values())):
        yield "a counter's args are not numbers"


def _metadata_faults(event: Mapping[str, Any]) -> Iterator[str]:
    if event.get("name") in _METADATA:
        key, kind = _METADATA[event["name"]]
        value = (event.get("args") or {}).get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            yield f"the {event['name']} has no {kind.__name__} {key!r} in its args"


def _nesting_faults(events: list[Mapping[str, Any]]) -> Iterator[str]:
    """Slices of a thread lie inside each other or apart; each B has its E."""
    threads: defaultdict[tuple[Any, Any], list[Mapping[str, Any]]] = defaultdict(list)
    for event in events:
        if event["ph"] in "XBE":
            threads[event["pid"], event["tid"]].append(event)
    for (pid, tid), mine in threads.items():
        yield from (f"thread {pid}, {tid}: {one}" for one in _overlaps(mine))
        yield from (f"thread {pid}, {tid}: {one}" for one in _unbalanced(mine))


def _overlaps(events: list[Mapping[str, Any]]) -> Iterator[str]:
    ends: list[float] = []
    for one in sorted((one for one in events if one["ph"] == "X"), key=_by_nesting):
        end = one["ts"] + one["dur"]
        while ends and one["ts"] >= ends[-1] - _ROUNDING_US:
            ends.pop()
        if ends and end > ends[-1] + _ROUNDING_US:
            yield f"{one['name']!r} at {one['ts']} ends after what it began in"
        ends.append(end)


def _unbalanced(events: list[Mapping[str, Any]]) -> Iterator[str]:
    begun: list[str] = []
    # Python's sort keeps the order of events of one moment.
    for one in sorted((one for one in events if one["ph"] in "BE"), key=lambda one: one["ts"]):
        if one["ph"] == "B":
            begun.append(one["name"])
        elif not begun:
            yield f"an E at {one['ts']} ends nothing"
        elif one.get("name", begun[-1]) != begun.pop():
            yield f"the E at {one['ts']} ends another than {one['name']!r}"
    if begun:
        yield f"the B of {begun[-1]!r} has no E"


def _flow_faults(events: list[Mapping[str, Any]]) -> Iterator[str]:
    flows = [one for one in events if one["ph"] in _FLOW_PHASES]
    started = {_flow_key(one) for one in flows if one["ph"] == "s"}
    for one in flows:
        if one["ph"] != "s" and _flow_key(one) not in started:
            yield f"flow {one['id']!r} of {one['name']!r} goes on, but never started"


def _async_faults(events: list[Mapping[str, Any]]) -> Iterator[str]:
    balance: defaultdict[tuple[Any, ...], int] = defaultdict(int)
    for one in events:
        if one["ph"] in "be":
            balance[one.get("cat"), one["name"], one["id"]] += 1 if one["ph"] == "b" else -1
    for (_, name, number), count in balance.items():
        if count:
            yield f"the asynchronous {name!r} {number!r} has not as many b as e"


def _flow_key(event: Mapping[str, Any]) -> tuple[Any, ...]:
    return event.get("cat"), event["name"], event["id"]


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_finite(value: Any) -> bool:
    """Whether no number in it, however deep, is NaN or infinite."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    return True
