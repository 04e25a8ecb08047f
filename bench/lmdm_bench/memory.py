"""Peak memory of a stretch of work that is not timed."""

import contextlib
import ctypes
import gc
import os
import sys
import threading
from types import TracebackType
from typing import Any, Self

import psutil

from lmdm_bench.machine import nvml_device
from lmdm_bench.record import Memory

SAMPLE_SECONDS = 0.005

VRAM_FIELDS = (
    "vram_allocated_bytes",
    "vram_reserved_bytes",
    "vram_process_bytes",
    "vram_device_bytes",
)


def baseline(device: str) -> int:
    """The resident set in bytes before a model is built; CUDA's peak counters start anew.

    Freed memory goes back to the system first: else what an earlier cell left in the allocator's
    pool would hide in this cell's baseline, and its peak would look smaller than it is.
    """
    gc.collect()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # musl has no malloc_trim
            ctypes.CDLL(None).malloc_trim(0)
    if _is_cuda(device):
        import torch

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    return _rss_bytes()


def free_bytes(device: str) -> int:
    """Memory in which a model could be built now."""
    if _is_cuda(device):
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


class RssPeak:
    """The largest resident set seen inside a ``with``, sampled every 5 ms by a thread of its own.

    Only for warm-up blocks: the thread takes time from what it watches. ``peak_bytes`` is final
    once the ``with`` is left, by an error too.
    """

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="rss-peak", daemon=True)

    def __enter__(self) -> Self:
        self._look()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._look()
        self._is_over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._is_over.wait(SAMPLE_SECONDS):
            self._look()

    def _look(self) -> None:
        self.peak_bytes = max(self.peak_bytes, _rss_bytes())


def peak_memory(baseline_bytes: int, peak: RssPeak, device: str) -> Memory:
    """The record's figures after a ``with`` of ``peak``: what could not be had has its reason.

    ``rss_peak_bytes`` is the growth above ``baseline_bytes``. torch's two figures are peaks since
    ``baseline``. NVML keeps no peaks, so its two are of this moment; since torch holds on to what
    it reserved, that is the peak as long as its cache was not emptied in between.
    """
    unavailable = {}
    grown = peak.peak_bytes - baseline_bytes
    if grown <= 0:
        unavailable["rss_peak_bytes"] = "the resident set did not grow above the baseline"
    vram: dict[str, int | None] = dict.fromkeys(VRAM_FIELDS)
    if _is_cuda(device):
        _read_vram(device, vram, unavailable)
    else:
        for name in VRAM_FIELDS:
            unavailable[name] = f"the run is on {device}, not on CUDA"
    return Memory(
        rss_peak_bytes=grown if grown > 0 else None,
        rss_baseline_bytes=baseline_bytes,
        unavailable=unavailable,
        **vram,
    )


def _read_vram(device: str, vram: dict[str, int | None], unavailable: dict[str, str]) -> None:
    import torch

    index = torch.device(device).index or 0
    vram["vram_allocated_bytes"] = torch.cuda.max_memory_allocated(index)
    vram["vram_reserved_bytes"] = torch.cuda.max_memory_reserved(index)
    try:
        nvml, handle = nvml_device(index)
    except LookupError as error:
        unavailable["vram_process_bytes"] = unavailable["vram_device_bytes"] = str(error)
        return
    try:
        vram["vram_device_bytes"] = int(nvml.nvmlDeviceGetMemoryInfo(handle).used)
    except nvml.NVMLError as error:
        unavailable["vram_device_bytes"] = f"NVML: {error}"
    try:
        vram["vram_process_bytes"] = _process_vram(nvml, handle)
    except (nvml.NVMLError, LookupError) as error:
        unavailable["vram_process_bytes"] = f"NVML: {error}"


def _process_vram(nvml: Any, handle: Any) -> int:
    for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle):
        if process.pid == os.getpid():
            # Under Windows' display driver model NVML lists the process without its memory.
            if process.usedGpuMemory is None:
                raise LookupError("this driver does not tell a process's memory")
            return int(process.usedGpuMemory)
    # In a container NVML speaks of the host's process numbers.
    raise LookupError("this process is not in the driver's list")


def _rss_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


def _is_cuda(device: str) -> bool:
    return device.partition(":")[0] == "cuda"
