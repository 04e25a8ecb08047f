"""Each column is what the system says, in its unit, or it is missing and has a reason: never 0."""

import os
import warnings
from types import SimpleNamespace

import psutil
import pytest

from fake_sensors import OTHER_PID, PID, CpuTimes, FakeNvml, FakeSystem, NVMLError, process
from lmdm_bench import telemetry
from lmdm_bench.telemetry import COLUMNS, GPU_COLUMNS, SLOW_READINGS, Readers

CPU_COLUMNS = tuple(name for name in COLUMNS if name not in GPU_COLUMNS)


@pytest.fixture
def system():
    return FakeSystem()


def readers(system, nvml=None, pids=(PID, OTHER_PID)):
    return Readers(pids, ("no GPU" if nvml is None else (nvml, "handle")), system)


def test_a_gpu_under_load_is_read_in_the_columns_units(system):
    nvml = FakeNvml()
    asked = readers(system, nvml)
    found = asked.read()
    assert {name: found[name] for name in GPU_COLUMNS} == {
        "gpu_power_watts": 74.5,
        "gpu_power_limit_watts": 80.0,
        "gpu_sm_clock_mhz": 1800.0,
        "gpu_memory_clock_mhz": 8000.0,
        "gpu_temperature_c": 71.0,
        "gpu_throttle_bits": telemetry.SOFTWARE_THERMAL | telemetry.POWER_CAP,
        "gpu_memory_used_bytes": 6 << 30,
        "gpu_process_memory_bytes": 5 << 30,
        "gpu_energy_joules": 0.0,  # since the first reading
    }
    nvml.values["nvmlDeviceGetTotalEnergyConsumption"] += 12_500
    assert asked.read()["gpu_energy_joules"] == 12.5
    assert not asked.reasons.keys() & set(GPU_COLUMNS)


def test_throttle_bits_are_those_of_the_driver_s_own_header():
    pynvml = pytest.importorskip("pynvml")
    for name, bit in {
        "GpuIdle": telemetry.GPU_IDLE,
        "ApplicationsClocksSetting": telemetry.CLOCKS_SET,
        "SwPowerCap": telemetry.POWER_CAP,
        "HwSlowdown": telemetry.HARDWARE_SLOWDOWN,
        "SyncBoost": telemetry.SYNC_BOOST,
        "SwThermalSlowdown": telemetry.SOFTWARE_THERMAL,
        "HwThermalSlowdown": telemetry.HARDWARE_THERMAL,
        "HwPowerBrakeSlowdown": telemetry.POWER_BRAKE,
        "DisplayClockSetting": telemetry.DISPLAY_CLOCKS,
    }.items():
        assert getattr(pynvml, f"nvmlClocksThrottleReason{name}") == bit, name


@pytest.mark.parametrize("newer", [None, NVMLError("Function Not Found")])
def test_an_older_driver_tells_throttle_reasons_under_the_older_name(system, newer):
    nvml = FakeNvml(nvmlDeviceGetCurrentClocksEventReasons=newer)
    assert readers(system, nvml).read()["gpu_throttle_bits"] == telemetry.POWER_CAP


@pytest.mark.parametrize(
    ("column", "function"),
    [
        ("gpu_power_watts", "nvmlDeviceGetPowerUsage"),
        ("gpu_power_limit_watts", "nvmlDeviceGetEnforcedPowerLimit"),
        ("gpu_temperature_c", "nvmlDeviceGetTemperature"),
        ("gpu_energy_joules", "nvmlDeviceGetTotalEnergyConsumption"),
        ("gpu_memory_used_bytes", "nvmlDeviceGetMemoryInfo"),
        ("gpu_process_memory_bytes", "nvmlDeviceGetComputeRunningProcesses"),
    ],
)
def test_what_a_driver_does_not_support_is_missing_alone(system, column, function):
    asked = readers(system, FakeNvml(**{function: NVMLError("Not Supported")}))
    assert set(GPU_COLUMNS) - asked.read().keys() == {column}
    assert asked.reasons[column] == "NVML: Not Supported"


@pytest.mark.parametrize(
    ("processes", "reason"),
    [
        ([process(PID, None)], "this driver does not tell a process's memory"),
        ([process(OTHER_PID, 9)], "the process is not in the driver's list"),
        ([], "the process is not in the driver's list"),
    ],
)
def test_a_process_s_memory_that_windows_or_a_container_hides_is_no_zero(system, processes, reason):
    asked = readers(system, FakeNvml(nvmlDeviceGetComputeRunningProcesses=processes))
    assert "gpu_process_memory_bytes" not in asked.read()
    assert asked.reasons["gpu_process_memory_bytes"] == reason


def test_a_gpu_that_is_lost_takes_its_columns_along_and_no_others(system):
    nvml = FakeNvml()
    asked = readers(system, nvml)
    assert set(GPU_COLUMNS) <= asked.read().keys()
    nvml.values = dict.fromkeys(nvml.values, NVMLError("GPU is lost"))
    system.cpu = system.cpu._replace(user=11.0)
    assert asked.read().keys() == set(CPU_COLUMNS)
    assert {asked.reasons[name] for name in GPU_COLUMNS} == {"NVML: GPU is lost"}


def test_without_a_gpu_its_columns_have_that_reason(system):
    asked = readers(system)
    assert not asked.read().keys() & set(GPU_COLUMNS)
    assert {asked.reasons[name] for name in GPU_COLUMNS} == {"no GPU"}


