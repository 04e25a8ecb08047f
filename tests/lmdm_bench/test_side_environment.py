"""A side's interpreter imports its own files and nothing of this installation's in their place."""

import errno
import importlib.metadata
import os
import subprocess
import sys
import sysconfig
import types
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy
import pytest

from lmdm_bench import side_environment
from lmdm_bench.build_error import BuildError
from lmdm_bench.revisions import Revision, resolve, working_tree
from lmdm_bench.side_environment import (
    ANEW,
    SHARED,
    WORKER_MODULE,
    SideEnvironment,
    built,
    clean_environ,
)
from lmdm_bench.tool import PACKAGES
from lmdm_bench.worktree import laid_out
from throwaway_project import PYPROJECT, commit, new_project, state, write

SAID: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_said() -> None:
    SAID.clear()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return new_project(tmp_path / "the project")


@contextmanager
def side(root: Path, revision: Revision) -> Iterator[SideEnvironment]:
    parent = root.parent / "a parent, é"
    parent.mkdir(exist_ok=True)
    with laid_out(root, revision, "a", parent) as laid:
        yield built(laid, SAID.append)
    assert not laid.folder.parent.exists()


def failure(root: Path, revision: Revision) -> str:
    """Why it could not be built, after what every such sentence begins with."""
    before = state(root)
    with pytest.raises(BuildError) as caught, side(root, revision):
        pass
    assert state(root) == before
    start = f"side a ({revision}) could not be built: step "
    assert str(caught.value).startswith(start)
    return str(caught.value).removeprefix(start)


def asked(found: SideEnvironment, code: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [found.python, "-c", code],
        env=clean_environ(), cwd=cwd, text=True, capture_output=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_it_imports_its_own_files_wherever_it_is_started(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = resolve(root, "HEAD")
    commit(root, **{"lmdm_ref/__init__.py": "SPEED = 2\n"})
    write(root, **{"lmdm_ref/__init__.py": "SPEED = 3\n"})
    monkeypatch.setenv("PYTHONPATH", str(root))
    monkeypatch.setenv("PYTHONHOME", str(root))
    speed = f"import lmdm_ref, {WORKER_MODULE} as worker; print(lmdm_ref.SPEED, worker.SPEED)"
    with (
        side(root, first) as a,
        side(root, resolve(root, "HEAD")) as b,
        side(root, working_tree(root)) as c,
    ):
        assert [asked(one, speed, root) for one in (a, b, c)] == ["1 1", "2 2", "3 3"]
        assert a.python != b.python
        files = asked(a, "import lmdm_bench as b, lmdm_kernels as k; print(b.__file__, k.__file__)")
        assert files.count(str(a.folder)) == 2
    assert SAID == []


def test_it_shares_this_installations_packages_and_says_their_versions(root: Path) -> None:
    with side(root, resolve(root, "HEAD")) as found:
        assert found.dependencies == SHARED
        assert set(found.packages) == set(PACKAGES)
        assert found.packages["numpy"] == numpy.__version__
        assert asked(found, "import numpy; print(numpy.__file__)") == numpy.__file__


def test_neither_the_folder_it_is_started_in_nor_children_see_other_modules(root: Path) -> None:
    write(root, **{"stray.log/here.py": "", "numpy.py": "raise SystemExit(7)"})
    child = (
        "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import numpy'], check=1)"
    )
    with side(root, resolve(root, "HEAD")) as found:
        assert asked(found, child, root) == ""


def test_a_hook_of_an_editable_installation_supplies_nothing(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As setuptools writes it: what the revision lacks would come from the checkout.
    hook = tmp_path / "hooks"
    write(hook, **{"a.pth": f"{root}\n{root / 'bench'}\nimport stray_hook\n", "stray_hook.py": ""})
    monkeypatch.syspath_prepend(hook)
    with side(root, resolve(root, "HEAD")) as found:
        paths = asked(found, "import sys; print(sys.path, 'stray_hook' in sys.modules)")
        assert str(hook) in paths
        assert paths.endswith("False") and f"'{root}" not in paths


def test_the_packages_are_compiled_beside_their_sources_and_only_then(root: Path) -> None:
    with side(root, resolve(root, "HEAD")) as found:
        compiled = sorted(found.folder.rglob("*.pyc"))
        assert len(compiled) == 4
        write(found.folder, **{"lmdm_ref/late.py": ""})
        asked(found, "import lmdm_ref.late")
        assert sorted(found.folder.rglob("*.pyc")) == compiled


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("x = 1\ndef f(:\n", "bench/lmdm_bench/wrong.py, line 2: invalid syntax"),
        ("\0", "bench/lmdm_bench/wrong.py"),
    ],
)
def test_what_does_not_compile_names_the_step_the_file_and_the_line(
    root: Path, content: str, words: str
) -> None:
    revision = commit(root, **{"bench/lmdm_bench/wrong.py": content})
    assert failure(root, revision).startswith(f"compile: {words}")


def test_code_that_is_only_warned_of_compiles(root: Path) -> None:
    revision = commit(root, **{"lmdm_ref/dubious.py": 'PATTERN = "\\d"\nassert (1, "x")\n'})
    with side(root, revision) as found:
        assert found.dependencies == SHARED


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            {"lmdm_ref/__init__.py": "SPEED = 1\nraise ValueError('no')\n"},
            "lmdm_ref/__init__.py, line 2: ValueError: no",
        ),
        (
            {"lmdm_ref/__init__.py": "", "bench/lmdm_bench/suite_worker.py": "import absent\n"},
            "bench/lmdm_bench/suite_worker.py, line 1: "
            "ModuleNotFoundError: No module named 'absent'",
        ),
        (
            {"bench/lmdm_bench/suite_worker.py": None},
            f"it is older than comparisons of revisions, as it has no {WORKER_MODULE}; compare "
            "records of the two instead",
        ),
        (
            {"lmdm_ref/__init__.py": "import os\nos._exit(9)\n"},
            "Python ended with 9: no words",
        ),
        (
            {"lmdm_ref/__init__.py": "import os\nos.abort()\n"},
            "Python ended with -6: no words",
        ),
    ],
)  # fmt: skip
def test_what_does_not_import_names_the_step_and_the_place(
    root: Path, files: dict[str, str | None], words: str
) -> None:
    assert failure(root, commit(root, **files)) == f"import: {words}"


