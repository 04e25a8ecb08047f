"""What can be measured on a machine, each with a sentence that says why or why not."""

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from lmdm_bench.choices import pick_dtype
from lmdm_bench.machine import nvml_device
from lmdm_bench.record import Machine
from lmdm_bench.telemetry import Readers

MEBIBYTE = 1 << 20
ENOUGH_FREE_BYTES = 100 * MEBIBYTE

# What ``doctor`` says of the telemetry's columns.
TELEMETRY_WORDS = {
    "cpu_frequency_mhz": "CPU clock",
    "gpu_sm_clock_mhz": "GPU clock",
    "gpu_power_watts": "GPU power",
    "gpu_energy_joules": "GPU energy",
}
# The back ends of ``audio_backend`` behind which there can be a sound card.
SOUND_CARDS = ("jack", "portaudio")


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
        _telemetry(no_gpu),
        _known(machine, "mains or battery", "is_on_mains"),
        _known(machine, "load average", "load_average_1min"),
        _known(machine, "virtual machine or not", "is_virtual"),
        _audio_files(),
        _sound_card(),
        _disk_space(out_folder),
    ]


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


def _telemetry(no_gpu: str | None) -> Ability:
    """By one reading of each, of the first GPU where there are several."""
    gpu: Any = no_gpu
    if no_gpu is None:
        try:
            gpu = nvml_device(0)
        except LookupError as error:
            gpu = str(error)
    readers = Readers([os.getpid()], gpu)
    found = readers.read()
    there = [words for name, words in TELEMETRY_WORDS.items() if name in found]
    missing: dict[str, list[str]] = {}
    for name, words in TELEMETRY_WORDS.items():
        if name not in found:
            missing.setdefault(readers.reasons[name], []).append(words)
    parts = [", ".join(there)] if there else []
    parts += [f"no {', '.join(words)}: {reason}" for reason, words in missing.items()]
    return Ability("clocks, power and energy", bool(there), "; ".join(parts))


def _sound_card() -> Ability:
    from lmdm_bench.audio_backend import available_backends

    name = "sound card"
    why_not = available_backends()
    usable = [backend for backend in SOUND_CARDS if not why_not[backend]]
    if usable:
        return Ability(name, True, f"through {' and '.join(usable)}")
    return Ability(name, False, "; ".join(f"{one}: {why_not[one]}" for one in SOUND_CARDS))


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
