"""Steps are first and later to a reader, and frames where tokens are made."""

import pytest

import records
from lmdm_bench.profile_stages import told_stage


@pytest.mark.parametrize(
    ("name", "told", "told_of_tokens"),
    [
        ("step 0", "first step", "first frame"),
        ("step 1", "later steps", "later frames"),
        ("step 12", "later steps", "later frames"),
        ("codec_decode", "codec decode", "codec decode"),
        ("context_encode", "context encode", "context encode"),
        ("commit", "commit", "commit"),
        ("step by step", "step by step", "step by step"),
    ],
)
def test_stages_are_told(name: str, told: str, told_of_tokens: str) -> None:
    assert told_stage(name, records.workload("outpaint")) == told
    assert told_stage(name, records.lmm_workload("lmm-frame-wise")) == told_of_tokens
