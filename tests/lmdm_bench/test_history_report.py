import dataclasses
import io

import pytest
from rich.console import Console

import records
from lmdm_bench.errors import InputError
from lmdm_bench.history_index import update_index
from lmdm_bench.history_report import show_history, write_history
from lmdm_bench.record import save

CELL = "block-causal · sao-small"


@pytest.fixture
def folder(tmp_path):
    """Three runs of different days, indexed; the last one takes a fifth longer."""
    data = tmp_path / "data"
    data.mkdir()
    for day, factor in ((1, 1.0), (2, 1.0), (3, 1.2)):
        stage_ms = {name: [factor * ms for ms in of] for name, of in records.CPU_MS.items()}
        cell = records.cell(
            "block-causal",
            num_blocks=20,
            stage_ms=stage_ms["block-causal"],
            codec_ms=factor * records.CPU_CODEC_MS,
        )
        record = dataclasses.replace(
            records.all_ok(), cells=(cell,), created=f"2026-03-{day:02d}T12:00:00+00:00"
        )
        save(record, data / f"run_{day}.json")
    update_index(data)
    return data


def console():
    return Console(file=io.StringIO(), width=80, highlight=False)


def told(shown):
    return " ".join(shown.file.getvalue().split())


def test_the_history_is_shown_and_its_figure_written(folder, tmp_path):
    shown, out = console(), tmp_path / "new" / "out"
    written = write_history(folder, CELL, out, shown)
    assert written == [out / "history.png", out / "history.svg"]
    assert (out / "history.png").read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in (out / "history.svg").read_text(encoding="utf-8")
    assert "1 change over 3 records" in told(shown)
    assert "records are read instead" not in told(shown)


def test_showing_it_writes_nothing(folder):
    before = sorted(folder.parent.rglob("*"))
    (series,) = show_history(folder, CELL, console())
    assert [one.entry.created[:10] for one in series.points] == [
        "2026-03-01",
        "2026-03-02",
        "2026-03-03",
    ]
    (change,) = series.changes
    assert change.point == 2 and change.effect.value == pytest.approx(1.2, rel=0.05)
    assert sorted(folder.parent.rglob("*")) == before


def test_an_index_that_is_not_of_these_records_is_said_to_be_left_aside(folder):
    (folder / "run_2.json").unlink()
    shown = console()
    (series,) = show_history(folder, CELL, shown)
    assert len(series.points) == 2
    assert told(shown).startswith("data.index.json is not of these records: they are read instead.")


def test_what_is_not_there_is_refused_and_nothing_written(folder, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(InputError, match="no cell is named 'block-casual'; the nearest"):
        write_history(folder, "block-casual", out, console())
    with pytest.raises(InputError, match="holds no records"):
        write_history(tmp_path, CELL, out, console())
    assert not out.exists()
