import dataclasses
import math

import numpy as np
import pytest

import claims_records
from lmdm_bench import claim_tests
from lmdm_bench.claim_tests import (
    CONTRADICTED,
    FAMILY_RISK,
    NOT_IDENTIFIABLE,
    SUPPORTED,
    Evidence,
    Finding,
    NotIdentifiable,
    Region,
    Verdict,
    View,
    axis_value,
)
from lmdm_bench.claims_record import ClaimsRecord, MemoryProbe, Point
from lmdm_bench.fits import Fitted, over_rounds


def view_of(record: ClaimsRecord, points: tuple[Point, ...]) -> View:
    return View(dataclasses.replace(record, points=points))


def fitted(value: float, standard_error: float, n: int = 6) -> Fitted:
    return Fitted(value, standard_error, n - 1.0, n, "made up", False)


# --- View ------------------------------------------------------------------------------------


def test_points_are_those_of_one_scheme_sweep_and_model_sorted_by_axis() -> None:
    record = claims_records.agreeing()
    view = view_of(record, tuple(reversed(record.points)))
    points = view.points_of("outpaint", "context")
    assert [one.workload.context_frames for one in points] == [48, 96, 192, 384, 768, 1536]
    assert {one.workload.model for one in points} == {"sao-small"}
    assert {one.workload.model for one in view.points_of("outpaint", "size")} == {
        "sao-small",
        "sao-1.0",
    }
    assert [one.workload.model for one in view.points_of("outpaint", "size", "sao-1.0")] == [
        "sao-1.0"
    ]
    assert view.main_models["lmm-encoder-decoder"] == "mrt1-large"
    tokens = view.points_of("lmm-encoder-decoder", "tokens")
    assert [axis_value(one, "tokens") for one in tokens] == [80, 160, 400, 800]


def test_points_that_failed_are_left_out_and_named() -> None:
    view = View(claims_records.one_oom())
    assert view.points_of("lmm-encoder-decoder", "tokens") == ()
    assert view.paper_point("lmm-encoder-decoder") is None
    why = view.why_missing("lmm-encoder-decoder", "tokens")
    assert "4 of lmm-encoder-decoder's points over tokens" in why
    assert f"OOM: {claims_records.OOM_REASON}" in why
    assert view.why_missing("nobody", "steps") == "nobody was not measured over steps"


def test_a_point_that_no_round_reached_is_not_measured() -> None:
    record = claims_records.agreeing()
    first = dataclasses.replace(record.points[0], visits=())
    view = view_of(record, (first,))
    assert view.points_of("outpaint", "steps") == ()
    assert "no round reached it" in view.why_missing("outpaint", "steps")


def test_matrices_hold_the_rounds_that_visited_all_points() -> None:
    record = claims_records.planted(rounds=4)
    points = View(record).points_of("encoder-decoder", "steps")
    cut = dataclasses.replace(points[1], visits=points[1].visits[:1] + points[1].visits[2:])
    view, asked = View(record), (points[0], cut, points[2])
    assert view.rounds(asked) == (0, 2, 3)
    seconds = view.service_seconds(asked)
    assert seconds.shape == (3, 3)
    assert seconds[1, 0] == points[0].visits[2].service_ms / 1e3
    assert seconds[1, 1] == cut.visits[1].service_ms / 1e3
    assert view.encode_seconds(asked)[0, 2] == points[2].visits[0].context_encode_ms / 1e3
    assert view.rounds(()) == ()


def test_what_a_scheme_has_not_is_nan() -> None:
    view = View(claims_records.agreeing())
    outpaint = view.points_of("outpaint", "context")
    cached = view.points_of("block-causal", "context")
    assert np.isnan(view.encode_seconds(outpaint)).all()
    assert np.isnan(view.attention_seconds(outpaint)).all()
    assert np.isfinite(view.attention_seconds(cached)).all()


