"""Whatever is wrong with the gateway, its settings or this machine: the command's fate stays.

What every adapter promises of a gateway that is away is in tests/contract.
"""

import os
import ssl
import sys
import threading
from pathlib import Path

import pytest
import trustme

from pushgate import Gateway, GroupingKey, Settings
from pushgate.embedded import EmbeddedGateway
from pushgate.embedded.pytest_plugin import PushgatewayFixture
from support.faults import (
    OK,
    FaultServer,
    answer,
    hang,
    over_tls,
    reset,
    respond_and_close,
)

DEADLINE = 30.0
WAITS = "it waits in the outbox and will be delivered later"
JOB = ("--", "sh", "-c", "echo out; echo err >&2; exit 5")

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def one_line(err):
    """The wrapper's one line, which is whole and no traceback, beside what the job wrote."""
    lines = err.decode().splitlines()
    lines.remove("err")
    assert len(lines) == 1, err
    assert lines[0].startswith("pushgate: backup: ")
    return lines[0]


def untrusted():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return over_tls(context, hang)


FAULTS = {
    "resets": (reset, "http", ""),
    "answers garbage": (respond_and_close(b"220 mail.example ESMTP\r\n"), "http", ""),
    "speaks no TLS": (lambda peer: peer.send(answer()), "https", ""),
    "is not trusted": (untrusted(), "https", "certificate"),
}


@pytest.mark.parametrize(("script", "scheme", "told"), FAULTS.values(), ids=FAULTS)
def test_a_gateway_that(pushgate, script, scheme, told):
    with FaultServer(script) as server:
        url = server.url.replace("http:", f"{scheme}:")
        code, out, err = pushgate.run(pushgate.argv("--retries", "0", *JOB, gateway=url))
    assert (code, out) == (5, b"out\n")
    assert told in one_line(err)


def test_a_host_that_does_not_exist(pushgate):
    url = "http://no-such-host.invalid"
    code, out, err = pushgate.run(pushgate.argv("--retries", "0", *JOB, gateway=url))
    assert (code, out) == (5, b"out\n")
    assert url in one_line(err)


def test_a_push_that_hangs_leaves_no_run_that_vanished(pushgate, recorder):
    with FaultServer(hang) as server:
        argv = pushgate.argv("--push-timeout", "0.3", "--retries", "0", *JOB, gateway=server.url)
        one_line(pushgate.run(argv)[2])
    assert pushgate.run(pushgate.argv(*JOB, gateway=recorder.url)) == (5, b"out\n", b"err\n")


@pytest.mark.parametrize(
    ("options", "variables", "told"),
    [
        ([], {}, "no gateway is configured"),
        (["--gateway", "ftp://host"], {}, "http"),
        (["--config", __file__], {}, __file__),
        (["--group", "1st=x", "--gateway", "host:1"], {}, "1st"),
        (["--gateway", "host:1"], {"PUSHGATE_TIMEOUT": "never"}, "PUSHGATE_TIMEOUT"),
        (["--gateway", "host:1"], {"PUSHGATE_TOKEN": "file:/no/such/file"}, "PUSHGATE_TOKEN"),
    ],
)
def test_wrong_settings_still_run_the_job(pushgate, options, variables, told):
    pushgate.env |= variables
    code, out, err = pushgate.run(pushgate.argv(*options, *JOB))
    assert (code, out) == (5, b"out\n")
    assert told in one_line(err)


def test_a_name_that_is_not_utf8_still_runs_the_job(pushgate):
    argv = [sys.executable, "-m", "pushgate", "run", "--job", b"caf\xe9", *JOB]
    code, out, err = pushgate.run(argv)
    assert (code, out, len(err.splitlines())) == (5, b"out\n", 2)


