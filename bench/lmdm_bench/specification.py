"""What a GPU that nothing was measured on may reach, from its specification and published figures.

A rate is what is printed, times the part of it that others were published to reach on such GPUs,
times what these models reach of a device's best in a calibration, widened. Where those come from:

- memory: whole decoding steps of language models, one token at a time, which read all weights as an
  LMM's step does, and copies; published figures of the same maker's GPUs;
- matrix products: the largest products published for the maker's GPUs, times the part of its best
  product that the calibrated device reaches in these models;
- attention and codec: their parts of the products' rate on the calibrated device;
- launches: published times of tiny kernels, from a captured graph, or one by one; one by one it is
  the host that is slow, and the calibrated device's own launch time stands in for it.

No figure is of a live music model: the predictions are tested with what was published of those.
A ``Range`` has the slowest of all together, the likeliest, and the fastest: it is no confidence
interval, since nothing says how often such a device is outside of it.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lmdm_bench.calibration_fit import Calibration
from lmdm_bench.gpu_table import Family, GpuSpec
from lmdm_bench.record import Ceiling
from lmdm_bench.roofline import CACHE_SPEEDUP, Rates

# What a part of a rate, found on one device, may be off by on another.
WIDENED = 2.0

# Of an A100's cache, see ``CACHE_SPEEDUP``: what is printed of it, 7.2 of 1.555 TB/s.
MOST_CACHE_SPEEDUP = 4.6


@dataclass(frozen=True)
class Published:
    """What someone measured, and what is printed of the same device, in the same unit."""

    what: str
    reached: float
    printed: float
    source: str

    @property
    def part(self) -> float:
        return min(1.0, self.reached / self.printed)


class Band(NamedTuple):
    """The slowest, the likeliest and the fastest of a figure: larger is faster."""

    slow: float
    likely: float
    fast: float


class Range(NamedTuple):
    """A device's rates at the slow end, at the likeliest, and at the fast end."""

    slow: Rates
    likely: Rates
    fast: Rates


_GPT_FAST = "https://github.com/pytorch-labs/gpt-fast"
_LLAMA_APPLE = "https://github.com/ggml-org/llama.cpp/discussions/4167"
_DEVICES = "https://github.com/chsasank/device-benchmarks"

# Llama 2 7B in half precision, read once for each token.
_LLAMA_GB = 12.55 * 1.073741824


def _llama(chip: str, tokens_per_second: float, printed: float) -> Published:
    return Published(
        f"{chip}, Llama 7B in float16", tokens_per_second * _LLAMA_GB, printed, _LLAMA_APPLE
    )


# GB/s.
MEMORY: dict[Family, tuple[Published, ...]] = {
    "nvidia": (
        Published("A100 80 GB, Llama 2 7B in bfloat16", 1397.31, 2039, _GPT_FAST),
        Published("RTX 4090, Llama 2 7B", 65 * _LLAMA_GB, 1008, f"{_GPT_FAST}/issues/27"),
        Published("T4, a copy", 240, 320, _DEVICES),
        Published("A10, a copy", 469, 600, _DEVICES),
        Published("RTX 3090, a copy", 831, 936.2, _DEVICES),
        Published("RTX 4070 SUPER, a copy", 411, 504.2, _DEVICES),
        Published("RTX 4090, a copy", 912, 1008, _DEVICES),
    ),
    "apple": (
        _llama("M2", 6.72, 102.4),
        _llama("M2 Pro", 12.47, 204.8),
        _llama("M2 Max", 24.16, 409.6),
        _llama("M2 Ultra", 39.86, 819.2),
        _llama("M3 Pro", 9.89, 153.6),
        _llama("M4", 7.43, 120),
        _llama("M4 Pro", 17.18, 273),
        _llama("M4 Max", 31.64, 546),
    ),
    "amd": (
        Published("MI250X, one die, Llama 2 7B", 1028.70, 1638.4, _GPT_FAST),
        Published("RX 7900 XTX, a copy", 792, 960, _DEVICES),
    ),
    "intel": (
        Published("Arc A770, a copy", 452, 560, _DEVICES),
        Published("Arc A370M, a copy", 93, 112, _DEVICES),
    ),
}

# TFLOP/s of large products; half precision unless it says otherwise.
PRODUCTS: dict[Family, tuple[Published, ...]] = {
    "nvidia": (
        Published("A10", 56, 125, _DEVICES),
        Published("V100", 84, 125, _DEVICES),
        Published("RTX 4090", 168, 165.2, _DEVICES),
    ),
    "apple": (
        Published("M1 in float32", 1.4, 2.6, _DEVICES),
        Published("M1 Pro", 4.3, 5.3, _DEVICES),
        Published("M2 in float32", 2.0, 3.55, _DEVICES),
        Published("M2 Ultra in float32", 20, 27.2, _DEVICES),
        Published("M3 Max in float32", 11.4, 14.2, f"{_DEVICES}/pull/7"),
        Published("M4 Max in float32", 13.3, 18.0, f"{_DEVICES}/pull/13"),
    ),
    "amd": (Published("RX 7900 XTX", 104, 122.8, _DEVICES),),
    "intel": (),
}

# Microseconds of a tiny kernel among others that were captured or encoded together.
_JULIA = "https://cuda.juliagpu.org/dev/usage/graphs/"
REPLAYED_MICROSECONDS: dict[Family, tuple[tuple[float, str], ...]] = {
    "nvidia": (
        (70 / 80, _JULIA),
        (1.2, "https://github.com/pytorch/pytorch/issues/161104"),
    ),
    "apple": (
        (7.7e3 / 3200, "https://github.com/ml-explore/mlx/issues/4521"),
        (8.8e3 / 3200, "https://github.com/ml-explore/mlx/issues/4521"),
        (5.16, "https://github.com/antonellof/ferrox/issues/149"),
    ),
    "amd": (),
    "intel": (),
}

