import dataclasses
from collections import Counter

import pytest

import claims_records
from claims_records import AA, EXAMPLES, SCHEMES, VIOLATIONS, planted
from lmdm_bench.claim_tests import (
    CONTRADICTED,
    FAMILY_RISK,
    NOT_IDENTIFIABLE,
    SUPPORTED,
    Evidence,
    Verdict,
    View,
)
from lmdm_bench.claims import (
    CLAIMS,
    LAPTOP_VRAM_GB,
    RATIO_TOLERANCE,
    Claim,
    Judgement,
    fit_claim_model,
    fitted_points,
    judge,
    memory_rows,
    ratio_rows,
)
from lmdm_bench.claims_record import ClaimsRecord, Visit
from lmdm_bench.fits import over_rounds

NUMBERS = {claim.number for claim in CLAIMS}
# Claim 5 asks whether a model of the cost predicts ratios; what bounds them may well be launches.
WORK_CLAIMS = {1, 2, 3, 4}


def numbers(record: ClaimsRecord, verdict: Verdict) -> set[int]:
    return {one.claim.number for one in judge(record) if one.verdict == verdict}


def judged(record: ClaimsRecord, number: int) -> Judgement:
    return next(one for one in judge(record) if one.claim.number == number)


def keep(record: ClaimsRecord, *schemes: str) -> ClaimsRecord:
    """The record as if only these had been asked for."""
    return dataclasses.replace(
        record,
        points=tuple(one for one in record.points if one.workload.scheme in schemes),
        memory=tuple(one for one in record.memory if one.workload.scheme in schemes),
    )


# --- Verdicts --------------------------------------------------------------------------------


def test_planted_agreement_is_supported() -> None:
    assert numbers(claims_records.agreeing(), SUPPORTED) == NUMBERS


def test_more_noise_supports_less_and_contradicts_nothing() -> None:
    record = planted()
    assert numbers(record, SUPPORTED) >= {1, 2, 4, 6, 7, 8}
    assert numbers(record, CONTRADICTED) == set()


@pytest.mark.parametrize("noise", [0.005, 0.02])
@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_planted_violation_contradicts_its_claim_and_no_other(name: str, noise: float) -> None:
    contradicted, changes = VIOLATIONS[name]
    found = numbers(planted(noise=noise, **changes), CONTRADICTED)
    if noise < 0.01:
        assert found == contradicted
    else:  # the side effects on ratios drown first
        assert contradicted - {5} <= found | ({5} & contradicted) and found <= contradicted


def test_each_claim_has_a_violation() -> None:
    assert set().union(*(claims for claims, _ in VIOLATIONS.values())) == NUMBERS


def test_launch_bound_times_decide_nothing_about_work() -> None:
    judgements = judge(claims_records.launch_bound())
    for one in judgements:
        if one.claim.number in WORK_CLAIMS:
            assert one.verdict == NOT_IDENTIFIABLE, one.claim.title
            assert any("launch-bound" in (finding.why_not or "") for finding in one.findings)
    assert {one.claim.number for one in judgements if one.verdict == CONTRADICTED} == {5}


def test_a_floor_beneath_a_sweep_is_neither_support_nor_contradiction() -> None:
    record = planted(noise=0.005, block_seconds=600.0)
    found = {one.claim.number: one.verdict for one in judge(record)}
    assert found[1] == found[2] == found[4] == NOT_IDENTIFIABLE
    bends = [one for one in judged(record, 1).findings if "slope" in one.what]
    assert all("a floor makes up the time" in (one.why_not or "") for one in bends)


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        (AA, set()),
        # At the edge of what is accepted; the intercept is no part of the ratios of FLOPs.
        ({"outpaint_intercept_steps": 0.49, "lmm_hidden_encode": 0.24}, {5}),
        ({"memory_factor": 1.1, "encoder_decoder_step_context": 0.006}, set()),
    ],
    ids=["AA", "intercepts", "memory and steps"],
)
@pytest.mark.parametrize("rounds", [3, 6])
def test_what_is_not_wrong_is_hardly_ever_contradicted(
    changes: dict[str, float], wrong: set[int], rounds: int
) -> None:
    num_runs = 120
    contradicted = [
        bool(numbers(planted(rounds=rounds, seed=seed, **changes), CONTRADICTED) - wrong)
        for seed in range(num_runs)
    ]
    assert sum(contradicted) <= FAMILY_RISK * num_runs


def test_aa_supports_no_claim_that_one_is_below_another() -> None:
    supported = Counter[int]()
    for seed in range(50):
        supported.update(numbers(planted(seed=seed, **AA), SUPPORTED) & {3, 6, 8})
    assert supported.total() <= FAMILY_RISK * 50


