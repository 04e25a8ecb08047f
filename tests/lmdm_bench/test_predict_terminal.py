"""Tables of predictions fit into 80 columns and lose nothing without colour."""

from dataclasses import replace

import pytest
from rich.console import Console

from lmdm_bench.predict import predict
from lmdm_bench.predict_terminal import predict_table
from lmdm_bench.predict_words import SIGNS, TIER_LETTERS, figure, interval
from predictions import asked, every_verdict, evidence, gpu_target, workload

COLUMNS = 80
NOTHING = evidence(calibrations=())
EVERY = every_verdict()
NAMES = ("RTX 4090", "4060 laptop", "RTX 2000 Mobile Ada", "GTX 1650", "M4 Pro")
SCHEMES = ("outpaint", "encoder-decoder", "block-causal", "lmm-encoder-decoder", "lmm-frame-wise")


def printed(predictions) -> str:
    console = Console(width=COLUMNS, force_terminal=False, highlight=False)
    with console.capture() as capture:
        console.print(predict_table(predictions))
    return capture.get()


def many():
    return [
        predict(asked(workload(scheme), memory_gib=3.5), gpu_target(name), NOTHING, evidence())
        for name in NAMES
        for scheme in SCHEMES
    ]


def plain(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("predictions", [EVERY[:3], EVERY[4:7], many()], ids=["cpu", "gpu", "many"])
def test_everything_is_there_in_80_columns(predictions) -> None:
    text = printed(predictions)
    assert max(map(len, text.splitlines())) <= COLUMNS
    flat = plain(text)
    for one in predictions:
        assert all(word in flat for word in one.target.name.split())
        assert SIGNS[one.verdict, one.leaning][0] in flat
        if one.rtf is not None:
            assert figure(one.rtf.value) in flat


def test_a_card_has_interval_tier_error_limit_stages_and_memory() -> None:
    found = predict(asked(), gpu_target("GTX 1650"), NOTHING, evidence())
    text = plain(printed([found]))
    assert found.rtf is not None and plain(interval(found.rtf)) in text
    assert "from specification only" in text and f" {found.limit}" in text
    assert "block-causal: all steps" in text and "codec decode" in text
    assert "for a block of 2.23 s" in text and "needs 1.00 GiB of 4.0 GiB" in text


def test_a_calibrated_card_has_its_left_out_error() -> None:
    (calibrated,) = [one for one in EVERY if one.tier == "calibrated"][:1]
    assert "calibrated, off by" in plain(printed([calibrated]))


def test_a_refusal_says_why_where_the_tier_would_be() -> None:
    (refused,) = [one for one in EVERY if one.verdict == "does not fit"]
    text = plain(printed([refused]))
    assert "– does not fit" in text and "are for models" in text


def test_many_machines_are_rows_with_a_legend_of_every_sign_and_tier() -> None:
    text = printed(many())
    flat = plain(text)
    for sign, words, _ in SIGNS.values():
        assert f"{sign} {words}" in flat
    for tier, letter in TIER_LETTERS.items():
        assert f"{letter} {tier}" in flat
    row = next(line for line in text.splitlines() if line.startswith("GeForce RTX 4090"))
    assert row.split()[-1] == "S" and row.count("✔") + row.count("✘") == len(SCHEMES)


def test_more_schemes_than_a_table_holds_go_into_another() -> None:
    wide = [replace(one, workload=replace(one.workload, model="sao-1.0")) for one in many()]
    text = printed([*many(), *wide])
    assert max(map(len, text.splitlines())) <= COLUMNS
    assert text.count("machine") >= 2


def test_names_from_outside_are_no_markup() -> None:
    one = predict(asked(), gpu_target("RTX 4090"), NOTHING, evidence())
    odd = replace(one, target=replace(one.target, name="[red]x[/red]\n"))
    text = printed([odd])
    assert "[red]x[/red]" in text
