import copy
import dataclasses
import json
import os
import types
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import records
from lmdm_bench.record import (
    SCHEMA_VERSION,
    Cell,
    Record,
    RecordError,
    Status,
    from_json,
    load,
    save,
    to_json,
    write_whole,
)

FAILURES = tuple(one for one in typing.get_args(Status) if one != "OK")
TEXT = st.text(max_size=8)


def anything(kind: Any) -> st.SearchStrategy[Any]:
    """Every value that a field of this kind may have."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Cell:
        return st.one_of(cells("OK"), st.sampled_from(FAILURES).flatmap(cells))
    if kind is Record:
        return fields(Record, schema_version=st.just(SCHEMA_VERSION))
    if dataclasses.is_dataclass(kind):
        return fields(kind)
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*map(anything, arguments))
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin is dict:
        return st.dictionaries(TEXT, anything(arguments[1]), max_size=2)
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(anything(arguments[0]), max_size=2).map(tuple)
    if origin is tuple:
        return st.tuples(*map(anything, arguments))
    return {
        str: TEXT,
        int: st.integers(),
        bool: st.booleans(),
        float: st.floats(allow_nan=False, allow_infinity=False),
        type(None): st.none(),
    }[kind]


def fields(kind: Any, **fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    drawn = {name: anything(hint) for name, hint in typing.get_type_hints(kind).items()}
    return st.builds(kind, **drawn | fixed)


def cells(status: str) -> st.SearchStrategy[Cell]:
    summary = typing.get_args(typing.get_type_hints(Cell)["summary"])[0]
    is_ok = status == "OK"
    return fields(
        Cell,
        status=st.just(status),
        reason=st.none() if is_ok else TEXT,
        summary=anything(summary) if is_ok else st.none(),
    )


def small() -> Record:
    """A record with one of everything."""
    cell = records.cuda().cells[1]
    return dataclasses.replace(
        records.cuda(), cells=(dataclasses.replace(cell, blocks=cell.blocks[:1]),)
    )


def places(value: Any, where: str = "record") -> Iterator[tuple[tuple[Any, ...], str]]:
    """Each field of the schema in this record: the way to it in JSON, and its name."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield (field.name,), f"{where}.{field.name}"
            inner = places(getattr(value, field.name), f"{where}.{field.name}")
            yield from (((field.name, *way), name) for way, name in inner)
    if isinstance(value, tuple):
        for at, one in enumerate(value):
            yield from (((at, *way), name) for way, name in places(one, f"{where}[{at}]"))
    if isinstance(value, dict):
        for key, one in value.items():
            yield from (((key, *way), name) for way, name in places(one, f"{where}.{key}"))


PLACES = [pytest.param(way, name, id=name) for way, name in places(small())]
WHOLE = json.loads(to_json(small()))


def reached(data: Any, way: tuple[Any, ...]) -> Any:
    for step in way:
        data = data[step]
    return data


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(anything(Record))
def test_any_record_comes_back_from_json_as_it_was(record):
    assert from_json(to_json(record)) == record


@pytest.mark.parametrize("name", records.EXAMPLES)
def test_examples_come_back_from_a_file_as_they_were(tmp_path, name):
    record = records.EXAMPLES[name]()
    save(record, tmp_path / "record.json")
    assert load(tmp_path / "record.json") == record


@pytest.mark.parametrize(("way", "name"), PLACES)
def test_a_missing_field_is_named(way, name):
    data = copy.deepcopy(WHOLE)
    del reached(data, way[:-1])[way[-1]]
    expected = "schema_version" if name == "record.schema_version" else f"{name} is missing"
    with pytest.raises(RecordError) as error:
        from_json(json.dumps(data), "file.json")
    assert expected in str(error.value) and "file.json" in str(error.value)


@pytest.mark.parametrize(("way", "name"), PLACES)
def test_a_field_of_the_wrong_kind_is_named(way, name):
    data = copy.deepcopy(WHOLE)
    is_list = isinstance(reached(data, way), list)
    reached(data, way[:-1])[way[-1]] = {"an": "object"} if is_list else ["a list"]
    with pytest.raises(RecordError) as error:
        from_json(json.dumps(data), "file.json")
    assert name.removeprefix("record.") in str(error.value) and "file.json" in str(error.value)


