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
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import triton
from triton.backends import nvidia
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from lmdm_kernels import interval_attention, interval_backward, qkv_prologue, split_merge
from lmdm_kernels.launch import (
    ARCHITECTURES,
    HEAD_DIMS,
    LAUNCHES,
    MAX_REGISTERS,
    MAX_SPLITS,
    Launch,
    LaunchKey,
    shared_bytes,
)

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
DEFAULT_STAGES = 3  # Triton's own, where a kernel has no loop to be pipelined
START, STOP = "<!-- resources -->", "<!-- /resources -->"


class Row(NamedTuple):
    """A line of the table, for all dtypes of a kind and for results with and without splits."""

    kernel: str
    kind: str
    head_dim: int
    min_queries: int
    tile: str


@dataclass(frozen=True)
class Configuration:
    """One kernel as it is shipped.

    ``pointers`` name what each points to; all other arguments but ``floats`` are integers.
    ``reckoned_bytes`` is the shared memory that ``supports`` allows for, where it does.
    """

    row: Row
    kernel: Any
    pointers: tuple[tuple[str, str], ...]
    floats: tuple[str, ...]
    constants: tuple[tuple[str, Any], ...]
    num_warps: int
    num_stages: int
    has_products: bool
    reckoned_bytes: int | None = None


class Resources(NamedTuple):
    """What the compiled kernel takes."""

    registers: int
    stack_bytes: int
    shared_bytes: int
    has_tensor_cores: bool


def configurations(arch: str) -> Iterator[Configuration]:
    """All that can be launched on this architecture with the shipped table."""
    for key, launch in LAUNCHES.items():
        if key.arch == arch:
            for dtype in HALF if key.dtype == "half" else (key.dtype,):
                yield from _attention(key, launch, dtype)
    for head_dim in HEAD_DIMS:
        for dtype in TRITON_NAMES:
            yield _merge(head_dim, dtype)
            yield from _backward(head_dim, dtype)
            yield from _prologue(head_dim, dtype)


def _attention(key: LaunchKey, launch: Launch, dtype: str) -> Iterator[Configuration]:
    name = TRITON_NAMES[dtype]
    capability = int(key.arch[3:-1]), int(key.arch[-1])
    # What splits write is in float32; there it is of the same type as the result.
    for out in sorted({name, "fp32"}):
        pointers = {**dict.fromkeys(("queries", "keys", "values"), name), "out": out}
        yield Configuration(
            row=Row("attention", key.dtype, key.head_dim, key.min_queries, _tile(launch)),
            kernel=interval_attention.attend_tiles,
            pointers=tuple({**pointers, "lse": "fp32", "table": "i32"}.items()),
            floats=("scale",),
            constants=_tile_constants(key.head_dim, launch, launch.precision),
            num_warps=launch.num_warps,
            num_stages=launch.num_stages,
            has_products=dtype in HALF or launch.precision == "tf32x3",
            reckoned_bytes=shared_bytes(launch, capability, dtype, key.head_dim),
        )


def _merge(head_dim: int, dtype: str) -> Configuration:
    pointers = {"parts": "fp32", "part_lse": "fp32", "out": TRITON_NAMES[dtype], "lse": "fp32"}
    block, warps = split_merge.BLOCK_ROWS, split_merge.NUM_WARPS
    constants = {"HEAD_DIM": head_dim, "MAX_SPLITS": MAX_SPLITS, "BLOCK_R": block, "WIDEN": False}
    return Configuration(
        row=Row("merge", _kind(dtype), head_dim, 1, f"{block} rows, {warps} warps"),
        kernel=split_merge.merge_rows,
        pointers=tuple(pointers.items()),
        floats=(),
        constants=tuple(constants.items()),
        num_warps=warps,
        num_stages=DEFAULT_STAGES,
        has_products=False,
    )


def _backward(head_dim: int, dtype: str) -> Iterator[Configuration]:
    name = TRITON_NAMES[dtype]
    launch = interval_backward.HALF if dtype in HALF else interval_backward.FLOAT32
    # As the forward pass has it.
    (precision,) = {
        one.precision
        for key, one in LAUNCHES.items()
        if key.dtype == _kind(dtype) and key.head_dim == head_dim
    }
    shared = dict.fromkeys(("queries", "keys", "values", "grad_out"), name)
    shared |= {"lse": "fp32", "delta": "fp32", "table": "i32"}
    for kernel, own in (
        (interval_backward.query_gradients, {"out": name, "grad_queries": name}),
        (interval_backward.key_gradients, {"grad_keys": name, "grad_values": name, "spans": "i32"}),
    ):
        title = kernel.fn.__name__.replace("_", " ")
        yield Configuration(
            row=Row(title, _kind(dtype), head_dim, 1, _tile(launch)),
            kernel=kernel,
            pointers=tuple({**shared, **own}.items()),
            floats=("scale", "grad_scale"),
            constants=_tile_constants(head_dim, launch, precision),
            num_warps=launch.num_warps,
            num_stages=launch.num_stages,
            has_products=dtype in HALF or precision == "tf32x3",
        )


