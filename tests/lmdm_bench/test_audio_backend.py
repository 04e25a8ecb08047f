"""What each back end does with its callback, and the sentence where it cannot be used."""

import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from lmdm_bench import audio_backend
from lmdm_bench.audio_backend import BACKENDS, available_backends
from lmdm_bench.audio_ring import AudioRing
from lmdm_bench.errors import UnsupportedError
from lmdm_bench.jack_server import FRAMES_PER_CALLBACK

RATE_HZ = 44_100


@pytest.fixture
def ring():
    ring = AudioRing.create(1024, RATE_HZ, "stall")
    yield ring
    ring.close()


def test_every_back_end_has_a_reason_or_none_and_a_loop_is_always_there():
    reasons = available_backends()
    assert tuple(reasons) == BACKENDS
    assert reasons["silent"] == ""
    assert all("\n" not in reason for reason in reasons.values())


def test_without_programs_and_servers_the_reasons_say_so(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("JACK_DEFAULT_SERVER", "lmdm-nobody")
    reasons = available_backends()
    assert "jackd is not installed" in reasons["jack-dummy"]
    assert reasons["jack"] != ""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (subprocess.TimeoutExpired("python", 15), "did not answer within 15 s"),
        (subprocess.CalledProcessError(-11, "python"), "ended with exit code -11"),
    ],
)
def test_a_sound_system_that_hangs_or_crashes_is_a_reason(monkeypatch, error, words):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(audio_backend.subprocess, "run", fail)
    reasons = available_backends()
    assert reasons.pop("silent") == ""
    assert all(words in reason for reason in reasons.values())


@pytest.mark.parametrize(
    ("load", "module", "package", "library"),
    [
        (audio_backend._load_jack, "jack", "JACK-Client", "the JACK library"),
        (audio_backend._load_sounddevice, "sounddevice", "sounddevice", "the PortAudio library"),
    ],
)
def test_a_package_and_its_library_can_be_missing(
    monkeypatch, tmp_path, load, module, package, library
):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UnsupportedError, match=f"{package} is not installed"):
        load()
    monkeypatch.delitem(sys.modules, module)
    (tmp_path / f"{module}.py").write_text("raise OSError('library not found')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UnsupportedError, match=f"{library} is not on this machine"):
        load()


def test_a_portaudio_that_does_not_start_is_a_sentence(monkeypatch, tmp_path):
    (tmp_path / "sounddevice.py").write_text("raise Exception('Internal PortAudio error')")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UnsupportedError, match="does not start: Internal PortAudio error"):
        audio_backend._load_sounddevice()


def test_jack_gets_each_channel_in_a_buffer_of_its_own(ring):
    frames = np.arange(2 * FRAMES_PER_CALLBACK, dtype=np.float32).reshape(-1, 2)
    ring.write(frames)
    ring.play()
    buffers = [np.empty(FRAMES_PER_CALLBACK, np.float32) for _ in range(2)]
    outputs = [SimpleNamespace(get_array=lambda buffer=buffer: buffer) for buffer in buffers]
    audio_backend._jack_callback(ring, outputs)(FRAMES_PER_CALLBACK)
    np.testing.assert_array_equal(np.stack(buffers, axis=1), frames)


def test_the_loop_keeps_time_and_leaves_out_what_it_wholly_missed(monkeypatch):
    ended = threading.Event()
    calls_ms, now_ns = [], 0

    def read_into(out, at_ns):
        nonlocal now_ns
        assert out.shape == (FRAMES_PER_CALLBACK, 2)
        calls_ms.append(at_ns / 1e6)
        now_ns += 7_000_000 if len(calls_ms) == 3 else 100_000
        if len(calls_ms) == 6:
            ended.set()

    def sleep(seconds):
        nonlocal now_ns
        now_ns += round(seconds * 1e9)

    clock = SimpleNamespace(monotonic_ns=lambda: now_ns, sleep=sleep)
    monkeypatch.setattr(audio_backend, "time", clock)
    # 2 ms a callback; the third takes 7, so that what was due at 6 and at 8 ms is lost, and what
    # was due at 10 ms comes at 11.
    card = SimpleNamespace(read_into=read_into, sample_rate_hz=500 * FRAMES_PER_CALLBACK)
    audio_backend._keep_time(card, ended)
    assert calls_ms == pytest.approx([0, 2, 4, 11, 12, 14])
