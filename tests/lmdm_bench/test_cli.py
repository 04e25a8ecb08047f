"""The command as people type it: what it prints, what it leaves, and how it refuses."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import typer.main
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

from lmdm_bench import cli, session
from lmdm_bench.record import from_json, load

TINY = ["run", "--model", "tiny", "--context-frames", "12", "--block-frames", "3", "--steps", "2"]
FILES = {
    "record.json",
    "report.md",
    "report.html",
    "waterfall.png",
    "service_time.png",
    "arithmetic.png",
    "outpaint.wav",
    "encoder-decoder.wav",
    "block-causal.wav",
}
BAD_INPUT = 2


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, [str(one) for one in arguments])


def refused(tmp_path: Path, *arguments: str | Path) -> str:
    """The one sentence with which a run is refused; nothing may be left behind."""
    out = tmp_path / "out"
    result = call(*TINY, "--out", out, *arguments)
    assert result.exit_code == BAD_INPUT, result.output
    assert not out.exists()
    assert "Traceback" not in result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("lmdm-bench: ")
    return lines[0]


def test_a_run_leaves_record_report_figures_and_audio(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = call(*TINY, "--out", out)
    assert result.exit_code == 0, result.output
    assert {one.name for one in out.iterdir()} == FILES
    record = load(out / "record.json")
    assert {cell.status for cell in record.cells} == {"OK"}
    for words in ("outpaint", "encoder-decoder", "block-causal", "deadline", "codec decode"):
        assert words in result.output


def test_a_run_is_no_wider_than_80_columns(tmp_path: Path) -> None:
    result = call(*TINY, "--out", tmp_path / "out")
    assert max(map(len, result.output.splitlines())) <= 80


def test_json_is_the_record_and_nothing_else_on_standard_output(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = call(*TINY, "--json", "--blocks", "2", "--out", out)
    assert from_json(result.stdout) == load(out / "record.json")


def test_a_report_is_rendered_again_from_the_record_alone(tmp_path: Path) -> None:
    out, again = tmp_path / "out", tmp_path / "again"
    call(*TINY, "--blocks", "2", "--out", out)
    result = call("report", out / "record.json", "--out", again)
    assert result.exit_code == 0, result.output
    for name in ("report.md", "report.html", "waterfall.png"):
        assert (again / name).read_bytes() == (out / name).read_bytes()


def test_several_reports_go_into_folders_of_their_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        call(*TINY, "--blocks", "1", "--out", tmp_path / name)
    both = [tmp_path / name / "record.json" for name in ("a", "b")]
    result = call("report", *both, "--out", tmp_path / "reports")
    assert result.exit_code == 0, result.output
    for name in ("a", "b"):
        assert (tmp_path / "reports" / name / "report.html").exists()


@pytest.mark.parametrize(
    ("rate_hz", "channels"), [(44_100, 2), (48_000, 1), (22_050, 2), (44_100, 6)]
)
def test_any_sound_file_is_taken_as_context(tmp_path: Path, rate_hz: int, channels: int) -> None:
    song = tmp_path / "song.wav"
    samples = np.random.default_rng(0).normal(0, 0.1, (rate_hz // 10, channels))
    soundfile.write(song, samples, rate_hz)
    out = tmp_path / "out"
    result = call(*TINY, "--blocks", "1", "--input", song, "--out", out)
    assert result.exit_code == 0, result.output
    settings = load(out / "record.json").settings
    assert settings.input == "song.wav"
    assert str(tmp_path) not in (out / "record.json").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--scheme", "causal"], "unknown scheme 'causal'; there are outpaint"),
        (["--scheme", ","], "no scheme to run"),
        (["--model", "huge"], "unknown model 'huge'"),
        (["--context-frames", "10"], "not a whole number of 3-frame blocks"),
        (["--steps", "0"], "steps must be at least 1, got 0"),
        (["--blocks", "0"], "blocks must be at least 1, got 0"),
        (["--dtype", "int3"], "unknown dtype 'int3'; there are auto, fp32, bf16, fp16"),
        (["--attention", "flash"], "unknown attention 'flash'"),
        (["--attention", "triton"], "attention 'triton' cannot run"),
        (["--device", "abacus"], "'abacus'"),
        (["--sampler", "heun"], "unknown sampler 'heun'"),
        (["--input", "no-such-song.wav"], "no-such-song.wav"),
        (["--checkpoint", "no-such-file.ckpt"], "no-such-file.ckpt is not a file"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    assert words in refused(tmp_path, *arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_not_here_is_one_sentence(tmp_path: Path) -> None:
    assert "cuda was asked for" in refused(tmp_path, "--device", "cuda")


@pytest.mark.parametrize("content", [b"", b"this is not a sound"])
def test_an_input_that_is_no_sound_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    song = tmp_path / "song.wav"
    song.write_bytes(content)
    assert "song.wav" in refused(tmp_path, "--input", song)


def test_a_checkpoint_that_does_not_fit_names_its_first_tensors(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"model.model.transformer.project_in.weight": torch.zeros(3, 3)}, path)
    sentence = refused(tmp_path, "--checkpoint", path)
    assert "weights.safetensors" in sentence
    assert "project_in" in sentence or "input_noisy" in sentence


def test_an_out_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    result = call(*TINY, "--out", file / "below")
    assert result.exit_code == BAD_INPUT
    assert result.stderr.startswith(f"lmdm-bench: cannot write to {file / 'below'}")


def test_results_are_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out"
    call(*TINY, "--blocks", "1", "--out", out)
    before = (out / "record.json").read_bytes()
    result = call(*TINY, "--blocks", "1", "--out", out)
    assert result.exit_code == BAD_INPUT
    assert "already holds a record" in result.stderr
    assert (out / "record.json").read_bytes() == before


def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "record.json")

    monkeypatch.setattr("lmdm_bench.record.write_whole", full)
    sentence = refused(tmp_path, "--blocks", "1")
    assert sentence == "lmdm-bench: record.json: No space left on device"


def test_a_truncated_record_is_one_sentence(tmp_path: Path) -> None:
    out = tmp_path / "out"
    call(*TINY, "--blocks", "1", "--out", out)
    text = (out / "record.json").read_text()
    cut = tmp_path / "cut.json"
    cut.write_text(text[: len(text) // 2])
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**json.loads(text), "schema_version": 99}))
    for path, words in ((cut, "cut off"), (other, "schema_version 99"), (tmp_path, "cannot read")):
        result = call("report", path, "--out", tmp_path / "again")
        assert result.exit_code == BAD_INPUT
        assert words in result.stderr and str(path) in result.stderr
        assert "Traceback" not in result.output
    assert not (tmp_path / "again").exists()


def test_a_failed_cell_makes_exit_code_1_and_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(session, "Model", refuse)
    out = tmp_path / "out"
    result = call(*TINY, "--out", out)
    assert result.exit_code == 1, result.output
    assert {cell.status for cell in load(out / "record.json").cells} == {"OOM"}
    assert "OOM" in (out / "report.md").read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_ctrl_c_keeps_what_is_finished(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", "from lmdm_bench.cli import main; main()"]
    process = subprocess.Popen(
        [*command, *TINY, "--blocks", "1000000", "--out", str(out)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "round 3":
            process.send_signal(signal.SIGINT)
            break
    process.stdout.read()
    process.stdout.close()
    assert process.wait(timeout=120) == cli.INTERRUPTED
    record = load(out / "record.json")
    assert record.settings.is_interrupted
    assert any(cell.blocks for cell in record.cells)
    assert (out / "report.html").exists()


def test_doctor_names_the_machine_and_has_a_reason_for_everything() -> None:
    result = call("doctor")
    assert result.exit_code == 0
    assert "CUDA" in result.output
    assert max(map(len, result.output.splitlines())) <= 80
    told = json.loads(call("doctor", "--json").stdout)
    assert told["machine"]["num_logical_cores"] >= 1
    assert all(one["reason"] for one in told["abilities"])


def test_the_command_shows_files_by_name_only() -> None:
    command = cli._command(["run", "--input", "/home/someone/my song.wav", "--steps", "2"])
    assert command == "lmdm-bench run --input 'my song.wav' --steps 2"


def test_commands_and_options_are_the_written_list() -> None:
    """A new option is a decision: it enters this list, README and CHANGELOG together."""
    group: Any = typer.main.get_command(cli.app)
    options = {
        name: sorted(one for option in command.params for one in option.opts if "--" in one)
        for name, command in group.commands.items()
    }
    assert options == {
        "doctor": ["--json"],
        "report": ["--out"],
        "run": [
            "--attention",
            "--block-frames",
            "--blocks",
            "--checkpoint",
            "--context-frames",
            "--device",
            "--dtype",
            "--guidance",
            "--input",
            "--json",
            "--model",
            "--out",
            "--sampler",
            "--scheme",
            "--seed",
            "--steps",
        ],
    }
