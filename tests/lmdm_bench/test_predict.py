"""The best known tier is told, memory refuses, and the verdict is the interval's."""

from dataclasses import replace

import pytest

from lmdm_bench.calibration_fit import Kind
from lmdm_bench.gpu_table import find_gpu
from lmdm_bench.predict import (
    GPU_RESERVE_BYTES,
    TIERS,
    Interval,
    judge,
    nearest,
    predict,
    usable_bytes,
    why_too_large,
)
from lmdm_bench.record import Ceiling
from predictions import (
    CPU,
    asked,
    calibration,
    every_verdict,
    evidence,
    gpu_target,
    measured,
    target,
    workload,
)

NOTHING = evidence(calibrations=())
HERE = target(is_here=True)
ELSEWHERE = replace(CPU, name="Another CPU, 8 cores, 32 GiB, Linux")


def test_tiers_are_the_issue_s_best_first() -> None:
    assert TIERS == (
        "measured here",
        "measured on the same kind of machine",
        "calibrated",
        "from specification only",
    )


@pytest.mark.parametrize(
    ("own", "shipped", "expected"),
    [
        (evidence(measured(0.4)), evidence(measured(0.6)), ("measured here", 0.4)),
        (evidence(), evidence(measured(0.6)), ("measured on the same kind of machine", 0.6)),
        (NOTHING, evidence(), ("calibrated", None)),
        (evidence(), NOTHING, ("calibrated", None)),
    ],
)
def test_the_best_tier_that_there_is_is_told(own, shipped, expected) -> None:
    found = predict(asked(), HERE, own, shipped)
    tier, rtf = expected
    assert found.tier == tier and found.rtf is not None
    assert rtf is None or found.rtf.value == rtf


def test_a_measurement_of_ones_own_counts_elsewhere_as_its_kind_s() -> None:
    found = predict(asked(), target(), evidence(measured()), NOTHING)
    assert found.tier == "measured on the same kind of machine"
    other = predict(asked(), target(ELSEWHERE), evidence(measured()), NOTHING)
    assert other.tier != "measured on the same kind of machine"


def test_the_newest_measurement_is_told_with_its_record() -> None:
    old = measured(0.9, created="2026-01-01", record="old")
    new = measured(0.5, created="2026-11-21", record="new", num_blocks=12)
    found = predict(asked(), HERE, evidence(old, new), NOTHING)
    assert found.rtf == Interval(0.45, 0.5, 0.55)
    assert found.basis == "12 blocks, 2026-11-21, record new"
    assert found.has_codec and found.held_out is None and found.stage_ms == ()


def test_a_measurement_without_an_interval_is_its_value() -> None:
    found = predict(asked(), HERE, evidence(measured(0.5, rtf_ci95=None)), NOTHING)
    assert found.rtf == Interval(0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        ({}, True),
        ({"sampler": "euler", "attention": "dense"}, True),
        ({"steps": 4}, False),
        ({"dtype": "float32"}, False),
        ({"context_frames": 96}, False),
        ({"model": "sao-1.0"}, False),
        ({"guidance_scale": 3.0}, False),
    ],
)
def test_only_a_workload_of_the_same_cost_was_measured(change, is_same: bool) -> None:
    found = predict(asked(workload(**change)), HERE, evidence(measured()), NOTHING)
    assert (found.tier == "measured here") == is_same


def test_a_calibrated_interval_is_the_left_out_error_s() -> None:
    found = predict(asked(), HERE, NOTHING, evidence())
    out = calibration().workloads_out
    assert found.held_out == out and found.rtf is not None
    assert found.rtf.high / found.rtf.value == pytest.approx(out.factor)
    assert found.rtf.value / found.rtf.low == pytest.approx(out.factor)
    total = sum(one.value for _, one in found.stage_ms)
    assert found.rtf.value == pytest.approx(total / 1e3 / workload().block_seconds)
    assert [name for name, _ in found.stage_ms] == ["denoise", "codec_decode"]
    assert found.has_codec and found.limit in ("launches", "computing", "memory")


def test_a_model_never_measured_has_the_wider_interval() -> None:
    known = predict(asked(), HERE, NOTHING, evidence())
    new = predict(asked(workload(model="sao-1.0")), HERE, NOTHING, evidence())
    assert new.held_out == calibration().schemes_out != known.held_out


def test_a_dtype_never_measured_is_not_calibrated() -> None:
    found = predict(asked(workload(dtype="float16")), HERE, NOTHING, evidence())
    assert found.tier is None and found.verdict == "cannot tell" and found.rtf is None
    assert "lmdm-bench claims" in found.basis


def test_a_gpu_that_nothing_was_measured_on_is_told_from_its_specification() -> None:
    found = predict(asked(), gpu_target("4060 laptop"), NOTHING, evidence())
    assert found.tier == "from specification only" and found.rtf is not None
    assert found.held_out == calibration().schemes_out
    assert CPU.name in found.basis and "printed" in found.basis
    assert found.rtf.low < found.rtf.value < found.rtf.high


def test_a_gpu_is_measured_by_whatever_name_its_driver_has() -> None:
    kind = Kind("NVIDIA GeForce RTX 4060 Laptop GPU", "cuda", 80.0, False)
    known = evidence(measured(0.07, kind=kind))
    found = predict(asked(), gpu_target("4060 laptop"), NOTHING, known)
    assert found.tier == "measured on the same kind of machine"
    assert predict(asked(), gpu_target("4060 laptop", 80), NOTHING, known).tier == found.tier
    other = predict(asked(), gpu_target("4060 laptop", 115), NOTHING, known)
    assert other.tier == "from specification only"
    replayed = gpu_target("4060 laptop", is_graphed=True)
    assert predict(asked(), replayed, NOTHING, known).tier == "from specification only"


