"""The command ``lmdm-bench profile``: where a block's time or memory goes; no timing."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType

from lmdm_bench.cli_options import (
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
from lmdm_bench.cli_shared import (
    choose,
    comma_names,
    command_line,
    one_sentence,
    results_folder,
    samples_of,
    warn_if_busy,
)
from lmdm_bench.errors import InputError

TOOLS = ("pyinstrument", "torch", "memory")
MOST_BLOCKS = 1000


def profile(
    scheme: Annotated[str, typer.Argument(metavar="SCHEME")],
    tool: Annotated[
        str, typer.Option(help="pyinstrument: host time; torch: operators; memory: allocations.")
    ] = "torch",
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
    blocks: Annotated[int, typer.Option(help="Blocks under the profiler.")] = 3,
    dtype: Dtype = "auto",
    device: Device = "auto",
    attention: Attention = "range",
    graph: Graph = False,
    input_file: InputFile = None,
    checkpoint: Checkpoint = None,
    out: Annotated[
        Path | None, typer.Option(help="New folder for the results; else runs/profile-DATE-TIME.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights and noise.")] = 0,
) -> None:
    """Where does a block's time go, and what could be saved? A run of its own, not a timing."""
    console = Console(highlight=False)
    with one_sentence():
        if tool not in TOOLS:
            raise InputError(f"unknown tool {tool!r}; there are {', '.join(TOOLS)}")
        if not 1 <= blocks <= MOST_BLOCKS:
            raise InputError(f"blocks must be 1 to {MOST_BLOCKS}, got {blocks}")
        from lmdm_bench import subjects
        from lmdm_bench.out_folder import claimed
        from lmdm_bench.profiled_stream import ProfileAsked
        from lmdm_bench.request import Request

        device_choice, dtype_choice = choose(device, dtype)
        request = Request(
            schemes=(scheme,),
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
        asked = ProfileAsked(
            request=request,
            scheme=scheme,
            num_blocks=blocks,
            device=device_choice,
            dtype=dtype_choice,
            input_samples=samples_of(input_file, request) if input_file else None,
            command=command_line(sys.argv[1:]),
        )
        warn_if_busy(console)
        run, shown = _tool(tool)
        folder = results_folder(out, "profile")
        with claimed(folder):
            found = run(asked, folder, console.print)
        console.print(shown(found))
        console.print(f"{', '.join(sorted(one.name for one in folder.iterdir()))}: {folder}")


def _tool(name: str) -> tuple[Callable[..., Any], Callable[[Any], RenderableType]]:
    """What profiles, and what shows the result on a console."""
    if name == "torch":
        from lmdm_bench.profile_run import run_profile_torch
        from lmdm_bench.profile_terminal import profile_table

        return run_profile_torch, profile_table
    if name == "memory":
        from lmdm_bench.memory_profile import run_profile_memory
        from lmdm_bench.memory_profile_words import memory_table

        return run_profile_memory, memory_table
    from lmdm_bench.host_profile import run_profile_host
    from lmdm_bench.host_profile_words import host_table

    return run_profile_host, host_table
