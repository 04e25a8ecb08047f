"""The process that plays starts or says why not, counts, and always ends."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from multiprocessing import shared_memory

import numpy as np
import psutil
import pytest

import audio_runs
from audio_runs import wait_for
from lmdm_bench import audio_process
from lmdm_bench.audio_backend import available_backends
from lmdm_bench.audio_process import AudioProcess
from lmdm_bench.errors import InputError, UnsupportedError
from lmdm_bench.jack_server import jack_server

RATE_HZ = audio_runs.RATE_HZ

has_signals = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


@pytest.fixture(autouse=True)
def _nothing_stays(monkeypatch):
    """No process, no server, no memory."""
    names = []
    create = audio_process.AudioRing.create

    def remember(*arguments):
        ring = create(*arguments)
        names.append(ring.name)
        return ring

    monkeypatch.setattr(audio_process.AudioRing, "create", remember)
    yield
    assert multiprocessing.active_children() == []
    assert audio_runs.jackds() == []
    for name in names:
        with pytest.raises(FileNotFoundError):
            shared_memory.SharedMemory(name)


# A sound card that underruns at every callback, and that cannot be closed.
BAD_CARD = """
import threading
import numpy

class PortAudioError(Exception):
    pass

class Status:
    output_underflow = True

class OutputStream:
    device, latency = 3, 0.0125

    def __init__(self, samplerate, blocksize, channels, dtype, callback):
        self.out = numpy.empty((blocksize, channels), dtype)
        self.callback, self.is_over = callback, threading.Event()

    def __enter__(self):
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while not self.is_over.wait(0.002):
            self.callback(self.out, len(self.out), None, Status)

    def __exit__(self, *_):
        self.is_over.set()
        raise PortAudioError("it cannot be closed")

def query_devices(number):
    return {"hostapi": 1, "name": f"card {number}"}

def query_hostapis(number):
    return {"name": "ALSA"}
