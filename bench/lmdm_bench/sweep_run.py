"""A claims run: memory in processes of their own, then rounds over all points until time is over.

Every round visits each point once, in a seeded order of its own; what is compared with each other
(the schemes at the same lengths and steps) is visited back to back, in random order. The record is
written after each round, so that a run can be stopped at any time and taken up again.
"""

import datetime
import gc
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lmdm_bench import subjects
from lmdm_bench.claims_record import (
    CLAIMS_SCHEMA_VERSION,
    ClaimsRecord,
    ClaimsSettings,
    MemoryProbe,
    Point,
    Visit,
    save_claims,
)
from lmdm_bench.clock import Stopwatch, synchroniser
from lmdm_bench.errors import InputError
from lmdm_bench.machine import describe_machine
from lmdm_bench.memory import free_bytes
from lmdm_bench.memory_probe import probe
from lmdm_bench.record import Ceiling, Check, Choice, Cost, Status, Workload
from lmdm_bench.request import Request
from lmdm_bench.stream_run import status_of
from lmdm_bench.sweep import (
    BLOCK_FRAMES,
    CONTEXT_FRAMES,
    LMM_SHORT_BLOCK,
    MIN_ROUNDS,
    PAPER_STEPS,
    Spot,
    candidates,
    within,
)
from lmdm_bench.tool import describe_tool

SECONDS_PER_MINUTE = 60.0
MS_PER_SECOND = 1e3
BYTES_PER_GB = 1e9

MEMORY_REPEATS = 2
# Before anything is measured a block is taken to need so many times its bound.
GUESSED_TIMES_BOUND = 2.0
# Building and checking a model takes about as long as this many seconds for each GB of weights.
BUILD_SECONDS_PER_GB = 12.0
# A model that is not needed stays away where its weights would take more of the free memory.
FREE_MEMORY_SHARE = 0.3
# Attention alone is timed so often in a visit; the median counts.
ATTENTION_TRIES = 3
# The last round begins only if this share of it fits into what is left.
LAST_ROUND_SHARE = 0.9


@dataclass(frozen=True, kw_only=True)
class ClaimsAsked:
    """A valid request with what surrounds it."""

    request: Request
    budget_minutes: float
    device: Choice
    dtype: Choice
    command: str


@dataclass
class _Lane:
    """One spot while it runs."""

    spot: Spot
    workload: Workload
    cost: Cost
    subject: subjects.SomeSubject | None = None
    attend_alone: Callable[[], object] | None = None
    check: Check | None = None
    status: Status = "OK"
    reason: str | None = None
    warm_seconds: float = 0.0
    visits: list[Visit] = field(default_factory=list)

    @property
    def preset(self) -> tuple[str, str]:
        """The scheme and model that are checked together."""
        return self.workload.scheme, self.workload.model

    def point(self) -> Point:
        return Point(
            workload=self.workload,
            sweeps=self.spot.sweeps,
            cost=self.cost,
            status=self.status,
            reason=self.reason,
            check=self.check,
            visits=tuple(self.visits),
        )


