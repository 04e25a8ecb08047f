import dataclasses
import re

import pytest

import check_records
from lmdm_bench import check_words
from lmdm_bench import format as shown
from lmdm_bench.check_conditions import Case
from lmdm_bench.check_record import CheckRecord
from lmdm_bench.check_words import (
    STATE_SIGNS,
    VERDICT_SIGNS,
    check_answer,
    minutes,
    option,
    plain_paragraph,
    signed,
)
from lmdm_bench.remedies import Remedy
from lmdm_bench.verdict import EXIT_CODES, Judgement, judge_case, judge_check

# What a musician should not have to know.
JARGON = ("rtf", "p99", "p95", "quantile", "latency", "trace", "paced", "n/a", "None", "nan")


def paragraph(record: CheckRecord, at: int = 0) -> str:
    cell = record.check_cells[at]
    words = plain_paragraph(record, cell, judge_check(record)[at])
    return words.replace(shown.NBSP, " ")


def judged(record: CheckRecord, **figures) -> tuple[CheckRecord, Judgement]:
    """The first cell with planted figures of its summary, and nothing that could be tried."""
    cell = record.check_cells[0]
    cell = dataclasses.replace(
        cell, workload=dataclasses.replace(cell.workload, steps=1), alternatives=()
    )
    record = dataclasses.replace(record, check_cells=(cell,))
    summary = dataclasses.replace(judge_check(record)[0].summary, **figures)
    return record, judge_case(Case(record, cell, summary))


def words(record: CheckRecord, **figures) -> str:
    record, judgement = judged(record, **figures)
    told = plain_paragraph(record, record.check_cells[0], judgement)
    return told.replace(shown.NBSP, " ")


@pytest.mark.parametrize("name", check_records.EXAMPLES)
def test_a_paragraph_is_short_and_plain(name):
    record = check_records.EXAMPLES[name]()
    for at in range(len(record.check_cells)):
        text = paragraph(record, at)
        assert 40 < len(text) < 500 and text.endswith(".") and ".." not in text
        assert not [word for word in JARGON if f" {word} " in text.replace(".", " ")]
        assert not set(text) & set("{}[]<>")


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("likely", "block-causal will most likely play live here. In 9.9 minutes there was no"),
        ("stalls", "block-causal does not play live here as it is set. In 9.9 minutes there were"),
        ("heat", "block-causal does not play live here as it is set. In 9.9 minutes 51 % of the"),
        ("too slow", "outpaint does not play live here. A second of audio takes 1.79 seconds"),
        ("short", "This run cannot tell whether block-causal plays live here. In 56 seconds"),
        ("failed", "outpaint was not played: it ended OOM: MemoryError: not enough memory."),
    ],
)
def test_the_answer_comes_first(name, beginning):
    assert paragraph(check_records.EXAMPLES[name]()).startswith(beginning)


def test_a_likely_stream_says_how_much_longer():
    text = paragraph(check_records.likely())
    assert "too short to prove no more than 1 dropout an hour" in text
    assert "another 2.8 hours" in text and "A new prompt is heard about" in text


def test_a_marginal_stream_says_what_would_do_and_its_price():
    text = paragraph(check_records.with_stalls())
    assert "With a prebuffer of 4 blocks instead of 2 (changes then heard after 10." in text
    assert "4.5 s later)" in text and "this very run would have had no dropout" in text
    assert text.endswith("Try one of these and check again.")


def test_what_is_not_measured_is_said():
    record = check_records.with_heat()
    remedy = Remedy("dtype", "float16", False, "float16 instead of bfloat16")
    judgement = dataclasses.replace(judge_check(record)[0], remedies=(remedy,))
    text = plain_paragraph(record, record.check_cells[0], judgement)
    assert "It should do with float16 instead of bfloat16; that was not measured." in text
    assert "this very run" not in text and "Try that and check again." in text


def test_a_proven_stream_says_what_is_proven():
    record = check_records.likely()
    dropouts = dataclasses.replace(judge_check(record)[0].summary.dropouts, per_hour_upper=0.87)
    steadiness = judge_check(record)[0].summary.steadiness
    p99 = dataclasses.replace(steadiness.steady_rtf, value=0.8)
    text = words(
        record,
        dropouts=dropouts,
        steadiness=dataclasses.replace(steadiness, steady_p99=p99, change_block=None),
    )
    assert text.startswith("block-causal plays live here. ")
    assert "That proves, at 95 % confidence, no more than 0.9 dropouts an hour." in text


def test_what_is_left_open_is_said():
    text = words(check_records.likely(), memory_margin=None)
    assert "How much memory is left is not known." in text
    assert "no codec for this model" in words(check_records.likely(), has_codec=False)


def test_why_nothing_can_be_told_is_said_once():
    record = check_records.likely()
    cell = record.check_cells[0]
    columns = cell.telemetry.columns | {"other_load_share": (0.31, 0.31)}
    busy = dataclasses.replace(cell, telemetry=dataclasses.replace(cell.telemetry, columns=columns))
    text = paragraph(dataclasses.replace(record, check_cells=(busy,)))
    assert "But other programs took 31 % of the processor. Mend that and check again." in text
    died = dataclasses.replace(cell, status="FAILED", reason="it was killed, after 269 blocks")
    text = paragraph(dataclasses.replace(record, check_cells=(died,)))
    assert text.count("it was killed") == 1


