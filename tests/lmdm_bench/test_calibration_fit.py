"""Planted efficiencies are found again, intervals hold what was left out, few points do not do."""

import math
from dataclasses import replace

import numpy as np
import pytest

from lmdm_bench.calibration_fit import (
    MIN_POINTS,
    calibrate,
    conformal_factor,
    group_of,
    left_out_errors,
    num_designed,
    scheme_of,
)
from lmdm_bench.errors import InputError
from lmdm_bench.record import Ceiling
from lmdm_bench.roofline import stage_seconds, table
from predictions import (
    CEILINGS,
    DEVICE,
    PLANTED,
    PLANTED_LAUNCH_SECONDS,
    calibration,
    designed,
    observations,
    planted_rates,
    workload,
)


def found(noise: float, seed: int = 0):
    return calibrate(DEVICE, observations(noise, seed))


def test_planted_efficiencies_are_recovered_exactly_without_noise() -> None:
    one = found(noise=0.0)
    (fitted,) = one.dtypes
    assert one.launch_seconds == pytest.approx(PLANTED_LAUNCH_SECONDS, rel=1e-3)
    assert fitted.matrix_efficiency == pytest.approx(PLANTED["matrix"], rel=1e-3)
    assert fitted.memory_efficiency == pytest.approx(PLANTED["memory"], rel=1e-3)
    assert one.attention_share == pytest.approx(PLANTED["attention"], rel=1e-3)
    assert one.codec_share == pytest.approx(PLANTED["codec"], rel=1e-2)
    assert one.unhidden == pytest.approx(PLANTED["unhidden"], abs=1e-3)
    assert one.workloads_out.mean_error < 1e-3


@pytest.mark.parametrize("seed", range(4))
def test_planted_efficiencies_are_recovered_from_noisy_times(seed: int) -> None:
    one = found(noise=0.02, seed=seed)
    (fitted,) = one.dtypes
    assert fitted.matrix_efficiency == pytest.approx(PLANTED["matrix"], rel=0.08)
    assert fitted.memory_efficiency == pytest.approx(PLANTED["memory"], rel=0.08)
    assert one.launch_seconds == pytest.approx(PLANTED_LAUNCH_SECONDS, rel=0.25)
    assert 0.005 < one.workloads_out.mean_error < 0.05


def test_a_few_odd_stages_do_not_bend_the_fit() -> None:
    times = observations(noise=0.01)
    odd = [replace(one, milliseconds=3 * one.milliseconds) for one in times[:2]]
    (fitted,) = calibrate(DEVICE, [*odd, *times[2:]]).dtypes
    assert fitted.matrix_efficiency == pytest.approx(PLANTED["matrix"], rel=0.1)
    assert fitted.memory_efficiency == pytest.approx(PLANTED["memory"], rel=0.1)


def test_rates_are_the_ceilings_parts() -> None:
    one = calibration()
    rates, (fitted,) = one.rates("bfloat16"), one.dtypes
    assert rates.matrix_flops_per_second == fitted.matrix_efficiency * CEILINGS[0].flops_per_second
    assert rates.memory_bytes_per_second == fitted.memory_efficiency * CEILINGS[0].bytes_per_second
    assert rates.attention_flops_per_second == pytest.approx(
        rates.matrix_flops_per_second * one.attention_share
    )
    with pytest.raises(KeyError):
        one.rates("float16")


def test_dtypes_share_the_launches_and_have_rates_of_their_own() -> None:
    both = observations()
    slow = replace(planted_rates(), matrix_flops_per_second=1.5e11)
    slow = replace(slow, attention_flops_per_second=0.6e11, codec_flops_per_second=0.9e11)
    stages = [stage for _, stage in designed()]
    for one, seconds in zip(observations(), stage_seconds(table(stages), slow), strict=True):
        wide = replace(one.workload, dtype="float32")
        both.append(replace(one, workload=wide, milliseconds=float(seconds) * 1e3))
    one = calibrate(DEVICE, both)
    assert [fit.dtype for fit in one.dtypes] == ["bfloat16", "float32"]
    wide_fit = one.of_dtype("float32")
    assert wide_fit is not None
    assert wide_fit.flops_per_second == CEILINGS[1].flops_per_second
    assert wide_fit.matrix_efficiency == pytest.approx(0.6, rel=0.01)
    assert one.launch_seconds == pytest.approx(PLANTED_LAUNCH_SECONDS, rel=0.01)


def test_ceilings_of_several_runs_count_by_their_median() -> None:
    noisy = [Ceiling("bfloat16", 5e11, one) for one in (2e10, 4e10, 9e10)]
    (fitted,) = calibrate(replace(DEVICE, ceilings=tuple(noisy)), observations()).dtypes
    assert fitted.bytes_per_second == 4e10