def test_compute_is_told_per_second_of_audio() -> None:
    view = View(claims_records.agreeing())
    diffusion, lmm = (
        view.paper_point("encoder-decoder", 8),
        view.paper_point("lmm-encoder-decoder"),
    )
    assert diffusion is not None and lmm is not None
    both = (diffusion, lmm)
    ratio = view.service_seconds(both) / view.compute_seconds_per_audio_second(both)
    assert ratio == pytest.approx(np.broadcast_to([48 * 2048 / 44100, 2.0], (6, 2)))


def test_the_papers_point_is_picked_by_steps() -> None:
    view = View(claims_records.agreeing())
    for steps in (2, 8):
        point = view.paper_point("block-causal", steps)
        assert point is not None and point.workload.steps == steps
    assert view.paper_point("outpaint", 3) is None


def test_a_probe_that_succeeded_comes_first() -> None:
    record = claims_records.agreeing()
    probe = record.memory[0]
    failed = dataclasses.replace(probe, status="OOM", reason="no", grown_bytes=())
    view = View(dataclasses.replace(record, memory=(failed, probe)))
    assert view.probe_of("outpaint") is probe
    assert view.probe_of("nobody") is None


# --- Sweeps ----------------------------------------------------------------------------------


def test_a_sweep_says_what_it_lacks() -> None:
    record = claims_records.agreeing()
    points = View(record).points_of("outpaint", "steps")
    for few, words in (
        (points[:2], "2 of the needed 3 sizes"),
        ((*points[:2], points[1]), "the same size"),
        (points[2:], "4x"),
        ((), "outpaint was not measured over steps"),
    ):
        if words == "4x":
            assert claim_tests.swept(view_of(record, few), "outpaint", "steps").sizes == (4, 8, 16)
            continue
        with pytest.raises(NotIdentifiable, match=words):
            claim_tests.swept(view_of(record, few), "outpaint", "steps")


def test_a_sweep_over_a_short_range_is_refused() -> None:
    record = claims_records.agreeing()
    with pytest.raises(NotIdentifiable, match=r"span 1\.41x; it takes 3x"):
        claim_tests.swept(
            View(record), "outpaint", "block", lambda one: one.workload.block_frames + 192.0
        )


def test_a_sweep_takes_three_complete_rounds() -> None:
    with pytest.raises(NotIdentifiable, match="2 of the needed 3 complete rounds"):
        claim_tests.swept(View(claims_records.few_rounds()), "outpaint", "steps")


def test_after_the_encode_is_what_is_left_of_the_block() -> None:
    view = View(claims_records.agreeing())
    given = claim_tests.swept(view, "encoder-decoder", "steps")
    assert given.after_encode == pytest.approx(given.seconds - given.encode)
    plain = claim_tests.swept(view, "outpaint", "steps")
    assert (plain.after_encode == plain.seconds).all()


# --- Numbers ---------------------------------------------------------------------------------


def test_planted_numbers_are_found() -> None:
    record = claims_records.planted(
        noise=0.001,
        block_seconds=1e-9,
        outpaint_intercept_steps=2.0,
        encoder_decoder_hidden_encode=0.5,
        outpaint_window_power=0.5,
        pair_seconds=0.0,
        pass_seconds=0.0,
    )
    view = View(record)
    anything: Region = (None, None)
    for one, expected in (
        (claim_tests.bend(view, "outpaint", "steps", anything), 1.0),
        (claim_tests.intercept_in_units(view, "outpaint", "steps", anything, "steps"), 2.0),
        (claim_tests.intercept_in_encodes(view, "encoder-decoder", "steps", anything), 1.5),
        (
            claim_tests.growth(
                view,
                "outpaint",
                anything,
                size_of=lambda one: one.workload.context_frames + one.workload.block_frames + 0.0,
                seconds_of=lambda given: given.seconds,
                what="growth",
            ),
            0.5,
        ),
    ):
        assert one.fitted is not None, one
        assert one.fitted.value == pytest.approx(expected, abs=0.02), one.what


def test_a_floor_that_makes_up_the_time_hides_the_bend() -> None:
    view = View(claims_records.planted(noise=0.001, outpaint_intercept_steps=200.0))
    one = claim_tests.bend(view, "outpaint", "steps", (0.8, 1.2))
    assert one.fitted is None
    assert "a floor makes up the time: over 16x the steps it grew 1.07x" in (one.why_not or "")


