"""Shared memory is all there, or refused in a sentence with nothing left behind."""

import errno
import os

import pytest

from lmdm_bench import shared_pages as module
from lmdm_bench.errors import UnsupportedError
from lmdm_bench.journal import Journal
from lmdm_bench.shared_pages import LINUX_FOLDER, shared_pages

on_linux = pytest.mark.skipif(
    not (LINUX_FOLDER.exists() and hasattr(os, "posix_fallocate")),
    reason="only Linux gives pages at the first touch",
)


@on_linux
def test_its_pages_are_taken_at_once() -> None:
    memory = shared_pages(3 << 20)
    try:
        taken = (LINUX_FOLDER / memory.name).stat().st_blocks * 512
        assert taken >= 3 << 20
    finally:
        memory.close()
        memory.unlink()


@on_linux
@pytest.mark.parametrize("make", [lambda: shared_pages(3 << 20), lambda: Journal(5000, 70)])
def test_too_little_memory_is_refused_and_leaves_nothing(
    make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = set(LINUX_FOLDER.iterdir())
    monkeypatch.setattr(module.os, "posix_fallocate", full)
    with pytest.raises(UnsupportedError, match=r"no 3\.\d MiB of shared memory: No space left"):
        make()
    assert set(LINUX_FOLDER.iterdir()) <= before


def test_where_pages_are_given_otherwise_nothing_is_asked(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINUX_FOLDER", tmp_path)
    memory = shared_pages(4096)
    memory.close()
    memory.unlink()
