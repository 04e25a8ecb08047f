"""A stream that does no work: what is late of its blocks, the harness made late."""

from lmdm_bench.block_clock import Samples
from lmdm_bench.clock import Stopwatch
from lmdm_bench.generator import Made
from lmdm_bench.record import Check, Workload

# Four hundred blocks are enough for a 99th percentile with an interval.
NUM_BLOCKS = 400
PERIOD_MS = 10.0
PREBUFFER_BLOCKS = 2


class NoWork:
    """Blocks that are ready as soon as they are begun."""

    workload = Workload(
        scheme="no work",
        model="none",
        context_frames=0,
        block_frames=1,
        visible_blocks=None,
        num_levels=None,
        steps=1,
        sampler="none",
        guidance_scale=1.0,
        batch=1,
        dtype="none",
        attention="none",
        is_graphed=False,
        sample_rate_hz=48000,
        samples_per_frame=480,
        block_seconds=PERIOD_MS / 1000.0,
    )

    def check(self) -> Check:
        return Check("nothing", 0, 0, 0.0, 0.0, 0.0, is_within_budget=True)

    def prefill(self) -> None:
        """Nothing is heard."""

    def make_block(self, watch: Stopwatch) -> Samples | None:
        with watch.stage("step"):
            return None

    def change_prompt(self, number: int) -> None:
        """There is none."""

    def hear_input(self) -> None:
        """It does not listen."""


def make_no_work() -> Made:
    """For ``GeneratorAsked.make``."""
    return Made(NoWork(), None, None)
