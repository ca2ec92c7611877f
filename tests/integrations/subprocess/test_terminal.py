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

DEADLINE = 30

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

# Says "ready" once its traps are set; reads lines from the terminal, running its traps at once.
TRAPS = (
    'for s in TERM HUP INT QUIT USR1 WINCH CONT; do trap "echo got-$s" $s; done; echo ready; '
    "while :; do read line; s=$?; [ $s = 1 ] && exit 1; "  # 1: the terminal is gone
    'if [ $s = 0 ]; then echo "<$line>"; [ "$line" = end ] && exit 9; fi; done'
)


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


# --- 7: Ctrl-C --------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "name"), [("c", "INT"), ("\\", "QUIT")])
def test_a_key_signals_the_child_exactly_once(terminal, pushgate, key, name):
    process = terminal.start(pushgate.wrap("/bin/bash", "-c", TRAPS))
    process.expect_exact("ready")
    for _ in range(3):
        process.sendcontrol(key)
        # A trap that comes just before bash's read waits until that has ended.
        process.sendline("")
        process.expect_exact(f"got-{name}")
    process.sendline("end")
    assert end(process) == 9
    assert "got" not in process.before


def test_ctrl_c_kills_a_child_that_traps_nothing(terminal, pushgate, pushgateway):
    argv = pushgate.sh("echo ready; read line", gateway=pushgateway.url)
    process = terminal.start(argv)
    process.expect_exact("ready")
    process.sendcontrol("c")
    process.expect(pexpect.EOF)
    process.wait()
    assert process.signalstatus == signal.SIGINT  # so that a shell's loop ends too
    pushgateway.assert_pushed("batch_job_last_signal", signal.SIGINT, job="backup")


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


def test_a_child_that_reads_the_terminal_is_not_stopped(terminal, pushgate):
    process = terminal.start(pushgate.wrap("cat"))
    process.sendline("a line")
    process.expect_exact("a line")
    process.sendeof()
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


@pytest.mark.parametrize("name", ["TERM", "HUP", "USR1"])
def test_a_kill_of_the_wrapper_alone_reaches_the_child(terminal, pushgate, name):
    process = terminal.start(pushgate.wrap("/bin/bash", "-c", TRAPS))
    process.expect_exact("ready")
    process.kill(getattr(signal, f"SIG{name}"))
    process.sendline("")
    process.expect_exact(f"got-{name}")
    process.sendline("end")
    assert end(process) == 9
    assert "got" not in process.before


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


def test_a_script_may_kill_the_wrapper_in_its_own_group(terminal, pushgate):
    # Without job control a script's background jobs are in the script's own group.
    script = '"$@" & read line; kill -TERM $!; wait $!; echo "code $?"'
    command = pushgate.sh("echo ready; exec sleep 60")
    process = terminal.start(["/bin/bash", "-c", script, "bash", *command])
    process.expect_exact("ready")
    process.sendline("")
    process.expect_exact("code 143")


def test_the_child_shares_the_group_of_the_wrapper(terminal, pushgate):
    show = "import os; print(os.getpgrp() != os.getpid(), os.getpgrp() == os.tcgetpgrp(0))"
    process = terminal.start(pushgate.wrap(sys.executable, "-c", show))
    process.expect_exact("True True")
    assert end(process) == 0


def test_the_time_limit_on_a_terminal(terminal, pushgate):
    assert end(terminal.start(pushgate.wrap("sleep", "60", timeout=0.1))) == 124


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
    command = pushgate.sh(f"exec 9>{held}; {script}", timeout=0.6, kill_after=0.2)
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
    command = pushgate.sh(script, lock=lock, timeout=0.3)
    lead = '"$@"; echo "code $?"; read line; kill -KILL 0'
    process = terminal.start(["/bin/bash", "-c", lead, "bash", *command])
    with open(held, "rb") as pipe:
        process.expect_exact("code 124")
        second = pushgate.wrap("true", lock=lock, on_locked="fail")
        assert pushgate.run(second)[0] == 75
        process.sendline("")
        assert pipe.read() == b""
    assert pushgate.run(pushgate.wrap("true", lock=lock, lock_wait=20))[0] == 0


def test_a_change_of_the_window_size_reaches_the_child_once(terminal, pushgate):
    process = terminal.start(pushgate.wrap("/bin/bash", "-c", TRAPS))
    process.expect_exact("ready")
    process.setwinsize(40, 100)
    process.sendline("")  # bash runs this one trap only when its read has ended
    process.expect_exact("got-WINCH")
    process.sendline("end")
    assert end(process) == 9
    assert "got" not in process.before


# --- Ctrl-Z -----------------------------------------------------------------------------------


