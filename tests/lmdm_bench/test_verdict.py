import dataclasses
import math

import pytest

import check_records
from lmdm_bench.check_conditions import Case, Condition
from lmdm_bench.check_record import CheckCell, CheckRecord, DeviceCount, Incident
from lmdm_bench.check_summary import summarise_check
from lmdm_bench.dropouts import minutes_to_prove
from lmdm_bench.record import Estimate, ServiceTimes
from lmdm_bench.remedies import Remedy
from lmdm_bench.telemetry import GPU_IDLE, POWER_CAP, SOFTWARE_THERMAL
from lmdm_bench.verdict import (
    Judgement,
    Verdict,
    exit_code,
    judge_case,
    judge_check,
    readings,
    slow_down,
)


def told(value: float, low: float | None = None, high: float | None = None) -> Estimate:
    """A figure, and its interval."""
    ends = (value if low is None else low, value if high is None else high)
    return Estimate(value, ends, 1000, "planted", None)


UNTOLD = Estimate(None, None, 10, "planted", "needs more blocks")


def planted(record: CheckRecord | None = None, cell: CheckCell | None = None, **figures) -> Case:
    """Ten minutes that went well, with all figures kept, and these planted instead.

    ``dropouts`` and ``steadiness`` take fields of theirs. Nothing else could be tried: the cell has
    one step and no alternatives.
    """
    record = record or check_records.likely()
    cell = cell or record.check_cells[0]
    workload = dataclasses.replace(cell.workload, steps=1)
    one = dataclasses.replace(cell, workload=workload, alternatives=())
    summary = summarise_check(one, record.settings, record.harness)
    parts = {
        "dropouts": {"per_hour_upper": 0.9, "per_hour_lower": 0.0},
        "steadiness": {
            "change_block": None,
            "steady_rtf": told(0.7, 0.69, 0.71),
            "steady_p99": told(0.8),
        },
    }
    for name, fields in parts.items():
        planted_fields = fields | figures.pop(name, {})
        figures[name] = dataclasses.replace(getattr(summary, name), **planted_fields)
    kept = {
        "modelled_dropouts_per_hour": told(0.1, 0.0, 0.5),
        "memory_margin": 0.5,
        "canary_drift": 0.0,
        "harness_p99_ms": told(0.1),
        "min_slack_ms": 500.0,
        "smallest_prebuffer": record.settings.prebuffer_blocks,
        "has_codec": True,
    }
    return Case(record, one, dataclasses.replace(summary, **(kept | figures)))


def verdict(*arguments, **figures) -> Verdict:
    return judge_case(planted(*arguments, **figures)).verdict


def with_settings(**settings) -> CheckRecord:
    record = check_records.likely()
    return dataclasses.replace(record, settings=dataclasses.replace(record.settings, **settings))


def with_cell(**changes) -> CheckCell:
    return dataclasses.replace(check_records.likely().check_cells[0], **changes)


def with_columns(**columns) -> CheckCell:
    cell = check_records.likely().check_cells[0]
    told = dataclasses.replace(cell.telemetry, columns=cell.telemetry.columns | columns)
    return dataclasses.replace(cell, telemetry=told)


ONE_DROPOUT = {"bursts": (1,), "silence_ms": (100.0,), "num_misses": 1}


def heard(upper: float, lower: float) -> dict:
    """A dropout, and the bounds of its rate."""
    return {"dropouts": {**ONE_DROPOUT, "per_hour_upper": upper, "per_hour_lower": lower}}


SLOWER = {"steadiness": {"steady_rtf": told(1.2, 1.1, 1.3)}}
NEAR = {"steadiness": {"steady_rtf": told(1.0, 0.98, 1.02)}}
CLOSE = {"steadiness": {"steady_p99": told(0.95)}}

