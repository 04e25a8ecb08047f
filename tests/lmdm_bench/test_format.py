import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

import records
from lmdm_bench import format as shown
from lmdm_bench.record import Estimate

POSITIVE = st.floats(1e-4, 1e7)


def told(value: float | None, ci95: tuple[float, float] | None, reason: str | None = None):
    return Estimate(value, ci95, 9, "a method", reason)


def plain(text: str) -> str:
    return text.replace(shown.NBSP, " ")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0 ms"),
        (0.02134, "0.0213 ms"),
        (2.126, "2.13 ms"),
        (27.34, "27.3 ms"),
        (99.96, "100 ms"),
        (330.4, "330 ms"),
        (1234.4, "1 234 ms"),
        (1234567.0, "1 234 567 ms"),
        (-3.14159, "-3.14 ms"),
        (None, "n/a"),
    ],
)
def test_milliseconds_have_three_digits_and_their_unit(value, words):
    assert plain(shown.milliseconds(value)) == words


@given(POSITIVE)
def test_a_shown_number_is_within_half_a_per_cent_of_the_value(value):
    read = float(shown.number(value).replace(shown.NBSP, ""))
    assert math.isclose(read, value, rel_tol=0.0051)


def test_units_are_binary_for_what_is_held_and_decimal_for_what_is_moved():
    assert plain(shown.gibibytes(2**30)) == "1.00 GiB"
    assert plain(shown.gigabytes(2**30)) == "1.07 GB"
    assert plain(shown.gigaflop(1.2568e12)) == "1 257 GFLOP"
    assert plain(shown.gigaflop(7.2e14)) == "720 TFLOP"
    assert plain(shown.millions(340_900_000)) == "340.9 M"
    assert plain(shown.count(1_928)) == "1 928"


def test_a_missing_figure_is_never_a_zero():
    for show in (shown.gibibytes, shown.gigabytes, shown.gigaflop, shown.ratio, shown.share):
        assert show(None) == "n/a"
    assert plain(shown.estimate(told(None, None, "needs 72 blocks"), "ms")) == (
        "n/a (needs 72 blocks)"
    )


def test_an_estimate_stands_with_its_interval_or_with_why_it_has_none():
    assert plain(shown.estimate(told(1887.2, (1860, 1910)), "ms")) == "1 887 [1 860, 1 910] ms"
    assert plain(shown.estimate(told(101.2, (99.8, 103.1)), "ms")) == "101 [100, 103] ms"
    assert plain(shown.estimate(told(2102, None, "needs 6 blocks"), "ms")) == (
        "2 102 ms (needs 6 blocks)"
    )
    assert plain(shown.rtf(told(0.854, (0.8431, 0.8699)))) == "0.85 [0.84, 0.87]"


def test_a_small_part_is_told_from_none():
    assert plain(shown.share(0.0)) == "0 %"
    assert plain(shown.share(0.001)) == "< 1 %"
    assert plain(shown.share(0.474)) == "47 %"


@pytest.mark.parametrize("value", [0.9996, 0.99951, 1.0004])
def test_rounding_never_moves_an_rtf_onto_the_deadline(value):
    read = float(shown.rtf_and_interval(told(value, None))[0])
    assert (read < 1) == (value < 1) and read != 1


@given(st.lists(POSITIVE, min_size=3, max_size=3).map(sorted))
def test_an_interval_never_reads_as_wider_apart_than_its_value(ends):
    low, value, high = ends
    for show in (shown.value_and_interval, shown.rtf_and_interval):
        words, interval = show(told(value, (low, high)))
        shown_low, shown_high = (
            float(one.replace(shown.NBSP, "")) for one in interval[1:-1].split(f",{shown.NBSP}")
        )
        assert shown_low <= float(words.replace(shown.NBSP, "")) <= shown_high


def test_an_interval_that_has_a_width_shows_it():
    _, interval = shown.value_and_interval(told(34.02, (33.98, 34.04)))
    assert plain(interval) == "[33.98, 34.04]"


def test_someone_elses_text_becomes_one_printable_line():
    assert shown.plain("a\nb\t\x1b[31mc\x00") == "a b [31mc"


def test_names_tell_apart_cells_of_one_scheme():
    work = [
        records.workload("outpaint"),
        records.workload("outpaint", steps=4),
        records.workload("block-causal"),
    ]
    assert shown.names(work) == ["outpaint, steps 8", "outpaint, steps 4", "block-causal"]
    assert len(set(shown.names([work[0]] * 3))) == 3


def test_names_say_the_model_where_models_differ():
    work = [records.workload("outpaint"), *map(records.lmm_workload, records.LMM_SCHEMES)]
    assert shown.names(work) == [
        "outpaint, sao-small",
        "lmm-encoder-decoder, mrt1-large",
        "lmm-frame-wise, mrt2-small",
    ]
    assert shown.names_beside_models(work) == ["outpaint", *records.LMM_SCHEMES]
    assert shown.names(work[1:2]) == ["lmm-encoder-decoder"]


