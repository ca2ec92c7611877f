"""Ctrl-C, Ctrl-Z and reading on a real terminal: as for the bare command."""

import os
import select
import signal
import subprocess
import sys

import pexpect
import pytest

from pushgate_subprocess import _lock

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

    def __init__(self, wrapped):
        self.wrapped = wrapped
        self.running = []

    def start(self, argv, env=None):
        """Run `argv` in the foreground of a new terminal, as the leader of its session."""
        environment = {**self.wrapped.env, **(env or {})}
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
def terminal(each_way):
    made = Terminal(each_way)
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
def test_fact_07_a_key_signals_the_child_exactly_once(terminal, each_way, key, name):
    process = terminal.start(each_way.argv("/bin/bash", "-c", TRAPS))
    process.expect_exact("ready")
    for _ in range(3):
        process.sendcontrol(key)
        # A trap that comes just before bash's read waits until that has ended.
        process.sendline("")
        process.expect_exact(f"got-{name}")
    process.sendline("end")
    assert end(process) == 9
    assert "got" not in process.before


def test_fact_07_ctrl_c_kills_a_child_that_traps_nothing(terminal, each_way):
    process = terminal.start(each_way.sh("echo ready; read line"))
    process.expect_exact("ready")
    process.sendcontrol("c")
    assert end(process) == 130
    assert each_way.report()["signal"] == signal.SIGINT


def test_fact_07_one_ctrl_c_is_not_taken_for_a_second_one_in_the_push(terminal, each_way):
    process = terminal.start(each_way.sh("echo ready; read line", push=0.01))
    process.expect_exact("ready")
    process.sendcontrol("c")
    process.expect_exact("pushed hurried=False")
    assert end(process) == 130


def test_fact_11_a_second_ctrl_c_shortens_the_push(terminal, each_way):
    process = terminal.start(each_way.sh("echo ready; read line", push=3600))
    process.expect_exact("ready")
    process.sendcontrol("c")
    process.expect_exact("pushing")
    process.sendcontrol("c")
    process.expect_exact("pushed hurried=True")
    assert end(process) == 130


def test_fact_07_a_child_that_reads_the_terminal_is_not_stopped(terminal, each_way):
    process = terminal.start(each_way.argv("cat"))
    process.sendline("a line")
    process.expect_exact("a line")
    process.sendeof()
    assert end(process) == 0


def test_fact_07_a_child_that_opens_the_terminal_itself_is_not_stopped(terminal, each_way):
    # As ssh and sudo do for a password, with their standard input elsewhere.
    script = 'echo ready; read line </dev/tty; echo "<$line>"'
    command = ["/bin/sh", "-c", '"$@" </dev/null | cat', "sh", *each_way.sh(script)]
    process = terminal.start(command)
    process.expect_exact("ready")
    process.sendline("a line")
    process.expect_exact("<a line>")
    assert end(process) == 0


@pytest.mark.parametrize("name", ["TERM", "HUP", "USR1"])
def test_fact_07_a_kill_of_the_wrapper_alone_reaches_the_child(terminal, each_way, name):
    process = terminal.start(each_way.argv("/bin/bash", "-c", TRAPS))
    process.expect_exact("ready")
    process.kill(getattr(signal, f"SIG{name}"))
    process.sendline("")
    process.expect_exact(f"got-{name}")
    process.sendline("end")
    assert end(process) == 9
    assert "got" not in process.before


@pytest.mark.skipif(sys.platform == "darwin", reason="no sigwaitinfo: an INT has no sender")
@pytest.mark.parametrize("name", ["INT", "QUIT"])
def test_fact_07_kill_int_of_the_wrapper_alone_reaches_the_child(wrapped, name):
    terminal = Terminal(wrapped)
    try:
        test_fact_07_a_kill_of_the_wrapper_alone_reaches_the_child(terminal, wrapped, name)
    finally:
        terminal.close()


@pytest.mark.parametrize("die", ["", "yes"])
def test_fact_07_ctrl_c_ends_a_loop_of_the_shell_only_if_we_die_of_it(terminal, each_way, die):
    bash = terminal.shell()
    command = quoted(each_way.sh("echo ready; exec sleep 60", die=die))
    bash.sendline(f"for i in 1 2; do echo round $i; {command}; done")
    bash.expect_exact("ready")
    bash.sendcontrol("c")
    assert bash.expect_exact(["round 2", "PROMPT>"]) == (1 if die else 0)
    if not die:
        bash.expect_exact("ready")
        bash.sendcontrol("c")
        bash.expect_exact("PROMPT>")
    bash.sendline("echo code $?")
    bash.expect_exact("code 130")


