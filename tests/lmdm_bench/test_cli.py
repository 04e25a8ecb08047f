"""The command as people type it: what it prints, what it leaves, and how it refuses."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import typer.main
from safetensors.torch import save_file
from typer.testing import CliRunner, Result

import check_records
import claims_records
import kernels_records
import records
from lmdm_bench import check_session, cli, session, sweep_run
from lmdm_bench.check_figures import CHECK_FIGURES
from lmdm_bench.check_record import check_from_json, load_check, save_check
from lmdm_bench.claims_record import MemoryProbe, load_claims, save_claims
from lmdm_bench.cli_shared import INTERRUPTED, SOME_FAILED
from lmdm_bench.kernels_record import load_kernels, save_kernels
from lmdm_bench.machine import describe_machine
from lmdm_bench.out_folder import claimed
from lmdm_bench.record import from_json, load, save, to_json
from lmdm_bench.verdict import exit_code, judge_check

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

LMM_TINY = ["--lmm-model", "mrt1-tiny,mrt2-tiny"]
FIVE = "outpaint,encoder-decoder,block-causal,lmm-encoder-decoder,lmm-frame-wise"
# Over at once: what is needed is visited in one round.
CLAIMS = ["claims", "--model", "tiny", "--budget-minutes", "0.001", "--dtype", "fp32"]
# As far as the time goes, which is one case; FlexAttention would compile for seconds.
KERNELS = ["kernels", "--model", "tiny", "--window", "12+3", "--budget-minutes", "0.001"]
KERNELS += ["--dtype", "fp32", "--backend", "interval,range,masked"]


@pytest.fixture(autouse=True)
def _known_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """No seconds for what ``test_ceiling.py`` measures."""
    monkeypatch.setattr(session, "measure_ceiling", lambda *_: records.CPU_CEILING)


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, [str(one) for one in arguments])


def refused(tmp_path: Path, *arguments: str | Path) -> str:
    """The one sentence with which a run is refused; nothing may be left behind."""
    return refused_words(tmp_path / "out", call(*TINY, "--out", tmp_path / "out", *arguments))


def refused_words(out: Path, result: Result) -> str:
    assert result.exit_code == BAD_INPUT, result.output
    assert not out.exists()
    assert "Traceback" not in result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("lmdm-bench: ")
    return lines[0]


@pytest.fixture
def _unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without their report, which takes longer than a tiny run."""
    monkeypatch.setattr("lmdm_bench.render.write_report", lambda record, folder: [])
    monkeypatch.setattr("lmdm_bench.claims_render.write_claims_report", lambda record, folder: [])
    monkeypatch.setattr("lmdm_bench.kernels_render.write_kernels_report", lambda record, folder: [])
    monkeypatch.setattr("lmdm_bench.check_render.write_check_report", lambda record, folder: [])


