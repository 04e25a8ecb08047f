"""Streams played on real back ends, for the tests: a generator that sleeps instead of computing."""

import contextlib
import functools
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import psutil
import pytest

from lmdm_bench import jack_server as jack_server_module
from lmdm_bench.audio_backend import available_backends
from lmdm_bench.audio_process import AudioProcess
from lmdm_bench.block_clock import Handed
from lmdm_bench.check_record import DeviceCount
from lmdm_bench.device_clock import AudioLost, DeviceClock
from lmdm_bench.ring import Ring

RATE_HZ = 44_100
BLOCK_SECONDS = 0.25
LONG_SECONDS, ORPHAN_SECONDS = 20.0, 4.0
# So many run at once in the tests.
MOST_SERVERS = 2
BLOCK_SAMPLES = round(RATE_HZ * BLOCK_SECONDS)


@dataclass
class Run:
    """What one run left. ``service_ms``: of the blocks that were made while it played."""

    count: DeviceCount | None = None
    handed: list[Handed] = field(default_factory=list)
    service_ms: list[float] = field(default_factory=list)
    lost: str | None = None


def play(backend, rtf, num_blocks=18, prebuffer_blocks=2, policy="stall", meanwhile=None):
    """One run; ``meanwhile(audio, block_index)`` is called before each block."""
    run = Run()
    frames = BLOCK_SAMPLES * (prebuffer_blocks + 1)
    with AudioProcess(backend, RATE_HZ, frames, policy) as audio:
        clock = DeviceClock(audio.ring, Ring(prebuffer_blocks, BLOCK_SECONDS * 1000, policy))
        try:
            for index in range(num_blocks):
                if meanwhile is not None:
                    meanwhile(audio, index)
                clock.wait_for_room()
                started = clock.begin()
                time.sleep(rtf * BLOCK_SECONDS)
                run.handed.append(clock.hand_over(None))
                if index >= prebuffer_blocks:
                    run.service_ms.append(run.handed[-1].ready_ms - started)
        except AudioLost as error:
            run.lost = str(error)
        clock.close()
        run.count = audio.stop()
    return run


def play_at_once(asked):
    """Several runs beside each other: what each of ``asked``, name to arguments, left."""
    with ThreadPoolExecutor(len(asked)) as pool:
        runs = {name: pool.submit(play, *arguments) for name, arguments in asked.items()}
    return {name: run.result() for name, run in runs.items()}


@functools.cache
def why_not_jack():
    """Why no JACK servers can be started for the tests; empty where they can."""
    folder = jack_server_module.JACK_FOLDER
    needed = MOST_SERVERS * jack_server_module.SERVER_BYTES
    if folder.is_dir() and shutil.disk_usage(folder).free < needed:
        return f"{MOST_SERVERS} JACK servers need {needed >> 20} MiB in {folder}"
    return available_backends()["jack-dummy"]


def skip_without_jack():
    if why_not_jack():
        pytest.skip(why_not_jack())


def wait_for(is_so):
    """Look until it is so; fail after a long time."""
    deadline = time.monotonic() + LONG_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def jackds():
    """The servers that this process, or one below it, started and that still run."""
    return [one for one in psutil.Process().children(recursive=True) if is_jackd(one)]


def is_jackd(process):
    try:
        return process.name() == "jackd" and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def name_of(server):
    command = server.cmdline()
    return command[command.index("-n") + 1]


def put_away(name):
    """What a killed server left: its files by name, which the next of that name would put away,
    and its memory, which any server does."""
    jack_server_module._tidy(name)
    with jack_server_module.jack_server(RATE_HZ):
        pass


def wait_until_reaped(process):
    """Until then its name counts as taken. Some machines never reap an orphan."""
    with contextlib.suppress(psutil.TimeoutExpired):
        process.wait(ORPHAN_SECONDS)
