"""Without Triton, only what does without it is tested; with a GPU, all of it is a GPU's test."""

import importlib.util
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
NEED_NO_TRITON = ("tiles", "tables", "launch", "support")

collect_ignore = []
if importlib.util.find_spec("triton") is None:
    free = {f"test_{name}.py" for name in NEED_NO_TRITON}
    collect_ignore += [path.name for path in HERE.glob("test_*.py") if path.name not in free]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available():
        for item in items:
            if item.path.parent == HERE:
                item.add_marker(pytest.mark.gpu)