BORDERS: list[tuple[str, dict, Verdict]] = [
    ("everything is kept", {}, "REAL-TIME"),
    # Dropouts: the target is 1 an hour.
    ("proven to the target", {"dropouts": {"per_hour_upper": 1.0}}, "REAL-TIME"),
    ("not quite proven", {"dropouts": {"per_hour_upper": 1.001}}, "LIKELY"),
    ("heard, within the target", heard(1.0, 0.2), "REAL-TIME"),
    ("heard, perhaps within it", heard(1.001, 1.0), "INCONCLUSIVE"),
    ("heard, above it", heard(9.0, 1.001), "NOT REAL-TIME"),
    # The tail's model decides what a short run may be called.
    (
        "the model promises the target",
        {
            "dropouts": {"per_hour_upper": 18.0},
            "modelled_dropouts_per_hour": told(0.1, 0.0, 1.0),
        },
        "LIKELY",
    ),
    (
        "the model promises a little more",
        {
            "dropouts": {"per_hour_upper": 18.0},
            "modelled_dropouts_per_hour": told(0.1, 0.0, 1.001),
        },
        "INCONCLUSIVE",
    ),
    (
        "the tail cannot be told",
        {"dropouts": {"per_hour_upper": 18.0}, "modelled_dropouts_per_hour": UNTOLD},
        "INCONCLUSIVE",
    ),
    ("a proof needs no model", {"modelled_dropouts_per_hour": UNTOLD}, "REAL-TIME"),
    # Pace: the interval of the steady factor, against 1.
    ("just below 1", {"steadiness": {"steady_rtf": told(0.99, 0.98, 0.9999)}}, "REAL-TIME"),
    ("perhaps 1", {"steadiness": {"steady_rtf": told(0.99, 0.98, 1.0)}}, "INCONCLUSIVE"),
    ("1 at the least", {"steadiness": {"steady_rtf": told(1.02, 1.0, 1.04)}}, "NOT REAL-TIME"),
    ("perhaps 1, with a dropout above", NEAR | heard(9.0, 1.001), "NOT REAL-TIME"),
    (
        "perhaps 1, with no headroom",
        {"steadiness": {**NEAR["steadiness"], **CLOSE["steadiness"]}},
        "INCONCLUSIVE",
    ),
    # Headroom: the 99th percentile over single blocks.
    ("a tenth to spare", {"steadiness": {"steady_p99": told(0.8999)}}, "REAL-TIME"),
    ("less than a tenth to spare", {"steadiness": {"steady_p99": told(0.9)}}, "MARGINAL"),
    ("p99 is not told, p95 is fine", {"steadiness": {"steady_p99": UNTOLD}}, "LIKELY"),
    # Memory.
    ("a twentieth left", {"memory_margin": 0.05}, "REAL-TIME"),
    ("less than a twentieth left", {"memory_margin": 0.0499}, "MARGINAL"),
    ("nobody knows what is left", {"memory_margin": None}, "LIKELY"),
    # The codec.
    ("without a codec", {"has_codec": False}, "LIKELY"),
    ("without a codec, and too slow", {"has_codec": False, **SLOWER}, "NOT REAL-TIME"),
    # Whether the run is to be trusted: none of these depends on how it went.
    ("work became a tenth slower", {"canary_drift": 0.1}, "REAL-TIME"),
    ("more than a tenth slower", {"canary_drift": 0.1001}, "INCONCLUSIVE"),
    ("more than a tenth faster", {"canary_drift": -0.1001, **SLOWER}, "INCONCLUSIVE"),
    ("no canary", {"canary_drift": None}, "REAL-TIME"),
    ("as late as the closest was early", {"harness_p99_ms": told(500.0)}, "REAL-TIME"),
    ("later than the closest was early", {"harness_p99_ms": told(500.1)}, "INCONCLUSIVE"),
    (
        "later than the latest was late",
        {"harness_p99_ms": told(500.1), "min_slack_ms": -500.0},
        "INCONCLUSIVE",
    ),
    ("the harness is not told", {"harness_p99_ms": UNTOLD}, "REAL-TIME"),
    ("two blocks", {"dropouts": {"num_blocks": 2}}, "INCONCLUSIVE"),
    ("three blocks", {"dropouts": {"num_blocks": 3}}, "REAL-TIME"),
]


