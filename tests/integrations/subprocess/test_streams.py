"""The three standard streams: untouched by default, captured only when asked for."""

import hashlib
import json
import os
import subprocess
import sys
import threading

import pytest

from pushgate_subprocess._capture import Spool, Tail
from pushgate_subprocess._process import spawn

DEADLINE = 30.0

# --- 12: untouched streams --------------------------------------------------------------------


def pipe_through(wrapped, megabytes, argv):
    """Return the checksums of what went into and what came out of `argv`."""
    block = os.urandom(1 << 20)
    sent, received = hashlib.sha256(), hashlib.sha256()
    process = wrapped.start(argv, stdin=subprocess.PIPE, stderr=None)

    def feed():
        for number in range(megabytes):
            piece = number.to_bytes(8, "big") + block
            sent.update(piece)
            process.stdin.write(piece)
        process.stdin.close()

    feeder = threading.Thread(target=feed)
    feeder.start()
    while piece := process.stdout.read(1 << 20):
        received.update(piece)
    feeder.join()
    assert process.wait(DEADLINE) == 0
    return sent.hexdigest(), received.hexdigest()


def test_fact_12_64_mb_go_through_unchanged(wrapped):
    sent, received = pipe_through(wrapped, 64, wrapped.argv("cat"))
    assert received == sent


@pytest.mark.end_to_end
def test_fact_12_1_gb_goes_through_unchanged(wrapped):
    sent, received = pipe_through(wrapped, 1024, wrapped.argv("cat"))
    assert received == sent


def test_fact_12_the_very_same_files_are_inherited(wrapped, tmp_path):
    paths = [tmp_path / name for name in ("in", "out", "err")]
    for path in paths:
        path.touch()
    show = (
        "import json, os\n"
        "with open(os.environ['FACTS'], 'w') as f:\n"
        "    json.dump([(os.fstat(n).st_dev, os.fstat(n).st_ino) for n in range(3)], f)\n"
    )
    wrapped.env["FACTS"] = str(tmp_path / "facts")
    with open(paths[0]) as stdin, open(paths[1], "w") as stdout, open(paths[2], "w") as stderr:
        command = wrapped.argv(sys.executable, "-c", show)
        process = wrapped.start(command, stdin=stdin, stdout=stdout, stderr=stderr)
        assert process.wait(DEADLINE) == 0
    files = [[path.stat().st_dev, path.stat().st_ino] for path in paths]
    assert json.loads((tmp_path / "facts").read_text()) == files
    assert [path.read_bytes() for path in paths] == [b"", b"", b""]


@pytest.mark.parametrize("closed", [[0], [1], [2], [0, 1], [0, 1, 2]], ids=str)
def test_fact_12_a_closed_stream_is_closed_for_the_child_too(each_way, tmp_path, closed):
    out = tmp_path / "out"
    # The probe's own redirection must not fill the gap: ask in another order than the numbers'.
    probe = f"[ -e /dev/fd/0 ]; a=$?; [ -e /dev/fd/1 ]; b=$?; [ -e /dev/fd/2 ]; echo $a$b$? >{out}"
    redirect = " ".join(f"{fd}>&-" for fd in closed)
    command = each_way.argv("/bin/bash", "-c", probe, lock=tmp_path / "lock")
    assert each_way.run(["/bin/bash", "-c", f'"$@" {redirect}', "bash", *command])[0] == 0
    assert out.read_text().strip() == "".join("1" if fd in closed else "0" for fd in range(3))


def test_fact_12_other_inherited_descriptors_are_passed_on(wrapped):
    # `make` and `exec 7>file` rely on it; ours are not among them.
    script = 'exec 7</dev/null; "$@"'
    show = "import os; print(sorted(int(fd) for fd in os.listdir('/dev/fd')))"
    command = ["/bin/bash", "-c", script, "bash"]
    bare = wrapped.run([*command, sys.executable, "-c", show])
    assert bare[1] != b""
    assert wrapped.run([*command, *wrapped.argv(sys.executable, "-c", show)]) == bare


def test_a_low_limit_on_descriptors(each_way, tmp_path):
    options = {"lock": tmp_path / "lock"}
    script = 'ulimit -n 12; exec "$@"'
    command = ["/bin/bash", "-c", script, "bash", *each_way.sh("exit 3", **options)]
    assert each_way.run(command)[0] == 3


@pytest.mark.parametrize("limit", range(7, 13))
def test_a_limit_on_descriptors_that_is_too_low_is_noticed_before_the_job_runs(pushgate, limit):
    argv = pushgate.argv("--", "sh", "-c", "echo ran; exit 3")
    command = ["/bin/bash", "-c", f'ulimit -n {limit}; exec "$@"', "bash", *argv]
    assert pushgate.run(command)[:2] in ((125, b""), (3, b"ran\n"))


# --- 13: capture ------------------------------------------------------------------------------


