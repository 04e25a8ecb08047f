"""The command ``lmdm-bench``: what it is asked, and with which exit code it answers.

Exit codes: 0 all measured, 1 some cell did not end OK, 2 something given cannot be used (one
sentence on standard error), 130 stopped by Ctrl-C (what was finished is kept). ``check`` answers
with its verdict instead: 0 real-time or likely, 1 marginal, 2 not real-time, 3 inconclusive.
"""

import dataclasses
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from lmdm_bench import __version__
from lmdm_bench.cli_compare import compare
from lmdm_bench.cli_options import (
    AsJson,
    Attention,
    BlockFrames,
    Checkpoint,
    ContextFrames,
    Device,
    Dtype,
    Graph,
    Guidance,
    InputFile,
    LmmBlockFrames,
    LmmContextFrames,
    LmmLevels,
    LmmModel,
    Model,
    Sampler,
    Steps,
)
from lmdm_bench.cli_profile import profile
from lmdm_bench.cli_shared import (
    INTERRUPTED,
    SOME_FAILED,
    choose,
    comma_names,
    comma_numbers,
    command_line,
    one_sentence,
    print_json,
    results_folder,
    samples_of,
    warn_if_busy,
    write_and_show,
)
from lmdm_bench.errors import InputError
from lmdm_bench.record import Choice, Record

if TYPE_CHECKING:
    # Only named here: torch takes seconds to import, and --help and bad options need none of it.
    from lmdm_bench.check_record import CheckRecord
    from lmdm_bench.check_session import CheckAsked
    from lmdm_bench.claims_record import ClaimsRecord
    from lmdm_bench.kernel_run import KernelsAsked
    from lmdm_bench.kernels_record import KernelsRecord
    from lmdm_bench.session import Asked
    from lmdm_bench.sweep_run import ClaimsAsked

# Where the project keeps its records.
REPORTS_DATA = Path("reports/data")

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
app.command()(compare)
app.command()(profile)


def main() -> None:
    """The console script."""
    app()