def test_flatness_takes_a_control() -> None:
    record = claims_records.agreeing()
    alone = [one for one in record.points if one.workload.scheme == "block-causal"]
    with pytest.raises(NotIdentifiable, match="no scheme that runs its whole context"):
        claim_tests.need_control(view_of(record, tuple(alone)))
    with pytest.raises(NotIdentifiable, match="launch-bound"):
        claim_tests.need_control(View(claims_records.launch_bound()))
    claim_tests.need_control(View(record))


def test_flatness_takes_the_attention_alone() -> None:
    record = claims_records.agreeing()

    def seconds(given: claim_tests.Swept) -> claim_tests.Floats:
        return given.seconds - given.attention

    one = claim_tests.flatness(View(record), "outpaint", (None, 1.2), seconds)
    assert one.why_not == "attention alone was not timed"
    one = claim_tests.flatness(
        View(record), "block-causal", (None, 1.2), lambda given: -seconds(given)
    )
    assert one.why_not == "attention alone took longer than the steps"


def test_a_scheme_without_encode_says_so() -> None:
    view = View(claims_records.agreeing())
    one = claim_tests.intercept_in_encodes(view, "outpaint", "steps", (0.75, 1.25))
    assert one.why_not == "the context's encoding was not timed"


def test_only_times_far_above_their_bound_are_excused() -> None:
    assert claim_tests.launch_excuse(View(claims_records.agreeing()), "outpaint", "steps") is None
    excuse = claim_tests.launch_excuse(View(claims_records.launch_bound()), "outpaint", "steps")
    assert excuse is not None and excuse.startswith("launch-bound: outpaint takes at least")
    assert claim_tests.launch_excuse(View(claims_records.agreeing()), "nobody", "steps") is None


def test_memory_has_the_spread_of_its_processes_and_one_percent_at_least() -> None:
    probe = claims_records.agreeing().memory[0]
    near = dataclasses.replace(probe, grown_bytes=(1_000_000, 1_000_000))
    assert claim_tests.measured_bytes(near).value == pytest.approx(1e6)
    assert claim_tests.measured_bytes(near).standard_error == claim_tests.MEMORY_ERROR
    far = dataclasses.replace(probe, grown_bytes=(1_000_000, 1_200_000))
    assert claim_tests.measured_bytes(far).standard_error == pytest.approx(
        math.log(1.2) / math.sqrt(2)
    )
    low, high = claim_tests.measured_bytes(near).interval(0.95)
    assert (low, high) == pytest.approx((1e6 * math.exp(-0.0196), 1e6 * math.exp(0.0196)), rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "OOM", "reason": "too large", "grown_bytes": ()}, "OOM: too large"),
        ({"grown_bytes": (5,)}, "1 of the needed 2 processes"),
        ({"grown_bytes": ()}, "0 of the needed 2 processes"),
    ],
)
def test_memory_that_cannot_be_told(changes: dict[str, object], words: str) -> None:
    probe: MemoryProbe = dataclasses.replace(claims_records.agreeing().memory[0], **changes)  # type: ignore[arg-type]
    with pytest.raises(NotIdentifiable, match=words):
        claim_tests.measured_bytes(probe)
    with pytest.raises(NotIdentifiable, match="not measured"):
        claim_tests.measured_bytes(None)


def test_a_quotient_has_both_errors() -> None:
    one = over_rounds([2.0, 2.1, 1.9], is_positive=True)
    two = over_rounds([1.0, 1.2, 0.9, 1.1], is_positive=True)
    both = claim_tests.quotient(one, two)
    assert both.value == pytest.approx(one.value / two.value)
    assert both.standard_error == pytest.approx(math.hypot(one.standard_error, two.standard_error))
    assert (both.degrees_of_freedom, both.n) == (2.0, 3)
    assert claim_tests.quotient(one, 2.0).interval() == pytest.approx(
        tuple(end / 2 for end in one.interval())
    )