def test_a_run_leaves_record_report_figures_and_audio(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = call(*TINY, "--out", out)
    assert result.exit_code == 0, result.output
    assert {one.name for one in out.iterdir()} == FILES
    record = load(out / "record.json")
    assert {cell.status for cell in record.cells} == {"OK"}
    for words in ("outpaint", "encoder-decoder", "block-causal", "deadline", "codec decode"):
        assert words in result.output
    assert max(map(len, result.output.splitlines())) <= 80

    again = tmp_path / "again"
    result = call("report", out / "record.json", "--out", again)
    assert result.exit_code == 0, result.output
    for name in ("report.md", "report.html", "waterfall.png"):
        assert (again / name).read_bytes() == (out / name).read_bytes()


def test_five_schemes_of_three_models_are_one_run(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = call(*TINY, "--scheme", FIVE, *LMM_TINY, "--blocks", "3", "--out", out)
    assert result.exit_code == 0, result.output
    assert {one.name for one in out.iterdir()} == FILES
    record = load(out / "record.json")
    found = [(cell.workload.scheme, cell.workload.model, cell.status) for cell in record.cells]
    models = ["tiny"] * 3 + ["mrt1-tiny", "mrt2-tiny"]
    assert found == [(*one, "OK") for one in zip(FIVE.split(","), models, strict=True)]
    assert all(cell.cost.parameters > 0 for cell in record.cells)
    assert max(map(len, result.output.splitlines())) <= 80
    for words in (*FIVE.split(","), "mrt1-tiny", "mrt2-tiny"):
        assert words in result.output
        assert words in (out / "report.md").read_text()


@pytest.mark.usefixtures("_unrendered")
def test_lengths_of_an_lmm_are_axes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    lengths = ["--lmm-context-frames", "9", "--lmm-block-frames", "2", "--lmm-levels", "3"]
    scheme = ["--scheme", "lmm-frame-wise", "--lmm-model", "mrt2-tiny"]
    result = call(*TINY, *scheme, *lengths, "--guidance", "3", "--blocks", "1", "--out", out)
    assert result.exit_code == 0, result.output
    (cell,) = load(out / "record.json").cells
    work = cell.workload
    assert (work.context_frames, work.block_frames, work.num_levels) == (9, 2, 3)
    assert work.guidance_scale == 3
    assert not list(out.glob("*.wav"))


@pytest.mark.usefixtures("_unrendered")
def test_json_is_the_record_and_nothing_else_on_standard_output(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = call(*TINY, "--json", "--blocks", "2", "--out", out)
    assert from_json(result.stdout) == load(out / "record.json")


def test_several_reports_go_into_folders_of_their_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        save(records.all_ok(), tmp_path / name / "record.json")
    both = [tmp_path / name / "record.json" for name in ("a", "b")]
    result = call("report", *both, "--out", tmp_path / "reports")
    assert result.exit_code == 0, result.output
    for name in ("a", "b"):
        assert (tmp_path / "reports" / name / "report.html").exists()


@pytest.mark.usefixtures("_unrendered")
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
        (["--attention", "triton"], "attention 'triton' cannot run on a CPU"),
        (["--graph"], "--graph captures CUDA graphs, and the device is cpu"),
        (["--device", "abacus"], "'abacus'"),
        (["--sampler", "heun"], "unknown sampler 'heun'"),
        (["--lmm-model", "mrt1-tiny"], "which is not among the schemes"),
        (["--lmm-levels", "3"], "no LMM scheme is to be run"),
        (["--scheme", FIVE, "--lmm-model", "mrt3"], "unknown LMM model 'mrt3'"),
        (["--scheme", FIVE, *LMM_TINY, "--lmm-levels", "9"], "takes 2 to 4 levels, got 9"),
        (["--scheme", "lmm-frame-wise", "--checkpoint", "w.ckpt"], "no diffusion scheme"),
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
    path = tmp_path / "record.json"
    save(records.all_ok(), path)
    before = path.read_bytes()
    for command in (TINY, CLAIMS):
        result = call(*command, "--out", tmp_path)
        assert "already holds a record" in refused_words(tmp_path / "none", result)
    assert path.read_bytes() == before


@pytest.mark.usefixtures("_unrendered")
def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "record.json")

    monkeypatch.setattr("lmdm_bench.record.write_whole", full)
    sentence = refused(tmp_path, "--blocks", "1")
    assert sentence == "lmdm-bench: record.json: No space left on device"


def test_a_truncated_record_is_one_sentence(tmp_path: Path) -> None:
    text = to_json(records.all_ok())
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
        # A shell's background jobs ignore it, and what they start does too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "round 3":
            process.send_signal(signal.SIGINT)
            break
    process.stdout.read()
    process.stdout.close()
    assert process.wait(timeout=120) == INTERRUPTED
    record = load(out / "record.json")
    assert record.settings.is_interrupted
    assert any(cell.blocks for cell in record.cells)
    assert (out / "report.html").exists()


# --- Claims ----------------------------------------------------------------------------------


@pytest.fixture
def _probes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No processes for memory: they are ``test_memory_probe.py``'s."""
    monkeypatch.setattr(
        sweep_run,
        "probe",
        lambda request, workload, cost, repeats: MemoryProbe(
            workload, cost, "OK", None, (cost.footprint.peak_bytes,) * repeats
        ),
    )


@pytest.mark.usefixtures("_probes_at_once")
def test_claims_leave_a_record_and_its_report(tmp_path: Path) -> None:
    out = tmp_path / "out"
    cached = ["--scheme", "encoder-decoder,block-causal"]
    result = call(*CLAIMS, *cached, "--out", out)
    assert result.exit_code == 0, result.output
    record = load_claims(out / "claims.json")
    assert {point.status for point in record.points} == {"OK"}
    assert str(tmp_path) not in (out / "claims.json").read_text()
    assert {"claims.json", "claims.md", "claims.html"} < {one.name for one in out.iterdir()}
    assert not (out / ".claimed-by").exists()
    assert "workloads fit into the time" in result.output
    assert max(map(len, result.output.splitlines())) <= 80

    again = call("report", out / "claims.json", "--out", tmp_path / "again")
    assert again.exit_code == 0, again.output
    rendered = {one.name for one in (tmp_path / "again").iterdir()}
    assert rendered == {one.name for one in out.iterdir()} - {"claims.json"}
    for name in ("claims.md", "claims.html"):
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()


@pytest.mark.usefixtures("_probes_at_once", "_unrendered")
def test_claims_go_on_with_the_record_in_their_folder(tmp_path: Path) -> None:
    """With more time, and with the record as all that is printed."""
    out, cached = tmp_path / "out", ["--scheme", "encoder-decoder,block-causal"]
    assert call(*CLAIMS, *cached, "--out", out).exit_code == 0
    record = load_claims(out / "claims.json")
    more = [*CLAIMS[:4], "0.03", *CLAIMS[5:], *cached, "--json"]
    result = call(*more, "--resume", out)
    assert result.exit_code == 0, result.output
    resumed = load_claims(out / "claims.json")
    assert json.loads(result.stdout) == json.loads((out / "claims.json").read_text())
    assert resumed.settings.budget_minutes == 0.03
    for old, new in zip(record.points, resumed.points, strict=True):
        assert new.visits[: len(old.visits)] == old.visits
    assert resumed.memory == record.memory


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--budget-minutes", "0"], "the budget must be some minutes, got 0"),
        (["--budget-minutes", "-1"], "the budget must be some minutes, got -1"),
        (["--budget-minutes", "nan"], "the budget must be some minutes, got nan"),
        (["--budget-minutes", "inf"], "the budget must be some minutes, got inf"),
        (["--scheme", "causal"], "unknown scheme 'causal'; there are outpaint"),
        (["--scheme", ","], "no scheme to run"),
        (["--model", "huge"], "unknown model 'huge'"),
        (["--lmm-model", "mrt3"], "unknown LMM model 'mrt3'"),
        (["--scheme", "outpaint", "--lmm-model", "mrt1-tiny"], "not among the schemes"),
        (["--dtype", "int3"], "unknown dtype 'int3'"),
        (["--device", "abacus"], "'abacus'"),
        (["--attention", "triton"], "attention 'triton' cannot run on a CPU"),
        (["--graph"], "--graph captures CUDA graphs, and the device is cpu"),
        (["--seed", "-1"], "seed must not be negative"),
        (["--resume", "there"], "--out names a new folder, --resume one to go on with: give one"),
    ],
)
def test_claims_that_cannot_be_measured_are_one_sentence(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    out = tmp_path / "out"
    assert words in refused_words(out, call(*CLAIMS, *LMM_TINY, "--out", out, *arguments))


def test_a_folder_without_claims_is_none_to_go_on_with(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        result = call(*CLAIMS, "--resume", folder)
        assert "cannot read the record" in refused_words(tmp_path / "nowhere", result)
    assert list(tmp_path.iterdir()) == []


def test_another_machine_s_claims_stay_as_they_are(tmp_path: Path) -> None:
    save_claims(claims_records.agreeing(), tmp_path / "claims.json")
    before = (tmp_path / "claims.json").read_bytes()
    result = call(*CLAIMS, "--resume", tmp_path)
    words = refused_words(tmp_path / "none", result)
    assert "this run cannot be taken up again: its machine was AMD EPYC" in words
    assert (tmp_path / "claims.json").read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["claims.json"]


def test_claims_are_not_overwritten(tmp_path: Path) -> None:
    save_claims(claims_records.agreeing(), tmp_path / "claims.json")
    before = (tmp_path / "claims.json").read_bytes()
    for command in (CLAIMS, TINY):
        result = call(*command, "--out", tmp_path)
        assert "already holds a record" in refused_words(tmp_path / "none", result)
    assert (tmp_path / "claims.json").read_bytes() == before


@pytest.mark.parametrize("option", ["--out", "--resume"])
def test_two_claims_runs_do_not_share_a_folder(tmp_path: Path, option: str) -> None:
    if option == "--resume":
        save_claims(claims_records.agreeing(), tmp_path / "claims.json")
    with claimed(tmp_path, is_resumed=True):
        result = call(*CLAIMS, option, tmp_path)
        assert "another run is writing" in refused_words(tmp_path / "none", result)


@pytest.mark.parametrize(
    ("change", "exit_code"),
    [
        ({}, 0),
        ({"points": "FAILED"}, SOME_FAILED),
        ({"memory": "OOM"}, SOME_FAILED),
        ({"is_interrupted": True, "points": "INTERRUPTED"}, INTERRUPTED),
    ],
    ids=str,
)
def test_claims_exit_by_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], exit_code: int
) -> None:
    record = claims_records.agreeing()
    for name in ("points", "memory"):
        if name in change:
            first, *others = getattr(record, name)
            failed = dataclasses.replace(first, status=change[name], reason="a reason")
            record = dataclasses.replace(record, **{name: (failed, *others)})
    is_interrupted = change.get("is_interrupted", False)
    settings = dataclasses.replace(record.settings, is_interrupted=is_interrupted)
    record = dataclasses.replace(record, settings=settings)
    monkeypatch.setattr(cli, "_claim_and_write", lambda *_: record)
    result = call(*CLAIMS, "--scheme", "outpaint", "--out", tmp_path / "out", "--json")
    assert result.exit_code == exit_code, result.output
    assert len(json.loads(result.stdout)["points"]) == len(record.points)