"""


@pytest.fixture
def _jack():
    audio_runs.skip_without_jack()


def refused(backend, words, rate_hz=RATE_HZ):
    audio = AudioProcess(backend, rate_hz, 4096, "stall")
    with pytest.raises(UnsupportedError, match=words):
        audio.start()
    assert not audio.is_alive
    assert audio.stop().callbacks_seen == 0


def test_it_plays_what_is_in_the_ring_and_counts_it():
    with AudioProcess("silent", RATE_HZ, 40 * 256, "stall") as audio:
        assert audio.is_alive
        assert audio.ring.capacity_frames == 16384
        audio.ring.write(np.zeros((16 * 256, 2), np.float32))
        audio.ring.play()
        wait_for(lambda: audio.ring.position().read_frames == 16 * 256)
        wait_for(lambda: audio.ring.position().frames_missing >= 512)
        audio.ring.pause()
        time.sleep(0.05)
        count = audio.stop()
    assert audio.stop() is count
    assert (count.backend, count.sample_rate_hz, count.frames_per_callback) == (
        "silent",
        RATE_HZ,
        256,
    )
    assert count.frames_delivered == 16 * 256
    assert count.ring_underruns == 1
    assert count.frames_delivered + count.frames_missing == 256 * count.callbacks_seen
    assert count.callbacks_due >= count.callbacks_seen - 1
    assert abs(count.frames_due - 256 * count.callbacks_due) <= 256
    assert count.xruns is None
    assert set(count.unavailable) == {"xruns"}


def test_where_nothing_was_played_nothing_was_due():
    with AudioProcess("silent", RATE_HZ, 256, "zero-pad") as audio:
        count = audio.stop()
    assert (count.callbacks_due, count.callbacks_seen, count.frames_due) == (0, 0, 0)
    assert sum(count.gap_counts) == 0
    assert "end" not in count.unavailable


def test_a_back_end_that_there_is_not_is_refused():
    with pytest.raises(InputError, match="'asio' is not one of jack, jack-dummy"):
        AudioProcess("asio", RATE_HZ, 256, "stall")


def test_one_that_was_never_started_can_be_stopped():
    count = AudioProcess("silent", RATE_HZ, 256, "stall").stop()
    assert count.unavailable["end"] == "the audio process was not started"


def test_without_jackd_there_is_a_sentence_and_nothing_is_left(monkeypatch):
    monkeypatch.setenv("PATH", "")
    refused("jack-dummy", "jackd is not installed")


@pytest.mark.parametrize(
    ("backend", "module", "words"),
    [
        ("jack", "jack", "the JACK library is not on this machine"),
        ("portaudio", "sounddevice", "the PortAudio library is not on this machine"),
    ],
)
def test_without_a_library_there_is_a_sentence(monkeypatch, tmp_path, backend, module, words):
    (tmp_path / f"{module}.py").write_text("raise OSError('library not found')")
    monkeypatch.syspath_prepend(tmp_path)
    refused(backend, words)


def test_a_sound_cards_own_counts_and_latency_are_told(monkeypatch, tmp_path):
    (tmp_path / "sounddevice.py").write_text(BAD_CARD)
    monkeypatch.syspath_prepend(tmp_path)
    with AudioProcess("portaudio", RATE_HZ, 256, "stall") as audio:
        audio.ring.play()
        wait_for(lambda: audio.ring.counts().xruns)
        count = audio.stop()
    assert (count.device, count.output_latency_ms) == ("ALSA: card 3", 12.5)
    assert count.callbacks_seen - 1 <= count.xruns <= count.callbacks_seen
    assert count.ring_underruns == 1  # another thing
    assert count.unavailable == {}  # that it could not be closed is not why it ended


def test_a_sound_system_that_hangs_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setattr(audio_process, "START_SECONDS", 1.0)
    monkeypatch.setattr(audio_process, "STOP_SECONDS", 0.1)
    (tmp_path / "sounddevice.py").write_text("import time\ntime.sleep(60)")
    monkeypatch.syspath_prepend(tmp_path)
    refused("portaudio", "no callback came within 1 s")


def test_a_process_that_dies_while_it_opens_is_noticed(monkeypatch, tmp_path):
    (tmp_path / "sounddevice.py").write_text("import os\nos._exit(3)")
    monkeypatch.syspath_prepend(tmp_path)
    refused("portaudio", "the audio process ended before its first callback")


@pytest.mark.usefixtures("_jack")
def test_without_a_server_there_is_a_sentence(monkeypatch):
    monkeypatch.setenv("JACK_DEFAULT_SERVER", "lmdm-nobody")
    refused("jack", "no JACK server is running")


@pytest.mark.usefixtures("_jack")
def test_a_server_at_another_rate_is_a_sentence(monkeypatch):
    with jack_server(48_000) as server:
        monkeypatch.setenv("JACK_DEFAULT_SERVER", server)
        refused("jack", "the JACK server runs at 48000 Hz and the stream at 44100 Hz")
        if not available_backends()["portaudio"]:
            refused("portaudio", "PortAudio: .*sample rate")


@pytest.mark.usefixtures("_jack")
def test_it_plays_on_a_server_that_runs_already(monkeypatch):
    with jack_server(RATE_HZ) as server:
        monkeypatch.setenv("JACK_DEFAULT_SERVER", server)
        with AudioProcess("jack", RATE_HZ, 256, "stall") as audio:
            audio.ring.play()
            wait_for(lambda: audio.ring.position().frames_missing)
            count = audio.stop()
        assert len(audio_runs.jackds()) == 1  # it is not ours to end
    assert count.device == "JACK: system"
    assert count.xruns is not None
    assert count.unavailable == {"output_latency_ms": "the back end does not tell it"}


@has_signals
def test_ctrl_c_is_its_parents():
    with AudioProcess("silent", RATE_HZ, 256, "stall") as audio:
        os.kill(audio.pid, signal.SIGINT)
        seen = audio.ring.num_callbacks
        wait_for(lambda: audio.ring.num_callbacks > seen + 5)
        assert audio.is_alive


def test_ctrl_c_while_it_starts_leaves_nothing(monkeypatch):
    def interrupt(self, child):
        raise KeyboardInterrupt

    monkeypatch.setattr(AudioProcess, "_wait_for_callbacks", interrupt)
    with pytest.raises(KeyboardInterrupt):
        AudioProcess("silent", RATE_HZ, 256, "stall").start()


@has_signals
def test_one_that_is_stuck_is_stopped_and_its_counts_are_kept(monkeypatch):
    monkeypatch.setattr(audio_process, "STOP_SECONDS", 0.2)
    with AudioProcess("silent", RATE_HZ, 256, "stall") as audio:
        audio.ring.play()
        wait_for(lambda: audio.ring.position().frames_missing)
        os.kill(audio.pid, signal.SIGSTOP)
        count = audio.stop()
    assert count.frames_missing > 0
    assert count.unavailable["end"].startswith("the audio process did not end when asked")


@has_signals
@pytest.mark.usefixtures("_jack")
def test_one_that_is_killed_takes_its_server_with_it():
    with AudioProcess("jack-dummy", RATE_HZ, 256, "stall") as audio:
        (server,) = audio_runs.jackds()
        name = audio_runs.name_of(server)
        audio.ring.play()
        wait_for(lambda: audio.ring.position().frames_missing)
        os.kill(audio.pid, signal.SIGKILL)
        wait_for(lambda: not audio.is_alive)
        count = audio.stop()
    assert count.frames_missing > 0
    assert count.unavailable["end"] == "the audio process was stopped by signal 9"
    wait_for(lambda: not audio_runs.is_jackd(server))
    audio_runs.wait_until_reaped(server)
    audio_runs.put_away(name)


@has_signals
@pytest.mark.usefixtures("_jack")
def test_a_server_that_stands_still_is_lost_and_ended():
    with AudioProcess("jack-dummy", RATE_HZ, 256, "stall") as audio:
        (server,) = audio_runs.jackds()
        name = audio_runs.name_of(server)
        server.suspend()
        wait_for(lambda: audio.ring.state == "lost")
        count = audio.stop()
        wait_for(lambda: not audio_runs.is_jackd(server))
    assert count.unavailable["end"] == "the sound system has not called for 2 s"
    audio_runs.wait_until_reaped(server)
    audio_runs.put_away(name)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
@pytest.mark.usefixtures("_jack")
def test_when_its_parent_is_killed_all_of_it_goes():
    script = textwrap.dedent("""
        import sys, time
        from lmdm_bench.audio_process import AudioProcess
        if __name__ == "__main__":
            with AudioProcess("jack-dummy", 44100, 256, "stall") as audio:
                sys.stdout.write(f"{audio.ring.name} {audio.pid}\\n")
                sys.stdout.flush()
                time.sleep(60)
    """)
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as parent:
        told = parent.stdout.readline().decode().split()
        assert told, parent.stderr.read().decode()
        name, pid = told
        (server,) = audio_runs.jackds()
        parent.kill()
        wait_for(lambda: not psutil.pid_exists(int(pid)) and not audio_runs.is_jackd(server))
        # The tracker of shared memory, the last one left, removes it and says so.
        assert b"leaked shared_memory" in parent.stderr.read()
    with pytest.raises(FileNotFoundError):
        shared_memory.SharedMemory(name)
