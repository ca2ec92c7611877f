"""Signals without a terminal: what reaches the child, what stays ignored, and the push after."""

import os
import signal
import subprocess
import sys

import pytest

DEADLINE = 30.0

# Says "ready" when its traps are set, then reads the pipe that never gets a line, where a shell
# runs its traps at once; what it prints is what reached it.
# Says each signal it gets. Not a shell: a trap that comes just before its `read` waits for a line.
SAYS_SIGNALS = """if True:
    import signal, sys
    names = ["TERM", "HUP", "INT", "QUIT", "USR1", "USR2", "CONT", "ALRM"]
    numbers = [getattr(signal, "SIG" + name) for name in names]
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    print("ready", flush=True)
    while (number := signal.sigwait(numbers)) != signal.SIGALRM:
        print(signal.Signals(number).name[3:], flush=True)
    print("END", flush=True)
    sys.exit(9)
"""

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def ready(wrapped, argv, **popen):
    process = wrapped.start(argv, **{"stdin": subprocess.PIPE, **popen})
    assert process.stdout.readline() == b"ready\n"
    return process


def finish(process):
    """Wait for the end with its standard input still open; return its stdout and stderr."""
    process.wait(DEADLINE)
    return process.stdout.read(), process.stderr.read()


# --- 6: forwarding ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["TERM", "HUP", "INT", "QUIT", "USR1", "USR2"])
def test_fact_06_signals_reach_the_child(each_way, name):
    process = ready(each_way, each_way.argv(sys.executable, "-c", SAYS_SIGNALS))
    process.send_signal(getattr(signal, f"SIG{name}"))
    assert process.stdout.readline() == f"{name}\n".encode()
    process.send_signal(signal.SIGALRM)
    assert finish(process)[0] == b"END\n"  # and nothing came twice
    assert process.returncode == 9


def test_fact_06_a_real_time_signal_reaches_the_child(wrapped):
    if not hasattr(signal, "SIGRTMIN"):
        pytest.skip("macOS has none")
    script = "trap 'echo got; exit 4' RTMIN+3; echo ready; read line"
    process = ready(wrapped, wrapped.argv("/bin/bash", "-c", script))
    process.send_signal(signal.SIGRTMIN + 3)
    assert finish(process)[0] == b"got\n"
    assert process.returncode == 4


def test_fact_06_the_final_push_still_happens_and_the_code_is_143(each_way):
    process = ready(each_way, each_way.sh("echo ready; read line", push=0.01))
    process.terminate()
    _, err = finish(process)
    assert process.returncode == 143
    assert err == b"pushing\npushed hurried=False\n"
    assert each_way.report()["signal"] == signal.SIGTERM


def test_fact_06_a_signal_before_the_child_runs_is_not_lost(wrapped):
    # Blocked, or caught and written to a pipe, from the moment that Signals exists.
    program = (
        "import os, signal\n"
        "from pushgate_subprocess import _process, _signals\n"
        "signals = _signals.Signals()\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "child = _process.spawn(['sleep', '60'], signals=signals)\n"
        "print(child.wait().exit_status)\n"
    )
    assert wrapped.run([sys.executable, "-c", program]) == (0, b"143\n", b"")


def test_fact_06_without_a_thread_to_listen_handlers_do(wrapped):
    # A limit on a user's processes counts threads too.
    program = (
        "import os, signal\n"
        "from pushgate_subprocess import _process, _signals\n"
        'def none(*_): raise RuntimeError("can\'t start new thread")\n'
        "_signals.start_new_thread = none\n"
        "signals = _signals.Signals()\n"
        "child = _process.spawn(['sleep', '60'], signals=signals)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "print(child.wait().exit_status)\n"
    )
    assert wrapped.run([sys.executable, "-c", program]) == (0, b"143\n", b"")


def test_fact_06_dying_like_the_child_is_seen_by_a_parent(each_way):
    assert each_way.run(each_way.sh("kill -QUIT $$", die="yes"))[0] == -signal.SIGQUIT
    assert each_way.run(each_way.sh("kill -KILL $$", die="yes"))[0] == -signal.SIGKILL