def test_fact_13_a_tail_is_bounded_and_each_stream_has_its_own(wrapped):
    script = "seq 1 20000; echo problem >&2; exit 4"
    assert wrapped.run(wrapped.sh(script, capture=12)) == (4, b"", b"")
    report = wrapped.report()
    assert report["stdout"]["content"] == "19999\n20000\n"
    assert report["stdout"]["total"] == len("".join(f"{n}\n" for n in range(1, 20001)))
    assert report["stderr"]["content"] == "problem\n"


def test_fact_13_a_tail_can_be_copied_as_it_comes(wrapped):
    code, out, err = wrapped.run(wrapped.sh("seq 1 20000; echo x >&2", capture=6, copy="yes"))
    assert (code, err) == (0, b"x\n")
    assert out == "".join(f"{n}\n" for n in range(1, 20001)).encode()
    assert wrapped.report()["stdout"]["content"] == "20000\n"


@pytest.mark.parametrize("copy", ["", "yes"])
def test_fact_13_a_grandchild_that_holds_the_pipe_is_not_waited_for(wrapped, tmp_path, copy):
    script = "sleep 60 & echo $!; exit 3"
    code, _, _ = wrapped.run(wrapped.sh(script, capture=100, copy=copy))
    assert code == 3
    grandchild = int(wrapped.report()["stdout"]["content"])
    os.kill(grandchild, 9)  # it was still there


def test_fact_13_a_grandchild_that_goes_on_writing_is_not_waited_for(wrapped):
    script = "yes & echo $! >&2; exit 3"
    assert wrapped.run(wrapped.sh(script, capture=100))[0] == 3


def test_fact_13_all_that_the_child_wrote_before_its_end_is_there(wrapped):
    size = 60_000  # less than a pipe holds: the child ends before we read
    code, out, _ = wrapped.run(wrapped.sh(f"head -c {size} /dev/zero", capture=size, copy="yes"))
    assert (code, out) == (0, b"\0" * size)


def test_fact_13_a_reader_that_goes_away_gives_the_child_a_sigpipe(wrapped):
    argv = wrapped.argv("yes", capture=10, copy="yes")
    script = 'set -o pipefail; "$@" | head -n 1'
    assert wrapped.run(["/bin/bash", "-c", script, "bash", *argv])[:2] == (141, b"y\n")


def test_fact_13_a_slow_reader_does_not_hold_up_the_time_limit(wrapped):
    process = wrapped.start(wrapped.argv("yes", capture=10, copy="yes", timeout=0.2))
    # Nobody reads: the pipe is full until the child has been ended, and then nobody waits longer
    # than for what the child had written.
    assert process.stderr.read(0) == b""
    out, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 124
    assert set(out) == {ord("y"), ord("\n")}


def test_fact_13_signals_are_forwarded_while_capturing(each_way):
    script = "trap 'echo got' USR1; kill -USR1 $$; echo ready >&2; read line; echo $line"
    process = each_way.start(
        each_way.argv("/bin/bash", "-c", script, capture=100, copy="yes"), stdin=subprocess.PIPE
    )
    assert process.stderr.readline() == b"ready\n"
    process.terminate()
    assert process.wait(DEADLINE) == 143
    assert process.stdout.read() == b"got\n"


def test_fact_13_quiet_on_success(wrapped):
    assert wrapped.run(wrapped.sh("echo out; echo err >&2", capture="spool")) == (0, b"", b"")


@pytest.mark.parametrize("memory", [0, 10, 1 << 20])
def test_fact_13_everything_is_shown_on_failure(wrapped, memory):
    expected = "".join(f"{n}\n" for n in range(1, 50001)).encode()
    script = "seq 1 50000; echo err >&2; exit 4"
    code, out, err = wrapped.run(wrapped.sh(script, capture="spool", memory=memory))
    assert (code, err) == (4, b"err\n")
    assert out == expected


def test_fact_13_a_full_disk_does_not_disturb_the_child(monkeypatch):
    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    spool = Spool(memory=4)
    assert spawn(["printf", "%s", "x" * 1000], stdout=spool).wait().exit_status == 0
    assert (spool.total, spool.lost) == (1000, 1000)
    read_end, write_end = os.pipe()
    spool.replay(write_end)
    spool.close()
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        assert pipe.read() == b""


def test_fact_13_the_tail_of_every_length():
    for limit in (0, 1, 5, 100):
        tail = Tail(limit)
        for piece in (b"abc", b"", b"defg", b"x" * 200_000, b"end"):
            tail.feed(piece)
        everything = b"abcdefg" + b"x" * 200_000 + b"end"
        assert tail.content() == (everything[-limit:] if limit else b"")
        assert tail.total == len(everything)
    with pytest.raises(ValueError, match="-1 bytes"):
        Tail(-1)


def test_fact_13_a_command_that_does_not_start_leaves_no_pipe_open():
    before = len(os.listdir("/dev/fd"))
    for _ in range(3):
        with pytest.raises(OSError, match="command not found"):
            spawn(["no-such-command"], stdout=Tail(10), stderr=Spool())
    assert len(os.listdir("/dev/fd")) == before
