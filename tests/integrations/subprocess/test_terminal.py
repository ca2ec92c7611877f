"""Ctrl-C, Ctrl-Z and reading on a real terminal: as for the bare command."""

import os
import select
import signal
import subprocess
import sys
import threading

import pexpect
import pytest

pytestmark = pytest.mark.end_to_end  # real terminals, which no fast suite waits for

DEADLINE = 50

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

# Says "ready", then each signal it gets and each line it reads, until that is "end". Not a shell: a
# trap that comes just before its `read` waits for a line. With the argument "tidy" it stops itself
# at Ctrl-Z, as an editor does that first restores the screen; with "ignore" it does not stop.
REPEATS = """if True:
    import os, select, signal, sys
    signals, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end)
    names = ["TERM", "HUP", "INT", "QUIT", "USR1", "WINCH", "CONT"]
    for name in names + ["TSTP"] * len(sys.argv[1:]):
        signal.signal(getattr(signal, "SIG" + name), lambda *_: None)
    print("ready", flush=True)
    line = ""
    while line != "end":
        reads = [0] * (os.tcgetpgrp(0) == os.getpgrp())  # in the background that would stop it
        ready, *_ = select.select([signals, *reads], [], [], None if reads else 0.01)
        for number in os.read(signals, 99) if signals in ready else b"":
            print("got-" + signal.Signals(number).name[3:], flush=True)
            if number == signal.SIGTSTP and sys.argv[1] == "tidy":
                os.kill(os.getpid(), signal.SIGSTOP)
        if 0 in ready:
            line = os.read(0, 999).decode().strip()
            print(f"<{line}>", flush=True)
    sys.exit(9)
"""


class Terminal:
    """Processes on terminals of their own, all of them ended with the test."""

    def __init__(self, pushgate):
        self.pushgate = pushgate
        self.running = []

    def start(self, argv, env=None):
        """Run `argv` in the foreground of a new terminal, as the leader of its session."""
        environment = {**self.pushgate.env, **(env or {})}
        process = pexpect.spawn(
            argv[0], argv[1:], env=environment, timeout=DEADLINE, encoding="utf-8", echo=False
        )
        # Its pauses are for programs that are not ready, and these say when they are.
        process.delaybeforesend = None
        process.delayafterclose = process.ptyproc.delayafterclose = 0
        self.running.append(process)
        return process

    def shell(self):
        """Run an interactive bash, with job control and the prompt `PROMPT>`."""
        bash = self.start(["/bin/bash", "--norc", "--noprofile", "-i"], {"PS1": "PROMPT>"})
        bash.expect_exact("PROMPT>")
        # So that what is looked for is what a command printed, never the echo of the command.
        bash.sendline("bind 'set enable-bracketed-paste off'; stty -echo")
        bash.expect_exact("PROMPT>")
        return bash

    def repeats(self, *arguments):
        """The command line of REPEATS under the wrapper."""
        return self.pushgate.wrap(sys.executable, "-c", REPEATS, *arguments)

    def close(self):
        for process in self.running:
            subprocess.run(["pkill", "-KILL", "-s", str(process.pid)], check=False)
            if process.isalive():
                process.wait()
            process.close(force=False)


@pytest.fixture
def terminal(pushgate):
    made = Terminal(pushgate)
    yield made
    made.close()


def quoted(argv):
    return " ".join("'" + word.replace("'", "'\\''") + "'" for word in argv)


def end(process):
    process.expect(pexpect.EOF)
    process.wait()
    return process.exitstatus


# --- Ctrl-C -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "send"),
    [
        ("INT", lambda process: process.sendcontrol("c")),
        ("QUIT", lambda process: process.sendcontrol("\\")),
        ("WINCH", lambda process: process.setwinsize(40, 100)),
        # To the wrapper alone.
        ("TERM", lambda process: process.kill(signal.SIGTERM)),
        ("HUP", lambda process: process.kill(signal.SIGHUP)),
        ("USR1", lambda process: process.kill(signal.SIGUSR1)),
    ],
)
def test_a_signal_reaches_the_child_exactly_once(terminal, name, send):
    process = terminal.start(terminal.repeats())
    process.expect_exact("ready")
    send(process)
    process.expect_exact(f"got-{name}")
    process.sendline("end")
    assert end(process) == 9
    assert "got" not in process.before