# The least of one that the host launches by itself.
LAUNCHED_MICROSECONDS: dict[Family, tuple[float, str]] = {
    "nvidia": (260 / 80, _JULIA),
    "apple": (4.6, "https://github.com/pytorch/pytorch/issues/148219"),
}


def memory_band(family: Family) -> Band:
    """The part of the printed bandwidth: the least, the median and the most that was published."""
    return _band([one.part for one in MEMORY[family]])


def products_band(family: Family) -> Band:
    """The part of the printed FLOP/s; of all makers' where there is nothing of this one's."""
    found = PRODUCTS[family] or tuple(one for of in PRODUCTS.values() for one in of)
    return _band([one.part for one in found])


def launches_band(family: Family, *, is_graphed: bool, host: Calibration) -> Band:
    """Launches a second. One by one they take what ``host`` took, or more; at best what others
    published."""
    if is_graphed:
        known = REPLAYED_MICROSECONDS[family]
        found = known or tuple(one for of in REPLAYED_MICROSECONDS.values() for one in of)
        return _band([1e6 / microseconds for microseconds, _ in found])
    least, _ = LAUNCHED_MICROSECONDS.get(family, LAUNCHED_MICROSECONDS["nvidia"])
    likely = 1 / host.launch_seconds
    return Band(likely / WIDENED, likely, max(likely, 1e6 / least))


def gpu_rates(gpu: GpuSpec, dtype: str, host: Calibration, *, is_graphed: bool) -> Range:
    """A GPU's rates in a dtype; ``host`` is the calibration whose parts are taken over.

    All is slow at the slow end: nothing is hidden, and no cache helps. At the fast end no unit is
    ever idle. What a published decoding step did not hide is in its part of the bandwidth already,
    so that the likeliest rates are a roofline.
    """
    flops, of_best = _band_of(gpu.flops_per_second(dtype)), _matrix_band(host, dtype)
    cache_bytes = (gpu.cache_mib or 0.0) * 2**20
    ends = zip(
        launches_band(gpu.family, is_graphed=is_graphed, host=host),
        map(math.prod, zip(flops, products_band(gpu.family), of_best, strict=True)),
        transferred(host.attention_share),
        transferred(host.codec_share or 1.0),
        map(math.prod, zip(_bytes_band(gpu), memory_band(gpu.family), strict=True)),
        (0.0, cache_bytes, cache_bytes),
        (1.0, CACHE_SPEEDUP, MOST_CACHE_SPEEDUP),
        (gpu.num_units, gpu.num_units, 0),
        (1.0, 0.0, 0.0),
        strict=True,
    )
    return Range(*(_rates(*end) for end in ends))


def probed_rates(ceiling: Ceiling, host: Calibration) -> Range:
    """A machine of which nothing but its ceiling was measured: the calibrated device's parts of it,
    widened."""
    launches = 1 / host.launch_seconds
    of_best = _matrix_band(host, ceiling.dtype)
    of_memory = transferred(_mean(host, ceiling.dtype, "memory_efficiency"), most=math.inf)
    ends = zip(
        transferred(launches, most=math.inf),
        (ceiling.flops_per_second * part for part in of_best),
        transferred(host.attention_share),
        transferred(host.codec_share or 1.0),
        (ceiling.bytes_per_second * part for part in of_memory),
        (0.0, 0.0, 0.0),
        (1.0, 1.0, 1.0),
        (0, 0, 0),
        (1.0, host.unhidden, 0.0),
        strict=True,
    )
    return Range(*(_rates(*end) for end in ends))


def transferred(part: float, most: float = 1.0) -> Band:
    """A part that was found on another device."""
    return Band(part / WIDENED, part, min(most, part * WIDENED))


def _rates(
    launches_per_second: float,
    matrix: float,
    attention_share: float,
    codec_share: float,
    memory: float,
    cache_bytes: float,
    cache_speedup: float,
    num_units: int,
    unhidden: float,
) -> Rates:
    return Rates(
        launch_seconds=1 / launches_per_second,
        matrix_flops_per_second=matrix,
        attention_flops_per_second=matrix * attention_share,
        codec_flops_per_second=matrix * codec_share,
        memory_bytes_per_second=memory,
        cache_bytes=cache_bytes,
        cache_bytes_per_second=memory * cache_speedup,
        num_units=num_units,
        unhidden=unhidden,
    )


def _band(values: Sequence[float]) -> Band:
    return Band(min(values), statistics.median(values), max(values))


def _band_of(span: tuple[float, float]) -> Band:
    """Over all power limits; the likeliest is in the middle."""
    return Band(span[0], sum(span) / 2, span[1])


def _bytes_band(gpu: GpuSpec) -> Band:
    low, high = gpu.bandwidth_gb_per_second
    return _band_of((low * 1e9, high * 1e9))


def _matrix_band(host: Calibration, dtype: str) -> Band:
    return transferred(_mean(host, dtype, "matrix_efficiency"))


def _mean(host: Calibration, dtype: str, name: str) -> float:
    """The calibrated device's figure in this dtype, or the mean of those that it has."""
    fitted = host.of_dtype(dtype)
    return statistics.fmean(getattr(one, name) for one in ([fitted] if fitted else host.dtypes))
