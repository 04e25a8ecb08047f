"""The list of the figures of a check, each drawn from its record alone.

Colour is the scheme and ink is what came too late, in every figure; a figure is legible without
colour. As in ``figures.py``, the same record gives the same picture.
"""

from collections.abc import Callable

from matplotlib.figure import Figure

from lmdm_bench.check_record import CheckRecord
from lmdm_bench.jitter_figure import jitter
from lmdm_bench.prebuffer_figure import prebuffer
from lmdm_bench.service_time_figure import service_time
from lmdm_bench.survival_figure import survival
from lmdm_bench.waterfall_figure import waterfall

CHECK_FIGURES: dict[str, Callable[[CheckRecord], Figure]] = {
    "service_time": service_time,
    "waterfall": waterfall,
    "prebuffer": prebuffer,
    "survival": survival,
    "jitter": jitter,
}


def draw_all(record: CheckRecord) -> dict[str, Figure]:
    """Every figure by its name."""
    return {name: draw(record) for name, draw in CHECK_FIGURES.items()}
