"""Example comparisons with realistic noise, for the tests of everything that reads one.

``paired_cell`` draws two sides that take turns on one machine: what the machine does (its drift,
its spikes, its clock) falls on both, each side's own noise does not.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

import records
from lmdm_bench.compare_record import (
    COMPARE_SCHEMA_VERSION,
    CellSide,
    CompareCell,
    CompareRecord,
    CompareSettings,
    Kind,
    Misses,
    Process,
    Side,
    Times,
)
from lmdm_bench.gate import DEFAULT_GATE

Floats = npt.NDArray[np.float64]
Noise = Literal["log-normal", "drift", "spikes", "bimodal"]
NOISES: tuple[Noise, ...] = ("log-normal", "drift", "spikes", "bimodal")

OWN_NOISE = 0.02
PROCESS_NOISE = 0.004
CONTROL_NOISE = 0.01
STAGES = {"first_step": 0.55, "later_steps": 0.4, "commit": 0.02, "host": 0.03}


def machine_noise(noise: Noise, num_samples: int, rng: np.random.Generator) -> Floats:
    """Factors that the machine puts on everything, at consecutive instants."""
    at = np.arange(num_samples)
    if noise == "drift":
        return np.asarray(1 + 0.2 * at / num_samples)
    if noise == "spikes":
        return np.where((at + rng.integers(25)) % 25 == 0, 1.6, 1.0)
    if noise == "bimodal":
        # Two clocks, each for a while.
        changes = rng.random(num_samples) < 1 / 20
        return np.where(np.cumsum(changes) % 2 == 0, 1.0, 1.18)
    return np.ones(num_samples)


def process(
    milliseconds: float,
    num_pairs: int,
    rng: np.random.Generator,
    *,
    noise: Noise = "log-normal",
    effects: Mapping[str, float] | None = None,
    b_drift: float = 0.0,
    is_confirming: bool = False,
) -> Process:
    """Pairs of blocks of about so many milliseconds; ``effects`` are factors of b's stages, by
    name ("" is all of them), and ``b_drift`` what the machine puts on b alone, controls included.
    """
    effects = effects or {}
    b_first = rng.random(num_pairs) < 0.5
    instants = machine_noise(noise, 2 * num_pairs, rng).reshape(num_pairs, 2)
    rows = np.arange(num_pairs)
    machine = {
        "a": instants[rows, b_first.astype(int)],
        "b": instants[rows, 1 - b_first.astype(int)] * (1 + b_drift),
    }
    own = {side: rng.normal(0, PROCESS_NOISE) for side in "ab"}
    stages: dict[str, dict[str, Floats]] = {"a": {}, "b": {}}
    for side in "ab":
        for name, share in STAGES.items():
            factor = effects.get(name, 1.0) * effects.get("", 1.0) if side == "b" else 1.0
            spread = rng.lognormal(own[side], OWN_NOISE, num_pairs)
            stages[side][name] = milliseconds * share * factor * spread * machine[side]
    controls = {
        name: Times(
            *(
                tuple(size * rng.lognormal(0, CONTROL_NOISE, num_pairs) * machine[side])
                for side in "ab"
            )
        )
        for name, size in {"product": 5.0, "copy": 4.0, "canary": 1.0}.items()
    }
    return Process(
        is_confirming=is_confirming,
        b_first=tuple(b_first.tolist()),
        service=Times(*(tuple(sum(stages[side].values())) for side in "ab")),
        stages={name: Times(tuple(stages["a"][name]), tuple(stages["b"][name])) for name in STAGES},
        controls=controls,
    )


def side_of_cell(
    memory_bytes: Mapping[str, int] | None = None, misses: Misses | None = None
) -> CellSide:
    """A side that ended well."""
    held = {"peak_allocated": 123_456_789} if memory_bytes is None else dict(memory_bytes)
    return CellSide("OK", None, 0.004, 0.02, held, misses)


def paired_cell(
    name: str = "block-causal · sao-small",
    milliseconds: float = 300.0,
    *,
    num_processes: int = 3,
    num_pairs: int = 16,
    seed: int = 0,
    kind: Kind = "block",
    noise: Noise = "log-normal",
    effects: Mapping[str, float] | None = None,
    b_drift: float = 0.0,
    num_confirming: int = 0,
    b: CellSide | None = None,
) -> CompareCell:
    """One cell of a paired comparison; see ``process``."""
    rng = np.random.default_rng(seed)
    drawn = [
        process(
            milliseconds,
            num_pairs,
            rng,
            noise=noise,
            effects=effects,
            b_drift=b_drift,
            is_confirming=index >= num_processes,
        )
        for index in range(num_processes + num_confirming)
    ]
    return CompareCell(
        name=name,
        kind=kind,
        axes={"scheme": name.split(" · ")[0], "dtype": "bfloat16", "steps": "2"},
        block_seconds=2.229 if kind == "block" else None,
        a=side_of_cell(),
        b=b or side_of_cell(),
        processes=tuple(drawn),
    )


def steady_process(
    ratio: float,
    *,
    stages: Mapping[str, tuple[float, float]] | None = None,
    controls: Mapping[str, float] | None = None,
    num_pairs: int = 8,
    is_confirming: bool = False,
) -> Process:
    """Pairs without any noise: 100 ms against ``ratio`` times as many. ``stages`` have a's
    milliseconds and b ÷ a, ``controls`` b ÷ a.
    """

    def times(a_ms: float, b_ms: float) -> Times:
        return Times((a_ms,) * num_pairs, (b_ms,) * num_pairs)

    return Process(
        is_confirming=is_confirming,
        b_first=(False, True) * (num_pairs // 2),
        service=times(100.0, 100.0 * ratio),
        stages={name: times(a, a * by) for name, (a, by) in (stages or {}).items()},
        controls={name: times(5.0, 5.0 * by) for name, by in (controls or {}).items()},
    )


def steady_cell(
    ratio: float, again: float | None = None, name: str = "steady", **of_process: Any
) -> CompareCell:
    """Three processes without noise, and two that measured again and found ``again``."""
    processes = [steady_process(ratio, **of_process)] * 3
    if again is not None:
        processes += [steady_process(again, is_confirming=True, **of_process)] * 2
    return dataclasses.replace(paired_cell(name, num_processes=0), processes=tuple(processes))


def side(name: str, commit: str | None) -> Side:
    return Side(
        name=name,
        git_commit=commit,
        git_is_dirty=None if commit is None else False,
        machine="AMD EPYC, 2 cores, 23 GiB, Linux",
        machine_facts={"cpu": "AMD EPYC", "cores": "2", "memory": "23 GiB", "os": "Linux"},
        packages={"torch": "2.13.0", "numpy": "2.4.0"},
        created=None,
        unavailable={} if commit else {"git_commit": "not run from a git checkout"},
    )


def record(cells: Sequence[CompareCell], **settings: object) -> CompareRecord:
    """A comparison of two revisions on one machine."""
    example = CompareSettings(
        command="lmdm-bench compare --base main",
        source="revisions",
        seed=0,
        minutes=4.0,
        is_paired=True,
        is_same_machine=True,
        differing={},
        only_a=(),
        only_b=(),
        device="cpu",
        dtype="bfloat16",
        gate=DEFAULT_GATE,
        is_interrupted=False,
    )
    return CompareRecord(
        schema_version=COMPARE_SCHEMA_VERSION,
        created="2026-11-21T16:00:00+00:00",
        tool=records.all_ok().tool,
        a=side("main", "a" * 40),
        b=side("working tree", "b" * 40),
        settings=dataclasses.replace(example, **settings),  # type: ignore[arg-type]
        compared_cells=tuple(cells),
    )


@functools.cache
def same() -> CompareRecord:
    """Nothing has changed."""
    return record(
        [
            paired_cell("outpaint · sao-small", 800.0, seed=1, num_pairs=40),
            paired_cell("encoder-decoder · sao-small", 550.0, seed=2, num_pairs=40),
            paired_cell("block-causal · sao-small", 300.0, seed=3, num_pairs=40),
            paired_cell("range · encoder-decoder-step", 0.4, seed=4, kind="kernel", num_pairs=90),
        ]
    )


@functools.cache
def slower() -> CompareRecord:
    """Block-causal's first step takes 30 % longer, also when it was measured again."""
    return record(
        [
            paired_cell("encoder-decoder · sao-small", 550.0, seed=2),
            paired_cell(
                "block-causal · sao-small",
                300.0,
                seed=3,
                effects={"first_step": 1.3},
                num_confirming=2,
            ),
        ]
    )


@functools.cache
def faster() -> CompareRecord:
    """Everything in b takes 15 % less time."""
    return record(
        [paired_cell("block-causal · sao-small", seed=3, effects={"": 0.85}, num_confirming=2)]
    )


@functools.cache
def drifting() -> CompareRecord:
    """The machine was 12 % slower whenever it ran b."""
    return record([paired_cell(seed=3, b_drift=0.12, num_confirming=2)])


@functools.cache
def broken() -> CompareRecord:
    """b is no longer right."""
    wrong = CellSide("INCORRECT", "error 0.3 against its oracle", 0.3, 0.02, {}, None)
    cell = dataclasses.replace(paired_cell(seed=3, b=wrong), processes=())
    return record([paired_cell("encoder-decoder · sao-small", 550.0, seed=2), cell])


@functools.cache
def side_by_side() -> CompareRecord:
    """Two machines: nothing can be judged."""
    return record(
        [paired_cell(seed=3)],
        source="records",
        is_paired=False,
        is_same_machine=False,
        differing={"cpu": "AMD EPYC against Apple M4 Pro"},
    )


EXAMPLES = {
    "same": same,
    "slower": slower,
    "faster": faster,
    "drifting": drifting,
    "broken": broken,
    "side by side": side_by_side,
}