# --- What is not there -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["few_rounds", "one_round"])
def test_too_few_rounds_decide_nothing_about_time(name: str) -> None:
    for one in judge(EXAMPLES[name]()):
        if one.claim.number != 7:  # memory has no rounds
            assert one.verdict == NOT_IDENTIFIABLE
            assert any("of the needed 3 complete rounds" in told for told in one.explanation)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_scheme_that_failed_takes_its_claims_with_it(scheme: str) -> None:
    judgements = judge(claims_records.without(claims_records.agreeing(), scheme))
    assert all(one.verdict != CONTRADICTED for one in judgements)
    undecided = [one for one in judgements if one.verdict == NOT_IDENTIFIABLE]
    expected = {
        "outpaint": {1, 5, 7},
        "encoder-decoder": {2, 3, 5, 6, 7, 8},
        "block-causal": {3, 5, 6, 7, 8},
        "lmm-encoder-decoder": {4, 6, 7},
        "lmm-frame-wise": {4, 7, 8},
    }[scheme]
    assert {one.claim.number for one in undecided} == expected
    for one in undecided:
        assert any(f"OOM: {claims_records.OOM_REASON}" in told for told in one.explanation)


def test_schemes_that_were_not_asked_for_are_named() -> None:
    record = keep(claims_records.agreeing(), "outpaint", "block-causal")
    found = {one.claim.number: one for one in judge(record)}
    assert {number for number, one in found.items() if one.verdict == SUPPORTED} == {1, 7}
    for number, scheme in (
        (2, "encoder-decoder"),
        (3, "encoder-decoder"),
        (4, "lmm-encoder-decoder"),
        (5, "encoder-decoder"),
        (6, "lmm-encoder-decoder"),
        (8, "lmm-frame-wise"),
    ):
        assert found[number].verdict == NOT_IDENTIFIABLE
        told = " ".join(found[number].explanation)
        assert f"{scheme} was not measured" in told


def test_the_papers_lmm_alone_decides_claim_4() -> None:
    record = keep(claims_records.agreeing(), "lmm-encoder-decoder")
    assert judged(record, 4).verdict == SUPPORTED


def test_an_empty_record_decides_nothing() -> None:
    record = dataclasses.replace(claims_records.agreeing(), points=(), memory=())
    for one in judge(record):
        assert one.verdict == NOT_IDENTIFIABLE
        assert all(finding.why_not for finding in one.findings)
        assert one.explanation


def test_block_causal_is_to_be_seen_at_8_and_at_50_steps() -> None:
    record = claims_records.agreeing()
    points = tuple(one for one in record.points if one.workload.steps != 50)
    one = judged(dataclasses.replace(record, points=points), 3)
    assert one.verdict == NOT_IDENTIFIABLE
    assert any("not measured at 50 steps" in told for told in one.explanation)


def test_memory_without_probes_is_predicted_only() -> None:
    record = dataclasses.replace(claims_records.agreeing(), memory=())
    assert judged(record, 7).verdict == judged(record, 6).verdict == NOT_IDENTIFIABLE
    rows = memory_rows(View(record))
    assert [row.scheme for row in rows] == list(SCHEMES)
    assert all(row.measured is None and row.why_not for row in rows)


# --- The list --------------------------------------------------------------------------------


def test_claims_are_numbered_and_worded() -> None:
    assert [claim.number for claim in CLAIMS] == list(range(1, len(CLAIMS) + 1))
    for claim in CLAIMS:
        assert claim.text.endswith(".") and claim.title and claim.formula and claim.source


def test_a_new_claim_is_one_entry() -> None:
    def test(view: View) -> tuple[Evidence, ...]:
        (point, *_) = view.points_of("block-causal", "paper")
        seconds = view.service_seconds((point,))[:, 0].tolist()
        return (
            Evidence("a block", "s", (None, 60.0), over_rounds(seconds, is_positive=True), None),
        )

    claim = Claim(9, "Patience", "A block takes less than a minute.", "t < 60 s", "here", test)
    *_, new = judge(claims_records.agreeing(), (*CLAIMS, claim))
    assert (new.claim, new.verdict) == (claim, SUPPORTED)
    assert len(new.explanation) == 1 and new.explanation[0].startswith("a block: 0.")


def test_all_findings_of_all_claims_share_the_risk() -> None:
    judgements = judge(claims_records.agreeing())
    count = sum(len(one.findings) for one in judgements)
    assert 30 <= count <= 50
    for one in judgements:
        assert (1 - one.confidence) / 2 * count == pytest.approx(FAMILY_RISK)
        for finding in one.findings:
            assert finding.fitted is not None
            assert finding.bounds == finding.fitted.interval(one.confidence)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_judgement_is_whole(name: str) -> None:
    record = EXAMPLES[name]()
    judgements = judge(record)
    assert judgements == judge(record)
    for one in judgements:
        assert one.findings
        assert len(one.explanation) >= len(one.findings)
        for finding, told in zip(one.findings, one.explanation, strict=False):
            assert told.startswith(finding.what) and finding.verdict in told
            assert (finding.why_not is not None) == (finding.verdict == NOT_IDENTIFIABLE)
            assert (finding.bounds is None) <= (finding.verdict == NOT_IDENTIFIABLE)
        for told in one.explanation:
            assert "\n" not in told and "nan" not in told and told.endswith(".")


