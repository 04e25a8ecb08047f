"""A slowdown that was put there is found: block-causal's commit takes 10 % longer in a worktree.

    tox exec -e py -- pytest tests/benchmarks/test_slow_commit.py --benchmark-enable

The commit is part of the first step's pass (``slow_commit.patch`` makes that wait), so the stage to
be named is ``first_step``. Without --benchmark-enable the patch is only held to the source as it is
now. Quiet machines only; it takes four minutes.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import lmdm_ref

PATCH = Path(__file__).with_name("slow_commit.patch")
PATCHED = "lmdm_ref/block_causal.py"
CONFIRMED_REGRESSION = 1
AUTHOR = ("-c", "user.name=test", "-c", "user.email=test@example.org")
COMPARE = "from lmdm_bench.cli import main; main()"


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def root() -> Path:
    start = Path(__file__).parent
    done = subprocess.run(
        ["git", "-C", str(start), "rev-parse", "--show-toplevel"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("the tests are not run from a git checkout")
    return Path(done.stdout.strip())


def slow_revision(root: Path, folder: Path) -> str:
    """A commit on top of HEAD that no branch names, with the patch."""
    git(root, "worktree", "add", "--detach", str(folder), "HEAD")
    try:
        git(folder, "apply", str(PATCH))
        git(folder, *AUTHOR, "commit", "--quiet", "--no-verify", "-am", "The commit waits")
        return git(folder, "rev-parse", "HEAD")
    finally:
        git(root, "worktree", "remove", "--force", str(folder))


def test_the_patch_fits_and_changes_no_result(tmp_path: Path) -> None:
    source = tmp_path / PATCHED
    source.parent.mkdir()
    source.write_text(Path(str(lmdm_ref.block_causal.__file__)).read_text())
    git(tmp_path, "apply", str(PATCH))
    names: dict[str, object] = {"__name__": "slow_block_causal"}
    exec(compile(source.read_text(), PATCHED, "exec"), names)

    slow = names["BlockCausal"]
    assert isinstance(slow, type) and slow is not lmdm_ref.BlockCausal
    geometry = lmdm_ref.Geometry(
        sample_rate_hz=44100, samples_per_frame=64, context_frames=12, block_frames=3
    )
    decoder = lmdm_ref.random_decoder(lmdm_ref.PRESETS["tiny"].decoder, seed=0)
    prompt = lmdm_ref.Conditioning(torch.zeros(1, 5, 24), torch.zeros(1, 24))
    sampler = lmdm_ref.pingpong_sampler(lmdm_ref.logsnr_sigmas(2))
    blocks = []
    for kind in (lmdm_ref.BlockCausal, slow):
        stream = kind(decoder, geometry, sampler)
        state = stream.prefill(torch.zeros(1, 12, 8), prompt)
        noise = lmdm_ref.block_noise(stream, 1, torch.Generator().manual_seed(0))
        blocks.append(stream.generate(noise, state))
    assert torch.equal(*blocks)


@pytest.mark.benchmark
def test_it_is_found_named_by_its_stage_and_ends_with_1(
    root: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if not request.config.getoption("benchmark_enable"):
        pytest.skip("it takes four minutes on a quiet machine, with --benchmark-enable only")
    slow = slow_revision(root, tmp_path / "slow")
    out = tmp_path / "out"
    done = subprocess.run(
        [
            *(sys.executable, "-c", COMPARE, "compare", "HEAD", slow, "--json"),
            *("--cell", "block-causal*", "--out", str(out)),
        ],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == CONFIRMED_REGRESSION, done.stderr
    rows = {(row["cell"], row["quantity"]): row for row in json.loads(done.stdout)["rows"]}
    assert rows["block-causal · sao-small", "stage first_step"]["verdict"] == "SLOWER"
