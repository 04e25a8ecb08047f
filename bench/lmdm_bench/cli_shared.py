"""What the commands share: how they fail, where they write to, and options in words as given."""

import datetime
import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from lmdm_bench.errors import InputError, UnsupportedError
from lmdm_bench.record import Choice, RecordError

if TYPE_CHECKING:
    # Only named here: torch takes seconds to import, and --help and bad options need none of it.
    from lmdm_bench.any_record import AnyRecord
    from lmdm_bench.audio import Samples
    from lmdm_bench.request import Request

SOME_FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130

PHRASE_SECONDS = 12.0
BUSY_LOAD_SHARE = 0.5

DTYPE_NAMES = {
    "fp32": "float32",
    "bf16": "bfloat16",
    "fp16": "float16",
    "float32": "float32",
    "bfloat16": "bfloat16",
    "float16": "float16",
}

# Options whose value is a path.
FILE_OPTIONS = ("--input", "--checkpoint", "--out", "--resume", "--launches", "--gate")


@contextmanager
def one_sentence() -> Iterator[None]:
    """What the user can mend becomes one sentence on standard error, and exit code 2."""
    try:
        yield
    except (InputError, UnsupportedError, RecordError) as error:
        typer.echo(f"lmdm-bench: {error}", err=True)
        raise typer.Exit(BAD_INPUT) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        typer.echo(f"lmdm-bench: {where}{error.strerror or error}", err=True)
        raise typer.Exit(BAD_INPUT) from None
    except KeyboardInterrupt:
        typer.echo("lmdm-bench: stopped before anything was measured", err=True)
        raise typer.Exit(INTERRUPTED) from None


def choose(device: str, dtype: str) -> tuple[Choice, Choice]:
    """Device and dtype with the reasons for them; raises InputError or UnsupportedError."""
    from lmdm_bench import choices
    from lmdm_bench.machine import describe_machine

    if device == "auto":
        device_choice = choices.pick_device()
    else:
        choices.check_device(device)
        device_choice = Choice(device, "asked for")
    isa = describe_machine(device_choice.value).cpu_isa
    if dtype == "auto":
        return device_choice, choices.pick_dtype(device_choice.value, isa)
    if dtype not in DTYPE_NAMES:
        raise InputError(f"unknown dtype {dtype!r}; there are auto, fp32, bf16, fp16")
    return device_choice, choices.check_dtype(DTYPE_NAMES[dtype], device_choice.value, isa)


def comma_names(text: str) -> tuple[str, ...]:
    """Names with commas between them."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def comma_numbers(option: str, text: str) -> tuple[int, ...]:
    """Whole numbers with commas between them. Raises InputError."""
    names = comma_names(text)
    for name in names:
        if not name.isdecimal():
            raise InputError(f"{option} takes whole numbers with commas, got {name!r}")
    return tuple(map(int, names))


def samples_of(input_file: Path | None, request: "Request") -> "Samples":
    """The newest samples of the input, as many as the first context takes."""
    from lmdm_bench import audio, session

    rate, needed = session.sample_rate_hz(request), session.context_samples(request)
    if input_file is not None:
        return audio.load_audio(input_file, rate, needed)
    return audio.phrase(rate, max(PHRASE_SECONDS, needed / rate))[:, -needed:]


def warn_if_busy(console: Console) -> None:
    import psutil

    share = psutil.getloadavg()[0] / (psutil.cpu_count() or 1)
    if share > BUSY_LOAD_SHARE:
        console.print(f"note: this machine is busy (load {share:.1f} per core); figures may suffer")


def command_line(arguments: list[str]) -> str:
    """The command as it can be shown: files by their names, without their folders."""
    shown = []
    for before, one in zip(["", *arguments], arguments, strict=False):
        option, joined, value = one.partition("=")
        if before in FILE_OPTIONS:
            one = Path(one).name
        elif joined and option in FILE_OPTIONS:
            one = f"{option}={Path(value).name}"
        elif not one.startswith("-") and Path(one).exists():
            one = Path(one).resolve().name
        shown.append(one)
    return shlex.join(["lmdm-bench", *shown])


def results_folder(out: Path | None, kind: str = "") -> Path:
    """The folder asked for, else one of its own by the date and time."""
    now = f"{datetime.datetime.now(datetime.UTC):%Y%m%d-%H%M%S}"
    return out or Path("runs") / "-".join(filter(None, (kind, now)))


def write_and_show(record: "AnyRecord", folder: Path, console: Console) -> None:
    """The record's report into the folder, and its tables on the console."""
    from lmdm_bench.any_report import report_of

    report_of(record).write(record, folder)
    console.print(*report_of(record).shown(record), sep="\n")


def print_json(data: dict[str, Any] | list[dict[str, Any]]) -> None:
    sys.stdout.write(json.dumps(data, indent=1) + "\n")
