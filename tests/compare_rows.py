"""Planted rows of a judgement, for the tests of what shows one."""

import dataclasses

import compare_records
from lmdm_bench.compare_verdicts import Judgement, Row
from lmdm_bench.record import Estimate

CELL = "block-causal · sao-small"
NASTY = "a|b\n<script>alert('x')</script> [click](javascript:x) `code` *bold* &lt;"


def ratio(value: float | None, low: float = 0.0, high: float = 0.0) -> Estimate:
    """b ÷ a, with an interval where one is given."""
    if value is None:
        return Estimate(None, None, 0, "planted", "needs 368 samples")
    return Estimate(value, (low, high) if high else None, 48, "planted", None)


def row(cell: str = CELL, quantity: str = "time", **fields: object) -> Row:
    """A time of 300 ms that is the same on both sides; ``fields`` are planted."""
    same = Row(
        cell=cell,
        kind="block",
        quantity=quantity,
        unit="ms",
        verdict="SAME",
        a=300.0,
        b=301.0,
        effect=ratio(1.003, 0.995, 1.012),
        threshold=0.03,
        reasons=("The whole interval is within the threshold.",),
        num_pairs=48,
        num_processes=3,
        drift=ratio(1.002, 0.996, 1.008),
    )
    return dataclasses.replace(same, **fields)  # type: ignore[arg-type]


def slower(cell: str = CELL, **fields: object) -> Row:
    """Confirmed."""
    planted: dict[str, object] = {
        "verdict": "SLOWER",
        "b": 349.0,
        "effect": ratio(1.164, 1.151, 1.178),
        "confirming": ratio(1.17, 1.15, 1.19),
        "reasons": ("The whole interval is above +3 %.", "Confirmed."),
    }
    return row(cell, **planted | fields)  # type: ignore[arg-type]


def faster(cell: str = CELL, **fields: object) -> Row:
    """Confirmed."""
    planted: dict[str, object] = {
        "verdict": "FASTER",
        "b": 255.0,
        "effect": ratio(0.85, 0.84, 0.861),
        "confirming": ratio(0.854, 0.842, 0.867),
        "reasons": ("The whole interval is below −2.9 %.", "Confirmed."),
    }
    return row(cell, **planted | fields)  # type: ignore[arg-type]


def first_step(cell: str = CELL, **fields: object) -> Row:
    """The stage that makes ``slower`` so."""
    planted: dict[str, object] = {
        "quantity": "stage first_step",
        "a": 166.0,
        "b": 214.0,
        "effect": ratio(1.29, 1.276, 1.305),
        "contribution_ms": 48.2,
        "share": 0.55,
    }
    return slower(cell, **planted | fields)


def untold(cell: str = CELL, **fields: object) -> Row:
    planted: dict[str, object] = {
        "verdict": "AMBIGUOUS",
        "effect": ratio(1.02, 0.99, 1.05),
        "reasons": ("The interval reaches across +3 %; about 98 pairs would probably tell.",),
        "can_be_slower": True,
    }
    return row(cell, **planted | fields)  # type: ignore[arg-type]


def memory(more_bytes: int = 4096, cell: str = CELL, **fields: object) -> Row:
    a = 123_456_789.0
    planted: dict[str, object] = {
        "quantity": "memory peak_allocated",
        "unit": "bytes",
        "verdict": "MORE" if more_bytes > 0 else "LESS" if more_bytes < 0 else "SAME",
        "a": a,
        "b": a + more_bytes,
        "effect": ratio((a + more_bytes) / a),
        "threshold": 0.0,
        "drift": None,
        "num_pairs": 0,
        "num_processes": 0,
    }
    return row(cell, **planted | fields)  # type: ignore[arg-type]


def broken(cell: str = CELL, **fields: object) -> Row:
    planted: dict[str, object] = {
        "verdict": "BROKEN",
        "a": None,
        "b": None,
        "effect": ratio(None),
        "drift": None,
        "reasons": ("Side a ended well, side b did not (INCORRECT, error 0.3).",),
        "num_pairs": 0,
        "num_processes": 0,
    }
    return row(cell, **planted | fields)  # type: ignore[arg-type]


def judgement(*rows: Row, exit_code: int | None = None) -> Judgement:
    """The exit code follows from the rows unless it is planted."""
    if exit_code is None:
        is_untold = any(
            one.quantity == "time" and one.verdict in ("AMBIGUOUS", "ALONE") for one in rows
        )
        exit_code = 1 if any(one.is_regression for one in rows) else 3 if is_untold else 0
    return Judgement(rows, exit_code)


def nasty() -> tuple[compare_records.CompareRecord, Judgement]:
    """Text from outside wherever a record or a row has any."""
    record = compare_records.slower()
    side = dataclasses.replace(
        record.b,
        name=NASTY,
        machine=NASTY,
        machine_facts={NASTY: NASTY},
        packages={NASTY: NASTY},
        git_commit=None,
        unavailable={"git_commit": NASTY},
    )
    settings = dataclasses.replace(
        record.settings,
        command=f"compare '{NASTY}' ```",
        differing={NASTY: NASTY},
        only_a=(NASTY,),
        device=NASTY,
        dtype=NASTY,
    )
    cells = tuple(
        dataclasses.replace(one, name=NASTY, axes={NASTY: NASTY}) for one in record.compared_cells
    )
    record = dataclasses.replace(record, b=side, settings=settings, compared_cells=cells)
    rows = (
        slower(cell=NASTY),
        first_step(cell=NASTY, quantity=f"stage {NASTY}"),
        memory(cell=NASTY, quantity=f"memory {NASTY}"),
        broken(cell=f"{NASTY} 2", reasons=(NASTY,)),
        untold(cell=f"{NASTY} 3", reasons=(NASTY,)),
    )
    return record, judgement(*rows)