def test_ctrl_z_stops_the_job_and_fg_continues_it(terminal, pushgate):
    bash = terminal.shell()
    bash.sendline(quoted(pushgate.wrap("/bin/bash", "-c", TRAPS)))
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


def test_ctrl_z_of_a_child_that_ignores_it_does_nothing(terminal, pushgate):
    bash = terminal.shell()
    bash.sendline(quoted(pushgate.wrap("/bin/bash", "-c", f"trap '' TSTP; {TRAPS}")))
    bash.expect_exact("ready")
    bash.sendcontrol("z")
    bash.sendline("still here")
    assert bash.expect_exact(["<still here>", "Stopped"]) == 0
    bash.sendline("end")
    bash.expect_exact("PROMPT>")


def test_ctrl_z_of_a_child_that_first_tidies_up(terminal, pushgate):
    # As an editor does: it handles the key, restores the screen, then stops itself.
    script = f"trap 'echo tidied; kill -STOP $$' TSTP; {TRAPS}"
    bash = terminal.shell()
    bash.sendline(quoted(pushgate.wrap("/bin/bash", "-c", script)))
    bash.expect_exact("ready")
    bash.sendcontrol("z")
    bash.expect_exact("tidied")
    bash.expect_exact("Stopped")
    bash.expect_exact("PROMPT>")
    bash.sendline("fg")
    bash.expect_exact("got-CONT")
    bash.sendline("end")
    bash.expect_exact("PROMPT>")


def test_in_the_background_of_a_shell(terminal, pushgate):
    bash = terminal.shell()
    command = quoted(pushgate.wrap("/bin/bash", "-c", TRAPS))
    bash.sendline(f"{command} &")
    bash.expect_exact("ready")
    # It reads the terminal, which stops a job in the background.
    bash.sendline("")
    bash.expect_exact("PROMPT>")
    bash.sendline('while [ -z "$(jobs -s)" ]; do :; done; jobs -l')
    bash.expect(r"\[1\]\+\s+\d+ Stopped \(tty input\)")
    bash.sendline("fg")
    bash.expect_exact("got-CONT")
    bash.sendline("hello")
    bash.expect_exact("<hello>")
    bash.sendline("end")
    bash.expect_exact("PROMPT>")


def test_kill_cont_of_the_wrapper_alone_continues_the_child(terminal, pushgate):
    bash = terminal.shell()
    bash.sendline(quoted(pushgate.wrap("/bin/bash", "-c", TRAPS)))
    bash.expect_exact("ready")
    bash.sendcontrol("z")
    bash.expect_exact("Stopped")
    bash.expect_exact("PROMPT>")
    bash.sendline("kill -CONT $(jobs -p)")
    bash.expect_exact("got-CONT")  # and stops again, as it reads in the background
    bash.sendline("")
    bash.expect_exact("PROMPT>")
    bash.sendline("fg")
    bash.sendline("end")
    bash.expect_exact("PROMPT>")


@pytest.mark.parametrize("script", ['"$@"; echo "code $?"', 'exec "$@"'], ids=["script", "leader"])
def test_a_stop_of_the_child_alone_is_not_followed_where_nobody_would_continue_us(
    terminal, pushgate, script
):
    # The child stops itself, and a process that it started continues it: never us.
    stop = "(sleep 0.1; kill -CONT $$) & echo ready; kill -STOP $$; echo went on; exit 3"
    command = pushgate.sh(stop)
    process = terminal.start(["/bin/bash", "-c", script, "bash", *command])
    process.expect_exact("ready")
    process.expect_exact("went on")
    assert process.expect_exact(["code 3", pexpect.EOF], timeout=10) == int("exec" in script)


def test_a_stop_of_the_child_alone_is_seen_by_an_interactive_shell(terminal, pushgate):
    bash = terminal.shell()
    bash.sendline(quoted(pushgate.sh("kill -STOP $$; echo went on")))
    bash.expect(r"\[1\]\+\s+Stopped\s")
    bash.expect_exact("PROMPT>")
    bash.sendline("fg")
    bash.expect_exact("went on")
    bash.expect_exact("PROMPT>")


def test_the_time_limit_ends_a_child_that_was_stopped_alone(terminal, pushgate):
    command = pushgate.sh("kill -STOP $$", timeout=0.5)
    process = terminal.start(["/bin/bash", "-c", '"$@"; echo "code $?"', "bash", *command])
    process.expect_exact("code 124", timeout=10)


# --- 12: the streams --------------------------------------------------------------------------


def test_the_child_sees_the_terminal(terminal, pushgate):
    show = "import os; print(*(os.isatty(fd) for fd in range(3)), os.get_terminal_size().lines)"
    process = terminal.start(pushgate.wrap(sys.executable, "-c", show))
    process.expect_exact("True True True 24")
    assert end(process) == 0
