import dataclasses
import re

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

import check_records
from claims_drawn import plain, words
from lmdm_bench import format as shown
from lmdm_bench.canvas import INK
from lmdm_bench.check_panels import CAUSE_MARKS, MOST_MARKS, lateness_ms
from lmdm_bench.check_record import Canary, CheckRecord, Incident, Telemetry
from lmdm_bench.service_time_figure import service_time

MINUTE_MS = 60_000


def with_cell(record: CheckRecord, **changes) -> CheckRecord:
    """The record of one cell with these fields of it changed."""
    (cell,) = record.check_cells
    return dataclasses.replace(record, check_cells=(dataclasses.replace(cell, **changes),))


def with_columns(record: CheckRecord, **columns) -> CheckRecord:
    (cell,) = record.check_cells
    num = len(cell.telemetry.times_ms)
    told = {name: tuple(np.broadcast_to(one, num)) for name, one in columns.items()}
    return with_cell(record, telemetry=dataclasses.replace(cell.telemetry, columns=told))


def dots(axes: Axes, marker: str) -> tuple[np.ndarray, np.ndarray]:
    (line,) = (one for one in axes.lines if one.get_marker() == marker)
    return np.asarray(line.get_xdata()), np.asarray(line.get_ydata())


def test_every_block_is_a_dot_or_a_cross_and_the_dashed_line_is_its_length():
    record = check_records.with_stalls()
    (cell,) = record.check_cells
    times, _, _ = service_time(record).axes
    across, up = (
        np.concatenate(pair) for pair in zip(dots(times, "o"), dots(times, "X"), strict=True)
    )
    expected = sorted((one.ready_ms / MINUTE_MS, one.block.service_ms) for one in cell.blocks)
    assert np.allclose(sorted(zip(across, up, strict=True)), expected)
    late = [one.block.service_ms for one in cell.blocks[2:] if one.lateness_ms > 0]
    assert sorted(dots(times, "X")[1]) == pytest.approx(sorted(late))
    assert [cell.block_ms] * 2 in [list(one.get_ydata()) for one in times.lines]
    text = words(times.figure)
    for told in ("plays for 2 229 ms", "in time: 262", "late: 7", "median of 13 blocks"):
        assert told in text


def test_a_length_that_is_far_off_is_told_in_words():
    record = check_records.record(check_records.cell(check_records.steady(30, 45.0)))
    times = service_time(record).axes[0]
    assert times.get_ylim()[1] < 100
    assert "plays for 2 229 ms (far above)" in words(times.figure)


def test_thinned_dots_are_counted_and_all_extremes_are_among_them():
    times = np.random.default_rng(0).normal(1500, 50, 5000)
    times[[700, 3210]] = 2150.0, 1100.0
    axes = service_time(check_records.record(check_records.cell(list(times)))).axes[0]
    drawn = dots(axes, "o")[1]
    assert drawn.size <= MOST_MARKS and {2150.0, 1100.0} <= set(drawn)
    assert f"in time: 5 000 ({shown.count(drawn.size)} drawn)".replace(shown.NBSP, " ") in words(
        axes.figure
    )


def test_what_is_above_the_panel_stands_at_its_edge():
    times = [*check_records.steady(100), 90_000.0]
    axes = service_time(check_records.record(check_records.cell(times))).axes[0]
    top = axes.get_ylim()[1]
    assert top < 20_000 and 0.9 * top < dots(axes, "X")[1].max() < top
    assert "1 beyond, up to 90 000 ms" in words(axes.figure)


def test_causes_are_marked_by_the_first_of_each_block():
    (cell,) = check_records.with_stalls().check_cells
    causes = {60: ("gc",), 61: ("gc", "preempt"), 200: ("unknown",)}
    blocks = tuple(
        dataclasses.replace(one, block=dataclasses.replace(one.block, labels=causes.get(at, ())))
        for at, one in enumerate(cell.blocks)
    )
    record = with_cell(check_records.with_stalls(), blocks=blocks)
    axes = service_time(record).axes[0]
    signs = {
        one.get_marker(): [float(at) for at in one.get_ydata()]
        for one in axes.lines
        if one.get_markerfacecolor() == "none"
    }
    assert signs == {
        CAUSE_MARKS["gc"]: pytest.approx([cell.service_ms[60], cell.service_ms[61]]),
        CAUSE_MARKS["unknown"]: pytest.approx([cell.service_ms[200]]),
    }
    text = words(axes.figure)
    assert "collecting garbage: 2" in text and "cause unknown: 1" in text


def test_incidents_are_lines_through_all_panels():
    incident = Incident(3 * MINUTE_MS, "suspend", "the machine slept for 30 s")
    figure = service_time(with_cell(check_records.likely(), incidents=(incident,)))
    for axes in figure.axes:
        assert [3.0, 3.0] in [list(one.get_xdata()) for one in axes.lines]
    assert "suspend" in words(figure)