def test_fact_07_ctrl_c_ends_a_loop_of_the_shell_and_the_outcome_is_pushed(pushgate, pushgateway):
    command = quoted(
        pushgate.argv("--", "sh", "-c", "echo ready; exec sleep 60", gateway=pushgateway.url)
    )
    terminal = Terminal(pushgate)
    try:
        bash = terminal.shell()
        bash.sendline(f"for i in 1 2; do echo round $i; {command}; done")
        bash.expect_exact("ready")
        bash.sendcontrol("c")
        assert bash.expect_exact(["round 2", "PROMPT>"]) == 1
        bash.sendline("echo code $?")
        bash.expect_exact("code 130")
    finally:
        terminal.close()
    pushgateway.assert_pushed("batch_job_last_signal", signal.SIGINT, job="backup")


def test_fact_07_a_hang_up_ends_the_child_and_the_push_still_happens(terminal, each_way):
    process = terminal.start(each_way.sh("echo ready; exec sleep 60", push=0.01))
    process.expect_exact("ready")
    process.ptyproc.fileobj.close()
    assert process.wait() == 129
    assert each_way.report()["signal"] == signal.SIGHUP


def test_fact_07_a_script_may_kill_the_wrapper_in_its_own_group(terminal, each_way):
    # Without job control a script's background jobs are in the script's own group.
    script = '"$@" & read line; kill -TERM $!; wait $!; echo "code $?"'
    command = each_way.sh("echo ready; exec sleep 60")
    process = terminal.start(["/bin/bash", "-c", script, "bash", *command])
    process.expect_exact("ready")
    process.sendline("")
    process.expect_exact("code 143")


def test_fact_07_the_child_shares_the_group_of_the_wrapper(terminal, each_way):
    show = "import os; print(os.getpgrp() != os.getpid(), os.getpgrp() == os.tcgetpgrp(0))"
    process = terminal.start(each_way.argv(sys.executable, "-c", show))
    process.expect_exact("True True")
    assert end(process) == 0


def test_fact_03_the_time_limit_on_a_terminal(terminal, each_way):
    assert end(terminal.start(each_way.argv("sleep", "60", timeout=0.1))) == 124


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
def test_fact_10_the_time_limit_on_a_terminal_ends_what_the_child_started(
    terminal, each_way, tmp_path, script, code
):
    # The sleep holds the fifo open for a minute, unless it is ended: not by a hang-up, as the
    # shell that leads the session goes on.
    held = tmp_path / "held"
    os.mkfifo(held)
    command = each_way.sh(f"exec 9>{held}; {script}", timeout=1, kill_after=0.2)
    lead = '"$@"; echo "code $?"; read line'
    process = terminal.start(["/bin/bash", "-c", lead, "bash", *command])
    with open(held, "rb") as pipe:
        process.expect_exact("ready")
        process.expect_exact(f"code {code}")
        assert "went on" not in process.before
        assert select.select([pipe], [], [], 10) == ([pipe], [], [])
        assert pipe.read() == b""


@needs_proc
def test_fact_10_the_time_limit_on_a_terminal_spares_the_rest_of_the_group(terminal, each_way):
    command = each_way.sh("sleep 60; true", timeout=0.2)
    script = 'sleep 61 & "$@"; echo "code $?"; kill $! && echo spared'
    process = terminal.start(["/bin/bash", "-c", script, "bash", *command])
    process.expect_exact("code 124")
    process.expect_exact("spared")


def test_fact_15_what_a_time_limit_leaves_of_the_job_keeps_the_lock(terminal, each_way, tmp_path):
    lock = tmp_path / "lock"
    command = each_way.sh("trap '' TERM; sleep 60 & trap - TERM; wait", lock=lock, timeout=0.3)
    script = '"$@"; echo "code $?"; read line; kill -KILL 0'
    process = terminal.start(["/bin/bash", "-c", script, "bash", *command])
    process.expect_exact("code 124")
    assert _lock.acquire(lock) is None
    process.sendline("")
    end(process)
    fd = _lock.acquire(lock, wait_seconds=DEADLINE)
    assert fd is not None
    _lock.release(fd)