@pytest.mark.parametrize(("options", "tries"), [([], 20), (["--retries", "2"], 3)])
def test_the_end_is_tried_until_its_time_is_over_or_as_often_as_is_asked(pushgate, options, tries):
    busy = respond_and_close(answer("503 Service Unavailable"))
    with FaultServer(*[busy] * 19, lambda peer: (peer.request(), peer.send(OK))) as server:
        words = ("--push-timeout", "60s", "--no-start-push", *options, *JOB)
        no_pauses = "import time\ntime.sleep = lambda _seconds: None"
        code, out, err = pushgate.run(patched(pushgate, no_pauses, *words, gateway=server.url))
    assert (code, out, len(server.requests)) == (5, b"out\n", tries)
    assert (WAITS.encode() in err) == (tries < 20)


# --- this machine -----------------------------------------------------------------------------


def patched(pushgate, patch, *words, gateway):
    """`pushgate run` in a Python where something does not work."""
    argv = pushgate.argv(*words, gateway=gateway)
    program = f"import sys\n{patch}\nfrom pushgate.cli import main\nmain()"
    return [sys.executable, "-c", program, *argv[argv.index("run") :]]


def test_without_threads_the_end_is_still_pushed(pushgate, recorder):
    patch = "import threading\ndef start(_): raise RuntimeError\nthreading.Thread.start = start"
    options = ("--quiet-on-success", "-v", *JOB)
    code, out, err = pushgate.run(patched(pushgate, patch, *options, gateway=recorder.url))
    assert (code, out) == (5, b"out\n")
    assert b"pushed to" in err
    assert b"last_exit_code" in recorder.next().body


NO_FOLDER = "import os\nos.path.abspath = lambda _path: '/no/such/folder'\n"


@needs_proc
def test_where_no_folder_can_be_written_a_script_has_metrics_of_its_own_in_memory(
    pushgate, recorder
):
    script = 'echo rows 1 > "$PUSHGATE_METRICS_FILE"; echo size 2 >> "$PUSHGATE_METRICS_FILE"'
    argv = patched(pushgate, NO_FOLDER, "sh", "-ec", script, gateway=recorder.url)
    assert pushgate.run(argv) == (0, b"", b"")
    put = next(seen for seen in recorder.requests if seen.method == "PUT")
    assert (b"rows 1" in put.body, b"size 2" in put.body) == (True, True)


def test_without_a_place_for_its_metrics_a_script_can_write_them_all_the_same(pushgate, recorder):
    script = 'set -e; echo rows 1 >> "$PUSHGATE_METRICS_FILE"; exit 5'
    patch = NO_FOLDER + "os.__dict__.pop('memfd_create', None)"
    argv = patched(pushgate, patch, "sh", "-c", script, gateway=recorder.url)
    code, out, err = pushgate.run(argv)
    assert (code, out, len(err.splitlines())) == (5, b"", 1)
    assert b"$TMPDIR" in err


def test_a_wrapper_that_can_report_nothing_runs_the_job(pushgate, recorder):
    patch = "import sys\nsys.modules['threading'] = None\nsys.modules['pushgate.errors'] = None"
    code, out, err = pushgate.run(patched(pushgate, patch, *JOB, gateway=recorder.url))
    assert (code, out) == (5, b"out\n")
    assert "ModuleNotFoundError" in one_line(err)


def test_a_fault_of_our_own_is_said_once_and_runs_the_job(pushgate, recorder):
    patch = "import sys\nsys.modules['pushgate.protocol'] = None"
    code, out, err = pushgate.run(patched(pushgate, patch, *JOB, gateway=recorder.url))
    assert (code, out) == (5, b"out\n")
    assert "please report it" in one_line(err)


def test_without_a_place_for_the_state_runs_are_reported(pushgate, recorder, tmp_path):
    (tmp_path / "file").touch()
    pushgate.env |= {"PUSHGATE_STATE_DIR": f"{tmp_path}/file/x", "TMPDIR": f"{tmp_path}/file/x"}
    assert pushgate.run(pushgate.argv(*JOB, gateway=recorder.url)) == (5, b"out\n", b"err\n")
    assert b"last_exit_code" in recorder.requests[-1].body
    _, _, err = pushgate.run(pushgate.argv("-v", *JOB, gateway=recorder.url))
    assert b"set PUSHGATE_STATE_DIR" in err


