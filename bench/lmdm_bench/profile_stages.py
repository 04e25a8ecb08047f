"""How a profiled block's ranges are called to a reader: many steps are two stages. No torch."""

from lmdm_bench.format import STAGES, is_lmm
from lmdm_bench.record import Workload

STEP = "step"


def told_stage(name: str, workload: Workload) -> str:
    """``first step`` of "step 0", ``later steps`` of "step 1" and on (frames, where it makes
    tokens), ``codec decode`` of "codec_decode"."""
    stage, _, number = name.partition(" ")
    if stage != STEP or not number.isdigit():
        return STAGES.get(name, name)
    word = "frame" if is_lmm(workload) else STEP
    return f"first {word}" if int(number) == 0 else f"later {word}s"
