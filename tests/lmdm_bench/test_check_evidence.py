import dataclasses

import pytest

import check_records
from lmdm_bench import format as shown
from lmdm_bench.check_conditions import Case
from lmdm_bench.check_evidence import evidence, power_words, worst_words
from lmdm_bench.check_record import CheckCell, CheckRecord, Incident
from lmdm_bench.check_summary import summarise_check
from lmdm_bench.record import Estimate, Gpu
from lmdm_bench.steadiness import Steadiness


def case(record: CheckRecord, cell: CheckCell | None = None, **figures) -> Case:
    """Of the first cell, with planted figures of its summary."""
    cell = cell or record.check_cells[0]
    summary = summarise_check(cell, record.settings, record.harness)
    return Case(record, cell, dataclasses.replace(summary, **figures))


def lines(record: CheckRecord, cell: CheckCell | None = None, **figures) -> dict[str, str]:
    found: dict[str, str] = {}
    for label, text in evidence(case(record, cell, **figures)):
        found[label] = f"{found.get(label, '')}{text}\n".replace(shown.NBSP, " ")
    return {label: text.rstrip() for label, text in found.items()}


ASKED_FOR = {
    "played",
    "dropouts",
    "by the tail's model",
    "steady rtf",
    "cold rtf",
    "steady ÷ cold",
    "change point",
    "service time p50",
    "service time p95",
    "service time p99",
    "max_inference_time",
    "period",
    "least slack",
    "without a miss",
    "within the target",
    "control_to_sound p50",
    "control_to_sound p95",
    "worst blocks",
    "memory left",
    "harness alone",
    "fixed work",
    "power",
}


@pytest.mark.parametrize("name", [one for one in check_records.EXAMPLES if one != "failed"])
def test_everything_that_was_asked_for_is_told(name):
    found = lines(check_records.EXAMPLES[name]())
    assert set(found) >= ASKED_FOR and all(found[label] for label in ASKED_FOR)
    assert not [text for text in found.values() if "None" in text or "nan" in text]


def test_dropouts_have_their_silence_bursts_and_clusters():
    found = lines(check_records.with_stalls())
    assert found["dropouts"] == "2; 12.1 [1.5, 43.7] an hour, at 95 % at most 38.1"
    assert found["silence"] == "8.85 s, 1 % of the time; the longest gap 6.30 s"
    assert found["blocks missed"] == "7, in runs of 6, 1"
    assert found["missed after a miss"].startswith("0.714 [")
    assert "silence" not in lines(check_records.likely())


def test_many_bursts_are_told_by_the_longest():
    assert lines(check_records.with_spikes())["blocks missed"].endswith("1, 1, 1 and 5 shorter")


def test_a_percentile_without_an_interval_says_what_it_needs():
    found = lines(check_records.short())
    assert found["service time p99"] == "n/a (needs 368 blocks)"
    assert found["control_to_sound p95"].startswith("n/a (needs 72")
    assert found["within the target"] == "not proven by this run"


def test_the_change_point_and_the_period_have_their_significance():
    thermal = Estimate(1.36, (1.3, 1.4), 9, "planted", None)
    rtf = Estimate(0.8, (0.7, 0.9), 9, "planted", None)
    steadiness = Steadiness(90, 0.0004, rtf, rtf, rtf, thermal)
    found = lines(check_records.with_heat(), steadiness=steadiness)
    assert found["change point"] == "from block 90 on, 3.3 min in (p < 0.001)"
    assert found["steady ÷ cold"] == "1.36 [1.30, 1.40]"
    none = dataclasses.replace(steadiness, change_block=None, change_p=0.4)
    found = lines(check_records.with_heat(), steadiness=none)
    assert found["change point"] == "none found (p = 0.400)"
    period = lines(check_records.with_spikes())["period"]
    assert period.startswith("24") and "apart (p " in period
    assert lines(check_records.likely(), period=None)["period"].startswith("n/a (")


def test_a_period_that_chance_makes_too_is_none():
    period = summarise_check(
        check_records.with_spikes().check_cells[0],
        check_records.with_spikes().settings,
        check_records.with_spikes().harness,
    ).period
    weak = dataclasses.replace(period, p=0.05)
    assert lines(check_records.likely(), period=weak)["period"] == "none found (p = 0.050)"


def test_figures_are_told_with_and_without_the_first_blocks():
    found = lines(check_records.likely())["without first blocks"]
    assert found.startswith("rtf 0.67 [") and "1 block left out" in found
    cell = check_records.likely().check_cells[0]
    only = dataclasses.replace(cell, blocks=cell.blocks[:1])
    assert lines(check_records.likely(), only)["without first blocks"] == "n/a (all are)"


