"""The lock: it keeps a second run out, also when the first one's wrapper was killed."""

import os
import signal
import subprocess
import threading

import pytest

from pushgate_subprocess import _lock
from pushgate_subprocess._process import spawn

DEADLINE = 30.0


@pytest.fixture
def path(tmp_path):
    return tmp_path / "job.lock"


# --- 15 ---------------------------------------------------------------------------------------


def test_fact_15_the_child_outlives_a_killed_wrapper_and_keeps_the_lock(wrapped, path):
    process = wrapped.start(
        wrapped.sh("echo ready $$; read line; echo end", lock=path), stdin=subprocess.PIPE
    )
    word, pid = process.stdout.readline().split()
    assert word == b"ready"
    process.kill()
    assert process.wait(DEADLINE) == -signal.SIGKILL

    assert _lock.acquire(path) is None
    code, _, err = wrapped.run(wrapped.sh("echo must not run", lock=path))
    assert (code, err) == (75, f"locked by ({process.pid},)\n".encode())

    os.kill(int(pid), 0)
    process.stdin.write(b"\n")
    process.stdin.flush()
    assert process.stdout.read() == b"end\n"
    assert wrapped.run(wrapped.sh("exit 0", lock=path, lock_wait=DEADLINE))[0] == 0


def test_fact_15_a_script_that_uses_the_low_descriptors_keeps_the_lock(wrapped, path):
    script = "exec 3>&1 4>&1 5>&1 6>&1 7>&1 8>&1 9>&1 200>&1; echo ready; read line"
    process = wrapped.start(
        wrapped.argv("/bin/bash", "-c", script, lock=path), stdin=subprocess.PIPE
    )
    assert process.stdout.readline() == b"ready\n"
    process.kill()
    process.wait(DEADLINE)
    assert _lock.acquire(path) is None


def test_fact_15_a_daemon_that_the_job_left_does_not_keep_the_lock(wrapped, path):
    # The run is over, so its lock is too.
    code, out, _ = wrapped.run(wrapped.sh("sleep 60 >/dev/null 2>&1 & echo $!", lock=path))
    assert code == 0
    fd = _lock.acquire(path)
    assert fd is not None
    _lock.release(fd)
    os.kill(int(out), signal.SIGKILL)


def test_a_second_run_waits_as_long_as_it_is_told(path):
    first = _lock.acquire(path)
    assert first is not None
    assert _lock.acquire(path) is None
    assert _lock.acquire(path, wait_seconds=0.02) is None
    releaser = threading.Timer(0.05, _lock.release, [first])
    releaser.start()
    second = _lock.acquire(path, wait_seconds=DEADLINE)
    releaser.join()
    assert second is not None
    _lock.release(second)


def test_the_file_is_private_and_names_the_holders(path):
    fd = _lock.acquire(path)
    assert fd is not None
    assert path.stat().st_mode & 0o777 == 0o600
    assert _lock.holders(path) == (os.getpid(),)
    _lock.record(fd, os.getpid(), 12345)
    assert _lock.holders(path) == (os.getpid(), 12345)
    assert not os.get_inheritable(fd)
    _lock.release(fd)


def test_a_file_with_a_content_of_its_own_is_locked_but_not_touched(path):
    path.write_text("#!/bin/sh\necho a script that is its own lock\n")
    fd = _lock.acquire(path)
    assert fd is not None
    assert path.read_text().startswith("#!/bin/sh\n")
    assert _lock.holders(path) == ()
    _lock.release(fd)


def test_a_symbolic_link_is_refused(path, tmp_path):
    (tmp_path / "precious").write_text("42")
    path.symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        _lock.acquire(path)
    assert (tmp_path / "precious").read_text() == "42"
    assert _lock.holders(path) == ()


def test_what_is_no_regular_file_is_refused(path, tmp_path):
    os.mkfifo(path)
    with pytest.raises(OSError, match="regular file"):
        _lock.acquire(path)
    with pytest.raises(IsADirectoryError):
        _lock.acquire(tmp_path)
    with pytest.raises(FileNotFoundError):
        _lock.acquire(tmp_path / "no" / "such" / "folder")


def test_the_lock_is_held_by_the_child_that_inherits_it(path):
    fd = _lock.acquire(path)
    assert fd is not None
    child = spawn(["sleep", "60"], pass_fds=[fd], own_group=True)
    os.close(fd)
    assert _lock.acquire(path) is None
    child.send(signal.SIGKILL)
    child.wait()
    again = _lock.acquire(path)
    assert again is not None
    _lock.release(again)
