from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

import lmdm_ref
from helpers import seeded
from kernel_helpers import (
    DEVICE,
    DTYPES,
    MIXED,
    MIXED_PLACES,
    assert_attends,
    heads_for,
    kernel,
    plan_of,
    truth,
)
from lmdm_kernels import (
    LAUNCHES,
    Card,
    Launch,
    MovingPlan,
    Work,
    attend,
    attend_with,
    card_of,
    launch_for,
    prologue,
)
from lmdm_kernels.interval_attention import interval_attention
from lmdm_kernels.tiles import flat_plan
from lmdm_ref.plan import Plan
from lmdm_ref.prologue import HeadNorm
from lmdm_ref.prologue import prologue as reference_prologue
from lmdm_ref.rotary import Rotary


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_plan_goes_through_the_reference_and_through_the_kernels(dtype: torch.dtype) -> None:
    """Rows of spans mean the same in both packages: the layout is stated in each, once."""
    heads = heads_for(MIXED, MIXED_PLACES, dtype, batch=2, head_dim=64)
    taken: lmdm_ref.attention.Attend = attend
    assert_attends(taken(*heads, MIXED), heads, MIXED)


def test_a_moved_plan_gives_what_a_fresh_one_gives() -> None:
    heads = heads_for(MIXED, MIXED_PLACES)
    other = plan_of((17, [(30, 60)]), (16, [(0, 130)]), (5, [(1, 2), (3, 4)]), (1, [(9, 70)]))
    moving = MovingPlan(MIXED)
    assert torch.equal(attend(*heads, moving), attend(*heads, MIXED))
    moving.move(other)
    assert_attends(attend(*heads, moving), heads, other)
    with pytest.raises(ValueError, match="end at place 130 or before, got 131"):
        moving.move(plan_of((17, [(0, 131)]), (16, [(0, 1)]), (5, [(0, 1)]), (1, [(0, 1)])))


def test_a_moving_plan_is_split_for_all_places_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of((16, [(0, 10)]))
    heads = heads_for(plan, 1024, heads=1)
    card = Card(capability=(8, 9), num_multiprocessors=24, shared_bytes=101_376)
    launches = []

    def recorded(*arguments: Any) -> tuple[Tensor, Tensor]:
        launches.append(arguments[-1])
        return interval_attention(*arguments)

    monkeypatch.setattr("lmdm_kernels.api.card_of", lambda device: card)
    monkeypatch.setattr("lmdm_kernels.interval_attention.interval_attention", recorded)
    attended = attend_with(LAUNCHES)
    attended(*heads, plan)
    attended(*heads, MovingPlan(plan))
    assert [launch.splits for launch in launches] == [1, 8]


def test_a_given_launch_or_table_is_used() -> None:
    heads = heads_for(MIXED, MIXED_PLACES)
    launch = Launch(64, 16, 3, 4, 2)
    expected, _ = kernel(heads, MIXED, launch)
    assert torch.equal(attend(*heads, MIXED, launch=launch), expected)
    tuned = {key: replace(launch, splits=1) for key in LAUNCHES}
    splits = launch_for(card_of(DEVICE), Work("float32", 32, flat_plan(MIXED), 2, 95), tuned).splits
    expected, _ = kernel(heads, MIXED, replace(launch, splits=splits))
    assert torch.equal(attend_with(tuned)(*heads, MIXED), expected)