def test_the_worst_blocks_have_their_causes():
    record = check_records.with_stalls()
    cell = record.check_cells[0]
    labels = {60: ("gc",), 61: ("unknown",)}
    blocks = tuple(
        dataclasses.replace(one, block=dataclasses.replace(one.block, labels=labels.get(at, ())))
        for at, one in enumerate(cell.blocks)
    )
    found = evidence(case(record, dataclasses.replace(cell, blocks=blocks)))
    at = [label for label, _ in found].index("worst blocks")
    worst = [text.replace(shown.NBSP, " ") for _, text in found[at : at + 3]]
    assert worst[0] == "block 61: took 4.95 s, 3.24 s late (cause unknown)"
    assert worst[1] == "block 62: took 1.58 s, 2.59 s late"
    assert [label for label, _ in found[at + 1 : at + 3]] == ["", ""]
    early = worst_words(blocks[10]).replace(shown.NBSP, " ")
    assert early.startswith("block 10: took 1.") and early.endswith("early")
    assert worst_words(blocks[60]).endswith("(gc)")


def test_the_prebuffer_of_a_stream_that_falls_behind_is_only_this_run_s():
    told = lines(check_records.with_heat())["without a miss"]
    assert told == "prebuffer 23 (closed form), 23 (replayed); a longer run needs more"
    told = lines(check_records.with_stalls())["without a miss"]
    assert told == "prebuffer 4 (closed form), 4 (replayed)"


def test_slack_says_on_which_side():
    assert lines(check_records.likely())["least slack"].startswith("2.81 s early; p1 ")
    assert lines(check_records.with_stalls())["least slack"].startswith("none, 3.24 s late; ")


def test_a_sound_card_has_two_numbers():
    found = lines(check_records.on_a_sound_card())
    assert found["sound card"] == (
        "jack-dummy: 16.7 % of 2 646 000 frames missing, ring underruns: 22, xruns: 1"
    )
    assert found["callbacks"].startswith("10 330 of 10 336, the longest gap 9.20 ms")
    cell = check_records.on_a_sound_card().check_cells[0]
    count = dataclasses.replace(cell.device_count, xruns=None, frames_due=0)
    found = lines(check_records.on_a_sound_card(), dataclasses.replace(cell, device_count=count))
    assert "n/a of 0 frames" in found["sound card"] and "xruns: n/a" in found["sound card"]


def test_what_is_missing_has_its_reason():
    record = check_records.likely()
    cell = record.check_cells[0]
    canary = dataclasses.replace(cell.canary, times_ms=(), work_ms=(), reason="no wait was long")
    bare = dataclasses.replace(cell, canary=canary, controls=(), memory_used_bytes=None)
    harness = dataclasses.replace(record.harness, lateness_ms=(), reason="it failed")
    found = lines(dataclasses.replace(record, harness=harness), bare)
    assert found["fixed work"] == "n/a (no wait was long)"
    assert found["control_to_sound"] == "n/a (nothing was changed)"
    assert found["memory left"] == "n/a of 24.0 GiB"
    assert found["harness alone"] == "n/a (it failed)"


def test_incidents_are_told():
    cell = check_records.likely().check_cells[0]
    cell = dataclasses.replace(cell, incidents=(Incident(90_000.0, "suspend", "for\n30 s"),))
    assert lines(check_records.likely(), cell)["incident"] == "suspend, 1.5 min in: for 30 s"


@pytest.mark.parametrize(
    ("readings", "at_start", "expected"),
    [
        ((1.0, None, 1.0), None, "mains"),
        ((0.0,), True, "battery"),
        ((1.0, 0.0), True, "mains and battery in turn"),
        ((), True, "mains"),
        ((), False, "battery"),
        ((None,), None, "n/a (this machine reports no power supply)"),
    ],
)
def test_the_power_source(readings, at_start, expected):
    record = check_records.likely()
    cell = record.check_cells[0]
    telemetry = dataclasses.replace(cell.telemetry, columns={"is_on_mains": readings})
    machine = dataclasses.replace(record.machine, is_on_mains=at_start)
    gpu = Gpu("X", "8.9", 1, 1, None, 80.0)
    told = case(
        dataclasses.replace(record, machine=dataclasses.replace(machine, gpus=(gpu,))),
        dataclasses.replace(cell, telemetry=telemetry),
    )
    assert power_words(told).replace(shown.NBSP, " ") == f"{expected}, GPU limited to 80.0 W"


def test_nothing_is_told_of_what_was_not_played():
    assert evidence(case(check_records.failed())) == (("played", "nothing"),)


@pytest.mark.parametrize("num_blocks", [1, 2, 3])
def test_a_few_blocks_are_told_without_an_error(num_blocks):
    record = check_records.record(check_records.cell(check_records.steady(num_blocks)))
    assert dict(evidence(case(record)))["played"]