def test_what_was_to_spare_is_drawn_for_the_blocks_that_were_due_and_silence_is_dark():
    record = check_records.with_stalls()
    (cell,) = record.check_cells
    slack = service_time(record).axes[1]
    spare = -lateness_ms(cell, record.settings) / 1000
    ends = {}
    for one in slack.collections:
        assert isinstance(one, PolyCollection)
        heights = one.get_paths()[0].vertices[:, 1]
        ends[tuple(one.get_facecolor()[0][:3])] = (heights.min(), heights.max())
    dark = tuple(int(INK[at : at + 2], 16) / 255 for at in (1, 3, 5))
    assert ends.pop(dark) == (pytest.approx(spare.min()), 0)
    for low, high in ends.values():
        assert low == 0 and high == pytest.approx(spare.max())
    assert "latest: by 3.24 s" in words(slack.figure)
    assert "least: 2.81 s" in words(service_time(check_records.likely()))


def test_where_no_block_was_due_it_is_said():
    record = check_records.record(check_records.cell(check_records.steady(2)))
    assert "all of them are in the prebuffer" in words(service_time(record))


def test_clocks_are_parts_of_their_highest_and_the_canary_of_its_first_third():
    num = len(check_records.likely().check_cells[0].telemetry.times_ms)
    clock = np.where(np.arange(num) < num // 2, 2000.0, 1500.0)
    record = with_columns(
        check_records.likely(),
        gpu_sm_clock_mhz=clock,
        gpu_temperature_c=np.linspace(60, 81, num),
        cpu_frequency_mhz=2600.0,
        other_load_share=0.25,
    )
    record = with_cell(record, canary=Canary((0.0, 1.0, 2.0), (2.0, 2.0, 2.5), None))
    clocks = service_time(record).axes[2]
    canary, gpu = dots(clocks, "D")[1], clocks.lines[0].get_ydata()
    assert canary.tolist() == [100, 100, 80]
    assert set(gpu) == {100, 75}
    text = words(clocks.figure)
    for told in (
        "GPU clock, of 2 000 MHz",
        "others' load, 25 % on average",
        "canary's speed, 80 to 100 %",
        "60 to 81 °C",
    ):
        assert told in text
    assert "CPU clock" not in text and "throttled" not in text


def test_a_gpu_that_says_it_is_slowed_is_hatched_and_an_idle_one_is_not():
    num = len(check_records.likely().check_cells[0].telemetry.times_ms)
    for bits, is_slowed in ((0x1, False), (0x20, True)):
        column = np.where(np.arange(num) < num / 4, float(bits), 0.0)
        record = with_columns(check_records.likely(), gpu_throttle_bits=column)
        figure = service_time(record)
        assert ("throttled, 25 % of the time" in words(figure)) == is_slowed
        assert any(one.get_hatch() for one in figure.axes[2].collections) == is_slowed


def test_readings_that_failed_are_gaps_and_without_any_it_is_said():
    (cell,) = check_records.likely().check_cells
    clock = [2600.0] * len(cell.telemetry.times_ms)
    clock[5] = None
    columns = {"cpu_frequency_mhz": tuple(clock)}
    read = dataclasses.replace(cell.telemetry, columns=columns)
    figure = service_time(with_cell(check_records.likely(), telemetry=read))
    assert np.isnan(figure.axes[2].lines[0].get_ydata()[5])
    none = Telemetry(500.0, (), {}, {"gpu": "NVML is not there"}, None)
    record = with_cell(
        check_records.likely(), telemetry=none, canary=Canary((), (), "never slack enough")
    )
    assert "no clock was read: NVML is not there" in words(service_time(record))


def test_facts_tell_lateness_and_speed():
    (text,) = (
        plain(one.get_text())
        for one in service_time(check_records.with_heat()).texts
        if "rtf" in one.get_text()
    )
    assert "269 blocks of 2.23 s · 140 late, in 1 dropout · rtf 0.85 cold, 1.1" in text


def test_a_period_is_told_where_it_matters():
    text = words(service_time(check_records.with_spikes()))
    assert re.search(r"slows by \d+ ms every 24\.\d blocks \(53\.\d s\)", text)
    assert "every" not in words(service_time(check_records.likely())).replace("every block", "")


def test_a_change_of_speed_is_a_line_through_all_panels():
    figure = service_time(check_records.with_heat())
    assert "slower from here" in words(figure)
    (told,) = (one for one in figure.axes[0].texts if "slower" in one.get_text())
    for axes in figure.axes:
        assert any(list(one.get_xdata()) == [told.xy[0]] * 2 for one in axes.lines)
    assert "from here" not in words(service_time(check_records.with_stalls()))
