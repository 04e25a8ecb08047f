import math
from dataclasses import replace

import pytest
import torch
from helpers import PLAIN, assert_identity, assert_no_identity, seeded
from torch import Tensor, nn

from lmdm_ref.arena import Arena, Span
from lmdm_ref.attention import attend, attend_dense
from lmdm_ref.cache import KVCache, Write
from lmdm_ref.layers import CrossAttention, DecoderLayer, FeedForward, Pass, SelfAttention
from lmdm_ref.plan import block_causal_plan, crop_plan, full_plan
from lmdm_ref.presets import TINY, DecoderConfig
from lmdm_ref.rotary import Rotary, inverse_frequencies, rotary_angles, rotate

ROWS, BATCH = 6, 2


def filled[M: nn.Module](module: M) -> M:
    return module


def hidden_rows(seed: int = 0, rows: int = ROWS) -> Tensor:
    return seeded(seed, BATCH, rows, TINY.width)


def rotary(rows: int, config: DecoderConfig = TINY) -> Rotary:
    frequencies = inverse_frequencies(config.rotary_dims, config.rotary_base)
    return rotary_angles(torch.arange(1, rows + 1), frequencies, torch.float64)
