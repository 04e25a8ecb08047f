import dataclasses

import pytest
from rich.console import Console

import kernels_records
from lmdm_bench.kernel_verdicts import goals
from lmdm_bench.kernels_record import KernelsRecord
from lmdm_bench.kernels_terminal import kernels_answer, kernels_table

COLUMNS = 80


def printed(record: KernelsRecord) -> str:
    console = Console(width=COLUMNS, force_terminal=False, highlight=False)
    with console.capture() as capture:
        console.print(kernels_table(record))
    return capture.get()


def one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("name", kernels_records.EXAMPLES)
def test_backends_standings_and_goals_are_there_in_80_columns(name):
    record = kernels_records.EXAMPLES[name]()
    text = printed(record)
    assert max(map(len, text.splitlines())) <= COLUMNS
    for backend in kernels_records.BACKENDS:
        assert any(line.startswith(backend) for line in text.splitlines())
    for one in goals(record):
        assert one.state in text
    for plan in ("full", "encoder-decoder-step", "block-causal-fused-step"):
        assert plan in text


def test_the_best_is_beside_the_others_and_its_cells_are_counted():
    text = printed(kernels_records.on_cuda())
    (interval,) = (line for line in text.splitlines() if line.startswith("interval  "))
    assert "1.00×" in interval
    assert "UNSUPPORTED (80): flash-attn 4 is not installed" in " ".join(text.split())
    warm = next(line for line in text.splitlines() if line.startswith("  alone, warm"))
    assert warm.split()[3:7] == ["16", "0", "0", "0"]


def test_the_gravest_reason_is_the_one_that_is_shown():
    text = one_line(printed(kernels_records.short()))
    assert "INCORRECT (1): error 0.1 against float64" in text
    assert "OOM (1): RuntimeError: can't allocate" in text
    assert "LEFT OUT: 7 of 10 cases, the time was too short" in text
    assert "not compared" in text


def test_the_answer_is_one_sentence():
    assert kernels_answer(kernels_records.on_cuda()) == (
        "interval is at least as fast as the best of the others in 231 of 240 cells, slower in 0, "
        "and in 9 this run cannot tell, on NVIDIA H200, AMD EPYC, 16 cores, 128 GiB, Linux "
        "(bfloat16 on cuda:0, 80 of 80 cases, n = 12 rounds)."
    )
    assert kernels_answer(kernels_records.nothing()) == (
        "range could not be compared with anything on AMD EPYC, 2 cores, 7 GiB, Linux (bfloat16 on "
        "cpu, 0 of 5 cases, n = 0 rounds, interrupted before its end)."
    )


def test_nothing_from_outside_is_markup_or_breaks_the_table():
    record = kernels_records.on_cpu()
    cells = tuple(
        dataclasses.replace(
            cell,
            rows=tuple(
                row if row.reason is None else dataclasses.replace(row, reason="[red]x[/red]\n" * 9)
                for row in cell.rows
            ),
        )
        for cell in record.kernel_cells
    )
    text = printed(dataclasses.replace(record, kernel_cells=cells))
    assert "[red]x[/red]" in text
    assert max(map(len, text.splitlines())) <= COLUMNS