def test_fact_15_what_a_time_limit_of_pushgate_leaves_keeps_the_lock(pushgate, tmp_path):
    script = "trap '' TERM; sleep 60 >/dev/null 2>&1 & trap - TERM; echo $!; wait"
    options = ("--lock", str(tmp_path / "lock"), "--timeout", "0.5")
    code, out, _ = pushgate.run(pushgate.argv(*options, "--", "sh", "-c", script))
    try:
        assert code == 124
        assert _lock.acquire(tmp_path / "lock") is None
    finally:
        os.kill(int(out), signal.SIGKILL)


def test_a_change_of_the_window_size_reaches_the_child_once(terminal, each_way):
    process = terminal.start(each_way.argv("/bin/bash", "-c", TRAPS))
    process.expect_exact("ready")
    process.setwinsize(40, 100)
    process.sendline("")  # bash runs this one trap only when its read has ended
    process.expect_exact("got-WINCH")
    process.sendline("end")
    assert end(process) == 9
    assert "got" not in process.before


# --- Ctrl-Z -----------------------------------------------------------------------------------


def test_ctrl_z_stops_the_job_and_fg_continues_it(terminal, each_way):
    bash = terminal.shell()
    bash.sendline(quoted(each_way.argv("/bin/bash", "-c", TRAPS)))
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


def test_ctrl_z_of_a_child_that_ignores_it_does_nothing(terminal, each_way):
    bash = terminal.shell()
    bash.sendline(quoted(each_way.argv("/bin/bash", "-c", f"trap '' TSTP; {TRAPS}")))
    bash.expect_exact("ready")
    bash.sendcontrol("z")
    bash.sendline("still here")
    assert bash.expect_exact(["<still here>", "Stopped"]) == 0
    bash.sendline("end")
    bash.expect_exact("PROMPT>")


def test_ctrl_z_of_a_child_that_first_tidies_up(terminal, each_way):
    # As an editor does: it handles the key, restores the screen, then stops itself.
    script = f"trap 'echo tidied; kill -STOP $$' TSTP; {TRAPS}"
    bash = terminal.shell()
    bash.sendline(quoted(each_way.argv("/bin/bash", "-c", script)))
    bash.expect_exact("ready")
    bash.sendcontrol("z")
    bash.expect_exact("tidied")
    bash.expect_exact("Stopped")
    bash.expect_exact("PROMPT>")
    bash.sendline("fg")
    bash.expect_exact("got-CONT")
    bash.sendline("end")
    bash.expect_exact("PROMPT>")


def test_in_the_background_of_a_shell(terminal, each_way):
    bash = terminal.shell()
    command = quoted(each_way.argv("/bin/bash", "-c", TRAPS))
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


def test_kill_cont_of_the_wrapper_alone_continues_the_child(terminal, each_way):
    bash = terminal.shell()
    bash.sendline(quoted(each_way.argv("/bin/bash", "-c", TRAPS)))
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
    terminal, each_way, script
):
    # The child stops itself, and a process that it started continues it: never us.
    stop = "(sleep 0.3; kill -CONT $$) & echo ready; kill -STOP $$; echo went on; exit 3"
    command = each_way.sh(stop)
    process = terminal.start(["/bin/bash", "-c", script, "bash", *command])
    process.expect_exact("ready")
    process.expect_exact("went on")
    assert process.expect_exact(["code 3", pexpect.EOF], timeout=10) == int("exec" in script)


def test_a_stop_of_the_child_alone_is_seen_by_an_interactive_shell(terminal, each_way):
    bash = terminal.shell()
    bash.sendline(quoted(each_way.sh("kill -STOP $$; echo went on")))
    bash.expect(r"\[1\]\+\s+Stopped\s")
    bash.expect_exact("PROMPT>")
    bash.sendline("fg")
    bash.expect_exact("went on")
    bash.expect_exact("PROMPT>")


def test_the_time_limit_ends_a_child_that_was_stopped_alone(terminal, each_way):
    command = each_way.sh("kill -STOP $$", timeout=0.5)
    process = terminal.start(["/bin/bash", "-c", '"$@"; echo "code $?"', "bash", *command])
    process.expect_exact("code 124", timeout=10)


# --- 12: the streams --------------------------------------------------------------------------


def test_fact_12_the_child_sees_the_terminal(terminal, each_way):
    show = "import os; print(*(os.isatty(fd) for fd in range(3)), os.get_terminal_size().lines)"
    process = terminal.start(each_way.argv(sys.executable, "-c", show))
    process.expect_exact("True True True 24")
    assert end(process) == 0
