"""An example of a record of our full pass beside the peer's."""

import records
from lmdm_bench.peer import PEER_SCHEMA_VERSION, PeerCell, PeerRecord


def record() -> PeerRecord:
    """Two cells of nine pairs in which ours takes 0.7 of the peer's time, more or less."""
    theirs = tuple(800.0 + 10 * index for index in range(9))
    ours = tuple(0.7 * time + (index % 3) for index, time in enumerate(theirs))
    cells = (
        PeerCell("sao-small", 240, "float32", "packed", 3e-7, theirs, ours),
        PeerCell("sao-small", 48, "bfloat16", "packed", 9e-3, ours, theirs),
    )
    example = records.all_ok()
    return PeerRecord(
        PEER_SCHEMA_VERSION,
        example.created,
        "a command",
        "stable-audio-tools 0.0.19",
        example.tool,
        example.machine,
        cells,
    )
