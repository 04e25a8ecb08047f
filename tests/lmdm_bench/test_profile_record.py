"""Profiles are strict JSON: what was written is read again, equal."""

import pytest

import host_and_memory_profiles as profiles
from lmdm_bench.profile_record import PROFILE_SCHEMA_VERSION, HostProfile, MemoryProfile
from lmdm_bench.record import RecordError, from_json, parse, to_json


@pytest.mark.parametrize(
    ("kind", "profile"),
    [(HostProfile, profiles.host_profile()), (MemoryProfile, profiles.memory_profile())],
)
def test_a_profile_survives_its_json(kind: type, profile: HostProfile | MemoryProfile) -> None:
    text = to_json(profile)
    assert parse(kind, PROFILE_SCHEMA_VERSION, text, "profile.json") == profile


def test_a_profile_is_no_runs_record() -> None:
    with pytest.raises(RecordError):
        from_json(to_json(profiles.host_profile()), "profile.json")
