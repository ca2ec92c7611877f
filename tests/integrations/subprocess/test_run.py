"""`pushgate run` as a real process: what it takes, what it publishes, what the command sees."""

import contextlib
import fcntl
import importlib
import os
import re
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from pushgate import Gateway, gauge

DEADLINE = 30.0
VOCABULARY = "batch_job_"

PACKAGES = ("pushgate", "pushgate_subprocess")
NOBODY = "http://127.0.0.1:1"

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def run(pushgate, pushgateway):
    """Runs `pushgate run OPTIONS -- COMMAND` against the embedded gateway."""

    def run(*words, **options):
        popen = {name: options.pop(name) for name in ("data", "env", "cwd") if name in options}
        options.setdefault("gateway", pushgateway.url)
        return pushgate.run(pushgate.argv(*words, **options), **popen)

    return run


@pytest.fixture
def value(pushgateway):
    """The value of one of the vocabulary's gauges."""

    def value(name, **labels):
        return pushgateway.value(VOCABULARY + name, **{"job": "backup", **labels})

    return value


def import_paths():
    return {Path(importlib.import_module(n).__file__).parents[1] for n in PACKAGES}


def python(text):
    return ("--", sys.executable, "-c", text)


def sh(script):
    return ("--", "sh", "-c", script)


def waiting_for(fifo):
    """A command that ends once somebody has opened the fifo for writing and closed it."""
    os.mkfifo(fifo)
    return ("--", "cat", str(fifo))


def let_go(fifo):
    os.close(os.open(fifo, os.O_WRONLY))


# --- what is published ------------------------------------------------------------------------


def test_a_success_publishes_all_of_the_vocabulary(run, value, pushgateway):
    before = time.time()
    program = "import sys, time; b = bytearray(100 << 20); sum(range(2_000_000)); time.sleep(0.05)"
    assert run("--expect-every", "24h", *python(program)) == (0, b"", b"")
    now = time.time()

    assert before <= value("last_start_timestamp_seconds") <= now
    assert before <= value("last_success_timestamp_seconds") <= now
    assert value("last_completion_timestamp_seconds") == value("last_success_timestamp_seconds")
    assert value("last_failure_timestamp_seconds") is None
    assert value("last_run_success") == 1
    assert 0.05 <= value("last_duration_seconds") <= now - before
    assert [value(f"last_{name}") for name in ("exit_code", "signal", "timed_out")] == [0, 0, 0]
    assert 0.01 < value("last_cpu_seconds", mode="user") < now - before
    assert 0 <= value("last_cpu_seconds", mode="system") < now - before
    assert 100 << 20 < value("last_max_rss_bytes") < 400 << 20
    for name, kinds in {
        "last_io_blocks": ("op", ("read", "write")),
        "last_context_switches": ("kind", ("voluntary", "involuntary")),
    }.items():
        for kind in kinds[1]:
            assert value(name, **{kinds[0]: kind}) >= 0
    assert value("last_context_switches", kind="voluntary") > 0
    assert value("expected_interval_seconds") == 86400
    assert value("vanished_runs") == 0
    assert [group.labels for group in pushgateway.groups()] == [{"job": "backup"}]


def test_peak_memory_below_what_can_be_told_is_left_out(run, value):
    assert run("true")[0] == 0
    assert value("last_exit_code") == 0
    assert value("last_max_rss_bytes") is None


def test_the_grouping_key_is_the_job_and_the_groups(run, pushgateway):
    labels = ("--group", "team=data base/é", "--group=empty=", "--group", "eq=a=b")
    assert run(*labels, "true", job="back/up")[0] == 0
    (group,) = pushgateway.groups()
    labels = {"job": "back/up", "team": "data base/é", "empty": "", "eq": "a=b"}
    assert group.labels == labels


