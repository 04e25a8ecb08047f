"""How one value looks to a reader: its digits, unit, name and colour, the same everywhere.

Figures have three significant digits. A figure that cannot be told reads ``n/a`` with its reason,
never 0 and never blank. Digits and units are joined by no-break spaces.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from lmdm_bench import estimates
from lmdm_bench.record import Ceiling, Cell, Cost, Estimate, Gpu, Machine, Memory, Workload

NBSP = "\N{NO-BREAK SPACE}"
TIMES = "\N{MULTIPLICATION SIGN}"
NOT_AVAILABLE = "n/a"

# Diffusion: from the palette of Okabe and Ito, which the colour-blind can tell apart. LMMs: one
# darker and one lighter than those three, by 10 and more of CIE L*, so that grey tells them apart.
SCHEME_COLOURS = {
    "outpaint": "#D55E00",
    "encoder-decoder": "#0072B2",
    "block-causal": "#009E73",
    "lmm-encoder-decoder": "#A3006A",
    "lmm-frame-wise": "#E0A800",
}
OTHER_COLOUR = "#AA4499"
CODEC_COLOUR = "#98A1AC"

STAGES = {
    "context_encode": "context encode",
    "first_step": "first step",
    "later_step": "later step, each",
    "denoise": "all steps",
    "commit": "commit",
    "codec_decode": "codec decode",
    "host": "host",
}

EVALUATIONS = "evaluations or tokens"

_SIGNIFICANT = 3
_MOST_DECIMALS = 6
_AXES = {
    "context_frames": "context",
    "block_frames": "block",
    "visible_blocks": "visible blocks",
    "num_levels": "levels",
    "steps": "steps",
    "sampler": "sampler",
    "guidance_scale": "guidance",
    "batch": "batch",
    "dtype": "dtype",
    "attention": "attention",
}


def number(value: float, decimals: int | None = None) -> str:
    """``1 234``, ``27.3``, ``0.0213``: thousands apart, three significant digits unless told."""
    places = _decimals_of(value) if decimals is None else decimals
    return f"{value:,.{places}f}".replace(",", NBSP)


def count(value: int) -> str:
    """``1 928``: a whole number, all of it."""
    return number(value, 0)


def milliseconds(value: float | None) -> str:
    """``1 234 ms``."""
    return _with_unit(value, "ms")


def gibibytes(value: int | None) -> str:
    """``1.21 GiB``: memory that is held."""
    return _with_unit(None if value is None else value / 2**30, "GiB")


def gigabytes(value: float | None) -> str:
    """``5.32 GB``: bytes that are moved, in the powers of ten in which bandwidths are given."""
    return _with_unit(None if value is None else value / 1e9, "GB")


def gigaflop(value: float | None) -> str:
    """``1 234 GFLOP``, or ``720 TFLOP`` where that is shorter."""
    if value is not None and value >= 1e13:
        return _with_unit(value / 1e12, "TFLOP")
    return _with_unit(None if value is None else value / 1e9, "GFLOP")


def millions(value: int) -> str:
    """``340.9 M``, as models are called."""
    return f"{number(value / 1e6, 1)}{NBSP}M"


def seconds(value: float) -> str:
    """``2.23 s``."""
    return _with_unit(value, "s")


def ratio(value: float | None) -> str:
    """``1.32`` and a multiplication sign."""
    return NOT_AVAILABLE if value is None else f"{number(value)}{TIMES}"


def share(value: float | None) -> str:
    """``47 %``; a part that is there but rounds to nothing reads ``< 1 %``."""
    if value is None:
        return NOT_AVAILABLE
    if 0 < value < 0.005:
        return f"<{NBSP}1{NBSP}%"
    return f"{value * 100:.0f}{NBSP}%"


def relative_error(value: float) -> str:
    """``3.1e-03``."""
    return f"{value:.1e}"


def plain(text: str) -> str:
    """Someone else's text on one line: no newlines, no control characters."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def estimate(one: Estimate, unit: str = "") -> str:
    """``1 887 [1 860, 1 910] ms``, or why not: ``n/a (needs 72 blocks)``."""
    return _joined(value_and_interval(one), unit)


def rtf(one: Estimate) -> str:
    """``0.85 [0.84, 0.87]``, with as many digits as it takes to see on which side of 1 it is."""
    return _joined(rtf_and_interval(one), "")


def value_and_interval(one: Estimate) -> tuple[str, str]:
    """The figure, and its interval in brackets (or why there is none), apart."""
    return _apart(one, _decimals_of(one.value or 0.0), lambda end, places: False)


