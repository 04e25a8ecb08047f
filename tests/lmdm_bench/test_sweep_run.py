"""A claims run over models that are right, wrong, failing or interrupted, against a planted clock.

Most runs here are of fakes that cost what the test says; one is of the five tiny models.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import claims_records
from lmdm_bench import sweep_run
from lmdm_bench.claims_record import ClaimsRecord, MemoryProbe, Point, load_claims
from lmdm_bench.clock import Stopwatch
from lmdm_bench.errors import InputError
from lmdm_bench.record import Check, Choice, Cost, Machine, Workload
from lmdm_bench.request import Request
from lmdm_bench.subjects import LMM_SCHEMES, SCHEMES, preset_of, validate
from lmdm_bench.sweep import MIN_ROUNDS, candidates
from lmdm_bench.sweep_run import ATTENTION_TRIES, ClaimsAsked, ClaimsRun, paper_request
from records import CPU_CEILING

RIGHT = Check("an oracle", 2, 2, 1e-7, 1e-7, 3e-7, is_within_budget=True)
WRONG = Check("an oracle", 2, 2, 1e-2, 1e-7, 3e-7, is_within_budget=False)
TINY_LMMS = ("mrt1-tiny", "mrt2-tiny")
CACHED = ("encoder-decoder", "block-causal")


@dataclass
class World:
    """The clock, what each block costs and does, and what was seen to happen."""

    seconds: float = 0.0
    block_seconds: Callable[[Workload], float] = lambda workload: 1.0
    encode_share: float = 0.25
    attention_seconds: tuple[float, ...] = (0.0, 0.0, 0.0)
    act: Callable[[Workload, int], None] = lambda workload, number: None
    check: Callable[[str], Check] = lambda scheme: RIGHT
    build: Callable[[Workload], None] = lambda workload: None
    models: list[str] = field(default_factory=list)
    checked: list[tuple[str, str]] = field(default_factory=list)
    made: list[Workload] = field(default_factory=list)
    attended: Counter[Workload] = field(default_factory=Counter)
    probed: list[Request] = field(default_factory=list)
    saved: list[bytes] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def rounds(self, num_points: int) -> list[list[Workload]]:
        """The blocks after the warm-up, round by round, where all points go on."""
        later = self.made[num_points:]
        return [later[start : start + num_points] for start in range(0, len(later), num_points)]


@dataclass
class FakeSubject:
    world: World
    workload: Workload
    cost: Cost

    def check(self) -> Check:
        self.world.checked.append((self.workload.scheme, self.workload.model))
        return self.world.check(self.workload.scheme)

    def prefill(self) -> None:
        assert self.workload.scheme in {scheme for scheme, _ in self.world.checked}

    def make_block(self, watch: Stopwatch) -> None:
        world, number = self.world, self.world.made.count(self.workload)
        seconds = world.block_seconds(self.workload)
        if self.workload.scheme.endswith("encoder-decoder"):
            with watch.stage("context_encode"):
                world.seconds += world.encode_share * seconds
                seconds *= 1 - world.encode_share
        with watch.stage("step"):
            world.act(self.workload, number)
            world.seconds += seconds
        world.made.append(self.workload)

    def attention_alone(self) -> Callable[[], None] | None:
        if self.workload.scheme not in CACHED:
            return None
        return self._attend

    def _attend(self) -> None:
        world = self.world
        before = world.attended[self.workload]
        world.seconds += world.attention_seconds[before % len(world.attention_seconds)]
        world.attended[self.workload] += 1


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Fakes for models, clock, memory probes and the machine; what is saved is counted."""
    one = World()
    example = claims_records.agreeing()

    class FakeModel:
        linear = Choice("packed", "a fake")

        def __init__(self, request: Request, *, has_codec: bool = True) -> None:
            assert not has_codec
            (scheme,) = request.schemes
            validate(request)
            one.models.append(preset_of(request, scheme))

        def subject(self, scheme: str, cost: Cost, request: Request) -> FakeSubject:
            work = sweep_run.subjects.workload_of(request, scheme)
            one.build(work)
            return FakeSubject(one, work, cost)

    def probe(request: Request, workload: Workload, cost: Cost, repeats: int) -> MemoryProbe:
        one.probed.append(request)
        return MemoryProbe(workload, cost, "OK", None, tuple(range(100, 100 + repeats)))

    save = sweep_run.save_claims

    def saving(record: ClaimsRecord, path: Path) -> None:
        save(record, path)
        one.saved.append(path.read_bytes())

    monkeypatch.setattr(sweep_run.subjects, "Model", FakeModel)
    monkeypatch.setattr(sweep_run, "time", SimpleNamespace(monotonic=lambda: one.seconds))
    monkeypatch.setattr(Stopwatch, "_now", lambda self: 1e3 * one.seconds)
    monkeypatch.setattr(sweep_run, "probe", probe)
    monkeypatch.setattr(sweep_run, "save_claims", saving)
    monkeypatch.setattr(sweep_run, "describe_machine", lambda device: example.machine)
    monkeypatch.setattr(sweep_run, "describe_tool", lambda: example.tool)
    monkeypatch.setattr(sweep_run, "free_bytes", lambda device: 1 << 40)
    return one