def test_a_stream_at_the_edge_is_said_to_be_close():
    record = check_records.likely()
    steadiness = judge_check(record)[0].summary.steadiness
    near = dataclasses.replace(steadiness.steady_rtf, value=1.0, ci95=(0.98, 1.02))
    text = words(record, steadiness=dataclasses.replace(steadiness, steady_rtf=near))
    assert "takes 0.98 to 1.02 seconds to make" in text


def test_one_dropout_is_left_to_a_longer_run():
    times = check_records.steady()
    times[60] += 3500.0
    record = check_records.record(check_records.cell(times))
    figures = {"smallest_prebuffer": None}
    text = words(record, **figures)
    assert "there was one dropout, of" in text
    assert "Whether that is more than 1 dropout an hour, only a longer run can tell." in text


def test_circumstances_are_told():
    record = check_records.likely()
    settings = dataclasses.replace(record.settings, stress="cpu")
    machine = dataclasses.replace(record.machine, is_on_mains=False)
    text = paragraph(dataclasses.replace(record, settings=settings, machine=machine))
    assert "It ran on battery." in text and "(--stress cpu)" in text
    assert "stumbled once (xruns)" in paragraph(check_records.on_a_sound_card())
    assert "stopped by Ctrl-C after 20 blocks" in paragraph(check_records.failed(), 1)


def test_a_sound_card_s_own_count_of_silence_is_told():
    assert "17 % of the time was silence" in paragraph(check_records.on_a_sound_card())


@pytest.mark.parametrize(
    ("drop", "why"), [(False, "as machines do that get hot"), (True, "since it was throttled")]
)
def test_a_stream_that_became_slower_says_when(drop, why):
    record = check_records.with_heat()
    cell = record.check_cells[0]
    if drop:
        columns = cell.telemetry.columns | {"cpu_frequency_mhz": (3000.0, 2500.0, 2000.0)}
        telemetry = dataclasses.replace(cell.telemetry, columns=columns)
        record = dataclasses.replace(
            record, check_cells=(dataclasses.replace(cell, telemetry=telemetry),)
        )
    steadiness = judge_check(record)[0].summary.steadiness
    text = words(record, steadiness=dataclasses.replace(steadiness, change_block=110))
    assert re.search(r"After 4\.1 minutes it became 3\d % slower, ", text) and why in text


def test_several_cells_are_told_apart():
    record = check_records.short()
    cell = record.check_cells[0]
    other = dataclasses.replace(cell, workload=dataclasses.replace(cell.workload, steps=4))
    both = dataclasses.replace(record, check_cells=(cell, other))
    answer = check_answer(both)
    assert "block-causal (steps 8)" in answer and "block-causal (steps 4)" in answer


def test_text_from_outside_stays_on_one_line():
    record = check_records.failed()
    cell = dataclasses.replace(record.check_cells[0], reason="a\nb\x1b[31m")
    text = check_answer(dataclasses.replace(record, check_cells=(cell,)))
    assert "a b" in text and text.isprintable()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.93, "56 seconds"),
        (1.0, "1 minute"),
        (9.92, "9.9 minutes"),
        (9.97, "10 minutes"),
        (10.4, "10 minutes"),
        (119.6, "120 minutes"),
        (170.0, "2.8 hours"),
    ],
)
def test_minutes(value, expected):
    assert minutes(value).replace(shown.NBSP, " ") == expected


def test_every_verdict_and_state_has_a_sign_and_colours_differ():
    assert list(VERDICT_SIGNS) != [] and set(VERDICT_SIGNS) == set(EXIT_CODES)
    assert len({colour for _, colour in VERDICT_SIGNS.values()}) == len(VERDICT_SIGNS)
    assert not {colour for _, colour in VERDICT_SIGNS.values()} & set(shown.SCHEME_COLOURS.values())
    assert len({sign for sign, _ in STATE_SIGNS.values()}) == 3
    assert signed("NOT REAL-TIME").split() == ["✘", "NOT", "REAL-TIME"]


def test_every_condition_has_its_words():
    named = {one.name for one in judge_check(check_records.likely())[0].conditions}
    assert named | {"control"} <= set(check_words._BROKEN_WORDS)


@pytest.mark.parametrize(
    ("what", "value", "expected"),
    [
        ("prebuffer", "4", "--prebuffer 4"),
        ("steps", "4", "--steps 4"),
        ("block_frames", "96", "--block-frames 96"),
        ("dtype", "bfloat16", "--dtype bf16"),
        ("scheme", "encoder-decoder", "check encoder-decoder"),
        ("mains", "mains", ""),
    ],
)
def test_a_remedy_can_be_typed(what, value, expected):
    assert option(Remedy(what, value, True, "")) == expected
