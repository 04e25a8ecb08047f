"""A driver and a system as telemetry asks them, with known figures that a test can take away."""

from collections import namedtuple
from types import SimpleNamespace

PID, OTHER_PID = 100, 200

CpuTimes = namedtuple("CpuTimes", "user system idle iowait guest guest_nice")


class NVMLError(Exception):
    pass


class FakeNvml:
    """A GPU under load. A value that is an exception is raised; None is a function left out."""

    NVMLError = NVMLError
    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    def __init__(self, **changes):
        values = {
            "nvmlDeviceGetPowerUsage": 74_500,
            "nvmlDeviceGetEnforcedPowerLimit": 80_000,
            "nvmlDeviceGetClockInfo": {1: 1800, 2: 8000},
            "nvmlDeviceGetTemperature": {0: 71},
            "nvmlDeviceGetCurrentClocksEventReasons": 0x24,
            "nvmlDeviceGetCurrentClocksThrottleReasons": 0x4,
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=6 << 30),
            "nvmlDeviceGetComputeRunningProcesses": [process(OTHER_PID, 1), process(PID, 5 << 30)],
            "nvmlDeviceGetTotalEnergyConsumption": 1_000_000,
        }
        self.values = values | changes

    def __getattr__(self, name):
        value = self.values.get(name)
        if value is None:
            raise AttributeError(name)

        def call(handle, *which):
            assert handle == "handle"
            if isinstance(value, Exception):
                raise value
            return value[which[0]] if which else value

        return call


def process(pid, used_bytes):
    return SimpleNamespace(pid=pid, usedGpuMemory=used_bytes)


class FakeSystem:
    """psutil on a laptop of two cores; ``times`` is what each pid spent, by user and system."""

    WINDOWS = False

    class Error(Exception):
        pass

    class NoSuchProcess(Error):
        pass

    def __init__(self):
        self.cpu = CpuTimes(10.0, 5.0, 80.0, 5.0, 2.0, 0.0)
        self.times = {PID: (3.0, 1.0), OTHER_PID: (1.0, 0.0)}
        self.rss = 4 << 30
        self.swapped = 1 << 20
        self.frequency = SimpleNamespace(current=2600.0)
        self.battery = SimpleNamespace(power_plugged=False, percent=43)
        self.temperatures = {
            "acpitz": [SimpleNamespace(current=20.0)],
            "coretemp": [SimpleNamespace(current=61.0), SimpleNamespace(current=67.0)],
        }
        self.num_battery_readings = 0

    def cpu_times(self):
        return self.cpu

    def cpu_freq(self):
        return self.frequency

    def swap_memory(self):
        return SimpleNamespace(sin=self.swapped)

    def sensors_battery(self):
        self.num_battery_readings += 1
        return self.battery

    def sensors_temperatures(self):
        return self.temperatures

    def Process(self, pid):
        if pid not in self.times:
            raise self.NoSuchProcess(pid)

        def cpu_times():
            if pid not in self.times:
                raise self.NoSuchProcess(pid)
            user, system = self.times[pid]
            return SimpleNamespace(user=user, system=system)

        memory = SimpleNamespace(rss=self.rss)
        return SimpleNamespace(pid=pid, cpu_times=cpu_times, memory_info=lambda: memory)