def test_a_failure_keeps_the_success_before_it(run, value):
    run("true")
    succeeded = value("last_success_timestamp_seconds")
    assert run(*sh("exit 3"))[0] == 3
    assert value("last_success_timestamp_seconds") == succeeded
    assert value("last_failure_timestamp_seconds") > succeeded
    assert value("last_completion_timestamp_seconds") == value("last_failure_timestamp_seconds")
    assert (value("last_run_success"), value("last_exit_code")) == (0, 3)


@pytest.mark.parametrize("code", [0, 1, 125, 255])
def test_fact_01_exit_codes_pass_through_and_are_published(run, value, code):
    assert run(*sh(f"exit {code}")) == (code, b"", b"")
    assert value("last_exit_code") == code
    assert value("last_run_success") == (code == 0)


def test_fact_01_death_by_a_signal(run, value):
    assert run(*sh("kill -USR1 $$")) == (128 + signal.SIGUSR1, b"", b"")
    assert value("last_exit_code") == 128 + signal.SIGUSR1
    assert value("last_signal") == signal.SIGUSR1
    assert value("last_run_success") == 0


@pytest.mark.parametrize(("command", "code"), [("no-such-command", 127), ("/", 126)])
def test_fact_01_a_command_that_cannot_be_started_is_a_failure(run, value, command, code):
    exit_code, out, err = run("--", command)
    assert (exit_code, out, err.count(b"\n")) == (code, b"", 1)
    assert err.startswith(f"pushgate: backup: {command}: ".encode())
    assert (value("last_exit_code"), value("last_run_success")) == (code, 0)
    assert value("last_failure_timestamp_seconds") is not None


# --- wrong options ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--timout", "3s", "true"], "did you mean --timeout?"),
        (["--lok=x", "true"], "did you mean --lock?"),
        (["--timeout", "3 parsecs", "true"], "--timeout: '3 parsecs' is not a duration"),
        (["--timeout", "0", "true"], "above 0"),
        (["--heartbeat=0s", "true"], "above 0"),
        (["--timeout"], "--timeout needs a value"),
        (["--dry-run=yes", "true"], "--dry-run takes no value"),
        (["--group", "team", "true"], "LABEL=VALUE"),
        (["--group", "a=1", "--group", "a=2", "true"], "'a' is given twice"),
        (["--signal", "TREM", "true"], "no signal 'TREM'"),
        (["--signal", "_IGN", "true"], "no signal '_IGN'"),
        (["--success-codes", "0,256", "true"], "from 0 to 255"),
        (["--success-codes", "", "true"], "from 0 to 255"),
        (["--on-locked", "wait", "true"], "neither skip nor fail"),
        (["--tail-bytes", "-1", "true"], "number of bytes"),
        (["--job=", "true"], "name is empty"),
        (["--"], "give a command"),
        ([], "give a command"),
    ],
)
def test_wrong_options_are_125_say_what_was_meant_and_run_nothing(cli, tmp_path, words, told):
    code, out, err = cli("--job", "backup", *words)
    assert (code, out, len(err)) == (125, "", 1)
    assert told in err[0]


def test_a_job_without_a_name_is_refused(cli):
    code, _, (line,) = cli("--", "true")
    assert code == 125
    assert "--job NAME" in line


@pytest.fixture
def cli(capfd):
    """Parses options in this process, which starts nothing as long as they are wrong."""
    from pushgate.cli import main

    def cli(*words):
        code = main(["run", *words])
        out, err = capfd.readouterr()
        return code, out, err.splitlines()

    return cli


def test_the_help_fits_a_screen(cli):
    code, out, err = cli("--help")
    assert (code, err) == (0, [])
    assert len(out.splitlines()) <= 45
    assert max(map(len, out.splitlines())) <= 80


