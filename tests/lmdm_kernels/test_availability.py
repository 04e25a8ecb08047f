"""The package says that it has nothing to run yet, rather than pretending."""

from lmdm_kernels import why_unavailable


def test_the_reason_is_a_sentence() -> None:
    assert why_unavailable() == "this version of lmdm_kernels has no kernels yet"
