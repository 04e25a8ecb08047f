"""The list of the figures of a kernels run, each drawn from its record alone.

Colour is the backend, in every figure. As in ``figures.py``, the same record gives the same
picture.
"""

from collections.abc import Callable

from matplotlib.figure import Figure

from lmdm_bench.kernels_ratio_figure import times_beside
from lmdm_bench.kernels_record import KernelsRecord
from lmdm_bench.kernels_roofline_figure import roofline

KERNELS_FIGURES: dict[str, Callable[[KernelsRecord], Figure]] = {
    "times_beside": times_beside,
    "roofline": roofline,
}