def test_the_help_knows_every_option_and_no_other(cli):
    from pushgate.cli import cmd_run as module

    _, out, _ = cli("--help")
    named = set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", out.partition("COMMAND [ARG")[2]))
    known = {*module._WITH_VALUE, *module._SWITCHES}
    assert named - known == set()
    assert known - named == {"--verbose", "--quiet"}  # -v and -q, spelt out


def test_the_help_for_a_reader_who_has_gone_is_no_traceback(pushgate):
    argv = [sys.executable, "-m", "pushgate", "run", "--help"]
    read_end, write_end = os.pipe()
    os.close(read_end)
    code, _, err = pushgate.run(argv, stdout=write_end)
    os.close(write_end)
    assert (code, err) == (128 + signal.SIGPIPE, b"")


# --- the command's side -----------------------------------------------------------------------


def test_fact_12_stdout_is_the_commands_alone_byte_for_byte(run):
    program = "import os, sys; os.write(1, bytes(range(256)) * 300); os.write(2, b'\\xff err'); "
    data = bytes(range(256)) * 300
    assert run(*python(program)) == (0, data, b"\xff err")
    assert run("cat", data=data) == (0, data, b"")


def test_fact_14_arguments_arrive_as_they_were(run):
    words = ["a b", "", "--", "-v", "--job=x", "$HOME", "*", b"\xff\xfe"]
    code, out, _ = run("--", "printf", "<%s>", *words)
    assert code == 0
    assert out == b"<a b><><--><-v><--job=x><$HOME><*><\xff\xfe>"


def test_fact_14_options_end_at_the_command_without_a_double_dash(run):
    assert run("printf", "%s", "--dry-run", "-v") == (0, b"--dry-run-v", b"")


@needs_proc
def test_secrets_are_nowhere_to_be_seen(pushgate, recorder):
    url = recorder.url.replace("//", "//robot:s3cret-url@")
    pushgate.env |= {
        "PUSHGATE_GATEWAY": url,
        "PUSHGATEWAY_URL": "http://u:s3cret-other@host:1",
        "PUSHGATE_HEADERS": "X-Key: s3cret-header",
    }
    show = "tr '\\0' '\\n' </proc/$PPID/cmdline; tr '\\0' '\\n' </proc/$$/cmdline; env"
    code, out, err = pushgate.run(pushgate.argv("-v", *sh(show)))
    assert (code, b"s3cret" in out + err) == (0, False)
    assert f"PUSHGATE_GATEWAY={recorder.url}".encode() in out.splitlines()
    assert recorder.next().header("Authorization").startswith("Basic ")


@pytest.mark.parametrize("name", ["PUSHGATE_PASSWORD", "PUSHGATE_TOKEN"])
def test_a_secret_reaches_the_gateway_and_not_the_command(pushgate, recorder, name):
    pushgate.env[name] = "s3cret"
    user = ["--username", "robot"] if name == "PUSHGATE_PASSWORD" else []
    argv = pushgate.argv("-v", *user, "--", "env", gateway=recorder.url)
    code, out, err = pushgate.run(argv)
    assert (code, b"s3cret" in out + err) == (0, False)
    assert recorder.next().header("Authorization") is not None


def test_a_secret_in_the_gateway_option_is_not_in_any_output(run, pushgateway):
    wrong = pushgateway.url.replace("//", "//robot:s3cret@").replace("127.0.0.1", "127.0.0.1.")
    _, _, err = run("-v", "--push-timeout", "1s", "true", gateway=wrong)
    assert b"s3cret" not in err


@pytest.mark.skipif(sys.platform == "darwin", reason="where LC_CTYPE comes from can't be told")
@pytest.mark.parametrize("locale", [{}, {"LC_CTYPE": "C"}, {"LC_ALL": "C"}, {"LANG": "C.UTF-8"}])
def test_the_environment_is_that_of_the_bare_command(pushgate, recorder, locale):
    pushgate.env = {"PATH": "/usr/bin:/bin", "HOME": "/", **locale}
    pushgate.env["PYTHONPATH"] = os.pathsep.join(map(str, import_paths()))
    _, bare, _ = pushgate.run(["env"])
    _, wrapped, _ = pushgate.run(pushgate.argv("--", "env", gateway=recorder.url))
    added = set(wrapped.splitlines()) - set(bare.splitlines())
    assert [line.partition(b"=")[0] for line in added] == [b"PUSHGATE_METRICS_FILE"]
    assert set(bare.splitlines()) <= set(wrapped.splitlines())


def test_a_job_that_takes_pushgate_away_is_reported(pushgate, pushgateway, tmp_path):
    for package in PACKAGES:
        source = Path(importlib.import_module(package).__file__).parent
        shutil.copytree(source, tmp_path / "site" / package)
    pushgate.env["PYTHONPATH"] = str(tmp_path / "site")
    code = f"""if True:
        import os, shutil, sys, urllib.request
        while b"last_start" not in urllib.request.urlopen("{pushgateway.url}/metrics").read():
            pass
        shutil.rmtree("{tmp_path}/site")
        open(os.environ["PUSHGATE_METRICS_FILE"], "a").write("rows 1")
        sys.exit(4)
    """
    code, _, err = pushgate.run(pushgate.argv(*python(code), gateway=pushgateway.url))
    assert (code, err) == (4, b"")
    pushgateway.assert_pushed("batch_job_last_exit_code", 4, job="backup")
    pushgateway.assert_pushed("rows", 1, job="backup")


# --- time limits and what counts as success ---------------------------------------------------

TRAPPING = "trap 'exit 3' TERM; echo; while :; do sleep 60 & wait; done"


@pytest.mark.parametrize(
    ("options", "script", "code", "by_signal"),
    [
        ([], "exec sleep 60", 124, signal.SIGTERM),
        ([], TRAPPING, 124, 0),
        (["--preserve-status"], TRAPPING, 3, 0),
        (["--signal", "USR1"], "exec sleep 60", 124, signal.SIGUSR1),
        (["--signal", "SIGKILL"], "exec sleep 60", 137, signal.SIGKILL),
        (["--kill-after", "0.05"], "trap '' TERM; exec sleep 60", 137, signal.SIGKILL),
    ],
)
def test_fact_03_the_time_limit(run, value, options, script, code, by_signal):
    limit = "0.3s" if "trap" in script else "0.05s"  # the shell's, to set its traps
    assert run("--timeout", limit, *options, *sh(script))[0] == code
    assert value("last_timed_out") == 1
    assert value("last_exit_code") == code
    assert value("last_signal") == by_signal
    assert value("last_run_success") == 0


def test_other_codes_may_count_as_success(run, value):
    assert run("--success-codes", "0, 3", *sh("exit 3"))[0] == 3
    assert (value("last_run_success"), value("last_exit_code")) == (1, 3)
    assert run("--success-codes", "3", "true")[0] == 0
    assert value("last_run_success") == 0


def test_a_run_that_is_too_short_has_failed(run, value):
    assert run("--min-duration", "1m", "true")[0] == 0
    assert value("last_run_success") == 0


# --- beside the run ---------------------------------------------------------------------------


def test_the_start_is_published_while_the_command_runs(pushgate, recorder, tmp_path):
    process = pushgate.start(pushgate.argv(*waiting_for(tmp_path / "f"), gateway=recorder.url))
    start = recorder.next()
    assert (start.method, start.target) == ("POST", "/metrics/job/backup")
    assert b"last_start_timestamp" in start.body
    assert b"last_completion" not in start.body
    let_go(tmp_path / "f")
    assert b"last_completion" in recorder.next().body
    assert process.wait(DEADLINE) == 0


def test_without_a_start_push_only_the_end_is_published(pushgate, recorder, tmp_path):
    command = ("--no-start-push", "-v", *waiting_for(tmp_path / "f"))
    process = pushgate.start(pushgate.argv(*command, gateway=recorder.url))
    assert process.stderr.readline().startswith(b"pushgate: backup: started, pid ")
    let_go(tmp_path / "f")
    end = recorder.next().body
    assert b"last_start" in end
    assert b"last_completion" in end
    assert process.wait(DEADLINE) == 0


def test_fact_20_the_start_is_settled_before_the_end_is_pushed(pushgate, recorder, tmp_path):
    recorder.hold = answer = threading.Event()
    lock = tmp_path / "lock"
    options = ("--lock", str(lock), "--push-timeout", "25s")
    argv = pushgate.argv(*options, *waiting_for(tmp_path / "f"), gateway=recorder.url)
    process = pushgate.start(argv)
    assert b"last_completion" not in recorder.next().body
    let_go(tmp_path / "f")
    with open(lock) as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # given back once the command has ended
    assert len(recorder.requests) == 1
    answer.set()
    end = recorder.next()
    assert b"last_completion" in end.body
    assert end.connection == 0  # the same one: what was not read to its end can't be used again
    assert process.wait(DEADLINE) == 0


def test_fact_21_a_heartbeat_is_an_empty_post(pushgate, recorder, tmp_path):
    options = ("--no-start-push", "--heartbeat", "0.05")
    argv = pushgate.argv(*options, *waiting_for(tmp_path / "f"), gateway=recorder.url)
    process = pushgate.start(argv)
    for _ in range(2):
        beat = recorder.next()
        assert (beat.method, beat.target, beat.body) == ("POST", "/metrics/job/backup", b"")
    let_go(tmp_path / "f")
    assert process.wait(DEADLINE) == 0
    assert b"last_completion" in recorder.requests[-1].body


def test_fact_06_a_signal_reaches_the_command_and_the_end_is_pushed(
    pushgate, pushgateway, value, tmp_path
):
    script = "trap 'echo got; exit 9' TERM; echo ready; read line <" + str(tmp_path / "f")
    os.mkfifo(tmp_path / "f")
    process = pushgate.start(pushgate.argv(*sh(script), gateway=pushgateway.url))
    assert process.stdout.readline() == b"ready\n"
    holds = os.open(tmp_path / "f", os.O_RDWR)
    process.terminate()
    out, err = process.communicate(timeout=DEADLINE)
    os.close(holds)
    assert (process.returncode, out, err) == (9, b"got\n", b"")
    assert value("last_exit_code") == 9


# --- one run at a time ------------------------------------------------------------------------


@pytest.fixture
def locked(tmp_path):
    path = tmp_path / "lock"
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield str(path)


@pytest.mark.parametrize(("choice", "code"), [([], 0), (["--on-locked", "fail"], 75)])
def test_a_run_that_is_locked_out_is_skipped(run, value, locked, tmp_path, choice, code):
    before = time.time()
    command = ("touch", str(tmp_path / "ran"))
    exit_code, out, err = run("--lock", locked, *choice, *command)
    assert (exit_code, out, err.count(b"\n")) == (code, b"", 1)
    assert b"is locked" in err
    assert not (tmp_path / "ran").exists()
    assert value("last_skipped_timestamp_seconds") >= before
    assert value("last_completion_timestamp_seconds") is None


def test_fact_15_an_orphan_still_holds_the_lock(pushgate, run, tmp_path):
    lock = str(tmp_path / "lock")
    script = f"exec 1>&-; echo $$ >&2; read line <{tmp_path}/f"
    os.mkfifo(tmp_path / "f")
    process = pushgate.start(pushgate.argv("--lock", lock, *sh(script)))
    pid = process.stderr.readline().strip()
    process.kill()
    process.wait(DEADLINE)
    _, _, err = run("--lock", lock, "true")
    assert b"is locked, by pid " in err
    let_go(tmp_path / "f")
    code, _, _ = run("--lock", lock, "--lock-wait", "20s", "true")
    assert code == 0
    assert pid.isdigit()


def test_a_run_waits_for_the_lock(pushgate, run, tmp_path, value):
    lock = str(tmp_path / "lock")
    argv = pushgate.argv("-v", "--lock", lock, *waiting_for(tmp_path / "f"))
    first = pushgate.start(argv)
    first.stderr.readline()
    threading.Timer(0.1, let_go, [tmp_path / "f"]).start()
    assert run("--lock", lock, "--lock-wait", "20s", "true")[0] == 0
    assert value("last_run_success") == 1
    first.communicate(timeout=DEADLINE)


@needs_proc
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_run_that_waits_for_the_lock_can_be_ended(pushgate, locked, name):
    process = pushgate.start(pushgate.argv("--lock", locked, "--lock-wait", "1h", "true"))
    while locked not in open_files(process.pid):  # in the middle of waiting once it is
        assert process.poll() is None
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out, err) == (-getattr(signal, name), b"", b"")


