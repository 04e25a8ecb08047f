"""Predictions in words: digits that show the side, every verdict, and what is not told."""

from dataclasses import replace

import pytest

from lmdm_bench.predict import TIERS, Interval, predict
from lmdm_bench.predict_words import (
    SIGNS,
    TIER_LETTERS,
    colour_of,
    figure,
    interval,
    is_measured,
    memory_words,
    predict_words,
    sign_of,
    words_of,
)
from predictions import asked, every_verdict, evidence, gpu_target, measured, target

EVERY = every_verdict()
NOTHING = evidence(calibrations=())


def plain(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0554, "0.055"),
        (0.2749, "0.27"),
        (1.349, "1.3"),
        (13.4, "13"),
        (14123.0, "14 000"),
        (0.996, "0.996"),
        (1.04, "1.04"),
        (0.9996, "0.9996"),
        (0.94, "0.94"),
        (1.0, "1.0"),
        (0.0, "0.0"),
    ],
)
def test_two_digits_and_more_near_the_deadline(value: float, expected: str) -> None:
    assert plain(figure(value)) == expected


def test_an_interval_has_its_ends() -> None:
    assert plain(interval(Interval(0.0251, 0.0554, 0.2301))) == "0.055 [0.025, 0.23]"


@pytest.mark.parametrize("one", EVERY, ids=[f"{at}" for at in range(len(EVERY))])
def test_every_verdict_has_a_sign_words_and_a_colour(one) -> None:
    assert (sign_of(one), words_of(one), colour_of(one)) == SIGNS[one.verdict, one.leaning]


def test_signs_and_letters_tell_apart_what_colour_repeats() -> None:
    assert len({sign for sign, _, _ in SIGNS.values()}) == len(SIGNS)
    assert list(TIER_LETTERS) == list(TIERS)
    assert len(set(TIER_LETTERS.values())) == len(TIERS)


def test_one_prediction_is_one_sentence_with_its_figures() -> None:
    (first, *_) = EVERY
    text = plain(predict_words([first]))
    assert text.startswith(
        "block-causal (sao-small) keeps up on A CPU, 2 cores, 16 GiB, Linux: a second of audio "
        "takes 0.50 seconds to make (0.45 to 0.55). Measured here: 9 blocks, 2026-11-21, record "
        "made up."
    )
    assert text.endswith("only lmdm-bench check on the machine itself can tell.")


def test_several_on_one_machine_are_told_by_verdict() -> None:
    small = [one for one in EVERY if one.target.name == "GeForce GTX 1650"]
    text = plain(predict_words(small))
    assert "On GeForce GTX 1650 block-causal (sao-small) " in text
    assert "lmm-frame-wise (mrt2-small) does not fit into the memory" in text
    assert text.count("From specification only") == 1


def test_many_machines_are_counted() -> None:
    names = ("RTX 4090", "RTX 4080", "RTX 4060", "GTX 1650")
    many = [predict(asked(memory_gib=3.5), gpu_target(one), NOTHING, evidence()) for one in names]
    text = plain(predict_words(many))
    assert text.startswith("Of 4 machines block-causal plays on ")
    assert "does not fit on 1" in text
    assert "Of 1 machine outpaint" in plain(predict_words(EVERY))


def test_each_tier_says_what_it_rests_on() -> None:
    text = plain(predict_words(EVERY))
    assert "Measured here: 9 blocks" in text
    assert "Measured on the same kind of machine:" in text
    assert (
        "Calibrated with 17 points of A CPU, 2 cores, 16 GiB, Linux; with whole workloads" in text
    )
    assert "Nothing was measured on such a machine" in text
    assert "no statement of probability" in text
    assert "predictions were off by" in text


def test_an_lmm_s_codec_is_said_to_be_missing() -> None:
    tokens = "tokens still have to be decoded"
    assert tokens in predict_words(EVERY)
    assert tokens not in predict_words(EVERY[:2])


def test_launching_is_told_where_it_was_assumed() -> None:
    one_by_one = predict(asked(), gpu_target("RTX 4090"), NOTHING, evidence())
    replayed = replace(one_by_one, workload=replace(one_by_one.workload, is_graphed=True))
    assert "launched one by one" in predict_words([one_by_one])
    assert "replayed as graphs" in predict_words([replayed])


@pytest.mark.parametrize(
    ("name", "memory_gib", "expected"),
    [
        ("GTX 1650", 1.0, "needs 1.00 GiB of 4.0 GiB"),
        ("GTX 1650", 3.5, "needs 3.5 GiB, and 3.0 of its 4 GiB are for models"),
        ("M4 Pro", 20.0, "needs 20.0 GiB: fits with 64 GiB, not with 24"),
    ],
)
def test_memory_is_told_of_the_kinds_that_are_sold(name, memory_gib, expected) -> None:
    one = predict(asked(memory_gib=memory_gib), gpu_target(name), NOTHING, evidence())
    assert plain(memory_words(one)) == expected


def test_what_nothing_is_known_of_is_said() -> None:
    unknown = predict(asked(), target(), NOTHING, NOTHING)
    text = plain(predict_words([unknown]))
    assert "cannot be told on A CPU" in text and "lmdm-bench claims" in text
    assert not is_measured(unknown)
    assert is_measured(predict(asked(), target(), evidence(measured()), NOTHING))


def test_no_name_from_outside_breaks_a_line() -> None:
    odd = replace(EVERY[0], target=replace(EVERY[0].target, name="a\nb\x1b[31m"))
    assert "\n" not in predict_words([odd]) and "\x1b" not in predict_words([odd])
