"""What a run could not deliver: it waits in the host's outbox, and the job's fate is its own."""

import io
import os
import sys
import threading
import time

import pytest

from pushgate import Gateway, GroupingKey, JobRun, Outbox, gauge
from pushgate.cli import main
from pushgate.embedded import EmbeddedGateway
from pushgate.embedded.pytest_plugin import PushgatewayFixture
from pushgate.outbox import _clock
from pushgate_subprocess import job
from pushgate_subprocess._delivery import Delivery
from support.faults import FaultServer, accept, hang, respond_and_hang

DEADLINE = 30.0
WAITS = "it waits in the outbox and will be delivered later"
ROWS = 'echo "rows $ROWS" >> "$PUSHGATE_METRICS_FILE"; exit $CODE'


class Server:
    """A gateway that can be stopped and started again with all it holds."""

    def __init__(self, running):
        self.url, self.start, self.stop = running.url, running.start, running.stop
        self.port = int(running.url.rpartition(":")[2])


@pytest.fixture
def running():
    with EmbeddedGateway() as running:
        yield running


@pytest.fixture
def server(running):
    return Server(running)


@pytest.fixture
def held(running):
    return PushgatewayFixture(running)


@pytest.fixture
def outbox(isolated):
    return Outbox(isolated / "state" / "outbox.sqlite3")


@pytest.fixture
def run(pushgate, server):
    """Runs a job that writes `rows` and exits with `code`; returns the lines of its stderr."""

    def run(*options, name="backup", rows=None, code=0, state=None):
        script = ROWS if rows is not None else "exit $CODE"
        env = {**pushgate.env, "ROWS": str(rows), "CODE": str(code)}
        if state is not None:
            env["PUSHGATE_STATE_DIR"] = str(state)
        options = ("--retries", "0", *options, "--", "sh", "-c", script)
        ended = pushgate.run(pushgate.argv(*options, job=name, gateway=server.url), env=env)
        assert ended[:2] == (code, b"")
        return ended[2].decode().splitlines()

    return run


def value(held, name, **labels):
    return held.value(f"batch_job_{name}", job="backup", **labels)


@pytest.mark.end_to_end
def test_what_was_missed_arrives_with_the_next_push_from_this_host(server, held, run):
    assert run(rows=1) == []
    succeeded = value(held, "last_success_timestamp_seconds")
    server.stop()
    (line,) = run(rows=2, code=3)
    assert line.startswith(f"pushgate: backup: the push failed: POST {server.url}")
    assert line.endswith(f"; {WAITS}")
    server.start()
    assert run(name="other") == []
    assert value(held, "last_exit_code") == 3
    assert value(held, "last_run_success") == 0
    assert value(held, "last_success_timestamp_seconds") == succeeded
    assert value(held, "last_failure_timestamp_seconds") > succeeded
    assert held.value("rows", job="backup", origin="job") == 2


@pytest.mark.end_to_end
def test_own_metrics_that_no_run_writes_any_more_vanish_after_an_outage(server, held, run, outbox):
    run(rows=1)
    server.stop()
    assert len(run()) == 1
    server.start()
    run(name="other")
    assert held.groups(origin="job") == []
    assert outbox.waiting() == []


@pytest.mark.end_to_end
def test_the_outbox_is_empty_once_the_job_itself_has_run_again(server, held, run, outbox):
    server.stop()
    for code in (4, 5):
        run(rows=code, code=code)
    server.start()
    assert run(rows=6) == []
    assert (value(held, "last_exit_code"), held.value("rows")) == (0, 6)
    assert value(held, "last_failure_timestamp_seconds") > 0
    assert outbox.is_empty()


@pytest.mark.end_to_end
def test_a_newer_push_from_elsewhere_is_not_overwritten(server, held, run, isolated):
    server.stop()
    run(rows=1, code=3)
    server.start()
    run(rows=2, state=isolated / "another-host")
    newer = value(held, "last_completion_timestamp_seconds")
    run(name="other")
    assert value(held, "last_completion_timestamp_seconds") == newer
    assert (value(held, "last_exit_code"), value(held, "last_run_success")) == (0, 1)
    assert held.value("rows") == 2
    assert value(held, "last_failure_timestamp_seconds") < newer  # which that host can't know of


@pytest.mark.parametrize("limit", ["0.5s", pytest.param("3s", marks=pytest.mark.end_to_end)])
def test_a_gateway_that_hangs_leaves_time_to_keep_everything(run, server, outbox, limit):
    server.stop()
    with FaultServer(hang, port=server.port):
        for rows in (1, 2):  # the second finds what the first has left
            (line,) = run("--push-timeout", limit, rows=rows)
            assert line.endswith(f"; {WAITS}")
    outcome, own = sorted(outbox.waiting(), key=lambda group: "origin" in group.labels)
    assert (outcome.labels, outcome.method) == ({"job": "backup"}, "POST")
    assert "batch_job_last_success_timestamp_seconds" in outcome.families
    assert (own.labels, own.method) == ({"job": "backup", "origin": "job"}, "PUT")
    assert list(own.families) == ["rows"]


