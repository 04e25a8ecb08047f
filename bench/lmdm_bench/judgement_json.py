"""The verdicts of a comparison as JSON, for programs.

They follow from the record and can always be worked out again; this is for whoever has no Python.
"""

import dataclasses
import json

from lmdm_bench.compare_record import CompareRecord, Side
from lmdm_bench.compare_verdicts import Judgement
from lmdm_bench.compare_words import overall

JUDGEMENT_SCHEMA_VERSION = 1


def judgement_json(record: CompareRecord, judgement: Judgement) -> str:
    """The exit code, the sides and every row, with its effects and reasons, indented.

    Effects are b ÷ a. What cannot be told is null, with its reason beside it.
    """
    told = {
        "schema_version": JUDGEMENT_SCHEMA_VERSION,
        "created": record.created,
        "verdict": overall(judgement),
        "exit_code": judgement.exit_code,
        "is_interrupted": record.settings.is_interrupted,
        "a": _side(record.a),
        "b": _side(record.b),
        "rows": [
            dataclasses.asdict(row) | {"is_regression": row.is_regression} for row in judgement.rows
        ],
    }
    return json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _side(side: Side) -> dict[str, object]:
    return {
        "name": side.name,
        "git_commit": side.git_commit,
        "git_is_dirty": side.git_is_dirty,
        "machine": side.machine,
    }
