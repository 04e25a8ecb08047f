"""The machine is described whatever of it fails, and nobody can be told from it."""

import dataclasses
import getpass
import json
import platform
import socket
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from lmdm_bench import machine
from lmdm_bench.machine import describe_machine, machine_slug, usable_cores, why_no_cuda
from lmdm_bench.tool import describe_tool


class FakeNvmlError(Exception):
    pass


class FakeNvml:
    """A driver that knows one place on the bus; a power limit that is an error is raised."""

    NVMLError = FakeNvmlError

    def __init__(self, power_limit=75_000):
        self.power_limit = power_limit
        self.bus_ids = []

    def nvmlInit(self):
        pass

    def nvmlDeviceGetHandleByPciBusId(self, bus_id):
        self.bus_ids.append(bus_id)
        return "handle"

    def nvmlSystemGetDriverVersion(self):
        return "580.1"

    def nvmlDeviceGetEnforcedPowerLimit(self, handle):
        if isinstance(self.power_limit, Exception):
            raise self.power_limit
        return self.power_limit


@pytest.fixture
def cpu(monkeypatch):
    """Sets what py-cpuinfo and torch find on the processor."""

    def found(info, capabilities=None):
        monkeypatch.setattr(machine, "_cpu_info", lambda: info)
        monkeypatch.setattr(machine, "_torch_capabilities", lambda: capabilities or {})

    return found


@pytest.fixture
def cuda(monkeypatch):
    """Two laptop GPUs, as torch sees them; returns the setter of the driver beneath."""
    properties = SimpleNamespace(
        name="NVIDIA RTX 4070 Laptop GPU",
        major=8,
        minor=9,
        total_memory=8 << 30,
        multi_processor_count=36,
        pci_domain_id=0,
        pci_bus_id=0x0A,
        pci_device_id=0,
    )
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    return lambda nvml: monkeypatch.setitem(sys.modules, "pynvml", nvml)


def made(**fields):
    return dataclasses.replace(describe_machine(), **fields)


def test_this_machine_is_described_with_a_reason_for_all_that_is_missing():
    found = describe_machine()
    for name in ("num_physical_cores", "load_average_1min", "is_on_mains", "is_virtual"):
        assert (getattr(found, name) is None) == (name in found.unavailable), name
    assert (found.gpus == ()) == ("gpus" in found.unavailable)
    assert found.num_logical_cores >= usable_cores() >= 1
    assert found.num_threads == torch.get_num_threads()
    assert found.ram_bytes > 1 << 28
    assert set(found.cpu_isa) <= set(machine.ISA_SPELLINGS.values())


def test_no_host_user_or_folder_is_in_the_description():
    text = json.dumps([dataclasses.asdict(describe_machine()), dataclasses.asdict(describe_tool())])
    secrets = {str(Path.home()), str(Path.cwd())}
    # Words as short as "vm" or "root" occur in others; they are looked for as whole words.
    words = set(text.replace('"', " ").replace(",", " ").replace("/", " ").split())
    assert not any(secret in text for secret in secrets if len(secret) > 1)
    assert not words & {socket.gethostname(), platform.node(), getpass.getuser()}


@pytest.mark.parametrize(
    ("brand", "name"),
    [
        ("Intel(R) Core(TM) i7-8550U CPU @ 1.80GHz", "Intel Core i7-8550U"),
        ("12th Gen Intel(R) Core(TM) i7-12700H", "12th Gen Intel Core i7-12700H"),
        ("AMD Ryzen 7 5800X 8-Core Processor", "AMD Ryzen 7 5800X"),
        ("AMD Ryzen 7 7840U w/ Radeon 780M Graphics", "AMD Ryzen 7 7840U w/ Radeon 780M Graphics"),
        ("  AMD   EPYC ", "AMD EPYC"),
        ("Apple M2", "Apple M2"),
        ("CPU", "CPU"),
    ],
)
def test_a_machine_is_named_by_its_processor_cores_memory_and_system(cpu, monkeypatch, brand, name):
    cpu({"brand_raw": brand, "flags": []})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=25_276_502_016))
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: 8)
    monkeypatch.setattr(machine, "usable_cores", lambda: 2)
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    assert describe_machine().name == f"{name}, 2 cores, 23 GiB, Linux"