def test_names_of_one_scheme_say_model_and_axes_and_stay_apart():
    work = [
        records.lmm_workload("lmm-frame-wise"),
        records.lmm_workload("lmm-frame-wise", model="mrt2-base", num_levels=16),
        records.lmm_workload("lmm-frame-wise", model="mrt2-base", num_levels=16),
    ]
    first, second, third = shown.names(work)
    assert first == "lmm-frame-wise, mrt2-small, levels 12"
    assert second == "lmm-frame-wise, mrt2-base, levels 16" and third == f"{second} (cell 3)"
    assert shown.names_beside_models(work)[:2] == [
        "lmm-frame-wise, levels 12",
        "lmm-frame-wise, levels 16",
    ]


def test_a_name_inside_a_sentence_has_its_rest_in_brackets():
    assert shown.spoken("outpaint") == "outpaint"
    assert shown.spoken("outpaint, tiny, steps 4") == "outpaint (tiny, steps 4)"


def test_a_figure_of_a_block_is_told_of_a_second_of_its_audio():
    told_of_block = told(5.0, (4.0, 6.0))
    assert shown.per_second(told_of_block, 2.0) == told(2.5, (2.0, 3.0))
    absent = told(None, None, "needs 6 blocks")
    assert shown.per_second(absent, 2.0) == absent


def test_a_model_is_its_preset_and_its_parameters():
    cell = records.five_schemes().cells[3]
    assert plain(shown.model(cell.workload, cell.cost)) == "mrt1-large, 761.6 M"


def test_without_a_codec_its_bound_is_none_and_the_model_has_all_the_time():
    cell = records.five_schemes().cells[4]
    assert shown.codec_bound(cell.cost) == "none"
    times = sorted(one.service_ms for one in cell.blocks if not one.is_warmup)
    assert shown.model_ms(cell).value == pytest.approx(times[4])
    assert shown.rtf_model(cell) == cell.summary.rtf_model
    assert plain(shown.codec_bound(records.all_ok().cells[0].cost)) == "635 ms"


def test_model_time_leaves_out_the_codec_and_the_warm_up():
    cell = records.all_ok().cells[2]
    measured = [one for one in cell.blocks if not one.is_warmup]
    times = sorted(one.service_ms - one.codec_decode_ms for one in measured)
    one = shown.model_ms(cell)
    assert one.value == pytest.approx(times[4]) and one.n == 9
    assert one.ci95 is not None and one.ci95[0] < one.value < one.ci95[1]


def test_a_cell_that_failed_has_no_model_time_but_its_reason():
    one = shown.model_ms(records.one_oom().cells[0])
    assert one.value is None and one.reason is not None and one.reason.startswith("OOM: ")


def test_peak_memory_is_the_resident_set_on_a_cpu_and_the_reserved_on_cuda():
    cpu, gpu = records.all_ok().cells[0].memory, records.cuda().cells[0].memory
    assert plain(shown.peak_memory(cpu)) == "1.40 GiB"
    assert plain(shown.peak_memory(gpu)) == "1.30 GiB"
    assert shown.peak_memory(None) == "n/a"


def test_every_missing_fact_of_a_machine_is_there_with_its_reason():
    facts = dict(shown.machine_facts(records.all_ok().machine))
    assert facts["on mains"] == "n/a (this machine reports no power supply)"
    assert facts["GPU"].startswith("none (")


def test_the_bound_is_named_after_whatever_takes_longer():
    costs = {scheme: records.cost(scheme, records.CUDA_CEILING) for scheme in records.SCHEMES}
    assert shown.bound_by(costs["outpaint"], records.CUDA_CEILING) == "FLOPs"
    assert shown.bound_by(costs["block-causal"], records.CUDA_CEILING) == "bytes"
    assert shown.bound_by(costs["outpaint"], None) == "n/a"


def test_schemes_have_different_colours():
    schemes = (*records.SCHEMES, *records.LMM_SCHEMES, "another")
    colours = [shown.scheme_colour(one) for one in schemes]
    assert len(set(colours)) == len(colours)


def test_in_grey_an_lmm_is_told_from_every_scheme_of_another_kind():
    def lightness(colour: str) -> float:
        """CIE L*: from 0, black, to 100, white."""
        linear = [
            value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
            for value in to_rgb(colour)
        ]
        luminance = sum(
            weight * one for weight, one in zip((0.2126, 0.7152, 0.0722), linear, strict=True)
        )
        return 116 * luminance ** (1 / 3) - 16

    for mine in records.LMM_SCHEMES:
        for other in {*records.SCHEMES, *records.LMM_SCHEMES} - {mine}:
            pair = [lightness(shown.scheme_colour(one)) for one in (mine, other)]
            assert abs(pair[0] - pair[1]) > 10, (mine, other)