def request_of(*schemes: str, seed: int = 0) -> Request:
    models = [
        name for name, scheme in zip(TINY_LMMS, LMM_SCHEMES, strict=True) if scheme in schemes
    ]
    return paper_request(schemes, "tiny", models, "float32", "cpu", "range", seed)


def asked(request: Request, budget_minutes: float) -> ClaimsAsked:
    return ClaimsAsked(
        request=request,
        budget_minutes=budget_minutes,
        device=Choice(request.device, "asked for"),
        dtype=Choice(request.dtype, "asked for"),
        command="lmdm-bench claims",
    )


@dataclass
class Runner:
    """Runs into one folder."""

    world: World
    path: Path

    def __call__(
        self,
        *schemes: str,
        budget_minutes: float = 4.0,
        begun: ClaimsRecord | None = None,
        request: Request | None = None,
    ) -> ClaimsRecord:
        request = request or request_of(*(schemes or CACHED))
        told = asked(request, budget_minutes)
        record = ClaimsRun(told, CPU_CEILING, self.path, self.world.said.append, begun).run()
        assert load_claims(self.path) == record
        return record


@pytest.fixture
def run(world: World, tmp_path: Path) -> Runner:
    return Runner(world, tmp_path / "claims.json")


def possible(*schemes: str) -> int:
    request = request_of(*(schemes or CACHED))
    return len(candidates(request, lambda scheme: sweep_run.subjects.level_range(request, scheme)))


def found(record: ClaimsRecord, **axes: object) -> list[Point]:
    return [
        point
        for point in record.points
        if all(getattr(point.workload, name) == value for name, value in axes.items())
    ]


# --- A whole run -----------------------------------------------------------------------------


