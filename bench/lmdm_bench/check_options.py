"""What a check is asked for besides its streams: each option checked, in one sentence if wrong."""

import math
import re
from dataclasses import dataclass
from typing import Any, get_args

from lmdm_bench import audio_backend, stress
from lmdm_bench.check_record import Mode, Policy
from lmdm_bench.conditions import KINDS, Kind
from lmdm_bench.errors import InputError, UnsupportedError

# A prebuffer that would hold minutes of music is a mistyped one.
MOST_PREBUFFER_BLOCKS = 1000
SECONDS = {"": 1.0, "s": 1.0, "ms": 1e-3}


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """Valid options. ``audio`` is the back end in device mode, else None."""

    minutes: float
    mode: Mode
    prebuffer_blocks: int
    policy: Policy
    target_dropouts_per_hour: float
    control_budget_seconds: float | None
    condition_kinds: tuple[Kind, ...]
    stress: str
    audio: str | None


def options(
    *,
    minutes: float,
    mode: str,
    prebuffer_blocks: int,
    target_dropouts_per_hour: float,
    budget: str,
    policy: str,
    conditions: tuple[str, ...],
    stress: str,
    audio: str,
) -> CheckOptions:
    """The options as they will hold. Raises InputError; UnsupportedError without a sound card."""
    if not 0 < minutes < math.inf:
        raise InputError(f"minutes must be more than 0, got {minutes:g}")
    if not 1 <= prebuffer_blocks <= MOST_PREBUFFER_BLOCKS:
        raise InputError(
            f"prebuffer must be 1 to {MOST_PREBUFFER_BLOCKS} blocks, got {prebuffer_blocks}"
        )
    if not 0 < target_dropouts_per_hour < math.inf:
        raise InputError(
            "target-dropouts-per-hour must be more than 0, since no run can prove that there are "
            f"none; got {target_dropouts_per_hour:g}"
        )
    chosen: Mode = _one_of("mode", mode, get_args(Mode))
    is_device = chosen == "device"
    return CheckOptions(
        minutes=minutes,
        mode=chosen,
        prebuffer_blocks=prebuffer_blocks,
        policy=_policy(policy, is_device=is_device),
        target_dropouts_per_hour=target_dropouts_per_hour,
        control_budget_seconds=control_budget(budget),
        condition_kinds=_kinds(conditions),
        stress=_one_of("stress", stress, _STRESS_KINDS),
        audio=_audio(audio, is_device=is_device),
    )


def control_budget(text: str) -> float | None:
    """``control=1s`` or ``control=800ms`` in seconds; nothing is None. Raises InputError."""
    if not text:
        return None
    found = re.fullmatch(r"control\s*=\s*(\d+(?:\.\d+)?)\s*(s|ms|)", text.strip())
    if found is None or float(found[1]) <= 0:
        raise InputError(f"a budget looks like control=1s or control=800ms, got {text!r}")
    return float(found[1]) * SECONDS[found[2]]


_STRESS_KINDS = stress.KINDS


def _kinds(conditions: tuple[str, ...]) -> tuple[Kind, ...]:
    for one in conditions:
        _one_of("conditions", one, (*KINDS, "none"))
    if "none" in conditions and len(conditions) > 1:
        raise InputError("conditions are none, or some: not both")
    return tuple(kind for kind in KINDS if kind in conditions)


def _policy(policy: str, *, is_device: bool) -> Policy:
    """A sound card's ring plays late audio when it comes; on a clock alone deadlines stand."""
    if policy == "auto":
        return "stall" if is_device else "zero-pad"
    if policy == "skip":
        raise InputError("policy skip is only replayed: zero-pad or stall can be played")
    chosen: Policy = _one_of("policy", policy, ("zero-pad", "stall"))
    return chosen


def _audio(audio: str, *, is_device: bool) -> str | None:
    if not is_device:
        if audio != "auto":
            raise InputError(f"--audio {audio} needs --mode device")
        return None
    reasons = audio_backend.available_backends()
    if audio == "auto":
        working = [name for name, reason in reasons.items() if not reason and name in _REAL]
        if not working:
            told = "; ".join(f"{name}: {reasons[name]}" for name in _REAL)
            raise UnsupportedError(f"no sound card or server can be opened here: {told}")
        return working[0]
    _one_of("audio", audio, tuple(reasons))
    if reasons[audio]:
        raise UnsupportedError(f"--audio {audio} cannot be opened here: {reasons[audio]}")
    return audio


# What "auto" tries, in this order: a server that runs is what the machine's music goes through.
_REAL = ("jack", "portaudio")


def _one_of(option: str, name: str, names: tuple[str, ...]) -> Any:
    if name not in names:
        raise InputError(f"unknown {option} {name!r}; there are {', '.join(names)}")
    return name
