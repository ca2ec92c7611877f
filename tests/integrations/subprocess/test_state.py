"""The state file: what the next run says of one that was killed."""

import contextlib
import os
import signal
import subprocess
import sys

import pytest

from pushgate import GroupingKey
from pushgate_subprocess import _state

KEY = GroupingKey("backup")
DEADLINE = 30.0
BEGAN = 1_700_000_000.123456


@pytest.fixture(autouse=True)
def directory(monkeypatch, tmp_path):
    monkeypatch.setenv("PUSHGATE_STATE_DIR", str(tmp_path / "state"))
    yield tmp_path / "state"
    _state._close_in_child()  # what the test began and, as a killed wrapper, never ended


@pytest.fixture
def complaints():
    return []


def begun(started_at=BEGAN, key=KEY):
    found = []
    state = _state.begin(key, started_at, found.append)
    assert state is not None, found
    assert found == []
    return state


def facts(state):
    return state.vanished_runs, state.previous_vanished, state.had_own_metrics


class Wrapper:
    """A process that began a run and ran `code`, and now waits to be killed."""

    def __init__(self, code="pass"):
        script = f"""if True:
            import os, subprocess, sys
            from pushgate import GroupingKey
            from pushgate_subprocess import _state
            state = _state.begin(GroupingKey("backup"), {BEGAN!r})
            {code}
            os.write(1, b"ready\\n")
            sys.stdin.read()
        """
        self.process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def ready(self):
        assert self.process.stdout.readline() == b"ready\n"
        return self

    def kill(self):
        """Kill the wrapper, but none of its children."""
        self.process.kill()
        assert self.process.wait(DEADLINE) == -signal.SIGKILL

    def close(self):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def wrapper():
    made = []

    def start(*code):
        made.append(Wrapper(*code))
        return made[-1].ready()

    yield start
    for one in made:
        one.close()


def test_a_run_that_ended_leaves_nothing_to_say():
    state = begun()
    assert facts(state) == (0, None, False)
    state.end(True)
    state.end(False)
    again = begun()
    assert facts(again) == (0, None, True)
    again.end(False)
    assert begun().had_own_metrics is False


def test_fact_15_the_run_after_a_killed_wrapper_says_that_it_vanished(wrapper):
    begun().end(True)
    for total in (1, 2):
        process = wrapper()
        process.kill()
        state = begun()
        assert facts(state) == (total, BEGAN, True)
        state.end(True)
    assert facts(begun()) == (2, None, True)


def test_a_run_beside_another_leaves_the_state_alone(wrapper, complaints, directory):
    process = wrapper()
    before = (directory / "backup.state").read_bytes()
    assert _state.begin(KEY, 1.0, complaints.append) is None
    assert _state.mark_started(KEY, 1.0, complaints.append) is None
    assert _state.take_started(KEY, complaints.append) is None
    assert complaints == []
    assert (directory / "backup.state").read_bytes() == before
    process.kill()
    assert facts(begun()) == (1, BEGAN, False)


@pytest.mark.parametrize(
    ("code", "announced"),
    [
        ("subprocess.Popen(['sleep', '60'], close_fds=False)", False),
        ("os.fork() or os.execlp('sh', 'sh', '-c', 'echo ready; exec sleep 60')", True),
        ("os.fork() or (os.write(1, b'ready\\n'), sys.stdin.read(), os._exit(0))", True),
    ],
    ids=["popen", "exec", "fork"],
)
def test_a_child_that_outlives_the_wrapper_does_not_hold_the_state(wrapper, code, announced):
    process = wrapper(code)
    if announced:
        process.ready()
    process.kill()
    assert facts(begun()) == (1, BEGAN, False)


def test_the_end_in_a_fork_is_not_the_end_of_the_run(wrapper):
    process = wrapper("os.fork() or (state.end(True), os._exit(0)); os.wait()")
    assert _state.begin(KEY, 1.0) is None
    process.kill()
    assert facts(begun()) == (1, BEGAN, False)


def test_each_key_has_a_state_of_its_own(directory):
    keys = [KEY, GroupingKey("Backup"), GroupingKey("backup", {"a": "1"}), GroupingKey("a/b .é")]
    for key in keys:
        assert facts(begun(key=key)) == (0, None, False)
    names = {path.name for path in directory.iterdir()}
    assert len({name.lower() for name in names}) == len(keys)
    assert "backup.state" in names
    assert any(name.startswith("a%2Fb%20.%C3%A9-") for name in names)


def test_directory_and_file_are_private(directory):
    state = begun()
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "backup.state").stat().st_mode & 0o777 == 0o600
    state.end(False)


# --- scripts ------------------------------------------------------------------------------------


def test_a_script_s_start_is_taken_once(complaints):
    assert _state.take_started(KEY, complaints.append) is None
    state = _state.mark_started(KEY, BEGAN, complaints.append)
    assert facts(state) == (0, None, False)
    assert _state.take_started(KEY, complaints.append) == BEGAN
    assert _state.take_started(KEY, complaints.append) is None
    assert complaints == []
    assert facts(_state.mark_started(KEY, BEGAN + 1)) == (0, None, False)


