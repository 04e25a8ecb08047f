import dataclasses
import subprocess
import sys

import matplotlib
import pytest
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

import records
from lmdm_bench import figures
from lmdm_bench import format as shown
from lmdm_bench.canvas import to_png, to_svg
from lmdm_bench.record import Record


def words(figure: Figure) -> str:
    found = [one.get_text() for one in figure.findobj(Text)]
    return "\n".join(found).replace(shown.NBSP, " ")


def with_machine(record: Record, name: str) -> Record:
    return dataclasses.replace(record, machine=dataclasses.replace(record.machine, name=name))


def sweep() -> Record:
    cells = tuple(records.cell("block-causal", steps=steps) for steps in (1, 2, 4, 8))
    return dataclasses.replace(records.all_ok(), cells=cells)


@pytest.mark.parametrize("name", records.EXAMPLES)
@pytest.mark.parametrize("draw", figures.FIGURES.values(), ids=figures.FIGURES)
def test_every_figure_names_its_machine_its_n_and_its_units(draw, name):
    record = records.EXAMPLES[name]()
    figure = draw(record)
    assert to_png(figure).startswith(b"\x89PNG")
    text = words(figure)
    assert record.machine.name in text and "n = " in text and "back to back" in text
    assert "ms" in text


@pytest.mark.parametrize("draw", figures.FIGURES.values(), ids=figures.FIGURES)
def test_the_same_record_gives_the_same_bytes(draw):
    once, again = draw(records.one_oom()), draw(records.one_oom())
    assert to_png(once) == to_png(again)
    svg = to_svg(once)
    assert svg == to_svg(again)
    assert "<dc:date>" not in svg and "Matplotlib v" not in svg


@pytest.mark.parametrize("draw", figures.FIGURES.values(), ids=figures.FIGURES)
def test_the_users_own_settings_change_nothing_and_are_kept(draw):
    expected = to_png(draw(records.all_ok()))
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": "x"}):
        assert to_png(draw(records.all_ok())) == expected
        assert matplotlib.rcParams["font.size"] == 30


@pytest.mark.parametrize("draw", figures.FIGURES.values(), ids=figures.FIGURES)
def test_one_cell_or_many_or_none_that_is_ok_can_be_drawn(draw):
    record = records.all_ok()
    alone = dataclasses.replace(record, cells=record.cells[:1])
    failed = tuple(records.fail(one, "FAILED", "a\nlong reason " * 30) for one in record.cells)
    for one in (alone, sweep(), dataclasses.replace(record, cells=failed)):
        assert to_png(draw(one))


@pytest.mark.parametrize("draw", figures.FIGURES.values(), ids=figures.FIGURES)
def test_names_that_the_font_or_the_mathematics_would_trip_over_are_drawn(draw):
    record = with_machine(records.all_ok(), "机器 $x_1 \\frac{ & <b>\n")
    assert to_png(draw(record))


@pytest.mark.parametrize("name", ["all_ok", "five_schemes"])
def test_a_waterfall_bar_is_as_high_as_its_service_time(name):
    record = records.EXAMPLES[name]()
    figure = figures.waterfall(record)
    for axes, cell in zip(figure.axes, record.cells, strict=True):
        corners = [
            path.get_extents()
            for bars in axes.collections
            if isinstance(bars, PolyCollection)
            for path in bars.get_paths()
        ]
        for at, block in enumerate(cell.blocks):
            heights = [box.height for box in corners if round((box.x0 + box.x1) / 2) == at]
            assert sum(heights) == pytest.approx(block.service_ms)
            is_lmm = cell.workload.steps is None
            steps = 2 if is_lmm else len([one for one in block.steps_ms if one])
            codec = 0 if block.codec_decode_ms is None else 1
            assert len(heights) == steps + bool(block.context_encode_ms) + codec + 1


def test_a_waterfall_has_each_cells_own_deadline_at_one_height():
    record = records.five_schemes()
    heights = set()
    for axes, cell in zip(figures.waterfall(record).axes, record.cells, strict=True):
        deadline, _ = axes.lines  # the other one is in the legend
        assert list(deadline.get_ydata()) == [cell.workload.block_seconds * 1000] * 2
        heights.add(round(deadline.get_ydata()[0] / axes.get_ylim()[1], 9))
    assert len(heights) == 1


def test_a_waterfall_of_tokens_counts_frames_and_shows_no_codec():
    *_, axes = figures.waterfall(records.five_schemes()).axes
    text = "\n".join(one.get_text() for one in axes.texts)
    assert "later frames 49" in text and "step" not in text and "codec" not in text


