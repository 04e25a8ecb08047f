"""What this machine is: every value that cannot be told has its reason."""

import contextlib
import functools
import os
import platform
import re
import warnings
from typing import Any

import psutil

from lmdm_bench.record import Gpu, Machine

# The instructions that decide how fast a network runs, under one spelling each.
ISA_SPELLINGS = {
    "avx2": "avx2",
    "avx512f": "avx512f",
    "avx512_f": "avx512f",
    "avx512_bf16": "avx512_bf16",
    "avx512bf16": "avx512_bf16",
    "avx512_fp16": "avx512_fp16",
    "avx512fp16": "avx512_fp16",
    "avx512_vnni": "avx512_vnni",
    "avx512vnni": "avx512_vnni",
    "avx_vnni": "avx_vnni",
    "amx_bf16": "amx_bf16",
    "amx_fp16": "amx_fp16",
    "amx_int8": "amx_int8",
    "neon": "neon",
    "asimd": "neon",
    "bf16": "bf16",
    "i8mm": "i8mm",
    "sve": "sve",
    "sve2": "sve2",
}

GIBIBYTE = 1 << 30
MILLIWATTS_PER_WATT = 1000
SLUG_LENGTH = 80


def describe_machine(device: str = "cpu") -> Machine:
    """The machine as a run on ``device`` sees it; its name begins with the GPU on CUDA.

    Nothing in it names a user, a host, a folder or a serial number.
    """
    import torch

    unavailable: dict[str, str] = {}
    info = _cpu_info()
    flags = {str(flag).lower() for flag in info.get("flags") or ()}
    cpu = _cpu_name(info, unavailable)
    num_logical = psutil.cpu_count(logical=True) or os.cpu_count() or 1
    num_physical = psutil.cpu_count(logical=False)
    if num_physical is None:
        unavailable["num_physical_cores"] = "the system tells logical cores only"
    ram_bytes = int(psutil.virtual_memory().total)
    gpus = _gpus(unavailable)
    num_usable = min(num_physical or num_logical, usable_cores())
    cores = "1 core" if num_usable == 1 else f"{num_usable} cores"
    parts = [_short(cpu), cores, f"{ram_bytes // GIBIBYTE} GiB", _system()]
    if device.startswith("cuda") and gpus:
        parts.insert(0, gpus[min(torch.device(device).index or 0, len(gpus) - 1)].name)
    return Machine(
        name=", ".join(parts),
        os=_operating_system(),
        cpu=cpu,
        cpu_architecture=platform.machine() or "unknown",
        cpu_isa=_isa(flags),
        num_physical_cores=num_physical,
        num_logical_cores=num_logical,
        num_threads=torch.get_num_threads(),
        ram_bytes=ram_bytes,
        load_average_1min=_load_average(unavailable),
        is_on_mains=_is_on_mains(unavailable),
        is_virtual=_is_virtual(flags, unavailable),
        gpus=gpus,
        unavailable=unavailable,
    )


def machine_slug(machine: Machine) -> str:
    """The machine's name as a part of a file name: lower-case words joined by hyphens."""
    words = re.findall(r"[a-z0-9]+", machine.name.lower())
    return "-".join(words)[:SLUG_LENGTH].strip("-") or "machine"


def usable_cores() -> int:
    """The logical cores that this process may run on, which a container can make fewer."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def why_no_cuda() -> str | None:
    """None where torch can use a CUDA device, else the reason."""
    import torch

    if torch.version.cuda is None and torch.version.hip is None:
        return "this build of torch has no CUDA"
    # torch says in a warning why a driver that is there cannot be used.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if torch.cuda.is_available():
            return None
    if caught:
        return str(caught[0].message).splitlines()[0]
    return "torch finds no CUDA device"


def nvml_device(index: int) -> tuple[Any, Any]:
    """NVML, and its handle of torch's CUDA device ``index``. Raises LookupError with the reason.

    The two number devices differently, so they are joined by their place on the PCI bus.
    """
    import torch

    try:
        import pynvml

        # torch's type stubs do not know the PCI numbers.
        place: Any = torch.cuda.get_device_properties(index)
        bus_id = f"{place.pci_domain_id:08x}:{place.pci_bus_id:02x}:{place.pci_device_id:02x}.0"
        pynvml.nvmlInit()
        return pynvml, pynvml.nvmlDeviceGetHandleByPciBusId(bus_id)
    # A driver that is half installed fails in many ways; none may stop a run on what works.
    except Exception as error:
        raise LookupError(f"NVML: {error}") from error


@functools.cache
def _cpu_info() -> dict[str, Any]:
    """py-cpuinfo's findings, slow to get and empty where it fails."""
    import cpuinfo

    # It runs other programs and raises bare Exceptions on processors that it does not know.
    try:
        info = cpuinfo.get_cpu_info()
    except Exception:
        return {}
    return info if isinstance(info, dict) else {}


