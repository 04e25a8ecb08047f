"""The cases are those of the issue, their counts those of a mask, and what is none is refused."""

import pytest
import torch

from lmdm_bench.attention_cases import BATCHES, MODELS, PLANS, WINDOWS, Case, cases
from lmdm_bench.errors import InputError
from lmdm_ref import PRESETS
from lmdm_ref.attention import dense_mask


def one(plan: str, window: str = "12+3", model: str = "tiny", batch: int = 1) -> Case:
    (found,) = cases((plan,), (window,), (model,), (batch,), bytes_per_number=2)
    return found


def seen(case: Case) -> torch.Tensor:
    return dense_mask(case.plan, case.facts.places)


def test_all_combinations_are_there_once_and_the_most_telling_first() -> None:
    found = [case.facts for case in cases(tuple(PLANS), WINDOWS, MODELS, BATCHES, 2)]
    assert len(found) == len(set(found)) == 5 * 4 * 2 * 2
    first = found[:5]
    assert [case.plan for case in first] == list(PLANS)
    assert {(case.context_frames, case.model, case.batch) for case in first} == {
        (192, "sao-small", 1)
    }
    assert {(one.context_frames, one.block_frames) for one in found} == {
        (192, 48),
        (230, 10),
        (384, 128),
        (768, 256),
    }
    assert {(one.heads, one.head_dim, one.layers) for one in found} == {(8, 128, 16), (24, 64, 24)}


@pytest.mark.parametrize("window", ["12+3", "12+6", "4+4", *WINDOWS])
@pytest.mark.parametrize("plan", PLANS)
def test_counts_are_those_of_the_mask(plan: str, window: str) -> None:
    case = one(plan, window, batch=3)
    facts, mask = case.facts, seen(case)
    assert (facts.queries, facts.places) == tuple(mask.shape)
    assert facts.pairs == int(mask.sum()) and facts.rows == len(case.plan)
    numbers = 3 * PRESETS["tiny"].decoder.width
    assert facts.flops == 4 * numbers * facts.pairs
    assert facts.num_bytes == 4 * numbers * (facts.queries + int(mask.any(dim=0).sum()))


def test_the_plans_of_one_pass_have_one_shape() -> None:
    shapes = {
        (one(plan).facts.queries, one(plan).facts.places)
        for plan in ("full", "encoder-decoder", "block-causal")
    }
    assert shapes == {(16, 16)}


def test_full_sees_everything_and_context_never_sees_the_target() -> None:
    assert bool(seen(one("full")).all())
    mask = seen(one("encoder-decoder"))
    assert not mask[:12, 12:].any() and mask[:12, :12].all() and mask[12:].all()


def test_the_band_is_narrower_than_the_past() -> None:
    mask = seen(one("block-causal"))
    assert mask[:3, :3].all() and not mask[:3, 3:].any()
    assert not mask[12:, :3].any() and mask[12:, 3:].all()


def test_the_steps_are_those_of_a_stream() -> None:
    """Target and token see all; the fused target does not see the evicted block."""
    step = seen(one("encoder-decoder-step"))
    assert step.shape == (4, 16) and step.all()
    fused = one("block-causal-fused-step")
    mask = seen(fused)
    assert mask.shape == (3 + 4, 4 + 5 * 3)
    assert not mask[:3, :4].any() and mask[:3, 4:].all()
    hidden = [place for place in range(19) if not mask[3, place]]
    assert len(hidden) == 3 and hidden[0] > 4 and len(fused.plan[1].keys) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"plans": ("causal",)}, "unknown plan 'causal'; there are full, encoder-decoder"),
        ({"models": ("huge",)}, "unknown model 'huge'"),
        ({"plans": ()}, "no plan to compare"),
        ({"windows": ()}, "no window to compare"),
        ({"models": ("tiny", "tiny")}, "a model is named twice: tiny, tiny"),
        ({"batches": (2, 2)}, "a batch is named twice: 2, 2"),
        ({"batches": (0,)}, "batch must be at least 1, got 0"),
        ({"windows": ("192",)}, "a window is context.block in frames, as 192.48, got '192'"),
        ({"windows": ("a+b",)}, "got 'a.b'"),
        ({"windows": ("-12+3",)}, "got '-12.3'"),
        ({"windows": ("13+3",)}, "not a whole number of 3-frame blocks"),
        ({"windows": ("12+0",)}, "block_frames must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(changes: dict[str, object], words: str) -> None:
    asked: dict[str, object] = {
        "plans": ("full",),
        "windows": ("12+3",),
        "models": ("tiny",),
        "batches": (1,),
        "bytes_per_number": 2,
    }
    with pytest.raises(InputError, match=words):
        cases(**(asked | changes))  # type: ignore[arg-type]
