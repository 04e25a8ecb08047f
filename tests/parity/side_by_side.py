"""Times stable-audio-tools' full pass and ours in one interleaved run, and writes the record.

    tox exec -e parity -- python -m parity.side_by_side reports/peer

Both compute the same: the prompt's projections, then one bidirectional pass over all frames and the
token at Stable Audio Open Small's size, on the same random weights. Pairs run in seeded random
order. The equality is checked first; nothing is timed that is not equal within a dtype's rounding.
"""

import datetime
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from lmdm_bench.machine import describe_machine, machine_slug
from lmdm_bench.peer import PEER_SCHEMA_VERSION, PeerCell, PeerRecord, ratio
from lmdm_bench.record import to_json, write_whole
from lmdm_bench.tool import describe_tool
from lmdm_ref.checkpoint import decoder_state
from lmdm_ref.decoder import DiffusionDecoder, decoder_from_state
from lmdm_ref.linear import pack_linears
from lmdm_ref.presets import SAO_SMALL
from parity import peer
from parity.parity_pass import bidirectional_pass, inputs

PEER = "stable-audio-tools 0.0.19"
FRAMES = (240, 48)
DTYPES = {"float32": 1e-5, "bfloat16": 5e-2}
NUM_PAIRS = 15
NUM_WARMUP = 3
MS = 1e3


def main(folder: Path) -> None:
    theirs = peer.randomise(peer.diffusion_transformer(SAO_SMALL), seed=1)
    state = decoder_state(theirs.state_dict(), SAO_SMALL)
    machine = describe_machine()
    cells = []
    for name, tolerance in DTYPES.items():
        dtype: torch.dtype = getattr(torch, name)
        theirs = theirs.to(dtype)
        ours = decoder_from_state(SAO_SMALL, state, dtype)
        pack_linears(ours)
        cells += [measured(theirs, ours, frames, name, tolerance) for frames in FRAMES]
    now = datetime.datetime.now(datetime.UTC)
    record = PeerRecord(
        PEER_SCHEMA_VERSION,
        now.isoformat(timespec="seconds"),
        "tox exec -e parity -- python -m parity.side_by_side reports/peer",
        PEER,
        describe_tool(),
        machine,
        tuple(cells),
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"sao-small_{machine_slug(machine)}_{now:%Y%m%d}.json"
    write_whole(path, to_json(record).encode())
    sys.stdout.write(f"{path}\n")


@torch.inference_mode()
def measured(
    theirs: nn.Module, ours: DiffusionDecoder, frames: int, dtype: str, tolerance: float
) -> PeerCell:
    noisy, sigma, prompt = inputs(SAO_SMALL, frames)
    time_of_peer = torch.tensor([sigma])
    channels_first = noisy.mT.contiguous()

    def run_theirs() -> Tensor:
        out: Tensor = theirs(
            channels_first,
            time_of_peer,
            cross_attn_cond=prompt.text,
            global_embed=prompt.seconds,
            use_checkpointing=False,
        )
        return out

    def run_ours() -> Tensor:
        return bidirectional_pass(ours, noisy, sigma, prompt)

    expected = run_theirs().mT.float()
    error = float((run_ours().float() - expected).abs().max() / expected.abs().max())
    if not error <= tolerance:
        raise SystemExit(f"{frames} frames in {dtype}: relative error {error:.2g}; not timed")
    for _ in range(NUM_WARMUP):
        run_theirs()
        run_ours()
    order = random.Random(0)
    times: dict[Callable[[], Tensor], list[float]] = {run_theirs: [], run_ours: []}
    for _ in range(NUM_PAIRS):
        for run in order.sample([run_theirs, run_ours], 2):
            start = time.perf_counter()
            run()
            times[run].append((time.perf_counter() - start) * MS)
    cell = PeerCell(
        "sao-small",
        frames,
        dtype,
        "packed",
        error,
        tuple(times[run_theirs]),
        tuple(times[run_ours]),
    )
    sys.stdout.write(f"{frames} frames, {dtype}: ours / theirs {ratio(cell).value}\n")
    return cell


if __name__ == "__main__":
    main(Path(sys.argv[1]))
