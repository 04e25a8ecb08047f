import dataclasses
import io
import re

import pytest
from rich.console import Console, RenderableType

import records
from lmdm_bench import format as shown
from lmdm_bench import terminal
from lmdm_bench.record import Record

ABILITIES = [
    ("CPU, bfloat16", True, "AVX512-BF16"),
    ("Triton kernels", False, "Triton is not installed; the extra 'kernels' brings it " * 3),
]
MARKUP = "[bold red]not markup[/] and [/nonsense]"


def printed(one: RenderableType, width: int = terminal.COLUMNS, is_colour: bool = False) -> str:
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=is_colour, legacy_windows=False).print(one)
    return file.getvalue().replace(shown.NBSP, " ")


def costs(record: Record):
    return [(one.workload, one.cost) for one in record.cells]


def everything(record: Record) -> dict[str, RenderableType]:
    return {
        "cost card": terminal.cost_card(costs(record), record.ceiling),
        "results": terminal.results_table(record),
        "stages": terminal.stages_table(record),
        "doctor": terminal.doctor_table(record.machine, ABILITIES),
    }


def sweep() -> Record:
    cells = tuple(
        records.cell(scheme, steps=steps) for scheme in records.SCHEMES for steps in (2, 4)
    )
    return dataclasses.replace(records.all_ok(), cells=cells)


@pytest.mark.parametrize("name", records.EXAMPLES)
def test_nothing_is_wider_than_80_columns_or_cut_off(name):
    for what, one in everything(records.EXAMPLES[name]()).items():
        text = printed(one)
        wide = printed(one, width=300)
        assert max(map(len, text.splitlines())) <= 80, what
        assert "…" not in text, what
        # Words may move to another line; none may be lost.
        assert sorted(text.split()) == sorted(wide.split()), what


def test_colour_says_nothing_that_the_words_do_not():
    for one in everything(records.one_oom()).values():
        bare = printed(one)
        assert "\x1b" not in bare
        assert re.sub(r"\x1b\[[0-9;]*m", "", printed(one, is_colour=True)) == bare


def test_the_results_give_each_cell_its_figures_unbroken():
    text = printed(terminal.results_table(records.all_ok()))
    for cell in records.all_ok().cells:
        assert cell.summary is not None
        for figure in (
            *shown.value_and_interval(cell.summary.service_ms.p50),
            *shown.rtf_and_interval(cell.summary.rtf),
            *shown.rtf_and_interval(cell.summary.rtf_model),
            shown.gibibytes(cell.cost.footprint.peak_bytes),
            shown.model(cell.workload, cell.cost),
            shown.ratio(shown.over(shown.model_ms(cell).value, cell.cost.bound_ms)),
        ):
            assert figure.replace(shown.NBSP, " ") in text
    assert text.count("n/a (needs 72)") == 3 and text.count("n/a (needs 368)") == 3
    assert "2 229 ms" in text


def test_a_cell_that_failed_has_its_status_and_reason_and_no_figure():
    text = printed(terminal.results_table(records.one_oom()))
    row, rest = text.split("encoder-decoder", 1)
    first = row[row.index("outpaint") :]
    assert "OOM" in first and not re.search(r"\d", first.replace("340.9 M", ""))
    assert "outpaint is OOM: outpaint needs 14.1 GiB" in rest


def test_an_interrupted_run_is_told_cell_by_cell():
    text = " ".join(printed(terminal.results_table(records.interrupted())).split())
    assert "stopped by the user after 3 of 9 blocks" in text
    assert "stopped by the user before the first block" in text


def test_one_block_has_no_interval_and_no_median():
    text = printed(terminal.results_table(records.one_block()))
    assert text.count("[n/a]") == 6 and "(needs 6 blocks)" in text


