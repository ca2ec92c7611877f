"""The three standard streams: untouched by default, held back only when asked for."""

import os
import signal
import sys

import pytest

DEADLINE = 50.0

# --- untouched --------------------------------------------------------------------------------


def test_what_is_piped_through_is_unchanged(pushgate):
    data = os.urandom(16 << 20)
    assert pushgate.run(pushgate.wrap("cat"), data) == (0, data, b"")


def test_the_very_same_files_are_inherited(pushgate, tmp_path):
    for fd in range(3):
        (tmp_path / str(fd)).touch()
    script = " && ".join(f"[ /dev/fd/{fd} -ef {tmp_path}/{fd} ]" for fd in range(3))
    redirect = f'"$@" <{tmp_path}/0 >{tmp_path}/1 2>{tmp_path}/2'
    argv = pushgate.wrap("/bin/bash", "-c", f"{script} && exit 5")
    assert pushgate.run(["/bin/bash", "-c", redirect, "bash", *argv])[0] == 5
    assert [(tmp_path / str(fd)).read_bytes() for fd in range(3)] == [b"", b"", b""]


def test_a_closed_stream_is_closed_for_the_command_too(pushgate, recorder, tmp_path):
    out = tmp_path / "out"
    # The probe's own redirection must not fill the gap: ask in another order than the numbers'.
    probe = f"[ -e /dev/fd/0 ]; a=$?; [ -e /dev/fd/1 ]; b=$?; [ -e /dev/fd/2 ]; echo $a$b$? >{out}"
    words = ("-v", f"--lock={tmp_path}/lock", "--", "/bin/bash", "-c", probe)
    command = pushgate.argv(*words, gateway=recorder.url)
    assert pushgate.run(["/bin/bash", "-c", '"$@" 0>&- 1>&- 2>&-', "bash", *command])[0] == 0
    assert out.read_text() == "111\n"
    for seen in recorder.requests:  # our lines did not go into a socket that took the place
        assert b"pushgate:" not in seen.body
    assert any(b"last_exit_code" in seen.body for seen in recorder.requests)


def test_other_inherited_descriptors_are_passed_on(pushgate):
    # `make` and `exec 7>file` rely on it; ours are not among them.
    show = "import os; print(sorted(int(fd) for fd in os.listdir('/dev/fd')))"
    command = ["/bin/bash", "-c", 'exec 7</dev/null; "$@"', "bash"]
    bare = pushgate.run([*command, sys.executable, "-c", show])
    assert bare[1] != b""
    assert pushgate.run([*command, *pushgate.wrap(sys.executable, "-c", show)]) == bare


@pytest.mark.parametrize("limit", [6, 9, 12])
def test_a_limit_on_descriptors_that_is_too_low_is_noticed_before_the_job_runs(pushgate, limit):
    argv = pushgate.argv("--", "sh", "-c", "echo ran; exit 3")
    command = ["/bin/bash", "-c", f'ulimit -n {limit}; exec "$@"', "bash", *argv]
    code, out, err = pushgate.run(command)
    assert (code, out) in ((125, b""), (3, b"ran\n"))
    assert b"Traceback" not in err


@pytest.mark.parametrize(
    "reader",
    ["gone", pytest.param("asleep", marks=pytest.mark.end_to_end)],  # waits a second
)
def test_a_reader_of_stderr_who_does_not_read_changes_nothing(pushgate, reader):
    read_end, write_end = os.pipe()
    if reader == "gone":
        os.close(read_end)
    else:
        os.set_blocking(write_end, False)
        try:
            while True:
                os.write(write_end, b"x" * 65_536)
        except BlockingIOError:
            os.set_blocking(write_end, True)
    code, out, _ = pushgate.run(pushgate.argv("--", "sh", "-c", "exit 5"), stderr=write_end)
    os.close(write_end)
    if reader != "gone":
        os.close(read_end)
    assert (code, out) == (5, b"")


# --- held back --------------------------------------------------------------------------------

NOISE = "printf out; printf err >&2; exit $1"