@pytest.mark.parametrize(
    ("figures", "expected"), [row[1:] for row in BORDERS], ids=[row[0] for row in BORDERS]
)
def test_the_table_at_its_borders(figures, expected):
    assert verdict(**figures) == expected


@pytest.mark.parametrize(("share", "expected"), [(0.899, "LIKELY"), (0.9, "MARGINAL")])
@pytest.mark.parametrize("which", ["p50", "p95"])
def test_a_lower_quantile_takes_the_99th_along(which, share, expected):
    block_ms = check_records.likely().check_cells[0].block_ms
    times = {"p50": told(0.5 * block_ms), "p95": UNTOLD, which: told(share * block_ms)}
    service = ServiceTimes(times["p50"], times["p95"], UNTOLD)
    found = verdict(service_ms=service, steadiness={"steady_p99": UNTOLD})
    assert found == expected


BROKEN = [
    heard(9.0, 1.001),
    heard(1.001, 0.2),
    SLOWER,
    NEAR | heard(9.0, 1.001),
    CLOSE,
    {"memory_margin": 0.0},
]


@pytest.mark.parametrize("figures", BROKEN)
def test_with_a_remedy_it_is_marginal(monkeypatch, figures):
    remedy = Remedy("steps", "4", True, "4 steps instead of 8")
    monkeypatch.setattr("lmdm_bench.verdict.find_remedies", lambda *arguments: (remedy,))
    judgement = judge_case(planted(**figures))
    assert judgement.verdict == "MARGINAL" and judgement.remedies == (remedy,)


@pytest.mark.parametrize("figures", [{}, {"dropouts": {"per_hour_upper": 18.0}}])
def test_where_nothing_is_wanting_no_remedy_is_looked_for(monkeypatch, figures):
    monkeypatch.delattr("lmdm_bench.verdict.find_remedies")
    assert judge_case(planted(**figures)).remedies == ()


def test_a_remedy_is_asked_for_what_is_wanting(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "lmdm_bench.verdict.find_remedies", lambda *arguments: asked.append(arguments[1]) or ()
    )
    verdict(**heard(9.0, 1.001), memory_margin=0.0)
    verdict(**heard(1.001, 0.2))
    verdict(**SLOWER)
    assert asked == [{"dropouts", "memory"}, {"dropouts"}, {"pace"}]


@pytest.mark.parametrize(
    ("p95", "expected"), [(2.0, "REAL-TIME"), (2.001, "MARGINAL"), (None, "LIKELY")]
)
def test_a_budget_is_kept_by_the_95th_percentile(p95, expected):
    record = with_settings(control_budget_seconds=2.0)
    case = planted(record)
    # Thirty changes, all of them in the first half of the budget.
    cell = dataclasses.replace(
        case.cell,
        controls=tuple(
            dataclasses.replace(one, heard_ms=one.arrived_ms + 900.0) for one in case.cell.controls
        ),
    )
    control = dataclasses.replace(
        case.summary.control_to_sound_seconds, p95=UNTOLD if p95 is None else told(p95)
    )
    assert verdict(record, cell, control_to_sound_seconds=control) == expected


@pytest.mark.parametrize(("num_later", "expected"), [(4, "LIKELY"), (5, "MARGINAL")])
def test_a_budget_is_broken_where_chance_would_seldom_be_that_late(num_later, expected):
    # P(4 or more of 30 at 5 % each) is 6.1 %, of 5 or more 1.6 %.
    record = with_settings(control_budget_seconds=2.0)
    controls = [one for one in check_records.likely().check_cells[0].controls if one.heard_ms]
    assert len(controls) == 30
    late = tuple(
        dataclasses.replace(one, heard_ms=one.arrived_ms + (2500 if at < num_later else 500))
        for at, one in enumerate(controls)
    )
    assert verdict(record, with_cell(controls=late)) == expected