def test_fact_06_dying_like_the_child_leaves_no_core_dump_of_ours(wrapped):
    program = (
        "import resource, signal\n"
        "from pushgate_subprocess import _signals\n"
        "soft, hard = resource.getrlimit(resource.RLIMIT_CORE)\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))\n"
        "_signals._do_default = lambda number: print(\n"
        "    hard != 0, int(number), resource.getrlimit(resource.RLIMIT_CORE) == (0, hard))\n"
        "_signals.Signals().die_like(signal.SIGQUIT)\n"
    )
    code, out, err = wrapped.run([sys.executable, "-c", program])
    assert (code, err) == (0, b"")
    if out.startswith(b"False"):
        pytest.skip("core dumps are forbidden here")
    assert out == b"True 3 True\n"


def test_fact_06_a_child_that_signals_its_parent_gets_no_echo(wrapped):
    # Only sigwaitinfo tells who sent it.
    if sys.platform == "darwin":
        pytest.skip("no sigwaitinfo")
    script = "trap 'echo echoed' USR1; kill -USR1 $PPID; kill -ALRM $PPID; echo end"
    code, out, _ = wrapped.run(wrapped.argv("/bin/bash", "-c", script))
    assert (code, out) == (0, b"end\n")


# --- 7: process groups ------------------------------------------------------------------------


def test_fact_07_without_a_terminal_the_child_leads_a_group_of_its_own(each_way):
    show = "import os; print(os.getpgrp() == os.getpid(), os.getsid(0) != os.getpid())"
    assert each_way.run(each_way.argv(sys.executable, "-c", show))[1] == b"True True\n"


def test_fact_07_what_ends_a_job_reaches_its_whole_group(each_way):
    process = ready(each_way, each_way.sh("sleep 60 & echo ready; wait"))
    process.terminate()
    # stdout stays open until the grandchild has ended.
    assert finish(process)[0] == b""
    assert process.returncode == 143


def test_fact_07_a_message_reaches_the_command_alone(each_way):
    # To the whole group, USR1 would kill the sleep that does not expect it.
    script = "trap 'echo got' USR1; sleep 60 & echo ready; wait $!; kill $! && echo alive"
    process = ready(each_way, each_way.argv("/bin/bash", "-c", script))
    process.send_signal(signal.SIGUSR1)
    assert finish(process)[0] == b"got\nalive\n"


def test_fact_07_stop_and_continue_reach_the_child(each_way):
    process = ready(each_way, each_way.sh("echo ready; read line"))
    child = int(subprocess.check_output(["pgrep", "-P", str(process.pid)]))
    process.send_signal(signal.SIGTSTP)
    wait_for_state(child, "T")
    process.send_signal(signal.SIGCONT)
    wait_for_state(child, "RS")
    process.terminate()
    assert process.wait(DEADLINE) == 143


def wait_for_state(pid, states):
    """Poll for what no event tells a process that is not the parent."""
    for _ in range(3000):
        state = subprocess.check_output(["ps", "-o", "state=", "-p", str(pid)]).decode()
        if state.strip()[:1] in states:
            return
    raise AssertionError(f"{pid} stays {state}")


# --- 8: ignored signals -----------------------------------------------------------------------


def test_fact_08_nohup_keeps_its_meaning(each_way):
    script = "echo ready; read line; echo survived"
    argv = ["nohup", *each_way.sh(script)]
    process = ready(each_way, argv)
    process.send_signal(signal.SIGHUP)
    child = int(subprocess.check_output(["pgrep", "-P", str(process.pid)]))
    os.kill(child, signal.SIGHUP)
    assert process.communicate(b"\n", timeout=DEADLINE)[0] == b"survived\n"
    assert process.returncode == 0


@needs_proc
@pytest.mark.parametrize("ignored", [[], ["HUP"], ["INT", "QUIT"], ["TERM", "USR1", "TSTP"]])
def test_fact_08_the_child_ignores_and_blocks_what_the_bare_command_would(each_way, ignored):
    show = ["grep", "-E", "Sig(Ign|Blk|Cgt)", "/proc/self/status"]
    numbers = [getattr(signal, f"SIG{name}") for name in ignored]

    def prepare():
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})

    def masks(argv):
        code, out, err = each_way.run(argv, preexec_fn=prepare)
        assert (code, err) == (0, b"")
        # glibc's posix_spawn leaves 32 and 33, which only glibc itself may use, ignored
        # (sysdeps/unix/sysv/linux/spawni.c); it puts handlers in place before it uses them.
        own = 0b11 << 31
        return [int(word, 16) & ~own for word in out.split()[1::2]]

    assert masks(each_way.argv(*show)) == masks(show)


