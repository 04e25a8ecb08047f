"""Each option of a check, at its borders; what is wrong is one sentence."""

import pytest

from lmdm_bench import audio_backend
from lmdm_bench.check_options import CheckOptions, control_budget, options
from lmdm_bench.errors import InputError, UnsupportedError

PLAIN = {
    "minutes": 10.0,
    "mode": "paced",
    "prebuffer_blocks": 2,
    "target_dropouts_per_hour": 1.0,
    "budget": "",
    "policy": "auto",
    "conditions": ("prompt",),
    "stress": "none",
    "audio": "auto",
}


def chosen(**changes) -> CheckOptions:
    return options(**{**PLAIN, **changes})


def test_the_defaults() -> None:
    found = chosen()
    assert (found.policy, found.audio, found.control_budget_seconds) == ("zero-pad", None, None)
    assert found.condition_kinds == ("prompt",)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"minutes": 0.0}, "minutes must be more than 0"),
        ({"minutes": float("inf")}, "minutes must be more than 0"),
        ({"minutes": float("nan")}, "minutes must be more than 0"),
        ({"prebuffer_blocks": 0}, "prebuffer must be 1 to 1000 blocks"),
        ({"prebuffer_blocks": 1001}, "prebuffer must be 1 to 1000 blocks"),
        ({"target_dropouts_per_hour": 0.0}, "no run can prove that there are none"),
        ({"mode": "live"}, "unknown mode 'live'; there are paced, sustain, device"),
        ({"policy": "skip"}, "policy skip is only replayed"),
        ({"policy": "wait"}, "unknown policy 'wait'"),
        ({"conditions": ("weather",)}, "unknown conditions 'weather'"),
        ({"conditions": ("none", "prompt")}, "not both"),
        ({"stress": "gpu"}, "unknown stress 'gpu'"),
        ({"audio": "jack"}, "needs --mode device"),
        ({"budget": "control=0s"}, "a budget looks like control=1s"),
        ({"budget": "sound=1s"}, "a budget looks like control=1s"),
        ({"mode": "device", "audio": "tape"}, "unknown audio 'tape'"),
    ],
)
def test_what_cannot_be(change: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        chosen(**change)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", None), ("control=1s", 1.0), ("control=800ms", 0.8), ("control = 1.5", 1.5)],
)
def test_budgets(text: str, seconds: float | None) -> None:
    assert control_budget(text) == pytest.approx(seconds)


def test_no_conditions_and_other_policies() -> None:
    assert chosen(conditions=("none",)).condition_kinds == ()
    assert chosen(conditions=("input", "prompt")).condition_kinds == ("prompt", "input")
    assert chosen(policy="stall").policy == "stall"


def test_a_device_needs_a_sound_card_that_can_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = {"jack": "no server", "portaudio": "", "jack-dummy": "no jackd", "silent": ""}
    monkeypatch.setattr(audio_backend, "available_backends", lambda: reasons)
    found = chosen(mode="device")
    assert (found.audio, found.policy) == ("portaudio", "stall")
    assert chosen(mode="device", audio="silent", policy="zero-pad").policy == "zero-pad"
    with pytest.raises(UnsupportedError, match="cannot be opened here: no jackd"):
        chosen(mode="device", audio="jack-dummy")
    reasons["portaudio"] = "no library"
    with pytest.raises(UnsupportedError, match="jack: no server; portaudio: no library"):
        chosen(mode="device")
