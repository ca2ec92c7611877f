"""Starting a command, its end and what it used: by line of the facts about wrapping commands."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pushgate_subprocess import _child
from pushgate_subprocess._descendants import descendants
from pushgate_subprocess._descendants import send as send_to
from pushgate_subprocess._exec import NotStartedError
from pushgate_subprocess._process import spawn

# A hang is a failure of its own test, not of the whole run.
DEADLINE = 30.0


def executable(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


# --- 1: the exit status -----------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 3, 124, 125, 126, 127, 128, 255])
def test_fact_01_exit_codes_pass_through(wrapped, code):
    assert wrapped.run(wrapped.sh(f"exit {code}")) == (code, b"", b"")
    assert wrapped.report()["returncode"] == code
    assert wrapped.report()["signal"] is None


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL", "SIGSEGV", "SIGUSR1"])
def test_fact_01_death_by_signal_n_is_128_plus_n(wrapped, name):
    number = int(getattr(signal, name))
    code, _, _ = wrapped.run(wrapped.sh(f"ulimit -c 0; kill -{number} $$"))
    assert code == 128 + number
    assert wrapped.report()["signal"] == number
    assert wrapped.report()["returncode"] == -number


@pytest.mark.parametrize("command", ["no-such-command", "./no/such/file", ""])
def test_fact_01_a_command_that_does_not_exist_is_127(wrapped, command):
    code, out, err = wrapped.run(wrapped.argv(command))
    assert (code, out) == (127, b"")
    assert b"command not found" in err or b"no such file" in err


def test_fact_01_a_missing_interpreter_is_127_and_named_as_the_reason(wrapped, tmp_path):
    script = executable(tmp_path / "script", "#!/no/such/interpreter\n")
    code, _, err = wrapped.run(wrapped.argv(script))
    assert code == 127
    assert b"its interpreter was not found" in err


def test_fact_01_a_file_that_is_not_executable_is_126(wrapped, tmp_path):
    (tmp_path / "data").write_text("exit 0\n")
    code, _, err = wrapped.run(wrapped.argv(str(tmp_path / "data")))
    assert code == 126
    assert b"chmod +x" in err


def test_fact_01_a_directory_is_126(wrapped, tmp_path):
    code, _, err = wrapped.run(wrapped.argv(str(tmp_path)))
    assert code == 126
    assert b"is a directory" in err


def test_fact_01_an_argument_list_that_is_too_long_is_126(wrapped):
    with pytest.raises(NotStartedError) as refused:
        spawn(["/bin/echo", *["x" * 100_000] * 100])
    assert refused.value.exit_status == 126


def test_fact_01_the_search_goes_on_behind_a_file_that_may_not_be_run(wrapped, tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    (tmp_path / "first" / "tool").write_text("not this one")
    executable(tmp_path / "second" / "tool", "#!/bin/sh\nexit 7\n")
    wrapped.env["PATH"] = f"{tmp_path}/nowhere:{tmp_path}/first:{tmp_path}/second"
    assert wrapped.run(wrapped.argv("tool"))[0] == 7
    (tmp_path / "second" / "tool").unlink()
    assert wrapped.run(wrapped.argv("tool"))[0] == 126


def test_fact_01_an_empty_directory_in_path_is_the_current_one(wrapped, tmp_path):
    executable(tmp_path / "tool", "#!/bin/sh\nexit 7\n")
    wrapped.env["PATH"] = "/no/such/place:"
    assert wrapped.run(wrapped.argv("tool"), cwd=tmp_path)[0] == 7


def test_fact_01_without_path_the_standard_places_are_searched(wrapped):
    del wrapped.env["PATH"]
    assert wrapped.run(wrapped.argv("true"))[0] == 0


# --- 2: a script without a shebang ------------------------------------------------------------


@pytest.mark.parametrize("searched", [True, False], ids=["in PATH", "by path"])
def test_fact_02_a_script_without_a_shebang_is_run_by_sh(wrapped, tmp_path, searched):
    script = executable(tmp_path / "plain-script", 'printf "<%s>" "$@"\nexit 5\n')
    wrapped.env["PATH"] += f":{tmp_path}"
    command = "plain-script" if searched else script
    code, out, _ = wrapped.run(wrapped.argv(command, "a b", "", "--"))
    assert (code, out) == (5, b"<a b><><-->")


# --- 3 and 10: the time limit -----------------------------------------------------------------


def test_fact_03_the_time_limit_is_124(wrapped):
    assert wrapped.run(wrapped.argv("sleep", "60", timeout=0.05))[0] == 124
    assert wrapped.report()["timed_out"] is True
    assert wrapped.report()["signal"] == signal.SIGTERM


def test_fact_03_an_end_within_the_time_limit_is_not_a_timeout(wrapped):
    assert wrapped.run(wrapped.sh("exit 3", timeout=60))[0] == 3
    assert wrapped.report()["timed_out"] is False


@pytest.fixture
def ready_child():
    """Starts a bash script in a group of its own; returns it and its fd 3 once that says ready.

    Its fd 4 is a pipe that never gets a line: reading there, a shell runs its traps at once.
    """
    started = []

    def start(script):
        says, tell = os.pipe()
        waits, hold = os.pipe()
        redirect = f"exec 3>&{tell} {tell}>&- 4<&{waits} {waits}<&-; "
        child = spawn(
            ["/bin/bash", "-c", redirect + script], pass_fds=[tell, waits], own_group=True
        )
        os.close(tell)
        os.close(waits)
        pipe = os.fdopen(says, "rb")
        bound = threading.Timer(DEADLINE, child.send, [signal.SIGKILL])
        bound.start()
        started.append((child, pipe, hold, bound))
        assert pipe.readline() == b"ready\n"
        return child, pipe

    yield start
    for child, pipe, hold, bound in started:
        bound.cancel()
        bound.join()
        child.send(signal.SIGKILL)
        child.wait()
        pipe.close()
        os.close(hold)


TRAPS_TERM = "trap 'exit 3' TERM; echo ready >&3; read line <&4"


@pytest.mark.parametrize(("preserve", "code"), [(False, 124), (True, 3)])
def test_fact_03_a_child_that_traps_term(ready_child, preserve, code):
    child, _ = ready_child(TRAPS_TERM)
    ended = child.wait(timeout=0, preserve_status=preserve)
    assert (ended.exit_status, ended.returncode, ended.timed_out) == (code, 3, True)


def test_fact_03_preserve_status_of_a_child_that_term_killed_is_143(wrapped):
    assert wrapped.run(wrapped.argv("sleep", "60", timeout=0.05, preserve_status="yes"))[0] == 143


@pytest.mark.parametrize("preserve", [False, True])
def test_fact_03_kill_after_the_grace_period_is_137(ready_child, preserve):
    # An ignored signal stays ignored in what the shell starts.
    child, _ = ready_child("trap '' TERM; echo ready >&3; sleep 60")
    ended = child.wait(timeout=0, kill_after=0.01, preserve_status=preserve)
    assert (ended.exit_status, ended.signal, ended.timed_out) == (137, signal.SIGKILL, True)


def test_fact_03_another_signal_can_be_chosen(wrapped):
    command = wrapped.argv("sleep", "60", timeout=0.05, timeout_signal=int(signal.SIGINT))
    assert wrapped.run(command)[0] == 124
    assert wrapped.report()["signal"] == signal.SIGINT


def test_fact_10_a_stopped_child_is_continued_to_take_the_signal(ready_child):
    child, _ = ready_child("echo ready >&3; kill -STOP $$")
    assert os.WIFSTOPPED(os.waitpid(child.pid, os.WUNTRACED)[1])
    ended = child.wait(timeout=0, kill_after=None)
    assert (ended.exit_status, ended.signal) == (124, signal.SIGTERM)


def test_fact_10_term_reaches_the_whole_group(ready_child):
    child, pipe = ready_child("sleep 60 & echo ready >&3; wait")
    assert child.wait(timeout=0).exit_status == 124
    assert pipe.read() == b""  # which the grandchild would have held open for a minute


def test_fact_10_kill_reaches_the_whole_group(ready_child):
    child, pipe = ready_child("trap '' TERM; sleep 60 & echo ready >&3; wait")
    assert child.wait(timeout=0, kill_after=0.01).exit_status == 137
    assert pipe.read() == b""


def test_fact_10_nothing_is_signalled_after_reaping(monkeypatch):
    child = spawn(["true"])
    child.wait()
    sent = []
    monkeypatch.setattr(_child.os, "kill", lambda *what: sent.append(what))
    monkeypatch.setattr(_child.os, "killpg", lambda *what: sent.append(what))
    child.send(signal.SIGTERM)
    assert sent == []


def test_fact_10_waiting_does_not_poll(monkeypatch, ready_child):
    child, _ = ready_child(TRAPS_TERM)
    sleeps = []
    until_ready = _child.until_ready

    def counted(interest, deadline):
        sleeps.append(deadline)
        if len(sleeps) == 1:
            os.kill(child.pid, signal.SIGTERM)
        return until_ready(interest, deadline)

    monkeypatch.setattr(_child, "until_ready", counted)
    assert child.wait().exit_status == 3
    assert sleeps == [None]  # one sleep without an end of its own


@pytest.mark.parametrize("own_group", [True, False])
@pytest.mark.parametrize("error", [PermissionError, ProcessLookupError])
def test_a_signal_that_can_not_be_sent_is_not_an_error(monkeypatch, own_group, error):
    """The child has become another user, or it is a zombie on macOS."""
    child = spawn(["sleep", "60"], own_group=own_group)

    def refuse(*_):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(_child.os, "kill", refuse)
        patched.setattr(_child.os, "killpg", refuse)
        child.send(signal.SIGTERM)
    child.send(signal.SIGKILL)
    assert child.wait().exit_status == 137


needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@needs_proc
def test_fact_10_descendants_are_found_while_they_share_our_group(monkeypatch, tmp_path):
    script = f"sleep 60 & setsid sleep 61 & (sleep 62 & echo >{tmp_path}/go; wait); wait"
    os.mkfifo(tmp_path / "go")
    child = spawn(["bash", "-c", script], own_group=False)
    with open(tmp_path / "go") as go:
        go.read()
    try:
        found = descendants(child.pid, {})
        deadline = time.monotonic() + DEADLINE
        while sorted(map(command_of, found)) != ["bash", "sleep 60", "sleep 62"]:
            assert time.monotonic() < deadline, found
            found = descendants(child.pid, {})
        assert child.pid not in found
        assert os.getpid() not in found
        # Its parent gone, a process is found only by having been known.
        child.send(signal.SIGKILL)
        child.wait()
        orphans = descendants(child.pid, found)
        assert {pid: found[pid] for pid in orphans} == orphans
        assert sorted(map(command_of, orphans)) == ["bash", "sleep 60", "sleep 62"]
        assert descendants(child.pid, {}) == {}
        later = {pid: start + 1 for pid, start in found.items()}
        assert descendants(child.pid, later) == {}
        with monkeypatch.context() as patched:
            sent = []
            patched.setattr(os, "kill", lambda *what: sent.append(what))
            send_to(signal.SIGKILL, later)  # others by now, which have nothing to do with it
            assert sent == []
            send_to(signal.SIGKILL, orphans)
            assert sent == [(pid, signal.SIGKILL) for pid in orphans]
    finally:
        send_to(signal.SIGKILL, found)
        subprocess.run(["pkill", "-KILL", "-x", "-f", "sleep 61"], check=False)


def command_of(pid):
    """Its words, or only "bash" for a subshell of a script."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    return "bash" if words[0] == "bash" else " ".join(words).strip()


