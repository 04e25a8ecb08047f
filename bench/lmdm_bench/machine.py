"""What this machine is: every value that cannot be told has its reason."""

import contextlib
import functools
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import tomllib
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import psutil

import lmdm_bench
from lmdm_bench.errors import UnsupportedError
from lmdm_bench.record import Choice, Gpu, Machine, Tool

PROJECT_NAME = "lmdm-bench"
PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "einops",
    "safetensors",
    "soundfile",
    "psutil",
    "py-cpuinfo",
    "nvidia-ml-py",
    "triton",
    "triton-windows",
)
# The paths whose state decides what ran; a README or a record written meanwhile does not.
MEASURING_PATHS = ("lmdm_ref", "kernels", "bench", "pyproject.toml")
GIT_TIMEOUT_SECONDS = 20

DEVICE_KINDS = ("cpu", "cuda", "mps")
DTYPES = ("float32", "bfloat16", "float16")
CUDA_BFLOAT16_CAPABILITY = (8, 0)

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
X86_BFLOAT16 = ("amx_bf16", "avx512_bf16")
X86_FLOAT16 = ("amx_fp16", "avx512_fp16")

MEBIBYTE = 1 << 20
GIBIBYTE = 1 << 30
MILLIWATTS_PER_WATT = 1000
ENOUGH_FREE_BYTES = 100 * MEBIBYTE
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


def describe_tool() -> Tool:
    """The versions that measure, with the commit of the checkout that they were built from.

    A wheel does not know its commit. Where it is run inside a checkout of this project, as tox
    does, that checkout's commit is taken for the wheel's. Dirty means that a file which takes part
    in measuring differs from the commit, or is not in it.
    """
    commit, is_dirty, reason = _git_state()
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            packages[name] = "not installed"
    return Tool(
        version=lmdm_bench.__version__,
        git_commit=commit,
        git_is_dirty=is_dirty,
        git_reason=reason,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        packages=packages,
    )


def pick_device() -> Choice:
    """The device for "auto". MPS is only used where it is asked for."""
    reason = _why_no_cuda()
    if reason is None:
        return Choice("cuda", "this machine has a CUDA device")
    return Choice("cpu", reason)


def check_device(device: str) -> None:
    """Raises UnsupportedError, in one sentence, unless torch can use the device here."""
    import torch

    try:
        asked = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise UnsupportedError(f"there is no device {device!r}; {_known_devices()}") from error
    if asked.type not in DEVICE_KINDS:
        raise UnsupportedError(f"the device {device!r} is not supported; {_known_devices()}")
    if asked.type == "cuda":
        reason = _why_no_cuda()
        if reason is not None:
            raise UnsupportedError(f"{device} was asked for, but {reason}")
        count = torch.cuda.device_count()
        if (asked.index or 0) >= count:
            raise UnsupportedError(f"{device} was asked for, but CUDA devices here: {count}")
    if asked.type == "mps" and not torch.backends.mps.is_available():
        raise UnsupportedError(f"{device} was asked for, but this machine has no Apple GPU")
    if asked.type != "cuda" and (asked.index or 0) > 0:
        raise UnsupportedError(f"{device} was asked for, but there is only one {asked.type}")


def pick_dtype(device: str, cpu_isa: tuple[str, ...]) -> Choice:
    """The dtype for "auto": bfloat16 where the device computes in it, with the reason.

    ``device`` has passed ``check_device``.
    """
    kind = device.partition(":")[0]
    if kind == "cuda":
        capability = _capability(device)
        shown = "{}.{}".format(*capability)
        if capability >= CUDA_BFLOAT16_CAPABILITY:
            return Choice("bfloat16", f"the GPU's compute capability is {shown}, at least 8.0")
        return Choice("float16", f"the GPU's compute capability is {shown}, below 8.0")
    if kind == "mps":
        return Choice("float32", "float32 runs on each Apple GPU")
    for name in X86_BFLOAT16:
        if name in cpu_isa:
            return Choice("bfloat16", f"the processor has {name}")
    return Choice("float32", f"the processor has neither {' nor '.join(X86_BFLOAT16)}")