def test_a_budget_without_a_change_that_was_heard_cannot_be_judged():
    record = with_settings(control_budget_seconds=2.0)
    assert verdict(record, with_cell(controls=())) == "INCONCLUSIVE"
    assert verdict(record, with_cell(controls=()), **SLOWER) == "NOT REAL-TIME"


def test_blocks_that_waited_for_memory_break_it():
    cell = check_records.likely().check_cells[0]
    block = dataclasses.replace(cell.blocks[9].block, labels=("spill",))
    blocks = (*cell.blocks[:9], dataclasses.replace(cell.blocks[9], block=block), *cell.blocks[10:])
    assert verdict(cell=dataclasses.replace(cell, blocks=blocks)) == "MARGINAL"


@pytest.mark.parametrize(("load", "expected"), [(0.25, "REAL-TIME"), (0.26, "INCONCLUSIVE")])
def test_other_programs_may_take_a_quarter(load, expected):
    cell = with_columns(other_load_share=(load, None, load))
    assert verdict(cell=cell) == expected
    assert verdict(with_settings(stress="cpu"), cell) == "REAL-TIME"


def test_what_was_read_before_the_first_block_does_not_count():
    telemetry = check_records.likely().check_cells[0].telemetry
    early = dataclasses.replace(
        telemetry, times_ms=(-500.0, 0.0, 500.0), columns={"other_load_share": (0.9, None, 0.1)}
    )
    assert readings(early, "other_load_share") == [0.1]
    assert readings(early, "gpu_power_watts") == []
    busy_before = with_cell(telemetry=early)
    assert verdict(cell=busy_before) == "REAL-TIME"


@pytest.mark.parametrize(
    ("columns", "is_explained"),
    [
        ({}, False),
        ({"gpu_throttle_bits": (0.0, None, float(SOFTWARE_THERMAL))}, True),
        ({"gpu_throttle_bits": (float(GPU_IDLE), float(POWER_CAP))}, False),
        ({"gpu_sm_clock_mhz": (1500.0, 1400.0, 1340.0)}, True),
        ({"cpu_frequency_mhz": (3000.0, None, 2900.0, 2750.0)}, False),
        ({"cpu_frequency_mhz": (3000.0,)}, False),
    ],
)
def test_slower_work_is_explained_by_a_sign_of_throttling(columns, is_explained):
    expected = "REAL-TIME" if is_explained else "INCONCLUSIVE"
    assert verdict(cell=with_columns(**columns), canary_drift=0.2) == expected


def test_a_block_that_was_throttled_explains_it_too():
    cell = check_records.likely().check_cells[0]
    block = dataclasses.replace(cell.blocks[9].block, labels=("throttle",))
    blocks = (*cell.blocks[:9], dataclasses.replace(cell.blocks[9], block=block), *cell.blocks[10:])
    cell = dataclasses.replace(cell, blocks=blocks)
    assert verdict(cell=cell, canary_drift=0.2) == "REAL-TIME"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("suspend", "INCONCLUSIVE"),
        ("clock jump", "REAL-TIME"),
        ("telemetry lost", "REAL-TIME"),
        ("stalled", "INCONCLUSIVE"),
        ("killed", "INCONCLUSIVE"),
        ("audio lost", "INCONCLUSIVE"),
    ],
)
def test_what_befell_the_run(kind, expected):
    cell = with_cell(incidents=(Incident(1000.0, kind, "planted"),))
    assert verdict(cell=cell) == expected
    # What went wrong before is told all the same, unless the machine slept.
    worse = "INCONCLUSIVE" if kind == "suspend" else "NOT REAL-TIME"
    assert verdict(cell=cell, **SLOWER) == worse


