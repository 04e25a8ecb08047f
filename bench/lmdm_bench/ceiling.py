"""What this machine can do at best: the two rates that every measured time is held against."""

import time
from collections.abc import Callable, Iterator, Sequence

import torch

from lmdm_bench.record import Ceiling

# Each rate is the best of as many tries as fit into this time: other load can only slow one down.
TRY_SECONDS = 0.4

# Products grow until one is long enough for the clock and for full occupancy, or this wide.
SMALLEST_WIDTH = 256
LARGEST_WIDTH = 8192
LONG_ENOUGH_SECONDS = 0.04
LARGEST_CPU_WIDTH = 4096

READ_BYTES = 512 << 20


# A product makes, for a width, dtype and device, the action that multiplies two such squares once.
Product = Callable[[int, torch.dtype, torch.device], Callable[[], None]]


def measure_ceiling(dtype: str, device: str, other_products: Sequence[Product] = ()) -> Ceiling:
    """Measure both rates, in about a second and with about half a GiB. Best of several tries.

    ``flops_per_second``: square matrix products in ``dtype``, a multiply and an add as two, by
    torch's own product and by each of ``other_products``: whatever library the model multiplies
    with has to be among them, or the ceiling is none.
    ``bytes_per_second``: summing a float32 buffer far larger than the last-level cache. Reading is
    the pattern that stands for a pass over the network: each weight is read once while few
    activations are written, so a copy, half of whose traffic is writes, would promise less than
    the passes reach and a bound from it would be no bound. The buffer is written with unequal
    numbers first, since pages that were never written share one page of zeros, which the cache
    serves at several times the memory's speed.

    Raises AttributeError or RuntimeError where torch lacks the dtype or the device.
    """
    return Ceiling(
        dtype=dtype,
        flops_per_second=max(
            _flops_per_second(make, getattr(torch, dtype), torch.device(device))
            for make in (_product, *other_products)
        ),
        bytes_per_second=_bytes_per_second(torch.device(device)),
    )


def _flops_per_second(make: Product, dtype: torch.dtype, device: torch.device) -> float:
    best = 0.0
    width = SMALLEST_WIDTH
    largest = LARGEST_CPU_WIDTH if device.type == "cpu" else LARGEST_WIDTH
    while True:
        multiply = make(width, dtype, device)
        multiply()
        seconds = min(_tries(multiply, device, TRY_SECONDS / 4))
        best = max(best, 2 * width**3 / seconds)
        if seconds >= LONG_ENOUGH_SECONDS or width >= largest:
            return best
        width *= 2


def _product(width: int, dtype: torch.dtype, device: torch.device) -> Callable[[], None]:
    left = torch.rand(width, width, device=device).to(dtype)
    right = torch.rand(width, width, device=device).to(dtype)
    product = torch.empty_like(left)

    def multiply() -> None:
        torch.mm(left, right, out=product)

    return multiply


def _bytes_per_second(device: torch.device) -> float:
    buffer = torch.arange(READ_BYTES // torch.float32.itemsize, device=device, dtype=torch.float32)

    def read() -> None:
        buffer.sum()

    read()
    return READ_BYTES / min(_tries(read, device, TRY_SECONDS))


def _tries(action: Callable[[], None], device: torch.device, seconds: float) -> Iterator[float]:
    """The seconds of each try, at least one, until the time is over."""
    over = time.perf_counter() + seconds
    while True:
        _synchronise(device)
        start = time.perf_counter()
        action()
        _synchronise(device)
        end = time.perf_counter()
        yield end - start
        if end >= over:
            return


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