def check_dtype(dtype: str, device: str, cpu_isa: tuple[str, ...]) -> Choice:
    """The dtype that was asked for, with a note where the device emulates it and is slow.

    What runs slowly is allowed, what cannot run is refused: the operators of a network are tried
    once, tiny, on the device. Raises UnsupportedError in one sentence. ``device`` has passed
    ``check_device``.
    """
    if dtype not in DTYPES:
        raise UnsupportedError(f"the dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    try:
        _try_operators(dtype, device)
    except (RuntimeError, TypeError) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise UnsupportedError(f"{dtype} does not run on {device} here: {first_line}") from error
    slow = _why_slow(dtype, device, cpu_isa)
    return Choice(dtype, f"asked for; slow here: {slow}" if slow else "asked for")


class Ability(NamedTuple):
    """Something that a run may want, whether it is possible here, and why or why not."""

    name: str
    is_possible: bool
    reason: str


def abilities(machine: Machine, out_folder: Path = Path()) -> list[Ability]:
    """What can be measured on the machine, for ``doctor``; each with a sentence that says why."""
    import torch

    picked = pick_dtype("cpu", machine.cpu_isa)
    no_gpu = machine.unavailable.get("gpus")
    gpu_names = ", ".join(gpu.name for gpu in machine.gpus)
    has_mps = torch.backends.mps.is_available()
    return [
        Ability("CPU in float32", True, f"{machine.num_threads} threads"),
        Ability("CPU in bfloat16 at speed", picked.value == "bfloat16", picked.reason),
        Ability("CUDA", no_gpu is None, no_gpu or gpu_names),
        Ability("Apple GPU", has_mps, "Metal is there" if has_mps else "this torch finds no Metal"),
        _triton(no_gpu),
        Ability("peak memory on the CPU", True, "the resident set, sampled every 5 ms"),
        Ability("peak memory on the GPU", no_gpu is None, no_gpu or "torch's and NVML's figures"),
        _power_limit(machine, no_gpu),
        Ability("clocks, power and energy", False, "this version does not read them"),
        _known(machine, "mains or battery", "is_on_mains"),
        _known(machine, "load average", "load_average_1min"),
        _known(machine, "virtual machine or not", "is_virtual"),
        _audio_files(),
        _disk_space(out_folder),
    ]


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
    """The system with its kernel's release; the kernel's version string may name its builder."""
    release = platform.release()
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


def _why_no_cuda() -> str | None:
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


def _gpus(unavailable: dict[str, str]) -> tuple[Gpu, ...]:
    import torch

    reason = _why_no_cuda()
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


def _known_devices() -> str:
    return f"known are {', '.join(DEVICE_KINDS)}"


def _capability(device: str) -> tuple[int, int]:
    import torch

    major, minor = torch.cuda.get_device_capability(torch.device(device))
    return major, minor


def _why_slow(dtype: str, device: str, cpu_isa: tuple[str, ...]) -> str | None:
    kind = device.partition(":")[0]
    if kind == "cuda" and dtype == "bfloat16" and _capability(device) < CUDA_BFLOAT16_CAPABILITY:
        return "the GPU has no bfloat16 units"
    if kind == "cpu":
        wanted = {"bfloat16": (*X86_BFLOAT16, "bf16"), "float16": X86_FLOAT16}.get(dtype, ())
        if wanted and not set(wanted) & set(cpu_isa):
            return f"the processor has no {dtype} instructions"
    return None


def _try_operators(dtype: str, device: str) -> None:
    """Run the operators of a decoder and a codec once, on as little as there is."""
    import torch
    import torch.nn.functional as F

    asked = getattr(torch, dtype)
    rows = torch.ones(1, 4, 8, dtype=asked, device=device)
    F.linear(rows, rows[0])
    F.silu(F.layer_norm(rows, (8,)))
    F.scaled_dot_product_attention(rows[None], rows[None], rows[None])
    F.conv1d(rows, rows[:, :, :2])
    total = F.conv_transpose1d(rows, rows[0, :, None, :2], stride=2).sum()
    # A GPU reports a missing kernel at the latest when its result is read.
    total.item()


def _triton(no_gpu: str | None) -> Ability:
    name = "Triton kernels"
    if importlib.util.find_spec("triton") is None:
        return Ability(name, False, "triton is not installed")
    if no_gpu is not None:
        return Ability(name, False, f"only in Triton's interpreter: {no_gpu}")
    return Ability(name, True, "triton is installed")


def _power_limit(machine: Machine, no_gpu: str | None) -> Ability:
    name = "GPU power limit"
    if no_gpu is not None:
        return Ability(name, False, no_gpu)
    limits = [gpu.power_limit_watts for gpu in machine.gpus]
    if None in limits:
        index = limits.index(None)
        return Ability(name, False, machine.unavailable[f"gpus[{index}].power_limit_watts"])
    return Ability(name, True, ", ".join(f"{limit:.0f} W" for limit in limits))


def _known(machine: Machine, name: str, field: str) -> Ability:
    reason = machine.unavailable.get(field)
    return Ability(name, reason is None, reason or "the system tells")


def _audio_files() -> Ability:
    import soundfile

    known = soundfile.available_formats()
    shown = [name for name in ("WAV", "FLAC", "OGG", "MP3", "AIFF") if name in known]
    return Ability("audio files", True, f"libsndfile reads {', '.join(shown)} and others")


def _disk_space(folder: Path) -> Ability:
    name = "room for records"
    try:
        free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        return Ability(name, False, f"the folder cannot be read: {error.strerror}")
    return Ability(name, free_bytes >= ENOUGH_FREE_BYTES, f"{free_bytes // MEBIBYTE} MiB are free")


def _git_state() -> tuple[str | None, bool | None, str | None]:
    """The commit, whether measuring files differ from it, or else why there is no commit."""
    if shutil.which("git") is None:
        return None, None, "git is not installed"
    for start in (Path(__file__).parent, Path.cwd()):
        root = _git("-C", str(start), "rev-parse", "--show-toplevel")
        if root is None or not _is_this_project(Path(root)):
            continue
        commit = _git("-C", root, "rev-parse", "HEAD")
        changes = _git("-C", root, "status", "--porcelain", "--", *MEASURING_PATHS)
        if commit is None or changes is None:
            return None, None, "git cannot read the checkout's commit"
        return commit, bool(changes), None
    return None, None, "not run from a git checkout"


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _is_this_project(root: Path) -> bool:
    try:
        declared = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    name: object = declared.get("project", {}).get("name")
    return name == PROJECT_NAME


def _type(error: Exception) -> str:
    return type(error).__name__
