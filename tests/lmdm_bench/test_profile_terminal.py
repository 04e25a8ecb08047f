"""A profile fits a terminal of 80 columns and ends with its closing text."""

import pytest
from rich.console import Console

import operator_traces as traces
from lmdm_bench import format as shown
from lmdm_bench.operator_profile import reduce_trace
from lmdm_bench.operator_record import TorchProfile
from lmdm_bench.operator_words import STAGE_HEADS, closing_of
from lmdm_bench.profile_terminal import profile_table

COLUMNS = 80
EXAMPLES = (
    traces.torch_profile(),
    traces.torch_profile(traces.cuda_profile()),
    traces.torch_profile(scheme="lmm-encoder-decoder"),
)


def printed(record: TorchProfile) -> str:
    console = Console(width=COLUMNS, force_terminal=False, highlight=False)
    with console.capture() as capture:
        console.print(profile_table(record))
    return capture.get()


def one_line(text: str) -> str:
    return " ".join(text.replace(shown.NBSP, " ").split())


@pytest.mark.parametrize("record", EXAMPLES)
def test_it_fits_and_ends_with_the_closing_text(record: TorchProfile) -> None:
    text = printed(record)
    assert max(map(len, text.splitlines())) <= COLUMNS
    assert one_line(text).endswith(one_line(closing_of(record)))
    for head in STAGE_HEADS:
        assert head in text


def test_each_stage_has_its_operators() -> None:
    text = printed(traces.torch_profile())
    assert text.index("aten::mm") < text.index("aten::sin")
    for name in ("first step", "codec decode", "host"):
        assert text.count(name) >= 2


def test_a_long_kernel_name_is_cut_and_not_the_figures() -> None:
    name = "void at::native::vectorized_elementwise_kernel<" + "4, " * 60
    events = [traces.stage("block", 0, 1000), traces.kernel(1, 0, 512, name)]
    record = traces.torch_profile(reduce_trace(traces.trace(*events), traces.CEILING))
    text = printed(record)
    assert max(map(len, text.splitlines())) <= COLUMNS
    (line,) = [one for one in text.splitlines() if "vectorized" in one]
    assert "…" in line and "0.512" in line
