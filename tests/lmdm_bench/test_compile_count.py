"""Graphs and kernels are counted while counting is open, and Triton's hook is given back."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from torch._dynamo.utils import counters

from lmdm_bench.compile_count import counting


@pytest.fixture
def triton(monkeypatch: pytest.MonkeyPatch) -> Any:
    fake = SimpleNamespace(
        knobs=SimpleNamespace(runtime=SimpleNamespace(jit_post_compile_hook=None))
    )
    monkeypatch.setitem(sys.modules, "triton", fake)
    return fake.knobs.runtime


def test_graphs_and_kernels_are_counted_together(triton: Any) -> None:
    with counting() as count:
        before = count.now
        counters["stats"]["unique_graphs"] += 2
        triton.jit_post_compile_hook(key="k", fn=None)
        assert count.now - before == 3
    assert triton.jit_post_compile_hook is None
    counters["stats"]["unique_graphs"] -= 2


def test_the_hook_that_was_there_comes_back(triton: Any) -> None:
    def other(**_: object) -> None: ...

    triton.jit_post_compile_hook = other
    with pytest.raises(RuntimeError), counting():
        assert triton.jit_post_compile_hook is not other
        raise RuntimeError
    assert triton.jit_post_compile_hook is other


@pytest.mark.parametrize("module", [None, SimpleNamespace()])
def test_without_triton_graphs_are_counted_alone(
    monkeypatch: pytest.MonkeyPatch, module: object
) -> None:
    monkeypatch.setitem(sys.modules, "triton", module)
    with counting() as count:
        assert count.now == counters["stats"]["unique_graphs"]
