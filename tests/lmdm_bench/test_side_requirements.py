"""Requirements are the same where they mean the same to the packages that are needed."""

import importlib.metadata
from pathlib import Path

import pytest

from lmdm_bench.errors import InputError
from lmdm_bench.side_requirements import Requirements, differing, requirements_of
from throwaway_project import write

# Of what is installed: b needs c, and d for an extra of its own; c needs b again.
INSTALLED = {"a": None, "b": ["c>=1", "d ; extra == 'more'"], "c": ["B"], "tests": ["d"]}


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(name: str) -> list[str] | None:
        if name not in INSTALLED:
            raise importlib.metadata.PackageNotFoundError
        return INSTALLED[name]

    monkeypatch.setattr(importlib.metadata, "requires", requires)


def wanted(dependencies: str = "a b>=1", constraints: str = "b==1 c==1 d==1") -> Requirements:
    return Requirements(frozenset(dependencies.split()), frozenset(constraints.split()))


def test_spaces_order_and_comments_do_not_matter(tmp_path: Path) -> None:
    for name, dependencies, constraints in [
        ("one", '["a>=1; sys_platform == \'linux\'", "b"]', "# All.\na==1\n\nb == 2  # newest\n"),
        ("two", '["b",\n"a >= 1;sys_platform==\'linux\'"]', "b==2\r\na==1"),
    ]:
        project = f"[project]\ndependencies = {dependencies}\n"
        write(tmp_path / name, **{"pyproject.toml": project, "constraints.txt": constraints})
    one, two = requirements_of(tmp_path / "one"), requirements_of(tmp_path / "two")
    assert one == two
    assert one.constraints == {"a==1", "b==2"}
    assert one.dependencies == {"a>=1;sys_platform=='linux'", "b"}


def test_a_revision_may_have_none(tmp_path: Path) -> None:
    write(tmp_path, **{"pyproject.toml": "[tool]\n"})
    assert requirements_of(tmp_path) == Requirements(frozenset(), frozenset())


def test_a_project_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        requirements_of(tmp_path)
    write(tmp_path, **{"pyproject.toml": "not = [toml"})
    with pytest.raises(InputError, match=r"^pyproject\.toml cannot be read: "):
        requirements_of(tmp_path)


@pytest.mark.parametrize(
    ("side", "others"),
    [
        (wanted(), ()),
        (wanted("a"), ()),  # what is only needed here is no matter
        (wanted("a b>=2"), ("b",)),
        (wanted("a b>=1 new_Thing"), ("new-thing",)),
        (wanted(constraints="b==2 c==1 d==1"), ("b",)),
        (wanted(constraints="b==1 c==2 d==1"), ("c",)),  # b takes it in
        (wanted(constraints="b==1 c==1 d==2"), ()),  # nothing needed does
        (wanted(constraints="b==1 c==1 d==1 e==1"), ()),
        (wanted(constraints="c==1"), ("b",)),  # no longer pinned
        (wanted(constraints="b==1 c==1 a==1"), ("a",)),
        (wanted("a", constraints=""), ()),
    ],
)
def test_packages_differ_where_they_are_needed_and_asked_for_otherwise(
    side: Requirements, others: tuple[str, ...]
) -> None:
    assert differing(side, wanted()) == others


def test_a_dependency_that_is_not_installed_takes_in_nothing() -> None:
    side = wanted("gone", "d==2")
    assert differing(side, wanted("gone")) == ()