def test_one_ctrl_c_does_not_shorten_the_push_and_a_second_one_does(terminal, pushgate, recorder):
    for presses in (1, 2):
        recorder.hold = answer = threading.Event()
        command = ("--no-start-push", "--", "sh", "-c", "echo ready; read line")
        process = terminal.start(pushgate.argv(*command, gateway=recorder.url))
        process.expect_exact("ready")
        process.sendcontrol("c")
        assert b"last_signal 2.0" in recorder.next().body
        if presses == 2:
            process.sendcontrol("c")
            process.expect_exact("gave up waiting")
        answer.set()
        process.expect(pexpect.EOF)
        assert "pushgate:" not in process.before


def test_the_child_has_the_terminal_and_our_group(terminal, pushgate):
    show = "import os; print(os.getpgrp() != os.getpid(), os.getpgrp() == os.tcgetpgrp(0), "
    show += "*(os.isatty(fd) for fd in range(3)), os.get_terminal_size().lines, input())"
    process = terminal.start(pushgate.wrap(sys.executable, "-c", show))
    process.sendline("a line")
    process.expect_exact("True True True True True 24 a line")
    assert end(process) == 0


def test_a_child_that_opens_the_terminal_itself_is_not_stopped(terminal, pushgate):
    # As ssh and sudo do for a password, with their standard input elsewhere.
    script = 'echo ready; read line </dev/tty; echo "<$line>"'
    command = ["/bin/sh", "-c", '"$@" </dev/null | cat', "sh", *pushgate.sh(script)]
    process = terminal.start(command)
    process.expect_exact("ready")
    process.sendline("a line")
    process.expect_exact("<a line>")
    assert end(process) == 0


def test_ctrl_c_ends_a_loop_of_the_shell_and_the_outcome_is_pushed(terminal, pushgate, pushgateway):
    command = quoted(pushgate.sh("echo ready; exec sleep 60", gateway=pushgateway.url))
    bash = terminal.shell()
    bash.sendline(f"for i in 1 2; do echo round $i; {command}; done")
    bash.expect_exact("ready")
    bash.sendcontrol("c")
    assert bash.expect_exact(["round 2", "PROMPT>"]) == 1
    bash.sendline("echo code $?")
    bash.expect_exact("code 130")
    pushgateway.assert_pushed("batch_job_last_signal", signal.SIGINT, job="backup")


def test_a_hang_up_ends_the_child_and_the_push_still_happens(terminal, pushgate, pushgateway):
    process = terminal.start(pushgate.sh("echo ready; exec sleep 60", gateway=pushgateway.url))
    process.expect_exact("ready")
    process.ptyproc.fileobj.close()
    assert process.wait() == 129
    pushgateway.assert_pushed("batch_job_last_signal", signal.SIGHUP, job="backup")


@needs_proc
@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("echo ready; sleep 60; echo went on", 124),
        ("trap '' TERM; echo ready; sleep 60; echo went on", 137),
        # TERM ends the one in the middle, so the last one's parent is gone when it gets the KILL.
        (
            "trap : TERM; (sh -c 'trap \"\" TERM; echo ready; sleep 60; :' & wait; :) & "
            "while :; do wait; sleep 0.01; done",
            137,
        ),
    ],
    ids=["TERM", "KILL", "KILL of an orphan"],
)
def test_the_time_limit_on_a_terminal_ends_what_the_child_started(
    terminal, pushgate, tmp_path, script, code
):
    # The sleep holds the fifo open for a minute, unless it is ended: not by a hang-up, as the
    # shell that leads the session goes on.
    held = tmp_path / "held"
    os.mkfifo(held)
    command = pushgate.sh(f"exec 9>{held}; {script}", timeout=1, kill_after=0.1)
    lead = '"$@"; echo "code $?"; read line'
    process = terminal.start(["/bin/bash", "-c", lead, "bash", *command])
    with open(held, "rb") as pipe:
        process.expect_exact("ready")
        process.expect_exact(f"code {code}")
        assert "went on" not in process.before
        assert select.select([pipe], [], [], 10) == ([pipe], [], [])
        assert pipe.read() == b""


@needs_proc
def test_the_time_limit_on_a_terminal_spares_the_rest_of_the_group(terminal, pushgate):
    command = pushgate.sh("sleep 60; true", timeout=0.2)
    script = 'sleep 61 & "$@"; echo "code $?"; kill $! && echo spared'
    process = terminal.start(["/bin/bash", "-c", script, "bash", *command])
    process.expect_exact("code 124")
    process.expect_exact("spared")