def test_the_cost_card_says_what_is_known_before_measuring():
    text = printed(terminal.cost_card(costs(records.all_ok()), records.CPU_CEILING))
    for words in ("340.9 M", "192 + 48", "1 928", "1 257 GFLOP", "5.09 GB", "2 417 ms", "FLOPs"):
        assert words in text
    assert "deadline" in text and "520 GFLOP/s, 18.0 GB/s" in text


def test_the_cost_card_has_rows_for_both_kinds():
    record = records.five_schemes()
    diffusion, lmm = printed(terminal.cost_card(costs(record), record.ceiling)).split(
        "arithmetic, per block"
    )[1:]
    for words in ("mrt1-large", "761.6 M", "229.7 M", "250 + 50", "2 000 ms", "1.61 GiB"):
        assert words in lmm and words not in diffusion
    rows = {line[:22].strip(): line[22:].split() for line in lmm.splitlines()}
    assert rows["sequential steps"] == ["851", "650"]
    assert rows["codec takes at least"] == ["none", "none"]
    assert rows["rtf_model at least"] == ["1.30", "0.59"]


def test_without_a_codec_the_results_have_no_rtf_and_say_why_once():
    text = printed(terminal.results_table(records.five_schemes()))
    assert text.count("n/a ") - text.count("n/a (") == 2
    assert text.count("No rtf of lmm-encoder-decoder (mrt1-large), lmm-frame-wise") == 1
    words = " ".join(text.split())
    assert "no codec in the suite for this model" in words
    assert "as blocks differ in length, compare by it" in words
    assert "differ" not in printed(terminal.results_table(records.all_ok()))


def test_a_long_name_is_broken_at_its_hyphens_and_not_inside_a_word():
    record = records.five_schemes()
    for one in (terminal.cost_card(costs(record), record.ceiling), terminal.stages_table(record)):
        text = printed(one)
        assert "lmm-encoder-" in text.split() and "lmm-frame-wise" in text.split()
    assert "lmm-encoder-decoder" in printed(terminal.results_table(record)).split()


def test_without_a_ceiling_the_cost_card_has_no_time_at_all():
    text = printed(terminal.cost_card(costs(records.all_ok()), None))
    bounds = [line for line in text.splitlines() if "at least" in line or "bound by" in line]
    assert len(bounds) == 4 and all(line.split()[-3:] == ["n/a"] * 3 for line in bounds)
    assert "was not measured" in text


def test_more_cells_than_fit_stand_in_further_tables():
    record = sweep()
    for one in (terminal.cost_card(costs(record), record.ceiling), terminal.stages_table(record)):
        text = printed(one)
        assert max(map(len, text.splitlines())) <= 80
        assert text.count("codec") == 2
    assert len(re.findall(r"steps\s+[24]\b", printed(terminal.results_table(record)))) == 6


def test_stages_have_their_medians_and_shares():
    text = printed(terminal.stages_table(records.all_ok()))
    (codec,) = [line for line in text.splitlines() if line.startswith("codec decode")]
    assert re.findall(r"\d+ %", codec) == ["28 %", "49 %", "54 %"]
    (commit,) = [line for line in text.splitlines() if line.startswith("commit")]
    assert commit.split() == ["commit", "-", "-", "-"]


def test_doctor_gives_the_reason_for_whatever_cannot_be_measured():
    text = " ".join(printed(terminal.doctor_table(records.all_ok().machine, ABILITIES)).split())
    assert "CPU, bfloat16 yes AVX512-BF16" in text
    assert "Triton kernels no Triton is not installed" in text
    assert "n/a (this machine reports no power supply)" in text


def test_square_brackets_from_outside_are_text_and_not_markup():
    record = records.all_ok()
    failed = records.fail(record.cells[0], "FAILED", MARKUP)
    machine = dataclasses.replace(record.machine, name=MARKUP)
    result = printed(terminal.results_table(dataclasses.replace(record, cells=(failed,))))
    doctor = printed(terminal.doctor_table(machine, [("one", False, MARKUP)]), width=200)
    assert MARKUP in " ".join(result.split()) and doctor.count(MARKUP) == 2