def test_one_core_is_not_cores(monkeypatch):
    monkeypatch.setattr(machine, "usable_cores", lambda: 1)
    assert ", 1 core, " in describe_machine().name


@pytest.mark.parametrize("info", [{}, {"brand_raw": ""}, {"brand_raw": 7, "flags": None}])
def test_a_processor_that_does_not_tell_its_name_is_unknown_with_a_reason(cpu, info):
    cpu(info)
    found = describe_machine()
    assert found.cpu == f"unknown {platform.machine()}"
    assert found.unavailable["cpu"] == "the system does not tell the processor's model"
    assert found.cpu_isa == ()


def test_torch_names_the_processor_where_py_cpuinfo_cannot(cpu):
    cpu({}, {"cpu_name": "Neoverse V2", "sve": True, "bf16": True, "sme": False})
    found = describe_machine()
    assert found.cpu == "Neoverse V2" and "cpu" not in found.unavailable
    assert found.cpu_isa == ("bf16", "sve")


@pytest.mark.parametrize("outcome", [Exception("unknown architecture"), "not a dict", None])
def test_a_failing_py_cpuinfo_is_survived(monkeypatch, outcome):
    def find():
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setitem(sys.modules, "cpuinfo", SimpleNamespace(get_cpu_info=find))
    assert machine._cpu_info.__wrapped__() == {}


def test_an_older_torch_that_tells_no_capabilities_is_survived(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert machine._torch_capabilities.__wrapped__() == {}


def test_instructions_have_one_spelling(cpu):
    cpu({"flags": ["avx512f", "avx512vnni", "AMX_BF16", "mmx"]}, {"avx512_f": True, "amx_int8": 0})
    assert describe_machine().cpu_isa == ("amx_bf16", "avx512_vnni", "avx512f")


@pytest.mark.parametrize(
    ("battery", "is_on_mains", "reason"),
    [
        (SimpleNamespace(power_plugged=True), True, None),
        (SimpleNamespace(power_plugged=False), False, None),
        (SimpleNamespace(power_plugged=None), None, "the battery does not tell"),
        (None, None, "no battery was found"),
    ],
)
def test_mains_or_battery(monkeypatch, battery, is_on_mains, reason):
    monkeypatch.setattr(psutil, "sensors_battery", lambda: battery, raising=False)
    found = describe_machine()
    assert (found.is_on_mains, found.unavailable.get("is_on_mains")) == (is_on_mains, reason)


def test_a_system_without_batteries_or_with_a_broken_one_is_survived(monkeypatch):
    monkeypatch.delattr(psutil, "sensors_battery", raising=False)
    assert describe_machine().unavailable["is_on_mains"] == "no battery was found"

    def broken():
        raise FileNotFoundError("/sys/class/power_supply/BAT0")

    monkeypatch.setattr(psutil, "sensors_battery", broken, raising=False)
    reason = describe_machine().unavailable["is_on_mains"]
    assert reason == "the battery could not be read: FileNotFoundError"


@pytest.mark.parametrize(
    ("system", "architecture", "flags", "is_virtual"),
    [
        ("Linux", "x86_64", ["avx2", "hypervisor"], True),
        ("Linux", "x86_64", ["avx2"], False),
        ("Linux", "x86_64", [], None),
        ("Linux", "aarch64", ["asimd"], None),
        ("Windows", "AMD64", ["avx2", "hypervisor"], None),
    ],
)
def test_a_virtual_machine_is_told_only_where_it_is_certain(
    cpu, monkeypatch, system, architecture, flags, is_virtual
):
    cpu({"brand_raw": "AMD EPYC", "flags": flags})
    monkeypatch.setattr(platform, "system", lambda: system)
    monkeypatch.setattr(platform, "machine", lambda: architecture)
    found = describe_machine()
    assert found.is_virtual is is_virtual
    assert ("is_virtual" in found.unavailable) == (is_virtual is None)


def test_windows_has_no_load_average(monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Windows")
    found = describe_machine()
    assert found.load_average_1min is None
    assert found.unavailable["load_average_1min"] == "Windows keeps no load average"
    assert found.os.startswith("Windows ")


def test_a_kernel_is_told_by_its_numbers_alone(monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "release", lambda: "6.18.4-someones-build7")
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"PRETTY_NAME": "A Linux"})
    assert describe_machine().os == "A Linux, kernel 6.18.4"


