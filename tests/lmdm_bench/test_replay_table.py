import dataclasses

import pytest
from rich.console import Console

import check_records
import claims_records
import records
from lmdm_bench import replay_table
from lmdm_bench.check_record import save_check
from lmdm_bench.claims_record import save_claims
from lmdm_bench.errors import InputError
from lmdm_bench.record import RecordError, save
from lmdm_bench.replay_table import replayed, traces_of

COLUMNS = 80
PREBUFFERS = (1, 2, 3, 6, 32)


def printed(record, policy: str = "zero-pad") -> str:
    console = Console(width=COLUMNS, force_terminal=False, highlight=False)
    with console.capture() as capture:
        console.print(replay_table.replay_table(replayed(record, PREBUFFERS, policy)))
    return capture.get().replace("\N{NO-BREAK SPACE}", " ")


def rows(text: str) -> dict[str, list[str]]:
    """The words of each row, by its prebuffer."""
    lines = [line.split() for line in text.splitlines()]
    return {line[0]: line for line in lines if line and line[0] in map(str, PREBUFFERS)}


@pytest.mark.parametrize("name", check_records.EXAMPLES)
@pytest.mark.parametrize("policy", ["zero-pad", "stall", "skip"])
def test_every_prebuffer_has_a_whole_row_in_80_columns(name, policy):
    text = printed(check_records.EXAMPLES[name](), policy)
    assert max(map(len, text.splitlines())) <= COLUMNS and "…" not in text
    assert set(rows(text)) == set(map(str, PREBUFFERS))


def test_a_row_says_what_would_have_been_heard():
    found = rows(printed(check_records.with_stalls()))
    assert found["2"][1:3] == ["7", "2"] and found["6"][1:3] == ["0", "0"]
    assert found["6"][-7:] == ["none", "0", "%", "14.5", "to", "15.5", "s"]


def test_a_stream_that_falls_behind_is_mostly_never_heard():
    assert rows(printed(check_records.too_slow()))["1"][-2:] == ["mostly", "never"]


def test_a_prebuffer_that_holds_the_whole_trace_is_not_told():
    assert set(rows(printed(check_records.short()))["32"][1:]) == {"n/a"}


def test_how_the_blocks_were_made_is_said():
    assert "made against a clock" in printed(check_records.short())
    text = printed(records.all_ok())
    assert text.count("back to back, not paced") == 3
    assert "9 blocks of 2.23 s" in text


def test_a_stream_without_blocks_says_so():
    assert "no block was made" in printed(check_records.failed())


def test_names_tell_cells_apart():
    record = check_records.short()
    other = record.check_cells[0]
    other = dataclasses.replace(other, workload=dataclasses.replace(other.workload, steps=4))
    both = dataclasses.replace(record, check_cells=(*record.check_cells, other))
    names = [one.name for one in replayed(both, (1,), "stall")]
    assert names == ["block-causal, steps 8", "block-causal, steps 4"]


@pytest.mark.parametrize(
    ("prebuffers", "policy", "words"),
    [((0, 2), "stall", "1 block or more"), ((), "stall", "1 block or more"), ((1,), "x", "'x'")],
)
def test_what_cannot_be_played_is_refused_in_a_sentence(prebuffers, policy, words):
    with pytest.raises(InputError, match=words):
        replayed(check_records.short(), prebuffers, policy)


def test_records_with_traces_are_read_and_others_refused(tmp_path):
    path = tmp_path / "some.json"
    save_check(check_records.short(), path)
    assert traces_of(path) == check_records.short()
    save(records.all_ok(), path)
    assert traces_of(path) == records.all_ok()
    save_claims(claims_records.agreeing(), path)
    with pytest.raises(RecordError, match=r"some\.json has no blocks in a row"):
        traces_of(path)
