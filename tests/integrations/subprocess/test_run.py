"""`pushgate run` as a real process: what it takes, what it publishes, what it prints."""

import os
import re
import shutil
import sys
import threading
import time
from importlib import import_module
from pathlib import Path

import pytest

from pushgate import Gateway, gauge
from pushgate.cli import main

DEADLINE = 50.0
NOBODY = "http://127.0.0.1:1"


def python(text):
    return ("--", sys.executable, "-c", text)


def sh(script):
    return ("--", "sh", "-c", script)


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
    for op in ("read", "write"):
        assert value("last_io_blocks", op=op) >= 0
    assert value("last_context_switches", kind="voluntary") > 0
    assert value("last_context_switches", kind="involuntary") >= 0
    assert value("expected_interval_seconds") == 86400
    assert value("last_vanished_timestamp_seconds") is None
    assert [group.labels for group in pushgateway.groups()] == [{"job": "backup"}]


def test_the_grouping_key_is_the_job_and_the_groups(run, pushgateway):
    labels = ("--group", "team=data base/é", "--group=empty=", "--group", "eq=a=b")
    assert run(*labels, "true", job="back/up")[0] == 0
    (group,) = pushgateway.groups()
    labels = {"job": "back/up", "team": "data base/é", "empty": "", "eq": "a=b"}
    assert group.labels == labels


def test_a_job_that_takes_pushgate_away_is_reported(pushgate, pushgateway, tmp_path):
    for package in ("pushgate", "pushgate_subprocess"):
        source = Path(import_module(package).__file__).parent
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


# --- wrong options ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--timout", "3s", "true"], "did you mean '--timeout'?"),
        (["--kill_after", "3s", "true"], "did you mean '--kill-after'?"),
        (["--timeout", "3 parsecs", "true"], "--timeout: '3 parsecs' is not a duration"),
        (["--timeout", "0", "true"], "above 0"),
        (["--timeout"], "--timeout needs a value"),
        (["--dry-run=yes", "true"], "--dry-run takes no value"),
        (["--group", "team", "true"], "LABEL=VALUE"),
        (["--group", "a=1", "--group", "a=2", "true"], "'a' is given twice"),
        (["--signal", "TREM", "true"], "no signal 'TREM'"),
        (["--signal", "_IGN", "true"], "no signal '_IGN'"),
        (["--success-codes", "0,256", "true"], "from 0 to 255"),
        (["--on-locked", "wait", "true"], "not one of skip, fail"),
        (["--tail-bytes", "-1", "true"], "--tail-bytes: '-1' is not a whole number"),
        (["--job=", "true"], "name is empty"),
        (["--"], "give a command"),
        ([], "give a command"),
        (["--textfile=", "true"], "give the path"),
    ],
)
def test_wrong_options_are_125_say_what_was_meant_and_run_nothing(cli, words, told):
    code, out, err = cli("--job", "backup", *words)
    assert (code, out, len(err)) == (125, "", 1)
    assert told in err[0]


@pytest.fixture
def cli(capfd):
    """Parses options in this process, which starts nothing as long as they are wrong."""

    def cli(*words):
        code = main(["run", *words])
        out, err = capfd.readouterr()
        return code, out, err.splitlines()

    return cli


def test_every_option_in_the_help_exists(cli):
    _, out, _ = cli("--help")
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", out))
    assert len(named) > 30
    for option in named - {"--help"}:
        _, _, (line,) = cli("--job", "backup", option)
        assert "there is no option" not in line, option


# --- beside the run ---------------------------------------------------------------------------


@pytest.fixture
def held_up(pushgate, recorder, tmp_path):
    """Starts a run of a command that ends when the returned function is called."""

    def held_up(*options):
        os.mkfifo(tmp_path / "f")
        command = ("--", "cat", str(tmp_path / "f"))
        process = pushgate.start(pushgate.argv(*options, *command, gateway=recorder.url))
        return process, lambda: os.close(os.open(tmp_path / "f", os.O_WRONLY))

    return held_up


