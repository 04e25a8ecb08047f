"""What a profile says about itself: when, on what machine, with which stream."""

import datetime

from lmdm_bench.machine import describe_machine
from lmdm_bench.profile_record import ProfileFacts
from lmdm_bench.profiled_stream import ProfileAsked, ProfiledStream
from lmdm_bench.tool import describe_tool


def facts_of(asked: ProfileAsked, stream: ProfiledStream, profiled_ms: float) -> ProfileFacts:
    """Of a stream that is warm; ``profiled_ms`` is a block's median time under the profiler."""
    assert stream.plain_ms is not None, "a stream is warmed up before it is profiled"
    return ProfileFacts(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=asked.command,
        tool=describe_tool(),
        machine=describe_machine(asked.request.device),
        ceiling=stream.ceiling,
        device=asked.device,
        dtype=asked.dtype,
        linear=stream.linear,
        weights=stream.weights,
        workload=stream.workload,
        check=stream.check,
        cost=stream.cost,
        plain_ms=stream.plain_ms,
        profiled_ms=profiled_ms,
    )
