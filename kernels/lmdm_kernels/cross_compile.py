"""Every shipped kernel configuration, compiled for every architecture without a GPU.

``python -m lmdm_kernels.cross_compile README`` fails where a configuration takes more shared memory
than the card has, spills registers or makes its products without tensor cores, and where the table
in README is not what was found; ``--write`` puts it there. TRITON_INTERPRET must not be set.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import triton
from triton.backends import nvidia
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from lmdm_kernels import interval_backward
from lmdm_kernels.launch import ARCHITECTURES, HEAD_DIMS, LAUNCHES, MAX_REGISTERS, MAX_SPLITS
from lmdm_kernels.split_merge import BLOCK_ROWS
from lmdm_kernels.split_merge import NUM_WARPS as MERGE_WARPS

# What one program may have, opted in: CUDA C++ programming guide, compute capabilities.
SHARED_LIMIT_BYTES = {
    "sm_80": 163 << 10,
    "sm_86": 99 << 10,
    "sm_89": 99 << 10,
    "sm_90": 227 << 10,
    "sm_120": 99 << 10,
}
# Triton makes the same PTX for these two (a test holds it to that): it is assembled for both.
SAME_PTX = {"sm_89": "sm_86"}
# Registers and shared memory change from one compiler to the next; the table is for this one.
TRITON_OF_TABLE = "3.9"
HALF = {"float16": "fp16", "bfloat16": "bf16"}
TRITON_NAMES = {**HALF, "float32": "fp32"}
NUM_PROCESSES = 2
START, STOP = "<!-- resources -->", "<!-- /resources -->"


@dataclass(frozen=True)
class Configuration:
    """One kernel as it is shipped. ``pointers`` name what each points to, all else is an integer
    but ``floats``; ``row`` is where the table has it."""

    row: str
    module: str
    kernel: str
    pointers: tuple[tuple[str, str], ...]
    floats: tuple[str, ...]
    constants: tuple[tuple[str, Any], ...]
    num_warps: int
    num_stages: int
    has_products: bool


class Resources(NamedTuple):
    """What the compiled kernel takes."""

    registers: int
    stack_bytes: int
    shared_bytes: int
    has_tensor_cores: bool


def configurations(arch: str) -> Iterator[Configuration]:
    """All that can be launched on this architecture with the shipped table."""
    for key, launch in LAUNCHES.items():
        if key.arch != arch:
            continue
        for dtype in HALF if key.dtype == "half" else (key.dtype,):
            name = TRITON_NAMES[dtype]
            # In float32 what splits write is of the same type as the result.
            for out in sorted({name, "fp32"}):
                yield Configuration(
                    row=f"attention | {key.dtype} | {key.head_dim} | {key.min_queries} | "
                    f"{_tile(launch)}",
                    module="interval_attention",
                    kernel="attend_tiles",
                    pointers=(
                        *((one, name) for one in ("queries", "keys", "values")),
                        ("out", out), ("lse", "fp32"), ("table", "i32"),
                    ),
                    floats=("scale",),
                    constants=(
                        ("HEAD_DIM", key.head_dim),
                        ("BLOCK_Q", launch.block_q),
                        ("BLOCK_K", launch.block_k),
                        ("PRECISION", launch.precision),
                        ("WIDEN", False),
                    ),
                    num_warps=launch.num_warps,
                    num_stages=launch.num_stages,
                    has_products=key.dtype == "half" or launch.precision == "tf32x3",
                )  # fmt: skip
    for head_dim in HEAD_DIMS:
        yield from _merges(head_dim)
        for dtype in TRITON_NAMES:
            yield from _backward(head_dim, dtype)


def _backward(head_dim: int, dtype: str) -> Iterator[Configuration]:
    name = TRITON_NAMES[dtype]
    launch = interval_backward.FLOAT32 if dtype == "float32" else interval_backward.HALF
    precisions = {
        one.precision
        for key, one in LAUNCHES.items()
        if key.dtype == _kind(dtype) and key.head_dim == head_dim
    }
    of_dtype = ("queries", "keys", "values", "grad_out")
    for kernel, others in (
        ("query_gradients", {"out": name, "grad_queries": name, "table": "i32"}),
        (
            "key_gradients",
            {"grad_keys": name, "grad_values": name, "table": "i32", "spans": "i32"},
        ),
    ):
        pointers = {**dict.fromkeys(of_dtype, name), "lse": "fp32", "delta": "fp32", **others}
        for precision in sorted(precisions):
            yield Configuration(
                row=f"{kernel.replace('_', ' ')} | {_kind(dtype)} | {head_dim} | 1 | "
                f"{_tile(launch)}",
                module="interval_backward",
                kernel=kernel,
                pointers=tuple(pointers.items()),
                floats=("scale", "grad_scale"),
                constants=(
                    ("HEAD_DIM", head_dim),
                    ("BLOCK_Q", launch.block_q),
                    ("BLOCK_K", launch.block_k),
                    ("PRECISION", precision),
                    ("WIDEN", False),
                ),
                num_warps=launch.num_warps,
                num_stages=launch.num_stages,
                has_products=dtype in HALF or precision == "tf32x3",
            )


def _tile(launch: Any) -> str:
    return (
        f"{launch.block_q}×{launch.block_k}, {launch.num_warps} warps, {launch.num_stages} stages"
    )


def _kind(dtype: str) -> str:
    return "half" if dtype in HALF else dtype


def _merges(head_dim: int) -> Iterator[Configuration]:
    for dtype, name in TRITON_NAMES.items():
        yield Configuration(
            row=f"merge | {_kind(dtype)} | {head_dim} | 1 | {BLOCK_ROWS} rows, {MERGE_WARPS} warps",
            module="split_merge",
            kernel="merge_rows",
            pointers=(("parts", "fp32"), ("part_lse", "fp32"), ("out", name), ("lse", "fp32")),
            floats=(),
            constants=(
                ("HEAD_DIM", head_dim),
                ("MAX_SPLITS", MAX_SPLITS),
                ("BLOCK_R", BLOCK_ROWS),
                ("WIDEN", False),
            ),
            num_warps=MERGE_WARPS,
            num_stages=1,
            has_products=False,
        )


def compiled(configuration: Configuration, arch: str) -> Any:
    """The kernel as Triton compiles it for this architecture."""
    kernel = getattr(import_module(f"lmdm_kernels.{configuration.module}"), configuration.kernel)
    constants, pointers = dict(configuration.constants), dict(configuration.pointers)
    signature, attributes = {}, {}
    for at, parameter in enumerate(kernel.params):
        name = parameter.name
        if name in constants:
            signature[name] = "constexpr"
            continue
        kinds = {**{one: f"*{kind}" for one, kind in pointers.items()},
                 **dict.fromkeys(configuration.floats, "fp32")}  # fmt: skip
        signature[name] = kinds.get(name, "i32")
        # As a launch finds them: tensors and their strides are multiples of 16.
        is_stride = name.startswith("stride_") and not parameter.do_not_specialize
        if name in pointers or is_stride:
            attributes[(at,)] = [["tt.divisibility", 16]]
    return triton.compile(
        ASTSource(kernel, signature, constants, attributes),
        target=GPUTarget("cuda", int(arch.removeprefix("sm_")), 32),
        options={
            "num_warps": configuration.num_warps,
            "num_stages": configuration.num_stages,
            "maxnreg": MAX_REGISTERS,
            "enable_fp_fusion": True,
        },
    )


def resources(configuration: Configuration, arch: str) -> dict[str, Resources]:
    """What it takes on this architecture, and on those that run the same PTX."""
    kernel = compiled(configuration, arch)
    ptx = kernel.asm["ptx"]
    has_tensor_cores = re.search(r"\bmma\.sync|\bwgmma\.mma_async", ptx) is not None
    cubins = {arch: kernel.asm["cubin"]}
    cubins |= {other: _assembled(ptx, other) for other, one in SAME_PTX.items() if one == arch}
    return {
        name: Resources(*_registers_and_stack(cubin), kernel.metadata.shared, has_tensor_cores)
        for name, cubin in cubins.items()
    }


def broken_limits(
    arch: str, configuration: Configuration, taken: Resources
) -> Iterator[str]:
    """What is wrong with a configuration, a sentence each."""
    types = ", ".join(sorted({kind for _, kind in configuration.pointers}))
    name = f"{arch}: {configuration.row} ({types})"
    if taken.shared_bytes > SHARED_LIMIT_BYTES[arch]:
        limit = SHARED_LIMIT_BYTES[arch]
        yield f"{name} takes {taken.shared_bytes} bytes of shared memory, there are {limit}"
    if taken.stack_bytes:
        yield f"{name} spills {taken.stack_bytes} bytes"
    if configuration.has_products and not taken.has_tensor_cores:
        yield f"{name} makes its products without tensor cores"


Found = list[tuple[str, Configuration, Resources]]


def everything() -> Found:
    """All configurations of all architectures, compiled."""
    todo = [
        (one, arch)
        for arch in ARCHITECTURES
        if arch not in SAME_PTX
        for one in configurations(arch)
    ]
    with ProcessPoolExecutor(NUM_PROCESSES) as pool:
        found = pool.map(resources, *zip(*todo, strict=True), chunksize=4)
        return [
            (arch, configuration, taken)
            for (configuration, _), taken_by in zip(todo, found, strict=True)
            for arch, taken in taken_by.items()
        ]


def table(found: Found) -> str:
    """Registers and shared memory, the most of a row's dtypes, with and without splits."""
    cells: dict[tuple[str, str], Resources] = {}
    for arch, configuration, taken in found:
        at = configuration.row, arch
        before = cells.get(at, taken)
        cells[at] = Resources(*map(max, before, taken))
    shown: dict[str, dict[str, str]] = {}
    for (row, arch), most in cells.items():
        shared = f"{most.shared_bytes / 1024:.1f}"
        shown.setdefault(row, {})[arch] = f"{most.registers} · {shared}"
    names = [*ARCHITECTURES]
    head = ["kernel", "dtype", "head_dim", "queries from", "tile", *names]
    lines = [" | ".join(head), "---|" * (len(head) - 1) + "---"]
    lines += [
        " | ".join([row, *(by_arch.get(name, "–") for name in names)])
        for row, by_arch in sorted(shown.items(), key=_order)
    ]
    return "\n".join(f"| {line} |" for line in lines)


