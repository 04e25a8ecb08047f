"""The record of an operator profile, ``profile.json``: strict both ways, and no run's record."""

from dataclasses import dataclass

from lmdm_bench.operator_profile import OperatorProfile
from lmdm_bench.profile_record import PROFILE_SCHEMA_VERSION, ProfileFacts
from lmdm_bench.record import parse


@dataclass(frozen=True)
class TorchProfile:
    """One stream's profile by torch.profiler, written by ``record.to_json``.

    The trace file holds the first ``trace_stages`` of all the blocks' ``num_stages``.
    """

    schema_version: int
    facts: ProfileFacts
    trace_stages: int
    num_stages: int
    profile: OperatorProfile

    @property
    def profiler_ratio(self) -> float:
        """A block's time under the profiler ÷ without it."""
        return self.profile.totals.block_ms / self.facts.plain_ms


def profile_from_json(text: str, name: str = "profile") -> TorchProfile:
    """A written profile. Raises RecordError naming the file and the field."""
    record: TorchProfile = parse(TorchProfile, PROFILE_SCHEMA_VERSION, text, name)
    return record