def rtf_and_interval(one: Estimate) -> tuple[str, str]:
    """As ``value_and_interval``, for a real-time factor."""
    least = max(2, _decimals_of(one.value or 0.0, 2))
    return _apart(one, least, lambda end, places: round(end, places) == 1 != end)


def model_ms(cell: Cell) -> Estimate:
    """The median model time of one block: its service time without the codec's part of it."""
    if cell.summary is None:
        return _absent(cell)
    measured = [one for one in cell.blocks if not one.is_warmup]
    return estimates.quantile([estimates.model_ms(one) for one in measured], 0.5)


def rtf_model(cell: Cell) -> Estimate:
    """Seconds of the model's work for one second of audio, by which all cells can be compared."""
    return _absent(cell) if cell.summary is None else cell.summary.rtf_model


def per_second(one: Estimate, block_seconds: float) -> Estimate:
    """What was told of a block, told of one second of its audio."""
    value = None if one.value is None else one.value / block_seconds
    ci95 = None if one.ci95 is None else (one.ci95[0] / block_seconds, one.ci95[1] / block_seconds)
    return replace(one, value=value, ci95=ci95)


def _absent(cell: Cell) -> Estimate:
    return Estimate(None, None, 0, "none", why_not(cell, None))


def why_not(cell: Cell, told: Estimate | None) -> str:
    """Why a cell has no such figure: its status and reason, or the estimate's own reason."""
    if cell.summary is None:
        return f"{cell.status}: {plain(cell.reason or 'no reason given')}"
    return plain((told.reason if told else None) or "not measured")


def over(measured: float | None, bound: float) -> float | None:
    """Measured ÷ bound, where there are both."""
    return None if measured is None or bound <= 0 else measured / bound


def is_lmm(workload: Workload) -> bool:
    """Whether the cell makes tokens, frame by frame, instead of denoising a block in steps."""
    return workload.steps is None


def is_cuda(memory: Memory | None) -> bool:
    """Whether any of the four CUDA figures was taken."""
    if memory is None:
        return False
    taken = (
        memory.vram_allocated_bytes,
        memory.vram_reserved_bytes,
        memory.vram_process_bytes,
        memory.vram_device_bytes,
    )
    return any(one is not None for one in taken)


def peak_memory(memory: Memory | None) -> str:
    """The one memory figure of a results table: see ``PEAK_MEMORY_MEANS``."""
    if memory is None:
        return NOT_AVAILABLE
    return gibibytes(memory.vram_reserved_bytes if is_cuda(memory) else memory.rss_peak_bytes)


PEAK_MEMORY_MEANS = (
    "Peak memory is the resident set above the baseline taken before the model was built; "
    "on CUDA it is what the allocator had reserved on the device."
)


def window(workload: Workload) -> str:
    """``192 + 48``: context and block."""
    return f"{workload.context_frames} + {workload.block_frames}"


def bound_by(cost: Cost, ceiling: Ceiling | None) -> str:
    """What the model's bound is made of: computing, or moving bytes."""
    if ceiling is None:
        return NOT_AVAILABLE
    computing = cost.flops_per_block / ceiling.flops_per_second
    moving = cost.bytes_per_block / ceiling.bytes_per_second
    return "FLOPs" if computing >= moving else "bytes"


def codec_bound(cost: Cost) -> str:
    """``286 ms``: what decoding a block takes at least, or ``none`` without a codec."""
    return "none" if cost.codec is None else milliseconds(cost.codec.bound_ms)


def machine_facts(machine: Machine) -> list[tuple[str, str]]:
    """What is known of a machine, and why the rest is not, in the order in which to read it."""
    cores = machine.num_physical_cores
    facts = [
        ("machine", plain(machine.name)),
        ("system", plain(machine.os)),
        ("processor", f"{plain(machine.cpu)} ({plain(machine.cpu_architecture)})"),
        ("instructions", plain(", ".join(machine.cpu_isa)) or "none that matter here"),
        (
            "cores",
            f"{_told(cores, machine, 'num_physical_cores')} physical, "
            f"{machine.num_logical_cores} logical, {machine.num_threads} threads used",
        ),
        ("memory", gibibytes(machine.ram_bytes)),
        ("load, 1 min", _told(machine.load_average_1min, machine, "load_average_1min")),
        ("on mains", _told(machine.is_on_mains, machine, "is_on_mains")),
        ("virtual", _told(machine.is_virtual, machine, "is_virtual")),
    ]
    facts += [("GPU", _gpu(gpu)) for gpu in machine.gpus] or [
        ("GPU", f"none ({plain(machine.unavailable.get('gpus', 'no CUDA device was found'))})")
    ]
    told = {"num_physical_cores", "load_average_1min", "is_on_mains", "is_virtual", "gpus"}
    facts += [
        (plain(name), f"{NOT_AVAILABLE} ({plain(why)})")
        for name, why in machine.unavailable.items()
        if name not in told
    ]
    return facts


