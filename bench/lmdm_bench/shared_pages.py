"""Shared memory whose pages are taken when it is made."""

import os
from multiprocessing import shared_memory
from pathlib import Path

from lmdm_bench.errors import UnsupportedError

LINUX_FOLDER = Path("/dev/shm")
MEBIBYTE = 1 << 20


def shared_pages(num_bytes: int) -> shared_memory.SharedMemory:
    """Memory of that size, to be removed by whoever asked for it.

    Linux gives pages at the first touch, and kills who touches when there are none left: they are
    taken now. Raises UnsupportedError where there are too few.
    """
    memory = shared_memory.SharedMemory(create=True, size=num_bytes)
    try:
        _take(memory)
    except UnsupportedError:
        memory.close()
        memory.unlink()
        raise
    return memory


def _take(memory: shared_memory.SharedMemory) -> None:
    path = LINUX_FOLDER / memory.name
    if not path.exists():
        return
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, memory.size)
        except OSError as error:
            needed = f"{memory.size / MEBIBYTE:.1f} MiB"
            raise UnsupportedError(f"no {needed} of shared memory: {error.strerror}") from error
