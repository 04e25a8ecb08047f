"""The process that plays: it opens a back end, and the back end's callback empties the ring.

In a process of its own the callback shares its interpreter with nobody. What it counts lies in the
ring's memory, so that it is there even where the process was killed.
"""

import gc
import os
import threading
import time
from multiprocessing.connection import Connection
from typing import Self

from lmdm_bench.audio_backend import BACKENDS, playing
from lmdm_bench.audio_ring import GAP_STEP_MS, GONE_SECONDS, NS_PER_SECOND, AudioRing, Counts
from lmdm_bench.check_record import DeviceCount, Policy
from lmdm_bench.child_process import Child
from lmdm_bench.errors import InputError, UnsupportedError

# Opening a sound system may take long. It closes quickly or hangs.
START_SECONDS = 20.0
CLOSE_SECONDS = 1.0
STOP_SECONDS = 2.0

_POLL_SECONDS = 0.05


class AudioProcess:
    """A handle on it: ``start``, then ``ring`` is being played, then ``stop``; or a ``with``."""

    def __init__(self, backend: str, sample_rate_hz: int, ring_frames: int, policy: Policy) -> None:
        """The ring has room for ``ring_frames`` samples of each channel or more.

        Raises InputError for a back end that there is not, ValueError for a policy or a size that
        the ring cannot have, UnsupportedError where there is no shared memory for it.
        """
        if backend not in BACKENDS:
            raise InputError(f"the back end {backend!r} is not one of {', '.join(BACKENDS)}")
        self.backend = backend
        self.ring = AudioRing.create(ring_frames, sample_rate_hz, policy)
        self._child: Child | None = None
        self._count: DeviceCount | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Come back when the device is open and the callback is being called.

        Raises UnsupportedError where the back end cannot be used; nothing is left running then.
        """
        try:
            self._child = Child("audio", _play, self.ring, self.backend)
            self._child.start()
            self._wait_for_callbacks(self._child)
        except BaseException:
            self.stop()
            raise

    @property
    def is_alive(self) -> bool:
        return self._child is not None and self._child.is_alive

    @property
    def pid(self) -> int | None:
        return None if self._child is None else self._child.pid

    def stop(self) -> DeviceCount:
        """End it and give what was counted; the same again if called again."""
        if self._count is None:
            ended: str | None = "was not waited for"
            try:
                ended = "was not started" if self._child is None else self._child.stop(STOP_SECONDS)
            finally:
                self._count = _count(self.backend, self.ring, ended)
                self.ring.close()
        return self._count

    def _wait_for_callbacks(self, child: Child) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not (self.ring.num_callbacks and self.ring.device):
            if self.ring.state != "open":
                raise UnsupportedError(self.ring.reason)
            if not child.is_alive:
                raise UnsupportedError("the audio process ended before its first callback")
            if time.monotonic() > deadline:
                raise UnsupportedError(f"no callback came within {START_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS / 10)


def _count(backend: str, ring: AudioRing, ended: str | None) -> DeviceCount:
    """What the ring's memory says; ``ended``: how the process did, None where well."""
    counts = ring.counts()
    callbacks_due, frames_due = _due(counts, ring.sample_rate_hz)
    unavailable = {}
    if counts.xruns is None:
        unavailable["xruns"] = "there was no sound server that could have had one"
    if counts.output_latency_ms is None:
        unavailable["output_latency_ms"] = "the back end does not tell it"
    if ring.state == "lost":
        unavailable["end"] = ring.reason
    elif ended is not None:
        unavailable["end"] = f"the audio process {ended}"
    return DeviceCount(
        backend=backend,
        device=ring.device,
        sample_rate_hz=ring.sample_rate_hz,
        frames_per_callback=counts.frames_per_callback,
        callbacks_due=callbacks_due,
        callbacks_seen=counts.callbacks_seen,
        frames_due=frames_due,
        frames_delivered=counts.frames_delivered,
        frames_missing=counts.frames_missing,
        ring_underruns=counts.ring_underruns,
        xruns=counts.xruns,
        output_latency_ms=counts.output_latency_ms,
        gap_step_ms=GAP_STEP_MS,
        gap_counts=counts.gap_counts,
        largest_gap_ms=counts.largest_gap_ms,
        unavailable=unavailable,
    )


def _due(counts: Counts, sample_rate_hz: int) -> tuple[int, int]:
    """Callbacks and frames by the clock, from the first one that was meant to play to the last."""
    if not counts.callbacks_seen:
        return 0, 0
    frames_between = (counts.last_ns - counts.first_ns) * sample_rate_hz / NS_PER_SECOND
    callbacks = 1 + round(frames_between / counts.frames_per_callback)
    return callbacks, round(frames_between) + counts.frames_per_callback


def _play(parent: Connection, ring: AudioRing, backend: str) -> None:
    """The process's whole life."""
    gc.disable()
    try:
        with playing(backend, ring):
            _watch(parent, ring)
            # A sound system that hangs is not waited for.
            threading.Thread(target=_leave_later, daemon=True).start()
    except UnsupportedError as error:
        # What fails while it closes is not why it closes.
        if ring.state == "open":
            ring.end("unsupported", str(error))
    finally:
        ring.close()


def _watch(parent: Connection, ring: AudioRing) -> None:
    """Until it is to end, or the callback comes no more."""
    seen, quiet_seconds = ring.num_callbacks, 0.0
    while ring.state == "open":
        if parent.poll(_POLL_SECONDS):
            ring.end("closed", "it was asked to end")
            return
        quiet_seconds = quiet_seconds + _POLL_SECONDS if ring.num_callbacks == seen else 0.0
        seen = ring.num_callbacks
        if quiet_seconds > GONE_SECONDS:
            ring.end("lost", f"the sound system has not called for {GONE_SECONDS:.0f} s")


def _leave_later() -> None:
    time.sleep(CLOSE_SECONDS)
    os._exit(0)
