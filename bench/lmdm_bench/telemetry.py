"""What the machine and its GPU tell of themselves, one instant at a time.

A counter is only a column where it is really there: what fails, is not supported, or is filled with
a zero by the system that does not know it, is left out of a reading and has its reason.
"""

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import psutil

COLUMNS: tuple[str, ...] = (
    "gpu_power_watts",
    "gpu_power_limit_watts",
    "gpu_sm_clock_mhz",
    "gpu_memory_clock_mhz",
    "gpu_temperature_c",
    "gpu_throttle_bits",
    "gpu_memory_used_bytes",
    "gpu_process_memory_bytes",
    "gpu_energy_joules",
    "cpu_frequency_mhz",
    "cpu_temperature_c",
    "cpu_load_share",
    "own_load_share",
    "other_load_share",
    "rss_bytes",
    "swap_in_bytes",
    "is_on_mains",
    "battery_share",
)
GPU_COLUMNS = tuple(name for name in COLUMNS if name.startswith("gpu_"))

# Bits of gpu_throttle_bits: why the clocks are lower than they could be. Source: NVIDIA, NVML API
# reference, group NvmlClocksEventReasons (before driver 535: NvmlClocksThrottleReasons).
GPU_IDLE = 0x1
CLOCKS_SET = 0x2
POWER_CAP = 0x4
HARDWARE_SLOWDOWN = 0x8
SYNC_BOOST = 0x10
SOFTWARE_THERMAL = 0x20
HARDWARE_THERMAL = 0x40
POWER_BRAKE = 0x80
DISPLAY_CLOCKS = 0x100

MILLI = 1e-3
PERCENT = 0.01

# Batteries and thermometers change slowly and take long to read: only at every so many readings.
SLOW_READINGS = 10

# The names under which drivers announce a processor's own thermometer.
CPU_THERMOMETERS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal")

Read = Callable[[], Sequence[float]]


class Readers:
    """All that can be read beside a run of the process ``pids[0]``.

    ``pids`` are the run's own processes; what others use is ``other_load_share``. ``gpu`` is NVML
    and its handle of the device, or the reason why there is none. ``reasons`` has, for each column
    that some reading lacked, why the latest did.
    """

    def __init__(
        self, pids: Sequence[int], gpu: tuple[Any, Any] | str, system: Any = psutil
    ) -> None:
        self.reasons: dict[str, str] = {}
        self._num_readings = 0
        self._slow_values: dict[str, float] = {}
        self._quick: list[tuple[tuple[str, ...], Read]] = [
            (("cpu_frequency_mhz",), lambda: (_frequency_mhz(system),)),
            (("cpu_load_share", "own_load_share", "other_load_share"), _Load(pids, system).read),
            (("rss_bytes",), lambda: (_rss_bytes(pids[0], system),)),
            (("swap_in_bytes",), _SinceFirst(lambda: _swap_in_bytes(system)).read),
        ]
        self._slow: list[tuple[tuple[str, ...], Read]] = [
            (("cpu_temperature_c",), lambda: (_cpu_temperature_c(system),)),
            (("is_on_mains", "battery_share"), lambda: _battery(system)),
        ]
        if isinstance(gpu, str):
            self.reasons |= dict.fromkeys(GPU_COLUMNS, gpu)
        else:
            self._quick += _gpu_reads(*gpu, pids[0])

    def read(self) -> dict[str, float]:
        """The values of this instant, by column; shares of the load since the reading before."""
        if self._num_readings % SLOW_READINGS == 0:
            self._slow_values = self._read(self._slow)
        self._num_readings += 1
        return self._slow_values | self._read(self._quick)

    def _read(self, sources: list[tuple[tuple[str, ...], Read]]) -> dict[str, float]:
        found: dict[str, float] = {}
        for names, read in sources:
            try:
                values = read()
            # Drivers and systems fail in many ways; none may stop the other readings.
            except Exception as error:
                self.reasons |= dict.fromkeys(names, _words(error))
            else:
                found |= zip(names, values, strict=True)
        return found


class _Load:
    """What share of all cores' time was spent since the reading before: in all, own, others'."""

    def __init__(self, pids: Sequence[int], system: Any) -> None:
        self._system = system
        self._processes = []
        for pid in pids:
            try:
                self._processes.append(system.Process(pid))
            except system.Error:
                continue  # it has ended already, and so uses nothing
        self._own_seconds: dict[int, float] = {}
        self._before = self._spent()

    def read(self) -> tuple[float, float, float]:
        before, self._before = self._before, self._spent()
        total, busy, own = (new - old for new, old in zip(self._before, before, strict=True))
        if total <= 0:
            raise LookupError("the system's account of processor time stood still")
        load = min(1.0, max(0.0, busy / total))
        own_load = min(1.0, max(0.0, own / total))
        # The three are counted in ticks of 10 ms, not at the same instant.
        return load, own_load, max(0.0, load - own_load)

    def _spent(self) -> tuple[float, float, float]:
        """Seconds since the start: of all cores, of them busy, of them in own processes."""
        times = self._system.cpu_times()
        # A guest's time is in the user's too; what another guest stole of a virtual machine's cores
        # is busy, with others' work.
        guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
        total = sum(times) - guests
        for process in self._processes:
            try:
                spent = process.cpu_times()
            except self._system.Error:
                continue  # it has ended: what it spent stays
            self._own_seconds[process.pid] = spent.user + spent.system
        idle = times.idle + getattr(times, "iowait", 0.0)
        return total, total - idle, sum(self._own_seconds.values())