# --- Ratios ----------------------------------------------------------------------------------


def test_ratios_are_told_at_every_size_that_two_schemes_share() -> None:
    rows = ratio_rows(View(claims_records.agreeing()))
    # 5 or 6 steps, 5 more contexts, 3 more blocks and a larger model.
    assert Counter((row.scheme, row.other) for row in rows) == {
        ("encoder-decoder", "outpaint"): 14,
        ("block-causal", "outpaint"): 14,
        ("block-causal", "encoder-decoder"): 15,
    }
    for row in rows:
        agrees = 1 / RATIO_TOLERANCE <= row.measured.value / row.flops_ratio <= RATIO_TOLERANCE
        assert (row.cause is None) == agrees
        if row.workload.model == "sao-small":
            assert row.model_ratio == pytest.approx(row.measured.value, rel=0.05)
        else:
            assert row.model_ratio is None


def test_the_claim_model_finds_the_planted_costs() -> None:
    view = View(claims_records.agreeing())
    model = fit_claim_model(view)
    assert model is not None and model.why_not is None
    law = claims_records.Law()
    for name, cost in (
        ("cE", law.encode_row_seconds),
        ("cD", law.step_row_seconds),
        ("cA", law.pair_seconds),
        ("cS", law.pass_seconds),
    ):
        assert model.coefficients[name].value == pytest.approx(cost, rel=0.1), name
    assert len(model.predicted) == len(fitted_points(view)) == 41


def test_launches_are_named_where_passes_have_a_large_constant() -> None:
    record = claims_records.launches()
    one = judged(record, 5)
    assert one.verdict == CONTRADICTED
    causes = Counter(row.cause for row in ratio_rows(View(record)))
    assert causes["launches"] > 20 and causes["bandwidth"] == 0
    (told,) = (told for told in one.explanation if "(launches)" in told)
    assert "ms of compute" in told and "passes, and took" in told


def test_on_a_launch_bound_machine_launches_explain_the_ratios() -> None:
    causes = Counter(row.cause for row in ratio_rows(View(claims_records.launch_bound())))
    assert set(causes) <= {None, "launches"}


def test_bandwidth_is_named_where_times_follow_the_bound() -> None:
    record = planted(bytes_per_second=6.4e9)
    points = tuple(
        dataclasses.replace(
            point,
            visits=tuple(
                Visit(index, 1.2 * point.cost.bound_ms * (1 + 0.001 * index), None, None)
                for index in range(4)
            ),
        )
        for point in record.points
    )
    bound = dataclasses.replace(record, points=points)
    causes = Counter(row.cause for row in ratio_rows(View(bound)))
    assert set(causes) == {None, "bandwidth"}
    assert any("(bandwidth)" in told for told in judged(bound, 5).explanation)


def test_a_ratio_that_nothing_predicts_is_said_to_be_so() -> None:
    record = planted(noise=0.005, block_causal_factor=3.0, outpaint_step_creep=0.5)
    causes = Counter(row.cause for row in ratio_rows(View(record)))
    assert causes["nothing known"] > 0


# --- Memory ----------------------------------------------------------------------------------


def test_what_fits_is_what_holds_both_peaks() -> None:
    record = claims_records.agreeing()
    probe = record.memory[0]
    footprint = dataclasses.replace(probe.cost.footprint, weight_bytes=7_900_000_000)
    large = dataclasses.replace(probe, cost=dataclasses.replace(probe.cost, footprint=footprint))
    cases = (
        (large, (7_000_000_000,) * 2, (False, False, True, True, True)),
        (large, (8_100_000_000,) * 2, (False, False, False, True, True)),
        (probe, (20_000_000_000,) * 2, (False,) * 5),
        (probe, (700_000_000,) * 2, (True,) * 5),
    )
    for one, grown_bytes, fits in cases:
        grown = dataclasses.replace(one, grown_bytes=grown_bytes)
        changed = dataclasses.replace(record, memory=(grown, *record.memory[1:]))
        row = memory_rows(View(changed))[0]
        assert row.fits == dict(zip(LAPTOP_VRAM_GB, fits, strict=True))
        told = " ".join(judged(changed, 7).explanation)
        assert ("fits into none" in told) == (not any(fits))


def test_the_rivals_are_told_per_second_of_audio() -> None:
    told = " ".join(judged(claims_records.agreeing(), 6).explanation)
    assert "mrt1-large, 761.6 M parameters" in told.replace("\N{NO-BREAK SPACE}", " ")
    assert "passes one after the other; bound by compute" in told


def test_one_step_is_singular_and_little_memory_is_told_in_megabytes() -> None:
    judgements = judge(claims_records.agreeing())
    told = " ".join(" ".join(one.explanation) for one in judgements)
    assert "time at 1 step" in told and "1 steps" not in told.replace("11 steps", "")
    assert "MB of cache" in told.replace("\N{NO-BREAK SPACE}", " ")
    assert " 0.00" not in told.split("holds", 1)[1].split("fits", 1)[0]
