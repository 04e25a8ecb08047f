"""What the commands share: failures as one sentence, folders, names and numbers."""

import re
from pathlib import Path

import pytest
import typer

from lmdm_bench.cli_shared import (
    BAD_INPUT,
    INTERRUPTED,
    comma_names,
    comma_numbers,
    command_line,
    one_sentence,
    results_folder,
)
from lmdm_bench.errors import InputError, UnsupportedError
from lmdm_bench.record import RecordError


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ("run|--input|/home/me/my song.wav|--steps|2", "run --input 'my song.wav' --steps 2"),
        (
            "run|--input=/home/me/a.wav|--checkpoint=b/c.ckpt",
            "run --input=a.wav --checkpoint=c.ckpt",
        ),
        ("claims|--resume|/home/me/runs/x", "claims --resume x"),
        ("claims|--out=/home/me/runs/x|--seed=1", "claims --out=x --seed=1"),
        ("run|--scheme=a,b|--seed|1", "run --scheme=a,b --seed 1"),
        ("kernels|--launches|/home/me/launches.json", "kernels --launches launches.json"),
    ],
)
def test_the_command_shows_files_by_name_only(arguments: str, shown: str) -> None:
    assert command_line(arguments.split("|")) == f"lmdm-bench {shown}"


def test_a_file_that_is_no_option_s_is_shown_by_name_too(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    shown = command_line(["compare", str(tmp_path / "before"), "topic/main", "--seed", "1"])
    assert shown == "lmdm-bench compare before topic/main --seed 1"


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InputError("no such scheme"), BAD_INPUT, "no such scheme"),
        (UnsupportedError("no GPU here"), BAD_INPUT, "no GPU here"),
        (RecordError("it was cut off"), BAD_INPUT, "it was cut off"),
        (OSError(28, "No space left on device", "runs/x"), BAD_INPUT, "runs/x: No space left"),
        (KeyboardInterrupt(), INTERRUPTED, "stopped before anything was measured"),
    ],
)
def test_what_can_be_mended_is_one_sentence(
    error: BaseException, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, one_sentence():
        raise error
    assert ended.value.exit_code == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lmdm-bench: ") and words in line


def test_a_fault_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), one_sentence():
        1 / 0  # noqa: B018


def test_names_and_numbers_have_commas_between_them() -> None:
    assert comma_names(" a, b,,") == ("a", "b")
    assert comma_numbers("prebuffer", "1, 20") == (1, 20)
    with pytest.raises(InputError, match="prebuffer takes whole numbers with commas, got 'two'"):
        comma_numbers("prebuffer", "1,two")


def test_a_folder_is_asked_for_or_named_by_the_moment() -> None:
    assert results_folder(Path("mine"), "check") == Path("mine")
    assert re.fullmatch(r"runs/check-\d{8}-\d{6}", results_folder(None, "check").as_posix())
    assert re.fullmatch(r"runs/\d{8}-\d{6}", results_folder(None).as_posix())