def test_fact_08_a_job_in_the_background_of_a_script_ignores_int(each_way):
    script = '"$@" & wait $!'
    argv = ["/bin/sh", "-c", script, "sh", *each_way.sh("kill -INT $$; echo still here")]
    assert each_way.run(argv)[:2] == (0, b"still here\n")


def test_an_ignored_sigchld_does_not_lose_the_exit_code(each_way):
    def prepare():
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    assert each_way.run(each_way.sh("exit 3"), preexec_fn=prepare)[0] == 3


def test_a_blocked_term_still_reaches_the_child(wrapped):
    def prepare():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    unblock = (
        "import signal; signal.pthread_sigmask(signal.SIG_UNBLOCK, {15}); "
        "print('ready', flush=True); signal.pause()"
    )
    process = ready(wrapped, wrapped.argv(sys.executable, "-c", unblock), preexec_fn=prepare)
    process.terminate()
    assert process.wait(DEADLINE) == 143


# --- 9: SIGPIPE -------------------------------------------------------------------------------


def test_fact_09_yes_head(each_way):
    argv = ["/bin/bash", "-o", "pipefail", "-c", '"$@" | head -n 1', "bash", *each_way.argv("yes")]
    assert each_way.run(argv) == (128 + signal.SIGPIPE, b"y\n", b"")


# --- 11: the final push, and PID 1 ------------------------------------------------------------


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"])
def test_fact_11_a_second_signal_shortens_the_final_push(each_way, name):
    process = ready(each_way, each_way.sh("echo ready; read line", push=3600))
    process.terminate()
    assert process.stderr.readline() == b"pushing\n"
    process.send_signal(getattr(signal, name))
    assert process.stderr.readline() == b"pushed hurried=True\n"
    assert process.wait(DEADLINE) == 143


def test_fact_11_a_message_does_not_shorten_the_final_push(each_way):
    process = ready(each_way, each_way.sh("echo ready", push=0.3))
    assert process.stderr.readline() == b"pushing\n"
    process.send_signal(signal.SIGUSR1)
    assert process.stderr.readline() == b"pushed hurried=False\n"
    assert process.wait(DEADLINE) == 0


def as_pid_1(argv):
    return ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child", *argv]


@pytest.fixture
def pid_namespaces():
    try:
        subprocess.run(as_pid_1(["true"]), check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("can't make a PID namespace here")


@pytest.mark.usefixtures("pid_namespaces")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGUSR1"])
def test_fact_11_as_pid_1_signals_reach_the_child(each_way, name):
    # The kernel drops what PID 1 has no handler for.
    process = ready(each_way, as_pid_1(each_way.sh("echo ready; read line", push=0.01)))
    pid_1 = int(subprocess.check_output(["pgrep", "-P", str(process.pid)]))
    os.kill(pid_1, getattr(signal, name))
    _, err = finish(process)
    assert process.returncode == 128 + getattr(signal, name)
    assert err == b"pushing\npushed hurried=False\n"


@pytest.mark.usefixtures("pid_namespaces")
def test_fact_11_pid_1_can_not_die_of_a_signal_and_exits(each_way):
    assert each_way.run(as_pid_1(each_way.sh("kill -TERM $$", die="yes")))[0] == 143


@pytest.mark.usefixtures("pid_namespaces")
def test_fact_11_as_pid_1_orphans_are_reaped(each_way):
    # The subshell's sleep becomes a child of PID 1 and ends; the shell asks until it is gone.
    script = (
        "set -- $( (sleep 0.05 & echo $!) ); "
        "i=0; while [ -e /proc/$1 ] && [ $i -lt 3000 ]; do i=$((i+1)); sleep 0.01; done; "
        "[ ! -e /proc/$1 ]"
    )
    assert each_way.run(as_pid_1(each_way.sh(script))) == (0, b"", b"")