def test_what_is_printed_of_a_device_stands_beside_what_was_measured() -> None:
    printed = replace(
        DEVICE, nominal_flops_per_second={"bfloat16": 1e12}, nominal_bytes_per_second=5e10
    )
    (fitted,) = calibrate(printed, observations()).dtypes
    assert fitted.of_nominal_flops == pytest.approx(0.5 * fitted.matrix_efficiency)
    assert fitted.of_nominal_bytes == pytest.approx(0.8 * fitted.memory_efficiency)
    (unprinted,) = calibration().dtypes
    assert unprinted.of_nominal_flops is unprinted.of_nominal_bytes is None


def test_too_few_points_are_refused_with_their_number() -> None:
    few = observations()[: MIN_POINTS - 1]
    with pytest.raises(InputError, match=r"A CPU, .* needs 10 designed points, there are 9"):
        calibrate(DEVICE, few)
    # The same point again is no other point.
    with pytest.raises(InputError, match="there are 9"):
        calibrate(DEVICE, few * 3)
    assert num_designed(few * 3) == 9
    assert calibrate(DEVICE, observations()[:MIN_POINTS]).num_points == MIN_POINTS


def test_a_workload_is_left_out_as_a_whole_and_a_codec_by_itself() -> None:
    times = observations()
    *_, codec = times
    wide = replace(times[0], workload=replace(times[0].workload, dtype="float32"), record="other")
    assert group_of(wide) == group_of(times[0]) != group_of(times[1])
    elsewhere = replace(codec, workload=workload("outpaint"), group="another")
    assert group_of(elsewhere) == group_of(codec) == scheme_of(codec)
    assert scheme_of(times[0]) == "outpaint"


def test_what_is_left_out_has_no_part_in_its_own_prediction() -> None:
    times = observations()
    slow = [replace(times[3], milliseconds=2 * times[3].milliseconds)]
    errors = left_out_errors(DEVICE, [*times[:3], *slow, *times[4:]], group_of)
    assert errors[3] == pytest.approx(-math.log(2), abs=0.02)


def test_one_scheme_says_nothing_of_others() -> None:
    alike = [
        replace(one, workload=workload(context_frames=one.workload.context_frames))
        for one in observations(noise=0.01)
    ]
    one = calibrate(DEVICE, alike)
    assert one.schemes_out is None
    assert one.held_out(workload()) is one.workloads_out
    assert one.held_out(workload("outpaint")) is None


def test_a_model_never_seen_is_told_with_the_schemes_error() -> None:
    one = calibration()
    assert one.held_out(workload("outpaint")) is one.workloads_out
    assert one.held_out(workload("outpaint", model="sao-1.0")) is one.schemes_out
    assert one.schemes_out is not None and one.schemes_out.num_groups == 5


@pytest.mark.parametrize("n", [10, 19, 40])
def test_a_conformal_factor_holds_nine_of_ten_new_errors(n: int) -> None:
    """Whatever their distribution: here one with heavy tails."""
    rng = np.random.default_rng(n)
    held = [
        abs(rng.standard_t(2)) <= math.log(conformal_factor(rng.standard_t(2, size=n)))
        for _ in range(4000)
    ]
    # Between 90 % and 90 % + 1 ÷ (n + 1), by theory; three standard errors beside.
    assert 0.90 - 0.015 < np.mean(held) < 0.90 + 1 / (n + 1) + 0.015


def test_too_few_errors_hold_nothing() -> None:
    assert conformal_factor(np.array([0.1] * 8)) == math.inf
    assert conformal_factor(np.array([-0.1] * 9)) == pytest.approx(math.exp(0.1))


def test_intervals_cover_stages_that_were_never_measured() -> None:
    """Fitted to a part of a design, held against the rest: simulated many times over."""
    held, stated = [], []
    for seed in range(12):
        *times, decode, other_decode = observations(noise=0.05, seed=seed)
        order = np.random.default_rng(seed).permutation(len(times))
        fitted = calibrate(DEVICE, [*(times[at] for at in order[:10]), decode, other_decode])
        new = [times[at] for at in order[10:]]
        seconds = stage_seconds(table([one.stage for one in new]), fitted.rates("bfloat16"))
        ratios = np.array([one.milliseconds / 1e3 for one in new]) / seconds
        held += list(np.abs(np.log(ratios)) <= math.log(fitted.workloads_out.factor))
        stated.append(fitted.workloads_out.coverage)
    # 72 new stages: 90 % of them, and two standard errors less.
    assert np.mean(held) >= 0.83
    assert 0.85 <= np.mean(stated) <= 1.0