def test_the_operating_system_of_a_mac(monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "mac_ver", lambda: ("15.1", ("", "", ""), "arm64"))
    monkeypatch.setattr(platform, "release", lambda: "24.1.0")
    found = describe_machine()
    assert found.os == "macOS 15.1, kernel 24.1.0"
    assert found.name.endswith(", macOS")


def test_logical_cores_alone_are_enough(monkeypatch):
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: 4 if logical else None)
    found = describe_machine()
    assert (found.num_logical_cores, found.num_physical_cores) == (4, None)
    assert "num_physical_cores" in found.unavailable


def test_a_gpu_is_described_by_torch_and_the_driver_together(cuda):
    nvml = FakeNvml()
    cuda(nvml)
    found = describe_machine("cuda")
    assert found.name.startswith("NVIDIA RTX 4070 Laptop GPU, ")
    assert len(found.gpus) == 2
    gpu = found.gpus[0]
    assert (gpu.compute_capability, gpu.num_multiprocessors, gpu.driver) == ("8.9", 36, "580.1")
    assert gpu.power_limit_watts == 75.0
    assert nvml.bus_ids[0] == "00000000:0a:00.0"
    assert not any(name.startswith("gpus") for name in found.unavailable)


def test_a_run_on_the_cpu_is_not_named_after_the_gpu(cuda):
    cuda(FakeNvml())
    assert not describe_machine("cpu").name.startswith("NVIDIA")


def test_a_gpu_that_withholds_its_power_limit_keeps_its_driver(cuda):
    cuda(FakeNvml(FakeNvmlError("Not Supported")))
    found = describe_machine("cuda")
    assert (found.gpus[1].driver, found.gpus[1].power_limit_watts) == ("580.1", None)
    assert found.unavailable["gpus[1].power_limit_watts"] == "NVML: Not Supported"


def test_a_gpu_without_nvml_is_still_described(cuda):
    cuda(None)  # an import of it raises
    found = describe_machine("cuda")
    assert found.gpus[0].driver is None
    assert found.unavailable["gpus[0].driver"].startswith("NVML: ")


def test_torchs_own_warning_is_the_reason_for_no_cuda(monkeypatch):
    def is_available():
        warnings.warn("The NVIDIA driver on your system is too old\nmore", stacklevel=1)
        return False

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    found = describe_machine("cuda")
    assert found.gpus == ()
    assert found.unavailable["gpus"] == "The NVIDIA driver on your system is too old"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert why_no_cuda() == "torch finds no CUDA device"


def test_a_slug_is_a_part_of_a_file_name():
    found = made(name="NVIDIA RTX 4070, Intel Core i7-12700H, 14 cores, 31 GiB, Windows")
    slug = "nvidia-rtx-4070-intel-core-i7-12700h-14-cores-31-gib-windows"
    assert machine_slug(found) == slug
    assert machine_slug(made(name="../../é")) == "machine"
    assert len(machine_slug(made(name="a b " * 99))) <= machine.SLUG_LENGTH