# --- The rule --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "accepted", "verdict"),
    [
        (1.0, (0.5, 1.5), SUPPORTED),
        (1.0, (None, 1.5), SUPPORTED),
        (1.0, (0.5, None), SUPPORTED),
        (1.0, (None, 1.01), NOT_IDENTIFIABLE),
        (1.0, (0.99, 1.01), NOT_IDENTIFIABLE),
        (1.0, (None, 0.5), CONTRADICTED),
        (1.0, (1.5, None), CONTRADICTED),
        (1.0, (1.5, 1.6), CONTRADICTED),
    ],
)
def test_the_interval_decides(value: float, accepted: Region, verdict: Verdict) -> None:
    one = claim_tests.decide(Evidence("x", "", accepted, fitted(value, 0.05), None), 0.95)
    assert one.verdict == verdict
    assert (one.why_not is not None) == (verdict == NOT_IDENTIFIABLE)
    assert one.bounds == fitted(value, 0.05).interval(0.95)


def test_an_excuse_stops_a_contradiction_only() -> None:
    def decided(value: float) -> Finding:
        one = Evidence("x", "", (0.5, 1.5), fitted(value, 0.01), None, "launch-bound")
        return claim_tests.decide(one, 0.95)

    assert (decided(3.0).verdict, decided(3.0).why_not) == (NOT_IDENTIFIABLE, "launch-bound")
    assert decided(1.0).verdict == SUPPORTED


def test_without_an_interval_nothing_is_decided() -> None:
    one = claim_tests.decide(Evidence("x", "", (0.0, 9.0), fitted(1.0, 0.1, n=1), None), 0.95)
    assert (one.verdict, one.bounds) == (NOT_IDENTIFIABLE, None)
    one = claim_tests.decide(Evidence("x", "", (0.0, 9.0), None, "too hot"), 0.95)
    assert (one.verdict, one.why_not) == (NOT_IDENTIFIABLE, "too hot")


def test_evidence_takes_the_reason_from_what_was_raised() -> None:
    def cannot() -> Fitted:
        raise NotIdentifiable("too few")

    one = claim_tests.evidence("x", "", (None, 1.0), cannot)
    assert (one.fitted, one.why_not) == (None, "too few")


def test_one_contradiction_is_enough_and_support_takes_all() -> None:
    def findings(*verdicts: Verdict) -> list[Finding]:
        return [Finding("x", "", (None, None), None, None, one, None) for one in verdicts]

    assert claim_tests.overall(findings(SUPPORTED, SUPPORTED)) == SUPPORTED
    assert claim_tests.overall(findings(SUPPORTED, NOT_IDENTIFIABLE)) == NOT_IDENTIFIABLE
    mixed = findings(SUPPORTED, NOT_IDENTIFIABLE, CONTRADICTED)
    assert claim_tests.overall(mixed) == CONTRADICTED
    assert claim_tests.overall([]) == NOT_IDENTIFIABLE


def test_the_risk_is_shared_by_the_ends_of_all_intervals() -> None:
    for count in (1, 10, 40):
        one_end = (1 - claim_tests.verdict_confidence(count)) / 2
        assert one_end * count == pytest.approx(FAMILY_RISK)
    assert 0 < claim_tests.verdict_confidence(0) < 1


def test_words() -> None:
    assert claim_tests.region_words((None, 1.0)) == "below 1.00"
    assert claim_tests.region_words((0.25, None)) == "above 0.250"
    assert claim_tests.region_words((0.5, 2.0)) == "0.500 to 2.00"
    assert claim_tests.region_words((None, None)) == "anything"
    assert claim_tests.told_number(math.inf) == "∞"
    assert claim_tests.told_number(-math.inf) == "−∞"
    assert claim_tests.told_number(1e200) == "1e+200"
    evidence = Evidence("speed", "steps", (None, 1.0), fitted(2.0, 0.0), None)
    told = claim_tests.sentence(claim_tests.decide(evidence, 0.95))
    assert told == "speed: 2.00 steps [2.00, 2.00], should be below 1.00: CONTRADICTED."
    lacking = claim_tests.decide(Evidence("speed", "", (None, 1.0), None, "no rounds"), 0.95)
    assert claim_tests.sentence(lacking) == "speed: NOT IDENTIFIABLE (no rounds)."
