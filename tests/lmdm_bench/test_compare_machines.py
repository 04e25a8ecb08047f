"""One machine is known again, another is told apart, and what may differ is only named."""

import dataclasses

import pytest

import records
from lmdm_bench.compare_machines import (
    IDENTITY,
    is_same_machine,
    machine_differences,
    machine_facts,
)

CPU = records.all_ok().machine
CUDA = records.cuda().machine


def test_the_facts_are_words_and_leave_out_what_is_not_known():
    assert machine_facts(CPU) == {
        "cpu": "AMD EPYC",
        "architecture": "x86_64",
        "instructions": "avx2 avx512f avx512_bf16",
        "physical cores": "2",
        "logical cores": "2",
        "memory": "7 GiB",
        "virtual": "yes",
        "os": "Linux 6.8.0 (glibc 2.39)",
    }
    facts = machine_facts(CUDA)
    assert facts["gpus"] == ("NVIDIA H200, 140 GiB, 132 multiprocessors, compute capability 9.0")
    assert facts["power limit"] == "700 W"
    assert facts["driver"] == "575.57.08"


def test_every_fact_of_a_machine_that_decides_its_speed_is_known_by_name():
    plugged = dataclasses.replace(CUDA, is_on_mains=True)
    assert machine_facts(plugged).keys() == {*IDENTITY, "os", "driver", "on mains"}


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ({"cpu": "Apple M4 Pro"}, "cpu"),
        ({"cpu_architecture": "aarch64"}, "architecture"),
        ({"cpu_isa": ("avx2",)}, "instructions"),
        ({"num_physical_cores": 1}, "physical cores"),
        ({"num_logical_cores": 4}, "logical cores"),
        ({"ram_bytes": 16 << 30}, "memory"),
        ({"is_virtual": False}, "virtual"),
        ({"gpus": (dataclasses.replace(CUDA.gpus[0], name="NVIDIA A100"),)}, "gpus"),
        ({"gpus": (dataclasses.replace(CUDA.gpus[0], power_limit_watts=300.0),)}, "power limit"),
    ],
)
def test_another_machine_is_named_by_what_differs(change, fact):
    a, b = machine_facts(CUDA), machine_facts(dataclasses.replace(CUDA, **change))
    assert not is_same_machine(a, b)
    assert list(machine_differences(a, b)) == [fact]
    assert machine_differences(a, b)[fact] == f"{a[fact]} against {b[fact]}"


@pytest.mark.parametrize(
    "change",
    [
        {"os": "Linux 6.9"},
        {"is_on_mains": True},
        {"gpus": (dataclasses.replace(CUDA.gpus[0], driver="580.1"),)},
        # What one of them does not know says nothing.
        {"num_physical_cores": None},
        {"is_virtual": None},
        {"gpus": ()},
        {"ram_bytes": CUDA.ram_bytes + (1 << 20)},
        {"load_average_1min": 9.0},
    ],
)
def test_the_same_machine_in_another_state_is_still_the_same(change):
    plugged_out = dataclasses.replace(CUDA, is_on_mains=False)
    b = dataclasses.replace(plugged_out, **change)
    assert is_same_machine(machine_facts(plugged_out), machine_facts(b))


def test_a_state_that_differs_is_named():
    battery, mains = (dataclasses.replace(CPU, is_on_mains=one) for one in (False, True))
    assert machine_differences(machine_facts(battery), machine_facts(mains)) == {
        "on mains": "no against yes"
    }


@pytest.mark.parametrize("cpu", ["unknown x86_64", ""])
def test_a_processor_without_a_name_may_be_any(cpu):
    a, b = machine_facts(CPU), machine_facts(dataclasses.replace(CPU, cpu=cpu))
    for sides, words in (
        ((a, b), "AMD EPYC against unknown"),
        ((b, a), "unknown against AMD EPYC"),
        ((b, b), "unknown against unknown"),
    ):
        assert not is_same_machine(*sides)
        assert machine_differences(*sides) == {"cpu": words}
