"""The command ``lmdm-bench compare``: exit codes 0 no regression, 1 a confirmed one, 3 cannot tell.

2 is for what cannot be compared, 130 for Ctrl-C (what was finished is kept).
"""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lmdm_bench.cli_options import Device, Dtype
from lmdm_bench.cli_shared import (
    INTERRUPTED,
    choose,
    comma_names,
    command_line,
    one_sentence,
    results_folder,
    warn_if_busy,
    write_and_show,
)

GATE_NAME = "gate.toml"


def compare(
    sides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[A B]", help="Two records, folders of records, or revisions."),
    ] = None,
    base: Annotated[
        str, typer.Option(help="Compare the working tree with this revision instead.")
    ] = "",
    is_merge_base: Annotated[
        bool, typer.Option("--merge-base", help="… with where HEAD left it, not with its tip.")
    ] = False,
    cell: Annotated[
        str, typer.Option(help="Cells by name, with commas; * stands for anything.")
    ] = "",
    minutes: Annotated[float, typer.Option(help="Of measuring revisions, about.")] = 4.5,
    processes: Annotated[int, typer.Option(help="Of each side, one after another.")] = 2,
    gate: Annotated[
        Path | None, typer.Option(help="Thresholds; else gate.toml here, if there is one.")
    ] = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    out: Annotated[
        Path | None, typer.Option(help="New folder for the results; else runs/compare-DATE-TIME.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, inputs, order and resamples.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON.")] = False,
) -> None:
    """Did my change make it faster, and is it still right? Compares records or git revisions."""
    console = Console(stderr=as_json, highlight=False)
    with one_sentence():
        from lmdm_bench import compare_session
        from lmdm_bench import gate as gates
        from lmdm_bench.compare_verdicts import judge
        from lmdm_bench.interrupts import ignored_interrupts
        from lmdm_bench.out_folder import COMPARE_NAME, claimed

        found = Path(GATE_NAME)
        gate_file = gate or (found if found.exists() else None)
        if gate_file is not None:
            console.print(f"thresholds of {gate_file.name}")
        is_measured = bool(base) or not compare_session.are_records(sides or ())
        device_choice, dtype_choice = choose(device, dtype) if is_measured else (None, None)
        asked = compare_session.CompareAsked(
            sides=tuple(sides or ()),
            base=base,
            is_merge_base=is_merge_base,
            cells=comma_names(cell),
            minutes=minutes,
            num_processes=processes,
            seed=seed,
            device=device_choice.value if device_choice else device,
            dtype=dtype_choice.value if dtype_choice else dtype,
            gate=gates.load_gate(gate_file),
            command=command_line(sys.argv[1:]),
        )
        compare_session.check_asked(asked)
        if is_measured:
            warn_if_busy(console)
        folder = results_folder(out, "compare")
        with claimed(folder):
            record = compare_session.run_compare(asked, folder / COMPARE_NAME, console.print)
            with ignored_interrupts():
                write_and_show(record, folder, console)
                console.print(f"record, report and figure: {folder}")
    judgement = judge(record)
    if as_json:
        from lmdm_bench.judgement_json import judgement_json

        sys.stdout.write(judgement_json(record, judgement))
    if record.settings.is_interrupted:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(judgement.exit_code)
