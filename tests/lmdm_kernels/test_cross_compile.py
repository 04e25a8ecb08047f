"""What is compiled, in processes of their own: in this one the kernels may be interpreted."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lmdm_kernels import cross_compile
from lmdm_kernels.cross_compile import (
    SHARED_LIMIT_BYTES,
    START,
    STOP,
    Configuration,
    Resources,
    broken_limits,
    configurations,
    table,
)
from lmdm_kernels.launch import ARCHITECTURES, LAUNCHES

README = Path(__file__).parents[2] / "kernels" / "README.md"
SOUND = Resources(registers=200, stack_bytes=0, shared_bytes=50_000, has_tensor_cores=True)


def compiled_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    without = {name: text for name, text in os.environ.items() if name != "TRITON_INTERPRET"}
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        capture_output=True, text=True, env=without, check=False,
    )  # fmt: skip


def test_every_shipped_configuration_keeps_the_limits_of_every_architecture() -> None:
    """No spills, tensor cores, the card's shared memory; and README's table is what was found."""
    done = compiled_process("-m", "lmdm_kernels.cross_compile", str(README))
    assert done.returncode == 0, done.stderr


SAME_PTX = """
from lmdm_kernels.cross_compile import SAME_PTX, compiled, configurations
for arch, other in SAME_PTX.items():
    for one in [*configurations(arch)][::25]:
        ptx, same = (compiled(one, name).asm["ptx"] for name in (arch, other))
        assert ptx.replace(arch, other) == same, one
"""


def test_two_architectures_have_the_same_ptx() -> None:
    done = compiled_process("-c", SAME_PTX)
    assert done.returncode == 0, done.stderr


KEYS = """
import inspect
import torch
from triton.backends.compiler import GPUTarget
from triton.compiler import make_backend
from triton.runtime.jit import create_function_from_signature
from lmdm_kernels import Launch
from lmdm_kernels.interval_attention import attend_tiles, interval_attention
from lmdm_kernels.split_merge import merge_rows
from lmdm_kernels.tables import plan_table

backend = make_backend(GPUTarget("cuda", 89, 32))
keys = {}
for kernel in (attend_tiles, merge_rows):
    bind = create_function_from_signature(kernel.signature, kernel.params, backend)
    seen = keys[kernel.fn.__name__] = set()
    def run(*arguments, bind=bind, seen=seen, grid, warmup, **options):
        bound, key, options = bind(*arguments, **options)
        seen.add(repr((key, options)))
    kernel.run = run

def launch(batch, rows, places, splits, heads, key_heads, is_packed):
    plan = (0, rows, 0, min(3, places - 1), places - 1, places)
    query = torch.zeros(batch, rows, 3 * heads, 64).half()
    query = (query[:, :, heads : 2 * heads] if is_packed else query[:, :, :heads].clone())
    key = torch.zeros(batch, key_heads, places, 64).half()
    table = plan_table(plan, 16, query.device)
    interval_attention(
        query.transpose(1, 2), key, key, table, 0.125, Launch(16, 64, splits, 4, 2)
    )

for splits in (SPLITS):
    for rows in (1, 2, 15, 16, 17, 64, 65, 256):
        for places in (2, 16, 33, 64, 1025):
            for batch, heads, key_heads in ((1, 1, 1), (1, 16, 16), (2, 24, 12), (16, 3, 1)):
                launch(batch, rows, places, splits, heads, key_heads, rows % 2 == 0)
for name, seen in keys.items():
    print(name, len(seen))
"""


@pytest.mark.parametrize(
    ("splits", "said"),
    [("1,", "attend_tiles 1\nmerge_rows 0\n"), ("2, 3, 8", "attend_tiles 1\nmerge_rows 1\n")],
)
def test_no_length_batch_number_of_heads_or_of_splits_is_compiled_in(
    splits: str, said: str
) -> None:
    """One key of Triton's cache serves them all: nothing is ever compiled twice."""
    done = compiled_process("-c", KEYS.replace("SPLITS", splits))
    assert done.returncode == 0, done.stderr
    assert done.stdout == said


def test_the_interpreter_has_nothing_to_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert cross_compile.main([str(README)]) == 2


def some(arch: str = "sm_86") -> Configuration:
    return next(one for one in configurations(arch) if one.has_products)


def test_all_that_is_shipped_is_compiled_in_both_half_precisions() -> None:
    for arch in ARCHITECTURES:
        rows = [one for one in configurations(arch) if one.row.kernel == "attention"]
        for key in LAUNCHES:
            if key.arch == arch:
                types = {
                    (dict(one.pointers)["queries"], dict(one.pointers)["out"])
                    for one in rows
                    if one.row[1:4] == key[1:]
                }
                half = {("fp16", "fp16"), ("fp16", "fp32"), ("bf16", "bf16"), ("bf16", "fp32")}
                assert types == (half if key.dtype == "half" else {("fp32", "fp32")})


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"shared_bytes": 102_000}, "takes 102000 bytes of shared memory, there are 101376\n"),
        ({"shared_bytes": 60_000}, "takes 60000 bytes of shared memory, reckoned are 55000"),
        ({"stack_bytes": 8}, "spills 8 bytes"),
        ({"has_tensor_cores": False}, "makes its products without tensor cores"),
    ],
)
def test_a_broken_limit_is_a_sentence(broken: dict[str, int], said: str) -> None:
    one = replace(some(), reckoned_bytes=55_000)
    assert list(broken_limits("sm_86", one, SOUND)) == []
    problems = list(broken_limits("sm_86", one, SOUND._replace(**broken)))
    assert said in "\n".join([*problems, ""])
    assert all(problem.startswith("sm_86, attention half 32") for problem in problems)


def test_every_architecture_has_its_limit() -> None:
    assert set(SHARED_LIMIT_BYTES) == set(ARCHITECTURES)


def test_the_table_has_the_most_of_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = replace(some(), reckoned_bytes=None)
    found = [
        ("sm_86", one, SOUND),
        ("sm_86", one, SOUND._replace(registers=210, shared_bytes=40_000)),
        ("sm_90", one, SOUND._replace(registers=128)),
    ]
    row = table(found).splitlines()[-1]
    assert row == f"| {' | '.join(map(str, one.row))} | – | 210 · 48.8 | – | 128 · 48.8 | – |"

    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(cross_compile, "everything", lambda: found)
    monkeypatch.setattr(cross_compile, "TRITON_OF_TABLE", cross_compile.triton.__version__[:3])
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{START}\n{STOP}\nafter\n", encoding="utf-8")
    assert cross_compile.main([str(readme)]) == 1
    assert cross_compile.main([str(readme), "--write"]) == 0
    assert cross_compile.main([str(readme)]) == 0
    assert readme.read_text(encoding="utf-8") == f"before\n{START}\n{table(found)}\n{STOP}\nafter\n"
    monkeypatch.setattr(cross_compile, "TRITON_OF_TABLE", "1.0")
    readme.write_text(f"{START}\n{STOP}\n", encoding="utf-8")
    assert cross_compile.main([str(readme)]) == 0