def test_records_of_all_kinds_are_rendered_in_one_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("run", "claims"):
        (tmp_path / folder).mkdir()
    save(records.all_ok(), tmp_path / "run" / "record.json")
    save_claims(claims_records.agreeing(), tmp_path / "claims" / "claims.json")
    save_kernels(kernels_records.short(), tmp_path / "kernels.json")
    drawn: list[Path] = []
    monkeypatch.setattr(
        "lmdm_bench.claims_render.write_claims_report",
        lambda record, folder: drawn.append(folder) or [folder / "claims.md"],
    )
    some = [tmp_path / "run" / "record.json", tmp_path / "claims" / "claims.json"]
    result = call("report", *some, tmp_path / "kernels.json", "--out", tmp_path / "reports")
    assert result.exit_code == 0, result.output
    assert drawn == [tmp_path / "reports" / "claims"]
    assert (tmp_path / "reports" / tmp_path.name / "kernels.html").exists()
    assert (tmp_path / "reports" / "run" / "report.md").exists()
    assert "wrote claims.md" in result.output


def test_truncated_claims_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "claims.json"
    save_claims(claims_records.agreeing(), path)
    path.write_text(path.read_text()[:1000])
    result = call("report", path, "--out", tmp_path / "again")
    assert "cut off" in refused_words(tmp_path / "again", result)


