"""The back ends that call for sound, each a ``with`` that plays a ring for as long as it lasts.

``jack`` is a JACK server that runs already, ``jack-dummy`` one without a sound card that is started
for the run, ``portaudio`` the system's sound card, ``silent`` a loop that keeps a sound card's time
without being one. ``python -m lmdm_bench.audio_backend`` tells which of them can be used: in a
process of its own, since their libraries write to the terminal and may wait for a server.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from lmdm_bench.audio_ring import NS_PER_SECOND, NUM_CHANNELS, AudioRing
from lmdm_bench.errors import UnsupportedError
from lmdm_bench.jack_server import ENVIRONMENT, FRAMES_PER_CALLBACK, find_jackd, jack_server

BACKENDS = ("jack", "jack-dummy", "portaudio", "silent")
ANSWER_SECONDS = 15.0
OPEN_SECONDS = 5.0

# A JACK server may be told to take more frames at once while it runs, but not more than these.
_MOST_FRAMES = 8192
_RETRY_SECONDS = 0.1
_CLIENT = "lmdm-bench"


def available_backends() -> dict[str, str]:
    """Every back end with why it cannot be used here; an empty reason where it can."""
    try:
        answer = subprocess.run(
            [sys.executable, "-m", "lmdm_bench.audio_backend"],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=ANSWER_SECONDS,
            check=True,
        )
    except subprocess.TimeoutExpired:
        why_not = f"the sound system did not answer within {ANSWER_SECONDS:.0f} s"
    except subprocess.CalledProcessError as error:
        why_not = f"asking the sound system ended with exit code {error.returncode}"
    else:
        reasons: dict[str, str] = json.loads(answer.stdout.splitlines()[-1])
        return reasons
    return {name: "" if name == "silent" else why_not for name in BACKENDS}


def playing(backend: str, ring: AudioRing) -> AbstractContextManager[None]:
    """Let a back end call for the ring's frames.

    Entering it raises UnsupportedError where it is not there or cannot play at the ring's rate.
    """
    os.environ.update(ENVIRONMENT)
    play = {
        "jack": _jack,
        "jack-dummy": _jack_dummy,
        "portaudio": _portaudio,
        "silent": _silent,
    }[backend]
    return play(ring)


@contextmanager
def _jack_dummy(ring: AudioRing) -> Iterator[None]:
    # The client goes before its server: JACK may hang or crash when both go at once.
    with jack_server(ring.sample_rate_hz) as server, _jack(ring, server):
        yield


@contextmanager
def _jack(ring: AudioRing, server: str | None = None) -> Iterator[None]:
    with _client(server) as client:
        if client.samplerate != ring.sample_rate_hz:
            raise UnsupportedError(
                f"the JACK server runs at {client.samplerate} Hz and the stream at"
                f" {ring.sample_rate_hz} Hz"
            )
        outputs = [client.outports.register(f"out_{number + 1}") for number in range(NUM_CHANNELS)]
        client.set_process_callback(_jack_callback(ring, outputs))
        client.set_shutdown_callback(lambda status, why: ring.end("lost", "the JACK server ended"))
        client.set_xrun_callback(lambda delay_us: ring.count_xrun())
        ring.can_count_xruns()
        client.activate()
        sinks = client.get_ports(is_physical=True, is_input=True, is_audio=True)
        for output, sink in zip(outputs, sinks, strict=False):
            client.connect(output, sink)
        device = sinks[0].name.partition(":")[0] if sinks else "no output"
        ring.describe(f"JACK: {device}", output_latency_ms=None)
        yield


@contextmanager
def _client(server: str | None) -> Iterator[Any]:
    """A client of a JACK server. What goes wrong with it is an UnsupportedError."""
    jack = _load_jack()
    client = _opened(jack, server)
    try:
        yield client
    except jack.JackError as error:
        raise UnsupportedError(f"JACK: {error}") from error
    finally:
        client.deactivate()
        client.close()


def _opened(jack: ModuleType, server: str | None) -> Any:
    deadline = time.monotonic() + OPEN_SECONDS
    while True:
        try:
            return jack.Client(_CLIENT, no_start_server=True, servername=server)
        except jack.JackOpenError as error:
            if not error.status.server_error:
                raise UnsupportedError("no JACK server is running") from error
            # There is one, and it had no time: other clients that come or go take it.
            if time.monotonic() > deadline:
                raise UnsupportedError("the JACK server does not answer") from error
        time.sleep(_RETRY_SECONDS)


def _jack_callback(ring: AudioRing, outputs: list[Any]) -> Callable[[int], None]:
    """JACK has one buffer for each channel, the ring one for both."""
    both = np.zeros((_MOST_FRAMES, NUM_CHANNELS), np.float32)

    def call(num_frames: int) -> None:
        frames = both[:num_frames]
        ring.read_into(frames, time.monotonic_ns())
        for channel, output in enumerate(outputs):
            output.get_array()[:] = frames[:, channel]

    return call


@contextmanager
def _portaudio(ring: AudioRing) -> Iterator[None]:
    sounddevice = _load_sounddevice()

    def call(out: Any, num_frames: int, when: Any, status: Any) -> None:
        ring.read_into(out, time.monotonic_ns())
        if status.output_underflow:
            ring.count_xrun()

    try:
        ring.can_count_xruns()
        stream = sounddevice.OutputStream(
            samplerate=ring.sample_rate_hz,
            blocksize=FRAMES_PER_CALLBACK,
            channels=NUM_CHANNELS,
            dtype="float32",
            callback=call,
        )
        with stream:
            device = sounddevice.query_devices(stream.device)
            host = sounddevice.query_hostapis(device["hostapi"])
            ring.describe(f"{host['name']}: {device['name']}", 1000.0 * stream.latency)
            yield
    except sounddevice.PortAudioError as error:
        raise UnsupportedError(f"PortAudio: {error}") from error


@contextmanager
def _silent(ring: AudioRing) -> Iterator[None]:
    ended = threading.Event()
    loop = threading.Thread(target=_keep_time, args=(ring, ended), daemon=True)
    ring.describe("no sound card, a loop that keeps its time", 0.0)
    loop.start()
    try:
        yield
    finally:
        ended.set()
        loop.join()


def _keep_time(ring: AudioRing, ended: threading.Event) -> None:
    """A callback at each multiple of its length. Those that are wholly missed never come."""
    out = np.zeros((FRAMES_PER_CALLBACK, NUM_CHANNELS), np.float32)
    origin_ns = time.monotonic_ns()
    index = 0
    while not ended.is_set():
        ring.read_into(out, time.monotonic_ns())
        passed = time.monotonic_ns() - origin_ns
        callback_ns = FRAMES_PER_CALLBACK * NS_PER_SECOND / ring.sample_rate_hz
        index = max(index + 1, int(passed / callback_ns))
        time.sleep(max(0.0, (index * callback_ns - passed) / NS_PER_SECOND))


def _load_jack() -> ModuleType:
    try:
        import jack
    except ImportError as error:
        raise UnsupportedError(_not_installed("JACK-Client")) from error
    except OSError as error:
        raise UnsupportedError("the JACK library is not on this machine") from error
    # What it would write to the terminal comes as an exception too.
    jack.set_error_function(lambda words: None)
    jack.set_info_function(lambda words: None)
    module: ModuleType = jack
    return module


def _load_sounddevice() -> ModuleType:
    try:
        import sounddevice
    except ImportError as error:
        raise UnsupportedError(_not_installed("sounddevice")) from error
    except OSError as error:
        raise UnsupportedError("the PortAudio library is not on this machine") from error
    except Exception as error:
        # It starts PortAudio while it is imported, and then its own exception has no name here.
        raise UnsupportedError(f"PortAudio does not start: {error}") from error
    module: ModuleType = sounddevice
    return module


def _not_installed(package: str) -> str:
    return f"{package} is not installed (pip install 'lmdm-bench[audio]')"


def _tell() -> None:
    """Answer with one line of JSON, after whatever the libraries say."""
    os.environ.update(ENVIRONMENT)
    tests = {"jack": _try_jack, "jack-dummy": _try_jackd, "portaudio": _try_portaudio}
    reasons = dict.fromkeys(BACKENDS, "")
    for name, attempt in tests.items():
        try:
            attempt()
        except UnsupportedError as error:
            reasons[name] = str(error)
    sys.stdout.write(f"\n{json.dumps(reasons)}\n")


def _try_jack() -> None:
    with _client(None):
        pass


def _try_jackd() -> None:
    find_jackd()
    _load_jack()


def _try_portaudio() -> None:
    sounddevice = _load_sounddevice()
    try:
        sounddevice.query_devices(kind="output")
    except (sounddevice.PortAudioError, ValueError) as error:
        raise UnsupportedError("PortAudio finds no sound card") from error


if __name__ == "__main__":
    _tell()