# --- 14: arguments and environment ------------------------------------------------------------


def test_fact_14_argv_is_byte_exact(wrapped):
    arguments = [
        b"a b",
        b"",
        b"--",
        b"\xff\xfe not UTF-8",
        b"-x",
        b"$HOME `id` *",
        "é".encode(),
        b"\n",
    ]
    show = "import os, sys; sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode, sys.argv[1:])))"
    code, out, _ = wrapped.run(wrapped.argv(sys.executable, "-c", show, *arguments))
    assert code == 0
    assert out.split(b"\0") == arguments


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8"])
def test_fact_14_argv_is_byte_exact_in_any_locale(wrapped, locale):
    wrapped.env["LC_ALL"] = locale
    code, out, _ = wrapped.run(wrapped.argv("printf", "%s", b"\xc3\xa9 \xff"))
    assert (code, out) == (0, b"\xc3\xa9 \xff")


def test_the_environment_is_changed_as_asked_and_else_byte_exact(tmp_path, monkeypatch):
    monkeypatch.setitem(os.environb, b"PLAIN", b"\xff kept")
    monkeypatch.setenv("SECRET", "hidden")
    monkeypatch.setenv("BOTH", "old")
    out = tmp_path / "out"
    script = f'printf "%s|%s|%s|%s" "$PLAIN" "${{SECRET-none}}" "$BOTH" "$NEW" >{out}'
    child = spawn(
        ["sh", "-c", script],
        unset_env=["SECRET", "BOTH", "NOT_THERE"],
        set_env={"BOTH": "new", "NEW": "\udcff"},
    )
    assert child.wait().exit_status == 0
    assert out.read_bytes() == b"\xff kept|none|new|\xff"
    assert os.environ["SECRET"] == "hidden"