# --- Kernels ---------------------------------------------------------------------------------


def test_kernels_leave_a_record_and_its_report(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = call(*KERNELS, "--out", out)
    assert result.exit_code == 0, result.output
    record = load_kernels(out / "kernels.json")
    statuses = {row.backend: row.status for row in record.kernel_cells[0].rows}
    assert statuses == {"interval": "UNSUPPORTED", "range": "OK", "masked": "OK"}
    assert {row.status for row in record.kernel_cells[-1].rows} == {"LEFT OUT"}
    assert str(tmp_path) not in (out / "kernels.json").read_text()
    assert not (out / ".claimed-by").exists()
    for words in ("interpreter", "at least as fast as", "cannot tell", "LEFT OUT"):
        assert words in " ".join(result.output.split())
    assert max(map(len, result.output.splitlines())) <= 80

    again = call("report", out / "kernels.json", "--out", tmp_path / "again")
    assert again.exit_code == 0, again.output
    rendered = {one.name for one in (tmp_path / "again").iterdir()}
    assert rendered == {one.name for one in out.iterdir()} - {"kernels.json"}
    for name in ("kernels.md", "kernels.html"):
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes()


@pytest.mark.usefixtures("_unrendered")
def test_the_json_of_kernels_is_their_record(tmp_path: Path) -> None:
    out = tmp_path / "out"
    one_case = ["--plan", "encoder-decoder-step", "--batch", "2", "--seed", "3"]
    result = call(*KERNELS, *one_case, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == json.loads((out / "kernels.json").read_text())
    (cell,) = load_kernels(out / "kernels.json").kernel_cells
    assert (cell.case.plan, cell.case.batch, cell.case.layers) == ("encoder-decoder-step", 2, 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--budget-minutes", "0"], "the budget must be some minutes, got 0"),
        (["--budget-minutes", "nan"], "the budget must be some minutes, got nan"),
        (["--plan", "causal"], "unknown plan 'causal'; there are full, encoder-decoder"),
        (["--plan", ","], "no plan to compare"),
        (["--window", "192"], "a window is context+block in frames, as 192+48, got '192'"),
        (["--window", "13+3"], "not a whole number of 3-frame blocks"),
        (["--model", "huge"], "unknown model 'huge'"),
        (["--model", "mrt1-tiny"], "unknown model 'mrt1-tiny'"),
        (["--batch", "0"], "batch must be at least 1, got 0"),
        (["--batch", "one"], "batch takes whole numbers with commas, got 'one'"),
        (["--backend", "torch"], "unknown backend 'torch'; there are interval, range"),
        (["--backend", ""], "no backend to compare"),
        (["--dtype", "int3"], "unknown dtype 'int3'"),
        (["--device", "abacus"], "'abacus'"),
        (["--seed", "-1"], "seed must not be negative, got -1"),
        (["--launches", "none.json"], "the launch table cannot be used"),
        (["--tune"], "launches are tuned by measuring on a CUDA device, got cpu"),
        (["--tune", "--json"], "--tune writes a launch table and no record"),
    ],
)
def test_kernels_that_cannot_be_compared_are_one_sentence(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    out = tmp_path / "out"
    on_cpu = ["--device", "cpu"] if "--tune" in arguments else []
    assert words in refused_words(out, call(*KERNELS, *on_cpu, "--out", out, *arguments))


def test_kernels_are_not_overwritten(tmp_path: Path) -> None:
    save_kernels(kernels_records.short(), tmp_path / "kernels.json")
    before = (tmp_path / "kernels.json").read_bytes()
    for command in (KERNELS, CLAIMS, TINY):
        result = call(*command, "--out", tmp_path)
        assert "already holds a record" in refused_words(tmp_path / "none", result)
    assert (tmp_path / "kernels.json").read_bytes() == before


def test_two_kernels_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    with claimed(tmp_path):
        result = call(*KERNELS, "--out", tmp_path)
        assert "another run is writing" in refused_words(tmp_path / "none", result)


def test_a_folder_that_cannot_be_written_takes_no_kernels(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = call(*KERNELS, "--out", tmp_path / "file" / "out")
    assert "cannot write to" in refused_words(tmp_path / "none", result)


@pytest.mark.parametrize(
    ("name", "exit_code"),
    [("on_cuda", 0), ("short", INTERRUPTED), ("failed", SOME_FAILED)],
)
def test_kernels_exit_by_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, exit_code: int
) -> None:
    """What cannot run here, or did not fit, is no failure."""
    record = kernels_records.EXAMPLES["short" if name == "failed" else name]()
    if name == "failed":
        settings = dataclasses.replace(record.settings, is_interrupted=False)
        record = dataclasses.replace(record, settings=settings)
    monkeypatch.setattr(cli, "_compare_and_write", lambda *_: record)
    result = call(*KERNELS, "--out", tmp_path / "out", "--json")
    assert result.exit_code == exit_code, result.output


def test_ctrl_c_keeps_the_kernels_that_are_finished(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", "from lmdm_bench.cli import main; main()"]
    minutes = ["--budget-minutes", "60"]
    process = subprocess.Popen(
        [*command, *KERNELS, "--plan", "full,block-causal", *minutes, "--out", str(out)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        # A shell's background jobs ignore it, and what they start does too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "1/4" in line:
            process.send_signal(signal.SIGINT)
            break
    process.stdout.read()
    process.stdout.close()
    assert process.wait(timeout=120) == INTERRUPTED
    record = load_kernels(out / "kernels.json")
    assert record.settings.is_interrupted
    assert [row.status for row in record.kernel_cells[0].rows] == ["UNSUPPORTED", "OK", "OK"]
    assert {row.status for row in record.kernel_cells[-1].rows} == {"INTERRUPTED"}
    assert (out / "kernels.html").exists()


def test_truncated_kernels_are_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "kernels.json"
    save_kernels(kernels_records.short(), path)
    path.write_text(path.read_text()[:1000])
    result = call("report", path, "--out", tmp_path / "again")
    assert "cut off" in refused_words(tmp_path / "again", result)


# --- The command -----------------------------------------------------------------------------


def test_doctor_names_the_machine_and_has_a_reason_for_everything() -> None:
    result = call("doctor")
    assert result.exit_code == 0
    assert "CUDA" in result.output
    assert max(map(len, result.output.splitlines())) <= 80
    told = json.loads(call("doctor", "--json").stdout)
    assert told["machine"]["num_logical_cores"] >= 1
    assert all(one["reason"] for one in told["abilities"])


# --- predict ---------------------------------------------------------------------------------


def test_a_prediction_is_an_interval_with_its_tier(tmp_path: Path) -> None:
    result = call("predict", "--gpu", "rtx 4060 laptop", "--power-watts", "80")
    assert result.exit_code == 0, result.output
    assert "GeForce RTX 4060 Mobile at 80 W" in result.output
    assert "from specification only" in result.output
    assert max(map(len, result.output.splitlines())) <= 80

    scheme = ["--scheme", "block-causal"]
    eager, graphed = (
        json.loads(call("predict", *scheme, "--gpu", "RTX 4090", "--json", *more).stdout)
        for more in ([], ["--graph"])
    )
    assert graphed[0]["rtf"]["value"] < eager[0]["rtf"]["value"]

    result = call("predict", *scheme, "--all", "--json", "--out", tmp_path / "map")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert len(found) > 58
    assert all(one["tier"] and one["workload"]["scheme"] == "block-causal" for one in found)
    assert (tmp_path / "map" / "verdict_map.png").exists()


def test_your_own_runs_are_believed_first(tmp_path: Path) -> None:
    record = dataclasses.replace(records.all_ok(), machine=describe_machine())
    (tmp_path / "one").mkdir()
    (tmp_path / "broken").mkdir()
    save(record, tmp_path / "one" / "record.json")
    (tmp_path / "broken" / "record.json").write_text("{")
    schemes = ["--scheme", "block-causal", "--records", tmp_path]
    result = call("predict", *schemes, "--dtype", "bf16", "--json")
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)
    (own,) = (one for one in record.cells if one.workload.scheme == "block-causal")
    assert own.summary is not None
    assert found["tier"] == "measured here"
    assert found["rtf"]["value"] == pytest.approx(own.summary.rtf.value, rel=1e-5)
    assert "left out: " in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--gpu", "RTX 9999"], "RTX 9999"),
        (["--power-watts", "80"], "name it with --gpu"),
        (["--gpu", "RTX 4090", "--all"], "give one of them"),
        (["--gpu", "RTX 4060 Mobile", "--power-watts", "900"], "W"),
        (["--scheme", "karaoke"], "unknown scheme 'karaoke'"),
        (["--steps", "0"], "step"),
        (["--dtype", "int8"], "unknown dtype 'int8'"),
    ],
)
def test_what_cannot_be_predicted_is_refused(arguments: list[str], words: str) -> None:
    result = call("predict", *arguments)
    assert result.exit_code == BAD_INPUT, result.output
    assert words in result.stderr and "Traceback" not in result.output


# --- check and replay ------------------------------------------------------------------------


CHECK = ["check", "--model", "tiny", "--context-frames", "96", "--block-frames", "24"]
CHECK += ["--minutes", "0.02", "--dtype", "fp32"]


@pytest.fixture
def _known_harness(monkeypatch: pytest.MonkeyPatch) -> None:
    """No seconds for what ``test_no_work.py`` measures."""
    harness = check_records.likely().harness
    monkeypatch.setattr(check_session, "measure_harness", lambda watching: (harness, False))


@pytest.mark.usefixtures("_known_harness")
def test_a_check_leaves_record_report_figures_and_its_verdict_as_exit_code(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = call(*CHECK, "--steps", "2", "--out", out)
    record = load_check(out / "check.json")
    assert result.exit_code == exit_code(judge_check(record), is_strict=False), result.output
    (judgement,) = judge_check(record)
    assert judgement.verdict in result.output and "block-causal" in result.output
    assert max(map(len, result.output.splitlines())) <= 80
    assert {"check.json", "check.md", "check.html"} < {one.name for one in out.iterdir()}
    assert {f"{name}.png" for name in CHECK_FIGURES} < {one.name for one in out.iterdir()}
    assert record.settings.command.startswith("lmdm-bench")

    again = tmp_path / "again"
    result = call("report", out / "check.json", "--out", again)
    assert result.exit_code == 0, result.output
    for name in ("check.md", "check.html"):
        assert (again / name).read_bytes() == (out / name).read_bytes()

    result = call("replay", out / "check.json", "--prebuffer", "1,3", "--policy", "stall")
    assert result.exit_code == 0, result.output
    assert "prebuffer" in result.output and "stall" in result.output
    assert max(map(len, result.output.splitlines())) <= 80


@pytest.mark.usefixtures("_known_harness")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["karaoke"], "unknown scheme 'karaoke'"),
        (["block-causal", "block-causal"], "named twice"),
        (["--minutes", "0"], "minutes must be more than 0"),
        (["--prebuffer", "0"], "prebuffer must be 1 to 1000"),
        (["--budget", "control=soon"], "a budget looks like control=1s"),
        (["--target-dropouts-per-hour", "0"], "no run can prove"),
        (["--mode", "live"], "unknown mode 'live'"),
        (["--audio", "jack"], "needs --mode device"),
        (["--stress", "gpu"], "unknown stress 'gpu'"),
        (["--policy", "skip"], "policy skip is only replayed"),
        (["--conditions", "weather"], "unknown conditions 'weather'"),
        (["--attention", "triton"], "cannot run on a CPU"),
        (["--graph"], "captures CUDA graphs"),
    ],
)
def test_a_check_that_cannot_be_is_refused_in_one_sentence(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    out = tmp_path / "out"
    assert words in refused_words(out, call(*CHECK, "--out", out, *arguments))


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (check_records.likely, 0),
        (check_records.with_stalls, 1),
        (check_records.too_slow, 2),
        (check_records.short, 3),
    ],
)
@pytest.mark.usefixtures("_unrendered")
def test_the_verdict_is_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record, code: int
) -> None:
    monkeypatch.setattr(check_session, "run_check", lambda *_: record())
    arguments = [*CHECK, "--out", tmp_path / "out"]
    result = call(*arguments, "--json")
    assert result.exit_code == code, result.output
    assert check_from_json(result.stdout) == record()
    strict = call(*CHECK, "--out", tmp_path / "strict", "--strict")
    assert strict.exit_code == (3 if code == 0 else code)