def test_an_unknown_machine_with_a_ceiling_is_told_from_its_probe() -> None:
    unknown = target(ELSEWHERE, ceiling=Ceiling("bfloat16", 5e11, 4e10))
    found = predict(asked(), unknown, NOTHING, evidence())
    assert found.tier == "from specification only" and "measured ceiling" in found.basis
    blind = predict(asked(), replace(unknown, ceiling=None), NOTHING, evidence())
    assert blind.tier is None and blind.verdict == "cannot tell" and blind.leaning is None
    assert predict(asked(), unknown, NOTHING, NOTHING).tier is None


def test_too_few_points_of_ones_own_are_said() -> None:
    words = f"a calibration of {ELSEWHERE.name} needs 10 designed points, there are 7"
    own = replace(NOTHING, left_out=(words,))
    here = target(ELSEWHERE, is_here=True)
    assert predict(asked(), here, own, NOTHING).basis.endswith(words)
    assert words not in predict(asked(), gpu_target("RTX 4090"), own, evidence()).basis


def test_what_does_not_fit_is_refused_with_both_figures() -> None:
    small = gpu_target("GTX 1650")
    found = predict(asked(memory_gib=3.5), small, NOTHING, evidence())
    assert found.verdict == "does not fit" and found.tier is found.rtf is None
    assert found.basis == "needs 3.5 GiB, and 3.0 of its 4 GiB are for models"
    assert predict(asked(memory_gib=2.9), small, NOTHING, evidence()).verdict != "does not fit"


def test_what_was_measured_did_fit() -> None:
    found = predict(asked(memory_gib=99.0), HERE, evidence(measured()), NOTHING)
    assert found.tier == "measured here"


def test_the_reserve_is_of_the_kind_of_memory() -> None:
    card, shared = gpu_target("RTX 4090"), gpu_target("M4 Pro")
    assert usable_bytes(card, 24) == (24 << 30) - GPU_RESERVE_BYTES
    assert usable_bytes(shared, 24) == pytest.approx(16 * 2**30)
    assert usable_bytes(HERE, 16) == 14 << 30
    # The larger kind that is sold holds it: that is not refused.
    assert why_too_large(asked(memory_gib=30.0), shared) is None
    assert why_too_large(asked(memory_gib=50.0), shared) is not None


@pytest.mark.parametrize(
    ("low", "value", "high", "expected"),
    [
        (0.4, 0.6, 0.99, ("plays", None)),
        (0.4, 0.6, 1.0, ("cannot tell", "likely")),
        (0.6, 0.999, 1.2, ("cannot tell", "likely")),
        (0.6, 1.0, 1.2, ("cannot tell", "unlikely")),
        (0.999, 1.5, 2.0, ("cannot tell", "unlikely")),
        (1.0, 1.5, 2.0, ("does not play", None)),
    ],
)
def test_the_verdict_at_its_borders(low, value, high, expected) -> None:
    assert judge(Interval(low, value, high)) == expected


def test_parts_are_taken_from_the_nearest_calibration() -> None:
    cpu = calibration()
    gpu = replace(cpu, kind=Kind("NVIDIA H200", "cuda", 700.0, False), num_points=12)
    graphed = replace(gpu, kind=replace(gpu.kind, is_graphed=True))
    all_three = (cpu, gpu, graphed)
    laptop = gpu_target("4060 laptop").kind
    assert nearest(all_three, laptop) is gpu
    assert nearest(all_three, replace(laptop, is_graphed=True)) is graphed
    assert nearest((cpu,), laptop) is cpu
    # A graph's launches are not what a host takes one by one.
    assert nearest((cpu, graphed), laptop) is cpu
    assert nearest((), laptop) is None
    found = predict(asked(), gpu_target("4060 laptop"), evidence(calibrations=(gpu,)), evidence())
    assert "NVIDIA H200" in found.basis


def test_a_gpu_calibrated_itself_needs_no_specification() -> None:
    own = replace(
        calibration(), kind=Kind("NVIDIA GeForce RTX 4060 Laptop GPU", "cuda", None, False)
    )
    found = predict(asked(), gpu_target("4060 laptop"), evidence(calibrations=(own,)), evidence())
    assert found.tier == "calibrated"


def test_the_examples_have_every_tier_and_verdict() -> None:
    found = every_verdict()
    assert {one.tier for one in found} == {*TIERS, None}
    assert {(one.verdict, one.leaning) for one in found} >= {
        ("plays", None),
        ("does not play", None),
        ("does not fit", None),
        ("cannot tell", None),
    }
    for one in found:
        assert one.rtf is None or 0 < one.rtf.low <= one.rtf.value <= one.rtf.high


def test_a_faster_gpu_never_plays_worse() -> None:
    order = ("does not play", "unlikely", "likely", "plays")
    chain = ("4060 mobile", "RTX 4060", "RTX 4080", "RTX 4090")
    found = [predict(asked(), gpu_target(one), NOTHING, evidence()) for one in chain]
    ranks = [order.index(one.leaning or one.verdict) for one in found]
    assert ranks == sorted(ranks)
    values = [one.rtf.value for one in found if one.rtf is not None]
    assert values == sorted(values, reverse=True)
    assert find_gpu(chain[-1]).num_units == 128