def _prologue(head_dim: int, dtype: str) -> Iterator[Configuration]:
    """Each norm as the presets have it; half of a head is rotated."""
    name = TRITON_NAMES[dtype]
    block, warps = qkv_prologue.BLOCK_ELEMENTS // head_dim, qkv_prologue.NUM_WARPS
    weights, biases = ("query_weight", "key_weight"), ("query_bias", "key_bias")
    for norm, given in (("layer", (*weights, *biases)), ("rms", weights), ("none", ())):
        pointers = dict.fromkeys(("qkv", "queries", "keys", "values", *given), name)
        pointers |= {"cos": "fp32", "sin": "fp32", "places": "i64"}
        constants = {
            **dict.fromkeys({*weights, *biases} - {*given}),
            "HEAD_DIM": head_dim, "HALF": head_dim // 4, "NORM": norm, "BLOCK_R": block,
            "WIDEN": False,
        }  # fmt: skip
        yield Configuration(
            row=Row("prologue", _kind(dtype), head_dim, 1, f"{block} rows, {warps} warps"),
            kernel=qkv_prologue.prepare_rows,
            pointers=tuple(pointers.items()),
            floats=("epsilon",),
            constants=tuple(constants.items()),
            num_warps=warps,
            num_stages=DEFAULT_STAGES,
            has_products=False,
        )


def _tile_constants(head_dim: int, launch: Any, precision: str) -> tuple[tuple[str, Any], ...]:
    return (
        ("HEAD_DIM", head_dim), ("BLOCK_Q", launch.block_q), ("BLOCK_K", launch.block_k),
        ("PRECISION", precision), ("WIDEN", False),
    )  # fmt: skip


def _tile(launch: Any) -> str:
    return (
        f"{launch.block_q}×{launch.block_k}, {launch.num_warps} warps, {launch.num_stages} stages"
    )


def _kind(dtype: str) -> str:
    return "half" if dtype in HALF else dtype


def compiled(configuration: Configuration, arch: str) -> Any:
    """The kernel as Triton compiles it for this architecture."""
    kernel = configuration.kernel
    constants, pointers = dict(configuration.constants), dict(configuration.pointers)
    kinds = {name: f"*{kind}" for name, kind in pointers.items()}
    kinds |= dict.fromkeys(configuration.floats, "fp32")
    kinds |= dict.fromkeys(constants, "constexpr")
    signature, attributes = {}, {}
    for at, parameter in enumerate(kernel.params):
        name = parameter.name
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


def broken_limits(arch: str, configuration: Configuration, taken: Resources) -> Iterator[str]:
    """What is wrong with a configuration, a sentence each."""
    types = ", ".join(sorted({kind for _, kind in configuration.pointers}))
    name = f"{arch}, {' '.join(map(str, configuration.row))} ({types})"
    if taken.shared_bytes > SHARED_LIMIT_BYTES[arch]:
        limit = SHARED_LIMIT_BYTES[arch]
        yield f"{name} takes {taken.shared_bytes} bytes of shared memory, there are {limit}"
    if (
        configuration.reckoned_bytes is not None
        and taken.shared_bytes > configuration.reckoned_bytes
    ):
        reckoned = configuration.reckoned_bytes
        yield f"{name} takes {taken.shared_bytes} bytes of shared memory, reckoned are {reckoned}"
    if taken.stack_bytes:
        yield f"{name} spills {taken.stack_bytes} bytes"
    if configuration.has_products and not taken.has_tensor_cores:
        yield f"{name} makes its products without tensor cores"


Found = list[tuple[str, Configuration, Resources]]


def everything() -> Found:
    """All configurations of all architectures, compiled."""
    shipped = {arch: [*configurations(arch)] for arch in ARCHITECTURES if arch not in SAME_PTX}
    todo = [(arch, at) for arch, some in shipped.items() for at in range(len(some))]
    with ProcessPoolExecutor(NUM_PROCESSES) as pool:
        found = pool.map(_resources_of, todo, chunksize=4)
        return [
            (name, shipped[arch][at], taken)
            for (arch, at), taken_by in zip(todo, found, strict=True)
            for name, taken in taken_by.items()
        ]


def _resources_of(which: tuple[str, int]) -> dict[str, Resources]:
    """Of one configuration, named by its place: kernels do not travel between processes."""
    arch, at = which
    return resources(next(islice(configurations(arch), at, None)), arch)


def table(found: Found) -> str:
    """Registers and shared memory, the most of a row's dtypes, with and without splits."""
    most: dict[Row, dict[str, Resources]] = {}
    for arch, configuration, taken in found:
        cells = most.setdefault(configuration.row, {})
        before = cells.get(arch, taken)
        cells[arch] = taken._replace(
            registers=max(before.registers, taken.registers),
            shared_bytes=max(before.shared_bytes, taken.shared_bytes),
        )
    lines = [
        ["kernel", "dtype", "head_dim", "queries from", "tile", *ARCHITECTURES],
        ["---"] * (len(Row._fields) + len(ARCHITECTURES)),
    ]
    # Kernels as they come, half precision first.
    names = list(dict.fromkeys(row.kernel for row in most))
    order = {row: (names.index(row.kernel), row.kind != "half", row[2:]) for row in most}
    for row in sorted(most, key=order.__getitem__):
        cells = most[row]
        shown = [_cell(cells[arch]) if arch in cells else "–" for arch in ARCHITECTURES]
        lines.append([*map(str, row), *shown])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(taken: Resources) -> str:
    return f"{taken.registers} · {taken.shared_bytes / 1024:.1f}"


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
