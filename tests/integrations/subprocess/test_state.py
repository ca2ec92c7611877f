"""The state file: what the next run says of one that was killed."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from pushgate_subprocess import job
from support.fresh_process import fork, in_fresh_process

DEADLINE = 50.0


@pytest.fixture
def folder(isolated):
    return isolated / "state"


@pytest.fixture
def start(call, value):
    """Starts and finishes a run; returns when a run was found to have vanished, and all lines."""

    def start(*words, **options):
        code, lines = call("start", *words, **options)
        assert code == 0
        call("finish", "--exit-code", "0", *words, **options)
        return value("last_vanished_timestamp_seconds", job=options.get("job", "backup")), lines

    return start


def test_the_run_after_a_killed_wrapper_says_that_it_vanished(pushgate, recorder, run, value):
    noticed = []
    for _ in range(2):
        # The command outlives the wrapper: it does not hold the state.
        process = pushgate.start(pushgate.argv("sleep", "60", gateway=recorder.url))
        recorder.next()  # the start, which follows the note
        process.kill()
        assert process.wait(DEADLINE) == -signal.SIGKILL
        code, _, err = run("true")
        subprocess.run(["pkill", "-KILL", "-s", str(process.pid)], check=True)
        assert (code, err.count(b"\n"), b" vanished: " in err) == (0, 1, True)
        noticed.append(value("last_vanished_timestamp_seconds"))
        assert noticed[-1] == value("last_start_timestamp_seconds")
    assert noticed[0] < noticed[1]
    assert run("true") == (0, b"", b"")
    assert value("last_vanished_timestamp_seconds") == noticed[1]


def test_a_run_beside_another_leaves_the_state_alone(pushgate, recorder, start, folder, tmp_path):
    os.mkfifo(tmp_path / "f")
    process = pushgate.start(pushgate.argv("cat", str(tmp_path / "f"), gateway=recorder.url))
    recorder.next()
    before = (folder / "backup.state").read_bytes()
    assert start() == (None, [])
    assert (folder / "backup.state").read_bytes() == before
    (tmp_path / "f").write_text("")
    assert process.wait(DEADLINE) == 0


def leave_a_fork(url, fifo):
    def live_on():
        os.close(2)  # the test reads it to its end
        Path(fifo).read_bytes()

    with job("backup", gateway=url):
        fork(live_on)


def test_a_fork_of_a_job_neither_holds_nor_ends_its_run(recorder, run, value, tmp_path):
    os.mkfifo(tmp_path / "f")
    in_fresh_process(leave_a_fork, recorder.url, str(tmp_path / "f"))
    assert run("true") == (0, b"", b"")
    assert value("last_vanished_timestamp_seconds") is None
    (tmp_path / "f").write_bytes(b"")


def test_each_key_has_a_private_file_of_its_own(start, folder):
    folder.rmdir()
    for words in ({}, {"job": "Backup"}, {"job": "a/b .é"}):
        assert start(**words) == (None, [])
    assert start("--group", "a=1", job="c") == (None, [])
    names = {path.name for path in folder.glob("*.state")}
    assert len({name.lower() for name in names}) == 4  # also on macOS
    assert "backup.state" in names
    assert any(name.startswith("a%2Fb%20.%C3%A9-") for name in names)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.glob("*.state")} == {0o600}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x" * 5000,
        b"pushgate 2 wrapped started=nan own_metrics=1".ljust(95) + b"\n",
        b"pushgate 1 wrapped started=1.000000000 own_metrics=1".ljust(95) + b"\n",
        b"pushgate 2 wrapped started=1.000000000 own_metrics=1\n",
    ],
)
def test_content_that_is_not_ours_is_taken_for_none(start, folder, content):
    (folder / "backup.state").write_bytes(content)
    assert start() == (None, [])
    assert (folder / "backup.state").stat().st_size == 96


def test_what_others_may_have_planted_is_refused_with_a_line(start, run, value, folder):
    (folder / "backup.state").symlink_to(folder / "precious")
    vanished, (line,) = start()
    assert vanished is None
    assert line.startswith(f"pushgate: no state is kept in {folder}: ")
    assert not (folder / "precious").exists()
    assert run("true") == (0, b"", b"")  # for a command it would be said at each run
    assert value("last_exit_code") == 0
    assert b"no state is kept in" in run("-v", "true")[2]


def test_a_home_that_is_not_there_is_not_made(start, pushgate, recorder, monkeypatch, tmp_path):
    for name in ("PUSHGATE_STATE_DIR", "XDG_STATE_HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "unmounted"))
    _, lines = start("--outbox", "off")
    assert lines == [
        "pushgate: no state is kept in a home directory: this user has none; set"
        " PUSHGATE_STATE_DIR to a directory of your own"
    ]
    assert not (tmp_path / "unmounted").exists()
    # For a command it would be said at each run, so only once nothing can be kept.
    pushgate.env = dict(os.environ)
    assert pushgate.run(pushgate.argv("true", gateway=recorder.url)) == (0, b"", b"")
    _, _, err = pushgate.run(pushgate.argv("--retries=0", "true", gateway="http://127.0.0.1:1"))
    assert b"there is no home directory for an outbox" in err
    assert err.count(b"\n") == 1


ROWS = 'echo rows 1 >> "$PUSHGATE_METRICS_FILE"'


def test_on_a_new_disk_the_last_runs_own_metrics_go_with_the_first_success_without(
    run, pushgateway, folder, value
):
    """What the gateway holds of runs before is not known there; it is not nothing."""
    assert run("--", "sh", "-c", ROWS) == (0, b"", b"")
    (folder / "backup.state").unlink()
    assert run("false")[0] == 1
    pushgateway.assert_pushed("rows", 1, job="backup", origin="job")
    assert run("true") == (0, b"", b"")
    assert pushgateway.groups(origin="job") == []
    assert value("last_vanished_timestamp_seconds") is None


def test_what_a_state_knows_of_own_metrics_saves_a_request(pushgate, recorder):
    def deletes(command):
        before = len(recorder.requests)
        assert pushgate.run(pushgate.argv(*command, gateway=recorder.url)) == (0, b"", b"")
        return [seen.method for seen in recorder.requests[before:]].count("DELETE")

    runs = [["true"], ["true"], ["sh", "-c", ROWS], ["true"], ["true"]]
    assert [deletes(run) for run in runs] == [1, 0, 0, 1, 0]


def test_a_full_disk_makes_no_false_alarm(pushgate, pushgateway, run, value):
    argv = pushgate.argv("-v", "true", gateway=pushgateway.url)
    code, _, err = pushgate.run(["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *argv])
    assert (code, b"can't note the start of this run" in err) == (0, True)
    assert run("true") == (0, b"", b"")
    assert value("last_vanished_timestamp_seconds") is None