def test_the_changed_path_is_the_one_that_is_searched(tmp_path):
    executable(tmp_path / "only-here", "#!/bin/sh\nexit 7\n")
    child = spawn(["only-here"], set_env={"PATH": str(tmp_path)})
    assert child.wait().exit_status == 7
    with pytest.raises(NotStartedError) as refused:
        spawn(["only-here"])
    assert refused.value.exit_status == 127
    assert str(refused.value) == "only-here: command not found"


def test_wrong_arguments_are_errors():
    with pytest.raises(ValueError, match="no command"):
        spawn([])
    with pytest.raises(ValueError, match="null"):
        spawn(["echo", "a\0b"])


# --- 16 and 17: resources and time ------------------------------------------------------------


def test_fact_16_a_peak_not_above_our_own_is_left_out(wrapped):
    assert wrapped.run(wrapped.argv("true"))[0] == 0
    assert wrapped.report()["resources"]["max_rss_bytes"] is None


def test_fact_16_a_peak_above_our_own_is_reported_in_bytes(wrapped):
    mebibytes = 200
    code = f"x = bytearray(b'x') * ({mebibytes} << 20)"
    assert wrapped.run(wrapped.argv(sys.executable, "-c", code))[0] == 0
    peak = wrapped.report()["resources"]["max_rss_bytes"]
    assert mebibytes << 20 < peak < (mebibytes + 100) << 20