class _SinceFirst:
    """A counter that runs since the machine started, as growth since the first reading."""

    def __init__(self, read: Callable[[], float]) -> None:
        self._read = read
        self._first: float | None = None

    def read(self) -> tuple[float]:
        value = self._read()
        if self._first is None:
            self._first = value
        return (value - self._first,)


def _gpu_reads(nvml: Any, handle: Any, pid: int) -> list[tuple[tuple[str, ...], Read]]:
    """Each column of the GPU has a call of its own, for a driver may support any of them."""

    def throttle_bits() -> float:
        # The newer name came with driver 535, the older one is going to be removed.
        try:
            return float(nvml.nvmlDeviceGetCurrentClocksEventReasons(handle))
        except (AttributeError, nvml.NVMLError):
            return float(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))

    energy = _SinceFirst(lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) * MILLI)
    calls: dict[str, Callable[[], float]] = {
        "gpu_power_watts": lambda: nvml.nvmlDeviceGetPowerUsage(handle) * MILLI,
        "gpu_power_limit_watts": lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) * MILLI,
        "gpu_sm_clock_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
        "gpu_memory_clock_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM),
        "gpu_temperature_c": lambda: nvml.nvmlDeviceGetTemperature(
            handle, nvml.NVML_TEMPERATURE_GPU
        ),
        "gpu_throttle_bits": throttle_bits,
        "gpu_memory_used_bytes": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used,
        "gpu_process_memory_bytes": lambda: _gpu_process_bytes(nvml, handle, pid),
    }
    alone = [((name,), functools.partial(_alone, call)) for name, call in calls.items()]
    return [*alone, (("gpu_energy_joules",), energy.read)]


def _alone(call: Callable[[], float]) -> tuple[float]:
    return (float(call()),)


def _gpu_process_bytes(nvml: Any, handle: Any, pid: int) -> float:
    for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle):
        if process.pid == pid:
            # Under Windows' display driver model NVML lists the process without its memory.
            if process.usedGpuMemory is None:
                raise LookupError("this driver does not tell a process's memory")
            return float(process.usedGpuMemory)
    # In a container NVML speaks of the host's process numbers.
    raise LookupError("the process is not in the driver's list")


def _frequency_mhz(system: Any) -> float:
    frequency = _function(system, "cpu_freq")()
    if frequency is None or not frequency.current:
        raise LookupError("the system does not tell it")
    return float(frequency.current)


def _cpu_temperature_c(system: Any) -> float:
    found = _function(system, "sensors_temperatures")()
    for name in CPU_THERMOMETERS:
        if found.get(name):
            return float(max(one.current for one in found[name]))
    raise LookupError("no thermometer of the processor was found")


def _battery(system: Any) -> tuple[float, float]:
    battery = _function(system, "sensors_battery")()
    if battery is None:
        raise LookupError("no battery was found")
    if battery.power_plugged is None:
        raise LookupError("the battery does not tell")
    return float(battery.power_plugged), battery.percent * PERCENT


def _rss_bytes(pid: int, system: Any) -> float:
    try:
        rss_bytes = system.Process(pid).memory_info().rss
    except system.NoSuchProcess:
        rss_bytes = 0
    # One that has ended, and was not yet taken leave of, holds nothing.
    if not rss_bytes:
        raise LookupError("the process has ended")
    return float(rss_bytes)


def _swap_in_bytes(system: Any) -> float:
    if system.WINDOWS:
        raise LookupError("Windows does not count it")
    with warnings.catch_warnings():
        # psutil warns, and gives 0, where the system does not tell.
        warnings.simplefilter("error")
        try:
            return float(system.swap_memory().sin)
        except RuntimeWarning as warning:
            raise LookupError("the system does not tell it") from warning


def _function(system: Any, name: str) -> Any:
    """psutil leaves functions out where the system has nothing behind them."""
    found = getattr(system, name, None)
    if found is None:
        raise LookupError("psutil does not read it on this system")
    return found


def _words(error: Exception) -> str:
    """One line that names no folder."""
    if isinstance(error, LookupError):
        return str(error)
    kind = type(error).__name__
    return f"NVML: {error}" if kind.startswith("NVML") else f"it could not be read: {kind}"
