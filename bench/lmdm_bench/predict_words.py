"""How a prediction is told: signs, colours, and one plain paragraph (no torch)."""

from collections import Counter
from collections.abc import Sequence

from lmdm_bench import format as shown
from lmdm_bench.calibration_fit import HeldOut
from lmdm_bench.predict import (
    DEADLINE_RTF,
    MEASURED_TIERS,
    TIERS,
    Interval,
    Leaning,
    Prediction,
    Tier,
    Verdict,
    usable_bytes,
)

# The sign says the side, and whether it is sure; colour repeats it.
SIGNS: dict[tuple[Verdict, Leaning | None], tuple[str, str, str]] = {
    ("plays", None): ("✔", "plays", "green"),
    ("cannot tell", "likely"): ("✔?", "likely plays", "cyan"),
    ("cannot tell", "unlikely"): ("✘?", "unlikely to play", "yellow"),
    ("does not play", None): ("✘", "does not play", "red"),
    ("does not fit", None): ("–", "does not fit", "magenta"),
    ("cannot tell", None): ("?", "cannot tell", "bright_black"),
}

TIER_LETTERS: dict[Tier, str] = {
    "measured here": "H",
    "measured on the same kind of machine": "M",
    "calibrated": "C",
    "from specification only": "S",
}

_DIGITS = 2
_MOST_DIGITS = 5
_MOST_TOLD_ONE_BY_ONE = 2


def sign_of(one: Prediction) -> str:
    return SIGNS[one.verdict, one.leaning][0]


def words_of(one: Prediction) -> str:
    return SIGNS[one.verdict, one.leaning][1]


def colour_of(one: Prediction) -> str:
    return SIGNS[one.verdict, one.leaning][2]


def is_measured(one: Prediction) -> bool:
    return one.tier in MEASURED_TIERS


def figure(value: float) -> str:
    """``0.055``, ``1.3``, ``13``: a prediction's two digits, and more near the deadline of 1, until
    they show its side."""
    digits = _DIGITS
    while value != DEADLINE_RTF == float(f"{value:.{digits - 1}e}") and digits < _MOST_DIGITS:
        digits += 1
    rounded = f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - int(rounded.partition("e")[2]))
    return shown.number(float(rounded), decimals)


def interval(one: Interval) -> str:
    """``0.055 [0.025, 0.27]``."""
    return f"{figure(one.value)} [{figure(one.low)},{shown.NBSP}{figure(one.high)}]"


def held_out_words(one: HeldOut) -> str:
    """What the error of a calibration is, in a sentence's part."""
    return (
        f"with whole {one.left_out} left out, predictions were off by "
        f"{shown.share(one.mean_error)} on average, and their 90 % intervals held "
        f"{shown.share(one.coverage)} of {one.num_points} stages"
    )


def predict_words(predictions: Sequence[Prediction]) -> str:
    """One paragraph: what keeps up, how that is known, and what was not asked."""
    targets = dict.fromkeys(one.target.name for one in predictions)
    if len(predictions) <= _MOST_TOLD_ONE_BY_ONE:
        said = [_sentence(one) for one in predictions]
    elif len(targets) <= _MOST_TOLD_ONE_BY_ONE:
        said = [_of_target(name, predictions) for name in targets]
    else:
        schemes = dict.fromkeys(one.workload.scheme for one in predictions)
        said = [_count(scheme, predictions) for scheme in schemes]
    tiers = [tier for tier in TIERS if any(one.tier == tier for one in predictions)]
    said += [_how_known(tier, [one for one in predictions if one.tier == tier]) for tier in tiers]
    if any(one.rtf is not None and not one.has_codec for one in predictions):
        said.append("The LMMs' tokens still have to be decoded, which is not in their figures.")
    said.append(
        "All of this is about the average: whether blocks are late now and then, only lmdm-bench "
        "check on the machine itself can tell."
    )
    return " ".join(said)


def memory_words(one: Prediction) -> str:
    """What a workload needs beside what there is, of the kinds of a machine that are sold."""
    least, most = one.target.memory_gib
    needed = shown.gibibytes(one.needed_bytes)
    if one.verdict == "does not fit":
        return one.basis
    if one.needed_bytes > usable_bytes(one.target, least):
        return f"needs {needed}: fits with {most:g} GiB, not with {least:g}"
    return f"needs {needed} of {figure(most)} GiB"


# Of one workload, and of several.
_VERBS: dict[tuple[Verdict, Leaning | None], tuple[str, str]] = {
    ("plays", None): ("keeps up", "keep up"),
    ("cannot tell", "likely"): ("likely keeps up", "likely keep up"),
    ("cannot tell", "unlikely"): ("likely does not keep up", "likely do not keep up"),
    ("does not play", None): ("does not keep up", "do not keep up"),
    ("does not fit", None): ("does not fit into the memory", "do not fit into the memory"),
    ("cannot tell", None): ("cannot be told", "cannot be told"),
}


def _sentence(one: Prediction) -> str:
    """One workload on one machine, with its figures."""
    verb, _ = _VERBS[one.verdict, one.leaning]
    said = f"{_subject(one)} {verb} on {shown.plain(one.target.name)}"
    if one.rtf is None:
        return f"{said}: {one.basis}."
    return (
        f"{said}: a second of audio takes {figure(one.rtf.value)} seconds to make "
        f"({figure(one.rtf.low)} to {figure(one.rtf.high)})."
    )


def _of_target(name: str, predictions: Sequence[Prediction]) -> str:
    """All workloads on one machine, by their verdicts."""
    found = [one for one in predictions if one.target.name == name]
    parts = []
    for key, (verb, verbs) in _VERBS.items():
        subjects = [_subject(one) for one in found if (one.verdict, one.leaning) == key]
        if subjects:
            *most, last = subjects
            parts.append(f"{', '.join(most)} and {last} {verbs}" if most else f"{last} {verb}")
    return f"On {shown.plain(name)} {'; '.join(parts)}."


def _subject(one: Prediction) -> str:
    return f"{shown.plain(one.workload.scheme)} ({shown.plain(one.workload.model)})"


def _count(scheme: str, predictions: Sequence[Prediction]) -> str:
    found = [one for one in predictions if one.workload.scheme == scheme]
    counted = Counter((one.verdict, one.leaning) for one in found)
    parts = [f"{words} on {counted[key]}" for key, (_, words, _) in SIGNS.items() if counted[key]]
    machines = "1 machine" if len(found) == 1 else f"{len(found)} machines"
    return f"Of {machines} {shown.plain(scheme)} {', '.join(parts)}."


def _how_known(tier: Tier, found: Sequence[Prediction]) -> str:
    first = found[0]
    if tier in MEASURED_TIERS:
        bases = ", ".join(dict.fromkeys(one.basis for one in found))
        return f"{tier.capitalize()}: {bases}."
    assert first.held_out is not None, "a prediction rests on a calibration"
    if tier == "calibrated":
        bases = ", ".join(dict.fromkeys(one.basis for one in found))
        return f"Calibrated with {bases}; {held_out_words(first.held_out)}."
    return (
        f"From specification only: {first.basis} (where {held_out_words(first.held_out)}). Nothing "
        "was measured on such a machine, so the interval is no statement of probability: it "
        "reaches from everything slow at once to everything fast at once. "
        f"{_launching(first)}"
    )


def _launching(one: Prediction) -> str:
    if one.workload.is_graphed:
        return "Passes are replayed as graphs."
    return "Operations are launched one by one, which captured graphs would spare."