def test_leaving_pushes_behind_ends_python_in_good_order(pushgate):
    with FaultServer(hang) as server:
        words = ("--push-timeout", "0.1", *JOB)
        argvs = [pushgate.argv("--group", f"n={n}", *words, gateway=server.url) for n in range(3)]
        for process in [pushgate.start(argv) for argv in argvs]:
            out, err = process.communicate(timeout=DEADLINE)
            assert (process.returncode, out) == (5, b"out\n")
            assert one_line(err).endswith(WAITS)


def test_a_clock_that_is_set_back_puts_no_end_before_its_start(pushgate, pushgateway):
    """Such a run would look as if it went on."""
    patch = """if True:
        import os, time
        wait4, now = os.wait4, time.time
        def back(*arguments):
            time.time = lambda: now() - 3600
            return wait4(*arguments)
        os.wait4 = back
    """
    argv = patched(pushgate, patch, *JOB, gateway=pushgateway.url)
    assert pushgate.run(argv) == (5, b"out\n", b"err\n")
    start, end, duration = (
        pushgateway.value(f"batch_job_last_{name}_seconds", job="backup")
        for name in ("start_timestamp", "completion_timestamp", "duration")
    )
    assert end - start == pytest.approx(duration, abs=1e-5)


# --- what waits -------------------------------------------------------------------------------

ROWS = 'echo "rows $ROWS" >> "$PUSHGATE_METRICS_FILE"; exit $CODE'


class Server:
    """A gateway that can be stopped and started again with all it holds, at the same address."""

    def __init__(self, gateway):
        self.url, self.start, self.stop = gateway.url, gateway.start, gateway.stop
        self.held = PushgatewayFixture(gateway)


@pytest.fixture
def running():
    with EmbeddedGateway() as gateway:
        yield Server(gateway)


@pytest.fixture
def held(running):
    return running.held


@pytest.fixture
def job(pushgate, running):
    """Runs a job that writes `rows` and exits with `code`; returns the lines of its stderr."""

    def job(*options, name="backup", rows=None, code=0):
        script = ROWS if rows is not None else "exit $CODE"
        env = {**pushgate.env, "ROWS": str(rows), "CODE": str(code)}
        options = ("--retries", "0", *options, "--", "sh", "-c", script)
        ended = pushgate.run(pushgate.argv(*options, job=name, gateway=running.url), env=env)
        assert ended[:2] == (code, b"")
        return ended[2].decode().splitlines()

    return job


@pytest.fixture
def waiting(isolated):
    """The groups that wait in the host's outbox, without a try to deliver them."""
    return lambda: Settings.load({}, dict(os.environ)).to_outbox().waiting()


def test_what_was_missed_arrives_with_the_next_push_from_this_host(running, held, job, waiting):
    assert job(rows=1) == []
    succeeded = held.value("batch_job_last_success_timestamp_seconds", job="backup")
    running.stop()
    lines = job(rows=2, code=3)
    assert [line.endswith(WAITS) for line in lines] == [True]
    running.start()
    assert job(name="other") == []
    assert held.value("batch_job_last_exit_code", job="backup") == 3
    assert held.value("batch_job_last_success_timestamp_seconds", job="backup") == succeeded
    assert held.value("rows", job="backup", origin="job") == 2

    running.stop()
    assert len(job()) == 1  # a success without metrics of its own
    running.start()
    job(name="other")
    assert held.groups(origin="job") == []
    assert waiting() == []


def test_a_gateway_that_hangs_leaves_time_to_keep_everything(running, job, waiting):
    port = int(running.url.rpartition(":")[2])
    running.stop()
    with FaultServer(hang, port=port):
        for rows in (1, 2):  # the second finds what the first has left
            (line,) = job("--push-timeout", "0.5s", rows=rows)
            assert line.endswith(f"; {WAITS}")
    outcome, own = sorted(waiting(), key=lambda group: "origin" in group.labels)
    assert (outcome.labels, outcome.method) == ({"job": "backup"}, "POST")
    assert "batch_job_last_success_timestamp_seconds" in outcome.families
    assert (own.labels, own.method) == ({"job": "backup", "origin": "job"}, "PUT")
    assert list(own.families) == ["rows"]


