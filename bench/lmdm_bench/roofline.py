"""How long passes take on a device: launches, computing and moving bytes (no torch).

A pass takes its launches, then the longer of computing and moving bytes, and whatever part of the
shorter one is not hidden behind it. Computing knows three kinds of FLOPs, since a device does not
reach the same rate in each: matrix products with weights, attention, and a codec's convolutions.
Bytes that an earlier pass has left in the cache move at the cache's rate. On a device of many units
a product that makes too few tiles leaves units idle (wave quantisation).

Nothing here is measured or fitted: ``calibration_fit.py`` and ``specification.py`` say what the
rates are.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

Limit = Literal["launches", "computing", "memory"]

# A square of this side is the smallest tile of a product that feeds tensor cores; fewer rows than
# the least are a product with a vector, which libraries spread over all units by other means.
TILE_SIDE = 64
LEAST_TILED_ROWS = 16

# How much faster than memory a GPU's cache is read: measured on an A100, 4 830 of 1 555 GB/s.
# https://forums.developer.nvidia.com/t/how-to-reach-peak-bandwidth-of-l2-cache-on-a100/198560
CACHE_SPEEDUP = 3.1


@dataclass(frozen=True, kw_only=True)
class PassWork:
    """What one pass has to do, ``count`` times in a block.

    ``launches`` are operations that the host starts one by one. ``flops_matrix`` are those of
    ``products``, each as (columns of its result, its part of those FLOPs), of ``rows`` rows.
    ``bytes_reread`` of ``num_bytes`` were read by an earlier pass, with ``bytes_between`` read
    since then.
    """

    count: int
    launches: int
    rows: int
    products: tuple[tuple[int, float], ...]
    flops_matrix: float
    flops_attention: float
    flops_codec: float
    num_bytes: float
    bytes_reread: float
    bytes_between: float


@dataclass(frozen=True)
class Stage:
    """A part of a block's work that is timed by itself."""

    name: str
    passes: tuple[PassWork, ...]


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What a device reaches in one dtype, as it runs these models.

    ``num_units`` are its multiprocessors, 0 where products are not cut into tiles for them;
    ``cache_bytes`` is 0 where nothing is known of a cache. ``unhidden`` is the part of the shorter
    of computing and moving bytes that is not hidden behind the longer one: 0 is the roofline, 1 is
    one after the other.
    """

    launch_seconds: float
    matrix_flops_per_second: float
    attention_flops_per_second: float
    codec_flops_per_second: float
    memory_bytes_per_second: float
    cache_bytes: float
    cache_bytes_per_second: float
    num_units: int
    unhidden: float


@dataclass(frozen=True)
class Table:
    """Passes as columns of numbers, so that many are computed at once.

    ``stage_index`` says whose pass a row is. All other columns but ``count`` are of one pass.
    """

    stage_index: npt.NDArray[np.int64]
    count: Floats
    launches: Floats
    flops_matrix: Floats
    flops_attention: Floats
    flops_codec: Floats
    num_bytes: Floats
    bytes_reread: Floats
    bytes_between: Floats
    work: tuple[PassWork, ...]
    num_stages: int


def table(stages: Sequence[Stage]) -> Table:
    """The passes of all stages, in order."""
    rows = [(index, one) for index, stage in enumerate(stages) for one in stage.passes]
    work = tuple(one for _, one in rows)

    def column(name: str) -> Floats:
        return np.array([getattr(one, name) for one in work], dtype=np.float64)

    return Table(
        stage_index=np.array([index for index, _ in rows], dtype=np.int64),
        count=column("count"),
        launches=column("launches"),
        flops_matrix=column("flops_matrix"),
        flops_attention=column("flops_attention"),
        flops_codec=column("flops_codec"),
        num_bytes=column("num_bytes"),
        bytes_reread=column("bytes_reread"),
        bytes_between=column("bytes_between"),
        work=work,
        num_stages=len(stages),
    )


def stage_seconds(passes: Table, rates: Rates) -> Floats:
    """The seconds of each stage of the table."""
    launching, computing, moving = _parts(passes, rates)
    longer, shorter = np.maximum(computing, moving), np.minimum(computing, moving)
    seconds = passes.count * (launching + longer + rates.unhidden * shorter)
    summed: Floats = np.zeros(passes.num_stages)
    np.add.at(summed, passes.stage_index, seconds)
    return summed


def limit(stages: Sequence[Stage], rates: Rates) -> Limit:
    """Which of the three takes the most of these stages' time."""
    passes = table(stages)
    launching, computing, moving = (float(passes.count @ part) for part in _parts(passes, rates))
    parts: dict[Limit, float] = {
        "launches": launching,
        "computing": computing,
        "memory": moving,
    }
    return max(parts, key=parts.__getitem__)


def occupancy(rows: int, columns: int, num_units: int) -> float:
    """The part of a device's units that a product keeps busy, on average over its waves.

    All tiles of a wave take as long as a whole one: rows that fill none, and units without a tile
    in the last wave, are time lost.
    """
    if num_units == 0 or rows < LEAST_TILED_ROWS:
        return 1.0
    tiles = math.ceil(rows / TILE_SIDE) * math.ceil(columns / TILE_SIDE)
    waves = math.ceil(tiles / num_units)
    return rows * columns / (waves * num_units * TILE_SIDE**2)


def _parts(passes: Table, rates: Rates) -> tuple[Floats, Floats, Floats]:
    """Seconds of launches, of computing and of moving bytes, for one of each pass."""
    launching = passes.launches * rates.launch_seconds
    computing = (
        passes.flops_matrix / rates.matrix_flops_per_second / _occupancies(passes, rates.num_units)
        + passes.flops_attention / rates.attention_flops_per_second
        + passes.flops_codec / rates.codec_flops_per_second
    )
    moving = passes.num_bytes / rates.memory_bytes_per_second
    if rates.cache_bytes:
        is_kept = passes.bytes_between <= rates.cache_bytes
        saved = 1 / rates.memory_bytes_per_second - 1 / rates.cache_bytes_per_second
        moving = moving - np.where(is_kept, passes.bytes_reread, 0.0) * saved
    return launching, computing, moving


def _occupancies(passes: Table, num_units: int) -> Floats:
    """Each pass's own, over its products."""
    if num_units == 0:
        return np.ones(len(passes.work))
    slowed = [
        sum(part / occupancy(one.rows, columns, num_units) for columns, part in one.products) or 1.0
        for one in passes.work
    ]
    return 1 / np.array(slowed)
