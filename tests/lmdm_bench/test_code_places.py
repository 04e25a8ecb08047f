"""Places in code are told by package, never by a machine's folders."""

import contextlib
import sysconfig
from pathlib import Path

import pytest
import torch

import lmdm_bench
import lmdm_kernels
import lmdm_ref
from lmdm_bench.code_places import is_own, told_path


@pytest.mark.parametrize("package", [lmdm_bench, lmdm_kernels, lmdm_ref])
def test_a_file_of_the_project_is_told_from_its_package_on(package) -> None:
    told = told_path(package.__file__)
    assert told == f"{package.__name__}/__init__.py" and is_own(told)


def test_other_files_are_told_from_where_they_were_installed() -> None:
    assert told_path(torch.overrides.__file__) == "site-packages/torch/overrides.py"
    assert told_path(contextlib.__file__) == "python/contextlib.py"
    assert not is_own(told_path(torch.overrides.__file__))


def test_of_a_file_from_elsewhere_only_the_name_is_told() -> None:
    assert told_path("/home/someone/lmdm_ref/secret/script.py") == "script.py"
    assert told_path("C:\\Users\\someone\\script.py") == "script.py"
    assert told_path("script.py") == "script.py"


def test_what_is_no_file_stays() -> None:
    assert told_path("<built-in>") == "<built-in>"
    assert not is_own("<built-in>") and not is_own("lmdm_ref_of_another/file.py")


def test_a_package_inside_site_packages_is_told_by_its_own_name() -> None:
    inside = Path(sysconfig.get_path("purelib"), "some", "file.py")
    assert told_path(str(inside)) == "site-packages/some/file.py"
