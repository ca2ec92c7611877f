"""The job's own metrics: whatever it leaves in its file, only that file's faults are its cost."""

import os
import signal

import pytest

DEADLINE = 50.0
MAX_BYTES = 1_048_576
FILE = '"$PUSHGATE_METRICS_FILE"'


@pytest.fixture
def written(pushgate):
    """Runs a shell script; returns its own metrics by name, and the lines about its file."""

    def written(script, *options):
        argv = pushgate.argv("--dry-run", *options, "--", "sh", "-c", script)
        code, _, err = pushgate.run(argv)
        assert code == 0
        lines = err.decode().splitlines()
        own = [x.rpartition(" ") for x in lines if not x.startswith(("#", "pushgate: ", "batch_"))]
        said = [line for line in lines if line.startswith("pushgate: ")]
        return {name: float(number) for name, _, number in own}, said

    return written


def test_lines_that_a_shell_appends_are_read(written):
    script = f"cd /; for n in 1 2 42; do echo rows_loaded $n >>{FILE}; done"
    assert written(script) == ({"rows_loaded": 42}, [])


def test_the_file_is_private_and_gone_afterwards(pushgate, isolated):
    for umask in ("000", "777"):
        show = f'stat -c "%a %n" {FILE}; echo rows 1 >>{FILE}'
        argv = pushgate.sh(show)
        _, out, _ = pushgate.run(["sh", "-c", f'umask {umask}; exec "$@"', "sh", *argv])
        mode, _, path = out.decode().strip().partition(" ")
        assert (mode, os.path.dirname(path)) == ("600", str(isolated / "tmp"))
        assert not os.path.exists(path)


def test_a_relative_tmpdir_is_made_absolute_and_for_one_that_is_no_use_there_is_tmp(
    pushgate, isolated
):
    folders = {os.path.relpath(isolated / "tmp"): f"{isolated}/tmp", "/no/such/directory": "/tmp"}
    for folder, used in folders.items():
        pushgate.env["TMPDIR"] = folder
        _, out, _ = pushgate.run(pushgate.sh(f"echo {FILE}"))
        assert out.decode().startswith(f"{used}/pushgate-")


def test_what_a_killed_run_has_left_goes_with_the_next_run_and_nothing_of_a_living_one(
    pushgate, isolated, tmp_path
):
    def begun(script):
        process = pushgate.start(pushgate.sh(f"{script}; echo {FILE}; exec cat {fifo}"))
        return process, process.stdout.readline().decode().strip()

    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    killed, _ = begun("true")
    _, living = begun("true")
    _, moved = begun(f"mv $(mktemp) {FILE}")
    other = isolated / "tmp" / "pushgate-1-of-others.prom"
    other.touch()
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait(DEADLINE)
    assert pushgate.run(pushgate.sh("true"))[0] == 0
    assert {str(path) for path in (isolated / "tmp").iterdir()} == {living, moved, str(other)}
    fifo.write_text("")


def test_a_line_that_can_not_be_used_costs_that_line_and_does_not_flood_stderr(written):
    lines = r"rows 1\nbatch_job_x 0\na{origin=\"x\"} 1\nsize 2\n"
    log = r"2024-01-01 \\033[31mERROR: no\\r\\007\n"
    own, said = written(f"(printf '{lines}'; for n in $(seq 99); do printf '{log}'; done) >>{FILE}")
    assert own == {"rows": 1, "size": 2}
    assert [line.partition(", line ")[2].partition(":")[0] for line in said[:3]] == ["2", "3", "5"]
    assert all(line.startswith("pushgate: backup: $PUSHGATE_METRICS_FILE") for line in said)
    assert all(line.isprintable() for line in said)
    assert (len(said), said[-1].endswith("and 81 more lines")) == (21, True)


@pytest.mark.parametrize(
    ("replace", "told"),
    [
        ("", "No such file or directory"),
        ("mkdir $F", "it is not a regular file"),
        ("mkfifo $F", "it is not a regular file"),
        ("ln -s $S $F", "it is a symbolic link"),
    ],
)
def test_what_the_job_puts_in_its_place_is_not_followed_nor_waited_for(
    written, tmp_path, replace, told
):
    secret = tmp_path / "secret"
    secret.write_text("precious 1\n")
    own, said = written(f"F={FILE} S={secret}; rm $F; {replace}")
    assert (own, len(said), told in said[0]) == ({}, 1, True)
    assert secret.read_text() == "precious 1\n"


def test_a_job_may_move_a_finished_file_over_it(written, tmp_path):
    (tmp_path / "new").write_text("rows 1\n")
    assert written(f"mv {tmp_path}/new {FILE}") == ({"rows": 1}, [])


def test_beyond_a_mebibyte_the_whole_lines_that_fit_are_used(written):
    line = "rows %09999d\n"
    fit = MAX_BYTES // len(line % 0)
    write = f"for n in $(seq 0 {fit + 2}); do printf '{line.strip()}\\n' $n; done >>{FILE}"
    assert written(write) == (
        {"rows": fit - 1},
        [
            f"pushgate: backup: $PUSHGATE_METRICS_FILE is over 1048576 bytes: only the first {fit}"
            " lines of it are used; write less often, or less"
        ],
    )


def test_a_sparse_terabyte_is_refused_at_once(written):
    own, (line,) = written(f"truncate -s 1T {FILE}")
    assert (own, "over 1048576 bytes" in line) == ({}, True)


def test_what_would_slow_the_gateway_down_for_all_is_left_out(written):
    own, (line,) = written(f"seq 10005 | sed 's/.*/m& 1/' >>{FILE}")
    assert (len(own), "has 10005 series, and would slow" in line) == (10_000, True)