def test_the_start_is_published_while_the_command_runs(held_up, recorder):
    process, let_go = held_up()
    start = recorder.next()
    assert (start.method, start.target) == ("POST", "/metrics/job/backup")
    assert b"last_start_timestamp" in start.body
    assert b"last_completion" not in start.body
    let_go()
    assert b"last_completion" in recorder.next().body
    assert process.wait(DEADLINE) == 0


def test_without_a_start_push_only_the_end_is_published(held_up, recorder):
    process, let_go = held_up("--no-start-push", "-v")
    assert process.stderr.readline().startswith(b"pushgate: backup: started, pid ")
    let_go()
    end = recorder.next().body
    assert (b"last_start" in end, b"last_completion" in end) == (True, True)
    assert process.wait(DEADLINE) == 0


def test_the_start_is_settled_before_the_end_is_pushed(pushgate, held_up, recorder, tmp_path):
    recorder.hold = answer = threading.Event()
    lock = tmp_path / "lock"
    process, let_go = held_up("--lock", str(lock), "--push-timeout", "250s")
    assert b"last_completion" not in recorder.next().body
    let_go()
    # The lock is given back once the command has ended.
    assert pushgate.run(pushgate.wrap("true", lock=lock, lock_wait=20))[0] == 0
    assert len(recorder.requests) == 1
    answer.set()
    end = recorder.next()
    assert b"last_completion" in end.body
    assert end.connection == 0  # the same one: what was not read to its end can't be used again
    assert process.wait(DEADLINE) == 0


def test_a_heartbeat_is_an_empty_post(held_up, recorder):
    process, let_go = held_up("--no-start-push", "--heartbeat", "0.05")
    for _ in range(2):
        beat = recorder.next()
        assert (beat.method, beat.target, beat.body) == ("POST", "/metrics/job/backup", b"")
    let_go()
    assert process.wait(DEADLINE) == 0
    assert any(b"last_completion" in seen.body for seen in recorder.requests)


# --- what is printed --------------------------------------------------------------------------


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
    groups = pushgateway.groups(job="backup", origin="job")
    samples = [s for group in groups for family in group.families for s in family.samples]
    return {s.name: s.value for s in samples if not s.name.startswith("push_")}


def write(*lines):
    return "; ".join(f"""echo '{line}' >> "$PUSHGATE_METRICS_FILE\"""" for line in lines)


def test_own_metrics_are_replaced_by_each_run_and_kept_by_a_failed_one(run, pushgateway):
    run(*sh(write("rows_loaded 42", "rows_skipped 1")))
    assert own(pushgateway) == {"rows_loaded": 42, "rows_skipped": 1}
    run(*sh(write("rows_loaded 43") + "; exit 1"))
    assert own(pushgateway) == {"rows_loaded": 43}
    run("false")
    run("--retries=0", "true", gateway=NOBODY)
    assert own(pushgateway) == {"rows_loaded": 43}
    run("true")  # also what the run before could not delete
    assert own(pushgateway) == {}


def test_own_metrics_that_the_gateway_refuses_do_not_cost_the_outcome(run, pushgateway, value):
    # A gateway refuses a name that has another type in any other group.
    Gateway(pushgateway.url).push("other", [gauge("rows", "", 1)])
    lines = ("# TYPE rows summary", "rows_sum 1", "rows_count 1")
    code, _, err = run("-v", *sh(write(*lines)))
    assert code == 0
    _, refused, last = err.decode().splitlines()
    assert refused.startswith("pushgate: backup: the push of the job's own metrics for ")
    assert last.endswith('{job="backup"}')
    assert value("last_run_success") == 1


def test_the_label_that_sets_own_metrics_apart_is_not_to_be_had_twice(run, pushgateway):
    _, _, err = run("--group", "origin=eu", *sh(write("rows 1")))
    assert err.count(b"\n") == 1
    assert b"the label 'origin'" in err
    assert [group.labels for group in pushgateway.groups()] == [{"job": "backup", "origin": "eu"}]
