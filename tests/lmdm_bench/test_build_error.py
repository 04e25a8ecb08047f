"""A side that cannot be built says which it is, of which revision, and at which step."""

import errno

import pytest

from lmdm_bench.build_error import BuildError, step
from lmdm_bench.errors import InputError
from lmdm_bench.revisions import Revision

BASE = Revision("HEAD~1", "1234abcd" * 5, is_working_tree=False, is_dirty=False)


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (InputError("a.py, line 3: invalid syntax"), "a.py, line 3: invalid syntax"),
        (OSError(errno.ENOSPC, "No space left", "/tmp/x"), "/tmp/x: No space left"),
        (OSError(errno.ENOMEM, "No memory"), f"[Errno {errno.ENOMEM}] No memory"),
    ],
)
def test_it_is_one_sentence_with_the_side_the_revision_and_the_step(
    raised: Exception, words: str
) -> None:
    with pytest.raises(BuildError) as caught, step("compile", "a", BASE):
        raise raised
    expected = f"side a (HEAD~1, 1234abcd) could not be built: step compile: {words}"
    assert str(caught.value) == expected


def test_what_goes_well_stays_and_what_is_nobodys_fault_is_not_hidden() -> None:
    with step("import", "b", BASE):
        pass
    with pytest.raises(ZeroDivisionError), step("import", "b", BASE):
        raise ZeroDivisionError
    with pytest.raises(KeyboardInterrupt), step("import", "b", BASE):
        raise KeyboardInterrupt