def test_gradients_are_those_of_the_truth() -> None:
    plan = plan_of((17, [(0, 3), (20, 61)]), (16, [(5, 52)]))
    heads = heads_for(plan, 66)
    weight = seeded(9, *heads[0].shape).to(DEVICE)

    def gradients(attended: Callable[..., Tensor], some: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        own = [one.detach().clone().requires_grad_() for one in some]
        with torch.enable_grad():
            out = attended(*own)
            return torch.autograd.grad((out * weight.to(out.dtype)).sum(), own)

    got = gradients(lambda *some: attend(*some, plan), heads)
    wide = tuple(one.double() for one in heads)
    exact = gradients(lambda *some: truth(some, plan), wide)
    for one, other in zip(got, exact, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=0, atol=2e-5)


@pytest.mark.filterwarnings("ignore:.*script_method. is deprecated")
@pytest.mark.parametrize("backend", ["eager", "aot_eager", "inductor"])
@pytest.mark.parametrize("make_plan", [tuple, MovingPlan])
def test_compiled_around_without_a_break_and_once(
    backend: str, make_plan: Callable[[Plan], Plan]
) -> None:
    """One graph, no graph break, and none anew for a second call or a moved plan."""
    torch._dynamo.reset()
    plan = plan_of((17, [(0, 3), (20, 61)]), (16, [(5, 52)]))
    heads = heads_for(plan, 66)
    held = make_plan(plan)
    counter = CompileCounterWithBackend(backend)

    def layer(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return attend(query * 2.0, key, value, held) + 1.0

    compiled = torch.compile(layer, backend=counter, fullgraph=True)
    query, key, value = heads
    half = query / 2.0
    expected = attend(*heads, plan) + 1.0
    assert torch.equal(compiled(half, key, value), expected)
    assert torch.equal(compiled(half, key, value), expected)
    if isinstance(held, MovingPlan):
        moved = plan_of((17, [(1, 30)]), (16, [(5, 52)]))
        held.move(moved)
        assert torch.equal(compiled(half, key, value), attend(*heads, moved) + 1.0)
    assert counter.frame_count == 1


def packed(dtype: torch.dtype) -> tuple[Any, ...]:
    """All that a prologue takes, for two heads of 32 in an arena of nine places."""
    qkv, *weights = (seeded(seed, *shape) for seed, shape in enumerate([(2, 5, 192), *[(32,)] * 4]))
    angles = seeded(9, 5, 8)
    return (
        qkv.to(DEVICE, dtype),
        HeadNorm("layer", *(one.to(DEVICE, dtype) for one in weights), 1e-5),
        Rotary(angles.cos().float().to(DEVICE), angles.sin().float().to(DEVICE)),
        (
            torch.zeros(2, 2, 9, 32, device=DEVICE, dtype=dtype),
            torch.zeros(2, 2, 9, 32, device=DEVICE, dtype=dtype),
        ),
        torch.tensor([3, 8, 0, 1, 5], device=DEVICE),
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_prologue_is_that_of_the_reference(dtype: torch.dtype) -> None:
    taken: lmdm_ref.prologue.Prologue = prologue
    given, other = packed(dtype), packed(dtype)
    query, expected = taken(*given), reference_prologue(*other)
    rounding = 8 * torch.finfo(dtype).eps
    for one, sound in ((query, expected), *zip(given[3], other[3], strict=True)):
        assert one.shape == sound.shape and one.dtype is dtype
        torch.testing.assert_close(one, sound, rtol=rounding, atol=rounding)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_the_prologue_is_compiled_around_without_a_break_and_once(backend: str) -> None:
    torch._dynamo.reset()
    qkv, *others = packed(torch.float32)
    expected = prologue(qkv, *others)
    keys = others[2][0].clone()
    counter = CompileCounterWithBackend(backend)
    compiled = torch.compile(
        lambda some, *rest: prologue(some * 2.0, *rest) + 1.0, backend=counter, fullgraph=True
    )
    for _ in range(2):
        others[2][0].zero_()
        assert torch.equal(compiled(qkv / 2.0, *others), expected + 1.0)
        assert torch.equal(others[2][0], keys)
    assert counter.frame_count == 1


# --- The door --------------------------------------------------------------------------------

PLAN = plan_of((6, [(0, 8)]))
Q, K = (1, 4, 6, 32), (1, 2, 8, 32)


def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.zeros(shape, dtype=dtype, device=DEVICE)


def no_launch(*_: Any) -> None:
    raise AssertionError("a kernel was launched")


def far() -> Tensor:
    """A few numbers with a stride that 32 bits cannot say 8 times; nothing is behind it."""
    return torch.empty(1, 2, 8, 32, device="meta").as_strided(K, (0, 0, 2**29, 1))


@pytest.mark.parametrize(
    ("query", "key", "value", "plan", "said"),
    [
        (zeros(4, 6, 32), zeros(*K), zeros(*K), PLAN, "query is [batch, heads, rows, head_dim]"),
        (zeros(*Q), zeros(1, 2, 0, 32), zeros(*K), PLAN, "and not empty, got [1, 2, 0, 32]"),
        (zeros(*Q), zeros(*K), zeros(1, 2, 9, 32), PLAN, "key and value are shaped alike"),
        (zeros(*Q), zeros(2, 2, 8, 32), zeros(2, 2, 8, 32), PLAN, "have the query's batch"),
        (zeros(*Q), zeros(1, 2, 8, 64), zeros(1, 2, 8, 64), PLAN, "and head_dim, got query"),
        (zeros(*Q), zeros(1, 3, 8, 32), zeros(1, 3, 8, 32), PLAN, "divide the query's 4 heads"),
        (zeros(*Q), zeros(*K).half(), zeros(*K), PLAN, "key is of query's dtype torch.float32"),
        (zeros(*Q), zeros(*K), zeros(*K).half(), PLAN, "value is of query's dtype"),
        (zeros(*Q), zeros(*K).to("meta"), zeros(*K), PLAN, f"key is on query's device {DEVICE}"),
        (zeros(*Q).mT.contiguous().mT, zeros(*K), zeros(*K), PLAN, "query has stride 1 in its"),
        (zeros(*Q).to("meta"), far(), far(), PLAN, "key spans 2147483647 elements a head at most"),
        (zeros(*Q), zeros(*K), zeros(*K), plan_of((5, [(0, 8)])), "is for 5 queries, got 6"),
        (zeros(*Q), zeros(*K), zeros(*K), plan_of((6, [(0, 9)])), "end at place 9, got keys of 8"),
        (zeros(*Q), zeros(*K), zeros(*K), MovingPlan(plan_of((6, [(0, 9)]))), "end at place 9"),
        (zeros(*Q), zeros(*K), zeros(*K), [], "at least one row, got none"),
        (zeros(*Q).double(), zeros(*K).double(), zeros(*K).double(), PLAN, "got float64"),
        (zeros(1, 4, 6, 48), zeros(1, 2, 8, 48), zeros(1, 2, 8, 48), PLAN, "head_dim is one of"),
        (zeros(*Q).to("meta"), zeros(*K).to("meta"), zeros(*K).to("meta"), PLAN, "for NVIDIA GPUs"),
        (
            zeros(1, 1, 6, 32).expand(70_000, 1, 6, 32),
            zeros(1, 1, 8, 32).expand(70_000, 1, 8, 32),
            zeros(1, 1, 8, 32).expand(70_000, 1, 8, 32),
            PLAN,
            "batch · heads is 65535 at most, got 70000 · 1",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_any_launch(
    monkeypatch: pytest.MonkeyPatch, query: Tensor, key: Tensor, value: Tensor, plan: Any, said: str
) -> None:
    monkeypatch.setattr("lmdm_kernels.interval_attention.interval_attention", no_launch)
    with pytest.raises(ValueError) as refused:
        attend(query, key, value, plan)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_a_moving_plan_has_no_gradient() -> None:
    query = zeros(*Q).requires_grad_()
    with torch.enable_grad(), pytest.raises(ValueError, match="a moving plan has no gradient"):
        attend(query, zeros(*K), zeros(*K), MovingPlan(PLAN))


def test_a_launch_too_big_for_the_card_is_refused() -> None:
    if DEVICE.type == "cuda":
        pytest.skip("this GPU may have the room")
    heads = zeros(1, 1, 6, 128), zeros(1, 1, 8, 128), zeros(1, 1, 8, 128)
    with pytest.raises(ValueError, match="bytes of shared memory at head_dim 128 in float32"):
        attend(*heads, PLAN, launch=Launch(64, 128, 1, 4, 4))


def test_an_unsupported_device_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmdm_kernels.support.is_interpreted", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    attended = attend_with(LAUNCHES)  # this one has seen no device yet
    with pytest.raises(ValueError, match="the kernels cannot run: "):
        attended(zeros(*Q), zeros(*K), zeros(*K), PLAN)


ARENA = (2, 3, 9, 32)


def prologue_inputs(**changed: Any) -> tuple[Any, ...]:
    ones = torch.ones(32, device=DEVICE)
    inputs = {
        "qkv": zeros(2, 5, 3 * 3 * 32),
        "norm": ("layer", ones, ones, ones, None, 1e-6),
        "rotary": (zeros(5, 8), zeros(5, 8)),
        "arena": (zeros(*ARENA), zeros(*ARENA)),
        "places": torch.arange(5, device=DEVICE),
    }
    assert set(changed) <= set(inputs)
    return tuple({**inputs, **changed}.values())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"qkv": zeros(2, 5, 3 * 32)}, "qkv is [2, rows, 288] for an arena [2, 3, 9, 32]"),
        ({"qkv": zeros(1, 5, 288)}, "qkv is [2, rows, 288]"),
        ({"qkv": zeros(5, 288)}, "qkv is [2, rows, 288]"),
        ({"qkv": zeros(2, 5, 288).half()}, "arena keys is of qkv's dtype torch.float16"),
        ({"qkv": zeros(2, 5, 576)[..., ::2]}, "qkv has stride 1 in its last dim, got 2"),
        ({"arena": (zeros(*ARENA), zeros(2, 3, 8, 32))}, "shaped alike, got [2, 3, 9, 32] and"),
        ({"arena": (zeros(3, 9, 32), zeros(*ARENA))}, "arena keys are [batch, heads, places"),
        ({"arena": (zeros(*ARENA), zeros(*ARENA).half())}, "arena values is of qkv's dtype"),
        ({"arena": (zeros(*ARENA).mT.contiguous().mT, zeros(*ARENA))}, "arena keys has stride 1"),
        (
            {"arena": (zeros(1, 3, 9, 32).expand(*ARENA), zeros(*ARENA))},
            "arena keys have memory for every place, got strides (0, 288, 32, 1)",
        ),
        (
            {"norm": ("rms", torch.ones(32, dtype=torch.int32, device=DEVICE), *[None] * 3, 0.0)},
            "weights are floating point, got torch.int32",
        ),
        ({"places": torch.arange(4, device=DEVICE)}, "places are [5] in int32 or int64, got [4]"),
        ({"places": zeros(5)}, "places are [5] in int32 or int64, got [5] in torch.float32"),
        ({"places": torch.arange(5, device="meta")}, "places is on qkv's device"),
        ({"rotary": (zeros(5, 17), zeros(5, 17))}, "cos and sin are [5, at most 16], got cos"),
        ({"rotary": (zeros(5, 8), zeros(5, 7))}, "got sin [5, 7]"),
        ({"rotary": (zeros(4, 8), zeros(4, 8))}, "cos and sin are [5, at most 16], got cos [4, 8]"),
        ({"rotary": (zeros(5, 8).double(), zeros(5, 8))}, "are in torch.float32, got cos"),
        ({"norm": ("l2", None, None, None, None, 0.0)}, "one of layer, rms, none, got 'l2'"),
        ({"norm": ("rms", None, None, None, None, -1.0)}, "epsilon is finite and not negative"),
        ({"norm": ("rms", zeros(31), None, None, None, 0.0)}, "weights are [32] side by side"),
        ({"norm": ("rms", zeros(64)[::2], None, None, None, 0.0)}, "weights are [32] side by side"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_prologue_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as refused:
        prologue(*prologue_inputs(**changed))
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_the_prologue_has_no_gradient() -> None:
    qkv = zeros(2, 5, 288).requires_grad_()
    with torch.enable_grad(), pytest.raises(ValueError, match="the prologue has no gradient"):
        prologue(*prologue_inputs(qkv=qkv))
