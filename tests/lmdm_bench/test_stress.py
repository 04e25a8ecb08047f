"""The load is there while it is asked for, and gone afterwards, whatever happens in between."""

import multiprocessing

import psutil
import pytest

from child_helpers import child_of_a_killed_parent, has_ended, wait_until
from lmdm_bench import stress as stress_module
from lmdm_bench.errors import InputError
from lmdm_bench.stress import KINDS, stress


@pytest.fixture(autouse=True)
def _nobody_stays():
    yield
    assert multiprocessing.active_children() == []


def hogs():
    return [psutil.Process(child.pid) for child in multiprocessing.active_children()]


def test_one_process_is_kept_busy_while_it_is_open():
    with stress("cpu"):
        (hog,) = hogs()
        before = hog.cpu_times().user
        wait_until(lambda: hog.cpu_times().user >= before + 0.05)
    assert has_ended(hog.pid)


def test_the_load_ends_with_an_error_too():
    with pytest.raises(KeyboardInterrupt), stress("cpu"):
        (hog,) = hogs()
        raise KeyboardInterrupt
    assert has_ended(hog.pid)


def test_load_that_somebody_killed_is_no_error():
    with stress("cpu"):
        (hog,) = hogs()
        hog.kill()
        wait_until(lambda: not hogs())


def test_the_load_ends_with_its_parent():
    pid = child_of_a_killed_parent(
        """
        import multiprocessing
        from lmdm_bench.stress import stress
        load = stress("cpu")
        load.__enter__()
        print(multiprocessing.active_children()[0].pid, flush=True)
        """
    )
    wait_until(lambda: has_ended(pid))


def test_no_load_is_no_process():
    with stress("none"):
        assert hogs() == []


def test_another_kind_is_refused():
    assert KINDS == ("none", "cpu")
    with (
        pytest.raises(InputError, match="the stress 'disk' is not one of none, cpu"),
        stress("disk"),
    ):
        pass


def test_load_that_does_not_come_up_is_an_error(monkeypatch):
    monkeypatch.setattr(stress_module, "_keep_busy", print)  # returns at once, without a word
    with pytest.raises(RuntimeError, match="did not come up"), stress("cpu"):
        pass