@pytest.mark.parametrize(
    ("status", "expected", "worse"),
    [
        ("INTERRUPTED", "REAL-TIME", "NOT REAL-TIME"),
        ("FAILED", "INCONCLUSIVE", "NOT REAL-TIME"),
        ("OOM", "INCONCLUSIVE", "NOT REAL-TIME"),
        ("INCORRECT", "INCONCLUSIVE", "INCONCLUSIVE"),
    ],
)
def test_a_run_that_ended_early_is_judged_by_what_there_is(status, expected, worse):
    cell = with_cell(status=status, reason="planted")
    assert verdict(cell=cell) == expected
    assert verdict(cell=cell, **SLOWER) == worse


def test_what_was_not_proved_right_is_not_judged():
    cell = check_records.likely().check_cells[0]
    check = dataclasses.replace(cell.check, is_within_budget=False)
    assert verdict(cell=dataclasses.replace(cell, check=check)) == "INCONCLUSIVE"


def test_a_card_that_ran_dry_without_a_late_block_is_a_riddle():
    count = check_records.on_a_sound_card().check_cells[0].device_count
    assert isinstance(count, DeviceCount)
    cell = with_cell(device_count=count)
    assert verdict(cell=cell) == "INCONCLUSIVE"
    assert verdict(cell=cell, **heard(9.0, 1.001)) == "NOT REAL-TIME"
    full = dataclasses.replace(count, ring_underruns=0)
    assert verdict(cell=with_cell(device_count=full)) == "REAL-TIME"


def stepped(block: int, growth: float) -> CheckCell:
    """Blocks that take longer from one on."""
    times = check_records.steady(300, 1000.0)
    return check_records.cell(
        [time * (growth if index >= block else 1) for index, time in enumerate(times)]
    )


@pytest.mark.parametrize(
    ("block", "growth", "expected"),
    [
        (200, 1.3, "REAL-TIME"),
        (201, 1.3, "INCONCLUSIVE"),
        (201, 1.05, "REAL-TIME"),
        (201, 0.7, "REAL-TIME"),
    ],
)
def test_a_stream_that_has_just_become_slower_is_not_steady(block, growth, expected):
    case = planted(cell=stepped(block, growth), steadiness={"change_block": block})
    judgement = judge_case(case)
    assert judgement.verdict == expected
    assert (slow_down(case) is not None) == (growth > 1.1)
    if expected == "INCONCLUSIVE":
        minutes = case.played_minutes + judgement.minutes_needed
        blocks = minutes * 60 / case.cell.workload.block_seconds
        assert blocks * 2 / 3 == pytest.approx(block)


# --- how much longer it takes ----------------------------------------------


def test_a_likely_stream_needs_what_the_bound_needs():
    case = planted(dropouts={"per_hour_upper": 18.0})
    judgement = judge_case(case)
    assert judgement.minutes_needed == pytest.approx(180 - case.played_minutes, abs=0.5)
    assert minutes_to_prove(1.0, 0) == pytest.approx(-60 * math.log(0.05))


def test_a_lenient_target_needs_the_blocks_of_a_percentile():
    record = with_settings(target_dropouts_per_hour=30.0)
    case = planted(record, dropouts={"per_hour_upper": 18.0}, steadiness={"steady_p99": UNTOLD})
    judgement = judge_case(case)
    assert judgement.verdict == "LIKELY"
    minutes = 368 * case.cell.workload.block_seconds / 60
    assert judgement.minutes_needed == pytest.approx(minutes - case.played_minutes)


def test_a_budget_needs_72_changes():
    record = with_settings(control_budget_seconds=60.0, target_dropouts_per_hour=300.0)
    case = planted(record)
    judgement = judge_case(case)
    assert judgement.verdict == "LIKELY"
    n = case.summary.control_to_sound_seconds.n
    assert judgement.minutes_needed == pytest.approx(case.played_minutes * (72 / n - 1))


