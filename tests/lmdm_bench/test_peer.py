"""The peer's record loads back, and its ratio is that of pairs."""

import pytest

import peer_records
from lmdm_bench import peer
from lmdm_bench.peer import PEER_SCHEMA_VERSION, PeerRecord
from lmdm_bench.record import RecordError, parse, to_json


def test_the_record_loads_back_equal() -> None:
    record = peer_records.record()
    assert parse(PeerRecord, PEER_SCHEMA_VERSION, to_json(record), "peer.json") == record


def test_the_record_s_version_is_its_own() -> None:
    assert PEER_SCHEMA_VERSION == 1
    with pytest.raises(RecordError, match="schema_version 1; this version reads 2"):
        parse(PeerRecord, 2, to_json(peer_records.record()), "peer.json")


def test_the_ratio_is_the_median_over_pairs_with_its_interval() -> None:
    faster, slower = peer_records.record().cells
    told = peer.ratio(faster)
    assert told.value == pytest.approx(0.7, abs=0.01)
    assert told.ci95 is not None and told.ci95[1] < 1
    told = peer.ratio(slower)
    assert told.value is not None and told.value > 1


def test_too_few_pairs_have_no_ratio() -> None:
    cell = peer_records.record().cells[0]
    few = type(cell)(*(*list(vars(cell).values())[:5], cell.theirs_ms[:3], cell.ours_ms[:3]))
    assert peer.ratio(few).value is None


def test_every_row_has_a_column_for_each_head() -> None:
    for row in peer.rows(peer_records.record()):
        assert len(row) == len(peer.HEADER)
