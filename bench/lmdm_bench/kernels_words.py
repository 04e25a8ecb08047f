"""How backends, regimes, cases and goals of a kernels run are told, in every figure and text."""

from collections.abc import Iterator

from lmdm_bench import format as shown
from lmdm_bench.kernel_verdicts import State
from lmdm_bench.kernels_record import AttentionCase, KernelsRecord, Regime, RowStatus
from lmdm_bench.record import Estimate

# From the palette of Okabe and Ito, as far as it goes.
BACKEND_COLOURS = {
    "interval": "#0072B2",
    "range": "#009E73",
    "masked": "#D55E00",
    "flex": "#CC79A7",
    "cudnn": "#E69F00",
    "flash2": "#56B4E9",
    "flash4": "#7A5BB5",
    "reference": "#8A93A0",
}
OTHER_COLOUR = "#444444"

BACKEND_MEANS = {
    "interval": "the kernel of lmdm_kernels",
    "range": "lmdm_ref's attention: one mask-free call for each row of the plan",
    "masked": "torch's SDPA with a boolean mask",
    "flex": "FlexAttention, compiled",
    "cudnn": "torch's SDPA with cuDNN, one call for each row",
    "flash2": "flash-attn 2, one call for each row",
    "flash4": "flash-attn 4, one call for each row",
    "reference": "plain products and a softmax over a mask",
}
REGIME_WORDS: dict[Regime, str] = {
    "warm": "alone, warm cache",
    "cold": "alone, cold cache",
    "eager": "alone, launched call by call",
    "stack": "all layers",
    "stack graph": "all layers, as a graph",
}

STATE_SIGNS: dict[State, tuple[str, str]] = {
    "met": ("✔", "#1E8E5A"),
    "not met": ("✘", "#D1442F"),
    "cannot tell": ("?", "#8A93A0"),
}


def backend_colour(name: str) -> str:
    return BACKEND_COLOURS.get(name, OTHER_COLOUR)


def backends(record: KernelsRecord) -> list[str]:
    """Those that were asked for, in their usual order."""
    names = list(dict.fromkeys(row.backend for _, row in record.rows()))
    return sorted(names, key=lambda name: [*BACKEND_COLOURS, name].index(name))


def plans(record: KernelsRecord) -> list[str]:
    return list(dict.fromkeys(cell.case.plan for cell in record.kernel_cells))


def window(case: AttentionCase) -> str:
    """``192 + 48``."""
    return f"{case.context_frames} + {case.block_frames}".replace(" ", shown.NBSP)


def heads(case: AttentionCase) -> str:
    """``8 × 128, batch 1``."""
    size = f"{case.heads} {shown.TIMES} {case.head_dim}".replace(" ", shown.NBSP)
    return f"{size}, batch{shown.NBSP}{case.batch}"


def case_words(case: AttentionCase) -> str:
    """``full, 192 + 48, sao-small, batch 1``."""
    return f"{case.plan}, {window(case)}, {shown.plain(case.model)}, batch {case.batch}"


def times(one: Estimate | None) -> str:
    """``0.83 [0.81, 0.85]``, or why not."""
    return shown.NOT_AVAILABLE if one is None else shown.estimate(one)


def rounds_words(record: KernelsRecord) -> str:
    """``n = 6 to 12 rounds``, of what was timed to its end."""
    counts = {
        len(one.round_ms) for _, row in record.rows() for one in row.timings if one.status == "OK"
    }
    if not counts:
        return "n = 0 rounds"
    low, high = min(counts), max(counts)
    told = f"{low}" if low == high else f"{low} to {high}"
    return f"n = {told} round{'' if high == 1 else 's'}"


def num_measured(record: KernelsRecord) -> int:
    """How many cases have any times."""
    return sum(
        any(one.round_ms for row in cell.rows for one in row.timings)
        for cell in record.kernel_cells
    )


def ended(record: KernelsRecord) -> Iterator[tuple[str, RowStatus, str, str]]:
    """What has no times to its end: backend, status, reason and where, for each row and regime."""
    for case, row in record.rows():
        if row.status != "OK":
            yield row.backend, row.status, row.reason or "", case_words(case)
            continue
        for one in row.timings:
            if one.status != "OK":
                where = f"{case_words(case)}, {REGIME_WORDS[one.regime]}"
                yield row.backend, one.status, one.reason or "", where
