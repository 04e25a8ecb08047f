"""A request says everything, and cannot change while it is run."""

import dataclasses

import pytest

from lmdm_bench.request import Request
from tiny_run import FIVE, REQUEST


def test_nothing_that_is_run_has_a_default() -> None:
    for field in dataclasses.fields(Request):
        assert field.default is dataclasses.MISSING
        assert field.default_factory is dataclasses.MISSING
        assert field.kw_only


def test_a_request_cannot_change_under_a_run() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        REQUEST.steps = 2  # type: ignore[misc]


def test_equal_requests_are_one_group() -> None:
    """A sweep groups its workloads by request."""
    assert len({REQUEST, dataclasses.replace(REQUEST), FIVE}) == 2
