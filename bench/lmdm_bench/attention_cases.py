"""Which attention is compared: plans, windows, heads and batch sizes, the most telling first."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lmdm_bench.errors import InputError
from lmdm_bench.kernels_record import AttentionCase
from lmdm_ref import PRESETS, Geometry
from lmdm_ref.arena import Arena
from lmdm_ref.plan import (
    Plan,
    block_causal_plan,
    encoder_decoder_plan,
    full_plan,
    fused_commit_plan,
    num_pairs,
    num_queries,
    slot_step_plan,
    with_token,
)

# The paper's two windows, 1024 and 512 frames: context + block.
WINDOWS = ("192+48", "768+256", "230+10", "384+128")
MODELS = ("sao-small", "sao-1.0")
# Guidance makes two of each.
BATCHES = (1, 2)

FLOPS_FOR_EACH_PAIR_AND_NUMBER = 4


@dataclass(frozen=True)
class Case:
    """A plan over places, and what is said of it."""

    plan: Plan
    facts: AttentionCase


def _full(geometry: Geometry) -> tuple[Plan, int]:
    places = geometry.window_frames + 1
    return full_plan(places), places


def _encoder_decoder(geometry: Geometry) -> tuple[Plan, int]:
    return encoder_decoder_plan(geometry), geometry.window_frames + 1


def _block_causal(geometry: Geometry) -> tuple[Plan, int]:
    """One pass over the window under the released training mask: itself and all but one of the
    context's blocks before it (reports/decisions/0001), so that the band is narrower than the past.
    """
    blocks = geometry.context_blocks
    plan = block_causal_plan(blocks + 1, geometry.block_frames, max(1, blocks - 1))
    return with_token(plan), geometry.window_frames + 1


def _encoder_decoder_step(geometry: Geometry) -> tuple[Plan, int]:
    arena = Arena(
        prefix=0,
        target_frames=geometry.block_frames,
        slot_frames=geometry.context_frames,
        num_slots=1,
    )
    return slot_step_plan(arena, 1), arena.size


def _block_causal_fused_step(geometry: Geometry) -> tuple[Plan, int]:
    """With a full ring; the evicted slot is in its middle, so that the target sees two spans."""
    slots = geometry.context_blocks + 1
    arena = Arena(
        prefix=0,
        target_frames=geometry.block_frames,
        slot_frames=geometry.block_frames,
        num_slots=slots,
    )
    return fused_commit_plan(arena, slots, (slots - 1) // 2), arena.size


# The three plans as one pass, which have the same shapes, and the two passes that a stream runs.
PLANS: dict[str, Callable[[Geometry], tuple[Plan, int]]] = {
    "full": _full,
    "encoder-decoder": _encoder_decoder,
    "block-causal": _block_causal,
    "encoder-decoder-step": _encoder_decoder_step,
    "block-causal-fused-step": _block_causal_fused_step,
}


def cases(
    plans: Sequence[str],
    windows: Sequence[str],
    models: Sequence[str],
    batches: Sequence[int],
    bytes_per_number: int,
) -> list[Case]:
    """All combinations. Those that are first on each list come first, and with each the plans.

    Raises InputError for a name that is not known, a window that is none, or nothing to compare.
    """
    for kind, names, known in (("plan", plans, PLANS), ("model", models, PRESETS)):
        for name in names:
            if name not in known:
                raise InputError(f"unknown {kind} {name!r}; there are {', '.join(known)}")
    asked: tuple[tuple[str, Sequence[object]], ...] = (
        ("plan", plans),
        ("window", windows),
        ("model", models),
        ("batch", batches),
    )
    for kind, values in asked:
        if not values:
            raise InputError(f"no {kind} to compare")
        if len(set(values)) < len(values):
            raise InputError(f"a {kind} is named twice: {', '.join(map(str, values))}")
    for batch in batches:
        if batch < 1:
            raise InputError(f"batch must be at least 1, got {batch}")
    found = [
        (
            window_at + model_at + batch_at,
            [_case(plan, window, model, batch, bytes_per_number) for plan in plans],
        )
        for (window_at, window), (model_at, model), (batch_at, batch) in itertools.product(
            enumerate(windows), enumerate(models), enumerate(batches)
        )
    ]
    return [case for _, group in sorted(found, key=lambda one: one[0]) for case in group]


def _case(plan: str, window: str, model: str, batch: int, bytes_per_number: int) -> Case:
    config = PRESETS[model].decoder
    geometry = _geometry(window, model)
    rows, places = PLANS[plan](geometry)
    seen = {place for row in rows for span in row.keys for place in range(*span)}
    numbers = batch * config.num_heads * config.head_dim
    return Case(
        rows,
        AttentionCase(
            plan=plan,
            model=model,
            context_frames=geometry.context_frames,
            block_frames=geometry.block_frames,
            batch=batch,
            heads=config.num_heads,
            head_dim=config.head_dim,
            layers=config.depth,
            rows=len(rows),
            queries=num_queries(rows),
            places=places,
            pairs=num_pairs(rows),
            flops=FLOPS_FOR_EACH_PAIR_AND_NUMBER * numbers * num_pairs(rows),
            num_bytes=2 * bytes_per_number * numbers * (num_queries(rows) + len(seen)),
        ),
    )


def _geometry(window: str, model: str) -> Geometry:
    context, plus, block = window.partition("+")
    if not (plus and context.isdecimal() and block.isdecimal()):
        raise InputError(f"a window is context+block in frames, as 192+48, got {window!r}")
    codec = PRESETS[model].codec
    try:
        return Geometry(
            sample_rate_hz=codec.sample_rate_hz,
            samples_per_frame=codec.samples_per_frame,
            context_frames=int(context),
            block_frames=int(block),
        )
    except ValueError as error:
        raise InputError(str(error)) from error
