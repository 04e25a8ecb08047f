"""The probe tells where modules came from, which versions there are, and what went wrong."""

import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from lmdm_bench.side_probe import main
from throwaway_project import write


def probed(
    capsys: pytest.CaptureFixture[str], folder: Path, modules: list[str], packages: list[str]
) -> Any:
    main([str(folder), json.dumps([modules, packages])])
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in sys.modules if name.startswith("probe_")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_files_and_versions(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, **{"probe_one.py": "import sys\nsys.stdout.write('no end of line')\n"})
    found = probed(capsys, folder, ["probe_one"], ["numpy", "no-such-package"])
    assert found == {
        "files": {"probe_one": str(folder / "probe_one.py")},
        "failure": None,
        "missing": None,
        "versions": {
            "numpy": importlib.metadata.version("numpy"),
            "no-such-package": "not installed",
        },
    }


def test_a_folder_without_a_file_of_its_own_has_none(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "probe_folder").mkdir()
    assert probed(capsys, folder, ["probe_folder"], [])["files"] == {"probe_folder": None}


@pytest.mark.parametrize(
    ("code", "failure", "missing"),
    [
        ("\nraise ValueError('one\\ntwo')", "probe_two.py, line 2: ValueError: one two", None),
        ("import json\njson.loads('x')", "probe_two.py, line 2: JSONDecodeError: ", None),
        ("raise SystemExit(3)", "probe_two.py, line 1: SystemExit: 3", None),
        (
            "import probe_none",
            "probe_two.py, line 1: ModuleNotFoundError: No module named 'probe_none'",
            "probe_none",
        ),
    ],
)
def test_a_failure_has_its_place_among_the_sides_own_files(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    code: str,
    failure: str,
    missing: str | None,
) -> None:
    write(folder, **{"probe_one.py": "", "probe_two.py": code})
    found = probed(capsys, folder, ["probe_one", "probe_two", "probe_three"], [])
    assert found["failure"].startswith(failure)
    assert found["missing"] == missing
    assert list(found["files"]) == ["probe_one"]


def test_a_module_that_is_not_there_has_no_place(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = probed(capsys, folder, ["probe_none"], [])
    assert found["failure"] == "ModuleNotFoundError: No module named 'probe_none'"