def open_files(pid):
    paths = []
    with contextlib.suppress(OSError):  # it closes files while we look
        paths += [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    return paths


def test_a_lock_that_cannot_be_had_is_a_failure(run, value, tmp_path):
    code, out, err = run("--lock", str(tmp_path / "no" / "lock"), "true")
    assert (code, out, err.count(b"\n")) == (125, b"", 1)
    assert value("last_exit_code") == 125


# --- where else ------------------------------------------------------------------------------


def test_a_dry_run_prints_and_pushes_nothing(run, pushgateway, tmp_path):
    script = "echo rows_loaded 42 >> $PUSHGATE_METRICS_FILE; echo out; exit 4"
    (tmp_path / "textfiles").mkdir()
    options = ("--dry-run", "--textfile", str(tmp_path / "textfiles"))
    code, out, err = run(*options, *sh(script))
    assert (code, out) == (4, b"out\n")
    lines = err.decode().splitlines()
    assert "rows_loaded 42.0" in lines
    assert "batch_job_last_exit_code 4.0" in lines
    assert not [line for line in lines if line.startswith("pushgate")]
    assert pushgateway.groups() == []
    assert os.listdir(tmp_path / "textfiles") == []
    assert os.listdir(tmp_path / "state") == []


def test_a_textfile_beside_the_gateway(run, value, tmp_path):
    script = "echo rows_loaded 42 >> $PUSHGATE_METRICS_FILE"
    assert run("--textfile", str(tmp_path), *sh(script)) == (0, b"", b"")
    texts = [path.read_text() for path in sorted(tmp_path.glob("*.prom"))]
    assert any('batch_job_last_run_success{job="backup"} 1' in text for text in texts)
    assert any('rows_loaded{job="backup",origin="job"} 42' in text for text in texts)
    assert value("last_run_success") == 1
    assert run("--textfile", str(tmp_path), "true")[0] == 0
    assert not any("rows_loaded" in path.read_text() for path in tmp_path.glob("*.prom"))


def test_a_textfile_without_a_gateway(run, tmp_path):
    code, _, err = run("-v", "--textfile", str(tmp_path), *sh("exit 2"), gateway=None)
    assert code == 2
    assert err.splitlines()[-1].endswith(f"; pushed to {tmp_path}".encode())
    text = (tmp_path / "backup.prom").read_text()
    assert 'batch_job_last_exit_code{job="backup"} 2' in text


def test_a_textfile_that_cannot_be_written_is_one_line(run, value, tmp_path):
    code, _, err = run("--textfile", str(tmp_path / "no"), *sh("exit 2"))
    assert (code, err.count(b"\n")) == (2, 1)
    assert str(tmp_path / "no").encode() in err
    assert value("last_exit_code") == 2


# --- what is printed --------------------------------------------------------------------------

NOISE = "printf out; printf err >&2; exit $1"


@pytest.mark.parametrize("option", ["--quiet-on-success", "--tail-bytes=100"])
def test_output_is_held_back_until_a_run_fails(run, option):
    assert run(option, *sh(NOISE), "sh", "0") == (0, b"", b"")
    assert run(option, *sh(NOISE), "sh", "3") == (3, b"out", b"err")


def test_only_the_end_of_each_stream_is_kept(run):
    program = "import os; os.write(1, b'x' * 200_000 + b'end'); os.write(2, b'0123456789'); 1/0"
    code, out, err = run("--tail-bytes", "10", *python(program))
    assert (code, out) == (1, b"xxxxxxxend")
    assert err == b"y zero\n" or err.endswith(b"\n")
    assert len(err) == 10
    assert run("--tail-bytes", "0", *sh(NOISE), "sh", "3") == (3, b"", b"")


def test_output_that_counts_as_success_is_not_printed(run):
    assert run("--quiet-on-success", "--success-codes=3", *sh(NOISE), "sh", "3") == (3, b"", b"")


def test_output_that_is_held_back_is_printed_when_nobody_can_push(pushgate):
    argv = pushgate.argv("--quiet-on-success", "--retries=0", *sh(NOISE), "sh", "3", gateway=NOBODY)
    code, out, err = pushgate.run(argv)
    assert (code, out) == (3, b"out")
    assert err.startswith(b"err")
    assert err.count(b"\n") == 1


def test_held_back_megabytes_are_printed_whole(run):
    program = (
        "import os, sys; [os.write(1, b'%06d\\n' % n * 10_000) for n in range(30)]; sys.exit(1)"
    )
    code, out, _ = run("--quiet-on-success", *python(program))
    assert code == 1
    assert out == b"".join(b"%06d\n" % n * 10_000 for n in range(30))


def test_a_reader_who_does_not_read_does_not_keep_term_from_ending_us(pushgate, pushgateway):
    program = "import os, sys; os.write(1, b'x' * 500_000); sys.exit(1)"
    options = ("--quiet-on-success", *python(program))
    process = pushgate.start(pushgate.argv(*options, gateway=pushgateway.url))
    assert process.stdout.read(1) == b"x"  # it prints, and the pipe is full
    process.terminate()
    assert process.wait(DEADLINE) == 1
    assert pushgateway.value("batch_job_last_exit_code", job="backup") == 1


def test_v_says_how_it_began_and_ended(run, pushgateway):
    _, _, err = run("-v", "true")
    first, last = err.decode().splitlines()
    assert re.fullmatch(r"pushgate: backup: started, pid \d+", first)
    assert re.fullmatch(
        r"pushgate: backup: succeeded after \d+\.\d\d s; pushed to "
        + re.escape(f'{pushgateway.url} {{job="backup"}}'),
        last,
    )
    last = run("-v", *sh("exit 3"))[2].decode().splitlines()[-1]
    assert last.startswith("pushgate: backup: failed with exit code 3 after ")


def test_q_says_nothing(pushgate):
    for command, code in (("true", 0), ("no-such-command", 127)):
        argv = pushgate.argv("-q", "--retries=0", "--", command, gateway=NOBODY)
        assert pushgate.run(argv) == (code, b"", b"")


def test_a_name_cannot_steer_the_terminal_or_forge_a_line(pushgate):
    argv = pushgate.argv("--retries=0", "--", "no\nsuch\x1b[2J", job="a\nb\x1b[31m", gateway=NOBODY)
    _, _, err = pushgate.run(argv)
    assert b"\x1b" not in err
    assert all(line.startswith(b"pushgate: a\\nb\\x1b") for line in err.splitlines())


# --- the job's own metrics --------------------------------------------------------------------


def own(pushgateway):
    (group,) = [g for g in pushgateway.groups(job="backup") if "origin" in g.labels] or [None]
    if group is None:
        return None
    assert group.labels == {"job": "backup", "origin": "job"}
    return {
        sample.name: sample.value
        for family in group.families
        for sample in family.samples
        if not sample.name.startswith("push_")
    }


def write(*lines):
    return "; ".join(f"""echo '{line}' >> "$PUSHGATE_METRICS_FILE\"""" for line in lines)


def test_own_metrics_are_replaced_by_each_run_and_kept_by_a_failed_one(run, pushgateway, value):
    run(*sh(write("rows_loaded 42", "rows_skipped 1")))
    assert own(pushgateway) == {"rows_loaded": 42, "rows_skipped": 1}
    run(*sh(write("rows_loaded 43") + "; exit 1"))
    assert own(pushgateway) == {"rows_loaded": 43}
    run("false")
    assert own(pushgateway) == {"rows_loaded": 43}
    run("true")
    assert own(pushgateway) is None
    assert value("last_run_success") == 1


def test_own_metrics_vanish_once_the_gateway_is_back(run, pushgateway):
    run(*sh(write("rows_loaded 42")))
    run("--retries=0", "true", gateway=NOBODY)
    assert own(pushgateway) == {"rows_loaded": 42}
    run("true")
    assert own(pushgateway) is None


def test_a_job_that_never_wrote_metrics_costs_no_delete(pushgate, recorder):
    for _ in range(2):
        pushgate.run(pushgate.argv("true", gateway=recorder.url))
    assert {seen.method for seen in recorder.requests} == {"POST"}


def test_lines_that_cannot_be_used_are_one_line_each(run, pushgateway):
    lines = ("rows 1", "what is this", "batch_job_last_exit_code 0", "size 2")
    code, out, err = run(*sh(write(*lines) + "; exit 3"))
    assert (code, out) == (3, b"")
    first, second = err.decode().splitlines()
    assert "line 2" in first
    assert "line 3" in second
    assert "reserved" in second
    assert own(pushgateway) == {"rows": 1, "size": 2}


def test_own_metrics_that_the_gateway_refuses_do_not_cost_the_outcome(run, pushgateway, value):
    # A gateway refuses a name that has another type in any other group.
    Gateway(pushgateway.url).push("other", [gauge("rows", "", 1)])
    lines = ("# TYPE rows summary", "rows_sum 1", "rows_count 1")
    code, _, err = run("-v", *sh(write(*lines)))
    assert code == 0
    _, refused, last = err.decode().splitlines()
    assert refused.startswith("pushgate: backup: publishing the job's own metrics failed: ")
    assert last.endswith('{job="backup"}')
    assert value("last_run_success") == 1


def test_the_label_that_sets_own_metrics_apart_is_not_to_be_had_twice(run, pushgateway):
    _, _, err = run("--group", "origin=eu", *sh(write("rows 1")))
    assert err.count(b"\n") == 1
    assert b"the label 'origin'" in err
    assert [group.labels for group in pushgateway.groups()] == [{"job": "backup", "origin": "eu"}]


def test_nothing_is_left_behind(run, tmp_path):
    run(*sh(write("rows 1")))
    assert os.listdir(tmp_path / "tmp") == []


# --- runs that vanish -------------------------------------------------------------------------


def test_fact_15_the_next_run_says_that_the_one_before_vanished(pushgate, recorder, run, value):
    fifo = pushgate.tmp_path / "f"
    for count in (1, 2):
        process = pushgate.start(pushgate.argv(*waiting_for(fifo), gateway=recorder.url))
        recorder.next()  # the start
        process.kill()
        process.wait(DEADLINE)
        let_go(fifo)
        fifo.unlink()
        if count == 1:
            code, _, err = run("true")
            assert (code, err.count(b"\n")) == (0, 1)
            assert b"vanished" in err
            assert value("vanished_runs") == 1
    run("true")
    assert value("vanished_runs") == 2
    assert run("true") == (0, b"", b"")
    assert value("vanished_runs") == 2


def test_runs_that_end_before_anything_is_imported(run, value):
    for _ in range(2):
        assert run("true") == (0, b"", b"")
    assert value("vanished_runs") == 0


def test_under_nohup_setsid_and_timeout(pushgate, pushgateway, value):
    argv = pushgate.argv(*sh("exit 6"), gateway=pushgateway.url)
    for outer in (["nohup"], ["setsid", "--wait"], ["timeout", "60"]):
        code, _, _ = pushgate.run([*outer, *argv])
        assert code == 6
        assert value("last_exit_code") == 6


def test_a_parent_that_ignores_sigchld(pushgate, pushgateway, value):
    ignoring = (
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
        "os.execvp(sys.argv[1], sys.argv[1:])"
    )
    argv = pushgate.argv(*sh("exit 6"), gateway=pushgateway.url)
    assert pushgate.run([sys.executable, "-c", ignoring, *argv])[0] == 6
    assert value("last_exit_code") == 6