@pytest.mark.skipif(sys.platform == "darwin", reason="the floor is Linux's")
def test_fact_16_the_peak_of_the_process_that_started_us_is_no_floor(wrapped):
    """A wrapper that a large program starts by fork begins with that program's ru_maxrss."""
    large = "import os, sys; x = bytearray(b'x') * (300 << 20); os.execv(sys.argv[1], sys.argv[1:])"
    code = "x = bytearray(b'x') * (100 << 20)"
    command = wrapped.argv(sys.executable, "-c", code)
    assert wrapped.run([sys.executable, "-c", large, *command])[0] == 0
    assert 100 << 20 < wrapped.report()["resources"]["max_rss_bytes"] < 200 << 20


def test_fact_16_our_own_cpu_time_is_not_counted(tmp_path):
    child = spawn(["sh", "-c", "read line"], set_env={})
    # `read` has /dev/null or a terminal or pytest's: end it in any case.
    spent = time.process_time()
    while time.process_time() - spent < 0.3:
        pass
    child.send(signal.SIGKILL)
    used = child.wait().resources
    assert used.user_seconds + used.system_seconds < 0.2


def test_fact_16_the_cpu_time_of_waited_for_descendants_is_counted(wrapped):
    burn = "import time\nwhile time.process_time() < 0.2: pass"
    code, _, _ = wrapped.run(wrapped.sh(f"'{sys.executable}' -c '{burn}'; exit 0"))
    assert code == 0
    used = wrapped.report()["resources"]
    assert used["user_seconds"] + used["system_seconds"] >= 0.2
    assert used["voluntary_switches"] >= 1
    assert used["blocks_in"] >= 0
    assert used["blocks_out"] >= 0
    assert used["involuntary_switches"] >= 0