def _told(value: float | None, machine: Machine, field: str) -> str:
    if value is None:
        return f"{NOT_AVAILABLE} ({plain(machine.unavailable.get(field, 'no reason given'))})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value, 2) if isinstance(value, float) else str(value)


def _gpu(gpu: Gpu) -> str:
    power = gpu.power_limit_watts
    return (
        f"{plain(gpu.name)}, compute capability {plain(gpu.compute_capability)}, "
        f"{gibibytes(gpu.memory_bytes)}, {gpu.num_multiprocessors} multiprocessors, "
        f"driver {plain(gpu.driver or NOT_AVAILABLE)}, "
        f"power limit {_with_unit(power, 'W')}"
    )


def scheme_colour(scheme: str) -> str:
    """The colour of a scheme in every figure and table."""
    return SCHEME_COLOURS.get(scheme, OTHER_COLOUR)


def model(workload: Workload, cost: Cost) -> str:
    """``sao-small, 340.9 M``: the preset, and how many parameters it has (codec left out)."""
    return f"{plain(workload.model)}, {millions(cost.parameters)}"


def blocks(num: int) -> str:
    """``1 block``, ``9 blocks``."""
    return f"{count(num)}{NBSP}block{'' if num == 1 else 's'}"


def names(workloads: Sequence[Workload]) -> list[str]:
    """A short name for each workload: its scheme, its model where models differ, and the axes on
    which its like differ from it.
    """
    are_many = len({one.model for one in workloads}) > 1
    found: list[str] = []
    for workload in workloads:
        models = [plain(workload.model)] if are_many else []
        name = ", ".join([plain(workload.scheme), *models, *_differing(workload, workloads)])
        found.append(name if name not in found else f"{name} (cell {len(found) + 1})")
    return found


def names_beside_models(workloads: Sequence[Workload]) -> list[str]:
    """As ``names``, for where the model has a place of its own."""
    found = []
    for name, workload in zip(names(workloads), workloads, strict=True):
        scheme = plain(workload.scheme)
        rest = name.removeprefix(scheme).removeprefix(f", {plain(workload.model)}")
        found.append(scheme + rest)
    return found


def spoken(name: str) -> str:
    """``block-causal (steps 4)``: a name inside a sentence."""
    scheme, _, rest = name.partition(", ")
    return f"{scheme} ({rest})" if rest else name


def _with_unit(value: float | None, unit: str) -> str:
    return NOT_AVAILABLE if value is None else f"{number(value)}{NBSP}{unit}"


def _differing(workload: Workload, workloads: Sequence[Workload]) -> list[str]:
    alike = [one for one in workloads if one.scheme == workload.scheme]
    return [
        f"{word} {_axis(getattr(workload, axis))}"
        for axis, word in _AXES.items()
        if len({getattr(one, axis) for one in alike}) > 1
    ]


def _axis(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else plain(str(value))


def _apart(
    one: Estimate, least_places: int, can_hide: Callable[[float, int], bool]
) -> tuple[str, str]:
    if one.value is None:
        return NOT_AVAILABLE, f"({plain(one.reason or 'no reason given')})"
    ends = one.ci95 or (one.value, one.value)
    places = least_places
    while places < _MOST_DECIMALS and (
        any(can_hide(end, places) for end in (one.value, *ends))
        or (ends[0] < ends[1] and round(ends[0], places) == round(ends[1], places))
    ):
        places += 1
    value = number(one.value, places)
    if one.ci95 is None:
        return value, f"({plain(one.reason or 'no interval')})"
    return value, f"[{number(ends[0], places)},{NBSP}{number(ends[1], places)}]"


def _joined(parts: tuple[str, str], unit: str) -> str:
    value, interval = parts
    if unit and value != NOT_AVAILABLE:
        if interval.startswith("["):
            return f"{value} {interval}{NBSP}{unit}"
        return f"{value}{NBSP}{unit} {interval}"
    return f"{value} {interval}"


def _decimals_of(value: float, significant: int = _SIGNIFICANT) -> int:
    if value == 0:
        return 0
    rounded = float(f"{abs(value):.{significant - 1}e}")
    return min(_MOST_DECIMALS, max(0, significant - 1 - math.floor(math.log10(rounded))))