@app.callback(invoke_without_command=True)
def _about(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Measures live music diffusion on this machine: will it keep up, and what does it cost?"""
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what machine this is, what can be measured, and why anything cannot."""
    from lmdm_bench.abilities import abilities
    from lmdm_bench.machine import describe_machine
    from lmdm_bench.terminal import doctor_table
    from lmdm_bench.tool import describe_tool

    machine = describe_machine()
    able = abilities(machine)
    if as_json:
        print_json(
            {
                "tool": dataclasses.asdict(describe_tool()),
                "machine": dataclasses.asdict(machine),
                "abilities": [
                    {"name": one.name, "is_possible": one.is_possible, "reason": one.reason}
                    for one in able
                ],
            }
        )
    else:
        Console().print(doctor_table(machine, able))


@app.command()
def check(
    schemes: Annotated[
        list[str] | None, typer.Argument(metavar="[SCHEME]...", help="block-causal if none.")
    ] = None,
    minutes: Annotated[float, typer.Option(help="Of playing, for each scheme.")] = 10.0,
    mode: Annotated[
        str,
        typer.Option(help="paced; sustain: until it is steady; device: a sound card's clock."),
    ] = "paced",
    prebuffer: Annotated[int, typer.Option(help="Blocks made before playback, and held.")] = 2,
    target: Annotated[
        float, typer.Option("--target-dropouts-per-hour", help="As many as you would accept.")
    ] = 1.0,
    budget: Annotated[
        str, typer.Option(help="control=1s: how soon a change of prompt must be heard.")
    ] = "",
    policy: Annotated[
        str, typer.Option(help="zero-pad or stall, of a late block; auto: stall on a device.")
    ] = "auto",
    conditions: Annotated[
        str, typer.Option(help="What arrives meanwhile: prompt, input, prompt,input or none.")
    ] = "prompt",
    stress_kind: Annotated[
        str, typer.Option("--stress", help="none, or cpu: another busy program.")
    ] = "none",
    audio_name: Annotated[
        str, typer.Option("--audio", help="Device mode: auto, jack, jack-dummy, portaudio, silent.")
    ] = "auto",
    strict: Annotated[
        bool, typer.Option("--strict", help="LIKELY is not enough: exit with 3.")
    ] = False,
    model: Model = "sao-small",
    context_frames: ContextFrames = 192,
    block_frames: BlockFrames = 48,
    steps: Steps = 8,
    sampler: Sampler = "pingpong",
    guidance: Guidance = 1.0,
    lmm_model: LmmModel = "",
    lmm_context_frames: LmmContextFrames = None,
    lmm_block_frames: LmmBlockFrames = None,
    lmm_levels: LmmLevels = None,
    dtype: Dtype = "auto",
    device: Device = "auto",
    attention: Attention = "range",
    graph: Graph = False,
    input_file: InputFile = None,
    checkpoint: Checkpoint = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder for the results; else runs/check-DATE-TIME.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, noise and arrivals.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Will it play live here? Makes blocks against the clock and gives a verdict."""
    console = Console(stderr=as_json, highlight=False)
    with one_sentence():
        from lmdm_bench import check_options, check_session, subjects
        from lmdm_bench.out_folder import claimed
        from lmdm_bench.request import Request

        options = check_options.options(
            minutes=minutes,
            mode=mode,
            prebuffer_blocks=prebuffer,
            target_dropouts_per_hour=target,
            budget=budget,
            policy=policy,
            conditions=comma_names(conditions),
            stress=stress_kind,
            audio=audio_name,
        )
        device_choice, dtype_choice = choose(device, dtype)
        request = Request(
            schemes=tuple(schemes or ("block-causal",)),
            model=model,
            context_frames=context_frames,
            block_frames=block_frames,
            steps=steps,
            sampler=sampler,
            guidance_scale=guidance,
            lmm_models=comma_names(lmm_model),
            lmm_context_frames=lmm_context_frames,
            lmm_block_frames=lmm_block_frames,
            lmm_levels=lmm_levels,
            dtype=dtype_choice.value,
            device=device_choice.value,
            attention=attention,
            is_graphed=graph,
            checkpoint=checkpoint,
            seed=seed,
        )
        subjects.validate(request)
        asked = check_session.CheckAsked(
            request=request,
            options=options,
            device=device_choice,
            dtype=dtype_choice,
            input_name=input_file.name if input_file else "built-in phrase",
            input_samples=samples_of(input_file, request),
            command=command_line(sys.argv[1:]),
        )
        folder = results_folder(out, "check")
        with claimed(folder):
            record = _check_and_write(asked, folder, console)
    if as_json:
        from lmdm_bench.record import to_json

        sys.stdout.write(to_json(record))
    if record.is_interrupted:
        raise typer.Exit(INTERRUPTED)
    from lmdm_bench.verdict import exit_code, judge_check

    raise typer.Exit(exit_code(judge_check(record), is_strict=strict))


@app.command()
def replay(
    record_path: Annotated[
        Path, typer.Argument(metavar="RECORD", help="A check's check.json, or a run's record.json.")
    ],
    prebuffer: Annotated[str, typer.Option(help="Blocks held, with commas.")] = "1,2,3,6",
    policy: Annotated[str, typer.Option(help="zero-pad, stall or skip.")] = "zero-pad",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Play a measured run again, with another prebuffer or another way to treat late blocks."""
    console = Console(highlight=False)
    with one_sentence():
        from lmdm_bench.replay_table import replay_table, replayed, traces_of

        prebuffers = comma_numbers("prebuffer", prebuffer)
        found = replayed(traces_of(record_path), prebuffers, policy)
        if as_json:
            print_json([dataclasses.asdict(one) for one in found])
        else:
            console.print(replay_table(found))


@app.command()
def predict(
    scheme: Annotated[str, typer.Option(help="Schemes to predict, with commas.")] = (
        "outpaint,encoder-decoder,block-causal,lmm-encoder-decoder,lmm-frame-wise"
    ),
    gpu: Annotated[str, typer.Option(help="A GPU's name; else this machine.")] = "",
    power_watts: Annotated[
        float | None, typer.Option(help="A laptop GPU's power limit; else its whole range.")
    ] = None,
    is_all: Annotated[
        bool, typer.Option("--all", help="This machine and every GPU in the table.")
    ] = False,
    model: Model = "sao-small",
    context_frames: ContextFrames = 192,
    block_frames: BlockFrames = 48,
    steps: Steps = 8,
    guidance: Guidance = 1.0,
    lmm_model: LmmModel = "",
    dtype: Annotated[
        str, typer.Option(help="auto, fp32, bf16 or fp16; auto: what each machine is best at.")
    ] = "auto",
    graph: Annotated[
        bool, typer.Option("--graph", help="As captured graphs, not launched one by one.")
    ] = False,
    records: Annotated[
        Path, typer.Option(help="Folder of your own runs, to be believed before all else.")
    ] = Path("runs"),
    out: Annotated[
        Path | None, typer.Option(help="Folder for the map of verdicts as a figure.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What to expect of machines that were not measured: intervals, and how they are known."""
    console = Console(stderr=as_json, highlight=False)
    with one_sentence():
        from lmdm_bench import predict_request, session
        from lmdm_bench.machine import describe_machine
        from lmdm_bench.predict_terminal import predict_table
        from lmdm_bench.predict_words import predict_words
        from lmdm_bench.request import Request

        device_choice, dtype_choice = choose("auto", dtype)
        request = Request(
            schemes=comma_names(scheme),
            model=model,
            context_frames=context_frames,
            block_frames=block_frames,
            steps=steps,
            sampler="pingpong",
            guidance_scale=guidance,
            lmm_models=comma_names(lmm_model),
            lmm_context_frames=None,
            lmm_block_frames=None,
            lmm_levels=None,
            dtype=dtype_choice.value,
            device=device_choice.value,
            attention="range",
            is_graphed=graph,
            checkpoint=None,
            seed=0,
        )
        paths, complaints = predict_request.own_records(records)
        for words in complaints:
            console.print(f"left out: {words}")
        found = predict_request.predict_rows(
            request,
            describe_machine(request.device),
            gpu=gpu or None,
            power_watts=power_watts,
            is_all=is_all,
            dtype=None if dtype == "auto" else dtype_choice.value,
            records=paths,
            measure_ceiling=session.ceiling_for,
        )
        if as_json:
            print_json([dataclasses.asdict(one) for one in found])
        else:
            console.print(predict_table(found))
            console.print(Text(predict_words(found)))
        if out is not None:
            from lmdm_bench.canvas import save_png
            from lmdm_bench.verdict_map_figure import verdict_map

            out.mkdir(parents=True, exist_ok=True)
            save_png(verdict_map(found), out / "verdict_map.png")
            console.print(f"wrote verdict_map.png to {out}")


@app.command()
def run(
    scheme: Annotated[
        str, typer.Option(help="Schemes to compare, with commas.")
    ] = "outpaint,encoder-decoder,block-causal",
    model: Model = "sao-small",
    context_frames: ContextFrames = 192,
    block_frames: BlockFrames = 48,
    steps: Steps = 8,
    sampler: Sampler = "pingpong",
    guidance: Guidance = 1.0,
    lmm_model: LmmModel = "",
    lmm_context_frames: LmmContextFrames = None,
    lmm_block_frames: LmmBlockFrames = None,
    lmm_levels: LmmLevels = None,
    blocks: Annotated[int, typer.Option(help="Measured blocks for each scheme.")] = 9,
    dtype: Dtype = "auto",
    device: Device = "auto",
    attention: Attention = "range",
    graph: Graph = False,
    input_file: InputFile = None,
    checkpoint: Checkpoint = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder for the results; else runs/DATE-TIME.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, noise and order.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Measure streaming schemes back to back on this machine."""
    console = Console(stderr=as_json, highlight=False)
    with one_sentence():
        from lmdm_bench import session, subjects
        from lmdm_bench.out_folder import claimed
        from lmdm_bench.request import Request

        if blocks < 1:
            raise InputError(f"blocks must be at least 1, got {blocks}")
        device_choice, dtype_choice = choose(device, dtype)
        request = Request(
            schemes=comma_names(scheme),
            model=model,
            context_frames=context_frames,
            block_frames=block_frames,
            steps=steps,
            sampler=sampler,
            guidance_scale=guidance,
            lmm_models=comma_names(lmm_model),
            lmm_context_frames=lmm_context_frames,
            lmm_block_frames=lmm_block_frames,
            lmm_levels=lmm_levels,
            dtype=dtype_choice.value,
            device=device_choice.value,
            attention=attention,
            is_graphed=graph,
            checkpoint=checkpoint,
            seed=seed,
        )
        subjects.validate(request)
        asked = session.Asked(
            request=request,
            num_blocks=blocks,
            device=device_choice,
            dtype=dtype_choice,
            input_name=input_file.name if input_file else "built-in phrase",
            input_samples=samples_of(input_file, request),
            command=command_line(sys.argv[1:]),
        )
        folder = results_folder(out)
        with claimed(folder):
            record = _measure_and_write(asked, folder, console)
    if as_json:
        from lmdm_bench.record import to_json

        sys.stdout.write(to_json(record))
    if record.settings.is_interrupted:
        raise typer.Exit(INTERRUPTED)
    if any(cell.status != "OK" for cell in record.cells):
        raise typer.Exit(SOME_FAILED)


@app.command()
def claims(
    scheme: Annotated[str, typer.Option(help="Schemes to measure, with commas.")] = (
        "outpaint,encoder-decoder,block-causal,lmm-encoder-decoder,lmm-frame-wise"
    ),
    model: Model = "sao-small",
    lmm_model: LmmModel = "",
    budget_minutes: Annotated[
        float, typer.Option(help="Time for all of it; it picks the workloads.")
    ] = 10.0,
    dtype: Dtype = "auto",
    device: Device = "auto",
    attention: Attention = "range",
    graph: Graph = False,
    out: Annotated[
        Path | None, typer.Option(help="New folder for the results; else runs/claims-DATE-TIME.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Folder of a claims run to go on with.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, noise and order.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Check the paper's claims about cost on this machine: sweeps, fits, and a verdict for each."""
    console = Console(stderr=as_json, highlight=False)
    with one_sentence():
        from lmdm_bench import subjects, sweep_run
        from lmdm_bench.out_folder import CLAIMS_NAME, claimed

        if not 0 < budget_minutes < math.inf:
            raise InputError(f"the budget must be some minutes, got {budget_minutes:g}")
        if out is not None and resume is not None:
            raise InputError("--out names a new folder, --resume one to go on with: give one")
        device_choice, dtype_choice = choose(device, dtype)
        request = sweep_run.paper_request(
            comma_names(scheme),
            model,
            comma_names(lmm_model),
            dtype_choice.value,
            device_choice.value,
            attention,
            seed,
            is_graphed=graph,
        )
        subjects.validate(request)
        asked = sweep_run.ClaimsAsked(
            request=request,
            budget_minutes=budget_minutes,
            device=device_choice,
            dtype=dtype_choice,
            command=command_line(sys.argv[1:]),
        )
        folder = resume or results_folder(out, "claims")
        begun = None
        if resume is not None:
            from lmdm_bench.claims_record import load_claims

            begun = load_claims(resume / CLAIMS_NAME)
        with claimed(folder, is_resumed=resume is not None):
            record = _claim_and_write(asked, folder, begun, console)
    if as_json:
        from lmdm_bench.record import to_json

        sys.stdout.write(to_json(record))
    if record.settings.is_interrupted:
        raise typer.Exit(INTERRUPTED)
    statuses = {point.status for point in record.points} | {one.status for one in record.memory}
    if statuses - {"OK"}:
        raise typer.Exit(SOME_FAILED)


@app.command()
def kernels(
    plan: Annotated[str, typer.Option(help="Plans to compare on, with commas.")] = (
        "full,encoder-decoder,block-causal,encoder-decoder-step,block-causal-fused-step"
    ),
    window: Annotated[str, typer.Option(help="Windows: context+block in frames.")] = (
        "192+48,768+256,230+10,384+128"
    ),
    model: Annotated[str, typer.Option(help="Whose heads.")] = "sao-small,sao-1.0",
    batch: Annotated[str, typer.Option(help="Batch sizes; guidance makes 2.")] = "1,2",
    backend: Annotated[str, typer.Option(help="Ways to compute the attention.")] = (
        "interval,range,masked,flex,cudnn,flash2,flash4,reference"
    ),
    budget_minutes: Annotated[
        float, typer.Option(help="Time for all of it; it picks rounds and cases.")
    ] = 10.0,
    dtype: Dtype = "auto",
    device: Device = "auto",
    launches: Annotated[
        Path | None, typer.Option(help="Launch table for the kernel; else the shipped one.")
    ] = None,
    tune: Annotated[
        bool, typer.Option("--tune", help="Write a launch table for this GPU instead.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="New folder for the results; else runs/kernels-DATE-TIME.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of inputs and order.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Compare the attention kernels with everything else that computes the same, checked first."""
    console = Console(stderr=as_json, highlight=False)
    with one_sentence():
        from lmdm_bench import attention_backends, attention_cases, kernel_run
        from lmdm_bench.out_folder import claimed

        if not 0 < budget_minutes < math.inf:
            raise InputError(f"the budget must be some minutes, got {budget_minutes:g}")
        if seed < 0:
            raise InputError(f"seed must not be negative, got {seed}")
        kernel_run.check_backends(comma_names(backend))
        batches = comma_numbers("batch", batch)
        table = attention_backends.launch_table(launches)
        device_choice, dtype_choice = choose(device, dtype)
        itemsize = kernel_run.bytes_per_number(dtype_choice.value)
        asked = kernel_run.KernelsAsked(
            cases=attention_cases.cases(
                comma_names(plan), comma_names(window), comma_names(model), batches, itemsize
            ),
            backends=comma_names(backend),
            seed=seed,
            budget_minutes=budget_minutes,
            device=device_choice,
            dtype=dtype_choice,
            launches=table,
            launches_from=(
                Choice("shipped", "no other table was given")
                if launches is None
                else Choice(launches.name, "asked for")
            ),
            command=command_line(sys.argv[1:]),
        )
        folder = results_folder(out, "kernels")
        if tune:
            if as_json:
                raise InputError("--tune writes a launch table and no record: leave --json out")
            with claimed(folder):
                _tune_and_write(asked, folder, console)
            return
        with claimed(folder):
            record = _compare_and_write(asked, folder, console)
    if as_json:
        from lmdm_bench.record import to_json

        sys.stdout.write(to_json(record))
    if record.settings.is_interrupted:
        raise typer.Exit(INTERRUPTED)
    if kernel_run.has_failed(record):
        raise typer.Exit(SOME_FAILED)


@app.command()
def report(
    records: Annotated[
        list[Path] | None,
        typer.Argument(help="check.json, record.json, …; for a history a folder of records."),
    ] = None,
    history: Annotated[
        str, typer.Option(metavar="CELL", help="Draw this cell over commits and machines instead.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="Folder for the reports; else beside each record.")
    ] = None,
) -> None:
    """Render records again: the report as Markdown and HTML, and its figures; or a history."""
    console = Console(highlight=False)
    with one_sentence():
        if history:
            _write_history(history, records or [REPORTS_DATA], out, console)
        elif records:
            _render_again(records, out, console)
        else:
            raise InputError("name a record to render, or --history and a cell")


def _write_history(cell: str, folders: list[Path], out: Path | None, console: Console) -> None:
    from lmdm_bench.history_report import write_history

    if len(folders) != 1 or not folders[0].is_dir():
        raise InputError(
            f"a history is of one folder of records, got {', '.join(map(str, folders))}"
        )
    folder = results_folder(out, "history")
    written = write_history(folders[0], cell, folder, console)
    console.print(f"wrote {', '.join(one.name for one in written)} to {folder}")


def _render_again(records: list[Path], out: Path | None, console: Console) -> None:
    from lmdm_bench.any_record import load_any
    from lmdm_bench.any_report import report_of

    loaded = [(path, load_any(path)) for path in records]
    for path, record in loaded:
        folder = _report_folder(path, out, is_alone=len(loaded) == 1)
        folder.mkdir(parents=True, exist_ok=True)
        written = report_of(record).write(record, folder)
        console.print(*report_of(record).shown(record), sep="\n")
        console.print(f"wrote {', '.join(one.name for one in written)} to {folder}")


def _check_and_write(asked: "CheckAsked", folder: Path, console: Console) -> "CheckRecord":
    from lmdm_bench.check_progress import told_on
    from lmdm_bench.check_session import run_check
    from lmdm_bench.interrupts import ignored_interrupts
    from lmdm_bench.out_folder import CHECK_NAME

    warn_if_busy(console)
    console.print(f"{asked.dtype.value} on {asked.device.value}: {asked.dtype.reason}")
    with told_on(console) as watching:
        record = run_check(asked, folder / CHECK_NAME, watching)
    with ignored_interrupts():
        write_and_show(record, folder, console)
        console.print(f"record, report and figures: {folder}")
    return record


def _compare_and_write(asked: "KernelsAsked", folder: Path, console: Console) -> "KernelsRecord":
    from lmdm_bench import session, sweep_run
    from lmdm_bench.kernel_run import KernelRun
    from lmdm_bench.out_folder import KERNELS_NAME

    warn_if_busy(console)
    console.print(f"{asked.dtype.value} on {asked.device.value}: {asked.dtype.reason}")
    console.print("measuring what this machine can do at best")
    dtype, device = asked.dtype.value, asked.device.value
    ceiling = session.ceiling_for(
        sweep_run.paper_request((), "sao-small", (), dtype, device, "range", asked.seed)
    )
    record = KernelRun(asked, ceiling, folder / KERNELS_NAME, console.print).run()
    write_and_show(record, folder, console)
    console.print(f"record, report and figures: {folder}")
    return record


def _tune_and_write(asked: "KernelsAsked", folder: Path, console: Console) -> None:
    from lmdm_bench.kernel_tune import tune
    from lmdm_bench.out_folder import LAUNCHES_NAME

    warn_if_busy(console)
    tune(asked, folder / LAUNCHES_NAME, console.print)
    console.print(f"launch table: {folder / LAUNCHES_NAME}")


def _claim_and_write(
    asked: "ClaimsAsked", folder: Path, begun: "ClaimsRecord | None", console: Console
) -> "ClaimsRecord":
    from lmdm_bench import session, sweep_run
    from lmdm_bench.out_folder import CLAIMS_NAME

    warn_if_busy(console)
    console.print(f"{asked.dtype.value} on {asked.device.value}: {asked.dtype.reason}")
    console.print("measuring what this machine can do at best")
    ceiling = session.ceiling_for(asked.request)
    run = sweep_run.ClaimsRun(asked, ceiling, folder / CLAIMS_NAME, console.print, begun)
    record = run.run()
    write_and_show(record, folder, console)
    console.print(f"record, report and figures: {folder}")
    return record


def _measure_and_write(asked: "Asked", folder: Path, console: Console) -> Record:
    from lmdm_bench import session
    from lmdm_bench.out_folder import RECORD_NAME
    from lmdm_bench.progress import shown_on
    from lmdm_bench.record import save
    from lmdm_bench.render import answer
    from lmdm_bench.subjects import preset_of
    from lmdm_bench.terminal import cost_card

    request = asked.request
    warn_if_busy(console)
    models = ", ".join(dict.fromkeys(preset_of(request, one) for one in request.schemes))
    console.print(f"{models} in {asked.dtype.value} on {asked.device.value}: {asked.dtype.reason}")
    console.print("measuring what this machine can do at best")
    ceiling = session.ceiling_for(request)
    console.print(cost_card(session.predict(request, ceiling), ceiling))
    with shown_on(console, len(request.schemes), asked.num_blocks) as progress:
        record, generated = session.measure(asked, ceiling, progress)
    record = session.with_audio(record, asked.input_samples, generated, folder)
    save(record, folder / RECORD_NAME)
    write_and_show(record, folder, console)
    console.print(Text(answer(record)))
    console.print(f"record, report, figures and audio: {folder}")
    return record


def _report_folder(path: Path, out: Path | None, is_alone: bool) -> Path:
    if out is None:
        return path.parent
    # Every run calls its record record.json: several are told apart by their folders.
    is_common = path.stem in ("record", "claims", "kernels", "check", "compare")
    return out if is_alone else out / (path.parent.name if is_common else path.stem)