@pytest.mark.parametrize("name", sorted({name.rpartition(".")[0] for _, name in places(small())}))
def test_an_unknown_field_is_named(name):
    (way, *_) = [way[:-1] for way, one in places(small()) if one.rpartition(".")[0] == name]
    data = copy.deepcopy(WHOLE)
    reached(data, way)["surprise"] = 1
    with pytest.raises(RecordError, match=r"surprise is not a field") as error:
        from_json(json.dumps(data))
    assert f"{name}.surprise" in str(error.value)


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION - 1, SCHEMA_VERSION + 1, "2", None, 1.5])
def test_another_schema_version_is_refused_and_both_are_named(version):
    with pytest.raises(RecordError, match=f"schema_version .*reads {SCHEMA_VERSION}"):
        from_json(json.dumps(WHOLE | {"schema_version": version}))


def test_a_file_that_was_cut_off_is_refused_wherever_it_was_cut():
    text = to_json(small())
    for length in range(0, len(text) - 2, len(text) // 60):
        with pytest.raises(RecordError, match="cut off"):
            from_json(text[:length], "file.json")


@pytest.mark.parametrize("text", ["[]", "3", "null", '"a"', "{}"])
def test_what_is_no_record_at_all_is_refused_in_a_sentence(text):
    with pytest.raises(RecordError, match="expected an object with schema_version"):
        from_json(text)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_json_has_not_are_neither_written_nor_read(value):
    ceiling = dataclasses.replace(records.CPU_CEILING, flops_per_second=value)
    with pytest.raises(RecordError, match="number that JSON has not"):
        to_json(dataclasses.replace(small(), ceiling=ceiling))
    data = copy.deepcopy(WHOLE)
    data["ceiling"]["flops_per_second"] = value
    with pytest.raises(RecordError, match="not JSON"):
        from_json(json.dumps(data))


def test_a_number_too_great_to_hold_is_refused():
    text = to_json(small()).replace("720000000000000.0", "1e999")
    assert "1e999" in text
    with pytest.raises(RecordError, match=r"ceiling\.flops_per_second is not a finite number"):
        from_json(text)


@pytest.mark.parametrize(
    ("way", "value"),
    [
        (("machine", "num_threads"), True),
        (("machine", "num_threads"), 2.0),
        (("ceiling", "flops_per_second"), True),
        (("settings", "is_interrupted"), 0),
        (("settings", "seed"), "0"),
        (("cells", 0, "status"), "ok"),
        (("cells", 0, "summary", "rtf", "ci95"), [0.1]),
        (("cells", 0, "summary", "rtf", "ci95"), [0.1, 0.2, 0.3]),
        (("cells", 0, "blocks", 0, "steps_ms"), [1.0, None]),
    ],
)
def test_a_value_that_only_looks_right_is_refused(way, value):
    data = copy.deepcopy(WHOLE)
    reached(data, way[:-1])[way[-1]] = value
    with pytest.raises(RecordError, match=str(way[-1])):
        from_json(json.dumps(data))


def test_a_whole_number_will_do_for_a_time():
    data = copy.deepcopy(WHOLE)
    data["cells"][0]["blocks"][0]["service_ms"] = 42
    read = from_json(json.dumps(data)).cells[0].blocks[0].service_ms
    assert read == 42 and isinstance(read, float)


@pytest.mark.parametrize("status", FAILURES)
def test_a_speed_cannot_stand_beside_a_failure(status):
    cell = records.all_ok().cells[0]
    with pytest.raises(RecordError, match="summary"):
        dataclasses.replace(cell, status=status, reason="a reason")
    with pytest.raises(RecordError, match="reason"):
        dataclasses.replace(cell, status=status, reason=None, summary=None)
    data = copy.deepcopy(WHOLE)
    data["cells"][0] |= {"status": status, "reason": "a reason"}
    with pytest.raises(RecordError, match=r"cells\[0\]: status"):
        from_json(json.dumps(data))


def test_an_ok_cell_has_a_summary_and_no_reason():
    cell = records.all_ok().cells[0]
    for changes in ({"summary": None}, {"reason": "why?"}):
        with pytest.raises(RecordError, match="do not go together"):
            dataclasses.replace(cell, **changes)


def test_a_file_that_cannot_be_read_is_a_sentence_with_its_path(tmp_path):
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "absent.json", tmp_path, tmp_path / "bytes.json"):
        with pytest.raises(RecordError) as error:
            load(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_record_that_cannot_be_written_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "record.json"
    save(small(), path)
    before = path.read_bytes()
    ceiling = dataclasses.replace(records.CPU_CEILING, bytes_per_second=float("nan"))
    with pytest.raises(RecordError):
        save(dataclasses.replace(small(), ceiling=ceiling), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_writing_that_fails_half_way_leaves_nothing_behind(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"before")

    def full(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_whole(path, b"after")
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


def test_writing_over_a_folder_fails_and_leaves_nothing_behind(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(OSError):
        write_whole(folder, b"content")
    assert list(tmp_path.iterdir()) == [folder] and not list(folder.iterdir())