def test_fact_17_durations_do_not_follow_the_wall_clock(monkeypatch):
    child = spawn(["true"])
    monkeypatch.setattr(_child.time, "time", lambda: 1.0)  # the clock was set back to 1970
    ended = child.wait()
    assert ended.ended_at == 1.0
    assert ended.started_at > 1e9
    assert 0 <= ended.duration < 60


# --- 22: the start ----------------------------------------------------------------------------


def test_fact_22_nothing_slow_is_imported_before_the_child_runs(wrapped):
    slow = ["argparse", "dataclasses", "enum", "json", "re", "subprocess", "threading", "typing"]
    program = (
        "import sys; before = set(sys.modules)\n"
        "from pushgate_subprocess import _lock, _process, _signals\n"
        "signals = _signals.Signals()\n"
        "child = _process.spawn(['true'], signals=signals)\n"
        "print(*sorted(set(sys.modules) - before))\n"
    )
    code, out, err = wrapped.run([sys.executable, "-S", "-c", program])
    assert (code, err) == (0, b"")
    assert not set(slow) & set(out.decode().split())


# --- the engine inside somebody's program -----------------------------------------------------


def test_a_program_keeps_its_signal_handlers_and_mask(monkeypatch):
    def state():
        handlers = [signal.getsignal(n) for n in signal.valid_signals()]
        return handlers, signal.pthread_sigmask(signal.SIG_BLOCK, ())

    before = state()
    assert spawn(["true"]).wait().exit_status == 0
    assert state() == before


def test_many_threads_at_once_each_get_their_own_end():
    codes = {}

    def run(code):
        codes[code] = spawn(["sh", "-c", f"exit {code}"]).wait(timeout=30).exit_status

    threads = [threading.Thread(target=run, args=(code,)) for code in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == {code: code for code in range(20)}


def test_no_descriptor_is_left_open():
    def count():
        return len(os.listdir("/dev/fd"))

    spawn(["true"]).wait()
    before = count()
    for _ in range(5):
        spawn(["true"]).wait()
        with pytest.raises(NotStartedError):
            spawn(["no-such-command"])
    assert count() == before


def test_where_pidfds_are_forbidden_a_thread_waits_instead(monkeypatch):
    def forbidden(pid, flags=0):
        raise PermissionError(1, "seccomp")

    monkeypatch.setattr(os, "pidfd_open", forbidden, raising=False)
    assert spawn(["sh", "-c", "exit 3"]).wait().exit_status == 3
    assert spawn(["sleep", "60"]).wait(timeout=0.05).exit_status == 124

    def no_thread(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("pushgate_subprocess._descriptors.start_new_thread", no_thread)
    assert spawn(["sh", "-c", "exit 3"]).wait().exit_status == 3


def test_an_interrupted_wait_can_be_repeated(monkeypatch, ready_child):
    child, _ = ready_child("echo ready >&3; read line <&4")
    until_ready = _child.until_ready

    def ctrl_c(interest, deadline):
        os.kill(os.getpid(), signal.SIGINT)
        return until_ready(interest, deadline)

    with monkeypatch.context() as patched:
        patched.setattr(_child, "until_ready", ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            child.wait()
    child.send(signal.SIGTERM)
    assert child.wait().exit_status == 143
    assert child.wait() is child.wait()


def test_a_child_that_somebody_else_reaped_is_an_error(monkeypatch):
    before = len(os.listdir("/dev/fd"))
    child = spawn(["true"])
    os.waitpid(child.pid, 0)
    with pytest.raises(ChildProcessError):
        child.wait()
    assert len(os.listdir("/dev/fd")) == before
    sent = []
    monkeypatch.setattr(_child.os, "kill", lambda *what: sent.append(what))
    child.send(signal.SIGTERM)
    assert sent == []  # the process id may be another's by now


def test_a_descriptor_is_inherited_only_when_passed(tmp_path):
    with open(tmp_path / "file", "w") as file:
        fd = file.fileno()
        probe = f"import os; os.fstat({fd})"
        assert spawn([sys.executable, "-c", probe], pass_fds=[fd]).wait().exit_status == 0
        assert not os.get_inheritable(fd)
        quiet = f"import os, sys\ntry: os.fstat({fd})\nexcept OSError: sys.exit(9)"
        assert spawn([sys.executable, "-c", quiet]).wait().exit_status == 9
