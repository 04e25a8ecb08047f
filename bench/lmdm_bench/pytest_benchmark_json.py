"""pytest-benchmark's JSON as cells that can be compared: each benchmark is one, of kind "kernel".

Its axes are its parameters, the texts in its ``extra_info`` (a number there is as likely a result)
and the options under which it was timed. The host's name is not taken over.
"""

import json
import re
from typing import Any

from lmdm_bench.compare_machines import UNKNOWN
from lmdm_bench.compare_measured import Recorded, Sampled
from lmdm_bench.compare_record import CellSide, Side
from lmdm_bench.record import RecordError, decode

MS_PER_SECOND = 1e3
# The options that decide what a sample is.
OPTIONS = ("timer", "disable_gc", "warmup")
UNVERSIONED = "unversioned"
# A parameter that is no JSON is written as its repr; one with an address is new in every process.
REPR = re.compile(r"UNSERIALIZABLE\[(.*)\]", re.DOTALL)
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def is_pytest_benchmark(data: object) -> bool:
    """Whether JSON's data is pytest-benchmark's."""
    return isinstance(data, dict) and "benchmarks" in data and "machine_info" in data


def recorded_benchmarks(data: dict[str, Any], name: str) -> Recorded:
    """The benchmarks in a file's data. Raises RecordError that names the field, also where the
    file was saved without its samples."""
    benchmarks = data["benchmarks"]
    if not isinstance(benchmarks, list):
        raise RecordError("benchmarks should be a list")
    cells = [_cell(one, f"benchmarks[{index}]") for index, one in enumerate(benchmarks)]
    return Recorded(_origin(data, name), tuple(cells))


def _cell(benchmark: object, where: str) -> Sampled:
    told = _object(benchmark, where)
    name = decode(str, told.get("name"), f"{where}.name")
    stats = _object(told.get("stats"), f"{where}.stats")
    if not stats.get("data"):
        raise RecordError(
            f"{name} was saved without its data: use --benchmark-json or --benchmark-save-data"
        )
    seconds = decode(tuple[float, ...], stats["data"], f"{where}.stats.data")
    return Sampled(
        name=name,
        kind="kernel",
        axes=_axes(told, where),
        block_seconds=None,
        outcome=CellSide("OK", None, None, None, {}, None),
        service_ms=tuple(one * MS_PER_SECOND for one in seconds),
        stages={},
        controls={},
    )


def _axes(benchmark: dict[str, Any], where: str) -> dict[str, str]:
    axes: dict[str, str] = {}
    for name, value in _object(benchmark.get("params"), f"{where}.params").items():
        text = _parameter(value)
        if text is not None:
            axes[name] = text
    extra = _object(benchmark.get("extra_info"), f"{where}.extra_info")
    axes |= {name: value for name, value in extra.items() if isinstance(value, str)}
    options = _object(benchmark.get("options"), f"{where}.options")
    axes |= {
        option: ADDRESS.sub("", _text(options[option])) for option in OPTIONS if option in options
    }
    fullname = benchmark.get("fullname")
    if isinstance(fullname, str):
        axes["test"] = fullname.partition("[")[0]
    return axes


def _parameter(value: object) -> str | None:
    """A parameter in words; None where they would not be the same in the next process."""
    text = _text(value)
    found = REPR.fullmatch(text)
    if found is None:
        return text
    return None if ADDRESS.search(found[1]) else found[1]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _origin(data: dict[str, Any], name: str) -> Side:
    machine = _object(data["machine_info"], "machine_info")
    commit = _object(data.get("commit_info"), "commit_info")
    facts = _machine_facts(machine)
    found = commit.get("id")
    is_known = isinstance(found, str) and found != UNVERSIONED
    cores = facts.get("logical cores")
    parts = (facts.get("cpu", UNKNOWN), cores and f"{cores} cores", machine.get("system"))
    return Side(
        name=name,
        git_commit=str(found) if is_known else None,
        git_is_dirty=bool(commit.get("dirty")) if is_known else None,
        machine=", ".join(str(part) for part in parts if part),
        machine_facts=facts,
        packages=_packages(data, machine),
        created=decode(str, data.get("datetime"), "datetime"),
        unavailable={} if is_known else {"git_commit": "pytest-benchmark found no commit"},
    )


def _machine_facts(machine: dict[str, Any]) -> dict[str, str]:
    """By the same names as ``compare_machines.machine_facts``."""
    cpu = machine.get("cpu")
    cpu = cpu if isinstance(cpu, dict) else {}
    facts = {
        "cpu": " ".join(str(cpu.get("brand_raw") or "").split()),
        "architecture": machine.get("machine"),
        "logical cores": cpu.get("count"),
        "os": _operating_system(machine),
    }
    return {name: str(fact) for name, fact in facts.items() if fact}


def _operating_system(machine: dict[str, Any]) -> str:
    """With the numbers of the release alone, since the rest may name its builder."""
    numbers = re.match(r"[\d.]+", str(machine.get("release") or ""))
    release = numbers.group().strip(".") if numbers else ""
    return f"{machine.get('system') or ''} {release}".strip()


def _packages(data: dict[str, Any], machine: dict[str, Any]) -> dict[str, str]:
    python = (machine.get("python_implementation"), machine.get("python_version"))
    packages = {"pytest-benchmark": data.get("version"), "python": " ".join(filter(None, python))}
    return {name: str(version) for name, version in packages.items() if version}


def _object(value: object, where: str) -> dict[str, Any]:
    """A JSON object; null, or nothing, is an empty one."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RecordError(f"{where} should be an object")
    return value
