"""What was read is kept, however the process ends; what never was has its reason."""

import math
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import ClassVar

import pytest

from child_helpers import LONG_SECONDS, child_of_a_killed_parent, has_ended, wait_until
from lmdm_bench import telemetry_process
from lmdm_bench.record import to_json
from lmdm_bench.telemetry import COLUMNS, GPU_COLUMNS
from lmdm_bench.telemetry_process import MAX_ROWS, WIDTH, TelemetryProcess

PERIOD_MS = 20.0

has_signals = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


@pytest.fixture(autouse=True)
def _nobody_stays() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Plants a driver in the process: ``power`` is the body of its power reading, by its number."""

    def plant(power):
        body = textwrap.indent(textwrap.dedent(power), " " * 4)
        (tmp_path / "pynvml.py").write_text(
            "import time\n"
            "class NVMLError(Exception): pass\n"
            "def nvmlInit(): pass\n"
            "def nvmlDeviceGetHandleByPciBusId(bus_id):\n"
            "    assert bus_id == '00000000:0A:00.0'\n"
            "    return 'handle'\n"
            "num_readings = 0\n"
            "def nvmlDeviceGetPowerUsage(handle):\n"
            "    global num_readings\n"
            "    num_readings += 1\n"
            f"{body}\n"
            "    return 50_000\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        of_parent = SimpleNamespace(
            nvmlDeviceGetPciInfo=lambda handle: SimpleNamespace(busId=b"00000000:0A:00.0")
        )
        monkeypatch.setattr(
            telemetry_process, "nvml_device", lambda index: (of_parent, f"handle {index}")
        )

    return plant


def started(num_readings=1, *, pid=None, device="cpu", seconds=LONG_SECONDS):
    """One that has read so often."""
    process = TelemetryProcess(pid or os.getpid(), device, seconds, PERIOD_MS)
    process.start()
    wait_until(lambda: process.num_readings >= num_readings or not process.is_alive)
    return process


def filled(rows):
    """A process that was never started, with these rows: a time in ms, then columns by name."""
    process = TelemetryProcess(os.getpid(), "cpu", len(rows), 1000.0)
    for index, (at_ms, values) in enumerate(rows):
        row = [at_ms * 1e6, *(values.get(name, math.nan) for name in COLUMNS)]
        process._rows[index * WIDTH : (index + 1) * WIDTH] = row
    process._num_rows.value = len(rows)
    return process


def assert_whole(found, num_readings=1):
    assert len(found.times_ms) >= num_readings
    assert list(found.times_ms) == sorted(set(found.times_ms))
    assert found.columns.keys() | found.unavailable.keys() == set(COLUMNS)
    assert not found.columns.keys() & found.unavailable.keys()
    assert all(len(column) == len(found.times_ms) for column in found.columns.values())


def test_it_reads_until_it_is_stopped():
    origin_ns = time.monotonic_ns()
    process = started(4)
    found = process.stop(origin_ns)
    assert_whole(found, 4)
    assert (found.ended, found.period_ms) == (None, PERIOD_MS)
    assert 0 < found.times_ms[0] < found.times_ms[-1] <= (time.monotonic_ns() - origin_ns) / 1e6
    assert min(found.columns["rss_bytes"]) > 1 << 20
    assert found.unavailable["gpu_power_watts"] == "the run is on cpu, not on CUDA"
    assert not process.is_alive
    assert process.stop(origin_ns) == found
    assert "NaN" not in to_json(found)


def test_readings_keep_to_multiples_of_the_period_and_make_up_for_none(monkeypatch):
    now_ms, slept_ms = 1000.0, {3: 70.0}
    times_ms = []

    class Parent:
        def poll(self, seconds):
            nonlocal now_ms
            now_ms += 1000 * seconds + 0.25  # it wakes up a little late …
            now_ms += slept_ms.get(len(times_ms), 0.0)  # … and once the machine slept
            return len(times_ms) == 6

        def send(self, _):
            pass

    class SlowReaders:
        reasons: ClassVar = {}

        def __init__(self, *_):
            pass

        def read(self):
            nonlocal now_ms
            times_ms.append(now_ms)
            now_ms += 7.0
            return {}

    monkeypatch.setattr(telemetry_process, "Readers", SlowReaders)
    clock = SimpleNamespace(monotonic_ns=lambda: round(now_ms * 1e6))
    monkeypatch.setattr(telemetry_process, "time", clock)
    rows, num_rows = [0.0] * 6 * WIDTH, SimpleNamespace(value=0)
    telemetry_process._read_on(Parent(), rows, num_rows, 20_000_000, (1,), (None, "no GPU"))
    assert num_rows.value == 6
    assert times_ms == [1020.25, 1040.25, 1060.25, 1150.25, 1160.25, 1180.25]
    assert [at_ns / 1e6 for at_ns in rows[::WIDTH]] == times_ms


@has_signals
def test_killed_it_leaves_what_it_has_read():
    origin_ns = time.monotonic_ns()
    process = started(3)
    os.kill(process.pid, signal.SIGKILL)
    wait_until(lambda: not process.is_alive)
    found = process.stop(origin_ns)
    assert_whole(found, 3)
    assert found.ended == "was stopped by signal 9"
    assert "rss_bytes" in found.columns


@has_signals
def test_killed_before_its_first_reading_it_leaves_reasons():
    process = TelemetryProcess(os.getpid(), "cpu", LONG_SECONDS)
    process.start()
    os.kill(process.pid, signal.SIGKILL)
    found = process.stop(time.monotonic_ns())
    assert_whole(found, 0)
    assert (found.times_ms, found.columns) == ((), {})
    assert found.ended == "was stopped by signal 9"
    assert set(found.unavailable.values()) == {"no reading was finished"}


@has_signals
def test_ctrl_c_does_not_end_it():
    process = started()
    os.kill(process.pid, signal.SIGINT)
    so_far = process.num_readings
    wait_until(lambda: process.num_readings > so_far + 1)
    assert process.stop(0).ended is None


@has_signals
def test_it_ends_with_its_parent():
    pid = child_of_a_killed_parent(
        """
        from lmdm_bench.telemetry_process import TelemetryProcess
        process = TelemetryProcess(os.getpid(), "cpu", 60.0, 20.0)
        process.start()
        while not process.num_readings and process.is_alive:
            time.sleep(0.01)
        print(process.pid, flush=True)
        """
    )
    wait_until(lambda: has_ended(pid))


def test_a_generator_that_has_ended_takes_only_its_own_columns_along():
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = started(2, pid=other.pid)
    other.communicate(b"\n")
    so_far = process.num_readings
    wait_until(lambda: process.num_readings > so_far + 2)
    found = process.stop(0)
    assert_whole(found, so_far + 2)
    assert found.columns["rss_bytes"][0] > 0
    assert found.columns["rss_bytes"][-1] is None
    assert found.columns["other_load_share"][-1] is not None
    assert found.ended is None


def test_where_there_is_no_more_room_it_ends_and_says_so():
    process = started(2, seconds=PERIOD_MS / 1000)
    wait_until(lambda: not process.is_alive)
    found = process.stop(0)
    assert_whole(found, 2)
    assert (len(found.times_ms), found.ended) == (2, "had room for 2 readings")


def test_a_gpu_that_is_lost_on_the_way_is_none_from_then_on(driver):
    driver("if num_readings > 3: raise NVMLError('GPU is lost')")
    found = started(6, device="cuda:1").stop(0)
    assert_whole(found, 6)
    power = found.columns["gpu_power_watts"]
    assert power[:3] == (50.0, 50.0, 50.0)
    assert power[3:] == (None,) * len(power[3:])
    assert found.columns["rss_bytes"][-1] > 0
    # What this driver does not know at all.
    assert found.unavailable["gpu_energy_joules"] == "it could not be read: AttributeError"


def test_a_driver_that_hangs_costs_the_readings_after_it_and_no_more(driver, tmp_path, monkeypatch):
    hanging = tmp_path / "hanging"
    driver(f"if num_readings > 3: open({str(hanging)!r}, 'w').close(); time.sleep(3600)")
    process = started(3, device="cuda")
    wait_until(hanging.exists)
    stop = process._child.stop
    monkeypatch.setattr(process._child, "stop", lambda: stop(ask_seconds=0.1))
    found = process.stop(0)
    assert_whole(found, 3)
    assert found.columns["gpu_power_watts"] == (50.0, 50.0, 50.0)
    assert found.ended == "did not end when asked, and was stopped"


@has_signals
def test_a_driver_that_ends_the_process_is_survived(driver):
    driver("import os\nif num_readings > 2: os.abort()")
    process = started(2, device="cuda")
    wait_until(lambda: not process.is_alive)
    found = process.stop(0)
    assert found.columns["gpu_power_watts"] == (50.0, 50.0)
    assert found.ended == f"was stopped by signal {signal.SIGABRT:d}"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (LookupError("NVML: library not found"), "NVML: library not found"),
        (RuntimeError("Unknown Error"), "NVML: Unknown Error"),
    ],
)
def test_a_gpu_that_cannot_be_found_is_a_reason(monkeypatch, error, reason):
    def fail(index):
        raise error

    monkeypatch.setattr(telemetry_process, "nvml_device", fail)
    found = started(device="cuda").stop(0)
    assert {found.unavailable[name] for name in GPU_COLUMNS} == {reason}
    assert found.ended is None


def test_a_driver_that_the_process_cannot_load_is_a_reason(driver, tmp_path):
    driver("")
    (tmp_path / "pynvml.py").write_text("raise OSError('libnvidia-ml.so.1')")
    found = started(device="cuda").stop(0)
    assert {found.unavailable[name] for name in GPU_COLUMNS} == {"NVML: libnvidia-ml.so.1"}


def test_one_that_was_never_started_leaves_no_rows():
    found = TelemetryProcess(os.getpid(), "cpu", 1.0).stop(0)
    assert_whole(found, 0)
    assert found.ended == "was not started"


def test_one_that_the_system_refuses_does_not_stop_the_run(monkeypatch):
    def refuse():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    process = TelemetryProcess(os.getpid(), "cpu", 1.0)
    monkeypatch.setattr(process._child, "start", refuse)
    process.start()
    assert not process.is_alive
    assert process.stop(0).ended == "could not be started: Resource temporarily unavailable"


def test_readings_from_one_period_before_the_origin_on_are_kept():
    rows = [(at_ms, {"rss_bytes": at_ms}) for at_ms in (500.0, 1500.0, 2500.0, 3500.0)]
    found = filled(rows).stop(2_000_000_000)
    assert found.times_ms == (-500.0, 500.0, 1500.0)
    assert found.columns == {"rss_bytes": (1500.0, 2500.0, 3500.0)}


def test_a_long_run_is_kept_in_few_rows():
    rows = [(float(index), {"cpu_load_share": index % 2}) for index in range(2 * MAX_ROWS + 1)]
    found = filled(rows).stop(0)
    assert len(found.times_ms) == math.ceil(len(rows) / 3) <= MAX_ROWS
    assert found.period_ms == 3000.0
    # A row is told at the end of what it tells of; the last has what is left.
    assert found.times_ms[:2] == (2.0, 5.0)
    assert found.times_ms[-1] == rows[-1][0]
    assert found.columns["cpu_load_share"][:2] == (0.3333, 0.6667)


@pytest.mark.parametrize(
    ("name", "values", "merged"),
    [
        ("cpu_load_share", (0.1, 0.2, 0.6), 0.3),
        ("gpu_sm_clock_mhz", (1800.0, None, 1200.0), 1500.0),
        ("gpu_throttle_bits", (0x4, 0x20, 0x24), 0x24),
        ("gpu_memory_used_bytes", (1.0, 3.0, 2.0), 3.0),
        ("rss_bytes", (None, 2.0, None), 2.0),
        ("gpu_energy_joules", (1.0, 2.0, 4.0), 4.0),
        ("swap_in_bytes", (1.0, 2.0, None), 2.0),
        ("is_on_mains", (1.0, 0.0, 1.0), 0.0),
        ("battery_share", (None, None, None), None),
    ],
)
def test_several_readings_become_one_by_what_they_are(monkeypatch, name, values, merged):
    monkeypatch.setattr(telemetry_process, "MAX_ROWS", 2)
    group = [{} if value is None else {name: value} for value in values]
    rows = list(enumerate([*group, *group[:2], {name: 1.0}]))
    found = filled(rows).stop(0)
    assert found.columns[name][0] == merged
