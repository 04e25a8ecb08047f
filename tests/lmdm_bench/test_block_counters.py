"""What happens in a block is counted, what happens beside it is not, and no hook is left behind."""

import gc
import os
import subprocess
import sys
from collections import Counter, defaultdict
from types import SimpleNamespace

import pytest

from lmdm_bench.block_counters import BlockCounters


@pytest.fixture(autouse=True)
def _no_hook_stays():
    before = list(gc.callbacks)
    yield
    assert gc.callbacks == before


@pytest.fixture
def dynamo(monkeypatch):
    """torch's own counters, none of whose graphs have been compiled yet."""
    counters = defaultdict(Counter)
    monkeypatch.setitem(sys.modules, "torch._dynamo.utils", SimpleNamespace(counters=counters))
    return counters["stats"]


@pytest.fixture
def triton(monkeypatch):
    runtime = SimpleNamespace(jit_post_compile_hook=None)
    fake = SimpleNamespace(knobs=SimpleNamespace(runtime=runtime))
    monkeypatch.setitem(sys.modules, "triton", fake)
    return runtime


@pytest.fixture
def usage(monkeypatch):
    resource = pytest.importorskip("resource")
    used = SimpleNamespace(ru_nivcsw=1000, ru_majflt=50)
    monkeypatch.setattr(resource, "getrusage", lambda who: used)
    return used


def counted(work=lambda: None, device="cpu"):
    counters = BlockCounters(device)
    counters.start()
    work()
    return counters.stop()


@pytest.mark.parametrize("generation", [0, 1, 2])
def test_collections_of_every_generation_are_timed(generation):
    assert counted(lambda: gc.collect(generation)).gc_ms > 0


def test_a_collection_between_two_blocks_is_neither_s():
    counters = BlockCounters("cpu")
    gc.disable()
    try:
        counters.start()
        gc.collect()
        assert counters.stop().gc_ms > 0
        gc.collect()
        counters.start()
        assert counters.stop().gc_ms == 0
    finally:
        gc.enable()


def test_graphs_and_kernels_are_counted_together(dynamo, triton):
    dynamo["unique_graphs"] = 7

    def work():
        dynamo["unique_graphs"] += 2
        triton.jit_post_compile_hook(key="k", fn=None)

    assert counted(work).num_compiles == 3
    assert counted().num_compiles == 0
    assert triton.jit_post_compile_hook is None


def test_torch_s_counters_may_be_cleared_within_a_block(dynamo):
    dynamo["unique_graphs"] = 7
    assert counted(dynamo.clear).num_compiles == 0


def test_another_s_hook_is_called_and_comes_back(triton):
    called = []

    def other(**what):
        called.append(what)
        return "its answer"

    triton.jit_post_compile_hook = other
    answers = []
    found = counted(lambda: answers.append(triton.jit_post_compile_hook(key="k")))
    assert (found.num_compiles, called, answers) == (1, [{"key": "k"}], ["its answer"])
    assert triton.jit_post_compile_hook is other


@pytest.mark.parametrize("module", [None, SimpleNamespace()])
def test_without_triton_or_its_hook_nothing_is_compiled(monkeypatch, module):
    monkeypatch.setitem(sys.modules, "triton", module)
    assert counted().num_compiles == 0


def test_preemptions_and_faults_are_the_block_s_own(usage):
    def work():
        usage.ru_nivcsw += 3
        usage.ru_majflt += 2

    found = counted(work)
    assert (found.num_preemptions, found.num_major_faults) == (3, 2)


def test_windows_counts_neither_preemptions_nor_major_faults(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    found = counted()
    assert (found.num_preemptions, found.num_major_faults) == (None, None)


def test_cuda_counts_calls_of_the_driver_for_memory(monkeypatch):
    figures = {"num_device_alloc": 10, "num_alloc_retries": 1, "allocated_bytes": {}}
    asked = []

    def memory_stats_as_nested_dict(device):
        asked.append(device)
        return dict(figures)

    fake = SimpleNamespace(
        cuda=SimpleNamespace(memory_stats_as_nested_dict=memory_stats_as_nested_dict)
    )
    monkeypatch.setitem(sys.modules, "torch", fake)

    def work():
        figures["num_device_alloc"] += 3
        figures["num_alloc_retries"] += 1

    assert counted(work, "cuda:1").num_allocs == 4
    assert set(asked) == {"cuda:1"}
    assert counted(work, "cpu").num_allocs is None
    assert counted(work, "mps").num_allocs is None


def test_a_block_that_failed_is_forgotten_by_the_next(usage):
    counters = BlockCounters("cpu")
    counters.start()
    usage.ru_nivcsw += 100
    gc.collect()
    counters.start()
    usage.ru_nivcsw += 1
    assert counters.stop().num_preemptions == 1


def test_a_stop_without_a_start_is_a_mistake():
    counters = BlockCounters("cpu")
    with pytest.raises(RuntimeError, match="were not started"):
        counters.stop()
    counters.start()
    counters.stop()
    with pytest.raises(RuntimeError, match="were not started"):
        counters.stop()


def test_nothing_is_imported_that_was_not_there():
    program = (
        "import sys; from lmdm_bench.block_counters import BlockCounters; "
        "counters = BlockCounters('cuda'); counters.start(); counters.stop(); "
        "print({'torch', 'triton', 'numpy'} & sys.modules.keys())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert ended.stdout.strip() == "set()"