@functools.cache
def _torch_capabilities() -> dict[str, Any]:
    """torch's findings on the processor, which know Windows and macOS too; empty without any."""
    import torch

    try:
        found = torch.cpu.get_capabilities()
    except (AttributeError, RuntimeError):
        return {}
    return found if isinstance(found, dict) else {}


def _isa(flags: set[str]) -> tuple[str, ...]:
    found = flags | {str(name).lower() for name, value in _torch_capabilities().items() if value}
    return tuple(sorted({ISA_SPELLINGS[name] for name in found & ISA_SPELLINGS.keys()}))


def _cpu_name(info: dict[str, Any], unavailable: dict[str, str]) -> str:
    for candidate in (info.get("brand_raw"), _torch_capabilities().get("cpu_name")):
        if isinstance(candidate, str) and candidate.strip():
            return " ".join(candidate.split())
    unavailable["cpu"] = "the system does not tell the processor's model"
    return f"unknown {platform.machine()}".strip()


def _short(cpu: str) -> str:
    """The processor's name without trademark signs, clock rate and core count."""
    name = re.sub(r"\((?:R|TM|C)\)", "", cpu, flags=re.IGNORECASE)
    name = re.sub(r"@.*| with .*|\b\d+-Core\b|\bCPU\b|\bProcessor\b", "", name)
    return " ".join(name.split()) or cpu


def _system() -> str:
    return {"Darwin": "macOS"}.get(platform.system(), platform.system()) or "unknown system"


def _operating_system() -> str:
    """The system with its kernel's release: its numbers, since the rest may name its builder."""
    numbers = re.match(r"[\d.]+", platform.release())
    release = numbers.group().strip(".") if numbers else "unknown"
    if platform.system() == "Linux":
        name = "Linux"
        with contextlib.suppress(OSError):
            name = platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
        return f"{name}, kernel {release}"
    if platform.system() == "Darwin":
        return f"macOS {platform.mac_ver()[0]}, kernel {release}"
    return f"{_system()} {release}".strip()


def _load_average(unavailable: dict[str, str]) -> float | None:
    if platform.system() == "Windows":
        unavailable["load_average_1min"] = "Windows keeps no load average"
        return None
    try:
        return float(psutil.getloadavg()[0])
    except (OSError, AttributeError) as error:
        unavailable["load_average_1min"] = f"the system does not tell it: {_type(error)}"
        return None


def _is_on_mains(unavailable: dict[str, str]) -> bool | None:
    # psutil leaves the function out where a system has no batteries to speak of.
    read = getattr(psutil, "sensors_battery", None)
    try:
        battery = read() if read else None
    except Exception as error:
        unavailable["is_on_mains"] = f"the battery could not be read: {_type(error)}"
        return None
    if battery is None:
        unavailable["is_on_mains"] = "no battery was found"
        return None
    if battery.power_plugged is None:
        unavailable["is_on_mains"] = "the battery does not tell"
        return None
    return bool(battery.power_plugged)


def _is_virtual(flags: set[str], unavailable: dict[str, str]) -> bool | None:
    # Windows sets the flag on bare machines too, as soon as its own hypervisor is enabled.
    if platform.system() == "Linux" and flags and _is_x86():
        return "hypervisor" in flags
    unavailable["is_virtual"] = "only an x86 processor under Linux tells reliably"
    return None


def _is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64", "i686", "i386")


def _gpus(unavailable: dict[str, str]) -> tuple[Gpu, ...]:
    import torch

    reason = why_no_cuda()
    if reason is not None:
        unavailable["gpus"] = reason
        return ()
    return tuple(_gpu(index, unavailable) for index in range(torch.cuda.device_count()))


def _gpu(index: int, unavailable: dict[str, str]) -> Gpu:
    import torch

    properties = torch.cuda.get_device_properties(index)
    driver: str | None = None
    power_limit_watts: float | None = None
    try:
        nvml, handle = nvml_device(index)
    except LookupError as error:
        unavailable[f"gpus[{index}].driver"] = str(error)
        unavailable[f"gpus[{index}].power_limit_watts"] = str(error)
    else:
        try:
            driver = str(nvml.nvmlSystemGetDriverVersion())
        except nvml.NVMLError as error:
            unavailable[f"gpus[{index}].driver"] = f"NVML: {error}"
        try:
            milliwatts = nvml.nvmlDeviceGetEnforcedPowerLimit(handle)
            power_limit_watts = milliwatts / MILLIWATTS_PER_WATT
        except nvml.NVMLError as error:
            unavailable[f"gpus[{index}].power_limit_watts"] = f"NVML: {error}"
    return Gpu(
        name=str(properties.name),
        compute_capability=f"{properties.major}.{properties.minor}",
        memory_bytes=int(properties.total_memory),
        num_multiprocessors=int(properties.multi_processor_count),
        driver=driver,
        power_limit_watts=power_limit_watts,
    )


def _type(error: Exception) -> str:
    return type(error).__name__
