"""A profile says what was profiled, and its dates and machine are those of now."""

import datetime

import pytest

from lmdm_bench.machine import describe_machine
from lmdm_bench.profile_facts import facts_of
from lmdm_bench.profiled_stream import ProfiledStream
from profiled import asked, no_words, quick_ceiling

__all__ = ["quick_ceiling"]


def test_facts_are_the_streams_and_the_machines() -> None:
    wanted = asked("block-causal")
    stream = ProfiledStream(wanted, no_words)
    stream.warm_up()
    facts = facts_of(wanted, stream, 12.5)
    assert facts.profiled_ms == 12.5 and facts.plain_ms == stream.plain_ms
    assert facts.workload == stream.workload and facts.cost == stream.cost
    assert facts.check.is_within_budget and facts.command == wanted.command
    assert facts.machine.name == describe_machine("cpu").name
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(facts.created)
    assert datetime.timedelta(seconds=-2) <= age <= datetime.timedelta(minutes=1)


def test_a_cold_stream_is_refused() -> None:
    wanted = asked("outpaint")
    with pytest.raises(AssertionError, match="warmed up"):
        facts_of(wanted, ProfiledStream(wanted, no_words), 1.0)
