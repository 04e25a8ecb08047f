"""The options that several commands share, each written once."""

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[str, typer.Option(help="sao-small, sao-1.0 or tiny.")]
ContextFrames = Annotated[int, typer.Option(help="Clean frames heard.")]
BlockFrames = Annotated[int, typer.Option(help="Frames made at a time.")]
Steps = Annotated[int, typer.Option(help="Denoising steps for each block.")]
Sampler = Annotated[str, typer.Option(help="pingpong, euler or pingpong++.")]
Guidance = Annotated[float, typer.Option(help="Guidance scale; 1 is none.")]
LmmModel = Annotated[str, typer.Option(help="Of the LMM schemes; else mrt1-large, mrt2-small.")]
LmmContextFrames = Annotated[int | None, typer.Option(help="An LMM's context; else its preset's.")]
LmmBlockFrames = Annotated[
    int | None, typer.Option(help="Token frames made at a time; else the preset's.")
]
LmmLevels = Annotated[int | None, typer.Option(help="RVQ tokens of a frame; else the preset's.")]
Dtype = Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Attention = Annotated[str, typer.Option(help="range, dense or triton.")]
Graph = Annotated[bool, typer.Option("--graph", help="Replay passes as captured CUDA graphs.")]
InputFile = Annotated[
    Path | None, typer.Option("--input", help="Audio to continue; else a built-in phrase.")
]
Checkpoint = Annotated[
    Path | None, typer.Option(help="stable-audio-tools weights; else random ones.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the record; all else goes to stderr.")]