def test_a_short_run_should_be_ten_minutes():
    judgement = judge_check(check_records.short())[0]
    assert judgement.verdict == "INCONCLUSIVE"
    played = judgement.summary.dropouts.playing_hours * 60
    assert judgement.minutes_needed == pytest.approx(10 - played)


def test_where_the_tail_promises_too_little_only_the_proof_helps():
    case = planted(
        dropouts={"per_hour_upper": 18.0}, modelled_dropouts_per_hour=told(5.0, 0.1, 50.0)
    )
    judgement = judge_case(case)
    assert judgement.minutes_needed == pytest.approx(180 - case.played_minutes, abs=0.5)


def test_one_dropout_needs_a_longer_proof():
    judgement = judge_case(planted(**heard(28.0, 0.3)))
    played = judgement.summary.dropouts.playing_hours * 60
    assert judgement.minutes_needed == pytest.approx(minutes_to_prove(1.0, 1) - played)


@pytest.mark.parametrize("figures", [{}, SLOWER, {"canary_drift": 1.0}, CLOSE])
def test_where_time_does_not_help_none_is_asked_for(figures):
    assert judge_case(planted(**figures)).minutes_needed is None


# --- the rest --------------------------------------------------------------


def test_the_examples():
    found = {
        name: [one.verdict for one in judge_check(example())]
        for name, example in check_records.EXAMPLES.items()
    }
    assert found == {
        "likely": ["LIKELY"],
        "stalls": ["MARGINAL"],
        "heat": ["MARGINAL"],
        "spikes": ["MARGINAL"],
        "too slow": ["NOT REAL-TIME"],
        "short": ["INCONCLUSIVE"],
        "failed": ["INCONCLUSIVE", "INCONCLUSIVE"],
        "sound card": ["MARGINAL"],
    }


@pytest.mark.parametrize("num_blocks", [1, 2, 3, 4, 5])
def test_a_handful_of_blocks_is_no_verdict_and_no_error(num_blocks):
    record = check_records.record(check_records.cell(check_records.steady(num_blocks)))
    judgement = judge_check(record)[0]
    assert judgement.verdict == "INCONCLUSIVE" and judgement.reasons


def test_a_few_blocks_are_enough_where_it_is_far_too_slow():
    cell = check_records.cell(check_records.steady(6, 9000.0), "outpaint", alternatives=())
    cell = dataclasses.replace(cell, workload=dataclasses.replace(cell.workload, steps=None))
    assert judge_check(check_records.record(cell))[0].verdict == "NOT REAL-TIME"


def test_every_judgement_has_its_reasons_and_conditions():
    for example in check_records.EXAMPLES.values():
        for one in judge_check(example()):
            assert one.reasons and all(one.reasons)
            assert [row.name for row in one.conditions][:4] == [
                "pace",
                "dropouts",
                "headroom",
                "memory",
            ]


def judged(one: Verdict) -> Judgement:
    condition = Condition("pace", "", "", "kept")
    summary = judge_check(check_records.short())[0].summary
    return Judgement(one, ("planted",), (), None, (condition,), summary)


@pytest.mark.parametrize(
    ("verdicts", "code", "strict"),
    [
        (["REAL-TIME"], 0, 0),
        (["LIKELY"], 0, 3),
        (["MARGINAL"], 1, 1),
        (["NOT REAL-TIME"], 2, 2),
        (["INCONCLUSIVE"], 3, 3),
        ([], 3, 3),
        (["REAL-TIME", "LIKELY"], 0, 3),
        (["LIKELY", "INCONCLUSIVE"], 3, 3),
        (["INCONCLUSIVE", "MARGINAL"], 1, 1),
        (["MARGINAL", "NOT REAL-TIME", "INCONCLUSIVE"], 2, 2),
    ],
)
def test_the_command_exits_with_the_gravest(verdicts, code, strict):
    judgements = [judged(one) for one in verdicts]
    assert exit_code(judgements, is_strict=False) == code
    assert exit_code(judgements, is_strict=True) == strict