def test_what_a_time_limit_leaves_of_the_job_keeps_the_lock(terminal, pushgate, tmp_path):
    lock, held = tmp_path / "lock", tmp_path / "held"
    os.mkfifo(held)
    script = f"exec 9>{held}; trap '' TERM; sleep 60 & trap - TERM; wait"
    command = pushgate.sh(script, lock=lock, timeout=1)
    lead = '"$@"; echo "code $?"; read line; kill -KILL 0'
    process = terminal.start(["/bin/bash", "-c", lead, "bash", *command])
    with open(held, "rb") as pipe:
        process.expect_exact("code 124")
        second = pushgate.wrap("true", lock=lock, on_locked="fail")
        assert pushgate.run(second)[0] == 75
        process.sendline("")
        assert pipe.read() == b""
    assert pushgate.run(pushgate.wrap("true", lock=lock, lock_wait=20))[0] == 0


# --- Ctrl-Z -----------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [(), ("tidy",)], ids=str)
def test_ctrl_z_stops_the_job_and_fg_continues_it(terminal, arguments):
    bash = terminal.shell()
    bash.sendline(quoted(terminal.repeats(*arguments)))
    bash.expect_exact("ready")
    for number in range(3):
        bash.sendcontrol("z")
        bash.expect(r"\[1\]\+\s+Stopped\s")
        bash.expect_exact("PROMPT>")
        bash.sendline("jobs -l")
        bash.expect(r"\[1\]\+\s+\d+ Stopped\s")
        bash.expect_exact("PROMPT>")
        bash.sendline("fg")
        bash.expect_exact("got-CONT")
        bash.sendline(f"again {number}")
        assert bash.expect_exact([f"<again {number}>", "got-CONT"]) == 0
    bash.sendline("end")
    bash.expect_exact("PROMPT>")
    bash.sendline("echo code $?")
    bash.expect_exact("code 9")


def test_ctrl_z_of_a_child_that_ignores_it_does_nothing(terminal):
    bash = terminal.shell()
    bash.sendline(quoted(terminal.repeats("ignore")))
    bash.expect_exact("ready")
    bash.sendcontrol("z")
    bash.expect_exact("got-TSTP")
    bash.sendline("still here")
    assert bash.expect_exact(["<still here>", "Stopped"]) == 0
    bash.sendline("end")
    bash.expect_exact("PROMPT>")


def test_in_the_background_of_a_shell_it_stops_when_it_reads_the_terminal(terminal, pushgate):
    bash = terminal.shell()
    bash.sendline(quoted(pushgate.sh("read line; echo = $line =")) + " &")
    bash.expect_exact("PROMPT>")
    bash.sendline('while [ -z "$(jobs -s)" ]; do :; done; jobs -l')
    bash.expect(r"\[1\]\+\s+\d+ Stopped \(tty input\)")
    bash.expect_exact("PROMPT>")
    bash.sendline("fg")
    bash.expect_exact("read line")
    bash.sendline("hello")
    bash.expect_exact("= hello =")
    bash.expect_exact("PROMPT>")


def test_kill_cont_of_the_wrapper_alone_continues_the_child(terminal):
    bash = terminal.shell()
    bash.sendline(quoted(terminal.repeats()))
    bash.expect_exact("ready")
    bash.sendcontrol("z")
    bash.expect_exact("Stopped")
    bash.expect_exact("PROMPT>")
    bash.sendline("kill -CONT $(jobs -p)")
    bash.expect_exact("got-CONT")
    bash.sendline("fg")
    bash.expect_exact("sys.exit")  # in the command, which bash prints once it is in the foreground
    bash.sendline("end")
    bash.expect_exact("<end>")


@needs_proc
@pytest.mark.parametrize("script", ['"$@"; echo "code $?"', 'exec "$@"'], ids=["script", "leader"])
def test_a_stop_of_the_child_alone_is_not_followed_where_nobody_would_continue_us(
    terminal, pushgate, script
):
    # The child stops itself, and a process that it started continues it: never us.
    stopped = "grep -q 'State:.T' /proc/$$/status"
    stop = f"(until {stopped}; do :; done; kill -CONT $$) & echo ready; kill -STOP $$"
    command = pushgate.sh(f"{stop}; echo went on; exit 3")
    process = terminal.start(["/bin/bash", "-c", script, "bash", *command])
    process.expect_exact("ready")
    process.expect_exact("went on")
    assert process.expect_exact(["code 3", pexpect.EOF], timeout=10) == int("exec" in script)