@pytest.mark.parametrize("signals", [1, 2])
def test_ctrl_c_ends_a_check_with_what_it_has(tmp_path: Path, signals: int) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", "from lmdm_bench.cli import main\nmain()"]
    arguments = [*CHECK, "--minutes", "5", "--out", str(out)]
    with subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("playing"):
                time.sleep(1.0)
                for _ in range(signals):
                    process.send_signal(signal.SIGINT)
        process.wait(60)
    assert process.returncode == 130, "".join(said)
    record = load_check(out / "check.json")
    assert record.is_interrupted and record.check_cells[0].blocks
    assert (out / "check.html").exists()
    assert not list(out.glob(".*"))


def test_a_record_that_cannot_be_replayed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "claims.json"
    save_claims(claims_records.agreeing(), path)
    for arguments, words in (
        ([path], "no blocks in a row"),
        ([tmp_path / "none.json"], "cannot read the record"),
    ):
        result = call("replay", *arguments)
        assert result.exit_code == BAD_INPUT and words in result.stderr
    check = tmp_path / "check.json"
    save_check(check_records.likely(), check)
    for arguments, words in (
        (["--prebuffer", "0"], "prebuffer"),
        (["--prebuffer", "two"], "whole numbers"),
        (["--policy", "wait"], "policy"),
    ):
        result = call("replay", check, *arguments)
        assert result.exit_code == BAD_INPUT and words in result.stderr
    result = call("replay", check, "--json")
    assert json.loads(result.stdout)[0]["rows"]


