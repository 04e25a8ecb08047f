"""What tells one machine from another, and what may differ on the same one."""

from lmdm_bench.compare_measured import known_differences
from lmdm_bench.record import Gpu, Machine

GIBIBYTE = 1 << 30

# Where one of these differs it is another machine, or the same one made to be another.
IDENTITY = (
    "cpu",
    "architecture",
    "instructions",
    "physical cores",
    "logical cores",
    "memory",
    "virtual",
    "gpus",
    "power limit",
)
# Without it nothing says that two machines are one.
NEEDED = "cpu"
UNKNOWN = "unknown"


def machine_facts(machine: Machine) -> dict[str, str]:
    """The machine in words, without a user, host or serial; what is not known is left out."""
    facts = {
        "cpu": machine.cpu,
        "architecture": machine.cpu_architecture,
        "instructions": " ".join(machine.cpu_isa),
        "physical cores": _number(machine.num_physical_cores),
        "logical cores": _number(machine.num_logical_cores),
        # Whole ones: a kernel's update takes some MiB more or fewer for itself.
        "memory": f"{machine.ram_bytes // GIBIBYTE} GiB",
        "virtual": _yes_or_no(machine.is_virtual),
        # A torch without CUDA sees none, which says nothing of the machine.
        "gpus": "; ".join(map(_gpu, machine.gpus)),
        "power limit": "; ".join(_watts(gpu) for gpu in machine.gpus),
        "os": machine.os,
        "driver": "; ".join(dict.fromkeys(gpu.driver or UNKNOWN for gpu in machine.gpus)),
        "on mains": _yes_or_no(machine.is_on_mains),
    }
    return {name: fact for name, fact in facts.items() if fact and UNKNOWN not in fact}


def is_same_machine(a: dict[str, str], b: dict[str, str]) -> bool:
    """Whether two machines' facts say that they are one."""
    differing = known_differences(a, b)
    return NEEDED in a and NEEDED in b and not any(name in differing for name in IDENTITY)


def machine_differences(a: dict[str, str], b: dict[str, str]) -> dict[str, str]:
    """Every fact that differs, as "a against b"; the processor also where a side's is unknown."""
    differing = known_differences(a, b)
    if NEEDED not in a or NEEDED not in b:
        differing[NEEDED] = f"{a.get(NEEDED, UNKNOWN)} against {b.get(NEEDED, UNKNOWN)}"
    return differing


def _gpu(gpu: Gpu) -> str:
    return (
        f"{gpu.name}, {gpu.memory_bytes // GIBIBYTE} GiB, "
        f"{gpu.num_multiprocessors} multiprocessors, compute capability {gpu.compute_capability}"
    )


def _watts(gpu: Gpu) -> str:
    return UNKNOWN if gpu.power_limit_watts is None else f"{gpu.power_limit_watts:g} W"


def _number(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)


def _yes_or_no(value: bool | None) -> str:
    return UNKNOWN if value is None else "yes" if value else "no"
