import dataclasses
import subprocess
import sys

import claims_records
from claims_drawn import plain
from lmdm_bench.claims import judge
from lmdm_bench.claims_words import (
    VERDICT_SIGNS,
    interval_words,
    key_finding,
    rounds_words,
    told_with_interval,
)


def test_the_key_finding_is_the_first_with_the_claims_own_verdict():
    for one in judge(claims_records.violated()):
        found = [finding for finding in one.findings if finding.verdict == one.verdict]
        assert key_finding(one) is found[0]
        assert one.verdict in VERDICT_SIGNS
    assert key_finding(dataclasses.replace(one, findings=())) is None


def test_a_finding_is_told_with_its_interval_and_unit_or_not_at_all():
    finding = key_finding(judge(claims_records.agreeing())[0])
    assert finding is not None
    told = plain(told_with_interval(dataclasses.replace(finding, unit="steps")))
    assert told.endswith("] steps") and "[" in told
    assert told_with_interval(dataclasses.replace(finding, fitted=None)) == "not told"


def test_negative_ends_have_a_minus_sign():
    assert interval_words((-0.5, 1.25)) == "[−0.500, 1.25]"


def test_rounds_are_those_of_measured_points():
    assert rounds_words(claims_records.agreeing()) == "n = 6 rounds"
    assert rounds_words(claims_records.one_round()) == "n = 1 round"
    assert rounds_words(dataclasses.replace(claims_records.agreeing(), points=())) == "n = 0 rounds"


def test_words_need_no_drawing():
    code = "import sys, lmdm_bench.claims_terminal; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
