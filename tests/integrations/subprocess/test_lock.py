"""The lock: it keeps a second run out, also when the first one's wrapper was killed."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DEADLINE = 50.0


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "job.lock"


@pytest.fixture
def holder(pushgate, lock):
    """Starts a run that holds the lock until its standard input ends; says its own process id."""

    def holder(prepare=":"):
        script = f"{prepare}; echo $$; read line; echo end"
        argv = pushgate.wrap("bash", "-c", script, lock=lock)
        process = pushgate.start(argv, stdin=subprocess.PIPE)
        process.pid_of_the_command = int(process.stdout.readline())
        while len(lock.read_text().split()) < 2:  # both process ids are noted once it runs
            assert process.poll() is None
        return process

    return holder


def try_lock(pushgate, lock, *options):
    """The exit code of a run that fails where the lock is held, and its stderr."""
    words = ("--dry-run", "--on-locked", "fail", *options, "--lock", str(lock), "--", "true")
    code, _, err = pushgate.run(pushgate.argv(*words))
    return code, err


@pytest.mark.parametrize(("choice", "code"), [([], 0), (["--on-locked", "fail"], 75)])
def test_a_run_that_is_locked_out_is_skipped(run, value, holder, lock, tmp_path, choice, code):
    process, before = holder(), time.time()
    command = ("touch", str(tmp_path / "ran"))
    exit_code, out, err = run("--lock", str(lock), *choice, *command)
    pids = f"{process.pid} and {process.pid_of_the_command}"
    assert (exit_code, out) == (code, b"")
    assert err == f"pushgate: backup: not started: {lock} is locked, by pid {pids}\n".encode()
    assert not (tmp_path / "ran").exists()
    assert value("last_skipped_timestamp_seconds") >= before
    assert value("last_completion_timestamp_seconds") is None


def test_the_command_outlives_a_killed_wrapper_and_keeps_the_lock(pushgate, holder, lock):
    # Also where it has used the numbers that scripts and flock(1) use.
    process = holder("exec 3>&1 4>&1 5>&1 6>&1 7>&1 8>&1 9>&1 200>&1")
    process.kill()
    assert process.wait(DEADLINE) == -signal.SIGKILL
    assert try_lock(pushgate, lock)[0] == 75
    os.kill(process.pid_of_the_command, 0)
    process.stdin.write(b"\n")
    process.stdin.flush()
    assert process.stdout.read() == b"end\n"
    assert try_lock(pushgate, lock, "--lock-wait", "20s")[0] == 0


def test_a_daemon_that_the_job_left_does_not_keep_the_lock(pushgate, lock):
    # The run is over, so its lock is too.
    script = "sleep 60 >/dev/null 2>&1 & echo $!"
    code, out, _ = pushgate.run(pushgate.sh(script, lock=lock))
    assert (code, try_lock(pushgate, lock)[0]) == (0, 0)
    os.kill(int(out), signal.SIGKILL)


def test_a_second_run_waits_as_long_as_it_is_told(pushgate, holder, lock):
    process = holder()
    assert try_lock(pushgate, lock, "--lock-wait", "0.02")[0] == 75
    waiting = pushgate.start(pushgate.wrap("true", lock=lock, lock_wait=20, on_locked="fail"))
    process.stdin.close()
    assert process.wait(DEADLINE) == 0
    assert waiting.wait(DEADLINE) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_runs_do_not_overlap_because_a_cleaner_removed_the_file(pushgate, holder, lock):
    """One that waits for the file that was removed must not run beside one that has the new."""
    first = holder()
    waiting = pushgate.start(pushgate.sh("echo ran", lock=lock, lock_wait="1h"))
    while lock not in open_files(waiting.pid):
        assert waiting.poll() is None
    lock.unlink()
    second = holder()
    first.stdin.close()
    assert first.wait(DEADLINE) == 0
    while lock not in open_files(waiting.pid):  # the new one, for which it waits now
        assert waiting.poll() is None
    assert try_lock(pushgate, lock)[0] == 75
    second.stdin.close()
    assert waiting.stdout.read() == b"ran\n"
    assert second.wait(DEADLINE) == waiting.wait(DEADLINE) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_run_that_waits_for_the_lock_can_be_ended(pushgate, holder, lock):
    holder()
    process = pushgate.start(pushgate.wrap("true", lock=lock, lock_wait="1h"))
    while lock not in open_files(process.pid):  # in the middle of waiting once it is
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out, err) == (-signal.SIGINT, b"", b"")


def open_files(pid):
    """The files that the process has open; one that was removed has another name."""
    found = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # it closes files while we look
            found.append(fd.readlink())
    return found


def test_the_file_is_private_and_one_with_a_content_of_its_own_is_not_touched(pushgate, lock):
    assert try_lock(pushgate, lock)[0] == 0
    assert lock.stat().st_mode & 0o777 == 0o600
    script = "#!/bin/sh\necho a script that is its own lock\n"
    lock.write_text(script)
    assert try_lock(pushgate, lock)[0] == 0
    assert lock.read_text() == script


def a_link(lock):
    lock.with_name("precious").write_text("42")
    lock.symlink_to(lock.with_name("precious"))


@pytest.mark.parametrize(
    ("plant", "told"),
    [(a_link, "it is a symbolic link"), (os.mkfifo, "it is not a regular file")],
)
def test_what_others_may_have_planted_is_refused(run, value, lock, tmp_path, plant, told):
    plant(lock)
    ended = run("--lock", str(lock), "--", "touch", str(tmp_path / "ran"))
    assert ended == (125, b"", f"pushgate: backup: can't lock {lock}: {told}\n".encode())
    assert not (tmp_path / "ran").exists()
    assert value("last_exit_code") == 125
    if plant is a_link:
        assert (tmp_path / "precious").read_text() == "42"
