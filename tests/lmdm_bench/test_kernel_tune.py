"""Tuning picks the candidate that is faster beyond doubt, by a planted clock and a planted card."""

import random
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from lmdm_bench import kernel_tune
from lmdm_bench.attention_backends import BACKENDS, Call, Inputs, Setting
from lmdm_bench.attention_cases import MODELS, PLANS, WINDOWS, Case, cases
from lmdm_bench.errors import UnsupportedError
from lmdm_bench.kernel_run import KernelsAsked
from lmdm_bench.kernel_timer import Timed
from lmdm_bench.kernel_tune import CASES_OF_A_ROW, MIN_ROUNDS, Tuned, rows_of, tune, words_of
from lmdm_bench.record import Choice, Estimate
from lmdm_kernels import LAUNCHES, Card, Launch, LaunchKey, load_launches, tuning_candidates

CARD = Card(capability=(8, 9), num_multiprocessors=24, shared_bytes=101_376)
DEVICE = torch.device("cuda")


class World:
    """What each launch costs and does; the clock moves by the samples."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.favourite: Launch | None = None
        self.gain = 0.5
        self.noise = random.Random(3)
        self.spread = 0.001
        self.broken: set[Launch] = set()
        self.wrong: set[Launch] = set()
        self.tried: list[Launch] = []

    def backend(self, setting: Setting) -> Call:
        (key,) = [one for one, launch in setting.launches.items() if launch != LAUNCHES[one]] or [
            None
        ]
        launch = LAUNCHES_KEY[0] if key is None else setting.launches[key]
        self.tried.append(launch)
        if launch in self.broken:
            raise RuntimeError("out of resource: shared memory")
        plain = BACKENDS["reference"](setting)

        def call(inputs: Inputs) -> Tensor:
            result = plain(inputs)
            return result * 2 if launch in self.wrong else result

        call.launch = launch  # type: ignore[attr-defined]
        self.last = launch
        return call

    def graphed(self, calls: Any, device: torch.device) -> Timed:
        launch = self.last

        def sample() -> float:
            ms = self.gain if launch == self.favourite else 1.0
            ms *= self.noise.lognormvariate(0, self.spread)
            self.seconds += ms / 1e3
            return ms

        return Timed(calls[0], sample)


LAUNCHES_KEY: list[Launch] = []


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    one = World()
    monkeypatch.setattr(kernel_tune, "card_of", lambda device: CARD)
    monkeypatch.setattr(kernel_tune, "BACKENDS", {"interval": one.backend})
    monkeypatch.setattr(kernel_tune.kernel_timer, "graphed", one.graphed)
    monkeypatch.setattr(
        kernel_tune.kernel_timer, "cache_bytes", lambda _: (1000, Choice("1 kB", "a fake"))
    )
    monkeypatch.setattr(kernel_tune, "free_bytes", lambda device: 1 << 30)
    monkeypatch.setattr(kernel_tune, "time", SimpleNamespace(monotonic=lambda: one.seconds))
    on_cpu = kernel_tune.random_inputs
    monkeypatch.setattr(
        kernel_tune,
        "random_inputs",
        lambda case, device, dtype, seed: on_cpu(case, torch.device("cpu"), dtype, seed),
    )
    monkeypatch.setattr(kernel_tune, "current", lambda device: nullcontext())
    return one


def some(plans: tuple[str, ...] = ("encoder-decoder-step",), window: str = "12+3") -> list[Case]:
    """With heads for which there are launches, though the model is tiny."""
    found = cases(plans, (window,), ("tiny",), (1,), bytes_per_number=2)
    return [replace(one, facts=replace(one.facts, head_dim=64)) for one in found]


def asked(of: list[Case], device: str = "cuda", minutes: float = 1.0) -> KernelsAsked:
    return KernelsAsked(
        cases=of,
        backends=("interval",),
        seed=0,
        budget_minutes=minutes,
        device=Choice(device, "a test"),
        dtype=Choice("bfloat16", "a test"),
        launches=LAUNCHES,
        launches_from=Choice("shipped", "a test"),
        command="lmdm-bench kernels --tune",
    )


def planted(world: World, of: list[Case]) -> tuple[LaunchKey, list[Launch]]:
    """The only row that the cases need, and its candidates."""
    ((key, _),) = rows_of(of, CARD, torch.bfloat16).items()
    LAUNCHES_KEY[:] = [LAUNCHES[key]]
    candidates = tuning_candidates(CARD, "bfloat16", 64, 4)
    return key, [one for one in candidates if one != LAUNCHES[key]]


def test_the_fastest_candidate_is_written(world: World, tmp_path: Path) -> None:
    of, said = some(), []
    key, others = planted(world, of)
    world.favourite = others[7]
    path = tmp_path / "launches.json"
    (found,) = tune(asked(of), path, said.append)
    assert found.is_changed and found.launch == others[7]
    assert found.ratio.value == pytest.approx(0.5, rel=0.01)
    assert (found.num_candidates, found.num_refused) == (len(others) + 1, 0)
    assert load_launches(path) == {**LAUNCHES, key: others[7]}
    assert len(said) == 1 and "0.500 of the shipped one's time" in said[0].replace("0.499", "0.500")


def test_what_is_not_faster_beyond_doubt_stays(world: World, tmp_path: Path) -> None:
    of = some()
    key, others = planted(world, of)
    world.favourite, world.gain, world.spread = others[3], 0.999, 0.2
    (found,) = tune(asked(of), tmp_path / "launches.json", lambda _: None)
    assert not found.is_changed and found.launch == LAUNCHES[key]
    assert "stays" in words_of(found)
    assert load_launches(tmp_path / "launches.json") == LAUNCHES


def test_candidates_that_break_or_are_wrong_are_refused(world: World, tmp_path: Path) -> None:
    of = some()
    _, others = planted(world, of)
    world.favourite = others[0]
    world.broken, world.wrong = {others[0]}, {others[1], others[2]}
    (found,) = tune(asked(of), tmp_path / "launches.json", lambda _: None)
    assert found.num_refused == 3
    assert found.launch not in others[:3]
    assert f"{len(others) + 1} tried, 3 refused" in words_of(found)


def test_a_shipped_launch_that_breaks_is_said(world: World, tmp_path: Path) -> None:
    of = some()
    key, _ = planted(world, of)
    world.broken = {LAUNCHES[key]}
    with pytest.raises(UnsupportedError, match=r"the shipped launch for .* does not run here"):
        tune(asked(of), tmp_path / "launches.json", lambda _: None)


def test_tuning_needs_a_gpu_and_heads_that_the_kernel_takes(world: World, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="on a CUDA device, got cpu"):
        tune(asked(some(), device="cpu"), tmp_path / "x.json", lambda _: None)
    tiny = cases(("full",), ("12+3",), ("tiny",), (1,), bytes_per_number=2)
    with pytest.raises(UnsupportedError, match="no row for these heads on sm_89"):
        tune(asked(tiny), tmp_path / "x.json", lambda _: None)
    assert not (tmp_path / "x.json").exists()


def test_each_row_is_measured_on_cases_that_it_is_for() -> None:
    every = cases(tuple(PLANS), WINDOWS, MODELS, (1, 2), bytes_per_number=2)
    rows = rows_of(every, CARD, torch.bfloat16)
    assert {key.head_dim for key in rows} == {64, 128}
    for key, of in rows.items():
        assert (key.arch, key.dtype) == ("sm_89", "half") and key in LAUNCHES
        assert 1 <= len(of) <= CASES_OF_A_ROW
        for case in of:
            longest = max(row.queries.size for row in case.plan)
            larger = [
                other.min_queries
                for other in LAUNCHES
                if other[:3] == key[:3] and key.min_queries < other.min_queries <= longest
            ]
            assert key.min_queries <= longest and not larger
    assert {key.dtype for key in rows_of(every, CARD, torch.float32)} == {"float32"}


def test_a_row_is_told_in_a_line() -> None:
    launch = Launch(64, 32, 1, 4, 3)
    key = LaunchKey("sm_89", "half", 64, 64)
    ratio = Estimate(0.9312, (0.92, 0.94), MIN_ROUNDS, "order statistics", None)
    told = words_of(Tuned(key, launch, replace(launch, num_warps=8), ratio, 36, 0))
    assert told == (
        "half 64 from 64 queries: 64 × 32, 4 warps, 3 stages, 0.931 of the shipped one's time "
        "(36 tried)"
    )


@pytest.mark.gpu
def test_a_gpu_is_tuned(tmp_path: Path) -> None:
    of = cases(("encoder-decoder-step",), ("48+16",), ("sao-1.0",), (1,), bytes_per_number=2)
    path = tmp_path / "launches.json"
    (found,) = tune(asked(of, minutes=0.1), path, lambda _: None)
    assert load_launches(path)[found.key] == found.launch
    assert found.num_refused < found.num_candidates
