import json

import pytest

import compare_records
import compare_rows
from compare_rows import broken, judgement, slower
from lmdm_bench.compare_verdicts import judge
from lmdm_bench.judgement_json import judgement_json


@pytest.mark.parametrize("name", compare_records.EXAMPLES)
def test_every_row_and_the_exit_code_are_there(name):
    record = compare_records.EXAMPLES[name]()
    found = judge(record)
    told = json.loads(judgement_json(record, found))
    assert told["exit_code"] == found.exit_code and told["schema_version"] == 1
    assert [(one["cell"], one["quantity"], one["verdict"]) for one in told["rows"]] == [
        (one.cell, one.quantity, one.verdict) for one in found.rows
    ]
    assert any(one["is_regression"] for one in told["rows"]) == (found.exit_code == 1)
    assert told["b"]["git_commit"] == record.b.git_commit


def test_effects_have_their_intervals_and_what_is_missing_is_null_with_its_reason():
    text = judgement_json(compare_records.same(), judgement(slower("one"), broken("two")))
    told = json.loads(text)
    one, two = told["rows"]
    assert told["verdict"] == "BROKEN"
    assert one["effect"]["value"] == 1.164 and one["confirming"]["ci95"] == [1.15, 1.19]
    assert one["a"] == 300.0 and one["unit"] == "ms" and one["threshold"] == 0.03
    assert two["effect"]["value"] is None and two["effect"]["reason"] and two["a"] is None
    assert text.endswith("}\n")


def test_text_from_outside_stays_as_it_is():
    record, found = compare_rows.nasty()
    told = json.loads(judgement_json(record, found))
    assert told["b"]["name"] == compare_rows.NASTY and told["b"]["git_commit"] is None