def test_a_script_s_start_that_was_never_finished_counts_as_vanished():
    begun().end(True)
    _state.mark_started(KEY, BEGAN)
    assert facts(_state.mark_started(KEY, BEGAN + 1)) == (1, BEGAN, True)
    assert facts(begun(BEGAN + 2)) == (2, BEGAN + 1, True)


def test_finish_is_not_for_a_wrapped_run_that_vanished(wrapper):
    process = wrapper()
    process.kill()
    assert _state.take_started(KEY) is None
    assert facts(begun()) == (1, BEGAN, False)


# --- what can be wrong with a file --------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 96,
        b"precious\n",
        b"x" * 5000,
        b"pushgate 1 wrapped started=1",
        b"pushgate 1 wrapped started=nan vanished=1 own_metrics=1".ljust(95) + b"\n",
        b"pushgate 2 wrapped started=1.000000000 vanished=1 own_metrics=1".ljust(95) + b"\n",
        b"pushgate 1 wrapped started=1.000000000 vanished=1 own_metrics=1".ljust(96) + b"\n",
        b"pushgate 1 wrapped started=1.000000000 vanished=1 own_metrics=1\n",
    ],
)
def test_content_that_is_not_ours_is_taken_for_none(directory, content):
    directory.mkdir()
    file = directory / "backup.state"
    file.write_bytes(content)
    state = begun()
    assert facts(state) == (0, None, False)
    state.end(True)
    assert facts(begun()) == (0, None, True)
    assert file.stat().st_size == 96


def unusable_file(directory):
    directory.write_text("a file")


def unusable_link(directory):
    directory.mkdir()
    (directory / "backup.state").symlink_to(directory / "elsewhere")


def unusable_fifo(directory):
    directory.mkdir()
    os.mkfifo(directory / "backup.state")


def unusable_folder(directory):
    (directory / "backup.state").mkdir(parents=True)


@pytest.mark.parametrize("spoil", [unusable_file, unusable_link, unusable_fifo, unusable_folder])
def test_without_a_usable_file_there_is_no_state_and_one_line(directory, complaints, spoil):
    spoil(directory)
    assert _state.begin(KEY, 1.0, complaints.append) is None
    assert _state.mark_started(KEY, 1.0, complaints.append) is None
    assert _state.take_started(KEY, complaints.append) is None
    assert len(complaints) == 3
    assert all(line.startswith(f"no state is kept in {directory}: ") for line in complaints)
    assert not (directory / "elsewhere").exists()
    assert _state.begin(KEY, 1.0) is None


def full(*_arguments):
    raise OSError(28, "No space left on device")


def test_a_full_disk_at_the_start_means_no_state_and_one_line(monkeypatch, complaints):
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        assert _state.begin(KEY, 1.0, complaints.append) is None
    assert complaints == ["can't note the start of this run: No space left on device"]
    assert facts(begun()) == (0, None, False)


def test_a_full_disk_at_the_end_makes_no_false_alarm(monkeypatch, complaints):
    state = _state.begin(KEY, 1.0, complaints.append)
    assert state is not None
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        state.end(False)
    assert complaints == ["can't note the end of this run: No space left on device"]
    assert facts(begun()) == (0, None, False)


@pytest.mark.parametrize(
    ("environment", "path"),
    [
        ({"PUSHGATE_STATE_DIR": "{}/a", "XDG_STATE_HOME": "{}/b", "HOME": "{}/c"}, "a"),
        ({"XDG_STATE_HOME": "{}/b", "HOME": "{}/c"}, "b/pushgate"),
        ({"XDG_STATE_HOME": "relative", "HOME": "{}/c"}, "c/.local/state/pushgate"),
        ({"PUSHGATE_STATE_DIR": "", "HOME": "{}/c"}, "c/.local/state/pushgate"),
    ],
)
def test_where_the_state_is_kept(monkeypatch, tmp_path, environment, path):
    for name in ("PUSHGATE_STATE_DIR", "XDG_STATE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    (tmp_path / "c").mkdir()
    begun().end(False)
    assert (tmp_path / path / "backup.state").is_file()


def test_a_home_that_is_not_there_is_not_made(monkeypatch, tmp_path, complaints):
    monkeypatch.delenv("PUSHGATE_STATE_DIR")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "unmounted"))
    assert _state.begin(KEY, 1.0, complaints.append) is None
    assert len(complaints) == 1
    assert not (tmp_path / "unmounted").exists()


def test_a_user_without_a_home_has_no_state(monkeypatch, complaints):
    monkeypatch.delenv("PUSHGATE_STATE_DIR")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/no/such/home")
    assert _state.begin(KEY, 1.0, complaints.append) is None
    assert complaints == [
        "no state is kept in a home directory: this user has none; set PUSHGATE_STATE_DIR to a"
        " directory of your own"
    ]
