"""Signals without a terminal: what reaches the command, what stays ignored, and the push after."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

DEADLINE = 50.0

# Says "ready", then each signal it gets. Not a shell: a trap that comes just before its `read`
# waits for a line.
SAYS_SIGNALS = """if True:
    import signal, sys
    names = ["TERM", "HUP", "INT", "QUIT", "USR1", "USR2", "CONT", "ALRM", "RTMIN"]
    numbers = [getattr(signal, "SIG" + name) for name in names if hasattr(signal, "SIG" + name)]
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    print("ready", flush=True)
    while (number := signal.sigwait(numbers)) != signal.SIGALRM:
        print(signal.Signals(number).name[3:], flush=True)
    print("END", flush=True)
    sys.exit(9)
"""

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def finish(process):
    """Wait for the end with its standard input still open; return its stdout and stderr."""
    process.wait(DEADLINE)
    return process.stdout.read(), process.stderr.read()


# --- forwarding -------------------------------------------------------------------------------


def test_signals_reach_the_command_once(pushgate):
    process = pushgate.ready(pushgate.wrap(sys.executable, "-c", SAYS_SIGNALS))
    for name in ("TERM", "HUP", "INT", "USR1", *["RTMIN"] * hasattr(signal, "SIGRTMIN")):
        process.send_signal(getattr(signal, f"SIG{name}"))
        assert process.stdout.readline() == f"{name}\n".encode()
    process.send_signal(signal.SIGALRM)
    assert finish(process)[0] == b"END\n"
    assert process.returncode == 9


# --- process groups ---------------------------------------------------------------------------


def test_without_a_terminal_the_command_leads_a_group_of_its_own(pushgate):
    show = "import os; print(os.getpgrp() == os.getpid(), os.getsid(0) != os.getpid())"
    assert pushgate.run(pushgate.wrap(sys.executable, "-c", show))[1] == b"True True\n"


def test_what_ends_a_job_reaches_its_whole_group_and_the_outcome_is_pushed(pushgate, pushgateway):
    script = "sleep 60 & echo ready; wait"
    process = pushgate.ready(pushgate.argv("--", "sh", "-c", script, gateway=pushgateway.url))
    process.terminate()
    # stdout stays open until the grandchild has ended.
    assert finish(process) == (b"", b"")
    assert process.returncode == 143
    pushgateway.assert_pushed("batch_job_last_signal", signal.SIGTERM, job="backup")


def test_a_message_reaches_the_command_alone(pushgate):
    # To the whole group, USR1 would kill the sleep that does not expect it. The loop ends whether
    # the message comes before the first wait or in one: a trap that ran before ends no wait.
    script = (
        "trap 'echo got; got=yes' USR1; sleep 60 & sleeper=$!; echo ready;"
        ' until [ "$got" ]; do sleep 0.01 & wait $!; done; kill $sleeper && echo alive'
    )
    process = pushgate.ready(pushgate.wrap("/bin/bash", "-c", script))
    process.send_signal(signal.SIGUSR1)
    assert finish(process)[0] == b"got\nalive\n"


def test_stop_and_continue_reach_the_command(pushgate):
    process = pushgate.ready(pushgate.sh("echo ready; read line"))
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


# --- what is ignored or blocked on entry -------------------------------------------------------


def test_nohup_keeps_its_meaning(pushgate):
    process = pushgate.ready(["nohup", *pushgate.sh("echo ready; read line; echo survived")])
    process.send_signal(signal.SIGHUP)
    child = int(subprocess.check_output(["pgrep", "-P", str(process.pid)]))
    os.kill(child, signal.SIGHUP)
    assert process.communicate(b"\n", timeout=DEADLINE)[0] == b"survived\n"
    assert process.returncode == 0


@needs_proc
@pytest.mark.parametrize("ignored", [[], ["HUP", "INT", "TSTP", "USR1"]])
def test_the_command_ignores_and_blocks_what_the_bare_command_would(pushgate, ignored):
    show = ["grep", "-E", "Sig(Ign|Blk|Cgt)", "/proc/self/status"]
    numbers = [getattr(signal, f"SIG{name}") for name in ignored]

    def prepare():
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})

    def masks(argv):
        code, out, err = pushgate.run(argv, preexec_fn=prepare)
        assert (code, err) == (0, b"")
        # glibc's posix_spawn leaves 32 and 33, which only glibc itself may use, ignored
        # (sysdeps/unix/sysv/linux/spawni.c); it puts handlers in place before it uses them.
        own = 0b11 << 31
        return [int(word, 16) & ~own for word in out.split()[1::2]]

    assert masks(pushgate.wrap(*show)) == masks(show)


def test_a_blocked_term_still_reaches_the_command_and_sigchld_may_be_ignored(pushgate):
    def prepare():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    wait = "import signal; print('ready', flush=True); signal.sigwait([15]); raise SystemExit(3)"
    process = pushgate.ready(pushgate.wrap(sys.executable, "-c", wait), preexec_fn=prepare)
    process.terminate()
    assert process.wait(DEADLINE) == 3


def test_yes_head(pushgate):
    argv = ["/bin/bash", "-o", "pipefail", "-c", '"$@" | head -n 1', "bash", *pushgate.wrap("yes")]
    assert pushgate.run(argv) == (128 + signal.SIGPIPE, b"y\n", b"")


# --- the final push, and PID 1 -----------------------------------------------------------------


def test_a_second_signal_shortens_the_final_push_and_the_outcome_is_kept(pushgate, recorder):
    recorder.hold = recorder.stopping
    command = ("--no-start-push", "--push-timeout", "1h", "--", "sh", "-c", "echo ready; read x")
    process = pushgate.ready(pushgate.argv(*command, gateway=recorder.url))
    process.terminate()
    assert b"last_exit_code" in recorder.next().body
    process.send_signal(signal.SIGINT)
    _, err = finish(process)
    assert process.returncode == 143
    assert err.startswith(b"pushgate: backup: gave up waiting for the push ")
    assert err.endswith(b"; it waits in the outbox and will be delivered later\n")


def test_a_message_does_not_shorten_the_final_push(pushgate, recorder):
    recorder.hold = recorder.stopping
    argv = pushgate.argv("--no-start-push", "--", "true", gateway=recorder.url)
    process = pushgate.start(argv)
    recorder.next()
    process.send_signal(signal.SIGUSR1)
    recorder.stopping.set()
    assert finish(process) == (b"", b"")
    assert process.returncode == 0


def as_pid_1(argv):
    return ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child", *argv]


@pytest.fixture
def pid_namespaces():
    try:
        subprocess.run(as_pid_1(["true"]), check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("can't make a PID namespace here")


@pytest.mark.usefixtures("pid_namespaces")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_as_pid_1_signals_reach_the_command(pushgate, name):
    # The kernel drops what PID 1 has no handler for.
    process = pushgate.ready(as_pid_1(pushgate.sh("echo ready; read line")))
    pid_1 = int(subprocess.check_output(["pgrep", "-P", str(process.pid)]))
    os.kill(pid_1, getattr(signal, name))
    assert finish(process)[1] == b""
    assert process.returncode == 128 + getattr(signal, name)


@pytest.mark.usefixtures("pid_namespaces")
def test_as_pid_1_orphans_are_reaped(pushgate):
    # The subshell's sleep becomes a child of PID 1 and ends; the shell asks until it is gone.
    script = (
        "set -- $( (sleep 0.05 & echo $!) ); "
        "i=0; while [ -e /proc/$1 ] && [ $i -lt 3000 ]; do i=$((i+1)); sleep 0.01; done; "
        "[ ! -e /proc/$1 ]"
    )
    assert pushgate.run(as_pid_1(pushgate.sh(script))) == (0, b"", b"")


# --- systemd ----------------------------------------------------------------------------------

UNITS = Path(__file__).parents[3] / "examples" / "systemd"


def test_a_stop_of_the_example_unit_sends_term_to_pushgate_alone():
    unit = (UNITS / "nightly-backup.service").read_text().splitlines()
    assert {"KillMode=mixed", "StateDirectory=nightly-backup"} <= set(unit)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_takes_the_example_units(tmp_path):
    for unit in UNITS.glob("nightly-backup.*"):
        text = unit.read_text().replace("/usr/local/bin/pushgate", sys.executable)
        (tmp_path / unit.name).write_text(text)
    units = sorted(map(str, tmp_path.iterdir()))
    assert len(units) == 2
    done = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "nightly-backup" in done.stderr) == (0, False), done.stderr