@pytest.mark.parametrize("option", ["--quiet-on-success", "--tail-bytes=100"])
def test_output_is_held_back_until_a_run_fails(pushgate, option):
    for code, shown in (("4", (b"", b"")), ("3", (b"out", b"err"))):
        argv = pushgate.argv(
            "-q", option, "--success-codes=0,4", "--", "sh", "-c", NOISE, "sh", code
        )
        assert pushgate.run(argv) == (int(code), *shown)


@pytest.mark.parametrize("limit", [0, 200_000])
def test_only_the_end_of_each_stream_is_kept(pushgate, limit):
    numbers = "".join(f"{n}\n" for n in range(1, 50_001)).encode()
    script = "seq 1 50000; echo problem >&2; exit 4"
    code, out, err = pushgate.run(pushgate.sh(script, tail_bytes=limit))
    assert (code, out) == (4, numbers[-limit:] if limit else b"")
    assert err == (b"problem\n"[-limit:] if limit else b"")


def test_held_back_megabytes_are_printed_whole(pushgate):
    program = "import os, sys; [os.write(1, b'%06d\\n' % n * 10_000) for n in range(30)]; exit(1)"
    argv = pushgate.argv("-q", "--quiet-on-success", "--", sys.executable, "-c", program)
    assert pushgate.run(argv)[:2] == (1, b"".join(b"%06d\n" % n * 10_000 for n in range(30)))


def test_held_back_megabytes_are_on_a_disk_and_not_in_tmp_which_may_be_memory(pushgate):
    program = "import glob, os; os.write(1, b'x' * 2_000_000)\n"
    program += "for fd in glob.glob(f'/proc/{os.getppid()}/fd/*'): print(os.path.realpath(fd))"
    argv = pushgate.argv("-q", "--quiet-on-success", "--success-codes=1", "--", sys.executable)
    environment = {name: pushgate.env[name] for name in pushgate.env if name != "TMPDIR"}
    _, out, _ = pushgate.run([*argv, "-c", program], env=environment)
    assert b"\n/var/tmp/" in out


def test_a_full_disk_does_not_disturb_the_command_and_is_told(pushgate):
    program = "import os; os.write(1, b'x' * 2_000_000); exit(3)"
    argv = pushgate.argv("--dry-run", "--quiet-on-success", "--", sys.executable, "-c", program)
    # No file may grow: neither the temporary one for more than a mebibyte, nor another.
    code, out, err = pushgate.run(["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *argv])
    assert (code, set(out)) == (3, {ord("x")})
    assert b"bytes of output are lost: no room in $TMPDIR" in err


@pytest.mark.parametrize("script", ["sleep 60 & exit 3", "yes & exit 3"])
def test_a_grandchild_that_holds_the_pipe_is_not_waited_for(pushgate, tmp_path, script):
    script = f"{script.partition('&')[0]} 2>{tmp_path}/x & echo $! >{tmp_path}/pid; exit 3"
    process = pushgate.start(pushgate.sh(script, tail_bytes=0))
    assert process.wait(DEADLINE) == 3
    try:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    except ProcessLookupError:
        assert "yes" in script  # it got SIGPIPE


def test_signals_are_forwarded_while_output_is_held_back(pushgate):
    read_end, write_end = os.pipe()
    program = f"""if True:
        import os, signal, sys
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        os.write({write_end}, b"ready\\n")
        signal.sigwait([signal.SIGTERM])
        print("got")
        sys.exit(9)
    """
    argv = pushgate.wrap(sys.executable, "-c", program, tail_bytes=100)
    process = pushgate.start(argv, pass_fds=[write_end])
    os.close(write_end)
    with os.fdopen(read_end, "rb") as says:
        assert says.readline() == b"ready\n"
        process.terminate()
        assert process.communicate(timeout=DEADLINE) == (b"got\n", b"")
    assert process.returncode == 9


def test_a_reader_who_does_not_read_does_not_keep_term_from_ending_us(pushgate, pushgateway):
    program = "import os, sys; os.write(1, b'x' * 500_000); sys.exit(1)"
    words = ("--quiet-on-success", "--", sys.executable, "-c", program)
    process = pushgate.start(pushgate.argv(*words, gateway=pushgateway.url))
    assert process.stdout.read(1) == b"x"  # it prints, and the pipe is full
    process.terminate()
    assert process.wait(DEADLINE) == 1
    assert pushgateway.value("batch_job_last_exit_code", job="backup") == 1