def _order(item: tuple[str, Any]) -> tuple[Any, ...]:
    kernel, dtype, head_dim, queries, tile = item[0].split(" | ")
    return kernel, dtype != "half", int(head_dim), int(queries), tile


def main(arguments: list[str]) -> int:
    """0 where all is well; else what is wrong goes to stderr."""
    parser = argparse.ArgumentParser(prog="python -m lmdm_kernels.cross_compile")
    parser.add_argument("readme", type=Path)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args(arguments)
    if os.environ.get("TRITON_INTERPRET"):
        sys.stderr.write("TRITON_INTERPRET is set: there is nothing to compile then\n")
        return 2
    found = everything()
    problems = [one for arch, configuration, taken in found
                for one in broken_limits(arch, configuration, taken)]  # fmt: skip
    text = asked.readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(STOP)
    made = f"{before}{START}\n{table(found)}\n{STOP}{after}"
    if asked.write:
        asked.readme.write_text(made, encoding="utf-8")
    elif made != text and triton.__version__.startswith(f"{TRITON_OF_TABLE}."):
        problems.append(f"{asked.readme} does not have the table that was found; --write it")
    sys.stderr.write("".join(f"{one}\n" for one in problems))
    return 1 if problems else 0


def _tool(name: str) -> str:
    return str(Path(nvidia.__file__).parent / "bin" / name)


def _assembled(ptx: str, arch: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        source.write_text(ptx, encoding="utf-8")
        command = [_tool("ptxas"), f"--gpu-name={arch}", str(source), "-o", str(made)]
        subprocess.run(command, check=True, capture_output=True)
        return made.read_bytes()


def _registers_and_stack(cubin: bytes) -> tuple[int, int]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.cubin")
        path.write_bytes(cubin)
        command = [_tool("cuobjdump"), "--dump-resource-usage", str(path)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    registers, stack = re.search(r"REG:(\d+) STACK:(\d+)", said).groups()  # type: ignore[union-attr]
    return int(registers), int(stack)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