def test_a_package_that_the_revision_lacks_does_not_come_from_elsewhere(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "site-packages", **{"lmdm_kernels/__init__.py": ""})
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    words = failure(root, commit(root, **{"kernels/lmdm_kernels/__init__.py": None}))
    assert words.startswith("import: lmdm_kernels is not the revision's own, but comes from ")


def test_what_takes_too_long_to_import_is_not_waited_for(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_environment, "IMPORT_TIMEOUT_SECONDS", 0.5)
    revision = commit(root, **{"lmdm_ref/__init__.py": "import time\ntime.sleep(600)\n"})
    assert failure(root, revision) == "import: its packages take over 0.5 s to import"


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index of one's own: two versions of one package."""
    if not list(importlib.metadata.distributions(name="pip")):
        pytest.skip("pip is not installed")
    index = tmp_path / "index"
    index.mkdir()
    for version in ("1.0", "2.0"):
        info = f"only_here-{version}.dist-info"
        with zipfile.ZipFile(index / f"only_here-{version}-py3-none-any.whl", "w") as wheel:
            wheel.writestr("only_here.py", f"VERSION = '{version}'\n")
            wheel.writestr(
                f"{info}/METADATA", f"Metadata-Version: 2.1\nName: only-here\nVersion: {version}\n"
            )
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
            wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    # As after torch's compiler: setuptools' import hook warns of it to whoever looks pip up.
    monkeypatch.setitem(sys.modules, "distutils", types.ModuleType("distutils"))
    # As tox sets it, for what it installs itself.
    (tmp_path / "other.txt").write_text("only-here==2.0\n")
    monkeypatch.setenv("PIP_CONSTRAINT", str(tmp_path / "other.txt"))


ONLY_HERE = {
    "pyproject.toml": PYPROJECT.replace("[]", '["only-here>=1"]'),
    "constraints.txt": "only-here==1.0\n",
}


@pytest.mark.usefixtures("offline")
def test_other_requirements_are_installed_anew_at_the_revisions_versions(root: Path) -> None:
    revision = commit(root, **ONLY_HERE)
    commit(root, **{"pyproject.toml": PYPROJECT})
    with side(root, revision) as found:
        assert found.dependencies == ANEW
        assert asked(found, "import only_here; print(only_here.VERSION)") == "1.0"
        assert found.packages["numpy"] == "not installed"
    (said,) = SAID
    assert said == f"side a ({revision}): dependencies are installed anew: only-here"


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            {**ONLY_HERE, "constraints.txt": "only-here==3.0\n"},
            "dependencies: pip: Cannot install only-here>=1 because",
        ),
        (
            {**ONLY_HERE, "constraints.txt": None},
            "dependencies: constraints.txt is missing, and nothing is installed without it",
        ),
        (
            {"pyproject.toml": "not = [toml"},
            "dependencies: pyproject.toml cannot be read: ",
        ),
        ({"pyproject.toml": None}, "dependencies: "),
    ],
)  # fmt: skip
def test_requirements_that_cannot_be_met_name_the_step(
    root: Path, files: dict[str, str | None], words: str
) -> None:
    revision = commit(root, **files)
    commit(root, **{"pyproject.toml": PYPROJECT, "constraints.txt": ""})
    assert failure(root, revision).startswith(words)


def test_without_pip_it_says_what_to_do(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = commit(root, **ONLY_HERE)
    commit(root, **{"pyproject.toml": PYPROJECT})
    folder = str(tmp_path / "without pip")
    venv.create(folder, with_pip=False)
    bare = {"base": folder, "platbase": folder}
    monkeypatch.setattr(sys, "executable", sysconfig.get_path("scripts", "venv", bare) + "/python")
    words = failure(root, revision)
    assert words.startswith("dependencies: other versions are needed of only-here")
    assert words.endswith("python -m ensurepip brings it")


def test_a_full_disk_and_a_path_that_cannot_be_used_are_one_sentence(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(error: Exception) -> str:
        def create(*_: object) -> None:
            raise error

        monkeypatch.setattr(side_environment.venv.EnvBuilder, "create", create)
        return failure(root, resolve(root, "HEAD"))

    full = OSError(errno.ENOSPC, "No space left on device", "pyvenv.cfg")
    assert fails(full) == "environment: pyvenv.cfg: No space left on device"
    assert fails(ValueError("it contains the PATH separator :")).startswith("environment: it")


def test_a_clean_environ_keeps_what_does_not_mislead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "x")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    environ = clean_environ()
    assert "PYTHONPATH" not in environ
    assert environ["OMP_NUM_THREADS"] == "1"
    assert environ["PYTHONSAFEPATH"] == environ["PYTHONNOUSERSITE"] == "1"
    assert os.environ["PYTHONPATH"] == "x"
