"""Peaks are seen though they pass, and a figure that cannot be had has its reason."""

import os
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lmdm_bench import memory
from lmdm_bench.memory import RssPeak, baseline, free_bytes, peak_memory

LARGE_BYTES = 96 << 20
VRAM = memory.VRAM_FIELDS


class FakeNvmlError(Exception):
    pass


class FakeNvml:
    """A driver with one device; a figure that is an error is raised."""

    NVMLError = FakeNvmlError

    def __init__(self, processes, used):
        self.processes, self.used = processes, used

    def nvmlDeviceGetComputeRunningProcesses(self, handle):
        if isinstance(self.processes, Exception):
            raise self.processes
        return self.processes

    def nvmlDeviceGetMemoryInfo(self, handle):
        if isinstance(self.used, Exception):
            raise self.used
        return SimpleNamespace(used=self.used)


def process(pid, used_bytes):
    return SimpleNamespace(pid=pid, usedGpuMemory=used_bytes)


@pytest.fixture
def cuda(monkeypatch):
    """torch.cuda with known figures; returns the setter of the driver beneath."""
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda index: 100 + index)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda index: 200 + index)
    return lambda nvml: monkeypatch.setattr(memory, "nvml_device", lambda index: (nvml, "handle"))


def finished(peak_bytes):
    peak = RssPeak()
    peak.peak_bytes = peak_bytes
    return peak


def test_a_peak_that_has_passed_was_seen():
    before = baseline("cpu")
    with RssPeak() as peak:
        passing = np.ones(LARGE_BYTES, dtype=np.uint8)
        for _ in range(2000):
            if peak.peak_bytes - before >= 0.9 * LARGE_BYTES:
                break
            time.sleep(memory.SAMPLE_SECONDS)
        del passing
    found = peak_memory(before, peak, "cpu")
    assert found.rss_peak_bytes >= 0.9 * LARGE_BYTES
    assert found.rss_baseline_bytes == before
    assert "rss_peak_bytes" not in found.unavailable


def test_the_peak_is_final_after_an_error_too():
    peak = RssPeak()
    with pytest.raises(RuntimeError, match="warm-up failed"), peak:
        raise RuntimeError("warm-up failed")
    assert peak.peak_bytes > 0
    assert not peak._thread.is_alive()


def test_a_resident_set_that_did_not_grow_is_a_reason_and_not_a_zero():
    found = peak_memory(1000, finished(1000), "cpu")
    assert found.rss_peak_bytes is None
    assert "did not grow" in found.unavailable["rss_peak_bytes"]


def test_a_run_on_the_cpu_has_no_gpu_figures_and_says_so():
    found = peak_memory(1000, finished(1500), "cpu")
    assert found.rss_peak_bytes == 500
    assert all(getattr(found, name) is None for name in VRAM)
    assert set(found.unavailable) == set(VRAM)
    assert found.unavailable[VRAM[0]] == "the run is on cpu, not on CUDA"


def test_cuda_has_four_different_figures(cuda):
    cuda(FakeNvml([process(1, 5), process(os.getpid(), 300)], 400))
    found = peak_memory(1000, finished(1500), "cuda:1")
    assert [getattr(found, name) for name in VRAM] == [101, 201, 300, 400]
    assert found.unavailable == {}


@pytest.mark.parametrize(
    ("processes", "reason"),
    [
        ([process(os.getpid(), None)], "does not tell a process's memory"),
        ([process(-1, 300)], "not in the driver's list"),
        (FakeNvmlError("Not Supported"), "Not Supported"),
    ],
)
def test_a_process_figure_that_the_driver_withholds_has_its_reason(cuda, processes, reason):
    cuda(FakeNvml(processes, 400))
    found = peak_memory(1000, finished(1500), "cuda")
    assert (found.vram_process_bytes, found.vram_device_bytes) == (None, 400)
    assert reason in found.unavailable["vram_process_bytes"]


def test_a_device_figure_that_the_driver_withholds_has_its_reason(cuda):
    cuda(FakeNvml([process(os.getpid(), 300)], FakeNvmlError("Not Supported")))
    found = peak_memory(1000, finished(1500), "cuda")
    assert (found.vram_process_bytes, found.vram_device_bytes) == (300, None)
    assert found.unavailable["vram_device_bytes"] == "NVML: Not Supported"


def test_without_a_driver_torchs_figures_remain(cuda, monkeypatch):
    def fail(index):
        raise LookupError("NVML: library not found")

    monkeypatch.setattr(memory, "nvml_device", fail)
    found = peak_memory(1000, finished(1500), "cuda")
    assert [getattr(found, name) for name in VRAM] == [100, 200, None, None]
    assert set(found.unavailable.values()) == {"NVML: library not found"}


def test_a_baseline_on_cuda_begins_its_counters_anew(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append("empty"))
    monkeypatch.setattr(
        torch.cuda, "reset_peak_memory_stats", lambda device: calls.append(str(device))
    )
    assert baseline("cuda:0") > 0
    assert calls == ["empty", "cuda:0"]


def test_free_memory_is_the_system_s_or_the_device_s(monkeypatch):
    monkeypatch.setattr(
        memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=500, total=900)
    )
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (70, 80))
    assert free_bytes("cpu") == 500
    assert free_bytes("cuda:0") == 70