def test_five_tiny_models_are_measured_in_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real models and a real clock; the budget is over after the first round."""
    monkeypatch.setattr(
        sweep_run,
        "probe",
        lambda request, workload, cost, repeats: MemoryProbe(workload, cost, "OK", None, (7,)),
    )
    path = tmp_path / "claims.json"
    told = asked(request_of(*SCHEMES), budget_minutes=1e-3)
    record = ClaimsRun(told, CPU_CEILING, path, lambda words: None).run()
    assert load_claims(path) == record
    assert {point.status for point in record.points} == {"OK"}
    assert {point.workload.scheme for point in record.points} == set(SCHEMES)
    assert [one.workload.scheme for one in record.memory] == list(SCHEMES)
    assert not record.settings.is_interrupted
    assert record.settings.linear.value in ("packed", "plain")
    for point in record.points:
        assert [visit.round_index for visit in point.visits] == [0]
        assert point.check is not None and point.check.is_within_budget
        (visit,) = point.visits
        scheme = point.workload.scheme
        encode = visit.context_encode_ms
        assert (encode is not None) == scheme.endswith("encoder-decoder")
        assert visit.service_ms > (encode or 0.0)
        has_attention = scheme in CACHED and "context" in point.sweeps
        assert (visit.attention_ms is not None) == has_attention


def test_every_point_is_visited_once_in_every_round(run: Runner, world: World) -> None:
    record = run()
    num_points = len(record.points)
    assert num_points == possible()
    rounds = world.rounds(num_points)
    assert len(rounds) >= MIN_ROUNDS
    for one in rounds:
        assert len(set(one)) == len(one) == num_points
    indices = list(range(len(rounds)))
    assert all([v.round_index for v in point.visits] == indices for point in record.points)


def test_each_round_has_an_order_of_its_own_that_the_seed_decides(
    run: Runner, world: World
) -> None:
    orders = []
    for seed in (0, 0, 1):
        world.made.clear()
        record = run(request=request_of(*CACHED, seed=seed))
        orders.append(world.rounds(len(record.points)))
    first, again, other = orders
    assert first == again
    assert all(one != another for one, another in zip(first, other, strict=True))
    assert all(one != following for one, following in pairwise(first))


def test_what_is_compared_is_visited_back_to_back_in_random_order(
    run: Runner, world: World
) -> None:
    record = run(*SCHEMES, budget_minutes=8)
    firsts = set()
    for one in world.rounds(len(record.points)):
        diffusion = [work for work in one if work.steps is not None]
        groups = [
            [work.scheme for work in group]
            for _, group in groupby(
                diffusion, lambda work: (work.context_frames, work.block_frames, work.steps)
            )
        ]
        # As many groups as there are settings: none is torn apart.
        assert len(groups) == len(
            {(work.context_frames, work.block_frames, work.steps) for work in diffusion}
        )
        firsts |= {tuple(group) for group in groups if len(group) == 3}
    assert len(firsts) == 6  # every order of three schemes came


def test_the_record_is_whole_on_disk_after_every_round(run: Runner, world: World) -> None:
    record = run()
    rounds = len(record.points[0].visits)
    for index, content in enumerate(world.saved):
        run.path.write_bytes(content)
        points = load_claims(run.path).points
        assert len(points) == len(record.points)
        assert {len(point.visits) for point in points} == {min(index + 1, rounds)}
    assert len(world.saved) == rounds + 1


def test_settings_say_what_was_asked(run: Runner) -> None:
    record = run(budget_minutes=9.0)
    settings = record.settings
    assert (settings.budget_minutes, settings.seed) == (9.0, 0)
    assert (settings.device.value, settings.dtype.value) == ("cpu", "float32")
    assert (settings.attention, settings.linear.value) == ("range", "packed")
    assert settings.command == "lmdm-bench claims"
    assert record.ceiling == CPU_CEILING


def test_the_paper_s_setting_is_the_middle_of_all_sweeps() -> None:
    request = request_of(*SCHEMES)
    lengths = (request.context_frames, request.block_frames, request.steps)
    assert lengths == (192, 48, 8)
    assert (request.sampler, request.guidance_scale) == ("pingpong", 1.0)
    assert (request.lmm_context_frames, request.lmm_levels, request.checkpoint) == (None,) * 3


# --- Time ------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget_minutes", [3.0, 4.0, 8.0])
def test_rounds_fill_the_budget_and_no_more(
    run: Runner, world: World, budget_minutes: float
) -> None:
    record = run(budget_minutes=budget_minutes)
    round_seconds = float(len(record.points))
    assert len(record.points[0].visits) >= MIN_ROUNDS
    assert world.seconds <= 60 * budget_minutes + 0.1 * round_seconds
    assert world.seconds > 60 * budget_minutes - round_seconds


def test_too_little_time_leaves_the_least_needed_out_and_says_so(run: Runner, world: World) -> None:
    slow = {"block-causal", "encoder-decoder"}
    needed = [
        spot for spot in candidates(request_of(*slow), lambda scheme: (1, 1)) if not spot.rank
    ]
    record = run(budget_minutes=0.5)
    assert len(record.points) == len(needed) < possible()
    assert {point.workload.block_frames for point in record.points} == {48}
    assert f"{len(needed)} of {possible()} workloads fit" in record.settings.grid
    assert "block-causal tiny 192 + 12 at 4 steps" in record.settings.grid
    # What is needed is measured once even so.
    assert all(len(point.visits) == 1 for point in record.points)


def test_what_turns_out_dear_is_left_out_after_the_warm_up(run: Runner, world: World) -> None:
    """Arithmetic alone had let all points in."""
    world.block_seconds = lambda work: 1000.0 if work.block_frames == 96 else 5.0
    record = run(budget_minutes=60)
    assert {work.block_frames for work in world.made} == {12, 24, 48, 96}
    assert {point.workload.block_frames for point in record.points} == {12, 24, 48}
    assert "192 + 96 at 4 steps" in record.settings.grid
    assert all(len(point.visits) >= MIN_ROUNDS for point in record.points)


def test_a_model_too_large_for_the_free_memory_stays_away(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep_run, "free_bytes", lambda device: 0)
    record = run()
    assert {point.workload.block_frames for point in record.points} == {48}


# --- Memory ----------------------------------------------------------------------------------


def test_memory_of_each_scheme_is_probed_alone_and_with_few_steps(
    run: Runner, world: World
) -> None:
    record = run(*SCHEMES, budget_minutes=8)
    assert [one.schemes for one in world.probed] == [(scheme,) for scheme in SCHEMES]
    assert {one.steps for one in world.probed} == {2}
    assert [one.lmm_models for one in world.probed] == [(), (), (), *((m,) for m in TINY_LMMS)]
    for probed, request in zip(record.memory, world.probed, strict=True):
        (scheme,) = request.schemes
        assert probed.workload == sweep_run.subjects.workload_of(request, scheme)
        assert len(probed.grown_bytes) == 2


# --- What goes wrong -------------------------------------------------------------------------


def test_a_point_that_fails_is_a_row_and_the_others_go_on(run: Runner, world: World) -> None:
    def act(work: Workload, number: int) -> None:
        if (work.scheme, work.context_frames) == ("block-causal", 768) and number == 3:
            raise FloatingPointError("the block has numbers that are not finite")

    world.act = act
    record = run()
    (failed,) = found(record, scheme="block-causal", context_frames=768)
    assert failed.status == "FAILED"
    assert failed.reason is not None and "not finite" in failed.reason
    assert [visit.round_index for visit in failed.visits] == [0, 1]
    others = [point for point in record.points if point is not failed]
    assert {point.status for point in others} == {"OK"}
    assert min(len(point.visits) for point in others) >= MIN_ROUNDS


def test_a_point_that_fails_in_its_warm_up_is_a_row_without_visits(
    run: Runner, world: World
) -> None:
    def act(work: Workload, number: int) -> None:
        if work.context_frames == 1536:
            raise MemoryError("no room")

    world.act = act
    record = run()
    failed = found(record, context_frames=1536)
    assert len(failed) == 2
    assert all((one.status, one.visits) == ("OOM", ()) for one in failed)
    assert {one.status for one in found(record, context_frames=192)} == {"OK"}


def test_a_wrong_scheme_is_never_timed(run: Runner, world: World) -> None:
    world.check = lambda scheme: WRONG if scheme == "block-causal" else RIGHT
    record = run()
    wrong = found(record, scheme="block-causal")
    assert wrong and {(one.status, one.visits) for one in wrong} == {("INCORRECT", ())}
    assert all(one.check == WRONG and "over the budget" in str(one.reason) for one in wrong)
    assert {work.scheme for work in world.made} == {"encoder-decoder"}
    assert {one.status for one in found(record, scheme="encoder-decoder")} == {"OK"}


def test_a_check_that_raises_is_a_failure_of_all_its_points(run: Runner, world: World) -> None:
    def check(scheme: str) -> Check:
        if scheme == "encoder-decoder":
            raise RuntimeError("a shape is off")
        return RIGHT

    world.check = check
    record = run()
    failed = found(record, scheme="encoder-decoder")
    assert failed and {one.status for one in failed} == {"FAILED"}
    assert {work.scheme for work in world.made} == {"block-causal"}


def test_each_scheme_and_model_is_checked_once_and_built_once(run: Runner, world: World) -> None:
    run(*SCHEMES, budget_minutes=8)
    models = ("tiny", "tiny", "tiny", *TINY_LMMS)
    assert sorted(world.checked) == sorted(zip(SCHEMES, models, strict=True))
    assert world.models == ["tiny", *TINY_LMMS]


def test_no_memory_to_build_is_a_row(run: Runner, world: World) -> None:
    def build(work: Workload) -> None:
        if work.model == "mrt1-tiny":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 99 bytes")

    world.build = build
    record = run(*SCHEMES, budget_minutes=8)
    lmm = found(record, model="mrt1-tiny")
    assert lmm and {(one.status, one.visits, one.check) for one in lmm} == {("OOM", (), None)}
    assert {one.status for one in record.points if one not in lmm} == {"OK"}


def test_where_nothing_can_be_built_the_record_says_so(
    run: Runner, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MemoryError("no room for the weights")

    monkeypatch.setattr(sweep_run.subjects, "Model", refuse)
    record = run()
    assert {point.status for point in record.points} == {"OOM"}
    assert record.settings.linear.value == "not built"
    assert world.made == []


# --- Stopped, and taken up again -------------------------------------------------------------


def interrupting(world: World, at: int) -> Callable[[Workload, int], None]:
    def act(work: Workload, number: int) -> None:
        if len(world.made) == at:
            raise KeyboardInterrupt

    return act


def test_ctrl_c_in_a_round_keeps_what_is_there(run: Runner, world: World) -> None:
    num_points = possible()
    world.act = interrupting(world, 3 * num_points + 5)  # warm-up, two rounds, five visits
    record = run()
    assert record.settings.is_interrupted
    visits = Counter(len(point.visits) for point in record.points)
    assert visits == {2: num_points - 5, 3: 5}
    assert {point.status for point in record.points} == {"OK"}


def test_a_point_that_ctrl_c_leaves_without_a_visit_says_so(run: Runner, world: World) -> None:
    num_points = possible()
    world.act = interrupting(world, num_points + 5)
    record = run()
    assert Counter(point.status for point in record.points) == {
        "OK": 5,
        "INTERRUPTED": num_points - 5,
    }
    assert all(len(point.visits) == (point.status == "OK") for point in record.points)


def test_ctrl_c_while_memory_is_measured_leaves_a_record(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep_run, "probe", stop)
    record = run()
    assert record.settings.is_interrupted
    assert (record.points, record.memory) == ((), ())


def test_a_run_goes_on_with_its_points_in_later_rounds(run: Runner, world: World) -> None:
    first = run(budget_minutes=4)
    before = len(first.points[0].visits)
    world.probed.clear()
    world.made.clear()
    second = run(budget_minutes=5, begun=first)
    assert [one.workload for one in second.points] == [one.workload for one in first.points]
    for old, new in zip(first.points, second.points, strict=True):
        assert new.visits[:before] == old.visits
        assert [visit.round_index for visit in new.visits] == list(range(len(new.visits)))
        assert len(new.visits) > before
    assert (second.created, second.ceiling) == (first.created, first.ceiling)
    assert second.memory == first.memory
    assert world.probed == []
    assert second.settings.budget_minutes == 5
    # The seed's next rounds, not the first ones again.
    world.made.clear()
    whole = run(budget_minutes=9)
    rounds = world.rounds(len(whole.points))
    world.made.clear()
    run(budget_minutes=3, begun=first)
    assert world.rounds(len(whole.points))[0] == rounds[before]


def test_a_pruned_run_goes_on_with_the_points_it_has(run: Runner) -> None:
    first = run(budget_minutes=0.5)
    assert len(first.points) < possible()
    second = run(budget_minutes=4, begun=first)
    assert [one.workload for one in second.points] == [one.workload for one in first.points]


def test_what_failed_is_tried_again(run: Runner, world: World) -> None:
    def act(work: Workload, number: int) -> None:
        if work.context_frames == 768 and number == 3:
            raise MemoryError("no room")

    world.act = act
    first = run(budget_minutes=3)
    assert {one.status for one in found(first, context_frames=768)} == {"OOM"}
    world.act = lambda work, number: None
    second = run(budget_minutes=3, begun=first)
    assert {one.status for one in second.points} == {"OK"}
    for old, new in zip(first.points, second.points, strict=True):
        assert new.visits[: len(old.visits)] == old.visits


def test_memory_that_could_not_be_measured_is_measured_again(run: Runner, world: World) -> None:
    first = run(budget_minutes=3)
    failed = replace(first.memory[0], status="OOM", reason="no room", grown_bytes=())
    world.probed.clear()
    second = run(begun=replace(first, memory=(failed, *first.memory[1:])))
    assert [one.schemes for one in world.probed] == [(first.memory[0].workload.scheme,)]
    assert {one.status for one in second.memory} == {"OK"}


@pytest.mark.parametrize("stage", ["memory", "build", "warm-up"])
def test_ctrl_c_in_a_resumed_run_loses_nothing(
    run: Runner, world: World, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(budget_minutes=3)
    begun = first

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    if stage == "memory":
        begun = replace(first, memory=())
        monkeypatch.setattr(sweep_run, "probe", stop)
    elif stage == "build":
        world.build = stop
    else:
        world.act = stop
    second = run(begun=begun)
    assert second.settings.is_interrupted
    assert second.points == first.points


def machine(record: ClaimsRecord, **changes: Any) -> Machine:
    return dataclasses.replace(record.machine, **changes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda one: {"machine": machine(one, name="another")}, "machine was another"),
        (lambda one: _settings(one, device=Choice("cuda", "x")), "device was cuda"),
        (lambda one: _settings(one, dtype=Choice("bfloat16", "x")), "dtype was bfloat16"),
        (lambda one: _settings(one, attention="dense"), "attention was dense"),
        (lambda one: _settings(one, seed=5), "seed was 5"),
        (lambda one: {"tool": replace(one.tool, git_commit="abc")}, "commit was abc"),
        (lambda one: {"tool": replace(one.tool, packages={"torch": "1.0"})}, "torch was 1.0"),
    ],
)
def test_another_run_s_record_is_not_gone_on_with(
    run: Runner,
    world: World,
    change: Callable[[ClaimsRecord], dict[str, Any]],
    words: str,
) -> None:
    first = run(budget_minutes=3)
    before, saved = run.path.read_bytes(), len(world.saved)
    begun = replace(first, **change(first))
    with pytest.raises(InputError, match=f"cannot be taken up again: its {words}"):
        run(begun=begun)
    assert (run.path.read_bytes(), len(world.saved)) == (before, saved)


def _settings(record: ClaimsRecord, **changes: Any) -> dict[str, Any]:
    return {"settings": replace(record.settings, **changes)}


@pytest.mark.parametrize(
    "request_",
    [request_of("block-causal"), replace(request_of(*CACHED), model="sao-small")],
    ids=["a scheme less", "another model"],
)
def test_points_that_would_be_lost_are_a_reason_not_to_go_on(
    run: Runner, request_: Request
) -> None:
    first = run(budget_minutes=3)
    with pytest.raises(InputError, match=r"it also visited .* of tiny, which is not asked for now"):
        run(begun=first, request=request_)


# --- What a visit holds ----------------------------------------------------------------------


def test_attention_is_timed_after_blocks_of_the_context_sweep_alone(
    run: Runner, world: World
) -> None:
    record = run("outpaint", *CACHED, "lmm-encoder-decoder", budget_minutes=6)
    for point in record.points:
        blocks = 1 + len(point.visits)
        is_timed = point.workload.scheme in CACHED and "context" in point.sweeps
        assert world.attended[point.workload] == (ATTENTION_TRIES * blocks if is_timed else 0)
        assert all((visit.attention_ms is not None) == is_timed for visit in point.visits)


def test_a_visit_holds_a_block_s_time_its_encode_and_the_median_of_attention(
    run: Runner, world: World
) -> None:
    """Attention's own time is none of the block's."""
    world.attention_seconds = (0.003, 0.1, 0.005)
    record = run(*SCHEMES, budget_minutes=8)
    for point in record.points:
        is_encoded = point.workload.scheme.endswith("encoder-decoder")
        for visit in point.visits:
            assert visit.service_ms == pytest.approx(1000)
            assert visit.context_encode_ms == (pytest.approx(250) if is_encoded else None)
            if visit.attention_ms is not None:
                assert visit.attention_ms == pytest.approx(5, rel=1e-3)
    assert any(visit.attention_ms for point in record.points for visit in point.visits)
