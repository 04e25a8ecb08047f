"""The two errors that are the user's to solve."""

import pytest

from lmdm_bench.errors import InputError, UnsupportedError


@pytest.mark.parametrize("kind", [InputError, UnsupportedError])
def test_an_error_of_the_users_is_a_value_error_whose_text_is_the_sentence(kind):
    error = kind("there is no audio file x.wav")
    assert isinstance(error, ValueError)
    assert str(error) == "there is no audio file x.wav"


def test_neither_error_is_the_other():
    assert not issubclass(InputError, UnsupportedError)
    assert not issubclass(UnsupportedError, InputError)
