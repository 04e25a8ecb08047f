"""A ratio as a change in percent: its sign, its interval, and as many decimals as tell."""

import dataclasses

import pytest

from compare_rows import ratio
from lmdm_bench import format as shown
from lmdm_bench.ratio_change import change, change_and_interval, percent_more


def told(text):
    return text.replace(shown.NBSP, " ")


@pytest.mark.parametrize(
    ("effect", "words"),
    [
        (ratio(1.052, 1.041, 1.063), "+5.2 % [+4.1, +6.3]"),
        (ratio(0.85, 0.844, 0.856), "−15.0 % [−15.6, −14.4]"),
        (ratio(1.0001, 0.995, 1.005), "0.0 % [−0.5, +0.5]"),
        (ratio(1.00011, 1.0001, 1.00012), "+0.011 % [+0.010, +0.012]"),
        (ratio(9.0, 8.85, 9.09), "+800 % [+785, +809]"),
        (ratio(12.5), "+1 150 %"),
        (ratio(1.00003), "+0.003 %"),
        (ratio(1.0), "0.0 %"),
        (ratio(None), "n/a (needs 368 samples)"),
        (dataclasses.replace(ratio(1.2), reason="needs\n6 pairs"), "+20.0 % (needs 6 pairs)"),
    ],
)
def test_a_change_is_in_percent_with_its_interval(effect, words):
    assert told(change(effect)) == words
    assert change(effect) == " ".join(filter(None, change_and_interval(effect)))


@pytest.mark.parametrize(
    ("bare", "words"), [(1.03, "+3.0"), (1 / 1.03, "−2.9"), (1.0, "0.0"), (0.99996, "0.0")]
)
def test_a_bare_ratio_has_its_sign(bare, words):
    assert percent_more(bare) == words