class ClaimsRun:
    """One run from request to record; ``say`` takes a line for the user."""

    def __init__(
        self,
        asked: ClaimsAsked,
        ceiling: Ceiling,
        path: Path,
        say: Callable[[str], None],
        begun: ClaimsRecord | None = None,
    ) -> None:
        """``begun`` is a record to go on from. Raises InputError where it is not this run's."""
        self._asked = asked
        self._request = asked.request
        self._ceiling = ceiling if begun is None else begun.ceiling
        self._path = path
        self._say = say
        self._machine = describe_machine(asked.request.device)
        self._tool = describe_tool()
        self._created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._grid = "nothing was visited"
        self._linear = Choice("not built", "no model could be built")
        self._memory: list[MemoryProbe] = []
        self._models: dict[str, subjects.Model] = {}
        self._lanes: list[_Lane] = []
        self._round = 0
        self._is_interrupted = False
        self._begun = begun
        if begun is not None:
            self._check_same(begun)
            self._created = begun.created
            self._memory = [one for one in begun.memory if one.status == "OK"]
            self._lanes = self._taken_up(begun)
        self._deadline = time.monotonic() + asked.budget_minutes * SECONDS_PER_MINUTE

    def run(self) -> ClaimsRecord:
        """Measure until the time is over or Ctrl-C; the record is on disk when this returns."""
        try:
            self._measure_memory()
            if self._begun is None:
                self._lanes = self._picked()
            self._build()
            self._check_all()
            self._warm_up()
            self._prune()
            self._visit_rounds()
        except KeyboardInterrupt:
            self._is_interrupted = True
            for lane in self._lanes:
                if lane.status == "OK" and not lane.visits:
                    lane.status, lane.reason = "INTERRUPTED", "stopped before its first visit"
        return self._save()

    def _check_same(self, begun: ClaimsRecord) -> None:
        asked = self._asked
        for what, then, now in (
            ("machine", begun.machine.name, self._machine.name),
            ("device", begun.settings.device.value, asked.device.value),
            ("dtype", begun.settings.dtype.value, asked.dtype.value),
            ("attention", begun.settings.attention, asked.request.attention),
            ("graph", _is_graphed(begun), asked.request.is_graphed if begun.points else False),
            ("seed", begun.settings.seed, asked.request.seed),
            ("commit", begun.tool.git_commit, self._tool.git_commit),
            ("torch", begun.tool.packages.get("torch"), self._tool.packages.get("torch")),
        ):
            if then != now:
                raise InputError(f"this run cannot be taken up again: its {what} was {then}")

    def _measure_memory(self) -> None:
        known = {one.workload.scheme for one in self._memory}
        for scheme in self._request.schemes:
            if scheme not in known:
                self._say(f"memory of {scheme}, in processes of its own")
                request = replace(
                    self._request,
                    schemes=(scheme,),
                    steps=min(self._request.steps, 2),
                    lmm_models=self._models_of(self._request, scheme),
                    lmm_block_frames=LMM_SHORT_BLOCK,
                )
                workload, cost = self._workload(request, scheme)
                self._memory.append(probe(request, workload, cost, MEMORY_REPEATS))

    def _picked(self) -> list[_Lane]:
        """Lanes for the spots that fit."""
        free = free_bytes(self._request.device) * FREE_MEMORY_SHARE
        spots = [
            spot
            for spot in candidates(self._request, self._level_range)
            if not spot.rank or self._workload_of(spot)[1].footprint.weight_bytes < free
        ]
        spots = within(spots, self._guess, self._round_seconds(1))
        return [_Lane(spot, *self._workload_of(spot)) for spot in spots]

    def _taken_up(self, begun: ClaimsRecord) -> list[_Lane]:
        """The lanes that the begun run had. Raises InputError where this run would lose any."""
        visited = {point.workload: point for point in begun.points}
        lanes = []
        for spot in candidates(self._request, self._level_range):
            workload, cost = self._workload_of(spot)
            if point := visited.pop(workload, None):
                lane = _Lane(spot, workload, cost, check=point.check, visits=list(point.visits))
                lanes.append(lane)
                self._round = max([self._round, *(one.round_index + 1 for one in lane.visits)])
        for workload in visited:
            raise InputError(
                f"this run cannot be taken up again: it also visited {workload.scheme} "
                f"of {workload.model}, which is not asked for now"
            )
        return lanes

    def _build(self) -> None:
        for lane in self._lanes:
            if lane.status != "OK":
                continue
            try:
                lane.subject = self._model(lane).subject(
                    lane.workload.scheme, lane.cost, self._one_scheme(lane.spot)
                )
                if "context" in lane.spot.sweeps:
                    lane.attend_alone = lane.subject.attention_alone()
            except (MemoryError, RuntimeError, ValueError) as error:
                self._fail(lane, error)

    def _check_all(self) -> None:
        """Nothing is timed that was not checked: one lane for each scheme and model."""
        checks: dict[tuple[str, str], Check | Exception] = {}
        for lane in self._lanes:
            if lane.subject is None:
                continue
            if lane.preset not in checks:
                scheme, model = lane.preset
                self._say(f"checking {scheme} ({model}) against its oracle")
                try:
                    checks[lane.preset] = lane.subject.check()
                except (MemoryError, RuntimeError, ValueError, ArithmeticError) as error:
                    checks[lane.preset] = error
            found = checks[lane.preset]
            if isinstance(found, Exception):
                self._fail(lane, found)
                continue
            lane.check = found
            if not found.is_within_budget:
                lane.status, lane.subject = "INCORRECT", None
                lane.reason = f"error {found.error:.2g} is over the budget of {found.budget:.2g}"

    def _warm_up(self) -> None:
        self._say(f"warming up {len(self._running)} points")
        for lane in self._running:
            try:
                assert lane.subject is not None
                lane.subject.prefill()
                start = time.monotonic()
                self._visit(lane, 0)
                lane.warm_seconds = time.monotonic() - start
            except (MemoryError, RuntimeError, ValueError, ArithmeticError) as error:
                self._fail(lane, error)

    def _prune(self) -> None:
        """Leave out what the time cannot hold often enough, by the warm-up's own times."""
        lanes = {id(lane.spot): lane for lane in self._lanes}
        all_spots = [lane.spot for lane in self._lanes]
        kept = all_spots
        if self._begun is None:
            kept = within(
                all_spots, lambda spot: lanes[id(spot)].warm_seconds, self._round_seconds(0)
            )
        self._lanes = [lane for lane in self._lanes if lane.spot in kept]
        possible = candidates(self._request, self._level_range)
        left_out = [self._words(spot) for spot in possible if spot not in kept]
        self._grid = f"{len(kept)} of {len(possible)} workloads fit into the time"
        if left_out:
            self._grid += f"; left out: {', '.join(left_out)}"
        self._say(self._grid)

    def _visit_rounds(self) -> None:
        gc.collect()
        gc.freeze()
        longest = sum(lane.warm_seconds for lane in self._running)
        try:
            while self._running and (not self._round or self._left() > LAST_ROUND_SHARE * longest):
                start = time.monotonic()
                for lane in self._order():
                    try:
                        lane.visits.append(self._visit(lane, self._round))
                    except (MemoryError, RuntimeError, ValueError, ArithmeticError) as error:
                        self._fail(lane, error)
                self._round += 1
                longest = max(longest, time.monotonic() - start)
                self._save()
                self._say(
                    f"round {self._round}: {time.monotonic() - start:.0f} s, "
                    f"{max(0.0, self._left()) / SECONDS_PER_MINUTE:.1f} minutes left"
                )
        finally:
            gc.unfreeze()

    def _order(self) -> list[_Lane]:
        """This round's order: groups of the same request in random order, and so inside them."""
        shuffle = random.Random(f"{self._request.seed}/{self._round}")
        groups: dict[Request, list[_Lane]] = {}
        for lane in self._running:
            groups.setdefault(lane.spot.request, []).append(lane)
        ordered = shuffle.sample(list(groups.values()), len(groups))
        return [lane for group in ordered for lane in shuffle.sample(group, len(group))]

    def _visit(self, lane: _Lane, index: int) -> Visit:
        assert lane.subject is not None
        synchronise = synchroniser(self._request.device)
        watch = Stopwatch(synchronise)
        with watch.block():
            lane.subject.make_block(watch)
        attention_ms = None
        if lane.attend_alone is not None:
            alone = Stopwatch(synchronise)
            for _ in range(ATTENTION_TRIES):
                with alone.stage("attention"):
                    lane.attend_alone()
            attention_ms = statistics.median(alone.stages_ms["attention"])
        encode = watch.stages_ms.get("context_encode")
        return Visit(index, watch.total_ms, sum(encode) if encode else None, attention_ms)

    @property
    def _running(self) -> list[_Lane]:
        return [lane for lane in self._lanes if lane.status == "OK" and lane.subject is not None]

    def _fail(self, lane: _Lane, error: Exception) -> None:
        lane.status, lane.reason = status_of(error)
        lane.subject = None

    def _model(self, lane: _Lane) -> subjects.Model:
        """The weights of a lane, built once for all lanes of a diffusion model, or of an LMM."""
        preset = lane.workload.model
        if preset not in self._models:
            self._say(f"building {preset}")
            self._models[preset] = subjects.Model(self._one_scheme(lane.spot), has_codec=False)
            self._linear = self._models[preset].linear
        return self._models[preset]

    def _one_scheme(self, spot: Spot) -> Request:
        models = self._models_of(spot.request, spot.scheme)
        return replace(spot.request, schemes=(spot.scheme,), lmm_models=models)

    def _models_of(self, request: Request, scheme: str) -> tuple[str, ...]:
        preset = subjects.preset_of(request, scheme)
        return (preset,) if scheme in subjects.LMM_SCHEMES else ()

    def _workload_of(self, spot: Spot) -> tuple[Workload, Cost]:
        return self._workload(spot.request, spot.scheme)

    def _workload(self, request: Request, scheme: str) -> tuple[Workload, Cost]:
        return (
            subjects.workload_of(request, scheme),
            subjects.cost_of(request, scheme, self._ceiling),
        )

    def _level_range(self, scheme: str) -> tuple[int, int]:
        return subjects.level_range(self._request, scheme)

    def _guess(self, spot: Spot) -> float:
        return GUESSED_TIMES_BOUND * self._workload_of(spot)[1].bound_ms / MS_PER_SECOND

    def _round_seconds(self, rounds_before: int) -> float:
        """How long a round may be so that enough of them fit, after so many that do not count."""
        left = self._left()
        if rounds_before:
            weights = {
                subjects.preset_of(self._request, scheme): self._workload(self._request, scheme)[1]
                for scheme in self._request.schemes
            }
            build_bytes = sum(cost.footprint.weight_bytes for cost in weights.values())
            left -= BUILD_SECONDS_PER_GB * build_bytes / BYTES_PER_GB
        return left / (MIN_ROUNDS + rounds_before)

    def _left(self) -> float:
        return self._deadline - time.monotonic()

    def _words(self, spot: Spot) -> str:
        work = self._workload_of(spot)[0]
        if work.steps is None:
            return f"{work.scheme} {work.model} {work.context_frames} + {work.block_frames}"
        return (
            f"{work.scheme} {work.model} {work.context_frames} + {work.block_frames} "
            f"at {work.steps} steps"
        )

    def _save(self) -> ClaimsRecord:
        asked = self._asked
        record = ClaimsRecord(
            schema_version=CLAIMS_SCHEMA_VERSION,
            created=self._created,
            tool=self._tool,
            machine=self._machine,
            ceiling=self._ceiling,
            settings=ClaimsSettings(
                command=asked.command,
                seed=self._request.seed,
                budget_minutes=asked.budget_minutes,
                grid=self._grid,
                device=asked.device,
                dtype=asked.dtype,
                linear=self._linear,
                attention=self._request.attention,
                is_interrupted=self._is_interrupted,
            ),
            points=tuple(lane.point() for lane in self._lanes),
            memory=tuple(self._memory),
        )
        save_claims(record, self._path)
        return record


def _is_graphed(begun: ClaimsRecord) -> bool:
    return any(point.workload.is_graphed for point in begun.points)


def paper_request(
    schemes: Sequence[str],
    model: str,
    lmm_models: Sequence[str],
    dtype: str,
    device: str,
    attention: str,
    seed: int,
    *,
    is_graphed: bool = False,
) -> Request:
    """The paper's setting, around which the sweeps go."""
    return Request(
        schemes=tuple(schemes),
        model=model,
        context_frames=CONTEXT_FRAMES,
        block_frames=BLOCK_FRAMES,
        steps=PAPER_STEPS,
        sampler="pingpong",
        guidance_scale=1.0,
        lmm_models=tuple(lmm_models),
        lmm_context_frames=None,
        lmm_block_frames=None,
        lmm_levels=None,
        dtype=dtype,
        device=device,
        attention=attention,
        is_graphed=is_graphed,
        checkpoint=None,
        seed=seed,
    )