def test_the_system_is_read_in_the_columns_units(system):
    asked = readers(system)
    # Two cores, one second: 2 s of time, 1.2 s of it busy, 0.5 s in own processes.
    system.cpu = CpuTimes(10.9, 5.3, 80.7, 5.1, 2.0, 0.0)
    system.times = {PID: (3.3, 1.1), OTHER_PID: (1.1, 0.0)}
    found = asked.read()
    assert found == pytest.approx(
        {
            "cpu_frequency_mhz": 2600.0,
            "cpu_temperature_c": 67.0,
            "cpu_load_share": 0.6,
            "own_load_share": 0.25,
            "other_load_share": 0.35,
            "rss_bytes": 4 << 30,
            "swap_in_bytes": 0.0,  # since the first reading
            "is_on_mains": 0.0,
            "battery_share": 0.43,
        }
    )
    system.swapped += 4096
    system.cpu = system.cpu._replace(idle=82.7)
    found = asked.read()
    assert found["swap_in_bytes"] == 4096
    assert (found["cpu_load_share"], found["other_load_share"]) == (0.0, 0.0)


def test_others_load_is_never_below_nothing(system):
    """The two accounts are not of the same instant."""
    asked = readers(system)
    system.cpu = system.cpu._replace(idle=80.9, user=10.1)
    system.times = {PID: (3.5, 1.0), OTHER_PID: (1.0, 0.0)}
    found = asked.read()
    assert found["own_load_share"] == pytest.approx(0.5)
    assert found["other_load_share"] == 0.0


def test_a_guest_s_time_is_counted_once(system):
    asked = readers(system)
    system.cpu = system.cpu._replace(user=11.0, guest=3.0, idle=81.0)
    assert asked.read()["cpu_load_share"] == pytest.approx(0.5)


def test_a_process_that_ends_leaves_the_others_columns(system):
    asked = readers(system)
    system.cpu = system.cpu._replace(user=11.0, idle=81.0)
    del system.times[PID]
    found = asked.read()
    assert "rss_bytes" not in found
    assert asked.reasons["rss_bytes"] == "the process has ended"
    assert (found["own_load_share"], found["other_load_share"]) == (0.0, pytest.approx(0.5))
    # One that has ended before is no reason not to begin.
    assert readers(system).read()["cpu_frequency_mhz"] == 2600.0


def test_one_that_has_ended_and_still_stands_in_the_list_holds_no_zero_bytes(system):
    system.rss = 0
    asked = readers(system)
    assert "rss_bytes" not in asked.read()
    assert asked.reasons["rss_bytes"] == "the process has ended"


def test_an_account_of_processor_time_that_stands_still_is_no_load_of_0(system):
    asked = readers(system)
    found = asked.read()
    shares = ("cpu_load_share", "own_load_share", "other_load_share")
    assert not found.keys() & set(shares)
    assert all("stood still" in asked.reasons[name] for name in shares)


@pytest.mark.parametrize(
    ("change", "columns", "reason"),
    [
        ({"frequency": None}, {"cpu_frequency_mhz"}, "the system does not tell it"),
        ({"cpu_freq": None}, {"cpu_frequency_mhz"}, "psutil does not read it on this system"),
        ({"battery": None}, {"is_on_mains", "battery_share"}, "no battery was found"),
        ({"temperatures": {}}, {"cpu_temperature_c"}, "no thermometer of the processor was found"),
        (
            {"sensors_battery": None},
            {"is_on_mains", "battery_share"},
            "psutil does not read it on this system",
        ),
        (
            {"sensors_temperatures": None},
            {"cpu_temperature_c"},
            "psutil does not read it on this system",
        ),
        ({"WINDOWS": True}, {"swap_in_bytes"}, "Windows does not count it"),
    ],
)
def test_what_a_system_does_not_have_is_missing_alone(system, change, columns, reason):
    for name, value in change.items():
        setattr(system, name, value)
    asked = readers(system)
    system.cpu = system.cpu._replace(user=11.0)
    assert set(CPU_COLUMNS) - asked.read().keys() == columns
    assert {asked.reasons[name] for name in columns} == {reason}


def test_a_battery_that_does_not_tell_and_a_clock_of_0_are_missing(system):
    system.battery.power_plugged = None
    system.frequency.current = 0.0
    asked = readers(system)
    assert not asked.read().keys() & {"is_on_mains", "battery_share", "cpu_frequency_mhz"}
    assert asked.reasons["is_on_mains"] == "the battery does not tell"


def test_without_permission_the_reason_names_no_folder(system):
    def refuse():
        raise PermissionError(13, "Permission denied", "/sys/class/power_supply/BAT0")

    system.sensors_battery = refuse
    asked = readers(system)
    assert "is_on_mains" not in asked.read()
    assert asked.reasons["is_on_mains"] == "it could not be read: PermissionError"


def test_psutil_s_warning_that_swapping_is_not_told_is_a_reason(system):
    def warn():
        warnings.warn("'sin' was set to 0", RuntimeWarning, stacklevel=1)
        return SimpleNamespace(sin=0)

    system.swap_memory = warn
    asked = readers(system)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as outside of tests
        assert "swap_in_bytes" not in asked.read()
    assert asked.reasons["swap_in_bytes"] == "the system does not tell it"


def test_slow_sensors_are_read_now_and_then_and_their_values_kept(system):
    asked = readers(system)
    for _ in range(2 * SLOW_READINGS):
        assert asked.read()["battery_share"] == pytest.approx(0.43)
    assert system.num_battery_readings == 2
    system.battery = None
    assert "battery_share" not in asked.read()


def test_this_machine_is_read_or_says_why_not():
    asked = Readers([os.getpid()], "no GPU")
    found = asked.read()
    assert found.keys() | asked.reasons.keys() == set(COLUMNS)
    assert not found.keys() & asked.reasons.keys()
    assert found["rss_bytes"] == pytest.approx(psutil.Process().memory_info().rss, rel=0.5)
    assert all(isinstance(value, float) for value in found.values())