def test_warm_up_bars_are_hatched_and_the_others_are_not():
    figure = figures.waterfall(records.all_ok())
    for bars in figure.axes[0].collections:
        assert isinstance(bars, PolyCollection)
        middles = {round(path.get_extents().x0 + 0.5) for path in bars.get_paths()}
        assert bool(bars.get_hatch()) == (middles <= {0, 1})


def test_a_cell_that_failed_is_an_empty_place_with_its_status():
    record = records.one_oom()
    failed, *others = figures.waterfall(record).axes
    assert not failed.collections and not failed.lines
    assert "OOM" in [one.get_text() for one in failed.texts]
    assert all(one.collections for one in others)


def test_an_incorrect_cell_shows_no_time_although_it_has_blocks():
    cells = tuple(records.fail(one, "INCORRECT", "the oracle") for one in records.all_ok().cells)
    record = dataclasses.replace(records.all_ok(), cells=cells)
    assert not any(axes.collections for axes in figures.waterfall(record).axes)
    assert not any(axes.collections for axes in figures.service_time(record).axes)
    assert "INCORRECT" in words(figures.measured_against_arithmetic(record))


@pytest.mark.parametrize("name", ["all_ok", "five_schemes"])
def test_every_measured_block_is_a_dot_by_its_length_and_no_warm_up_is(name):
    record = records.EXAMPLES[name]()
    whole, model = figures.service_time(record).axes
    with_codec = [one for one in record.cells if one.summary.rtf.value is not None]
    for axes, cells, codec in ((whole, with_codec, 0), (model, record.cells, 1)):
        dots = [one.get_offsets() for one in axes.collections if isinstance(one, PathCollection)]
        for found, cell in zip(dots, cells, strict=True):
            expected = [
                (one.service_ms - codec * (one.codec_decode_ms or 0))
                / (1000 * cell.workload.block_seconds)
                for one in cell.blocks
                if not one.is_warmup
            ]
            assert [float(at) for at, _ in found] == pytest.approx(expected)


def test_the_deadline_is_drawn_near_by_and_told_in_words_when_far_off():
    near, far = (
        words(figures.service_time(records.all_ok())),
        words(figures.service_time(records.cuda())),
    )
    assert "deadline" in near and "far to the right" not in near
    assert "deadline 1, far to the right" in far
    assert figures.service_time(records.cuda()).axes[0].get_xlim()[1] < 0.1
    assert "deadline 2 229 ms, far above" in words(figures.waterfall(records.cuda()))


def test_a_cell_without_a_codec_says_so_where_the_codec_would_be():
    whole, model = figures.service_time(records.five_schemes()).axes
    for axes, count in ((whole, 2), (model, 0)):
        told = [one.get_text() for one in axes.texts]
        assert sum("no codec in the suite" in one for one in told) == count
    text = words(figures.measured_against_arithmetic(records.five_schemes()))
    assert text.count("no codec in the suite for this model") == 2


def test_arithmetic_shows_the_ratio_to_the_bound_and_both_relative_costs():
    text = words(figures.measured_against_arithmetic(records.all_ok()))
    for cell in records.all_ok().cells:
        assert shown.ratio(shown.over(shown.model_ms(cell).value, cell.cost.bound_ms)) in text
    assert "0.30 by FLOPs, 0.40 measured" in text


def test_arithmetic_compares_blocks_of_different_length_by_the_second():
    record = records.five_schemes()
    figure = figures.measured_against_arithmetic(record)
    text = words(figure)
    outpaint, lmm = record.cells[0], record.cells[3]
    ends = [box.get_width() for box in figure.axes[0].patches]
    for cell in (outpaint, lmm):
        seconds = cell.workload.block_seconds
        for of_block in (cell.cost.bound_ms, shown.model_ms(cell).value):
            assert any(end == pytest.approx(of_block / seconds) for end in ends)
    flops = [one.cost.flops_per_block / one.workload.block_seconds for one in (lmm, outpaint)]
    measured = [one.summary.rtf_model.value for one in (lmm, outpaint)]
    expected = f"{flops[0] / flops[1]:.2f} by FLOPs, {measured[0] / measured[1]:.2f} measured"
    assert expected in text


def test_without_outpaints_time_there_is_no_measured_relative_cost():
    text = words(figures.measured_against_arithmetic(records.one_oom()))
    assert "0.30 by FLOPs (outpaint: OOM" in text and "0.40 measured" not in text


def test_thousands_of_blocks_are_drawn_in_a_few_shapes():
    cell = records.cell("block-causal", num_blocks=2000)
    record = dataclasses.replace(records.all_ok(), cells=(cell,))
    assert len(figures.waterfall(record).axes[0].collections) < 12


def test_drawing_needs_neither_pyplot_nor_a_display():
    code = "import sys, lmdm_bench.figures; assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
