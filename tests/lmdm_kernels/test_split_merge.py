import math

import pytest
import torch

from helpers import seeded
from kernel_helpers import DEVICE, DTYPES, GuardedMemory
from lmdm_kernels.split_merge import merge_splits


def merged(splits: int, rows: int, dtype: torch.dtype, empty: int) -> None:
    """Parts of one softmax are merged between guards; the first ``empty`` saw nothing."""
    batch, heads, head_dim = 2, 2, 32
    scores = seeded(0, splits, batch, heads, rows, 5).to(DEVICE)
    values = seeded(1, splits, batch, heads, 5, head_dim).to(DEVICE)
    part_lse = scores.logsumexp(-1) / math.log(2)
    parts = scores.softmax(-1) @ values
    part_lse[:empty], parts[:empty] = -torch.inf, 0.0
    seen = range(empty, splits)
    weights = torch.cat([scores[one] for one in seen], dim=-1).softmax(-1)
    expected = weights @ torch.cat([values[one] for one in seen], dim=-2)
    expected_lse = (2.0**part_lse).sum(0).log2()
    with GuardedMemory() as memory:
        out = torch.empty(batch, rows, heads, head_dim, dtype=dtype, device=DEVICE).transpose(1, 2)
        lse = torch.empty(batch, heads, rows, device=DEVICE)
        given = memory.given(parts.float()), memory.given(part_lse.float())
        merge_splits(*given, out, lse)
    memory.check()
    rounding = 4 * torch.finfo(dtype).eps * expected.abs().max().item()
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=rounding)
    torch.testing.assert_close(lse.double(), expected_lse, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_parts_become_the_whole(dtype: torch.dtype) -> None:
    merged(splits=3, rows=5, dtype=dtype, empty=0)


@pytest.mark.parametrize(("splits", "empty"), [(2, 1), (8, 0), (8, 7)])
def test_empty_parts_weigh_nothing(splits: int, empty: int) -> None:
    merged(splits, rows=6, dtype=torch.float32, empty=empty)
