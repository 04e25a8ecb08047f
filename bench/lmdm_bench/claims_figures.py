"""The list of the figures of a claims run, each drawn from its record alone.

Colour and marker are the scheme, in every figure; a figure is legible without colour. A panel that
has nothing to show says why in words. As in ``figures.py``, the same record gives the same picture.
"""

from collections.abc import Callable, Sequence

from matplotlib.figure import Figure

from lmdm_bench.claims import Judgement
from lmdm_bench.claims_audio_figure import audio_seconds
from lmdm_bench.claims_growth_figures import context, exponents
from lmdm_bench.claims_memory_figure import memory
from lmdm_bench.claims_ratio_figure import ratios
from lmdm_bench.claims_record import ClaimsRecord
from lmdm_bench.claims_steps_figure import steps
from lmdm_bench.claims_table_figure import claims_table, draw_claims

CLAIMS_FIGURES: dict[str, Callable[[ClaimsRecord], Figure]] = {
    "claims_table": claims_table,
    "steps": steps,
    "context": context,
    "exponents": exponents,
    "ratios": ratios,
    "audio_seconds": audio_seconds,
    "memory": memory,
}


def draw_all(record: ClaimsRecord, judgements: Sequence[Judgement]) -> dict[str, Figure]:
    """Every figure by its name, for verdicts that are there already."""
    return {
        name: draw_claims(record, judgements) if draw is claims_table else draw(record)
        for name, draw in CLAIMS_FIGURES.items()
    }
