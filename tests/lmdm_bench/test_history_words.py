import dataclasses

import histories
from claims_drawn import plain
from histories import CELL, KERNEL
from lmdm_bench.history import history
from lmdm_bench.history_words import (
    NO_COMMIT,
    answer,
    commit_words,
    detail_words,
    from_to_words,
    percent_words,
    plateau_ends,
    records_words,
    series_words,
    unit_words,
)


def test_a_commit_is_eight_letters_and_says_where_files_were_changed():
    entry = histories.entry(3)
    whole = histories.commit(3)
    assert commit_words(entry) == whole[:8]
    assert commit_words(dataclasses.replace(entry, git_is_dirty=True)) == f"{whole[:8]}+"
    assert commit_words(dataclasses.replace(entry, git_commit=None)) == NO_COMMIT


def test_a_series_is_told_by_its_machine_and_by_what_sets_it_apart():
    entries = [
        histories.entry(0, histories.cell(histories.median(1.0), visible_blocks="4")),
        histories.entry(1, histories.cell(histories.median(2.0), steps="2")),
        histories.entry(2, histories.cell(histories.median(3.0), dtype="float32"), kind="check"),
    ]
    alone = history(histories.index(entries[0]), CELL)
    assert series_words(alone[0]) == f"{histories.EPYC} · bfloat16 on cpu"
    assert detail_words(alone[0], alone) == ""
    found = history(histories.index(*entries), CELL)
    assert {series_words(one) for one in found} == {f"{histories.EPYC} · bfloat16 on cpu"}
    assert {detail_words(one, found) for one in found} == {
        "run · steps 8 · visible blocks 4",
        "run · steps 2",
        "check · steps 8",
    }


def test_a_change_is_told_in_percent_and_from_where_to_where():
    (series, _) = history(histories.stepping(), CELL)
    up, down = series.changes
    assert plain(percent_words(up)) == "+10.2 %" and plain(from_to_words(up)) == "312 → 344 ms"
    assert plain(percent_words(down)) == "−19.3 %" and plain(from_to_words(down)) == "344 → 278 ms"


def test_a_plateau_lies_within_its_interval():
    (series, _) = history(histories.stepping(), CELL)
    middle, low, high = plateau_ends(series.plateaus[0])
    assert low < 312 < high and low < middle < high
    assert round(middle / low, 9) == round(high / middle, 9)


def test_times_are_per_block_or_call():
    (block,) = history(histories.one_point(), CELL)
    (kernel,) = history(histories.kernels(), KERNEL)
    assert unit_words(block) == "ms per block" and unit_words(kernel) == "ms per call"


def test_records_are_counted():
    assert plain(records_words(1)) == "1 record" and plain(records_words(2)) == "2 records"


def test_the_answer_is_how_long_it_takes_now_and_since_when():
    (series, other) = history(histories.stepping(), CELL)
    assert plain(answer(series)) == (
        f"280 ms in the last record; 2 changes over 17 records, the last −19.3 % at "
        f"{histories.commit(12)[:8]} of 2026-01-13."
    )
    assert plain(answer(other)) == "9.50 ms in the last record; no change over 5 records."
    (nothing,) = history(histories.nothing_timed(), CELL)
    assert plain(answer(nothing)) == "No time in 2 records."
    (alone,) = history(histories.one_point(), CELL)
    assert plain(answer(alone)) == "312 ms in the only record."


def test_a_change_that_one_record_alone_shows_is_said_to_be_one():
    times = (100.0, 100.0, 100.0, 140.0)
    entries = [
        histories.entry(at, histories.cell(histories.median(ms))) for at, ms in enumerate(times)
    ]
    (series,) = history(histories.index(*entries), CELL)
    assert "1 change over 4 records" in plain(answer(series))
    assert plain(answer(series)).endswith(", which one record says so far.")