def test_a_term_in_the_final_push_keeps_the_outcome(pushgate, recorder, outbox):
    recorder.hold = recorder.stopping
    options = ("--no-start-push", "--push-timeout", "1h", "--", "sh", "-c", ROWS)
    env = {**pushgate.env, "ROWS": "7", "CODE": "5"}
    process = pushgate.start(pushgate.argv(*options, gateway=recorder.url), env=env)
    assert b"last_exit_code" in recorder.next().body
    process.terminate()
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 5
    assert err.decode() == (
        f"pushgate: backup: gave up waiting for the push of the outcome; {WAITS}\n"
    )
    kept = {name for group in outbox.waiting() for name in group.families}
    assert {"batch_job_last_exit_code", "rows"} <= kept


@pytest.fixture
def long_run(pushgate, server, isolated):
    """Starts a job that runs until it is let go; returns its process, and what lets it go."""

    def long_run(*options):
        go_on = isolated / "go-on"
        os.mkfifo(go_on)
        argv = pushgate.argv("--retries=0", *options, "--", "cat", str(go_on), gateway=server.url)
        return pushgate.start(argv), lambda: go_on.write_text("")

    return long_run


def test_a_start_is_kept_and_delivered_while_the_command_runs(server, held, long_run, outbox):
    server.stop()
    process, let_go = long_run("--heartbeat=0.05s")
    until(lambda: not outbox.is_empty())
    server.start()
    until(lambda: value(held, "last_start_timestamp_seconds"))
    assert value(held, "last_completion_timestamp_seconds") is None
    let_go()
    assert process.wait(DEADLINE) == 0
    assert value(held, "last_run_success") == 1
    assert outbox.is_empty()


def test_a_start_that_is_left_behind_leaves_nothing_in_the_outbox(server, outbox, caplog):
    server.stop()
    with FaultServer(respond_and_hang(b""), accept, port=server.port) as gateway:
        with job("backup", gateway=server.url, push_timeout=1):
            until(lambda: gateway.requests)
        left = [t for t in threading.enumerate() if t.name == "pushgate-start"]
        assert left
        for thread in left:
            thread.join(DEADLINE)
        assert b"last_completion" in gateway.requests[1].body
    assert caplog.messages == []
    assert outbox.is_empty()


def test_a_start_goes_past_what_waits_and_the_end_brings_that(server, held, outbox):
    key = GroupingKey("backup")
    outbox.keep(server.url, [("POST", key, b"rows 1\n", time.time() - 100)])
    delivery = Delivery(Gateway(server.url, outbox=outbox))
    delivery.start(JobRun(key, 1000.0), 5)
    assert value(held, "last_start_timestamp_seconds") == 1000
    assert held.value("rows") is None
    delivery.end(key, b"batch_job_last_exit_code 0\n", time.monotonic() + 60)
    assert (value(held, "last_exit_code"), held.value("rows")) == (0, 1)
    assert outbox.is_empty()


@pytest.mark.parametrize(("left", "at_most"), [(2, 1.5), (60, 59)])
def test_of_a_gateway_that_hangs_the_end_leaves_time_for_what_follows_it(outbox, left, at_most):
    def hung(url, method, timeout, headers, data):
        given.append(timeout)
        raise TimeoutError

    given = []
    delivery = Delivery(Gateway("http://gateway.invalid", handler=hung, retries=0, outbox=outbox))
    with pytest.raises(TimeoutError):
        delivery.end(
            GroupingKey("backup"), b"batch_job_last_exit_code 0\n", time.monotonic() + left
        )
    assert given[0] <= at_most
    assert delivery.waits


@pytest.mark.parametrize("way", ["option", "variable"])
def test_without_an_outbox_nothing_is_kept(server, run, pushgate, isolated, way):
    if way == "variable":
        pushgate.env["PUSHGATE_OUTBOX"] = "off"
    server.stop()
    (line,) = run(*(["--outbox", "off"] if way == "option" else []), rows=1)
    assert "outbox" not in line
    assert not (isolated / "state" / "outbox.sqlite3").exists()


def test_an_outbox_that_cannot_be_written_is_part_of_the_one_line(server, run, isolated):
    server.stop()
    (isolated / "file").touch()
    path = isolated / "file" / "outbox.sqlite3"
    (line,) = run("--outbox", str(path), rows=1, code=3)
    assert "the push failed: " in line
    assert str(path) in line
    assert WAITS not in line
    server.start()
    assert run("--outbox", str(path)) == []


