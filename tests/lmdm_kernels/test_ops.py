import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from helpers import seeded
from kernel_helpers import DEVICE, MIXED, MIXED_PLACES, heads_for, plan_of
from lmdm_kernels.tables import plan_table
from lmdm_kernels.tiles import flat_plan, num_pairs
from lmdm_ref.attention import dense_mask

PLAN = plan_of((17, [(0, 3), (20, 61)]), (16, [(5, 52)]))
FLAT = flat_plan(PLAN)
SCALE = 32**-0.5
LAUNCH = [16, 64, 1, 4, 2]
# What opcheck can see without a GPU: the schema (nothing is changed or aliased that it does not
# name), gradients by the dispatcher, shapes and strides of the fake, and the whole under AOT.
CHECKS = (
    "test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic",
)  # fmt: skip


@pytest.mark.parametrize("is_training", [False, True])
def test_the_operator_is_what_it_says(is_training: bool) -> None:
    heads = [one.requires_grad_(is_training) for one in heads_for(PLAN, 66, batch=2)]
    table = plan_table(FLAT, 16, DEVICE)
    with torch.enable_grad():
        for given, launch in ((None, LAUNCH), (None, []), (table, LAUNCH)):
            arguments = (*heads, FLAT, given, SCALE, launch, "ieee")
            torch.library.opcheck(torch.ops.lmdm.interval_attention, arguments, test_utils=CHECKS)


def test_the_backward_operator_is_what_it_says() -> None:
    query, key, value = heads_for(PLAN, 66, batch=2)
    out, lse = torch.ops.lmdm.interval_attention(query, key, value, FLAT, None, SCALE, [], "ieee")
    grad = seeded(3, *out.shape).float().to(DEVICE)
    arguments = (grad, query, key, value, out, lse, FLAT, SCALE, "ieee")
    torch.library.opcheck(
        torch.ops.lmdm.interval_attention_backward, arguments, test_utils=CHECKS[:3]
    )


def prologue_arguments() -> tuple[object, ...]:
    batch, rows, heads, head_dim = 2, 5, 3, 32
    ones = torch.ones(head_dim, device=DEVICE)
    angles = seeded(1, rows, 8).to(DEVICE).float()
    keys = torch.zeros(batch, heads, 9, head_dim, device=DEVICE)
    return (
        seeded(0, batch, rows, 3 * heads * head_dim).to(DEVICE).float(),
        "layer", ones, ones, ones, None, 1e-6, angles.cos(), angles.sin(), keys, keys.clone(),
        torch.tensor([3, 8, 0, 1, 5], device=DEVICE),
    )  # fmt: skip


def test_the_prologue_operator_is_what_it_says() -> None:
    torch.library.opcheck(torch.ops.lmdm.qkv_prologue, prologue_arguments(), test_utils=CHECKS[:3])


def test_shapes_strides_and_dtypes_are_known_without_running() -> None:
    heads = heads_for(MIXED, MIXED_PLACES, torch.float16, batch=2, heads=4, key_heads=2)
    arguments = flat_plan(MIXED), None, SCALE, [16, 64, 3, 4, 2], "ieee"
    real = torch.ops.lmdm.interval_attention(*heads, *arguments)
    with FakeTensorMode() as mode:
        fakes = [mode.from_tensor(one) for one in heads]
        fake = torch.ops.lmdm.interval_attention(*fakes, *arguments)
    for one, other in zip(real, fake, strict=True):
        assert one.shape == other.shape and one.stride() == other.stride()
        assert one.dtype == other.dtype
    query = heads[0]
    assert real[0].stride() == (query.shape[2] * 4 * 32, 32, 4 * 32, 1)


def test_flops_are_those_of_the_visible_pairs() -> None:
    """4 · head_dim a pair forward, as torch counts a dense mask; five products backward."""
    batch, heads = 2, 4
    query, key, value = heads_for(PLAN, 66, batch=batch, heads=heads, key_heads=2)
    area = int(dense_mask(PLAN, 66).sum())
    assert area == num_pairs(FLAT)

    def flops(counted: FlopCounterMode) -> dict[str, int]:
        return {str(name): count for name, count in counted.get_flop_counts()["Global"].items()}

    with FlopCounterMode(display=False) as counted:
        torch.ops.lmdm.interval_attention(query, key, value, FLAT, None, SCALE, [], "ieee")
    assert flops(counted) == {"lmdm.interval_attention": 4 * batch * heads * 32 * area}

    query.requires_grad_()
    with torch.enable_grad(), FlopCounterMode(display=False) as counted:
        out: Tensor = torch.ops.lmdm.interval_attention(
            query, key, value, FLAT, None, SCALE, [], "ieee"
        )[0]
        out.sum().backward()
    assert flops(counted) == {
        "lmdm.interval_attention": 4 * batch * heads * 32 * area,
        "lmdm.interval_attention_backward": 10 * batch * heads * 32 * area,
    }


def test_without_a_launch_the_shipped_table_chooses() -> None:
    heads = heads_for(PLAN, 66)
    chosen = torch.ops.lmdm.interval_attention(*heads, FLAT, None, SCALE, [], "ieee")
    given = torch.ops.lmdm.interval_attention(*heads, FLAT, None, SCALE, [32, 32, 1, 8, 2], "ieee")
    assert torch.equal(chosen[0], given[0]) and torch.equal(chosen[1], given[1])


def test_lse_takes_no_gradient() -> None:
    heads = [one.requires_grad_() for one in heads_for(PLAN, 66)]
    with torch.enable_grad():
        out, lse = torch.ops.lmdm.interval_attention(*heads, FLAT, None, SCALE, [], "ieee")
    assert out.requires_grad and not lse.requires_grad
