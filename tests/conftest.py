"""One thread, no gradients, seeded and repeatable; tests that need a GPU say so where none is."""

import os
from collections.abc import Iterator

import hypothesis
import pytest
import torch

# Before anything imports Triton, which then decides whether kernels are interpreted.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
elif os.environ.get("TRITON_INTERPRET", "0") != "0":
    raise RuntimeError("with a CUDA device kernels are compiled, and TRITON_INTERPRET is set")

torch.set_num_threads(1)

# No deadline: nothing here is about the wall clock. Derandomized: a failure is there tomorrow too.
hypothesis.settings.register_profile(
    "lmdm-bench", deadline=None, derandomize=True, database=None, max_examples=50
)
hypothesis.settings.load_profile("lmdm-bench")


@pytest.fixture(autouse=True)
def _seeded_without_gradients() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        return
    skipped = pytest.mark.skip(reason="needs a CUDA device, and torch sees none here")
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(skipped)