@pytest.mark.parametrize("refused", [True, False])
def test_v_tells_that_it_was_kept(server, run, refused):
    if refused:  # a type that the gateway holds otherwise: no later try mends that
        Gateway(server.url).push("other", [gauge("rows", "", 1)])
    else:
        server.stop()
    *_, last = run("-v")
    assert last.endswith("; kept in the outbox") != refused


def test_while_all_goes_well_the_outbox_costs_no_import(server, pushgate):
    env = {**pushgate.env, "PYTHONPROFILEIMPORTTIME": "1"}
    argv = pushgate.argv("--", "true", gateway=server.url)
    _, _, err = pushgate.run(argv, env=env)
    assert b"pushgate.gateway" in err
    assert b"sqlite3" not in err


# --- jobs in Python ---------------------------------------------------------------------------


def test_a_job_in_python_is_kept_too(server, held, outbox, caplog, monkeypatch):
    monkeypatch.setenv("PUSHGATE_RETRIES", "0")
    server.stop()
    with job("backup", gateway=server.url) as mine:
        mine.gauge("rows").set(2)
    assert caplog.messages[-1].endswith(f"; {WAITS}")
    server.start()
    with job("other", gateway=server.url):
        pass
    assert value(held, "last_run_success") == 1
    assert held.value("rows", origin="job") == 2
    assert outbox.is_empty()


def test_a_job_that_is_interrupted_in_its_push_is_kept(recorder, outbox, pushgate):
    program = (
        "import sys, pushgate_subprocess as p\n"
        "with p.job('backup', gateway=sys.argv[1], start_push=False, push_timeout=3600): pass\n"
    )
    recorder.hold = recorder.stopping
    process = pushgate.start([sys.executable, "-c", program, recorder.url])
    recorder.next()
    process.send_signal(2)
    _, err = process.communicate(timeout=DEADLINE)
    assert b"KeyboardInterrupt" in err
    assert [group.labels for group in outbox.waiting()] == [{"job": "backup"}]


def test_a_gateway_of_the_callers_own_keeps_as_it_was_told_to(server, outbox, tmp_path):
    server.stop()
    own = Outbox(tmp_path / "own.sqlite3")
    with job("backup", gateway=Gateway(server.url, retries=0)):
        pass
    with job("backup", gateway=Gateway(server.url, retries=0, outbox=own)) as mine:
        mine.gauge("rows").set(2)
    assert outbox.is_empty()
    assert len(own.waiting()) == 2


# --- scripts, push and delete -----------------------------------------------------------------


@pytest.fixture
def call(isolated, server, monkeypatch, capsys):
    """Runs a command in this process; returns its exit code and the lines of its stderr."""

    def call(command, *words, data=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        code = main([command, "--job=backup", f"--gateway={server.url}", "--retries=0", *words])
        out, err = capsys.readouterr()
        assert out == ""
        return code, err.splitlines()

    # The embedded gateway's clock is ours; to find that out takes a second.
    monkeypatch.setattr(
        _clock.Clock, "is_later", lambda _self, _g, here, there, _left: there > here
    )

    return call


def test_a_start_and_a_finish_of_a_script_are_kept(server, held, call, run):
    server.stop()
    for words in (["start"], ["finish", "--exit-code", "3"]):
        code, (line,) = call(*words)
        assert code == 0
        assert line.endswith(f"; {WAITS}")
    server.start()
    run(name="other")
    assert value(held, "last_exit_code") == 3
    assert value(held, "last_start_timestamp_seconds") <= time.time()


def test_push_and_delete_keep_when_asked_to(server, held, call):
    assert call("push", data=b"a 1\n") == (0, [])
    server.stop()
    code, (line,) = call("push", "--group", "k=v", data=b"a 2\n")
    assert (code, WAITS in line) == (1, False)
    for command, *words in (["push", "--group", "k=v"], ["delete"]):
        code, (line,) = call(command, "--keep", *words, data=b"b 1\n")
        assert (code, line.endswith(WAITS)) == (0, True)
    server.start()
    assert call("push", "--keep", "--group", "k=w", data=b"c 1\n") == (0, [])
    assert sorted(group.labels["k"] for group in held.groups()) == ["v", "w"]


def test_what_a_gateway_refuses_for_good_is_not_kept(server, call, outbox):
    Gateway(server.url).push("other", [gauge("a", "", 1)])
    code, (line,) = call("push", "--keep", data=b"# TYPE a counter\na 1\n")
    assert (code, WAITS in line) == (1, False)
    assert outbox.is_empty()


def test_keep_without_an_outbox_is_told_when_it_matters(server, held, call):
    assert call("push", "--keep", "--outbox", "off", data=b"a 1\n") == (0, [])
    server.stop()
    code, (line,) = call("push", "--keep", "--outbox", "off", data=b"a 1\n")
    assert code == 1
    assert "no outbox" in line


def until(condition):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        threading.Event().wait(0.02)
