import torch
import triton
import triton.language as tl

from helpers import seeded
from kernel_helpers import DEVICE
from lmdm_kernels.softmax import narrow, update


@triton.jit
def narrow_all(wide, out, SIZE: tl.constexpr, WIDEN: tl.constexpr):
    at = tl.arange(0, SIZE)
    tl.store(out + at, narrow(tl.load(wide + at), out.dtype.element_ty, WIDEN))


@triton.jit
def one_tile(query, keys, values, out, sums, stop, IS_RAGGED: tl.constexpr):
    rows = tl.arange(0, 16)
    dims = tl.arange(0, 32)
    Q = tl.load(query + rows[:, None] * 32 + dims[None, :])
    top = tl.full([16], float("-inf"), tl.float32)
    total = tl.zeros([16], tl.float32)
    accumulated = tl.zeros([16, 32], tl.float32)
    accumulated, top, total = update(
        accumulated, top, total, Q, keys, values, 0, stop, 32, 32, 0.5, 16, 32, "ieee", False,
        IS_RAGGED,
    )  # fmt: skip
    tl.store(out + rows[:, None] * 32 + dims[None, :], accumulated)
    tl.store(sums + rows, top)
    tl.store(sums + 16 + rows, total)


def test_bfloat16_is_rounded_to_nearest_even() -> None:
    """In the interpreter by hand, as torch does it; NaN and infinities stay."""
    special = [0.0, -0.0, torch.inf, -torch.inf, torch.nan, 1.0, 3.3895e38, 1e-40]
    ties = torch.tensor([0x3F808000, 0x3F818000, 0x3F807FFF, 0x3F808001]).int().view(torch.float32)
    wide = torch.cat([torch.tensor(special), ties, seeded(0, 64 - 12).float()]).to(DEVICE)
    out = torch.empty(64, dtype=torch.bfloat16, device=DEVICE)
    narrow_all[(1,)](wide, out, 64, True, enable_fp_fusion=True)
    expected = wide.to(torch.bfloat16)
    assert torch.equal(out.nan_to_num(7.0), expected.nan_to_num(7.0))
    assert torch.equal(out.isnan(), expected.isnan())


def test_a_ragged_tile_sees_no_place_past_its_end() -> None:
    query, keys, values = (seeded(seed, 16, 32).float().to(DEVICE) for seed in range(3))
    scores = (query.double() @ keys.double().mT)[:, :5] * 0.5
    keys[5:] = values[5:] = torch.nan
    out, sums = torch.empty(16, 32, device=DEVICE), torch.empty(2, 16, device=DEVICE)
    one_tile[(1,)](query, keys, values, out, sums, 5, True, enable_fp_fusion=True)
    powers = torch.exp2(scores - scores.max(1, keepdim=True).values)
    torch.testing.assert_close(out.double(), powers @ values[:5].double(), rtol=0, atol=1e-5)
    expected = torch.stack([scores.max(1).values, powers.sum(1)])
    torch.testing.assert_close(sums.double(), expected, rtol=0, atol=1e-5)
