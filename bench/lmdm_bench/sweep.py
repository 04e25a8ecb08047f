"""Which workloads a claims run visits: the sweeps' axes, and what fits into the time.

Each sweep varies one axis around the paper's own setting. What a budget cannot hold is left out by
rank, dearest and least needed first; nothing is made smaller than asked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lmdm_bench.claims_record import Sweep
from lmdm_bench.request import Request

# The paper's setting (section 5), in frames and steps.
CONTEXT_FRAMES = 192
BLOCK_FRAMES = 48
PAPER_STEPS = 8
AFTER_ARC_STEPS = 2
LONG_STEPS = 50

STEPS = (1, 2, 4, PAPER_STEPS, 16)
CONTEXTS = (48, 96, 192, 384, 768, 1536)
CONTEXT_STEPS = 4
BLOCKS = (12, 24, 48, 96)
BLOCK_STEPS = 4

# An LMM's frames last 40 ms: contexts of 2 to 20 s, blocks of 0.2 to 2 s.
LMM_SHORT_CONTEXT = 50
LMM_SHORT_BLOCK = 8
LMM_BLOCKS = (4, 8, 16, 32)
LMM_CONTEXTS = (50, 125, 250, 500)
PAPER_LMM_CONTEXT = 250
FRAME_WISE_BLOCKS = (6, 12, 25, 50)

# Rounds below which an interval decides next to nothing, after one that warms up.
MIN_ROUNDS = 7

OUTPAINT, ENCODER_DECODER, BLOCK_CAUSAL = "outpaint", "encoder-decoder", "block-causal"
LMM_ENCODER_DECODER, LMM_FRAME_WISE = "lmm-encoder-decoder", "lmm-frame-wise"


# The fewest and the most RVQ levels that a scheme's model takes.
LevelRange = Callable[[str], tuple[int, int]]


@dataclass(frozen=True)
class Spot:
    """One workload to visit: its scheme, the request that makes it, and what it is for.

    ``rank`` 0 is needed, 1 makes verdicts sharper, 2 and more widen what is claimed.
    """

    scheme: str
    request: Request
    sweeps: tuple[Sweep, ...]
    rank: int


def candidates(base: Request, level_range: LevelRange) -> list[Spot]:
    """All spots that a run with time enough would visit, for the schemes of ``base``."""
    spots = []
    if LMM_ENCODER_DECODER in base.schemes:
        spots += _lmm(base, _levels(*level_range(LMM_ENCODER_DECODER)))
    if LMM_FRAME_WISE in base.schemes:
        spots += _frame_wise(base, _levels(*level_range(LMM_FRAME_WISE)))
    spots = [*_diffusion(base), *spots, *_sizes(base)]
    return _merged([spot for spot in spots if spot.scheme in base.schemes])


def _levels(least: int, most: int) -> list[int]:
    """A quarter, a half and all of a model's levels."""
    return sorted({max(least, most // 4), max(least, most // 2), most})


def within(
    spots: Sequence[Spot], seconds_of: Callable[[Spot], float], round_seconds: float
) -> list[Spot]:
    """The spots of the best ranks that one round has time for; rank 0 stays whatever it costs."""
    kept = [spot for spot in spots if spot.rank == 0]
    left = round_seconds - sum(seconds_of(spot) for spot in kept)
    for spot in sorted((one for one in spots if one.rank), key=lambda one: one.rank):
        if seconds_of(spot) <= left:
            kept.append(spot)
            left -= seconds_of(spot)
    return [spot for spot in spots if spot in kept]


def _diffusion(base: Request) -> list[Spot]:
    spots = []
    for scheme in (OUTPAINT, ENCODER_DECODER, BLOCK_CAUSAL):
        is_outpaint = scheme == OUTPAINT

        def spot(
            sweep: Sweep,
            rank: int,
            context: int = CONTEXT_FRAMES,
            block: int = BLOCK_FRAMES,
            steps: int = PAPER_STEPS,
            scheme: str = scheme,
        ) -> Spot:
            request = replace(base, context_frames=context, block_frames=block, steps=steps)
            return Spot(scheme, request, (sweep,), rank)

        spots += [
            spot("steps", 1 if is_outpaint and k > PAPER_STEPS else 0, steps=k) for k in STEPS
        ]
        spots += [
            # Outpainting computes the whole window in every step: its long ones are the dearest.
            spot(
                "context",
                2 if is_outpaint and c > 2 * CONTEXT_FRAMES else 0,
                c,
                steps=CONTEXT_STEPS,
            )
            for c in CONTEXTS
        ]
        spots += [
            spot("block", 0 if o == BLOCK_FRAMES else 1, block=o, steps=BLOCK_STEPS) for o in BLOCKS
        ]
        spots.append(spot("paper", 0))
        if scheme == BLOCK_CAUSAL:
            spots.append(spot("paper", 0, steps=AFTER_ARC_STEPS))
        if not is_outpaint:
            spots.append(spot("steps", 0, steps=LONG_STEPS))
    return spots


def _lmm(base: Request, levels: Sequence[int]) -> list[Spot]:
    def spot(
        sweep: Sweep,
        rank: int,
        context: int | None = LMM_SHORT_CONTEXT,
        block: int | None = LMM_SHORT_BLOCK,
        num_levels: int = levels[-1],
    ) -> Spot:
        return _lmm_spot(base, LMM_ENCODER_DECODER, sweep, rank, context, block, num_levels)

    return [
        *(spot("tokens", 0, block=frames) for frames in LMM_BLOCKS),
        *(spot("levels", 0, num_levels=one) for one in levels),
        *(spot("context", 0 if c <= PAPER_LMM_CONTEXT else 1, context=c) for c in LMM_CONTEXTS),
        spot("paper", 0, None, None),
    ]


def _frame_wise(base: Request, levels: Sequence[int]) -> list[Spot]:
    def spot(sweep: Sweep, block: int, num_levels: int = levels[-1]) -> Spot:
        return _lmm_spot(base, LMM_FRAME_WISE, sweep, 0, None, block, num_levels)

    return [
        *(spot("tokens", frames) for frames in FRAME_WISE_BLOCKS),
        *(spot("levels", FRAME_WISE_BLOCKS[1], one) for one in levels),
        spot("paper", FRAME_WISE_BLOCKS[-1]),
    ]


def _sizes(base: Request) -> list[Spot]:
    """Other presets than the main ones, at few steps and short blocks."""
    larger = replace(
        base,
        model="sao-1.0",
        context_frames=CONTEXT_FRAMES,
        block_frames=BLOCK_FRAMES,
        steps=AFTER_ARC_STEPS,
    )
    spots = []
    if base.model == "sao-small" and base.checkpoint is None:
        schemes = (BLOCK_CAUSAL, ENCODER_DECODER, OUTPAINT)
        spots += [Spot(scheme, larger, ("size",), 3) for scheme in schemes]
    if not base.lmm_models:
        smaller = replace(base, lmm_models=("mrt1-base",))
        spots.append(
            _lmm_spot(smaller, LMM_ENCODER_DECODER, "size", 2, LMM_SHORT_CONTEXT, LMM_SHORT_BLOCK)
        )
    return spots


def _lmm_spot(
    base: Request,
    scheme: str,
    sweep: Sweep,
    rank: int,
    context: int | None = None,
    block: int | None = None,
    levels: int | None = None,
) -> Spot:
    request = replace(base, lmm_context_frames=context, lmm_block_frames=block, lmm_levels=levels)
    return Spot(scheme, request, (sweep,), rank)


def _merged(spots: Sequence[Spot]) -> list[Spot]:
    """One spot for each workload, with all its sweeps and its best rank."""
    found: dict[tuple[str, Request], Spot] = {}
    for spot in spots:
        key = (spot.scheme, spot.request)
        if key in found:
            known = found[key]
            sweeps = tuple(dict.fromkeys((*known.sweeps, *spot.sweeps)))
            found[key] = replace(known, sweeps=sweeps, rank=min(known.rank, spot.rank))
        else:
            found[key] = spot
    return list(found.values())
