"""Evidence is read back as it was written, and machines are alike by what decides their speed."""

from dataclasses import replace

import pytest

import records
from lmdm_bench import evidence
from lmdm_bench.calibration_fit import Kind
from lmdm_bench.evidence import are_alike, evidence_from_json, gpu_of, kind_of, row_of, shipped
from lmdm_bench.record import Gpu, RecordError, to_json
from predictions import CPU, measured
from predictions import evidence as made_up

LAPTOP = Kind("NVIDIA GeForce RTX 4060 Laptop GPU", "cuda", 100.0, False)


def test_evidence_comes_back_from_json() -> None:
    known = made_up(measured(rtf_ci95=None), measured())
    assert evidence_from_json(to_json(known), "a file") == known


def test_what_is_not_evidence_is_refused_by_name() -> None:
    with pytest.raises(RecordError, match=r"a file: .*calibrations is missing"):
        evidence_from_json('{"schema_version": 1}', "a file")
    with pytest.raises(RecordError, match="schema_version 7"):
        evidence_from_json('{"schema_version": 7}', "a file")


def test_the_package_knows_something() -> None:
    known = shipped()
    assert known.calibrations and known.measured and known is shipped()


def test_a_cpu_is_its_machine_and_a_gpu_itself_with_its_power_limit() -> None:
    machine = records.all_ok().machine
    assert kind_of(machine, "cpu", is_graphed=False) == Kind(machine.name, "cpu", None, False)
    cuda = records.cuda().machine
    assert kind_of(cuda, "cuda:0", is_graphed=True) == Kind("NVIDIA H200", "cuda", 700.0, True)
    assert kind_of(cuda, "cpu", is_graphed=False).name == cuda.name


def test_limits_that_differ_by_a_watt_are_one() -> None:
    cuda = records.cuda().machine
    (gpu,) = cuda.gpus
    for watts, expected in ((101.2, 100.0), (98.0, 100.0), (None, None)):
        machine = replace(cuda, gpus=(replace(gpu, power_limit_watts=watts),))
        assert kind_of(machine, "cuda", is_graphed=False).power_watts == expected


def test_a_gpu_is_the_one_of_its_number() -> None:
    machine = records.cuda().machine
    second = Gpu("NVIDIA L4", "8.9", 24 << 30, 58, None, None)
    machine = replace(machine, gpus=(*machine.gpus, second))
    assert gpu_of(machine, "cuda").name == gpu_of(machine, "cuda:0").name == "NVIDIA H200"
    assert gpu_of(machine, "cuda:1") == second


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"name": "GeForce RTX 4060 Mobile"}, True),
        ({"power_watts": 110.0}, True),
        ({"power_watts": None}, True),
        ({"power_watts": 60.0}, False),
        ({"name": "GeForce RTX 4060"}, False),
        ({"name": "an unknown GPU"}, False),
        ({"is_graphed": True}, False),
        ({"device": "cpu"}, False),
    ],
)
def test_gpus_are_alike_by_row_power_and_launching(change, expected: bool) -> None:
    other = replace(LAPTOP, **change)
    assert are_alike(LAPTOP, other) == are_alike(other, LAPTOP) == expected


def test_cpus_are_alike_by_their_machine_s_name_alone() -> None:
    assert are_alike(CPU, CPU)
    assert not are_alike(CPU, replace(CPU, name="A CPU, 4 cores, 16 GiB, Linux"))
    assert row_of(replace(CPU, name="Apple M4")) is None
    assert row_of(replace(CPU, name="Apple M4", device="mps")) is not None


def test_what_ships_is_found_beside_the_code() -> None:
    assert evidence.EVIDENCE_NAME == "calibrations.json"
