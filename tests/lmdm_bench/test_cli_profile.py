"""The command ``profile``: what it refuses, and which files each tool leaves."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import records
from lmdm_bench import cli, profiled_stream
from lmdm_bench.cli_shared import BAD_INPUT

TINY = ["--model", "tiny", "--context-frames", "12", "--block-frames", "3", "--steps", "2"]
FILES = {
    "torch": {"profile.json", "profile.md", "trace.json"},
    "memory": {"profile.json", "profile.md", "memory.png"},
    "pyinstrument": {
        "profile.json",
        "profile.md",
        "profile.html",
        "profile.speedscope.json",
    },
}


@pytest.fixture(autouse=True)
def _known_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """No seconds for what ``test_ceiling.py`` measures."""
    monkeypatch.setattr(profiled_stream, "ceiling_for", lambda *_: records.CPU_CEILING)


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, ["profile", *map(str, arguments)])


@pytest.mark.parametrize("tool", FILES)
def test_each_tool_leaves_its_files_and_a_closing_text_in_80_columns(
    tool: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = call("block-causal", *TINY, "--tool", tool, "--blocks", "1", "--out", out)
    assert result.exit_code == 0, result.output
    assert {one.name for one in out.iterdir()} == FILES[tool]
    assert max(map(len, result.output.splitlines())) <= 80
    assert "largest avoidable cost" in result.output
    assert "lmdm_ref/" in result.output
    assert str(tmp_path) not in (out / "profile.json").read_text()

    again = call("block-causal", *TINY, "--tool", tool, "--out", out)
    assert again.exit_code == BAD_INPUT
    assert "already holds a record" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tango"], "unknown scheme 'tango'"),
        (["outpaint", "--tool", "perf"], "unknown tool 'perf'"),
        (["outpaint", "--blocks", "0"], "blocks must be 1 to"),
        (["outpaint", "--model", "huge"], "unknown model"),
        (["outpaint", "--graph"], "--graph captures CUDA graphs"),
        (["outpaint", "--input", "none.wav"], "none.wav"),
    ],
)
def test_what_cannot_be_profiled_is_one_sentence(
    arguments: list[str], words: str, tmp_path: Path
) -> None:
    result = call(*arguments, "--out", tmp_path / "out")
    assert result.exit_code == BAD_INPUT, result.output
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("lmdm-bench: ") and words in line
    assert not (tmp_path / "out").exists()
