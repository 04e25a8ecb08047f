"""The borders between packages, as they stand in a fresh process."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lmdm_bench
import lmdm_kernels
import lmdm_ref

TESTS = Path(__file__).parent
PACKAGES = {
    one.__name__: Path(str(one.__file__)).parent for one in (lmdm_ref, lmdm_kernels, lmdm_bench)
}
SOURCES = [
    (name, path)
    for name, folder in PACKAGES.items()
    for path in sorted(folder.glob("*.py"))
    if path.name != "__init__.py"
]

ONE_BLOCK = """
import sys
for name in ("triton", "lmdm_bench", "lmdm_kernels", "numpy.testing"):
    sys.modules[name] = None
import torch, lmdm_ref
preset = lmdm_ref.PRESETS["tiny"]
geometry = lmdm_ref.Geometry(
    sample_rate_hz=44100, samples_per_frame=64, context_frames=12, block_frames=3
)
decoder = lmdm_ref.random_decoder(preset.decoder, seed=0)
sampler = lmdm_ref.pingpong_sampler(lmdm_ref.logsnr_sigmas(2))
stream = lmdm_ref.BlockCausal(decoder, geometry, sampler)
prompt = lmdm_ref.Conditioning(torch.zeros(1, 5, 24), torch.zeros(1, 24))
state = stream.prefill(torch.zeros(1, 12, 8), prompt)
noise = lmdm_ref.block_noise(stream, 1, torch.Generator().manual_seed(0))
print(tuple(stream.generate(noise, state).shape))
"""

ONE_BLOCK_OF_TOKENS = """
import sys
for name in ("triton", "lmdm_bench", "lmdm_kernels", "numpy.testing"):
    sys.modules[name] = None
import torch, lmdm_ref
config = lmdm_ref.LMM_PRESETS["mrt2-tiny"]
model = lmdm_ref.random_frame_wise_lmm(config, seed=0)
stream = lmdm_ref.LMMFrameWise(model, config.geometry, lmdm_ref.TokenSampler(1.3, 40))
style = torch.zeros(1, config.style_tokens, dtype=torch.long)
others = torch.zeros(1, len(config.condition_codes), dtype=torch.long)
context = torch.zeros(1, 2, config.num_levels, dtype=torch.long)
state = stream.prefill(context, lmdm_ref.FrameConditions(style, others))
noise = lmdm_ref.token_noise(stream, 1, torch.Generator().manual_seed(0))
print(tuple(stream.generate(noise, state).shape))
"""


def fresh(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_reference_makes_a_block_alone() -> None:
    assert fresh(ONE_BLOCK) == "(1, 3, 8)"
    assert fresh(ONE_BLOCK_OF_TOKENS) == "(1, 3, 4)"


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("run", "--context-frames"),
        ("claims", "--budget-minutes"),
        ("kernels", "--backend"),
        ("check", "--prebuffer"),
        ("replay", "--prebuffer"),
        ("predict", "--power-watts"),
    ],
)
def test_help_needs_no_torch(command: str, option: str) -> None:
    code = (
        f"import sys; sys.argv = ['lmdm-bench', {command!r}, '--help']\n"
        "from lmdm_bench.cli import main\n"
        "try: main()\n"
        "finally: assert 'torch' not in sys.modules"
    )
    assert option in fresh(code)


def test_rendering_needs_no_torch() -> None:
    modules = "render, published, claims_render, kernels_render, check_render, replay_table, sweep"
    code = f"import sys; from lmdm_bench import {modules}\nassert 'torch' not in sys.modules"
    fresh(code)


@pytest.mark.parametrize(("package", "path"), SOURCES, ids=[f"{p}.{s.stem}" for p, s in SOURCES])
def test_every_source_file_has_its_mirror_in_the_tests(package: str, path: Path) -> None:
    assert (TESTS / package / f"test_{path.stem}.py").exists()


@pytest.mark.parametrize(("package", "path"), SOURCES, ids=[f"{p}.{s.stem}" for p, s in SOURCES])
def test_nothing_prints_and_every_file_opens_with_a_sentence(package: str, path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert (ast.get_docstring(tree) or "").strip()
    printed = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert not printed


@pytest.mark.parametrize("package", [lmdm_ref, lmdm_kernels])
def test_public_names_are_those_that_are_listed(package: object) -> None:
    listed = package.__all__  # type: ignore[attr-defined]
    assert sorted(set(listed)) == sorted(listed)
    assert all(hasattr(package, name) for name in listed)
