"""Each ability follows the machine's description, with a reason."""

import dataclasses
import importlib.util
import shutil
from types import SimpleNamespace

import pytest

from fake_sensors import FakeNvml, NVMLError
from lmdm_bench import abilities as abilities_module
from lmdm_bench import audio_backend
from lmdm_bench.abilities import _triton, abilities
from lmdm_bench.machine import describe_machine
from lmdm_bench.record import Gpu

GPU = Gpu("NVIDIA RTX 4070 Laptop GPU", "8.9", 8 << 30, 36, "580.1", 75.0)


NO_SOUND = {
    "jack": "no JACK server is running",
    "jack-dummy": "",
    "portaudio": "PortAudio finds no sound card",
    "silent": "",
}


@pytest.fixture(autouse=True)
def sound(monkeypatch):
    """Sets what the sound system answers; without a sound card at first."""

    def set_to(**changes):
        answer = NO_SOUND | changes
        monkeypatch.setattr(audio_backend, "available_backends", lambda: answer)

    set_to()
    return set_to


def made(**fields):
    return dataclasses.replace(describe_machine(), **fields)


def ability(found, name):
    (one,) = (one for one in abilities(found) if one.name == name)
    return one


def test_each_ability_has_a_name_of_its_own_and_a_reason():
    found = abilities(describe_machine())
    assert len({one.name for one in found}) == len(found)
    assert all(one.reason for one in found)
    assert all(isinstance(one.is_possible, bool) for one in found)


def test_abilities_follow_the_machine():
    found = made(cpu_isa=("avx512_bf16",), gpus=(GPU, GPU), unavailable={})
    assert ability(found, "CUDA").is_possible
    assert ability(found, "CPU in bfloat16 at speed").is_possible
    assert ability(found, "GPU power limit").reason == "75 W, 75 W"
    without = made(gpus=(), unavailable={"gpus": "this build of torch has no CUDA"})
    assert not ability(without, "CUDA").is_possible
    assert not ability(without, "GPU power limit").is_possible


def test_a_power_limit_that_is_withheld_has_the_drivers_reason():
    withheld = dataclasses.replace(GPU, power_limit_watts=None)
    reasons = {"gpus[1].power_limit_watts": "NVML: Not Supported"}
    found = made(gpus=(GPU, withheld), unavailable=reasons)
    assert ability(found, "GPU power limit")[1:] == (False, "NVML: Not Supported")


@pytest.mark.parametrize(
    ("is_installed", "no_gpu", "is_possible", "reason"),
    [
        (False, None, False, "triton is not installed"),
        (True, "no GPU", False, "only in Triton's interpreter: no GPU"),
        (True, None, True, "triton is installed"),
    ],
)
def test_triton_needs_to_be_installed_and_to_have_a_gpu(
    monkeypatch, is_installed, no_gpu, is_possible, reason
):
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: object() if is_installed else None
    )
    assert _triton(no_gpu) == ("Triton kernels", is_possible, reason)


def test_telemetry_says_what_it_reads_and_what_not():
    name = "clocks, power and energy"
    found = ability(made(gpus=(), unavailable={"gpus": "no CUDA in this torch"}), name)
    assert found.reason.endswith("no GPU clock, GPU power, GPU energy: no CUDA in this torch")
    assert found.is_possible == found.reason.startswith("CPU clock; ")


def test_telemetry_of_a_gpu_names_what_its_driver_withholds(monkeypatch):
    nvml = FakeNvml(nvmlDeviceGetTotalEnergyConsumption=NVMLError("Not Supported"))
    monkeypatch.setattr(abilities_module, "nvml_device", lambda index: (nvml, "handle"))
    found = ability(made(gpus=(GPU,), unavailable={}), "clocks, power and energy")
    assert found.is_possible
    assert "GPU clock, GPU power; no " in found.reason
    assert found.reason.endswith("no GPU energy: NVML: Not Supported")


def test_telemetry_of_a_gpu_without_its_library_has_the_reason(monkeypatch):
    def fail(index):
        raise LookupError("NVML: library not found")

    monkeypatch.setattr(abilities_module, "nvml_device", fail)
    found = ability(made(gpus=(GPU,), unavailable={}), "clocks, power and energy")
    assert found.reason.endswith("GPU energy: NVML: library not found")


@pytest.mark.parametrize(
    ("changes", "is_possible", "reason"),
    [
        (
            {},
            False,
            "jack: no JACK server is running; portaudio: PortAudio finds no sound card",
        ),
        ({"portaudio": ""}, True, "through portaudio"),
        ({"jack": "", "portaudio": ""}, True, "through jack and portaudio"),
    ],
)
def test_a_sound_card_is_one_that_a_back_end_reaches(sound, changes, is_possible, reason):
    sound(**changes)
    assert ability(describe_machine(), "sound card")[1:] == (is_possible, reason)


def test_room_for_records_is_that_of_the_folder_they_go_to(tmp_path, monkeypatch):
    name = "room for records"
    missing = abilities(describe_machine(), tmp_path / "missing")[-1]
    assert missing[:2] == (name, False)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=3 << 20))
    assert abilities(describe_machine(), tmp_path)[-1] == (name, False, "3 MiB are free")
