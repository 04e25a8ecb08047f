"""What torch's profiler writes about itself on standard error is left out; all else comes through.

Its libraries write past Python, to the file descriptor: that it starts and stops, and that it
meets memory from before its start. Neither is news to who profiles.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

STDERR = 2
NOTES = (
    b"SyncActivityProfilerHandler.cpp",
    b"was allocated before the profiling started",
)


@contextmanager
def without_profiler_notes() -> Iterator[None]:
    """Holds standard error back while the profiler runs, then writes what is not such a note."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        shown = os.dup(STDERR)
        os.dup2(held.fileno(), STDERR)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(shown, STDERR)
            os.close(shown)
            held.seek(0)
            for line in held:
                if not any(note in line for note in NOTES):
                    os.write(STDERR, line)
