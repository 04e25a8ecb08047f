"""What this repository publishes is what its records say."""

from pathlib import Path

import pytest

from lmdm_bench import history_index, published

ROOT = Path(__file__).parents[1]


def test_pages_and_readme_are_what_the_records_render_to(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert published.main([str(ROOT)]) == 0, capsys.readouterr().err


def test_the_index_of_the_records_is_what_rebuilding_gives(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert history_index.main([str(ROOT)]) == 0, capsys.readouterr().err


def test_no_record_names_a_folder_of_the_machine_that_made_it() -> None:
    folders = [f"/{name}/" for name in ("home", "root", "tmp", "Users")]
    for path in (ROOT / "reports").rglob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert not any(folder in text for folder in folders)
