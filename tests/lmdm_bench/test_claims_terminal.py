import dataclasses

import pytest
from rich.console import Console

import claims_records
from lmdm_bench import claims_terminal
from lmdm_bench.claims import judge
from lmdm_bench.claims_record import ClaimsRecord
from lmdm_bench.claims_words import VERDICT_SIGNS, key_finding, told_with_interval

COLUMNS = 80


def printed(record: ClaimsRecord) -> str:
    console = Console(width=COLUMNS, force_terminal=False, highlight=False)
    with console.capture() as capture:
        console.print(claims_terminal.claims_table(record))
    return capture.get()


def one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("name", claims_records.EXAMPLES)
def test_all_claims_are_there_in_80_columns(name):
    record = claims_records.EXAMPLES[name]()
    text = printed(record)
    assert max(map(len, text.splitlines())) <= COLUMNS
    rows = {line.split()[0]: line for line in text.splitlines() if line[:1].isdigit()}
    for one in judge(record):
        sign, _ = VERDICT_SIGNS[one.verdict]
        assert f"{sign} {one.verdict}" in rows[f"{one.claim.number}"]
        finding = key_finding(one)
        if finding is not None and finding.fitted is not None:
            assert one_line(told_with_interval(finding)) in one_line(rows[f"{one.claim.number}"])


def test_an_undecided_number_has_its_corrected_interval():
    text = one_line(printed(claims_records.interrupted()))
    assert "corrected [" in text and "its interval reaches over" in text


def test_the_answer_is_one_sentence():
    assert claims_terminal.claims_answer(claims_records.violated()) == (
        "Of 8 claims 5 are SUPPORTED and 3 are CONTRADICTED on AMD EPYC, 2 cores, 16 GiB, Linux "
        "(bfloat16 on cpu, 60 of 60 workloads, n = 6 rounds)."
    )
    assert claims_terminal.claims_answer(claims_records.interrupted()) == (
        "Of 8 claims 1 is SUPPORTED and 7 are NOT IDENTIFIABLE on AMD EPYC, 2 cores, 16 GiB, "
        "Linux (bfloat16 on cpu, 59 of 60 workloads, n = 2 to 3 rounds, interrupted before its "
        "end)."
    )


def test_nothing_from_outside_is_markup_or_breaks_the_table():
    record = claims_records.one_oom()
    points = tuple(
        one if one.reason is None else dataclasses.replace(one, reason="[red]x[/red]\n" * 9)
        for one in record.points
    )
    text = printed(dataclasses.replace(record, points=points))
    assert "[red]x[/red]" in text
    assert max(map(len, text.splitlines())) <= COLUMNS


def test_a_record_of_nothing_is_undecided():
    record = dataclasses.replace(claims_records.agreeing(), points=(), memory=())
    assert printed(record).count("NOT IDENTIFIABLE") == 8
    assert "n = 0 rounds" in claims_terminal.claims_answer(record)
