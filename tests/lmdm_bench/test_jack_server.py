"""The server answers while its ``with`` lasts, and is gone after it, however that ends."""

import os
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import psutil
import pytest

import audio_runs
from lmdm_bench import jack_server as module
from lmdm_bench.errors import UnsupportedError
from lmdm_bench.jack_server import JACK_FOLDER, jack_server

needs_jackd = pytest.mark.usefixtures("_jackd")
needs_scripts = pytest.mark.skipif(sys.platform == "win32", reason="a script stands in for jackd")


@pytest.fixture(autouse=True)
def _nobody_stays():
    yield
    assert audio_runs.jackds() == []


@pytest.fixture
def _jackd():
    audio_runs.skip_without_jack()


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Put a script in the place of jackd."""

    def put(*lines):
        script = tmp_path / "jackd"
        script.write_text("\n".join([f"#!{sys.executable}", "import os, signal, time", *lines]))
        script.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: object())

    return put


def is_gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def files_of(name):
    return [path for path in JACK_FOLDER.glob("jack_*") if name in path.name]


@needs_jackd
def test_two_servers_run_beside_each_other_and_leave_nothing():
    with jack_server(44_100) as one, jack_server(48_000) as other:
        assert one != other
        assert len(audio_runs.jackds()) == 2
        assert all(os.getsid(server.pid) == server.pid for server in audio_runs.jackds())
    assert audio_runs.jackds() == []
    assert files_of(one) == files_of(other) == []


@needs_jackd
def test_where_all_names_are_taken_it_says_so(monkeypatch):
    monkeypatch.setattr(module, "NAMES", (f"lmdm-{os.getpid()}",))
    with (
        jack_server(44_100),
        pytest.raises(UnsupportedError, match="server already active; Failed to open server"),
        jack_server(44_100),
    ):
        pass


@needs_jackd
def test_an_exception_or_ctrl_c_inside_ends_it():
    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error), jack_server(44_100):
            raise error
        assert audio_runs.jackds() == []


@needs_jackd
def test_one_that_was_killed_leaves_no_file_of_its_name():
    with jack_server(44_100) as name:
        (server,) = audio_runs.jackds()
        server.kill()
        audio_runs.wait_for(lambda: is_gone(server.pid))
        assert files_of(name) != []
    assert files_of(name) == []


@needs_jackd
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_it_ends_when_its_parent_is_killed():
    script = textwrap.dedent("""
        import sys, time
        from lmdm_bench.jack_server import jack_server
        with jack_server(44100):
            sys.stdout.write("up\\n")
            sys.stdout.flush()
            time.sleep(60)
    """)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout.readline() == b"up\n"
        (server,) = audio_runs.jackds()
        name = audio_runs.name_of(server)
        parent.kill()
    audio_runs.wait_for(lambda: is_gone(server.pid))
    audio_runs.wait_until_reaped(server)
    audio_runs.put_away(name)


def test_without_jackd_it_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UnsupportedError, match="jackd is not installed"), jack_server(44_100):
        pass


@needs_scripts
def test_without_its_python_client_it_says_what_to_install(stand_in, monkeypatch):
    stand_in("time.sleep(60)")
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnsupportedError, match="JACK-Client is not installed"), jack_server(44_100):
        pass


@needs_scripts
@pytest.mark.skipif(not JACK_FOLDER.is_dir(), reason="JACK keeps its memory elsewhere")
def test_without_room_for_its_memory_it_does_not_start(stand_in, monkeypatch):
    stand_in("time.sleep(60)")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: SimpleNamespace(free=9 << 20))
    words = "jackd needs 48 MiB in /dev/shm, 9 are free"
    with pytest.raises(UnsupportedError, match=words), jack_server(44_100):
        pass


@needs_scripts
def test_one_that_ends_at_once_is_quoted(stand_in):
    stand_in("os.write(2, b'hello\\nno such driver\\n')", "os._exit(1)")
    with (
        pytest.raises(UnsupportedError, match="jackd did not start: hello; no such driver"),
        jack_server(44_100),
    ):
        pass


@needs_scripts
def test_one_that_never_answers_is_given_up_and_killed(stand_in, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "NAMES", ("lmdm-nobody",))
    monkeypatch.setattr(module, "START_SECONDS", 1.0)
    monkeypatch.setattr(module, "STOP_SECONDS", 0.2)
    pid_file = tmp_path / "pid"
    stand_in(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        f"open({str(pid_file)!r}, 'w').write(str(os.getpid()))",
        "time.sleep(60)",
    )
    with (
        pytest.raises(UnsupportedError, match="jackd does not answer: it said nothing"),
        jack_server(44_100),
    ):
        pass
    assert is_gone(int(pid_file.read_text()))