def test_commands_and_options_are_the_written_list() -> None:
    """A new option is a decision: it enters this list, README and CHANGELOG together."""
    group: Any = typer.main.get_command(cli.app)
    options = {
        name: sorted(one for option in command.params for one in option.opts if "--" in one)
        for name, command in group.commands.items()
    }
    assert options == {
        "check": [
            "--attention",
            "--audio",
            "--block-frames",
            "--budget",
            "--checkpoint",
            "--conditions",
            "--context-frames",
            "--device",
            "--dtype",
            "--graph",
            "--guidance",
            "--input",
            "--json",
            "--lmm-block-frames",
            "--lmm-context-frames",
            "--lmm-levels",
            "--lmm-model",
            "--minutes",
            "--mode",
            "--model",
            "--out",
            "--policy",
            "--prebuffer",
            "--sampler",
            "--seed",
            "--steps",
            "--stress",
            "--strict",
            "--target-dropouts-per-hour",
        ],
        "claims": [
            "--attention",
            "--budget-minutes",
            "--device",
            "--dtype",
            "--graph",
            "--json",
            "--lmm-model",
            "--model",
            "--out",
            "--resume",
            "--scheme",
            "--seed",
        ],
        "compare": [
            "--base",
            "--cell",
            "--device",
            "--dtype",
            "--gate",
            "--json",
            "--merge-base",
            "--minutes",
            "--out",
            "--processes",
            "--seed",
        ],
        "doctor": ["--json"],
        "kernels": [
            "--backend",
            "--batch",
            "--budget-minutes",
            "--device",
            "--dtype",
            "--json",
            "--launches",
            "--model",
            "--out",
            "--plan",
            "--seed",
            "--tune",
            "--window",
        ],
        "predict": [
            "--all",
            "--block-frames",
            "--context-frames",
            "--dtype",
            "--gpu",
            "--graph",
            "--guidance",
            "--json",
            "--lmm-model",
            "--model",
            "--out",
            "--power-watts",
            "--records",
            "--scheme",
            "--steps",
        ],
        "profile": [
            "--attention",
            "--block-frames",
            "--blocks",
            "--checkpoint",
            "--context-frames",
            "--device",
            "--dtype",
            "--graph",
            "--guidance",
            "--input",
            "--lmm-block-frames",
            "--lmm-context-frames",
            "--lmm-levels",
            "--lmm-model",
            "--model",
            "--out",
            "--sampler",
            "--seed",
            "--steps",
            "--tool",
        ],
        "replay": ["--json", "--policy", "--prebuffer"],
        "report": ["--history", "--out"],
        "run": [
            "--attention",
            "--block-frames",
            "--blocks",
            "--checkpoint",
            "--context-frames",
            "--device",
            "--dtype",
            "--graph",
            "--guidance",
            "--input",
            "--json",
            "--lmm-block-frames",
            "--lmm-context-frames",
            "--lmm-levels",
            "--lmm-model",
            "--model",
            "--out",
            "--sampler",
            "--scheme",
            "--seed",
            "--steps",
        ],
    }