@pytest.fixture
def late(pushgate, running, tmp_path):
    """Runs a job whose wrapper can't go on reporting before its fifo is opened for writing."""
    fifo = tmp_path / "go-on"
    os.mkfifo(fifo)

    def late(what, *words):
        patch = f"""if True:
            import importlib.abc, os, sys
            def wait():
                open({str(fifo)!r}).close()
            class Slow(importlib.abc.MetaPathFinder):
                def find_spec(self, name, *_):
                    if name == "pushgate.errors" and {what == "import"}:
                        sys.meta_path.remove(self)
                        wait()
            sys.meta_path.insert(0, Slow())
            if {what == "settings"}:
                from pushgate import Settings
                load = Settings.load
                def slow(*arguments):
                    wait()
                    return load(*arguments)
                Settings.load = slow
        """
        running.stop()
        process = pushgate.start(patched(pushgate, patch, *words, *JOB, gateway=running.url))
        assert process.stderr.readline() == b"err\n"
        return process, lambda: fifo.write_text("")

    return late


@pytest.mark.parametrize("what", ["import", "settings"])
def test_an_end_is_kept_that_nothing_could_be_done_for_in_time(late, waiting, what):
    """What keeps depends on nothing that is late: here pushgate itself is."""
    process, go_on = late(what, "--push-timeout", "0.1")
    threading.Timer(0.3, go_on).start()
    _, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, err.decode().rstrip().endswith(WAITS)) == (5, True)
    assert [group.labels for group in waiting()] == [{"job": "backup"}]


@needs_proc
def test_a_term_ends_also_the_wait_for_what_is_late(late, waiting):
    process, _ = late("import", "--push-timeout", "1h")
    while Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text():
        assert process.poll() is None
    while process.poll() is None:  # a TERM that comes with the command's end is the command's
        process.terminate()
    err = process.stderr.read()
    told = b"gave up waiting: the outcome was neither pushed nor kept in time"
    assert (process.returncode, told in err, waiting()) == (5, True, [])


def test_a_start_is_kept_and_delivered_while_the_command_runs(
    pushgate, running, held, waiting, tmp_path
):
    running.stop()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    words = ("--retries=0", "--heartbeat=0.5s", "--", "cat", str(fifo))
    process = pushgate.start(pushgate.argv(*words, gateway=running.url))
    until(process, waiting)
    running.start()
    until(process, lambda: held.value("batch_job_last_start_timestamp_seconds", job="backup"))
    assert held.value("batch_job_last_completion_timestamp_seconds", job="backup") is None
    fifo.write_text("")
    assert process.wait(DEADLINE) == 0
    assert held.value("batch_job_last_run_success", job="backup") == 1
    assert waiting() == []


def until(process, condition):
    while not condition():
        assert process.poll() is None


def test_an_outbox_that_cannot_be_written_is_part_of_the_one_line(running, job, isolated):
    running.stop()
    (isolated / "file").touch()
    path = isolated / "file" / "outbox"
    (line,) = job("--outbox", str(path), code=3)
    assert line.startswith("pushgate: backup: the push for ")
    assert str(path) in line
    assert WAITS not in line
    running.start()
    assert job("--outbox", str(path)) == []


@pytest.mark.parametrize("refused", [True, False])
def test_v_tells_that_it_was_kept(running, job, refused):
    if refused:  # a type that the gateway holds otherwise: no later try mends that
        summary = b"# TYPE batch_job_last_exit_code counter\nbatch_job_last_exit_code 1\n"
        Gateway(running.url).send_directly("PUT", GroupingKey("other"), summary)
    else:
        running.stop()
    *_, last = job("-v")
    assert last.endswith("; kept in the outbox") != refused


def test_while_all_goes_well_the_outbox_costs_no_import(running, pushgate):
    env = {**pushgate.env, "PYTHONPROFILEIMPORTTIME": "1"}
    _, _, err = pushgate.run(pushgate.argv("--", "true", gateway=running.url), env=env)
    assert b"pushgate.gateway" in err
    for module in (b"sqlite3", b"hashlib", b" json"):
        assert module not in err
